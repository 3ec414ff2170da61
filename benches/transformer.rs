//! A decoder's layers for one token a row over a cache and a source: what a step of translation costs.

use weft_benches::{Work, criterion, numbers, row};
use weft_kernels::MatrixView;
use weft_kernels::activation::Activation;
use weft_kernels::attention::heads::{PAGE, Pages, View};
use weft_kernels::matmul::PackedMatrix;
use weft_kernels::parallel::set_num_threads;
use weft_kernels::transformer::{Gain, Layer, Past, Projection, Sources, Stack, step};

const HEADS: usize = 8;

fn packed(inputs: usize, outputs: usize) -> PackedMatrix<f32> {
    PackedMatrix::new(MatrixView::new(&numbers(inputs * outputs), inputs, outputs))
}

fn main() {
    let mut c = criterion();
    let (layers, size, wide, longest, end) = (3, 256, 1024, 24, 33);
    for rows in [1, 32, 160] {
        let width = size / HEADS;
        let weights: Vec<_> = (0..layers)
            .map(|_| {
                [
                    packed(size, 3 * size),
                    packed(size, size),
                    packed(size, size),
                    packed(size, size),
                    packed(size, wide),
                    packed(wide, size),
                ]
            })
            .collect();
        let gain = vec![1.0; size];
        let mut pools: Vec<_> = (0..layers).map(|_| [numbers(rows * size * PAGE), numbers(rows * size * PAGE)]).collect();
        let memories: Vec<_> = (0..layers).map(|_| [numbers(rows * longest * size), numbers(rows * longest * size)]).collect();
        let (table, ends) = ((0..rows as i64).collect::<Vec<_>>(), vec![end; rows]);
        let (lengths, x, mut y) = (vec![longest as i64; rows], numbers(rows * size), vec![0.0; rows * size]);
        let per_row = layers * (2 * (6 * size * size + 2 * size * wide) + 4 * size * (end as usize + longest));
        for threads in [1, 2] {
            set_num_threads(threads).unwrap();
            let name = format!("transformer step D{size}, {layers} layers, {rows} rows, {threads} threads");
            row(&mut c, &name, threads, Work::Operations((rows * per_row) as f64), || {
                let norm = Gain { gain: &gain, shift: &[], epsilon: 1e-5 };
                let stack = Stack {
                    layers: weights
                        .iter()
                        .map(|w| {
                            let [own, out, query, back, wide, narrow] =
                                w.each_ref().map(|weight| Projection { weight, bias: &[][..] });
                            let source = Some([query, back]);
                            Layer {
                                own: [own, out],
                                source,
                                feed: [wide, narrow],
                                activation: Some(Activation::Relu),
                                norms: vec![norm; 3],
                            }
                        })
                        .collect(),
                    last: Some(norm),
                    norm_first: true,
                    heads: HEADS,
                    scale: (width as f64).powf(-0.5),
                };
                let pages =
                    pools.iter_mut().map(|[keys, values]| Pages { heads: HEADS, width, padded: width, keys, values }).collect();
                let shape = [rows, longest, HEADS, width];
                let memories = memories.iter().map(|m| m.each_ref().map(|data| View::new(data, shape))).collect();
                let sources = Sources { memories, longest, lengths: &lengths, rows: &table };
                step(&stack, Past { pages, table: &table, ends: &ends }, Some(sources), &x, &mut y, &mut []).unwrap();
            });
        }
    }
}
