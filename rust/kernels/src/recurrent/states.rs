//! Where h of every step lies, and the gradient of what the layer gives out.

use super::steps::Steps;
use crate::parallel::Shared;
use crate::workspace::{Scratch, scratch};
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

    /// h before every row, in one part or two, each with the first row that it stands before. What no part has is zeros: the initial
    /// states, if there are none. Where rows end, all are copied to `copy`.
    ///
    /// # Safety
    /// The rows are there for as long as the parts, and nobody writes them.
    pub unsafe fn before_all<'a>(
        &self,
        steps: &Steps,
        has_initial: bool,
        copy: &'a mut Scratch<T>,
    ) -> (RowsBefore<'a, T>, Option<RowsBefore<'a, T>>) {
        let (all, batch, width) = (steps.rows(), steps.batch, self.width);
        // SAFETY: passed on to the caller; of `rows` rows, those of the last step are left out.
        unsafe {
            if steps.is_full() {
                let (from, to, first) = if steps.runs_backwards() { (batch, 0, all - batch) } else { (0, batch, 0) };
                let between = MatrixView::from_raw(self.rows.at(from * self.stride), all - batch, width, self.stride as isize, 1);
                let initial = MatrixView::from_raw(self.initial.0, batch, width, width as isize, 1);
                return ((between, to), has_initial.then_some((initial, first)));
            }
            *copy = scratch(all * width);
            let shared = Shared(copy.as_mut_ptr());
            steps.by_threads(2 * all * width * size_of::<T>(), |sequences, _| {
                for t in 0..steps.steps {
                    let mine = sequences.start..sequences.end.min(steps.active[t]);
                    if mine.is_empty() {
                        break;
                    }
                    // Every row of the copy belongs to one sequence, and every sequence to one thread; states that are not the output lie side by
                    // side.
                    let (from, to) = (self.before(steps, t).0.add(mine.start * width), (steps.first(t) + mine.start) * width);
                    shared.at(to).copy_from_nonoverlapping(from, mine.len() * width);
                }
            });
            ((MatrixView::new(copy, all, width), 0), None)
        }
    }
}

/// States, and the first row that they stand before.
pub(super) type RowsBefore<'a, T> = (MatrixView<'a, T>, usize);

/// Gradients of the outputs: the caller's own, where all rows live at all steps, else a copy in the order of the rows; or none.
pub(super) struct OutputGradients<T> {
    /// Null for none.
    first: *const T,
    /// Numbers from a row to the next.
    stride: usize,
    sorted: Option<Scratch<T>>,
}

// SAFETY: what the pointer leads to is read only.
unsafe impl<T: Sync> Sync for OutputGradients<T> {}

impl<T: Real> OutputGradients<T> {
    /// Of rows of `width` numbers, which begin `stride` numbers apart in `dy`, or none of an empty one. To be read as long as dy lives.
    pub fn new(steps: &Steps, dy: &[T], stride: usize, width: usize) -> Self {
        if dy.is_empty() {
            return Self { first: std::ptr::null(), stride: 0, sorted: None };
        }
        if steps.is_full() {
            return Self { first: dy.as_ptr(), stride, sorted: None };
        }
        let mut sorted = scratch::<T>(steps.rows() * width);
        steps.gather(dy, stride, width, &mut sorted);
        Self { first: sorted.as_ptr(), stride: width, sorted: Some(sorted) }
    }

    /// Row j of step t, and how far apart it and the next of that step lie; null for none.
    pub fn at(&self, steps: &Steps, t: usize, j: usize) -> (*const T, usize) {
        if self.first.is_null() {
            return (self.first, 0);
        }
        let (row, apart) = if self.sorted.is_some() { (steps.first(t), 1) } else { steps.lie(t) };
        (self.first.wrapping_add((row + j * apart) * self.stride), apart * self.stride)
    }
}
