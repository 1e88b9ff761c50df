//! How partitions move: only after they were let go of, and only those that must.

use super::*;

/// `a` holds all four partitions, `b` has joined.
fn two_members() -> (Stage, u64) {
    let mut stage = Stage::new(4);
    stage.ask(heartbeat("a", JOINING)).unwrap();
    let waiting = stage.send(owning("a", 1, 0..4));
    let b = stage.ask(heartbeat("b", JOINING)).unwrap();
    assert_eq!((b.generation, numbers(&b)), (2, vec![]));
    (stage, waiting)
}

#[test]
fn partition_moves_when_its_holder_has_confirmed() {
    let (mut stage, waiting) = two_members();
    let told = stage.answer(waiting).unwrap().unwrap();
    assert_eq!((told.generation, numbers(&told)), (2, vec![0, 1]));
    let b = stage.send(heartbeat("b", 2));
    // It knows, and is not done with all of them yet.
    stage.send(owning("a", 2, [0, 1, 2]));
    assert_eq!(numbers(&stage.answer(b).unwrap().unwrap()), [3]);
    assert_eq!(stage.view().state, GroupState::Reconciling);
    let b = stage.send(owning("b", 2, [3]));
    stage.send(owning("a", 2, [0, 1]));
    assert_eq!(numbers(&stage.answer(b).unwrap().unwrap()), [2, 3]);
    assert_eq!(stage.view().state, GroupState::Stable);
}

#[test]
fn heartbeat_of_an_older_generation_confirms_nothing() {
    let (mut stage, _) = two_members();
    let b = stage.send(heartbeat("b", 2));
    // A join or a heartbeat that was on its way for long: it owned nothing then.
    stage.ask(owning("a", 1, [])).unwrap();
    stage.ask(heartbeat("a", JOINING)).unwrap();
    assert_eq!(stage.answer(b), None);
}

#[test]
fn release_that_is_slow_is_not_asked_for_again_and_again() {
    let (mut stage, _) = two_members();
    let ticket = stage.send(owning("a", 2, 0..4));
    assert_eq!(stage.answer(ticket), None, "it has been told");
    stage.pass(ms(3_000));
    assert_eq!(numbers(&stage.answer(ticket).unwrap().unwrap()), [0, 1]);
}

#[test]
fn member_that_does_not_let_go_in_time_is_removed_and_learns_why() {
    let (mut stage, _) = two_members();
    for _ in 0..20 {
        stage.pass(ms(3_000));
        stage.send(owning("a", 2, 0..4));
        stage.send(heartbeat("b", 2));
    }
    let b = stage.send(heartbeat("b", 2));
    stage.pass(ms(1));
    let error = stage.ask(owning("a", 2, 0..4)).unwrap_err();
    assert_eq!(error.code(), ErrorCode::UnknownMemberId);
    assert!(
        error
            .message()
            .ends_with("its rebalance_timeout_ms is 60000"),
        "{error}"
    );
    let told = stage.ask(heartbeat("b", 2)).unwrap();
    assert_eq!((told.generation, numbers(&told)), (3, vec![0, 1, 2, 3]));
    assert!(stage.answer(b).is_some());
}

#[test]
fn what_a_removed_member_held_moves_only_when_the_log_knows() {
    let (mut stage, _) = two_members();
    stage.is_log_prompt = false;
    let b = stage.send(heartbeat("b", 2));
    stage.ask(heartbeat("a", LEAVING)).unwrap();
    assert_eq!(stage.answer(b), None);
    stage.persist();
    assert_eq!(numbers(&stage.answer(b).unwrap().unwrap()), [0, 1, 2, 3]);
}

#[test]
fn partition_that_is_given_back_before_it_left_stays() {
    let (mut stage, _) = two_members();
    stage.ask(heartbeat("b", LEAVING)).unwrap();
    let a = stage.ask(owning("a", 2, 0..4)).unwrap();
    assert_eq!((a.generation, numbers(&a)), (3, vec![0, 1, 2, 3]));
    assert_eq!(stage.view().state, GroupState::Stable);
}

#[test]
fn topics_that_come_and_go_are_dealt_out_anew() {
    let mut stage = Stage::new(1);
    let both = |generation, owned: BTreeSet<TopicPartition>| Heartbeat {
        topics: BTreeSet::from([topic("t"), topic("u")]),
        owned,
        ..heartbeat("a", generation)
    };
    let a = stage.ask(both(JOINING, BTreeSet::new())).unwrap();
    assert_eq!(a.partitions, [partition("t", 0)]);
    let waiting = stage.send(both(1, partitions("t", [0])));
    stage.set_topic("u", Some(2));
    let told = stage.answer(waiting).unwrap().unwrap();
    assert_eq!(told.generation, 2);
    assert_eq!(
        told.partitions,
        [partition("t", 0), partition("u", 0), partition("u", 1)]
    );
    let owned = told.partitions.into_iter().collect();
    let waiting = stage.send(both(2, owned));
    stage.set_topic("other", Some(2));
    assert_eq!(stage.answer(waiting), None);
    stage.set_topic("t", None);
    let told = stage.answer(waiting).unwrap().unwrap();
    assert_eq!((told.generation, numbers(&told)), (3, vec![0, 1]));
}

/// What was read of a topic counted for the next of its name: nobody had to let go of it in between.
#[test]
fn what_is_held_of_a_topic_that_is_gone_is_let_go_of_before_another_of_its_name_is_had() {
    let mut stage = Stage::new(2);
    stage.ask(heartbeat("a", JOINING)).unwrap();
    stage.set_topic("t", None);
    stage.set_topic("t", Some(2));
    assert_eq!(
        code(stage.commit(Some(("a", 1)), &[0])),
        ErrorCode::IllegalGeneration
    );
    let told = stage.ask(owning("a", 1, [0, 1])).unwrap();
    assert_eq!((told.generation, numbers(&told)), (3, vec![]));
    assert_eq!(
        code(stage.commit(Some(("a", 3)), &[0])),
        ErrorCode::IllegalGeneration
    );
    let told = stage.ask(owning("a", 3, [])).unwrap();
    assert_eq!((told.generation, numbers(&told)), (3, vec![0, 1]));
    assert!(stage.commit(Some(("a", 3)), &[0, 1]).is_ok());
}

#[test]
fn what_comes_back_of_a_topic_that_is_gone_is_let_go_of_too() {
    let mut stage = Stage::new(2);
    stage.ask(heartbeat("a", JOINING)).unwrap();
    stage.restart(2);
    stage.set_topic("t", None);
    stage.ask(owning("a", 1, [0, 1])).unwrap();
    stage.set_topic("t", Some(2));
    let told = stage.ask(owning("a", 1, [0, 1])).unwrap();
    assert!(told.partitions.is_empty());
    let generation = told.generation;
    assert_eq!(
        code(stage.commit(Some(("a", generation)), &[0])),
        ErrorCode::IllegalGeneration
    );
    let told = stage.ask(owning("a", generation, [])).unwrap();
    assert_eq!(numbers(&told), [0, 1]);
}

/// A member that was missing when its topic was deleted and created again, or had not heard of the deletion when the
/// broker was lost, went on where it had stood in the first.
#[test]
fn what_a_missing_member_held_of_a_topic_that_is_gone_is_let_go_of_too() {
    for is_gone_before in [false, true] {
        let mut stage = Stage::new(2);
        stage.ask(heartbeat("a", JOINING)).unwrap();
        stage.restart_with((!is_gone_before).then_some(2), None);
        if !is_gone_before {
            stage.set_topic("t", None);
        }
        stage.set_topic("t", Some(2));
        // If the broker is lost once more nobody knows what it holds.
        assert_eq!(stage.log, (1, vec![]));
        stage.ask(owning("a", 1, [0, 1])).unwrap();
        let told = stage.ask(owning("a", 1, [0, 1])).unwrap();
        assert!(told.partitions.is_empty());
        let generation = told.generation;
        assert_eq!(stage.log, (generation, vec![]));
        assert_eq!(
            code(stage.commit(Some(("a", generation)), &[0])),
            ErrorCode::IllegalGeneration
        );
        let told = stage.ask(owning("a", generation, [])).unwrap();
        assert_eq!(numbers(&told), [0, 1]);
        assert_eq!(stage.log, (generation, vec![MemberId::from("a")]));
    }
}

/// A commit of what a crash had taken back counted, and the group passed over what was written in its place. So it did
/// when the broker was closed in order before the member was back: then nothing seemed to be in doubt.
#[test]
fn what_a_crash_may_have_taken_back_is_let_go_of_by_who_comes_back() {
    let mut stage = Stage::new(2);
    stage.ask(heartbeat("a", JOINING)).unwrap();
    stage.restart_with(Some(2), Some("t"));
    assert_eq!(stage.log, (1, vec![]), "it is not to come back with that");
    stage.ask(owning("a", 1, [0, 1])).unwrap();
    assert_eq!(
        code(stage.commit(Some(("a", 1)), &[0])),
        ErrorCode::IllegalGeneration
    );
    let told = stage.ask(owning("a", 1, [0, 1])).unwrap();
    assert!(told.partitions.is_empty());
    let generation = told.generation;
    let told = stage.ask(owning("a", generation, [])).unwrap();
    assert_eq!(numbers(&told), [0, 1]);
    assert_eq!(stage.log, (generation, vec![MemberId::from("a")]));
    assert!(stage.commit(Some(("a", generation)), &[0, 1]).is_ok());
}

#[test]
fn subscription_that_changes_is_a_new_generation() {
    let mut stage = Stage::new(1);
    stage.set_topic("u", Some(1));
    stage.ask(heartbeat("a", JOINING)).unwrap();
    let other = Heartbeat {
        topics: BTreeSet::from([topic("u")]),
        ..owning("a", 1, [0])
    };
    let told = stage.ask(other).unwrap();
    assert_eq!(
        (told.generation, told.partitions),
        (2, vec![partition("u", 0)])
    );
}

#[test]
fn changes_while_the_log_is_written_make_one_generation() {
    let mut stage = Stage::new(6);
    stage.is_log_prompt = false;
    let a = stage.send(heartbeat("a", JOINING));
    let b = stage.send(heartbeat("b", JOINING));
    let c = stage.send(heartbeat("c", JOINING));
    stage.persist();
    assert_eq!(
        numbers(&stage.answer(a).unwrap().unwrap()),
        [0, 1, 2, 3, 4, 5]
    );
    assert_eq!(
        stage
            .unpersisted
            .as_ref()
            .map(|(generation, _)| *generation),
        Some(2)
    );
    stage.persist();
    assert_eq!(stage.answer(b).unwrap().unwrap().generation, 2);
    assert_eq!(stage.answer(c).unwrap().unwrap().generation, 2);
    assert_eq!(stage.unpersisted, None);
}

#[test]
fn assignor_that_most_name_is_taken() {
    let mut stage = Stage::new(4);
    for (id, assignor) in [
        ("a", Assignor::Sticky),
        ("b", Assignor::Range),
        ("c", Assignor::Range),
    ] {
        stage
            .ask(Heartbeat {
                assignor,
                ..heartbeat(id, JOINING)
            })
            .unwrap();
    }
    let a = stage.ask(owning("a", 1, 0..4)).unwrap();
    assert_eq!(numbers(&a), [0, 1], "range gives the first the longest run");
}
