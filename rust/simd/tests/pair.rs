//! Vectors in step give the bits that each gives alone.

use weft_simd::{Four, Isa, Kernel, Lanes, Real, available, dispatch_on, maths};

/// How far apart the rows lie, more than a vector.
const STRIDE: usize = 19;
/// Functions compared.
const FUNCTIONS: usize = 9;

/// Everything of four vectors, in step or one by one: results of functions lane by lane, then what goes over rows.
struct Everything<'a, T> {
    in_step: bool,
    /// Lanes of a row that count.
    n: usize,
    x: &'a [T],
    y: &'a [T],
}

#[inline(always)]
fn functions<V: Lanes>(x: V, y: V) -> [V; FUNCTIONS] {
    let (exponent, mantissa) = (x.abs().max(V::splat(V::Elem::MIN_NORMAL)).split_exponent(), y.min(x).max(y));
    [
        maths::exp(x),
        maths::exp_nonpositive(x.abs().neg()),
        maths::log(x),
        maths::tanh(x),
        maths::sigmoid(x),
        maths::erf(x),
        V::select(x.lt(y), x.div(y).round(), x.mul(y).sub(x).abs().sqrt().copysign(y)),
        exponent.0.add(exponent.1),
        V::select(x.eq(y), mantissa, x.fma(y, V::zero().sub(x))),
    ]
}

impl<T: Real> Kernel for Everything<'_, T> {
    type Output = Vec<T>;
    #[inline(always)]
    fn run<I: Isa>(self) -> Vec<T> {
        let mut out = vec![T::ZERO; FUNCTIONS * 4 * STRIDE + 4 + 3 * 16];
        let (folds, sums) = (FUNCTIONS * 4 * STRIDE, FUNCTIONS * 4 * STRIDE + 4);
        let mut put = |at: usize, value: T::On<I>| {
            // SAFETY: the three vectors behind the folds.
            unsafe { value.store(out.as_mut_ptr().add(at)) }
        };
        // SAFETY: x and y hold four rows STRIDE apart and a whole vector behind them, and so does the output for each function.
        unsafe {
            if self.in_step {
                let (x, y) =
                    (<Four<T::On<I>>>::load_rows(self.x.as_ptr(), STRIDE, self.n), <Four<T::On<I>>>::load(self.y.as_ptr()));
                let y = y.add(<Four<T::On<I>>>::splat_rows(self.y.as_ptr()));
                let start = <Four<T::On<I>>>::all(<T::On<I>>::load(self.x.as_ptr()));
                put(sums, x.add_to(<T::On<I>>::zero()));
                put(sums + 16, x.fma_to(y, <T::On<I>>::zero()));
                put(sums + 32, start.add_to(<T::On<I>>::zero()));
                for (k, value) in functions(x, y).into_iter().enumerate() {
                    value.store_rows(out.as_mut_ptr().add(k * 4 * STRIDE), STRIDE, self.n);
                }
                x.fold_add_rows(out.as_mut_ptr().add(folds));
            } else {
                let (mut sum, mut product, mut start) = (<T::On<I>>::zero(), <T::On<I>>::zero(), <T::On<I>>::zero());
                for row in 0..4 {
                    let x = <T::On<I>>::load_first(self.x.as_ptr().add(row * STRIDE), self.n);
                    let y = <T::On<I>>::load(self.y.as_ptr().add(row * T::WIDTH)).add(<T::On<I>>::splat(self.y[row]));
                    (sum, product) = (sum.add(x), x.fma(y, product));
                    start = start.add(<T::On<I>>::load(self.x.as_ptr()));
                    for (k, value) in functions(x, y).into_iter().enumerate() {
                        value.store_first(out.as_mut_ptr().add((k * 4 + row) * STRIDE), self.n);
                    }
                    out[folds + row] = x.fold_add();
                }
                for (i, value) in [sum, product, start].into_iter().enumerate() {
                    value.store(out.as_mut_ptr().add(sums + 16 * i));
                }
            }
        }
        out
    }
}

fn check<T: Real>(bits: impl Fn(T) -> u64) {
    let odd = [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1e-40, -90.0, 1.0, 710.0];
    for seed in 0..200u64 {
        let mut numbers = (0..2 * (4 * STRIDE + 16)).map(|i| {
            let mixed = (seed * 1000 + i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
            T::from_f64(if mixed.is_multiple_of(7) {
                odd[mixed as usize / 7 % odd.len()]
            } else {
                (mixed % 2001) as f64 / 90.0 - 11.0
            })
        });
        let x: Vec<T> = numbers.by_ref().take(4 * STRIDE + 16).collect();
        let y: Vec<T> = numbers.collect();
        for choice in available() {
            for n in [T::WIDTH, T::WIDTH - 1, 1] {
                let run = |in_step| dispatch_on(choice, Everything { in_step, n, x: &x, y: &y });
                for (i, (alone, together)) in run(false).into_iter().zip(run(true)).enumerate() {
                    let both_nan = alone.to_f64().is_nan() && together.to_f64().is_nan();
                    assert!(
                        both_nan || bits(alone) == bits(together),
                        "{choice:?}, {n} lanes, number {i}: {alone} and {together}"
                    );
                }
            }
        }
    }
}

#[test]
fn four_vectors_in_step_are_four_vectors() {
    check::<f32>(|x| u64::from(x.to_bits()));
    check::<f64>(f64::to_bits);
}
