//! Who does what in a pass: threads take rows of the batch through all steps, without a barrier; or, where there are too few rows for
//! that, panels of units through all steps, with a barrier at each (a single row's forward steps wait as `one_row.rs` says). Threads that are not
//! equally fast take smaller pieces of the rows in turn. Bits are the same.

use super::steps::Steps;
use crate::Real;
use crate::matmul::PackedMatrix;
use crate::parallel::{self, Barrier, Presence, part, threads_for, threads_for_bytes};
use std::ops::Range;
use weft_simd::{second_level, streams_are_asked_for};

/// Rows that a thread has at least of panels that threads share by rows, for each such panel: it must read them all.
const ROWS_OF_ODD: usize = 4;

/// Rows that make several tiles of a panel: the first brings it near, and the others have time to ask for the next.
const ROWS_THAT_ASK: usize = 8;

/// Pieces for each thread where threads have not been equally fast: on a quiet machine as many cost 2 to 5 % (R is read for fewer rows at a time);
/// beside a program that wants a core for 0.3 of each 0.6 ms, passes over 128 rows are 1.1 to 1.25 times as fast.
const PIECES: usize = 4;
/// Rows that a piece has at least.
const ROWS_OF_PIECE: usize = 16;

/// In which order a thread takes its panels.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    /// From the first to the last in even steps and back in odd ones: of weights that the second-level cache cannot hold, each step begins with
    /// those that the one before it has left there.
    ThereAndBack,
    /// Each step alike, of a single row whose weights are near: the threads with the lower units go down and the others up. Found by trying; what
    /// the two threads disturb each other with is not known. A GRU of 256 units on an AMD EPYC: 0.72 ms, there and back 0.73, the other way round
    /// 0.77, and with cores on different third levels 0.80, 1.03 and 1.16.
    Down,
    Up,
}

/// What one thread does of each step.
pub(super) struct Share {
    /// Its rows of the batch.
    pub rows: Range<usize>,
    /// Its panels, of all these rows.
    pub panels: Range<usize>,
    /// Panels that threads share by rows, so that each has as much to do.
    odd: Range<usize>,
    /// Which part of their rows, of how many.
    part: (usize, usize),
    order: Order,
    /// Steps with these panels before this pass.
    earlier: usize,
}

impl Share {
    /// Part `index` of all panels for so many rows. With `odd`, panels that are left over may be cut by rows.
    fn of_panels(rows: usize, panels: usize, threads: usize, index: usize, odd: bool) -> Self {
        let left = panels % threads;
        let even = if odd && rows >= ROWS_OF_ODD * threads * left { panels - left } else { panels };
        Self {
            rows: 0..rows,
            panels: part(even, threads, index),
            odd: even..panels,
            part: (index, threads),
            order: Order::ThereAndBack,
            earlier: 0,
        }
    }

    /// How many panels it has something of.
    pub fn turns(&self) -> usize {
        self.panels.len() + self.odd.len()
    }

    /// Of panels that no threads share by rows: how many threads have a part of them in order, and how many there are.
    pub fn threads(&self) -> (usize, usize) {
        debug_assert!(self.odd.is_empty());
        (self.part.1, self.odd.end)
    }

    /// The panel of a turn.
    pub fn panel(&self, t: usize, turn: usize) -> usize {
        let down = self.order == Order::Down || self.order == Order::ThereAndBack && (self.earlier + t) % 2 == 1;
        let turn = if down { self.turns() - 1 - turn } else { turn };
        if turn < self.panels.len() { self.panels.start + turn } else { self.odd.start + turn - self.panels.len() }
    }

    /// The rows below `end` that it has of a panel.
    pub fn rows_of(&self, panel: usize, end: usize) -> Range<usize> {
        let rows = self.rows.start..end;
        if !self.odd.contains(&panel) {
            return rows;
        }
        let cut = part(rows.len(), self.part.1, self.part.0);
        rows.start + cut.start..rows.start + cut.end
    }

    /// What tile number `tile` of a turn asks for (`TileArguments::next`): its part of the next turn's panel, unless all panels stay near. The
    /// third level answers too late for lines that are asked for when their own tile is at them. Not on AMD's processors, where it is level
    /// (0.99–1.01 at H 256 to 650).
    pub fn next<T: Real>(&self, packed: &PackedMatrix<T>, t: usize, turn: usize, tile: usize) -> *const T {
        let far = self.turns() * packed.width * packed.rows() * size_of::<T>() > second_level() / 2;
        let asks = far && self.rows.len() >= ROWS_THAT_ASK && streams_are_asked_for();
        if !asks || turn + 1 == self.turns() {
            return std::ptr::null();
        }
        packed.lines(self.panel(t, turn + 1), tile)
    }
}

/// What a thread does with its share, and where it waits if others have the same rows.
type Run<'a> = &'a (dyn Fn(&Share, Option<&Presence<'_>>) + Sync);

/// What of R a thread must read between two barriers to be worth them, a third of a microsecond from the second-level cache.
const BYTES_TO_A_BARRIER: f64 = 3e4;
/// The same for the arithmetic of several rows.
const OPERATIONS_TO_A_BARRIER: f64 = 4e4;

/// Shares out a block of steps: its rows, or the panels of R, `numbers` numbers of `size` bytes. With `odd`, panels that are left over may be shared by rows.
/// Where single steps follow each other, `earlier` counts them.
pub(super) fn share_out(
    steps: &Steps,
    block: &Range<usize>,
    numbers: usize,
    size: usize,
    panels: usize,
    odd: bool,
    earlier: usize,
    run: Run<'_>,
) {
    let batch = steps.batch;
    let operations = 2.0 * steps.rows() as f64 * numbers as f64;
    let wanted = threads_for(operations);
    let by_rows = wanted.min((batch / 4).max(1));
    // Threads are woken once for all steps: one to three rows are worth those that reading R is, more rows those of their arithmetic.
    let woken = if batch < 4 { threads_for_bytes(steps.steps * numbers * size) } else { wanted };
    let between_barriers =
        (numbers as f64 * size as f64 / BYTES_TO_A_BARRIER).max(operations / steps.steps as f64 / OPERATIONS_TO_A_BARRIER);
    let by_units = (between_barriers as usize).min(woken).min(panels).max(1);
    // A thread of its own rows reads all of R at each step. What does not fit into its second-level cache beside gates and states is better
    // shared out: in one of 1 MiB a GRU of 256 units (three quarters of it) goes forward 1.0 to 1.14 times as fast, an LSTM of 192 (four
    // sevenths) no faster and with gradients slower.
    let crowded = numbers * size > second_level() * 5 / 8;
    if (by_rows == 1 || crowded) && by_units > 1 {
        let barrier = Barrier::new(by_units);
        let together = parallel::run_together(by_units, &|index| {
            let here = barrier.enter(index);
            let mut share = Share::of_panels(batch, panels, by_units, index, odd);
            share.earlier = earlier;
            if batch == 1 && steps.steps > 1 && numbers * size / by_units <= second_level() * 5 / 8 {
                share.order = if index < by_units / 2 { Order::Down } else { Order::Up };
            }
            run(&share, Some(&here));
        });
        if together {
            return;
        }
    }
    let whole = |rows: Range<usize>| run(&Share { rows, earlier, ..Share::of_panels(batch, panels, 1, 0, false) }, None);
    share_rows(steps, block, by_rows, &whole);
}

/// `run` for all rows of the batch through a block of steps: for each thread some that have as many of these steps, or smaller pieces in turn.
pub(super) fn share_rows(steps: &Steps, block: &Range<usize>, threads: usize, run: &(dyn Fn(Range<usize>) + Sync)) {
    let small = PIECES * threads;
    // All of them or none: three pieces for two threads would keep one waiting.
    let pieces = if threads > 1 && steps.batch >= ROWS_OF_PIECE * small { small } else { threads };
    parallel::run_pieces(threads, pieces, &|index, of| run(steps.cut(block, of, index)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_every_panel_is_one_threads() {
        for (rows, panels, threads) in [(20, 41, 2), (8, 3, 2), (7, 3, 2), (64, 41, 16), (200, 7, 3), (1, 5, 3), (12, 1, 1)] {
            for (odd, t, end) in [(true, 0, rows), (true, 1, rows), (true, 3, rows / 2), (false, 2, rows)] {
                let mut seen = vec![0; rows * panels];
                for index in 0..threads {
                    let share = Share::of_panels(rows, panels, threads, index, odd);
                    assert!(odd || share.turns() == share.panels.len());
                    let order: Vec<usize> = (0..share.turns()).map(|turn| share.panel(t, turn)).collect();
                    assert!(order.is_sorted_by(|a, b| if t % 2 == 1 { a > b } else { a < b }), "{order:?}");
                    for panel in order {
                        share.rows_of(panel, end).for_each(|row| seen[panel * rows + row] += 1);
                    }
                }
                for (at, &times) in seen.iter().enumerate() {
                    assert_eq!(times, usize::from(at % rows < end), "{rows} rows, {panels} panels, {threads} threads: {at}");
                }
            }
        }
        let cut = Share::of_panels(20, 41, 2, 1, true);
        assert_eq!((cut.panels.clone(), cut.turns(), cut.rows_of(40, 20)), (20..40, 21, 10..20));
    }
}
