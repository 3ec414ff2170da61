//! Dropout.

use weft_benches::{Work, criterion, numbers, row};
use weft_kernels::dropout;

fn main() {
    let mut c = criterion();
    let n = 4 << 20;
    let (x, mut y) = (numbers(n), vec![0.0; n]);
    let stream = weft_kernels::random::Stream { key: 1, stream: 1 };
    row(&mut c, "dropout of 4 M numbers", 2, Work::Bytes(8.0 * n as f64), || {
        dropout::dropout(dropout::Dropout { stream, p: 0.1 }, &x, &mut y).unwrap();
    });
}
