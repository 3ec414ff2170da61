//! A matrix turned over: gradients of weights are formed as `[K, N]`, which their products do fastest, and stored as `[N, K]`.

use crate::Real;
use crate::parallel::{self, Shared};
use std::ops::Range;
use weft_simd::{Isa, Kernel, Lanes, dispatch};

/// Columns that are read side by side, whole lines of each row; the lines of both sides stay in the first-level cache.
const SQUARE: usize = 16;

/// `to[rows[n], k] = from[k, n]`; a row of `usize::MAX` is left out.
///
/// Buffers: from `[K, N]` is read; to holds rows of K numbers, of which those that `rows` names, each once, are written.
pub(crate) fn turn<T: Real>(from: &[T], k: usize, rows: &[usize], to: &mut [T]) {
    let columns = rows.len();
    assert_eq!(from.len(), k * columns, "[turn] a row for each column");
    assert!(rows.iter().all(|&row| row == usize::MAX || (row + 1) * k <= to.len()), "[turn] rows that exist");
    let to = Shared(to.as_mut_ptr());
    parallel::over_ranges(columns.div_ceil(SQUARE), 4 * size_of_val(from), |squares| {
        let some = squares.start * SQUARE..columns.min(squares.end * SQUARE);
        dispatch(Turn { from: from.as_ptr(), k, columns, some, row: |column: usize| rows[column], to: to.at(0) });
    });
}

/// The same on this thread alone, every column to the row of its number.
pub(crate) fn turn_here<T: Real>(from: &[T], k: usize, to: &mut [T]) {
    assert_eq!(from.len(), to.len(), "[turn] as many numbers");
    let columns = from.len().checked_div(k).unwrap_or(0);
    dispatch(Turn { from: from.as_ptr(), k, columns, some: 0..columns, row: |column| column, to: to.as_mut_ptr() });
}

/// Some columns of a matrix `[k, columns]` to rows of their own, which exist and are this thread's alone.
struct Turn<T, R> {
    from: *const T,
    k: usize,
    columns: usize,
    some: Range<usize>,
    row: R,
    to: *mut T,
}

impl<T: Real, R: Fn(usize) -> usize> Kernel for Turn<T, R> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let side = <T::On<I>>::SIDE;
        let from = |i: usize, column: usize| self.from.wrapping_add(i * self.columns + column);
        let to = |column: usize, i: usize| self.to.wrapping_add((self.row)(column) * self.k + i);
        let there = |column: usize| (self.row)(column) != usize::MAX;
        for first in self.some.clone().step_by(SQUARE) {
            let columns = first..self.some.end.min(first + SQUARE);
            let whole = columns.len() == SQUARE && columns.clone().all(there);
            let rows = if whole { self.k / side * side } else { 0 };
            // SAFETY: columns and rows exist, on both sides.
            unsafe {
                for i in (0..rows).step_by(side) {
                    for column in columns.clone().step_by(side) {
                        <T::On<I>>::turn(|x| from(i + x, column), |y| to(column + y, i));
                    }
                }
                for column in columns.filter(|&column| there(column)) {
                    for i in rows..self.k {
                        *to(column, i) = *from(i, column);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_number_comes_to_its_place() {
        for (k, n) in [(1, 1), (5, 3), (16, 16), (33, 17), (0, 4), (40, 100), (24, 64)] {
            let from: Vec<f32> = (0..k * n).map(|i| i as f32).collect();
            for left_out in [3, usize::MAX] {
                let row = |c: usize| if c % 5 == left_out { usize::MAX } else { n - 1 - c };
                let rows: Vec<usize> = (0..n).map(row).collect();
                let mut to = vec![-1.0; n * k];
                super::turn(&from, k, &rows, &mut to);
                for c in 0..n {
                    for i in 0..k {
                        let wished = if row(c) == usize::MAX { -1.0 } else { from[i * n + c] };
                        assert_eq!(to[(n - 1 - c) * k + i], wished, "K {k}, N {n}, column {c}, row {i}");
                    }
                }
            }
            let mut to = vec![-1.0; n * k];
            super::turn_here(&from, k, &mut to);
            assert!((0..n * k).all(|at| k == 0 || to[at] == from[at % k * n + at / k]), "K {k}, N {n}");
        }
    }
}
