//! Deliberate bugs of the scheduler, each at the place of the rule that it breaks. They exist in tests
//! alone, for the thread that set one; the model has to find every one of them.

use std::cell::Cell;

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::client::process) enum Mutant {
    /// What stands behind a record in its lane runs while that pauses.
    RetryFreesLane,
    /// A record is tried again at once.
    PauseLeftOut,
    /// A record is done before its dead letter is acknowledged.
    LetterIsDone,
    /// The runs of dropped records do not count any more.
    DroppedRunsForgotten,
}

thread_local! {
    static MUTANT: Cell<Option<Mutant>> = const { Cell::new(None) };
}

/// Runs `action` with a bug.
pub(super) fn with<T>(mutant: Mutant, action: impl FnOnce() -> T) -> T {
    struct Cured;
    impl Drop for Cured {
        fn drop(&mut self) {
            MUTANT.set(None);
        }
    }
    let _cured = Cured;
    MUTANT.set(Some(mutant));
    action()
}

/// Whether this thread has this bug.
pub(in crate::client::process) fn is(mutant: Mutant) -> bool {
    MUTANT.get() == Some(mutant)
}
