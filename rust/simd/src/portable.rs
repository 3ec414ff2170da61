//! The portable path: arrays and scalar operations. It is the definition that the other instruction sets are tested against.

use crate::{Isa, Lanes, Real};

/// `N` numbers, one a lane.
#[derive(Clone, Copy)]
pub struct VectorOf<T, const N: usize>([T; N]);
/// The instruction set.
#[derive(Clone, Copy)]
pub struct PortableIsa;

impl Isa for PortableIsa {
    type F32 = VectorOf<f32, 16>;
    type F64 = VectorOf<f64, 8>;
    const NAME: &'static str = "portable";
    const TILE_VECTORS: usize = 1;
    const TILE_ROWS: [usize; 4] = [4, 0, 0, 0];

    #[inline(always)]
    fn prefetch<T>(_: *const T) {}
    #[inline(always)]
    fn prefetch_second<T>(_: *const T) {}
}

impl<T: Copy, const N: usize> VectorOf<T, N> {
    #[inline(always)]
    fn map(self, f: impl Fn(T) -> T) -> Self {
        let mut out = self.0;
        for x in &mut out {
            *x = f(*x);
        }
        Self(out)
    }
    #[inline(always)]
    fn zip(self, b: Self, f: impl Fn(T, T) -> T) -> Self {
        let mut out = self.0;
        for (x, y) in out.iter_mut().zip(b.0) {
            *x = f(*x, y);
        }
        Self(out)
    }
}

/// Both vector types from one text: the bit patterns differ.
macro_rules! lanes {
    ($elem:ty, $bits:ty, $width:literal, $shift:literal, $bias:literal, $mantissa:literal) => {
        impl Lanes for VectorOf<$elem, $width> {
            type Elem = $elem;
            type Mask = [bool; $width];
            type Vector = Self;
            type Step = Self;
            const WIDTH: usize = $width;

            #[inline(always)]
            fn ask(_: *const $elem) {}
            #[inline(always)]
            fn all(x: Self) -> Self {
                x
            }
            #[inline(always)]
            fn largest(self) -> Self {
                self
            }
            #[inline(always)]
            fn add_to(self, sum: Self) -> Self {
                sum.add(self)
            }
            #[inline(always)]
            fn fma_to(self, b: Self, sum: Self) -> Self {
                self.fma(b, sum)
            }

            #[inline(always)]
            fn splat(x: $elem) -> Self {
                Self([x; $width])
            }
            #[inline(always)]
            unsafe fn load(p: *const $elem) -> Self {
                // SAFETY: the caller promises WIDTH readable numbers.
                Self(unsafe { p.cast::<[$elem; $width]>().read_unaligned() })
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut $elem) {
                // SAFETY: the caller promises WIDTH writable numbers.
                unsafe { p.cast::<[$elem; $width]>().write_unaligned(self.0) }
            }
            #[inline(always)]
            unsafe fn load_first(p: *const $elem, n: usize) -> Self {
                let mut out = [<$elem as Real>::ZERO; $width];
                // SAFETY: the caller promises n readable numbers, n <= WIDTH.
                unsafe { std::ptr::copy_nonoverlapping(p, out.as_mut_ptr(), n) };
                Self(out)
            }
            #[inline(always)]
            unsafe fn store_first(self, p: *mut $elem, n: usize) {
                // SAFETY: the caller promises n writable numbers, n <= WIDTH.
                unsafe { std::ptr::copy_nonoverlapping(self.0.as_ptr(), p, n) };
            }
            #[inline(always)]
            fn add(self, b: Self) -> Self {
                self.zip(b, |x, y| x + y)
            }
            #[inline(always)]
            fn sub(self, b: Self) -> Self {
                self.zip(b, |x, y| x - y)
            }
            #[inline(always)]
            fn mul(self, b: Self) -> Self {
                self.zip(b, |x, y| x * y)
            }
            #[inline(always)]
            fn div(self, b: Self) -> Self {
                self.zip(b, |x, y| x / y)
            }
            #[inline(always)]
            fn fma(self, b: Self, c: Self) -> Self {
                let mut out = c.0;
                for ((o, x), y) in out.iter_mut().zip(self.0).zip(b.0) {
                    *o = x.mul_add(y, *o);
                }
                Self(out)
            }
            #[inline(always)]
            fn min(self, b: Self) -> Self {
                self.zip(b, |x, y| if x < y { x } else { y })
            }
            #[inline(always)]
            fn max(self, b: Self) -> Self {
                self.zip(b, |x, y| if x > y { x } else { y })
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                self.map(|x| x.sqrt())
            }
            #[inline(always)]
            fn abs(self) -> Self {
                self.map(|x| x.abs())
            }
            #[inline(always)]
            fn neg(self) -> Self {
                self.map(|x| -x)
            }
            #[inline(always)]
            fn copysign(self, sign: Self) -> Self {
                self.zip(sign, |x, s| x.copysign(s))
            }
            #[inline(always)]
            fn lt(self, b: Self) -> Self::Mask {
                std::array::from_fn(|i| self.0[i] < b.0[i])
            }
            #[inline(always)]
            fn eq(self, b: Self) -> Self::Mask {
                std::array::from_fn(|i| self.0[i] == b.0[i])
            }
            #[inline(always)]
            fn select(mask: Self::Mask, a: Self, b: Self) -> Self {
                Self(std::array::from_fn(|i| if mask[i] { a.0[i] } else { b.0[i] }))
            }
            #[inline(always)]
            fn pow2(self) -> Self {
                self.map(|n| <$elem>::from_bits(((n as i64).wrapping_add($bias) as $bits) << $shift))
            }
            #[inline(always)]
            fn split_exponent(self) -> (Self, Self) {
                let one = <$elem as Real>::ONE.to_bits();
                (
                    self.map(|x| <$elem>::from_bits((x.to_bits() & $mantissa) | one)),
                    self.map(|x| ((x.to_bits() >> $shift) as i64 - $bias) as $elem),
                )
            }
        }
    };
}

lanes!(f32, u32, 16, 23, 127, 0x007f_ffff);
lanes!(f64, u64, 8, 52, 1023, 0x000f_ffff_ffff_ffff);
