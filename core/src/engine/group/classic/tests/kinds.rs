//! Groups of heartbeats and classic groups under one id, one after the other.

use std::collections::BTreeSet;

use super::*;
use crate::engine::group::{Assignor, Heartbeat, JOINING, LEAVING, Lifetime};

fn heartbeat(generation: i32) -> Heartbeat {
    Heartbeat {
        ticket: 1_000,
        session: 9,
        lifetime: Lifetime::Own,
        group: GROUP.to_owned(),
        member_id: MemberId::from("native"),
        generation,
        instance_id: None,
        client_name: String::new(),
        host: String::new(),
        topics: BTreeSet::new(),
        assignor: Assignor::Sticky,
        session_timeout: ms(45_000),
        rebalance_timeout: ms(60_000),
        heartbeat: ms(3_000),
        owned: BTreeSet::new(),
    }
}

/// What a member of a group of heartbeats is answered at once; what the log is told it has.
fn native(stage: &mut Stage, generation: i32) -> Result<i32> {
    let (now, log) = (stage.now, stage.log.0);
    let mut outputs = stage
        .coordinator
        .heartbeat(now, &heartbeat(generation), log);
    let mut answer = None;
    while let Some(output) = outputs.pop() {
        match output {
            Output::Answer { result, .. } => answer = Some(result),
            Output::Persist {
                write,
                generation,
                members,
                ..
            } => {
                stage.log = (generation, members);
                outputs.extend(stage.coordinator.persisted(now, GROUP, write, Ok(())));
            }
            other => panic!("{other:?}"),
        }
    }
    let answer = answer.expect("it is answered");
    answer.map(|assigned| assigned.generation)
}

#[test]
fn group_is_of_one_kind_while_it_has_members() {
    let mut stage = Stage::stable(&["a"]);
    let other = ErrorCode::InconsistentGroupProtocol;
    assert_eq!(code(native(&mut stage, JOINING)), other);
    stage.is_log_prompt = false;
    stage.leave(&[("a", None)]);
    // Until the log has the end of it nobody else begins: both would take the same generation.
    let waits = ErrorCode::CoordinatorLoadInProgress;
    assert_eq!(code(native(&mut stage, JOINING)), waits);
    stage.persist(Ok(()));
    stage.is_log_prompt = true;
    assert_eq!(native(&mut stage, JOINING), Ok(3));
    let refused = stage.join(new("b"));
    assert_eq!(code(stage.joined.remove(&refused).unwrap()), other);
    assert_eq!(code(stage.commit("a", 1)), ErrorCode::UnknownMemberId);
    assert_eq!(code(stage.commit("", -1)), ErrorCode::UnknownMemberId);
    assert_eq!(native(&mut stage, LEAVING), Ok(LEAVING));
    let b = stage.join(new("b"));
    stage.pass(ms(50));
    assert_eq!(stage.told(b).generation, 5);
    assert!(stage.view().classic.is_some());
}

#[test]
fn members_of_heartbeats_of_before_a_restart_are_waited_for() {
    let mut stage = Stage::new();
    assert_eq!(native(&mut stage, JOINING), Ok(1));
    stage.restart();
    let waits = stage.join(new("b"));
    let waits = stage.joined.remove(&waits).unwrap();
    assert_eq!(code(waits), ErrorCode::CoordinatorLoadInProgress);
    stage.pass(ms(10_000));
    let b = stage.join(new("b"));
    stage.pass(ms(50));
    assert_eq!(stage.told(b).generation, 3);
}

#[test]
fn members_of_a_classic_group_of_before_a_restart_keep_others_out() {
    let mut stage = Stage::stable(&["a"]);
    stage.restart();
    let waits = ErrorCode::CoordinatorLoadInProgress;
    assert_eq!(code(native(&mut stage, JOINING)), waits);
    assert_eq!(code(stage.coordinator.check_empty(GROUP)), waits);
}

#[test]
fn group_with_members_is_not_deleted() {
    let mut stage = Stage::stable(&["a"]);
    let now = stage.now;
    let refused = stage.coordinator.forget(now, GROUP);
    assert_eq!(code(refused), ErrorCode::NonEmptyGroup);
    stage.leave(&[("a", None)]);
    assert!(stage.coordinator.forget(now, GROUP).is_ok());
}
