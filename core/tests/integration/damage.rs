//! Records that cannot be read any more: what a consumer is told of them, and what it still reads, in process and over a
//! broker.

use std::fs;
use std::path::{Path, PathBuf};

use headwater::service::{Service, ServiceOptions};
use headwater::{
    Client, Consumer, ConsumerOptions, ErrorCode, Outcome, ProducerOptions, Record, TopicOptions,
    TopicPartition, connect,
};

use super::server::Broker;

/// A folder with a topic of two partitions, in whose first five records are.
fn filled(folder: &Path) {
    let client = connect(folder.to_str().unwrap()).wait(None).unwrap();
    let options = TopicOptions {
        partitions: Some(2),
        ..TopicOptions::default()
    };
    let created = client.admin().create_topic("orders", options).wait(None);
    created.unwrap();
    for value in ["one", "two", "to be damaged", "four", "five"] {
        send(&client, 0, value);
    }
    client.close(None).wait(None).unwrap();
}

/// Damages the third of them, in a log that is open: a damage that is there before is found by the open.
fn damage(folder: &Path) {
    let path = segment(&folder.join("0000"));
    let mut bytes = fs::read(&path).unwrap();
    let wanted = b"to be damaged";
    let at = bytes.windows(wanted.len()).position(|it| it == wanted);
    bytes[at.unwrap()] ^= 1;
    fs::write(&path, bytes).unwrap();
}

fn segment(shard: &Path) -> PathBuf {
    let files = fs::read_dir(shard).unwrap().map(|it| it.unwrap().path());
    let mut segments = files.filter(|path| path.extension().is_some_and(|it| it == "log"));
    segments.next().unwrap()
}

/// One record, in a batch of its own.
fn send(client: &Client, partition: i32, value: &str) {
    let producer = client.producer(ProducerOptions::default()).unwrap();
    let record = Record {
        partition: Some(partition),
        // The same bytes in both folders.
        timestamp_ms: Some(1),
        ..Record::new(value.as_bytes())
    };
    producer
        .send("orders", &record)
        .unwrap()
        .wait(None)
        .unwrap();
    producer.close(None).wait(None).unwrap();
}

/// Partition and offset of the next record.
fn next(consumer: &Consumer) -> headwater::Result<(i32, i64)> {
    let batch = consumer.next_batch_wait(None)?.unwrap();
    let record = batch.records().next().unwrap()?;
    Ok((batch.partition(), record.offset))
}

/// Gives what the consumer was told.
fn meets_the_damage(client: &Client, folder: &Path) -> String {
    // The first append after an open looks once more at what the open has read.
    send(client, 1, "elsewhere");
    damage(folder);
    let consumer = client
        .consumer(&["orders"], ConsumerOptions::default())
        .unwrap();
    // What was written before it is read, though it lies beside it.
    let mut read = Vec::new();
    let told = loop {
        match next(&consumer) {
            Ok(found) => read.push(found),
            Err(error) => break error,
        }
    };
    read.sort_unstable();
    assert_eq!(read, [(0, 0), (0, 1), (1, 0)]);
    assert_eq!(
        (told.code(), told.outcome()),
        (ErrorCode::CorruptSegment, Outcome::NotDone)
    );
    for fact in ["orders-0", "offset 2", "0000/", ".log, position "] {
        assert!(told.message().contains(fact), "{told}");
    }
    // Whoever asks again is told again: nothing is passed over.
    assert_eq!(next(&consumer).unwrap_err(), told);
    let partition = TopicPartition {
        topic: "orders".into(),
        partition: 0,
    };
    consumer.pause(Some(&[partition])).unwrap();
    send(client, 1, "and again");
    assert_eq!(next(&consumer).unwrap(), (1, 1));
    consumer.resume(None).unwrap();
    assert_eq!(next(&consumer).unwrap_err(), told);
    consumer.seek("orders", 0, 3).unwrap();
    assert_eq!(next(&consumer).unwrap(), (0, 3));
    assert_eq!(next(&consumer).unwrap(), (0, 4));
    consumer.close(None).wait(None).unwrap();
    told.message().to_owned()
}

#[test]
fn a_damaged_record_is_named_again_and_again_until_the_host_reads_on_elsewhere_at_both_doors() {
    // Over a connection the subscription had ended, so that nothing was looked at again; in process a host that asked
    // again was answered at once, as often as it could ask. Whole batches read in one go with the damaged one were
    // refused with it.
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    [&one, &other].into_iter().for_each(|it| filled(it.path()));
    // Nothing is kept in memory, so all is read from the file.
    let address = format!("{}?tail_cache_bytes=0", one.path().display());
    let client = connect(&address).wait(None).unwrap();
    let here = meets_the_damage(&client, one.path());
    client.close(None).wait(None).unwrap();
    let options = ServiceOptions {
        tail_cache_bytes: 0,
        ..ServiceOptions::default()
    };
    let broker = Broker::of(Service::open_folder(other.path(), &options).unwrap());
    let client = connect(&broker.address.to_string()).wait(None).unwrap();
    let remote = meets_the_damage(&client, other.path());
    client.close(None).wait(None).unwrap();
    let without = |told: &str, folder: &Path| told.replace(folder.to_str().unwrap(), "F");
    assert_eq!(without(&here, one.path()), without(&remote, other.path()));
}
