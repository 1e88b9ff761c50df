//! Whether moving what lives is worth it, and of which segments.
//!
//! It is when more is dead than lives, with some segments' worth to spare, and then of the fewest segments at
//! the front of the log of which as much is dead as lives: so a byte that is moved pays for one that goes,
//! and in all no more is written a second time than once was. Cold segments are moved by the same measure.
//!
//! What compaction will find dead is not known before. So of a partition that is compacted, what came since
//! counts as dead once it is as much as what was compacted before, tier by tier: a tier is what one cleaning
//! wrote, and a segment of the log is one of its own.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::super::checkpoint::DirectoryRow;
use super::super::cold::REPLACED_MAX;
use super::super::frame::FRAME_HEADER_BYTES;
use super::super::segment::SEGMENT_HEADER_BYTES;
use super::super::shared::Shared;
use super::{Rules, SLACK_SEGMENTS};
use crate::ids::PartitionId;

/// Segments' worth of living bytes that are moved at a time, and that a cold segment has at most.
pub(super) const COLD_SEGMENTS: u64 = 4;
/// Bytes that a batch takes in a footer, at most, and a partition.
const ENTRY_BYTES: u64 = 9;
const ROW_BYTES: u64 = 128;

/// What is to be moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Job {
    /// Segments, in order of their numbers: the front of the log, or cold ones.
    pub(super) sources: Vec<u64>,
    /// Log segments below this number are among the sources, or gone.
    pub(super) front: u64,
    /// Whether cleaning has fallen behind: then it does not spare the disk.
    pub(super) is_urgent: bool,
    /// Whether they are moved to be compacted with one another.
    pub(super) is_merge: bool,
}

/// What a segment's bytes are.
#[derive(Clone, Copy, Debug, Default)]
struct Weight {
    live: u64,
    /// Dead whatever comes.
    dead: u64,
    /// Dead perhaps: a later record of the same key may be there.
    doubtful: u64,
}

/// What is to be moved now, if it is worth it: of what lies before the older snapshot or, where that is not
/// enough, the newer.
///
/// The rules are what the log made of everything up to `as_of`: as long as nothing more comes, and no snapshot,
/// the answer is the same.
pub(super) fn plan(log: &Shared, rules: &Rules<'_>, as_of: u64) -> Option<Job> {
    let (older, newer) = log.snapshots().ok()?;
    let question = (as_of, newer, log.files.count());
    if log.keeper.removing.has_nothing_for(question) {
        return None;
    }
    if let Some(job) = plan_before(log, rules, older) {
        return Some(job);
    }
    let job = plan_before(log, rules, newer).filter(|_| newer > older);
    let job = job.filter(|_| log.is_snapshot_whole(newer).is_ok_and(|is_whole| is_whole));
    if job.is_none() {
        log.keeper.removing.note_nothing_for(question);
    }
    job
}

fn plan_before(log: &Shared, rules: &Rules<'_>, needed: u64) -> Option<Job> {
    let mut sources = log.index.sealed(false);
    sources.retain(|segment| *segment < needed);
    let cold = log.index.sealed(true);
    let tiers = Tiers::new(log, rules, cold.iter().chain(&sources));
    let weigh = |segments: &[u64]| -> Vec<(u64, Weight)> {
        let weighed = segments.iter();
        weighed
            .map(|it| (*it, weigh(log, rules, &tiers, *it)))
            .collect()
    };
    let (weights, cold_weights) = (weigh(&sources), weigh(&cold));
    let all = weights.iter().chain(&cold_weights);
    let dead: u64 = all.map(|(_, weight)| weight.dead + weight.doubtful).sum();
    let headers = log.files.count() as u64 * SEGMENT_HEADER_BYTES as u64;
    let live = log.files.size_bytes().saturating_sub(dead + headers);
    let bearable = live.saturating_add(SLACK_SEGMENTS * log.options.segment_bytes);
    if dead <= bearable {
        return None;
    }
    let is_urgent = dead > bearable.saturating_mul(2);
    let front = log.index.first_of_log();
    let mostly_dead = cold_weights
        .iter()
        .filter(|(_, it)| it.dead >= it.live + it.doubtful)
        .max_by_key(|(_, it)| it.dead);
    if let Some((segment, _)) = mostly_dead {
        return Some(Job {
            sources: vec![*segment],
            front,
            is_urgent,
            is_merge: false,
        });
    }
    let most = COLD_SEGMENTS * log.options.segment_bytes;
    if let Some(sources) = prefix(&weights, most) {
        let front = sources.last().map_or(front, |last| last + 1);
        return Some(Job {
            sources,
            front,
            is_urgent,
            is_merge: false,
        });
    }
    let sources = log.index.together_with(&tiers.due_cold(&cold));
    let is_cold = sources.iter().all(|segment| cold.contains(segment));
    if sources.len() < 2 || sources.len() > REPLACED_MAX || !is_cold {
        return None;
    }
    Some(Job {
        sources: sources.into_iter().collect(),
        front,
        is_urgent,
        is_merge: true,
    })
}

/// The beginning of the log of which as much is dead as lives, as far as it is moved at once.
fn prefix(weights: &[(u64, Weight)], most: u64) -> Option<Vec<u64>> {
    let (mut dead, mut live) = (0, 0);
    let is_worth_it = weights.iter().any(|(_, weight)| {
        dead += weight.dead + weight.doubtful;
        live += weight.live;
        dead >= live
    });
    if !is_worth_it {
        return None;
    }
    let mut moved = 0;
    let taken = weights.iter().take_while(|(_, weight)| {
        let is_first = moved == 0;
        moved += weight.live + weight.doubtful + 1;
        is_first || moved <= most
    });
    Some(taken.map(|(segment, _)| *segment).collect())
}

fn weigh(log: &Shared, rules: &Rules<'_>, tiers: &Tiers, segment: u64) -> Weight {
    let mut weight = Weight::default();
    let rows = log.index.rows_of(segment);
    // Header and footer are neither.
    let mut rest = log.files.segment(segment).map_or(0, |file| file.end());
    rest = rest.saturating_sub(SEGMENT_HEADER_BYTES as u64);
    for row in rows {
        let entries = u64::from(row.summary.entries);
        rest = rest.saturating_sub(entries * ENTRY_BYTES + ROW_BYTES);
        let Some(bytes) = living_bytes(&row, rules) else {
            continue;
        };
        rest = rest.saturating_sub(bytes);
        if tiers.is_due(row.partition, segment) {
            weight.doubtful += bytes;
        } else {
            weight.live += bytes;
        }
    }
    weight.dead = rest;
    weight
}

/// Bytes of a row that does not lie wholly below its partition's log start, in proportion to its offsets.
fn living_bytes(row: &DirectoryRow, rules: &Rules<'_>) -> Option<u64> {
    let held = &row.summary;
    let start = rules(row.partition)?.log_start_offset;
    if held.next_offset <= start {
        return None;
    }
    let frames = u64::from(held.entries) * (FRAME_HEADER_BYTES as u64 + 4);
    let offsets = |from: i64| u128::from(held.next_offset.abs_diff(from)).max(1);
    let bytes = u128::from(held.size_bytes + frames) * offsets(start.max(held.first_offset));
    u64::try_from(bytes / offsets(held.first_offset)).ok()
}

/// Of partitions that are compacted, which segments are to be compacted with what came after.
#[derive(Debug, Default)]
struct Tiers {
    /// For each partition its segments in order of offsets, with their tiers and bytes.
    held: HashMap<PartitionId, Vec<(u64, u64, u64)>>,
    /// The segments behind the tier from which on it is worth it.
    due: HashMap<PartitionId, BTreeSet<u64>>,
}

impl Tiers {
    fn new<'a>(log: &Shared, rules: &Rules<'_>, segments: impl Iterator<Item = &'a u64>) -> Self {
        let mut rows: BTreeMap<PartitionId, Vec<(i64, u64, u64, u64)>> = BTreeMap::new();
        for segment in segments {
            let file = log.files.segment(*segment);
            let set = file
                .and_then(|file| file.cold())
                .map_or(*segment, |it| it.set);
            for row in log.index.rows_of(*segment) {
                let is_compacted = rules(row.partition).is_some_and(|it| it.compaction.is_some());
                if let (true, Some(bytes)) = (is_compacted, living_bytes(&row, rules)) {
                    let held = rows.entry(row.partition).or_default();
                    held.push((row.summary.first_offset, *segment, set, bytes));
                }
            }
        }
        let mut tiers = Self::default();
        for (partition, mut held) in rows {
            held.sort_unstable();
            let held: Vec<_> = held
                .into_iter()
                .map(|(_, segment, set, bytes)| (segment, set, bytes))
                .collect();
            let due = due(&held);
            let segments = held.get(due.behind..).unwrap_or_default().iter();
            tiers.due.insert(
                partition,
                segments.map(|(segment, _, _)| *segment).collect(),
            );
            tiers.held.insert(partition, held);
        }
        tiers
    }

    /// Whether what a segment holds of a partition is to be compacted with what was before.
    fn is_due(&self, partition: PartitionId, segment: u64) -> bool {
        let due = self.due.get(&partition);
        due.is_some_and(|segments| segments.contains(&segment))
    }

    /// Cold segments that are to be compacted together, of one partition.
    fn due_cold(&self, cold: &[u64]) -> BTreeSet<u64> {
        let is_cold = |(segment, _, _): &&(u64, u64, u64)| cold.contains(segment);
        let found = self.held.values().find_map(|held| {
            let held: Vec<_> = held.iter().filter(is_cold).copied().collect();
            let due = due(&held);
            let segments = held.get(due.from..).unwrap_or_default().iter();
            let segments: BTreeSet<_> = segments.map(|(segment, _, _)| *segment).collect();
            (!segments.is_empty()).then_some(segments)
        });
        found.unwrap_or_default()
    }
}

/// From where on segments are to be compacted together.
struct Due {
    /// The first of the tier that is no larger than all that comes behind it.
    from: usize,
    /// The first behind that tier.
    behind: usize,
}

fn due(held: &[(u64, u64, u64)]) -> Due {
    let mut later: u64 = held.iter().map(|(_, _, bytes)| bytes).sum();
    let mut from = 0;
    while let Some((_, set, _)) = held.get(from) {
        let tier = held.iter().skip(from).take_while(|(_, it, _)| it == set);
        let (mut count, mut bytes) = (0, 0);
        for (_, _, one) in tier {
            count += 1;
            bytes += one;
        }
        later -= bytes;
        let behind = from + count;
        if behind == held.len() {
            break;
        }
        if later >= bytes {
            return Due { from, behind };
        }
        from = behind;
    }
    Due {
        from: held.len(),
        behind: held.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(of: &[(u64, u64)]) -> Vec<(u64, Weight)> {
        let weights = of.iter().map(|(live, dead)| Weight {
            live: *live,
            dead: *dead,
            doubtful: 0,
        });
        (1..).zip(weights).collect()
    }

    #[test]
    fn a_beginning_is_moved_if_as_much_of_it_is_dead_as_lives() {
        assert_eq!(prefix(&weights(&[(9, 1), (8, 2)]), 100), None);
        assert_eq!(prefix(&weights(&[(9, 11), (8, 2)]), 100), Some(vec![1, 2]));
        assert_eq!(prefix(&weights(&[(9, 1), (8, 20)]), 10), Some(vec![1]));
        assert_eq!(prefix(&weights(&[(90, 1), (8, 200)]), 10), Some(vec![1]));
        assert_eq!(prefix(&[], 10), None);
    }

    #[test]
    fn tiers_are_due_from_the_first_that_is_no_larger_than_what_came_after() {
        let found = |held: &[(u64, u64, u64)]| {
            let due = due(held);
            (due.from, due.behind)
        };
        // Segment, tier, bytes.
        assert_eq!(found(&[]), (0, 0));
        assert_eq!(found(&[(1, 1, 100)]), (1, 1));
        assert_eq!(found(&[(1, 1, 100), (2, 1, 100)]), (2, 2));
        assert_eq!(found(&[(1, 1, 100), (2, 2, 40)]), (2, 2));
        assert_eq!(found(&[(1, 1, 100), (2, 2, 40), (3, 3, 40)]), (1, 2));
        assert_eq!(
            found(&[(1, 1, 70), (2, 1, 30), (3, 3, 99), (4, 4, 1)]),
            (0, 2)
        );
    }
}
