//! Whether threads have been equally fast lately. On a machine that others use too, or whose cores differ, they are not for seconds at a time, and
//! who has half of the rows keeps the other waiting. Which thread does what changes no bit.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// So many more passes of the last ones were uneven than even.
const OFTEN: usize = 4;
/// More than that many are not remembered.
const MOST: usize = 2 * OFTEN;

/// What passes have shown of the threads.
pub(super) struct Pace(AtomicUsize);

/// One pass: the least and the longest time that a thread has taken for a piece, in nanoseconds.
pub(super) struct Lap {
    least: AtomicU64,
    longest: AtomicU64,
}

impl Pace {
    pub const fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// Whether it is better to hand out small pieces.
    pub fn is_uneven(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= OFTEN
    }

    /// Remembers a pass: uneven is one in which a thread took a quarter longer than another.
    pub fn remember(&self, lap: &Lap) {
        let (least, longest) = (lap.least.load(Ordering::Relaxed), lap.longest.load(Ordering::Relaxed));
        let uneven = longest > least.saturating_add(least / 4);
        let before = self.0.load(Ordering::Relaxed);
        // Passes that end at the same time may forget each other: it is a guess either way.
        self.0.store(if uneven { (before + 1).min(MOST) } else { before.saturating_sub(1) }, Ordering::Relaxed);
    }
}

impl Lap {
    pub fn new() -> Self {
        Self { least: AtomicU64::new(u64::MAX), longest: AtomicU64::new(0) }
    }

    /// A thread's calls of `piece`, as long as there are pieces to take; it returns false when there are none.
    pub fn run(&self, mut piece: impl FnMut() -> bool) {
        let begun = Instant::now();
        let mut done = 0;
        while piece() {
            done += 1;
        }
        self.add(begun.elapsed(), done);
    }

    fn add(&self, time: Duration, pieces: u32) {
        if pieces > 0 {
            let each = (time / pieces).as_nanos() as u64;
            self.least.fetch_min(each, Ordering::Relaxed);
            self.longest.fetch_max(each, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lap(times: &[(u64, u32)]) -> Lap {
        let lap = Lap::new();
        times.iter().for_each(|&(time, pieces)| lap.add(Duration::from_micros(time), pieces));
        lap
    }

    #[test]
    fn uneven_is_what_was_so_for_some_passes() {
        let pace = Pace::new();
        // A thread that came too late for a piece tells nothing.
        let (even, uneven) = (lap(&[(100, 1), (120, 1), (5, 0)]), lap(&[(100, 4), (100, 3)]));
        for _ in 0..OFTEN {
            assert!(!pace.is_uneven());
            pace.remember(&uneven);
        }
        assert!(pace.is_uneven());
        (0..100).for_each(|_| pace.remember(&uneven));
        for _ in 0..=MOST - OFTEN {
            assert!(pace.is_uneven());
            pace.remember(&even);
        }
        assert!(!pace.is_uneven());
        (0..100).for_each(|_| pace.remember(&even));
        pace.remember(&lap(&[]));
        assert!(!pace.is_uneven());
    }
}
