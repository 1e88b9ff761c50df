//! One frame of a segment, little-endian:
//!
//! ```text
//!  0 len u32 (header + payload, without padding)      4 crc u32      8 index u64
//! 16 durable u64 (the index known synced when this was written)     24 time i64, ms
//! 32 term u32   36 partition u32   40 kind u8   41 flags u8   42 version u16   44 reserved u32 = 0
//! 48 payload, then zeros up to a multiple of 8
//! ```
//!
//! `crc` is CRC-32C over the log's uuid, the segment's number, the frame's position, header bytes 0..4 and
//! 8..48, then the first 21 bytes of a record batch (what the batch's own CRC leaves out) or the whole of
//! any other payload. So every byte is covered, and a frame is one only where it was written: neither a
//! stale byte of a recycled file nor a frame that somebody stored inside a record passes.
//!
//! Checked here is what one frame can say of itself. Its place in the order of frames is `recovery`'s.

use thiserror::Error;

use crate::ids::{LeaderEpoch, PartitionId};
use crate::limits::{BATCH_BYTES_MAX, SET_BYTES_MAX};
use crate::record::{BatchError, batch};

use super::entry::Kind;
use super::set::SetError;

/// Bytes of a frame before its payload.
pub const FRAME_HEADER_BYTES: usize = 48;
/// Bytes of the largest payload of a frame.
pub(super) const PAYLOAD_BYTES_MAX: usize = SET_BYTES_MAX;
/// Bytes of the largest frame, without padding.
pub(super) const FRAME_BYTES_MAX: usize = FRAME_HEADER_BYTES + PAYLOAD_BYTES_MAX;
/// Frames begin at multiples of this many bytes.
pub(super) const FRAME_ALIGN: usize = 8;
/// The version of the payloads that this version writes, where it does not know a newer one.
pub const PAYLOAD_VERSION: u16 = 1;

/// Flag of a MARK: the log was closed cleanly right behind it.
pub const MARK_CLOSED: u8 = 1;
/// Flag of a MARK: a cleanly closed log was opened again.
pub const MARK_OPENED: u8 = 2;

/// Bytes of a record batch that its own CRC leaves out.
const BATCH_BYTES_OUTSIDE_CRC: usize = 21;

const LEN: usize = 0;
const CRC: usize = LEN + 4;
const INDEX: usize = CRC + 4;
const DURABLE: usize = INDEX + 8;
const TIME: usize = DURABLE + 8;
const TERM: usize = TIME + 8;
const PARTITION: usize = TERM + 4;
const KIND: usize = PARTITION + 4;
const FLAGS: usize = KIND + 1;
const VERSION: usize = FLAGS + 1;
const RESERVED: usize = VERSION + 2;

const _: () = assert!(RESERVED + 4 == FRAME_HEADER_BYTES);
const _: () = assert!(FRAME_HEADER_BYTES.is_multiple_of(FRAME_ALIGN));
const _: () = assert!(BATCH_BYTES_MAX <= PAYLOAD_BYTES_MAX);
const _: () = assert!(FRAME_BYTES_MAX < u32::MAX as usize);

/// The header of a frame: every field as it stands in the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Bytes of header and payload, without padding.
    pub len: u32,
    /// CRC-32C, see the module.
    pub crc: u32,
    /// Index of the entry; of the last entry before, where the kind takes none.
    pub index: u64,
    /// The index known synced when this frame was written.
    pub durable: u64,
    /// The writer's wall clock, ms since 1970 UTC.
    pub time_ms: i64,
    /// The term it was written in, at most `i32::MAX`.
    pub term: u32,
    /// The partition it is about.
    pub partition: u32,
    /// The kind's number.
    pub kind: u8,
    /// Flags; their meaning is the kind's.
    pub flags: u8,
    /// Version of the payload.
    pub version: u16,
    /// Zero.
    pub reserved: u32,
}

/// Why bytes are not a frame at this place of the log.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The length cannot be.
    #[error("frame length {found} is not from {least} to {most}")]
    Length {
        /// The field.
        found: u32,
        /// Bytes of the smallest frame.
        least: usize,
        /// Bytes of the largest, here.
        most: u64,
    },
    /// The file ends inside of the frame.
    #[error("{remaining} bytes to the end of the file are too few for a frame")]
    TooShort {
        /// Bytes there are.
        remaining: u64,
    },
    /// The checksum does not match.
    #[error("frame crc {found:#010x} computed, {expected:#010x} expected")]
    Crc {
        /// Computed from the bytes.
        found: u32,
        /// Stored in the header.
        expected: u32,
    },
    /// Bytes behind the payload are not zero.
    #[error("the padding behind the frame is not zero")]
    Padding,
    /// Zeros where frames follow: a page that was never written.
    #[error("no frame, but zeros, with other bytes behind them at position {position}")]
    Hole {
        /// Where the other bytes are.
        position: u64,
    },
    /// The index is not the next one.
    #[error("index {found}, expected {expected}")]
    Index {
        /// The field.
        found: u64,
        /// What has to be here.
        expected: u64,
    },
    /// The term is lower than that of the frame before, or larger than Kafka's epoch can be.
    #[error("term {found}, expected {least} to {}", i32::MAX)]
    Term {
        /// The field.
        found: u32,
        /// The term of the frame before.
        least: u32,
    },
    /// `durable` is beyond the frame's own index.
    #[error("durable {found} is beyond the frame's index {index}")]
    Durable {
        /// The field.
        found: u64,
        /// The frame's index.
        index: u64,
    },
    /// The record batch fails its check.
    #[error("record batch: {0}")]
    Batch(#[from] BatchError),
    /// The parts of a SET do not add up.
    #[error("set: {0}")]
    Set(#[from] SetError),
    /// A control payload cannot be decoded.
    #[error("payload: {0}")]
    Payload(String),
    /// A frame that only a newer version writes.
    #[error("kind {kind} version {version} is not known to this version")]
    TooNew {
        /// The kind's number.
        kind: u8,
        /// The payload's version.
        version: u16,
    },
}

impl FrameHeader {
    /// The fields that `bytes` hold; nothing is checked.
    #[must_use]
    pub fn decode(bytes: &[u8; FRAME_HEADER_BYTES]) -> Self {
        Self {
            len: u32::from_le_bytes(take(bytes, LEN)),
            crc: u32::from_le_bytes(take(bytes, CRC)),
            index: u64::from_le_bytes(take(bytes, INDEX)),
            durable: u64::from_le_bytes(take(bytes, DURABLE)),
            time_ms: i64::from_le_bytes(take(bytes, TIME)),
            term: u32::from_le_bytes(take(bytes, TERM)),
            partition: u32::from_le_bytes(take(bytes, PARTITION)),
            kind: u8::from_le_bytes(take(bytes, KIND)),
            flags: u8::from_le_bytes(take(bytes, FLAGS)),
            version: u16::from_le_bytes(take(bytes, VERSION)),
            reserved: u32::from_le_bytes(take(bytes, RESERVED)),
        }
    }

    /// The bytes of the header.
    #[must_use]
    pub fn encode(&self) -> [u8; FRAME_HEADER_BYTES] {
        let mut out = [0; FRAME_HEADER_BYTES];
        put(&mut out, LEN, self.len.to_le_bytes());
        put(&mut out, CRC, self.crc.to_le_bytes());
        put(&mut out, INDEX, self.index.to_le_bytes());
        put(&mut out, DURABLE, self.durable.to_le_bytes());
        put(&mut out, TIME, self.time_ms.to_le_bytes());
        put(&mut out, TERM, self.term.to_le_bytes());
        put(&mut out, PARTITION, self.partition.to_le_bytes());
        put(&mut out, KIND, self.kind.to_le_bytes());
        put(&mut out, FLAGS, self.flags.to_le_bytes());
        put(&mut out, VERSION, self.version.to_le_bytes());
        put(&mut out, RESERVED, self.reserved.to_le_bytes());
        out
    }

    /// Bytes of the payload, 0 if the length is too small for a header.
    #[must_use]
    pub const fn payload_bytes(&self) -> u32 {
        self.len.saturating_sub(FRAME_HEADER_BYTES as u32)
    }

    /// Bytes that the frame takes in the file.
    #[must_use]
    pub const fn padded_bytes(&self) -> u64 {
        padded(self.len as u64)
    }

    /// The kind, if this version knows it.
    #[must_use]
    pub fn known_kind(&self) -> Option<Kind> {
        Kind::from_number(self.kind)
    }

    /// Whether this is a MARK that says the log was closed cleanly.
    #[must_use]
    pub const fn is_closed_mark(&self) -> bool {
        self.kind == Kind::Mark as u8 && self.flags & MARK_CLOSED != 0
    }

    /// The term as the leader epoch it is; terms are checked against `i32::MAX` when read.
    pub(super) fn leader_epoch(&self) -> LeaderEpoch {
        LeaderEpoch(i32::try_from(self.term).unwrap_or(i32::MAX))
    }

    /// The partition as the id it is.
    pub(super) const fn partition_id(&self) -> PartitionId {
        PartitionId(self.partition)
    }

    /// Whether a reader that does not know the kind may pass over it.
    pub(super) const fn may_skip(&self) -> bool {
        self.kind >= Kind::Footer as u8
    }

    /// Whether the frame takes the next index.
    pub(super) fn takes_index(&self) -> bool {
        match self.known_kind() {
            Some(kind) => kind.takes_index(),
            None => false,
        }
    }

    /// Whether the length can be that of a frame of which `remaining` bytes are left in the file.
    ///
    /// # Errors
    /// [`FrameError::Length`].
    pub(super) fn check_length(&self, remaining: u64) -> Result<(), FrameError> {
        let least = if self.kind == Kind::Records as u8 {
            FRAME_HEADER_BYTES + batch::HEADER_BYTES
        } else {
            FRAME_HEADER_BYTES
        };
        let most = remaining.min(FRAME_BYTES_MAX as u64);
        let is_short = (self.len as usize) < least;
        if is_short || u64::from(self.len) > most || self.padded_bytes() > remaining {
            return Err(FrameError::Length {
                found: self.len,
                least,
                most,
            });
        }
        Ok(())
    }
}

/// The checksum's beginning: the log and the segment, the same for all frames of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CrcSeed(u32);

impl CrcSeed {
    /// The beginning for segment `segment` of the log `log_uuid`.
    pub(super) fn new(log_uuid: &[u8; 16], segment: u64) -> Self {
        Self(crc32c::crc32c_append(
            crc32c::crc32c(log_uuid),
            &segment.to_le_bytes(),
        ))
    }

    /// The checksum of a frame's position and header: what comes before the payload.
    pub(super) fn header(self, position: u64, header: &[u8; FRAME_HEADER_BYTES]) -> u32 {
        let mut covered = [0; 8 + FRAME_HEADER_BYTES - 4];
        let (place, rest) = covered.split_at_mut(8);
        place.copy_from_slice(&position.to_le_bytes());
        let (len, others) = rest.split_at_mut(CRC);
        len.copy_from_slice(&header[LEN..CRC]);
        others.copy_from_slice(&header[INDEX..]);
        crc32c::crc32c_append(self.0, &covered)
    }

    /// The checksum of a whole frame.
    pub(super) fn frame(
        self,
        position: u64,
        header: &[u8; FRAME_HEADER_BYTES],
        payload: &[u8],
    ) -> u32 {
        crc32c::crc32c_append(
            self.header(position, header),
            covered(header[KIND], payload),
        )
    }
}

/// The part of a payload that the frame's checksum covers.
fn covered(kind: u8, payload: &[u8]) -> &[u8] {
    payload
        .get(..covered_bytes(kind, payload.len()))
        .unwrap_or(payload)
}

/// Bytes of a payload that the frame's checksum covers.
pub(super) const fn covered_bytes(kind: u8, payload_bytes: usize) -> usize {
    if kind == Kind::Records as u8 && payload_bytes > BATCH_BYTES_OUTSIDE_CRC {
        BATCH_BYTES_OUTSIDE_CRC
    } else {
        payload_bytes
    }
}

/// Bytes rounded up to where the next frame may begin.
pub(super) const fn padded(bytes: u64) -> u64 {
    bytes.next_multiple_of(FRAME_ALIGN as u64)
}

/// A header with its checksum in place.
pub(super) fn seal(
    mut header: FrameHeader,
    seed: CrcSeed,
    position: u64,
    payload: &[u8],
) -> [u8; FRAME_HEADER_BYTES] {
    header.crc = 0;
    let mut bytes = header.encode();
    let crc = seed.frame(position, &bytes, payload);
    put(&mut bytes, CRC, crc.to_le_bytes());
    bytes
}

/// The frame at `position`, whose header says it is `bytes` long with its padding: checks everything
/// that needs no other frame, except the batch's own CRC. Returns the payload.
///
/// # Errors
/// [`FrameError`].
pub(super) fn open<'a>(
    seed: CrcSeed,
    position: u64,
    header: &FrameHeader,
    bytes: &'a [u8],
) -> Result<&'a [u8], FrameError> {
    let remaining = bytes.len() as u64;
    let Some((raw, rest)) = bytes.split_first_chunk::<FRAME_HEADER_BYTES>() else {
        return Err(FrameError::TooShort { remaining });
    };
    header.check_length(remaining)?;
    let Some((payload, padding)) = rest.split_at_checked(header.payload_bytes() as usize) else {
        return Err(FrameError::TooShort { remaining });
    };
    let found = seed.frame(position, raw, payload);
    if found != header.crc {
        return Err(FrameError::Crc {
            found,
            expected: header.crc,
        });
    }
    let padding_bytes = (header.padded_bytes() - u64::from(header.len)) as usize;
    if padding.iter().take(padding_bytes).any(|byte| *byte != 0) {
        return Err(FrameError::Padding);
    }
    Ok(payload)
}

fn take<const N: usize>(bytes: &[u8; FRAME_HEADER_BYTES], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}

fn put<const N: usize>(bytes: &mut [u8; FRAME_HEADER_BYTES], at: usize, field: [u8; N]) {
    bytes[at..at + N].copy_from_slice(&field);
}
