//! The forward steps of a single row. Each reads all of R for one row of h and is as fast as the caches give R, so whatever else there is to do
//! goes beside that.

use super::Cell;
use super::forward::{Inputs, PANELS_IN_STEP, Pass};
use super::shares::Share;
use crate::Real;
use crate::matmul::Panels;
use crate::matmul::beside::{ROWS, run_beside};
use crate::matmul::tile::{TileArguments, run_tile};
use crate::parallel::{Presence, part};
use std::ops::Range;
use weft_simd::ask_to_read;

/// How many steps of a block have their inputs' sums formed before them; the steps form the others, [`ROWS`] at a time.
pub(super) fn steps_before(block: &Range<usize>) -> usize {
    if block.len() < 2 * ROWS { block.len() } else { ROWS + block.len() % ROWS }
}

/// What all tiles of a step have.
struct Step<T> {
    h_before: *const T,
    /// Its row of gates.
    row: usize,
    ahead: Option<Ahead>,
}

/// What a step does for later ones: of [`ROWS`] steps, each forms a stretch of the chains of as many later ones.
struct Ahead {
    /// The input's row of the first of these, and where the next lies.
    row: usize,
    down: isize,
    /// The stretch.
    k: Range<usize>,
}

impl<T: Real> Pass<'_, T> {
    /// Takes the row through all steps: some panels of units, while other threads have the others. Chains of h are no longer than one chunk.
    ///
    /// A thread that begins a step waits for no other before it needs his units. The first tile goes in halves of k, so that the threads that have
    /// the lower units begin at once, are a little ahead from then on, and find those of the others when they come to the second half.
    pub(super) fn run_row(&self, share: &Share, here: Option<&Presence<'_>>) {
        let (cell, hidden, steps) = (self.weights.cell, self.weights.sizes.hidden, self.steps);
        let units_of_panel = self.weights.recurrent.width / cell.gates();
        let together = if cell.gates() > 1 { PANELS_IN_STEP } else { 1 };
        let (threads, panels) = share.threads();
        let cuts = if self.span.len() > 1 { threads.min(2) } else { 1 };
        let halves: Vec<_> = (0..cuts)
            .map(|half| {
                let of = part(threads, cuts, half);
                let bound = |thread: usize| (part(panels, threads, thread).start * units_of_panel).min(hidden);
                (of.clone(), bound(of.start)..bound(of.end))
            })
            .collect();
        for t in self.span.clone() {
            if steps.active[t] == 0 {
                break;
            }
            let step = Step { h_before: self.states.before(steps, t).0, row: steps.first(t) - self.base, ahead: self.ahead(t) };
            let mut waiting = 0;
            for turn in 0..share.turns() {
                let panel = share.panel(t, turn);
                let unit = panel * units_of_panel;
                self.ask(t, 0..1, unit..hidden.min(unit + units_of_panel), None);
                // SAFETY: the states of a stretch of k were written before the threads that have them arrived, and no one writes them again; sums of
                // this panel are this thread's alone.
                unsafe {
                    if turn > 0 {
                        self.tiles(&step, panel, 0..hidden, (0, 1));
                    } else {
                        for (half, (threads, k)) in halves.iter().enumerate() {
                            if let Some(here) = here {
                                threads.clone().for_each(|thread| here.wait_for(thread));
                                // What another core wrote would come line by line, each when the product is at it.
                                k.clone().step_by(T::WIDTH).for_each(|k| ask_to_read(step.h_before.wrapping_add(k)));
                            }
                            self.tiles(&step, panel, k.clone(), (half, halves.len()));
                        }
                    }
                }
                waiting += 1;
                if waiting == together || turn + 1 == share.turns() {
                    // The panels of a thread lie side by side, and it takes them in either direction.
                    let first = unit.min(share.panel(t, turn + 1 - waiting) * units_of_panel);
                    let units = (hidden - first).min(waiting * units_of_panel);
                    let there = self.gates.at(self.places.at(step.row, first));
                    // SAFETY: this row and these units are this thread's alone.
                    unsafe { self.cells(t, 0..1, first, units, there, there) };
                    waiting = 0;
                }
            }
            if let Some(here) = here {
                here.arrive();
            }
        }
    }

    /// What step t does for later ones, if it does.
    fn ahead(&self, t: usize) -> Option<Ahead> {
        let since = t.checked_sub(self.span.start + self.span.len() % ROWS)? % ROWS;
        let later = t - since + ROWS;
        (self.inputs == Inputs::Ahead && later < self.span.end).then(|| Ahead {
            row: self.steps.first(later),
            down: if self.steps.runs_backwards() { -1 } else { 1 },
            k: part(self.weights.sizes.input, ROWS, since),
        })
    }

    /// The sums of a panel over some k of h, and beside them a cut of what the step does for later ones.
    ///
    /// # Safety
    /// These h are there, and the panel's sums are this thread's alone.
    unsafe fn tiles(&self, step: &Step<T>, panel: usize, k: Range<usize>, (cut, cuts): (usize, usize)) {
        let (weights, stride) = (self.weights, Panels::<T>::STRIDE);
        let vectors = weights.recurrent.panel(panel).1;
        let sums_of = |row: usize| self.gates.at(panel * self.places.panels.apart() + row * stride);
        let row_of_sums = sums_of(step.row);
        // SAFETY: rows and panel lie within gates and weights.
        unsafe {
            if weights.cell == Cell::Gru && k.start == 0 {
                let bias = &weights.hidden_bias[panel * T::WIDTH..][..T::WIDTH];
                std::ptr::copy_nonoverlapping(bias.as_ptr(), row_of_sums.add(3 * T::WIDTH), T::WIDTH);
            }
            let sums = row_of_sums.add(weights.cell.recurrent_slot() * T::WIDTH);
            let of_h = TileArguments {
                a: step.h_before.add(k.start),
                a_row_stride: 0,
                steps: k.len(),
                lead: k.len(),
                segment: k.len(),
                gap: 0,
                b: weights.recurrent.panel_pointer(panel, k.start),
                b_stride: vectors * T::WIDTH,
                then: None,
                next: std::ptr::null(),
                from: sums,
                from_stride: 0,
                c: sums,
                c_stride: 0,
                add: false,
                cols: vectors * T::WIDTH,
            };
            let input = weights.sizes.input;
            let bias = weights.bias[panel * weights.input.width..].as_ptr();
            let Some(Ahead { row, down, k }) = &step.ahead else {
                if self.inputs == Inputs::WithEach && k.start == 0 {
                    let x = self.x[step.row * input..].as_ptr();
                    let b = weights.input.panel_pointer(panel, 0);
                    let of_x =
                        TileArguments { a: x, steps: input, lead: input, segment: input, b, from: bias, c: row_of_sums, ..of_h };
                    run_tile::<T, false>(self.choice, 1, vectors, &of_x);
                }
                return run_tile::<T, false>(self.choice, 1, vectors, &of_h);
            };
            let cut = part(k.len(), cuts, cut);
            let k = k.start + cut.start..k.start + cut.end;
            let later = sums_of(row - self.base);
            let stride = down * stride as isize;
            let (from, from_stride) = if k.start == 0 { (bias, 0) } else { (later.cast_const(), stride) };
            let of_x = TileArguments {
                a: self.x[row * input + k.start..].as_ptr(),
                a_row_stride: down * input as isize,
                steps: k.len(),
                lead: k.len(),
                segment: k.len(),
                b: weights.input.panel_pointer(panel, k.start),
                from,
                from_stride,
                c: later,
                c_stride: stride,
                ..of_h
            };
            run_beside(self.choice, vectors, &of_x, &of_h);
        }
    }
}
