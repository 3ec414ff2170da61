//! Activations, softmax, log-softmax.

use crate::arrays::{Number, empty, fresh, read, shape, slice};
use crate::by_dtype;
use crate::errors::named;
use crate::without_gil::without_gil;
use numpy::{PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;
use weft_kernels::activation::{self, Activation};

#[derive(Clone, Copy)]
enum Form {
    Single(Activation),
    Softmax,
    LogSoftmax,
}

/// An activation of single numbers by its name.
pub fn single(py: Python<'_>, name: &str) -> PyResult<Activation> {
    Ok(match name {
        "tanh" => Activation::Tanh,
        "sigmoid" => Activation::Sigmoid,
        "relu" => Activation::Relu,
        "gelu" => Activation::Gelu,
        "gelu_tanh" => Activation::GeluTanh,
        _ => return Err(named(py, "ConfigError", format!("[activation] unknown activation '{name}'"))),
    })
}

fn form(py: Python<'_>, name: &str) -> PyResult<Form> {
    Ok(match name {
        "softmax" => Form::Softmax,
        "log_softmax" => Form::LogSoftmax,
        _ => Form::Single(single(py, name)?),
    })
}

fn forward<'py, T: Number>(py: Python<'py>, f: Form, x: &Bound<'py, PyUntypedArray>) -> PyResult<Bound<'py, PyAny>> {
    let input = read::<T>("x", x)?;
    let input = slice(py, "x", &input)?;
    let y = empty::<T>(py, &shape(x))?;
    let (output, cols) = (fresh(&y), x.shape().last().copied().unwrap_or(1));
    without_gil(py, || match f {
        Form::Single(f) => activation::forward(f, input, output),
        Form::Softmax => activation::softmax(cols, input, output),
        Form::LogSoftmax => activation::log_softmax(cols, input, output),
    })?;
    Ok(y.into_any())
}

fn backward<'py, T: Number>(
    py: Python<'py>,
    f: Form,
    saved: &Bound<'py, PyUntypedArray>,
    dy: &Bound<'py, PyUntypedArray>,
) -> PyResult<Bound<'py, PyAny>> {
    let (saved_array, dy) = (read::<T>("saved", saved)?, read::<T>("dy", dy)?);
    let (input, dy) = (slice(py, "saved", &saved_array)?, slice(py, "dy", &dy)?);
    let dx = empty::<T>(py, &shape(saved))?;
    let (output, cols) = (fresh(&dx), saved.shape().last().copied().unwrap_or(1));
    without_gil(py, || match f {
        Form::Single(f) => activation::backward(f, input, dy, output),
        Form::Softmax => activation::softmax_backward(cols, input, dy, output),
        Form::LogSoftmax => activation::log_softmax_backward(cols, input, dy, output),
    })?;
    Ok(dx.into_any())
}

/// activation(name, x) -> y; softmax and log_softmax over the last axis
#[pyfunction]
fn activation_forward<'py>(py: Python<'py>, name: &str, x: &Bound<'py, PyUntypedArray>) -> PyResult<Bound<'py, PyAny>> {
    let f = form(py, name)?;
    by_dtype!(x, T => forward::<T>(py, f, x))
}

/// activation_backward(name, saved, dy) -> dx; `saved` is the output, for GELU the input
#[pyfunction]
fn activation_backward<'py>(
    py: Python<'py>,
    name: &str,
    saved: &Bound<'py, PyUntypedArray>,
    dy: &Bound<'py, PyUntypedArray>,
) -> PyResult<Bound<'py, PyAny>> {
    let f = form(py, name)?;
    by_dtype!(saved, T => backward::<T>(py, f, saved, dy))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(activation_forward, module)?)?;
    module.add_function(wrap_pyfunction!(activation_backward, module)?)
}
