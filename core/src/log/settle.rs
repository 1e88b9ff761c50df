//! Doing what recovery found to do: making durable what is kept, and the cut.
//!
//! The order is the point. What is kept is durable before the cut's header says so; the header is durable
//! before anything is removed. Interrupted anywhere, the next open finds the same log.

use std::io::{self, IoSlice};
use std::sync::Arc;

use crate::record::batch;

use super::entry::Kind;
use super::error::OpenError;
use super::frame::CrcSeed;
use super::index::SegmentIndex;
use super::recovery::{Found, Kept, Place};
use super::scan::{self, Scanner};
use super::seal::{self, Sealed};
use super::segment::{self, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::storage::StorageFile;
#[cfg(test)]
use super::tests::mutant;

/// Bytes gathered, less one frame, before they are written again.
const COPY_BYTES: usize = 1_024 * 1_024;

impl Found {
    /// Whether there is no log yet.
    pub(super) fn is_empty(&self) -> bool {
        self.last_segment == 0
    }

    /// The number of the next segment: never one that was used.
    ///
    /// # Errors
    /// [`OpenError::Exhausted`].
    pub(super) fn next_segment(&self, dir: &str) -> Result<u64, OpenError> {
        let last = self.last_segment;
        last.checked_add(1).ok_or_else(|| OpenError::Exhausted {
            path: dir.to_owned(),
            what: "segment number",
            last,
        })
    }

    /// Whether there is anything to do before the log may be served, even if it is only read.
    pub(super) fn is_settled(&self) -> bool {
        self.is_clean && self.doomed.is_empty() && self.stale.is_empty()
    }

    /// Makes what is kept durable: writes again everything that may not be, and syncs it.
    ///
    /// # Errors
    /// [`OpenError::Io`].
    pub(super) fn rewrite(&mut self, place: Place<'_>) -> Result<(), OpenError> {
        let Some(from) = self.rewrite_from else {
            return Ok(());
        };
        #[cfg(test)]
        if mutant::is(mutant::Mutant::TailLeft) {
            return Ok(());
        }
        for (at, kept) in self.kept.iter().enumerate().skip(from.kept) {
            let start = if at == from.kept { from.position } else { 0 };
            rewrite_range(place, kept, start)?;
        }
        place.storage.sync_dir(place.dir)?;
        self.rewrite_from = None;
        self.durable = self.last_index;
        Ok(())
    }

    /// Begins a new segment if the log was cut, or if there is none, and adds it to those kept. Its header
    /// is the cut; so it is durable before anything is removed.
    ///
    /// # Errors
    /// [`OpenError`].
    pub(super) fn begin_segment(
        &mut self,
        place: Place<'_>,
        created_ms: i64,
        term: u32,
    ) -> Result<(), OpenError> {
        if !self.is_cut && !self.kept.is_empty() {
            return Ok(());
        }
        #[cfg(test)]
        if mutant::is(mutant::Mutant::CutInPlace) && !self.kept.is_empty() {
            return Ok(());
        }
        let header = SegmentHeader {
            log_uuid: *place.log_uuid,
            segment: self.next_segment(place.dir)?,
            first_index: self.last_index + 1,
            previous_index: self.last_index,
            previous_term: self.last_term,
            durable: self.last_index,
            created_ms,
            incarnation: term,
            ..SegmentHeader::default()
        };
        let file = segment::create(place.storage, place.dir, &header)?;
        file.sync()?;
        place.storage.sync_dir(place.dir)?;
        self.take_begun(header, SEGMENT_HEADER_BYTES as u64);
        Ok(())
    }

    /// Adds a segment to those kept that has just begun and is durable, its data up to `end` without an entry.
    pub(super) fn take_begun(&mut self, header: SegmentHeader, end: u64) {
        self.kept.push(Kept {
            header,
            end,
            length: end,
            last_index: header.previous_index,
            last_term: header.previous_term,
            index: Arc::new(SegmentIndex::new(header.first_index)),
            is_footed: false,
            is_listed: false,
        });
        self.last_segment = header.segment;
        self.is_cut = false;
    }

    /// Removes what was cut: shortens segments that are not the last, deletes the others, newest first.
    ///
    /// # Errors
    /// [`OpenError::Io`].
    pub(super) fn remove_cut(&mut self, place: Place<'_>) -> Result<(), OpenError> {
        let sealed = self.kept.len().saturating_sub(1);
        for kept in self
            .kept
            .iter_mut()
            .take(sealed)
            .filter(|kept| kept.length > kept.end)
        {
            let path = segment::path(place.dir, kept.header.segment);
            let file = place.storage.open(&path, false);
            let file = file?;
            file.truncate(kept.end)?;
            file.sync()?;
            kept.length = kept.end;
        }
        if self.doomed.is_empty() && self.stale.is_empty() {
            return Ok(());
        }
        for path in self.stale.drain(..) {
            place.storage.unlink(&path)?;
        }
        self.doomed.sort_unstable();
        while let Some(segment) = self.doomed.pop() {
            let path = segment::path(place.dir, segment);
            place.storage.unlink(&path)?;
        }
        Ok(place.storage.sync_dir(place.dir)?)
    }
}

impl Found {
    /// Gives a footer to the sealed segments that have none: a crash came before the sync thread.
    ///
    /// # Errors
    /// [`OpenError::Io`]; a full disk is none, the index then stays in memory.
    pub(super) fn add_footers(&mut self, place: Place<'_>, time_ms: i64) -> Result<(), OpenError> {
        let sealed = self.kept.len().saturating_sub(1);
        let unfooted = self.kept.iter_mut().take(sealed);
        for kept in unfooted.filter(|kept| !kept.is_footed && !kept.index.is_empty()) {
            let path = segment::path(place.dir, kept.header.segment);
            let sealed = Sealed {
                segment: kept.header.segment,
                file: place.storage.open(&path, false)?,
                end: kept.end,
                last_index: kept.last_index,
                term: kept.last_term,
            };
            let footer = seal::Footer {
                log_uuid: place.log_uuid,
                durable: self.durable,
                time_ms,
            };
            if let Some(end) = footer.write(&sealed, &kept.index)? {
                sealed.file.sync()?;
                kept.end = end;
                kept.length = end;
                kept.is_footed = true;
            }
        }
        Ok(())
    }
}

/// Writes a segment again from `start` on. The bytes that are written are checked once more: after a failed
/// sync the page cache may let go at any time of what the walk has read, and show what the disk has.
fn rewrite_range(place: Place<'_>, kept: &Kept, start: u64) -> Result<(), OpenError> {
    let path = segment::path(place.dir, kept.header.segment);
    let file = place.storage.open(&path, false)?;
    let seed = CrcSeed::new(place.log_uuid, kept.header.segment);
    let mut scanner = Scanner::new(file.as_ref(), seed, kept.end);
    let mut buffer = Vec::new();
    let mut position = start;
    while position < kept.end {
        let mut end = position;
        while end < kept.end && buffer.len() < COPY_BYTES {
            let is_same = if end < SEGMENT_HEADER_BYTES as u64 {
                copy_header(file.as_ref(), kept, &mut buffer)?
            } else {
                copy_frame(&mut scanner, end, &mut buffer)?
            };
            if !is_same {
                let text = format!("{path}, position {end} changed while the log was opened");
                return Err(io::Error::other(text).into());
            }
            end = position + buffer.len() as u64;
        }
        #[cfg(test)]
        if mutant::is(mutant::Mutant::TailOnlySynced) {
            break;
        }
        file.write_at(&[IoSlice::new(&buffer)], position)?;
        position = end;
        buffer.clear();
    }
    Ok(file.sync()?)
}

/// Appends a segment's header to `buffer`; false if it is another now.
fn copy_header(file: &dyn StorageFile, kept: &Kept, buffer: &mut Vec<u8>) -> io::Result<bool> {
    let mut bytes = [0; SEGMENT_HEADER_BYTES];
    file.read_at(&mut bytes, 0)?;
    buffer.extend_from_slice(&bytes);
    Ok(SegmentHeader::decode(&bytes) == Ok(kept.header))
}

/// Appends the frame at `position` to `buffer`; false if there is none now.
fn copy_frame(scanner: &mut Scanner<'_>, position: u64, buffer: &mut Vec<u8>) -> io::Result<bool> {
    let scan::Found::Frame(header) = scanner.find(position)? else {
        return Ok(false);
    };
    let payload = scanner.payload(position, &header)?;
    let is_batch = header.kind == Kind::Records.number();
    if is_batch && batch::verify(payload).is_err() {
        return Ok(false);
    }
    buffer.extend_from_slice(scanner.frame(position, &header)?);
    Ok(true)
}
