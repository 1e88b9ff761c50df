//! Send rows: records that a host hands over, back to back in one buffer.
//!
//! ```text
//!  0 u32 row_len  4 u32 topic_id  8 i32 partition (-1 = partitioner)  12 i32 key_len (-1 absent)
//! 16 i32 value_len (-1 absent)  20 u32 headers_len  24 i64 timestamp_ms (-1 = now)
//! 32 u64 ticket (0 = none)  40 key, value, headers (packed), padding to a multiple of 8
//! ```
//!
//! [`SendRows::check`] looks at the whole buffer before a row of it is taken, so that a malformed
//! row changes nothing. The content of the padding is not looked at.

use thiserror::Error;

use super::{align8, bytes_at, u32_at};
use crate::record::{HeaderError, HeadersRef, PackedHeaders};

/// Bytes of a send row before its key.
pub const SEND_ROW_BYTES: usize = 40;

/// Why a buffer of send rows is refused as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RowError {
    /// The buffer ends inside a row.
    #[error("row {row} at byte {position} ends after {found} bytes, expected {expected}")]
    Truncated {
        /// The row's index in the buffer.
        row: usize,
        /// Where it begins.
        position: usize,
        /// Bytes there are.
        found: usize,
        /// Bytes it should have.
        expected: usize,
    },
    /// `row_len` is not what the row's parts add up to.
    #[error("row {row} at byte {position} has row_len {found}, its parts make {expected}")]
    RowLen {
        /// The row's index in the buffer.
        row: usize,
        /// Where it begins.
        position: usize,
        /// The field.
        found: u32,
        /// 40, key, value, headers, and the padding to a multiple of 8.
        expected: u64,
    },
    /// A field has a negative value below -1.
    #[error("row {row} at byte {position} has {field} {found}, expected -1 or more")]
    Negative {
        /// The row's index in the buffer.
        row: usize,
        /// Where it begins.
        position: usize,
        /// "partition", "key_len" or "value_len".
        field: &'static str,
        /// The field's value.
        found: i32,
    },
    /// The packed headers are malformed.
    #[error("row {row} at byte {position}: headers: {problem}")]
    Headers {
        /// The row's index in the buffer.
        row: usize,
        /// Where it begins.
        position: usize,
        /// What is wrong with them.
        problem: HeaderError,
    },
    /// A part is longer than its length field can say.
    #[error("{field} of {found} bytes is too long for a send row")]
    TooLong {
        /// "key", "value" or "headers".
        field: &'static str,
        /// Its bytes.
        found: usize,
    },
}

/// One send row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendRow<'a> {
    /// Bytes of the row, padding included.
    pub row_len: u32,
    /// The topic, by the number the producer gave its name.
    pub topic_id: u32,
    /// The partition, -1 to let the partitioner choose.
    pub partition: i32,
    /// The key, none if absent.
    pub key: Option<&'a [u8]>,
    /// The value, none for a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers in packed form, empty for none.
    pub headers_packed: &'a [u8],
    /// Milliseconds since 1970 UTC, -1 for now.
    pub timestamp_ms: i64,
    /// Comes back in a completion row, 0 for none.
    pub ticket: u64,
}

impl<'a> SendRow<'a> {
    /// The headers, as a batch builder takes them.
    #[must_use]
    pub const fn headers(&self) -> HeadersRef<'a> {
        HeadersRef::Packed(self.headers_packed)
    }
}

/// A buffer of send rows, all of them well formed; iterates [`SendRow`].
#[derive(Debug, Clone)]
pub struct SendRows<'a> {
    rest: &'a [u8],
    /// Rows still to come.
    remaining: usize,
}

impl<'a> SendRows<'a> {
    /// The rows of `bytes`, after checking every one.
    ///
    /// # Errors
    /// [`RowError`], which names the first malformed row; no row is to be taken then.
    pub fn check(bytes: &'a [u8]) -> Result<Self, RowError> {
        let (mut row, mut rest) = (0, bytes);
        while !rest.is_empty() {
            let position = bytes.len() - rest.len();
            let (parsed, behind) = split_row(rest).map_err(|fault| fault.at(row, position))?;
            for header in PackedHeaders::new(parsed.headers_packed) {
                header.map_err(|problem| RowError::Headers {
                    row,
                    position,
                    problem,
                })?;
            }
            (row, rest) = (row + 1, behind);
        }
        Ok(Self {
            rest: bytes,
            remaining: row,
        })
    }

    /// Rows still to come.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.remaining
    }

    /// Whether all rows have been read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.remaining == 0
    }
}

impl<'a> Iterator for SendRows<'a> {
    type Item = SendRow<'a>;

    #[inline]
    fn next(&mut self) -> Option<SendRow<'a>> {
        // `check` has seen every row, so `split_row` fails at the end of the buffer alone.
        let (row, rest) = split_row(self.rest).ok()?;
        self.rest = rest;
        self.remaining -= 1;
        Some(row)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining, Some(self.remaining))
    }
}

impl ExactSizeIterator for SendRows<'_> {}

/// Appends one row; `row.row_len` is computed and not read.
///
/// For tests, and for hosts written in Rust.
///
/// # Errors
/// [`RowError::TooLong`] when the key, the value or the whole row exceeds its length field; nothing
/// is appended then.
pub fn write_send_row(out: &mut Vec<u8>, row: &SendRow<'_>) -> Result<(), RowError> {
    let key_len = length("key", row.key)?;
    let value_len = length("value", row.value)?;
    let too_long = |field, found| RowError::TooLong { field, found };
    let headers_len = u32::try_from(row.headers_packed.len())
        .map_err(|_| too_long("headers", row.headers_packed.len()))?;
    let data_bytes = data_len(key_len) + data_len(value_len) + u64::from(headers_len);
    let row_len = (SEND_ROW_BYTES as u64 + data_bytes).next_multiple_of(8);
    let row_len = u32::try_from(row_len).map_err(|_| too_long("row", data_bytes as usize))?;

    let start = out.len();
    out.extend_from_slice(&row_len.to_le_bytes());
    out.extend_from_slice(&row.topic_id.to_le_bytes());
    out.extend_from_slice(&row.partition.to_le_bytes());
    out.extend_from_slice(&key_len.to_le_bytes());
    out.extend_from_slice(&value_len.to_le_bytes());
    out.extend_from_slice(&headers_len.to_le_bytes());
    out.extend_from_slice(&row.timestamp_ms.to_le_bytes());
    out.extend_from_slice(&row.ticket.to_le_bytes());
    out.extend_from_slice(row.key.unwrap_or_default());
    out.extend_from_slice(row.value.unwrap_or_default());
    out.extend_from_slice(row.headers_packed);
    out.resize(start + align8(out.len() - start), 0);
    Ok(())
}

/// A [`RowError`] before its place is known.
enum Fault {
    Truncated { found: usize, expected: usize },
    RowLen { found: u32, expected: u64 },
    Negative { field: &'static str, found: i32 },
}

impl Fault {
    fn at(self, row: usize, position: usize) -> RowError {
        match self {
            Self::Truncated { found, expected } => RowError::Truncated {
                row,
                position,
                found,
                expected,
            },
            Self::RowLen { found, expected } => RowError::RowLen {
                row,
                position,
                found,
                expected,
            },
            Self::Negative { field, found } => RowError::Negative {
                row,
                position,
                field,
                found,
            },
        }
    }
}

/// The row that `bytes` begin with, and what is behind it.
#[inline]
fn split_row(bytes: &[u8]) -> Result<(SendRow<'_>, &[u8]), Fault> {
    let Some(fixed) = bytes.first_chunk::<SEND_ROW_BYTES>() else {
        return Err(Fault::Truncated {
            found: bytes.len(),
            expected: SEND_ROW_BYTES,
        });
    };
    let row_len = field_u32(fixed, 0);
    let partition = at_least_minus_one("partition", field_u32(fixed, 8))?;
    let key_len = at_least_minus_one("key_len", field_u32(fixed, 12))?;
    let value_len = at_least_minus_one("value_len", field_u32(fixed, 16))?;
    let headers_len = field_u32(fixed, 20);

    let data_bytes = data_len(key_len) + data_len(value_len) + u64::from(headers_len);
    let expected = (SEND_ROW_BYTES as u64 + data_bytes).next_multiple_of(8);
    if u64::from(row_len) != expected {
        return Err(Fault::RowLen {
            found: row_len,
            expected,
        });
    }
    let Some((row, rest)) = bytes.split_at_checked(row_len as usize) else {
        return Err(Fault::Truncated {
            found: bytes.len(),
            expected: row_len as usize,
        });
    };
    // The parts add up to the row's length, so none of these cuts can fail.
    let data = row.get(SEND_ROW_BYTES..).unwrap_or_default();
    let (key, data) = data
        .split_at_checked(data_len(key_len) as usize)
        .unwrap_or_default();
    let (value, data) = data
        .split_at_checked(data_len(value_len) as usize)
        .unwrap_or_default();
    let row = SendRow {
        row_len,
        topic_id: field_u32(fixed, 4),
        partition,
        key: (key_len >= 0).then_some(key),
        value: (value_len >= 0).then_some(value),
        headers_packed: data.get(..headers_len as usize).unwrap_or_default(),
        timestamp_ms: i64::from_le_bytes(bytes_at(fixed, 24).unwrap_or_default()),
        ticket: u64::from_le_bytes(bytes_at(fixed, 32).unwrap_or_default()),
    };
    Ok((row, rest))
}

#[inline]
fn field_u32(fixed: &[u8; SEND_ROW_BYTES], at: usize) -> u32 {
    u32_at(fixed, at).unwrap_or_default()
}

#[inline]
fn at_least_minus_one(field: &'static str, raw: u32) -> Result<i32, Fault> {
    let found = raw.cast_signed();
    if found < -1 {
        Err(Fault::Negative { field, found })
    } else {
        Ok(found)
    }
}

/// The bytes that a length field stands for: -1 has none.
#[inline]
const fn data_len(len: i32) -> u64 {
    if len < 0 { 0 } else { len as u64 }
}

fn length(field: &'static str, bytes: Option<&[u8]>) -> Result<i32, RowError> {
    bytes.map_or(Ok(-1), |bytes| {
        i32::try_from(bytes.len()).map_err(|_| RowError::TooLong {
            field,
            found: bytes.len(),
        })
    })
}
