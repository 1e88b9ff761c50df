//! What a commit is in the log: one entry where it can be, as many as it takes where it cannot.
//!
//! A payload holds [`limits::CONTROL_BYTES_MAX`]. What is longer is cut into several, which are the parts of one SET:
//! they are there together or not at all. What does not fit a SET either ([`limits::SET_BYTES_MAX`], some 4,000
//! partitions with all the metadata that may be noted) is several SETs, one behind the other, and may be cut off
//! between two of them.

use std::sync::Arc;

use super::{Inner, Run};
use crate::completion::{Completion, Wakes};
use crate::engine::group::Coordinator;
use crate::error::{Error, Outcome, Result};
use crate::ids::{Durability, PartitionId};
use crate::limits;
use crate::log::control::{
    self, CommitDetails, DetailedOffsetCommit, NO_OFFSET, OFFSET_COMMIT_VERSION,
};
use crate::log::{Appended, Kind, PAYLOAD_VERSION, SetPart, encode_set};
use crate::sync::Mutex;

/// Bytes of a payload that say of whom it is, and how much follows: the group's id, numbers and lengths.
const HEAD_BYTES_MAX: usize = limits::NAME_BYTES_MAX + 32;
/// Bytes of one offset: its topic's uuid, and the longest that two numbers can be.
const OFFSET_BYTES_MAX: usize = 16 + 5 + 10;
/// Bytes of what is noted beside it, without the metadata.
const DETAILS_BYTES_MAX: usize = 5 + 5;
/// Bytes that a part of a SET takes beside its payload.
const PART_BYTES_MAX: usize = 16 + 7;

const _: () = assert!(
    HEAD_BYTES_MAX + OFFSET_BYTES_MAX + DETAILS_BYTES_MAX + limits::OFFSET_METADATA_BYTES_MAX
        <= limits::CONTROL_BYTES_MAX
);
const _: () = assert!(limits::CONTROL_BYTES_MAX + PART_BYTES_MAX <= limits::SET_BYTES_MAX);

impl Inner {
    /// Writes a commit, if `may` still says so as it is queued. Answered once all of it is in the log; if it is several
    /// entries and one fails, with that error: those before it count, and to commit all of it again does no harm.
    pub(super) fn append_commit(
        &self,
        commit: DetailedOffsetCommit,
        level: Durability,
        run: Run,
        completion: Completion<()>,
        may: impl FnOnce(&Coordinator) -> Result<()>,
    ) {
        let parts = match commit_parts(commit) {
            Ok(parts) => parts,
            Err(error) => return completion.finish(Err(error)),
        };
        let entries = entries(parts);
        let gathered = Arc::new(Mutex::new(Gathered {
            left: entries.len(),
            is_begun: false,
            failed: None,
            completion: Some(completion),
        }));
        let appends = entries.into_iter().map(|entry| {
            let frame = (entry.kind, entry.version, entry.partition);
            self.control_entry(frame, entry.payload, Some(level), one_of(&gathered))
        });
        self.append_if(appends.collect(), run, may);
    }
}

/// A commit as parts of a SET, in order.
///
/// # Errors
/// `MESSAGE_TOO_LARGE` for a group's id or metadata that are longer than they may be.
pub(super) fn commit_parts(mut commit: DetailedOffsetCommit) -> Result<Vec<SetPart>> {
    let mut parts = Vec::new();
    loop {
        let rest = cut(&mut commit);
        parts.push(encode(commit)?);
        match rest {
            Some(rest) => commit = rest,
            None => return Ok(parts),
        }
    }
}

/// Leaves what fits one payload, and gives back what is behind it.
fn cut(commit: &mut DetailedOffsetCommit) -> Option<DetailedOffsetCommit> {
    let mut bytes = HEAD_BYTES_MAX;
    let mut noted = commit.details.iter();
    let fitting = commit.commit.offsets.iter().take_while(|_| {
        bytes += OFFSET_BYTES_MAX;
        if let Some(details) = noted.next() {
            bytes += DETAILS_BYTES_MAX + details.metadata.len();
        }
        bytes <= limits::CONTROL_BYTES_MAX
    });
    // One that is too long by itself is refused by its encoding.
    let count = fitting.count().max(1);
    if count >= commit.commit.offsets.len() {
        return None;
    }
    let details = commit.details.split_off(count.min(commit.details.len()));
    Some(DetailedOffsetCommit {
        commit: control::OffsetCommit {
            group: commit.commit.group.clone(),
            generation: commit.commit.generation,
            offsets: commit.commit.offsets.split_off(count),
        },
        details,
    })
}

/// Version 1 wherever it says the same: it is smaller, and older builds read it.
fn encode(mut commit: DetailedOffsetCommit) -> Result<SetPart> {
    let nothing = CommitDetails::default();
    if commit.details.iter().all(|said| *said == nothing) {
        commit.details.clear();
    }
    let mut offsets = commit.commit.offsets.iter();
    let is_plain = commit.details.is_empty() && offsets.all(|at| at.offset != NO_OFFSET);
    let (version, payload) = if is_plain {
        (PAYLOAD_VERSION, control::encode(&commit.commit)?)
    } else {
        (OFFSET_COMMIT_VERSION, control::encode(&commit)?)
    };
    let part = SetPart::control(Kind::OffsetCommit, PartitionId(0), payload);
    Ok(SetPart { version, ..part })
}

/// What is appended at once, each in the words of a part: single ones as they are, more of them as a SET.
fn entries(parts: Vec<SetPart>) -> Vec<SetPart> {
    let mut entries = Vec::new();
    let (mut together, mut bytes) = (Vec::new(), 0);
    for part in parts {
        let part_bytes = part.payload.len() + PART_BYTES_MAX;
        if bytes + part_bytes > limits::SET_BYTES_MAX {
            entries.extend(entry(std::mem::take(&mut together)));
            bytes = 0;
        }
        bytes += part_bytes;
        together.push(part);
    }
    entries.extend(entry(together));
    entries
}

fn entry(mut parts: Vec<SetPart>) -> Option<SetPart> {
    if parts.len() > 1 {
        return Some(SetPart::control(
            Kind::Set,
            PartitionId(0),
            encode_set(&parts),
        ));
    }
    parts.pop()
}

/// The entries of one commit, and who waits for all of them.
struct Gathered {
    left: usize,
    /// Whether one of them is in the log.
    is_begun: bool,
    failed: Option<Error>,
    completion: Option<Completion<()>>,
}

fn one_of(gathered: &Arc<Mutex<Gathered>>) -> Completion<Appended> {
    let gathered = Arc::clone(gathered);
    Completion::call(move |result: Result<Appended>, wakes: &mut Wakes| {
        let mut all = gathered.lock();
        all.left = all.left.saturating_sub(1);
        match result {
            Ok(_) => all.is_begun = true,
            Err(error) => drop(all.failed.get_or_insert(error)),
        }
        if all.left > 0 {
            return;
        }
        let is_begun = all.is_begun;
        let result = all.failed.take().map_or(Ok(()), |error| {
            // Some of it happened.
            Err(if is_begun {
                error.with_outcome(Outcome::Unknown)
            } else {
                error
            })
        });
        let completion = all.completion.take();
        drop(all);
        if let Some(completion) = completion {
            completion.complete(result, wakes);
        }
    })
}

#[cfg(test)]
mod tests;
