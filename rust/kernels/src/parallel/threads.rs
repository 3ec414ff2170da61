//! The number of threads: `set_num_threads` > `WEFT_NUM_THREADS` > `OMP_NUM_THREADS` > what affinity and cgroup allow.

use crate::{Error, Result};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

static SET: AtomicUsize = AtomicUsize::new(0);
static DEFAULT: OnceLock<Result<usize>> = OnceLock::new();

/// What affinity and cgroup allow.
pub fn available() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get())
}

fn from_environment() -> Result<usize> {
    for name in ["WEFT_NUM_THREADS", "OMP_NUM_THREADS"] {
        if let Ok(value) = std::env::var(name) {
            // OpenMP allows a list, one entry for each level of nesting; the first counts.
            let first = value.split(',').next().unwrap_or("").trim();
            if first.is_empty() {
                continue;
            }
            return match first.parse::<usize>() {
                Ok(n) if (1..=1024).contains(&n) => Ok(n),
                _ => Err(Error::Config(format!("[{name}] expected a whole number from 1 to 1024, got '{value}'"))),
            };
        }
    }
    Ok(available())
}

/// Reads the environment once; an unusable value is an error.
pub fn initialize() -> Result<()> {
    match DEFAULT.get_or_init(from_environment) {
        Ok(_) => Ok(()),
        Err(Error::Config(text)) => Err(Error::Config(text.clone())),
        Err(_) => unreachable!("only the configuration can be wrong here"),
    }
}

/// Threads that kernels may use, the caller included.
pub fn num_threads() -> usize {
    match SET.load(Ordering::Relaxed) {
        0 => DEFAULT.get_or_init(from_environment).as_ref().map_or(1, |n| *n),
        n => n,
    }
}

/// Sets the number of threads for the whole process.
pub fn set_num_threads(n: usize) -> Result<()> {
    if !(1..=1024).contains(&n) {
        return Err(Error::Config(format!("[set_num_threads] expected a whole number from 1 to 1024, got {n}")));
    }
    SET.store(n, Ordering::Relaxed);
    Ok(())
}
