//! The backward pass of one layer in one direction.

use super::PackedWeights;
use super::forward::{Cache, run_chain};
use super::gates::GatePanels;
use super::pointwise::Backward;
use super::shares::{Share, share_out};
use super::states::{Hidden, OutputGradients, RowsBefore};
use super::steps::Steps;
use super::weights::{unpack_bias, unpack_gradient};
use crate::error::{Error, check_length};
use crate::matmul::tile::{TileArguments, tile_rows};
use crate::matmul::{CHUNK, PackedMatrix, Panels, Passing, Right, Start, product, product_passing, products, take_turns};
use crate::parallel::{Presence, Shared, part};
use crate::workspace::scratch;
use crate::{MatrixView, MatrixViewMut, Real, Result, reduction};
use std::ops::Range;
use weft_simd::{Choice, ask_to_write, chosen, dispatch_on};

/// Where gradients go; every buffer is written whole. An empty buffer is not wanted.
pub struct Gradients<'a, T> {
    /// As the input.
    pub x: &'a mut [T],
    /// x is added to what stands there, which another direction has left.
    pub adds_to_x: bool,
    /// `[B, H]`
    pub h0: &'a mut [T],
    /// `[B, H]`, LSTM only.
    pub c0: &'a mut [T],
    /// All but the biases are wanted, or none is.
    pub weights: WeightGradients<'a, T>,
}

/// Where the gradients of weights go; every buffer is written whole. Biases may be empty.
pub struct WeightGradients<'a, T> {
    /// `[G·H, I]`
    pub weight_ih: &'a mut [T],
    /// `[G·H, H]`
    pub weight_hh: &'a mut [T],
    /// `[G·H]`
    pub bias_ih: &'a mut [T],
    /// `[G·H]`
    pub bias_hh: &'a mut [T],
}

/// Gradients from those of the outputs.
///
/// Buffers: x and y as the forward pass read and left them; dy like y, or empty for none; the rows of both begin `stride` numbers apart.
/// `last` are the gradients of h_n and c_n `[B, H]`, or absent. The cache's gates are overwritten and the cache is spent, unless `retain`,
/// which works on a copy.
pub fn backward<T: Real>(
    weights: &PackedWeights<T>,
    cache: &mut Cache<T>,
    x: &[T],
    y: &[T],
    dy: &[T],
    stride: usize,
    last: (Option<&[T]>, Option<&[T]>),
    retain: bool,
    gradients: Gradients<'_, T>,
) -> Result<()> {
    let (cell, sizes) = (weights.cell, weights.sizes);
    let Some((back_input, back_recurrent)) = &weights.backward else {
        return Err(Error::Config("[recurrent] the weights were packed for the forward pass only".into()));
    };
    if cache.spent {
        return Err(Error::Config("[recurrent] a second backward pass needs retain_graph=True in the first".into()));
    }
    let (batch, hidden, padded) = (cache.steps.batch, sizes.hidden, sizes.padded::<T>());
    let rows = cache.steps.rows();
    let all_rows = cache.steps.steps * batch;
    check_length("recurrent", "input", x.len(), all_rows * sizes.input)?;
    let outputs = if all_rows == 0 { 0 } else { (all_rows - 1) * stride + hidden };
    check_length("recurrent", "output", y.len(), outputs)?;
    if !dy.is_empty() {
        check_length("recurrent", "output gradient", dy.len(), outputs)?;
    }

    let mut copy = retain.then(|| {
        let mut copy = scratch::<T>(cache.gates.len());
        copy.copy_from_slice(&cache.gates);
        copy
    });
    cache.spent = !retain;
    let steps = &cache.steps;
    let dy = OutputGradients::new(steps, dy, stride, hidden);
    let mut dh = scratch::<T>(batch * padded);
    let mut dc = scratch::<T>(if cell.has_cell_state() { batch * padded } else { 0 });
    dh.fill(T::ZERO);
    dc.fill(T::ZERO);
    for (j, &b) in steps.order.iter().enumerate() {
        for (to, from) in [(&mut dh, last.0), (&mut dc, last.1)] {
            if let (Some(from), false) = (from, to.is_empty()) {
                to[j * padded..j * padded + hidden].copy_from_slice(&from[b * hidden..(b + 1) * hidden]);
            }
        }
    }

    let states = Hidden::new(steps, hidden, cache.h.as_ptr().cast_mut(), y.as_ptr().cast_mut(), stride);
    let gates = copy.as_deref_mut().unwrap_or(&mut cache.gates);
    let places = GatePanels::<T>::new(cell, sizes, rows);
    let pass = Pass {
        choice: chosen(),
        weights,
        back_recurrent,
        states,
        cache_c: cache.c.as_ptr(),
        steps,
        places,
        gates: Shared(gates.as_mut_ptr()),
        dy: &dy,
        dh: Shared(dh.as_mut_ptr()),
        dc: Shared(dc.as_mut_ptr()),
    };
    let (numbers, panels) = (hidden * cell.gates() * padded, back_recurrent.panels());
    share_out(steps, &(0..steps.steps), numbers, size_of::<T>(), panels, false, 0, &|share, here| pass.run(share, here));

    for (j, &b) in steps.order.iter().enumerate() {
        for (to, from) in [(&mut *gradients.h0, &dh), (&mut *gradients.c0, &dc)] {
            if !to.is_empty() && !from.is_empty() {
                to[b * hidden..(b + 1) * hidden].copy_from_slice(&from[j * padded..j * padded + hidden]);
            }
        }
    }

    if !gradients.x.is_empty() {
        input_gradient(steps, places.view(gates, 0), back_input, gradients.adds_to_x, gradients.x)?;
    }
    if !gradients.weights.weight_hh.is_empty() {
        let x_rows = MatrixView::new(cache.x.as_deref().unwrap_or(x), rows, sizes.input);
        let mut copy = scratch::<T>(0);
        // SAFETY: the cache and y outlive the products, which only read them.
        let h_rows = unsafe { states.before_all(steps, cache.has_initial, &mut copy) };
        of_weights(weights, rows, gates, x_rows, h_rows, gradients.weights)?;
    }
    Ok(())
}

/// d · W of all rows, in the caller's order: written to `dx`, or added to what stands there.
pub(super) fn input_gradient<T: Real>(
    steps: &Steps,
    d: MatrixView<'_, T>,
    weights: &PackedMatrix<T>,
    add: bool,
    dx: &mut [T],
) -> Result<()> {
    let (rows, width) = (steps.rows(), weights.cols());
    check_length("recurrent", "input gradient", dx.len(), steps.steps * steps.batch * width)?;
    let start = if add { Start::Accumulate } else { Start::Zero };
    if steps.is_direct() {
        product(d, Right::Packed(weights), MatrixViewMut::new(dx, rows, width), start);
        return Ok(());
    }
    let mut sorted = scratch::<T>(rows * width);
    if add {
        steps.gather(dx, width, width, &mut sorted);
    }
    product(d, Right::Packed(weights), MatrixViewMut::new(&mut sorted, rows, width), start);
    steps.scatter(&sorted, width, width, dx, width);
    Ok(())
}

/// Gradients of the weights from several passes of one step through them, after [`backward`] of each without its own: one product over the
/// rows of all, where each step of a decoder is a pass.
///
/// Buffers: xs as given to each pass; the caches are spent, and stay as they are.
pub fn weight_gradients<T: Real>(
    weights: &PackedWeights<T>,
    caches: &[&Cache<T>],
    xs: &[&[T]],
    to: WeightGradients<'_, T>,
) -> Result<()> {
    let sizes = weights.sizes;
    check_length("recurrent", "inputs of passes", xs.len(), caches.len())?;
    let rows: usize = caches.iter().map(|c| c.steps.rows()).sum();
    let all = GatePanels::<T>::new(weights.cell, sizes, rows);
    let (mut gates, mut x_rows) = (scratch::<T>(all.panels.len()), scratch::<T>(rows * sizes.input));
    let mut h_rows = scratch::<T>(rows * sizes.hidden);
    let mut at = 0;
    for (cache, &x) in caches.iter().zip(xs) {
        if !cache.spent {
            return Err(Error::Config("[recurrent] weight gradients: expected passes that went backward, once".into()));
        }
        if cache.steps.steps != 1 {
            return Err(Error::Config("[recurrent] weight gradients: expected passes of one step".into()));
        }
        let count = cache.steps.rows();
        let x = cache.x.as_deref().unwrap_or(x);
        check_length("recurrent", "input", x.len(), count * sizes.input)?;
        let places = GatePanels::<T>::new(weights.cell, sizes, count);
        check_length("recurrent", "gates", cache.gates.len(), places.panels.len())?;
        let before = &cache.h[..count * sizes.hidden];
        for panel in 0..all.panels.count() {
            let (one, to) = (places.panels.apart(), panel * all.panels.apart() + at * Panels::<T>::STRIDE);
            gates[to..to + one].copy_from_slice(&cache.gates[panel * one..(panel + 1) * one]);
        }
        for (all, one, width) in [(&mut x_rows, x, sizes.input), (&mut h_rows, before, sizes.hidden)] {
            all[at * width..(at + count) * width].copy_from_slice(one);
        }
        at += count;
    }
    let (x_rows, h_rows) = (MatrixView::new(&x_rows, rows, sizes.input), MatrixView::new(&h_rows, rows, sizes.hidden));
    of_weights(weights, rows, &gates, x_rows, ((h_rows, 0), None), to)
}

/// A gradient that is larger is formed in parts, some panels of gates at a time: as long as a part waits to be unpacked, it is there twice.
const BYTES_TO_UNPACK: usize = 4 << 20;

/// What forms a part: which panels, which columns, where to.
type Form<'a, T> = &'a mut dyn FnMut(Range<usize>, Range<usize>, &mut [T]);

/// From gates that hold gradients, inputs `[rows, I]` and the states before each row: `[n, H]` of those from a row on, zeros of others.
fn of_weights<T: Real>(
    weights: &PackedWeights<T>,
    rows: usize,
    gates: &[T],
    x_rows: MatrixView<'_, T>,
    (states, others): (RowsBefore<'_, T>, Option<RowsBefore<'_, T>>),
    to: WeightGradients<'_, T>,
) -> Result<()> {
    let (cell, sizes) = (weights.cell, weights.sizes);
    let (input, hidden) = (sizes.input, sizes.hidden);
    assert!(input > 0, "[recurrent] an input of at least one number");
    let (columns, places) = (cell.gates() * sizes.padded::<T>(), GatePanels::<T>::new(cell, sizes, rows));
    check_length("recurrent", "weight_ih", to.weight_ih.len(), cell.gates() * hidden * input)?;
    check_length("recurrent", "weight_hh", to.weight_hh.len(), cell.gates() * hidden * hidden)?;
    let gates_of = |(h, first): RowsBefore<'_, T>| places.view(gates, cell.recurrent_slot()).some_rows(first, h.rows);
    let (x, from_x) = (x_rows.transposed(), places.view(gates, 0));
    let (h, from_h) = (states.0.transposed(), gates_of(states));
    // Biases have the sums of the gates over all rows, which are formed while the products have a block of them near.
    let (apart, width) = (places.panels.apart(), Panels::<T>::STRIDE);
    let biases = !to.bias_ih.is_empty();
    let mut sums = scratch::<T>(if biases { places.panels.count() * width } else { 0 });
    let shared = Shared(sums.as_mut_ptr());
    let sum_up = |panel: usize, rows: Range<usize>| {
        let block = &gates[panel * apart..][rows.start * width..rows.end * width];
        // SAFETY: the sums of a panel are one thread's.
        reduction::sum_from(rows.start, block, unsafe { shared.slice(panel * width..(panel + 1) * width) });
    };
    let (to_input, to_recurrent) = (to.weight_ih, to.weight_hh);
    let passing: Option<Passing<'_>> = if biases { Some(&sum_up) } else { None };
    let accumulate = |of: &mut [T], some: Range<usize>| {
        let Some(part) = others else { return };
        let (gates, to) = (gates_of(part).columns(some.start, some.len()), MatrixViewMut::new(of, hidden, some.len()));
        product(part.0.transposed(), Right::View(gates), to, Start::Accumulate);
    };
    if take_turns::<T>(input + hidden) {
        let (mut of_input, mut of_recurrent) = (scratch::<T>(input * columns), scratch::<T>(hidden * columns));
        let to = (MatrixViewMut::new(&mut of_input, input, columns), MatrixViewMut::new(&mut of_recurrent, hidden, columns));
        products([(x, from_x, to.0), (h, from_h, to.1)], passing);
        accumulate(&mut of_recurrent, 0..columns);
        unpack_gradient(sizes, cell.input_gates(), input, 0..columns, &of_input, to_input);
        unpack_gradient(sizes, cell.recurrent_gates(), hidden, 0..columns, &of_recurrent, to_recurrent);
    } else {
        let panels = places.panels.count();
        let in_parts = |k: usize, form: Form<'_, T>| {
            let parts = (k * columns * size_of::<T>()).div_ceil(BYTES_TO_UNPACK).clamp(1, panels);
            for index in 0..parts {
                let some = part(panels, parts, index);
                let those = some.start * places.block()..columns.min(some.end * places.block());
                form(some, those.clone(), &mut scratch::<T>(k * those.len()));
            }
        };
        in_parts(input, &mut |panels, some, of| {
            let those = |panel: usize, rows: Range<usize>| sum_up(panels.start + panel, rows);
            let to = MatrixViewMut::new(of, input, some.len());
            product_passing(x, from_x.columns(some.start, some.len()), to, if biases { Some(&those) } else { None });
            unpack_gradient(sizes, cell.input_gates(), input, some, of, to_input);
        });
        in_parts(hidden, &mut |_, some, of| {
            let to = MatrixViewMut::new(of, hidden, some.len());
            product(h, Right::View(from_h.columns(some.start, some.len())), to, Start::Zero);
            accumulate(of, some.clone());
            unpack_gradient(sizes, cell.recurrent_gates(), hidden, some, of, to_recurrent);
        });
    }
    if biases {
        unpack_bias(cell, sizes, cell.input_gates(), 0, &sums, to.bias_ih);
        unpack_bias(cell, sizes, cell.recurrent_gates(), cell.recurrent_slot(), &sums, to.bias_hh);
    }
    Ok(())
}

struct Pass<'a, T> {
    choice: Choice,
    weights: &'a PackedWeights<T>,
    back_recurrent: &'a PackedMatrix<T>,
    states: Hidden<T>,
    cache_c: *const T,
    steps: &'a Steps,
    places: GatePanels<T>,
    gates: Shared<T>,
    dy: &'a OutputGradients<T>,
    dh: Shared<T>,
    dc: Shared<T>,
}

// SAFETY: the pointers of a pass are read, or written in rows that belong to one thread.
unsafe impl<T: Sync> Sync for Pass<'_, T> {}

impl<T: Real> Pass<'_, T> {
    /// Takes the sorted rows of one thread back through all steps, or some panels of units with a barrier between the gates of all units
    /// and the products that read them.
    fn run(&self, share: &Share, here: Option<&Presence<'_>>) {
        let (rows, panels) = (share.rows.clone(), share.panels.clone());
        let (cell, sizes, steps) = (self.weights.cell, self.weights.sizes, self.steps);
        let (hidden, padded) = (sizes.hidden, sizes.padded::<T>());
        let (stride, apart) = (Panels::<T>::STRIDE, self.places.panels.apart());
        let packed = self.back_recurrent;
        let k = cell.gates() * padded;
        let segment = self.places.block();
        let gap = apart as isize - segment as isize;
        let unit = packed.panel(panels.start).0;
        let units = hidden.min(panels.end * packed.width) - unit;
        for t in (0..steps.steps).rev() {
            let end = rows.end.min(steps.active[t]);
            if rows.start >= end {
                continue;
            }
            let (before, now, first) = (steps.before(t), steps.now(t), rows.start);
            let row = steps.first(t) + first;
            let (dy, dy_stride) = self.dy.at(steps, t, first);
            // SAFETY: rows first..end of step t lie within the buffers and belong to this thread.
            unsafe {
                let at = |first_row: *const T, stride: usize| first_row.wrapping_add(first * stride + unit);
                let (h_before, h_before_stride) = self.states.before(steps, t);
                let h_stride = self.states.stride();
                dispatch_on(
                    self.choice,
                    Backward {
                        cell,
                        rows: end - first,
                        units,
                        gates: self.gates.0.add(self.places.at(row, unit)),
                        gates_stride: stride,
                        panels_apart: apart,
                        h_before: at(h_before, h_before_stride),
                        h_before_stride,
                        h: at(self.states.now(steps, t), h_stride),
                        h_stride,
                        c_before: at(self.cache_c.wrapping_add(before * padded), padded),
                        c: at(self.cache_c.wrapping_add(now * padded), padded),
                        c_stride: padded,
                        dy: if dy.is_null() { dy } else { dy.add(unit) },
                        dy_stride,
                        dh: self.dh.0.add(first * padded + unit),
                        dc: self.dc.0.wrapping_add(first * padded + unit),
                        state_stride: padded,
                    },
                );
                if let Some(here) = here {
                    here.wait();
                }
                // dh_{t−1} += dG_t · R
                for turn in 0..share.turns() {
                    let panel = share.panel(t, turn);
                    let (column, vectors) = packed.panel(panel);
                    let cols = (hidden - column).min(packed.width);
                    let tiles = (end - first).div_ceil(tile_rows(self.choice, vectors));
                    for tile in 0..tiles {
                        let cut = part(end - first, tiles, tile);
                        // What an RNN's cells will write at the step before has been read last by who formed the weights' gradients; the gates of
                        // others this thread itself has written.
                        if cell.gates() == 1 && t > 0 {
                            let there = self.gates.0.wrapping_add(self.places.at(steps.first(t - 1) + first + cut.start, column));
                            (0..cut.len() * stride).step_by(T::WIDTH).for_each(|i| ask_to_write(there.wrapping_add(i)));
                        }
                        let chain = TileArguments {
                            a: self.gates.0.add((row + cut.start) * stride + cell.recurrent_slot() * T::WIDTH).cast_const(),
                            a_row_stride: stride as isize,
                            steps: k.min(CHUNK),
                            lead: segment,
                            segment,
                            gap,
                            b: packed.panel_pointer(panel, 0),
                            b_stride: vectors * T::WIDTH,
                            then: None,
                            next: share.next(packed, t, turn, tile),
                            from: self.dh.0.add((first + cut.start) * padded + column),
                            from_stride: padded as isize,
                            c: self.dh.0.add((first + cut.start) * padded + column),
                            c_stride: padded as isize,
                            add: false,
                            cols,
                        };
                        run_chain::<T>(self.choice, cut.len(), vectors, chain, k);
                    }
                }
            }
        }
    }
}
