//! `headwater consume`: reads records and prints them.

use std::time::Duration;

use headwater::{Consumer, ConsumerBatch, ConsumerOptions, Error, ErrorCode, RecordView, Until};
use indicatif::ProgressBar;
use serde::Serialize;

use super::args::Consume;
use super::output::JsonBytes;
use super::stop::LOOK;
use super::{Ended, Io, Stop, close, connect, wait};

/// A record's value and a line end.
const DEFAULT_FORMAT: &str = "%v\\n";

pub(super) fn run(args: &Consume, address: &str, io: &mut Io, stop: &Stop) -> Result<Ended, Error> {
    let format = Format::parse(args.format.as_deref().unwrap_or(DEFAULT_FORMAT))?;
    let mut options = ConsumerOptions {
        group: args.group.clone(),
        ..ConsumerOptions::default()
    };
    options.set("start", &args.from)?;
    // Acknowledged by hand: a record counts as processed when it was printed and written out.
    if args.group.is_some() {
        options.set("ack", "manual")?;
    }
    if args.exit_at_end {
        options.until = Some(Until::End);
    }
    let client = connect(address, false, stop)?;
    let read = client.consumer(&args.topics, options).and_then(|consumer| {
        wait(consumer.open(), stop)?;
        let bar = io.progress_beside_data("reading", args.count.unwrap_or(0));
        let read = read(args, &consumer, &format, io, stop, &bar);
        bar.finish_and_clear();
        // What was printed is committed by then, or it is told that it is not.
        let closed = close(|timeout| consumer.close(timeout), stop);
        Ok((read?, closed?.first_error))
    });
    let closed = close(|timeout| client.close(timeout), stop);
    let ((records, is_interrupted), uncommitted) = read?;
    closed?;
    match uncommitted {
        None if is_interrupted => return Ok(Ended::Interrupted),
        None => {}
        Some(error) if is_interrupted => {
            io.error(&error);
            return Ok(Ended::Interrupted);
        }
        Some(error) => return Err(error),
    }
    io.say(&super::output::records(records));
    Ok(if records == 0 {
        Ended::Nothing
    } else {
        Ended::Done
    })
}

fn read(
    args: &Consume,
    consumer: &Consumer,
    format: &Format,
    io: &mut Io,
    stop: &Stop,
    bar: &ProgressBar,
) -> Result<(u64, bool), Error> {
    let wanted = args.count.unwrap_or(u64::MAX);
    let mut records = 0;
    while records < wanted {
        if stop.is_set() {
            return Ok((records, true));
        }
        let Some(batch) = next(consumer, LOOK)? else {
            if consumer.is_finished() {
                break;
            }
            continue;
        };
        let before = records;
        let last = print(&batch, wanted, &mut records, format, io)?;
        io.flush()?;
        if let (Some(last), true) = (last, args.group.is_some()) {
            acknowledge(consumer, &batch, last)?;
        }
        bar.inc(records - before);
    }
    Ok((records, false))
}

fn next(consumer: &Consumer, timeout: Duration) -> Result<Option<ConsumerBatch>, Error> {
    consumer.next_batch_wait(Some(timeout))
}

/// Prints records until there are enough; returns the offset of the last one printed.
fn print(
    batch: &ConsumerBatch,
    wanted: u64,
    records: &mut u64,
    format: &Format,
    io: &mut Io,
) -> Result<Option<i64>, Error> {
    let mut last = None;
    let mut line = Vec::new();
    for record in batch.records() {
        if *records == wanted {
            break;
        }
        let record = record?;
        line.clear();
        if io.is_json() {
            write_json(batch, &record, &mut line)?;
        } else {
            format.write(batch, &record, &mut line)?;
        }
        io.bytes(&line)?;
        last = Some(record.offset);
        *records += 1;
    }
    Ok(last)
}

fn acknowledge(consumer: &Consumer, batch: &ConsumerBatch, last: i64) -> Result<(), Error> {
    for record in batch.records() {
        let offset = record?.offset;
        if offset > last {
            break;
        }
        consumer.ack(batch.topic(), batch.partition(), offset)?;
    }
    Ok(())
}

/// A record as it is printed with `--json`: written straight into the line.
#[derive(Serialize)]
struct JsonRecord<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    timestamp: i64,
    key: JsonBytes<'a>,
    value: JsonBytes<'a>,
    headers: Vec<JsonHeader<'a>>,
}

#[derive(Serialize)]
struct JsonHeader<'a> {
    key: &'a str,
    value: JsonBytes<'a>,
}

fn write_json(
    batch: &ConsumerBatch,
    record: &RecordView<'_>,
    line: &mut Vec<u8>,
) -> Result<(), Error> {
    let mut headers = Vec::new();
    for header in record.headers() {
        let header = header.map_err(|error| corrupt(batch, record.offset, &error))?;
        headers.push(JsonHeader {
            key: header.key,
            value: JsonBytes(header.value),
        });
    }
    let record = JsonRecord {
        topic: batch.topic(),
        partition: batch.partition(),
        offset: record.offset,
        timestamp: record.timestamp_ms,
        key: JsonBytes(record.key),
        value: JsonBytes(record.value),
        headers,
    };
    serde_json::to_writer(&mut *line, &record).map_err(|error| {
        Error::new(
            ErrorCode::UnknownServerError,
            format!("a record cannot be written as JSON: {error}"),
        )
    })?;
    line.push(b'\n');
    Ok(())
}

fn corrupt(batch: &ConsumerBatch, offset: i64, error: &dyn std::fmt::Display) -> Error {
    let (topic, partition) = (batch.topic(), batch.partition());
    Error::new(
        ErrorCode::CorruptMessage,
        format!("topic `{topic}`, partition {partition}, offset {offset}: {error}"),
    )
}

/// How a record is printed.
struct Format(Vec<Piece>);

enum Piece {
    Text(Vec<u8>),
    Topic,
    Partition,
    Offset,
    Timestamp,
    Key,
    Value,
    Headers,
}

impl Format {
    fn parse(text: &str) -> Result<Self, Error> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            let piece = match c {
                '%' => match chars.next() {
                    Some('t') => Piece::Topic,
                    Some('p') => Piece::Partition,
                    Some('o') => Piece::Offset,
                    Some('T') => Piece::Timestamp,
                    Some('k') => Piece::Key,
                    Some('v') => Piece::Value,
                    Some('h') => Piece::Headers,
                    Some('%') => {
                        plain.push('%');
                        continue;
                    }
                    other => return Err(unknown_placeholder(other)),
                },
                '\\' => {
                    match chars.next() {
                        Some('n') => plain.push('\n'),
                        Some('t') => plain.push('\t'),
                        Some('0') => plain.push('\0'),
                        Some(other) => plain.push(other),
                        None => plain.push('\\'),
                    }
                    continue;
                }
                other => {
                    plain.push(other);
                    continue;
                }
            };
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain).into_bytes()));
            }
            pieces.push(piece);
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain.into_bytes()));
        }
        Ok(Self(pieces))
    }

    fn write(
        &self,
        batch: &ConsumerBatch,
        record: &RecordView<'_>,
        line: &mut Vec<u8>,
    ) -> Result<(), Error> {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => line.extend_from_slice(text),
                Piece::Topic => line.extend_from_slice(batch.topic().as_bytes()),
                Piece::Partition => {
                    line.extend_from_slice(batch.partition().to_string().as_bytes());
                }
                Piece::Offset => line.extend_from_slice(record.offset.to_string().as_bytes()),
                Piece::Timestamp => {
                    line.extend_from_slice(record.timestamp_ms.to_string().as_bytes());
                }
                Piece::Key => line.extend_from_slice(record.key.unwrap_or_default()),
                Piece::Value => line.extend_from_slice(record.value.unwrap_or_default()),
                Piece::Headers => write_headers(batch, record, line)?,
            }
        }
        Ok(())
    }
}

fn write_headers(
    batch: &ConsumerBatch,
    record: &RecordView<'_>,
    line: &mut Vec<u8>,
) -> Result<(), Error> {
    for (place, header) in record.headers().enumerate() {
        let header = header.map_err(|error| corrupt(batch, record.offset, &error))?;
        if place > 0 {
            line.push(b',');
        }
        line.extend_from_slice(header.key.as_bytes());
        line.push(b'=');
        line.extend_from_slice(header.value.unwrap_or_default());
    }
    Ok(())
}

fn unknown_placeholder(found: Option<char>) -> Error {
    let found = found.map_or_else(|| "%".to_owned(), |c| format!("%{c}"));
    Error::new(
        ErrorCode::InvalidArgument,
        format!("`{found}` in --format; there are %t %p %o %T %k %v %h and %%"),
    )
}
