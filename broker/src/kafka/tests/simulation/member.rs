//! A member of a group of Kafka's classic protocol: joining, sharing out, heartbeats and commits.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use headwater::testing::simulation::{NATIVE_GROUP, Signal, Stage};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, SyncGroupRequest, SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;
use tokio::time::Instant;

use super::consumer::{Position, subscription};
use super::line::Line;
use crate::kafka::groups::{group_id, text};

/// Kafka's codes that a member minds.
pub(super) mod code {
    pub(in super::super) const NONE: i16 = 0;
    pub(in super::super) const COORDINATOR_LOAD_IN_PROGRESS: i16 = 14;
    pub(in super::super) const COORDINATOR_NOT_AVAILABLE: i16 = 15;
    pub(in super::super) const NOT_COORDINATOR: i16 = 16;
    pub(in super::super) const ILLEGAL_GENERATION: i16 = 22;
    pub(in super::super) const INCONSISTENT_GROUP_PROTOCOL: i16 = 23;
    pub(in super::super) const UNKNOWN_MEMBER_ID: i16 = 25;
    pub(in super::super) const REBALANCE_IN_PROGRESS: i16 = 27;
    pub(in super::super) const MEMBER_ID_REQUIRED: i16 = 79;
    pub(in super::super) const FENCED_INSTANCE_ID: i16 = 82;
}

/// Another has taken its place: it does not come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Over;

/// The versions that it speaks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Versions {
    join: i16,
    sync: i16,
    heartbeat: i16,
    leave: i16,
    pub(super) commit: i16,
    pub(super) fetch: i16,
}

/// See the module.
pub(super) struct Member {
    pub(super) stage: Stage,
    pub(super) group: &'static str,
    number: usize,
    pub(super) versions: Versions,
    session_timeout_ms: i32,
    rebalance_timeout_ms: i32,
    heartbeat: Duration,
    line: Option<Line>,
    pub(super) id: String,
    pub(super) instance: Option<String>,
    pub(super) generation: i32,
    /// What it holds; none while it is not in a generation.
    pub(super) positions: Vec<Position>,
    /// Counts what it was assigned.
    pub(super) assignment: u64,
    is_joined: bool,
    is_called: bool,
    heard: Instant,
}

/// What became of a request.
pub(super) enum Heard<A> {
    Answer(A),
    /// Nobody knows.
    Nothing,
}

impl Member {
    pub(super) fn new(
        stage: Stage,
        group: &'static str,
        number: usize,
        instance: Option<String>,
    ) -> Self {
        let of = |all: &[i16], with_instances: i16| {
            let first = if instance.is_some() {
                with_instances
            } else {
                0
            };
            let all: Vec<_> = all.iter().copied().filter(|it| *it >= first).collect();
            stage.among(&all)
        };
        let versions = Versions {
            join: of(&[2, 4, 5, 9], 5),
            sync: of(&[1, 3, 5], 3),
            heartbeat: of(&[1, 3, 4], 3),
            leave: of(&[1, 3, 5], 3),
            commit: of(&[2, 5, 7, 9], 7),
            fetch: of(&[1, 5, 7, 9], 0),
        };
        let member = Self {
            group,
            number,
            session_timeout_ms: stage.among(&[1_500, 4_000, 10_000]),
            rebalance_timeout_ms: stage.among(&[1_000, 5_000]),
            heartbeat: Duration::from_millis(stage.among(&[200, 500, 1_000])),
            line: None,
            id: String::new(),
            generation: -1,
            positions: Vec::new(),
            assignment: 0,
            is_joined: false,
            is_called: false,
            heard: Instant::now(),
            versions,
            instance,
            stage,
        };
        let (session, rebalance) = (member.session_timeout_ms, member.rebalance_timeout_ms);
        let instance = &member.instance;
        member.note(format!(
            "begins, {instance:?}, {versions:?}, session {session} ms, rebalance {rebalance} ms"
        ));
        member
    }

    pub(super) fn note(&self, what: impl std::fmt::Display) {
        let (number, id, generation) = (self.number, &self.id, self.generation);
        let id = id.get(id.len().saturating_sub(4)..).unwrap_or_default();
        self.stage.note(format!(
            "kafka member {number}, {id} of {generation}: {what}"
        ));
    }

    /// Who it is for the history: an instance stays who it is.
    pub(super) fn name(&self) -> &str {
        self.instance.as_ref().unwrap_or(&self.id)
    }

    pub(super) fn instance_id(&self) -> Option<StrBytes> {
        self.instance.as_deref().map(text)
    }

    /// Whether it is in a generation, as far as it knows.
    pub(super) const fn is_joined(&self) -> bool {
        self.is_joined
    }

    /// Whether it is to join again.
    pub(super) const fn is_called(&self) -> bool {
        self.is_called
    }

    /// How long until it has to say that it lives.
    pub(super) fn until_beat(&self) -> Duration {
        self.heartbeat.saturating_sub(self.heard.elapsed())
    }

    /// Lets go of what it holds, to join again.
    pub(super) fn give_up(&mut self) {
        self.is_joined = false;
        self.is_called = false;
        self.positions.clear();
    }

    /// A record was processed.
    pub(super) fn processed(&mut self, partition: i32, offset: i64) {
        let mut positions = self.positions.iter_mut();
        if let Some(position) = positions.find(|it| it.partition == partition) {
            position.processed = offset + 1;
        }
    }

    /// Asks its coordinator; without an answer the connection is over.
    pub(super) async fn ask<Q, A>(
        &mut self,
        (key, version): (i16, i16),
        request: &Q,
        within: Duration,
    ) -> Heard<A>
    where
        Q: kafka_protocol::protocol::Encodable + kafka_protocol::protocol::HeaderVersion,
        A: kafka_protocol::protocol::Decodable + kafka_protocol::protocol::HeaderVersion,
    {
        if self.line.is_none() {
            let within = Duration::from_secs(3);
            self.line = Line::open(&self.stage, self.number, within).await;
        }
        if let Some(line) = &mut self.line {
            match line.ask_within(key, version, request, within).await {
                Ok(answer) => return Heard::Answer(answer),
                Err(error) => self.note(format!("api {key}: {error}")),
            }
        }
        self.line = None;
        self.stage.pause(200).await;
        Heard::Nothing
    }

    /// What a code says of itself: whether to join again, under which id, and where.
    pub(super) async fn mind(&mut self, code: i16) -> Result<(), Over> {
        match code {
            code::NONE => {}
            code::FENCED_INSTANCE_ID => return Err(Over),
            code::UNKNOWN_MEMBER_ID => {
                self.id.clear();
                self.give_up();
            }
            code::ILLEGAL_GENERATION => self.give_up(),
            code::REBALANCE_IN_PROGRESS => self.is_called = true,
            // The group is of the other kind as long as it has members.
            code::INCONSISTENT_GROUP_PROTOCOL if self.group == NATIVE_GROUP => {
                self.stage.pause(1_000).await;
            }
            code::COORDINATOR_LOAD_IN_PROGRESS
            | code::COORDINATOR_NOT_AVAILABLE
            | code::NOT_COORDINATOR => {
                self.line = None;
                self.stage.pause(200).await;
            }
            _ => {
                let history = self.stage.history();
                history.fail(format!("a member is told code {code}"));
                self.give_up();
                self.stage.pause(200).await;
            }
        }
        Ok(())
    }

    /// Joins, however long it takes.
    pub(super) async fn join(&mut self, stop: &Signal) -> Result<(), Over> {
        while !self.is_joined && !stop.is_set() {
            let Some(told) = self.join_once().await? else {
                continue;
            };
            let Some(held) = self.sync(&told).await? else {
                continue;
            };
            self.note(format!("holds {held:?}"));
            let history = self.stage.history();
            history.granted(self.group, self.generation, self.name(), &held);
            self.heard = Instant::now();
            self.assignment += 1;
            // Another rebalance may have begun: that the next heartbeat says.
            self.is_called = false;
            self.is_joined = self.begin(&held).await?;
        }
        Ok(())
    }

    async fn join_once(&mut self) -> Result<Option<JoinGroupResponse>, Over> {
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(text("range"))
            .with_metadata(subscription(self.stage.topic()));
        let request = JoinGroupRequest::default()
            .with_group_id(group_id(self.group))
            .with_session_timeout_ms(self.session_timeout_ms)
            .with_rebalance_timeout_ms(self.rebalance_timeout_ms)
            .with_member_id(text(&self.id))
            .with_group_instance_id(self.instance_id())
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![protocol]);
        // Every member may take its rebalance timeout until it joins, and after a restart 10 s are waited for all; but it
        // may as well lose patience, and join again.
        let within = Duration::from_millis(self.stage.among(&[1_500, 15_000]));
        let version = self.versions.join;
        let told: JoinGroupResponse = match self.ask((11, version), &request, within).await {
            Heard::Answer(told) => told,
            Heard::Nothing => return Ok(None),
        };
        match told.error_code {
            code::NONE => {
                self.id = told.member_id.to_string();
                self.generation = told.generation_id;
                self.note(format!("joins, led by {:?}", told.leader));
                self.stage.history().joined(self.group, told.generation_id);
                Ok(Some(told))
            }
            code::MEMBER_ID_REQUIRED => {
                self.id = told.member_id.to_string();
                Ok(None)
            }
            code => {
                self.note(format!("does not join: {code}"));
                self.mind(code).await?;
                if code == code::REBALANCE_IN_PROGRESS {
                    self.stage.pause(100).await;
                }
                Ok(None)
            }
        }
    }

    /// Brings the assignments, if it is the leader, and asks for its own.
    async fn sync(&mut self, told: &JoinGroupResponse) -> Result<Option<Vec<i32>>, Over> {
        let mut request = SyncGroupRequest::default()
            .with_group_id(group_id(self.group))
            .with_generation_id(self.generation)
            .with_member_id(text(&self.id))
            .with_group_instance_id(self.instance_id());
        if self.versions.sync >= 5 {
            request.protocol_type = Some(text("consumer"));
            request.protocol_name = Some(text("range"));
        }
        if told.leader == told.member_id && !told.skip_assignment {
            request.assignments = self.share_out(told);
        }
        let within = Duration::from_secs(15);
        let version = self.versions.sync;
        let synced: SyncGroupResponse = match self.ask((14, version), &request, within).await {
            Heard::Answer(synced) => synced,
            Heard::Nothing => return Ok(None),
        };
        if synced.error_code != code::NONE {
            self.note(format!("is assigned nothing: {}", synced.error_code));
            self.mind(synced.error_code).await?;
            return Ok(None);
        }
        Ok(Some(partitions(self.stage.topic(), &synced.assignment)))
    }

    /// Every partition to one of the members, in each generation to another.
    fn share_out(&self, told: &JoinGroupResponse) -> Vec<SyncGroupRequestAssignment> {
        let mut shares: BTreeMap<&str, Vec<i32>> = told
            .members
            .iter()
            .map(|member| (member.member_id.as_str(), Vec::new()))
            .collect();
        let count = shares.len().max(1);
        for partition in 0..self.stage.partitions() {
            let place = (partition + self.generation) as usize % count;
            if let Some(share) = shares.values_mut().nth(place) {
                share.push(partition);
            }
        }
        let shares = shares.into_iter().map(|(member, share)| {
            SyncGroupRequestAssignment::default()
                .with_member_id(text(member))
                .with_assignment(assignment(self.stage.topic(), &share))
        });
        shares.collect()
    }

    /// Says that it lives, if it is time to.
    pub(super) async fn beat_if_due(&mut self) -> Result<(), Over> {
        if !self.is_joined || self.heard.elapsed() < self.heartbeat {
            return Ok(());
        }
        let request = HeartbeatRequest::default()
            .with_group_id(group_id(self.group))
            .with_generation_id(self.generation)
            .with_member_id(text(&self.id))
            .with_group_instance_id(self.instance_id());
        let within = Duration::from_millis(self.session_timeout_ms.unsigned_abs().into());
        let version = self.versions.heartbeat;
        let told: HeartbeatResponse = match self.ask((12, version), &request, within).await {
            Heard::Answer(told) => told,
            Heard::Nothing => return Ok(()),
        };
        self.heard = Instant::now();
        if told.error_code != code::NONE {
            self.note(format!("is told {}", told.error_code));
        }
        self.mind(told.error_code).await
    }

    /// Says that it leaves; whether that is heard does not matter.
    pub(super) async fn leave(&mut self) {
        if self.id.is_empty() {
            return;
        }
        let mut request = LeaveGroupRequest::default().with_group_id(group_id(self.group));
        let version = self.versions.leave;
        if version < 3 {
            request.member_id = text(&self.id);
        } else {
            let leaver = MemberIdentity::default().with_member_id(text(&self.id));
            request.members = vec![leaver];
        }
        let within = Duration::from_secs(3);
        let left: Heard<LeaveGroupResponse> = self.ask((13, version), &request, within).await;
        if let Heard::Answer(left) = left {
            self.note(format!("leaves: {}", left.error_code));
        }
    }
}

/// Partitions of the topic, as leaders bring them: version 0 of an assignment.
fn assignment(topic: &str, partitions: &[i32]) -> Bytes {
    let mut bytes = vec![0, 0, 0, 0, 0, 1, 0, topic.len() as u8];
    bytes.extend_from_slice(topic.as_bytes());
    bytes.extend_from_slice(&(partitions.len() as i32).to_be_bytes());
    let all = partitions.iter().flat_map(|it| it.to_be_bytes());
    bytes.extend(all);
    bytes.extend_from_slice(&(-1_i32).to_be_bytes());
    bytes.into()
}

/// What [`assignment`] has put in; nothing for no bytes.
fn partitions(topic: &str, assignment: &Bytes) -> Vec<i32> {
    let begin = 8 + topic.len() + 4;
    let end = assignment.len().saturating_sub(4);
    let bytes = assignment.get(begin..end).unwrap_or_default();
    let all = bytes.chunks_exact(4);
    all.map(|it| i32::from_be_bytes(it.try_into().unwrap()))
        .collect()
}
