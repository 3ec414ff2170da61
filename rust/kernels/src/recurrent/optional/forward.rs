//! The forward pass.

use super::gates::GatePlaces;
use super::mixing::{Product, Zoned, over_rows};
use super::norm::Normalize;
use super::pointwise::{Forward, Part, Step};
use super::{Kind, PackedParameters};
use crate::abreast::InStep;
use crate::dropout::Dropout;
use crate::error::check_length;
use crate::matmul::{Right, Start, product, product_on};
use crate::parallel::{self, Shared, threads_for};
use crate::recurrent::Cell;
use crate::recurrent::forward::{State, rows_near};
use crate::recurrent::shares::share_rows;
use crate::recurrent::states::Hidden;
use crate::recurrent::steps::{Layout, Steps};
use crate::workspace::{Scratch, scratch};
use crate::{MatrixView, MatrixViewMut, Real, Result};
use std::ops::Range;
use weft_simd::{Choice, chosen, dispatch_on};

/// What a pass is given besides its parameters.
#[derive(Clone, Copy)]
pub struct Inputs<'a, T> {
    /// As the plain cells'.
    pub layout: Layout<'a>,
    /// `[T, B, I]` or `[B, T, I]`
    pub x: &'a [T],
    /// `[B, P]`, zeros when absent
    pub h_0: Option<&'a [T]>,
    /// `[B, H]`
    pub c_0: Option<&'a [T]>,
    /// `[B, P]`: h of the step before is multiplied with it, at every step; empty for none.
    pub mask: &'a [T],
    /// Zoneout of h and of c: in training which numbers keep their old value, else the share of the old value in all (`stream` absent).
    pub zoneout: [f64; 2],
    /// Numbers for h and c (training), and the step that this pass begins with.
    pub streams: Option<([crate::random::Stream; 2], usize)>,
}

/// What the backward pass needs, and what `return_gates` shows.
pub struct Cache<T> {
    pub(super) kind: Kind,
    pub(super) steps: Steps,
    /// Of all rows, where `places` says.
    pub(super) gates: Scratch<T>,
    pub(super) places: GatePlaces<T>,
    /// What [`Hidden`] has beside the output.
    pub(super) h: Scratch<T>,
    /// Whether there was an initial h; else it is zeros.
    pub(super) has_initial: bool,
    /// c_0 in sorted order `[B, H]`, then c `[rows, H]`.
    pub(super) c: Scratch<T>,
    /// c before zoneout `[rows, H]`; empty where it is c.
    pub(super) c_new: Scratch<T>,
    /// h before the projection `[rows, H]`.
    pub(super) full: Scratch<T>,
    /// Mask in sorted order `[B, P]`, and h before each row times it, `[rows, P]`.
    pub(super) mask: Scratch<T>,
    pub(super) masked: Scratch<T>,
    /// Kept shares of h̃ `[rows, P]` and c̃ `[rows, H]`.
    pub(super) keep_h: Scratch<T>,
    pub(super) keep_c: Scratch<T>,
    /// x̂ of both sides `[rows, G·H]`, and 1 / deviation `[rows, groups]`.
    pub(super) hats: [Scratch<T>; 2],
    pub(super) inverses: [Scratch<T>; 2],
    /// The input's rows in order, when the caller's array has another.
    pub(super) x: Option<Scratch<T>>,
    pub(super) spent: bool,
}

impl<T: Real> Cache<T> {
    /// Copies what stands in the gates buffer for one gate, or c, of all units to `[T, B, H]` (`[B, T, H]`), zeros beyond a length.
    /// Slots as the module says; `None` is c. Not after a backward pass.
    pub fn show(&self, slot: Option<usize>, to: &mut [T]) -> Result<()> {
        let hidden = self.kind.sizes.hidden;
        check_length("recurrent", "gate", to.len(), self.steps.steps * self.steps.batch * hidden)?;
        match slot {
            Some(slot) if !self.gates.is_empty() => {
                for (unit, units, at) in self.places.pieces(0, slot) {
                    self.steps.scatter(&self.gates[at..], self.places.stride(), units, &mut to[unit..], hidden);
                }
            }
            None if !self.c.is_empty() => {
                self.steps.scatter(&self.c[self.steps.batch * hidden..], hidden, hidden, to, hidden);
            }
            _ => {}
        }
        Ok(())
    }
}

/// Runs a direction of a layer.
///
/// Buffers: as for the plain cells; y rows hold P numbers, `last` h `[B, P]` and c `[B, H]`. [`super::backward`] asks for x and y as they
/// are then.
pub fn forward<T: Real>(
    of: &PackedParameters<T>,
    with: Inputs<'_, T>,
    y: &mut [T],
    y_stride: usize,
    last: State<'_, T>,
) -> Result<Cache<T>> {
    let (kind, layout) = (of.kind, with.layout);
    let (batch, hidden, state) = (layout.batch, kind.sizes.hidden, kind.state);
    let all = layout.steps * batch;
    check_length("recurrent", "input", with.x.len(), all * kind.sizes.input)?;
    check_length("recurrent", "output", y.len(), if all == 0 { 0 } else { (all - 1) * y_stride + state })?;
    check_length("recurrent", "h_n", last.h.len(), batch * state)?;
    let lstm = kind.cell == Cell::Lstm;
    check_length("recurrent", "c_n", last.c.len(), if lstm { batch * hidden } else { 0 })?;
    for (name, given, width) in [("h_0", with.h_0, state), ("c_0", with.c_0, hidden)] {
        given.map_or(Ok(()), |given| check_length("recurrent", name, given.len(), batch * width))?;
    }
    if !with.mask.is_empty() {
        check_length("recurrent", "mask", with.mask.len(), batch * state)?;
    }
    let steps = Steps::new(&layout)?;
    let rows = steps.rows();
    let when = |wanted: bool, len: usize| scratch::<T>(if wanted { len } else { 0 });
    let gathered = (!steps.is_direct()).then(|| {
        let mut sorted = scratch::<T>(rows * kind.sizes.input);
        steps.gather(with.x, kind.sizes.input, kind.sizes.input, &mut sorted);
        sorted
    });
    let (sums, width) = (kind.gates() * hidden, kind.slots() * hidden);
    let (normed, groups) = (of.norm.is_some(), kind.groups());
    let places = GatePlaces::new(&kind, normed, rows);
    let zoned = |index: usize| with.zoneout[index] > 0.0 && (index == 0 || lstm);
    let mut cache = Cache {
        kind,
        gates: scratch(places.len()),
        places,
        h: scratch(Hidden::<T>::own_rows(&steps) * state),
        has_initial: with.h_0.is_some(),
        c: when(lstm, (batch + rows) * hidden),
        c_new: when(zoned(1), rows * hidden),
        full: when(of.projection.is_some(), rows * hidden),
        mask: when(!with.mask.is_empty(), batch * state),
        masked: when(!with.mask.is_empty(), rows * state),
        keep_h: when(zoned(0), rows * state),
        keep_c: when(zoned(1), rows * hidden),
        hats: [when(normed, rows * sums), when(normed, rows * sums)],
        inverses: [when(normed, rows * groups.len()), when(normed, rows * groups.len())],
        x: gathered,
        spent: false,
        steps,
    };
    let steps = &cache.steps;
    let sorted = |from: Option<&[T]>, width: usize, to: &mut [T]| {
        for (j, &b) in steps.order.iter().enumerate().take(if to.is_empty() { 0 } else { batch }) {
            let to = &mut to[j * width..(j + 1) * width];
            match from {
                Some(from) => to.copy_from_slice(&from[b * width..(b + 1) * width]),
                None => to.fill(T::ZERO),
            }
        }
    };
    sorted(with.h_0, state, &mut cache.h);
    sorted(with.c_0, hidden, &mut cache.c);
    sorted(Some(with.mask), state, &mut cache.mask);
    let x_rows: &[T] = cache.x.as_deref().unwrap_or(with.x);
    let states = Hidden::new(steps, state, cache.h.as_mut_ptr(), y.as_mut_ptr(), y_stride);
    let shared = |buffer: &mut Scratch<T>| Shared(buffer.as_mut_ptr());
    let pass = Pass {
        choice: chosen(),
        of,
        with,
        steps,
        states,
        x: x_rows,
        gates: shared(&mut cache.gates),
        places,
        c: shared(&mut cache.c),
        c_new: shared(&mut cache.c_new),
        full: shared(&mut cache.full),
        hats: cache.hats.each_mut().map(shared),
        inverses: cache.inverses.each_mut().map(shared),
        mask: &cache.mask,
        masked: shared(&mut cache.masked),
        keep_h: zoned(0).then(|| shared(&mut cache.keep_h)),
        keep_c: zoned(1).then(|| shared(&mut cache.keep_c)),
    };
    let work = 2.0 * rows as f64 * state as f64 * sums as f64;
    let threads = threads_for(work).min((batch / 4).max(1));
    // The input's sums are formed for a few steps at a time, which then find them near.
    for block in steps.blocks(rows_near::<T>(if normed { width + 2 * sums } else { width })) {
        pass.input(steps.rows_of(&block));
        share_rows(steps, &block, threads, &|rows| pass.run(block.clone(), rows));
    }

    for (j, &b) in steps.order.iter().enumerate() {
        // SAFETY: a row of `state` numbers, and no thread writes any more.
        let h = unsafe { std::slice::from_raw_parts(states.last(steps, j), state) };
        last.h[b * state..(b + 1) * state].copy_from_slice(h);
        if lstm {
            let row = steps.last(j);
            last.c[b * hidden..(b + 1) * hidden].copy_from_slice(&cache.c[row * hidden..(row + 1) * hidden]);
        }
    }
    if !steps.is_direct() {
        steps.scatter(&cache.h[batch * state..], state, state, y, y_stride);
    }
    Ok(cache)
}

struct Pass<'a, T> {
    choice: Choice,
    of: &'a PackedParameters<T>,
    with: Inputs<'a, T>,
    steps: &'a Steps,
    states: Hidden<T>,
    /// The input's rows in order.
    x: &'a [T],
    gates: Shared<T>,
    places: GatePlaces<T>,
    c: Shared<T>,
    c_new: Shared<T>,
    full: Shared<T>,
    hats: [Shared<T>; 2],
    inverses: [Shared<T>; 2],
    mask: &'a [T],
    masked: Shared<T>,
    keep_h: Option<Shared<T>>,
    keep_c: Option<Shared<T>>,
}

/// A pointer into a buffer, or null where the buffer is empty.
pub(super) fn at<T>(buffer: &[T], offset: usize) -> *const T {
    if buffer.is_empty() { std::ptr::null() } else { buffer[offset..].as_ptr() }
}

impl<T: Real> Pass<'_, T> {
    /// The input's sums of some rows, by all threads.
    fn input(&self, rows: Range<usize>) {
        let kind = self.of.kind;
        let (input, sums, width) = (kind.sizes.input, kind.gates() * kind.sizes.hidden, kind.slots() * kind.sizes.hidden);
        let (all, first, count) = (self.steps.rows(), rows.start, rows.len());
        let x = MatrixView::new(&self.x[first * input..rows.end * input], count, input);
        let right = Right::Packed(&self.of.input);
        let (hats, inverses) = (self.hats[0], self.inverses[0]);
        let Some((gain, _)) = &self.of.norm else {
            // SAFETY: the gates have these rows.
            let to = unsafe { self.places.view_mut(self.gates.0, first, count, 0, sums) };
            return product(x, right, to, Start::Bias(&self.of.bias_ih));
        };
        // SAFETY: so have the sums.
        let to = unsafe { MatrixViewMut::from_raw(hats.at(first * sums), count, sums, sums as isize) };
        product(x, right, to, Start::Zero);
        parallel::over_ranges(count, count * sums * size_of::<T>() * 3, |range| {
            let row = first + range.start;
            for (g, group) in kind.input_groups().iter().enumerate() {
                dispatch_on(
                    self.choice,
                    InStep(Normalize {
                        rows: range.len(),
                        cols: group.rows,
                        x: hats.at(row * sums + group.first),
                        x_stride: sums,
                        gain: gain[group.first..].as_ptr(),
                        shift: self.of.bias_ih[group.first..].as_ptr(),
                        to: self.gates.at(row * width + group.column),
                        to_stride: width,
                        add: false,
                        inverse: inverses.at(g * all + row),
                    }),
                );
            }
        });
    }

    /// Writes the kept shares of h̃ (0) or c̃ (1) of `n` sorted rows from `first` on at step t: ones and zeros in training, else one share for
    /// all. Null without zoneout.
    ///
    /// # Safety
    /// The rows lie within the buffer and belong to this thread.
    unsafe fn keep(&self, index: usize, t: usize, first: usize, n: usize) -> *mut T {
        let (keep, width) = match index {
            0 => (self.keep_h, self.of.kind.state),
            _ => (self.keep_c, self.of.kind.sizes.hidden),
        };
        let Some(keep) = keep else { return std::ptr::null_mut() };
        let to = keep.at((first + self.steps.first(t)) * width);
        for j in 0..n {
            // SAFETY: passed on to the caller.
            let row = unsafe { std::slice::from_raw_parts_mut(to.wrapping_add(j * width), width) };
            let p = self.with.zoneout[index];
            match self.with.streams {
                Some((streams, begin)) => {
                    let number = ((begin + t) * self.steps.batch + self.steps.order[first + j]) * width;
                    Dropout { stream: streams[index], p }.keep(number, row);
                }
                None => row.fill(T::from_f64(1.0 - p)),
            }
        }
        to
    }

    /// Takes the sorted rows of one thread through some steps. No other thread reads or writes them.
    fn run(&self, span: Range<usize>, rows: Range<usize>) {
        let (of, steps) = (self.of, self.steps);
        let kind = of.kind;
        let (hidden, state) = (kind.sizes.hidden, kind.state);
        let (sums, width) = (kind.gates() * hidden, kind.slots() * hidden);
        let groups = kind.groups();
        for t in span {
            let end = rows.end.min(steps.active[t]);
            if rows.start >= end {
                break;
            }
            let (first, n) = (rows.start, end - rows.start);
            let (before, now) = (first + steps.before(t), first + steps.now(t));
            let row = first + steps.first(t);
            // SAFETY: rows first..end of this step and of the step before lie within the buffers and belong to this thread.
            unsafe {
                let (h_before, h_before_stride) = self.states.before(steps, t);
                let h_before = h_before.add(first * h_before_stride);
                let h_stride = self.states.stride();
                let h_now = self.states.now(steps, t).add(first * h_stride);
                let (mut u, mut u_stride) = (h_before, h_before_stride);
                if !self.mask.is_empty() {
                    let masked = self.masked.at(row * state);
                    let factors = [(h_before, h_before_stride), (at(self.mask, first * state), state)];
                    over_rows(self.choice, &Product, (n, state), factors, (masked, state));
                    (u, u_stride) = (masked.cast_const(), state);
                }
                let (keep_h, keep_c) = (self.keep(0, t, first, n), self.keep(1, t, first, n));
                let projected = of.projection.is_some();
                let gates = self.gates.0;
                let c_new = if self.keep_c.is_some() { self.c_new.at(row * hidden) } else { self.c.at(now * hidden) };
                let step = Step {
                    kind,
                    rows: n,
                    gates: self.places.gates(gates, row),
                    h_before,
                    h_before_stride,
                    keep_h: if projected { std::ptr::null() } else { keep_h.cast_const() },
                    operand: u,
                    operand_stride: u_stride,
                    c_before: self.c.at(before * hidden),
                    c_new,
                    c: self.c.at(now * hidden),
                    keep_c,
                    peephole: at(&of.peephole, 0),
                    norm_c: at(&of.norm_c, 0),
                };
                let (h, h_stride) = if projected { (self.full.at(row * hidden), hidden) } else { (h_now, h_stride) };
                for (g, group) in groups.iter().enumerate() {
                    let mut left = MatrixView::from_raw(u, n, state, u_stride as isize, 1);
                    if kind.reset_before && g == 1 {
                        dispatch_on(self.choice, Forward { step, part: Part::Resets, h, h_stride });
                        left = self.places.view(gates, row, n, 3 * hidden, hidden);
                    }
                    let right = Right::Packed(&of.recurrent[g]);
                    let bias = &of.bias_hh[group.first..group.first + group.rows];
                    let Some((_, gain)) = &of.norm else {
                        let to = self.places.view_mut(gates, row, n, group.column, group.rows);
                        product_on(
                            self.choice,
                            1,
                            left,
                            right,
                            to,
                            if group.joins { Start::Accumulate } else { Start::Bias(bias) },
                        );
                        continue;
                    };
                    let hat = self.hats[1].at(row * sums + group.first);
                    product_on(
                        self.choice,
                        1,
                        left,
                        right,
                        MatrixViewMut::from_raw(hat, n, group.rows, sums as isize),
                        Start::Zero,
                    );
                    dispatch_on(
                        self.choice,
                        InStep(Normalize {
                            rows: n,
                            cols: group.rows,
                            x: hat,
                            x_stride: sums,
                            gain: gain[group.first..].as_ptr(),
                            shift: bias.as_ptr(),
                            to: gates.add(row * width + group.column),
                            to_stride: width,
                            add: group.joins,
                            inverse: self.inverses[1].at(g * steps.rows() + row),
                        }),
                    );
                }
                dispatch_on(self.choice, Forward { step, part: Part::All, h, h_stride });
                if let Some(projection) = &of.projection {
                    let from = MatrixView::from_raw(h.cast_const(), n, hidden, hidden as isize, 1);
                    let stride = self.states.stride();
                    let to = MatrixViewMut::from_raw(h_now, n, state, stride as isize);
                    product_on(self.choice, 1, from, Right::Packed(projection), to, Start::Zero);
                    if !keep_h.is_null() {
                        let mixed = [(h_now.cast_const(), stride), (h_before, h_before_stride), (keep_h.cast_const(), state)];
                        over_rows(self.choice, &Zoned, (n, state), mixed, (h_now, stride));
                    }
                }
            }
        }
    }
}
