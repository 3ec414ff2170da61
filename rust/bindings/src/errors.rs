//! Refusals of the kernels as the exceptions of `weft.errors`.

use pyo3::exceptions::{PyIndexError, PyRuntimeError};
use pyo3::prelude::*;
use weft_kernels::Error;

/// An exception of `weft.errors` by the name of its class.
pub fn named(py: Python<'_>, class: &str, text: String) -> PyErr {
    let make = || -> PyResult<Bound<'_, PyAny>> { py.import("weft.errors")?.getattr(class)?.call1((text,)) };
    match make() {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => error,
    }
}

/// A kernel's refusal.
pub fn from_kernel(py: Python<'_>, error: Error) -> PyErr {
    let text = error.to_string();
    match error {
        Error::Length { .. } => named(py, "ShapeError", text),
        Error::Index { .. } => PyIndexError::new_err(text),
        Error::Config(_) => named(py, "ConfigError", text),
    }
}

/// A panic of a kernel or of a worker: a fault of Weft's own, which must not take the process along.
pub fn from_panic(payload: Box<dyn std::any::Any + Send>) -> PyErr {
    let text = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("a kernel panicked");
    PyRuntimeError::new_err(format!("[weft] internal error: {text}"))
}
