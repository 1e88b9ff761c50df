//! All groups of this kind, and the coordinator's door to them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::group::Group;
use super::member::size_bytes;
use super::{INITIAL_DELAY, Join, LISTED_PREFIX, Leave, Speaker, Sync, Turn, errors};
use crate::engine::group::{Coordinator, MemberId, Output};
use crate::error::{Error, ErrorCode, Result};
use crate::limits;

/// Groups of a session beyond which those are looked for that it has nothing to do with any more.
const SESSION_GROUPS: usize = 64;

/// The groups, and when they have to act.
#[derive(Debug)]
pub(in crate::engine::group) struct Groups {
    groups: BTreeMap<Arc<str>, Group>,
    /// The groups in which something waits for a session.
    sessions: BTreeMap<u64, BTreeSet<Arc<str>>>,
    /// Of all groups, with those that are to be members.
    member_count: usize,
    /// Of all groups.
    size_bytes: usize,
    initial_delay: Duration,
    wakeups: BTreeSet<(Instant, Arc<str>)>,
    wakeup_of: BTreeMap<Arc<str>, Instant>,
}

impl Default for Groups {
    fn default() -> Self {
        Self {
            groups: BTreeMap::new(),
            sessions: BTreeMap::new(),
            member_count: 0,
            size_bytes: 0,
            initial_delay: INITIAL_DELAY,
            wakeups: BTreeSet::new(),
            wakeup_of: BTreeMap::new(),
        }
    }
}

impl Coordinator {
    /// How long a group that begins waits for more members; [`INITIAL_DELAY`] if nothing is said. It is extended
    /// while they come, up to ten times.
    pub fn set_initial_delay(&mut self, delay: Duration) {
        self.classic.initial_delay = delay;
    }

    /// A member of a classic group joins. `generation` is the group's in the log; it counts when the
    /// coordinator does not know the group.
    pub fn join(&mut self, now: Instant, join: &Join, generation: i32) -> Vec<Output> {
        let mut outputs = Vec::new();
        if let Err(error) = self.check_join(join) {
            let ticket = join.ticket;
            let result = Err(error);
            return vec![Output::Joined { ticket, result }];
        }
        let id = Arc::<str>::from(join.group.as_str());
        let group = self.classic.groups.entry(Arc::clone(&id));
        group.or_insert_with(|| Group::new(Arc::clone(&id), generation));
        let write = &mut self.next_write;
        self.classic
            .turn(now, &id, write, &mut outputs, |group, turn| {
                group.join(join, turn);
            });
        self.classic.note_session(join.session, &id);
        outputs
    }

    /// A member of a classic group asks for its assignment, or brings all of them.
    pub fn sync(&mut self, now: Instant, sync: &Sync) -> Vec<Output> {
        let mut outputs = Vec::new();
        let speaker = &sync.speaker;
        if let Err(error) = self.check_sync(sync) {
            let ticket = sync.ticket;
            let result = Err(error);
            return vec![Output::Synced { ticket, result }];
        }
        let id = Arc::<str>::from(speaker.group.as_str());
        let write = &mut self.next_write;
        self.classic
            .turn(now, &id, write, &mut outputs, |group, turn| {
                group.sync(sync, turn);
            });
        self.classic.note_session(sync.session, &id);
        outputs
    }

    /// A member of a classic group lives.
    ///
    /// # Errors
    /// `REBALANCE_IN_PROGRESS`: it has to join again; `ILLEGAL_GENERATION`, `UNKNOWN_MEMBER_ID`,
    /// `FENCED_INSTANCE_ID`.
    pub fn beat(&mut self, now: Instant, speaker: &Speaker) -> Result<()> {
        let id = Arc::<str>::from(speaker.group.as_str());
        let mut result = Err(errors::unknown_member(&id, &speaker.member_id));
        // It is a sign of life, and nothing follows from it.
        let mut outputs = Vec::new();
        let write = &mut self.next_write;
        self.classic
            .turn(now, &id, write, &mut outputs, |group, turn| {
                result = group.beat(speaker, turn);
            });
        result
    }

    /// Members of a classic group leave, or are removed: what became of each.
    pub fn leave(&mut self, now: Instant, leave: &Leave) -> (Vec<Result<()>>, Vec<Output>) {
        let id = Arc::<str>::from(leave.group.as_str());
        let unknown = leave.members.iter();
        let unknown = unknown.map(|it| Err(errors::unknown_member(&id, &it.member_id)));
        let mut results: Vec<_> = unknown.collect();
        let mut outputs = Vec::new();
        let write = &mut self.next_write;
        self.classic
            .turn(now, &id, write, &mut outputs, |group, turn| {
                results = group.leave(leave, turn);
            });
        self.classic.note_session(leave.session, &id);
        (results, outputs)
    }

    fn check_join(&self, join: &Join) -> Result<()> {
        self.check_kind(&join.group)?;
        if join.protocol_type.is_empty() || join.protocols.is_empty() {
            let what = "it joins without a protocol";
            return Err(errors::no_common_protocol(&join.group, what));
        }
        check_sizes(join)?;
        let group = self.classic.groups.get(join.group.as_str());
        let before = group.and_then(|group| group.members.get(join.member_id.as_str()));
        let before_bytes = before.map_or(0, |member| size_bytes(&member.protocols));
        let bytes = size_bytes(&join.protocols);
        let group_bytes = group.map_or(0, Group::size_bytes) - before_bytes;
        if group_bytes + bytes > limits::CLASSIC_GROUP_BYTES_MAX
            || self.classic.size_bytes - before_bytes + bytes > limits::CLASSIC_BYTES_MAX
        {
            return Err(errors::too_many_bytes(&join.group));
        }
        let full = |what: String| Err(Error::new(ErrorCode::GroupMaxSizeReached, what));
        if before.is_none() && self.member_count() >= limits::MEMBERS_MAX {
            let count = limits::MEMBERS_MAX;
            return full(format!(
                "there are {count} members of groups; no more are allowed"
            ));
        }
        if group.is_none() {
            if !join.member_id.is_empty() {
                return Err(errors::unknown_member(&join.group, &join.member_id));
            }
            if self.len() >= limits::GROUPS_MAX {
                let count = limits::GROUPS_MAX;
                return full(format!("there are {count} groups; no more are allowed"));
            }
        }
        Ok(())
    }

    /// Whether a member of this kind may come to the group at all.
    fn check_kind(&self, id: &str) -> Result<()> {
        match self.group(id) {
            None => Ok(()),
            Some(group) if group.members.is_empty() => Err(errors::settling(id)),
            Some(_) => Err(errors::other_kind(id, "native", "classic")),
        }
    }

    /// Whether a member of a group of heartbeats may come to the group at all.
    pub(in crate::engine::group) fn check_not_classic(&self, id: &str) -> Result<()> {
        match self.classic.groups.get(id) {
            None => Ok(()),
            Some(group) if group.members.is_empty() && group.promised.is_empty() => {
                Err(errors::settling(id))
            }
            Some(_) => Err(errors::other_kind(id, "classic", "native")),
        }
    }

    fn check_sync(&self, sync: &Sync) -> Result<()> {
        let speaker = &sync.speaker;
        let Some(group) = self.classic.groups.get(speaker.group.as_str()) else {
            return Err(errors::unknown_member(&speaker.group, &speaker.member_id));
        };
        let sizes = sync.assignments.iter();
        let bytes: usize = sizes.map(|(id, bytes)| id.len() + bytes.len()).sum();
        if group.size_bytes() + bytes > limits::CLASSIC_GROUP_BYTES_MAX
            || self.classic.size_bytes + bytes > limits::CLASSIC_BYTES_MAX
        {
            return Err(errors::too_many_bytes(&speaker.group));
        }
        Ok(())
    }
}

fn check_sizes(join: &Join) -> Result<()> {
    if join.protocols.len() > limits::CLASSIC_PROTOCOLS_MAX {
        let (found, most) = (join.protocols.len(), limits::CLASSIC_PROTOCOLS_MAX);
        let what = format!("a member names {found} protocols; at most {most} are allowed");
        return Err(errors::invalid(&join.group, &what));
    }
    let (found, most) = (
        size_bytes(&join.protocols),
        limits::CLASSIC_MEMBER_BYTES_MAX,
    );
    if found > most {
        let what =
            format!("what a member says of itself has {found} bytes; at most {most} are allowed");
        return Err(errors::invalid(&join.group, &what));
    }
    Ok(())
}

impl Groups {
    /// A group as the log left it, if the members that it lists are of this kind.
    pub(in crate::engine::group) fn recover(
        &mut self,
        now: Instant,
        id: &str,
        generation: i32,
        members: &[MemberId],
    ) -> bool {
        let ids = members
            .iter()
            .filter_map(|id| id.strip_prefix(LISTED_PREFIX));
        let missing: BTreeSet<_> = ids.map(MemberId::from).collect();
        if missing.is_empty() {
            return false;
        }
        let id = Arc::<str>::from(id);
        let group = Group::recovered(Arc::clone(&id), generation, missing, now);
        self.groups.insert(Arc::clone(&id), group);
        self.schedule(now, &id);
        true
    }

    pub(in crate::engine::group) fn persisted(
        &mut self,
        now: Instant,
        group: &str,
        write: u64,
        result: Result<()>,
        next_write: &mut u64,
    ) -> Vec<Output> {
        let mut outputs = Vec::new();
        let id = Arc::from(group);
        self.turn(now, &id, next_write, &mut outputs, |group, turn| {
            group.persisted(write, result, turn);
        });
        outputs
    }

    pub(in crate::engine::group) fn forget(&mut self, now: Instant, group: &str) {
        if let Some(removed) = self.groups.remove(group) {
            // Ids may be promised in it.
            self.member_count -= removed.len();
            self.size_bytes -= removed.size_bytes();
        }
        self.schedule(now, &Arc::from(group));
    }

    pub(in crate::engine::group) fn session_ended(
        &mut self,
        now: Instant,
        session: u64,
        next_write: &mut u64,
        outputs: &mut Vec<Output>,
    ) {
        for id in self.sessions.remove(&session).unwrap_or_default() {
            self.turn(now, &id, next_write, outputs, |group, turn| {
                group.lose_session(session, turn);
            });
        }
    }

    pub(in crate::engine::group) fn next_wakeup(&self) -> Option<Instant> {
        self.wakeups.first().map(|(at, _)| *at)
    }

    pub(in crate::engine::group) fn advance(
        &mut self,
        now: Instant,
        next_write: &mut u64,
        outputs: &mut Vec<Output>,
    ) {
        let due = self.wakeups.iter().take_while(|(at, _)| *at <= now);
        let due: Vec<_> = due.map(|(_, id)| Arc::clone(id)).collect();
        for id in due {
            self.turn(now, &id, next_write, outputs, Group::advance);
        }
    }

    pub(in crate::engine::group) fn excuse(&mut self, now: Instant, stalled: Duration) {
        let ids: Vec<_> = self.groups.keys().cloned().collect();
        for id in ids {
            if let Some(group) = self.groups.get_mut(&id) {
                group.excuse(now, stalled);
            }
            self.schedule(now, &id);
        }
    }

    pub(in crate::engine::group) fn len(&self) -> usize {
        self.groups.len()
    }

    pub(in crate::engine::group) const fn member_count(&self) -> usize {
        self.member_count
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Group)> {
        self.groups.iter()
    }

    pub(super) fn get(&self, id: &str) -> Option<&Group> {
        self.groups.get(id)
    }

    /// Has one group act, forgets it if nothing is left of it, and notes when it has to act again.
    fn turn(
        &mut self,
        now: Instant,
        id: &Arc<str>,
        next_write: &mut u64,
        outputs: &mut Vec<Output>,
        act: impl FnOnce(&mut Group, &mut Turn<'_>),
    ) {
        let Some(group) = self.groups.get_mut(id) else {
            return;
        };
        let mut turn = Turn {
            now,
            initial_delay: self.initial_delay,
            next_write,
            outputs,
        };
        let (members, bytes) = (group.len(), group.size_bytes());
        act(group, &mut turn);
        self.member_count = self.member_count + group.len() - members;
        self.size_bytes = self.size_bytes + group.size_bytes() - bytes;
        if group.is_idle() {
            self.groups.remove(id);
        }
        self.schedule(now, id);
    }

    fn schedule(&mut self, now: Instant, id: &Arc<str>) {
        let group = self.groups.get(id);
        let next = group.and_then(|group| group.next_wakeup(now));
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

    /// A session is of interest to the groups in which something waits for it, and to no others.
    fn note_session(&mut self, session: u64, id: &Arc<str>) {
        let group = self.groups.get(id);
        if group.is_some_and(|group| group.concerns(session)) {
            let groups = &self.groups;
            let noted = self.sessions.entry(session).or_default();
            if noted.len() >= SESSION_GROUPS {
                noted.retain(|id| groups.get(id).is_some_and(|it| it.concerns(session)));
            }
            noted.insert(Arc::clone(id));
        } else if let Some(noted) = self.sessions.get_mut(&session) {
            noted.remove(id);
            if noted.is_empty() {
                self.sessions.remove(&session);
            }
        }
    }
}
