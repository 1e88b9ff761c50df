//! The parts of a SET frame: several payloads that happen together.
//!
//! ```text
//! 0 kind u8   1 flags u8   2 version u16   4 partition u32   8 len u32   12 reserved u32 = 0
//! 16 bytes, then zeros up to a multiple of 8 (not counted by len)
//! ```
//!
//! The frame's CRC covers all of it; a batch inside keeps its own CRC as well.

use thiserror::Error;

use crate::ids::PartitionId;

use super::entry::Kind;
use super::frame::{FRAME_ALIGN, PAYLOAD_VERSION, padded};

/// Bytes of a part before its payload.
pub(super) const PART_HEADER_BYTES: usize = 16;
/// Where a part's flags stand, bytes before its payload.
const FLAGS_BEFORE_PAYLOAD: usize = PART_HEADER_BYTES - 1;
/// Flag of a part on its way to the log: the time of the append becomes the timestamp of every record. The
/// writer takes it off when it stamps the batch, so no frame has it.
const APPEND_TIME: u8 = 1;

/// Why the payload of a SET is not one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SetError {
    /// It has no part.
    #[error("it has no part")]
    Empty,
    /// A part begins or ends beyond the payload.
    #[error("the part at byte {at} has {len} bytes, {remaining} remain")]
    Length {
        /// Where the part begins, bytes from the start of the payload.
        at: usize,
        /// Its length.
        len: u32,
        /// Bytes that remain behind its header.
        remaining: usize,
    },
    /// Padding or reserved bytes are not zero.
    #[error("the part at byte {at} has padding or reserved bytes that are not zero")]
    NotZero {
        /// Where the part begins.
        at: usize,
    },
    /// A part of a kind that cannot be in a set, or of a newer version.
    #[error("the part at byte {at} is of kind {kind} version {version}")]
    Kind {
        /// Where the part begins.
        at: usize,
        /// Its kind.
        kind: u8,
        /// Its version.
        version: u16,
    },
}

/// One part of a SET, or the whole of any other entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// What it is.
    pub kind: Kind,
    /// Version of its payload.
    pub version: u16,
    /// The partition it is about.
    pub partition: PartitionId,
    /// Where its payload begins, bytes from the start of the SET's payload.
    pub at: usize,
    /// Its payload.
    pub payload: &'a [u8],
}

/// The parts of a SET's payload, in order.
///
/// # Errors
/// [`SetError`] for anything but whole, known parts.
pub(super) fn parts(payload: &[u8]) -> Result<Vec<Part<'_>>, SetError> {
    parts_with(payload, 0)
}

/// The parts of a SET that is to be appended: batches may ask to be stamped.
///
/// # Errors
/// As for [`parts`].
pub(super) fn unstamped_parts(payload: &[u8]) -> Result<Vec<Part<'_>>, SetError> {
    parts_with(payload, APPEND_TIME)
}

/// Whether the part whose payload begins at `at` asks for the time of the append.
pub(super) fn wants_append_time(payload: &[u8], at: usize) -> bool {
    let flags = at.checked_sub(FLAGS_BEFORE_PAYLOAD);
    flags.and_then(|at| payload.get(at)) == Some(&APPEND_TIME)
}

/// Takes off what the part whose payload begins at `at` asks for.
pub(super) fn clear_flags(payload: &mut [u8], at: usize) {
    let flags = at.checked_sub(FLAGS_BEFORE_PAYLOAD);
    if let Some(flags) = flags.and_then(|at| payload.get_mut(at)) {
        *flags = 0;
    }
}

fn parts_with(payload: &[u8], flags: u8) -> Result<Vec<Part<'_>>, SetError> {
    let mut parts = Vec::new();
    let mut at = 0;
    while at < payload.len() {
        let (part, next) = part_at(payload, at, flags)?;
        parts.push(part);
        at = next;
    }
    if parts.is_empty() {
        return Err(SetError::Empty);
    }
    Ok(parts)
}

fn part_at(payload: &[u8], at: usize, allowed_flags: u8) -> Result<(Part<'_>, usize), SetError> {
    let rest = payload.get(at..).unwrap_or_default();
    let Some((header, behind)) = rest.split_first_chunk::<PART_HEADER_BYTES>() else {
        return Err(SetError::Length {
            at,
            len: 0,
            remaining: rest.len(),
        });
    };
    let [
        kind,
        flags,
        v0,
        v1,
        p0,
        p1,
        p2,
        p3,
        l0,
        l1,
        l2,
        l3,
        reserved @ ..,
    ] = *header;
    let version = u16::from_le_bytes([v0, v1]);
    let len = u32::from_le_bytes([l0, l1, l2, l3]);
    let length_error = SetError::Length {
        at,
        len,
        remaining: behind.len(),
    };
    let padded_len = usize::try_from(padded(u64::from(len))).unwrap_or(usize::MAX);
    let (body, _) = behind
        .split_at_checked(padded_len)
        .ok_or_else(|| length_error.clone())?;
    let (bytes, padding) = body.split_at_checked(len as usize).ok_or(length_error)?;
    if reserved != [0; 4] || flags & !allowed_flags != 0 || padding.iter().any(|byte| *byte != 0) {
        return Err(SetError::NotZero { at });
    }
    let known = Kind::from_number(kind).filter(|kind| {
        kind.takes_index()
            && kind.is_supported()
            && *kind != Kind::Set
            && kind.reads_version(version)
    });
    let kind = known.ok_or(SetError::Kind { at, kind, version })?;
    let partition = PartitionId(u32::from_le_bytes([p0, p1, p2, p3]));
    let payload_at = at + PART_HEADER_BYTES;
    let part = Part {
        kind,
        version,
        partition,
        at: payload_at,
        payload: bytes,
    };
    Ok((part, payload_at + padded_len))
}

/// A part of a SET that is to be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetPart {
    /// What it is: a record batch or a control kind.
    pub kind: Kind,
    /// Version of its payload.
    pub version: u16,
    /// The partition it is about; 0 where the kind has none.
    pub partition: PartitionId,
    /// Its payload: of RECORDS one record batch, verified by the caller and stamped by the log.
    pub payload: Vec<u8>,
    /// Whether the time of the append becomes the timestamp of every record (RECORDS only).
    pub log_append_time: bool,
}

impl SetPart {
    /// A control part of the oldest version.
    #[must_use]
    pub const fn control(kind: Kind, partition: PartitionId, payload: Vec<u8>) -> Self {
        Self {
            kind,
            version: PAYLOAD_VERSION,
            partition,
            payload,
            log_append_time: false,
        }
    }
}

/// Which part of a SET was refused: the source of the error that the append is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("part {part} of the SET, counted from 0, is refused, and with it the whole")]
pub struct PartRefused {
    /// Its place.
    pub part: usize,
}

/// The payload of a SET frame that holds `parts`, in order.
#[must_use]
pub fn encode_set(parts: &[SetPart]) -> Vec<u8> {
    let mut payload = Vec::new();
    for part in parts {
        // A part too long for its length field is too long for a frame, which refuses the append.
        let len = u32::try_from(part.payload.len()).unwrap_or(u32::MAX);
        let flags = if part.log_append_time { APPEND_TIME } else { 0 };
        payload.extend_from_slice(&[part.kind.number(), flags]);
        payload.extend_from_slice(&part.version.to_le_bytes());
        payload.extend_from_slice(&part.partition.0.to_le_bytes());
        payload.extend_from_slice(&len.to_le_bytes());
        payload.extend_from_slice(&[0; 4]);
        payload.extend_from_slice(&part.payload);
        payload.resize(payload.len().next_multiple_of(FRAME_ALIGN), 0);
    }
    payload
}
