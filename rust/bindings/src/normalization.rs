//! Layer normalisation.

use crate::arrays::{Number, empty, fresh, read, shape, slice};
use crate::by_dtype;
use crate::without_gil::without_gil;
use numpy::PyUntypedArray;
use pyo3::prelude::*;
use weft_kernels::normalization;

type Untyped<'a, 'py> = &'a Bound<'py, PyUntypedArray>;
type Triple<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>, Bound<'py, PyAny>);

fn forward<'py, T: Number>(
    py: Python<'py>,
    x: Untyped<'_, 'py>,
    gain: Option<Untyped<'_, 'py>>,
    shift: Option<Untyped<'_, 'py>>,
    epsilon: f64,
) -> PyResult<Triple<'py>> {
    let size = shape(x);
    let x = read::<T>("input", x)?;
    let gain = gain.map(|g| read::<T>("weight", g)).transpose()?;
    let shift = shift.map(|s| read::<T>("bias", s)).transpose()?;
    let x = slice(py, "input", &x)?;
    let gain = gain.as_ref().map_or(Ok(&[][..]), |g| slice(py, "weight", g))?;
    let shift = shift.as_ref().map_or(Ok(&[][..]), |s| slice(py, "bias", s))?;
    let (y, means, deviations) = (empty::<T>(py, &size)?, empty::<T>(py, &size[..1])?, empty::<T>(py, &size[..1])?);
    let (out, m, d) = (fresh(&y), fresh(&means), fresh(&deviations));
    without_gil(py, || normalization::layer_norm(size[1], epsilon, x, gain, shift, out, m, d))?;
    Ok((y.into_any(), means.into_any(), deviations.into_any()))
}

fn backward<'py, T: Number>(
    py: Python<'py>,
    x: Untyped<'_, 'py>,
    gain: Option<Untyped<'_, 'py>>,
    means: Untyped<'_, 'py>,
    deviations: Untyped<'_, 'py>,
    dy: Untyped<'_, 'py>,
    wants_shift: bool,
) -> PyResult<Triple<'py>> {
    let size = shape(x);
    let affine = gain.is_some();
    let (x, dy) = (read::<T>("input", x)?, read::<T>("dy", dy)?);
    let (means, deviations) = (read::<T>("means", means)?, read::<T>("deviations", deviations)?);
    let gain = gain.map(|g| read::<T>("weight", g)).transpose()?;
    let (x, dy) = (slice(py, "input", &x)?, slice(py, "dy", &dy)?);
    let (means, deviations) = (slice(py, "means", &means)?, slice(py, "deviations", &deviations)?);
    let gain = gain.as_ref().map_or(Ok(&[][..]), |g| slice(py, "weight", g))?;
    let dx = empty::<T>(py, &size)?;
    let d_gain = empty::<T>(py, &[if affine { size[1] } else { 0 }])?;
    let d_shift = empty::<T>(py, &[if wants_shift { size[1] } else { 0 }])?;
    let (a, b, c) = (fresh(&dx), fresh(&d_gain), fresh(&d_shift));
    without_gil(py, || normalization::layer_norm_backward(size[1], x, gain, means, deviations, dy, a, b, c))?;
    Ok((dx.into_any(), d_gain.into_any(), d_shift.into_any()))
}

/// layer_norm_forward(x [N, D], weight, bias, eps) -> y, means [N], inverse deviations [N]
#[pyfunction]
#[pyo3(signature = (x, weight, bias, eps))]
fn layer_norm_forward<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyUntypedArray>,
    weight: Option<&Bound<'py, PyUntypedArray>>,
    bias: Option<&Bound<'py, PyUntypedArray>>,
    eps: f64,
) -> PyResult<Triple<'py>> {
    by_dtype!(x, T => forward::<T>(py, x, weight, bias, eps))
}

/// layer_norm_backward(x, weight, means, deviations, dy, wants_bias) -> dx, d weight, d bias (empty where not wanted)
#[pyfunction]
#[pyo3(signature = (x, weight, means, deviations, dy, wants_bias))]
fn layer_norm_backward<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyUntypedArray>,
    weight: Option<&Bound<'py, PyUntypedArray>>,
    means: &Bound<'py, PyUntypedArray>,
    deviations: &Bound<'py, PyUntypedArray>,
    dy: &Bound<'py, PyUntypedArray>,
    wants_bias: bool,
) -> PyResult<Triple<'py>> {
    by_dtype!(x, T => backward::<T>(py, x, weight, means, deviations, dy, wants_bias))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(layer_norm_forward, module)?)?;
    module.add_function(wrap_pyfunction!(layer_norm_backward, module)?)
}
