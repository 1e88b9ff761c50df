//! Members with an instance id: a place that outlives the process.

use super::*;

fn member(id: &str, generation: i32, numbers: impl IntoIterator<Item = i32>) -> Heartbeat {
    Heartbeat {
        instance_id: Some(Arc::from("i")),
        ..owning(id, generation, numbers)
    }
}

/// `a1` is instance `i` and holds 0 and 1; `b` holds 2 and 3. Generation 2.
fn stage() -> Stage {
    let mut stage = Stage::new(4);
    stage.ask(member("a1", JOINING, [])).unwrap();
    stage.ask(heartbeat("b", JOINING)).unwrap();
    stage.ask(member("a1", 1, 0..4)).unwrap();
    stage.send(member("a1", 2, [0, 1]));
    stage.ask(heartbeat("b", 2)).unwrap();
    assert_eq!(stage.view().state, GroupState::Stable);
    stage
}

#[test]
fn new_member_of_an_instance_takes_its_place_in_the_same_generation() {
    let mut stage = stage();
    let b = stage.send(owning("b", 2, [2, 3]));
    stage.is_log_prompt = false;
    let a2 = stage.send(member("a2", JOINING, []));
    assert_eq!(
        code(stage.ask(member("a1", 2, [0, 1]))),
        ErrorCode::FencedInstanceId
    );
    assert_eq!(
        code(stage.commit(Some(("a1", 2)), &[0])),
        ErrorCode::FencedInstanceId
    );
    assert_eq!(stage.answer(a2), None, "the log does not know it yet");
    assert_eq!(stage.unpersisted, Some((2, vec!["a2".into(), "b".into()])));
    stage.persist();
    let told = stage.answer(a2).unwrap().unwrap();
    assert_eq!((told.generation, numbers(&told)), (2, vec![0, 1]));
    assert_eq!(stage.answer(b), None, "the others notice nothing");
    assert!(stage.commit(Some(("a2", 2)), &[0, 1]).is_ok());
    assert_eq!(stage.view().state, GroupState::Stable);
}

#[test]
fn instance_that_goes_away_for_a_moment_keeps_its_place() {
    let mut stage = stage();
    let bye = stage.ask(member("a1", AWAY, [])).unwrap();
    assert_eq!(bye.generation, AWAY);
    stage.end_session(1);
    stage.send(owning("b", 2, [2, 3]));
    stage.pass(ms(44_000));
    stage.send(owning("b", 2, [2, 3]));
    assert_eq!(
        code(stage.ask(member("a1", 2, [0, 1]))),
        ErrorCode::FencedInstanceId
    );
    assert_eq!(
        code(stage.commit(Some(("a1", 2)), &[0])),
        ErrorCode::FencedInstanceId
    );
    let told = stage.ask(member("a2", JOINING, [])).unwrap();
    assert_eq!((told.generation, numbers(&told)), (2, vec![0, 1]));
}

#[test]
fn instance_that_stays_away_for_too_long_loses_its_place() {
    let mut stage = stage();
    stage.ask(member("a1", AWAY, [])).unwrap();
    stage.pass(ms(40_000));
    let b = stage.send(owning("b", 2, [2, 3]));
    stage.pass(ms(2_999));
    assert_eq!(stage.answer(b), None);
    stage.pass(ms(2_001));
    let told = stage.ask(owning("b", 2, [2, 3])).unwrap();
    assert_eq!((told.generation, numbers(&told)), (3, vec![0, 1, 2, 3]));
}

#[test]
fn partition_of_an_instance_that_is_away_moves_without_being_asked_for() {
    let mut stage = stage();
    stage.ask(member("a1", AWAY, [])).unwrap();
    // The others keep what they have; c takes one of those that nobody reads right now.
    let c = stage.ask(heartbeat("c", JOINING)).unwrap();
    assert_eq!((c.generation, numbers(&c)), (3, vec![1]));
    let told = stage.ask(member("a2", JOINING, [])).unwrap();
    assert_eq!((told.generation, numbers(&told)), (3, vec![0]));
}

#[test]
fn what_a_replaced_member_had_not_let_go_of_waits_for_the_next_generation() {
    let mut stage = Stage::new(2);
    stage.ask(member("a1", JOINING, [])).unwrap();
    stage.ask(heartbeat("b", JOINING)).unwrap();
    // a1 is to let go of 1, and is replaced before it has.
    stage.is_log_prompt = false;
    let b = stage.send(heartbeat("b", 2));
    let a2 = stage.send(member("a2", JOINING, []));
    assert_eq!(stage.answer(b), None);
    assert_eq!(
        stage
            .unpersisted
            .as_ref()
            .map(|(generation, _)| *generation),
        Some(3)
    );
    stage.persist();
    assert_eq!(numbers(&stage.answer(a2).unwrap().unwrap()), [0]);
    assert_eq!(numbers(&stage.answer(b).unwrap().unwrap()), [1]);
}

#[test]
fn only_instances_go_away_for_a_moment() {
    let mut stage = stage();
    assert_eq!(
        code(stage.ask(heartbeat("b", AWAY))),
        ErrorCode::InvalidRequest
    );
    assert_eq!(
        code(stage.ask(heartbeat("a1", 2))),
        ErrorCode::InvalidRequest
    );
    assert_eq!(
        code(stage.ask(member("a9", 2, []))),
        ErrorCode::FencedInstanceId
    );
}

#[test]
fn a_member_that_was_removed_does_not_take_its_name_back_from_who_has_it_now() {
    // It was told that it is no member, joined again under the name, and so ended the one that had replaced it.
    let mut stage = stage();
    stage.send(owning("b", 2, [2, 3]));
    stage.end_session(1);
    stage.pass(ms(40_000));
    stage.send(owning("b", 2, [2, 3]));
    stage.pass(ms(20_000));
    let late = member("a1", 2, [0, 1]);
    assert_eq!(code(stage.ask(late.clone())), ErrorCode::UnknownMemberId);
    stage.send(member("a2", JOINING, []));
    assert_eq!(code(stage.ask(late)), ErrorCode::FencedInstanceId);
}
