//! Contexts: each thread takes blocks of rows of one head through all blocks of keys.
//!
//! ```text
//!   for a block of keys:  Kᵀ [D, 256] and V [256, E] in panels, once for up to 512 rows
//!     for a register tile of rows:  S = q·Kᵀ [6, 256] stays in L1 → numerators → O = S·V [6, E] → merged into the context
//! ```

use super::mask::{self, Keep};
use super::operands::{Columns, PAGES, Rows, Source, multiply};
use super::single::Single;
use super::softmax::{Block, Merge, Numerators, Scale, Tile};
use super::{Call, KEY_BLOCK, PAGE, TILE_ROWS, ViewMut, intersection, nothing};
use crate::error::check_length;
use crate::matmul::PANEL_VECTORS;
use crate::matmul::tile::tile_rows;
use crate::parallel::{self, Shared, num_threads, part, threads_for};
use crate::workspace::{Scratch, scratch};
use crate::{Real, Result};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use weft_simd::{Choice, chosen, dispatch_on};

/// Rows that share a packed block of keys.
const ROW_BLOCK: usize = 512;
/// At most this many rows read keys and values where they lie, if these lie well.
const IN_PLACE_ROWS: usize = 18;

/// What backward and weights need of the forward pass: the maximum and the inverse sum of every row, `[B, N, T]` each. A row that saw
/// nothing has (∞, 0), which gives it weights of 0.
pub struct Statistics<'a, T> {
    /// Largest score.
    pub maximum: &'a mut [T],
    /// 1 / Σ e^(score − maximum).
    pub inverse: &'a mut [T],
}

/// A block of keys, ready for tiles.
struct Keys<T> {
    first: usize,
    k: Columns<T>,
    v: Columns<T>,
}

/// Buffers of a thread.
pub(super) struct Buffers<T> {
    scores: Scratch<T>,
    product: Scratch<T>,
    keep: Scratch<T>,
    keys: Scratch<T>,
    values: Scratch<T>,
}

pub(super) struct Pass<'a, T> {
    call: &'a Call<'a, T>,
    choice: Choice,
    scale: T,
    keep: Option<Keep<T>>,
}

impl<'a, T: Real> Pass<'a, T> {
    pub(super) fn of(call: &'a Call<'a, T>) -> Self {
        Self { call, choice: chosen(), scale: T::from_f64(call.scale), keep: call.dropout.map(Keep::new) }
    }

    pub(super) fn buffers(&self) -> Buffers<T> {
        Buffers {
            scores: scratch(TILE_ROWS * KEY_BLOCK),
            product: scratch(TILE_ROWS * self.call.sizes.values),
            keep: scratch(if self.keep.is_some() { KEY_BLOCK } else { 0 }),
            keys: scratch(0),
            values: scratch(0),
        }
    }

    fn keys(&self, b: usize, head: usize, keys: Range<usize>, few_rows: bool, buffers: &mut Buffers<T>) -> Keys<T> {
        let s = &self.call.sizes;
        let head = head / (s.heads / s.key_heads);
        let first = keys.start;
        if let Some(table) = self.call.pages {
            let per_row = s.sources / PAGE;
            let mut pages = [(std::ptr::null(), std::ptr::null()); PAGES];
            for (at, page) in pages.iter_mut().enumerate().take(keys.len().div_ceil(PAGE)) {
                let number = table[b * per_row + first / PAGE + at] as usize;
                *page = (self.call.k.at(number, 0, head), self.call.v.at(number, 0, head));
            }
            let (k, v) = (Source::Across(pages.map(|p| p.0)), Source::Down(pages.map(|p| p.1), self.call.v.strides[1] as usize));
            return Keys {
                first,
                k: Columns::of_pages(k, (s.width, keys.len()), few_rows, &mut buffers.keys),
                v: Columns::of_pages(v, (keys.len(), s.values), few_rows, &mut buffers.values),
            };
        }
        let k = self.call.k.matrix(b, head, keys.clone(), s.width).transposed();
        let v = self.call.v.matrix(b, head, keys, s.values);
        Keys {
            first,
            k: Columns::new(k, few_rows, s.sources - first, &mut buffers.keys),
            v: Columns::new(v, few_rows, s.values, &mut buffers.values),
        }
    }

    /// One tile of rows on one block of keys: its statistics, and its product in `to`; nothing where no row sees a key.
    fn tile(
        &self,
        b: usize,
        h: usize,
        rows: &Range<usize>,
        keys: &Keys<T>,
        end: usize,
        buffers: &mut Buffers<T>,
        to: (*mut T, isize),
    ) -> Option<Block<T>> {
        let s = &self.call.sizes;
        let block = keys.first..end;
        let biases = self.call.biases(b, h);
        let mut seen: [Range<usize>; TILE_ROWS] = Default::default();
        let mut span = nothing();
        for (i, seen) in rows.clone().zip(&mut seen) {
            let keys = self.call.trimmed(&biases, i, intersection(&self.call.visible(b, i), &block));
            if !keys.is_empty() {
                *seen = keys.start - block.start..keys.end - block.start;
                span = span.start.min(seen.start)..span.end.max(seen.end);
            }
        }
        if span.is_empty() {
            return None;
        }
        let scores = buffers.scores.as_mut_ptr();
        let q = self.call.q.matrix(b, h, rows.clone(), s.width);
        let at = |(p, down, right): (*const T, isize, isize)| {
            (p.wrapping_offset(rows.start as isize * down + block.start as isize * right), down, right)
        };
        let tile = Tile {
            scores,
            stride: KEY_BLOCK,
            seen: &seen[..rows.len()],
            span: &span,
            scale: self.scale,
            biases: biases.map(|bias| bias.map(at)),
        };
        if rows.len() == 1 && self.keep.is_none() {
            let single = Single { q: q.pointer, keys: &keys.k, values: &keys.v, tile, to: to.0 };
            return Some(dispatch_on(self.choice, single));
        }
        let a = Rows { pointer: q.pointer, stride: q.row_stride, rows: rows.len() };
        let first = span.start / T::WIDTH * T::WIDTH;
        // SAFETY: the tile's rows, the block's keys and the buffers have these sizes.
        unsafe {
            multiply::<T, false>(self.choice, a, &keys.k, 0..s.width, first..span.end, false, (scores, KEY_BLOCK as isize))
        };
        let result = dispatch_on(self.choice, Numerators(tile));
        if let Some(keep) = self.keep {
            for (r, i) in rows.clone().enumerate() {
                drop_row(
                    self.choice,
                    keep,
                    self.call.counters(b, h, i),
                    block.start,
                    &span,
                    &mut buffers.keep,
                    &mut buffers.scores[r * KEY_BLOCK..],
                );
            }
        }
        let a = Rows { pointer: scores.wrapping_add(span.start), stride: KEY_BLOCK as isize, rows: rows.len() };
        // SAFETY: as above; the product's rows are this thread's.
        unsafe { multiply::<T, false>(self.choice, a, &keys.v, span, 0..s.values, false, to) };
        Some(result)
    }

    /// `rows` of one head through all their keys.
    pub(super) fn rows(
        &self,
        (b, h): (usize, usize),
        rows: Range<usize>,
        context: &ViewMut<'_, T>,
        statistics: Option<[&mut [T]; 2]>,
        (buffers, own): &mut (Buffers<T>, [Scratch<T>; 2]),
    ) {
        let s = &self.call.sizes;
        let few = rows.len() <= IN_PLACE_ROWS;
        let tallest = tile_rows(self.choice, PANEL_VECTORS);
        let there = self.call.there(b, &rows).len();
        let tiles = there.div_ceil(tallest);
        let [maximum, sum] = own;
        let (maximum, sum) = (&mut maximum[..rows.len()], &mut sum[..rows.len()]);
        maximum.fill(T::NEG_INFINITY);
        sum.fill(T::ZERO);
        let seen = self.call.seen(b, &rows);
        // SAFETY: these rows belong to this job alone.
        let out = unsafe { context.matrix(b, h, rows.clone(), s.values) };
        let first_block = seen.start / KEY_BLOCK;
        for block in first_block..seen.end.div_ceil(KEY_BLOCK) {
            let end = seen.end.min((block + 1) * KEY_BLOCK);
            let keys = self.keys(b, h, block * KEY_BLOCK..end, few, buffers);
            for tile in 0..tiles {
                let cut = part(there, tiles, tile);
                let to = out.pointer.wrapping_offset(cut.start as isize * out.row_stride);
                let some = rows.start + cut.start..rows.start + cut.end;
                let alone = block == first_block;
                let product = if alone { (to, out.row_stride) } else { (buffers.product.as_mut_ptr(), s.values as isize) };
                let Some(result) = self.tile(b, h, &some, &keys, end, buffers, product) else { continue };
                let (maximum, sum) = (&mut maximum[cut.clone()], &mut sum[cut.clone()]);
                if alone {
                    maximum.copy_from_slice(&result.maximum[..cut.len()]);
                    sum.copy_from_slice(&result.sum[..cut.len()]);
                } else {
                    let (product, product_stride) = (product.0.cast_const(), product.1);
                    let (output, output_stride) = (to, out.row_stride);
                    dispatch_on(
                        self.choice,
                        Merge {
                            rows: cut.len(),
                            values: s.values,
                            block: result,
                            product,
                            product_stride,
                            maximum,
                            sum,
                            output,
                            output_stride,
                        },
                    );
                }
            }
        }
        self.finish(maximum, sum, (out.pointer, out.row_stride));
        if let Some([all_maxima, all_inverses]) = statistics {
            all_maxima.copy_from_slice(maximum);
            all_inverses.copy_from_slice(sum);
        }
    }

    /// Divides by the sums, which become their inverses; rows that saw nothing become zeros.
    fn finish(&self, maximum: &mut [T], sum: &mut [T], (output, stride): (*mut T, isize)) {
        let values = self.call.sizes.values;
        for (r, (m, l)) in maximum.iter_mut().zip(sum.iter_mut()).enumerate() {
            if *m == T::NEG_INFINITY {
                (*m, *l) = (-T::NEG_INFINITY, T::ZERO);
                // SAFETY: the row belongs to this job; it may hold anything until now.
                unsafe { std::slice::from_raw_parts_mut(output.offset(r as isize * stride), values).fill(T::ZERO) };
            } else {
                *l = T::ONE / *l;
            }
        }
        dispatch_on(self.choice, Scale { x: output, stride, columns: values, by: sum });
    }
}

/// Dropout on the numerators of one row; the mask is made for whole blocks of keys around the span.
pub(super) fn drop_row<T: Real>(
    choice: Choice,
    keep: Keep<T>,
    counter: u64,
    first: usize,
    span: &Range<usize>,
    mask: &mut [T],
    row: &mut [T],
) {
    let start = span.start / mask::KEYS_A_BLOCK * mask::KEYS_A_BLOCK;
    let end = span.end.next_multiple_of(mask::KEYS_A_BLOCK);
    let to = &mut mask[start..end];
    dispatch_on(choice, mask::Row { keep, counter, first: first + start, to });
    row[span.clone()].iter_mut().zip(&mask[span.clone()]).for_each(|(x, &m)| *x = *x * m);
}

/// Calls `f(job)` for every job, threads taking the next one when they have done theirs: what a job gives does not depend on who does it.
///
/// `own` makes what a thread keeps from job to job.
pub(super) fn jobs<S>(threads: usize, count: usize, own: impl Fn() -> S + Sync, f: impl Fn(&mut S, usize) + Sync) {
    some_jobs(threads, count, own, |state, some| some.for_each(|job| f(state, job)));
}

/// The same for a few jobs in a row at once.
pub(super) fn some_jobs<S>(threads: usize, count: usize, own: impl Fn() -> S + Sync, f: impl Fn(&mut S, Range<usize>) + Sync) {
    let next = AtomicUsize::new(0);
    let threads = threads.min(count.max(1));
    let some = (count / (16 * threads)).max(1);
    parallel::run(threads, &|_| {
        let mut state = own();
        loop {
            let first = next.fetch_add(some, Ordering::Relaxed);
            if first >= count {
                return;
            }
            f(&mut state, first..count.min(first + some));
        }
    });
}

/// The context `[B, T, N, E]`, written whole, and the statistics where asked for (backward and weights need them).
pub fn forward<T: Real>(call: &Call<'_, T>, context: ViewMut<'_, T>, statistics: Option<Statistics<'_, T>>) -> Result<()> {
    call.check()?;
    let s = call.sizes;
    let all = s.batch * s.heads * s.targets;
    let shared = match statistics {
        Some(Statistics { maximum, inverse }) => {
            check_length("attention", "maximum", maximum.len(), all)?;
            check_length("attention", "inverse", inverse.len(), all)?;
            Some((Shared(maximum.as_mut_ptr()), Shared(inverse.as_mut_ptr())))
        }
        None => None,
    };
    let heads = s.batch * s.heads;
    if heads == 0 || s.targets == 0 {
        return Ok(());
    }
    let pass = Pass::of(call);
    let threads = threads_for(2.0 * call.operations());
    let blocks = s.sources.div_ceil(KEY_BLOCK);
    if s.targets <= tile_rows(pass.choice, PANEL_VECTORS) && heads < threads && blocks > 1 {
        split(&pass, &context, shared, threads, blocks);
        return Ok(());
    }
    let mut rows = ROW_BLOCK;
    while rows > 32 && heads * s.targets.div_ceil(rows) < 4 * threads && threads > 1 {
        rows /= 2;
    }
    let parts = s.targets.div_ceil(rows);
    let shared = &shared;
    let own = || (pass.buffers(), [scratch(rows), scratch(rows)]);
    jobs(threads, heads * parts, own, |own, job| {
        let (head, index) = (job / parts, job % parts);
        let (b, h) = (head / s.heads, head % s.heads);
        let rows = part(s.targets, parts, index);
        let at = head * s.targets + rows.start..head * s.targets + rows.end;
        // SAFETY: rows of different jobs are disjoint.
        let statistics = shared.as_ref().map(|(m, l)| unsafe { [m.slice(at.clone()), l.slice(at.clone())] });
        pass.rows((b, h), rows, &context, statistics, own);
    });
    Ok(())
}

/// Fewer heads than threads, and few rows over many keys (decoding): threads take blocks of keys, which are merged afterwards in order.
fn split<T: Real>(
    pass: &Pass<'_, T>,
    context: &ViewMut<'_, T>,
    statistics: Option<(Shared<T>, Shared<T>)>,
    threads: usize,
    blocks: usize,
) {
    let s = pass.call.sizes;
    let size = s.targets * s.values;
    for head in 0..s.batch * s.heads {
        let (b, h) = (head / s.heads, head % s.heads);
        let rows = 0..s.targets;
        let seen = pass.call.seen(b, &rows);
        let mut products = scratch::<T>(blocks * size);
        let mut results: Vec<Option<Block<T>>> = vec![None; blocks];
        let (to, found) = (Shared(products.as_mut_ptr()), Shared(results.as_mut_ptr()));
        parallel::run(threads.min(num_threads()), &|index| {
            let mut buffers = pass.buffers();
            for block in part(blocks, threads, index) {
                let end = seen.end.min((block + 1) * KEY_BLOCK);
                let keys = (block * KEY_BLOCK).max(seen.start / KEY_BLOCK * KEY_BLOCK)..end;
                if !keys.is_empty() {
                    let keys = pass.keys(b, h, keys, true, &mut buffers);
                    let result = pass.tile(b, h, &rows, &keys, end, &mut buffers, (to.at(block * size), s.values as isize));
                    // SAFETY: each block is one thread's.
                    unsafe { found.write(block, result) };
                }
            }
        });
        let (mut maximum, mut sum) = (vec![T::NEG_INFINITY; s.targets], vec![T::ZERO; s.targets]);
        // SAFETY: no other thread runs now.
        let out = unsafe { context.matrix(b, h, rows.clone(), s.values) };
        for (block, result) in results.into_iter().enumerate() {
            let Some(result) = result else { continue };
            let product = products[block * size..].as_ptr();
            let (maximum, sum, output, output_stride) = (&mut maximum[..], &mut sum[..], out.pointer, out.row_stride);
            dispatch_on(
                pass.choice,
                Merge {
                    rows: s.targets,
                    values: s.values,
                    block: result,
                    product,
                    product_stride: s.values as isize,
                    maximum,
                    sum,
                    output,
                    output_stride,
                },
            );
        }
        pass.finish(&mut maximum, &mut sum, (out.pointer, out.row_stride));
        if let Some((all_maxima, all_inverses)) = statistics {
            let at = head * s.targets..(head + 1) * s.targets;
            // SAFETY: as above.
            unsafe {
                all_maxima.slice(at.clone()).copy_from_slice(&maximum);
                all_inverses.slice(at).copy_from_slice(&sum);
            }
        }
    }
}
