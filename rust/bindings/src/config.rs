//! Instruction set, threads, memory.

use crate::without_gil::without_gil;
use pyo3::prelude::*;
use weft_kernels::{Error, parallel, workspace};

/// isa() -> str: the instruction set that runs; the first call fixes it.
#[pyfunction]
fn isa(py: Python<'_>) -> PyResult<&'static str> {
    without_gil(py, || weft_simd::initialize().map(|c| c.name()).map_err(|e| Error::Config(e.to_string())))
}

/// available_isas() -> list[str]: what this machine can run, the best last.
#[pyfunction]
fn available_isas() -> Vec<&'static str> {
    weft_simd::available().into_iter().map(|c| c.name()).collect()
}

/// num_threads() -> int
#[pyfunction]
fn num_threads(py: Python<'_>) -> PyResult<usize> {
    without_gil(py, || Ok(parallel::num_threads()))
}

/// set_num_threads(n)
#[pyfunction]
fn set_num_threads(py: Python<'_>, n: usize) -> PyResult<()> {
    without_gil(py, || parallel::set_num_threads(n))
}

/// What a shared library shows to those who balance thread pools from outside, threadpoolctl above all (weft.interop). 0 where the
/// environment's number of threads is refused: an error that Python code hears of at the next kernel.
#[unsafe(no_mangle)]
extern "C" fn weft_get_num_threads() -> std::ffi::c_int {
    parallel::initialize().map_or(0, |()| parallel::num_threads() as std::ffi::c_int)
}

/// As [`weft_get_num_threads`]; numbers that are not allowed change nothing.
#[unsafe(no_mangle)]
extern "C" fn weft_set_num_threads(n: std::ffi::c_int) {
    if parallel::initialize().is_ok() {
        let _ = parallel::set_num_threads(n.max(0) as usize);
    }
}

/// available_threads() -> int: what affinity and cgroup allow.
#[pyfunction]
fn available_threads() -> usize {
    parallel::available()
}

/// second_level_cache() -> int: bytes of one core's, which blocks of products follow.
#[pyfunction]
fn second_level_cache() -> usize {
    weft_simd::second_level()
}

/// empty_cache() -> int: gives kept memory back; returns the bytes.
#[pyfunction]
fn empty_cache() -> usize {
    workspace::empty_cache()
}

/// cached_bytes() -> int
#[pyfunction]
fn cached_bytes() -> usize {
    workspace::cached_bytes()
}

/// set_flush_denormal(on) -> bool: false where the processor has no such mode.
#[pyfunction]
fn set_flush_denormal(on: bool) -> bool {
    weft_simd::set_flush_denormal(on)
}

/// panic_in_a_worker(): for the test that a panic becomes an exception.
#[pyfunction]
fn panic_in_a_worker(py: Python<'_>) -> PyResult<()> {
    without_gil(py, || {
        parallel::run(2, &|part| assert!(part == 0, "asked to panic"));
        Ok(())
    })
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(isa, module)?)?;
    module.add_function(wrap_pyfunction!(available_isas, module)?)?;
    module.add_function(wrap_pyfunction!(num_threads, module)?)?;
    module.add_function(wrap_pyfunction!(set_num_threads, module)?)?;
    module.add_function(wrap_pyfunction!(available_threads, module)?)?;
    module.add_function(wrap_pyfunction!(empty_cache, module)?)?;
    module.add_function(wrap_pyfunction!(second_level_cache, module)?)?;
    module.add_function(wrap_pyfunction!(cached_bytes, module)?)?;
    module.add_function(wrap_pyfunction!(set_flush_denormal, module)?)?;
    module.add_function(wrap_pyfunction!(panic_in_a_worker, module)?)
}
