//! Reading payloads back: by place, and the batches of a partition by offset or time.
//!
//! Every frame read is checked; what the batch's own CRC covers is the caller's to verify. Batches that
//! lie side by side are read in one call.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Error, ErrorCode, Result};
use crate::ids::PartitionId;

use super::Log;
use super::entry::Location;
use super::error::Fault;
use super::files::SegmentFile;
use super::frame::{self, CrcSeed, FRAME_ALIGN, FRAME_HEADER_BYTES, FrameHeader};
use super::index::{self, Answer, Batches, IndexEntry, Place, SegmentIndex, Wanted};
use super::rebuild;
use super::segment::{self, SEGMENT_HEADER_BYTES};
use super::shared::Shared;
use super::storage::StorageFile;

/// How often a read is begun anew because cleaning removed the segment it was about.
const ATTEMPTS_MAX: usize = 8;

/// Bytes of a batch from which on it is worth it to say that it is read next: less is read as fast as said.
const HINTED_BYTES_MIN: u32 = 16 * 1_024;

/// A record batch as the log holds it.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Offset of its first record.
    pub base_offset: i64,
    /// Offset behind its last.
    pub next_offset: i64,
    /// Where it lies.
    pub location: Location,
    /// The batch. Its frame was checked, its own CRC was not.
    pub bytes: Bytes,
}

/// Why a read came to nothing.
enum Failed {
    /// The segment is gone: its batches lie elsewhere now.
    Gone,
    Error(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// The batches of a partition from an offset on, about `max_bytes` of them, as far as they lie together and up to one
/// that cannot be read.
///
/// # Errors
/// `Corrupt` naming file and position; `Storage` when a file cannot be read.
pub(super) fn read_from(log: &Shared, wanted: Wanted) -> Result<Vec<Stored>> {
    attempt(|| {
        let found = match log.index.find(wanted) {
            Answer::Found(found) => found,
            Answer::LookIn(place) => {
                let (segment, index) = look_in(log, place)?;
                index::batches(segment, &index, wanted)
            }
        };
        found.map_or(Ok(Vec::new()), |batches| load(log, &batches))
    })
}

/// The first batch of a partition from `offset` on that has a timestamp of `time_ms` or later.
///
/// # Errors
/// As for [`read_from`].
pub(super) fn find_time(
    log: &Shared,
    partition: PartitionId,
    time_ms: i64,
    offset: i64,
) -> Result<Option<Stored>> {
    attempt(|| {
        let mut from = offset;
        let found = loop {
            match log.index.find_time(partition, time_ms, from) {
                Answer::Found(found) => break found,
                Answer::LookIn(place) => {
                    let (segment, index) = look_in(log, place)?;
                    let run = index.run(partition);
                    let found = run.and_then(|run| run.at_time(time_ms, from));
                    if let Some(entry) = found {
                        break Some((segment, entry));
                    }
                    // By offset: which segments there are may change meanwhile.
                    let end = run.map_or(i64::MAX, |run| run.summary().next_offset);
                    from = end.max(from.saturating_add(1));
                }
            }
        };
        let Some((segment, entry)) = found else {
            return Ok(None);
        };
        let batches = Batches {
            segment,
            entries: vec![entry],
        };
        load(log, &batches).map(|mut stored| stored.pop())
    })
}

impl Log {
    /// The file of a segment, as messages name it.
    #[must_use]
    pub fn path_of(&self, segment: u64) -> String {
        let (files, dir) = (&self.shared.files, &self.shared.dir);
        files.segment(segment).map_or_else(
            || segment::path(dir, segment),
            |entry| entry.path(dir, segment),
        )
    }
}

fn attempt<T>(read: impl Fn() -> std::result::Result<T, Failed>) -> Result<T> {
    for _ in 0..ATTEMPTS_MAX {
        match read() {
            Ok(found) => return Ok(found),
            Err(Failed::Error(error)) => return Err(error),
            Err(Failed::Gone) => {}
        }
    }
    Err(Error::new(
        ErrorCode::KafkaStorageError,
        format!("segments were removed {ATTEMPTS_MAX} times while they were being read"),
    ))
}

/// The index of a sealed segment: from memory, from its footer, or, if that is damaged, from its frames.
///
/// # Errors
/// As for [`read_from`].
pub(super) fn index_of(log: &Shared, segment: u64) -> Result<Arc<SegmentIndex>> {
    match look_in(log, log.index.place(segment)) {
        Ok((_, index)) => Ok(index),
        Err(Failed::Error(error)) => Err(error),
        Err(Failed::Gone) => {
            let what = format!("segment {segment} of log {} is gone", log.dir);
            Err(Error::new(ErrorCode::KafkaStorageError, what))
        }
    }
}

fn look_in(log: &Shared, place: Place) -> std::result::Result<(u64, Arc<SegmentIndex>), Failed> {
    let segment = match place {
        Place::Here(segment, index) => return Ok((segment, index)),
        Place::Footer(segment) => segment,
    };
    if let Some(index) = log.index.cached(segment) {
        return Ok((segment, index));
    }
    let (entry, file) = open_segment(log, segment)?;
    let seed = CrcSeed::new(&log.log_uuid, segment);
    let footer = index::read_footer(file.as_ref(), seed, entry.end()).map_err(failed)?;
    if let Some(index) = footer {
        let index = Arc::new(index);
        log.index.keep(segment, &index);
        return Ok((segment, index));
    }
    let path = entry.path(&log.dir, segment);
    crate::seldom!(warn, %path, "the footer cannot be read: the segment's index is built again");
    let rebuilt = rebuild::rebuild(file.as_ref(), &path, seed, &entry)?;
    let index = Arc::new(rebuilt);
    log.index.set_resident(segment, Arc::clone(&index));
    Ok((segment, index))
}

fn open_segment(
    log: &Shared,
    segment: u64,
) -> std::result::Result<(Arc<SegmentFile>, Arc<dyn StorageFile>), Failed> {
    let entry = log.files.segment(segment).ok_or(Failed::Gone)?;
    match log.files.open(segment, &entry) {
        Ok(file) => Ok((entry, file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Failed::Gone),
        Err(error) => Err(failed(error).into()),
    }
}

fn load(log: &Shared, batches: &Batches) -> std::result::Result<Vec<Stored>, Failed> {
    let segment = batches.segment;
    let (entry, file) = open_segment(log, segment)?;
    let reading = Reading::new(log, segment, &entry, file.as_ref());
    let mut stored = Vec::with_capacity(batches.entries.len());
    let mut rest = batches.entries.as_slice();
    if side_by_side(rest) < rest.len() {
        // From a disk they come together then, instead of one after the other.
        for entry in rest.iter().filter(|entry| entry.len >= HINTED_BYTES_MIN) {
            file.will_read(entry.position, entry.end() - entry.position);
        }
    }
    while !rest.is_empty() {
        let count = side_by_side(rest);
        let (together, behind) = rest.split_at(count);
        rest = behind;
        let found = match reading.together(together) {
            Ok(found) => found,
            // What comes before the one that cannot be read is read; that one is met at the next read, from there on.
            Err(_) => {
                let each = together
                    .iter()
                    .map(|entry| reading.part(location(segment, entry)));
                match before_error(each) {
                    Err(error) if stored.is_empty() => return Err(error.into()),
                    found => found.unwrap_or_default(),
                }
            }
        };
        let is_cut = found.len() < together.len();
        for (entry, (_, payload)) in together.iter().zip(found) {
            stored.push(stored_at(segment, entry, payload));
        }
        if is_cut {
            break;
        }
    }
    Ok(stored)
}

/// What comes before the first error.
///
/// # Errors
/// That error, if nothing does.
pub(crate) fn before_error<T>(items: impl Iterator<Item = Result<T>>) -> Result<Vec<T>> {
    let mut found = Vec::new();
    for item in items {
        match item {
            Ok(item) => found.push(item),
            Err(error) if found.is_empty() => return Err(error),
            Err(_) => break,
        }
    }
    Ok(found)
}

/// How many of the entries, one at least, are whole frames that follow on one another.
pub(super) fn side_by_side(entries: &[IndexEntry]) -> usize {
    let is_whole = |entry: &IndexEntry| entry.payload_at as usize == FRAME_HEADER_BYTES;
    let following = entries.windows(2).take_while(|pair| match pair {
        [one, next] => is_whole(one) && is_whole(next) && one.end() == next.position,
        _ => false,
    });
    1 + following.count()
}

fn location(segment: u64, entry: &IndexEntry) -> Location {
    Location {
        segment,
        position: entry.position,
        payload_at: entry.payload_at,
        len: entry.len,
    }
}

fn stored_at(segment: u64, entry: &IndexEntry, bytes: Bytes) -> Stored {
    Stored {
        base_offset: entry.base_offset,
        next_offset: entry.next_offset,
        location: location(segment, entry),
        bytes,
    }
}

/// The payload at `location`, with its frame checked.
///
/// # Errors
/// As for [`read_from`]; `Corrupt` too if there is no such segment.
pub(super) fn read(log: &Shared, location: Location) -> Result<Bytes> {
    let segment = location.segment;
    let entry = log.files.segment(segment).ok_or_else(|| {
        let (path, position) = (segment::path(&log.dir, segment), location.position);
        let what = format!("{path}, position {position}: there is no such segment");
        Error::new(ErrorCode::CorruptSegment, what)
    })?;
    let file = log.files.open(segment, &entry).map_err(failed)?;
    Reading::new(log, segment, &entry, file.as_ref()).payload(location)
}

/// One segment that is read from.
pub(super) struct Reading<'a> {
    path: String,
    seed: CrcSeed,
    segment: u64,
    file: &'a dyn StorageFile,
    end: u64,
}

impl<'a> Reading<'a> {
    /// Of a segment of `log`, whose file is `file`.
    pub(super) fn new(
        log: &Shared,
        segment: u64,
        entry: &SegmentFile,
        file: &'a dyn StorageFile,
    ) -> Self {
        Self {
            path: entry.path(&log.dir, segment),
            seed: CrcSeed::new(&log.log_uuid, segment),
            segment,
            file,
            end: entry.end(),
        }
    }

    /// Batches that lie [side by side](side_by_side), read in one call, each with the header of its frame.
    pub(super) fn together(&self, entries: &[IndexEntry]) -> Result<Vec<(FrameHeader, Bytes)>> {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
            return Ok(Vec::new());
        };
        if first.payload_at as usize != FRAME_HEADER_BYTES {
            return Ok(vec![self.part(location(self.segment, first))?]);
        }
        let bytes = self.bytes(first.position, last.end() - first.position)?;
        let batches = entries.iter().map(|entry| {
            let start = (entry.position - first.position) as usize;
            let frame = bytes.slice(start..(entry.end() - first.position) as usize);
            self.open(location(self.segment, entry), &frame)
        });
        batches.collect()
    }

    /// The payload at a place of this segment.
    fn payload(&self, location: Location) -> Result<Bytes> {
        Ok(self.part(location)?.1)
    }

    /// The payload at a place of this segment, with the header of its frame.
    fn part(&self, location: Location) -> Result<(FrameHeader, Bytes)> {
        let is_whole = location.payload_at as usize == FRAME_HEADER_BYTES;
        let padded = if is_whole {
            frame::padded(FRAME_HEADER_BYTES as u64 + u64::from(location.len))
        } else {
            self.frame_bytes_at(location.position)?
        };
        let bytes = self.bytes(location.position, padded)?;
        self.open(location, &bytes)
    }

    /// Bytes of the file that frames are said to be in.
    fn bytes(&self, position: u64, count: u64) -> Result<Bytes> {
        let is_inside = position >= SEGMENT_HEADER_BYTES as u64
            && position.is_multiple_of(FRAME_ALIGN as u64)
            && position
                .checked_add(count)
                .is_some_and(|end| end <= self.end);
        if !is_inside {
            let end = self.end;
            return Err(self.corrupt(
                position,
                &format!("no frame of {count} bytes ends before {end}"),
            ));
        }
        let mut bytes = vec![0; usize::try_from(count).unwrap_or_default()];
        let read = self.file.read_at(&mut bytes, position);
        read.map_err(|error| self.unreadable(position, error))?;
        Ok(Bytes::from(bytes))
    }

    /// The payload at `location` of a frame whose bytes are `bytes`, with the frame's header.
    fn open(&self, location: Location, bytes: &Bytes) -> Result<(FrameHeader, Bytes)> {
        debug_assert_eq!(location.segment, self.segment);
        let corrupt = |problem: &str| self.corrupt(location.position, problem);
        let header = bytes
            .first_chunk::<FRAME_HEADER_BYTES>()
            .map(FrameHeader::decode)
            .ok_or_else(|| corrupt("no frame"))?;
        frame::open(self.seed, location.position, &header, bytes)
            .map_err(|error| corrupt(&error.to_string()))?;
        let start = location.payload_at as usize;
        let stop = start.saturating_add(location.len as usize);
        let is_whole = start == FRAME_HEADER_BYTES;
        let is_payload = start >= FRAME_HEADER_BYTES
            && stop <= header.len as usize
            && (!is_whole || stop == header.len as usize);
        if !is_payload {
            let len = header.len;
            return Err(corrupt(&format!(
                "the frame of {len} bytes has no payload there"
            )));
        }
        Ok((header, bytes.slice(start..stop)))
    }

    /// Bytes that the frame at `position` takes by its own header; what it says is checked afterwards.
    fn frame_bytes_at(&self, position: u64) -> Result<u64> {
        let bytes = self.bytes(position, FRAME_HEADER_BYTES as u64)?;
        let header = bytes.first_chunk::<FRAME_HEADER_BYTES>();
        Ok(header.map_or(0, |header| FrameHeader::decode(header).padded_bytes()))
    }

    /// What the reader alone is told: the log goes on, since what cannot be read here says nothing of what
    /// is written elsewhere.
    fn unreadable(&self, position: u64, error: io::Error) -> Error {
        let fault = Fault::from(error);
        let message = format!("{}, position {position}: {fault}", self.path);
        Error::new(ErrorCode::KafkaStorageError, message).with_source(fault)
    }

    fn corrupt(&self, position: u64, problem: &str) -> Error {
        Error::new(
            ErrorCode::CorruptSegment,
            format!("{}, position {position}: {problem}", self.path),
        )
    }
}

/// What a reader is told when a file cannot be opened.
fn failed(error: io::Error) -> Error {
    let fault = Fault::from(error);
    Error::new(ErrorCode::KafkaStorageError, fault.to_string()).with_source(fault)
}
