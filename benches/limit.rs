//! The machine's own limits, measured in the same run as the rows that are held against them.
//!
//! A row is measured in turns with the FMA peak (or the triad's bandwidth) of the same number of threads; the median of the
//! per-turn fractions is printed beside criterion's own statistics, because neighbours on a shared machine slow both alike.

use criterion::Criterion;
use std::hint::black_box;
use std::time::{Duration, Instant};
use weft_kernels::{parallel, workspace};
use weft_simd::{Isa, Kernel, Lanes, dispatch};

const ROUNDS: usize = 25;

struct Peak(usize);

impl Kernel for Peak {
    type Output = f32;
    #[inline(always)]
    fn run<I: Isa>(self) -> f32 {
        // Twelve chains hide the latency of the FMA on every machine seen.
        let mut chains = [<I::F32>::splat(1.0); 12];
        let (x, y) = (<I::F32>::splat(black_box(0.999)), <I::F32>::splat(black_box(0.001)));
        for _ in 0..self.0 {
            for chain in &mut chains {
                *chain = chain.fma(x, y);
            }
        }
        chains.into_iter().fold(<I::F32>::zero(), |sum, c| sum.add(c)).fold_add()
    }
}

/// f32 FMA operations a second of `threads` threads, in GFLOP/s.
pub fn fma_peak(threads: usize) -> f64 {
    const STEPS: usize = 50_000;
    let start = Instant::now();
    parallel::run(threads, &|_| {
        black_box(dispatch(Peak(black_box(STEPS))));
    });
    (threads * STEPS * 12 * 32) as f64 / start.elapsed().as_secs_f64() / 1e9
}

/// Bandwidth of a = b + s·c over arrays far larger than the caches, in GB/s (three streams counted).
pub fn triad(threads: usize) -> f64 {
    const N: usize = 8 << 20;
    thread_local! {
        static ARRAYS: std::cell::RefCell<[Vec<f32>; 3]> = std::cell::RefCell::new([vec![0.0; N], vec![1.0; N], vec![2.0; N]]);
    }
    ARRAYS.with_borrow_mut(|[a, b, c]| {
        let shared = parallel::Shared(a.as_mut_ptr());
        let start = Instant::now();
        parallel::run(threads, &|i| {
            let range = parallel::part(N, threads, i);
            // SAFETY: ranges of different threads are disjoint.
            let a = unsafe { shared.slice(range.clone()) };
            for ((a, b), c) in a.iter_mut().zip(&b[range.clone()]).zip(&c[range]) {
                *a = b + 3.0 * c;
            }
        });
        (3 * N * size_of::<f32>()) as f64 / start.elapsed().as_secs_f64() / 1e9
    })
}

/// Bandwidth of reading an array of `bytes` again and again, from whichever cache holds it, in GB/s.
pub fn reading(bytes: usize, threads: usize) -> f64 {
    struct Read<'a>(&'a [f32]);
    impl Kernel for Read<'_> {
        type Output = f32;
        #[inline(always)]
        fn run<I: Isa>(self) -> f32 {
            let mut sums = [<I::F32>::zero(); 8];
            for piece in self.0.chunks_exact(128) {
                for (j, sum) in sums.iter_mut().enumerate() {
                    // SAFETY: the piece has 8 vectors of 16.
                    *sum = sum.max(unsafe { <I::F32>::load(piece.as_ptr().add(16 * j)) });
                }
            }
            sums.into_iter().fold(<I::F32>::zero(), |a, b| a.max(b)).fold_max()
        }
    }
    thread_local! {
        static ARRAY: std::cell::RefCell<Vec<f32>> = const { std::cell::RefCell::new(Vec::new()) };
    }
    ARRAY.with_borrow_mut(|array| {
        array.resize(bytes / 4, 1.0);
        let (times, array) = ((64 << 20) / bytes.max(1) + 1, &array[..]);
        let start = Instant::now();
        parallel::run(threads, &|i| {
            for _ in 0..times {
                black_box(dispatch(Read(&array[parallel::part(array.len(), threads, i)])));
            }
        });
        (times * bytes) as f64 / start.elapsed().as_secs_f64() / 1e9
    })
}

/// MiB that one call of `f` needs beyond what is there already (its buffers, what it packs); None where the system does not tell.
fn peak_memory(f: &mut impl FnMut()) -> Option<f64> {
    let field = |name: &str| -> Option<f64> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    workspace::empty_cache();
    // 5 sets the high-water mark back to what is resident now (proc(5)).
    std::fs::write("/proc/self/clear_refs", "5").ok()?;
    let before = field("VmRSS:")?;
    f();
    Some((field("VmHWM:")? - before).max(0.0) / 1024.0)
}

/// What a row is held against.
pub enum Work {
    /// Floating-point operations.
    Operations(f64),
    /// Bytes that must move.
    Bytes(f64),
    /// Bytes that must be read, from the cache that holds them, for so many floating-point operations: whichever takes longer.
    Reads {
        /// Of the weights.
        bytes: f64,
        /// Two for each number and row.
        operations: f64,
    },
}

/// Runs a row under criterion, then in turns with its limit, and prints both.
pub fn row(criterion: &mut Criterion, name: &str, threads: usize, work: Work, mut f: impl FnMut()) {
    // `cargo bench --bench matmul -- 1024` runs the rows whose names hold the word, as criterion itself does.
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    if wanted.is_some_and(|word| !name.contains(&word)) {
        return;
    }
    criterion.bench_function(name, |b| b.iter(&mut f));
    let memory = peak_memory(&mut f).map_or(String::new(), |mib| format!(", {mib:.1} MiB at its peak"));
    let (amount, unit) = match work {
        Work::Operations(n) => (n, "GFLOP/s"),
        Work::Bytes(n) | Work::Reads { bytes: n, .. } => (n, "GB/s"),
    };
    let limit = || match work {
        Work::Operations(_) => fma_peak(threads),
        Work::Bytes(_) => triad(threads),
        Work::Reads { bytes, operations } => reading(bytes as usize, threads).min(fma_peak(threads) * bytes / operations),
    };
    let mut rates = Vec::new();
    let mut shares = Vec::new();
    for _ in 0..ROUNDS {
        let before = limit();
        let start = Instant::now();
        let mut calls = 0u32;
        while calls == 0 || start.elapsed() < Duration::from_millis(10) {
            f();
            calls += 1;
        }
        let rate = amount * calls as f64 / start.elapsed().as_secs_f64() / 1e9;
        rates.push(rate);
        shares.push(rate / ((before + limit()) / 2.0));
    }
    let median = |x: &mut Vec<f64>| {
        x.sort_by(f64::total_cmp);
        x[x.len() / 2]
    };
    let rate = median(&mut rates);
    let share = median(&mut shares);
    let [low, high] = [shares[shares.len() / 4], shares[shares.len() * 3 / 4]].map(|x| x * 100.0);
    println!(
        "    {name}: {rate:.1} {unit}, {:.0} % of the limit of the same run (quartiles {low:.0}, {high:.0}; {threads} threads){memory}",
        share * 100.0
    );
}

/// Runs a row whose bar is a time, and prints the median of a call in microseconds.
pub fn time(criterion: &mut Criterion, name: &str, mut f: impl FnMut()) {
    const CALLS: u32 = 1000;
    criterion.bench_function(name, |b| b.iter(&mut f));
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            (0..CALLS).for_each(|_| f());
            start.elapsed().as_secs_f64() * 1e6 / CALLS as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let [low, middle, high] = [1, 2, 3].map(|i| times[ROUNDS * i / 4]);
    println!("    {name}: {middle:.2} us (quartiles {low:.2}, {high:.2})");
}

/// Criterion with short runs: the fraction of the limit is what counts.
pub fn criterion() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1000))
        .sample_size(10)
        .configure_from_args()
}

/// Numbers between −½ and ½.
pub fn numbers(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i as f64 * 0.618_033_988_749).fract() - 0.5) as f32).collect()
}
