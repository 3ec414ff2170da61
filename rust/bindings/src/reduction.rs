//! Sums.

use crate::arrays::{Number, empty, fresh, read, slice};
use crate::by_dtype;
use crate::without_gil::without_gil;
use numpy::PyUntypedArray;
use pyo3::prelude::*;
use weft_kernels::reduction;

fn run<'py, T: Number>(
    py: Python<'py>,
    x: &Bound<'py, PyUntypedArray>,
    outer: usize,
    n: usize,
    inner: usize,
) -> PyResult<Bound<'py, PyAny>> {
    let input = read::<T>("x", x)?;
    let input = slice(py, "x", &input)?;
    let y = empty::<T>(py, &[outer, inner])?;
    let output = fresh(&y);
    without_gil(py, || reduction::sum(outer, n, inner, input, output))?;
    Ok(y.into_any())
}

/// sum(x, outer, n, inner) -> y [outer, inner], of x as [outer, n, inner]
#[pyfunction]
fn sum<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyUntypedArray>,
    outer: usize,
    n: usize,
    inner: usize,
) -> PyResult<Bound<'py, PyAny>> {
    by_dtype!(x, T => run::<T>(py, x, outer, n, inner))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(sum, module)?)
}
