//! Which instruction set runs: the best one found, or the one that `WEFT_ISA` names. Chosen once, at the first kernel.

use crate::{Isa, PortableIsa};
#[cfg(target_arch = "x86_64")]
use crate::{avx2::Avx2, avx512::Avx512};
use std::sync::OnceLock;

/// An instruction set that this build knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Arrays; correct everywhere, fast only where the hardware has FMA.
    Portable,
    /// AVX2 with FMA.
    Avx2,
    /// AVX-512 F, BW, DQ, VL.
    Avx512,
}

/// `WEFT_ISA` holds a value that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsaError(pub String);

impl std::fmt::Display for IsaError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Choice {
    /// The name that `WEFT_ISA` uses.
    pub fn name(self) -> &'static str {
        match self {
            Choice::Portable => "portable",
            Choice::Avx2 => "avx2",
            Choice::Avx512 => "avx512",
        }
    }
}

/// What this machine can run, the best last.
pub fn available() -> Vec<Choice> {
    let mut found = vec![Choice::Portable];
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            found.push(Choice::Avx2);
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
            {
                found.push(Choice::Avx512);
            }
        }
    }
    found
}

fn choose() -> Result<Choice, IsaError> {
    let found = available();
    match std::env::var("WEFT_ISA") {
        Ok(name) if !name.is_empty() => found.iter().copied().find(|c| c.name() == name).ok_or_else(|| {
            let names: Vec<_> = found.iter().map(|c| c.name()).collect();
            IsaError(format!("[WEFT_ISA] expected one of {} on this machine, got '{name}'", names.join(", ")))
        }),
        _ => Ok(found[found.len() - 1]),
    }
}

static CHOICE: OnceLock<Result<Choice, IsaError>> = OnceLock::new();

/// Reads `WEFT_ISA` and fixes the choice for the life of the process.
pub fn initialize() -> Result<Choice, IsaError> {
    CHOICE.get_or_init(choose).clone()
}

/// The choice; a caller that has not asked [`initialize`] before gets a panic for a bad `WEFT_ISA`.
pub fn chosen() -> Choice {
    match initialize() {
        Ok(choice) => choice,
        Err(error) => panic!("{error}"),
    }
}

/// A piece of work written once over an instruction set.
pub trait Kernel {
    /// What it returns.
    type Output;
    /// The generic body. Mark the implementation `#[inline(always)]`: it is compiled once for each instruction set.
    fn run<I: Isa>(self) -> Self::Output;
}

/// Runs a kernel on the chosen instruction set.
#[inline]
pub fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    dispatch_on(chosen(), kernel)
}

/// Runs a kernel on a named instruction set. Panics where the machine lacks it.
#[inline]
pub fn dispatch_on<K: Kernel>(choice: Choice, kernel: K) -> K::Output {
    match choice {
        #[cfg(target_arch = "x86_64")]
        Choice::Avx512 => {
            debug_assert!(available().contains(&choice));
            // SAFETY: `available` found AVX-512 F, BW, DQ and VL before this value could be chosen.
            unsafe { run_avx512(kernel) }
        }
        #[cfg(target_arch = "x86_64")]
        Choice::Avx2 => {
            debug_assert!(available().contains(&choice));
            // SAFETY: `available` found AVX2 and FMA before this value could be chosen.
            unsafe { run_avx2(kernel) }
        }
        #[cfg(target_arch = "x86_64")]
        Choice::Portable if has_fma() => {
            // SAFETY: `has_fma` found FMA.
            unsafe { run_portable_fma(kernel) }
        }
        _ => kernel.run::<PortableIsa>(),
    }
}

#[cfg(target_arch = "x86_64")]
fn has_fma() -> bool {
    is_x86_feature_detected!("fma")
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi1,bmi2")]
unsafe fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Avx512>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Avx2>()
}

/// The portable body with the hardware's FMA: the same bits as the soft one, many times faster (rule R2).
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "fma")]
unsafe fn run_portable_fma<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<PortableIsa>()
}
