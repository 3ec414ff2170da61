//! Gradients by recomputation (Dao et al. 2022, algorithm 4, and its appendix B.2 for the equations).
//!
//! Tiles are turned over, keys down and rows across, so that the statistics of rows are vectors and nothing is summed over lanes:
//!
//! ```text
//!   Sᵀ  = K·Qᵀ         Pᵀ  = e^(Sᵀ·scale − m) / l          dV += Pᵀ·dO
//!   dPᵀ = V·dOᵀ        dSᵀ = Pᵀ ∘ (dPᵀ − δ) · scale        dK += dSᵀ·Q        dQ += dS·K
//! ```
//!
//! with δ = Σ dO ∘ O of each row. Every element of dQ is one chain over ascending keys, of dK and dV one over ascending rows (and the heads of
//! a group): a thread may take whole heads and compute the scores once, or blocks of rows for dQ and blocks of keys for dK and dV and
//! compute them twice; the bits are the same. The second way serves where there are fewer heads than threads.

use super::forward::jobs;
use super::mask::{self, Keep};
use super::operands::{Columns, Rows, multiply};
use super::strips::{Strips, keys_of, rows_of, strips};
use super::{Call, View, ViewMut, intersection, nothing};
use crate::error::check_length;
use crate::matmul::pack::pack_panel;
use crate::parallel::threads_for;
use crate::workspace::{Scratch, scratch};
use crate::{MatrixView, Real, Result};
use std::ops::Range;
use weft_simd::{Choice, Isa, Kernel, Lanes, chosen, dispatch_on, maths};

/// Keys of a tile.
const KEYS: usize = 192;
/// The longest row of a tile: a panel of B.
const ROWS: usize = 128;

/// Where the gradients go, each written whole: `[B, T, N, D]`, `[B, S, key heads, D]` and `[B, S, key heads, E]`.
pub struct Gradients<'a, T> {
    /// Of the queries.
    pub q: ViewMut<'a, T>,
    /// Of the keys.
    pub k: ViewMut<'a, T>,
    /// Of the values.
    pub v: ViewMut<'a, T>,
}

/// Scores and dP of a tile become P and dS.
struct Pointwise<'a, T> {
    /// `[keys, stride]`: products k·q, then weights after dropout.
    scores: *mut T,
    /// `[keys, stride]`: products v·dO, then gradients of the products k·q.
    gradients: *mut T,
    stride: usize,
    /// The rows that see each key.
    rows: &'a [Range<usize>],
    scale: T,
    /// Of each row; 0 behind the last.
    maximum: &'a [T; ROWS],
    inverse: &'a [T; ROWS],
    delta: &'a [T; ROWS],
    /// Tiles of the same layout; null where there is none.
    biases: [*const T; 2],
    keep: *const T,
}

impl<T: Real> Kernel for Pointwise<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        for (key, seen) in self.rows.iter().enumerate() {
            let mut i = 0;
            while i < self.stride {
                let end = i + <T::On<I> as Lanes>::Step::WIDTH;
                // In step, but for the vectors in which a causal line begins: most of those see nothing.
                if end <= self.stride && (seen.start <= i || end <= seen.start) {
                    self.rows_of::<<T::On<I> as Lanes>::Step>(key, i, seen);
                    i = end;
                } else {
                    self.rows_of::<T::On<I>>(key, i, seen);
                    i += T::WIDTH;
                }
            }
        }
    }
}

impl<T: Real> Pointwise<'_, T> {
    /// One key and the rows from the i-th on, as many as V has lanes.
    #[inline(always)]
    fn rows_of<V: Lanes<Elem = T>>(&self, key: usize, i: usize, seen: &Range<usize>) {
        // SAFETY: every array holds `stride` numbers a key, whole vectors; the statistics hold as many.
        unsafe {
            let at = key * self.stride + i;
            let (p, g) = (self.scores.add(at), self.gradients.add(at));
            if i + V::WIDTH <= seen.start || i >= seen.end {
                V::zero().store(p);
                V::zero().store(g);
                return;
            }
            let scale = V::splat(self.scale);
            let maximum = V::load(self.maximum.as_ptr().add(i));
            let inverse = V::load(self.inverse.as_ptr().add(i));
            let delta = V::load(self.delta.as_ptr().add(i));
            let mut x = V::load(p).mul(scale);
            for bias in self.biases {
                if !bias.is_null() {
                    x = x.add(V::load(bias.add(at)));
                }
            }
            let weight = maths::exp_nonpositive(x.sub(maximum)).mul(inverse);
            let mut gradient = V::load(g);
            if self.keep.is_null() {
                weight.store(p);
            } else {
                let keep = V::load(self.keep.add(at));
                gradient = gradient.mul(keep);
                weight.mul(keep).store(p);
            }
            weight.mul(gradient.sub(delta)).mul(scale).store(g);
            let mut j = 0;
            while j < V::WIDTH {
                if i + j < seen.start || i + j >= seen.end {
                    *p.add(j) = T::ZERO;
                    *g.add(j) = T::ZERO;
                    j += 1;
                } else {
                    // On to the end of what is seen.
                    j = seen.end - i;
                }
            }
        }
    }
}

/// δ of each row.
struct Dots<'a, T> {
    a: MatrixView<'a, T>,
    b: MatrixView<'a, T>,
    to: &'a mut [T],
}

impl<T: Real> Kernel for Dots<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        for (row, to) in self.to.iter_mut().enumerate() {
            let mut sum = <T::On<I>>::zero();
            let mut j = 0;
            while j < self.a.cols {
                let n = T::WIDTH.min(self.a.cols - j);
                // SAFETY: n numbers are left in both rows.
                unsafe {
                    sum = <T::On<I>>::load_first(self.a.at(row, j), n).fma(<T::On<I>>::load_first(self.b.at(row, j), n), sum);
                }
                j += n;
            }
            *to = sum.fold_add();
        }
    }
}

/// What a walk over tiles is to find.
#[derive(Clone, Copy)]
struct Wanted {
    rows: bool,
    keys: bool,
}

struct Pass<'a, T> {
    call: &'a Call<'a, T>,
    choice: Choice,
    scale: T,
    keep: Option<Keep<T>>,
    context: View<'a, T>,
    d_context: View<'a, T>,
    maximum: &'a [T],
    inverse: &'a [T],
    gradients: Gradients<'a, T>,
}

/// Buffers of a thread.
struct Tiles<T> {
    scores: Scratch<T>,
    gradients: Scratch<T>,
    keep: Scratch<T>,
    biases: [Scratch<T>; 2],
    /// Keys for dQ, in panels.
    keys: Scratch<T>,
    /// Queries and dO across and down.
    panels: [Scratch<T>; 4],
    /// Which keys each row sees, and which rows see each key.
    sees: Vec<Range<usize>>,
    seen: Vec<Range<usize>>,
    /// Parts of a tile that are not empty, in keys and in rows.
    strips: Strips,
}

impl<T: Real> Pass<'_, T> {
    fn tiles(&self) -> Tiles<T> {
        let (size, biases) = (KEYS * ROWS, self.call.mask.biases.len());
        let bias = |n: usize| scratch(if n < biases { size } else { 0 });
        Tiles {
            scores: scratch(size),
            gradients: scratch(size),
            keep: scratch(if self.keep.is_some() { size } else { 0 }),
            biases: [bias(0), bias(1)],
            keys: scratch(0),
            panels: std::array::from_fn(|_| scratch(0)),
            sees: Vec::with_capacity(ROWS),
            seen: Vec::with_capacity(KEYS),
            strips: Vec::new(),
        }
    }

    /// The tiles of `rows` by `keys` of one key head: dQ of the rows, dK and dV of the keys, as wanted.
    fn walk(&self, tiles: &mut Tiles<T>, b: usize, key_head: usize, rows: Range<usize>, keys: Range<usize>, wanted: Wanted) {
        let s = &self.call.sizes;
        let group = s.heads / s.key_heads;
        if wanted.keys {
            // SAFETY: these keys belong to this walk alone.
            unsafe {
                clear(self.gradients.k.matrix(b, key_head, keys.clone(), s.width));
                clear(self.gradients.v.matrix(b, key_head, keys.clone(), s.values));
            }
        }
        let there = self.call.there(b, &rows);
        let few = there.len() <= ROWS;
        let packed = wanted.rows.then(|| {
            Columns::new(
                self.call.k.matrix(b, key_head, keys.start..keys.end.min(self.call.length(b)), s.width),
                few,
                s.width,
                &mut tiles.keys,
            )
        });
        for h in key_head * group..(key_head + 1) * group {
            if wanted.rows {
                // SAFETY: these rows belong to this walk alone.
                unsafe { clear(self.gradients.q.matrix(b, h, rows.clone(), s.width)) };
            }
            for first in there.clone().step_by(ROWS) {
                let some = first..there.end.min(first + ROWS);
                self.rows(b, h, key_head, some, &keys, wanted, packed.as_ref(), tiles);
            }
        }
    }

    /// One panel of rows over the keys that it sees.
    fn rows(
        &self,
        b: usize,
        h: usize,
        key_head: usize,
        rows: Range<usize>,
        keys: &Range<usize>,
        wanted: Wanted,
        packed: Option<&Columns<T>>,
        tiles: &mut Tiles<T>,
    ) {
        let s = &self.call.sizes;
        let biases = self.call.biases(b, h);
        let mut span = nothing();
        tiles.sees.clear();
        for i in rows.clone() {
            let sees = self.call.visible(b, i);
            let seen = self.call.trimmed(&biases, i, intersection(&sees, keys));
            tiles.sees.push(sees);
            if !seen.is_empty() {
                span = span.start.min(seen.start)..span.end.max(seen.end);
            }
        }
        if span.is_empty() {
            return;
        }
        let q = self.call.q.matrix(b, h, rows.clone(), s.width);
        let d = self.d_context.matrix(b, h, rows.clone(), s.values);
        let few = s.targets <= ROWS;
        let [q_store, d_store, q_more, d_more] = &mut tiles.panels;
        let (q_across, d_across) =
            (Columns::new(q.transposed(), false, 0, q_store), Columns::new(d.transposed(), false, 0, d_store));
        let down = wanted.keys.then(|| (Columns::new(q, few, s.width, q_more), Columns::new(d, few, s.values, d_more)));
        let stride = rows.len().next_multiple_of(16);
        let (mut maximum, mut inverse, mut delta) = ([T::ZERO; ROWS], [T::ZERO; ROWS], [T::ZERO; ROWS]);
        let at = (b * s.heads + h) * s.targets;
        let at = at + rows.start..at + rows.end;
        maximum[..rows.len()].copy_from_slice(&self.maximum[at.clone()]);
        inverse[..rows.len()].copy_from_slice(&self.inverse[at]);
        dispatch_on(
            self.choice,
            Dots { a: d, b: self.context.matrix(b, h, rows.clone(), s.values), to: &mut delta[..rows.len()] },
        );
        for block in (span.start / KEYS * KEYS..span.end).step_by(KEYS) {
            let some = block.max(keys.start)..(block + KEYS).min(span.end);
            rows_of(&some, &tiles.sees, &mut tiles.seen);
            let count = some.len();
            let k = self.call.k.matrix(b, key_head, some.clone(), s.width);
            let v = self.call.v.matrix(b, key_head, some.clone(), s.values);
            let (p, g) = (tiles.scores.as_mut_ptr(), tiles.gradients.as_mut_ptr());
            let across = stride as isize;
            strips::<T>(&tiles.seen, &mut tiles.strips);
            for (keys, rows) in &tiles.strips {
                let a = |view: MatrixView<'_, T>| Rows {
                    pointer: view.pointer.wrapping_offset(keys.start as isize * view.row_stride),
                    stride: view.row_stride,
                    rows: keys.len(),
                };
                let to = |tile: *mut T| (tile.wrapping_add(keys.start * stride), across);
                // SAFETY: the buffers hold KEYS by ROWS numbers; keys and rows exist.
                unsafe {
                    multiply::<T, false>(self.choice, a(k), &q_across, 0..s.width, rows.clone(), false, to(p));
                    multiply::<T, false>(self.choice, a(v), &d_across, 0..s.values, rows.clone(), false, to(g));
                }
            }
            let mut pointers = [std::ptr::null(); 2];
            for (n, bias) in biases.iter().enumerate() {
                let Some((pointer, row, column)) = *bias else { continue };
                let from = pointer.wrapping_offset(rows.start as isize * row + some.start as isize * column);
                let to = tiles.biases[n].as_mut_ptr();
                // SAFETY: the bias holds these rows and keys; the tile has room for whole vectors of rows.
                unsafe { pack_panel(MatrixView::from_raw(from, count, rows.len(), column, row), 0..count, 0, stride, to) };
                pointers[n] = to.cast_const();
            }
            let mut keep = std::ptr::null();
            if let Some(of) = self.keep {
                let counter = self.call.counters(b, h, rows.start);
                let row_counters = s.sources.div_ceil(mask::KEYS_A_BLOCK) as u64;
                dispatch_on(
                    self.choice,
                    mask::Columns {
                        keep: of,
                        counter,
                        row_counters,
                        first: some.start,
                        keys: count,
                        stride,
                        to: &mut tiles.keep,
                    },
                );
                keep = tiles.keep.as_ptr();
            }
            dispatch_on(
                self.choice,
                Pointwise {
                    scores: p,
                    gradients: g,
                    stride,
                    rows: &tiles.seen,
                    scale: self.scale,
                    maximum: &maximum,
                    inverse: &inverse,
                    delta: &delta,
                    biases: pointers,
                    keep,
                },
            );
            if let Some((q_down, d_down)) = &down {
                // SAFETY: these keys belong to this walk alone.
                let (dk, dv) = unsafe {
                    (
                        self.gradients.k.matrix(b, key_head, some.clone(), s.width),
                        self.gradients.v.matrix(b, key_head, some.clone(), s.values),
                    )
                };
                for (keys, rows) in &tiles.strips {
                    let tile = |tile: *mut T| Rows {
                        pointer: tile.wrapping_add(keys.start * stride + rows.start).cast_const(),
                        stride: across,
                        rows: keys.len(),
                    };
                    let to = |pointer: *mut T, stride: isize| (pointer.wrapping_offset(keys.start as isize * stride), stride);
                    let (dk, dv) = (to(dk.pointer, dk.row_stride), to(dv.pointer, dv.row_stride));
                    // SAFETY: as above.
                    unsafe {
                        multiply::<T, false>(self.choice, tile(p), d_down, rows.clone(), 0..s.values, true, dv);
                        multiply::<T, false>(self.choice, tile(g), q_down, rows.clone(), 0..s.width, true, dk);
                    }
                }
            }
            if let Some(packed) = packed {
                // SAFETY: these rows belong to this walk alone.
                let dq = unsafe { self.gradients.q.matrix(b, h, rows.clone(), s.width) };
                keys_of(&some, &tiles.sees, &mut tiles.seen);
                strips::<T>(&tiles.seen, &mut tiles.strips);
                for (rows, sees) in &tiles.strips {
                    let turned = Rows {
                        pointer: g.wrapping_add(sees.start * stride + rows.start).cast_const(),
                        stride: across,
                        rows: rows.len(),
                    };
                    let first = some.start - keys.start;
                    let steps = first + sees.start..first + sees.end;
                    let to = (dq.pointer.wrapping_offset(rows.start as isize * dq.row_stride), dq.row_stride);
                    // SAFETY: as above.
                    unsafe { multiply::<T, true>(self.choice, turned, packed, steps, 0..s.width, true, to) };
                }
            }
        }
    }
}

/// Zeros.
///
/// # Safety
/// The matrix is the caller's alone.
unsafe fn clear<T: Real>(matrix: crate::MatrixViewMut<'_, T>) {
    for row in 0..matrix.rows {
        // SAFETY: the row lies within the matrix.
        unsafe {
            std::slice::from_raw_parts_mut(matrix.pointer.offset(row as isize * matrix.row_stride), matrix.cols).fill(T::ZERO)
        };
    }
}

/// Gradients of q, k and v from that of the context.
///
/// Buffers: those of the forward call, its context and statistics, and d_context `[B, T, N, E]` are read; the gradients are written whole and
/// alias none of them. The keys of the call must lie row by row, not as a transposed cache.
pub fn backward<T: Real>(
    call: &Call<'_, T>,
    context: View<'_, T>,
    maximum: &[T],
    inverse: &[T],
    d_context: View<'_, T>,
    gradients: Gradients<'_, T>,
) -> Result<()> {
    call.check()?;
    let s = call.sizes;
    for (name, found) in [("maximum", maximum.len()), ("inverse", inverse.len())] {
        check_length("attention", name, found, s.batch * s.heads * s.targets)?;
    }
    assert!(
        call.pages.is_none() && call.k.strides[3] == 1 && context.strides[3] == 1 && d_context.strides[3] == 1,
        "[attention] columns lie side by side"
    );
    let keep = call.dropout.map(Keep::new);
    let scale = T::from_f64(call.scale);
    let pass = Pass { call, choice: chosen(), scale, keep, context, d_context, maximum, inverse, gradients };
    let heads = s.batch * s.key_heads;
    let threads = threads_for(5.0 * call.operations());
    if heads >= threads {
        let wanted = Wanted { rows: true, keys: true };
        let all = (0..s.targets, 0..s.sources);
        jobs(
            threads,
            heads,
            || pass.tiles(),
            |tiles, job| pass.walk(tiles, job / s.key_heads, job % s.key_heads, all.0.clone(), all.1.clone(), wanted),
        );
        return Ok(());
    }
    let row_blocks = s.targets.div_ceil(ROWS * 2);
    let key_blocks = s.sources.div_ceil(KEYS * 2);
    jobs(
        threads,
        heads * (row_blocks + key_blocks),
        || pass.tiles(),
        |tiles, job| {
            let (head, index) = (job % heads, job / heads);
            let (b, h) = (head / s.key_heads, head % s.key_heads);
            if index < key_blocks {
                let keys = index * KEYS * 2..s.sources.min((index + 1) * KEYS * 2);
                pass.walk(tiles, b, h, 0..s.targets, keys, Wanted { rows: false, keys: true });
            } else {
                let index = index - key_blocks;
                let rows = index * ROWS * 2..s.targets.min((index + 1) * ROWS * 2);
                pass.walk(tiles, b, h, rows, 0..s.sources, Wanted { rows: true, keys: false });
            }
        },
    );
    Ok(())
}
