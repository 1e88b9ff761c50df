//! Whose commits count.

use super::*;

#[test]
fn member_commits_what_it_holds_in_its_generations() {
    let mut stage = Stage::new(4);
    stage.ask(heartbeat("a", JOINING)).unwrap();
    assert!(stage.commit(Some(("a", 1)), &[0, 3]).is_ok());
    stage.ask(heartbeat("b", JOINING)).unwrap();
    // What it is to let go of it may commit until it has, also under the generation it knows.
    assert!(stage.commit(Some(("a", 1)), &[0, 3]).is_ok());
    assert!(stage.commit(Some(("a", 2)), &[0, 3]).is_ok());
    assert_eq!(
        code(stage.commit(Some(("a", 3)), &[0])),
        ErrorCode::IllegalGeneration
    );
    assert_eq!(
        code(stage.commit(Some(("b", 1)), &[])),
        ErrorCode::IllegalGeneration
    );
    assert_eq!(
        code(stage.commit(Some(("b", 2)), &[3])),
        ErrorCode::IllegalGeneration
    );
    stage.send(owning("a", 2, [0, 1]));
    assert_eq!(
        code(stage.commit(Some(("a", 2)), &[0, 3])),
        ErrorCode::IllegalGeneration
    );
    assert!(stage.commit(Some(("b", 2)), &[3]).is_ok());
    let error = stage.commit(Some(("a", 2)), &[3]).unwrap_err();
    assert_eq!(
        error.message(),
        "member `a` of group `g` does not hold partition 3 of topic `t` in generation 2"
    );
}

#[test]
fn commit_of_before_a_partition_came_back_does_not_count() {
    let mut stage = Stage::new(2);
    stage.ask(heartbeat("a", JOINING)).unwrap();
    stage.ask(heartbeat("b", JOINING)).unwrap();
    stage.send(owning("a", 2, [0]));
    stage.ask(heartbeat("b", 2)).unwrap();
    stage.ask(heartbeat("b", LEAVING)).unwrap();
    assert_eq!(numbers(&stage.ask(owning("a", 2, [0])).unwrap()), [0, 1]);
    assert!(stage.commit(Some(("a", 2)), &[0]).is_ok());
    assert_eq!(
        code(stage.commit(Some(("a", 2)), &[1])),
        ErrorCode::IllegalGeneration
    );
    assert!(stage.commit(Some(("a", 3)), &[0, 1]).is_ok());
}

#[test]
fn commit_by_hand_counts_while_there_is_no_member() {
    let mut stage = Stage::new(2);
    assert!(stage.commit(None, &[0]).is_ok());
    stage.ask(heartbeat("a", JOINING)).unwrap();
    assert_eq!(code(stage.commit(None, &[0])), ErrorCode::NonEmptyGroup);
    stage.ask(heartbeat("a", LEAVING)).unwrap();
    assert!(stage.commit(None, &[0]).is_ok());
}

#[test]
fn commit_of_a_removed_member_says_why() {
    let mut stage = Stage::new(2);
    assert_eq!(
        code(stage.commit(Some(("a", 1)), &[0])),
        ErrorCode::UnknownMemberId
    );
    stage.ask(heartbeat("a", JOINING)).unwrap();
    stage.pass(ms(45_000));
    let error = stage.commit(Some(("a", 1)), &[0]).unwrap_err();
    assert_eq!(error.code(), ErrorCode::UnknownMemberId);
    assert!(
        error.message().contains("was silent for 45000 ms"),
        "{error}"
    );
}

#[test]
fn exclusive_member_commits_in_its_generation() {
    let mut stage = Stage::new(2);
    let a = Heartbeat {
        lifetime: Lifetime::Exclusive,
        ..heartbeat("a", JOINING)
    };
    stage.ask(a).unwrap();
    assert!(stage.commit(Some(("a", 1)), &[0, 1]).is_ok());
    assert_eq!(
        code(stage.commit(Some(("a", 0)), &[0])),
        ErrorCode::IllegalGeneration
    );
}
