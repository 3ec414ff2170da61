//! Multi-head attention that never stores its scores: `softmax(scale · Q·Kᵀ + biases) · V` for every head (Vaswani et al. 2017, eq. 1) by
//! online softmax over blocks of keys (Milakov & Gimelshein 2018; Dao et al. 2022, algorithms 1 and 4).
//!
//! Rule R3: the keys of a sequence are cut into blocks of [`KEY_BLOCK`], counted from its first key. Each block gives its maximum m, its
//! sum l and its product O alone; blocks merge in ascending order by one formula in which exp(0) is exactly 1. Which rows share a tile, a
//! job or a thread is free and changes no bit, nor does a block that a row does not see, so a decoder that feeds one row at a time
//! over a cache gets the numbers of the whole pass.
//!
//! What a row sees is decided before any product: lengths, the causal line, a window, and the runs of −∞ at both ends of its biases. Blocks
//! that nobody in a tile sees are skipped. Keys beyond a length are never read. A row that sees nothing gives zeros, and zero gradients.
//!
//! Backward computes the scores again from the maximum and the inverse sum of each row, and the dropout mask from its counters.
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | what a call consists of, and which keys a row sees |
//! | `operands.rs` | what a tile's products read: packed, in place, in pages |
//! | `pages.rs` | a cache's pages, filled and copied |
//! | `softmax.rs` | the lanes: a tile's scores to numerators, merging blocks |
//! | `single.rs` | the lanes of one row: products and numerators in one |
//! | `growth.rs` | a decoder's step: one position more in the pages, and what it sees |
//! | `forward.rs` | contexts: by blocks of rows, or one row's blocks over threads |
//! | `backward.rs` | gradients of q, k and v |
//! | `strips.rs` | which parts of a tile are not empty |
//! | `weights.rs` | the weights of chosen heads and rows |
//! | `mask.rs` | dropout: which weights fall, by rows or by columns |

mod backward;
mod forward;
mod growth;
mod mask;
mod operands;
mod pages;
mod single;
mod softmax;
mod strips;
mod weights;

pub use backward::{Gradients, backward};
pub use forward::{Statistics, forward};
pub use growth::{Growth, Standing};
pub use pages::Pages;
pub use weights::{Chosen, weights};

use crate::dropout::Dropout;
use crate::error::{Error, check_length};
use crate::{MatrixView, MatrixViewMut, Real, Result};
use std::marker::PhantomData;
use std::ops::Range;

/// Keys of a block (rule R3).
pub const KEY_BLOCK: usize = 256;
/// Keys of a page of a cache: a vector. A page of keys `[D, PAGE]` is turned over, a page of values `[PAGE, E]` is not, whole vectors a row; few
/// rows read both where they lie. The smaller a page, the more of a prefix do hypotheses share.
pub const PAGE: usize = 16;
/// Rows of a register tile at most.
const TILE_ROWS: usize = 8;

/// Sizes of a call.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// B
    pub batch: usize,
    /// N, heads of the queries
    pub heads: usize,
    /// Heads of keys and values; divides N. Fewer than N: each serves a group of query heads (Ainslie et al. 2023).
    pub key_heads: usize,
    /// T, queries
    pub targets: usize,
    /// S, keys
    pub sources: usize,
    /// D, width of a query and a key
    pub width: usize,
    /// E, width of a value
    pub values: usize,
}

/// Numbers `[B, rows, heads, columns]` with any strides (in elements), 0 where an axis is broadcast.
#[derive(Clone, Copy)]
pub struct View<'a, T> {
    pointer: *const T,
    strides: [isize; 4],
    life: PhantomData<&'a T>,
}

/// The same to be written; the columns lie side by side, and no two elements are one.
pub struct ViewMut<'a, T> {
    pointer: *mut T,
    strides: [isize; 3],
    life: PhantomData<&'a mut T>,
}

// SAFETY: a view is a shared borrow of numbers, which are Sync.
unsafe impl<T: Sync> Send for View<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for View<'_, T> {}
// SAFETY: an exclusive borrow; kernels hand disjoint parts of it to threads.
unsafe impl<T: Send> Send for ViewMut<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for ViewMut<'_, T> {}

impl<'a, T> View<'a, T> {
    /// Any strides.
    ///
    /// # Safety
    /// Every element that the sizes of the call reach is valid for reads for the life of the view.
    pub unsafe fn from_raw(pointer: *const T, strides: [isize; 4]) -> Self {
        Self { pointer, strides, life: PhantomData }
    }

    /// `[B, rows, heads, columns]`, one after the other.
    pub fn new(data: &'a [T], [batch, rows, heads, columns]: [usize; 4]) -> Self {
        assert_eq!(data.len(), batch * rows * heads * columns, "[attention] a view of all its elements");
        let (row, head) = ((heads * columns) as isize, columns as isize);
        // SAFETY: the strides stay within the slice.
        unsafe { Self::from_raw(data.as_ptr(), [rows as isize * row, row, head, 1]) }
    }

    /// The sequences from `batch` on.
    pub fn from_sequence(&self, batch: usize) -> Self {
        Self { pointer: self.at(batch, 0, 0), ..*self }
    }

    fn at(&self, batch: usize, row: usize, head: usize) -> *const T {
        let [b, r, h, _] = self.strides;
        self.pointer.wrapping_offset(batch as isize * b + row as isize * r + head as isize * h)
    }

    /// Rows of one head of one sequence.
    fn matrix(&self, batch: usize, head: usize, rows: Range<usize>, columns: usize) -> MatrixView<'a, T> {
        // SAFETY: the maker of the view promised that these elements exist.
        unsafe { MatrixView::from_raw(self.at(batch, rows.start, head), rows.len(), columns, self.strides[1], self.strides[3]) }
    }
}

impl<'a, T> ViewMut<'a, T> {
    /// Any strides of batch, row and head.
    ///
    /// # Safety
    /// Every element that the sizes of the call reach is valid for writes for the life of the view, and no two are one.
    pub unsafe fn from_raw(pointer: *mut T, strides: [isize; 3]) -> Self {
        Self { pointer, strides, life: PhantomData }
    }

    /// `[B, rows, heads, columns]`, one after the other.
    pub fn new(data: &'a mut [T], [batch, rows, heads, columns]: [usize; 4]) -> Self {
        assert_eq!(data.len(), batch * rows * heads * columns, "[attention] a view of all its elements");
        let (row, head) = ((heads * columns) as isize, columns as isize);
        // SAFETY: the strides stay within the slice, and the borrow is exclusive.
        unsafe { Self::from_raw(data.as_mut_ptr(), [rows as isize * row, row, head]) }
    }

    fn at(&self, batch: usize, row: usize, head: usize) -> *mut T {
        let [b, r, h] = self.strides;
        self.pointer.wrapping_offset(batch as isize * b + row as isize * r + head as isize * h)
    }

    /// Rows of one head of one sequence.
    ///
    /// # Safety
    /// No other thread touches them meanwhile.
    unsafe fn matrix(&self, batch: usize, head: usize, rows: Range<usize>, columns: usize) -> MatrixViewMut<'_, T> {
        // SAFETY: the maker of the view promised that these elements exist; exclusion is passed on to the caller.
        unsafe { MatrixViewMut::from_raw(self.at(batch, rows.start, head), rows.len(), columns, self.strides[1]) }
    }
}

/// Which keys a row sees.
#[derive(Clone, Copy)]
pub struct Mask<'a, T> {
    /// Keys of each sequence `[B]`; all where absent.
    pub lengths: Option<&'a [i64]>,
    /// Rows of each sequence `[B]` that are there, all where absent; those beyond see nothing.
    pub rows: Option<&'a [i64]>,
    /// The position of each sequence's first row `[B]`, 0 where absent: how many keys lie before it in a cache.
    pub starts: Option<&'a [i64]>,
    /// A row at position p sees keys 0 to p.
    pub causal: bool,
    /// A row at position p sees keys less than this far from p.
    pub window: Option<usize>,
    /// Numbers `[B, N, T, S]` that are added to the scaled scores; the last stride is 0 or 1. At most two.
    pub biases: &'a [View<'a, T>],
}

impl<T> Default for Mask<'_, T> {
    fn default() -> Self {
        Self { lengths: None, rows: None, starts: None, causal: false, window: None, biases: &[] }
    }
}

/// A call: what forward, backward and weights have in common.
#[derive(Clone, Copy)]
pub struct Call<'a, T> {
    /// The sizes.
    pub sizes: Sizes,
    /// `[B, T, N, D]`, columns side by side.
    pub q: View<'a, T>,
    /// `[B, S, key heads, D]`; columns side by side, or keys (a cache kept transposed).
    pub k: View<'a, T>,
    /// `[B, S, key heads, E]`, columns side by side.
    pub v: View<'a, T>,
    /// Keys and values in pages: which page holds keys 16·j to 16·j + 15 of sequence b, at `[b, j]`. k and v are then `[pages, …]`, a key's
    /// numbers [`PAGE`] apart, and S is what a row of the table can hold. For [`forward`] alone.
    pub pages: Option<&'a [i64]>,
    /// Factor of the products.
    pub scale: f64,
    /// Which keys a row sees.
    pub mask: Mask<'a, T>,
    /// Weights that fall in training; the counter of a weight is that of (batch, head, row, key).
    pub dropout: Option<Dropout>,
}

/// Biases at one head: first element, and strides of row and key.
type Bias<T> = (*const T, isize, isize);

impl<'a, T: Real> Call<'a, T> {
    fn check(&self) -> Result<()> {
        let s = &self.sizes;
        if s.key_heads == 0 || !s.heads.is_multiple_of(s.key_heads) {
            return Err(Error::Config(format!(
                "[attention] key heads: expected a divisor of {} heads, got {}",
                s.heads, s.key_heads
            )));
        }
        assert!(self.mask.biases.len() <= 2 && self.mask.biases.iter().all(|b| matches!(b.strides[3], 0 | 1)));
        assert!(self.q.strides[3] == 1 && self.v.strides[3] == 1 && (self.k.strides[3] == 1 || self.k.strides[1] == 1));
        if let Some(table) = self.pages {
            check_length("attention", "pages", table.len() * PAGE, s.batch * s.sources)?;
            // Keys of one number have no next one, and so no distance to it.
            assert!(
                (self.k.strides[3] == PAGE as isize || s.width == 1)
                    && self.mask.lengths.is_some()
                    && s.values.next_multiple_of(T::WIDTH) <= self.v.strides[1] as usize
            );
        }
        for (name, numbers, bound) in [
            ("lengths", self.mask.lengths, s.sources + 1),
            ("rows", self.mask.rows, s.targets + 1),
            ("starts", self.mask.starts, i32::MAX as usize),
        ] {
            let Some(numbers) = numbers else { continue };
            check_length("attention", name, numbers.len(), s.batch)?;
            if let Some(position) = numbers.iter().position(|&n| n < 0 || n as usize >= bound) {
                return Err(Error::Index { room: "attention", name, bound, got: numbers[position], position });
            }
        }
        Ok(())
    }

    fn length(&self, b: usize) -> usize {
        self.mask.lengths.map_or(self.sizes.sources, |l| l[b] as usize)
    }

    /// Those of `rows` that are there.
    fn there(&self, b: usize, rows: &Range<usize>) -> Range<usize> {
        let count = self.mask.rows.map_or(self.sizes.targets, |r| r[b] as usize);
        rows.start..rows.end.min(count).max(rows.start)
    }

    /// The keys that row `i` sees, biases apart. Both ends ascend with i.
    fn visible(&self, b: usize, i: usize) -> Range<usize> {
        let n = self.length(b);
        if self.there(b, &(i..i + 1)).is_empty() {
            return n..n;
        }
        let position = i + self.mask.starts.map_or(0, |s| s[b] as usize);
        let mut keys = 0..n;
        if let Some(window) = self.mask.window {
            keys = (position + 1).saturating_sub(window).min(n)..(position + window).min(n);
        }
        if self.mask.causal {
            keys.end = keys.end.min(position + 1);
        }
        keys.start = keys.start.min(keys.end);
        keys
    }

    /// The keys that any of `rows` sees, biases apart.
    fn seen(&self, b: usize, rows: &Range<usize>) -> Range<usize> {
        let rows = self.there(b, rows);
        if rows.is_empty() {
            return 0..0;
        }
        self.visible(b, rows.start).start..self.visible(b, rows.end - 1).end
    }

    fn biases(&self, b: usize, h: usize) -> [Option<Bias<T>>; 2] {
        [0, 1].map(|n| self.mask.biases.get(n).map(|v| (v.at(b, 0, h), v.strides[1], v.strides[3])))
    }

    /// `keys` without what row `i`'s biases forbid at either end.
    fn trimmed(&self, biases: &[Option<Bias<T>>; 2], i: usize, mut keys: Range<usize>) -> Range<usize> {
        for &(pointer, row, column) in biases.iter().flatten() {
            // SAFETY: the bias holds row i and every key of the sequence.
            let forbids = |j: usize| unsafe { *pointer.offset(i as isize * row + j as isize * column) == T::NEG_INFINITY };
            while !keys.is_empty() && forbids(keys.end - 1) {
                keys.end -= 1;
            }
            while !keys.is_empty() && forbids(keys.start) {
                keys.start += 1;
            }
        }
        keys
    }

    /// Where the dropout counters of row `i` begin, and how many a row has.
    fn counters(&self, b: usize, h: usize, i: usize) -> u64 {
        let s = &self.sizes;
        (((b * s.heads + h) * s.targets + i) * s.sources.div_ceil(mask::KEYS_A_BLOCK)) as u64
    }

    /// Floating-point operations of one product of all scores, about.
    fn operations(&self) -> f64 {
        let s = &self.sizes;
        (s.batch * s.heads) as f64
            * s.targets as f64
            * s.sources as f64
            * (s.width + s.values) as f64
            * if self.mask.causal && self.mask.starts.is_none() { 0.5 } else { 1.0 }
    }
}

/// A span that grows with the first range that joins it.
fn nothing() -> Range<usize> {
    Range { start: usize::MAX, end: 0 }
}

fn intersection(a: &Range<usize>, b: &Range<usize>) -> Range<usize> {
    let start = a.start.max(b.start);
    start..a.end.min(b.end).max(start)
}
