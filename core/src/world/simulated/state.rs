//! Who runs, who waits for what, and who is next.

use std::sync::Arc;
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use super::thread::Baton;
use super::trace::Trace;
use super::{Bug, Unrest};
use crate::log::storage::faulty::Random;

/// A pause of a thread at most.
const PAUSE_MS: u64 = 3_000;
/// How long a turn takes.
const TURN: Duration = Duration::from_micros(1);
/// While others could run, main goes on at one turn in so many.
const MAIN_ONE_IN: u64 = 8;

/// What a thread is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It could run, or does.
    Ready,
    /// Main has nothing to do at this time.
    Resting,
    /// It tries again once somebody has done something since.
    Polling {
        seen: u64,
    },
    /// At a condition variable.
    Waiting {
        address: usize,
        until: Option<Instant>,
    },
    Sleeping {
        until: Instant,
    },
    /// For the end of that thread.
    Joining(usize),
    Ended,
}

struct Thread {
    name: String,
    id: Option<ThreadId>,
    standing: Standing,
    baton: Arc<Baton>,
    has_timed_out: bool,
}

pub(super) struct State {
    pub(super) random: Random,
    pub(super) began: Instant,
    pub(super) now: Instant,
    pub(super) unrest: Unrest,
    pub(super) bug: Option<Bug>,
    pub(super) trace: Trace,
    pub(super) panics: Vec<String>,
    pub(super) is_over: bool,
    /// Turns so far in which something may have changed for those that poll.
    pub(super) steps: u64,
    threads: Vec<Thread>,
    /// How often something was left to chance.
    drawn: u64,
}

impl State {
    pub(super) fn new(
        seed: u64,
        began: Instant,
        unrest: Unrest,
        bug: Option<Bug>,
        main: Arc<Baton>,
    ) -> Self {
        let main = Thread {
            name: "main".to_owned(),
            id: None,
            standing: Standing::Ready,
            baton: main,
            has_timed_out: false,
        };
        Self {
            random: Random(seed),
            began,
            now: began,
            unrest,
            bug,
            trace: Trace::new(),
            panics: Vec::new(),
            is_over: false,
            steps: 0,
            threads: vec![main],
            drawn: 0,
        }
    }

    pub(super) fn enroll(&mut self, name: &str, baton: Arc<Baton>) -> usize {
        self.threads.push(Thread {
            name: name.to_owned(),
            id: None,
            standing: Standing::Ready,
            baton,
            has_timed_out: false,
        });
        self.threads.len() - 1
    }

    pub(super) fn set_id(&mut self, number: usize, id: ThreadId) {
        self.threads[number].id = Some(id);
    }

    pub(super) fn name_of(&self, number: usize) -> &str {
        &self.threads[number].name
    }

    pub(super) fn standing_of(&self, id: ThreadId) -> Option<(usize, bool)> {
        let number = self.threads.iter().position(|it| it.id == Some(id))?;
        Some((number, self.threads[number].standing == Standing::Ended))
    }

    pub(super) fn has_timed_out(&self, number: usize) -> bool {
        self.threads[number].has_timed_out
    }

    /// A number below `limit`, which is not 0.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.drawn += 1;
        self.random.below(limit)
    }

    /// The time is at least this.
    pub(super) fn set_now(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// Notes what happens, as a number.
    pub(super) fn mark(&mut self, what: u64) {
        let at_us = self.now.duration_since(self.began).as_micros() as u64;
        // How much was left to chance before is part of it.
        self.trace.mark(at_us << 24 | self.drawn & 0xFF_FFFF, what);
    }

    /// Whether a thread that could go on does not.
    pub(super) fn interruption(&mut self, number: usize) -> Option<Standing> {
        let Unrest {
            switch_one_in,
            pause_one_in,
        } = self.unrest;
        if self.is_over {
            return None;
        }
        if number != 0 && pause_one_in > 0 && self.below(pause_one_in) == 0 {
            let pause = 1 + self.below(PAUSE_MS);
            let until = self.now + Duration::from_millis(pause);
            return Some(Standing::Sleeping { until });
        }
        let is_switched = switch_one_in > 0 && self.below(switch_one_in) == 0;
        is_switched.then_some(Standing::Ready)
    }

    /// Notes what a thread is at from now on, and says whose turn it is.
    pub(super) fn next(&mut self, number: usize, standing: Standing) -> (usize, Arc<Baton>) {
        if !matches!(standing, Standing::Polling { .. }) {
            self.steps += 1;
        }
        self.threads[number].standing = standing;
        // Work takes time too, or what is due again and again would have no end.
        self.now += TURN;
        if standing == Standing::Ended {
            for thread in &mut self.threads {
                if thread.standing == Standing::Joining(number) {
                    thread.standing = Standing::Ready;
                }
            }
        }
        let next = self.choose();
        self.mark(0x7A00_0000 | next as u64);
        let thread = &mut self.threads[next];
        thread.standing = Standing::Ready;
        (next, Arc::clone(&thread.baton))
    }

    fn choose(&mut self) -> usize {
        self.expire(self.now);
        let mut ready = self.ready();
        let is_main_resting = self.threads[0].standing == Standing::Resting;
        if ready.is_empty() && !is_main_resting {
            // Main waits for a thread that waits for a time: its time has come.
            if let Some(first) = self.earliest() {
                self.expire(first);
                ready = self.ready();
            }
        }
        if is_main_resting && (ready.is_empty() || self.below(MAIN_ONE_IN) == 0) {
            return 0;
        }
        match ready[..] {
            [] => self.dead(),
            [only] => only,
            _ => ready[self.below(ready.len() as u64) as usize],
        }
    }

    fn expire(&mut self, now: Instant) {
        for thread in &mut self.threads {
            let (Standing::Waiting {
                until: Some(until), ..
            }
            | Standing::Sleeping { until }) = thread.standing
            else {
                continue;
            };
            if until <= now {
                thread.standing = Standing::Ready;
                thread.has_timed_out = true;
            }
        }
    }

    fn ready(&self) -> Vec<usize> {
        let is_ready = |thread: &Thread| match thread.standing {
            Standing::Ready => true,
            Standing::Polling { seen } => seen < self.steps,
            _ => false,
        };
        let threads = self.threads.iter().enumerate();
        threads
            .filter(|(_, thread)| is_ready(thread))
            .map(|(number, _)| number)
            .collect()
    }

    /// Whether another than main could run.
    pub(super) fn has_others_ready(&mut self) -> bool {
        self.expire(self.now);
        self.ready().iter().any(|number| *number != 0)
    }

    /// The first time that a thread waits for.
    pub(super) fn earliest(&self) -> Option<Instant> {
        let times = self
            .threads
            .iter()
            .filter_map(|thread| match thread.standing {
                Standing::Waiting { until, .. } => until,
                Standing::Sleeping { until } => Some(until),
                _ => None,
            });
        times.min()
    }

    pub(super) fn wake_at(&mut self, wanted: usize, are_all: bool) {
        let is_waiting = |thread: &Thread| matches!(thread.standing, Standing::Waiting { address, .. } if address == wanted);
        let threads = self.threads.iter().enumerate();
        let mut waiting: Vec<_> = threads
            .filter(|(_, thread)| is_waiting(thread))
            .map(|(number, _)| number)
            .collect();
        if !are_all && waiting.len() > 1 {
            let chosen = self.below(waiting.len() as u64) as usize;
            waiting = vec![waiting[chosen]];
        }
        for number in waiting {
            self.threads[number].standing = Standing::Ready;
            self.threads[number].has_timed_out = false;
        }
    }

    pub(super) fn finish(&mut self) {
        self.is_over = true;
        for thread in &mut self.threads {
            if matches!(thread.standing, Standing::Waiting { .. }) {
                thread.standing = Standing::Ready;
                thread.has_timed_out = false;
            }
        }
    }

    pub(super) fn names(&self) -> Vec<String> {
        let alive = self.threads.iter().skip(1);
        let alive = alive.filter(|thread| thread.standing != Standing::Ended);
        alive.map(|thread| thread.name.clone()).collect()
    }

    /// Nobody can go on: all that could be told is told, and the process ends, since no thread of it can.
    #[expect(
        clippy::print_stderr,
        reason = "no thread is left to which it could be told"
    )]
    fn dead(&self) -> ! {
        eprintln!("every thread of the simulation waits for another:");
        for thread in &self.threads {
            if thread.standing != Standing::Ended {
                eprintln!("  {}: {:?}", thread.name, thread.standing);
            }
        }
        eprintln!("{}", self.trace.last(60));
        std::process::abort();
    }
}
