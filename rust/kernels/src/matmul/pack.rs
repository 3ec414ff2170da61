//! Copies blocks of A and B into the order in which tiles read them.

use crate::parallel::part;
use crate::{MatrixView, Real};
use std::ops::Range;
use weft_simd::{Isa, Kernel, Lanes, dispatch};

/// Rows `rows` and columns `first..first + width` of `view`, row after row of `width` elements; zeros where columns end.
///
/// # Safety
/// `rows` lies within the view; `destination` is valid for `rows.len() · width` writes. A view in blocks begins a block at `first` and
/// its block holds the panel.
pub unsafe fn pack_panel<T: Real>(view: MatrixView<'_, T>, rows: Range<usize>, first: usize, width: usize, destination: *mut T) {
    let cols = view.cols.saturating_sub(first).min(width);
    let count = rows.len();
    // SAFETY: source elements lie within the view, destination elements within the panel.
    unsafe {
        if cols < width {
            for k in 0..count {
                std::slice::from_raw_parts_mut(destination.add(k * width + cols), width - cols).fill(T::ZERO);
            }
        }
        if count == 0 || cols == 0 {
            return;
        }
        if view.col_stride == 1 {
            for (k, row) in rows.enumerate() {
                std::ptr::copy_nonoverlapping(view.at(row, first), destination.add(k * width), cols);
            }
        } else {
            dispatch(Columns {
                from: view.at(rows.start, first),
                down: view.row_stride,
                right: view.col_stride,
                rows: count,
                cols,
                to: destination,
                width,
            });
        }
    }
}

/// A panel from columns that lie side by side, as those of a transposed matrix do: `to[k · width + j] = from[k · down + j · right]`.
struct Columns<T> {
    from: *const T,
    down: isize,
    right: isize,
    rows: usize,
    cols: usize,
    to: *mut T,
    width: usize,
}

impl<T: Real> Kernel for Columns<T> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let from = |k: usize, j: usize| self.from.wrapping_offset(k as isize * self.down + j as isize * self.right);
        let to = |k: usize, j: usize| self.to.wrapping_add(k * self.width + j);
        let side = <T::On<I>>::SIDE;
        let whole = |n: usize| if self.down == 1 { n / side * side } else { 0 };
        let (rows, cols) = (whole(self.rows), whole(self.cols));
        // SAFETY: the caller of `pack_panel` promised these elements; a square takes `side` of a column, which lie side by side.
        unsafe {
            // Down a few columns at a time: lines that lie far apart fall into few sets of the first-level cache.
            for j in (0..cols).step_by(side) {
                for k in (0..rows).step_by(side) {
                    <T::On<I>>::turn(|x| from(k, j + x), |y| to(k + y, j));
                }
            }
            for k in 0..self.rows {
                for j in if k < rows { cols } else { 0 }..self.cols {
                    *to(k, j) = *from(k, j);
                }
            }
        }
    }
}

/// Rows `rows` and columns `ks` of A for tiles of at most `tallest` rows: the rows are cut evenly, and each tile's part is a run of
/// groups, one a k, of one element a row.
///
/// # Safety
/// The block lies within the view; `destination` is valid for `rows.len() · ks.len()` writes.
pub unsafe fn pack_groups<T: Real>(
    view: MatrixView<'_, T>,
    rows: Range<usize>,
    ks: Range<usize>,
    tallest: usize,
    destination: *mut T,
) {
    let (tiles, length) = (rows.len().div_ceil(tallest), ks.len());
    // A few k at a time, so that the lines of A that are opened serve all tiles.
    for strip in ks.clone().step_by(16) {
        let strip = strip..(strip + 16).min(ks.end);
        for tile in 0..tiles {
            let cut = part(rows.len(), tiles, tile);
            // SAFETY: the strip lies within the view, its groups within the tile's part of the destination.
            unsafe {
                let to = destination.add(cut.start * length + (strip.start - ks.start) * cut.len());
                let from = view.at(rows.start + cut.start, strip.start);
                let (count, down, right) = (strip.len(), view.row_stride, view.col_stride);
                match cut.len() {
                    4 => pack_group::<T, 4>(from, count, down, right, to),
                    5 => pack_group::<T, 5>(from, count, down, right, to),
                    6 => pack_group::<T, 6>(from, count, down, right, to),
                    8 => pack_group::<T, 8>(from, count, down, right, to),
                    height => {
                        for k in 0..count {
                            for i in 0..height {
                                *to.add(k * height + i) = *from.offset(i as isize * down + k as isize * right);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// `count` groups of `MR` elements.
///
/// # Safety
/// As for [`pack_groups`].
#[inline(always)]
unsafe fn pack_group<T: Real, const MR: usize>(from: *const T, count: usize, down: isize, right: isize, to: *mut T) {
    // SAFETY: passed on to the caller.
    unsafe {
        if down == 1 {
            for k in 0..count {
                to.add(k * MR)
                    .cast::<[T; MR]>()
                    .write_unaligned(from.offset(k as isize * right).cast::<[T; MR]>().read_unaligned());
            }
        } else {
            for k in 0..count {
                for i in 0..MR {
                    *to.add(k * MR + i) = *from.offset(i as isize * down + k as isize * right);
                }
            }
        }
    }
}
