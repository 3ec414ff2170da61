//! Random arrays by key and stream.

use crate::arrays::{Number, empty, fresh};
use crate::without_gil::without_gil;
use numpy::PyArray1;
use pyo3::prelude::*;
use weft_kernels::random::Stream;

fn fill<'py, T: Number>(
    py: Python<'py>,
    stream: Stream,
    normal: bool,
    a: f64,
    b: f64,
    shape: &[usize],
) -> PyResult<Bound<'py, PyAny>> {
    let array = empty::<T>(py, shape)?;
    let output = fresh(&array);
    without_gil(py, || {
        if normal {
            stream.fill_normal(a, b, output)
        } else {
            stream.fill_uniform(a, b, output)
        }
        Ok(())
    })?;
    Ok(array.into_any())
}

/// random(key, stream, normal, a, b, shape, double) -> array: uniform in [a, b), or normal of mean a and deviation b
#[pyfunction]
fn random<'py>(
    py: Python<'py>,
    key: u64,
    stream: u64,
    normal: bool,
    a: f64,
    b: f64,
    shape: Vec<usize>,
    double: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let stream = Stream { key, stream };
    if double { fill::<f64>(py, stream, normal, a, b, &shape) } else { fill::<f32>(py, stream, normal, a, b, &shape) }
}

/// permutation(key, stream, n) -> array of i64
#[pyfunction]
fn permutation<'py>(py: Python<'py>, key: u64, stream: u64, n: usize) -> PyResult<Bound<'py, PyArray1<i64>>> {
    let order = without_gil(py, || Ok(Stream { key, stream }.permutation(n)))?;
    Ok(PyArray1::from_vec(py, order))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(random, module)?)?;
    module.add_function(wrap_pyfunction!(permutation, module)?)
}
