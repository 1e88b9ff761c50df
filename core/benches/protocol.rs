//! The native protocol beside its floor: latency of one request in flight, records per second in and out.
//!
//! `cargo bench -p headwater --features testing --bench protocol [part]`. The floor is an echo of 100
//! bytes over loopback between two threads that block. Client and server are in one process and share the
//! machine's cores and core's runtime. Records have 100 bytes; the log is in memory or in a folder, always
//! at `os`. CPU is that of the whole process, both sides together.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use bytes::Bytes;
use headwater::completion::{Completion, Wake, Wakes};
use headwater::protocol::fetched::FetchedBatch;
use headwater::protocol::request::{PartitionOffset, Request, Subscribe};
use headwater::protocol::response::Response;
use headwater::record::builder::BatchBuilder;
use headwater::record::{HeadersRef, RecordRef};
use headwater::runtime::runtime;
use headwater::server::{Server, ServerOptions};
use headwater::service::{Service, ServiceOptions};
use headwater::testing::{RawClient, RawFeed};
use headwater::{Durability, Result};

const ROUND_TRIPS: usize = 20_000;
/// Many records a batch, and few in flight: what a busy producer makes.
const LARGE: Load = Load {
    batches: 5_000,
    records: 1_000,
    in_flight: 16,
};
/// One record a batch, and many in flight: what the protocol itself costs.
const SMALL: Load = Load {
    batches: 300_000,
    records: 1,
    in_flight: 256,
};

#[derive(Clone, Copy)]
struct Load {
    batches: usize,
    records: usize,
    in_flight: usize,
}

fn main() {
    let part = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let wants = |name: &str| part.as_deref().is_none_or(|part| part == name);
    println!(
        "{:<34}{:>10}{:>10}{:>10}{:>10}",
        "one in flight, us", "p50", "p90", "p99", "max"
    );
    if wants("echo") {
        latency("loopback echo, 100 B", &mut echo());
    }
    if wants("tokio") {
        latency("loopback echo, tokio server", &mut tokio_echo());
    }
    let memory = Service::open_memory("", &ServiceOptions::default()).unwrap();
    if wants("ping") {
        latency("ping", &mut ping(&memory));
    }
    if wants("one") {
        latency("produce 1 record, mem", &mut produce_one(&memory));
    }
    if wants("push") {
        latency("produce to push, mem", &mut produce_to_push(&memory));
    }
    let folder = tempfile::tempdir_in(".").unwrap();
    let disk = Service::open_folder(folder.path(), &ServiceOptions::default()).unwrap();
    if wants("one") {
        latency("produce 1 record, folder, os", &mut produce_one(&disk));
    }
    println!(
        "{:<34}{:>12}{:>12}{:>12}",
        "many in flight", "records/s", "MB/s", "CPU us/rec"
    );
    for (name, service) in [("mem", &memory), ("folder, os", &disk)] {
        for (size, load) in [("1,000 x 100 B", LARGE), ("1 x 100 B", SMALL)] {
            if wants("in") || wants("out") {
                throughput(&format!("in, {name}, {size}"), load, || {
                    produce_many(service, load)
                });
            }
            if wants("out") {
                throughput(&format!("out, {name}, {size}"), load, || {
                    consume_many(service, load)
                });
            }
        }
    }
    if wants("idle") {
        idle(&memory);
    }
    disk.close().unwrap();
}

fn latency(name: &str, round_trip: &mut dyn FnMut()) {
    for _ in 0..ROUND_TRIPS / 10 {
        round_trip();
    }
    let mut times = (0..ROUND_TRIPS)
        .map(|_| {
            let begun = Instant::now();
            round_trip();
            begun.elapsed()
        })
        .collect::<Vec<_>>();
    times.sort_unstable();
    let at = |share: usize| times[(times.len() * share / 1_000).min(times.len() - 1)];
    let [p50, p90, p99, max] = [500, 900, 990, 1_000].map(|share| at(share).as_secs_f64() * 1e6);
    println!("{name:<34}{p50:>10.1}{p90:>10.1}{p99:>10.1}{max:>10.1}");
}

fn throughput(name: &str, load: Load, run: impl Fn() -> u64) {
    for _ in 0..3 {
        let (begun, cpu) = (Instant::now(), cpu_time());
        let bytes = run();
        let (took, cpu) = (begun.elapsed().as_secs_f64(), cpu_time() - cpu);
        let records = (load.batches * load.records) as f64;
        println!(
            "{name:<34}{:>12.0}{:>12.0}{:>12.3}",
            records / took,
            bytes as f64 / took / 1e6,
            cpu.as_secs_f64() * 1e6 / records
        );
    }
}

/// User and system time of this process so far; the clock ticks every 10 ms.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace();
    let ticks = fields
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum::<u64>();
    Duration::from_millis(ticks * 10)
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn bounce(mut stream: TcpStream) -> impl FnMut() {
    stream.set_nodelay(true).unwrap();
    let mut buffer = [0; 100];
    move || {
        stream.write_all(&buffer).unwrap();
        stream.read_exact(&mut buffer).unwrap();
    }
}

fn echo() -> impl FnMut() {
    let (listener, address) = listener();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        let mut buffer = [0; 100];
        while stream.read_exact(&mut buffer).is_ok() {
            stream.write_all(&buffer).unwrap();
        }
    });
    bounce(TcpStream::connect(address).unwrap())
}

fn tokio_echo() -> impl FnMut() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (listener, address) = listener();
    listener.set_nonblocking(true).unwrap();
    runtime(None).unwrap().spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut buffer = [0; 100];
        while stream.read_exact(&mut buffer).await.is_ok() {
            stream.write_all(&buffer).await.unwrap();
        }
    });
    bounce(TcpStream::connect(address).unwrap())
}

/// A client of a server of this service.
fn connect(service: &Service) -> RawClient {
    let (listener, address) = listener();
    listener.set_nonblocking(true).unwrap();
    let server = Server::new(service.clone(), ServerOptions::default());
    runtime(None).unwrap().spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (reader, writer) = stream.into_split();
        server.serve_connection(reader, writer, b"", "bench").await;
    });
    RawClient::connect(address).unwrap()
}

/// A client, and a new topic at `os`.
fn with_topic(service: &Service, topic: &str) -> RawClient {
    let client = connect(service);
    let delete = Request::DeleteTopic {
        name: topic.to_owned(),
    };
    let _ = client.ask(delete, Bytes::new()).wait(None);
    let create = Request::CreateTopic {
        name: topic.to_owned(),
        config: vec![("durability".to_owned(), "os".to_owned())],
        exist_ok: false,
    };
    client.ask(create, Bytes::new()).wait(None).unwrap();
    client
}

fn ping(service: &Service) -> impl FnMut() {
    let client = connect(service);
    move || {
        let answer = client.ask(Request::Ping, Bytes::new()).wait(None);
        assert_eq!(answer, Ok(Response::Done));
    }
}

/// From sending a record to having it pushed over another connection; acknowledged on the way.
fn produce_to_push(service: &Service) -> impl FnMut() {
    let producer = with_topic(service, "pushed");
    let consumer = connect(service);
    let feed = follow(&consumer, "pushed");
    let batch = Bytes::from(batch(1));
    move || {
        // Dropped, it would close the connection and end the feed.
        let _ = &consumer;
        let mut acknowledged = producer.ask(produce("pushed"), batch.clone());
        while next(&feed).is_empty() {}
        acknowledged.wait(None).unwrap();
    }
}

fn follow(client: &RawClient, topic: &str) -> RawFeed {
    let partitions = vec![PartitionOffset {
        topic: topic.to_owned(),
        partition: 0,
        offset: 0,
    }];
    client
        .subscribe(Subscribe {
            partitions,
            credit_bytes: 8 << 20,
        })
        .unwrap()
}

/// What there is, having waited for it if there was nothing.
fn next(feed: &RawFeed) -> Vec<FetchedBatch> {
    let taken = feed.take(1 << 20).unwrap();
    if taken.is_empty() {
        let (sender, woken) = channel();
        feed.watch(Wake::Hook(Arc::new(move || {
            let _ = sender.send(());
        })));
        woken.recv().unwrap();
    }
    taken
}

/// Memory of connections that do nothing, both their sides.
fn idle(service: &Service) {
    const CONNECTIONS: usize = 1_000;
    let before = resident_bytes();
    let clients = (0..CONNECTIONS)
        .map(|_| connect(service))
        .collect::<Vec<_>>();
    let bytes = resident_bytes().saturating_sub(before) / CONNECTIONS;
    println!(
        "{:<34}{bytes:>10} bytes, both sides, without the kernel's",
        "an idle connection"
    );
    drop(clients);
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm
        .split_whitespace()
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or(0) * 4_096
}

fn produce(topic: &str) -> Request {
    Request::Produce {
        topic: topic.to_owned(),
        partition: 0,
        durability: Some(Durability::Os),
    }
}

fn produce_one(service: &Service) -> impl FnMut() {
    let client = with_topic(service, "one");
    let batch = Bytes::from(batch(1));
    move || {
        let answer = client.ask(produce("one"), batch.clone()).wait(None);
        assert!(matches!(answer, Ok(Response::Produced(_))), "{answer:?}");
    }
}

fn batch(records: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(128 * 1_024);
    for _ in 0..records {
        let record = RecordRef {
            timestamp_ms: 1_700_000_000_000,
            key: None,
            value: Some(&[b'v'; 100]),
            headers: HeadersRef::default(),
        };
        builder.push(&record).unwrap();
    }
    builder.finish(-1, -1, -1).unwrap()
}

/// Every batch is acknowledged; so many are in flight at a time.
fn produce_many(service: &Service, load: Load) -> u64 {
    let client = with_topic(service, "many");
    let batch = Bytes::from(batch(load.records));
    let (sender, answers) = channel::<Result<Response>>();
    for number in 0..load.batches {
        if number >= load.in_flight {
            answers.recv().unwrap().unwrap();
        }
        let sender = sender.clone();
        let completion =
            Completion::call(move |result, _: &mut Wakes| sender.send(result).unwrap());
        client.submit(produce("many"), batch.clone(), completion);
    }
    for _ in 0..load.in_flight {
        answers.recv().unwrap().unwrap();
    }
    (batch.len() * load.batches) as u64
}

/// From subscribing to the last batch of what was produced before.
fn consume_many(service: &Service, load: Load) -> u64 {
    let client = connect(service);
    let feed = follow(&client, "many");
    let (mut bytes, mut batches) = (0, 0);
    while batches < load.batches {
        let taken = next(&feed);
        batches += taken.len();
        bytes += taken
            .iter()
            .map(|batch| batch.batch.len() as u64)
            .sum::<u64>();
    }
    bytes
}
