//! A Transformer's layers for one token a row, in one call (Vaswani et al. 2017, §3; Xiong et al. 2020 for `norm_first`).
//!
//! A decoder's step is some ten kernels a layer, each of microseconds for few rows, so what lies between them counts. These are the calls of
//! [`linear`], [`normalization`] and [`heads`] that the layers make one by one, and nothing else: the bits are theirs.
//!
//! ```text
//!   x ── norm ── q k v ── k, v into the cache's pages ── attention to the past ── output ── + x
//!     [ norm ── q ── attention to the source ── output ── + x ]
//!       norm ── wide, f ── narrow ── + x              (norm_first; else each norm stands behind its sum)
//! ```

use crate::activation::Activation;
use crate::attention::heads::{self, Call, Chosen, Growth, Mask, Pages, Sizes, Standing, Statistics, View, ViewMut};
use crate::error::{Error, check_indices, check_length};
use crate::matmul::{Linear, PackedMatrix, linear};
use crate::normalization::{self, Norm, Rows};
use crate::parallel::{self, Shared, num_threads, part, threads_for};
use crate::workspace::{Scratch, scratch};
use crate::{Real, Result};
use std::ops::Range;

/// `x · weight + bias`; the bias may be empty.
#[derive(Clone, Copy)]
pub struct Projection<'a, T> {
    /// `[I, O]`
    pub weight: &'a PackedMatrix<T>,
    /// `[O]`
    pub bias: &'a [T],
}

/// Layer norm; gain and shift `[E]` may be empty.
#[derive(Clone, Copy)]
pub struct Gain<'a, T> {
    /// Factors.
    pub gain: &'a [T],
    /// Added.
    pub shift: &'a [T],
    /// ε
    pub epsilon: f64,
}

/// One layer's parameters.
pub struct Layer<'a, T> {
    /// Queries, keys and values side by side `[E, 3 E]`, and the output `[E, E]`.
    pub own: [Projection<'a, T>; 2],
    /// Queries to the source and their output, both `[E, E]`, in a decoder's layer.
    pub source: Option<[Projection<'a, T>; 2]>,
    /// `[E, F]` and `[F, E]`.
    pub feed: [Projection<'a, T>; 2],
    /// Between the two.
    pub activation: Option<Activation>,
    /// One for each part, in their order.
    pub norms: Vec<Gain<'a, T>>,
}

/// Layers, and what they have in common.
pub struct Stack<'a, T> {
    /// From the first to the last.
    pub layers: Vec<Layer<'a, T>>,
    /// Behind the last.
    pub last: Option<Gain<'a, T>>,
    /// A part's norm stands before it, not behind its sum.
    pub norm_first: bool,
    /// N; E is a multiple of it.
    pub heads: usize,
    /// Factor of the scores.
    pub scale: f64,
}

/// What the rows have read so far: the pages of each layer, and where the rows stand in them.
pub struct Past<'a, T> {
    /// A layer's pages.
    pub pages: Vec<Pages<'a, T>>,
    /// Which pages a row has `[R, most]`.
    pub table: &'a [i64],
    /// Positions that each row has with its token `[R]`.
    pub ends: &'a [i64],
}

/// What a decoder's rows look at: sources `[B, S]`.
pub struct Sources<'a, T> {
    /// A layer's keys and values `[B, S, N, E / N]`.
    pub memories: Vec<[View<'a, T>; 2]>,
    /// S, padding counted.
    pub longest: usize,
    /// `[B]`
    pub lengths: &'a [i64],
    /// The source of each row `[R]`, ascending.
    pub rows: &'a [i64],
}

/// A thread takes at least so many rows through all layers by itself. With fewer, the layers' kernels share out their outputs: each thread then
/// reads its part of the weights, not all of them.
const ROWS_A_THREAD: usize = 16;

/// One token further: rows x `[R, E]` to features y `[R, E]`, and where asked for the last layer's weights over the sources, the mean of its
/// heads `[R, S]` (else empty). The rows' keys and values are written into their places first.
pub fn step<T: Real>(
    stack: &Stack<'_, T>,
    mut past: Past<'_, T>,
    sources: Option<Sources<'_, T>>,
    x: &[T],
    y: &mut [T],
    weights: &mut [T],
) -> Result<()> {
    let (rows, width) = check(stack, &past, sources.as_ref(), x, y, weights)?;
    if rows == 0 {
        return Ok(());
    }
    let standing = Standing::new(past.table, past.ends, past.pages.first().map_or(0, Pages::count))?;
    let growths = past.pages.iter_mut().map(|pages| Growth::new(pages, &standing, stack.scale)).collect::<Result<Vec<_>>>()?;
    let longest = if weights.is_empty() { 0 } else { sources.as_ref().map_or(0, |s| s.longest) };
    let of = |p: &Projection<'_, T>| (p.weight.rows() * p.weight.cols()) as f64;
    let weights_of = |l: &Layer<'_, T>| l.own.iter().chain(&l.feed).chain(l.source.iter().flatten()).map(of).sum::<f64>();
    let threads = threads_for(2.0 * rows as f64 * stack.layers.iter().map(weights_of).sum::<f64>());
    let parts = if threads == num_threads() && rows >= threads * ROWS_A_THREAD { threads } else { 1 };
    let (y, weights) = (Shared(y.as_mut_ptr()), Shared(weights.as_mut_ptr()));
    let mut results: Vec<Result<()>> = (0..parts).map(|_| Ok(())).collect();
    let found = Shared(results.as_mut_ptr());
    parallel::run(parts, &|index| {
        let rows = part(rows, parts, index);
        let at = |columns: usize| rows.start * columns..rows.end * columns;
        let sources = sources.as_ref().map(|s| Looks::of(s, rows.clone()));
        // SAFETY: rows of different parts are disjoint, and each part has its own result.
        unsafe {
            let (y, weights) = (y.slice(at(width)), weights.slice(at(longest)));
            let result = through(stack, &growths, sources.as_ref(), rows.clone(), &x[at(width)], y, weights);
            found.write(index, result);
        }
    });
    results.into_iter().collect()
}

/// Some rows through all layers.
///
/// # Safety
/// No two calls at the same time have a row in common.
unsafe fn through<T: Real>(
    stack: &Stack<'_, T>,
    growths: &[Growth<'_, T>],
    sources: Option<&Looks<'_, T>>,
    rows: Range<usize>,
    x: &[T],
    y: &mut [T],
    weights: &mut [T],
) -> Result<()> {
    let (count, all) = (rows.len(), x.len());
    let (width, heads) = (all / count, stack.heads);
    let widest = stack.layers.iter().map(|l| l.feed[0].weight.cols()).fold(3 * width, usize::max);
    let (mut x, mut next, mut wide, mut context) =
        (copied(x), scratch::<T>(all), scratch::<T>(count * widest), scratch::<T>(all));
    let mut norm = Norms {
        stack,
        normed: scratch(all),
        given: scratch(all),
        sum: scratch(all),
        means: scratch(count),
        deviations: scratch(count),
    };
    for (index, layer) in stack.layers.iter().enumerate() {
        let mut gains = layer.norms.iter();
        let mut gain = || gains.next().expect("checked: a norm for each part");
        let own = gain();
        let joined = &mut wide[..3 * all];
        project(&layer.own[0], norm.before(own, &x)?, None, &[], joined)?;
        let parts = [0, 1, 2].map(|part| one_each(joined, part * width, 3 * width, width / heads));
        // SAFETY: passed on to the caller.
        unsafe { growths[index].rows(rows.clone(), parts, ViewMut::new(&mut context, [count, 1, heads, width / heads]))? };
        norm.after(own, &layer.own[1], &context, &x, &mut next)?;
        std::mem::swap(&mut x, &mut next);
        if let (Some(of), Some(sources)) = (&layer.source, sources) {
            let gain = gain();
            let query = &mut wide[..all];
            project(&of[0], norm.before(gain, &x)?, None, &[], query)?;
            let weights = if index + 1 == stack.layers.len() { &mut *weights } else { &mut [] };
            sources.look(stack, index, query, &mut context, weights)?;
            norm.after(gain, &of[1], &context, &x, &mut next)?;
            std::mem::swap(&mut x, &mut next);
        }
        let gain = gain();
        let between = &mut wide[..count * layer.feed[0].weight.cols()];
        project(&layer.feed[0], norm.before(gain, &x)?, layer.activation, &[], between)?;
        norm.after(gain, &layer.feed[1], between, &x, &mut next)?;
        std::mem::swap(&mut x, &mut next);
    }
    match &stack.last {
        Some(last) => norm.last(last, &x, y),
        None => {
            y.copy_from_slice(&x);
            Ok(())
        }
    }
}

/// Sizes that do not fit are refused before any page is written: rows and E.
fn check<T: Real>(
    stack: &Stack<'_, T>,
    past: &Past<'_, T>,
    sources: Option<&Sources<'_, T>>,
    x: &[T],
    y: &[T],
    weights: &[T],
) -> Result<(usize, usize)> {
    const ROOM: &str = "transformer";
    let rows = past.ends.len();
    let width = stack.layers.first().map_or(x.len().checked_div(rows).unwrap_or(0), |l| l.own[0].weight.rows());
    if stack.heads == 0 || !width.is_multiple_of(stack.heads) {
        return Err(Error::Config(format!("[transformer] heads: expected a divisor of {width}, got {}", stack.heads)));
    }
    let weighed = sources.map_or(0, |s| rows * s.longest);
    for (name, got, expected) in [
        ("input", x.len(), rows * width),
        ("output", y.len(), rows * width),
        ("layers of the past", past.pages.len(), stack.layers.len()),
        ("memories", sources.map_or(stack.layers.len(), |s| s.memories.len()), stack.layers.len()),
        ("rows", sources.map_or(rows, |s| s.rows.len()), rows),
        ("weights", weights.len(), if weights.is_empty() { 0 } else { weighed }),
    ] {
        check_length(ROOM, name, got, expected)?;
    }
    for (layer, pages) in stack.layers.iter().zip(&past.pages) {
        let square = |p: &Projection<'_, T>, times: usize| (p.weight.rows(), p.weight.cols()) == (width, times * width);
        let [wide, narrow] = layer.feed.map(|p| (p.weight.rows(), p.weight.cols()));
        let source = layer.source.is_none_or(|[query, output]| square(&query, 1) && square(&output, 1));
        let fits = square(&layer.own[0], 3) && square(&layer.own[1], 1) && source && wide.0 == width && narrow == (wide.1, width);
        if !fits || (pages.heads, pages.width) != (stack.heads, width / stack.heads) {
            return Err(Error::Config(format!("[transformer] expected weights and pages of width {width} in every layer")));
        }
        check_length(ROOM, "norms", layer.norms.len(), 2 + usize::from(layer.source.is_some()))?;
        if layer.source.is_some() != sources.is_some() {
            return Err(Error::Config("[transformer] sources: expected for a decoder's layers, and for no others".into()));
        }
    }
    if let Some(s) = sources {
        check_indices(ROOM, "rows", s.rows, s.lengths.len(), None)?;
        if s.rows.windows(2).any(|w| w[0] > w[1]) {
            return Err(Error::Config("[transformer] rows: expected the rows of a source side by side, in order".into()));
        }
    }
    Ok((rows, width))
}

fn copied<T: Real>(from: &[T]) -> Scratch<T> {
    let mut to = scratch(from.len());
    to.copy_from_slice(from);
    to
}

/// `f(x · weight + bias) + residual`
fn project<T: Real>(of: &Projection<'_, T>, x: &[T], activation: Option<Activation>, residual: &[T], to: &mut [T]) -> Result<()> {
    linear(x, of.weight, Linear { bias: of.bias, activation, before: &mut [], dropout: None, residual }, to)
}

/// Norms where the stack has them, and the numbers that they need meanwhile.
struct Norms<'a, T> {
    stack: &'a Stack<'a, T>,
    normed: Scratch<T>,
    given: Scratch<T>,
    sum: Scratch<T>,
    means: Scratch<T>,
    deviations: Scratch<T>,
}

impl<T: Real> Norms<'_, T> {
    /// What a part reads.
    fn before<'b>(&'b mut self, gain: &Gain<'_, T>, x: &'b [T]) -> Result<&'b [T]> {
        if !self.stack.norm_first {
            return Ok(x);
        }
        let Self { normed, means, deviations, .. } = self;
        layer_norm(gain, x, &[], &mut [], normed, means, deviations)?;
        Ok(normed)
    }

    /// A part's last product, added to what came in.
    fn after(&mut self, gain: &Gain<'_, T>, of: &Projection<'_, T>, h: &[T], x: &[T], to: &mut [T]) -> Result<()> {
        if self.stack.norm_first {
            return project(of, h, None, x, to);
        }
        let Self { given, sum, means, deviations, .. } = self;
        project(of, h, None, &[], given)?;
        layer_norm(gain, given, x, sum, to, means, deviations)
    }

    /// The norm behind all layers.
    fn last(&mut self, gain: &Gain<'_, T>, x: &[T], y: &mut [T]) -> Result<()> {
        layer_norm(gain, x, &[], &mut [], y, &mut self.means, &mut self.deviations)
    }
}

fn layer_norm<T: Real>(
    gain: &Gain<'_, T>,
    x: &[T],
    residual: &[T],
    sum: &mut [T],
    y: &mut [T],
    means: &mut [T],
    deviations: &mut [T],
) -> Result<()> {
    let of = Rows { norm: Norm::Layer, cols: x.len() / deviations.len(), x, gain: gain.gain };
    normalization::forward(of, gain.epsilon, residual, gain.shift, sum, y, means, deviations)
}

/// `[R, heads, E / heads]` of columns from `first` of rows `columns` long, as attention reads them: a sequence of one query a row.
fn one_each<T: Real>(data: &[T], first: usize, columns: usize, width: usize) -> View<'_, T> {
    let row = columns as isize;
    // SAFETY: `data` holds whole rows, and `first + heads · width` columns are within each.
    unsafe { View::from_raw(data[first..].as_ptr(), [row, row, width as isize, 1]) }
}

/// What some rows look at: the sources from their first to their last, whose queries are `[B, most]`.
struct Looks<'a, T> {
    memories: Vec<[View<'a, T>; 2]>,
    lengths: &'a [i64],
    longest: usize,
    most: usize,
    /// Row r is query `places[r]`, sources counted by `most`.
    places: Vec<usize>,
}

impl<'a, T: Real> Looks<'a, T> {
    fn of(sources: &Sources<'a, T>, rows: Range<usize>) -> Self {
        let rows = &sources.rows[rows];
        let (first, last) = (rows[0] as usize, rows[rows.len() - 1] as usize);
        let mut counts = vec![0; last + 1 - first];
        let mut ranks = Vec::with_capacity(rows.len());
        for &source in rows {
            let count = &mut counts[source as usize - first];
            ranks.push(*count);
            *count += 1;
        }
        let most = counts.into_iter().max().unwrap_or(0);
        let places = rows.iter().zip(ranks).map(|(&source, rank)| (source as usize - first) * most + rank).collect();
        let memories = sources.memories.iter().map(|both| both.map(|view| view.from_sequence(first))).collect();
        Self { memories, lengths: &sources.lengths[first..=last], longest: sources.longest, most, places }
    }

    /// Contexts `[R, E]` of queries `[R, E]`, and the mean weights `[R, S]` unless empty.
    fn look(&self, stack: &Stack<'_, T>, index: usize, query: &[T], context: &mut [T], weights: &mut [T]) -> Result<()> {
        let (batch, all) = (self.lengths.len(), query.len() / self.places.len());
        let (heads, width, targets) = (stack.heads, all / stack.heads, self.most);
        let [k, v] = self.memories[index];
        let sizes = Sizes { batch, heads, key_heads: heads, targets, sources: self.longest, width, values: width };
        let mask = Mask { lengths: Some(self.lengths), ..Mask::default() };
        let shape = [batch, targets, heads, width];
        let full = self.places.len() == batch * targets;
        // Where sources have fewer rows than others, queries of zeros take the places, and nobody looks at what they find.
        let places = if full { 0 } else { batch * targets };
        let (mut gathered, mut found) = (scratch::<T>(places * all), scratch::<T>(places * all));
        if !full {
            gathered.fill(T::ZERO);
            for (&place, row) in self.places.iter().zip(query.chunks_exact(all)) {
                gathered[place * all..][..all].copy_from_slice(row);
            }
        }
        let statistic = if weights.is_empty() { 0 } else { batch * heads * targets };
        let (mut maximum, mut inverse) = (scratch::<T>(statistic), scratch::<T>(statistic));
        let q = View::new(if full { query } else { &gathered }, shape);
        let call = Call { sizes, q, k, v, pages: None, scale: stack.scale, mask, dropout: None };
        let to = ViewMut::new(if full { &mut *context } else { &mut found }, shape);
        let wanted = (statistic > 0).then_some(Statistics { maximum: &mut maximum, inverse: &mut inverse });
        heads::forward(&call, to, wanted)?;
        if !full {
            self.scatter(&found, context);
        }
        if statistic == 0 {
            return Ok(());
        }
        let numbers = |count: usize| (0..count as i64).collect::<Vec<_>>();
        let (every, each) = (numbers(heads), numbers(targets));
        let chosen = Chosen { heads: &every, rows: &each, mean: true };
        if full {
            return heads::weights(&call, &maximum, &inverse, chosen, weights);
        }
        let mut mean = scratch::<T>(batch * targets * self.longest);
        heads::weights(&call, &maximum, &inverse, chosen, &mut mean)?;
        self.scatter(&mean, weights);
        Ok(())
    }

    /// What the queries found, to the rows that asked.
    fn scatter(&self, from: &[T], to: &mut [T]) {
        let columns = to.len() / self.places.len();
        for (&place, row) in self.places.iter().zip(to.chunks_exact_mut(columns.max(1))) {
            row.copy_from_slice(&from[place * columns..][..columns]);
        }
    }
}
