//! Pieces of work for threads that may not be equally fast. On a machine that others use too, or whose cores differ, they are not for seconds at a
//! time, and who has half of the work keeps the other waiting. Which thread does what changes no bit.

use super::run;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// So many more works of the last ones were uneven than even.
const OFTEN: usize = 4;
/// More than that many are not remembered.
const MOST: usize = 2 * OFTEN;
/// A shorter piece tells nothing: by chance it is longer than another.
const TELLING: Duration = Duration::from_micros(50);

/// How the threads have been.
static PACE: Pace = Pace::new();

/// Runs `part(index, of)` for each index of `of` parts of equal work: as many as threads, or, where these have not been equally fast lately, `pieces` of
/// them by whoever comes for the next. Work that has no more pieces than threads tells nothing of these: its parts are uneven by a row.
pub fn run_pieces(threads: usize, pieces: usize, part: &(dyn Fn(usize, usize) + Sync)) {
    if pieces <= threads {
        return run(threads, &|index| part(index, threads));
    }
    PACE.remember(&in_pieces(threads, if PACE.is_uneven() { pieces } else { threads }, part));
}

fn in_pieces(threads: usize, pieces: usize, part: &(dyn Fn(usize, usize) + Sync)) -> Lap {
    let (next, lap) = (AtomicUsize::new(0), Lap::new());
    run(threads, &|_| {
        lap.run(|| {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index < pieces {
                part(index, pieces);
            }
            index < pieces
        });
    });
    lap
}

/// What works have shown of the threads.
struct Pace(AtomicUsize);

/// One work: the least and the longest time that a thread has taken for a piece, in nanoseconds.
struct Lap {
    least: AtomicU64,
    longest: AtomicU64,
}

impl Pace {
    const fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// Whether it is better to hand out small pieces.
    fn is_uneven(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= OFTEN
    }

    /// Remembers a work: uneven is one in which a thread took a quarter longer than another.
    fn remember(&self, lap: &Lap) {
        let (least, longest) = (lap.least.load(Ordering::Relaxed), lap.longest.load(Ordering::Relaxed));
        if longest < TELLING.as_nanos() as u64 {
            return;
        }
        let uneven = longest > least.saturating_add(least / 4);
        let before = self.0.load(Ordering::Relaxed);
        // Works that end at the same time may forget each other: it is a guess either way.
        self.0.store(if uneven { (before + 1).min(MOST) } else { before.saturating_sub(1) }, Ordering::Relaxed);
    }
}

impl Lap {
    fn new() -> Self {
        Self { least: AtomicU64::new(u64::MAX), longest: AtomicU64::new(0) }
    }

    /// A thread's calls of `piece`, as long as there are pieces to take; it returns false when there are none.
    fn run(&self, mut piece: impl FnMut() -> bool) {
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
    fn every_piece_is_done_once() {
        for (threads, pieces) in [(1, 1), (2, 2), (2, 8), (3, 12), (7, 7), (7, 70), (2, 100)] {
            let seen: Vec<AtomicUsize> = (0..pieces).map(|_| AtomicUsize::new(0)).collect();
            in_pieces(threads, pieces, &|index, of| {
                assert_eq!(of, pieces);
                seen[index].fetch_add(1, Ordering::Relaxed);
            });
            assert!(seen.iter().all(|times| times.load(Ordering::Relaxed) == 1), "{threads} threads, {pieces} pieces");
        }
    }

    #[test]
    fn uneven_is_what_was_so_for_some_passes() {
        let pace = Pace::new();
        // A thread that came too late for a piece tells nothing.
        let (even, uneven) = (lap(&[(200, 1), (240, 1), (5, 0)]), lap(&[(400, 4), (400, 3)]));
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
        // Too short to tell.
        (0..100).for_each(|_| pace.remember(&lap(&[(4, 1), (40, 1)])));
        assert!(!pace.is_uneven());
    }
}
