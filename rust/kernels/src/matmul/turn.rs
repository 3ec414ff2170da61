//! A matrix turned over: gradients of weights are formed as `[K, N]`, which their products do fastest, and stored as `[N, K]`.

use crate::Real;
use crate::parallel::{self, Shared};

/// A side of the squares in which matrices are turned over: the lines of both sides stay in the first-level cache.
pub(crate) const SQUARE: usize = 16;

/// `to[rows[n], k] = from[k, n]`; a row of `usize::MAX` is left out.
///
/// Buffers: from `[K, N]` is read; to holds rows of K numbers, of which those that `rows` names, each once, are written.
pub(crate) fn turn<T: Real>(from: &[T], k: usize, rows: &[usize], to: &mut [T]) {
    let columns = rows.len();
    assert_eq!(from.len(), k * columns, "[turn] a row for each column");
    assert!(rows.iter().all(|&row| row == usize::MAX || (row + 1) * k <= to.len()), "[turn] rows that exist");
    let to = Shared(to.as_mut_ptr());
    parallel::over_ranges(columns.div_ceil(SQUARE), 4 * size_of_val(from), |squares| {
        let columns_here = squares.start * SQUARE..columns.min(squares.end * SQUARE);
        for first in columns_here.step_by(SQUARE) {
            let rows = &rows[first..columns.min(first + SQUARE)];
            for left in (0..k).step_by(SQUARE) {
                let right = k.min(left + SQUARE);
                for (column, &row) in (first..).zip(rows).filter(|(_, row)| **row != usize::MAX) {
                    // SAFETY: the caller names each row once, so that it belongs to one thread; all rows exist (above).
                    let to = unsafe { to.slice(row * k + left..row * k + right) };
                    for (i, value) in (left..).zip(to) {
                        *value = from[i * columns + column];
                    }
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_number_comes_to_its_place() {
        for (k, n) in [(1, 1), (5, 3), (16, 16), (33, 17), (0, 4), (40, 100)] {
            let from: Vec<f32> = (0..k * n).map(|i| i as f32).collect();
            let rows: Vec<usize> = (0..n).map(|c| if c % 5 == 3 { usize::MAX } else { n - 1 - c }).collect();
            let mut to = vec![-1.0; n * k];
            super::turn(&from, k, &rows, &mut to);
            for c in 0..n {
                let row = n - 1 - c;
                for i in 0..k {
                    let wished = if c % 5 == 3 { -1.0 } else { from[i * n + c] };
                    assert_eq!(to[row * k + i], wished, "K {k}, N {n}, column {c}, row {i}");
                }
            }
        }
    }
}
