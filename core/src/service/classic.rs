//! Groups whose members share out partitions among themselves: Kafka's JoinGroup, SyncGroup, Heartbeat, LeaveGroup,
//! and what its commits and its descriptions of groups need.
//!
//! What is asked is checked for its form here; the rules are the coordinator's (`engine/group/classic`).

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use super::commits::{EachPartition, NotedOffset};
use super::groups::check_group_id;
use super::membership::Waiting;
use super::{Inner, Run, Service, Session};
use crate::completion::{Completion, Wakes};
use crate::engine::group::classic::{Join, Joined, Leave, Speaker, Sync, Synced};
use crate::engine::group::{GroupState, GroupView, MemberId};
use crate::error::{Error, ErrorCode, Result};
use crate::limits;
use crate::world;

/// A group in a list of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSummary {
    /// The group's id.
    pub group: String,
    /// How it stands.
    pub state: GroupState,
    /// Whether it has members of the native protocol, or waits for them; else it is a classic group, or has none.
    pub is_native: bool,
    /// What a classic group's protocols are for; empty where that is not known.
    pub protocol_type: Arc<str>,
}

impl Session {
    /// A member of a classic group joins, or joins again; answered when the generation begins. The join's ticket,
    /// session and new id are given here, and its rebalance timeout is held within its range. The answer may be
    /// long in coming; when the session ends it does not come.
    ///
    /// Fails with `INVALID_GROUP_ID`, `INVALID_SESSION_TIMEOUT` outside of 1 s to 30 min, `INVALID_REQUEST`,
    /// `INCONSISTENT_GROUP_PROTOCOL`, `GROUP_MAX_SIZE_REACHED`, `UNKNOWN_MEMBER_ID`, `FENCED_INSTANCE_ID`;
    /// `REBALANCE_IN_PROGRESS` and `COORDINATOR_LOAD_IN_PROGRESS`: try again.
    pub fn join_classic(&self, mut join: Join, completion: Completion<Joined>) {
        let inner = &self.service().inner;
        join.session = self.id();
        if let Err(error) = inner.check_join(&mut join) {
            return completion.finish(Err(error));
        }
        let mut wakes = Wakes::new();
        inner.coordinate(Run::Io, &mut wakes, |membership, now| {
            join.ticket = membership.wait(Waiting::Joined(completion));
            let generation = inner.generation_in_log(&join.group);
            membership.coordinator_mut().join(now, &join, generation)
        });
    }

    /// A member of a classic group asks for its assignment, or brings all of them; answered when the leader has
    /// decided. The sync's ticket and session are given here.
    ///
    /// Fails as [`beat_classic`](Self::beat_classic), with `INCONSISTENT_GROUP_PROTOCOL`, and with
    /// `GROUP_MAX_SIZE_REACHED` for assignments that are too long.
    pub fn sync_classic(&self, mut sync: Sync, completion: Completion<Synced>) {
        let inner = &self.service().inner;
        sync.session = self.id();
        let checked = inner
            .check_open()
            .and_then(|()| check_group_id(&sync.speaker.group));
        if let Err(error) = checked {
            return completion.finish(Err(error));
        }
        let mut wakes = Wakes::new();
        inner.coordinate(Run::Io, &mut wakes, |membership, now| {
            sync.ticket = membership.wait(Waiting::Synced(completion));
            membership.coordinator_mut().sync(now, &sync)
        });
    }

    /// A member of a classic group lives.
    ///
    /// # Errors
    /// `REBALANCE_IN_PROGRESS`: it has to join again; `ILLEGAL_GENERATION`, `UNKNOWN_MEMBER_ID`,
    /// `FENCED_INSTANCE_ID`, `INVALID_GROUP_ID`, `CLOSED`.
    pub fn beat_classic(&self, speaker: &Speaker) -> Result<()> {
        let inner = &self.service().inner;
        inner.check_open()?;
        check_group_id(&speaker.group)?;
        let mut membership = inner.membership.lock();
        membership.coordinator_mut().beat(world::now(), speaker)
    }

    /// Members of a classic group leave, or are removed: what became of each. The leave's session is given here.
    ///
    /// # Errors
    /// `INVALID_GROUP_ID`, `CLOSED`; inside, `UNKNOWN_MEMBER_ID` and `FENCED_INSTANCE_ID`.
    pub fn leave_classic(&self, mut leave: Leave) -> Result<Vec<Result<()>>> {
        let inner = &self.service().inner;
        inner.check_open()?;
        check_group_id(&leave.group)?;
        leave.session = self.id();
        let mut left = Vec::new();
        let mut wakes = Wakes::new();
        inner.coordinate(Run::Io, &mut wakes, |membership, now| {
            let (results, outputs) = membership.coordinator_mut().leave(now, &leave);
            left = results;
            outputs
        });
        Ok(left)
    }

    /// Commits offsets in the classic protocol: of a member in its generation, or of nobody (no member id,
    /// generation -1) while the group is empty. Answered once they are as durable as their topics.
    ///
    /// Each partition has its own answer: `UNKNOWN_TOPIC_OR_PARTITION`, `OFFSET_METADATA_TOO_LARGE`,
    /// `INVALID_ARGUMENT` for an offset below -1; to commit -1 takes back what was committed. The whole fails, and
    /// nothing is committed, with `INVALID_GROUP_ID`, with what [`Coordinator::check_classic_commit`] says, or with
    /// the log.
    ///
    /// All partitions are committed together, where they and their metadata take no more than
    /// [`SET_BYTES_MAX`](limits::SET_BYTES_MAX) (some 4,000 partitions with the longest metadata, or all that one request
    /// may name without). A longer commit is written piece by piece, in order: if the log fails, or the process dies,
    /// between two of them, the first pieces count. It is answered as a whole all the same, and to commit it again
    /// does no harm. (Kafka promises nothing across partitions.)
    ///
    /// [`Coordinator::check_classic_commit`]: crate::engine::group::Coordinator::check_classic_commit
    pub fn commit_classic(
        &self,
        speaker: &Speaker,
        offsets: &[NotedOffset],
        run: Run,
        completion: Completion<EachPartition>,
    ) {
        let inner = &self.service().inner;
        match inner.check_speaker(speaker) {
            Ok(generation) => {
                inner.commit_checked(speaker, generation, offsets, run, completion);
            }
            Err(error) => completion.finish(Err(error)),
        }
    }
}

impl Service {
    /// A group and its members; none if there is no such group.
    #[must_use]
    pub fn group(&self, id: &str) -> Option<GroupView> {
        let inner = &self.inner;
        let view = inner.membership.lock().coordinator().describe(id);
        view.or_else(|| {
            let groups = inner.state.groups.lock();
            let group = groups.get(id)?;
            Some(GroupView {
                state: GroupState::Empty,
                generation: group.generation,
                members: Vec::new(),
                classic: None,
            })
        })
    }

    /// All groups, by id.
    #[must_use]
    pub fn groups(&self) -> Vec<GroupSummary> {
        let inner = &self.inner;
        let membership = inner.membership.lock();
        let groups = inner.state.groups.lock();
        // What members were for is not in the log; only consumers commit. Who never was a member did so by hand.
        let mut all: BTreeMap<&str, (GroupState, bool, Arc<str>)> = groups
            .iter()
            .map(|(id, group)| {
                let protocol_type = if group.generation == 0 {
                    ""
                } else {
                    "consumer"
                };
                (
                    id.as_str(),
                    (GroupState::Empty, false, Arc::from(protocol_type)),
                )
            })
            .collect();
        for (id, state, is_native, protocol_type) in membership.coordinator().summaries() {
            all.insert(id, (state, is_native, protocol_type));
        }
        let all = all.into_iter();
        all.map(|(group, (state, is_native, protocol_type))| GroupSummary {
            group: group.to_owned(),
            state,
            is_native,
            protocol_type,
        })
        .collect()
    }
}

impl Inner {
    /// Whether a join has a form that it may have; and gives it the id that it gets if it has none.
    fn check_join(&self, join: &mut Join) -> Result<()> {
        self.check_open()?;
        check_group_id(&join.group)?;
        self.check_group_room(&join.group)?;
        let range = u128::from(limits::GROUP_TIMEOUT_MS_MIN)..=limits::GROUP_TIMEOUT_MS_MAX.into();
        let found = join.session_timeout.as_millis();
        if !range.contains(&found) {
            return Err(Error::new(
                ErrorCode::InvalidSessionTimeout,
                format!(
                    "session_timeout_ms is {found}; it must be {} to {}",
                    range.start(),
                    range.end()
                ),
            ));
        }
        // Clients that never rebalance by time say days; a shorter wait costs them nothing.
        join.rebalance_timeout = join.rebalance_timeout.clamp(
            Duration::from_millis(limits::GROUP_TIMEOUT_MS_MIN.into()),
            Duration::from_millis(limits::GROUP_TIMEOUT_MS_MAX.into()),
        );
        if let Some(instance) = &join.instance_id
            && !is_plain(instance)
        {
            return Err(Error::new(
                ErrorCode::InvalidRequest,
                format!(
                    "instance id `{}` must have 1 to {} bytes and no control characters",
                    instance.escape_debug(),
                    limits::CLASSIC_NAME_BYTES_MAX
                ),
            ));
        }
        cut(&mut join.client_name);
        cut(&mut join.host);
        if join.member_id.is_empty() {
            join.new_id = self.new_member_id(join)?;
        }
        Ok(())
    }

    /// An id that nobody has: of the instance or the client it begins with, for people.
    fn new_member_id(&self, join: &Join) -> Result<MemberId> {
        let uuid = (self.new_uuid)().map_err(|error| {
            let what = format!("a member id needs randomness, and the system has none: {error}");
            Error::new(ErrorCode::UnknownServerError, what).with_source(error)
        })?;
        let name = join.instance_id.as_deref().unwrap_or(&join.client_name);
        let mut id = if is_plain(name) { name } else { "member" }.to_owned();
        for (place, byte) in uuid.iter().enumerate() {
            if matches!(place, 0 | 4 | 6 | 8 | 10) {
                id.push('-');
            }
            // Writing to a string does not fail.
            let _ = write!(id, "{byte:02x}");
        }
        Ok(id.into())
    }

    /// The generation that a commit is of.
    fn check_speaker(&self, speaker: &Speaker) -> Result<i32> {
        check_group_id(&speaker.group)?;
        let membership = self.membership.lock();
        membership.coordinator().check_classic_commit(speaker)?;
        if speaker.generation < 0 {
            // It may be the first that is heard of the group.
            self.check_group_room(&speaker.group)?;
            return Ok(self.generation_in_log(&speaker.group));
        }
        Ok(speaker.generation)
    }
}

fn is_plain(name: &str) -> bool {
    let length = 1..=limits::CLASSIC_NAME_BYTES_MAX;
    length.contains(&name.len()) && !name.chars().any(char::is_control)
}

/// What is for people only is kept as far as there is room.
fn cut(text: &mut String) {
    if text.len() > limits::CLASSIC_NAME_BYTES_MAX {
        let mut places = (0..=limits::CLASSIC_NAME_BYTES_MAX).rev();
        let end = places.find(|place| text.is_char_boundary(*place));
        text.truncate(end.unwrap_or(0));
    }
}

#[cfg(test)]
mod tests;
