//! AVX2 with FMA: two ymm a vector, so that lanes and folds are those of AVX-512.

use crate::{Isa, Lanes, halving, turning};
use std::arch::x86_64::*;

/// 16 f32.
#[derive(Clone, Copy)]
pub struct F32x16(__m256, __m256);
/// 8 f64.
#[derive(Clone, Copy)]
pub struct F64x8(__m256d, __m256d);
/// The instruction set.
#[derive(Clone, Copy)]
pub struct Avx2;

impl Isa for Avx2 {
    type F32 = F32x16;
    type F64 = F64x8;
    const NAME: &'static str = "avx2";
    // 16 registers: 12 accumulators (6 rows of two ymm), 2 of B, one broadcast of A.
    const TILE_VECTORS: usize = 1;
    const TILE_ROWS: [usize; 4] = [6, 0, 0, 0];

    #[inline(always)]
    fn prefetch<T>(p: *const T) {
        // SAFETY: a prefetch never faults, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }
    #[inline(always)]
    fn prefetch_second<T>(p: *const T) {
        // SAFETY: a prefetch never faults, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(p.cast()) }
    }
}

/// Both vector types from one text: the names of the intrinsics differ in a suffix only.
macro_rules! lanes {
    ($name:ident, $vector:ty, $elem:ty, $half:literal, $set1:ident, $loadu:ident, $storeu:ident, $add:ident, $sub:ident, $mul:ident,
     $div:ident, $fma:ident, $min:ident, $max:ident, $sqrt:ident, $and:ident, $andnot:ident, $or:ident, $xor:ident, $cmp:ident,
     $blend:ident, $to_int:ident, $from_int:ident, $shl:ident, $shr:ident, $set1_int:ident, $fold_add:ident, $fold_max:ident, $turn:ident, $bits:literal, $bias:expr,
     $int_magic:expr, $mantissa:expr, $one:expr, $exp_magic:expr) => {
        // SAFETY of the impl: these types are only used inside `dispatch`, which has found AVX2 and FMA; the pointer methods
        // pass on their callers' promise.
        #[allow(clippy::undocumented_unsafe_blocks)]
        impl Lanes for $name {
            type Elem = $elem;
            type Mask = ($vector, $vector);
            type Vector = Self;
            type Step = crate::Four<Self>;
            const WIDTH: usize = 2 * $half;

            #[inline(always)]
            fn ask(p: *const $elem) {
                // SAFETY: a prefetch never faults, whatever the address.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
            }
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
                // SAFETY: as the impl says.
                unsafe { Self($set1(x), $set1(x)) }
            }
            #[inline(always)]
            unsafe fn load(p: *const $elem) -> Self {
                unsafe { Self($loadu(p), $loadu(p.add($half))) }
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut $elem) {
                // SAFETY: as the impl says.
                unsafe {
                    $storeu(p, self.0);
                    $storeu(p.add($half), self.1);
                }
            }
            #[inline(always)]
            unsafe fn load_first(p: *const $elem, n: usize) -> Self {
                if n == Self::WIDTH {
                    // SAFETY: as the impl says.
                    return unsafe { Self::load(p) };
                }
                let mut lanes = [0.0; Self::WIDTH];
                unsafe {
                    std::ptr::copy_nonoverlapping(p, lanes.as_mut_ptr(), n);
                    Self::load(lanes.as_ptr())
                }
            }
            #[inline(always)]
            unsafe fn store_first(self, p: *mut $elem, n: usize) {
                if n == Self::WIDTH {
                    // SAFETY: as the impl says.
                    return unsafe { self.store(p) };
                }
                let mut lanes = [0.0; Self::WIDTH];
                unsafe {
                    self.store(lanes.as_mut_ptr());
                    std::ptr::copy_nonoverlapping(lanes.as_ptr(), p, n);
                }
            }
            #[inline(always)]
            fn add(self, b: Self) -> Self {
                // SAFETY: as the impl says.
                unsafe { Self($add(self.0, b.0), $add(self.1, b.1)) }
            }
            #[inline(always)]
            fn sub(self, b: Self) -> Self {
                unsafe { Self($sub(self.0, b.0), $sub(self.1, b.1)) }
            }
            #[inline(always)]
            fn mul(self, b: Self) -> Self {
                // SAFETY: as the impl says.
                unsafe { Self($mul(self.0, b.0), $mul(self.1, b.1)) }
            }
            #[inline(always)]
            fn div(self, b: Self) -> Self {
                unsafe { Self($div(self.0, b.0), $div(self.1, b.1)) }
            }
            #[inline(always)]
            fn fma(self, b: Self, c: Self) -> Self {
                // SAFETY: as the impl says.
                unsafe { Self($fma(self.0, b.0, c.0), $fma(self.1, b.1, c.1)) }
            }
            #[inline(always)]
            fn min(self, b: Self) -> Self {
                unsafe { Self($min(self.0, b.0), $min(self.1, b.1)) }
            }
            #[inline(always)]
            fn max(self, b: Self) -> Self {
                // SAFETY: as the impl says.
                unsafe { Self($max(self.0, b.0), $max(self.1, b.1)) }
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                unsafe { Self($sqrt(self.0), $sqrt(self.1)) }
            }
            #[inline(always)]
            fn abs(self) -> Self {
                // SAFETY: as the impl says.
                unsafe { Self($andnot($set1(-0.0), self.0), $andnot($set1(-0.0), self.1)) }
            }
            #[inline(always)]
            fn neg(self) -> Self {
                unsafe { Self($xor($set1(-0.0), self.0), $xor($set1(-0.0), self.1)) }
            }
            #[inline(always)]
            fn copysign(self, sign: Self) -> Self {
                let a = self.abs();
                // SAFETY: as the impl says.
                unsafe {
                    let s = $set1(-0.0);
                    Self($or(a.0, $and(s, sign.0)), $or(a.1, $and(s, sign.1)))
                }
            }
            #[inline(always)]
            fn lt(self, b: Self) -> Self::Mask {
                // SAFETY: as the impl says.
                unsafe { ($cmp::<_CMP_LT_OQ>(self.0, b.0), $cmp::<_CMP_LT_OQ>(self.1, b.1)) }
            }
            #[inline(always)]
            fn eq(self, b: Self) -> Self::Mask {
                unsafe { ($cmp::<_CMP_EQ_OQ>(self.0, b.0), $cmp::<_CMP_EQ_OQ>(self.1, b.1)) }
            }
            #[inline(always)]
            fn select(mask: Self::Mask, a: Self, b: Self) -> Self {
                // SAFETY: as the impl says.
                unsafe { Self($blend(b.0, a.0, mask.0), $blend(b.1, a.1, mask.1)) }
            }
            #[inline(always)]
            unsafe fn turn(from: impl Fn(usize) -> *const $elem, to: impl Fn(usize) -> *mut $elem) {
                unsafe { turning::$turn(from, to) }
            }
            #[inline(always)]
            fn fold_add(self) -> $elem {
                // SAFETY: as the impl says.
                unsafe { halving::$fold_add($add(self.0, self.1)) }
            }
            #[inline(always)]
            fn fold_max(self) -> $elem {
                // SAFETY: as the impl says.
                unsafe { halving::$fold_max($max(self.0, self.1)) }
            }
            #[inline(always)]
            fn pow2(self) -> Self {
                // n + bias in the last bits of the mantissa, shifted into the exponent field.
                let n = self.add(Self::splat($int_magic + $bias));
                // SAFETY: as the impl says.
                unsafe { Self($from_int($shl::<$bits>($to_int(n.0))), $from_int($shl::<$bits>($to_int(n.1)))) }
            }
            #[inline(always)]
            fn split_exponent(self) -> (Self, Self) {
                let mantissa = |v| unsafe {
                    let bits = _mm256_and_si256($to_int(v), $set1_int($mantissa));
                    $from_int(_mm256_or_si256(bits, $set1_int($one)))
                };
                // SAFETY: as the impl says.
                let exponent = |v| unsafe { $from_int(_mm256_or_si256($shr::<$bits>($to_int(v)), $set1_int($exp_magic))) };
                let e = Self(exponent(self.0), exponent(self.1));
                (Self(mantissa(self.0), mantissa(self.1)), e.sub(Self::splat($int_magic + $bias)))
            }
        }
    };
}

lanes!(
    F32x16,
    __m256,
    f32,
    8,
    _mm256_set1_ps,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    _mm256_add_ps,
    _mm256_sub_ps,
    _mm256_mul_ps,
    _mm256_div_ps,
    _mm256_fmadd_ps,
    _mm256_min_ps,
    _mm256_max_ps,
    _mm256_sqrt_ps,
    _mm256_and_ps,
    _mm256_andnot_ps,
    _mm256_or_ps,
    _mm256_xor_ps,
    _mm256_cmp_ps,
    _mm256_blendv_ps,
    _mm256_castps_si256,
    _mm256_castsi256_ps,
    _mm256_slli_epi32,
    _mm256_srli_epi32,
    _mm256_set1_epi32,
    add8,
    max8,
    turn8,
    23,
    127.0,
    8_388_608.0,
    0x007f_ffff,
    0x3f80_0000,
    0x4b00_0000
);
lanes!(
    F64x8,
    __m256d,
    f64,
    4,
    _mm256_set1_pd,
    _mm256_loadu_pd,
    _mm256_storeu_pd,
    _mm256_add_pd,
    _mm256_sub_pd,
    _mm256_mul_pd,
    _mm256_div_pd,
    _mm256_fmadd_pd,
    _mm256_min_pd,
    _mm256_max_pd,
    _mm256_sqrt_pd,
    _mm256_and_pd,
    _mm256_andnot_pd,
    _mm256_or_pd,
    _mm256_xor_pd,
    _mm256_cmp_pd,
    _mm256_blendv_pd,
    _mm256_castpd_si256,
    _mm256_castsi256_pd,
    _mm256_slli_epi64,
    _mm256_srli_epi64,
    _mm256_set1_epi64x,
    add4,
    max4,
    turn4,
    52,
    1023.0,
    4_503_599_627_370_496.0,
    0x000f_ffff_ffff_ffff,
    0x3ff0_0000_0000_0000,
    0x4330_0000_0000_0000
);
