//! A consumer in its group: heartbeats out, and what the answers change in what is read.
//!
//! `membership` decides; here it is carried out. Answers are taken in jobs, because what is read may have to
//! change, and somebody may be reading. A partition that is to be let go of is read no more; once the host has
//! passed what it was given of it, the position is committed, and only then the group is told.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::health::Standing;
use super::membership::{Changes, Introduction, Membership, News};
use super::open::Opening;
use super::state::State;
use crate::client::admin::unexpected;
use crate::client::retry::Backoff;
use crate::completion::{Completion, Wakes};
use crate::error::{Error, ErrorCode, Result};
use crate::ids::TopicPartition;
use crate::limits::HEARTBEAT_MS_MAX;
use crate::protocol::request::{Member, Request};
use crate::protocol::response::{GroupAssignment, Response};
use crate::timer::{self, Timer};
use crate::world;

/// The pauses between heartbeats that fail.
const BEAT_AGAIN: Duration = Duration::from_millis(100);
const BEAT_AGAIN_MAX: Duration = Duration::from_secs(1);
/// How often it is looked whether the host still works.
const LOOKS_PER_PROCESSING_TIMEOUT: u32 = 4;

/// The membership of a consumer, while it is in its group.
#[derive(Debug)]
pub(super) struct InGroup {
    membership: Membership,
    /// Answered with the first assignment.
    joining: Option<Completion<()>>,
    /// When waiting for the host ends, while there is something to let go of.
    pub(super) let_go_by: Option<Instant>,
    backoff: Backoff,
    /// Whether a job is to look whether something can be let go of.
    is_release_due: bool,
    /// When it began to join, and when a heartbeat was answered last.
    pub(super) began: Instant,
    pub(super) heard: Option<Instant>,
    /// Of the next heartbeat, of the end of waiting for the host, of looking at the host.
    timers: [Option<Timer>; 3],
}

impl InGroup {
    /// Whether this is held, and not about to be let go of.
    pub(super) fn holds(&self, topic: &Arc<str>, partition: i32, grant: u64) -> bool {
        self.membership.holds(topic, partition, grant)
    }

    /// How many partitions are.
    pub(super) fn held_count(&self) -> usize {
        self.membership.held_count()
    }

    pub(super) fn standing(&self) -> Standing {
        Standing {
            member_id: self.membership.member_id().to_owned(),
            generation: self.membership.generation(),
            partitions: self.held_count(),
            began: self.began,
            heard: self.heard,
        }
    }

    /// Whether nothing was heard of the group for as long as that keeps a silent member.
    fn is_out_of_touch(&self, session_timeout: Duration) -> bool {
        let silent = self
            .heard
            .map(|heard| world::now().saturating_duration_since(heard));
        silent.is_some_and(|silent| silent > session_timeout)
    }

    /// With nothing left to let go of there is nothing to wait for: what is revoked next has a time of its own.
    fn end_waiting(&mut self) {
        if self.membership.revoked().is_empty() {
            self.let_go_by = None;
        }
    }
}

impl State {
    /// What commits name.
    pub(super) fn member(&self) -> Option<Member> {
        let in_group = self.in_group.lock();
        in_group.as_ref().and_then(|it| it.membership.member())
    }

    /// Whether others may have what it holds by now: it gives out nothing until it has heard of its group again. A
    /// process that was stopped goes on with what it had read ahead otherwise.
    pub(super) fn is_out_of_touch(&self) -> bool {
        let in_group = self.in_group.lock();
        let timeout = self.settings.session_timeout;
        in_group
            .as_ref()
            .is_some_and(|it| it.is_out_of_touch(timeout))
    }

    /// Joins the group; answers when it has assigned something, or nothing.
    pub(super) fn join(self: &Arc<Self>, group: String, done: Completion<()>) {
        let settings = &self.settings;
        let introduction = Introduction {
            group,
            instance_id: settings.instance_id.clone(),
            client_name: format!("headwater {}", world::process_id()),
            topics: self.topics.clone(),
            assignor: settings.assignor.to_string(),
            session_timeout_ms: millis(settings.session_timeout),
            rebalance_timeout_ms: millis(settings.rebalance_timeout),
            heartbeat_ms: millis(settings.heartbeat).min(HEARTBEAT_MS_MAX),
        };
        let (id, seed) = match new_id() {
            Ok(new) => new,
            Err(error) => return done.finish(Err(error)),
        };
        self.span.record("member", &*id);
        let mut in_group = self.in_group.lock();
        let last_number = self.last_heartbeat.load(Ordering::Relaxed);
        *in_group = Some(InGroup {
            membership: Membership::new(introduction, id, last_number),
            joining: Some(done),
            let_go_by: None,
            backoff: Backoff::new(BEAT_AGAIN, BEAT_AGAIN_MAX, seed),
            is_release_due: false,
            began: world::now(),
            heard: None,
            timers: [None, None, None],
        });
        drop(in_group);
        self.host_is_there();
        self.look_at_host();
        self.beat();
    }

    /// Sends the next heartbeat.
    pub(super) fn beat(self: &Arc<Self>) {
        let mut in_group = self.in_group.lock();
        let Some(InGroup { membership, .. }) = in_group.as_mut() else {
            return;
        };
        let (number, heartbeat) = membership.heartbeat();
        // Answers to a membership that is over must not be taken for those of the next.
        self.last_heartbeat.store(number, Ordering::Relaxed);
        drop(in_group);
        let state = Arc::downgrade(self);
        let heard = Completion::call(move |answer: Result<Response>, _: &mut Wakes| {
            let Some(state) = state.upgrade() else { return };
            let answer = answer.and_then(|response| match response {
                Response::GroupHeartbeat(told) => Ok(told),
                other => Err(unexpected(&other)),
            });
            let transport = Arc::clone(&state.transport);
            transport.schedule(Box::new(move || state.hear(number, answer)));
        });
        self.transport
            .submit(Request::GroupHeartbeat(heartbeat), Bytes::new(), heard);
    }

    fn hear(self: &Arc<Self>, number: u64, answer: Result<GroupAssignment>) {
        let _mine = self.span.enter();
        let _applying = self.applying.lock();
        let mut in_group = self.in_group.lock();
        let Some(it) = in_group.as_mut() else { return };
        it.end_waiting();
        let is_back = answer.is_ok() && it.is_out_of_touch(self.settings.session_timeout);
        if answer.is_ok() {
            it.heard = Some(world::now());
        }
        let news = it.membership.answered(number, answer);
        let is_last = it.membership.is_last(number);
        match news {
            News::None => {}
            News::Later { failed_attempts } => {
                let pause = it.backoff.pause(failed_attempts);
                it.timers[0] = Some(self.later(world::now() + pause, Self::beat));
                return;
            }
            News::Assigned(changes) => {
                let is_in = it.membership.member().is_some();
                let joining = it.joining.take_if(|_| is_in);
                drop(in_group);
                self.take_up(changes, joining);
            }
            News::Lost(lost, error) => {
                drop(in_group);
                return self.lose(&lost, &error);
            }
            News::Refused(_, error) => {
                let joining = it.joining.take();
                drop(in_group.take());
                drop(in_group);
                return self.refuse(joining, error);
            }
        }
        if is_back {
            self.bell.ring();
        }
        if is_last {
            self.beat();
        }
    }

    fn take_up(self: &Arc<Self>, changes: Changes, joining: Option<Completion<()>>) {
        if let Some(done) = joining {
            return Opening::of_member(self, changes.added, done);
        }
        let mut added = changes.added;
        if !changes.revoked.is_empty() {
            self.wait_to_let_go();
        }
        if !changes.revoked.is_empty() || !changes.kept.is_empty() {
            let mut reader = self.reader.lock();
            let mut fetcher = self.fetcher.lock();
            fetcher.let_go(&changes.revoked);
            // Where it begins was found when it was not held.
            added.extend(fetcher.keep(changes.kept));
            drop(fetcher);
            self.report_reading(self.begin_again(reader.as_mut()));
        }
        if !added.is_empty() {
            Opening::of_more(self, added);
        }
        if !changes.revoked.is_empty() {
            self.release();
        }
    }

    /// From the first that is to be let go of the host has half of the time that the group gives.
    fn wait_to_let_go(self: &Arc<Self>) {
        let by = world::now() + self.settings.rebalance_timeout / 2;
        let timer = self.later(by, Self::release);
        if let Some(it) = self.in_group.lock().as_mut()
            && it.let_go_by.is_none()
        {
            it.let_go_by = Some(by);
            it.timers[1] = Some(timer);
        }
    }

    /// Lets go of what the host has passed; of the rest too, when it took too long: others read it again then.
    pub(super) fn release(self: &Arc<Self>) {
        let (revoked, is_late) = {
            let mut in_group = self.in_group.lock();
            let Some(it) = in_group.as_mut() else { return };
            it.is_release_due = false;
            let is_late = it.let_go_by.is_some_and(|by| by <= world::now());
            (it.membership.revoked(), is_late)
        };
        // Results that are still to come are what commits then: nothing is committed without them.
        let is_by_results = self.commits.lock().is_by_results;
        let ready = self
            .fetcher
            .lock()
            .let_go_of(&revoked, is_late, is_by_results);
        if ready.is_empty() {
            return;
        }
        let state = Arc::clone(self);
        let committed = Completion::call(move |result: Result<()>, _: &mut Wakes| {
            if let Err(error) = &result {
                let _mine = state.span.enter();
                // Whoever gets them reads again what was processed and not committed.
                crate::seldom!(warn, %error, "partitions are let go of without a commit");
            }
            let transport = Arc::clone(&state.transport);
            let is_settled = result.is_ok() && !is_late;
            transport.schedule(Box::new(move || {
                state.released(&ready, is_late, is_settled);
            }));
        });
        self.commit(is_by_results.then(Vec::new), committed);
    }

    fn released(self: &Arc<Self>, partitions: &[TopicPartition], gives_up: bool, is_settled: bool) {
        let _applying = self.applying.lock();
        let mut in_group = self.in_group.lock();
        let Some(it) = in_group.as_mut() else { return };
        // Some may have come back meanwhile, and been read, and be revoked again.
        let revoked = it.membership.revoked();
        let partitions = partitions.iter().filter(|it| revoked.contains(it));
        let partitions: Vec<_> = partitions.cloned().collect();
        let mut fetcher = self.fetcher.lock();
        let gone = fetcher.let_go_of(&partitions, gives_up, is_settled);
        let is_forfeited = fetcher.forget(&gone);
        drop(fetcher);
        let tells = it.membership.released(&gone);
        drop(in_group);
        self.forfeit(is_forfeited);
        if tells {
            self.beat();
        }
    }

    /// What was given out is partly another's now: results that are sent with a commit may be of that part.
    fn forfeit(&self, is_forfeited: bool) {
        if is_forfeited {
            self.commits.lock().is_forfeited = true;
        }
    }

    /// It is a member no more: what it held is others' now. It joins again.
    fn lose(self: &Arc<Self>, lost: &[TopicPartition], error: &Error) {
        crate::seldom!(warn, %error, partitions = lost.len(), "a member was removed from its group; it joins again");
        self.counters.memberships_lost.add(1);
        let mut reader = self.reader.lock();
        let is_forfeited = self.fetcher.lock().forget(lost);
        self.report_reading(self.begin_again(reader.as_mut()));
        drop(reader);
        self.forfeit(is_forfeited);
        match new_id() {
            Ok((id, _)) => {
                self.span.record("member", &*id);
                if let Some(it) = self.in_group.lock().as_mut() {
                    it.membership.begin_anew(id);
                    it.began = world::now();
                }
                self.beat();
            }
            Err(error) => self.refuse(None, error),
        }
    }

    fn refuse(self: &Arc<Self>, joining: Option<Completion<()>>, error: Error) {
        if let Some(joining) = joining {
            return joining.finish(Err(error));
        }
        self.commits.lock().fatal.get_or_insert(error);
        self.bell.ring();
    }

    /// Leaves the group, if it is in one.
    pub(super) fn leave(&self, done: Completion<()>) {
        let in_group = self.in_group.lock().take();
        let Some(mut in_group) = in_group else {
            return done.finish(Ok(()));
        };
        if let Some(joining) = in_group.joining.take() {
            let closed = Error::new(ErrorCode::Closed, "the consumer was closed");
            joining.finish(Err(closed));
        }
        let answered = Completion::call(move |answer: Result<Response>, wakes| {
            done.complete(answer.map(|_| ()), wakes);
        });
        let farewell = in_group.membership.farewell();
        self.transport
            .submit(Request::GroupHeartbeat(farewell), Bytes::new(), answered);
    }

    /// The host asks for more, or says how far it is: it is at work.
    pub(super) fn host_is_there(&self) {
        if self.settings.group.is_some() {
            *self.heard_of_host.lock() = Some(world::now());
        }
    }

    fn look_at_host(self: &Arc<Self>) {
        let every = self.settings.processing_timeout / LOOKS_PER_PROCESSING_TIMEOUT;
        let timer = self.later(world::now() + every, Self::check_host);
        if let Some(it) = self.in_group.lock().as_mut() {
            it.timers[2] = Some(timer);
        }
    }

    /// A host that was given something and does not come back keeps it from everybody: it leaves the group.
    fn check_host(self: &Arc<Self>) {
        let silent = self
            .heard_of_host
            .lock()
            .map(|heard| world::now().duration_since(heard));
        let allowed = self.settings.processing_timeout;
        // One that waits for more while others hold what it was given (`manual`, `process`) says nothing of them.
        let is_reading = self.is_being_read();
        let fetcher = self.fetcher.lock();
        let is_at_work = fetcher.is_all_passed() || (is_reading && !fetcher.is_manual());
        drop(fetcher);
        // What pauses before it is tried again is in nobody's hands.
        let is_stuck =
            |silent: &Duration| *silent >= allowed && !is_at_work && !self.is_processor_idle();
        let Some(silent) = silent.filter(is_stuck) else {
            return self.look_at_host();
        };
        let error = Error::new(
            ErrorCode::ProcessingTimedOut,
            format!(
                "what was read was worked on for {} ms without asking for more; processing_timeout_ms is {}: \
                 the consumer has left its group, and joins it again with the next read",
                silent.as_millis(),
                allowed.as_millis()
            ),
        );
        let _mine = self.span.enter();
        tracing::warn!(%error, "a consumer is stuck");
        self.counters.memberships_lost.add(1);
        let state = Arc::clone(self);
        // What was passed is done, so it is committed.
        let committed = Completion::call(move |_: Result<()>, _: &mut Wakes| {
            state.leave(Completion::call(|_, _| {}));
            let transport = Arc::clone(&state.transport);
            transport.schedule(Box::new(move || state.stop_for(error)));
        });
        let is_by_results = self.commits.lock().is_by_results;
        self.commit(is_by_results.then(Vec::new), committed);
    }

    /// Reading is over until the host asks again, and is told why.
    fn stop_for(&self, error: Error) {
        let mut reader = self.reader.lock();
        self.end_feed();
        *reader = None;
        let is_forfeited = self.fetcher.lock().forget_all();
        *self.opening.lock() = None;
        drop(reader);
        self.forfeit(is_forfeited);
        *self.overdue.lock() = Some(error);
        self.bell.ring();
    }

    /// The host has passed or acknowledged something: perhaps it was all that was waited for.
    pub(super) fn release_later(self: &Arc<Self>) {
        if !self.fetcher.lock().is_letting_go() {
            return;
        }
        let mut in_group = self.in_group.lock();
        let is_due = in_group
            .as_mut()
            .is_some_and(|it| !std::mem::replace(&mut it.is_release_due, true));
        drop(in_group);
        if is_due {
            let state = Arc::clone(self);
            self.transport.schedule(Box::new(move || state.release()));
        }
    }

    /// Runs `job` at its time, unless the consumer is gone.
    pub(super) fn later(self: &Arc<Self>, at: Instant, job: fn(&Arc<Self>)) -> Timer {
        let weak = Arc::downgrade(self);
        timer::at(at, move || {
            let Some(state) = weak.upgrade() else { return };
            let transport = Arc::clone(&state.transport);
            transport.schedule(Box::new(move || job(&state)));
        })
    }

    /// For what is done where nobody waits for the result.
    pub(super) fn report_reading(&self, result: Result<()>) {
        if let Err(error) = result {
            // The next read finds the stream ended.
            crate::seldom!(debug, %error, "reading was not begun again");
        }
    }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

/// An id that nobody has, and a seed.
fn new_id() -> Result<(String, u64)> {
    let mut random = [0; 16];
    world::fill_random(&mut random).map_err(|error| {
        Error::new(
            ErrorCode::UnknownServerError,
            format!("the system gives no random bytes for a member's id: {error}"),
        )
    })?;
    let number = u128::from_be_bytes(random);
    Ok((format!("{number:032x}"), number as u64))
}
