//! Copies blocks of A and B into the order in which tiles read them.

use crate::parallel::part;
use crate::{MatrixView, Real};
use std::ops::Range;

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
            // A transposed view: squares of 4 by 4, which the compiler turns in registers.
            let source = view.at(rows.start, first);
            let (down, right) = (view.row_stride, view.col_stride);
            let square = |k: usize, j: usize| {
                // One column of the square at a time in, one row of the panel at a time out.
                let column = |x: usize| {
                    let from = source.offset(k as isize * down + (j + x) as isize * right);
                    [*from, *from.offset(down), *from.offset(2 * down), *from.offset(3 * down)]
                };
                let [p, q, r, s] = [column(0), column(1), column(2), column(3)];
                for (y, (((&p, &q), &r), &s)) in p.iter().zip(&q).zip(&r).zip(&s).enumerate() {
                    destination.add((k + y) * width + j).cast::<[T; 4]>().write_unaligned([p, q, r, s]);
                }
            };
            let (whole_k, whole_j) = (count / 4 * 4, cols / 4 * 4);
            for k in (0..whole_k).step_by(4) {
                for j in (0..whole_j).step_by(4) {
                    square(k, j);
                }
            }
            for k in 0..count {
                for j in if k < whole_k { whole_j } else { 0 }..cols {
                    *destination.add(k * width + j) = *source.offset(k as isize * down + j as isize * right);
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
