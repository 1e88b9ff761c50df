//! What sealed segments hold of one partition: a [`Row`] for each of them, in 7 to 12 bytes.
//!
//! Rows stand in order of their first offsets, in chunks of at most [`CHUNK_ROWS_MAX`]. Where a chunk begins,
//! and between which numbers its segments lie, is in the clear, so that a search decodes one chunk or two. Of
//! a row there is what differs from the row before it in its chunk, of a chunk's first from [`START`]:
//!
//! ```text
//! head u8       bits 0 to 6: segment less the one before, 127 if it does not fit   bit 7: whether there is a gap
//! then varints  with 127 in the head: segment less the one before
//!               with a gap: first offset less the next offset before
//!               batches; offsets, and bytes, less those of so many batches as before;
//!               largest timestamp less the one before; latest append time less largest timestamp
//! ```
//!
//! Differences wrap around: summaries come from files, and whatever their numbers are, they come back so.
//!
//! What holds: no chunk is empty, and two that follow one another have more than [`MERGED_ROWS_MAX`] rows
//! together. To add the newest row costs the same however many there are; any other change decodes one chunk
//! and codes anew the row behind, or at most two chunks where one is split or two are merged. Only the last
//! chunk has room to spare.

use super::run::Summary;
use crate::record::varint;

/// Rows of a chunk: more of them take less memory, fewer are found sooner.
const CHUNK_ROWS_MAX: usize = 48;
/// Rows of two chunks that become one.
const MERGED_ROWS_MAX: usize = CHUNK_ROWS_MAX / 2;
/// A coded row: its head and seven varints.
const ROW_BYTES_MAX: usize = 1 + 7 * varint::MAX_I64_BYTES;

/// In a head: how far on the segment is stands behind it.
const HEAD_FAR: u8 = 0x7f;
/// In a head: the row does not begin where the one before ends.
const HEAD_GAP: u8 = 0x80;

/// What a sealed segment holds of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) segment: u64,
    pub(super) summary: Summary,
}

/// What stands before the first row of a chunk.
const START: Row = Row {
    segment: 0,
    summary: Summary {
        entries: 0,
        first_offset: 0,
        next_offset: 0,
        max_timestamp_ms: 0,
        max_append_time_ms: 0,
        size_bytes: 0,
    },
};

/// See the module.
#[derive(Debug)]
pub(super) struct Rows {
    chunks: Vec<Chunk>,
    /// The last row of all, so that to add one behind it nothing is decoded.
    last: Row,
}

/// Rows that follow one another.
#[derive(Debug)]
struct Chunk {
    first_offset: i64,
    /// No segment's number is below; the lowest may have gone.
    segment_min: u64,
    /// No segment's number is above; the highest may have gone.
    segment_max: u64,
    count: usize,
    bytes: Vec<u8>,
}

impl Default for Rows {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
            last: START,
        }
    }
}

impl Rows {
    /// Whether there is none.
    pub(super) const fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = Row> + '_ {
        self.chunks.iter().flat_map(Chunk::rows)
    }

    /// Those from the one on that holds `offset`, or the next above it.
    pub(super) fn starting_at(&self, offset: i64) -> impl Iterator<Item = Row> + '_ {
        let behind = self
            .chunks
            .partition_point(|chunk| chunk.first_offset <= offset);
        let chunks = self.chunks.get(behind.saturating_sub(1)..);
        let rows = chunks.unwrap_or_default().iter().flat_map(Chunk::rows);
        rows.skip_while(move |row| row.summary.next_offset <= offset)
    }

    /// That of a segment.
    pub(super) fn of_segment(&self, segment: u64) -> Option<Row> {
        self.locate(segment).map(|(_, _, row)| row)
    }

    /// Adds one: behind those that begin at a lower offset, before all others.
    pub(super) fn insert(&mut self, row: Row) {
        let offset = row.summary.first_offset;
        if self.is_empty() || offset > self.last.summary.first_offset {
            self.push(row);
            return;
        }
        self.split_if_full(self.chunk_before(offset));
        let number = self.chunk_before(offset);
        if let Some(chunk) = self.chunks.get_mut(number) {
            let is_before = |before: &Row| before.summary.first_offset < offset;
            let at = chunk.rows().take_while(is_before).count();
            chunk.insert(at, row);
        }
    }

    /// Removes that of a segment, if there is one.
    pub(super) fn remove(&mut self, segment: u64) {
        let Some((number, at, row)) = self.locate(segment) else {
            return;
        };
        let Some(chunk) = self.chunks.get_mut(number) else {
            return;
        };
        chunk.remove(at);
        if chunk.count == 0 {
            self.chunks.remove(number);
        }
        // The chunk itself, or what has come into its place, with the one behind it and the one before.
        self.merge(number);
        self.merge(number.saturating_sub(1));
        if self.chunks.capacity() > 2 * self.chunks.len() {
            self.chunks.shrink_to_fit();
        }
        if row == self.last {
            let last = self.chunks.last().and_then(|chunk| chunk.rows().last());
            self.last = last.unwrap_or(START);
        }
    }

    /// The row of a segment: in which chunk, and at which place there.
    fn locate(&self, segment: u64) -> Option<(usize, usize, Row)> {
        let mut chunks = self.chunks.iter().enumerate();
        chunks.find_map(|(number, chunk)| {
            if !(chunk.segment_min..=chunk.segment_max).contains(&segment) {
                return None;
            }
            let mut rows = chunk.rows().enumerate();
            let (at, row) = rows.find(|(_, row)| row.segment == segment)?;
            Some((number, at, row))
        })
    }

    /// The chunk where a row that begins at `offset` has its place.
    fn chunk_before(&self, offset: i64) -> usize {
        let behind = self
            .chunks
            .partition_point(|chunk| chunk.first_offset < offset);
        behind.saturating_sub(1)
    }

    /// Adds one behind all others.
    fn push(&mut self, row: Row) {
        match self.chunks.last_mut() {
            Some(chunk) if chunk.count < CHUNK_ROWS_MAX => chunk.push(&self.last, &row),
            _ => {
                if self.chunks.len() == self.chunks.capacity() {
                    // Each partition has such a list: were they doubled, much of them would be empty.
                    self.chunks.reserve_exact(1 + self.chunks.len() / 8);
                }
                self.chunks.push(Chunk::of(std::iter::once(row)));
            }
        }
        self.last = row;
    }

    /// Makes two of a chunk that has no room.
    fn split_if_full(&mut self, number: usize) {
        let chunk = self.chunks.get(number);
        let Some(full) = chunk.filter(|chunk| chunk.count >= CHUNK_ROWS_MAX) else {
            return;
        };
        let half = full.count / 2;
        let halves = [
            Chunk::of(full.rows().take(half)),
            Chunk::of(full.rows().skip(half)),
        ];
        self.chunks.splice(number..=number, halves);
    }

    /// Makes one of a chunk and the next, if they have few rows.
    fn merge(&mut self, number: usize) {
        let chunks = self.chunks.get(number..).unwrap_or_default();
        if let [one, next, ..] = chunks
            && one.count + next.count <= MERGED_ROWS_MAX
        {
            let merged = Chunk::of(one.rows().chain(next.rows()));
            self.chunks.splice(number..number + 2, [merged]);
        }
    }

    /// Bytes that they take in memory beside their own size.
    #[cfg(test)]
    pub(super) fn memory_bytes(&self) -> usize {
        let bytes = self.chunks.iter().map(|chunk| chunk.bytes.capacity());
        self.chunks.capacity() * size_of::<Chunk>() + bytes.sum::<usize>()
    }
}

impl Chunk {
    fn of(rows: impl Iterator<Item = Row>) -> Self {
        let mut chunk = Self {
            first_offset: 0,
            segment_min: u64::MAX,
            segment_max: 0,
            count: 0,
            bytes: Vec::new(),
        };
        let mut before = START;
        for row in rows {
            chunk.push(&before, &row);
            before = row;
        }
        chunk.bytes.shrink_to_fit();
        chunk
    }

    fn rows(&self) -> Decoder<'_> {
        Decoder {
            bytes: &self.bytes,
            before: START,
        }
    }

    /// Adds one behind `before`, the last.
    fn push(&mut self, before: &Row, row: &Row) {
        if self.bytes.capacity() - self.bytes.len() < ROW_BYTES_MAX {
            self.bytes.reserve_exact(ROW_BYTES_MAX);
        }
        encode(&mut self.bytes, before, row);
        self.note(self.count, row);
        if self.count >= CHUNK_ROWS_MAX {
            self.bytes.shrink_to_fit();
        }
    }

    fn insert(&mut self, at: usize, row: Row) {
        self.change(at, 0, Some(row));
        self.note(at, &row);
    }

    fn remove(&mut self, at: usize) {
        if let Some(first) = self.change(at, 1, None).filter(|_| at == 0) {
            self.first_offset = first.summary.first_offset;
        }
        self.count = self.count.saturating_sub(1);
    }

    /// Notes that a row was added.
    fn note(&mut self, at: usize, row: &Row) {
        if at == 0 {
            self.first_offset = row.summary.first_offset;
        }
        self.segment_min = self.segment_min.min(row.segment);
        self.segment_max = self.segment_max.max(row.segment);
        self.count += 1;
    }

    /// Codes one row in place of as many as are removed; gives the one that follows, which is told apart from
    /// another then. All behind that stays as it is.
    fn change(&mut self, at: usize, removed: usize, added: Option<Row>) -> Option<Row> {
        let mut rows = self.rows();
        rows.by_ref().take(at).for_each(drop);
        let (mut before, start) = (rows.before, self.bytes.len() - rows.bytes.len());
        rows.by_ref().take(removed).for_each(drop);
        let next = rows.next();
        let end = self.bytes.len() - rows.bytes.len();
        let mut coded = Vec::with_capacity(2 * ROW_BYTES_MAX);
        for row in added.iter().chain(&next) {
            encode(&mut coded, &before, row);
            before = *row;
        }
        self.bytes.splice(start..end, coded);
        self.bytes.shrink_to_fit();
        next
    }
}

/// Decodes a chunk; bytes that are no row end it.
struct Decoder<'a> {
    bytes: &'a [u8],
    before: Row,
}

impl Iterator for Decoder<'_> {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        self.before = decode(&mut self.bytes, &self.before)?;
        Some(self.before)
    }
}

fn encode(out: &mut Vec<u8>, before: &Row, row: &Row) {
    let (held, held_before) = (&row.summary, &before.summary);
    let step = row.segment.wrapping_sub(before.segment);
    let near = u8::try_from(step).ok().filter(|near| *near < HEAD_FAR);
    let gap = held.first_offset.wrapping_sub(held_before.next_offset);
    out.push(near.unwrap_or(HEAD_FAR) | if gap == 0 { 0 } else { HEAD_GAP });
    if near.is_none() {
        varint::put_i64(out, step as i64);
    }
    if gap != 0 {
        varint::put_i64(out, gap);
    }
    let late_ms = held.max_timestamp_ms;
    let offsets = held.next_offset.wrapping_sub(held.first_offset);
    let (alike_offsets, alike_bytes) = alike(held_before, held.entries);
    for number in [
        i64::from(held.entries),
        offsets.wrapping_sub(alike_offsets),
        (held.size_bytes as i64).wrapping_sub(alike_bytes),
        late_ms.wrapping_sub(held_before.max_timestamp_ms),
        held.max_append_time_ms.wrapping_sub(late_ms),
    ] {
        varint::put_i64(out, number);
    }
}

fn decode(bytes: &mut &[u8], before: &Row) -> Option<Row> {
    let (head, mut rest) = bytes.split_first()?;
    let mut next = || {
        let (value, taken) = varint::read_i64(rest).ok()?;
        rest = rest.get(taken..)?;
        Some(value)
    };
    let near = head & HEAD_FAR;
    let step = if near == HEAD_FAR {
        next()? as u64
    } else {
        u64::from(near)
    };
    let gap = if head & HEAD_GAP == 0 { 0 } else { next()? };
    let first_offset = before.summary.next_offset.wrapping_add(gap);
    let entries = u32::try_from(next()?).ok()?;
    let (alike_offsets, alike_bytes) = alike(&before.summary, entries);
    let offsets = alike_offsets.wrapping_add(next()?);
    let size_bytes = alike_bytes.wrapping_add(next()?) as u64;
    let max_timestamp_ms = before.summary.max_timestamp_ms.wrapping_add(next()?);
    let max_append_time_ms = max_timestamp_ms.wrapping_add(next()?);
    *bytes = rest;
    Some(Row {
        segment: before.segment.wrapping_add(step),
        summary: Summary {
            entries,
            first_offset,
            next_offset: first_offset.wrapping_add(offsets),
            max_timestamp_ms,
            max_append_time_ms,
            size_bytes,
        },
    })
}

/// The offsets and bytes of so many batches, if they are on average as those before.
fn alike(before: &Summary, entries: u32) -> (i64, i64) {
    let batches_before = i64::from(before.entries).max(1);
    let offsets = before.next_offset.wrapping_sub(before.first_offset);
    // A remainder is of no account, and i64::MIN by one is no overflow.
    let of = |all: i64| (all / batches_before).wrapping_mul(i64::from(entries));
    (of(offsets), of(before.size_bytes as i64))
}

#[cfg(test)]
mod tests;
