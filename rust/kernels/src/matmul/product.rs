//! The product: blocks for the caches, ranges for the threads, tiles for the registers.

use super::pack::{pack_groups, pack_panel};
use super::tile::{TileArguments, run_tile, tile_rows, tiles};
use super::{CHUNK, PackedMatrix, panel_width};
use crate::parallel::{self, part, threads_for, threads_for_bytes};
use crate::workspace::scratch;
use crate::{MatrixView, MatrixViewMut, Real};
use std::ops::Range;
use weft_simd::{Choice, chosen, second_level};

/// Steps of k in a block: long, so that C is seldom read and written. Divides [`CHUNK`].
pub(super) const BLOCK_K: usize = 1024;
/// Rows of a transposed A that are packed at a time: 16 MiB of f32 with a whole chunk of k.
const BLOCK_M: usize = 2046;
/// At most this many rows read a row-major B where it lies: packing it would cost more than it saves.
const IN_PLACE_ROWS: usize = 24;

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

/// What becomes of finished numbers of C while they are still in the first-level cache: row, first column, numbers.
pub type Finish<'a, T> = &'a (dyn Fn(usize, usize, &mut [T]) + Sync);

/// What else is made of a block of B while it is near: panel, steps of k. Called once for each block, those of a panel by one thread with k rising,
/// [`BLOCK_K`] steps at a time; never where A has no rows.
pub(crate) type Passing<'a> = &'a (dyn Fn(usize, Range<usize>) + Sync);

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

/// How many threads a product is worth: for its arithmetic, or for reading B where few rows share that.
pub(super) fn threads_worth<T>(m: usize, k: usize, n: usize) -> usize {
    let operations = threads_for(2.0 * m as f64 * k as f64 * n as f64);
    if m == 0 || m > 8 { operations } else { operations.max(threads_for_bytes(k * n * size_of::<T>())) }
}

/// `C = start + A·B` on the chosen instruction set, with as many threads as the work is worth.
///
/// Buffers: A `[M, K]` and B `[K, N]` are read; C `[M, N]` is written, and read only by `Start::Accumulate`; C aliases neither. K = 0
/// leaves the start.
pub fn product<T: Real>(a: MatrixView<'_, T>, b: Right<'_, T>, c: MatrixViewMut<'_, T>, start: Start<'_, T>) {
    product_on(chosen(), threads_worth::<T>(a.rows, a.cols, c.cols), a, b, c, start);
}

/// [`product`], then `finish` on each piece of a row of C, on the thread that has just computed it.
pub fn product_finished<T: Real>(
    a: MatrixView<'_, T>,
    b: Right<'_, T>,
    c: MatrixViewMut<'_, T>,
    start: Start<'_, T>,
    finish: Finish<'_, T>,
) {
    let threads = threads_worth::<T>(a.rows, a.cols, c.cols);
    multiply(threads, &[Job::new(chosen(), a, b, &c, start, Some(finish))]);
}

/// `C = A·B`, and `passing` for each block of B.
pub(crate) fn product_passing<T: Real>(
    a: MatrixView<'_, T>,
    b: MatrixView<'_, T>,
    c: MatrixViewMut<'_, T>,
    passing: Option<Passing<'_>>,
) {
    let threads = threads_worth::<T>(a.rows, a.cols, c.cols);
    multiply(threads, &[Job { passing, ..Job::new(chosen(), a, Right::View(b), &c, Start::Zero, None) }]);
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
    multiply(threads, &[Job::new(choice, a, b, &c, start, None)]);
}

/// Cuts products for the threads: by rows, or by panels, of which all have as many. Several take turns, see [`together`](super::together).
pub(super) fn multiply<T: Real, const N: usize>(threads: usize, jobs: &[Job<'_, T>; N]) {
    let panels = jobs[0].panels();
    if threads == 1 {
        return by_turns(jobs, |job| 0..job.c.rows, 0..panels);
    }
    // What every thread reads when rows or columns are cut: the cheaper of the two. Packing reads, writes, and reads again from further off, but
    // the few rows of products that take turns stay near.
    let packing = if N == 1 { 4 } else { 2 };
    let costs = |packed: bool, numbers: usize| if packed { numbers } else { packing * numbers };
    let a_again: usize = jobs.iter().map(|job| costs(job.a.col_stride == 1, job.c.rows * job.a.cols)).sum();
    let b_again = jobs.iter().map(|job| costs(job.as_it_lies(), job.a.cols * job.c.cols)).max();
    let wide = panels.is_multiple_of(threads) || panels >= 4 * threads;
    if jobs[0].is_tall(threads) && (!wide || b_again <= Some(a_again)) {
        parallel::run(threads, &|i| by_turns(jobs, |job| part(job.c.rows, threads, i), 0..panels));
    } else {
        // Panels that are left over are cut by rows where nobody packs for that: of 41 panels for two threads one, a fortieth of the time.
        let left = panels % threads;
        let nobody_packs = |job: &Job<'_, T>| job.a.col_stride == 1 && matches!(job.b, Right::Packed(_));
        let odd = if jobs.iter().all(|job| nobody_packs(job) && job.c.rows >= 8 * threads * left) { left } else { 0 };
        parallel::run(threads, &|i| {
            by_turns(jobs, |job| 0..job.c.rows, part(panels - odd, threads, i));
            by_turns(jobs, |job| part(job.c.rows, threads, i), panels - odd..panels);
        });
    }
}

/// Some rows and panels of each product by this thread alone: a block of one, then a block of the next, where all pack their A in one piece.
fn by_turns<T: Real, const N: usize>(jobs: &[Job<'_, T>; N], rows: impl Fn(&Job<'_, T>) -> Range<usize>, panels: Range<usize>) {
    let in_a_piece = |job: &Job<'_, T>| job.a.col_stride != 1 && job.a.cols > 0 && (1..=BLOCK_M).contains(&rows(job).len());
    if N == 1 || panels.is_empty() || !jobs.iter().all(in_a_piece) {
        return jobs.iter().for_each(|job| job.run(rows(job), panels.clone()));
    }
    let mut buffers = jobs.each_ref().map(|job| scratch::<T>(rows(job).len() * CHUNK.min(job.a.cols)));
    let longest = jobs.iter().map(|job| job.a.cols).max().unwrap_or(0);
    for chunk in (0..longest).step_by(CHUNK) {
        let steps = |job: &Job<'_, T>| chunk.min(job.a.cols)..(chunk + CHUNK).min(job.a.cols);
        for (job, buffer) in jobs.iter().zip(&mut buffers) {
            // SAFETY: rows and steps lie within A, and the buffer holds them.
            unsafe { pack_groups(job.a, rows(job), steps(job), job.tile_rows(), buffer.as_mut_ptr()) };
        }
        let chunks: [Chunk<'_, T>; N] = std::array::from_fn(|i| {
            let job = &jobs[i];
            Chunk { job, rows: rows(job), ks: steps(job), packed_a: Some(&buffers[i]) }
        });
        Chunk::run(&chunks, panels.clone());
    }
}

pub(super) struct Job<'a, T> {
    choice: Choice,
    a: MatrixView<'a, T>,
    b: Right<'a, T>,
    c: &'a MatrixViewMut<'a, T>,
    start: Start<'a, T>,
    finish: Option<Finish<'a, T>>,
    pub(super) passing: Option<Passing<'a>>,
    width: usize,
}

/// A chunk of k of a product, for some rows.
struct Chunk<'a, T> {
    job: &'a Job<'a, T>,
    rows: Range<usize>,
    ks: Range<usize>,
    /// Groups of a packed A.
    packed_a: Option<&'a [T]>,
}

/// A block of the product: a range of rows, panels and k, and what they are read from.
struct Block<'a, T> {
    rows: Range<usize>,
    panels: Range<usize>,
    ks: Range<usize>,
    /// Groups of a packed A from the first row and the first k of `packed_ks` on.
    packed_a: Option<(&'a [T], Range<usize>)>,
    start: Start<'a, T>,
    /// Sums of this chunk so far, `width · panels` a row: they are the starts.
    sums: Option<*mut T>,
    /// Chains go to `sums` rather than to C.
    unfinished: bool,
    /// C += the chains.
    add: bool,
}

impl<'a, T: Real> Job<'a, T> {
    pub(super) fn new(
        choice: Choice,
        a: MatrixView<'a, T>,
        b: Right<'a, T>,
        c: &'a MatrixViewMut<'a, T>,
        start: Start<'a, T>,
        finish: Option<Finish<'a, T>>,
    ) -> Self {
        let (k, n) = b.shape();
        assert_eq!((a.rows, a.cols, n), (c.rows, k, c.cols), "[matmul] sizes of A, B and C do not agree");
        if let Start::Bias(bias) = start {
            assert_eq!(bias.len(), n, "[matmul] one bias a column");
        }
        let width = if c.block < n { c.block } else { b.width() };
        assert!(b.width() == width && width.is_multiple_of(T::WIDTH) || n <= width, "[matmul] blocks of columns are panels");
        Self { choice, a, b, c, start, finish, passing: None, width }
    }

    /// How many panels C has.
    pub(super) fn panels(&self) -> usize {
        if self.c.cols == 0 { 0 } else { self.c.cols.div_ceil(self.width) }
    }

    /// Whether there are enough rows to be cut for the threads.
    pub(super) fn is_tall(&self, threads: usize) -> bool {
        self.c.rows >= 8 * threads
    }

    /// Whether nobody packs B.
    fn as_it_lies(&self) -> bool {
        matches!(self.b, Right::Packed(_)) || self.in_place(self.c.rows)
    }

    /// Whether B is read in place: by so few rows, or because its panels lie as they would if they were packed.
    fn in_place(&self, rows: usize) -> bool {
        let near = |stride: isize| rows <= IN_PLACE_ROWS || stride as usize <= panel_width::<T>();
        matches!(self.b, Right::View(view) if view.col_stride == 1 && view.row_stride >= 0 && near(view.row_stride))
    }

    /// Panels whose block of k fills half of the second-level cache.
    fn group(&self) -> usize {
        (second_level() / 2 / (BLOCK_K * self.width * size_of::<T>())).max(1)
    }

    /// The part of C in `rows` and `panels`, by this thread alone.
    fn run(&self, rows: Range<usize>, panels: Range<usize>) {
        if rows.is_empty() || panels.is_empty() {
            return;
        }
        let k = self.a.cols;
        if k == 0 {
            // No chain at all: a tile call with no steps writes the start.
            let none =
                Block { rows, panels, ks: 0..0, packed_a: None, start: self.start, sums: None, unfinished: false, add: false };
            return self.block(&none);
        }
        if self.a.col_stride == 1 {
            for chunk in (0..k).step_by(CHUNK) {
                let ks = chunk..(chunk + CHUNK).min(k);
                Chunk::run(&[Chunk { job: self, rows: rows.clone(), ks, packed_a: None }], panels.clone());
            }
            return;
        }
        // The columns of A do not lie side by side: it is packed, a block of rows and a chunk of k at a time.
        let tallest = self.tile_rows();
        let mut buffer = scratch::<T>(BLOCK_M.min(rows.len()) * CHUNK.min(k));
        for first in rows.clone().step_by(BLOCK_M) {
            let some = first..(first + BLOCK_M).min(rows.end);
            for chunk in (0..k).step_by(CHUNK) {
                let ks = chunk..(chunk + CHUNK).min(k);
                // SAFETY: rows and ks lie within A, and the buffer holds them.
                unsafe { pack_groups(self.a, some.clone(), ks.clone(), tallest, buffer.as_mut_ptr()) };
                Chunk::run(&[Chunk { job: self, rows: some.clone(), ks, packed_a: Some(&buffer) }], panels.clone());
            }
        }
    }

    /// Rows of a tile: the widest panel decides, so that one packing of A serves all.
    fn tile_rows(&self) -> usize {
        tile_rows(self.choice, self.c.cols.min(self.width).div_ceil(T::WIDTH))
    }

    fn block(&self, block: &Block<'_, T>) {
        let Block { rows, panels, ks, .. } = block;
        let length = ks.len();
        let in_place = self.in_place(rows.len());
        let columns = |panel: usize| {
            let first = panel * self.width;
            (first, (self.c.cols - first).min(self.width))
        };
        let in_place = |panel: usize| in_place && columns(panel).1 % T::WIDTH == 0;
        let mut packed_b = match self.b {
            Right::View(_) if !panels.clone().all(in_place) => Some(scratch::<T>(panels.len() * self.width * length)),
            _ => None,
        };
        if let (Right::View(view), Some(buffer)) = (self.b, packed_b.as_mut()) {
            for (slot, panel) in panels.clone().enumerate().filter(|&(_, panel)| !in_place(panel)) {
                let (first, count) = columns(panel);
                let to = buffer[slot * self.width * length..].as_mut_ptr();
                // SAFETY: the panel lies within B, and the buffer holds width · length elements a panel.
                unsafe { pack_panel(view, ks.clone(), first, count.div_ceil(T::WIDTH) * T::WIDTH, to) };
            }
        }
        let (lead, segment, gap) = if block.packed_a.is_none() && self.a.block < self.a.cols {
            (self.a.block - ks.start % self.a.block, self.a.block, self.a.block_stride - self.a.block as isize)
        } else {
            (length, length, 0)
        };
        let tiles = match &block.packed_a {
            Some(_) => rows.len().div_ceil(self.tile_rows()),
            None => tiles(self.choice, rows.len(), self.tile_rows()),
        };
        for tile in 0..tiles {
            let cut = part(rows.len(), tiles, tile);
            let row = rows.start + cut.start;
            for (slot, panel) in panels.clone().enumerate() {
                let (first, count) = columns(panel);
                let vectors = count.div_ceil(T::WIDTH);
                // SAFETY: the tile lies within A, B, C and the sums; C's part and the sums belong to this thread.
                unsafe {
                    let (b, b_stride) = match (self.b, &packed_b) {
                        _ if length == 0 => (std::ptr::null(), 0),
                        (Right::View(view), _) if in_place(panel) => (view.at(ks.start, first), view.row_stride as usize),
                        (Right::Packed(packed), _) => (packed.panel_pointer(panel, ks.start), vectors * T::WIDTH),
                        (_, Some(buffer)) => (buffer[slot * self.width * length..].as_ptr(), vectors * T::WIDTH),
                        _ => unreachable!("a view was packed, or is read in place"),
                    };
                    let to_c = (self.c.at(row, first), self.c.row_stride);
                    let sums_stride = panels.len() * self.width;
                    let to_sums = block.sums.map(|p| (p.add(cut.start * sums_stride + slot * self.width), sums_stride as isize));
                    let (from, from_stride) = match (block.start, to_sums) {
                        (Start::Bias(bias), _) => (bias[first..].as_ptr(), 0),
                        (Start::Accumulate, _) => (to_c.0.cast_const(), to_c.1),
                        (Start::Zero, Some((sums, stride))) if block.add => (sums.cast_const(), stride),
                        (Start::Zero, _) => (std::ptr::null(), 0),
                    };
                    let (c, c_stride) = match to_sums {
                        Some(sums) if block.unfinished => sums,
                        _ => to_c,
                    };
                    let args = TileArguments {
                        a: match &block.packed_a {
                            // Groups of `cut.len()` elements, one a k.
                            Some((groups, all)) => groups[cut.start * all.len() + (ks.start - all.start) * cut.len()..].as_ptr(),
                            None => self.a.at(row, ks.start),
                        },
                        a_row_stride: if block.packed_a.is_some() { cut.len() as isize } else { self.a.row_stride },
                        steps: length,
                        lead,
                        segment,
                        gap,
                        b,
                        b_stride,
                        then: None,
                        next: std::ptr::null(),
                        from,
                        from_stride,
                        c,
                        c_stride,
                        add: block.add,
                        cols: count,
                    };
                    if block.packed_a.is_some() {
                        run_tile::<T, true>(self.choice, cut.len(), vectors, &args);
                    } else {
                        run_tile::<T, false>(self.choice, cut.len(), vectors, &args);
                    }
                    if let (Some(finish), true) = (self.finish, ks.end == self.a.cols) {
                        for i in row..row + cut.len() {
                            finish(i, first, std::slice::from_raw_parts_mut(self.c.at(i, first), count));
                        }
                    }
                }
            }
        }
        if let Some(passing) = self.passing {
            // Threads that share the rows have some panels each.
            let mine = |panel: &usize| rows.contains(&(panel * self.c.rows / self.panels()));
            panels.clone().filter(mine).for_each(|panel| passing(panel, ks.clone()));
        }
    }
}

impl<T: Real> Chunk<'_, T> {
    /// The first chunk of a product starts the chains of C, later ones are added (rule R1).
    fn run<const N: usize>(chunks: &[Self; N], panels: Range<usize>) {
        let longest = chunks.iter().map(|chunk| chunk.ks.len()).max().unwrap_or(0);
        let together = chunks[0].job.group();
        for group in panels.clone().step_by(together) {
            let panels = group..(group + together).min(panels.end);
            let mut sums = chunks.each_ref().map(|chunk| {
                let gathers = chunk.ks.start > 0 && chunk.ks.len() > BLOCK_K;
                gathers.then(|| scratch::<T>(chunk.rows.len() * panels.len() * chunk.job.width))
            });
            for at in (0..longest).step_by(BLOCK_K) {
                for (chunk, sums) in chunks.iter().zip(&mut sums) {
                    chunk.block(at, panels.clone(), sums.as_mut().map(|s| s.as_mut_ptr()));
                }
            }
        }
    }

    /// The block of k that begins with step `at` of the chunk, if it has that.
    fn block(&self, at: usize, panels: Range<usize>, sums: Option<*mut T>) {
        let Self { job, rows, ks: all, packed_a } = self;
        if at >= all.len() {
            return;
        }
        let begin = all.start + at;
        let ks = begin..(begin + BLOCK_K).min(all.end);
        let (later, first, last) = (all.start > 0, at == 0, ks.end == all.end);
        job.block(&Block {
            rows: rows.clone(),
            panels,
            packed_a: packed_a.map(|groups| (groups, all.clone())),
            start: match (later, first) {
                (false, true) => job.start,
                (false, false) => Start::Accumulate,
                (true, _) => Start::Zero,
            },
            sums: if first && last { None } else { sums },
            unfinished: later && !last,
            add: later && last,
            ks,
        });
    }
}
