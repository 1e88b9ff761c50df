//! The whole of it under one seed: real clients, the real protocol, server, service and engine on a log
//! whose disk fails, over a network that does too, in virtual time (`world/simulated.rs`).
//!
//! `history` holds what is true whatever happens: every acknowledged record exactly once, in order, at its
//! offset; nothing that was reported as not written; an assignment of one generation given once; no commit
//! of an older generation; no committed offset behind what was processed, none that goes back; and once
//! nothing goes wrong any more, an end of everything.
//!
//! In about half of the seeds something else goes on beside (`side`): durability `os`, or deletion.
//!
//! In about half of them members do more (`parts`): handlers that fail, with dead letters; results that are committed
//! with the offsets they are of; and members that keep their places while they are away.
//!
//! Beside the native clients, or alone, there may be guests, who speak another protocol to the same broker: the tests
//! of the crate that has it bring them along (`guests`, feature `simulation`).
//!
//! `HEADWATER_SEED=7` runs one seed and tells what happened; `HEADWATER_SEEDS=50000` runs so many.

mod broker;
mod clients;
mod disk;
mod faults;
mod guests;
mod history;
mod network;
mod parts;
mod processing;
mod results;
#[cfg(test)]
mod seeds;
mod side;
mod statics;
mod wire;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use self::broker::Broker;
use self::faults::Faults;
use self::guests::{Cast, Counts};
use self::network::Network;
use self::parts::Parts;
use self::side::Side;
use crate::client::TopicOptions;
use crate::completion::mark_own_thread;
use crate::world::simulated::{Rest, Unrest, World};

pub use self::broker::Signal;
pub use self::clients::Stage;
pub use self::guests::{Guests, NATIVE_GROUP, Play, Port, Reading, has};
pub use self::history::{CommitAsked, End, History};
pub use self::wire::{Reader, Writer};
pub use crate::world::simulated::{Bug, Trace};

const TOPIC: &str = "orders";
const GROUP: &str = "billing";

/// In which time everything has to come to its end once nothing goes wrong any more.
const HEALING: Duration = Duration::from_secs(600);

/// What one seed came to.
#[derive(Debug)]
pub struct Outcome {
    /// What happened.
    pub trace: Trace,
    /// What is not as it should be.
    pub failures: Vec<String>,
    /// Records that were acknowledged.
    pub acknowledged: usize,
}

impl Outcome {
    /// Everything is as it should be; else says what is not, and what happened last.
    ///
    /// # Panics
    /// When something is not.
    pub fn check(&self, seed: u64) {
        let notes = number("HEADWATER_NOTES").and_then(|notes| usize::try_from(notes).ok());
        assert!(
            self.failures.is_empty(),
            "seed {seed} (HEADWATER_SEED={seed} repeats it):\n  {}\n{}",
            self.failures.join("\n  "),
            self.trace.last(notes.unwrap_or(80)),
        );
    }
}

/// What a variable of the environment asks of a test, if it does.
#[must_use]
pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs one seed with guests beside the native clients, or alone.
///
/// # Panics
/// When there is no thread for it, or it panics.
#[must_use]
pub fn run_with(seed: u64, bug: Option<Bug>, guests: Arc<dyn Guests>, are_alone: bool) -> Outcome {
    let cast = Cast {
        guests: Some(guests),
        are_alone,
    };
    run_cast(seed, bug, cast)
}

/// Runs one seed with native clients alone.
#[cfg(test)]
fn run(seed: u64, bug: Option<Bug>) -> Outcome {
    run_cast(seed, bug, Cast::default())
}

/// Runs one seed, on a thread of its own.
fn run_cast(seed: u64, bug: Option<Bug>, cast: Cast) -> Outcome {
    let thread = std::thread::Builder::new().name(format!("seed {seed}"));
    let running = thread.spawn(move || run_here(seed, bug, &cast));
    let running = running.expect("a thread");
    running.join().expect("no panic on main")
}

/// What ties the runtime's clock to the world's.
#[derive(Default)]
struct Clock {
    world: OnceLock<Arc<World>>,
    /// Told when main is not to rest, or until another time.
    changed: Notify,
    until: Mutex<Option<std::time::Instant>>,
}

impl Clock {
    fn rest(&self) {
        let Some(world) = self.world.get() else {
            return;
        };
        match world.rest(Instant::now().into_std()) {
            Rest::None => self.changed.notify_one(),
            Rest::Until(until) => {
                let mut known = lock(&self.until);
                if *known != Some(until) {
                    *known = Some(until);
                    drop(known);
                    self.changed.notify_one();
                }
            }
            Rest::Long => {}
        }
    }

    fn go_on(&self) {
        if let Some(world) = self.world.get() {
            world.set_now(Instant::now().into_std());
        }
    }

    /// Has the runtime's time go on to when a thread wants to.
    async fn tick(self: Arc<Self>) {
        loop {
            let until = *lock(&self.until);
            let slept = async {
                match until {
                    Some(until) => sleep_until(until.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.changed.notified() => {}
                () = slept => *lock(&self.until) = None,
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run_here(seed: u64, bug: Option<Bug>, cast: &Cast) -> Outcome {
    mark_own_thread();
    let clock = Arc::new(Clock::default());
    let (resting, going_on) = (Arc::clone(&clock), Arc::clone(&clock));
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .on_thread_park(move || resting.rest())
        .on_thread_unpark(move || going_on.go_on())
        .build()
        .expect("a runtime");
    let history = Arc::new(History::default());
    let world = runtime.block_on(async {
        let began = Instant::now().into_std();
        let still = Unrest {
            switch_one_in: 0,
            pause_one_in: 0,
        };
        let world = World::enter(seed, began, still, bug);
        assert!(clock.world.set(Arc::clone(&world)).is_ok());
        tokio::spawn(Arc::clone(&clock).tick());
        // The guests' own simulation is about them.
        let parts = match cast.guests {
            Some(_) => Parts::default(),
            None => Parts::of(seed),
        };
        play(seed, &world, &history, cast, parts).await;
        world.finish();
        for _ in 0..2_000 {
            if world.threads().is_empty() {
                break;
            }
            sleep(Duration::from_millis(100)).await;
        }
        world
    });
    let left = world.threads();
    if !left.is_empty() {
        history.fail(format!("these threads are left: {left:?}"));
    }
    drop(runtime);
    world
        .panics()
        .into_iter()
        .for_each(|panic| history.fail(panic));
    Outcome {
        trace: world.leave(),
        failures: history.failures(),
        acknowledged: history.acknowledged_count(),
    }
}

async fn play(seed: u64, world: &Arc<World>, history: &Arc<History>, cast: &Cast, parts: Parts) {
    let below = |limit| world.below(limit);
    let latency = Duration::from_micros([100, 1_000, 10_000, 100_000][below(4) as usize]);
    let sync_us = [0, 500, 5_000, 30_000][below(4) as usize];
    let network = Network::new(world, latency);
    let mut broker = Broker::new(world, &network, history, sync_us, cast.guests.clone());
    let stage = Stage {
        world: Arc::clone(world),
        network: Arc::clone(&network),
        history: Arc::clone(history),
        partitions: 1 + below(4) as i32,
        calm: Arc::default(),
        parts,
    };
    broker.parts = parts;
    let (producers, members) = (1 + below(3) as usize, below(4) as usize);
    let (records, faults) = (20 + below(60), below(9));
    let gap_ms = [200, 1_000, 3_000][below(3) as usize];
    let counts = cast.counts(&stage, producers, members);
    let side = Side::of(seed, &stage, cast);
    broker.start().await;
    create_topic(&stage, TOPIC, stage.partitions).await;
    parts.prepare(&stage).await;
    if let Some(side) = &side {
        side.create().await;
    }
    world.set_unrest(Unrest {
        switch_one_in: [0, 500, 100, 30][below(4) as usize],
        pause_one_in: [0, 0, 50_000, 5_000][below(4) as usize],
    });
    let (sending, reading) = (Arc::new(Signal::default()), Arc::new(Signal::default()));
    begin(&stage, cast, &counts, records, [&sending, &reading]);
    let clients = counts.all() + parts.members();
    let beside = side.as_ref().map_or(0, |side| side.begin(clients));
    let mut striking = Faults {
        world,
        network: &network,
        broker: &mut broker,
        clients: clients + beside,
    };
    striking.strike(faults, gap_ms).await;
    world.note("nothing goes wrong from here on");
    network.heal();
    broker.files().clear_faults();
    stage.calm.set();
    world.set_unrest(Unrest {
        switch_one_in: 100,
        pause_one_in: 0,
    });
    let signals = [&sending, &reading];
    let healing = heal(&stage, &mut broker, &counts, signals, side.as_deref());
    if timeout(HEALING, healing).await.is_err() {
        let open = history.open_count();
        history.fail(format!(
            "no end {HEALING:?} after the last fault: {} producers and {} members have ended, {open} records \
             are open",
            sending.counted(),
            reading.counted(),
        ));
    }
    broker.close().await;
}

async fn create_topic(stage: &Stage, name: &str, partitions: i32) {
    let topic = TopicOptions {
        partitions: Some(partitions as u32),
        // A sync may take longer than a request.
        exist_ok: Some(true),
        ..TopicOptions::default()
    };
    let client = stage.connect(usize::MAX).await;
    while let Err(error) = client.admin().create_topic(name, topic.clone()).await {
        stage
            .world
            .note(format!("the topic is not created: {error}"));
    }
    drop(client.close(None).await);
}

/// All clients begin: native producers and members, what is played besides, and then the guests.
fn begin(
    stage: &Stage,
    cast: &Cast,
    counts: &Counts,
    records: u64,
    [sending, reading]: [&Arc<Signal>; 2],
) {
    for producer in 0..counts.producers {
        let stage = stage.clone();
        tokio::spawn(stage.produce(producer, records, Arc::clone(sending)));
    }
    for member in 0..counts.members {
        let stage = stage.clone();
        tokio::spawn(stage.consume(counts.producers + member, Arc::clone(reading)));
    }
    stage.parts.begin(stage, counts.all(), reading);
    let Some(guests) = &cast.guests else {
        return;
    };
    let first = counts.producers + counts.members;
    for producer in first..first + counts.guest_producers {
        tokio::spawn(guests.produce(stage.clone(), producer, records, Arc::clone(sending)));
    }
    let first = first + counts.guest_producers;
    for member in first..first + counts.guest_members {
        tokio::spawn(guests.consume(stage.clone(), member, Arc::clone(reading)));
    }
}

/// Everything comes to its end, and is looked at.
async fn heal(
    stage: &Stage,
    broker: &mut Broker,
    counts: &Counts,
    signals: [&Arc<Signal>; 2],
    side: Option<&Side>,
) {
    let [sending, reading] = signals;
    let history = &stage.history;
    while sending.counted() < counts.all_producers() as u64 || history.open_count() > 0 {
        mend(stage, broker).await;
    }
    // What is on its way still, of attempts that were given up, does not arrive, or is in the log by then.
    stage.network.cut_all();
    sleep(Duration::from_secs(5)).await;
    let found = loop {
        mend(stage, broker).await;
        match timeout(Duration::from_secs(60), stage.read_all(usize::MAX)).await {
            Ok(Ok(found)) => break found,
            Ok(Err(error)) => stage.world.note(format!("not all can be read: {error}")),
            Err(_) => stage.world.note("not all can be read in a minute"),
        }
    };
    for (partition, found) in found.iter().enumerate() {
        history.check(partition as i32, found);
    }
    let ends = found.iter().map(|found| found.len() as i64);
    let is_behind = |group: &'static str| {
        let mut ends = ends.clone().enumerate();
        ends.any(|(partition, end)| history.frontier(group, partition as i32) < end)
    };
    while counts.groups().any(is_behind) || stage.parts.are_behind(stage, ends.clone()) {
        mend(stage, broker).await;
    }
    reading.set();
    let members = counts.all_members() + stage.parts.members();
    while reading.counted() < members as u64 {
        mend(stage, broker).await;
    }
    if let Some(side) = side {
        side.settle(broker).await;
    }
    broker.close().await;
    broker.start().await;
    if let Some(side) = side {
        side.look_again().await;
    }
    if let Ok(again) = stage.read_all(usize::MAX).await
        && again != found
    {
        history.fail("after another start other records are read".to_owned());
    }
    stage.parts.check(stage, broker).await;
    if let Some(guests) = broker.guests() {
        let all = guests.read_all(stage.clone(), ends.collect());
        if all.await != found {
            history.fail("the guests read other records than are there".to_owned());
        }
    }
}

/// Lets time pass; a broker whose log has stopped is replaced.
async fn mend(stage: &Stage, broker: &mut Broker) {
    sleep(Duration::from_millis(50)).await;
    broker.look();
    if !broker.is_well() {
        stage.world.note("broker: its log has stopped");
        broker.lose(broker::Loss::Process);
        broker.start().await;
    }
}
