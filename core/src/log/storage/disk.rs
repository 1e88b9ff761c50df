//! Real files, below one folder.
//!
//! Only this file and the folder lock touch `std::fs`. Writes go by `pwritev`, so that frames are written
//! from where they lie; calls that a signal interrupts are made again, short writes go on where they
//! ended. The Windows half is the simplest that is right on paper: it has not been run.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::PathError;
use super::{Storage, StorageFile, path};

/// A folder of real files.
#[derive(Debug)]
pub struct DiskStorage {
    // Absolute: the process may change its working folder later.
    root: PathBuf,
}

impl DiskStorage {
    /// Opens the folder `root`; with `create`, creates it and its parents if it is not there, and makes
    /// its name durable.
    ///
    /// # Errors
    /// `NotFound` if it is not there and `create` is false, `NotADirectory` if it is a file; else the
    /// operating system's.
    pub fn open(root: &Path, create: bool) -> io::Result<Self> {
        let wrap = |error| PathError::wrap("open folder", &root.display().to_string(), error);
        let root = std::path::absolute(root).map_err(wrap)?;
        match fs::metadata(&root) {
            // Who made it may have been killed before its name was durable.
            Ok(found) if found.is_dir() && create => root.parent().map_or(Ok(()), sync_parent),
            Ok(found) if found.is_dir() => Ok(()),
            Ok(_) => Err(ErrorKind::NotADirectory.into()),
            Err(error) if error.kind() == ErrorKind::NotFound && create => create_durably(&root),
            Err(error) => Err(error),
        }
        .map_err(wrap)?;
        Ok(Self { root })
    }

    /// The folder, as an absolute path.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn with_path<T>(
        &self,
        operation: &'static str,
        path: &str,
        action: impl FnOnce(&Path) -> io::Result<T>,
    ) -> io::Result<T> {
        // Joining an empty path would leave a slash behind a root that is a link.
        let whole = if path.is_empty() {
            self.root.clone()
        } else {
            self.root.join(path)
        };
        path::check(path)
            .and_then(|()| action(&whole))
            .map_err(|error| PathError::wrap(operation, &whole.display().to_string(), error))
    }
}

impl Storage for DiskStorage {
    fn create_dir(&self, path: &str) -> io::Result<()> {
        self.with_path("create folder", path, |whole| fs::create_dir_all(whole))
    }

    fn create(&self, path: &str) -> io::Result<Arc<dyn StorageFile>> {
        self.with_path("create", path, |whole| {
            let mut options = OpenOptions::new();
            let file = options
                .read(true)
                .write(true)
                .create_new(true)
                .open(whole)?;
            Ok(DiskFile::handle(whole, file, false))
        })
    }

    fn open(&self, path: &str, is_read_only: bool) -> io::Result<Arc<dyn StorageFile>> {
        self.with_path("open", path, |whole| {
            let mut options = OpenOptions::new();
            let file = options.read(true).write(!is_read_only).open(whole)?;
            if file.metadata()?.is_dir() {
                return Err(ErrorKind::IsADirectory.into());
            }
            Ok(DiskFile::handle(whole, file, is_read_only))
        })
    }

    /// Names that are not Unicode are left out: none of ours is among them.
    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.with_path("list", path, |whole| {
            let mut names = Vec::new();
            for entry in fs::read_dir(whole)? {
                names.extend(entry?.file_name().into_string().ok());
            }
            names.sort_unstable();
            Ok(names)
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.with_path("rename", from, |whole| {
            path::check(to)?;
            fs::rename(whole, self.root.join(to))
        })
    }

    fn unlink(&self, path: &str) -> io::Result<()> {
        self.with_path("remove", path, |whole| fs::remove_file(whole))
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        self.with_path("sync", path, system::sync_dir)
    }

    fn is_durable(&self) -> bool {
        true
    }

    /// On Linux's file systems that write in place. Apple's copies what it writes over.
    fn gains_by_zeros(&self) -> bool {
        cfg!(any(target_os = "linux", target_os = "android"))
    }

    fn free_bytes(&self) -> Option<u64> {
        system::free_bytes(&self.root)
    }
}

#[derive(Debug)]
struct DiskFile {
    path: PathBuf,
    file: File,
    is_read_only: bool,
}

impl DiskFile {
    fn handle(path: &Path, file: File, is_read_only: bool) -> Arc<dyn StorageFile> {
        Arc::new(Self {
            path: path.to_owned(),
            file,
            is_read_only,
        })
    }

    fn with_file<T>(
        &self,
        operation: &'static str,
        action: impl FnOnce(&File) -> io::Result<T>,
    ) -> io::Result<T> {
        action(&self.file)
            .map_err(|error| PathError::wrap(operation, &self.path.display().to_string(), error))
    }

    // The systems answer a change through a handle for reading in several ways: give one.
    fn change(
        &self,
        operation: &'static str,
        action: impl FnOnce(&File) -> io::Result<()>,
    ) -> io::Result<()> {
        self.with_file(operation, |file| {
            if self.is_read_only {
                return Err(ErrorKind::PermissionDenied.into());
            }
            action(file)
        })
    }
}

impl StorageFile for DiskFile {
    fn length(&self) -> io::Result<u64> {
        self.with_file("measure", |file| Ok(file.metadata()?.len()))
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        self.with_file("read", |file| system::read_at(file, buffer, position))
    }

    fn will_read(&self, position: u64, count: u64) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        system::will_read(&self.file, position, count);
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let _ = (position, count);
    }

    fn write_at(&self, buffers: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        self.change("write", |file| {
            write_all(buffers, position, |buffers, position| {
                system::write_some(file, buffers, position)
            })
        })
    }

    fn sync(&self) -> io::Result<()> {
        // fdatasync, or what the system has for it (F_FULLFSYNC on Apple's).
        self.with_file("sync", File::sync_data)
    }

    fn preallocate(&self, end_position: u64) -> io::Result<()> {
        self.change("preallocate", |file| {
            let length = file.metadata()?.len();
            if length >= end_position {
                return Ok(());
            }
            system::preallocate(file, length, end_position)
        })
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.change("truncate", |file| file.set_len(length))
    }
}

/// Creates a folder and its missing parents, and makes their names durable.
fn create_durably(root: &Path) -> io::Result<()> {
    let missing: Vec<_> = root
        .ancestors()
        .take_while(|folder| !folder.exists())
        .collect();
    fs::create_dir_all(root)?;
    missing
        .into_iter()
        .filter_map(Path::parent)
        .try_for_each(sync_parent)
}

fn sync_parent(parent: &Path) -> io::Result<()> {
    match system::sync_dir(parent) {
        // A folder that we may pass through but not read: there is no way to sync it.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        result => result,
    }
}

/// Writes all buffers by calls that may write less: at a signal, at a quota, or because the system takes
/// only so many buffers at once.
fn write_all(
    buffers: &[IoSlice<'_>],
    position: u64,
    mut write_some: impl FnMut(&[IoSlice<'_>], u64) -> io::Result<usize>,
) -> io::Result<()> {
    let total: u64 = buffers.iter().map(|buffer| buffer.len() as u64).sum();
    let end = position
        .checked_add(total)
        .filter(|end| i64::try_from(*end).is_ok());
    let end = end.ok_or(ErrorKind::InvalidInput)?;
    if total == 0 {
        return Ok(());
    }
    let mut written = retried(|| write_some(buffers, position))?;
    // The buffers are copied (not their bytes) only once a call has written less than all.
    let mut copied = Vec::new();
    if (written as u64) < total {
        copied.extend_from_slice(buffers);
    }
    let mut rest: &mut [IoSlice<'_>] = &mut copied;
    let mut position = position + written as u64;
    while position < end {
        IoSlice::advance_slices(&mut rest, written);
        written = retried(|| write_some(rest, position))?;
        position += written as u64;
    }
    Ok(())
}

/// Calls until no signal interrupts; a call that wrote nothing is an error.
fn retried(mut write: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match write() {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(unix)]
mod system {
    use std::fs::File;
    use std::io::{self, ErrorKind, IoSlice};
    use std::os::unix::fs::FileExt;
    use std::path::Path;

    use rustix::fs::FallocateFlags;
    use rustix::io::Errno;

    pub(super) fn sync_dir(path: &Path) -> io::Result<()> {
        let folder = File::open(path)?;
        if !folder.metadata()?.is_dir() {
            return Err(ErrorKind::NotADirectory.into());
        }
        folder.sync_all()
    }

    pub(super) fn read_at(file: &File, buffer: &mut [u8], position: u64) -> io::Result<()> {
        file.read_exact_at(buffer, position)
    }

    /// What goes wrong here is told by the read.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(super) fn will_read(file: &File, position: u64, count: u64) {
        let count = std::num::NonZeroU64::new(count);
        let _ = rustix::fs::fadvise(file, position, count, rustix::fs::Advice::WillNeed);
    }

    pub(super) fn write_some(
        file: &File,
        buffers: &[IoSlice<'_>],
        position: u64,
    ) -> io::Result<usize> {
        // Passes on at most as many buffers as the system takes.
        Ok(rustix::io::pwritev(file, buffers, position)?)
    }

    /// What this process may use, without the part that is kept for root.
    pub(super) fn free_bytes(folder: &Path) -> Option<u64> {
        let found = rustix::io::retry_on_intr(|| rustix::fs::statvfs(folder)).ok()?;
        Some(found.f_bavail.saturating_mul(found.f_frsize))
    }

    pub(super) fn preallocate(file: &File, length: u64, end_position: u64) -> io::Result<()> {
        let space = end_position - length;
        let allocate = || rustix::fs::fallocate(file, FallocateFlags::empty(), length, space);
        match rustix::io::retry_on_intr(allocate) {
            // The file system reserves nothing: the length alone is what it can do.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => file.set_len(end_position),
            result => Ok(result?),
        }
    }
}

#[cfg(windows)]
mod system {
    use std::fs::{self, File};
    use std::io::{self, ErrorKind, IoSlice};
    use std::os::windows::fs::FileExt;
    use std::path::Path;

    /// NTFS journals names by itself and offers no way to wait for it.
    pub(super) fn sync_dir(path: &Path) -> io::Result<()> {
        if fs::metadata(path)?.is_dir() {
            Ok(())
        } else {
            Err(ErrorKind::NotADirectory.into())
        }
    }

    pub(super) fn read_at(file: &File, mut buffer: &mut [u8], mut position: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            match file.seek_read(buffer, position) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    buffer = &mut buffer[count..];
                    position += count as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub(super) fn write_some(
        file: &File,
        buffers: &[IoSlice<'_>],
        position: u64,
    ) -> io::Result<usize> {
        match buffers.iter().find(|buffer| !buffer.is_empty()) {
            Some(buffer) => file.seek_write(buffer, position),
            None => Ok(0),
        }
    }

    /// The standard library has no call for it.
    pub(super) fn free_bytes(_folder: &Path) -> Option<u64> {
        None
    }

    pub(super) fn preallocate(file: &File, _length: u64, end_position: u64) -> io::Result<()> {
        file.set_len(end_position)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// Runs `write_all` over a file that takes these counts of bytes, an error for `None`.
    fn written_by(counts: &[Option<usize>], buffers: &[&[u8]]) -> io::Result<Vec<u8>> {
        let mut counts: VecDeque<_> = counts.iter().copied().collect();
        let slices: Vec<_> = buffers.iter().map(|buffer| IoSlice::new(buffer)).collect();
        let mut file = Vec::new();
        write_all(&slices, 10, |buffers, position| {
            assert_eq!(position, 10 + file.len() as u64);
            let bytes: Vec<u8> = buffers.iter().flat_map(|buffer| buffer.to_vec()).collect();
            let count = match counts.pop_front() {
                Some(None) => return Err(ErrorKind::Interrupted.into()),
                Some(Some(count)) => count.min(bytes.len()),
                None => bytes.len(),
            };
            file.extend_from_slice(&bytes[..count]);
            Ok(count)
        })?;
        Ok(file)
    }

    #[test]
    fn short_and_interrupted_writes_go_on_where_they_ended() {
        let buffers: [&[u8]; 4] = [b"abc", b"", b"defg", b"h"];
        for counts in [
            &[][..],
            &[Some(1), Some(1), Some(1), None, Some(1), Some(3)],
            &[None, None, Some(3), Some(4)],
            &[Some(7), None],
        ] {
            assert_eq!(
                written_by(counts, &buffers).unwrap(),
                b"abcdefgh",
                "{counts:?}"
            );
        }
    }

    #[test]
    fn a_file_that_takes_nothing_more_is_an_error() {
        let error = written_by(&[Some(2), Some(0)], &[b"abc"]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WriteZero);
    }

    #[test]
    fn opening_creates_the_folder_and_its_parents_only_if_asked() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("a/b");
        let missing = DiskStorage::open(&root, false).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        assert!(missing.to_string().contains("a/b"), "{missing}");
        assert!(!folder.path().join("a").exists());
        DiskStorage::open(&root, true).unwrap();
        DiskStorage::open(&root, true).unwrap();
        DiskStorage::open(&root, false).unwrap();
    }

    #[test]
    fn a_file_in_place_of_the_folder_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, b"mine").unwrap();
        for root in [file.clone(), file.join("below")] {
            let error = DiskStorage::open(&root, true).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotADirectory, "{error}");
        }
        assert_eq!(fs::read(&file).unwrap(), b"mine");
    }

    #[test]
    fn errors_keep_the_systems_number() {
        let folder = tempfile::tempdir().unwrap();
        let storage = DiskStorage::open(folder.path(), false).unwrap();
        let error = storage.open("none", false).unwrap_err();
        assert_eq!(PathError::of(&error).unwrap().raw_os_error(), Some(2));
    }

    #[test]
    fn free_space_is_told_and_is_not_that_of_a_folder_that_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let storage = DiskStorage::open(folder.path(), false).unwrap();
        let free = storage.free_bytes();
        assert_eq!(free.is_some(), cfg!(unix));
        fs::remove_dir(folder.path()).unwrap();
        assert_eq!(storage.free_bytes(), None);
    }

    #[test]
    fn preallocated_space_is_reserved() {
        let folder = tempfile::tempdir().unwrap();
        let storage = DiskStorage::open(folder.path(), false).unwrap();
        let file = storage.create("a").unwrap();
        file.preallocate(1 << 20).unwrap();
        assert_eq!(file.length().unwrap(), 1 << 20);
        #[cfg(target_os = "linux")]
        {
            use std::os::unix::fs::MetadataExt;
            let blocks = fs::metadata(folder.path().join("a")).unwrap().blocks();
            assert!(blocks * 512 >= 1 << 20, "{blocks} blocks");
        }
    }
}
