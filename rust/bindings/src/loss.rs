//! Softmax cross-entropy.

use crate::arrays::{Number, empty, fresh, indices, read, shape, slice};
use crate::by_dtype;
use crate::errors::named;
use crate::without_gil::without_gil;
use numpy::{PyReadonlyArrayDyn, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;
use weft_kernels::{MatrixView, loss};

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

type Projected<'py> = (Bound<'py, PyAny>, [Option<Bound<'py, PyAny>>; 3]);

fn projected<'py, T: Number>(
    py: Python<'py>,
    x: &Bound<'py, PyUntypedArray>,
    weight: &Bound<'py, PyUntypedArray>,
    bias: Option<&Bound<'py, PyUntypedArray>>,
    targets: &PyReadonlyArrayDyn<'py, i64>,
    (ignore, smoothing, scale): (i64, f64, f64),
    needs: [bool; 3],
) -> PyResult<Projected<'py>> {
    const WHO: &str = "linear_cross_entropy";
    let weight = read::<T>("weight", weight)?;
    let [classes, size] = weight.shape()[..] else {
        return Err(named(py, "ShapeError", format!("[{WHO}] weight: expected 2 axes, got {:?}", weight.shape())));
    };
    let view = MatrixView::new(slice(py, "weight", &weight)?, classes, size);
    let (input, bias) = (read::<T>("input", x)?, bias.map(|b| read::<T>("bias", b)).transpose()?);
    let (data, targets) = (slice(py, "input", &input)?, indices(py, "target", targets)?);
    let bias = bias.as_ref().map_or(Ok(&[][..]), |b| slice(py, "bias", b))?;
    let losses = empty::<T>(py, &[targets.len()])?;
    let array = |wanted: bool, shape: &[usize]| wanted.then(|| empty::<T>(py, shape)).transpose();
    let made = [array(needs[0], &shape(x))?, array(needs[1], &[classes, size])?, array(needs[2], &[classes])?];
    let [dx, dw, db] = made.each_ref().map(|a| a.as_ref().map_or(&mut [][..], fresh));
    let (out, gradients) = (fresh(&losses), loss::ProjectionGradients { x: dx, weight: dw, bias: db });
    without_gil(py, || {
        loss::projected_cross_entropy(data, view, bias, targets, ignore, smoothing, T::from_f64(scale), out, gradients)
    })?;
    Ok((losses.into_any(), made.map(|a| a.map(Bound::into_any))))
}

/// projected_cross_entropy(x [N, D], weight [V, D], bias [V] or None, targets [N], ignore, smoothing, scale,
/// needs) -> losses [N], [dx, dweight, dbias] of scale · Σ losses, None where not needed
#[pyfunction]
#[pyo3(signature = (x, weight, bias, targets, ignore, smoothing, scale, needs))]
fn projected_cross_entropy<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyUntypedArray>,
    weight: &Bound<'py, PyUntypedArray>,
    bias: Option<&Bound<'py, PyUntypedArray>>,
    targets: PyReadonlyArrayDyn<'py, i64>,
    ignore: i64,
    smoothing: f64,
    scale: f64,
    needs: [bool; 3],
) -> PyResult<Projected<'py>> {
    by_dtype!(x, T => projected::<T>(py, x, weight, bias, &targets, (ignore, smoothing, scale), needs))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(cross_entropy_forward, module)?)?;
    module.add_function(wrap_pyfunction!(projected_cross_entropy, module)?)?;
    module.add_function(wrap_pyfunction!(cross_entropy_backward, module)?)
}
