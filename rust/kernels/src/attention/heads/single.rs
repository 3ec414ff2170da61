//! One row on one block of keys in one pass: what a step of a decoder is made of. It saves the calls of a tile's two products and of the
//! numerators between them. The chains are the tile's, so the bits are.

use super::operands::Columns;
use super::softmax::{Block, Numerators, Tile};
use crate::Real;
use crate::matmul::{PANEL_VECTORS, panel_width};
use std::ops::Range;
use weft_simd::{Isa, Kernel, Lanes};

/// Scores, numerators and their product with the values.
pub(super) struct Single<'a, T> {
    /// The row's query.
    pub q: *const T,
    /// Keys, turned over, and values of the block.
    pub keys: &'a Columns<T>,
    pub values: &'a Columns<T>,
    /// The tile of this row: its scores hold a block of keys.
    pub tile: Tile<'a, T>,
    /// Where the product goes, as many numbers as the values have columns.
    pub to: *mut T,
}

impl<T: Real> Kernel for Single<'_, T> {
    type Output = Block<T>;
    #[inline(always)]
    fn run<I: Isa>(self) -> Block<T> {
        let (width, panel) = (T::WIDTH, panel_width::<T>());
        let Range { start, end } = self.tile.span.clone();
        let scores = self.tile.scores;
        let mut first = start / width * width;
        while first < end {
            let vectors = (end.min((first / panel + 1) * panel) - first).div_ceil(width);
            // Vectors of a page lie side by side, those of pages anywhere.
            let mut all = Run { a: self.q, rows: self.keys.rows, from: [std::ptr::null(); PANEL_VECTORS], stride: 0 };
            for (v, from) in all.from.iter_mut().enumerate().take(vectors) {
                (*from, all.stride) = self.keys.vector(first + v * width);
            }
            let mut once = Some(all);
            // SAFETY: the query has a number for each row of the keys, a panel holds whole vectors, the scores a whole block.
            unsafe {
                let mut sums = [<T::On<I>>::zero(); PANEL_VECTORS];
                chains::<I, T>(vectors, || once.take(), &mut sums);
                let mut v = 0;
                while v < vectors {
                    sums[v].store(scores.add(first + v * width));
                    v += 1;
                }
            }
            first += vectors * width;
        }
        let block = Numerators(self.tile).run::<I>();
        let mut column = 0;
        while column < self.values.cols {
            let columns = panel.min(self.values.cols - column);
            let vectors = columns.div_ceil(width);
            let mut sums = [<T::On<I>>::zero(); PANEL_VECTORS];
            let mut begin = start;
            let pieces = || {
                let (row, stride) = (begin < end).then(|| self.values.panel(column, begin))?;
                let stop = self.values.run(begin).min(end);
                let (a, rows) = (scores.wrapping_add(begin).cast_const(), stop - begin);
                begin = stop;
                Some(Run { a, rows, from: std::array::from_fn(|v| row.wrapping_add(v * width)), stride })
            };
            // SAFETY: the values have a row for each key, in whole vectors; `to` has room for their columns.
            unsafe { chains::<I, T>(vectors, pieces, &mut sums) };
            let mut v = 0;
            while v < vectors {
                // SAFETY: as above.
                unsafe { sums[v].store_first(self.to.add(column + v * width), width.min(columns - v * width)) };
                v += 1;
            }
            column += columns;
        }
        block
    }
}

/// Rows of B that lie at one distance, and what each is multiplied by.
struct Run<T> {
    /// As many numbers as there are rows.
    a: *const T,
    rows: usize,
    /// Where each vector of the first row lies.
    from: [*const T; PANEL_VECTORS],
    stride: usize,
}

/// `sums = Σ a · B` over all runs, for one to four vectors of B's columns: as many chains.
///
/// # Safety
/// What the runs say is there, for the first `vectors` of their pointers.
#[inline(always)]
unsafe fn chains<I: Isa, T: Real>(vectors: usize, runs: impl FnMut() -> Option<Run<T>>, sums: &mut [T::On<I>; PANEL_VECTORS]) {
    // SAFETY: passed on to the caller.
    unsafe {
        match vectors {
            1 => some_chains::<I, T, 1>(runs, sums),
            2 => some_chains::<I, T, 2>(runs, sums),
            3 => some_chains::<I, T, 3>(runs, sums),
            _ => some_chains::<I, T, 4>(runs, sums),
        }
    }
}

#[inline(always)]
unsafe fn some_chains<I: Isa, T: Real, const V: usize>(
    mut runs: impl FnMut() -> Option<Run<T>>,
    sums: &mut [T::On<I>; PANEL_VECTORS],
) {
    let mut chain = [<T::On<I>>::zero(); V];
    while let Some(Run { a, rows, from, stride }) = runs() {
        let mut k = 0;
        while k < rows {
            // SAFETY: passed on to the caller.
            unsafe {
                let (x, row) = (<T::On<I>>::splat(*a.add(k)), k * stride);
                let mut v = 0;
                while v < V {
                    chain[v] = x.fma(<T::On<I>>::load(from[v].add(row)), chain[v]);
                    v += 1;
                }
            }
            k += 1;
        }
    }
    let mut v = 0;
    while v < V {
        sums[v] = chain[v];
        v += 1;
    }
}
