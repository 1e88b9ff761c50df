//! The footer of a segment, fed with anything: with its checksum put right, too.

use super::Target;
use crate::ids::PartitionId;
use crate::log::index::{IndexEntry, SegmentIndex};

pub(super) const FOOTER: Target = Target {
    name: "footer",
    run,
    seeds,
};

const TRAILER_BYTES: usize = 16;

fn run(bytes: &[u8]) {
    check(bytes);
    if let Some(content) = bytes.get(..bytes.len().saturating_sub(TRAILER_BYTES)) {
        let crc = crc32c::crc32c(content);
        let trailer = [&0_u32.to_le_bytes(), &crc.to_le_bytes()[..], b"HWFOOT1\0"].concat();
        check(&[content, &trailer].concat());
    }
}

fn check(payload: &[u8]) {
    let Some(index) = SegmentIndex::decode(payload) else {
        return;
    };
    let again = SegmentIndex::decode(&index.encode()).expect("it was just encoded");
    assert!(
        again == index,
        "an index that was decoded is encoded as another"
    );
    for (partition, run) in index.runs() {
        let mut offset = run.summary().first_offset;
        for entry in run.iter() {
            assert!(entry.base_offset >= offset, "{partition}: offsets fall");
            offset = entry.next_offset;
            let found = run.starting_at(entry.base_offset).next();
            assert_eq!(found, Some(entry), "{partition}: what is held is not found");
        }
        assert_eq!(offset, run.summary().next_offset);
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let mut index = SegmentIndex::new(1);
    let empty = index.encode();
    for at in 0..200_u64 {
        let entry = IndexEntry {
            base_offset: at as i64 * 2,
            next_offset: at as i64 * 2 + 1 + (at % 2) as i64,
            max_timestamp_ms: 1_700_000_000_000 - at as i64 % 7,
            position: 4_096 + at * 200,
            payload_at: 48 + 16 * (at % 3) as u32,
            len: 61 + at as u32,
        };
        index.push(PartitionId(at as u32 % 2), &entry, at as i64);
        index.note(at + 1, at as i64);
    }
    vec![empty, index.encode()]
}
