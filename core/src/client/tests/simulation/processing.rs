//! Members that hand their records to handlers side by side (`Consumer::processor`), of which some fail: once, again
//! and again, or for good.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::TOPIC;
use super::broker::Signal;
use super::clients::Stage;
use super::history::{Run, number_of};
use super::parts::among;
use crate::client::options::{Ack, ConsumerOptions, Order, ProcessOptions};
use crate::client::{Consumer, Finish, ProcessRecord, Processor};
use crate::error::{Error, ErrorCode};
use crate::log::storage::faulty::Random;
use crate::world;

pub(super) const GROUP: &str = "picking";
/// The topic of the dead letters.
pub(super) const LETTERS: &str = "orders.dead";
pub(super) const LETTER_PARTITIONS: i32 = 2;

/// How records are handled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Handling {
    pub(super) members: usize,
    pub(super) order: Order,
    pub(super) attempts: u32,
    pub(super) concurrency: u32,
    /// Whether what fails for good goes to a topic; if not, it stops its processor.
    pub(super) has_letters: bool,
}

/// A processor and what its handlers share.
struct Desk {
    /// Its number in the history.
    number: usize,
    processor: Processor,
    handling: Handling,
    /// How long a handler may run, with nothing heard of any, until the member counts as stuck.
    patience: Duration,
    pause_ms: u64,
}

impl Handling {
    pub(super) fn draw(random: &mut Random) -> Self {
        Self {
            members: 1 + random.below(2) as usize,
            order: among(
                random,
                &[Order::Key, Order::Key, Order::Partition, Order::None],
            ),
            attempts: among(random, &[1, 2, 3, 5]),
            concurrency: among(random, &[1, 3, 16]),
            has_letters: random.below(4) > 0,
        }
    }

    fn options(&self, stage: &Stage) -> ProcessOptions {
        // One long pause, or some short ones: all of them are to be over in time.
        let backoff_ms = match self.attempts {
            2 => stage.among(&[1, 200, 5_000]),
            _ => stage.among(&[1, 20, 200]),
        };
        ProcessOptions {
            concurrency: Some(self.concurrency),
            order: Some(self.order),
            attempts: Some(self.attempts),
            backoff_ms: Some(backoff_ms),
            backoff_max_ms: Some(backoff_ms.max(1_000)),
            dead_letter: self.has_letters.then(|| LETTERS.to_owned()),
        }
    }
}

impl Stage {
    /// Has records handled as a member of the group, again and again, until it is told to stop.
    pub(super) async fn handle_records(self, number: usize, handling: Handling, stop: Arc<Signal>) {
        while !stop.is_set() {
            let life = Arc::new(Signal::default());
            let client = self.connect_for(number, &life).await;
            let patience_ms = self.among(&[2_000, 300_000]);
            let options = ConsumerOptions {
                group: Some(GROUP.to_owned()),
                ack: Some(self.among(&[Ack::Auto, Ack::Manual])),
                commit_interval_ms: Some(self.among(&[10, 200, 1_000])),
                max_unacked: Some(self.among(&[3, 40, 10_000])),
                heartbeat_ms: Some(self.among(&[200, 1_000])),
                session_timeout_ms: Some(self.among(&[1_500, 4_000, 10_000])),
                rebalance_timeout_ms: Some(self.among(&[1_000, 5_000])),
                processing_timeout_ms: Some(patience_ms),
                ..ConsumerOptions::default()
            };
            let consumer = client
                .consumer(&[TOPIC], options)
                .expect("options in their range");
            self.note(format!("handler {number}: begins"));
            let handled = async {
                loop {
                    let ended = self
                        .run_handlers(&consumer, handling, patience_ms, &stop)
                        .await;
                    // A consumer may be processed again when that has ended.
                    if ended.is_err() || stop.is_set() || self.chance(2) {
                        break ended;
                    }
                    self.note(format!("handler {number}: begins to process again"));
                }
            };
            if self.parts.is_deadly {
                let ended = self.live(handled).await;
                self.note(format!("handler {number}: ends, {ended:?}"));
                self.die(number, (client, consumer), &life, stop.is_set())
                    .await;
            } else {
                let ended = handled.await;
                self.note(format!("handler {number}: ends, {ended:?}"));
                self.part(number, (client, consumer), &stop).await;
            }
            self.pause(2_000).await;
        }
        stop.count();
    }

    async fn run_handlers(
        &self,
        consumer: &Consumer,
        handling: Handling,
        patience_ms: u64,
        stop: &Signal,
    ) -> Result<(), Error> {
        let processor = consumer.processor(&handling.options(self))?;
        let desk = Arc::new(Desk {
            number: self.history.open_processor(),
            processor: processor.clone(),
            handling,
            patience: Duration::from_millis(patience_ms),
            pause_ms: self.among(&[0, 5, 50, 400]),
        });
        let mut running = JoinSet::new();
        let ended = self.give_out(&desk, &mut running, stop).await;
        if !stop.is_set() && self.chance(3) {
            // What runs is broken off, as in a process that ends.
            running.abort_all();
        }
        while running.join_next().await.is_some() {}
        let closed = processor.close().await;
        ended.and(closed)
    }

    async fn give_out(
        &self,
        desk: &Arc<Desk>,
        running: &mut JoinSet<()>,
        stop: &Signal,
    ) -> Result<(), Error> {
        let at_once = self.among(&[1, 4, usize::MAX]);
        while !stop.is_set() && (self.is_calm() || !self.chance(60)) {
            while running.try_join_next().is_some() {}
            let taken = desk.processor.take_records(at_once);
            let records = match timeout(Duration::from_millis(300), taken).await {
                Ok(Ok(Some(records))) => records,
                Ok(Ok(None)) => break,
                Ok(Err(error)) => {
                    if error.code() == ErrorCode::ProcessingTimedOut {
                        self.history.stuck(desk.number, desk.patience);
                    }
                    return Err(error);
                }
                Err(_) => continue,
            };
            for record in records {
                let run = Run {
                    processor: desk.number,
                    partition: record.partition(),
                    offset: record.offset(),
                    number: number_of(record.value().unwrap_or_default()),
                    attempt: record.attempt(),
                    began: world::now(),
                };
                self.history.begin_run(&run, &desk.handling);
                running.spawn(self.clone().handle(Arc::clone(desk), record, run));
            }
        }
        Ok(())
    }

    async fn handle(self, desk: Arc<Desk>, record: ProcessRecord, run: Run) {
        self.pause(desk.pause_ms).await;
        if !self.is_calm() && self.chance(100) {
            // It hangs for a while.
            self.pause(15_000).await;
        }
        let finish = self.judge(&desk.handling, run.number);
        // Before it is told: what is committed with it may be seen at once.
        self.history.end_run(&run, &desk.handling, &finish);
        if finish != Finish::Done {
            let Run {
                partition,
                offset,
                attempt,
                ..
            } = run;
            self.note(format!(
                "offset {offset} of {partition} fails at attempt {attempt}: {finish:?}"
            ));
        }
        desk.processor.finish(vec![(record.ticket(), finish)]);
    }

    /// Some records fail at every attempt, some at once for good, and any now and then.
    fn judge(&self, handling: &Handling, number: u64) -> Finish {
        let fails = || "it failed".to_owned();
        if handling.has_letters && number % 13 == 5 {
            return Finish::Dead(fails());
        }
        let is_poison = handling.has_letters && number % 11 == 3;
        // Without a topic for dead letters every failure for good is a new beginning.
        let may_fail = handling.has_letters || !self.is_calm();
        if is_poison || (may_fail && self.chance(8)) {
            return Finish::Retry(fails());
        }
        Finish::Done
    }
}
