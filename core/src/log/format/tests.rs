use super::super::storage::disk::DiskStorage;
use super::super::storage::faulty::{CrashMode, FaultyStorage};
use super::super::storage::memory::MemoryStorage;
use super::*;

const UUID: [u8; 16] = [
    0x67, 0xE5, 0x50, 0x44, 0x10, 0xB1, 0x42, 0x6F, 0x92, 0x47, 0xBB, 0x68, 0x0E, 0x5F, 0xE0, 0xC8,
];
/// The bytes of version 1: every build reads them.
const GOLDEN: &str = "headwater-folder 1\n\
                      log-uuid 67e55044-10b1-426f-9247-bb680e5fe0c8\n\
                      crc32c 8df6e039\n";

fn put(storage: &dyn Storage, path: &str, bytes: &[u8]) {
    storage
        .create(path)
        .unwrap()
        .write_at(&[IoSlice::new(bytes)], 0)
        .unwrap();
}

fn format_file(storage: &dyn Storage) -> Vec<u8> {
    read_all(&*storage.open(NAME, true).unwrap()).unwrap()
}

fn never() -> io::Result<[u8; 16]> {
    panic!("there is a format already");
}

fn sealed(checked: &str) -> String {
    checked.to_owned() + &crc_line(checked)
}

/// What reading and opening a folder with this format file says; neither may change a byte.
fn refusal(bytes: &[u8]) -> Error {
    let storage = FaultyStorage::new();
    put(&storage, NAME, bytes);
    let before = storage.now();
    let read = read(&storage, "./data").unwrap_err();
    let opened = read_or_create(&storage, "./data", never).unwrap_err();
    assert_eq!(storage.now(), before, "something was changed");
    let (read, opened) = (Error::from(read), Error::from(opened));
    assert_eq!(read, opened);
    assert!(read.message().contains("./data"), "{read}");
    read
}

#[test]
fn a_created_format_has_the_golden_bytes_and_reads_back() {
    let storage = MemoryStorage::new();
    let created = read_or_create(&storage, ".", || Ok(UUID)).unwrap();
    assert_eq!(str::from_utf8(&format_file(&storage)).unwrap(), GOLDEN);
    assert_eq!(
        created,
        Format {
            version: 1,
            log_uuid: UUID
        }
    );
    assert_eq!(read_or_create(&storage, ".", never).unwrap(), created);
    assert_eq!(read(&storage, ".").unwrap(), created);
    assert_eq!(storage.list("").unwrap(), [NAME]);
}

#[test]
fn a_folder_of_other_files_is_used_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let storage = DiskStorage::open(folder.path(), false).unwrap();
    put(&storage, "mine.txt", b"mine");
    storage.create_dir("0000").unwrap();
    // What a crash may have left behind.
    put(&storage, TEMPORARY_NAME, b"headw");
    let created = read_or_create(&storage, ".", random_uuid).unwrap();
    assert_eq!(read(&storage, ".").unwrap(), created);
    assert_eq!(storage.list("").unwrap(), ["0000", NAME, "mine.txt"]);
}

#[test]
fn a_folder_without_a_format_is_missing_to_who_only_reads() {
    let storage = FaultyStorage::new();
    let error = Error::from(read(&storage, "./data").unwrap_err());
    assert_eq!(error.code(), ErrorCode::FolderNotFound);
    assert!(error.message().contains("./data"), "{error}");
    assert_eq!(storage.now(), 0);
}

#[test]
fn segments_without_a_format_are_not_given_to_a_new_log() {
    let storage = FaultyStorage::new();
    storage.create_dir(SHARD).unwrap();
    put(&storage, "0000/00000000000000000001.log", b"");
    let before = storage.now();
    let error = Error::from(read_or_create(&storage, "./data", never).unwrap_err());
    assert_eq!(error.code(), ErrorCode::CorruptFolder);
    assert_eq!(storage.now(), before, "something was changed");
}

#[test]
fn a_newer_version_is_refused_naming_both() {
    for rest in ["", "log-uuid something else\nand more\n"] {
        let error = refusal(sealed(&format!("headwater-folder 7\n{rest}")).as_bytes());
        assert_eq!(error.code(), ErrorCode::FolderTooNew);
        assert!(error.message().contains("format is 7"), "{error}");
        assert!(error.message().contains("up to 1"), "{error}");
    }
}

#[test]
fn any_flipped_bit_and_any_cut_is_damage() {
    for length in 0..GOLDEN.len() {
        let error = refusal(&GOLDEN.as_bytes()[..length]);
        assert_eq!(error.code(), ErrorCode::CorruptFolder, "cut to {length}");
    }
    for position in 0..GOLDEN.len() {
        for bit in 0..8 {
            let mut bytes = GOLDEN.as_bytes().to_vec();
            bytes[position] ^= 1 << bit;
            let error = refusal(&bytes);
            assert_eq!(
                error.code(),
                ErrorCode::CorruptFolder,
                "bit {bit} of {position}"
            );
        }
    }
}

#[test]
fn a_right_checksum_over_wrong_lines_is_damage() {
    let uuid = "log-uuid 67e55044-10b1-426f-9247-bb680e5fe0c8\n";
    for lines in [
        String::new(),
        "\n".to_owned(),
        "headwater-folder 1\n".to_owned(),
        format!("headwater-folder 0\n{uuid}"),
        format!("headwater-folder 1\n{uuid}{uuid}"),
        format!("headwater-folder 1\n{}", uuid.to_uppercase()),
        "headwater-folder 1\nlog-uuid 67e5504410b1426f9247bb680e5fe0c8\n".to_owned(),
        format!("headwater-folder 4294967296\n{uuid}"),
        format!("headwater-folder 1{uuid}"),
        format!("headwater-folder +1\n{uuid}"),
        format!("headwater-folder 01\n{uuid}"),
        format!("headwater-folder 1\r\n{uuid}"),
        "x".repeat(10_000),
    ] {
        assert_eq!(
            refusal(sealed(&lines).as_bytes()).code(),
            ErrorCode::CorruptFolder,
            "{lines}"
        );
    }
}

#[test]
fn a_power_cut_at_any_operation_leaves_a_whole_format_or_none() {
    let script = FaultyStorage::new();
    read_or_create(&script, ".", || Ok(UUID)).unwrap();
    let operations = script.now();
    let seeds = (0..20).map(CrashMode::SubsetOfSectors);
    let torn = (0..40).map(CrashMode::TornLastWrite);
    let garbage = (0..20).map(CrashMode::GarbageTail);
    let modes: Vec<_> = [
        CrashMode::OnlySynced,
        CrashMode::AllWritten,
        CrashMode::Zeroes,
        CrashMode::NamesLost,
        CrashMode::LaterFirst(1),
    ]
    .into_iter()
    .chain(seeds)
    .chain(torn)
    .chain(garbage)
    .collect();
    for at in 0..operations {
        let storage = FaultyStorage::new();
        storage.power_off_at(at);
        assert!(read_or_create(&storage, ".", || Ok(UUID)).is_err());
        for mode in &modes {
            let crashed = storage.crash_image(*mode);
            let found = read_or_create(&crashed, ".", || Ok([9; 16])).unwrap();
            assert!(
                found.log_uuid == UUID || found.log_uuid == [9; 16],
                "cut at {at}, {mode:?}"
            );
            let again = crashed.crash_image(CrashMode::OnlySynced);
            assert_eq!(read(&again, ".").unwrap(), found, "cut at {at}, {mode:?}");
        }
    }
    let crashed = script.crash_image(CrashMode::OnlySynced);
    assert_eq!(read(&crashed, ".").unwrap().log_uuid, UUID);
}

#[test]
fn a_format_whose_maker_was_killed_is_durable_once_read() {
    for at in 0..5 {
        let storage = FaultyStorage::new();
        storage.power_off_at(at);
        assert!(read_or_create(&storage, ".", || Ok(UUID)).is_err());
        // Only the process ended: the next one sees what was written.
        storage.clear_faults();
        let found = read_or_create(&storage, ".", || Ok([9; 16])).unwrap();
        let crashed = storage.crash_image(CrashMode::OnlySynced);
        assert_eq!(read(&crashed, ".").unwrap(), found, "killed at {at}");
    }
}

#[test]
fn a_failure_at_any_operation_is_an_error_and_the_next_open_works() {
    for at in 0..5 {
        for kind in [ErrorKind::StorageFull, ErrorKind::Other] {
            let storage = FaultyStorage::new();
            storage.fail_at(at, kind);
            let Err(error) = read_or_create(&storage, ".", || Ok(UUID)) else {
                panic!("operation {at} did not fail");
            };
            let expected = match kind {
                ErrorKind::StorageFull => ErrorCode::DiskFull,
                _ => ErrorCode::KafkaStorageError,
            };
            assert_eq!(Error::from(error).code(), expected);
            read_or_create(&storage, ".", || Ok(UUID)).unwrap();
        }
    }
}

#[test]
fn folders_that_cannot_be_opened_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("none");
    let error = folder_error(&missing, &DiskStorage::open(&missing, false).unwrap_err());
    assert_eq!(error.code(), ErrorCode::FolderNotFound);
    assert!(error.message().contains("none"), "{error}");
    let file = folder.path().join("file");
    std::fs::write(&file, b"mine").unwrap();
    let error = folder_error(&file, &DiskStorage::open(&file, true).unwrap_err());
    assert_eq!(error.code(), ErrorCode::NotAFolder);
    assert!(error.message().contains("file"), "{error}");
}

#[test]
fn random_uuids_are_version_4_and_differ() {
    let uuids: Vec<_> = (0..100).map(|_| random_uuid().unwrap()).collect();
    for uuid in &uuids {
        let text = display_uuid(uuid);
        assert_eq!((text.len(), text.as_bytes()[14]), (36, b'4'), "{text}");
        assert!(b"89ab".contains(&text.as_bytes()[19]), "{text}");
        assert_eq!(parse_uuid(&text).unwrap(), *uuid);
    }
    let distinct: std::collections::BTreeSet<_> = uuids.iter().collect();
    assert_eq!(distinct.len(), uuids.len());
}
