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
        let mut sum = V::zero();
        for chunk in (0..self.rows).step_by(ROWS) {
            let mut part = V::zero();
            for row in chunk..self.rows.min(chunk + ROWS) {
                V::ask(from.wrapping_add((row + ROWS_AHEAD) * self.stride));
                // SAFETY: row < rows, and `count` columns are left in each row.
                part = part.add(unsafe { V::load_first(from.add(row * self.stride), count) });
            }
            sum = if chunk == 0 { part } else { sum.add(part) };
        }
        // SAFETY: `count` numbers are left in y.
        unsafe { sum.store_first(self.y.wrapping_add(i), count) };
    }
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
                y: y.as_mut_ptr(),
            });
        }
    });
    Ok(())
}
