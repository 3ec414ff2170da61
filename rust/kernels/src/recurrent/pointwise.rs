//! What a cell does to its gates once the products are in them, for some rows and neighbouring units.
//!
//! One vector of units alone would wait for its own exponentials and divisions, so four go in step: of four rows, or of one row.

use super::Cell;
use crate::Real;
use crate::matmul::PANEL_VECTORS;
use weft_simd::{Isa, Kernel, Lanes, maths};

/// Rows by units of a panel at one step. All pointers stand at the first row and the first unit (a whole vector begins there); strides in numbers.
pub(super) struct Forward<T, const KEEPS: bool> {
    pub cell: Cell,
    pub rows: usize,
    /// Units that exist, from the first on.
    pub units: usize,
    /// Pre-activations, read.
    pub sums: *const T,
    /// Where it `KEEPS` what the backward pass needs, written: nothing of an RNN, whose h says it all. May be `sums`.
    pub gates: *mut T,
    /// Of both.
    pub gates_stride: usize,
    /// From a panel of both to the next, where the units are those of several.
    pub panels_apart: usize,
    /// h of the step before (GRU).
    pub h_before: *const T,
    pub h_before_stride: usize,
    /// h of this step, written.
    pub h: *mut T,
    pub h_stride: usize,
    /// c of the step before (LSTM), padded units.
    pub c_before: *const T,
    /// c of this step, written (LSTM); may be `c_before`.
    pub c: *mut T,
    pub c_stride: usize,
}

impl<T: Real, const KEEPS: bool> Kernel for Forward<T, KEEPS> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        run::<I, T>(&self);
    }
}

impl<T: Real, const KEEPS: bool> Gates<T> for Forward<T, KEEPS> {
    fn extent(&self) -> (usize, usize) {
        (self.rows, self.units)
    }

    fn rows_apart(&self) -> Apart {
        let (h_before, h) = (self.h_before_stride, self.h_stride);
        Apart { gates: self.gates_stride, h_before, h, c: self.c_stride, dy: 0, state: 0 }
    }

    fn units_apart(&self) -> Apart {
        Apart::units::<T>(self.cell, self.panels_apart)
    }

    #[inline(always)]
    fn abreast<V: Lanes<Elem = T>>(&self, row: usize, block: usize, apart: Apart) {
        let width = T::WIDTH;
        let count = (self.units - block * width).min(width);
        // SAFETY: the caller's pointers hold these rows and units; gates and c are padded to whole vectors.
        unsafe {
            let at_gates = row * self.gates_stride + block_of_units::<T>(self.cell, block, self.panels_apart);
            let gate = |slot: usize| V::load_rows(self.sums.add(at_gates + slot * width), apart.gates, width);
            let keep = |slot: usize, value: V| {
                if KEEPS {
                    value.store_rows(self.gates.add(at_gates + slot * width), apart.gates, width);
                }
            };
            let at_h_before = row * self.h_before_stride + block * width;
            let at_h = row * self.h_stride + block * width;
            let h = match self.cell {
                Cell::RnnTanh => maths::tanh(gate(0)),
                Cell::RnnRelu => V::zero().max(gate(0)),
                Cell::Lstm => {
                    let at = row * self.c_stride + block * width;
                    let (i, f) = (maths::sigmoid(gate(0)), maths::sigmoid(gate(1)));
                    let (g, o) = (maths::tanh(gate(2)), maths::sigmoid(gate(3)));
                    let c = f.fma(V::load_rows(self.c_before.add(at), apart.c, width), i.mul(g));
                    c.store_rows(self.c.add(at), apart.c, width);
                    keep(0, i);
                    keep(1, f);
                    keep(2, g);
                    keep(3, o);
                    o.mul(maths::tanh(c))
                }
                Cell::Gru => {
                    let (r, z, hn) = (maths::sigmoid(gate(1)), maths::sigmoid(gate(2)), gate(3));
                    let n = maths::tanh(r.fma(hn, gate(0)));
                    let before = V::load_rows(self.h_before.add(at_h_before), apart.h_before, count);
                    keep(0, n);
                    keep(1, r);
                    keep(2, z);
                    keep(3, hn);
                    z.fma(before.sub(n), n)
                }
            };
            h.store_rows(self.h.add(at_h), apart.h, count);
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
    /// From a panel of gates to the next.
    pub panels_apart: usize,
    pub h_before: *const T,
    pub h_before_stride: usize,
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
        run::<I, T>(&self);
    }
}

impl<T: Real> Gates<T> for Backward<T> {
    fn extent(&self) -> (usize, usize) {
        (self.rows, self.units)
    }

    fn rows_apart(&self) -> Apart {
        let (h_before, h) = (self.h_before_stride, self.h_stride);
        Apart { gates: self.gates_stride, h_before, h, c: self.c_stride, dy: self.dy_stride, state: self.state_stride }
    }

    fn units_apart(&self) -> Apart {
        Apart::units::<T>(self.cell, self.panels_apart)
    }

    #[inline(always)]
    fn abreast<V: Lanes<Elem = T>>(&self, row: usize, block: usize, apart: Apart) {
        let width = T::WIDTH;
        let one = V::splat(T::ONE);
        let count = (self.units - block * width).min(width);
        // SAFETY: as in Forward. Padded units have zero gradients in and out.
        unsafe {
            let gates = self.gates.add(row * self.gates_stride + block_of_units::<T>(self.cell, block, self.panels_apart));
            let gate = |slot: usize| V::load_rows(gates.add(slot * width), apart.gates, width);
            let put = |slot: usize, value: V| value.store_rows(gates.add(slot * width), apart.gates, width);
            let at_state = row * self.state_stride + block * width;
            let at_h_before = row * self.h_before_stride + block * width;
            let at_h = row * self.h_stride + block * width;
            let dh = self.dh.add(at_state);
            let mut d = V::load_rows(dh, apart.state, width);
            if !self.dy.is_null() {
                d = d.add(V::load_rows(self.dy.add(row * self.dy_stride + block * width), apart.dy, count));
            }
            let mut carry = V::zero();
            match self.cell {
                Cell::RnnTanh => {
                    let h = V::load_rows(self.h.add(at_h), apart.h, count);
                    put(0, d.mul(h.neg().fma(h, one)));
                }
                Cell::RnnRelu => {
                    let h = V::load_rows(self.h.add(at_h), apart.h, count);
                    put(0, V::select(V::zero().lt(h), d, V::zero()));
                }
                Cell::Lstm => {
                    let at = row * self.c_stride + block * width;
                    let (i, f, g, o) = (gate(0), gate(1), gate(2), gate(3));
                    let t = maths::tanh(V::load_rows(self.c.add(at), apart.c, width));
                    let dc_pointer = self.dc.add(at_state);
                    let dc = d.mul(o).fma(t.neg().fma(t, one), V::load_rows(dc_pointer, apart.state, width));
                    let before = V::load_rows(self.c_before.add(at), apart.c, width);
                    let slope = |s: V| s.mul(one.sub(s));
                    put(0, dc.mul(g).mul(slope(i)));
                    put(1, dc.mul(before).mul(slope(f)));
                    put(2, dc.mul(i).mul(g.neg().fma(g, one)));
                    put(3, d.mul(t).mul(slope(o)));
                    dc.mul(f).store_rows(dc_pointer, apart.state, width);
                }
                Cell::Gru => {
                    let (n, r, z, hn) = (gate(0), gate(1), gate(2), gate(3));
                    let before = V::load_rows(self.h_before.add(at_h_before), apart.h_before, count);
                    let dn = d.mul(one.sub(z)).mul(n.neg().fma(n, one));
                    put(0, dn);
                    put(1, dn.mul(hn).mul(r.mul(one.sub(r))));
                    put(2, d.mul(before.sub(n)).mul(z.mul(one.sub(z))));
                    put(3, dn.mul(r));
                    carry = d.mul(z);
                }
            }
            carry.store_rows(dh, apart.state, width);
        }
    }
}

/// A pass over rows by units.
trait Gates<T: Real> {
    /// Rows; units that exist.
    fn extent(&self) -> (usize, usize);
    /// How far apart neighbouring rows lie.
    fn rows_apart(&self) -> Apart;
    /// How far apart neighbouring vectors of units lie.
    fn units_apart(&self) -> Apart;
    /// The vectors of V, the first of them at this row and block of units.
    fn abreast<V: Lanes<Elem = T>>(&self, row: usize, block: usize, apart: Apart);
}

/// Rows in step, then the units of what rows are left in step, then one by one.
#[inline(always)]
fn run<I: Isa, T: Real>(pass: &impl Gates<T>) {
    let (rows, units) = pass.extent();
    let (step, blocks) = (<T::On<I> as Lanes>::Step::VECTORS, units.div_ceil(T::WIDTH));
    let mut row = 0;
    while row + step <= rows {
        for block in 0..blocks {
            pass.abreast::<<T::On<I> as Lanes>::Step>(row, block, pass.rows_apart());
        }
        row += step;
    }
    while row < rows {
        let mut block = 0;
        while (block + step) * T::WIDTH <= units {
            pass.abreast::<<T::On<I> as Lanes>::Step>(row, block, pass.units_apart());
            block += step;
        }
        while block < blocks {
            pass.abreast::<T::On<I>>(row, block, pass.rows_apart());
            block += 1;
        }
        row += 1;
    }
}

/// How far apart the vectors that go in step lie, in numbers.
#[derive(Clone, Copy)]
struct Apart {
    gates: usize,
    h_before: usize,
    h: usize,
    c: usize,
    dy: usize,
    state: usize,
}

/// Where the gates of a vector of units lie behind those of the first, which begins a panel.
#[inline(always)]
fn block_of_units<T: Real>(cell: Cell, block: usize, panels_apart: usize) -> usize {
    match cell {
        Cell::RnnTanh | Cell::RnnRelu => block / PANEL_VECTORS * panels_apart + block % PANEL_VECTORS * T::WIDTH,
        Cell::Lstm | Cell::Gru => block * panels_apart,
    }
}

impl Apart {
    /// Neighbouring units of one row; of an RNN's, those of a panel.
    fn units<T: Real>(cell: Cell, panels_apart: usize) -> Self {
        let gates = block_of_units::<T>(cell, 1, panels_apart);
        Self { gates, h_before: T::WIDTH, h: T::WIDTH, c: T::WIDTH, dy: T::WIDTH, state: T::WIDTH }
    }
}
