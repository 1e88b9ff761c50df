//! How long one record takes: to its acknowledgement, or to who reads it.
//!
//! What is sent at a fixed rate counts from the moment it *should* have been sent, so that a stall is not hidden by
//! the sends it holds up (coordinated omission).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use headwater::{
    Client, Consumer, ConsumerOptions, Delivery, Error, ErrorCode, Producer, Record, Start,
};
use indicatif::ProgressBar;

use super::super::Stop;
use super::super::args::Bench;
use super::values::Values;
use super::{Measured, options};

/// Deliveries that may wait to be looked at.
const DELIVERIES_MAX: usize = 100_000;
/// How often a reader looks whether it is to end.
const LOOK: Duration = Duration::from_millis(100);
/// Each record says when it was due, in nanoseconds since the bench began.
const DUE_BYTES: usize = size_of::<u64>();
/// What the record says that is sent before all others.
const FIRST: [u8; DUE_BYTES] = [0xff; DUE_BYTES];

pub(super) fn latency(
    client: &Client,
    args: &Bench,
    stop: &Stop,
    bar: &ProgressBar,
) -> Result<Measured, Error> {
    let producer = client.producer(options(args)?)?;
    let mut values = Values::new(args);
    let record = Record::new(values.next());
    // The first record pays for what is set up once: the producer's id, the connection, the segment.
    producer.send(&args.topic, &record)?.wait(None)?;
    let begun = Instant::now();
    let (sent, latency_us) = if args.rate == 0 {
        one_in_flight(&producer, args, &record, stop, bar)?
    } else {
        at_a_rate(&producer, args, &record, stop, bar)?
    };
    let elapsed = begun.elapsed();
    producer.close(None).wait(None)?;
    Ok(Measured {
        records: sent,
        elapsed,
        latency_us: Some(latency_us),
    })
}

fn one_in_flight(
    producer: &Producer,
    args: &Bench,
    record: &Record<'_>,
    stop: &Stop,
    bar: &ProgressBar,
) -> Result<(u64, Histogram<u64>), Error> {
    let mut histogram = histogram()?;
    let mut sent = 0;
    while sent < args.records && !stop.is_set() {
        let asked = Instant::now();
        producer.send(&args.topic, record)?.wait(None)?;
        histogram.saturating_record(nanos(asked.elapsed()));
        sent += 1;
        bar.inc(1);
    }
    Ok((sent, histogram))
}

fn at_a_rate(
    producer: &Producer,
    args: &Bench,
    record: &Record<'_>,
    stop: &Stop,
    bar: &ProgressBar,
) -> Result<(u64, Histogram<u64>), Error> {
    let (sampler, samples) = collector();
    let begun = Instant::now();
    let mut sent = 0;
    while sent < args.records && !stop.is_set() {
        let due = begun + Duration::from_secs_f64(sent as f64 / args.rate as f64);
        sleep_until(due);
        let delivery = producer.send(&args.topic, record)?;
        if sampler.send((due, delivery)).is_err() {
            break;
        }
        sent += 1;
        bar.inc(1);
    }
    drop(sampler);
    Ok((sent, join(samples)?))
}

/// Sends at a rate, over the first connection, what is read over the second.
pub(super) fn end_to_end(
    [sending, reading]: [&Client; 2],
    args: &Bench,
    stop: &Stop,
    bar: &ProgressBar,
) -> Result<Measured, Error> {
    let producer = sending.producer(options(args)?)?;
    let consumer = reading.consumer(
        &[&args.topic],
        ConsumerOptions {
            start: Some(Start::Latest),
            ..ConsumerOptions::default()
        },
    )?;
    consumer.open().wait(None)?;
    let mut value = Values::new(args).next().to_vec();
    let Some(due_bytes) = value.first_chunk_mut::<DUE_BYTES>() else {
        return Err(Error::new(
            ErrorCode::InvalidArgument,
            format!(
                "--size {} is too small for `end-to-end`: a record says when it was due, in {DUE_BYTES} bytes",
                args.size
            ),
        ));
    };
    // The first record pays for what is set up once, on both sides, and is not counted.
    *due_bytes = FIRST;
    producer.enqueue(&args.topic, &Record::new(&value))?;
    let begun = Instant::now();
    let has_failed = AtomicBool::new(false);
    let (sent, latency_us) = std::thread::scope(|scope| {
        let received = scope.spawn(|| {
            receive(&consumer, args, begun, || {
                stop.is_set() || has_failed.load(Ordering::Relaxed)
            })
        });
        let sent = send_what_is_due(
            &producer,
            args,
            &mut value,
            begun,
            || stop.is_set() || received.is_finished(),
            bar,
        );
        // What was not sent will not be received.
        has_failed.store(sent.is_err(), Ordering::Relaxed);
        let received = received.join().unwrap_or_else(|_| panicked());
        Ok::<_, Error>((sent?, received?))
    })?;
    let elapsed = begun.elapsed();
    consumer.close(None).wait(None)?;
    producer.close(None).wait(None)?;
    Ok(Measured {
        records: sent,
        elapsed,
        latency_us: Some(latency_us),
    })
}

/// Sends one record after the other, each when it is due and saying when that is.
fn send_what_is_due(
    producer: &Producer,
    args: &Bench,
    value: &mut [u8],
    begun: Instant,
    is_over: impl Fn() -> bool,
    bar: &ProgressBar,
) -> Result<u64, Error> {
    let mut sent = 0;
    while sent < args.records && !is_over() {
        let due = Duration::from_secs_f64(sent as f64 / args.rate as f64);
        sleep_until(begun + due);
        if let Some(due_bytes) = value.first_chunk_mut::<DUE_BYTES>() {
            *due_bytes = nanos(due).to_le_bytes();
        }
        // Failures come out of the flush.
        drop(producer.send(&args.topic, &Record::new(value))?);
        sent += 1;
        bar.inc(1);
    }
    producer.flush().wait(None)?;
    Ok(sent)
}

/// Reads what was sent, and counts how long each record took since it was due.
fn receive(
    consumer: &Consumer,
    args: &Bench,
    begun: Instant,
    is_over: impl Fn() -> bool,
) -> Result<Histogram<u64>, Error> {
    let mut histogram = histogram()?;
    while histogram.len() < args.records && !is_over() {
        let Some(batch) = consumer.next_batch_wait(Some(LOOK))? else {
            continue;
        };
        let now = begun.elapsed();
        for record in batch.records() {
            let value = record?.value.unwrap_or_default();
            match value.first_chunk::<DUE_BYTES>() {
                Some(due) if *due != FIRST => {
                    let due = Duration::from_nanos(u64::from_le_bytes(*due));
                    histogram.saturating_record(nanos(now.saturating_sub(due)));
                }
                _ => {}
            }
        }
    }
    Ok(histogram)
}

/// Sleeps most of the time and spins the rest: a sleep alone is tens of microseconds late.
fn sleep_until(due: Instant) {
    const SPIN: Duration = Duration::from_micros(200);
    if let Some(rest) = due.checked_duration_since(Instant::now())
        && rest > SPIN
    {
        std::thread::sleep(rest - SPIN);
    }
    while Instant::now() < due {
        std::hint::spin_loop();
    }
}

pub(super) type Sampler = mpsc::SyncSender<(Instant, Delivery)>;
pub(super) type Samples = std::thread::JoinHandle<Result<Histogram<u64>, Error>>;

/// A thread that waits for deliveries, in order, and counts how long they took.
pub(super) fn collector() -> (Sampler, Samples) {
    let (sampler, deliveries) = mpsc::sync_channel::<(Instant, Delivery)>(DELIVERIES_MAX);
    let samples = std::thread::spawn(move || {
        let mut histogram = histogram()?;
        for (asked, delivery) in deliveries {
            delivery.wait(None)?;
            histogram.saturating_record(nanos(asked.elapsed()));
        }
        Ok(histogram)
    });
    (sampler, samples)
}

pub(super) fn join(samples: Samples) -> Result<Histogram<u64>, Error> {
    samples.join().unwrap_or_else(|_| panicked())
}

fn panicked<T>() -> Result<T, Error> {
    Err(Error::new(
        ErrorCode::UnknownServerError,
        "the thread that measures panicked",
    ))
}

/// From 100 ns to 100 s, to three digits.
fn histogram() -> Result<Histogram<u64>, Error> {
    Histogram::new_with_bounds(100, 100_000_000_000, 3).map_err(|error| {
        Error::new(
            ErrorCode::UnknownServerError,
            format!("no histogram: {error}"),
        )
    })
}

fn nanos(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
}
