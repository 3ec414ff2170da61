//! The catalogue of what can go wrong in a kernel. Every entry has a test that pins its text.

use thiserror::Error;

/// What a kernel refuses, found before any output is written.
#[derive(Debug, Error, PartialEq)]
pub enum Error {
    /// A buffer has not the length that the sizes ask for.
    #[error("[{room}] {name}: expected {expected} elements, got {got}")]
    Length {
        /// The room that refuses.
        room: &'static str,
        /// The buffer.
        name: &'static str,
        /// Elements that the sizes ask for.
        expected: usize,
        /// Elements that came.
        got: usize,
    },
    /// An index points outside of its table.
    #[error("[{room}] {name}: expected indices in 0..{bound}, got {got} at position {position}")]
    Index {
        /// The room that refuses.
        room: &'static str,
        /// The buffer.
        name: &'static str,
        /// One more than the largest index allowed.
        bound: usize,
        /// The index that came.
        got: i64,
        /// Where it stands.
        position: usize,
    },
    /// `WEFT_ISA` or a thread count that cannot be used.
    #[error("{0}")]
    Config(String),
}

/// The result of a kernel.
pub type Result<T> = std::result::Result<T, Error>;

/// Refuses a buffer of the wrong length.
pub fn check_length(room: &'static str, name: &'static str, got: usize, expected: usize) -> Result<()> {
    if got == expected { Ok(()) } else { Err(Error::Length { room, name, expected, got }) }
}

/// Refuses indices outside of `0..bound`; `except` is let through (the ignored target of a loss).
pub fn check_indices(room: &'static str, name: &'static str, indices: &[i64], bound: usize, except: Option<i64>) -> Result<()> {
    for (position, &got) in indices.iter().enumerate() {
        if Some(got) != except && (got < 0 || got as u64 >= bound as u64) {
            return Err(Error::Index { room, name, bound, got, position });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_says_what_was_expected_and_what_came() {
        let length = check_length("linear", "bias", 3, 4).unwrap_err();
        assert_eq!(length.to_string(), "[linear] bias: expected 4 elements, got 3");
        let index = check_indices("embedding", "input", &[0, 9], 5, None).unwrap_err();
        assert_eq!(index.to_string(), "[embedding] input: expected indices in 0..5, got 9 at position 1");
        assert!(check_indices("loss", "target", &[-100, 4], 5, Some(-100)).is_ok());
        assert_eq!(Error::Config("[threads] no".into()).to_string(), "[threads] no");
    }
}
