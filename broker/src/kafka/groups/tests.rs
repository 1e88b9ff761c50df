//! The APIs of groups against the independent codec of `kafka-protocol`, in every version.

use bytes::Bytes;
use headwater::Completion;
use headwater::protocol::request::{GroupHeartbeat, Request as NativeRequest};
use headwater::service::Run;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse,
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, ListGroupsRequest, ListGroupsResponse, OffsetCommitRequest,
    OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchRequest,
    OffsetFetchResponse, SyncGroupRequest, SyncGroupResponse,
};

use super::*;
use crate::kafka::Kafka;
use crate::kafka::tests::{Client, kafka};

mod bounds;

fn join(version: i16, group: &str, member: &str) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(Bytes::from_static(
            b"\0\0\0\0\0\x01\0\x06orders\xFF\xFF\xFF\xFF",
        ));
    let request = JoinGroupRequest::default()
        .with_group_id(group_id(group))
        .with_session_timeout_ms(10_000)
        .with_member_id(text(member))
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol]);
    let request = if version >= 1 {
        request.with_rebalance_timeout_ms(60_000)
    } else {
        request
    };
    if version >= 8 {
        return request.with_reason(Some(text("it begins")));
    }
    request
}

/// Joins as clients do: where it is asked to, a second time.
async fn joined(client: &mut Client, version: i16, group: &str) -> JoinGroupResponse {
    let request = join(version, group, "");
    let told: JoinGroupResponse = client.ask(11, version, &request).await;
    if version < 4 {
        return told;
    }
    assert_eq!(
        (told.error_code, told.generation_id),
        (code::MEMBER_ID_REQUIRED, -1)
    );
    let request = join(version, group, &told.member_id);
    client.ask(11, version, &request).await
}

fn sync(version: i16, group: &str, member: &str, generation: i32) -> SyncGroupRequest {
    let assignment = SyncGroupRequestAssignment::default()
        .with_member_id(text(member))
        .with_assignment(Bytes::from_static(
            b"\0\0\0\0\0\x01\0\x06orders\0\0\0\x01\0\0\0\0\xFF\xFF\xFF\xFF",
        ));
    let request = SyncGroupRequest::default()
        .with_group_id(group_id(group))
        .with_generation_id(generation)
        .with_member_id(text(member))
        .with_assignments(vec![assignment]);
    if version >= 5 {
        return request
            .with_protocol_type(Some(text("consumer")))
            .with_protocol_name(Some(text("range")));
    }
    request
}

fn beat(group: &str, member: &str, generation: i32) -> HeartbeatRequest {
    HeartbeatRequest::default()
        .with_group_id(group_id(group))
        .with_generation_id(generation)
        .with_member_id(text(member))
}

fn leave(version: i16, group: &str, member: &str) -> LeaveGroupRequest {
    let request = LeaveGroupRequest::default().with_group_id(group_id(group));
    if version < 3 {
        return request.with_member_id(text(member));
    }
    let leaver = MemberIdentity::default().with_member_id(text(member));
    request.with_members(vec![leaver])
}

#[tokio::test]
async fn member_joins_syncs_lives_and_leaves_in_every_version() {
    let kafka = kafka(true);
    let mut client = Client::of(&kafka);
    for version in 0..=9 {
        let group = format!("g{version}");
        let told = joined(&mut client, version, &group).await;
        assert_eq!((told.error_code, told.generation_id), (0, 1), "{version}");
        assert_eq!(told.leader, told.member_id);
        assert_eq!(told.protocol_name, Some(text("range")));
        assert_eq!(told.protocol_type, (version >= 7).then(|| text("consumer")));
        let [own] = told.members.as_slice() else {
            panic!("{told:?}")
        };
        assert_eq!(own.member_id, told.member_id);
        assert_eq!(own.metadata[8..14], b"orders"[..]);
        let id = told.member_id.to_string();

        let sync_version = version.min(5);
        let request = sync(sync_version, &group, &id, 1);
        let synced: SyncGroupResponse = client.ask(14, sync_version, &request).await;
        assert_eq!((synced.error_code, synced.assignment.len()), (0, 26));
        let named = (sync_version == 5).then(|| text("range"));
        assert_eq!(synced.protocol_name, named);

        let beat_version = version.min(4);
        let lives: HeartbeatResponse = client.ask(12, beat_version, &beat(&group, &id, 1)).await;
        assert_eq!(lives.error_code, 0);
        let late: HeartbeatResponse = client.ask(12, beat_version, &beat(&group, &id, 0)).await;
        assert_eq!(late.error_code, 22);

        let request = leave(sync_version, &group, &id);
        let left: LeaveGroupResponse = client.ask(13, sync_version, &request).await;
        let of_member = left.members.first().map(|it| it.error_code);
        assert_eq!(
            (left.error_code, of_member),
            (0, (version >= 3).then_some(0))
        );
        let again: LeaveGroupResponse = client.ask(13, sync_version, &request).await;
        let of_member = again
            .members
            .first()
            .map_or(again.error_code, |it| it.error_code);
        assert_eq!(of_member, 25);
        let gone: HeartbeatResponse = client.ask(12, beat_version, &beat(&group, &id, 1)).await;
        assert_eq!(gone.error_code, 25);
    }
}

#[tokio::test]
async fn static_member_comes_back_is_fenced_and_is_removed_by_its_name() {
    let kafka = kafka(true);
    let mut client = Client::of(&kafka);
    for version in 5..=9 {
        let group = format!("g{version}");
        let request = join(version, &group, "").with_group_instance_id(Some(text("i")));
        let first: JoinGroupResponse = client.ask(11, version, &request).await;
        assert_eq!((first.error_code, first.generation_id), (0, 1), "{version}");
        assert_eq!(first.members[0].group_instance_id, Some(text("i")));
        let own = sync(4, &group, &first.member_id, 1).with_group_instance_id(Some(text("i")));
        let synced: SyncGroupResponse = client.ask(14, 4, &own).await;
        assert_eq!(synced.error_code, 0);

        let second: JoinGroupResponse = client.ask(11, version, &request).await;
        assert_eq!((second.error_code, second.generation_id), (0, 1));
        assert_ne!(second.member_id, first.member_id);
        assert_eq!(second.skip_assignment, version >= 9);
        assert_eq!(second.leader == second.member_id, version >= 9);
        let fenced = beat(&group, &first.member_id, 1).with_group_instance_id(Some(text("i")));
        let fenced: HeartbeatResponse = client.ask(12, 3, &fenced).await;
        assert_eq!(fenced.error_code, 82);
        let own = sync(4, &group, &second.member_id, 1).with_group_instance_id(Some(text("i")));
        let synced: SyncGroupResponse = client.ask(14, 4, &own).await;
        assert_eq!((synced.error_code, synced.assignment.len()), (0, 26));

        let by_name = MemberIdentity::default().with_group_instance_id(Some(text("i")));
        let leave = LeaveGroupRequest::default()
            .with_group_id(group_id(&group))
            .with_members(vec![by_name]);
        let left: LeaveGroupResponse = client.ask(13, 3, &leave).await;
        assert_eq!((left.error_code, left.members[0].error_code), (0, 0));
    }
}

#[tokio::test]
async fn connection_that_ends_while_its_member_waits_holds_nobody_up() {
    let kafka = kafka(true);
    let mut one = Client::of(&kafka);
    let told = joined(&mut one, 9, "g").await;
    let request = sync(5, "g", &told.member_id, 1);
    let _: SyncGroupResponse = one.ask(14, 5, &request).await;
    // Version 3: it is a member at once, and is never told its id.
    let mut two = Client::of(&kafka);
    two.send(&Client::frame(11, 3, 1, &join(3, "g", ""))).await;
    while kafka.0.service.group("g").unwrap().members.len() < 2 {
        tokio::task::yield_now().await;
    }
    drop(two);
    while kafka.0.service.group("g").unwrap().members.len() > 1 {
        tokio::task::yield_now().await;
    }
    let request = join(9, "g", &told.member_id);
    let told: JoinGroupResponse = one.ask(11, 9, &request).await;
    assert_eq!((told.error_code, told.generation_id), (0, 2));
}

async fn with_topic(kafka: &Kafka) -> Client {
    let (completion, pending) = Completion::pair();
    let create = NativeRequest::CreateTopic {
        name: "orders".to_owned(),
        config: vec![("partitions".to_owned(), "3".to_owned())],
        exist_ok: false,
    };
    let session = kafka.0.service.session();
    session.submit(create, Bytes::new(), Run::Io, completion);
    pending.await.unwrap();
    Client::of(kafka)
}

fn commit(version: i16, group: &str, member: &str, generation: i32) -> OffsetCommitRequest {
    let partitions = [(0, 7), (9, 1)].map(|(partition, offset)| {
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(partition)
            .with_committed_offset(offset)
            .with_committed_metadata(Some(text("at noon")));
        if version >= 6 {
            return partition.with_committed_leader_epoch(4);
        }
        partition
    });
    let topic = OffsetCommitRequestTopic::default()
        .with_name(topic_name("orders"))
        .with_partitions(partitions.into());
    OffsetCommitRequest::default()
        .with_group_id(group_id(group))
        .with_generation_id_or_member_epoch(generation)
        .with_member_id(text(member))
        .with_topics(vec![topic])
}

fn codes_of(response: &OffsetCommitResponse) -> Vec<i16> {
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|partition| partition.error_code).collect()
}

#[tokio::test]
async fn offsets_are_committed_in_every_version_by_hand_and_by_members() {
    let kafka = kafka(false);
    let mut client = with_topic(&kafka).await;
    for version in 2..=9 {
        let group = format!("g{version}");
        let by_hand: OffsetCommitResponse = client
            .ask(8, version, &commit(version, &group, "", -1))
            .await;
        assert_eq!(codes_of(&by_hand), [0, 3], "{version}");
        assert_eq!(by_hand.topics[0].name, topic_name("orders"));
        let told = joined(&mut client, 9, &group).await;
        let (id, generation) = (told.member_id.to_string(), told.generation_id);
        let mut ask = async |member: &str, generation: i32| {
            let request = commit(version, &group, member, generation);
            codes_of(
                &client
                    .ask::<_, OffsetCommitResponse>(8, version, &request)
                    .await,
            )
        };
        // The leader decides: nobody knows yet what it reads.
        assert_eq!(ask(&id, generation).await, [27, 27]);
        assert_eq!(ask("", -1).await, [25, 25]);
        assert_eq!(ask(&id, generation - 1).await, [22, 22]);
        assert_eq!(ask("nobody", generation).await, [25, 25]);
        let request = sync(5, &group, &id, generation);
        let _: SyncGroupResponse = client.ask(14, 5, &request).await;
        let request = commit(version, &group, &id, generation);
        let by_member: OffsetCommitResponse = client.ask(8, version, &request).await;
        assert_eq!(codes_of(&by_member), [0, 3]);
        let noted = kafka.0.service.session().committed(&group, None).unwrap();
        let epoch = if version >= 6 { 4 } else { -1 };
        assert_eq!((noted[0].offset, noted[0].leader_epoch), (7, epoch));
        assert_eq!(noted[0].metadata, "at noon");
    }
}

#[tokio::test]
async fn offsets_are_fetched_in_every_version() {
    let kafka = kafka(false);
    let mut client = with_topic(&kafka).await;
    let _: OffsetCommitResponse = client.ask(8, 9, &commit(9, "g", "", -1)).await;
    for version in 1..=7 {
        let topic = OffsetFetchRequestTopic::default()
            .with_name(topic_name("orders"))
            .with_partition_indexes(vec![0, 1]);
        let unknown = topic.clone().with_name(topic_name("unknown"));
        let request = OffsetFetchRequest::default()
            .with_group_id(group_id("g"))
            .with_topics(Some(vec![topic, unknown]))
            .with_require_stable(version >= 7);
        let answer: OffsetFetchResponse = client.ask(9, version, &request).await;
        let found = answer.topics.iter().flat_map(|topic| &topic.partitions);
        let found: Vec<_> = found
            .map(|it| (it.partition_index, it.committed_offset, it.error_code))
            .collect();
        assert_eq!(found, [(0, 7, 0), (1, -1, 0), (0, -1, 0), (1, -1, 0)]);
        let first = &answer.topics[0].partitions[0];
        let epoch = if version >= 5 { 4 } else { -1 };
        assert_eq!(first.committed_leader_epoch, epoch);
        assert_eq!(first.metadata, Some(text("at noon")));
        if version >= 2 {
            let all = request.with_topics(None);
            let answer: OffsetFetchResponse = client.ask(9, version, &all).await;
            assert_eq!(answer.topics.len(), 1);
            assert_eq!(answer.topics[0].partitions.len(), 1);
        }
    }
    for version in 8..=9 {
        let topic = OffsetFetchRequestTopics::default()
            .with_name(topic_name("orders"))
            .with_partition_indexes(vec![0, 1]);
        let group = OffsetFetchRequestGroup::default().with_group_id(group_id("g"));
        let some = group.clone().with_topics(Some(vec![topic.clone()]));
        let all = group.with_topics(None);
        let nobody = some.clone().with_group_id(group_id("unknown"));
        let request = OffsetFetchRequest::default()
            .with_groups(vec![some, all, nobody])
            .with_require_stable(true);
        let answer: OffsetFetchResponse = client.ask(9, version, &request).await;
        let found = answer.groups.iter().map(|group| {
            let partitions = group.topics.iter().flat_map(|topic| &topic.partitions);
            let offsets: Vec<_> = partitions.map(|it| it.committed_offset).collect();
            (group.group_id.to_string(), group.error_code, offsets)
        });
        let expected = [
            ("g".to_owned(), 0, vec![7, -1]),
            ("g".to_owned(), 0, vec![7]),
            ("unknown".to_owned(), 0, vec![-1, -1]),
        ];
        assert_eq!(found.collect::<Vec<_>>(), expected, "{version}");
    }
}

#[tokio::test]
async fn offsets_of_what_is_not_read_are_deleted() {
    let kafka = kafka(false);
    let mut client = with_topic(&kafka).await;
    let _: OffsetCommitResponse = client.ask(8, 9, &commit(9, "g", "", -1)).await;
    let partitions =
        [0, 9].map(|it| OffsetDeleteRequestPartition::default().with_partition_index(it));
    let topic = OffsetDeleteRequestTopic::default()
        .with_name(topic_name("orders"))
        .with_partitions(partitions.into());
    let request = OffsetDeleteRequest::default()
        .with_group_id(group_id("g"))
        .with_topics(vec![topic]);
    let told = joined(&mut client, 9, "g").await;
    let refused: OffsetDeleteResponse = client.ask(47, 0, &request).await;
    let codes = |answer: &OffsetDeleteResponse| -> Vec<i16> {
        let partitions = answer.topics[0].partitions.iter();
        partitions.map(|it| it.error_code).collect()
    };
    assert_eq!(codes(&refused)[0], 86);
    let _: LeaveGroupResponse = client.ask(13, 5, &leave(5, "g", &told.member_id)).await;
    let deleted: OffsetDeleteResponse = client.ask(47, 0, &request).await;
    assert_eq!((deleted.error_code, codes(&deleted)), (0, vec![0, 3]));
    assert!(
        kafka
            .0
            .service
            .session()
            .committed("g", None)
            .unwrap()
            .is_empty()
    );
    let unknown = request.with_group_id(group_id("unknown"));
    let unknown: OffsetDeleteResponse = client.ask(47, 0, &unknown).await;
    assert_eq!(unknown.error_code, 69);
}

/// A member of a group of heartbeats, that holds all of `orders`.
async fn native_member(kafka: &Kafka, group: &str) {
    let heartbeat = |generation, owned| {
        NativeRequest::GroupHeartbeat(GroupHeartbeat {
            group: group.to_owned(),
            member_id: "native".to_owned(),
            generation,
            instance_id: None,
            client_name: "native client".to_owned(),
            topics: vec!["orders".to_owned()],
            assignor: "sticky".to_owned(),
            session_timeout_ms: 60_000,
            rebalance_timeout_ms: 60_000,
            heartbeat_ms: 100,
            owned,
        })
    };
    let (completion, pending) = Completion::pair();
    let session = kafka.0.service.remote_session();
    session.submit(heartbeat(0, Vec::new()), Bytes::new(), Run::Io, completion);
    pending.await.unwrap();
    // The membership outlives it.
    drop(session);
}

#[tokio::test]
async fn groups_are_described_listed_and_deleted_in_every_version() {
    let kafka = kafka(false);
    let mut client = with_topic(&kafka).await;
    let told = joined(&mut client, 9, "classic").await;
    let request = sync(5, "classic", &told.member_id, 1);
    let _: SyncGroupResponse = client.ask(14, 5, &request).await;
    native_member(&kafka, "native").await;
    let _: OffsetCommitResponse = client.ask(8, 9, &commit(9, "nobody's", "", -1)).await;
    for version in 0..=6 {
        let ids = ["classic", "native", "nobody's", "unknown"].map(group_id);
        let request = DescribeGroupsRequest::default()
            .with_groups(ids.into())
            .with_include_authorized_operations(version >= 3);
        let answer: DescribeGroupsResponse = client.ask(15, version, &request).await;
        let states = answer.groups.iter().map(|it| it.group_state.to_string());
        let states: Vec<_> = states.collect();
        assert_eq!(states[0], "Stable");
        assert_eq!(states[2..], ["Empty", "Dead"]);
        let codes = answer.groups.iter().map(|it| it.error_code);
        let unknown = if version >= 6 { 69 } else { 0 };
        assert_eq!(codes.collect::<Vec<_>>(), [0, 0, 0, unknown]);
        // Classic, and native as a consumer would look: who holds what.
        for (place, name, length) in [(0, "tests", 26), (1, "native client", 34)] {
            let group = &answer.groups[place];
            assert_eq!(group.protocol_type, text("consumer"));
            let [member] = group.members.as_slice() else {
                panic!("{group:?}")
            };
            assert_eq!(member.client_id, text(name));
            assert_eq!(member.member_assignment.len(), length);
            assert_eq!(member.member_assignment[8..14], b"orders"[..]);
            assert_eq!(member.member_metadata[8..14], b"orders"[..]);
            assert_eq!(group.authorized_operations > 0, version >= 3);
        }
    }
    for version in 0..=5 {
        let mut list = async |states: &[&str], types: &[&str]| -> Vec<String> {
            let request = ListGroupsRequest::default()
                .with_states_filter(states.iter().map(|it| text(it)).collect())
                .with_types_filter(types.iter().map(|it| text(it)).collect());
            let answer: ListGroupsResponse = client.ask(16, version, &request).await;
            assert_eq!(answer.error_code, 0);
            answer
                .groups
                .iter()
                .map(|it| it.group_id.to_string())
                .collect()
        };
        assert_eq!(list(&[], &[]).await, ["classic", "native", "nobody's"]);
        if version >= 4 {
            assert_eq!(list(&["stable", "Empty"], &[]).await[0], "classic");
            assert_eq!(list(&["Empty"], &[]).await, ["nobody's"]);
        }
        if version >= 5 {
            assert_eq!(list(&[], &["Consumer"]).await, ["native"]);
            assert_eq!(list(&[], &["classic"]).await, ["classic", "nobody's"]);
        }
    }
    for version in 0..=2 {
        let _: OffsetCommitResponse = client.ask(8, 9, &commit(9, "nobody's", "", -1)).await;
        let ids = ["classic", "native", "nobody's", "unknown"].map(group_id);
        let request = DeleteGroupsRequest::default().with_groups_names(ids.into());
        let answer: DeleteGroupsResponse = client.ask(42, version, &request).await;
        let codes = answer.results.iter().map(|it| it.error_code);
        assert_eq!(codes.collect::<Vec<_>>(), [68, 68, 0, 69]);
    }
}
