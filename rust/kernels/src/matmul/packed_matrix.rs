//! B in panels: for each group of columns the rows follow each other, so that a tile reads it from front to back.
//!
//! ```text
//!   panel 0: B[0, 0..64] B[1, 0..64] … B[K-1, 0..64]   panel 1: B[0, 64..128] …
//! ```
//!
//! The last panel is as wide as its columns need, in whole vectors; columns that do not exist hold zeros. The layout is the
//! same on every instruction set. It is never saved: a generation number of the parameter says when it is out of date.

use crate::workspace::{Scratch, scratch};
use crate::{MatrixView, Real};

/// A matrix `[K, N]` in panels.
pub struct PackedMatrix<T> {
    pub(crate) data: Scratch<T>,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    /// Columns of a full panel.
    pub(crate) width: usize,
}

impl<T: Real> PackedMatrix<T> {
    /// Packs any view that is not in blocks.
    pub fn new(view: MatrixView<'_, T>) -> Self {
        let width = super::panel_width::<T>();
        let mut packed = Self::empty(view.rows, view.cols, width);
        for panel in 0..packed.panels() {
            let (first, vectors) = packed.panel(panel);
            let start = packed.panel_offset(panel);
            let destination = packed.data[start..].as_mut_ptr();
            // SAFETY: the panel's columns lie within the view, and the destination was sized for the panel.
            unsafe { super::pack::pack_panel(view, 0..view.rows, first, vectors * T::WIDTH, destination) };
        }
        packed
    }

    /// Packs `element (k, n) = source[row_offsets[k] + col_offsets[n]]`; `usize::MAX` in either stands for zero. Panels of
    /// `width` columns. This is how gate weights come in the order of the recurrent kernels.
    pub fn gathered(source: &[T], row_offsets: &[usize], col_offsets: &[usize], width: usize) -> Self {
        let mut packed = Self::empty(row_offsets.len(), col_offsets.len(), width);
        for panel in 0..packed.panels() {
            let (first, vectors) = packed.panel(panel);
            let stride = vectors * T::WIDTH;
            let cols = &col_offsets[first..col_offsets.len().min(first + stride)];
            let start = packed.panel_offset(panel);
            for (k, &row) in row_offsets.iter().enumerate() {
                let destination = &mut packed.data[start + k * stride..start + (k + 1) * stride];
                destination[cols.len()..].fill(T::ZERO);
                for (value, &col) in destination.iter_mut().zip(cols) {
                    *value = if row == usize::MAX || col == usize::MAX { T::ZERO } else { source[row + col] };
                }
            }
        }
        packed
    }

    fn empty(rows: usize, cols: usize, width: usize) -> Self {
        let padded = cols.div_ceil(T::WIDTH) * T::WIDTH;
        Self { data: scratch(rows * padded), rows, cols, width }
    }

    /// K.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// N.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// How many panels.
    pub(crate) fn panels(&self) -> usize {
        self.cols.div_ceil(self.width)
    }

    /// First column and width in vectors of a panel.
    pub(crate) fn panel(&self, panel: usize) -> (usize, usize) {
        let first = panel * self.width;
        (first, (self.cols - first).min(self.width).div_ceil(T::WIDTH))
    }

    fn panel_offset(&self, panel: usize) -> usize {
        panel * self.width * self.rows
    }

    /// Row `k` of a panel.
    pub(crate) fn panel_pointer(&self, panel: usize, k: usize) -> *const T {
        let offset = self.panel_offset(panel) + k * self.panel(panel).1 * T::WIDTH;
        self.data[offset..].as_ptr()
    }
}
