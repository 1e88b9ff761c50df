//! One rule a test.

use super::*;

fn scheduler(settings: Settings) -> Scheduler<()> {
    Scheduler::new(settings, backoff())
}

fn push(scheduler: &mut Scheduler<()>, place: usize, offset: i64, key_hash: Option<u64>) {
    scheduler.push(incoming(place, offset, key_hash)).unwrap();
}

/// The places and offsets of what is taken.
fn take(scheduler: &mut Scheduler<()>, now_ms: u64) -> Vec<(Ticket, usize, i64)> {
    let tickets = scheduler.take(usize::MAX, usize::MAX, now_ms);
    let places = tickets.into_iter().map(|ticket| {
        let held = scheduler.running(ticket).unwrap();
        (ticket, held.place, held.offset)
    });
    places.collect()
}

fn offsets(taken: &[(Ticket, usize, i64)]) -> Vec<i64> {
    taken.iter().map(|(_, _, offset)| *offset).collect()
}

#[test]
fn records_of_one_key_run_one_after_the_other_and_others_beside_them() {
    let mut scheduler = scheduler(settings());
    for (offset, key) in [
        (0, Some(1)),
        (1, Some(1)),
        (2, Some(2)),
        (3, None),
        (4, None),
    ] {
        push(&mut scheduler, 0, offset, key);
    }
    let taken = take(&mut scheduler, 0);
    assert_eq!(offsets(&taken), [0, 2, 3, 4]);
    let settled = scheduler.finish([(taken[0].0, Verdict::Done)], 0);
    assert_eq!(settled.done, [(0, 0)]);
    assert_eq!(offsets(&take(&mut scheduler, 0)), [1]);
}

#[test]
fn with_order_partition_a_partition_is_one_line_whatever_the_keys() {
    let mut scheduler = scheduler(Settings {
        order: Order::Partition,
        ..settings()
    });
    push(&mut scheduler, 0, 0, Some(1));
    push(&mut scheduler, 0, 1, None);
    push(&mut scheduler, 1, 0, None);
    assert_eq!(offsets(&take(&mut scheduler, 0)), [0, 0]);
    assert_eq!(take(&mut scheduler, 0), []);
}

#[test]
fn without_order_records_of_one_key_run_at_once() {
    let mut scheduler = scheduler(Settings {
        order: Order::None,
        ..settings()
    });
    (0..5).for_each(|offset| push(&mut scheduler, 0, offset, Some(1)));
    assert_eq!(offsets(&take(&mut scheduler, 0)), [0, 1, 2, 3]);
}

#[test]
fn a_record_that_pauses_holds_back_its_key_and_nothing_else() {
    let mut scheduler = scheduler(settings());
    push(&mut scheduler, 0, 0, Some(1));
    let first = take(&mut scheduler, 0);
    let settled = scheduler.finish([(first[0].0, Verdict::Retry)], 1_000);
    assert_eq!(settled, Settled::default());
    push(&mut scheduler, 0, 1, Some(1));
    push(&mut scheduler, 0, 2, Some(2));
    assert_eq!(offsets(&take(&mut scheduler, 1_000)), [2]);
    let wake_ms = scheduler.next_wakeup().unwrap();
    assert!((1_080..=1_120).contains(&wake_ms), "{wake_ms}");
    assert_eq!(take(&mut scheduler, wake_ms - 1), []);
    let again = take(&mut scheduler, wake_ms);
    assert_eq!(offsets(&again), [0]);
    assert_eq!(scheduler.running(again[0].0).unwrap().attempts, 2);
    assert_eq!(scheduler.frontiers.of(0), Some(0));
}

#[test]
fn the_last_failure_without_a_dead_letter_topic_stops_everything_and_skips_nothing() {
    let mut scheduler = scheduler(Settings {
        attempts: 1,
        ..settings()
    });
    (0..6).for_each(|offset| push(&mut scheduler, 0, offset, None));
    let taken = take(&mut scheduler, 0);
    let settled = scheduler.finish([(taken[1].0, Verdict::Retry)], 0);
    assert_eq!(settled.stopped_by, Some(taken[1].0));
    assert_eq!(take(&mut scheduler, 0), []);
    assert_eq!(scheduler.next_wakeup(), None);
    // What runs still counts.
    let settled = scheduler.finish(
        [(taken[0].0, Verdict::Done), (taken[2].0, Verdict::Done)],
        0,
    );
    assert_eq!(settled.done, [(0, 0), (0, 2)]);
    assert_eq!(scheduler.unfinished().collect::<Vec<_>>(), [(0, 1)]);
}

#[test]
fn a_record_given_up_by_its_handler_is_not_tried_again() {
    let mut scheduler = scheduler(Settings {
        has_dead_letter: true,
        ..settings()
    });
    push(&mut scheduler, 0, 0, None);
    let taken = take(&mut scheduler, 0);
    let settled = scheduler.finish([(taken[0].0, Verdict::Dead)], 0);
    assert_eq!(settled.letters.len(), 1);
}

#[test]
fn a_record_is_done_when_its_dead_letter_is_acknowledged_and_holds_its_key_until_then() {
    let mut scheduler = scheduler(Settings {
        attempts: 1,
        has_dead_letter: true,
        ..settings()
    });
    push(&mut scheduler, 0, 0, Some(1));
    push(&mut scheduler, 0, 1, Some(1));
    let taken = take(&mut scheduler, 0);
    let settled = scheduler.finish([(taken[0].0, Verdict::Retry)], 0);
    let letter = settled.letters[0];
    assert_eq!((settled.done.len(), letter.ticket), (0, taken[0].0));
    assert_eq!(scheduler.frontiers.of(0), Some(0));
    assert_eq!(take(&mut scheduler, 1_000_000), []);
    assert_eq!(scheduler.buried(letter.record), Some((0, 0)));
    assert_eq!(scheduler.buried(letter.record), None);
    assert_eq!(offsets(&take(&mut scheduler, 0)), [1]);
    assert_eq!(scheduler.frontiers.of(0), Some(1));
}

#[test]
fn what_is_more_than_it_may_hold_is_given_back() {
    let mut by_records = scheduler(Settings {
        max_records: 2,
        ..settings()
    });
    push(&mut by_records, 0, 0, None);
    push(&mut by_records, 0, 1, None);
    let refused = by_records.push(incoming(0, 2, None)).unwrap_err();
    assert_eq!(refused.offset, 2);
    let mut by_bytes = scheduler(Settings {
        max_bytes: 15,
        ..settings()
    });
    push(&mut by_bytes, 0, 0, None);
    assert!(!by_bytes.has_room(10) && by_bytes.has_room(5));
    assert!(by_bytes.push(incoming(0, 1, None)).is_err());
    let taken = take(&mut by_bytes, 0);
    by_bytes.finish([(taken[0].0, Verdict::Done)], 0);
    // Alone, a record may be larger than all there is room for.
    let large = Incoming {
        bytes: 1_000,
        ..incoming(0, 1, None)
    };
    by_bytes.push(large).unwrap();
    assert!(!by_bytes.has_room(0));
}

#[test]
fn a_record_that_came_already_is_given_back() {
    let mut scheduler = scheduler(settings());
    push(&mut scheduler, 0, 5, None);
    assert!(scheduler.push(incoming(0, 5, None)).is_err());
    assert!(scheduler.push(incoming(0, 4, None)).is_err());
    push(&mut scheduler, 1, 4, None);
}

#[test]
fn a_take_is_limited_by_bytes_but_for_its_first_record() {
    let mut scheduler = scheduler(settings());
    (0..4).for_each(|offset| push(&mut scheduler, 0, offset, None));
    assert_eq!(scheduler.take(usize::MAX, 1, 0).len(), 1);
    assert_eq!(scheduler.take(usize::MAX, 20, 0).len(), 2);
}

#[test]
fn a_revoked_partition_is_forgotten_and_its_runs_count_until_they_end() {
    let mut scheduler = scheduler(Settings {
        concurrency: 2,
        ..settings()
    });
    push(&mut scheduler, 0, 0, Some(1));
    push(&mut scheduler, 0, 1, Some(2));
    push(&mut scheduler, 0, 2, Some(2));
    push(&mut scheduler, 1, 7, None);
    let taken = take(&mut scheduler, 0);
    assert_eq!(offsets(&taken), [0, 1]);
    scheduler.revoke(0, 0);
    assert_eq!(scheduler.frontiers.of(0), None);
    assert!(scheduler.running(taken[0].0).is_none());
    // The partition comes back, from the same offset.
    push(&mut scheduler, 0, 0, Some(1));
    assert_eq!(take(&mut scheduler, 0), []);
    let settled = scheduler.finish([(taken[1].0, Verdict::Done)], 0);
    assert_eq!(settled, Settled::default());
    // Its first record waits for the handler that still has it.
    assert_eq!(offsets(&take(&mut scheduler, 0)), [7]);
    scheduler.finish([(taken[0].0, Verdict::Retry)], 0);
    assert_eq!(offsets(&take(&mut scheduler, 0)), [0]);
}

#[test]
fn a_cut_keeps_what_stands_before_it() {
    let mut scheduler = scheduler(settings());
    (0..3).for_each(|offset| push(&mut scheduler, 0, offset, Some(1)));
    let taken = take(&mut scheduler, 0);
    scheduler.revoke(0, 1);
    push(&mut scheduler, 0, 1, Some(1));
    assert_eq!(take(&mut scheduler, 0), []);
    let settled = scheduler.finish([(taken[0].0, Verdict::Done)], 0);
    assert_eq!(settled.done, [(0, 0)]);
    assert_eq!(offsets(&take(&mut scheduler, 0)), [1]);
}

#[test]
fn runs_that_nobody_heard_of_count_as_never_begun() {
    let mut scheduler = scheduler(settings());
    push(&mut scheduler, 0, 0, Some(1));
    push(&mut scheduler, 0, 1, Some(1));
    let taken = take(&mut scheduler, 0);
    scheduler.take_back([taken[0].0]);
    assert_eq!(scheduler.running_count(), 0);
    let again = take(&mut scheduler, 0);
    assert_eq!(offsets(&again), [0]);
    assert_eq!(scheduler.running(again[0].0).unwrap().attempts, 1);
}

#[test]
fn more_is_wanted_while_less_may_run_than_could() {
    let mut scheduler = scheduler(Settings {
        max_records: 10,
        ..settings()
    });
    (0..9).for_each(|offset| push(&mut scheduler, 0, offset, Some(1)));
    assert!(scheduler.wants_more());
    push(&mut scheduler, 0, 9, Some(1));
    assert!(!scheduler.wants_more());
}
