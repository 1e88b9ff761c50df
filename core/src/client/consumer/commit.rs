//! Commits: one at a time, so that an older one never overtakes a newer.
//!
//! What is processed is committed when the application asks, every `commit_interval_ms` while there is
//! something new, and at close. Offsets given by hand go the same way, in their turn, and so do results that
//! are sent with a commit: from the first of those on nothing is committed unasked. More than a request holds
//! (20,000 partitions and more) go in several, one after the other.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::results::Results;
use super::state::State;
use crate::client::retry::passes;
use crate::completion::{Completion, Wakes};
use crate::error::{Error, ErrorCode, ErrorKind, Outcome, Result};
use crate::limits::{COMMIT_WAITERS_MAX, FRAME_HEADER_BYTES_MAX};
use crate::protocol::request::{Member, PartitionOffset, Request};
use crate::protocol::response::Response;
use crate::timer::{self, Timer};
use crate::world;
#[cfg(any(test, feature = "simulation"))]
use crate::world::simulated::{self, Bug};

/// How often a commit is tried again that failed for a reason that passes.
const COMMIT_RETRIES_MAX: u32 = 5;
/// The pause before the first of these; the next ones are as much longer each.
const COMMIT_AGAIN: Duration = Duration::from_millis(100);

/// Bytes of the offsets of one commit: all that a request holds beside them fits behind.
const REQUEST_BYTES_MAX: usize = FRAME_HEADER_BYTES_MAX - 1_024;
/// What a partition's offset takes in a request at most, beside the topic's name.
const OFFSET_BYTES_MAX: usize = 2 + 5 + 10;

/// Commits that wait, and the one that is on its way.
#[derive(Debug, Default)]
pub(super) struct Commits {
    is_running: bool,
    rounds: VecDeque<Round>,
    waiters: usize,
    timer: Option<Timer>,
    /// Of the round that is to be tried again, which counts as running until then.
    again: Option<Timer>,
    keyless: u32,
    /// Whether results were sent with a commit: then nothing is committed unasked any more, which might be
    /// ahead of results that are still to come.
    pub(super) is_by_results: bool,
    /// Whether something that was given out went to another member before it was committed.
    pub(super) is_forfeited: bool,
    /// Why the group takes no more commits of this consumer.
    pub(super) fatal: Option<Error>,
}

#[derive(Debug)]
struct Round {
    /// By hand; none: what is processed when its turn comes.
    offsets: Option<Vec<PartitionOffset>>,
    waiters: Vec<Completion<()>>,
    /// What is sent with them.
    results: Option<Results>,
    /// Who commits: it is known with the offsets, or a membership that came later would commit what an earlier
    /// one has lost.
    member: Option<Member>,
    failed_attempts: u32,
}

impl Commits {
    /// A number that goes on with every call: so records without key go to another partition each time.
    pub(super) fn next_keyless(&mut self) -> u32 {
        self.keyless = self.keyless.wrapping_add(1);
        self.keyless
    }
}

impl State {
    /// Commits `offsets`, or what is processed.
    pub(super) fn commit(
        self: &Arc<Self>,
        offsets: Option<Vec<PartitionOffset>>,
        done: Completion<()>,
    ) {
        if let Err(error) = self.add_round(offsets, done) {
            let (done, error) = *error;
            return done.finish(Err(error));
        }
        self.run_commits(&mut Wakes::new());
    }

    fn add_round(
        &self,
        offsets: Option<Vec<PartitionOffset>>,
        done: Completion<()>,
    ) -> Result<(), Box<(Completion<()>, Error)>> {
        let mut commits = self.commits.lock();
        if commits.waiters >= COMMIT_WAITERS_MAX {
            let message = format!("{COMMIT_WAITERS_MAX} commits of this consumer wait already");
            drop(commits);
            return Err(Box::new((done, Error::new(ErrorCode::BufferFull, message))));
        }
        commits.waiters += 1;
        match commits.rounds.back_mut() {
            Some(last) if last.offsets.is_none() && offsets.is_none() => last.waiters.push(done),
            _ => commits.rounds.push_back(Round {
                offsets,
                waiters: vec![done],
                results: None,
                member: None,
                failed_attempts: 0,
            }),
        }
        Ok(())
    }

    /// Commits what was given out, `rows` of the current lease, with what was made of it.
    pub(super) fn commit_with(self: &Arc<Self>, results: Results, rows: u32) {
        let mut commits = self.commits.lock();
        let member = self.member();
        let is_none_of_it = commits.is_forfeited || member.is_none();
        #[cfg(any(test, feature = "simulation"))]
        let is_none_of_it = match simulated::has(Bug::ResultsForfeited) {
            true => member.is_none(),
            false => is_none_of_it,
        };
        commits.is_by_results = true;
        let is_over = commits.fatal.is_none() && is_none_of_it;
        if is_over {
            // Which of the results in the host's hands are lost nobody knows: to send any of them again, or to go on
            // behind them, would be wrong. Whoever opens the consumer again finds out.
            commits.fatal = Some(self.no_member_of_it("nothing was sent"));
        }
        let refused = match &commits.fatal {
            Some(fatal) => Some(fatal.clone()),
            None if commits.waiters >= COMMIT_WAITERS_MAX => {
                let message = format!("{COMMIT_WAITERS_MAX} commits of this consumer wait already");
                Some(Error::new(ErrorCode::BufferFull, message))
            }
            None => None,
        };
        if let Some(error) = refused {
            drop(commits);
            if is_over {
                self.resign();
            }
            return results.done.finish(Err(error));
        }
        commits.waiters += 1;
        // Under the lock: no round that began before may see what is passed here.
        let offsets = {
            let mut fetcher = self.fetcher.lock();
            fetcher.pass(rows);
            fetcher.to_commit()
        };
        commits.rounds.push_back(Round {
            offsets: Some(offsets),
            waiters: Vec::new(),
            results: Some(results),
            member,
            failed_attempts: 0,
        });
        drop(commits);
        self.run_commits(&mut Wakes::new());
    }

    /// The round that sent results is over.
    pub(super) fn end_results(self: &Arc<Self>, error: Option<&Error>) {
        let mut commits = self.commits.lock();
        commits.is_running = false;
        commits.waiters -= 1;
        // Nobody knows then what the group goes on with: whoever opens the consumer again finds out.
        let fatal = error.filter(|error| error.is_fatal() || error.outcome() == Outcome::Unknown);
        if let Some(error) = fatal {
            commits.fatal.get_or_insert_with(|| error.clone());
        }
        let is_fatal = fatal.is_some();
        drop(commits);
        if is_fatal {
            self.resign();
        }
        if let Some(error) = error {
            let _mine = self.span.enter();
            crate::seldom!(warn, %error, "results were not sent and offsets not committed");
        }
        self.go_on_later();
        self.release_later();
    }

    fn run_commits(self: &Arc<Self>, wakes: &mut Wakes) {
        while let Some(mut round) = self.next_round() {
            let mut offsets = round.offsets.clone().unwrap_or_default();
            if let Some(results) = round.results.take() {
                return self.send_results(results, offsets, round.member);
            }
            let group = self.settings.group.clone();
            let (Some(group), false) = (group, offsets.is_empty()) else {
                self.end_round(round.waiters, Ok(()), wakes);
                continue;
            };
            if round.member.is_none() {
                let fatal = self.commits.lock().fatal.clone();
                let error = fatal.unwrap_or_else(|| self.no_member_of_it("nothing was committed"));
                self.end_round(round.waiters, Err(error), wakes);
                continue;
            }
            let rest = offsets.split_off(fitting(&offsets));
            let request = Request::CommitOffsets {
                group,
                member: round.member.clone(),
                offsets: offsets.clone(),
            };
            let state = Arc::clone(self);
            let answered = Completion::call(move |answer: Result<Response>, wakes| {
                let result = answer.map(|_| ());
                match &result {
                    Ok(()) => {
                        state.fetcher.lock().committed(&offsets);
                        if !rest.is_empty() {
                            return state.go_on_with(round, rest);
                        }
                    }
                    Err(error) if passes(error) && round.failed_attempts < COMMIT_RETRIES_MAX => {
                        return state.try_again(round);
                    }
                    Err(_) => {}
                }
                state.end_round(round.waiters, result, wakes);
                state.go_on_later();
            });
            self.transport.submit(request, Bytes::new(), answered);
            return;
        }
    }

    /// The rest of a round that one request does not hold, before anything that came later.
    fn go_on_with(self: &Arc<Self>, mut round: Round, rest: Vec<PartitionOffset>) {
        (round.offsets, round.failed_attempts) = (Some(rest), 0);
        let mut commits = self.commits.lock();
        commits.rounds.push_front(round);
        commits.is_running = false;
        drop(commits);
        self.go_on_later();
    }

    /// The group could not be told now: the same again, before anything that came later, after a pause.
    fn try_again(self: &Arc<Self>, mut round: Round) {
        round.failed_attempts += 1;
        let pause = COMMIT_AGAIN * round.failed_attempts;
        let mut commits = self.commits.lock();
        commits.rounds.push_front(round);
        let weak = Arc::downgrade(self);
        let again = timer::at(world::now() + pause, move || {
            let Some(state) = weak.upgrade() else { return };
            state.commits.lock().is_running = false;
            state.go_on_later();
        });
        commits.again = Some(again);
    }

    fn next_round(&self) -> Option<Round> {
        let mut commits = self.commits.lock();
        if commits.is_running {
            return None;
        }
        let mut round = commits.rounds.pop_front()?;
        commits.is_running = true;
        if round.member.is_none() {
            round.member = self.member();
        }
        round
            .offsets
            .get_or_insert_with(|| self.fetcher.lock().to_commit());
        Some(round)
    }

    fn no_member_of_it(&self, what: &str) -> Error {
        let group = self.settings.group.as_deref().unwrap_or_default();
        Error::new(
            ErrorCode::UnknownMemberId,
            format!(
                "the consumer is not, or was not all the time, the member of group `{group}` that had these \
                 records: {what}, and whoever has them now reads them again"
            ),
        )
    }

    fn end_round(&self, waiters: Vec<Completion<()>>, result: Result<()>, wakes: &mut Wakes) {
        let mut commits = self.commits.lock();
        commits.is_running = false;
        commits.waiters -= waiters.len();
        // Whether it still is a member is for the group to say, in answer to the next heartbeat.
        let fatal = result
            .as_ref()
            .err()
            .filter(|error| error.is_fatal() && error.kind() != ErrorKind::Fenced);
        if let Some(error) = fatal {
            commits.fatal.get_or_insert_with(|| error.clone());
        }
        let is_fatal = fatal.is_some();
        drop(commits);
        if is_fatal {
            self.resign();
        }
        if let Err(error) = &result {
            let _mine = self.span.enter();
            crate::seldom!(warn, %error, "offsets were not committed");
        }
        for waiter in waiters {
            waiter.complete(result.clone(), wakes);
        }
    }

    /// Nothing can be committed any more, and nothing is read: what it holds is for others, who can.
    fn resign(&self) {
        self.leave(Completion::call(|left: Result<()>, _| {
            if let Err(error) = left {
                tracing::debug!(%error, "the group was not told that its member is over");
            }
        }));
        self.bell.ring();
    }

    /// The next round begins in a job: answers may come before the question returns, and would nest.
    fn go_on_later(self: &Arc<Self>) {
        if !self.commits.lock().rounds.is_empty() {
            let state = Arc::clone(self);
            let job = move || state.run_commits(&mut Wakes::new());
            self.transport.schedule(Box::new(job));
        }
    }

    /// Something may have been processed: it is committed after the interval.
    pub(super) fn commit_in_time(self: &Arc<Self>) {
        if self.settings.group.is_none() || self.is_closed() {
            return;
        }
        let is_off = {
            let commits = self.commits.lock();
            commits.timer.is_some() || commits.is_by_results
        };
        if is_off || !self.fetcher.lock().has_to_commit() {
            return;
        }
        let weak = Arc::downgrade(self);
        let timer = timer::at(world::now() + self.settings.commit_interval, move || {
            let Some(state) = weak.upgrade() else { return };
            let transport = Arc::clone(&state.transport);
            transport.schedule(Box::new(move || state.commit_due()));
        });
        self.commits.lock().timer = Some(timer);
    }

    fn commit_due(self: &Arc<Self>) {
        let mut commits = self.commits.lock();
        commits.timer = None;
        if commits.is_by_results {
            return;
        }
        drop(commits);
        let state = Arc::downgrade(self);
        let done = Completion::call(move |result: Result<()>, _| {
            // A commit that may succeed later is tried again after the interval; so may one of a generation that is over,
            // for what is still held: what is not is forgotten at the answer to the next heartbeat.
            if let (Err(error), Some(state)) = (result, state.upgrade())
                && (!error.is_fatal() || error.kind() == ErrorKind::Fenced)
            {
                state.commit_in_time();
            }
        });
        self.commit(None, done);
    }
}

/// How many of these, at least one, go into one request.
fn fitting(offsets: &[PartitionOffset]) -> usize {
    let mut bytes = 0;
    let fitting = offsets.iter().take_while(|at| {
        bytes += at.topic.len() + OFFSET_BYTES_MAX;
        bytes <= REQUEST_BYTES_MAX
    });
    fitting.count().max(1).min(offsets.len())
}
