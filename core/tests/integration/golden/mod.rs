//! Golden files: bytes that are promised to other languages, to other versions, to a disk.
//!
//! Each `NAME.bin` has a `NAME.json` that says what it means: numbers as numbers (below 2^53),
//! names and header keys as strings, other bytes as hexadecimal. Both are made from a fixed
//! description here and compared byte for byte with what is checked in; only compressed bytes are
//! [`kept`], because another version of a library may make others, and must read these. A layout
//! that changes on purpose is written anew with `HEADWATER_BLESS=1`, and is a new version of the
//! format.

mod batch;
mod block;
mod folder;
mod rows;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use headwater::record::{Batch, BatchBuilder, BatchHeader, Header, HeadersRef, RecordRef, varint};
use serde_json::{Value, json};

/// One folder of golden files.
struct Folder {
    path: PathBuf,
    names: BTreeSet<String>,
}

impl Folder {
    fn new(name: &str) -> Self {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
        Self {
            path: PathBuf::from(root).join(name),
            names: BTreeSet::new(),
        }
    }

    /// Compares `NAME.bin` and `NAME.json`, or writes them.
    fn check(&mut self, name: &str, bytes: &[u8], meaning: &Value) {
        let mut text = ascii(&serde_json::to_string_pretty(meaning).expect("it is JSON"));
        text.push('\n');
        self.file(format!("{name}.bin"), bytes);
        self.file(format!("{name}.json"), text.as_bytes());
    }

    /// Fails on a file that no description made, so that none is left behind by a renaming.
    fn finish(self) {
        let found: BTreeSet<_> = fs::read_dir(&self.path)
            .expect("the folder of golden files")
            .map(|entry| {
                entry
                    .expect("its entries")
                    .file_name()
                    .into_string()
                    .expect("ASCII")
            })
            .collect();
        assert_eq!(found, self.names, "files in {}", self.path.display());
    }

    fn file(&mut self, name: String, expected: &[u8]) {
        let path = self.path.join(&name);
        if is_blessing() {
            fs::create_dir_all(&self.path).expect("the folder of golden files");
            fs::write(&path, expected).expect("a golden file");
        }
        let found = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let differs = found
            .iter()
            .zip(expected)
            .position(|(found, made)| found != made);
        assert!(
            found == expected,
            "{} has {} bytes, {} were made; they differ from byte {} on",
            path.display(),
            found.len(),
            expected.len(),
            differs.unwrap_or_else(|| found.len().min(expected.len())),
        );
        self.names.insert(name);
    }
}

fn is_blessing() -> bool {
    std::env::var_os("HEADWATER_BLESS").is_some_and(|value| value == "1")
}

/// The bytes of `FOLDER/NAME.bin` as they are checked in, made anew only if there are none or all
/// are.
fn kept(folder: &str, name: &str, make: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
    let path = Folder::new(folder).path.join(format!("{name}.bin"));
    match fs::read(path) {
        Ok(bytes) if !is_blessing() => bytes,
        _ => make(),
    }
}

/// The bytes of `FOLDER/NAME.bin`, which another program made.
fn kept_only(folder: &str, name: &str) -> Vec<u8> {
    let path = Folder::new(folder).path.join(format!("{name}.bin"));
    fs::read(path).expect("it is checked in")
}

/// A record of a description.
#[derive(Debug, Clone, Copy, Default)]
struct Made<'a> {
    timestamp_ms: i64,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    headers: &'a [Header<'a>],
}

impl<'a> Made<'a> {
    const fn new(timestamp_ms: i64, key: Option<&'a [u8]>, value: Option<&'a [u8]>) -> Self {
        Self {
            timestamp_ms,
            key,
            value,
            headers: &[],
        }
    }

    fn as_ref(&self) -> RecordRef<'a> {
        RecordRef {
            timestamp_ms: self.timestamp_ms,
            key: self.key,
            value: self.value,
            headers: HeadersRef::Slice(self.headers),
        }
    }
}

/// A batch of a producer without an id, stamped.
fn batch_at(base_offset: i64, leader_epoch: i32, records: &[Made<'_>]) -> Vec<u8> {
    let mut bytes = batch_from(records, -1, -1, -1);
    headwater::record::batch::stamp(&mut bytes, base_offset, leader_epoch);
    bytes
}

fn batch_from(records: &[Made<'_>], id: i64, epoch: i16, sequence: i32) -> Vec<u8> {
    let mut builder = BatchBuilder::new(1_024);
    for record in records {
        builder.push(&record.as_ref()).expect("a small record");
    }
    builder
        .finish(id, epoch, sequence)
        .expect("there are records")
}

/// What compaction leaves of a batch: the records whose offset deltas are given, at these deltas.
fn compacted(bytes: &[u8], kept: &[i32]) -> Vec<u8> {
    let before = Batch::verified(bytes.to_vec().into()).expect("a batch");
    let mut records = Vec::new();
    for record in before.records().map(|record| record.expect("intact")) {
        let delta = (record.offset - before.base_offset()) as i32;
        if !kept.contains(&delta) {
            continue;
        }
        let mut body = vec![0];
        varint::put_i64(
            &mut body,
            record.timestamp_ms - before.header().base_timestamp_ms,
        );
        varint::put_i32(&mut body, delta);
        for field in [record.key, record.value] {
            varint::put_i32(&mut body, field.map_or(-1, |field| field.len() as i32));
            body.extend_from_slice(field.unwrap_or_default());
        }
        body.push(0);
        varint::put_i32(&mut records, body.len() as i32);
        records.extend_from_slice(&body);
    }
    let header = BatchHeader {
        batch_length: (headwater::record::batch::HEADER_BYTES - 12 + records.len()) as i32,
        record_count: kept.len() as i32,
        ..*before.header()
    };
    let mut bytes = header.encode().to_vec();
    bytes.extend_from_slice(&records);
    checksum(&mut bytes);
    bytes
}

/// Puts the checksum of a batch right.
fn checksum(bytes: &mut [u8]) {
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
}

fn headers_json<'a>(headers: impl Iterator<Item = Header<'a>>) -> Value {
    headers
        .map(|header| json!([header.key, hex_or_null(header.value)]))
        .collect()
}

fn hex_or_null(bytes: Option<&[u8]>) -> Value {
    bytes.map_or(Value::Null, |bytes| Value::String(hex(bytes)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}

/// JSON's own escapes for everything beyond ASCII.
fn ascii(json: &str) -> String {
    let mut text = String::new();
    for c in json.chars() {
        if c.is_ascii() {
            text.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            write!(text, "\\u{unit:04x}").expect("a string takes everything");
        }
    }
    text
}
