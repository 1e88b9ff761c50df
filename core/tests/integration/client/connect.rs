//! Connecting, administration, closing.

use headwater::{
    ConnectOptions, ConsumerOptions, Durability, ErrorCode, ErrorKind, Header, ProducerOptions,
    Record, TopicOptions,
};

use super::{in_group, memory, send, to_end, with_topic};

#[test]
fn what_was_sent_to_a_folder_is_there_when_it_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    let address = path.to_str().unwrap();
    let db = headwater::connect(address).wait(None).unwrap();
    db.admin()
        .create_topic("orders", TopicOptions::default())
        .wait(None)
        .unwrap();
    let producer = db.producer(ProducerOptions::default()).unwrap();
    let headers = [
        Header {
            key: "trace",
            value: Some(b"ab"),
        },
        Header {
            key: "none",
            value: None,
        },
    ];
    let record = Record {
        headers: &headers,
        timestamp_ms: Some(1_234),
        ..Record::new(b"hello").with_key(b"k1")
    };
    let sent = producer
        .send("orders", &record)
        .unwrap()
        .wait(None)
        .unwrap();
    assert_eq!(
        (&*sent.topic, sent.partition, sent.offset),
        ("orders", 0, 0)
    );
    assert_eq!(
        (sent.timestamp_ms, sent.durability),
        (1_234, Durability::Disk)
    );
    let report = db.close(None).wait(None).unwrap();
    assert_eq!(report, headwater::CloseReport::default());

    let read_only = ConnectOptions {
        create: Some(false),
        ..Default::default()
    };
    let db = headwater::connect_with(address, read_only)
        .wait(None)
        .unwrap();
    let consumer = db.consumer(&["orders"], to_end()).unwrap();
    let batch = consumer.next_batch_wait(None).unwrap().unwrap();
    let record = batch.records().next().unwrap().unwrap();
    assert_eq!(
        (record.key, record.value),
        (Some(&b"k1"[..]), Some(&b"hello"[..]))
    );
    assert_eq!((record.offset, record.timestamp_ms), (0, 1_234));
    let found: Vec<_> = record.headers().map(Result::unwrap).collect();
    assert_eq!(found, headers);
    assert!(consumer.next_batch_wait(None).unwrap().is_none());
    assert!(consumer.is_finished());
    db.close(None).wait(None).unwrap();
}

#[test]
fn a_folder_that_is_not_there_is_not_made_by_a_command_that_reads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nothing");
    let options = ConnectOptions {
        create: Some(false),
        ..Default::default()
    };
    let error = headwater::connect_with(path.to_str().unwrap(), options)
        .wait(None)
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.code()),
        (ErrorKind::NotFound, ErrorCode::FolderNotFound)
    );
    assert!(!path.exists());
}

#[test]
fn a_client_that_was_dropped_closes_in_the_background_and_the_folder_opens_again() {
    let folder = tempfile::tempdir().unwrap();
    let address = folder.path().to_str().unwrap();
    for round in 0..3 {
        let db = headwater::connect(address).wait(None).unwrap();
        let options = TopicOptions {
            exist_ok: Some(true),
            ..Default::default()
        };
        db.admin()
            .create_topic("orders", options)
            .wait(None)
            .unwrap();
        let producer = db.producer(ProducerOptions::default()).unwrap();
        let sent = producer
            .send("orders", &Record::new(b"x"))
            .unwrap()
            .wait(None)
            .unwrap();
        assert_eq!(sent.offset, round);
    }
}

#[test]
fn an_unknown_topic_is_answered_at_send_and_at_open() {
    let db = memory();
    let producer = db.producer(ProducerOptions::default()).unwrap();
    for error in [
        producer.send("nothing", &Record::new(b"x")).unwrap_err(),
        producer.enqueue("nothing", &Record::new(b"x")).unwrap_err(),
        db.consumer(&["nothing"], to_end())
            .unwrap()
            .open()
            .wait(None)
            .unwrap_err(),
        db.consumer(&["nothing"], in_group())
            .unwrap()
            .next_batch_wait(None)
            .unwrap_err(),
        db.admin().describe_topic("nothing").wait(None).unwrap_err(),
    ] {
        assert_eq!(error.code(), ErrorCode::UnknownTopicOrPartition);
        assert!(error.message().contains("nothing"), "{error}");
    }
    producer.flush().wait(None).unwrap();
    db.admin()
        .create_topic("nothing", TopicOptions::default())
        .wait(None)
        .unwrap();
    producer
        .send("nothing", &Record::new(b"x"))
        .unwrap()
        .wait(None)
        .unwrap();
}

#[test]
fn options_out_of_range_are_refused_with_their_names() {
    let db = memory();
    let refused = |options: ProducerOptions| db.producer(options).unwrap_err();
    let error = refused(ProducerOptions {
        linger_ms: Some(60_001),
        ..Default::default()
    });
    assert_eq!(
        error.message(),
        "producer option `linger_ms` is `60001`; it must be 0 to 60000"
    );
    let both = ProducerOptions {
        batch_bytes: Some(1 << 20),
        buffer_bytes: Some(1 << 20),
        ..Default::default()
    };
    assert!(refused(both).message().contains("twice `batch_bytes`"));
    let short = ProducerOptions {
        delivery_timeout_ms: Some(100),
        ..Default::default()
    };
    assert!(
        refused(short)
            .message()
            .contains("`linger_ms` + `request_timeout_ms`")
    );
    let quorum = ProducerOptions {
        durability: Some(Durability::Quorum),
        ..Default::default()
    };
    assert_eq!(refused(quorum).kind(), ErrorKind::Unsupported);
    let none: [&str; 0] = [];
    for topics in [&none[..], &["a", "a"]] {
        let error = db.consumer(topics, ConsumerOptions::default()).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidArgument);
    }
    let both = ConsumerOptions {
        partitions: Some(vec![0]),
        ..in_group()
    };
    assert_eq!(
        db.consumer(&["a"], both).unwrap_err().code(),
        ErrorCode::InvalidOption
    );
}

#[test]
fn closing_flushes_commits_and_refuses_what_comes_later() {
    let (db, producer) = with_topic(1);
    let lingering = ProducerOptions {
        linger_ms: Some(60_000),
        ..Default::default()
    };
    let slow = db.producer(lingering).unwrap();
    let delivery = slow.send("orders", &Record::new(b"x")).unwrap();
    assert!(delivery.peek().is_none());
    let report = db.close(None).wait(None).unwrap();
    assert_eq!(report, headwater::CloseReport::default());
    assert!(delivery.peek().unwrap().is_ok());
    assert!(db.is_closed());
    for error in [
        producer.send("orders", &Record::new(b"x")).unwrap_err(),
        db.producer(ProducerOptions::default()).unwrap_err(),
        db.consumer(&["orders"], ConsumerOptions::default())
            .unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Closed);
    }
    assert_eq!(db.close(None).wait(None).unwrap(), report);
}

#[test]
fn the_admin_creates_alters_lists_and_deletes() {
    let db = memory();
    let admin = db.admin();
    let create = || TopicOptions {
        partitions: Some(2),
        ..Default::default()
    };
    admin.create_topic("b", create()).wait(None).unwrap();
    admin.create_topic("a", create()).wait(None).unwrap();
    let error = admin.create_topic("a", create()).wait(None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    let again = TopicOptions {
        exist_ok: Some(true),
        ..create()
    };
    admin.create_topic("a", again).wait(None).unwrap();
    let many = TopicOptions {
        partitions: Some(5_000),
        ..Default::default()
    };
    let error = admin.create_topic("c", many).wait(None).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidOption);
    let names = |topics: Vec<headwater::TopicDescription>| {
        topics
            .into_iter()
            .map(|topic| topic.name)
            .collect::<Vec<_>>()
    };
    assert_eq!(names(admin.list_topics().wait(None).unwrap()), ["a", "b"]);
    let kept = TopicOptions {
        retention_ms: Some(60_000),
        ..Default::default()
    };
    admin.alter_topic("a", kept).wait(None).unwrap();
    let found = admin.describe_topic("a").wait(None).unwrap();
    let retention = found
        .config
        .iter()
        .find(|(name, _)| name == "retention_ms")
        .unwrap();
    assert_eq!((retention.1.as_str(), found.partitions.len()), ("60000", 2));
    admin.delete_topic("b").wait(None).unwrap();
    assert_eq!(names(admin.list_topics().wait(None).unwrap()), ["a"]);
    let error = admin.describe_group("nobody").wait(None).unwrap_err();
    assert_eq!(error.code(), ErrorCode::GroupIdNotFound);
}

#[test]
fn metrics_count_what_went_through() {
    let (db, producer) = with_topic(1);
    send(&producer, 0..10);
    let metrics = db.metrics();
    assert_eq!(
        (metrics.records_sent, metrics.records_acknowledged),
        (10, 10)
    );
    assert_eq!(
        (metrics.records_failed, metrics.producers, metrics.consumers),
        (0, 1, 0)
    );
    assert!(metrics.threads >= 1);
    assert!(metrics.entries().contains(&("records_sent", 10)));
}

const CHILD_FOLDER: &str = "HEADWATER_TEST_EXIT_FOLDER";

/// Ends without closing anything, as a program does that forgot to: the child of the test below, in a
/// process of its own. Nothing without a folder named.
#[test]
fn a_program_that_ends_without_closing() {
    let Ok(folder) = std::env::var(CHILD_FOLDER) else {
        return;
    };
    let db = headwater::connect(&folder).wait(None).unwrap();
    db.admin()
        .create_topic("orders", TopicOptions::default())
        .wait(None)
        .unwrap();
    let options = ProducerOptions {
        linger_ms: Some(60_000),
        ..Default::default()
    };
    let producer = db.producer(options).unwrap();
    for _ in 0..10 {
        producer.enqueue("orders", &Record::new(b"x")).unwrap();
    }
    let report = headwater::exit(Some(std::time::Duration::from_secs(60)));
    assert_eq!(report, headwater::CloseReport::default());
    assert_eq!(headwater::exit(None), report);
    assert_eq!(
        producer
            .enqueue("orders", &Record::new(b"y"))
            .unwrap_err()
            .kind(),
        ErrorKind::Closed
    );
    std::process::exit(7);
}

#[test]
fn the_end_of_the_process_flushes_and_closes_what_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let address = folder.path().to_str().unwrap();
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "client::connect::a_program_that_ends_without_closing",
            "--exact",
        ])
        .env(CHILD_FOLDER, address)
        .output()
        .unwrap();
    assert_eq!(
        child.status.code(),
        Some(7),
        "{}",
        String::from_utf8_lossy(&child.stdout)
    );
    let db = headwater::connect(address).wait(None).unwrap();
    let topic = db.admin().describe_topic("orders").wait(None).unwrap();
    assert_eq!(topic.partitions[0].high_watermark, 10);
    assert_eq!(
        topic.partitions[0].leader_epoch, 1,
        "a second term would say that it was not closed"
    );
}
