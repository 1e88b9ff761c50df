//! What a member commits, and where it begins in what it is assigned.

use std::time::Duration;

use headwater::testing::simulation::{NATIVE_GROUP, Stage};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::{
    ListOffsetsRequest, ListOffsetsResponse, OffsetCommitRequest, OffsetCommitResponse,
    OffsetFetchRequest, OffsetFetchResponse,
};

use super::consumer::Position;
use super::member::{Heard, Member, Over, code};
use crate::kafka::groups::{group_id, text, topic_name};

/// How long an answer may take.
const WITHIN: Duration = Duration::from_secs(5);

/// The timestamp that stands for the first record there is.
const EARLIEST: i64 = -2;

impl Member {
    /// Commits what was processed, or, which is a bug, what was read.
    pub(super) async fn commit(&mut self, is_ahead: bool) -> Result<(), Over> {
        let done = |position: &Position| match is_ahead {
            true => position.next,
            false => position.processed,
        };
        let changed = self.positions.iter().filter(|it| done(it) > it.committed);
        let offsets: Vec<_> = changed.map(|it| (it.partition, done(it))).collect();
        if offsets.is_empty() {
            return Ok(());
        }
        let partitions = offsets.iter().map(|(partition, offset)| {
            OffsetCommitRequestPartition::default()
                .with_partition_index(*partition)
                .with_committed_offset(*offset)
                .with_committed_metadata(Some(text(&said(*offset))))
        });
        let topic = OffsetCommitRequestTopic::default()
            .with_name(topic_name(self.stage.topic()))
            .with_partitions(partitions.collect());
        let request = OffsetCommitRequest::default()
            .with_group_id(group_id(self.group))
            .with_generation_id_or_member_epoch(self.generation)
            .with_member_id(text(&self.id))
            .with_group_instance_id(self.instance_id())
            .with_topics(vec![topic]);
        let stage = self.stage.clone();
        let history = stage.history();
        let asked = history.commit_asked(self.group, self.generation, self.name(), &offsets);
        let version = self.versions.commit;
        let heard: Heard<OffsetCommitResponse> = self.ask((8, version), &request, WITHIN).await;
        let Heard::Answer(answer) = heard else {
            self.note(format!("commits {offsets:?}: nobody knows"));
            return Ok(());
        };
        let answers = answer.topics.iter().flat_map(|topic| &topic.partitions);
        let codes = answers.map(|it| it.error_code);
        // All are answered alike: the whole is one entry.
        let code = codes.max().unwrap_or(code::NONE);
        self.note(format!("commits {offsets:?}: {code}"));
        match code {
            code::NONE => {
                history.commit_done(&asked);
                for (partition, offset) in offsets {
                    let mut positions = self.positions.iter_mut();
                    if let Some(position) = positions.find(|it| it.partition == partition) {
                        position.committed = offset;
                    }
                }
            }
            code::ILLEGAL_GENERATION
            | code::UNKNOWN_MEMBER_ID
            | code::REBALANCE_IN_PROGRESS
            | code::FENCED_INSTANCE_ID => history.commit_refused(&asked),
            _ => {}
        }
        self.mind(code).await
    }

    /// Asks for what is committed for what it is assigned, and begins there; says whether it could.
    pub(super) async fn begin(&mut self, held: &[i32]) -> Result<bool, Over> {
        self.positions.clear();
        if held.is_empty() {
            return Ok(true);
        }
        let version = self.versions.fetch;
        let request = asked(version, self.group, &self.stage, held);
        let answer: OffsetFetchResponse = match self.ask((9, version), &request, WITHIN).await {
            Heard::Answer(answer) => answer,
            Heard::Nothing => return Ok(false),
        };
        let Some(found) = told(version, answer) else {
            self.stage.pause(200).await;
            return Ok(false);
        };
        let stage = self.stage.clone();
        let history = stage.history();
        for (partition, committed, metadata) in found {
            // Native members note nothing.
            let is_native = metadata.is_empty() && self.group == NATIVE_GROUP;
            if committed >= 0 && metadata != said(committed) && !is_native {
                history.fail(format!(
                    "offset {committed} of partition {partition} is committed with `{metadata}`"
                ));
            }
            history.begins(self.group, self.generation, partition, committed.max(0));
            let at = match committed {
                0.. => committed,
                _ => match self.earliest(partition).await {
                    Some(earliest) => earliest,
                    None => return Ok(false),
                },
            };
            self.positions.push(Position {
                partition,
                next: at,
                processed: at,
                committed: at,
                leader_epoch: -1,
            });
        }
        if self.positions.len() != held.len() {
            history.fail(format!("of {held:?} only {:?} are told", self.positions));
        }
        Ok(true)
    }

    async fn earliest(&mut self, partition: i32) -> Option<i64> {
        let version = self.stage.among(&[1, 5, 7]);
        let wanted = ListOffsetsPartition::default()
            .with_partition_index(partition)
            .with_timestamp(EARLIEST);
        let topic = ListOffsetsTopic::default()
            .with_name(topic_name(self.stage.topic()))
            .with_partitions(vec![wanted]);
        let mut request = ListOffsetsRequest::default().with_topics(vec![topic]);
        request.replica_id.0 = -1;
        let heard: Heard<ListOffsetsResponse> = self.ask((2, version), &request, WITHIN).await;
        let Heard::Answer(answer) = heard else {
            return None;
        };
        let found = answer.topics.first()?.partitions.first()?;
        let (code, offset) = (found.error_code, found.offset);
        self.note(format!(
            "partition {partition} begins at {offset}, code {code}"
        ));
        (code == code::NONE).then_some(offset)
    }
}

/// What is noted beside a committed offset.
fn said(offset: i64) -> String {
    format!("before {offset}")
}

fn asked(version: i16, group: &str, stage: &Stage, held: &[i32]) -> OffsetFetchRequest {
    let name = topic_name(stage.topic());
    if version >= 8 {
        let topic = OffsetFetchRequestTopics::default()
            .with_name(name)
            .with_partition_indexes(held.to_vec());
        let group = OffsetFetchRequestGroup::default()
            .with_group_id(group_id(group))
            .with_topics(Some(vec![topic]));
        return OffsetFetchRequest::default().with_groups(vec![group]);
    }
    let topic = OffsetFetchRequestTopic::default()
        .with_name(name)
        .with_partition_indexes(held.to_vec());
    OffsetFetchRequest::default()
        .with_group_id(group_id(group))
        .with_topics(Some(vec![topic]))
}

/// Partitions, what is committed for each, and what is noted beside it; none if that is not told.
fn told(version: i16, answer: OffsetFetchResponse) -> Option<Vec<(i32, i64, String)>> {
    let words = |metadata: Option<kafka_protocol::protocol::StrBytes>| {
        metadata.map(|it| it.to_string()).unwrap_or_default()
    };
    if version >= 8 {
        let group = answer.groups.into_iter().next()?;
        if group.error_code != code::NONE {
            return None;
        }
        let partitions = group.topics.into_iter().flat_map(|topic| topic.partitions);
        let partitions = partitions.filter(|it| it.error_code == code::NONE);
        let found =
            partitions.map(|it| (it.partition_index, it.committed_offset, words(it.metadata)));
        return Some(found.collect());
    }
    if answer.error_code != code::NONE {
        return None;
    }
    let partitions = answer.topics.into_iter().flat_map(|topic| topic.partitions);
    let partitions = partitions.filter(|it| it.error_code == code::NONE);
    let found = partitions.map(|it| (it.partition_index, it.committed_offset, words(it.metadata)));
    Some(found.collect())
}
