//! `weft._native`: takes arrays apart, releases the GIL, calls a kernel, and puts the results together. No maths.
//!
//! `arrays` and `errors` say how data and refusals cross; `without_gil` is the one door; then a file for each room.

mod activation;
mod arrays;
mod attention;
mod attention_heads;
mod config;
mod crf;
mod dropout;
mod elementwise;
mod embedding;
mod errors;
mod loss;
mod matmul;
mod normalization;
mod optimizer;
mod random;
mod recurrent;
mod recurrent_options;
mod reduction;
mod transformer;
mod without_gil;

use pyo3::prelude::*;

/// The native module of Weft. Use the functions of `weft`, not these.
#[pymodule(gil_used = true)]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    arrays::register(module)?;
    activation::register(module)?;
    attention::register(module)?;
    attention_heads::register(module)?;
    config::register(module)?;
    crf::register(module)?;
    dropout::register(module)?;
    elementwise::register(module)?;
    embedding::register(module)?;
    loss::register(module)?;
    matmul::register(module)?;
    normalization::register(module)?;
    optimizer::register(module)?;
    random::register(module)?;
    recurrent::register(module)?;
    recurrent_options::register(module)?;
    reduction::register(module)?;
    transformer::register(module)
}
