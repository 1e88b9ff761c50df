//! One process at a time owns a folder.
//!
//! The lock is a POSIX record lock on `DIR/LOCK` (`LockFileEx` on Windows, not run yet): it ends with the
//! process, however that ends, and a forked child does not get it. POSIX also drops it at *any* close of
//! that file by this process. So LOCK is opened at most once: a registry says which folders this process
//! holds, and is asked before LOCK is touched. It is keyed by the folder's device and inode, which stay
//! taken while the folder is held open here, and differ for no two paths of one folder.
//!
//! `DIR/OWNER` tells people and other processes who holds it, and how to reach them; it proves nothing.
//! Nothing here waits for a lock or takes one away.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process;

use crate::sync::Mutex;

use super::owner::{Access, Owner};
use super::storage::PathError;
use crate::error::{Error, ErrorCode};
use crate::fork::PerFork;
use crate::limits::{FORK_GENERATIONS_MAX, OWNER_BYTES_MAX};

/// What identifies a folder in this process: the same for every path that leads to it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FolderKey(system::Key);

/// The key of the folder `root`.
///
/// # Errors
/// `NotFound` if it is not there; else the operating system's.
pub fn folder_key(root: &Path) -> io::Result<FolderKey> {
    system::key(root)
        .map(FolderKey)
        .map_err(|error| wrap("look at", root, error))
}

/// Why a folder could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Someone holds it.
    #[error("{}", describe_holder(folder, *held_by, owner_version.as_deref()))]
    Held {
        /// The folder.
        folder: PathBuf,
        /// The process that holds it, if it could be told; may be this one.
        held_by: Option<u32>,
        /// The version of Headwater it runs, if it could be told.
        owner_version: Option<String>,
    },
    /// Locks and syncs cannot be relied on there.
    #[error(
        "the folder {} is on a network file system ({file_system}), which is not supported: \
         use a local disk",
        folder.display()
    )]
    NetworkFileSystem {
        /// The folder.
        folder: PathBuf,
        /// What the system calls it.
        file_system: &'static str,
    },
    /// The lock file cannot be used.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// This process is the child of too many forks.
    #[error(transparent)]
    Forked(#[from] Error),
}

impl LockError {
    /// The process that holds the folder, if that is the reason and it could be told.
    #[must_use]
    pub fn held_by(&self) -> Option<u32> {
        match self {
            Self::Held { held_by, .. } => *held_by,
            Self::NetworkFileSystem { .. } | Self::Io(_) | Self::Forked(_) => None,
        }
    }
}

impl From<LockError> for Error {
    fn from(error: LockError) -> Self {
        match &error {
            LockError::Held { .. } => Self::new(ErrorCode::FolderLocked, error.to_string()),
            LockError::NetworkFileSystem { .. } => {
                Self::new(ErrorCode::UnsupportedFeature, error.to_string())
            }
            LockError::Io(cause) => super::storage::error_of(cause),
            LockError::Forked(error) => error.clone(),
        }
    }
}

/// The lock of a folder, held until dropped.
#[derive(Debug)]
pub struct FolderLock {
    root: PathBuf,
    key: FolderKey,
    pid: u32,
    // `None` only within drop.
    lock: Option<File>,
    // Keeps the inode from being given to another folder.
    _folder: Option<File>,
}

/// The folders this process holds; a forked child holds none. Locked while LOCK of any folder is opened
/// or closed.
static HELD: PerFork<Mutex<Vec<FolderKey>>> =
    PerFork::new([const { Mutex::new(Vec::new()) }; FORK_GENERATIONS_MAX]);

impl FolderLock {
    /// Locks the folder `root`, which must be there, and says so in `OWNER`, with the access that others have.
    ///
    /// # Errors
    /// `Held` at once if this or another process holds it.
    pub fn acquire(root: &Path, access: Access) -> Result<Self, LockError> {
        let root = std::path::absolute(root)?;
        let pid = process::id();
        let mut held = HELD.current()?.lock();
        let folder = system::open_folder(&root).map_err(|error| wrap("open", &root, error))?;
        let key = folder_key(&root)?;
        if held.contains(&key) {
            return Err(LockError::Held {
                folder: root,
                held_by: Some(pid),
                owner_version: None,
            });
        }
        let lock = lock_file(&root)?;
        held.push(key.clone());
        drop(held);
        let locked = Self {
            root,
            key,
            pid,
            lock: Some(lock),
            _folder: folder,
        };
        if let Err(error) = locked.announce(access) {
            // A full disk must open all the same, or nobody could make room in the log.
            tracing::warn!(folder = %locked.root.display(), %error, "cannot say who owns the folder");
        }
        Ok(locked)
    }

    /// Says in `OWNER` what access others have from now on.
    ///
    /// # Errors
    /// The operating system's; then it says nothing, which is better than what it said before.
    pub fn announce(&self, access: Access) -> io::Result<()> {
        let owner = Owner::this_process(access);
        write_owner(&self.root, &owner).or_else(|_| {
            // A full disk may have room for one such file, and not for two.
            match fs::remove_file(self.root.join(OWNER)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            write_owner(&self.root, &owner)
        })
    }

    /// The key of the folder.
    #[must_use]
    pub fn key(&self) -> &FolderKey {
        &self.key
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        let lock = self.lock.take();
        if process::id() != self.pid {
            // A forked child may have locked the folder by another handle since: closing this one, which
            // it inherited, would drop that lock. It holds none by this.
            std::mem::forget(lock);
            return;
        }
        // Held by this process, so its registry is there.
        let Some(held) = HELD.get() else { return };
        let mut held = held.lock();
        // While the folder is still locked: afterwards it may be the next owner's.
        if let Err(error) = fs::remove_file(self.root.join(OWNER)) {
            tracing::debug!(folder = %self.root.display(), %error, "no OWNER to remove");
        }
        // Closing unlocks. Under the registry's lock, or it would take that of an acquire in between.
        drop(lock);
        held.retain(|key| *key != self.key);
    }
}

/// Who says to own the folder `root`; it may have ended without a word.
#[must_use]
pub fn read_owner(root: &Path) -> Option<Owner> {
    let mut text = String::new();
    let file = File::open(root.join(OWNER)).ok()?;
    file.take(OWNER_BYTES_MAX).read_to_string(&mut text).ok()?;
    Owner::parse(&text)
}

fn write_owner(root: &Path, owner: &Owner) -> io::Result<()> {
    let temporary = root.join(OWNER_TEMPORARY);
    // What a crash left, maybe readable for others.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = system::create_private(&temporary)?;
    file.write_all(owner.print().as_bytes())?;
    drop(file);
    fs::rename(temporary, root.join(OWNER))
}

/// Opens LOCK and locks it. Called with the registry locked, and only if this process does not hold it:
/// whatever is closed here takes no lock along.
fn lock_file(root: &Path) -> Result<File, LockError> {
    let path = root.join(LOCK);
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(false);
    let file = options
        .open(&path)
        .map_err(|error| wrap("open", &path, error))?;
    if let Some(file_system) = system::network_file_system(&file) {
        return Err(LockError::NetworkFileSystem {
            folder: root.to_owned(),
            file_system,
        });
    }
    let mut held_by = None;
    for _ in 0..LOCK_ATTEMPTS {
        if system::try_lock(&file).map_err(|error| wrap("lock", &path, error))? {
            return Ok(file);
        }
        held_by = system::holder(&file);
        if held_by.is_some() {
            break;
        }
        // It was let go between the two calls, or the system does not tell.
    }
    let owner = read_owner(root);
    let held_by = held_by.or_else(|| owner.as_ref().map(|owner| owner.pid));
    // What OWNER says of another process was left behind by one that was killed.
    let owner = owner.filter(|owner| Some(owner.pid) == held_by);
    Err(LockError::Held {
        folder: root.to_owned(),
        held_by,
        owner_version: owner.map(|owner| owner.version),
    })
}

fn describe_holder(folder: &Path, held_by: Option<u32>, owner_version: Option<&str>) -> String {
    let folder = folder.display();
    match (held_by, owner_version) {
        (Some(pid), _) if pid == process::id() => {
            format!("the folder {folder} is already open in this process")
        }
        (Some(pid), Some(version)) => {
            format!("the folder {folder} is in use by process {pid} (headwater {version})")
        }
        (Some(pid), None) => format!("the folder {folder} is in use by process {pid}"),
        (None, _) => format!("the folder {folder} is in use by another process"),
    }
}

fn wrap(operation: &'static str, path: &Path, error: io::Error) -> io::Error {
    PathError::wrap(operation, &path.display().to_string(), error)
}

#[cfg(unix)]
mod system {
    use std::fs::{self, File, OpenOptions};
    use std::io;
    use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
    use std::path::Path;

    use rustix::fs::FlockOperation;
    use rustix::io::Errno;
    use rustix::process::{Flock, FlockType};

    /// Device and inode.
    pub(super) type Key = (u64, u64);

    pub(super) fn key(root: &Path) -> io::Result<Key> {
        let found = fs::metadata(root)?;
        Ok((found.dev(), found.ino()))
    }

    pub(super) fn open_folder(root: &Path) -> io::Result<Option<File>> {
        File::open(root).map(Some)
    }

    /// A new file that other users cannot read.
    pub(super) fn create_private(path: &Path) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600).open(path)
    }

    pub(super) fn try_lock(file: &File) -> io::Result<bool> {
        let lock = || rustix::fs::fcntl_lock(file, FlockOperation::NonBlockingLockExclusive);
        match rustix::io::retry_on_intr(lock) {
            Ok(()) => Ok(true),
            // POSIX lets a system answer either.
            Err(Errno::AGAIN | Errno::ACCESS) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The process whose lock is in the way: the system's own word.
    pub(super) fn holder(file: &File) -> Option<u32> {
        let found = rustix::process::fcntl_getlk(file, &Flock::from(FlockType::WriteLock));
        let pid = found.ok()??.pid?.as_raw_nonzero().get();
        // Negative for a lock that no process here holds.
        u32::try_from(pid).ok()
    }

    #[cfg(target_os = "linux")]
    pub(super) fn network_file_system(file: &File) -> Option<&'static str> {
        let found = rustix::fs::fstatfs(file).ok()?;
        network_name(found.f_type.try_into().ok()?)
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn network_file_system(_file: &File) -> Option<&'static str> {
        None
    }

    /// The magic numbers of statfs(2).
    #[cfg(any(target_os = "linux", test))]
    pub(super) fn network_name(magic: u64) -> Option<&'static str> {
        match magic & 0xFFFF_FFFF {
            0x6969 => Some("NFS"),
            0xFF53_4D42 => Some("CIFS"),
            0xFE53_4D42 => Some("SMB"),
            0x517B => Some("SMB 1"),
            0x5346_414F => Some("AFS"),
            0x00C3_6400 => Some("Ceph"),
            _ => None,
        }
    }
}

/// Not run yet. The standard library tells no file's number there, so the resolved path must do.
#[cfg(windows)]
mod system {
    use std::fs::{self, File, TryLockError};
    use std::io;
    use std::path::{Path, PathBuf};

    pub(super) type Key = PathBuf;

    pub(super) fn key(root: &Path) -> io::Result<Key> {
        fs::canonicalize(root)
    }

    pub(super) fn open_folder(_root: &Path) -> io::Result<Option<File>> {
        Ok(None)
    }

    pub(super) fn create_private(path: &Path) -> io::Result<File> {
        File::create_new(path)
    }

    pub(super) fn try_lock(file: &File) -> io::Result<bool> {
        match file.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    pub(super) fn holder(_file: &File) -> Option<u32> {
        None
    }

    pub(super) fn network_file_system(_file: &File) -> Option<&'static str> {
        None
    }
}

/// Whether the system kills an app that holds a lock while it is suspended, as phones do.
pub const KILLS_SUSPENDED_HOLDERS: bool = cfg!(any(target_os = "ios", target_os = "android"));

const LOCK: &str = "LOCK";
const OWNER: &str = "OWNER";
const OWNER_TEMPORARY: &str = "OWNER.tmp";
const LOCK_ATTEMPTS: usize = 3;

#[cfg(test)]
mod tests;
