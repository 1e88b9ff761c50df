//! Reading one topic and writing to another as one append, in process and over TCP.

use headwater::{
    CleanupPolicy, Client, Consumer, ConsumerOptions, ErrorCode, ProducerOptions, Record,
    TopicOptions,
};

use super::{in_group, memory, offset, read_all, send, to_end};

fn create(db: &Client, name: &str, options: TopicOptions) {
    db.admin().create_topic(name, options).wait(None).unwrap();
}

fn prepare(db: &Client) {
    create(db, "orders", TopicOptions::default());
    let bills = TopicOptions {
        partitions: Some(3),
        ..TopicOptions::default()
    };
    create(db, "bills", bills);
    create(db, "log", TopicOptions::default());
    send(&db.producer(ProducerOptions::default()).unwrap(), 0..10);
}

fn small() -> ConsumerOptions {
    ConsumerOptions {
        max_block_records: Some(4),
        ..in_group()
    }
}

/// Takes one block, sends a bill and a line for each of its records, and says which offsets these got.
fn process(consumer: &Consumer) -> Option<Vec<(i32, i64)>> {
    let block = consumer.next_block_wait(None).unwrap()?;
    let values: Vec<_> = (0..block.len()).map(|row| format!("bill {row}")).collect();
    let bills = values.iter().map(|value| {
        let record = Record::new(value.as_bytes()).with_key(b"one customer");
        ("bills", record)
    });
    let lines = values
        .iter()
        .map(|value| ("log", Record::new(value.as_bytes())));
    let results: Vec<_> = bills.chain(lines).collect();
    let sent = consumer.commit_with(&results).wait(None).unwrap();
    assert_eq!(sent.len(), results.len());
    let pairs = sent.iter().zip(&results);
    assert!(
        pairs
            .clone()
            .all(|(sent, (topic, _))| *sent.topic == **topic)
    );
    Some(
        sent.iter()
            .map(|sent| (sent.partition, sent.offset))
            .collect(),
    )
}

fn results_and_positions_go_together(db: &Client) {
    prepare(db);
    let consumer = db.consumer(&["orders"], small()).unwrap();
    let first = process(&consumer).unwrap();
    let rows = first.len() / 2;
    let partition = first[0].0;
    let expected: Vec<_> = (0..rows as i64).map(|at| (partition, at)).collect();
    assert_eq!(first[..rows], expected);
    assert!(first[rows..].iter().map(|(_, at)| *at).eq(0..rows as i64));
    // This block is given out, and its results are not sent: neither counts.
    consumer.next_block_wait(None).unwrap().unwrap();
    consumer.next_block_wait(None).unwrap();
    consumer.close(None).wait(None).unwrap();

    let consumer = db.consumer(&["orders"], small()).unwrap();
    consumer.open().wait(None).unwrap();
    let committed = consumer.committed().wait(None).unwrap();
    assert_eq!(committed, [offset(0, rows as i64)]);
    while process(&consumer).is_some() {}
    consumer.close(None).wait(None).unwrap();
    for topic in ["bills", "log"] {
        let results = read_all(&db.consumer(&[topic], to_end()).unwrap());
        assert_eq!(results.len(), 10, "{topic}");
    }
}

#[test]
fn results_and_positions_go_together_in_process() {
    results_and_positions_go_together(&memory());
}

#[cfg(feature = "tcp")]
#[test]
fn results_and_positions_go_together_over_tcp() {
    let broker = crate::server::Broker::start();
    let address = broker.address.to_string();
    let client = headwater::connect(&address).wait(None).unwrap();
    results_and_positions_go_together(&client);
    client.close(None).wait(None).unwrap();
}

#[test]
fn what_cannot_be_sent_is_named_and_nothing_happens() {
    let db = memory();
    prepare(&db);
    let compacted = TopicOptions {
        cleanup_policy: Some(CleanupPolicy::Compact),
        ..TopicOptions::default()
    };
    create(&db, "keyed", compacted);
    let consumer = db.consumer(&["orders"], in_group()).unwrap();
    consumer.next_block_wait(None).unwrap().unwrap();
    let line = || ("log", Record::new(b"line"));
    let nowhere = Record {
        partition: Some(7),
        ..Record::new(b"x")
    };
    for (bad, code, words) in [
        (
            ("bills", nowhere),
            ErrorCode::UnknownTopicOrPartition,
            "`bills` has no partition 7",
        ),
        (
            ("none", Record::new(b"x")),
            ErrorCode::UnknownTopicOrPartition,
            "`none`",
        ),
        (
            ("keyed", Record::new(b"x")),
            ErrorCode::InvalidRecord,
            "`keyed`, partition 0",
        ),
    ] {
        let error = consumer.commit_with(&[line(), bad]).wait(None).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.message().contains(words), "{error}");
    }
    assert_eq!(consumer.committed().wait(None).unwrap(), []);
    let large = vec![0; 17 * 1_024 * 1_024];
    let error = consumer
        .commit_with(&[("log", Record::new(&large))])
        .wait(None)
        .unwrap_err();
    assert_eq!(error.code(), ErrorCode::MessageTooLarge);
    assert!(read_all(&db.consumer(&["log"], to_end()).unwrap()).is_empty());
    // Without results it is a commit of what was given out.
    assert_eq!(consumer.commit_with(&[]).wait(None).unwrap(), []);
    assert_eq!(consumer.committed().wait(None).unwrap(), [offset(0, 10)]);
}

#[test]
fn more_results_than_a_batch_takes_are_several_batches_in_order() {
    let db = memory();
    prepare(&db);
    let consumer = db.consumer(&["orders"], in_group()).unwrap();
    consumer.next_block_wait(None).unwrap().unwrap();
    let value = vec![1; 300_000];
    let results = vec![("log", Record::new(&value)); 20];
    let sent = consumer.commit_with(&results).wait(None).unwrap();
    assert!(sent.iter().map(|sent| sent.offset).eq(0..20));
}
