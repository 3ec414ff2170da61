//! Copies blocks of A and B into the order in which tiles read them.

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
            // A transposed view: 8 columns at a time, so that each source line that is opened serves 16 rows.
            let source = view.at(rows.start, first);
            for j0 in (0..cols).step_by(8) {
                for k in 0..count {
                    for j in j0..(j0 + 8).min(cols) {
                        *destination.add(k * width + j) =
                            *source.offset(k as isize * view.row_stride + j as isize * view.col_stride);
                    }
                }
            }
        }
    }
}

/// `rows` rows of A from `row`, k in `ks`, as groups of `rows` elements, one group a k.
///
/// # Safety
/// The block lies within the view; `destination` is valid for `rows · ks.len()` writes.
pub unsafe fn pack_rows<T: Real>(view: MatrixView<'_, T>, row: usize, rows: usize, ks: Range<usize>, destination: *mut T) {
    let count = ks.len();
    // SAFETY: source elements lie within the view, destination elements within the group.
    unsafe {
        if view.row_stride == 1 {
            let source = view.at(row, ks.start);
            for k in 0..count {
                std::ptr::copy_nonoverlapping(source.offset(k as isize * view.col_stride), destination.add(k * rows), rows);
            }
        } else {
            for i in 0..rows {
                for (k, position) in ks.clone().enumerate() {
                    *destination.add(k * rows + i) = *view.at(row + i, position);
                }
            }
        }
    }
}
