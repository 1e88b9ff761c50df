//! A reader's side of a power cut: what it had seen, and what it is told afterwards.
//!
//! ```text
//! PARTITION OFFSET EPOCH NUMBER      a line of SEEN: a record, with the leader epoch of its batch
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use headwater::protocol::out_of_range::OutOfRange;
use headwater::protocol::request::{FetchPosition, SubscribeAt};
use headwater::record::Batch;
use headwater::service::{Service, ServiceOptions, Session};
use headwater::{Client, Durability, ErrorCode, ProducerOptions, Record, Result};

use super::{PARTITIONS, TOPIC, value_of, wrong};

/// A record that was seen.
#[derive(Clone, Copy, Debug)]
struct Seen {
    partition: i32,
    offset: i64,
    leader_epoch: i32,
    number: u64,
}

/// Reads from the present end on, and writes down what it sees, until the process ends.
pub(super) fn write(folder: &str, path: &str) -> Result<()> {
    let session = join(folder)?.session();
    let mut file = File::create(path).map_err(|error| wrong(&format!("{path}: {error}")))?;
    let starts = (0..PARTITIONS as i32).map(|partition| position(partition, 0, -1));
    let reader = session.subscribe(&SubscribeAt {
        positions: starts.collect(),
        credit_bytes: 0,
    })?;
    std::thread::spawn(move || {
        // An error ends the thread: then nothing more was seen.
        while let Ok(taken) = reader.take(1 << 20) {
            let mut lines = String::new();
            for fetched in &taken {
                let Ok(records) = records_of(fetched.partition, &fetched.batch) else {
                    return;
                };
                lines.extend(records.iter().map(|seen| {
                    let Seen {
                        partition,
                        offset,
                        leader_epoch,
                        number,
                    } = seen;
                    format!("{partition} {offset} {leader_epoch} {number}\n")
                }));
            }
            if file.write_all(lines.as_bytes()).is_err() {
                return;
            }
            if taken.is_empty() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        drop(session);
    });
    Ok(())
}

/// A reader that stands behind what it has seen is told by its epoch what of that is gone, also when the log has
/// gone on beyond its position; and everything before the offset it is sent to is as it has seen it. Returns how
/// many records it was told to be gone.
pub(super) fn check(
    folder: &str,
    client: &Client,
    path: &str,
    there: &BTreeSet<u64>,
) -> Result<u64> {
    let service = join(folder)?;
    let told = check_all(&service.session(), client, read(path)?, there);
    service.close()?;
    told
}

fn check_all(
    session: &Session,
    client: &Client,
    seen: BTreeMap<i32, Vec<Seen>>,
    there: &BTreeSet<u64>,
) -> Result<u64> {
    let described = client.admin().describe_topic(TOPIC).wait(None);
    let ends: BTreeMap<i32, i64> = match described {
        Ok(topic) => topic
            .partitions
            .iter()
            .map(|it| (it.partition, it.log_end_offset))
            .collect(),
        Err(_) if seen.is_empty() => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut told = 0;
    for (partition, records) in seen {
        let end = ends.get(&partition).copied().unwrap_or_default();
        for record in records.iter().filter(|record| record.offset < end) {
            if !there.contains(&record.number) {
                return Err(wrong(&format!("seen, and not told to be gone: {record:?}")));
            }
        }
        let Some(last) = records.last() else { continue };
        let stands_at = position(partition, last.offset + 1, last.leader_epoch);
        if last.offset < end {
            first(session, &stands_at)?;
            continue;
        }
        expect_truncation(session, &stands_at, end)?;
        let number = go_on(client, partition, last.offset - end + 2, there, &records)?;
        expect_truncation(session, &stands_at, end)?;
        let next = first(session, &position(partition, end, last.leader_epoch))?;
        if next.is_none_or(|next| (next.offset, next.number) != (end, number)) {
            return Err(wrong(&format!(
                "{next:?} at the safe offset {end}, not {number}"
            )));
        }
        told += records.iter().filter(|record| record.offset >= end).count() as u64;
    }
    Ok(told)
}

fn expect_truncation(session: &Session, stands_at: &FetchPosition, end: i64) -> Result<()> {
    let Err(error) = first(session, stands_at) else {
        return Err(wrong(&format!(
            "nothing is said to who stands at {stands_at:?}"
        )));
    };
    let safe_offset = OutOfRange::of(&error).and_then(OutOfRange::safe_offset);
    if error.code() == ErrorCode::LogTruncated && safe_offset == Some(end) {
        return Ok(());
    }
    Err(wrong(&format!("the end is {end}, said is: {error}")))
}

/// Sends so many records that the log is beyond where the reader stood. Returns the first number.
fn go_on(
    client: &Client,
    partition: i32,
    records: i64,
    there: &BTreeSet<u64>,
    seen: &[Seen],
) -> Result<u64> {
    let options = ProducerOptions {
        durability: Some(Durability::Disk),
        ..ProducerOptions::default()
    };
    let producer = client.producer(options)?;
    let last_seen = seen.iter().map(|record| record.number).max();
    let first = there.last().copied().max(last_seen).unwrap_or_default() + 1;
    for number in first..first + records.unsigned_abs() {
        let value = value_of(number);
        let record = Record {
            partition: Some(partition),
            ..Record::new(value.as_bytes())
        };
        drop(producer.send(TOPIC, &record)?);
    }
    producer.flush().wait(None)?;
    producer.close(None).wait(None)?;
    Ok(first)
}

/// The first record that a reader gets who stands there, if there is one.
fn first(session: &Session, stands_at: &FetchPosition) -> Result<Option<Seen>> {
    let reader = session.subscribe(&SubscribeAt {
        positions: vec![stands_at.clone()],
        credit_bytes: 0,
    })?;
    let taken = reader.take(1)?;
    let Some(fetched) = taken.first() else {
        return Ok(None);
    };
    let records = records_of(fetched.partition, &fetched.batch)?;
    Ok(records
        .into_iter()
        .find(|record| record.offset >= stands_at.offset))
}

fn records_of(partition: i32, batch: &[u8]) -> Result<Vec<Seen>> {
    let batch =
        Batch::verified(batch.to_vec().into()).map_err(|error| wrong(&error.to_string()))?;
    let leader_epoch = batch.header().leader_epoch;
    let mut records = Vec::new();
    for record in batch.records() {
        let record = record.map_err(|error| wrong(&error.to_string()))?;
        let text = String::from_utf8_lossy(record.value.unwrap_or_default());
        let number = text.split(' ').next().and_then(|word| word.parse().ok());
        records.push(Seen {
            partition,
            offset: record.offset,
            leader_epoch,
            number: number.ok_or_else(|| wrong(&format!("no number: {text:.80}")))?,
        });
    }
    Ok(records)
}

fn read(path: &str) -> Result<BTreeMap<i32, Vec<Seen>>> {
    let text = fs::read_to_string(path).map_err(|error| wrong(&format!("{path}: {error}")))?;
    // A last line may be half written.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let mut seen = BTreeMap::<i32, Vec<Seen>>::new();
    for line in whole.lines() {
        let words: Vec<i64> = line
            .split(' ')
            .map_while(|word| word.parse().ok())
            .collect();
        let [partition, offset, leader_epoch, number] = words[..] else {
            return Err(wrong(&format!("no line of what was seen: {line}")));
        };
        let record = Seen {
            partition: partition as i32,
            offset,
            leader_epoch: leader_epoch as i32,
            number: number.unsigned_abs(),
        };
        seen.entry(record.partition).or_default().push(record);
    }
    Ok(seen)
}

fn position(partition: i32, offset: i64, last_epoch: i32) -> FetchPosition {
    FetchPosition {
        topic: TOPIC.to_owned(),
        partition,
        offset,
        last_epoch,
    }
}

/// The service that the client has open in this process.
fn join(folder: &str) -> Result<Service> {
    Service::open_folder(Path::new(folder), &ServiceOptions::default())
}
