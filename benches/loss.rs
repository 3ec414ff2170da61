//! Softmax cross-entropy.

use weft_benches::{Work, criterion, numbers, row};
use weft_kernels::loss::{ProjectionGradients, projected_cross_entropy};
use weft_kernels::parallel::set_num_threads;
use weft_kernels::{MatrixView, loss};

fn main() {
    let mut c = criterion();
    let (rows, classes) = (1024, 8000);
    let (x, targets) = (numbers(rows * classes), vec![7i64; rows]);
    let (mut losses, mut normalizers) = (vec![0.0; rows], vec![0.0; rows]);
    row(&mut c, "cross-entropy 1024x8000 forward", 2, Work::Bytes(4.0 * x.len() as f64), || {
        loss::cross_entropy(classes, &x, &targets, -100, 0.0, &mut losses, &mut normalizers).unwrap();
    });
    let (n, d, v) = (1536, 256, 8000);
    let (x, w, bias) = (numbers(n * d), numbers(v * d), numbers(v));
    let targets: Vec<i64> = (0..n as i64).map(|i| i * 7 % v as i64).collect();
    let (mut losses, mut dx, mut dw, mut db) = (vec![0.0; n], vec![0.0; n * d], vec![0.0; v * d], vec![0.0; v]);
    for threads in [1, 2] {
        set_num_threads(threads).unwrap();
        let name = format!("projection + cross-entropy N{n} D{d} V{v} forward+backward, {threads} threads");
        row(&mut c, &name, threads, Work::Operations(6.0 * (n * d * v) as f64), || {
            let gradients = ProjectionGradients { x: &mut dx, weight: &mut dw, bias: &mut db };
            let w = MatrixView::new(&w, v, d);
            projected_cross_entropy(&x, w, &bias, &targets, -100, 0.0, 1.0 / n as f32, &mut losses, gradients).unwrap();
        });
    }
}
