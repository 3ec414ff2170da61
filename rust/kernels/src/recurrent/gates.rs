//! Where the gates of all rows lie: in panels, as the products read and write them.

use super::{Cell, Sizes};
use crate::matmul::panel_width;
use crate::{MatrixView, MatrixViewMut, Real};

/// A panel holds, row after row, all slots of some neighbouring units: one vector of units of an LSTM or a GRU, four of an RNN.
///
/// The tiles of a step write a panel's rows side by side; the gradients of the weights, which read the panels of all rows, find them
/// packed.
#[derive(Clone, Copy)]
pub(super) struct GatePanels {
    cell: Cell,
    rows: usize,
    panels: usize,
    columns: usize,
}

impl GatePanels {
    /// The panels of so many rows.
    pub fn new<T: Real>(cell: Cell, sizes: Sizes, rows: usize) -> Self {
        let padded = sizes.padded::<T>();
        Self { cell, rows, panels: (cell.slots() * padded).div_ceil(panel_width::<T>()), columns: cell.gates() * padded }
    }

    /// Numbers of the buffer.
    pub fn len<T: Real>(&self) -> usize {
        self.panels * self.apart::<T>()
    }

    /// How many panels.
    pub fn panels(&self) -> usize {
        self.panels
    }

    /// From a panel to the next.
    pub fn apart<T: Real>(&self) -> usize {
        self.rows * panel_width::<T>()
    }

    /// From a row to the next.
    pub fn stride<T: Real>() -> usize {
        panel_width::<T>()
    }

    /// The first slot of a row's unit, the first of a vector.
    pub fn at<T: Real>(&self, row: usize, unit: usize) -> usize {
        let place = unit * self.cell.slots();
        place / panel_width::<T>() * self.apart::<T>() + row * panel_width::<T>() + place % panel_width::<T>()
    }

    /// Columns of a product that stand side by side in a row of a panel.
    pub fn block<T: Real>(&self) -> usize {
        if self.cell == Cell::Gru { 3 * T::WIDTH } else { panel_width::<T>() }
    }

    /// The gates `[rows, G·padded]` of a product, which stand from a slot on in each panel.
    pub fn view<'a, T: Real>(&self, gates: &'a [T], slot: usize) -> MatrixView<'a, T> {
        assert_eq!(gates.len(), self.len::<T>(), "[recurrent] a buffer of gates of these rows");
        // SAFETY: the panels were just found to lie within the buffer.
        unsafe {
            let first = gates.as_ptr().wrapping_add(slot * T::WIDTH);
            MatrixView::from_raw(first, self.rows, self.columns, Self::stride::<T>() as isize, 1)
                .in_blocks(self.block::<T>(), self.apart::<T>())
        }
    }

    /// The gates of the input's product of `rows` rows from `first` on.
    pub fn input_of<'a, T: Real>(&self, gates: &'a mut [T], first: usize, rows: usize) -> MatrixViewMut<'a, T> {
        assert!(gates.len() == self.len::<T>() && first + rows <= self.rows, "[recurrent] a buffer of gates that has these rows");
        // SAFETY: the rows of every panel were just found to lie within the buffer.
        unsafe {
            let to = gates.as_mut_ptr().wrapping_add(first * Self::stride::<T>());
            MatrixViewMut::from_raw(to, rows, self.columns, Self::stride::<T>() as isize)
                .in_blocks(self.block::<T>(), self.apart::<T>())
        }
    }
}
