//! Threads: how many ([`threads`]), the pool that runs them ([`pool`]), and smaller pieces where they are not equally fast ([`pieces`]).
//!
//! A kernel cuts its outputs into parts whose bits do not depend on the cut, asks [`threads_for`] how many threads the work is worth,
//! and calls [`run`]. The caller takes part. A caller that finds the pool busy does all parts itself.

mod barrier;
mod handshake;
mod pieces;
mod pool;
mod threads;

pub use barrier::{Barrier, Presence};
pub use pieces::run_pieces;
pub use pool::{run, run_together};
pub use threads::{available, initialize, num_threads, set_num_threads};

/// Work that pays for waking one more thread: about 8 µs of one core.
const OPERATIONS_A_THREAD: f64 = 6e5;
/// The same for passes over memory.
const BYTES_A_THREAD: f64 = 1.6e5;

/// How many threads a product of `operations` floating-point operations is worth.
pub fn threads_for(operations: f64) -> usize {
    num_threads().min((operations / OPERATIONS_A_THREAD) as usize).max(1)
}

/// How many threads a pass over `bytes` of memory is worth.
pub fn threads_for_bytes(bytes: usize) -> usize {
    num_threads().min((bytes as f64 / BYTES_A_THREAD) as usize).max(1)
}

/// Part `index` of `0..len` cut into `parts` nearly equal ranges.
pub fn part(len: usize, parts: usize, index: usize) -> std::ops::Range<usize> {
    len * index / parts..len * (index + 1) / parts
}

/// A pointer that threads may share because each writes its own part.
#[derive(Clone, Copy)]
pub struct Shared<T>(pub *mut T);

// SAFETY: whoever makes one hands disjoint parts to the threads; see each use.
unsafe impl<T> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// Where element `index` stands.
    pub fn at(&self, index: usize) -> *mut T {
        self.0.wrapping_add(index)
    }

    /// Writes one element.
    ///
    /// # Safety
    /// It lies within the allocation and no other thread touches it meanwhile.
    pub unsafe fn write(&self, index: usize, value: T) {
        // SAFETY: passed on to the caller.
        unsafe { self.0.add(index).write(value) }
    }

    /// The slice `range`.
    ///
    /// # Safety
    /// The range lies within the allocation and no other thread touches it meanwhile.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn slice(&self, range: std::ops::Range<usize>) -> &mut [T] {
        // SAFETY: passed on to the caller.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(range.start), range.len()) }
    }
}

/// Runs `f` over `0..len` cut into ranges, as many as `bytes` of memory traffic are worth.
pub fn over_ranges(len: usize, bytes: usize, f: impl Fn(std::ops::Range<usize>) + Sync) {
    let threads = threads_for_bytes(bytes).min(len.max(1));
    run(threads, &|index| f(part(len, threads, index)));
}
