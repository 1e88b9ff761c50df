//! Memory within stated budgets, measured: the resident memory of real processes while somebody does not keep up.
//!
//! Brokers are the program; clients that are measured are this binary again, which plays the part that it is given.
//! A budget is what the limits and options say, and [`SLACK_BYTES`] for what belongs to no limit: the allocator's
//! reserves, stacks of threads, code that is paged in. What is offered is a multiple of each budget, so whoever
//! kept all of it would be found.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use headwater::limits::{CONNECTION_UNSENT_BYTES_MAX, PUSH_BYTES_MAX};
use headwater::protocol::frame::FrameKind;
use headwater::protocol::request::{PartitionOffset, Subscribe};
use headwater::{
    Client, CloseReport, Consumer, ConsumerOptions, ErrorKind, Order, ProcessOptions, Producer,
    ProducerOptions, Record, TopicOptions,
};

use super::harness::{Place, Serving, run, signal};
use super::raw::Raw;

const KIB: u64 = 1_024;
pub(crate) const MIB: u64 = 1_024 * KIB;
/// What no limit speaks of.
pub(crate) const SLACK_BYTES: u64 = 12 * MIB;
/// What somebody who works grows by now and then.
const HARDLY_BYTES: u64 = 256 * KIB;
/// The bytes of all records of the topic that is read.
const OFFERED_BYTES: u64 = 128 * MIB;
const VALUE_BYTES: u64 = KIB;
/// The option's default, read ahead for a consumer.
const READ_AHEAD_BYTES: u64 = 8 * MIB;
/// The option's default, records given out and not acknowledged.
const MAX_UNACKED: u64 = 10_000;
/// The option's default, taken by a producer and not acknowledged.
const BUFFER_BYTES: u64 = 16 * MIB;
/// What `tail_cache_bytes` is set to.
const TAIL_CACHE_BYTES: u64 = 8 * MIB;
/// A connection that does nothing.
pub(crate) const IDLE_CONNECTION_BYTES: u64 = 32 * KIB;
/// A topic of one partition: in the broker's state, and on its way to the checkpoint.
const TOPIC_BYTES: u64 = 4 * KIB;
/// A topic that a producer has sent to.
const PRODUCER_TOPIC_BYTES: u64 = 4 * KIB;

const CONNECTIONS: u64 = 1_000;
const TOPICS: u64 = 10_000;
const SLOW_READERS: u64 = 8;
/// Handlers that are stuck at the same time.
const CONCURRENCY: u32 = 16;
/// Times that a producer whose buffer is full is asked for room all the same.
const REFUSALS: u64 = 100_000;
/// What a client is given to close, and far less than it would take to give up by itself.
const CLOSE: Duration = Duration::from_secs(1);
/// Far beyond `CLOSE`, and below `delivery_timeout_ms`: who needs so long to close did not keep to it.
const NOT_CLOSED: Duration = Duration::from_secs(60);

#[test]
fn a_consumer_that_never_polls_holds_its_read_ahead_alone() {
    let place = topic_to_read();
    let client = Part::play("never_polls", &place.address);
    let budget = READ_AHEAD_BYTES + PUSH_BYTES_MAX as u64 + SLACK_BYTES;
    client.check("a consumer that never polls", budget);
}

#[test]
fn a_handler_that_is_stuck_holds_what_may_be_unacknowledged_alone() {
    let place = topic_to_read();
    let client = Part::play("stuck_handler", &place.address);
    let given_out = MAX_UNACKED * VALUE_BYTES;
    let budget = READ_AHEAD_BYTES + PUSH_BYTES_MAX as u64 + given_out + SLACK_BYTES;
    client.check("a handler that is stuck", budget);
}

#[test]
fn a_connection_that_is_not_read_holds_what_may_be_unsent_alone() {
    let scratch = tempfile::tempdir().unwrap();
    let cache = format!("tail_cache_bytes={TAIL_CACHE_BYTES}");
    let options = ["--set", &cache];
    let broker = Serving::start_with(&scratch.path().join("data"), "127.0.0.1:0", &options);
    fill(&broker.address);
    let before = resident(broker.pid());
    let mut readers = Vec::new();
    for _ in 0..SLOW_READERS {
        let mut reader = Raw::greet(&broker.address);
        let subscribe = Subscribe {
            partitions: vec![PartitionOffset {
                topic: "orders".to_owned(),
                partition: 0,
                offset: 0,
            }],
            credit_bytes: u64::MAX / 2,
        };
        reader.send(1, FrameKind::Subscribe, &subscribe);
        readers.push(reader);
    }
    let grown = settled_peak(broker.pid()).saturating_sub(before);
    let one = (CONNECTION_UNSENT_BYTES_MAX + 2 * PUSH_BYTES_MAX) as u64;
    let budget = SLOW_READERS * one + TAIL_CACHE_BYTES + SLACK_BYTES;
    within("a broker whose readers do not read", grown, budget);
    // Others are served meanwhile.
    produce_one(&broker.address);
}

#[test]
fn a_producer_whose_broker_is_gone_holds_its_buffer_alone() {
    let (_scratch, mut broker) = broker_with_topic();
    let client = Part::play("fills_its_buffer", &broker.address);
    broker.kill();
    client.check(
        "a producer whose broker is gone",
        BUFFER_BYTES + SLACK_BYTES,
    );
}

#[test]
fn a_producer_whose_broker_hangs_holds_its_buffer_alone() {
    let (_scratch, broker) = broker_with_topic();
    let client = Part::play("fills_its_buffer", &broker.address);
    signal(broker.pid(), "STOP");
    client.check("a producer whose broker hangs", BUFFER_BYTES + SLACK_BYTES);
}

#[test]
fn idle_connections_cost_so_much_each() {
    let scratch = tempfile::tempdir().unwrap();
    let broker = Serving::start(&scratch.path().join("data"));
    let before = resident(broker.pid());
    // The tests beside this one need files too.
    let count = CONNECTIONS.min(files_allowed() / 3);
    let connections: Vec<_> = (0..count).map(|_| Raw::greet(&broker.address)).collect();
    let grown = settled_peak(broker.pid()).saturating_sub(before);
    let budget = count * IDLE_CONNECTION_BYTES + MIB;
    within(&format!("{count} idle connections"), grown, budget);
    drop(connections);
}

#[test]
fn topics_cost_so_much_each_in_the_broker_and_in_a_producer() {
    let scratch = tempfile::tempdir().unwrap();
    let broker = Serving::start(&scratch.path().join("data"));
    let before = resident(broker.pid());
    let db = headwater::connect(&broker.address).wait(None).unwrap();
    let numbers: Vec<_> = (0..TOPICS).collect();
    for some in numbers.chunks(500) {
        let admin = db.admin();
        let asked = some.iter().map(|number| {
            let options = TopicOptions::default();
            admin.create_topic(&format!("topic-{number}"), options)
        });
        let asked: Vec<_> = asked.collect();
        for mut answer in asked {
            answer.wait(None).unwrap();
        }
    }
    let grown = settled_peak(broker.pid()).saturating_sub(before);
    let budget = TOPICS * TOPIC_BYTES + SLACK_BYTES;
    within(&format!("a broker of {TOPICS} topics"), grown, budget);

    let client = Part::play("sends_to_all_topics", &broker.address);
    let budget = BUFFER_BYTES + TOPICS * PRODUCER_TOPIC_BYTES + SLACK_BYTES;
    client.check(&format!("a producer to {TOPICS} topics"), budget);
}

/// A broker with a topic of 128 MiB, in batches of what one push holds.
fn topic_to_read() -> Place {
    let place = Place::broker();
    fill(&place.address);
    place
}

pub(crate) fn fill(address: &str) {
    let records = (OFFERED_BYTES / VALUE_BYTES).to_string();
    let size = VALUE_BYTES.to_string();
    let bench = ["bench", "produce", "--topic", "orders", "--batch", "200"];
    let shape = ["--durability", "os", "--records", &records, "--size", &size];
    run(["--address", address].iter().chain(&bench).chain(&shape)).ended(0);
}

fn broker_with_topic() -> (tempfile::TempDir, Serving) {
    let scratch = tempfile::tempdir().unwrap();
    let broker = Serving::start(&scratch.path().join("data"));
    produce_one(&broker.address);
    (scratch, broker)
}

fn produce_one(address: &str) {
    let db = headwater::connect(address).wait(None).unwrap();
    let options = TopicOptions {
        exist_ok: Some(true),
        ..TopicOptions::default()
    };
    let created = db.admin().create_topic("other", options).wait(None);
    created.unwrap();
    let producer = db.producer(ProducerOptions::default()).unwrap();
    let sent = producer.send("other", &Record::new(b"one")).unwrap();
    sent.wait(None).unwrap();
    db.close(None).wait(None).unwrap();
}

#[track_caller]
#[expect(clippy::print_stdout, reason = "the figure of a test that passes")]
pub(crate) fn within(what: &str, grown: u64, budget: u64) {
    let (grown, budget) = (grown as f64 / MIB as f64, budget as f64 / MIB as f64);
    println!("{what}: {grown:.1} MiB of {budget:.1}");
    assert!(
        grown <= budget,
        "{what}: {grown:.1} MiB, the budget is {budget:.1}"
    );
}

/// Bytes of a process' resident memory now.
pub(crate) fn resident(pid: u32) -> u64 {
    status(pid, "VmRSS:")
}

/// Bytes of a process' address space now, whether it ever wrote to them or not.
pub(crate) fn reserved(pid: u32) -> u64 {
    status(pid, "VmSize:")
}

/// The most that a process has held, once that has hardly grown for a second.
pub(crate) fn settled_peak(pid: u32) -> u64 {
    let (mut settled, mut looks) = (0, 0);
    loop {
        let now = status(pid, "VmHWM:");
        if now > settled + HARDLY_BYTES {
            (settled, looks) = (now, 0);
        } else if looks == 10 {
            return now;
        }
        looks += 1;
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn status(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    let kib = line.split_whitespace().nth(1).unwrap();
    kib.parse::<u64>().unwrap() * KIB
}

fn files_allowed() -> u64 {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let soft = line.unwrap().split_whitespace().nth(3).unwrap();
    soft.parse().unwrap_or(u64::MAX)
}

/// The variables that tell this binary which part to play, and where.
const PART: &str = "HEADWATER_TEST_PART";
const ADDRESS: &str = "HEADWATER_TEST_ADDRESS";
/// What the part says is behind this, on a line; the rest is the test runner's.
const SAYS: &str = "part: ";

/// A client in a process of its own, connected and waiting for a word.
struct Part {
    process: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    before: u64,
}

impl Part {
    fn play(part: &str, address: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "memory::the_part_of_a_client", "--nocapture"]);
        command.env(PART, part).env(ADDRESS, address);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let stdin = process.stdin.take().unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let mut played = Self {
            process,
            stdin,
            stdout,
            before: 0,
        };
        played.hear("connected");
        played.before = resident(played.process.id());
        played
    }

    /// Has it do what it does, looks at what that takes, and has it close, which must end.
    #[track_caller]
    fn check(mut self, what: &str, budget: u64) {
        self.stdin.write_all(b"go on\n").unwrap();
        self.hear("done");
        let grown = settled_peak(self.process.id()).saturating_sub(self.before);
        within(what, grown, budget);
        self.stdin.write_all(b"close\n").unwrap();
        self.hear("closed");
        assert!(self.process.wait().unwrap().success());
    }

    #[track_caller]
    fn hear(&mut self, wanted: &str) {
        let mut line = String::new();
        loop {
            line.clear();
            let count = self.stdout.read_line(&mut line).unwrap();
            assert_ne!(count, 0, "it ended before it was {wanted}");
            if let Some((_, said)) = line.split_once(SAYS) {
                assert_eq!(said.trim_end(), wanted);
                return;
            }
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Not a test by itself: what the others start. Without a part it does nothing.
#[test]
fn the_part_of_a_client() {
    let (Ok(part), Ok(address)) = (std::env::var(PART), std::env::var(ADDRESS)) else {
        return;
    };
    let db = headwater::connect(&address).wait(None).unwrap();
    say("connected");
    await_word();
    match part.as_str() {
        "never_polls" => {
            let consumer = consumer(&db);
            assert!(consumer.next_batch_wait(None).unwrap().is_some());
            say("done");
            await_word();
            closed(&db);
        }
        "stuck_handler" => {
            let consumer = consumer(&db);
            let (started, has_started) = std::sync::mpsc::channel();
            let options = ProcessOptions {
                concurrency: Some(CONCURRENCY),
                order: Some(Order::None),
                ..ProcessOptions::default()
            };
            std::thread::spawn(move || {
                consumer.process(&options, |_| -> Result<(), String> {
                    let _ = started.send(());
                    loop {
                        std::thread::park();
                    }
                })
            });
            for _ in 0..CONCURRENCY {
                has_started.recv().unwrap();
            }
            say("done");
            await_word();
            closed(&db);
        }
        "fills_its_buffer" => {
            let accepted = fill_buffer(&db);
            say("done");
            await_word();
            assert_eq!(closed(&db).unsent_records, accepted);
        }
        "sends_to_all_topics" => {
            let producer = db.producer(ProducerOptions::default()).unwrap();
            for number in 0..TOPICS {
                let topic = format!("topic-{number}");
                enqueue(&producer, &topic, b"one");
            }
            producer.flush().wait(None).unwrap();
            say("done");
            await_word();
            assert_eq!(closed(&db), CloseReport::default());
        }
        _ => panic!("no part is called {part}"),
    }
    say("closed");
    // A handler that is stuck would keep the process.
    std::process::exit(0);
}

fn say(what: &str) {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{SAYS}{what}").unwrap();
    stdout.flush().unwrap();
}

/// Waits until the test says so.
fn await_word() {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    assert!(!line.is_empty(), "the test has ended");
}

fn consumer(db: &Client) -> Consumer {
    let options = ConsumerOptions {
        group: Some("billing".to_owned()),
        ..ConsumerOptions::default()
    };
    db.consumer(&["orders"], options).unwrap()
}

/// Closes, which must be done long before the client would give up by itself.
fn closed(db: &Client) -> CloseReport {
    let begun = Instant::now();
    let report = db.close(Some(CLOSE)).wait(None).unwrap();
    assert!(begun.elapsed() < NOT_CLOSED, "{:?}", begun.elapsed());
    report
}

/// Sends until there is no room, and goes on trying; says how many records were taken.
fn fill_buffer(db: &Client) -> u64 {
    let producer = db.producer(ProducerOptions::default()).unwrap();
    let value = vec![b'x'; usize::try_from(VALUE_BYTES).unwrap()];
    let (mut accepted, mut refused) = (0, 0);
    while refused < REFUSALS && accepted * VALUE_BYTES < OFFERED_BYTES {
        match producer.enqueue("other", &Record::new(&value)) {
            Ok(()) => accepted += 1,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Full, "{error}");
                refused += 1;
            }
        }
    }
    assert!(accepted > 0);
    // What was taken is kept without the handle, and closing the client tells of it.
    accepted
}

fn enqueue(producer: &Producer, topic: &str, value: &[u8]) {
    loop {
        match producer.enqueue(topic, &Record::new(value)) {
            Err(error) if error.kind() == ErrorKind::Full => producer.ready().wait(None).unwrap(),
            done => return done.unwrap(),
        }
    }
}
