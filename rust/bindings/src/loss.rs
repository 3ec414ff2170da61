//! Softmax cross-entropy.

use crate::arrays::{Number, empty, fresh, indices, read, shape, slice};
use crate::by_dtype;
use crate::without_gil::without_gil;
use numpy::{PyReadonlyArrayDyn, PyUntypedArray};
use pyo3::prelude::*;
use weft_kernels::loss;

type Pair<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>);

fn forward<'py, T: Number>(
    py: Python<'py>,
    logits: &Bound<'py, PyUntypedArray>,
    targets: &PyReadonlyArrayDyn<'py, i64>,
    ignore: i64,
    smoothing: f64,
) -> PyResult<Pair<'py>> {
    let classes = shape(logits)[1];
    let logits = read::<T>("input", logits)?;
    let (logits, targets) = (slice(py, "input", &logits)?, indices(py, "target", targets)?);
    let (losses, normalizers) = (empty::<T>(py, &[targets.len()])?, empty::<T>(py, &[targets.len()])?);
    let (out, z) = (fresh(&losses), fresh(&normalizers));
    without_gil(py, || loss::cross_entropy(classes, logits, targets, ignore, smoothing, out, z))?;
    Ok((losses.into_any(), normalizers.into_any()))
}

fn backward<'py, T: Number>(
    py: Python<'py>,
    logits: &Bound<'py, PyUntypedArray>,
    targets: &PyReadonlyArrayDyn<'py, i64>,
    ignore: i64,
    smoothing: f64,
    normalizers: &Bound<'py, PyUntypedArray>,
    scales: &Bound<'py, PyUntypedArray>,
) -> PyResult<Bound<'py, PyAny>> {
    let size = shape(logits);
    let (logits, z, scales) = (read::<T>("input", logits)?, read::<T>("normalizers", normalizers)?, read::<T>("scales", scales)?);
    let (logits, targets) = (slice(py, "input", &logits)?, indices(py, "target", targets)?);
    let (z, scales) = (slice(py, "normalizers", &z)?, slice(py, "scales", &scales)?);
    let gradient = empty::<T>(py, &size)?;
    let out = fresh(&gradient);
    let classes = size[1];
    without_gil(py, || loss::cross_entropy_backward(classes, logits, targets, ignore, smoothing, z, scales, out))?;
    Ok(gradient.into_any())
}

/// cross_entropy_forward(logits [N, V], targets [N], ignore, smoothing) -> losses [N], normalizers [N]
#[pyfunction]
fn cross_entropy_forward<'py>(
    py: Python<'py>,
    logits: &Bound<'py, PyUntypedArray>,
    targets: PyReadonlyArrayDyn<'py, i64>,
    ignore: i64,
    smoothing: f64,
) -> PyResult<Pair<'py>> {
    by_dtype!(logits, T => forward::<T>(py, logits, &targets, ignore, smoothing))
}

/// cross_entropy_backward(logits, targets, ignore, smoothing, normalizers, scales [N] or [1]) -> [N, V]
#[pyfunction]
fn cross_entropy_backward<'py>(
    py: Python<'py>,
    logits: &Bound<'py, PyUntypedArray>,
    targets: PyReadonlyArrayDyn<'py, i64>,
    ignore: i64,
    smoothing: f64,
    normalizers: &Bound<'py, PyUntypedArray>,
    scales: &Bound<'py, PyUntypedArray>,
) -> PyResult<Bound<'py, PyAny>> {
    by_dtype!(logits, T => backward::<T>(py, logits, &targets, ignore, smoothing, normalizers, scales))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(cross_entropy_forward, module)?)?;
    module.add_function(wrap_pyfunction!(cross_entropy_backward, module)?)
}
