//! Accuracy of the maths in units in the last place, on every instruction set of the machine, which must agree to the bit.
//!
//! The oracle for f32 is f64 libm (erf: its series and continued fraction); for f64 a file of values from 60-digit arithmetic.

use weft_simd::{Choice, Isa, Kernel, Lanes, Real, available, dispatch_on, maths};

#[derive(Clone, Copy, PartialEq, Debug)]
enum Function {
    Exp,
    ExpNonpositive,
    Log,
    Tanh,
    Sigmoid,
    Erf,
    Phi,
}

struct Map<'a, T> {
    function: Function,
    x: &'a [T],
    y: &'a mut [T],
}

impl<T: Real> Kernel for Map<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let width = T::WIDTH;
        let mut i = 0;
        while i < self.x.len() {
            let n = width.min(self.x.len() - i);
            // SAFETY: n numbers are left in both slices.
            unsafe {
                let x = <T::On<I>>::load_first(self.x.as_ptr().add(i), n);
                let y = match self.function {
                    Function::Exp => maths::exp(x),
                    Function::ExpNonpositive => maths::exp_nonpositive(x),
                    Function::Log => maths::log(x),
                    Function::Tanh => maths::tanh(x),
                    Function::Sigmoid => maths::sigmoid(x),
                    Function::Erf => maths::erf(x),
                    Function::Phi => maths::phi(x),
                };
                y.store_first(self.y.as_mut_ptr().add(i), n);
            }
            i += n;
        }
    }
}

fn map<T: Real>(choice: Choice, function: Function, x: &[T]) -> Vec<T> {
    let mut y = vec![T::ZERO; x.len()];
    dispatch_on(choice, Map { function, x, y: &mut y });
    y
}

fn reference(function: Function, x: f64) -> f64 {
    match function {
        Function::Exp | Function::ExpNonpositive => x.exp(),
        Function::Log => x.ln(),
        Function::Tanh => x.tanh(),
        Function::Sigmoid => {
            if x < 0.0 {
                x.exp() / (1.0 + x.exp())
            } else {
                1.0 / (1.0 + (-x).exp())
            }
        }
        Function::Erf => erf_reference(x),
        Function::Phi => 0.5 + 0.5 * erf_reference(x / std::f64::consts::SQRT_2),
    }
}

/// erf by its Maclaurin series near zero and by Lentz's continued fraction of erfc outside; Abramowitz & Stegun 7.1.5 and 7.1.14.
fn erf_reference(x: f64) -> f64 {
    let a = x.abs();
    if a < 2.5 {
        let (mut term, mut sum, mut n) = (a, a, 0.0f64);
        while term.abs() > 1e-18 * sum {
            n += 1.0;
            term *= -a * a / n;
            sum += term / (2.0 * n + 1.0);
        }
        (sum * std::f64::consts::FRAC_2_SQRT_PI).copysign(x)
    } else {
        let mut tail = a;
        for k in (1..120).rev() {
            tail = a + (k as f64) / 2.0 / tail;
        }
        (1.0 - (-a * a).exp() / (tail * std::f64::consts::PI.sqrt())).copysign(x)
    }
}

/// Distance of `y` from `exact` in ulps of f32 at `exact`.
fn ulps_f32(y: f32, exact: f64) -> f64 {
    if exact.is_nan() {
        return if y.is_nan() { 0.0 } else { f64::INFINITY };
    }
    // Compared with a bound, a distance that is no number would be none.
    if y.is_nan() {
        return f64::INFINITY;
    }
    // What rounds to infinity may be infinity, and nothing else may.
    if y.is_infinite() || (exact as f32).is_infinite() {
        return if y == exact as f32 { 0.0 } else { f64::INFINITY };
    }
    let exponent = exact.abs().max(f32::MIN_POSITIVE as f64).log2().floor();
    (y as f64 - exact).abs() / (exponent - 23.0).exp2()
}

/// In ulps; of the normal distribution, whose error is absolute, in units of 2⁻²⁴.
fn error_f32(function: Function, y: f32, exact: f64) -> f64 {
    if function == Function::Phi && y.is_finite() && exact.is_finite() {
        (y as f64 - exact).abs() * (1 << 24) as f64
    } else {
        ulps_f32(y, exact)
    }
}

fn bound_f32(function: Function) -> f64 {
    match function {
        Function::Exp | Function::ExpNonpositive | Function::Log => 1.0,
        Function::Sigmoid => 2.0,
        Function::Tanh => 3.0,
        Function::Erf => 5.0,
        // Absolute, in units of 2⁻²⁴.
        Function::Phi => 3.0,
    }
}

const ALL: [Function; 7] =
    [Function::Exp, Function::ExpNonpositive, Function::Log, Function::Tanh, Function::Sigmoid, Function::Erf, Function::Phi];

fn in_domain(function: Function, x: f32) -> bool {
    // The softmax form promises nothing above zero, and flushes below −87.3.
    function != Function::ExpNonpositive || x.is_nan() || (-87.3..=0.0).contains(&x)
}

/// Checks the f32 whose bits are first, first + step, … on every instruction set; returns the largest error of each function.
fn sweep(first: u32, step: u32) -> [f64; 7] {
    let mut worst = [0.0f64; 7];
    let mut bits = first as u64;
    let mut x = Vec::with_capacity(1 << 16);
    while bits <= u32::MAX as u64 {
        x.clear();
        while x.len() < 1 << 16 && bits <= u32::MAX as u64 {
            x.push(f32::from_bits(bits as u32));
            bits += step as u64;
        }
        for (slot, function) in ALL.into_iter().enumerate() {
            let mut results: Vec<Vec<f32>> = available().into_iter().map(|choice| map(choice, function, &x)).collect();
            let y = results.pop().unwrap();
            for other in &results {
                for i in 0..x.len() {
                    let same = !in_domain(function, x[i])
                        || y[i].to_bits() == other[i].to_bits()
                        || (y[i].is_nan() && other[i].is_nan());
                    assert!(same, "{function:?}({:e}): {:e} and {:e} on two instruction sets", x[i], y[i], other[i]);
                }
            }
            for i in 0..x.len() {
                if in_domain(function, x[i]) {
                    let error = error_f32(function, y[i], reference(function, x[i] as f64));
                    if error > worst[slot] {
                        worst[slot] = error;
                        assert!(error <= bound_f32(function), "{function:?}({:e}) = {:e}: {error} ulp", x[i], y[i]);
                    }
                }
            }
        }
    }
    worst
}

#[test]
fn a_sample_of_all_f32_is_within_bounds_and_equal_on_every_isa() {
    // 2.6 million arguments: an odd step visits every exponent and every low bit pattern.
    let worst = sweep(0, 1637);
    println!("worst ulp {ALL:?}: {worst:.3?}");
}

#[test]
#[ignore = "every f32: make test-exhaustive"]
fn every_f32_is_within_bounds_and_equal_on_every_isa() {
    let workers: Vec<_> = (0..2).map(|k| std::thread::spawn(move || sweep(k, 2))).collect();
    for worker in workers {
        println!("worst ulp {ALL:?}: {:.3?}", worker.join().unwrap());
    }
}

#[test]
fn edges() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    for choice in available() {
        assert_eq!(map(choice, Function::Exp, &[0.0f32, -0.0, -inf, inf, 88.73, -104.0]), [1.0, 1.0, 0.0, inf, inf, 0.0]);
        assert_eq!(map(choice, Function::Exp, &[-103.9f32])[0], f32::from_bits(1));
        assert_eq!(map(choice, Function::Log, &[0.0f32, -0.0, 1.0, inf]), [-inf, -inf, 0.0, inf]);
        assert!(map(choice, Function::Log, &[-1.0f32, -inf]).iter().all(|y| y.is_nan()));
        assert_eq!(map(choice, Function::Tanh, &[0.0f32, inf, -inf, 30.0]), [0.0, 1.0, -1.0, 1.0]);
        assert!(map(choice, Function::Tanh, &[-0.0f32])[0].is_sign_negative());
        assert_eq!(map(choice, Function::Sigmoid, &[0.0f32, inf, -inf]), [0.5, 1.0, 0.0]);
        assert_eq!(map(choice, Function::Erf, &[0.0f32, inf, -inf]), [0.0, 1.0, -1.0]);
        assert_eq!(map(choice, Function::Phi, &[0.0f32, inf, -inf, 1e30, -6.0]), [0.5, 1.0, 0.0, 1.0, 0.0]);
        assert_eq!(map(choice, Function::Phi, &[0.0f64, inf as f64, -9.0]), [0.5, 1.0, 0.0]);
        assert_eq!(map(choice, Function::ExpNonpositive, &[0.0f32, -inf, -90.0]), [1.0, 0.0, 0.0]);
        for function in ALL {
            assert!(map(choice, function, &[nan])[0].is_nan(), "{function:?} loses a NaN");
            assert!(map(choice, function, &[f64::NAN])[0].is_nan(), "{function:?} loses a NaN");
        }
    }
}

/// How an instruction set forms a power of two is its own affair: the one rounding, subnormal results and their flushing are not.
fn scaling_agrees<T: Real>(first: f64, last: f64) {
    let x: Vec<T> = (0..200_000).map(|i| T::from_f64(first + (last - first) * i as f64 / 2e5)).collect();
    for function in [Function::Exp, Function::ExpNonpositive, Function::Sigmoid] {
        for flush in [false, true] {
            // In a thread of its own, and looked at outside: who flushes sees no subnormal numbers.
            let all = || {
                let flushes = flush && weft_simd::set_flush_denormal(true);
                (flushes, available().into_iter().map(|choice| map(choice, function, &x)).collect::<Vec<Vec<T>>>())
            };
            let (flushes, results) = std::thread::scope(|threads| threads.spawn(all).join().unwrap());
            for y in &results {
                let differs = (0..x.len()).find(|&i| y[i].to_f64().to_bits() != results[0][i].to_f64().to_bits());
                assert_eq!(differs, None, "{function:?}, flushing: {flush}");
            }
            let subnormal = results[0].iter().filter(|y| **y > T::ZERO && **y < T::MIN_NORMAL).count();
            let wanted = !flushes && function != Function::ExpNonpositive;
            assert_eq!(subnormal > 0, wanted, "{function:?}, flushing: {flush}: {subnormal} subnormal numbers");
        }
    }
}

#[test]
fn subnormal_results_are_equal_on_every_isa() {
    scaling_agrees::<f32>(-105.0, -86.0);
    scaling_agrees::<f64>(-747.0, -706.0);
}

/// f64 against values from 60-digit arithmetic (tests/golden/maths_f64.txt, made by tools/make_maths_golden.py).
#[test]
fn f64_is_within_two_ulp_of_a_dense_sample() {
    let golden = include_str!("golden/maths_f64.txt");
    let mut worst = std::collections::BTreeMap::new();
    for line in golden.lines().filter(|l| !l.starts_with('#')) {
        let fields: Vec<_> = line.split_whitespace().collect();
        let function = match fields[0] {
            "exp" => Function::Exp,
            "log" => Function::Log,
            "tanh" => Function::Tanh,
            "sigmoid" => Function::Sigmoid,
            _ => Function::Erf,
        };
        let bits = |s: &str| f64::from_bits(u64::from_str_radix(s, 16).unwrap());
        let (x, exact, rest) = (bits(fields[1]), bits(fields[2]), fields[3].parse::<f64>().unwrap());
        let results: Vec<f64> = available().into_iter().map(|choice| map(choice, function, &[x])[0]).collect();
        assert!(results.iter().all(|y| y.to_bits() == results[0].to_bits()), "{} differs between instruction sets", fields[0]);
        let ulp = f64::from_bits(exact.abs().to_bits() + 1) - exact.abs();
        let error = ((results[0] - exact) / ulp - rest).abs();
        let entry = worst.entry(fields[0]).or_insert(0.0f64);
        *entry = entry.max(error);
        assert!(error <= 2.0, "{}({x:e}) = {:e}: {error} ulp", fields[0], results[0]);
    }
    println!("worst ulp in f64: {worst:.3?}");
}
