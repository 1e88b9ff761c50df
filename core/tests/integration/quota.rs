//! A folder with a limit, as an application sees it: what comes is refused, or the oldest records go; and the
//! folder never holds more.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use headwater::{
    CleanupPolicy, Client, ConnectOptions, ConsumerOptions, ErrorCode, ErrorKind, MaxBytesPolicy,
    Outcome, ProducerOptions, Record, Result, TopicOptions, Until,
};

use super::retention::{MIB, RECORD_BYTES, create, describe, folder_bytes, send, wait_until};

const MAX_BYTES: u64 = 16 * MIB;

fn try_open(path: &str, max_bytes: u64, policy: MaxBytesPolicy) -> Result<Client> {
    let options = ConnectOptions {
        max_bytes: Some(max_bytes),
        max_bytes_policy: Some(policy),
        ..Default::default()
    };
    headwater::connect_with(path, options).wait(None)
}

fn open(path: &Path, policy: MaxBytesPolicy) -> Client {
    try_open(path.to_str().unwrap(), MAX_BYTES, policy).unwrap()
}

/// Looks at a folder until it is told to stop, and says how large it was at most, and with which files.
struct Watch {
    is_over: Arc<AtomicBool>,
    most: thread::JoinHandle<(u64, Vec<(String, u64)>)>,
}

impl Watch {
    fn begin(path: &Path) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let (stop, path) = (Arc::clone(&is_over), path.join("0000"));
        let most = thread::spawn(move || {
            let mut most = (0, Vec::new());
            let mut before = BTreeMap::new();
            while !stop.load(Ordering::Relaxed) {
                let files = files(&path);
                // One look sees what comes and goes meanwhile; what two see was there in between.
                let both = before
                    .into_iter()
                    .filter_map(|(name, bytes): (String, u64)| {
                        let now = files.get(&name)?;
                        Some((name, bytes.min(*now)))
                    });
                let both: Vec<_> = both.collect();
                let bytes = both.iter().map(|(_, bytes)| bytes).sum();
                if bytes > most.0 {
                    most = (bytes, both);
                }
                before = files;
            }
            most
        });
        Self { is_over, most }
    }

    fn end(self) -> (u64, Vec<(String, u64)>) {
        self.is_over.store(true, Ordering::Relaxed);
        self.most.join().unwrap()
    }
}

/// The files of a folder with their bytes.
fn files(path: &Path) -> BTreeMap<String, u64> {
    let files = std::fs::read_dir(path).unwrap().filter_map(|file| {
        let file = file.ok()?;
        // It may go while we look.
        let bytes = file.metadata().ok()?.len();
        Some((file.file_name().into_string().ok()?, bytes))
    });
    files.collect()
}

/// The offsets of a topic that can be read, and how many different keys there are.
fn read(db: &Client, topic: &str) -> (Vec<i64>, usize) {
    let options = ConsumerOptions {
        until: Some(Until::End),
        ..Default::default()
    };
    let consumer = db.consumer(&[topic], options).unwrap();
    let (mut offsets, mut keys) = (Vec::new(), BTreeSet::new());
    while let Some(batch) = consumer.next_batch_wait(None).unwrap() {
        for record in batch.records() {
            let record = record.unwrap();
            offsets.push(record.offset);
            keys.insert(record.key.map(<[u8]>::to_vec));
        }
    }
    consumer.close(None).wait(None).unwrap();
    (offsets, keys.len())
}

#[test]
fn the_oldest_records_make_room_and_the_folder_never_holds_more_than_its_limit() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    let db = open(&path, MaxBytesPolicy::DropOldest);
    create(&db, "t", TopicOptions::default());
    let watch = Watch::begin(&path);
    // As fast as it goes, which is faster than the oldest goes: what comes waits for that.
    let sent = 160 * MIB;
    send(&db, "t", sent);
    let (most, files) = watch.end();
    assert!(most <= MAX_BYTES, "{most}: {files:?}");
    let all = sent as i64 / RECORD_BYTES as i64;
    let found = describe(&db, "t").partitions[0];
    assert_eq!(found.log_end_offset, all);
    assert!(found.log_start_offset > 0);
    let (offsets, _) = read(&db, "t");
    // Some may have gone while we read.
    let kept: Vec<_> = (describe(&db, "t").partitions[0].log_start_offset..all).collect();
    assert!(offsets.ends_with(&kept), "{kept:?} {offsets:?}");
    assert!(offsets[0] >= found.log_start_offset && offsets.is_sorted());
    // What is kept is a good part of the limit.
    assert!(offsets.len() * RECORD_BYTES >= 4 * MIB as usize);
    assert!(folder_bytes(&path) >= MAX_BYTES / 3);
    db.close(None).wait(None).unwrap();

    let db = open(&path, MaxBytesPolicy::DropOldest);
    send(&db, "t", 8 * MIB);
    assert!(folder_bytes(&path) <= MAX_BYTES);
    db.close(None).wait(None).unwrap();
}

fn try_send(db: &Client, topic: &str, record: &Record<'_>) -> Result<()> {
    let producer = db.producer(ProducerOptions::default()).unwrap();
    let sent = producer.send(topic, record).unwrap().wait(None);
    let _ = producer.close(None).wait(None);
    sent.map(drop)
}

#[test]
fn what_has_no_room_is_refused_until_something_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    for address in [path.to_str().unwrap(), "mem:"] {
        let db = try_open(address, MAX_BYTES, MaxBytesPolicy::Refuse).unwrap();
        create(&db, "t", TopicOptions::default());
        let value = vec![7; 900 * 1_024];
        let mut kept = 0;
        let error = loop {
            match try_send(&db, "t", &Record::new(&value)) {
                Ok(()) => kept += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(
            (error.code(), error.kind(), error.outcome()),
            (ErrorCode::QuotaExceeded, ErrorKind::Full, Outcome::NotDone),
            "{error}"
        );
        assert!(error.message().contains("max_bytes"), "{error}");
        assert!(error.message().contains(&MAX_BYTES.to_string()), "{error}");
        assert!(kept >= 8, "{kept}");
        assert!(address == "mem:" || folder_bytes(&path) <= MAX_BYTES);
        // Everything is there, and can be read.
        assert_eq!(read(&db, "t").0, (0..kept).collect::<Vec<_>>());
        let before = BTreeMap::from([(0, kept - 1)]);
        db.admin().delete_records("t", before).wait(None).unwrap();
        wait_until(|| try_send(&db, "t", &Record::new(&value)).is_ok());
        assert_eq!(read(&db, "t").0, [kept - 1, kept]);
        db.close(None).wait(None).unwrap();
    }
}

#[test]
fn the_last_record_of_each_key_stays_however_old_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    let db = open(&path, MaxBytesPolicy::DropOldest);
    let compacted = TopicOptions {
        cleanup_policy: Some(CleanupPolicy::Compact),
        ..Default::default()
    };
    create(&db, "state", compacted);
    create(&db, "t", TopicOptions::default());
    let value = vec![7; RECORD_BYTES];
    for number in 0..32_u32 {
        let key = number.to_be_bytes();
        let record = Record::new(&value).with_key(&key);
        try_send(&db, "state", &record).unwrap();
        send(&db, "t", MIB);
    }
    let watch = Watch::begin(&path);
    send(&db, "t", 32 * MIB);
    let (most, files) = watch.end();
    assert!(most <= MAX_BYTES, "{most}: {files:?}");
    assert_eq!(read(&db, "state"), ((0..32).collect(), 32));
    db.close(None).wait(None).unwrap();
}

#[test]
fn a_limit_below_what_a_folder_holds_takes_effect_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    let db = super::retention::open(&path);
    create(&db, "t", TopicOptions::default());
    send(&db, "t", 40 * MIB);
    db.close(None).wait(None).unwrap();

    let db = open(&path, MaxBytesPolicy::Refuse);
    let error = try_send(&db, "t", &Record::new(b"one more")).unwrap_err();
    assert_eq!(error.code(), ErrorCode::QuotaExceeded, "{error}");
    assert_eq!(
        read(&db, "t").0.len() as u64,
        40 * MIB / RECORD_BYTES as u64
    );
    db.close(None).wait(None).unwrap();

    let db = open(&path, MaxBytesPolicy::DropOldest);
    wait_until(|| folder_bytes(&path) <= MAX_BYTES);
    send(&db, "t", 2 * MIB);
    let found = describe(&db, "t").partitions[0];
    assert_eq!(found.log_end_offset as u64, 42 * MIB / RECORD_BYTES as u64);
    db.close(None).wait(None).unwrap();
}

#[test]
fn a_limit_for_less_than_eight_segments_is_refused() {
    let options = ConnectOptions {
        segment_bytes: Some(4 * MIB),
        max_bytes: Some(31 * MIB),
        ..Default::default()
    };
    let error = headwater::connect_with("mem:", options)
        .wait(None)
        .unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidOption);
    assert!(error.message().contains("33554432"), "{error}");
}

/// All of it is the last of its key and has to stay: then what comes is refused, and waits for nothing.
#[test]
fn where_nothing_may_go_what_has_no_room_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    let db = open(&path, MaxBytesPolicy::DropOldest);
    let compacted = TopicOptions {
        cleanup_policy: Some(CleanupPolicy::Compact),
        ..Default::default()
    };
    create(&db, "state", compacted);
    let value = vec![7; 900 * 1_024];
    let mut kept = 0_u32;
    let error = loop {
        let key = kept.to_be_bytes();
        match try_send(&db, "state", &Record::new(&value).with_key(&key)) {
            Ok(()) => kept += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), ErrorCode::QuotaExceeded, "{error}");
    assert!(folder_bytes(&path) <= MAX_BYTES);
    assert_eq!(read(&db, "state").1, kept as usize);
    db.admin().delete_topic("state").wait(None).unwrap();
    create(&db, "state", TopicOptions::default());
    wait_until(|| try_send(&db, "state", &Record::new(&value)).is_ok());
    db.close(None).wait(None).unwrap();
}

#[test]
fn a_close_waits_for_no_room() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    let db = open(&path, MaxBytesPolicy::DropOldest);
    create(&db, "t", TopicOptions::default());
    let producer = db.producer(ProducerOptions::default()).unwrap();
    let value = vec![7; RECORD_BYTES];
    for _ in 0..64 * MIB / RECORD_BYTES as u64 {
        drop(producer.send("t", &Record::new(&value)).unwrap());
    }
    // In the midst of it: what is not delivered is said, and nothing hangs.
    db.close(None).wait(None).unwrap();
    let db = open(&path, MaxBytesPolicy::DropOldest);
    let found = describe(&db, "t").partitions[0];
    assert!(found.log_end_offset > 0);
    db.close(None).wait(None).unwrap();
}

/// It needs more than a segment, so more has to go for it; and what could never fit does not wait for that.
#[test]
fn a_record_larger_than_a_segment_finds_room_or_is_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    let db = open(&path, MaxBytesPolicy::DropOldest);
    let large = TopicOptions {
        max_message_bytes: Some(16 * MIB),
        ..Default::default()
    };
    create(&db, "t", large);
    let watch = Watch::begin(&path);
    for megabytes in [4, 6, 4, 7] {
        send(&db, "t", 12 * MIB);
        let value = vec![7; megabytes << 20];
        try_send(&db, "t", &Record::new(&value)).unwrap();
    }
    let (most, files) = watch.end();
    assert!(most <= MAX_BYTES, "{most}: {files:?}");
    let value = vec![7; 13 << 20];
    let error = try_send(&db, "t", &Record::new(&value)).unwrap_err();
    assert_eq!(error.code(), ErrorCode::QuotaExceeded, "{error}");
    send(&db, "t", 4 * MIB);
    db.close(None).wait(None).unwrap();
}
