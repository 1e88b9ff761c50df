//! A whole batch as a value: checked once, shared without a copy.

use std::fmt;
use std::sync::OnceLock;

use bytes::Bytes;

use super::{BatchHeader, Codec, parse_whole, section, verify};
use crate::record::{BatchError, Records, compression};

/// A verified batch, shared: a clone costs a reference count.
///
/// Compressed records are decompressed when they are first read, and kept as long as the batch.
#[derive(Clone)]
pub struct Batch {
    bytes: Bytes,
    header: BatchHeader,
    /// The records of a compressed batch, once somebody wanted them.
    decompressed: OnceLock<Result<Bytes, BatchError>>,
}

impl Batch {
    /// The batch that `bytes` are, checked as [`verify`] does.
    ///
    /// # Errors
    /// [`BatchError`] when `bytes` are not one whole, intact batch.
    pub fn verified(bytes: Bytes) -> Result<Self, BatchError> {
        let header = verify(&bytes)?;
        Ok(Self {
            bytes,
            header,
            decompressed: OnceLock::new(),
        })
    }

    /// The batch that `bytes` are, for a caller that has checked or just made its checksum.
    ///
    /// Header and length are checked all the same, the CRC is not.
    ///
    /// # Errors
    /// [`BatchError`] when `bytes` are not one whole batch.
    pub fn already_verified(bytes: Bytes) -> Result<Self, BatchError> {
        let header = parse_whole(&bytes)?;
        Ok(Self {
            bytes,
            header,
            decompressed: OnceLock::new(),
        })
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

    /// The records, decoded while they are read. If they cannot be decompressed, one error.
    #[inline]
    #[must_use]
    pub fn records(&self) -> Records<'_> {
        if self.header.codec() == Codec::None {
            return Records::new(&self.header, section(&self.header, &self.bytes));
        }
        match self.decompressed() {
            Ok(section) => Records::new(&self.header, section),
            Err(error) => Records::failed(&self.header, error),
        }
    }

    fn decompressed(&self) -> Result<&[u8], &BatchError> {
        let section = section(&self.header, &self.bytes);
        let decompressed = self.decompressed.get_or_init(|| {
            let mut records = compression::decompress(self.header.codec(), section)?;
            // Whoever keeps the batch pays for its records, not for memory that turned out too
            // much.
            if records.capacity() / 2 > records.len() {
                records.shrink_to_fit();
            }
            Ok(records.into())
        });
        decompressed.as_deref()
    }
}

impl PartialEq for Batch {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Batch {}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("header", &self.header)
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}
