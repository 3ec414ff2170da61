//! B in panels: for each group of columns the rows follow each other, so that a tile reads it from front to back.
//!
//! ```text
//!   panel 0: B[0, 0..64] B[1, 0..64] … B[K-1, 0..64]   panel 1: B[0, 64..128] …
//! ```
//!
//! The last panel is as wide as its columns need, in whole vectors; columns that do not exist hold zeros. The layout is the
//! same on every instruction set. It is never saved: a generation number of the parameter says when it is out of date.

use crate::parallel::{self, Shared};
use crate::workspace::{Scratch, scratch};
use crate::{MatrixView, Real};
use weft_simd::{Isa, Kernel, Lanes, dispatch};

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
                dispatch(Gather { source, rows: row_offsets, cols, stride, to: panel });
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

    /// Where line `part · K` of a panel stands, null behind its last: tiles that ask for a line at each step share it out so.
    pub(crate) fn lines(&self, panel: usize, part: usize) -> *const T {
        if part < self.panel(panel).1 {
            self.data[self.panel_offset(panel) + part * self.rows * T::WIDTH..].as_ptr()
        } else {
            std::ptr::null()
        }
    }

    /// Row `k` of a panel.
    pub(crate) fn panel_pointer(&self, panel: usize, k: usize) -> *const T {
        let offset = self.panel_offset(panel) + k * self.panel(panel).1 * T::WIDTH;
        self.data[offset..].as_ptr()
    }
}

/// One panel: `to[k, j] = source[rows[k] + cols[j]]`, zero where either is `usize::MAX`. Where rows follow each other their columns are turned
/// over in squares, where columns do they are copied.
struct Gather<'a, T> {
    source: &'a [T],
    rows: &'a [usize],
    cols: &'a [usize],
    stride: usize,
    to: &'a mut [T],
}

impl<T: Real> Kernel for Gather<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let Self { source, rows, cols, stride, to } = self;
        let side = <T::On<I>>::SIDE;
        let in_order = |offsets: &[usize]| offsets.windows(2).all(|two| two[0] != usize::MAX && two[1] == two[0] + 1);
        let along = in_order(cols) && cols.first() != Some(&usize::MAX);
        for (rows, to) in rows.chunks(side).zip(to.chunks_mut(side * stride)) {
            let down = rows.len() == side && in_order(rows);
            for (to, &row) in to.chunks_mut(stride).zip(rows) {
                let (to, rest) = to.split_at_mut(cols.len());
                rest.fill(T::ZERO);
                match row {
                    usize::MAX => to.fill(T::ZERO),
                    _ if along && !cols.is_empty() => to.copy_from_slice(&source[row + cols[0]..][..cols.len()]),
                    _ => {}
                }
            }
            if along {
                continue;
            }
            for (block, cols) in cols.chunks(side).enumerate() {
                if down && cols.len() == side && !cols.contains(&usize::MAX) {
                    assert!(cols.iter().all(|col| rows[0] + col + side <= source.len()), "[pack] elements that exist");
                    let (from, to) = (source[rows[0]..].as_ptr(), to[block * side..].as_mut_ptr());
                    // SAFETY: `side` numbers from each column's first exist; the panel's rows hold the square.
                    unsafe { <T::On<I>>::turn(|x| from.wrapping_add(cols[x]), |y| to.wrapping_add(y * stride)) };
                    continue;
                }
                for (&row, to) in rows.iter().zip(to.chunks_mut(stride)) {
                    for (to, &col) in to[block * side..].iter_mut().zip(cols).filter(|_| row != usize::MAX) {
                        *to = if col == usize::MAX { T::ZERO } else { source[row + col] };
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::PackedMatrix;

    #[test]
    fn gathered_is_element_by_element() {
        let all = |n: usize, step: usize| (0..n).map(|i| i * step).collect::<Vec<_>>();
        let gaps = |offsets: Vec<usize>| offsets.into_iter().map(|o| if o % 7 == 3 { usize::MAX } else { o }).collect::<Vec<_>>();
        let source: Vec<f32> = (0..5000).map(|i| i as f32).collect();
        let cases = [
            (all(40, 1), all(100, 41)),
            (all(19, 1), gaps(all(70, 33))),
            (all(30, 90), all(80, 1)),
            (gaps(all(30, 90)), all(77, 1)),
            (gaps(all(50, 3)), gaps(all(40, 50))),
            (all(1, 1), all(1, 1)),
            (all(0, 1), all(9, 1)),
        ];
        for (rows, cols) in cases {
            for width in [16, 48, 64] {
                let packed = PackedMatrix::gathered(&source, &rows, &cols, width);
                for panel in 0..packed.panels() {
                    let (first, vectors) = packed.panel(panel);
                    for (k, &row) in rows.iter().enumerate() {
                        for j in 0..16 * vectors {
                            let col = cols.get(first + j).copied().unwrap_or(usize::MAX);
                            let wished = if row == usize::MAX || col == usize::MAX { 0.0 } else { source[row + col] };
                            // SAFETY: a row of a panel holds its vectors.
                            let got = unsafe { *packed.panel_pointer(panel, k).add(j) };
                            assert_eq!(got, wished, "{} by {}, row {k}, column {}", rows.len(), cols.len(), first + j);
                        }
                    }
                }
            }
        }
    }
}
