//! `headwater bench`: what a log does, measured through the same calls that applications make.
//!
//! The clock runs from the first call to the last acknowledgement (or from the subscription to the last
//! record). `latency` sends at a fixed rate and counts from the moment a record *should* have been sent,
//! so that a stall is not hidden by the sends it holds up (coordinated omission).

use std::sync::mpsc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use headwater::{
    Client, ConsumerOptions, Delivery, Error, ErrorCode, ErrorKind, Producer, ProducerOptions,
    Record, TopicOptions, Until,
};
use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::args::{Bench, BenchKind};
use super::{Ended, Io, Stop, connect};

/// Deliveries that may wait to be looked at.
const DELIVERIES_MAX: usize = 100_000;
/// What a record of the batch format needs besides its value, about.
const RECORD_OVERHEAD_BYTES: u64 = 12;

pub(super) fn run(args: &Bench, address: &str, io: &mut Io, stop: &Stop) -> Result<Ended, Error> {
    let client = connect(address, args.kind != BenchKind::Consume, stop)?;
    let bar = io.progress("bench", args.records);
    let measured = prepare(&client, args).and_then(|durability| {
        let measured = match args.kind {
            BenchKind::Produce => produce(&client, args, stop, &bar),
            BenchKind::Consume => consume(&client, args, stop, &bar),
            BenchKind::Latency => latency(&client, args, stop, &bar),
        };
        measured.map(|measured| (measured, durability))
    });
    bar.finish_and_clear();
    let closed = client.close(None).wait(None);
    let (measured, (durability, partitions)) = measured?;
    closed?;
    if stop.is_set() {
        return Ok(Ended::Interrupted);
    }
    report(args, &measured, &durability, partitions, io)?;
    Ok(if measured.records == 0 {
        Ended::Nothing
    } else {
        Ended::Done
    })
}

struct Measured {
    records: u64,
    elapsed: Duration,
    latency_us: Option<Histogram<u64>>,
}

/// The level and the number of partitions of the topic, which is created if it is missing.
fn prepare(client: &Client, args: &Bench) -> Result<(String, usize), Error> {
    let admin = client.admin();
    let found = match admin.describe_topic(&args.topic).wait(None) {
        Err(error) if error.kind() == ErrorKind::NotFound && args.kind != BenchKind::Consume => {
            let mut options = TopicOptions {
                partitions: Some(args.partitions),
                ..TopicOptions::default()
            };
            if let Some(level) = &args.durability {
                options.set("durability", level)?;
            }
            admin.create_topic(&args.topic, options).wait(None)?;
            admin.describe_topic(&args.topic).wait(None)?
        }
        found => found?,
    };
    let level = found.config.iter().find(|(name, _)| name == "durability");
    let level = level.map_or_else(String::new, |(_, value)| value.clone());
    match &args.durability {
        Some(wanted) if *wanted != level => Err(Error::new(
            ErrorCode::InvalidArgument,
            format!(
                "topic `{}` is at durability `{level}`, not `{wanted}`; take another --topic, or \
                 delete it",
                args.topic
            ),
        )),
        _ => Ok((level, found.partitions.len())),
    }
}

fn producer(client: &Client, args: &Bench) -> Result<Producer, Error> {
    let batch_bytes = u64::from(args.batch) * (args.size as u64 + RECORD_OVERHEAD_BYTES) + 128;
    let batch_bytes = batch_bytes.clamp(1_024, 1_000_000.max(args.size as u64 + 1_024));
    client.producer(ProducerOptions {
        batch_bytes: Some(batch_bytes),
        // Enough for five batches on their way and as many being filled; more would only make the
        // acknowledgements wait longer.
        buffer_bytes: Some((batch_bytes * 16).max(4 << 20)),
        ..options(args)?
    })
}

fn options(args: &Bench) -> Result<ProducerOptions, Error> {
    let mut options = ProducerOptions::default();
    if let Some(compression) = &args.compression {
        options.set("compression", compression)?;
    }
    Ok(options)
}

/// What records consist of: one value over and over, which costs nothing, or what a codec is worth
/// trying on.
struct Values {
    text: Vec<u8>,
    size: usize,
    next: usize,
}

/// Bytes of text that values are cut out of where they are compressed: more than a batch holds.
const TEXT_BYTES: usize = 4 << 20;

impl Values {
    fn new(args: &Bench) -> Self {
        let is_compressed = args.compression.as_ref().is_some_and(|it| it != "none");
        let more = if is_compressed { TEXT_BYTES } else { 0 };
        Self {
            text: text(args.size + more),
            size: args.size,
            next: 0,
        }
    }

    fn next(&mut self) -> &[u8] {
        let begin = self.next;
        let last = self.text.len() - self.size;
        self.next = if begin + self.size > last {
            0
        } else {
            begin + self.size
        };
        self.text.get(begin..begin + self.size).unwrap_or_default()
    }
}

/// Words of some hundred, in any order: it compresses about as well as what programs log.
fn text(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut text = Vec::with_capacity(bytes + 20);
    while text.len() < bytes {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let word = (state >> 56) * 0x9e37_79b9;
        text.extend_from_slice(format!("{word:x} ").as_bytes());
    }
    text.truncate(bytes);
    text
}

fn produce(
    client: &Client,
    args: &Bench,
    stop: &Stop,
    bar: &ProgressBar,
) -> Result<Measured, Error> {
    let producer = producer(client, args)?;
    let mut values = Values::new(args);
    let every = u64::from(args.batch);
    let begun = Instant::now();
    let (sampler, samples) = collector();
    let mut sent = 0;
    while sent < args.records && !stop.is_set() {
        let count = every.min(args.records - sent);
        let asked = Instant::now();
        // One record of each batch tells how long a batch takes; the others cost nothing to follow.
        let sample = producer.send(&args.topic, &Record::new(values.next()))?;
        let _ = sampler.try_send((asked, sample));
        for _ in 1..count {
            enqueue(&producer, &args.topic, &Record::new(values.next()))?;
        }
        sent += count;
        bar.inc(count);
    }
    producer.flush().wait(None)?;
    let elapsed = begun.elapsed();
    drop(sampler);
    let latency_us = Some(join(samples)?);
    producer.close(None).wait(None)?;
    Ok(Measured {
        records: sent,
        elapsed,
        latency_us,
    })
}

/// Hands a record over, waiting for room when there is none.
fn enqueue(producer: &Producer, topic: &str, record: &Record<'_>) -> Result<(), Error> {
    loop {
        match producer.enqueue(topic, record) {
            Err(error) if error.kind() == ErrorKind::Full => producer.ready().wait(None)?,
            done => return done,
        }
    }
}

fn consume(
    client: &Client,
    args: &Bench,
    stop: &Stop,
    bar: &ProgressBar,
) -> Result<Measured, Error> {
    let options = ConsumerOptions {
        until: Some(Until::End),
        ..ConsumerOptions::default()
    };
    let consumer = client.consumer(&[&args.topic], options)?;
    let begun = Instant::now();
    let (mut records, mut bytes) = (0, 0);
    while records < args.records && !stop.is_set() {
        let Some(batch) = consumer.next_batch_wait(Some(Duration::from_millis(100)))? else {
            if consumer.is_finished() {
                break;
            }
            continue;
        };
        let before = records;
        for record in batch.records() {
            bytes += record?.value.map_or(0, <[u8]>::len);
            records += 1;
        }
        bar.inc(records - before);
    }
    let elapsed = begun.elapsed();
    consumer.close(None).wait(None)?;
    std::hint::black_box(bytes);
    Ok(Measured {
        records,
        elapsed,
        latency_us: None,
    })
}

fn latency(
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

type Sampler = mpsc::SyncSender<(Instant, Delivery)>;
type Samples = std::thread::JoinHandle<Result<Histogram<u64>, Error>>;

/// A thread that waits for deliveries, in order, and counts how long they took.
fn collector() -> (Sampler, Samples) {
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

fn join(samples: Samples) -> Result<Histogram<u64>, Error> {
    samples.join().unwrap_or_else(|_| {
        Err(Error::new(
            ErrorCode::UnknownServerError,
            "the thread that measures panicked",
        ))
    })
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

fn report(
    args: &Bench,
    measured: &Measured,
    durability: &str,
    partitions: usize,
    io: &mut Io,
) -> Result<(), Error> {
    let seconds = measured.elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
    let records_per_s = measured.records as f64 / seconds;
    let mb_per_s = records_per_s * args.size as f64 / 1e6;
    let micros = |nanos: u64| (nanos as f64 / 10.0).round() / 100.0;
    let quantile = |histogram: &Histogram<u64>, q| micros(histogram.value_at_quantile(q));
    let latency = measured
        .latency_us
        .as_ref()
        .map_or(Value::Null, |histogram| {
            json!({
                "p50": quantile(histogram, 0.5),
                "p99": quantile(histogram, 0.99),
                "p999": quantile(histogram, 0.999),
                "max": micros(histogram.max()),
            })
        });
    // A reader takes what is there.
    let compression = args.compression.as_deref().unwrap_or("none");
    let compression = (args.kind != BenchKind::Consume).then_some(compression);
    if io.is_json() {
        return io.json(&json!({
            "bench": format!("{:?}", args.kind).to_lowercase(),
            "records": measured.records,
            "size_bytes": args.size,
            "partitions": partitions,
            "durability": durability,
            "batch": args.batch,
            "compression": compression,
            "rate": (args.kind == BenchKind::Latency).then_some(args.rate),
            "elapsed_s": seconds,
            "records_per_s": records_per_s,
            "mb_per_s": mb_per_s,
            "latency_us": latency,
        }));
    }
    let compression = compression.map_or_else(String::new, |it| format!(", compression {it}"));
    io.line(&format!(
        "{:?} of {} records of {} B, {partitions} partition(s), \
         durability {durability}{compression}",
        args.kind, measured.records, args.size
    ))?;
    io.line(&format!(
        "  {seconds:.3} s, {records_per_s:.0} records/s, {mb_per_s:.1} MB/s"
    ))?;
    if let Value::Object(latency) = &latency {
        let parts = ["p50", "p99", "p999", "max"]
            .map(|q| format!("{q} {} us", latency.get(q).unwrap_or(&Value::Null)));
        io.line(&format!("  latency: {}", parts.join(", ")))?;
    }
    Ok(())
}
