//! What one request may ask for at most.

use super::*;

#[tokio::test]
async fn an_answer_does_not_grow_with_how_often_something_is_asked_for() {
    let kafka = kafka(false);
    let mut client = with_topic(&kafka).await;
    let words = "x".repeat(limits::OFFSET_METADATA_BYTES_MAX);
    let mut wordy = commit(9, "g", "", -1);
    wordy.topics[0].partitions.truncate(1);
    wordy.topics[0].partitions[0].committed_metadata = Some(text(&words));
    let committed: OffsetCommitResponse = client.ask(8, 9, &wordy).await;
    assert_eq!(codes_of(&committed), [0]);
    let times = limits::KAFKA_GROUPS_ANSWER_BYTES_MAX / words.len();
    let single = OffsetFetchRequestTopic::default()
        .with_name(topic_name("orders"))
        .with_partition_indexes(vec![0; times]);
    let request = OffsetFetchRequest::default()
        .with_group_id(group_id("g"))
        .with_topics(Some(vec![single]));
    let answer: OffsetFetchResponse = client.ask(9, 7, &request).await;
    assert_eq!((answer.error_code, answer.topics.len()), (42, 0));
    let all = OffsetFetchRequestGroup::default()
        .with_group_id(group_id("g"))
        .with_topics(None);
    let request = OffsetFetchRequest::default().with_groups(vec![all.clone(); times]);
    let answer: OffsetFetchResponse = client.ask(9, 9, &request).await;
    assert_eq!(answer.groups.len(), times);
    assert_eq!(answer.groups[0].error_code, 0);
    assert_eq!(answer.groups[times - 1].error_code, 42);
    // What is behind what was too much is not looked up, however little it is.
    let mut few = commit(9, "few", "", -1);
    few.topics[0].partitions.truncate(1);
    let _: OffsetCommitResponse = client.ask(8, 9, &few).await;
    let mut groups = request.groups;
    groups.push(all.clone().with_group_id(group_id("few")));
    let request = OffsetFetchRequest::default().with_groups(groups);
    let answer: OffsetFetchResponse = client.ask(9, 9, &request).await;
    assert_eq!(answer.groups[times].error_code, 42);
    let request = OffsetFetchRequest::default().with_groups(vec![request.groups[times].clone()]);
    let answer: OffsetFetchResponse = client.ask(9, 9, &request).await;
    assert_eq!(answer.groups[0].error_code, 0);
    let request = DescribeGroupsRequest::default().with_groups(vec![group_id("g"); 1_000]);
    let answer: DescribeGroupsResponse = client.ask(15, 6, &request).await;
    assert_eq!(answer.groups.len(), 1);
}

/// It was answered as if nothing were committed, and whoever asked began anew.
#[tokio::test]
async fn a_version_without_a_code_for_all_says_what_is_wrong_of_each_partition() {
    let kafka = kafka(false);
    let mut client = with_topic(&kafka).await;
    let _: OffsetCommitResponse = client.ask(8, 9, &commit(9, "g", "", -1)).await;
    kafka.0.service.close().unwrap();
    let topic = OffsetFetchRequestTopic::default()
        .with_name(topic_name("orders"))
        .with_partition_indexes(vec![0, 1]);
    let request = OffsetFetchRequest::default()
        .with_group_id(group_id("g"))
        .with_topics(Some(vec![topic]));
    let answer: OffsetFetchResponse = client.ask(9, 1, &request).await;
    let [topic] = answer.topics.as_slice() else {
        panic!("{answer:?}")
    };
    assert_eq!(topic.name, topic_name("orders"));
    let found = topic.partitions.iter();
    let found: Vec<_> = found
        .map(|it| (it.partition_index, it.committed_offset, it.error_code))
        .collect();
    assert_eq!(found, [(0, -1, 16), (1, -1, 16)]);
    let answer: OffsetFetchResponse = client.ask(9, 2, &request).await;
    assert_eq!((answer.error_code, answer.topics.len()), (16, 0));
}

#[tokio::test]
async fn too_many_partitions_and_names_that_are_none_are_refused() {
    let kafka = kafka(false);
    let mut client = with_topic(&kafka).await;
    let mut long = commit(9, "g", "", -1);
    let name = "t".repeat(30_000);
    long.topics[0].name = topic_name(&name);
    let answer: OffsetCommitResponse = client.ask(8, 9, &long).await;
    assert_eq!(codes_of(&answer), [3, 3]);
    assert_eq!(answer.topics[0].name, topic_name(&name));
    let mut many = commit(9, "g", "", -1);
    let partition = many.topics[0].partitions[0]
        .clone()
        .with_committed_metadata(None);
    many.topics[0].partitions = vec![partition; limits::KAFKA_COMMIT_PARTITIONS_MAX + 1];
    let answer: OffsetCommitResponse = client.ask(8, 9, &many).await;
    assert_eq!(codes_of(&answer)[0], 42);
    let committed = kafka.0.service.session().committed("g", None).unwrap();
    assert!(committed.is_empty());
    let topic = OffsetDeleteRequestTopic::default()
        .with_name(topic_name("orders"))
        .with_partitions(vec![
            OffsetDeleteRequestPartition::default();
            limits::KAFKA_COMMIT_PARTITIONS_MAX + 1
        ]);
    let request = OffsetDeleteRequest::default()
        .with_group_id(group_id("g"))
        .with_topics(vec![topic]);
    let answer: OffsetDeleteResponse = client.ask(47, 0, &request).await;
    assert_eq!(answer.error_code, 42);
}
