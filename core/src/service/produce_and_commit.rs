//! Producing and committing as one append: what was made of records, and how far they were read, happen
//! together or not at all.
//!
//! Each batch is checked as one that is produced alone, the offsets as in a commit; then all of it is one SET.

use std::sync::Arc;

use bytes::Bytes;

use super::commit_entries::commit_parts;
use super::groups::may_commit;
use super::produce::Produce;
use super::{Inner, Run};
use crate::completion::{Completion, Wakes};
use crate::error::{Error, ErrorCode, Result};
use crate::ids::{Durability, PartitionId};
use crate::limits;
use crate::log::{Appended, Kind, PAYLOAD_VERSION, PartRefused, SetPart, control, encode_set};
use crate::protocol::request::{Member, PartitionOffset, SetBatch};
use crate::protocol::response::{ProduceAck, Response};
#[cfg(any(test, feature = "simulation"))]
use crate::world::simulated::{self, Bug};

/// Batches and a commit on their way in.
pub(super) struct ProduceAndCommit {
    pub(super) batches: Vec<SetBatch>,
    pub(super) group: String,
    pub(super) member: Option<Member>,
    pub(super) offsets: Vec<PartitionOffset>,
    /// Whether this process encoded the batches.
    pub(super) is_trusted: bool,
}

impl Inner {
    pub(super) fn produce_and_commit(
        self: &Arc<Self>,
        wanted: ProduceAndCommit,
        payload: Bytes,
        run: Run,
        completion: Completion<Response>,
    ) {
        #[cfg(any(test, feature = "simulation"))]
        let (wanted, completion) = match simulated::has(Bug::ResultsApart) {
            true => self.apart(wanted, completion),
            false => (wanted, completion),
        };
        let missing = self.missing_topics(&wanted.batches);
        if !missing.is_empty() {
            let inner = Arc::clone(self);
            return self.create_missing(missing, move |created, wakes| match created {
                Ok(()) => inner.append_set(&wanted, &payload, Run::Io, completion),
                Err(error) => completion.complete(Err(error), wakes),
            });
        }
        self.append_set(&wanted, &payload, run, completion);
    }

    /// With the bug, the batches; the offsets come once these are there.
    #[cfg(any(test, feature = "simulation"))]
    fn apart(
        self: &Arc<Self>,
        mut wanted: ProduceAndCommit,
        completion: Completion<Response>,
    ) -> (ProduceAndCommit, Completion<Response>) {
        let behind = ProduceAndCommit {
            batches: Vec::new(),
            group: wanted.group.clone(),
            member: wanted.member.clone(),
            offsets: std::mem::take(&mut wanted.offsets),
            is_trusted: wanted.is_trusted,
        };
        let inner = Arc::clone(self);
        let written = Completion::call(move |answer: Result<Response>, wakes| match answer {
            Ok(answer) => {
                let committed = Completion::call(move |result: Result<Response>, wakes| {
                    completion.complete(result.map(|_| answer), wakes);
                });
                inner.append_set(&behind, &Bytes::new(), Run::Io, committed);
            }
            Err(error) => completion.complete(Err(error), wakes),
        });
        (wanted, written)
    }

    /// Topics that are made as they are used.
    fn missing_topics(&self, batches: &[SetBatch]) -> Vec<String> {
        if !self.auto_create_topics {
            return Vec::new();
        }
        let topics = self.state.topics.read();
        let names = batches.iter().map(|batch| &batch.topic);
        let mut missing: Vec<_> = names
            .filter(|name| topics.get(name).is_none())
            .cloned()
            .collect();
        missing.sort();
        missing.dedup();
        missing
    }

    fn append_set(
        &self,
        wanted: &ProduceAndCommit,
        payload: &Bytes,
        run: Run,
        completion: Completion<Response>,
    ) {
        match self.check_set(wanted, payload) {
            Ok((parts, level)) => {
                let frame = (Kind::Set, PAYLOAD_VERSION, PartitionId(0));
                let completion = acknowledge(wanted, completion);
                let append = self.control_entry(frame, encode_set(&parts), Some(level), completion);
                self.append_if(vec![append], run, |coordinator| {
                    let member = wanted.member.as_ref();
                    may_commit(coordinator, &wanted.group, member, &wanted.offsets)
                });
            }
            Err(error) => completion.finish(Err(error)),
        }
    }

    /// What to write, batches first, and the highest level among the topics.
    fn check_set(
        &self,
        wanted: &ProduceAndCommit,
        payload: &Bytes,
    ) -> Result<(Vec<SetPart>, Durability)> {
        if wanted.batches.len() > limits::SET_BATCHES_MAX {
            return Err(Error::new(
                ErrorCode::InvalidRequest,
                format!(
                    "{} record batches to append with one commit; at most {} are allowed",
                    wanted.batches.len(),
                    limits::SET_BATCHES_MAX
                ),
            ));
        }
        let (generation, offsets, mut level) =
            self.check_commit(&wanted.group, wanted.member.as_ref(), &wanted.offsets)?;
        let mut parts = Vec::with_capacity(wanted.batches.len() + 1);
        let mut rest = payload.clone();
        for batch in &wanted.batches {
            let size_bytes = batch.size_bytes as usize;
            if size_bytes > rest.len() {
                return Err(wrong_size(batch, rest.len()));
            }
            let mut bytes = rest.split_to(size_bytes);
            let produce = Produce {
                topic: batch.topic.clone(),
                partition: batch.partition,
                durability: None,
                is_trusted: wanted.is_trusted,
            };
            let checked = self.check_produce(&produce, &mut bytes);
            let (topic, partition) = checked.map_err(|error| about(batch, error))?;
            level = level.max(topic.config.durability.min(self.identity_level()));
            parts.push(SetPart {
                kind: Kind::Records,
                version: PAYLOAD_VERSION,
                partition,
                payload: Vec::from(bytes),
                log_append_time: topic.config.is_log_append_time,
            });
        }
        if !rest.is_empty() {
            return Err(Error::new(
                ErrorCode::InvalidRequest,
                format!("{} bytes follow the record batches", rest.len()),
            ));
        }
        let commit = control::OffsetCommit {
            group: wanted.group.clone(),
            generation,
            offsets,
        };
        parts.extend(commit_parts(commit.into())?);
        Ok((parts, level))
    }
}

fn wrong_size(batch: &SetBatch, remaining: usize) -> Error {
    Error::new(
        ErrorCode::InvalidRequest,
        format!(
            "the record batch for topic `{}`, partition {} is to have {} bytes, {remaining} came",
            batch.topic.escape_debug(),
            batch.partition,
            batch.size_bytes
        ),
    )
}

/// Says which batch an error is about.
fn about(batch: &SetBatch, error: Error) -> Error {
    let (topic, partition) = (batch.topic.escape_debug(), batch.partition);
    let message = format!(
        "topic `{topic}`, partition {partition}: {}",
        error.message()
    );
    Error::new(error.code(), message)
        .with_outcome(error.outcome())
        .with_source(error)
}

/// Turns what the log says of the SET into an acknowledgement for each batch.
fn acknowledge(
    wanted: &ProduceAndCommit,
    completion: Completion<Response>,
) -> Completion<Appended> {
    let batches = wanted.batches.clone();
    Completion::call(move |result: Result<Appended>, wakes: &mut Wakes| {
        let answer = result.map(|appended| {
            let places = appended.batches.iter().flatten();
            let acks = places.map(|place| ProduceAck {
                base_offset: place.base_offset,
                append_time_ms: place.append_time_ms,
                durability: appended.durability,
                is_duplicate: appended.is_duplicate,
            });
            Response::ProducedAll(acks.collect())
        });
        let answer = answer.map_err(|error| {
            let source = std::error::Error::source(&error);
            let refused = source.and_then(|source| source.downcast_ref::<PartRefused>());
            match refused.and_then(|refused| batches.get(refused.part)) {
                Some(batch) => about(batch, error),
                None => error,
            }
        });
        completion.complete(answer, wakes);
    })
}

#[cfg(test)]
mod tests;
