use std::env;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use super::*;
use crate::error::ErrorKind as Kind;

const CHILD_FOLDER: &str = "HEADWATER_TEST_LOCK_FOLDER";
const CHILD_TEST: &str = "log::lock::tests::child_process_of_the_other_tests";

/// This test binary again, trying to lock a folder; it holds the lock until it is let go.
struct OtherProcess {
    child: Child,
    /// `held`, or what the error said.
    answer: String,
}

impl OtherProcess {
    fn try_lock(folder: &Path) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", CHILD_TEST, "--nocapture"])
            .env(CHILD_FOLDER, folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let answer = lines
            .find_map(|line| {
                line.unwrap()
                    .split_once("answer: ")
                    .map(|(_, answer)| answer.to_owned())
            })
            .unwrap();
        // The rest of what it says must find a reader, or it could not end.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, answer }
    }

    fn let_go(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn child_process_of_the_other_tests() {
    let Some(folder) = env::var_os(CHILD_FOLDER) else {
        return;
    };
    let lock = FolderLock::acquire(Path::new(&folder), Access::Exclusive);
    match &lock {
        Ok(_) => println!("answer: held"),
        Err(error) => println!("answer: {error}"),
    }
    io::stdout().flush().unwrap();
    // Until the parent closes its end.
    io::stdin().read_line(&mut String::new()).unwrap();
    drop(lock);
}

#[test]
fn a_folder_held_by_another_process_is_refused_with_its_pid() {
    let folder = tempfile::tempdir().unwrap();
    let other = OtherProcess::try_lock(folder.path());
    assert_eq!(other.answer, "held");
    let refused = FolderLock::acquire(folder.path(), Access::Exclusive).unwrap_err();
    assert_eq!(refused.held_by(), Some(other.child.id()));
    let error = Error::from(refused);
    assert_eq!(
        (error.kind(), error.code()),
        (Kind::Locked, ErrorCode::FolderLocked)
    );
    assert!(
        error.message().contains(&other.child.id().to_string()),
        "{error}"
    );
    assert!(
        error.message().contains(env!("CARGO_PKG_VERSION")),
        "{error}"
    );
    other.let_go();
    FolderLock::acquire(folder.path(), Access::Exclusive).unwrap();
}

#[test]
fn a_killed_owner_leaves_no_lock_and_its_name_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let other = OtherProcess::try_lock(folder.path());
    let pid = other.child.id();
    other.kill();
    assert_eq!(read_owner(folder.path()).unwrap().pid, pid);
    let _lock = FolderLock::acquire(folder.path(), Access::Exclusive).unwrap();
    let owner = read_owner(folder.path()).unwrap();
    assert_eq!(owner.pid, process::id());
    assert_eq!(owner.version, env!("CARGO_PKG_VERSION"));
}

#[test]
fn a_second_acquire_in_this_process_is_refused_and_keeps_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let lock = FolderLock::acquire(folder.path(), Access::Exclusive).unwrap();
    // By another name of the same folder.
    let alias = folder.path().join(".");
    let refused = FolderLock::acquire(&alias, Access::Exclusive).unwrap_err();
    assert_eq!(refused.held_by(), Some(process::id()));
    assert!(
        refused.to_string().contains("already open in this process"),
        "{refused}"
    );
    assert_eq!(folder_key(&alias).unwrap(), *lock.key());
    // Had the second one opened LOCK, its close would have let go of the lock.
    let other = OtherProcess::try_lock(folder.path());
    assert!(
        other.answer.contains(&process::id().to_string()),
        "{}",
        other.answer
    );
    other.let_go();
    drop(lock);
    let other = OtherProcess::try_lock(folder.path());
    assert_eq!(other.answer, "held");
    other.let_go();
}

#[test]
fn dropping_the_lock_removes_the_owner_and_allows_another() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        let lock = FolderLock::acquire(folder.path(), Access::Exclusive).unwrap();
        assert!(read_owner(folder.path()).is_some());
        drop(lock);
        assert_eq!(read_owner(folder.path()), None);
    }
    let left: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(left, ["LOCK"]);
}

#[test]
fn two_folders_are_locked_apart() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = FolderLock::acquire(one.path(), Access::Exclusive).unwrap();
    let second = FolderLock::acquire(two.path(), Access::Exclusive).unwrap();
    assert_ne!(first.key(), second.key());
}

#[test]
fn of_many_threads_one_gets_the_lock() {
    let folder = tempfile::tempdir().unwrap();
    let locks: Vec<_> = std::thread::scope(|scope| {
        let acquire = || scope.spawn(|| FolderLock::acquire(folder.path(), Access::Exclusive));
        let threads: Vec<_> = std::iter::repeat_with(acquire).take(8).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(locks.iter().filter(|lock| lock.is_ok()).count(), 1);
}

#[test]
fn a_missing_folder_cannot_be_locked() {
    let folder = tempfile::tempdir().unwrap();
    let error = FolderLock::acquire(&folder.path().join("none"), Access::Exclusive).unwrap_err();
    assert!(matches!(&error, LockError::Io(cause) if cause.kind() == io::ErrorKind::NotFound));
    assert!(error.to_string().contains("none"), "{error}");
}

#[test]
fn an_owner_file_of_garbage_names_nobody() {
    let folder = tempfile::tempdir().unwrap();
    for garbage in [
        &b""[..],
        b"pid",
        b"pid x\nversion 1",
        b"\xFF\xFE",
        &[b'a'; 100_000],
    ] {
        fs::write(folder.path().join(OWNER), garbage).unwrap();
        assert_eq!(read_owner(folder.path()), None);
    }
}

#[cfg(unix)]
#[test]
fn network_file_systems_are_known_by_their_numbers() {
    assert_eq!(system::network_name(0x6969), Some("NFS"));
    // Some systems give it as a negative number.
    assert_eq!(system::network_name(0xFFFF_FFFF_FF53_4D42), Some("CIFS"));
    assert_eq!(system::network_name(0xEF53), None, "ext4");
}
