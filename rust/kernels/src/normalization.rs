//! Layer norm (Ba et al. 2016, eq. 4) and RMS norm (Zhang & Sennrich 2019, eq. 4) over rows, with the residual add in front.

use crate::abreast::{Abreast, InStep, MOST};
use crate::error::check_length;
use crate::parallel::{self, Shared};
use crate::reduction;
use crate::workspace::scratch;
use crate::{Real, Result};
use weft_simd::{Lanes, dispatch};

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

/// Some rows; pointers stand at the first of them.
struct Forward<'a, T> {
    of: Rows<'a, T>,
    rows: usize,
    epsilon: T,
    residual: &'a [T],
    shift: &'a [T],
    sum: *mut T,
    y: *mut T,
    means: *mut T,
    deviations: *mut T,
}

impl<T: Real> Abreast for Forward<'_, T> {
    type Elem = T;

    fn rows(&self) -> usize {
        self.rows
    }

    fn numbers(&self) -> usize {
        2 * self.of.x.len() + 2 * self.residual.len()
    }

    /// As many rows in step as V has vectors: the sums of one row alone are a chain that waits for itself.
    #[inline(always)]
    fn abreast<V: Lanes<Elem = T>>(&self, row: usize) {
        let (n, layer) = (self.of.cols, self.of.norm == Norm::Layer);
        let count = T::from_f64(n as f64);
        // SAFETY: x, residual, sum and y hold whole rows; gain and shift hold one row, or nothing.
        unsafe {
            let mut x = self.of.x.as_ptr().add(row * n);
            let y = self.y.add(row * n);
            let mut lanes = V::zero();
            let mut i = 0;
            if !self.residual.is_empty() {
                let (more, sum) = (self.residual.as_ptr().add(row * n), self.sum.add(row * n));
                while i < n {
                    let c = T::WIDTH.min(n - i);
                    V::ask_rows(sum.wrapping_add(i + V::VECTORS * n), n);
                    let total = V::load_rows(x.add(i), n, c).add(V::load_rows(more.add(i), n, c));
                    total.store_rows(sum.add(i), n, c);
                    i += c;
                }
                x = sum;
            }
            let mut means = [T::ZERO; MOST];
            if layer {
                i = 0;
                while i < n {
                    let c = T::WIDTH.min(n - i);
                    lanes = lanes.add(V::load_rows(x.add(i), n, c));
                    i += c;
                }
                lanes.fold_add_rows(means.as_mut_ptr());
                means = means.map(|sum| sum / count);
            }
            let mean = V::splat_rows(means.as_ptr());
            // Centred first: the difference of mean square and squared mean would cancel.
            lanes = V::zero();
            i = 0;
            while i < n {
                let c = T::WIDTH.min(n - i);
                // For the last pass.
                V::ask_rows(y.add(i), n);
                let mut d = V::load_rows(x.add(i), n, c).sub(mean);
                if c < T::WIDTH {
                    // Lanes behind the end become zeros.
                    d.store_rows(y.add(i), n, c);
                    d = V::load_rows(y.add(i).cast_const(), n, c);
                }
                lanes = lanes.add(d.mul(d));
                i += c;
            }
            let mut inverses = [T::ZERO; MOST];
            lanes.fold_add_rows(inverses.as_mut_ptr());
            inverses = inverses.map(|square| T::ONE / (square / count + self.epsilon).sqrt());
            let inverse = V::splat_rows(inverses.as_ptr());
            i = 0;
            while i < n {
                let c = T::WIDTH.min(n - i);
                // The rows that come next.
                V::ask_rows(self.of.x.as_ptr().wrapping_add((row + V::VECTORS) * n + i), n);
                let mut value = V::load_rows(x.add(i), n, c).sub(mean).mul(inverse);
                if !self.of.gain.is_empty() {
                    value = value.mul(V::load_rows(self.of.gain.as_ptr().add(i), 0, c));
                }
                if !self.shift.is_empty() {
                    value = value.add(V::load_rows(self.shift.as_ptr().add(i), 0, c));
                }
                value.store_rows(y.add(i), n, c);
                i += c;
            }
            if layer {
                self.means.add(row).copy_from_nonoverlapping(means.as_ptr(), V::VECTORS);
            }
            self.deviations.add(row).copy_from_nonoverlapping(inverses.as_ptr(), V::VECTORS);
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
            if *len == 0 { std::ptr::null_mut() } else { unsafe { pointer.slice(range) }.as_mut_ptr() }
        };
        dispatch(InStep(Forward {
            of: Rows { x: &of.x[span.clone()], ..of },
            rows: range.len(),
            epsilon: T::from_f64(epsilon),
            residual: if residual.is_empty() { residual } else { &residual[span.clone()] },
            shift,
            sum: part(0, span.clone()),
            y: part(1, span),
            means: part(2, range.clone()),
            deviations: part(3, range),
        }));
    });
    Ok(())
}

struct Backward<'a, T> {
    of: Rows<'a, T>,
    means: &'a [T],
    deviations: &'a [T],
    dy: &'a [T],
    more: &'a [T],
    dx: *mut T,
    /// Sums of dy·x̂ and of dy over these rows `[D]`, or null.
    d_gain: *mut T,
    d_shift: *mut T,
    /// What the thread reads and writes with the rows of its other blocks.
    numbers: usize,
}

impl<T: Real> Abreast for Backward<'_, T> {
    type Elem = T;

    fn rows(&self) -> usize {
        self.deviations.len()
    }

    fn numbers(&self) -> usize {
        self.numbers
    }

    /// As many rows in step as V has vectors; their shares of the parameters' gradients one after the other.
    #[inline(always)]
    fn abreast<V: Lanes<Elem = T>>(&self, row: usize) {
        let (n, layer) = (self.of.cols, self.of.norm == Norm::Layer);
        let count = T::from_f64(n as f64);
        // SAFETY: all arrays hold whole rows; gain, d_gain and d_shift hold one row, or nothing.
        unsafe {
            let x = self.of.x.as_ptr().add(row * n);
            let dy = self.dy.as_ptr().add(row * n);
            let dx = self.dx.add(row * n);
            let mean = if layer { V::splat_rows(self.means.as_ptr().add(row)) } else { V::zero() };
            let inverse = V::splat_rows(self.deviations.as_ptr().add(row));
            let (mut a, mut b) = (V::zero(), V::zero());
            let mut i = 0;
            while i < n {
                let c = T::WIDTH.min(n - i);
                // For the second pass.
                V::ask_rows(dx.add(i), n);
                // Lanes behind the end hold dy = 0, so they add nothing.
                let mut gained = V::load_rows(dy.add(i), n, c);
                if !self.of.gain.is_empty() {
                    gained = gained.mul(V::load_rows(self.of.gain.as_ptr().add(i), 0, c));
                }
                let hat = V::load_rows(x.add(i), n, c).sub(mean).mul(inverse);
                a = a.add(gained);
                b = b.add(gained.mul(hat));
                i += c;
            }
            let (mut sums, mut products) = ([T::ZERO; MOST], [T::ZERO; MOST]);
            if layer {
                a.fold_add_rows(sums.as_mut_ptr());
            }
            b.fold_add_rows(products.as_mut_ptr());
            let (sums, products) = (sums.map(|sum| sum / count), products.map(|sum| sum / count));
            let (a, b) = (V::splat_rows(sums.as_ptr()), V::splat_rows(products.as_ptr()));
            i = 0;
            while i < n {
                let c = T::WIDTH.min(n - i);
                // The rows that come next.
                V::ask_rows(x.wrapping_add(V::VECTORS * n + i), n);
                V::ask_rows(dy.wrapping_add(V::VECTORS * n + i), n);
                let g = V::load_rows(dy.add(i), n, c);
                let hat = V::load_rows(x.add(i), n, c).sub(mean).mul(inverse);
                let mut gained = g;
                if !self.of.gain.is_empty() {
                    gained = gained.mul(V::load_rows(self.of.gain.as_ptr().add(i), 0, c));
                }
                let mut d = gained.sub(a).sub(hat.mul(b)).mul(inverse);
                if !self.more.is_empty() {
                    d = d.add(V::load_rows(self.more.as_ptr().add(row * n + i), n, c));
                }
                d.store_rows(dx.add(i), n, c);
                if !self.d_gain.is_null() {
                    let to = self.d_gain.add(i);
                    g.mul(hat).add_to(V::Vector::load_first(to, c)).store_first(to, c);
                }
                if !self.d_shift.is_null() {
                    let to = self.d_shift.add(i);
                    g.add_to(V::Vector::load_first(to, c)).store_first(to, c);
                }
                i += c;
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
                    return std::ptr::null_mut();
                }
                // SAFETY: every block has its own sums.
                let sum = unsafe { shared_sums[which].slice(block * cols..(block + 1) * cols) };
                sum.fill(T::ZERO);
                sum.as_mut_ptr()
            };
            dispatch(InStep(Backward {
                of: Rows { x: &of.x[span.clone()], ..of },
                means: if means.is_empty() { means } else { &means[range.clone()] },
                deviations: &deviations[range],
                dy: &dy[span.clone()],
                more: if more.is_empty() { more } else { &more[span.clone()] },
                // SAFETY: rows of different blocks are disjoint.
                dx: unsafe { shared_dx.slice(span) }.as_mut_ptr(),
                d_gain: sum(0, wants_gain),
                d_shift: sum(1, wants_shift),
                numbers: 3 * rows * cols / threads,
            }));
        }
    });
    for (to, sums) in [d_gain, d_shift].into_iter().zip(&sums) {
        if !to.is_empty() {
            reduction::sum(1, blocks, cols, sums, to)?;
        }
    }
    Ok(())
}
