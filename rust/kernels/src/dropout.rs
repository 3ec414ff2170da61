//! Dropout (Srivastava et al. 2014), scaled in training so that inference does nothing. The mask is made from counters and made again in
//! the backward pass: it is never stored.

use crate::error::check_length;
use crate::parallel::{self, Shared};
use crate::random::Stream;
use crate::{Real, Result};
use weft_simd::{AHEAD, Isa, Kernel, Lanes, dispatch};

struct Drop<'a, T> {
    stream: Stream,
    /// Numbers below this are dropped.
    threshold: u32,
    scale: T,
    /// Index of x[0] in the whole array.
    first: u64,
    x: *const T,
    y: &'a mut [T],
}

impl<T: Real> Kernel for Drop<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        const BLOCK: usize = 64;
        let mut mask = [T::ZERO; BLOCK];
        let mut i = 0;
        while i < self.y.len() {
            // Sixteen counters side by side, so that the rounds run in vectors; the first numbers may belong to what lies before.
            let index = self.first + i as u64;
            let lead = (index % 4) as usize;
            for block in 0..BLOCK / 4 {
                let bits = self.stream.block(index / 4 + block as u64);
                for (lane, bits) in bits.into_iter().enumerate() {
                    mask[4 * block + lane] = if bits < self.threshold { T::ZERO } else { self.scale };
                }
            }
            let end = self.y.len().min(i + BLOCK - lead);
            let mut j = i;
            while j < end {
                let n = T::WIDTH.min(end - j);
                <T::On<I>>::ask(self.x.wrapping_add(j + AHEAD * T::WIDTH));
                <T::On<I>>::ask(self.y.as_ptr().wrapping_add(j + AHEAD * T::WIDTH));
                // SAFETY: n numbers are left in x, y and the mask.
                unsafe {
                    let m = <T::On<I>>::load_first(mask.as_ptr().add(lead + j - i), n);
                    <T::On<I>>::load_first(self.x.add(j), n).mul(m).store_first(self.y.as_mut_ptr().add(j), n);
                }
                j += n;
            }
            i = end;
        }
    }
}

/// What is dropped: with which probability, by which numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// Where the random numbers come from.
    pub stream: Stream,
    /// The probability, 0 to 1.
    pub p: f64,
}

impl Dropout {
    /// Numbers below this are dropped.
    fn threshold(self) -> u32 {
        (self.p * 4_294_967_296.0) as u32
    }

    /// `keep[i]` = 1, or 0 with probability p, for numbers from `first` on.
    pub(crate) fn keep<T: Real>(self, first: usize, keep: &mut [T]) {
        keep.fill(T::ONE);
        let (threshold, x) = (self.threshold(), keep.as_ptr());
        dispatch(Drop { stream: self.stream, threshold, scale: T::ONE, first: first as u64, x, y: keep });
    }

    /// `x[i] /= 1 − p`, or 0, on this thread, for numbers from `first` on of the whole array.
    pub(crate) fn in_place<T: Real>(self, first: usize, x: &mut [T]) {
        if self.p >= 1.0 {
            return x.fill(T::ZERO);
        }
        let (threshold, scale) = (self.threshold(), T::from_f64(1.0 / (1.0 - self.p)));
        dispatch(Drop { stream: self.stream, threshold, scale, first: first as u64, x: x.as_ptr(), y: x });
    }
}

/// `y[i] = x[i] / (1 − p)`, or 0 with probability p. The backward pass is the same call on the gradients.
///
/// Buffers: x read, y of the same length written. `0 <= p <= 1`; p = 1 drops everything.
pub fn dropout<T: Real>(of: Dropout, x: &[T], y: &mut [T]) -> Result<()> {
    check_length("dropout", "output", y.len(), x.len())?;
    if of.p >= 1.0 {
        y.fill(T::ZERO);
        return Ok(());
    }
    let (threshold, scale) = (of.threshold(), T::from_f64(1.0 / (1.0 - of.p)));
    let groups = x.len().div_ceil(4);
    let shared = Shared(y.as_mut_ptr());
    parallel::over_ranges(groups, size_of_val(x) * 8, |range| {
        let span = 4 * range.start..x.len().min(4 * range.end);
        // SAFETY: groups of different threads are disjoint.
        let y = unsafe { shared.slice(span.clone()) };
        dispatch(Drop { stream: of.stream, threshold, scale, first: span.start as u64, x: x[span].as_ptr(), y });
    });
    Ok(())
}
