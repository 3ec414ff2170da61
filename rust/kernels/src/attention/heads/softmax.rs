//! The lanes of the forward pass: scores of a tile to numerators of its block, and blocks merged.

use super::{Bias, TILE_ROWS};
use crate::Real;
use crate::activation::exp_lanes;
use std::ops::Range;
use weft_simd::{Isa, Kernel, Lanes, maths};

/// What a block gives for each row of a tile.
#[derive(Clone, Copy)]
pub struct Block<T> {
    /// Largest score that the row sees, −∞ if it sees none.
    pub maximum: [T; TILE_ROWS],
    /// Sum of e^(score − maximum).
    pub sum: [T; TILE_ROWS],
}

impl<T: Real> Block<T> {
    pub fn empty() -> Self {
        Self { maximum: [T::NEG_INFINITY; TILE_ROWS], sum: [T::ZERO; TILE_ROWS] }
    }
}

/// A tile of products q·k: `rows` rows, `stride` apart, columns counted from the first key of a block.
#[derive(Clone, Copy)]
pub struct Tile<'a, T> {
    pub scores: *mut T,
    pub stride: usize,
    /// Which columns each row sees.
    pub seen: &'a [Range<usize>],
    /// The columns that any row sees; numerators are written for all of them.
    pub span: &'a Range<usize>,
    pub scale: T,
    /// Biases at the tile's first row and the block's first key.
    pub biases: [Option<Bias<T>>; 2],
}

impl<T: Real> Tile<'_, T> {
    /// Row `r` as scaled scores plus biases, −∞ outside of what the row sees; returns the whole vectors that hold it, and the maximum lane by lane.
    /// Lanes lie where the key lies in its block, so that sums do not depend on where a window begins.
    #[inline(always)]
    unsafe fn logits<L: Lanes<Elem = T>>(&self, r: usize) -> (Range<usize>, L) {
        let Range { start, end } = self.seen[r];
        let (first, last) = (start / L::WIDTH * L::WIDTH, end.next_multiple_of(L::WIDTH));
        let scale = L::splat(self.scale);
        // SAFETY: a row of scores holds whole vectors, a bias every key below `end`.
        unsafe {
            let row = self.scores.add(r * self.stride);
            let mut j = first;
            while j < last {
                L::load(row.add(j)).mul(scale).store(row.add(j));
                j += L::WIDTH;
            }
            for (pointer, down, right) in self.biases.into_iter().flatten() {
                let from = pointer.offset(r as isize * down);
                let mut j = first;
                while j < last {
                    let more = if right == 0 { L::splat(*from) } else { L::load_first(from.add(j), L::WIDTH.min(end - j)) };
                    L::load(row.add(j)).add(more).store(row.add(j));
                    j += L::WIDTH;
                }
            }
            // By lanes: single numbers written here would stall the loads that follow.
            let lowest = L::splat(T::NEG_INFINITY);
            if first < start {
                let hidden = numbered::<L>().lt(L::splat(T::from_f64((start - first) as f64)));
                L::select(hidden, lowest, L::load(row.add(first))).store(row.add(first));
            }
            if end < last {
                let j = last - L::WIDTH;
                let visible = numbered::<L>().lt(L::splat(T::from_f64((end - j) as f64)));
                L::select(visible, L::load(row.add(j)), lowest).store(row.add(j));
            }
            // Two chains, so that one hides the latency of the other; a maximum does not depend on the order.
            let (mut best, mut other) = (lowest, lowest);
            let mut j = first;
            while j + L::WIDTH < last {
                best = best.max(L::load(row.add(j)));
                other = other.max(L::load(row.add(j + L::WIDTH)));
                j += 2 * L::WIDTH;
            }
            if j < last {
                best = best.max(L::load(row.add(j)));
            }
            (first..last, best.max(other))
        }
    }

    /// Zeros in the columns of the span outside of `whole`.
    #[inline(always)]
    unsafe fn clear(&self, r: usize, whole: Range<usize>) {
        // SAFETY: the span lies within the row.
        unsafe {
            let row = self.scores.add(r * self.stride);
            let mut j = self.span.start;
            while j < whole.start.min(self.span.end) {
                *row.add(j) = T::ZERO;
                j += 1;
            }
            j = whole.end.max(self.span.start);
            while j < self.span.end {
                *row.add(j) = T::ZERO;
                j += 1;
            }
        }
    }
}

/// 0, 1, 2, … in the lanes.
#[inline(always)]
fn numbered<L: Lanes>() -> L {
    let mut numbers = [L::Elem::ZERO; 16];
    let mut i = 0;
    while i < 16 {
        numbers[i] = L::Elem::from_f64(i as f64);
        i += 1;
    }
    // SAFETY: 16 numbers are a whole vector of any kind.
    unsafe { L::load(numbers.as_ptr()) }
}

/// Scores become numerators e^(score − maximum).
pub struct Numerators<'a, T>(pub Tile<'a, T>);

impl<T: Real> Kernel for Numerators<'_, T> {
    type Output = Block<T>;
    #[inline(always)]
    fn run<I: Isa>(self) -> Block<T> {
        let mut block = Block::empty();
        let rows = self.0.seen.len();
        let mut wholes: [Range<usize>; TILE_ROWS] = Default::default();
        let mut lanes = [<T::On<I>>::splat(T::NEG_INFINITY); TILE_ROWS];
        // Step by step for all rows: a row's own chain of maximum, exponential and sum would leave the units waiting.
        // SAFETY: the tile's rows hold their vectors.
        unsafe {
            for r in 0..rows {
                if !self.0.seen[r].is_empty() {
                    (wholes[r], lanes[r]) = self.0.logits::<T::On<I>>(r);
                }
            }
            for (to, lanes) in block.maximum.iter_mut().zip(&lanes[..rows]) {
                *to = lanes.fold_max();
            }
            for r in 0..rows {
                if block.maximum[r] == T::NEG_INFINITY {
                    wholes[r] = 0..0;
                }
                let whole = self.0.scores.add(r * self.0.stride + wholes[r].start);
                lanes[r] =
                    exp_lanes::<T::On<I>, false>(whole.cast_const(), whole, wholes[r].len(), <T::On<I>>::splat(block.maximum[r]));
                self.0.clear(r, wholes[r].clone());
            }
            for (to, lanes) in block.sum.iter_mut().zip(&lanes[..rows]) {
                *to = lanes.fold_add();
            }
        }
        block
    }
}

/// Scores become weights e^(score − maximum) · inverse, from the statistics of whole rows.
pub struct Weights<'a, T> {
    pub tile: Tile<'a, T>,
    pub maximum: &'a [T],
    pub inverse: &'a [T],
}

impl<T: Real> Kernel for Weights<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        for r in 0..self.tile.seen.len() {
            // SAFETY: the tile's rows hold their vectors.
            unsafe {
                let row = self.tile.scores.add(r * self.tile.stride);
                let whole = if self.tile.seen[r].is_empty() { 0..0 } else { self.tile.logits::<T::On<I>>(r).0 };
                let whole_row = row.add(whole.start);
                exp_lanes::<T::On<I>, false>(whole_row.cast_const(), whole_row, whole.len(), <T::On<I>>::splat(self.maximum[r]));
                let inverse = <T::On<I>>::splat(self.inverse[r]);
                let mut j = whole.start;
                while j < whole.end {
                    <T::On<I>>::load(row.add(j)).mul(inverse).store(row.add(j));
                    j += T::WIDTH;
                }
                self.tile.clear(r, whole);
            }
        }
    }
}

/// `x[i] *= by[i]` for rows of `columns` numbers.
pub struct Scale<'a, T> {
    pub x: *mut T,
    pub stride: isize,
    pub columns: usize,
    pub by: &'a [T],
}

impl<T: Real> Kernel for Scale<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        for (r, &by) in self.by.iter().enumerate() {
            let by = <T::On<I>>::splat(by);
            let mut j = 0;
            while j < self.columns {
                let n = T::WIDTH.min(self.columns - j);
                // SAFETY: the rows hold their columns.
                unsafe {
                    let p = self.x.offset(r as isize * self.stride).add(j);
                    <T::On<I>>::load_first(p, n).mul(by).store_first(p, n);
                }
                j += n;
            }
        }
    }
}

/// One more block joins what a tile has so far: `m' = max(m, mᵦ)`, `l' = l·e^(m − m') + lᵦ·e^(mᵦ − m')`, O alike (Dao et al. 2022, alg. 1).
/// A row that has nothing yet takes the block as it is; a block that a row does not see changes nothing.
pub struct Merge<'a, T> {
    pub rows: usize,
    pub values: usize,
    pub block: Block<T>,
    pub product: *const T,
    pub product_stride: isize,
    pub maximum: &'a mut [T],
    pub sum: &'a mut [T],
    pub output: *mut T,
    pub output_stride: isize,
}

impl<T: Real> Kernel for Merge<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let (mut before, mut now) = ([T::ZERO; 16], [T::ZERO; 16]);
        for r in 0..self.rows {
            let (m, b) = (self.maximum[r], self.block.maximum[r]);
            let both = if m > b { m } else { b };
            if b != T::NEG_INFINITY && m != T::NEG_INFINITY {
                (before[r], now[r]) = (m - both, b - both);
            }
        }
        // SAFETY: both arrays hold TILE_ROWS numbers and a whole vector; the rows hold their columns.
        unsafe {
            let (p, q) = (before.as_mut_ptr(), now.as_mut_ptr());
            maths::exp_nonpositive(<T::On<I>>::load(p)).store(p);
            maths::exp_nonpositive(<T::On<I>>::load(q)).store(q);
            for r in 0..self.rows {
                let (m, b) = (self.maximum[r], self.block.maximum[r]);
                if b == T::NEG_INFINITY {
                    continue;
                }
                let first = m == T::NEG_INFINITY;
                self.maximum[r] = if m > b { m } else { b };
                self.sum[r] = if first { self.block.sum[r] } else { self.sum[r] * before[r] + self.block.sum[r] * now[r] };
                let (x, y) = (<T::On<I>>::splat(before[r]), <T::On<I>>::splat(now[r]));
                let mut j = 0;
                while j < self.values {
                    let n = T::WIDTH.min(self.values - j);
                    let to = self.output.offset(r as isize * self.output_stride).add(j);
                    let new = <T::On<I>>::load_first(self.product.offset(r as isize * self.product_stride).add(j), n);
                    let value = if first { new } else { <T::On<I>>::load_first(to, n).fma(x, new.mul(y)) };
                    value.store_first(to, n);
                    j += n;
                }
            }
        }
    }
}
