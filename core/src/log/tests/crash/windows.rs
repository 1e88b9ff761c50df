//! What offsets come next and which batches are repetitions, worked out from the entries alone, to be
//! compared with what the log says.

use std::collections::{BTreeMap, VecDeque};

use super::tape::{Batch, Fact, Known};
use super::*;
use crate::error::ErrorCode;
use crate::limits::PRODUCER_WINDOW_BATCHES;

#[derive(Debug, Default)]
pub(super) struct Windows {
    partitions: BTreeMap<u32, Partition>,
    gone: Vec<u32>,
}

#[derive(Debug)]
struct Partition {
    topic: [u8; 16],
    next_offset: i64,
    producers: BTreeMap<i64, VecDeque<(Batch, u64, i64)>>,
}

impl Windows {
    /// # Errors
    /// What no log may hold: a batch that does not begin where its partition ends.
    pub(super) fn of(entries: &[Known]) -> Result<Self, String> {
        let mut windows = Self::default();
        entries.iter().try_for_each(|known| windows.take(known))?;
        Ok(windows)
    }

    /// The offset that comes next in each partition.
    pub(super) fn next_offsets(&self) -> impl Iterator<Item = (u32, i64)> {
        let partitions = self.partitions.iter();
        partitions.map(|(id, partition)| (*id, partition.next_offset))
    }

    /// Epoch and sequence that a producer's next batch has.
    pub(super) fn next_sequence(&self, partition: u32, producer_id: i64) -> (i16, i32) {
        let partition = self.partitions.get(&partition);
        let window = partition.and_then(|partition| partition.producers.get(&producer_id));
        let last = window.and_then(VecDeque::back);
        last.map_or((0, 0), |(batch, ..)| (batch.epoch, batch.last_sequence + 1))
    }

    fn take(&mut self, known: &Known) -> Result<(), String> {
        let id = known.partition;
        match known.fact {
            Fact::Nothing => {}
            Fact::Open {
                topic,
                start_offset,
            } => {
                let opened = Partition {
                    topic,
                    next_offset: start_offset,
                    producers: BTreeMap::new(),
                };
                self.partitions.entry(id).or_insert(opened);
            }
            Fact::Delete { topic } => {
                let gone = self
                    .partitions
                    .extract_if(.., |_, found| found.topic == topic);
                self.gone.extend(gone.map(|(id, _)| id));
            }
            Fact::Expire { producer_id } => {
                if let Some(partition) = self.partitions.get_mut(&id) {
                    partition.producers.remove(&producer_id);
                }
            }
            Fact::Batch(batch) => {
                let partition = self.partitions.get_mut(&id);
                let partition = partition.ok_or_else(|| format!("{known:?} without partition"))?;
                partition.take(batch, known)?;
            }
        }
        Ok(())
    }

    /// Asks the log for every offset, and gives it every batch it has to remember once more, and one it
    /// must not take. Nothing of that is written.
    ///
    /// # Errors
    /// What the log says otherwise.
    pub(super) fn compare(&self, log: &Arc<Log>) -> Result<(), String> {
        let written = log.written();
        for (&id, partition) in &self.partitions {
            let found = log.next_offset(PartitionId(id));
            if found != Some(partition.next_offset) {
                let expected = partition.next_offset;
                return Err(format!(
                    "partition {id} goes on at {found:?}, not {expected}"
                ));
            }
            for (&producer_id, window) in &partition.producers {
                compare_window(log, id, producer_id, window)?;
            }
        }
        for id in &self.gone {
            let is_open = self.partitions.contains_key(id);
            if !is_open && log.next_offset(PartitionId(*id)).is_some() {
                return Err(format!("partition {id} is deleted and has offsets"));
            }
        }
        match log.written() == written {
            true => Ok(()),
            false => Err("a repetition was written".to_owned()),
        }
    }
}

impl Partition {
    fn take(&mut self, batch: Batch, known: &Known) -> Result<(), String> {
        if batch.base_offset != self.next_offset {
            let expected = self.next_offset;
            return Err(format!("{known:?} does not begin at offset {expected}"));
        }
        self.next_offset += batch.count;
        if batch.producer_id < 0 {
            return Ok(());
        }
        let window = self.producers.entry(batch.producer_id).or_default();
        if window
            .back()
            .is_some_and(|(last, ..)| last.epoch != batch.epoch)
        {
            window.clear();
        }
        if window.len() == PRODUCER_WINDOW_BATCHES {
            window.pop_front();
        }
        window.push_back((batch, known.index, known.time_ms));
        Ok(())
    }
}

fn compare_window(
    log: &Arc<Log>,
    partition: u32,
    producer_id: i64,
    window: &VecDeque<(Batch, u64, i64)>,
) -> Result<(), String> {
    let send = |epoch, sequence, count: i64| {
        let values = vec![&b"again"[..]; count as usize];
        let request = produced(partition, &values, producer_id, epoch, sequence);
        submit(log, request, Run::Here).wait(None)
    };
    for (batch, index, time_ms) in window {
        let again = send(batch.epoch, batch.base_sequence, batch.count);
        let is_known = again.as_ref().is_ok_and(|again| {
            let place = (again.index, again.base_offset, again.time_ms);
            again.is_duplicate && place == (*index, batch.base_offset, *time_ms)
        });
        if !is_known {
            return Err(format!("{batch:?} of index {index}, repeated: {again:?}"));
        }
    }
    let Some((last, ..)) = window.back() else {
        return Ok(());
    };
    // A gap, and what came before the window, are no repetitions.
    let first = window.front().map_or(0, |(batch, ..)| batch.base_sequence);
    for sequence in [last.last_sequence + 2, first - 1] {
        let refused = send(last.epoch, sequence, 1);
        let is_right = refused.as_ref().is_err_and(|error| {
            let code = error.code();
            code == ErrorCode::OutOfOrderSequenceNumber
        });
        if sequence >= 0 && !is_right {
            return Err(format!("sequence {sequence} behind {last:?}: {refused:?}"));
        }
    }
    Ok(())
}
