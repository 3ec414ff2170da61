//! Dropout.

use crate::arrays::{Number, empty, fresh, read, shape, slice};
use crate::by_dtype;
use crate::without_gil::without_gil;
use numpy::PyUntypedArray;
use pyo3::prelude::*;
use weft_kernels::dropout::{self as kernel, Dropout};
use weft_kernels::random::Stream;

fn run<'py, T: Number>(py: Python<'py>, x: &Bound<'py, PyUntypedArray>, of: Dropout) -> PyResult<Bound<'py, PyAny>> {
    let input = read::<T>("x", x)?;
    let input = slice(py, "x", &input)?;
    let y = empty::<T>(py, &shape(x))?;
    let output = fresh(&y);
    without_gil(py, || kernel::dropout(of, input, output))?;
    Ok(y.into_any())
}

/// dropout(x, p, key, stream) -> y; the backward pass is the same call on the gradient
#[pyfunction]
fn dropout<'py>(py: Python<'py>, x: &Bound<'py, PyUntypedArray>, p: f64, key: u64, stream: u64) -> PyResult<Bound<'py, PyAny>> {
    let of = Dropout { stream: Stream { key, stream }, p };
    by_dtype!(x, T => run::<T>(py, x, of))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(dropout, module)?)
}
