//! The register tile: `MR` rows by `NV` vectors of C stay in registers while k runs.
//!
//! AVX-512, 6 rows by 4 vectors (64 columns of f32):
//!
//! ```text
//!            zmm24  zmm25  zmm26  zmm27     B[k, 0..64]
//!   a[0,k]   zmm0   zmm1   zmm2   zmm3
//!   a[1,k]   zmm4   …
//!    …                                      zmm28: a[i, k] broadcast
//!   a[5,k]   zmm20  …             zmm23
//! ```
//!
//! 24 independent chains hide the latency of the FMA (4 cycles, 2 a cycle), and 10 loads feed 24 FMAs. AVX2 walks the
//! same panel one vector (two ymm) at a time with 6 rows: 12 accumulators.

use crate::Real;
use weft_simd::{Choice, Isa, Kernel, Lanes, dispatch_on};

/// What one tile works on. All strides in elements.
pub struct TileArguments<T> {
    /// A's first element of this tile.
    pub a: *const T,
    /// From row to row of A; not read when A is packed (then k runs over groups of `rows` elements).
    pub a_row_stride: isize,
    /// Steps of k.
    pub steps: usize,
    /// Steps until A first jumps, at least `steps` where it never does.
    pub lead: usize,
    /// Steps between later jumps.
    pub segment: usize,
    /// How far A jumps over.
    pub gap: isize,
    /// B's first element: row k holds the tile's columns side by side.
    pub b: *const T,
    /// From row to row of B.
    pub b_stride: usize,
    /// Where the chains start: C (`accumulate`), else these numbers for every row, else zero if null.
    pub bias: *const T,
    /// C's first element of this tile.
    pub c: *mut T,
    /// From row to row of C.
    pub c_stride: isize,
    /// Start the chains from C.
    pub accumulate: bool,
    /// Columns that exist, at most `NV · WIDTH`; what lies behind is neither read nor written.
    pub cols: usize,
}

struct Tile<'a, T, const MR: usize, const NV: usize, const PACKED: bool>(&'a TileArguments<T>);

impl<T: Real, const MR: usize, const NV: usize, const PACKED: bool> Kernel for Tile<'_, T, MR, NV, PACKED> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        if NV <= I::TILE_VECTORS {
            // SAFETY: the caller of `run_tile` promises that all addresses of the tile are valid.
            unsafe { tile::<I, T, MR, NV, PACKED>(self.0) }
        } else {
            unreachable!("run_tile cuts tiles into what the instruction set holds")
        }
    }
}

#[inline(always)]
unsafe fn tile<I: Isa, T: Real, const MR: usize, const NV: usize, const PACKED: bool>(args: &TileArguments<T>) {
    let width = T::WIDTH;
    let cols = args.cols;
    let full = cols == NV * width;
    let zero = <T::On<I>>::zero();
    let mut acc = [[zero; NV]; MR];
    // SAFETY: rows, columns and k of this tile lie within A, B, C and the bias, as the caller promises.
    unsafe {
        let c = args.c;
        if args.accumulate {
            for (i, row) in acc.iter_mut().enumerate() {
                let c_row = c.offset(i as isize * args.c_stride);
                if full {
                    for (j, value) in row.iter_mut().enumerate() {
                        *value = <T::On<I>>::load(c_row.add(j * width));
                    }
                } else {
                    for (j, value) in row.iter_mut().enumerate() {
                        let n = cols.saturating_sub(j * width).min(width);
                        *value = <T::On<I>>::load_first(c_row.wrapping_add(j * width), n);
                    }
                }
            }
        } else if !args.bias.is_null() {
            let bias = args.bias;
            let mut start = [zero; NV];
            for (j, value) in start.iter_mut().enumerate() {
                let n = cols.saturating_sub(j * width).min(width);
                *value = <T::On<I>>::load_first(bias.wrapping_add(j * width), n);
            }
            acc = [start; MR];
        }

        let mut a = args.a;
        let mut b = args.b;
        let mut left = args.steps;
        let mut run = args.lead;
        while left > 0 {
            let steps = run.min(left);
            let mut rows = [a; MR];
            if !PACKED {
                for (i, row) in rows.iter_mut().enumerate() {
                    *row = a.offset(i as isize * args.a_row_stride);
                }
            }
            for k in 0..steps {
                let mut b_row = [zero; NV];
                for (j, value) in b_row.iter_mut().enumerate() {
                    *value = <T::On<I>>::load(b.add(j * width));
                }
                for i in 0..MR {
                    let x = <T::On<I>>::splat(if PACKED { *a.add(k * MR + i) } else { *rows[i].add(k) });
                    for j in 0..NV {
                        acc[i][j] = x.fma(b_row[j], acc[i][j]);
                    }
                }
                b = b.wrapping_add(args.b_stride);
            }
            left -= steps;
            a = a.wrapping_offset(steps as isize + args.gap);
            run = args.segment;
        }

        for (i, row) in acc.iter().enumerate() {
            let c_row = c.offset(i as isize * args.c_stride);
            if full {
                for (j, value) in row.iter().enumerate() {
                    value.store(c_row.add(j * width));
                }
            } else {
                for (j, value) in row.iter().enumerate() {
                    let n = cols.saturating_sub(j * width).min(width);
                    value.store_first(c_row.wrapping_add(j * width), n);
                }
            }
        }
    }
}

/// The register tile of an instruction set: how many vectors wide at most, and how many rows for each width.
#[derive(Clone, Copy)]
pub struct Shape {
    vectors: usize,
    rows: [usize; 4],
}

/// The register tile of an instruction set.
fn shape(choice: Choice) -> Shape {
    struct Ask;
    impl Kernel for Ask {
        type Output = Shape;
        #[inline(always)]
        fn run<I: Isa>(self) -> Shape {
            Shape { vectors: I::TILE_VECTORS, rows: I::TILE_ROWS }
        }
    }
    dispatch_on(choice, Ask)
}

/// Rows of the tile that fits the instruction set for `vectors` columns of vectors.
pub fn tile_rows(choice: Choice, vectors: usize) -> usize {
    let shape = shape(choice);
    shape.rows[vectors.min(shape.vectors) - 1]
}

/// Runs one tile of `rows` by `vectors`.
///
/// # Safety
/// `1 <= rows <= 8` (6 for 4 vectors), `1 <= vectors <= 4`, `args.cols <= vectors · WIDTH`; for every row, every k and every column below
/// `cols`, A, B, the bias and C are valid, B also for the whole of its last vector; C is written by this call alone.
pub unsafe fn run_tile<T: Real, const PACKED: bool>(choice: Choice, rows: usize, vectors: usize, args: &TileArguments<T>) {
    if vectors > 1 && shape(choice).vectors == 1 {
        // AVX2 and portable walk the panel one vector at a time.
        for first in (0..args.cols).step_by(T::WIDTH) {
            let part = TileArguments {
                b: args.b.wrapping_add(first),
                bias: if args.bias.is_null() { args.bias } else { args.bias.wrapping_add(first) },
                c: args.c.wrapping_add(first),
                cols: (args.cols - first).min(T::WIDTH),
                ..*args
            };
            // SAFETY: a part of the tile that the caller answers for.
            unsafe { run_tile::<T, PACKED>(choice, rows, 1, &part) };
        }
        return;
    }
    macro_rules! pick {
        ($($r:literal: $($v:literal)*);*) => {
            match (rows, vectors) {
                $($(($r, $v) => dispatch_on(choice, Tile::<T, $r, $v, PACKED>(args)),)*)*
                _ => unreachable!("no tile of {rows} rows by {vectors} vectors"),
            }
        };
    }
    pick!(1: 1 2 3 4; 2: 1 2 3 4; 3: 1 2 3 4; 4: 1 2 3 4; 5: 1 2 3 4; 6: 1 2 3 4; 7: 1 2 3; 8: 1 2 3)
}
