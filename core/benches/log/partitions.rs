//! 1,000 partitions beside one: the same batches, as many in flight, in one log.

use std::path::Path;
use std::sync::mpsc::channel;

use headwater::completion::{Completion, Wakes};
use headwater::log::{Appended, LogOptions};
use headwater::{Durability, Result};

use crate::figures::{Sides, Speed};
use crate::opened::{OpenLog, batch_of_bytes};

const BATCH_BYTES: usize = 16 * 1_024;
const IN_FLIGHT: usize = 64;
const PARTITIONS: u32 = 1_000;
const BAR: u32 = 80;
const ROUNDS: usize = 9;
/// Batches of a round, of each side: some segments of them, and more than 1 GB over all rounds.
const BATCHES: usize = 8_000;
const BATCHES_QUICK: usize = 1_000;

/// Both levels. At `os` a call has its answer when it returns, so that 64 are in flight at `disk` alone.
pub(crate) fn run(folder: &Path, is_quick: bool) {
    let batch = batch_of_bytes(BATCH_BYTES);
    let count = if is_quick { BATCHES_QUICK } else { BATCHES };
    for (level, ack) in [("os", Durability::Os), ("disk", Durability::Disk)] {
        let rate = |partitions| append(folder, partitions, &batch, count, ack);
        let sides = Sides::measure(
            ["1,000 partitions", "one"],
            ROUNDS,
            [&mut |_| rate(PARTITIONS), &mut |_| rate(1)],
        );
        let bytes = batch.len();
        let what = format!("batches of {bytes} B, {IN_FLIGHT} in flight, {level}");
        sides.print(&what, BAR);
    }
}

/// Appends to the partitions of a new log in turn. The batches are made before.
fn append(folder: &Path, partitions: u32, batch: &[u8], count: usize, ack: Durability) -> Speed {
    let open = OpenLog::new(folder, partitions, LogOptions::default());
    let payloads: Vec<_> = (0..count).map(|_| batch.to_vec()).collect();
    let (sender, answers) = channel::<Result<Appended>>();
    let next = || answers.recv().expect("an answer").expect("the append");
    let speed = Speed::of(|| {
        for (number, payload) in payloads.into_iter().enumerate() {
            if number >= IN_FLIGHT {
                next();
            }
            let sender = sender.clone();
            let completion = Completion::call(move |answer, _: &mut Wakes| {
                sender.send(answer).expect("somebody waits for it");
            });
            open.submit(number as u32 % partitions, payload, ack, completion);
        }
        for _ in 0..IN_FLIGHT.min(count) {
            next();
        }
        (batch.len() * count) as u64
    });
    open.log.close().expect("the close");
    speed
}
