//! A tile of one product beside a single row of another.
//!
//! A row's tile reads a line of B for every FMA and waits for the second-level cache, which gives half a line a cycle or one; a tile of several
//! rows is held up by its FMAs and asks for few lines. Mixed in one loop each fills the other's gaps:
//!
//! ```text
//!   one step of the tile's k      zmm0 … zmm19 += a[0..5, k] · B[k, 0..64]       20 FMAs, 4 lines
//!   five steps of the row's       zmm20 … zmm23 += h[k'] · R[k', 0..64]          20 FMAs, 20 lines
//! ```
//!
//! On an AMD EPYC (Zen 4), 256 steps of k by 512 columns of each, both from the second level: 5.8 µs instead of 4.6 and 2.5.

use super::tile::{AHEAD, TileArguments, run_tile};
use crate::Real;
use weft_simd::{Choice, Isa, Kernel, Lanes, dispatch_on};

/// Rows of the tile, and steps of the row's k beside one of the tile's.
pub const ROWS: usize = 5;

struct Beside<'a, T, const NV: usize> {
    tile: &'a TileArguments<T>,
    row: &'a TileArguments<T>,
}

impl<T: Real, const NV: usize> Kernel for Beside<'_, T, NV> {
    /// Whether the instruction set holds both; else nothing was done.
    type Output = bool;

    #[inline(always)]
    fn run<I: Isa>(self) -> bool {
        if NV <= I::TILE_VECTORS {
            // SAFETY: the caller of `run_beside` promises that all addresses of both are valid.
            unsafe { beside::<I, T, NV>(self.tile, self.row) }
        }
        NV <= I::TILE_VECTORS
    }
}

#[inline(always)]
unsafe fn beside<I: Isa, T: Real, const NV: usize>(tile: &TileArguments<T>, row: &TileArguments<T>) {
    let width = T::WIDTH;
    let zero = <T::On<I>>::zero();
    let (mut sums, mut chain) = ([[zero; NV]; ROWS], [zero; NV]);
    // SAFETY: rows, columns and k of both lie within their A, B, C and starts, as the caller promises.
    unsafe {
        for (i, sums) in sums.iter_mut().enumerate() {
            for (j, sum) in sums.iter_mut().enumerate() {
                *sum = <T::On<I>>::load(tile.from.offset(i as isize * tile.from_stride).add(j * width));
            }
        }
        for (j, sum) in chain.iter_mut().enumerate() {
            *sum = <T::On<I>>::load(row.from.add(j * width));
        }
        let (mut b, mut r) = (tile.b, row.b);
        let mut rows = [tile.a; ROWS];
        for (i, row) in rows.iter_mut().enumerate() {
            *row = tile.a.offset(i as isize * tile.a_row_stride);
        }
        let mut h = row.a;
        // Macros: a closure would not be inlined into the function that has the instruction set.
        macro_rules! of_row {
            () => {
                let x = <T::On<I>>::splat(*h);
                for (j, sum) in chain.iter_mut().enumerate() {
                    I::prefetch(r.wrapping_add(AHEAD * row.b_stride + j * width));
                    *sum = x.fma(<T::On<I>>::load(r.add(j * width)), *sum);
                }
                h = h.wrapping_add(1);
                r = r.wrapping_add(row.b_stride);
            };
        }
        macro_rules! of_tile {
            ($beside:expr) => {
                let mut b_row = [zero; NV];
                for (j, value) in b_row.iter_mut().enumerate() {
                    *value = <T::On<I>>::load(b.add(j * width));
                    I::prefetch(b.wrapping_add(AHEAD * tile.b_stride + j * width));
                }
                for (i, sums) in sums.iter_mut().enumerate() {
                    let x = <T::On<I>>::splat(*rows[i]);
                    for (sum, &b) in sums.iter_mut().zip(&b_row) {
                        *sum = x.fma(b, *sum);
                    }
                    rows[i] = rows[i].wrapping_add(1);
                    if $beside {
                        of_row!();
                    }
                }
                b = b.wrapping_add(tile.b_stride);
            };
        }
        let both = tile.steps.min(row.steps / ROWS);
        for _ in 0..both {
            of_tile!(true);
        }
        for _ in both..tile.steps {
            of_tile!(false);
        }
        for _ in both * ROWS..row.steps {
            of_row!();
        }
        for (i, sums) in sums.iter().enumerate() {
            for (j, &sum) in sums.iter().enumerate() {
                sum.store(tile.c.offset(i as isize * tile.c_stride).add(j * width));
            }
        }
        for (j, &sum) in chain.iter().enumerate() {
            sum.store(row.c.add(j * width));
        }
    }
}

/// Runs a tile of [`ROWS`] rows and one of a single row, both `vectors` wide: the bits are those of [`run_tile`] for either, which it is where the
/// instruction set does not hold both.
///
/// # Safety
/// As for [`run_tile`] of each; neither writes what the other reads. All columns exist, A does not jump and is not packed, chains start from `from` and
/// are not added to C.
pub unsafe fn run_beside<T: Real>(choice: Choice, vectors: usize, tile: &TileArguments<T>, row: &TileArguments<T>) {
    for args in [tile, row] {
        debug_assert!(args.cols == vectors * T::WIDTH && args.lead >= args.steps && !args.from.is_null() && !args.add);
    }
    let mixed = match vectors {
        3 => dispatch_on(choice, Beside::<T, 3> { tile, row }),
        4 => dispatch_on(choice, Beside::<T, 4> { tile, row }),
        _ => false,
    };
    if !mixed {
        // SAFETY: passed on to the caller.
        unsafe {
            run_tile::<T, false>(choice, ROWS, vectors, tile);
            run_tile::<T, false>(choice, 1, vectors, row);
        }
    }
}
