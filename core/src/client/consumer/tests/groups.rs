//! The consumer as a member of a group: what it is given, gives up, and loses.

use super::*;

#[test]
fn a_commit_that_is_refused_is_told_and_the_group_says_what_comes_of_it() {
    let (fake, consumer) = reading(grouped());
    let _ = consumer.progress(2);
    let mut commit = consumer.commit();
    let fenced = Error::new(ErrorCode::IllegalGeneration, "not of this generation");
    fake.next().unwrap().fail(fenced.clone());
    assert_eq!(commit.try_take(), Some(Err(fenced)));
    // It is removed, joins under another id, and goes on where the group has committed.
    let removed = Error::new(ErrorCode::UnknownMemberId, "silent for 46 s");
    let asked = fake.heartbeat().unwrap();
    asked.completion.finish(Err(removed));
    fake.run_jobs();
    assert_eq!(consumer.assignment(), []);
    let said = assign(&fake, 9, &[at(1)]);
    assert_eq!((said.generation, said.owned), (0, Vec::new()));
    assert_eq!(consumer.positions(), [at(1)]);
    assert_eq!(fake.feed().assigned(), [at(1).into()]);
    assert_eq!(consumer.state().counters.memberships_lost.now(), 1);
}

#[test]
fn what_was_refused_as_of_an_older_generation_is_committed_again_while_it_is_held() {
    // Where nothing more came, the last records that a member had read before a rebalance were never committed.
    let options = ConsumerOptions {
        commit_interval_ms: Some(10),
        ..grouped()
    };
    let (fake, consumer) = reading(options);
    let _ = consumer.progress(2);
    let asked = || loop {
        fake.run_jobs();
        match fake.next() {
            Some(asked) => break asked,
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    asked().fail(Error::new(ErrorCode::IllegalGeneration, "of an older one"));
    assert_eq!(committed(&asked()), [2]);
}

#[test]
fn a_commit_that_no_request_holds_goes_in_several_before_the_next_and_is_tried_again_where_it_failed()
 {
    // It made a frame with more than 1 MiB of header, and failed for ever.
    let (fake, consumer) = reading(grouped());
    let all: Vec<_> = (0..130_000)
        .map(|partition| PartitionOffset {
            partition,
            ..at(i64::MAX)
        })
        .collect();
    let mut first = consumer.commit_offsets(all.clone());
    let mut second = consumer.commit_offsets(vec![at(3)]);
    let mut sent = Vec::new();
    let mut failures = 1;
    while sent.len() < all.len() {
        let asked = fake.next().unwrap();
        let header = postcard::to_stdvec(&asked.request).unwrap();
        assert!(header.len() < crate::limits::FRAME_HEADER_BYTES_MAX);
        let Request::CommitOffsets { offsets, .. } = &asked.request else {
            panic!("{asked:?}");
        };
        if !sent.is_empty() && failures > 0 {
            failures -= 1;
            asked.fail(Error::new(ErrorCode::NetworkException, "lost"));
            while fake.waiting() == 0 {
                std::thread::sleep(Duration::from_millis(1));
                fake.run_jobs();
            }
            continue;
        }
        assert!(first.try_take().is_none());
        sent.extend(offsets.iter().cloned());
        answer(asked);
        fake.run_jobs();
    }
    assert!(sent == all);
    assert_eq!(first.try_take(), Some(Ok(())));
    assert!(second.try_take().is_none());
    let asked = fake.next().unwrap();
    assert_eq!(committed(&asked), [3]);
    answer(asked);
    assert_eq!(second.try_take(), Some(Ok(())));
}

#[test]
fn a_partition_that_is_revoked_is_committed_and_given_up_once_the_host_has_passed_it() {
    let (fake, consumer) = reading(grouped());
    let _ = consumer.progress(4);
    let other = PartitionOffset {
        partition: 1,
        ..at(70)
    };
    assign(&fake, 4, std::slice::from_ref(&other));
    assert_eq!(fake.feed().assigned(), [other.clone().into()]);
    assert_eq!(fake.waiting(), 0, "the host works on the rest of the block");
    // The group hears of it all along, and that it is held still.
    let said = assign(&fake, 4, std::slice::from_ref(&other));
    let owned: Vec<_> = said.owned.iter().flat_map(|it| &it.partitions).collect();
    assert_eq!((said.generation, owned), (4, vec![&0, &1]));
    let mut next = consumer.next_block(None);
    fake.run_jobs();
    let asked = fake.next().unwrap();
    assert!(
        matches!(&asked.request, Request::CommitOffsets { offsets, .. } if *offsets == [at(10)]),
        "{asked:?}"
    );
    let _parked = fake.heartbeat().unwrap();
    answer(asked);
    fake.run_jobs();
    let asked = fake.heartbeat().unwrap();
    let Request::GroupHeartbeat(said) = &asked.request else {
        panic!("{asked:?}");
    };
    assert_eq!(
        said.owned
            .iter()
            .map(|it| &*it.partitions)
            .collect::<Vec<_>>(),
        [[1]]
    );
    assert_eq!(consumer.positions(), [other]);
    let error = consumer.seek("t", 0, 0).unwrap_err();
    assert_eq!(error.code(), ErrorCode::UnknownTopicOrPartition);
    assert!(next.try_take().is_none());
}

#[test]
fn a_partition_that_comes_back_before_it_was_given_up_is_read_on() {
    let (fake, consumer) = reading(grouped());
    assign(&fake, 4, &[]);
    assert_eq!(fake.feed().assigned(), []);
    assign(&fake, 5, &[at(0)]);
    assert_eq!(fake.feed().assigned(), [at(10).into()]);
    assert_eq!(consumer.assignment(), [at(10)]);
}

/// A consumer that has left its group, since its host did not come back in time.
fn stuck() -> (Arc<Fake>, Consumer) {
    let (fake, consumer) = reading(ConsumerOptions {
        processing_timeout_ms: Some(1_000),
        ..grouped()
    });
    let _ = consumer.progress(3);
    let asked = loop {
        fake.run_jobs();
        // What was passed is committed in time, and once more when the consumer leaves.
        while let Some(asked) = fake.next() {
            assert_eq!(committed(&asked), [3]);
            answer(asked);
        }
        if let Some(asked) = fake.farewell() {
            break asked;
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    answer(asked);
    fake.run_jobs();
    (fake, consumer)
}

#[test]
fn a_host_that_was_late_is_told_so_before_its_consumer_joins_again() {
    // Without a thread that waits it joined first, and left again with the error.
    let (fake, consumer) = stuck();
    let mut next = consumer.next_block(None);
    let error = next.try_take().unwrap().unwrap_err();
    assert_eq!(error.code(), ErrorCode::ProcessingTimedOut);
    assert_eq!(fake.waiting(), 0);
    let mut next = consumer.next_block(None);
    joined(&fake, 3);
    assert_eq!(consumer.positions(), [at(3)]);
    assert!(next.try_take().is_none());
}

#[test]
fn a_host_that_does_not_come_back_makes_room_for_others_and_is_told_by_how_much_it_was_late() {
    let (fake, consumer) = stuck();
    let error = consumer.next_block_wait(None).unwrap_err();
    assert_eq!(error.code(), ErrorCode::ProcessingTimedOut);
    assert!(
        error.message().contains("processing_timeout_ms is 1000"),
        "{error}"
    );
    // And with the next read it is back.
    let mut next = consumer.next_block(None);
    joined(&fake, 3);
    assert_eq!(consumer.positions(), [at(3)]);
    assert!(next.try_take().is_none());
}

#[test]
fn opening_that_failed_leaves_the_group_and_can_be_tried_again() {
    let (fake, consumer) = open(grouped());
    let mut opened = consumer.open();
    joined(&fake, -1);
    let asked = fake.next().unwrap();
    assert!(matches!(asked.request, Request::ListOffsets { .. }));
    let error = Error::new(ErrorCode::NetworkException, "lost");
    asked.fail(error.clone());
    assert_eq!(opened.try_take(), Some(Err(error)));
    assert!(fake.farewell().is_some());
    let mut again = consumer.open();
    joined(&fake, 5);
    assert_eq!(again.try_take(), Some(Ok(())));
}

#[test]
fn a_consumer_that_closes_while_it_opens_leaves_nothing_behind() {
    let (fake, consumer) = open(grouped());
    let mut opened = consumer.open();
    fake.settle(1);
    let mut closed = consumer.close(None);
    let asked = fake.farewell().unwrap();
    assert_eq!(
        opened.try_take().unwrap().unwrap_err().code(),
        ErrorCode::Closed
    );
    answer(asked);
    assert_eq!(closed.try_take(), Some(Ok(CloseReport::default())));
}

#[test]
fn what_is_revoked_later_has_a_time_of_its_own() {
    // It had what was left of the time of what was revoked before, and was taken out of the host's hands.
    let (fake, consumer) = reading(ConsumerOptions {
        ack: Some(Ack::Manual),
        ..grouped()
    });
    let let_go_by = || {
        let in_group = consumer.state().in_group.lock();
        in_group.as_ref().unwrap().let_go_by
    };
    consumer.ack_rows(0..10).unwrap();
    let other = PartitionOffset {
        partition: 1,
        ..at(70)
    };
    assign(&fake, 4, std::slice::from_ref(&other));
    let first = let_go_by().unwrap();
    answer(fake.next().unwrap());
    fake.run_jobs();
    let _parked = fake.heartbeat().unwrap();
    std::thread::sleep(Duration::from_millis(1));
    assign(&fake, 5, &[]);
    assert!(let_go_by().unwrap() > first);
}

#[test]
fn a_member_whose_commits_have_failed_for_good_leaves_its_group() {
    // It went on with its heartbeats, and kept partitions that it did not read any more.
    let (fake, consumer) = reading(grouped());
    let _ = consumer.progress(2);
    let mut commit = consumer.commit();
    let stopped = Error::new(ErrorCode::KafkaStorageError, "the log has stopped");
    fake.next().unwrap().fail(stopped.clone());
    assert_eq!(commit.try_take(), Some(Err(stopped.clone())));
    answer(fake.farewell().expect("it leaves"));
    fake.run_jobs();
    assert_eq!(consumer.next_block_wait(None).unwrap_err(), stopped);
    let mut again = consumer.commit();
    assert_eq!(again.try_take(), Some(Err(stopped)));
    let parked = fake.heartbeat().unwrap();
    parked.fail(Error::new(ErrorCode::UnknownMemberId, "it left"));
    fake.run_jobs();
    assert_eq!(fake.heartbeats_waiting(), 0, "it is over");
}

/// A batch of so many records, as the feed gives it.
fn fetched(
    partition: i32,
    from_offset: i64,
    records: usize,
) -> crate::protocol::fetched::FetchedBatch {
    let mut builder = BatchBuilder::new(1_024);
    for _ in 0..records {
        let record = RecordRef {
            value: Some(b"x"),
            ..RecordRef::default()
        };
        builder.push(&record).unwrap();
    }
    let mut bytes = builder.finish(-1, -1, -1).unwrap();
    bytes[..8].copy_from_slice(&from_offset.to_be_bytes());
    crate::protocol::fetched::FetchedBatch {
        topic: "t".into(),
        partition,
        high_watermark: from_offset + records as i64,
        batch: Bytes::from(bytes),
        from_offset,
    }
}

#[test]
fn a_topic_that_is_deleted_ends_no_reading_of_what_the_group_gives_besides() {
    let (fake, consumer) = reading(grouped());
    let other = PartitionOffset {
        partition: 1,
        ..at(70)
    };
    let gone = Error::new(ErrorCode::UnknownTopicOrPartition, "no topic `t`");
    fake.feed().end(gone);
    let mut next = consumer.next_block(None);
    fake.run_jobs();
    assert!(next.try_take().is_none(), "the group says what comes of it");
    assign(&fake, 4, std::slice::from_ref(&other));
    assert_eq!(fake.feed().assigned(), [other.into()]);
    fake.feed().push(fetched(1, 70, 3));
    fake.run_jobs();
    assert_eq!(next.try_take().unwrap().unwrap().unwrap().len(), 3);
}

#[test]
fn acknowledgements_of_what_is_anothers_now_are_passed_over() {
    // A rebalance ended loops that acknowledge by hand with an error, though they had done nothing wrong.
    let (fake, consumer) = reading(ConsumerOptions {
        ack: Some(Ack::Manual),
        ..grouped()
    });
    consumer.ack("t", 0, 0).unwrap();
    let removed = Error::new(ErrorCode::UnknownMemberId, "silent for 46 s");
    fake.heartbeat().unwrap().fail(removed);
    fake.run_jobs();
    assert_eq!(consumer.assignment(), []);
    consumer.ack("t", 0, 1).unwrap();
    consumer.ack_rows(2..4).unwrap();
    let never_given = consumer.ack("t", 0, 10).unwrap_err();
    assert_eq!(never_given.code(), ErrorCode::InvalidArgument);
    let never_read = consumer.ack("t", 5, 0).unwrap_err();
    assert_eq!(never_read.code(), ErrorCode::UnknownTopicOrPartition);
    // Given back, it begins where the group is, and what was given out before counts for nothing.
    assign(&fake, 9, &[at(1)]);
    consumer.ack("t", 0, 7).unwrap();
    assert_eq!(consumer.positions(), [at(1)]);
}

fn as_instance() -> ConsumerOptions {
    ConsumerOptions {
        instance_id: Some("i".to_owned()),
        ..grouped()
    }
}

#[test]
fn a_static_member_says_its_name_and_goes_away_for_a_moment_when_it_closes() {
    let (fake, consumer) = reading(as_instance());
    let said = assign(&fake, 3, &[at(0)]);
    assert_eq!(said.instance_id.as_deref(), Some("i"));
    let mut closed = consumer.close(None);
    fake.run_jobs();
    let asked = fake.farewell().unwrap();
    let Request::GroupHeartbeat(said) = &asked.request else {
        panic!("{asked:?}");
    };
    let name = said.instance_id.as_deref();
    assert_eq!((said.generation, name), (-2, Some("i")));
    answer(asked);
    assert_eq!(closed.try_take(), Some(Ok(CloseReport::default())));
}

#[test]
fn a_static_member_whose_name_another_uses_is_fenced_and_does_not_come_back() {
    let (fake, consumer) = reading(as_instance());
    let mut next = consumer.next_block(None);
    fake.run_jobs();
    let fenced = Error::new(ErrorCode::FencedInstanceId, "`i` belongs to another");
    let asked = fake.heartbeat().unwrap();
    asked.completion.finish(Err(fenced.clone()));
    fake.run_jobs();
    let ended = next.try_take().unwrap();
    assert_eq!(ended.unwrap_err(), fenced);
    assert_eq!(consumer.next_block_wait(None).unwrap_err(), fenced);
    assert!(fake.heartbeat().is_none());
}

#[test]
fn an_instance_id_names_a_member_of_a_group() {
    let alone = ConsumerOptions {
        group: None,
        ..as_instance()
    };
    let long = ConsumerOptions {
        instance_id: Some("i".repeat(250)),
        ..grouped()
    };
    let strange = ConsumerOptions {
        instance_id: Some("i\n".to_owned()),
        ..grouped()
    };
    for (options, told) in [
        (alone, "without `group`"),
        (long, "1 to 249 bytes"),
        (strange, "no control characters"),
    ] {
        let error = Settings::new(&options).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidOption);
        assert!(error.message().contains(told), "{error}");
    }
}

#[test]
fn a_member_that_has_not_heard_of_its_group_for_its_session_gives_out_nothing_until_it_has() {
    // A process that was stopped for a minute went on with what it had read ahead, which others had read since.
    let options = ConsumerOptions {
        heartbeat_ms: Some(100),
        session_timeout_ms: Some(1_000),
        ..grouped()
    };
    let (fake, consumer) = about_to_read(options);
    std::thread::sleep(Duration::from_millis(1_100));
    assert!(
        consumer
            .next_block_wait(Some(Duration::ZERO))
            .unwrap()
            .is_none()
    );
    let mut read = consumer.next_block(None);
    fake.run_jobs();
    assert!(read.try_take().is_none());
    // A machine that is slow may be out of touch again before it looks.
    let block = loop {
        assign(&fake, 3, &[at(0)]);
        if let Some(read) = read.try_take() {
            break read.unwrap().unwrap();
        }
    };
    assert_eq!(block.len(), 10);
}

#[test]
fn results_of_what_went_to_another_end_the_consumer() {
    // They were refused once: sent again they were there twice, and what was given out with them and not lost was
    // committed by the next call, without its results.
    let (fake, consumer) = reading(grouped());
    let removed = Error::new(ErrorCode::UnknownMemberId, "silent for 46 s");
    fake.heartbeat().unwrap().fail(removed);
    fake.run_jobs();
    assign(&fake, 9, &[at(0)]);
    let results = [("u", Record::new(b"a"))];
    let refused = consumer.commit_with(&results).try_take().unwrap();
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::UnknownMemberId);
    let again = consumer.commit_with(&results).try_take().unwrap();
    assert_eq!(again.unwrap_err(), refused);
    assert_eq!(consumer.next_block_wait(None).unwrap_err(), refused);
    assert!(fake.next().is_none(), "nothing is sent or committed");
    assert!(fake.farewell().is_some());
}
