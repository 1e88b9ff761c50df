//! What the driver's lock guards: the scheduler, the batch in hand, the letters, and who waits.
//!
//! Nothing here waits, asks or tells anybody; see [`driver`](super::driver) for that.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Finish;
use super::answer::{Answer, Given};
use super::letters::{Letter, Letters};
use super::record::Owned;
use super::scheduler::{Incoming, Scheduler, Settings, Settled, Ticket, Verdict};
use crate::client::consumer::{ConsumerBatch, Dropped, Place, malformed};
use crate::client::retry::Backoff;
use crate::completion::Pending;
use crate::error::{Error, ErrorCode, Result};
use crate::record::BatchError;
use crate::timer::Timer;

/// See the module.
pub(super) struct Desk {
    pub(super) scheduler: Scheduler<Arc<Owned>>,
    names: Vec<(Arc<str>, i32)>,
    places: HashMap<(Arc<str>, i32), usize>,
    pub(super) letters: Option<Letters>,
    /// What the scheduler has no room for yet.
    pub(super) in_hand: Option<ConsumerBatch>,
    pub(super) reading: Reading,
    pub(super) asked: Option<Asked>,
    /// The runs that were given last, and whether somebody has taken them.
    given: Option<(Arc<AtomicBool>, Vec<Ticket>)>,
    pub(super) failed: Option<Error>,
    pub(super) is_stopped: bool,
    pub(super) is_ended: bool,
    pub(super) timer: Option<(u64, Timer)>,
}

/// How the next batch stands.
#[derive(Debug)]
pub(super) enum Reading {
    /// Nobody has asked for it.
    Not,
    /// It is just being asked for.
    Asking,
    /// It is on its way.
    Asked(Pending<Option<ConsumerBatch>>),
    /// There is none: all was read, or the consumer is closed.
    Over,
}

/// Somebody waits for runs.
pub(super) struct Asked {
    pub(super) answer: Answer,
    pub(super) max: usize,
    pub(super) taken: Arc<AtomicBool>,
}

impl Desk {
    pub(super) fn new(settings: Settings, backoff: Backoff, letters: Option<Letters>) -> Self {
        Self {
            scheduler: Scheduler::new(settings, backoff),
            names: Vec::new(),
            places: HashMap::new(),
            letters,
            in_hand: None,
            reading: Reading::Not,
            asked: None,
            given: None,
            failed: None,
            is_stopped: false,
            is_ended: false,
            timer: None,
        }
    }

    /// Begins runs for who waits; none: there are none to begin, and there may be later.
    pub(super) fn serve(
        &mut self,
        is_closed: bool,
        max_bytes: usize,
        now_ms: u64,
    ) -> Option<(Answer, Result<Option<Given>>)> {
        let asked = self.asked.as_ref()?;
        if asked.answer.is_abandoned() {
            self.asked = None;
            return None;
        }
        let result = match &self.failed {
            Some(error) => Err(error.clone()),
            None if self.is_stopped || is_closed || self.is_over() => Ok(None),
            None => {
                let tickets = self.scheduler.take(asked.max, max_bytes, now_ms);
                if tickets.is_empty() {
                    return None;
                }
                self.give(tickets).map(Some)
            }
        };
        if let Err(error) = &result {
            self.fail(error.clone());
        }
        self.asked.take().map(|asked| (asked.answer, result))
    }

    fn give(&mut self, mut tickets: Vec<Ticket>) -> Result<Given> {
        let Some(asked) = &self.asked else {
            return Err(internal("nobody has asked for these records"));
        };
        let packed = asked.answer.pack(&self.scheduler, &tickets);
        let count = packed.as_ref().map_or(0, |(_, count)| *count);
        let rest = tickets.split_off(count);
        self.given = Some((Arc::clone(&asked.taken), tickets));
        self.scheduler.take_back(rest);
        packed.map(|(given, _)| given)
    }

    /// Everything was read and is done.
    fn is_over(&self) -> bool {
        matches!(self.reading, Reading::Over) && self.in_hand.is_none() && self.scheduler.is_empty()
    }

    /// Whether somebody waits for runs while none is out.
    pub(super) fn is_idle(&self) -> bool {
        let asked = self.asked.as_ref();
        asked.is_some_and(|asked| !asked.answer.is_abandoned()) && !self.scheduler.is_running()
    }

    /// Whether the next batch is to be asked for.
    pub(super) fn wants_to_read(&self) -> bool {
        matches!(self.reading, Reading::Not) && self.in_hand.is_none() && self.is_hungry()
    }

    /// Whether there is something that a step can do.
    pub(super) fn needs_step(&self) -> bool {
        let has_letters = self.letters.as_ref().is_some_and(Letters::is_waiting);
        has_letters || self.wants_to_read() || (self.in_hand.is_some() && self.is_hungry())
    }

    fn is_hungry(&self) -> bool {
        self.scheduler.wants_more() && !self.is_stopped && self.failed.is_none()
    }

    pub(super) fn fail(&mut self, error: Error) {
        self.failed.get_or_insert(error);
        self.scheduler.stop();
    }

    /// Runs that were given to nobody are given again.
    pub(super) fn take_untaken_back(&mut self) {
        if let Some((taken, tickets)) = self.given.take()
            && !taken.load(Ordering::Acquire)
        {
            self.scheduler.take_back(tickets);
        }
    }

    /// Takes out what is not wanted any more.
    pub(super) fn drop_all(&mut self, dropped: &[Dropped]) {
        for dropped in dropped {
            let (topic, partition) = (&dropped.topic, dropped.partition);
            let place = self.place(topic, partition);
            self.scheduler.revoke(place, dropped.from_offset);
            let is_of_it =
                |batch: &ConsumerBatch| batch.topic() == topic && batch.partition() == partition;
            if let Some(batch) = self.in_hand.as_mut().filter(|batch| is_of_it(batch))
                && !batch.cut_at(dropped.from_offset)
            {
                self.in_hand = None;
            }
            if matches!(self.reading, Reading::Over) {
                self.reading = Reading::Not;
            }
        }
    }

    /// The next batch has come, or there is none.
    pub(super) fn read(&mut self, read: Result<Option<ConsumerBatch>>, is_wanted: bool) {
        self.reading = Reading::Not;
        match read {
            Ok(Some(batch)) if is_wanted => self.in_hand = Some(batch),
            Ok(Some(_)) => {}
            Ok(None) => self.reading = Reading::Over,
            Err(error) => self.fail(error),
        }
    }

    /// Moves records of the batch in hand to the scheduler, as far as there is room.
    pub(super) fn fill(&mut self) {
        let Some(mut batch) = self.in_hand.take() else {
            return;
        };
        match self.push_all(&batch) {
            Ok(None) => {}
            Ok(Some(rest_from)) => {
                batch.resume_at(rest_from);
                self.in_hand = Some(batch);
            }
            Err(error) => self.fail(error),
        }
    }

    /// Returns the offset of the first record for which there was no room.
    fn push_all(&mut self, batch: &ConsumerBatch) -> Result<Option<i64>> {
        let (topic, partition) = (batch.topic(), batch.partition());
        let place = self.place(topic, partition);
        for record in batch.records() {
            let record = record?;
            // Before it is copied: one that does not fit is looked at again and again.
            if !self.scheduler.has_room(Owned::least_bytes(&record)) {
                return Ok(Some(record.offset));
            }
            let owned = Owned::new(batch, &record).map_err(|error| {
                let error = BatchError::Headers(error);
                malformed(topic, partition, record.offset, &error)
            })?;
            let bytes = owned.size_bytes();
            if !self.scheduler.has_room(bytes) {
                return Ok(Some(record.offset));
            }
            let pushed = self.scheduler.push(Incoming {
                place,
                offset: record.offset,
                key_hash: owned.key_hash(),
                bytes,
                payload: Arc::new(owned),
            });
            if pushed.is_err() {
                return Err(internal("a record was read twice"));
            }
        }
        Ok(None)
    }

    /// Runs have ended. Returns the records that are done by that, and the run that stopped everything.
    pub(super) fn finish(
        &mut self,
        results: Vec<(Ticket, Finish)>,
        now_ms: u64,
    ) -> (Vec<Place>, Option<Ticket>) {
        let mut errors = HashMap::new();
        let verdicts = results.into_iter().map(|(ticket, finish)| match finish {
            Finish::Done => (ticket, Verdict::Done),
            Finish::Retry(error) => {
                errors.insert(ticket, error);
                (ticket, Verdict::Retry)
            }
            Finish::Dead(error) => {
                errors.insert(ticket, error);
                (ticket, Verdict::Dead)
            }
        });
        let verdicts: Vec<_> = verdicts.collect();
        let Settled {
            done,
            letters,
            stopped_by,
        } = self.scheduler.finish(verdicts, now_ms);
        for letter in letters {
            let held = self.scheduler.letter(letter.record);
            if let (Some(held), Some(desk)) = (held, &mut self.letters) {
                desk.add(Letter {
                    record: letter.record,
                    attempts: held.attempts,
                    error: errors.remove(&letter.ticket).unwrap_or_default(),
                    owned: Arc::clone(&held.payload),
                });
            }
        }
        self.is_stopped |= stopped_by.is_some();
        (self.named(done), stopped_by)
    }

    /// What became of these letters; returns the records that are done by that.
    pub(super) fn bury(&mut self, letters: impl Iterator<Item = u64>) -> Vec<Place> {
        let mut done = Vec::new();
        for record in letters {
            let result = self.letters.as_mut().and_then(|it| it.acknowledged(record));
            match result {
                Some(Ok(())) => done.extend(self.scheduler.buried(record)),
                Some(Err(error)) if self.scheduler.letter(record).is_some() => self.fail(error),
                Some(Err(_)) | None => {}
            }
        }
        self.named(done)
    }

    /// Where every partition is to be read again: at its first record that is not done.
    pub(super) fn unfinished(&self) -> Vec<Place> {
        let mut unfinished = self.named(self.scheduler.unfinished().collect());
        if let Some(batch) = &self.in_hand {
            let (topic, partition) = (batch.topic(), batch.partition());
            let is_in = unfinished
                .iter()
                .any(|(name, number, _)| name == topic && *number == partition);
            if !is_in {
                unfinished.push((Arc::clone(topic), partition, batch.next_offset()));
            }
        }
        unfinished
    }

    fn named(&self, places: Vec<(usize, i64)>) -> Vec<Place> {
        let named = places.into_iter().filter_map(|(place, offset)| {
            let (topic, partition) = self.names.get(place)?;
            Some((Arc::clone(topic), *partition, offset))
        });
        named.collect()
    }

    /// The scheduler's number of a partition.
    fn place(&mut self, topic: &Arc<str>, partition: i32) -> usize {
        let name = (Arc::clone(topic), partition);
        let next = self.names.len();
        let place = *self.places.entry(name.clone()).or_insert(next);
        if place == next {
            self.names.push(name);
        }
        place
    }
}

fn internal(message: &str) -> Error {
    Error::new(ErrorCode::UnknownServerError, message)
}
