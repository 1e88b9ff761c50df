//! From a generation to its assignment.

use super::*;

/// `a` leads, `b` follows, and both have been told generation 1.
fn completing() -> Stage {
    let mut stage = Stage::new();
    stage.join(new("a"));
    stage.join(new("b"));
    stage.pass(ms(50));
    assert_eq!(stage.view().state, GroupState::CompletingRebalance);
    stage
}

fn assignment(stage: &mut Stage, ticket: u64) -> Bytes {
    let synced = stage.synced.remove(&ticket).expect("it is answered");
    synced.unwrap().assignment
}

#[test]
fn followers_wait_for_the_leader() {
    let mut stage = completing();
    let b = stage.sync(sync("b", 1, &[("a", "nonsense")]));
    assert!(stage.synced.is_empty());
    let a = stage.sync(sync("a", 1, &[("a", "0"), ("b", "1"), ("x", "2")]));
    assert_eq!(assignment(&mut stage, a), "0");
    assert_eq!(assignment(&mut stage, b), "1");
    assert_eq!(stage.view().state, GroupState::Stable);
    let later = stage.sync(sync("b", 1, &[]));
    assert_eq!(assignment(&mut stage, later), "1");
}

#[test]
fn who_is_not_spoken_of_is_assigned_nothing() {
    let mut stage = completing();
    let b = stage.sync(sync("b", 1, &[]));
    stage.sync(sync("a", 1, &[]));
    assert_eq!(assignment(&mut stage, b), "");
}

#[test]
fn leader_that_dies_before_it_decides_is_followed_by_another() {
    let mut stage = completing();
    let b = stage.sync(sync("b", 1, &[]));
    stage.pass(ms(10_000));
    let told = stage.synced.remove(&b).expect("it is answered");
    assert_eq!(code(told), ErrorCode::RebalanceInProgress);
    let b = stage.join(again("b"));
    let told = stage.told(b);
    assert_eq!((told.generation, &*told.leader), (2, "b"));
}

#[test]
fn leader_that_lives_and_never_decides_is_left_out() {
    let mut stage = completing();
    let b = stage.sync(sync("b", 1, &[]));
    stage.pass_with_beats(ms(60_000), &["a"], 1);
    let told = stage.synced.remove(&b).expect("it is answered");
    assert_eq!(code(told), ErrorCode::RebalanceInProgress);
    assert_eq!(stage.ids(), ["b"]);
}

#[test]
fn sync_of_another_generation_or_protocol_is_refused() {
    let mut stage = completing();
    let mut refused = |sync| {
        let ticket = stage.sync(sync);
        code(stage.synced.remove(&ticket).expect("it is answered"))
    };
    assert_eq!(refused(sync("a", 0, &[])), ErrorCode::IllegalGeneration);
    assert_eq!(refused(sync("x", 1, &[])), ErrorCode::UnknownMemberId);
    let inconsistent = ErrorCode::InconsistentGroupProtocol;
    let other_type = Sync {
        protocol_type: Some("connect".to_owned()),
        ..sync("a", 1, &[])
    };
    assert_eq!(refused(other_type), inconsistent);
    let other_name = Sync {
        protocol: Some("sticky".to_owned()),
        ..sync("a", 1, &[])
    };
    assert_eq!(refused(other_name), inconsistent);
    let mut stage = Stage::stable(&["a"]);
    stage.join(new("b"));
    let ticket = stage.sync(sync("a", 1, &[]));
    let told = stage.synced.remove(&ticket).expect("it is answered");
    assert_eq!(code(told), ErrorCode::RebalanceInProgress);
}

#[test]
fn answer_that_was_lost_is_given_again() {
    let mut stage = completing();
    stage.end_session(1);
    let a = stage.join(again("a"));
    let told = stage.told(a);
    assert_eq!((told.generation, told.members.len()), (1, 2));
    assert_eq!(stage.view().state, GroupState::CompletingRebalance);
}

#[test]
fn heartbeats_count_while_the_leader_decides() {
    let mut stage = completing();
    stage.pass(ms(9_000));
    assert!(stage.beat("a", 1).is_ok());
    assert!(stage.beat("b", 1).is_ok());
    stage.pass(ms(9_000));
    assert_eq!(stage.ids(), ["a", "b"]);
}

#[test]
fn generation_of_consumers_shows_their_partitions() {
    let mut stage = completing();
    // Version 0, one topic `t`, partitions 3 and 1.
    let assigned = "\0\0\0\0\0\x01\0\x01t\0\0\0\x02\0\0\0\x03\0\0\0\x01";
    stage.sync(sync("b", 1, &[]));
    stage.sync(sync("a", 1, &[("a", assigned), ("b", "\0\0\0")]));
    let view = stage.view();
    let numbers = |at: usize| -> Vec<i32> {
        let partitions = view.members[at].partitions.iter();
        partitions.map(|found| found.partition).collect()
    };
    assert_eq!((numbers(0), numbers(1)), (vec![1, 3], vec![]));
    let classic = view.classic.as_ref().unwrap();
    assert_eq!(&*classic.protocol, "range");
    assert_eq!(classic.members[1].metadata, "b");
}
