//! What it costs to ask: the pool, a small operation, subnormal numbers.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use weft_benches::{Work, criterion, numbers, row, time};
use weft_kernels::matmul::{Right, Start, product_on};
use weft_kernels::{MatrixView, MatrixViewMut, activation, parallel};
use weft_simd::chosen;

fn main() {
    let mut c = criterion();
    // Left alone, the caller takes an empty part back before the worker has seen it: here it waits until the worker has begun.
    let turns = AtomicU64::new(0);
    let mut turn = 0;
    time(&mut c, "a dispatch to the pool and back, 2 threads", || {
        turn += 1;
        parallel::run(2, &|i| match i {
            0 => {
                while turns.load(Ordering::Acquire) != turn {
                    std::hint::spin_loop();
                }
            }
            _ => turns.store(turn, Ordering::Release),
        });
    });
    time(&mut c, "a job of two empty parts", || {
        parallel::run(2, &|i| {
            black_box(i);
        });
    });
    let (x, mut y) = (numbers(1000), vec![0.0f32; 1000]);
    time(&mut c, "tanh of 1,000 numbers on the caller", || {
        activation::forward(activation::Activation::Tanh, &x, &mut y).unwrap()
    });
    // Every product of such an A is subnormal: the price of keeping to IEEE, and of flushing.
    let n = 256;
    let (tiny, b, mut out) = (vec![1e-39f32; n * n], numbers(n * n), vec![0.0f32; n * n]);
    for (mode, flush) in [("IEEE", false), ("flushed", true)] {
        weft_simd::set_flush_denormal(flush);
        row(&mut c, &format!("matmul {n}^3 of subnormal numbers, {mode}"), 1, Work::Operations(2.0 * (n as f64).powi(3)), || {
            let (a, b) = (MatrixView::new(&tiny, n, n), Right::View(MatrixView::new(&b, n, n)));
            product_on(chosen(), 1, a, b, MatrixViewMut::new(&mut out, n, n), Start::Zero);
        });
    }
    weft_simd::set_flush_denormal(false);
}
