//! Recurrent cells against a plain f64 loop, and the rules: any thread count, instruction set, batch and layout give the same bits.
//! Gradients are checked from Python (tests/kernels/test_recurrent.py), against NumPy and by central differences.

use weft_kernels::parallel::set_num_threads;
use weft_kernels::recurrent::{
    Cell, Gradients, Layout, PackedWeights, Sizes, State, WeightGradients, Weights, backward, forward,
};

const CELLS: [Cell; 4] = [Cell::RnnTanh, Cell::RnnRelu, Cell::Lstm, Cell::Gru];

fn rough(len: usize, seed: usize) -> Vec<f32> {
    (0..len).map(|i| ((((i + 17 * seed) as f64) * 0.618_033_988_749).fract() - 0.5) as f32 * 0.8).collect()
}

struct Run {
    y: Vec<f32>,
    h: Vec<f32>,
    dx: Vec<f32>,
    dw: Vec<f32>,
    dr: Vec<f32>,
    db: Vec<f32>,
}

fn packed(cell: Cell, sizes: Sizes) -> PackedWeights<f32> {
    let Sizes { input, hidden } = sizes;
    let gates = cell.gates() * hidden;
    let (w, r) = (rough(gates * input, 1), rough(gates * hidden, 2));
    let (b, c) = (rough(gates, 3), rough(gates, 4));
    let weights = Weights { input: &w, recurrent: &r, biases: Some((&b, &c)) };
    PackedWeights::new(cell, sizes, weights, true).unwrap()
}

fn run(cell: Cell, sizes: Sizes, layout: Layout<'_>, x: &[f32]) -> Run {
    let Sizes { input, hidden } = sizes;
    let gates = cell.gates() * hidden;
    let packed = packed(cell, sizes);
    let rows = layout.steps * layout.batch;
    let mut y = vec![f32::NAN; rows * hidden];
    let (mut h, mut c_n) = (vec![0.0; layout.batch * hidden], vec![0.0; layout.batch * hidden]);
    let c_len = if cell.has_cell_state() { c_n.len() } else { 0 };
    let last = State { h: &mut h, c: &mut c_n[..c_len] };
    let mut cache = forward(&packed, layout, x, (None, None), &mut y, hidden, last, true).unwrap().unwrap();
    let mut out = Run {
        dx: vec![f32::NAN; x.len()],
        dw: vec![0.0; gates * input],
        dr: vec![0.0; gates * hidden],
        db: vec![0.0; gates],
        y,
        h,
    };
    let dy = rough(out.y.len(), 5);
    let mut db2 = vec![0.0; gates];
    let gradients = Gradients {
        x: &mut out.dx,
        adds_to_x: false,
        h0: &mut [],
        c0: &mut [],
        weights: WeightGradients { weight_ih: &mut out.dw, weight_hh: &mut out.dr, bias_ih: &mut out.db, bias_hh: &mut db2 },
    };
    backward(&packed, &mut cache, x, &out.y, &dy, hidden, (None, None), false, gradients).unwrap();
    assert!(cache.is_spent());
    out
}

fn inferred(cell: Cell, sizes: Sizes, layout: Layout<'_>, x: &[f32]) -> Vec<f32> {
    let packed = packed(cell, sizes);
    let mut y = vec![f32::NAN; layout.steps * layout.batch * sizes.hidden];
    let (mut h, mut c) = (vec![0.0; layout.batch * sizes.hidden], vec![0.0; layout.batch * sizes.hidden]);
    let c_len = if cell.has_cell_state() { c.len() } else { 0 };
    let last = State { h: &mut h, c: &mut c[..c_len] };
    assert!(forward(&packed, layout, x, (None, None), &mut y, sizes.hidden, last, false).unwrap().is_none());
    y
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// One row of the plain equations of torch's documentation.
fn plain(cell: Cell, sizes: Sizes, x: &[f32]) -> Vec<f64> {
    let Sizes { input, hidden } = sizes;
    let gates = cell.gates() * hidden;
    let (w, r) = (rough(gates * input, 1), rough(gates * hidden, 2));
    let (b, b2) = (rough(gates, 3), rough(gates, 4));
    let (mut h, mut c) = (vec![0.0f64; hidden], vec![0.0f64; hidden]);
    let mut out = Vec::new();
    for step in x.chunks(input) {
        let gi: Vec<f64> =
            (0..gates).map(|g| b[g] as f64 + (0..input).map(|k| w[g * input + k] as f64 * step[k] as f64).sum::<f64>()).collect();
        let gh: Vec<f64> =
            (0..gates).map(|g| b2[g] as f64 + (0..hidden).map(|k| r[g * hidden + k] as f64 * h[k]).sum::<f64>()).collect();
        for u in 0..hidden {
            let (a, z) = (|g: usize| gi[g * hidden + u], |g: usize| gh[g * hidden + u]);
            h[u] = match cell {
                Cell::RnnTanh => (a(0) + z(0)).tanh(),
                Cell::RnnRelu => (a(0) + z(0)).max(0.0),
                Cell::Lstm => {
                    let gate = |g| a(g) + z(g);
                    c[u] = sigmoid(gate(1)) * c[u] + sigmoid(gate(0)) * gate(2).tanh();
                    sigmoid(gate(3)) * c[u].tanh()
                }
                Cell::Gru => {
                    let (r, u_gate) = (sigmoid(a(0) + z(0)), sigmoid(a(1) + z(1)));
                    let n = (a(2) + r * z(2)).tanh();
                    (1.0 - u_gate) * n + u_gate * h[u]
                }
            };
        }
        out.extend_from_slice(&h);
    }
    out
}

#[test]
fn a_row_follows_the_equations_and_does_not_depend_on_its_batch() {
    for cell in CELLS {
        for (steps, batch, sizes) in [(5, 7, Sizes { input: 3, hidden: 19 }), (4, 33, Sizes { input: 20, hidden: 64 })] {
            let x = rough(steps * batch * sizes.input, 6);
            let layout = Layout { steps, batch, batch_first: true, lengths: None, reverse: false };
            let whole = run(cell, sizes, layout, &x);
            for b in 0..batch {
                let row = &x[b * steps * sizes.input..(b + 1) * steps * sizes.input];
                let span = b * steps * sizes.hidden..(b + 1) * steps * sizes.hidden;
                for (got, want) in whole.y[span.clone()].iter().zip(plain(cell, sizes, row)) {
                    assert!((*got as f64 - want).abs() < 2e-5, "{cell:?}: {got} for {want}");
                }
                let alone = run(cell, sizes, Layout { batch: 1, ..layout }, row);
                assert_eq!(alone.y, &whole.y[span], "{cell:?}: row {b} depends on its batch");
            }
        }
    }
}

/// Panels of one to three rows wait for each other: five and ten of them, the last not full, of one thread or several, there and back.
#[test]
fn a_few_rows_alone_are_those_of_the_batch() {
    for cell in CELLS {
        for hidden in [70, 150, 256] {
            let (steps, batch, sizes) = (4, 9, Sizes { input: 5, hidden });
            let x = rough(steps * batch * sizes.input, 10);
            let layout = Layout { steps, batch, batch_first: true, lengths: None, reverse: false };
            set_num_threads(2).unwrap();
            let whole = run(cell, sizes, layout, &x);
            for (some, threads) in [(1, 1), (1, 2), (1, 3), (2, 2), (3, 1), (3, 2)] {
                set_num_threads(threads).unwrap();
                for first in (0..batch - some).step_by(4) {
                    let part = |width: usize| first * steps * width..(first + some) * steps * width;
                    let alone = run(cell, sizes, Layout { batch: some, ..layout }, &x[part(sizes.input)]);
                    let same = alone.y == whole.y[part(hidden)] && alone.h == whole.h[first * hidden..(first + some) * hidden];
                    assert!(same, "{cell:?} of {hidden}: {some} rows on {threads} threads");
                }
            }
        }
    }
}

/// An input of one chunk of k joins its chain with that of h in a tile, a longer one cannot; a row alone has its input's sums formed before.
#[test]
fn inputs_of_a_chunk_and_more_change_no_bit_with_the_batch() {
    for (cell, input) in
        [(Cell::RnnTanh, 2048), (Cell::RnnTanh, 2049), (Cell::RnnRelu, 2500), (Cell::Lstm, 2048), (Cell::Gru, 2049)]
    {
        let (steps, batch, sizes) = (3, 24, Sizes { input, hidden: 12 });
        let x: Vec<f32> = rough(steps * batch * input, 9).iter().map(|x| x / 16.0).collect();
        let layout = Layout { steps, batch, batch_first: true, lengths: None, reverse: false };
        let whole = run(cell, sizes, layout, &x);
        for b in 0..batch {
            let row = &x[b * steps * input..(b + 1) * steps * input];
            let y = &whole.y[b * steps * sizes.hidden..(b + 1) * steps * sizes.hidden];
            let alone = run(cell, sizes, Layout { batch: 1, ..layout }, row);
            assert_eq!(alone.y, y, "{cell:?} of {input}: row {b} depends on its batch");
            for (got, want) in y.iter().zip(plain(cell, sizes, row)) {
                assert!((*got as f64 - want).abs() < 1e-4, "{cell:?} of {input}: {got} for {want}");
            }
        }
    }
}

/// A single row forms the sums of later inputs beside the products of its steps, where there are twice five of them, and a single step its own: any number of steps, either
/// direction, inputs shorter and longer than h, units that fill no panel, one chunk of h and more.
#[test]
fn a_row_whose_inputs_are_formed_beside_its_steps_is_that_of_the_batch() {
    for cell in CELLS {
        for (input, hidden) in [(1, 40), (7, 150), (150, 70), (260, 129), (64, 256)] {
            for (steps, reverse) in [(1, false), (9, true), (10, false), (13, true), (14, false), (31, true), (31, false)] {
                let (batch, sizes) = (8, Sizes { input, hidden });
                let x = rough(steps * batch * input, 11);
                let layout = Layout { steps, batch, batch_first: true, lengths: None, reverse };
                set_num_threads(2).unwrap();
                let whole = run(cell, sizes, layout, &x);
                for (row, threads) in [(0, 1), (3, 2), (5, 3), (7, 7)] {
                    set_num_threads(threads).unwrap();
                    let part = |width: usize| row * steps * width..(row + 1) * steps * width;
                    let alone = run(cell, sizes, Layout { batch: 1, ..layout }, &x[part(input)]);
                    let what = format!(
                        "{cell:?} of {input}, {hidden}: row {row} of {steps} steps, reverse {reverse}, {threads} threads"
                    );
                    assert!(alone.y == whole.y[part(hidden)] && alone.h == whole.h[row * hidden..(row + 1) * hidden], "{what}");
                    // The first row of either has the same gradients of its outputs.
                    assert!(row > 0 || alone.dx == whole.dx[part(input)], "gradients of {what}");
                    let y = inferred(cell, sizes, Layout { batch: 1, ..layout }, &x[part(input)]);
                    assert!(y == alone.y, "inference of {what}");
                }
            }
        }
    }
}

/// Inference of more steps than stand near at a time: in each block the first inputs are formed before the steps.
#[test]
fn a_long_row_is_the_same_in_blocks() {
    for (cell, hidden, steps) in [(Cell::Lstm, 96, 6000), (Cell::Gru, 96, 6000), (Cell::RnnTanh, 80, 25000)] {
        let sizes = Sizes { input: 6, hidden };
        let x = rough(steps * sizes.input, 12);
        for (reverse, threads) in [(false, 2), (true, 2), (true, 3)] {
            set_num_threads(threads).unwrap();
            let layout = Layout { steps, batch: 1, batch_first: false, lengths: None, reverse };
            let trained = run(cell, sizes, layout, &x);
            assert!(
                inferred(cell, sizes, layout, &x) == trained.y,
                "{cell:?} of {steps} steps, reverse {reverse}, {threads} threads"
            );
            let length = [steps as i64 - 3];
            let shorter = Layout { lengths: Some(&length), ..layout };
            let kept = inferred(cell, sizes, shorter, &x);
            let cut = inferred(cell, sizes, Layout { steps: steps - 3, ..layout }, &x[..(steps - 3) * sizes.input]);
            assert!(kept[..cut.len()] == cut && kept[cut.len()..].iter().all(|&h| h == 0.0), "{cell:?} with lengths");
        }
    }
}

#[test]
fn threads_and_layouts_change_no_bit() {
    for cell in CELLS {
        let (steps, batch, sizes) = (9, 40, Sizes { input: 24, hidden: 48 });
        let lengths: Vec<i64> = (0..batch as i64).map(|b| (b * 5) % 10).collect();
        let x = rough(steps * batch * sizes.input, 7);
        let flip = |x: &[f32], width: usize| -> Vec<f32> {
            (0..batch * steps * width).map(|i| x[(i / width % batch * steps + i / width / batch) * width + i % width]).collect()
        };
        for reverse in [false, true] {
            let layout = Layout { steps, batch, batch_first: true, lengths: Some(&lengths), reverse };
            set_num_threads(1).unwrap();
            let one = run(cell, sizes, layout, &x);
            for threads in [2, 3, 7] {
                set_num_threads(threads).unwrap();
                let many = run(cell, sizes, layout, &x);
                assert!(one.y == many.y && one.h == many.h && one.dx == many.dx, "{cell:?} {threads}");
                assert!(one.dw == many.dw && one.dr == many.dr && one.db == many.db, "{cell:?} {threads}");
            }
            set_num_threads(2).unwrap();
            let other = run(cell, sizes, Layout { batch_first: false, ..layout }, &flip(&x, sizes.input));
            assert_eq!(other.y, flip(&one.y, sizes.hidden), "{cell:?}: time-major differs");
            for (b, &length) in lengths.iter().enumerate() {
                let row = &one.y[b * steps * sizes.hidden..(b + 1) * steps * sizes.hidden];
                assert!(row[length as usize * sizes.hidden..].iter().all(|y| *y == 0.0), "padding is not zero");
                let at = match (length, reverse) {
                    (0, _) => continue,
                    (_, true) => 0,
                    (n, false) => (n as usize - 1) * sizes.hidden,
                };
                assert_eq!(&row[at..at + sizes.hidden], &one.h[b * sizes.hidden..(b + 1) * sizes.hidden]);
            }
        }
    }
}

/// Weights that the second-level cache cannot hold are shared out by units: 11, 21, 22 and 26 panels, most of which threads cannot have evenly;
/// short rows leave early, and one thread of all panels asks for lines of the next.
#[test]
fn wide_layers_change_no_bit_with_threads() {
    for (cell, hidden) in [(Cell::Lstm, 330), (Cell::Lstm, 350), (Cell::Gru, 410), (Cell::RnnTanh, 700)] {
        let (steps, batch, sizes) = (5, 20, Sizes { input: 7, hidden });
        let lengths: Vec<i64> = (0..batch as i64).map(|b| (b * 3) % 6).collect();
        let x = rough(steps * batch * sizes.input, 8);
        for lengths in [None, Some(&lengths[..])] {
            let layout = Layout { steps, batch, batch_first: false, lengths, reverse: lengths.is_some() };
            set_num_threads(1).unwrap();
            let one = run(cell, sizes, layout, &x);
            if lengths.is_none() {
                let row: Vec<f32> = x.chunks(7).skip(3).step_by(batch).flatten().copied().collect();
                let got = one.y.chunks(hidden).skip(3).step_by(batch).flatten();
                for (got, want) in got.zip(plain(cell, sizes, &row)) {
                    assert!((*got as f64 - want).abs() < 1e-3, "{cell:?}: {got} for {want}");
                }
            }
            for threads in [2, 3, 7] {
                set_num_threads(threads).unwrap();
                let many = run(cell, sizes, layout, &x);
                assert!(one.y == many.y && one.h == many.h && one.dx == many.dx, "{cell:?} {threads}");
                assert!(one.dw == many.dw && one.dr == many.dr && one.db == many.db, "{cell:?} {threads}");
            }
        }
    }
}
