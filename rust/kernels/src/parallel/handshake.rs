//! How a caller hands work to one worker, and takes it back: the only place of the pool where threads touch the same memory.
//!
//! ```text
//!   IDLE --offer--> OFFERED --take, by the worker--> TAKEN --finish--> IDLE
//!                   OFFERED --take_back, by the caller--> IDLE
//! ```
//!
//! Checked over every order of steps that the memory model allows by loom (`make loom`), which brings its own atomics and cells.

#[cfg(loom)]
use loom::cell::UnsafeCell;
#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, AtomicU8, Ordering, fence};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering, fence};

/// The cell of the standard library with loom's way in.
#[cfg(not(loom))]
struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

#[cfg(not(loom))]
impl<T> UnsafeCell<T> {
    fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }
    fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }
}

const IDLE: u8 = 0;
const OFFERED: u8 = 1;
const TAKEN: u8 = 2;

/// What the caller and one worker share; a cache line of its own. `W` is the work, `P` what is left of a panic.
#[repr(align(128))]
pub(super) struct Slot<W, P> {
    state: AtomicU8,
    parked: AtomicBool,
    work: UnsafeCell<Option<W>>,
    panic: UnsafeCell<Option<P>>,
}

// SAFETY: `work` is written while the state is IDLE and read by whoever turned OFFERED into TAKEN; `panic` is written in TAKEN and read in
// IDLE. Every change of state is Release or stronger, every look that leads to an access is Acquire.
unsafe impl<W, P> Sync for Slot<W, P> {}
// SAFETY: as above.
unsafe impl<W, P> Send for Slot<W, P> {}

impl<W, P> Slot<W, P> {
    pub(super) fn new() -> Self {
        Self {
            state: AtomicU8::new(IDLE),
            parked: AtomicBool::new(false),
            work: UnsafeCell::new(None),
            panic: UnsafeCell::new(None),
        }
    }

    /// Caller, in IDLE: offers work. True if the worker is parked, or about to, and must be woken.
    pub(super) fn offer(&self, work: W) -> bool {
        // SAFETY: the state is IDLE, so the worker does not look at `work`.
        self.work.with_mut(|w| unsafe { *w = Some(work) });
        self.state.store(OFFERED, Ordering::Release);
        // Store, fence, look at the other's: here and in `sleep`, so that one of the two sees the other.
        fence(Ordering::SeqCst);
        self.parked.load(Ordering::Relaxed)
    }

    /// Caller: takes back what the worker has not begun. True if the work is the caller's again; the slot is IDLE then.
    pub(super) fn take_back(&self) -> bool {
        self.state.compare_exchange(OFFERED, IDLE, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Caller: whether the worker has nothing of this caller any more.
    pub(super) fn is_idle(&self) -> bool {
        self.state.load(Ordering::Acquire) == IDLE
    }

    /// Caller, in IDLE: what was left of a panic.
    pub(super) fn panic(&self) -> Option<P> {
        // SAFETY: the worker writes `panic` in TAKEN only.
        self.panic.with_mut(|p| unsafe { (*p).take() })
    }

    /// Worker: the work that is offered, if there is any. Looks first: a look leaves the line where it is, an exchange would pull it away
    /// from the caller.
    pub(super) fn take(&self) -> Option<W> {
        let offered = self.state.load(Ordering::Relaxed) == OFFERED
            && self.state.compare_exchange(OFFERED, TAKEN, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        // SAFETY: in TAKEN, `work` is this worker's.
        if offered { self.work.with_mut(|w| unsafe { (*w).take() }) } else { None }
    }

    /// Worker, in TAKEN: the work is done; what it wrote is visible to a caller that sees IDLE.
    pub(super) fn finish(&self, panic: Option<P>) {
        if panic.is_some() {
            // SAFETY: the caller reads `panic` in IDLE only.
            self.panic.with_mut(|p| unsafe { *p = panic });
        }
        self.state.store(IDLE, Ordering::Release);
    }

    /// Worker: goes to sleep by `park`, unless work is offered already.
    pub(super) fn sleep(&self, park: impl FnOnce()) {
        self.parked.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.state.load(Ordering::Relaxed) != OFFERED {
            park();
        }
        self.parked.store(false, Ordering::Relaxed);
    }
}

#[cfg(all(test, loom))]
mod tests {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    type Work = Arc<UnsafeCell<u32>>;

    fn count(work: &Work) {
        // SAFETY: whoever has the work alone may touch it; loom checks that.
        work.with_mut(|n| unsafe { *n += 1 });
    }

    #[test]
    fn every_work_is_done_once_by_the_worker_or_the_caller() {
        loom::model(|| {
            let slot = Arc::new(Slot::<Work, u32>::new());
            let theirs = slot.clone();
            let worker = thread::spawn(move || {
                // As often as the caller offers at most; a look that finds nothing is one of them.
                for _ in 0..2 {
                    if let Some(work) = theirs.take() {
                        count(&work);
                        theirs.finish(Some(7));
                    }
                }
            });
            for _ in 0..2 {
                let work: Work = Arc::new(UnsafeCell::new(0));
                slot.offer(work.clone());
                let mine = slot.take_back();
                if mine {
                    count(&work);
                }
                while !slot.is_idle() {
                    thread::yield_now();
                }
                // SAFETY: the slot is idle, so nobody else has the work.
                work.with_mut(|n| assert_eq!(unsafe { *n }, 1));
                assert_eq!(slot.panic(), if mine { None } else { Some(7) });
            }
            worker.join().unwrap();
        });
    }

    #[test]
    fn no_wake_up_is_lost() {
        loom::model(|| {
            let slot = Arc::new(Slot::<Work, u32>::new());
            let theirs = slot.clone();
            let worker = thread::spawn(move || {
                loop {
                    if let Some(work) = theirs.take() {
                        count(&work);
                        return theirs.finish(None);
                    }
                    // Were a wake-up lost, loom would report that all threads are blocked.
                    theirs.sleep(thread::park);
                }
            });
            let work: Work = Arc::new(UnsafeCell::new(0));
            if slot.offer(work.clone()) {
                worker.thread().unpark();
            }
            worker.join().unwrap();
            assert!(slot.is_idle());
            // SAFETY: the worker has ended.
            work.with_mut(|n| assert_eq!(unsafe { *n }, 1));
        });
    }
}
