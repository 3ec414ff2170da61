//! AVX-512 F/BW/DQ/VL: one zmm a vector.

use crate::{Isa, Lanes, halving, turning};
use std::arch::x86_64::*;

/// 16 f32.
#[derive(Clone, Copy)]
pub struct F32x16(__m512);
/// 8 f64.
#[derive(Clone, Copy)]
pub struct F64x8(__m512d);
/// The instruction set.
#[derive(Clone, Copy)]
pub struct Avx512;

impl Isa for Avx512 {
    type F32 = F32x16;
    type F64 = F64x8;
    const NAME: &'static str = "avx512";
    // 32 registers: up to 24 accumulators (8 chains hide the latency of the FMA), 1 to 4 of B, one broadcast of A.
    const TILE_VECTORS: usize = 4;
    const TILE_ROWS: [usize; 4] = [8, 8, 8, 6];

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
    ($name:ident, $elem:ty, $width:literal, $mask:ty, $set1:ident, $loadu:ident, $storeu:ident, $mload:ident, $mstore:ident,
     $add:ident, $sub:ident, $mul:ident, $div:ident, $fma:ident, $min:ident, $max:ident, $sqrt:ident, $and:ident, $andnot:ident,
     $or:ident, $xor:ident, $scale:ident, $cmp:ident, $blend:ident, $to_int:ident, $from_int:ident, $shr:ident, $set1_int:ident,
     $and_int:ident, $or_int:ident, $lower:ident, $upper:ident, $add_half:ident, $max_half:ident, $fold_add:ident, $fold_max:ident, $turn:ident, $bits:literal, $bias:expr, $int_magic:expr, $mantissa:expr, $one:expr, $exp_magic:expr) => {
        // SAFETY of the impl: these types are only used inside `dispatch`, which has found AVX-512 F, BW, DQ and VL; the
        // pointer methods pass on their callers' promise.
        #[allow(clippy::undocumented_unsafe_blocks)]
        impl Lanes for $name {
            type Elem = $elem;
            type Mask = $mask;
            type Vector = Self;
            type Step = crate::Four<Self>;
            const WIDTH: usize = $width;

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
                Self(unsafe { $set1(x) })
            }
            #[inline(always)]
            unsafe fn load(p: *const $elem) -> Self {
                Self(unsafe { $loadu(p) })
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut $elem) {
                // SAFETY: as the impl says.
                unsafe { $storeu(p, self.0) }
            }
            #[inline(always)]
            unsafe fn load_first(p: *const $elem, n: usize) -> Self {
                Self(unsafe { $mload(((1u32 << n) - 1) as $mask, p) })
            }
            #[inline(always)]
            unsafe fn store_first(self, p: *mut $elem, n: usize) {
                // SAFETY: as the impl says.
                unsafe { $mstore(p, ((1u32 << n) - 1) as $mask, self.0) }
            }
            #[inline(always)]
            fn add(self, b: Self) -> Self {
                Self(unsafe { $add(self.0, b.0) })
            }
            #[inline(always)]
            fn sub(self, b: Self) -> Self {
                // SAFETY: as the impl says.
                Self(unsafe { $sub(self.0, b.0) })
            }
            #[inline(always)]
            fn mul(self, b: Self) -> Self {
                Self(unsafe { $mul(self.0, b.0) })
            }
            #[inline(always)]
            fn div(self, b: Self) -> Self {
                // SAFETY: as the impl says.
                Self(unsafe { $div(self.0, b.0) })
            }
            #[inline(always)]
            fn fma(self, b: Self, c: Self) -> Self {
                Self(unsafe { $fma(self.0, b.0, c.0) })
            }
            #[inline(always)]
            fn min(self, b: Self) -> Self {
                // SAFETY: as the impl says.
                Self(unsafe { $min(self.0, b.0) })
            }
            #[inline(always)]
            fn max(self, b: Self) -> Self {
                Self(unsafe { $max(self.0, b.0) })
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                // SAFETY: as the impl says.
                Self(unsafe { $sqrt(self.0) })
            }
            #[inline(always)]
            fn abs(self) -> Self {
                Self(unsafe { $andnot($set1(-0.0), self.0) })
            }
            #[inline(always)]
            fn neg(self) -> Self {
                // SAFETY: as the impl says.
                Self(unsafe { $xor($set1(-0.0), self.0) })
            }
            #[inline(always)]
            fn copysign(self, sign: Self) -> Self {
                Self(unsafe { $or(self.abs().0, $and($set1(-0.0), sign.0)) })
            }
            #[inline(always)]
            fn lt(self, b: Self) -> $mask {
                // SAFETY: as the impl says.
                unsafe { $cmp::<_CMP_LT_OQ>(self.0, b.0) }
            }
            #[inline(always)]
            fn eq(self, b: Self) -> $mask {
                unsafe { $cmp::<_CMP_EQ_OQ>(self.0, b.0) }
            }
            #[inline(always)]
            fn select(mask: $mask, a: Self, b: Self) -> Self {
                // SAFETY: as the impl says.
                Self(unsafe { $blend(mask, b.0, a.0) })
            }
            #[inline(always)]
            unsafe fn turn(from: impl Fn(usize) -> *const $elem, to: impl Fn(usize) -> *mut $elem) {
                unsafe { turning::$turn(from, to) }
            }
            #[inline(always)]
            fn fold_add(self) -> $elem {
                // SAFETY: as the impl says.
                unsafe { halving::$fold_add($add_half($lower(self.0), $upper::<1>(self.0))) }
            }
            #[inline(always)]
            fn fold_max(self) -> $elem {
                // SAFETY: as the impl says.
                unsafe { halving::$fold_max($max_half($lower(self.0), $upper::<1>(self.0))) }
            }
            #[inline(always)]
            fn pow2(self) -> Self {
                Self::splat(1.0).scale(self)
            }
            #[inline(always)]
            fn scale(self, n: Self) -> Self {
                // One instruction for an addition, a shift and a product.
                // SAFETY: as the impl says.
                Self(unsafe { $scale(self.0, n.0) })
            }
            #[inline(always)]
            fn scale_far(self, n: Self) -> Self {
                self.scale(n)
            }
            #[inline(always)]
            fn split_exponent(self) -> (Self, Self) {
                // SAFETY: as the impl says.
                unsafe {
                    let bits = $to_int(self.0);
                    let mantissa = $or_int($and_int(bits, $set1_int($mantissa)), $set1_int($one));
                    let exponent = $or_int($shr::<$bits>(bits), $set1_int($exp_magic));
                    (Self($from_int(mantissa)), Self($sub($from_int(exponent), $set1($int_magic + $bias))))
                }
            }
        }
    };
}

lanes!(
    F32x16,
    f32,
    16,
    __mmask16,
    _mm512_set1_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_maskz_loadu_ps,
    _mm512_mask_storeu_ps,
    _mm512_add_ps,
    _mm512_sub_ps,
    _mm512_mul_ps,
    _mm512_div_ps,
    _mm512_fmadd_ps,
    _mm512_min_ps,
    _mm512_max_ps,
    _mm512_sqrt_ps,
    _mm512_and_ps,
    _mm512_andnot_ps,
    _mm512_or_ps,
    _mm512_xor_ps,
    _mm512_scalef_ps,
    _mm512_cmp_ps_mask,
    _mm512_mask_blend_ps,
    _mm512_castps_si512,
    _mm512_castsi512_ps,
    _mm512_srli_epi32,
    _mm512_set1_epi32,
    _mm512_and_si512,
    _mm512_or_si512,
    _mm512_castps512_ps256,
    _mm512_extractf32x8_ps,
    _mm256_add_ps,
    _mm256_max_ps,
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
    f64,
    8,
    __mmask8,
    _mm512_set1_pd,
    _mm512_loadu_pd,
    _mm512_storeu_pd,
    _mm512_maskz_loadu_pd,
    _mm512_mask_storeu_pd,
    _mm512_add_pd,
    _mm512_sub_pd,
    _mm512_mul_pd,
    _mm512_div_pd,
    _mm512_fmadd_pd,
    _mm512_min_pd,
    _mm512_max_pd,
    _mm512_sqrt_pd,
    _mm512_and_pd,
    _mm512_andnot_pd,
    _mm512_or_pd,
    _mm512_xor_pd,
    _mm512_scalef_pd,
    _mm512_cmp_pd_mask,
    _mm512_mask_blend_pd,
    _mm512_castpd_si512,
    _mm512_castsi512_pd,
    _mm512_srli_epi64,
    _mm512_set1_epi64,
    _mm512_and_si512,
    _mm512_or_si512,
    _mm512_castpd512_pd256,
    _mm512_extractf64x4_pd,
    _mm256_add_pd,
    _mm256_max_pd,
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
