//! Functions of single numbers: exp, log, erf, and the loop that every such function runs in.
//!
//! What is exactly rounded (+ − × ÷ √, comparisons) NumPy does on the tape (rule R6); here is the rest.

use crate::error::check_length;
use crate::parallel::{self, Shared};
use crate::{Real, Result};
use weft_simd::{AHEAD, Isa, Kernel, Lanes, dispatch, maths, streams_are_asked_for};

/// A function of `N` numbers, written on lanes.
pub(crate) trait Map<const N: usize>: Sync {
    /// Mark implementations `#[inline(always)]`.
    fn apply<L: Lanes>(&self, x: [L; N]) -> L;
}

/// `output[i] = map(inputs[0][i], …)`. `weight` says how many memory passes the function's arithmetic is worth.
pub(crate) fn map<T: Real, M: Map<N>, const N: usize>(
    room: &'static str,
    f: &M,
    inputs: [&[T]; N],
    output: &mut [T],
    weight: usize,
) -> Result<()> {
    for input in inputs {
        check_length(room, "input", input.len(), output.len())?;
    }
    let shared = Shared(output.as_mut_ptr());
    let bytes = size_of_val(output) * (N + 1) * weight;
    parallel::over_ranges(output.len(), bytes, |range| {
        // SAFETY: the lengths are equal, and ranges of different threads disjoint.
        unsafe {
            let output = shared.slice(range.clone());
            map_raw(f, inputs.map(|x| x[range.clone()].as_ptr()), output.as_mut_ptr(), output.len());
        }
    });
    Ok(())
}

struct Raw<'a, T, M, const N: usize> {
    map: &'a M,
    inputs: [*const T; N],
    output: *mut T,
    len: usize,
}

impl<T: Real, M: Map<N>, const N: usize> Kernel for Raw<'_, T, M, N> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let (mut i, ask) = (0, streams_are_asked_for());
        while i + <T::On<I> as Lanes>::Step::WIDTH <= self.len {
            if ask {
                for input in &self.inputs {
                    <T::On<I> as Lanes>::Step::ask(input.wrapping_add(i + AHEAD * T::WIDTH));
                }
                <T::On<I> as Lanes>::Step::ask(self.output.wrapping_add(i + AHEAD * T::WIDTH));
            }
            self.step::<<T::On<I> as Lanes>::Step>(i, <T::On<I> as Lanes>::Step::WIDTH);
            i += <T::On<I> as Lanes>::Step::WIDTH;
        }
        while i + T::WIDTH <= self.len {
            self.step::<T::On<I>>(i, T::WIDTH);
            i += T::WIDTH;
        }
        if i < self.len {
            self.step::<T::On<I>>(i, self.len - i);
        }
    }
}

impl<T: Real, M: Map<N>, const N: usize> Raw<'_, T, M, N> {
    /// The `n` numbers from the i-th on.
    #[inline(always)]
    fn step<L: Lanes<Elem = T>>(&self, i: usize, n: usize) {
        let mut x = [L::zero(); N];
        // SAFETY: the caller of `map_raw` promises `len` numbers behind every pointer, and i + n is at most that.
        unsafe {
            for (value, input) in x.iter_mut().zip(&self.inputs) {
                *value = L::load_first(input.add(i), n);
            }
            self.map.apply(x).store_first(self.output.add(i), n);
        }
    }
}

/// `output[i] = map(inputs[0][i], …)` on this thread.
///
/// # Safety
/// Every input has `len` numbers to read, the output to write; the output may be one of the inputs.
pub(crate) unsafe fn map_raw<T: Real, M: Map<N>, const N: usize>(f: &M, inputs: [*const T; N], output: *mut T, len: usize) {
    dispatch(Raw { map: f, inputs, output, len });
}

/// `x[i] = map(x[i])` on this thread.
pub(crate) fn map_in_place<T: Real, M: Map<1>>(f: &M, x: &mut [T]) {
    let (p, len) = (x.as_mut_ptr(), x.len());
    // SAFETY: one slice, read and written number by number.
    unsafe { map_raw(f, [p.cast_const()], p, len) }
}

/// Functions of one number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unary {
    /// eˣ
    Exp,
    /// The natural logarithm.
    Log,
    /// The error function.
    Erf,
}

macro_rules! unary {
    ($name:ident, $x:ident => $body:expr) => {
        struct $name;
        impl Map<1> for $name {
            #[inline(always)]
            fn apply<L: Lanes>(&self, [$x]: [L; 1]) -> L {
                $body
            }
        }
    };
}

unary!(Exp, x => maths::exp(x));
unary!(Log, x => maths::log(x));
unary!(Erf, x => maths::erf(x));

/// `y[i] = f(x[i])`. Buffers: x is read, y of the same length written.
pub fn unary<T: Real>(f: Unary, x: &[T], y: &mut [T]) -> Result<()> {
    match f {
        Unary::Exp => map("exp", &Exp, [x], y, 3),
        Unary::Log => map("log", &Log, [x], y, 4),
        Unary::Erf => map("erf", &Erf, [x], y, 6),
    }
}
