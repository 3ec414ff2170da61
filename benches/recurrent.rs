//! RNN, LSTM and GRU: forward as in inference, and forward with backward.

use weft_benches::{Work, criterion, numbers, row};
use weft_kernels::parallel::set_num_threads;
use weft_kernels::recurrent::{
    Cell, Gradients, Layout, PackedWeights, Sizes, State, WeightGradients, Weights, backward, forward,
};

fn main() {
    let mut c = criterion();
    for (t, b, i, h) in [(28, 128, 28, 128), (100, 32, 256, 256), (50, 64, 512, 512), (35, 20, 650, 650), (128, 1, 256, 256)] {
        for (cell, name) in [(Cell::RnnTanh, "rnn"), (Cell::Lstm, "lstm"), (Cell::Gru, "gru")] {
            let gates = cell.gates() * h;
            let (w, r, bias) = (numbers(gates * i), numbers(gates * h), numbers(gates));
            let weights = Weights { input: &w, recurrent: &r, biases: Some((&bias, &bias)) };
            let packed = PackedWeights::new(cell, Sizes { input: i, hidden: h }, weights, true).unwrap();
            let layout = Layout { steps: t, batch: b, batch_first: false, lengths: None, reverse: false };
            let (x, dy) = (numbers(t * b * i), numbers(t * b * h));
            let (mut y, mut hn, mut cn) = (vec![0.0; t * b * h], vec![0.0; b * h], vec![0.0; b * h]);
            let c_len = if cell.has_cell_state() { b * h } else { 0 };
            let mut out = [vec![0.0f32; x.len()], vec![0.0; w.len()], vec![0.0; r.len()], vec![0.0; gates], vec![0.0; gates]];
            let operations = 2.0 * (t * b * gates * (i + h)) as f64;
            for threads in [1, 2] {
                set_num_threads(threads).unwrap();
                for passes in [1, 3] {
                    let what = if passes == 1 { "forward" } else { "forward+backward" };
                    let label = format!("{name} T{t} B{b} I{i} H{h} {what}, {threads} threads");
                    row(&mut c, &label, threads, Work::Operations(passes as f64 * operations), || {
                        let last = State { h: &mut hn, c: &mut cn[..c_len] };
                        let cache = forward(&packed, layout, &x, (None, None), &mut y, h, last, passes == 3).unwrap();
                        let [dx, dw, dr, db, db2] = &mut out;
                        if let Some(mut cache) = cache {
                            let gradients = Gradients {
                                x: dx,
                                h0: &mut [],
                                c0: &mut [],
                                weights: WeightGradients { weight_ih: dw, weight_hh: dr, bias_ih: db, bias_hh: db2 },
                            };
                            backward(&packed, &mut cache, &x, &dy, h, (None, None), false, gradients).unwrap();
                        }
                    });
                }
            }
        }
    }
}
