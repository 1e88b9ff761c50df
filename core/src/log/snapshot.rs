//! A snapshot: the derived state exactly as of a segment's first index, in a file beside it.
//!
//! ```text
//!  0 magic u8[8] "HWSNAP1\0"   8 format u16   10 reserved u16   12 incompatible u32   16 log uuid u8[16]
//! 32 segment no u64   40 index u64 (the last entry before the segment)   48 term u32   52 reserved u32
//! 56 pairs u64   64 bytes of the whole file u64
//! 72 pairs: key length u32, value length u32, key, value; rising by key
//!    crc u32 (CRC-32C of everything before)
//! ```
//!
//! All integers are little-endian. A snapshot is written under another name, synced and renamed, and only
//! once the log is synced up to its index: it never speaks of what a power cut can take. The truth is the
//! newest valid snapshot and the log from there; two are kept.

use std::io::{self, ErrorKind, IoSlice};

use crate::limits::SNAPSHOT_BYTES_MAX;

use super::pair::StatePair;
use super::storage::Storage;

/// The format of snapshots that this version reads and writes.
const SNAPSHOT_FORMAT: u16 = 1;
/// Snapshots that are kept.
const KEPT: usize = 2;

const MAGIC_BYTES: [u8; 8] = *b"HWSNAP1\0";
const HEADER_BYTES: usize = 72;
const CRC_BYTES: usize = 4;
const NAME_DIGITS: usize = 20;
const SUFFIX: &str = ".snap";
const PARTIAL_SUFFIX: &str = ".snap.tmp";

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) log_uuid: [u8; 16],
    /// The segment with whose first index it begins.
    pub(crate) segment: u64,
    /// The last entry before it.
    pub(crate) index: u64,
    /// The term then.
    pub(crate) term: u32,
    /// The state, every pair with a value.
    pub(crate) pairs: Vec<StatePair>,
}

impl Snapshot {
    /// The bytes of its file.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut pairs: Vec<_> = self.pairs.iter().collect();
        pairs.sort_unstable();
        let mut out = vec![0; HEADER_BYTES];
        for pair in &pairs {
            let value = pair.value.as_deref().unwrap_or_default();
            out.extend_from_slice(&(pair.key.len() as u32).to_le_bytes());
            out.extend_from_slice(&(value.len() as u32).to_le_bytes());
            out.extend_from_slice(&pair.key);
            out.extend_from_slice(value);
        }
        let length = (out.len() + CRC_BYTES) as u64;
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend_from_slice(&MAGIC_BYTES);
        header.extend_from_slice(&SNAPSHOT_FORMAT.to_le_bytes());
        header.extend_from_slice(&[0; 6]);
        header.extend_from_slice(&self.log_uuid);
        header.extend_from_slice(&self.segment.to_le_bytes());
        header.extend_from_slice(&self.index.to_le_bytes());
        header.extend_from_slice(&self.term.to_le_bytes());
        header.extend_from_slice(&[0; 4]);
        header.extend_from_slice(&(pairs.len() as u64).to_le_bytes());
        header.extend_from_slice(&length.to_le_bytes());
        out.splice(..HEADER_BYTES, header);
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// The snapshot that `bytes` are, whole; `None` if they are none that this version can read.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (content, crc) = bytes.split_at_checked(bytes.len().checked_sub(CRC_BYTES)?)?;
        let (header, mut rest) = content.split_at_checked(HEADER_BYTES)?;
        let is_known = take(header, 0)? == MAGIC_BYTES
            && u16::from_le_bytes(take(header, 8)?) == SNAPSHOT_FORMAT
            && u32::from_le_bytes(take(header, 12)?) == 0
            && u64::from_le_bytes(take(header, 64)?) == bytes.len() as u64;
        if !is_known || crc32c::crc32c(content) != u32::from_le_bytes(take(crc, 0)?) {
            return None;
        }
        let mut pairs = Vec::new();
        while !rest.is_empty() {
            let key_bytes = u32::from_le_bytes(take(rest, 0)?) as usize;
            let value_bytes = u32::from_le_bytes(take(rest, 4)?) as usize;
            let (key, behind) = rest.get(8..)?.split_at_checked(key_bytes)?;
            let (value, behind) = behind.split_at_checked(value_bytes)?;
            pairs.push(StatePair {
                key: key.to_vec(),
                value: Some(value.to_vec()),
            });
            rest = behind;
        }
        let is_whole = u64::from_le_bytes(take(header, 56)?) == pairs.len() as u64;
        is_whole.then_some(Self {
            log_uuid: take(header, 16)?,
            segment: u64::from_le_bytes(take(header, 32)?),
            index: u64::from_le_bytes(take(header, 40)?),
            term: u32::from_le_bytes(take(header, 48)?),
            pairs,
        })
    }

    /// Writes it, durably, and removes those that are no longer needed. Says how many bytes it has.
    ///
    /// # Errors
    /// The storage's. Then the snapshots there were are there still.
    pub(super) fn write(&self, storage: &dyn Storage, dir: &str) -> io::Result<u64> {
        let bytes = self.encode();
        if bytes.len() as u64 > SNAPSHOT_BYTES_MAX {
            let text = format!("{} bytes are too many for a snapshot", bytes.len());
            return Err(io::Error::other(text));
        }
        remove_partial(storage, dir)?;
        let partial = format!("{dir}/{:0NAME_DIGITS$}{PARTIAL_SUFFIX}", self.segment);
        let written = storage.create(&partial).and_then(|file| {
            file.write_at(&[IoSlice::new(&bytes)], 0)?;
            file.sync()
        });
        if let Err(error) = written {
            // What is left of it is in nobody's way, but on a full disk.
            drop(remove_partial(storage, dir));
            return Err(error);
        }
        storage.rename(&partial, &path(dir, self.segment))?;
        storage.sync_dir(dir)?;
        let segments = list(storage, dir)?;
        let spare = segments.len().saturating_sub(KEPT);
        for segment in segments.iter().take(spare) {
            storage.unlink(&path(dir, *segment))?;
        }
        Ok(bytes.len() as u64)
    }
}

/// The snapshot of a segment; `None` if there is none that is whole and of this log.
///
/// # Errors
/// The storage's.
pub(super) fn read(
    storage: &dyn Storage,
    dir: &str,
    log_uuid: &[u8; 16],
    segment: u64,
) -> io::Result<Option<Snapshot>> {
    let path = path(dir, segment);
    let file = storage.open(&path, true)?;
    // A file that is longer than any snapshot is none, and is not read.
    let length = Some(file.length()?).filter(|length| *length <= SNAPSHOT_BYTES_MAX);
    let mut bytes = vec![0; length.map_or(0, |length| length as usize)];
    file.read_at(&mut bytes, 0)?;
    let snapshot = Snapshot::decode(&bytes)
        .filter(|found| found.log_uuid == *log_uuid && found.segment == segment);
    if snapshot.is_none() {
        tracing::warn!(%path, "the snapshot cannot be read and is not used");
    }
    Ok(snapshot)
}

/// The segments that have a snapshot, in order.
///
/// # Errors
/// The storage's.
pub(super) fn list(storage: &dyn Storage, dir: &str) -> io::Result<Vec<u64>> {
    let names = match storage.list(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        listed => listed?,
    };
    let mut segments: Vec<_> = names.iter().filter_map(|name| segment_of(name)).collect();
    segments.sort_unstable();
    Ok(segments)
}

/// Bytes of the snapshot of a segment; 0 if there is none.
///
/// # Errors
/// The storage's.
pub(super) fn size(storage: &dyn Storage, dir: &str, segment: u64) -> io::Result<u64> {
    match storage.open(&path(dir, segment), true) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
        opened => opened?.length(),
    }
}

/// The segment whose snapshot has this name, if it is one.
pub(super) fn segment_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    let is_number = digits.len() == NAME_DIGITS && digits.bytes().all(|it| it.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
}

fn path(dir: &str, segment: u64) -> String {
    format!("{dir}/{segment:0NAME_DIGITS$}{SUFFIX}")
}

/// Removes what attempts that came to no end have left.
fn remove_partial(storage: &dyn Storage, dir: &str) -> io::Result<()> {
    let names = storage.list(dir)?;
    let partial = names.iter().filter(|name| name.ends_with(PARTIAL_SUFFIX));
    for name in partial {
        storage.unlink(&format!("{dir}/{name}"))?;
    }
    Ok(())
}

fn take<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>().copied()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::log::storage::faulty::{CrashMode, FaultyStorage};

    const DIR: &str = "0000";
    const LOG_UUID: [u8; 16] = [4; 16];

    /// Header, then the pairs in order of their keys, then the checksum.
    const GOLDEN: [&str; 5] = [
        "4857534e415031000100000000000000040404040404040404040404040404040900000000000000",
        "2800000000000000030000000000000002000000000000006100000000000000",
        "010000000000000061",
        "01000000030000006274776f",
        "0586cd46",
    ];

    fn sample(segment: u64) -> Snapshot {
        let pair = |at: u8| StatePair {
            key: vec![b'k', at],
            value: Some(vec![at; usize::from(at)]),
        };
        Snapshot {
            log_uuid: LOG_UUID,
            segment,
            index: 40,
            term: 3,
            pairs: (0..9).map(pair).collect(),
        }
    }

    fn storage() -> FaultyStorage {
        let storage = FaultyStorage::new();
        storage.create_dir(DIR).unwrap();
        storage.sync_dir("").unwrap();
        storage
    }

    proptest! {
        #[test]
        fn snapshot_comes_back_from_its_bytes(
            pairs in prop::collection::btree_map(
                prop::collection::vec(any::<u8>(), 0..20),
                prop::collection::vec(any::<u8>(), 0..90),
                0..20,
            ),
        ) {
            let pairs = pairs.into_iter().map(|(key, value)| StatePair {
                key,
                value: Some(value),
            });
            let snapshot = Snapshot { pairs: pairs.collect(), ..sample(1) };
            prop_assert_eq!(Snapshot::decode(&snapshot.encode()), Some(snapshot));
        }

        #[test]
        fn any_bytes_are_a_snapshot_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(Snapshot::decode(&bytes), None);
        }
    }

    #[test]
    fn snapshot_with_any_byte_changed_or_cut_off_is_none() {
        let bytes = sample(1).encode();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            assert_eq!(Snapshot::decode(&changed), None, "byte {at}");
            assert_eq!(Snapshot::decode(&bytes[..at]), None, "{at} bytes");
        }
    }

    #[test]
    fn snapshot_has_the_bytes_of_the_format() {
        let pair = |key: &[u8], value: &[u8]| StatePair {
            key: key.to_vec(),
            value: Some(value.to_vec()),
        };
        let snapshot = Snapshot {
            pairs: vec![pair(b"b", b"two"), pair(b"a", b"")],
            ..sample(9)
        };
        let bytes: String = snapshot
            .encode()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(bytes, GOLDEN.concat());
    }

    #[test]
    fn the_newest_two_are_kept() {
        let storage = storage();
        for segment in [3, 5, 9] {
            sample(segment).write(&storage, DIR).unwrap();
        }
        assert_eq!(list(&storage, DIR).unwrap(), [5, 9]);
        let image = storage.crash_image(CrashMode::OnlySynced);
        let found = read(&image, DIR, &LOG_UUID, 9).unwrap();
        assert_eq!(found, Some(sample(9)));
        assert_eq!(read(&image, DIR, &[5; 16], 9).unwrap(), None);
    }

    #[test]
    fn what_an_attempt_left_goes_with_the_next_and_a_file_too_long_is_none() {
        let storage = storage();
        for name in ["00000000000000000007.snap.tmp", "00000000000000000008.snap"] {
            storage.create(&format!("{DIR}/{name}")).unwrap();
        }
        let long = storage.open(&path(DIR, 8), false).unwrap();
        long.truncate(SNAPSHOT_BYTES_MAX + 1).unwrap();
        assert_eq!(read(&storage, DIR, &LOG_UUID, 8).unwrap(), None);
        sample(9).write(&storage, DIR).unwrap();
        let names = storage.list(DIR).unwrap();
        assert!(
            names.iter().all(|name| !name.ends_with(".tmp")),
            "{names:?}"
        );
    }

    #[test]
    fn cut_while_one_is_written_leaves_the_ones_before() {
        let storage = storage();
        sample(3).write(&storage, DIR).unwrap();
        let first = storage.now();
        sample(5).write(&storage, DIR).unwrap();
        for operation in first..storage.now() {
            let storage = self::storage();
            sample(3).write(&storage, DIR).unwrap();
            storage.power_off_at(operation);
            drop(sample(5).write(&storage, DIR));
            for mode in [
                CrashMode::OnlySynced,
                CrashMode::AllWritten,
                CrashMode::SubsetOfSectors(operation),
            ] {
                let image = storage.crash_image(mode);
                let found = list(&image, DIR).unwrap();
                assert!(found.contains(&3), "{operation} {mode:?}: {found:?}");
                for segment in found {
                    let found = read(&image, DIR, &LOG_UUID, segment).unwrap();
                    assert_eq!(found, Some(sample(segment)), "{operation} {mode:?}");
                }
                // And the next attempt is not in the way of what is left.
                sample(5).write(&image, DIR).unwrap();
            }
        }
    }
}
