//! HTTP on the broker's port, as raw requests: what it answers, what it refuses, and that nobody else is disturbed.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use headwater::{Client, ErrorKind, ProducerOptions, Record, TopicOptions};
use headwater_broker::{Broker, Config};

fn started(config: Config) -> Broker {
    Broker::start(config).wait(None).unwrap()
}

fn connect(broker: &Broker) -> Client {
    let address = broker.addresses()[0].to_string();
    headwater::connect(&address).wait(None).unwrap()
}

fn dial(broker: &Broker) -> TcpStream {
    TcpStream::connect(broker.addresses()[0].tcp().unwrap()).unwrap()
}

/// An answer: the status line, the headers with small names, and the body.
#[derive(Debug)]
struct Answer {
    status: String,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Answer {
    fn of(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| {
            panic!("no answer: {text:?}");
        });
        let mut lines = head.lines();
        let status = lines.next().unwrap().to_owned();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_ascii_lowercase(), value.to_owned())
        });
        Self {
            status,
            headers: headers.collect(),
            body: body.to_owned(),
        }
    }

    #[track_caller]
    fn with(self, status: &str) -> Self {
        assert_eq!(self.status, format!("HTTP/1.1 {status}"), "{self:?}");
        self
    }

    /// The series of a page of metrics.
    fn series(&self) -> BTreeMap<String, f64> {
        parsed(&self.body)
    }
}

/// Asks on a connection of its own, in pieces, and reads until it is closed.
fn ask_in_pieces(broker: &Broker, pieces: &[&str]) -> Answer {
    let mut stream = dial(broker);
    stream.set_nodelay(true).unwrap();
    for piece in pieces {
        stream.write_all(piece.as_bytes()).unwrap();
    }
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    Answer::of(&text)
}

fn ask(broker: &Broker, method: &str, path: &str) -> Answer {
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    ask_in_pieces(broker, &[&request])
}

/// Reads Prometheus' text format strictly: each family once, its help and type before its series.
fn parsed(page: &str) -> BTreeMap<String, f64> {
    let mut series = BTreeMap::new();
    let mut families: Vec<String> = Vec::new();
    let mut lines = page.lines().peekable();
    assert!(page.ends_with('\n'));
    while let Some(line) = lines.next() {
        let (name, help) = line
            .strip_prefix("# HELP ")
            .unwrap()
            .split_once(' ')
            .unwrap();
        assert!(
            name.starts_with("headwater_") && help.ends_with('.'),
            "{line}"
        );
        let kind = lines.next().unwrap();
        let kind = kind.strip_prefix(&format!("# TYPE {name} ")).unwrap();
        assert!(["gauge", "counter"].contains(&kind), "{kind}");
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
        assert!(!families.contains(&name.to_owned()), "{name} twice");
        families.push(name.to_owned());
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            let (key, value) = line.rsplit_once(' ').unwrap();
            let labels = key.strip_prefix(name).unwrap();
            assert!(
                labels.is_empty() || labels.starts_with('{') && labels.ends_with("\"}"),
                "{line}"
            );
            let before = series.insert(key.to_owned(), value.parse::<f64>().unwrap());
            assert_eq!(before, None, "{key} twice");
        }
    }
    series
}

fn send(db: &Client, topic: &str, records: usize) {
    let producer = db.producer(ProducerOptions::default()).unwrap();
    for _ in 0..records {
        producer.enqueue(topic, &Record::new(b"hello")).unwrap();
    }
    producer.flush().wait(None).unwrap();
}

#[test]
fn metrics_say_what_was_done() {
    let broker = started(Config::memory());
    let db = connect(&broker);
    let options = TopicOptions {
        partitions: Some(3),
        ..TopicOptions::default()
    };
    db.admin()
        .create_topic("orders", options)
        .wait(None)
        .unwrap();
    send(&db, "orders", 100);
    db.admin()
        .describe_topic("nothing.here")
        .wait(None)
        .unwrap();

    let page = ask(&broker, "GET", "/metrics").with("200 OK");
    assert_eq!(
        page.headers["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let series = page.series();
    let found = |key: &str| {
        *series
            .get(key)
            .unwrap_or_else(|| panic!("no {key}: {series:?}"))
    };
    assert_eq!(found("headwater_topics"), 2.0);
    assert_eq!(found("headwater_partitions"), 4.0);
    assert_eq!(found("headwater_topics_not_listed"), 0.0);
    assert_eq!(found("headwater_topic_partitions{topic=\"orders\"}"), 3.0);
    let records = "headwater_topic_appended_records_total{topic=\"orders\"}";
    assert_eq!(found(records), 100.0);
    assert_eq!(
        found("headwater_topic_held_records{topic=\"orders\"}"),
        100.0
    );
    assert_eq!(found("headwater_log_appended_records_total"), 100.0);
    assert!(found("headwater_log_appended_batches_total") >= 1.0);
    assert!(found("headwater_log_appended_bytes_total") > 500.0);
    assert!(found("headwater_topic_size_bytes{topic=\"orders\"}") > 500.0);
    assert_eq!(found("headwater_connections{protocol=\"native\"}"), 1.0);
    assert_eq!(found("headwater_connections{protocol=\"http\"}"), 1.0);
    assert_eq!(found("headwater_connections{protocol=\"kafka\"}"), 0.0);
    assert_eq!(found("headwater_kafka_requests_total{api=\"Fetch\"}"), 0.0);
    assert_eq!(found("headwater_kafka_sent_bytes_total"), 0.0);
    assert_eq!(found("headwater_connections_accepted_total"), 2.0);
    assert_eq!(found("headwater_connections_refused_total"), 0.0);
    assert!(found("headwater_requests_total") >= 3.0);
    assert_eq!(found("headwater_request_errors_total"), 0.0);
    assert!(found("headwater_received_bytes_total") > 500.0);
    assert!(found("headwater_sent_bytes_total") > 100.0);
    assert_eq!(found("headwater_healthy"), 1.0);
    assert!(found("headwater_uptime_seconds") >= 0.0);
    assert!(found("headwater_start_time_seconds") > 1_700_000_000.0);
    let version = format!(
        "headwater_build_info{{version=\"{}\"}}",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(found(&version), 1.0);
    broker.close(None).wait(None).unwrap();
}

#[test]
fn what_is_refused_and_what_is_synced_is_counted() {
    let scratch = tempfile::tempdir().unwrap();
    let mut config = Config::folder(scratch.path());
    config.options.listen = Some(vec!["127.0.0.1:0".to_owned()]);
    let broker = started(config);
    let db = connect(&broker);
    let topic = || db.admin().create_topic("orders", TopicOptions::default());
    topic().wait(None).unwrap();
    topic().wait(None).unwrap_err();
    send(&db, "orders", 1);
    let series = ask(&broker, "GET", "/metrics").series();
    assert_eq!(series["headwater_request_errors_total"], 1.0);
    assert!(series["headwater_log_syncs_total"] >= 1.0, "{series:?}");
    assert!(
        series["headwater_log_sync_seconds_total"] > 0.0,
        "{series:?}"
    );
    broker.close(None).wait(None).unwrap();
}

#[test]
fn more_topics_than_are_listed_are_told_as_a_number() {
    let broker = started(Config::memory());
    let db = connect(&broker);
    let many = TopicOptions {
        partitions: Some(4_000),
        ..TopicOptions::default()
    };
    for name in ["a", "b", "c"] {
        let mut created = db.admin().create_topic(name, many.clone());
        created.wait(None).unwrap();
    }
    let mut created = db.admin().create_topic("d", TopicOptions::default());
    created.wait(None).unwrap();
    let series = ask(&broker, "GET", "/metrics").series();
    assert_eq!(series["headwater_topics"], 4.0);
    assert_eq!(series["headwater_partitions"], 12_001.0);
    assert_eq!(series["headwater_topics_not_listed"], 2.0);
    assert!(series.contains_key("headwater_topic_partitions{topic=\"b\"}"));
    assert!(!series.contains_key("headwater_topic_partitions{topic=\"d\"}"));
    broker.close(None).wait(None).unwrap();
}

#[test]
fn a_broker_that_works_is_healthy() {
    let broker = started(Config::memory());
    let answer = ask(&broker, "GET", "/healthz?verbose=1").with("200 OK");
    assert_eq!(answer.body, "ok\n");
    let head = ask(&broker, "HEAD", "/healthz").with("200 OK");
    assert_eq!((&*head.body, &*head.headers["content-length"]), ("", "3"));
    let head = ask(&broker, "HEAD", "/metrics").with("200 OK");
    assert_eq!(head.body, "");
    broker.close(None).wait(None).unwrap();
}

#[test]
fn a_broker_whose_log_has_stopped_says_why() {
    let scratch = tempfile::tempdir().unwrap();
    let data = scratch.path().join("data");
    let mut config = Config::folder(&data);
    config.options.listen = Some(vec!["127.0.0.1:0".to_owned()]);
    config.options.set("segment_bytes", "1048576").unwrap();
    let broker = started(config);
    let db = connect(&broker);
    let mut created = db.admin().create_topic("orders", TopicOptions::default());
    created.wait(None).unwrap();
    ask(&broker, "GET", "/healthz").with("200 OK");
    // The next segment has no folder to begin in.
    std::fs::remove_dir_all(&data).unwrap();
    let producer = db.producer(ProducerOptions::default()).unwrap();
    let value = vec![b'x'; 100_000];
    let failed = (0..100).find_map(|_| {
        let sent = producer.send("orders", &Record::new(&value)).unwrap();
        sent.wait(None).err()
    });
    assert_eq!(failed.unwrap().kind(), ErrorKind::Storage);
    let answer = ask(&broker, "GET", "/healthz").with("503 Service Unavailable");
    assert!(answer.body.contains("data"), "{answer:?}");
    let series = ask(&broker, "GET", "/metrics").with("200 OK").series();
    assert_eq!(series["headwater_healthy"], 0.0);
    broker.close(None).wait(None).unwrap_err();
}

#[test]
fn what_is_not_there_and_what_is_not_done_is_told_in_words() {
    let broker = started(Config::memory());
    for path in ["/", "/metric", "/metrics/", "/healthz/x", "*"] {
        let answer = ask(&broker, "GET", path).with("404 Not Found");
        assert!(answer.body.contains("/healthz"), "{answer:?}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"] {
        let answer = ask(&broker, method, "/metrics").with("405 Method Not Allowed");
        assert_eq!(answer.headers["allow"], "GET, HEAD");
        assert!(answer.body.contains("GET or HEAD"), "{answer:?}");
    }
    let body = "x".repeat(100_000);
    let post = format!("POST /metrics HTTP/1.1\r\nContent-Length: 100000\r\n\r\n{body}");
    let mut stream = dial(&broker);
    stream.write_all(post.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    Answer::of(&answer).with("405 Method Not Allowed");
    let http2 = ask_in_pieces(&broker, &["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]);
    assert!(http2.status.starts_with("HTTP/1.1 400 "), "{http2:?}");
    broker.close(None).wait(None).unwrap();
}

#[test]
fn a_head_comes_in_pieces_and_a_connection_is_used_again() {
    let broker = started(Config::memory());
    let request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let pieces: Vec<_> = (0..request.len()).map(|at| &request[at..=at]).collect();
    ask_in_pieces(&broker, &pieces).with("200 OK");

    let mut stream = dial(&broker);
    for _ in 0..3 {
        stream.write_all(b"GET /healthz HTTP/1.1\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\nok\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            answer.push(byte[0]);
        }
    }
    // Several at once, the last of which ends it.
    let three = "GET /healthz HTTP/1.1\r\n\r\n".repeat(2) + request;
    stream.write_all(three.as_bytes()).unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    assert_eq!(answers.matches("\r\n\r\nok\n").count(), 3, "{answers}");
    broker.close(None).wait(None).unwrap();
}

#[test]
fn a_huge_head_is_refused() {
    let broker = started(Config::memory());
    let long = format!(
        "GET /healthz HTTP/1.1\r\nX: {}\r\n\r\n",
        "x".repeat(64 * 1_024)
    );
    let many = format!(
        "GET /healthz HTTP/1.1\r\n{}\r\n",
        (0..200)
            .map(|number| format!("X{number}: x\r\n"))
            .collect::<String>()
    );
    for head in [long, many] {
        let answer = ask_in_pieces(&broker, &[&head]);
        answer.with("431 Request Header Fields Too Large");
    }
    broker.close(None).wait(None).unwrap();
}

#[test]
fn half_requests_and_native_clients_do_not_disturb_each_other() {
    let broker = started(Config::memory());
    let db = connect(&broker);
    let mut halves: Vec<_> = (0..10).map(|_| dial(&broker)).collect();
    for (number, half) in halves.iter_mut().enumerate() {
        let request = b"GET /healthz HTTP/1.1\r\nHost: local";
        half.write_all(&request[..number * 3]).unwrap();
    }
    send(&db, "orders", 10);
    ask(&broker, "GET", "/healthz").with("200 OK");
    for half in &halves[5..] {
        half.shutdown(Shutdown::Both).unwrap();
    }
    drop(halves);
    send(&db, "orders", 10);
    let topic = db.admin().describe_topic("orders").wait(None).unwrap();
    assert_eq!(topic.partitions[0].high_watermark, 20);
    broker.close(None).wait(None).unwrap();
}

#[test]
fn http_counts_among_the_connections_and_is_refused_in_http() {
    let mut config = Config::memory();
    config.options.max_connections = Some(1);
    let broker = started(config);
    let db = connect(&broker);
    let refused = ask(&broker, "GET", "/healthz").with("503 Service Unavailable");
    assert!(refused.body.contains("max_connections"), "{refused:?}");
    db.close(None).wait(None).unwrap();
    // The broker notices the end a moment later.
    let answer = loop {
        let answer = ask(&broker, "GET", "/metrics");
        if answer.status.contains("200") {
            break answer;
        }
    };
    assert!(answer.series()["headwater_connections_refused_total"] >= 1.0);
    broker.close(None).wait(None).unwrap();
}

#[test]
fn closing_does_not_wait_for_who_asks_nothing() {
    let broker = started(Config::memory());
    let (silent, mut idle) = (dial(&broker), dial(&broker));
    idle.write_all(b"GET /healthz HTTP/1.1\r\n\r\n").unwrap();
    idle.read_exact(&mut [0; 15]).unwrap();
    broker.close(None).wait(None).unwrap();
    let mut rest = Vec::new();
    // A reset is an end too.
    let _ = idle.read_to_end(&mut rest);
    drop(silent);
}
