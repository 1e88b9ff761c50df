//! Records a second, in and out.

use std::time::{Duration, Instant};

use headwater::{
    Client, ConsumerOptions, Error, ErrorKind, Producer, ProducerOptions, Record, Until,
};
use indicatif::ProgressBar;

use super::super::Stop;
use super::super::args::Bench;
use super::latency::{collector, join};
use super::values::Values;
use super::{Measured, options};

/// What a record of the batch format needs besides its value, about.
const RECORD_OVERHEAD_BYTES: u64 = 12;
/// The batches that a producer holds: five on their way and as many being filled; more would only make the
/// acknowledgements wait longer.
const BATCHES_HELD: u64 = 16;
/// The same where there are so many producers that the broker has work without it.
const BATCHES_HELD_BY_ONE_OF_MANY: u64 = 4;

fn producer(client: &Client, args: &Bench) -> Result<Producer, Error> {
    let batch_bytes = u64::from(args.batch) * (args.size as u64 + RECORD_OVERHEAD_BYTES) + 128;
    let batch_bytes = batch_bytes.clamp(1_024, 1_000_000.max(args.size as u64 + 1_024));
    let buffer_bytes = if args.connections == 1 {
        (batch_bytes * BATCHES_HELD).max(4 << 20)
    } else {
        (batch_bytes * BATCHES_HELD_BY_ONE_OF_MANY).max(256 << 10)
    };
    client.producer(ProducerOptions {
        batch_bytes: Some(batch_bytes),
        buffer_bytes: Some(buffer_bytes),
        ..options(args)?
    })
}

/// Every producer sends a batch, then the next one does; all from this thread, so that what is measured is what
/// connections cost and not threads.
pub(super) fn produce(
    clients: &[Client],
    args: &Bench,
    stop: &Stop,
    bar: &ProgressBar,
) -> Result<Measured, Error> {
    let producers = clients.iter().map(|client| producer(client, args));
    let producers = producers.collect::<Result<Vec<_>, _>>()?;
    let mut turns = producers.iter().cycle();
    let mut values = Values::new(args);
    let every = u64::from(args.batch);
    let begun = Instant::now();
    let (sampler, samples) = collector();
    let mut sent = 0;
    while sent < args.records
        && !stop.is_set()
        && let Some(producer) = turns.next()
    {
        let count = every.min(args.records - sent);
        let asked = Instant::now();
        // One record of each batch tells how long a batch takes; the others cost nothing to follow.
        let sample = producer.send(&args.topic, &Record::new(values.next()))?;
        let _ = sampler.try_send((asked, sample));
        for _ in 1..count {
            enqueue(producer, &args.topic, &Record::new(values.next()))?;
        }
        sent += count;
        bar.inc(count);
    }
    for producer in &producers {
        producer.flush().wait(None)?;
    }
    let elapsed = begun.elapsed();
    drop(sampler);
    let latency_us = Some(join(samples)?);
    for producer in &producers {
        producer.close(None).wait(None)?;
    }
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

pub(super) fn consume(
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
