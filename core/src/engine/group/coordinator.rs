//! All groups: what comes in goes to its group, and what comes out is collected.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::classic;
use super::removed::{Removal, RemovedMembers};
use super::state::{Due, Group, Recovery, Turn};
use super::{Heartbeat, JOINING, Lifetime, MemberId, Output, errors};
use crate::error::{Error, ErrorCode, Result};
use crate::limits;

/// How long members of before a restart are waited for.
pub const RECOVERY_GRACE: Duration = Duration::from_secs(10);
/// After so long the log is told again what it could not take.
pub(super) const PERSIST_AGAIN: Duration = Duration::from_secs(1);

/// Woken so much too late, the process has stood still.
const STALL: Duration = Duration::from_secs(1);

/// Who is in which group right now.
#[derive(Debug, Default)]
pub struct Coordinator {
    groups: BTreeMap<Arc<str>, Group>,
    /// How many partitions each topic has.
    topics: BTreeMap<Arc<str>, i32>,
    /// The topics of which a crash may have taken records back that members have read.
    doubted: BTreeSet<Arc<str>>,
    /// The groups that a session has spoken for.
    sessions: BTreeMap<u64, BTreeSet<Arc<str>>>,
    removed: RemovedMembers,
    /// Of all groups.
    member_count: usize,
    pub(super) next_write: u64,
    /// The groups of Kafka's classic protocol; no id is in both.
    pub(super) classic: classic::Groups,
    wakeups: BTreeSet<(Instant, Arc<str>)>,
    wakeup_of: BTreeMap<Arc<str>, Instant>,
}

impl Coordinator {
    /// Topics of which records that were acknowledged and read may not be there any more, since the log was not closed
    /// in order: members that come back begin there where their group has committed. To be told before the groups.
    pub fn doubt(&mut self, topics: impl IntoIterator<Item = Arc<str>>) {
        self.doubted.extend(topics);
    }

    /// A group as the log left it: its last generation, and the members of that who can come back. To be
    /// told before anything else of the group.
    pub fn recover(
        &mut self,
        now: Instant,
        group: &str,
        generation: i32,
        members: &[MemberId],
    ) -> Vec<Output> {
        let mut outputs = Vec::new();
        let is_classic = self.classic.recover(now, group, generation, members);
        if is_classic || members.is_empty() {
            return outputs;
        }
        let id = Arc::<str>::from(group);
        let mut recovered = Group::new(Arc::clone(&id), generation);
        recovered.recovery = Some(Recovery {
            until: now + RECOVERY_GRACE,
            missing: members.iter().cloned().collect(),
            gone: self.doubted.clone(),
        });
        // After another start nobody would know what is in doubt.
        recovered.is_list_old = !self.doubted.is_empty();
        self.groups.insert(Arc::clone(&id), recovered);
        self.turn(now, &id, &mut outputs, |group, turn| group.settle(turn));
        outputs
    }

    /// A member speaks. `generation` is the group's in the log; it counts when the coordinator does not know
    /// the group, since then the log knows all there is.
    pub fn heartbeat(
        &mut self,
        now: Instant,
        heartbeat: &Heartbeat,
        generation: i32,
    ) -> Vec<Output> {
        let mut outputs = Vec::new();
        if let Err(error) = self.check(heartbeat) {
            let ticket = heartbeat.ticket;
            let result = Err(error);
            return vec![Output::Answer { ticket, result }];
        }
        let id = self.id_of(&heartbeat.group);
        let group = self.groups.entry(Arc::clone(&id));
        group.or_insert_with(|| Group::new(Arc::clone(&id), generation));
        self.turn(now, &id, &mut outputs, |group, turn| {
            group.heartbeat(heartbeat, turn)
        });
        self.note_session(heartbeat.session, &id);
        outputs
    }

    /// The log has taken a write, or has not.
    pub fn persisted(
        &mut self,
        now: Instant,
        group: &str,
        write: u64,
        result: Result<()>,
    ) -> Vec<Output> {
        let mut outputs = Vec::new();
        let id = self.id_of(group);
        self.turn(now, &id, &mut outputs, |group, turn| {
            group.persisted(write, result.clone(), turn);
        });
        let (classic, next_write) = (&mut self.classic, &mut self.next_write);
        outputs.extend(classic.persisted(now, group, write, result, next_write));
        outputs
    }

    /// A group without members is deleted. What the log is still being told of it comes before that.
    ///
    /// # Errors
    /// As [`check_empty`](Self::check_empty); then nothing has changed.
    pub fn forget(&mut self, now: Instant, group: &str) -> Result<()> {
        self.check_empty(group)?;
        self.classic.forget(now, group);
        let id = self.id_of(group);
        self.groups.remove(&id);
        self.schedule(&id);
        Ok(())
    }

    /// A session has ended: members that live no longer than it go at once, the others are waited for a
    /// little.
    pub fn session_ended(&mut self, now: Instant, session: u64) -> Vec<Output> {
        let mut outputs = Vec::new();
        for id in self.sessions.remove(&session).unwrap_or_default() {
            self.turn(now, &id, &mut outputs, |group, turn| {
                group.lose_session(session, turn);
            });
        }
        let (classic, next_write) = (&mut self.classic, &mut self.next_write);
        classic.session_ended(now, session, next_write, &mut outputs);
        outputs
    }

    /// A topic has this many partitions now; none: it is gone.
    pub fn topic_changed(
        &mut self,
        now: Instant,
        topic: &Arc<str>,
        partitions: Option<i32>,
    ) -> Vec<Output> {
        let before = match partitions {
            Some(count) => self.topics.insert(Arc::clone(topic), count),
            None => self.topics.remove(topic),
        };
        // One that was not there is no other that was, of which somebody who is missing still holds something.
        if before.is_none() || partitions.is_none() {
            self.groups.values_mut().for_each(|group| group.void(topic));
        }
        let mut outputs = Vec::new();
        if before == partitions {
            return outputs;
        }
        let is_concerned = |group: &&Group| group.reads(topic) || group.is_list_old;
        let concerned = self.groups.values().filter(is_concerned);
        let concerned: Vec<_> = concerned.map(|group| Arc::clone(&group.id)).collect();
        for id in concerned {
            self.turn(now, &id, &mut outputs, |group, turn| {
                if group.reads(topic) {
                    group.due = Due::Target;
                }
                group.settle(turn);
            });
        }
        outputs
    }

    /// When [`advance`](Self::advance) has something to do; none while all is quiet.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Instant> {
        let native = self.wakeups.first().map(|(at, _)| *at);
        native.into_iter().chain(self.classic.next_wakeup()).min()
    }

    /// Time has come to `now`: answers that waited long enough, members that were silent too long.
    ///
    /// Called much too late, it takes it that the whole process stood still, and that what members sent
    /// meanwhile waits to be read: they are given that time.
    pub fn advance(&mut self, now: Instant) -> Vec<Output> {
        let mut outputs = Vec::new();
        let late = self
            .next_wakeup()
            .map(|at| now.saturating_duration_since(at));
        if let Some(stalled) = late.filter(|late| *late >= STALL) {
            self.excuse(now, stalled);
        }
        let due = self.wakeups.iter().take_while(|(at, _)| *at <= now);
        let due: Vec<_> = due.map(|(_, id)| Arc::clone(id)).collect();
        for id in due {
            self.turn(now, &id, &mut outputs, Group::advance);
        }
        let (classic, next_write) = (&mut self.classic, &mut self.next_write);
        classic.advance(now, next_write, &mut outputs);
        outputs
    }

    fn excuse(&mut self, now: Instant, stalled: Duration) {
        let ids: Vec<_> = self.groups.keys().cloned().collect();
        // Nothing is wanted of anybody for it.
        let mut outputs = Vec::new();
        for id in ids {
            self.turn(now, &id, &mut outputs, |group, _| group.excuse(stalled));
        }
        self.classic.excuse(now, stalled);
    }

    /// How many groups have members, or wait for them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups.len() + self.classic.len()
    }

    /// How many members all groups have.
    #[must_use]
    pub const fn member_count(&self) -> usize {
        self.member_count + self.classic.member_count()
    }

    /// Whether no group has members or waits for them.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn groups(&self) -> impl Iterator<Item = (&Arc<str>, &Group)> {
        self.groups.iter()
    }

    pub(super) fn group(&self, id: &str) -> Option<&Group> {
        self.groups.get(id)
    }

    pub(super) fn removal(&self, group: &str, member: &MemberId) -> Option<&Removal> {
        self.removed.get(&Arc::from(group), member)
    }

    /// The group's id, shared if the group is known.
    fn id_of(&self, group: &str) -> Arc<str> {
        let known = self.groups.get_key_value(group);
        known.map_or_else(|| Arc::from(group), |(id, _)| Arc::clone(id))
    }

    /// A session speaks for the groups in which it has members, and for no others.
    fn note_session(&mut self, session: u64, id: &Arc<str>) {
        let group = self.groups.get(id);
        if group.is_some_and(|group| group.has_member_of(session)) {
            let spoken_for = self.sessions.entry(session).or_default();
            spoken_for.insert(Arc::clone(id));
        } else if let Some(spoken_for) = self.sessions.get_mut(&session) {
            spoken_for.remove(id);
            if spoken_for.is_empty() {
                self.sessions.remove(&session);
            }
        }
    }

    fn check(&self, heartbeat: &Heartbeat) -> Result<()> {
        self.check_not_classic(&heartbeat.group)?;
        let (heartbeat_ms, session_ms) = (
            heartbeat.heartbeat.as_millis(),
            heartbeat.session_timeout.as_millis(),
        );
        if heartbeat.owned.len() > limits::GROUP_MEMBER_PARTITIONS_MAX {
            let found = heartbeat.owned.len();
            let most = limits::GROUP_MEMBER_PARTITIONS_MAX;
            let what = format!("it owns {found} partitions; at most {most} are allowed");
            return Err(errors::invalid(heartbeat, &what));
        }
        if heartbeat.topics.len() > limits::CONSUMER_TOPICS_MAX {
            let (found, most) = (heartbeat.topics.len(), limits::CONSUMER_TOPICS_MAX);
            let what = format!("it names {found} topics; at most {most} are allowed");
            return Err(errors::invalid(heartbeat, &what));
        }
        if heartbeat.lifetime != Lifetime::Exclusive && heartbeat_ms >= session_ms {
            let what = format!(
                "heartbeat_ms is {heartbeat_ms}; it must be less than session_timeout_ms, \
                 {session_ms}"
            );
            return Err(errors::invalid(heartbeat, &what));
        }
        if heartbeat.generation == JOINING && self.member_count() >= limits::MEMBERS_MAX {
            let count = limits::MEMBERS_MAX;
            return Err(Error::new(
                ErrorCode::QuotaExceeded,
                format!("there are {count} members of groups; no more are allowed"),
            ));
        }
        let is_new = !self.groups.contains_key(heartbeat.group.as_str());
        if is_new && self.len() >= limits::GROUPS_MAX {
            return Err(Error::new(
                ErrorCode::QuotaExceeded,
                format!(
                    "there are {} groups; no more are allowed",
                    limits::GROUPS_MAX
                ),
            ));
        }
        Ok(())
    }

    /// Has one group act, forgets it if nothing is left of it, and notes when it has to act again.
    fn turn(
        &mut self,
        now: Instant,
        id: &Arc<str>,
        outputs: &mut Vec<Output>,
        act: impl FnOnce(&mut Group, &mut Turn<'_>),
    ) {
        let Some(group) = self.groups.get_mut(id) else {
            return;
        };
        let mut turn = Turn {
            now,
            topics: &self.topics,
            removed: &mut self.removed,
            next_write: &mut self.next_write,
            outputs,
        };
        let before = group.members.len();
        act(group, &mut turn);
        self.member_count = self.member_count + group.members.len() - before;
        if group.is_idle() {
            self.groups.remove(id);
        }
        self.schedule(id);
    }

    fn schedule(&mut self, id: &Arc<str>) {
        let next = self.groups.get(id).and_then(Group::next_wakeup);
        let before = match next {
            Some(next) => self.wakeup_of.insert(Arc::clone(id), next),
            None => self.wakeup_of.remove(id),
        };
        if before != next {
            if let Some(before) = before {
                self.wakeups.remove(&(before, Arc::clone(id)));
            }
            self.wakeups.extend(next.map(|next| (next, Arc::clone(id))));
        }
    }
}
