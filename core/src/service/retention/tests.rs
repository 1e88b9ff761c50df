//! What limits leave, by extents made up.

use super::*;
use crate::engine::topic_config::TopicDefaults;
use crate::ids::{Durability, PartitionId};
use crate::record::{BatchBuilder, RecordRef};

const NOW_MS: i64 = 1_000_000_000;

fn config(retention_ms: i64, retention_bytes: i64) -> TopicConfig {
    let defaults = TopicDefaults {
        durability: Durability::Os,
        retention_ms: -1,
    };
    let mut config = TopicConfig::new(defaults);
    config.retention_ms = retention_ms;
    config.retention_bytes = retention_bytes;
    config
}

/// Segments of ten records and 100 bytes each, the last batch of each appended so long ago.
fn extents(ages_ms: &[i64]) -> Vec<Extent> {
    let extents = (0..).zip(ages_ms).map(|(at, age_ms)| Extent {
        first_offset: at * 10,
        next_offset: at * 10 + 10,
        max_append_time_ms: NOW_MS - age_ms,
        size_bytes: 100,
    });
    extents.collect()
}

fn start(ages_ms: &[i64], config: &TopicConfig, log_start_offset: i64) -> i64 {
    start_by_limits(&extents(ages_ms), config, NOW_MS, log_start_offset)
}

#[test]
fn segments_that_are_old_as_a_whole_go() {
    let ages = [500, 400, 300, 200, 0];
    for (retention_ms, left) in [(1, 40), (199, 40), (200, 30), (350, 20), (500, 0), (-1, 0)] {
        assert_eq!(
            start(&ages, &config(retention_ms, -1), 0),
            left,
            "{retention_ms}"
        );
    }
    assert_eq!(start(&[9, 8], &config(1, -1), 0), 20);
}

#[test]
fn what_was_cut_off_before_stays_cut_off() {
    assert_eq!(start(&[500, 400, 0], &config(450, -1), 15), 15);
    assert_eq!(start(&[500, 400, 0], &config(350, -1), 15), 20);
    assert_eq!(start(&[], &config(1, 1), 7), 7);
}

#[test]
fn bytes_that_are_left_are_at_least_the_limit() {
    let ages = [0; 5];
    for (retention_bytes, left) in [(1, 40), (100, 40), (101, 30), (250, 20), (500, 0), (501, 0)] {
        assert_eq!(
            start(&ages, &config(-1, retention_bytes), 0),
            left,
            "{retention_bytes}"
        );
    }
    // Half of the first segment is cut off: it still counts as held.
    assert_eq!(start(&ages, &config(-1, 400), 5), 10);
}

#[test]
fn both_limits_hold() {
    let ages = [500, 400, 300, 200, 0];
    assert_eq!(start(&ages, &config(350, 100), 0), 40);
    assert_eq!(start(&ages, &config(350, 300), 0), 20);
    assert_eq!(start(&ages, &config(150, 400), 0), 40);
}

#[test]
fn clock_that_was_ahead_is_put_right_by_what_came_later() {
    const AHEAD: i64 = -400 * DAY_MS;
    // The second was written while the clock was a year ahead; the third says when that was over.
    assert_eq!(start(&[500, AHEAD, 300, 0], &config(200, -1), 0), 30);
    assert_eq!(start(&[500, AHEAD, 100, 0], &config(200, -1), 0), 10);
    // Nothing came later: it counts as now.
    assert_eq!(start(&[500, AHEAD], &config(200, -1), 0), 10);
}

#[test]
fn producers_are_looked_at_now_and_then_or_when_they_are_too_many() {
    let options = crate::service::ServiceOptions::default();
    let service = crate::service::Service::open_memory("", &options).unwrap();
    let inner = &service.inner;
    let open = control::PartitionOpen {
        topic: [1; 16],
        partition: 0,
        start_offset: 0,
    };
    let append = |kind, payload| {
        let (completion, mut pending) = Completion::pair();
        inner.append_encoded(kind, PartitionId(900), payload, None, Run::Here, completion);
        pending.wait(None).unwrap();
    };
    append(Kind::PartitionOpen, postcard::to_stdvec(&open).unwrap());
    let now_ms = (inner.clock)();
    inner.expire_producers(now_ms, 2);
    for producer_id in 0..3 {
        let mut builder = BatchBuilder::new(100);
        builder.push(&RecordRef::default()).unwrap();
        append(Kind::Records, builder.finish(producer_id, 0, 0).unwrap());
    }
    assert!(!inner.expire_producers(now_ms + 1, 3));
    assert_eq!(inner.log.producer_count(), 3);
    // One too many, although it is not time for a look.
    inner.expire_producers(now_ms + 1, 2);
    assert_eq!(inner.log.producer_count(), 2);
    let later_ms = now_ms + PRODUCER_ID_EXPIRATION_MS;
    inner.expire_producers(later_ms - EXPIRY_INTERVAL_MS, 2);
    assert_eq!(inner.log.producer_count(), 2);
    inner.expire_producers(later_ms + EXPIRY_INTERVAL_MS, 2);
    assert_eq!(inner.log.producer_count(), 0);
    service.close().unwrap();
}
