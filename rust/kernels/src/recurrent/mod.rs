//! RNN, LSTM and GRU over whole sequences, forward and backward.
//!
//! | file | what |
//! |---|---|
//! | `steps.rs` | time-major order of the rows, sorted by length: which rows live at which step |
//! | `weights.rs` | torch's weights packed for the tiles, and gradients brought back to torch's layout |
//! | `pointwise.rs` | what a cell does to the gates of 16 units once the products are in them |
//! | `gates.rs`, `states.rs` | where the gates of all rows lie, and h of every step |
//! | `shares.rs` | which thread has which rows and panels at each step, in which order |
//! | `forward.rs`, `backward.rs` | the passes |
//! | `one_row.rs` | the forward steps of a single row |
//! | `optional/` | the same cells with projections, peepholes, norms, zoneout, … |
//!
//! # The gates buffer
//!
//! Gates of `W` neighbouring units (one vector: 16 f32, 8 f64) stand side by side, so that a tile of the recurrent product ends with all
//! gates of its units in the first-level cache, where the nonlinearities find them:
//!
//! ```text
//!   LSTM  [i f g o] of units 0..W, [i f g o] of units W..2W, …      all four take part in both products
//!   GRU   [n r z h] …      the input's product fills n r z, the recurrent one adds to r z and makes h = R_n h + b_hn
//!   RNN   units side by side
//! ```
//!
//! Units are padded to whole vectors; padding holds zeros in weights and gradients. 64 numbers of a row (32 f64) make a panel, and a panel's
//! rows of all steps lie side by side: the gradients of the weights read them as a product reads its packed right-hand side.
//!
//! # A pass
//!
//! Forward: one product X·W_ihᵀ + b for all steps; then every thread takes its rows of the batch through all steps without a barrier. Of small
//! layers each tile forms the input's sums itself, and a single row's steps form those of later ones.
//! Backward: the gates are overwritten with their gradients step by step (dh_{t−1} += dG_t·R); then dX, dW_ih and dW_hh are three large
//! products over all steps. Design after haste and oneDNN; see ARCHITECTURE.md.

mod backward;
mod forward;
mod gates;
mod one_row;
pub mod optional;
mod pointwise;
mod shares;
mod states;
mod steps;
mod weights;

pub use backward::{Gradients, WeightGradients, backward, weight_gradients};
pub use forward::{Cache, State, forward, step};
pub use steps::Layout;
pub use weights::{PackedWeights, Weights};

/// A recurrent cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// h = tanh(W x + b + R h + b') (Elman 1990)
    RnnTanh,
    /// The same with max(0, ·).
    RnnRelu,
    /// Hochreiter & Schmidhuber 1997 with forget gates (Gers et al. 2000); gate order i, f, g, o.
    Lstm,
    /// Cho et al. 2014 with the reset after the recurrent product; gate order r, z, n.
    Gru,
}

impl Cell {
    /// Gates in torch's weights.
    pub fn gates(self) -> usize {
        match self {
            Cell::RnnTanh | Cell::RnnRelu => 1,
            Cell::Lstm => 4,
            Cell::Gru => 3,
        }
    }

    /// Numbers a unit has in the gates buffer.
    fn slots(self) -> usize {
        match self {
            Cell::Gru => 4,
            cell => cell.gates(),
        }
    }

    /// torch's gate in each column group of the input's product, which begins at slot 0.
    fn input_gates(self) -> &'static [usize] {
        match self {
            Cell::RnnTanh | Cell::RnnRelu => &[0],
            Cell::Lstm => &[0, 1, 2, 3],
            Cell::Gru => &[2, 0, 1],
        }
    }

    /// torch's gate in each column group of the recurrent product.
    fn recurrent_gates(self) -> &'static [usize] {
        match self {
            Cell::Gru => &[0, 1, 2],
            cell => cell.input_gates(),
        }
    }

    /// First slot of the recurrent product.
    fn recurrent_slot(self) -> usize {
        if self == Cell::Gru { 1 } else { 0 }
    }

    /// Whether the cell carries a second state c.
    pub fn has_cell_state(self) -> bool {
        self == Cell::Lstm
    }
}

/// Sizes of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Features of the input.
    pub input: usize,
    /// Units.
    pub hidden: usize,
}

impl Sizes {
    /// Units rounded up to whole vectors.
    fn padded<T: crate::Real>(&self) -> usize {
        self.hidden.div_ceil(T::WIDTH) * T::WIDTH
    }
}
