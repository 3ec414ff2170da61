//! Layer norm of sums within a pass: x̂ = (x − mean) / √(variance + ε), the gain applied where x̂ is used.

use crate::Real;
use weft_simd::{Isa, Kernel, Lanes};

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

impl<T: Real> Kernel for Normalize<T> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let n = self.cols;
        for row in 0..self.rows {
            // SAFETY: the caller's pointers hold these rows; gain and shift one row.
            unsafe {
                let x = self.x.add(row * self.x_stride);
                let to = self.to.add(row * self.to_stride);
                let (mean, inverse) = statistics::<T::On<I>>(x, n);
                let (mean, scale) = (<T::On<I>>::splat(mean), <T::On<I>>::splat(inverse));
                let mut i = 0;
                while i < n {
                    let c = T::WIDTH.min(n - i);
                    let hat = <T::On<I>>::load_first(x.add(i), c).sub(mean).mul(scale);
                    hat.store_first(x.add(i), c);
                    let shift = <T::On<I>>::load_first(self.shift.add(i), c);
                    let mut value = hat.fma(<T::On<I>>::load_first(self.gain.add(i), c), shift);
                    if self.add {
                        value = value.add(<T::On<I>>::load_first(to.add(i), c));
                    }
                    value.store_first(to.add(i), c);
                    i += c;
                }
                self.inverse.add(row).write(inverse);
            }
        }
    }
}

/// Mean and 1 / √(variance + ε) of a row.
///
/// # Safety
/// `n` numbers are readable.
#[inline(always)]
pub(super) unsafe fn statistics<L: Lanes>(x: *const L::Elem, n: usize) -> (L::Elem, L::Elem) {
    // SAFETY: the caller promises n numbers.
    unsafe {
        let count = L::Elem::from_f64(n as f64);
        let (mut sum, mut i) = (L::zero(), 0);
        while i < n {
            let c = L::WIDTH.min(n - i);
            sum = sum.add(L::load_first(x.add(i), c));
            i += c;
        }
        let mean = sum.fold_add() / count;
        let m = L::splat(mean);
        let (mut squares, mut i) = (L::zero(), 0);
        while i < n {
            let c = L::WIDTH.min(n - i);
            let mut d = L::load_first(x.add(i), c).sub(m);
            if c < L::WIDTH {
                // Lanes behind the end hold −mean.
                let mut tail = [L::Elem::ZERO; 16];
                d.store_first(tail.as_mut_ptr(), c);
                d = L::load_first(tail.as_ptr(), c);
            }
            squares = squares.add(d.mul(d));
            i += c;
        }
        let square = squares.fold_add();
        (mean, L::Elem::ONE / (square / count + L::Elem::from_f64(EPSILON)).sqrt())
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

impl<T: Real> Kernel for Denormalize<T> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let n = self.cols;
        let count = T::from_f64(n as f64);
        for row in 0..self.rows {
            // SAFETY: the caller's pointers hold these rows; the gain one row.
            unsafe {
                let (g, hat) = (self.g.add(row * self.g_stride), self.hat.add(row * self.hat_stride));
                let to = self.to.add(row * self.to_stride);
                macro_rules! gained {
                    ($i:expr, $c:expr) => {
                        <T::On<I>>::load_first(g.add($i), $c).mul(<T::On<I>>::load_first(self.gain.add($i), $c))
                    };
                }
                let (mut s1, mut s2) = (<T::On<I>>::zero(), <T::On<I>>::zero());
                let mut i = 0;
                while i < n {
                    let c = T::WIDTH.min(n - i);
                    let d = gained!(i, c);
                    s1 = s1.add(d);
                    s2 = s2.add(d.mul(<T::On<I>>::load_first(hat.add(i), c)));
                    i += c;
                }
                let (s1, s2) = (<T::On<I>>::splat(s1.fold_add() / count), <T::On<I>>::splat(s2.fold_add() / count));
                let scale = <T::On<I>>::splat(self.inverse.add(row).read());
                let mut i = 0;
                while i < n {
                    let c = T::WIDTH.min(n - i);
                    let h = <T::On<I>>::load_first(hat.add(i), c);
                    gained!(i, c).sub(s1).sub(h.mul(s2)).mul(scale).store_first(to.add(i), c);
                    i += c;
                }
            }
        }
    }
}
