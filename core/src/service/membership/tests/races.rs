//! A group that is deleted while somebody comes or goes, in many orders of what the threads do.

use super::*;
use crate::log::storage::faulty::FaultyStorage;
use crate::world;
use crate::world::simulated::{Unrest, World};

const SEEDS: u64 = 300;

/// Deletes the group on one thread while `other` runs on another, in an order that the seed gives; what they leave is
/// looked at by `check`, which is told whether the group was deleted.
fn race(
    seed: u64,
    begin: impl FnOnce(&Service) -> Session,
    other: impl FnOnce(&Session) + Send + 'static,
    check: impl FnOnce(&Service, bool),
) -> bool {
    let unrest = Unrest {
        switch_one_in: 3,
        pause_one_in: 0,
    };
    let world = World::enter(seed, Instant::now(), unrest, None);
    // A world of its own has no part in what the process has once.
    let (storage, options) = (Arc::new(FaultyStorage::new()), ServiceOptions::default());
    let service = Service::open_storage("test".to_owned(), storage, None, &options).unwrap();
    create(&service, "t", 2);
    commit(&service.session(), None, 0).unwrap();
    let session = begin(&service);
    let deleting = service.session();
    let (sender, receiver) = std::sync::mpsc::channel();
    let deleter = world::spawn("deleter", move || {
        let group = GROUP.to_owned();
        let deleted = ask(&deleting, Request::DeleteGroup { group });
        let is_refused = |error: &Error| error.code() == ErrorCode::NonEmptyGroup;
        assert!(deleted.as_ref().err().is_none_or(is_refused), "{deleted:?}");
        sender.send(deleted.is_ok()).unwrap();
    });
    let other = world::spawn("other", move || other(&session));
    world::join(deleter.unwrap()).unwrap();
    world::join(other.unwrap()).unwrap();
    let is_deleted = receiver.recv().unwrap();
    check(&service, is_deleted);
    service.close().unwrap();
    drop(service);
    world.finish();
    while !world.threads().is_empty() {
        world::sleep(Duration::from_millis(1));
    }
    world.leave();
    is_deleted
}

#[test]
fn who_joins_while_the_group_is_deleted_is_in_the_log() {
    // The generation was in the log before the end of the group: the member was none after a restart, and what it
    // committed was nobody's.
    let races = (0..SEEDS).map(|seed| {
        race(
            seed,
            Service::remote_session,
            |session| drop(told(beat(session, heartbeat("a", 0, &[]))).unwrap()),
            |service, is_deleted| {
                let groups = service.inner.state.groups.lock();
                let group = groups.get(GROUP).expect("it has a member");
                assert_eq!(group.members, ["a"]);
                assert_eq!(group.offsets.is_empty(), is_deleted);
            },
        )
    });
    let deleted = races.filter(|is_deleted| *is_deleted).count() as u64;
    assert!((1..SEEDS).contains(&deleted), "{deleted} of {SEEDS}");
}

#[test]
fn a_group_that_is_deleted_as_its_last_member_leaves_does_not_come_back() {
    // That nobody is a member any more was written behind the end of the group, which made it anew.
    let races = (0..SEEDS).map(|seed| {
        race(
            seed,
            |service| {
                let session = service.remote_session();
                told(beat(&session, heartbeat("a", 0, &[]))).unwrap();
                session
            },
            |session| drop(told(beat(session, heartbeat("a", -1, &[]))).unwrap()),
            |service, is_deleted| {
                let groups = service.inner.state.groups.lock();
                assert_eq!(groups.get(GROUP).is_none(), is_deleted, "{groups:?}");
            },
        )
    });
    let deleted = races.filter(|is_deleted| *is_deleted).count() as u64;
    assert!((1..SEEDS).contains(&deleted), "{deleted} of {SEEDS}");
}
