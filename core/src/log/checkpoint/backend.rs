//! The database's way to our storage.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::StorageBackend;

use crate::log::storage::StorageFile;

/// What a database's writes go through, so that one whose log was dropped writes no more: it would as it is
/// closed, by whoever lets go of it last, while another may have it open.
#[derive(Debug, Default)]
pub(in crate::log) struct Gate(AtomicBool);

impl Gate {
    /// From here on every write fails.
    pub(in crate::log) fn shut(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn pass(&self) -> io::Result<()> {
        if self.0.load(Ordering::Acquire) {
            return Err(io::Error::other("the log was dropped"));
        }
        Ok(())
    }
}

/// The database's view of our storage: each of its writes and syncs is one of ours.
#[derive(Debug)]
pub(super) struct Backend {
    file: Arc<dyn StorageFile>,
    gate: Arc<Gate>,
}

impl Backend {
    pub(super) fn new(file: Arc<dyn StorageFile>, gate: Arc<Gate>) -> Self {
        Self { file, gate }
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.gate.pass()?;
        self.file.truncate(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.gate.pass()?;
        self.file.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.gate.pass()?;
        self.file.write_at(&[io::IoSlice::new(data)], offset)
    }
}
