//! A folder's format file.

use std::io::IoSlice;

use super::Target;
use crate::log::format::{self, FormatError};
use crate::log::storage::Storage;
use crate::log::storage::memory::MemoryStorage;

pub(super) const FOLDER_FORMAT: Target = Target {
    name: "folder_format",
    run: |bytes| {
        check_format(bytes);
        if let Some(repaired) = repaired(bytes) {
            check_format(&repaired);
        }
    },
    seeds: || vec![format_of([0x5A; 16]), format_of([0; 16])],
};

fn check_format(bytes: &[u8]) {
    let storage = MemoryStorage::new();
    let file = storage.create("format").expect("the storage is empty");
    file.write_at(&[IoSlice::new(bytes)], 0)
        .expect("it is short");
    match format::read(&storage, ".") {
        // There is one way to write a format down.
        Ok(found) => assert_eq!(bytes, format_of(found.log_uuid)),
        Err(FormatError::TooNew { found, .. }) => assert!(found > format::FOLDER_VERSION),
        Err(FormatError::Damaged { .. }) => {}
        Err(error) => panic!("neither too new nor damaged: {error}"),
    }
}

fn format_of(log_uuid: [u8; 16]) -> Vec<u8> {
    let storage = MemoryStorage::new();
    format::read_or_create(&storage, ".", || Ok(log_uuid)).expect("the storage is empty");
    let file = storage.open("format", true).expect("it was just made");
    let mut bytes = vec![0; file.length().expect("in memory") as usize];
    file.read_at(&mut bytes, 0).expect("in memory");
    bytes
}

/// The same bytes with the last line's checksum put right.
fn repaired(bytes: &[u8]) -> Option<Vec<u8>> {
    let text = str::from_utf8(bytes).ok()?;
    let checked = &text[..=text.trim_end_matches('\n').rfind('\n')?];
    let crc = crc32c::crc32c(checked.as_bytes());
    Some(format!("{checked}crc32c {crc:08x}\n").into_bytes())
}
