use super::*;
use crate::completion::Pending;
use crate::log::storage::faulty::{CrashMode, FaultyStorage};
use crate::protocol::request::{PartitionOffset, Request};
use crate::protocol::response::Response;
use crate::service::trial::{ask, open, with_topic};

fn noted(partition: i32, offset: i64, leader_epoch: i32, metadata: &str) -> NotedOffset {
    NotedOffset {
        topic: "orders".to_owned(),
        partition,
        offset,
        leader_epoch,
        metadata: metadata.to_owned(),
    }
}

fn place(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition {
        topic: topic.into(),
        partition,
    }
}

/// Nobody, while the group has no member.
fn by_hand() -> Speaker {
    Speaker {
        group: "readers".to_owned(),
        member_id: "".into(),
        instance_id: None,
        generation: -1,
    }
}

#[test]
fn all_that_is_committed_is_copied_only_if_it_is_not_too_much() {
    let storage = Arc::new(FaultyStorage::new());
    let (service, session) = with_topic(&storage);
    let offsets = [noted(0, 1, -1, "at noon"), noted(2, 3, -1, "")];
    commit(&session, &offsets).unwrap();
    let size_bytes = offsets.iter().map(NotedOffset::size_bytes).sum();
    let all = session.all_committed("readers", size_bytes).unwrap();
    assert_eq!(all, offsets);
    let refused = session.all_committed("readers", size_bytes - 1);
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::InvalidRequest, "{refused}");
    assert_eq!(session.all_committed("nobody", 0).unwrap(), []);
    drop(session);
    service.close().unwrap();
}

fn commit(session: &Session, offsets: &[NotedOffset]) -> Result<EachPartition> {
    let (completion, mut pending) = Completion::pair();
    session.commit_classic(&by_hand(), offsets, Run::Here, completion);
    pending.wait(None)
}

fn forget(session: &Session, group: &str, places: &[TopicPartition]) -> Result<EachPartition> {
    let (completion, mut pending) = Completion::pair();
    session.forget_offsets(group.to_owned(), places, Run::Here, completion);
    pending.wait(None)
}

fn codes(answers: &EachPartition) -> Vec<Option<ErrorCode>> {
    let codes = answers.iter();
    codes
        .map(|answer| answer.as_ref().err().map(Error::code))
        .collect()
}

#[test]
fn what_is_noted_beside_an_offset_is_read_back_and_outlives_a_crash() {
    let storage = Arc::new(FaultyStorage::new());
    let (service, session) = with_topic(&storage);
    let offsets = [
        noted(0, 7, 3, "by hand, at noon"),
        noted(2, 1, -1, ""),
        noted(1, 0, 0, ""),
    ];
    assert_eq!(codes(&commit(&session, &offsets).unwrap()), [None; 3]);
    let mut in_order = offsets.to_vec();
    in_order.sort_by_key(|noted| noted.partition);
    assert_eq!(session.committed("readers", None).unwrap(), in_order);
    let asked = [place("orders", 2), place("orders", 0), place("other", 0)];
    let found = session.committed("readers", Some(&asked)).unwrap();
    assert_eq!(found[..2], [offsets[1].clone(), offsets[0].clone()]);
    assert_eq!((found[2].offset, found[2].leader_epoch), (-1, -1));
    drop((session, service));
    let crashed = Arc::new(storage.crash_image(CrashMode::OnlySynced));
    let service = open(&crashed);
    let session = service.remote_session();
    assert_eq!(session.committed("readers", None).unwrap(), in_order);
    service.close().unwrap();
}

#[test]
fn a_plain_commit_takes_the_bytes_that_it_always_took() {
    let storage = Arc::new(FaultyStorage::new());
    let (service, session) = with_topic(&storage);
    let size = || session.service().inner.log.size_bytes();
    let before = size();
    let offsets = vec![PartitionOffset {
        topic: "orders".to_owned(),
        partition: 0,
        offset: 7,
    }];
    let request = Request::CommitOffsets {
        group: "readers".to_owned(),
        member: None,
        offsets,
    };
    ask(&session, request).unwrap();
    let native = size() - before;
    commit(&session, &[noted(0, 7, -1, "")]).unwrap();
    assert_eq!(size() - before, 2 * native);
    // What is noted is gone with the next commit that notes nothing.
    commit(&session, &[noted(0, 7, 1, "x")]).unwrap();
    commit(&session, &[noted(0, 8, -1, "")]).unwrap();
    let found = session.committed("readers", None).unwrap();
    assert_eq!(found, [noted(0, 8, -1, "")]);
    service.close().unwrap();
}

#[test]
fn what_is_wrong_with_one_partition_leaves_the_others_alone() {
    let storage = Arc::new(FaultyStorage::new());
    let (service, session) = with_topic(&storage);
    let long = "x".repeat(limits::OFFSET_METADATA_BYTES_MAX);
    let elsewhere = NotedOffset {
        topic: "nowhere".to_owned(),
        ..noted(0, 1, -1, "")
    };
    let offsets = [
        noted(0, 1, -1, &long),
        noted(1, 1, -1, &format!("{long}x")),
        noted(3, 1, -1, ""),
        noted(2, -2, -1, ""),
        elsewhere,
    ];
    let answers = commit(&session, &offsets).unwrap();
    let expected = [
        None,
        Some(ErrorCode::OffsetMetadataTooLarge),
        Some(ErrorCode::UnknownTopicOrPartition),
        Some(ErrorCode::InvalidArgument),
        Some(ErrorCode::UnknownTopicOrPartition),
    ];
    assert_eq!(codes(&answers), expected);
    let found = session.committed("readers", None).unwrap();
    assert_eq!(found, offsets[..1]);
    service.close().unwrap();
}

#[test]
fn no_offset_committed_takes_back_what_was() {
    let storage = Arc::new(FaultyStorage::new());
    let (service, session) = with_topic(&storage);
    commit(&session, &[noted(0, 7, -1, "a"), noted(1, 8, -1, "")]).unwrap();
    let answers = commit(&session, &[noted(0, -1, -1, ""), noted(2, -1, -1, "")]).unwrap();
    assert_eq!(codes(&answers), [None, None]);
    let left = [noted(1, 8, -1, "")];
    assert_eq!(session.committed("readers", None).unwrap(), left);
    service.close().unwrap();
}

#[test]
fn offsets_that_were_taken_back_stay_away_after_a_crash() {
    let storage = Arc::new(FaultyStorage::new());
    let (service, session) = with_topic(&storage);
    commit(&session, &[noted(0, 7, 3, "a"), noted(1, 8, -1, "")]).unwrap();
    let unknown = forget(&session, "nobody", &[place("orders", 0)]).unwrap_err();
    assert_eq!(unknown.code(), ErrorCode::GroupIdNotFound);
    let places = [place("orders", 0), place("orders", 2), place("nowhere", 0)];
    let answers = forget(&session, "readers", &places).unwrap();
    let expected = [None, None, Some(ErrorCode::UnknownTopicOrPartition)];
    assert_eq!(codes(&answers), expected);
    let left = [noted(1, 8, -1, "")];
    assert_eq!(session.committed("readers", None).unwrap(), left);
    drop((session, service));
    let crashed = Arc::new(storage.crash_image(CrashMode::OnlySynced));
    let service = open(&crashed);
    let session = service.remote_session();
    assert_eq!(session.committed("readers", None).unwrap(), left);
    service.close().unwrap();
}

#[test]
fn what_a_member_reads_is_not_taken_back() {
    let storage = Arc::new(FaultyStorage::new());
    let (service, session) = with_topic(&storage);
    commit(&session, &[noted(0, 7, -1, "")]).unwrap();
    let join = Request::JoinGroup {
        group: "readers".to_owned(),
        topics: vec!["orders".to_owned()],
    };
    let Ok(Response::Joined { member, .. }) = ask(&session, join) else {
        panic!("nobody else is a member");
    };
    let answers = forget(&session, "readers", &[place("orders", 0)]).unwrap();
    assert_eq!(codes(&answers), [Some(ErrorCode::GroupSubscribedToTopic)]);
    let by_hand = commit(&session, &[noted(0, 9, -1, "")]).unwrap_err();
    assert_eq!(by_hand.code(), ErrorCode::UnknownMemberId);
    assert_eq!(session.committed("readers", None).unwrap()[0].offset, 7);
    let leave = Request::LeaveGroup {
        group: "readers".to_owned(),
        member,
    };
    ask(&session, leave).unwrap();
    let answers = forget(&session, "readers", &[place("orders", 0)]).unwrap();
    assert_eq!(codes(&answers), [None]);
    assert_eq!(session.committed("readers", None).unwrap(), []);
    service.close().unwrap();
}

#[test]
fn a_commit_is_answered_once_it_is_synced() {
    let storage = Arc::new(FaultyStorage::new());
    let (service, session) = with_topic(&storage);
    storage.pause_syncs();
    let (completion, mut pending): (_, Pending<EachPartition>) = Completion::pair();
    let offsets = [noted(0, 7, 2, "x")];
    session.commit_classic(&by_hand(), &offsets, Run::Here, completion);
    storage.wait_for_paused_syncs(1);
    assert!(pending.try_take().is_none());
    storage.resume_syncs();
    assert_eq!(codes(&pending.wait(None).unwrap()), [None]);
    service.close().unwrap();
}
