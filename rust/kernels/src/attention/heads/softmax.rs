//! The lanes of the forward pass: scores of a tile to numerators of its block, and blocks merged.

use super::{Bias, TILE_ROWS};
use crate::Real;
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
    /// Row `r` as scaled scores plus biases, −∞ outside of what the row sees; returns the whole vectors that hold it. Lanes lie where the
    /// key lies in its block, so that sums do not depend on where a window begins.
    #[inline(always)]
    unsafe fn logits<L: Lanes<Elem = T>>(&self, r: usize) -> Range<usize> {
        let Range { start, end } = self.seen[r];
        let (first, last) = (start / L::WIDTH * L::WIDTH, end.next_multiple_of(L::WIDTH));
        let scale = L::splat(self.scale);
        // SAFETY: a row of scores holds whole vectors, a bias every key below `end`.
        unsafe {
            let row = self.scores.add(r * self.stride);
            for j in (first..last).step_by(L::WIDTH) {
                let mut x = L::load(row.add(j)).mul(scale);
                for &(pointer, down, right) in self.biases.iter().flatten() {
                    let from = pointer.offset(r as isize * down + j as isize * right);
                    x = x.add(if right == 0 { L::splat(*from) } else { L::load_first(from, L::WIDTH.min(end - j)) });
                }
                x.store(row.add(j));
            }
            (first..start).chain(end..last).for_each(|j| *row.add(j) = T::NEG_INFINITY);
        }
        first..last
    }

    /// Zeros in the columns of the span outside of `whole`.
    #[inline(always)]
    unsafe fn clear(&self, r: usize, whole: Range<usize>) {
        // SAFETY: the span lies within the row.
        unsafe {
            let row = self.scores.add(r * self.stride);
            for j in (self.span.start..whole.start.min(self.span.end)).chain(whole.end.max(self.span.start)..self.span.end) {
                *row.add(j) = T::ZERO;
            }
        }
    }
}

/// Scores become numerators e^(score − maximum).
pub struct Numerators<'a, T>(pub Tile<'a, T>);

impl<T: Real> Kernel for Numerators<'_, T> {
    type Output = Block<T>;
    #[inline(always)]
    fn run<I: Isa>(self) -> Block<T> {
        let mut block = Block::empty();
        let lowest = <T::On<I>>::splat(T::NEG_INFINITY);
        for r in 0..self.0.seen.len() {
            // SAFETY: the tile's rows hold their vectors.
            unsafe {
                let row = self.0.scores.add(r * self.0.stride);
                let mut whole = if self.0.seen[r].is_empty() { 0..0 } else { self.0.logits::<T::On<I>>(r) };
                // Two chains, so that one hides the latency of the other; a maximum does not depend on the order.
                let (mut best, mut other) = (lowest, lowest);
                let mut j = whole.start;
                while j + T::WIDTH < whole.end {
                    best = best.max(<T::On<I>>::load(row.add(j)));
                    other = other.max(<T::On<I>>::load(row.add(j + T::WIDTH)));
                    j += 2 * T::WIDTH;
                }
                if j < whole.end {
                    best = best.max(<T::On<I>>::load(row.add(j)));
                }
                let maximum = best.max(other).fold_max();
                block.maximum[r] = maximum;
                if maximum == T::NEG_INFINITY {
                    whole = 0..0;
                }
                let shift = <T::On<I>>::splat(maximum);
                let mut sum = <T::On<I>>::zero();
                for j in whole.clone().step_by(T::WIDTH) {
                    let e = maths::exp_nonpositive(<T::On<I>>::load(row.add(j)).sub(shift));
                    e.store(row.add(j));
                    sum = sum.add(e);
                }
                block.sum[r] = sum.fold_add();
                self.0.clear(r, whole);
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
                let whole = if self.tile.seen[r].is_empty() { 0..0 } else { self.tile.logits::<T::On<I>>(r) };
                let (shift, inverse) = (<T::On<I>>::splat(self.maximum[r]), <T::On<I>>::splat(self.inverse[r]));
                for j in whole.clone().step_by(T::WIDTH) {
                    maths::exp_nonpositive(<T::On<I>>::load(row.add(j)).sub(shift)).mul(inverse).store(row.add(j));
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
            for j in (0..self.columns).step_by(T::WIDTH) {
                let n = T::WIDTH.min(self.columns - j);
                // SAFETY: the rows hold their columns.
                unsafe {
                    let p = self.x.offset(r as isize * self.stride).add(j);
                    <T::On<I>>::load_first(p, n).mul(by).store_first(p, n);
                }
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
                for j in (0..self.values).step_by(T::WIDTH) {
                    let n = T::WIDTH.min(self.values - j);
                    let to = self.output.offset(r as isize * self.output_stride).add(j);
                    let new = <T::On<I>>::load_first(self.product.offset(r as isize * self.product_stride).add(j), n);
                    let value = if first { new } else { <T::On<I>>::load_first(to, n).fma(x, new.mul(y)) };
                    value.store_first(to, n);
                }
            }
        }
    }
}
