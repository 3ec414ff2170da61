//! Products whose right-hand sides share their memory, as the gates that two weights of a recurrent layer have their gradients from.
//!
//! ```text
//!   one after the other:   X·B₀ X·B₁ X·B₂ …  H·B₀ H·B₁ H·B₂ …     B comes from the third level twice
//!   in turns:              X·B₀ H·B₀  X·B₁ H·B₁  X·B₂ H·B₂ …      and once
//! ```
//!
//! On an Emerald Rapids (2 MiB), 28 × 28 inputs to 128 units with gradients: a GRU 1.03 to 1.08 times as fast, an LSTM 0.98 to 1.04.

use super::product::{BLOCK_K, Job, Passing, Right, Start, multiply, threads_worth};
use crate::{MatrixView, MatrixViewMut, Real};
use weft_simd::{chosen, second_level};

/// Whether it is worth it for products of so many rows in all. More would push out the block of B that the next product looks for: with 256 inputs
/// and units it is level, with 512 two hundredths slower.
pub(crate) fn take_turns<T: Real>(rows: usize) -> bool {
    rows * BLOCK_K * size_of::<T>() <= second_level() / 2
}

/// A `[M, K]`, B `[K, N]` and C `[M, N]` of `C = A·B`.
pub(crate) type Operands<'a, T> = (MatrixView<'a, T>, MatrixView<'a, T>, MatrixViewMut<'a, T>);

/// Every `C = A·B`, block by block in turns, with the bits of [`product`](super::product()) for each; and `passing` for each block of the first B.
///
/// Buffers: as for a product. M and K may differ between them.
pub(crate) fn products<T: Real, const N: usize>(all: [Operands<'_, T>; N], passing: Option<Passing<'_>>) {
    let threads = all.iter().map(|(a, _, c)| threads_worth::<T>(a.rows, a.cols, c.cols)).max().unwrap_or(1);
    products_on(threads, all, passing);
}

fn products_on<T: Real, const N: usize>(threads: usize, all: [Operands<'_, T>; N], passing: Option<Passing<'_>>) {
    let mut jobs = all.each_ref().map(|(a, b, c)| Job::new(chosen(), *a, Right::View(*b), c, Start::Zero, None));
    jobs[0].passing = passing;
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
        products_on(threads, [to.next().unwrap(), to.next().unwrap()], None);
        drop(to);
        for ((a, b), got) in parts.into_iter().zip(&got) {
            let mut wanted = vec![T::ZERO; got.len()];
            product_on(chosen(), 1, a, Right::View(b), MatrixViewMut::new(&mut wanted, a.rows, n), Start::Zero);
            assert!(*got == wanted, "{threads} threads, k {k} and {}, rows {rows:?}, n {n}", k - later);
        }
    }

    /// Which blocks were passed on, in a product or in turns with one of fewer steps.
    fn blocks_come_once(threads: usize, rows: usize, k: usize, n: usize, turns: bool) {
        let (x, h, b) = (numbers::<f32>(k * rows, 1), numbers::<f32>(k * 9, 2), numbers::<f32>(k * n, 3));
        let (mut to_x, mut to_h) = (vec![0.0; rows * n], vec![0.0; 9 * n]);
        let (x, h, b) =
            (MatrixView::new(&x, k, rows).transposed(), MatrixView::new(&h, k, 9).transposed(), MatrixView::new(&b, k, n));
        let of_x = (x, b, MatrixViewMut::new(&mut to_x, rows, n));
        let seen = std::sync::Mutex::new(vec![Vec::new(); n.div_ceil(crate::matmul::panel_width::<f32>())]);
        let passing = |panel: usize, ks: std::ops::Range<usize>| seen.lock().unwrap()[panel].push(ks);
        if turns {
            products_on(threads, [of_x, (h, b, MatrixViewMut::new(&mut to_h, 9, n))], Some(&passing));
        } else {
            products_on(threads, [of_x], Some(&passing));
        }
        let all = (0..k.max(1)).step_by(BLOCK_K).map(|first| first..(first + BLOCK_K).min(k)).collect::<Vec<_>>();
        for (panel, got) in seen.into_inner().unwrap().iter().enumerate() {
            assert_eq!(*got, all, "{threads} threads, {rows} x {k} x {n}, panel {panel}");
        }
    }

    #[test]
    fn every_block_is_passed_on_once_and_k_rises() {
        for threads in [1, 2, 3, 7] {
            // Cut by panels and by rows, more rows than are packed at a time, fewer than panels.
            for (rows, k, n) in [(28, 3584, 512), (300, 1030, 130), (2100, 5, 64), (3, 4100, 448), (1, 0, 70), (60, 1024, 1)] {
                blocks_come_once(threads, rows, k, n, false);
                blocks_come_once(threads, rows, k, n, true);
            }
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
