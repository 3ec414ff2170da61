//! The kernels of Weft: forward and backward passes on plain buffers, without Python.
//!
//! One room a folder or file, the same nouns as on every other floor. A kernel takes slices or [`MatrixView`]s, checks their
//! lengths before it writes anything, and gives the same bits for any thread count and instruction set (rules R1–R6 of
//! ARCHITECTURE.md).

mod abreast;
pub mod activation;
pub mod attention;
pub mod crf;
pub mod dropout;
pub mod elementwise;
pub mod embedding;
pub mod error;
pub mod loss;
pub mod matmul;
pub mod matrix_view;
pub mod normalization;
pub mod optimizer;
pub mod parallel;
pub mod random;
pub mod recurrent;
pub mod reduction;
pub mod transformer;
pub mod workspace;

pub use error::{Error, Result};
pub use matrix_view::{MatrixView, MatrixViewMut};
pub use weft_simd as simd;
pub use weft_simd::Real;
