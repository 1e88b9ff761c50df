//! Kafka's clients in core's simulation: producers and members of a group of the simulation's own, which speak the
//! protocol's bytes to the adapter over its network, beside native clients on the same topic, while the broker, its
//! disk and the connections fail.
//!
//! `HEADWATER_SEED=7` runs one seed and tells what happened; `HEADWATER_SEEDS=50000` runs so many. Of three seeds one has
//! no native clients, and in one the consumers of both kinds have one group id, which is of one kind at a time.

mod commits;
mod consumer;
mod fetcher;
mod lane;
mod line;
mod member;
mod producer;
mod seeds;

use std::sync::Arc;
use std::time::Duration;

use headwater::service::Service;
use headwater::testing::simulation::{Guests, Play, Port, Reader, Reading, Signal, Stage, Writer};

use super::*;

/// Clients of Kafka's protocol, and the adapter that serves them.
struct Kafkas {
    /// The group of its consumers.
    group: &'static str,
}

impl Guests for Kafkas {
    fn group(&self) -> &'static str {
        self.group
    }

    fn open(&self, service: &Service) -> Arc<dyn Port> {
        Arc::new(Adapter(kafka_of(service.clone())))
    }

    fn produce(&self, stage: Stage, producer: usize, records: u64, done: Arc<Signal>) -> Play {
        Box::pin(producer::produce(stage, producer, records, done))
    }

    fn consume(&self, stage: Stage, member: usize, stop: Arc<Signal>) -> Play {
        Box::pin(consumer::consume(stage, self.group, member, stop))
    }

    fn read_all(&self, stage: Stage, ends: Vec<i64>) -> Reading {
        Box::pin(consumer::read_all(stage, self.group, ends))
    }
}

struct Adapter(Kafka);

impl Port for Adapter {
    fn serve(&self, reader: Reader, writer: Writer) -> Play {
        let kafka = self.0.clone();
        Box::pin(async move {
            kafka.serve((reader, writer), Vec::new(), None, "sim").await;
        })
    }

    fn close(&self, within: Duration) -> Play {
        let kafka = self.0.clone();
        Box::pin(async move { kafka.close(within).await })
    }
}
