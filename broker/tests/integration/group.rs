//! `headwater group` on groups with members, and moving what a group has committed.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use headwater::protocol::request::{GroupHeartbeat, Request};
use headwater::protocol::response::{GroupAssignment, Response};
use headwater::testing::RawClient;
use serde_json::{Value, json};

use super::harness::{Place, Ran, run};

/// A member's heartbeat, after which nothing is heard of it for half an hour.
fn heartbeat(raw: &RawClient, member: &str, generation: i32, topic: &str) -> GroupAssignment {
    let heartbeat = GroupHeartbeat {
        group: "billing".to_owned(),
        member_id: member.to_owned(),
        generation,
        instance_id: (member == "b").then(|| "second".to_owned()),
        client_name: "a-test".to_owned(),
        topics: vec![topic.to_owned()],
        assignor: "sticky".to_owned(),
        session_timeout_ms: 1_800_000,
        rebalance_timeout_ms: 1_800_000,
        heartbeat_ms: 1_700_000,
        owned: Vec::new(),
    };
    let request = Request::GroupHeartbeat(heartbeat);
    match raw.ask(request, Default::default()).wait(None).unwrap() {
        Response::GroupHeartbeat(told) => told,
        other => panic!("{other:?}"),
    }
}

fn raw(place: &Place) -> RawClient {
    RawClient::connect(place.address.parse().unwrap()).unwrap()
}

/// Two partitions of three records each.
fn orders(place: Place) -> Place {
    let place = place.with_topic("orders", 2, "");
    for partition in ["0", "1"] {
        let produce = ["produce", "orders", "--partition", partition];
        place.run_with_input(&produce, "1\n2\n3\n").ended(0);
    }
    place
}

fn reset(place: &Place, to: &str, more: &[&str]) -> Ran {
    let args = ["--json", "group", "reset", "billing", "--to", to];
    place.run(&[&args, more].concat())
}

/// What the group has committed, partition by partition.
fn committed(place: &Place) -> Vec<i64> {
    let described = place.run(&["--json", "group", "describe", "billing"]);
    let group = described.ended(0).object();
    let offsets = group["offsets"].as_array().unwrap().iter();
    offsets
        .map(|row| row["committed_offset"].as_i64().unwrap())
        .collect()
}

#[test]
fn members_are_shown_with_what_they_hold() {
    let place = orders(Place::broker());
    reset(&place, "1", &["--topic", "orders"]).ended(0);
    let raw = raw(&place);
    let a = heartbeat(&raw, "a", 0, "orders");
    assert_eq!(a.assignment.len(), 2);
    assert_eq!(heartbeat(&raw, "b", 0, "orders").assignment.len(), 0);

    let describe = ["--json", "group", "describe", "billing"];
    let group = place.run(&describe).ended(0).object();
    let members = group["members"].as_array().unwrap();
    assert_eq!(members.len(), 2, "{group}");
    assert_eq!(members[0]["member_id"], "a");
    assert_eq!(members[0]["client_name"], "a-test");
    assert_eq!(members[0]["instance_id"], Value::Null);
    assert_eq!(
        members[0]["partitions"],
        json!([{"topic": "orders", "partitions": [0, 1]}])
    );
    assert_eq!(members[1]["instance_id"], "second");
    assert_eq!(members[1]["partitions"], json!([]));
    for row in group["offsets"].as_array().unwrap() {
        assert_eq!((&row["member_id"], &row["lag"]), (&json!("a"), &json!(2)));
    }

    let words = place.run(&["group", "describe", "billing"]).ended(0).stdout;
    let mut lines = words.lines();
    assert!(
        lines.next().unwrap().starts_with("group billing: "),
        "{words}"
    );
    let first = lines.next().unwrap();
    assert!(first.starts_with("  member a (a-test, "), "{words}");
    assert!(first.ends_with("): orders 0-1"), "{words}");
    let second = lines.next().unwrap();
    assert!(second.contains("instance second"), "{words}");
    assert!(second.ends_with("): nothing"), "{words}");
    assert!(lines.next().unwrap().ends_with("lag  member"), "{words}");
    assert!(lines.next().unwrap().ends_with("2  a"), "{words}");
}

#[test]
fn what_is_held_and_not_committed_has_a_row_and_no_lag() {
    let place = orders(Place::broker());
    heartbeat(&raw(&place), "a", 0, "orders");
    let describe = ["--json", "group", "describe", "billing"];
    let group = place.run(&describe).ended(0).object();
    let row = json!({
        "topic": "orders",
        "partition": 1,
        "committed_offset": null,
        "high_watermark": 3,
        "lag": null,
        "member_id": "a",
    });
    assert_eq!(group["offsets"][1], row, "{group}");
    // Its topic is deleted, and it has not heard of it yet.
    place.run(&["topic", "delete", "orders"]).ended(0);
    place.run(&describe).ended(0);
}

#[test]
fn a_reset_is_refused_while_there_are_members_and_names_them() {
    let place = orders(Place::broker());
    reset(&place, "1", &["--topic", "orders"]).ended(0);
    let raw = raw(&place);
    heartbeat(&raw, "a", 0, "orders");
    heartbeat(&raw, "b", 0, "orders");
    for more in [&[][..], &["--dry-run"]] {
        let error = reset(&place, "earliest", more).ended(1).error();
        assert_eq!(error["code"], "NON_EMPTY_GROUP");
        let message = error["message"].as_str().unwrap();
        for named in ["billing", "`a` (a-test)", "`b`"] {
            assert!(message.contains(named), "{message}");
        }
    }
    assert_eq!(committed(&place), [1, 1]);
    heartbeat(&raw, "a", -1, "orders");
    heartbeat(&raw, "b", -1, "orders");
    reset(&place, "earliest", &[]).ended(0);
    assert_eq!(committed(&place), [0, 0]);
}

#[test]
fn a_dry_run_shows_where_each_partition_would_go_and_changes_nothing() {
    for place in Place::both() {
        let place = orders(place);
        // Of a group that is not there, too.
        let first = reset(&place, "latest", &["--topic", "orders", "--dry-run"]);
        let first = first.ended(0).object();
        assert_eq!(
            (&first["group"], &first["dry_run"]),
            (&json!("billing"), &json!(true))
        );
        let row = json!({"topic": "orders", "partition": 1, "from": null, "to": 3, "wanted": 3});
        assert_eq!(first["offsets"][1], row);
        place.run(&["group", "describe", "billing"]).ended(3);

        reset(&place, "1", &["--topic", "orders"]).ended(0);
        let shifted = reset(&place, "+1", &["--dry-run"]).ended(0).object();
        let row = json!({"topic": "orders", "partition": 0, "from": 1, "to": 2, "wanted": 2});
        assert_eq!(shifted["offsets"][0], row);
        let args = ["group", "reset", "billing", "--to", "-5", "--dry-run"];
        let words = place.run(&args).ended(0).stdout;
        let line = words.lines().nth(2).unwrap();
        assert!(line.contains(" 1 -> "), "{words}");
        assert!(
            line.ends_with(" 0  -4 is before the first record held; it goes to 0"),
            "{words}"
        );
        assert_eq!(committed(&place), [1, 1]);
    }
}

#[test]
fn a_group_is_moved_by_a_number_within_what_the_log_holds() {
    for place in Place::both() {
        let place = orders(place);
        reset(&place, "1", &["--topic", "orders"]).ended(0);
        assert_eq!(reset(&place, "+1", &[]).ended(0).stderr, "");
        assert_eq!(committed(&place), [2, 2]);
        let before = [
            "topic",
            "delete-records",
            "orders",
            "--partition",
            "0",
            "--before",
            "2",
        ];
        place.run(&before).ended(0);
        let back = reset(&place, "-1", &[]).ended(0);
        assert_eq!(
            back.stderr,
            "topic `orders`, partition 0: 1 is before the first record held; it goes to 2\n"
        );
        assert_eq!(committed(&place), [2, 1]);
        let far = reset(&place, &format!("+{}", i64::MAX), &[]).ended(0);
        assert!(
            far.stderr.contains("past the last record; it goes to 3"),
            "{far:?}"
        );
        assert_eq!(committed(&place), [3, 3]);
        reset(&place, "time:0", &[]).ended(0);
        assert_eq!(committed(&place), [2, 0]);
        reset(&place, "1", &[]).ended(0);
        assert_eq!(committed(&place), [2, 1]);
    }
}

#[test]
fn where_there_is_nothing_to_go_from_is_told() {
    let place = orders(Place::folder());
    for (to, named) in [
        ("+1", "partition 0"),
        ("+many", "+many"),
        ("-", "`-`"),
        ("soon", "soon"),
    ] {
        let error = reset(&place, to, &["--topic", "orders"]).ended(1).error();
        assert_eq!(error["kind"], "InvalidArgument");
        assert!(
            error["message"].as_str().unwrap().contains(named),
            "{error}"
        );
    }
    let unknown = reset(&place, "earliest", &[]).ended(3);
    assert_eq!(unknown.error()["code"], "GROUP_ID_NOT_FOUND");
    place
        .run(&["group", "reset", "billing", "--dry-run"])
        .ended(2);
}

/// A broker as it was before groups had several members: the client is believed to speak version 2 at most.
fn older(broker: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for near in listener.incoming() {
            let (mut near, mut far) = (near.unwrap(), TcpStream::connect(broker).unwrap());
            // The magic, the head of a frame, and the oldest and the newest version, a byte each.
            let mut hello = [0; 8 + 17 + 2];
            near.read_exact(&mut hello).unwrap();
            hello[26] = 2;
            far.write_all(&hello).unwrap();
            let (mut back, mut forth) = (far.try_clone().unwrap(), near.try_clone().unwrap());
            thread::spawn(move || {
                let _ = std::io::copy(&mut back, &mut forth);
                let _ = forth.shutdown(Shutdown::Both);
            });
            thread::spawn(move || {
                let _ = std::io::copy(&mut near, &mut far);
                let _ = far.shutdown(Shutdown::Both);
            });
        }
    });
    address
}

#[test]
fn an_older_broker_tells_who_the_members_are_and_no_more() {
    let place = orders(Place::broker());
    reset(&place, "1", &["--topic", "orders"]).ended(0);
    heartbeat(&raw(&place), "a", 0, "orders");
    let older = older(place.address.parse().unwrap()).to_string();
    let at = |args: &[&str]| run(["--address", &older, "--json"].iter().chain(args));
    let group = at(&["group", "describe", "billing"]).ended(0).object();
    let member = json!({
        "member_id": "a",
        "instance_id": null,
        "client_name": null,
        "host": null,
        "generation": null,
        "partitions": null,
    });
    assert_eq!(group["members"], json!([member]));
    assert_eq!(group["offsets"][0]["lag"], 2);
    let refused = at(&["group", "reset", "billing", "--to", "latest"]).ended(1);
    let error = refused.error();
    assert_eq!(error["code"], "NON_EMPTY_GROUP");
    assert!(
        error["message"].as_str().unwrap().contains("`a`"),
        "{error}"
    );
}
