//! `headwater produce`: one record a line.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use headwater::{
    CloseReport, Error, ErrorCode, ErrorKind, Header, Outcome, Producer, ProducerOptions, Record,
};
use indicatif::ProgressBar;
use serde_json::json;

use super::args::Produce;
use super::lines::{Lines, Next};
use super::stop::LOOK;
use super::{Ended, Io, Stop, close, connect};

pub(super) fn run(args: &Produce, address: &str, io: &mut Io, stop: &Stop) -> Result<Ended, Error> {
    // The file first: a name that is wrong must not create a folder.
    let file = args.file.as_ref().map(|path| {
        File::open(path).map_err(|error| {
            Error::new(
                ErrorCode::InvalidArgument,
                format!("{}: {error}", path.display()),
            )
        })
    });
    let file = file.transpose()?;
    let mut options = ProducerOptions {
        max_block_ms: Some(LOOK.as_millis() as u64),
        ..ProducerOptions::default()
    };
    if let Some(level) = &args.durability {
        options.set("durability", level)?;
    }
    let client = connect(address, true, stop)?;
    let begun = Instant::now();
    let is_typed = file.is_none() && io.is_input_terminal();
    if is_typed {
        io.say("a record a line; Ctrl-D ends");
    }
    let bar = match &file {
        Some(file) => io.progress_bytes("sending", file.metadata().map_or(0, |it| it.len())),
        None if is_typed => ProgressBar::hidden(),
        None => io.progress_bytes("sending", 0),
    };
    let sent = client.producer(options).and_then(|producer| {
        let input: Box<dyn BufRead + Send> = match file {
            Some(file) => Box::new(BufReader::with_capacity(1 << 20, file)),
            None => io.take_input(),
        };
        let (sent, ended) = send_all(args, &producer, input, stop, &bar);
        // Closed whatever happened: what was accepted is delivered, and failures come out.
        let report = close(|timeout| producer.close(timeout), stop)?;
        Ok((not_delivered(&sent, report).map_or(ended, Err), sent))
    });
    bar.finish_and_clear();
    let closed = close(|timeout| client.close(timeout), stop);
    let (ended, sent) = sent?;
    if let (Err(error), true) = (&ended, stop.is_set()) {
        io.error(error);
        return Ok(Ended::Interrupted);
    }
    let ended = ended?;
    closed?;
    finish(args, &sent, begun, io)?;
    Ok(ended)
}

#[derive(Default)]
struct Sent {
    records: u64,
    bytes: u64,
}

/// Sends every line, until the input ends, something fails, or the command is to end.
fn send_all(
    args: &Produce,
    producer: &Producer,
    input: Box<dyn BufRead + Send>,
    stop: &Stop,
    bar: &ProgressBar,
) -> (Sent, Result<Ended, Error>) {
    let failed = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&failed);
    producer.on_failure(move |_| seen.store(true, Ordering::Relaxed));
    let mut sent = Sent::default();
    let ended = Lines::new(input).and_then(|mut lines| {
        loop {
            // What failed comes out of closing the producer.
            let is_over = || stop.is_set() || failed.load(Ordering::Relaxed);
            let is_taken = match lines.next(is_over)? {
                Next::Line(line) => send(args, producer, line, is_over)?,
                Next::End => return Ok(Ended::Done),
                Next::Stopped => false,
            };
            if !is_taken {
                return Ok(Ended::Interrupted);
            }
            sent.records += 1;
            sent.bytes += lines.line().len() as u64;
            // With the line's end.
            bar.inc(lines.line().len() as u64 + 1);
        }
    });
    (sent, ended)
}

/// Sends a line; false if the command is to end before there was room for it.
fn send(
    args: &Produce,
    producer: &Producer,
    line: &[u8],
    is_over: impl Fn() -> bool,
) -> Result<bool, Error> {
    let (key, value) = split(line, args.key_separator.as_deref())?;
    let headers: Vec<Header<'_>> = args
        .headers
        .iter()
        .map(|(key, value)| Header {
            key,
            value: Some(value.as_bytes()),
        })
        .collect();
    let record = Record {
        partition: args.partition,
        key,
        value: Some(value),
        headers: &headers,
        timestamp_ms: None,
    };
    let begun = Instant::now();
    let patience = Duration::from_millis(ProducerOptions::default().max_block_ms());
    loop {
        let error = match producer.send(&args.topic, &record) {
            // The delivery is not looked at here: a failure is told to `on_failure`, and by `close`.
            Ok(_delivery) => return Ok(true),
            Err(error) => error,
        };
        let waits = error.code() == ErrorCode::BufferFull || error.kind() == ErrorKind::Timeout;
        if !waits {
            return Err(error);
        }
        if begun.elapsed() >= patience {
            let message = format!(
                "`{}` took no record for {} ms: the broker does not answer, or not as fast as records come",
                args.topic,
                patience.as_millis()
            );
            return Err(Error::new(error.code(), message).with_outcome(error.outcome()));
        }
        if is_over() {
            return Ok(false);
        }
    }
}

/// What a producer that is closed says of records that are not in the log, or may not be.
fn not_delivered(sent: &Sent, report: CloseReport) -> Option<Error> {
    let lost = report.failed_records + report.unsent_records;
    let error = match report.first_error {
        Some(error) => error,
        None if lost == 0 => return None,
        // Those that were on their way may have arrived.
        None => Error::new(ErrorCode::DeliveryTimedOut, "no answer came in time")
            .with_outcome(Outcome::Unknown),
    };
    let message = format!(
        "{lost} of {} records were not acknowledged: {}",
        sent.records.max(lost),
        error.message()
    );
    Some(Error::new(error.code(), message).with_outcome(error.outcome()))
}

/// Key and value of a line. The first separator counts.
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
    match found.and_then(|at| line.split_at_checked(at)) {
        Some((key, rest)) => Ok((Some(key), rest.get(separator.len()..).unwrap_or_default())),
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
        "{} sent to `{}` in {seconds:.2} s",
        super::output::records(sent.records),
        args.topic
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_separator_counts_and_either_side_may_be_empty() {
        let both = |line: &'static str| split(line.as_bytes(), Some("::")).unwrap();
        assert_eq!(both("k::v"), (Some(&b"k"[..]), &b"v"[..]));
        assert_eq!(both("k::v::w"), (Some(&b"k"[..]), &b"v::w"[..]));
        assert_eq!(both("::"), (Some(&b""[..]), &b""[..]));
        assert_eq!(split(b"k:v", None).unwrap(), (None, &b"k:v"[..]));
        assert_eq!(split(b"k:v", Some("")).unwrap(), (None, &b"k:v"[..]));
    }

    #[test]
    fn records_that_no_answer_came_for_are_told_whatever_else_is_known() {
        // They were counted as sent, and the command ended as if all was well.
        let sent = Sent {
            records: 3,
            bytes: 0,
        };
        let report = |unsent_records| CloseReport {
            unsent_records,
            ..CloseReport::default()
        };
        assert_eq!(not_delivered(&sent, report(0)), None);
        let told = not_delivered(&sent, report(2)).unwrap();
        assert_eq!(
            (told.code(), told.outcome()),
            (ErrorCode::DeliveryTimedOut, Outcome::Unknown)
        );
        assert!(told.message().starts_with("2 of 3 records"), "{told}");
    }

    #[test]
    fn a_line_without_a_separator_is_named() {
        let error = split(b"no key here", Some("|")).unwrap_err();
        assert!(error.message().contains("no key here"), "{error}");
    }
}
