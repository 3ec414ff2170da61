//! Output projection and cross-entropy in one: the logits `[N, V]` are never stored, only a chunk of their rows at a time.
//!
//! For each chunk: logits = X·Wᵀ + b; every row becomes its own gradient in place, (p − target)·scale; then dX = G·W, dWᵀ += Xᵀ·G and
//! db += Σ G while the chunk is still near. dWᵀ, whose product needs not pack G in groups of columns, is turned over in the end, where it
//! lies ([`TurnedGradient`]). W is read as it is: its panels, packed before, would be two copies of it beside its gradient. The backward pass has
//! nothing left to do but a product with the loss's gradient. Where the rows are cut changes no bit: dW is one chain of FMAs over all
//! rows, and db adds row after row.

use crate::activation::{exp_row, row_max, row_sum};
use crate::error::{check_indices, check_length};
use crate::matmul::{Right, Start, TurnedGradient, product};
use crate::parallel::{self, Shared};
use crate::workspace::scratch;
use crate::{MatrixView, MatrixViewMut, Real, Result};
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
    classes: usize,
    logits: &'a mut [T],
    targets: &'a [i64],
    ignore: i64,
    smoothing: T,
    scale: T,
    losses: &'a mut [T],
}

impl<T: Real> Kernel for Rows<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let n = self.classes;
        let floor = <T::On<I>>::splat(self.smoothing / T::from_f64(n as f64) * self.scale);
        for (row, &target) in self.targets.iter().enumerate() {
            let logits = &mut self.logits[row * n..(row + 1) * n];
            if target == self.ignore {
                logits.fill(T::ZERO);
                self.losses[row] = T::ZERO;
                continue;
            }
            let x = logits.as_mut_ptr();
            // SAFETY: the row has n logits, and the target is one of them.
            unsafe {
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
                self.losses[row] = if self.smoothing == T::ZERO { sharp } else { sharp + self.smoothing * ((z - mean) - sharp) };
                let factor = self.scale / total;
                // What would be next to a subnormal number becomes 0: each of those costs the products that follow a hundred cycles.
                let least = <T::On<I>>::splat(T::MIN_NORMAL * T::from_f64(f64::from(1 << 24)) / factor);
                let factor = <T::On<I>>::splat(factor);
                let mut i = 0;
                while i < n {
                    let c = T::WIDTH.min(n - i);
                    let e = <T::On<I>>::load_first(x.add(i), c);
                    let e = <T::On<I>>::select(e.lt(least), <T::On<I>>::zero(), e);
                    e.mul(factor).sub(floor).store_first(x.add(i), c);
                    i += c;
                }
                *x.add(target as usize) += -(self.scale * (T::ONE - self.smoothing));
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
    let mut logits = scratch::<T>(rows.div_ceil(chunks.max(1)) * classes);
    gradients.bias.fill(T::ZERO);
    if rows == 0 {
        gradients.weight.fill(T::ZERO);
    }
    let mut dw = (!gradients.weight.is_empty()).then(|| TurnedGradient::new(gradients.weight, size, classes));
    for chunk in 0..chunks {
        let range = parallel::part(rows, chunks, chunk);
        let (count, span) = (range.len(), range.start * size..range.end * size);
        let logits = &mut logits[..count * classes];
        let part = MatrixView::new(&x[span.clone()], count, size);
        let start = if bias.is_empty() { Start::Zero } else { Start::Bias(bias) };
        product(part, Right::View(weight.transposed()), MatrixViewMut::new(logits, count, classes), start);
        let (shared, shared_losses) = (Shared(logits.as_mut_ptr()), Shared(losses[range.clone()].as_mut_ptr()));
        let targets = &targets[range.clone()];
        parallel::over_ranges(count, count * classes * size_of::<T>() * 6, |rows| {
            // SAFETY: rows of different threads are disjoint.
            let (logits, losses) =
                unsafe { (shared.slice(rows.start * classes..rows.end * classes), shared_losses.slice(rows.clone())) };
            let (smoothing, targets) = (T::from_f64(smoothing), &targets[rows]);
            dispatch(Rows { classes, logits, targets, ignore, smoothing, scale, losses });
        });
        let g = MatrixView::new(logits, count, classes);
        if !gradients.x.is_empty() {
            let dx = MatrixViewMut::new(&mut gradients.x[span.clone()], count, size);
            product(g, Right::View(weight), dx, Start::Zero);
        }
        if let Some(dw) = &mut dw {
            dw.add(part.transposed(), g, if chunk == 0 { Start::Zero } else { Start::Accumulate });
        }
        if !gradients.bias.is_empty() {
            let shared = Shared(gradients.bias.as_mut_ptr());
            parallel::over_ranges(classes, size_of_val(logits), |columns| {
                let x = &logits[columns.start..];
                // SAFETY: columns of different threads are disjoint.
                let y = unsafe { shared.slice(columns) };
                dispatch(AddRows { x, stride: classes, rows: count, y });
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
    fn run<I: Isa>(self) {
        let n = self.y.len();
        for row in 0..self.rows {
            let mut i = 0;
            while i < n {
                let c = T::WIDTH.min(n - i);
                // SAFETY: `c` columns are left in the row and in y.
                unsafe {
                    let y = self.y.as_mut_ptr().add(i);
                    let x = <T::On<I>>::load_first(self.x.as_ptr().add(row * self.stride + i), c);
                    <T::On<I>>::load_first(y, c).add(x).store_first(y, c);
                }
                i += c;
            }
        }
    }
}
