//! Offsets by their meaning, and reading batches out of the log.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use super::search::{Search, WantedTime};
use super::{Inner, unknown_partition, unknown_topic};
use crate::completion::Completion;
use crate::engine::partition::{Partition, PartitionStatus, Readable};
use crate::error::{Error, ErrorCode, Result};
use crate::limits;
use crate::log::read::before_error;
use crate::log::{Location, Stored};
use crate::protocol::request::{OffsetAt, OffsetQuery};
use crate::protocol::response::Response;
use crate::record::batch;
use crate::world;

/// Offsets that are asked for by their meaning, on the way to be found.
#[derive(Debug)]
pub(super) struct Listing {
    queries: std::vec::IntoIter<OffsetQuery>,
    found: Vec<i64>,
    /// The search for the query before, as long as it goes on.
    search: Option<Search>,
}

impl Listing {
    pub(super) fn new(queries: Vec<OffsetQuery>) -> Self {
        Self {
            found: Vec::with_capacity(queries.len()),
            queries: queries.into_iter(),
            search: None,
        }
    }

    /// Finds what takes one batch each, for [`limits::LISTING_TURN_MS`]; of a search that takes more, one step.
    fn step(&mut self, inner: &Inner) -> Result<ControlFlow<Vec<i64>>> {
        let end = world::now() + Duration::from_millis(limits::LISTING_TURN_MS);
        loop {
            if let Some(search) = &mut self.search {
                let ControlFlow::Break(found) = search.step(inner)? else {
                    return Ok(ControlFlow::Continue(()));
                };
                // Not the high watermark of now: what is below it by now may be what is searched for.
                let none = search.searched_to();
                self.found.push(found.map_or(none, |found| found.offset));
                self.search = None;
                if world::now() >= end {
                    return Ok(ControlFlow::Continue(()));
                }
            }
            let Some(query) = self.queries.next() else {
                return Ok(ControlFlow::Break(std::mem::take(&mut self.found)));
            };
            self.begin(inner, &query)?;
        }
    }

    fn begin(&mut self, inner: &Inner, query: &OffsetQuery) -> Result<()> {
        let topic = inner.state.topics.read().get(&query.topic).cloned();
        let topic = topic.ok_or_else(|| unknown_topic(&query.topic))?;
        let partition = topic.partition(query.partition).ok_or_else(|| {
            unknown_partition(&topic.name, query.partition, topic.partitions.len())
        })?;
        let status = partition.status();
        match query.at {
            OffsetAt::Earliest => self.found.push(status.log_start_offset),
            OffsetAt::Latest => self.found.push(status.high_watermark),
            OffsetAt::Time(time_ms) => {
                self.search = Search::new(inner, partition, WantedTime::From(time_ms));
            }
        }
        Ok(())
    }
}

impl Inner {
    /// The offsets, looked up on this thread.
    pub(super) fn list_offsets(&self, mut listing: Listing) -> Result<Response> {
        self.check_open()?;
        loop {
            if let ControlFlow::Break(found) = listing.step(self)? {
                return Ok(Response::Offsets(found));
            }
        }
    }

    /// The offsets, looked up in turns of the io thread, of which this is one.
    pub(super) fn list_offsets_on(
        self: &Arc<Self>,
        mut listing: Listing,
        completion: Completion<Response>,
    ) {
        let step = self.check_open().and_then(|()| listing.step(self));
        match step {
            Ok(ControlFlow::Break(found)) => completion.finish(Ok(Response::Offsets(found))),
            Ok(ControlFlow::Continue(())) => {
                let inner = Arc::clone(self);
                self.log
                    .schedule_turn(move || inner.list_offsets_on(listing, completion));
            }
            Err(error) => completion.finish(Err(error)),
        }
    }

    /// The readable batches of a partition from `offset` on, and its high watermark: from memory, or read
    /// from the log and verified. About `max_bytes` of them, up to one that cannot be read; at least one if there is one.
    ///
    /// # Errors
    /// Inside, the status, when the offset is not held.
    pub(super) fn fetch(
        &self,
        partition: &Partition,
        offset: i64,
        max_bytes: usize,
    ) -> Result<std::result::Result<Fetched, PartitionStatus>> {
        let mut batches = Vec::new();
        let high_watermark = match partition.readable(offset, max_bytes, &mut batches) {
            Ok(high_watermark) => high_watermark,
            Err(status) => return Ok(Err(status)),
        };
        if batches.is_empty() && offset < high_watermark {
            let stored = self
                .log
                .read_from(partition.id, offset, high_watermark, max_bytes)?;
            batches = before_error(stored.into_iter().map(|it| self.verified(it)))?;
        }
        Ok(Ok(Fetched {
            batches,
            high_watermark,
        }))
    }
}

impl Inner {
    /// What was read from the log, if it is what the index says.
    pub(super) fn verified(&self, stored: Stored) -> Result<Readable> {
        let found = match batch::verify(&stored.bytes) {
            Ok(header) if header.base_offset == stored.base_offset => {
                return Ok(Readable {
                    base_offset: stored.base_offset,
                    next_offset: stored.next_offset,
                    bytes: stored.bytes,
                });
            }
            Ok(header) => format!(
                "a batch with base offset {} stands there",
                header.base_offset
            ),
            Err(error) => error.to_string(),
        };
        let Location {
            segment, position, ..
        } = stored.location;
        Err(Error::new(
            ErrorCode::CorruptSegment,
            format!(
                "{}, position {position}, offset {}: {found}",
                self.log.path_of(segment),
                stored.base_offset
            ),
        ))
    }
}

/// Batches of a partition.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// In order of their offsets; the first may begin before the offset that was asked for.
    pub batches: Vec<Readable>,
    /// The next offset a reader would see.
    pub high_watermark: i64,
}

pub(super) fn corrupt(partition: &Partition, error: &dyn std::fmt::Display) -> Error {
    Error::new(
        ErrorCode::CorruptMessage,
        format!(
            "partition id {}, number {}: {error}",
            partition.id, partition.number
        ),
    )
}
