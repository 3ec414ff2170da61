//! The largest numbers of rows ([`top_k`]), places drawn by them ([`draw()`]), and sums over an axis: `[outer, n, inner]` → `[outer, inner]`.
//!
//! Rule R4. Along a row (inner = 1): chunks of [`CHUNK`] numbers, each summed in four vectors of virtual lanes and folded one way;
//! chunk sums are added in order. Across rows: chunks of [`ROWS`] rows, a chain a column, chunk sums added in order.

mod draw;
mod top;

pub use draw::draw;
pub use top::top_k;

use crate::error::check_length;
use crate::parallel::{self, Shared};
use crate::workspace::scratch;
use crate::{Real, Result};
use weft_simd::{AHEAD, Isa, Kernel, Lanes, dispatch};

/// Numbers of a row that are summed before the next sum begins.
pub const CHUNK: usize = 16_384;
/// Rows that are summed before the next sum begins.
pub const ROWS: usize = 256;
/// How many rows ahead their lines are asked for: rows lie too far apart to be foreseen.
const ROWS_AHEAD: usize = 16;

struct RowChunk<'a, T>(&'a [T]);

impl<T: Real> Kernel for RowChunk<'_, T> {
    type Output = T;
    #[inline(always)]
    fn run<I: Isa>(self) -> T {
        let (x, n, width) = (self.0.as_ptr(), self.0.len(), T::WIDTH);
        let mut sums = [<T::On<I>>::zero(); 4];
        let mut i = 0;
        // SAFETY: every load stays below n.
        unsafe {
            while i + 4 * width <= n {
                for (j, sum) in sums.iter_mut().enumerate() {
                    *sum = sum.add(<T::On<I>>::load(x.add(i + j * width)));
                }
                <T::On<I> as Lanes>::Step::ask(x.wrapping_add(i + AHEAD * width));
                i += 4 * width;
            }
            let mut j = 0;
            while i < n {
                let count = width.min(n - i);
                sums[j] = sums[j].add(<T::On<I>>::load_first(x.add(i), count));
                i += count;
                j += 1;
            }
        }
        sums[0].add(sums[1]).add(sums[2].add(sums[3])).fold_add()
    }
}

/// The sum of a slice.
pub fn total<T: Real>(x: &[T]) -> T {
    if x.len() <= CHUNK {
        return dispatch(RowChunk(x));
    }
    let chunks = x.len().div_ceil(CHUNK);
    let mut sums = scratch::<T>(chunks);
    let shared = Shared(sums.as_mut_ptr());
    parallel::over_ranges(chunks, size_of_val(x), |range| {
        for c in range {
            // SAFETY: each chunk has its own place.
            unsafe { shared.write(c, dispatch(RowChunk(&x[c * CHUNK..x.len().min((c + 1) * CHUNK)]))) };
        }
    });
    let mut sum = sums[0];
    for &s in &sums[1..] {
        sum += s;
    }
    sum
}

struct Columns<'a, T> {
    x: &'a [T],
    stride: usize,
    rows: usize,
    columns: usize,
    /// y holds the sum of the rows before.
    goes_on: bool,
    y: *mut T,
}

impl<T: Real> Kernel for Columns<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let n = self.columns;
        let mut i = 0;
        while i + <T::On<I> as Lanes>::Step::WIDTH <= n {
            self.columns::<<T::On<I> as Lanes>::Step>(i, <T::On<I> as Lanes>::Step::WIDTH);
            i += <T::On<I> as Lanes>::Step::WIDTH;
        }
        while i < n {
            let count = T::WIDTH.min(n - i);
            self.columns::<T::On<I>>(i, count);
            i += count;
        }
    }
}

impl<T: Real> Columns<'_, T> {
    /// `count` columns from the i-th on, at most the lanes of V.
    #[inline(always)]
    fn columns<V: Lanes<Elem = T>>(&self, i: usize, count: usize) {
        let from = self.x.as_ptr().wrapping_add(i);
        let to = self.y.wrapping_add(i);
        // SAFETY: `count` numbers are left in y.
        let mut sum = if self.goes_on { unsafe { V::load_first(to.cast_const(), count) } } else { V::zero() };
        for chunk in (0..self.rows).step_by(ROWS) {
            let mut part = V::zero();
            for row in chunk..self.rows.min(chunk + ROWS) {
                V::ask(from.wrapping_add((row + ROWS_AHEAD) * self.stride));
                // SAFETY: row < rows, and `count` columns are left in each row.
                part = part.add(unsafe { V::load_first(from.add(row * self.stride), count) });
            }
            sum = if chunk == 0 && !self.goes_on { part } else { sum.add(part) };
        }
        // SAFETY: as above.
        unsafe { sum.store_first(to, count) };
    }
}

/// A sum over rows that come a few at a time, by this thread: those from row `first` on, at which a chunk of [`ROWS`] begins. The bits are those of
/// [`sum`] over all rows.
///
/// Buffers: x `[n, inner]` is read; y `[inner]` is written with the first rows, and holds the sum so far when others come.
pub(crate) fn sum_from<T: Real>(first: usize, x: &[T], y: &mut [T]) {
    let inner = y.len();
    assert!(first.is_multiple_of(ROWS) && x.len().is_multiple_of(inner), "[sum] whole rows from the beginning of a chunk on");
    dispatch(Columns { x, stride: inner, rows: x.len() / inner, columns: inner, goes_on: first > 0, y: y.as_mut_ptr() });
}

/// `y[o, i] = Σ_k x[o, k, i]`. Buffers: x of outer·n·inner is read, y of outer·inner written.
pub fn sum<T: Real>(outer: usize, n: usize, inner: usize, x: &[T], y: &mut [T]) -> Result<()> {
    check_length("sum", "input", x.len(), outer * n * inner)?;
    check_length("sum", "output", y.len(), outer * inner)?;
    if n == 0 {
        y.fill(T::ZERO);
        return Ok(());
    }
    if outer * inner == 0 {
        return Ok(());
    }
    if inner == 1 && outer == 1 {
        y[0] = total(x);
        return Ok(());
    }
    let shared = Shared(y.as_mut_ptr());
    if inner == 1 {
        parallel::over_ranges(outer, size_of_val(x), |range| {
            for o in range {
                let row = &x[o * n..(o + 1) * n];
                let mut sum = T::ZERO;
                for (c, chunk) in row.chunks(CHUNK).enumerate() {
                    let part = dispatch(RowChunk(chunk));
                    sum = if c == 0 { part } else { sum + part };
                }
                // SAFETY: each row has its own place.
                unsafe { shared.write(o, sum) };
            }
        });
        return Ok(());
    }
    // Lanes over columns: threads take blocks of columns of one outer index.
    const BLOCK: usize = 64;
    let blocks = inner.div_ceil(BLOCK);
    parallel::over_ranges(outer * blocks, size_of_val(x), |range| {
        for job in range {
            let (o, first) = (job / blocks, job % blocks * BLOCK);
            let last = inner.min(first + BLOCK);
            // SAFETY: blocks of columns are disjoint.
            let y = unsafe { shared.slice(o * inner + first..o * inner + last) };
            dispatch(Columns {
                x: &x[o * n * inner + first..(o + 1) * n * inner],
                stride: inner,
                rows: n,
                columns: y.len(),
                goes_on: false,
                y: y.as_mut_ptr(),
            });
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces_have_the_bits_of_all<T: Real>(rows: usize, inner: usize, piece: usize) {
        let x: Vec<T> = (0..rows * inner).map(|i| T::from_f64(((i * 37) % 101) as f64 / 7.0 - 6.0)).collect();
        let (mut wanted, mut got) = (vec![T::ZERO; inner], vec![T::from_f64(f64::NAN); inner]);
        sum(1, rows, inner, &x, &mut wanted).unwrap();
        for first in (0..rows.max(1)).step_by(piece) {
            sum_from(first, &x[first * inner..(first + piece).min(rows) * inner], &mut got);
        }
        assert!(wanted == got, "{rows} rows of {inner}, {piece} at a time");
    }

    #[test]
    fn rows_that_come_a_few_at_a_time() {
        for rows in [0, 1, 255, 256, 257, 1024, 3584, 5000] {
            for (inner, piece) in [(64, 1024), (48, 256), (3, 1024), (130, 512)] {
                pieces_have_the_bits_of_all::<f32>(rows, inner, piece);
                pieces_have_the_bits_of_all::<f64>(rows, inner, piece);
            }
        }
    }
}
