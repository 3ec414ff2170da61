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
            let column = first / panel * panel;
            let vectors = (end.min(column + panel) - first).div_ceil(width);
            let (b, stride) = self.keys.panel(column, 0);
            let b = b.wrapping_add(first - column);
            // SAFETY: the query has a number for each row of the keys, a panel holds whole vectors, the scores a whole block.
            unsafe {
                let mut sums = [<T::On<I>>::zero(); PANEL_VECTORS];
                chains::<I, T>(vectors, self.q, self.keys.rows, (b, stride), &mut sums);
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
            while begin < end {
                let stop = self.values.run(begin).min(end);
                // SAFETY: the values have a row for each key, in whole vectors; `to` has room for their columns.
                unsafe {
                    let from = self.values.panel(column, begin);
                    chains::<I, T>(vectors, scores.add(begin).cast_const(), stop - begin, from, &mut sums);
                }
                begin = stop;
            }
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

/// `sums += a[0..steps] · B`, for one to four vectors of B's columns: as many chains.
///
/// # Safety
/// A holds `steps` numbers; B's rows lie `stride` apart and hold `vectors` whole vectors.
#[inline(always)]
unsafe fn chains<I: Isa, T: Real>(
    vectors: usize,
    a: *const T,
    steps: usize,
    (b, stride): (*const T, usize),
    sums: &mut [T::On<I>; PANEL_VECTORS],
) {
    // SAFETY: passed on to the caller.
    unsafe {
        match vectors {
            1 => some_chains::<I, T, 1>(a, steps, b, stride, sums),
            2 => some_chains::<I, T, 2>(a, steps, b, stride, sums),
            3 => some_chains::<I, T, 3>(a, steps, b, stride, sums),
            _ => some_chains::<I, T, 4>(a, steps, b, stride, sums),
        }
    }
}

#[inline(always)]
unsafe fn some_chains<I: Isa, T: Real, const V: usize>(
    a: *const T,
    steps: usize,
    b: *const T,
    stride: usize,
    sums: &mut [T::On<I>; PANEL_VECTORS],
) {
    let mut chain = [<T::On<I>>::zero(); V];
    let mut v = 0;
    while v < V {
        chain[v] = sums[v];
        v += 1;
    }
    let mut k = 0;
    while k < steps {
        // SAFETY: passed on to the caller.
        unsafe {
            let (x, row) = (<T::On<I>>::splat(*a.add(k)), b.add(k * stride));
            v = 0;
            while v < V {
                chain[v] = x.fma(<T::On<I>>::load(row.add(v * T::WIDTH)), chain[v]);
                v += 1;
            }
        }
        k += 1;
    }
    v = 0;
    while v < V {
        sums[v] = chain[v];
        v += 1;
    }
}
