//! The forward pass.

use super::mixing::{Product, Zoned};
use super::norm::Normalize;
use super::pointwise::{Forward, Part, Step};
use super::{Kind, PackedParameters};
use crate::abreast::InStep;
use crate::dropout::Dropout;
use crate::elementwise::map_raw;
use crate::error::check_length;
use crate::matmul::{Right, Start, product, product_on};
use crate::parallel::{self, Shared, threads_for};
use crate::recurrent::Cell;
use crate::recurrent::forward::State;
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
    /// `[rows, slots · H]`
    pub(super) gates: Scratch<T>,
    /// h_0 in sorted order `[B, P]`, then h `[rows, P]`; c alike.
    pub(super) h: Scratch<T>,
    pub(super) c: Scratch<T>,
    /// c before zoneout `[rows, H]`; empty where it is c.
    pub(super) c_new: Scratch<T>,
    /// h before the projection `[rows, H]`.
    pub(super) full: Scratch<T>,
    /// Mask in sorted order, kept shares of h̃ `[rows, P]` and c̃ `[rows, H]`.
    pub(super) mask: Scratch<T>,
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
        let (hidden, width) = (self.kind.sizes.hidden, self.kind.slots() * self.kind.sizes.hidden);
        check_length("recurrent", "gate", to.len(), self.steps.steps * self.steps.batch * hidden)?;
        match slot {
            Some(slot) if !self.gates.is_empty() => self.steps.scatter(&self.gates[slot * hidden..], width, hidden, to, hidden),
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
/// Buffers: as for the plain cells; y rows hold P numbers, `last` h `[B, P]` and c `[B, H]`.
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
    let zoned = |index: usize| with.zoneout[index] > 0.0 && (index == 0 || lstm);
    let mut cache = Cache {
        kind,
        gates: scratch(rows * width),
        h: scratch((batch + rows) * state),
        c: when(lstm, (batch + rows) * hidden),
        c_new: when(zoned(1), rows * hidden),
        full: when(of.projection.is_some(), rows * hidden),
        mask: when(!with.mask.is_empty(), batch * state),
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
    for (index, keep, width) in [(0, &mut cache.keep_h, state), (1, &mut cache.keep_c, hidden)] {
        if keep.is_empty() {
            continue;
        }
        let p = with.zoneout[index];
        let Some((streams, begin)) = with.streams else {
            keep.fill(T::from_f64(1.0 - p));
            continue;
        };
        let shared = Shared(keep.as_mut_ptr());
        parallel::over_ranges(steps.steps, keep.len() * size_of::<T>() * 8, |range| {
            for t in range {
                for j in 0..steps.active[t] {
                    let row = steps.first(t) + j;
                    // SAFETY: every row belongs to one step, and every step to one thread.
                    let row = unsafe { shared.slice(row * width..(row + 1) * width) };
                    Dropout { stream: streams[index], p }.keep(((begin + t) * batch + steps.order[j]) * width, row);
                }
            }
        });
    }

    let x_rows = MatrixView::new(cache.x.as_deref().unwrap_or(with.x), rows, kind.sizes.input);
    match &of.norm {
        None => {
            let to = MatrixViewMut::strided(&mut cache.gates, rows, sums, width);
            product(x_rows, Right::Packed(&of.input), to, Start::Bias(&of.bias_ih));
        }
        Some((gain, _)) => {
            product(x_rows, Right::Packed(&of.input), MatrixViewMut::new(&mut cache.hats[0], rows, sums), Start::Zero);
            let (hats, gates) = (Shared(cache.hats[0].as_mut_ptr()), Shared(cache.gates.as_mut_ptr()));
            let inverses = Shared(cache.inverses[0].as_mut_ptr());
            parallel::over_ranges(rows, rows * sums * size_of::<T>() * 3, |range| {
                for (g, group) in kind.input_groups().iter().enumerate() {
                    dispatch_on(
                        chosen(),
                        InStep(Normalize {
                            rows: range.len(),
                            cols: group.rows,
                            x: hats.at(range.start * sums + group.first),
                            x_stride: sums,
                            gain: gain[group.first..].as_ptr(),
                            shift: of.bias_ih[group.first..].as_ptr(),
                            to: gates.at(range.start * width + group.column),
                            to_stride: width,
                            add: false,
                            inverse: inverses.at(g * rows + range.start),
                        }),
                    );
                }
            });
        }
    }

    let pass = Pass {
        choice: chosen(),
        of,
        steps,
        gates: Shared(cache.gates.as_mut_ptr()),
        h: Shared(cache.h.as_mut_ptr()),
        c: Shared(cache.c.as_mut_ptr()),
        c_new: Shared(cache.c_new.as_mut_ptr()),
        full: Shared(cache.full.as_mut_ptr()),
        hats: Shared(cache.hats[1].as_mut_ptr()),
        inverses: Shared(cache.inverses[1].as_mut_ptr()),
        mask: &cache.mask,
        keep_h: &cache.keep_h,
        keep_c: &cache.keep_c,
        zoned_c: zoned(1),
    };
    let work = 2.0 * rows as f64 * state as f64 * sums as f64;
    let threads = threads_for(work).min((batch / 4).max(1));
    parallel::run(threads, &|index| pass.run(steps.cut(threads, index)));

    for (j, &b) in steps.order.iter().enumerate() {
        let row = steps.last(j);
        last.h[b * state..(b + 1) * state].copy_from_slice(&cache.h[row * state..(row + 1) * state]);
        if lstm {
            last.c[b * hidden..(b + 1) * hidden].copy_from_slice(&cache.c[row * hidden..(row + 1) * hidden]);
        }
    }
    steps.scatter(&cache.h[steps.batch * state..], state, state, y, y_stride);
    Ok(cache)
}

struct Pass<'a, T> {
    choice: Choice,
    of: &'a PackedParameters<T>,
    steps: &'a Steps,
    gates: Shared<T>,
    h: Shared<T>,
    c: Shared<T>,
    c_new: Shared<T>,
    full: Shared<T>,
    hats: Shared<T>,
    inverses: Shared<T>,
    mask: &'a [T],
    keep_h: &'a [T],
    keep_c: &'a [T],
    zoned_c: bool,
}

/// A pointer into a buffer, or null where the buffer is empty.
pub(super) fn at<T>(buffer: &[T], offset: usize) -> *const T {
    if buffer.is_empty() { std::ptr::null() } else { buffer[offset..].as_ptr() }
}

impl<T: Real> Pass<'_, T> {
    /// Takes the sorted rows of one thread through all steps. No other thread reads or writes them.
    fn run(&self, rows: Range<usize>) {
        let (of, steps) = (self.of, self.steps);
        let kind = of.kind;
        let (hidden, state) = (kind.sizes.hidden, kind.state);
        let (sums, width) = (kind.gates() * hidden, kind.slots() * hidden);
        let groups = kind.groups();
        let mut operand = scratch::<T>(if self.mask.is_empty() { 0 } else { rows.len() * state });
        for t in 0..steps.steps {
            let end = rows.end.min(steps.active[t]);
            if rows.start >= end {
                break;
            }
            let (first, n) = (rows.start, end - rows.start);
            let (before, now) = (first + steps.before(t), first + steps.now(t));
            let row = first + steps.first(t);
            // SAFETY: rows first..end of this step and of the step before lie within the buffers and belong to this thread.
            unsafe {
                let h_before = self.h.at(before * state).cast_const();
                let mut u = h_before;
                if !self.mask.is_empty() {
                    map_raw(&Product, [h_before, at(self.mask, first * state)], operand.as_mut_ptr(), n * state);
                    u = operand.as_ptr();
                }
                let gates = self.gates.at(row * width);
                let c_new = if self.zoned_c { self.c_new.at(row * hidden) } else { self.c.at(now * hidden) };
                let step = Step {
                    kind,
                    rows: n,
                    gates,
                    gates_stride: width,
                    h_before,
                    h_stride: state,
                    operand: u,
                    operand_stride: state,
                    c_before: self.c.at(before * hidden),
                    c_new,
                    c: self.c.at(now * hidden),
                    keep_c: at(self.keep_c, row * hidden),
                    peephole: at(&of.peephole, 0),
                    norm_c: at(&of.norm_c, 0),
                };
                let projected = of.projection.is_some();
                let (h, out_stride) =
                    if projected { (self.full.at(row * hidden), hidden) } else { (self.h.at(now * state), state) };
                for (g, group) in groups.iter().enumerate() {
                    let mut left = MatrixView::from_raw(u, n, state, state as isize, 1);
                    if kind.reset_before && g == 1 {
                        dispatch_on(self.choice, Forward { step, part: Part::Resets, h, out_stride });
                        left = MatrixView::from_raw(gates.add(3 * hidden), n, hidden, width as isize, 1);
                    }
                    let right = Right::Packed(&of.recurrent[g]);
                    let bias = &of.bias_hh[group.first..group.first + group.rows];
                    let Some((_, gain)) = &of.norm else {
                        let to = MatrixViewMut::from_raw(gates.add(group.column), n, group.rows, width as isize);
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
                    let hat = self.hats.at(row * sums + group.first);
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
                            to: gates.add(group.column),
                            to_stride: width,
                            add: group.joins,
                            inverse: self.inverses.at(g * steps.rows() + row),
                        }),
                    );
                }
                dispatch_on(self.choice, Forward { step, part: Part::All, h, out_stride });
                if let Some(projection) = &of.projection {
                    let from = MatrixView::from_raw(h.cast_const(), n, hidden, hidden as isize, 1);
                    let to = MatrixViewMut::from_raw(self.h.at(now * state), n, state, state as isize);
                    product_on(self.choice, 1, from, Right::Packed(projection), to, Start::Zero);
                }
                if !self.keep_h.is_empty() {
                    let h = self.h.at(now * state);
                    map_raw(&Zoned, [h.cast_const(), h_before, at(self.keep_h, row * state)], h, n * state);
                }
            }
        }
    }
}
