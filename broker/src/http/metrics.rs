//! The broker's figures in Prometheus' text format, version 0.0.4.
//!
//! ```text
//! # HELP headwater_topics Topics.
//! # TYPE headwater_topics gauge
//! headwater_topics 3
//! ```
//!
//! What the log counts is named in a table, so that a figure has one line here and nothing is written twice. Topics
//! have series of their own up to a limit, so that no number of topics makes an answer without end.

use std::fmt::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use headwater::limits::{METRICS_PARTITIONS_MAX, METRICS_TOPICS_MAX};
use headwater::protocol::version::SOFTWARE_VERSION;
use headwater::runtime;
use headwater::service::TopicFigures;

use super::Inner;
use crate::listen::{RequestFigures, Spoken};

const GAUGE: &str = "gauge";
const COUNTER: &str = "counter";

/// The figures of `Service::metrics`: their name there, here, the type and the help.
#[rustfmt::skip]
const LOG: [(&str, &str, &str, &str); 19] = [
    ("log_threads", "headwater_log_threads", GAUGE, "Threads of the log."),
    ("log_segments", "headwater_log_segments", GAUGE, "Segments of the log."),
    ("log_size_bytes", "headwater_log_size_bytes", GAUGE, "Bytes of all segments."),
    ("log_dropped_records", "headwater_log_dropped_records_total", COUNTER, "Records that had to go because max_bytes was reached."),
    ("log_index_bytes", "headwater_log_index_bytes", GAUGE, "Bytes in memory that say what lies where in the log."),
    ("log_written_index", "headwater_log_written_index", GAUGE, "Index of the last entry written."),
    ("log_synced_index", "headwater_log_synced_index", GAUGE, "Index of the last entry that is synced."),
    ("log_term", "headwater_log_term", GAUGE, "Term of the log, which is the leader epoch of what is appended."),
    ("log_void_entries", "headwater_log_void_entries", GAUGE, "Entries of the log that had no effect."),
    ("log_producers", "headwater_log_producers", GAUGE, "Producers remembered, each once for every partition that it appended to."),
    ("log_appended_batches", "headwater_log_appended_batches_total", COUNTER, "Record batches appended since the log was opened."),
    ("log_appended_records", "headwater_log_appended_records_total", COUNTER, "Records appended since the log was opened."),
    ("log_appended_bytes", "headwater_log_appended_bytes_total", COUNTER, "Bytes written to the log since it was opened."),
    ("log_syncs", "headwater_log_syncs_total", COUNTER, "Rounds of syncing since the log was opened."),
    ("log_sync_seconds", "headwater_log_sync_seconds_total", COUNTER, "Seconds that syncing took; by the syncs, how long one takes."),
    ("tail_cache_bytes", "headwater_tail_cache_bytes", GAUGE, "Bytes of recent batches in memory."),
    ("topics", "headwater_topics", GAUGE, "Topics."),
    ("groups", "headwater_groups", GAUGE, "Consumer groups."),
    ("group_members", "headwater_group_members", GAUGE, "Members of all consumer groups."),
];

/// All there is to say.
pub(super) fn of(broker: &Inner) -> String {
    let mut page = Page::default();
    let others: Vec<_> = broker.others.iter().map(|other| other()).collect();
    about_broker(&mut page, broker);
    about_connections(&mut page, broker, &others);
    for other in &others {
        about_other(&mut page, other);
    }
    let figures = broker.service.metrics();
    for (source, name, kind, help) in LOG {
        if let Some((_, value)) = figures.iter().find(|(found, _)| *found == source) {
            page.one(name, kind, help, value);
        }
    }
    about_topics(&mut page, broker);
    page.0
}

fn about_broker(page: &mut Page, broker: &Inner) {
    let version = escaped(SOFTWARE_VERSION);
    page.family(
        "headwater_build_info",
        GAUGE,
        "Always 1; the version of the broker is the label.",
    );
    page.line(
        "headwater_build_info",
        &format!("{{version=\"{version}\"}}"),
        1,
    );
    let uptime = broker.started.elapsed();
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let started = now.unwrap_or_default().saturating_sub(uptime);
    page.one(
        "headwater_start_time_seconds",
        GAUGE,
        "When the broker started, in seconds since 1970 UTC.",
        started.as_secs_f64(),
    );
    page.one(
        "headwater_uptime_seconds",
        GAUGE,
        "Seconds since the broker started.",
        uptime.as_secs_f64(),
    );
    page.one(
        "headwater_network_threads",
        GAUGE,
        "Threads of the process for sockets, of all brokers and clients in it.",
        runtime::thread_count(),
    );
    page.one(
        "headwater_healthy",
        GAUGE,
        "1 while the log takes appends; 0 when it has stopped, and /healthz says why.",
        u8::from(broker.service.health().is_ok()),
    );
}

fn about_connections(page: &mut Page, broker: &Inner, others: &[Spoken]) {
    let counts = &broker.counts;
    let (requests, refused) = broker.server.request_counts();
    let open = "headwater_connections";
    page.family(open, GAUGE, "Connections that are open, by protocol.");
    page.line(
        open,
        "{protocol=\"native\"}",
        broker.server.connection_count(),
    );
    page.line(open, "{protocol=\"http\"}", broker.connection_count());
    for Spoken {
        protocol,
        connections,
        ..
    } in others
    {
        page.line(open, &format!("{{protocol=\"{protocol}\"}}"), connections);
    }
    for (name, help, count) in [
        (
            "headwater_connections_accepted_total",
            "Connections accepted, those included that were refused then.",
            counts.accepted.now(),
        ),
        (
            "headwater_connections_refused_total",
            "Connections refused because max_connections were there.",
            counts.refused.now(),
        ),
        (
            "headwater_requests_total",
            "Requests of the native protocol.",
            requests,
        ),
        (
            "headwater_request_errors_total",
            "Requests of the native protocol that were answered with an error.",
            refused,
        ),
        (
            "headwater_received_bytes_total",
            "Bytes read from all connections.",
            counts.received_bytes.now(),
        ),
        (
            "headwater_sent_bytes_total",
            "Bytes written to all connections.",
            counts.sent_bytes.now(),
        ),
    ] {
        page.one(name, COUNTER, help, count);
    }
}

/// Figures of APIs by themselves: the end of the name, the help, and which figure it is.
type ApiRow = (&'static str, &'static str, fn(&RequestFigures) -> f64);

/// What was asked in another protocol, API by API.
fn about_other(page: &mut Page, spoken: &Spoken) {
    let protocol = spoken.protocol;
    let prefix = format!("headwater_{protocol}");
    for (name, help, count) in [
        (
            "received_bytes_total",
            "Bytes of requests of another protocol.",
            spoken.received_bytes,
        ),
        (
            "sent_bytes_total",
            "Bytes of answers in another protocol.",
            spoken.sent_bytes,
        ),
        (
            "file_reads_total",
            "Reads of batches that were not in memory any more, for requests of another protocol.",
            spoken.file_reads,
        ),
    ] {
        page.one(&format!("{prefix}_{name}"), COUNTER, help, count);
    }
    let figures: [ApiRow; 3] = [
        ("requests_total", "Requests answered, by API.", |of| {
            of.requests as f64
        }),
        (
            "request_errors_total",
            "Requests whose answer has an error in it, or that ended their connection, by API.",
            |of| of.errors as f64,
        ),
        (
            "request_seconds_total",
            "Seconds from request to answer, by API; by the requests, how long one takes. Long polls wait in it.",
            |of| of.seconds,
        ),
    ];
    for (name, help, figure) in figures {
        let name = format!("{prefix}_{name}");
        page.family(&name, COUNTER, help);
        for of_api in &spoken.requests {
            let label = format!("{{api=\"{}\"}}", of_api.api);
            page.line(&name, &label, figure(of_api));
        }
    }
}

/// Figures of topics by themselves: the name, the type, the help, and which figure it is.
type TopicRow = (
    &'static str,
    &'static str,
    &'static str,
    fn(&TopicFigures) -> u64,
);

#[rustfmt::skip]
const TOPIC: [TopicRow; 4] = [
    ("headwater_topic_partitions", GAUGE, "Partitions of a topic.", |topic| topic.partitions),
    ("headwater_topic_appended_records_total", COUNTER, "Records appended to a topic since it was created.", |topic| topic.appended_records),
    ("headwater_topic_held_records", GAUGE, "Records of a topic from its first offset to its high watermark; what compaction took out counts.", |topic| topic.held_records),
    ("headwater_topic_size_bytes", GAUGE, "Bytes of a topic in the log.", |topic| topic.size_bytes),
];

fn about_topics(page: &mut Page, broker: &Inner) {
    let figures = broker
        .service
        .topics_figures(METRICS_TOPICS_MAX, METRICS_PARTITIONS_MAX);
    page.one(
        "headwater_partitions",
        GAUGE,
        "Partitions of all topics.",
        figures.partitions,
    );
    page.one(
        "headwater_topics_not_listed",
        GAUGE,
        &format!(
            "Topics that have no series of their own: the first by name have, {METRICS_TOPICS_MAX} topics and \
             {METRICS_PARTITIONS_MAX} partitions at most."
        ),
        figures.topics - figures.listed.len() as u64,
    );
    for (name, kind, help, figure) in TOPIC {
        page.family(name, kind, help);
        for topic in &figures.listed {
            let label = format!("{{topic=\"{}\"}}", escaped(&topic.name));
            page.line(name, &label, figure(topic));
        }
    }
}

/// Lines of text. A family's lines stand together.
#[derive(Default)]
struct Page(String);

impl Page {
    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl fmt::Display) {
        self.family(name, kind, help);
        self.line(name, "", value);
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &str, value: impl fmt::Display) {
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }
}

/// As it stands in a label: the format has three characters that are escaped.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use headwater::service::{Service, ServiceOptions};

    use super::*;

    #[test]
    fn every_figure_of_the_log_is_told() {
        let service = Service::open_memory("", &ServiceOptions::default()).unwrap();
        let figures: Vec<_> = service.metrics().iter().map(|(name, _)| *name).collect();
        let told: Vec<_> = LOG.iter().map(|(source, ..)| *source).collect();
        assert_eq!(figures, told);
        service.close().unwrap();
    }

    #[test]
    fn a_label_holds_any_text() {
        assert_eq!(escaped("a\\b\"c\nd"), "a\\\\b\\\"c\\nd");
    }
}
