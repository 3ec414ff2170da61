//! Products: exact on whole numbers, the same bits for every tile, thread count and instruction set, nothing written outside.

use proptest::prelude::*;
use weft_kernels::matmul::{CHUNK, PackedMatrix, Right, Start, product, product_on, weight_gradient};
use weft_kernels::{MatrixView, MatrixViewMut, Real};
use weft_simd::available;

/// Whole numbers small enough that every sum is exact.
fn whole<T: Real>(len: usize, seed: usize) -> Vec<T> {
    (0..len).map(|i| T::from_f64(((i * 7919 + seed * 104_729) % 17) as f64 - 8.0)).collect()
}

/// Numbers whose sums do round.
fn rough<T: Real>(len: usize, seed: usize) -> Vec<T> {
    (0..len).map(|i| T::from_f64((((i + 13 * seed) as f64) * 0.618_033_988_749).fract() - 0.5)).collect()
}

fn naive<T: Real>(a: &[T], b: &[T], start: impl Fn(usize, usize) -> T, m: usize, k: usize, n: usize) -> Vec<T> {
    let mut c = Vec::with_capacity(m * n);
    for i in 0..m {
        for j in 0..n {
            // Rule R1: chains of CHUNK steps, the first from the start, later sums added in order.
            let mut total = start(i, j);
            for chunk in (0..k).step_by(CHUNK) {
                let mut chain = if chunk == 0 { total } else { T::ZERO };
                for p in chunk..(chunk + CHUNK).min(k) {
                    chain = a[i * k + p].mul_add(b[p * n + j], chain);
                }
                total = if chunk == 0 { chain } else { total + chain };
            }
            c.push(total);
        }
    }
    c
}

fn transpose<T: Real>(x: &[T], rows: usize, cols: usize) -> Vec<T> {
    (0..cols * rows).map(|i| x[(i % rows) * cols + i / rows]).collect()
}

/// Every way to ask for the same product must give the bits of the plain triple loop.
fn check<T: Real>(m: usize, k: usize, n: usize, make: fn(usize, usize) -> Vec<T>) {
    let (a, b, bias, old) = (make(m * k, 1), make(k * n, 2), make(n, 3), make(m * n, 4));
    let (at, bt) = (transpose(&a, m, k), transpose(&b, k, n));
    let expected = naive(&a, &b, |_, j| bias[j], m, k, n);
    let added = naive(&a, &b, |i, j| old[i * n + j], m, k, n);
    let packed = PackedMatrix::new(MatrixView::new(&b, k, n));
    let canary = T::from_f64(f64::NAN);
    for choice in available() {
        for threads in [1, 2, 3, 7] {
            for form in 0..5 {
                let left = if form % 2 == 0 { MatrixView::new(&a, m, k) } else { MatrixView::new(&at, k, m).transposed() };
                let right = match form {
                    0 | 1 => Right::View(MatrixView::new(&b, k, n)),
                    2 | 3 => Right::View(MatrixView::new(&bt, n, k).transposed()),
                    _ => Right::Packed(&packed),
                };
                // C has rows three elements longer than N: what lies between must stay as it is.
                let stride = n + 3;
                let mut c = vec![canary; m * stride + 1];
                product_on(choice, threads, left, right, MatrixViewMut::strided(&mut c, m, n, stride), Start::Bias(&bias));
                for i in 0..m {
                    for j in 0..n {
                        let (got, want) = (c[i * stride + j], expected[i * n + j]);
                        assert!(got == want, "{m}x{k}x{n} form {form} {choice:?} {threads} threads: [{i},{j}] {got} != {want}");
                    }
                    assert!(c[i * stride + n..(i + 1) * stride].iter().all(|x| x.to_f64().is_nan()), "canary of row {i}");
                }
                let mut c = old.clone();
                product_on(choice, threads, left, right, MatrixViewMut::new(&mut c, m, n), Start::Accumulate);
                assert!(c == added, "{m}x{k}x{n} form {form} {choice:?} {threads} threads: accumulate");
            }
        }
    }
}

#[test]
fn odd_sizes_on_whole_numbers_and_rough_ones() {
    for (m, k, n) in [(1, 1, 1), (5, 3, 2), (7, 16, 33), (13, 64, 65), (32, 100, 48), (6, 257, 130), (50, 9, 200), (1, 300, 70)] {
        check::<f32>(m, k, n, whole);
        check::<f32>(m, k, n, rough);
        check::<f64>(m, k, n, rough);
    }
}

#[test]
fn long_sums_are_cut_every_chunk_of_k() {
    check::<f32>(3, CHUNK + 1, 20, rough);
    check::<f32>(9, 2 * CHUNK + 300, 70, rough);
    check::<f64>(2, CHUNK + 513, 9, rough);
}

#[test]
fn many_rows_and_many_columns_cross_the_cache_blocks() {
    check::<f32>(390, 20, 10, rough);
    check::<f32>(4, 10, 2100, rough);
    // Panels that two and three threads cannot share out evenly.
    check::<f32>(26, 10, 12 * 64 + 10, rough);
    check::<f32>(50, 10, 13 * 64 + 10, rough);
}

#[test]
fn nothing_to_sum_leaves_the_start_and_nothing_to_write_writes_nothing() {
    check::<f32>(3, 0, 5, whole);
    check::<f64>(0, 4, 5, whole);
    check::<f32>(3, 4, 0, whole);
}

#[test]
fn infinities_and_nans_go_through() {
    let a = [f32::INFINITY, 0.0, f32::NAN, 1.0];
    let b = [1.0f32, 0.0, 2.0, 3.0];
    let mut c = [0.0f32; 4];
    for choice in available() {
        let (left, right) = (MatrixView::new(&a, 2, 2), Right::View(MatrixView::new(&b, 2, 2)));
        product_on(choice, 1, left, right, MatrixViewMut::new(&mut c, 2, 2), Start::Zero);
        assert_eq!(c[0], f32::INFINITY);
        assert!(c[1].is_nan() && c[2].is_nan() && c[3].is_nan());
    }
}

#[test]
fn columns_in_blocks_are_those_of_the_plain_matrix() {
    // Groups of 64 whose first 48 columns count: the gates of a GRU.
    let (m, k, groups) = (11, 37, 3);
    let n = 48 * groups;
    let (a, b) = (rough::<f32>(m * k, 1), rough::<f32>(k * n, 2));
    let spread = |x: &[f32], rows: usize, fill: f32| -> Vec<f32> {
        let mut out = vec![fill; rows * 64 * groups];
        for r in 0..rows {
            for j in 0..n {
                out[r * 64 * groups + j / 48 * 64 + j % 48] = x[r * n + j];
            }
        }
        out
    };
    let expected = naive(&a, &b, |_, _| 0.0, m, k, n);
    let wide_b = spread(&b, k, f32::NAN);
    let wide_a = spread(&rough::<f32>(m * n, 5), m, f32::NAN);
    let b2 = rough::<f32>(n * 20, 6);
    let expected2 = naive(&rough::<f32>(m * n, 5), &b2, |_, _| 0.0, m, n, 20);
    for choice in available() {
        for threads in [1, 2, 3] {
            let mut c = vec![f32::NAN; m * 64 * groups];
            // SAFETY: both buffers hold 64 columns a group.
            unsafe {
                let right = MatrixView::from_raw(wide_b.as_ptr(), k, n, 64 * groups as isize, 1).in_blocks(48, 64);
                let to = MatrixViewMut::from_raw(c.as_mut_ptr(), m, n, 64 * groups as isize).in_blocks(48, 64);
                product_on(choice, threads, MatrixView::new(&a, m, k), Right::View(right), to, Start::Zero);
            }
            for (i, x) in c.iter().enumerate() {
                let (row, group, col) = (i / (64 * groups), i % (64 * groups) / 64, i % 64);
                if col < 48 {
                    assert_eq!(*x, expected[row * n + group * 48 + col]);
                } else {
                    assert!(x.is_nan(), "a column between the blocks was written");
                }
            }
            let mut c = vec![0.0; m * 20];
            // SAFETY: the buffer holds 64 columns a group.
            let left = unsafe { MatrixView::from_raw(wide_a.as_ptr(), m, n, 64 * groups as isize, 1).in_blocks(48, 64) };
            let right = Right::View(MatrixView::new(&b2, n, 20));
            product_on(choice, threads, left, right, MatrixViewMut::new(&mut c, m, 20), Start::Zero);
            assert_eq!(c, expected2);
        }
    }
}

/// The gates of a recurrent layer: panels of 64 columns, row after row, one panel behind the other. As a right-hand side they are read
/// where they lie, by many rows too, also from an address that no vector begins at.
#[test]
fn panels_behind_each_other_are_those_of_the_plain_matrix() {
    for (cols, count, at) in [(64usize, 3 * 64usize, 0), (64, 2 * 64 + 16, 1), (48, 2 * 48, 0), (48, 48 + 32, 3)] {
        let (m, k, panels) = (53, 1100, count.div_ceil(cols));
        let (a, b) = (rough::<f32>(m * k, 1), rough::<f32>(k * count, 2));
        let spread = |x: &[f32], rows: usize| -> Vec<f32> {
            let mut out = vec![f32::NAN; at + rows * 64 * panels];
            for r in 0..rows {
                for j in 0..count {
                    out[at + j / cols * rows * 64 + r * 64 + j % cols] = x[r * count + j];
                }
            }
            out
        };
        let (behind, left) = (spread(&b, k), rough::<f32>(m * count, 5));
        let (left_behind, b2) = (spread(&left, m), rough::<f32>(count * 20, 6));
        let expected = naive(&a, &b, |_, _| 0.0, m, k, count);
        let expected2 = naive(&left, &b2, |_, _| 0.0, m, count, 20);
        for choice in available() {
            for threads in [1, 2, 3] {
                let mut c = vec![f32::NAN; at + m * 64 * panels];
                // SAFETY: the buffers hold `panels` panels of 64 columns behind `at`.
                unsafe {
                    let right = MatrixView::from_raw(behind.as_ptr().add(at), k, count, 64, 1).in_blocks(cols, k * 64);
                    let to = MatrixViewMut::from_raw(c.as_mut_ptr().add(at), m, count, 64).in_blocks(cols, m * 64);
                    product_on(choice, threads, MatrixView::new(&a, m, k), Right::View(right), to, Start::Zero);
                }
                assert!(spread(&expected, m).iter().zip(&c).all(|(x, y)| x == y || (x.is_nan() && y.is_nan())));
                let mut c = vec![f32::NAN; m * 20];
                // SAFETY: as above.
                let behind = unsafe { MatrixView::from_raw(left_behind.as_ptr().add(at), m, count, 64, 1) };
                // SAFETY: as above.
                let behind = unsafe { behind.in_blocks(cols, m * 64) };
                let right = Right::View(MatrixView::new(&b2, count, 20));
                product_on(choice, threads, behind, right, MatrixViewMut::new(&mut c, m, 20), Start::Zero);
                assert_eq!(c, expected2);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_shape(m in 0usize..40, k in 0usize..300, n in 0usize..140) {
        check::<f32>(m, k, n, rough);
    }
}

#[test]
fn a_few_rows_of_b_upside_down() {
    let (a, b) = (vec![1.0f32, 2.0, 3.0], (0..48).map(|i| i as f32).collect::<Vec<_>>());
    let mut c = vec![0.0f32; 16];
    // SAFETY: rows 2, 1 and 0 of a 3 by 16 matrix.
    let upside_down = unsafe { MatrixView::from_raw(b.as_ptr().add(32), 3, 16, -16, 1) };
    product(MatrixView::new(&a, 1, 3), Right::View(upside_down), MatrixViewMut::new(&mut c, 1, 16), Start::Zero);
    let want: Vec<f32> = (0..16).map(|j| b[32 + j] + 2.0 * b[16 + j] + 3.0 * b[j]).collect();
    assert_eq!(c, want);
}

fn check_weight_gradient<T: Real>() {
    for (rows, inputs, outputs) in
        [(1, 1, 1), (5, 3, 200), (7, 20, 64), (9, 64, 129), (2100, 5, 70), (6, 40, 30), (0, 3, 80), (3, 0, 9)]
    {
        for numbers in [whole::<T>, rough::<T>] {
            let (x, g) = (numbers(rows * inputs, 1), numbers(rows * outputs, 2));
            let mut dw = vec![T::from_f64(f64::NAN); inputs * outputs];
            weight_gradient(MatrixView::new(&x, rows, inputs), MatrixView::new(&g, rows, outputs), &mut dw);
            let wished = naive(&transpose(&g, rows, outputs), &x, |_, _| T::ZERO, outputs, rows, inputs);
            assert!(dw == wished, "{rows} rows, {inputs} inputs, {outputs} outputs");
        }
    }
}

/// Whichever way it is formed: as it stands, or turned over, in whole panels and beside them.
#[test]
fn gradients_of_weights_are_one_chain_an_element() {
    check_weight_gradient::<f32>();
    check_weight_gradient::<f64>();
}
