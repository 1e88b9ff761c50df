use proptest::prelude::*;

use super::*;
use crate::engine::group::classic::Speaker;
use crate::log::control::{CommittedOffset, OffsetCommit};
use crate::log::storage::faulty::{CrashMode, FaultyStorage};
use crate::protocol::request::{PartitionOffset, Request};
use crate::service::trial::{ask, open};
use crate::service::{NotedOffset, Service, Session};

/// So many topics, each of as many partitions as there can be.
fn with_topics(storage: &Arc<FaultyStorage>, count: u32) -> (Service, Session) {
    let service = open(storage);
    let session = service.session();
    for number in 0..count {
        let partitions = limits::PARTITIONS_PER_TOPIC_MAX.to_string();
        let create = Request::CreateTopic {
            name: format!("t{number}"),
            config: vec![("partitions".to_owned(), partitions)],
            exist_ok: false,
        };
        ask(&session, create).unwrap();
    }
    (service, session)
}

/// The first `count` partitions of these topics, each with so many bytes of metadata.
fn noted(count: i32, metadata_bytes: usize) -> Vec<NotedOffset> {
    let all = (0..count).map(|number| NotedOffset {
        topic: format!("t{}", number / limits::PARTITIONS_PER_TOPIC_MAX as i32),
        partition: number % limits::PARTITIONS_PER_TOPIC_MAX as i32,
        offset: i64::MAX - i64::from(number),
        leader_epoch: -1,
        metadata: "x".repeat(metadata_bytes),
    });
    all.collect()
}

fn commit(session: &Session, offsets: &[NotedOffset]) -> Result<usize> {
    let speaker = Speaker {
        group: "readers".to_owned(),
        member_id: "".into(),
        instance_id: None,
        generation: -1,
    };
    let (completion, mut pending) = Completion::pair();
    session.commit_classic(&speaker, offsets, Run::Here, completion);
    let answers = pending.wait(None)?;
    Ok(answers.into_iter().filter(|answer| answer.is_ok()).count())
}

/// What is committed, in the order of [`noted`].
fn committed(session: &Session) -> Vec<NotedOffset> {
    let mut all = session.committed("readers", None).unwrap();
    all.sort_by_key(|noted| std::cmp::Reverse(noted.offset));
    all
}

#[test]
fn a_commit_of_many_partitions_or_much_metadata_is_one_entry_and_outlives_a_crash() {
    // It made a control entry of more than 1 MiB, was refused, and would have been again for ever.
    for (topics, partitions, metadata_bytes) in [(10, 40_000, 0), (1, 300, 4_096)] {
        let storage = Arc::new(FaultyStorage::new());
        let (service, session) = with_topics(&storage, topics);
        let before = service.inner.log.last_index();
        let offsets = noted(partitions, metadata_bytes);
        assert_eq!(commit(&session, &offsets), Ok(offsets.len()));
        assert_eq!(service.inner.log.last_index(), before + 1);
        assert!(committed(&session) == offsets);
        drop((session, service));
        let crashed = Arc::new(storage.crash_image(CrashMode::OnlySynced));
        let service = open(&crashed);
        let session = service.session();
        assert!(committed(&session) == offsets);
        assert_eq!(service.inner.state.void_entries(), 0);
        // And all of it can be taken back.
        let places: Vec<_> = offsets
            .iter()
            .map(|noted| crate::ids::TopicPartition {
                topic: noted.topic.as_str().into(),
                partition: noted.partition,
            })
            .collect();
        let (completion, mut pending) = Completion::pair();
        session.forget_offsets("readers".to_owned(), &places, Run::Here, completion);
        assert!(pending.wait(None).unwrap().iter().all(Result::is_ok));
        assert!(committed(&session).is_empty());
        service.close().unwrap();
    }
}

#[test]
fn a_native_commit_of_many_partitions_is_one_entry() {
    let storage = Arc::new(FaultyStorage::new());
    let (service, session) = with_topics(&storage, 10);
    let before = service.inner.log.last_index();
    let wanted = noted(40_000, 0);
    let offsets = wanted.iter().map(|noted| PartitionOffset {
        topic: noted.topic.clone(),
        partition: noted.partition,
        offset: noted.offset,
    });
    let request = Request::CommitOffsets {
        group: "readers".to_owned(),
        member: None,
        offsets: offsets.collect(),
    };
    ask(&session, request).unwrap();
    assert_eq!(service.inner.log.last_index(), before + 1);
    assert!(committed(&session) == wanted);
    service.close().unwrap();
}

#[test]
fn a_commit_that_no_entry_holds_is_several_in_order_and_answered_when_the_last_is_there() {
    let storage = Arc::new(FaultyStorage::new());
    let (service, session) = with_topics(&storage, 2);
    let before = service.inner.log.last_index();
    let offsets = noted(4_500, limits::OFFSET_METADATA_BYTES_MAX);
    assert_eq!(commit(&session, &offsets), Ok(offsets.len()));
    assert_eq!(service.inner.log.last_index(), before + 2);
    assert!(committed(&session) == offsets);
    service.close().unwrap();
}

#[test]
fn what_is_committed_before_the_log_fails_counts_and_the_whole_is_answered_with_the_failure() {
    let (completion, mut pending) = Completion::pair();
    let gathered = Arc::new(Mutex::new(Gathered {
        left: 3,
        is_begun: false,
        failed: None,
        completion: Some(completion),
    }));
    let [first, second, third] = [0; 3].map(|_| one_of(&gathered));
    first.finish(Ok(Appended {
        index: 1,
        base_offset: 0,
        is_duplicate: false,
        time_ms: 0,
        durability: Durability::Os,
        append_time_ms: -1,
        batches: None,
    }));
    let full = Error::new(crate::ErrorCode::DiskFull, "no room");
    second.finish(Err(full.clone().with_outcome(Outcome::NotDone)));
    assert!(pending.try_take().is_none());
    // Dropped, as by a log that is closed.
    drop(third);
    let error = pending.wait(None).unwrap_err();
    assert_eq!(error.code(), full.code());
    assert_eq!(error.outcome(), Outcome::Unknown);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn parts_say_what_the_commit_says_and_each_fits_its_entry(
        group in "[a-z]{1,249}",
        lengths in prop::collection::vec((0..=limits::OFFSET_METADATA_BYTES_MAX, -1_i64..=i64::MAX), 0..900),
        is_noted in any::<bool>(),
    ) {
        let offsets = lengths.iter().zip(0..).map(|((_, offset), partition)| CommittedOffset {
            topic: [7; 16],
            partition,
            offset: *offset,
        });
        let details = lengths.iter().map(|(length, offset)| CommitDetails {
            leader_epoch: (*offset % 3) as i32 - 1,
            metadata: "y".repeat(*length),
        });
        let whole = DetailedOffsetCommit {
            commit: OffsetCommit { group, generation: 3, offsets: offsets.collect() },
            details: if is_noted { details.collect() } else { Vec::new() },
        };
        let parts = commit_parts(whole.clone()).unwrap();
        let mut found = DetailedOffsetCommit {
            commit: OffsetCommit { offsets: Vec::new(), ..whole.commit.clone() },
            details: Vec::new(),
        };
        for part in &parts {
            prop_assert!(part.payload.len() <= limits::CONTROL_BYTES_MAX);
            let read = control::decode_offset_commit(part.version, &part.payload).unwrap();
            prop_assert_eq!(&read.commit.group, &whole.commit.group);
            prop_assert_eq!(read.commit.generation, 3);
            let mut details = read.details;
            if is_noted {
                details.resize_with(read.commit.offsets.len(), CommitDetails::default);
            }
            found.commit.offsets.extend(read.commit.offsets);
            found.details.extend(details);
        }
        prop_assert!(found == whole);
        for entry in entries(parts) {
            prop_assert!(entry.payload.len() <= limits::SET_BYTES_MAX);
        }
    }
}
