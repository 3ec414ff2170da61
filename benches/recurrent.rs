//! RNN, LSTM and GRU: forward as in inference, and forward with backward; the rows of `make race` without Python.

use criterion::Criterion;
use weft_benches::{Work, criterion, numbers, row};
use weft_kernels::parallel::set_num_threads;
use weft_kernels::recurrent::{
    Cache, Cell, Gradients, Layout, PackedWeights, Sizes, State, WeightGradients, Weights, backward, forward,
};

const CELLS: [(Cell, &str); 3] = [(Cell::RnnTanh, "rnn"), (Cell::Lstm, "lstm"), (Cell::Gru, "gru")];

/// One direction of a layer, with what its passes write beside y and dx.
struct Direction {
    weights: PackedWeights<f32>,
    hidden: usize,
    last: [Vec<f32>; 2],
    gradients: [Vec<f32>; 4],
}

impl Direction {
    fn new(cell: Cell, batch: usize, input: usize, hidden: usize) -> Self {
        let gates = cell.gates() * hidden;
        let (w, r, bias) = (numbers(gates * input), numbers(gates * hidden), numbers(gates));
        let weights = Weights { input: &w, recurrent: &r, biases: Some((&bias, &bias)) };
        Self {
            weights: PackedWeights::new(cell, Sizes { input, hidden }, weights, true).unwrap(),
            hidden,
            last: [batch * hidden, if cell.has_cell_state() { batch * hidden } else { 0 }].map(|n| vec![0.0; n]),
            gradients: [w.len(), r.len(), gates, gates].map(|n| vec![0.0; n]),
        }
    }

    /// y's rows begin `stride` numbers apart.
    fn forward(&mut self, layout: Layout<'_>, x: &[f32], y: &mut [f32], stride: usize, training: bool) -> Option<Cache<f32>> {
        let [h, c] = &mut self.last;
        forward(&self.weights, layout, x, (None, None), y, stride, State { h, c }, training).unwrap()
    }

    /// All gradients but those of the initial state; dx behind that of another direction is added to it.
    fn backward(
        &mut self,
        cache: Option<Cache<f32>>,
        x: &[f32],
        [y, dy]: [&[f32]; 2],
        stride: usize,
        dx: &mut [f32],
        adds_to_x: bool,
    ) {
        let [dw, dr, db, db2] = &mut self.gradients;
        let weights = WeightGradients { weight_ih: dw, weight_hh: dr, bias_ih: db, bias_hh: db2 };
        let gradients = Gradients { x: dx, adds_to_x, h0: &mut [], c0: &mut [], weights };
        backward(&self.weights, &mut cache.unwrap(), x, y, dy, stride, (None, None), false, gradients).unwrap();
    }
}

fn layout(steps: usize, batch: usize, lengths: Option<&[i64]>, reverse: bool) -> Layout<'_> {
    Layout { steps, batch, batch_first: false, lengths, reverse }
}

/// Forward, and forward with backward, of a layer; only the steps that are there count as work.
fn layer(c: &mut Criterion, cell: Cell, label: &str, shape: (usize, usize, usize, usize), lengths: Option<&[i64]>) {
    let (t, b, i, h) = shape;
    let mut one = Direction::new(cell, b, i, h);
    let (x, dy) = (numbers(t * b * i), numbers(t * b * h));
    let (mut y, mut dx) = (vec![0.0; t * b * h], vec![0.0; t * b * i]);
    let rows = lengths.map_or((t * b) as f64, |l| l.iter().sum::<i64>() as f64);
    let operations = 2.0 * rows * (cell.gates() * h * (i + h)) as f64;
    for threads in [1, 2] {
        set_num_threads(threads).unwrap();
        for passes in if lengths.is_some() { &[3][..] } else { &[1, 3] } {
            let what = if *passes == 1 { "forward" } else { "forward+backward" };
            row(
                c,
                &format!("{label} {what}, {threads} threads"),
                threads,
                Work::Operations(f64::from(*passes) * operations),
                || {
                    let cache = one.forward(layout(t, b, lengths, false), &x, &mut y, h, *passes == 3);
                    if *passes == 3 {
                        one.backward(cache, &x, [&y, &dy], h, &mut dx, false);
                    }
                },
            );
        }
    }
}

/// One step of one row, as a stream takes it: bound by reading the weights.
fn step(c: &mut Criterion, cell: Cell, name: &str, hidden: usize) {
    let mut one = Direction::new(cell, 1, hidden, hidden);
    let (x, mut y) = (numbers(hidden), vec![0.0; hidden]);
    let weights = (2 * cell.gates() * hidden * hidden) as f64;
    for threads in [1, 2] {
        set_num_threads(threads).unwrap();
        let work = Work::Reads { bytes: 4.0 * weights, operations: 2.0 * weights };
        row(c, &format!("{name} one step B1 H{hidden}, {threads} threads"), threads, work, || {
            one.forward(layout(1, 1, None, false), &x, &mut y, hidden, false);
        });
    }
}

/// Two layers in both directions; the second reads what both directions of the first say.
fn stack(c: &mut Criterion, cell: Cell, name: &str, (t, b, i, h): (usize, usize, usize, usize)) {
    let mut layers = [i, 2 * h].map(|input| [false, true].map(|reverse| (Direction::new(cell, b, input, h), reverse)));
    let x = numbers(t * b * i);
    let dy = numbers(t * b * 2 * h);
    let operations = 2.0 * (t * b * cell.gates() * h) as f64 * 2.0 * ((i + h) + (2 * h + h)) as f64;
    // The columns of one direction.
    let end = (t * b - 1) * 2 * h + h;
    let label = format!("{name} two layers, bidirectional, T{t} B{b} I{i} H{h} forward+backward");
    for threads in [1, 2] {
        set_num_threads(threads).unwrap();
        row(c, &format!("{label}, {threads} threads"), threads, Work::Operations(3.0 * operations), || {
            // What goes into each layer, and out of the last.
            let mut between = vec![x.clone()];
            let mut caches = Vec::new();
            for layer in &mut layers {
                let mut y = vec![0.0; t * b * 2 * h];
                caches.push(layer.each_mut().map(|(one, reverse)| {
                    let first = if *reverse { one.hidden } else { 0 };
                    one.forward(layout(t, b, None, *reverse), between.last().unwrap(), &mut y[first..][..end], 2 * h, true)
                }));
                between.push(y);
            }
            let mut gradient = dy.clone();
            for ((layer, caches), around) in layers.iter_mut().zip(caches).zip(between.windows(2)).rev() {
                let [x, y] = around else { unreachable!("two at a time") };
                let mut dx = vec![0.0; x.len()];
                for ((one, reverse), cache) in layer.iter_mut().zip(caches) {
                    let first = if *reverse { one.hidden } else { 0 };
                    let outputs = [y, &gradient].map(|rows| &rows[first..][..end]);
                    one.backward(cache, x, outputs, 2 * h, &mut dx, *reverse);
                }
                gradient = dx;
            }
        });
    }
}

fn main() {
    let mut c = criterion();
    for shape in [(28, 128, 28, 128), (100, 32, 256, 256), (50, 64, 512, 512), (35, 20, 650, 650), (128, 1, 256, 256)] {
        for (cell, name) in CELLS {
            let (t, b, i, h) = shape;
            layer(&mut c, cell, &format!("{name} T{t} B{b} I{i} H{h}"), shape, None);
        }
    }
    // As uniform as 32 rows can be, in no order.
    let lengths: Vec<i64> = (0..32).map(|j| 100 - (j * 13 % 32) * 75 / 31).collect();
    for (cell, name) in CELLS {
        layer(&mut c, cell, &format!("{name} lengths T/4..T of T100 B32 I256 H256"), (100, 32, 256, 256), Some(&lengths));
        step(&mut c, cell, name, 256);
    }
    for (cell, name) in &CELLS[1..] {
        stack(&mut c, *cell, name, (100, 32, 256, 256));
    }
}
