//! The backward pass.

use super::forward::{Cache, at};
use super::gates::GatePlaces;
use super::mixing::{MaskedSum, Product, Sum, Zones, over_rows};
use super::norm::{Denormalize, Normalize};
use super::pointwise::{Backward, Part, Step};
use super::{Group, PackedParameters};
use crate::abreast::InStep;
use crate::error::{Error, check_length};
use crate::matmul::{Right, Start, product_on, weight_gradient, weight_gradient_of_parts};
use crate::parallel::{self, Shared, threads_for};
use crate::recurrent::Cell;
use crate::recurrent::backward::input_gradient;
use crate::recurrent::shares::share_rows;
use crate::recurrent::states::{Hidden, OutputGradients};
use crate::recurrent::steps::Steps;
use crate::workspace::scratch;
use crate::{MatrixView, MatrixViewMut, Real, Result, reduction};
use std::ops::Range;
use weft_simd::{Choice, Isa, Kernel, Lanes, chosen, dispatch, dispatch_on};

/// Where gradients go; every buffer is written whole. An empty buffer is not wanted. Shapes as in [`super::Parameters`].
pub struct Gradients<'a, T> {
    /// As the input.
    pub x: &'a mut [T],
    /// x is added to what stands there, which another direction has left.
    pub adds_to_x: bool,
    /// `[B, P]`
    pub h0: &'a mut [T],
    /// `[B, H]`
    pub c0: &'a mut [T],
    /// `[G·H, I]`
    pub weight_ih: &'a mut [T],
    /// `[G·H, P]`
    pub weight_hh: &'a mut [T],
    /// `[G·H]`
    pub bias_ih: &'a mut [T],
    /// `[G·H]`
    pub bias_hh: &'a mut [T],
    /// `[P, H]`
    pub projection: &'a mut [T],
    /// `[3, H]` or `[2, H]`
    pub peephole: &'a mut [T],
    /// `[G·H]`
    pub norm_ih: &'a mut [T],
    /// `[G·H]`
    pub norm_hh: &'a mut [T],
    /// `[2, H]`
    pub norm_c: &'a mut [T],
}

/// Gradients from those of the outputs; buffers as for the plain cells. The cache is spent, unless `retain`, which works on a copy.
pub fn backward<T: Real>(
    of: &PackedParameters<T>,
    cache: &mut Cache<T>,
    x: &[T],
    y: &[T],
    dy: &[T],
    stride: usize,
    last: (Option<&[T]>, Option<&[T]>),
    retain: bool,
    gradients: Gradients<'_, T>,
) -> Result<()> {
    let kind = of.kind;
    let Some(back) = &of.back else {
        return Err(Error::Config("[recurrent] the weights were packed for the forward pass only".into()));
    };
    if cache.spent {
        return Err(Error::Config("[recurrent] a second backward pass needs retain_graph=True in the first".into()));
    }
    let (batch, hidden, state, input) = (cache.steps.batch, kind.sizes.hidden, kind.state, kind.sizes.input);
    let (rows, all) = (cache.steps.rows(), cache.steps.steps * batch);
    let (sums, width) = (kind.gates() * hidden, kind.slots() * hidden);
    check_length("recurrent", "input", x.len(), all * input)?;
    let outputs = if all == 0 { 0 } else { (all - 1) * stride + state };
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
    let dy = OutputGradients::new(steps, dy, stride, state);
    let lstm = kind.cell == Cell::Lstm;
    let (mut dh, mut dc) = (scratch::<T>(batch * state), scratch::<T>(if lstm { batch * hidden } else { 0 }));
    dh.fill(T::ZERO);
    dc.fill(T::ZERO);
    for (j, &b) in steps.order.iter().enumerate() {
        for (to, from, n) in [(&mut dh, last.0, state), (&mut dc, last.1, hidden)] {
            if let (Some(from), false) = (from, to.is_empty()) {
                to[j * n..(j + 1) * n].copy_from_slice(&from[b * n..(b + 1) * n]);
            }
        }
    }
    let when = |wanted: bool, len: usize| scratch::<T>(if wanted { len } else { 0 });
    let normed = of.norm.is_some();
    let mut d_state = when(of.projection.is_some(), rows * state);
    let mut d_sums = when(normed, rows * sums);
    let mut d_norm_c = when(!of.norm_c.is_empty(), rows * hidden);
    let (gates, places) = (copy.as_deref_mut().unwrap_or(&mut cache.gates), cache.places);
    let states = Hidden::new(steps, state, cache.h.as_ptr().cast_mut(), y.as_ptr().cast_mut(), stride);
    let pass = Pass {
        choice: chosen(),
        of,
        recurrent: &back.recurrent,
        projection: back.projection.as_ref(),
        steps,
        states,
        c: &cache.c,
        c_new: &cache.c_new,
        mask: &cache.mask,
        masked: &cache.masked,
        keep_h: &cache.keep_h,
        keep_c: &cache.keep_c,
        hats: &cache.hats[1],
        inverses: &cache.inverses[1],
        gates: Shared(gates.as_mut_ptr()),
        places,
        dy: &dy,
        dh: Shared(dh.as_mut_ptr()),
        dc: Shared(dc.as_mut_ptr()),
        d_state: Shared(d_state.as_mut_ptr()),
        d_sums: Shared(d_sums.as_mut_ptr()),
        d_norm_c: Shared(d_norm_c.as_mut_ptr()),
    };
    let work = 2.0 * rows as f64 * state as f64 * sums as f64;
    let threads = threads_for(work).min((batch / 4).max(1));
    share_rows(steps, &(0..steps.steps), threads, &|rows| pass.run(rows));

    for (j, &b) in steps.order.iter().enumerate() {
        for (to, from, n) in [(&mut *gradients.h0, &dh, state), (&mut *gradients.c0, &dc, hidden)] {
            if !to.is_empty() && !from.is_empty() {
                to[b * n..(b + 1) * n].copy_from_slice(&from[j * n..(j + 1) * n]);
            }
        }
    }
    let gates: &[T] = gates;

    // The input's side: gradients of the sums, through the norm if there is one.
    let mut d_input = when(normed, rows * sums);
    if let Some((gain, _)) = &of.norm {
        let to = Shared(d_input.as_mut_ptr());
        let (hats, inverses) = (&cache.hats[0], &cache.inverses[0]);
        parallel::over_ranges(rows, rows * sums * size_of::<T>() * 3, |range| {
            for (g, group) in kind.input_groups().iter().enumerate() {
                dispatch(InStep(Denormalize {
                    rows: range.len(),
                    cols: group.rows,
                    g: at(gates, range.start * width + group.column),
                    g_stride: width,
                    hat: at(hats, range.start * sums + group.first),
                    hat_stride: sums,
                    gain: gain[group.first..].as_ptr(),
                    inverse: at(inverses, g * rows + range.start),
                    to: to.at(range.start * sums + group.first),
                    to_stride: sums,
                }));
            }
        });
    }
    let from_gates = |column: usize, cols: usize| {
        // SAFETY: the buffer of gates is only read from here on.
        unsafe { places.view(gates.as_ptr(), 0, rows, column, cols) }
    };
    let d_x = if normed { MatrixView::new(&d_input, rows, sums) } else { from_gates(0, sums) };
    if !gradients.x.is_empty() {
        input_gradient(steps, d_x, &back.input, gradients.adds_to_x, gradients.x)?;
    }
    if gradients.weight_ih.is_empty() {
        return Ok(());
    }
    let x_rows = MatrixView::new(cache.x.as_deref().unwrap_or(x), rows, input);
    weight_gradient(x_rows, d_x, gradients.weight_ih);

    // The recurrent side: with u, masked or h of the step before.
    let mut copy = scratch::<T>(0);
    let operands = match &cache.masked {
        // SAFETY: the cache and y outlive the products, which only read them.
        none if none.is_empty() => unsafe { states.before_all(steps, cache.has_initial, &mut copy) },
        masked => ((MatrixView::new(masked, rows, state), 0), None),
    };
    for (g, group) in kind.groups().iter().enumerate() {
        let d = if normed {
            MatrixView::strided(&d_sums[group.first.min(d_sums.len())..], rows, group.rows, sums as isize, 1)
        } else {
            from_gates(group.column, group.rows)
        };
        let resets = ((from_gates(3 * hidden, hidden), 0), None);
        let to = &mut gradients.weight_hh[group.first * state..(group.first + group.rows) * state];
        let (first, other) = if kind.reset_before && g == 1 { resets } else { operands };
        weight_gradient_of_parts([first].into_iter().chain(other), d, to);
    }
    if !gradients.projection.is_empty() {
        let (d, full) = (MatrixView::new(&d_state, rows, state), MatrixView::new(&cache.full, rows, hidden));
        weight_gradient(full, d, gradients.projection);
    }
    if !gradients.bias_ih.is_empty() {
        let mut columns = scratch::<T>(width);
        let beside = places.stride();
        reduction::sum(width / beside.max(1), rows, beside, gates, &mut columns)?;
        gradients.bias_ih.copy_from_slice(&columns[..sums]);
        for Group { first, rows, column, .. } in kind.groups() {
            gradients.bias_hh[first..first + rows].copy_from_slice(&columns[column..column + rows]);
        }
    }
    let c_before = |row: usize| &cache.c[row * hidden..];
    let c_rows = if cache.c_new.is_empty() { &cache.c[(steps.batch * hidden).min(cache.c.len())..] } else { &cache.c_new[..] };
    if !gradients.peephole.is_empty() {
        let first = usize::from(!kind.coupled);
        for gate in 0..=first + 1 {
            // i and f look at c of the step before, o at the new one.
            let (column, to) =
                (if gate == first + 1 { first + 2 } else { gate }, &mut gradients.peephole[gate * hidden..][..hidden]);
            to.fill(T::ZERO);
            for t in (0..steps.steps).take_while(|&t| steps.active[t] > 0) {
                let (row, n) = (steps.first(t), steps.active[t]);
                let b = if gate == first + 1 { &c_rows[row * hidden..] } else { c_before(steps.before(t)) };
                for (unit, units, at) in places.pieces(row, column) {
                    add_products(n, &gates[at..], places.stride(), &b[unit..], hidden, &mut to[unit..unit + units]);
                }
            }
        }
    }
    if normed {
        for (to, hats, groups) in
            [(gradients.norm_ih, &cache.hats[0], kind.input_groups()), (gradients.norm_hh, &cache.hats[1], kind.groups())]
        {
            to.fill(T::ZERO);
            for Group { first, rows: cols, column, .. } in groups {
                if rows > 0 {
                    add_products(rows, &gates[column..], width, &hats[first..], sums, &mut to[first..first + cols]);
                }
            }
        }
    }
    if !gradients.norm_c.is_empty() {
        let mut hats = scratch::<T>(rows * hidden);
        let (shared, ones, zeros) = (Shared(hats.as_mut_ptr()), vec![T::ONE; hidden], vec![T::ZERO; hidden]);
        let mut inverses = scratch::<T>(rows);
        let inverse = Shared(inverses.as_mut_ptr());
        let mut copies = scratch::<T>(rows * hidden);
        copies.copy_from_slice(&c_rows[..rows * hidden]);
        let copy = Shared(copies.as_mut_ptr());
        parallel::over_ranges(rows, rows * hidden * size_of::<T>() * 3, |range| {
            dispatch(InStep(Normalize {
                rows: range.len(),
                cols: hidden,
                x: copy.at(range.start * hidden),
                x_stride: hidden,
                gain: ones.as_ptr(),
                shift: zeros.as_ptr(),
                to: shared.at(range.start * hidden),
                to_stride: hidden,
                add: false,
                inverse: inverse.at(range.start),
            }));
        });
        let (gain, shift) = gradients.norm_c.split_at_mut(hidden);
        gain.fill(T::ZERO);
        add_products(rows, &d_norm_c, hidden, &hats, hidden, gain);
        reduction::sum(1, rows, hidden, &d_norm_c, shift)?;
    }
    Ok(())
}

/// y[j] += Σ a[row, j] · b[row, j], row after row, lane by lane: one order for any number of threads.
fn add_products<T: Real>(rows: usize, a: &[T], a_stride: usize, b: &[T], b_stride: usize, y: &mut [T]) {
    let n = y.len();
    let shared = Shared(y.as_mut_ptr());
    parallel::over_ranges(n, 2 * rows * n * size_of::<T>(), |columns| {
        // SAFETY: columns of different threads are disjoint.
        let y = unsafe { shared.slice(columns.clone()) };
        dispatch(Products { rows, a: at(a, columns.start), a_stride, b: at(b, columns.start), b_stride, y });
    });
}

struct Products<'a, T> {
    rows: usize,
    a: *const T,
    a_stride: usize,
    b: *const T,
    b_stride: usize,
    y: &'a mut [T],
}

impl<T: Real> Kernel for Products<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let n = self.y.len();
        for row in 0..self.rows {
            let mut i = 0;
            while i < n {
                let c = T::WIDTH.min(n - i);
                // SAFETY: `c` columns are left in the rows and in y.
                unsafe {
                    let y = self.y.as_mut_ptr().add(i);
                    let a = <T::On<I>>::load_first(self.a.add(row * self.a_stride + i), c);
                    let b = <T::On<I>>::load_first(self.b.add(row * self.b_stride + i), c);
                    a.fma(b, <T::On<I>>::load_first(y, c)).store_first(y, c);
                }
                i += c;
            }
        }
    }
}

struct Pass<'a, T> {
    choice: Choice,
    of: &'a PackedParameters<T>,
    recurrent: &'a [crate::matmul::PackedMatrix<T>],
    projection: Option<&'a crate::matmul::PackedMatrix<T>>,
    steps: &'a Steps,
    states: Hidden<T>,
    c: &'a [T],
    c_new: &'a [T],
    mask: &'a [T],
    masked: &'a [T],
    keep_h: &'a [T],
    keep_c: &'a [T],
    hats: &'a [T],
    inverses: &'a [T],
    gates: Shared<T>,
    places: GatePlaces<T>,
    dy: &'a OutputGradients<T>,
    dh: Shared<T>,
    dc: Shared<T>,
    d_state: Shared<T>,
    d_sums: Shared<T>,
    d_norm_c: Shared<T>,
}

// SAFETY: the pointers of a pass are read, or written in rows that belong to one thread.
unsafe impl<T: Sync> Sync for Pass<'_, T> {}

impl<T: Real> Pass<'_, T> {
    /// Takes the sorted rows of one thread back through all steps.
    fn run(&self, rows: Range<usize>) {
        let (of, steps) = (self.of, self.steps);
        let kind = of.kind;
        let (hidden, state) = (kind.sizes.hidden, kind.state);
        let (sums, width) = (kind.gates() * hidden, kind.slots() * hidden);
        let groups = kind.groups();
        let share = rows.len();
        let own = |wanted: bool, width: usize| scratch::<T>(if wanted { share * width } else { 0 });
        let (projects, masks, zones) = (self.projection.is_some(), !self.mask.is_empty(), !self.keep_h.is_empty());
        // Gradients of h before zoneout, of h before the projection, of the masked operand, and of r ∘ u.
        let (mut d_kept, mut d_full) = (own(zones && !projects, state), own(projects, hidden));
        let (mut d_u, mut d_ru) = (own(masks, state), own(kind.reset_before, hidden));
        // Whether anything goes past the products to h of the step before: it waits for them in dh.
        let carries = zones || kind.cell == Cell::Gru;
        for t in (0..steps.steps).rev() {
            let end = rows.end.min(steps.active[t]);
            if rows.start >= end {
                continue;
            }
            let (first, n) = (rows.start, end - rows.start);
            let (before, now) = (first + steps.before(t), first + steps.now(t));
            let row = first + steps.first(t);
            // SAFETY: rows first..end of step t lie within the buffers and belong to this thread.
            unsafe {
                let dh = self.dh.at(first * state);
                let mut dy = self.dy.at(steps, t, first);
                let (mut d, mut d_stride) = (dh.cast_const(), state);
                if zones || projects {
                    let to = if projects { self.d_state.at(row * state) } else { d_kept.as_mut_ptr() };
                    if zones {
                        let keep = at(self.keep_h, row * state);
                        dispatch_on(self.choice, Zones { rows: n, cols: state, dh, dy, keep, to });
                    } else if dy.0.is_null() {
                        std::ptr::copy_nonoverlapping(dh, to, n * state);
                    } else {
                        over_rows(self.choice, &Sum, (n, state), [(d, state), dy], (to, state));
                    }
                    d = to.cast_const();
                    dy.0 = std::ptr::null();
                }
                if let Some(projection) = self.projection {
                    let left = MatrixView::from_raw(d, n, state, state as isize, 1);
                    let to = MatrixViewMut::from_raw(d_full.as_mut_ptr(), n, hidden, hidden as isize);
                    product_on(self.choice, 1, left, Right::Packed(projection), to, Start::Zero);
                    (d, d_stride) = (d_full.as_ptr(), hidden);
                }
                let (h_before, h_before_stride) = self.states.before(steps, t);
                let h_before = h_before.add(first * h_before_stride);
                let (operand, operand_stride) =
                    if masks { (at(self.masked, row * state), state) } else { (h_before, h_before_stride) };
                let gates = self.gates.0;
                let c_now = if self.c_new.is_empty() { at(self.c, now * hidden) } else { at(self.c_new, row * hidden) };
                let step = Step {
                    kind,
                    rows: n,
                    gates: self.places.gates(gates, row),
                    h_before,
                    h_before_stride,
                    keep_h: std::ptr::null(),
                    operand,
                    operand_stride,
                    c_before: at(self.c, before * hidden),
                    c_new: c_now.cast_mut(),
                    c: std::ptr::null_mut(),
                    keep_c: at(self.keep_c, row * hidden),
                    peephole: at(&of.peephole, 0),
                    norm_c: at(&of.norm_c, 0),
                };
                let cells = |part: Part, d_operand: *mut T| {
                    dispatch_on(
                        self.choice,
                        Backward {
                            step,
                            part,
                            dh: d,
                            dh_stride: d_stride,
                            dy: dy.0,
                            dy_stride: dy.1,
                            dc: self.dc.at(first * hidden),
                            carry: dh,
                            carry_adds: zones,
                            d_operand,
                            d_norm_c: self.d_norm_c.at(row * hidden),
                        },
                    );
                };
                cells(Part::All, std::ptr::null_mut());
                let (to, mut adds) = if masks { (d_u.as_mut_ptr(), false) } else { (dh, carries) };
                // Groups from the last: that of n, whose r ∘ u leads to r, comes before r and z.
                for (g, group) in groups.iter().enumerate().rev() {
                    let mut left = self.places.view(gates, row, n, group.column, group.rows);
                    if let Some((_, gain)) = &of.norm {
                        let to = self.d_sums.at(row * sums + group.first);
                        dispatch_on(
                            self.choice,
                            InStep(Denormalize {
                                rows: n,
                                cols: group.rows,
                                g: gates.add(row * width + group.column),
                                g_stride: width,
                                hat: at(self.hats, row * sums + group.first),
                                hat_stride: sums,
                                gain: gain[group.first..].as_ptr(),
                                inverse: at(self.inverses, g * steps.rows() + row),
                                to,
                                to_stride: sums,
                            }),
                        );
                        left = MatrixView::from_raw(to.cast_const(), n, group.rows, sums as isize, 1);
                    }
                    let right = Right::Packed(&self.recurrent[g]);
                    if kind.reset_before && g == 1 {
                        let d_ru = d_ru.as_mut_ptr();
                        let product_to = MatrixViewMut::from_raw(d_ru, n, hidden, hidden as isize);
                        product_on(self.choice, 1, left, right, product_to, Start::Zero);
                        cells(Part::Resets, d_ru);
                        if adds {
                            let both = [(to.cast_const(), state), (d_ru.cast_const(), hidden)];
                            over_rows(self.choice, &Sum, (n, state), both, (to, state));
                        } else {
                            std::ptr::copy_nonoverlapping(d_ru, to, n * state);
                        }
                    } else {
                        let start = if adds { Start::Accumulate } else { Start::Zero };
                        let to = MatrixViewMut::from_raw(to, n, state, state as isize);
                        product_on(self.choice, 1, left, right, to, start);
                    }
                    adds = true;
                }
                let (d_u, mask) = ((to.cast_const(), state), (at(self.mask, first * state), state));
                if masks && carries {
                    let given = [d_u, mask, (dh.cast_const(), state)];
                    over_rows(self.choice, &MaskedSum, (n, state), given, (dh, state));
                } else if masks {
                    over_rows(self.choice, &Product, (n, state), [d_u, mask], (dh, state));
                }
            }
        }
    }
}
