//! Deliberate bugs, each at the place of the rule that it breaks. They exist in tests alone, for the thread that
//! set one, and the simulation has to find every one of them.

use std::cell::Cell;

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mutant {
    /// A partition goes to its next owner before the last one let go of it.
    GrantBeforeRelease,
    /// A heartbeat of any generation confirms a release.
    ReleaseOfAnyGeneration,
    /// What a removed member held is free before the log knows that it is none.
    RemovedFreedAtOnce,
    /// A generation is told before the log has it.
    ToldUnpersisted,
    /// A member may commit for partitions that it does not hold.
    CommitUnowned,
    /// A classic generation is told before the log has it.
    ClassicToldUnpersisted,
    /// A classic member may name any generation.
    ClassicAnyGeneration,
    /// A static member's earlier self stays a member.
    ClassicNoFencing,
    /// A classic generation begins although members came or went since the log was told.
    ClassicOtherRoster,
    /// A static member is told of its place before the log has it there.
    ClassicReplacedUnlisted,
    /// A leader that is gone before it decided is waited for.
    ClassicLeaderForgotten,
}

thread_local! {
    static MUTANT: Cell<Option<Mutant>> = const { Cell::new(None) };
}

pub(super) fn is(mutant: Mutant) -> bool {
    MUTANT.get() == Some(mutant)
}

/// Runs `act` with a bug.
pub(super) fn with<T>(mutant: Mutant, act: impl FnOnce() -> T) -> T {
    MUTANT.set(Some(mutant));
    let result = act();
    MUTANT.set(None);
    result
}
