//! A segment: a file of frames behind a header of 4,096 bytes, little-endian:
//!
//! ```text
//!  0 magic u8[8] "HWSEG1\0\0"   8 format u16   10 reserved u16   12 incompatible u32   16 log uuid u8[16]
//! 32 segment no u64   40 first index u64   48 previous index u64   56 durable u64   64 created i64 ms
//! 72 vote term u64   80 vote node u64   88 vote flags u32   92 shard u32   96 previous term u32
//! 100 incarnation u32   104.. zero   4092 crc u32 (CRC-32C of 0..4092)
//! ```
//!
//! A segment's number is its file's name and never used again. `previous` is the last entry before it, and
//! the term then: entries above it in lower segments are cut. The header is written and synced before a
//! frame of the segment counts as synced.
//!
//! [`ActiveSegment`] is where the next frame goes; `ahead` gets it its space.

use std::io::{self, IoSlice};
use std::sync::Arc;

use thiserror::Error;

use super::ahead::Ahead;
use super::frame::{CrcSeed, padded};
use super::storage::{Storage, StorageFile};

/// Bytes of a segment before its first frame.
pub const SEGMENT_HEADER_BYTES: usize = 4_096;
/// The format of segments that this version reads and writes.
pub const SEGMENT_FORMAT: u16 = 1;

/// Flag of a vote: a majority voted so.
pub(super) const VOTE_COMMITTED: u32 = 1;

const MAGIC_BYTES: [u8; 8] = *b"HWSEG1\0\0";
const NAME_DIGITS: usize = 20;
const NAME_SUFFIX: &str = ".log";

const MAGIC: usize = 0;
const FORMAT: usize = MAGIC + 8;
const INCOMPATIBLE: usize = FORMAT + 4;
const LOG_UUID: usize = INCOMPATIBLE + 4;
const SEGMENT: usize = LOG_UUID + 16;
const FIRST_INDEX: usize = SEGMENT + 8;
const PREVIOUS_INDEX: usize = FIRST_INDEX + 8;
const DURABLE: usize = PREVIOUS_INDEX + 8;
const CREATED: usize = DURABLE + 8;
const VOTE_TERM: usize = CREATED + 8;
const VOTE_NODE: usize = VOTE_TERM + 8;
const VOTE_FLAGS: usize = VOTE_NODE + 8;
const SHARD: usize = VOTE_FLAGS + 4;
const PREVIOUS_TERM: usize = SHARD + 4;
const INCARNATION: usize = PREVIOUS_TERM + 4;
const ZEROS: usize = INCARNATION + 4;
const CRC: usize = SEGMENT_HEADER_BYTES - 4;

const _: () = assert!(ZEROS == 104);

/// The header of a segment: every field as it stands in the bytes. The vote is that of a member of a group;
/// a log of its own has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The log it belongs to.
    pub log_uuid: [u8; 16],
    /// Its number, as in its name.
    pub segment: u64,
    /// Index of its first entry.
    pub first_index: u64,
    /// Index of the last entry before it: entries above it in lower segments are cut.
    pub previous_index: u64,
    /// The term when it was created.
    pub previous_term: u32,
    /// The index known synced when it was created.
    pub durable: u64,
    /// When it was created, ms since 1970 UTC.
    pub created_ms: i64,
    /// The shard.
    pub shard: u32,
    /// The incarnation of the log: its term.
    pub incarnation: u32,
    /// Term of the vote.
    pub vote_term: u64,
    /// Node voted for.
    pub vote_node: u64,
    /// Flags of the vote; bit 0: committed.
    pub vote_flags: u32,
}

/// Why a file is not a segment of this log.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SegmentError {
    /// The file is shorter than a header.
    #[error("{found} bytes are too few for a segment header of {SEGMENT_HEADER_BYTES}")]
    TooShort {
        /// Bytes of the file.
        found: u64,
    },
    /// The magic is another.
    #[error("the magic bytes are {found:02x?}, expected {MAGIC_BYTES:02x?}")]
    Magic {
        /// The first 8 bytes.
        found: [u8; 8],
    },
    /// The checksum does not match.
    #[error("header crc {found:#010x} computed, {expected:#010x} expected")]
    Crc {
        /// Computed from the bytes.
        found: u32,
        /// Stored in the header.
        expected: u32,
    },
    /// A newer version wrote it.
    #[error(
        "segment format {format} with features {incompatible:#x}; this version reads format {SEGMENT_FORMAT}"
    )]
    TooNew {
        /// The format.
        format: u16,
        /// Bits of features that a reader must know.
        incompatible: u32,
    },
    /// It belongs to another log.
    #[error("it belongs to log {}, expected {}", hex(found), hex(expected))]
    LogUuid {
        /// The header's.
        found: [u8; 16],
        /// The folder's.
        expected: [u8; 16],
    },
    /// The number in the header is not that of the name.
    #[error("the header says it is segment {found}, its name says {expected}")]
    Segment {
        /// The header's.
        found: u64,
        /// The name's.
        expected: u64,
    },
    /// It was written before frames of lower segments: bytes of an older file under a number that came
    /// again, because the name was lost with the power.
    #[error("the header is of term {found}, and the log before it is of term {term}")]
    Stale {
        /// The header's.
        found: u32,
        /// The term reached before it.
        term: u32,
    },
    /// First and previous index do not go together.
    #[error("first index {first_index} does not follow on {previous_index}")]
    FirstIndex {
        /// The header's first index.
        first_index: u64,
        /// The header's previous index.
        previous_index: u64,
    },
}

impl SegmentError {
    /// Whether a power cut can have left this. A header that is intact and says something else never is.
    pub(super) const fn may_be_torn(&self) -> bool {
        matches!(
            self,
            Self::TooShort { .. } | Self::Magic { .. } | Self::Crc { .. } | Self::Stale { .. }
        )
    }
}

impl SegmentHeader {
    /// The term it was written in: no frame of a lower segment is of a higher one.
    pub(super) fn term(&self) -> u32 {
        self.incarnation.max(self.previous_term)
    }

    /// The term voted in, 0 if there is no vote, and whether the vote is committed.
    pub(super) fn vote(&self) -> (u32, bool) {
        // One that is larger was never voted in.
        let term = self.vote_term.min(i32::MAX as u64) as u32;
        (term, self.vote_flags & VOTE_COMMITTED != 0)
    }

    /// The bytes of the header.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; SEGMENT_HEADER_BYTES];
        put(&mut out, MAGIC, &MAGIC_BYTES);
        put(&mut out, FORMAT, &SEGMENT_FORMAT.to_le_bytes());
        put(&mut out, LOG_UUID, &self.log_uuid);
        put(&mut out, SEGMENT, &self.segment.to_le_bytes());
        put(&mut out, FIRST_INDEX, &self.first_index.to_le_bytes());
        put(&mut out, PREVIOUS_INDEX, &self.previous_index.to_le_bytes());
        put(&mut out, DURABLE, &self.durable.to_le_bytes());
        put(&mut out, CREATED, &self.created_ms.to_le_bytes());
        put(&mut out, VOTE_TERM, &self.vote_term.to_le_bytes());
        put(&mut out, VOTE_NODE, &self.vote_node.to_le_bytes());
        put(&mut out, VOTE_FLAGS, &self.vote_flags.to_le_bytes());
        put(&mut out, SHARD, &self.shard.to_le_bytes());
        put(&mut out, PREVIOUS_TERM, &self.previous_term.to_le_bytes());
        put(&mut out, INCARNATION, &self.incarnation.to_le_bytes());
        let crc = crc32c::crc32c(&out[..CRC]);
        put(&mut out, CRC, &crc.to_le_bytes());
        out
    }

    /// The header that `bytes` are.
    ///
    /// # Errors
    /// [`SegmentError`]. The checksum is looked at before the format, so that damage is not taken for a
    /// newer version.
    pub fn decode(bytes: &[u8; SEGMENT_HEADER_BYTES]) -> Result<Self, SegmentError> {
        let magic = take(bytes, MAGIC);
        if magic != MAGIC_BYTES {
            return Err(SegmentError::Magic { found: magic });
        }
        let expected = u32::from_le_bytes(take(bytes, CRC));
        let found = crc32c::crc32c(&bytes[..CRC]);
        if found != expected {
            return Err(SegmentError::Crc { found, expected });
        }
        let format = u16::from_le_bytes(take(bytes, FORMAT));
        let incompatible = u32::from_le_bytes(take(bytes, INCOMPATIBLE));
        if format != SEGMENT_FORMAT || incompatible != 0 {
            return Err(SegmentError::TooNew {
                format,
                incompatible,
            });
        }
        let header = Self {
            log_uuid: take(bytes, LOG_UUID),
            segment: u64::from_le_bytes(take(bytes, SEGMENT)),
            first_index: u64::from_le_bytes(take(bytes, FIRST_INDEX)),
            previous_index: u64::from_le_bytes(take(bytes, PREVIOUS_INDEX)),
            durable: u64::from_le_bytes(take(bytes, DURABLE)),
            created_ms: i64::from_le_bytes(take(bytes, CREATED)),
            vote_term: u64::from_le_bytes(take(bytes, VOTE_TERM)),
            vote_node: u64::from_le_bytes(take(bytes, VOTE_NODE)),
            vote_flags: u32::from_le_bytes(take(bytes, VOTE_FLAGS)),
            shard: u32::from_le_bytes(take(bytes, SHARD)),
            previous_term: u32::from_le_bytes(take(bytes, PREVIOUS_TERM)),
            incarnation: u32::from_le_bytes(take(bytes, INCARNATION)),
        };
        let (first_index, previous_index) = (header.first_index, header.previous_index);
        if previous_index.checked_add(1) != Some(first_index) {
            return Err(SegmentError::FirstIndex {
                first_index,
                previous_index,
            });
        }
        Ok(header)
    }

    /// Whether the header is that of segment `segment` of the log `log_uuid`.
    ///
    /// # Errors
    /// [`SegmentError::LogUuid`], [`SegmentError::Segment`].
    pub fn check_place(&self, log_uuid: &[u8; 16], segment: u64) -> Result<(), SegmentError> {
        if self.log_uuid != *log_uuid {
            return Err(SegmentError::LogUuid {
                found: self.log_uuid,
                expected: *log_uuid,
            });
        }
        if self.segment != segment {
            return Err(SegmentError::Segment {
                found: self.segment,
                expected: segment,
            });
        }
        Ok(())
    }
}

/// The header at the beginning of a file; the outer error is the storage's.
///
/// # Errors
/// Those of the storage; inside, what is wrong with the header.
pub(super) fn read_header(
    file: &dyn StorageFile,
    length: u64,
) -> io::Result<Result<SegmentHeader, SegmentError>> {
    if length < SEGMENT_HEADER_BYTES as u64 {
        return Ok(Err(SegmentError::TooShort { found: length }));
    }
    let mut bytes = [0; SEGMENT_HEADER_BYTES];
    file.read_at(&mut bytes, 0)?;
    Ok(SegmentHeader::decode(&bytes))
}

/// The name of a segment's file: its number in 20 digits.
#[must_use]
pub(super) fn file_name(segment: u64) -> String {
    format!("{segment:0NAME_DIGITS$}{NAME_SUFFIX}")
}

/// The path of a segment's file in the log's folder.
#[must_use]
pub(super) fn path(dir: &str, segment: u64) -> String {
    format!("{dir}/{}", file_name(segment))
}

/// The number of the segment whose file has this name, if it is one.
#[must_use]
pub(super) fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(NAME_SUFFIX)?;
    if digits.len() != NAME_DIGITS || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// The segments of a folder, in order of their numbers.
///
/// # Errors
/// The storage's.
pub(super) fn list(storage: &dyn Storage, dir: &str) -> io::Result<Vec<u64>> {
    let mut segments: Vec<_> = storage
        .list(dir)?
        .iter()
        .filter_map(|name| number_of(name))
        .collect();
    segments.sort_unstable();
    Ok(segments)
}

/// Creates a segment's file and writes its header. Nothing is synced: that is the caller's to order.
///
/// # Errors
/// The storage's; after one the file may be there, without a whole header.
pub(super) fn create(
    storage: &dyn Storage,
    dir: &str,
    header: &SegmentHeader,
) -> io::Result<Arc<dyn StorageFile>> {
    let file = storage.create(&path(dir, header.segment))?;
    file.write_at(&[IoSlice::new(&header.encode())], 0)?;
    Ok(file)
}

/// The segment that is written to: where its next frame goes, and what was made ready for it.
#[derive(Debug)]
pub(super) struct ActiveSegment {
    /// Its file.
    pub(super) file: Arc<dyn StorageFile>,
    /// Its number.
    pub(super) segment: u64,
    /// The beginning of its frames' checksums.
    pub(super) seed: CrcSeed,
    /// Position of the next frame.
    pub(super) position: u64,
    /// What lies behind that: shared with the sync thread.
    pub(super) ahead: Arc<Ahead>,
    /// Up to where this may be written.
    granted: u64,
    is_reserving: bool,
}

impl ActiveSegment {
    /// A segment whose data ends at `position` in a file of `length` bytes. Without `is_reserving`
    /// writes just make the file longer: right for memory.
    pub(super) fn new(
        file: Arc<dyn StorageFile>,
        header: &SegmentHeader,
        position: u64,
        length: u64,
        is_reserving: bool,
    ) -> Self {
        let segment = header.segment;
        Self {
            ahead: Arc::new(Ahead::new(Arc::clone(&file), segment, position, length)),
            file,
            segment,
            seed: CrcSeed::new(&header.log_uuid, segment),
            position,
            granted: position,
            is_reserving,
        }
    }

    /// Whether a frame of `len` bytes belongs here, or rolls the segment. One that is larger than
    /// `segment_bytes` gets a segment of its own.
    pub(super) fn has_room(&self, len: usize, segment_bytes: u64) -> bool {
        self.position == SEGMENT_HEADER_BYTES as u64
            || self.position.saturating_add(padded(len as u64)) <= segment_bytes
    }

    /// Bytes by which the file has to grow to reach `end`.
    pub(super) fn lacks(&self, end: u64) -> u64 {
        end.saturating_sub(self.ahead.reserved())
    }

    /// Sees to it that `end` may be written, reserving space if there is too little.
    ///
    /// # Errors
    /// `StorageFull` when there is none even for `end` itself; nothing was written then.
    pub(super) fn reserve(&mut self, end: u64, segment_bytes: u64) -> io::Result<()> {
        if end > self.granted && self.is_reserving {
            self.granted = self.ahead.claim(end, segment_bytes)?;
        }
        Ok(())
    }

    /// Says that everything below the position is written.
    pub(super) fn note_written(&self) {
        self.ahead.set_written(self.position);
    }
}

fn hex(bytes: &[u8; 16]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn take<const N: usize>(bytes: &[u8; SEGMENT_HEADER_BYTES], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}

/// `at` is one of the constants above, and `out` as long as a header.
fn put(out: &mut [u8], at: usize, field: &[u8]) {
    out[at..at + field.len()].copy_from_slice(field);
}
