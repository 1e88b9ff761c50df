//! Joining, leaving, silence, lost connections.

use super::*;

#[test]
fn members_that_come_together_are_in_one_generation_that_the_log_has() {
    let mut stage = Stage::new();
    stage.is_log_prompt = false;
    let a = stage.join(new("a"));
    stage.pass(ms(30));
    let b = stage.join(new("b"));
    stage.pass(ms(49));
    assert!(stage.unpersisted.is_none(), "it waits for more");
    stage.pass(ms(1));
    let listed = vec!["classic/a".into(), "classic/b".into()];
    assert_eq!(
        stage.unpersisted.as_ref().map(|it| (it.1, it.2.clone())),
        Some((1, listed))
    );
    assert!(stage.joined.is_empty(), "the log does not have it");
    assert_eq!(stage.view().state, GroupState::PreparingRebalance);
    stage.persist(Ok(()));
    let (a, b) = (stage.told(a), stage.told(b));
    assert_eq!((a.generation, b.generation), (1, 1));
    assert_eq!((&*a.leader, &*b.leader), ("a", "a"));
    let told: Vec<_> = a
        .members
        .iter()
        .map(|it| (&*it.member_id, &it.metadata[..]))
        .collect();
    assert_eq!(told, [("a", &b"a"[..]), ("b", b"b")]);
    assert!(b.members.is_empty());
    assert_eq!((&*a.protocol, &*a.protocol_type), ("range", "consumer"));
    assert_eq!(stage.view().state, GroupState::CompletingRebalance);
}

#[test]
fn members_that_keep_coming_are_not_waited_for_without_end() {
    let mut stage = Stage::new();
    let first = stage.join(new("a0"));
    for number in 1..20 {
        stage.pass(ms(40));
        stage.join(new(&format!("a{number}")));
    }
    assert_eq!(stage.told(first).generation, 1);
}

#[test]
fn member_comes_a_second_time_with_the_id_it_was_given() {
    let mut stage = Stage::new();
    let first = stage.join(Join {
        must_know_id: true,
        ..new("a")
    });
    let given = Ok(Joined::IdRequired("a".into()));
    assert_eq!(stage.joined.remove(&first), Some(given));
    assert_eq!(stage.view().members.len(), 0);
    let second = stage.join(again("a"));
    stage.pass(ms(50));
    assert_eq!(stage.told(second).generation, 1);
}

#[test]
fn one_that_was_given_an_id_is_waited_for() {
    let mut stage = Stage::new();
    let a = stage.join(new("a"));
    let b = Join {
        must_know_id: true,
        session: 2,
        ..new("b")
    };
    stage.join(b);
    stage.pass(ms(1_000));
    assert!(!stage.joined.contains_key(&a));
    let back = stage.join(Join {
        session: 2,
        ..again("b")
    });
    assert_eq!(stage.told(a).members.len(), 2);
    assert_eq!(stage.told(back).generation, 1);
}

#[test]
fn one_that_was_given_an_id_and_goes_is_not_waited_for() {
    let mut stage = Stage::new();
    let a = stage.join(new("a"));
    stage.join(Join {
        must_know_id: true,
        session: 2,
        ..new("b")
    });
    stage.pass(ms(1_000));
    stage.end_session(2);
    assert_eq!(stage.told(a).members.len(), 1);
    assert_eq!(code_of(&mut stage, again("b")), ErrorCode::UnknownMemberId);
}

fn code_of(stage: &mut Stage, join: Join) -> ErrorCode {
    let ticket = stage.join(join);
    code(stage.joined.remove(&ticket).expect("it is answered"))
}

#[test]
fn group_that_nobody_comes_back_to_is_forgotten() {
    let mut stage = Stage::new();
    stage.join(Join {
        must_know_id: true,
        ..new("a")
    });
    stage.pass(ms(10_000));
    assert!(stage.coordinator.is_empty());
    assert_eq!(stage.coordinator.next_wakeup(), None);
    assert_eq!(stage.log.0, 0);
}

#[test]
fn new_member_has_the_others_join_again() {
    let mut stage = Stage::stable(&["a", "b"]);
    let c = stage.join(new("c"));
    assert_eq!(code(stage.beat("a", 1)), ErrorCode::RebalanceInProgress);
    let a = stage.join(again("a"));
    assert!(stage.joined.is_empty());
    let b = stage.join(again("b"));
    let generations = [a, b, c].map(|ticket| stage.told(ticket).generation);
    assert_eq!(generations, [2, 2, 2]);
    assert_eq!(code(stage.beat("a", 1)), ErrorCode::IllegalGeneration);
    assert!(stage.beat("a", 2).is_ok());
}

#[test]
fn who_does_not_join_again_in_time_is_left_out() {
    let mut stage = Stage::stable(&["a", "b"]);
    let c = stage.join(new("c"));
    let a = stage.join(again("a"));
    stage.pass_with_beats(ms(59_000), &["b"], 1);
    assert!(!stage.joined.contains_key(&c));
    stage.pass_with_beats(ms(1_000), &["b"], 1);
    assert_eq!(stage.told(a).members.len(), 2);
    assert_eq!(stage.ids(), ["a", "c"]);
    assert_eq!(code(stage.beat("b", 1)), ErrorCode::UnknownMemberId);
}

#[test]
fn silent_member_is_removed_and_the_others_join_again() {
    let mut stage = Stage::stable(&["a", "b"]);
    stage.pass_with_beats(ms(9_000), &["b"], 1);
    assert!(stage.beat("b", 1).is_ok());
    stage.pass_with_beats(ms(1_000), &["b"], 1);
    assert_eq!(code(stage.beat("b", 1)), ErrorCode::RebalanceInProgress);
    assert_eq!(code(stage.beat("a", 1)), ErrorCode::UnknownMemberId);
    let b = stage.join(again("b"));
    let told = stage.told(b);
    assert_eq!((told.generation, &*told.leader), (2, "b"));
}

#[test]
fn lost_connection_removes_nobody() {
    let mut stage = Stage::stable(&["a", "b"]);
    stage.end_session(1);
    stage.pass(ms(9_000));
    assert!(stage.beat("a", 1).is_ok());
    assert!(stage.beat("b", 1).is_ok());
}

#[test]
fn connection_lost_while_joining_removes_who_was_never_told_its_id() {
    let mut stage = Stage::stable(&["a"]);
    stage.join(Join {
        session: 7,
        ..new("b")
    });
    assert_eq!(stage.ids(), ["a", "b"]);
    stage.end_session(7);
    assert_eq!(stage.ids(), ["a"]);
    // The one that is known has its session's time to come again.
    stage.join(Join {
        session: 8,
        ..again("a")
    });
    stage.end_session(8);
    assert_eq!(stage.ids(), ["a"]);
}

#[test]
fn member_that_joins_is_not_silent() {
    let mut stage = Stage::stable(&["a", "b"]);
    let a = stage.join(again("a"));
    stage.pass_with_beats(ms(30_000), &["b"], 1);
    assert_eq!(stage.ids(), ["a", "b"]);
    stage.join(again("b"));
    assert_eq!(stage.told(a).generation, 2);
}

#[test]
fn member_that_leaves_has_the_others_join_again() {
    let mut stage = Stage::stable(&["a", "b"]);
    assert_eq!(stage.leave(&[("a", None)]), [Ok(())]);
    assert_eq!(
        code(stage.leave(&[("a", None)]).remove(0)),
        ErrorCode::UnknownMemberId
    );
    assert_eq!(code(stage.beat("b", 1)), ErrorCode::RebalanceInProgress);
    let b = stage.join(again("b"));
    assert_eq!(stage.told(b).generation, 2);
}

#[test]
fn group_without_members_is_forgotten_once_the_log_knows() {
    let mut stage = Stage::stable(&["a"]);
    stage.is_log_prompt = false;
    assert_eq!(stage.leave(&[("a", None)]), [Ok(())]);
    assert_eq!(
        stage.unpersisted.as_ref().map(|it| (it.1, it.2.len())),
        Some((2, 0))
    );
    stage.persist(Ok(()));
    assert!(stage.coordinator.is_empty());
    stage.is_log_prompt = true;
    let b = stage.join(new("b"));
    stage.pass(ms(50));
    assert_eq!(stage.told(b).generation, 3);
}

#[test]
fn who_comes_while_the_log_is_told_is_in_a_generation_that_the_log_has() {
    let mut stage = Stage::new();
    stage.is_log_prompt = false;
    let a = stage.join(new("a"));
    stage.pass(ms(50));
    let b = stage.join(new("b"));
    stage.persist(Ok(()));
    assert!(stage.joined.is_empty());
    stage.pass(ms(50));
    assert_eq!(
        stage.unpersisted.as_ref().map(|it| (it.1, it.2.len())),
        Some((2, 2))
    );
    stage.persist(Ok(()));
    assert_eq!((stage.told(a).generation, stage.told(b).generation), (2, 2));
}

#[test]
fn generation_that_the_log_does_not_take_is_tried_again_when_they_come_again() {
    let mut stage = Stage::stable(&["a"]);
    stage.is_log_prompt = false;
    let a = stage.join(again("a"));
    stage.persist(failed());
    let error = stage.joined.remove(&a).unwrap().unwrap_err();
    assert_eq!(error.code(), ErrorCode::CoordinatorLoadInProgress);
    assert!(stage.unpersisted.is_none());
    let a = stage.join(again("a"));
    stage.persist(Ok(()));
    assert_eq!(stage.told(a).generation, 2);
}

#[test]
fn protocol_is_one_that_all_have_and_most_like_best() {
    let mut stage = Stage::new();
    let with = |name: &str, names: &[&str]| Join {
        protocols: names.iter().map(|it| protocol(it, name)).collect(),
        ..new(name)
    };
    let a = stage.join(with("a", &["x", "y", "z"]));
    stage.join(with("b", &["z", "y"]));
    stage.join(with("c", &["y", "z", "w"]));
    let alone = ErrorCode::InconsistentGroupProtocol;
    assert_eq!(code_of(&mut stage, with("d", &["x", "w"])), alone);
    assert_eq!(code_of(&mut stage, with("d", &[])), alone);
    let other = Join {
        protocol_type: Arc::from("connect"),
        ..with("d", &["y"])
    };
    assert_eq!(code_of(&mut stage, other), alone);
    stage.pass(ms(50));
    assert_eq!(&*stage.told(a).protocol, "y");
}

#[test]
fn follower_that_joins_again_and_says_the_same_changes_nothing() {
    let mut stage = Stage::stable(&["a", "b"]);
    let b = stage.join(again("b"));
    assert_eq!(stage.told(b).generation, 1);
    assert_eq!(stage.view().state, GroupState::Stable);
    let b = stage.join(Join {
        protocols: vec![protocol("range", "other")],
        ..again("b")
    });
    let a = stage.join(again("a"));
    assert_eq!((stage.told(a).generation, stage.told(b).generation), (2, 2));
}

#[test]
fn leader_that_joins_again_has_all_join_again() {
    let mut stage = Stage::stable(&["a", "b"]);
    let a = stage.join(again("a"));
    assert!(stage.joined.is_empty());
    let b = stage.join(again("b"));
    assert_eq!((stage.told(a).generation, stage.told(b).generation), (2, 2));
}

#[test]
fn process_that_stood_still_loses_no_members() {
    let mut stage = Stage::stable(&["a", "b"]);
    stage.pass(ms(5_000));
    stage.now += ms(60_000);
    let outputs = stage.coordinator.advance(stage.now);
    stage.take(outputs);
    assert!(stage.beat("a", 1).is_ok());
    assert!(stage.beat("b", 1).is_ok());
}

#[test]
fn group_that_is_to_wait_for_nobody_begins_at_once() {
    let mut stage = Stage::new();
    stage.coordinator.set_initial_delay(ms(0));
    let a = stage.join(new("a"));
    assert_eq!(stage.told(a).generation, 1);
}
