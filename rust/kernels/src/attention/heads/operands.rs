//! The operands of a tile's products: rows as A, columns as B, packed, where they lie, or in the pages of a cache.

use super::{KEY_BLOCK, PAGE};
use crate::matmul::pack::pack_panel;
use crate::matmul::tile::{TileArguments, run_tile, tile_rows};
use crate::matmul::{PANEL_VECTORS, panel_width};
use crate::parallel::part;
use crate::workspace::{Scratch, scratch};
use crate::{MatrixView, Real};
use std::ops::Range;
use weft_simd::Choice;

/// B of a product, as tiles read it.
pub(super) struct Columns<T> {
    pub source: Source<T>,
    pub rows: usize,
    pub cols: usize,
}

pub(super) enum Source<T> {
    /// Panels of packed columns.
    Packed(*const T),
    /// Rows where they lie.
    InPlace(*const T, usize),
    /// Pages of a cache side by side: [`PAGE`] columns each, rows `PAGE` apart.
    Across([*const T; PAGES]),
    /// Pages of a cache one below the other: [`PAGE`] rows each, this far apart.
    Down([*const T; PAGES], usize),
}

/// Pages that a block of keys lies in.
pub(super) const PAGES: usize = KEY_BLOCK / PAGE;

impl<T: Real> Columns<T> {
    /// Columns that tiles read whole vectors of; they lie well without packing where `readable` of them exist behind the first.
    /// What is packed lies in `store`, which outlives the columns and is not touched while they are read.
    pub fn new(view: MatrixView<'_, T>, few_rows: bool, readable: usize, store: &mut Scratch<T>) -> Self {
        let (rows, cols) = (view.rows, view.cols);
        let whole = cols.next_multiple_of(T::WIDTH);
        if few_rows && view.col_stride == 1 && view.row_stride >= 0 && whole <= readable {
            return Self { source: Source::InPlace(view.pointer, view.row_stride as usize), rows, cols };
        }
        let width = panel_width::<T>();
        let packed = room(store, rows * whole);
        for first in (0..cols).step_by(width) {
            let to = packed.wrapping_add(rows * first);
            // SAFETY: the panel's columns lie within the view, and the buffer holds whole vectors of them.
            unsafe { pack_panel(view, 0..rows, first, (whole - first).min(width), to) };
        }
        Self { source: Source::Packed(packed.cast_const()), rows, cols }
    }

    /// Columns that lie in pages of a cache: where they lie for few rows, or copied into panels, as [`Columns::new`] says.
    pub fn of_pages(source: Source<T>, (rows, cols): (usize, usize), few_rows: bool, store: &mut Scratch<T>) -> Self {
        let there = Self { source, rows, cols };
        if few_rows {
            return there;
        }
        let whole = cols.next_multiple_of(T::WIDTH);
        let packed = room(store, rows * whole);
        for first in (0..whole).step_by(panel_width::<T>()) {
            let width = (whole - first).min(panel_width::<T>());
            let piece = width.min(there.widest());
            for column in (first..first + width).step_by(piece) {
                for row in 0..rows {
                    let (from, to) =
                        (there.panel(column, row).0, packed.wrapping_add(rows * first + row * width + column - first));
                    // SAFETY: pages hold whole vectors of columns, and the buffer whole vectors of each row.
                    unsafe { std::ptr::copy_nonoverlapping(from, to, piece.min(first + width - column)) };
                }
            }
        }
        Self { source: Source::Packed(packed.cast_const()), rows, cols }
    }

    /// Columns that lie side by side at most.
    fn widest(&self) -> usize {
        if let Source::Across(..) = self.source { PAGE.min(panel_width::<T>()) } else { panel_width::<T>() }
    }

    /// Where row 0 of the vector at column `first` lies, and how far on the next row does.
    #[inline(always)]
    pub(super) fn vector(&self, first: usize) -> (*const T, usize) {
        if let Source::Across(..) = self.source {
            return self.panel(first, 0);
        }
        let column = first / panel_width::<T>() * panel_width::<T>();
        let (panel, stride) = self.panel(column, 0);
        (panel.wrapping_add(first - column), stride)
    }

    /// First row and stride of the panel that begins at column `first`, from `row` on.
    pub(super) fn panel(&self, first: usize, row: usize) -> (*const T, usize) {
        match &self.source {
            Source::InPlace(pointer, stride) => (pointer.wrapping_add(row * stride + first), *stride),
            Source::Packed(packed) => {
                let stride = (self.cols.next_multiple_of(T::WIDTH) - first).min(panel_width::<T>());
                (packed.wrapping_add(self.rows * first + row * stride), stride)
            }
            Source::Across(pages) => (pages[first / PAGE].wrapping_add(row * PAGE + first % PAGE), PAGE),
            Source::Down(pages, stride) => (pages[row / PAGE].wrapping_add(row % PAGE * stride + first), *stride),
        }
    }

    /// Where the rows that follow `row` end to lie at one distance.
    pub(super) fn run(&self, row: usize) -> usize {
        if let Source::Down(..) = self.source { (row / PAGE + 1) * PAGE } else { self.rows }
    }
}

/// The first of at least `len` numbers of a store that grows.
pub(super) fn room<T: Real>(store: &mut Scratch<T>, len: usize) -> *mut T {
    if store.len() < len {
        *store = scratch(len);
    }
    store.as_mut_ptr()
}

/// A of a small product: `rows` rows, `stride` apart.
#[derive(Clone, Copy)]
pub(super) struct Rows<T> {
    pub pointer: *const T,
    pub stride: isize,
    pub rows: usize,
}

/// `C[rows, columns] = A[rows, steps] · B[steps, columns]`, or `C +=` with the chains going on; `TURNED`: A's rows lie side by side and the
/// stride leads from step to step. Columns begin at a whole vector of a panel.
///
/// # Safety
/// A, B from its row `steps.start` on, and C are valid for these sizes; C has room for no more than the columns.
pub(super) unsafe fn multiply<T: Real, const TURNED: bool>(
    choice: Choice,
    a: Rows<T>,
    b: &Columns<T>,
    steps: Range<usize>,
    columns: Range<usize>,
    accumulate: bool,
    (c, c_stride): (*mut T, isize),
) {
    let width = b.widest();
    let tiles = a.rows.div_ceil(tile_rows(choice, PANEL_VECTORS));
    let mut begin = steps.start;
    loop {
        let end = b.run(begin).min(steps.end);
        let goes_on = accumulate || begin > steps.start;
        let left = if TURNED { (begin - steps.start) as isize * a.stride } else { (begin - steps.start) as isize };
        for panel in columns.start / width..columns.end.div_ceil(width) {
            let first = (panel * width).max(columns.start);
            let cols = columns.end.min((panel + 1) * width) - first;
            let (from, b_stride) = b.panel(panel * width, begin);
            for tile in 0..tiles {
                let rows = part(a.rows, tiles, tile);
                let down = if TURNED { rows.start as isize } else { rows.start as isize * a.stride };
                let c = c.wrapping_offset(rows.start as isize * c_stride + first as isize);
                let arguments = TileArguments {
                    a: a.pointer.wrapping_offset(down + left),
                    a_row_stride: a.stride,
                    steps: end - begin,
                    lead: end - begin,
                    segment: end - begin,
                    gap: 0,
                    b: from.wrapping_add(first - panel * width),
                    b_stride,
                    then: None,
                    next: std::ptr::null(),
                    from: if goes_on { c.cast_const() } else { std::ptr::null() },
                    from_stride: c_stride,
                    c,
                    c_stride,
                    add: false,
                    cols,
                };
                // SAFETY: passed on to the caller; a panel is read in whole vectors, which it holds.
                unsafe { run_tile::<T, TURNED>(choice, rows.len(), cols.div_ceil(T::WIDTH), &arguments) };
            }
        }
        begin = end;
        if begin >= steps.end {
            return;
        }
    }
}
