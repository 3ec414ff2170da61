//! Rows in step. A row alone is a chain that waits for itself: its sums, its exponentials. Rows know nothing of each other, so several go side
//! by side, as many as [`Lanes::Step`] holds vectors, and those left over one by one. The bits of a row are the same either way.
//!
//! Rows from beyond the second-level cache go one by one where the processor follows a stream by itself: four streams in step hide it
//! (layer norm of 8192 rows on an AMD EPYC: 1.7 times as fast one by one, though in the cache half as fast).

use crate::Real;
use weft_simd::{Isa, Lanes, second_level, streams_are_asked_for};

/// Most rows in step.
pub(crate) const MOST: usize = 4;

/// A pass over rows that know nothing of each other.
pub(crate) trait Abreast<T: Real> {
    /// How many rows.
    fn rows(&self) -> usize;
    /// Numbers that all rows read and write.
    fn numbers(&self) -> usize;
    /// The rows from `row` on, as many as V has vectors.
    fn abreast<V: Lanes<Elem = T>>(&self, row: usize);
}

/// All rows of a pass. To be called inside of a kernel.
#[inline(always)]
pub(crate) fn run<I: Isa, T: Real>(pass: &impl Abreast<T>) {
    let near = pass.numbers() * size_of::<T>() <= second_level();
    let step = <T::On<I> as Lanes>::Step::VECTORS;
    let mut row = 0;
    while (near || streams_are_asked_for()) && row + step <= pass.rows() {
        pass.abreast::<<T::On<I> as Lanes>::Step>(row);
        row += step;
    }
    while row < pass.rows() {
        pass.abreast::<T::On<I>>(row);
        row += 1;
    }
}
