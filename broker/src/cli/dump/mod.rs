//! `headwater dump`: prints or verifies a data folder, from its files alone.
//!
//! Nothing is locked and nothing is changed, so it works beside a broker that has the folder open, and on a
//! folder that does not open any more. `frames` prints, `verify` counts, `names` knows which partition a
//! number stands for.

mod frames;
mod names;
mod verify;

use std::ops::ControlFlow;
use std::path::Path;

use headwater::engine::State;
use headwater::engine::topic_config::TopicDefaults;
use headwater::log::format::{self, display_uuid};
use headwater::log::reader::{Damage, FoundSegment, Item, Reader};
use headwater::log::storage::disk::DiskStorage;
use headwater::log::{Machine, StatePair};
use headwater::{Durability, Error, ErrorCode};
use indicatif::ProgressBar;
use serde_json::json;

use super::args::Dump;
use super::output::utc;
use super::{Ended, Io, Stop};
use names::Names;
use verify::Totals;

/// The folder of the one shard there is.
const SHARD: &str = "0000";

pub(super) fn run(args: &Dump, io: &mut Io, stop: &Stop) -> Result<Ended, Error> {
    let storage = DiskStorage::open(&args.dir, false)
        .map_err(|error| format::folder_error(&args.dir, &error))?;
    let folder = format::read(&storage, &args.dir.display().to_string())?;
    let reader = Reader::new(&storage, SHARD, folder.log_uuid)?;
    let bar = if args.verify {
        io.progress_bytes("checking", reader.size_bytes())
    } else {
        ProgressBar::hidden()
    };
    let mut dump = Dumping {
        is_verifying: args.verify,
        names: Names::default(),
        totals: Totals::default(),
        bar,
        begun_bytes: 0,
        length: 0,
        failed: None,
    };
    if let Some((index, pairs)) = reader.base() {
        dump.begin_with(index, pairs)?;
    }
    if !args.verify {
        dump.folder(&args.dir, &folder, io)?;
    }
    let ending = reader.read(&mut |item| {
        if stop.is_set() {
            return ControlFlow::Break(());
        }
        match dump.take(item, io) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                dump.failed = Some(error);
                ControlFlow::Break(())
            }
        }
    });
    dump.bar.finish_and_clear();
    if let Some(error) = dump.failed {
        return Err(error);
    }
    let Some(ending) = ending? else {
        return Ok(Ended::Interrupted);
    };
    if args.verify {
        verify::print(&args.dir, &folder, &dump.totals, &dump.names, ending, io)?;
    }
    match dump.totals.promised_damages {
        0 => Ok(Ended::Done),
        count => Err(Error::new(
            ErrorCode::CorruptSegment,
            format!(
                "{}: {count} place(s) that were promised are damaged; the folder does not open like this: \
                 put back a copy of it",
                args.dir.display()
            ),
        )),
    }
}

struct Dumping {
    is_verifying: bool,
    names: Names,
    totals: Totals,
    bar: ProgressBar,
    /// Bytes of the segments before this one, for the bar.
    begun_bytes: u64,
    length: u64,
    failed: Option<Error>,
}

impl Dumping {
    /// The log begins behind an entry: what was before it is known by its state alone.
    fn begin_with(&mut self, index: u64, pairs: &[StatePair]) -> Result<(), Error> {
        let defaults = TopicDefaults {
            durability: Durability::Disk,
            retention_ms: -1,
        };
        let state = State::new(defaults, 0);
        state.restore(pairs)?;
        self.names.begin_with(&state);
        self.totals.begin_with(index, &state);
        Ok(())
    }

    fn take(&mut self, item: &Item<'_>, io: &mut Io) -> Result<(), Error> {
        match item {
            Item::Segment(segment) => {
                self.begun_bytes += self.length;
                self.length = segment.length;
                self.bar.set_position(self.begun_bytes);
                self.totals.segment(segment);
                if !self.is_verifying {
                    print_segment(segment, io)?;
                }
            }
            Item::Frame(frame) => {
                self.bar.set_position(self.begun_bytes + frame.position);
                if !frame.is_cut {
                    self.names.take(frame);
                }
                let problem = self.totals.frame(frame);
                if !self.is_verifying {
                    frames::print(frame, &self.names, io)?;
                }
                if let Some(problem) = problem {
                    verify::print_misplaced(frame, &problem, io)?;
                }
            }
            Item::Damage(damage) => {
                self.totals.damage(damage);
                print_damage(damage, &self.names, io)?;
            }
        }
        Ok(())
    }

    fn folder(&self, dir: &Path, folder: &format::Format, io: &mut Io) -> Result<(), Error> {
        let log_uuid = display_uuid(&folder.log_uuid);
        if io.is_json() {
            return io.json(&json!({
                "item": "folder",
                "path": dir.display().to_string(),
                "format": folder.version,
                "log_uuid": log_uuid,
            }));
        }
        io.line(&format!(
            "folder {}: format {}, log {log_uuid}",
            dir.display(),
            folder.version
        ))
    }
}

fn print_segment(segment: &FoundSegment<'_>, io: &mut Io) -> Result<(), Error> {
    let of_log = segment.header.map(|it| (it.segment, it.created_ms));
    let of_cold = segment.cold.map(|it| (it.segment, it.created_ms));
    let (number, created_ms) = of_log.or(of_cold).unzip();
    if io.is_json() {
        return io.json(&json!({
            "item": "segment",
            "path": segment.path,
            "size_bytes": segment.length,
            "is_cut": segment.is_cut,
            "is_cold": segment.cold.is_some(),
            "segment": number,
            "first_index": segment.header.map(|header| header.first_index),
            "previous_index": segment.header.map(|header| header.previous_index),
            "previous_term": segment.header.map(|header| header.previous_term),
            "durable": segment.header.map(|header| header.durable),
            "created_ms": created_ms,
            "incarnation": segment.header.map(|header| header.incarnation),
        }));
    }
    let cut = if segment.is_cut { "; it is cut" } else { "" };
    let about = match (segment.header, segment.cold) {
        (Some(header), _) => format!(
            "from index {} on, after term {}, synced through {}, created {}",
            header.first_index,
            header.previous_term,
            header.durable,
            utc(header.created_ms)
        ),
        (None, Some(cold)) => format!(
            "cold: {} batches that cleaning kept, {}",
            cold.batches,
            utc(cold.created_ms)
        ),
        (None, None) if segment.is_cut => "nothing in it counts any more".to_owned(),
        (None, None) => "its header was never finished".to_owned(),
    };
    io.line(&format!(
        "segment {}: {} bytes, {about}{cut}",
        segment.path, segment.length
    ))?;
    io.line(frames::COLUMNS)
}

fn print_damage(damage: &Damage<'_>, names: &Names, io: &mut Io) -> Result<(), Error> {
    let partition = damage.partition.map(|id| names.partition(id));
    if io.is_json() {
        return io.json(&json!({
            "item": "damage",
            "path": damage.path,
            "position": damage.position,
            "problem": damage.problem,
            "index": damage.index,
            "durable": damage.durable,
            "is_promised": damage.is_promised,
            "partition": damage.partition,
            "topic": partition.as_ref().map(|partition| &*partition.topic),
            "topic_partition": partition.as_ref().map(|partition| partition.number),
        }));
    }
    let place = partition.map_or_else(String::new, |partition| format!(" ({partition})"));
    let (word, verdict) = if damage.is_promised {
        ("DAMAGED", "had been promised")
    } else {
        (
            "torn",
            "was never promised: opening the folder cuts it and loses nothing",
        )
    };
    io.line(&format!(
        "{word}: {}, position {}{place}: {}; index {} {verdict}",
        damage.path, damage.position, damage.problem, damage.index
    ))
}
