//! A whole batch as a value: checked once, shared without a copy.

use bytes::Bytes;

use super::{BatchHeader, parse_whole, verify};
use crate::record::{BatchError, Records};

/// A verified batch, shared: a clone costs a reference count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    bytes: Bytes,
    header: BatchHeader,
}

impl Batch {
    /// The batch that `bytes` are, checked as [`verify`] does.
    ///
    /// # Errors
    /// [`BatchError`] when `bytes` are not one whole, intact batch.
    pub fn verified(bytes: Bytes) -> Result<Self, BatchError> {
        let header = verify(&bytes)?;
        Ok(Self { bytes, header })
    }

    /// The batch that `bytes` are, for a caller that has checked or just made its checksum.
    ///
    /// Header and length are checked all the same, the CRC is not.
    ///
    /// # Errors
    /// [`BatchError`] when `bytes` are not one whole batch.
    pub fn already_verified(bytes: Bytes) -> Result<Self, BatchError> {
        let header = parse_whole(&bytes)?;
        Ok(Self { bytes, header })
    }

    /// The header.
    #[inline]
    #[must_use]
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The whole batch.
    #[inline]
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The whole batch, without another reference.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// Offset of the first record.
    #[inline]
    #[must_use]
    pub const fn base_offset(&self) -> i64 {
        self.header.base_offset
    }

    /// Offset of the last record.
    #[inline]
    #[must_use]
    pub const fn last_offset(&self) -> i64 {
        self.header.last_offset()
    }

    /// The records, decoded while they are read.
    #[inline]
    #[must_use]
    pub fn records(&self) -> Records<'_> {
        Records::new(&self.header, &self.bytes)
    }
}
