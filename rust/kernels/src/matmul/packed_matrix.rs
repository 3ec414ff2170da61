//! B in panels: for each group of columns the rows follow each other, so that a tile reads it from front to back.
//!
//! ```text
//!   panel 0: B[0, 0..64] B[1, 0..64] … B[K-1, 0..64]   panel 1: B[0, 64..128] …
//! ```
//!
//! The last panel is as wide as its columns need, in whole vectors; columns that do not exist hold zeros. The layout is the
//! same on every instruction set. It is never saved: a generation number of the parameter says when it is out of date.

use super::turn::SQUARE;
use crate::parallel::{self, Shared};
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
        let data = Shared(packed.data.as_mut_ptr());
        let shape = &packed;
        parallel::over_ranges(shape.panels(), 2 * size_of_val(&shape.data[..]), |panels| {
            for panel in panels {
                let (first, vectors) = shape.panel(panel);
                let destination = data.at(shape.panel_offset(panel));
                // SAFETY: the panel's columns lie within the view, the destination was sized for the panel, and it is this thread's alone.
                unsafe { super::pack::pack_panel(view, 0..view.rows, first, vectors * T::WIDTH, destination) };
            }
        });
        packed
    }

    /// Packs `element (k, n) = source[row_offsets[k] + col_offsets[n]]`; `usize::MAX` in either stands for zero. Panels of
    /// `width` columns. This is how gate weights come in the order of the recurrent kernels.
    pub fn gathered(source: &[T], row_offsets: &[usize], col_offsets: &[usize], width: usize) -> Self {
        let mut packed = Self::empty(row_offsets.len(), col_offsets.len(), width);
        let data = Shared(packed.data.as_mut_ptr());
        let shape = &packed;
        parallel::over_ranges(shape.panels(), 4 * size_of_val(&shape.data[..]), |panels| {
            for panel in panels {
                let (first, vectors) = shape.panel(panel);
                let (start, stride) = (shape.panel_offset(panel), vectors * T::WIDTH);
                let cols = &col_offsets[first..col_offsets.len().min(first + stride)];
                // SAFETY: panels of different threads are disjoint.
                let panel = unsafe { data.slice(start..start + row_offsets.len() * stride) };
                gather(source, row_offsets, cols, stride, panel);
            }
        });
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
/// One panel: `to[k, j] = source[rows[k] + cols[j]]`, in squares, because either side may be the one whose neighbours lie far apart.
fn gather<T: Real>(source: &[T], rows: &[usize], cols: &[usize], stride: usize, to: &mut [T]) {
    for (rows, to) in rows.chunks(SQUARE).zip(to.chunks_mut(SQUARE * stride)) {
        for (block, cols) in cols.chunks(SQUARE).enumerate() {
            for (j, &col) in cols.iter().enumerate() {
                for (k, &row) in rows.iter().enumerate() {
                    let value = if row == usize::MAX || col == usize::MAX { T::ZERO } else { source[row + col] };
                    to[k * stride + block * SQUARE + j] = value;
                }
            }
        }
        for row in to.chunks_mut(stride) {
            row[cols.len()..].fill(T::ZERO);
        }
    }
}
