//! What the checks remember of an entry: enough to tell it from every other, and what it does to offsets
//! and sequences.

use std::sync::atomic::AtomicU64;

use serde::{Deserialize, Serialize};

use super::*;
use crate::log::control::{ProducerExpire, TopicDelete};
use crate::record::BatchHeader;

/// Bytes of a batch that the log stamps, and that its own checksum leaves out.
const STAMPED_BYTES: usize = 21;

/// One entry, or one part of a SET.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    pub(super) index: u64,
    pub(super) term: i32,
    pub(super) time_ms: i64,
    pub(super) kind: u8,
    pub(super) partition: u32,
    pub(super) body: Body,
    pub(super) fact: Fact,
}

impl Known {
    /// Of a batch, the offset of its first record.
    pub(super) fn base_offset(&self) -> Option<i64> {
        match self.fact {
            Fact::Batch(batch) => Some(batch.base_offset),
            _ => None,
        }
    }
}

/// Where it lies: segment, position, where the payload begins, its length.
type Place = (u64, u64, u32, u32);

/// A payload's checksum: of a batch, without what the log stamps. Payloads of scripts all differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Body(u32);

impl Body {
    pub(super) fn of(kind: u8, payload: &[u8]) -> Self {
        let stamped = if kind == Kind::Records.number() {
            STAMPED_BYTES
        } else {
            0
        };
        Self(crc32c::crc32c(payload.get(stamped..).unwrap_or_default()))
    }
}

/// What an entry does to offsets and sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Fact {
    Batch(Batch),
    Open { topic: [u8; 16], start_offset: i64 },
    Delete { topic: [u8; 16] },
    Expire { producer_id: i64 },
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Batch {
    pub(super) producer_id: i64,
    pub(super) epoch: i16,
    pub(super) base_sequence: i32,
    pub(super) last_sequence: i32,
    pub(super) base_offset: i64,
    pub(super) count: i64,
}

impl Fact {
    fn of(kind: Kind, payload: &[u8]) -> Self {
        match kind {
            Kind::Records => {
                let header = BatchHeader::parse(payload).unwrap();
                Self::Batch(Batch {
                    producer_id: header.producer_id,
                    epoch: header.producer_epoch,
                    base_sequence: header.base_sequence,
                    last_sequence: header.last_sequence(),
                    base_offset: header.base_offset,
                    count: i64::from(header.last_offset_delta) + 1,
                })
            }
            Kind::PartitionOpen => {
                let open: PartitionOpen = control::decode(payload).unwrap();
                let (topic, start_offset) = (open.topic, open.start_offset);
                Self::Open {
                    topic,
                    start_offset,
                }
            }
            Kind::TopicDelete => {
                let TopicDelete { uuid } = control::decode(payload).unwrap();
                Self::Delete { topic: uuid }
            }
            Kind::ProducerExpire => {
                let ProducerExpire { producer_id } = control::decode(payload).unwrap();
                Self::Expire { producer_id }
            }
            _ => Self::Nothing,
        }
    }
}

/// A machine that keeps what it was told and judges nothing: that is for the checks, which have to get to
/// see a log that is wrong. Its state is all of it, so that a snapshot shows every entry that it lacks.
#[derive(Debug, Default)]
pub(super) struct Tape {
    entries: Mutex<Vec<(Known, Place)>>,
    /// How many the last question for changes was answered with.
    told: Mutex<usize>,
    synced: AtomicU64,
    is_disordered: AtomicU64,
}

impl Tape {
    /// The entries from place `from` on.
    pub(super) fn entries(&self, from: usize) -> Vec<Known> {
        let entries = self.entries.lock();
        let rest = entries.get(from..).unwrap_or_default();
        rest.iter().map(|(known, _)| *known).collect()
    }

    pub(super) fn located(&self) -> Vec<(Known, Location)> {
        let entries = self.entries.lock();
        let located = entries.iter().map(|(known, place)| {
            let (segment, position, payload_at, len) = *place;
            let location = Location {
                segment,
                position,
                payload_at,
                len,
            };
            (*known, location)
        });
        located.collect()
    }

    /// The largest index that it was told is synced; `None` if that once fell, or was ahead of the entries.
    pub(super) fn synced(&self) -> Option<u64> {
        let is_disordered = self.is_disordered.load(Ordering::SeqCst) > 0;
        (!is_disordered).then(|| self.synced.load(Ordering::SeqCst))
    }
}

impl Machine for Tape {
    fn apply(&self, entry: &Entry<'_>, _wakes: &mut Wakes) {
        let kind = entry.kind.number();
        let known = Known {
            index: entry.index,
            term: entry.term.0,
            time_ms: entry.time_ms,
            kind,
            partition: entry.partition.0,
            body: Body::of(kind, entry.payload),
            fact: Fact::of(entry.kind, entry.payload),
        };
        let at = entry.location;
        let place = (at.segment, at.position, at.payload_at, at.len);
        self.entries.lock().push((known, place));
    }

    fn synced(&self, index: u64, _wakes: &mut Wakes) {
        let applied = self.entries.lock().last().map_or(0, |(last, _)| last.index);
        let before = self.synced.swap(index, Ordering::SeqCst);
        let is_disorder = index <= before || index > applied;
        self.is_disordered
            .fetch_add(u64::from(is_disorder), Ordering::SeqCst);
    }

    fn pairs(&self, scope: Scope) -> Vec<StatePair> {
        let entries = self.entries.lock();
        let mut told = self.told.lock();
        let first = if scope == Scope::All { 0 } else { *told };
        if scope == Scope::Changed {
            *told = entries.len();
        }
        let new = entries.iter().enumerate().skip(first);
        new.map(|(at, entry)| StatePair::new((at as u64).to_be_bytes().to_vec(), Some(entry)))
            .collect()
    }

    fn restore(&self, pairs: &[StatePair]) -> Result<()> {
        let mut pairs = pairs.to_vec();
        pairs.sort();
        let entries = pairs.iter().map(StatePair::decode);
        let entries: Vec<(Known, Place)> = entries.collect::<Result<_>>()?;
        let last = entries.last().map_or(0, |(last, _)| last.index);
        self.synced.store(last, Ordering::SeqCst);
        *self.told.lock() = entries.len();
        *self.entries.lock() = entries;
        Ok(())
    }
}
