//! Sockets between processes of one machine and one user.
//!
//! A listener's socket lies in a folder that only the user can enter; names are short, because systems end
//! socket paths at about a hundred bytes. The Windows half says that there are none.

use std::io;
use std::path::{Path, PathBuf};

pub use system::{Listener, Stream};

/// Bytes of a socket's path that every system takes: 104 with a zero at the end on the shortest.
pub const SOCKET_PATH_BYTES_MAX: usize = 103;

impl Listener {
    /// Listens on a new socket at `path`, which no other user may connect to. A socket that is left there is
    /// replaced.
    ///
    /// # Errors
    /// When the path is too long, or taken by what is no socket, or by one on which somebody listens; else the
    /// operating system's.
    pub fn bind(path: &Path) -> io::Result<Self> {
        check_length(path)?;
        system::bind(path, true)
    }

    /// The same for a name that is this process' own by a lock: whoever listens there is a forked child of one that
    /// is dead, and accepts nothing.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub(super) fn bind_own(path: &Path) -> io::Result<Self> {
        check_length(path)?;
        system::bind(path, false)
    }
}

impl Stream {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    /// When the path is too long; else the operating system's: `NotFound`, `ConnectionRefused` when nobody listens.
    pub async fn connect(path: &Path) -> io::Result<Self> {
        check_length(path)?;
        system::connect(path).await
    }
}

/// Where a socket of this name can lie: the user's own folder for such things, or one below the folder for
/// temporary files, made now.
///
/// # Errors
/// When there is none that is the user's alone and whose path is short enough.
pub(super) fn place(name: &str) -> io::Result<PathBuf> {
    let mut refused = io::Error::from(io::ErrorKind::NotFound);
    for folder in system::folders() {
        let path = folder.join(name);
        let made = check_length(&path).and_then(|()| system::make_private(&folder));
        match made {
            Ok(()) => return Ok(path),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

fn check_length(path: &Path) -> io::Result<()> {
    let found = path.as_os_str().len();
    if found <= SOCKET_PATH_BYTES_MAX {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        format!(
            "the path of the socket {} has {found} bytes; systems take at most {SOCKET_PATH_BYTES_MAX}",
            path.display()
        ),
    ))
}

#[cfg(unix)]
mod system {
    use std::env;
    use std::fs::{self, DirBuilder, Permissions};
    use std::io;
    use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
    use std::os::unix::net;
    use std::path::{Path, PathBuf};

    use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
    use tokio::net::{UnixListener, UnixStream};

    use crate::server::quiet::Quiet;

    /// A socket that accepts connections.
    #[derive(Debug)]
    pub struct Listener(UnixListener);

    /// A connection.
    #[derive(Debug)]
    pub struct Stream(UnixStream);

    impl Listener {
        /// The next connection.
        ///
        /// # Errors
        /// The operating system's, such as too many open files.
        pub async fn accept(&self) -> io::Result<Stream> {
            let (stream, _) = self.0.accept().await?;
            Ok(Stream(stream))
        }
    }

    impl Stream {
        /// The same on the runtime of the thread that calls this: it may have been accepted on another.
        ///
        /// # Errors
        /// The operating system's.
        pub fn moved_here(self) -> io::Result<Self> {
            UnixStream::from_std(self.0.into_std()?).map(Self)
        }

        /// Its two directions.
        #[must_use]
        pub fn into_split(self) -> (OwnedReadHalf, Quiet<OwnedWriteHalf>) {
            let (reader, writer) = self.0.into_split();
            (reader, Quiet::new(writer))
        }
    }

    /// To be called on a runtime.
    pub(super) fn bind(path: &Path, may_be_anothers: bool) -> io::Result<Listener> {
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(io::Error::new(
                    io::ErrorKind::AlreadyExists,
                    format!("{} is there and no socket", path.display()),
                ));
            }
            Ok(_) if may_be_anothers && is_in_use(path) => {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            Ok(_) => fs::remove_file(path)?,
            Err(_) => {}
        }
        let listener = net::UnixListener::bind(path)?;
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        UnixListener::from_std(listener).map(Listener)
    }

    /// Whether somebody listens there: only a refusal says that nobody does.
    fn is_in_use(path: &Path) -> bool {
        let refused = io::ErrorKind::ConnectionRefused;
        net::UnixStream::connect(path).map_or_else(|error| error.kind() != refused, |_| true)
    }

    pub(super) async fn connect(path: &Path) -> io::Result<Stream> {
        UnixStream::connect(path).await.map(Stream)
    }

    pub(super) fn folders() -> Vec<PathBuf> {
        let own = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let own = own.filter(|folder| folder.is_absolute());
        let user = rustix::process::getuid().as_raw();
        let name = format!("headwater-{user}");
        let temporary = [env::temp_dir(), PathBuf::from("/tmp")];
        let temporary = temporary.map(|folder| folder.join(&name));
        own.map(|folder| folder.join("headwater"))
            .into_iter()
            .chain(temporary)
            .collect()
    }

    /// Makes the folder if it is missing. It must be the user's, and nobody else's to enter: others may have
    /// made one of that name before.
    pub(super) fn make_private(folder: &Path) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let found = fs::symlink_metadata(folder)?;
        let is_ours = found.uid() == rustix::process::getuid().as_raw();
        if found.is_dir() && is_ours && found.mode() & 0o077 == 0 {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("{} is not this user's alone", folder.display()),
        ))
    }
}

/// Tokio has no sockets of this kind there.
#[cfg(windows)]
mod system {
    use std::io;
    use std::path::{Path, PathBuf};

    use tokio::io::{DuplexStream, ReadHalf, WriteHalf};

    /// A socket that accepts connections.
    #[derive(Debug)]
    pub struct Listener(std::convert::Infallible);

    /// A connection.
    #[derive(Debug)]
    pub struct Stream(std::convert::Infallible);

    impl Listener {
        /// The next connection.
        ///
        /// # Errors
        /// None: there is no listener.
        pub async fn accept(&self) -> io::Result<Stream> {
            match self.0 {}
        }
    }

    impl Stream {
        /// The same on the runtime of the thread that calls this: it may have been accepted on another.
        ///
        /// # Errors
        /// None: there is no stream.
        pub fn moved_here(self) -> io::Result<Self> {
            match self.0 {}
        }

        /// Its two directions.
        #[must_use]
        pub fn into_split(self) -> (ReadHalf<DuplexStream>, WriteHalf<DuplexStream>) {
            match self.0 {}
        }
    }

    pub(super) fn bind(_path: &Path, _may_be_anothers: bool) -> io::Result<Listener> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) async fn connect(_path: &Path) -> io::Result<Stream> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn folders() -> Vec<PathBuf> {
        Vec::new()
    }

    pub(super) fn make_private(_folder: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_path_that_is_too_long_is_refused_with_its_length() {
        let path = Path::new("/").join("x".repeat(SOCKET_PATH_BYTES_MAX));
        let error = check_length(&path).unwrap_err();
        assert!(error.to_string().contains("104 bytes"), "{error}");
        let path = Path::new("/").join("x".repeat(SOCKET_PATH_BYTES_MAX - 1));
        check_length(&path).unwrap();
    }

    #[test]
    fn a_folder_that_others_can_enter_is_not_used() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("headwater");
        system::make_private(&folder).unwrap();
        system::make_private(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        let error = system::make_private(&folder).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        let link = parent.path().join("link");
        std::os::unix::fs::symlink(parent.path(), &link).unwrap();
        system::make_private(&link).unwrap_err();
    }

    #[tokio::test]
    async fn a_socket_that_is_left_is_replaced_and_one_in_use_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        drop(Listener::bind(&path).unwrap());
        let listener = Listener::bind(&path).unwrap();
        let error = Listener::bind(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        let (near, far) = tokio::join!(Stream::connect(&path), listener.accept());
        drop((near.unwrap(), far.unwrap()));
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let file = folder.path().join("file");
        fs::write(&file, "kept").unwrap();
        let error = Listener::bind(&file).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&file).unwrap(), b"kept");
    }
}
