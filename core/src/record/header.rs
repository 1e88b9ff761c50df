//! Record headers in their three forms: a slice of [`Header`]s, Kafka's encoding inside a record
//! ([`EncodedHeaders`]), and the packed form that crosses to other languages ([`PackedHeaders`]).
//!
//! Both byte forms are read lazily and checked while they are read: an iterator yields an error
//! once and then ends. A key is UTF-8 in every form; a value is bytes or absent; keys may repeat.

use super::varint;
use super::{HeaderError, VarintError};

/// One header of a record, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Header<'a> {
    /// The key; it need not be unique in a record.
    pub key: &'a str,
    /// The value, none if absent (which is not the same as empty).
    pub value: Option<&'a [u8]>,
}

/// The headers of a record that is about to be encoded.
#[derive(Debug, Clone, Copy)]
pub enum HeadersRef<'a> {
    /// Headers one by one.
    Slice(&'a [Header<'a>]),
    /// Packed: `{u32 key_len, i32 value_len (-1 absent), key, value}` repeated, little-endian.
    Packed(&'a [u8]),
}

impl HeadersRef<'_> {
    /// No headers.
    pub const NONE: Self = HeadersRef::Slice(&[]);

    /// How many headers there are and the bytes they take in a record, their count apart.
    ///
    /// # Errors
    /// [`HeaderError`] when packed bytes are malformed.
    #[inline]
    pub(super) fn measure(&self) -> Result<(usize, u64), HeaderError> {
        match *self {
            HeadersRef::Slice([]) | HeadersRef::Packed([]) => Ok((0, 0)),
            HeadersRef::Slice(headers) => {
                Ok((headers.len(), headers.iter().map(encoded_size).sum()))
            }
            HeadersRef::Packed(bytes) => {
                let (mut count, mut size) = (0, 0);
                for header in PackedHeaders::new(bytes) {
                    size += encoded_size(&header?);
                    count += 1;
                }
                Ok((count, size))
            }
        }
    }

    /// Appends the headers in Kafka's encoding, their count apart.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            HeadersRef::Slice(headers) => headers.iter().for_each(|h| encode(h, out)),
            // `measure` came first and refused malformed bytes.
            HeadersRef::Packed(bytes) => {
                PackedHeaders::new(bytes)
                    .flatten()
                    .for_each(|h| encode(&h, out));
            }
        }
    }

    /// An upper bound of the bytes that the headers take in a record, without reading packed ones.
    pub(super) fn estimate(&self) -> usize {
        match *self {
            HeadersRef::Slice(headers) => headers
                .iter()
                .map(|h| 2 * varint::MAX_I32_BYTES + h.key.len() + h.value.map_or(0, <[u8]>::len))
                .sum(),
            // Eight bytes of lengths become ten at most.
            HeadersRef::Packed(bytes) => bytes.len() + bytes.len().div_ceil(4),
        }
    }
}

impl Default for HeadersRef<'_> {
    fn default() -> Self {
        Self::NONE
    }
}

/// Headers in Kafka's encoding, borrowed from a record batch; iterates `Result<Header, _>`.
#[derive(Debug, Clone, Copy, Default)]
pub struct EncodedHeaders<'a> {
    rest: &'a [u8],
    remaining: u32,
    total_bytes: usize,
}

impl<'a> EncodedHeaders<'a> {
    /// `count` headers that fill `bytes`.
    #[inline]
    pub(super) const fn new(count: u32, bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            remaining: count,
            total_bytes: bytes.len(),
        }
    }

    /// How many headers are still to come.
    #[inline]
    #[must_use]
    pub const fn count_remaining(&self) -> u32 {
        self.remaining
    }

    #[inline]
    fn read(&mut self) -> Result<Header<'a>, HeaderError> {
        let position = self.total_bytes - self.rest.len();
        let key = self.read_bytes("key", position)?;
        let Some(key) = key else {
            let remaining = self.rest.len();
            return Err(HeaderError::Length {
                field: "key",
                found: -1,
                position,
                remaining,
            });
        };
        let key = str::from_utf8(key).map_err(|_| HeaderError::NotUtf8 { position })?;
        let value = self.read_bytes("value", position)?;
        Ok(Header { key, value })
    }

    #[inline]
    fn read_bytes(
        &mut self,
        field: &'static str,
        position: usize,
    ) -> Result<Option<&'a [u8]>, HeaderError> {
        let (len, taken) =
            varint::read_i32(self.rest).map_err(|source: VarintError| HeaderError::Varint {
                field,
                position,
                source,
            })?;
        let behind = self.rest.get(taken..).unwrap_or_default();
        if len == -1 {
            self.rest = behind;
            return Ok(None);
        }
        let (bytes, rest) = cut(behind, i64::from(len), field, position)?;
        self.rest = rest;
        Ok(Some(bytes))
    }
}

impl<'a> Iterator for EncodedHeaders<'a> {
    type Item = Result<Header<'a>, HeaderError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.remaining == 0 {
            let found = std::mem::take(&mut self.rest).len();
            return (found > 0).then_some(Err(HeaderError::TrailingBytes { found }));
        }
        self.remaining -= 1;
        let header = self.read();
        if header.is_err() {
            (self.remaining, self.rest) = (0, &[]);
        }
        Some(header)
    }
}

/// Headers in packed form; iterates `Result<Header, _>`.
#[derive(Debug, Clone, Copy, Default)]
pub struct PackedHeaders<'a> {
    rest: &'a [u8],
    total_bytes: usize,
}

impl<'a> PackedHeaders<'a> {
    /// The headers that fill `bytes`: `{u32 key_len, i32 value_len (-1 absent), key, value}`
    /// repeated, little-endian.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            total_bytes: bytes.len(),
        }
    }

    /// The bytes of the headers still to come.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.rest
    }

    fn read(&mut self) -> Result<Header<'a>, HeaderError> {
        let position = self.total_bytes - self.rest.len();
        let Some((lengths, rest)) = self.rest.split_first_chunk::<8>() else {
            let found = self.rest.len();
            return Err(HeaderError::TrailingBytes { found });
        };
        let [k0, k1, k2, k3, v0, v1, v2, v3] = *lengths;
        let key_len = u32::from_le_bytes([k0, k1, k2, k3]);
        let value_len = i32::from_le_bytes([v0, v1, v2, v3]);
        let (key, rest) = cut(rest, i64::from(key_len), "key", position)?;
        let key = str::from_utf8(key).map_err(|_| HeaderError::NotUtf8 { position })?;
        if value_len == -1 {
            self.rest = rest;
            return Ok(Header { key, value: None });
        }
        let (value, rest) = cut(rest, i64::from(value_len), "value", position)?;
        self.rest = rest;
        Ok(Header {
            key,
            value: Some(value),
        })
    }
}

impl<'a> Iterator for PackedHeaders<'a> {
    type Item = Result<Header<'a>, HeaderError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let header = self.read();
        if header.is_err() {
            self.rest = &[];
        }
        Some(header)
    }
}

/// Appends `header` in packed form.
///
/// # Errors
/// [`HeaderError::Length`] when the key or the value is longer than 2^31 - 1 bytes; nothing is
/// appended then.
pub fn pack_header(out: &mut Vec<u8>, header: &Header<'_>) -> Result<(), HeaderError> {
    let too_long = |field, len: usize| HeaderError::Length {
        field,
        found: len as i64,
        position: out.len(),
        remaining: i32::MAX as usize,
    };
    let key_len = i32::try_from(header.key.len()).map_err(|_| too_long("key", header.key.len()))?;
    let value_len = match header.value {
        Some(value) => i32::try_from(value.len()).map_err(|_| too_long("value", value.len()))?,
        None => -1,
    };
    out.extend_from_slice(&key_len.to_le_bytes());
    out.extend_from_slice(&value_len.to_le_bytes());
    out.extend_from_slice(header.key.as_bytes());
    out.extend_from_slice(header.value.unwrap_or_default());
    Ok(())
}

/// The first `len` bytes of `bytes` and what is behind them.
#[inline]
fn cut<'a>(
    bytes: &'a [u8],
    len: i64,
    field: &'static str,
    position: usize,
) -> Result<(&'a [u8], &'a [u8]), HeaderError> {
    match usize::try_from(len)
        .ok()
        .and_then(|len| bytes.split_at_checked(len))
    {
        Some(parts) => Ok(parts),
        None => {
            let remaining = bytes.len();
            Err(HeaderError::Length {
                field,
                found: len,
                position,
                remaining,
            })
        }
    }
}

/// In 64 bits, because the same slice may be given many times: a 32-bit sum could wrap.
fn encoded_size(header: &Header<'_>) -> u64 {
    let value_len = header.value.map_or(0, <[u8]>::len);
    // A length that does not fit an `i32` makes the record too large, whatever its varint takes.
    let prefix = |len: usize| i32::try_from(len).map_or(varint::MAX_I32_BYTES, varint::size_i32);
    let value_prefix = if header.value.is_some() {
        prefix(value_len)
    } else {
        1
    };
    (prefix(header.key.len()) + value_prefix) as u64 + header.key.len() as u64 + value_len as u64
}

/// The record's total size is within `i32` by now, so every length is.
fn encode(header: &Header<'_>, out: &mut Vec<u8>) {
    varint::put_i32(out, header.key.len() as i32);
    out.extend_from_slice(header.key.as_bytes());
    varint::put_i32(out, header.value.map_or(-1, |value| value.len() as i32));
    out.extend_from_slice(header.value.unwrap_or_default());
}
