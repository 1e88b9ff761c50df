//! How a consumer is as a member, as it joins, works, is removed, gets stuck, hears nothing, and is fenced.

use super::*;
use crate::client::health::{MemberHealth, MemberState};

fn health(consumer: &Consumer) -> MemberHealth {
    consumer.remembered().health().unwrap()
}

#[test]
fn a_consumer_is_told_of_from_its_first_read_to_its_close_if_it_has_a_group() {
    let (fake, consumer) = open(grouped());
    assert_eq!(consumer.remembered().health(), None);
    let _opened = consumer.open();
    let found = health(&consumer);
    let begun = (found.state, found.member_id.as_str(), found.generation);
    assert_eq!(begun, (MemberState::Joining, "", 0));
    assert_eq!(found.reason, None);
    fake.settle(1);
    let found = health(&consumer);
    assert_eq!((found.state, found.generation), (MemberState::Joining, 0));
    assert_eq!((found.last_heartbeat_ms, found.partitions), (None, 0));
    let said = assign(&fake, 3, &[at(0)]);
    let found = health(&consumer);
    assert_eq!((found.state, found.generation), (MemberState::Stable, 3));
    assert_eq!(
        (found.group, found.member_id),
        ("g".to_owned(), said.member_id)
    );
    assert_eq!((found.partitions, found.reason), (1, None));
    assert!(found.last_heartbeat_ms.is_some());
    drop(consumer.close(None));
    assert_eq!(consumer.remembered().health(), None);
    let (_fake, consumer) = open(ConsumerOptions::default());
    let _opened = consumer.open();
    assert_eq!(consumer.remembered().health(), None, "it has no group");
}

#[test]
fn one_that_hears_nothing_for_its_session_timeout_is_lost_until_it_hears_again() {
    let (fake, consumer) = reading(grouped());
    let long_ago = Instant::now().checked_sub(Duration::from_secs(46)).unwrap();
    consumer.state().in_group.lock().as_mut().unwrap().heard = Some(long_ago);
    let found = health(&consumer);
    assert_eq!((found.state, found.partitions), (MemberState::Lost, 1));
    assert!(found.last_heartbeat_ms.unwrap() >= 46_000);
    let reason = found.reason.unwrap();
    assert!(reason.contains("session_timeout_ms is 45000"), "{reason}");
    assign(&fake, 3, &[at(0)]);
    assert_eq!(health(&consumer).state, MemberState::Stable);
}

#[test]
fn one_that_joins_for_too_long_says_so() {
    let (fake, consumer) = open(grouped());
    let _opened = consumer.open();
    fake.settle(1);
    let long_ago = Instant::now().checked_sub(Duration::from_secs(46)).unwrap();
    consumer.state().in_group.lock().as_mut().unwrap().began = long_ago;
    let found = health(&consumer);
    assert_eq!(found.state, MemberState::Joining);
    assert!(found.reason.unwrap().contains("joining for 46"));
}

#[test]
fn one_that_was_removed_joins_again_and_one_that_is_fenced_is_lost() {
    let (fake, consumer) = reading(grouped());
    let removed = Error::new(ErrorCode::UnknownMemberId, "silent for 46 s");
    let asked = fake.heartbeat().unwrap();
    asked.completion.finish(Err(removed));
    fake.run_jobs();
    let found = health(&consumer);
    assert_eq!((found.state, found.partitions), (MemberState::Joining, 0));
    assign(&fake, 9, &[at(1)]);
    assert_eq!(health(&consumer).state, MemberState::Stable);
    let fenced = Error::new(ErrorCode::FencedInstanceId, "it belongs to another");
    let asked = fake.heartbeat().unwrap();
    asked.completion.finish(Err(fenced));
    fake.run_jobs();
    let found = health(&consumer);
    assert_eq!(found.state, MemberState::Lost);
    assert_eq!(found.reason.as_deref(), Some("it belongs to another"));
}

#[test]
fn one_that_could_not_be_opened_says_why() {
    let (fake, consumer) = open(grouped());
    let _opened = consumer.open();
    let unknown = Error::new(ErrorCode::UnknownTopicOrPartition, "there is no topic `t`");
    fake.next().unwrap().fail(unknown);
    let found = health(&consumer);
    assert_eq!(found.state, MemberState::Lost);
    assert_eq!(found.reason.as_deref(), Some("there is no topic `t`"));
}

#[test]
fn one_whose_host_is_stuck_is_lost_until_somebody_reads_again() {
    let (fake, consumer) = reading(ConsumerOptions {
        processing_timeout_ms: Some(1_000),
        ..grouped()
    });
    while consumer.state().overdue.lock().is_none() {
        fake.run_jobs();
        while let Some(asked) = fake.next() {
            answer(asked);
        }
        if let Some(asked) = fake.farewell() {
            answer(asked);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let found = health(&consumer);
    assert_eq!((found.state, found.partitions), (MemberState::Lost, 0));
    let reason = found.reason.unwrap();
    assert!(reason.contains("processing_timeout_ms is 1000"), "{reason}");
    assert!(consumer.next_block_wait(None).is_err());
    let reason = health(&consumer).reason.unwrap();
    assert!(reason.contains("nobody has read from it since"), "{reason}");
    let _next = consumer.next_block(None);
    assert_eq!(health(&consumer).state, MemberState::Joining);
    joined(&fake, 3);
    assert_eq!(health(&consumer).state, MemberState::Stable);
}
