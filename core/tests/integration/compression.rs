//! Compressed batches from end to end: sent, stored, searched, read, and refused.

use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use headwater::options::Compression;
use headwater::protocol::request::{Request, Subscribe};
use headwater::protocol::response::Response;
use headwater::record::batch::{self, HEADER_BYTES};
use headwater::record::block::BlockView;
use headwater::record::{Batch, BatchBuilder, BatchHeader, Codec, Compressor, RecordRef};
use headwater::service::{Run, Service, ServiceOptions, Session};
use headwater::{
    Client, Completion, ConsumerOptions, Error, ErrorCode, OffsetAt, OffsetQuery, PartitionOffset,
    Producer, ProducerOptions, Record, Result, Start, TopicOptions, Until, connect, limits,
};

const ALL: [(Compression, Codec); 4] = [
    (Compression::Gzip, Codec::Gzip),
    (Compression::Snappy, Codec::Snappy),
    (Compression::Lz4, Codec::Lz4),
    (Compression::Zstd, Codec::Zstd),
];
const RECORDS: usize = 3_000;

fn producer(db: &Client, compression: Compression) -> Producer {
    let options = ProducerOptions {
        compression: Some(compression),
        // Nothing leaves before the batch is full, or flushed.
        linger_ms: Some(60_000),
        batch_bytes: Some(32 << 10),
        ..ProducerOptions::default()
    };
    db.producer(options).unwrap()
}

fn value(number: usize) -> String {
    format!("{{\"number\":{number},\"text\":\"a value like many others\"}}")
}

/// A topic `orders` with [`RECORDS`] records of rising times.
fn filled(db: &Client, compression: Compression, topic: TopicOptions) {
    db.admin().create_topic("orders", topic).wait(None).unwrap();
    let producer = producer(db, compression);
    for number in 0..RECORDS {
        let value = value(number);
        let record = Record {
            timestamp_ms: Some(1_000 + number as i64),
            ..Record::new(value.as_bytes())
        };
        producer.enqueue("orders", &record).unwrap();
    }
    producer.flush().wait(None).unwrap();
}

fn read_from(db: &Client, start: Start) -> Vec<(i64, i64, String)> {
    let options = ConsumerOptions {
        start: Some(start),
        until: Some(Until::End),
        ..ConsumerOptions::default()
    };
    let consumer = db.consumer(&["orders"], options).unwrap();
    let mut found = Vec::new();
    while let Some(batch) = consumer.next_batch_wait(None).unwrap() {
        for record in batch.records() {
            let record = record.unwrap();
            let value = str::from_utf8(record.value.unwrap()).unwrap();
            found.push((record.offset, record.timestamp_ms, value.to_owned()));
        }
    }
    found
}

fn expected(from: usize) -> Vec<(i64, i64, String)> {
    (from..RECORDS)
        .map(|number| (number as i64, 1_000 + number as i64, value(number)))
        .collect()
}

/// The batches of `orders` as they are stored.
fn stored(session: &Session) -> Vec<Batch> {
    let subscribe = Subscribe {
        partitions: vec![PartitionOffset {
            topic: "orders".to_owned(),
            partition: 0,
            offset: 0,
        }],
        credit_bytes: 0,
    };
    let subscription = session.subscribe(&subscribe.into()).unwrap();
    let mut batches = Vec::new();
    loop {
        let taken = subscription.take(1 << 20).unwrap();
        if taken.is_empty() {
            return batches;
        }
        batches.extend(
            taken
                .into_iter()
                .map(|it| Batch::verified(it.batch).unwrap()),
        );
    }
}

fn folder(path: &Path) -> Service {
    Service::open_folder(path, &ServiceOptions::default()).unwrap()
}

#[test]
fn what_a_compressing_producer_sends_is_stored_compressed_and_read_back() {
    for (compression, codec) in ALL {
        let dir = tempfile::tempdir().unwrap();
        let db = connect(dir.path().to_str().unwrap()).wait(None).unwrap();
        filled(&db, compression, TopicOptions::default());
        assert_eq!(read_from(&db, Start::Earliest), expected(0));
        db.close(None).wait(None).unwrap();

        let service = folder(dir.path());
        let batches = stored(&service.session());
        assert!(batches.len() > 3 && batches.len() < 20, "{}", batches.len());
        assert!(batches.iter().all(|it| it.header().codec() == codec));
        let sent: usize = batches.iter().map(|it| it.bytes().len()).sum();
        assert!(sent < RECORDS * 40, "{sent}");
        service.close().unwrap();

        let db = connect(dir.path().to_str().unwrap()).wait(None).unwrap();
        assert_eq!(read_from(&db, Start::Earliest), expected(0));
        // Within a batch.
        assert_eq!(read_from(&db, Start::Offset(777)), expected(777));
        assert_eq!(read_from(&db, Start::Time(2_234)), expected(1_234));
        let at = OffsetQuery {
            topic: "orders".to_owned(),
            partition: 0,
            at: OffsetAt::Time(3_001),
        };
        let found = db.admin().list_offsets(vec![at]).wait(None).unwrap();
        assert_eq!(found, [2_001]);
        db.close(None).wait(None).unwrap();
    }
}

#[test]
fn blocks_are_made_of_compressed_batches_piece_by_piece() {
    for (compression, _) in ALL {
        let db = connect("mem:").wait(None).unwrap();
        filled(&db, compression, TopicOptions::default());
        let options = ConsumerOptions {
            until: Some(Until::End),
            max_block_records: Some(70),
            ..ConsumerOptions::default()
        };
        let consumer = db.consumer(&["orders"], options).unwrap();
        let mut found = Vec::new();
        while let Some(block) = consumer.next_block_wait(None).unwrap() {
            let view = BlockView::parse(block.bytes()).unwrap();
            for record in view.records() {
                let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
                found.push((record.offset, record.timestamp_ms, value));
            }
        }
        assert_eq!(found, expected(0));
    }
}

#[test]
fn the_logs_own_time_becomes_that_of_compressed_records() {
    for (_, codec) in ALL {
        let service = Service::open_memory("", &ServiceOptions::default()).unwrap();
        let session = service.session();
        let request = Request::CreateTopic {
            name: "orders".to_owned(),
            config: vec![("message_timestamp_type".into(), "log_append_time".into())],
            exist_ok: false,
        };
        ask(&session, request, Vec::new()).unwrap();
        let sent = compressed(codec, &["the same value"; 50]);
        produce(&session, sent.clone()).unwrap();
        let batches = stored(&session);
        let [batch] = &batches[..] else {
            panic!("one was sent")
        };
        assert_eq!(batch.bytes()[HEADER_BYTES..], sent[HEADER_BYTES..]);
        let time_ms = batch.header().append_time_ms().expect("the log set it");
        assert!(time_ms > 1_600_000_000_000);
        assert_eq!(batch.records().count(), 50);
        assert!(
            batch
                .records()
                .all(|it| it.unwrap().timestamp_ms == time_ms)
        );
    }
}

#[test]
fn a_large_record_is_judged_by_what_is_sent_of_it() {
    let db = connect("mem:").wait(None).unwrap();
    let topic = TopicOptions {
        max_message_bytes: Some(10_000),
        ..TopicOptions::default()
    };
    db.admin().create_topic("orders", topic).wait(None).unwrap();
    let text = "again and again ".repeat(10_000);
    let plain = producer(&db, Compression::None);
    let error = plain
        .send("orders", &Record::new(text.as_bytes()))
        .unwrap_err();
    assert_eq!(error.code(), ErrorCode::MessageTooLarge);
    for (compression, _) in ALL {
        let producer = producer(&db, compression);
        let before = producer.send("orders", &Record::new(b"before")).unwrap();
        let large = producer
            .send("orders", &Record::new(text.as_bytes()))
            .unwrap();
        let after = producer.send("orders", &Record::new(b"after")).unwrap();
        producer.flush().wait(None).unwrap();
        let offset = before.wait(None).unwrap().offset;
        assert_eq!(large.wait(None).unwrap().offset, offset + 1);
        assert_eq!(after.wait(None).unwrap().offset, offset + 2);
        // What does not shrink is refused at once, and nothing else with it.
        let noise = noise(20_000);
        let error = producer.send("orders", &Record::new(&noise)).unwrap_err();
        assert_eq!(error.code(), ErrorCode::MessageTooLarge);
        let said = error.message();
        assert!(said.contains("max_message_bytes is 10000"), "{said}");
        let too_large = vec![b'x'; limits::BATCH_BYTES_MAX];
        let error = producer
            .send("orders", &Record::new(&too_large))
            .unwrap_err();
        assert_eq!(error.code(), ErrorCode::MessageTooLarge);
        producer.enqueue("orders", &Record::new(b"last")).unwrap();
        producer.flush().wait(None).unwrap();
    }
    let options = ConsumerOptions {
        until: Some(Until::End),
        ..ConsumerOptions::default()
    };
    let consumer = db.consumer(&["orders"], options).unwrap();
    let mut lengths = Vec::new();
    while let Some(batch) = consumer.next_batch_wait(None).unwrap() {
        lengths.extend(batch.records().map(|it| it.unwrap().value.unwrap().len()));
    }
    assert_eq!(lengths, [6, text.len(), 5, 4].repeat(ALL.len()));
}

fn ask(session: &Session, request: Request, payload: Vec<u8>) -> Result<Response> {
    let (completion, mut pending) = Completion::pair();
    session.submit(request, Bytes::from(payload), Run::Here, completion);
    pending.wait(None)
}

fn produce(session: &Session, batch: Vec<u8>) -> Result<Response> {
    let request = Request::Produce {
        topic: "orders".to_owned(),
        partition: 0,
        durability: None,
    };
    ask(session, request, batch)
}

fn compressed(codec: Codec, values: &[&str]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(1_024);
    for value in values {
        let record = RecordRef {
            value: Some(value.as_bytes()),
            ..RecordRef::default()
        };
        builder.push(&record).unwrap();
    }
    let mut compressor = Compressor::new(codec).unwrap();
    builder
        .finish_compressed(&mut compressor, -1, -1, -1)
        .unwrap()
}

/// A batch of one record that says its frame is of the codec with this number.
fn with_frame(codec: u16, frame: &[u8]) -> Vec<u8> {
    let plain = compressed(Codec::None, &["x"]);
    let header = BatchHeader {
        batch_length: (HEADER_BYTES - 12 + frame.len()) as i32,
        attributes: codec,
        ..BatchHeader::parse(&plain).unwrap()
    };
    let mut bytes = [&header.encode()[..], frame].concat();
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 1u64;
    std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    })
    .take(bytes)
    .collect()
}

/// A service with a topic `orders`, and a stranger to it.
fn stranger() -> (Service, Session) {
    let service = Service::open_memory("", &ServiceOptions::default()).unwrap();
    let request = Request::CreateTopic {
        name: "orders".to_owned(),
        config: vec![("max_message_bytes".into(), (16 << 20).to_string())],
        exist_ok: false,
    };
    ask(&service.session(), request, Vec::new()).unwrap();
    let session = service.remote_session();
    (service, session)
}

fn refused(session: &Session, batch: Vec<u8>) -> Error {
    produce(session, batch).unwrap_err()
}

#[test]
fn a_strangers_compressed_batch_is_taken_and_one_that_cannot_be_read_is_not() {
    let (_service, session) = stranger();
    for (_, codec) in ALL {
        let good = compressed(codec, &["the same value"; 50]);
        produce(&session, good.clone()).unwrap();
        let cut = with_frame(codec as u16, &good[HEADER_BYTES..good.len() - 1]);
        let error = refused(&session, cut);
        assert_eq!(error.code(), ErrorCode::CorruptMessage);
        let said = format!(
            "a record batch for topic `orders`: the records, compressed with {}: ",
            codec.name()
        );
        assert!(error.message().starts_with(&said), "{error}");
    }
    let error = refused(&session, with_frame(5, b"frame"));
    assert_eq!(error.code(), ErrorCode::UnsupportedCompressionType);
    assert!(error.message().contains("codec 5 is not known"), "{error}");
    assert_eq!(stored(&session).len(), ALL.len());
}

/// A frame of a mebibyte or a few that stands for a gibibyte of zeros.
fn bomb(codec: Codec) -> Vec<u8> {
    match codec {
        // The magic, a descriptor without a size, a window of 128 KiB; then blocks of one byte,
        // repeated.
        Codec::Gzip => {
            // One block with the codes that need no table: a zero, then the longest match again and
            // again, 13 bits each.
            let mut bits = vec![true, true, false];
            bits.extend([false, false, true, true, false, false, false, false]);
            let longest = [true, true, false, false, false, true, false, true];
            for _ in 0..400_000 {
                bits.extend(longest);
                bits.extend([false; 5]);
            }
            let deflated = bits.chunks(8).map(|bits| {
                let places = bits.iter().zip(0..);
                places.fold(0, |byte, (bit, place)| byte | u8::from(*bit) << place)
            });
            let header = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
            header.into_iter().chain(deflated).collect()
        }
        Codec::Snappy => {
            // Blocks that say 1 MiB: a literal of one byte, copies of 64, and a literal of 63.
            let copies = [63 << 2 | 2, 1, 0].repeat((1 << 14) - 1);
            let rest = [&[60 << 2, 62][..], &[0; 63]].concat();
            let block = [&[0x80, 0x80, 0x40, 0, 0][..], &copies, &rest].concat();
            let mut frame = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
            for _ in 0..80 {
                frame.extend_from_slice(&(block.len() as u32).to_be_bytes());
                frame.extend_from_slice(&block);
            }
            frame
        }
        Codec::Zstd => {
            let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 7 << 3];
            for _ in 0..8 << 10 {
                let header = 1u32 << 1 | (128 << 10) << 3;
                frame.extend_from_slice(&header.to_le_bytes()[..3]);
                frame.push(0);
            }
            frame.extend_from_slice(&[1, 0, 0]);
            frame
        }
        _ => {
            // The magic, independent blocks of up to 4 MiB, 16 KiB for each. A block: one zero,
            // then the longest match.
            let block = [
                &[0x1f, 0, 1, 0][..],
                &[255; 16 << 10],
                &[0, 0x50, 0, 0, 0, 0, 0],
            ]
            .concat();
            let mut frame = vec![0x04, 0x22, 0x4d, 0x18, 0x60, 0x70, 0x73];
            for _ in 0..256 {
                frame.extend_from_slice(&(block.len() as u32).to_le_bytes());
                frame.extend_from_slice(&block);
            }
            frame.extend_from_slice(&[0; 4]);
            frame
        }
    }
}

const BOMB: &str = "HEADWATER_TEST_BOMB";

/// Runs itself in a process of its own, whose memory is nobody else's.
#[test]
fn a_bomb_is_refused_and_takes_no_more_memory_than_the_limit() {
    if std::env::var_os(BOMB).is_none() {
        let name = "compression::a_bomb_is_refused_and_takes_no_more_memory_than_the_limit";
        let mut child = Command::new(std::env::current_exe().unwrap());
        let done = child
            .args(["--exact", name])
            .env(BOMB, "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let (_service, session) = stranger();
    for (_, codec) in ALL {
        let bomb = with_frame(codec as u16, &bomb(codec));
        assert!(bomb.len() < 5 << 20, "{}", bomb.len());
        let before = peak_bytes();
        let error = refused(&session, bomb.clone());
        assert_eq!(error.code(), ErrorCode::MessageTooLarge, "{error}");
        assert!(
            error
                .message()
                .ends_with("more than 67108864 bytes come out, which is the most"),
            "{error}"
        );
        // A reader that finds it in a log is no worse off.
        batch::verify(&bomb).unwrap();
        let batch = Batch::verified(bomb.into()).unwrap();
        assert!(batch.records().next().unwrap().is_err());
        let taken = peak_bytes().zip(before).map(|(peak, before)| peak - before);
        let most = 2 * limits::UNCOMPRESSED_BYTES_MAX as u64;
        assert!(
            taken.is_none_or(|taken| taken < most),
            "{codec:?}: {taken:?}"
        );
    }
}

/// The most memory this process has ever had, where the system tells.
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes << 10)
}
