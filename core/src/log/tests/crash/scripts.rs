//! What is played before the power goes. A script is a function over a stage whose log is not open yet;
//! it ends with `None` as soon as a word of it does. The coda is what every later life plays.

mod commits;
mod zeroes;

use super::stage::{Keeping, Stage};
use super::*;
use crate::log::control::{ProducerExpire, TopicDelete};
use crate::log::storage::faulty::CrashMode;
use crate::log::{SetPart, encode_set};
use crate::record::BatchHeader;
use commits::commit;

#[derive(Clone, Copy, Debug)]
pub(super) struct Script {
    pub(super) name: &'static str,
    pub(super) segment_bytes: u64,
    pub(super) keeping: Keeping,
    /// Zeros written ahead at a time.
    pub(super) zero_bytes: u64,
    /// How far the operations are apart that one walk ends it at: the next one begins at another.
    pub(super) stride: u64,
    pub(super) play: fn(&mut Stage) -> Option<()>,
}

pub(super) const LEVELS: Script = script("levels", 20 * 1_024, levels);
pub(super) const ROLLS: Script = script("rolls", 6 * 1_024, rolls);
pub(super) const CLOSES: Script = script("closes", 8 * 1_024, closes);
pub(super) const IDLES: Script = script("idles", 8 * 1_024, idles);
pub(super) const CUTS: Script = Script {
    stride: 2,
    ..script("cuts", 8 * 1_024, cuts)
};
pub(super) const PRODUCERS: Script = script("producers", 8 * 1_024, producers);
pub(super) const SETS: Script = script("sets", 12 * 1_024, sets);

pub(super) const ZEROES: Script = Script {
    // Fewer than what is written while a sync runs: so there is need of them then.
    zero_bytes: 2 * 1_024,
    stride: 3,
    ..script("zeroes", 32 * 1_024, zeroes::zeroes)
};

pub(super) const NUMBERS: Script = Script {
    stride: 2,
    ..script("numbers", 6 * 1_024, numbers)
};
pub(super) const KEPT: Script = Script {
    keeping: Keeping::Everything,
    // The database is opened, written and closed in each life, and takes most of the time.
    stride: 6,
    ..script("kept", 6 * 1_024, kept)
};
pub(super) const CLEANED: Script = Script {
    keeping: Keeping::Snapshots,
    stride: 8,
    ..script("cleaned", 6 * 1_024, cleaned)
};

pub(super) const MOVED: Script = Script {
    keeping: Keeping::Snapshots,
    stride: 8,
    ..script("moved", 6 * 1_024, moved)
};

/// The same in a log that gives back whatever is dead.
pub(super) const TIGHT: Script = Script {
    keeping: Keeping::Little,
    stride: 12,
    ..script("tight", 6 * 1_024, moved)
};

/// What is played after each power cut of a script, until the next.
pub(super) const CODA: Script = script("coda", 0, coda);

const fn script(
    name: &'static str,
    segment_bytes: u64,
    play: fn(&mut Stage) -> Option<()>,
) -> Script {
    Script {
        name,
        segment_bytes,
        keeping: Keeping::Nothing,
        zero_bytes: 0,
        stride: 1,
        play,
    }
}

/// A partition of a topic whose uuid is all `topic`.
fn open_of(topic: u8, partition: u32) -> Request {
    let open = PartitionOpen {
        topic: [topic; 16],
        partition: partition as i32,
        start_offset: i64::from(partition) * 100,
    };
    control(Kind::PartitionOpen, partition, &open)
}

fn set_of(requests: Vec<Request>) -> Request {
    let part = |request: Request| SetPart {
        kind: request.kind,
        version: request.version,
        partition: request.partition,
        payload: request.payload,
        log_append_time: false,
    };
    let parts: Vec<_> = requests.into_iter().map(part).collect();
    Request {
        kind: Kind::Set,
        version: PAYLOAD_VERSION,
        partition: PartitionId(0),
        payload: encode_set(&parts),
        ack: Durability::Os,
        topic: Durability::Os,
    }
}

impl Request {
    /// Of a topic at `disk`; the acknowledgement stays what it is.
    fn of_disk_topic(mut self) -> Self {
        self.topic = Durability::Disk;
        self
    }
}

/// Both levels of acknowledgements and of topics, several partitions, sizes from a few bytes to many
/// sectors, in one log.
fn levels(stage: &mut Stage) -> Option<()> {
    stage.open()?;
    stage.append(open_of(1, 0).disk())?;
    stage.append(open_of(2, 1).of_disk_topic())?;
    for (step, len) in [10, 400, 3_000, 8, 700, 1_500, 90, 5_000]
        .into_iter()
        .enumerate()
    {
        let request = stage.batch(0, len);
        stage.append(request)?;
        let request = stage.batch(1, len / 2);
        match step % 4 {
            0 => stage.append(request.of_disk_topic())?,
            1 => stage.append(request.of_disk_topic().disk())?,
            2 => stage.append(request)?,
            _ => stage.append(request.disk())?,
        };
    }
    let request = stage.batch(0, 100);
    stage.append(request)?;
    stage.sync()?;
    let request = stage.batch(1, 600);
    stage.append(request)?;
    stage.close()
}

/// Segments of a frame or two each, some of several before a sync, groups that span them.
fn rolls(stage: &mut Stage) -> Option<()> {
    stage.open()?;
    stage.append(open_of(1, 0))?;
    for step in 0..9_usize {
        let request = stage.batch(0, 300 + 500 * (step % 4));
        stage.append(if step % 4 == 3 {
            request.disk()
        } else {
            request
        })?;
    }
    let group = (0..5).map(|step| stage.batch(0, 900 - 100 * step));
    let group = group.collect();
    stage.append_group(group)?;
    // Larger than a segment: it gets one of its own.
    let request = stage.batch(0, 9_000);
    stage.append(request)?;
    let request = stage.batch(0, 30);
    stage.append(request.disk())?;
    let request = stage.batch(0, 1_900);
    stage.append(request)?;
    Some(())
}

/// Clean closes and others, lives that only read, and a first append after each.
fn closes(stage: &mut Stage) -> Option<()> {
    for round in 0..7_u32 {
        stage.open()?;
        if round != 2 && round != 5 {
            stage.append(open_of(1, round))?;
            for step in 0..3_usize {
                let request = stage.batch(round, 50 + 600 * step);
                stage.append(if step == 1 { request.disk() } else { request })?;
            }
        }
        if round == 1 || round == 4 {
            stage.kill()?;
        }
        if round != 3 {
            stage.close()?;
        }
    }
    Some(())
}

/// MARKs of an idle log, between appends of both levels, over rolls and a clean close.
fn idles(stage: &mut Stage) -> Option<()> {
    stage.open_for_idling()?;
    stage.append(open_of(1, 0).disk())?;
    stage.idle()?;
    for step in 0..6_usize {
        let request = stage.batch(0, 40 + 350 * step);
        stage.append(request)?;
        let request = stage.batch(0, 20);
        stage.append(request.disk())?;
        stage.idle()?;
    }
    stage.close()?;
    stage.open_for_idling()?;
    let request = stage.batch(0, 70);
    stage.append(request.disk())?;
    stage.idle()?;
    let request = stage.batch(0, 800);
    stage.append(request)?;
    Some(())
}

/// Power cuts of every kind within the script, and openings of what they leave.
fn cuts(stage: &mut Stage) -> Option<()> {
    stage.open()?;
    let modes = [
        CrashMode::SubsetOfSectors(3),
        CrashMode::GarbageTail(1),
        CrashMode::OnlySynced,
        CrashMode::TornLastWrite(300),
        CrashMode::Zeroes,
        CrashMode::GarbageTail(2),
        CrashMode::NamesLost,
        CrashMode::LaterFirst(1),
        CrashMode::SubsetOfSectors(8),
    ];
    for (partition, mode) in (0..).zip(modes) {
        stage.append(open_of(1, partition).disk())?;
        for step in 0..3_usize {
            let request = stage.batch(partition, 1_400 - 500 * step);
            stage.append(request)?;
        }
        stage.cut(mode)?;
    }
    Some(())
}

/// Segments whose names are lost, so that their numbers come again, where old ones may be seen; with more
/// entries in the segments before than there were the first time.
fn numbers(stage: &mut Stage) -> Option<()> {
    stage.open()?;
    stage.append(open_of(1, 0).disk())?;
    for round in 0..4_usize {
        for len in [600, 700, 900, 1_100] {
            let request = stage.batch(0, len);
            stage.append(request)?;
        }
        let modes = [CrashMode::OnlySynced, CrashMode::NamesLost];
        stage.cut(modes[round % 2])?;
        for _ in 0..6 {
            let request = stage.batch(0, 20);
            stage.append(request.disk())?;
        }
    }
    let request = stage.batch(0, 1_700);
    stage.append(request)?;
    let request = stage.batch(0, 1_700);
    stage.append(request)?;
    Some(())
}

/// Producers' sequences: several in a partition and one in several, repetitions at both levels, epochs,
/// expiry, a topic's end; over rolls, kills and closes.
fn producers(stage: &mut Stage) -> Option<()> {
    stage.open()?;
    stage.append(open_of(1, 0))?;
    stage.append(open_of(2, 1))?;
    for round in 0..7_usize {
        for (partition, producer_id) in [(0, 7), (0, 8), (1, 7)] {
            let request = stage.next_of(partition, producer_id, 20 + 130 * round);
            let is_disk = (round + partition as usize) % 3 == 2;
            let request = if is_disk { request.disk() } else { request };
            let first = stage.append(request.clone())?;
            if producer_id == 8 {
                stage.repeat(request, first)?;
            }
        }
        match round {
            1 => stage.kill()?,
            2 => {
                let value = stage.value(40);
                let next_epoch = produced(0, &[&value], 7, 1, 0);
                let first = stage.append(next_epoch.clone())?;
                stage.repeat(next_epoch.disk(), first)?;
            }
            3 => {
                let expire = ProducerExpire { producer_id: 8 };
                stage.append(control(Kind::ProducerExpire, 0, &expire))?;
            }
            4 => {
                stage.close()?;
                stage.open()?;
            }
            5 => {
                let delete = TopicDelete { uuid: [2; 16] };
                stage.append(control(Kind::TopicDelete, 0, &delete).disk())?;
                stage.append(open_of(3, 1))?;
            }
            _ => {}
        }
    }
    Some(())
}

/// What was made of records, and how far they were read: two batches of one partition and one of another, with
/// a commit. It is repeated, and what would be the next is refused as a whole, for its last part.
fn processed(stage: &mut Stage, step: usize) -> Option<()> {
    let first = stage.next_of(0, 9, 80 + 700 * step);
    let second = {
        let header = BatchHeader::parse(&first.payload).unwrap();
        let value = stage.value(30);
        produced(0, &[&value], 9, 0, header.last_sequence() + 1)
    };
    let other = stage.next_of(1, 9, 400);
    let parts = vec![first, second, other, commit(stage, 20)];
    let set = set_of(parts);
    let set = if step % 2 == 1 { set.disk() } else { set };
    let appended = stage.append(set.clone())?;
    stage.repeat(set, appended)?;
    let next = stage.next_of(0, 9, 50);
    let gap = produced(1, &[b"never"], 9, 0, 1_000);
    let refused = set_of(vec![next, commit(stage, 20), gap]);
    stage.refuse(refused)
}

/// Entries that happen together, batches among them, small and over many sectors, in groups with batches.
fn sets(stage: &mut Stage) -> Option<()> {
    stage.open()?;
    stage.append(set_of(vec![open_of(1, 0), open_of(1, 1), open_of(2, 2)]).disk())?;
    for step in 0..5_usize {
        let producer = stage.next_of(0, 9, 60);
        stage.append(producer)?;
        let parts = vec![
            commit(stage, 10 + 900 * step),
            open_of(1, 10 + step as u32),
            commit(stage, 300),
        ];
        let request = set_of(parts);
        stage.append(if step % 2 == 0 {
            request.disk()
        } else {
            request
        })?;
        let group = vec![
            stage.batch(1, 700),
            set_of(vec![commit(stage, 500), commit(stage, 5)]),
            stage.batch(2, 40),
        ];
        stage.append_group(group)?;
        processed(stage, step)?;
    }
    let expire = ProducerExpire { producer_id: 9 };
    let delete = TopicDelete { uuid: [2; 16] };
    let parts = vec![
        control(Kind::ProducerExpire, 0, &expire),
        control(Kind::TopicDelete, 0, &delete),
        open_of(4, 30),
    ];
    stage.append(set_of(parts))?;
    stage.close()
}

/// Snapshots at rolls and checkpoints between them, while others append, over kills and closes; and what
/// they make up for is removed.
fn kept(stage: &mut Stage) -> Option<()> {
    stage.open()?;
    stage.append(set_of(vec![open_of(1, 0), open_of(2, 1)]).disk())?;
    for round in 0..5_usize {
        for (partition, producer_id) in [(0, 7), (1, 8)] {
            let request = stage.next_of(partition, producer_id, 300 + 200 * round);
            stage.append(request)?;
        }
        let first = stage.next_of(0, 7, 900);
        let others = vec![stage.batch(1, 500), stage.batch(1, 50 + 300 * round)];
        stage.append_while_syncing(first, others)?;
        stage.sync()?;
        stage.clean(2)?;
        match round {
            1 => stage.kill()?,
            2 => {
                let delete = TopicDelete { uuid: [2; 16] };
                stage.append(control(Kind::TopicDelete, 0, &delete))?;
                stage.append(open_of(3, 1).disk())?;
            }
            3 => {
                stage.close()?;
                stage.open()?;
            }
            _ => {}
        }
    }
    stage.close()
}

/// Segments at the front removed, behind snapshots, before and after kills, closes and power cuts.
fn cleaned(stage: &mut Stage) -> Option<()> {
    stage.open()?;
    stage.append(set_of(vec![open_of(1, 0), open_of(1, 1)]).disk())?;
    for round in 0..9_usize {
        for len in [1_500, 700, 900] {
            let request = stage.next_of(0, 7, len);
            stage.append(request)?;
            let request = stage.batch(1, len);
            stage.append(request)?;
        }
        let request = stage.batch(1, 20);
        stage.append(request.disk())?;
        // Eight records a round and partition.
        let living = [20, 6, 0, 2];
        stage.clean(living[round % living.len()])?;
        match round {
            4 => stage.kill()?,
            6 => {
                stage.close()?;
                stage.open()?;
            }
            7 => stage.cut(CrashMode::OnlySynced)?,
            _ => {}
        }
    }
    let request = stage.batch(0, 40);
    stage.append(request.disk())?;
    stage.clean(1)
}

/// What lives among what is dead moved into cold segments, and of those again, over kills, closes and cuts.
fn moved(stage: &mut Stage) -> Option<()> {
    stage.open()?;
    stage.append(set_of(vec![open_of(1, 0), open_of(1, 1), open_of(1, 2)]).disk())?;
    for round in 0..9_i64 {
        for len in [1_900, 1_800, 1_700, 1_600] {
            let request = stage.next_of(0, 7, len);
            stage.append(request)?;
            let request = stage.batch(1, 100);
            stage.append(request)?;
        }
        let request = stage.batch(2, 20);
        stage.append(request.disk())?;
        // Of partition 1, eight records a round, half die in the end; of partition 2 none does.
        let of_second = if round < 7 { 8 * round + 8 } else { 40 };
        stage.clean_each(|partition| [2, of_second, 2 * round + 2][partition as usize])?;
        match round {
            3 => stage.kill()?,
            5 => {
                stage.close()?;
                stage.open()?;
            }
            7 => stage.cut(CrashMode::OnlySynced)?,
            _ => {}
        }
    }
    Some(())
}

/// Frames of other sizes than before, and of the same; enough for a roll; both levels.
fn coda(stage: &mut Stage) -> Option<()> {
    stage.open()?;
    if !stage.has(0) {
        stage.append(open_of(1, 0))?;
    }
    for len in [700, 10] {
        let request = stage.next_of(0, 77, len);
        stage.append(request)?;
    }
    let request = stage.batch(0, 1_400);
    stage.append(request.disk())?;
    let group = vec![
        stage.batch(0, 400),
        set_of(vec![commit(stage, 40), commit(stage, 4)]),
    ];
    stage.append_group(group)?;
    let request = stage.batch(0, 1_900);
    stage.append(request)?;
    let request = stage.next_of(0, 77, 50);
    stage.append(request.disk())?;
    let request = stage.batch(0, 3_000);
    stage.append(request)?;
    Some(())
}
