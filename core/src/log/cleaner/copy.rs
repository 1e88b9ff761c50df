//! Moving what lives of some segments into cold ones.
//!
//! Partition after partition, each in order of offsets: so what was strewn over many segments lies together
//! afterwards. Partitions that are compacted go into segments of their own, since they are moved again when
//! others are not. Every batch is verified before it is written.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::super::frame::FrameHeader;
use super::super::index::IndexEntry;
use super::super::read::{self, Reading};
use super::super::shared::Shared;
use super::compaction::Overwritten;
use super::output::Outputs;
use super::plan::Job;
use super::reserve::Space;
use super::{CleaningRule, Compaction, Rules, Stopped};
use crate::error::{Error, ErrorCode};
use crate::ids::PartitionId;
use crate::record::Batch;
use crate::record::filter::{Filtered, filter};
use crate::world;

/// Bytes read at once, where batches lie side by side.
const READ_BYTES: u64 = 1_024 * 1_024;
/// How long a pause is before it is asked again whether the log is being closed.
const PAUSE: Duration = Duration::from_millis(20);

/// A move under way.
struct Move<'a> {
    log: &'a Arc<Shared>,
    job: &'a Job,
    now_ms: i64,
    pace: Pace,
}

/// Moves what lives by `rules` of the sources of a job.
///
/// # Errors
/// [`Stopped`]; then everything is as it was.
pub(super) fn run(
    log: &Arc<Shared>,
    job: &Job,
    rules: &Rules<'_>,
    space: Space,
) -> Result<(), Stopped> {
    let mut moving = Move {
        log,
        job,
        now_ms: (log.options.clock)(),
        pace: Pace::new(log, job),
    };
    let mut outputs = Outputs::new(log, job, space, (moving.now_ms, job.indexes(log)));
    match moving.partitions(rules, &mut outputs) {
        Ok(()) => Ok(outputs.commit()?),
        Err(stopped) => {
            outputs.undo();
            Err(stopped)
        }
    }
}

impl Job {
    /// The cold segments among the sources.
    pub(super) fn cold_sources(&self, log: &Shared) -> Vec<u64> {
        let is_cold = |segment: &&u64| {
            let file = log.files.segment(**segment);
            file.is_some_and(|file| file.cold().is_some())
        };
        self.sources.iter().filter(is_cold).copied().collect()
    }

    /// The lowest and the highest index that a batch of the sources can have.
    fn indexes(&self, log: &Shared) -> (u64, u64) {
        let files = self.sources.iter().filter_map(|it| log.files.segment(*it));
        let indexes = files.map(|it| (it.first_index(), it.last_index().unwrap_or_default()));
        indexes
            .reduce(|all, it| (all.0.min(it.0), all.1.max(it.1)))
            .unwrap_or_default()
    }

    /// Whether nothing of a partition lies before what the sources hold of it.
    fn has_beginning(&self, log: &Shared, partition: PartitionId, offset: i64) -> bool {
        let first = log.index.holder_of(partition, offset);
        first.is_some_and(|segment| self.sources.contains(&segment))
    }

    /// The sources that hold something of a partition, in order of its offsets.
    fn holders(&self, log: &Shared) -> Vec<(PartitionId, Vec<u64>)> {
        let rows = self.sources.iter().flat_map(|it| log.index.rows_of(*it));
        let mut rows: Vec<_> = rows
            .map(|row| (row.partition, row.summary.first_offset, row.segment))
            .collect();
        rows.sort_unstable();
        let by_partition = rows.chunk_by(|one, next| one.0 == next.0);
        let holders = by_partition.filter_map(|rows| {
            let segments = rows.iter().map(|(_, _, segment)| *segment);
            Some((rows.first()?.0, segments.collect()))
        });
        holders.collect()
    }
}

impl Move<'_> {
    fn partitions(&mut self, rules: &Rules<'_>, outputs: &mut Outputs<'_>) -> Result<(), Stopped> {
        let holders = self.job.holders(self.log);
        let ruled = holders.iter().filter_map(|(partition, segments)| {
            Some((*partition, segments.as_slice(), rules(*partition)?))
        });
        let (compacted, others): (Vec<_>, Vec<_>) =
            ruled.partition(|(_, _, rule)| rule.compaction.is_some());
        for (partition, segments, rule) in others {
            self.each_batch(partition, segments, &rule, &mut |frame, batch| {
                let bytes = batch.bytes();
                Ok(outputs.push(partition, frame, 0, (batch.header(), bytes))?)
            })?;
        }
        if !compacted.is_empty() {
            outputs.cut()?;
        }
        for (partition, segments, rule) in compacted {
            if let Some(compaction) = rule.compaction {
                self.compact(partition, segments, &rule, compaction, outputs)?;
            }
        }
        Ok(())
    }

    /// Moves of a partition what is not overwritten, nor a tombstone that has been there long enough.
    fn compact(
        &mut self,
        partition: PartitionId,
        segments: &[u64],
        rule: &CleaningRule,
        compaction: Compaction,
        outputs: &mut Outputs<'_>,
    ) -> Result<(), Stopped> {
        let overwritten = Overwritten::find(|each| {
            self.each_batch(partition, segments, rule, &mut |_, batch| {
                for record in batch.records() {
                    each(&record.map_err(|error| unreadable(partition, batch, &error))?);
                }
                Ok(())
            })
        })?;
        let now_ms = u64::try_from(self.now_ms).unwrap_or_default();
        let retention_ms = u64::try_from(compaction.tombstone_retention_ms).unwrap_or_default();
        // What a tombstone speaks of may lie in a segment that is not among these, and would be back.
        let is_all_before = self
            .job
            .has_beginning(self.log, partition, rule.log_start_offset);
        let mut place = 0;
        self.each_batch(partition, segments, rule, &mut |frame, batch| {
            let first_kept_ms = frame.durable;
            let is_over = is_all_before
                && first_kept_ms > 0
                && now_ms.saturating_sub(first_kept_ms) >= retention_ms;
            let mut keeps_tombstone = false;
            let filtered = filter(batch, &mut |record| {
                let is_overwritten = overwritten.contains(place);
                place += 1;
                let is_tombstone = record.key.is_some() && record.value.is_none();
                // The last record stays whatever it is: a reader could not come to the end without it.
                let is_last = place == overwritten.records();
                let keeps = is_last || !(is_overwritten || (is_tombstone && is_over));
                keeps_tombstone |= keeps && is_tombstone;
                keeps
            });
            let filtered = filtered.map_err(|error| unreadable(partition, batch, &error))?;
            let first_kept_ms = match (keeps_tombstone, first_kept_ms) {
                (false, _) => 0,
                (true, 0) => now_ms.max(1),
                (true, before) => before,
            };
            let part;
            let kept = match filtered {
                Filtered::Nothing => return Ok(()),
                Filtered::Whole => batch,
                Filtered::Part(bytes) => {
                    part = Batch::already_verified(bytes.into())
                        .map_err(|error| unreadable(partition, batch, &error))?;
                    &part
                }
            };
            let kept = (kept.header(), kept.bytes().as_ref());
            Ok(outputs.push(partition, frame, first_kept_ms, kept)?)
        })
    }

    /// Hands over the batches of a partition that do not lie below its log start, in order of offsets.
    fn each_batch(
        &mut self,
        partition: PartitionId,
        segments: &[u64],
        rule: &CleaningRule,
        each: &mut dyn FnMut(&FrameHeader, &Batch) -> Result<(), Stopped>,
    ) -> Result<(), Stopped> {
        for segment in segments {
            let index = read::index_of(self.log, *segment)?;
            let Some(run) = index.run(partition) else {
                continue;
            };
            let mut together: Vec<IndexEntry> = Vec::new();
            for entry in run.starting_at(rule.log_start_offset) {
                let is_next = together.last().is_some_and(|last| {
                    let start = together.first().map_or(0, |first| first.position);
                    read::side_by_side(&[*last, entry]) == 2 && entry.end() - start <= READ_BYTES
                });
                if !is_next && !together.is_empty() {
                    self.read(*segment, partition, &together, each)?;
                    together.clear();
                }
                together.push(entry);
            }
            self.read(*segment, partition, &together, each)?;
        }
        Ok(())
    }

    fn read(
        &mut self,
        segment: u64,
        partition: PartitionId,
        entries: &[IndexEntry],
        each: &mut dyn FnMut(&FrameHeader, &Batch) -> Result<(), Stopped>,
    ) -> Result<(), Stopped> {
        if entries.is_empty() {
            return Ok(());
        }
        let log = self.log;
        let Some(entry) = log.files.segment(segment) else {
            return Err(Stopped::Closed);
        };
        let file = log.files.open(segment, &entry)?;
        let reading = Reading::new(log, segment, &entry, file.as_ref());
        let mut bytes = 0;
        for (mut frame, batch) in reading.together(entries)? {
            if entry.cold().is_none() {
                // When a tombstone was first kept: that is said in cold segments alone.
                frame.durable = 0;
            }
            bytes += batch.len() as u64;
            let batch = verified(partition, segment, batch)?;
            each(&frame, &batch)?;
        }
        self.pace.go_on(log, bytes)
    }
}

fn verified(partition: PartitionId, segment: u64, bytes: Bytes) -> Result<Batch, Stopped> {
    Batch::verified(bytes).map_err(|error| {
        let id = partition.0;
        let what = format!("a batch of partition id {id} in segment {segment}: {error}");
        Error::new(ErrorCode::CorruptSegment, what).into()
    })
}

fn unreadable(partition: PartitionId, batch: &Batch, error: &dyn std::error::Error) -> Stopped {
    let (id, offset) = (partition.0, batch.base_offset());
    let what = format!("records of partition id {id} from offset {offset} on: {error}");
    Error::new(ErrorCode::CorruptSegment, what).into()
}

/// Keeps to so many bytes a second, and looks up now and then.
struct Pace {
    began: Instant,
    bytes: u64,
    bytes_per_s: u64,
}

impl Pace {
    fn new(log: &Shared, job: &Job) -> Self {
        let is_limited = !job.is_urgent && !log.options.keeps_inline;
        Self {
            began: world::now(),
            bytes: 0,
            bytes_per_s: if is_limited {
                log.options.clean_bytes_per_s
            } else {
                0
            },
        }
    }

    /// So many bytes were read; `Closed` if the log is being closed.
    fn go_on(&mut self, log: &Shared, bytes: u64) -> Result<(), Stopped> {
        self.bytes += bytes;
        loop {
            if log.keeper.is_closed() {
                return Err(Stopped::Closed);
            }
            if self.bytes_per_s == 0 {
                return Ok(());
            }
            let due = Duration::from_secs_f64(self.bytes as f64 / self.bytes_per_s as f64);
            let Some(rest) = due.checked_sub(world::now().duration_since(self.began)) else {
                return Ok(());
            };
            world::sleep(rest.min(PAUSE));
        }
    }
}
