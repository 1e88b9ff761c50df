//! A cold segment's file, fed with anything: with the header put right, too. Whatever it is, opening says one
//! thing of it, and its frames are read or are damage.

use std::io::IoSlice;
use std::ops::ControlFlow;

use super::{ColdHeader, path, rebuild};
use crate::log::entry::Kind;
use crate::log::frame::{self, CrcSeed, FRAME_HEADER_BYTES, FrameHeader};
use crate::log::reader::{Item, Reader};
use crate::log::segment::{self, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::log::storage::Storage;
use crate::log::storage::memory::MemoryStorage;

const DIR: &str = "0000";
const LOG_UUID: [u8; 16] = [1; 16];
const SEGMENT: u64 = 9;

pub(crate) fn run(bytes: &[u8]) {
    check(bytes);
    let mut repaired = bytes.to_vec();
    if let Some(header) = repaired.first_chunk_mut::<SEGMENT_HEADER_BYTES>() {
        let good = sample(SEGMENT_HEADER_BYTES as u64, 0).encode();
        // Magic, format, log and number; everything else stays what it is.
        header[..40].copy_from_slice(&good[..40]);
        let (content, crc) = header.split_at_mut(SEGMENT_HEADER_BYTES - 4);
        crc.copy_from_slice(&crc32c::crc32c(content).to_le_bytes());
        if let Ok(decoded) = ColdHeader::decode(header) {
            assert_eq!(decode(&decoded.encode()), Some(decoded));
        }
    }
    check(&repaired);
}

fn decode(bytes: &[u8]) -> Option<ColdHeader> {
    ColdHeader::decode(bytes.first_chunk()?).ok()
}

fn check(bytes: &[u8]) {
    let storage = MemoryStorage::new();
    storage.create_dir(DIR).expect("a folder in memory");
    let file = storage
        .create(&path(DIR, SEGMENT))
        .expect("a file in memory");
    file.write_at(&[IoSlice::new(bytes)], 0)
        .expect("some bytes");
    let log = SegmentHeader {
        log_uuid: LOG_UUID,
        segment: 10,
        first_index: 1,
        ..SegmentHeader::default()
    };
    segment::create(&storage, DIR, &log).expect("a segment in memory");
    let Ok(reader) = Reader::new(&storage, DIR, LOG_UUID) else {
        return;
    };
    let (mut frames, mut damages) = (0_u64, 0_u64);
    let read = reader.read(&mut |item| {
        match item {
            Item::Frame(_) => frames += 1,
            Item::Damage(_) => damages += 1,
            Item::Segment(_) => {}
        }
        ControlFlow::Continue(())
    });
    let header = decode(bytes);
    if let (Ok(_), Some(header)) = (read, header) {
        let rebuilt = rebuild(
            file.as_ref(),
            CrcSeed::new(&LOG_UUID, SEGMENT),
            header.first_index,
            header.frames_end.min(bytes.len() as u64),
        );
        let rebuilt = rebuilt.expect("memory can be read");
        let held = rebuilt.map(|index| index.summaries().count());
        assert!(
            held.is_ok() || damages > 0 || frames == 0,
            "{frames} frames, no index"
        );
    }
}

fn sample(frames_end: u64, batches: u64) -> ColdHeader {
    ColdHeader {
        log_uuid: LOG_UUID,
        segment: SEGMENT,
        front: 3,
        first_index: 1,
        last_index: 40,
        frames_end,
        batches,
        set: SEGMENT,
        created_ms: 5,
        is_commit: true,
        replaced: vec![2],
    }
}

/// Cold segments, one empty and one with these batches.
pub(crate) fn seeds(batches: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let seed = CrcSeed::new(&LOG_UUID, SEGMENT);
    let mut frames = Vec::new();
    for (at, batch) in batches.iter().enumerate() {
        let position = (SEGMENT_HEADER_BYTES + frames.len()) as u64;
        let header = FrameHeader {
            len: (FRAME_HEADER_BYTES + batch.len()) as u32,
            crc: 0,
            index: at as u64 + 1,
            durable: 0,
            time_ms: 7,
            term: 1,
            partition: at as u32,
            kind: Kind::Records.number(),
            flags: 0,
            version: frame::PAYLOAD_VERSION,
            reserved: 0,
        };
        frames.extend_from_slice(&frame::seal(header, seed, position, batch));
        frames.extend_from_slice(batch);
        frames.resize(frames.len().next_multiple_of(8), 0);
    }
    let end = (SEGMENT_HEADER_BYTES + frames.len()) as u64;
    let header = sample(end, batches.len() as u64).encode();
    vec![
        sample(4_096, 0).encode(),
        // Found by the fuzzer: it ends before it begins.
        sample(2, 5).encode(),
        [header, frames].concat(),
    ]
}
