//! Layer norm of sums within a pass: x̂ = (x − mean) / √(variance + ε), the gain applied where x̂ is used.

use crate::Real;
use crate::abreast::{Abreast, MOST};
use weft_simd::Lanes;

/// As in `nn.LayerNorm`.
pub(super) const EPSILON: f64 = 1e-5;

/// Rows of sums become x̂; then `to = (to +) gain · x̂ + shift`.
pub(super) struct Normalize<T> {
    pub rows: usize,
    pub cols: usize,
    pub x: *mut T,
    pub x_stride: usize,
    pub gain: *const T,
    pub shift: *const T,
    pub to: *mut T,
    pub to_stride: usize,
    pub add: bool,
    /// Written: 1 / deviation of each row.
    pub inverse: *mut T,
}

impl<T: Real> Abreast for Normalize<T> {
    type Elem = T;

    fn rows(&self) -> usize {
        self.rows
    }

    fn numbers(&self) -> usize {
        2 * self.rows * self.cols
    }

    #[inline(always)]
    fn abreast<V: Lanes<Elem = T>>(&self, row: usize) {
        let n = self.cols;
        // SAFETY: the caller's pointers hold these rows; gain and shift one row.
        unsafe {
            let (x, to) = (self.x.add(row * self.x_stride), self.to.add(row * self.to_stride));
            let (means, inverses) = statistics_of_rows::<V>(x, self.x_stride, n);
            let (mean, scale) = (V::splat_rows(means.as_ptr()), V::splat_rows(inverses.as_ptr()));
            let mut i = 0;
            while i < n {
                let c = T::WIDTH.min(n - i);
                let hat = V::load_rows(x.add(i), self.x_stride, c).sub(mean).mul(scale);
                hat.store_rows(x.add(i), self.x_stride, c);
                let shift = V::load_rows(self.shift.add(i), 0, c);
                let mut value = hat.fma(V::load_rows(self.gain.add(i), 0, c), shift);
                if self.add {
                    value = value.add(V::load_rows(to.add(i), self.to_stride, c));
                }
                value.store_rows(to.add(i), self.to_stride, c);
                i += c;
            }
            self.inverse.add(row).copy_from_nonoverlapping(inverses.as_ptr(), V::VECTORS);
        }
    }
}

/// Mean and 1 / √(variance + ε) of a row.
///
/// # Safety
/// `n` numbers are readable.
#[inline(always)]
pub(super) unsafe fn statistics<L: Lanes>(x: *const L::Elem, n: usize) -> (L::Elem, L::Elem) {
    // SAFETY: passed on to the caller.
    let (means, inverses) = unsafe { statistics_of_rows::<L>(x, 0, n) };
    (means[0], inverses[0])
}

/// The same for as many rows in step as V has vectors, at most [`MOST`].
///
/// # Safety
/// `n` numbers of each row are readable.
#[inline(always)]
unsafe fn statistics_of_rows<V: Lanes>(x: *const V::Elem, stride: usize, n: usize) -> ([V::Elem; MOST], [V::Elem; MOST]) {
    // SAFETY: the caller promises n numbers of each row.
    unsafe {
        let width = V::Vector::WIDTH;
        let count = V::Elem::from_f64(n as f64);
        let (mut means, mut inverses) = ([V::Elem::ZERO; MOST], [V::Elem::ZERO; MOST]);
        let (mut sum, mut i) = (V::zero(), 0);
        while i < n {
            let c = width.min(n - i);
            sum = sum.add(V::load_rows(x.add(i), stride, c));
            i += c;
        }
        sum.fold_add_rows(means.as_mut_ptr());
        means = means.map(|sum| sum / count);
        let m = V::splat_rows(means.as_ptr());
        let (mut squares, mut i) = (V::zero(), 0);
        while i < n {
            let c = width.min(n - i);
            let mut d = V::load_rows(x.add(i), stride, c).sub(m);
            if c < width {
                // Lanes behind the end hold −mean.
                let mut tail = [V::Elem::ZERO; 16 * MOST];
                d.store_rows(tail.as_mut_ptr(), width, c);
                d = V::load_rows(tail.as_ptr(), width, c);
            }
            squares = squares.add(d.mul(d));
            i += c;
        }
        squares.fold_add_rows(inverses.as_mut_ptr());
        let epsilon = V::Elem::from_f64(EPSILON);
        (means, inverses.map(|square| V::Elem::ONE / (square / count + epsilon).sqrt()))
    }
}

/// du = inverse · (γ∘g − mean(γ∘g) − x̂ · mean(γ∘g ∘ x̂)) for rows of gradients g of γ·x̂.
pub(super) struct Denormalize<T> {
    pub rows: usize,
    pub cols: usize,
    pub g: *const T,
    pub g_stride: usize,
    pub hat: *const T,
    pub hat_stride: usize,
    pub gain: *const T,
    pub inverse: *const T,
    /// Written; may be `hat`.
    pub to: *mut T,
    pub to_stride: usize,
}

impl<T: Real> Abreast for Denormalize<T> {
    type Elem = T;

    fn rows(&self) -> usize {
        self.rows
    }

    fn numbers(&self) -> usize {
        2 * self.rows * self.cols
    }

    #[inline(always)]
    fn abreast<V: Lanes<Elem = T>>(&self, row: usize) {
        let n = self.cols;
        let count = T::from_f64(n as f64);
        // SAFETY: the caller's pointers hold these rows; the gain one row.
        unsafe {
            let (g, hat) = (self.g.add(row * self.g_stride), self.hat.add(row * self.hat_stride));
            let to = self.to.add(row * self.to_stride);
            let (mut s1, mut s2) = (V::zero(), V::zero());
            let mut i = 0;
            while i < n {
                let c = T::WIDTH.min(n - i);
                let d = V::load_rows(g.add(i), self.g_stride, c).mul(V::load_rows(self.gain.add(i), 0, c));
                s1 = s1.add(d);
                s2 = s2.add(d.mul(V::load_rows(hat.add(i), self.hat_stride, c)));
                i += c;
            }
            let (mut means, mut products) = ([T::ZERO; MOST], [T::ZERO; MOST]);
            s1.fold_add_rows(means.as_mut_ptr());
            s2.fold_add_rows(products.as_mut_ptr());
            let (means, products) = (means.map(|sum| sum / count), products.map(|sum| sum / count));
            let (s1, s2) = (V::splat_rows(means.as_ptr()), V::splat_rows(products.as_ptr()));
            let scale = V::splat_rows(self.inverse.add(row));
            let mut i = 0;
            while i < n {
                let c = T::WIDTH.min(n - i);
                let h = V::load_rows(hat.add(i), self.hat_stride, c);
                let d = V::load_rows(g.add(i), self.g_stride, c).mul(V::load_rows(self.gain.add(i), 0, c));
                d.sub(s1).sub(h.mul(s2)).mul(scale).store_rows(to.add(i), self.to_stride, c);
                i += c;
            }
        }
    }
}
