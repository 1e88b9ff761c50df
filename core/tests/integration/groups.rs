//! Groups of many members over real sockets: long polls, lost connections, a broker that closes.

use std::time::Duration;

use headwater::protocol::frame::{Frame, FrameKind};
use headwater::protocol::header::Goodbye;
use headwater::protocol::request::{GroupHeartbeat, Request, TopicPartitions};
use headwater::protocol::response::{GroupAssignment, Response};
use headwater::runtime::runtime;
use headwater::{ErrorCode, PartitionOffset};

use super::server::{Broker, Raw};

/// A heartbeat that is not answered without news.
fn heartbeat(member: &str, generation: i32, owns_it: bool) -> Request {
    Request::GroupHeartbeat(GroupHeartbeat {
        group: "g".to_owned(),
        member_id: member.to_owned(),
        generation,
        instance_id: None,
        client_name: "a test".to_owned(),
        topics: vec!["orders".to_owned()],
        assignor: "sticky".to_owned(),
        session_timeout_ms: 1_800_000,
        rebalance_timeout_ms: 1_800_000,
        heartbeat_ms: 1_700_000,
        owned: vec![TopicPartitions {
            topic: "orders".to_owned(),
            partitions: if owns_it { vec![0] } else { vec![] },
        }],
    })
}

fn told(response: Response) -> GroupAssignment {
    match response {
        Response::GroupHeartbeat(told) => told,
        other => panic!("{other:?}"),
    }
}

/// Sends a heartbeat that waits.
fn park(raw: &mut Raw, heartbeat: &Request) -> u64 {
    raw.next_id += 1;
    let id = raw.next_id - 1;
    raw.send(id, FrameKind::Request, heartbeat, b"");
    id
}

fn answer(frame: &Frame, id: u64) -> GroupAssignment {
    assert_eq!(
        (frame.kind, frame.correlation_id),
        (FrameKind::Response, id)
    );
    told(frame.read_header().unwrap())
}

#[test]
fn long_poll_waits_for_news_while_other_requests_are_answered() {
    let broker = Broker::start();
    broker.create_topic("orders");
    let mut one = broker.connect();
    let mut two = broker.connect();
    let a = told(one.ask(&heartbeat("a", 0, false), b"").unwrap());
    assert_eq!((a.generation, a.assignment.len()), (1, 1));
    let b = told(two.ask(&heartbeat("b", 0, false), b"").unwrap());
    assert_eq!((b.generation, b.assignment.len()), (2, 0));
    let a = told(one.ask(&heartbeat("a", 1, true), b"").unwrap());
    assert_eq!(
        (a.generation, a.assignment.len()),
        (2, 1),
        "it keeps what it has"
    );
    let parked = park(&mut two, &heartbeat("b", 2, false));
    assert_eq!(two.ask(&Request::Ping, b""), Ok(Response::Done));
    one.ask(&heartbeat("a", -1, false), b"").unwrap();
    let b = answer(&two.next().unwrap(), parked);
    let all = PartitionOffset {
        topic: "orders".to_owned(),
        partition: 0,
        offset: -1,
    };
    assert_eq!((b.generation, b.assignment), (3, vec![all]));
}

#[test]
fn broker_that_closes_waits_for_no_long_poll() {
    let broker = Broker::start();
    broker.create_topic("orders");
    let mut raw = broker.connect();
    told(raw.ask(&heartbeat("a", 0, false), b"").unwrap());
    park(&mut raw, &heartbeat("a", 1, true));
    assert_eq!(raw.ask(&Request::Ping, b""), Ok(Response::Done));
    let server = broker.server;
    let closing = runtime(None)
        .unwrap()
        .spawn(async move { server.close(Duration::from_secs(600)).await });
    let frames = [raw.next().unwrap(), raw.next().unwrap()];
    let goodbye = frames.iter().find(|frame| frame.kind == FrameKind::Goodbye);
    let goodbye: Goodbye = goodbye.unwrap().read_header().unwrap();
    assert_eq!(goodbye.code, ErrorCode::BrokerClosing as u16);
    assert!(frames.iter().any(|frame| frame.kind == FrameKind::Error));
    assert!(raw.next().is_none());
    drop(raw);
    while !closing.is_finished() {
        std::thread::sleep(Duration::from_millis(1));
    }
}
