//! More partitions for a topic that is there.
//!
//! The new ones and the option that counts them are one entry: all of them are there, or none. What gives a topic
//! partitions and what deletes it take turns, or a partition could be opened for a topic that is gone.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::admin::part;
use super::groups::done;
use super::{Inner, Run};
use crate::completion::{Completion, Wakes};
use crate::error::Result;
use crate::ids::PartitionId;
use crate::log::{Kind, SetPart, control, encode_set};
use crate::protocol::response::Response;

type Uuid = [u8; 16];
type Job = Box<dyn FnOnce(&Arc<Inner>, Run) + Send>;

/// Topics whose partitions are being changed, each with what waits for its turn. A job that is dropped drops its
/// completion, which answers `Closed`.
#[derive(Default)]
pub(super) struct Turns(HashMap<Uuid, VecDeque<Job>>);

/// What an alteration makes of a topic.
#[derive(Clone, Copy, Debug)]
pub(super) struct Altered {
    pub(super) uuid: Uuid,
    /// Whether it says how many partitions there are to be.
    pub(super) is_counted: bool,
    /// How many partitions there are, and how many there are to be.
    pub(super) from: u32,
    pub(super) to: u32,
}

impl Inner {
    /// Runs `job`, now or once nobody else changes the topic's partitions. It ends with
    /// [`end_turn`](Self::end_turn).
    pub(super) fn take_turn(
        self: &Arc<Self>,
        uuid: Uuid,
        run: Run,
        job: impl FnOnce(&Arc<Self>, Run) + Send + 'static,
    ) {
        let mut creating = self.creating.lock();
        if let Some(waiting) = creating.turns.0.get_mut(&uuid) {
            waiting.push_back(Box::new(job));
            return;
        }
        creating.turns.0.insert(uuid, VecDeque::new());
        drop(creating);
        job(self, run);
    }

    /// The next one's turn.
    pub(super) fn end_turn(self: &Arc<Self>, uuid: Uuid) {
        let mut creating = self.creating.lock();
        let waiting = creating.turns.0.get_mut(&uuid);
        let next = waiting.and_then(VecDeque::pop_front);
        if next.is_none() {
            creating.turns.0.remove(&uuid);
        }
        drop(creating);
        if let Some(next) = next {
            // Not from here: one that is refused ends its turn at once, and many may wait.
            let inner = Arc::clone(self);
            self.log.schedule_turn(move || next(&inner, Run::Io));
        }
    }

    /// Sets options of a topic, one of which is the number of partitions. In its turn.
    pub(super) fn add_partitions(
        self: &Arc<Self>,
        (uuid, name): (Uuid, String),
        config: Vec<(String, String)>,
        run: Run,
        completion: Completion<Response>,
    ) {
        let completion = self.ending_turn(uuid, name.clone(), completion);
        let altered = self.check_alter(&name, &config);
        let altered = match altered {
            // A topic that took its name meanwhile is another one.
            Ok(altered) if altered.uuid == uuid => altered,
            Ok(_) => return completion.finish(Err(super::unknown_topic(&name))),
            Err(error) => return completion.finish(Err(error)),
        };
        match self.encode_partitions(altered, config) {
            Ok(payload) => {
                let done = done(completion);
                self.append_encoded(Kind::Set, PartitionId(0), payload, None, run, done);
            }
            Err(error) => completion.finish(Err(error)),
        }
    }

    /// Tells the groups that read the topic, ends the turn, and answers.
    pub(super) fn ending_turn(
        self: &Arc<Self>,
        uuid: Uuid,
        name: String,
        completion: Completion<Response>,
    ) -> Completion<Response> {
        let inner = Arc::clone(self);
        Completion::call(move |result: Result<Response>, wakes: &mut Wakes| {
            let is_gone = result.is_ok() && inner.state.topics.read().by_uuid(&uuid).is_none();
            match is_gone {
                true => inner.note_deletion(&name, wakes),
                false => inner.note_topic(&name, wakes),
            }
            inner.end_turn(uuid);
            completion.complete(result, wakes);
        })
    }

    fn encode_partitions(
        &self,
        altered: Altered,
        config: Vec<(String, String)>,
    ) -> Result<Vec<u8>> {
        let Altered { uuid, from, to, .. } = altered;
        let mut creating = self.creating.lock();
        let known = self.state.topics.read().next_partition();
        let first = creating.next_partition.max(known);
        creating.next_partition = first.saturating_add(to.saturating_sub(from));
        drop(creating);
        let opens = (from..to).map(|number| {
            let open = control::PartitionOpen {
                topic: uuid,
                partition: i32::try_from(number).unwrap_or(i32::MAX),
                start_offset: 0,
            };
            let id = PartitionId(first.saturating_add(number - from));
            part(Kind::PartitionOpen, id, &open)
        });
        let mut parts = opens.collect::<Result<Vec<SetPart>>>()?;
        let alter = control::TopicAlter { uuid, config };
        parts.push(part(Kind::TopicAlter, PartitionId(0), &alter)?);
        Ok(encode_set(&parts))
    }
}

impl std::fmt::Debug for Turns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests;
