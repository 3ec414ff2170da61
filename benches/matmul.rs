//! Products, beside the `gemm` and `matrixmultiply` crates.

use weft_benches::{Work, criterion, numbers, row};
use weft_kernels::matmul::{PackedMatrix, Right, Start, product_on};
use weft_kernels::{MatrixView, MatrixViewMut};
use weft_simd::chosen;

fn main() {
    let mut c = criterion();
    for n in [256, 512, 1024] {
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
        row(&mut c, &format!("matrixmultiply crate {n}^3, 1 threads"), 1, work(), || {
            let (s, t) = (n as isize, 1);
            // SAFETY: three n × n matrices, row-major.
            unsafe { matrixmultiply::sgemm(n, n, n, 1.0, a.as_ptr(), s, t, b.as_ptr(), s, t, 0.0, out.as_mut_ptr(), s, t) };
        });
    }
}
