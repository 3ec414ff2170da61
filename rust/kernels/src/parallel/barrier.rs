//! Where the parts of a job wait for each other: some tens of times a millisecond, so they spin, and give way only when it takes long.

use super::pool::cores;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Where the parts of a job wait for each other, as often as they like.
///
/// Each part counts its own rounds in a line of its own, and reads those of the others: from one part's word to the other's going on, one line
/// changes cores once. Of one counter for all, with the round beside it, three did (recurrent layers of one row: 1.03 times as long).
pub struct Barrier {
    rounds: Box<[Round]>,
    broken: AtomicBool,
    /// Looks before it gives way: none with more threads than cores, where others must run first.
    spins: u32,
}

/// Two lines, since processors fetch them in pairs.
#[repr(align(128))]
struct Round(AtomicUsize);

/// A part at the barrier: if it panics, those that wait for it panic too instead of waiting for ever.
pub struct Presence<'a> {
    barrier: &'a Barrier,
    index: usize,
}

impl Drop for Presence<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.barrier.broken.store(true, Ordering::Release);
        }
    }
}

impl Barrier {
    /// For so many parts.
    pub fn new(parts: usize) -> Self {
        let spins = if parts > cores() { 0 } else { 4096 };
        let rounds = (0..parts).map(|_| Round(AtomicUsize::new(0))).collect();
        Self { rounds, broken: AtomicBool::new(false), spins }
    }

    /// Every part holds this while it runs; each has its own `index` below the number of parts.
    pub fn enter(&self, index: usize) -> Presence<'_> {
        assert!(index < self.rounds.len());
        Presence { barrier: self, index }
    }
}

impl Presence<'_> {
    /// Returns when all parts have come. What they wrote before is visible after.
    pub fn wait(&self) {
        self.arrive();
        (0..self.barrier.rounds.len()).for_each(|part| self.wait_for(part));
    }

    /// Says that this part has come once more, and goes on.
    pub fn arrive(&self) {
        let own = &self.barrier.rounds[self.index].0;
        own.store(own.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// Returns when another part has come as often as this one. What it wrote before is visible after.
    pub fn wait_for(&self, part: usize) {
        let Barrier { rounds, broken, spins } = self.barrier;
        let round = rounds[self.index].0.load(Ordering::Relaxed);
        let mut looks = 0u32;
        // A part that all have met may be a round ahead.
        while rounds[part].0.load(Ordering::Acquire) < round {
            assert!(!broken.load(Ordering::Acquire), "another part of this job has panicked");
            looks += 1;
            if looks < *spins {
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{run, run_together};
    use super::*;
    use std::sync::atomic::AtomicU64;

    #[test]
    fn nobody_leaves_before_all_have_come() {
        for parts in [2, 3] {
            let (barrier, count) = (Barrier::new(parts), AtomicU64::new(0));
            let mut met = false;
            while !met {
                // The pool may be busy with another test.
                met = run_together(parts, &|i| {
                    let here = barrier.enter(i);
                    for round in 1..200 {
                        count.fetch_add(1, Ordering::Relaxed);
                        here.wait();
                        assert_eq!(count.load(Ordering::Relaxed), round * parts as u64);
                        here.wait();
                    }
                });
            }
        }
    }

    #[test]
    fn a_panic_frees_those_who_wait() {
        let barrier = Barrier::new(2);
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            while !run_together(2, &|i| {
                let here = barrier.enter(i);
                assert!(i == 0, "part 1 fails");
                here.wait();
            }) {}
        }));
        assert!(result.is_err());
        run(3, &|_| {});
    }
}
