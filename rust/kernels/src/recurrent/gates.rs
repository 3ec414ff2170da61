//! Where the gates of all rows lie: in panels, as the products read and write them.

use super::{Cell, Sizes};
use crate::matmul::Panels;
use crate::{MatrixView, MatrixViewMut, Real};

/// All slots of all rows in [`Panels`]: one holds one vector of units of an LSTM or a GRU, four of an RNN.
///
/// The tiles of a step write a panel's rows side by side; the gradients of the weights, which read the panels of all rows, find them
/// packed.
#[derive(Clone, Copy)]
pub(super) struct GatePanels<T> {
    cell: Cell,
    /// Columns of a product: those of a GRU leave out a slot.
    columns: usize,
    pub panels: Panels<T>,
}

impl<T: Real> GatePanels<T> {
    /// The panels of so many rows.
    pub fn new(cell: Cell, sizes: Sizes, rows: usize) -> Self {
        let padded = sizes.padded::<T>();
        Self { cell, columns: cell.gates() * padded, panels: Panels::new(rows, cell.slots() * padded) }
    }

    /// The first slot of a row's unit, the first of a vector.
    pub fn at(&self, row: usize, unit: usize) -> usize {
        self.panels.at(row, unit * self.cell.slots())
    }

    /// Columns of a product that stand side by side in a row of a panel.
    pub fn block(&self) -> usize {
        if self.cell == Cell::Gru { 3 * T::WIDTH } else { Panels::<T>::STRIDE }
    }

    /// The gates `[rows, G·padded]` of a product, which stand from a slot on in each panel.
    pub fn view<'a>(&self, gates: &'a [T], slot: usize) -> MatrixView<'a, T> {
        assert_eq!(gates.len(), self.panels.len(), "[recurrent] a buffer of gates of these rows");
        // SAFETY: the panels were just found to lie within the buffer.
        unsafe {
            let first = gates.as_ptr().wrapping_add(slot * T::WIDTH);
            MatrixView::from_raw(first, self.panels.rows, self.columns, Panels::<T>::STRIDE as isize, 1)
                .in_blocks(self.block(), self.panels.apart())
        }
    }

    /// The gates of the input's product of `rows` rows from `first` on.
    pub fn input_of<'a>(&self, gates: &'a mut [T], first: usize, rows: usize) -> MatrixViewMut<'a, T> {
        let held = gates.len() == self.panels.len() && first + rows <= self.panels.rows;
        assert!(held, "[recurrent] a buffer of gates that has these rows");
        // SAFETY: the rows of every panel were just found to lie within the buffer.
        unsafe {
            let to = gates.as_mut_ptr().wrapping_add(first * Panels::<T>::STRIDE);
            MatrixViewMut::from_raw(to, rows, self.columns, Panels::<T>::STRIDE as isize)
                .in_blocks(self.block(), self.panels.apart())
        }
    }
}
