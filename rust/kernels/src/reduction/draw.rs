//! A place of each row, drawn by probabilities.

use crate::activation::softmax_row;
use crate::error::check_length;
use crate::parallel::{self, Shared};
use crate::workspace::scratch;
use crate::{Real, Result};
use weft_simd::{Isa, Kernel, dispatch};

/// In place: numbers become softmax(numbers), then the sums of those up to each place.
struct Sums<'a>(&'a mut [f64]);

impl Kernel for Sums<'_> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let p = self.0.as_mut_ptr();
        // SAFETY: one row, read and written number by number.
        unsafe { softmax_row::<I::F64>(p.cast_const(), p, self.0.len()) };
        let mut sum = 0.0;
        for p in self.0 {
            sum += *p;
            *p = sum;
        }
    }
}

/// `places[r]`: where the sum of softmax(scores[r, :] / temperature), formed in f64 in the order of the columns, passes
/// `uniforms[r]` times the whole sum.
///
/// Buffers: scores `[R, V]` and uniforms `[R]` in [0, 1) are read, places `[R]` written. Where rounding takes the bound up to the whole sum,
/// it is the last place that may be drawn, which is the first to reach that sum.
pub fn draw<T: Real>(width: usize, temperature: f64, scores: &[T], uniforms: &[f64], places: &mut [i64]) -> Result<()> {
    check_length("draw", "scores", scores.len(), uniforms.len() * width)?;
    check_length("draw", "places", places.len(), uniforms.len())?;
    let shared = Shared(places.as_mut_ptr());
    parallel::over_ranges(uniforms.len(), 16 * size_of_val(scores), |range| {
        let mut sums = scratch::<f64>(width);
        for row in range {
            for (to, score) in sums.iter_mut().zip(&scores[row * width..(row + 1) * width]) {
                *to = score.to_f64() / temperature;
            }
            dispatch(Sums(&mut sums));
            let total = sums.last().copied().unwrap_or(0.0);
            let bound = uniforms[row] * total;
            let mut place = sums.iter().filter(|&&sum| sum <= bound).count();
            if place == width {
                place = sums.iter().position(|&sum| sum == total).unwrap_or(0);
            }
            // SAFETY: each row has its own place.
            unsafe { shared.write(row, place as i64) };
        }
    });
    Ok(())
}
