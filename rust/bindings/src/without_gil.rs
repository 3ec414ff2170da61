//! The one door: every kernel runs through it.

use crate::errors::{from_kernel, from_panic};
use pyo3::prelude::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use weft_kernels::{Error, parallel};

/// Checks the configuration, releases the GIL, runs `kernel`, and turns refusals and panics into exceptions.
pub fn without_gil<R: Send>(py: Python<'_>, kernel: impl FnOnce() -> weft_kernels::Result<R> + Send) -> PyResult<R> {
    weft_simd::initialize().map_err(|e| from_kernel(py, Error::Config(e.to_string())))?;
    parallel::initialize().map_err(|e| from_kernel(py, e))?;
    let result = py.detach(|| catch_unwind(AssertUnwindSafe(kernel)));
    match result {
        Ok(result) => result.map_err(|e| from_kernel(py, e)),
        Err(payload) => Err(from_panic(payload)),
    }
}
