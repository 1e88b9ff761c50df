//! What a log was told and has said so far, over all its lives; and whether what an open finds goes with it.

use std::collections::BTreeMap;

use super::tape::{Body, Fact, Known};
use super::*;

/// The memory of whoever appended and read.
#[derive(Clone, Debug, Default)]
pub(super) struct Story {
    /// Every entry that was readable in the last life that served, in order.
    pub(super) entries: Vec<Known>,
    /// The largest index that no power cut may take: acknowledged at `disk`, or served by an open.
    promised: u64,
    /// The largest index that is there as long as the power stays: acknowledged.
    held: u64,
    /// Entries that were being appended when something failed: each is there, or is not, in this order.
    attempted: Vec<Vec<Body>>,
    /// The highest term that a log served in.
    term: i32,
    /// Openings since then that failed: each may have raised the term.
    interrupted: i32,
    closing: Closing,
    /// The offset in each partition below which records may be gone.
    buried: BTreeMap<u32, i64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Closing {
    /// The log was written to since it was opened.
    #[default]
    Written,
    /// A close was tried, or an append to a log that was closed before.
    Tried,
    /// It was closed, and has not been written to since.
    Closed,
}

/// What an open found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) entries: Vec<Known>,
    pub(super) term: i32,
    pub(super) written: u64,
    pub(super) synced: u64,
    /// What the machine was told.
    pub(super) told_synced: Option<u64>,
}

impl Story {
    /// An append is on its way; until it is answered it may be there.
    pub(super) fn attempt(&mut self, bodies: Vec<Body>) {
        if self.closing == Closing::Closed {
            self.closing = Closing::Tried;
        }
        self.attempted.push(bodies);
    }

    /// Takes over what is readable now.
    pub(super) fn note(&mut self, new: Vec<Known>) {
        if !new.is_empty() {
            self.closing = Closing::Written;
        }
        let mut rest = new.as_slice();
        while let Some(bodies) = self.attempted.first() {
            let Some((entry, behind)) = rest.split_at_checked(bodies.len()) else {
                break;
            };
            if !is_of(entry, bodies) {
                break;
            }
            self.attempted.remove(0);
            rest = behind;
        }
        self.entries.extend(new);
    }

    pub(super) fn acknowledge(&mut self, answer: &Appended, level: Durability) {
        self.held = self.held.max(answer.index);
        if level != Durability::Os {
            self.promise(answer.index);
        }
    }

    /// The answers to the last appends are what the entries say.
    pub(super) fn check_answers(&self, answers: &[Appended]) -> Result<(), String> {
        let first = (self.last_index() + 1).saturating_sub(answers.len() as u64);
        for (answer, index) in answers.iter().zip(first..) {
            let parts: Vec<_> = self
                .entries
                .iter()
                .filter(|known| known.index == index)
                .collect();
            let offsets: Vec<_> = parts
                .iter()
                .filter_map(|known| known.base_offset())
                .collect();
            let said: Vec<_> = match &answer.batches {
                Some(batches) => batches.iter().map(|batch| batch.base_offset).collect(),
                None if offsets.is_empty() => Vec::new(),
                None => vec![answer.base_offset],
            };
            let is_right = parts.first().is_some_and(|known| {
                (answer.index, answer.time_ms) == (index, known.time_ms)
                    && said == offsets
                    && !answer.is_duplicate
            });
            if !is_right {
                return Err(format!("{answer:?} for {parts:?}"));
            }
        }
        Ok(())
    }

    pub(super) fn promise(&mut self, index: u64) {
        self.promised = self.promised.max(index);
        self.held = self.held.max(index);
    }

    pub(super) fn last_index(&self) -> u64 {
        self.entries.last().map_or(0, |last| last.index)
    }

    pub(super) fn close_begins(&mut self) {
        if self.closing != Closing::Closed {
            self.closing = Closing::Tried;
        }
    }

    pub(super) fn closed(&mut self) {
        self.closing = Closing::Closed;
        self.promise(self.last_index());
    }

    /// The power was cut, or a failed sync dropped what was written: what was not promised may be gone.
    pub(super) fn lose(&mut self) {
        self.held = self.promised;
    }

    /// Records below these offsets are dead.
    pub(super) fn bury(&mut self, starts: &BTreeMap<u32, i64>) {
        for (partition, start) in starts {
            let buried = self.buried.entry(*partition).or_default();
            *buried = start.max(buried).to_owned();
        }
    }

    /// Whether an entry need not be readable any more.
    pub(super) fn is_buried(&self, known: &Known) -> bool {
        match known.fact {
            Fact::Batch(batch) => {
                let start = self.buried.get(&known.partition);
                start.is_some_and(|start| batch.base_offset + batch.count <= *start)
            }
            _ => !self.buried.is_empty(),
        }
    }

    /// Whether a log was ever open.
    pub(super) fn has_begun(&self) -> bool {
        self.term > 0
    }

    pub(super) fn open_failed(&mut self) {
        self.interrupted += 1;
    }

    /// Judges what an open found, and goes on from there: what is not there was cut and never comes back,
    /// what is there no power cut may take any more.
    ///
    /// # Errors
    /// What may not be.
    pub(super) fn open(&mut self, found: &Found) -> Result<(), String> {
        let last = found.entries.last().map_or(0, |last| last.index);
        self.check_entries(&found.entries)?;
        if last < self.held {
            let (promised, held) = (self.promised, self.held);
            return Err(format!(
                "ends at index {last}; {promised} is promised, {held} acknowledged and not lost"
            ));
        }
        let Found {
            written, synced, ..
        } = *found;
        if (written, synced, found.told_synced) != (last, last, Some(last)) {
            let told = found.told_synced;
            return Err(format!(
                "ends at index {last}, and says written {written}, synced {synced}, told {told:?}"
            ));
        }
        self.check_term(found.term, found.entries.len() >= self.entries.len())?;
        // The mark of a close that was only tried may be in the page cache alone.
        if found.term > self.term {
            self.closing = Closing::Written;
        }
        self.entries.clone_from(&found.entries);
        self.attempted.clear();
        (self.promised, self.held) = (last, last);
        (self.term, self.interrupted) = (found.term, 0);
        Ok(())
    }

    /// The entries are the beginning of what was readable, or all of it and some that were attempted.
    fn check_entries(&self, found: &[Known]) -> Result<(), String> {
        let common = found.len().min(self.entries.len());
        let pairs = found.iter().zip(&self.entries);
        if let Some((found, known)) = pairs.take(common).find(|(found, known)| found != known) {
            return Err(format!("{found:?} where {known:?} was"));
        }
        let index = |at: usize| self.entries.get(at).map(|known| known.index);
        if common > 0 && common < self.entries.len() && index(common - 1) == index(common) {
            return Err(format!("a part of index {:?} is missing", index(common)));
        }
        let mut rest = found.get(common..).unwrap_or_default();
        for (bodies, expected) in self.attempted.iter().zip(self.last_index() + 1..) {
            let Some((entry, behind)) = rest.split_at_checked(bodies.len()) else {
                break;
            };
            if !is_of(entry, bodies) || entry.iter().any(|known| known.index != expected) {
                break;
            }
            rest = behind;
        }
        match rest.first() {
            Some(known) => Err(format!("{known:?} was never appended there")),
            None => Ok(()),
        }
    }

    /// Whoever read what is gone now is told by a higher term; a clean close raises none.
    fn check_term(&self, term: i32, is_all_there: bool) -> Result<(), String> {
        let most = self.term + 1 + self.interrupted;
        let is_right = match self.closing {
            Closing::Closed => term == self.term,
            Closing::Tried if is_all_there && term == self.term => true,
            Closing::Written | Closing::Tried => (self.term + 1..=most).contains(&term),
        };
        if is_right {
            return Ok(());
        }
        Err(format!(
            "term {term} after {}, {:?}, all there: {is_all_there}",
            self.term, self.closing
        ))
    }
}

fn is_of(entry: &[Known], bodies: &[Body]) -> bool {
    entry.len() == bodies.len()
        && entry
            .iter()
            .map(|known| known.body)
            .eq(bodies.iter().copied())
}
