//! Updates of all parameters.

use crate::arrays::{Number, read, slice, write};
use crate::by_dtype;
use crate::errors::named;
use crate::without_gil::without_gil;
use numpy::{PyReadwriteArrayDyn, PyUntypedArray};
use pyo3::prelude::*;
use weft_kernels::optimizer::{self, Rule, Slot};

type Arrays<'py> = Vec<Bound<'py, PyUntypedArray>>;

fn norm<T: Number>(py: Python<'_>, gradients: &Arrays<'_>) -> PyResult<f64> {
    let arrays = gradients.iter().map(|g| read::<T>("gradient", g)).collect::<PyResult<Vec<_>>>()?;
    let slices = arrays.iter().map(|a| slice(py, "gradient", a)).collect::<PyResult<Vec<_>>>()?;
    without_gil(py, || Ok(optimizer::global_norm(&slices)))
}

/// global_norm(gradients) -> float
#[pyfunction]
fn global_norm(py: Python<'_>, gradients: Arrays<'_>) -> PyResult<f64> {
    let Some(first) = gradients.first() else { return Ok(0.0) };
    by_dtype!(first, T => norm::<T>(py, &gradients))
}

fn contiguous(py: Python<'_>) -> PyErr {
    named(py, "ShapeError", "[optimizer] expected C-contiguous arrays".into())
}

/// The numbers of a moment, or nothing where the rule keeps none.
fn state<'a, T: Number>(py: Python<'_>, array: Option<&'a mut PyReadwriteArrayDyn<'_, T>>) -> PyResult<&'a mut [T]> {
    array.map_or(Ok(&mut [][..]), |a| a.as_slice_mut().map_err(|_| contiguous(py)))
}

fn run<T: Number>(py: Python<'_>, rule: Rule, scale: f64, arrays: [&Arrays<'_>; 4]) -> PyResult<()> {
    let [parameters, gradients, firsts, seconds] = arrays;
    let mut p = parameters.iter().map(|a| write::<T>("parameter", a)).collect::<PyResult<Vec<_>>>()?;
    let g = gradients.iter().map(|a| read::<T>("gradient", a)).collect::<PyResult<Vec<_>>>()?;
    let mut m = firsts.iter().map(|a| write::<T>("first moment", a)).collect::<PyResult<Vec<_>>>()?;
    let mut v = seconds.iter().map(|a| write::<T>("second moment", a)).collect::<PyResult<Vec<_>>>()?;
    let (mut m, mut v) = (m.iter_mut(), v.iter_mut());
    let mut slots = Vec::with_capacity(p.len());
    for (parameter, gradient) in p.iter_mut().zip(&g) {
        let (first, second) = (state(py, m.next())?, state(py, v.next())?);
        slots.push(Slot {
            parameter: parameter.as_slice_mut().map_err(|_| contiguous(py))?,
            gradient: slice(py, "gradient", gradient)?,
            first,
            second,
        });
    }
    without_gil(py, || optimizer::update(rule, scale, &mut slots))
}

/// adam(parameters, gradients, first moments, second moments, rate, beta1, beta2, eps, decay, decoupled, step, scale)
#[pyfunction]
fn adam(
    py: Python<'_>,
    parameters: Arrays<'_>,
    gradients: Arrays<'_>,
    firsts: Arrays<'_>,
    seconds: Arrays<'_>,
    rate: f64,
    beta1: f64,
    beta2: f64,
    epsilon: f64,
    decay: f64,
    decoupled: bool,
    step: u64,
    scale: f64,
) -> PyResult<()> {
    let rule = Rule::Adam { rate, beta1, beta2, epsilon, decay, decoupled, step };
    let Some(first) = parameters.first() else { return Ok(()) };
    by_dtype!(first, T => run::<T>(py, rule, scale, [&parameters, &gradients, &firsts, &seconds]))
}

/// sgd(parameters, gradients, momenta, rate, momentum, dampening, decay, nesterov, first_step, scale)
#[pyfunction]
fn sgd(
    py: Python<'_>,
    parameters: Arrays<'_>,
    gradients: Arrays<'_>,
    momenta: Arrays<'_>,
    rate: f64,
    momentum: f64,
    dampening: f64,
    decay: f64,
    nesterov: bool,
    first_step: bool,
    scale: f64,
) -> PyResult<()> {
    let rule = Rule::Sgd { rate, momentum, dampening, decay, nesterov, first_step };
    let Some(first) = parameters.first() else { return Ok(()) };
    by_dtype!(first, T => run::<T>(py, rule, scale, [&parameters, &gradients, &momenta, &Vec::new()]))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(global_norm, module)?)?;
    module.add_function(wrap_pyfunction!(adam, module)?)?;
    module.add_function(wrap_pyfunction!(sgd, module)?)
}
