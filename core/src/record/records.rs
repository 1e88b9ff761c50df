//! The records of a batch, decoded in place, one at a time.
//!
//! Offsets rise strictly and stay within the batch; they may have gaps, because compaction removes
//! records and keeps the rest as they are. The first malformed record ends the iteration with an
//! error that says where it stands. Headers are not looked into ([`EncodedHeaders`] checks them
//! when they are read). Compressed records are decompressed before they come here; positions are
//! then those of the batch as it would be uncompressed.

use super::batch::HEADER_BYTES;
use super::varint;
use super::{BatchError, BatchHeader, EncodedHeaders, RecordProblem, RecordView};

/// The records of a batch; yields `Result<RecordView, BatchError>` and ends after an error.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    rest: &'a [u8],
    /// Length of the whole batch, uncompressed: with `rest` it gives positions.
    total_bytes: usize,
    /// Records still to come.
    remaining: u32,
    /// Records read.
    index: u32,
    /// Offset delta of the record before.
    previous_delta: i64,
    last_offset_delta: i64,
    base_offset: i64,
    base_timestamp_ms: i64,
    /// The timestamp of every record, where the log and not the producer set it.
    append_time_ms: Option<i64>,
    /// Why the records cannot be read at all.
    failed: Option<&'a BatchError>,
}

impl<'a> Records<'a> {
    /// The records of a batch whose header is `header`: `section` is what stands behind it,
    /// uncompressed.
    ///
    /// The header has passed [`BatchHeader::parse`]; the section may be anything.
    #[must_use]
    pub(crate) fn new(header: &BatchHeader, section: &'a [u8]) -> Self {
        Self {
            rest: section,
            total_bytes: HEADER_BYTES + section.len(),
            remaining: header.record_count.max(0) as u32,
            index: 0,
            previous_delta: -1,
            last_offset_delta: i64::from(header.last_offset_delta),
            base_offset: header.base_offset,
            base_timestamp_ms: header.base_timestamp_ms,
            append_time_ms: header.append_time_ms(),
            failed: None,
        }
    }

    /// The records of a batch that cannot be decompressed: the reason, once.
    #[must_use]
    pub(super) fn failed(header: &BatchHeader, error: &'a BatchError) -> Self {
        Self {
            failed: Some(error),
            ..Self::new(header, &[])
        }
    }

    /// Records not read yet, by the batch's header.
    #[inline]
    #[must_use]
    pub const fn count_remaining(&self) -> u32 {
        self.remaining
    }

    /// Index and position (bytes from the start of the batch, uncompressed) of the next record.
    #[must_use]
    pub const fn place(&self) -> (u32, usize) {
        (self.index, self.total_bytes - self.rest.len())
    }

    /// Passes over the records below `offset` by their lengths alone, where the batch has no gaps.
    ///
    /// A help for a reader that resumes inside a batch, no promise: it may stop early (the batch has
    /// gaps, or is malformed), so what follows is still to be compared with `offset`.
    pub fn skip_below(&mut self, offset: i64) {
        let gapless = i64::from(self.remaining) == self.last_offset_delta + 1;
        if self.index != 0 || !gapless || self.failed.is_some() {
            return;
        }
        let records = offset
            .saturating_sub(self.base_offset)
            .clamp(0, self.last_offset_delta);
        for _ in 0..records {
            let Ok((len, taken)) = varint::read_i32(self.rest) else {
                return;
            };
            let Some(rest) = usize::try_from(len)
                .ok()
                .and_then(|len| self.rest.get(taken + len..))
            else {
                return;
            };
            self.rest = rest;
            self.remaining -= 1;
            self.index += 1;
            self.previous_delta += 1;
        }
    }

    /// The next record.
    #[inline]
    fn read(&mut self) -> Result<RecordView<'a>, RecordProblem> {
        let body = self.take_record()?;
        // Kafka reserves the attributes of a record and ignores them; so do we.
        let Some((_attributes, body)) = body.split_first() else {
            return Err(RecordProblem::NoAttributes);
        };
        let (timestamp_delta, body) = split_i64(body, "timestamp delta")?;
        let (offset_delta, body) = split_i32(body, "offset delta")?;
        let (key, body) = split_bytes(body, "key")?;
        let (value, body) = split_bytes(body, "value")?;
        let (header_count, headers) = split_i32(body, "header count")?;

        let delta = i64::from(offset_delta);
        if delta <= self.previous_delta || delta > self.last_offset_delta {
            return Err(RecordProblem::OffsetDelta {
                found: offset_delta,
                least: self.previous_delta + 1,
                most: self.last_offset_delta,
            });
        }
        // A header has two length bytes at least.
        if header_count < 0 || header_count as usize > headers.len() / 2 {
            return Err(RecordProblem::header_count(header_count, headers.len()));
        }
        if header_count == 0 && !headers.is_empty() {
            return Err(RecordProblem::header_bytes(headers.len()));
        }
        let timestamp_ms = match self.append_time_ms {
            Some(append_time_ms) => append_time_ms,
            None => self.base_timestamp_ms.checked_add(timestamp_delta).ok_or(
                RecordProblem::Timestamp {
                    found: timestamp_delta,
                    base_timestamp_ms: self.base_timestamp_ms,
                },
            )?,
        };
        self.previous_delta = delta;
        Ok(RecordView {
            // The header's check has bounded base offset + last offset delta.
            offset: self.base_offset.wrapping_add(delta),
            timestamp_ms,
            key,
            value,
            headers: EncodedHeaders::new(header_count as u32, headers),
        })
    }

    /// Takes the length and the bytes of the next record off `rest`.
    #[inline]
    fn take_record(&mut self) -> Result<&'a [u8], RecordProblem> {
        let (len, rest) = split_i32(self.rest, "length")?;
        let split = usize::try_from(len)
            .ok()
            .and_then(|len| rest.split_at_checked(len));
        let Some((body, rest)) = split else {
            return Err(RecordProblem::Length {
                found: len,
                remaining: rest.len(),
            });
        };
        self.rest = rest;
        Ok(body)
    }

    /// Ends the iteration.
    #[cold]
    fn stop(&mut self) {
        (self.rest, self.remaining, self.failed) = (&[], 0, None);
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RecordView<'a>, BatchError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.failed {
            self.stop();
            return Some(Err(error.clone()));
        }
        let position = self.total_bytes - self.rest.len();
        if self.remaining == 0 {
            let found = self.rest.len();
            self.rest = &[];
            return (found > 0).then_some(Err(BatchError::TrailingBytes { position, found }));
        }
        match self.read() {
            Ok(record) => {
                self.remaining -= 1;
                self.index += 1;
                Some(Ok(record))
            }
            Err(problem) => {
                self.stop();
                Some(Err(BatchError::Record {
                    index: self.index,
                    position,
                    problem,
                }))
            }
        }
    }
}

impl RecordProblem {
    #[cold]
    const fn header_count(found: i32, remaining: usize) -> Self {
        Self::Headers(super::HeaderError::Count { found, remaining })
    }

    #[cold]
    const fn header_bytes(found: usize) -> Self {
        Self::Headers(super::HeaderError::TrailingBytes { found })
    }
}

#[inline]
fn split_i32<'a>(bytes: &'a [u8], field: &'static str) -> Result<(i32, &'a [u8]), RecordProblem> {
    match varint::read_i32(bytes) {
        Ok((value, taken)) => Ok((value, bytes.get(taken..).unwrap_or_default())),
        Err(source) => Err(RecordProblem::Varint { field, source }),
    }
}

#[inline]
fn split_i64<'a>(bytes: &'a [u8], field: &'static str) -> Result<(i64, &'a [u8]), RecordProblem> {
    match varint::read_i64(bytes) {
        Ok((value, taken)) => Ok((value, bytes.get(taken..).unwrap_or_default())),
        Err(source) => Err(RecordProblem::Varint { field, source }),
    }
}

#[inline]
fn split_bytes<'a>(
    bytes: &'a [u8],
    field: &'static str,
) -> Result<(Option<&'a [u8]>, &'a [u8]), RecordProblem> {
    let (len, rest) = split_i32(bytes, field)?;
    if len == -1 {
        return Ok((None, rest));
    }
    match usize::try_from(len)
        .ok()
        .and_then(|len| rest.split_at_checked(len))
    {
        Some((value, rest)) => Ok((Some(value), rest)),
        None => Err(RecordProblem::FieldLength {
            field,
            found: len,
            remaining: rest.len(),
        }),
    }
}

#[cfg(test)]
mod tests;
