//! The server over real sockets, with a real log: strangers, half frames, lost connections, many clients.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use headwater::protocol::decoder::FrameDecoder;
use headwater::protocol::frame::{self, Frame, FrameKind};
use headwater::protocol::header::{Goodbye, Push, WireError};
use headwater::protocol::request::{Request, Subscribe};
use headwater::protocol::response::Response;
use headwater::protocol::version::{ClientHello, MAGIC};
use headwater::record::builder::BatchBuilder;
use headwater::record::{HeadersRef, RecordRef};
use headwater::runtime::runtime;
use headwater::server::{Server, ServerOptions};
use headwater::service::{Run, Service, ServiceOptions};
use headwater::{Completion, Error, ErrorCode, PartitionOffset, limits};
use serde::Serialize;

/// A server of a log in memory, on a port of its own.
pub(super) struct Broker {
    service: Service,
    pub(super) server: Server,
    pub(super) address: SocketAddr,
}

impl Broker {
    pub(super) fn start() -> Self {
        Self::of(Service::open_memory("", &ServiceOptions::default()).unwrap())
    }

    pub(super) fn of(service: Service) -> Self {
        let server = Server::new(service.clone(), ServerOptions::default());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let serving = server.clone();
        runtime(None).unwrap().spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, peer)) = listener.accept().await {
                let server = serving.clone();
                stream.set_nodelay(true).unwrap();
                tokio::spawn(async move {
                    let (reader, writer) = stream.into_split();
                    server
                        .serve_connection(reader, writer, b"", &peer.to_string())
                        .await;
                });
            }
        });
        Self {
            service,
            server,
            address,
        }
    }

    fn dial(&self) -> Raw {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        let decoder = FrameDecoder::new(limits::FRAME_BYTES_MAX, limits::RESPONSE_BYTES_MAX);
        Raw {
            stream,
            decoder,
            next_id: 1,
        }
    }

    pub(super) fn connect(&self) -> Raw {
        let mut raw = self.dial();
        raw.say(&MAGIC);
        raw.send(0, FrameKind::ClientHello, &ClientHello::ours("a test"), b"");
        raw.expect_magic();
        assert_eq!(raw.next().unwrap().kind, FrameKind::ServerHello);
        raw
    }

    pub(super) fn create_topic(&self, name: &str) {
        let request = Request::CreateTopic {
            name: name.to_owned(),
            config: Vec::new(),
            exist_ok: false,
        };
        let (completion, mut pending) = Completion::pair();
        self.service
            .session()
            .submit(request, Bytes::new(), Run::Here, completion);
        assert_eq!(pending.wait(None), Ok(Response::Done));
    }

    /// The end of the topic's only partition.
    fn high_watermark(&self, topic: &str) -> i64 {
        let request = Request::DescribeTopics {
            names: vec![topic.to_owned()],
        };
        let (completion, mut pending) = Completion::pair();
        self.service
            .session()
            .submit(request, Bytes::new(), Run::Here, completion);
        match pending.wait(None) {
            Ok(Response::Topics(topics)) => topics[0].partitions[0].high_watermark,
            other => panic!("{other:?}"),
        }
    }
}

/// A client that says any bytes.
pub(super) struct Raw {
    stream: TcpStream,
    decoder: FrameDecoder,
    pub(super) next_id: u64,
}

impl Raw {
    fn say(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub(super) fn send<H: Serialize>(
        &mut self,
        id: u64,
        kind: FrameKind,
        header: &H,
        payload: &[u8],
    ) {
        self.say(&encode(id, kind, header, payload));
    }

    pub(super) fn ask(&mut self, request: &Request, payload: &[u8]) -> Result<Response, Error> {
        let id = self.next_id;
        self.next_id += 1;
        self.send(id, FrameKind::Request, request, payload);
        let frame = self.next().unwrap();
        assert_eq!(frame.correlation_id, id);
        match frame.kind {
            FrameKind::Response => Ok(frame.read_header().unwrap()),
            FrameKind::Error => Err(frame.read_header::<WireError>().unwrap().into()),
            kind => panic!("{kind:?}"),
        }
    }

    fn expect_magic(&mut self) {
        while self.decoder.unread().len() < MAGIC.len() {
            assert_ne!(self.read(), 0, "closed before the magic");
        }
        assert!(self.decoder.unread().starts_with(&MAGIC));
        self.decoder.skip(MAGIC.len());
    }

    pub(super) fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.decoder.next_frame().unwrap() {
                return Some(frame);
            }
            if self.read() == 0 {
                return None;
            }
        }
    }

    /// Everything until the server closes. A reset counts as closing.
    fn rest(&mut self) -> Vec<u8> {
        while self.read() > 0 {}
        self.decoder.unread().to_vec()
    }

    fn read(&mut self) -> usize {
        let mut buffer = [0; 4_096];
        let count = self.stream.read(&mut buffer).unwrap_or(0);
        self.decoder.extend(&buffer[..count]);
        count
    }
}

fn encode<H: Serialize>(id: u64, kind: FrameKind, header: &H, payload: &[u8]) -> Vec<u8> {
    let mut buffer = BytesMut::new();
    let limit = limits::FRAME_BYTES_MAX;
    frame::encode(&mut buffer, id, kind, header, payload.len(), limit).unwrap();
    buffer.extend_from_slice(payload);
    buffer.to_vec()
}

fn batch(values: &[&[u8]]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(1_024);
    for value in values {
        let record = RecordRef {
            timestamp_ms: 1,
            key: None,
            value: Some(value),
            headers: HeadersRef::default(),
        };
        builder.push(&record).unwrap();
    }
    builder.finish(-1, -1, -1).unwrap()
}

fn produce(topic: &str) -> Request {
    Request::Produce {
        topic: topic.to_owned(),
        partition: 0,
        durability: None,
    }
}

#[test]
fn strangers_on_the_port_disturb_nobody() {
    let broker = Broker::start();
    let mut neighbour = broker.connect();
    let garbage = (0..100_000_u32)
        .map(|at| (at * 7 + 200) as u8)
        .collect::<Vec<_>>();
    for stranger in [
        &garbage[..],
        b"\0\0\0\x23\0\x12\0\x03\0\0\0\x01",
        b"\x16\x03\x01\0\0",
    ] {
        let mut raw = broker.dial();
        // The server may have closed before it has all of it.
        let _ = raw.stream.write_all(stranger);
        assert!(raw.rest().is_empty());
    }
    let mut http = broker.dial();
    http.say(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let answer = String::from_utf8(http.rest()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("native protocol"), "{answer}");
    assert_eq!(neighbour.ask(&Request::Ping, b""), Ok(Response::Done));
}

#[test]
fn a_frame_that_is_none_is_answered_in_words_over_a_real_socket() {
    let broker = Broker::start();
    let mut raw = broker.connect();
    let mut bytes = encode(1, FrameKind::Request, &Request::Ping, b"");
    bytes[12] = 200;
    // More follows, unread when the server closes: its last words must arrive all the same.
    bytes.extend(vec![0; 100_000]);
    raw.say(&bytes);
    let goodbye = raw.next().unwrap();
    assert_eq!(goodbye.kind, FrameKind::Goodbye);
    let goodbye = goodbye.read_header::<Goodbye>().unwrap();
    assert_eq!(goodbye.code, ErrorCode::CorruptFrame as u16);
    assert!(
        goodbye.message.contains("unknown kind 200"),
        "{}",
        goodbye.message
    );
    assert!(raw.next().is_none());
}

#[test]
fn what_is_produced_through_a_socket_is_pushed_through_another() {
    let broker = Broker::start();
    broker.create_topic("orders");
    let mut reader = broker.connect();
    let subscribe = Subscribe {
        partitions: vec![PartitionOffset {
            topic: "orders".to_owned(),
            partition: 0,
            offset: 0,
        }],
        credit_bytes: 1 << 20,
    };
    reader.send(1, FrameKind::Subscribe, &subscribe, b"");
    let mut writer = broker.connect();
    for round in 0..20 {
        let sent = batch(&[b"a", format!("value {round}").as_bytes()]);
        let Response::Produced(ack) = writer.ask(&produce("orders"), &sent).unwrap() else {
            panic!("not produced");
        };
        assert_eq!(ack.base_offset, 2 * round);
        let frame = reader.next().unwrap();
        assert_eq!((frame.kind, frame.correlation_id), (FrameKind::Push, 1));
        let push = frame.read_header::<Push<'_>>().unwrap();
        assert_eq!((push.batches.len(), push.batches[0].topic), (1, "orders"));
        // All but base offset and leader epoch, which the log stamps.
        assert_eq!(frame.payload[16..], sent[16..]);
        assert_eq!(frame.payload[..8], (2 * round).to_be_bytes());
    }
}

#[test]
fn what_the_service_refuses_comes_back_in_its_words() {
    let broker = Broker::start();
    let mut raw = broker.connect();
    let error = raw.ask(&produce("nothing"), &batch(&[b"x"])).unwrap_err();
    assert_eq!(error.code(), ErrorCode::UnknownTopicOrPartition);
    broker.create_topic("orders");
    let mut damaged = batch(&[b"x"]);
    *damaged.last_mut().unwrap() ^= 1;
    let error = raw.ask(&produce("orders"), &damaged).unwrap_err();
    assert_eq!(error.code(), ErrorCode::CorruptMessage);
    assert_eq!(broker.high_watermark("orders"), 0);
}

#[test]
fn a_connection_lost_within_a_produce_appends_nothing_and_after_it_everything() {
    let broker = Broker::start();
    broker.create_topic("orders");
    let frame = encode(
        1,
        FrameKind::Request,
        &produce("orders"),
        &batch(&[&[7; 50_000]]),
    );
    for cut in [1, 16, 17, 30, 1_000, frame.len() - 1] {
        let mut raw = broker.connect();
        raw.say(&frame[..cut]);
    }
    let mut raw = broker.connect();
    raw.say(&frame);
    drop(raw);
    while broker.high_watermark("orders") == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut last = broker.connect();
    let ack = last.ask(&produce("orders"), &batch(&[b"last"])).unwrap();
    assert!(
        matches!(ack, Response::Produced(ack) if ack.base_offset == 1),
        "{ack:?}"
    );
}

#[test]
fn many_connections_at_once_are_each_answered_their_own() {
    let broker = Broker::start();
    let clients = 200;
    for client in 0..clients {
        broker.create_topic(&format!("topic-{client}"));
    }
    let mut raws = (0..clients).map(|_| broker.connect()).collect::<Vec<_>>();
    assert_eq!(broker.server.connection_count(), clients);
    for round in 0..3 {
        for (client, raw) in raws.iter_mut().enumerate() {
            let frame = encode(
                round + 1,
                FrameKind::Request,
                &produce(&format!("topic-{client}")),
                &batch(&[b"x", b"y"]),
            );
            raw.say(&frame);
        }
        for raw in &mut raws {
            let frame = raw.next().unwrap();
            let Response::Produced(ack) = frame.read_header::<Response>().unwrap() else {
                panic!("not produced");
            };
            assert_eq!(ack.base_offset, 2 * round as i64);
        }
    }
}

#[test]
fn a_closing_server_says_goodbye_to_all() {
    let broker = Broker::start();
    let mut raws = (0..10).map(|_| broker.connect()).collect::<Vec<_>>();
    let server = broker.server.clone();
    let closing = runtime(None)
        .unwrap()
        .spawn(async move { server.close(Duration::from_secs(60)).await });
    for raw in &mut raws {
        let goodbye = raw.next().unwrap().read_header::<Goodbye>().unwrap();
        assert_eq!(goodbye.code, ErrorCode::BrokerClosing as u16);
        assert!(raw.next().is_none());
    }
    drop(raws);
    while !closing.is_finished() {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(broker.server.connection_count(), 0);
}
