//! Recurrent layers with options.

use crate::arrays::{Number, empty, fresh, indices, read, shape, slice, sum_or_fresh, write};
use crate::by_dtype;
use crate::errors::named;
use crate::recurrent::cell;
use crate::without_gil::without_gil;
use numpy::{PyReadonlyArrayDyn, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;
use std::sync::Mutex;
use weft_kernels::random::Stream;
use weft_kernels::recurrent::optional::{self, Cache, Gradients, Inputs, Kind, PackedParameters, Parameters};
use weft_kernels::recurrent::{Layout, Sizes, State};

type Untyped<'py> = Bound<'py, PyUntypedArray>;
type Maybe<'a, 'py> = Option<&'a Untyped<'py>>;

/// One direction's parameters in panels. Made anew when a parameter's generation changes; never saved.
#[pyclass(frozen, module = "weft._native")]
struct OptionalWeights(WeightsKind);

enum WeightsKind {
    Single(PackedParameters<f32>),
    Double(PackedParameters<f64>),
}

/// What a forward pass keeps for its backward pass, and shows.
#[pyclass(frozen, module = "weft._native")]
struct OptionalCache(CacheKind);

enum CacheKind {
    Single(Mutex<Cache<f32>>),
    Double(Mutex<Cache<f64>>),
}

/// Which variants hold numbers of this type.
trait Held: Number {
    fn weights(kind: &WeightsKind) -> Option<&PackedParameters<Self>>;
    fn wrap_weights(weights: PackedParameters<Self>) -> WeightsKind;
    fn cache(kind: &CacheKind) -> Option<&Mutex<Cache<Self>>>;
    fn wrap_cache(cache: Cache<Self>) -> CacheKind;
}

macro_rules! held {
    ($t:ty, $variant:ident) => {
        impl Held for $t {
            fn weights(kind: &WeightsKind) -> Option<&PackedParameters<$t>> {
                if let WeightsKind::$variant(weights) = kind { Some(weights) } else { None }
            }
            fn wrap_weights(weights: PackedParameters<$t>) -> WeightsKind {
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

fn other_dtype(py: Python<'_>) -> PyErr {
    named(py, "DtypeError", "[recurrent] input and weights have different dtypes".into())
}

/// Borrowed optional arrays; absent ones are empty slices.
struct Borrowed<'py, T: Number>(Option<PyReadonlyArrayDyn<'py, T>>, &'static str);

impl<'py, T: Number> Borrowed<'py, T> {
    fn new(name: &'static str, array: Maybe<'_, 'py>) -> PyResult<Self> {
        Ok(Self(array.map(|a| read::<T>(name, a)).transpose()?, name))
    }
    fn get(&self, py: Python<'_>) -> PyResult<&[T]> {
        self.0.as_ref().map_or(Ok(&[]), |a| slice(py, self.1, a))
    }
    fn maybe(&self, py: Python<'_>) -> PyResult<Option<&[T]>> {
        self.0.as_ref().map(|a| slice(py, self.1, a)).transpose()
    }
}

const NAMES: [&str; 9] =
    ["weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr", "peephole", "norm_ih", "norm_hh", "norm_c"];

fn pack<T: Held>(py: Python<'_>, kind: Kind, arrays: [Maybe<'_, '_>; 9], backward: bool) -> PyResult<OptionalWeights> {
    let mut borrowed = Vec::new();
    for (name, array) in NAMES.into_iter().zip(arrays) {
        borrowed.push(Borrowed::<T>::new(name, array)?);
    }
    let mut slices = [&[][..]; 9];
    for (to, from) in slices.iter_mut().zip(&borrowed) {
        *to = from.get(py)?;
    }
    let [weight_ih, weight_hh, bias_ih, bias_hh, projection, peephole, norm_ih, norm_hh, norm_c] = slices;
    let of = Parameters { weight_ih, weight_hh, bias_ih, bias_hh, projection, peephole, norm_ih, norm_hh, norm_c };
    let packed = without_gil(py, || PackedParameters::new(kind, of, backward))?;
    Ok(OptionalWeights(T::wrap_weights(packed)))
}

#[pymethods]
impl OptionalWeights {
    /// OptionalWeights(cell, coupled, reset_before, hidden, parameters, backward): nine arrays, None for those that the cell lacks:
    /// weight_ih, weight_hh, bias_ih, bias_hh, weight_hr, peephole, norm_ih, norm_hh, norm_c
    #[new]
    fn new(
        py: Python<'_>,
        cell: &str,
        coupled: bool,
        reset_before: bool,
        hidden: usize,
        parameters: [Option<Untyped<'_>>; 9],
        backward: bool,
    ) -> PyResult<Self> {
        let cell = self::cell(py, cell)?;
        let arrays = parameters.each_ref().map(Option::as_ref);
        let (Some(w_ih), Some(w_hh)) = (arrays[0], arrays[1]) else {
            return Err(named(py, "ShapeError", "[recurrent] weight_ih and weight_hh are needed".into()));
        };
        let sizes = Sizes { input: w_ih.shape()[1], hidden };
        let kind = Kind { cell, coupled, reset_before, sizes, state: w_hh.shape()[1] };
        by_dtype!(w_ih, T => pack::<T>(py, kind, arrays, backward))
    }
}

fn show<T: Held>(py: Python<'_>, cache: &OptionalCache, slot: Option<usize>, to: &Untyped<'_>) -> PyResult<()> {
    let cache = T::cache(&cache.0).ok_or_else(|| other_dtype(py))?;
    let mut to = write::<T>("gate", to)?;
    let to = to.as_slice_mut().map_err(|_| named(py, "ShapeError", "gate: expected a C-contiguous array".into()))?;
    without_gil(py, || cache.lock().unwrap_or_else(|e| e.into_inner()).show(slot, to))
}

#[pymethods]
impl OptionalCache {
    /// show(slot or None for c, out [T, B, H] or [B, T, H]): writes a gate's activations
    #[pyo3(signature = (slot, out))]
    fn show(&self, py: Python<'_>, slot: Option<usize>, out: &Untyped<'_>) -> PyResult<()> {
        by_dtype!(out, T => show::<T>(py, self, slot, out))
    }
}

/// (key, stream) of h and of c, and the first step.
type Streams = ((u64, u64), (u64, u64), usize);

fn forward<'py, T: Held>(
    py: Python<'py>,
    weights: &OptionalWeights,
    x: &Untyped<'py>,
    batch_first: bool,
    lengths: Option<&PyReadonlyArrayDyn<'py, i64>>,
    reverse: bool,
    [h_0, c_0, mask]: [Maybe<'_, 'py>; 3],
    zoneout: [f64; 2],
    streams: Option<Streams>,
    output: &Untyped<'py>,
    offset: usize,
) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>, OptionalCache)> {
    let packed = T::weights(&weights.0).ok_or_else(|| other_dtype(py))?;
    let kind = packed.kind();
    let size = shape(x);
    let (steps, batch) = if batch_first { (size[1], size[0]) } else { (size[0], size[1]) };
    let stride = shape(output)[2];
    let x = read::<T>("input", x)?;
    let (h_0, c_0) = (Borrowed::<T>::new("h_0", h_0)?, Borrowed::<T>::new("c_0", c_0)?);
    let mask = Borrowed::<T>::new("mask", mask)?;
    let c = if kind.cell.has_cell_state() { batch } else { 0 };
    let (h_n, c_n) = (empty::<T>(py, &[batch, kind.state])?, empty::<T>(py, &[c, kind.sizes.hidden])?);
    let mut y = write::<T>("output", output)?;
    let rows = steps * batch;
    let y = y.as_slice_mut().map_err(|_| named(py, "ShapeError", "output: expected a C-contiguous array".into()))?;
    let y = if rows == 0 { &mut [][..] } else { &mut y[offset..offset + (rows - 1) * stride + kind.state] };
    let last = State { h: fresh(&h_n), c: fresh(&c_n) };
    let lengths = lengths.map(|l| indices(py, "lengths", l)).transpose()?;
    let with = Inputs {
        layout: Layout { steps, batch, batch_first, lengths, reverse },
        x: slice(py, "input", &x)?,
        h_0: h_0.maybe(py)?,
        c_0: c_0.maybe(py)?,
        mask: mask.get(py)?,
        zoneout,
        streams: streams.map(|(h, c, step)| ([h, c].map(|(key, stream)| Stream { key, stream }), step)),
    };
    let cache = without_gil(py, || optional::forward(packed, with, y, stride, last))?;
    Ok((h_n.into_any(), c_n.into_any(), OptionalCache(T::wrap_cache(cache))))
}

/// optional_forward(weights, x [T, B, I] or [B, T, I], batch_first, lengths, reverse, h_0 [B, P], c_0 [B, H], mask [B, P], (zoneout of h,
/// of c), ((key, stream) of h, of c, first step) in training, output, offset) -> h_n, c_n ([0, H] without c), cache
#[pyfunction]
#[pyo3(signature = (weights, x, batch_first, lengths, reverse, h_0, c_0, mask, zoneout, streams, output, offset))]
fn optional_forward<'py>(
    py: Python<'py>,
    weights: &OptionalWeights,
    x: &Untyped<'py>,
    batch_first: bool,
    lengths: Option<PyReadonlyArrayDyn<'py, i64>>,
    reverse: bool,
    h_0: Maybe<'_, 'py>,
    c_0: Maybe<'_, 'py>,
    mask: Maybe<'_, 'py>,
    zoneout: (f64, f64),
    streams: Option<Streams>,
    output: &Untyped<'py>,
    offset: usize,
) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>, OptionalCache)> {
    let (l, zoneout) = (lengths.as_ref(), [zoneout.0, zoneout.1]);
    by_dtype!(x, T => forward::<T>(py, weights, x, batch_first, l, reverse, [h_0, c_0, mask], zoneout, streams, output, offset))
}

fn backward<'py, T: Held>(
    py: Python<'py>,
    weights: &OptionalWeights,
    cache: &OptionalCache,
    x: &Untyped<'py>,
    y: &Untyped<'py>,
    dy: Maybe<'_, 'py>,
    offset: usize,
    [dh, dc]: [Maybe<'_, 'py>; 2],
    batch: usize,
    sizes: [Vec<usize>; 9],
    wants_x: bool,
    x_sum: Maybe<'_, 'py>,
    retain: bool,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let packed = T::weights(&weights.0).ok_or_else(|| other_dtype(py))?;
    let cache = T::cache(&cache.0).ok_or_else(|| other_dtype(py))?;
    let (kind, size) = (packed.kind(), shape(x));
    let rows = size[0] * size[1];
    let stride = shape(y)[2];
    if let Some(dy) = dy.filter(|dy| shape(dy) != shape(y)) {
        let text = format!("[recurrent] output gradient: expected shape {:?}, got {:?}", shape(y), shape(dy));
        return Err(named(py, "ShapeError", text));
    }
    let x = read::<T>("input", x)?;
    let x = slice(py, "input", &x)?;
    let (y, dy) = (read::<T>("output", y)?, Borrowed::<T>::new("dy", dy)?);
    let columns = if rows > 0 { offset..offset + (rows - 1) * stride + kind.state } else { 0..0 };
    let y = &slice(py, "output", &y)?[columns.clone()];
    let dy = dy.maybe(py)?.map_or(&[][..], |d| &d[columns]);
    let (dh, dc) = (Borrowed::<T>::new("dh_n", dh)?, Borrowed::<T>::new("dc_n", dc)?);
    let (dh, dc) = (dh.maybe(py)?, dc.maybe(py)?);
    let c = if kind.cell.has_cell_state() { batch } else { 0 };
    let mut out = vec![
        empty::<T>(py, &if wants_x && x_sum.is_none() { size } else { vec![0] })?,
        empty::<T>(py, &[batch, kind.state])?,
        empty::<T>(py, &[c, kind.sizes.hidden])?,
    ];
    for size in sizes {
        out.push(empty::<T>(py, &size)?);
    }
    let adds_to_x = x_sum.is_some();
    let mut sum = x_sum.map(|d| write::<T>("input gradient", d)).transpose()?;
    let gradients = Gradients {
        x: sum_or_fresh(py, "input gradient", &mut sum, &out[0])?,
        adds_to_x,
        h0: fresh(&out[1]),
        c0: fresh(&out[2]),
        weight_ih: fresh(&out[3]),
        weight_hh: fresh(&out[4]),
        bias_ih: fresh(&out[5]),
        bias_hh: fresh(&out[6]),
        projection: fresh(&out[7]),
        peephole: fresh(&out[8]),
        norm_ih: fresh(&out[9]),
        norm_hh: fresh(&out[10]),
        norm_c: fresh(&out[11]),
    };
    without_gil(py, || {
        let mut cache = cache.lock().unwrap_or_else(|e| e.into_inner());
        optional::backward(packed, &mut cache, x, y, dy, stride, (dh, dc), retain, gradients)
    })?;
    Ok(out.into_iter().map(|a| a.into_any()).collect())
}

/// optional_backward(weights, cache, x, y, dy or None, offset, dh_n, dc_n, batch, shapes of the nine parameters ([0] where there is none,
/// or none is wanted), wants_x, x_sum, retain) -> [dx, dh_0, dc_0, …nine gradients], empty where not wanted; dx is added to x_sum instead
/// if that is given
#[pyfunction]
#[pyo3(signature = (weights, cache, x, y, dy, offset, dh_n, dc_n, batch, shapes, wants_x, x_sum, retain))]
fn optional_backward<'py>(
    py: Python<'py>,
    weights: &OptionalWeights,
    cache: &OptionalCache,
    x: &Untyped<'py>,
    y: &Untyped<'py>,
    dy: Maybe<'_, 'py>,
    offset: usize,
    dh_n: Maybe<'_, 'py>,
    dc_n: Maybe<'_, 'py>,
    batch: usize,
    shapes: [Vec<usize>; 9],
    wants_x: bool,
    x_sum: Maybe<'_, 'py>,
    retain: bool,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    by_dtype!(x, T => backward::<T>(py, weights, cache, x, y, dy, offset, [dh_n, dc_n], batch, shapes, wants_x, x_sum, retain))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<OptionalWeights>()?;
    module.add_class::<OptionalCache>()?;
    module.add_function(wrap_pyfunction!(optional_forward, module)?)?;
    module.add_function(wrap_pyfunction!(optional_backward, module)?)
}
