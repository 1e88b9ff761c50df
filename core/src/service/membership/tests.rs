//! Groups of many members through the one door: heartbeats that wait, sessions that end, restarts.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::completion::Pending;
use crate::error::ErrorCode;
use crate::protocol::request::{GroupHeartbeat, PartitionOffset, Request, TopicPartitions};
use crate::protocol::response::GroupDetails;
use crate::service::{Service, ServiceOptions, Session};

mod races;

const GROUP: &str = "g";

fn memory(partitions: u32) -> Service {
    let service = Service::open_memory("", &ServiceOptions::default()).unwrap();
    create(&service, "t", partitions);
    service
}

fn create(service: &Service, name: &str, partitions: u32) {
    let create = Request::CreateTopic {
        name: name.to_owned(),
        config: vec![("partitions".to_owned(), partitions.to_string())],
        exist_ok: true,
    };
    ask(&service.session(), create).unwrap();
}

fn submit(session: &Session, request: Request) -> Pending<Response> {
    let (completion, pending) = Completion::pair();
    session.submit(request, Bytes::new(), Run::Here, completion);
    pending
}

fn ask(session: &Session, request: Request) -> Result<Response> {
    submit(session, request).wait(None)
}

/// A member that beats quickly, so that nothing waits for long.
fn heartbeat(member: &str, generation: i32, owned: &[i32]) -> GroupHeartbeat {
    GroupHeartbeat {
        group: GROUP.to_owned(),
        member_id: member.to_owned(),
        generation,
        instance_id: None,
        client_name: "test".to_owned(),
        topics: vec!["t".to_owned()],
        assignor: "sticky".to_owned(),
        session_timeout_ms: 45_000,
        rebalance_timeout_ms: 60_000,
        heartbeat_ms: 3_000,
        owned: vec![TopicPartitions {
            topic: "t".to_owned(),
            partitions: owned.to_vec(),
        }],
    }
}

fn beat(session: &Session, heartbeat: GroupHeartbeat) -> Pending<Response> {
    submit(session, Request::GroupHeartbeat(heartbeat))
}

fn told(mut pending: Pending<Response>) -> Result<(i32, Vec<PartitionOffset>)> {
    match pending.wait(None)? {
        Response::GroupHeartbeat(told) => Ok((told.generation, told.assignment)),
        other => panic!("{other:?}"),
    }
}

fn at(partition: i32, offset: i64) -> PartitionOffset {
    PartitionOffset {
        topic: "t".to_owned(),
        partition,
        offset,
    }
}

/// Beats until the member holds these partitions; it lets go at once of what it is to.
fn settle(session: &Session, member: &str, wanted: &[i32]) -> i32 {
    let (mut generation, mut owned) = (0, Vec::new());
    loop {
        let asked = heartbeat(member, generation, &owned);
        let (now, assignment) = told(beat(session, asked)).unwrap();
        let numbers = assignment.iter().map(|found| found.partition);
        (generation, owned) = (now, numbers.collect());
        if owned == wanted {
            return generation;
        }
    }
}

fn commit(session: &Session, member: Option<(&str, i32)>, partition: i32) -> Result<Response> {
    let member = member.map(|(id, generation)| Member {
        id: id.to_owned(),
        generation,
    });
    let commit = Request::CommitOffsets {
        group: GROUP.to_owned(),
        member,
        offsets: vec![at(partition, 7)],
    };
    ask(session, commit)
}

fn details(session: &Session) -> GroupDetails {
    let group = GROUP.to_owned();
    match ask(session, Request::DescribeGroupDetails { group }).unwrap() {
        Response::GroupDetails(details) => details,
        other => panic!("{other:?}"),
    }
}

fn code(result: Result<impl std::fmt::Debug>) -> ErrorCode {
    result.unwrap_err().code()
}

#[test]
fn partitions_move_by_round_trips_with_their_committed_offsets() {
    let service = memory(2);
    let (one, two) = (service.remote_session(), service.remote_session());
    let joined = told(beat(&one, heartbeat("a", 0, &[]))).unwrap();
    assert_eq!(joined, (1, vec![at(0, -1), at(1, -1)]));
    // Nothing below waits for a heartbeat's time: an hour of it would do.
    let slow = |member, generation, owned| GroupHeartbeat {
        session_timeout_ms: 1_800_000,
        heartbeat_ms: 1_700_000,
        ..heartbeat(member, generation, owned)
    };
    let a = beat(&one, slow("a", 1, &[0, 1]));
    let b = told(beat(&two, slow("b", 0, &[]))).unwrap();
    assert_eq!(b, (2, vec![]));
    assert_eq!(told(a).unwrap(), (2, vec![at(0, -1)]));
    let b = beat(&two, slow("b", 2, &[]));
    commit(&one, Some(("a", 2)), 1).unwrap();
    assert!(!b.is_ready(), "it is not let go of yet");
    let a = beat(&one, slow("a", 2, &[0]));
    assert_eq!(told(b).unwrap(), (2, vec![at(1, 7)]));
    assert!(!a.is_ready());
    assert_eq!(details(&one).state, "Stable");
    drop((one, two));
    assert_eq!(code(told(a)), ErrorCode::Closed, "its session has ended");
    service.close().unwrap();
}

#[test]
fn commits_count_of_members_for_what_they_hold() {
    let service = memory(2);
    let session = service.remote_session();
    assert!(commit(&session, None, 0).is_ok());
    told(beat(&session, heartbeat("a", 0, &[]))).unwrap();
    told(beat(&session, heartbeat("b", 0, &[]))).unwrap();
    let _parked = beat(&session, heartbeat("a", 2, &[0]));
    let generation = settle(&session, "b", &[1]);
    assert!(commit(&session, Some(("b", generation)), 1).is_ok());
    assert_eq!(
        code(commit(&session, Some(("b", 2)), 0)),
        ErrorCode::IllegalGeneration
    );
    assert_eq!(
        code(commit(&session, Some(("b", 9)), 1)),
        ErrorCode::IllegalGeneration
    );
    assert_eq!(
        code(commit(&session, Some(("x", 2)), 1)),
        ErrorCode::UnknownMemberId
    );
    assert_eq!(code(commit(&session, None, 1)), ErrorCode::NonEmptyGroup);
    let both = Request::ProduceAndCommit {
        batches: Vec::new(),
        group: GROUP.to_owned(),
        member: Some(Member {
            id: "b".to_owned(),
            generation,
        }),
        offsets: vec![at(0, 1)],
    };
    assert_eq!(code(ask(&session, both)), ErrorCode::IllegalGeneration);
    service.close().unwrap();
}

#[test]
fn heartbeat_without_news_is_answered_in_its_time() {
    let service = memory(1);
    let session = service.remote_session();
    told(beat(&session, heartbeat("a", 0, &[]))).unwrap();
    let quick = GroupHeartbeat {
        heartbeat_ms: 100,
        ..heartbeat("a", 1, &[0])
    };
    assert_eq!(told(beat(&session, quick)).unwrap(), (1, vec![at(0, -1)]));
    service.close().unwrap();
}

#[test]
fn member_whose_connection_is_lost_is_replaced_soon() {
    let service = memory(2);
    let (one, two) = (service.remote_session(), service.remote_session());
    let quick = GroupHeartbeat {
        heartbeat_ms: 100,
        ..heartbeat("a", 0, &[])
    };
    told(beat(&one, quick)).unwrap();
    drop(one);
    let generation = settle(&two, "b", &[0, 1]);
    let error = commit(&two, Some(("a", 1)), 0).unwrap_err();
    assert_eq!(error.code(), ErrorCode::UnknownMemberId);
    assert!(error.message().contains("lost its connection"), "{error}");
    assert!(commit(&two, Some(("b", generation)), 0).is_ok());
    service.close().unwrap();
}

#[test]
fn silent_member_is_removed_by_the_clock() {
    let service = memory(2);
    let session = service.remote_session();
    let silent = GroupHeartbeat {
        session_timeout_ms: 1_000,
        heartbeat_ms: 100,
        ..heartbeat("a", 0, &[])
    };
    told(beat(&session, silent)).unwrap();
    settle(&session, "b", &[0, 1]);
    let error = told(beat(&session, heartbeat("a", 1, &[0, 1]))).unwrap_err();
    assert!(
        error.message().contains("its session_timeout_ms is 1000"),
        "{error}"
    );
    service.close().unwrap();
}

#[test]
fn member_in_the_process_of_the_log_ends_with_its_session() {
    let service = memory(2);
    let (one, two) = (service.session(), service.session());
    told(beat(&one, heartbeat("a", 0, &[]))).unwrap();
    told(beat(&two, heartbeat("b", 0, &[]))).unwrap();
    let b = beat(&two, heartbeat("b", 2, &[]));
    drop(one);
    assert_eq!(told(b).unwrap(), (3, vec![at(0, -1), at(1, -1)]));
    service.close().unwrap();
}

#[test]
fn topics_that_are_created_and_deleted_are_dealt_out() {
    let service = memory(1);
    let session = service.remote_session();
    let both = |generation, owned: &[i32]| GroupHeartbeat {
        topics: vec!["t".to_owned(), "u".to_owned()],
        ..heartbeat("a", generation, owned)
    };
    assert_eq!(told(beat(&session, both(0, &[]))).unwrap().1.len(), 1);
    let a = beat(&session, both(1, &[0]));
    create(&service, "u", 3);
    let (generation, assignment) = told(a).unwrap();
    assert_eq!((generation, assignment.len()), (2, 4));
    let a = beat(&session, both(2, &[0]));
    let delete = Request::DeleteTopic {
        name: "t".to_owned(),
    };
    ask(&session, delete).unwrap();
    let (generation, assignment) = told(a).unwrap();
    assert_eq!(generation, 3);
    assert!(assignment.iter().all(|found| found.topic == "u"));
    service.close().unwrap();
}

#[test]
fn groups_are_described_with_their_members_and_not_deleted() {
    let service = memory(2);
    let session = service.remote_session();
    let named = |generation, owned: &[i32]| GroupHeartbeat {
        instance_id: Some("i".to_owned()),
        ..heartbeat("a", generation, owned)
    };
    told(beat(&session, named(0, &[]))).unwrap();
    let found = details(&session);
    assert_eq!((found.state.as_str(), found.generation), ("Stable", 1));
    let member = &found.members[0];
    assert_eq!((member.member_id.as_str(), member.generation), ("a", 1));
    assert_eq!(member.instance_id.as_deref(), Some("i"));
    assert_eq!((member.client_name.as_str(), &member.host), ("test", &None));
    assert_eq!(member.partitions[0].partitions, [0, 1]);
    let Response::Groups(groups) = ask(&session, Request::ListGroups).unwrap() else {
        panic!("no groups");
    };
    assert_eq!(
        (&groups[0].members[..], groups[0].state.as_str()),
        (&["a".to_owned()][..], "Stable")
    );
    let delete = || Request::DeleteGroup {
        group: GROUP.to_owned(),
    };
    assert_eq!(code(ask(&session, delete())), ErrorCode::NonEmptyGroup);
    let bye = told(beat(&session, named(-1, &[]))).unwrap();
    assert_eq!(bye, (-1, vec![]));
    ask(&session, delete()).unwrap();
    let group = GROUP.to_owned();
    let gone = ask(&session, Request::DescribeGroupDetails { group });
    assert_eq!(code(gone), ErrorCode::GroupIdNotFound);
    service.close().unwrap();
}

#[test]
fn clients_of_before_and_members_share_no_group() {
    let service = memory(2);
    let (old, new) = (service.remote_session(), service.remote_session());
    let join = || Request::JoinGroup {
        group: GROUP.to_owned(),
        topics: vec!["t".to_owned()],
    };
    let Response::Joined { member, assignment } = ask(&old, join()).unwrap() else {
        panic!("not joined");
    };
    assert_eq!(assignment, [at(0, -1), at(1, -1)]);
    let joining = told(beat(&new, heartbeat("a", 0, &[])));
    assert_eq!(code(joining), ErrorCode::UnsupportedFeature);
    commit(&old, Some((&member.id, member.generation)), 0).unwrap();
    drop(old);
    let generation = settle(&new, "a", &[0, 1]);
    assert!(generation > member.generation);
    let old = service.remote_session();
    assert_eq!(code(ask(&old, join())), ErrorCode::UnsupportedFeature);
    // Whoever is a member may leave as the old ones do.
    let leave = Request::LeaveGroup {
        group: GROUP.to_owned(),
        member: Member {
            id: "a".to_owned(),
            generation,
        },
    };
    ask(&new, leave).unwrap();
    assert!(ask(&old, join()).is_ok());
    service.close().unwrap();
}

#[test]
fn heartbeats_that_are_none_are_refused() {
    let service = memory(1);
    let session = service.remote_session();
    type Spoil = fn(&mut GroupHeartbeat);
    let wrongs: [(Spoil, &str); 9] = [
        (|beat| beat.member_id.clear(), "member_id"),
        (
            |beat| beat.member_id = "member-1".into(),
            "the broker's own",
        ),
        (|beat| beat.instance_id = Some("\n".into()), "instance_id"),
        (|beat| beat.client_name = "x".repeat(250), "client_name"),
        (|beat| beat.assignor = "best".into(), "assignor is `best`"),
        (|beat| beat.heartbeat_ms = 99, "heartbeat_ms is 99"),
        (
            |beat| beat.session_timeout_ms = 999,
            "session_timeout_ms is 999",
        ),
        (
            |beat| beat.rebalance_timeout_ms = 0,
            "rebalance_timeout_ms is 0",
        ),
        (|beat| beat.heartbeat_ms = 45_000, "must be less than"),
    ];
    for (spoil, words) in wrongs {
        let mut wrong = heartbeat("a", 0, &[]);
        spoil(&mut wrong);
        let error = told(beat(&session, wrong)).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidRequest);
        assert!(error.message().contains(words), "{error}");
    }
    let mut nameless = heartbeat("a", 0, &[]);
    nameless.group.clear();
    let refused = told(beat(&session, nameless));
    assert_eq!(code(refused), ErrorCode::InvalidGroupId);
    service.close().unwrap();
}

fn folder(path: &Path) -> Service {
    Service::open_folder(path, &ServiceOptions::default()).unwrap()
}

#[test]
fn restart_of_the_broker_moves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let service = folder(dir.path());
    create(&service, "t", 2);
    let session = service.remote_session();
    told(beat(&session, heartbeat("a", 0, &[]))).unwrap();
    told(beat(&session, heartbeat("b", 0, &[]))).unwrap();
    told(beat(&session, heartbeat("a", 2, &[0]))).unwrap();
    assert_eq!(settle(&session, "b", &[1]), 2);
    let parked = beat(&session, heartbeat("a", 2, &[0]));
    // The service closes before its sessions: so a broker is killed.
    service.close().unwrap();
    assert_eq!(code(told(parked)), ErrorCode::Closed);
    drop(session);

    let service = folder(dir.path());
    let session = service.remote_session();
    let found = details(&session);
    assert_eq!((found.state.as_str(), found.generation), ("Recovering", 2));
    let waits = ErrorCode::CoordinatorLoadInProgress;
    assert_eq!(code(commit(&session, Some(("a", 2)), 0)), waits);
    let c = beat(&session, heartbeat("c", 0, &[]));
    let a = told(beat(&session, heartbeat("a", 2, &[0]))).unwrap();
    assert_eq!(a, (2, vec![at(0, -1)]));
    assert!(commit(&session, Some(("a", 2)), 0).is_ok());
    assert!(!c.is_ready(), "b is waited for");
    let (_, assignment) = told(beat(&session, heartbeat("b", 2, &[1]))).unwrap();
    assert_eq!(assignment, [at(1, -1)]);
    assert_eq!(told(c).unwrap(), (3, vec![]), "all are back");
    let (generation, assignment) = told(beat(&session, heartbeat("a", 2, &[0]))).unwrap();
    assert_eq!((generation, assignment), (3, vec![at(0, 7)]));
    service.close().unwrap();
}

#[test]
fn members_that_ended_with_the_process_are_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let service = folder(dir.path());
    create(&service, "t", 1);
    let (one, two) = (service.session(), service.remote_session());
    told(beat(&one, heartbeat("a", 0, &[]))).unwrap();
    let other = Request::JoinGroup {
        group: "other".to_owned(),
        topics: vec!["t".to_owned()],
    };
    ask(&two, other.clone()).unwrap();
    service.close().unwrap();
    drop((one, two));

    let service = folder(dir.path());
    let session = service.remote_session();
    assert_eq!(
        told(beat(&session, heartbeat("b", 0, &[]))).unwrap(),
        (2, vec![at(0, -1)])
    );
    assert!(ask(&session, other).is_ok());
    service.close().unwrap();
}

#[test]
fn long_poll_keeps_nobody_from_closing() {
    let service = memory(1);
    let session = service.remote_session();
    told(beat(&session, heartbeat("a", 0, &[]))).unwrap();
    let mut parked = beat(&session, heartbeat("a", 1, &[0]));
    assert!(!parked.wait_ready(Some(Duration::from_millis(1))).unwrap());
    drop(session);
    assert_eq!(code(parked.wait(None)), ErrorCode::Closed);
    service.close().unwrap();
}
