//! Requests as clients write them: for each API in each version at least one, with something in every list.

use bytes::{BufMut, Bytes, BytesMut};
use headwater::record::{BatchBuilder, Codec, Compressor, RecordRef};
use kafka_protocol::messages::alter_configs_request as alter;
use kafka_protocol::messages::create_partitions_request as grow;
use kafka_protocol::messages::create_topics_request as create;
use kafka_protocol::messages::delete_records_request as delete_records;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::fetch_request as fetch;
use kafka_protocol::messages::incremental_alter_configs_request as change;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::list_offsets_request as list;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_commit_request as commit;
use kafka_protocol::messages::offset_delete_request as offset_delete;
use kafka_protocol::messages::offset_fetch_request as offset_fetch;
use kafka_protocol::messages::offset_for_leader_epoch_request as epochs;
use kafka_protocol::messages::produce_request as produce;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    AlterConfigsRequest, ApiVersionsRequest, BrokerId, CreatePartitionsRequest,
    CreateTopicsRequest, DeleteGroupsRequest, DeleteRecordsRequest, DeleteTopicsRequest,
    DescribeClusterRequest, DescribeConfigsRequest, DescribeGroupsRequest, FetchRequest,
    FindCoordinatorRequest, GroupId, HeartbeatRequest, IncrementalAlterConfigsRequest,
    InitProducerIdRequest, JoinGroupRequest, LeaveGroupRequest, ListGroupsRequest,
    ListOffsetsRequest, MetadataRequest, OffsetCommitRequest, OffsetDeleteRequest,
    OffsetFetchRequest, OffsetForLeaderEpochRequest, ProduceRequest, RequestHeader,
    SyncGroupRequest, TopicName,
};
use kafka_protocol::protocol::{Encodable, HeaderVersion, StrBytes};

use super::Api;

/// Topics that are there.
pub(super) const TOPICS: [&str; 2] = ["orders", "payments"];
/// A group that has committed.
pub(super) const GROUP: &str = "billing";

/// Well-formed requests of an API, without their lengths.
pub(super) fn of(api: &Api) -> Vec<Vec<u8>> {
    api.versions()
        .flat_map(|version| requests(api.key, version))
        .collect()
}

/// The first and the last version of an API, one behind the other as they go over a connection.
pub(super) fn streams(api: &Api) -> Option<Vec<u8>> {
    let seeds = of(api);
    let (first, last) = (seeds.first()?, seeds.last()?);
    let mut stream = BytesMut::new();
    for seed in [first, last] {
        stream.put_u32(u32::try_from(seed.len()).ok()?);
        stream.extend_from_slice(seed);
    }
    Some(stream.to_vec())
}

/// A record batch.
pub(super) fn batch(codec: Option<Codec>) -> Vec<u8> {
    let mut builder = BatchBuilder::new(0);
    for timestamp_ms in 1..=3 {
        let record = RecordRef {
            timestamp_ms,
            key: Some(b"key"),
            value: Some(b"value of some length, and again: value of some length"),
            ..RecordRef::default()
        };
        builder.push(&record).expect("well formed");
    }
    let batch = match codec {
        None => builder.finish(-1, -1, -1),
        Some(codec) => {
            let mut compressor = Compressor::new(codec).expect("every codec is built in");
            builder.finish_compressed(&mut compressor, 1, 0, 0)
        }
    };
    batch.expect("there are records")
}

/// A request as `kafka-protocol` writes it, without its length.
fn frame<M: Encodable + HeaderVersion>(key: i16, version: i16, message: &M) -> Vec<u8> {
    let header = RequestHeader::default()
        .with_request_api_key(key)
        .with_request_api_version(version)
        .with_correlation_id(1)
        .with_client_id(Some(StrBytes::from_static_str("tests")));
    let mut frame = BytesMut::new();
    let encoded = header.encode(&mut frame, M::header_version(version));
    encoded.expect("a header of a version that is spoken");
    let encoded = message.encode(&mut frame, version);
    encoded.expect("a request of a version that is spoken");
    frame.to_vec()
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn topic_name() -> TopicName {
    TopicName(text(TOPICS[0]))
}

fn group_id() -> GroupId {
    GroupId(text(GROUP))
}

fn requests(key: i16, version: i16) -> Vec<Vec<u8>> {
    match key {
        0 => [
            None,
            Some(Codec::Gzip),
            Some(Codec::Snappy),
            Some(Codec::Lz4),
            Some(Codec::Zstd),
        ]
        .map(|codec| frame(key, version, &produce_of(version, codec)))
        .to_vec(),
        1..=3 | 10 | 18 | 21..=23 | 60 => records_and_lookups(key, version),
        8 | 9 | 11..=16 | 42 | 47 => groups(key, version),
        _ => administration(key, version),
    }
}

fn produce_of(version: i16, codec: Option<Codec>) -> ProduceRequest {
    let partition =
        produce::PartitionProduceData::default().with_records(Some(batch(codec).into()));
    let mut topic = produce::TopicProduceData::default().with_partition_data(vec![partition]);
    if version < 13 {
        topic.name = topic_name();
    }
    ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(1_000)
        .with_topic_data(vec![topic])
}

fn fetch_of(version: i16) -> FetchRequest {
    let row = fetch::FetchPartition::default().with_partition_max_bytes(1 << 20);
    let mut topic = fetch::FetchTopic::default().with_partitions(vec![row]);
    if version < 13 {
        topic.topic = topic_name();
    }
    FetchRequest::default()
        .with_max_bytes(1 << 20)
        .with_topics(vec![topic])
}

fn records_and_lookups(key: i16, version: i16) -> Vec<Vec<u8>> {
    let request = match key {
        1 => frame(key, version, &fetch_of(version)),
        2 => {
            let topic = list::ListOffsetsTopic::default()
                .with_name(topic_name())
                .with_partitions(vec![list::ListOffsetsPartition::default()]);
            let request = ListOffsetsRequest::default().with_topics(vec![topic]);
            frame(key, version, &request)
        }
        3 => {
            let topic = MetadataRequestTopic::default().with_name(Some(topic_name()));
            let request = MetadataRequest::default().with_topics(Some(vec![topic]));
            frame(key, version, &request)
        }
        10 => {
            let mut request = FindCoordinatorRequest::default();
            if version >= 4 {
                request.coordinator_keys = vec![text(GROUP)];
            } else {
                request.key = text(GROUP);
            }
            frame(key, version, &request)
        }
        18 => {
            let mut request = ApiVersionsRequest::default();
            if version >= 3 {
                request.client_software_name = text("tests");
                request.client_software_version = text("1.0");
            }
            frame(key, version, &request)
        }
        21 => {
            let partition = delete_records::DeleteRecordsPartition::default().with_offset(1);
            let topic = delete_records::DeleteRecordsTopic::default()
                .with_name(topic_name())
                .with_partitions(vec![partition]);
            let request = DeleteRecordsRequest::default().with_topics(vec![topic]);
            frame(key, version, &request)
        }
        22 => frame(key, version, &InitProducerIdRequest::default()),
        23 => {
            let topic = epochs::OffsetForLeaderTopic::default()
                .with_topic(topic_name())
                .with_partitions(vec![epochs::OffsetForLeaderPartition::default()]);
            let request = OffsetForLeaderEpochRequest::default().with_topics(vec![topic]);
            frame(key, version, &request)
        }
        _ => frame(key, version, &DescribeClusterRequest::default()),
    };
    vec![request]
}

fn groups(key: i16, version: i16) -> Vec<Vec<u8>> {
    let request = match key {
        8 => frame(key, version, &commit_of(version)),
        9 => frame(key, version, &offset_fetch_of(version)),
        11 => frame(key, version, &join_of(version)),
        12 => {
            let request = HeartbeatRequest::default()
                .with_group_id(group_id())
                .with_generation_id(1)
                .with_member_id(text("m"));
            frame(key, version, &request)
        }
        13 => {
            let mut request = LeaveGroupRequest::default().with_group_id(group_id());
            if version < 3 {
                request.member_id = text("m");
            } else {
                request.members = vec![MemberIdentity::default().with_member_id(text("m"))];
            }
            frame(key, version, &request)
        }
        14 => {
            let assigned = SyncGroupRequestAssignment::default()
                .with_member_id(text("m"))
                .with_assignment(Bytes::from_static(
                    b"\0\0\0\0\0\x01\0\x06orders\0\0\0\x01\0\0\0\0\xFF\xFF\xFF\xFF",
                ));
            let request = SyncGroupRequest::default()
                .with_group_id(group_id())
                .with_generation_id(1)
                .with_member_id(text("m"))
                .with_assignments(vec![assigned]);
            frame(key, version, &request)
        }
        15 => {
            let request = DescribeGroupsRequest::default().with_groups(vec![group_id()]);
            frame(key, version, &request)
        }
        16 => frame(key, version, &ListGroupsRequest::default()),
        42 => {
            let request = DeleteGroupsRequest::default().with_groups_names(vec![group_id()]);
            frame(key, version, &request)
        }
        _ => {
            let partition = offset_delete::OffsetDeleteRequestPartition::default();
            let topic = offset_delete::OffsetDeleteRequestTopic::default()
                .with_name(topic_name())
                .with_partitions(vec![partition]);
            let request = OffsetDeleteRequest::default()
                .with_group_id(group_id())
                .with_topics(vec![topic]);
            frame(key, version, &request)
        }
    };
    vec![request]
}

fn commit_of(version: i16) -> OffsetCommitRequest {
    let mut partition = commit::OffsetCommitRequestPartition::default()
        .with_committed_offset(1)
        .with_committed_metadata(Some(text("at noon")));
    if version >= 6 {
        partition.committed_leader_epoch = 1;
    }
    let topic = commit::OffsetCommitRequestTopic::default()
        .with_name(topic_name())
        .with_partitions(vec![partition]);
    OffsetCommitRequest::default()
        .with_group_id(group_id())
        .with_topics(vec![topic])
}

fn offset_fetch_of(version: i16) -> OffsetFetchRequest {
    if version >= 8 {
        let topic = offset_fetch::OffsetFetchRequestTopics::default()
            .with_name(topic_name())
            .with_partition_indexes(vec![0, 1]);
        let group = offset_fetch::OffsetFetchRequestGroup::default().with_group_id(group_id());
        let some = group.clone().with_topics(Some(vec![topic]));
        let all = group.with_topics(None);
        return OffsetFetchRequest::default().with_groups(vec![some, all]);
    }
    let topic = offset_fetch::OffsetFetchRequestTopic::default()
        .with_name(topic_name())
        .with_partition_indexes(vec![0, 1]);
    OffsetFetchRequest::default()
        .with_group_id(group_id())
        .with_topics(Some(vec![topic]))
}

fn join_of(version: i16) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(Bytes::from_static(
            b"\0\0\0\0\0\x01\0\x06orders\xFF\xFF\xFF\xFF",
        ));
    let mut request = JoinGroupRequest::default()
        .with_group_id(GroupId(text("readers")))
        .with_session_timeout_ms(10_000)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol]);
    if version >= 1 {
        request.rebalance_timeout_ms = 60_000;
    }
    request
}

fn administration(key: i16, version: i16) -> Vec<Vec<u8>> {
    let request = match key {
        19 => frame(key, version, &create_of()),
        20 => {
            let mut request = DeleteTopicsRequest::default();
            if version < 6 {
                request.topic_names = vec![topic_name()];
            } else {
                let topic = DeleteTopicState::default().with_name(Some(topic_name()));
                request.topics = vec![topic];
            }
            frame(key, version, &request)
        }
        32 => {
            let resource = DescribeConfigsResource::default()
                .with_resource_type(2)
                .with_resource_name(text(TOPICS[0]))
                .with_configuration_keys(None);
            let request = DescribeConfigsRequest::default()
                .with_resources(vec![resource])
                .with_include_synonyms(true);
            frame(key, version, &request)
        }
        33 => {
            let config = alter::AlterableConfig::default()
                .with_name(text("retention.ms"))
                .with_value(Some(text("1000")));
            let resource = alter::AlterConfigsResource::default()
                .with_resource_type(2)
                .with_resource_name(text(TOPICS[0]))
                .with_configs(vec![config]);
            let request = AlterConfigsRequest::default().with_resources(vec![resource]);
            frame(key, version, &request)
        }
        37 => {
            let assigned =
                grow::CreatePartitionsAssignment::default().with_broker_ids(vec![BrokerId(0)]);
            let topic = grow::CreatePartitionsTopic::default()
                .with_name(topic_name())
                .with_count(3)
                .with_assignments(Some(vec![assigned]));
            let request = CreatePartitionsRequest::default().with_topics(vec![topic]);
            frame(key, version, &request)
        }
        44 => {
            let config = change::AlterableConfig::default()
                .with_name(text("cleanup.policy"))
                .with_config_operation(2)
                .with_value(Some(text("compact")));
            let resource = change::AlterConfigsResource::default()
                .with_resource_type(2)
                .with_resource_name(text(TOPICS[0]))
                .with_configs(vec![config]);
            let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
            frame(key, version, &request)
        }
        _ => return Vec::new(),
    };
    vec![request]
}

fn create_of() -> CreateTopicsRequest {
    let config = create::CreatableTopicConfig::default()
        .with_name(text("retention.ms"))
        .with_value(Some(text("1000")));
    let by_hand = create::CreatableReplicaAssignment::default().with_broker_ids(vec![BrokerId(0)]);
    let topic = create::CreatableTopic::default()
        .with_num_partitions(2)
        .with_replication_factor(1)
        .with_configs(vec![config]);
    let topics = [
        topic.clone().with_name(TopicName(text("made"))),
        topic
            .with_name(TopicName(text("by hand")))
            .with_num_partitions(-1)
            .with_replication_factor(-1)
            .with_assignments(vec![by_hand]),
    ];
    CreateTopicsRequest::default()
        .with_topics(topics.into())
        .with_timeout_ms(1_000)
}
