//! `headwater produce`: one record a line.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::time::Instant;

use headwater::{Error, ErrorCode, Header, Producer, ProducerOptions, Record};
use indicatif::ProgressBar;
use serde_json::json;

use super::args::Produce;
use super::{Ended, Io, Stop, connect};

/// Bytes of a line; a longer one is an error rather than memory without end.
const LINE_BYTES_MAX: usize = headwater::limits::BATCH_BYTES_MAX;

pub(super) fn run(args: &Produce, address: &str, io: &mut Io, stop: &Stop) -> Result<Ended, Error> {
    // The file first: a name that is wrong must not create a folder.
    let file = args.file.as_ref().map(|path| {
        let opened = File::open(path);
        opened
            .map(|file| BufReader::with_capacity(1 << 20, file))
            .map_err(|error| {
                Error::new(
                    ErrorCode::InvalidArgument,
                    format!("{}: {error}", path.display()),
                )
            })
    });
    let mut file = file.transpose()?;
    let mut options = ProducerOptions::default();
    if let Some(level) = &args.durability {
        options.set("durability", level)?;
    }
    let client = connect(address, true)?;
    let begun = Instant::now();
    let bar = io.progress("sending", 0);
    let sent = client.producer(options).and_then(|producer| {
        let input: &mut dyn BufRead = match &mut file {
            Some(file) => file,
            None => io.input(),
        };
        let sent = send_lines(args, &producer, input, stop, &bar);
        // Closed whatever happened: what was accepted is delivered, and failures come out.
        let report = producer.close(None).wait(None)?;
        let sent = sent?;
        match report.first_error {
            Some(error) => Err(error),
            None => Ok(sent),
        }
    });
    bar.finish_and_clear();
    let closed = client.close(None).wait(None);
    let sent = sent?;
    closed?;
    finish(args, &sent, begun, io)?;
    Ok(if sent.is_interrupted {
        Ended::Interrupted
    } else {
        Ended::Done
    })
}

#[derive(Default)]
struct Sent {
    records: u64,
    bytes: u64,
    is_interrupted: bool,
}

fn send_lines(
    args: &Produce,
    producer: &Producer,
    input: &mut dyn BufRead,
    stop: &Stop,
    bar: &ProgressBar,
) -> Result<Sent, Error> {
    let headers: Vec<Header<'_>> = args
        .headers
        .iter()
        .map(|(key, value)| Header {
            key,
            value: Some(value.as_bytes()),
        })
        .collect();
    let mut sent = Sent::default();
    let mut line = Vec::new();
    while read_line(input, &mut line)? {
        if stop.is_set() {
            sent.is_interrupted = true;
            break;
        }
        let (key, value) = split(&line, args.key_separator.as_deref())?;
        let record = Record {
            partition: args.partition,
            key,
            value: Some(value),
            headers: &headers,
            timestamp_ms: None,
        };
        // The delivery is not looked at here: a failure comes out of `close`.
        drop(producer.send(&args.topic, &record)?);
        sent.records += 1;
        sent.bytes += line.len() as u64;
        bar.inc(1);
    }
    Ok(sent)
}

fn read_line(input: &mut dyn BufRead, line: &mut Vec<u8>) -> Result<bool, Error> {
    line.clear();
    let limit = LINE_BYTES_MAX as u64 + 1;
    let read = std::io::Read::take(input, limit)
        .read_until(b'\n', line)
        .map_err(|error| {
            Error::new(
                ErrorCode::InvalidArgument,
                format!("cannot read the records: {error}"),
            )
        })?;
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    } else if line.len() > LINE_BYTES_MAX {
        return Err(Error::new(
            ErrorCode::MessageTooLarge,
            format!("a line of more than {LINE_BYTES_MAX} bytes"),
        ));
    }
    Ok(read > 0)
}

fn split<'a>(
    line: &'a [u8],
    separator: Option<&str>,
) -> Result<(Option<&'a [u8]>, &'a [u8]), Error> {
    let Some(separator) = separator.map(str::as_bytes).filter(|text| !text.is_empty()) else {
        return Ok((None, line));
    };
    let found = line
        .windows(separator.len())
        .position(|window| window == separator);
    match found.map(|at| (line.split_at(at), at)) {
        Some(((key, _), at)) => {
            let value = line.get(at + separator.len()..).unwrap_or_default();
            Ok((Some(key), value))
        }
        None => Err(Error::new(
            ErrorCode::InvalidArgument,
            format!(
                "a line without the key separator `{}`: {}",
                String::from_utf8_lossy(separator),
                String::from_utf8_lossy(line.get(..line.len().min(80)).unwrap_or_default())
            ),
        )),
    }
}

fn finish(args: &Produce, sent: &Sent, begun: Instant, io: &mut Io) -> Result<(), Error> {
    let seconds = begun.elapsed().as_secs_f64();
    if io.is_json() {
        return io.json(&json!({
            "topic": args.topic,
            "records": sent.records,
            "bytes": sent.bytes,
            "elapsed_s": seconds,
        }));
    }
    io.say(&format!(
        "{} records sent to `{}` in {seconds:.2} s",
        sent.records, args.topic
    ));
    Ok(())
}
