//! The cold segments that a cleaning writes: one after the other, and the last makes all of them count.

use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;

use super::super::cold::{self, ColdHeader};
use super::super::entry::Kind;
use super::super::frame::{self, CrcSeed, FRAME_HEADER_BYTES, FrameHeader, PAYLOAD_VERSION};
use super::super::index::{Adding, SegmentIndex};
use super::super::rebuild;
use super::super::seal::{Footer, Sealed};
use super::super::segment::SEGMENT_HEADER_BYTES;
use super::super::shared::Shared;
use super::super::storage::StorageFile;
#[cfg(test)]
use super::super::tests::mutant;
use super::plan::{COLD_SEGMENTS, Job};
use super::reserve::Space;
use crate::ids::PartitionId;
use crate::limits::SEGMENT_INDEX_BYTES_MAX;
use crate::record::BatchHeader;

/// Bytes gathered before they are written, less one batch.
const GATHERED_BYTES: usize = 1_024 * 1_024;

/// What a cleaning writes.
pub(super) struct Outputs<'a> {
    log: &'a Arc<Shared>,
    job: &'a Job,
    space: Space,
    now_ms: i64,
    /// The lowest and the highest index that a batch can have.
    indexes: (u64, u64),
    set: Option<u64>,
    writing: Option<Output>,
    written: Vec<Written>,
}

/// A cold segment that is written to.
struct Output {
    segment: u64,
    file: Arc<dyn StorageFile>,
    seed: CrcSeed,
    /// Where the next frame goes.
    position: u64,
    gathered: Vec<u8>,
    index: SegmentIndex,
    batches: u64,
    term: u32,
}

/// One that has its name.
struct Written {
    header: ColdHeader,
    end: u64,
    index: SegmentIndex,
}

impl<'a> Outputs<'a> {
    pub(super) fn new(
        log: &'a Arc<Shared>,
        job: &'a Job,
        space: Space,
        (now_ms, indexes): (i64, (u64, u64)),
    ) -> Self {
        Self {
            log,
            job,
            space,
            now_ms,
            indexes,
            set: None,
            writing: None,
            written: Vec::new(),
        }
    }

    /// Adds a batch behind those there are; `frame` is the one it had, `first_kept_ms` when a tombstone in it
    /// was first kept.
    ///
    /// # Errors
    /// The storage's.
    pub(super) fn push(
        &mut self,
        partition: PartitionId,
        frame: &FrameHeader,
        first_kept_ms: u64,
        (batch, bytes): (&BatchHeader, &[u8]),
    ) -> io::Result<()> {
        let most = COLD_SEGMENTS * self.log.options.segment_bytes;
        if self
            .writing
            .as_ref()
            .is_some_and(|it| it.is_full(bytes.len(), most))
        {
            self.cut()?;
        }
        let output = match &mut self.writing {
            Some(output) => output,
            None => {
                let output = self.begin()?;
                self.writing.insert(output)
            }
        };
        output.push(partition, frame, first_kept_ms, (batch, bytes));
        if output.gathered.len() >= GATHERED_BYTES {
            output.flush()?;
        }
        Ok(())
    }

    /// What comes goes into another segment, unless there is space for one alone.
    ///
    /// # Errors
    /// The storage's.
    pub(super) fn cut(&mut self) -> io::Result<()> {
        match self.space {
            Space::Any => self.finish(false),
            Space::Reserve => Ok(()),
        }
    }

    /// Everything is there: from when this returns, what was written counts, and its sources do not.
    ///
    /// # Errors
    /// The storage's. Then the sources count, as far as is known.
    pub(super) fn commit(mut self) -> io::Result<()> {
        let committed = self.finish(true);
        if committed.is_err() {
            self.undo();
            return committed;
        }
        let log = self.log;
        let mut added = Vec::new();
        for written in &self.written {
            log.files.add_cold(&written.header, written.end);
            added.push(Adding {
                segment: written.header.segment,
                index: Arc::new(written.index.outline()),
                is_footed: true,
                is_cold: true,
            });
        }
        let sources = self.job.sources.iter();
        let leaving: Vec<_> = sources.map(|it| (*it, log.index.rows_of(*it))).collect();
        log.index.replace(&self.job.sources, added);
        for (segment, rows) in leaving {
            log.leave(segment, rows);
        }
        for written in &self.written {
            log.keeper.note_footed(written.header.segment);
        }
        log.remove_leaving(&mut 0);
        Ok(())
    }

    /// Removes what was written.
    pub(super) fn undo(&mut self) {
        if let Err(error) = self.remove() {
            // What is left might be taken for the whole, once its sources are gone: so they stay.
            self.log.keeper.removing.end();
            let dir = &self.log.dir;
            tracing::warn!(%dir, %error, "what cleaning has begun cannot be removed before the next open");
        }
    }

    /// The one that commits goes first, and durably: without it the others count for nothing.
    fn remove(&mut self) -> io::Result<()> {
        let (storage, dir) = (self.log.storage.as_ref(), &self.log.dir);
        let unlink = |path: &str| match storage.unlink(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed,
        };
        if let Some(output) = self.writing.take() {
            let path = cold::partial_path(dir, output.segment);
            match self.space {
                Space::Any => unlink(&path)?,
                Space::Reserve => self.log.return_reserve(&path)?,
            }
        }
        while let Some(written) = self.written.pop() {
            unlink(&cold::path(dir, written.header.segment))?;
            if written.header.is_commit {
                storage.sync_dir(dir)?;
            }
        }
        storage.sync_dir(dir)
    }

    fn begin(&mut self) -> io::Result<Output> {
        let log = self.log;
        let (storage, dir) = (log.storage.as_ref(), &log.dir);
        if self.set.is_none() {
            cold::remove_partial(storage, dir)?;
        }
        let segment = log.with_writer(|writer| {
            let segment = writer.next_segment;
            writer.next_segment += 1;
            segment
        });
        self.set.get_or_insert(segment);
        let path = cold::partial_path(dir, segment);
        let file = match self.space {
            Space::Any => storage.create(&path)?,
            Space::Reserve => log.take_reserve(&path)?,
        };
        Ok(Output {
            segment,
            file,
            seed: CrcSeed::new(&log.log_uuid, segment),
            position: SEGMENT_HEADER_BYTES as u64,
            gathered: Vec::new(),
            index: SegmentIndex::new(self.indexes.0),
            batches: 0,
            term: 0,
        })
    }

    /// Ends the segment that is written to, and gives it its name.
    fn finish(&mut self, is_commit: bool) -> io::Result<()> {
        if self.writing.is_none() {
            if !is_commit {
                return Ok(());
            }
            // Nothing lives, or it lies in the ones before: an empty one says that they are whole.
            let output = self.begin()?;
            self.writing = Some(output);
        }
        let Some(output) = &mut self.writing else {
            return Ok(());
        };
        output.flush()?;
        let log = self.log;
        let (storage, dir) = (log.storage.as_ref(), &log.dir);
        let header = ColdHeader {
            log_uuid: log.log_uuid,
            segment: output.segment,
            front: self.job.front,
            first_index: self.indexes.0,
            last_index: output.index.last_index(),
            frames_end: output.position,
            batches: output.batches,
            set: self.set.unwrap_or(output.segment),
            created_ms: self.now_ms,
            is_commit,
            replaced: self.job.cold_sources(log),
        };
        let end = output.end(&header, self.now_ms)?;
        if self.space == Space::Reserve {
            output.file.truncate(end)?;
        }
        #[cfg(test)]
        let is_synced = !mutant::is(mutant::Mutant::ColdUnsynced);
        #[cfg(not(test))]
        let is_synced = true;
        if is_synced {
            output.file.sync()?;
        }
        let (partial, path) = (
            cold::partial_path(dir, header.segment),
            cold::path(dir, header.segment),
        );
        if let Some(Output { index, .. }) = self.writing.take() {
            self.written.push(Written { header, end, index });
        }
        storage.rename(&partial, &path)?;
        #[cfg(test)]
        if mutant::is(mutant::Mutant::MovedAhead) {
            return Ok(());
        }
        // After a failure nothing is known of the folder: what is undone might be there again.
        storage
            .sync_dir(dir)
            .inspect_err(|_| log.keeper.removing.end())
    }
}

impl Output {
    fn is_full(&self, bytes: usize, most: u64) -> bool {
        let len = (FRAME_HEADER_BYTES + bytes) as u64;
        self.position.saturating_add(frame::padded(len)) > most
            || self.index.memory_bytes() >= SEGMENT_INDEX_BYTES_MAX
    }

    fn push(
        &mut self,
        partition: PartitionId,
        frame: &FrameHeader,
        first_kept_ms: u64,
        (batch, bytes): (&BatchHeader, &[u8]),
    ) {
        let header = FrameHeader {
            // No longer than the frame it was in.
            len: (FRAME_HEADER_BYTES + bytes.len()) as u32,
            crc: 0,
            index: frame.index,
            durable: first_kept_ms,
            time_ms: frame.time_ms,
            term: frame.term,
            partition: partition.0,
            kind: Kind::Records.number(),
            flags: 0,
            version: PAYLOAD_VERSION,
            reserved: 0,
        };
        let sealed = frame::seal(header, self.seed, self.position, bytes);
        self.gathered.extend_from_slice(&sealed);
        self.gathered.extend_from_slice(bytes);
        let padded = header.padded_bytes();
        let padding = (padded - u64::from(header.len)) as usize;
        self.gathered.resize(self.gathered.len() + padding, 0);
        let entry = rebuild::entry_of(batch, self.position, 0, bytes.len());
        self.index.push(partition, &entry, frame.time_ms);
        self.index.note(frame.index, frame.time_ms);
        self.position += padded;
        self.batches += 1;
        self.term = self.term.max(frame.term);
    }

    fn flush(&mut self) -> io::Result<()> {
        let start = self.position - self.gathered.len() as u64;
        self.file.write_at(&[IoSlice::new(&self.gathered)], start)?;
        self.gathered.clear();
        Ok(())
    }

    /// Writes footer and header, and says where it ends.
    fn end(&self, header: &ColdHeader, time_ms: i64) -> io::Result<u64> {
        let sealed = Sealed {
            segment: self.segment,
            file: Arc::clone(&self.file),
            end: self.position,
            last_index: header.last_index,
            term: self.term,
        };
        let footer = Footer {
            log_uuid: &header.log_uuid,
            durable: header.last_index,
            time_ms,
        };
        let end = footer.write(&sealed, &self.index)?;
        let end = end.ok_or(ErrorKind::StorageFull)?;
        self.file.write_at(&[IoSlice::new(&header.encode())], 0)?;
        Ok(end)
    }
}
