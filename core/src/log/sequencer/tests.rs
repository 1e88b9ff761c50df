//! The rules of sequences, without a log.

use super::*;

const ID: PartitionId = PartitionId(4);

fn batch(producer_id: i64, epoch: i16, base_sequence: i32, count: i32) -> BatchHeader {
    BatchHeader {
        base_offset: 0,
        batch_length: 49,
        leader_epoch: -1,
        magic: 2,
        crc: 0,
        attributes: 0,
        last_offset_delta: count - 1,
        base_timestamp_ms: 0,
        max_timestamp_ms: 0,
        producer_id,
        producer_epoch: epoch,
        base_sequence,
        record_count: count,
    }
}

fn open_at(start_offset: i64) -> Sequencer {
    let mut sequencer = Sequencer::default();
    let open = PartitionOpen {
        topic: [1; 16],
        partition: 0,
        start_offset,
    };
    sequencer.open_partition(ID, &open).unwrap();
    sequencer
}

/// Admits and takes a batch that has to be new; returns its base offset.
fn take(sequencer: &mut Sequencer, batch: &BatchHeader, index: u64) -> i64 {
    let Admission::New { base_offset } = sequencer.admit(ID, batch).unwrap() else {
        panic!("{batch:?} is a duplicate");
    };
    let sequenced = Sequenced {
        index,
        base_offset,
        time_ms: 0,
        append_time_ms: -1,
    };
    sequencer.take(ID, batch, sequenced);
    base_offset
}

#[test]
fn offsets_go_on_from_where_the_partition_was_opened() {
    let mut sequencer = open_at(10);
    assert_eq!(take(&mut sequencer, &batch(-1, -1, -1, 3), 1), 10);
    assert_eq!(take(&mut sequencer, &batch(-1, -1, -1, 1), 2), 13);
    assert_eq!(sequencer.next_offset(ID), Some(14));
    assert_eq!(sequencer.next_offset(PartitionId(5)), None);
}

#[test]
fn the_last_five_batches_are_recognised_and_the_sixth_is_not() {
    let mut sequencer = open_at(0);
    for number in 0..6 {
        take(
            &mut sequencer,
            &batch(1, 0, number * 2, 2),
            number as u64 + 1,
        );
    }
    for number in 1..6 {
        let found = sequencer.admit(ID, &batch(1, 0, number * 2, 2)).unwrap();
        let Admission::Duplicate(first) = found else {
            panic!("{number} is new")
        };
        assert_eq!(
            (first.index, first.base_offset),
            (number as u64 + 1, i64::from(number) * 2)
        );
    }
    let expected = SequenceError::OutOfOrder {
        partition: ID,
        producer_id: ProducerId(1),
        found: 0,
        expected: 12,
    };
    assert_eq!(sequencer.admit(ID, &batch(1, 0, 0, 2)), Err(expected));
    // Same beginning, another end: not that batch.
    assert!(sequencer.admit(ID, &batch(1, 0, 10, 1)).is_err());
}

#[test]
fn after_the_largest_sequence_comes_zero() {
    let mut sequencer = open_at(0);
    take(&mut sequencer, &batch(1, 0, 0, 1), 1);
    let window = VecDeque::from([Remembered {
        base_sequence: i32::MAX - 2,
        last_sequence: i32::MAX - 1,
        sequenced: Sequenced {
            index: 1,
            base_offset: 0,
            time_ms: 0,
            append_time_ms: -1,
        },
    }]);
    let partition = sequencer.partitions.get_mut(&ID).unwrap();
    partition.producers.insert(
        ProducerId(1),
        Producer {
            epoch: 0,
            window,
            is_changed: false,
        },
    );
    // MAX, 0 and 1: the batch goes over the end.
    let over = batch(1, 0, i32::MAX, 3);
    take(&mut sequencer, &over, 2);
    assert!(matches!(
        sequencer.admit(ID, &over),
        Ok(Admission::Duplicate(_))
    ));
    take(&mut sequencer, &batch(1, 0, 2, 1), 3);
    // And one that ends exactly there.
    let partition = sequencer.partitions.get_mut(&ID).unwrap();
    let last = partition
        .producers
        .get_mut(&ProducerId(1))
        .unwrap()
        .window
        .back_mut()
        .unwrap();
    last.last_sequence = i32::MAX;
    take(&mut sequencer, &batch(1, 0, 0, 1), 4);
}

#[test]
fn a_new_epoch_begins_at_zero_and_fences_the_old_one() {
    let mut sequencer = open_at(0);
    take(&mut sequencer, &batch(1, 0, 0, 5), 1);
    assert!(sequencer.admit(ID, &batch(1, 1, 5, 1)).is_err());
    take(&mut sequencer, &batch(1, 1, 0, 5), 2);
    let old = sequencer.admit(ID, &batch(1, 0, 5, 1)).unwrap_err();
    assert!(
        matches!(
            old,
            SequenceError::Epoch {
                found: 0,
                expected: 1,
                ..
            }
        ),
        "{old}"
    );
    // The same sequence in the new epoch is the new batch, not the old one.
    let Ok(Admission::Duplicate(found)) = sequencer.admit(ID, &batch(1, 1, 0, 5)) else {
        panic!("it is not recognised");
    };
    assert_eq!(found.index, 2);
}

#[test]
fn partitions_and_producers_do_not_know_each_other() {
    let mut sequencer = open_at(0);
    let other = PartitionOpen {
        topic: [2; 16],
        partition: 1,
        start_offset: 100,
    };
    sequencer.open_partition(PartitionId(5), &other).unwrap();
    take(&mut sequencer, &batch(1, 0, 0, 1), 1);
    take(&mut sequencer, &batch(2, 0, 0, 1), 2);
    assert_eq!(
        sequencer.admit(PartitionId(5), &batch(1, 0, 0, 1)),
        Ok(Admission::New { base_offset: 100 })
    );
    sequencer.delete_topic(&[1; 16]);
    assert_eq!(
        (
            sequencer.next_offset(ID),
            sequencer.next_offset(PartitionId(5))
        ),
        (None, Some(100))
    );
}

#[test]
fn an_expired_producer_is_unknown() {
    let mut sequencer = open_at(0);
    take(&mut sequencer, &batch(1, 0, 0, 1), 1);
    sequencer.expire_producer(ID, ProducerId(1));
    let error = sequencer.admit(ID, &batch(1, 0, 1, 1)).unwrap_err();
    assert!(
        matches!(error, SequenceError::UnknownProducer { found: 1, .. }),
        "{error}"
    );
    take(&mut sequencer, &batch(1, 0, 0, 1), 2);
}

#[test]
fn offsets_that_would_end_are_refused() {
    let sequencer = open_at(i64::MAX - 1);
    assert!(sequencer.admit(ID, &batch(-1, -1, -1, 1)).is_ok());
    let error = sequencer.admit(ID, &batch(-1, -1, -1, 2)).unwrap_err();
    assert!(
        matches!(error, SequenceError::OffsetsExhausted { .. }),
        "{error}"
    );
}

#[test]
fn a_batch_that_does_not_fit_is_void_at_replay() {
    let mut sequencer = open_at(0);
    let sequenced = |base_offset| Sequenced {
        index: 1,
        base_offset,
        time_ms: 0,
        append_time_ms: -1,
    };
    sequencer.replay(ID, &batch(1, 0, 0, 2), sequenced(5));
    assert_eq!(sequencer.next_offset(ID), Some(0));
    sequencer.replay(ID, &batch(1, 0, 0, 2), sequenced(0));
    assert_eq!(sequencer.next_offset(ID), Some(2));
}
