//! Offsets, epochs, producer ids, coordinators and the cluster.

use std::path::Path;

use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::list_offsets_response::ListOffsetsPartitionResponse;
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::{
    BrokerId, DescribeClusterRequest, DescribeClusterResponse, FindCoordinatorRequest,
    FindCoordinatorResponse, InitProducerIdRequest, InitProducerIdResponse, ListOffsetsRequest,
    ListOffsetsResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
    ProduceResponse, ProducerId, TransactionalId,
};

use super::records::{batch, produce, topic};
use super::*;

fn at(timestamp: i64) -> ListOffsetsPartition {
    ListOffsetsPartition::default().with_timestamp(timestamp)
}

fn list(partitions: Vec<ListOffsetsPartition>) -> ListOffsetsRequest {
    let topic = ListOffsetsTopic::default()
        .with_name(topic_name("orders"))
        .with_partitions(partitions);
    ListOffsetsRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_topics(vec![topic])
}

fn found(answer: &ListOffsetsResponse) -> Vec<(i16, i64, i64)> {
    let row = |it: &ListOffsetsPartitionResponse| (it.error_code, it.offset, it.timestamp);
    answer.topics[0].partitions.iter().map(row).collect()
}

/// A client of a broker whose topic `orders` has the timestamps 1000 and 1001, 3000, 2000.
async fn client_with_records() -> (Kafka, Client) {
    let kafka = kafka(true);
    let mut client = Client::of(&kafka);
    let id = topic(&mut client, "orders").await;
    for records in [
        batch(&["a", "b"], 1_000),
        batch(&["c"], 3_000),
        batch(&["d"], 2_000),
    ] {
        let _: ProduceResponse = client.ask(0, 9, &produce(9, "orders", id, records)).await;
    }
    (kafka, client)
}

#[tokio::test]
async fn offsets_are_listed_by_meaning_and_by_time_in_every_version() {
    let (_kafka, mut client) = client_with_records().await;
    for version in 1..=10 {
        for (timestamp, first_version, expected) in [
            (-1, 1, (0, 4, -1)),
            (-2, 1, (0, 0, -1)),
            (-3, 7, (0, 2, 3_000)),
            (-4, 8, (0, 0, -1)),
            (-5, 9, (0, -1, -1)),
            (-6, i16::MAX, (0, 0, 0)),
            (0, 1, (0, 0, 1_000)),
            (1_001, 1, (0, 1, 1_001)),
            (1_500, 1, (0, 2, 3_000)),
            (9_000, 1, (0, -1, -1)),
        ] {
            let expected = if version < first_version {
                (35, -1, -1)
            } else {
                expected
            };
            let answer: ListOffsetsResponse =
                client.ask(2, version, &list(vec![at(timestamp)])).await;
            assert_eq!(found(&answer), [expected], "version {version}, {timestamp}");
        }
    }
    let wrong = vec![at(-1), at(-1), at(-1).with_partition_index(7)];
    let answer: ListOffsetsResponse = client.ask(2, 10, &list(wrong)).await;
    assert_eq!(found(&answer), [(0, 4, -1), (42, -1, -1), (3, -1, -1)]);
}

/// It had none, where Apache Kafka's brokers give that of the leader: what they will write next is of it.
#[tokio::test]
async fn a_partition_without_records_has_the_epoch_of_its_leader() {
    let kafka = kafka(true);
    let mut client = Client::of(&kafka);
    topic(&mut client, "orders").await;
    let epoch = kafka.0.service.leader_epoch().0;
    for (timestamp, offset, expected) in [
        (-1, 0, epoch),
        (-2, 0, epoch),
        (-4, 0, epoch),
        (-3, -1, -1),
        (0, -1, -1),
    ] {
        let answer: ListOffsetsResponse = client.ask(2, 10, &list(vec![at(timestamp)])).await;
        let partition = &answer.topics[0].partitions[0];
        let found = (partition.offset, partition.leader_epoch);
        assert_eq!(found, (offset, expected), "{timestamp}");
    }
}

#[tokio::test]
async fn the_end_of_an_epoch_is_told_in_every_version() {
    let (kafka, mut client) = client_with_records().await;
    let epoch = kafka.0.service.leader_epoch().0;
    for version in 2..=4 {
        let ask = |current: i32, wanted: i32| {
            let partition = OffsetForLeaderPartition::default()
                .with_current_leader_epoch(current)
                .with_leader_epoch(wanted);
            let topic = OffsetForLeaderTopic::default()
                .with_topic(topic_name("orders"))
                .with_partitions(vec![partition]);
            let request = OffsetForLeaderEpochRequest::default().with_topics(vec![topic]);
            if version < 3 {
                request
            } else {
                request.with_replica_id(BrokerId(-1))
            }
        };
        for ((current, wanted), expected) in [
            ((-1, epoch), (0, epoch, 4)),
            ((epoch, epoch), (0, epoch, 4)),
            ((-1, epoch - 1), (0, epoch - 1, 0)),
            ((-1, epoch + 1), (0, -1, -1)),
            ((epoch + 1, epoch), (75, -1, -1)),
        ] {
            let request = ask(current, wanted);
            let answer: OffsetForLeaderEpochResponse = client.ask(23, version, &request).await;
            let found = &answer.topics[0].partitions[0];
            let found = (found.error_code, found.leader_epoch, found.end_offset);
            assert_eq!(found, expected, "version {version}, {current} {wanted}");
        }
    }
}

#[tokio::test]
async fn every_producer_gets_an_id_of_its_own_in_every_version() {
    let kafka = kafka(true);
    let mut client = Client::of(&kafka);
    let mut seen = BTreeSet::new();
    for version in 0..=5 {
        let mut request = InitProducerIdRequest::default().with_transactional_id(None);
        if version >= 3 {
            request.producer_id = ProducerId(0);
            request.producer_epoch = 3;
        }
        let answer: InitProducerIdResponse = client.ask(22, version, &request).await;
        assert_eq!((answer.error_code, answer.producer_epoch), (0, 0));
        assert!(seen.insert(*answer.producer_id));
        request.transactional_id = Some(TransactionalId(StrBytes::from_static_str("t")));
        let answer: InitProducerIdResponse = client.ask(22, version, &request).await;
        assert_eq!((answer.error_code, *answer.producer_id), (53, -1));
    }
}

#[tokio::test]
async fn the_coordinator_of_a_group_is_here_in_every_version() {
    let kafka = kafka(true);
    let mut client = Client::of(&kafka);
    let group = StrBytes::from_static_str("billing");
    for version in 0..=6 {
        for (key_type, code) in [(0, 0), (1, 53), (2, 42)] {
            if version < 1 && key_type > 0 {
                continue;
            }
            let mut request = FindCoordinatorRequest::default().with_key_type(key_type);
            if version >= 4 {
                request.coordinator_keys = vec![group.clone(), group.clone()];
            } else {
                request.key = group.clone();
            }
            let answer: FindCoordinatorResponse = client.ask(10, version, &request).await;
            let mut found = vec![(answer.error_code, answer.host.clone(), answer.port)];
            if version >= 4 {
                let each = answer.coordinators.iter();
                found = each
                    .map(|it| (it.error_code, it.host.clone(), it.port))
                    .collect();
                assert_eq!(found.len(), 2);
            }
            for (error_code, host, port) in found {
                let expected = if code == 0 {
                    ("broker.test", 9092)
                } else {
                    ("", -1)
                };
                assert_eq!(
                    (error_code, (&*host, port)),
                    (code, expected),
                    "{version} {key_type}"
                );
            }
        }
    }
}

#[tokio::test]
async fn the_cluster_is_one_broker_in_every_version() {
    let kafka = kafka(true);
    let mut client = Client::of(&kafka);
    for version in 0..=2 {
        let request = DescribeClusterRequest::default();
        let answer: DescribeClusterResponse = client.ask(60, version, &request).await;
        assert_eq!((answer.error_code, *answer.controller_id), (0, 0));
        assert_eq!(answer.cluster_id, kafka.0.cluster_id);
        assert_eq!(&*answer.brokers[0].host, "broker.test");
        if version >= 1 {
            for (endpoint_type, code) in [(2, 114), (9, 115)] {
                let request = request.clone().with_endpoint_type(endpoint_type);
                let answer: DescribeClusterResponse = client.ask(60, version, &request).await;
                assert_eq!(answer.error_code, code);
            }
        }
    }
}

/// Copies the files of a folder, and those of the folders in it.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => copy(&entry.path(), &to),
            kind if kind.is_file() => drop(std::fs::copy(entry.path(), to).unwrap()),
            // The socket by which others reach the folder's owner.
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_log_that_was_not_closed_begins_an_epoch_before_anything_is_written_in_it() {
    let scratch = tempfile::tempdir().unwrap();
    let (data, left) = (scratch.path().join("data"), scratch.path().join("left"));
    let options = ServiceOptions {
        auto_create_topics: true,
        ..ServiceOptions::default()
    };
    let service = Service::open_folder(&data, &options).unwrap();
    let mut client = Client::of(&kafka_of(service.clone()));
    let id = topic(&mut client, "orders").await;
    let request = produce(9, "orders", id, batch(&["a"], 0));
    let _: ProduceResponse = client.ask(0, 9, &request).await;
    let old = service.leader_epoch().0;
    // What a crash would leave.
    copy(&data, &left);
    service.close().unwrap();
    let service = Service::open_folder(&left, &options).unwrap();
    let new = service.leader_epoch().0;
    assert!(new > old);
    let mut client = Client::of(&kafka_of(service.clone()));
    for (current, wanted, expected) in [
        (new, old, (0, old, 1)),
        (new, new, (0, new, 1)),
        (new, new + 1, (0, -1, -1)),
        (old, old, (74, -1, -1)),
    ] {
        let partition = OffsetForLeaderPartition::default()
            .with_current_leader_epoch(current)
            .with_leader_epoch(wanted);
        let asked = OffsetForLeaderTopic::default()
            .with_topic(topic_name("orders"))
            .with_partitions(vec![partition]);
        let request = OffsetForLeaderEpochRequest::default().with_topics(vec![asked]);
        let answer: OffsetForLeaderEpochResponse = client.ask(23, 4, &request).await;
        let found = &answer.topics[0].partitions[0];
        let found = (found.error_code, found.leader_epoch, found.end_offset);
        assert_eq!(found, expected, "{current} {wanted}");
    }
    let request = MetadataRequest::default().with_topics(None);
    let answer: MetadataResponse = client.ask(3, 12, &request).await;
    assert_eq!(answer.topics[0].partitions[0].leader_epoch, new);
    service.close().unwrap();
}
