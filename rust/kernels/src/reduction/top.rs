//! The largest numbers of a row, for searches.

use crate::error::check_length;
use crate::parallel::{self, Shared};
use crate::{Real, Result};
use weft_simd::{Isa, Kernel, Lanes, dispatch};

struct Top<'a, T> {
    width: usize,
    x: &'a [T],
    values: &'a mut [T],
    indices: &'a mut [i64],
}

impl<T: Real> Kernel for Top<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let n = self.width;
        let k = self.values.len() / (self.x.len() / n);
        for (row, x) in self.x.chunks_exact(n).enumerate() {
            let (values, indices) = (&mut self.values[row * k..(row + 1) * k], &mut self.indices[row * k..(row + 1) * k]);
            values.fill(T::NEG_INFINITY);
            indices.fill(-1);
            let mut i = 0;
            while i < n {
                let count = (4 * T::WIDTH).min(n - i);
                // A block of which no number would enter is passed over; most blocks of a long row are.
                if count == 4 * T::WIDTH {
                    let p = x[i..].as_ptr();
                    // SAFETY: four vectors are left in the row.
                    let entering = unsafe {
                        let (least, one) = (<T::On<I>>::splat(values[k - 1]), <T::On<I>>::splat(T::ONE));
                        // Comparisons, not maxima: a NaN must not hide the number beside it.
                        let mut above = <T::On<I>>::zero();
                        let mut j = 0;
                        while j < 4 {
                            let mask = least.lt(<T::On<I>>::load(p.add(j * T::WIDTH)));
                            above = <T::On<I>>::select(mask, one, above);
                            j += 1;
                        }
                        above.fold_max()
                    };
                    if entering == T::ZERO {
                        i += count;
                        continue;
                    }
                }
                for (j, &value) in x[i..i + count].iter().enumerate() {
                    if value > values[k - 1] {
                        // Behind all that are as large: the lower index comes first.
                        let mut place = k - 1;
                        while place > 0 && values[place - 1] < value {
                            (values[place], indices[place]) = (values[place - 1], indices[place - 1]);
                            place -= 1;
                        }
                        (values[place], indices[place]) = (value, (i + j) as i64);
                    }
                }
                i += count;
            }
        }
    }
}

/// The `k` largest numbers of each row of x `[rows, width]`, in falling order, and where they stand; of equal ones the lower index comes
/// first. −∞ and NaN are never taken: what is missing is −∞ at −1.
///
/// Buffers: x is read; values and indices `[rows, k]` are written, k from 1 to `width`.
pub fn top_k<T: Real>(width: usize, k: usize, x: &[T], values: &mut [T], indices: &mut [i64]) -> Result<()> {
    let rows = x.len().checked_div(width).unwrap_or(0);
    check_length("top_k", "x", x.len(), rows * width)?;
    check_length("top_k", "k", k.clamp(1, width.max(1)), k)?;
    check_length("top_k", "values", values.len(), rows * k)?;
    check_length("top_k", "indices", indices.len(), rows * k)?;
    let (values, indices) = (Shared(values.as_mut_ptr()), Shared(indices.as_mut_ptr()));
    parallel::over_ranges(rows, size_of_val(x), |range| {
        if range.is_empty() {
            return;
        }
        let span = range.start * k..range.end * k;
        // SAFETY: rows of different threads are disjoint.
        let (values, indices) = unsafe { (values.slice(span.clone()), indices.slice(span)) };
        dispatch(Top { width, x: &x[range.start * width..range.end * width], values, indices });
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_come_first_and_equal_ones_by_index() {
        let mut x: Vec<f32> = (0..300).map(|i| ((i * 7919) % 97) as f32).collect();
        x[5] = f32::NAN;
        x[6] = f32::NEG_INFINITY;
        for width in [1, 3, 50, 100, 300] {
            for k in [1, 2, 5].into_iter().filter(|&k| k <= width) {
                let rows = x.len() / width;
                let (mut values, mut indices) = (vec![0.0; rows * k], vec![0; rows * k]);
                top_k(width, k, &x, &mut values, &mut indices).unwrap();
                for row in 0..rows {
                    let some = &x[row * width..(row + 1) * width];
                    let mut order: Vec<usize> = (0..width).filter(|&i| some[i] > f32::NEG_INFINITY).collect();
                    order.sort_by(|&a, &b| some[b].partial_cmp(&some[a]).unwrap().then(a.cmp(&b)));
                    for j in 0..k {
                        let wished = order.get(j).map_or(-1, |&i| i as i64);
                        assert_eq!(indices[row * k + j], wished, "width {width}, k {k}, row {row}");
                    }
                }
            }
        }
    }
}
