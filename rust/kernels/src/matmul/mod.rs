//! Products of matrices: the engine under linear layers, recurrent steps and attention.
//!
//! `C [M, N] = start + A [M, K] · B [K, N]`. Every element is one chain of FMAs in ascending k, cut every [`CHUNK`] of K; the
//! first chain starts from zero, the bias or C, and the sums of later chunks are added in order (rule R1). Which tile, block or
//! thread an element falls into is free and changes no bit.
//!
//! | file | what |
//! |---|---|
//! | `tile.rs` | the register tile: up to 8 rows by 4 vectors |
//! | `beside.rs` | a tile of one product beside a row of another |
//! | `packed_matrix.rs` | B in panels, packed once and used by many products |
//! | `panels.rs` | where the numbers of a matrix in panels lie |
//! | `pack.rs` | copying blocks of A and B into panels within a product |
//! | `product.rs` | blocks, threads, and the product itself |
//! | `together.rs` | products that read the same panels in turns |
//! | `batched.rs` | many products of one shape |
//! | `turn.rs` | a product's rows as columns |
//! | `weight_gradient.rs` | dW = Gᵀ·X, as itself or turned over |
//! | `linear.rs` | a linear layer with its activation and residual in one pass |

mod batched;
pub(crate) mod beside;
mod linear;
pub(crate) mod pack;
mod packed_matrix;
mod panels;
mod product;
pub(crate) mod tile;
mod together;
mod turn;
mod weight_gradient;

pub use batched::batched;
pub use linear::{Linear, linear};
pub use packed_matrix::PackedMatrix;
pub(crate) use panels::Panels;
pub use product::{Finish, Right, Start, product, product_finished, product_on};
pub(crate) use product::{Passing, product_passing};
pub(crate) use together::{products, take_turns};
pub(crate) use turn::{turn, turn_here};
pub use weight_gradient::weight_gradient;
pub(crate) use weight_gradient::{TurnedGradient, weight_gradient_of_parts};

use crate::Real;

/// Where the chain of FMAs is cut (rule R1). A function of K alone, so it is the same for every machine and thread.
pub const CHUNK: usize = 2048;
/// Vectors in a full panel of B.
pub const PANEL_VECTORS: usize = 4;

/// Columns in a full panel of B: 64 f32 or 32 f64.
pub const fn panel_width<T: Real>() -> usize {
    PANEL_VECTORS * T::WIDTH
}
