//! Ctrl-C: commands end at once, in order, and say so.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Stdio};

use super::harness::{Place, Serving, headwater, signal, verified};

fn ended(mut child: Child, name: &str) -> (Option<i32>, String) {
    signal(child.id(), name);
    let mut said = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    (child.wait().unwrap().code(), said)
}

#[test]
fn a_broker_closes_its_log() {
    for name in ["INT", "TERM", "HUP"] {
        let scratch = tempfile::tempdir().unwrap();
        let data = scratch.path().join("data");
        let mut broker = Serving::start(&data);
        let (code, rest) = if name == "INT" {
            broker.interrupt()
        } else {
            signal(broker.pid(), name);
            broker.wait()
        };
        assert_eq!((code, &*rest), (Some(0), ""), "{name}");
        assert_eq!(verified(&data)["is_clean"], true, "{name}");
    }
}

#[test]
fn a_consumer_that_waits_ends() {
    for place in Place::both() {
        let place = place.with_topic("orders", 1, "k:one\n");
        let mut command = place.command(&["consume", "orders", "--group", "billing"]);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "one\n");
        assert_eq!(ended(child, "INT").0, Some(130));
        // What was printed is committed.
        let described = ["--json", "group", "describe", "billing"];
        let group = place.run(&described).ended(0).object();
        assert_eq!(group["offsets"][0]["committed_offset"], 1);
        assert_eq!(group["members"].as_array().unwrap().len(), 0);
    }
}

#[test]
fn a_producer_that_waits_for_input_delivers_and_ends() {
    for place in Place::both() {
        let place = place.with_topic("orders", 1, "");
        let mut command = place.command(&["produce", "orders"]);
        let mut child = command
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // More than a pipe holds: when it is written, the command reads.
        let lines = "a line of some length, so that there are many bytes\n".repeat(10_000);
        stdin.write_all(lines.as_bytes()).unwrap();
        let (code, said) = ended(child, "INT");
        assert_eq!(code, Some(130), "{said}");
        let sent: usize = said.split(' ').next().unwrap().parse().unwrap();
        let read = ["consume", "orders", "--exit-at-end"];
        let found = place.run(&read).stdout.lines().count();
        assert_eq!(found, sent, "{said}");
        drop(stdin);
    }
}

#[test]
fn commands_whose_broker_hangs_end_and_say_what_they_do_not_know() {
    // They waited half a minute for it, and ended as if everything had been delivered and committed.
    let scratch = tempfile::tempdir().unwrap();
    let broker = Serving::start(&scratch.path().join("data"));
    let command = |args: &[&str]| {
        let mut command = headwater();
        command.args(["--address", &broker.address]).args(args);
        command.stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    assert!(
        command(&["topic", "create", "orders"])
            .wait()
            .unwrap()
            .success()
    );
    let mut producer = command(&["produce", "orders"]);
    let mut input = producer.stdin.take().unwrap();
    input.write_all(b"first\n").unwrap();
    let mut consumer = command(&["consume", "orders", "--group", "billing"]);
    let mut line = String::new();
    let output = consumer.stdout.take().unwrap();
    BufReader::new(output).read_line(&mut line).unwrap();
    assert_eq!(line, "first\n");
    signal(broker.pid(), "STOP");
    // More than a pipe holds: when it is written, the command reads.
    let lines = "a line of some length, so that there are many bytes\n".repeat(10_000);
    input.write_all(lines.as_bytes()).unwrap();
    let (code, said) = ended(producer, "INT");
    assert_eq!(code, Some(130), "{said}");
    assert!(said.contains("were not acknowledged"), "{said}");
    let (code, said) = ended(consumer, "INT");
    assert_eq!(code, Some(130), "{said}");
    assert!(said.contains("not acknowledged"), "{said}");
}

#[test]
fn a_bench_ends() {
    let place = Place::folder();
    let bench = ["bench", "latency", "--rate", "100", "--records", "1000000"];
    let child = place
        .command(&bench)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Its topic is there: it has begun.
    let begun = || std::fs::exists(format!("{}/0000", place.address)).unwrap();
    while !begun() {
        std::thread::yield_now();
    }
    assert_eq!(ended(child, "INT").0, Some(130));
}

#[test]
fn a_command_that_cannot_reach_its_broker_ends() {
    // Accepts connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let mut command = headwater();
    command.args(["--address", &address, "topic", "list"]);
    let child = command.stderr(Stdio::piped()).spawn().unwrap();
    let _connection = silent.accept().unwrap();
    assert_eq!(ended(child, "INT"), (Some(130), String::new()));
}
