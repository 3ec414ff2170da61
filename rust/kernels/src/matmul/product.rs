//! The product: blocks for the caches, ranges for the threads, tiles for the registers.

use super::pack::{pack_panel, pack_rows};
use super::tile::{TileArguments, run_tile, tile_rows};
use super::{CHUNK, PackedMatrix, panel_width};
use crate::parallel::{self, Shared, part, threads_for};
use crate::workspace::scratch;
use crate::{MatrixView, MatrixViewMut, Real};
use std::ops::Range;
use weft_simd::{Choice, chosen};

/// Steps of k whose panels stay in the second-level cache: a panel's block is 128 KiB of f32. Divides [`CHUNK`].
const BLOCK_K: usize = 512;
/// Rows of A whose block stays in the second-level cache.
const BLOCK_M: usize = 192;
/// Columns that are packed at a time when B is not packed yet.
const BLOCK_N: usize = 2048;

/// The right-hand side of a product.
#[derive(Clone, Copy)]
pub enum Right<'a, T> {
    /// Any view; packed block by block on the way.
    View(MatrixView<'a, T>),
    /// Packed before.
    Packed(&'a PackedMatrix<T>),
}

/// Where the chains of FMAs start.
#[derive(Clone, Copy)]
pub enum Start<'a, T> {
    /// `C = A·B`
    Zero,
    /// `C = bias + A·B`, one number a column.
    Bias(&'a [T]),
    /// `C = C + A·B`
    Accumulate,
}

impl<T: Real> Right<'_, T> {
    fn shape(&self) -> (usize, usize) {
        match self {
            Right::View(view) => (view.rows, view.cols),
            Right::Packed(packed) => (packed.rows, packed.cols),
        }
    }

    /// Columns of a full panel: that of the packed matrix, or a block of the view.
    fn width(&self) -> usize {
        match self {
            Right::View(view) if view.block < view.cols => view.block,
            Right::View(_) => panel_width::<T>(),
            Right::Packed(packed) => packed.width,
        }
    }
}

/// `C = start + A·B` on the chosen instruction set, with as many threads as the work is worth.
///
/// Buffers: A `[M, K]` and B `[K, N]` are read; C `[M, N]` is written, and read only by `Start::Accumulate`; C aliases neither. K = 0
/// leaves the start.
pub fn product<T: Real>(a: MatrixView<'_, T>, b: Right<'_, T>, c: MatrixViewMut<'_, T>, start: Start<'_, T>) {
    let operations = 2.0 * a.rows as f64 * a.cols as f64 * c.cols as f64;
    product_on(chosen(), threads_for(operations), a, b, c, start);
}

/// [`product`] on a named instruction set with a given number of threads.
pub fn product_on<T: Real>(
    choice: Choice,
    threads: usize,
    a: MatrixView<'_, T>,
    b: Right<'_, T>,
    c: MatrixViewMut<'_, T>,
    start: Start<'_, T>,
) {
    let (k, n) = b.shape();
    assert_eq!((a.rows, a.cols, n), (c.rows, k, c.cols), "[matmul] sizes of A, B and C do not agree");
    if let Start::Bias(bias) = start {
        assert_eq!(bias.len(), n, "[matmul] one bias a column");
    }
    if c.rows == 0 || n == 0 {
        return;
    }
    let width = if c.block < n { c.block } else { b.width() };
    assert!(b.width() == width && width.is_multiple_of(T::WIDTH) || n <= width, "[matmul] blocks of columns are panels");
    let panels = n.div_ceil(width);
    let job = Job { choice, a, b, c: &c, start, width };
    if threads == 1 {
        return job.run(0..c.rows, 0..panels);
    }
    // A packed B is shared, so rows are cut where there are enough; otherwise each thread packs its own columns.
    let packed = matches!(b, Right::Packed(_));
    let even = panels % threads == 0 || panels >= 4 * threads;
    if (packed && c.rows >= 8 * threads) || !even && c.rows > panels * width / 2 {
        parallel::run(threads, &|i| job.run(part(c.rows, threads, i), 0..panels));
    } else {
        parallel::run(threads, &|i| job.run(0..c.rows, part(panels, threads, i)));
    }
}

struct Job<'a, T> {
    choice: Choice,
    a: MatrixView<'a, T>,
    b: Right<'a, T>,
    c: &'a MatrixViewMut<'a, T>,
    start: Start<'a, T>,
    width: usize,
}

impl<T: Real> Job<'_, T> {
    /// The part of C in `rows` and `panels`, by this thread alone.
    fn run(&self, rows: Range<usize>, panels: Range<usize>) {
        let group = match self.b {
            Right::View(_) => (BLOCK_N / self.width).max(1),
            Right::Packed(_) => panels.len().max(1),
        };
        for first in panels.clone().step_by(group) {
            self.columns(rows.clone(), first..(first + group).min(panels.end));
        }
    }

    fn columns(&self, rows: Range<usize>, panels: Range<usize>) {
        let k = self.a.cols;
        if k == 0 {
            // No chain at all: one tile call with no steps writes the start.
            return self.block(rows, panels, 0..0, self.start, None, 0);
        }
        let cols = (panels.end * self.width).min(self.c.cols) - panels.start * self.width;
        let mut later = if k > CHUNK { Some(scratch::<T>(rows.len() * cols)) } else { None };
        for chunk in (0..k).step_by(CHUNK) {
            let end = (chunk + CHUNK).min(k);
            for begin in (chunk..end).step_by(BLOCK_K) {
                let ks = begin..(begin + BLOCK_K).min(end);
                let start = if begin > chunk {
                    Start::Accumulate
                } else if chunk == 0 {
                    self.start
                } else {
                    Start::Zero
                };
                let target = if chunk == 0 { None } else { later.as_mut().map(|s| s.as_mut_ptr()) };
                self.block(rows.clone(), panels.clone(), ks, start, target, cols);
            }
            if chunk > 0
                && let Some(sums) = &later
            {
                self.add_chunk(rows.clone(), &panels, sums, cols);
            }
        }
    }

    /// C += the sum of a later chunk.
    fn add_chunk(&self, rows: Range<usize>, panels: &Range<usize>, sums: &[T], cols: usize) {
        for (i, row) in rows.enumerate() {
            for panel in panels.clone() {
                let first = panel * self.width;
                let from = &sums[i * cols + first - panels.start * self.width..];
                let count = (self.c.cols - first).min(self.width);
                // SAFETY: these columns of C belong to this thread.
                let to = unsafe { std::slice::from_raw_parts_mut(self.c.at(row, first), count) };
                for (value, &sum) in to.iter_mut().zip(from) {
                    *value += sum;
                }
            }
        }
    }

    /// One block of k for some rows and panels. Writes to C, or to `target` (rows of `cols` elements from the first panel on).
    fn block(
        &self,
        rows: Range<usize>,
        panels: Range<usize>,
        ks: Range<usize>,
        start: Start<'_, T>,
        target: Option<*mut T>,
        cols: usize,
    ) {
        let length = ks.len();
        let mut packed_b = match self.b {
            Right::View(_) => Some(scratch::<T>(panels.len() * self.width * length)),
            Right::Packed(_) => None,
        };
        if let (Right::View(view), Some(buffer)) = (self.b, packed_b.as_mut()) {
            for (slot, panel) in panels.clone().enumerate() {
                let first = panel * self.width;
                let vectors = (self.c.cols - first).min(self.width).div_ceil(T::WIDTH);
                let to = buffer[slot * self.width * length..].as_mut_ptr();
                // SAFETY: the panel lies within B, and the buffer holds width · length elements a panel.
                unsafe { pack_panel(view, ks.clone(), first, vectors * T::WIDTH, to) };
            }
        }
        let (lead, gap) = if self.a.block < self.a.cols {
            (self.a.block - ks.start % self.a.block, self.a.block_stride - self.a.block as isize)
        } else {
            (length, 0)
        };
        // Rows of A that lie side by side are read where they are; a transposed A is packed.
        let direct = self.a.col_stride == 1;
        let mut packed_a = if direct { None } else { Some(scratch::<T>(BLOCK_M.min(rows.len()) * length)) };
        for block in rows.clone().step_by(BLOCK_M) {
            let block_end = (block + BLOCK_M).min(rows.end);
            let block_rows = block..block_end;
            // The tallest panel decides how rows are cut, so that one packing of A serves all.
            let vectors = (self.c.cols - panels.start * self.width).min(self.width).div_ceil(T::WIDTH);
            let tiles = block_rows.len().div_ceil(tile_rows(self.choice, vectors));
            if let Some(buffer) = packed_a.as_mut() {
                for tile in 0..tiles {
                    let cut = part(block_rows.len(), tiles, tile);
                    let to = buffer[cut.start * length..].as_mut_ptr();
                    // SAFETY: the rows lie within A, and the buffer holds `length` elements a row.
                    unsafe { pack_rows(self.a, block + cut.start, cut.len(), ks.clone(), to) };
                }
            }
            for (slot, panel) in panels.clone().enumerate() {
                let first = panel * self.width;
                let count = (self.c.cols - first).min(self.width);
                let vectors = count.div_ceil(T::WIDTH);
                let b = match (self.b, &packed_b) {
                    (Right::Packed(packed), _) if length > 0 => packed.panel_pointer(panel, ks.start),
                    (_, Some(buffer)) if length > 0 => buffer[slot * self.width * length..].as_ptr(),
                    _ => std::ptr::null(),
                };
                let bias = match start {
                    Start::Bias(bias) => bias[first..].as_ptr(),
                    _ => std::ptr::null(),
                };
                for tile in 0..tiles {
                    let cut = part(block_rows.len(), tiles, tile);
                    let row = block + cut.start;
                    // SAFETY: the tile lies within A, B and C; C's part belongs to this thread.
                    unsafe {
                        let (c, c_stride) = match target {
                            None => (self.c.at(row, first), self.c.row_stride),
                            Some(p) => {
                                let column = first - panels.start * self.width;
                                (p.add((row - rows.start) * cols + column), cols as isize)
                            }
                        };
                        let args = TileArguments {
                            a: match &packed_a {
                                Some(buffer) => buffer[cut.start * length..].as_ptr(),
                                None => self.a.at(row, ks.start),
                            },
                            a_row_stride: self.a.row_stride,
                            steps: length,
                            lead,
                            segment: self.a.block,
                            gap,
                            b,
                            b_stride: vectors * T::WIDTH,
                            bias,
                            c,
                            c_stride,
                            accumulate: matches!(start, Start::Accumulate),
                            cols: count,
                        };
                        if direct {
                            run_tile::<T, false>(self.choice, cut.len(), vectors, &args);
                        } else {
                            run_tile::<T, true>(self.choice, cut.len(), vectors, &args);
                        }
                    }
                }
            }
        }
    }
}

/// `C[i] = start + A[i]·B[i]` for `count` products; threads take whole products where there are enough of them.
///
/// The closures give the views of product `i`; C's views must not overlap.
pub fn batched<'a, T: Real>(
    count: usize,
    a: impl Fn(usize) -> MatrixView<'a, T> + Sync,
    b: impl Fn(usize) -> MatrixView<'a, T> + Sync,
    c: impl Fn(usize) -> MatrixViewMut<'a, T> + Sync,
    accumulate: bool,
) {
    if count == 0 {
        return;
    }
    let start = || if accumulate { Start::Accumulate } else { Start::Zero };
    let (first, cols) = (a(0), b(0).cols);
    let operations = 2.0 * first.rows as f64 * first.cols as f64 * cols as f64;
    let threads = threads_for(operations * count as f64);
    if count < threads {
        for i in 0..count {
            product(a(i), Right::View(b(i)), c(i), start());
        }
        return;
    }
    parallel::run(threads, &|index| {
        for i in part(count, threads, index) {
            product_on(chosen(), 1, a(i), Right::View(b(i)), c(i), start());
        }
    });
}

/// Lets a C pointer cross into the closures of [`batched`].
impl<T> Shared<T> {
    /// The matrix `rows × cols` that begins at element `offset`.
    ///
    /// # Safety
    /// It lies within the allocation, and no other thread touches it meanwhile.
    pub unsafe fn matrix<'a>(&self, offset: usize, rows: usize, cols: usize) -> MatrixViewMut<'a, T> {
        // SAFETY: passed on to the caller.
        unsafe { MatrixViewMut::from_raw(self.0.add(offset), rows, cols, cols as isize) }
    }
}
