//! Where a script plays: a storage, the log that is open on it, and the story so far. Its calls are the
//! words that scripts are written in; each gives `None` once the power is off, or something has failed.

mod words;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{ErrorKind, IoSlice};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use bytes::Bytes;

use super::dropping::{Dropped, Dropping};
use super::story::{Found, Story};
use super::tape::{Batch, Body, Fact, Tape};
use super::windows::Windows;
use super::*;
use crate::log::frame::{CrcSeed, FRAME_HEADER_BYTES};
use crate::log::scan::{self, Scanner};
use crate::log::segment::{self, SEGMENT_HEADER_BYTES};
use crate::log::set;
use crate::log::storage::faulty::{Action, CrashMode};
use crate::log::storage::memory::MemoryStorage;

/// Bytes logged between checkpoints, where there are any.
const CHECKPOINT_BYTES: u64 = 2_500;

/// What is written beside the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Keeping {
    #[default]
    Nothing,
    /// Snapshots, wherever there may be one.
    Snapshots,
    /// The same, in a log that is tight whatever it holds.
    Little,
    /// Checkpoints too.
    Everything,
}

/// What is the same in every life of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct World {
    pub(super) segment_bytes: u64,
    pub(super) keeping: Keeping,
    /// Zeros written ahead at a time.
    pub(super) zero_bytes: u64,
    /// Syncs that the log calls and that do nothing: a bug.
    pub(super) dropped: Option<Dropped>,
    pub(super) tally: Rc<Tally>,
}

/// What was done, in numbers.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Openings that were judged, but for those that found nothing because there was nothing yet.
    pub(super) recoveries: Cell<u64>,
    /// Openings that were cut short.
    pub(super) interrupted: Cell<u64>,
}

/// How a life ends, if its script does not end before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Ending {
    #[default]
    Script,
    /// Nothing happens any more from this operation on.
    Off(u64),
    /// An operation fails.
    Failure(Failure),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) operation: u64,
    pub(super) kind: ErrorKind,
    /// Of a sync some sectors are written, by this seed; none without.
    pub(super) torn: Option<u64>,
}

/// What comes between two lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Between {
    Cut(CrashMode),
    /// The process is killed: the page cache stays.
    Kill,
    /// The process is killed, and the page cache lets go of what is clean in it.
    KillAndEvict,
}

#[derive(Debug)]
pub(super) struct Stage {
    world: World,
    storage: FaultyStorage,
    story: Story,
    /// What led here: each script with its ending, and what came before it.
    trail: Vec<(Option<Between>, &'static str, Ending)>,
    /// How the life before this one ended.
    after: Option<Between>,
    /// What should not have been.
    violation: Option<String>,
    open: Option<Opened>,
    ending: Ending,
    /// Operations on the storages before this one.
    past: u64,
    /// Operations when the log was first open.
    opening: u64,
    /// Appends so far: makes every payload another.
    count: u64,
    /// Whether the page cache may show what no sync will write: a sync failed.
    is_cache_ahead: bool,
}

#[derive(Debug)]
struct Opened {
    log: Arc<Log>,
    tape: Arc<Tape>,
    /// Entries of the tape that the story knows.
    noted: usize,
    is_idle_marked: bool,
}

impl Stage {
    pub(super) fn new(world: &World) -> Self {
        Self {
            world: world.clone(),
            storage: FaultyStorage::new(),
            story: Story::default(),
            trail: Vec::new(),
            after: None,
            violation: None,
            open: None,
            ending: Ending::Script,
            past: 0,
            opening: 0,
            count: 0,
            is_cache_ahead: false,
        }
    }

    /// The next life, on what this one leaves.
    pub(super) fn after(&self, between: Between, image: &FaultyStorage) -> Self {
        let mut story = self.story.clone();
        let is_cache_ahead = self.is_cache_ahead || self.has_failed();
        let is_lossless = match between {
            Between::Cut(mode) => mode == CrashMode::AllWritten && !is_cache_ahead,
            Between::Kill => true,
            Between::KillAndEvict => !is_cache_ahead,
        };
        if !is_lossless {
            story.lose();
        }
        Self {
            world: self.world.clone(),
            storage: image.fork(),
            story,
            trail: self.trail.clone(),
            after: Some(between),
            violation: None,
            open: None,
            ending: Ending::Script,
            past: 0,
            opening: 0,
            count: self.count,
            is_cache_ahead: is_cache_ahead && between == Between::Kill,
        }
    }

    /// What is there between this life and the next.
    pub(super) fn image(&self, between: Between) -> FaultyStorage {
        match between {
            Between::Cut(mode) => self.storage.crash_image(mode),
            Between::Kill => self.storage.fork(),
            Between::KillAndEvict => {
                let image = self.storage.fork();
                image.evict().unwrap();
                image
            }
        }
    }

    /// Plays a script to this end.
    ///
    /// # Errors
    /// What should not have been, and what led to it.
    pub(super) fn play(&mut self, script: Script, ending: Ending) -> Result<(), String> {
        self.ending = ending;
        self.trail.push((self.after, script.name, ending));
        self.arm();
        let end = catch_unwind(AssertUnwindSafe(|| (script.play)(self)));
        self.open = None;
        match end {
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
                self.violate(format!("panicked: {}", text.unwrap_or_default()));
            }
            Ok(None) if !self.is_over() => {
                self.violate("the script ended early");
            }
            Ok(_) => {}
        }
        let Some(violation) = self.violation.take() else {
            return Ok(());
        };
        let mut text = violation;
        for (after, script, ending) in &self.trail {
            if let Some(between) = after {
                text.push_str(&format!("\n  then {between:?},"));
            }
            text.push_str(&format!("\n  `{script}` to {ending:?}"));
        }
        Err(text)
    }

    /// Operations of this life's opening.
    pub(super) fn opening(&self) -> u64 {
        self.opening
    }

    /// Operations so far, over all storages of this life.
    pub(super) fn now(&self) -> u64 {
        self.past + self.storage.now()
    }

    fn arm(&self) {
        match self.ending {
            Ending::Script => {}
            Ending::Off(at) => self.storage.power_off_at(at.saturating_sub(self.past)),
            Ending::Failure(failure) => {
                self.storage.tear_failed_syncs(failure.torn);
                if let Some(at) = failure.operation.checked_sub(self.past) {
                    self.storage.fail_at(at, failure.kind);
                }
            }
        }
    }

    /// Whether the end has come that the life was to have.
    fn is_over(&self) -> bool {
        self.storage.is_off() || self.has_failed()
    }

    fn has_failed(&self) -> bool {
        matches!(self.ending, Ending::Failure(failure) if self.now() > failure.operation)
    }

    fn violate(&mut self, what: impl Into<String>) -> Option<()> {
        self.violation.get_or_insert_with(|| what.into());
        None
    }

    fn log(&self) -> Option<Arc<Log>> {
        self.open.as_ref().map(|open| Arc::clone(&open.log))
    }
}

/// Opening, closing and what comes between lives of a script.
impl Stage {
    pub(super) fn open(&mut self) -> Option<()> {
        self.open_with(self.options(), false)
    }

    fn options(&self) -> LogOptions {
        let options = LogOptions {
            zero_bytes: self.world.zero_bytes,
            ..options(self.world.segment_bytes)
        };
        let snapshots = LogOptions {
            snapshot_least_bytes: 0,
            ..options.clone()
        };
        match self.world.keeping {
            Keeping::Nothing => options,
            Keeping::Snapshots => snapshots,
            Keeping::Little => LogOptions {
                tight_bytes: Some(0),
                ..snapshots
            },
            Keeping::Everything => LogOptions {
                checkpoint_bytes: CHECKPOINT_BYTES,
                checkpoint_least_bytes: CHECKPOINT_BYTES,
                ..snapshots
            },
        }
    }

    /// Opens a log that writes a MARK as soon as it is idle: from here on every append at `disk` has to be
    /// followed by [`Self::idle`], so that the order of operations is always the same.
    pub(super) fn open_for_idling(&mut self) -> Option<()> {
        let idling = LogOptions {
            idle_mark_ms: 1,
            ..self.options()
        };
        self.open_with(idling, true)
    }

    fn open_with(&mut self, options: LogOptions, is_idle_marked: bool) -> Option<()> {
        let before = contents(&self.storage);
        let tape = Arc::new(Tape::default());
        let storage = Dropping::around(&self.storage, self.world.dropped);
        let machine = Arc::<Tape>::clone(&tape);
        let log = match Log::open(storage.door(), DIR, LOG_UUID, options, machine) {
            Ok(log) => Arc::new(log),
            Err(error) => {
                self.story.open_failed();
                let interrupted = &self.world.tally.interrupted;
                interrupted.set(interrupted.get() + 1);
                if !self.is_over() {
                    self.violate(format!("the log does not open: {error}"));
                }
                return None;
            }
        };
        storage.log_is_open();
        if self.opening == 0 {
            self.opening = self.now();
        }
        if self.after.is_some() || self.story.has_begun() {
            let recoveries = &self.world.tally.recoveries;
            recoveries.set(recoveries.get() + 1);
        }
        let entries = tape.entries(0);
        let noted = entries.len();
        let found = Found {
            entries,
            term: log.term().0,
            written: log.written(),
            synced: log.synced(),
            told_synced: tape.synced(),
        };
        self.open = Some(Opened {
            log,
            tape,
            noted,
            is_idle_marked,
        });
        let judged = self.story.open(&found);
        let judged = judged.and_then(|()| self.check_bytes(before));
        let judged = judged.and_then(|()| self.check_reads());
        match judged.and_then(|()| self.check_sequencer()) {
            Ok(()) => Some(()),
            Err(violation) => self.violate(violation),
        }
    }

    /// Where bytes once stood, no others are written, but for footers: files grow, are cut, or go.
    fn check_bytes(&self, before: Option<Contents>) -> Result<(), String> {
        // A footer that was written in part, because the disk was full, is nothing that anybody reads.
        let before = before.filter(|_| !self.has_failed());
        let (Some(before), Some(after)) = (before, contents(&self.storage)) else {
            return Ok(());
        };
        for (name, old) in before {
            let Some(new) = after.get(&name) else {
                continue;
            };
            let end = old.iter().rposition(|byte| *byte != 0);
            let end = end.map_or(0, |last| last + 1);
            let mut pairs = old.iter().zip(new).take(end);
            if let Some(at) = pairs.position(|(old, new)| old != new)
                && !is_in_footer(&name, new, at)
            {
                return Err(format!("{name}: byte {at} of {end} was written over"));
            }
        }
        Ok(())
    }

    /// Every entry can be read where it is said to lie, but for those that were given up with their segment.
    fn check_reads(&self) -> Result<(), String> {
        let Some(open) = self.open.as_ref().filter(|_| !self.storage.is_off()) else {
            return Ok(());
        };
        for (known, location) in open.tape.located() {
            let is_there = open.log.shared.files.segment(location.segment).is_some();
            if !is_there && self.story.is_buried(&known) {
                continue;
            }
            let read = match known.fact {
                Fact::Batch(batch) if !is_there => read_moved(&open.log, known.partition, batch),
                _ => open.log.read(location),
            };
            let is_right = read
                .as_ref()
                .is_ok_and(|payload| Body::of(known.kind, payload) == known.body);
            if !is_right {
                return Err(format!("{known:?} at {location:?} reads as {read:?}"));
            }
        }
        Ok(())
    }

    fn check_sequencer(&self) -> Result<(), String> {
        let windows = Windows::of(&self.story.entries)?;
        self.log().map_or(Ok(()), |log| windows.compare(&log))
    }

    pub(super) fn close(&mut self) -> Option<()> {
        let log = self.log()?;
        self.story.close_begins();
        let closed = log.close();
        self.open = None;
        match closed {
            Ok(()) => {
                self.story.closed();
                Some(())
            }
            Err(_) if self.is_over() => None,
            Err(error) => self.violate(format!("the log does not close: {error}")),
        }
    }

    /// The process ends without closing, and another opens the log.
    pub(super) fn kill(&mut self) -> Option<()> {
        self.open = None;
        self.open()
    }

    /// The power is cut, and comes back.
    pub(super) fn cut(&mut self, mode: CrashMode) -> Option<()> {
        self.open = None;
        if self.is_over() {
            return None;
        }
        self.past += self.storage.now();
        self.storage = self.storage.crash_image(mode);
        self.arm();
        if mode != CrashMode::AllWritten {
            self.story.lose();
        }
        self.open()
    }
}

/// Whether a byte of a segment lies in the footer that the segment ends with.
fn is_in_footer(name: &str, bytes: &[u8], at: usize) -> bool {
    let segment = segment::number_of(name).unwrap();
    let seed = CrcSeed::new(&LOG_UUID, segment);
    let file = MemoryStorage::new().create(name).unwrap();
    file.write_at(&[IoSlice::new(bytes)], 0).unwrap();
    let mut scanner = Scanner::new(&*file, seed, bytes.len() as u64);
    let mut position = SEGMENT_HEADER_BYTES as u64;
    while let scan::Found::Frame(header) = scanner.find(position).unwrap() {
        let end = position + header.padded_bytes();
        if header.kind == Kind::Footer.number() && end == bytes.len() as u64 {
            return (position..end).contains(&(at as u64));
        }
        position = end;
    }
    false
}

/// A batch that lies in another segment now.
fn read_moved(log: &Log, partition: u32, batch: Batch) -> Result<Bytes> {
    let (start, end) = (batch.base_offset, batch.base_offset + batch.count);
    let found = log.read_from(PartitionId(partition), start, end, 1)?.pop();
    let found = found.filter(|found| (found.base_offset, found.next_offset) == (start, end));
    Ok(found.map_or_else(Bytes::new, |found| found.bytes))
}

type Contents = BTreeMap<String, Vec<u8>>;

/// The segments' bytes; `None` if the power is off.
fn contents(storage: &FaultyStorage) -> Option<Contents> {
    if storage.is_off() {
        return None;
    }
    let names = storage.list(DIR).unwrap_or_default();
    let logs = names.into_iter().filter(|name| name.ends_with(".log"));
    let read = |name: String| {
        let file = storage.open(&format!("{DIR}/{name}"), true).unwrap();
        let mut bytes = vec![0; file.length().unwrap() as usize];
        file.read_at(&mut bytes, 0).unwrap();
        (name, bytes)
    };
    Some(logs.map(read).collect())
}
