//! The sender: takes records into the accumulator, and says no or waits when there is no room.
//!
//! What stands under the one lock is the [`Desk`]: the accumulator and who waits for it. `send` holds it
//! for the time of encoding one record. Nothing is submitted, told or woken under it; `dispatch.rs` does
//! that.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::sync::{Condvar, Mutex, MutexGuard};

use super::accumulator::{Settings, Taken};
use super::awake::Awake;
use super::batch::Meta;
use super::closing::Closing;
use super::delivery::{Delivery, OpenSlot};
use super::desk::Desk;
use super::ledger::Ledger;
use super::parked::Waiter;
use crate::client::counters::Counters;
use crate::client::transport::Transport;
use crate::completion::{Completion, Shared, Wakes, is_own_thread};
use crate::error::{Error, ErrorCode, Result};
use crate::fork;
use crate::ids::Durability;
use crate::limits::{FLUSH_WAITERS_MAX, RECORD_HEADERS_MAX, SEND_WAITERS_MAX};
use crate::record::{Codec, Compressor, HeadersRef, PackedHeaders, RecordRef};
use crate::world;

/// Everything that the handles, deliveries and jobs of one producer share.
pub(super) struct Sender {
    pub(super) transport: Arc<dyn Transport>,
    pub(super) counters: Arc<Counters>,
    /// Whose lines of the log these are.
    pub(super) span: tracing::Span,
    /// The fork generation that it was made in.
    pub(super) generation: usize,
    pub(super) durability: Option<Durability>,
    pub(super) codec: Codec,
    pub(super) settings: Settings,
    pub(super) max_block: Duration,
    pub(super) request_timeout: Duration,
    pub(super) desk: Mutex<Desk>,
    /// Woken when there is room again.
    pub(super) room: Condvar,
    /// Held by the one thread that dispatches, and so by the one that compresses.
    pub(super) draining: Mutex<Compressor>,
    pub(super) ledger: Ledger,
    pub(super) awake: Awake,
    pub(super) closing: OnceLock<Closing>,
}

/// What a caller wants for its record.
#[derive(Clone, Copy, Debug)]
pub(super) enum Want {
    /// To know what becomes of it.
    Delivery,
    /// A completion row.
    Ticket(u64),
    /// Nothing.
    Nothing,
}

/// Whether a caller may be held up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// Up to `max_block_ms`.
    Waits,
    /// Not at all.
    None,
}

/// What stands in the way of a record.
enum Obstacle {
    /// No room for so many bytes.
    Full(usize),
    /// The topic is not known yet, or was when it had fewer partitions.
    Lookup(u32),
}

/// A record with where it goes and what is wanted.
pub(super) struct Letter<'a> {
    pub(super) partition: Option<i32>,
    pub(super) record: RecordRef<'a>,
    pub(super) want: Want,
}

/// Now, ms since 1970 UTC.
pub(in crate::client) fn now_ms() -> i64 {
    world::wall_ms()
}

impl Sender {
    /// Takes one record.
    pub(super) fn accept(
        self: &Arc<Self>,
        topic: &str,
        letter: &Letter<'_>,
        patience: Patience,
    ) -> Result<Option<Delivery>> {
        fork::check(self.generation)?;
        check_headers(&letter.record)?;
        let mut wait = Wait::default();
        let mut desk = self.desk.lock();
        let taken = loop {
            match self.try_accept(&mut desk, topic, letter, patience, &wait) {
                Ok(Ok(taken)) => break Ok(taken),
                Ok(Err(obstacle)) => {
                    let waited = self.overcome(&mut desk, obstacle, patience, &mut wait);
                    if let Err(error) = waited {
                        break Err(error);
                    }
                }
                Err(error) => break Err(error),
            }
        };
        if let Some(place) = wait.place {
            desk.queue.retain(|waiting| *waiting != place);
            self.room.notify_all();
        }
        let (taken, delivery) = taken?;
        self.after_push(desk, &taken, patience);
        Ok(delivery)
    }

    /// One attempt under the lock. The inner error is what must be overcome before the next.
    fn try_accept(
        self: &Arc<Self>,
        desk: &mut Desk,
        topic: &str,
        letter: &Letter<'_>,
        patience: Patience,
        wait: &Wait,
    ) -> Result<Result<(Taken, Option<Delivery>), Obstacle>> {
        if desk.is_closed {
            return Err(closed());
        }
        let topic = desk.accumulator.topics.number(topic)?;
        let is_known = desk.accumulator.topics.lookup(topic).is_some();
        if !is_known && (patience == Patience::Waits || !desk.lookups.contains_key(&topic)) {
            return Ok(Err(Obstacle::Lookup(topic)));
        }
        let topics = &desk.accumulator.topics;
        if topics.is_beyond(topic, letter.partition) && !wait.has_asked {
            return Ok(Err(Obstacle::Lookup(topic)));
        }
        let needed = self.needed_bytes(desk, topic, &letter.record)?;
        if desk.queue.front().copied() != wait.place || !self.has_room(desk, needed) {
            return Ok(Err(Obstacle::Full(needed)));
        }
        self.put(desk, topic, letter).map(Ok)
    }

    /// Puts a record for which there is room.
    pub(super) fn put(
        self: &Arc<Self>,
        desk: &mut Desk,
        topic: u32,
        letter: &Letter<'_>,
    ) -> Result<(Taken, Option<Delivery>)> {
        let record = &letter.record;
        if desk.waits_for_lookup(topic, letter.partition) {
            let (waiter, delivery) = self.waiter(desk, topic, letter);
            let taken =
                desk.accumulator
                    .park(topic, letter.partition, record, waiter, world::now());
            return Ok((taken, delivery));
        }
        let partition = desk
            .accumulator
            .topics
            .choose(topic, letter.partition, record.key)?;
        let mut delivery = None;
        // The name is wanted for the first delivery of a batch only.
        let name = match letter.want {
            Want::Delivery => Some(desk.accumulator.topics.name(topic)),
            _ => None,
        };
        let note = |meta: &mut Meta, index: u32| match (letter.want, name) {
            (Want::Delivery, Some(name)) => {
                let slot = meta
                    .slot
                    .get_or_insert_with(|| OpenSlot::new(name, partition, self));
                let slot = Arc::clone(&slot.slot);
                delivery = Some(Delivery::new(slot, index, record.timestamp_ms));
            }
            (Want::Ticket(ticket), _) => meta.add_ticket(ticket, index),
            _ => meta.silent += 1,
        };
        let taken = desk
            .accumulator
            .push(topic, partition, record, world::now, note)?;
        // Not with every record: time is asked for once a batch.
        if taken.wake_at.is_some() {
            let now = world::now();
            desk.begins(now);
            if desk.accumulator.topics.is_aged(topic, now) {
                desk.aged.push(topic);
            }
        }
        Ok((taken, delivery))
    }

    fn waiter(
        self: &Arc<Self>,
        desk: &Desk,
        topic: u32,
        letter: &Letter<'_>,
    ) -> (Waiter, Option<Delivery>) {
        match letter.want {
            Want::Nothing => (Waiter::Silent, None),
            Want::Ticket(ticket) => (Waiter::Ticket(ticket), None),
            Want::Delivery => {
                let open = OpenSlot::new(desk.accumulator.topics.name(topic), -1, self);
                let slot = Arc::clone(&open.slot);
                let delivery = Delivery::new(slot, 0, letter.record.timestamp_ms);
                (Waiter::Slot(open), Some(delivery))
            }
        }
    }

    pub(super) fn has_room(&self, desk: &Desk, needed: usize) -> bool {
        desk.accumulator.has_room(needed, self.ledger.row_bytes())
    }

    /// Waits for what stands in the way, or refuses.
    fn overcome(
        self: &Arc<Self>,
        desk: &mut MutexGuard<'_, Desk>,
        obstacle: Obstacle,
        patience: Patience,
        wait: &mut Wait,
    ) -> Result<()> {
        match obstacle {
            Obstacle::Lookup(topic) => {
                wait.has_asked = true;
                MutexGuard::unlocked(desk, || {
                    let lookup = self.look_up(topic);
                    match patience {
                        Patience::None => lookup.peek().unwrap_or(Ok(())),
                        Patience::Waits => {
                            self.wait_for_lookup(&lookup, wait.deadline(self.max_block))
                        }
                    }
                })
            }
            Obstacle::Full(needed) if patience == Patience::None => {
                desk.last_refused = needed;
                Err(self.full(needed, None))
            }
            Obstacle::Full(needed) => self.wait_for_room(desk, needed, wait),
        }
    }

    fn wait_for_lookup(&self, lookup: &Shared<()>, deadline: Instant) -> Result<()> {
        self.check_process()?;
        let left = deadline
            .saturating_duration_since(world::now())
            .min(self.request_timeout);
        lookup.wait(Some(left))
    }

    fn wait_for_room(
        self: &Arc<Self>,
        desk: &mut MutexGuard<'_, Desk>,
        needed: usize,
        wait: &mut Wait,
    ) -> Result<()> {
        let deadline = wait.deadline(self.max_block);
        if wait.place.is_none() {
            if desk.queue.len() >= SEND_WAITERS_MAX {
                return Err(Error::new(
                    ErrorCode::BufferFull,
                    format!(
                        "{SEND_WAITERS_MAX} calls wait for room in the producer's buffer already"
                    ),
                ));
            }
            let place = desk.next_place;
            desk.next_place += 1;
            desk.queue.push_back(place);
            wait.place = Some(place);
            desk.accumulator.hurry();
            // A thread that waits makes room itself.
            MutexGuard::unlocked(desk, || self.check_process().map(|()| self.assist_here()))?;
        } else if self.room.wait_until(desk, deadline).timed_out() {
            return Err(self.full(needed, Some(self.max_block)));
        }
        Ok(())
    }

    fn full(&self, needed: usize, after: Option<Duration>) -> Error {
        let after = after.map_or_else(String::new, |after| {
            format!(" within the max_block_ms of {} ms", after.as_millis())
        });
        Error::new(
            ErrorCode::BufferFull,
            format!(
                "the producer's buffer_bytes of {} had no room for {needed} bytes{after}",
                self.settings.buffer_bytes
            ),
        )
    }

    /// Sees to it that what was pushed is sent in time. Gives the lock back.
    #[inline]
    pub(super) fn after_push(
        self: &Arc<Self>,
        mut desk: MutexGuard<'_, Desk>,
        taken: &Taken,
        patience: Patience,
    ) {
        let mut sends = false;
        if let Some(wake_at) = taken.wake_at {
            self.arm(&mut desk, wake_at);
            sends = self.sends_here(&desk, patience);
        }
        let schedules = !sends && self.wants_job(&mut desk);
        let aged = std::mem::take(&mut desk.aged);
        drop(desk);
        if sends {
            self.send_one();
        } else if schedules {
            self.schedule_drain();
        }
        for topic in aged {
            // Nobody waits for it: what is known is good until then.
            drop(self.look_up(topic));
        }
    }

    /// Answers when there is room for what was refused last.
    pub(super) fn ready(self: &Arc<Self>, completion: Completion<()>) {
        let mut wakes = Wakes::new();
        let mut desk = self.desk.lock();
        let needed = desk.last_refused;
        let answer = if desk.is_closed {
            Err(closed())
        } else if desk.queue.is_empty() && self.has_room(&desk, needed) {
            Ok(())
        } else if desk.ready.len() >= SEND_WAITERS_MAX {
            Err(self.full(needed, None))
        } else {
            desk.ready.push((needed, completion));
            desk.accumulator.hurry();
            let schedules = self.wants_job(&mut desk);
            drop(desk);
            if schedules {
                self.schedule_drain();
            }
            return;
        };
        drop(desk);
        completion.complete(answer, &mut wakes);
    }

    /// Wakes those for whom there is room now; those who wait to be told are returned.
    pub(super) fn make_way(&self, desk: &mut Desk) -> Vec<Completion<()>> {
        if !desk.queue.is_empty() {
            self.room.notify_all();
            return Vec::new();
        }
        if desk.ready.is_empty() {
            return Vec::new();
        }
        let mut ready = std::mem::take(&mut desk.ready);
        let is_closed = desk.is_closed;
        let fits = ready.extract_if(.., |(needed, _)| is_closed || self.has_room(desk, *needed));
        let woken = fits.map(|(_, completion)| completion).collect();
        desk.ready = ready;
        woken
    }

    /// The host took completion rows, whose bytes counted.
    pub(super) fn rows_taken(&self) {
        let mut wakes = Wakes::new();
        let woken = self.make_way(&mut self.desk.lock());
        woken
            .into_iter()
            .for_each(|ready| ready.complete(Ok(()), &mut wakes));
    }

    /// Refuses a handle of a process that forked; asks the system.
    pub(super) fn check_process(&self) -> Result<()> {
        fork::check_process(self.generation)
    }

    /// Completes `done` when everything accepted until now has ended.
    pub(super) fn flush(self: &Arc<Self>, done: Completion<()>) {
        let mut wakes = Wakes::new();
        let mut refused = None;
        self.step(&mut wakes, |desk, told| {
            refused = desk.accumulator.flush(done, told).err();
        });
        if let Some(done) = refused {
            let message = format!("{FLUSH_WAITERS_MAX} calls wait for a flush already");
            done.complete(Err(Error::new(ErrorCode::BufferFull, message)), &mut wakes);
        }
    }
}

/// How a call waits.
#[derive(Default)]
struct Wait {
    deadline: Option<Instant>,
    /// Whether it has had the topic looked up.
    has_asked: bool,
    /// Its place among those who wait for room.
    place: Option<u64>,
}

impl Wait {
    fn deadline(&mut self, max_block: Duration) -> Instant {
        *self
            .deadline
            .get_or_insert_with(|| world::now() + max_block)
    }
}

/// Whether this thread may be held up.
pub(super) fn patience() -> Patience {
    if is_own_thread() {
        Patience::None
    } else {
        Patience::Waits
    }
}

pub(super) fn check_headers(record: &RecordRef<'_>) -> Result<()> {
    let found = match record.headers {
        HeadersRef::Slice(headers) => headers.len(),
        HeadersRef::Packed([]) => 0,
        HeadersRef::Packed(packed) => PackedHeaders::new(packed).count(),
    };
    if found > RECORD_HEADERS_MAX {
        return Err(Error::new(
            ErrorCode::InvalidRecord,
            format!("a record has {found} headers; at most {RECORD_HEADERS_MAX} are allowed"),
        ));
    }
    Ok(())
}

#[cold]
pub(super) fn closed() -> Error {
    Error::new(ErrorCode::Closed, "the producer is closed")
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("transport", &self.transport.description())
            .field("settings", &self.settings)
            .field("ledger", &self.ledger)
            .finish_non_exhaustive()
    }
}
