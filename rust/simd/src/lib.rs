//! Lanes: the one place of Weft that knows instruction sets.
//!
//! A kernel is written once, over [`Lanes`], and handed to [`dispatch`], which runs it compiled for the best instruction set
//! of the machine (or the one that `WEFT_ISA` names). The lanes of a vector always lie over outputs, never over a sum, and
//! every operation is the correctly rounded one, so each instruction set gives the same bits.
//!
//! | file | what |
//! |---|---|
//! | `lanes.rs` | the traits: what a vector can do ([`Lanes`]), what an instruction set is ([`Isa`]) |
//! | `avx512.rs`, `avx2.rs`, `portable.rs` | the three implementations |
//! | `pair.rs` | two vectors in step, for long chains |
//! | `halving.rs` | sums and maxima over the lanes of a vector, in registers |
//! | `turning.rs` | a square of numbers turned over in registers |
//! | `real.rs` | f32 and f64: constants and polynomial coefficients |
//! | `maths.rs` | exp, log, tanh, sigmoid, erf on lanes |
//! | `choice.rs` | detection, `WEFT_ISA`, [`dispatch`] |
//! | `denormals.rs` | flush-to-zero mode of the calling thread |

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod caches;
mod choice;
mod denormals;
#[cfg(target_arch = "x86_64")]
mod halving;
mod lanes;
pub mod maths;
mod pair;
mod portable;
mod real;
#[cfg(target_arch = "x86_64")]
mod turning;

pub use caches::{ask_to_read, ask_to_write, second_level, streams_are_asked_for};
pub use choice::{Choice, IsaError, Kernel, available, chosen, dispatch, dispatch_on, initialize};
pub use denormals::{flush_denormal, set_flush_denormal};
pub use lanes::{AHEAD, Isa, Lanes};
pub use pair::{Four, Pair};
pub use portable::{PortableIsa, VectorOf};
pub use real::Real;
