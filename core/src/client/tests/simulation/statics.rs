//! Static members: processes that keep their place in the group under a name, are killed, closed and started again,
//! and now and then two under one name.

use std::sync::Arc;
use std::time::Duration;

use super::TOPIC;
use super::broker::Signal;
use super::clients::Stage;
use super::parts::among;
use crate::client::Consumer;
use crate::client::options::{Ack, Assignor, ConsumerOptions};
use crate::error::{ErrorCode, Result};
use crate::log::storage::faulty::Random;

pub(super) const GROUP: &str = "shelving";

/// Who is in the group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    names: usize,
    /// Whether a second process is started under each name now and then.
    has_twins: bool,
    /// Whether there is a member without a name.
    has_other: bool,
    assignor: Assignor,
}

/// A place in the group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    name: Option<usize>,
    is_twin: bool,
    assignor: Assignor,
}

impl Places {
    pub(super) fn draw(random: &mut Random) -> Self {
        Self {
            names: 1 + random.below(2) as usize,
            has_twins: random.below(2) == 0,
            has_other: random.below(2) == 0,
            assignor: among(
                random,
                &[Assignor::Sticky, Assignor::Range, Assignor::RoundRobin],
            ),
        }
    }

    pub(super) fn members(&self) -> usize {
        self.all().count()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = Place> {
        let Self {
            names, assignor, ..
        } = *self;
        let place = move |name: Option<usize>, is_twin| Place {
            name,
            is_twin,
            assignor,
        };
        let named = (0..names).map(move |name| place(Some(name), false));
        let twins = (0..names).map(move |name| place(Some(name), true));
        let other = place(None, false);
        named
            .chain(twins.filter(|_| self.has_twins))
            .chain(self.has_other.then_some(other))
    }
}

impl Stage {
    /// Reads as this member of the group, again and again, until it is told to stop.
    pub(super) async fn keep_place(self, number: usize, place: Place, stop: Arc<Signal>) {
        let is_over = || stop.is_set() || (place.is_twin && self.is_calm());
        if place.is_twin {
            self.pause(4_000).await;
        }
        while !is_over() {
            let life = Arc::new(Signal::default());
            let client = self.connect_for(number, &life).await;
            let ack = self.among(&[Ack::Auto, Ack::Manual]);
            let options = ConsumerOptions {
                group: Some(GROUP.to_owned()),
                instance_id: place.name.map(|name| format!("shelf-{name}")),
                ack: Some(ack),
                assignor: Some(place.assignor),
                commit_interval_ms: Some(self.among(&[10, 200, 1_000])),
                heartbeat_ms: Some(self.among(&[200, 500, 1_000])),
                session_timeout_ms: Some(self.among(&[2_000, 5_000, 10_000])),
                rebalance_timeout_ms: Some(self.among(&[1_000, 5_000])),
                ..ConsumerOptions::default()
            };
            let consumer = client
                .consumer(&[TOPIC], options)
                .expect("options in their range");
            self.note(format!("place {number}: begins, {place:?}"));
            let ended = self.read_for_a_while(number, &consumer, ack, &stop).await;
            self.note(format!("place {number}: ends, {ended:?}"));
            self.die(number, (client, consumer), &life, stop.is_set())
                .await;
            // Mostly it is back before its session is over.
            self.pause(self.among(&[0, 100, 1_000, 12_000])).await;
            if place.is_twin {
                self.pause(3_000).await;
            }
        }
        stop.count();
    }

    /// As long as the process lives; none: it was ended in the middle.
    async fn read_for_a_while(
        &self,
        number: usize,
        consumer: &Consumer,
        ack: Ack,
        stop: &Signal,
    ) -> Option<Result<()>> {
        let reading = self.read(GROUP, number, consumer, ack, stop);
        let ended = self.live(reading).await;
        if let Some(Err(error)) = &ended
            && error.code() == ErrorCode::FencedInstanceId
            && let Ok(Some(batch)) = consumer.next_batch(Some(Duration::ZERO)).await
        {
            let (partition, offset) = (batch.partition(), batch.next_offset());
            self.history.fail(format!(
                "member {number} is fenced and is given offset {offset} of partition {partition}"
            ));
        }
        ended
    }
}
