//! torch's weights in the order of the gates buffer, packed; gradients back to torch's layout.

use super::{Cell, Sizes};
use crate::error::check_length;
use crate::matmul::{PackedMatrix, panel_width, turn};
use crate::{Real, Result};
use std::ops::Range;
use std::sync::atomic::AtomicUsize;

/// A direction's parameters as torch has them.
#[derive(Clone, Copy)]
pub struct Weights<'a, T> {
    /// `weight_ih [G·H, I]`
    pub input: &'a [T],
    /// `weight_hh [G·H, H]`
    pub recurrent: &'a [T],
    /// `bias_ih [G·H]` and `bias_hh [G·H]`
    pub biases: Option<(&'a [T], &'a [T])>,
}

/// Panels for the products of a pass. Made anew when the parameters change; never saved.
pub struct PackedWeights<T> {
    pub(super) cell: Cell,
    pub(super) sizes: Sizes,
    /// `[I, gates]`
    pub(super) input: PackedMatrix<T>,
    /// `[H, gates]`
    pub(super) recurrent: PackedMatrix<T>,
    /// Start of the input's product, one number a column.
    pub(super) bias: Vec<T>,
    /// Start of the GRU's h slot, one number a padded unit.
    pub(super) hidden_bias: Vec<T>,
    /// Calls of one step: the panels are gone through there and back from call to call.
    pub(super) single_steps: AtomicUsize,
    /// `[gates, I]` and `[gates, H]`, for the backward pass.
    pub(super) backward: Option<(PackedMatrix<T>, PackedMatrix<T>)>,
}

/// torch's row of every column of a product; `usize::MAX` for padding.
fn rows<T: Real>(sizes: Sizes, gates: &[usize]) -> Vec<usize> {
    let mut out = Vec::with_capacity(sizes.padded::<T>() * gates.len());
    for first in (0..sizes.hidden).step_by(T::WIDTH) {
        for &gate in gates {
            for unit in first..first + T::WIDTH {
                out.push(if unit < sizes.hidden { gate * sizes.hidden + unit } else { usize::MAX });
            }
        }
    }
    out
}

fn scaled(rows: &[usize], factor: usize) -> Vec<usize> {
    rows.iter().map(|&r| if r == usize::MAX { r } else { r * factor }).collect()
}

impl<T: Real> PackedWeights<T> {
    /// Packs the parameters; `backward` also for the backward pass.
    pub fn new(cell: Cell, sizes: Sizes, weights: Weights<'_, T>, backward: bool) -> Result<Self> {
        let Sizes { input, hidden } = sizes;
        let gates = cell.gates() * hidden;
        check_length("recurrent", "weight_ih", weights.input.len(), gates * input)?;
        check_length("recurrent", "weight_hh", weights.recurrent.len(), gates * hidden)?;
        if let Some((bias_ih, bias_hh)) = weights.biases {
            check_length("recurrent", "bias_ih", bias_ih.len(), gates)?;
            check_length("recurrent", "bias_hh", bias_hh.len(), gates)?;
        }
        let width = if cell.gates() == 1 { panel_width::<T>() } else { cell.gates() * T::WIDTH };
        let (input_rows, recurrent_rows) = (rows::<T>(sizes, cell.input_gates()), rows::<T>(sizes, cell.recurrent_gates()));
        let (input_offsets, recurrent_offsets) = (scaled(&input_rows, input), scaled(&recurrent_rows, hidden));
        let up_to = |n: usize| (0..n).collect::<Vec<_>>();
        let bias = input_rows
            .iter()
            .map(|&row| match weights.biases {
                Some((bias_ih, bias_hh)) if row != usize::MAX => {
                    // The GRU's n gate adds b_hn under the reset gate instead.
                    let under_reset = cell == Cell::Gru && row >= 2 * hidden;
                    if under_reset { bias_ih[row] } else { bias_ih[row] + bias_hh[row] }
                }
                _ => T::ZERO,
            })
            .collect();
        let hidden_bias = (0..sizes.padded::<T>())
            .map(|unit| match weights.biases {
                Some((_, bias_hh)) if cell == Cell::Gru && unit < hidden => bias_hh[2 * hidden + unit],
                _ => T::ZERO,
            })
            .collect();
        let back = |source, offsets: &[usize], n| PackedMatrix::gathered(source, offsets, &up_to(n), panel_width::<T>());
        Ok(Self {
            cell,
            sizes,
            input: PackedMatrix::gathered(weights.input, &up_to(input), &input_offsets, width),
            recurrent: PackedMatrix::gathered(weights.recurrent, &up_to(hidden), &recurrent_offsets, width),
            bias,
            hidden_bias,
            single_steps: AtomicUsize::new(0),
            backward: backward
                .then(|| (back(weights.input, &input_offsets, input), back(weights.recurrent, &recurrent_offsets, hidden))),
        })
    }

    /// The cell.
    pub fn cell(&self) -> Cell {
        self.cell
    }

    /// Its sizes.
    pub fn sizes(&self) -> Sizes {
        self.sizes
    }

    /// Whether it was packed for the backward pass too.
    pub fn has_backward(&self) -> bool {
        self.backward.is_some()
    }
}

/// `to[row, k] = from[k, column of row]`: some columns of the transposed weight gradient `[K, columns]` in torch's layout `[G·H, K]`.
pub(super) fn unpack_gradient<T: Real>(sizes: Sizes, gates: &[usize], k: usize, columns: Range<usize>, from: &[T], to: &mut [T]) {
    assert_eq!(to.len(), gates.len() * sizes.hidden * k, "[recurrent] a weight gradient of all its elements");
    turn(from, k, &rows::<T>(sizes, gates)[columns], to);
}

/// torch's bias gradient from the sums of the gates buffer's columns.
pub(super) fn unpack_bias<T: Real>(cell: Cell, sizes: Sizes, gates: &[usize], first_slot: usize, sums: &[T], to: &mut [T]) {
    for unit in 0..sizes.hidden {
        let group = unit / T::WIDTH * cell.slots() * T::WIDTH;
        for (slot, &gate) in gates.iter().enumerate() {
            to[gate * sizes.hidden + unit] = sums[group + (first_slot + slot) * T::WIDTH + unit % T::WIDTH];
        }
    }
}
