//! Pushing: takes record batches from a feed and sends them, while there is credit and room.
//!
//! All that touches the feed runs as jobs of the door, one at a time per subscription: taking may read
//! files. A job takes once and comes back for more, so that subscriptions and appends have their turns.
//! Small batches are written by the job itself, which saves a hand-over; large ones by the connection's
//! task, so that reading and sending go on side by side. What is in memory still and small is pushed in a job's stead by
//! the thread that has made it readable, now and then (`prompt`).

use std::fmt;
use std::sync::{Arc, Weak};

use crate::sync::Mutex;

use super::door::{Door, Feed};
use super::prompt::Promptness;
use crate::completion::Wake;
use crate::error::{Error, Result};
use crate::limits;
use crate::protocol::fetched::FetchedBatch;
use crate::protocol::frame::FrameKind;
use crate::protocol::header::{Push, PushedBatch, ReassignAt, WireError};
use crate::protocol::link::{Flush, Link, SendError};
use crate::protocol::out_of_range::OutOfRange;

/// Pushes up to this many bytes are written by the job that took them.
const WRITTEN_HERE_BYTES_MAX: usize = 16 * 1_024;

/// Who is pushed to.
pub(super) struct Subscriber {
    pub(super) id: u64,
    pub(super) link: Arc<Link>,
    /// Whether it is told where it stood as facts, or in words alone.
    pub(super) knows_positions: bool,
    pub(super) promptness: Arc<Promptness>,
}

/// One subscription of a connection.
pub(super) struct Pusher {
    subscriber: Subscriber,
    /// Weak: a job under way does not keep the session of a connection that has ended.
    door: Weak<dyn Door>,
    state: Mutex<State>,
    /// Schedules a job: what the feed and the link wake.
    hook: Arc<dyn Fn() + Send + Sync>,
}

struct State {
    /// None once ended.
    feed: Option<Arc<dyn Feed>>,
    /// May be negative: the last batch may exceed what was left.
    credit_bytes: i64,
    assignment: u32,
    reassign: Option<ReassignAt>,
    job: Job,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Job {
    Idle,
    /// Scheduled or running.
    Active,
    /// Scheduled or running, and to run once more.
    Again,
}

impl Pusher {
    pub(super) fn start(
        subscriber: Subscriber,
        feed: Box<dyn Feed>,
        credit_bytes: u64,
        door: &Arc<dyn Door>,
    ) -> Arc<Self> {
        let state = State {
            feed: Some(Arc::from(feed)),
            credit_bytes: clamp(credit_bytes),
            assignment: 0,
            reassign: None,
            job: Job::Idle,
        };
        let pusher = Arc::new_cyclic(|this: &Weak<Self>| {
            let this = Weak::clone(this);
            Self {
                subscriber,
                door: Arc::downgrade(door),
                state: Mutex::new(state),
                hook: Arc::new(move || {
                    if let Some(pusher) = this.upgrade() {
                        pusher.look();
                    }
                }),
            }
        });
        pusher.schedule();
        pusher
    }

    /// More may be pushed.
    pub(super) fn credit(self: &Arc<Self>, bytes: u64) {
        let mut state = self.state.lock();
        let was_without = state.credit_bytes <= 0;
        state.credit_bytes = state.credit_bytes.saturating_add(clamp(bytes));
        let is_due = was_without && state.credit_bytes > 0;
        drop(state);
        if is_due {
            self.schedule();
        }
    }

    /// Other partitions from now on.
    pub(super) fn reassign(self: &Arc<Self>, reassign: ReassignAt) {
        self.state.lock().reassign = Some(reassign);
        self.schedule();
    }

    /// Ends it; a job under way pushes nothing more.
    pub(super) fn end(&self) {
        let feed = self.state.lock().feed.take();
        // Dropped with no lock of ours held: it has locks of its own.
        drop(feed);
    }

    /// Whether it has ended, by either side.
    pub(super) fn has_ended(&self) -> bool {
        self.state.lock().feed.is_none()
    }

    fn schedule(self: &Arc<Self>) {
        if self.begin() {
            self.enqueue();
        }
    }

    /// The feed or the link has something for it.
    fn look(self: &Arc<Self>) {
        if !self.begin() {
            return;
        }
        if self.push_recent() {
            self.rest(false);
        } else {
            self.enqueue();
        }
    }

    /// Whether it is this thread's turn; if it is another's, that looks again.
    fn begin(&self) -> bool {
        let mut state = self.state.lock();
        if state.feed.is_none() || state.job != Job::Idle {
            if state.job == Job::Active {
                state.job = Job::Again;
            }
            return false;
        }
        state.job = Job::Active;
        true
    }

    /// Ends a turn.
    fn rest(self: &Arc<Self>, is_more: bool) {
        let mut state = self.state.lock();
        let is_again = is_more || state.job == Job::Again;
        state.job = if is_again { Job::Active } else { Job::Idle };
        drop(state);
        if is_again {
            self.enqueue();
        }
    }

    fn enqueue(self: &Arc<Self>) {
        if let Some(door) = self.door.upgrade() {
            let pusher = Arc::clone(self);
            if let Err(error) = door.schedule(Box::new(move || pusher.run())) {
                self.fail(&error);
            }
        }
    }

    fn run(self: Arc<Self>) {
        let is_more = self.turn().unwrap_or_else(|error| {
            self.fail(&error);
            false
        });
        self.rest(is_more);
    }

    /// Pushes what is in memory, if that is all there is to do and it is short. False: it is for a job.
    fn push_recent(&self) -> bool {
        let Subscriber {
            link, promptness, ..
        } = &self.subscriber;
        let state = self.state.lock();
        let Some(feed) = state.feed.clone() else {
            return false;
        };
        let credit_bytes = usize::try_from(state.credit_bytes).unwrap_or(0);
        let (is_other, assignment) = (state.reassign.is_some(), state.assignment);
        drop(state);
        if is_other || !link.has_room() || !promptness.take() {
            return false;
        }
        let batches = feed.take_recent(credit_bytes.min(WRITTEN_HERE_BYTES_MAX));
        if batches.is_empty() {
            return false;
        }
        match self.push(&batches, assignment) {
            Ok(true) => feed.watch(self.wake()),
            Ok(false) => {}
            Err(error) => self.fail(&error),
        }
        true
    }

    /// Takes and pushes once. Says whether it is to be done again at once.
    fn turn(&self) -> Result<bool> {
        let mut state = self.state.lock();
        let Some(feed) = state.feed.clone() else {
            return Ok(false);
        };
        let reassign = state.reassign.take();
        drop(state);
        if let Some(reassign) = reassign {
            feed.assign(&reassign.positions)?;
            self.state.lock().assignment = reassign.assignment;
        }
        let (credit_bytes, assignment) = {
            let state = self.state.lock();
            (state.credit_bytes, state.assignment)
        };
        let Some(budget) = usize::try_from(credit_bytes)
            .ok()
            .filter(|&bytes| bytes > 0)
        else {
            return Ok(false);
        };
        if self.subscriber.link.is_full(|| self.wake()) {
            return Ok(false);
        }
        let batches = feed.take(budget.min(limits::PUSH_BYTES_MAX))?;
        if batches.is_empty() {
            feed.watch(self.wake());
            return Ok(false);
        }
        self.push(&batches, assignment)
    }

    fn push(&self, batches: &[FetchedBatch], assignment: u32) -> Result<bool> {
        let bytes = batches.iter().map(|batch| batch.batch.len()).sum::<usize>();
        let mut state = self.state.lock();
        if state.feed.is_none() {
            return Ok(false);
        }
        state.credit_bytes = state.credit_bytes.saturating_sub_unsigned(bytes as u64);
        drop(state);
        for batches in batches.chunks(limits::PUSH_BATCHES_MAX) {
            let header = Push {
                assignment,
                batches: batches.iter().map(PushedBatch::of).collect(),
            };
            let payload = batches.iter().map(|batch| &batch.batch);
            let flush = if bytes <= WRITTEN_HERE_BYTES_MAX {
                Flush::Here
            } else {
                Flush::Task
            };
            let Subscriber { id, link, .. } = &self.subscriber;
            match link.send(*id, FrameKind::Push, &header, payload, flush) {
                Ok(_) => {}
                Err(SendError::Closed) => {
                    self.end();
                    return Ok(false);
                }
                Err(SendError::Frame(error)) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    fn fail(&self, error: &Error) {
        if self.state.lock().feed.take().is_some() {
            self.subscriber.send_error(error);
        }
    }

    fn wake(&self) -> Wake {
        Wake::Hook(Arc::clone(&self.hook))
    }
}

impl Subscriber {
    fn send_error(&self, error: &Error) {
        match OutOfRange::of(error).filter(|_| self.knows_positions) {
            Some(header) => {
                let kind = FrameKind::SubscriptionOutOfRange;
                // A connection that has ended needs no telling.
                let _ = self.link.send(self.id, kind, header, [], Flush::Here);
            }
            None => send_error(&self.link, self.id, error),
        }
    }
}

/// Tells that a subscription has ended.
pub(super) fn send_error(link: &Link, id: u64, error: &Error) {
    let header = WireError::from(error);
    // A connection that has ended needs no telling.
    let _ = link.send(id, FrameKind::SubscriptionError, &header, [], Flush::Here);
}

fn clamp(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

impl fmt::Debug for Pusher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pusher")
            .field("id", &self.subscriber.id)
            .finish_non_exhaustive()
    }
}
