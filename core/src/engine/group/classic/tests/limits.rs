//! What a group takes at most.

use super::*;
use crate::limits;

fn code_of(stage: &mut Stage, join: Join) -> ErrorCode {
    let ticket = stage.join(join);
    code(stage.joined.remove(&ticket).expect("it is answered"))
}

fn of_size(name: &str, bytes: usize) -> Join {
    Join {
        protocols: vec![Protocol {
            name: Arc::from("range"),
            metadata: Bytes::from(vec![0; bytes - "range".len()]),
        }],
        ..new(name)
    }
}

#[test]
fn members_of_a_group_are_so_many_at_most() {
    let mut stage = Stage::new();
    for number in 1..limits::GROUP_MEMBERS_MAX {
        stage.join(new(&format!("m{number}")));
    }
    // One that was given an id counts.
    stage.join(Join {
        must_know_id: true,
        ..new("given")
    });
    let full = ErrorCode::GroupMaxSizeReached;
    assert_eq!(code_of(&mut stage, new("more")), full);
    assert_eq!(code_of(&mut stage, instance("more", "i")), full);
    assert_eq!(stage.coordinator.member_count(), limits::GROUP_MEMBERS_MAX);
    stage.join(again("given"));
    assert_eq!(stage.ids().len(), limits::GROUP_MEMBERS_MAX);
}

#[test]
fn ids_that_were_given_away_do_not_count_when_their_group_is_gone() {
    let mut stage = Stage::new();
    stage.join(Join {
        must_know_id: true,
        ..new("given")
    });
    assert_eq!(stage.coordinator.member_count(), 1);
    let group = new("given").group;
    stage.coordinator.forget(stage.now, &group).unwrap();
    assert_eq!(stage.coordinator.member_count(), 0);
}

#[test]
fn member_says_so_much_at_most() {
    let mut stage = Stage::new();
    let most = limits::CLASSIC_MEMBER_BYTES_MAX;
    assert_eq!(
        code_of(&mut stage, of_size("a", most + 1)),
        ErrorCode::InvalidRequest
    );
    let many = Join {
        protocols: (0..=limits::CLASSIC_PROTOCOLS_MAX)
            .map(|number| protocol(&number.to_string(), ""))
            .collect(),
        ..new("a")
    };
    assert_eq!(code_of(&mut stage, many), ErrorCode::InvalidRequest);
    stage.join(of_size("a", most));
    assert_eq!(stage.ids(), ["a"]);
}

#[test]
fn members_of_a_group_say_so_much_at_most() {
    let mut stage = Stage::new();
    let most = limits::CLASSIC_MEMBER_BYTES_MAX;
    let count = limits::CLASSIC_GROUP_BYTES_MAX / most;
    for number in 1..=count {
        stage.join(of_size(&format!("m{number}"), most));
    }
    let full = ErrorCode::GroupMaxSizeReached;
    assert_eq!(code_of(&mut stage, new("more")), full);
    // Who says what it said before takes no more room.
    let ticket = stage.join(Join {
        member_id: "m1".to_owned(),
        ..of_size("m1", most)
    });
    stage.pass(ms(50));
    assert_eq!(stage.told(ticket).generation, 1);
    // Nor is there room for assignments.
    let ticket = stage.sync(sync("m1", 1, &[("m1", "0")]));
    let refused = stage.synced.remove(&ticket).expect("it is answered");
    assert_eq!(code(refused), full);
}

#[test]
fn all_groups_say_so_much_at_most() {
    let mut stage = Stage::new();
    stage.is_log_prompt = false;
    let most = limits::CLASSIC_MEMBER_BYTES_MAX;
    let count = limits::CLASSIC_BYTES_MAX / most;
    for number in 0..count {
        stage.join(Join {
            group: format!("g{}", number / 4),
            ..of_size(&format!("m{number}"), most)
        });
    }
    let full = ErrorCode::GroupMaxSizeReached;
    assert_eq!(code_of(&mut stage, new("more")), full);
    // What a member takes it gives back.
    let leave = Leave {
        session: 1,
        group: "g0".to_owned(),
        members: vec![Leaver {
            member_id: "m0".to_owned(),
            instance_id: None,
        }],
    };
    let (left, _) = stage.coordinator.leave(stage.now, &leave);
    assert_eq!(left, [Ok(())]);
    stage.join(new("more"));
    assert_eq!(stage.ids(), ["more"]);
}
