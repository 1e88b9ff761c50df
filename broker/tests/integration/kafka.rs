//! Kafka's protocol on the port of a real broker: how it is reached, and who means no good.
//!
//! What each request is answered is tried in `broker/src/kafka/tests`, against an independent codec in every version.
//! Here it is about sockets and memory: whatever comes, the broker takes no more memory than what has come accounts
//! for, and goes on serving a good client, which loses no record.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use headwater::fuzzing::Mutator;
use headwater::limits::{KAFKA_FETCH_BYTES_MAX, KAFKA_REQUEST_BYTES_MAX};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, FetchRequest, MetadataRequest, MetadataResponse,
    RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};

use super::harness::{Serving, run};
use super::hostile::{Watched, is_ended};
use super::memory::{
    IDLE_CONNECTION_BYTES, MIB, SLACK_BYTES, fill, reserved, resident, settled_peak, within,
};

/// Requests that are changed and played.
const MUTATIONS: u64 = 1_000;
/// Readers that do not read, and what each of them asks for.
const SLOW_READERS: u64 = 8;
const UNREAD_REQUESTS: usize = 100;
/// What `tail_cache_bytes` is set to.
const TAIL_CACHE_BYTES: u64 = 8 * MIB;

fn frame<M: Encodable + HeaderVersion>(key: i16, version: i16, message: &M) -> Vec<u8> {
    let header = RequestHeader::default()
        .with_request_api_key(key)
        .with_request_api_version(version)
        .with_correlation_id(7)
        .with_client_id(Some(StrBytes::from_static_str("tests")));
    let mut body = BytesMut::new();
    header
        .encode(&mut body, M::header_version(version))
        .unwrap();
    message.encode(&mut body, version).unwrap();
    let mut frame = BytesMut::new();
    frame.put_i32(i32::try_from(body.len()).unwrap());
    frame.extend_from_slice(&body);
    frame.to_vec()
}

fn hello() -> Vec<u8> {
    frame(18, 0, &ApiVersionsRequest::default())
}

fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

fn metadata(name: &str) -> Vec<u8> {
    let topic = MetadataRequestTopic::default().with_name(Some(topic_name(name)));
    let request = MetadataRequest::default().with_topics(Some(vec![topic]));
    frame(3, 12, &request)
}

fn fetch(name: &str) -> Vec<u8> {
    let partition = FetchPartition::default().with_partition_max_bytes(i32::MAX);
    let topic = FetchTopic::default()
        .with_topic(topic_name(name))
        .with_partitions(vec![partition]);
    let request = FetchRequest::default()
        .with_max_bytes(i32::MAX)
        .with_topics(vec![topic]);
    frame(1, 12, &request)
}

fn answer<A: Decodable + HeaderVersion>(stream: &mut impl Read, version: i16) -> A {
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let length = i32::from_be_bytes(length);
    let mut frame = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut frame).unwrap();
    let mut frame = Bytes::from(frame);
    let header = ResponseHeader::decode(&mut frame, A::header_version(version)).unwrap();
    assert_eq!(header.correlation_id, 7);
    let answer = A::decode(&mut frame, version).unwrap();
    assert!(!frame.has_remaining());
    answer
}

/// A connection that has said hello.
fn greet(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.write_all(&hello()).unwrap();
    let answer: ApiVersionsResponse = answer(&mut stream, 0);
    assert_eq!(answer.error_code, 0);
    stream
}

fn node(stream: &mut (impl Read + Write)) -> (String, i32) {
    stream.write_all(&metadata("good")).unwrap();
    let answer: MetadataResponse = answer(stream, 12);
    let broker = &answer.brokers[0];
    (broker.host.to_string(), broker.port)
}

#[test]
fn clients_are_told_the_address_they_have_connected_to_or_the_one_that_is_advertised() {
    let scratch = tempfile::tempdir().unwrap();
    let socket = scratch.path().join("kafka.sock");
    let unix = format!("unix:{}", socket.display());
    let data = scratch.path().join("data");
    let broker = Serving::start_with(&data, "127.0.0.1:0", &["--listen", &unix]);
    let (host, port) = broker.address.rsplit_once(':').unwrap();
    let here = (host.to_owned(), port.parse().unwrap());
    assert_eq!(node(&mut greet(&broker.address)), here);
    // A socket has no address that a client could be told: the port's it is.
    let mut stream = UnixStream::connect(&socket).unwrap();
    assert_eq!(node(&mut stream), here);
    drop(broker);
    let advertise = ["--advertise", "kafka.example.org:1234"];
    let data = scratch.path().join("other");
    let broker = Serving::start_with(&data, "127.0.0.1:0", &advertise);
    let advertised = ("kafka.example.org".to_owned(), 1234);
    assert_eq!(node(&mut greet(&broker.address)), advertised);
    for wrong in ["kafka.example.org", ":1", "host:0", "host:70000"] {
        let args = [
            "serve",
            "--dev",
            "--listen",
            "127.0.0.1:0",
            "--advertise",
            wrong,
            "--json",
        ];
        let ran = run(args).ended(1);
        let message = ran.error()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(wrong), "{message}");
    }
}

#[test]
fn the_command_line_says_what_is_spoken() {
    let apis = run(["kafka-compat", "--json"]).ended(0).json();
    let spoken = |name: &str| apis.iter().find(|api| api["api"] == name).cloned().unwrap();
    assert_eq!(spoken("Fetch")["key"], 1);
    assert_eq!(spoken("ApiVersions")["min_version"], 0);
    assert!(run(["kafka-compat"]).ended(0).stdout.contains("Produce"));
}

#[test]
fn huge_lengths_take_no_memory() {
    const CONNECTIONS: u64 = 200;
    let broker = Watched::start(&[]);
    let pid = broker.serving.pid();
    let (before, reserved_before) = (resident(pid), reserved(pid));
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut stream = greet(broker.address());
        let length = i32::try_from(KAFKA_REQUEST_BYTES_MAX).unwrap();
        stream.write_all(&length.to_be_bytes()).unwrap();
        stream.write_all(&[0, 0, 0, 9]).unwrap();
        connections.push(stream);
    }
    let grown = settled_peak(pid).saturating_sub(before);
    let budget = CONNECTIONS * IDLE_CONNECTION_BYTES + SLACK_BYTES;
    within("requests of which the length has come", grown, budget);
    let claimed = CONNECTIONS * KAFKA_REQUEST_BYTES_MAX as u64;
    let grown = reserved(pid).saturating_sub(reserved_before);
    within("what is reserved for them", grown, claimed / 10);
    for length in [-1, 7, i32::MAX, i32::MIN] {
        let mut stream = greet(broker.address());
        stream.write_all(&length.to_be_bytes()).unwrap();
        assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0, "{length}");
    }
    drop(connections);
    broker.ends_well();
}

#[test]
fn counts_beyond_what_is_there_end_the_connection_without_an_allocation() {
    let broker = Watched::start(&[]);
    let pid = broker.serving.pid();
    let reserved_before = reserved(pid);
    for count in [i32::MAX, i32::MIN, 1 << 24, -2] {
        // The count of topics of a Metadata request of the oldest form.
        let mut request = frame(3, 0, &MetadataRequest::default());
        let at = request.len() - 4;
        request[at..].copy_from_slice(&count.to_be_bytes());
        let mut stream = greet(broker.address());
        stream.write_all(&request).unwrap();
        assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0, "{count}");
    }
    let grown = reserved(pid).saturating_sub(reserved_before);
    within("counts of what is not there", grown, 128 * MIB);
    broker.ends_well();
}

#[test]
fn half_requests_hold_what_has_come_of_them() {
    const CONNECTIONS: u64 = 20;
    const COME_BYTES: u64 = 2 * MIB;
    let broker = Watched::start(&[]);
    let before = resident(broker.serving.pid());
    let mut half = 15_000_000_i32.to_be_bytes().to_vec();
    half.extend([0, 0, 0, 9, 0, 0, 0, 7]);
    half.resize(usize::try_from(COME_BYTES).unwrap(), 0);
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut stream = greet(broker.address());
        stream.write_all(&half).unwrap();
        connections.push(stream);
    }
    broker.serves();
    // A buffer that grows has up to twice the room that it needs.
    let grown = settled_peak(broker.serving.pid()).saturating_sub(before);
    let budget = CONNECTIONS * 2 * COME_BYTES + SLACK_BYTES;
    within("half requests", grown, budget);
    drop(connections);
    broker.ends_well();
}

#[test]
fn a_reader_that_does_not_read_holds_one_answer_alone() {
    let scratch = tempfile::tempdir().unwrap();
    let cache = format!("tail_cache_bytes={TAIL_CACHE_BYTES}");
    let options = ["--set", &cache];
    let broker = Serving::start_with(&scratch.path().join("data"), "127.0.0.1:0", &options);
    fill(&broker.address);
    let before = resident(broker.pid());
    let mut readers = Vec::new();
    for _ in 0..SLOW_READERS {
        let mut stream = greet(&broker.address);
        stream
            .write_all(&fetch("orders").repeat(UNREAD_REQUESTS))
            .unwrap();
        readers.push(stream);
    }
    let grown = settled_peak(broker.pid()).saturating_sub(before);
    // One answer that is being written, and the next batches on their way from the files.
    let one = 2 * KAFKA_FETCH_BYTES_MAX as u64;
    let budget = SLOW_READERS * one + TAIL_CACHE_BYTES + SLACK_BYTES;
    within("a broker whose Kafka readers do not read", grown, budget);
    // Others are served meanwhile.
    let _ = greet(&broker.address);
}

#[test]
fn a_request_may_come_a_byte_at_a_time() {
    let broker = Watched::start(&[]);
    let mut stream = greet(broker.address());
    for byte in metadata("good") {
        stream.write_all(&[byte]).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let answer: MetadataResponse = answer(&mut stream, 12);
    assert_eq!(answer.topics[0].error_code, 0);
    broker.ends_well();
}

#[test]
fn changed_requests_harm_nobody() {
    let broker = Watched::start(&[]);
    let seeds = [hello(), metadata("good"), fetch("good")];
    let mut mutator = Mutator::new(0x6B61_666B);
    for _ in 0..MUTATIONS {
        let mut stream = greet(broker.address());
        // What the broker has closed already takes no more.
        let _ = stream.write_all(&mutator.input(&seeds));
        let _ = stream.shutdown(std::net::Shutdown::Write);
        while !is_ended(&mut stream) {}
    }
    broker.ends_well();
}
