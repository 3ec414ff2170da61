//! Layer normalisation.

use weft_benches::{Work, criterion, numbers, row};
use weft_kernels::normalization;

fn main() {
    let mut c = criterion();
    let (rows, cols) = (8192, 512);
    let (x, gain) = (numbers(rows * cols), numbers(cols));
    let (mut y, mut means, mut deviations) = (vec![0.0; rows * cols], vec![0.0; rows], vec![0.0; rows]);
    row(&mut c, "layer norm 8192x512 forward", 2, Work::Bytes(8.0 * x.len() as f64), || {
        normalization::layer_norm(cols, 1e-5, &x, &gain, &gain, &mut y, &mut means, &mut deviations).unwrap();
    });
}
