//! Embedding.

use crate::arrays::{Number, empty, fresh, indices as index_slice, read, shape, slice};
use crate::by_dtype;
use crate::without_gil::without_gil;
use numpy::{PyReadonlyArrayDyn, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;
use weft_kernels::embedding;

fn forward<'py, T: Number>(
    py: Python<'py>,
    table: &Bound<'py, PyUntypedArray>,
    indices: &PyReadonlyArrayDyn<'py, i64>,
) -> PyResult<Bound<'py, PyAny>> {
    let rows = read::<T>("weight", table)?;
    let (rows, positions) = (slice(py, "weight", &rows)?, index_slice(py, "input", indices)?);
    let dim = table.shape()[1];
    let mut out = indices.shape().to_vec();
    out.push(dim);
    let y = empty::<T>(py, &out)?;
    let output = fresh(&y);
    without_gil(py, || embedding::forward(rows, dim, positions, output))?;
    Ok(y.into_any())
}

fn backward<'py, T: Number>(
    py: Python<'py>,
    dy: &Bound<'py, PyUntypedArray>,
    indices: &PyReadonlyArrayDyn<'py, i64>,
    rows: usize,
    padding: Option<i64>,
) -> PyResult<Bound<'py, PyAny>> {
    let dim = shape(dy).last().copied().unwrap_or(0);
    let dy = read::<T>("dy", dy)?;
    let (dy, positions) = (slice(py, "dy", &dy)?, index_slice(py, "input", indices)?);
    let grad = empty::<T>(py, &[rows, dim])?;
    let output = fresh(&grad);
    without_gil(py, || embedding::backward(dim, positions, padding, dy, output))?;
    Ok(grad.into_any())
}

/// embedding_forward(table [V, D], indices) -> [..., D]
#[pyfunction]
fn embedding_forward<'py>(
    py: Python<'py>,
    table: &Bound<'py, PyUntypedArray>,
    indices: PyReadonlyArrayDyn<'py, i64>,
) -> PyResult<Bound<'py, PyAny>> {
    by_dtype!(table, T => forward::<T>(py, table, &indices))
}

/// embedding_backward(dy [..., D], indices, rows, padding) -> [rows, D]
#[pyfunction]
fn embedding_backward<'py>(
    py: Python<'py>,
    dy: &Bound<'py, PyUntypedArray>,
    indices: PyReadonlyArrayDyn<'py, i64>,
    rows: usize,
    padding: Option<i64>,
) -> PyResult<Bound<'py, PyAny>> {
    by_dtype!(dy, T => backward::<T>(py, dy, &indices, rows, padding))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(embedding_forward, module)?)?;
    module.add_function(wrap_pyfunction!(embedding_backward, module)?)
}
