//! Dropout (Srivastava et al. 2014), scaled in training so that inference does nothing. The mask is made from counters and made again in
//! the backward pass: it is never stored. A decision takes 16 bits, as attention's (`attention/heads/mask.rs`).

use crate::error::check_length;
use crate::parallel::{self, Shared};
use crate::random::Stream;
use crate::{Real, Result};
use std::array;
use weft_simd::{AHEAD, Isa, Kernel, Lanes, dispatch};

/// Numbers whose decisions come from one group of counters.
const GROUP: usize = 64;

struct Drop<'a, T> {
    of: Dropout,
    /// The factor of what stays.
    scale: T,
    /// Index of x[0] in the whole array.
    first: u64,
    x: *const T,
    y: &'a mut [T],
}

impl<T: Real> Drop<'_, T> {
    /// The factors of a group's numbers: 16 in a row share the words of eight counters, the upper halves first.
    ///
    /// The upper half of a word is below the threshold if the word is below the threshold moved up by 16 bits, whatever the lower one is.
    #[inline(always)]
    fn factors(&self, group: u64, to: &mut [T; GROUP]) {
        let bits = self.of.stream.decisions(array::from_fn::<_, 8, _>(|lane| 8 * group + lane as u64));
        let threshold = self.of.threshold() << 16;
        for (to, words) in to.as_chunks_mut::<16>().0.iter_mut().zip(bits) {
            for (lane, word) in words.into_iter().enumerate() {
                to[lane] = if word < threshold { T::ZERO } else { self.scale };
                to[8 + lane] = if word << 16 < threshold { T::ZERO } else { self.scale };
            }
        }
    }
}

impl<T: Real> Kernel for Drop<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let mut factors = [T::ZERO; GROUP];
        let mut i = 0;
        while i < self.y.len() {
            // The first numbers of the group may belong to what lies before.
            let index = self.first + i as u64;
            let lead = (index % GROUP as u64) as usize;
            self.factors(index / GROUP as u64, &mut factors);
            let end = self.y.len().min(i + GROUP - lead);
            let mut j = i;
            while j < end {
                let n = T::WIDTH.min(end - j);
                <T::On<I>>::ask(self.x.wrapping_add(j + AHEAD * T::WIDTH));
                <T::On<I>>::ask(self.y.as_ptr().wrapping_add(j + AHEAD * T::WIDTH));
                // SAFETY: n numbers are left in x, y and the factors.
                unsafe {
                    let m = <T::On<I>>::load_first(factors.as_ptr().add(lead + j - i), n);
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
    /// Of 65,536 decisions this many drop: p is a multiple of 2⁻¹⁶.
    pub(crate) fn threshold(self) -> u32 {
        (self.p * 65536.0).round_ties_even() as u32
    }

    /// The factor of what stays: the exact inverse of the share that stays, or 0 if nothing does.
    pub(crate) fn scale(self) -> f64 {
        match self.threshold() {
            65536.. => 0.0,
            threshold => 65536.0 / f64::from(65536 - threshold),
        }
    }

    /// `keep[i]` = 1, or 0 with probability p, for numbers from `first` on.
    pub(crate) fn keep<T: Real>(self, first: usize, keep: &mut [T]) {
        keep.fill(if self.threshold() == 65536 { T::ZERO } else { T::ONE });
        let x = keep.as_ptr();
        dispatch(Drop { of: self, scale: T::ONE, first: first as u64, x, y: keep });
    }

    /// `x[i] *= scale`, or 0, on this thread, for numbers from `first` on of the whole array.
    pub(crate) fn in_place<T: Real>(self, first: usize, x: &mut [T]) {
        if self.threshold() == 65536 {
            return x.fill(T::ZERO);
        }
        dispatch(Drop { of: self, scale: T::from_f64(self.scale()), first: first as u64, x: x.as_ptr(), y: x });
    }
}

/// `y[i] = x[i] / (1 − p)`, or 0 with probability p, a multiple of 2⁻¹⁶. The backward pass is the same call on the gradients.
///
/// Buffers: x read, y of the same length written. `0 <= p <= 1`; p = 1 drops everything.
pub fn dropout<T: Real>(of: Dropout, x: &[T], y: &mut [T]) -> Result<()> {
    check_length("dropout", "output", y.len(), x.len())?;
    if of.threshold() == 65536 {
        y.fill(T::ZERO);
        return Ok(());
    }
    let scale = T::from_f64(of.scale());
    let groups = x.len().div_ceil(GROUP);
    let shared = Shared(y.as_mut_ptr());
    parallel::over_ranges(groups, size_of_val(x) * 8, |range| {
        let span = GROUP * range.start..x.len().min(GROUP * range.end);
        // SAFETY: groups of different threads are disjoint.
        let y = unsafe { shared.slice(span.clone()) };
        dispatch(Drop { of, scale, first: span.start as u64, x: x[span].as_ptr(), y });
    });
    Ok(())
}
