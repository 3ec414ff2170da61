//! Two vectors in step. A chain of dependent operations such as eˣ (some 70 cycles) leaves a machine with two FMA units mostly waiting: its
//! window of some hundred operations holds only three or four such chains one behind the other. Written in step, two or four chains
//! enter the window side by side. Lanes know nothing of each other, so a vector's bits are the same alone and in a pair.

use crate::Lanes;

/// Two vectors as one of twice the width. What sums or folds its lanes takes its vectors one by one.
#[derive(Clone, Copy)]
pub struct Pair<L>(pub L, pub L);

/// Four vectors in step.
pub type Four<L> = Pair<Pair<L>>;

/// Methods that do the same to both vectors.
macro_rules! both {
    ($($name:ident($($operand:ident),*);)*) => {
        $(#[inline(always)]
        fn $name(self, $($operand: Self),*) -> Self {
            Self(self.0.$name($($operand.0),*), self.1.$name($($operand.1),*))
        })*
    };
}

impl<L: Lanes> Lanes for Pair<L> {
    type Elem = L::Elem;
    type Mask = (L::Mask, L::Mask);
    type Vector = L::Vector;
    type Step = Self;
    const WIDTH: usize = 2 * L::WIDTH;
    const VECTORS: usize = 2 * L::VECTORS;

    both! {
        add(b); sub(b); mul(b); div(b); fma(b, c); min(b); max(b); sqrt(); abs(); neg(); copysign(sign); round();
        pow2(); scale(n); scale_far(n);
    }

    #[inline(always)]
    fn ask(p: *const L::Elem) {
        L::ask(p);
        L::ask(p.wrapping_add(L::WIDTH));
    }
    #[inline(always)]
    fn ask_rows(p: *const L::Elem, stride: usize) {
        L::ask_rows(p, stride);
        L::ask_rows(p.wrapping_add(L::VECTORS * stride), stride);
    }
    #[inline(always)]
    fn all(x: L::Vector) -> Self {
        Self(L::all(x), L::all(x))
    }
    #[inline(always)]
    fn largest(self) -> L::Vector {
        self.0.max(self.1).largest()
    }
    #[inline(always)]
    fn add_to(self, sum: L::Vector) -> L::Vector {
        self.1.add_to(self.0.add_to(sum))
    }
    #[inline(always)]
    fn fma_to(self, b: Self, sum: L::Vector) -> L::Vector {
        self.1.fma_to(b.1, self.0.fma_to(b.0, sum))
    }
    #[inline(always)]
    fn splat(x: L::Elem) -> Self {
        Self(L::splat(x), L::splat(x))
    }
    #[inline(always)]
    unsafe fn load(p: *const L::Elem) -> Self {
        // SAFETY: the caller promises as many numbers as both read.
        unsafe { Self(L::load(p), L::load(p.add(L::WIDTH))) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut L::Elem) {
        // SAFETY: the caller promises as many numbers as both write.
        unsafe {
            self.0.store(p);
            self.1.store(p.add(L::WIDTH));
        }
    }
    #[inline(always)]
    unsafe fn load_first(p: *const L::Elem, n: usize) -> Self {
        let first = n.min(L::WIDTH);
        // SAFETY: the caller promises n numbers, which the two share out.
        unsafe { Self(L::load_first(p, first), L::load_first(p.add(first), n - first)) }
    }
    #[inline(always)]
    unsafe fn store_first(self, p: *mut L::Elem, n: usize) {
        let first = n.min(L::WIDTH);
        // SAFETY: the caller promises n numbers, which the two share out.
        unsafe {
            self.0.store_first(p, first);
            self.1.store_first(p.add(first), n - first);
        }
    }
    #[inline(always)]
    unsafe fn load_rows(p: *const L::Elem, stride: usize, n: usize) -> Self {
        // SAFETY: the caller promises as many rows as both read.
        unsafe { Self(L::load_rows(p, stride, n), L::load_rows(p.add(L::VECTORS * stride), stride, n)) }
    }
    #[inline(always)]
    unsafe fn store_rows(self, p: *mut L::Elem, stride: usize, n: usize) {
        // SAFETY: the caller promises as many rows as both write.
        unsafe {
            self.0.store_rows(p, stride, n);
            self.1.store_rows(p.add(L::VECTORS * stride), stride, n);
        }
    }
    #[inline(always)]
    unsafe fn fold_add_rows(self, to: *mut L::Elem) {
        // SAFETY: the caller promises a number for each vector.
        unsafe {
            self.0.fold_add_rows(to);
            self.1.fold_add_rows(to.add(L::VECTORS));
        }
    }
    #[inline(always)]
    unsafe fn splat_rows(p: *const L::Elem) -> Self {
        // SAFETY: the caller promises a number for each vector.
        unsafe { Self(L::splat_rows(p), L::splat_rows(p.add(L::VECTORS))) }
    }
    #[inline(always)]
    fn lt(self, b: Self) -> Self::Mask {
        (self.0.lt(b.0), self.1.lt(b.1))
    }
    #[inline(always)]
    fn eq(self, b: Self) -> Self::Mask {
        (self.0.eq(b.0), self.1.eq(b.1))
    }
    #[inline(always)]
    fn select(mask: Self::Mask, a: Self, b: Self) -> Self {
        Self(L::select(mask.0, a.0, b.0), L::select(mask.1, a.1, b.1))
    }
    #[inline(always)]
    fn split_exponent(self) -> (Self, Self) {
        let ((a, b), (c, d)) = (self.0.split_exponent(), self.1.split_exponent());
        (Self(a, c), Self(b, d))
    }
}
