//! Members with an instance id: a place that outlives the process.

use super::*;

/// `a1` is instance `i` and leads, `b` follows, and both are assigned their names in generation 1.
fn stage() -> Stage {
    let mut stage = Stage::new();
    stage.join(instance("a1", "i"));
    stage.join(new("b"));
    stage.pass(ms(1_000));
    stage.settle(&["a1", "b"]);
    stage
}

#[test]
fn new_member_of_an_instance_takes_its_place_once_the_log_knows() {
    let mut stage = stage();
    stage.is_log_prompt = false;
    let a2 = stage.join(instance("a2", "i"));
    let listed = vec!["classic/a2".into(), "classic/b".into()];
    assert_eq!(
        stage.unpersisted.as_ref().map(|it| (it.1, it.2.clone())),
        Some((1, listed))
    );
    assert!(stage.joined.is_empty());
    assert_eq!(code(stage.commit("a1", 1)), ErrorCode::UnknownMemberId);
    let fenced = Speaker {
        instance_id: Some(Arc::from("i")),
        ..speaker("a1", 1)
    };
    let now = stage.now;
    assert_eq!(
        code(stage.coordinator.beat(now, &fenced)),
        ErrorCode::FencedInstanceId
    );
    let refused = stage.coordinator.check_classic_commit(&fenced);
    assert_eq!(code(refused), ErrorCode::FencedInstanceId);
    stage.persist(Ok(()));
    let told = stage.told(a2);
    // It would assign if it knew that it leads, and nobody would hear of it.
    assert_eq!(told.generation, 1);
    assert!(told.leader != told.member_id && told.members.is_empty());
    assert!(stage.beat("b", 1).is_ok(), "the others notice nothing");
    let ticket = stage.sync(sync("a2", 1, &[]));
    let synced = stage.synced.remove(&ticket).unwrap().unwrap();
    assert_eq!(synced.assignment, "a1");
    assert!(stage.commit("a2", 1).is_ok());
}

#[test]
fn leader_that_comes_back_is_told_that_it_has_nothing_to_decide() {
    let mut stage = stage();
    let a2 = stage.join(Join {
        can_skip_assignment: true,
        ..instance("a2", "i")
    });
    let told = stage.told(a2);
    assert_eq!((&*told.leader, told.members.len()), ("a2", 2));
    assert!(told.skip_assignment);
}

#[test]
fn place_is_taken_over_in_the_middle_of_a_rebalance() {
    let mut stage = stage();
    let a1 = stage.join(Join {
        instance_id: Some(Arc::from("i")),
        ..again("a1")
    });
    let a2 = stage.join(instance("a2", "i"));
    let fenced = stage.joined.remove(&a1).expect("it is answered");
    assert_eq!(code(fenced), ErrorCode::FencedInstanceId);
    let b = stage.join(again("b"));
    assert_eq!(
        (stage.told(a2).generation, stage.told(b).generation),
        (2, 2)
    );
}

#[test]
fn earlier_self_that_joins_again_is_fenced() {
    let mut stage = stage();
    stage.join(instance("a2", "i"));
    let a1 = stage.join(Join {
        instance_id: Some(Arc::from("i")),
        ..again("a1")
    });
    let fenced = stage.joined.remove(&a1).expect("it is answered");
    assert_eq!(code(fenced), ErrorCode::FencedInstanceId);
}

#[test]
fn instance_that_does_not_join_again_keeps_its_place_until_its_session_ends() {
    let mut stage = stage();
    let c = stage.join(new("c"));
    let b = stage.join(again("b"));
    stage.pass_with_beats(ms(9_000), &[], 1);
    assert_eq!(stage.ids(), ["a1", "b", "c"]);
    stage.pass(ms(1_000));
    assert_eq!(stage.told(b).members.len() + stage.told(c).members.len(), 2);
    assert_eq!(stage.ids(), ["b", "c"]);
}

#[test]
fn instance_that_lives_and_does_not_join_again_is_in_the_next_generation() {
    let mut stage = stage();
    let c = stage.join(new("c"));
    let b = stage.join(again("b"));
    stage.pass_with_beats(ms(60_000), &["a1"], 1);
    let (b, c) = (stage.told(b), stage.told(c));
    assert_eq!(b.members.len() + c.members.len(), 3);
    assert_ne!(&*b.leader, "a1");
}

#[test]
fn instance_is_removed_by_its_name_alone() {
    let mut stage = stage();
    let results = stage.leave(&[("", Some("i")), ("", Some("x")), ("b", None), ("q", None)]);
    let codes = results
        .into_iter()
        .map(|result| result.err().map(|error| error.code()));
    let unknown = Some(ErrorCode::UnknownMemberId);
    assert_eq!(codes.collect::<Vec<_>>(), [None, unknown, None, unknown]);
    assert!(stage.coordinator.is_empty());
}

#[test]
fn instance_is_not_removed_by_its_earlier_self() {
    let mut stage = stage();
    stage.join(instance("a2", "i"));
    let result = stage.leave(&[("a1", Some("i"))]).remove(0);
    assert_eq!(code(result), ErrorCode::FencedInstanceId);
}

#[test]
fn replacement_that_the_log_does_not_take_has_all_join_again() {
    let mut stage = stage();
    stage.is_log_prompt = false;
    let a2 = stage.join(instance("a2", "i"));
    stage.persist(failed());
    let told = stage.joined.remove(&a2).expect("it is answered");
    assert_eq!(code(told), ErrorCode::CoordinatorLoadInProgress);
    stage.is_log_prompt = true;
    let a3 = stage.join(instance("a3", "i"));
    let b = stage.join(again("b"));
    assert_eq!(
        (stage.told(a3).generation, stage.told(b).generation),
        (2, 2)
    );
}

#[test]
fn rebalance_that_begins_while_the_log_is_told_of_a_replacement_has_its_own_generation() {
    // The write of the replacement, in generation 1, was taken for the one of the next generation.
    let mut stage = stage();
    stage.is_log_prompt = false;
    let a2 = stage.join(instance("a2", "i"));
    let b = stage.join(Join {
        protocols: vec![protocol("range", "other")],
        ..again("b")
    });
    stage.persist(Ok(()));
    assert!(stage.joined.is_empty());
    stage.persist(Ok(()));
    assert_eq!(
        (stage.told(a2).generation, stage.told(b).generation),
        (2, 2)
    );
}
