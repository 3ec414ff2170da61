//! What a cell does to its gates once the sums are there, for rows of one step over all units, with every option a branch on the row.

use super::Kind;
use super::gates::Gates;
use super::mixing::{over, rest};
use super::norm::statistics;
use crate::Real;
use crate::recurrent::Cell;
use weft_simd::{Isa, Kernel, Lanes, maths};

/// Rows of one step. Pointers stand at the first row; strides in numbers; null where the cell has no such thing.
#[derive(Clone, Copy)]
pub(super) struct Step<T> {
    pub kind: Kind,
    pub rows: usize,
    pub gates: Gates<T>,
    /// h of the step before, whole (GRU, zoneout).
    pub h_before: *const T,
    pub h_before_stride: usize,
    /// Kept share of h̃, `[H]` a row: zoneout of a cell without a projection, in the forward pass.
    pub keep_h: *const T,
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
    /// h, before a projection and what follows it; written.
    pub h: *mut T,
    pub h_stride: usize,
}

impl<T: Real> Kernel for Forward<T> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let hidden = self.step.kind.sizes.hidden;
        for row in 0..self.step.rows {
            over!(hidden, T::On<I>, self.units(row));
            if !self.step.norm_c.is_null() {
                // SAFETY: c holds whole rows.
                let (mean, inverse) = unsafe { statistics::<T::On<I>>(self.step.c_new.add(row * hidden), hidden) };
                over!(hidden, T::On<I>, self.units_of_normed(row, mean, inverse));
            }
        }
    }
}

impl<T: Real> Forward<T> {
    /// `n` units of a row from `unit` on, at most the lanes of V.
    #[inline(always)]
    fn units<V: Lanes<Elem = T>>(&self, row: usize, unit: usize, n: usize) {
        let s = self.step;
        let hidden = s.kind.sizes.hidden;
        let one = V::splat(T::ONE);
        // SAFETY: the caller's pointers hold these rows of all units; loads and stores stay below `hidden`.
        unsafe {
            macro_rules! load {
                ($p:expr) => {
                    V::load_first(($p).add(unit), n)
                };
            }
            macro_rules! gate {
                ($slot:expr) => {
                    V::load_first(s.gates.at(row, $slot, unit).cast_const(), n)
                };
            }
            macro_rules! put {
                ($slot:expr, $value:expr) => {
                    $value.store_first(s.gates.at(row, $slot, unit), n)
                };
            }
            match s.kind.cell {
                Cell::RnnTanh | Cell::RnnRelu => {
                    let x = gate!(0);
                    let value = if s.kind.cell == Cell::RnnTanh { maths::tanh(x) } else { V::zero().max(x) };
                    put!(0, value);
                    self.put_h(row, unit, n, value);
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
                    let before = load!(s.h_before.add(row * s.h_before_stride));
                    self.put_h(row, unit, n, z.fma(before.sub(new), new));
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
                        self.put_h(row, unit, n, o.mul(maths::tanh(c)));
                    }
                    if !s.keep_c.is_null() {
                        let keep = load!(s.keep_c.add(row * hidden));
                        keep.fma(c, rest(keep).mul(c_before)).store_first(s.c.add(row * hidden + unit), n);
                    }
                }
            }
        }
    }

    /// Stores new h of `n` units, or with zoneout its mixture with the old one.
    ///
    /// # Safety
    /// The pointers hold these units.
    #[inline(always)]
    unsafe fn put_h<V: Lanes<Elem = T>>(&self, row: usize, unit: usize, n: usize, new: V) {
        let s = self.step;
        // SAFETY: passed on to the caller.
        unsafe {
            let h = if s.keep_h.is_null() {
                new
            } else {
                let keep = V::load_first(s.keep_h.add(row * s.kind.sizes.hidden + unit), n);
                keep.fma(new, rest(keep).mul(V::load_first(s.h_before.add(row * s.h_before_stride + unit), n)))
            };
            h.store_first(self.h.add(row * self.h_stride + unit), n);
        }
    }

    /// h = o ∘ tanh(γ·ĉ + β) for units of a row whose c is normed.
    #[inline(always)]
    fn units_of_normed<V: Lanes<Elem = T>>(&self, row: usize, unit: usize, n: usize, mean: T, inverse: T) {
        let s = self.step;
        let hidden = s.kind.sizes.hidden;
        // SAFETY: as above.
        unsafe {
            let o = V::load_first(s.gates.at(row, s.kind.gates() - 1, unit).cast_const(), n);
            let c = V::load_first(s.c_new.add(row * hidden + unit), n);
            let (gain, shift) = (V::load_first(s.norm_c.add(unit), n), V::load_first(s.norm_c.add(hidden + unit), n));
            let value = c.sub(V::splat(mean)).mul(V::splat(inverse)).fma(gain, shift);
            self.put_h(row, unit, n, o.mul(maths::tanh(value)));
        }
    }
}

pub(super) struct Backward<T> {
    pub step: Step<T>,
    pub part: Part,
    /// Gradient of h before projection and zoneout; where there is neither, from the later steps, and `dy`, which may be null, from above.
    pub dh: *const T,
    pub dh_stride: usize,
    pub dy: *const T,
    pub dy_stride: usize,
    /// Gradient of c from the later steps in, to the earlier out; H a row.
    pub dc: *mut T,
    /// Out: what goes past the products to h of the step before (GRU); added to what zoneout sends there. H a row; may be `dh`.
    pub carry: *mut T,
    pub carry_adds: bool,
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
        let hidden = s.kind.sizes.hidden;
        for row in 0..s.rows {
            let mut norm = None;
            if s.kind.cell == Cell::Lstm && !s.norm_c.is_null() {
                // SAFETY: c holds whole rows.
                let (mean, inverse) = unsafe { statistics::<T::On<I>>(s.c_new.add(row * hidden).cast_const(), hidden) };
                let mut sums = [<T::On<I>>::zero(); 2];
                over!(hidden, T::On<I>, self.normed(row, mean, inverse, &mut sums));
                let [gradient, product] = sums.map(|sum| sum.fold_add() / T::from_f64(hidden as f64));
                norm = Some(Normed { mean, inverse, gradient, product });
            }
            over!(hidden, T::On<I>, self.units(row, norm));
        }
    }
}

/// What the gradient of a normed c takes from its whole row: statistics of c, means of γ∘g and of γ∘g ∘ ĉ.
#[derive(Clone, Copy)]
struct Normed<T> {
    mean: T,
    inverse: T,
    gradient: T,
    product: T,
}

impl<T: Real> Backward<T> {
    /// What tanh hands down to the normed c, and the two sums with these units.
    #[inline(always)]
    fn normed<V: Lanes<Elem = T>>(&self, row: usize, unit: usize, n: usize, mean: T, inverse: T, sums: &mut [V::Vector; 2]) {
        let s = self.step;
        let hidden = s.kind.sizes.hidden;
        let first = usize::from(!s.kind.coupled);
        let one = V::splat(T::ONE);
        // SAFETY: as in Forward.
        unsafe {
            let c = V::load_first(s.c_new.add(row * hidden + unit).cast_const(), n);
            let hat = c.sub(V::splat(mean)).mul(V::splat(inverse));
            let gain = V::load_first(s.norm_c.add(unit), n);
            let t = maths::tanh(hat.fma(gain, V::load_first(s.norm_c.add(hidden + unit), n)));
            let o = V::load_first(s.gates.at(row, first + 2, unit).cast_const(), n);
            let d = self.gradient::<V>(row, unit, n).mul(o).mul(t.neg().fma(t, one));
            d.store_first(self.d_norm_c.add(row * hidden + unit), n);
            // Lanes behind the end: dh is zero there.
            let d = d.mul(gain);
            *sums = [d.add_to(sums[0]), d.mul(hat).add_to(sums[1])];
        }
    }

    /// Gradient of the new h of `n` units.
    ///
    /// # Safety
    /// The pointers hold these units.
    #[inline(always)]
    unsafe fn gradient<V: Lanes<Elem = T>>(&self, row: usize, unit: usize, n: usize) -> V {
        // SAFETY: passed on to the caller.
        unsafe {
            let d = V::load_first(self.dh.add(row * self.dh_stride + unit), n);
            if self.dy.is_null() { d } else { d.add(V::load_first(self.dy.add(row * self.dy_stride + unit), n)) }
        }
    }

    /// `n` units of a row from `unit` on, at most the lanes of V.
    #[inline(always)]
    fn units<V: Lanes<Elem = T>>(&self, row: usize, unit: usize, n: usize, norm: Option<Normed<T>>) {
        let s = self.step;
        let hidden = s.kind.sizes.hidden;
        let first = usize::from(!s.kind.coupled);
        let one = V::splat(T::ONE);
        // Macros, not closures: those may stay out of the function that has the instruction set.
        macro_rules! slope {
            ($x:expr) => {
                $x.mul(one.sub($x))
            };
        }
        macro_rules! load {
            ($p:expr) => {
                V::load_first(($p).add(unit), n)
            };
        }
        // SAFETY: as in Forward.
        unsafe {
            macro_rules! gate {
                ($slot:expr) => {
                    V::load_first(s.gates.at(row, $slot, unit).cast_const(), n)
                };
            }
            macro_rules! put {
                ($slot:expr, $value:expr) => {
                    $value.store_first(s.gates.at(row, $slot, unit), n)
                };
            }
            match s.kind.cell {
                Cell::RnnTanh => {
                    let h = gate!(0);
                    put!(0, self.gradient::<V>(row, unit, n).mul(h.neg().fma(h, one)));
                }
                Cell::RnnRelu => {
                    let zero = V::zero();
                    put!(0, V::select(zero.lt(gate!(0)), self.gradient(row, unit, n), zero));
                }
                Cell::Gru if self.part == Part::Resets => {
                    let at = self.d_operand.add(row * hidden + unit);
                    let (r, d) = (gate!(0), V::load_first(at, n));
                    put!(0, d.mul(load!(s.operand.add(row * s.operand_stride))).mul(slope!(r)));
                    d.mul(r).store_first(at, n);
                }
                Cell::Gru => {
                    let (z, new, d) = (gate!(1), gate!(2), self.gradient::<V>(row, unit, n));
                    let before = load!(s.h_before.add(row * s.h_before_stride));
                    let dn = d.mul(one.sub(z)).mul(new.neg().fma(new, one));
                    put!(1, d.mul(before.sub(new)).mul(slope!(z)));
                    put!(2, dn);
                    if !s.kind.reset_before {
                        let (r, q) = (gate!(0), gate!(3));
                        put!(0, dn.mul(q).mul(slope!(r)));
                        put!(3, dn.mul(r));
                    }
                    let carry = self.carry.add(row * hidden + unit);
                    let past = if self.carry_adds { V::load_first(carry, n) } else { V::zero() };
                    past.add(d.mul(z)).store_first(carry, n);
                }
                Cell::Lstm => {
                    let (f, g, o) = (gate!(first), gate!(first + 1), gate!(first + 2));
                    let i = if s.kind.coupled { one.sub(f) } else { gate!(0) };
                    let before = load!(s.c_before.add(row * hidden));
                    let c = load!(s.c_new.add(row * hidden).cast_const());
                    let d = self.gradient::<V>(row, unit, n);
                    let (t, from_h) = if let Some(norm) = norm {
                        let inverse = V::splat(norm.inverse);
                        let hat = c.sub(V::splat(norm.mean)).mul(inverse);
                        let gain = load!(s.norm_c);
                        let t = maths::tanh(hat.fma(gain, load!(s.norm_c.add(hidden))));
                        let dn = load!(self.d_norm_c.add(row * hidden).cast_const()).mul(gain);
                        (t, dn.sub(V::splat(norm.gradient)).sub(hat.mul(V::splat(norm.product))).mul(inverse))
                    } else {
                        let t = maths::tanh(c);
                        (t, d.mul(o).mul(t.neg().fma(t, one)))
                    };
                    let d_o = d.mul(t).mul(slope!(o));
                    let at = self.dc.add(row * hidden + unit);
                    let (mut dc, mut past) = (V::load_first(at, n), V::zero());
                    if !s.keep_c.is_null() {
                        let keep = load!(s.keep_c.add(row * hidden));
                        past = rest(keep).mul(dc);
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
        }
    }
}
