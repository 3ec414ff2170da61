//! Many small products of the same shape, for instance one for each head.

use super::product::{Right, Start, product, product_on};
use crate::parallel::{self, Shared, part, threads_for};
use crate::{MatrixView, MatrixViewMut, Real};
use weft_simd::chosen;

/// `C[i] = start + A[i]·B[i]` for `count` products; threads take whole products where there are enough of them.
///
/// The closures give the views of product `i`; C's views must not overlap.
pub fn batched<'a, T: Real>(
    count: usize,
    a: impl Fn(usize) -> MatrixView<'a, T> + Sync,
    b: impl Fn(usize) -> MatrixView<'a, T> + Sync,
    c: impl Fn(usize) -> MatrixViewMut<'a, T> + Sync,
    accumulate: bool,
) {
    if count == 0 {
        return;
    }
    let start = || if accumulate { Start::Accumulate } else { Start::Zero };
    let (first, cols) = (a(0), b(0).cols);
    let operations = 2.0 * first.rows as f64 * first.cols as f64 * cols as f64;
    let threads = threads_for(operations * count as f64);
    if count < threads {
        for i in 0..count {
            product(a(i), Right::View(b(i)), c(i), start());
        }
        return;
    }
    parallel::run(threads, &|index| {
        for i in part(count, threads, index) {
            product_on(chosen(), 1, a(i), Right::View(b(i)), c(i), start());
        }
    });
}

/// Lets a C pointer cross into the closures of [`batched`].
impl<T> Shared<T> {
    /// The matrix `rows × cols` that begins at element `offset`.
    ///
    /// # Safety
    /// It lies within the allocation, and no other thread touches it meanwhile.
    pub unsafe fn matrix<'a>(&self, offset: usize, rows: usize, cols: usize) -> MatrixViewMut<'a, T> {
        // SAFETY: passed on to the caller.
        unsafe { MatrixViewMut::from_raw(self.0.add(offset), rows, cols, cols as isize) }
    }
}
