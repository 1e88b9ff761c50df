//! Records found by their timestamps.

use std::sync::Arc;

use headwater::engine::partition::Partition;
use headwater::service::WantedTime;

use super::*;

fn search(service: &Service, partition: &Arc<Partition>, wanted: WantedTime) -> Option<(i64, i64)> {
    let (completion, mut pending) = Completion::pair();
    service.search(partition, wanted, completion);
    let found = pending.wait(None).unwrap();
    found.map(|found| (found.offset, found.timestamp_ms))
}

#[test]
fn records_below_the_log_start_are_found_by_no_time() {
    let service = memory();
    let session = service.session();
    create(&session, "orders", &[]).unwrap();
    for (values, time_ms) in [(&["a", "b"][..], 300), (&["c", "d"], 100), (&["e"], 200)] {
        produce(&session, "orders", batch(values, time_ms, NO_PRODUCER)).unwrap();
    }
    let topic = service.topic("orders").unwrap();
    let partition = topic.partition(0).unwrap();
    let at_time = |time_ms| search(&service, partition, WantedTime::From(time_ms));
    let latest = || search(&service, partition, WantedTime::Largest);
    assert_eq!(
        (at_time(0), at_time(150), latest()),
        (Some((0, 300)), Some((0, 300)), Some((1, 301)))
    );
    // In the middle of a batch, at its end, and behind all.
    for (before, expected) in [
        (1, [Some((1, 301)), Some((1, 301)), Some((1, 301))]),
        (2, [Some((2, 100)), Some((4, 200)), Some((4, 200))]),
        (3, [Some((3, 101)), Some((4, 200)), Some((4, 200))]),
        (5, [None, None, None]),
    ] {
        let before = vec![at("orders", 0, before)];
        ask(&session, Request::DeleteRecords { before }, vec![]).unwrap();
        assert_eq!([at_time(0), at_time(150), latest()], expected);
    }
}

#[test]
fn the_largest_timestamp_is_found_whatever_a_batch_says_of_itself() {
    let service = memory();
    let session = service.session();
    create(&session, "orders", &[]).unwrap();
    // The least that there can be, in a batch that claims the largest.
    let mut bytes = batch(&["a"], 0, NO_PRODUCER);
    bytes[27..35].copy_from_slice(&i64::MIN.to_be_bytes());
    bytes[35..43].copy_from_slice(&i64::MAX.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    produce(&session, "orders", bytes).unwrap();
    let topic = service.topic("orders").unwrap();
    let found = search(&service, topic.partition(0).unwrap(), WantedTime::Largest);
    assert_eq!(found, Some((0, i64::MIN)));
}
