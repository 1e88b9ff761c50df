//! Segments made of fuzzed parts: with headers, indexes and checksums that are right, so that what lies
//! behind them is reached. The layout is written down here a second time, from its description.

use std::io::IoSlice;

use super::records;
use crate::log::storage::faulty::{CrashMode, FaultyStorage};
use crate::log::storage::{Storage, StorageFile};
use crate::log::{Kind, format};

pub(super) const DIR: &str = "0000";
pub(super) const LOG_UUID: [u8; 16] = *b"headwater-fuzzed";

const SEGMENT_HEADER_BYTES: usize = 4_096;
const FRAME_HEADER_BYTES: usize = 48;
const SEPARATOR: &[u8; 8] = b"|segment";
const DESCRIPTION_BYTES: usize = 20;
const SEGMENTS_MAX: usize = 4;
const FLAG_BROKEN: u8 = 0x80;

/// Kinds of entries that this version writes.
const ENTRY_KINDS: [u8; 11] = [1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12];

/// The disk of a folder that holds these segments, numbered from 1, all of it durable.
pub(super) fn open(files: &[Vec<u8>]) -> FaultyStorage {
    let storage = FaultyStorage::new();
    format::read_or_create(&storage, ".", || Ok(LOG_UUID)).expect("it is empty");
    storage.create_dir(DIR).expect("it is empty");
    for (number, bytes) in (1..).zip(files) {
        let path = format!("{DIR}/{number:020}.log");
        let file = storage.create(&path).expect("the number is new");
        file.write_at(&[IoSlice::new(bytes)], 0)
            .expect("it is short");
    }
    storage.crash_image(CrashMode::AllWritten)
}

/// Each segment's bytes, without the space reserved behind its last frame.
pub(super) fn files_of(storage: &FaultyStorage) -> Vec<Vec<u8>> {
    let names = storage.list(DIR).expect("the log made it");
    let read = |name: &String| {
        let file = storage
            .open(&format!("{DIR}/{name}"), true)
            .expect("it was listed");
        read_all(&*file)
    };
    names.iter().map(read).collect()
}

fn read_all(file: &dyn StorageFile) -> Vec<u8> {
    let mut bytes = vec![0; file.length().expect("in memory") as usize];
    file.read_at(&mut bytes, 0).expect("in memory");
    let end = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    bytes.truncate(end.next_multiple_of(8));
    bytes
}

/// Files as an input of [`framed`].
pub(super) fn frames_of(files: &[Vec<u8>]) -> Vec<u8> {
    let part = |file: &Vec<u8>| {
        let (header, frames) = file.split_at(SEGMENT_HEADER_BYTES);
        // Where the segment's header has them.
        [&header[48..56], &header[56..64], &header[96..100], frames].concat()
    };
    let parts: Vec<_> = files.iter().map(part).collect();
    parts.join(&SEPARATOR[..])
}

/// The files that are meant by segments in a row, between them [`SEPARATOR`], each of them `previous index
/// u64, durable u64, previous term u32` and its frames. Headers and checksums are made right, except that
/// of a frame with flag 0x80.
pub(super) fn framed(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut files = Vec::new();
    let mut rest = bytes;
    while files.len() < SEGMENTS_MAX {
        let end = rest
            .windows(SEPARATOR.len())
            .position(|window| window == SEPARATOR);
        let (part, behind) = rest.split_at(end.unwrap_or(rest.len()));
        if let Some((description, frames)) = part.split_at_checked(DESCRIPTION_BYTES) {
            let number = files.len() as u64 + 1;
            let mut file = segment_header(number, description);
            file.extend_from_slice(frames);
            repair_frames(number, &mut file);
            files.push(file);
        }
        let Some(behind) = behind.get(SEPARATOR.len()..) else {
            break;
        };
        rest = behind;
    }
    files
}

/// The entries of some files as an input of [`of_entries`].
pub(super) fn entries_of(files: &[Vec<u8>]) -> Vec<u8> {
    let mut entries = Vec::new();
    for file in files {
        let mut rest = &file[SEGMENT_HEADER_BYTES..];
        while let Some(len) = rest
            .first_chunk::<4>()
            .map(|len| u32::from_le_bytes(*len) as usize)
        {
            let Some((frame, behind)) = rest.split_at_checked(len.next_multiple_of(8)) else {
                break;
            };
            if len < FRAME_HEADER_BYTES {
                break;
            }
            let (header, payload) = frame[..len].split_at(FRAME_HEADER_BYTES);
            push_entry(&mut entries, header[40], header[36], payload);
            rest = behind;
        }
    }
    entries
}

/// Appends an entry to an input of [`of_entries`]; a mark or footer is none.
pub(super) fn push_entry(entries: &mut Vec<u8>, kind: u8, partition: u8, payload: &[u8]) {
    if let Some(kind) = ENTRY_KINDS.iter().position(|known| *known == kind) {
        entries.extend_from_slice(&[kind as u8, partition]);
        entries.extend_from_slice(&(payload.len() as u16).to_le_bytes());
        entries.extend_from_slice(payload);
    }
}

/// The segment that is meant by entries in a row, each of them `kind u8 (its place in [`ENTRY_KINDS`]),
/// partition u8, length u16` and a payload, to the end at most.
pub(super) fn of_entries(bytes: &[u8]) -> Vec<u8> {
    let mut file = segment_header(1, &[0; DESCRIPTION_BYTES]);
    let mut rest = bytes;
    let mut index = 0_u64;
    while let Some(([kind, partition, l0, l1], behind)) = rest.split_first_chunk::<4>() {
        let len = usize::from(u16::from_le_bytes([*l0, *l1])).min(behind.len());
        let (payload, behind) = behind.split_at(len);
        index += 1;
        let mut header = [0; FRAME_HEADER_BYTES];
        let frame_len = (FRAME_HEADER_BYTES + len) as u32;
        header[..4].copy_from_slice(&frame_len.to_le_bytes());
        header[8..16].copy_from_slice(&index.to_le_bytes());
        header[32] = 1;
        header[36] = *partition;
        header[40] = ENTRY_KINDS[usize::from(*kind) % ENTRY_KINDS.len()];
        header[42] = 1;
        file.extend_from_slice(&header);
        file.extend_from_slice(payload);
        file.resize(file.len().next_multiple_of(8), 0);
        rest = behind;
    }
    repair_frames(1, &mut file);
    file
}

/// The header of segment `number` after this `previous index u64, durable u64, previous term u32`.
fn segment_header(number: u64, description: &[u8]) -> Vec<u8> {
    let previous_index = description
        .first_chunk()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let mut header = vec![0; SEGMENT_HEADER_BYTES];
    header[..8].copy_from_slice(b"HWSEG1\0\0");
    header[8] = 1;
    header[16..32].copy_from_slice(&LOG_UUID);
    header[32..40].copy_from_slice(&number.to_le_bytes());
    header[40..48].copy_from_slice(&previous_index.wrapping_add(1).to_le_bytes());
    header[48..64].copy_from_slice(&description[..16]);
    header[96..100].copy_from_slice(&description[16..DESCRIPTION_BYTES]);
    let crc = crc32c::crc32c(&header[..SEGMENT_HEADER_BYTES - 4]);
    header[SEGMENT_HEADER_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
    header
}

/// Puts the checksum of each frame right, and those of the batches in them, up to the first length that
/// cannot be.
fn repair_frames(segment: u64, file: &mut [u8]) {
    let mut position = SEGMENT_HEADER_BYTES;
    while let Some(len) = file.get(position..).and_then(<[u8]>::first_chunk::<4>) {
        let len = u32::from_le_bytes(*len) as usize;
        let frame = file
            .get_mut(position..)
            .and_then(|rest| rest.get_mut(..len));
        let Some((header, payload)) =
            frame.and_then(|frame| frame.split_at_mut_checked(FRAME_HEADER_BYTES))
        else {
            return;
        };
        if header[41] & FLAG_BROKEN == 0 {
            repair_frame(segment, position, header, payload);
        }
        position += len.next_multiple_of(8);
    }
}

fn repair_frame(segment: u64, position: usize, header: &mut [u8], payload: &mut [u8]) {
    let is_batch = header[40] == Kind::Records as u8;
    if let Some(repaired) = records::repaired(payload).filter(|_| is_batch) {
        payload.copy_from_slice(&repaired);
    }
    // The batch's own checksum covers the rest.
    let covered = if is_batch {
        payload.len().min(21)
    } else {
        payload.len()
    };
    let mut crc = crc32c::crc32c(&LOG_UUID);
    let (segment, position) = (segment.to_le_bytes(), (position as u64).to_le_bytes());
    for part in [
        &segment,
        &position,
        &header[..4],
        &header[8..],
        &payload[..covered],
    ] {
        crc = crc32c::crc32c_append(crc, part);
    }
    header[4..8].copy_from_slice(&crc.to_le_bytes());
}
