//! What is sent again, as what, and what a log that has forgotten or lost something does to the rest.

use super::*;

fn again(accumulator: &mut Accumulator) -> BatchKey {
    match accumulator.next_dispatch() {
        Some(Dispatch::Again { key, .. }) => key,
        other => panic!("{other:?}"),
    }
}

fn ask_end(accumulator: &mut Accumulator) {
    let asked = accumulator.next_dispatch();
    assert!(
        matches!(
            asked,
            Some(Dispatch::AskEnd {
                topic: 0,
                partition: 0
            })
        ),
        "{asked:?}"
    );
    assert!(accumulator.next_dispatch().is_none());
}

#[test]
fn what_failed_is_sent_again_in_order_after_a_pause_and_nothing_new_before() {
    let mut accumulator = identified(settings());
    let first = batch(&mut accumulator);
    let now = Instant::now();
    push(&mut accumulator, 0, b"second", now);
    let second = batch(&mut accumulator);
    push(&mut accumulator, 0, b"third", now);
    let mut told = Told::default();
    fail(&mut accumulator, &first, lost(), &mut told);
    let wake_at = told.wake_at.expect("a pause ends");
    accumulator.advance(wake_at, &mut told);
    assert!(
        accumulator.next_dispatch().is_none(),
        "the second is on its way still"
    );
    fail(&mut accumulator, &second, lost(), &mut told);
    assert!(told.settled.is_empty());
    let next = accumulator.advance(wake_at, &mut told).unwrap();
    assert!(
        accumulator.next_dispatch().is_none(),
        "it was not long enough"
    );
    accumulator.advance(next, &mut told);
    assert_eq!(again(&mut accumulator), first.key);
    assert_eq!(again(&mut accumulator), second.key);
    assert!(
        accumulator.next_dispatch().is_none(),
        "two are on their way"
    );
    accumulator.acknowledge(first.key, ack(0), &mut told);
    assert_eq!(batch(&mut accumulator).builder.record_count(), 1);
}

#[test]
fn a_delivery_whose_attempts_all_failed_says_so_and_what_may_have_happened() {
    let mut accumulator = identified(settings());
    let start = Instant::now();
    let first = batch(&mut accumulator);
    let mut told = Told::default();
    let busy = Error::new(ErrorCode::BufferFull, "the log is busy");
    fail(&mut accumulator, &first, busy, &mut told);
    accumulator.advance(start + Duration::from_secs(121), &mut told);
    let error = told.settled.pop().unwrap().result.unwrap_err();
    assert_eq!(
        (error.code(), error.outcome()),
        (ErrorCode::DeliveryTimedOut, Outcome::NotDone)
    );
    assert!(error.message().contains("the log is busy"), "{error}");
    assert_eq!(accumulator.outstanding_records(), 0);
}

#[test]
fn a_log_that_has_forgotten_an_idle_producer_is_sent_the_batch_as_the_first_of_an_epoch() {
    let mut accumulator = identified(settings());
    let now = Instant::now();
    let first = batch(&mut accumulator);
    let mut told = Told::default();
    accumulator.acknowledge(first.key, ack(10), &mut told);
    push(&mut accumulator, 0, b"second", now);
    let mut second = batch(&mut accumulator);
    let bytes = second.builder.finish(7, 0, second.base_sequence).unwrap();
    let unknown = Error::new(ErrorCode::UnknownProducerId, "forgotten");
    accumulator.fail(second.key, unknown, Some(bytes.into()), now, &mut told);
    ask_end(&mut accumulator);
    accumulator.log_end(0, 0, Ok(11), now, &mut told);
    let Some(Dispatch::Again { key, payload }) = accumulator.next_dispatch() else {
        panic!("nothing is sent again");
    };
    assert_eq!(key, second.key);
    let batch = Batch::verified(payload).unwrap();
    let header = batch.header();
    assert_eq!(
        (
            header.producer_id,
            header.producer_epoch,
            header.base_sequence
        ),
        (7, 1, 0)
    );
    accumulator.acknowledge(key, ack(11), &mut told);
    assert!(told.settled.iter().all(|it| it.result.is_ok()));
}

#[test]
fn a_log_that_lost_what_it_had_acknowledged_ends_what_is_behind_and_the_producer_goes_on() {
    for (error, end) in [
        (Error::new(ErrorCode::UnknownProducerId, "forgotten"), 10),
        // Others may have written since: that the end is far enough proves nothing.
        (out_of_order(), 99),
    ] {
        let mut accumulator = identified(settings());
        let now = Instant::now();
        let first = batch(&mut accumulator);
        let mut told = Told::default();
        accumulator.acknowledge(first.key, ack(10), &mut told);
        push(&mut accumulator, 0, b"second", now);
        let second = batch(&mut accumulator);
        push(&mut accumulator, 0, b"third", now);
        fail(&mut accumulator, &second, error, &mut told);
        ask_end(&mut accumulator);
        told.settled.clear();
        accumulator.log_end(0, 0, Ok(end), now, &mut told);
        let errors: Vec<_> = told
            .settled
            .iter()
            .map(|it| it.result.as_ref().unwrap_err())
            .map(|error| (error.code(), error.outcome()))
            .collect();
        assert_eq!(errors, [(ErrorCode::LogTruncated, Outcome::NotDone); 2]);
        push(&mut accumulator, 0, b"fourth", now);
        let next = batch(&mut accumulator);
        assert_eq!((next.stamp.producer_epoch, next.base_sequence), (1, 0));
    }
}

/// Offset 10 is acknowledged, and the first batch of an epoch is on its way.
fn beginning_an_epoch(now: Instant) -> (Accumulator, Outgoing) {
    let mut accumulator = about_to_begin_an_epoch(now);
    accumulator.log_end(0, 0, Ok(11), now, &mut Told::default());
    let third = batch(&mut accumulator);
    assert_eq!((third.stamp.producer_epoch, third.base_sequence), (1, 0));
    (accumulator, third)
}

/// A log that crashes now has lost what it had acknowledged, and takes the batch that begins an epoch all the same.
#[test]
fn a_batch_that_comes_before_what_was_acknowledged_has_the_loss_told_with_the_next() {
    for (offset, is_lost) in [(11, false), (10, true), (4, true)] {
        let (now, mut told) = (Instant::now(), Told::default());
        let (mut accumulator, third) = beginning_an_epoch(now);
        fail(&mut accumulator, &third, lost(), &mut told);
        let wake_at = told.wake_at.expect("a pause ends");
        accumulator.advance(wake_at, &mut told);
        assert_eq!(again(&mut accumulator), third.key);
        accumulator.acknowledge(third.key, ack(offset), &mut told);
        assert!(told.settled.pop().unwrap().result.is_ok());
        push(&mut accumulator, 0, b"fourth", now);
        if is_lost {
            ask_end(&mut accumulator);
            // Others may have written since: that the end is far enough proves nothing.
            accumulator.log_end(0, 0, Ok(99), now, &mut told);
            let error = told.settled.pop().unwrap().result.unwrap_err();
            assert_eq!(
                (error.code(), error.outcome()),
                (ErrorCode::LogTruncated, Outcome::NotDone)
            );
            assert!(
                error
                    .message()
                    .contains(&format!("went on at offset {offset}"))
            );
            push(&mut accumulator, 0, b"fifth", now);
        }
        let next = batch(&mut accumulator);
        let expected = if is_lost { (2, 0) } else { (1, 1) };
        assert_eq!((next.stamp.producer_epoch, next.base_sequence), expected);
        accumulator.acknowledge(next.key, ack(offset + 1), &mut told);
        push(&mut accumulator, 0, b"last", now);
        batch(&mut accumulator);
    }
}

/// Offset 10 is acknowledged, the batch behind it has failed for good, and with the next one waiting it is asked where
/// the partition ends.
fn about_to_begin_an_epoch(now: Instant) -> Accumulator {
    let mut accumulator = identified(settings());
    let first = batch(&mut accumulator);
    let mut told = Told::default();
    accumulator.acknowledge(first.key, ack(10), &mut told);
    push(&mut accumulator, 0, b"second", now);
    let second = batch(&mut accumulator);
    fail(&mut accumulator, &second, refused(), &mut told);
    push(&mut accumulator, 0, b"third", now);
    ask_end(&mut accumulator);
    accumulator
}

/// What a crash had taken back went unnoticed when the next batch was the first of an epoch: the log takes any such.
#[test]
fn a_producer_that_begins_an_epoch_asks_first_whether_what_was_acknowledged_is_there() {
    for (end, is_lost) in [(11, false), (10, true)] {
        let (now, mut told) = (Instant::now(), Told::default());
        let mut accumulator = about_to_begin_an_epoch(now);
        accumulator.log_end(0, 0, Ok(end), now, &mut told);
        if is_lost {
            let error = told.settled.pop().unwrap().result.unwrap_err();
            assert_eq!(
                (error.code(), error.outcome()),
                (ErrorCode::LogTruncated, Outcome::NotDone)
            );
            push(&mut accumulator, 0, b"fourth", now);
        }
        assert!(told.settled.is_empty());
        let next = batch(&mut accumulator);
        let epoch = 1 + i16::from(is_lost);
        assert_eq!((next.stamp.producer_epoch, next.base_sequence), (epoch, 0));
        // Once is enough.
        accumulator.acknowledge(next.key, ack(end), &mut told);
        push(&mut accumulator, 0, b"fifth", now);
        assert!(batch(&mut accumulator).base_sequence > 0);
    }
}

/// A loss was found out for a batch whose time was over by then, and was told to nobody.
#[test]
fn a_loss_that_nobody_waits_to_be_told_of_is_told_to_the_next() {
    let (now, mut told) = (Instant::now(), Told::default());
    let mut accumulator = about_to_begin_an_epoch(now);
    accumulator.advance(now + Duration::from_secs(121), &mut told);
    told.settled.clear();
    accumulator.log_end(0, 0, Ok(10), now, &mut told);
    assert!(told.settled.is_empty());
    push(&mut accumulator, 0, b"fourth", now);
    ask_end(&mut accumulator);
    accumulator.log_end(0, 0, Ok(10), now, &mut told);
    let error = told.settled.pop().unwrap().result.unwrap_err();
    assert_eq!(error.code(), ErrorCode::LogTruncated);
}

#[test]
fn a_partition_whose_epochs_are_used_up_gets_a_producer_id_of_its_own() {
    let mut accumulator = identified(settings());
    let last = Stamp {
        producer_id: 7,
        producer_epoch: i16::MAX,
    };
    accumulator.topics.queue_mut(0, 0).stamp = Some(last);
    let mut told = Told::default();
    let first = batch(&mut accumulator);
    fail(&mut accumulator, &first, refused(), &mut told);
    push(&mut accumulator, 0, b"second", Instant::now());
    assert!(matches!(
        accumulator.next_dispatch(),
        Some(Dispatch::Identify)
    ));
    let other = Stamp {
        producer_id: 8,
        producer_epoch: 0,
    };
    accumulator.identified(Ok(other), Instant::now(), &mut told);
    assert_eq!(batch(&mut accumulator).stamp, other);
}

#[test]
fn a_producer_id_that_cannot_be_had_now_is_asked_for_again() {
    let mut accumulator = known(settings());
    let now = Instant::now();
    push(&mut accumulator, 0, b"x", now);
    let mut told = Told::default();
    assert!(matches!(
        accumulator.next_dispatch(),
        Some(Dispatch::Identify)
    ));
    accumulator.identified(Err(lost()), now, &mut told);
    assert!(told.settled.is_empty() && accumulator.next_dispatch().is_none());
    accumulator.advance(told.wake_at.unwrap(), &mut told);
    assert!(matches!(
        accumulator.next_dispatch(),
        Some(Dispatch::Identify)
    ));
    accumulator.identified(Err(refused()), now, &mut told);
    assert_eq!(told.settled.len(), 1);
}

#[test]
fn what_waits_before_a_failed_batch_is_sent_again_and_nothing_new_before_it() {
    // A batch that was refused took along what waited before it too.
    let mut accumulator = identified(settings());
    let first = batch(&mut accumulator);
    let now = Instant::now();
    push(&mut accumulator, 0, b"second", now);
    let second = batch(&mut accumulator);
    push(&mut accumulator, 0, b"queued", now);
    let mut told = Told::default();
    fail(&mut accumulator, &first, lost(), &mut told);
    fail(&mut accumulator, &second, refused(), &mut told);
    assert_eq!(told.settled.len(), 2, "the second and what is behind it");
    push(&mut accumulator, 0, b"third", now);
    assert!(
        accumulator.next_dispatch().is_none(),
        "the pause is not over"
    );
    accumulator.advance(told.wake_at.expect("a pause ends"), &mut told);
    assert_eq!(again(&mut accumulator), first.key);
    assert!(
        accumulator.next_dispatch().is_none(),
        "under the next epoch it would shut the first out"
    );
    // It may fail once more, and is of the old epoch still.
    fail(&mut accumulator, &first, lost(), &mut told);
    let at = accumulator.advance(now, &mut told).unwrap();
    accumulator.advance(at, &mut told);
    assert_eq!(again(&mut accumulator), first.key);
    accumulator.acknowledge(first.key, ack(0), &mut told);
    assert!(told.settled.pop().unwrap().result.is_ok());
    ask_end(&mut accumulator);
    accumulator.log_end(0, 0, Ok(1), now, &mut told);
    let third = batch(&mut accumulator);
    assert_eq!((third.stamp.producer_epoch, third.base_sequence), (1, 0));
}
