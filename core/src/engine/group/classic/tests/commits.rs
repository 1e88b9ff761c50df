//! Whose commits count.

use super::*;

#[test]
fn member_commits_in_its_generation_alone() {
    let mut stage = Stage::stable(&["a", "b"]);
    assert!(stage.commit("a", 1).is_ok());
    assert_eq!(code(stage.commit("a", 0)), ErrorCode::IllegalGeneration);
    assert_eq!(code(stage.commit("x", 1)), ErrorCode::UnknownMemberId);
    assert_eq!(code(stage.commit("", -1)), ErrorCode::UnknownMemberId);
    // Before it joins again it says how far it came.
    stage.join(new("c"));
    assert!(stage.commit("a", 1).is_ok());
    stage.join(again("a"));
    stage.join(again("b"));
    assert_eq!(code(stage.commit("a", 1)), ErrorCode::IllegalGeneration);
    assert_eq!(code(stage.commit("a", 2)), ErrorCode::RebalanceInProgress);
}

#[test]
fn group_without_members_takes_commits_by_hand() {
    let mut stage = Stage::new();
    assert!(stage.commit("", -1).is_ok());
    assert_eq!(code(stage.commit("a", 3)), ErrorCode::UnknownMemberId);
    stage.join(Join {
        must_know_id: true,
        ..new("a")
    });
    assert!(stage.commit("", -1).is_ok());
    stage.join(again("a"));
    assert_eq!(code(stage.commit("", -1)), ErrorCode::UnknownMemberId);
}

#[test]
fn offsets_of_topics_that_are_read_are_not_deleted() {
    let mut stage = Stage::new();
    // Version 0, topics `t`.
    stage.join(Join {
        protocols: vec![protocol("range", "\0\0\0\0\0\x01\0\x01t\0\0\0\0")],
        ..new("a")
    });
    let check = |topic| stage.coordinator.is_read(GROUP, topic);
    assert_eq!(check("t"), Ok(true));
    assert_eq!(check("u"), Ok(false));
    assert_eq!(stage.coordinator.is_read("other", "t"), Ok(false));
    stage.restart();
    assert_eq!(
        stage.coordinator.is_read(GROUP, "u"),
        Ok(false),
        "the log knows nobody"
    );
    let mut stage = Stage::new();
    stage.join(Join {
        protocol_type: Arc::from("connect"),
        ..new("a")
    });
    let refused = stage.coordinator.is_read(GROUP, "u");
    assert_eq!(code(refused), ErrorCode::NonEmptyGroup);
}
