//! The broker's disk: the faulty storage, with syncs that take their time.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::log::storage::faulty::FaultyStorage;
use crate::log::storage::{Storage, StorageFile};
use crate::world::{self, simulated::World};

/// See the module.
#[derive(Clone)]
pub(super) struct Disk {
    pub(super) files: FaultyStorage,
    world: Arc<World>,
    /// A sync takes so long at most; one in 64 takes 50 times that.
    sync_us: u64,
}

impl Disk {
    pub(super) fn new(world: &Arc<World>, files: FaultyStorage, sync_us: u64) -> Self {
        Self {
            files,
            world: Arc::clone(world),
            sync_us,
        }
    }

    fn wait(&self) {
        let times = if self.world.below(64) == 0 { 50 } else { 1 };
        let us = self.world.below(self.sync_us * times + 1);
        if us > 0 {
            world::sleep(Duration::from_micros(us));
        }
    }

    fn handle(&self, file: Arc<dyn StorageFile>) -> Arc<dyn StorageFile> {
        Arc::new(File {
            disk: self.clone(),
            file,
        })
    }

    /// Whether it did what was asked is part of the trace.
    fn told<T>(&self, what: u64, result: io::Result<T>) -> io::Result<T> {
        self.world
            .mark(0xD15C_0000 | what << 1 | u64::from(result.is_ok()));
        result
    }
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.files.fmt(f)
    }
}

impl Storage for Disk {
    fn create_dir(&self, path: &str) -> io::Result<()> {
        self.files.create_dir(path)
    }

    fn create(&self, path: &str) -> io::Result<Arc<dyn StorageFile>> {
        let created = self.told(1, self.files.create(path));
        created.map(|file| self.handle(file))
    }

    fn open(&self, path: &str, is_read_only: bool) -> io::Result<Arc<dyn StorageFile>> {
        let opened = self.told(2, self.files.open(path, is_read_only));
        opened.map(|file| self.handle(file))
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.files.list(path)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.told(3, self.files.rename(from, to))
    }

    fn unlink(&self, path: &str) -> io::Result<()> {
        self.told(4, self.files.unlink(path))
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        self.wait();
        self.told(5, self.files.sync_dir(path))
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn free_bytes(&self) -> Option<u64> {
        self.files.free_bytes()
    }
}

#[derive(Debug)]
struct File {
    disk: Disk,
    file: Arc<dyn StorageFile>,
}

impl StorageFile for File {
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        self.disk.told(6, self.file.read_at(buffer, position))
    }

    fn write_at(&self, buffers: &[io::IoSlice<'_>], position: u64) -> io::Result<()> {
        self.disk.world.mark(position);
        self.disk.told(7, self.file.write_at(buffers, position))
    }

    fn sync(&self) -> io::Result<()> {
        // What is written meanwhile may be synced with it, or be left for the next.
        let is_late = self.disk.world.below(2) == 0;
        if !is_late {
            self.disk.wait();
        }
        let synced = self.disk.told(8, self.file.sync());
        if is_late {
            self.disk.wait();
        }
        synced
    }

    fn preallocate(&self, end_position: u64) -> io::Result<()> {
        self.disk.told(9, self.file.preallocate(end_position))
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.disk.told(10, self.file.truncate(length))
    }
}
