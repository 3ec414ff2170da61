//! Recurrent layers: packed weights, forward, backward.

use crate::arrays::{Array, Number, empty, fresh, indices, read, shape, slice, sum_or_fresh, write};
use crate::by_dtype;
use crate::errors::named;
use crate::without_gil::without_gil;
use numpy::{PyReadonlyArrayDyn, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;
use std::sync::Mutex;
use weft_kernels::recurrent::{self, Cache, Cell, Gradients, Layout, PackedWeights, Sizes, State, WeightGradients, Weights};

type Untyped<'a, 'py> = &'a Bound<'py, PyUntypedArray>;

/// One direction's weights in panels. Made anew when a parameter's generation changes; never saved.
#[pyclass(frozen, module = "weft._native")]
struct RecurrentWeights(WeightsKind);

enum WeightsKind {
    Single(PackedWeights<f32>),
    Double(PackedWeights<f64>),
}

/// What a forward pass keeps for its backward pass.
#[pyclass(frozen, module = "weft._native")]
struct RecurrentCache(CacheKind);

enum CacheKind {
    Single(Mutex<Cache<f32>>),
    Double(Mutex<Cache<f64>>),
}

/// Which variants hold numbers of this type.
trait Held: Number {
    fn weights(kind: &WeightsKind) -> Option<&PackedWeights<Self>>;
    fn wrap_weights(weights: PackedWeights<Self>) -> WeightsKind;
    fn cache(kind: &CacheKind) -> Option<&Mutex<Cache<Self>>>;
    fn wrap_cache(cache: Cache<Self>) -> CacheKind;
}

macro_rules! held {
    ($t:ty, $variant:ident) => {
        impl Held for $t {
            fn weights(kind: &WeightsKind) -> Option<&PackedWeights<$t>> {
                if let WeightsKind::$variant(weights) = kind { Some(weights) } else { None }
            }
            fn wrap_weights(weights: PackedWeights<$t>) -> WeightsKind {
                WeightsKind::$variant(weights)
            }
            fn cache(kind: &CacheKind) -> Option<&Mutex<Cache<$t>>> {
                if let CacheKind::$variant(cache) = kind { Some(cache) } else { None }
            }
            fn wrap_cache(cache: Cache<$t>) -> CacheKind {
                CacheKind::$variant(Mutex::new(cache))
            }
        }
    };
}
held!(f32, Single);
held!(f64, Double);

/// A cell by its name.
pub fn cell(py: Python<'_>, name: &str) -> PyResult<Cell> {
    Ok(match name {
        "rnn_tanh" => Cell::RnnTanh,
        "rnn_relu" => Cell::RnnRelu,
        "lstm" => Cell::Lstm,
        "gru" => Cell::Gru,
        _ => {
            let text = format!("[recurrent] cell: expected rnn_tanh, rnn_relu, lstm or gru, got '{name}'");
            return Err(named(py, "ConfigError", text));
        }
    })
}

fn pack<T: Held>(
    py: Python<'_>,
    cell: Cell,
    w_ih: Untyped<'_, '_>,
    w_hh: Untyped<'_, '_>,
    biases: Option<(Untyped<'_, '_>, Untyped<'_, '_>)>,
    backward: bool,
) -> PyResult<RecurrentWeights> {
    let sizes = Sizes { input: w_ih.shape()[1], hidden: w_hh.shape()[1] };
    let (input, recurrent) = (read::<T>("weight_ih", w_ih)?, read::<T>("weight_hh", w_hh)?);
    let biases = match biases {
        Some((a, b)) => Some((read::<T>("bias_ih", a)?, read::<T>("bias_hh", b)?)),
        None => None,
    };
    let weights = Weights {
        input: slice(py, "weight_ih", &input)?,
        recurrent: slice(py, "weight_hh", &recurrent)?,
        biases: match &biases {
            Some((a, b)) => Some((slice(py, "bias_ih", a)?, slice(py, "bias_hh", b)?)),
            None => None,
        },
    };
    let packed = without_gil(py, || PackedWeights::new(cell, sizes, weights, backward))?;
    Ok(RecurrentWeights(T::wrap_weights(packed)))
}

#[pymethods]
impl RecurrentWeights {
    /// RecurrentWeights(cell, weight_ih [G·H, I], weight_hh [G·H, H], bias_ih, bias_hh (both or neither), backward)
    #[new]
    #[pyo3(signature = (cell, weight_ih, weight_hh, bias_ih, bias_hh, backward))]
    fn new(
        py: Python<'_>,
        cell: &str,
        weight_ih: &Bound<'_, PyUntypedArray>,
        weight_hh: &Bound<'_, PyUntypedArray>,
        bias_ih: Option<&Bound<'_, PyUntypedArray>>,
        bias_hh: Option<&Bound<'_, PyUntypedArray>>,
        backward: bool,
    ) -> PyResult<Self> {
        let cell = self::cell(py, cell)?;
        by_dtype!(weight_ih, T => pack::<T>(py, cell, weight_ih, weight_hh, bias_ih.zip(bias_hh), backward))
    }

    /// Whether a backward pass can use it.
    #[getter]
    fn has_backward(&self) -> bool {
        match &self.0 {
            WeightsKind::Single(w) => w.has_backward(),
            WeightsKind::Double(w) => w.has_backward(),
        }
    }
}

fn other_dtype(py: Python<'_>) -> PyErr {
    named(py, "DtypeError", "[recurrent] input and weights have different dtypes".into())
}

fn forward<'py, T: Held>(
    py: Python<'py>,
    weights: &RecurrentWeights,
    x: Untyped<'_, 'py>,
    batch_first: bool,
    lengths: Option<&PyReadonlyArrayDyn<'py, i64>>,
    reverse: bool,
    initial: (Option<Untyped<'_, 'py>>, Option<Untyped<'_, 'py>>),
    output: Untyped<'_, 'py>,
    offset: usize,
    training: bool,
) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>, Option<RecurrentCache>)> {
    let packed = T::weights(&weights.0).ok_or_else(|| other_dtype(py))?;
    let size = shape(x);
    let (steps, batch) = if batch_first { (size[1], size[0]) } else { (size[0], size[1]) };
    let (hidden, stride) = (packed.sizes().hidden, shape(output)[2]);
    let x = read::<T>("input", x)?;
    let x = slice(py, "input", &x)?;
    let lengths = lengths.map(|l| indices(py, "lengths", l)).transpose()?;
    let h0 = initial.0.map(|h| read::<T>("h_0", h)).transpose()?;
    let c0 = initial.1.map(|c| read::<T>("c_0", c)).transpose()?;
    let h0 = h0.as_ref().map(|h| slice(py, "h_0", h)).transpose()?;
    let c0 = c0.as_ref().map(|c| slice(py, "c_0", c)).transpose()?;
    let with_c = packed.cell().has_cell_state();
    let (h_n, c_n) = (empty::<T>(py, &[batch, hidden])?, empty::<T>(py, &[if with_c { batch } else { 0 }, hidden])?);
    let mut y = write::<T>("output", output)?;
    let rows = steps * batch;
    let y = y.as_slice_mut().map_err(|_| named(py, "ShapeError", "output: expected a C-contiguous array".into()))?;
    let y = if rows == 0 { &mut [][..] } else { &mut y[offset..offset + (rows - 1) * stride + hidden] };
    let last = State { h: fresh(&h_n), c: fresh(&c_n) };
    let layout = Layout { steps, batch, batch_first, lengths, reverse };
    let cache = without_gil(py, || recurrent::forward(packed, layout, x, (h0, c0), y, stride, last, training))?;
    Ok((h_n.into_any(), c_n.into_any(), cache.map(|c| RecurrentCache(T::wrap_cache(c)))))
}

/// recurrent_forward(weights, x [T, B, I] or [B, T, I], batch_first, lengths, reverse, h_0, c_0, output, offset, training)
/// -> h_n [B, H], c_n ([0, H] without c), cache or None; columns offset..offset+H of output are written
#[pyfunction]
#[pyo3(signature = (weights, x, batch_first, lengths, reverse, h_0, c_0, output, offset, training))]
fn recurrent_forward<'py>(
    py: Python<'py>,
    weights: &RecurrentWeights,
    x: &Bound<'py, PyUntypedArray>,
    batch_first: bool,
    lengths: Option<PyReadonlyArrayDyn<'py, i64>>,
    reverse: bool,
    h_0: Option<&Bound<'py, PyUntypedArray>>,
    c_0: Option<&Bound<'py, PyUntypedArray>>,
    output: &Bound<'py, PyUntypedArray>,
    offset: usize,
    training: bool,
) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>, Option<RecurrentCache>)> {
    let l = lengths.as_ref();
    by_dtype!(x, T => forward::<T>(py, weights, x, batch_first, l, reverse, (h_0, c_0), output, offset, training))
}

fn infer<'py, T: Held>(
    py: Python<'py>,
    layers: &[PyRef<'py, RecurrentWeights>],
    x: Untyped<'_, 'py>,
    batch_first: bool,
    reverse: bool,
    initial: (Option<Untyped<'_, 'py>>, Option<Untyped<'_, 'py>>),
) -> PyResult<[Bound<'py, PyAny>; 3]> {
    let packed = layers.iter().map(|w| T::weights(&w.0).ok_or_else(|| other_dtype(py))).collect::<PyResult<Vec<_>>>()?;
    let Some(first) = packed.first() else {
        return Err(named(py, "ConfigError", "[recurrent] layers: expected at least one".into()));
    };
    let (size, hidden, with_c) = (x.shape(), first.sizes().hidden, first.cell().has_cell_state());
    let (steps, batch) = if batch_first { (size[1], size[0]) } else { (size[0], size[1]) };
    let layout = Layout { steps, batch, batch_first, lengths: None, reverse };
    let x = read::<T>("input", x)?;
    let mut below = slice(py, "input", &x)?;
    let h0 = initial.0.map(|h| read::<T>("h_0", h)).transpose()?;
    let c0 = initial.1.map(|c| read::<T>("c_0", c)).transpose()?;
    let h0 = h0.as_ref().map(|h| slice(py, "h_0", h)).transpose()?;
    let c0 = c0.as_ref().map(|c| slice(py, "c_0", c)).transpose()?;
    let state = batch * hidden;
    let h_n = empty::<T>(py, &[packed.len(), batch, hidden])?;
    let c_n = empty::<T>(py, &[if with_c { packed.len() } else { 0 }, batch, hidden])?;
    let outputs = packed.iter().map(|_| empty::<T>(py, &[size[0], size[1], hidden])).collect::<PyResult<Vec<_>>>()?;
    let (h, c) = (fresh(&h_n), fresh(&c_n));
    let ys: Vec<&mut [T]> = outputs.iter().map(fresh).collect();
    without_gil(py, || {
        for (i, (packed, y)) in packed.iter().zip(ys).enumerate() {
            let span = i * state..(i + 1) * state;
            let last = State { h: &mut h[span.clone()], c: if with_c { &mut c[span.clone()] } else { &mut [] } };
            let initial = (h0.map(|h| &h[span.clone()]), c0.map(|c| &c[span.clone()]));
            recurrent::forward(packed, layout, below, initial, y, hidden, last, false)?;
            below = y;
        }
        Ok(())
    })?;
    let y = outputs.into_iter().next_back().map_or_else(|| py.None().into_bound(py), Bound::into_any);
    Ok([y, h_n.into_any(), c_n.into_any()])
}

/// recurrent_infer(weights of each layer, x [T, B, I] or [B, T, I], batch_first, reverse, h_0, c_0 [layers, B, H])
/// -> [y, h_n, c_n ([0, B, H] without c)]: layers of one direction on top of each other, nothing kept for a backward pass
#[pyfunction]
#[pyo3(signature = (weights, x, batch_first, reverse, h_0, c_0))]
fn recurrent_infer<'py>(
    py: Python<'py>,
    weights: Vec<PyRef<'py, RecurrentWeights>>,
    x: &Bound<'py, PyUntypedArray>,
    batch_first: bool,
    reverse: bool,
    h_0: Option<&Bound<'py, PyUntypedArray>>,
    c_0: Option<&Bound<'py, PyUntypedArray>>,
) -> PyResult<[Bound<'py, PyAny>; 3]> {
    by_dtype!(x, T => infer::<T>(py, &weights, x, batch_first, reverse, (h_0, c_0)))
}

fn step<T: Held>(
    py: Python<'_>,
    weights: &RecurrentWeights,
    x: Untyped<'_, '_>,
    h: Untyped<'_, '_>,
    c: Untyped<'_, '_>,
) -> PyResult<()> {
    let packed = T::weights(&weights.0).ok_or_else(|| other_dtype(py))?;
    let batch = x.shape()[0];
    let x = read::<T>("input", x)?;
    let x = slice(py, "input", &x)?;
    let (mut h, mut c) = (write::<T>("h", h)?, write::<T>("c", c)?);
    let not_contiguous = |_| named(py, "ShapeError", "state: expected a C-contiguous array".into());
    let (h, c) = (h.as_slice_mut().map_err(not_contiguous)?, c.as_slice_mut().map_err(not_contiguous)?);
    without_gil(py, || recurrent::step(packed, batch, x, h, c))
}

/// recurrent_step(weights, x [B, I], h [B, H], c [B, H]): one step in place; c is not read without a cell state
#[pyfunction]
fn recurrent_step(
    py: Python<'_>,
    weights: &RecurrentWeights,
    x: &Bound<'_, PyUntypedArray>,
    h: &Bound<'_, PyUntypedArray>,
    c: &Bound<'_, PyUntypedArray>,
) -> PyResult<()> {
    by_dtype!(x, T => step::<T>(py, weights, x, h, c))
}

/// New arrays as the gradients of weight_ih, weight_hh, bias_ih and bias_hh.
fn parameters_of<'a, T: Held>(out: &'a [Array<'_, T>; 4]) -> WeightGradients<'a, T> {
    let [weight_ih, weight_hh, bias_ih, bias_hh] = out.each_ref().map(fresh);
    WeightGradients { weight_ih, weight_hh, bias_ih, bias_hh }
}

fn backward<'py, T: Held>(
    py: Python<'py>,
    weights: &RecurrentWeights,
    cache: &RecurrentCache,
    x: Untyped<'_, 'py>,
    y: Untyped<'_, 'py>,
    dy: Option<Untyped<'_, 'py>>,
    offset: usize,
    last: (Option<Untyped<'_, 'py>>, Option<Untyped<'_, 'py>>),
    batch: usize,
    with_bias: bool,
    wants: (bool, bool),
    x_sum: Option<Untyped<'_, 'py>>,
    retain: bool,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let packed = T::weights(&weights.0).ok_or_else(|| other_dtype(py))?;
    let cache = T::cache(&cache.0).ok_or_else(|| other_dtype(py))?;
    let (Sizes { input, hidden }, size) = (packed.sizes(), shape(x));
    let rows = size[0] * size[1];
    let stride = shape(y)[2];
    if let Some(dy) = dy.filter(|dy| shape(dy) != shape(y)) {
        let text = format!("[recurrent] output gradient: expected shape {:?}, got {:?}", shape(y), shape(dy));
        return Err(named(py, "ShapeError", text));
    }
    let x = read::<T>("input", x)?;
    let x = slice(py, "input", &x)?;
    let dy = dy.map(|d| read::<T>("dy", d)).transpose()?;
    let y = read::<T>("output", y)?;
    let columns = if rows > 0 { offset..offset + (rows - 1) * stride + hidden } else { 0..0 };
    let y = &slice(py, "output", &y)?[columns.clone()];
    let dy = match &dy {
        Some(d) => &slice(py, "dy", d)?[columns],
        None => &[],
    };
    let dh = last.0.map(|h| read::<T>("dh_n", h)).transpose()?;
    let dc = last.1.map(|c| read::<T>("dc_n", c)).transpose()?;
    let dh = dh.as_ref().map(|h| slice(py, "dh_n", h)).transpose()?;
    let dc = dc.as_ref().map(|c| slice(py, "dc_n", c)).transpose()?;
    let gates = packed.cell().gates() * hidden;
    let b = if with_bias { gates } else { 0 };
    let c = if packed.cell().has_cell_state() { batch } else { 0 };
    let no = |wanted: bool, size: Vec<usize>| if wanted { size } else { vec![0] };
    let out = [
        empty::<T>(py, &no(wants.0 && x_sum.is_none(), size))?,
        empty::<T>(py, &[batch, hidden])?,
        empty::<T>(py, &[c, hidden])?,
        empty::<T>(py, &no(wants.1, vec![gates, input]))?,
        empty::<T>(py, &no(wants.1, vec![gates, hidden]))?,
        empty::<T>(py, &no(wants.1, vec![b]))?,
        empty::<T>(py, &no(wants.1, vec![b]))?,
    ];
    let [x_out, h0, c0, parameters @ ..] = &out;
    let adds_to_x = x_sum.is_some();
    let mut sum = x_sum.map(|d| write::<T>("input gradient", d)).transpose()?;
    let x_out = sum_or_fresh(py, "input gradient", &mut sum, x_out)?;
    let gradients = Gradients { x: x_out, adds_to_x, h0: fresh(h0), c0: fresh(c0), weights: parameters_of(parameters) };
    without_gil(py, || {
        let mut cache = cache.lock().unwrap_or_else(|e| e.into_inner());
        recurrent::backward(packed, &mut cache, x, y, dy, stride, (dh, dc), retain, gradients)
    })?;
    Ok(out.into_iter().map(|a| a.into_any()).collect())
}

/// recurrent_backward(weights, cache, x, y, dy or None, offset, dh_n, dc_n, batch, with_bias, wants_x, wants_weights, x_sum, retain)
/// -> [dx, dh_0, dc_0, dweight_ih, dweight_hh, dbias_ih, dbias_hh], empty where not wanted; dx is added to x_sum instead if that is given
#[pyfunction]
#[pyo3(signature = (weights, cache, x, y, dy, offset, dh_n, dc_n, batch, with_bias, wants_x, wants_weights, x_sum, retain))]
fn recurrent_backward<'py>(
    py: Python<'py>,
    weights: &RecurrentWeights,
    cache: &RecurrentCache,
    x: &Bound<'py, PyUntypedArray>,
    y: &Bound<'py, PyUntypedArray>,
    dy: Option<&Bound<'py, PyUntypedArray>>,
    offset: usize,
    dh_n: Option<&Bound<'py, PyUntypedArray>>,
    dc_n: Option<&Bound<'py, PyUntypedArray>>,
    batch: usize,
    with_bias: bool,
    wants_x: bool,
    wants_weights: bool,
    x_sum: Option<&Bound<'py, PyUntypedArray>>,
    retain: bool,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let wants = (wants_x, wants_weights);
    by_dtype!(x, T => {
        backward::<T>(py, weights, cache, x, y, dy, offset, (dh_n, dc_n), batch, with_bias, wants, x_sum, retain)
    })
}

fn weight_gradients<'py, T: Held>(
    py: Python<'py>,
    weights: &RecurrentWeights,
    caches: &[PyRef<'py, RecurrentCache>],
    xs: &[Bound<'py, PyUntypedArray>],
    with_bias: bool,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let packed = T::weights(&weights.0).ok_or_else(|| other_dtype(py))?;
    let Sizes { input, hidden } = packed.sizes();
    let gates = packed.cell().gates() * hidden;
    let mut locked = Vec::new();
    for cache in caches {
        let cache = T::cache(&cache.0).ok_or_else(|| other_dtype(py))?;
        // Not `lock`, which would wait for itself where a pass comes twice.
        locked.push(cache.try_lock().map_err(|_| {
            named(py, "ConfigError", "[recurrent] weight gradients: expected each pass once, and none that runs".into())
        })?);
    }
    let arrays = xs.iter().map(|x| read::<T>("input", x)).collect::<PyResult<Vec<_>>>()?;
    let xs = arrays.iter().map(|x| slice(py, "input", x)).collect::<PyResult<Vec<_>>>()?;
    let b = if with_bias { gates } else { 0 };
    let out = [empty::<T>(py, &[gates, input])?, empty::<T>(py, &[gates, hidden])?, empty::<T>(py, &[b])?, empty::<T>(py, &[b])?];
    let to = parameters_of(&out);
    let caches: Vec<&Cache<T>> = locked.iter().map(|guard| &**guard).collect();
    without_gil(py, || recurrent::weight_gradients(packed, &caches, &xs, to))?;
    Ok(out.into_iter().map(|a| a.into_any()).collect())
}

/// recurrent_weight_gradients(weights, caches, xs, with_bias) -> [dweight_ih, dweight_hh, dbias_ih, dbias_hh] of passes of one step that
/// went backward without them
#[pyfunction]
#[pyo3(signature = (weights, caches, xs, with_bias))]
fn recurrent_weight_gradients<'py>(
    py: Python<'py>,
    weights: &RecurrentWeights,
    caches: Vec<PyRef<'py, RecurrentCache>>,
    xs: Vec<Bound<'py, PyUntypedArray>>,
    with_bias: bool,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let Some(first) = xs.first() else {
        return Err(named(py, "ShapeError", "[recurrent] weight gradients: expected at least one pass".into()));
    };
    by_dtype!(first, T => weight_gradients::<T>(py, weights, &caches, &xs, with_bias))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<RecurrentWeights>()?;
    module.add_class::<RecurrentCache>()?;
    module.add_function(wrap_pyfunction!(recurrent_forward, module)?)?;
    module.add_function(wrap_pyfunction!(recurrent_infer, module)?)?;
    module.add_function(wrap_pyfunction!(recurrent_step, module)?)?;
    module.add_function(wrap_pyfunction!(recurrent_backward, module)?)?;
    module.add_function(wrap_pyfunction!(recurrent_weight_gradients, module)?)
}
