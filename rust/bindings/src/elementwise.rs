//! exp, log, erf.

use crate::arrays::{Number, empty, fresh, read, shape, slice};
use crate::by_dtype;
use crate::errors::named;
use crate::without_gil::without_gil;
use numpy::PyUntypedArray;
use pyo3::prelude::*;
use weft_kernels::elementwise::{self, Unary};

fn run<'py, T: Number>(py: Python<'py>, f: Unary, x: &Bound<'py, PyUntypedArray>) -> PyResult<Bound<'py, PyAny>> {
    let input = read::<T>("x", x)?;
    let input = slice(py, "x", &input)?;
    let y = empty::<T>(py, &shape(x))?;
    let output = fresh(&y);
    without_gil(py, || elementwise::unary(f, input, output))?;
    Ok(y.into_any())
}

/// unary(name, x) -> y
#[pyfunction]
fn unary<'py>(py: Python<'py>, name: &str, x: &Bound<'py, PyUntypedArray>) -> PyResult<Bound<'py, PyAny>> {
    let f = match name {
        "exp" => Unary::Exp,
        "log" => Unary::Log,
        "erf" => Unary::Erf,
        _ => return Err(named(py, "ConfigError", format!("[unary] expected exp, log or erf, got '{name}'"))),
    };
    by_dtype!(x, T => run::<T>(py, f, x))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(unary, module)?)
}
