//! After a restart of the broker.

use super::*;

fn restarted() -> Stage {
    let mut stage = Stage::stable(&["a", "b"]);
    stage.restart();
    assert_eq!(stage.view().state, GroupState::Recovering);
    stage
}

#[test]
fn members_join_again_under_their_ids() {
    let mut stage = restarted();
    assert_eq!(code(stage.beat("a", 1)), ErrorCode::RebalanceInProgress);
    assert_eq!(code(stage.beat("a", 0)), ErrorCode::IllegalGeneration);
    assert_eq!(code(stage.beat("x", 1)), ErrorCode::UnknownMemberId);
    let a = stage.join(again("a"));
    assert!(stage.joined.is_empty());
    let b = stage.join(again("b"));
    assert_eq!((stage.told(a).generation, stage.told(b).generation), (2, 2));
}

#[test]
fn members_of_before_still_commit_what_they_did() {
    let stage = restarted();
    assert!(stage.commit("a", 1).is_ok());
    assert_eq!(code(stage.commit("a", 0)), ErrorCode::IllegalGeneration);
    let waits = ErrorCode::CoordinatorLoadInProgress;
    assert_eq!(code(stage.commit("", -1)), waits);
}

#[test]
fn who_does_not_come_back_is_given_up_after_a_while() {
    let mut stage = restarted();
    let a = stage.join(again("a"));
    let c = stage.join(new("c"));
    stage.pass(ms(9_999));
    assert!(stage.joined.is_empty());
    stage.pass(ms(1));
    assert_eq!((stage.told(a).generation, stage.told(c).generation), (2, 2));
    assert_eq!(code(stage.commit("b", 1)), ErrorCode::UnknownMemberId);
}

#[test]
fn group_that_nobody_comes_back_to_is_empty_in_the_log() {
    let mut stage = restarted();
    stage.pass(ms(10_000));
    assert_eq!(stage.log, (2, vec![]));
    assert!(stage.coordinator.is_empty());
}

#[test]
fn member_that_leaves_is_not_waited_for() {
    let mut stage = restarted();
    let a = stage.join(again("a"));
    assert_eq!(stage.leave(&[("b", None)]), [Ok(())]);
    assert_eq!(stage.told(a).generation, 2);
}

#[test]
fn instance_that_comes_back_anew_is_not_waited_for_as_what_it_was() {
    let mut stage = Stage::new();
    let uuid = "01234567-89ab-cdef-0123-456789abcdef";
    let id = format!("i-{uuid}");
    stage.join(instance(&id, "i"));
    stage.join(new("b"));
    stage.pass(ms(1_000));
    stage.restart();
    let b = stage.join(again("b"));
    let i = stage.join(instance("i-new", "i"));
    assert_eq!((stage.told(b).generation, stage.told(i).generation), (2, 2));
    assert_eq!(code(stage.commit(&id, 1)), ErrorCode::UnknownMemberId);
}

#[test]
fn who_was_replaced_before_the_restart_stays_fenced() {
    let mut stage = Stage::new();
    stage.join(instance("a1", "i"));
    stage.pass(ms(1_000));
    stage.settle(&["a1"]);
    stage.join(instance("a2", "i"));
    stage.restart();
    assert_eq!(code(stage.commit("a1", 1)), ErrorCode::UnknownMemberId);
    assert!(stage.commit("a2", 1).is_ok());
}
