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
//! 24 independent chains hide the latency of the FMA (4 cycles, 2 a cycle), and 10 loads feed 24 FMAs: the fewest of all shapes that
//! fit, which counts where another hyperthread shares the ports. AVX2 walks the same panel one vector (two ymm) at a time with 6 rows:
//! 12 accumulators.
//!
//! B comes from the second-level cache, whose latency the hardware does not hide by itself: its lines are asked for [`AHEAD`] steps
//! early. The lines of C are asked for in the last steps, when B's stream can no longer push them out of the first level.

use crate::Real;
use weft_simd::{Choice, Isa, Kernel, Lanes, ask_to_write, dispatch_on};

/// Steps of k that B's lines are asked for early: about 100 cycles.
pub(super) const AHEAD: usize = 8;
/// Steps between the housekeeping of pointers: one line of f32 of A.
const STRIP: usize = 16;

/// What one tile works on. All strides in elements.
pub struct TileArguments<T> {
    /// A's first element of this tile.
    pub a: *const T,
    /// From row to row of A; from k to k where its rows lie side by side (`PACKED`: groups of one element a row).
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
    /// A second product, whose chains go on from those of the first in their registers: A and B from the first jump on. None where A is `PACKED`.
    pub then: Option<Factors<T>>,
    /// What a later tile reads: a line of it is asked for at each step, into the second-level cache. Null for nothing.
    pub next: *const T,
    /// Where the chains start: the first row of a matrix of starts, zero if null.
    pub from: *const T,
    /// From row to row of the starts; 0 for a bias.
    pub from_stride: isize,
    /// C's first element of this tile.
    pub c: *mut T,
    /// From row to row of C.
    pub c_stride: isize,
    /// `C += ` the chains instead of `C =`: how a later chunk joins (rule R1).
    pub add: bool,
    /// Columns that exist, at most `NV · WIDTH`; what lies behind is neither read nor written.
    pub cols: usize,
}

/// Where a tile reads A and B: as [`TileArguments`] has them.
#[derive(Clone, Copy)]
pub struct Factors<T> {
    /// A's first element of this tile.
    pub a: *const T,
    /// From row to row of A.
    pub a_row_stride: isize,
    /// B's first element; its rows lie as far apart as those of the first product.
    pub b: *const T,
}

struct Tile<'a, T, const MR: usize, const NV: usize, const PACKED: bool, const NEXT: bool>(&'a TileArguments<T>);

impl<T: Real, const MR: usize, const NV: usize, const PACKED: bool, const NEXT: bool> Kernel
    for Tile<'_, T, MR, NV, PACKED, NEXT>
{
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        if NV <= I::TILE_VECTORS {
            // SAFETY: the caller of `run_tile` promises that all addresses of the tile are valid.
            unsafe { tile::<I, T, MR, NV, PACKED, NEXT>(self.0) }
        } else {
            unreachable!("run_tile cuts tiles into what the instruction set holds")
        }
    }
}

#[inline(always)]
unsafe fn tile<I: Isa, T: Real, const MR: usize, const NV: usize, const PACKED: bool, const NEXT: bool>(args: &TileArguments<T>) {
    let width = T::WIDTH;
    let cols = args.cols;
    let full = cols == NV * width;
    let zero = <T::On<I>>::zero();
    let mut acc = [[zero; NV]; MR];
    // SAFETY: rows, columns and k of this tile lie within A, B, C and the starts, as the caller promises.
    unsafe {
        let count = |j: usize| cols.saturating_sub(j * width).min(width);
        if !args.from.is_null() {
            for (i, row) in acc.iter_mut().enumerate() {
                let from = args.from.offset(i as isize * args.from_stride);
                for (j, value) in row.iter_mut().enumerate() {
                    let p = from.wrapping_add(j * width);
                    *value = if full { <T::On<I>>::load(p) } else { <T::On<I>>::load_first(p, count(j)) };
                }
            }
        }

        let c = args.c;
        let mut b = args.b;
        let mut next = args.next;
        let mut rows = [args.a; MR];
        if !PACKED {
            for (i, row) in rows.iter_mut().enumerate() {
                *row = args.a.offset(i as isize * args.a_row_stride);
            }
        }
        // A macro: a closure would not be inlined into the function that has the instruction set.
        macro_rules! step {
            ($k:expr) => {
                let mut b_row = [zero; NV];
                for (j, value) in b_row.iter_mut().enumerate() {
                    *value = <T::On<I>>::load(b.add(j * width));
                    I::prefetch(b.wrapping_add(AHEAD * args.b_stride + j * width));
                }
                for i in 0..MR {
                    let x = <T::On<I>>::splat(if PACKED { *rows[0].add(i) } else { *rows[i].add($k) });
                    for j in 0..NV {
                        acc[i][j] = x.fma(b_row[j], acc[i][j]);
                    }
                }
                if NEXT {
                    I::prefetch_second(next);
                    next = next.wrapping_add(T::WIDTH);
                }
                b = b.wrapping_add(args.b_stride);
                if PACKED {
                    rows[0] = rows[0].wrapping_offset(args.a_row_stride);
                }
            };
        }
        let mut left = args.steps;
        let mut run = args.lead.min(left);
        while left > 0 {
            let steps = run.min(STRIP);
            left -= steps;
            run -= steps;
            if left < STRIP * NV {
                for i in 0..MR {
                    ask_to_write(c.wrapping_offset(i as isize * args.c_stride + (left / STRIP * width) as isize));
                }
            }
            // Pairs, so that a loop's own three instructions are shared by two steps.
            let pairs = if steps == STRIP { STRIP / 2 } else { 0 };
            for pair in 0..pairs {
                step!(2 * pair);
                step!(2 * pair + 1);
            }
            for k in 2 * pairs..steps {
                step!(k);
            }
            let jump = steps as isize + if run == 0 { args.gap } else { 0 };
            if !PACKED {
                for row in rows.iter_mut() {
                    *row = row.wrapping_offset(jump);
                }
            }
            if run == 0 {
                run = args.segment.min(left);
                if let (false, Some(then)) = (PACKED, &args.then) {
                    for (i, row) in rows.iter_mut().enumerate() {
                        *row = then.a.wrapping_offset(i as isize * then.a_row_stride);
                    }
                    b = then.b;
                }
            }
            // Behind a gap the processor does not look for A's next line by itself.
            if !PACKED && args.gap != 0 {
                let over = if run > STRIP { 0 } else { args.gap };
                for row in rows.iter() {
                    I::prefetch(row.wrapping_offset(STRIP as isize + over));
                }
            }
        }

        for (i, row) in acc.iter().enumerate() {
            let c_row = c.offset(i as isize * args.c_stride);
            for (j, &value) in row.iter().enumerate() {
                let p = c_row.wrapping_add(j * width);
                if full {
                    let value = if args.add { <T::On<I>>::load(p).add(value) } else { value };
                    value.store(p);
                } else {
                    let value = if args.add { <T::On<I>>::load_first(p, count(j)).add(value) } else { value };
                    value.store_first(p, count(j));
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

/// Tiles that `rows` of an unpacked A are cut into, where `tallest` fit a tile.
///
/// Seven or eight rows are one tile that takes a wide panel in halves: the panel is read once, which bounds so few rows.
pub fn tiles(choice: Choice, rows: usize, tallest: usize) -> usize {
    if (7..=8).contains(&rows) && shape(choice).vectors == 4 { 1 } else { rows.div_ceil(tallest) }
}

/// Runs one tile of `rows` by `vectors`.
///
/// # Safety
/// `1 <= rows <= 8`, `1 <= vectors <= 4`, `args.cols <= vectors · WIDTH`; for every row, every k and every column below
/// `cols`, A, B (both products'), the starts and C are valid, B also for the whole of its last vector; C is written by this call alone.
pub unsafe fn run_tile<T: Real, const PACKED: bool>(choice: Choice, rows: usize, vectors: usize, args: &TileArguments<T>) {
    // AVX2 and portable walk the panel one vector at a time, and AVX-512 two where 4 by 8 would not fit.
    let most = shape(choice).vectors;
    let most = if rows > 6 && vectors > 3 { most.min(2) } else { most };
    if vectors > most {
        for first in (0..args.cols).step_by(most * T::WIDTH) {
            let part = TileArguments {
                b: args.b.wrapping_add(first),
                then: args.then.map(|then| Factors { b: then.b.wrapping_add(first), ..then }),
                next: if first == 0 { args.next } else { std::ptr::null() },
                from: if args.from.is_null() { args.from } else { args.from.wrapping_add(first) },
                c: args.c.wrapping_add(first),
                cols: (args.cols - first).min(most * T::WIDTH),
                ..*args
            };
            // SAFETY: a part of the tile that the caller answers for.
            unsafe { run_tile::<T, PACKED>(choice, rows, part.cols.div_ceil(T::WIDTH), &part) };
        }
        return;
    }
    // Who packs A reads B's panels many times, group by group, and asks for nothing.
    // SAFETY: the caller's; the tile fits the instruction set now.
    unsafe {
        if PACKED || args.next.is_null() {
            run_shape::<T, PACKED, false>(choice, rows, vectors, args)
        } else {
            run_shape::<T, PACKED, true>(choice, rows, vectors, args)
        }
    }
}

/// Every shape of tile is a function of its own; this finds it.
///
/// # Safety
/// As for [`run_tile`]; the instruction set holds `vectors` beside each other.
unsafe fn run_shape<T: Real, const PACKED: bool, const NEXT: bool>(
    choice: Choice,
    rows: usize,
    vectors: usize,
    args: &TileArguments<T>,
) {
    macro_rules! pick {
        ($($r:literal: $($v:literal)*);*) => {
            match (rows, vectors) {
                $($(($r, $v) => dispatch_on(choice, Tile::<T, $r, $v, PACKED, NEXT>(args)),)*)*
                _ => unreachable!("no tile of {rows} rows by {vectors} vectors"),
            }
        };
    }
    pick!(1: 1 2 3 4; 2: 1 2 3 4; 3: 1 2 3 4; 4: 1 2 3 4; 5: 1 2 3 4; 6: 1 2 3 4; 7: 1 2 3; 8: 1 2 3)
}
