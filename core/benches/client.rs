//! The client in process: records per second in and out, and the latency of one record.
//!
//! `cargo bench -p headwater --bench client [folder]`. Records have 100 bytes and no key; the log is at
//! `os`, in a folder below the one given (default: `target`), never on a tmpfs. The clock runs from the
//! first call to the last acknowledgement, or from the first read to the last record. CPU is that of the
//! whole process, all threads together: on a machine that is busy it says more than the clock.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

use std::time::{Duration, Instant};

use headwater::record::block::{BlockView, SendRow, write_send_row};
use headwater::{
    Client, ConsumerOptions, Durability, Error, ErrorKind, Producer, ProducerOptions, Record,
    TopicOptions, Until,
};

const VALUE: [u8; 100] = [b'x'; 100];
const RECORDS: u64 = 3_000_000;
const LATENCIES: usize = 20_000;
const ROWS_A_CALL: u64 = 1_000;

fn main() {
    let parent = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let parent = parent.unwrap_or_else(|| "target".to_owned());
    let folder = tempfile::tempdir_in(parent).unwrap();
    let db = headwater::connect(folder.path().to_str().unwrap())
        .wait(None)
        .unwrap();
    let options = TopicOptions {
        durability: Some(Durability::Os),
        ..Default::default()
    };
    db.admin()
        .create_topic("bench", options)
        .wait(None)
        .unwrap();
    latency(&db);
    rate(&db, "send, delivery dropped", |producer, _| {
        drop(producer.send("bench", &Record::new(&VALUE)).unwrap());
        1
    });
    rate(&db, "enqueue", |producer, _| {
        until_there_is_room(producer, || producer.enqueue("bench", &Record::new(&VALUE)));
        1
    });
    let topic = db
        .producer(ProducerOptions::default())
        .unwrap()
        .topic("bench")
        .unwrap();
    let rows = rows(topic);
    rate(&db, "send_rows, 1,000 a call", |producer, _| {
        producer.topic("bench").unwrap();
        let mut rest = rows.as_slice();
        while !rest.is_empty() {
            let taken = producer.send_rows(rest).unwrap();
            rest = &rest[taken..];
            if !rest.is_empty() {
                producer.ready().wait(None).unwrap();
            }
        }
        ROWS_A_CALL
    });
    read(&db, "blocks");
    read(&db, "batches");
    db.close(None).wait(None).unwrap();
}

fn until_there_is_room(producer: &Producer, mut send: impl FnMut() -> Result<(), Error>) {
    while let Err(error) = send() {
        assert_eq!(error.kind(), ErrorKind::Full);
        producer.ready().wait(None).unwrap();
    }
}

fn rows(topic_id: u32) -> Vec<u8> {
    let mut rows = Vec::new();
    for _ in 0..ROWS_A_CALL {
        let row = SendRow {
            row_len: 0,
            topic_id,
            partition: -1,
            key: None,
            value: Some(&VALUE),
            headers_packed: &[],
            timestamp_ms: -1,
            ticket: 0,
        };
        write_send_row(&mut rows, &row).unwrap();
    }
    rows
}

fn latency(db: &Client) {
    let producer = db.producer(ProducerOptions::default()).unwrap();
    let mut nanos: Vec<_> = (0..LATENCIES)
        .map(|_| {
            let start = Instant::now();
            let delivery = producer.send("bench", &Record::new(&VALUE)).unwrap();
            delivery.wait(None).unwrap();
            start.elapsed().as_nanos()
        })
        .collect();
    nanos.sort_unstable();
    let at = |share: f64| nanos[(LATENCIES as f64 * share) as usize] as f64 / 1_000.0;
    println!(
        "send and wait: p50 {:.1} us, p99 {:.1} us, p99.9 {:.1} us",
        at(0.5),
        at(0.99),
        at(0.999)
    );
}

fn rate(db: &Client, what: &str, mut send: impl FnMut(&Producer, u64) -> u64) {
    let producer = db.producer(ProducerOptions::default()).unwrap();
    let (start, cpu) = (Instant::now(), cpu());
    let mut sent = 0;
    while sent < RECORDS {
        sent += send(&producer, sent);
    }
    producer.flush().wait(None).unwrap();
    report(what, sent, start.elapsed(), cpu);
}

fn read(db: &Client, what: &str) {
    let options = ConsumerOptions {
        until: Some(Until::End),
        ..Default::default()
    };
    let consumer = db.consumer(&["bench"], options).unwrap();
    let (start, cpu) = (Instant::now(), cpu());
    let mut records = 0;
    if what == "blocks" {
        while let Some(block) = consumer.next_block_wait(None).unwrap() {
            let view = BlockView::parse(block.bytes()).unwrap();
            records += view.records().filter(|it| it.value.is_some()).count() as u64;
        }
    } else {
        while let Some(batch) = consumer.next_batch_wait(None).unwrap() {
            records += batch
                .records()
                .filter(|it| it.as_ref().unwrap().value.is_some())
                .count() as u64;
        }
    }
    report(what, records, start.elapsed(), cpu);
}

fn report(what: &str, records: u64, took: Duration, cpu_before: Duration) {
    let rate = records as f64 / took.as_secs_f64() / 1e6;
    let cpu = (cpu() - cpu_before).as_nanos() as f64 / records as f64;
    println!("{what}: {rate:.2} M records/s, {cpu:.0} ns CPU a record");
}

/// CPU of the process so far, in ticks of 10 ms.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit(')').next().unwrap();
    let ticks = fields.split_whitespace().skip(11).take(2);
    Duration::from_millis(ticks.map(|it| it.parse::<u64>().unwrap() * 10).sum())
}
