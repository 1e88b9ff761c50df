//! Derived state as pairs of key and value: what snapshots and checkpoints hold.
//!
//! The first byte of a key says whose the pair is: upper-case letters are the log's own, the others the
//! machine's. Values are postcard of structs that only grow at their ends, so a pair of a newer version can
//! be read, as far as it is known here.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorCode, Result};

/// A piece of derived state under its key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StatePair {
    /// The key.
    pub key: Vec<u8>,
    /// The value; none: what stood under the key is gone.
    pub value: Option<Vec<u8>>,
}

/// How much of a state is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything there is.
    All,
    /// What has changed since it was last asked for with this scope.
    Changed,
}

impl StatePair {
    /// The pair that says what stands under `key` now: `None`, nothing any more.
    #[must_use]
    pub fn new(key: Vec<u8>, value: Option<impl Serialize>) -> Self {
        // Plain numbers, strings and lists: postcard refuses none of them.
        let value = value.and_then(|value| postcard::to_stdvec(&value).ok());
        Self { key, value }
    }

    /// The value.
    ///
    /// # Errors
    /// [`bad`](Self::bad) if there is none, or if it cannot be read.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T> {
        let value = self.value.as_deref().ok_or_else(|| self.bad())?;
        let (value, _) = postcard::take_from_bytes(value).map_err(|_| self.bad())?;
        Ok(value)
    }

    /// The bytes of the key from `at` on, of which there must be `N` at least.
    ///
    /// # Errors
    /// [`bad`](Self::bad).
    pub fn key_part<const N: usize>(&self, at: usize) -> Result<[u8; N]> {
        let part = self.key.get(at..).and_then(|rest| rest.first_chunk());
        part.copied().ok_or_else(|| self.bad())
    }

    /// What is wrong with a pair that is not what its key says.
    #[must_use]
    pub fn bad(&self) -> Error {
        Error::new(
            ErrorCode::CorruptSegment,
            format!("the state under key {:02x?} cannot be read", self.key),
        )
    }
}
