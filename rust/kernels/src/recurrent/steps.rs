//! The rows of a batch of sequences in the order in which kernels compute them.
//!
//! Rows are sorted by length, the longest first (stable); at step t the first `active[t]` rows live. All living rows of all steps
//! stand one after the other without padding: row j of step t is row `first(t) + j`. A reversed direction reads each row
//! from its own last step to its first.
//!
//! Where all rows live at all steps and the caller's array is time-major, the rows keep the caller's order, so that nothing is copied; in
//! a reversed direction the first step then has the last rows.

use crate::error::Error;
use crate::parallel::{self, Shared};
use crate::{Real, Result};
use std::iter::StepBy;
use std::ops::Range;

/// How the caller's arrays are laid out: `[T, B, …]`, or `[B, T, …]` when batch first.
#[derive(Clone, Copy, Debug)]
pub struct Layout<'a> {
    /// T
    pub steps: usize,
    /// B
    pub batch: usize,
    /// `[B, T, …]`
    pub batch_first: bool,
    /// One length a row, 0 to T, in any order; all T when absent.
    pub lengths: Option<&'a [i64]>,
    /// From the last step to the first.
    pub reverse: bool,
}

/// The order of computation.
pub(super) struct Steps {
    pub steps: usize,
    pub batch: usize,
    batch_first: bool,
    reverse: bool,
    /// Caller's row of each sorted row.
    pub order: Vec<usize>,
    /// Length of each sorted row.
    pub lengths: Vec<usize>,
    /// Rows that live at each step.
    pub active: Vec<usize>,
    first: Vec<usize>,
    rows: usize,
}

impl Steps {
    pub fn new(layout: &Layout<'_>) -> Result<Self> {
        let Layout { steps, batch, batch_first, reverse, .. } = *layout;
        let given = match layout.lengths {
            None => vec![steps; batch],
            Some(lengths) => {
                crate::error::check_length("recurrent", "lengths", lengths.len(), batch)?;
                for (position, &got) in lengths.iter().enumerate() {
                    if got < 0 || got as usize > steps {
                        return Err(Error::Index { room: "recurrent", name: "lengths", bound: steps + 1, got, position });
                    }
                }
                lengths.iter().map(|&l| l as usize).collect()
            }
        };
        let mut order: Vec<usize> = (0..batch).collect();
        order.sort_by_key(|&b| std::cmp::Reverse(given[b]));
        let lengths: Vec<usize> = order.iter().map(|&b| given[b]).collect();
        let active: Vec<usize> = (0..steps).map(|t| lengths.partition_point(|&l| l > t)).collect();
        let mut rows = 0;
        let mut first = Vec::with_capacity(steps);
        for &n in &active {
            first.push(rows);
            rows += n;
        }
        let mut made = Self { steps, batch, batch_first, reverse, order, lengths, active, first, rows };
        if made.runs_backwards() {
            made.first.reverse();
        }
        Ok(made)
    }

    /// All living rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The first row of step t.
    pub fn first(&self, t: usize) -> usize {
        self.first[t]
    }

    /// Whether the caller's array already has this order.
    pub fn is_direct(&self) -> bool {
        (!self.batch_first || self.batch == 1 || self.steps == 1) && self.is_full()
    }

    /// Whether all rows live at all steps.
    pub fn is_full(&self) -> bool {
        self.rows == self.steps * self.batch
    }

    /// Whether later steps have earlier rows.
    pub fn runs_backwards(&self) -> bool {
        self.reverse && self.is_direct()
    }

    /// Of states that begin with the initial ones: the row at which those after step t begin.
    pub fn now(&self, t: usize) -> usize {
        self.batch + self.first[t]
    }

    /// The row at which those before step t begin.
    pub fn before(&self, t: usize) -> usize {
        if t == 0 { 0 } else { self.now(t - 1) }
    }

    /// The row of the state after row j's last step; the initial one of a row without steps.
    pub fn last(&self, j: usize) -> usize {
        self.before(self.lengths[j]) + j
    }

    /// The caller's row (of all T·B) behind row j of step t.
    fn source(&self, t: usize, j: usize) -> usize {
        let t = if self.reverse { self.lengths[j] - 1 - t } else { t };
        if self.batch_first { self.order[j] * self.steps + t } else { t * self.batch + self.order[j] }
    }

    /// Where all rows live at all steps: the caller's row behind the first of step t, and how many rows further on that behind the next lies.
    pub fn lie(&self, t: usize) -> (usize, usize) {
        assert!(self.is_full(), "[recurrent] rows that live at all steps");
        let t = if self.reverse { self.steps - 1 - t } else { t };
        if self.batch_first { (t, self.steps) } else { (t * self.batch, 1) }
    }

    /// Steps in blocks of at most `rows` living rows, or one step; those without living rows are left out.
    pub fn blocks(&self, rows: usize) -> Vec<Range<usize>> {
        let (mut blocks, mut first) = (Vec::new(), 0);
        let alive = self.active.partition_point(|&n| n > 0);
        while first < alive {
            let mut end = first + 1;
            let mut held = self.active[first];
            while end < alive && held + self.active[end] <= rows {
                held += self.active[end];
                end += 1;
            }
            blocks.push(first..end);
            first = end;
        }
        blocks
    }

    /// The rows of some steps, of which there is at least one.
    pub fn rows_of(&self, block: &Range<usize>) -> Range<usize> {
        let (a, b) = (block.start, block.end - 1);
        self.first[a].min(self.first[b])..(self.first[a] + self.active[a]).max(self.first[b] + self.active[b])
    }

    /// Copies the living rows of `from` (`width` numbers each, `stride` apart) into `to`.
    pub fn gather<T: Real>(&self, from: &[T], stride: usize, width: usize, to: &mut [T]) {
        let shared = Shared(to.as_mut_ptr());
        self.by_threads(2 * self.rows() * width * size_of::<T>(), |sequences, _| {
            for t in 0..self.steps {
                for j in sequences.start..sequences.end.min(self.active[t]) {
                    let (row, source) = (self.first[t] + j, self.source(t, j) * stride);
                    // SAFETY: every row of `to` belongs to one sequence, and every sequence to one thread.
                    unsafe { shared.slice(row * width..(row + 1) * width) }.copy_from_slice(&from[source..source + width]);
                }
            }
        });
    }

    /// Copies rows (`width` numbers each, `from_stride` apart) back to the caller's array; rows beyond a length become zeros.
    pub fn scatter<T: Real>(&self, from: &[T], from_stride: usize, width: usize, to: &mut [T], stride: usize) {
        let shared = Shared(to.as_mut_ptr());
        self.by_threads(2 * self.steps * self.batch * width * size_of::<T>(), |sequences, beyond| {
            for t in 0..self.steps {
                for j in sequences.start..sequences.end.min(self.active[t]) {
                    let (row, target) = (self.first[t] + j, self.source(t, j) * stride);
                    // SAFETY: every row of the caller's is one of one sequence, within its length or beyond it, and either is one thread's.
                    unsafe { shared.slice(target..target + width) }
                        .copy_from_slice(&from[row * from_stride..row * from_stride + width]);
                }
            }
            for j in beyond {
                for t in self.lengths[j]..self.steps {
                    let b = self.order[j];
                    let row = if self.batch_first { b * self.steps + t } else { t * self.batch + b };
                    // SAFETY: as above.
                    unsafe { shared.slice(row * stride..row * stride + width) }.fill(T::ZERO);
                }
            }
        });
    }

    /// Runs `f` on as many threads as `bytes` of memory traffic are worth, with its sorted sequences twice: cut as a pass cuts them, so that the
    /// lines of a row stay with one core, whose caches another may have to ask from afar; and for what lies beyond lengths every so many, since the
    /// short ones come last.
    pub fn by_threads(&self, bytes: usize, f: impl Fn(Range<usize>, StepBy<Range<usize>>) + Sync) {
        let threads = parallel::threads_for_bytes(bytes).min(self.batch.max(1));
        parallel::run(threads, &|index| {
            f(self.cut(&(0..self.steps), threads, index), (index..self.batch).step_by(threads));
        });
    }

    /// Cuts the sorted rows into `parts` ranges that have about equally many of these steps.
    pub fn cut(&self, steps: &Range<usize>, parts: usize, index: usize) -> Range<usize> {
        let total: usize = self.active[steps.clone()].iter().sum();
        let bound = |i: usize| {
            if i >= parts {
                return self.batch;
            }
            let mut sum = 0;
            self.lengths
                .iter()
                .position(|&l| {
                    let here = sum * parts >= total * i;
                    sum += l.clamp(steps.start, steps.end) - steps.start;
                    here
                })
                .unwrap_or(self.batch)
        };
        bound(index)..bound(index + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_and_cut_by_work() {
        let lengths = [2, 0, 4, 2];
        let layout = Layout { steps: 4, batch: 4, batch_first: true, lengths: Some(&lengths), reverse: true };
        let steps = Steps::new(&layout).unwrap();
        assert_eq!(steps.order, [2, 0, 3, 1]);
        assert_eq!(steps.active, [3, 3, 1, 1]);
        assert_eq!((0..4).map(|t| steps.first(t)).collect::<Vec<_>>(), [0, 3, 6, 7]);
        assert_eq!(steps.blocks(2), [0..1, 1..2, 2..4]);
        assert_eq!(steps.blocks(usize::MAX), vec![0..4]);
        assert_eq!((steps.cut(&(0..4), 2, 0), steps.cut(&(0..4), 2, 1)), (0..1, 1..4));
        assert_eq!((steps.cut(&(0..1), 3, 0), steps.cut(&(0..1), 3, 1), steps.cut(&(0..1), 3, 2)), (0..1, 1..2, 2..4));
        assert_eq!((steps.cut(&(1..3), 2, 0), steps.cut(&(1..3), 2, 1)), (0..1, 1..4));
        for block in [0..4, 0..1, 1..3, 2..4] {
            assert_eq!((0..7).map(|i| steps.cut(&block, 7, i).len()).sum::<usize>(), 4);
        }
        let x: Vec<f32> = (0..16).map(|i| i as f32).collect();
        let mut rows = vec![0.0; 8];
        steps.gather(&x, 1, 1, &mut rows);
        assert_eq!(rows, [11.0, 1.0, 13.0, 10.0, 0.0, 12.0, 9.0, 8.0]);
        let mut back = vec![-1.0; 16];
        steps.scatter(&rows, 1, 1, &mut back, 1);
        assert_eq!(back, [0., 1., 0., 0., 0., 0., 0., 0., 8., 9., 10., 11., 12., 13., 0., 0.]);
    }
}
