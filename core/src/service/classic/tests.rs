use bytes::Bytes;

use super::*;
use crate::completion::Pending;
use crate::engine::group::classic::{Generation, Leaver, Protocol};
use crate::log::storage::faulty::{CrashMode, FaultyStorage};
use crate::protocol::request::{GroupHeartbeat, Member, PartitionOffset, Request};
use crate::protocol::response::Response;
use crate::service::trial::{ask, open, with_topic};

fn join(member_id: &str) -> Join {
    Join {
        ticket: 0,
        session: 0,
        group: "g".to_owned(),
        member_id: member_id.to_owned(),
        new_id: MemberId::from(""),
        must_know_id: true,
        can_skip_assignment: true,
        instance_id: None,
        client_name: "reader".to_owned(),
        host: "::1".to_owned(),
        session_timeout: Duration::from_secs(10),
        rebalance_timeout: Duration::from_secs(60),
        protocol_type: Arc::from("consumer"),
        protocols: vec![Protocol {
            name: Arc::from("range"),
            metadata: Bytes::from_static(b"\0\0\0\0\0\x01\0\x06orders\0\0\0\0"),
        }],
    }
}

fn send(session: &Session, join: Join) -> Pending<Joined> {
    let (completion, pending) = Completion::pair();
    session.join_classic(join, completion);
    pending
}

fn told(mut pending: Pending<Joined>) -> Generation {
    match pending.wait(None) {
        Ok(Joined::Generation(generation)) => generation,
        other => panic!("{other:?}"),
    }
}

/// One that has joined alone and is assigned partition 0.
fn member(session: &Session) -> Generation {
    let id = loop {
        match send(session, join("")).wait(None) {
            Ok(Joined::IdRequired(id)) => break id,
            // The log does not have the end of the group before yet.
            Err(error) if error.is_retriable() => {}
            other => panic!("{other:?}"),
        }
    };
    assert!(
        id.starts_with("reader-") && id.len() == "reader-".len() + 36,
        "{id}"
    );
    let generation = told(send(session, join(&id)));
    let sync = Sync {
        ticket: 0,
        session: 0,
        speaker: speaker(&id, generation.generation),
        protocol_type: None,
        protocol: None,
        assignments: vec![(
            id,
            Bytes::from_static(b"\0\0\0\0\0\x01\0\x06orders\0\0\0\x01\0\0\0\0"),
        )],
    };
    let (completion, mut pending) = Completion::pair();
    session.sync_classic(sync, completion);
    assert_eq!(&*pending.wait(None).unwrap().protocol, "range");
    generation
}

fn speaker(id: &str, generation: i32) -> Speaker {
    Speaker {
        group: "g".to_owned(),
        member_id: MemberId::from(id),
        instance_id: None,
        generation,
    }
}

fn commit(session: &Session, speaker: &Speaker, offset: i64) -> Result<EachPartition> {
    let offsets = [NotedOffset {
        topic: "orders".to_owned(),
        partition: 0,
        offset,
        leader_epoch: 2,
        metadata: "by a client of Kafka's".to_owned(),
    }];
    let (completion, mut pending) = Completion::pair();
    session.commit_classic(speaker, &offsets, Run::Here, completion);
    pending.wait(None)
}

/// What a thread does that was held up after the commit was found to count.
fn commit_late(session: &Session, speaker: &Speaker, offset: i64) -> Result<EachPartition> {
    let offsets = [NotedOffset {
        topic: "orders".to_owned(),
        partition: 0,
        offset,
        leader_epoch: -1,
        metadata: String::new(),
    }];
    let (completion, mut pending) = Completion::pair();
    let inner = &session.service().inner;
    inner.commit_checked(speaker, speaker.generation, &offsets, Run::Here, completion);
    pending.wait(None)
}

fn committed(session: &Session) -> i64 {
    session.committed("g", None).unwrap()[0].offset
}

fn leave(session: &Session, id: &str) {
    let leave = Leave {
        session: 0,
        group: "g".to_owned(),
        members: vec![Leaver {
            member_id: id.to_owned(),
            instance_id: None,
        }],
    };
    assert_eq!(session.leave_classic(leave), Ok(vec![Ok(())]));
}

fn heartbeat(generation: i32) -> Request {
    Request::GroupHeartbeat(GroupHeartbeat {
        group: "g".to_owned(),
        member_id: "native".to_owned(),
        generation,
        instance_id: None,
        client_name: String::new(),
        topics: vec!["orders".to_owned()],
        assignor: "sticky".to_owned(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        heartbeat_ms: 100,
        owned: Vec::new(),
    })
}

#[test]
fn group_goes_on_natively_where_it_was_left_and_the_other_way_round() {
    let storage = Arc::new(FaultyStorage::new());
    let (service, session) = with_topic(&storage);
    let first = member(&session);
    let id = first.member_id.to_string();
    assert_eq!(
        commit(&session, &speaker(&id, first.generation), 7),
        Ok(vec![Ok(())])
    );
    let refused = ask(&session, heartbeat(0)).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::InconsistentGroupProtocol);
    leave(&session, &id);

    // Natively: its generation follows, and its partitions come with what was committed.
    let assigned = loop {
        match ask(&session, heartbeat(0)) {
            Ok(Response::GroupHeartbeat(assigned)) if assigned.generation > 0 => break assigned,
            Ok(_) => {}
            Err(error) => assert!(error.is_retriable(), "{error}"),
        }
    };
    assert!(assigned.generation > first.generation);
    let offsets: Vec<_> = assigned.assignment.iter().map(|it| it.offset).collect();
    assert_eq!(offsets, [7, -1, -1]);
    let refused = commit(&session, &speaker(&id, first.generation), 3).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::UnknownMemberId);
    let native = Member {
        id: "native".to_owned(),
        generation: assigned.generation,
    };
    let offsets = vec![PartitionOffset {
        topic: "orders".to_owned(),
        partition: 0,
        offset: 9,
    }];
    let by_native = Request::CommitOffsets {
        group: "g".to_owned(),
        member: Some(native),
        offsets,
    };
    assert_eq!(ask(&session, by_native), Ok(Response::Done));
    let refused = send(&session, join("")).wait(None).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::InconsistentGroupProtocol);
    ask(&session, heartbeat(-1)).unwrap();

    // And back.
    let second = member(&session);
    assert!(second.generation > assigned.generation);
    assert_eq!(committed(&session), 9);
    service.close().unwrap();
}

#[test]
fn member_outlives_its_connection_and_a_restart() {
    let storage = Arc::new(FaultyStorage::new());
    let (service, session) = with_topic(&storage);
    let first = member(&session);
    let before = speaker(&first.member_id, first.generation);
    drop(session);
    let session = service.remote_session();
    assert_eq!(session.beat_classic(&before), Ok(()));

    let crashed = Arc::new(storage.crash_image(CrashMode::OnlySynced));
    let service = open(&crashed);
    let session = service.remote_session();
    let state = service.group("g").map(|view| view.state);
    assert_eq!(state, Some(GroupState::Recovering));
    let refused = session.beat_classic(&before).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::RebalanceInProgress);
    assert_eq!(commit(&session, &before, 5), Ok(vec![Ok(())]));
    let again = told(send(&session, join(&first.member_id)));
    assert_eq!(again.member_id, first.member_id);
    assert_eq!(again.generation, first.generation + 1);
    for commit in [commit, commit_late] {
        let refused = commit(&session, &before, 1).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::IllegalGeneration);
        assert_eq!(committed(&session), 5);
    }
}

#[test]
fn groups_of_both_kinds_and_of_none_are_listed() {
    let storage = Arc::new(FaultyStorage::new());
    let (service, session) = with_topic(&storage);
    let first = member(&session);
    let by_hand = Speaker {
        group: "by hand".to_owned(),
        ..speaker("", -1)
    };
    assert_eq!(commit(&session, &by_hand, 3), Ok(vec![Ok(())]));
    let native = match heartbeat(0) {
        Request::GroupHeartbeat(heartbeat) => GroupHeartbeat {
            group: "native".to_owned(),
            ..heartbeat
        },
        other => panic!("{other:?}"),
    };
    ask(&session, Request::GroupHeartbeat(native)).unwrap();
    let groups = service.groups();
    let listed: Vec<_> = groups
        .iter()
        .map(|it| (&*it.group, it.is_native, &*it.protocol_type))
        .collect();
    assert_eq!(
        listed,
        [
            ("by hand", false, ""),
            ("g", false, "consumer"),
            ("native", true, "")
        ]
    );
    assert_eq!(
        (groups[0].state, groups[1].state),
        (GroupState::Empty, GroupState::Stable)
    );

    // The native description has it too, with the partitions that the leader gave it.
    let details = ask(
        &session,
        Request::DescribeGroupDetails {
            group: "g".to_owned(),
        },
    );
    let Ok(Response::GroupDetails(details)) = details else {
        panic!("{details:?}")
    };
    let [found] = details.members.as_slice() else {
        panic!("{details:?}")
    };
    assert_eq!(found.member_id, *first.member_id);
    assert_eq!(found.partitions[0].partitions, [0]);
    let view = service.group("g").unwrap();
    assert_eq!(view.classic.map(|it| it.protocol), Some(Arc::from("range")));
    assert!(service.group("unknown").is_none());
}

#[test]
fn what_has_no_proper_form_is_refused() {
    let storage = Arc::new(FaultyStorage::new());
    let (_service, session) = with_topic(&storage);
    let code = |join| send(&session, join).wait(None).unwrap_err().code();
    let nameless = Join {
        group: String::new(),
        ..join("")
    };
    assert_eq!(code(nameless), ErrorCode::InvalidGroupId);
    let hasty = Join {
        session_timeout: Duration::from_millis(999),
        ..join("")
    };
    assert_eq!(code(hasty), ErrorCode::InvalidSessionTimeout);
    let long = Join {
        instance_id: Some("i".repeat(limits::CLASSIC_NAME_BYTES_MAX + 1).into()),
        ..join("")
    };
    assert_eq!(code(long), ErrorCode::InvalidRequest);
    let strange = Join {
        client_name: "\u{e9}".repeat(limits::CLASSIC_NAME_BYTES_MAX),
        rebalance_timeout: Duration::from_secs(1_000_000),
        must_know_id: false,
        ..join("")
    };
    let told = told(send(&session, strange));
    assert!(told.member_id.starts_with('\u{e9}'));
    assert!(told.member_id.len() <= limits::NAME_BYTES_MAX);
}

#[test]
fn who_waits_learns_that_the_service_closes() {
    let storage = Arc::new(FaultyStorage::new());
    let (service, session) = with_topic(&storage);
    let first = member(&session);
    // It waits for another, which was given an id and does not come.
    let promised = service.remote_session();
    send(&promised, join("")).wait(None).unwrap();
    let mut waiting = send(&session, join(&first.member_id));
    service.close().unwrap();
    assert_eq!(waiting.wait(None).unwrap_err().code(), ErrorCode::Closed);
}
