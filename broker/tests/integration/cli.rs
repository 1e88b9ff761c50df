//! Every command through the real program, in a folder and through a broker.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;

use serde_json::{Value, json};

use super::harness::{Place, headwater, run};

/// The values of these records, in order.
fn values(records: &[Value]) -> Vec<&str> {
    let values = records.iter().map(|record| record["value"].as_str());
    values.map(|value| value.unwrap()).collect()
}

#[test]
fn a_topics_life() {
    for place in Place::both() {
        let create = ["topic", "create", "orders", "--partitions", "3"];
        let created = place.run(&create).ended(0);
        assert_eq!(created.stdout, "");
        assert_eq!(created.stderr, "topic `orders` created\n");
        let again = place.run(&["--json", "topic", "create", "orders"]).ended(1);
        assert_eq!(again.error()["code"], "TOPIC_ALREADY_EXISTS");
        place
            .run(&["topic", "create", "orders", "--exist-ok"])
            .ended(0);
        let other = ["topic", "create", "logs", "--config", "durability=os"];
        place.run(&other).ended(0);
        assert_eq!(
            place.run(&["topic", "list"]).ended(0).stdout,
            "logs\norders\n"
        );

        let kafkas = ["topic", "alter", "logs", "--config", "retention.ms=60000"];
        place.run(&kafkas).ended(0);
        let logs = place.run(&["--json", "topic", "describe", "logs"]).ended(0);
        let logs = logs.object();
        assert_eq!(logs["config"]["durability"], "os");
        assert_eq!(logs["config"]["retention_ms"], "60000");
        assert_eq!(logs["partitions"].as_array().unwrap().len(), 1);
        assert_eq!(logs["notes"], json!([]), "{logs}");
        let words = place.run(&["topic", "describe", "orders"]).ended(0).stdout;
        assert!(words.starts_with("topic orders\n  partitions"), "{words}");

        let deleted = place.run(&["--json", "topic", "delete", "orders"]).ended(0);
        assert_eq!(
            deleted.object(),
            json!({"topic": "orders", "done": "deleted"})
        );
        let gone = place.run(&["--json", "topic", "delete", "orders"]).ended(3);
        assert_eq!(gone.error()["code"], "UNKNOWN_TOPIC_OR_PARTITION");
        let left = place.run(&["--json", "topic", "list"]).ended(0).json();
        assert_eq!(left.len(), 1);
    }
}

#[test]
fn records_before_an_offset_are_deleted() {
    for place in Place::both() {
        let place = place.with_topic("orders", 1, "k:0\nk:1\nk:2\n");
        let delete = [
            "topic",
            "delete-records",
            "orders",
            "--partition",
            "0",
            "--before",
        ];
        let before = |offset: &str, code: i32| {
            let all = [&["--json"], &delete[..], &[offset]].concat();
            place.run(&all).ended(code)
        };
        assert_eq!(
            before("1", 0).object(),
            json!({"topic": "orders", "partition": 0, "log_start_offset": 1})
        );
        let all = ["consume", "orders", "--exit-at-end"];
        assert_eq!(place.run(&all).ended(0).stdout, "1\n2\n");
        assert_eq!(before("0", 0).object()["log_start_offset"], 1);
        assert_eq!(before("4", 1).error()["code"], "OFFSET_OUT_OF_RANGE");
        let words = place.run(&[&delete[..], &["-1"]].concat()).ended(0);
        assert_eq!(
            (words.stdout.as_str(), words.stderr.as_str()),
            ("", "topic `orders`, partition 0 starts at offset 3\n")
        );
        assert_eq!(place.run(&all).ended(3).stdout, "");
    }
}

#[test]
fn records_go_in_and_come_out() {
    for place in Place::both() {
        let place = place.with_topic("orders", 1, "");
        let produce = [
            "produce",
            "orders",
            "--key-separator",
            "=>",
            "--header",
            "trace=a=b",
            "--header",
            "empty=",
        ];
        let sent = place
            .run_with_input(&produce, "k1=>one\nk2=>\r\n=>three=>more")
            .ended(0);
        assert_eq!(sent.stdout, "");
        assert!(
            sent.stderr.starts_with("3 records sent to `orders` in "),
            "{sent:?}"
        );

        let all = ["consume", "orders", "--exit-at-end"];
        assert_eq!(place.run(&all).ended(0).stdout, "one\n\nthree=>more\n");
        let format = ["--format", "%t/%p/%o %k|%v %h%%\\t\\n"];
        let formatted = place.run(&[&all[..], &format].concat()).ended(0);
        let first = formatted.stdout.lines().next();
        assert_eq!(first, Some("orders/0/0 k1|one trace=a=b,empty=%\t"));

        let records = place.run(&[&all[..], &["--json"]].concat()).ended(0).json();
        assert_eq!(values(&records), ["one", "", "three=>more"]);
        assert_eq!(records[2]["key"], "");
        assert_eq!(
            records[0]["headers"],
            json!([{"key": "trace", "value": "a=b"}, {"key": "empty", "value": ""}])
        );
        assert!(records[0]["timestamp"].as_i64().unwrap() > 1_700_000_000_000);
    }
}

#[test]
fn what_is_not_text_is_base64_in_json() {
    let place = Place::folder().with_topic("orders", 1, "");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), b"\xff\x00\n").unwrap();
    let path = file.path().to_str().unwrap();
    let sent = place.run(&["--json", "produce", "orders", path]).ended(0);
    assert_eq!(sent.object()["records"], 1);
    let read = ["--json", "consume", "orders", "--exit-at-end"];
    let record = place.run(&read).ended(0).object();
    assert_eq!(record["value"], json!({"base64": "/wA="}));
    assert_eq!(record["key"], Value::Null);
}

#[test]
fn reading_begins_and_ends_where_it_is_told_to() {
    for place in Place::both() {
        let lines: String = (0..10).map(|n| format!("k:{n}\n")).collect();
        let place = place.with_topic("orders", 1, &lines);
        let read = |args: &[&str], code: i32| {
            let all = [&["consume", "orders"], args].concat();
            place.run(&all).ended(code).stdout
        };
        assert_eq!(read(&["--count", "2"], 0), "0\n1\n");
        assert_eq!(read(&["--from", "7", "--exit-at-end"], 0), "7\n8\n9\n");
        assert_eq!(read(&["--from", "7", "--count", "1"], 0), "7\n");
        assert_eq!(read(&["--from", "latest", "--exit-at-end"], 3), "");
        let before = ["--from", "2020-01-31T12:00:00Z", "--exit-at-end"];
        assert_eq!(read(&before, 0).lines().count(), 10);
        assert_eq!(
            read(&["--from", "time:4102444800000", "--exit-at-end"], 3),
            ""
        );
        let everywhere = ["consume", "orders", "orders2", "--exit-at-end"];
        place.run(&["topic", "create", "orders2"]).ended(0);
        let sent = ["produce", "orders2"];
        place.run_with_input(&sent, "other\n").ended(0);
        assert_eq!(place.run(&everywhere).ended(0).stdout.lines().count(), 11);
    }
}

#[test]
fn a_partition_can_be_chosen() {
    let place = Place::folder().with_topic("orders", 3, "");
    let produce = ["produce", "orders", "--partition", "2"];
    place.run_with_input(&produce, "a\nb\n").ended(0);
    let read = ["--json", "consume", "orders", "--exit-at-end"];
    let records = place.run(&read).ended(0).json();
    assert!(records.iter().all(|record| record["partition"] == 2));
    let beyond = ["--json", "produce", "orders", "--partition", "3"];
    let refused = place.run_with_input(&beyond, "a\n");
    assert_eq!(refused.error()["code"], "UNKNOWN_TOPIC_OR_PARTITION");
    assert_eq!(refused.code, 3);
}

#[test]
fn a_group_goes_on_where_it_ended() {
    for place in Place::both() {
        let place = place.with_topic("orders", 1, "k:1\nk:2\nk:3\nk:4\n");
        let read = |more: &[&str], code| {
            let args = ["consume", "orders", "--group", "billing", "--exit-at-end"];
            place.run(&[&args, more].concat()).ended(code).stdout
        };
        let none = place.run(&["group", "list"]).ended(3);
        assert_eq!((&*none.stdout, &*none.stderr), ("", "no groups\n"));
        // Fewer than the batch holds: only what was printed counts as processed.
        assert_eq!(read(&["--count", "2"], 0), "1\n2\n");
        assert_eq!(read(&["--count", "1"], 0), "3\n");
        let described = ["--json", "group", "describe", "billing"];
        let group = place.run(&described).ended(0).object();
        assert_eq!(group["offsets"][0]["committed_offset"], 3);
        assert_eq!(group["offsets"][0]["lag"], 1);
        assert_eq!(group["members"], json!([]));
        assert_eq!(place.run(&["group", "list"]).ended(0).stdout, "billing\n");
        assert_eq!(read(&[], 0), "4\n");
        assert_eq!(read(&[], 3), "");

        let reset = ["--json", "group", "reset", "billing", "--to", "1"];
        let group = place.run(&reset).ended(0).object();
        assert_eq!(group["offsets"][0]["committed_offset"], 1);
        assert_eq!(read(&[], 0), "2\n3\n4\n");
        let other = [
            "group", "reset", "audit", "--topic", "orders", "--to", "latest",
        ];
        place.run(&other).ended(0);
        assert_eq!(
            place.run(&["group", "list"]).ended(0).stdout,
            "audit\nbilling\n"
        );

        place.run(&["group", "delete", "billing"]).ended(0);
        let gone = place.run(&described).ended(3);
        assert_eq!(gone.error()["code"], "GROUP_ID_NOT_FOUND");
    }
}

#[test]
fn bench_prints_one_object_with_every_figure() {
    for place in Place::both() {
        let bench = |kind: &str, more: &[&str]| {
            let args = ["--json", "bench", kind, "--records", "2000", "--size", "64"];
            place.run(&[&args, more].concat()).ended(0).object()
        };
        let level = ["--durability", "os", "--partitions", "2"];
        let produced = bench("produce", &level);
        let consumed = bench("consume", &[]);
        let latency = bench("latency", &["--rate", "0", "--topic", "one"]);
        let at_a_rate = bench("latency", &["--rate", "5000", "--topic", "one"]);
        let end_to_end = bench("end-to-end", &["--rate", "5000", "--topic", "one"]);
        let over_many = bench("produce", &["--connections", "20", "--batch", "7"]);
        for (object, name) in [
            (&produced, "produce"),
            (&consumed, "consume"),
            (&latency, "latency"),
            (&at_a_rate, "latency"),
            (&end_to_end, "end-to-end"),
            (&over_many, "produce"),
        ] {
            assert_eq!(object["bench"], name);
            assert_eq!(object["records"], 2_000, "{object}");
            assert_eq!(object["size_bytes"], 64);
            for figure in ["elapsed_s", "records_per_s", "mb_per_s"] {
                assert!(object[figure].as_f64().unwrap() > 0.0, "{object}");
            }
        }
        for object in [&produced, &latency, &at_a_rate, &end_to_end, &over_many] {
            let quantiles = ["p50", "p99", "p999", "max"].map(|q| object["latency_us"][q].as_f64());
            assert!(
                quantiles.is_sorted() && quantiles[0] > Some(0.0),
                "{object}"
            );
        }
        assert_eq!(
            (&produced["partitions"], &produced["durability"]),
            (&json!(2), &json!("os"))
        );
        assert_eq!(consumed["durability"], "os");
        assert_eq!(
            (&latency["partitions"], &latency["durability"]),
            (&json!(1), &json!("disk"))
        );
        assert_eq!(at_a_rate["rate"], 5_000);
        assert_eq!(
            (&end_to_end["rate"], &over_many["connections"]),
            (&json!(5_000), &json!(20))
        );
        let compressed = bench("produce", &["--compression", "zstd"]);
        assert_eq!(
            (&produced["compression"], &compressed["compression"]),
            (&json!("none"), &json!("zstd"))
        );
        let words = place.run(&["bench", "produce", "--records", "10"]).ended(0);
        assert!(words.stdout.contains("records/s"), "{words:?}");
    }
}

#[test]
fn completions_are_printed_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(["completions", shell]).ended(0).stdout;
        assert!(script.contains("headwater"), "{shell}");
    }
    run(["completions", "tcsh"]).ended(2);
}

#[test]
fn help_and_version_are_answers() {
    for args in [&["--help"][..], &["topic", "--help"], &["bench", "--help"]] {
        let help = run(args).ended(0);
        assert!(help.stdout.contains("Usage: headwater"), "{help:?}");
        assert_eq!(help.stderr, "");
        assert!(
            help.stdout.lines().all(|line| line.len() <= 100),
            "{help:?}"
        );
    }
    let version = run(["--version"]).ended(0).stdout;
    assert_eq!(
        version,
        concat!("headwater ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn quiet_means_nothing_but_data_and_errors() {
    let place = Place::folder();
    let created = place.run(&["-q", "topic", "create", "orders"]).ended(0);
    assert_eq!((&*created.stdout, &*created.stderr), ("", ""));
    let sent = place
        .run_with_input(&["-q", "produce", "orders"], "a\n")
        .ended(0);
    assert_eq!((&*sent.stdout, &*sent.stderr), ("", ""));
    let read = place
        .run(&["-q", "consume", "orders", "--exit-at-end"])
        .ended(0);
    assert_eq!((&*read.stdout, &*read.stderr), ("a\n", ""));
}

#[test]
fn the_address_may_come_from_the_environment() {
    let place = Place::folder().with_topic("orders", 1, "");
    let mut command = headwater();
    command.env("HEADWATER_ADDRESS", &place.address);
    let listed = command.args(["topic", "list"]).output().unwrap();
    assert_eq!(listed.stdout, b"orders\n");
}

#[test]
fn commands_that_read_create_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let missing = scratch.path().join("missing");
    let missing = missing.to_str().unwrap();
    for args in [
        &["topic", "list"][..],
        &["topic", "describe", "orders"],
        &["topic", "alter", "orders", "--config", "durability=os"],
        &["topic", "delete", "orders"],
        &["consume", "orders"],
        &["group", "list"],
        &["group", "describe", "billing"],
        &["group", "reset", "billing", "--to", "earliest"],
        &["group", "delete", "billing"],
        &["bench", "consume"],
        &["dump", missing],
    ] {
        let all = [&["--json", "--address", missing][..], args].concat();
        let refused = run(all).ended(3);
        assert_eq!(refused.error()["code"], "FOLDER_NOT_FOUND", "{args:?}");
        assert_eq!(
            std::fs::read_dir(scratch.path()).unwrap().count(),
            0,
            "{args:?}"
        );
    }
    // A file that is not there creates no folder either.
    let produce = ["--address", missing, "produce", "orders", "no-such-file"];
    run(produce).ended(1);
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let lines = "k:something to read\n".repeat(100_000);
    let place = Place::folder().with_topic("orders", 1, &lines);
    let mut command = place.command(&["consume", "orders", "--exit-at-end"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "something to read\n");
    drop(stdout);
    let mut said = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert_eq!((child.wait().unwrap().code(), &*said), (Some(0), ""));
}

#[test]
fn records_are_sent_while_the_input_is_still_open() {
    let place = Place::broker().with_topic("orders", 1, "");
    let mut command = place.command(&["produce", "orders"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"one\n").unwrap();
    // It waits for the record: that ends only if it was sent.
    let read = place.run(&["consume", "orders", "--count", "1"]).ended(0);
    assert_eq!(read.stdout, "one\n");
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
