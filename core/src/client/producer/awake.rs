//! Waiting awake for an answer that is likely to come at once.
//!
//! Putting a thread to sleep and waking it costs more than a broker on the same machine takes to answer: one record in
//! flight at `os` took 55 us asleep and 31 us awake, of which the echo of a bare socket, asleep, takes 53. So the
//! thread that waits for a delivery looks again and again for a while, and gives way to any other that could run.
//!
//! It is not done where it does not pay: after a wait that was too long the next ones are asleep, twice as many each
//! time in a row. And one thread of the process does it at a time, so that many of them do not stand in the way of
//! those who make the answers.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use super::sender::Sender;
use crate::fork::PerFork;
use crate::limits::FORK_GENERATIONS_MAX;
use crate::world;

/// How long a thread looks.
const AWAKE: Duration = Duration::from_micros(60);
/// Of so many waits one is tried awake, however often that was in vain.
const ASLEEP_MAX: u32 = 1_024;

static IS_SOMEBODY_AWAKE: PerFork<AtomicBool> =
    PerFork::new([const { AtomicBool::new(false) }; FORK_GENERATIONS_MAX]);

/// What is known of the waits before. The counts are hints: nothing is lost if two threads change them at once.
#[derive(Debug, Default)]
pub(super) struct Awake {
    /// Waits to come that are to be asleep.
    asleep: AtomicU32,
    /// How many there were the last time.
    before: AtomicU32,
}

impl Awake {
    /// Looks whether `is_done` for a while, if there is the time for it and it is likely to pay; who comes back may
    /// have to wait on.
    pub(super) fn look(&self, timeout: Option<Duration>, is_done: impl Fn() -> bool) {
        // In a simulation time stands still while a thread runs; and who waits for a moment only learns nothing.
        if world::is_simulated() || timeout.is_some_and(|timeout| timeout < AWAKE) {
            return;
        }
        let asleep = self.asleep.load(Ordering::Relaxed);
        if asleep > 0 {
            self.asleep.store(asleep - 1, Ordering::Relaxed);
            return;
        }
        let Some(is_somebody_awake) = IS_SOMEBODY_AWAKE.get() else {
            return;
        };
        if is_somebody_awake.swap(true, Ordering::Relaxed) {
            return;
        }
        let until = world::now() + AWAKE;
        let mut found = is_done();
        while !found && world::now() < until {
            thread::yield_now();
            found = is_done();
        }
        is_somebody_awake.store(false, Ordering::Relaxed);
        self.learn(found);
    }

    fn learn(&self, has_paid: bool) {
        let next = match has_paid {
            true => 0,
            false => (self.before.load(Ordering::Relaxed) * 2).clamp(1, ASLEEP_MAX),
        };
        self.before.store(next, Ordering::Relaxed);
        self.asleep.store(next, Ordering::Relaxed);
    }
}

impl Sender {
    /// Waits a while for what a broker may answer at once.
    pub(super) fn look_awake(&self, timeout: Option<Duration>, is_done: impl Fn() -> bool) {
        // Of many batches on their way one is waited for long; and who looks takes the time of who sends.
        let is_alone = || self.desk.lock().accumulator.outstanding_batches() <= 1;
        if self.transport.is_remote() && is_alone() {
            self.awake.look(timeout, is_done);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// How often each of so many waits looked.
    fn looks(awake: &Awake, waits: usize, answer_after_looks: u64) -> Vec<u64> {
        let wait = |_| {
            let looks = Cell::new(0);
            awake.look(None, || {
                looks.set(looks.get() + 1);
                looks.get() > answer_after_looks
            });
            looks.get()
        };
        (0..waits).map(wait).collect()
    }

    #[test]
    fn what_does_not_come_at_once_is_waited_for_asleep_ever_more_often() {
        // The others of this process may be awake at the moment; this is about one alone.
        let awake = Awake::default();
        [1, 2, 4, 8].into_iter().for_each(|expected| {
            awake.learn(false);
            assert_eq!(looks(&awake, expected, 0), vec![0; expected]);
        });
        (0..20).for_each(|_| awake.learn(false));
        assert_eq!(awake.asleep.load(Ordering::Relaxed), ASLEEP_MAX);
        awake.learn(true);
        assert_eq!(awake.asleep.load(Ordering::Relaxed), 0);
        awake.learn(false);
        assert_eq!(awake.asleep.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_wait_looks_until_the_answer_is_there_and_not_where_there_is_no_time_for_it() {
        let awake = Awake::default();
        // None where another test of this process is awake.
        let looks = looks(&awake, 100, 2);
        assert!(
            looks.iter().all(|it| [0, 1, 2, 3].contains(it)),
            "{looks:?}"
        );
        awake.look(Some(AWAKE / 2), || unreachable!());
    }
}
