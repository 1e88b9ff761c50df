//! Topics and their options.

use kafka_protocol::messages::alter_configs_request::{
    AlterConfigsResource, AlterableConfig as ReplacedConfig,
};
use kafka_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource as ChangedResource, AlterableConfig,
};
use kafka_protocol::messages::{
    AlterConfigsRequest, BrokerId, CreatePartitionsRequest, CreatePartitionsResponse,
    CreateTopicsRequest, CreateTopicsResponse, DeleteRecordsRequest, DeleteRecordsResponse,
    DeleteTopicsRequest, DeleteTopicsResponse, DescribeConfigsRequest,
    IncrementalAlterConfigsRequest, ProduceResponse,
};
use uuid::Uuid;

use super::records::{batch, produce};
use super::*;

pub(super) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub(super) fn creatable(name: &str, partitions: i32, config: &[(&str, &str)]) -> CreatableTopic {
    let config = config.iter().map(|(name, value)| {
        CreatableTopicConfig::default()
            .with_name(text(name))
            .with_value(Some(text(value)))
    });
    CreatableTopic::default()
        .with_name(topic_name(name))
        .with_num_partitions(partitions)
        .with_replication_factor(1)
        .with_configs(config.collect())
}

pub(super) fn create(topics: Vec<CreatableTopic>) -> CreateTopicsRequest {
    CreateTopicsRequest::default()
        .with_topics(topics)
        .with_timeout_ms(1_000)
}

fn grow(name: &str, count: i32) -> CreatePartitionsTopic {
    CreatePartitionsTopic::default()
        .with_name(topic_name(name))
        .with_count(count)
        .with_assignments(None)
}

fn delete_by_name(version: i16, names: &[&str]) -> DeleteTopicsRequest {
    let names = names.iter().map(|name| topic_name(name));
    let request = DeleteTopicsRequest::default();
    if version < 6 {
        return request.with_topic_names(names.collect());
    }
    let topics = names.map(|name| DeleteTopicState::default().with_name(Some(name)));
    request.with_topics(topics.collect())
}

pub(super) fn describe(resource: i8, name: &str) -> DescribeConfigsRequest {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(resource)
        .with_resource_name(text(name))
        .with_configuration_keys(None);
    DescribeConfigsRequest::default()
        .with_resources(vec![resource])
        .with_include_synonyms(true)
}

pub(super) fn replace(name: &str, config: &[(&str, &str)]) -> AlterConfigsRequest {
    let config = config.iter().map(|(name, value)| {
        ReplacedConfig::default()
            .with_name(text(name))
            .with_value(Some(text(value)))
    });
    let resource = AlterConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text(name))
        .with_configs(config.collect());
    AlterConfigsRequest::default().with_resources(vec![resource])
}

pub(super) fn change(
    name: &str,
    changes: &[(&str, i8, Option<&str>)],
) -> IncrementalAlterConfigsRequest {
    let changes = changes.iter().map(|(name, operation, value)| {
        AlterableConfig::default()
            .with_name(text(name))
            .with_config_operation(*operation)
            .with_value(value.map(text))
    });
    let resource = ChangedResource::default()
        .with_resource_type(2)
        .with_resource_name(text(name))
        .with_configs(changes.collect());
    IncrementalAlterConfigsRequest::default().with_resources(vec![resource])
}

#[tokio::test]
async fn topics_are_created_and_deleted_in_every_version() {
    let kafka = kafka(false);
    let mut client = Client::of(&kafka);
    for version in 2..=7 {
        let topics = vec![
            creatable(
                "a",
                3,
                &[("retention.ms", "5000"), ("segment.bytes", "1048576")],
            ),
            creatable("b", -1, &[]).with_replication_factor(-1),
            creatable("c/d", 1, &[]),
        ];
        let answer: CreateTopicsResponse = client.ask(19, version, &create(topics)).await;
        let codes: Vec<_> = answer.topics.iter().map(|it| it.error_code).collect();
        assert_eq!(codes, [0, 0, 17], "{version}");
        let (a, b) = (&answer.topics[0], &answer.topics[1]);
        if version >= 5 {
            assert_eq!((a.num_partitions, a.replication_factor), (3, 1));
            assert_eq!(b.num_partitions, 1);
            let configs = a.configs.as_ref().unwrap();
            let retention = configs
                .iter()
                .find(|it| &*it.name == "retention.ms")
                .unwrap();
            assert_eq!(retention.value.as_deref(), Some("5000"));
            assert_eq!(retention.config_source, 1);
        }
        let id = kafka.0.service.topic("a").unwrap().uuid;
        let said = if version >= 7 {
            Uuid::from_bytes(id)
        } else {
            Uuid::nil()
        };
        assert_eq!(a.topic_id, said);
        let again = create(vec![creatable("a", 3, &[])]);
        let answer: CreateTopicsResponse = client.ask(19, version, &again).await;
        assert_eq!(answer.topics[0].error_code, 36);
        assert!(answer.topics[0].error_message.is_some());
        let version = (version - 1).min(6);
        let request = delete_by_name(version, &["a", "nothing", "b"]);
        let answer: DeleteTopicsResponse = client.ask(20, version, &request).await;
        let codes: Vec<_> = answer.responses.iter().map(|it| it.error_code).collect();
        assert_eq!(codes, [0, 3, 0], "{version}");
        assert!(kafka.0.service.topics().is_empty());
    }
}

fn assigned(number: i32, broker: i32) -> CreatableReplicaAssignment {
    CreatableReplicaAssignment::default()
        .with_partition_index(number)
        .with_broker_ids(vec![BrokerId(broker)])
}

fn by_hand(assignments: Vec<CreatableReplicaAssignment>) -> CreatableTopic {
    creatable("x", -1, &[])
        .with_replication_factor(-1)
        .with_assignments(assignments)
}

#[tokio::test]
async fn what_cannot_be_created_is_refused_with_kafkas_code_and_by_name() {
    let kafka = kafka(false);
    let mut client = Client::of(&kafka);
    for (topic, code, said) in [
        (
            creatable("x", 1, &[]).with_replication_factor(3),
            38,
            "replication factor is 3",
        ),
        (
            creatable("x", 1, &[]).with_replication_factor(0),
            38,
            "replication factor is 0",
        ),
        (creatable("x", 0, &[]), 37, "0 partitions"),
        (creatable("x", 5_000, &[]), 37, "partitions"),
        (creatable("x", 1, &[("flush.ms", "1")]), 40, "`flush.ms`"),
        (
            creatable("x", 1, &[("partitions", "2")]),
            40,
            "`partitions`",
        ),
        (
            creatable("x", 1, &[("compression.type", "zstd")]),
            40,
            "compression.type",
        ),
        (
            creatable("x", 1, &[("retention.ms", "soon")]),
            40,
            "retention_ms",
        ),
        (
            creatable("x", 1, &[("min.insync.replicas", "2")]),
            40,
            "min_insync_replicas",
        ),
        (
            creatable("x", 1, &[("headwater.durability", "quorum")]),
            40,
            "quorum",
        ),
        (by_hand(vec![assigned(0, 1)]), 39, "brokers [1]"),
        (by_hand(vec![assigned(1, 0)]), 39, "count from 0"),
        (
            by_hand(vec![assigned(0, 0)]).with_num_partitions(1),
            42,
            "must be -1",
        ),
    ] {
        let answer: CreateTopicsResponse = client.ask(19, 7, &create(vec![topic])).await;
        let message = answer.topics[0]
            .error_message
            .as_deref()
            .unwrap_or_default();
        assert_eq!(answer.topics[0].error_code, code, "{message}");
        assert!(message.contains(said), "{message}");
    }
}

#[tokio::test]
async fn topics_are_named_once_may_be_tried_and_may_be_assigned_to_the_one_broker() {
    let kafka = kafka(false);
    let mut client = Client::of(&kafka);
    let twice = create(vec![creatable("x", 1, &[]), creatable("x", 2, &[])]);
    let answer: CreateTopicsResponse = client.ask(19, 7, &twice).await;
    assert!(answer.topics.iter().all(|it| it.error_code == 42));
    let only = create(vec![creatable("x", 1, &[])]).with_validate_only(true);
    let answer: CreateTopicsResponse = client.ask(19, 7, &only).await;
    assert_eq!(answer.topics[0].error_code, 0);
    assert!(kafka.0.service.topics().is_empty());
    let assigned = create(vec![by_hand(vec![assigned(1, 0), assigned(0, 0)])]);
    let answer: CreateTopicsResponse = client.ask(19, 7, &assigned).await;
    assert_eq!(
        (answer.topics[0].error_code, answer.topics[0].num_partitions),
        (0, 2)
    );
}

#[tokio::test]
async fn topics_are_deleted_by_id_and_by_one_name_each() {
    let kafka = kafka(true);
    let mut client = Client::of(&kafka);
    let id = records::topic(&mut client, "orders").await;
    let state = |name: Option<&str>, id: Uuid| {
        DeleteTopicState::default()
            .with_name(name.map(topic_name))
            .with_topic_id(id)
    };
    let other = Uuid::from_bytes([9; 16]);
    let request = DeleteTopicsRequest::default().with_topics(vec![
        state(None, other),
        state(Some("orders"), id),
        state(None, Uuid::nil()),
        state(None, id),
        state(Some("orders"), Uuid::nil()),
    ]);
    let answer: DeleteTopicsResponse = client.ask(20, 6, &request).await;
    let codes: Vec<_> = answer.responses.iter().map(|it| it.error_code).collect();
    assert_eq!(codes, [100, 42, 42, 0, 42]);
    let deleted = &answer.responses[3];
    assert_eq!(
        (deleted.name.clone(), deleted.topic_id),
        (Some(topic_name("orders")), id)
    );
    assert!(kafka.0.service.topics().is_empty());
}

#[tokio::test]
async fn a_topic_gets_more_partitions_in_every_version_and_never_fewer() {
    let kafka = kafka(true);
    let mut client = Client::of(&kafka);
    records::topic(&mut client, "orders").await;
    let count = || kafka.0.service.topic("orders").unwrap().partitions.len();
    for version in 0..=3 {
        let before = i32::try_from(count()).unwrap();
        let assigned = |broker: i32| {
            CreatePartitionsAssignment::default().with_broker_ids(vec![BrokerId(broker)])
        };
        let more = || grow("orders", before + 2);
        for (topic, code) in [
            (grow("nothing", 3), 3),
            (grow("orders", before), 37),
            (grow("orders", 0), 37),
            (grow("orders", 5_000), 37),
            (more().with_assignments(Some(vec![assigned(0)])), 39),
            (
                more().with_assignments(Some(vec![assigned(0), assigned(7)])),
                39,
            ),
        ] {
            let request = CreatePartitionsRequest::default().with_topics(vec![topic]);
            let answer: CreatePartitionsResponse = client.ask(37, version, &request).await;
            assert_eq!(answer.results[0].error_code, code, "{:?}", answer.results);
            assert!(answer.results[0].error_message.is_some());
        }
        let request = CreatePartitionsRequest::default().with_topics(vec![more()]);
        let only = request.clone().with_validate_only(true);
        let answer: CreatePartitionsResponse = client.ask(37, version, &only).await;
        assert_eq!(
            (answer.results[0].error_code, count()),
            (0, before as usize)
        );
        let answer: CreatePartitionsResponse = client.ask(37, version, &request).await;
        assert_eq!(
            (answer.results[0].error_code, count()),
            (0, before as usize + 2)
        );
    }
}

#[tokio::test]
async fn records_are_deleted_in_every_version_and_each_partition_has_its_answer() {
    let kafka = kafka(true);
    let mut client = Client::of(&kafka);
    let id = records::topic(&mut client, "orders").await;
    let request = produce(9, "orders", id, batch(&["a", "b", "c", "d", "e"], 5));
    let _: ProduceResponse = client.ask(0, 9, &request).await;
    let compacted = create(vec![creatable(
        "compacted",
        1,
        &[("cleanup.policy", "compact")],
    )]);
    let _: CreateTopicsResponse = client.ask(19, 7, &compacted).await;
    for (version, offset, start) in [(0, 2, 2), (1, 1, 2), (2, -1, 5)] {
        let rows = |rows: &[(i32, i64)]| {
            let row = |(partition, offset): &(i32, i64)| {
                DeleteRecordsPartition::default()
                    .with_partition_index(*partition)
                    .with_offset(*offset)
            };
            rows.iter().map(row).collect::<Vec<_>>()
        };
        let topic = |name: &str, asked: &[(i32, i64)]| {
            DeleteRecordsTopic::default()
                .with_name(topic_name(name))
                .with_partitions(rows(asked))
        };
        let request = DeleteRecordsRequest::default().with_topics(vec![
            topic("nothing", &[(0, 1)]),
            topic("compacted", &[(0, 0)]),
            topic("orders", &[(1, 0), (0, offset), (0, 1)]),
        ]);
        let answer: DeleteRecordsResponse = client.ask(21, version, &request).await;
        let rows = answer.topics.iter().flat_map(|topic| &topic.partitions);
        let found: Vec<_> = rows
            .map(|row| (row.error_code, row.low_watermark))
            .collect();
        assert_eq!(found, [(3, -1), (44, -1), (3, -1), (0, start), (42, -1)]);
        let beyond = DeleteRecordsRequest::default().with_topics(vec![topic("orders", &[(0, 6)])]);
        let answer: DeleteRecordsResponse = client.ask(21, version, &beyond).await;
        assert_eq!(answer.topics[0].partitions[0].error_code, 1);
    }
}

#[tokio::test]
async fn names_that_differ_in_dots_and_underscores_alone_are_refused_to_kafkas_clients() {
    let kafka = kafka(true);
    let mut client = Client::of(&kafka);
    let names = ["a.b_c", "a_b.c", "a.b_c", "a.b.cd"];
    let mut codes = Vec::new();
    for name in names {
        let request = create(vec![creatable(name, 1, &[])]);
        let answer: CreateTopicsResponse = client.ask(19, 7, &request).await;
        let created = &answer.topics[0];
        let message = created.error_message.as_deref().unwrap_or_default();
        assert!(
            created.error_code != 17 || message.contains("`a.b_c`"),
            "{message}"
        );
        codes.push(created.error_code);
    }
    assert_eq!(codes, [0, 17, 36, 0]);
    // A topic that is created as it is named is none either.
    let wanted = kafka_protocol::messages::metadata_request::MetadataRequestTopic::default()
        .with_name(Some(topic_name("a_b_c")));
    let request = MetadataRequest::default()
        .with_topics(Some(vec![wanted]))
        .with_allow_auto_topic_creation(true);
    let answer: MetadataResponse = client.ask(3, 12, &request).await;
    assert_eq!(answer.topics[0].error_code, 17);
    assert!(kafka.0.service.topic("a_b_c").is_none());
    // Where names are no part of metrics' they are as good as others.
    let session = kafka.0.service.session();
    let (completion, created) = headwater::Completion::pair();
    let native = headwater::protocol::request::Request::CreateTopic {
        name: "a_b.c".to_owned(),
        config: Vec::new(),
        exist_ok: false,
    };
    let run = headwater::service::Run::Io;
    session.submit(native, Bytes::new(), run, completion);
    assert!(created.await.is_ok());
}

/// One request of a few bytes made as many partitions as it liked.
#[tokio::test]
async fn one_request_makes_only_so_many_partitions() {
    let kafka = kafka(false);
    let mut client = Client::of(&kafka);
    let codes = |answer: &CreateTopicsResponse| -> Vec<i16> {
        answer.topics.iter().map(|it| it.error_code).collect()
    };
    let topics = ["a", "b", "c"].map(|name| creatable(name, 4_000, &[]));
    let answer: CreateTopicsResponse = client.ask(19, 7, &create(topics.into())).await;
    assert_eq!(codes(&answer), [44, 44, 44]);
    assert!(kafka.0.service.topics().is_empty());
    // One that cannot be is no reason to refuse the others.
    let topics = vec![creatable("a", i32::MAX, &[]), creatable("b", 1, &[])];
    let answer: CreateTopicsResponse = client.ask(19, 7, &create(topics)).await;
    assert_eq!(codes(&answer), [37, 0]);
    let topics = ["c", "d"].map(|name| creatable(name, 1, &[]));
    let _: CreateTopicsResponse = client.ask(19, 7, &create(topics.into())).await;
    let topics = ["b", "c", "d"].map(|name| grow(name, 4_000));
    let request = CreatePartitionsRequest::default().with_topics(topics.into());
    let answer: CreatePartitionsResponse = client.ask(37, 3, &request).await;
    let codes: Vec<_> = answer.results.iter().map(|it| it.error_code).collect();
    assert_eq!(codes, [44, 44, 44]);
    let request = CreatePartitionsRequest::default().with_topics(vec![grow("b", 40)]);
    let answer: CreatePartitionsResponse = client.ask(37, 3, &request).await;
    assert_eq!(answer.results[0].error_code, 0);
}
