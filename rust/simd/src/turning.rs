//! A square of numbers turned over in registers: rows in, columns out.
//!
//! ```text
//!   halves of rows i and i+4 side by side      pairs                      fours: a row of the result
//!   a0 a1 a2 a3 | e0 e1 e2 e3                  a0 b0 a1 b1 | e0 f0 e1 f1  a0 b0 c0 d0 | e0 f0 g0 h0
//!   b0 b1 b2 b3 | f0 f1 f2 f3             →    a2 b2 a3 b3 | …         →  a1 b1 c1 d1 | …
//!   c…          | g…                           c0 d0 c1 d1 | …            …
//! ```
//!
//! Halves meet as they are loaded, so that nothing has to cross the middle of a register afterwards.

use std::arch::x86_64::*;

/// 8 × 8 f32: `to(j)[i] = from(i)[j]`.
///
/// # Safety
/// The machine has AVX; eight rows are valid for reads of 8 numbers, eight for writes.
#[inline(always)]
pub unsafe fn turn8(from: impl Fn(usize) -> *const f32, to: impl Fn(usize) -> *mut f32) {
    // SAFETY: the caller's.
    unsafe {
        for first in [0, 4] {
            let halves = |i: usize| {
                let low = _mm256_castps128_ps256(_mm_loadu_ps(from(i).add(first)));
                _mm256_insertf128_ps::<1>(low, _mm_loadu_ps(from(i + 4).add(first)))
            };
            let [a, b, c, d] = [halves(0), halves(1), halves(2), halves(3)];
            let (ab, cd) = (_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d));
            _mm256_storeu_ps(to(first), _mm256_shuffle_ps::<0x44>(ab, cd));
            _mm256_storeu_ps(to(first + 1), _mm256_shuffle_ps::<0xee>(ab, cd));
            let (ab, cd) = (_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d));
            _mm256_storeu_ps(to(first + 2), _mm256_shuffle_ps::<0x44>(ab, cd));
            _mm256_storeu_ps(to(first + 3), _mm256_shuffle_ps::<0xee>(ab, cd));
        }
    }
}

/// 4 × 4 f64: `to(j)[i] = from(i)[j]`.
///
/// # Safety
/// The machine has AVX; four rows are valid for reads of 4 numbers, four for writes.
#[inline(always)]
pub unsafe fn turn4(from: impl Fn(usize) -> *const f64, to: impl Fn(usize) -> *mut f64) {
    // SAFETY: the caller's.
    unsafe {
        for first in [0, 2] {
            let halves = |i: usize| {
                let low = _mm256_castpd128_pd256(_mm_loadu_pd(from(i).add(first)));
                _mm256_insertf128_pd::<1>(low, _mm_loadu_pd(from(i + 2).add(first)))
            };
            let (a, b) = (halves(0), halves(1));
            _mm256_storeu_pd(to(first), _mm256_unpacklo_pd(a, b));
            _mm256_storeu_pd(to(first + 1), _mm256_unpackhi_pd(a, b));
        }
    }
}
