//! Answers in order and out of it, partitions that come and go, and the ends of a membership.

use super::*;

/// Of the heartbeats of memberships before.
const LAST_NUMBER: u64 = 7;

fn membership() -> Membership {
    let introduction = Introduction {
        group: "g".to_owned(),
        instance_id: None,
        client_name: "a test".to_owned(),
        topics: vec!["t".to_owned()],
        assignor: "sticky".to_owned(),
        session_timeout_ms: 45_000,
        rebalance_timeout_ms: 60_000,
        heartbeat_ms: 3_000,
    };
    Membership::new(introduction, "a".to_owned(), LAST_NUMBER)
}

fn told(generation: i32, partitions: &[i32]) -> Result<GroupAssignment> {
    told_to("a", generation, partitions)
}

fn told_to(member_id: &str, generation: i32, partitions: &[i32]) -> Result<GroupAssignment> {
    let partitions = partitions.iter();
    Ok(GroupAssignment {
        member_id: member_id.to_owned(),
        generation,
        assignment: partitions.map(|partition| offset(*partition)).collect(),
    })
}

fn offset(partition: i32) -> PartitionOffset {
    PartitionOffset {
        topic: "t".to_owned(),
        partition,
        offset: 7,
    }
}

/// The number of the grant that is the `grant`th of this membership.
fn nth(grant: u64) -> u64 {
    (LAST_NUMBER << 32) + grant
}

fn granted(partition: i32, grant: u64) -> Granted {
    Granted {
        offset: offset(partition),
        grant: nth(grant),
    }
}

fn partition(partition: i32) -> TopicPartition {
    TopicPartition {
        topic: "t".into(),
        partition,
    }
}

fn owned(heartbeat: &GroupHeartbeat) -> Vec<i32> {
    let partitions = heartbeat.owned.iter().flat_map(|it| &it.partitions);
    partitions.copied().collect()
}

/// A member of generation 3 that holds partitions 0 and 1.
fn member() -> Membership {
    let mut membership = membership();
    let (number, said) = membership.heartbeat();
    assert_eq!((said.generation, said.owned), (JOINING, Vec::new()));
    assert_eq!(membership.member(), None);
    let added = vec![granted(0, 1), granted(1, 2)];
    let changes = Changes {
        added,
        ..Changes::default()
    };
    assert_eq!(
        membership.answered(number, told(3, &[0, 1])),
        News::Assigned(changes)
    );
    membership
}

#[test]
fn what_is_let_go_of_is_owned_until_it_is_released() {
    let mut membership = member();
    let (number, said) = membership.heartbeat();
    assert_eq!((said.generation, owned(&said)), (3, vec![0, 1]));
    let changes = Changes {
        revoked: vec![partition(1)],
        added: vec![granted(2, 3)],
        ..Changes::default()
    };
    assert_eq!(
        membership.answered(number, told(4, &[0, 2])),
        News::Assigned(changes)
    );
    assert_eq!(membership.revoked(), [partition(1)]);
    assert!(membership.holds(&"t".into(), 2, nth(3)) && !membership.holds(&"t".into(), 1, nth(2)));
    assert_eq!(membership.held_count(), 2);
    let (number, said) = membership.heartbeat();
    assert_eq!((said.generation, owned(&said)), (4, vec![0, 1, 2]));
    // Said again, it is no news.
    let nothing = News::Assigned(Changes::default());
    assert_eq!(membership.answered(number, told(4, &[0, 2])), nothing);
    assert!(membership.released(&[partition(1)]));
    assert!(
        !membership.released(&[partition(1), partition(0)]),
        "it still holds 0"
    );
    assert_eq!(owned(&membership.heartbeat().1), [0, 2]);
}

#[test]
fn what_comes_back_before_it_was_released_is_kept() {
    let mut membership = member();
    let (number, _) = membership.heartbeat();
    membership.answered(number, told(4, &[0]));
    let (number, _) = membership.heartbeat();
    let changes = Changes {
        kept: vec![granted(1, 2)],
        ..Changes::default()
    };
    assert_eq!(
        membership.answered(number, told(5, &[0, 1])),
        News::Assigned(changes)
    );
    assert!(!membership.released(&[partition(1)]));
}

#[test]
fn an_answer_that_was_overtaken_says_nothing() {
    let mut membership = member();
    let (first, _) = membership.heartbeat();
    let (second, _) = membership.heartbeat();
    assert!(membership.is_last(second) && !membership.is_last(first));
    membership.answered(second, told(5, &[0]));
    assert_eq!(membership.answered(first, told(4, &[0, 1])), News::None);
    let lost = Error::new(ErrorCode::UnknownMemberId, "who is `a`?");
    assert_eq!(membership.answered(first, Err(lost)), News::None);
}

#[test]
fn a_heartbeat_without_an_answer_is_followed_by_another_later() {
    let mut membership = member();
    for failed_attempts in 1..4 {
        let (number, _) = membership.heartbeat();
        let busy = Error::new(ErrorCode::RequestTimedOut, "no answer");
        let later = News::Later { failed_attempts };
        assert_eq!(membership.answered(number, Err(busy)), later);
    }
    assert_eq!(
        membership.member().unwrap().generation,
        3,
        "it still is one, for all it knows"
    );
}

#[test]
fn who_is_removed_loses_everything_and_joins_under_another_id() {
    let mut membership = member();
    let (number, _) = membership.heartbeat();
    let silent = Error::new(ErrorCode::UnknownMemberId, "silent for 46 s");
    let lost = News::Lost(vec![partition(0), partition(1)], silent.clone());
    assert_eq!(membership.answered(number, Err(silent)), lost);
    assert_eq!(membership.member(), None);
    membership.begin_anew("b".to_owned());
    let (number, said) = membership.heartbeat();
    assert_eq!((said.member_id.as_str(), said.generation), ("b", JOINING));
    assert_eq!(
        membership.answered(number, told(9, &[0])),
        News::None,
        "it was told to another"
    );
    let added = membership.answered(number, told_to("b", 9, &[0]));
    assert!(matches!(added, News::Assigned(changes) if changes.added == [granted(0, 3)]));
}

#[test]
fn what_cannot_be_is_refused_for_good() {
    for code in [
        ErrorCode::FencedInstanceId,
        ErrorCode::InvalidGroupId,
        ErrorCode::UnsupportedVersion,
    ] {
        let mut membership = membership();
        let (number, _) = membership.heartbeat();
        let error = Error::new(code, "no");
        let refused = News::Refused(Vec::new(), error.clone());
        assert_eq!(membership.answered(number, Err(error)), refused);
    }
}

#[test]
fn who_was_in_once_waits_for_room_and_who_was_not_is_refused() {
    for code in [ErrorCode::GroupMaxSizeReached, ErrorCode::QuotaExceeded] {
        let full = || Error::new(code, "full");
        let mut newcomer = membership();
        let (number, _) = newcomer.heartbeat();
        assert!(matches!(
            newcomer.answered(number, Err(full())),
            News::Refused(..)
        ));
        let mut former = member();
        former.begin_anew("b".to_owned());
        let (number, _) = former.heartbeat();
        assert!(matches!(
            former.answered(number, Err(full())),
            News::Later { .. }
        ));
    }
}

#[test]
fn a_farewell_names_who_leaves() {
    let said = member().farewell();
    assert_eq!((said.member_id.as_str(), said.generation), ("a", LEAVING));
}
