//! Files in memory, for `mem:` logs: gone with the last handle, never durable.
//!
//! Bytes are kept in chunks (`image`), so appending copies nothing that is there already. How much is
//! kept is the caller's to bound (segments are removed from the front); one file ends at
//! [`crate::limits::MEMORY_FILE_BYTES_MAX`].

use std::io::{self, ErrorKind};
use std::sync::Arc;

use crate::sync::{Mutex, RwLock};

use super::error::PathError;
use super::image::{Image, end_of};
use super::{Storage, StorageFile, path};

/// A folder of files in memory.
#[derive(Debug, Default)]
pub struct MemoryStorage {
    tree: Mutex<Tree>,
}

impl MemoryStorage {
    /// An empty folder.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn with_tree<T>(
        &self,
        operation: &'static str,
        path: &str,
        action: impl FnOnce(&mut Tree) -> io::Result<T>,
    ) -> io::Result<T> {
        path::check(path)
            .and_then(|()| action(&mut self.tree.lock()))
            .map_err(|error| PathError::wrap(operation, path, error))
    }
}

impl Storage for MemoryStorage {
    fn create_dir(&self, path: &str) -> io::Result<()> {
        self.with_tree("create folder", path, |tree| tree.create_dir(path))
    }

    fn create(&self, path: &str) -> io::Result<Arc<dyn StorageFile>> {
        self.with_tree("create", path, |tree| {
            let bytes = tree.create(path, Arc::default)?;
            Ok(MemoryFile::handle(path, bytes, false))
        })
    }

    fn open(&self, path: &str, is_read_only: bool) -> io::Result<Arc<dyn StorageFile>> {
        self.with_tree("open", path, |tree| {
            let bytes = Arc::clone(tree.file(path)?);
            Ok(MemoryFile::handle(path, bytes, is_read_only))
        })
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.with_tree("list", path, |tree| tree.list(path))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.with_tree("rename", from, |tree| {
            path::check(to)?;
            tree.rename(from, to)
        })
    }

    fn unlink(&self, path: &str) -> io::Result<()> {
        self.with_tree("remove", path, |tree| tree.unlink(path))
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        self.with_tree("sync", path, |tree| tree.check_dir(path))
    }

    fn is_durable(&self) -> bool {
        false
    }
}

type Shared = Arc<RwLock<Image>>;
type Tree = super::tree::Tree<Shared>;

#[derive(Debug)]
struct MemoryFile {
    path: String,
    bytes: Shared,
    is_read_only: bool,
}

impl MemoryFile {
    fn handle(path: &str, bytes: Shared, is_read_only: bool) -> Arc<dyn StorageFile> {
        Arc::new(Self {
            path: path.to_owned(),
            bytes,
            is_read_only,
        })
    }

    fn change(
        &self,
        operation: &'static str,
        action: impl FnOnce(&mut Image) -> io::Result<()>,
    ) -> io::Result<()> {
        let result = if self.is_read_only {
            Err(ErrorKind::PermissionDenied.into())
        } else {
            action(&mut self.bytes.write())
        };
        result.map_err(|error| PathError::wrap(operation, &self.path, error))
    }
}

impl StorageFile for MemoryFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.bytes.read().length())
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        let result = self.bytes.read().read_at(buffer, position);
        result.map_err(|error| PathError::wrap("read", &self.path, error))
    }

    fn write_at(&self, buffers: &[io::IoSlice<'_>], position: u64) -> io::Result<()> {
        self.change("write", |bytes| {
            let mut position = position;
            for buffer in buffers {
                bytes.write_at(buffer, position)?;
                position = end_of(position, buffer.len())?;
            }
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn preallocate(&self, end_position: u64) -> io::Result<()> {
        self.change("preallocate", |bytes| {
            bytes.set_length(end_position.max(bytes.length()))
        })
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.change("truncate", |bytes| bytes.set_length(length))
    }
}
