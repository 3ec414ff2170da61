//! The backward pass of one layer in one direction.

use super::PackedWeights;
use super::forward::{Cache, run_chain, run_cut, states_before};
use super::gates::GatePanels;
use super::pointwise::Backward;
use super::steps::Steps;
use super::weights::{unpack_bias, unpack_gradient};
use crate::error::{Error, check_length};
use crate::matmul::tile::{TileArguments, tile_rows};
use crate::matmul::{CHUNK, PackedMatrix, Panels, Right, Start, product};
use crate::parallel::{Presence, Shared, part};
use crate::workspace::scratch;
use crate::{MatrixView, MatrixViewMut, Real, Result, reduction};
use std::ops::Range;
use weft_simd::{Choice, chosen, dispatch_on};

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
/// Buffers: x as in the forward pass; dy like y there, or empty for none; `last` are the gradients of h_n and c_n `[B, H]`, or
/// absent. The cache's gates are overwritten and the cache is spent, unless `retain`, which works on a copy.
pub fn backward<T: Real>(
    weights: &PackedWeights<T>,
    cache: &mut Cache<T>,
    x: &[T],
    dy: &[T],
    dy_stride: usize,
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
    if !dy.is_empty() {
        check_length("recurrent", "output gradient", dy.len(), (all_rows - 1) * dy_stride + hidden)?;
    }

    let mut copy = retain.then(|| {
        let mut copy = scratch::<T>(cache.gates.len());
        copy.copy_from_slice(&cache.gates);
        copy
    });
    cache.spent = !retain;
    let steps = &cache.steps;
    let sorted_dy = (!dy.is_empty() && !(steps.is_direct())).then(|| {
        let mut sorted = scratch::<T>(rows * hidden);
        steps.gather(dy, dy_stride, hidden, &mut sorted);
        sorted
    });
    let (dy_rows, dy_stride) = match &sorted_dy {
        Some(sorted) => (sorted.as_ptr(), hidden),
        None if dy.is_empty() => (std::ptr::null(), 0),
        None => (dy.as_ptr(), dy_stride),
    };
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

    let gates = copy.as_deref_mut().unwrap_or(&mut cache.gates);
    let places = GatePanels::<T>::new(cell, sizes, rows);
    let pass = Pass {
        choice: chosen(),
        weights,
        back_recurrent,
        cache_h: cache.h.as_ptr(),
        cache_c: cache.c.as_ptr(),
        steps,
        places,
        gates: Shared(gates.as_mut_ptr()),
        dy: dy_rows,
        dy_stride,
        dh: Shared(dh.as_mut_ptr()),
        dc: Shared(dc.as_mut_ptr()),
    };
    let (numbers, panels) = (hidden * cell.gates() * padded, back_recurrent.panels());
    run_cut(steps, batch, numbers, size_of::<T>(), panels, &|rows, units, here| pass.run(rows, units, here));

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
        let (x_rows, mut copy) = (cache.x.as_deref().unwrap_or(x), None);
        let h_rows = states_before(steps, &cache.h, &mut copy);
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

/// Gradients of the weights from several passes through them, after [`backward`] of each without its own: one product over the rows of
/// all, where each step of a decoder is a pass.
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
        let count = cache.steps.rows();
        let x = cache.x.as_deref().unwrap_or(x);
        check_length("recurrent", "input", x.len(), count * sizes.input)?;
        let places = GatePanels::<T>::new(weights.cell, sizes, count);
        check_length("recurrent", "gates", cache.gates.len(), places.panels.len())?;
        let mut copy = None;
        let before = states_before(&cache.steps, &cache.h, &mut copy);
        for panel in 0..all.panels.count() {
            let (one, to) = (places.panels.apart(), panel * all.panels.apart() + at * Panels::<T>::STRIDE);
            gates[to..to + one].copy_from_slice(&cache.gates[panel * one..(panel + 1) * one]);
        }
        for (all, one, width) in [(&mut x_rows, x, sizes.input), (&mut h_rows, before, sizes.hidden)] {
            all[at * width..(at + count) * width].copy_from_slice(one);
        }
        at += count;
    }
    of_weights(weights, rows, &gates, &x_rows, &h_rows, to)
}

/// From gates that hold gradients, inputs `[rows, I]` and the states before each step `[rows, H]`.
fn of_weights<T: Real>(
    weights: &PackedWeights<T>,
    rows: usize,
    gates: &[T],
    x_rows: &[T],
    h_rows: &[T],
    to: WeightGradients<'_, T>,
) -> Result<()> {
    let (cell, sizes) = (weights.cell, weights.sizes);
    let (input, hidden) = (sizes.input, sizes.hidden);
    let (columns, places) = (cell.gates() * sizes.padded::<T>(), GatePanels::<T>::new(cell, sizes, rows));
    check_length("recurrent", "weight_ih", to.weight_ih.len(), cell.gates() * hidden * input)?;
    check_length("recurrent", "weight_hh", to.weight_hh.len(), cell.gates() * hidden * hidden)?;
    for (left, width, slot, order, gradient) in [
        (x_rows, input, 0, cell.input_gates(), to.weight_ih),
        (h_rows, hidden, cell.recurrent_slot(), cell.recurrent_gates(), to.weight_hh),
    ] {
        let mut transposed = scratch::<T>(width * columns);
        let left = MatrixView::new(left, rows, width).transposed();
        let right = Right::View(places.view(gates, slot));
        product(left, right, MatrixViewMut::new(&mut transposed, width, columns), Start::Zero);
        unpack_gradient(sizes, order, width, &transposed, gradient);
    }
    if !to.bias_ih.is_empty() {
        let mut sums = scratch::<T>(places.panels.count() * Panels::<T>::STRIDE);
        reduction::sum(places.panels.count(), rows, Panels::<T>::STRIDE, gates, &mut sums)?;
        unpack_bias(cell, sizes, cell.input_gates(), 0, &sums, to.bias_ih);
        unpack_bias(cell, sizes, cell.recurrent_gates(), cell.recurrent_slot(), &sums, to.bias_hh);
    }
    Ok(())
}

struct Pass<'a, T> {
    choice: Choice,
    weights: &'a PackedWeights<T>,
    back_recurrent: &'a PackedMatrix<T>,
    cache_h: *const T,
    cache_c: *const T,
    steps: &'a Steps,
    places: GatePanels<T>,
    gates: Shared<T>,
    dy: *const T,
    dy_stride: usize,
    dh: Shared<T>,
    dc: Shared<T>,
}

// SAFETY: the pointers of a pass are read, or written in rows that belong to one thread.
unsafe impl<T: Sync> Sync for Pass<'_, T> {}

impl<T: Real> Pass<'_, T> {
    /// Takes the sorted rows of one thread back through all steps, or some panels of units with a barrier between the gates of all units
    /// and the products that read them.
    fn run(&self, rows: Range<usize>, panels: Range<usize>, here: Option<&Presence<'_>>) {
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
            // SAFETY: rows first..end of step t lie within the buffers and belong to this thread.
            unsafe {
                let state = |base: *const T, row: usize, stride: usize| {
                    if base.is_null() { base } else { base.wrapping_add((row + first) * stride + unit) }
                };
                dispatch_on(
                    self.choice,
                    Backward {
                        cell,
                        rows: end - first,
                        units,
                        gates: self.gates.0.add(self.places.at(row, unit)),
                        gates_stride: stride,
                        panels_apart: apart,
                        h_before: state(self.cache_h, before, hidden),
                        h: state(self.cache_h, now, hidden),
                        h_stride: hidden,
                        c_before: state(self.cache_c, before, padded),
                        c: state(self.cache_c, now, padded),
                        c_stride: padded,
                        dy: if self.dy.is_null() { self.dy } else { self.dy.add(row * self.dy_stride + unit) },
                        dy_stride: self.dy_stride,
                        dh: self.dh.0.add(first * padded + unit),
                        dc: self.dc.0.wrapping_add(first * padded + unit),
                        state_stride: padded,
                    },
                );
                if let Some(here) = here {
                    here.wait();
                }
                // dh_{t−1} += dG_t · R
                for panel in panels.clone() {
                    let (column, vectors) = packed.panel(panel);
                    let cols = (hidden - column).min(packed.width);
                    let tiles = (end - first).div_ceil(tile_rows(self.choice, vectors));
                    for tile in 0..tiles {
                        let cut = part(end - first, tiles, tile);
                        let chain = TileArguments {
                            a: self.gates.0.add((row + cut.start) * stride + cell.recurrent_slot() * T::WIDTH).cast_const(),
                            a_row_stride: stride as isize,
                            steps: k.min(CHUNK),
                            lead: segment,
                            segment,
                            gap,
                            b: packed.panel_pointer(panel, 0),
                            b_stride: vectors * T::WIDTH,
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
