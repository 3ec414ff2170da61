//! Softmax cross-entropy.

use weft_benches::{Work, criterion, numbers, row};
use weft_kernels::loss;

fn main() {
    let mut c = criterion();
    let (rows, classes) = (1024, 8000);
    let (x, targets) = (numbers(rows * classes), vec![7i64; rows]);
    let (mut losses, mut normalizers) = (vec![0.0; rows], vec![0.0; rows]);
    row(&mut c, "cross-entropy 1024x8000 forward", 2, Work::Bytes(4.0 * x.len() as f64), || {
        loss::cross_entropy(classes, &x, &targets, -100, 0.0, &mut losses, &mut normalizers).unwrap();
    });
}
