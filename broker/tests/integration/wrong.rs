//! Wrong input is answered in words, and with the right exit code; nothing is lost, nothing panics.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;

use super::harness::{Place, Ran, Serving, headwater, run, run_with_input};

/// The error of a command with `--json`: its code, and its message, which must name all of these.
#[track_caller]
fn says(ran: Ran, exit_code: i32, code: &str, named: &[&str]) {
    let ran = ran.ended(exit_code);
    let error = ran.error();
    assert_eq!(error["code"], code, "{ran:?}");
    let message = error["message"].as_str().unwrap();
    for name in named {
        assert!(message.contains(name), "`{name}` is not in: {message}");
    }
    assert_eq!(ran.stdout, "");
}

fn at(address: &str, args: &[&str]) -> Ran {
    run(["--json", "--address", address].iter().chain(args))
}

fn serve(data: &Path, more: &[&str]) -> Ran {
    let data = data.to_str().unwrap();
    run(["--json", "serve", "--data", data].iter().chain(more))
}

#[test]
fn what_is_no_address_is_told_with_a_proposal() {
    let list = ["topic", "list"];
    let both = ["localhost:9092", "./localhost"];
    says(at("localhost", &list), 1, "INVALID_ADDRESS", &both);
    says(
        at("localhost:99999", &list),
        1,
        "INVALID_ADDRESS",
        &["99999"],
    );
    says(at("", &list), 1, "INVALID_ADDRESS", &[]);
    says(
        at("./d?colour=red", &list),
        1,
        "UNKNOWN_OPTION",
        &["colour"],
    );
    says(
        at("kafka://h:1", &list),
        1,
        "UNSUPPORTED_FEATURE",
        &["Kafka"],
    );
}

#[test]
fn a_broker_that_is_not_there_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let refused = at(&address, &["topic", "list"]);
    says(refused, 1, "NETWORK_EXCEPTION", &[&address]);
}

#[test]
fn a_path_that_is_a_file_is_told() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    says(at(path, &["topic", "list"]), 1, "NOT_A_FOLDER", &[path]);
    says(at(path, &["produce", "orders"]), 1, "NOT_A_FOLDER", &[path]);
    says(
        serve(file.path(), &["--listen", "127.0.0.1:0"]),
        1,
        "NOT_A_FOLDER",
        &[path],
    );
}

#[test]
fn a_port_in_use_is_told_and_no_folder_is_made() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let scratch = tempfile::tempdir().unwrap();
    let data = scratch.path().join("data");
    let refused = serve(&data, &["--listen", &address]);
    says(refused, 1, "ADDRESS_IN_USE", &[&address]);
    assert!(!data.exists());
}

#[test]
fn a_folder_in_use_is_told_with_the_pid() {
    let scratch = tempfile::tempdir().unwrap();
    let data = scratch.path().join("data");
    let mut broker = Serving::start(&data);
    let (path, pid) = (data.to_str().unwrap(), broker.pid().to_string());
    let alone = format!("{path}?sharing=exclusive");
    let refused = at(&alone, &["topic", "list"]);
    says(refused, 1, "FOLDER_LOCKED", &[path, &pid]);
    let second = serve(&data, &["--listen", "127.0.0.1:0"]);
    says(second, 1, "FOLDER_LOCKED", &[&pid]);
    // A lock ends with its process, however that ended.
    broker.kill();
    at(path, &["topic", "list"]).ended(3);
}

#[test]
fn topics_that_are_not_there_or_cannot_be_are_named() {
    for place in Place::both() {
        let place = place.with_topic("orders", 1, "");
        let json = |args: &[&str]| place.run(&[&["--json"], args].concat());
        let produce = |topic: &str| {
            let args = ["--json", "produce", topic];
            place.run_with_input(&args, "a\n")
        };
        says(
            produce("order"),
            3,
            "UNKNOWN_TOPIC_OR_PARTITION",
            &["order"],
        );
        says(
            json(&["consume", "order"]),
            3,
            "UNKNOWN_TOPIC_OR_PARTITION",
            &["order"],
        );
        says(
            json(&["topic", "describe", "order"]),
            3,
            "UNKNOWN_TOPIC_OR_PARTITION",
            &["order"],
        );
        for name in ["a b", "", "..", &"x".repeat(250)] {
            says(
                json(&["topic", "create", name]),
                1,
                "INVALID_TOPIC_EXCEPTION",
                &[],
            );
        }
        let many = json(&["topic", "create", "many", "--partitions", "4097"]);
        says(many, 1, "INVALID_OPTION", &["partitions", "4097", "4096"]);
        let option = json(&["topic", "create", "t", "--config", "retention_msx=1"]);
        says(
            option,
            1,
            "UNKNOWN_OPTION",
            &["retention_msx", "retention_ms"],
        );
        let quorum = json(&["topic", "create", "t", "--config", "durability=quorum"]);
        says(quorum, 1, "UNSUPPORTED_FEATURE", &["quorum"]);
        let group = json(&["group", "describe", "nobody"]);
        says(group, 3, "GROUP_ID_NOT_FOUND", &["nobody"]);
        let format = json(&["consume", "orders", "--format", "%x"]);
        says(format, 1, "INVALID_ARGUMENT", &["%x", "%v"]);
        let from = json(&["consume", "orders", "--from", "yesterday"]);
        says(from, 1, "INVALID_OPTION", &["yesterday", "earliest"]);
        let level = json(&["produce", "orders", "--durability", "paper"]);
        says(level, 1, "INVALID_OPTION", &["paper", "disk"]);
    }
}

#[test]
fn a_record_over_the_limit_is_refused_and_those_before_it_are_kept() {
    for place in Place::both() {
        let place = place.with_topic("orders", 1, "");
        let lines = format!("first\n{}\n", "x".repeat(2_000_000));
        let refused = place.run_with_input(&["--json", "produce", "orders"], &lines);
        says(refused, 1, "MESSAGE_TOO_LARGE", &["1048588"]);
        let lines = format!("second\n{}\n", "x".repeat(17 << 20));
        let refused = place.run_with_input(&["--json", "produce", "orders"], &lines);
        says(refused, 1, "MESSAGE_TOO_LARGE", &[]);
        let read = place.run(&["consume", "orders", "--exit-at-end"]).ended(0);
        assert_eq!(read.stdout, "first\nsecond\n");
    }
}

#[test]
fn a_line_without_its_separator_is_shown() {
    let place = Place::folder().with_topic("orders", 1, "");
    let args = ["--json", "produce", "orders", "--key-separator", "|"];
    let refused = place.run_with_input(&args, "k|v\nno key\n");
    says(refused, 1, "INVALID_ARGUMENT", &["no key"]);
    let read = place.run(&["consume", "orders", "--exit-at-end"]).ended(0);
    assert_eq!(read.stdout, "v\n");
}

#[test]
fn a_folder_of_a_newer_version_is_left_alone() {
    let place = Place::folder().with_topic("orders", 1, "k:v\n");
    let format = Path::new(&place.address).join("format");
    let text = std::fs::read_to_string(&format).unwrap();
    let newer = text.replace("headwater-folder 1", "headwater-folder 2");
    let (checked, _) = newer.rsplit_once("crc32c").unwrap();
    let newer = format!(
        "{checked}crc32c {:08x}\n",
        crc32c::crc32c(checked.as_bytes())
    );
    std::fs::write(&format, &newer).unwrap();
    for args in [&["topic", "list"][..], &["dump", &place.address]] {
        says(at(&place.address, args), 1, "FOLDER_TOO_NEW", &["2", "1"]);
    }
    assert_eq!(std::fs::read_to_string(&format).unwrap(), newer);
}

#[test]
fn garbage_on_the_port_ends_that_connection_alone() {
    let place = Place::broker().with_topic("orders", 1, "");
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut noise = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random.to_le_bytes()
    };
    let kafkas: &[u8] = &[0, 0, 0, 20, 0, 18, 0, 3, 0, 0, 0, 1];
    let tls: &[u8] = &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    let mut openings = vec![
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        kafkas.to_vec(),
        tls.to_vec(),
    ];
    openings.extend((0..50).map(|_| (0..40).flat_map(|_| noise()).collect()));
    for opening in openings {
        let mut stream = TcpStream::connect(&place.address).unwrap();
        stream.write_all(&opening).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        // A reset is an answer too.
        let _ = stream.read_to_end(&mut answer);
        if opening.starts_with(b"GET") {
            assert!(answer.starts_with(b"HTTP/1.1 404 "), "{answer:?}");
        }
    }
    place.run(&["topic", "list"]).ended(0);
}

#[test]
fn a_server_that_is_none_is_told() {
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = stranger.local_addr().unwrap().to_string();
    let mut command = headwater();
    command.args(["--json", "--address", &address, "topic", "list"]);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stream, _) = stranger.accept().unwrap();
    stream.write_all(b"220 mail.example.org ESMTP\r\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains(&address) && said.contains("\"code\""),
        "{said}"
    );
}

#[test]
fn addresses_that_others_can_reach_need_a_word() {
    let scratch = tempfile::tempdir().unwrap();
    let data = scratch.path().join("data");
    let refused = serve(&data, &["--listen", "0.0.0.0:0"]);
    says(
        refused,
        1,
        "INVALID_OPTION",
        &["0.0.0.0:0", "--allow-remote"],
    );
    says(
        serve(&data, &["--listen", "localhost"]),
        1,
        "INVALID_ADDRESS",
        &["localhost"],
    );
    says(
        serve(&data, &["--set", "colour=red"]),
        1,
        "UNKNOWN_OPTION",
        &["colour"],
    );
    says(
        serve(
            &data,
            &[
                "--set",
                "max_bytes=67108864",
                "--set",
                "segment_bytes=16777216",
            ],
        ),
        1,
        "INVALID_OPTION",
        &["max_bytes", "134217728"],
    );
    says(
        serve(&data, &["--set", "max_connections=0"]),
        1,
        "INVALID_OPTION",
        &["max_connections"],
    );
    assert!(!data.exists());
}

#[test]
fn a_command_line_that_is_wrong_ends_with_two() {
    for args in [
        &["--colour"][..],
        &[],
        &["topics"],
        &["topic"],
        &["topic", "create"],
        &["produce"],
        &["consume"],
        &["consume", "orders", "--count", "0"],
        &["consume", "orders", "--count", "many"],
        &["serve"],
        &["serve", "--dev", "--data", "d"],
        &["bench", "everything"],
        &["bench", "produce", "--records", "0"],
        &["bench", "produce", "--connections", "0"],
        &["topic", "create", "t", "--config", "novalue"],
        &["dump"],
    ] {
        let refused = run(args).ended(2);
        assert_eq!(refused.stdout, "", "{args:?}");
        assert!(
            refused.stderr.contains("Usage") || refused.stderr.contains("--help"),
            "{refused:?}"
        );
    }
    assert!(
        run(["--adress", "x", "topic", "list"])
            .ended(2)
            .stderr
            .contains("--address")
    );
    // With --json it is JSON as every other error.
    let refused = run(["--json", "topics"]).ended(2);
    assert_eq!(refused.error()["kind"], "InvalidArgument");
}

#[test]
fn a_bench_that_cannot_be_is_refused() {
    for place in Place::both() {
        let create = ["topic", "create", "bench", "--config", "durability=os"];
        place.run(&create).ended(0);
        let bench = [
            "--json",
            "bench",
            "produce",
            "--durability",
            "disk",
            "--records",
            "10",
        ];
        says(
            place.run(&bench),
            1,
            "INVALID_ARGUMENT",
            &["bench", "os", "disk"],
        );
        let missing = ["--json", "bench", "consume", "--topic", "nothing"];
        says(
            place.run(&missing),
            3,
            "UNKNOWN_TOPIC_OR_PARTITION",
            &["nothing"],
        );
        let wrong = |more: &[&str], named: &[&str]| {
            let args = [&["--json", "bench"], more].concat();
            says(place.run(&args), 1, "INVALID_ARGUMENT", named);
        };
        wrong(&["latency", "--connections", "2"], &["--connections"]);
        wrong(&["end-to-end", "--rate", "0"], &["--rate"]);
        let too_small = ["end-to-end", "--size", "7", "--topic", "small"];
        wrong(&too_small, &["--size 7", "8 bytes"]);
    }
}

#[test]
fn the_partitions_of_a_member_that_is_killed_go_to_the_other() {
    let place = Place::broker().with_topic("orders", 1, "k:a\n");
    let args = ["consume", "orders", "--group", "billing"];
    let mut first = place.command(&args).stdout(Stdio::piped()).spawn().unwrap();
    let mut byte = [0];
    first
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut byte)
        .unwrap();
    let alone = [&args[..], &["--exit-at-end"]].concat();
    let mut second = place
        .command(&alone)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    first.kill().unwrap();
    first.wait().unwrap();
    // Once nothing was heard of the first for two heartbeats. What it had not committed is read again.
    let code = second.wait().unwrap().code();
    assert!(matches!(code, Some(0 | 3)), "{code:?}");
}

#[test]
fn an_input_without_a_topic_is_not_read() {
    let place = Place::broker();
    let args = ["--json", "--address", &place.address, "produce", "orders"];
    let refused = run_with_input(args, "a\n".repeat(100_000).as_bytes());
    says(refused, 3, "UNKNOWN_TOPIC_OR_PARTITION", &["orders"]);
}
