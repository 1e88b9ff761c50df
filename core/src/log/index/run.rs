//! The batches of one partition in one segment, by offset and by time, in 6 to 9 bytes each.
//!
//! Each batch is a few varints, what differs from the batch before it. Every [`RESTART_ENTRIES`] batches
//! the difference is to a [`Restart`], so that a search decodes at most so many of them. Offsets rise
//! along a run; between batches there may be gaps, where cleaning removed some.

use serde::{Deserialize, Serialize};

use crate::log::frame::{FRAME_ALIGN, FRAME_HEADER_BYTES, padded};
use crate::record::varint;

/// Batches between two places where decoding can begin.
const RESTART_ENTRIES: u32 = 64;
/// Bytes of a restart in a footer.
const RESTART_BYTES: usize = 32;
/// Bytes of a run's own header in a footer.
const HEADER_BYTES: usize = 16;

/// One batch: its offsets, how late it is, and where in the segment it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    /// Offset of its first record.
    pub(crate) base_offset: i64,
    /// Offset behind its last.
    pub(crate) next_offset: i64,
    /// The largest timestamp of its records, ms.
    pub(crate) max_timestamp_ms: i64,
    /// Position of its frame.
    pub(crate) position: u64,
    /// Where the batch begins, bytes from the frame's start.
    pub(crate) payload_at: u32,
    /// Bytes of the batch.
    pub(crate) len: u32,
}

impl IndexEntry {
    /// Where the frame ends, if it holds this batch alone.
    pub(crate) fn end(&self) -> u64 {
        let bytes = u64::from(self.payload_at) + u64::from(self.len);
        self.position.saturating_add(padded(bytes))
    }
}

/// What a run holds, in sum. Kept in checkpoints: it grows at its end only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Summary {
    /// Batches.
    pub(crate) entries: u32,
    /// Offset of the first record.
    pub(crate) first_offset: i64,
    /// Offset behind the last.
    pub(crate) next_offset: i64,
    /// The largest timestamp of a record, ms.
    pub(crate) max_timestamp_ms: i64,
    /// The latest time at which a batch was appended, ms: what retention counts from.
    pub(crate) max_append_time_ms: i64,
    /// Bytes of the batches.
    pub(crate) size_bytes: u64,
}

impl Default for Summary {
    fn default() -> Self {
        Self {
            entries: 0,
            first_offset: 0,
            next_offset: 0,
            max_timestamp_ms: i64::MIN,
            max_append_time_ms: i64::MIN,
            size_bytes: 0,
        }
    }
}

/// A place where decoding can begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Restart {
    base_offset: i64,
    /// The largest timestamp of all batches of the run before this one.
    max_timestamp_before_ms: i64,
    position: u64,
    /// Where in the bytes.
    at: u32,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    summary: Summary,
    restarts: Vec<Restart>,
    bytes: Vec<u8>,
    last: Before,
}

/// What the next entry is told apart from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Before {
    next_offset: i64,
    end: u64,
    timestamp_ms: i64,
}

impl Before {
    fn behind(entry: &IndexEntry) -> Self {
        Self {
            next_offset: entry.next_offset,
            end: entry.end(),
            timestamp_ms: entry.max_timestamp_ms,
        }
    }

    fn restart(restart: &Restart) -> Self {
        Self {
            next_offset: restart.base_offset,
            end: restart.position,
            timestamp_ms: 0,
        }
    }
}

impl Run {
    /// What it holds, in sum.
    pub(crate) const fn summary(&self) -> &Summary {
        &self.summary
    }

    /// A run that knows its summary and no batch.
    pub(crate) fn of_summary(summary: Summary) -> Self {
        Self {
            summary,
            ..Self::default()
        }
    }

    /// Bytes it takes in memory, about.
    pub(crate) fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.restarts.capacity() * size_of::<Restart>() + self.bytes.capacity()
    }

    /// Adds a batch behind those there are, appended at `append_time_ms`.
    pub(crate) fn push(&mut self, entry: &IndexEntry, append_time_ms: i64) {
        if self.summary.entries.is_multiple_of(RESTART_ENTRIES) {
            let restart = Restart {
                base_offset: entry.base_offset,
                max_timestamp_before_ms: self.summary.max_timestamp_ms,
                position: entry.position,
                // A run ends with its segment, long before 4 GiB.
                at: self.bytes.len() as u32,
            };
            self.restarts.push(restart);
            self.last = Before::restart(&restart);
        }
        if self.summary.entries == 0 {
            self.summary.first_offset = entry.base_offset;
        }
        let before = self.last;
        self.last = encode(&mut self.bytes, before, entry);
        let summary = &mut self.summary;
        summary.entries += 1;
        summary.next_offset = entry.next_offset;
        summary.max_timestamp_ms = summary.max_timestamp_ms.max(entry.max_timestamp_ms);
        summary.max_append_time_ms = summary.max_append_time_ms.max(append_time_ms);
        summary.size_bytes += u64::from(entry.len);
    }

    /// The batches from the one on that holds `offset`, or the next above it.
    pub(crate) fn starting_at(&self, offset: i64) -> impl Iterator<Item = IndexEntry> + '_ {
        let first = self
            .restarts
            .partition_point(|restart| restart.base_offset <= offset);
        self.entries_from(first.saturating_sub(1))
            .skip_while(move |entry| entry.next_offset <= offset)
    }

    /// The first batch, in order of offsets and from `offset` on, that has a timestamp of `time_ms` or later.
    pub(crate) fn at_time(&self, time_ms: i64, offset: i64) -> Option<IndexEntry> {
        let first = self
            .restarts
            .partition_point(|restart| restart.max_timestamp_before_ms < time_ms);
        let by_offset = self
            .restarts
            .partition_point(|restart| restart.base_offset <= offset);
        // What lies before `offset` may be later than what lies behind it.
        self.entries_from(first.min(by_offset).saturating_sub(1))
            .find(|entry| entry.next_offset > offset && entry.max_timestamp_ms >= time_ms)
    }

    /// All batches.
    pub(crate) fn iter(&self) -> impl Iterator<Item = IndexEntry> + '_ {
        self.entries_from(0)
    }

    fn entries_from(&self, restart: usize) -> impl Iterator<Item = IndexEntry> + '_ {
        let restarts = self.restarts.get(restart..).unwrap_or_default();
        restarts.iter().enumerate().flat_map(move |(at, here)| {
            let end = restarts
                .get(at + 1)
                .map_or(self.bytes.len(), |next| next.at as usize);
            let bytes = self.bytes.get(here.at as usize..end).unwrap_or_default();
            Entries {
                bytes,
                before: Before::restart(here),
            }
        })
    }

    /// Appends the run as a footer holds it; its summary stands elsewhere.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.restarts.len() as u32).to_le_bytes());
        out.extend_from_slice(&(self.bytes.len() as u32).to_le_bytes());
        out.extend_from_slice(&[0; HEADER_BYTES - 8]);
        for restart in &self.restarts {
            out.extend_from_slice(&restart.base_offset.to_le_bytes());
            out.extend_from_slice(&restart.max_timestamp_before_ms.to_le_bytes());
            out.extend_from_slice(&restart.position.to_le_bytes());
            out.extend_from_slice(&restart.at.to_le_bytes());
            out.extend_from_slice(&[0; 4]);
        }
        out.extend_from_slice(&self.bytes);
        out.resize(out.len().next_multiple_of(FRAME_ALIGN), 0);
    }

    /// The run that `bytes` are, whole; `None` if they are not one that adds up to `summary`.
    pub(super) fn decode(bytes: &[u8], summary: &Summary) -> Option<Self> {
        let restart_count = u32::from_le_bytes(take(bytes, 0)?) as usize;
        let byte_count = u32::from_le_bytes(take(bytes, 4)?) as usize;
        let restarts_end = restart_count
            .checked_mul(RESTART_BYTES)?
            .checked_add(HEADER_BYTES)?;
        let mut restarts = Vec::new();
        for raw in bytes
            .get(HEADER_BYTES..restarts_end)?
            .chunks_exact(RESTART_BYTES)
        {
            restarts.push(Restart {
                base_offset: i64::from_le_bytes(take(raw, 0)?),
                max_timestamp_before_ms: i64::from_le_bytes(take(raw, 8)?),
                position: u64::from_le_bytes(take(raw, 16)?),
                at: u32::from_le_bytes(take(raw, 24)?),
            });
        }
        let entries = bytes.get(restarts_end..restarts_end.checked_add(byte_count)?)?;
        let mut run = Self {
            summary: *summary,
            restarts,
            bytes: entries.to_vec(),
            last: Before::default(),
        };
        run.last = run.adds_up()?;
        Some(run)
    }

    /// What the next entry is told apart from, if the entries are what the summary says of them, in order.
    fn adds_up(&self) -> Option<Before> {
        let (mut entries, mut size_bytes) = (0_u32, 0_u64);
        let mut next_offset = self.summary.first_offset;
        let mut last = Before::default();
        for entry in self.iter() {
            if entry.base_offset < next_offset || entry.next_offset <= entry.base_offset {
                return None;
            }
            entries = entries.saturating_add(1);
            next_offset = entry.next_offset;
            size_bytes = size_bytes.saturating_add(u64::from(entry.len));
            last = Before::behind(&entry);
        }
        let found = (entries, next_offset, size_bytes);
        let said = &self.summary;
        (found == (said.entries, said.next_offset, said.size_bytes)).then_some(last)
    }
}

/// By what they hold.
impl PartialEq for Run {
    fn eq(&self, other: &Self) -> bool {
        self.summary == other.summary
            && self.restarts == other.restarts
            && self.bytes == other.bytes
    }
}

/// Decodes what lies between two restarts; bytes that are no entry end it.
struct Entries<'a> {
    bytes: &'a [u8],
    before: Before,
}

impl Iterator for Entries<'_> {
    type Item = IndexEntry;

    fn next(&mut self) -> Option<IndexEntry> {
        let entry = decode(&mut self.bytes, self.before)?;
        self.before = Before::behind(&entry);
        Some(entry)
    }
}

fn encode(out: &mut Vec<u8>, before: Before, entry: &IndexEntry) -> Before {
    let is_plain = entry.payload_at == FRAME_HEADER_BYTES as u32;
    let gap = entry.base_offset.wrapping_sub(before.next_offset);
    // The lowest bit says whether the batch is not all that its frame holds.
    varint::put_i64(out, gap.wrapping_mul(2) | i64::from(!is_plain));
    varint::put_i64(out, entry.next_offset.wrapping_sub(entry.base_offset));
    let step = FRAME_ALIGN as u64;
    varint::put_i64(
        out,
        (entry.position / step).wrapping_sub(before.end / step) as i64,
    );
    varint::put_i64(out, i64::from(entry.len));
    varint::put_i64(
        out,
        entry.max_timestamp_ms.wrapping_sub(before.timestamp_ms),
    );
    if !is_plain {
        varint::put_i64(out, i64::from(entry.payload_at));
    }
    Before::behind(entry)
}

fn decode(bytes: &mut &[u8], before: Before) -> Option<IndexEntry> {
    let mut next = || {
        let (value, taken) = varint::read_i64(bytes).ok()?;
        *bytes = bytes.get(taken..)?;
        Some(value)
    };
    let gap = next()?;
    let base_offset = before.next_offset.wrapping_add(gap >> 1);
    let next_offset = base_offset.wrapping_add(next()?);
    let step = FRAME_ALIGN as u64;
    let position = (before.end / step)
        .wrapping_add(next()? as u64)
        .wrapping_mul(step);
    let len = u32::try_from(next()?).ok()?;
    let max_timestamp_ms = before.timestamp_ms.wrapping_add(next()?);
    let payload_at = if gap & 1 == 0 {
        FRAME_HEADER_BYTES as u32
    } else {
        u32::try_from(next()?).ok()?
    };
    Some(IndexEntry {
        base_offset,
        next_offset,
        max_timestamp_ms,
        position,
        payload_at,
        len,
    })
}

fn take<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>().copied()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Batches in order, with gaps, of any size and time.
    fn batches() -> impl Strategy<Value = Vec<IndexEntry>> {
        let one = (
            0..3_i64,
            1..2_000_i64,
            0..9_u64,
            61..100_000_u32,
            any::<i64>(),
            0..4_u32,
        );
        prop::collection::vec(one, 0..300).prop_map(|steps| {
            let (mut offset, mut position) = (0, 4_096);
            let mut batches = Vec::new();
            for (gap, count, skipped, len, max_timestamp_ms, part) in steps {
                let payload_at = FRAME_HEADER_BYTES as u32 + part * 16;
                let base_offset = offset + gap * 1_000;
                position += skipped * 8;
                batches.push(IndexEntry {
                    base_offset,
                    next_offset: base_offset + count,
                    max_timestamp_ms,
                    position,
                    payload_at,
                    len,
                });
                offset = base_offset + count;
                position += padded(u64::from(payload_at + len));
            }
            batches
        })
    }

    fn run_of(batches: &[IndexEntry]) -> Run {
        let mut run = Run::default();
        for batch in batches {
            run.push(batch, batch.max_timestamp_ms.wrapping_add(1));
        }
        run
    }

    proptest! {
        #[test]
        fn a_run_gives_back_what_was_pushed(batches in batches()) {
            let run = run_of(&batches);
            prop_assert_eq!(&run.iter().collect::<Vec<_>>(), &batches);
            let mut bytes = Vec::new();
            run.encode(&mut bytes);
            let again = Run::decode(&bytes, run.summary()).unwrap();
            prop_assert_eq!(again.iter().collect::<Vec<_>>(), batches);
            prop_assert_eq!(again.summary(), run.summary());
        }

        #[test]
        fn a_run_that_was_read_goes_on_as_if_it_had_not_been(
            batches in batches(),
            place in any::<prop::sample::Index>(),
        ) {
            let (first, rest) = batches.split_at(place.index(batches.len() + 1));
            let mut bytes = Vec::new();
            let before = run_of(first);
            before.encode(&mut bytes);
            let mut run = Run::decode(&bytes, before.summary()).unwrap();
            for batch in rest {
                run.push(batch, batch.max_timestamp_ms.wrapping_add(1));
            }
            prop_assert_eq!(run, run_of(&batches));
        }

        #[test]
        fn offsets_and_times_are_found_as_by_looking_at_every_batch(
            batches in batches(),
            place in any::<prop::sample::Index>(),
            nudge in -2_i64..3,
        ) {
            let run = run_of(&batches);
            let picked = batches.get(place.index(batches.len().max(1)));
            let offset = picked.map_or(0, |batch| batch.base_offset + nudge);
            let time_ms = picked.map_or(0, |batch| batch.max_timestamp_ms.saturating_add(nudge));
            let found: Vec<_> = run.starting_at(offset).collect();
            let held = |batch: &&IndexEntry| batch.next_offset > offset;
            let wanted: Vec<_> = batches.iter().filter(held).copied().collect();
            prop_assert_eq!(found, wanted);
            for from in [0, offset] {
                let wanted = batches
                    .iter()
                    .find(|batch| batch.next_offset > from && batch.max_timestamp_ms >= time_ms);
                prop_assert_eq!(run.at_time(time_ms, from), wanted.copied());
            }
        }

        #[test]
        fn any_bytes_are_a_run_or_none(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            drop(Run::decode(&bytes, &Summary::default()));
        }
    }

    #[test]
    fn a_batch_of_a_stream_takes_nine_bytes_at_most() {
        let mut run = Run::default();
        let mut position = 4_096;
        for batch in 0..10_000_i64 {
            let entry = IndexEntry {
                base_offset: batch * 1_000,
                next_offset: (batch + 1) * 1_000,
                max_timestamp_ms: 1_700_000_000_000 + batch * 3,
                position,
                payload_at: FRAME_HEADER_BYTES as u32,
                len: 110_000,
            };
            run.push(&entry, entry.max_timestamp_ms);
            position = entry.end();
        }
        let mut bytes = Vec::new();
        run.encode(&mut bytes);
        assert!(bytes.len() < 90_000, "{}", bytes.len());
    }
}
