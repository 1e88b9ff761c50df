//! Stands in for parts of the log that are being built; removed when they are there.

use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, ErrorCode, Result};
use crate::ids::PartitionId;
use crate::log::Kind;
use crate::log::storage::Storage;

#[derive(Debug)]
pub(super) struct FolderLock;

impl FolderLock {
    pub(super) fn acquire(_: &Path) -> Result<Self> {
        Err(not_yet())
    }
}

pub(super) struct Folder {
    pub(super) log_uuid: [u8; 16],
}

pub(super) fn read_or_create(_: &dyn Storage) -> Result<Folder> {
    Ok(Folder { log_uuid: [0; 16] })
}

pub(super) fn new_uuid() -> [u8; 16] {
    [0; 16]
}

pub(super) struct SetPart {
    pub(super) kind: Kind,
    pub(super) partition: PartitionId,
    pub(super) payload: Vec<u8>,
}

pub(super) fn encode_set(parts: &[SetPart]) -> Vec<u8> {
    parts
        .iter()
        .flat_map(|part| [part.kind.number(), part.partition.0 as u8, part.payload[0]])
        .collect()
}

pub(super) fn disk_storage(_: &Path, _: bool) -> Result<Arc<dyn Storage>> {
    Err(not_yet())
}

pub(super) fn memory_storage() -> Result<Arc<dyn Storage>> {
    Err(not_yet())
}

fn not_yet() -> Error {
    Error::new(ErrorCode::UnsupportedFeature, "not built yet")
}
