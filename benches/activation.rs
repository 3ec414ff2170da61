//! Activations and softmax.

use weft_benches::{Work, criterion, numbers, row};
use weft_kernels::activation;

fn main() {
    let mut c = criterion();
    let n = 4 << 20;
    let (x, mut y) = (numbers(n), vec![0.0; n]);
    for (name, f) in [("tanh", activation::Activation::Tanh), ("gelu", activation::Activation::Gelu)] {
        row(&mut c, &format!("{name} of 4 M numbers"), 2, Work::Bytes(8.0 * n as f64), || {
            activation::forward(f, &x, &mut y).unwrap();
        });
    }
    row(&mut c, "softmax 8192x512", 2, Work::Bytes(8.0 * n as f64), || activation::softmax(512, &x, &mut y).unwrap());
}
