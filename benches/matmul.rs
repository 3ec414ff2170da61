//! Products, beside the crates `gemm`, `gemmkit` and `matrixmultiply`.

use weft_benches::{Work, criterion, numbers, row};
use weft_kernels::matmul::{PackedMatrix, Right, Start, product_on, weight_gradient};
use weft_kernels::parallel::set_num_threads;
use weft_kernels::{MatrixView, MatrixViewMut};
use weft_simd::chosen;

fn main() {
    let mut c = criterion();
    for n in [512, 1024, 2048] {
        let (a, b, mut out) = (numbers(n * n), numbers(n * n), vec![0.0f32; n * n]);
        let packed = PackedMatrix::new(MatrixView::new(&b, n, n));
        let work = || Work::Operations(2.0 * (n as f64).powi(3));
        for threads in [1, 2] {
            let rights = [("", Right::View(MatrixView::new(&b, n, n))), (" packed", Right::Packed(&packed))];
            for (kind, right) in rights {
                row(&mut c, &format!("matmul {n}^3{kind}, {threads} threads"), threads, work(), || {
                    let to = MatrixViewMut::new(&mut out, n, n);
                    product_on(chosen(), threads, MatrixView::new(&a, n, n), right, to, Start::Zero);
                });
            }
        }
        row(&mut c, &format!("gemm crate {n}^3, 1 threads"), 1, work(), || {
            // SAFETY: three n × n matrices, row-major.
            unsafe {
                gemm::gemm(
                    n,
                    n,
                    n,
                    out.as_mut_ptr(),
                    1,
                    n as isize,
                    false,
                    a.as_ptr(),
                    1,
                    n as isize,
                    b.as_ptr(),
                    1,
                    n as isize,
                    0.0,
                    1.0,
                    false,
                    false,
                    false,
                    gemm::Parallelism::None,
                );
            }
        });
        row(&mut c, &format!("gemmkit crate {n}^3, 1 threads"), 1, work(), || {
            let (a, b) = (gemmkit::MatRef::from_row_major(&a, n, n), gemmkit::MatRef::from_row_major(&b, n, n));
            gemmkit::gemm(1.0, a, b, 0.0, gemmkit::MatMut::from_row_major(&mut out, n, n), gemmkit::Parallelism::Serial);
        });
        row(&mut c, &format!("matrixmultiply crate {n}^3, 1 threads"), 1, work(), || {
            let (s, t) = (n as isize, 1);
            // SAFETY: three n × n matrices, row-major.
            unsafe { matrixmultiply::sgemm(n, n, n, 1.0, a.as_ptr(), s, t, b.as_ptr(), s, t, 0.0, out.as_mut_ptr(), s, t) };
        });
    }
    // A few rows are bound by reading the weights.
    for n in [512, 1024] {
        let (b, mut out) = (numbers(n * n), vec![0.0f32; 8 * n]);
        let packed = PackedMatrix::new(MatrixView::new(&b, n, n));
        for rows in [1, 4, 8] {
            let a = numbers(rows * n);
            for threads in [1, 2] {
                row(
                    &mut c,
                    &format!("matmul {rows}x{n}x{n} packed, {threads} threads"),
                    threads,
                    Work::Reads { bytes: 4.0 * (n * n) as f64, operations: 2.0 * (rows * n * n) as f64 },
                    || {
                        let to = MatrixViewMut::new(&mut out[..rows * n], rows, n);
                        product_on(chosen(), threads, MatrixView::new(&a, rows, n), Right::Packed(&packed), to, Start::Zero);
                    },
                );
            }
        }
    }
    for (m, k, n) in [(32, 256, 256), (64, 128, 512)] {
        let (a, b, mut out) = (numbers(m * k), numbers(k * n), vec![0.0f32; m * n]);
        let packed = PackedMatrix::new(MatrixView::new(&b, k, n));
        for threads in [1, 2] {
            let work = Work::Operations(2.0 * (m * k * n) as f64);
            row(&mut c, &format!("matmul {m}x{k}x{n} packed, {threads} threads"), threads, work, || {
                let to = MatrixViewMut::new(&mut out, m, n);
                product_on(chosen(), threads, MatrixView::new(&a, m, k), Right::Packed(&packed), to, Start::Zero);
            });
        }
    }
    // Forward, the input's gradient, the weight's gradient.
    for (m, k, n) in [(2048, 512, 512), (4096, 256, 1024), (1536, 256, 8000)] {
        let (x, w, g) = (numbers(m * k), numbers(k * n), numbers(m * n));
        let (mut y, mut dx, mut dw) = (vec![0.0f32; m * n], vec![0.0f32; m * k], vec![0.0f32; k * n]);
        let packed = PackedMatrix::new(MatrixView::new(&w, n, k).transposed());
        for threads in [1, 2] {
            let work = Work::Operations(6.0 * (m * k * n) as f64);
            set_num_threads(threads).unwrap();
            row(&mut c, &format!("linear {m}x{k}->{n} forward+backward, {threads} threads"), threads, work, || {
                let (xs, gs) = (MatrixView::new(&x, m, k), MatrixView::new(&g, m, n));
                product_on(chosen(), threads, xs, Right::Packed(&packed), MatrixViewMut::new(&mut y, m, n), Start::Zero);
                let weight = Right::View(MatrixView::new(&w, n, k));
                product_on(chosen(), threads, gs, weight, MatrixViewMut::new(&mut dx, m, k), Start::Zero);
                weight_gradient(xs, gs, &mut dw);
            });
        }
    }
}
