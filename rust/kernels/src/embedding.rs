//! Rows of a table by index, and the gradient of the table.

use crate::error::{check_indices, check_length};
use crate::parallel::{self, Shared, threads_for_bytes};
use crate::{Real, Result};

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
        for v in bound(thread)..bound(thread + 1) {
            // SAFETY: every row of the table belongs to one thread.
            let row = unsafe { shared.slice(v * dim..(v + 1) * dim) };
            row.fill(T::ZERO);
            for &n in &positions[starts[v]..starts[v + 1]] {
                let from = &dy[n as usize * dim..(n as usize + 1) * dim];
                for (sum, &value) in row.iter_mut().zip(from) {
                    *sum += value;
                }
            }
        }
    });
    Ok(())
}
