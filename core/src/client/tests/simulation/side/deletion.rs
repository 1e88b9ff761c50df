//! Records that are deleted, and a topic that is: who does it, and what must come of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::history::End;
use super::ledger::{Ledger, Place};
use super::{Side, TOPIC};
use crate::client::Client;
use crate::client::options::TimestampType;
use crate::error::ErrorCode;
use crate::protocol::request::{OffsetAt, OffsetQuery};

/// What was asked to be deleted, and what of it was done.
#[derive(Debug, Default)]
pub(super) struct Deleted {
    /// Where a partition was to begin.
    asked: BTreeMap<i32, BTreeSet<i64>>,
    /// Where it does so at least: as was answered.
    done: BTreeMap<i32, i64>,
    /// Where it was seen to begin, and how often the power was cut before.
    seen: BTreeMap<i32, (i64, u64)>,
    /// Whether the topic that is there is the second of its name.
    pub(super) is_topic: bool,
}

impl Deleted {
    /// Whether somebody asked that the partition begins here.
    pub(super) fn is_start(&self, place: Place, offset: i64) -> bool {
        let asked = self.asked.get(&place.partition);
        asked.is_some_and(|asked| asked.contains(&offset))
    }

    /// Whether somebody asked that what is at this offset be deleted.
    pub(super) fn may_be_gone(&self, partition: i32, offset: i64) -> bool {
        let last = self.asked.get(&partition).and_then(BTreeSet::last);
        last.is_some_and(|last| offset < *last)
    }
}

impl Side {
    /// Deletes records now and then, while something goes wrong.
    pub(super) async fn delete_records(self: Arc<Self>, number: usize) {
        let client = self.stage.connect(number).await;
        for _ in 0..6 {
            self.stage.pause(2_500).await;
            if self.stage.is_calm() {
                break;
            }
            let partition = self.stage.below(self.partitions as u64) as i32;
            let end = self.ledger.acknowledged_end(partition);
            if end > 0 {
                let before = 1 + self.stage.below(end as u64) as i64;
                self.delete_before(&client, partition, before).await;
            }
            self.look_at_start(&client, partition).await;
        }
        drop(client.close(None).await);
        self.sending.count();
    }

    async fn delete_before(&self, client: &Client, partition: i32, before: i64) {
        let asked_at = self.ledger.cuts();
        self.note(format!("{partition}: records before {before} are deleted"));
        self.ledger.deleting(partition, before);
        let wanted = BTreeMap::from([(partition, before)]);
        match client.admin().delete_records(TOPIC, wanted).await {
            Ok(starts) => {
                self.note(format!("{partition}: begins at {starts:?}"));
                let start = starts.get(&partition).copied().unwrap_or(-1);
                self.ledger.deleted(partition, before);
                self.ledger.starts(partition, start, asked_at);
            }
            Err(error) if error.code() == ErrorCode::OffsetOutOfRange => {
                self.ledger.fail(format!(
                    "records of partition {partition} before {before} are acknowledged, and cannot be deleted: {error}"
                ));
            }
            Err(error) => self.note(format!("{partition}: not deleted: {error}")),
        }
    }

    async fn look_at_start(&self, client: &Client, partition: i32) {
        let asked_at = self.ledger.cuts();
        let query = OffsetQuery {
            topic: TOPIC.to_owned(),
            partition,
            at: OffsetAt::Earliest,
        };
        if let Ok(starts) = client.admin().list_offsets(vec![query]).await {
            self.ledger.starts(partition, starts[0], asked_at);
        }
    }

    /// Deletes the topic, and creates another under its name.
    pub(super) async fn recreate(self: Arc<Self>, number: usize) {
        let client = self.stage.connect(number).await;
        self.stage.pause(8_000).await;
        self.note("the topic is deleted".to_owned());
        loop {
            match client.admin().delete_topic(TOPIC).await {
                Ok(()) => break,
                // By an attempt before.
                Err(error) if error.code() == ErrorCode::UnknownTopicOrPartition => break,
                Err(error) => self.note(format!("not deleted: {error}")),
            }
            self.stage.pause(200).await;
        }
        let most_ms = self.stage.among(&[0, 100, 3_000]);
        self.stage.pause(most_ms).await;
        self.note("the topic is created again".to_owned());
        self.create_topic(TimestampType::LogAppendTime).await;
        self.ledger.recreated();
        for _ in 0..8 {
            self.stage.pause(500).await;
            self.look_at_commits(&client).await;
        }
        drop(client.close(None).await);
        self.sending.count();
    }
}

impl Ledger {
    /// One behind the last record of a partition that is acknowledged.
    fn acknowledged_end(&self, partition: i32) -> i64 {
        let state = self.state();
        let sent = state.sent.iter().filter(|it| it.partition == partition);
        let ends = sent.filter_map(|it| match it.end?.end {
            End::Acknowledged(offset) => Some(offset + 1),
            End::NotDone | End::Unknown => None,
        });
        ends.max().unwrap_or(0)
    }

    /// The partition is to begin at `before`.
    fn deleting(&self, partition: i32, before: i64) {
        let mut state = self.state();
        let asked = state.deleted.asked.entry(partition).or_default();
        asked.insert(before);
    }

    /// It was answered that it does: that stays so.
    fn deleted(&self, partition: i32, before: i64) {
        let mut state = self.state();
        let done = state.deleted.done.entry(partition).or_default();
        *done = (*done).max(before);
    }

    /// It begins here, as who asked is told; the power had been cut so often when it was asked.
    fn starts(&self, partition: i32, start: i64, asked_at: u64) {
        let is_cut = self.cuts() != asked_at;
        let mut state = self.state();
        let place = Place {
            partition,
            is_new: false,
        };
        let deleted = &mut state.deleted;
        let done = deleted.done.get(&partition).copied().unwrap_or(0);
        // What was seen and not answered may go back with the power.
        let seen = deleted.seen.get(&partition).copied();
        let seen = seen.filter(|(_, cuts)| !is_cut && *cuts == asked_at);
        let least = seen.map_or(done, |(seen, _)| seen.max(done));
        let was_asked = start == 0 || deleted.is_start(place, start);
        if !is_cut {
            deleted.seen.insert(partition, (start, asked_at));
        }
        drop(state);
        if start < least || !was_asked {
            self.fail(format!(
                "partition {partition} begins at {start}, and was to begin at {least} at least"
            ));
        }
    }

    /// The topic that is there is the second of its name.
    fn recreated(&self) {
        self.state().deleted.is_topic = true;
    }

    /// Whether the topic that is there now is the second of its name, for who asks what is committed for it.
    pub(super) fn asks_for_commits(&self) -> bool {
        self.state().deleted.is_topic
    }

    /// What the group had committed when it was asked. Of the first topic of the name that says nothing: it may have
    /// been deleted meanwhile.
    pub(super) fn commits(&self, is_new: bool, offsets: impl Iterator<Item = (i32, i64)>) {
        let state = self.state();
        let is_another = state.deleted.is_topic != is_new;
        let ends = state.found.clone();
        drop(state);
        for (partition, offset) in offsets.filter(|_| !is_another) {
            let place = Place { partition, is_new };
            let frontier = self.frontier(place);
            let is_asked = self.state().deleted.is_start(place, offset);
            if offset > frontier && !is_asked {
                self.fail(format!(
                    "offset {offset} of {place:?} is committed and only {frontier} are processed"
                ));
            }
            let end = ends.as_ref().map(|found| found[partition as usize].end);
            if end.is_some_and(|end| offset > end) {
                self.fail(format!(
                    "offset {offset} of {place:?} is committed, which ends at {end:?}"
                ));
            }
        }
    }
}
