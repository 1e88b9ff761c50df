//! A SET on its way into the log: whether all of its parts may happen, decided before one does.
//!
//! Each part is tried on an excerpt of the sequencer that knows the parts before it; the sequencer itself
//! changes when the SET has its place, and then every part counts. What a single batch does not need costs
//! it nothing: all of this is for SETs alone.

use std::collections::HashMap;

use crate::error::{Error, ErrorCode};
use crate::ids::{LeaderEpoch, PartitionId, ProducerId};
use crate::limits::PRODUCER_WINDOW_BATCHES;
use crate::record::{BatchError, BatchHeader, batch};

use super::append::BatchPlace;
use super::entry::Kind;
use super::error::invalid;
use super::replay::{self, Effect};
use super::sequencer::{Admission, Sequenced, Sequencer};
use super::set::{self, Part, PartRefused};
use super::tally::Tally;
use super::writer::Plan;

/// The parts of a SET that may be appended, in order.
pub(super) struct SetPlan(Vec<Step>);

/// What one part does.
struct Step {
    partition: PartitionId,
    /// Where its payload begins in that of the SET.
    at: usize,
    len: usize,
    effect: Effect,
    /// Of a batch, the offset of its first record.
    base_offset: i64,
    has_append_time: bool,
}

/// What trying a part came to.
enum Tried {
    /// It may happen.
    Step(Step),
    /// It is a batch that was appended before.
    Duplicate(Sequenced),
}

/// The header of a record batch that is all of `payload`.
///
/// # Errors
/// `CorruptMessage`.
pub(super) fn whole_batch(payload: &[u8]) -> Result<BatchHeader, Error> {
    let header = BatchHeader::parse(payload).map_err(|error| invalid(&error))?;
    let (found, expected) = (payload.len(), header.total_bytes());
    if found != expected {
        return Err(invalid(&BatchError::TotalBytes { found, expected }));
    }
    Ok(header)
}

/// What becomes of a SET. A repetition of one is known by its batches: all of them were appended before, by
/// one entry; then nothing of it happens again.
///
/// # Errors
/// What the first part is refused for that is, with [`PartRefused`] as the source.
pub(super) fn plan(sequencer: &Sequencer, payload: &[u8]) -> Result<Plan, Error> {
    let parts = set::unstamped_parts(payload).map_err(|error| invalid(&error))?;
    let mut effects = Vec::with_capacity(parts.len());
    for (number, part) in parts.iter().enumerate() {
        effects.push(effect_of(part).map_err(|error| refused(number, error))?);
    }
    let about = parts.iter().zip(&effects).filter_map(|(part, effect)| {
        let producer_id = match effect {
            Effect::Records(batch) => Some(ProducerId(batch.producer_id)),
            Effect::Open(_) => None,
            _ => return None,
        };
        Some((part.partition, producer_id))
    });
    let mut tried = Trial {
        excerpt: sequencer.excerpt(about),
        counts: HashMap::new(),
    };
    let (mut steps, mut duplicates) = (Vec::with_capacity(parts.len()), Vec::new());
    for (number, (part, effect)) in parts.iter().zip(effects).enumerate() {
        let is_batch = part.kind == Kind::Records;
        let has_new_batch = || steps.iter().any(Step::is_batch);
        match tried.part(part, effect, payload) {
            Ok(Tried::Step(_)) if is_batch && !duplicates.is_empty() => {
                return Err(refused(number, mixed()));
            }
            Ok(Tried::Step(step)) => steps.push(step),
            Ok(Tried::Duplicate(first)) => {
                let before: Option<&Sequenced> = duplicates.first();
                if has_new_batch() || before.is_some_and(|before| before.index != first.index) {
                    return Err(refused(number, mixed()));
                }
                duplicates.push(first);
            }
            Err(error) => return Err(refused(number, error)),
        }
    }
    let Some(first) = duplicates.first().copied() else {
        return Ok(Plan::Set(SetPlan(steps)));
    };
    let places = duplicates.iter().map(BatchPlace::from).collect();
    Ok(Plan::Duplicate(first, Some(places)))
}

/// The sequencer as it would be behind the parts tried so far.
struct Trial {
    excerpt: Sequencer,
    /// Batches of a producer in a partition.
    counts: HashMap<(PartitionId, ProducerId), usize>,
}

impl Trial {
    fn part(&mut self, part: &Part<'_>, effect: Effect, payload: &[u8]) -> Result<Tried, Error> {
        let mut step = Step {
            partition: part.partition,
            at: part.at,
            len: part.payload.len(),
            effect,
            base_offset: 0,
            has_append_time: set::wants_append_time(payload, part.at),
        };
        let Effect::Records(batch) = &step.effect else {
            step.effect.check(&self.excerpt, part.partition)?;
            step.effect.control(&mut self.excerpt, part.partition);
            return Ok(Tried::Step(step));
        };
        self.count(part.partition, batch)?;
        let base_offset = match self.excerpt.admit(part.partition, batch)? {
            Admission::New { base_offset } => base_offset,
            Admission::Duplicate(first) => return Ok(Tried::Duplicate(first)),
        };
        // Its place is not known yet, and not asked for: a repetition within the SET is refused.
        let sequenced = Sequenced {
            index: 0,
            base_offset,
            time_ms: 0,
            append_time_ms: -1,
        };
        self.excerpt.take(part.partition, batch, sequenced);
        step.base_offset = base_offset;
        Ok(Tried::Step(step))
    }

    /// A SET that holds more of a producer than is remembered could not be repeated.
    fn count(&mut self, partition: PartitionId, batch: &BatchHeader) -> Result<(), Error> {
        if batch.producer_id < 0 {
            return Ok(());
        }
        let key = (partition, ProducerId(batch.producer_id));
        let count = self.counts.entry(key).or_default();
        *count += 1;
        if *count <= PRODUCER_WINDOW_BATCHES {
            return Ok(());
        }
        Err(Error::new(
            ErrorCode::InvalidRequest,
            format!(
                "more than {PRODUCER_WINDOW_BATCHES} batches of producer id {} for one partition in one SET: its \
                 repetition could not be recognised",
                batch.producer_id
            ),
        ))
    }
}

impl Step {
    const fn is_batch(&self) -> bool {
        matches!(self.effect, Effect::Records(_))
    }
}

impl SetPlan {
    /// Counts its batches.
    pub(super) fn count(&self, tally: &Tally) {
        for step in &self.0 {
            if let Effect::Records(header) = &step.effect {
                tally.batch(header.record_count.unsigned_abs().into());
            }
        }
    }

    /// Stamps the batches, and tells the sequencer of every part; says where the batches went.
    pub(super) fn take(
        self,
        payload: &mut [u8],
        sequencer: &mut Sequencer,
        (index, time_ms, epoch): (u64, i64, LeaderEpoch),
    ) -> Option<Box<[BatchPlace]>> {
        let mut places = Vec::new();
        for step in self.0 {
            let Effect::Records(header) = &step.effect else {
                step.effect.control(sequencer, step.partition);
                continue;
            };
            let mut append_time_ms = -1;
            if let Some(bytes) = payload.get_mut(step.at..step.at + step.len) {
                batch::stamp(bytes, step.base_offset, epoch.0);
                if step.has_append_time {
                    batch::stamp_append_time(bytes, time_ms);
                    append_time_ms = time_ms;
                }
            }
            if step.has_append_time {
                set::clear_flags(payload, step.at);
            }
            let sequenced = Sequenced {
                index,
                base_offset: step.base_offset,
                time_ms,
                append_time_ms,
            };
            sequencer.take(step.partition, header, sequenced);
            places.push(BatchPlace::from(&sequenced));
        }
        (!places.is_empty()).then(|| places.into_boxed_slice())
    }
}

impl From<&Sequenced> for BatchPlace {
    fn from(sequenced: &Sequenced) -> Self {
        Self {
            base_offset: sequenced.base_offset,
            append_time_ms: sequenced.append_time_ms,
        }
    }
}

/// The batch's own checksum is not computed again: who appends has verified it.
fn effect_of(part: &Part<'_>) -> Result<Effect, Error> {
    match part.kind {
        Kind::Records => whole_batch(part.payload).map(Effect::Records),
        kind => replay::control_effect(kind, part.payload).map_err(|error| invalid(&error)),
    }
}

fn mixed() -> Error {
    Error::new(
        ErrorCode::OutOfOrderSequenceNumber,
        "some batches of a SET were appended before and others were not, or not by the same entry: it is no \
         repetition, and cannot happen as a whole",
    )
}

fn refused(part: usize, error: Error) -> Error {
    Error::new(error.code(), error.message())
        .with_outcome(error.outcome())
        .with_source(PartRefused { part })
}
