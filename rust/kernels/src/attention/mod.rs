//! Attention: of an encoder-decoder over its source, whose weights are looked at, and of many heads over long sequences, whose weights
//! are never stored.
//!
//! | file | what |
//! |---|---|
//! | `alignment.rs` | contexts and weights of an encoder-decoder: dot, scaled dot and additive scores |
//! | `score.rs` | the additive score v·tanh(q + k), forward and backward |
//! | `heads/` | multi-head attention by online softmax: forward, backward, chosen weights |

mod alignment;
pub mod heads;
mod score;

pub use alignment::{Gradients, Score, Sizes, backward, forward};
