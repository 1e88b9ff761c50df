//! The coordinator of groups in its place: what its outputs ask for is done here, and time reaches it.
//!
//! Heartbeats wait here until the coordinator answers them; when a session or the service ends, so does what
//! it waits for. The coordinator is asked under one lock; what it wants done is done after, so a write that
//! ends at once finds the lock free.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::{Inner, Run};
use crate::completion::{Completion, Wakes};
use crate::engine::group::classic::{Joined, Synced};
use crate::engine::group::{Assigned, Coordinator, Heartbeat, MemberId, Output};
use crate::error::{Error, Result};
use crate::ids::{Durability, PartitionId};
use crate::log::{Append, Appended, Kind, PAYLOAD_VERSION, control};
use crate::protocol::request::Member;
use crate::protocol::response::{GroupAssignment, Response};
use crate::timer::{self, Timer};
use crate::world;

/// What the broker's own member ids begin with: those of clients before version 3 of the protocol, which end
/// with their sessions.
pub(super) const OWN_MEMBER_PREFIX: &str = "member-";

/// The coordinator, and who waits for it.
#[derive(Debug, Default)]
pub(super) struct Membership {
    coordinator: Coordinator,
    /// Which topics it knows, by name: one that was just created under a name may be another.
    topics: BTreeMap<Arc<str>, [u8; 16]>,
    waiting: BTreeMap<u64, Waiting>,
    next_ticket: u64,
    /// When the coordinator is woken; never later than it wants to be.
    alarm: Option<(Instant, Timer)>,
    is_closed: bool,
}

/// Who waits, and in which words it is answered.
#[derive(Debug)]
pub(super) enum Waiting {
    Response(Asked, Completion<Response>),
    Joined(Completion<Joined>),
    Synced(Completion<Synced>),
}

/// In which words a heartbeat is answered.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asked {
    Heartbeat,
    Join,
    Leave,
}

impl Membership {
    /// With how long a classic group that begins waits for more members.
    pub(super) fn new(group_initial_delay: Duration) -> Self {
        let mut membership = Self::default();
        membership
            .coordinator
            .set_initial_delay(group_initial_delay);
        membership
    }

    pub(super) const fn coordinator(&self) -> &Coordinator {
        &self.coordinator
    }

    pub(super) const fn coordinator_mut(&mut self) -> &mut Coordinator {
        &mut self.coordinator
    }

    /// Whether the coordinator knows this topic by this name, and so what became of another that had it before.
    pub(super) fn knows(&self, name: &str, uuid: &[u8; 16]) -> bool {
        self.topics.get(name) == Some(uuid)
    }

    /// The ticket of one that waits from now on.
    pub(super) fn wait(&mut self, waiting: Waiting) -> u64 {
        let ticket = self.ticket();
        self.waiting.insert(ticket, waiting);
        ticket
    }

    /// The next heartbeat's ticket; nobody waits for it yet.
    pub(super) fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }
}

/// Something that is to be done once the lock is free.
enum Todo {
    Answer(Asked, Completion<Response>, Result<Assigned>),
    Joined(Completion<Joined>, Result<Joined>),
    Synced(Completion<Synced>, Result<Synced>),
    /// A generation is queued, or why it is not.
    Write(std::result::Result<(), Refused>),
}

/// Who is to be told that an entry was not queued, and why.
type Refused = (Completion<Appended>, Error);

impl Inner {
    /// The coordinator learns what the log holds: topics, and groups whose members may come back.
    pub(super) fn recover_groups(self: &Arc<Self>) {
        let mut wakes = Wakes::new();
        self.coordinate(Run::Io, &mut wakes, |membership, now| {
            let coordinator = &mut membership.coordinator;
            let was_closed = self.log.was_closed();
            for topic in self.state.topics.read().iter() {
                let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
                coordinator.topic_changed(now, &topic.name, Some(count));
                let name = Arc::clone(&topic.name);
                if !was_closed && topic.config.durability == Durability::Os {
                    coordinator.doubt([Arc::clone(&name)]);
                }
                membership.topics.insert(name, topic.uuid);
            }
            let mut outputs = Vec::new();
            for (id, group) in self.state.groups.lock().iter() {
                let members = group.members.iter();
                let returning = members.filter(|member| !member.starts_with(OWN_MEMBER_PREFIX));
                let returning: Vec<_> = returning.map(|id| MemberId::from(id.as_str())).collect();
                outputs.extend(coordinator.recover(now, id, group.generation, &returning));
            }
            outputs
        });
    }

    /// A heartbeat, to be answered in the words of what was asked.
    pub(super) fn ask_coordinator(
        self: &Arc<Self>,
        heartbeat: Heartbeat,
        asked: Asked,
        run: Run,
        completion: Completion<Response>,
    ) {
        let mut wakes = Wakes::new();
        self.coordinate(run, &mut wakes, |membership, now| {
            let ticket = membership.wait(Waiting::Response(asked, completion));
            let heartbeat = Heartbeat {
                ticket,
                ..heartbeat
            };
            // Read under the lock: a group that the coordinator does not know does not change meanwhile.
            let generation = self.generation_in_log(&heartbeat.group);
            membership
                .coordinator
                .heartbeat(now, &heartbeat, generation)
        });
    }

    /// Appends what counts as long as `may` says so of the groups. It is asked, and the entries queued, under the lock
    /// under which generations change: so nothing of a later generation is in the log before them. What is behind one
    /// that is refused is refused with it.
    pub(super) fn append_if(
        &self,
        appends: Vec<Append>,
        run: Run,
        may: impl FnOnce(&Coordinator) -> Result<()>,
    ) {
        let mut refused = Vec::new();
        let membership = self.membership.lock();
        let mut reason = may(membership.coordinator()).err();
        let mut is_queued = false;
        for append in appends {
            if let Some(error) = &reason {
                refused.push((append, error.clone()));
                continue;
            }
            match self.log.enqueue(append, run) {
                Ok(()) => is_queued = true,
                Err((append, error)) => {
                    reason = Some(error.clone());
                    refused.push((append, error));
                }
            }
        }
        drop(membership);
        if is_queued {
            self.log.write_queued(run);
        }
        for (append, error) in refused {
            append.completion.finish(Err(error));
        }
    }

    /// A session is gone: members that end with it have left, the others have lost their connection.
    pub(super) fn end_session(self: &Arc<Self>, session: u64) {
        let mut wakes = Wakes::new();
        self.coordinate(Run::Io, &mut wakes, |membership, now| {
            membership.coordinator.session_ended(now, session)
        });
    }

    /// A topic may have been created or deleted. What it is by now is looked at, so the order in which
    /// this is called does not matter.
    pub(super) fn note_topic(self: &Arc<Self>, name: &str, wakes: &mut Wakes) {
        self.note_topics(name, false, wakes);
    }

    /// The same when a topic of this name was deleted; there may be another already.
    pub(super) fn note_deletion(self: &Arc<Self>, name: &str, wakes: &mut Wakes) {
        self.note_topics(name, true, wakes);
    }

    fn note_topics(self: &Arc<Self>, name: &str, is_gone: bool, wakes: &mut Wakes) {
        self.coordinate(Run::Io, wakes, |membership, now| {
            let found = self.state.topics.read().get(name).map(|topic| {
                let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
                (Arc::clone(&topic.name), count, topic.uuid)
            });
            let coordinator = &mut membership.coordinator;
            let mut outputs = Vec::new();
            if is_gone || found.is_none() {
                membership.topics.remove(name);
                outputs = coordinator.topic_changed(now, &Arc::from(name), None);
            }
            if let Some((name, count, uuid)) = found {
                outputs.extend(coordinator.topic_changed(now, &name, Some(count)));
                membership.topics.insert(name, uuid);
            }
            outputs
        });
    }

    /// The service closes: nobody waits any more, and nothing is due.
    pub(super) fn end_membership(&self) {
        let mut membership = self.membership.lock();
        let ended = std::mem::take(&mut *membership);
        membership.is_closed = true;
        drop(membership);
        // Answers `Closed` to all, with no lock held.
        drop(ended);
    }

    /// Has the coordinator act, and does what it wants done.
    pub(super) fn coordinate(
        self: &Arc<Self>,
        run: Run,
        wakes: &mut Wakes,
        act: impl FnOnce(&mut Membership, Instant) -> Vec<Output>,
    ) {
        let mut membership = self.membership.lock();
        if membership.is_closed {
            return;
        }
        let outputs = act(&mut membership, world::now());
        // Generations are queued under the lock: what the coordinator decides later is in the log behind them.
        let todo: Vec<_> = outputs
            .into_iter()
            .filter_map(|output| match output {
                Output::Persist {
                    write,
                    group,
                    generation,
                    members,
                } => {
                    let change = control::Group {
                        group: group.to_string(),
                        generation,
                        members: members.iter().map(|id| id.to_string()).collect(),
                        is_deleted: false,
                    };
                    let written = self.persisted(group, write);
                    Some(Todo::Write(self.queue_group(&change, run, written)))
                }
                output => membership.todo(output),
            })
            .collect();
        self.set_alarm(&mut membership);
        drop(membership);
        for todo in todo {
            match todo {
                Todo::Joined(completion, result) => completion.complete(result, wakes),
                Todo::Synced(completion, result) => completion.complete(result, wakes),
                Todo::Answer(asked, completion, result) => {
                    let answer = result.map(|assigned| self.answer(asked, &assigned));
                    completion.complete(answer, wakes);
                }
                Todo::Write(Ok(())) => self.log.write_queued(run),
                Todo::Write(Err((written, error))) => written.complete(Err(error), wakes),
            }
        }
    }

    /// A group without members is gone, with what it has committed. What the coordinator was asked before is in the log
    /// before that, and what it is asked from now on behind.
    pub(super) fn forget_group(
        self: &Arc<Self>,
        change: &control::Group,
        run: Run,
        completion: Completion<Appended>,
    ) {
        let mut membership = self.membership.lock();
        let queued = match membership.coordinator.check_empty(&change.group) {
            Ok(()) => self.queue_group(change, run, completion),
            Err(error) => Err((completion, error)),
        };
        if queued.is_ok() {
            // It is empty still.
            drop(membership.coordinator.forget(world::now(), &change.group));
        }
        drop(membership);
        match queued {
            Ok(()) => self.log.write_queued(run),
            Err((completion, error)) => completion.finish(Err(error)),
        }
    }

    /// Queues what the log is to know of a group, under the coordinator's lock.
    fn queue_group(
        &self,
        change: &control::Group,
        run: Run,
        written: Completion<Appended>,
    ) -> std::result::Result<(), Refused> {
        let payload = match control::encode(change) {
            Ok(payload) => payload,
            Err(error) => return Err((written, error)),
        };
        let frame = (Kind::Group, PAYLOAD_VERSION, PartitionId(0));
        let append = self.control_entry(frame, payload, None, written);
        let queued = self.log.enqueue(append, run);
        queued.map_err(|(append, error)| (append.completion, error))
    }

    /// Tells the coordinator what became of a generation that is to be written.
    fn persisted(self: &Arc<Self>, group: Arc<str>, write: u64) -> Completion<Appended> {
        let inner = Arc::clone(self);
        Completion::call(move |result: Result<Appended>, wakes: &mut Wakes| {
            if let Err(error) = &result {
                crate::seldom!(warn, %group, %error, "a generation is not in the log");
            }
            inner.coordinate(Run::Io, wakes, |membership, now| {
                let result = result.map(|_| ());
                membership.coordinator.persisted(now, &group, write, result)
            });
        })
    }

    fn answer(&self, asked: Asked, assigned: &Assigned) -> Response {
        match asked {
            Asked::Heartbeat => Response::GroupHeartbeat(GroupAssignment {
                member_id: assigned.member_id.to_string(),
                generation: assigned.generation,
                assignment: self.with_offsets(&assigned.group, &assigned.partitions),
            }),
            Asked::Join => Response::Joined {
                member: Member {
                    id: assigned.member_id.to_string(),
                    generation: assigned.generation,
                },
                assignment: self.with_offsets(&assigned.group, &assigned.partitions),
            },
            Asked::Leave => Response::Done,
        }
    }

    /// Has the coordinator woken in time; an alarm that is too early is left as it is, and rings in vain.
    fn set_alarm(self: &Arc<Self>, membership: &mut Membership) {
        let Some(next) = membership.coordinator.next_wakeup() else {
            membership.alarm = None;
            return;
        };
        if membership.alarm.as_ref().is_none_or(|(at, _)| next < *at) {
            let inner = Arc::downgrade(self);
            let timer = timer::at(next, move || ring(&inner));
            membership.alarm = Some((next, timer));
        }
    }
}

impl Membership {
    fn todo(&mut self, output: Output) -> Option<Todo> {
        match output {
            Output::Answer { ticket, result } => match self.waiting.remove(&ticket)? {
                Waiting::Response(asked, completion) => {
                    Some(Todo::Answer(asked, completion, result))
                }
                Waiting::Joined(_) | Waiting::Synced(_) => None,
            },
            Output::Joined { ticket, result } => match self.waiting.remove(&ticket)? {
                Waiting::Joined(completion) => Some(Todo::Joined(completion, result)),
                Waiting::Response(..) | Waiting::Synced(_) => None,
            },
            Output::Synced { ticket, result } => match self.waiting.remove(&ticket)? {
                Waiting::Synced(completion) => Some(Todo::Synced(completion, result)),
                Waiting::Response(..) | Waiting::Joined(_) => None,
            },
            // Written by whoever holds the lock.
            Output::Persist { .. } => None,
        }
    }
}

fn ring(inner: &Weak<Inner>) {
    let Some(inner) = inner.upgrade() else {
        return;
    };
    let mut wakes = Wakes::new();
    inner.coordinate(Run::Io, &mut wakes, |membership, now| {
        membership.alarm = None;
        membership.coordinator.advance(now)
    });
}

#[cfg(test)]
mod tests;
