//! Products whose right-hand sides share their memory, as the gates that two weights of a recurrent layer have their gradients from.
//!
//! ```text
//!   one after the other:   X·B₀ X·B₁ X·B₂ …  H·B₀ H·B₁ H·B₂ …     B comes from the third level twice
//!   in turns:              X·B₀ H·B₀  X·B₁ H·B₁  X·B₂ H·B₂ …      and once
//! ```
//!
//! On an Emerald Rapids (2 MiB), 28 × 28 inputs to 128 units with gradients: a GRU 1.03 to 1.08 times as fast, an LSTM 0.98 to 1.04.

use super::product::{BLOCK_K, Job, Right, Start, multiply, threads_worth};
use crate::{MatrixView, MatrixViewMut, Real};
use weft_simd::{chosen, second_level};

/// Whether it is worth it for products of so many rows in all. More would push out the block of B that the next product looks for: with 256 inputs
/// and units it is level, with 512 two hundredths slower.
pub(crate) fn take_turns<T: Real>(rows: usize) -> bool {
    rows * BLOCK_K * size_of::<T>() <= second_level() / 2
}

/// A `[M, K]`, B `[K, N]` and C `[M, N]` of `C = A·B`.
pub(crate) type Operands<'a, T> = (MatrixView<'a, T>, MatrixView<'a, T>, MatrixViewMut<'a, T>);

/// Every `C = A·B`, block by block in turns, with the bits of [`product`](super::product()) for each.
///
/// Buffers: as for a product. M and K may differ between them.
pub(crate) fn products<T: Real, const N: usize>(all: [Operands<'_, T>; N]) {
    let threads = all.iter().map(|(a, _, c)| threads_worth::<T>(a.rows, a.cols, c.cols)).max().unwrap_or(1);
    products_on(threads, all);
}

fn products_on<T: Real, const N: usize>(threads: usize, all: [Operands<'_, T>; N]) {
    let jobs = all.each_ref().map(|(a, b, c)| Job::new(chosen(), *a, Right::View(*b), c, Start::Zero, None));
    let alike = |job: &Job<'_, T>| job.panels() == jobs[0].panels() && job.is_tall(threads) == jobs[0].is_tall(threads);
    if jobs.iter().all(alike) {
        return multiply(threads, &jobs);
    }
    for job in jobs {
        multiply(threads, &[job]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matmul::product_on;

    fn numbers<T: Real>(count: usize, seed: usize) -> Vec<T> {
        (0..count).map(|i| T::from_f64(((i * 37 + seed * 11) % 101) as f64 / 7.0 - 6.0)).collect()
    }

    /// Two products of rows of B from 0 and from `later` on, as long as there are rows.
    fn bits_are_those_of_each<T: Real>(threads: usize, k: usize, later: usize, rows: [usize; 2], n: usize) {
        let (x, h, b) = (numbers::<T>(k * rows[0], 1), numbers::<T>((k - later) * rows[1], 2), numbers::<T>(k * n, 3));
        let (x, h) = (MatrixView::new(&x, k, rows[0]).transposed(), MatrixView::new(&h, k - later, rows[1]).transposed());
        let b = MatrixView::new(&b, k, n);
        let parts = [(x, b), (h, b.some_rows(later, k - later))];
        let mut got = rows.map(|rows| vec![T::from_f64(f64::NAN); rows * n]);
        let mut to = got.iter_mut().zip(parts).map(|(c, (a, b))| (a, b, MatrixViewMut::new(c, a.rows, n)));
        products_on(threads, [to.next().unwrap(), to.next().unwrap()]);
        drop(to);
        for ((a, b), got) in parts.into_iter().zip(&got) {
            let mut wanted = vec![T::ZERO; got.len()];
            product_on(chosen(), 1, a, Right::View(b), MatrixViewMut::new(&mut wanted, a.rows, n), Start::Zero);
            assert!(*got == wanted, "{threads} threads, k {k} and {}, rows {rows:?}, n {n}", k - later);
        }
    }

    #[test]
    fn every_product_has_its_own_bits() {
        for threads in [1, 2, 3, 7] {
            // Less than a block, blocks of one chunk, two chunks of which the second is whole or short, one product a chunk longer.
            for (k, later) in [(5, 0), (5, 5), (1030, 6), (2048, 3), (4096, 40), (3584, 128), (2060, 20)] {
                for (rows, n) in [([28, 128], 192), ([1, 7], 70), ([9, 20], 30), ([60, 16], 64)] {
                    bits_are_those_of_each::<f32>(threads, k, later, rows, n);
                }
            }
            bits_are_those_of_each::<f64>(threads, 3000, 100, [28, 60], 96);
            // More rows than are worth it.
            bits_are_those_of_each::<f32>(threads, 70, 2, [900, 1500], 128);
            bits_are_those_of_each::<f32>(threads, 0, 0, [3, 4], 64);
            bits_are_those_of_each::<f32>(threads, 10, 0, [0, 4], 64);
            bits_are_those_of_each::<f32>(threads, 10, 0, [4, 4], 0);
        }
    }
}
