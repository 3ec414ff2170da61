//! A Transformer's layers for one token a row.

use crate::activation::single;
use crate::arrays::{Number, empty, fresh, indices, read, slice};
use crate::attention_heads::{Pool, view};
use crate::by_dtype;
use crate::errors::named;
use crate::matmul::{Held, PackedMatrix};
use crate::without_gil::without_gil;
use numpy::{PyReadonlyArrayDyn, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;
use weft_kernels::transformer::{self, Gain, Layer, Past, Projection, Sources, Stack};

type Untyped = Py<PyUntypedArray>;
type Indices<'py> = PyReadonlyArrayDyn<'py, i64>;
/// Keys and values of a layer.
type Both<'py> = [Bound<'py, PyUntypedArray>; 2];

/// A weight in panels [I, O], and its bias [O].
#[derive(FromPyObject)]
struct Product(Py<PackedMatrix>, Option<Untyped>);

/// A layer norm's weight and bias [E], and its epsilon.
#[derive(FromPyObject)]
struct Normed(Option<Untyped>, Option<Untyped>, f64);

/// Queries, keys and values in one, and their output; queries to the source, and their output; the feed-forward net, and its activation; norms.
#[derive(FromPyObject)]
struct Parameters([Product; 2], Option<[Product; 2]>, [Product; 2], Option<String>, Vec<Normed>);

impl Parameters {
    fn products(&self) -> impl Iterator<Item = &Product> {
        self.0.iter().chain(self.1.iter().flatten()).chain(&self.2)
    }
}

/// The parameters of layers that stay as they are, and of the norm behind them.
#[pyclass(frozen, module = "weft._native")]
struct TransformerLayers {
    layers: Vec<Parameters>,
    last: Option<Normed>,
    norm_first: bool,
    heads: usize,
    scale: f64,
}

#[pymethods]
impl TransformerLayers {
    /// TransformerLayers(layers, last norm or None, norm_first, heads, scale); a layer is (two products, two for the source or None, two of the
    /// feed-forward net, activation or None, norms), a product (PackedMatrix, bias or None), a norm (weight or None, bias or None, eps)
    #[new]
    #[pyo3(signature = (layers, last, norm_first, heads, scale))]
    fn new(layers: Vec<Parameters>, last: Option<Normed>, norm_first: bool, heads: usize, scale: f64) -> Self {
        Self { layers, last, norm_first, heads, scale }
    }
}

impl TransformerLayers {
    /// Biases of products, weights and biases of norms, in the order in which `stack` takes them.
    fn arrays<'py, T: Number>(&self, py: Python<'py>) -> PyResult<Vec<Option<PyReadonlyArrayDyn<'py, T>>>> {
        let norms = self.layers.iter().flat_map(|l| &l.4).chain(&self.last).flat_map(|n| [&n.0, &n.1]);
        let all = self.layers.iter().flat_map(|l| l.products()).map(|p| &p.1).chain(norms);
        all.map(|a| a.as_ref().map(|a| read::<T>("parameter", a.bind(py))).transpose()).collect()
    }

    fn stack<'a, T: Held>(&'a self, py: Python<'_>, arrays: &'a [Option<PyReadonlyArrayDyn<'_, T>>]) -> PyResult<Stack<'a, T>> {
        let numbers = |a: &'a Option<_>| a.as_ref().map_or(Ok(&[][..]), |a| slice(py, "parameter", a));
        let (biases, of_norms) = arrays.split_at(self.layers.iter().map(|l| l.products().count()).sum());
        let (mut biases, mut of_norms) = (biases.iter(), of_norms.iter());
        let mut product = |of: &'a Product| {
            let weight = of.0.get().of::<T>(py, "transformer")?;
            PyResult::Ok(Projection { weight, bias: numbers(biases.next().expect("one for each product"))? })
        };
        let mut norm = |of: &Normed| {
            let mut next = || numbers(of_norms.next().expect("two for each norm"));
            PyResult::Ok(Gain { gain: next()?, shift: next()?, epsilon: of.2 })
        };
        let mut layers = Vec::with_capacity(self.layers.len());
        for Parameters(own, source, feed, activation, norms) in &self.layers {
            layers.push(Layer {
                own: [product(&own[0])?, product(&own[1])?],
                source: source.as_ref().map(|[a, b]| PyResult::Ok([product(a)?, product(b)?])).transpose()?,
                feed: [product(&feed[0])?, product(&feed[1])?],
                activation: activation.as_deref().map(|name| single(py, name)).transpose()?,
                norms: norms.iter().map(&mut norm).collect::<PyResult<_>>()?,
            });
        }
        let last = self.last.as_ref().map(norm).transpose()?;
        Ok(Stack { layers, last, norm_first: self.norm_first, heads: self.heads, scale: self.scale })
    }
}

/// Where rows stand in a cache: table [R, most], and how many positions they have with the new one [R].
#[derive(FromPyObject)]
struct Places<'py>(Indices<'py>, Indices<'py>);

/// What rows look at: keys and values [B, S, heads, D] of each layer, lengths [B], the source of each row [R], and whether weights are asked for.
#[derive(FromPyObject)]
struct Looked<'py>(Vec<Both<'py>>, Indices<'py>, Indices<'py>, bool);

fn step<'py, T: Held>(
    py: Python<'py>,
    layers: &TransformerLayers,
    x: &Bound<'py, PyUntypedArray>,
    pools: &[Both<'py>],
    places: &Places<'py>,
    looked: Option<&Looked<'py>>,
) -> PyResult<(Bound<'py, PyAny>, Option<Bound<'py, PyAny>>)> {
    let arrays = layers.arrays::<T>(py)?;
    let stack = layers.stack::<T>(py, &arrays)?;
    let &[_, width] = x.shape() else {
        return Err(named(py, "ShapeError", format!("[transformer] input: expected [R, E], got {:?}", x.shape())));
    };
    let input = read::<T>("input", x)?;
    let x = slice(py, "input", &input)?;
    let mut pools = pools.iter().map(|[keys, values]| Pool::<T>::of(keys, values)).collect::<PyResult<Vec<_>>>()?;
    let past = Past {
        pages: pools.iter_mut().map(|pool| pool.pages(py)).collect::<PyResult<_>>()?,
        table: indices(py, "table", &places.0)?,
        ends: indices(py, "ends", &places.1)?,
    };
    let rows = past.ends.len();
    let sources = looked.map(|looked| sources::<T>(py, looked, layers.heads, width)).transpose()?;
    let longest = sources.as_ref().map_or(0, |s| s.longest);
    let y = empty::<T>(py, &[rows, width])?;
    let weights = looked.filter(|l| l.3).map(|_| empty::<T>(py, &[rows, longest])).transpose()?;
    let (out, seen) = (fresh(&y), weights.as_ref().map_or(&mut [][..], fresh));
    without_gil(py, || transformer::step(&stack, past, sources, x, out, seen))?;
    Ok((y.into_any(), weights.map(Bound::into_any)))
}

fn sources<'a, T: Number>(py: Python<'_>, looked: &'a Looked<'_>, heads: usize, width: usize) -> PyResult<Sources<'a, T>> {
    let lengths = indices(py, "lengths", &looked.1)?;
    let longest = looked.0.first().map_or(0, |[keys, _]| keys.shape().get(1).copied().unwrap_or(0));
    let expected = [lengths.len(), longest, heads, width.checked_div(heads).unwrap_or(0)];
    let mut memories = Vec::with_capacity(looked.0.len());
    for [keys, values] in &looked.0 {
        for array in [keys, values] {
            if array.shape() != expected {
                let text = format!("[transformer] memory: expected shape {expected:?}, got {:?}", array.shape());
                return Err(named(py, "ShapeError", text));
            }
        }
        memories.push([view("keys", keys)?, view("values", values)?]);
    }
    Ok(Sources { memories, longest, lengths, rows: indices(py, "rows", &looked.2)? })
}

/// transformer_step(layers, x [R, E], [keys and values of each layer's cache], places, sources or None) -> features [R, E], and weights [R, S] of
/// the last layer over the sources, or None; the caches are written
#[pyfunction]
#[pyo3(signature = (layers, x, caches, places, sources))]
fn transformer_step<'py>(
    py: Python<'py>,
    layers: &TransformerLayers,
    x: &Bound<'py, PyUntypedArray>,
    caches: Vec<Both<'py>>,
    places: Places<'py>,
    sources: Option<Looked<'py>>,
) -> PyResult<(Bound<'py, PyAny>, Option<Bound<'py, PyAny>>)> {
    by_dtype!(x, T => step::<T>(py, layers, x, &caches, &places, sources.as_ref()))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<TransformerLayers>()?;
    module.add_function(wrap_pyfunction!(transformer_step, module)?)
}
