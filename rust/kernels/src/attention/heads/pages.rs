//! The pages of a cache as a decoder fills and shares them. Keys lie turned over, `[pages, heads, D, PAGE]`; values `[pages, heads, PAGE,
//! E]`, E in whole vectors.

use super::{PAGE, View};
use crate::error::{Error, check_length};
use crate::parallel::{self, Shared};
use crate::{Real, Result};
use std::ops::Range;
use weft_simd::{Isa, Kernel, dispatch};

/// Keys and values of one layer.
pub struct Pages<'a, T> {
    /// Heads.
    pub heads: usize,
    /// D, numbers of a key.
    pub width: usize,
    /// E, numbers of a row of a page of values.
    pub padded: usize,
    /// Keys.
    pub keys: &'a mut [T],
    /// Values.
    pub values: &'a mut [T],
}

impl<T: Real> Pages<'_, T> {
    fn key_page(&self) -> usize {
        self.heads * self.width * PAGE
    }

    fn value_page(&self) -> usize {
        self.heads * PAGE * self.padded
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.keys.len() / self.key_page().max(1)
    }

    /// Keys and values as attention reads them: `[pages, PAGE, heads, columns]`.
    pub fn views(&self) -> [View<'_, T>; 2] {
        let [keys, values] = [self.key_page(), self.value_page()].map(|page| page as isize);
        let (lines, padded, page) = ((self.width * PAGE) as isize, self.padded as isize, PAGE as isize);
        // SAFETY: a page of keys holds `heads · width` lines of PAGE numbers, a page of values `heads · PAGE` rows of `padded`.
        unsafe {
            [
                View::from_raw(self.keys.as_ptr(), [keys, 1, lines, page]),
                View::from_raw(self.values.as_ptr(), [values, padded, page * padded, 1]),
            ]
        }
    }

    /// How many there are in both pools, which hold nothing else.
    pub(super) fn whole(&self) -> Result<usize> {
        let count = self.count();
        check_length("pages", "keys", self.keys.len(), count * self.key_page())?;
        check_length("pages", "values", self.values.len(), count * self.value_page())?;
        Ok(count)
    }

    /// Pages of both pools; refuses numbers of pages that do not exist.
    fn check(&self, name: &'static str, numbers: &[i64]) -> Result<usize> {
        let count = self.whole()?;
        below(name, numbers, count)?;
        Ok(count)
    }

    /// Copies the first `used[i]` positions of page `from[i]` to page `to[i]`; other positions of that page are not changed, or become
    /// copies too. No page may be in `to` twice, nor in both.
    pub fn copy(&mut self, from: &[i64], to: &[i64], used: &[i64]) -> Result<()> {
        let count = self.check("from", from)?.min(self.check("to", to)?);
        check_length("pages", "to", to.len(), from.len())?;
        check_length("pages", "used", used.len(), from.len())?;
        let mut seen = vec![false; count];
        for &page in to {
            if std::mem::replace(&mut seen[page as usize], true) {
                return Err(Error::Config(format!("[pages] to: expected each page once, got {page} again")));
            }
        }
        if let Some(page) = from.iter().find(|&&page| seen[page as usize]) {
            return Err(Error::Config(format!("[pages] from: expected no page that is written, got {page}")));
        }
        below("used", used, PAGE + 1)?;
        let (key_page, value_page) = (self.key_page(), self.value_page());
        let (keys, values) = (Shared(self.keys.as_mut_ptr()), Shared(self.values.as_mut_ptr()));
        let (lines, heads, padded) = (self.heads * self.width, self.heads, self.padded);
        let bytes = 2 * used.iter().sum::<i64>() as usize * (lines + heads * padded) * size_of::<T>();
        parallel::over_ranges(from.len(), bytes, |range| {
            for i in range {
                let (a, b) = (from[i] as usize, to[i] as usize);
                // Whole vectors of a key's number: what lies behind is never seen.
                // SAFETY: the pages exist; page b is in `to` once and not in `from`, so this thread alone touches it.
                unsafe { copy(keys, a * key_page, b * key_page, key_page) };
                for head in 0..heads {
                    let at = head * PAGE * padded;
                    // SAFETY: as above.
                    unsafe { copy(values, a * value_page + at, b * value_page + at, used[i] as usize * padded) };
                }
            }
        });
        Ok(())
    }

    /// Writes keys and values `[rows, T, heads, D]` to the places `[rows, T]`: slot `slots[i]` of page `pages[i]`. No place may occur twice.
    pub fn write(&mut self, pages: &[i64], slots: &[i64], steps: usize, k: View<'_, T>, v: View<'_, T>) -> Result<()> {
        self.check("pages", pages)?;
        check_length("pages", "slots", slots.len(), pages.len())?;
        below("slots", slots, PAGE)?;
        let mut places: Vec<_> = pages.iter().zip(slots).collect();
        places.sort_unstable();
        if places.windows(2).any(|w| w[0] == w[1]) {
            return Err(Error::Config("[pages] places: expected each once".into()));
        }
        let (heads, width) = (self.heads, self.width);
        let to = self.writer([pages, slots], steps, [k, v]);
        // A number of a key is alone in its cache line, which is read and written.
        let bytes = pages.len() * heads * width * (64 + 2 * size_of::<T>());
        parallel::over_ranges(pages.len(), bytes, |range: Range<usize>| {
            for i in range.clone() {
                if i + 1 < range.end {
                    (0..heads).for_each(|head| to.ask(i + 1, head));
                }
                // SAFETY: the places exist, and each position is one thread's.
                (0..heads).for_each(|head| unsafe { to.put(i, head) });
            }
        });
        Ok(())
    }

    /// What writes positions one by one, each head for itself.
    pub(super) fn writer<'b>(&mut self, places: [&'b [i64]; 2], steps: usize, from: [View<'b, T>; 2]) -> Writer<'b, T> {
        let (keys, values) = (Shared(self.keys.as_mut_ptr()), Shared(self.values.as_mut_ptr()));
        Writer { keys, values, sizes: [self.heads, self.width, self.padded], places, steps, from }
    }
}

/// Keys and values on their way into pages, while these are borrowed.
pub(super) struct Writer<'b, T> {
    keys: Shared<T>,
    values: Shared<T>,
    sizes: [usize; 3],
    places: [&'b [i64]; 2],
    steps: usize,
    from: [View<'b, T>; 2],
}

impl<T: Real> Writer<'_, T> {
    /// The same pages, other positions.
    pub(super) fn of<'b>(&self, places: [&'b [i64]; 2], from: [View<'b, T>; 2]) -> Writer<'b, T> {
        let &Self { keys, values, sizes, steps, .. } = self;
        Writer { keys, values, sizes, places, steps, from }
    }

    fn place(&self, i: usize, head: usize) -> (*mut T, *mut T) {
        let [heads, width, padded] = self.sizes;
        let [page, slot] = self.places.map(|p| p[i] as usize);
        let key = self.keys.at((page * heads + head) * width * PAGE + slot);
        (key, self.values.at(((page * heads + head) * PAGE + slot) * padded))
    }

    /// Asks for all lines of a position at once: one after the other, each store would wait for the third level.
    pub(super) fn ask(&self, i: usize, head: usize) {
        let ((key, value), width) = (self.place(i, head), self.sizes[1]);
        dispatch(Ask { from: key.cast_const(), lines: width, stride: PAGE });
        dispatch(Ask { from: value.cast_const(), lines: width.div_ceil(T::WIDTH), stride: T::WIDTH });
    }

    /// Writes one head of position `i`.
    ///
    /// # Safety
    /// Its place exists, the pages are still borrowed, and no other thread reads or writes this head of the position.
    pub(super) unsafe fn put(&self, i: usize, head: usize) {
        let (row, step) = (i / self.steps, i % self.steps);
        let [k, v] = self.from;
        let (key, value) = (k.at(row, step, head), v.at(row, step, head));
        let (across, down) = (k.strides[3], v.strides[3]);
        let (to, beside) = self.place(i, head);
        for d in 0..self.sizes[1] {
            // SAFETY: the views hold [rows, steps, heads, width] numbers; the caller answers for the place.
            unsafe {
                *to.add(d * PAGE) = *key.offset(d as isize * across);
                *beside.add(d) = *value.offset(d as isize * down);
            }
        }
    }
}

/// Asks for cache lines `stride` numbers apart.
struct Ask<T> {
    from: *const T,
    lines: usize,
    stride: usize,
}

impl<T: Real> Kernel for Ask<T> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        for line in 0..self.lines {
            I::prefetch(self.from.wrapping_add(line * self.stride));
        }
    }
}

fn below(name: &'static str, numbers: &[i64], bound: usize) -> Result<()> {
    match numbers.iter().position(|&n| n < 0 || n as usize >= bound) {
        Some(position) => Err(Error::Index { room: "pages", name, bound, got: numbers[position], position }),
        None => Ok(()),
    }
}

/// # Safety
/// Both runs lie within the allocation, do not overlap, and no other thread writes to either.
unsafe fn copy<T>(pool: Shared<T>, from: usize, to: usize, len: usize) {
    // SAFETY: passed on to the caller.
    unsafe { std::ptr::copy_nonoverlapping(pool.at(from), pool.at(to), len) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages<'a>(keys: &'a mut [f32], values: &'a mut [f32]) -> Pages<'a, f32> {
        Pages { heads: 2, width: 3, padded: 16, keys, values }
    }

    #[test]
    fn what_is_written_is_copied() {
        let (mut keys, mut values) = (vec![0.0; 3 * 2 * 3 * PAGE], vec![0.0; 3 * 2 * PAGE * 16]);
        let k: Vec<f32> = (0..2 * 2 * 3).map(|i| i as f32 + 1.0).collect();
        let v: Vec<f32> = k.iter().map(|x| -x).collect();
        let mut both = pages(&mut keys, &mut values);
        let shape = [1, 2, 2, 3];
        both.write(&[1, 1], &[4, 13], 2, View::new(&k, shape), View::new(&v, shape)).unwrap();
        both.copy(&[1], &[2], &[5]).unwrap();
        for head in 0..2 {
            for d in 0..3 {
                let key = |page: usize, slot: usize| keys[((page * 2 + head) * 3 + d) * PAGE + slot];
                let value = |page: usize, slot: usize| values[((page * 2 + head) * PAGE + slot) * 16 + d];
                for (step, slot) in [4, 13].into_iter().enumerate() {
                    let wished = k[(step * 2 + head) * 3 + d];
                    assert_eq!((key(1, slot), value(1, slot)), (wished, -wished));
                }
                assert_eq!((key(2, 4), value(2, 4)), (key(1, 4), value(1, 4)));
                assert_eq!((key(0, 4), value(2, 13), value(0, 4)), (0.0, 0.0, 0.0));
            }
        }
    }

    #[test]
    fn places_that_do_not_exist_are_refused() {
        let (mut keys, mut values) = (vec![0.0; 3 * 2 * 3 * PAGE], vec![0.0; 3 * 2 * PAGE * 16]);
        let mut both = pages(&mut keys, &mut values);
        for (from, to, used) in
            [([0, 0], [1, 1], [1, 1]), ([0, 1], [1, 2], [1, 1]), ([0, 3], [1, 2], [1, 1]), ([0, 0], [1, 2], [1, PAGE as i64 + 1])]
        {
            assert!(both.copy(&from, &to, &used).is_err());
        }
        let k = vec![0.0; 12];
        let view = || View::new(&k, [1, 2, 2, 3]);
        for (page, slot) in [([0, 0], [3, 3]), ([0, -1], [3, 4]), ([0, 1], [3, PAGE as i64])] {
            assert!(both.write(&page, &slot, 2, view(), view()).is_err());
        }
    }
}
