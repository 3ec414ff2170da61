//! Rows of a table by index, and the gradient of the table.

use crate::error::{check_indices, check_length};
use crate::parallel::{self, Shared, threads_for_bytes};
use crate::{Real, Result};
use std::ops::Range;
use weft_simd::{AHEAD, Isa, Kernel, Lanes, dispatch};

/// `y[n, :] = table[indices[n], :]`.
///
/// Buffers: table `[V, D]` and indices `[N]` are read, y `[N, D]` is written.
pub fn forward<T: Real>(table: &[T], dim: usize, indices: &[i64], y: &mut [T]) -> Result<()> {
    check_length("embedding", "output", y.len(), indices.len() * dim)?;
    check_indices("embedding", "input", indices, table.len().checked_div(dim).unwrap_or(usize::MAX), None)?;
    let shared = Shared(y.as_mut_ptr());
    parallel::over_ranges(indices.len(), 2 * indices.len() * dim * size_of::<T>(), |range| {
        for n in range {
            let from = indices[n] as usize * dim;
            // SAFETY: each position has its own row of y.
            unsafe { shared.slice(n * dim..(n + 1) * dim) }.copy_from_slice(&table[from..from + dim]);
        }
    });
    Ok(())
}

/// Sums of some rows of the table: a few vectors of a row stay in registers while its positions pass.
struct Sums<'a, T> {
    dim: usize,
    rows: Range<usize>,
    /// Where the positions of each row of the table begin.
    starts: &'a [usize],
    positions: &'a [u32],
    dy: &'a [T],
    /// The first of these rows.
    grad: *mut T,
}

impl<T: Real> Kernel for Sums<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let first = self.rows.start;
        for v in self.rows.clone() {
            let mut i = 0;
            while i + <T::On<I> as Lanes>::Step::WIDTH <= self.dim {
                self.columns::<<T::On<I> as Lanes>::Step>(first, v, i, <T::On<I> as Lanes>::Step::WIDTH);
                i += <T::On<I> as Lanes>::Step::WIDTH;
            }
            while i < self.dim {
                let n = T::WIDTH.min(self.dim - i);
                self.columns::<T::On<I>>(first, v, i, n);
                i += n;
            }
        }
    }
}

impl<T: Real> Sums<'_, T> {
    /// `n` columns of row v from the i-th on, at most the lanes of V.
    #[inline(always)]
    fn columns<V: Lanes<Elem = T>>(&self, first: usize, v: usize, i: usize, n: usize) {
        let (dy, to) = (self.dy.as_ptr(), self.grad.wrapping_add((v - first) * self.dim + i));
        V::ask(to.wrapping_add(AHEAD * T::WIDTH));
        // Positions are anywhere: the first two of the next row of the table.
        for &next in self.positions[self.starts[v + 1]..].iter().take(2) {
            V::ask(dy.wrapping_add(next as usize * self.dim + i));
        }
        let mut sum = V::zero();
        for &position in &self.positions[self.starts[v]..self.starts[v + 1]] {
            // SAFETY: every position has a row of dy, and n columns are left in it.
            sum = sum.add(unsafe { V::load_first(dy.add(position as usize * self.dim + i), n) });
        }
        // SAFETY: n columns are left in the row, which is this thread's own.
        unsafe { sum.store_first(to, n) };
    }
}

/// `grad[v, :] = Σ dy[n, :]` over the positions n that hold v, in ascending n (a stable counting sort), `padding` left out.
///
/// Buffers: dy `[N, D]` and indices `[N]` are read; grad `[V, D]` is written whole.
pub fn backward<T: Real>(dim: usize, indices: &[i64], padding: Option<i64>, dy: &[T], grad: &mut [T]) -> Result<()> {
    check_length("embedding", "gradient", dy.len(), indices.len() * dim)?;
    let rows = grad.len().checked_div(dim).unwrap_or(0);
    check_indices("embedding", "input", indices, if dim == 0 { usize::MAX } else { rows }, None)?;
    let mut starts = vec![0usize; rows + 1];
    for &index in indices.iter().filter(|i| Some(**i) != padding) {
        if dim > 0 {
            starts[index as usize + 1] += 1;
        }
    }
    for v in 0..rows {
        starts[v + 1] += starts[v];
    }
    let mut next = starts.clone();
    let mut positions = vec![0u32; starts[rows]];
    for (n, &index) in indices.iter().enumerate().filter(|(_, i)| Some(**i) != padding) {
        if dim > 0 {
            positions[next[index as usize]] = n as u32;
            next[index as usize] += 1;
        }
    }
    let shared = Shared(grad.as_mut_ptr());
    let threads = threads_for_bytes(2 * size_of_val(dy)).min(rows.max(1));
    parallel::run(threads, &|thread| {
        // Rows are cut where the work is halved, not where the table is.
        let bound = |i: usize| match i {
            0 => 0,
            i if i == threads => rows,
            i => starts.partition_point(|&s| s < positions.len() * i / threads).min(rows),
        };
        let rows = bound(thread)..bound(thread + 1);
        // SAFETY: every row of the table belongs to one thread.
        let grad = unsafe { shared.slice(rows.start * dim..rows.end * dim) };
        dispatch(Sums { dim, rows, starts: &starts, positions: &positions, dy, grad: grad.as_mut_ptr() });
    });
    Ok(())
}
