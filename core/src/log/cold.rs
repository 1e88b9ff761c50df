//! A cold segment: what cleaning left of others, one partition after the other, each in order of offsets.
//!
//! ```text
//!  0 magic u8[8] "HWCOLD1\0"   8 format u16   10 reserved u16   12 incompatible u32   16 log uuid u8[16]
//! 32 segment no u64   40 front u64   48 first index u64   56 last index u64   64 frames end u64
//! 72 batches u64   80 set u64   88 created i64 ms   96 flags u32 (bit 0: commits)   100 replaced u32
//! 104 numbers of the cold segments that it replaces u64 each, then zeros
//! 4092 crc u32 (CRC-32C of 0..4092)
//! ```
//!
//! All integers are little-endian. Behind the header stand RECORDS frames as in any segment, with the index,
//! time and term that the batches had, up to `frames end`; then a footer. `durable` says nothing here: instead
//! stands there when a cleaning first kept a tombstone of the batch, ms, or 0. It is no part of the log's chain:
//! what its batches did to the state is in a snapshot, or cleaning would not have touched them.
//!
//! What holds. A cleaning may write several files; each is written under another name, synced, renamed and
//! made durable, and the one that *commits* comes last: its name is the moment from which all of them count,
//! and their sources do not. `front`: log segments below this number are sources, as are the cold segments
//! named in `replaced`. So an open can tell ([`Survey`]): sources of a file that commits go; a file that does
//! not commit counts only if its sources are gone. Sources are removed durably before the next cleaning begins.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};

use thiserror::Error;

use super::error::OpenError;
use super::frame::CrcSeed;
use super::index::SegmentIndex;
use super::rebuild::{self, Rebuilt};
use super::recovery::Place;
use super::segment::SEGMENT_HEADER_BYTES;
use super::storage::{Storage, StorageFile};
#[cfg(test)]
use super::tests::mutant;

/// The format of cold segments that this version reads and writes.
const COLD_FORMAT: u16 = 1;
/// Cold segments that one can replace.
pub(super) const REPLACED_MAX: usize = 256;

const MAGIC_BYTES: [u8; 8] = *b"HWCOLD1\0";
const NAME_DIGITS: usize = 20;
const SUFFIX: &str = ".cold";
const PARTIAL_SUFFIX: &str = ".cold.tmp";
const COMMITS: u32 = 1;

const REPLACED: usize = 104;
const CRC: usize = SEGMENT_HEADER_BYTES - 4;

const _: () = assert!(REPLACED + REPLACED_MAX * 8 <= CRC);

/// The header of a cold segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ColdHeader {
    pub(super) log_uuid: [u8; 16],
    /// Its number, as in its name.
    pub(super) segment: u64,
    /// Log segments below this number are among its sources, or lie in front of them.
    pub(super) front: u64,
    /// The lowest index that a batch of it can have.
    pub(super) first_index: u64,
    /// The highest.
    pub(super) last_index: u64,
    /// Where the frames of batches end.
    pub(super) frames_end: u64,
    /// How many batches there are.
    pub(super) batches: u64,
    /// The same in all files that one cleaning wrote.
    pub(super) set: u64,
    /// When it was written, ms since 1970 UTC.
    pub(super) created_ms: i64,
    /// Whether the cleaning that wrote it counts from when this one is there.
    pub(super) is_commit: bool,
    /// The cold segments among its sources.
    pub(super) replaced: Vec<u64>,
}

/// Why a file is no cold segment of this log.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum ColdError {
    /// It is damaged, or none: nothing but damage leaves that, because it was synced before it had its name.
    #[error("the header of a cold segment is damaged: {0}")]
    Damaged(&'static str),
    /// A newer version wrote it.
    #[error(
        "cold segment format {format} with features {incompatible:#x}; this version reads format {COLD_FORMAT}"
    )]
    TooNew { format: u16, incompatible: u32 },
    /// The frames end too early.
    #[error("its frames end at {found}, and should at {expected}")]
    End { found: u64, expected: u64 },
}

impl ColdHeader {
    /// The bytes of the header.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SEGMENT_HEADER_BYTES);
        out.extend_from_slice(&MAGIC_BYTES);
        out.extend_from_slice(&COLD_FORMAT.to_le_bytes());
        out.extend_from_slice(&[0; 6]);
        out.extend_from_slice(&self.log_uuid);
        for field in [
            self.segment,
            self.front,
            self.first_index,
            self.last_index,
            self.frames_end,
            self.batches,
            self.set,
        ] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(&self.created_ms.to_le_bytes());
        let flags = if self.is_commit { COMMITS } else { 0 };
        out.extend_from_slice(&flags.to_le_bytes());
        let replaced = self.replaced.iter().take(REPLACED_MAX);
        out.extend_from_slice(&(replaced.len() as u32).to_le_bytes());
        for segment in replaced {
            out.extend_from_slice(&segment.to_le_bytes());
        }
        out.resize(CRC, 0);
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// The header that `bytes` are.
    ///
    /// # Errors
    /// [`ColdError`]. The checksum is looked at before the format, so that damage is not taken for a newer
    /// version.
    pub(super) fn decode(bytes: &[u8; SEGMENT_HEADER_BYTES]) -> Result<Self, ColdError> {
        if !bytes.starts_with(&MAGIC_BYTES) {
            return Err(ColdError::Damaged("its magic bytes are others"));
        }
        let (content, crc) = bytes.split_at(CRC);
        if crc32c::crc32c(content).to_le_bytes() != *crc {
            return Err(ColdError::Damaged("its checksum is another"));
        }
        let format = u16::from_le_bytes(take(bytes, 8));
        let incompatible = u32::from_le_bytes(take(bytes, 12));
        if format != COLD_FORMAT || incompatible != 0 {
            return Err(ColdError::TooNew {
                format,
                incompatible,
            });
        }
        let number = |at| u64::from_le_bytes(take(bytes, at));
        let replaced = u32::from_le_bytes(take(bytes, 100)) as usize;
        if replaced > REPLACED_MAX {
            return Err(ColdError::Damaged("it replaces more than it can name"));
        }
        Ok(Self {
            log_uuid: take(bytes, 16),
            segment: number(32),
            front: number(40),
            first_index: number(48),
            last_index: number(56),
            frames_end: number(64),
            batches: number(72),
            set: number(80),
            created_ms: i64::from_le_bytes(take(bytes, 88)),
            is_commit: u32::from_le_bytes(take(bytes, 96)) & COMMITS != 0,
            replaced: (0..replaced).map(|at| number(REPLACED + at * 8)).collect(),
        })
    }
}

/// A cold segment's file.
#[derive(Clone, Debug)]
pub(super) struct ColdFile {
    pub(super) header: ColdHeader,
    /// Bytes of the file.
    pub(super) length: u64,
}

/// Which cold segments count, and which files are left over from cleanings, whole and cut short.
#[derive(Clone, Debug, Default)]
pub(super) struct Survey {
    /// Those that count.
    pub(super) kept: Vec<ColdFile>,
    /// Numbers of those that do not: not yet, or not any more.
    pub(super) doomed: Vec<u64>,
    /// Log segments below this number lie in cold segments, and do not count any more.
    pub(super) front: u64,
    /// The largest number of one, whatever became of it.
    pub(super) last_segment: u64,
}

impl Survey {
    /// Looks at the cold segments of a folder, in which `log_segments` are.
    ///
    /// # Errors
    /// [`OpenError`]: the storage's; one that is damaged or of a newer version.
    pub(super) fn new(place: Place<'_>, log_segments: &[u64]) -> Result<Self, OpenError> {
        let mut files = Vec::new();
        for segment in list(place.storage, place.dir)? {
            files.push(read(place, segment)?);
        }
        let commits = || files.iter().filter(|it| it.header.is_commit);
        let front = commits().map(|it| it.header.front).max().unwrap_or(0);
        let replaced: BTreeSet<u64> = commits()
            .flat_map(|it| it.header.replaced.iter().copied())
            .collect();
        let there: BTreeSet<u64> = files.iter().map(|it| it.header.segment).collect();
        let is_source_there = |header: &ColdHeader| {
            let is_cold = |it: &u64| there.contains(it) && !replaced.contains(it);
            let is_log = |it: &u64| *it < header.front && *it >= front;
            header.replaced.iter().any(is_cold) || log_segments.iter().any(is_log)
        };
        let counts = |header: &ColdHeader| {
            let is_whole = header.is_commit || !is_source_there(header);
            #[cfg(test)]
            let is_whole = is_whole || mutant::is(mutant::Mutant::PendingCounts);
            is_whole && !replaced.contains(&header.segment)
        };
        let last_segment = there.last().copied().unwrap_or(0);
        let (kept, doomed): (Vec<_>, Vec<_>) =
            files.iter().cloned().partition(|it| counts(&it.header));
        Ok(Self {
            kept,
            doomed: doomed.into_iter().map(|it| it.header.segment).collect(),
            front,
            last_segment,
        })
    }
}

fn read(place: Place<'_>, segment: u64) -> Result<ColdFile, OpenError> {
    let path = path(place.dir, segment);
    let file = place.storage.open(&path, true)?;
    let length = file.length()?;
    let mut bytes = [0; SEGMENT_HEADER_BYTES];
    let header = if length < SEGMENT_HEADER_BYTES as u64 {
        Err(ColdError::Damaged("the file is too short"))
    } else {
        file.read_at(&mut bytes, 0)?;
        ColdHeader::decode(&bytes)
    };
    let header = header.and_then(|header| {
        if header.log_uuid != *place.log_uuid {
            return Err(ColdError::Damaged("it is of another log"));
        }
        if header.segment != segment {
            return Err(ColdError::Damaged("it has another number than its name"));
        }
        Ok(header)
    });
    match header {
        Ok(header) => Ok(ColdFile { header, length }),
        Err(source) => Err(OpenError::Cold { path, source }),
    }
}

/// The index of a cold segment from its frames, where its footer is damaged.
///
/// # Errors
/// The storage's; inside, if the frames are damaged too.
pub(super) fn rebuild(
    file: &dyn StorageFile,
    seed: CrcSeed,
    first_index: u64,
    frames_end: u64,
) -> io::Result<Result<SegmentIndex, ColdError>> {
    let Rebuilt { index, end } = rebuild::frames(file, seed, first_index, frames_end)?;
    Ok(if end == frames_end {
        Ok(index)
    } else {
        Err(ColdError::End {
            found: end,
            expected: frames_end,
        })
    })
}

/// The path of a cold segment's file in the log's folder.
pub(super) fn path(dir: &str, segment: u64) -> String {
    format!("{dir}/{segment:0NAME_DIGITS$}{SUFFIX}")
}

/// The path under which it is written.
pub(super) fn partial_path(dir: &str, segment: u64) -> String {
    format!("{dir}/{segment:0NAME_DIGITS$}{PARTIAL_SUFFIX}")
}

/// Whether a file of this name is a cold segment, or was to be one.
pub(super) fn is_name(name: &str) -> bool {
    number_of(name).is_some() || name.ends_with(PARTIAL_SUFFIX)
}

/// The number of the cold segment whose file has this name, if it is one.
pub(super) fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    let is_number = digits.len() == NAME_DIGITS && digits.bytes().all(|it| it.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
}

/// The cold segments of a folder, in order of their numbers.
///
/// # Errors
/// The storage's.
pub(super) fn list(storage: &dyn Storage, dir: &str) -> io::Result<Vec<u64>> {
    let names = match storage.list(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        listed => listed?,
    };
    let mut segments: Vec<_> = names.iter().filter_map(|name| number_of(name)).collect();
    segments.sort_unstable();
    Ok(segments)
}

/// Removes what cleanings that came to no end have left under other names.
///
/// # Errors
/// The storage's.
pub(super) fn remove_partial(storage: &dyn Storage, dir: &str) -> io::Result<()> {
    for name in storage.list(dir)? {
        if name.ends_with(PARTIAL_SUFFIX) {
            storage.unlink(&format!("{dir}/{name}"))?;
        }
    }
    Ok(())
}

fn take<const N: usize>(bytes: &[u8; SEGMENT_HEADER_BYTES], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}

#[cfg(any(test, feature = "testing"))]
pub(crate) mod fuzzing;
#[cfg(test)]
mod tests;
