//! Who means no good, on the port of a real broker: half frames, slow writers, huge lengths, frames out of order,
//! floods of connections, and sessions as they were recorded with bytes of them changed. Whatever comes, the broker
//! does not panic, takes no more memory than what has come accounts for, and goes on serving a good client, which
//! sends one record after the other all the while and loses none of them.
//!
//! What each frame is answered, and every limit of a connection, is tried on a server in memory
//! (`core/src/server/tests`); decoders are fed any bytes by `core/src/fuzzing`.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use headwater::fuzzing::Mutator;
use headwater::limits::{FRAME_BYTES_BEFORE_HELLO_MAX, FRAME_BYTES_MAX, FRAME_HEADER_BYTES_MAX};
use headwater::protocol::frame::{Frame, FrameKind};
use headwater::protocol::header::{Credit, Goodbye, Reassign};
use headwater::protocol::request::{PartitionOffset, Request, Subscribe};
use headwater::protocol::version::ClientHello;
use headwater::{Client, ErrorCode, ProducerOptions, Record};

use super::harness::{Serving, verified};
use super::memory::{
    IDLE_CONNECTION_BYTES, MIB, SLACK_BYTES, reserved, resident, settled_peak, within,
};
use super::raw::{Raw, encoded, hello};
use super::recorded::{create, hello_bytes, record};

/// Sessions that are changed and played.
const MUTATIONS: u64 = 1_000;
/// Connections at a time that come in a flood, and how many a broker is allowed there.
const FLOOD_THREADS: usize = 4;
const FLOOD_EACH: usize = 100;
const FLOOD_MAX: u32 = 20;

#[test]
fn huge_lengths_take_no_memory() {
    const CONNECTIONS: u64 = 200;
    let broker = Watched::start(&[]);
    let pid = broker.serving.pid();
    let (before, reserved_before) = (resident(pid), reserved(pid));
    let length = |bytes: usize| u32::try_from(bytes).unwrap().to_le_bytes();
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        // A frame as long as any may be, its header too, and nothing of either.
        let mut greeted = Raw::greet(broker.address());
        let mut head = length(FRAME_BYTES_MAX - 4).to_vec();
        head.extend(1_u64.to_le_bytes());
        head.push(FrameKind::Request as u8);
        head.extend(length(FRAME_HEADER_BYTES_MAX));
        greeted.stream.write_all(&head).unwrap();
        connections.push(greeted);
    }
    let grown = settled_peak(pid).saturating_sub(before);
    let budget = CONNECTIONS * IDLE_CONNECTION_BYTES + SLACK_BYTES;
    within("frames of which the head has come", grown, budget);
    // What is allocated and never written to is not resident, but reserved.
    let claimed = CONNECTIONS * FRAME_BYTES_MAX as u64;
    let grown = reserved(pid).saturating_sub(reserved_before);
    within("what is reserved for them", grown, claimed / 10);
    for said in [u32::MAX, u32::try_from(FRAME_BYTES_MAX).unwrap() + 1] {
        let mut greeted = Raw::greet(broker.address());
        greeted.stream.write_all(&said.to_le_bytes()).unwrap();
        assert_eq!(goodbye(&greeted.rest()), ErrorCode::CorruptFrame, "{said}");
    }
    let mut early = Raw::dial(broker.address());
    let magic = &hello()[..8];
    let said = length(FRAME_BYTES_BEFORE_HELLO_MAX + 1);
    early.stream.write_all(&[magic, &said].concat()).unwrap();
    let _ = early.drain();
    drop(connections);
    broker.ends_well();
}

#[test]
fn half_frames_hold_what_has_come_of_them_and_are_forgotten_with_their_connection() {
    const CONNECTIONS: u64 = 20;
    const COME_BYTES: u64 = 2 * MIB;
    let broker = Watched::start(&[]);
    let before = resident(broker.serving.pid());
    let produce = Request::Produce {
        topic: "good".to_owned(),
        partition: 0,
        durability: None,
    };
    let frame = encoded(1, FrameKind::Request, &produce, &vec![0; 15 << 20]);
    let half = &frame[..usize::try_from(COME_BYTES).unwrap()];
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut greeted = Raw::greet(broker.address());
        greeted.stream.write_all(half).unwrap();
        connections.push(greeted);
    }
    broker.serves();
    // A buffer that grows has up to twice the room that it needs.
    let grown = settled_peak(broker.serving.pid()).saturating_sub(before);
    within(
        "half frames",
        grown,
        CONNECTIONS * 2 * COME_BYTES + SLACK_BYTES,
    );
    drop(connections);
    broker.ends_well();
}

#[test]
fn who_writes_a_byte_a_second_is_closed_before_the_handshake_is_through() {
    let broker = Watched::start(&[]);
    let slow = |bytes: Vec<u8>| {
        let mut stream = TcpStream::connect(broker.address()).unwrap();
        std::thread::spawn(move || {
            stream
                .set_read_timeout(Some(Duration::from_secs(1)))
                .unwrap();
            for (written, byte) in bytes.iter().enumerate() {
                // The pause between two bytes is the wait for an answer, which is the end.
                let ended = stream.write_all(&[*byte]).is_err() || is_ended(&mut stream);
                if ended {
                    return written;
                }
            }
            bytes.len()
        })
    };
    let head = format!("GET /healthz HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(40));
    let slow: Vec<_> = [hello(), head.into_bytes()]
        .map(|bytes| (bytes.len(), slow(bytes)))
        .into();
    for (length, written) in slow {
        let written = written.join().unwrap();
        assert!(
            written + 1 < length,
            "{written} of {length} bytes were taken"
        );
    }
    // Once the handshake is done there is time.
    let mut greeted = Raw::greet(broker.address());
    for byte in encoded(1, FrameKind::Request, &Request::Ping, b"") {
        greeted.stream.write_all(&[byte]).unwrap();
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(greeted.next().unwrap().kind, FrameKind::Response);
    broker.ends_well();
}

#[test]
fn frames_in_the_wrong_order_end_their_connection_in_words() {
    let broker = Watched::start(&[]);
    let subscribe = Subscribe {
        partitions: vec![at_the_beginning("good")],
        credit_bytes: 1,
    };
    let ping = |id| encoded(id, FrameKind::Request, &Request::Ping, b"");
    let again = encoded(0, FrameKind::ClientHello, &ClientHello::ours("again"), b"");
    let bye = Goodbye {
        code: 0,
        message: String::new(),
        last_correlation_id: 0,
    };
    let wrong = [
        ("a second hello", again),
        (
            "a request of an earlier number",
            [ping(2), ping(1)].concat(),
        ),
        ("a request of the same number", [ping(1), ping(1)].concat()),
        (
            "a subscription of the same number",
            encoded(1, FrameKind::Subscribe, &subscribe, b"").repeat(2),
        ),
        ("an answer", encoded(1, FrameKind::Response, &0_u8, b"")),
        ("a push", encoded(1, FrameKind::Push, &0_u8, b"")),
        (
            "a payload where none is",
            encoded(1, FrameKind::Request, &Request::Ping, b"x"),
        ),
    ];
    for (what, bytes) in wrong {
        let mut greeted = Raw::greet(broker.address());
        greeted.stream.write_all(&bytes).unwrap();
        assert_eq!(goodbye(&greeted.rest()), ErrorCode::CorruptFrame, "{what}");
    }
    // What is about a subscription that has ended may cross its end: it is no fault.
    let mut greeted = Raw::greet(broker.address());
    let none = Reassign {
        assignment: 1,
        partitions: Vec::new(),
    };
    greeted.send(7, FrameKind::Credit, &Credit { bytes: u64::MAX });
    greeted.send(7, FrameKind::Reassign, &none);
    greeted.send(7, FrameKind::Unsubscribe, &());
    greeted.send(8, FrameKind::Request, &Request::Ping);
    assert_eq!(greeted.next().unwrap().kind, FrameKind::Response);
    // Who has said goodbye is not heard any more.
    greeted.send(0, FrameKind::Goodbye, &bye);
    greeted.send(9, FrameKind::Request, &Request::Ping);
    assert!(greeted.rest().is_empty());
    // A request before the hello is no hello.
    let mut early = Raw::dial(broker.address());
    let magic = &hello()[..8];
    early.stream.write_all(&[magic, &ping(1)].concat()).unwrap();
    let _ = early.drain();
    broker.ends_well();
}

#[test]
fn credit_beyond_all_numbers_is_as_much_as_there_is() {
    let broker = Watched::start(&[]);
    let mut greeted = Raw::greet(broker.address());
    let subscribe = Subscribe {
        partitions: vec![at_the_beginning("good")],
        credit_bytes: u64::MAX,
    };
    greeted.send(1, FrameKind::Subscribe, &subscribe);
    for _ in 0..10 {
        greeted.send(1, FrameKind::Credit, &Credit { bytes: u64::MAX });
        assert_eq!(greeted.next().unwrap().kind, FrameKind::Push);
    }
    broker.ends_well();
}

#[test]
fn a_flood_of_connections_leaves_those_that_are_served_alone() {
    let broker = Watched::start(&["--set", &format!("max_connections={FLOOD_MAX}")]);
    let before = resident(broker.serving.pid());
    let address = broker.address().to_owned();
    let flooding = (0..FLOOD_THREADS).map(|_| {
        let address = address.clone();
        std::thread::spawn(move || {
            for round in 0..2 {
                let mut connections = Vec::new();
                for number in 0..FLOOD_EACH {
                    // What the system does not let in any more is no connection of the broker's.
                    let Ok(mut stream) = TcpStream::connect(&address) else {
                        continue;
                    };
                    // Some say nothing, some what a client says, some what nobody does.
                    let _ = match (number + round) % 3 {
                        0 => Ok(()),
                        1 => stream.write_all(&hello()),
                        _ => stream.write_all(&[0xff; 100]),
                    };
                    connections.push(stream);
                }
            }
        })
    });
    let flooding: Vec<_> = flooding.collect();
    while flooding.iter().any(|thread| !thread.is_finished()) {
        broker.serves();
    }
    let grown = settled_peak(broker.serving.pid()).saturating_sub(before);
    within("a flood of connections", grown, SLACK_BYTES + 4 * MIB);
    for thread in flooding {
        thread.join().unwrap();
    }
    // Those that were let in and said nothing are closed in time, and there is room again.
    loop {
        match headwater::connect(broker.address()).wait(None) {
            Ok(db) => break db.close(None).wait(None).map(drop).unwrap(),
            Err(error) => assert_eq!(error.code(), ErrorCode::QuotaExceeded, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    broker.ends_well();
}

#[test]
fn recorded_sessions_with_bytes_changed_harm_nobody() {
    let seed = std::env::var("HEADWATER_SEED").map_or(11, |seed| seed.parse().unwrap());
    println!("HEADWATER_SEED={seed}");
    let broker = Watched::start(&[]);
    let recorded = record(broker.address());
    assert!(recorded.len() >= 2, "{} sessions", recorded.len());
    let before = resident(broker.serving.pid());
    let mut mutator = Mutator::new(seed);
    let mut answered = 0;
    for number in 0..MUTATIONS {
        // Every second one has its handshake as it was, so that it is listened to.
        let changed = if number % 2 == 0 {
            let rest: Vec<_> = recorded
                .iter()
                .map(|it| it[hello_bytes(it)..].to_vec())
                .collect();
            [hello(), mutator.input(&rest)].concat()
        } else {
            mutator.input(&recorded)
        };
        let mut raw = Raw::dial(broker.address());
        // It may be closed before it has said everything.
        let _ = raw.stream.write_all(&changed);
        let _ = raw.stream.shutdown(Shutdown::Write);
        // More than the hello that answers a hello.
        answered += u64::from(raw.drain() > 200);
        if number % 20 == 0 {
            broker.serves();
        }
    }
    let grown = settled_peak(broker.serving.pid()).saturating_sub(before);
    within("changed sessions", grown, SLACK_BYTES);
    // What is refused at its first byte tries nothing.
    println!("{answered} of {MUTATIONS} sessions were answered");
    assert!(answered > MUTATIONS / 10, "{answered}");
    broker.ends_well();
}

/// A broker, and a good client that sends one record after the other and waits for each.
pub(super) struct Watched {
    pub(super) serving: Serving,
    log: PathBuf,
    data: PathBuf,
    acknowledged: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    sending: JoinHandle<()>,
    _scratch: tempfile::TempDir,
}

impl Watched {
    pub(super) fn start(options: &[&str]) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let (data, log) = (scratch.path().join("data"), scratch.path().join("log"));
        let errors = File::create(&log).unwrap();
        // What the good client sends is kept for readers, and is not what is looked at here.
        let options = [&["--set", "tail_cache_bytes=65536"], options].concat();
        let serving = Serving::start_telling(&data, "127.0.0.1:0", &options, errors.into());
        let db = headwater::connect(&serving.address).wait(None).unwrap();
        create(&db, "good");
        let (acknowledged, is_over) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let sending = std::thread::spawn({
            let (acknowledged, is_over) = (Arc::clone(&acknowledged), Arc::clone(&is_over));
            move || send_until(&db, &acknowledged, &is_over)
        });
        let watched = Self {
            serving,
            log,
            data,
            acknowledged,
            is_over,
            sending,
            _scratch: scratch,
        };
        watched.serves();
        watched
    }

    pub(super) fn address(&self) -> &str {
        &self.serving.address
    }

    /// Waits until another record of the good client was acknowledged.
    #[track_caller]
    pub(super) fn serves(&self) {
        let before = self.acknowledged.load(Ordering::Relaxed);
        while self.acknowledged.load(Ordering::Relaxed) == before {
            assert!(!self.sending.is_finished(), "the good client has failed");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// At the end: the good client was served, its records are there and nothing else is in their topic, nothing
    /// has panicked, and the folder is whole.
    #[track_caller]
    pub(super) fn ends_well(mut self) {
        self.serves();
        self.is_over.store(true, Ordering::Relaxed);
        self.sending.join().unwrap();
        let db = headwater::connect(&self.serving.address)
            .wait(None)
            .unwrap();
        let topic = db.admin().describe_topic("good").wait(None).unwrap();
        let acknowledged = self.acknowledged.load(Ordering::Relaxed);
        let end = u64::try_from(topic.partitions[0].high_watermark).unwrap();
        assert_eq!(end, acknowledged);
        db.close(None).wait(None).unwrap();
        let (code, _) = self.serving.interrupt();
        let log = std::fs::read_to_string(&self.log).unwrap();
        assert!(!log.contains("panicked"), "{log}");
        assert_eq!(code, Some(0), "{log}");
        verified(&self.data);
    }
}

fn send_until(db: &Client, acknowledged: &AtomicU64, is_over: &AtomicBool) {
    let producer = db.producer(ProducerOptions::default()).unwrap();
    while !is_over.load(Ordering::Relaxed) {
        let sent = producer
            .send("good", &Record::new(b"a good record"))
            .unwrap();
        let metadata = sent.wait(None).unwrap();
        let before = acknowledged.fetch_add(1, Ordering::Relaxed);
        assert_eq!(u64::try_from(metadata.offset).unwrap(), before);
    }
    db.close(None).wait(None).unwrap();
}

fn at_the_beginning(topic: &str) -> PartitionOffset {
    PartitionOffset {
        topic: topic.to_owned(),
        partition: 0,
        offset: 0,
    }
}

/// Why the broker closed, which is the last that it says.
#[track_caller]
fn goodbye(frames: &[Frame]) -> ErrorCode {
    let last = frames.last().expect("it says why");
    assert_eq!(last.kind, FrameKind::Goodbye, "{frames:?}");
    let goodbye: Goodbye = last.read_header().unwrap();
    ErrorCode::from_number(goodbye.code).unwrap()
}

/// Whether the other side has closed; waits for it as long as the stream's time limit says.
pub(super) fn is_ended(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 1_024]) {
        Ok(count) => count == 0,
        Err(error) => !matches!(
            error.kind(),
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
        ),
    }
}
