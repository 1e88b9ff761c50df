//! The two halves of a real power cut: one writes until it is killed, the other says what the disk has kept.
//!
//!     powercut write FOLDER LEVEL FIRST SEEN           sends numbers from FIRST on, prints each that is
//!                                                      acknowledged; a reader in the same process writes what it
//!                                                      has seen to SEEN
//!     powercut check FOLDER MUST ACKED SEEN FOUND      reads everything and writes the numbers there are to FOUND;
//!                                                      fails if one of MUST is not there, or anything is wrong with
//!                                                      what is, or if the reader is not told what has become of what
//!                                                      it has seen; prints how many of ACKED are not there, and how
//!                                                      many of SEEN it was told to be gone
//!
//! `.ci/steps/powercut` brings the power.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what it prints is what it is for"
)]

mod seen;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::process::ExitCode;
use std::time::Duration;

use headwater::{
    Client, ConnectOptions, ConsumerOptions, Delivery, Error, ErrorCode, ErrorKind,
    ProducerOptions, Record, Result, TopicOptions, Until, connect_with,
};

const TOPIC: &str = "cut";
const PARTITIONS: u32 = 3;
/// Records that may wait for their acknowledgement.
const IN_FLIGHT: usize = 64;
/// A pause after so many records: what is written has to fit into a small image.
const RECORDS_PER_MS: u64 = 8;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let done = match args[..] {
        ["write", folder, level, first, seen] => write(folder, level, first, seen),
        ["check", folder, must, acked, seen, found] => check(folder, must, acked, seen, found),
        _ => Err(wrong("usage: powercut write|check ..., see its source")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("powercut: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write(folder: &str, level: &str, first: &str, seen: &str) -> Result<()> {
    let client = open(folder)?;
    let mut topic = TopicOptions {
        partitions: Some(PARTITIONS),
        exist_ok: Some(true),
        ..TopicOptions::default()
    };
    topic.set("durability", level)?;
    client.admin().create_topic(TOPIC, topic).wait(None)?;
    seen::write(folder, seen)?;
    let producer = client.producer(ProducerOptions::default())?;
    let first = first.parse().map_err(|_| wrong("FIRST is no number"))?;
    let mut waiting = VecDeque::<(u64, Delivery)>::new();
    for number in first.. {
        let value = value_of(number);
        let record = Record {
            partition: Some((number % u64::from(PARTITIONS)) as i32),
            ..Record::new(value.as_bytes())
        };
        waiting.push_back((number, producer.send(TOPIC, &record)?));
        // In order, so that one that is done waits for no other.
        while let Some((acked, delivery)) = waiting.pop_front() {
            if waiting.len() < IN_FLIGHT && !delivery.is_done() {
                waiting.push_front((acked, delivery));
                break;
            }
            delivery.wait(None)?;
            println!("{acked}");
        }
        if number % RECORDS_PER_MS == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(())
}

fn check(folder: &str, must: &str, acked: &str, seen: &str, found: &str) -> Result<()> {
    let client = open(folder)?;
    let there = read(&client)?;
    if let Some(gone) = numbers(must)?.difference(&there).next() {
        return Err(wrong(&format!("{gone} is gone")));
    }
    let lost = numbers(acked)?.difference(&there).count();
    let told = seen::check(folder, &client, seen, &there)?;
    let text: String = read(&client)?
        .iter()
        .map(|number| format!("{number}\n"))
        .collect();
    client.close(None).wait(None)?;
    fs::write(found, text).map_err(|error| wrong(&format!("{found}: {error}")))?;
    println!("{lost} {told}");
    Ok(())
}

/// Every number in the topic, which have to rise in each partition and be what they were.
fn read(client: &Client) -> Result<BTreeSet<u64>> {
    let options = ConsumerOptions {
        until: Some(Until::End),
        ..ConsumerOptions::default()
    };
    let consumer = match client.consumer(&[TOPIC], options) {
        // Nothing was ever acknowledged.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeSet::new()),
        consumer => consumer?,
    };
    let (mut there, mut last) = (BTreeSet::new(), BTreeMap::new());
    while let Some(batch) = consumer.next_batch_wait(None)? {
        for record in batch.records() {
            let record = record?;
            let text = String::from_utf8_lossy(record.value.unwrap_or_default());
            let number = text.split(' ').next().and_then(|word| word.parse().ok());
            let number: u64 = number.ok_or_else(|| wrong(&format!("no number: {text:.80}")))?;
            if text != value_of(number) {
                return Err(wrong(&format!("{number} is not what it was: {text:.80}")));
            }
            let before = last.insert(batch.partition(), number);
            if before >= Some(number) {
                return Err(wrong(&format!("{number} stands behind {before:?}")));
            }
            there.insert(number);
        }
    }
    consumer.close(None).wait(None)?;
    Ok(there)
}

fn open(folder: &str) -> Result<Client> {
    let options = ConnectOptions {
        segment_bytes: Some(1 << 20),
        ..ConnectOptions::default()
    };
    connect_with(folder, options).wait(None)
}

/// The number, and so much behind it that some records fill pages and some share one.
fn value_of(number: u64) -> String {
    let len = match number % 97 {
        0 => 40_000,
        1..10 => 3_000,
        rest => 10 * rest,
    };
    let digits = number.to_string();
    let filler = digits.chars().cycle().take(len as usize);
    format!("{number} {}", filler.collect::<String>())
}

fn numbers(path: &str) -> Result<BTreeSet<u64>> {
    let text = fs::read_to_string(path).map_err(|error| wrong(&format!("{path}: {error}")))?;
    // A last line may be half written.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let parsed = whole
        .lines()
        .map(|line| line.parse().map_err(|_| wrong(line)));
    parsed.collect()
}

fn wrong(what: &str) -> Error {
    Error::new(ErrorCode::InvalidArgument, what)
}
