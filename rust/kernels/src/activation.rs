//! Nonlinearities between layers, forward and backward; softmax and log-softmax over rows.

use crate::elementwise::{Map, map, map_in_place};
use crate::error::check_length;
use crate::parallel::{self, Shared};
use crate::{Real, Result};
use weft_simd::{AHEAD, Isa, Kernel, Lanes, dispatch, maths};

/// An activation of single numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// tanh x
    Tanh,
    /// 1 / (1 + e⁻ˣ)
    Sigmoid,
    /// max(x, 0)
    Relu,
    /// x·Φ(x) with the exact normal distribution (Hendrycks & Gimpel 2016)
    Gelu,
    /// Its tanh approximation: ½x(1 + tanh(√(2/π)(x + 0.044715x³)))
    GeluTanh,
}

macro_rules! activation {
    ($forward:ident, $backward:ident, $x:ident => $y:expr, ($s:ident, $g:ident) => $dx:expr) => {
        struct $forward;
        impl Map<1> for $forward {
            #[inline(always)]
            fn apply<L: Lanes>(&self, [$x]: [L; 1]) -> L {
                $y
            }
        }
        /// From what was saved (the output, for GELU the input) and the output's gradient.
        struct $backward;
        impl Map<2> for $backward {
            #[inline(always)]
            fn apply<L: Lanes>(&self, [$s, $g]: [L; 2]) -> L {
                $dx
            }
        }
    };
}

#[inline(always)]
fn number<L: Lanes>(x: f64) -> L {
    L::splat(L::Elem::from_f64(x))
}

/// √(2/π)·(x + 0.044715x³)
#[inline(always)]
fn gelu_inner<L: Lanes>(x: L) -> L {
    let x2 = x.mul(x);
    x.mul(x2.fma(number(0.044_715 * 0.797_884_560_802_865_4), number(0.797_884_560_802_865_4)))
}

activation!(Tanh, TanhBackward, x => maths::tanh(x), (y, g) => g.mul(y.neg().fma(y, L::splat(L::Elem::ONE))));
activation!(Sigmoid, SigmoidBackward, x => maths::sigmoid(x), (y, g) => g.mul(y).mul(L::splat(L::Elem::ONE).sub(y)));
// The operand order lets a NaN through.
activation!(Relu, ReluBackward, x => L::zero().max(x), (y, g) => L::select(L::zero().lt(y), g, L::zero()));
activation!(Gelu, GeluBackward, x => x.mul(maths::phi(x)), (x, g) => {
    // Φ(x) + x·φ(x), φ(x) = e^(−x²/2) / √(2π)
    let density = maths::exp(x.mul(x).mul(number(-0.5))).mul(number(0.398_942_280_401_432_7));
    g.mul(x.fma(density, maths::phi(x)))
});
activation!(GeluTanh, GeluTanhBackward, x => {
    let half = number::<L>(0.5);
    x.mul(half.fma(maths::tanh(gelu_inner(x)), half))
}, (x, g) => {
    let (half, one) = (number::<L>(0.5), L::splat(L::Elem::ONE));
    let t = maths::tanh(gelu_inner(x));
    let slope = x.mul(x).fma(number(3.0 * 0.044_715 * 0.797_884_560_802_865_4), number(0.797_884_560_802_865_4));
    let inner = half.mul(x).mul(t.neg().fma(t, one)).mul(slope);
    g.mul(half.fma(t, half).add(inner))
});

/// `y[i] = f(x[i])`. Buffers: x read, y written, same length.
pub fn forward<T: Real>(f: Activation, x: &[T], y: &mut [T]) -> Result<()> {
    match f {
        Activation::Tanh => map("tanh", &Tanh, [x], y, 4),
        Activation::Sigmoid => map("sigmoid", &Sigmoid, [x], y, 4),
        Activation::Relu => map("relu", &Relu, [x], y, 1),
        Activation::Gelu => map("gelu", &Gelu, [x], y, 6),
        Activation::GeluTanh => map("gelu", &GeluTanh, [x], y, 5),
    }
}

/// `x[i] = f(x[i])` on this thread.
pub(crate) fn in_place<T: Real>(f: Activation, x: &mut [T]) {
    match f {
        Activation::Tanh => map_in_place(&Tanh, x),
        Activation::Sigmoid => map_in_place(&Sigmoid, x),
        Activation::Relu => map_in_place(&Relu, x),
        Activation::Gelu => map_in_place(&Gelu, x),
        Activation::GeluTanh => map_in_place(&GeluTanh, x),
    }
}

/// `dx[i] = f'(·)·dy[i]`. `saved` is the output for tanh, sigmoid and ReLU, the input for GELU.
pub fn backward<T: Real>(f: Activation, saved: &[T], dy: &[T], dx: &mut [T]) -> Result<()> {
    match f {
        Activation::Tanh => map("tanh", &TanhBackward, [saved, dy], dx, 1),
        Activation::Sigmoid => map("sigmoid", &SigmoidBackward, [saved, dy], dx, 1),
        Activation::Relu => map("relu", &ReluBackward, [saved, dy], dx, 1),
        Activation::Gelu => map("gelu", &GeluBackward, [saved, dy], dx, 6),
        Activation::GeluTanh => map("gelu", &GeluTanhBackward, [saved, dy], dx, 5),
    }
}

/// Largest element of a row, −∞ for an empty one; of a row with a NaN any number or NaN.
#[inline(always)]
pub(crate) unsafe fn row_max<L: Lanes<Vector = L>>(x: *const L::Elem, n: usize) -> L::Elem {
    let mut several = L::Step::splat(L::Elem::NEG_INFINITY);
    let mut i = 0;
    // SAFETY: the caller promises n readable elements.
    unsafe {
        while i + L::Step::WIDTH <= n {
            several = several.max(L::Step::load(x.add(i)));
            i += L::Step::WIDTH;
        }
        let mut best = several.largest();
        while i + L::WIDTH <= n {
            best = best.max(L::load(x.add(i)));
            i += L::WIDTH;
        }
        let mut largest = best.fold_max();
        while i < n {
            let value = *x.add(i);
            largest = if largest > value { largest } else { value };
            i += 1;
        }
        largest
    }
}

/// Sum of `f(i-th vector, how many lanes count)` over a row: one accumulator of virtual lanes, one fold (rule R4).
#[inline(always)]
pub(crate) fn row_sum<L: Lanes>(n: usize, mut f: impl FnMut(usize, usize) -> L) -> L::Elem {
    let mut sum = L::zero();
    let mut i = 0;
    while i < n {
        let count = L::WIDTH.min(n - i);
        sum = sum.add(f(i, count));
        i += count;
    }
    sum.fold_add()
}

/// y = e^(x − shift) for one row of `n`, and its sum lane by lane as [`row_sum`] forms it. Loops that hold an exponential are written out: a
/// closure of that size is not inlined, and outside of the function that has the instruction set every vector operation is a call.
///
/// With `ASK` the lines of x and y that come 2 KiB later are asked for: where rows come from far and go far.
///
/// # Safety
/// `n` readable and writable elements; y may be x.
#[inline(always)]
pub(crate) unsafe fn exp_lanes<L: Lanes<Vector = L>, const ASK: bool>(
    x: *const L::Elem,
    y: *mut L::Elem,
    n: usize,
    shift: L,
) -> L {
    // SAFETY: the caller promises n elements.
    unsafe {
        let mut sum = L::zero();
        let mut i = 0;
        while i + L::Step::WIDTH <= n {
            if ASK {
                L::Step::ask(x.wrapping_add(i + AHEAD * L::WIDTH));
                L::Step::ask(y.wrapping_add(i + AHEAD * L::WIDTH));
            }
            let e = maths::exp_nonpositive(L::Step::load(x.add(i)).sub(L::Step::all(shift)));
            e.store(y.add(i));
            sum = e.add_to(sum);
            i += L::Step::WIDTH;
        }
        while i + L::WIDTH <= n {
            let e = maths::exp_nonpositive(L::load(x.add(i)).sub(shift));
            e.store(y.add(i));
            sum = sum.add(e);
            i += L::WIDTH;
        }
        if i < n {
            maths::exp_nonpositive(L::load_first(x.add(i), n - i).sub(shift)).store_first(y.add(i), n - i);
            // Lanes behind the end hold exp(0 − max): what was stored is read back with zeros there.
            sum = sum.add(L::load_first(y.add(i), n - i));
        }
        sum
    }
}

/// [`exp_lanes`], and the sum of its lanes.
///
/// # Safety
/// As there.
#[inline(always)]
pub(crate) unsafe fn exp_row<L: Lanes<Vector = L>>(x: *const L::Elem, y: *mut L::Elem, n: usize, shift: L) -> L::Elem {
    // SAFETY: passed on to the caller.
    unsafe { exp_lanes::<L, true>(x, y, n, shift).fold_add() }
}

/// In place: y = softmax(x) for one row of `n`; an empty row or one of −∞ alone becomes zeros.
#[inline(always)]
pub(crate) unsafe fn softmax_row<L: Lanes<Vector = L>>(x: *const L::Elem, y: *mut L::Elem, n: usize) {
    // SAFETY: the caller promises n readable and writable elements.
    unsafe {
        let largest = row_max::<L>(x, n);
        if largest == L::Elem::NEG_INFINITY {
            std::slice::from_raw_parts_mut(y, n).fill(L::Elem::ZERO);
            return;
        }
        let shift = L::splat(largest);
        let total = exp_row::<L>(x, y, n, shift);
        let scale = L::splat(L::Elem::ONE / total);
        let mut i = 0;
        while i + L::Step::WIDTH <= n {
            L::Step::load(y.add(i)).mul(L::Step::all(scale)).store(y.add(i));
            i += L::Step::WIDTH;
        }
        while i < n {
            let count = L::WIDTH.min(n - i);
            L::load_first(y.add(i), count).mul(scale).store_first(y.add(i), count);
            i += count;
        }
    }
}

/// log Σ e^x of one row.
#[inline(always)]
pub(crate) unsafe fn log_sum_exp<L: Lanes<Vector = L>>(x: *const L::Elem, n: usize) -> L::Elem {
    // SAFETY: the caller promises n readable elements.
    unsafe {
        let largest = row_max::<L>(x, n);
        if largest == L::Elem::NEG_INFINITY {
            return largest;
        }
        let shift = L::splat(largest);
        let mut sum = L::zero();
        let mut i = 0;
        while i + L::Step::WIDTH <= n {
            L::Step::ask(x.wrapping_add(i + AHEAD * L::WIDTH));
            sum = maths::exp_nonpositive(L::Step::load(x.add(i)).sub(L::Step::all(shift))).add_to(sum);
            i += L::Step::WIDTH;
        }
        while i + L::WIDTH <= n {
            sum = sum.add(maths::exp_nonpositive(L::load(x.add(i)).sub(shift)));
            i += L::WIDTH;
        }
        if i < n {
            let mut tail = [L::Elem::ZERO; 16];
            maths::exp_nonpositive(L::load_first(x.add(i), n - i).sub(shift)).store_first(tail.as_mut_ptr(), n - i);
            sum = sum.add(L::load_first(tail.as_ptr(), n - i));
        }
        let total = sum.fold_add();
        let log = maths::log(L::splat(total)).fold_max();
        largest + log
    }
}

#[derive(Clone, Copy)]
enum Form {
    Softmax,
    LogSoftmax,
}

struct Rows<'a, T> {
    form: Form,
    backward: bool,
    cols: usize,
    /// x forward, y backward
    a: &'a [T],
    /// dy backward
    b: &'a [T],
    out: &'a mut [T],
}

impl<T: Real> Kernel for Rows<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let n = self.cols;
        for row in 0..self.out.len() / n {
            // SAFETY: all slices hold whole rows of n elements.
            unsafe {
                let a = self.a.as_ptr().add(row * n);
                let out = self.out.as_mut_ptr().add(row * n);
                if !self.backward {
                    match self.form {
                        Form::Softmax => softmax_row::<T::On<I>>(a, out, n),
                        Form::LogSoftmax => {
                            let shift = <T::On<I>>::splat(log_sum_exp::<T::On<I>>(a, n));
                            let mut i = 0;
                            while i < n {
                                let c = T::WIDTH.min(n - i);
                                <T::On<I>>::ask(out.wrapping_add(i + AHEAD * T::WIDTH));
                                <T::On<I>>::load_first(a.add(i), c).sub(shift).store_first(out.add(i), c);
                                i += c;
                            }
                        }
                    }
                    continue;
                }
                let b = self.b.as_ptr().add(row * n);
                match self.form {
                    // dx = y·(dy − Σ y·dy)
                    Form::Softmax => softmax_row_backward::<T::On<I>>(a, b, out, n),
                    // dx = dy − eʸ·Σ dy
                    Form::LogSoftmax => {
                        let total = row_sum::<T::On<I>>(n, |i, c| <T::On<I>>::load_first(b.add(i), c));
                        let total = <T::On<I>>::splat(-total);
                        let mut i = 0;
                        while i < n {
                            let c = T::WIDTH.min(n - i);
                            <T::On<I>>::ask(out.wrapping_add(i + AHEAD * T::WIDTH));
                            let p = maths::exp(<T::On<I>>::load_first(a.add(i), c));
                            p.fma(total, <T::On<I>>::load_first(b.add(i), c)).store_first(out.add(i), c);
                            i += c;
                        }
                    }
                }
            }
        }
    }
}

/// dx = y·(dy − Σ y·dy) of one row.
#[inline(always)]
pub(crate) unsafe fn softmax_row_backward<L: Lanes>(y: *const L::Elem, dy: *const L::Elem, dx: *mut L::Elem, n: usize) {
    // SAFETY: the caller promises n elements in each.
    unsafe {
        let dot = row_sum::<L>(n, |i, c| L::load_first(y.add(i), c).mul(L::load_first(dy.add(i), c)));
        let dot = L::splat(dot);
        let mut i = 0;
        while i < n {
            let c = L::WIDTH.min(n - i);
            L::ask(dx.wrapping_add(i + AHEAD * L::WIDTH));
            let (p, g) = (L::load_first(y.add(i), c), L::load_first(dy.add(i), c));
            p.mul(g.sub(dot)).store_first(dx.add(i), c);
            i += c;
        }
    }
}

fn rows<T: Real>(room: &'static str, form: Form, backward: bool, cols: usize, a: &[T], b: &[T], out: &mut [T]) -> Result<()> {
    check_length(room, "input", a.len(), out.len())?;
    if backward {
        check_length(room, "gradient", b.len(), out.len())?;
    }
    if out.is_empty() {
        return Ok(());
    }
    let count = out.len() / cols;
    let shared = Shared(out.as_mut_ptr());
    parallel::over_ranges(count, count * cols * size_of::<T>() * 6, |range| {
        let span = range.start * cols..range.end * cols;
        let b = if backward { &b[span.clone()] } else { b };
        // SAFETY: rows of different threads are disjoint.
        let out = unsafe { shared.slice(span.clone()) };
        dispatch(Rows { form, backward, cols, a: &a[span], b, out });
    });
    Ok(())
}

/// Softmax over rows of `cols`. A row of −∞ alone gives zeros, not NaN.
pub fn softmax<T: Real>(cols: usize, x: &[T], y: &mut [T]) -> Result<()> {
    rows("softmax", Form::Softmax, false, cols, x, &[], y)
}

/// dx of [`softmax`] from its output and the output's gradient.
pub fn softmax_backward<T: Real>(cols: usize, y: &[T], dy: &[T], dx: &mut [T]) -> Result<()> {
    rows("softmax", Form::Softmax, true, cols, y, dy, dx)
}

/// x − log Σ e^x over rows of `cols`.
pub fn log_softmax<T: Real>(cols: usize, x: &[T], y: &mut [T]) -> Result<()> {
    rows("log_softmax", Form::LogSoftmax, false, cols, x, &[], y)
}

/// dx of [`log_softmax`] from its output and the output's gradient.
pub fn log_softmax_backward<T: Real>(cols: usize, y: &[T], dy: &[T], dx: &mut [T]) -> Result<()> {
    rows("log_softmax", Form::LogSoftmax, true, cols, y, dy, dx)
}
