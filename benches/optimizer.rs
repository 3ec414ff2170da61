//! AdamW over 10 M parameters.

use weft_benches::{Work, criterion, numbers, row};
use weft_kernels::optimizer;

fn main() {
    let mut c = criterion();
    let n = 10_000_000;
    let (mut p, g, mut m, mut v) = (numbers(n), numbers(n), vec![0.0; n], vec![0.0; n]);
    let rule =
        optimizer::Rule::Adam { rate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, decay: 0.01, decoupled: true, step: 10 };
    row(&mut c, "adamw of 10 M parameters", 2, Work::Bytes(28.0 * n as f64), || {
        let slot = optimizer::Slot { parameter: &mut p, gradient: &g, first: &mut m, second: &mut v };
        optimizer::update(rule, 1.0, &mut [slot]).unwrap();
    });
}
