//! Functions of single numbers.

use weft_benches::{Work, criterion, numbers, row};
use weft_kernels::elementwise;

fn main() {
    let mut c = criterion();
    let n = 4 << 20;
    let (x, mut y) = (numbers(n), vec![0.0; n]);
    row(&mut c, "exp of 4 M numbers", 2, Work::Bytes(8.0 * n as f64), || {
        elementwise::unary(elementwise::Unary::Exp, &x, &mut y).unwrap();
    });
}
