//! Sums.

use crate::arrays::{Number, empty, fresh, read, shape, slice};
use crate::by_dtype;
use crate::without_gil::without_gil;
use numpy::{IntoPyArray, PyArray1, PyArrayMethods, PyReadonlyArray1, PyUntypedArray};
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

type Pair<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>);

fn largest<'py, T: Number>(py: Python<'py>, x: &Bound<'py, PyUntypedArray>, k: usize) -> PyResult<Pair<'py>> {
    let size = shape(x);
    let input = read::<T>("x", x)?;
    let input = slice(py, "x", &input)?;
    let values = empty::<T>(py, &[size[0], k])?;
    let (out, mut indices) = (fresh(&values), vec![0i64; size[0] * k]);
    without_gil(py, || reduction::top_k(size[1], k, input, out, &mut indices))?;
    Ok((values.into_any(), indices.into_pyarray(py).reshape([size[0], k])?.into_any()))
}

/// top_k(x [R, V], k) -> the largest numbers of each row [R, k], where they stand [R, k] (-1: fewer than k)
#[pyfunction]
fn top_k<'py>(py: Python<'py>, x: &Bound<'py, PyUntypedArray>, k: usize) -> PyResult<Pair<'py>> {
    by_dtype!(x, T => largest::<T>(py, x, k))
}

fn drawn<T: Number>(
    py: Python<'_>,
    scores: &Bound<'_, PyUntypedArray>,
    uniforms: &PyReadonlyArray1<'_, f64>,
    temperature: f64,
) -> PyResult<Vec<i64>> {
    let width = shape(scores)[1];
    let scores = read::<T>("scores", scores)?;
    let (scores, uniforms) = (slice(py, "scores", &scores)?, uniforms.as_slice()?);
    let mut places = vec![0; uniforms.len()];
    without_gil(py, || reduction::draw(width, temperature, scores, uniforms, &mut places))?;
    Ok(places)
}

/// draw(scores [R, V], uniforms [R], temperature) -> a column of each row [R], by the probabilities softmax(scores / temperature)
#[pyfunction]
fn draw<'py>(
    py: Python<'py>,
    scores: &Bound<'py, PyUntypedArray>,
    uniforms: PyReadonlyArray1<'py, f64>,
    temperature: f64,
) -> PyResult<Bound<'py, PyArray1<i64>>> {
    let places = by_dtype!(scores, T => drawn::<T>(py, scores, &uniforms, temperature))?;
    Ok(places.into_pyarray(py))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(draw, module)?)?;
    module.add_function(wrap_pyfunction!(top_k, module)?)?;
    module.add_function(wrap_pyfunction!(sum, module)?)
}
