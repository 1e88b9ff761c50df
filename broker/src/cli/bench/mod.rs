//! `headwater bench`: what a log does, measured through the same calls that applications make.
//!
//! The clock runs from the first call to the last acknowledgement (or from the subscription to the last
//! record).

mod latency;
mod throughput;
mod values;

use std::time::Duration;

use hdrhistogram::Histogram;
use headwater::{Client, Error, ErrorCode, ErrorKind, ProducerOptions, TopicOptions};
use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::args::{Bench, BenchKind};
use super::{Ended, INTERRUPTED_CLOSE, Io, Stop, connect};

pub(super) fn run(args: &Bench, address: &str, io: &mut Io, stop: &Stop) -> Result<Ended, Error> {
    check(args)?;
    let create = args.kind != BenchKind::Consume;
    let connections = match args.kind {
        BenchKind::EndToEnd => 2,
        _ => args.connections,
    };
    let clients = (0..connections).map(|_| connect(address, create, stop));
    let clients = clients.collect::<Result<Vec<_>, _>>()?;
    let bar = io.progress("bench", args.records);
    let measured = measure(&clients, args, stop, &bar);
    bar.finish_and_clear();
    let timeout = stop.is_set().then_some(INTERRUPTED_CLOSE);
    let closing: Vec<_> = clients.iter().map(|client| client.close(timeout)).collect();
    let closed: Result<Vec<_>, _> = closing.into_iter().map(|mut it| it.wait(None)).collect();
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

/// What clap does not know of one kind and the other.
fn check(args: &Bench) -> Result<(), Error> {
    let wrong = |what: &str| Err(Error::new(ErrorCode::InvalidArgument, what));
    match args.kind {
        BenchKind::Produce => Ok(()),
        _ if args.connections > 1 => {
            wrong("--connections is for `bench produce`; the others have one (`end-to-end`: two)")
        }
        BenchKind::EndToEnd if args.rate == 0 => {
            wrong("`bench end-to-end` sends at a rate: --rate must be 1 or more")
        }
        _ => Ok(()),
    }
}

type Topic = (String, usize);

fn measure(
    clients: &[Client],
    args: &Bench,
    stop: &Stop,
    bar: &ProgressBar,
) -> Result<(Measured, Topic), Error> {
    let [client, more @ ..] = clients else {
        let message = "--connections must be 1 or more";
        return Err(Error::new(ErrorCode::InvalidArgument, message));
    };
    let topic = prepare(client, args)?;
    let measured = match args.kind {
        BenchKind::Produce => throughput::produce(clients, args, stop, bar),
        BenchKind::Consume => throughput::consume(client, args, stop, bar),
        BenchKind::Latency => latency::latency(client, args, stop, bar),
        BenchKind::EndToEnd => {
            let reading = more.first().unwrap_or(client);
            latency::end_to_end([client, reading], args, stop, bar)
        }
    };
    Ok((measured?, topic))
}

struct Measured {
    records: u64,
    elapsed: Duration,
    latency_us: Option<Histogram<u64>>,
}

/// The level and the number of partitions of the topic, which is created if it is missing.
fn prepare(client: &Client, args: &Bench) -> Result<Topic, Error> {
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

fn options(args: &Bench) -> Result<ProducerOptions, Error> {
    let mut options = ProducerOptions::default();
    if let Some(compression) = &args.compression {
        options.set("compression", compression)?;
    }
    Ok(options)
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
            "bench": args.kind.name(),
            "records": measured.records,
            "size_bytes": args.size,
            "partitions": partitions,
            "connections": args.connections,
            "durability": durability,
            "batch": args.batch,
            "compression": compression,
            "rate": args.kind.has_rate().then_some(args.rate),
            "elapsed_s": seconds,
            "records_per_s": records_per_s,
            "mb_per_s": mb_per_s,
            "latency_us": latency,
        }));
    }
    let compression = compression.map_or_else(String::new, |it| format!(", compression {it}"));
    io.line(&format!(
        "{} of {} records of {} B, {partitions} partition(s), \
         durability {durability}{compression}",
        args.kind.name(),
        measured.records,
        args.size
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
