//! Joining, leaving, silence, lost connections, and limits.

use super::*;
use crate::limits;

#[test]
fn first_member_gets_everything_once_the_log_has_its_generation() {
    let mut stage = Stage::new(3);
    stage.is_log_prompt = false;
    let ticket = stage.send(heartbeat("a", JOINING));
    assert_eq!(stage.answer(ticket), None);
    assert_eq!(stage.unpersisted, Some((1, vec!["a".into()])));
    assert_eq!(stage.view().state, GroupState::Reconciling);
    stage.persist();
    let assigned = stage.answer(ticket).unwrap().unwrap();
    assert_eq!(
        (assigned.generation, numbers(&assigned)),
        (1, vec![0, 1, 2])
    );
    assert_eq!(stage.view().state, GroupState::Stable);
}

#[test]
fn join_that_the_log_is_slow_with_is_answered_without_a_generation() {
    let mut stage = Stage::new(1);
    stage.is_log_prompt = false;
    let ticket = stage.send(heartbeat("a", JOINING));
    stage.pass(ms(3_000));
    let assigned = stage.answer(ticket).unwrap().unwrap();
    assert_eq!((assigned.generation, numbers(&assigned)), (JOINING, vec![]));
    let again = stage.send(heartbeat("a", JOINING));
    stage.persist();
    assert_eq!(stage.answer(again).unwrap().unwrap().generation, 1);
}

#[test]
fn join_that_is_repeated_is_the_same_member() {
    let mut stage = Stage::new(2);
    stage.ask(heartbeat("a", JOINING)).unwrap();
    let again = stage.ask(heartbeat("a", JOINING)).unwrap();
    assert_eq!((again.generation, numbers(&again)), (1, vec![0, 1]));
    assert_eq!(stage.view().members.len(), 1);
}

#[test]
fn heartbeat_without_news_is_answered_after_its_time() {
    let mut stage = Stage::new(1);
    stage.ask(heartbeat("a", JOINING)).unwrap();
    let ticket = stage.send(owning("a", 1, [0]));
    stage.pass(ms(2_999));
    assert_eq!(stage.answer(ticket), None);
    stage.pass(ms(1));
    assert_eq!(numbers(&stage.answer(ticket).unwrap().unwrap()), [0]);
}

#[test]
fn later_heartbeat_takes_the_place_of_the_one_that_waits() {
    let mut stage = Stage::new(1);
    stage.ask(heartbeat("a", JOINING)).unwrap();
    let first = stage.send(owning("a", 1, [0]));
    let second = stage.send(owning("a", 1, [0]));
    assert!(stage.answer(first).unwrap().is_ok());
    assert_eq!(stage.answer(second), None);
}

#[test]
fn member_that_leaves_makes_room_at_once() {
    let mut stage = Stage::new(2);
    stage.ask(heartbeat("a", JOINING)).unwrap();
    let b = stage.ask(heartbeat("b", JOINING)).unwrap();
    assert_eq!((b.generation, numbers(&b)), (2, vec![]));
    let waiting = stage.send(heartbeat("b", 2));
    let bye = stage.ask(heartbeat("a", LEAVING)).unwrap();
    assert_eq!(bye.generation, LEAVING);
    let told = stage.answer(waiting).unwrap().unwrap();
    assert_eq!((told.generation, numbers(&told)), (3, vec![0, 1]));
    // To leave twice is to have left; to come back under the same id is not possible.
    assert!(stage.ask(heartbeat("a", LEAVING)).is_ok());
    assert_eq!(
        code(stage.ask(heartbeat("a", JOINING))),
        ErrorCode::UnknownMemberId
    );
}

#[test]
fn group_without_members_is_forgotten_once_the_log_knows() {
    let mut stage = Stage::new(2);
    stage.ask(heartbeat("a", JOINING)).unwrap();
    stage.is_log_prompt = false;
    stage.ask(heartbeat("a", LEAVING)).unwrap();
    assert_eq!(stage.unpersisted, Some((2, vec![])));
    assert_eq!(stage.view().state, GroupState::Empty);
    stage.persist();
    assert!(stage.coordinator.is_empty());
    assert_eq!(stage.coordinator.next_wakeup(), None);
    // The next member goes on from the log's generation.
    stage.is_log_prompt = true;
    assert_eq!(stage.ask(heartbeat("b", JOINING)).unwrap().generation, 3);
}

#[test]
fn group_that_is_deleted_does_not_come_back_by_what_was_under_way() {
    let mut stage = Stage::new(2);
    stage.ask(heartbeat("a", JOINING)).unwrap();
    assert_eq!(
        code(stage.coordinator.forget(stage.now, GROUP)),
        ErrorCode::NonEmptyGroup
    );
    stage.is_log_prompt = false;
    stage.send(heartbeat("b", JOINING));
    let earlier = stage.write;
    stage.ask(heartbeat("a", LEAVING)).unwrap();
    stage.ask(heartbeat("b", LEAVING)).unwrap();
    stage.coordinator.forget(stage.now, GROUP).unwrap();
    stage.unpersisted = None;
    let c = stage.send(heartbeat("c", JOINING));
    // What the group before was still being told is not what this one waits for.
    let outputs = stage
        .coordinator
        .persisted(stage.now, GROUP, earlier, Ok(()));
    assert_eq!(outputs, []);
    assert_eq!(stage.answer(c), None);
    stage.persist();
    assert_eq!(numbers(&stage.answer(c).unwrap().unwrap()), [0, 1]);
}

#[test]
fn silent_member_is_removed_and_learns_why() {
    let mut stage = Stage::new(2);
    stage.ask(heartbeat("a", JOINING)).unwrap();
    stage.pass(ms(20_000));
    let waiting = stage.ask(heartbeat("b", JOINING)).unwrap();
    assert_eq!(numbers(&waiting), [0_i32; 0]);
    stage.pass(ms(24_999));
    assert_eq!(stage.view().members.len(), 2);
    stage.pass(ms(1_201));
    let told = stage.ask(heartbeat("b", 2)).unwrap();
    assert_eq!((told.generation, numbers(&told)), (3, vec![0, 1]));
    let error = stage.ask(owning("a", 1, [0, 1])).unwrap_err();
    assert_eq!(error.code(), ErrorCode::UnknownMemberId);
    assert_eq!(
        error.message(),
        "member `a` of group `g` was silent for 46200 ms; its session_timeout_ms is 45000"
    );
}

#[test]
fn time_in_which_the_broker_stood_still_is_no_silence() {
    let mut stage = Stage::new(1);
    stage.ask(heartbeat("a", JOINING)).unwrap();
    let waiting = stage.send(owning("a", 1, [0]));
    // Due after three seconds, called after a hundred.
    stage.now += ms(100_000);
    let outputs = stage.coordinator.advance(stage.now);
    stage.take(outputs);
    assert!(stage.answer(waiting).unwrap().is_ok());
    stage.pass(ms(41_999));
    assert_eq!(stage.view().members.len(), 1);
    stage.pass(ms(1));
    assert!(stage.coordinator.is_empty());
}

#[test]
fn heartbeat_that_waits_counts_from_when_it_came() {
    let mut stage = Stage::new(1);
    let short = |generation| Heartbeat {
        session_timeout: ms(1_000),
        heartbeat: ms(900),
        ..owning("a", generation, [0])
    };
    stage.ask(short(JOINING)).unwrap();
    let ticket = stage.send(short(1));
    stage.pass(ms(500));
    assert!(
        stage.answer(ticket).unwrap().is_ok(),
        "in time for the next one"
    );
}

#[test]
fn member_without_its_connection_has_two_heartbeats_to_come_back() {
    let mut stage = Stage::new(1);
    stage.ask(heartbeat("a", JOINING)).unwrap();
    let ticket = stage.send(owning("a", 1, [0]));
    stage.pass(ms(1_000));
    stage.end_session(1);
    assert_eq!(code(stage.answer(ticket).unwrap()), ErrorCode::Closed);
    stage.pass(ms(5_999));
    let again = Heartbeat {
        session: 2,
        ..owning("a", 1, [0])
    };
    assert_eq!(numbers(&stage.ask(again.clone()).unwrap()), [0]);
    stage.end_session(1);
    stage.pass(ms(44_000));
    assert_eq!(stage.view().members.len(), 1);
    stage
        .ask(Heartbeat {
            session: 3,
            ..owning("a", 1, [0])
        })
        .unwrap();
    stage.end_session(3);
    stage.pass(ms(6_000));
    let error = stage.ask(again).unwrap_err();
    assert!(
        error
            .message()
            .contains("lost its connection and was silent for 6000 ms"),
        "{error}"
    );
}

#[test]
fn member_that_ends_with_its_session_is_gone_at_once_and_not_in_the_log() {
    let mut stage = Stage::new(2);
    let a = Heartbeat {
        lifetime: Lifetime::Session,
        ..heartbeat("a", JOINING)
    };
    stage.ask(a).unwrap();
    assert_eq!(stage.log, (1, vec![]));
    let b = Heartbeat {
        session: 2,
        ..heartbeat("b", JOINING)
    };
    stage.ask(b).unwrap();
    assert_eq!(stage.log, (2, vec!["b".into()]));
    stage.end_session(1);
    let told = stage
        .ask(Heartbeat {
            session: 2,
            ..heartbeat("b", 2)
        })
        .unwrap();
    assert_eq!((told.generation, numbers(&told)), (3, vec![0, 1]));
}

#[test]
fn exclusive_member_shares_its_group_with_nobody() {
    let exclusive = |id| Heartbeat {
        lifetime: Lifetime::Exclusive,
        ..heartbeat(id, JOINING)
    };
    let mut stage = Stage::new(2);
    assert_eq!(numbers(&stage.ask(exclusive("a")).unwrap()), [0, 1]);
    assert_eq!(
        code(stage.ask(exclusive("b"))),
        ErrorCode::UnsupportedFeature
    );
    assert_eq!(
        code(stage.ask(heartbeat("b", JOINING))),
        ErrorCode::UnsupportedFeature
    );
    // It sends no heartbeats, and nothing changes under it.
    stage.pass(ms(100_000_000));
    stage.set_topic("t", Some(4));
    assert_eq!(
        (stage.view().generation, stage.view().members.len()),
        (1, 1)
    );
    stage.end_session(1);
    assert!(stage.coordinator.is_empty());
    stage.ask(heartbeat("b", JOINING)).unwrap();
    assert_eq!(
        code(stage.ask(exclusive("c"))),
        ErrorCode::UnsupportedFeature
    );
}

#[test]
fn log_that_refuses_fails_who_joins_and_is_asked_again_for_the_others() {
    let mut stage = Stage::new(2);
    stage.ask(heartbeat("a", JOINING)).unwrap();
    stage.is_log_prompt = false;
    let a = stage.send(owning("a", 1, [0, 1]));
    let b = stage.send(heartbeat("b", JOINING));
    let full = || Err(Error::new(ErrorCode::DiskFull, "full"));
    stage.unpersisted = None;
    let outputs = stage
        .coordinator
        .persisted(stage.now, GROUP, stage.write, full());
    stage.take(outputs);
    assert_eq!(code(stage.answer(b).unwrap()), ErrorCode::DiskFull);
    assert_eq!(stage.answer(a), None);
    assert_eq!(stage.unpersisted, None);
    stage.pass(ms(1_000));
    assert_eq!(stage.unpersisted, Some((2, vec!["a".into()])));
    stage.persist();
    assert_eq!(numbers(&stage.answer(a).unwrap().unwrap()), [0, 1]);
}

#[test]
fn place_that_was_taken_over_in_vain_is_given_to_others() {
    let of_instance = |id, generation| Heartbeat {
        instance_id: Some(Arc::from("i")),
        ..heartbeat(id, generation)
    };
    let mut stage = Stage::new(2);
    stage.ask(of_instance("a", JOINING)).unwrap();
    stage.ask(heartbeat("b", JOINING)).unwrap();
    stage.is_log_prompt = false;
    let a = stage.send(of_instance("a2", JOINING));
    stage.unpersisted = None;
    let full = Err(Error::new(ErrorCode::DiskFull, "full"));
    let outputs = stage
        .coordinator
        .persisted(stage.now, GROUP, stage.write, full);
    stage.take(outputs);
    assert_eq!(code(stage.answer(a).unwrap()), ErrorCode::DiskFull);
    stage.is_log_prompt = true;
    stage.pass(ms(1_000));
    assert_eq!(numbers(&stage.ask(heartbeat("b", 2)).unwrap()), [0, 1]);
}

#[test]
fn first_member_that_the_log_refuses_leaves_nothing_behind() {
    let mut stage = Stage::new(2);
    stage.is_log_prompt = false;
    let ticket = stage.send(heartbeat("a", JOINING));
    let full = Err(Error::new(ErrorCode::DiskFull, "full"));
    let outputs = stage
        .coordinator
        .persisted(stage.now, GROUP, stage.write, full);
    stage.take(outputs);
    assert_eq!(code(stage.answer(ticket).unwrap()), ErrorCode::DiskFull);
    assert!(stage.coordinator.is_empty());
    assert_eq!(stage.coordinator.next_wakeup(), None);
}

#[test]
fn unknown_generation_or_member_is_refused() {
    let mut stage = Stage::new(1);
    assert_eq!(
        code(stage.ask(heartbeat("a", 1))),
        ErrorCode::UnknownMemberId
    );
    assert_eq!(
        code(stage.ask(heartbeat("a", LEAVING))),
        ErrorCode::UnknownMemberId
    );
    assert!(stage.coordinator.is_empty());
    stage.ask(heartbeat("a", JOINING)).unwrap();
    assert_eq!(
        code(stage.ask(heartbeat("a", 2))),
        ErrorCode::IllegalGeneration
    );
}

#[test]
fn members_beyond_the_limit_are_refused() {
    let mut stage = Stage::new(1);
    stage.is_log_prompt = false;
    for number in 0..limits::GROUP_MEMBERS_MAX {
        stage.send(heartbeat(&format!("member-{number}"), JOINING));
    }
    let error = stage.ask(heartbeat("one more", JOINING)).unwrap_err();
    assert_eq!(error.code(), ErrorCode::GroupMaxSizeReached);
    assert_eq!(
        error.message(),
        "group `g` has 1000 members; no more are allowed"
    );
}

#[test]
fn members_of_all_groups_beyond_the_limit_are_refused() {
    let mut stage = Stage::new(1);
    let mut coordinator = std::mem::take(&mut stage.coordinator);
    let in_group = |number: usize, generation| Heartbeat {
        group: format!("group-{number}"),
        ..heartbeat("a", generation)
    };
    for number in 0..limits::MEMBERS_MAX {
        coordinator.heartbeat(stage.now, &in_group(number, JOINING), 0);
    }
    assert_eq!(coordinator.len(), limits::MEMBERS_MAX);
    let refused = |coordinator: &mut Coordinator| {
        let asked = Heartbeat {
            member_id: "b".into(),
            ..in_group(0, JOINING)
        };
        let outputs = coordinator.heartbeat(stage.now, &asked, 0);
        let answers = outputs.into_iter().filter_map(|output| match output {
            Output::Answer { result, .. } => result.err().map(|error| error.code()),
            _ => None,
        });
        answers.collect::<Vec<_>>()
    };
    assert_eq!(refused(&mut coordinator), [ErrorCode::QuotaExceeded]);
    coordinator.heartbeat(stage.now, &in_group(1, LEAVING), 0);
    assert_eq!(refused(&mut coordinator), []);
}

#[test]
fn heartbeats_that_own_too_much_or_wait_too_long_are_refused() {
    let mut stage = Stage::new(1);
    let most = i32::try_from(limits::GROUP_MEMBER_PARTITIONS_MAX).unwrap();
    let error = stage.ask(owning("a", JOINING, 0..=most)).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidRequest);
    let slow = Heartbeat {
        heartbeat: ms(45_000),
        ..heartbeat("a", JOINING)
    };
    assert_eq!(code(stage.ask(slow)), ErrorCode::InvalidRequest);
}

#[test]
fn removed_members_are_remembered_up_to_a_limit() {
    let mut removed = removed::RemovedMembers::default();
    let group = Arc::from(GROUP);
    for number in 0..=limits::GROUP_MEMBERS_REMEMBERED_MAX {
        let id = MemberId::from(format!("m{number}"));
        removed.remember(&group, &id, removed::Removal::Left);
    }
    assert_eq!(removed.len(), limits::GROUP_MEMBERS_REMEMBERED_MAX);
    assert_eq!(removed.get(&group, &"m0".into()), None);
    assert!(removed.get(&group, &"m1".into()).is_some());
}
