//! Taking the frames of a log, at open: to the sequencer, and as entries to the machine.

use crate::completion::Wakes;
use crate::ids::{PartitionId, ProducerId};
use crate::record::{BatchHeader, TimestampType, batch};

use super::control::{self, PartitionOpen, ProducerExpire, TopicDelete};
use super::entry::{Entry, Kind, Location, Machine};
use super::frame::{FRAME_HEADER_BYTES, FrameError, FrameHeader};
use super::index::SegmentIndex;
use super::rebuild;
use super::recovery::Base;
use super::sequencer::{SequenceError, Sequenced, Sequencer};
use super::set;

/// Feeds one log's frames, in order.
pub(super) struct Replay<'a> {
    machine: &'a dyn Machine,
    wakes: &'a mut Wakes,
    sequencer: Sequencer,
    settled: u64,
}

impl<'a> Replay<'a> {
    /// To an empty sequencer and an empty machine.
    pub(super) fn new(machine: &'a dyn Machine, wakes: &'a mut Wakes) -> Self {
        Self {
            machine,
            wakes,
            sequencer: Sequencer::default(),
            settled: 0,
        }
    }

    /// Takes one frame whose place in the order is right, and adds it to its segment's index. On an error
    /// nothing was taken.
    ///
    /// # Errors
    /// What the payload fails: a batch its CRC, a SET its parts, a control payload its decoding.
    pub(super) fn frame(
        &mut self,
        kind: Kind,
        (segment, position): (u64, u64),
        header: &FrameHeader,
        payload: &[u8],
        index: &mut SegmentIndex,
    ) -> Result<(), FrameError> {
        let parts = rebuild::parts_of(kind, header, payload)?;
        let effects: Vec<_> = parts.iter().map(effect_of).collect::<Result<_, _>>()?;
        index.note(header.index, header.time_ms);
        for (part, effect) in parts.iter().zip(effects) {
            if effect.replay(&mut self.sequencer, part.partition, header) {
                rebuild::add_part(index, header, position, part);
            }
            self.machine.apply(
                &Entry {
                    index: header.index,
                    term: header.leader_epoch(),
                    time_ms: header.time_ms,
                    kind: part.kind,
                    version: part.version,
                    partition: part.partition,
                    location: location(segment, position, part),
                    payload: part.payload,
                    tail: None,
                },
                self.wakes,
            );
        }
        Ok(())
    }

    /// Adds a frame to its segment's index that is in the state already; checked like any other.
    ///
    /// # Errors
    /// As for [`frame`](Self::frame).
    pub(super) fn index(
        kind: Kind,
        (_, position): (u64, u64),
        header: &FrameHeader,
        payload: &[u8],
        index: &mut SegmentIndex,
    ) -> Result<(), FrameError> {
        let parts = rebuild::parts_of(kind, header, payload)?;
        for part in &parts {
            effect_of(part)?;
        }
        index.note(header.index, header.time_ms);
        for part in &parts {
            rebuild::add_part(index, header, position, part);
        }
        Ok(())
    }

    /// Becomes what a base says, all of it synced; false if that is no state, and nothing has changed.
    pub(super) fn restore(&mut self, base: &Base) -> bool {
        let (own, others): (Vec<_>, Vec<_>) =
            base.pairs.iter().cloned().partition(Sequencer::is_own);
        let restored = Sequencer::restored(&own)
            .and_then(|sequencer| self.machine.restore(&others).map(|()| sequencer));
        match restored {
            Ok(sequencer) => {
                self.sequencer = sequencer;
                self.settled = base.index();
                true
            }
            Err(error) => {
                tracing::warn!(%error, "a state that was kept cannot be restored");
                false
            }
        }
    }

    /// Tells the machine that everything up to `index`, all taken already, is synced.
    pub(super) fn settle(&mut self, index: u64) {
        if index > self.settled {
            self.settled = index;
            self.machine.synced(index, self.wakes);
        }
    }

    /// What the log says of offsets and sequences.
    pub(super) fn into_sequencer(self) -> Sequencer {
        self.sequencer
    }
}

/// Where a part of a frame lies.
pub(super) fn location(segment: u64, position: u64, part: &set::Part<'_>) -> Location {
    // Both fit: a frame is much smaller than 4 GiB.
    let payload_at = (FRAME_HEADER_BYTES + part.at) as u32;
    Location {
        segment,
        position,
        payload_at,
        len: part.payload.len() as u32,
    }
}

/// What an entry does to the sequencer.
#[derive(Debug)]
pub(super) enum Effect {
    /// Nothing.
    None,
    /// A batch takes offsets.
    Records(BatchHeader),
    /// A partition opens.
    Open(PartitionOpen),
    /// A topic's partitions are gone.
    Delete(TopicDelete),
    /// A partition forgets a producer.
    Expire(ProducerExpire),
}

/// What a part does to the sequencer; a batch is verified with its CRC.
///
/// # Errors
/// [`FrameError::Batch`], [`FrameError::Payload`].
pub(super) fn effect_of(part: &set::Part<'_>) -> Result<Effect, FrameError> {
    match part.kind {
        Kind::Records => Ok(Effect::Records(batch::verify(part.payload)?)),
        kind => control_effect(kind, part.payload),
    }
}

/// What a control payload does to the sequencer.
///
/// # Errors
/// [`FrameError::Payload`].
pub(super) fn control_effect(kind: Kind, payload: &[u8]) -> Result<Effect, FrameError> {
    let invalid = |error: crate::Error| FrameError::Payload(error.message().to_owned());
    Ok(match kind {
        Kind::PartitionOpen => Effect::Open(control::decode(payload).map_err(invalid)?),
        Kind::TopicDelete => Effect::Delete(control::decode(payload).map_err(invalid)?),
        Kind::ProducerExpire => Effect::Expire(control::decode(payload).map_err(invalid)?),
        _ => Effect::None,
    })
}

impl Effect {
    /// Whether a control entry is possible now.
    ///
    /// # Errors
    /// [`SequenceError::PartitionIsOpen`].
    pub(super) fn check(
        &self,
        sequencer: &Sequencer,
        partition: PartitionId,
    ) -> Result<(), SequenceError> {
        if matches!(self, Self::Open(_)) && sequencer.next_offset(partition).is_some() {
            return Err(SequenceError::PartitionIsOpen { partition });
        }
        Ok(())
    }

    /// Does what a control entry does.
    pub(super) fn control(&self, sequencer: &mut Sequencer, partition: PartitionId) {
        match self {
            // Open already: the entry is void, as it is to the engine.
            Self::Open(open) => drop(sequencer.open_partition(partition, open)),
            Self::Delete(delete) => sequencer.delete_topic(&delete.uuid),
            Self::Expire(expire) => {
                sequencer.expire_producer(partition, ProducerId(expire.producer_id));
            }
            Self::None | Self::Records(_) => {}
        }
    }

    /// Does what the entry does; says whether it is a batch that counts.
    fn replay(
        &self,
        sequencer: &mut Sequencer,
        partition: PartitionId,
        header: &FrameHeader,
    ) -> bool {
        let Self::Records(batch) = self else {
            self.control(sequencer, partition);
            return false;
        };
        let append_time_ms = match batch.timestamp_type() {
            TimestampType::CreateTime => -1,
            TimestampType::LogAppendTime => batch.max_timestamp_ms,
        };
        let sequenced = Sequenced {
            index: header.index,
            base_offset: batch.base_offset,
            time_ms: header.time_ms,
            append_time_ms,
        };
        sequencer.replay(partition, batch, sequenced)
    }
}
