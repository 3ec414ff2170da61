//! Where h of every step lies.

use super::steps::Steps;
use crate::parallel::Shared;
use crate::{MatrixView, Real};

/// The initial h `[B, H]`, then h after each step `[rows, H]`: the output itself where that has the order of the rows, else behind the
/// initial one.
#[derive(Clone, Copy)]
pub(super) struct Hidden<T> {
    width: usize,
    initial: Shared<T>,
    rows: Shared<T>,
    /// Numbers from a row to the next.
    stride: usize,
}

impl<T: Real> Hidden<T> {
    /// Rows that lie elsewhere than in the output.
    pub fn own_rows(steps: &Steps) -> usize {
        steps.batch + if steps.is_direct() { 0 } else { steps.rows() }
    }

    /// `own` holds [`Hidden::own_rows`] of `width` numbers; the rows of `y` begin `y_stride` numbers apart.
    pub fn new(steps: &Steps, width: usize, own: *mut T, y: *mut T, y_stride: usize) -> Self {
        let (rows, stride) = if steps.is_direct() { (y, y_stride) } else { (own.wrapping_add(steps.batch * width), width) };
        Self { width, initial: Shared(own), rows: Shared(rows), stride }
    }

    /// The first row before step t, and how far apart its rows lie.
    pub fn before(&self, steps: &Steps, t: usize) -> (*const T, usize) {
        if t == 0 { (self.initial.0, self.width) } else { (self.now(steps, t - 1), self.stride) }
    }

    /// The first row after step t; rows lie [`Hidden::stride`] apart.
    pub fn now(&self, steps: &Steps, t: usize) -> *mut T {
        self.rows.at(steps.first(t) * self.stride)
    }

    /// Numbers from a row to the next after a step.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Row j after its last step; its initial one if it has no steps.
    pub fn last(&self, steps: &Steps, j: usize) -> *const T {
        let (first, stride) = self.before(steps, steps.lengths[j]);
        first.wrapping_add(j * stride)
    }

    /// The rows before all steps but the first, and the first row that they stand before. Only where no row ends.
    ///
    /// # Safety
    /// The rows are there for as long as the view, and nobody writes them.
    pub unsafe fn between<'a>(&self, steps: &Steps) -> (MatrixView<'a, T>, usize) {
        let count = steps.rows() - steps.batch;
        let (from, to) = if steps.runs_backwards() { (steps.batch, 0) } else { (0, steps.batch) };
        // SAFETY: of `rows` rows, the last or the first are left out.
        let view = unsafe { MatrixView::from_raw(self.rows.at(from * self.stride), count, self.width, self.stride as isize, 1) };
        (view, to)
    }
}
