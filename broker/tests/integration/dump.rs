//! `headwater dump`: on closed folders, beside a broker, and on damaged ones.

use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use headwater::ids::PartitionId;
use headwater::log::control::{self, Member, Membership};
use headwater::log::raft::{EntryId, RaftEntry, RaftLog};
use headwater::log::storage::disk::DiskStorage;
use headwater::log::{Kind, LogOptions, format};
use serde_json::Value;

use super::harness::{Place, Serving, run, verified};

fn dump(data: &Path, more: &[&str]) -> super::harness::Ran {
    let data = data.to_str().unwrap();
    run(["--json", "dump", data].iter().chain(more))
}

fn of_kind<'a>(frames: &'a [Value], kind: &str) -> Vec<&'a Value> {
    frames
        .iter()
        .filter(|frame| frame["kind"] == kind)
        .collect()
}

fn first_segment(data: &Path) -> PathBuf {
    data.join("0000/00000000000000000001.log")
}

/// Flips one bit of the byte at `position`.
fn damage(path: &Path, position: u64) {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.seek(SeekFrom::Start(position)).unwrap();
    file.read_exact(&mut byte).unwrap();
    file.seek(SeekFrom::Start(position)).unwrap();
    file.write_all(&[byte[0] ^ 1]).unwrap();
}

#[test]
fn every_frame_is_printed_with_what_it_holds() {
    let place = Place::folder().with_topic("orders", 2, "k1:a\nk1:b\n");
    let read = ["consume", "orders", "--group", "billing", "--exit-at-end"];
    place.run(&read).ended(0);
    let data = Path::new(&place.address);
    let lines = dump(data, &[]).ended(0).json();
    assert_eq!(
        (&lines[0]["item"], &lines[0]["format"]),
        (&"folder".into(), &1.into())
    );
    assert_eq!(
        (&lines[1]["item"], &lines[1]["segment"]),
        (&"segment".into(), &1.into())
    );
    let frames = &lines[2..];
    let indexes: Vec<_> = frames
        .iter()
        .map(|frame| frame["index"].as_u64().unwrap())
        .collect();
    assert!(
        indexes.is_sorted() && frames[0]["position"] == 4_096,
        "{frames:?}"
    );

    let created = &of_kind(frames, "SET")[0]["parts"];
    assert_eq!(created[0]["content"]["topic"], "orders");
    assert_eq!(created[2]["content"]["partition"], 1);
    let records = of_kind(frames, "RECORDS");
    let (first, last) = (records[0], records[records.len() - 1]);
    assert_eq!(
        (&first["topic"], &first["base_offset"]),
        (&"orders".into(), &0.into())
    );
    assert_eq!(last["last_offset"], 1);
    assert_eq!(
        (&first["producer_id"], &first["base_sequence"]),
        (&0.into(), &0.into())
    );
    assert!(first["max_timestamp_ms"].as_i64() > Some(0));
    let commits = of_kind(frames, "OFFSET_COMMIT");
    assert_eq!(commits[0]["content"]["group"], "billing");
    assert_eq!(frames[frames.len() - 1]["content"]["closed"], true);

    let words = run(["dump", data.to_str().unwrap()]).ended(0).stdout;
    assert!(words.contains("MARK closed cleanly"), "{words}");
    assert!(words.contains("TOPIC_CREATE orders"), "{words}");
    let whole = run(["dump", "--verify", data.to_str().unwrap()])
        .ended(0)
        .stdout;
    assert!(
        whole.contains("whole: everything that was promised is there"),
        "{whole}"
    );
}

#[test]
fn batches_and_a_commit_that_happened_together_are_shown_and_counted() {
    let place = Place::folder().with_topic("orders", 1, "k1:a\nk1:b\n");
    let data = Path::new(&place.address);
    let db = headwater::connect(&place.address).wait(None).unwrap();
    let admin = db.admin();
    admin
        .create_topic("bills", Default::default())
        .wait(None)
        .unwrap();
    let options = headwater::ConsumerOptions {
        group: Some("billing".into()),
        ..Default::default()
    };
    let consumer = db.consumer(&["orders"], options).unwrap();
    consumer.next_block_wait(None).unwrap().unwrap();
    let result = headwater::Record::new(b"paid");
    let results = [("bills", result), ("orders", result)];
    let sent = consumer.commit_with(&results).wait(None).unwrap();
    assert_eq!(sent[1].offset, 2);
    db.close(None).wait(None).unwrap();

    let frames = dump(data, &[]).ended(0).json();
    let sets = of_kind(&frames, "SET");
    let parts = sets[sets.len() - 1]["parts"].as_array().unwrap();
    let kinds: Vec<_> = parts.iter().map(|part| &part["kind"]).collect();
    assert_eq!(kinds, ["RECORDS", "RECORDS", "OFFSET_COMMIT"]);
    assert_eq!(parts[0]["topic"], "bills");
    assert_eq!(parts[1]["base_offset"], 2);
    let summary = dump(data, &["--verify"]).ended(0).json().pop().unwrap();
    assert_eq!(summary["is_whole"], true);
    let topics = summary["topics"].as_array().unwrap().iter();
    let ends = topics.map(|topic| topic["partitions"][0]["end_offset"].as_i64());
    assert_eq!(ends.sum::<Option<i64>>(), Some(4));
}

#[test]
fn compressed_batches_are_shown_with_their_codec_and_read_like_any_other() {
    for codec in ["gzip", "snappy", "lz4", "zstd"] {
        let place = Place::folder();
        let bench = [
            "bench",
            "produce",
            "--records",
            "500",
            "--compression",
            codec,
        ];
        let said = place.run(&bench).ended(0).stdout;
        assert!(said.contains(&format!("compression {codec}")), "{said}");
        let data = Path::new(&place.address);
        let frames = dump(data, &[]).ended(0).json();
        let records = of_kind(&frames, "RECORDS");
        let last = records[records.len() - 1];
        assert_eq!(
            (&last["codec"], &last["last_offset"]),
            (&codec.into(), &499.into())
        );
        // The last may hold a record or two, which the frame outweighs.
        let largest = records.iter().max_by_key(|it| it["records"].as_u64());
        let largest = largest.unwrap();
        assert!(largest["len"].as_u64() < largest["records"].as_u64().map(|count| count * 80));
        let words = run(["dump", data.to_str().unwrap()]).ended(0).stdout;
        assert!(
            words.contains(&format!("bytes of {codec}, producer")),
            "{words}"
        );
        assert_eq!(verified(data)["records"], 500);
        let read = ["consume", "bench", "--exit-at-end", "--format", "%o\\n"];
        let read = place.run(&read).ended(0).stdout;
        assert!(
            read.lines()
                .map(str::to_owned)
                .eq((0..500).map(|it| it.to_string()))
        );
    }
    let refused = Place::folder()
        .run(&["--json", "bench", "produce", "--compression", "brotli"])
        .ended(1);
    assert_eq!(refused.error()["code"], "INVALID_OPTION");
}

#[test]
fn a_folder_that_a_broker_has_open_can_be_looked_at() {
    let scratch = tempfile::tempdir().unwrap();
    let data = scratch.path().join("data");
    let mut broker = Serving::start(&data);
    let at = ["--address", &broker.address];
    run(at.iter().chain(&["topic", "create", "orders"])).ended(0);
    let bench = [
        "bench",
        "produce",
        "--topic",
        "orders",
        "--records",
        "20000",
    ];
    let mut writing = super::harness::headwater();
    let mut writing = writing.args(at).args(bench).spawn().unwrap();
    let mut seen = 0;
    while writing.try_wait().unwrap().is_none() {
        let summary = verified(&data);
        assert!(summary["records"].as_u64().unwrap() >= seen, "{summary}");
        seen = summary["records"].as_u64().unwrap();
    }
    let summary = verified(&data);
    assert_eq!(
        (&summary["records"], &summary["is_clean"]),
        (&20_000.into(), &false.into())
    );
    // It is not in the way of the owner.
    assert_eq!(broker.interrupt().0, Some(0));
    assert_eq!(verified(&data)["is_clean"], true);
}

#[test]
fn damage_to_promised_data_is_found_and_fails() {
    let place = Place::folder().with_topic("orders", 1, "k:a\n");
    place.run_with_input(&["produce", "orders"], "b\n").ended(0);
    let data = Path::new(&place.address);
    let frames = dump(data, &[]).ended(0).json();
    let records = of_kind(&frames, "RECORDS");
    let position = records[0]["position"].as_u64().unwrap();
    // A byte that only the batch's own checksum covers.
    damage(&first_segment(data), position + 48 + 40);
    for more in [&["--verify"][..], &[]] {
        let found = dump(data, more).ended(1);
        assert_eq!(found.error()["code"], "CORRUPT_SEGMENT");
        let lines = found.json();
        let damages: Vec<_> = lines
            .iter()
            .filter(|line| line["item"] == "damage")
            .collect();
        assert_eq!(damages.len(), 1, "{lines:?}");
        assert_eq!(damages[0]["position"], position);
        assert_eq!(damages[0]["is_promised"], true);
        assert_eq!(damages[0]["topic"], "orders");
    }
    let opened = place.run(&["--json", "topic", "list"]).ended(1);
    assert_eq!(opened.error()["code"], "CORRUPT_SEGMENT");
}

#[test]
fn a_torn_tail_that_was_never_promised_is_no_failure() {
    let place = Place::folder().with_topic("orders", 1, "k:a\n");
    let data = Path::new(&place.address);
    let before = verified(data);
    let mut file = OpenOptions::new()
        .append(true)
        .open(first_segment(data))
        .unwrap();
    file.write_all(&[0xab; 100]).unwrap();
    let found = dump(data, &["--verify"]).ended(0).json();
    assert_eq!(
        (&found[0]["item"], &found[0]["is_promised"]),
        (&"damage".into(), &false.into())
    );
    let summary = &found[1];
    assert_eq!(
        (&summary["is_whole"], &summary["unpromised_damages"]),
        (&true.into(), &1.into())
    );
    assert_eq!(summary["records"], before["records"]);
    place.run(&["consume", "orders", "--exit-at-end"]).ended(0);
    assert_eq!(verified(data)["unpromised_damages"], 0);
}

#[test]
fn what_is_no_data_folder_is_named() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("file");
    std::fs::write(&file, "text").unwrap();
    let error = |path: &Path, code| dump(path, &[]).ended(code).error()["code"].clone();
    assert_eq!(error(scratch.path(), 3), "FOLDER_NOT_FOUND");
    assert_eq!(
        error(&scratch.path().join("missing"), 3),
        "FOLDER_NOT_FOUND"
    );
    assert_eq!(error(&file, 1), "NOT_A_FOLDER");
    std::fs::write(scratch.path().join("format"), "headwater-folder 1\n").unwrap();
    assert_eq!(error(scratch.path(), 1), "CORRUPT_FOLDER");
}

/// A folder in which `long` lives on among what has died of `brief`.
fn cleaned_folder(data: &Path) {
    let options = headwater::ConnectOptions {
        segment_bytes: Some(1 << 20),
        ..Default::default()
    };
    let mut db = headwater::connect_with(data.to_str().unwrap(), options);
    let db = db.wait(None).unwrap();
    let topic = |name: &str, retention_bytes: Option<i64>| {
        let options = headwater::TopicOptions {
            durability: Some(headwater::Durability::Os),
            retention_bytes,
            ..Default::default()
        };
        db.admin().create_topic(name, options).wait(None).unwrap();
    };
    topic("brief", Some(1 << 20));
    topic("long", None);
    let producer = db.producer(headwater::ProducerOptions::default()).unwrap();
    let value = vec![7; 60_000];
    for _ in 0..800 {
        drop(
            producer
                .send("brief", &headwater::Record::new(&value))
                .unwrap(),
        );
        let kept = producer.send("long", &headwater::Record::new(&value[..1_000]));
        kept.unwrap().wait(None).unwrap();
    }
    let is_cold = |name: std::ffi::OsString| name.to_string_lossy().ends_with(".cold");
    let names = || std::fs::read_dir(data.join("0000")).unwrap();
    while !names().any(|entry| is_cold(entry.unwrap().file_name())) {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    db.close(None).wait(None).unwrap();
}

#[test]
fn a_folder_that_was_cleaned_is_whole_and_damage_to_what_was_kept_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    cleaned_folder(&data);
    let summary = dump(&data, &["--verify"]).ended(0).json().pop().unwrap();
    assert_eq!(
        (&summary["is_whole"], &summary["is_clean"]),
        (&true.into(), &true.into())
    );
    let topics = summary["topics"].as_array().unwrap();
    let long = topics
        .iter()
        .find(|topic| topic["topic"] == "long")
        .unwrap();
    let partition = &long["partitions"][0];
    let said = ["log_start_offset", "end_offset", "records"].map(|name| partition[name].as_i64());
    assert_eq!(said, [Some(0), Some(800), Some(800)]);

    let lines = dump(&data, &[]).ended(0).json();
    let cold: Vec<_> = lines
        .iter()
        .filter(|line| line["is_cold"] == true)
        .collect();
    assert!(
        !cold.is_empty() && cold[0]["segment"].as_u64() > Some(0),
        "{cold:?}"
    );
    let words = run(["dump", data.to_str().unwrap()]).ended(0).stdout;
    assert!(words.contains("cold: "), "{words}");

    let path = cold[0]["path"].as_str().unwrap();
    damage(&data.join(path), 4_096 + 60);
    let lines = dump(&data, &["--verify"]).ended(1).json();
    let damaged = lines.iter().find(|line| line["item"] == "damage").unwrap();
    assert_eq!(
        (&damaged["path"], &damaged["is_promised"]),
        (&path.into(), &true.into())
    );
}

/// The log of a member of a group in a data folder: entries behind a vote, the first segments of them purged.
fn group_folder(data: &Path) {
    let storage = Arc::new(DiskStorage::open(data, true).unwrap());
    let name = data.display().to_string();
    let folder = format::read_or_create(&*storage, &name, format::random_uuid).unwrap();
    let options = LogOptions {
        segment_bytes: 4_096 + 700,
        ..LogOptions::default()
    };
    let log = RaftLog::open(storage, "0000", folder.log_uuid, options).unwrap();
    log.save_vote(2, 1, true).unwrap();
    let members = Membership {
        voters: vec![vec![1, 2]],
        members: vec![Member {
            node: 1,
            address: "one:9092".to_owned(),
        }],
    };
    let entry = |index, kind, payload: Vec<u8>| RaftEntry {
        id: EntryId { term: 2, index },
        kind,
        partition: PartitionId(0),
        payload: payload.into(),
    };
    let mut entries: Vec<_> = (1..39)
        .map(|index| entry(index, Kind::Blank, Vec::new()))
        .collect();
    entries.push(entry(
        39,
        Kind::Membership,
        control::encode(&members).unwrap(),
    ));
    log.append(EntryId::default(), &entries).unwrap();
    log.sync().unwrap();
    let purged = EntryId { term: 2, index: 20 };
    log.save_committed(purged).unwrap();
    log.purge(purged).unwrap();
    log.close().unwrap();
}

#[test]
fn the_log_of_a_member_of_a_group_is_printed() {
    // It was called too new.
    let scratch = tempfile::tempdir().unwrap();
    let data = scratch.path().join("data");
    std::fs::create_dir(&data).unwrap();
    group_folder(&data);
    let frames = dump(&data, &[]).ended(0).json();
    let votes = of_kind(&frames, "VOTE");
    let last = votes[votes.len() - 1];
    assert_eq!(last["content"]["node"], 1);
    assert_eq!(last["content"]["is_committed"], true);
    assert_eq!(last["content"]["purged"]["index"], 20);
    let blanks = of_kind(&frames, "BLANK");
    assert!(blanks[0]["index"].as_u64() > Some(1), "the front is there");
    assert_eq!(blanks[blanks.len() - 1]["index"], 38);
    let members = of_kind(&frames, "MEMBERSHIP");
    assert_eq!(members[0]["content"]["members"][0]["address"], "one:9092");
    let data = data.to_str().unwrap();
    let words = run(["dump", data]).ended(0).stdout;
    assert!(
        words.contains("VOTE term 2 for node 1 committed"),
        "{words}"
    );
    let whole = run(["dump", "--verify", data]).ended(0).stdout;
    assert!(whole.contains("whole"), "{whole}");
}
