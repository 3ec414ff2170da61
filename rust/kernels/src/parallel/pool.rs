//! The pool: workers that spin for some tens of microseconds after a job, give way for two milliseconds, then park.
//!
//! One job at a time. The caller offers each worker a part, does part 0 itself, then takes back and does whatever no worker has taken yet,
//! and waits for the rest. So a worker that the system does not let run, on a machine that others use too, holds nobody up, and no bit
//! depends on who did a part. Started at the first job that needs it, never at import. How caller and worker meet: [`handshake`](super::handshake).
//!
//! Fork: handlers hold the locks across the fork. The child forgets the parent's pool (its threads do not exist there; the memory is
//! leaked, not dropped) and starts its own at its first job.

use super::threads::available;
use crate::workspace::{LOCK, SpinLock};
use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Arc, Once, OnceLock};
use std::thread::Thread;
use std::time::{Duration, Instant};

type Job = *const (dyn Fn(usize) + Sync);

/// How long a worker looks for the next job at full speed.
const SPIN: Duration = Duration::from_micros(50);
/// How long it goes on looking, giving way to whoever else wants the core, before it parks. Waking a parked worker takes long
/// where the system lets an idle core sleep (virtual machines above all); the gaps between the kernels of a training step are shorter.
const LINGER: Duration = Duration::from_millis(2);

/// A part: the job, which part, and how denormals are treated in the caller.
type Work = (Job, usize, bool);
type Slot = super::handshake::Slot<Work, Box<dyn Any + Send>>;

struct Worker {
    slot: Arc<Slot>,
    thread: Thread,
}

struct Pool {
    workers: Vec<Worker>,
}

static POOL: AtomicPtr<Pool> = AtomicPtr::new(std::ptr::null_mut());
static BUSY: AtomicBool = AtomicBool::new(false);
static STARTING: SpinLock = SpinLock::new();
static FORK_HANDLERS: Once = Once::new();

thread_local! {
    /// Set while this thread runs a part, so that a kernel called from a kernel stays on its thread.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Cores of this process, asked once.
pub(super) fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(available)
}

fn work_loop(slot: &Slot) {
    INSIDE.set(true);
    loop {
        let (job, index, flush) = wait_for_work(slot);
        weft_simd::set_flush_denormal(flush);
        // SAFETY: the closure lives on the caller's stack until the slot is idle.
        let result = catch_unwind(AssertUnwindSafe(|| unsafe { (*job)(index) }));
        slot.finish(result.err());
    }
}

fn wait_for_work(slot: &Slot) -> Work {
    let mut started = None;
    let mut spins = 0u32;
    loop {
        if let Some(work) = slot.take() {
            return work;
        }
        spins += 1;
        if !spins.is_multiple_of(64) {
            std::hint::spin_loop();
            continue;
        }
        let waited = started.get_or_insert_with(Instant::now).elapsed();
        if waited >= LINGER {
            slot.sleep(std::thread::park);
        } else if waited >= SPIN {
            std::thread::yield_now();
        }
    }
}

fn start_worker(number: usize) -> Option<Worker> {
    let slot = Arc::new(Slot::new());
    let theirs = slot.clone();
    let handle = std::thread::Builder::new().name(format!("weft-{number}")).spawn(move || work_loop(&theirs)).ok()?;
    Some(Worker { slot, thread: handle.thread().clone() })
}

extern "C" fn before_fork() {
    while BUSY.swap(true, Ordering::Acquire) {
        std::thread::yield_now();
    }
    STARTING.lock();
    LOCK.lock();
}

extern "C" fn after_fork_in_parent() {
    LOCK.unlock();
    STARTING.unlock();
    BUSY.store(false, Ordering::Release);
}

extern "C" fn after_fork_in_child() {
    POOL.store(std::ptr::null_mut(), Ordering::Release);
    after_fork_in_parent();
}

/// The pool with at least `workers` workers, as far as the system lets them start. Call with BUSY held.
fn pool(workers: usize) -> &'static Pool {
    STARTING.lock();
    FORK_HANDLERS.call_once(|| {
        // SAFETY: the handlers are plain functions of this library, which is never unloaded.
        #[cfg(unix)]
        unsafe {
            libc::pthread_atfork(Some(before_fork), Some(after_fork_in_parent), Some(after_fork_in_child));
        }
    });
    let mut current = POOL.load(Ordering::Acquire);
    if current.is_null() {
        current = Box::into_raw(Box::new(Pool { workers: Vec::new() }));
        POOL.store(current, Ordering::Release);
    }
    // SAFETY: BUSY is held, so nobody else looks at the pool, which is never freed.
    let pool = unsafe { &mut *current };
    while pool.workers.len() < workers {
        match start_worker(pool.workers.len() + 1) {
            Some(worker) => pool.workers.push(worker),
            None => break,
        }
    }
    STARTING.unlock();
    pool
}

/// Waits for every worker of a job, also when the caller's own part panics.
struct Waiter<'a> {
    workers: &'a [Worker],
    /// More threads than cores: who waits must let others run.
    crowded: bool,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        for worker in self.workers {
            // Still OFFERED only when the caller's own part has panicked: nobody does it then.
            worker.slot.take_back();
            let mut spins = 0u32;
            while !worker.slot.is_idle() {
                spins += 1;
                if spins.is_multiple_of(1024) || self.crowded {
                    std::thread::yield_now();
                } else {
                    std::hint::spin_loop();
                }
            }
        }
    }
}

/// Calls `f(0)`, …, `f(parts − 1)`, each exactly once, on as many threads; returns when all are done.
///
/// A panic in a part is raised again in the caller, after the others have ended.
pub fn run(parts: usize, f: &(dyn Fn(usize) + Sync)) {
    let alone = parts <= 1 || INSIDE.get() || BUSY.swap(true, Ordering::Acquire);
    if alone {
        (0..parts).for_each(f);
        return;
    }
    let workers = &pool(parts - 1).workers;
    let workers = &workers[..workers.len().min(parts - 1)];
    share(workers, parts, f);
}

/// As [`run`], but all parts at the same time, so that they may wait for each other at a [`Barrier`](super::Barrier). False, and nothing
/// has been called, where the pool is busy or too small for that.
pub fn run_together(parts: usize, f: &(dyn Fn(usize) + Sync)) -> bool {
    if parts <= 1 || INSIDE.get() || BUSY.swap(true, Ordering::Acquire) {
        return false;
    }
    let workers = &pool(parts - 1).workers;
    if workers.len() < parts - 1 {
        BUSY.store(false, Ordering::Release);
        return false;
    }
    share(&workers[..parts - 1], parts, f);
    true
}

/// Offers part i + 1 to worker i, does part 0 and those that no worker has begun by then, waits for the workers, and lets go of BUSY.
fn share(workers: &[Worker], parts: usize, f: &(dyn Fn(usize) + Sync)) {
    let flush = weft_simd::flush_denormal();
    // SAFETY: only the lifetime is stretched; `Waiter` does not let this frame end before the workers are done.
    let job: Job = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), Job>(f) };
    for (i, worker) in workers.iter().enumerate() {
        // The slot is idle: the last job's `Waiter` left it so.
        if worker.slot.offer((job, i + 1, flush)) {
            worker.thread.unpark();
        }
    }
    let waiter = Waiter { workers, crowded: parts > cores() };
    INSIDE.set(true);
    let own = catch_unwind(AssertUnwindSafe(|| {
        f(0);
        // Parts for which no worker could be started.
        (workers.len() + 1..parts).for_each(f);
        // Of parts that wait for each other, all have begun when the first ends, unless it had nothing to wait for.
        for (i, worker) in workers.iter().enumerate() {
            if worker.slot.take_back() {
                f(i + 1);
            }
        }
    }));
    INSIDE.set(false);
    drop(waiter);
    let mut panic = own.err();
    for worker in workers {
        // The worker is done, and BUSY still keeps other callers away from it.
        panic = panic.or(worker.slot.panic());
    }
    BUSY.store(false, Ordering::Release);
    if let Some(payload) = panic {
        resume_unwind(payload);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    #[test]
    fn every_part_runs_once() {
        for parts in [1, 2, 3, 7, 2, 5] {
            for _ in 0..50 {
                let seen: Vec<AtomicU64> = (0..parts).map(|_| AtomicU64::new(0)).collect();
                run(parts, &|i| {
                    seen[i].fetch_add(1, Ordering::Relaxed);
                });
                assert!(seen.iter().all(|s| s.load(Ordering::Relaxed) == 1));
            }
        }
    }

    #[test]
    fn parts_together_that_do_not_wait_for_each_other_run_once_too() {
        for parts in [2, 3, 7] {
            for _ in 0..500 {
                let seen: Vec<AtomicU64> = (0..parts).map(|_| AtomicU64::new(0)).collect();
                let together = run_together(parts, &|i| {
                    seen[i].fetch_add(1, Ordering::Relaxed);
                });
                // The pool may be busy with another test.
                assert!(seen.iter().all(|s| s.load(Ordering::Relaxed) == u64::from(together)));
            }
        }
    }

    #[test]
    fn a_panic_comes_back_to_the_caller_and_the_pool_lives_on() {
        for guilty in 0..3 {
            let result = catch_unwind(|| run(3, &|i| assert!(i != guilty, "part {i} fails")));
            let text = *result.unwrap_err().downcast::<String>().unwrap();
            assert!(text.contains(&format!("part {guilty} fails")), "{text}");
        }
        run(3, &|_| {});
    }

    #[test]
    fn callers_on_several_threads_do_not_wait_for_each_other() {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let sum = AtomicU64::new(0);
                        run(3, &|i| {
                            run(2, &|j| {
                                sum.fetch_add((i * 2 + j) as u64, Ordering::Relaxed);
                            });
                        });
                        assert_eq!(sum.load(Ordering::Relaxed), 15);
                    }
                });
            }
        });
    }
}
