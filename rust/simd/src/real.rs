//! f32 and f64: what a generic kernel must know of its numbers. The polynomials come from `tools/fit_polynomials.py`.

// The constants are printed as the fit gave them.
#![allow(clippy::excessive_precision, clippy::approx_constant)]

use crate::{Isa, Lanes};
use std::fmt::{Debug, Display};
use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub};

/// Φ(x) = ½ + x·over(z) / under(z) in z = x² up to `end`, from where it is 0 or 1; coefficients highest first. All are positive, so nothing
/// cancels; both polynomials carry a factor that was chosen for the least rounding of the coefficients.
#[derive(Clone, Copy)]
pub struct Ratio<T> {
    /// The numerator.
    pub over: [T; 6],
    /// The denominator.
    pub under: [T; 6],
    /// The x where the ratio reaches ½.
    pub end: T,
}

/// A floating-point number that kernels compute with.
pub trait Real:
    Copy
    + Send
    + Sync
    + Default
    + Debug
    + Display
    + PartialEq
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + 'static
{
    /// The vector of this number on an instruction set.
    type On<I: Isa>: Lanes<Elem = Self, Vector = Self::On<I>>;
    /// Lanes of a vector of this number, on every instruction set.
    const WIDTH: usize;
    /// 0
    const ZERO: Self;
    /// 1
    const ONE: Self;
    /// 1.5 · 2^(mantissa bits): adding it rounds to a whole number.
    const ROUND_MAGIC: Self;
    /// -∞
    const NEG_INFINITY: Self;
    /// log₂ e
    const LOG2E: Self;
    /// ln 2, high part with trailing zeros, so that n · LN2_HI is exact for the n that occur.
    const LN2_HI: Self;
    /// ln 2 − LN2_HI
    const LN2_LO: Self;
    /// Above this, exp is infinite.
    const EXP_MAX: Self;
    /// Below this, exp is zero.
    const EXP_MIN: Self;
    /// Below this, softmax takes exp for zero: the last argument whose power of two is a normal number.
    const EXP_FLUSH: Self;
    /// (eʳ − 1 − r) / r² on |r| ≤ ln 2 / 2.
    const EXP: &'static [Self];
    /// The smallest normal number.
    const MIN_NORMAL: Self;
    /// A power of two that makes subnormal numbers normal, and its exponent.
    const NORMALIZE: (Self, Self);
    /// (log((1+s)/(1−s)) − 2s) / s³ in z = s².
    const LOG: &'static [Self];
    /// Where erf changes from the odd polynomial to 1 − erfc.
    const ERF_EDGE: Self;
    /// erf(x)/x − 1 in z = x², below the edge.
    const ERF: &'static [Self];
    /// Above the edge: log(erfc(x)) in x, or log(erfc(x)) + x² in u = (x − edge) / (x + 5).
    const ERFC: &'static [Self];
    /// Whether it is the former: enough for f32, and without a division.
    const ERFC_OF_X: bool;
    /// The x from which erf is 1.
    const ERFC_END: Self;
    /// The normal distribution by a ratio, where that is exact enough; else it takes erf.
    const PHI: Option<Ratio<Self>>;

    /// Rounds a constant.
    fn from_f64(x: f64) -> Self;
    /// Exact.
    fn to_f64(self) -> f64;
    /// `self * b + c`, rounded once.
    fn mul_add(self, b: Self, c: Self) -> Self;
    /// Correctly rounded.
    fn sqrt(self) -> Self;
}

impl Real for f32 {
    type On<I: Isa> = I::F32;
    const WIDTH: usize = 16;
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const ROUND_MAGIC: Self = 12_582_912.0;
    const NEG_INFINITY: Self = f32::NEG_INFINITY;
    const LOG2E: Self = std::f32::consts::LOG2_E;
    const LN2_HI: Self = 0.693_359_4;
    const LN2_LO: Self = -0.000_212_194_44;
    const EXP_MAX: Self = 89.0;
    const EXP_MIN: Self = -104.5;
    const EXP_FLUSH: Self = -87.3;
    const EXP: &'static [f32] =
        &[0.00019891980628017336, 0.0013934541493654251, 0.00833331048488617, 0.04166645556688309, 0.1666666716337204, 0.5];
    const MIN_NORMAL: Self = f32::MIN_POSITIVE;
    const NORMALIZE: (f32, f32) = (33_554_432.0, 25.0);
    const LOG: &'static [f32] = &[0.233_534_28, 0.285_499_7, 0.400_001_3, 0.666_666_7];
    const ERF_EDGE: Self = 0.921_875;
    const ERF: &'static [f32] =
        &[8.387_591e-5, -0.000_814_720_23, 0.005_201_467, -0.026_859_593, 0.112_836_994, -0.376_126_35, 0.128_379_17];
    const ERFC: &'static [f32] = &[
        -1.970_214_5e-5,
        0.000_417_480_36,
        -0.004_085_28,
        0.024_886_165,
        -0.107_910_59,
        -0.633_688_5,
        -1.129_344,
        0.000_138_915_33,
    ];
    const ERFC_OF_X: bool = true;
    const ERFC_END: Self = 4.0;
    const PHI: Option<Ratio<f32>> = Some(Ratio {
        over: [
            2.506562246651356e-08,
            6.96598044669372e-06,
            0.0001841448829509318,
            0.005159301683306694,
            0.037246279418468475,
            0.44147005677223206,
        ],
        under: [
            1.3172655144444434e-06,
            8.039917884161696e-05,
            0.0020705407951027155,
            0.03156756982207298,
            0.27779582142829895,
            1.106601357460022,
        ],
        end: 5.5437,
    });

    #[inline(always)]
    fn from_f64(x: f64) -> Self {
        x as f32
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self.into()
    }
    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        f32::mul_add(self, b, c)
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        f32::sqrt(self)
    }
}

impl Real for f64 {
    type On<I: Isa> = I::F64;
    const WIDTH: usize = 8;
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const ROUND_MAGIC: Self = 6_755_399_441_055_744.0;
    const NEG_INFINITY: Self = f64::NEG_INFINITY;
    const LOG2E: Self = std::f64::consts::LOG2_E;
    const LN2_HI: Self = 0.693_147_180_369_123_816_490;
    const LN2_LO: Self = 1.908_214_929_270_587_700_02e-10;
    const EXP_MAX: Self = 710.0;
    const EXP_MIN: Self = -746.0;
    const EXP_FLUSH: Self = -708.3;
    const EXP: &'static [f64] = &[
        2.0915442297780116e-09,
        2.5106274733573296e-08,
        2.75572718102198e-07,
        2.755725283351691e-06,
        2.4801587327007187e-05,
        0.00019841269876864356,
        0.0013888888888883327,
        0.008333333333325544,
        0.04166666666666667,
        0.1666666666666667,
        0.5,
    ];
    const MIN_NORMAL: Self = f64::MIN_POSITIVE;
    const NORMALIZE: (f64, f64) = (18_014_398_509_481_984.0, 54.0);
    const LOG: &'static [f64] = &[
        0.131_148_348_695_975,
        0.132_660_488_122_030_02,
        0.153_863_424_496_451_43,
        0.181_817_937_321_117_53,
        0.222_222_224_097_501_14,
        0.285_714_285_707_232_5,
        0.400_000_000_000_010_07,
        0.666_666_666_666_666_6,
    ];
    const ERF_EDGE: Self = 1.0;
    const ERF: &'static [f64] = &[
        -4.230_945_824_295_338e-12,
        8.709_045_129_053_106e-11,
        -1.216_456_005_728_345e-9,
        1.479_240_120_940_481_3e-8,
        -1.636_464_215_816_761_6e-7,
        1.646_204_544_146_841_8e-6,
        -1.492_564_756_751_933_2e-5,
        0.000_120_553_329_028_887_36,
        -0.000_854_832_702_193_483,
        0.005_223_977_625_423_298_5,
        -0.026_866_170_645_129_84,
        0.112_837_916_709_551_2,
        -0.376_126_389_031_837_54,
        0.128_379_167_095_512_6,
    ];
    const ERFC: &'static [f64] = &[
        -8.009078621807586,
        26.860735620622442,
        -44.58074390098248,
        45.9389984597627,
        -31.119551362412434,
        11.482713081145448,
        0.5406259322980326,
        -2.663934209832434,
        -0.7367659086948847,
        2.444896390298814,
        -1.4408402119613197,
        -1.1548222084816193,
        1.5307374647120315,
        -0.8171423220789029,
        -1.514724725761268,
        1.8143336857337913,
        -3.8338050854089505,
        -0.8496055099332481,
    ];
    const ERFC_OF_X: bool = false;
    const ERFC_END: Self = 6.0;
    const PHI: Option<Ratio<f64>> = None;

    #[inline(always)]
    fn from_f64(x: f64) -> Self {
        x
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }
    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        f64::mul_add(self, b, c)
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        f64::sqrt(self)
    }
}
