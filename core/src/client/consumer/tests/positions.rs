//! Positions that the log does not hold: taken back by a crash, deleted, or past the end.

use std::net::TcpListener;

use super::*;
use crate::client::health::LinkHealth;
use crate::client::options::Start;
use crate::client::transport::Feed;
use crate::client::transport::in_process::InProcess;
use crate::client::transport::tcp::{Endpoint, TcpOptions, TcpTransport};
use crate::client::{HostPort, Until};
use crate::ids::Durability;
use crate::log::storage::faulty::{CrashMode, FaultyStorage};
use crate::protocol::out_of_range::OutOfRange;
use crate::protocol::request::SubscribeAt;
use crate::server::{Server, ServerOptions};
use crate::service::{Run, Service, ServiceOptions, Session};

/// Whatever the log is behind right now: stands for a client that finds its log again.
#[derive(Debug)]
struct Switch(Mutex<Arc<dyn Transport>>);

impl Switch {
    fn current(&self) -> Arc<dyn Transport> {
        Arc::clone(&self.0.lock())
    }
}

impl Transport for Switch {
    fn submit(&self, request: Request, payload: Bytes, completion: Completion<Response>) {
        self.current().submit(request, payload, completion);
    }

    fn run_here(&self, request: Request, payload: Bytes, completion: Completion<Response>) {
        self.current().run_here(request, payload, completion);
    }

    fn subscribe(&self, subscribe: SubscribeAt) -> Result<Arc<dyn Feed>> {
        self.current().subscribe(subscribe)
    }

    fn schedule(&self, job: Box<dyn FnOnce() + Send>) {
        self.current().schedule(job);
    }

    fn assist(&self) {
        self.current().assist();
    }

    fn close(&self, timeout: Duration) -> Result<()> {
        self.current().close(timeout)
    }

    fn description(&self) -> String {
        self.current().description()
    }

    fn health(&self) -> LinkHealth {
        self.current().health()
    }

    fn is_remote(&self) -> bool {
        self.current().is_remote()
    }

    fn thread_count(&self) -> u64 {
        self.current().thread_count()
    }
}

type Door = fn(&Service) -> Arc<dyn Transport>;

fn in_process(service: &Service) -> Arc<dyn Transport> {
    Arc::new(InProcess::new(service))
}

fn over_tcp(service: &Service) -> Arc<dyn Transport> {
    let server = Server::new(service.clone(), ServerOptions::default());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    crate::runtime::runtime(None).unwrap().spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        let (reader, writer) = stream.into_split();
        let peer = peer.to_string();
        server.serve_connection(reader, writer, b"", &peer).await;
    });
    let host = HostPort {
        host: address.ip().to_string(),
        port: address.port(),
    };
    let connected =
        TcpTransport::connect(Endpoint::Hosts(vec![host]), TcpOptions::default()).wait(None);
    Arc::new(connected.unwrap())
}

fn open_log(storage: &FaultyStorage) -> Service {
    let storage = Arc::new(storage.clone());
    let options = ServiceOptions::default();
    Service::open_storage("test".to_owned(), storage, None, &options).unwrap()
}

fn ask_log(session: &Session, request: Request, payload: Vec<u8>) -> Response {
    let (completion, mut pending) = Completion::pair();
    session.submit(request, Bytes::from(payload), Run::Here, completion);
    pending.wait(None).unwrap()
}

fn produce(session: &Session, value: &str, records: usize, durability: Durability) {
    let mut builder = BatchBuilder::new(1_024);
    for _ in 0..records {
        let record = RecordRef {
            value: Some(value.as_bytes()),
            ..RecordRef::default()
        };
        builder.push(&record).unwrap();
    }
    let request = Request::Produce {
        topic: "t".to_owned(),
        partition: 0,
        durability: Some(durability),
    };
    ask_log(session, request, builder.finish(-1, -1, -1).unwrap());
}

/// A log whose topic has ten records that a power cut does not take back, and ten that it does.
fn written() -> (FaultyStorage, Service) {
    let storage = FaultyStorage::new();
    let service = open_log(&storage);
    let session = service.session();
    let create = Request::CreateTopic {
        name: "t".to_owned(),
        config: vec![("durability".to_owned(), "os".to_owned())],
        exist_ok: false,
    };
    ask_log(&session, create, Vec::new());
    produce(&session, "kept", 10, Durability::Disk);
    produce(&session, "lost", 10, Durability::Os);
    (storage, service)
}

/// The log after a power cut, behind its door.
fn cut(storage: &FaultyStorage, service: Service, switch: &Switch, door: Door) -> Service {
    let left = storage.crash_image(CrashMode::OnlySynced);
    service.close().unwrap();
    drop(service);
    let service = open_log(&left);
    *switch.0.lock() = door(&service);
    service
}

/// What finding the log again comes to: the stream is begun anew where it stood.
fn find_again(consumer: &Consumer) {
    let state = consumer.state();
    let mut reader = state.reader.lock();
    reader.as_mut().unwrap().feed.close();
    state.begin_again(reader.as_mut()).unwrap();
}

fn consumer_over(switch: &Arc<Switch>, options: &ConsumerOptions) -> Consumer {
    let generation = fork::current().unwrap();
    let transport = Arc::clone(switch) as Arc<dyn Transport>;
    let options_of_client = ConnectOptions::default();
    let client = Shared::new(transport, "a".to_owned(), generation, &options_of_client);
    Consumer::new(client, vec!["t".to_owned()], options).unwrap()
}

fn read(consumer: &Consumer, count: usize) -> Vec<(i64, String)> {
    let mut found = Vec::new();
    while found.len() < count {
        let batch = consumer.next_batch_wait(None).unwrap().unwrap();
        for record in batch.records() {
            let record = record.unwrap();
            let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
            found.push((record.offset, value));
        }
    }
    found
}

fn counts(consumer: &Consumer) -> [u64; 4] {
    let counters = &consumer.state().counters;
    [
        counters.log_truncations.now(),
        counters.records_truncated.now(),
        counters.offset_resets.now(),
        counters.records_skipped.now(),
    ]
}

#[test]
fn a_consumer_that_had_read_what_a_power_cut_took_back_is_told_and_reads_what_came_instead() {
    for (door, goes_on_first) in [
        (in_process as Door, true),
        (in_process, false),
        (over_tcp, true),
        (over_tcp, false),
    ] {
        let (storage, service) = written();
        let switch = Arc::new(Switch(Mutex::new(door(&service))));
        let options = ConsumerOptions {
            start: Some(Start::Latest),
            ..Default::default()
        };
        let consumer = consumer_over(&switch, &options);
        consumer.open().wait(None).unwrap();
        consumer.seek("t", 0, 0).unwrap();
        let before = read(&consumer, 20);
        assert_eq!(before.last(), Some(&(19, "lost".to_owned())));

        let service = cut(&storage, service, &switch, door);
        let session = service.session();
        // The end is before the position, or behind it: by the end alone it would not be seen then.
        let instead = if goes_on_first { 15 } else { 0 };
        if goes_on_first {
            produce(&session, "instead", 15, Durability::Os);
        }
        find_again(&consumer);
        if !goes_on_first {
            while counts(&consumer)[0] == 0 {
                let moment = Some(Duration::from_millis(1));
                assert!(consumer.next_block_wait(moment).unwrap().is_none());
            }
            assert_eq!(consumer.positions(), [at(10)]);
            produce(&session, "instead", 3, Durability::Os);
        }
        let after = read(&consumer, instead.max(3));
        assert_eq!(after.first(), Some(&(10, "instead".to_owned())));
        assert_eq!(counts(&consumer), [1, 10, 0, 0]);
        drop((consumer, session, switch));
        service.close().unwrap();
    }
}

#[test]
fn a_consumer_that_read_to_the_end_ends_where_a_power_cut_has_moved_it() {
    let (storage, service) = written();
    let switch = Arc::new(Switch(Mutex::new(in_process(&service))));
    let options = ConsumerOptions {
        until: Some(Until::End),
        max_block_records: Some(15),
        ..Default::default()
    };
    let consumer = consumer_over(&switch, &options);
    assert_eq!(consumer.next_block_wait(None).unwrap().unwrap().len(), 15);
    let service = cut(&storage, service, &switch, in_process);
    find_again(&consumer);
    // It used to wait for offset 20, which was the end once.
    assert!(consumer.next_block_wait(None).unwrap().is_none());
    assert!(consumer.is_finished());
    assert_eq!(counts(&consumer), [1, 5, 0, 0]);
    drop((consumer, switch));
    service.close().unwrap();
}

#[test]
fn a_power_cut_of_what_nobody_has_read_is_nobodys_business() {
    let (storage, service) = written();
    let switch = Arc::new(Switch(Mutex::new(in_process(&service))));
    let options = ConsumerOptions {
        max_block_records: Some(10),
        ..Default::default()
    };
    let consumer = consumer_over(&switch, &options);
    assert_eq!(consumer.next_block_wait(None).unwrap().unwrap().len(), 10);
    let service = cut(&storage, service, &switch, in_process);
    produce(&service.session(), "instead", 3, Durability::Os);
    find_again(&consumer);
    assert_eq!(read(&consumer, 3)[0], (10, "instead".to_owned()));
    assert_eq!(counts(&consumer), [0; 4]);
    drop((consumer, switch));
    service.close().unwrap();
}

/// What the log says about offset 10 of a partition that holds 30 to 40.
fn deleted() -> OutOfRange {
    OutOfRange {
        topic: "t".to_owned(),
        partition: 0,
        offset: 10,
        last_epoch: -1,
        epoch_end_offset: None,
        log_start_offset: 30,
        high_watermark: 40,
        log_end_offset: 41,
    }
}

fn nothing_yet(consumer: &Consumer) {
    let nothing = consumer.next_block_wait(Some(Duration::ZERO)).unwrap();
    assert!(nothing.is_none());
}

/// The position of which the stream is begun anew, after a consumer with ten records read was told `found`.
fn goes_on_at(start: Option<Start>, found: &OutOfRange) -> i64 {
    let (fake, consumer) = reading(ConsumerOptions { start, ..grouped() });
    fake.feed().end(Error::from(found.clone()));
    nothing_yet(&consumer);
    nothing_yet(&consumer);
    position_of(&fake)
}

fn position_of(fake: &Fake) -> i64 {
    fake.feed().assigned()[0].offset
}

#[test]
fn records_deleted_before_they_were_read_are_passed_over_as_start_says() {
    for (start, expected) in [
        (None, 30),
        (Some(Start::Earliest), 30),
        (Some(Start::Time(5)), 30),
        // Named for a consumer without a committed offset; this one has read on from there.
        (Some(Start::Offset(0)), 30),
        (Some(Start::Latest), 40),
    ] {
        assert_eq!(goes_on_at(start, &deleted()), expected, "{start:?}");
    }
}

#[test]
fn a_truncation_is_followed_whatever_start_says() {
    let truncated = OutOfRange {
        last_epoch: 1,
        epoch_end_offset: Some(4),
        log_start_offset: 0,
        ..deleted()
    };
    for start in [None, Some(Start::Latest), Some(Start::Offset(3))] {
        assert_eq!(goes_on_at(start, &truncated), 4);
    }
}

#[test]
fn what_was_given_out_and_not_acknowledged_stays_so_unless_it_is_lost() {
    let (fake, consumer) = reading(ConsumerOptions {
        ack: Some(Ack::Manual),
        ..grouped()
    });
    consumer.ack("t", 0, 0).unwrap();
    let truncated = OutOfRange {
        last_epoch: 1,
        epoch_end_offset: Some(4),
        log_start_offset: 0,
        ..deleted()
    };
    fake.feed().end(Error::from(truncated));
    nothing_yet(&consumer);
    assert_eq!(consumer.positions(), [at(1)]);
    // Also one that is lost: the host could not know.
    for offset in [1, 2, 3, 9] {
        consumer.ack("t", 0, offset).unwrap();
    }
    assert_eq!(consumer.positions(), [at(4)]);
    assert!(consumer.ack("t", 0, 10).is_err());
    assert_eq!(counts(&consumer), [1, 6, 0, 0]);
}

#[test]
fn a_committed_offset_past_the_end_goes_on_at_the_end() {
    let (fake, consumer) = open(grouped());
    let mut opened = consumer.open();
    joined(&fake, 10);
    assert_eq!(opened.try_take(), Some(Ok(())));
    let past = OutOfRange {
        log_start_offset: 0,
        high_watermark: 7,
        log_end_offset: 8,
        ..deleted()
    };
    fake.feed().end(Error::from(past));
    nothing_yet(&consumer);
    assert_eq!(position_of(&fake), 7);
    assert_eq!(counts(&consumer), [0, 0, 1, 0]);
}

#[test]
fn an_offset_that_the_host_has_named_is_not_replaced() {
    let (fake, consumer) = reading(grouped());
    consumer.seek("t", 0, 11).unwrap();
    let past = Error::from(OutOfRange {
        offset: 11,
        log_start_offset: 0,
        high_watermark: 7,
        log_end_offset: 8,
        ..deleted()
    });
    fake.feed().end(past.clone());
    assert_eq!(consumer.next_block_wait(None).unwrap_err(), past);
    assert_eq!(counts(&consumer), [0; 4]);
}

#[test]
fn what_is_said_about_a_position_of_before_is_passed_over() {
    let (fake, consumer) = reading(grouped());
    consumer.seek("t", 0, 35).unwrap();
    fake.feed().end(Error::from(deleted()));
    nothing_yet(&consumer);
    assert_eq!(position_of(&fake), 35);
    assert_eq!(counts(&consumer), [0; 4]);
}

#[test]
fn what_cannot_be_read_is_told_and_read_again_after_a_pause_and_not_at_once() {
    // A host that asked again was answered at once, as often as it could ask.
    let (fake, consumer) = reading(ConsumerOptions {
        group: Some("g".to_owned()),
        ..ConsumerOptions::default()
    });
    let damaged = || Error::new(ErrorCode::CorruptSegment, "t-0 cannot be read on");
    let before = fake.feed();
    before.end(damaged());
    let told = consumer.next_block_wait(None).unwrap_err();
    assert_eq!(told, damaged());
    // The pause is over only when the job runs.
    let waits = consumer.next_block_wait(Some(Duration::ZERO)).unwrap();
    assert!(waits.is_none());
    let again = loop {
        fake.run_jobs();
        let feed = fake.feed();
        if !Arc::ptr_eq(&before, &feed) {
            break feed;
        }
        std::thread::yield_now();
    };
    assert_eq!(again.assigned()[0].offset, 10);
    again.end(damaged());
    assert_eq!(consumer.next_block_wait(None).unwrap_err(), damaged());
    // Reading elsewhere needs no pause.
    consumer.seek("t", 0, 12).unwrap();
    assert!(!Arc::ptr_eq(&again, &fake.feed()));
    assert_eq!(fake.feed().assigned()[0].offset, 12);
    assert!(
        consumer
            .next_block_wait(Some(Duration::ZERO))
            .unwrap()
            .is_none()
    );
}
