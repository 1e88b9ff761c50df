//! Producers' sequences through the whole log: repeated, torn apart, and rebuilt at open.

use super::*;
use crate::error::{ErrorCode, ErrorKind};

fn code(open: &Open, request: Request) -> ErrorCode {
    open.append(request).unwrap_err().code()
}

#[test]
fn a_repeated_batch_is_answered_with_its_old_offset_also_after_a_restart() {
    let storage = FaultyStorage::new();
    let first = open(&storage);
    first.open_partition(0);
    let original = first.append(produced(0, &[b"a", b"b"], 7, 0, 0)).unwrap();
    first.append(produced(0, &[b"c"], 7, 0, 2)).unwrap();
    for open in [first, open(&storage)] {
        let written = open.log.written();
        let again = open.append(produced(0, &[b"a", b"b"], 7, 0, 0)).unwrap();
        assert!(again.is_duplicate);
        let place = |appended: &Appended| (appended.index, appended.base_offset, appended.time_ms);
        assert_eq!(place(&again), place(&original));
        assert_eq!(
            (open.log.written(), open.log.next_offset(PartitionId(0))),
            (written, Some(3))
        );
        // Its last batch, and the one after: the window goes on where it was.
        assert!(
            open.append(produced(0, &[b"c"], 7, 0, 2))
                .unwrap()
                .is_duplicate
        );
    }
}

#[test]
fn a_repetition_at_disk_of_a_batch_that_is_only_written_waits_for_its_sync() {
    let storage = FaultyStorage::new();
    let open = open(&storage);
    open.open_partition(0);
    open.append(produced(0, &[b"a"], 7, 0, 0)).unwrap();
    storage.pause_syncs();
    let mut again = open.submit(produced(0, &[b"a"], 7, 0, 0).disk(), Run::Here);
    storage.wait_for_paused_syncs(1);
    assert!(again.try_take().is_none());
    assert_eq!(open.log.synced(), 0);
    storage.resume_syncs();
    let again = again.wait(None).unwrap();
    assert!(again.is_duplicate && again.durability == Durability::Disk);
    assert_eq!(open.log.synced(), 2);
    // Now it is synced, the next one need not wait.
    storage.pause_syncs();
    assert!(
        open.append(produced(0, &[b"a"], 7, 0, 0).disk())
            .unwrap()
            .is_duplicate
    );
    storage.resume_syncs();
}

#[test]
fn gaps_old_epochs_and_unknown_producers_are_refused_by_name() {
    let storage = FaultyStorage::new();
    let first = open(&storage);
    first.open_partition(0);
    first.append(produced(0, &[b"a"], 7, 3, 0)).unwrap();
    for open in [first, open(&storage)] {
        let gap = code(&open, produced(0, &[b"c"], 7, 3, 2));
        assert_eq!(gap, ErrorCode::OutOfOrderSequenceNumber);
        let old = code(&open, produced(0, &[b"c"], 7, 2, 1));
        assert_eq!(old, ErrorCode::InvalidProducerEpoch);
        let unknown = code(&open, produced(0, &[b"c"], 8, 0, 1));
        assert_eq!(unknown, ErrorCode::UnknownProducerId);
        let error = open.append(produced(0, &[b"c"], 7, 3, 5)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Fenced);
        for part in ["producer id 7", "partition id 0", "sequence 1", "5"] {
            assert!(error.message().contains(part), "{error}");
        }
        assert_eq!(open.log.written(), 2);
    }
}
