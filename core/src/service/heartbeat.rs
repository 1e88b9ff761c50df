//! Heartbeats as they are asked for: checked, and turned into what the coordinator takes.
//!
//! Clients before version 3 of the protocol join once and share no group; what they ask is put in the
//! coordinator's words here.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::groups::check_group_id;
use super::membership::{Asked, OWN_MEMBER_PREFIX};
use super::{Inner, Run, unknown_topic};
use crate::completion::Completion;
use crate::engine::group::classic::LISTED_PREFIX;
use crate::engine::group::{Assignor, Heartbeat, JOINING, LEAVING, Lifetime, MemberId};
use crate::error::{Error, ErrorCode, Result};
use crate::ids::TopicPartition;
use crate::limits;
use crate::protocol::request::{GroupHeartbeat, Member, TopicPartitions};
use crate::protocol::response::Response;
use crate::world;

/// How long somebody without heartbeats waits for the log: as long as it takes.
const UNHURRIED: Duration = Duration::from_secs(24 * 60 * 60);

impl Inner {
    pub(super) fn group_heartbeat(
        self: &Arc<Self>,
        session: u64,
        lifetime: Lifetime,
        wanted: GroupHeartbeat,
        run: Run,
        completion: Completion<Response>,
    ) {
        let is_new = wanted.generation == JOINING;
        let checked = checked(session, lifetime, wanted).and_then(|heartbeat| {
            let room = if is_new {
                self.check_group_room(&heartbeat.group)
            } else {
                Ok(())
            };
            room.map(|()| heartbeat)
        });
        match checked {
            Ok(heartbeat) => self.ask_coordinator(heartbeat, Asked::Heartbeat, run, completion),
            Err(error) => completion.finish(Err(error)),
        }
    }

    /// A client before version 3 joins, and has the group for itself until its session ends.
    pub(super) fn join_group(
        self: &Arc<Self>,
        session: u64,
        group: String,
        topics: Vec<String>,
        run: Run,
        completion: Completion<Response>,
    ) {
        let checked = check_group_id(&group)
            .and_then(|()| self.check_group_room(&group))
            .and_then(|()| self.check_topics(&topics));
        if let Err(error) = checked {
            return completion.finish(Err(error));
        }
        let number = self.membership.lock().ticket();
        let id = MemberId::from(format!("{OWN_MEMBER_PREFIX}{session}-{number}"));
        let heartbeat = Heartbeat {
            topics: topics.into_iter().map(Arc::from).collect(),
            ..plain(session, group, id, JOINING)
        };
        self.ask_coordinator(heartbeat, Asked::Join, run, completion);
    }

    pub(super) fn leave_group(
        self: &Arc<Self>,
        session: u64,
        group: String,
        member: &Member,
        run: Run,
        completion: Completion<Response>,
    ) {
        let named = Some((member.id.as_str(), member.generation));
        let checked = {
            let membership = self.membership.lock();
            let coordinator = membership.coordinator();
            coordinator.check_commit(world::now(), &group, named, [])
        };
        if let Err(error) = checked {
            return completion.finish(Err(error));
        }
        let heartbeat = plain(session, group, MemberId::from(member.id.as_str()), LEAVING);
        self.ask_coordinator(heartbeat, Asked::Leave, run, completion);
    }

    fn check_topics(&self, topics: &[String]) -> Result<()> {
        let known = self.state.topics.read();
        match topics.iter().find(|name| known.get(name).is_none()) {
            Some(name) => Err(unknown_topic(name)),
            None => Ok(()),
        }
    }

    pub(super) fn check_group_room(&self, group: &str) -> Result<()> {
        let groups = self.state.groups.lock();
        if groups.get(group).is_none() && groups.len() >= limits::GROUPS_MAX {
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
}

/// What one says who only joins or leaves.
fn plain(session: u64, group: String, member_id: MemberId, generation: i32) -> Heartbeat {
    Heartbeat {
        ticket: 0,
        session,
        lifetime: Lifetime::Exclusive,
        group,
        member_id,
        generation,
        instance_id: None,
        client_name: String::new(),
        host: String::new(),
        topics: BTreeSet::new(),
        assignor: Assignor::Sticky,
        session_timeout: 2 * UNHURRIED,
        rebalance_timeout: UNHURRIED,
        heartbeat: UNHURRIED,
        owned: BTreeSet::new(),
    }
}

/// The heartbeat that was asked for, if it is one.
fn checked(session: u64, lifetime: Lifetime, wanted: GroupHeartbeat) -> Result<Heartbeat> {
    check_group_id(&wanted.group)?;
    let GroupHeartbeat {
        group, member_id, ..
    } = &wanted;
    let about = |what: &str| refused(group, member_id, what);
    check_name("member_id", member_id).map_err(|what| about(&what))?;
    if member_id.starts_with(OWN_MEMBER_PREFIX) {
        let what = format!("ids that begin with `{OWN_MEMBER_PREFIX}` are the broker's own");
        return Err(about(&what));
    }
    if member_id.starts_with(LISTED_PREFIX) {
        let what = format!("ids that begin with `{LISTED_PREFIX}` are those of Kafka's clients");
        return Err(about(&what));
    }
    if let Some(instance_id) = &wanted.instance_id {
        check_name("instance_id", instance_id).map_err(|what| about(&what))?;
    }
    if wanted.client_name.len() > limits::NAME_BYTES_MAX {
        return Err(about(&format!(
            "its client_name has {} bytes; at most {} are allowed",
            wanted.client_name.len(),
            limits::NAME_BYTES_MAX
        )));
    }
    let assignor = Assignor::from_name(&wanted.assignor).ok_or_else(|| {
        let found = wanted.assignor.escape_debug();
        about(&format!(
            "its assignor is `{found}`; it must be `sticky`, `range` or `round_robin`"
        ))
    })?;
    check_times(&wanted).map_err(|what| about(&what))?;
    Ok(Heartbeat {
        lifetime,
        instance_id: wanted.instance_id.map(Arc::from),
        client_name: wanted.client_name,
        topics: wanted.topics.into_iter().map(Arc::from).collect(),
        assignor,
        session_timeout: Duration::from_millis(wanted.session_timeout_ms.into()),
        rebalance_timeout: Duration::from_millis(wanted.rebalance_timeout_ms.into()),
        heartbeat: Duration::from_millis(wanted.heartbeat_ms.into()),
        owned: owned(wanted.owned),
        ..plain(
            session,
            wanted.group,
            MemberId::from(wanted.member_id),
            wanted.generation,
        )
    })
}

fn owned(topics: Vec<TopicPartitions>) -> BTreeSet<TopicPartition> {
    let mut owned = BTreeSet::new();
    for TopicPartitions { topic, partitions } in topics {
        let topic = Arc::<str>::from(topic);
        owned.extend(partitions.into_iter().map(|partition| TopicPartition {
            topic: Arc::clone(&topic),
            partition,
        }));
    }
    owned
}

fn check_name(what: &str, name: &str) -> Result<(), String> {
    let is_plain = !name.chars().any(char::is_control);
    if name.is_empty() || name.len() > limits::NAME_BYTES_MAX || !is_plain {
        let most = limits::NAME_BYTES_MAX;
        return Err(format!(
            "its {what} must have 1 to {most} bytes and no control characters"
        ));
    }
    Ok(())
}

/// What the numbers must be among each other is the coordinator's to check.
fn check_times(wanted: &GroupHeartbeat) -> Result<(), String> {
    let range = limits::GROUP_TIMEOUT_MS_MIN..=limits::GROUP_TIMEOUT_MS_MAX;
    let beats = limits::GROUP_HEARTBEAT_MS_MIN..=limits::GROUP_TIMEOUT_MS_MAX;
    for (name, found, range) in [
        ("session_timeout_ms", wanted.session_timeout_ms, &range),
        ("rebalance_timeout_ms", wanted.rebalance_timeout_ms, &range),
        ("heartbeat_ms", wanted.heartbeat_ms, &beats),
    ] {
        if !range.contains(&found) {
            return Err(format!(
                "its {name} is {found}; it must be {} to {}",
                range.start(),
                range.end()
            ));
        }
    }
    Ok(())
}

fn refused(group: &str, member: &str, what: &str) -> Error {
    Error::new(
        ErrorCode::InvalidRequest,
        format!(
            "heartbeat of member `{}` of group `{}`: {what}",
            member.escape_debug(),
            group.escape_debug()
        ),
    )
}
