//! Sums.

use weft_benches::{Work, criterion, numbers, row};
use weft_kernels::reduction;

fn main() {
    let mut c = criterion();
    let x = numbers(4 << 20);
    let mut y = vec![0.0; 512];
    row(&mut c, "sum of 8192x512 over rows", 2, Work::Bytes(4.0 * x.len() as f64), || {
        reduction::sum(1, 8192, 512, &x, &mut y).unwrap();
    });
}
