//! Where the parts of a job wait for each other: some tens of times a millisecond, so they spin, and give way only when it takes long.

use super::pool::cores;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A meeting point of `parts` threads of one [`run_together`](super::run_together).
pub struct Barrier {
    parts: usize,
    arrived: AtomicUsize,
    round: AtomicUsize,
    broken: AtomicBool,
    /// Looks before it gives way: none with more threads than cores, where others must run first.
    spins: u32,
}

/// Held by a part: if the part panics, those that wait for it panic too instead of waiting for ever.
pub struct Presence<'a>(&'a Barrier);

impl Drop for Presence<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.broken.store(true, Ordering::Release);
        }
    }
}

impl Barrier {
    /// For so many parts.
    pub fn new(parts: usize) -> Self {
        let spins = if parts > cores() { 0 } else { 4096 };
        Self { parts, arrived: AtomicUsize::new(0), round: AtomicUsize::new(0), broken: AtomicBool::new(false), spins }
    }

    /// Every part holds this while it runs.
    pub fn enter(&self) -> Presence<'_> {
        Presence(self)
    }

    /// Returns when all parts have come. What they wrote before is visible after.
    pub fn wait(&self) {
        let round = self.round.load(Ordering::Acquire);
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.parts {
            self.arrived.store(0, Ordering::Relaxed);
            self.round.store(round.wrapping_add(1), Ordering::Release);
            return;
        }
        let mut spins = 0u32;
        while self.round.load(Ordering::Acquire) == round {
            assert!(!self.broken.load(Ordering::Acquire), "another part of this job has panicked");
            spins += 1;
            if spins < self.spins {
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
                met = run_together(parts, &|_| {
                    let _here = barrier.enter();
                    for round in 1..200 {
                        count.fetch_add(1, Ordering::Relaxed);
                        barrier.wait();
                        assert_eq!(count.load(Ordering::Relaxed), round * parts as u64);
                        barrier.wait();
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
                let _here = barrier.enter();
                assert!(i == 0, "part 1 fails");
                barrier.wait();
            }) {}
        }));
        assert!(result.is_err());
        run(3, &|_| {});
    }
}
