//! The weights of chosen heads and rows, beside the fast path: what they cost is in proportion to how many are asked for.

use super::forward::{drop_row, jobs};
use super::mask::Keep;
use super::operands::{Columns, Rows, multiply};
use super::softmax::{Tile, Weights};
use super::{Call, KEY_BLOCK, TILE_ROWS, intersection, nothing};
use crate::error::{check_indices, check_length};
use crate::matmul::PANEL_VECTORS;
use crate::matmul::tile::tile_rows;
use crate::parallel::{Shared, part, threads_for};
use crate::workspace::scratch;
use crate::{Real, Result};
use std::ops::Range;
use weft_simd::{chosen, dispatch_on};

/// Which weights.
#[derive(Clone, Copy)]
pub struct Chosen<'a> {
    /// Heads, in the order of the result.
    pub heads: &'a [i64],
    /// Rows, in the order of the result.
    pub rows: &'a [i64],
    /// The mean of the heads instead of each.
    pub mean: bool,
}

/// Rows of a job.
const ROWS: usize = 48;

/// Weights `[B, heads, rows, S]`, `[B, rows, S]` for the mean, from the statistics of [`super::forward`]; after dropout, as torch gives them.
pub fn weights<T: Real>(call: &Call<'_, T>, maximum: &[T], inverse: &[T], chosen_ones: Chosen<'_>, to: &mut [T]) -> Result<()> {
    call.check()?;
    assert!(call.pages.is_none(), "[attention] weights of a paged cache");
    let s = call.sizes;
    let Chosen { heads, rows, mean } = chosen_ones;
    check_indices("attention", "heads", heads, s.heads, None)?;
    check_indices("attention", "rows", rows, s.targets, None)?;
    check_length("attention", "maximum", maximum.len(), s.batch * s.heads * s.targets)?;
    check_length("attention", "inverse", inverse.len(), s.batch * s.heads * s.targets)?;
    check_length("attention", "weights", to.len(), s.batch * if mean { 1 } else { heads.len() } * rows.len() * s.sources)?;
    if to.is_empty() {
        return Ok(());
    }
    let (choice, scale, keep) = (chosen(), T::from_f64(call.scale), call.dropout.map(Keep::new));
    let (parts, size) = (rows.len().div_ceil(ROWS), rows.len() * s.sources);
    let share = T::from_f64(1.0 / heads.len().max(1) as f64);
    let tallest = tile_rows(choice, PANEL_VECTORS);
    let all = Shared(to.as_mut_ptr());
    let threads = threads_for(2.0 * (s.batch * heads.len() * size * s.width) as f64);
    let own = || (scratch::<T>(TILE_ROWS * KEY_BLOCK), scratch::<T>(if keep.is_some() { KEY_BLOCK } else { 0 }), scratch::<T>(0));
    jobs(threads, s.batch * parts, own, |(scores, mask, store), job| {
        let (b, index) = (job / parts, job % parts);
        let cut = part(rows.len(), parts, index);
        let n = call.length(b);
        for (place, &h) in heads.iter().enumerate() {
            let h = h as usize;
            let from = if mean { b * size } else { (b * heads.len() + place) * size };
            // SAFETY: each job has its own rows of its own sequence.
            let to = unsafe { all.slice(from + cut.start * s.sources..from + cut.end * s.sources) };
            if !mean || place == 0 {
                to.fill(T::ZERO);
            }
            let key_head = h / (s.heads / s.key_heads);
            let biases = call.biases(b, h);
            for first in (0..n).step_by(KEY_BLOCK) {
                let block = first..n.min(first + KEY_BLOCK);
                let keys = Columns::new(
                    call.k.matrix(b, key_head, block.clone(), s.width).transposed(),
                    cut.len() <= TILE_ROWS,
                    s.sources - first,
                    store,
                );
                let mut r = 0;
                while r < cut.len() {
                    // Rows that follow each other share a tile.
                    let i = rows[cut.start + r] as usize;
                    let mut count = 1;
                    while count < tallest && r + count < cut.len() && rows[cut.start + r + count] as usize == i + count {
                        count += 1;
                    }
                    let mut seen: [Range<usize>; TILE_ROWS] = Default::default();
                    let mut span = nothing();
                    for (i, seen) in (i..i + count).zip(&mut seen) {
                        let keys = call.trimmed(&biases, i, intersection(&call.visible(b, i), &block));
                        if !keys.is_empty() {
                            *seen = keys.start - first..keys.end - first;
                            span = span.start.min(seen.start)..span.end.max(seen.end);
                        }
                    }
                    r += count;
                    if span.is_empty() {
                        continue;
                    }
                    let q = call.q.matrix(b, h, i..i + count, s.width);
                    let a = Rows { pointer: q.pointer, stride: q.row_stride, rows: count };
                    let begin = span.start / T::WIDTH * T::WIDTH;
                    let score = scores.as_mut_ptr();
                    // SAFETY: the rows, the block's keys and the buffer have these sizes.
                    unsafe {
                        multiply::<T, false>(choice, a, &keys, 0..s.width, begin..span.end, false, (score, KEY_BLOCK as isize));
                    }
                    let at = |(p, down, right): (*const T, isize, isize)| {
                        (p.wrapping_offset(i as isize * down + first as isize * right), down, right)
                    };
                    let tile = Tile {
                        scores: score,
                        stride: KEY_BLOCK,
                        seen: &seen[..count],
                        span: &span,
                        scale,
                        biases: biases.map(|bias| bias.map(at)),
                    };
                    let row = (b * s.heads + h) * s.targets + i;
                    let (maximum, inverse) = (&maximum[row..row + count], &inverse[row..row + count]);
                    dispatch_on(choice, Weights { tile, maximum, inverse });
                    for t in 0..count {
                        let row = &mut scores[t * KEY_BLOCK..];
                        if let Some(keep) = keep {
                            drop_row(choice, keep, call.counters(b, h, i + t), first, &span, mask, row);
                        }
                        let to = &mut to[(r - count + t) * s.sources + first..][span.clone()];
                        for (to, &weight) in to.iter_mut().zip(&row[span.clone()]) {
                            *to = if mean { *to + share * weight } else { weight };
                        }
                    }
                }
            }
        }
    });
    Ok(())
}
