//! Layer normalisation (Ba et al. 2016, eq. 4) over rows.

use crate::activation::row_sum;
use crate::error::check_length;
use crate::parallel::{self, Shared};
use crate::reduction;
use crate::workspace::scratch;
use crate::{Real, Result};
use weft_simd::{Isa, Kernel, Lanes, dispatch};

struct Forward<'a, T> {
    cols: usize,
    epsilon: T,
    x: &'a [T],
    gain: &'a [T],
    shift: &'a [T],
    y: &'a mut [T],
    means: &'a mut [T],
    deviations: &'a mut [T],
}

impl<T: Real> Kernel for Forward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let n = self.cols;
        let count = T::from_f64(n as f64);
        for row in 0..self.means.len() {
            // SAFETY: x and y hold whole rows; gain and shift hold one row, or nothing.
            unsafe {
                let x = self.x.as_ptr().add(row * n);
                let y = self.y.as_mut_ptr().add(row * n);
                let mean = row_sum::<T::On<I>>(n, |i, c| <T::On<I>>::load_first(x.add(i), c)) / count;
                let m = <T::On<I>>::splat(mean);
                // Centred first: the difference of mean square and squared mean would cancel.
                let variance = row_sum::<T::On<I>>(n, |i, c| {
                    <T::On<I>>::load_first(x.add(i), c).sub(m).store_first(y.add(i), c);
                    let d = <T::On<I>>::load_first(y.add(i), c);
                    d.mul(d)
                }) / count;
                let inverse = T::ONE / (variance + self.epsilon).sqrt();
                let scale = <T::On<I>>::splat(inverse);
                let mut i = 0;
                while i < n {
                    let c = T::WIDTH.min(n - i);
                    let mut value = <T::On<I>>::load_first(y.add(i), c).mul(scale);
                    if !self.gain.is_empty() {
                        value = value.mul(<T::On<I>>::load_first(self.gain.as_ptr().add(i), c));
                    }
                    if !self.shift.is_empty() {
                        value = value.add(<T::On<I>>::load_first(self.shift.as_ptr().add(i), c));
                    }
                    value.store_first(y.add(i), c);
                    i += c;
                }
                self.means[row] = mean;
                self.deviations[row] = inverse;
            }
        }
    }
}

/// `y = (x − mean) / √(variance + ε) · gain + shift` over rows of `cols`, biased variance.
///
/// Buffers: x `[N, D]` is read; gain and shift `[D]`, or empty for none; y `[N, D]`, means and inverse deviations `[N]`
/// (for backward) are written.
pub fn layer_norm<T: Real>(
    cols: usize,
    epsilon: f64,
    x: &[T],
    gain: &[T],
    shift: &[T],
    y: &mut [T],
    means: &mut [T],
    deviations: &mut [T],
) -> Result<()> {
    let rows = means.len();
    check_length("layer_norm", "input", x.len(), rows * cols)?;
    check_length("layer_norm", "output", y.len(), rows * cols)?;
    check_length("layer_norm", "deviations", deviations.len(), rows)?;
    for (name, values) in [("weight", gain), ("bias", shift)] {
        if !values.is_empty() {
            check_length("layer_norm", name, values.len(), cols)?;
        }
    }
    let shared = (Shared(y.as_mut_ptr()), Shared(means.as_mut_ptr()), Shared(deviations.as_mut_ptr()));
    parallel::over_ranges(rows, 3 * size_of_val(x), |range| {
        let span = range.start * cols..range.end * cols;
        let shared = &shared;
        // SAFETY: rows of different threads are disjoint.
        let (y, means, deviations) =
            unsafe { (shared.0.slice(span.clone()), shared.1.slice(range.clone()), shared.2.slice(range)) };
        dispatch(Forward { cols, epsilon: T::from_f64(epsilon), x: &x[span], gain, shift, y, means, deviations });
    });
    Ok(())
}

struct Backward<'a, T> {
    cols: usize,
    x: &'a [T],
    gain: &'a [T],
    means: &'a [T],
    deviations: &'a [T],
    dy: &'a [T],
    dx: &'a mut [T],
    /// dy · x̂, summed over rows afterwards for the gain's gradient; may be empty
    scaled: &'a mut [T],
}

impl<T: Real> Kernel for Backward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let n = self.cols;
        let count = T::from_f64(n as f64);
        for row in 0..self.means.len() {
            // SAFETY: all slices hold whole rows; gain holds one row, or nothing.
            unsafe {
                let x = self.x.as_ptr().add(row * n);
                let dy = self.dy.as_ptr().add(row * n);
                let dx = self.dx.as_mut_ptr().add(row * n);
                let mean = <T::On<I>>::splat(self.means[row]);
                let inverse = <T::On<I>>::splat(self.deviations[row]);
                let gained = |i, c| {
                    let g = <T::On<I>>::load_first(dy.add(i), c);
                    if self.gain.is_empty() { g } else { g.mul(<T::On<I>>::load_first(self.gain.as_ptr().add(i), c)) }
                };
                let hat = |i, c| <T::On<I>>::load_first(x.add(i), c).sub(mean).mul(inverse);
                // Lanes behind the end hold dy = 0, so they add nothing.
                let a = row_sum::<T::On<I>>(n, gained) / count;
                let b = row_sum::<T::On<I>>(n, |i, c| gained(i, c).mul(hat(i, c))) / count;
                let (a, b) = (<T::On<I>>::splat(a), <T::On<I>>::splat(b));
                let mut i = 0;
                while i < n {
                    let c = T::WIDTH.min(n - i);
                    let h = hat(i, c);
                    gained(i, c).sub(a).sub(h.mul(b)).mul(inverse).store_first(dx.add(i), c);
                    if !self.scaled.is_empty() {
                        let s = <T::On<I>>::load_first(dy.add(i), c).mul(h);
                        s.store_first(self.scaled.as_mut_ptr().add(row * n + i), c);
                    }
                    i += c;
                }
            }
        }
    }
}

/// dx = (g − mean(g) − x̂·mean(g·x̂)) / deviation with g = dy·gain; d gain = Σ dy·x̂ and d shift = Σ dy over rows.
///
/// Buffers: x, gain, means and deviations as in [`layer_norm`]; dx `[N, D]` is written; d_gain and d_shift `[D]` are written, or left
/// out when empty.
pub fn layer_norm_backward<T: Real>(
    cols: usize,
    x: &[T],
    gain: &[T],
    means: &[T],
    deviations: &[T],
    dy: &[T],
    dx: &mut [T],
    d_gain: &mut [T],
    d_shift: &mut [T],
) -> Result<()> {
    let rows = means.len();
    check_length("layer_norm", "gradient", dy.len(), rows * cols)?;
    check_length("layer_norm", "input", x.len(), rows * cols)?;
    check_length("layer_norm", "input gradient", dx.len(), rows * cols)?;
    let mut scaled = scratch::<T>(if d_gain.is_empty() { 0 } else { rows * cols });
    let (shared_dx, shared_scaled) = (Shared(dx.as_mut_ptr()), Shared(scaled.as_mut_ptr()));
    let wants_gain = !d_gain.is_empty();
    parallel::over_ranges(rows, 5 * size_of_val(x), |range| {
        let span = range.start * cols..range.end * cols;
        // SAFETY: rows of different threads are disjoint.
        let (dx, scaled) =
            unsafe { (shared_dx.slice(span.clone()), if wants_gain { shared_scaled.slice(span.clone()) } else { &mut [][..] }) };
        dispatch(Backward {
            cols,
            x: &x[span.clone()],
            gain,
            means: &means[range.clone()],
            deviations: &deviations[range],
            dy: &dy[span],
            dx,
            scaled,
        });
    });
    if wants_gain {
        reduction::sum(1, rows, cols, &scaled, d_gain)?;
    }
    if !d_shift.is_empty() {
        reduction::sum(1, rows, cols, dy, d_shift)?;
    }
    Ok(())
}
