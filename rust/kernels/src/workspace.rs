//! Aligned memory that is used again: scratch of kernels, and the arrays that the tape records.
//!
//! A training step asks for the same sizes as the step before it. Freed buffers are kept by size class, so that a step neither
//! calls the allocator for its activations nor takes page faults for them. What is kept is bounded ([`set_cache_limit`]).

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use weft_simd::Real;

/// Alignment of every buffer: a cache line, and the widest vector.
pub const ALIGNMENT: usize = 64;

/// Buffers of at least this many bytes are mapped by themselves, aligned to huge pages, and advise the kernel to use them. Nothing touches
/// their pages before a kernel does, so that what a size class has too much costs no memory.
const HUGE: usize = 2 << 20;

/// Aligned bytes that go back to the cache when dropped. Never uninitialised: fresh ones are zero, used ones hold old numbers.
pub struct Buffer {
    pointer: *mut u8,
    class: usize,
}

// SAFETY: a buffer owns its bytes, like a Box.
unsafe impl Send for Buffer {}
// SAFETY: shared access gives out no mutable pointer but through `as_mut_ptr`, whose user answers for it.
unsafe impl Sync for Buffer {}

struct Cache {
    /// Buffers of a size, each with the thread that used it last.
    free: BTreeMap<usize, Vec<(usize, Buffer)>>,
    bytes: usize,
    limit: usize,
}

/// A lock that a forked child can open: the fork handlers of `parallel` hold it across the fork.
pub(crate) struct SpinLock(AtomicBool);

impl SpinLock {
    pub(crate) const fn new() -> Self {
        Self(AtomicBool::new(false))
    }
    pub(crate) fn lock(&self) {
        while self.0.swap(true, Ordering::Acquire) {
            std::thread::yield_now();
        }
    }
    pub(crate) fn unlock(&self) {
        self.0.store(false, Ordering::Release);
    }
}

pub(crate) static LOCK: SpinLock = SpinLock::new();
static mut CACHE: Cache = Cache { free: BTreeMap::new(), bytes: 0, limit: 1 << 30 };

fn with_cache<R>(f: impl FnOnce(&mut Cache) -> R) -> R {
    LOCK.lock();
    // SAFETY: LOCK is held, so this is the only reference.
    let result = f(unsafe { &mut *std::ptr::addr_of_mut!(CACHE) });
    LOCK.unlock();
    result
}

/// A number that no other living thread has.
fn this_thread() -> usize {
    thread_local!(static MARK: u8 = const { 0 });
    MARK.try_with(|mark| std::ptr::from_ref(mark) as usize).unwrap_or(0)
}

/// Sizes are rounded up to an eighth of their power of two, so that neighbouring sizes share buffers and at most 1/8 is lost.
fn size_class(bytes: usize) -> usize {
    let bytes = bytes.max(ALIGNMENT);
    let step = (bytes.next_power_of_two() / 16).max(ALIGNMENT);
    bytes.div_ceil(step) * step
}

fn layout(class: usize) -> Layout {
    let alignment = if class >= HUGE { HUGE } else { ALIGNMENT };
    Layout::from_size_align(class, alignment).expect("a buffer fits into the address space")
}

/// Zeros from the operating system or the allocator.
fn fresh(class: usize) -> *mut u8 {
    #[cfg(target_os = "linux")]
    if class >= HUGE {
        return map(class).unwrap_or_else(|| handle_alloc_error(layout(class)));
    }
    let layout = layout(class);
    // SAFETY: the layout's size is not zero.
    let pointer = unsafe { alloc_zeroed(layout) };
    if pointer.is_null() {
        handle_alloc_error(layout);
    }
    pointer
}

/// # Safety
/// `pointer` came from [`fresh`] for this class, and is used no more.
unsafe fn give_back(pointer: *mut u8, class: usize) {
    #[cfg(target_os = "linux")]
    if class >= HUGE {
        // SAFETY: a mapping of `class` bytes begins here.
        unsafe { libc::munmap(pointer.cast(), class) };
        return;
    }
    // SAFETY: passed on to the caller.
    unsafe { dealloc(pointer, layout(class)) };
}

/// Pages of zeros, the first at a multiple of [`HUGE`]; none if there are no more.
#[cfg(target_os = "linux")]
fn map(class: usize) -> Option<*mut u8> {
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: new mappings change no others; of this one, what lies before and behind the aligned bytes is given back at once. A class of
    // this size is a multiple of the page size. The advice concerns our own pages; a kernel without huge pages says no, which changes nothing.
    unsafe {
        let first = libc::mmap(std::ptr::null_mut(), class + HUGE, access, kind, -1, 0);
        if first == libc::MAP_FAILED {
            return None;
        }
        let before = first.cast::<u8>().align_offset(HUGE);
        let pointer = first.cast::<u8>().add(before);
        for (from, bytes) in [(first.cast(), before), (pointer.add(class), HUGE - before)] {
            if bytes > 0 {
                libc::munmap(from.cast(), bytes);
            }
        }
        libc::madvise(pointer.cast(), class, libc::MADV_HUGEPAGE);
        Some(pointer)
    }
}

impl Buffer {
    /// At least `bytes` bytes: zeros or old numbers.
    pub fn take(bytes: usize) -> Self {
        let class = size_class(bytes);
        let mine = this_thread();
        let kept = with_cache(|cache| {
            let free = cache.free.get_mut(&class).filter(|free| !free.is_empty())?;
            // The lines of one that this thread wrote last lie in its core's caches; another core would have to hand them over.
            let at = free.iter().rposition(|(last, _)| *last == mine).unwrap_or(free.len() - 1);
            cache.bytes -= class;
            Some(free.remove(at).1)
        });
        kept.unwrap_or_else(|| Self { pointer: fresh(class), class })
    }

    /// The first byte.
    pub fn as_mut_ptr(&self) -> *mut u8 {
        self.pointer
    }

    fn free(self) {
        // SAFETY: pointer and class are those of the allocation, which ends here.
        unsafe { give_back(self.pointer, self.class) };
        std::mem::forget(self);
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let buffer = Self { pointer: self.pointer, class: self.class };
        let mine = this_thread();
        let rest = with_cache(|cache| {
            if cache.bytes + buffer.class > cache.limit {
                return Some(buffer);
            }
            cache.bytes += buffer.class;
            cache.free.entry(buffer.class).or_default().push((mine, buffer));
            None
        });
        if let Some(buffer) = rest {
            buffer.free();
        }
    }
}

/// Gives all kept buffers back to the operating system; returns how many bytes that were.
pub fn empty_cache() -> usize {
    let (free, bytes) = with_cache(|cache| (std::mem::take(&mut cache.free), std::mem::take(&mut cache.bytes)));
    free.into_values().flatten().for_each(|(_, buffer)| buffer.free());
    bytes
}

/// Bytes that are kept for use again.
pub fn cached_bytes() -> usize {
    with_cache(|cache| cache.bytes)
}

/// Bounds what is kept, in bytes (1 GiB unless set).
pub fn set_cache_limit(bytes: usize) {
    with_cache(|cache| cache.limit = bytes);
    if cached_bytes() > bytes {
        empty_cache();
    }
}

/// Scratch of a kernel: `len` numbers that hold anything.
pub struct Scratch<T> {
    buffer: Buffer,
    len: usize,
    kind: std::marker::PhantomData<T>,
}

/// Takes scratch for `len` numbers.
pub fn scratch<T: Real>(len: usize) -> Scratch<T> {
    Scratch { buffer: Buffer::take(len * size_of::<T>()), len, kind: std::marker::PhantomData }
}

impl<T: Real> std::ops::Deref for Scratch<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: the buffer is aligned, long enough, initialised, and every bit pattern is a number.
        unsafe { std::slice::from_raw_parts(self.buffer.pointer.cast(), self.len) }
    }
}

impl<T: Real> std::ops::DerefMut for Scratch<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.buffer.pointer.cast(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_is_used_again() {
        let first = Buffer::take(1 << 22);
        let address = first.as_mut_ptr() as usize;
        assert_eq!(address % ALIGNMENT, 0);
        drop(first);
        let again = Buffer::take((1 << 22) - 100);
        assert_eq!(again.as_mut_ptr() as usize, address);
    }

    #[test]
    fn a_thread_gets_back_the_buffer_that_it_used() {
        let bytes = (3 << 20) + 77;
        let (mine, turn) = (Buffer::take(bytes), std::sync::Barrier::new(2));
        let address = |buffer: &Buffer| buffer.as_mut_ptr() as usize;
        let first = address(&mine);
        std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                let theirs = Buffer::take(bytes);
                let before = address(&theirs);
                turn.wait();
                turn.wait();
                drop(theirs);
                turn.wait();
                turn.wait();
                (before, address(&Buffer::take(bytes)))
            });
            turn.wait();
            drop(mine);
            // The other thread's comes back last, and still this thread does not get it.
            turn.wait();
            turn.wait();
            let again = Buffer::take(bytes);
            assert_eq!(address(&again), first);
            turn.wait();
            let (before, after) = other.join().unwrap();
            assert!(before != first && before == after);
        });
    }

    #[test]
    fn classes_lose_at_most_an_eighth() {
        for bytes in [1, 64, 65, 1000, 4097, 1 << 20, (1 << 20) + 1, 12_345_678] {
            let class = size_class(bytes);
            assert!(class >= bytes && (class - bytes) <= (bytes / 8).max(ALIGNMENT), "{bytes} -> {class}");
        }
    }
}
