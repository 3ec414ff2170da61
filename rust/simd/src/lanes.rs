//! The two traits that kernels are written on.

use crate::Real;

/// How many vectors a long pass asks ahead for what it will write: 2 KiB.
pub const AHEAD: usize = 32;

/// A vector of 16 f32 or 8 f64: one zmm on AVX-512, two ymm on AVX2, an array on the portable path.
///
/// Comparisons and `min`/`max` treat NaN alike everywhere: `a.min(b)` is `if a < b { a } else { b }`, so the second operand
/// comes back when either is NaN.
///
/// Soundness: the vector types of an instruction set may only be used inside [`crate::dispatch`], which has made sure that
/// the machine has it. All methods are inlined into that call.
pub trait Lanes: Copy + Send + Sync + 'static {
    /// The number in a lane.
    type Elem: Real;
    /// One truth value a lane.
    type Mask: Copy;
    /// The vector itself, or one of those that go in step in a [`crate::Pair`].
    type Vector: Lanes<Elem = Self::Elem>;
    /// As many vectors as it pays to put in step: four on a machine, one on the portable path.
    type Step: Lanes<Elem = Self::Elem, Vector = Self::Vector>;
    /// How many lanes: 16 for f32, 8 for f64, as many for each vector of a [`crate::Pair`].
    const WIDTH: usize;
    /// How many vectors go in step: 1, but for a [`crate::Pair`].
    const VECTORS: usize = 1;
    /// A side of the squares that [`Lanes::turn`] turns over.
    const SIDE: usize = Self::WIDTH / 2;

    /// The same number in every lane.
    fn splat(x: Self::Elem) -> Self;
    /// Zero in every lane.
    #[inline(always)]
    fn zero() -> Self {
        Self::splat(Self::Elem::ZERO)
    }
    /// Hints that the vector at `p`, a line of the cache, will be wanted soon; any address is allowed. What a long pass writes is worth it too:
    /// a store waits until its line is there, and only so many stores can wait ([`crate::AHEAD`]).
    fn ask(p: *const Self::Elem);
    /// Reads `WIDTH` numbers; no alignment is asked for.
    ///
    /// # Safety
    /// `p` is valid for reads of `WIDTH` numbers.
    unsafe fn load(p: *const Self::Elem) -> Self;
    /// Writes `WIDTH` numbers; no alignment is asked for.
    ///
    /// # Safety
    /// `p` is valid for writes of `WIDTH` numbers.
    unsafe fn store(self, p: *mut Self::Elem);
    /// Reads the first `n` lanes, the others are zero; memory behind `n` is not touched.
    ///
    /// # Safety
    /// `p` is valid for reads of `n <= WIDTH` numbers.
    unsafe fn load_first(p: *const Self::Elem, n: usize) -> Self;
    /// Writes the first `n` lanes; memory behind `n` is not touched.
    ///
    /// # Safety
    /// `p` is valid for writes of `n <= WIDTH` numbers.
    unsafe fn store_first(self, p: *mut Self::Elem, n: usize);

    /// The same vector, as often as there are vectors in step.
    fn all(x: Self::Vector) -> Self;
    /// `sum` and this vector, or those in step one after the other.
    fn add_to(self, sum: Self::Vector) -> Self::Vector;
    /// The largest lane by lane of the vectors in step.
    fn largest(self) -> Self::Vector;
    /// `self * b + sum`, for vectors in step one after the other.
    fn fma_to(self, b: Self, sum: Self::Vector) -> Self::Vector;

    /// [`Lanes::ask`] for vectors in rows of their own.
    #[inline(always)]
    fn ask_rows(p: *const Self::Elem, _stride: usize) {
        Self::ask(p);
    }
    /// Reads the first `n` lanes of each vector from a row of its own, `stride` numbers behind the one before.
    ///
    /// # Safety
    /// `VECTORS` rows are valid for reads of `n` numbers; `n` is at most a vector's lanes.
    #[inline(always)]
    unsafe fn load_rows(p: *const Self::Elem, _stride: usize, n: usize) -> Self {
        // SAFETY: the caller promises n numbers.
        unsafe { Self::load_first(p, n) }
    }
    /// Writes the first `n` lanes of each vector to a row of its own.
    ///
    /// # Safety
    /// `VECTORS` rows are valid for writes of `n` numbers; `n` is at most a vector's lanes.
    #[inline(always)]
    unsafe fn store_rows(self, p: *mut Self::Elem, _stride: usize, n: usize) {
        // SAFETY: the caller promises n numbers.
        unsafe { self.store_first(p, n) }
    }
    /// The sum of each vector's lanes, by the fold of [`Lanes::fold_add`].
    ///
    /// # Safety
    /// `to` is valid for writes of `VECTORS` numbers.
    #[inline(always)]
    unsafe fn fold_add_rows(self, to: *mut Self::Elem) {
        // SAFETY: the caller promises one number.
        unsafe { *to = self.fold_add() }
    }
    /// A number for each vector, in all its lanes.
    ///
    /// # Safety
    /// `p` is valid for reads of `VECTORS` numbers.
    #[inline(always)]
    unsafe fn splat_rows(p: *const Self::Elem) -> Self {
        // SAFETY: the caller promises one number.
        unsafe { Self::splat(*p) }
    }

    /// Turns a square of `SIDE` rows over: `to(j)[i] = from(i)[j]`. Numbers only move.
    ///
    /// # Safety
    /// `from(0..SIDE)` are valid for reads of `SIDE` numbers, `to(0..SIDE)` for writes, and no row is in both.
    #[inline(always)]
    unsafe fn turn(from: impl Fn(usize) -> *const Self::Elem, to: impl Fn(usize) -> *mut Self::Elem) {
        for i in 0..Self::SIDE {
            for j in 0..Self::SIDE {
                // SAFETY: the caller's.
                unsafe { *to(j).add(i) = *from(i).add(j) };
            }
        }
    }

    /// `self + b`
    fn add(self, b: Self) -> Self;
    /// `self - b`
    fn sub(self, b: Self) -> Self;
    /// `self * b`
    fn mul(self, b: Self) -> Self;
    /// `self / b`
    fn div(self, b: Self) -> Self;
    /// `self * b + c`, rounded once.
    fn fma(self, b: Self, c: Self) -> Self;
    /// `if self < b { self } else { b }`
    fn min(self, b: Self) -> Self;
    /// `if self > b { self } else { b }`
    fn max(self, b: Self) -> Self;
    /// The correctly rounded square root.
    fn sqrt(self) -> Self;
    /// Clears the sign.
    fn abs(self) -> Self;
    /// Turns the sign, of zeros too.
    fn neg(self) -> Self;
    /// The magnitude of `self` with the sign of `sign`.
    fn copysign(self, sign: Self) -> Self;

    /// `self < b`, false where either is NaN.
    fn lt(self, b: Self) -> Self::Mask;
    /// `self == b`, false where either is NaN.
    fn eq(self, b: Self) -> Self::Mask;
    /// `if mask { a } else { b }`, lane by lane.
    fn select(mask: Self::Mask, a: Self, b: Self) -> Self;

    /// 2ⁿ for whole `n` in the range of normal exponents.
    fn pow2(self) -> Self;
    /// `self · 2ⁿ` for such n, rounded once.
    #[inline(always)]
    fn scale(self, n: Self) -> Self {
        self.mul(n.pow2())
    }
    /// The same for whole n that may go beyond them, as exp needs it; `self` is in [½, 2].
    #[inline(always)]
    fn scale_far(self, n: Self) -> Self {
        // In two halves: each is a normal number, and only the last product rounds.
        let half = n.mul(Self::splat(Self::Elem::from_f64(0.5))).round();
        let rest = n.sub(half);
        self.mul(half.pow2()).mul(rest.pow2())
    }
    /// For positive normal numbers: mantissa in [1, 2) and exponent, so that `self = mantissa · 2^exponent`.
    fn split_exponent(self) -> (Self, Self);

    /// Nearest whole number, ties to even; for magnitudes below 2^22 (f32) or 2^51 (f64). Adding and taking away a number whose last
    /// mantissa bit is worth one rounds correctly on every instruction set.
    #[inline(always)]
    fn round(self) -> Self {
        let magic = Self::splat(Self::Elem::ROUND_MAGIC);
        self.add(magic).sub(magic)
    }

    /// `a·x² + …` by Horner: coefficients from the highest power to the lowest.
    #[inline(always)]
    fn polynomial(self, coefficients: &'static [Self::Elem]) -> Self {
        let mut p = Self::splat(coefficients[0]);
        let mut i = 1;
        while i < coefficients.len() {
            p = p.fma(self, Self::splat(coefficients[i]));
            i += 1;
        }
        p
    }

    /// Sum of the lanes by one fixed fold: halves are added until one lane is left (rule R4).
    #[inline(always)]
    fn fold_add(self) -> Self::Elem {
        self.fold(|a, b| a + b)
    }

    /// Maximum of the lanes by the same fold.
    #[inline(always)]
    fn fold_max(self) -> Self::Elem {
        self.fold(|a, b| if a > b { a } else { b })
    }

    /// Folds halves onto each other with `f` until one lane is left.
    #[inline(always)]
    fn fold(self, f: impl Fn(Self::Elem, Self::Elem) -> Self::Elem) -> Self::Elem {
        let mut lanes = [Self::Elem::ZERO; 16];
        // SAFETY: WIDTH <= 16, the length of the array.
        unsafe { self.store(lanes.as_mut_ptr()) };
        let mut half = Self::WIDTH / 2;
        while half > 0 {
            for i in 0..half {
                lanes[i] = f(lanes[i], lanes[i + half]);
            }
            half /= 2;
        }
        lanes[0]
    }
}

/// An instruction set: its two vector types and the register tile that fits it.
pub trait Isa: Copy + Send + Sync + 'static {
    /// The f32 vector.
    type F32: Lanes<Elem = f32, Vector = Self::F32>;
    /// The f64 vector.
    type F64: Lanes<Elem = f64, Vector = Self::F64>;
    /// The name that `WEFT_ISA` uses.
    const NAME: &'static str;
    /// How many vectors wide a product's register tile may be.
    const TILE_VECTORS: usize;
    /// How many rows a register tile of 1, 2, 3 or 4 vectors holds.
    const TILE_ROWS: [usize; 4];

    /// Hints that the line at `p` will be read soon. Any address is allowed.
    fn prefetch<T>(p: *const T);
    /// The same, into the second-level cache only.
    fn prefetch_second<T>(p: *const T);
}
