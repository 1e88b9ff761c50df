//! After a restart of the broker: nothing moves, if all come back.

use super::*;

/// `a` holds 0 and 1, `b` 2 and 3, in generation 2; then the broker restarts.
fn restarted() -> Stage {
    let mut stage = Stage::new(4);
    stage.ask(heartbeat("a", JOINING)).unwrap();
    stage.ask(heartbeat("b", JOINING)).unwrap();
    stage.ask(owning("a", 1, 0..4)).unwrap();
    stage.send(owning("a", 2, [0, 1]));
    assert_eq!(numbers(&stage.ask(heartbeat("b", 2)).unwrap()), [2, 3]);
    stage.restart(4);
    assert_eq!(stage.view().state, GroupState::Recovering);
    stage
}

#[test]
fn members_that_come_back_keep_what_they_hold() {
    let mut stage = restarted();
    let a = stage.ask(owning("a", 2, [0, 1])).unwrap();
    assert_eq!((a.generation, numbers(&a)), (2, vec![0, 1]));
    assert!(stage.commit(Some(("a", 2)), &[0, 1]).is_ok());
    let a = stage.send(owning("a", 2, [0, 1]));
    let b = stage.ask(owning("b", 2, [2, 3])).unwrap();
    assert_eq!((b.generation, numbers(&b)), (2, vec![2, 3]));
    // All are back: a new generation begins, and nothing moves.
    let b = stage.ask(owning("b", 2, [2, 3])).unwrap();
    assert_eq!((b.generation, numbers(&b)), (3, vec![2, 3]));
    let a = stage.answer(a).unwrap().unwrap();
    assert_eq!((a.generation, numbers(&a)), (3, vec![0, 1]));
    stage.send(owning("a", 3, [0, 1]));
    assert_eq!(stage.view().state, GroupState::Stable);
}

#[test]
fn who_does_not_come_back_is_given_up_after_a_while() {
    let mut stage = restarted();
    stage.ask(owning("a", 2, [0, 1])).unwrap();
    let c = stage.send(heartbeat("c", JOINING));
    stage.pass(ms(9_999));
    assert_eq!(stage.answer(c).unwrap().unwrap().generation, JOINING);
    let a = stage.send(owning("a", 2, [0, 1]));
    let c = stage.send(heartbeat("c", JOINING));
    stage.pass(ms(1));
    let a = stage.answer(a).unwrap().unwrap();
    assert_eq!((a.generation, numbers(&a)), (3, vec![0, 1]));
    assert_eq!(numbers(&stage.answer(c).unwrap().unwrap()), [2, 3]);
    let error = stage.ask(owning("b", 2, [2, 3])).unwrap_err();
    assert!(
        error
            .message()
            .contains("did not come back within 10000 ms"),
        "{error}"
    );
}

#[test]
fn member_that_leaves_is_not_waited_for() {
    let mut stage = restarted();
    stage.ask(owning("a", 2, [0, 1])).unwrap();
    let a = stage.send(owning("a", 2, [0, 1]));
    stage.ask(heartbeat("b", LEAVING)).unwrap();
    let a = stage.answer(a).unwrap().unwrap();
    assert_eq!((a.generation, numbers(&a)), (3, vec![0, 1, 2, 3]));
}

#[test]
fn partition_that_two_claim_stays_with_the_first() {
    let mut stage = restarted();
    stage.ask(owning("a", 2, [0, 1, 2])).unwrap();
    let b = stage.ask(owning("b", 2, [2, 3])).unwrap();
    assert!(!b.partitions.contains(&partition("t", 2)));
}

#[test]
fn commits_wait_until_their_member_is_back() {
    let stage = restarted();
    let waits = ErrorCode::CoordinatorLoadInProgress;
    assert_eq!(code(stage.commit(Some(("a", 2)), &[0])), waits);
    assert_eq!(code(stage.commit(None, &[0])), waits);
    assert_eq!(
        code(stage.commit(Some(("x", 2)), &[0])),
        ErrorCode::UnknownMemberId
    );
    assert!(waits.kind().is_retriable());
}

#[test]
fn who_was_no_member_or_names_a_later_generation_does_not_come_back() {
    let mut stage = restarted();
    assert_eq!(
        code(stage.ask(owning("x", 2, [0]))),
        ErrorCode::UnknownMemberId
    );
    assert_eq!(
        code(stage.ask(owning("a", 3, [0]))),
        ErrorCode::IllegalGeneration
    );
    // It joined before the restart and never learned that it is a member.
    let ticket = stage.send(heartbeat("a", JOINING));
    assert_eq!(stage.answer(ticket), None);
    stage.ask(owning("b", 2, [2, 3])).unwrap();
    assert_eq!(numbers(&stage.answer(ticket).unwrap().unwrap()), [0, 1]);
}

#[test]
fn group_that_nobody_comes_back_to_is_empty_in_the_log() {
    let mut stage = restarted();
    stage.pass(RECOVERY_GRACE);
    assert_eq!(stage.log, (3, vec![]));
    assert!(stage.coordinator.is_empty());
}
