//! What a cell does to its gates once the products are in them, for some rows and neighbouring units.

use super::Cell;
use crate::Real;
use weft_simd::{Isa, Kernel, Lanes, maths};

/// Rows by units of one step. All pointers stand at the first row and the first unit (a whole vector begins there); strides in numbers.
pub(super) struct Forward<T> {
    pub cell: Cell,
    pub rows: usize,
    /// Units that exist, from the first on.
    pub units: usize,
    /// Pre-activations in, activations out.
    pub gates: *mut T,
    pub gates_stride: usize,
    /// h of the step before (GRU).
    pub h_before: *const T,
    /// h of this step, written.
    pub h: *mut T,
    pub h_stride: usize,
    /// c of the step before (LSTM), padded units.
    pub c_before: *const T,
    /// c of this step, written (LSTM); may be `c_before`.
    pub c: *mut T,
    pub c_stride: usize,
    /// Keep the activations for the backward pass.
    pub training: bool,
}

/// Rows whose chains of operations run side by side: one row alone waits for its own exponentials and divisions.
const ABREAST: usize = 4;

impl<T: Real> Kernel for Forward<T> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let mut row = 0;
        while row + ABREAST <= self.rows {
            self.rows_abreast::<I, ABREAST>(row);
            row += ABREAST;
        }
        while row < self.rows {
            self.rows_abreast::<I, 1>(row);
            row += 1;
        }
    }
}

impl<T: Real> Forward<T> {
    #[inline(always)]
    fn rows_abreast<I: Isa, const R: usize>(&self, row: usize) {
        let width = T::WIDTH;
        let group = self.cell.slots() * width;
        for block in 0..self.units.div_ceil(width) {
            let count = (self.units - block * width).min(width);
            // SAFETY: the caller's pointers hold these rows and units; gates and c are padded to whole vectors.
            unsafe {
                let gates = |k: usize| self.gates.add((row + k) * self.gates_stride + block * group);
                let gate = |k: usize, slot: usize| <T::On<I>>::load(gates(k).add(slot * width));
                let keep = |slot: usize, values: &[T::On<I>; R]| {
                    if self.training {
                        for (k, value) in values.iter().enumerate() {
                            value.store(gates(k).add(slot * width));
                        }
                    }
                };
                let mut h = [<T::On<I>>::zero(); R];
                match self.cell {
                    Cell::RnnTanh => {
                        for (k, h) in h.iter_mut().enumerate() {
                            *h = maths::tanh(gate(k, 0));
                        }
                    }
                    Cell::RnnRelu => {
                        for (k, h) in h.iter_mut().enumerate() {
                            *h = <T::On<I>>::zero().max(gate(k, 0));
                        }
                    }
                    Cell::Lstm => {
                        let (mut i, mut f, mut g, mut o) = (h, h, h, h);
                        for k in 0..R {
                            i[k] = maths::sigmoid(gate(k, 0));
                            f[k] = maths::sigmoid(gate(k, 1));
                            g[k] = maths::tanh(gate(k, 2));
                            o[k] = maths::sigmoid(gate(k, 3));
                        }
                        for k in 0..R {
                            let at = (row + k) * self.c_stride + block * width;
                            let c = f[k].fma(<T::On<I>>::load(self.c_before.add(at)), i[k].mul(g[k]));
                            c.store(self.c.add(at));
                            h[k] = o[k].mul(maths::tanh(c));
                        }
                        keep(0, &i);
                        keep(1, &f);
                        keep(2, &g);
                        keep(3, &o);
                    }
                    Cell::Gru => {
                        let (mut n, mut r, mut z) = (h, h, h);
                        for k in 0..R {
                            r[k] = maths::sigmoid(gate(k, 1));
                            z[k] = maths::sigmoid(gate(k, 2));
                        }
                        for k in 0..R {
                            n[k] = maths::tanh(r[k].fma(gate(k, 3), gate(k, 0)));
                        }
                        for k in 0..R {
                            let before = self.h_before.add((row + k) * self.h_stride + block * width);
                            h[k] = z[k].fma(<T::On<I>>::load_first(before, count).sub(n[k]), n[k]);
                        }
                        keep(0, &n);
                        keep(1, &r);
                        keep(2, &z);
                    }
                }
                for (k, h) in h.iter().enumerate() {
                    h.store_first(self.h.add((row + k) * self.h_stride + block * width), count);
                }
            }
        }
    }
}

/// Gate gradients of some rows at one step, over all units.
pub(super) struct Backward<T> {
    pub cell: Cell,
    pub rows: usize,
    pub units: usize,
    /// Activations in, gradients of the pre-activations out.
    pub gates: *mut T,
    pub gates_stride: usize,
    pub h_before: *const T,
    pub h: *const T,
    pub h_stride: usize,
    pub c_before: *const T,
    pub c: *const T,
    pub c_stride: usize,
    /// Gradient of the output at this step, or null.
    pub dy: *const T,
    pub dy_stride: usize,
    /// From the later steps in; what goes past the products to the earlier step out. Padded units.
    pub dh: *mut T,
    /// The same for c (LSTM).
    pub dc: *mut T,
    pub state_stride: usize,
}

impl<T: Real> Kernel for Backward<T> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let width = T::WIDTH;
        let group = self.cell.slots() * width;
        let one = <T::On<I>>::splat(T::ONE);
        for row in 0..self.rows {
            for block in 0..self.units.div_ceil(width) {
                let count = (self.units - block * width).min(width);
                // SAFETY: as in Forward. Padded units have zero gradients in and out.
                unsafe {
                    let gates = self.gates.add(row * self.gates_stride + block * group);
                    let gate = |slot: usize| <T::On<I>>::load(gates.add(slot * width));
                    let put = |slot: usize, value: T::On<I>| value.store(gates.add(slot * width));
                    let at_state = row * self.state_stride + block * width;
                    let at_h = row * self.h_stride + block * width;
                    let dh = self.dh.add(at_state);
                    let mut d = <T::On<I>>::load(dh);
                    if !self.dy.is_null() {
                        d = d.add(<T::On<I>>::load_first(self.dy.add(row * self.dy_stride + block * width), count));
                    }
                    let mut carry = <T::On<I>>::zero();
                    match self.cell {
                        Cell::RnnTanh => {
                            let h = <T::On<I>>::load_first(self.h.add(at_h), count);
                            put(0, d.mul(h.neg().fma(h, one)));
                        }
                        Cell::RnnRelu => {
                            let h = <T::On<I>>::load_first(self.h.add(at_h), count);
                            let zero = <T::On<I>>::zero();
                            put(0, <T::On<I>>::select(zero.lt(h), d, zero));
                        }
                        Cell::Lstm => {
                            let at = row * self.c_stride + block * width;
                            let (i, f, g, o) = (gate(0), gate(1), gate(2), gate(3));
                            let t = maths::tanh(<T::On<I>>::load(self.c.add(at)));
                            let dc_pointer = self.dc.add(at_state);
                            let dc = d.mul(o).fma(t.neg().fma(t, one), <T::On<I>>::load(dc_pointer));
                            let before = <T::On<I>>::load(self.c_before.add(at));
                            let slope = |s: T::On<I>| s.mul(one.sub(s));
                            put(0, dc.mul(g).mul(slope(i)));
                            put(1, dc.mul(before).mul(slope(f)));
                            put(2, dc.mul(i).mul(g.neg().fma(g, one)));
                            put(3, d.mul(t).mul(slope(o)));
                            dc.mul(f).store(dc_pointer);
                        }
                        Cell::Gru => {
                            let (n, r, z, hn) = (gate(0), gate(1), gate(2), gate(3));
                            let before = <T::On<I>>::load_first(self.h_before.add(at_h), count);
                            let dn = d.mul(one.sub(z)).mul(n.neg().fma(n, one));
                            put(0, dn);
                            put(1, dn.mul(hn).mul(r.mul(one.sub(r))));
                            put(2, d.mul(before.sub(n)).mul(z.mul(one.sub(z))));
                            put(3, dn.mul(r));
                            carry = d.mul(z);
                        }
                    }
                    carry.store(dh);
                }
            }
        }
    }
}
