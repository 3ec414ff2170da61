//! Attention of an encoder-decoder over its source: all decoder steps at once, or one.
//!
//! For each sequence: `scores [T, S]`, softmax over the keys that exist, `context = weights · values`. The weights are a result here, small
//! (target by source) and looked at, so they are kept. Keys beyond a row's length are never read; their weights are zero. A row without
//! keys gets zeros. Every sequence is computed alone, so its bits do not depend on its batch (rule R5).

use super::score;
use crate::activation::{softmax_row, softmax_row_backward};
use crate::error::{Error, check_length};
use crate::matmul::{Right, Start, product_on};
use crate::parallel::{self, Shared, part, threads_for};
use crate::workspace::scratch;
use crate::{MatrixView, MatrixViewMut, Real, Result, reduction};
use weft_simd::{Choice, Isa, Kernel, chosen, dispatch_on};

/// How a query and a key are compared.
#[derive(Clone, Copy, Debug)]
pub enum Score<'a, T> {
    /// `scale · q·k` (Luong et al. 2015; Vaswani et al. 2017 with scale 1/√D). `general` is a linear layer before.
    Dot {
        /// Factor of the product.
        scale: f64,
    },
    /// `energy · tanh(q + k)` with a vector of D numbers (Bahdanau et al. 2015).
    Additive {
        /// v_a of the paper.
        energy: &'a [T],
    },
}

/// Sizes of a call.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// B
    pub batch: usize,
    /// T, queries
    pub targets: usize,
    /// S, keys
    pub sources: usize,
    /// D, width of queries and keys
    pub width: usize,
    /// E, width of values
    pub values: usize,
}

fn check<T: Real>(s: &Sizes, q: &[T], k: &[T], v: &[T], score: &Score<'_, T>, lengths: Option<&[i64]>) -> Result<()> {
    check_length("attention", "query", q.len(), s.batch * s.targets * s.width)?;
    check_length("attention", "key", k.len(), s.batch * s.sources * s.width)?;
    check_length("attention", "value", v.len(), s.batch * s.sources * s.values)?;
    if let Score::Additive { energy } = score {
        check_length("attention", "energy", energy.len(), s.width)?;
    }
    if let Some(lengths) = lengths {
        check_length("attention", "lengths", lengths.len(), s.batch)?;
        for (position, &got) in lengths.iter().enumerate() {
            if got < 0 || got as usize > s.sources {
                return Err(Error::Index { room: "attention", name: "lengths", bound: s.sources + 1, got, position });
            }
        }
    }
    Ok(())
}

/// Rows of a matrix with a stride, softmax forward or backward in place.
struct SoftmaxRows<T> {
    rows: usize,
    cols: usize,
    stride: usize,
    /// weights
    y: *mut T,
    /// gradients of the weights, or null for the forward pass
    dy: *mut T,
    scale: T,
}

impl<T: Real> Kernel for SoftmaxRows<T> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        for row in 0..self.rows {
            // SAFETY: the caller's matrices hold these rows.
            unsafe {
                let y = self.y.add(row * self.stride);
                if self.dy.is_null() {
                    softmax_row::<T::On<I>>(y, y, self.cols);
                } else {
                    let dy = self.dy.add(row * self.stride);
                    softmax_row_backward::<T::On<I>>(y, dy, dy, self.cols);
                    for i in 0..self.cols {
                        *dy.add(i) = *dy.add(i) * self.scale;
                    }
                }
            }
        }
    }
}

/// What packing a source's keys and values costs beside a query's products with them, as measured: one query spends most of its time so.
const PACKING: f64 = 12.0;

fn in_batches(s: &Sizes, products: f64, f: impl Fn(Choice, usize) + Sync) {
    let queries = products * s.targets as f64 + PACKING;
    let work = queries * 2.0 * (s.batch * s.sources) as f64 * (s.width + s.values) as f64;
    let threads = threads_for(work).min(s.batch.max(1));
    let choice = chosen();
    parallel::run(threads, &|index| part(s.batch, threads, index).for_each(|b| f(choice, b)));
}

/// Weights and contexts.
///
/// Buffers: q `[B, T, D]`, k `[B, S, D]`, v `[B, S, E]` and lengths `[B]` are read; weights `[B, T, S]` and context `[B, T, E]` are
/// written whole. Backward needs q, k, v and the weights.
pub fn forward<T: Real>(
    s: Sizes,
    score: Score<'_, T>,
    q: &[T],
    k: &[T],
    v: &[T],
    lengths: Option<&[i64]>,
    weights: &mut [T],
    context: &mut [T],
) -> Result<()> {
    check(&s, q, k, v, &score, lengths)?;
    check_length("attention", "weights", weights.len(), s.batch * s.targets * s.sources)?;
    check_length("attention", "context", context.len(), s.batch * s.targets * s.values)?;
    let (all_weights, all_context) = (Shared(weights.as_mut_ptr()), Shared(context.as_mut_ptr()));
    in_batches(&s, 1.0, |choice, b| {
        let n = lengths.map_or(s.sources, |l| l[b] as usize);
        let (q, k, v) =
            (sequence(q, b, s.targets, s.width), sequence(k, b, s.sources, s.width), sequence(v, b, s.sources, s.values));
        // SAFETY: each sequence belongs to one thread.
        let (weights, context) =
            unsafe { (all_weights.slice(span(b, s.targets * s.sources)), all_context.slice(span(b, s.targets * s.values))) };
        match score {
            Score::Dot { scale } => {
                let keys = MatrixView::new(k, n, s.width).transposed();
                let to = MatrixViewMut::strided(weights, s.targets, n, s.sources);
                product_on(choice, 1, MatrixView::new(q, s.targets, s.width), Right::View(keys), to, Start::Zero);
                if scale != 1.0 {
                    let scale = T::from_f64(scale);
                    weights.iter_mut().for_each(|w| *w = *w * scale);
                }
            }
            Score::Additive { energy } => score::additive(choice, s.targets, n, s.sources, s.width, q, k, energy, weights),
        }
        for row in weights.chunks_mut(s.sources.max(1)) {
            row[n..].fill(T::ZERO);
        }
        let (stride, scale) = (s.sources, T::ONE);
        let y = weights.as_mut_ptr();
        dispatch_on(choice, SoftmaxRows { rows: s.targets, cols: n, stride, y, dy: std::ptr::null_mut(), scale });
        let left = MatrixView::strided(weights, s.targets, n, s.sources as isize, 1);
        let to = MatrixViewMut::new(context, s.targets, s.values);
        product_on(choice, 1, left, Right::View(MatrixView::new(v, n, s.values)), to, Start::Zero);
    });
    Ok(())
}

/// Where the gradients go; every buffer is written whole, but for the keys' if it is a sum.
pub struct Gradients<'a, T> {
    /// `[B, T, D]`
    pub q: &'a mut [T],
    /// `[B, S, D]`
    pub k: &'a mut [T],
    /// Whether that of the keys is added to what `k` holds: a decoder's steps look at the same keys.
    pub adds_to_k: bool,
    /// `[B, S, E]`; empty if not wanted
    pub v: &'a mut [T],
    /// `[D]`, additive only; else empty.
    pub energy: &'a mut [T],
}

/// Gradients from those of the context `[B, T, E]` and, where given, of the weights `[B, T, S]`.
pub fn backward<T: Real>(
    s: Sizes,
    score: Score<'_, T>,
    q: &[T],
    k: &[T],
    v: &[T],
    lengths: Option<&[i64]>,
    weights: &[T],
    d_context: &[T],
    d_weights: Option<&[T]>,
    gradients: Gradients<'_, T>,
) -> Result<()> {
    check(&s, q, k, v, &score, lengths)?;
    check_length("attention", "weights", weights.len(), s.batch * s.targets * s.sources)?;
    check_length("attention", "context gradient", d_context.len(), s.batch * s.targets * s.values)?;
    check_length("attention", "query gradient", gradients.q.len(), q.len())?;
    check_length("attention", "key gradient", gradients.k.len(), k.len())?;
    let wants_v = !gradients.v.is_empty();
    check_length("attention", "value gradient", gradients.v.len(), if wants_v { v.len() } else { 0 })?;
    let (additive, adds) = (matches!(score, Score::Additive { .. }), gradients.adds_to_k);
    // The energy's gradient is summed over sequences in order afterwards.
    let mut energies = scratch::<T>(if additive { s.batch * s.width } else { 0 });
    let shared = (
        Shared(gradients.q.as_mut_ptr()),
        Shared(gradients.k.as_mut_ptr()),
        Shared(gradients.v.as_mut_ptr()),
        Shared(energies.as_mut_ptr()),
    );
    in_batches(&s, 2.0, |choice, b| {
        let shared = &shared;
        let n = lengths.map_or(s.sources, |l| l[b] as usize);
        let (q, k, v) =
            (sequence(q, b, s.targets, s.width), sequence(k, b, s.sources, s.width), sequence(v, b, s.sources, s.values));
        let weights = sequence(weights, b, s.targets, s.sources);
        let d_context = sequence(d_context, b, s.targets, s.values);
        // SAFETY: each sequence belongs to one thread.
        let (dq, dk) = unsafe { (shared.0.slice(span(b, s.targets * s.width)), shared.1.slice(span(b, s.sources * s.width))) };
        if !adds {
            dk[if additive { 0 } else { n * s.width }..].fill(T::ZERO);
        }
        let outer = MatrixView::new(d_context, s.targets, s.values);
        if wants_v {
            // SAFETY: as above.
            let dv = unsafe { shared.2.slice(span(b, s.sources * s.values)) };
            dv[n * s.values..].fill(T::ZERO);
            let w = MatrixView::strided(weights, s.targets, n, s.sources as isize, 1);
            let to = MatrixViewMut::new(&mut dv[..n * s.values], n, s.values);
            product_on(choice, 1, w.transposed(), Right::View(outer), to, Start::Zero);
        }

        let mut ds = scratch::<T>(s.targets * s.sources);
        let start = match d_weights {
            Some(given) => {
                ds.copy_from_slice(sequence(given, b, s.targets, s.sources));
                Start::Accumulate
            }
            None => Start::Zero,
        };
        let to = MatrixViewMut::strided(&mut ds, s.targets, n, s.sources);
        product_on(choice, 1, outer, Right::View(MatrixView::new(v, n, s.values).transposed()), to, start);
        let scale = match score {
            Score::Dot { scale } => T::from_f64(scale),
            Score::Additive { .. } => T::ONE,
        };
        let (y, dy) = (weights.as_ptr().cast_mut(), ds.as_mut_ptr());
        dispatch_on(choice, SoftmaxRows { rows: s.targets, cols: n, stride: s.sources, y, dy, scale });
        match score {
            Score::Dot { .. } => {
                let d = MatrixView::strided(&ds, s.targets, n, s.sources as isize, 1);
                let to = MatrixViewMut::new(dq, s.targets, s.width);
                product_on(choice, 1, d, Right::View(MatrixView::new(k, n, s.width)), to, Start::Zero);
                let to = MatrixViewMut::new(&mut dk[..n * s.width], n, s.width);
                let right = Right::View(MatrixView::new(q, s.targets, s.width));
                product_on(choice, 1, d.transposed(), right, to, if adds { Start::Accumulate } else { Start::Zero });
            }
            Score::Additive { energy } => {
                // SAFETY: as above.
                let d_energy = unsafe { shared.3.slice(span(b, s.width)) };
                score::additive_backward(choice, s.targets, n, s.sources, s.width, q, k, energy, &ds, dq, dk, d_energy);
            }
        }
    });
    if additive {
        check_length("attention", "energy gradient", gradients.energy.len(), s.width)?;
        reduction::sum(1, s.batch, s.width, &energies, gradients.energy)?;
    }
    Ok(())
}

fn span(b: usize, size: usize) -> std::ops::Range<usize> {
    b * size..(b + 1) * size
}

fn sequence<T>(x: &[T], b: usize, rows: usize, cols: usize) -> &[T] {
    &x[span(b, rows * cols)]
}
