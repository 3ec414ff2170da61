//! Attention of an encoder-decoder.

use crate::arrays::{Number, empty, fresh, indices, read, shape, slice, sum_or_fresh, write};
use crate::by_dtype;
use crate::without_gil::without_gil;
use numpy::{PyReadonlyArrayDyn, PyUntypedArray};
use pyo3::prelude::*;
use weft_kernels::attention::{self, Gradients, Score, Sizes};

type Untyped<'a, 'py> = &'a Bound<'py, PyUntypedArray>;
type Lengths<'a, 'py> = Option<&'a PyReadonlyArrayDyn<'py, i64>>;

fn sizes(q: Untyped<'_, '_>, k: Untyped<'_, '_>, v: Untyped<'_, '_>) -> Sizes {
    let (q, k, v) = (shape(q), shape(k), shape(v));
    Sizes { batch: q[0], targets: q[1], sources: k[1], width: q[2], values: v[2] }
}

fn forward<'py, T: Number>(
    py: Python<'py>,
    arrays: [Untyped<'_, 'py>; 3],
    energy: Option<Untyped<'_, 'py>>,
    scale: f64,
    lengths: Lengths<'_, 'py>,
) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    let s = sizes(arrays[0], arrays[1], arrays[2]);
    let (q, k, v) = (read::<T>("query", arrays[0])?, read::<T>("key", arrays[1])?, read::<T>("value", arrays[2])?);
    let (q, k, v) = (slice(py, "query", &q)?, slice(py, "key", &k)?, slice(py, "value", &v)?);
    let energy = energy.map(|e| read::<T>("energy", e)).transpose()?;
    let score = match &energy {
        Some(energy) => Score::Additive { energy: slice(py, "energy", energy)? },
        None => Score::Dot { scale },
    };
    let lengths = lengths.map(|l| indices(py, "lengths", l)).transpose()?;
    let weights = empty::<T>(py, &[s.batch, s.targets, s.sources])?;
    let context = empty::<T>(py, &[s.batch, s.targets, s.values])?;
    let (w, c) = (fresh(&weights), fresh(&context));
    without_gil(py, || attention::forward(s, score, q, k, v, lengths, w, c))?;
    Ok((context.into_any(), weights.into_any()))
}

fn backward<'py, T: Number>(
    py: Python<'py>,
    arrays: [Untyped<'_, 'py>; 3],
    energy: Option<Untyped<'_, 'py>>,
    scale: f64,
    lengths: Lengths<'_, 'py>,
    weights: Untyped<'_, 'py>,
    d_context: Untyped<'_, 'py>,
    d_weights: Option<Untyped<'_, 'py>>,
    wants_values: bool,
    key_sum: Option<Untyped<'_, 'py>>,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let s = sizes(arrays[0], arrays[1], arrays[2]);
    let (q, k, v) = (read::<T>("query", arrays[0])?, read::<T>("key", arrays[1])?, read::<T>("value", arrays[2])?);
    let (q, k, v) = (slice(py, "query", &q)?, slice(py, "key", &k)?, slice(py, "value", &v)?);
    let energy = energy.map(|e| read::<T>("energy", e)).transpose()?;
    let (score, e) = match &energy {
        Some(energy) => (Score::Additive { energy: slice(py, "energy", energy)? }, s.width),
        None => (Score::Dot { scale }, 0),
    };
    let lengths = lengths.map(|l| indices(py, "lengths", l)).transpose()?;
    let (weights, d_context) = (read::<T>("weights", weights)?, read::<T>("d_context", d_context)?);
    let d_weights = d_weights.map(|d| read::<T>("d_weights", d)).transpose()?;
    let (weights, d_context) = (slice(py, "weights", &weights)?, slice(py, "d_context", &d_context)?);
    let d_weights = d_weights.as_ref().map(|d| slice(py, "d_weights", d)).transpose()?;
    let out = [
        empty::<T>(py, &shape(arrays[0]))?,
        empty::<T>(py, &if key_sum.is_none() { shape(arrays[1]) } else { vec![0] })?,
        empty::<T>(py, &if wants_values { shape(arrays[2]) } else { vec![0] })?,
        empty::<T>(py, &[e])?,
    ];
    let adds_to_k = key_sum.is_some();
    let mut sum = key_sum.map(|k| write::<T>("key sum", k)).transpose()?;
    let k_out = sum_or_fresh(py, "key sum", &mut sum, &out[1])?;
    let gradients = Gradients { q: fresh(&out[0]), k: k_out, adds_to_k, v: fresh(&out[2]), energy: fresh(&out[3]) };
    without_gil(py, || attention::backward(s, score, q, k, v, lengths, weights, d_context, d_weights, gradients))?;
    Ok(out.into_iter().map(|a| a.into_any()).collect())
}

/// attention_forward(query [B, T, D], key [B, S, D], value [B, S, E], energy [D] or None, scale, lengths [B] or None)
/// -> context [B, T, E], weights [B, T, S]
#[pyfunction]
#[pyo3(signature = (query, key, value, energy, scale, lengths))]
fn attention_forward<'py>(
    py: Python<'py>,
    query: &Bound<'py, PyUntypedArray>,
    key: &Bound<'py, PyUntypedArray>,
    value: &Bound<'py, PyUntypedArray>,
    energy: Option<&Bound<'py, PyUntypedArray>>,
    scale: f64,
    lengths: Option<PyReadonlyArrayDyn<'py, i64>>,
) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    by_dtype!(query, T => forward::<T>(py, [query, key, value], energy, scale, lengths.as_ref()))
}

/// attention_backward(query, key, value, energy, scale, lengths, weights, d_context, d_weights or None, wants_values, key_sum or None)
/// -> [d query, d key (empty if it was added to key_sum), d value (empty if not wanted), d energy]
#[pyfunction]
#[pyo3(signature = (query, key, value, energy, scale, lengths, weights, d_context, d_weights, wants_values, key_sum))]
fn attention_backward<'py>(
    py: Python<'py>,
    query: &Bound<'py, PyUntypedArray>,
    key: &Bound<'py, PyUntypedArray>,
    value: &Bound<'py, PyUntypedArray>,
    energy: Option<&Bound<'py, PyUntypedArray>>,
    scale: f64,
    lengths: Option<PyReadonlyArrayDyn<'py, i64>>,
    weights: &Bound<'py, PyUntypedArray>,
    d_context: &Bound<'py, PyUntypedArray>,
    d_weights: Option<&Bound<'py, PyUntypedArray>>,
    wants_values: bool,
    key_sum: Option<&Bound<'py, PyUntypedArray>>,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let arrays = [query, key, value];
    by_dtype!(query, T => {
        backward::<T>(py, arrays, energy, scale, lengths.as_ref(), weights, d_context, d_weights, wants_values, key_sum)
    })
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(attention_forward, module)?)?;
    module.add_function(wrap_pyfunction!(attention_backward, module)?)
}
