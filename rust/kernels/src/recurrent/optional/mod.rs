//! Recurrent cells with options: projection, peepholes, coupled gates, the reset before the product, layer norm, zoneout, dropout of the
//! state. One direction of one layer, forward and backward; and what `return_gates` shows, for every cell.
//!
//! The plain cells have fused tiles (`recurrent/forward.rs`). Here every step of a thread's rows is a few phases over all units, and an
//! option is a phase or a branch on a row, not a kernel of its own:
//!
//! ```text
//!   operand    u = h_{t−1} ∘ mask                       dropout of the state (Gal & Ghahramani 2016)
//!   product    s = R u                                  by groups of gates: all, or r z and n of a GRU
//!   norm       s = gain · (s − mean) / deviation        layer norm (Ba et al. 2016, eqs. 20–22, 29–31)
//!   cell       gates, c, h                              pointwise.rs
//!   projection h = W_hr h                               (Sak et al. 2014)
//!   zoneout    h = m ∘ h + (1 − m) ∘ h_{t−1}            (Krueger et al. 2017)
//! ```
//!
//! # Buffers
//!
//! Rows as [`super::steps`] orders them; h lies where [`super::states`] says. Gates in torch's order, unit by unit within a gate, in panels or in
//! rows (`gates.rs`): `[i f g o]`, coupled `[f g o]`, GRU `[r z n q]` with q = R_n h + b_hn, or r ∘ u where the reset comes before the product; RNN `[h]`. The forward pass leaves activations
//! there, the backward pass the gradients of the sums. With no option at all the bits of the output are those of the plain cells: the chains
//! start from the same biases and the cells use the same operations.

mod backward;
mod forward;
mod gates;
mod mixing;
mod norm;
mod pointwise;

pub use backward::{Gradients, backward};
pub use forward::{Cache, Inputs, forward};

use super::{Cell, Sizes};
use crate::error::check_length;
use crate::matmul::PackedMatrix;
use crate::{MatrixView, Real, Result};

/// Which cell it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// The cell.
    pub cell: Cell,
    /// LSTM: i = 1 − f, no rows for i in the weights.
    pub coupled: bool,
    /// GRU: n = tanh(W x + R (r ∘ h) + b), Cho et al.'s form.
    pub reset_before: bool,
    /// I and H.
    pub sizes: Sizes,
    /// P, the width of h: H without a projection.
    pub state: usize,
}

/// Rows of R whose sums are formed together.
#[derive(Clone, Copy)]
struct Group {
    /// First row in torch's weights, and how many.
    first: usize,
    rows: usize,
    /// First column of the sum in the gates buffer.
    column: usize,
    /// The input's sum is there already: the product is added. Else it starts from the bias.
    joins: bool,
}

impl Kind {
    /// Gates in torch's weights.
    pub fn gates(&self) -> usize {
        self.cell.gates() - usize::from(self.coupled)
    }

    /// Numbers of a unit in the gates buffer.
    fn slots(&self) -> usize {
        self.gates() + usize::from(self.cell == Cell::Gru)
    }

    fn groups(&self) -> Vec<Group> {
        let h = self.sizes.hidden;
        if self.cell != Cell::Gru {
            return vec![Group { first: 0, rows: self.gates() * h, column: 0, joins: true }];
        }
        let n = if self.reset_before { 2 * h } else { 3 * h };
        vec![
            Group { first: 0, rows: 2 * h, column: 0, joins: true },
            Group { first: 2 * h, rows: h, column: n, joins: self.reset_before },
        ]
    }

    /// The same groups on the input's side.
    fn input_groups(&self) -> Vec<Group> {
        self.groups().into_iter().map(|g| Group { column: g.first, joins: false, ..g }).collect()
    }
}

/// A direction's parameters; empty slices where the cell has none.
#[derive(Clone, Copy)]
pub struct Parameters<'a, T> {
    /// `[G·H, I]`
    pub weight_ih: &'a [T],
    /// `[G·H, P]`
    pub weight_hh: &'a [T],
    /// `[G·H]`
    pub bias_ih: &'a [T],
    /// `[G·H]`
    pub bias_hh: &'a [T],
    /// `[P, H]`
    pub projection: &'a [T],
    /// `[3, H]` for i, f, o; `[2, H]` for f, o when coupled.
    pub peephole: &'a [T],
    /// `[G·H]`: gain of the norm of the input's sums
    pub norm_ih: &'a [T],
    /// `[G·H]`: gain of the norm of the recurrent sums
    pub norm_hh: &'a [T],
    /// `[2, H]`: gain and shift of the norm of c (LSTM)
    pub norm_c: &'a [T],
}

/// Parameters packed for the products of a pass. Made anew when they change; never saved.
pub struct PackedParameters<T> {
    kind: Kind,
    input: PackedMatrix<T>,
    recurrent: Vec<PackedMatrix<T>>,
    projection: Option<PackedMatrix<T>>,
    bias_ih: Vec<T>,
    bias_hh: Vec<T>,
    peephole: Vec<T>,
    norm: Option<(Vec<T>, Vec<T>)>,
    norm_c: Vec<T>,
    back: Option<Back<T>>,
}

/// The same for the backward pass.
struct Back<T> {
    input: PackedMatrix<T>,
    recurrent: Vec<PackedMatrix<T>>,
    projection: Option<PackedMatrix<T>>,
}

impl<T: Real> PackedParameters<T> {
    /// Packs the parameters; `backward` also for the backward pass.
    pub fn new(kind: Kind, of: Parameters<'_, T>, backward: bool) -> Result<Self> {
        let (Sizes { input, hidden }, state) = (kind.sizes, kind.state);
        let rows = kind.gates() * hidden;
        let optional =
            |name, got: usize, expected| if got == 0 { Ok(()) } else { check_length("recurrent", name, got, expected) };
        check_length("recurrent", "weight_ih", of.weight_ih.len(), rows * input)?;
        check_length("recurrent", "weight_hh", of.weight_hh.len(), rows * state)?;
        optional("bias_ih", of.bias_ih.len(), rows)?;
        check_length("recurrent", "bias_hh", of.bias_hh.len(), of.bias_ih.len())?;
        check_length(
            "recurrent",
            "weight_hr",
            of.projection.len(),
            if state == hidden { of.projection.len() } else { state * hidden },
        )?;
        optional("weight_hr", of.projection.len(), state * hidden)?;
        optional("peephole", of.peephole.len(), (if kind.coupled { 2 } else { 3 }) * hidden)?;
        optional("norm_ih", of.norm_ih.len(), rows)?;
        check_length("recurrent", "norm_hh", of.norm_hh.len(), of.norm_ih.len())?;
        optional("norm_c", of.norm_c.len(), 2 * hidden)?;
        let groups = kind.groups();
        let normed = !of.norm_ih.is_empty();
        let mut bias_ih = if of.bias_ih.is_empty() { vec![T::ZERO; rows] } else { of.bias_ih.to_vec() };
        let bias_hh = if of.bias_hh.is_empty() { vec![T::ZERO; rows] } else { of.bias_hh.to_vec() };
        if !normed {
            // Where nothing comes between the two sums, one chain starts from both biases.
            for group in groups.iter().filter(|g| g.joins) {
                for row in group.first..group.first + group.rows {
                    bias_ih[row] += bias_hh[row];
                }
            }
        }
        let part = |g: &Group| MatrixView::new(&of.weight_hh[g.first * state..(g.first + g.rows) * state], g.rows, state);
        let projection = (!of.projection.is_empty()).then(|| MatrixView::new(of.projection, state, hidden));
        let all = MatrixView::new(of.weight_ih, rows, input);
        Ok(Self {
            kind,
            input: PackedMatrix::new(all.transposed()),
            recurrent: groups.iter().map(|g| PackedMatrix::new(part(g).transposed())).collect(),
            projection: projection.map(|w| PackedMatrix::new(w.transposed())),
            bias_ih,
            bias_hh,
            peephole: of.peephole.to_vec(),
            norm: normed.then(|| (of.norm_ih.to_vec(), of.norm_hh.to_vec())),
            norm_c: of.norm_c.to_vec(),
            back: backward.then(|| Back {
                input: PackedMatrix::new(all),
                recurrent: groups.iter().map(|g| PackedMatrix::new(part(g))).collect(),
                projection: projection.map(PackedMatrix::new),
            }),
        })
    }

    /// Which cell it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it was packed for the backward pass too.
    pub fn has_backward(&self) -> bool {
        self.back.is_some()
    }
}
