//! A storage some of whose syncs do nothing: the bug of a log that does not call them.

use std::io;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::log::segment;
use crate::log::storage::StorageFile;

/// Which syncs do nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dropped {
    /// Of the segment that is written to.
    Active,
    /// Of a segment that is full, before the next one counts.
    Sealed,
    /// Of the folder, after a segment was created.
    Folder,
    /// Of the last segment, while opening.
    ActiveWhileOpening,
    /// Of the segments before it, while opening.
    SealedWhileOpening,
    /// Of the folder, while opening.
    FolderWhileOpening,
    /// Of a snapshot, before it gets its name.
    Snapshot,
    /// Of the folder that the log's folder lies in.
    Parent,
}

#[derive(Debug)]
pub(super) struct Dropping {
    storage: FaultyStorage,
    dropped: Option<Dropped>,
    is_log_open: AtomicBool,
}

#[derive(Debug)]
struct DroppingFile {
    file: Arc<dyn StorageFile>,
    name: String,
    door: Arc<Dropping>,
}

/// The storage as it is handed to the log: files keep a handle of the same.
#[derive(Debug)]
struct Door(Arc<Dropping>);

impl Dropping {
    pub(super) fn around(storage: &FaultyStorage, dropped: Option<Dropped>) -> Arc<Self> {
        Arc::new(Self {
            storage: storage.clone(),
            dropped,
            is_log_open: AtomicBool::new(false),
        })
    }

    pub(super) fn door(self: &Arc<Self>) -> Arc<dyn Storage> {
        match self.dropped {
            Some(_) => Arc::new(Door(Arc::clone(self))),
            None => Arc::new(self.storage.clone()),
        }
    }

    /// From here on the log is no longer opening.
    pub(super) fn log_is_open(&self) {
        self.is_log_open.store(true, Ordering::SeqCst);
    }

    fn drops(&self, running: Dropped, opening: Dropped) -> bool {
        let kind = if self.is_log_open.load(Ordering::SeqCst) {
            running
        } else {
            opening
        };
        self.dropped == Some(kind)
    }

    fn drops_file(&self, name: &str) -> bool {
        if name.ends_with(".snap.tmp") {
            return self.dropped == Some(Dropped::Snapshot);
        }
        if segment::number_of(name).is_none() {
            return false;
        }
        let names = self.storage.list(DIR).unwrap_or_default();
        let segments = names
            .iter()
            .filter(|name| segment::number_of(name).is_some());
        let last = segments.max();
        if last.is_some_and(|last| *last == name) {
            self.drops(Dropped::Active, Dropped::ActiveWhileOpening)
        } else {
            self.drops(Dropped::Sealed, Dropped::SealedWhileOpening)
        }
    }

    fn drops_folder(&self, path: &str) -> bool {
        if path == DIR {
            self.drops(Dropped::Folder, Dropped::FolderWhileOpening)
        } else {
            self.dropped == Some(Dropped::Parent)
        }
    }
}

impl Door {
    fn file(&self, path: &str, file: Arc<dyn StorageFile>) -> Arc<dyn StorageFile> {
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        Arc::new(DroppingFile {
            file,
            name,
            door: Arc::clone(&self.0),
        })
    }
}

impl Storage for Door {
    fn create_dir(&self, path: &str) -> io::Result<()> {
        self.0.storage.create_dir(path)
    }

    fn create(&self, path: &str) -> io::Result<Arc<dyn StorageFile>> {
        Ok(self.file(path, self.0.storage.create(path)?))
    }

    fn open(&self, path: &str, is_read_only: bool) -> io::Result<Arc<dyn StorageFile>> {
        Ok(self.file(path, self.0.storage.open(path, is_read_only)?))
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.0.storage.list(path)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.storage.rename(from, to)
    }

    fn unlink(&self, path: &str) -> io::Result<()> {
        self.0.storage.unlink(path)
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        if self.0.drops_folder(path) {
            return Ok(());
        }
        self.0.storage.sync_dir(path)
    }

    fn is_durable(&self) -> bool {
        true
    }
}

impl StorageFile for DroppingFile {
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        self.file.read_at(buffer, position)
    }

    fn write_at(&self, buffers: &[io::IoSlice<'_>], position: u64) -> io::Result<()> {
        self.file.write_at(buffers, position)
    }

    fn sync(&self) -> io::Result<()> {
        if self.door.drops_file(&self.name) {
            return Ok(());
        }
        self.file.sync()
    }

    fn preallocate(&self, end_position: u64) -> io::Result<()> {
        self.file.preallocate(end_position)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.file.truncate(length)
    }
}
