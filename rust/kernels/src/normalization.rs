//! Layer norm (Ba et al. 2016, eq. 4) and RMS norm (Zhang & Sennrich 2019, eq. 4) over rows, with the residual add in front.

use crate::activation::row_sum;
use crate::error::check_length;
use crate::parallel::{self, Shared};
use crate::reduction;
use crate::workspace::scratch;
use crate::{Real, Result};
use weft_simd::{Isa, Kernel, Lanes, dispatch};

/// What a row is divided by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Norm {
    /// √(variance + ε), the mean taken away first; biased variance.
    Layer,
    /// √(mean square + ε)
    Rms,
}

/// Rows whose share of the parameters' gradients is summed in the first-level cache; the blocks' sums are added in order (rule R4).
const BLOCK: usize = 32;

/// What is normalised and how.
#[derive(Clone, Copy)]
pub struct Rows<'a, T> {
    /// Layer or RMS.
    pub norm: Norm,
    /// D.
    pub cols: usize,
    /// `[N, D]`
    pub x: &'a [T],
    /// `[D]`, or empty for one.
    pub gain: &'a [T],
}

struct Forward<'a, T> {
    of: Rows<'a, T>,
    epsilon: T,
    residual: &'a [T],
    shift: &'a [T],
    sum: &'a mut [T],
    y: &'a mut [T],
    means: &'a mut [T],
    deviations: &'a mut [T],
}

impl<T: Real> Kernel for Forward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let n = self.of.cols;
        let count = T::from_f64(n as f64);
        let layer = self.of.norm == Norm::Layer;
        for row in 0..self.deviations.len() {
            // SAFETY: x, residual, sum and y hold whole rows; gain and shift hold one row, or nothing.
            unsafe {
                let mut x = self.of.x.as_ptr().add(row * n);
                let y = self.y.as_mut_ptr().add(row * n);
                if !self.residual.is_empty() {
                    let (more, sum) = (self.residual.as_ptr().add(row * n), self.sum.as_mut_ptr().add(row * n));
                    let mut i = 0;
                    while i < n {
                        let c = T::WIDTH.min(n - i);
                        let total = <T::On<I>>::load_first(x.add(i), c).add(<T::On<I>>::load_first(more.add(i), c));
                        total.store_first(sum.add(i), c);
                        i += c;
                    }
                    x = sum;
                }
                let mean =
                    if layer { row_sum::<T::On<I>>(n, |i, c| <T::On<I>>::load_first(x.add(i), c)) / count } else { T::ZERO };
                let m = <T::On<I>>::splat(mean);
                // Centred first: the difference of mean square and squared mean would cancel. Lanes behind the end are zeros.
                let square = row_sum::<T::On<I>>(n, |i, c| {
                    let d = <T::On<I>>::load_first(x.add(i), c).sub(m);
                    d.store_first(y.add(i), c);
                    let d = if c == T::WIDTH { d } else { <T::On<I>>::load_first(y.add(i), c) };
                    d.mul(d)
                });
                let inverse = T::ONE / (square / count + self.epsilon).sqrt();
                let scale = <T::On<I>>::splat(inverse);
                let mut i = 0;
                while i < n {
                    let c = T::WIDTH.min(n - i);
                    let mut value = <T::On<I>>::load_first(y.add(i), c).mul(scale);
                    if !self.of.gain.is_empty() {
                        value = value.mul(<T::On<I>>::load_first(self.of.gain.as_ptr().add(i), c));
                    }
                    if !self.shift.is_empty() {
                        value = value.add(<T::On<I>>::load_first(self.shift.as_ptr().add(i), c));
                    }
                    value.store_first(y.add(i), c);
                    i += c;
                }
                if layer {
                    self.means[row] = mean;
                }
                self.deviations[row] = inverse;
            }
        }
    }
}

/// `s = x + residual; y = (s − mean) / √(variance + ε) · gain + shift` over rows, or without the mean by [`Norm::Rms`].
///
/// Buffers: x and gain as [`Rows`] says, residual `[N, D]` and shift `[D]` or empty for none are read; y `[N, D]` and the inverse
/// deviations `[N]` are written, with a residual also s `[N, D]`, for layer norm also the means `[N]` (else they are empty).
pub fn forward<T: Real>(
    of: Rows<'_, T>,
    epsilon: f64,
    residual: &[T],
    shift: &[T],
    sum: &mut [T],
    y: &mut [T],
    means: &mut [T],
    deviations: &mut [T],
) -> Result<()> {
    let (rows, cols) = (deviations.len(), of.cols);
    let layer = of.norm == Norm::Layer;
    check_length("normalization", "input", of.x.len(), rows * cols)?;
    check_length("normalization", "output", y.len(), rows * cols)?;
    check_length("normalization", "means", means.len(), if layer { rows } else { 0 })?;
    check_length("normalization", "sum", sum.len(), residual.len())?;
    for (name, got, expected) in
        [("weight", of.gain.len(), cols), ("bias", shift.len(), cols), ("residual", residual.len(), rows * cols)]
    {
        if got != 0 {
            check_length("normalization", name, got, expected)?;
        }
    }
    let shared = [sum, y, means, deviations].map(|a| (Shared(a.as_mut_ptr()), a.len()));
    parallel::over_ranges(rows, (3 + 2 * residual.len().min(1)) * size_of_val(of.x), |range| {
        let span = range.start * cols..range.end * cols;
        let part = |index: usize, range: std::ops::Range<usize>| {
            let (pointer, len) = &shared[index];
            // SAFETY: rows of different threads are disjoint.
            if *len == 0 { &mut [][..] } else { unsafe { pointer.slice(range) } }
        };
        dispatch(Forward {
            of: Rows { x: &of.x[span.clone()], ..of },
            epsilon: T::from_f64(epsilon),
            residual: if residual.is_empty() { residual } else { &residual[span.clone()] },
            shift,
            sum: part(0, span.clone()),
            y: part(1, span),
            means: part(2, range.clone()),
            deviations: part(3, range),
        });
    });
    Ok(())
}

struct Backward<'a, T> {
    of: Rows<'a, T>,
    means: &'a [T],
    deviations: &'a [T],
    dy: &'a [T],
    more: &'a [T],
    dx: &'a mut [T],
    /// Sums of dy·x̂ and of dy over these rows `[D]`, or empty.
    d_gain: &'a mut [T],
    d_shift: &'a mut [T],
}

impl<T: Real> Kernel for Backward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let n = self.of.cols;
        let count = T::from_f64(n as f64);
        let layer = self.of.norm == Norm::Layer;
        for row in 0..self.deviations.len() {
            // SAFETY: all slices hold whole rows; gain, d_gain and d_shift hold one row, or nothing.
            unsafe {
                let x = self.of.x.as_ptr().add(row * n);
                let dy = self.dy.as_ptr().add(row * n);
                let dx = self.dx.as_mut_ptr().add(row * n);
                let mean = <T::On<I>>::splat(if layer { self.means[row] } else { T::ZERO });
                let inverse = <T::On<I>>::splat(self.deviations[row]);
                let gained = |i, c| {
                    let g = <T::On<I>>::load_first(dy.add(i), c);
                    if self.of.gain.is_empty() { g } else { g.mul(<T::On<I>>::load_first(self.of.gain.as_ptr().add(i), c)) }
                };
                let hat = |i, c| <T::On<I>>::load_first(x.add(i), c).sub(mean).mul(inverse);
                // Lanes behind the end hold dy = 0, so they add nothing.
                let a = if layer { row_sum::<T::On<I>>(n, gained) / count } else { T::ZERO };
                let b = row_sum::<T::On<I>>(n, |i, c| gained(i, c).mul(hat(i, c))) / count;
                let (a, b) = (<T::On<I>>::splat(a), <T::On<I>>::splat(b));
                let mut i = 0;
                while i < n {
                    let c = T::WIDTH.min(n - i);
                    let (h, g) = (hat(i, c), <T::On<I>>::load_first(dy.add(i), c));
                    let mut d = gained(i, c).sub(a).sub(h.mul(b)).mul(inverse);
                    if !self.more.is_empty() {
                        d = d.add(<T::On<I>>::load_first(self.more.as_ptr().add(row * n + i), c));
                    }
                    d.store_first(dx.add(i), c);
                    if !self.d_gain.is_empty() {
                        let to = self.d_gain.as_mut_ptr().add(i);
                        <T::On<I>>::load_first(to, c).add(g.mul(h)).store_first(to, c);
                    }
                    if !self.d_shift.is_empty() {
                        let to = self.d_shift.as_mut_ptr().add(i);
                        <T::On<I>>::load_first(to, c).add(g).store_first(to, c);
                    }
                    i += c;
                }
            }
        }
    }
}

/// dx = (g − mean(g) − x̂·mean(g·x̂)) / deviation + more with g = dy·gain (RMS norm: without mean(g)); d gain = Σ dy·x̂ and
/// d shift = Σ dy over rows.
///
/// Buffers: `of` holds what was normalised (with a residual: the sum), means and deviations come from [`forward`]; more `[N, D]` is the
/// sum's own gradient, or empty; dx `[N, D]` is written, and d_gain and d_shift `[D]` unless they are empty.
pub fn backward<T: Real>(
    of: Rows<'_, T>,
    means: &[T],
    deviations: &[T],
    dy: &[T],
    more: &[T],
    dx: &mut [T],
    d_gain: &mut [T],
    d_shift: &mut [T],
) -> Result<()> {
    let (rows, cols) = (deviations.len(), of.cols);
    for (name, got) in [("gradient", dy.len()), ("input", of.x.len()), ("input gradient", dx.len())] {
        check_length("normalization", name, got, rows * cols)?;
    }
    for (name, got, expected) in [
        ("weight gradient", d_gain.len(), cols),
        ("bias gradient", d_shift.len(), cols),
        ("sum gradient", more.len(), rows * cols),
    ] {
        if got != 0 {
            check_length("normalization", name, got, expected)?;
        }
    }
    let blocks = rows.div_ceil(BLOCK);
    let (wants_gain, wants_shift) = (!d_gain.is_empty(), !d_shift.is_empty());
    let mut sums = [wants_gain, wants_shift].map(|wanted| scratch::<T>(if wanted { blocks * cols } else { 0 }));
    let shared_sums = sums.each_mut().map(|s| Shared(s.as_mut_ptr()));
    let shared_dx = Shared(dx.as_mut_ptr());
    let threads = parallel::threads_for_bytes(3 * size_of_val(of.x)).min(blocks.max(1));
    parallel::run(threads, &|index| {
        for block in parallel::part(blocks, threads, index) {
            let range = block * BLOCK..rows.min((block + 1) * BLOCK);
            let span = range.start * cols..range.end * cols;
            let sum = |which: usize, wanted: bool| {
                if !wanted {
                    return &mut [][..];
                }
                // SAFETY: every block has its own sums.
                let sum = unsafe { shared_sums[which].slice(block * cols..(block + 1) * cols) };
                sum.fill(T::ZERO);
                sum
            };
            dispatch(Backward {
                of: Rows { x: &of.x[span.clone()], ..of },
                means: if means.is_empty() { means } else { &means[range.clone()] },
                deviations: &deviations[range],
                dy: &dy[span.clone()],
                more: if more.is_empty() { more } else { &more[span.clone()] },
                // SAFETY: rows of different blocks are disjoint.
                dx: unsafe { shared_dx.slice(span) },
                d_gain: sum(0, wants_gain),
                d_shift: sum(1, wants_shift),
            });
        }
    });
    for (to, sums) in [d_gain, d_shift].into_iter().zip(&sums) {
        if !to.is_empty() {
            reduction::sum(1, blocks, cols, sums, to)?;
        }
    }
    Ok(())
}
