//! The forward pass of one layer in one direction.

use super::gates::GatePanels;
use super::one_row::steps_before;
use super::pointwise::Forward;
use super::shares::{Share, share_out};
use super::states::Hidden;
use super::steps::{Layout, Steps};
use super::{Cell, PackedWeights};
use crate::error::check_length;
use crate::matmul::tile::{Factors, TileArguments, run_tile, tile_rows};
use crate::matmul::{CHUNK, Panels, Right, Start, product};
use crate::parallel::{Presence, Shared, num_threads, part};
use crate::workspace::{Scratch, scratch};
use crate::{MatrixView, Real, Result};
use std::ops::Range;
use std::sync::atomic::Ordering;
use weft_simd::{Choice, ask_to_write, chosen, dispatch_on, second_level};

/// At most so many rows of a panel wait in the first-level cache for their nonlinearities, which go in step over the rows of several tiles. An
/// RNN's go in step over the units of a panel, a tile at a time.
const STRIP_ROWS: usize = 64;
/// Panels of fewer rows than go in step wait for so many others of theirs: then their units do.
pub(super) const PANELS_IN_STEP: usize = 4;
/// At least so many rows share one reading of W.
const BLOCK_ROWS: usize = 192;

/// Initial or final states `[B, H]`, in the caller's row order; c for the LSTM only.
pub struct State<'a, T> {
    /// Written: h after each row's last step.
    pub h: &'a mut [T],
    /// Written: c after each row's last step; empty without one.
    pub c: &'a mut [T],
}

/// What the backward pass needs. It may overwrite `gates`.
pub struct Cache<T> {
    pub(super) steps: Steps,
    /// In panels, see [`GatePanels`].
    pub(super) gates: Scratch<T>,
    /// What [`Hidden`] has beside the output.
    pub(super) h: Scratch<T>,
    /// Whether there was an initial h; else it is zeros.
    pub(super) has_initial: bool,
    /// c0 `[B, padded]`, then c `[rows, padded]`; empty without c.
    pub(super) c: Scratch<T>,
    /// The input's rows in order, when the caller's array has another.
    pub(super) x: Option<Scratch<T>>,
    /// The gates hold gradients now: a second backward pass is not possible.
    pub(super) spent: bool,
}

impl<T> Cache<T> {
    /// Whether a backward pass has used the cache up.
    pub fn is_spent(&self) -> bool {
        self.spent
    }
}

/// Runs a direction of a layer.
///
/// Buffers: x `[T, B, I]` (or `[B, T, I]`) is read; `initial` h0 and c0 `[B, H]` are read, zeros when absent; y holds T·B rows that begin
/// `y_stride` numbers apart, of which the first H are written, zeros beyond a row's length; `last` is written. Rows of
/// length 0 keep their initial state. With `training` the cache for [`super::backward`] comes back, which asks for x and y as they are then.
pub fn forward<T: Real>(
    weights: &PackedWeights<T>,
    layout: Layout<'_>,
    x: &[T],
    initial: (Option<&[T]>, Option<&[T]>),
    y: &mut [T],
    y_stride: usize,
    last: State<'_, T>,
    training: bool,
) -> Result<Option<Cache<T>>> {
    let (cell, sizes) = (weights.cell, weights.sizes);
    let (batch, hidden, padded) = (layout.batch, sizes.hidden, sizes.padded::<T>());
    check_length("recurrent", "input", x.len(), layout.steps * batch * sizes.input)?;
    let y_rows = layout.steps * batch;
    check_length("recurrent", "output", y.len(), if y_rows == 0 { 0 } else { (y_rows - 1) * y_stride + hidden })?;
    check_length("recurrent", "h_n", last.h.len(), batch * hidden)?;
    let with_c = cell.has_cell_state();
    check_length("recurrent", "c_n", last.c.len(), if with_c { batch * hidden } else { 0 })?;
    for (name, state) in [("h_0", initial.0), ("c_0", initial.1)] {
        if let Some(state) = state {
            check_length("recurrent", name, state.len(), batch * hidden)?;
        }
    }
    let steps = Steps::new(&layout)?;
    let rows = steps.rows();

    let gathered = (!steps.is_direct()).then(|| {
        let mut sorted = scratch::<T>(rows * sizes.input);
        steps.gather(x, sizes.input, sizes.input, &mut sorted);
        sorted
    });
    let x_rows: &[T] = gathered.as_deref().unwrap_or(x);

    let slots = cell.slots() * padded;
    let columns = cell.gates() * padded;
    // Where both weights stay in the second-level cache, each tile forms the input's sum too, just before it is needed: the gates of all
    // steps need not go to memory and come back, and without a backward pass they need not exist. The chains are the same.
    let fused = (sizes.input + hidden) * columns * size_of::<T>() <= second_level() * 3 / 4 && batch >= 8 * num_threads();
    // A single row forms those of later steps while it reads R, where threads find both weights near.
    let near = (sizes.input + hidden) * columns * size_of::<T>() <= num_threads() * second_level();
    let one_row = batch == 1 && hidden <= CHUNK;
    // A single step reads W as R, a thread its own panels; the next step there and back.
    let earlier = if layout.steps == 1 { weights.single_steps.fetch_add(1, Ordering::Relaxed) } else { 0 };
    let inputs = match (fused, one_row && sizes.input <= CHUNK) {
        (true, _) => Inputs::WithEach,
        (_, true) if layout.steps == 1 => Inputs::WithEach,
        (_, true) if near => Inputs::Ahead,
        _ => Inputs::Before,
    };
    // Else the input's sums are formed for a few steps at a time, which then find them near.
    let most = if fused { usize::MAX } else { rows_near::<T>(slots) };
    let blocks = steps.blocks(most);
    let held = |block: &Range<usize>| steps.rows_of(block).len();
    let gates_rows = match (training, fused) {
        (true, _) => rows,
        (false, true) => 0,
        (false, false) => blocks.iter().map(held).max().unwrap_or(0),
    };
    let places = GatePanels::<T>::new(cell, sizes, gates_rows);
    let mut gates = scratch::<T>(places.panels.len());

    let mut h = scratch::<T>(Hidden::<T>::own_rows(&steps) * hidden);
    let mut c = scratch::<T>(if !with_c { 0 } else { (batch + if training { rows } else { 0 }) * padded });
    c[..if with_c { batch * padded } else { 0 }].fill(T::ZERO);
    for (j, &b) in steps.order.iter().enumerate() {
        match initial.0 {
            Some(h0) => h[j * hidden..(j + 1) * hidden].copy_from_slice(&h0[b * hidden..(b + 1) * hidden]),
            None => h[j * hidden..(j + 1) * hidden].fill(T::ZERO),
        }
        if let (true, Some(c0)) = (with_c, initial.1) {
            c[j * padded..j * padded + hidden].copy_from_slice(&c0[b * hidden..(b + 1) * hidden]);
        }
    }

    let states = Hidden::new(&steps, hidden, h.as_mut_ptr(), y.as_mut_ptr(), y_stride);
    for block in blocks {
        let first = steps.rows_of(&block).start;
        let base = if training { 0 } else { first };
        if inputs != Inputs::WithEach {
            let before = if inputs == Inputs::Ahead { steps_before(&block) } else { block.len() };
            let rows = steps.rows_of(&(block.start..block.start + before));
            let x = MatrixView::new(&x_rows[rows.start * sizes.input..], rows.len(), sizes.input);
            let to = places.input_of(&mut gates, rows.start - base, x.rows);
            product(x, Right::Packed(&weights.input), to, Start::Bias(&weights.bias));
        }
        let pass = Pass {
            choice: chosen(),
            weights,
            steps: &steps,
            span: block,
            base,
            x: x_rows,
            inputs,
            places,
            gates: Shared(gates.as_mut_ptr()),
            states,
            c: Shared(c.as_mut_ptr()),
            training,
        };
        let panels = weights.recurrent.panels();
        let read = if one_row && inputs == Inputs::WithEach { sizes.input + hidden } else { hidden };
        share_out(&steps, &pass.span, read * columns, size_of::<T>(), panels, true, earlier, &|share, here| {
            if one_row { pass.run_row(share, here) } else { pass.run(share, here) }
        });
    }

    for (j, &b) in steps.order.iter().enumerate() {
        // SAFETY: a row of `hidden` numbers, and no thread writes any more.
        let h = unsafe { std::slice::from_raw_parts(states.last(&steps, j), hidden) };
        last.h[b * hidden..(b + 1) * hidden].copy_from_slice(h);
        if with_c {
            let row = if training { steps.last(j) } else { j };
            last.c[b * hidden..(b + 1) * hidden].copy_from_slice(&c[row * padded..row * padded + hidden]);
        }
    }
    if !steps.is_direct() {
        steps.scatter(&h[batch * hidden..], hidden, hidden, y, y_stride);
    }
    Ok(training.then(|| Cache { steps, gates, h, has_initial: initial.0.is_some(), c, x: gathered, spent: false }))
}

/// How many rows of gates stay near, those of a few steps.
pub(super) fn rows_near<T>(numbers: usize) -> usize {
    (num_threads() * second_level() / 2 / (numbers * size_of::<T>()).max(1)).max(BLOCK_ROWS)
}

/// One step in place, for inference as data come in: h `[B, H]` and c `[B, H]` (LSTM; else not looked at) become those of the next step.
/// The bits are those of [`forward`].
pub fn step<T: Real>(weights: &PackedWeights<T>, batch: usize, x: &[T], h: &mut [T], c: &mut [T]) -> Result<()> {
    let hidden = weights.sizes.hidden;
    let with_c = weights.cell.has_cell_state();
    check_length("recurrent", "h", h.len(), batch * hidden)?;
    check_length("recurrent", "c", c.len(), if with_c { batch * hidden } else { c.len() })?;
    let layout = Layout { steps: 1, batch, batch_first: false, lengths: None, reverse: false };
    let (mut y, mut next_h) = (scratch::<T>(batch * hidden), scratch::<T>(batch * hidden));
    let mut next_c = scratch::<T>(if with_c { batch * hidden } else { 0 });
    let last = State { h: &mut next_h, c: &mut next_c };
    forward(weights, layout, x, (Some(h), with_c.then_some(&*c)), &mut y, hidden, last, false)?;
    h.copy_from_slice(&next_h);
    if with_c {
        c.copy_from_slice(&next_c);
    }
    Ok(())
}

/// When the input's sums are formed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Inputs {
    /// For all steps of a block, before them.
    Before,
    /// With each tile, before those of h.
    WithEach,
    /// Of a single row, some steps ahead; before all, only for the first ones.
    Ahead,
}

pub(super) struct Pass<'a, T> {
    pub(super) choice: Choice,
    pub(super) weights: &'a PackedWeights<T>,
    pub(super) steps: &'a Steps,
    /// These steps, and the row that stands first in the gates buffer.
    pub(super) span: Range<usize>,
    pub(super) base: usize,
    /// The input's rows.
    pub(super) x: &'a [T],
    pub(super) inputs: Inputs,
    pub(super) places: GatePanels<T>,
    pub(super) gates: Shared<T>,
    pub(super) states: Hidden<T>,
    pub(super) c: Shared<T>,
    pub(super) training: bool,
}

impl<T: Real> Pass<'_, T> {
    /// Asks for the lines of states and gates that the cells of these rows and units will write once a tile has formed their sums: a store whose line
    /// is not near holds up all stores after it, and another thread's product of the weights' gradients has read these lines last.
    pub(super) fn ask(&self, t: usize, rows: Range<usize>, units: Range<usize>, gates: Option<*mut T>) {
        let (cell, padded) = (self.weights.cell, self.weights.sizes.padded::<T>());
        let h = self.states.now(self.steps, t);
        for (i, row) in rows.enumerate() {
            for unit in units.clone().step_by(T::WIDTH) {
                ask_to_write(h.wrapping_add(row * self.states.stride() + unit));
                if cell.has_cell_state() {
                    ask_to_write(self.c.at((self.steps.now(t) + row) * padded + unit));
                }
            }
            if let (Some(gates), true) = (gates, cell.gates() > 1) {
                for slot in 0..cell.slots() {
                    ask_to_write(gates.wrapping_add(i * Panels::<T>::STRIDE + slot * T::WIDTH));
                }
            }
        }
    }

    /// Runs the nonlinearities of some rows and units of step t, in whose place `sums` or the gates are.
    ///
    /// # Safety
    /// The rows and units belong to this thread, as do those of the step before; `sums` and `gates` hold them.
    #[inline(always)]
    pub(super) unsafe fn cells(&self, t: usize, rows: Range<usize>, unit: usize, units: usize, sums: *const T, gates: *mut T) {
        let (cell, steps, padded) = (self.weights.cell, self.steps, self.weights.sizes.padded::<T>());
        let ((h_before, h_before_stride), h_stride) = (self.states.before(steps, t), self.states.stride());
        let (c_before, c_now) = if self.training { (steps.before(t), steps.now(t)) } else { (0, 0) };
        let c_at = |row: usize| {
            let offset = if cell.has_cell_state() { (row + rows.start) * padded + unit } else { 0 };
            self.c.0.wrapping_add(offset)
        };
        macro_rules! run {
            ($keeps:literal) => {
                dispatch_on(
                    self.choice,
                    Forward::<T, $keeps> {
                        cell,
                        rows: rows.len(),
                        units,
                        sums,
                        gates,
                        gates_stride: Panels::<T>::STRIDE,
                        panels_apart: self.places.panels.apart(),
                        h_before: h_before.wrapping_add(rows.start * h_before_stride + unit),
                        h_before_stride,
                        h: self.states.now(steps, t).wrapping_add(rows.start * h_stride + unit),
                        h_stride,
                        c_before: c_at(c_before),
                        c: c_at(c_now),
                        c_stride: padded,
                    },
                )
            };
        }
        if self.training { run!(true) } else { run!(false) }
    }

    /// Takes the sorted rows of one thread through all steps; no other thread reads or writes them. Or some panels of units, which others
    /// read after the barrier.
    fn run(&self, share: &Share, here: Option<&Presence<'_>>) {
        let (cell, sizes, steps) = (self.weights.cell, self.weights.sizes, self.steps);
        let (hidden, padded) = (sizes.hidden, sizes.padded::<T>());
        let stride = Panels::<T>::STRIDE;
        let packed = &self.weights.recurrent;
        let tallest = tile_rows(self.choice, packed.width.min(cell.gates() * padded) / T::WIDTH);
        // Sums that a thread forms by itself pass through a strip that stays near: their place among the gates is written once, if at all.
        let passing = self.inputs == Inputs::WithEach;
        // One chain through x and h, whose sums stay in registers between the two, but for a GRU: its n takes both sums apart.
        let joined = cell != Cell::Gru && sizes.input.max(hidden) <= CHUNK;
        let together = if !passing && cell.gates() > 1 && share.rows.len() < PANELS_IN_STEP { PANELS_IN_STEP } else { 1 };
        let strip_rows = if cell.gates() == 1 { tallest } else { STRIP_ROWS };
        let mut own = scratch::<T>(if passing { strip_rows * stride } else { 0 });
        for t in self.span.clone() {
            let end = share.rows.end.min(steps.active[t]);
            if share.rows.start >= end {
                break;
            }
            let (h_first, h_before_stride) = self.states.before(steps, t);
            let gates_row = steps.first(t) - self.base;
            let turns = (0..share.turns()).flat_map(|turn| {
                let panel = share.panel(t, turn);
                let rows = share.rows_of(panel, end);
                let strips = rows.len().div_ceil(strip_rows);
                (0..strips).map(move |strip| (turn, panel, rows.start, part(rows.len(), strips, strip)))
            });
            for (turn, panel, first, cut) in turns {
                let (column, vectors) = packed.panel(panel);
                // Units of this panel: all gates of one vector of them, or four vectors of the single gate of an RNN.
                let unit = column / cell.gates();
                let units = (hidden - unit).min(vectors * T::WIDTH / cell.gates());
                let first = first + cut.start;
                let tiles = cut.len().div_ceil(tallest);
                // SAFETY: rows first.. of step t lie within gates, states and c and belong to this thread, as do those of the step before.
                unsafe {
                    let there = self.gates.0.wrapping_add(self.places.at(gates_row + first, unit));
                    let sums = if passing { own.as_mut_ptr() } else { there };
                    let h_before = h_first.add(first * h_before_stride);
                    for tile in 0..tiles {
                        let some = part(cut.len(), tiles, tile);
                        let (rows, sums) = (some.len(), sums.add(some.start * stride));
                        if self.training {
                            let at = first + some.start;
                            self.ask(
                                t,
                                at..at + rows,
                                unit..unit + units,
                                passing.then(|| there.wrapping_add(some.start * stride)),
                            );
                        }
                        let slot = cell.recurrent_slot() * T::WIDTH;
                        let of_h = TileArguments {
                            a: h_before.add(some.start * h_before_stride),
                            a_row_stride: h_before_stride as isize,
                            steps: hidden.min(CHUNK),
                            lead: hidden,
                            segment: hidden,
                            gap: 0,
                            b: packed.panel_pointer(panel, 0),
                            b_stride: vectors * T::WIDTH,
                            then: None,
                            next: share.next(packed, t, turn, cut.start / tallest + tile),
                            from: sums.add(slot),
                            from_stride: stride as isize,
                            c: sums.add(slot),
                            c_stride: stride as isize,
                            add: false,
                            cols: vectors * T::WIDTH,
                        };
                        if passing {
                            let input = sizes.input;
                            let of_x = TileArguments {
                                a: self.x[(steps.first(t) + first + some.start) * input..].as_ptr(),
                                a_row_stride: input as isize,
                                steps: input.min(CHUNK),
                                lead: input,
                                segment: input,
                                b: self.weights.input.panel_pointer(panel, 0),
                                next: std::ptr::null(),
                                from: self.weights.bias[column..].as_ptr(),
                                from_stride: 0,
                                c: sums,
                                ..of_h
                            };
                            if joined {
                                let TileArguments { a, a_row_stride, b, next, .. } = of_h;
                                let then = Some(Factors { a, a_row_stride, b });
                                let chain = TileArguments { steps: input + hidden, segment: hidden, then, next, ..of_x };
                                run_tile::<T, false>(self.choice, rows, vectors, &chain);
                                continue;
                            }
                            run_chain::<T>(self.choice, rows, vectors, of_x, input);
                        }
                        if cell == Cell::Gru {
                            let bias = &self.weights.hidden_bias[unit..unit + T::WIDTH];
                            for i in 0..rows {
                                let to = sums.add(i * stride + 3 * T::WIDTH);
                                std::ptr::copy_nonoverlapping(bias.as_ptr(), to, T::WIDTH);
                            }
                        }
                        run_chain::<T>(self.choice, rows, vectors, of_h, hidden);
                    }
                    if turn + 1 < share.turns() && (turn + 1) % together > 0 {
                        continue;
                    }
                    // The panels of a thread lie side by side, and it takes them in either direction.
                    let waiting = turn % together;
                    let unit = unit.min(packed.panel(share.panel(t, turn - waiting)).0 / cell.gates());
                    let units = (hidden - unit).min(units + waiting * T::WIDTH);
                    let there = self.gates.0.wrapping_add(self.places.at(gates_row + first, unit));
                    let sums = if passing { own.as_ptr() } else { there.cast_const() };
                    self.cells(t, first..first + cut.len(), unit, units, sums, there);
                }
            }
            if let Some(here) = here {
                here.wait();
            }
        }
    }
}

/// One tile over all of K by rule R1: chunks after the first start from zero and are added to C.
///
/// # Safety
/// As for [`run_tile`], for `k` steps; A and B are not in blocks shorter than a chunk.
pub(super) unsafe fn run_chain<T: Real>(choice: Choice, rows: usize, vectors: usize, first: TileArguments<T>, k: usize) {
    // SAFETY: passed on to the caller.
    unsafe {
        run_tile::<T, false>(choice, rows, vectors, &first);
        let mut done = first.steps;
        while done < k {
            let lead = first.lead.min(k);
            let later = TileArguments {
                a: offset_in_blocks(first.a, done, lead, first.gap),
                steps: (k - done).min(CHUNK),
                lead: first.segment - done % first.segment,
                next: if first.next.is_null() { first.next } else { first.next.wrapping_add(done * T::WIDTH) },
                b: first.b.add(done * first.b_stride),
                from: std::ptr::null(),
                add: true,
                ..first
            };
            run_tile::<T, false>(choice, rows, vectors, &later);
            done += later.steps;
        }
    }
}

/// Where step `done` of a row in blocks of `block` stands.
unsafe fn offset_in_blocks<T>(a: *const T, done: usize, block: usize, gap: isize) -> *const T {
    a.wrapping_offset(done as isize + (done / block) as isize * gap)
}
