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

/// Where the limit of a folder's bytes is reached, this part of what lives has to be dead to be worth it, and
/// this part of a segment.
const TIGHT_LIVE_PART: u64 = 16;
const TIGHT_SEGMENT_PART: u64 = 4;

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
    /// Bytes that live in them, or may.
    pub(super) live_bytes: u64,
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
    let question = (as_of, newer, log.files.count(), log.is_tight());
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
    let is_tight = log.is_tight();
    if dead <= bearable && !is_tight {
        return None;
    }
    let is_urgent = dead > bearable.saturating_mul(2) || is_tight;
    let front = log.index.first_of_log();
    let job = Job {
        sources: Vec::new(),
        front,
        is_urgent,
        is_merge: false,
        live_bytes: 0,
    };
    let worth = Worth::new(log);
    let mostly_dead = cold_weights
        .iter()
        .filter(|(_, it)| worth.is_enough(it.dead, it.live + it.doubtful))
        .max_by_key(|(_, it)| it.dead);
    if let Some((segment, weight)) = mostly_dead {
        return Some(Job {
            sources: vec![*segment],
            live_bytes: weight.live + weight.doubtful,
            ..job
        });
    }
    let most = COLD_SEGMENTS * log.options.segment_bytes;
    if let Some((sources, live_bytes)) = prefix(&weights, &worth, most) {
        return Some(Job {
            front: sources.last().map_or(front, |last| last + 1),
            sources,
            live_bytes,
            ..job
        });
    }
    let sources = log.index.together_with(&tiers.due_cold(&cold));
    let is_cold = sources.iter().all(|segment| cold.contains(segment));
    if sources.len() < 2 || sources.len() > REPLACED_MAX || !is_cold {
        return None;
    }
    let live_bytes = sources.iter().filter_map(|it| log.files.segment(*it));
    Some(Job {
        live_bytes: live_bytes.map(|file| file.end()).sum(),
        sources: sources.into_iter().collect(),
        is_merge: true,
        ..job
    })
}

/// How much has to be dead for it to be worth it to move the rest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Worth {
    /// Of what lives, this part.
    live_part: u64,
    /// And so many bytes.
    least_bytes: u64,
}

impl Worth {
    /// As much as lives; of a log that is tight less, since its writers wait.
    pub(super) fn new(log: &Shared) -> Self {
        if log.is_tight() {
            Self {
                live_part: TIGHT_LIVE_PART,
                least_bytes: log.options.segment_bytes / TIGHT_SEGMENT_PART,
            }
        } else {
            Self {
                live_part: 1,
                least_bytes: 0,
            }
        }
    }

    pub(super) const fn is_enough(self, dead: u64, live: u64) -> bool {
        dead >= self.least_bytes && dead >= live / self.live_part
    }
}

/// The beginning of the log of which enough is dead, as far as it is moved at once, and the bytes that are.
fn prefix(weights: &[(u64, Weight)], worth: &Worth, most: u64) -> Option<(Vec<u64>, u64)> {
    let (mut dead, mut live) = (0, 0);
    let is_worth_it = weights.iter().any(|(_, weight)| {
        dead += weight.dead + weight.doubtful;
        live += weight.live;
        worth.is_enough(dead, live)
    });
    if !is_worth_it {
        return None;
    }
    let mut moved = 0;
    let mut taken = Vec::new();
    for (segment, weight) in weights {
        let bytes = weight.live + weight.doubtful;
        if !taken.is_empty() && moved + bytes > most {
            break;
        }
        moved += bytes;
        taken.push(*segment);
    }
    Some((taken, moved))
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
        let worth = Worth {
            live_part: 1,
            least_bytes: 0,
        };
        let found = |of: &[(u64, u64)], most| prefix(&weights(of), &worth, most);
        assert_eq!(found(&[(9, 1), (8, 2)], 100), None);
        assert_eq!(found(&[(9, 11), (8, 2)], 100), Some((vec![1, 2], 17)));
        assert_eq!(found(&[(9, 1), (8, 20)], 10), Some((vec![1], 9)));
        assert_eq!(found(&[(90, 1), (8, 200)], 10), Some((vec![1], 90)));
        assert_eq!(found(&[], 10), None);
    }

    #[test]
    fn in_a_tight_log_less_has_to_be_dead_and_never_next_to_nothing() {
        let worth = Worth {
            live_part: 16,
            least_bytes: 25,
        };
        assert!(worth.is_enough(25, 400));
        assert!(!worth.is_enough(25, 416));
        assert!(!worth.is_enough(24, 0));
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
