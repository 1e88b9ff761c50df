//! What a folder holds in all, and whether it is whole.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use headwater::Error;
use headwater::engine::State;
use headwater::log::control::{Group, LogStart, NO_OFFSET, PartitionOpen, decode_offset_commit};
use headwater::log::format::{Format, display_uuid};
use headwater::log::reader::{Damage, Ending, FoundFrame, FoundSegment};
use headwater::log::{Kind, Part};
use headwater::record::BatchHeader;
use serde_json::{Value, json};

use super::Io;
use super::names::{Names, decode};

/// Counts over everything that was read.
#[derive(Debug, Default)]
pub(super) struct Totals {
    segments: u64,
    size_bytes: u64,
    frames: u64,
    batches: u64,
    records: u64,
    cut_frames: u64,
    /// Places that were promised to be something else.
    pub(super) promised_damages: u64,
    unpromised_damages: u64,
    partitions: HashMap<u32, PartitionTotals>,
    groups: BTreeMap<String, BTreeMap<([u8; 16], i32), i64>>,
    /// The last entry whose effects are known from a state, and not from the entry.
    base_index: u64,
    /// Whether it is the log of a member of a group, whose entries are not applied: where a partition ends is not
    /// known from it.
    is_of_group: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct PartitionTotals {
    log_start_offset: i64,
    end_offset: i64,
    batches: u64,
    records: u64,
}

impl Totals {
    pub(super) fn segment(&mut self, segment: &FoundSegment<'_>) {
        self.segments += u64::from(!segment.is_cut);
        self.size_bytes += segment.length;
    }

    /// The log begins behind an entry, and this is the state as of then.
    pub(super) fn begin_with(&mut self, index: u64, state: &State) {
        self.base_index = index;
        for partition in state.topics.read().partitions() {
            let status = partition.status();
            let totals = self.partitions.entry(partition.id.0).or_default();
            totals.log_start_offset = status.log_start_offset;
            totals.end_offset = status.end_offset;
        }
        for (id, group) in state.groups.lock().iter() {
            let offsets = group
                .offsets
                .iter()
                .map(|(at, committed)| (*at, committed.offset));
            self.groups.insert(id.to_owned(), offsets.collect());
        }
    }

    pub(super) fn damage(&mut self, damage: &Damage<'_>) {
        if damage.is_promised {
            self.promised_damages += 1;
        } else {
            self.unpromised_damages += 1;
        }
    }

    /// Counts a frame; says so if a batch in it does not begin where its partition ends.
    pub(super) fn frame(&mut self, frame: &FoundFrame<'_>) -> Option<String> {
        if frame.is_cut {
            self.cut_frames += 1;
            return None;
        }
        self.frames += 1;
        let mut problem = None;
        self.is_of_group |= frame.parts.iter().any(|part| part.kind.is_of_group());
        let is_known = frame.is_cold || self.is_of_group || frame.header.index <= self.base_index;
        for part in &frame.parts {
            if part.kind == Kind::Records {
                let found = self.batch(part, is_known);
                problem = problem.or(found);
            } else if !is_known {
                self.control(part);
            }
        }
        problem
    }

    fn batch(&mut self, part: &Part<'_>, is_known: bool) -> Option<String> {
        let batch = BatchHeader::parse(part.payload).ok()?;
        let records = u64::try_from(batch.record_count).unwrap_or_default();
        self.batches += 1;
        self.records += records;
        let partition = self.partitions.entry(part.partition.0).or_default();
        let expected = partition.end_offset;
        partition.batches += 1;
        partition.records += records;
        if is_known {
            return None;
        }
        partition.end_offset = batch.last_offset().saturating_add(1);
        // Behind damage there may be less than there was.
        if batch.base_offset == expected || self.promised_damages > 0 {
            return None;
        }
        self.promised_damages += 1;
        Some(format!(
            "the batch begins at offset {}, its partition ends at {expected}",
            batch.base_offset
        ))
    }

    fn control(&mut self, part: &Part<'_>) -> Option<()> {
        match part.kind {
            Kind::PartitionOpen => {
                let open: PartitionOpen = decode(part.payload)?;
                let partition = self.partitions.entry(part.partition.0).or_default();
                partition.log_start_offset = open.start_offset;
                partition.end_offset = open.start_offset;
            }
            Kind::LogStart => {
                let start: LogStart = decode(part.payload)?;
                let partition = self.partitions.entry(part.partition.0).or_default();
                partition.log_start_offset = start.offset;
            }
            Kind::OffsetCommit => {
                let commit = decode_offset_commit(part.version, part.payload)
                    .ok()?
                    .commit;
                let group = self.groups.entry(commit.group).or_default();
                for committed in commit.offsets {
                    let place = (committed.topic, committed.partition);
                    if committed.offset == NO_OFFSET {
                        group.remove(&place);
                    } else {
                        group.insert(place, committed.offset);
                    }
                }
            }
            Kind::Group => {
                let group: Group = decode(part.payload)?;
                if group.is_deleted {
                    self.groups.remove(&group.group);
                } else {
                    self.groups.entry(group.group).or_default();
                }
            }
            _ => {}
        }
        Some(())
    }

    fn partition(&self, id: u32) -> PartitionTotals {
        self.partitions.get(&id).copied().unwrap_or_default()
    }
}

/// Prints a batch that does not begin where its partition ends.
pub(super) fn print_misplaced(
    frame: &FoundFrame<'_>,
    problem: &str,
    io: &mut Io,
) -> Result<(), Error> {
    if io.is_json() {
        return io.json(&json!({
            "item": "damage",
            "segment": frame.segment,
            "position": frame.position,
            "problem": problem,
            "index": frame.header.index,
            "is_promised": true,
        }));
    }
    io.line(&format!(
        "DAMAGED: segment {}, position {}: {problem}",
        frame.segment, frame.position
    ))
}

/// Prints what a folder holds in all.
pub(super) fn print(
    dir: &Path,
    folder: &Format,
    totals: &Totals,
    names: &Names,
    ending: Ending,
    io: &mut Io,
) -> Result<(), Error> {
    if io.is_json() {
        return io.json(&to_json(dir, folder, totals, names, ending));
    }
    let log_uuid = display_uuid(&folder.log_uuid);
    io.line(&format!(
        "folder {}: format {}, log {log_uuid}",
        dir.display(),
        folder.version
    ))?;
    io.line(&format!(
        "  {} segment(s), {} bytes; {} frames, {} batches, {} records",
        totals.segments, totals.size_bytes, totals.frames, totals.batches, totals.records
    ))?;
    let end = if ending.is_clean {
        "closed cleanly"
    } else {
        "not closed"
    };
    io.line(&format!(
        "  index {}, synced through {}, term {}, {end}",
        ending.last_index, ending.durable, ending.term
    ))?;
    for (name, id, _) in names.standing() {
        let partition = totals.partition(id);
        io.line(&format!(
            "  {name}: offsets {}..{}, {} records",
            partition.log_start_offset, partition.end_offset, partition.records
        ))?;
    }
    if totals.unpromised_damages + totals.cut_frames > 0 {
        io.line(&format!(
            "  {} torn place(s) and {} frame(s) that were never promised: no loss",
            totals.unpromised_damages, totals.cut_frames
        ))?;
    }
    match totals.promised_damages {
        0 => io.line("  whole: everything that was promised is there"),
        count => io.line(&format!("  DAMAGED: {count} place(s) that were promised")),
    }
}

fn to_json(dir: &Path, folder: &Format, totals: &Totals, names: &Names, ending: Ending) -> Value {
    let mut topics: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for (name, id, _) in names.standing() {
        let partition = totals.partition(id);
        topics.entry(name.topic).or_default().push(json!({
            "partition": name.number,
            "id": id,
            "log_start_offset": partition.log_start_offset,
            "end_offset": partition.end_offset,
            "batches": partition.batches,
            "records": partition.records,
        }));
    }
    let topics: Vec<_> = topics
        .into_iter()
        .map(|(topic, partitions)| json!({ "topic": topic, "partitions": partitions }))
        .collect();
    json!({
        "item": "summary",
        "path": dir.display().to_string(),
        "format": folder.version,
        "log_uuid": display_uuid(&folder.log_uuid),
        "is_whole": totals.promised_damages == 0,
        "segments": totals.segments,
        "size_bytes": totals.size_bytes,
        "frames": totals.frames,
        "batches": totals.batches,
        "records": totals.records,
        "last_index": ending.last_index,
        "durable": ending.durable,
        "term": ending.term,
        "is_clean": ending.is_clean,
        "promised_damages": totals.promised_damages,
        "unpromised_damages": totals.unpromised_damages,
        "cut_frames": totals.cut_frames,
        "topics": topics,
        "groups": groups_json(totals, names),
    })
}

fn groups_json(totals: &Totals, names: &Names) -> Vec<Value> {
    let groups = totals.groups.iter();
    groups
        .map(|(group, offsets)| {
            let standing = offsets
                .iter()
                .filter(|((uuid, _), _)| names.is_standing(uuid));
            let mut offsets: Vec<_> = standing
                .map(|((uuid, partition), offset)| (names.topic(uuid), *partition, *offset))
                .collect();
            offsets.sort_unstable();
            let offsets: Vec<_> = offsets
                .into_iter()
                .map(|(topic, partition, offset)| {
                    json!({ "topic": topic, "partition": partition, "offset": offset })
                })
                .collect();
            json!({ "group": group, "offsets": offsets })
        })
        .collect()
}
