//! What a cell does to its gates once the sums are there, for rows of one step over all units, with every option a branch on the row.

use super::Kind;
use super::norm::statistics;
use crate::Real;
use crate::recurrent::Cell;
use weft_simd::{Isa, Kernel, Lanes, maths};

/// Rows of one step. Pointers stand at the first row; strides in numbers; null where the cell has no such thing.
#[derive(Clone, Copy)]
pub(super) struct Step<T> {
    pub kind: Kind,
    pub rows: usize,
    pub gates: *mut T,
    pub gates_stride: usize,
    /// h of the step before, whole (GRU).
    pub h_before: *const T,
    pub h_stride: usize,
    /// `[H]` a row, GRU with the reset before: the operand u, and where r ∘ u is wanted too (it stands in the gates).
    pub operand: *const T,
    pub operand_stride: usize,
    /// c of the step before, c before zoneout, c after it (the same pointer without zoneout). H a row.
    pub c_before: *const T,
    pub c_new: *mut T,
    pub c: *mut T,
    /// Kept share of c̃, `[H]` a row (zoneout).
    pub keep_c: *const T,
    pub peephole: *const T,
    /// Gain and shift of c's norm.
    pub norm_c: *const T,
}

/// Which part of a GRU whose reset comes before the product: r, z and r ∘ u; or the rest.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Part {
    Resets,
    All,
}

pub(super) struct Forward<T> {
    pub step: Step<T>,
    pub part: Part,
    /// h before projection and zoneout, written.
    pub h: *mut T,
    pub out_stride: usize,
}

impl<T: Real> Kernel for Forward<T> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let s = self.step;
        let (hidden, width) = (s.kind.sizes.hidden, T::WIDTH);
        let one = <T::On<I>>::splat(T::ONE);
        for row in 0..s.rows {
            // SAFETY: the caller's pointers hold these rows of all units; loads and stores stay below `hidden`.
            unsafe {
                let gates = s.gates.add(row * s.gates_stride);
                let h = self.h.add(row * self.out_stride);
                let mut unit = 0;
                while unit < hidden {
                    let n = width.min(hidden - unit);
                    macro_rules! load {
                        ($p:expr) => {
                            <T::On<I>>::load_first(($p).add(unit), n)
                        };
                    }
                    macro_rules! gate {
                        ($slot:expr) => {
                            load!(gates.add(($slot) * hidden))
                        };
                    }
                    macro_rules! put {
                        ($slot:expr, $value:expr) => {
                            $value.store_first(gates.add(($slot) * hidden + unit), n)
                        };
                    }
                    match s.kind.cell {
                        Cell::RnnTanh | Cell::RnnRelu => {
                            let x = gate!(0);
                            let value = if s.kind.cell == Cell::RnnTanh { maths::tanh(x) } else { <T::On<I>>::zero().max(x) };
                            put!(0, value);
                            value.store_first(h.add(unit), n);
                        }
                        Cell::Gru if self.part == Part::Resets => {
                            let r = maths::sigmoid(gate!(0));
                            put!(0, r);
                            put!(3, r.mul(load!(s.operand.add(row * s.operand_stride))));
                        }
                        Cell::Gru => {
                            let z = maths::sigmoid(gate!(1));
                            let new = if s.kind.reset_before {
                                maths::tanh(gate!(2))
                            } else {
                                let r = maths::sigmoid(gate!(0));
                                put!(0, r);
                                maths::tanh(r.fma(gate!(3), gate!(2)))
                            };
                            put!(1, z);
                            put!(2, new);
                            let before = load!(s.h_before.add(row * s.h_stride));
                            z.fma(before.sub(new), new).store_first(h.add(unit), n);
                        }
                        Cell::Lstm => {
                            let c_before = load!(s.c_before.add(row * hidden));
                            // Slots: i f g o, or f g o.
                            let first = usize::from(!s.kind.coupled);
                            macro_rules! peep {
                                ($gate:expr) => {
                                    load!(s.peephole.add(($gate) * hidden))
                                };
                            }
                            let (mut f, g) = (gate!(first), maths::tanh(gate!(first + 1)));
                            if !s.peephole.is_null() {
                                f = peep!(first).fma(c_before, f);
                            }
                            let f = maths::sigmoid(f);
                            let i = if s.kind.coupled {
                                one.sub(f)
                            } else {
                                let mut i = gate!(0);
                                if !s.peephole.is_null() {
                                    i = peep!(0).fma(c_before, i);
                                }
                                let i = maths::sigmoid(i);
                                put!(0, i);
                                i
                            };
                            let c = f.fma(c_before, i.mul(g));
                            let mut o = gate!(first + 2);
                            if !s.peephole.is_null() {
                                o = peep!(first + 1).fma(c, o);
                            }
                            let o = maths::sigmoid(o);
                            put!(first, f);
                            put!(first + 1, g);
                            put!(first + 2, o);
                            c.store_first(s.c_new.add(row * hidden + unit), n);
                            if s.norm_c.is_null() {
                                o.mul(maths::tanh(c)).store_first(h.add(unit), n);
                            }
                            if !s.keep_c.is_null() {
                                let keep = load!(s.keep_c.add(row * hidden));
                                keep.fma(c, one.sub(keep).mul(c_before)).store_first(s.c.add(row * hidden + unit), n);
                            }
                        }
                    }
                    unit += n;
                }
                if !s.norm_c.is_null() {
                    let c = s.c_new.add(row * hidden);
                    let (mean, inverse) = statistics::<T::On<I>>(c, hidden);
                    let (mean, inverse) = (<T::On<I>>::splat(mean), <T::On<I>>::splat(inverse));
                    let o = gates.add((s.kind.gates() - 1) * hidden);
                    let mut unit = 0;
                    while unit < hidden {
                        let n = width.min(hidden - unit);
                        macro_rules! load {
                            ($p:expr) => {
                                <T::On<I>>::load_first(($p).add(unit), n)
                            };
                        }
                        let hat = load!(c).sub(mean).mul(inverse);
                        let value = hat.fma(load!(s.norm_c), load!(s.norm_c.add(hidden)));
                        load!(o).mul(maths::tanh(value)).store_first(h.add(unit), n);
                        unit += n;
                    }
                }
            }
        }
    }
}

pub(super) struct Backward<T> {
    pub step: Step<T>,
    pub part: Part,
    /// Gradient of h before projection and zoneout.
    pub dh: *const T,
    pub dh_stride: usize,
    /// Gradient of c from the later steps in, to the earlier out; H a row.
    pub dc: *mut T,
    /// Added: what goes past the products to h of the step before (GRU).
    pub carry: *mut T,
    pub carry_stride: usize,
    /// The reset before the product: the gradient of r ∘ u in, that of u by this way out.
    pub d_operand: *mut T,
    /// Written where c is normed: the gradient of the normed c.
    pub d_norm_c: *mut T,
}

impl<T: Real> Kernel for Backward<T> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let s = self.step;
        let (hidden, width) = (s.kind.sizes.hidden, T::WIDTH);
        let one = <T::On<I>>::splat(T::ONE);
        // Macros, not closures: those may stay out of the function that has the instruction set.
        macro_rules! slope {
            ($x:expr) => {
                $x.mul(one.sub($x))
            };
        }
        for row in 0..s.rows {
            // SAFETY: as in Forward.
            unsafe {
                let gates = s.gates.add(row * s.gates_stride);
                let dh = self.dh.wrapping_add(row * self.dh_stride);
                let first = usize::from(!s.kind.coupled);
                // LSTM, first what tanh hands down to c, for c's norm needs whole rows.
                let mut sums = (<T::On<I>>::zero(), <T::On<I>>::zero());
                let (mut mean, mut inverse) = (<T::On<I>>::zero(), <T::On<I>>::zero());
                let norm = s.kind.cell == Cell::Lstm && !s.norm_c.is_null();
                if norm {
                    let c = s.c_new.add(row * hidden).cast_const();
                    let (m, v) = statistics::<T::On<I>>(c, hidden);
                    (mean, inverse) = (<T::On<I>>::splat(m), <T::On<I>>::splat(v));
                    let (mut s1, mut s2) = (<T::On<I>>::zero(), <T::On<I>>::zero());
                    let mut unit = 0;
                    while unit < hidden {
                        let n = width.min(hidden - unit);
                        macro_rules! load {
                            ($p:expr) => {
                                <T::On<I>>::load_first(($p).add(unit), n)
                            };
                        }
                        let hat = load!(c).sub(mean).mul(inverse);
                        let gain = load!(s.norm_c);
                        let t = maths::tanh(hat.fma(gain, load!(s.norm_c.add(hidden))));
                        let o = load!(gates.add((first + 2) * hidden));
                        let d = load!(dh).mul(o).mul(t.neg().fma(t, one));
                        d.store_first(self.d_norm_c.add(row * hidden + unit), n);
                        // Lanes behind the end: dh is zero there.
                        s1 = s1.add(d.mul(gain));
                        s2 = s2.add(d.mul(gain).mul(hat));
                        unit += n;
                    }
                    let count = T::from_f64(hidden as f64);
                    sums = (<T::On<I>>::splat(s1.fold_add() / count), <T::On<I>>::splat(s2.fold_add() / count));
                }
                let mut unit = 0;
                while unit < hidden {
                    let n = width.min(hidden - unit);
                    macro_rules! load {
                        ($p:expr) => {
                            <T::On<I>>::load_first(($p).add(unit), n)
                        };
                    }
                    macro_rules! gate {
                        ($slot:expr) => {
                            load!(gates.add(($slot) * hidden))
                        };
                    }
                    macro_rules! put {
                        ($slot:expr, $value:expr) => {
                            $value.store_first(gates.add(($slot) * hidden + unit), n)
                        };
                    }
                    match s.kind.cell {
                        Cell::RnnTanh => {
                            let h = gate!(0);
                            put!(0, load!(dh).mul(h.neg().fma(h, one)));
                        }
                        Cell::RnnRelu => {
                            let zero = <T::On<I>>::zero();
                            put!(0, <T::On<I>>::select(zero.lt(gate!(0)), load!(dh), zero));
                        }
                        Cell::Gru if self.part == Part::Resets => {
                            let at = self.d_operand.add(row * hidden + unit);
                            let (r, d) = (gate!(0), <T::On<I>>::load_first(at, n));
                            put!(0, d.mul(load!(s.operand.add(row * s.operand_stride))).mul(slope!(r)));
                            d.mul(r).store_first(at, n);
                        }
                        Cell::Gru => {
                            let (z, new, d) = (gate!(1), gate!(2), load!(dh));
                            let before = load!(s.h_before.add(row * s.h_stride));
                            let dn = d.mul(one.sub(z)).mul(new.neg().fma(new, one));
                            put!(1, d.mul(before.sub(new)).mul(slope!(z)));
                            put!(2, dn);
                            if !s.kind.reset_before {
                                let (r, q) = (gate!(0), gate!(3));
                                put!(0, dn.mul(q).mul(slope!(r)));
                                put!(3, dn.mul(r));
                            }
                            let carry = self.carry.add(row * self.carry_stride + unit);
                            <T::On<I>>::load_first(carry, n).add(d.mul(z)).store_first(carry, n);
                        }
                        Cell::Lstm => {
                            let (f, g, o) = (gate!(first), gate!(first + 1), gate!(first + 2));
                            let i = if s.kind.coupled { one.sub(f) } else { gate!(0) };
                            let before = load!(s.c_before.add(row * hidden));
                            let c = load!(s.c_new.add(row * hidden).cast_const());
                            let d = load!(dh);
                            let (t, from_h) = if norm {
                                let hat = c.sub(mean).mul(inverse);
                                let gain = load!(s.norm_c);
                                let t = maths::tanh(hat.fma(gain, load!(s.norm_c.add(hidden))));
                                let dn = load!(self.d_norm_c.add(row * hidden).cast_const()).mul(gain);
                                (t, dn.sub(sums.0).sub(hat.mul(sums.1)).mul(inverse))
                            } else {
                                let t = maths::tanh(c);
                                (t, d.mul(o).mul(t.neg().fma(t, one)))
                            };
                            let d_o = d.mul(t).mul(slope!(o));
                            let at = self.dc.add(row * hidden + unit);
                            let (mut dc, mut past) = (<T::On<I>>::load_first(at, n), <T::On<I>>::zero());
                            if !s.keep_c.is_null() {
                                let keep = load!(s.keep_c.add(row * hidden));
                                past = one.sub(keep).mul(dc);
                                dc = dc.mul(keep);
                            }
                            dc = dc.add(from_h);
                            macro_rules! peep {
                                ($gate:expr) => {
                                    load!(s.peephole.add(($gate) * hidden))
                                };
                            }
                            if !s.peephole.is_null() {
                                dc = peep!(first + 1).fma(d_o, dc);
                            }
                            let by_f = if s.kind.coupled { before.sub(g) } else { before };
                            let d_f = dc.mul(by_f).mul(slope!(f));
                            past = dc.fma(f, past);
                            if !s.kind.coupled {
                                let d_i = dc.mul(g).mul(slope!(i));
                                put!(0, d_i);
                                if !s.peephole.is_null() {
                                    past = peep!(0).fma(d_i, past);
                                }
                            }
                            if !s.peephole.is_null() {
                                past = peep!(first).fma(d_f, past);
                            }
                            put!(first, d_f);
                            put!(first + 1, dc.mul(i).mul(g.neg().fma(g, one)));
                            put!(first + 2, d_o);
                            past.store_first(at, n);
                        }
                    }
                    unit += n;
                }
            }
        }
    }
}
