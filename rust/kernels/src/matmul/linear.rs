//! A linear layer with what follows it, while each piece of the result is still in the first-level cache.

use super::{PackedMatrix, Right, Start, product_finished};
use crate::activation::{self, Activation};
use crate::dropout::Dropout;
use crate::error::check_length;
use crate::parallel::Shared;
use crate::{MatrixView, MatrixViewMut, Real, Result};

/// What follows `x · W + bias`.
pub struct Linear<'a, T> {
    /// `[O]`, or empty for none.
    pub bias: &'a [T],
    /// y = f(…).
    pub activation: Option<Activation>,
    /// Written: the numbers before the activation, which GELU's backward pass needs; or empty.
    pub before: &'a mut [T],
    /// y is dropped out.
    pub dropout: Option<Dropout>,
    /// Added at the end `[N, O]`, or empty for none.
    pub residual: &'a [T],
}

/// `y = dropout(f(x · W + bias)) + residual`.
///
/// Buffers: x `[N, I]` and the packed W `[I, O]` are read, y `[N, O]` is written; the others as [`Linear`] says.
pub fn linear<T: Real>(x: &[T], weight: &PackedMatrix<T>, with: Linear<'_, T>, y: &mut [T]) -> Result<()> {
    let (inputs, outputs) = (weight.rows(), weight.cols());
    let rows = y.len().checked_div(outputs).unwrap_or(0);
    check_length("linear", "output", y.len(), rows * outputs)?;
    check_length("linear", "input", x.len(), rows * inputs)?;
    for (name, got, expected) in [
        ("bias", with.bias.len(), outputs),
        ("pre-activation", with.before.len(), rows * outputs),
        ("residual", with.residual.len(), rows * outputs),
    ] {
        if got != 0 {
            check_length("linear", name, got, expected)?;
        }
    }
    let (keep, before) = (!with.before.is_empty(), Shared(with.before.as_mut_ptr()));
    let start = if with.bias.is_empty() { Start::Zero } else { Start::Bias(with.bias) };
    let finish = |row: usize, first: usize, piece: &mut [T]| {
        let place = row * outputs + first..row * outputs + first + piece.len();
        if keep {
            // SAFETY: every place of `before` belongs to one piece of y, and every piece to one thread.
            unsafe { before.slice(place.clone()) }.copy_from_slice(piece);
        }
        if let Some(f) = with.activation {
            activation::in_place(f, piece);
        }
        if let Some(dropout) = with.dropout {
            dropout.in_place(place.start, piece);
        }
        if !with.residual.is_empty() {
            for (value, &more) in piece.iter_mut().zip(&with.residual[place]) {
                *value += more;
            }
        }
    };
    let (x, y) = (MatrixView::new(x, rows, inputs), MatrixViewMut::new(y, rows, outputs));
    if with.activation.is_none() && with.dropout.is_none() && with.residual.is_empty() {
        super::product(x, Right::Packed(weight), y, start);
    } else {
        product_finished(x, Right::Packed(weight), y, start, &finish);
    }
    Ok(())
}
