//! What a faulty storage holds, and every operation on it, under its lock.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::ops::Range;

use super::super::image::{Image, end_of};
use super::inode::{BegunSync, Inode};
use super::names::Names;
use super::{Action, Operation};

/// Contents that are gone from the files and may still lie on the disk: this many are remembered.
const STALE_MAX: usize = 16;

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) names: Names,
    pub(super) files: BTreeMap<u64, Inode>,
    pub(super) operations: Vec<Operation>,
    pub(super) faults: Faults,
    /// What was there, and durable, before the first operation.
    pub(super) base: Base,
    pub(super) last_write: Option<LastWrite>,
    /// Oldest first.
    pub(super) stale: Vec<Stale>,
    pub(super) waiting_syncs: usize,
}

/// What a file held once, by the name it had then.
#[derive(Clone, Debug)]
pub(super) struct Stale {
    pub(super) path: String,
    pub(super) image: Image,
}

/// Durable names, and the length of each file.
#[derive(Clone, Debug, Default)]
pub(super) struct Base {
    pub(super) names: Names,
    pub(super) lengths: BTreeMap<u64, u64>,
}

#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) at: BTreeMap<u64, ErrorKind>,
    pub(super) is_next_sync_failing: bool,
    /// Of a failed sync some sectors are written, by this seed; none without.
    pub(super) torn_syncs: Option<u64>,
    pub(super) reads: Vec<ReadFault>,
    pub(super) evict_at: Option<u64>,
    pub(super) power_off_at: Option<u64>,
    pub(super) space_bytes: Option<u64>,
    pub(super) are_syncs_paused: bool,
}

/// Reads of these bytes of a file fail.
#[derive(Debug)]
pub(super) struct ReadFault {
    pub(super) path: String,
    pub(super) positions: Range<u64>,
    pub(super) kind: ErrorKind,
}

/// The last write and what it wrote over, until it is synced or the file's length changes.
#[derive(Clone, Debug)]
pub(super) struct LastWrite {
    pub(super) file: u64,
    pub(super) position: u64,
    pub(super) length: usize,
    pub(super) before: Image,
}

impl State {
    pub(super) fn now(&self) -> u64 {
        self.operations.len() as u64
    }

    pub(super) fn check_power(&self) -> io::Result<()> {
        match self.faults.power_off_at {
            Some(off_at) if self.now() >= off_at => Err(io::Error::other("the power is off")),
            _ => Ok(()),
        }
    }

    pub(super) fn evict(&mut self) -> io::Result<()> {
        self.files.values_mut().try_for_each(Inode::evict)
    }

    /// All of it but the faults.
    pub(super) fn fork(&self) -> Self {
        Self {
            names: self.names.clone(),
            files: self.files.clone(),
            operations: self.operations.clone(),
            faults: Faults::default(),
            base: self.base.clone(),
            last_write: self.last_write.clone(),
            stale: self.stale.clone(),
            waiting_syncs: 0,
        }
    }

    /// The file of a handle: inodes are never removed while the storage lives.
    pub(super) fn inode(&mut self, file: u64) -> &mut Inode {
        self.files.entry(file).or_default()
    }

    /// Runs one operation on names, unless it is to fail, and records it.
    pub(super) fn run(
        &mut self,
        action: Action,
        path: &str,
        operation: impl FnOnce(&mut Self) -> io::Result<()>,
    ) -> io::Result<()> {
        self.check_power()?;
        let file = self.names.live.file(path).copied().unwrap_or_default();
        let result = self.fault().and_then(|()| operation(self));
        self.record(action, path, file, &result);
        result
    }

    pub(super) fn create(&mut self, path: &str) -> io::Result<u64> {
        self.check_power()?;
        let file = self.files.len() as u64 + 1;
        let result = self.fault().and_then(|()| self.names.create(path, file));
        if result.is_ok() {
            self.files.insert(file, Inode::default());
        }
        self.record(Action::Create, path, file, &result);
        result.map(|()| file)
    }

    pub(super) fn write(
        &mut self,
        file: u64,
        path: &str,
        bytes: &[u8],
        position: u64,
    ) -> io::Result<()> {
        self.check_power()?;
        let mut result = self.fault();
        let mut count = if result.is_ok() {
            bytes.len()
        } else {
            bytes.len() / 2
        };
        let end = end_of(position, bytes.len())?;
        let most = self.length_max(file);
        if end > most && result.is_ok() {
            count = usize::try_from(most.saturating_sub(position)).unwrap_or(count);
            result = Err(ErrorKind::StorageFull.into());
        }
        let before = self.inode(file).live.clone();
        self.inode(file).write(&bytes[..count], position)?;
        self.last_write = Some(LastWrite {
            file,
            position,
            length: count,
            before,
        });
        let length = count as u64;
        self.record(Action::Write { position, length }, path, file, &result);
        result
    }

    pub(super) fn preallocate(
        &mut self,
        file: u64,
        path: &str,
        end_position: u64,
    ) -> io::Result<()> {
        self.check_power()?;
        let length = end_position.max(self.inode(file).live.length());
        self.set_length(Action::Preallocate { end_position }, file, path, length)
    }

    pub(super) fn truncate(&mut self, file: u64, path: &str, length: u64) -> io::Result<()> {
        self.check_power()?;
        self.set_length(Action::Truncate { length }, file, path, length)
    }

    fn set_length(&mut self, action: Action, file: u64, path: &str, length: u64) -> io::Result<()> {
        let most = self.length_max(file);
        let result = self.fault().and_then(|()| {
            let before = self.inode(file).live.clone();
            if length < before.length() {
                self.remember(path, before);
            }
            let inode = self.inode(file);
            if length > most && length > inode.live.length() {
                return Err(ErrorKind::StorageFull.into());
            }
            inode.set_length(length)
        });
        self.last_write.take_if(|last| last.file == file);
        self.record(action, path, file, &result);
        result
    }

    pub(super) fn unlink(&mut self, path: &str) -> io::Result<()> {
        self.run(Action::Unlink, path, |state| {
            if let Ok(&file) = state.names.live.file(path) {
                let image = state.inode(file).live.clone();
                state.remember(path, image);
            }
            state.names.unlink(path)
        })
    }

    pub(super) fn read(
        &mut self,
        file: u64,
        path: &str,
        buffer: &mut [u8],
        position: u64,
    ) -> io::Result<()> {
        self.check_power()?;
        let end = end_of(position, buffer.len())?;
        let is_hit = |fault: &&ReadFault| {
            fault.path == path && position < fault.positions.end && fault.positions.start < end
        };
        if let Some(fault) = self.faults.reads.iter().find(is_hit) {
            return Err(io::Error::new(fault.kind, "failed by the test"));
        }
        self.inode(file).live.read_at(buffer, position)
    }

    /// When a sync begins, and what it will make durable.
    pub(super) fn begin_sync(&mut self, file: u64) -> io::Result<(u64, BegunSync)> {
        self.check_power()?;
        Ok((self.now(), self.inode(file).begin_sync()))
    }

    pub(super) fn end_sync(
        &mut self,
        file: u64,
        path: &str,
        (began_at, begun): (u64, BegunSync),
    ) -> io::Result<()> {
        self.check_power()?;
        let mut result = self.fault();
        if std::mem::take(&mut self.faults.is_next_sync_failing) {
            result = Err(io::Error::other("sync failed by the test"));
        }
        self.last_write.take_if(|last| last.file == file);
        if result.is_ok() {
            self.inode(file).finish_sync(&begun)?;
        } else {
            let written = self.faults.torn_syncs;
            self.inode(file).fail_sync(&begun, written)?;
        }
        self.record(Action::Sync, path, file, &result);
        if let Some(last) = self.operations.last_mut() {
            last.began_at = began_at;
        }
        result
    }

    /// Keeps what a file held: its blocks may turn up in another.
    pub(super) fn remember(&mut self, path: &str, image: Image) {
        let path = path.to_owned();
        if self.stale.len() == STALE_MAX {
            self.stale.remove(0);
        }
        self.stale.push(Stale { path, image });
    }

    /// Bytes that all files together may still grow by.
    pub(super) fn free_bytes(&self) -> Option<u64> {
        let space = self.faults.space_bytes?;
        Some(space.saturating_sub(self.used_bytes(None)))
    }

    /// The fault set for the operation that runs now.
    fn fault(&mut self) -> io::Result<()> {
        let now = self.now();
        if self.faults.evict_at.take_if(|at| *at == now).is_some() {
            self.evict()?;
        }
        match self.faults.at.remove(&now) {
            Some(kind) => Err(io::Error::new(kind, "failed by the test")),
            None => Ok(()),
        }
    }

    /// How long this file may become.
    fn length_max(&self, file: u64) -> u64 {
        let space = self.faults.space_bytes;
        space.map_or(u64::MAX, |space| {
            space.saturating_sub(self.used_bytes(Some(file)))
        })
    }

    fn used_bytes(&self, except: Option<u64>) -> u64 {
        let files = self.names.live.files().map(|(_, &file)| file);
        let others = files.filter(|file| Some(*file) != except);
        let inodes = others.filter_map(|file| self.files.get(&file));
        inodes.map(|inode| inode.live.length()).sum()
    }

    fn record(&mut self, action: Action, path: &str, file: u64, result: &io::Result<()>) {
        self.operations.push(Operation {
            action,
            path: path.to_owned(),
            file,
            began_at: self.now(),
            error: result.as_ref().err().map(io::Error::kind),
        });
    }
}
