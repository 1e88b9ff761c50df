//! Runs that fail, are closed and are sought in at random: whatever happens, what is committed is done, and
//! the last run, in which nothing happens, does the rest.

use std::collections::BTreeSet;

use super::*;

/// `SplitMix64`: for the choices of a handler, from the seed and the run's own number.
fn mixed(seed: u64, number: u64) -> u64 {
    let mut mixed = seed.wrapping_add(number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

fn pick<T: Copy>(from: &[T], seed: u64, number: u64) -> T {
    from[mixed(seed, number) as usize % from.len()]
}

type Done = Mutex<BTreeSet<(i32, i64)>>;

/// One run, which may end in any way.
fn run(db: &Client, seed: u64, is_last: bool, done: &Done) -> BTreeMap<i32, i64> {
    let options = ConsumerOptions {
        max_unacked: Some(pick(&[1, 5, 10_000], seed, 1)),
        ack: Some(pick(&[Ack::Auto, Ack::Manual], seed, 2)),
        commit_interval_ms: Some(10),
        ..to_end()
    };
    let consumer = db.consumer(&["t"], options).unwrap();
    let options = ProcessOptions {
        concurrency: Some(pick(&[1, 4], seed, 3)),
        order: Some(pick(&[Order::Key, Order::Partition, Order::None], seed, 4)),
        attempts: Some(if is_last { 1 } else { 2 }),
        ..quick()
    };
    let (closes_at, seeks_at) = (pick(&[20, 60, 1_000], seed, 5), pick(&[10, 1_000], seed, 6));
    let calls = AtomicU32::new(0);
    let ended = consumer.process(&options, |record| {
        let call = calls.fetch_add(1, Ordering::Relaxed);
        if !is_last && call == closes_at {
            consumer.close(None).wait(None).unwrap();
        }
        if !is_last && call == seeks_at {
            // It may have been closed by another.
            _ = consumer.seek("t", record.partition(), 0);
        }
        if !is_last && mixed(seed, 100 + u64::from(call)).is_multiple_of(20) {
            return Err("no");
        }
        let place = (record.partition(), record.offset());
        done.lock().unwrap().insert(place);
        Ok(())
    });
    if let Err(ProcessError::Client(error)) = ended {
        panic!("{error}");
    }
    committed(db, &consumer)
}

#[test]
fn however_a_run_ends_only_what_is_done_is_committed() {
    for seed in 0..40 {
        let db = open(2);
        let records: Vec<_> = (0..100)
            .map(|number| (Some(["a", "b", "c", "d"][number % 4]), number.to_string()))
            .collect();
        send(&db, "t", &records);
        let done = Done::default();
        for round in 0..4 {
            let is_last = round == 3;
            let committed = run(&db, mixed(seed, round), is_last, &done);
            let done = done.lock().unwrap();
            for (partition, end) in &committed {
                let missing = (0..*end).find(|offset| !done.contains(&(*partition, *offset)));
                assert_eq!(missing, None, "seed {seed}, round {round}, {committed:?}");
            }
            if is_last {
                assert_eq!(committed.values().sum::<i64>(), 100, "seed {seed}");
            }
        }
    }
}
