//! Where everything lies in one segment, and the footer that keeps it.
//!
//! While a segment is written to, its index grows in memory. Once it is full, the index is written behind
//! its frames, as the frame of kind FOOTER, and read from there when it is needed. A footer's payload,
//! little-endian, each section padded with zeros to a multiple of 8:
//!
//! ```text
//! sections: tag u32, bytes u32, content; a reader passes over tags that it does not know
//!   1 SEGMENT     0 first index u64   8 last index u64   16 latest frame time i64 ms
//!   2 PARTITIONS  64 bytes each, rising by partition: 0 partition u32   4 batches u32   8 first offset i64
//!                 16 next offset i64   24 largest timestamp i64 ms   32 latest append time i64 ms
//!                 40 bytes of batches u64   48 run at u64 (from the start of RUNS)   56 run bytes u64
//!   3 RUNS        see `run`
//! trailer, 16 bytes: length of the whole frame u32, CRC-32C of the payload before it u32, magic u8[8]
//! ```
//!
//! So a footer is found from the end of its file. Losing one costs a scan of its segment, never data.

use std::collections::BTreeMap;
use std::io;

use super::run::{IndexEntry, Run, Summary};
use crate::ids::PartitionId;
use crate::log::entry::Kind;
use crate::log::frame::{
    self, CrcSeed, FRAME_ALIGN, FRAME_BYTES_MAX, FRAME_HEADER_BYTES, FrameHeader,
};
use crate::log::storage::StorageFile;

const TAG_SEGMENT: u32 = 1;
const TAG_PARTITIONS: u32 = 2;
const TAG_RUNS: u32 = 3;

const SECTION_HEADER_BYTES: usize = 8;
const SEGMENT_BYTES: usize = 24;
const PARTITION_BYTES: usize = 64;
const TRAILER_BYTES: usize = 16;
const MAGIC_BYTES: [u8; 8] = *b"HWFOOT1\0";

/// Bytes that a partition takes in memory beside its run.
const PARTITION_OVERHEAD_BYTES: usize = 64;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct SegmentIndex {
    runs: BTreeMap<PartitionId, Run>,
    first_index: u64,
    last_index: u64,
    max_time_ms: Option<i64>,
    memory_bytes: usize,
}

impl SegmentIndex {
    /// That of a segment whose first entry is `first_index`.
    pub(crate) fn new(first_index: u64) -> Self {
        Self {
            first_index,
            last_index: first_index.saturating_sub(1),
            ..Self::default()
        }
    }

    /// One that knows of its batches only in sum.
    pub(crate) fn of_summaries(
        first_index: u64,
        last_index: u64,
        summaries: impl Iterator<Item = (PartitionId, Summary)>,
    ) -> Self {
        let runs = summaries.map(|(partition, summary)| (partition, Run::of_summary(summary)));
        Self {
            runs: runs.collect(),
            first_index,
            last_index,
            ..Self::default()
        }
    }

    /// Index of its first entry.
    pub(crate) const fn first_index(&self) -> u64 {
        self.first_index
    }

    /// Index of its last entry.
    pub(crate) const fn last_index(&self) -> u64 {
        self.last_index
    }

    /// Notes an entry of the segment, of whatever kind, written at `time_ms`.
    pub(crate) fn note(&mut self, index: u64, time_ms: i64) {
        self.last_index = self.last_index.max(index);
        self.max_time_ms = self.max_time_ms.max(Some(time_ms));
    }

    /// Adds a batch of `partition`, appended at `time_ms`, behind those there are.
    pub(crate) fn push(&mut self, partition: PartitionId, entry: &IndexEntry, time_ms: i64) {
        let known = self.runs.len();
        let run = self.runs.entry(partition).or_default();
        let before = run.memory_bytes();
        run.push(entry, time_ms);
        self.memory_bytes += run.memory_bytes() - before;
        if self.runs.len() > known {
            self.memory_bytes += PARTITION_OVERHEAD_BYTES + before;
        }
    }

    /// Whether the segment has no entry: then there is nothing to keep in a footer.
    pub(crate) const fn is_empty(&self) -> bool {
        self.last_index < self.first_index
    }

    /// The batches of a partition.
    pub(crate) fn run(&self, partition: PartitionId) -> Option<&Run> {
        self.runs.get(&partition)
    }

    /// Each partition with what the segment holds of it.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (PartitionId, &Run)> {
        self.runs.iter().map(|(partition, run)| (*partition, run))
    }

    /// Each partition, with what the segment holds of it in sum.
    pub(crate) fn summaries(&self) -> impl Iterator<Item = (PartitionId, &Summary)> {
        self.runs()
            .map(|(partition, run)| (partition, run.summary()))
    }

    /// The same without the batches, in sum only: what remains to be known of a segment with a footer.
    pub(crate) fn outline(&self) -> Self {
        let outlined = self
            .runs
            .iter()
            .map(|(id, run)| (*id, Run::of_summary(*run.summary())));
        Self {
            runs: outlined.collect(),
            first_index: self.first_index,
            last_index: self.last_index,
            max_time_ms: self.max_time_ms,
            memory_bytes: 0,
        }
    }

    /// Bytes it takes in memory, about.
    pub(crate) const fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// The payload of its footer.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut partitions = Vec::with_capacity(self.runs.len() * PARTITION_BYTES);
        let mut runs = Vec::new();
        for (partition, run) in &self.runs {
            let start = runs.len();
            run.encode(&mut runs);
            let summary = run.summary();
            partitions.extend_from_slice(&partition.0.to_le_bytes());
            partitions.extend_from_slice(&summary.entries.to_le_bytes());
            partitions.extend_from_slice(&summary.first_offset.to_le_bytes());
            partitions.extend_from_slice(&summary.next_offset.to_le_bytes());
            partitions.extend_from_slice(&summary.max_timestamp_ms.to_le_bytes());
            partitions.extend_from_slice(&summary.max_append_time_ms.to_le_bytes());
            partitions.extend_from_slice(&summary.size_bytes.to_le_bytes());
            partitions.extend_from_slice(&(start as u64).to_le_bytes());
            partitions.extend_from_slice(&((runs.len() - start) as u64).to_le_bytes());
        }
        let mut segment = Vec::with_capacity(SEGMENT_BYTES);
        segment.extend_from_slice(&self.first_index.to_le_bytes());
        segment.extend_from_slice(&self.last_index.to_le_bytes());
        segment.extend_from_slice(&self.max_time_ms.unwrap_or(i64::MIN).to_le_bytes());
        let mut payload = Vec::with_capacity(runs.len() + partitions.len() + 128);
        put_section(&mut payload, TAG_SEGMENT, &segment);
        put_section(&mut payload, TAG_PARTITIONS, &partitions);
        put_section(&mut payload, TAG_RUNS, &runs);
        let length = (FRAME_HEADER_BYTES + payload.len() + TRAILER_BYTES) as u32;
        let crc = crc32c::crc32c(&payload);
        payload.extend_from_slice(&length.to_le_bytes());
        payload.extend_from_slice(&crc.to_le_bytes());
        payload.extend_from_slice(&MAGIC_BYTES);
        payload
    }

    /// The index that a footer's payload holds; `None` if it is none.
    pub(crate) fn decode(payload: &[u8]) -> Option<Self> {
        let (content, trailer) =
            payload.split_at_checked(payload.len().checked_sub(TRAILER_BYTES)?)?;
        let crc = u32::from_le_bytes(take(trailer, 4)?);
        if take(trailer, 8)? != MAGIC_BYTES || crc32c::crc32c(content) != crc {
            return None;
        }
        let segment = section(content, TAG_SEGMENT)?;
        let partitions = section(content, TAG_PARTITIONS)?;
        let runs = section(content, TAG_RUNS)?;
        let max_time_ms = i64::from_le_bytes(take(segment, 16)?);
        let mut index = Self {
            first_index: u64::from_le_bytes(take(segment, 0)?),
            last_index: u64::from_le_bytes(take(segment, 8)?),
            max_time_ms: Some(max_time_ms).filter(|time_ms| *time_ms != i64::MIN),
            ..Self::default()
        };
        for raw in partitions.chunks(PARTITION_BYTES) {
            let (partition, run) = decode_partition(raw, runs)?;
            index.memory_bytes += PARTITION_OVERHEAD_BYTES + run.memory_bytes();
            index.runs.insert(partition, run);
        }
        Some(index)
    }
}

/// By what they say, whatever memory they take.
impl PartialEq for SegmentIndex {
    fn eq(&self, other: &Self) -> bool {
        let said = |index: &Self| (index.first_index, index.last_index, index.max_time_ms);
        said(self) == said(other) && self.runs == other.runs
    }
}

fn decode_partition(raw: &[u8], runs: &[u8]) -> Option<(PartitionId, Run)> {
    let summary = Summary {
        entries: u32::from_le_bytes(take(raw, 4)?),
        first_offset: i64::from_le_bytes(take(raw, 8)?),
        next_offset: i64::from_le_bytes(take(raw, 16)?),
        max_timestamp_ms: i64::from_le_bytes(take(raw, 24)?),
        max_append_time_ms: i64::from_le_bytes(take(raw, 32)?),
        size_bytes: u64::from_le_bytes(take(raw, 40)?),
    };
    let start = usize::try_from(u64::from_le_bytes(take(raw, 48)?)).ok()?;
    let count = usize::try_from(u64::from_le_bytes(take(raw, 56)?)).ok()?;
    let run = Run::decode(runs.get(start..start.checked_add(count)?)?, &summary)?;
    Some((PartitionId(u32::from_le_bytes(take(raw, 0)?)), run))
}

/// The header of a footer's frame, to be sealed for its place: `last_index` and `term` are those of the last
/// frame before it.
pub(crate) fn footer_header(
    payload_bytes: usize,
    last_index: u64,
    durable: u64,
    time_ms: i64,
    term: u32,
) -> FrameHeader {
    FrameHeader {
        // Bounded by what an index may take in memory, which is less.
        len: (FRAME_HEADER_BYTES + payload_bytes) as u32,
        crc: 0,
        index: last_index,
        durable,
        time_ms,
        term,
        partition: 0,
        kind: Kind::Footer.number(),
        flags: 0,
        version: frame::PAYLOAD_VERSION,
        reserved: 0,
    }
}

/// The index in the footer that ends at `end`, where the segment does; `None` if there is no whole one.
///
/// # Errors
/// The storage's.
pub(crate) fn read_footer(
    file: &dyn StorageFile,
    seed: CrcSeed,
    end: u64,
) -> io::Result<Option<SegmentIndex>> {
    let mut trailer = [0; TRAILER_BYTES];
    let Some(trailer_at) = end.checked_sub(TRAILER_BYTES as u64) else {
        return Ok(None);
    };
    file.read_at(&mut trailer, trailer_at)?;
    let length = take(&trailer, 0).map_or(0, u32::from_le_bytes);
    let is_length = length as usize >= FRAME_HEADER_BYTES + TRAILER_BYTES
        && length as usize <= FRAME_BYTES_MAX
        && (length as usize).is_multiple_of(FRAME_ALIGN);
    let position = end.checked_sub(u64::from(length));
    let (Some(position), true) = (position, is_length && trailer.ends_with(&MAGIC_BYTES)) else {
        return Ok(None);
    };
    let mut bytes = vec![0; length as usize];
    file.read_at(&mut bytes, position)?;
    let Some(header) = bytes.first_chunk().map(FrameHeader::decode) else {
        return Ok(None);
    };
    if header.kind != Kind::Footer.number() || header.version != frame::PAYLOAD_VERSION {
        return Ok(None);
    }
    let payload = frame::open(seed, position, &header, &bytes).ok();
    Ok(payload.and_then(SegmentIndex::decode))
}

fn put_section(out: &mut Vec<u8>, tag: u32, content: &[u8]) {
    out.extend_from_slice(&tag.to_le_bytes());
    out.extend_from_slice(&(content.len() as u32).to_le_bytes());
    out.extend_from_slice(content);
    out.resize(out.len().next_multiple_of(FRAME_ALIGN), 0);
}

/// The content of the section with this tag.
fn section(mut content: &[u8], wanted: u32) -> Option<&[u8]> {
    while !content.is_empty() {
        let tag = u32::from_le_bytes(take(content, 0)?);
        let count = u32::from_le_bytes(take(content, 4)?) as usize;
        let body = content.get(SECTION_HEADER_BYTES..)?;
        if tag == wanted {
            return body.get(..count);
        }
        content = body.get(count.checked_next_multiple_of(FRAME_ALIGN)?..)?;
    }
    None
}

fn take<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>().copied()
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use super::*;
    use crate::log::storage::Storage;
    use crate::log::storage::memory::MemoryStorage;

    /// SEGMENT; PARTITIONS, two of them; RUNS, each its header, one restart and two batches; the trailer.
    const GOLDEN: [&str; 10] = [
        "010000001800000007000000000000000800000000000000f501000000000000",
        "0200000080000000000000000200000000000000000000001400000000000000e803000000000000",
        "f5010000000000009001000000000000000000000000000040000000000000000300000002000000",
        "00000000000000001400000000000000e803000000000000f5010000000000009001000000000000",
        "40000000000000004000000000000000",
        "0300000080000000010000000d000000000000000000000000000000000000000000000000000080",
        "001000000000000000000000000000000014009003d00f00143e900301000000",
        "010000000d000000000000000000000000000000000000000000000000000080f810000000000000",
        "00000000000000000014009003d00f00143e900301000000",
        "7001000051c261594857464f4f543100",
    ];

    fn sample(partitions: u32, batches: i64) -> SegmentIndex {
        let mut index = SegmentIndex::new(7);
        let mut position = 4_096;
        for batch in 0..batches {
            for partition in 0..partitions {
                let entry = IndexEntry {
                    base_offset: batch * 10,
                    next_offset: batch * 10 + 10,
                    max_timestamp_ms: 1_000 - batch,
                    position,
                    payload_at: FRAME_HEADER_BYTES as u32,
                    len: 200,
                };
                index.push(PartitionId(partition * 3), &entry, 500 + batch);
                index.note(7 + batch as u64, 500 + batch);
                position += 248;
            }
        }
        index
    }

    /// A file that ends in the footer of `index`, and where it ends.
    fn file_with(index: &SegmentIndex) -> (std::sync::Arc<dyn StorageFile>, CrcSeed, u64) {
        let storage = MemoryStorage::new();
        let file = storage.create("f").unwrap();
        let seed = CrcSeed::new(&[3; 16], 9);
        let payload = index.encode();
        let header = footer_header(payload.len(), 70, 60, 1, 2);
        let header = frame::seal(header, seed, 8_192, &payload);
        let slices = [IoSlice::new(&header), IoSlice::new(&payload)];
        file.write_at(&slices, 8_192).unwrap();
        let end = file.length().unwrap();
        (file, seed, end)
    }

    #[test]
    fn a_footer_gives_back_the_index() {
        for index in [sample(0, 0), sample(1, 1), sample(5, 200)] {
            let (file, seed, end) = file_with(&index);
            let found = read_footer(file.as_ref(), seed, end).unwrap().unwrap();
            assert_eq!(found.encode(), index.encode());
            assert_eq!(found.max_time_ms, index.max_time_ms);
        }
    }

    #[test]
    fn a_footer_has_the_bytes_of_the_format() {
        let bytes = sample(2, 2).encode();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, GOLDEN.concat());
    }

    #[test]
    fn a_footer_with_any_byte_changed_is_none() {
        let index = sample(2, 3);
        let (file, seed, end) = file_with(&index);
        for position in 8_192..end {
            let mut byte = [0];
            file.read_at(&mut byte, position).unwrap();
            file.write_at(&[IoSlice::new(&[!byte[0]])], position)
                .unwrap();
            let found = read_footer(file.as_ref(), seed, end).unwrap();
            assert_eq!(found, None, "position {position}");
            file.write_at(&[IoSlice::new(&byte)], position).unwrap();
        }
        assert!(read_footer(file.as_ref(), seed, end).unwrap().is_some());
        assert_eq!(read_footer(file.as_ref(), seed, end - 8).unwrap(), None);
    }

    #[test]
    fn a_section_of_a_newer_version_is_passed_over() {
        let index = sample(2, 3);
        let encoded = index.encode();
        let content = &encoded[..encoded.len() - TRAILER_BYTES];
        let mut payload = Vec::new();
        put_section(&mut payload, 77, b"news");
        payload.extend_from_slice(content);
        let crc = crc32c::crc32c(&payload);
        payload.extend_from_slice(&0_u32.to_le_bytes());
        payload.extend_from_slice(&crc.to_le_bytes());
        payload.extend_from_slice(&MAGIC_BYTES);
        assert_eq!(SegmentIndex::decode(&payload).unwrap().encode(), encoded);
    }

    #[test]
    fn what_an_index_takes_in_memory_is_counted() {
        let index = sample(3, 1_000);
        let runs: usize = index.runs().map(|(_, run)| run.memory_bytes()).sum();
        let overhead = 3 * PARTITION_OVERHEAD_BYTES;
        assert_eq!(index.memory_bytes(), runs + overhead);
    }
}
