//! Attention of an encoder-decoder, and the multi-head layer: projections and heads, forward and with all gradients.

use weft_benches::{Work, criterion, numbers, row};
use weft_kernels::attention::heads::{self, Call, Gradients, Mask, Statistics, View, ViewMut};
use weft_kernels::attention::{Score, Sizes, forward};
use weft_kernels::matmul::{PackedMatrix, Right, Start, product};
use weft_kernels::parallel::set_num_threads;
use weft_kernels::{MatrixView, MatrixViewMut, reduction};

/// Self-attention [B, T, D] of N heads: x → q, k, v → heads → y, and the way back to the gradients of x and of all parameters.
struct Layer {
    sizes: heads::Sizes,
    x: Vec<f32>,
    /// `[3 D, D]` and `[D, D]`, as they are and packed, and their biases.
    weights: [Vec<f32>; 2],
    packed: [PackedMatrix<f32>; 2],
    biases: [Vec<f32>; 2],
    joined: Vec<f32>,
    context: Vec<f32>,
    statistics: [Vec<f32>; 2],
    y: Vec<f32>,
    dy: Vec<f32>,
    d_context: Vec<f32>,
    d_joined: Vec<f32>,
    d_weights: [Vec<f32>; 2],
    d_biases: [Vec<f32>; 2],
    dx: Vec<f32>,
}

impl Layer {
    fn new(batch: usize, steps: usize, size: usize, heads: usize) -> Self {
        let width = size / heads;
        let sizes = heads::Sizes { batch, heads, key_heads: heads, targets: steps, sources: steps, width, values: width };
        let n = batch * steps * size;
        let weights = [numbers(3 * size * size), numbers(size * size)];
        let packed = weights.each_ref().map(|w| PackedMatrix::new(MatrixView::new(w, w.len() / size, size).transposed()));
        let some = |n: usize| vec![0.0; n];
        Self {
            sizes,
            x: numbers(n),
            d_weights: weights.each_ref().map(|w| some(w.len())),
            weights,
            packed,
            biases: [some(3 * size), some(size)],
            joined: some(3 * n),
            context: some(n),
            statistics: [some(batch * heads * steps), some(batch * heads * steps)],
            y: some(n),
            dy: numbers(n),
            d_context: some(n),
            d_joined: some(3 * n),
            d_biases: [some(3 * size), some(size)],
            dx: some(n),
        }
    }

    /// Floating-point operations of the forward pass: four products of D², and two of all scores.
    fn operations(&self) -> f64 {
        let s = &self.sizes;
        let (rows, size) = ((s.batch * s.targets) as f64, (s.heads * s.width) as f64);
        rows * (8.0 * size * size + 4.0 * s.sources as f64 * size)
    }

    fn strides(&self) -> [isize; 4] {
        let (width, row) = (self.sizes.width as isize, 3 * (self.sizes.heads * self.sizes.width) as isize);
        [self.sizes.targets as isize * row, row, width, 1]
    }

    fn part(&self, place: usize) -> View<'_, f32> {
        // SAFETY: queries, keys and values lie side by side in each row.
        unsafe { View::from_raw(self.joined[place * self.sizes.heads * self.sizes.width..].as_ptr(), self.strides()) }
    }

    fn call(&self) -> Call<'_, f32> {
        let scale = (self.sizes.width as f64).powf(-0.5);
        let (q, k, v) = (self.part(0), self.part(1), self.part(2));
        Call { sizes: self.sizes, q, k, v, pages: None, scale, mask: Mask::default(), dropout: None }
    }

    fn shape(&self) -> [usize; 4] {
        [self.sizes.batch, self.sizes.targets, self.sizes.heads, self.sizes.width]
    }

    fn forward(&mut self) {
        let (rows, size) = (self.sizes.batch * self.sizes.targets, self.sizes.heads * self.sizes.width);
        let to = MatrixViewMut::new(&mut self.joined, rows, 3 * size);
        product(MatrixView::new(&self.x, rows, size), Right::Packed(&self.packed[0]), to, Start::Bias(&self.biases[0]));
        let (mut context, [mut maximum, mut inverse]) = (std::mem::take(&mut self.context), std::mem::take(&mut self.statistics));
        let statistics = Statistics { maximum: &mut maximum, inverse: &mut inverse };
        heads::forward(&self.call(), ViewMut::new(&mut context, self.shape()), Some(statistics)).unwrap();
        (self.context, self.statistics) = (context, [maximum, inverse]);
        let to = MatrixViewMut::new(&mut self.y, rows, size);
        product(MatrixView::new(&self.context, rows, size), Right::Packed(&self.packed[1]), to, Start::Bias(&self.biases[1]));
    }

    fn backward(&mut self) {
        let (rows, size) = (self.sizes.batch * self.sizes.targets, self.sizes.heads * self.sizes.width);
        linear_backward(
            rows,
            size,
            [&self.dy, &self.context, &self.weights[1]],
            [&mut self.d_context, &mut self.d_weights[1], &mut self.d_biases[1]],
        );
        let mut joined = std::mem::take(&mut self.d_joined);
        let strides = self.strides();
        let (pointer, [b, r, h, _]) = (joined.as_mut_ptr(), strides);
        // SAFETY: the three parts of each row are apart.
        let [q, k, v] = [0, 1, 2].map(|place| unsafe { ViewMut::from_raw(pointer.add(place * size), [b, r, h]) });
        let (context, d_context) = (View::new(&self.context, self.shape()), View::new(&self.d_context, self.shape()));
        let [maximum, inverse] = &self.statistics;
        heads::backward(&self.call(), context, maximum, inverse, d_context, Gradients { q, k, v }).unwrap();
        self.d_joined = joined;
        linear_backward(
            rows,
            size,
            [&self.d_joined, &self.x, &self.weights[0]],
            [&mut self.dx, &mut self.d_weights[0], &mut self.d_biases[0]],
        );
    }
}

/// dX = dY·W, dW = dYᵀ·X and db = Σ dY of a linear layer of `inputs` numbers a row.
fn linear_backward(rows: usize, inputs: usize, [dy, x, weight]: [&[f32]; 3], [dx, d_weight, d_bias]: [&mut [f32]; 3]) {
    let outputs = dy.len() / rows;
    let dy_view = MatrixView::new(dy, rows, outputs);
    let weight = Right::View(MatrixView::new(weight, outputs, inputs));
    product(dy_view, weight, MatrixViewMut::new(dx, rows, inputs), Start::Zero);
    let x = Right::View(MatrixView::new(x, rows, inputs));
    product(dy_view.transposed(), x, MatrixViewMut::new(d_weight, outputs, inputs), Start::Zero);
    reduction::sum(1, rows, outputs, dy, d_bias).unwrap();
}

fn main() {
    let mut c = criterion();
    let s = Sizes { batch: 64, targets: 24, sources: 24, width: 256, values: 256 };
    let (q, k) = (numbers(s.batch * s.targets * s.width), numbers(s.batch * s.sources * s.width));
    let (mut weights, mut context) = (vec![0.0; s.batch * s.targets * s.sources], vec![0.0; q.len()]);
    let operations = 4.0 * (s.batch * s.targets * s.sources * s.width) as f64;
    row(&mut c, "attention dot B64 T24 S24 D256 forward", 2, Work::Operations(operations), || {
        forward(s, Score::Dot { scale: 1.0 }, &q, &k, &k, None, &mut weights, &mut context).unwrap();
    });
    for (b, t, d, n) in [(32, 64, 256, 4), (32, 128, 512, 8), (8, 512, 512, 8), (1, 4096, 256, 4)] {
        let mut layer = Layer::new(b, t, d, n);
        let operations = layer.operations();
        for threads in [1, 2] {
            set_num_threads(threads).unwrap();
            let name = |kind: &str| format!("multi-head attention B{b} T{t} D{d} N{n} {kind}, {threads} threads");
            row(&mut c, &name("forward"), threads, Work::Operations(operations), || layer.forward());
            row(&mut c, &name("forward+backward"), threads, Work::Operations(3.0 * operations), || {
                layer.forward();
                layer.backward();
            });
        }
    }
}
