//! What each kind of power cut leaves, and what failed syncs and reads do.

use super::*;

fn survivors(storage: &FaultyStorage, mode: CrashMode) -> Vec<(String, Vec<u8>)> {
    let crashed = storage.crash_image(mode);
    let names = crashed.list("").unwrap();
    names
        .into_iter()
        .map(|name| (name.clone(), content(&crashed, &name).unwrap()))
        .collect()
}

fn named(files: &[(&str, &[u8])]) -> Vec<(String, Vec<u8>)> {
    let owned = |(name, bytes): &(&str, &[u8])| ((*name).to_owned(), bytes.to_vec());
    files.iter().map(owned).collect()
}

#[test]
fn zeroes_keep_names_and_lengths_and_no_new_byte() {
    let (storage, file) = with_durable_file(b"synced");
    write(&*file, b"SYNC", 0);
    write(&*file, b" and more", 6);
    write(&*storage.create("b").unwrap(), b"new", 0);
    assert_eq!(
        survivors(&storage, CrashMode::Zeroes),
        named(&[("a", b"synced\0\0\0\0\0\0\0\0\0"), ("b", b"\0\0\0")])
    );
    // A file cut and extended again is zero behind the cut, like one that was never longer.
    file.truncate(2).unwrap();
    file.preallocate(4).unwrap();
    let crashed = storage.crash_image(CrashMode::Zeroes);
    assert_eq!(content(&crashed, "a").unwrap(), b"sy\0\0");
}

#[test]
fn lost_names_take_what_is_under_them_and_bring_back_what_was_removed() {
    let (storage, file) = with_durable_file(b"abc");
    write(&*file, b"d", 3);
    let new = storage.create("b").unwrap();
    write(&*new, b"new", 0);
    new.sync().unwrap();
    storage.rename("a", "c").unwrap();
    let lost = || survivors(&storage, CrashMode::NamesLost);
    assert_eq!(lost(), named(&[("a", b"abcd")]));
    storage.unlink("c").unwrap();
    assert_eq!(lost(), named(&[("a", b"abcd")]));
    storage.sync_dir("").unwrap();
    assert_eq!(lost(), named(&[("b", b"new")]));
}

#[test]
fn the_youngest_files_may_survive_without_the_older_ones() {
    let (storage, file) = with_durable_file(b"old");
    write(&*file, b"er", 3);
    write(&*storage.create("b").unwrap(), b"middle", 0);
    write(&*storage.create("c").unwrap(), b"young", 0);
    let later = |count| survivors(&storage, CrashMode::LaterFirst(count));
    assert_eq!(later(0), survivors(&storage, CrashMode::OnlySynced));
    assert_eq!(later(1), named(&[("a", b"old"), ("c", b"young")]));
    let two = [("a", &b"old"[..]), ("b", b"middle"), ("c", b"young")];
    assert_eq!(later(2), named(&two));
    assert_eq!(later(3), survivors(&storage, CrashMode::AllWritten));
    // A file that is synced counts until its name is.
    storage.open("c", false).unwrap().sync().unwrap();
    assert_eq!(later(1), named(&[("a", b"old"), ("c", b"young")]));
    storage.sync_dir("").unwrap();
    let one = [("a", &b"older"[..]), ("b", b""), ("c", b"young")];
    assert_eq!(
        survivors(&storage, CrashMode::LaterFirst(2)),
        named(&[one[0], ("b", b"middle"), one[2]])
    );
}

#[test]
fn garbage_spares_what_was_synced_and_reaches_everything_else() {
    let (storage, file) = with_durable_file(&[1; 600]);
    write(&*file, &[2; 5_000], 1_000);
    file.preallocate(20_000).unwrap();
    let of_seed = |seed| {
        let crashed = storage.crash_image(CrashMode::GarbageTail(seed));
        content(&crashed, "a").unwrap()
    };
    let mut differing = vec![false; 20_000];
    for seed in 0..50 {
        let image = of_seed(seed);
        assert_eq!(image, of_seed(seed));
        assert_eq!(image.len(), 20_000);
        assert_eq!(image[..600], [1; 600]);
        let live = content(&storage, "a").unwrap();
        for (differs, (found, written)) in differing.iter_mut().zip(image.iter().zip(&live)) {
            *differs |= found != written;
        }
    }
    assert!(differing[600..].iter().all(|differs| *differs));
    // Once synced, only the space that was never written is still anything; also after a cut.
    file.sync().unwrap();
    let crashed = storage.crash_image(CrashMode::Zeroes);
    for seed in 0..50 {
        for storage in [&storage, &crashed] {
            let image = content(&storage.crash_image(CrashMode::GarbageTail(seed)), "a");
            assert_eq!(image.unwrap()[1_000..6_000], [2; 5_000]);
        }
    }
}

#[test]
fn garbage_holds_what_an_older_file_of_the_name_held_and_what_others_hold() {
    let finds = |storage: &FaultyStorage, path: &str, wanted: &dyn Fn(&[u8]) -> bool| {
        (0..200).any(|seed| {
            let crashed = storage.crash_image(CrashMode::GarbageTail(seed));
            content(&crashed, path).is_some_and(|bytes| wanted(&bytes))
        })
    };
    let (storage, file) = with_durable_file(&[7; 4_096]);
    let other = storage.create("b").unwrap();
    other.preallocate(4_096).unwrap();
    let piece = |bytes: &[u8]| bytes.windows(512).any(|bytes| bytes == [7; 512]);
    assert!(finds(&storage, "b", &piece));
    // Removed, cut, or lost by a crash: it may be seen where it lay.
    storage.unlink("a").unwrap();
    drop(file);
    let again = storage.create("a").unwrap();
    again.preallocate(4_096).unwrap();
    let whole = |bytes: &[u8]| bytes == [7; 4_096];
    assert!(finds(&storage, "a", &whole));
    write(&*again, &[8; 4_096], 0);
    again.sync().unwrap();
    storage.sync_dir("").unwrap();
    again.truncate(0).unwrap();
    again.preallocate(4_096).unwrap();
    let cut = |bytes: &[u8]| bytes == [8; 4_096];
    assert!(finds(&storage, "a", &cut));
    let (storage, file) = with_durable_file(b"");
    file.preallocate(4_096).unwrap();
    write(&*file, &[9; 4_096], 0);
    let lost = storage.crash_image(CrashMode::Zeroes);
    assert_eq!(content(&lost, "a").unwrap(), [0; 4_096]);
    let of_before = |bytes: &[u8]| bytes == [9; 4_096];
    assert!(finds(&lost, "a", &of_before));
}

#[test]
fn a_torn_write_over_durable_bytes_leaves_them_durable() {
    let (storage, file) = with_durable_file(&[1; 2_000]);
    write(&*file, &[1; 1_000], 500);
    let torn = storage.crash_image(CrashMode::TornLastWrite(0));
    for seed in 0..50 {
        let crashed = torn.crash_image(CrashMode::GarbageTail(seed));
        assert_eq!(content(&crashed, "a").unwrap(), [1; 2_000]);
    }
}

#[test]
fn every_mode_reverts_what_a_failed_sync_dropped() {
    for mode in [
        CrashMode::OnlySynced,
        CrashMode::AllWritten,
        CrashMode::NamesLost,
        CrashMode::Zeroes,
        CrashMode::LaterFirst(1),
        CrashMode::TornLastWrite(100),
    ] {
        let (storage, file) = with_durable_file(b"abcdef");
        write(&*file, b"CDEFGH", 2);
        storage.fail_next_sync();
        assert!(file.sync().is_err());
        assert_eq!(content(&storage, "a").unwrap(), b"abCDEFGH");
        let crashed = storage.crash_image(mode);
        let found = content(&crashed, "a").unwrap();
        assert_eq!(found[..6], *b"abcdef", "{mode:?}");
        assert!(found[6..].iter().all(|byte| *byte == 0), "{mode:?}");
        // Written again it counts as any other write.
        write(&*file, b"CDEFGH", 2);
        let crashed = storage.crash_image(CrashMode::AllWritten);
        assert_eq!(content(&crashed, "a").unwrap(), b"abCDEFGH");
    }
}

#[test]
fn the_cache_lets_go_of_what_a_failed_sync_dropped_and_of_nothing_else() {
    let (storage, file) = with_durable_file(b"abc");
    write(&*file, b"def", 3);
    storage.fail_next_sync();
    assert!(file.sync().is_err());
    write(&*file, b"ghi", 6);
    storage.evict_at(storage.now() + 1);
    storage.create("b").unwrap();
    assert_eq!(content(&storage, "a").unwrap(), b"abcdefghi");
    storage.create("c").unwrap();
    assert_eq!(content(&storage, "a").unwrap(), b"abc\0\0\0ghi");
    storage.evict().unwrap();
    assert_eq!(content(&storage, "a").unwrap(), b"abc\0\0\0ghi");
    file.sync().unwrap();
    let crashed = storage.crash_image(CrashMode::OnlySynced);
    assert_eq!(content(&crashed, "a").unwrap(), b"abc\0\0\0ghi");
}

#[test]
fn a_failed_sync_may_have_written_some_sectors() {
    let mut images = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let (storage, file) = with_durable_file(&[1; 2_048]);
        write(&*file, &[2; 2_048], 0);
        storage.tear_failed_syncs(Some(seed));
        storage.fail_next_sync();
        assert!(file.sync().is_err());
        assert_eq!(content(&storage, "a").unwrap(), [2; 2_048]);
        let crashed = storage.crash_image(CrashMode::OnlySynced);
        let image = content(&crashed, "a").unwrap();
        assert!(
            image
                .chunks(512)
                .all(|sector| sector == [1; 512] || sector == [2; 512])
        );
        images.insert(image);
    }
    assert!(images.len() > 5, "{} images", images.len());
}

#[test]
fn reads_fail_where_they_were_told_until_the_fault_is_taken_back() {
    let (storage, file) = with_durable_file(b"abcdef");
    storage.fail_reads("a", 2..4, ErrorKind::Other);
    file.read_at(&mut [0; 2], 0).unwrap();
    file.read_at(&mut [0; 2], 4).unwrap();
    for (position, count) in [(0, 3), (3, 1), (1, 5)] {
        let error = file.read_at(&mut vec![0; count], position).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Other);
        assert!(error.to_string().contains("cannot read a"), "{error}");
    }
    write(&*file, b"x", 2);
    storage.clear_faults();
    assert_eq!(content(&storage, "a").unwrap(), b"abxdef");
}

#[test]
fn free_space_is_what_all_files_leave() {
    let (storage, file) = with_durable_file(b"abc");
    assert_eq!(storage.free_bytes(), None);
    storage.set_space(Some(10));
    assert_eq!(storage.free_bytes(), Some(7));
    file.preallocate(9).unwrap();
    assert_eq!(storage.free_bytes(), Some(1));
    storage.set_space(Some(4));
    assert_eq!(storage.free_bytes(), Some(0));
    storage.unlink("a").unwrap();
    assert_eq!(storage.free_bytes(), Some(4));
}

#[test]
fn a_fork_has_what_was_there_and_a_future_of_its_own() {
    let (storage, file) = with_durable_file(b"abc");
    write(&*file, b"d", 3);
    storage.power_off_at(storage.now());
    let fork = storage.fork();
    let forked = fork.open("a", false).unwrap();
    write(&*forked, b"e", 4);
    assert_eq!(content(&fork, "a").unwrap(), b"abcde");
    storage.clear_faults();
    assert_eq!(content(&storage, "a").unwrap(), b"abcd");
    let crashed = fork.crash_image(CrashMode::OnlySynced);
    assert_eq!(content(&crashed, "a").unwrap(), b"abc");
    forked.sync().unwrap();
    let crashed = fork.crash_image(CrashMode::OnlySynced);
    assert_eq!(content(&crashed, "a").unwrap(), b"abcde");
    let now = fork.now();
    assert_eq!(fork.history().durable_through("a", now), 5);
    let crashed = storage.crash_image(CrashMode::OnlySynced);
    assert_eq!(content(&crashed, "a").unwrap(), b"abc");
}
