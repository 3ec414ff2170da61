//! Softmax cross-entropy with ignored positions and label smoothing (Szegedy et al. 2016, eq. 3 of §7).

mod projection;

pub use projection::{ProjectionGradients, projected_cross_entropy};

use crate::activation::{log_sum_exp, row_sum};
use crate::error::{check_indices, check_length};
use crate::parallel::{self, Shared};
use crate::{Real, Result};
use weft_simd::{AHEAD, Isa, Kernel, Lanes, dispatch, maths};

struct Forward<'a, T> {
    classes: usize,
    logits: &'a [T],
    targets: &'a [i64],
    ignore: i64,
    smoothing: T,
    losses: &'a mut [T],
    normalizers: &'a mut [T],
}

impl<T: Real> Kernel for Forward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        for (row, &target) in self.targets.iter().enumerate() {
            let x = self.logits[row * self.classes..(row + 1) * self.classes].as_ptr();
            if target == self.ignore {
                (self.losses[row], self.normalizers[row]) = (T::ZERO, T::ZERO);
                continue;
            }
            // SAFETY: x has `classes` elements, and the target is one of them.
            let (z, chosen, sum) = unsafe {
                let z = log_sum_exp::<T::On<I>>(x, self.classes);
                let sum = if self.smoothing == T::ZERO {
                    T::ZERO
                } else {
                    row_sum::<T::On<I>>(self.classes, |i, n| <T::On<I>>::load_first(x.add(i), n))
                };
                (z, *x.add(target as usize), sum)
            };
            let mean = sum / T::from_f64(self.classes as f64);
            self.normalizers[row] = z;
            let sharp = z - chosen;
            self.losses[row] = if self.smoothing == T::ZERO { sharp } else { sharp + self.smoothing * ((z - mean) - sharp) };
        }
    }
}

/// `losses[n] = (1−ε)·(−log p[target]) + ε·mean_v(−log p[v])`, zero where the target is `ignore`.
///
/// Buffers: logits `[N, V]` and targets `[N]` are read; losses `[N]` and normalizers `[N]` (log Σ eˣ, for backward) are written.
pub fn cross_entropy<T: Real>(
    classes: usize,
    logits: &[T],
    targets: &[i64],
    ignore: i64,
    smoothing: f64,
    losses: &mut [T],
    normalizers: &mut [T],
) -> Result<()> {
    let rows = targets.len();
    check_length("cross_entropy", "input", logits.len(), rows * classes)?;
    check_length("cross_entropy", "losses", losses.len(), rows)?;
    check_length("cross_entropy", "normalizers", normalizers.len(), rows)?;
    check_indices("cross_entropy", "target", targets, classes, Some(ignore))?;
    let (shared_losses, shared_normalizers) = (Shared(losses.as_mut_ptr()), Shared(normalizers.as_mut_ptr()));
    parallel::over_ranges(rows, size_of_val(logits) * 4, |range| {
        // SAFETY: rows of different threads are disjoint.
        let (losses, normalizers) = unsafe { (shared_losses.slice(range.clone()), shared_normalizers.slice(range.clone())) };
        dispatch(Forward {
            classes,
            logits: &logits[range.start * classes..range.end * classes],
            targets: &targets[range],
            ignore,
            smoothing: T::from_f64(smoothing),
            losses,
            normalizers,
        });
    });
    Ok(())
}

struct Backward<'a, T> {
    classes: usize,
    logits: &'a [T],
    targets: &'a [i64],
    ignore: i64,
    smoothing: T,
    normalizers: &'a [T],
    scales: &'a [T],
    gradients: &'a mut [T],
}

impl<T: Real> Kernel for Backward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let n = self.classes;
        let floor = self.smoothing / T::from_f64(n as f64);
        for (row, &target) in self.targets.iter().enumerate() {
            let gradient = &mut self.gradients[row * n..(row + 1) * n];
            if target == self.ignore {
                gradient.fill(T::ZERO);
                continue;
            }
            let scale = if self.scales.len() == 1 { self.scales[0] } else { self.scales[row] };
            let x = self.logits[row * n..(row + 1) * n].as_ptr();
            let (to, numbers) = (gradient.as_mut_ptr(), [self.normalizers[row], floor, scale]);
            let mut i = 0;
            // SAFETY: each step stays below n, the length of both rows.
            unsafe {
                while i + <T::On<I> as Lanes>::Step::WIDTH <= n {
                    <T::On<I> as Lanes>::Step::ask(to.wrapping_add(i + AHEAD * T::WIDTH));
                    away::<<T::On<I> as Lanes>::Step>(x.add(i), to.add(i), <T::On<I> as Lanes>::Step::WIDTH, numbers);
                    i += <T::On<I> as Lanes>::Step::WIDTH;
                }
                while i < n {
                    let count = T::WIDTH.min(n - i);
                    away::<T::On<I>>(x.add(i), to.add(i), count, numbers);
                    i += count;
                }
            }
            gradient[target as usize] += -(scale * (T::ONE - self.smoothing));
        }
    }
}

/// `to = (e^(x − normalizer) − floor) · scale` for the first `n` lanes.
///
/// # Safety
/// `n` readable and writable numbers, at most V's lanes.
#[inline(always)]
unsafe fn away<V: Lanes>(x: *const V::Elem, to: *mut V::Elem, n: usize, [normalizer, floor, scale]: [V::Elem; 3]) {
    // SAFETY: passed on to the caller.
    unsafe {
        let p = maths::exp(V::load_first(x, n).sub(V::splat(normalizer)));
        p.sub(V::splat(floor)).mul(V::splat(scale)).store_first(to, n);
    }
}

/// `gradients[n, v] = scale · (p[v] − (1−ε)·[v = target] − ε/V)`, zero rows where the target is `ignore`.
///
/// Buffers: logits, targets and normalizers as in [`cross_entropy`]; scales `[N]` or `[1]`; gradients `[N, V]` is written.
pub fn cross_entropy_backward<T: Real>(
    classes: usize,
    logits: &[T],
    targets: &[i64],
    ignore: i64,
    smoothing: f64,
    normalizers: &[T],
    scales: &[T],
    gradients: &mut [T],
) -> Result<()> {
    let rows = targets.len();
    check_length("cross_entropy", "input", logits.len(), rows * classes)?;
    check_length("cross_entropy", "normalizers", normalizers.len(), rows)?;
    check_length("cross_entropy", "gradients", gradients.len(), rows * classes)?;
    if scales.len() != 1 {
        check_length("cross_entropy", "scales", scales.len(), rows)?;
    }
    check_indices("cross_entropy", "target", targets, classes, Some(ignore))?;
    let shared = Shared(gradients.as_mut_ptr());
    parallel::over_ranges(rows, size_of_val(logits) * 4, |range| {
        let span = range.start * classes..range.end * classes;
        dispatch(Backward {
            classes,
            logits: &logits[span.clone()],
            targets: &targets[range.clone()],
            ignore,
            smoothing: T::from_f64(smoothing),
            normalizers: &normalizers[range.clone()],
            scales: if scales.len() == 1 { scales } else { &scales[range.clone()] },
            // SAFETY: rows of different threads are disjoint.
            gradients: unsafe { shared.slice(span) },
        });
    });
    Ok(())
}
