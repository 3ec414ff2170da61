//! exp, log, tanh, sigmoid and erf on lanes: no tables, no reciprocal estimates, the same operations on every instruction set.
//!
//! Accuracy against the exact value (tests/accuracy.rs; every f32 by `make test-exhaustive`): exp and log 1 ulp, sigmoid 2, tanh 3,
//! erf 5 in f32; 2 ulp in f64. The normal distribution is a sum with ½, so its error is absolute: 3 · 2⁻²⁴. Subnormal results are kept.

use crate::real::Ratio;
use crate::{Lanes, Real};

/// n = round(x / ln 2) and eʳ − 1 for r = x − n·ln 2, |r| ≤ ln 2 / 2 (Cody & Waite's two-part reduction).
#[inline(always)]
fn reduce<L: Lanes>(x: L) -> (L, L) {
    let n = x.mul(L::splat(L::Elem::LOG2E)).round();
    let r = n.fma(L::splat(-L::Elem::LN2_HI), x);
    let r = n.fma(L::splat(-L::Elem::LN2_LO), r);
    let q = r.polynomial(L::Elem::EXP);
    (n, r.mul(r).fma(q, r))
}

/// eˣ. Overflows to ∞, underflows through the subnormal numbers to 0; NaN stays NaN.
#[inline(always)]
pub fn exp<L: Lanes>(x: L) -> L {
    // The operand order of min, and of max below, lets a NaN through.
    exp_bounded(L::splat(L::Elem::EXP_MAX).min(x))
}

/// eˣ for x of at most EXP_MAX, as every x ≤ 0 is.
#[inline(always)]
fn exp_bounded<L: Lanes>(x: L) -> L {
    let (n, p) = reduce(L::splat(L::Elem::EXP_MIN).max(x));
    p.add(L::splat(L::Elem::ONE)).scale_far(n)
}

/// eˣ for x ≤ 0, as softmax needs it: results below the smallest normal number become 0.
#[inline(always)]
pub fn exp_nonpositive<L: Lanes>(x: L) -> L {
    let low = L::splat(L::Elem::EXP_FLUSH);
    let (n, p) = reduce(low.max(x));
    let y = p.add(L::splat(L::Elem::ONE)).scale(n);
    L::select(x.lt(low), L::zero(), y)
}

/// The natural logarithm. log(0) = −∞, negative numbers give NaN.
///
/// log(m·2ᵉ) = e·ln 2 + log(1+f), with s = f/(2+f): log(1+f) = f − (f²/2 − s·(f²/2 + R(s²))).
#[inline(always)]
pub fn log<L: Lanes>(x: L) -> L {
    let one = L::splat(L::Elem::ONE);
    let half = L::splat(L::Elem::from_f64(0.5));
    let subnormal = x.lt(L::splat(L::Elem::MIN_NORMAL));
    let (scale, exponent) = L::Elem::NORMALIZE;
    let scaled = L::select(subnormal, x.mul(L::splat(scale)), x);
    let (m, e) = scaled.split_exponent();
    let e = e.sub(L::select(subnormal, L::splat(exponent), L::zero()));
    let large = L::splat(L::Elem::from_f64(std::f64::consts::SQRT_2)).lt(m);
    let m = L::select(large, m.mul(half), m);
    let e = L::select(large, e.add(one), e);
    let f = m.sub(one);
    let s = f.div(f.add(L::splat(L::Elem::from_f64(2.0))));
    let z = s.mul(s);
    let r = z.mul(z.polynomial(L::Elem::LOG));
    let hfsq = half.mul(f).mul(f);
    let tail = s.fma(hfsq.add(r), e.mul(L::splat(L::Elem::LN2_LO)));
    let y = e.fma(L::splat(L::Elem::LN2_HI), f.sub(hfsq.sub(tail)));
    let infinity = L::splat(-L::Elem::NEG_INFINITY);
    let y = L::select(x.eq(infinity), infinity, y);
    let y = L::select(x.eq(L::zero()), infinity.neg(), y);
    let nan = infinity.sub(infinity);
    let y = L::select(x.lt(L::zero()), nan, y);
    // Only a NaN differs from itself.
    L::select(x.eq(x), y, x)
}

/// 1 / (1 + e⁻ˣ), from e = e^−|x| on both sides so that the left tail keeps its relative accuracy. The quotient q = v / (1 + e), v = e or 1,
/// is only used in v − e·q, the same number, where its error counts e times.
#[inline(always)]
pub fn sigmoid<L: Lanes>(x: L) -> L {
    let one = L::splat(L::Elem::ONE);
    let e = exp_bounded(x.abs().neg());
    let numerator = L::select(x.lt(L::zero()), e, one);
    e.neg().fma(numerator.div(one.add(e)), numerator)
}

/// tanh x = (1 − e) / (1 + e) with e = e^(−2|x|) = 2ⁿ + 2ⁿ·p; both sides are one FMA, so that 1 − e does not cancel.
#[inline(always)]
pub fn tanh<L: Lanes>(x: L) -> L {
    let two = L::splat(L::Elem::from_f64(2.0));
    // Past 20 the result is 1 in both precisions; the bound keeps 2ⁿ normal. The operand order lets a NaN through.
    let bounded = L::splat(L::Elem::from_f64(20.0)).min(x.abs());
    let (n, p) = reduce(bounded.mul(two).neg());
    let scale = n.pow2();
    let one = L::splat(L::Elem::ONE);
    let numerator = scale.neg().fma(p, one.sub(scale));
    let denominator = scale.fma(p, one.add(scale));
    numerator.div(denominator).copysign(x)
}

/// erf x: an odd polynomial near zero, 1 − exp(g(x)) outside, with g(x) = log(erfc(x)).
#[inline(always)]
pub fn erf<L: Lanes>(x: L) -> L {
    let a = x.abs();
    let near = x.fma(x.mul(x).polynomial(L::Elem::ERF), x);
    let bounded = L::splat(L::Elem::ERFC_END).min(a);
    let edge = L::splat(L::Elem::ERF_EDGE);
    let exponent = if L::Elem::ERFC_OF_X {
        bounded.polynomial(L::Elem::ERFC)
    } else {
        let u = bounded.sub(edge).div(bounded.add(L::splat(L::Elem::from_f64(5.0))));
        bounded.neg().fma(bounded, u.polynomial(L::Elem::ERFC))
    };
    let far = L::splat(L::Elem::ONE).sub(exp_nonpositive(exponent)).copysign(x);
    L::select(a.lt(edge), near, far)
}

/// Φ(x), the normal distribution. In f32 ½ + x·P(x²)/Q(x²): erf's two branches, of which every lane throws one away, would take twice the work
/// for an accuracy near zero that the ½ hides.
#[inline(always)]
pub fn phi<L: Lanes>(x: L) -> L {
    let half = L::splat(L::Elem::from_f64(0.5));
    let Some(Ratio { over, under, end }) = L::Elem::PHI else {
        return half.fma(erf(x.mul(L::splat(L::Elem::from_f64(std::f64::consts::FRAC_1_SQRT_2)))), half);
    };
    // The operand order of min lets a NaN through.
    let a = L::splat(end).min(x.abs());
    let z = a.mul(a);
    let tail = a.mul(estrin(z, over)).div(estrin(z, under));
    half.min(tail).copysign(x).add(half)
}

/// A polynomial of degree five by Estrin's scheme: fewer roundings one after the other than Horner's, and less to wait for.
#[inline(always)]
fn estrin<L: Lanes>(z: L, [c5, c4, c3, c2, c1, c0]: [L::Elem; 6]) -> L {
    let (low, middle, high) = (line(z, c1, c0), line(z, c3, c2), line(z, c5, c4));
    let square = z.mul(z);
    square.fma(square.fma(high, middle), low)
}

/// a·z + b
#[inline(always)]
fn line<L: Lanes>(z: L, a: L::Elem, b: L::Elem) -> L {
    z.fma(L::splat(a), L::splat(b))
}
