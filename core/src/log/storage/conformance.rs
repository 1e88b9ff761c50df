//! What every storage must do, run over each of them.

use std::io::{ErrorKind, IoSlice};
use std::sync::Arc;

use super::disk::DiskStorage;
use super::faulty::FaultyStorage;
use super::memory::MemoryStorage;
use super::{PathError, Storage, StorageFile};

macro_rules! conformance {
    ($($test:ident),* $(,)?) => {
        mod disk {
            $(#[test] fn $test() {
                let folder = tempfile::tempdir().unwrap();
                super::$test(&super::DiskStorage::open(folder.path(), false).unwrap());
            })*
        }
        mod memory {
            $(#[test] fn $test() { super::$test(&super::MemoryStorage::new()); })*
        }
        mod faulty {
            $(#[test] fn $test() { super::$test(&super::FaultyStorage::new()); })*
        }
    };
}

conformance! {
    written_bytes_read_back_through_another_handle,
    many_buffers_are_written_as_one,
    a_gap_reads_as_zero,
    a_read_beyond_the_end_is_unexpected_eof,
    preallocation_extends_with_zeroes_and_never_shortens,
    truncation_cuts_and_extends_with_zeroes,
    create_refuses_a_name_that_is_taken,
    a_missing_file_or_folder_is_not_found,
    a_file_is_no_folder_and_a_folder_no_file,
    create_dir_makes_parents_and_may_be_repeated,
    list_gives_sorted_names_of_one_folder,
    rename_replaces_in_one_step,
    an_unlinked_file_stays_readable_through_its_handle,
    a_file_opened_for_reading_refuses_changes,
    paths_out_of_the_root_are_refused,
    errors_name_the_file_and_the_operation,
    writers_and_readers_of_many_threads_see_whole_writes,
    an_empty_write_changes_nothing,
    a_position_beyond_the_last_is_refused,
}

fn write(file: &dyn StorageFile, bytes: &[u8], position: u64) {
    file.write_at(&[IoSlice::new(bytes)], position).unwrap();
}

fn content(file: &dyn StorageFile) -> Vec<u8> {
    let mut bytes = vec![0xEE; usize::try_from(file.length().unwrap()).unwrap()];
    file.read_at(&mut bytes, 0).unwrap();
    bytes
}

fn create_with(storage: &dyn Storage, path: &str, bytes: &[u8]) -> Arc<dyn StorageFile> {
    let file = storage.create(path).unwrap();
    write(&*file, bytes, 0);
    file
}

fn written_bytes_read_back_through_another_handle(storage: &dyn Storage) {
    let file = create_with(storage, "a", b"hello");
    write(&*file, b"HE", 0);
    file.sync().unwrap();
    storage.sync_dir("").unwrap();
    assert_eq!(content(&*storage.open("a", false).unwrap()), b"HEllo");
    assert_eq!(content(&*storage.open("a", true).unwrap()), b"HEllo");
}

fn many_buffers_are_written_as_one(storage: &dyn Storage) {
    // More than the 1,024 that one call of the operating system takes, empty ones among them.
    let buffers: Vec<Vec<u8>> = (0..3_000_u32)
        .map(|number| number.to_le_bytes()[..(number % 4) as usize].to_vec())
        .collect();
    let slices: Vec<_> = buffers.iter().map(|buffer| IoSlice::new(buffer)).collect();
    let file = storage.create("a").unwrap();
    file.write_at(&slices, 7).unwrap();
    let expected: Vec<u8> = [0; 7].into_iter().chain(buffers.concat()).collect();
    assert_eq!(content(&*file), expected);
}

fn a_gap_reads_as_zero(storage: &dyn Storage) {
    let file = storage.create("a").unwrap();
    write(&*file, b"x", 200_000);
    assert_eq!(file.length().unwrap(), 200_001);
    assert!(content(&*file)[..200_000].iter().all(|byte| *byte == 0));
}

fn a_read_beyond_the_end_is_unexpected_eof(storage: &dyn Storage) {
    let file = create_with(storage, "a", b"abc");
    for (length, position) in [(1, 3), (4, 0), (1, u64::from(u32::MAX))] {
        let error = file.read_at(&mut vec![0; length], position).unwrap_err();
        assert_eq!(
            error.kind(),
            ErrorKind::UnexpectedEof,
            "{length} at {position}"
        );
    }
    file.read_at(&mut [0; 3], 0).unwrap();
    file.read_at(&mut [], 3).unwrap();
}

fn preallocation_extends_with_zeroes_and_never_shortens(storage: &dyn Storage) {
    let file = create_with(storage, "a", b"abc");
    file.preallocate(100_000).unwrap();
    assert_eq!(file.length().unwrap(), 100_000);
    file.preallocate(10).unwrap();
    assert_eq!(file.length().unwrap(), 100_000);
    assert_eq!(content(&*file)[..3], *b"abc");
    assert!(content(&*file)[3..].iter().all(|byte| *byte == 0));
}

fn truncation_cuts_and_extends_with_zeroes(storage: &dyn Storage) {
    let file = create_with(storage, "a", b"abcdef");
    file.truncate(2).unwrap();
    assert_eq!(content(&*file), b"ab");
    file.truncate(5).unwrap();
    assert_eq!(content(&*file), b"ab\0\0\0");
    file.truncate(0).unwrap();
    assert_eq!(content(&*file), b"");
}

fn create_refuses_a_name_that_is_taken(storage: &dyn Storage) {
    create_with(storage, "a", b"kept");
    storage.create_dir("b").unwrap();
    for taken in ["a", "b"] {
        assert_eq!(
            storage.create(taken).unwrap_err().kind(),
            ErrorKind::AlreadyExists
        );
    }
    assert_eq!(
        storage.create_dir("a").unwrap_err().kind(),
        ErrorKind::AlreadyExists
    );
    assert_eq!(content(&*storage.open("a", true).unwrap()), b"kept");
}

fn a_missing_file_or_folder_is_not_found(storage: &dyn Storage) {
    let errors = [
        storage.open("a", false).unwrap_err(),
        storage.open("a", true).unwrap_err(),
        storage.create("folder/a").unwrap_err(),
        storage.list("folder").unwrap_err(),
        storage.rename("a", "b").unwrap_err(),
        storage.unlink("a").unwrap_err(),
        storage.sync_dir("folder").unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    }
    create_with(storage, "a", b"");
    assert_eq!(
        storage.rename("a", "folder/a").unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert_eq!(storage.list("").unwrap(), ["a"]);
}

fn a_file_is_no_folder_and_a_folder_no_file(storage: &dyn Storage) {
    create_with(storage, "file", b"");
    storage.create_dir("folder").unwrap();
    let errors = [
        storage.list("file").unwrap_err(),
        storage.sync_dir("file").unwrap_err(),
        storage.create("file/a").unwrap_err(),
        storage.create_dir("file/a").unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::NotADirectory, "{error}");
    }
    assert!(storage.open("folder", false).is_err());
    assert!(storage.open("folder", true).is_err());
    assert!(storage.unlink("folder").is_err());
    assert!(storage.rename("file", "folder").is_err());
    assert_eq!(storage.list("").unwrap(), ["file", "folder"]);
}

fn create_dir_makes_parents_and_may_be_repeated(storage: &dyn Storage) {
    storage.create_dir("").unwrap();
    storage.create_dir("a/b/c").unwrap();
    storage.create_dir("a/b/c").unwrap();
    storage.create_dir("a/b").unwrap();
    create_with(storage, "a/b/c/file", b"x");
    assert_eq!(storage.list("a/b").unwrap(), ["c"]);
    storage.sync_dir("a/b/c").unwrap();
}

fn list_gives_sorted_names_of_one_folder(storage: &dyn Storage) {
    assert!(storage.list("").unwrap().is_empty());
    storage.create_dir("b/below").unwrap();
    for name in ["c", "a", "b/x", "b.", "ba"] {
        create_with(storage, name, b"");
    }
    assert_eq!(storage.list("").unwrap(), ["a", "b", "b.", "ba", "c"]);
    assert_eq!(storage.list("b").unwrap(), ["below", "x"]);
}

fn rename_replaces_in_one_step(storage: &dyn Storage) {
    create_with(storage, "old", b"old");
    let new = create_with(storage, "new", b"new");
    storage.rename("new", "old").unwrap();
    assert_eq!(storage.list("").unwrap(), ["old"]);
    write(&*new, b"N", 0);
    assert_eq!(content(&*storage.open("old", true).unwrap()), b"New");
    storage.create_dir("folder").unwrap();
    storage.rename("old", "folder/moved").unwrap();
    storage.rename("folder/moved", "folder/moved").unwrap();
    assert_eq!(
        content(&*storage.open("folder/moved", true).unwrap()),
        b"New"
    );
}

fn an_unlinked_file_stays_readable_through_its_handle(storage: &dyn Storage) {
    let file = create_with(storage, "a", b"abc");
    storage.unlink("a").unwrap();
    write(&*file, b"d", 3);
    assert_eq!(content(&*file), b"abcd");
    assert!(storage.list("").unwrap().is_empty());
    assert_eq!(content(&*create_with(storage, "a", b"other")), b"other");
    assert_eq!(content(&*file), b"abcd");
}

fn a_file_opened_for_reading_refuses_changes(storage: &dyn Storage) {
    create_with(storage, "a", b"abc");
    let file = storage.open("a", true).unwrap();
    let errors = [
        file.write_at(&[IoSlice::new(b"x")], 0).unwrap_err(),
        file.truncate(0).unwrap_err(),
        file.preallocate(100).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    }
    assert_eq!(content(&*file), b"abc");
}

fn paths_out_of_the_root_are_refused(storage: &dyn Storage) {
    create_with(storage, "a", b"");
    for path in ["../a", "/a", "x/../a", "a/", "./a"] {
        let errors = [
            storage.create(path).unwrap_err(),
            storage.open(path, true).unwrap_err(),
            storage.create_dir(path).unwrap_err(),
            storage.list(path).unwrap_err(),
            storage.rename("a", path).unwrap_err(),
            storage.rename(path, "a").unwrap_err(),
            storage.unlink(path).unwrap_err(),
            storage.sync_dir(path).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        }
    }
}

fn errors_name_the_file_and_the_operation(storage: &dyn Storage) {
    let error = storage.open("no/such", false).unwrap_err();
    let path_error = PathError::of(&error).unwrap();
    assert_eq!(path_error.operation(), "open");
    assert!(path_error.path().ends_with("no/such"), "{error}");
    assert!(error.to_string().starts_with("cannot open "), "{error}");

    let file = storage.create("a").unwrap();
    let error = file.read_at(&mut [0], 0).unwrap_err();
    let path_error = PathError::of(&error).unwrap();
    assert_eq!(path_error.operation(), "read");
    assert!(path_error.path().ends_with('a'), "{error}");
}

fn writers_and_readers_of_many_threads_see_whole_writes(storage: &dyn Storage) {
    const LENGTH: usize = 1_000;
    let file = storage.create("a").unwrap();
    file.preallocate(4 * 50 * LENGTH as u64).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..4_u64 {
            let file = &file;
            scope.spawn(move || {
                for step in 0..50 {
                    let position = (step * 4 + writer) * LENGTH as u64;
                    write(
                        &**file,
                        &[u8::try_from(writer).unwrap() + 1; LENGTH],
                        position,
                    );
                    let mut read = [0; LENGTH];
                    file.read_at(&mut read, position).unwrap();
                    assert!(read.iter().all(|byte| u64::from(*byte) == writer + 1));
                }
            });
        }
        scope.spawn(|| (0..20).for_each(|_| file.sync().unwrap()));
    });
    let bytes = content(&*file);
    for (number, part) in bytes.chunks(LENGTH).enumerate() {
        assert!(part.iter().all(|byte| usize::from(*byte) == number % 4 + 1));
    }
}

fn an_empty_write_changes_nothing(storage: &dyn Storage) {
    let file = create_with(storage, "a", b"abc");
    file.write_at(&[], 1_000).unwrap();
    file.write_at(&[IoSlice::new(b""), IoSlice::new(b"")], 1_000)
        .unwrap();
    assert_eq!(content(&*file), b"abc");
}

fn a_position_beyond_the_last_is_refused(storage: &dyn Storage) {
    let file = create_with(storage, "a", b"abc");
    assert!(file.write_at(&[IoSlice::new(b"xy")], u64::MAX).is_err());
    assert!(file.read_at(&mut [0; 2], u64::MAX).is_err());
    assert!(file.truncate(u64::MAX).is_err());
    assert!(file.preallocate(u64::MAX).is_err());
    assert_eq!(content(&*file), b"abc");
}
