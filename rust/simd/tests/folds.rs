//! Folds over the lanes: the same order on every instruction set, also where numbers are not ordinary.

use weft_simd::{Isa, Kernel, Lanes, Real, available, dispatch_on};

struct Folds<T>([T; 16]);

impl<T: Real> Kernel for Folds<T> {
    type Output = (T, T);
    #[inline(always)]
    fn run<I: Isa>(self) -> (T, T) {
        // SAFETY: 16 numbers are a whole vector of either kind.
        let x = unsafe { <T::On<I>>::load(self.0.as_ptr()) };
        (x.fold_add(), x.fold_max())
    }
}

fn halves<T: Copy>(mut lanes: Vec<T>, f: impl Fn(T, T) -> T) -> T {
    while lanes.len() > 1 {
        let half = lanes.len() / 2;
        lanes = (0..half).map(|i| f(lanes[i], lanes[i + half])).collect();
    }
    lanes[0]
}

fn check<T: Real>(bits: impl Fn(T) -> u64) {
    let odd = [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1e-40, 3.5];
    for seed in 0..200u64 {
        let numbers: [T; 16] = std::array::from_fn(|i| {
            let mixed = (seed * 16 + i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
            // Small magnitudes beside large ones, so that any other order rounds otherwise; in some rounds odd numbers among them.
            let x = (mixed % 2001) as f64 / 7.0 - 140.0;
            T::from_f64(if seed % 3 == 0 && mixed.is_multiple_of(5) { odd[mixed as usize / 5 % odd.len()] } else { x * x * x })
        });
        let lanes = numbers[..T::WIDTH].to_vec();
        let want = (halves(lanes.clone(), |a, b| a + b), halves(lanes, |a, b| if a > b { a } else { b }));
        for choice in available() {
            let got = dispatch_on(choice, Folds(numbers));
            let nan = |x: T| x.to_f64().is_nan();
            assert!(nan(want.0) && nan(got.0) || bits(got.0) == bits(want.0), "{choice:?}: the sum of {numbers:?}");
            assert!(nan(want.1) && nan(got.1) || bits(got.1) == bits(want.1), "{choice:?}: the maximum of {numbers:?}");
        }
    }
}

#[test]
fn sums_and_maxima_fold_halves_onto_each_other() {
    check::<f32>(|x| u64::from(x.to_bits()));
    check::<f64>(f64::to_bits);
}
