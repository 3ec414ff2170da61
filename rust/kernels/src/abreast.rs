//! Rows in step. A row alone is a chain that waits for itself: its sums, its exponentials. Rows know nothing of each other, so several go side
//! by side, as many as [`Lanes::Step`] holds vectors, and those left over one by one. The bits of a row are the same either way.
//!
//! Rows from beyond the second-level cache go one by one where the processor follows a stream by itself: four streams in step hide it
//! (layer norm of 8192 rows on an AMD EPYC: 1.7 times as fast one by one, though in the cache half as fast).

use crate::Real;
use weft_simd::{Isa, Kernel, Lanes, second_level, streams_are_asked_for};

/// Most rows in step.
pub(crate) const MOST: usize = 4;

/// A pass over rows that know nothing of each other.
pub(crate) trait Abreast {
    /// What the rows hold.
    type Elem: Real;
    /// How many rows.
    fn rows(&self) -> usize;
    /// Numbers that all rows read and write.
    fn numbers(&self) -> usize;
    /// The rows from `row` on, as many as V has vectors. Mark implementations `#[inline(always)]`.
    fn abreast<V: Lanes<Elem = Self::Elem>>(&self, row: usize);
}

/// The kernel that takes all rows of a pass.
pub(crate) struct InStep<P>(pub P);

impl<P: Abreast> Kernel for InStep<P> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let near = self.0.numbers() * size_of::<P::Elem>() <= second_level();
        let step = <<P::Elem as Real>::On<I> as Lanes>::Step::VECTORS;
        let mut row = 0;
        while (near || streams_are_asked_for()) && row + step <= self.0.rows() {
            self.0.abreast::<<<P::Elem as Real>::On<I> as Lanes>::Step>(row);
            row += step;
        }
        while row < self.0.rows() {
            self.0.abreast::<<P::Elem as Real>::On<I>>(row);
            row += 1;
        }
    }
}
