//! Where the gates of a layer with options lie: gate after gate, in panels where a gate is whole panels, else row after row.
//!
//! In panels the gradients of the weights read them without packing. Norms go along whole rows, r ∘ u of Cho's GRU is an input of a product, and
//! units that leave a panel unfinished would have to be padded: all these have rows.

use super::Kind;
use crate::matmul::{Panels, panel_width};
use crate::{MatrixView, MatrixViewMut, Real};
use std::marker::PhantomData;

/// All slots of all rows.
#[derive(Clone, Copy)]
pub(super) struct GatePlaces<T> {
    rows: usize,
    hidden: usize,
    columns: usize,
    in_panels: bool,
    numbers: PhantomData<T>,
}

/// The gates of some rows, as the cells find them.
#[derive(Clone, Copy)]
pub(super) struct Gates<T> {
    first: *mut T,
    hidden: usize,
    /// From row to row.
    stride: usize,
    /// A panel has 1 << `shift` columns: more than there are where the gates lie in rows.
    shift: u32,
    /// From panel to panel.
    apart: usize,
}

impl<T> Gates<T> {
    /// Where a slot of a unit stands, those of the next units up to a multiple of 64 (32 of f64) beside it.
    #[inline(always)]
    pub fn at(&self, row: usize, slot: usize, unit: usize) -> *mut T {
        let column = slot * self.hidden + unit;
        let (panel, within) = (column >> self.shift, column & ((1_usize << self.shift) - 1));
        self.first.wrapping_add(row * self.stride + panel * self.apart + within)
    }
}

impl<T: Real> GatePlaces<T> {
    /// The places of so many rows.
    pub fn new(kind: &Kind, normed: bool, rows: usize) -> Self {
        let hidden = kind.sizes.hidden;
        let in_panels = !normed && !kind.reset_before && hidden.is_multiple_of(panel_width::<T>());
        Self { rows, hidden, columns: kind.slots() * hidden, in_panels, numbers: PhantomData }
    }

    /// Numbers of all rows.
    pub fn len(&self) -> usize {
        self.rows * self.columns
    }

    /// From row to row.
    pub fn stride(&self) -> usize {
        if self.in_panels { panel_width::<T>() } else { self.columns }
    }

    /// Columns that stand side by side, and from the first of them to the next ones.
    fn blocks(&self) -> (usize, usize) {
        if self.in_panels { (panel_width::<T>(), Panels::<T>::new(self.rows, self.columns).apart()) } else { (self.columns, 0) }
    }

    /// Where a column of a row lies.
    fn at(&self, row: usize, column: usize) -> usize {
        let (block, apart) = self.blocks();
        row * self.stride() + column / block.max(1) * apart + column % block.max(1)
    }

    /// The gates from a row on, for the cells.
    pub fn gates(&self, all: *mut T, row: usize) -> Gates<T> {
        let shift = if self.in_panels { panel_width::<T>().ilog2() } else { usize::BITS - 1 };
        let (hidden, stride, apart) = (self.hidden, self.stride(), self.blocks().1);
        Gates { first: all.wrapping_add(row * stride), hidden, stride, shift, apart }
    }

    /// Some columns, the first of which begins a gate, of some rows.
    ///
    /// # Safety
    /// `all` holds these places, and nobody writes those of the view during its life.
    pub unsafe fn view<'a>(&self, all: *const T, first: usize, rows: usize, column: usize, cols: usize) -> MatrixView<'a, T> {
        let (block, apart) = self.blocks();
        // SAFETY: passed on to the caller.
        unsafe {
            let view = MatrixView::from_raw(all.wrapping_add(self.at(first, column)), rows, cols, self.stride() as isize, 1);
            if block < cols { view.in_blocks(block, apart) } else { view }
        }
    }

    /// The same, to be written.
    ///
    /// # Safety
    /// `all` holds these places, and those of the view are its own for its life.
    pub unsafe fn view_mut<'a>(
        &self,
        all: *mut T,
        first: usize,
        rows: usize,
        column: usize,
        cols: usize,
    ) -> MatrixViewMut<'a, T> {
        let (block, apart) = self.blocks();
        // SAFETY: passed on to the caller.
        unsafe {
            let view = MatrixViewMut::from_raw(all.wrapping_add(self.at(first, column)), rows, cols, self.stride() as isize);
            if block < cols { view.in_blocks(block, apart) } else { view }
        }
    }

    /// A gate in pieces of columns that stand side by side: the first unit of each, how many, and where those of a row stand.
    pub fn pieces(self, row: usize, slot: usize) -> impl Iterator<Item = (usize, usize, usize)> {
        let piece = self.blocks().0.min(self.hidden).max(1);
        let units = (0..self.hidden).step_by(piece);
        units.map(move |unit| (unit, piece.min(self.hidden - unit), self.at(row, slot * self.hidden + unit)))
    }
}
