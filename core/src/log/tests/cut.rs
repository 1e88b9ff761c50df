//! Cuts, made by hand: what a cut looks like on disk, and how one that was interrupted is finished.

use std::io::IoSlice;

use super::*;
use crate::log::frame::{CrcSeed, FRAME_HEADER_BYTES, FrameHeader, PAYLOAD_VERSION, padded, seal};
use crate::log::segment::{self, SEGMENT_HEADER_BYTES, SegmentHeader, read_header};
use crate::log::storage::StorageFile;

/// Bytes of a footer that holds no partition.
const FOOTER_BYTES: u64 = 112;

/// Writes segments byte by byte.
struct Scribe {
    file: Arc<dyn StorageFile>,
    seed: CrcSeed,
    position: u64,
    term: u32,
}

impl Scribe {
    fn new(storage: &FaultyStorage, segment: u64, previous: (u64, u32), durable: u64) -> Self {
        storage.create_dir(DIR).unwrap();
        let header = SegmentHeader {
            log_uuid: LOG_UUID,
            segment,
            first_index: previous.0 + 1,
            previous_index: previous.0,
            previous_term: previous.1,
            durable,
            ..SegmentHeader::default()
        };
        let file = segment::create(storage, DIR, &header).unwrap();
        let seed = CrcSeed::new(&LOG_UUID, segment);
        Self {
            file,
            seed,
            position: SEGMENT_HEADER_BYTES as u64,
            term: 1,
        }
    }

    fn frame(&mut self, kind: Kind, index: u64, durable: u64, payload: &[u8]) -> &mut Self {
        let header = FrameHeader {
            len: (FRAME_HEADER_BYTES + payload.len()) as u32,
            crc: 0,
            index,
            durable,
            time_ms: 0,
            term: self.term,
            partition: index as u32,
            kind: kind.number(),
            flags: 0,
            version: PAYLOAD_VERSION,
            reserved: 0,
        };
        let header_bytes = seal(header, self.seed, self.position, payload);
        let padding = vec![0; (padded(u64::from(header.len)) - u64::from(header.len)) as usize];
        let slices = [&header_bytes[..], payload, &padding].map(IoSlice::new);
        self.file.write_at(&slices, self.position).unwrap();
        self.position += header.padded_bytes();
        self
    }

    /// An entry whose payload says which life it is of.
    fn entry(&mut self, index: u64, durable: u64, life: u8) -> &mut Self {
        let open = PartitionOpen {
            topic: [life; 16],
            partition: 0,
            start_offset: 0,
        };
        let payload = control::encode(&open).unwrap();
        self.frame(Kind::PartitionOpen, index, durable, &payload)
    }

    fn garbage(&mut self) -> &mut Self {
        self.file
            .write_at(&[IoSlice::new(&[0xab; 24])], self.position)
            .unwrap();
        self.position += 24;
        self
    }
}

/// Index and life of every entry that an open finds.
fn lives(open: &Open) -> Vec<(u64, u8)> {
    open.memory
        .payloads()
        .iter()
        .map(|(index, payload)| (*index, payload[0]))
        .collect()
}

fn segments(storage: &FaultyStorage) -> Vec<u64> {
    segment::list(storage, DIR).unwrap()
}

fn header_of(storage: &FaultyStorage, number: u64) -> (SegmentHeader, u64) {
    let file = storage.open(&segment::path(DIR, number), true).unwrap();
    let length = file.length().unwrap();
    (read_header(file.as_ref(), length).unwrap().unwrap(), length)
}

#[test]
fn a_cut_is_a_new_segment_that_says_what_came_before_it() {
    let storage = FaultyStorage::new();
    let mut scribe = Scribe::new(&storage, 1, (0, 0), 0);
    scribe.entry(1, 0, 1).entry(2, 1, 1);
    let end = scribe.position;
    scribe.garbage().entry(4, 2, 1);
    Scribe::new(&storage, 2, (4, 1), 2).entry(5, 2, 1);
    let open = try_open(&storage).unwrap();
    assert_eq!(lives(&open), [(1, 1), (2, 1)]);
    assert_eq!(segments(&storage), [1, 3]);
    let (header, _) = header_of(&storage, 3);
    assert_eq!(
        (
            header.first_index,
            header.previous_index,
            header.previous_term
        ),
        (3, 2, 1)
    );
    assert_eq!((header.durable, header.incarnation), (2, 2));
    assert_eq!(header_of(&storage, 1).1, end + FOOTER_BYTES);
    let appended = open.append(partition_open(9)).unwrap();
    assert_eq!(open.memory.seen()[2].location.segment, 3);
    assert_eq!((appended.index, open.log.term().0), (3, 2));
}

#[test]
fn frames_above_a_later_segments_previous_are_dropped() {
    let storage = FaultyStorage::new();
    let mut scribe = Scribe::new(&storage, 1, (0, 0), 0);
    scribe.entry(1, 0, 1).entry(2, 1, 1).entry(3, 1, 1);
    let end = scribe.position;
    scribe.entry(4, 1, 1).entry(5, 1, 1);
    Scribe::new(&storage, 2, (5, 1), 1).entry(6, 1, 1);
    Scribe::new(&storage, 4, (3, 1), 3)
        .entry(4, 3, 2)
        .entry(5, 3, 2);
    for _ in 0..2 {
        let open = try_open(&storage).unwrap();
        assert_eq!(lives(&open), [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2)]);
        assert_eq!(segments(&storage), [1, 4]);
        assert_eq!(header_of(&storage, 1).1, end + FOOTER_BYTES);
    }
}

/// A segment's number came again, its name having been lost, and the old file's header was seen in the new
/// one: it dropped what had been written since, or was taken for damage.
#[test]
fn a_header_older_than_the_frames_before_it_cuts_nothing() {
    for previous in [2, 3, 4, 7] {
        let storage = FaultyStorage::new();
        let mut scribe = Scribe::new(&storage, 1, (0, 0), 0);
        scribe.entry(1, 0, 1).entry(2, 1, 1);
        scribe.term = 2;
        scribe.frame(Kind::Mark, 2, 2, &[]);
        scribe.entry(3, 2, 2).entry(4, 3, 2);
        // The older life's segment, with what followed there.
        Scribe::new(&storage, 2, (previous, 1), 1).entry(previous + 1, 1, 1);
        let open = try_open(&storage).unwrap();
        assert_eq!(lives(&open), [(1, 1), (2, 1), (3, 2), (4, 2)], "{previous}");
        assert_eq!(segments(&storage), [1, 3]);
        assert_eq!(open.log.term().0, 3);
    }
}

#[test]
fn an_empty_segment_left_by_an_interrupted_roll_is_no_damage() {
    let storage = FaultyStorage::new();
    Scribe::new(&storage, 1, (0, 0), 0).entry(1, 0, 1);
    storage.create(&segment::path(DIR, 2)).unwrap();
    let first = try_open(&storage).unwrap();
    assert_eq!(lives(&first), [(1, 1)]);
    assert_eq!(segments(&storage), [1, 3]);
    drop(first);
    // The number of the torn one is not used again, even if its removal was lost.
    storage.create(&segment::path(DIR, 2)).unwrap();
    assert_eq!(lives(&try_open(&storage).unwrap()), [(1, 1)]);
    assert_eq!(segments(&storage), [1, 3]);
}

#[test]
fn a_hole_with_valid_frames_behind_it_is_cut_when_nothing_there_was_promised() {
    let storage = FaultyStorage::new();
    let mut scribe = Scribe::new(&storage, 1, (0, 0), 0);
    scribe.entry(1, 0, 1).entry(2, 1, 1);
    scribe.position += 128;
    scribe.entry(4, 2, 1);
    assert_eq!(lives(&try_open(&storage).unwrap()), [(1, 1), (2, 1)]);
}

#[test]
fn a_hole_below_what_a_later_frame_calls_durable_refuses_and_changes_nothing() {
    let storage = FaultyStorage::new();
    let mut scribe = Scribe::new(&storage, 1, (0, 0), 0);
    scribe.entry(1, 0, 1).entry(2, 1, 1);
    let hole = scribe.position;
    scribe.position += 128;
    scribe.entry(4, 3, 1);
    let before = storage.now();
    let error = try_open(&storage).err().unwrap();
    assert_eq!(error.code(), crate::ErrorCode::CorruptSegment);
    let message = error.message();
    assert!(message.contains(&segment::path(DIR, 1)), "{message}");
    assert!(message.contains(&format!("position {hole}")), "{message}");
    assert!(message.contains("index 3"), "{message}");
    assert_eq!(storage.now(), before);
}

#[test]
fn promised_data_that_a_later_header_knows_of_is_not_cut() {
    let storage = FaultyStorage::new();
    Scribe::new(&storage, 1, (0, 0), 0).entry(1, 0, 1).garbage();
    Scribe::new(&storage, 2, (3, 1), 3);
    let before = storage.now();
    assert_eq!(
        try_open(&storage).err().unwrap().kind(),
        crate::ErrorKind::Corrupt
    );
    assert_eq!(storage.now(), before);
}

#[test]
fn a_segment_of_another_log_or_number_is_never_cut_away() {
    for (uuid, number) in [([9; 16], 2), (LOG_UUID, 7)] {
        let storage = FaultyStorage::new();
        Scribe::new(&storage, 1, (0, 0), 0).entry(1, 0, 1);
        let header = SegmentHeader {
            log_uuid: uuid,
            segment: number,
            first_index: 2,
            previous_index: 1,
            previous_term: 1,
            ..SegmentHeader::default()
        };
        let file = storage.create(&segment::path(DIR, 2)).unwrap();
        file.write_at(&[IoSlice::new(&header.encode())], 0).unwrap();
        let before = storage.now();
        let error = try_open(&storage).err().unwrap();
        assert_eq!(error.kind(), crate::ErrorKind::Corrupt, "{error}");
        assert_eq!(storage.now(), before);
    }
}

#[test]
fn a_log_whose_front_is_missing_says_so() {
    let storage = FaultyStorage::new();
    Scribe::new(&storage, 2, (5, 1), 5).entry(6, 5, 1);
    let error = try_open(&storage).err().unwrap();
    assert_eq!(error.code(), crate::ErrorCode::CorruptSegment);
    assert!(error.message().contains("behind index 5"), "{error}");
}

#[test]
fn a_segment_missing_in_the_middle_is_damage() {
    let storage = FaultyStorage::new();
    Scribe::new(&storage, 1, (0, 0), 0).entry(1, 0, 1);
    Scribe::new(&storage, 3, (9, 1), 8).entry(10, 8, 1);
    let error = try_open(&storage).err().unwrap();
    assert!(error.message().contains("ends at index 1"), "{error}");
    assert_eq!(error.kind(), crate::ErrorKind::Corrupt);
}

#[test]
fn what_a_newer_version_wrote_is_named_and_left_alone() {
    let newer = |kind: u8, version: u16| {
        let storage = FaultyStorage::new();
        let mut scribe = Scribe::new(&storage, 1, (0, 0), 0);
        scribe.entry(1, 0, 1);
        let header = FrameHeader {
            len: FRAME_HEADER_BYTES as u32,
            index: if kind >= 128 { 1 } else { 2 },
            crc: 0,
            durable: 0,
            time_ms: 0,
            term: 1,
            partition: 0,
            kind,
            flags: 0,
            version,
            reserved: 0,
        };
        let bytes = seal(header, scribe.seed, scribe.position, &[]);
        scribe
            .file
            .write_at(&[IoSlice::new(&bytes)], scribe.position)
            .unwrap();
        let before = storage.now();
        let result = try_open(&storage).map(|open| lives(&open));
        if result.is_err() {
            assert_eq!(storage.now(), before);
        }
        result
    };
    for (kind, version) in [
        (99, 1),
        (Kind::Vote.number(), 1),
        (Kind::LogStart.number(), 2),
        (Kind::OffsetCommit.number(), 3),
    ] {
        let error = newer(kind, version).unwrap_err();
        assert_eq!(error.code(), crate::ErrorCode::FolderTooNew, "{error}");
        assert!(
            error
                .message()
                .contains(&format!("kind {kind} version {version}")),
            "{error}"
        );
    }
    assert_eq!(newer(200, 7).unwrap(), [(1, 1)]);
    assert_eq!(newer(128, 1).unwrap(), [(1, 1)]);
}

#[test]
fn terms_end_at_the_largest_leader_epoch() {
    let storage = FaultyStorage::new();
    let mut scribe = Scribe::new(&storage, 1, (0, 0), 0);
    scribe.term = i32::MAX as u32;
    scribe.entry(1, 0, 1);
    let error = try_open(&storage).err().unwrap();
    assert!(
        error.message().contains("no term after 2147483647"),
        "{error}"
    );
    let storage = FaultyStorage::new();
    let mut scribe = Scribe::new(&storage, 1, (0, 0), 0);
    scribe.term = i32::MAX as u32 + 1;
    scribe.entry(1, 0, 1);
    assert_eq!(lives(&try_open(&storage).unwrap()), []);
}

#[test]
fn large_frames_behind_damage_are_found_too() {
    let mut set = Vec::new();
    while set.len() < 300_000 {
        let payload = partition_open(set.len() as u32).payload;
        let part = crate::log::SetPart::control(
            Kind::PartitionOpen,
            PartitionId(set.len() as u32),
            payload,
        );
        set.extend(crate::log::encode_set(&[part]));
    }
    for (durable, is_refused) in [(1, false), (2, true)] {
        let storage = FaultyStorage::new();
        let mut scribe = Scribe::new(&storage, 1, (0, 0), 0);
        scribe.entry(1, 0, 1).garbage();
        scribe.entry(3, 1, 1).frame(Kind::Set, 4, durable, &set);
        let found = try_open(&storage);
        assert_eq!(found.is_err(), is_refused);
    }
}

/// Every place says that a frame of almost a megabyte begins there: checked one by one this would take hours.
#[test]
fn bytes_made_to_look_like_frames_everywhere_do_not_stop_the_open() {
    for kind in [Kind::Set, Kind::Records] {
        let storage = FaultyStorage::new();
        let mut scribe = Scribe::new(&storage, 1, (0, 0), 0);
        scribe.entry(1, 0, 1);
        // The length's lowest byte is where the kind will be read.
        let len = 0x000f_0000 | u32::from(kind.number());
        let pattern = [u64::from(len).to_le_bytes(); 512].concat();
        for _ in 0..512 {
            scribe
                .file
                .write_at(&[IoSlice::new(&pattern)], scribe.position)
                .unwrap();
            scribe.position += pattern.len() as u64;
        }
        assert_eq!(lives(&try_open(&storage).unwrap()), [(1, 1)]);
    }
}
