//! Where reading a log may begin: the state as of some entry, and what lies where before it.

use std::collections::HashMap;

use super::survey::{Candidate, Reached};
use super::{Place, colds};
use crate::log::checkpoint::{self, Checkpoint, DirectoryRow, Store};
use crate::log::cold::ColdHeader;
use crate::log::error::OpenError;
use crate::log::index::SegmentIndex;
use crate::log::pair::StatePair;
use crate::log::segment::SegmentHeader;
use crate::log::snapshot;

/// A state that is known without reading the log.
#[derive(Debug)]
pub(in crate::log) struct Base {
    /// What it is, for people.
    pub(super) name: String,
    /// Whether it is the checkpoint.
    pub(super) is_checkpoint: bool,
    /// The last entry in it.
    pub(super) index: u64,
    /// The term of that entry, or of the last frame before the segment.
    pub(super) term: u32,
    /// The segment that holds the entry, or begins behind it.
    pub(super) segment: u64,
    /// The state.
    pub(in crate::log) pairs: Vec<StatePair>,
    /// The last index of sealed segments, and what they hold.
    directory: HashMap<u64, (u64, Vec<DirectoryRow>)>,
    /// Where the frame of the last entry stands, and what lies where in its segment up to it.
    pub(super) active: Option<(u64, SegmentIndex)>,
}

impl Base {
    /// The last entry in it.
    pub(in crate::log) const fn index(&self) -> u64 {
        self.index
    }

    /// The term that the log is known to have come to, and where.
    pub(super) const fn reached(&self) -> Reached {
        Reached {
            segment: self.segment,
            term: self.term,
        }
    }

    /// What a segment before it holds, in sum, if that is known.
    pub(super) fn outline(&self, header: &SegmentHeader) -> Option<SegmentIndex> {
        let (last_index, rows) = self.directory.get(&header.segment)?;
        let summaries = rows.iter().map(|row| (row.partition, row.summary));
        Some(SegmentIndex::of_summaries(
            header.first_index,
            *last_index,
            summaries,
        ))
    }

    /// What a cold segment holds, in sum, if that is known.
    pub(super) fn cold_outline(&self, header: &ColdHeader) -> Option<SegmentIndex> {
        let (last_index, rows) = self.directory.get(&header.segment)?;
        let summaries = rows.iter().map(|row| (row.partition, row.summary));
        let outline = SegmentIndex::of_summaries(header.first_index, *last_index, summaries);
        // Its number may have been another's, that never came to be.
        colds::is_of(&outline, header).then_some(outline)
    }

    fn of_checkpoint(checkpoint: Checkpoint) -> Self {
        let segments = checkpoint.segments.iter();
        let mut directory: HashMap<_, _> = segments
            .map(|(segment, last_index)| (*segment, (*last_index, Vec::new())))
            .collect();
        for row in checkpoint.rows {
            if let Some((_, rows)) = directory.get_mut(&row.segment) {
                rows.push(row);
            }
        }
        Self {
            name: "checkpoint".to_owned(),
            is_checkpoint: true,
            index: checkpoint.position.index,
            term: checkpoint.position.term,
            segment: checkpoint.position.segment,
            pairs: checkpoint.pairs,
            directory,
            active: checkpoint
                .active
                .map(|index| (checkpoint.position.frame, index)),
        }
    }
}

/// The bases there are, the newest first.
pub(super) struct Bases<'a> {
    place: Place<'a>,
    checkpoint: Option<Checkpoint>,
    store: Option<Store>,
    /// Segments with a snapshot, in order.
    snapshots: Vec<u64>,
}

impl<'a> Bases<'a> {
    /// Looks for them.
    ///
    /// # Errors
    /// The storage's.
    pub(super) fn new(place: Place<'a>) -> Result<Self, OpenError> {
        let (mut checkpoint, mut store) = (None, None);
        if place.storage.is_durable() {
            (checkpoint, store) = checkpoint::load(place.storage, place.dir, place.log_uuid);
        }
        Ok(Self {
            snapshots: snapshot::list(place.storage, place.dir)?,
            place,
            checkpoint,
            store,
        })
    }

    /// The next one whose segment is there; `None`: only the beginning of the log is left.
    ///
    /// # Errors
    /// The storage's.
    pub(super) fn next(&mut self, candidates: &[Candidate]) -> Result<Option<Base>, OpenError> {
        let is_there = |segment| {
            let mut there = candidates.iter().filter(|it| it.header.is_ok());
            there.any(|candidate| candidate.segment == segment)
        };
        if let Some(checkpoint) = self.checkpoint.take()
            && is_there(checkpoint.position.segment)
        {
            return Ok(Some(Base::of_checkpoint(checkpoint)));
        }
        while let Some(segment) = self.snapshots.pop() {
            let Place {
                storage,
                dir,
                log_uuid,
            } = self.place;
            if !is_there(segment) {
                continue;
            }
            if let Some(found) = snapshot::read(storage, dir, log_uuid, segment)? {
                return Ok(Some(Base {
                    name: format!("snapshot of segment {segment}"),
                    is_checkpoint: false,
                    index: found.index,
                    term: found.term,
                    segment,
                    pairs: found.pairs,
                    directory: HashMap::new(),
                    active: None,
                }));
            }
        }
        Ok(None)
    }

    /// The store, if it is open for writing.
    pub(super) fn into_store(self) -> Option<Store> {
        self.store
    }
}
