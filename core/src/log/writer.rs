//! The writer: the one place where bytes are appended, by whichever thread holds its lock.
//!
//! It takes what is queued as a group, gives each entry its index, offsets and place, writes the group in
//! one call, hands each entry to the machine, and only then publishes `written` and answers. Space is
//! reserved before anything is sequenced: a full disk refuses an append and leaves nothing to take back.
//! A write that fails leaves bytes nobody knows, so it stops the log.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::completion::Wakes;
use crate::error::{Error, Outcome};
use crate::ids::{Durability, LeaderEpoch, PartitionId};
use crate::record::{BatchHeader, batch};

use super::append::{Append, Appended, BatchPlace};
use super::checkpoint::Position;
use super::entry::Kind;
use super::error::{Fault, invalid};
use super::files::SegmentFile;
use super::frame::{FRAME_HEADER_BYTES, FrameHeader, MARK_CLOSED, PAYLOAD_VERSION};
use super::group::{APPENDS_KEPT, Group, Staged};
use super::mark::Mark;
use super::pair::{Scope, StatePair};
use super::prompt::Promptness;
use super::recovery::{Found, LastEntry};
use super::replay::{self, Effect};
use super::roll::Refused;
use super::segment::ActiveSegment;
use super::sequencer::{Admission, Sequenced, Sequencer};
use super::set_plan::{self, SetPlan};
use super::shared::Shared;
use super::syncer::Ack;

#[cfg(any(test, feature = "simulation"))]
use crate::world::simulated::{self, Bug};

pub(super) struct Writer {
    pub(super) active: ActiveSegment,
    pub(super) active_file: Arc<SegmentFile>,
    pub(super) next_segment: u64,
    pub(super) sequencer: Sequencer,
    pub(super) last_index: u64,
    /// Where the last entry stands, if that is known.
    pub(super) last_entry: Option<LastEntry>,
    pub(super) term: u32,
    /// When the active segment began, ms.
    pub(super) active_since_ms: i64,
    /// After a clean close, until the first write: what opening found, to be made durable with the MARK
    /// that says the log is open.
    pub(super) unopened: Option<Box<Found>>,
    /// Whether anything was written since the open.
    pub(super) is_written: bool,
    pub(super) group: Group,
    pub(super) taken: VecDeque<Append>,
    pub(super) acks: Vec<Ack>,
    pub(super) promptness: Promptness,
}

/// What an append becomes, decided before it has a place.
pub(super) enum Plan {
    /// A record batch that is new.
    Records(BatchHeader, i64),
    /// One that was appended before, or a SET of them.
    Duplicate(Sequenced, Option<Box<[BatchPlace]>>),
    /// A control payload, and what it does to the sequencer.
    Control(Effect),
    /// Several payloads.
    Set(SetPlan),
}

impl Writer {
    /// A writer that goes on behind what opening found.
    pub(super) fn new(
        active: ActiveSegment,
        active_file: Arc<SegmentFile>,
        next_segment: u64,
        term: u32,
        mut found: Found,
    ) -> Self {
        let sequencer = mem::take(&mut found.sequencer);
        let last_index = found.last_index;
        let last_entry = found.last_entry;
        let last = found.kept.last();
        let active_since_ms = last.map_or(0, |last| last.header.created_ms);
        let unopened = found.is_clean.then(|| Box::new(found));
        Self {
            active,
            active_file,
            next_segment,
            active_since_ms,
            sequencer,
            last_index,
            last_entry,
            term,
            is_written: unopened.is_none(),
            unopened,
            group: Group::default(),
            taken: VecDeque::new(),
            acks: Vec::new(),
            promptness: Promptness::default(),
        }
    }

    /// Where a checkpoint taken now would go up to; none before there is an entry to name.
    pub(super) fn position(&self) -> Option<Position> {
        self.last_entry.map(|entry| Position {
            index: self.last_index,
            term: entry.term,
            segment: entry.segment,
            frame: entry.position,
        })
    }

    /// The sequencer's state.
    pub(super) fn pairs(&mut self, scope: Scope) -> Vec<StatePair> {
        self.sequencer.pairs(scope)
    }

    pub(super) const fn last_index(&self) -> u64 {
        self.last_index
    }

    pub(super) fn leader_epoch(&self) -> LeaderEpoch {
        LeaderEpoch(i32::try_from(self.term).unwrap_or(i32::MAX))
    }

    pub(super) fn next_offset(&self, partition: PartitionId) -> Option<i64> {
        self.sequencer.next_offset(partition)
    }

    /// Writes one group of what is queued, at most so many bytes or one append; false if nothing was.
    ///
    /// # Errors
    /// What stops the log. Everything taken from the queue has been answered.
    pub(super) fn write_group(
        &mut self,
        log: &Shared,
        bytes_max: usize,
        wakes: &mut Wakes,
    ) -> Result<bool, Fault> {
        let mut taken = mem::take(&mut self.taken);
        log.queue.take(&mut taken, bytes_max);
        if taken.is_empty() {
            self.taken = taken;
            return Ok(false);
        }
        let time_ms = (log.options.clock)();
        let mut result = Ok(None);
        while let Some(append) = taken.pop_front() {
            result = self.stage(log, append, time_ms, wakes);
            if !matches!(result, Ok(None)) {
                break;
            }
        }
        let result = result.and_then(|waiting| {
            self.write_staged(log, wakes)?;
            Ok(waiting)
        });
        let result = result.map(|waiting| {
            if let Some((append, error)) = waiting {
                log.park(append, mem::take(&mut taken), error, wakes);
            }
        });
        if let Err(fault) = &result {
            self.group.fail(&fault.error(Outcome::Unknown), wakes);
            let not_done = fault.error(Outcome::NotDone);
            taken
                .drain(..)
                .for_each(|append| append.completion.complete(Err(not_done.clone()), wakes));
        }
        taken.shrink_to(APPENDS_KEPT);
        self.taken = taken;
        result.map(|()| true)
    }

    /// Writes one append by itself.
    ///
    /// # Errors
    /// What stops the log. The append has been answered.
    pub(super) fn write_one(
        &mut self,
        log: &Shared,
        append: Append,
        wakes: &mut Wakes,
    ) -> Result<(), Fault> {
        let time_ms = (log.options.clock)();
        let staged = self.stage(log, append, time_ms, wakes);
        let result = staged.and_then(|waiting| {
            if let Some((append, error)) = waiting {
                append.completion.complete(Err(error), wakes);
            }
            self.write_staged(log, wakes)
        });
        if let Err(fault) = &result {
            self.group.fail(&fault.error(Outcome::Unknown), wakes);
        }
        result
    }

    /// Gives an append its place in the group, or answers it. Gives it back with the error if it may wait for room.
    fn stage(
        &mut self,
        log: &Shared,
        append: Append,
        time_ms: i64,
        wakes: &mut Wakes,
    ) -> Result<Option<(Append, Error)>, Fault> {
        let plan = match self.plan(&append) {
            Ok(Plan::Duplicate(sequenced, batches)) => {
                self.group.push_duplicate(append, sequenced, batches);
                return Ok(None);
            }
            Ok(plan) => plan,
            Err(error) => {
                #[cfg(test)]
                super::tests::mutant::refused(&append, &mut self.sequencer);
                append.completion.complete(Err(error), wakes);
                return Ok(None);
            }
        };
        match self.make_room(log, &append, time_ms, wakes) {
            Ok(()) => {}
            Err(Refused::Append(error)) if log.is_room_made_for(&append, &error) => {
                return Ok(Some((append, error)));
            }
            Err(Refused::Append(error)) => {
                // Not every client shows its user what it was told: Kafka's try again until their own time is over.
                crate::seldom!(warn, dir = %log.dir, "an append is refused: {error}");
                append.completion.complete(Err(error), wakes);
                return Ok(None);
            }
            Err(Refused::Log(fault)) => {
                append
                    .completion
                    .complete(Err(fault.error(Outcome::NotDone)), wakes);
                return Err(fault);
            }
        }
        self.place(log, append, plan, time_ms);
        Ok(None)
    }

    /// Gives an append for which there is room its index, offsets and place.
    fn place(&mut self, log: &Shared, mut append: Append, plan: Plan, time_ms: i64) {
        let index = self.last_index + 1;
        let mut appended = Appended {
            index,
            base_offset: 0,
            is_duplicate: false,
            time_ms,
            durability: append.ack,
            append_time_ms: -1,
            batches: None,
        };
        match plan {
            Plan::Records(header, base_offset) => {
                let epoch = self.leader_epoch();
                batch::stamp(&mut append.payload, base_offset, epoch.0);
                if append.log_append_time {
                    batch::stamp_append_time(&mut append.payload, time_ms);
                    appended.append_time_ms = time_ms;
                }
                appended.base_offset = base_offset;
                log.tally.batch(header.record_count.unsigned_abs().into());
                self.sequencer
                    .take(append.partition, &header, Sequenced::from(&appended));
            }
            Plan::Control(effect) => effect.control(&mut self.sequencer, append.partition),
            Plan::Set(plan) => {
                let epoch = self.leader_epoch();
                let place = (index, time_ms, epoch);
                plan.count(&log.tally);
                appended.batches = plan.take(&mut append.payload, &mut self.sequencer, place);
            }
            Plan::Duplicate(..) => {}
        }
        self.last_index = index;
        self.last_entry = Some(LastEntry {
            segment: self.active.segment,
            position: self.active.position,
            term: self.term,
        });
        let header = self.frame_header(log, append.kind, append.payload.len(), time_ms);
        let header = FrameHeader {
            version: append.version,
            partition: append.partition.0,
            ..header
        };
        self.active.position += self.group.push(
            append,
            header,
            appended,
            self.active.seed,
            self.active.segment,
            self.active.position,
        );
    }

    fn plan(&self, append: &Append) -> Result<Plan, Error> {
        match append.kind {
            Kind::Records => {
                let header = set_plan::whole_batch(&append.payload)?;
                Ok(match self.sequencer.admit(append.partition, &header)? {
                    Admission::New { base_offset } => Plan::Records(header, base_offset),
                    Admission::Duplicate(sequenced) => Plan::Duplicate(sequenced, None),
                })
            }
            Kind::Set => set_plan::plan(&self.sequencer, &append.payload),
            kind => {
                let effect = replay::control_effect(kind, &append.payload);
                let effect = effect.map_err(|error| invalid(&error))?;
                effect.check(&self.sequencer, append.partition)?;
                Ok(Plan::Control(effect))
            }
        }
    }

    /// Writes what is staged, in one call; then applies, publishes and answers it.
    pub(super) fn write_staged(&mut self, log: &Shared, wakes: &mut Wakes) -> Result<(), Fault> {
        self.group.write(self.active.file.as_ref())?;
        if self.group.is_empty() {
            return Ok(());
        }
        let bytes = self.active.position - self.active_file.end();
        log.tally.written(bytes);
        log.keeper.note_logged(bytes);
        self.active_file.set_end(self.active.position);
        self.active.note_written();
        let is_wanted = self.group.is_sync_wanted();
        let has_frames = self.group.has_frames();
        let mut staged = self.group.take_staged();
        // Whoever is told of an entry finds it.
        log.index
            .extend(|index| staged.iter().for_each(|entry| entry.add_to(index)));
        for entry in &mut staged {
            entry.apply(self.term, log.machine.as_ref(), wakes);
        }
        #[cfg(test)]
        super::tests::mutant::answer_early(&mut staged);
        #[cfg(any(test, feature = "simulation"))]
        if simulated::has(Bug::AckBeforeSync) {
            let all = staged.iter_mut();
            all.for_each(|staged| staged.appended.durability = Durability::Os);
        }
        log.written.store(self.last_index, Ordering::Release);
        if !log.is_durable && has_frames {
            log.syncer.publish(self.last_index);
            log.machine.synced(self.last_index, wakes);
        }
        let mut duplicates = Vec::new();
        for entry in staged.drain(..) {
            let Staged {
                completion,
                appended,
                ..
            } = entry;
            if appended.durability == Durability::Os {
                completion.complete(Ok(appended), wakes);
            } else if appended.is_duplicate {
                duplicates.push(Ack::Append(completion, appended));
            } else {
                self.acks.push(Ack::Append(completion, appended));
            }
        }
        self.group.recycle(staged);
        if log.is_durable && has_frames {
            log.syncer
                .note(self.last_index, is_wanted, &mut self.acks, wakes);
        }
        duplicates
            .into_iter()
            .for_each(|ack| log.syncer.join(ack, wakes));
        Ok(())
    }

    /// Writes a MARK that covers everything synced; false if there is no space for it.
    ///
    /// # Errors
    /// What stops the log.
    pub(super) fn mark_idle(&mut self, log: &Shared) -> Result<bool, Fault> {
        match self.reserve(log, FRAME_HEADER_BYTES) {
            Ok(()) => {}
            Err(Refused::Append(_)) => return Ok(false),
            Err(Refused::Log(fault)) => return Err(fault),
        }
        self.write_mark(log, 0, (log.options.clock)())
            .map(|()| true)
    }

    /// Says that the log is closed cleanly, if anything was written since it was opened. Everything is
    /// written and synced, and no thread writes any more.
    ///
    /// # Errors
    /// What stops the log.
    pub(super) fn close(&mut self, log: &Shared) -> Result<(), Fault> {
        if !self.is_written {
            return Ok(());
        }
        match self.reserve(log, FRAME_HEADER_BYTES) {
            Ok(()) => {}
            // The close is then not a clean one, and the next open raises the term: safe, and all there is.
            Err(Refused::Append(error)) => {
                tracing::warn!(dir = %log.dir, %error, "no space for the mark of a clean close");
                return Ok(());
            }
            Err(Refused::Log(fault)) => return Err(fault),
        }
        self.write_mark(log, MARK_CLOSED, (log.options.clock)())?;
        let end = self.active.position;
        self.active.file.truncate(end)?;
        Ok(self.active.file.sync()?)
    }

    pub(super) fn write_mark(
        &mut self,
        log: &Shared,
        flags: u8,
        time_ms: i64,
    ) -> Result<(), Fault> {
        let mark = Mark {
            index: self.last_index,
            durable: log.syncer.synced(),
            time_ms,
            term: self.term,
            flags,
        };
        mark.write(&mut self.active)?;
        self.active_file.set_end(self.active.position);
        Ok(())
    }

    fn frame_header(
        &self,
        log: &Shared,
        kind: Kind,
        payload_bytes: usize,
        time_ms: i64,
    ) -> FrameHeader {
        FrameHeader {
            // Checked against the largest frame when it was appended.
            len: (FRAME_HEADER_BYTES + payload_bytes) as u32,
            crc: 0,
            index: self.last_index,
            durable: log.syncer.synced(),
            time_ms,
            term: self.term,
            partition: 0,
            kind: kind.number(),
            flags: 0,
            version: PAYLOAD_VERSION,
            reserved: 0,
        }
    }
}
