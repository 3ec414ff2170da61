//! dW = Gᵀ·X, the gradient of a linear layer's weight.
//!
//! As it stands the product packs G in groups of columns, number by number. As Xᵀ·G it packs X so, and G line by line: faster where G is
//! the wider, though dWᵀ must be turned over. Every element is one chain over the rows either way, with the same bits.

use super::{Panels, Right, Start, panel_width, product, turn_here};
use crate::parallel::{self, Shared};
use crate::workspace::{Scratch, scratch};
use crate::{MatrixView, MatrixViewMut, Real};

/// So many times as many outputs as inputs make up for the turning.
const WIDER: usize = 2;

/// `to = gᵀ·x`.
///
/// Buffers: x `[N, I]` and g `[N, O]`, whose columns lie side by side, are read; to `[O, I]` is written.
pub fn weight_gradient<T: Real>(x: MatrixView<'_, T>, g: MatrixView<'_, T>, to: &mut [T]) {
    assert_eq!(x.rows, g.rows, "[weight_gradient] a row of x for each of g");
    weight_gradient_of_parts([(x, 0)], g, to);
}

/// The same where the rows of x lie in parts, at least one, each with the row of g at which it begins; what no part
/// meets of g adds nothing.
pub(crate) fn weight_gradient_of_parts<'a, T: Real>(
    parts: impl IntoIterator<Item = (MatrixView<'a, T>, usize)>,
    g: MatrixView<'_, T>,
    to: &mut [T],
) {
    let (outputs, to_len) = (g.cols, to.len());
    let inputs = to.len().checked_div(outputs).unwrap_or(0);
    assert_eq!(g.col_stride, 1, "[weight_gradient] columns side by side");
    let parts = parts.into_iter().inspect(|(x, _)| assert_eq!(x.cols * outputs, to_len, "[weight_gradient] sizes that agree"));
    let mut start = Start::Zero;
    // In panels the right-hand side is read where it lies, so that the turned product packs neither: however wide.
    let in_panels = g.block < g.cols;
    if !in_panels && (outputs < WIDER * inputs || g.rows == 0) {
        for (x, first) in parts {
            let (a, c) = (g.some_rows(first, x.rows).transposed(), MatrixViewMut::new(to, outputs, inputs));
            product(a, Right::View(x), c, start);
            start = Start::Accumulate;
        }
        return;
    }
    let mut turned = TurnedGradient::new(to, inputs, outputs);
    for (x, first) in parts {
        turned.add(x.transposed(), g.some_rows(first, x.rows), start);
        start = Start::Accumulate;
    }
    turned.turn();
}

/// dWᵀ `[I, O]` in the place of dW `[O, I]`: a panel of 64 of its columns lies where their rows of dW will be, and is turned over there.
///
/// ```text
///   dW rows 0..64:  | dWᵀ[0, 0..64] dWᵀ[1, 0..64] … dWᵀ[I−1, 0..64] |  rows 64..128:  | dWᵀ[0, 64..128] … |   the last: beside
/// ```
pub(crate) struct TurnedGradient<'a, T> {
    to: &'a mut [T],
    /// Columns beyond the last whole panel, `[I, rest]`.
    rest: Scratch<T>,
    inputs: usize,
    outputs: usize,
}

impl<'a, T: Real> TurnedGradient<'a, T> {
    pub(crate) fn new(to: &'a mut [T], inputs: usize, outputs: usize) -> Self {
        Self { to, rest: scratch(inputs * (outputs % panel_width::<T>())), inputs, outputs }
    }

    /// The sum, or its beginning, of the products of all chunks. Where g is in panels they are read as they lie.
    pub(crate) fn add(&mut self, a: MatrixView<'_, T>, g: MatrixView<'_, T>, start: Start<'_, T>) {
        let rest = self.outputs % panel_width::<T>();
        let whole = self.outputs - rest;
        product(a, Right::View(g.columns(0, whole)), Panels::new(self.inputs, whole).view_mut(self.to), start);
        product(a, Right::View(g.columns(whole, rest)), MatrixViewMut::new(&mut self.rest, self.inputs, rest), start);
    }

    /// dW.
    pub(crate) fn turn(self) {
        let (width, panel) = (panel_width::<T>(), self.inputs * panel_width::<T>());
        let (panels, rest) = self.to.split_at_mut(self.outputs / width * panel);
        let shared = Shared(panels.as_mut_ptr());
        parallel::over_ranges(self.outputs / width, 2 * size_of_val(panels), |some| {
            let mut copy = scratch::<T>(panel);
            for at in some {
                // SAFETY: each panel is one thread's.
                let panel = unsafe { shared.slice(at * panel..(at + 1) * panel) };
                copy.copy_from_slice(panel);
                turn_here(&copy, self.inputs, panel);
            }
        });
        turn_here(&self.rest, self.inputs, rest);
    }
}
