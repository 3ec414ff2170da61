//! Dropout of attention weights (Vaswani et al. 2017, §5.4 by way of their code): whether a weight falls depends on its batch, head, row
//! and key alone, through Philox counters, so any tile can make its part of the mask. A block of Philox serves eight keys of a row, 16 bits
//! each: the probability is a multiple of 2⁻¹⁶, and the scale is the exact inverse of what is kept.

use crate::Real;
use crate::dropout::Dropout;
use crate::random::Stream;
use std::array;
use weft_simd::{Isa, Kernel};

/// Keys of a row that share one block of random bits.
pub const KEYS_A_BLOCK: usize = 8;
/// Counters side by side, so that the rounds run in vectors.
const SIDE_BY_SIDE: usize = 16;

/// A probability in 65,536ths, and the factor of what stays.
#[derive(Clone, Copy)]
pub struct Keep<T> {
    stream: Stream,
    threshold: u32,
    scale: T,
}

impl<T: Real> Keep<T> {
    pub fn new(of: Dropout) -> Self {
        Self { stream: of.stream, threshold: of.threshold(), scale: T::from_f64(of.scale()) }
    }

    /// The factors of a word's two decisions.
    #[inline(always)]
    fn factors(self, word: u32) -> [T; 2] {
        [word & 0xFFFF, word >> 16].map(|bits| if bits < self.threshold { T::ZERO } else { self.scale })
    }
}

/// The mask of one row: keys `first..first + to.len()`, both multiples of [`KEYS_A_BLOCK`].
pub struct Row<'a, T> {
    pub keep: Keep<T>,
    /// The row's first counter.
    pub counter: u64,
    pub first: usize,
    pub to: &'a mut [T],
}

impl<T: Real> Kernel for Row<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let counter = self.counter + (self.first / KEYS_A_BLOCK) as u64;
        let mut numbers = [[T::ZERO; KEYS_A_BLOCK]; SIDE_BY_SIDE];
        for (group, to) in self.to.chunks_mut(SIDE_BY_SIDE * KEYS_A_BLOCK).enumerate() {
            let first = counter + (group * SIDE_BY_SIDE) as u64;
            let bits = self.keep.stream.decisions(array::from_fn::<_, SIDE_BY_SIDE, _>(|lane| first + lane as u64));
            for (lane, numbers) in numbers.iter_mut().enumerate() {
                for (numbers, words) in numbers.as_chunks_mut::<2>().0.iter_mut().zip(bits) {
                    *numbers = self.keep.factors(words[lane]);
                }
            }
            to.copy_from_slice(&numbers.as_flattened()[..to.len()]);
        }
    }
}

/// The mask of a tile turned over: `to[(key − first) · stride + row]` for rows whose counters are `row_counters` apart; the first key is a
/// multiple of [`KEYS_A_BLOCK`], the stride one of 16, and there is room for whole blocks of keys.
pub struct Columns<'a, T> {
    pub keep: Keep<T>,
    /// First counter of the tile's first row.
    pub counter: u64,
    pub row_counters: u64,
    pub first: usize,
    pub keys: usize,
    pub stride: usize,
    pub to: &'a mut [T],
}

impl<T: Real> Kernel for Columns<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        for block in 0..self.keys.div_ceil(KEYS_A_BLOCK) {
            let counter = self.counter + (self.first / KEYS_A_BLOCK + block) as u64;
            for group in (0..self.stride).step_by(SIDE_BY_SIDE) {
                let counters = array::from_fn::<_, SIDE_BY_SIDE, _>(|lane| counter + (group + lane) as u64 * self.row_counters);
                for (word, words) in self.keep.stream.decisions(counters).into_iter().enumerate() {
                    for half in 0..2 {
                        let row = (block * KEYS_A_BLOCK + 2 * word + half) * self.stride + group;
                        let to = self.to[row..].first_chunk_mut().expect("a stride is a multiple of 16 rows");
                        *to = words.map(|word| self.keep.factors(word)[half]);
                    }
                }
            }
        }
    }
}
