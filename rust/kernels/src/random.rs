//! Random numbers by counters: Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"), with 7 rounds for what
//! dropout decides.
//!
//! A number is a pure function of (key, stream, index), so any thread may make any of them, and a mask can be made again in
//! the backward pass instead of being kept.

use crate::Real;

/// Key and stream of a sequence of random numbers: the seed, and which of its draws this is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stream {
    /// The seed.
    pub key: u64,
    /// Counts the draws of a seed.
    pub stream: u64,
}

const M0: u32 = 0xD251_1F53;
const M1: u32 = 0xCD9E_8D57;
const W0: u32 = 0x9E37_79B9;
const W1: u32 = 0xBB67_AE85;
const LOWER: u64 = u32::MAX as u64;

/// Rounds of what becomes a number: weights, orders, samples.
const ROUNDS: usize = 10;
/// Rounds of what is only compared with a probability: the fewest that pass BigCrush (Salmon et al. 2011).
const ROUNDS_OF_DECISIONS: usize = 7;

/// Blocks of four 32-bit numbers, those of `N` counters side by side: `[word][lane]`, each in the lower half of 64 bits.
///
/// What the upper halves hold is nobody's: a product takes the lower ones alone.
#[inline(always)]
fn philox<const N: usize>(counters: [[u64; N]; 4], [mut k0, mut k1]: [u32; 2], rounds: usize) -> [[u64; N]; 4] {
    let [mut c0, mut c1, mut c2, mut c3] = counters;
    for _ in 0..rounds {
        for lane in 0..N {
            let p0 = M0 as u64 * (c0[lane] & LOWER);
            let p1 = M1 as u64 * (c2[lane] & LOWER);
            c0[lane] = p1 >> 32 ^ c1[lane] ^ k0 as u64;
            c2[lane] = p0 >> 32 ^ c3[lane] ^ k1 as u64;
            (c1[lane], c3[lane]) = (p1, p0);
        }
        k0 = k0.wrapping_add(W0);
        k1 = k1.wrapping_add(W1);
    }
    [c0, c1, c2, c3]
}

impl Stream {
    /// The blocks of `N` counters.
    #[inline(always)]
    fn blocks<const N: usize>(self, counters: [u64; N], rounds: usize) -> [[u32; N]; 4] {
        // Turned, not shifted: a compiler that knew the upper halves to be 0 would take the slow product of 64 bits.
        let upper = |of: u64| of.rotate_right(32);
        let words = [counters, counters.map(upper), [self.stream; N], [upper(self.stream); N]];
        philox(words, [self.key as u32, upper(self.key) as u32], rounds).map(|words| words.map(|word| word as u32))
    }

    /// Four 32-bit numbers: those of indices `4·block` to `4·block + 3`.
    #[inline(always)]
    fn block(self, block: u64) -> [u32; 4] {
        self.blocks([block], ROUNDS).map(|[word]| word)
    }

    /// Eight decisions of 16 bits of each of `N` counters: `[word][lane]`, two in a word.
    #[inline(always)]
    pub fn decisions<const N: usize>(self, counters: [u64; N]) -> [[u32; N]; 4] {
        self.blocks(counters, ROUNDS_OF_DECISIONS)
    }

    /// A number in [0, 1) with 53 random bits; uses the pair of indices 2·index, 2·index + 1.
    #[inline(always)]
    pub fn uniform(self, index: u64) -> f64 {
        let b = self.block(index / 2);
        let (hi, lo) = if index.is_multiple_of(2) { (b[0], b[1]) } else { (b[2], b[3]) };
        ((hi as u64) << 21 ^ (lo >> 11) as u64) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// `out[i]` uniform in [low, high).
    pub fn fill_uniform<T: Real>(self, low: f64, high: f64, out: &mut [T]) {
        for (i, value) in out.iter_mut().enumerate() {
            *value = T::from_f64(self.uniform(i as u64).mul_add(high - low, low));
        }
    }

    /// `out[i]` normal, by Marsaglia's polar method; the logarithm is Weft's own, so the bits are the same everywhere.
    pub fn fill_normal<T: Real>(self, mean: f64, deviation: f64, out: &mut [T]) {
        let mut index = 0;
        for pair in out.chunks_mut(2) {
            let (u, v, s) = loop {
                let u = 2.0 * self.uniform(index) - 1.0;
                let v = 2.0 * self.uniform(index + 1) - 1.0;
                index += 2;
                let s = u * u + v * v;
                if s > 0.0 && s < 1.0 {
                    break (u, v, s);
                }
            };
            let mut log = [0.0];
            let _ = crate::elementwise::unary(crate::elementwise::Unary::Log, &[s], &mut log);
            let radius = (-2.0 * log[0] / s).sqrt() * deviation;
            pair[0] = T::from_f64(u * radius + mean);
            if let Some(second) = pair.get_mut(1) {
                *second = T::from_f64(v * radius + mean);
            }
        }
    }

    /// A random order of 0..n (Fisher & Yates, from the back).
    pub fn permutation(self, n: usize) -> Vec<i64> {
        let mut order: Vec<i64> = (0..n as i64).collect();
        for i in (1..n).rev() {
            let j = (self.uniform(i as u64) * (i + 1) as f64) as usize;
            order.swap(i, j);
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers published with the Random123 library (kat_vectors, philox4x32 10 and 7).
    #[test]
    fn philox_gives_the_published_numbers() {
        let numbers = |counter: u32, key: u32, rounds| philox([[counter as u64]; 4], [key; 2], rounds).map(|[word]| word as u32);
        assert_eq!(numbers(0, 0, 10), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(numbers(u32::MAX, u32::MAX, 10), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        assert_eq!(numbers(0, 0, 7), [0x5f6f_b709, 0x0d89_3f64, 0x4f12_1f81, 0x4f73_0a48]);
        assert_eq!(numbers(u32::MAX, u32::MAX, 7), [0x5207_ddc2, 0x4516_5e59, 0x4d8e_e751, 0x8c52_f662]);
    }

    #[test]
    fn counters_side_by_side_give_what_each_gives_alone() {
        let stream = Stream { key: 3 << 40 | 5, stream: 7 << 33 | 1 };
        let counters = [0, 1, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 32) + 1, 1 << 63, u64::MAX];
        let side_by_side = stream.decisions(counters);
        for (lane, counter) in counters.into_iter().enumerate() {
            let key = [stream.key as u32, (stream.key >> 32) as u32];
            let words = [counter, counter >> 32, stream.stream, stream.stream >> 32].map(|word| [word & LOWER]);
            assert_eq!(side_by_side.map(|words| words[lane]), philox(words, key, 7).map(|[word]| word as u32));
        }
    }

    #[test]
    fn uniform_and_normal_have_their_moments() {
        let stream = Stream { key: 7, stream: 3 };
        let mut x = vec![0.0f64; 100_000];
        stream.fill_uniform(-1.0, 3.0, &mut x);
        assert!(x.iter().all(|x| (-1.0..3.0).contains(x)));
        let mean = x.iter().sum::<f64>() / 1e5;
        assert!((mean - 1.0).abs() < 0.02, "{mean}");
        stream.fill_normal(2.0, 0.5, &mut x);
        let mean = x.iter().sum::<f64>() / 1e5;
        let variance = x.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / 1e5;
        assert!((mean - 2.0).abs() < 0.01 && (variance - 0.25).abs() < 0.01, "{mean} {variance}");
    }

    #[test]
    fn a_permutation_has_every_number_once() {
        let mut order = Stream { key: 1, stream: 0 }.permutation(1000);
        assert_ne!(order, (0..1000).collect::<Vec<_>>());
        order.sort();
        assert_eq!(order, (0..1000).collect::<Vec<_>>());
    }
}
