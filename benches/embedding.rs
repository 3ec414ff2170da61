//! Rows of a table, and the gradient of the table.

use weft_benches::{Work, criterion, numbers, row};
use weft_kernels::embedding;

fn main() {
    let mut c = criterion();
    let (rows, dim, n) = (8000, 256, 8192);
    let table = numbers(rows * dim);
    let indices: Vec<i64> = (0..n).map(|i| (i * 7919 % rows) as i64).collect();
    let dy = numbers(n * dim);
    let (mut y, mut grad) = (vec![0.0; n * dim], vec![0.0; rows * dim]);
    row(&mut c, "embedding 8192 of 8000x256 forward", 2, Work::Bytes(8.0 * y.len() as f64), || {
        embedding::forward(&table, dim, &indices, &mut y).unwrap();
    });
    row(&mut c, "embedding 8192 of 8000x256 backward", 2, Work::Bytes(4.0 * (n * dim + rows * dim) as f64), || {
        embedding::backward(dim, &indices, None, &dy, &mut grad).unwrap();
    });
}
