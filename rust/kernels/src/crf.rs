//! Linear-chain conditional random fields (Lafferty et al. 2001): the log-likelihood of tag sequences, its gradients by the
//! forward-backward algorithm, and the best sequence (Viterbi 1967).
//!
//! A sequence of n steps with tags y has the score `start[y_0] + Σ e[t, y_t] + Σ A[y_{t-1}, y_t] + end[y_{n-1}]`; its loss is
//! `log Σ_y' exp score(y') − score(y)`. All sums of exponentials are taken with their largest term outside (log domain), because
//! transitions that training forbids lie far below the range of an exponential. Lanes lie over tags; the sum over the tag before is a chain
//! in ascending order.

use crate::activation::log_sum_exp;
use crate::error::{Error, check_indices, check_length};
use crate::parallel::{self, Shared};
use crate::workspace::scratch;
use crate::{Real, Result};
use std::ops::Range;
use weft_simd::{Isa, Kernel, Lanes, dispatch, maths};

/// Rows whose transition gradients are summed in one buffer before the buffers are added: a constant, so that threads change no bit.
const ROWS: usize = 8;

/// The parameters: `transitions [K, K]` from row to column, `start [K]`, `end [K]`.
#[derive(Clone, Copy)]
pub struct Chain<'a, T> {
    /// K
    pub tags: usize,
    /// `[K, K]`
    pub transitions: &'a [T],
    /// `[K]`
    pub start: &'a [T],
    /// `[K]`
    pub end: &'a [T],
}

/// Sequences: `emissions [B, T, K]`, of which the first `lengths [B]` steps of each row count; the others are never read.
#[derive(Clone, Copy)]
pub struct Sequences<'a, T> {
    /// T
    pub steps: usize,
    /// `[B, T, K]`
    pub emissions: &'a [T],
    /// `[B]`
    pub lengths: &'a [i64],
}

/// Gradients of the same shapes; all are written.
pub struct Gradients<'a, T> {
    /// `[B, T, K]`
    pub emissions: &'a mut [T],
    /// `[K, K]`
    pub transitions: &'a mut [T],
    /// `[K]`
    pub start: &'a mut [T],
    /// `[K]`
    pub end: &'a mut [T],
}

fn check<T: Real>(chain: &Chain<T>, x: &Sequences<T>) -> Result<usize> {
    let (k, rows) = (chain.tags, x.lengths.len());
    check_length("crf", "transitions", chain.transitions.len(), k * k)?;
    check_length("crf", "start", chain.start.len(), k)?;
    check_length("crf", "end", chain.end.len(), k)?;
    check_length("crf", "emissions", x.emissions.len(), rows * x.steps * k)?;
    check_indices("crf", "lengths", x.lengths, x.steps + 1, None)?;
    if k == 0 {
        return Err(Error::Length { room: "crf", name: "tags", expected: 1, got: 0 });
    }
    Ok(rows)
}

fn check_tags<T: Real>(chain: &Chain<T>, x: &Sequences<T>, tags: &[i64]) -> Result<()> {
    check_length("crf", "tags", tags.len(), x.lengths.len() * x.steps)?;
    for (row, &length) in x.lengths.iter().enumerate() {
        check_indices("crf", "tags", &tags[row * x.steps..row * x.steps + length as usize], chain.tags, None)?;
    }
    Ok(())
}

/// `out[j] = log Σ_i exp(before[i] + weights[i, j])`, lanes over j.
///
/// # Safety
/// `weights` has `k` rows of `k`, `before` and `out` have `k`; out overlaps neither.
#[inline(always)]
unsafe fn log_product<L: Lanes<Elem: Real>>(before: *const L::Elem, weights: *const L::Elem, k: usize, out: *mut L::Elem) {
    // Where every way is forbidden the largest is -∞: a finite stand-in keeps -∞ − -∞ away.
    let floor = L::splat(-L::Elem::ONE / L::Elem::MIN_NORMAL);
    let mut j = 0;
    while j < k {
        let n = L::WIDTH.min(k - j);
        // SAFETY: n columns are left, and i stays below k.
        unsafe {
            let mut largest = floor;
            let mut i = 0;
            while i < k {
                largest = largest.max(L::splat(*before.add(i)).add(L::load_first(weights.add(i * k + j), n)));
                i += 1;
            }
            let mut sum = L::zero();
            i = 0;
            while i < k {
                let x = L::splat(*before.add(i)).add(L::load_first(weights.add(i * k + j), n));
                sum = sum.add(maths::exp_nonpositive(x.sub(largest)));
                i += 1;
            }
            largest.add(maths::log(sum)).store_first(out.add(j), n);
        }
        j += n;
    }
}

struct Forward<'a, T> {
    chain: Chain<'a, T>,
    x: Sequences<'a, T>,
    tags: &'a [i64],
    rows: Range<usize>,
    losses: Shared<T>,
    alphas: Shared<T>,
}

impl<T: Real> Kernel for Forward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let (k, steps, chain) = (self.chain.tags, self.x.steps, self.chain);
        let mut last = scratch::<T>(k);
        for row in self.rows {
            let n = self.x.lengths[row] as usize;
            let span = row * steps * k..(row * steps + n) * k;
            let e = &self.x.emissions[span.clone()];
            // SAFETY: rows of different threads are disjoint, in `alphas` and in `losses`.
            let (alpha, loss) = unsafe { (self.alphas.slice(span), &mut self.losses.slice(row..row + 1)[0]) };
            if n == 0 {
                *loss = T::ZERO;
                continue;
            }
            for j in 0..k {
                alpha[j] = chain.start[j] + e[j];
            }
            for t in 1..n {
                let (before, now) = alpha.split_at_mut(t * k);
                // SAFETY: both hold k numbers from there on, and do not overlap.
                unsafe {
                    log_product::<T::On<I>>(before.as_ptr().add((t - 1) * k), chain.transitions.as_ptr(), k, now.as_mut_ptr());
                }
                for j in 0..k {
                    now[j] += e[t * k + j];
                }
            }
            for j in 0..k {
                last[j] = alpha[(n - 1) * k + j] + chain.end[j];
            }
            let tags = &self.tags[row * steps..row * steps + n];
            let mut score = chain.start[tags[0] as usize];
            for (t, &tag) in tags.iter().enumerate() {
                if t > 0 {
                    score += chain.transitions[tags[t - 1] as usize * k + tag as usize];
                }
                score += e[t * k + tag as usize];
            }
            score += chain.end[tags[n - 1] as usize];
            // SAFETY: `last` has k elements.
            *loss = unsafe { log_sum_exp::<T::On<I>>(last.as_ptr(), k) } - score;
        }
    }
}

/// `losses [B]` = −log p(tags | emissions), 0 for rows of length 0; `alphas [B, T, K]` are the cache of [`backward`].
///
/// Buffers: chain, sequences and `tags [B, T]` are read, tags only within lengths; losses and the first `lengths` steps of alphas are
/// written. None may overlap.
pub fn forward<T: Real>(chain: Chain<T>, x: Sequences<T>, tags: &[i64], losses: &mut [T], alphas: &mut [T]) -> Result<()> {
    let rows = check(&chain, &x)?;
    check_tags(&chain, &x, tags)?;
    check_length("crf", "losses", losses.len(), rows)?;
    check_length("crf", "alphas", alphas.len(), x.emissions.len())?;
    let (losses, alphas) = (Shared(losses.as_mut_ptr()), Shared(alphas.as_mut_ptr()));
    parallel::over_ranges(rows, size_of_val(x.emissions) * chain.tags * 4, |range| {
        dispatch(Forward { chain, x, tags, rows: range, losses, alphas });
    });
    Ok(())
}

struct Backward<'a, T> {
    chain: Chain<'a, T>,
    turned: &'a [T],
    x: Sequences<'a, T>,
    tags: &'a [i64],
    alphas: &'a [T],
    scales: &'a [T],
    chunks: Range<usize>,
    emissions: Shared<T>,
    /// [chunks, K·K + 2·K]: transitions, start, end.
    sums: Shared<T>,
}

impl<T: Real> Kernel for Backward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let (k, steps) = (self.chain.tags, self.x.steps);
        let size = k * k + 2 * k;
        let mut room = scratch::<T>(3 * k);
        for chunk in self.chunks.clone() {
            // SAFETY: chunks of different threads are disjoint.
            let sums = unsafe { self.sums.slice(chunk * size..(chunk + 1) * size) };
            sums.fill(T::ZERO);
            for row in chunk * ROWS..((chunk + 1) * ROWS).min(self.x.lengths.len()) {
                let scale = if self.scales.len() == 1 { self.scales[0] } else { self.scales[row] };
                // SAFETY: rows belong to one chunk, and chunks to one thread.
                let gradient = unsafe { self.emissions.slice(row * steps * k..(row + 1) * steps * k) };
                gradient.fill(T::ZERO);
                self.row::<I>(row, scale, gradient, sums, &mut room);
            }
        }
    }
}

impl<T: Real> Backward<'_, T> {
    #[inline(always)]
    fn row<I: Isa>(&self, row: usize, scale: T, gradient: &mut [T], sums: &mut [T], room: &mut [T]) {
        let (k, steps, chain) = (self.chain.tags, self.x.steps, self.chain);
        let n = self.x.lengths[row] as usize;
        if n == 0 {
            return;
        }
        let base = row * steps * k;
        let (e, alpha) = (&self.x.emissions[base..base + n * k], &self.alphas[base..base + n * k]);
        let tags = &self.tags[row * steps..row * steps + n];
        let (transitions, edges) = sums.split_at_mut(k * k);
        let (start, end) = edges.split_at_mut(k);
        let (beta, rest) = room.split_at_mut(k);
        let (next, total) = rest.split_at_mut(k);
        for j in 0..k {
            beta[j] = chain.end[j];
            total[j] = alpha[(n - 1) * k + j] + chain.end[j];
        }
        // SAFETY: every pointer below has k numbers behind it (k·k the transitions), see the loops' bounds.
        unsafe {
            let z = log_sum_exp::<T::On<I>>(total.as_ptr(), k);
            marginal::<T::On<I>>(total.as_ptr(), z, scale, k, end.as_mut_ptr());
            for t in (1..n).rev() {
                // next[j] = e[t, j] + β_t[j]
                for j in 0..k {
                    next[j] = e[t * k + j] + beta[j];
                }
                let before = alpha.as_ptr().add((t - 1) * k);
                let mut j = 0;
                while j < k {
                    let count = T::WIDTH.min(k - j);
                    let ahead = <T::On<I>>::load_first(next.as_ptr().add(j), count).sub(<T::On<I>>::splat(z));
                    let mut here = <T::On<I>>::zero();
                    let mut i = 0;
                    while i < k {
                        let way = <T::On<I>>::load_first(chain.transitions.as_ptr().add(i * k + j), count);
                        let p = maths::exp(<T::On<I>>::splat(*before.add(i)).add(way).add(ahead));
                        let p = p.mul(<T::On<I>>::splat(scale));
                        let sum = transitions.as_mut_ptr().add(i * k + j);
                        <T::On<I>>::load_first(sum, count).add(p).store_first(sum, count);
                        here = here.add(p);
                        i += 1;
                    }
                    here.store_first(gradient.as_mut_ptr().add(t * k + j), count);
                    j += count;
                }
                log_product::<T::On<I>>(next.as_ptr(), self.turned.as_ptr(), k, beta.as_mut_ptr());
            }
            for j in 0..k {
                next[j] = alpha[j] + beta[j];
            }
            marginal::<T::On<I>>(next.as_ptr(), z, scale, k, gradient.as_mut_ptr());
            for j in 0..k {
                start[j] += gradient[j];
            }
        }
        start[tags[0] as usize] += -scale;
        end[tags[n - 1] as usize] += -scale;
        for (t, &tag) in tags.iter().enumerate() {
            gradient[t * k + tag as usize] += -scale;
            if t > 0 {
                transitions[tags[t - 1] as usize * k + tag as usize] += -scale;
            }
        }
    }
}

/// `out[j] += scale · exp(x[j] − z)`.
///
/// # Safety
/// Both have `k` numbers.
#[inline(always)]
unsafe fn marginal<L: Lanes<Elem: Real>>(x: *const L::Elem, z: L::Elem, scale: L::Elem, k: usize, out: *mut L::Elem) {
    let mut j = 0;
    while j < k {
        let n = L::WIDTH.min(k - j);
        // SAFETY: n numbers are left.
        unsafe {
            let p = maths::exp(L::load_first(x.add(j), n).sub(L::splat(z))).mul(L::splat(scale));
            L::load_first(out.add(j), n).add(p).store_first(out.add(j), n);
        }
        j += n;
    }
}

/// Gradients of `Σ scales · losses`; `scales [B]` or `[1]`. Emissions beyond a length get 0.
///
/// Buffers: inputs as in [`forward`], its `alphas` are read; gradients are written. None may overlap.
pub fn backward<T: Real>(
    chain: Chain<T>,
    x: Sequences<T>,
    tags: &[i64],
    alphas: &[T],
    scales: &[T],
    gradients: Gradients<T>,
) -> Result<()> {
    let rows = check(&chain, &x)?;
    check_tags(&chain, &x, tags)?;
    let k = chain.tags;
    check_length("crf", "alphas", alphas.len(), x.emissions.len())?;
    check_length("crf", "emission gradients", gradients.emissions.len(), x.emissions.len())?;
    check_length("crf", "transition gradients", gradients.transitions.len(), k * k)?;
    check_length("crf", "start gradients", gradients.start.len(), k)?;
    check_length("crf", "end gradients", gradients.end.len(), k)?;
    if scales.len() != 1 {
        check_length("crf", "scales", scales.len(), rows)?;
    }
    let mut turned = scratch::<T>(k * k);
    for i in 0..k {
        for j in 0..k {
            turned[j * k + i] = chain.transitions[i * k + j];
        }
    }
    let (chunks, size) = (rows.div_ceil(ROWS), k * k + 2 * k);
    let mut sums = scratch::<T>(chunks * size);
    let (shared, emissions) = (Shared(sums.as_mut_ptr()), Shared(gradients.emissions.as_mut_ptr()));
    let turned = &turned[..];
    parallel::over_ranges(chunks, size_of_val(x.emissions) * k * 8, |range| {
        dispatch(Backward { chain, turned, x, tags, alphas, scales, chunks: range, emissions, sums: shared });
    });
    let parts = [(gradients.transitions, 0), (gradients.start, k * k), (gradients.end, k * k + k)];
    for (out, offset) in parts {
        out.fill(T::ZERO);
        for chunk in 0..chunks {
            for (sum, &more) in out.iter_mut().zip(&sums[chunk * size + offset..]) {
                *sum += more;
            }
        }
    }
    Ok(())
}

/// The best sequences: `tags [B, T]`, 0 beyond a length, and their `scores [B]`. Equal scores: the lower tag.
///
/// Buffers: chain and sequences are read; tags and scores are written.
pub fn viterbi<T: Real>(chain: Chain<T>, x: Sequences<T>, tags: &mut [i64], scores: &mut [T]) -> Result<()> {
    let rows = check(&chain, &x)?;
    let (k, steps) = (chain.tags, x.steps);
    check_length("crf", "tags", tags.len(), rows * steps)?;
    check_length("crf", "scores", scores.len(), rows)?;
    let (tags, scores) = (Shared(tags.as_mut_ptr()), Shared(scores.as_mut_ptr()));
    parallel::over_ranges(rows, size_of_val(x.emissions) * k * 4, |range| {
        let mut back = vec![0u32; steps * k];
        let (mut best, mut next) = (vec![T::ZERO; k], vec![T::ZERO; k]);
        for row in range {
            // SAFETY: rows of different threads are disjoint.
            let (path, score) = unsafe { (tags.slice(row * steps..(row + 1) * steps), &mut scores.slice(row..row + 1)[0]) };
            path.fill(0);
            let n = x.lengths[row] as usize;
            *score = T::ZERO;
            if n == 0 {
                continue;
            }
            let e = &x.emissions[row * steps * k..][..n * k];
            for j in 0..k {
                best[j] = chain.start[j] + e[j];
            }
            for t in 1..n {
                let from = &mut back[t * k..(t + 1) * k];
                from.fill(0);
                next.fill(T::NEG_INFINITY);
                for (i, (&before, ways)) in best.iter().zip(chain.transitions.chunks_exact(k)).enumerate() {
                    for (j, &way) in ways.iter().enumerate() {
                        if before + way > next[j] {
                            (next[j], from[j]) = (before + way, i as u32);
                        }
                    }
                }
                for j in 0..k {
                    best[j] = next[j] + e[t * k + j];
                }
            }
            let mut last = 0;
            for j in 0..k {
                best[j] += chain.end[j];
                if best[j] > best[last] {
                    last = j;
                }
            }
            *score = best[last];
            for t in (0..n).rev() {
                path[t] = last as i64;
                last = back[t * k + last] as usize;
            }
        }
    });
    Ok(())
}
