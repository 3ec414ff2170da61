//! Layer norm and RMS norm.

use crate::arrays::{Number, empty, fresh, read, shape, slice};
use crate::by_dtype;
use crate::without_gil::without_gil;
use numpy::{PyReadonlyArrayDyn, PyUntypedArray};
use pyo3::prelude::*;
use weft_kernels::normalization::{self, Norm, Rows};

type Untyped<'a, 'py> = &'a Bound<'py, PyUntypedArray>;
type Optional<'a, 'py> = Option<&'a Bound<'py, PyUntypedArray>>;
type Any<'py> = Bound<'py, PyAny>;

fn norm(rms: bool) -> Norm {
    if rms { Norm::Rms } else { Norm::Layer }
}

fn borrow<'py, T: Number>(name: &str, array: Optional<'_, 'py>) -> PyResult<Option<PyReadonlyArrayDyn<'py, T>>> {
    array.map(|a| read::<T>(name, a)).transpose()
}

fn numbers<'a, T: Number>(py: Python<'_>, name: &str, array: &'a Option<PyReadonlyArrayDyn<'_, T>>) -> PyResult<&'a [T]> {
    array.as_ref().map_or(Ok(&[][..]), |a| slice(py, name, a))
}

fn forward<'py, T: Number>(
    py: Python<'py>,
    rms: bool,
    x: Untyped<'_, 'py>,
    residual: Optional<'_, 'py>,
    weight: Optional<'_, 'py>,
    bias: Optional<'_, 'py>,
    epsilon: f64,
) -> PyResult<[Any<'py>; 4]> {
    let size = shape(x);
    let x = read::<T>("input", x)?;
    let (residual, weight, bias) = (borrow("residual", residual)?, borrow("weight", weight)?, borrow("bias", bias)?);
    let (gain, shift, more) = (numbers(py, "weight", &weight)?, numbers(py, "bias", &bias)?, numbers(py, "residual", &residual)?);
    let of = Rows { norm: norm(rms), cols: size[1], x: slice(py, "input", &x)?, gain };
    let sum = empty::<T>(py, if residual.is_some() { &size } else { &[0] })?;
    let (y, deviations) = (empty::<T>(py, &size)?, empty::<T>(py, &size[..1])?);
    let means = empty::<T>(py, &[if rms { 0 } else { size[0] }])?;
    let (s, out, m, d) = (fresh(&sum), fresh(&y), fresh(&means), fresh(&deviations));
    without_gil(py, || normalization::forward(of, epsilon, more, shift, s, out, m, d))?;
    Ok([y.into_any(), sum.into_any(), means.into_any(), deviations.into_any()])
}

fn backward<'py, T: Number>(
    py: Python<'py>,
    rms: bool,
    x: Untyped<'_, 'py>,
    weight: Optional<'_, 'py>,
    statistics: (Untyped<'_, 'py>, Untyped<'_, 'py>),
    dy: Untyped<'_, 'py>,
    more: Optional<'_, 'py>,
    wants_bias: bool,
) -> PyResult<[Any<'py>; 3]> {
    let size = shape(x);
    let (x, dy) = (read::<T>("input", x)?, read::<T>("dy", dy)?);
    let (means, deviations) = (read::<T>("means", statistics.0)?, read::<T>("deviations", statistics.1)?);
    let (weight, more) = (borrow("weight", weight)?, borrow("more", more)?);
    let (gain, more) = (numbers(py, "weight", &weight)?, numbers(py, "more", &more)?);
    let of = Rows { norm: norm(rms), cols: size[1], x: slice(py, "input", &x)?, gain };
    let (means, deviations) = (slice(py, "means", &means)?, slice(py, "deviations", &deviations)?);
    let dy = slice(py, "dy", &dy)?;
    let dx = empty::<T>(py, &size)?;
    let d_gain = empty::<T>(py, &[if weight.is_some() { size[1] } else { 0 }])?;
    let d_shift = empty::<T>(py, &[if wants_bias { size[1] } else { 0 }])?;
    let (a, b, c) = (fresh(&dx), fresh(&d_gain), fresh(&d_shift));
    without_gil(py, || normalization::backward(of, means, deviations, dy, more, a, b, c))?;
    Ok([dx.into_any(), d_gain.into_any(), d_shift.into_any()])
}

/// norm_forward(rms, x [N, D], residual or None, weight, bias, eps) -> y, x + residual (or empty), means (or empty), inverse deviations
#[pyfunction]
#[pyo3(signature = (rms, x, residual, weight, bias, eps))]
fn norm_forward<'py>(
    py: Python<'py>,
    rms: bool,
    x: &Bound<'py, PyUntypedArray>,
    residual: Option<&Bound<'py, PyUntypedArray>>,
    weight: Option<&Bound<'py, PyUntypedArray>>,
    bias: Option<&Bound<'py, PyUntypedArray>>,
    eps: f64,
) -> PyResult<[Any<'py>; 4]> {
    by_dtype!(x, T => forward::<T>(py, rms, x, residual, weight, bias, eps))
}

/// norm_backward(rms, x, weight, means, deviations, dy, more, wants_bias) -> dx, d weight, d bias (empty where not wanted)
#[pyfunction]
#[pyo3(signature = (rms, x, weight, means, deviations, dy, more, wants_bias))]
fn norm_backward<'py>(
    py: Python<'py>,
    rms: bool,
    x: &Bound<'py, PyUntypedArray>,
    weight: Option<&Bound<'py, PyUntypedArray>>,
    means: &Bound<'py, PyUntypedArray>,
    deviations: &Bound<'py, PyUntypedArray>,
    dy: &Bound<'py, PyUntypedArray>,
    more: Option<&Bound<'py, PyUntypedArray>>,
    wants_bias: bool,
) -> PyResult<[Any<'py>; 3]> {
    by_dtype!(x, T => backward::<T>(py, rms, x, weight, (means, deviations), dy, more, wants_bias))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(norm_forward, module)?)?;
    module.add_function(wrap_pyfunction!(norm_backward, module)?)
}
