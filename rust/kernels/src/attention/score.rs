//! The additive score of Bahdanau et al. 2015: `score[t, s] = energy · tanh(q[t] + k[s])`; the tanh is computed again in the backward pass.

use crate::Real;
use weft_simd::{Choice, Isa, Kernel, Lanes, dispatch_on, maths};

struct Additive<'a, T> {
    targets: usize,
    sources: usize,
    stride: usize,
    width: usize,
    q: &'a [T],
    k: &'a [T],
    energy: &'a [T],
    scores: &'a mut [T],
}

impl<T: Real> Kernel for Additive<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        for t in 0..self.targets {
            for s in 0..self.sources {
                let (q, k) = (self.q[t * self.width..].as_ptr(), self.k[s * self.width..].as_ptr());
                // SAFETY: a row of q, of k and the energy hold `width` numbers.
                self.scores[t * self.stride + s] = unsafe { score::<T::On<I>>(self.width, q, k, self.energy.as_ptr()) };
            }
        }
    }
}

/// Σ energy · tanh(q + k), added up vector by vector.
///
/// # Safety
/// All three hold `width` numbers.
#[inline(always)]
unsafe fn score<L: Lanes<Vector = L>>(width: usize, q: *const L::Elem, k: *const L::Elem, energy: *const L::Elem) -> L::Elem {
    let mut sum = L::zero();
    let mut i = 0;
    // SAFETY: each step stays below `width`.
    unsafe {
        while i + L::Step::WIDTH <= width {
            let y = maths::tanh(L::Step::load(q.add(i)).add(L::Step::load(k.add(i))));
            sum = y.mul(L::Step::load(energy.add(i))).add_to(sum);
            i += L::Step::WIDTH;
        }
        while i < width {
            let n = L::WIDTH.min(width - i);
            let y = maths::tanh(L::load_first(q.add(i), n).add(L::load_first(k.add(i), n)));
            sum = sum.add(y.mul(L::load_first(energy.add(i), n)));
            i += n;
        }
    }
    sum.fold_add()
}

/// Scores of one sequence into rows `stride` apart.
pub fn additive<T: Real>(
    choice: Choice,
    targets: usize,
    sources: usize,
    stride: usize,
    width: usize,
    q: &[T],
    k: &[T],
    energy: &[T],
    scores: &mut [T],
) {
    dispatch_on(choice, Additive { targets, sources, stride, width, q, k, energy, scores });
}

struct Backward<'a, T> {
    targets: usize,
    sources: usize,
    stride: usize,
    width: usize,
    q: &'a [T],
    k: &'a [T],
    energy: &'a [T],
    ds: &'a [T],
    dq: &'a mut [T],
    dk: &'a mut [T],
    d_energy: &'a mut [T],
}

impl<T: Real> Kernel for Backward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let width = self.width;
        let one = <T::On<I>>::splat(T::ONE);
        self.d_energy.fill(T::ZERO);
        for t in 0..self.targets {
            let mut i = 0;
            while i < width {
                let n = T::WIDTH.min(width - i);
                // A vector of the query, of the energy and of their gradients stays in registers while all keys pass.
                // SAFETY: n numbers are left in each row.
                unsafe {
                    let q = <T::On<I>>::load_first(self.q.as_ptr().add(t * width + i), n);
                    let energy = <T::On<I>>::load_first(self.energy.as_ptr().add(i), n);
                    let mut dq = <T::On<I>>::zero();
                    let mut d_energy = <T::On<I>>::load_first(self.d_energy.as_ptr().add(i), n);
                    let mut s = 0;
                    // Four keys in step; their sums one after the other.
                    while s + <T::On<I> as Lanes>::Step::VECTORS <= self.sources {
                        let d = <T::On<I> as Lanes>::Step::splat_rows(self.ds.as_ptr().add(t * self.stride + s));
                        let k = <T::On<I> as Lanes>::Step::load_rows(self.k.as_ptr().add(s * width + i), width, n);
                        let y = maths::tanh(<T::On<I> as Lanes>::Step::all(q).add(k));
                        let slope = y
                            .neg()
                            .fma(y, <T::On<I> as Lanes>::Step::all(one))
                            .mul(<T::On<I> as Lanes>::Step::all(energy))
                            .mul(d);
                        let dk = self.dk.as_mut_ptr().add(s * width + i);
                        <T::On<I> as Lanes>::Step::load_rows(dk, width, n).add(slope).store_rows(dk, width, n);
                        dq = slope.add_to(dq);
                        d_energy = d.fma_to(y, d_energy);
                        s += <T::On<I> as Lanes>::Step::VECTORS;
                    }
                    while s < self.sources {
                        let d = <T::On<I>>::splat(self.ds[t * self.stride + s]);
                        let y = maths::tanh(q.add(<T::On<I>>::load_first(self.k.as_ptr().add(s * width + i), n)));
                        let slope = y.neg().fma(y, one).mul(energy).mul(d);
                        let dk = self.dk.as_mut_ptr().add(s * width + i);
                        <T::On<I>>::load_first(dk, n).add(slope).store_first(dk, n);
                        dq = dq.add(slope);
                        d_energy = d.fma(y, d_energy);
                        s += 1;
                    }
                    dq.store_first(self.dq.as_mut_ptr().add(t * width + i), n);
                    d_energy.store_first(self.d_energy.as_mut_ptr().add(i), n);
                }
                i += n;
            }
        }
    }
}

/// Gradients of one sequence's queries and energy, written whole, and of its keys, added to `dk`, from those of its scores.
pub fn additive_backward<T: Real>(
    choice: Choice,
    targets: usize,
    sources: usize,
    stride: usize,
    width: usize,
    q: &[T],
    k: &[T],
    energy: &[T],
    ds: &[T],
    dq: &mut [T],
    dk: &mut [T],
    d_energy: &mut [T],
) {
    dispatch_on(choice, Backward { targets, sources, stride, width, q, k, energy, ds, dq, dk, d_energy });
}
