//! Output projection and cross-entropy in one: the logits `[N, V]` are never stored, only a chunk of their rows at a time.
//!
//! For each chunk: logits = X·Wᵀ + b; every row becomes its own gradient in place, (p − target)·scale; then dX = G·W, dWᵀ += Xᵀ·G and
//! db += Σ G while the chunk is still near. The chunk lies in [`Panels`], as the first product writes and the last one reads them: nothing
//! of it is packed. dWᵀ is turned over in the end, where it lies ([`TurnedGradient`]). W is read as it is: its panels, packed before,
//! would be two copies of it beside its gradient. The backward pass has nothing left to do but a product with the loss's gradient. Where
//! the rows are cut changes no bit: dW is one chain of FMAs over all rows, and db adds row after row.

use crate::activation::{exp_row, row_max, row_sum};
use crate::error::{check_indices, check_length};
use crate::matmul::{Panels, Right, Start, TurnedGradient, panel_width, product};
use crate::parallel::{self, Shared};
use crate::workspace::scratch;
use crate::{MatrixView, MatrixViewMut, Real, Result};
use std::ops::Range;
use weft_simd::{Isa, Kernel, Lanes, dispatch, maths};

/// Numbers in a chunk of logits: 16 MiB of f32.
const CHUNK: usize = 4 << 20;
/// At most this many rows, so that dW stays one chain of FMAs (rule R1).
const MOST_ROWS: usize = 2048;

/// Gradients of the loss times `scale`; empty slices are left out.
pub struct ProjectionGradients<'a, T> {
    /// `[N, D]`
    pub x: &'a mut [T],
    /// `[V, D]`
    pub weight: &'a mut [T],
    /// `[V]`
    pub bias: &'a mut [T],
}

struct Rows<'a, T> {
    /// Logits in, gradients out.
    logits: Shared<T>,
    places: Panels<T>,
    /// Which of them, and what belongs to each.
    rows: Range<usize>,
    targets: &'a [i64],
    losses: &'a mut [T],
    ignore: i64,
    smoothing: T,
    scale: T,
    /// A row on its way: what is read again is near.
    near: &'a mut [T],
}

impl<T: Real> Kernel for Rows<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let n = self.places.columns;
        let floor = <T::On<I>>::splat(self.smoothing / T::from_f64(n as f64) * self.scale);
        for (i, row) in self.rows.enumerate() {
            let target = self.targets[i];
            if target == self.ignore {
                for (_, count, place) in self.places.of_row(row) {
                    // SAFETY: these numbers are this thread's.
                    unsafe { self.logits.slice(place..place + count) }.fill(T::ZERO);
                }
                self.losses[i] = T::ZERO;
                continue;
            }
            let x = self.near.as_mut_ptr();
            // SAFETY: the row's logits are this thread's, `near` holds them, and the target is one of them.
            unsafe {
                for (first, count, place) in self.places.of_row(row) {
                    let place = self.logits.at(place);
                    // The next row's lines lie behind these, which no stream of the processor sees.
                    <T::On<I> as Lanes>::Step::ask(place.wrapping_add(panel_width::<T>()));
                    for i in (0..count).step_by(T::WIDTH) {
                        let c = T::WIDTH.min(count - i);
                        <T::On<I>>::load_first(place.add(i), c).store_first(x.add(first + i), c);
                    }
                }
                let largest = row_max::<T::On<I>>(x, n);
                let shift = <T::On<I>>::splat(largest);
                let chosen = *x.add(target as usize);
                let mean = if self.smoothing == T::ZERO {
                    T::ZERO
                } else {
                    row_sum::<T::On<I>>(n, |i, c| <T::On<I>>::load_first(x.add(i), c)) / T::from_f64(n as f64)
                };
                let total = exp_row::<T::On<I>>(x, x, n, shift);
                let z = largest + maths::log(<T::On<I>>::splat(total)).fold_max();
                let sharp = z - chosen;
                self.losses[i] = if self.smoothing == T::ZERO { sharp } else { sharp + self.smoothing * ((z - mean) - sharp) };
                let factor = self.scale / total;
                // What would be next to a subnormal number becomes 0: each of those costs the products that follow a hundred cycles.
                let least = <T::On<I>>::splat(T::MIN_NORMAL * T::from_f64(f64::from(1 << 24)) / factor);
                let factor = <T::On<I>>::splat(factor);
                for (first, count, place) in self.places.of_row(row) {
                    let place = self.logits.at(place);
                    let mut i = 0;
                    while i < count {
                        let c = T::WIDTH.min(count - i);
                        let e = <T::On<I>>::load_first(x.add(first + i), c);
                        let e = <T::On<I>>::select(e.lt(least), <T::On<I>>::zero(), e);
                        e.mul(factor).sub(floor).store_first(place.add(i), c);
                        i += c;
                    }
                }
                *self.logits.at(self.places.at(row, target as usize)) += -(self.scale * (T::ONE - self.smoothing));
            }
        }
    }
}

/// Losses of `softmax(x·weightᵀ + bias)` as in [`super::cross_entropy`], and the gradients of `scale · Σ losses`.
///
/// Buffers: x `[N, D]`, weight `[V, D]` and bias `[V]` (or empty) are read; losses `[N]` are written, and the gradients that are not empty.
pub fn projected_cross_entropy<T: Real>(
    x: &[T],
    weight: MatrixView<'_, T>,
    bias: &[T],
    targets: &[i64],
    ignore: i64,
    smoothing: f64,
    scale: T,
    losses: &mut [T],
    gradients: ProjectionGradients<'_, T>,
) -> Result<()> {
    const ROOM: &str = "linear_cross_entropy";
    let (rows, size, classes) = (targets.len(), weight.cols, weight.rows);
    check_length(ROOM, "input", x.len(), rows * size)?;
    check_length(ROOM, "losses", losses.len(), rows)?;
    check_indices(ROOM, "target", targets, classes, Some(ignore))?;
    let given = |name, got: usize, expected| if got == 0 { Ok(()) } else { check_length(ROOM, name, got, expected) };
    given("bias", bias.len(), classes)?;
    given("input gradient", gradients.x.len(), rows * size)?;
    given("weight gradient", gradients.weight.len(), classes * size)?;
    given("bias gradient", gradients.bias.len(), classes)?;
    let most = (CHUNK / classes.max(1)).clamp(1, MOST_ROWS);
    let chunks = rows.div_ceil(most);
    let mut logits = scratch::<T>(Panels::<T>::new(rows.div_ceil(chunks.max(1)), classes).len());
    gradients.bias.fill(T::ZERO);
    if rows == 0 {
        gradients.weight.fill(T::ZERO);
    }
    let mut dw = (!gradients.weight.is_empty()).then(|| TurnedGradient::new(gradients.weight, size, classes));
    for chunk in 0..chunks {
        let range = parallel::part(rows, chunks, chunk);
        let (count, span) = (range.len(), range.start * size..range.end * size);
        let places = Panels::new(count, classes);
        let part = MatrixView::new(&x[span.clone()], count, size);
        let start = if bias.is_empty() { Start::Zero } else { Start::Bias(bias) };
        product(part, Right::View(weight.transposed()), places.view_mut(&mut logits), start);
        let (shared, shared_losses) = (Shared(logits.as_mut_ptr()), Shared(losses[range.clone()].as_mut_ptr()));
        let targets = &targets[range.clone()];
        parallel::over_ranges(count, count * classes * size_of::<T>() * 6, |rows| {
            // SAFETY: rows of different threads are disjoint.
            let losses = unsafe { shared_losses.slice(rows.clone()) };
            let (smoothing, targets) = (T::from_f64(smoothing), &targets[rows.clone()]);
            let mut near = scratch::<T>(classes);
            dispatch(Rows { logits: shared, places, rows, targets, losses, ignore, smoothing, scale, near: &mut near });
        });
        let g = places.view(&logits);
        if !gradients.x.is_empty() {
            let dx = MatrixViewMut::new(&mut gradients.x[span.clone()], count, size);
            product(g, Right::View(weight), dx, Start::Zero);
        }
        if let Some(dw) = &mut dw {
            dw.add(part.transposed(), g, if chunk == 0 { Start::Zero } else { Start::Accumulate });
        }
        if !gradients.bias.is_empty() {
            let shared = Shared(gradients.bias.as_mut_ptr());
            parallel::over_ranges(places.count(), count * classes * size_of::<T>(), |some| {
                let (width, apart) = (panel_width::<T>(), places.apart());
                for panel in some {
                    // SAFETY: a panel's columns are one thread's.
                    let y = unsafe { shared.slice(panel * width..classes.min((panel + 1) * width)) };
                    dispatch(AddRows { x: &logits[panel * apart..(panel + 1) * apart], stride: width, rows: count, y });
                }
            });
        }
    }
    if let (Some(dw), true) = (dw, rows > 0) {
        dw.turn();
    }
    Ok(())
}

/// y += row after row, lane by lane.
struct AddRows<'a, T> {
    x: &'a [T],
    stride: usize,
    rows: usize,
    y: &'a mut [T],
}

impl<T: Real> Kernel for AddRows<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(mut self) {
        let n = self.y.len();
        let mut i = 0;
        // SAFETY: these columns lie in every row and in y.
        unsafe {
            while i + <T::On<I> as Lanes>::Step::WIDTH <= n {
                self.add::<<T::On<I> as Lanes>::Step>(i, <T::On<I> as Lanes>::Step::WIDTH);
                i += <T::On<I> as Lanes>::Step::WIDTH;
            }
            while i < n {
                let count = T::WIDTH.min(n - i);
                self.add::<T::On<I>>(i, count);
                i += count;
            }
        }
    }
}

impl<T: Real> AddRows<'_, T> {
    /// `count` columns from `first` on.
    ///
    /// # Safety
    /// They lie in every row and in y, and are at most V's lanes.
    #[inline(always)]
    unsafe fn add<V: Lanes<Elem = T>>(&mut self, first: usize, count: usize) {
        let y = self.y.as_mut_ptr().wrapping_add(first);
        // SAFETY: passed on to the caller.
        unsafe {
            let mut sum = V::load_first(y, count);
            for row in 0..self.rows {
                sum = sum.add(V::load_first(self.x.as_ptr().add(row * self.stride + first), count));
            }
            sum.store_first(y, count);
        }
    }
}
