//! A vector folded onto itself in registers: upper half onto lower half until one lane is left, the order of [`crate::Lanes::fold_add`].
//!
//! ```text
//!   a b c d e f g h  →  a+e b+f c+g d+h  →  (a+e)+(c+g) (b+f)+(d+h)  →  one sum
//! ```
//!
//! Written out because the compiler, left with an array, folds the rows of a tile side by side by gathers, a few hundred cycles each.

use std::arch::x86_64::*;

macro_rules! halvings {
    ($f32:ident, $f64:ident, $ps:ident, $ss:ident, $pd:ident, $sd:ident) => {
        /// 8 lanes.
        ///
        /// # Safety
        /// The machine has AVX.
        #[inline(always)]
        pub unsafe fn $f32(x: __m256) -> f32 {
            // SAFETY: the caller's.
            unsafe {
                let four = $ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
                let two = $ps(four, _mm_movehl_ps(four, four));
                _mm_cvtss_f32($ss(two, _mm_shuffle_ps::<1>(two, two)))
            }
        }

        /// 4 lanes.
        ///
        /// # Safety
        /// The machine has AVX.
        #[inline(always)]
        pub unsafe fn $f64(x: __m256d) -> f64 {
            // SAFETY: the caller's.
            unsafe {
                let two = $pd(_mm256_castpd256_pd128(x), _mm256_extractf128_pd::<1>(x));
                _mm_cvtsd_f64($sd(two, _mm_unpackhi_pd(two, two)))
            }
        }
    };
}

halvings!(add8, add4, _mm_add_ps, _mm_add_ss, _mm_add_pd, _mm_add_sd);
halvings!(max8, max4, _mm_max_ps, _mm_max_ss, _mm_max_pd, _mm_max_sd);
