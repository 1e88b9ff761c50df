//! What happens to the group: writes, leaders cut off with entries that nobody else has, elections, snapshots;
//! and members that lose their power at some operation of their disks, also while they come back.
//!
//! A seed decides what is done to the group and what the power cuts leave. When elections begin openraft
//! draws by itself, so the same seed is the same misfortune, not the same story.

use std::io::Write as _;
use std::time::Duration;

use headwater::log::storage::faulty::CrashMode;

use super::group::Group;
use super::node::Death;
use super::store::Bug;

/// Deaths of all runs together.
const CRASH_POINTS: u64 = 1_000;
/// Tests that share them, and runs of each.
const TESTS: u64 = 4;
const RUNS: u64 = 5;

const _: () = assert!(CRASH_POINTS.is_multiple_of(TESTS * RUNS));

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn death(&mut self) -> Death {
        Death::Cut(match self.below(9) {
            0 => CrashMode::OnlySynced,
            1 => CrashMode::AllWritten,
            2 => CrashMode::SubsetOfSectors(self.next()),
            3 => CrashMode::TornLastWrite(self.below(300) as usize),
            4 => CrashMode::Zeroes,
            5 => CrashMode::GarbageTail(self.next()),
            6 => CrashMode::NamesLost,
            7 => CrashMode::LaterFirst(1 + self.below(2) as usize),
            _ => return Death::Kill,
        })
    }
}

/// What came about, in numbers.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    crashes: u64,
    acked: u64,
    truncations: u64,
    purges: u64,
}

async fn run(seed: u64, crashes: u64, bug: Option<Bug>) -> Result<Tally, String> {
    let mut random = Random(seed);
    let mut group = Group::new(bug).await?;
    let mut tally = Tally::default();
    while tally.crashes < crashes {
        step(&group, &mut random).await;
        for at in 0..group.nodes.len() {
            if group.nodes[at].is_off() {
                let next = || {
                    (
                        random.death(),
                        (random.below(4) == 0).then(|| random.below(25)),
                    )
                };
                tally.crashes += group.replace(at, next).await?;
            }
        }
    }
    let checked = group.check().await;
    tally.acked = group.acked() as u64;
    for node in &group.nodes {
        tally.truncations += node.promise().truncations;
        tally.purges += node.promise().purges;
    }
    group.end().await?;
    checked.map(|()| tally)
}

async fn step(group: &Group, random: &mut Random) {
    let any = random.below(3) as usize;
    match random.below(12) {
        0..=4 => {
            for at in group.leaders() {
                (0..1 + random.below(4)).for_each(|_| group.write(at));
            }
        }
        5 | 6 => group.nodes[any].arm(random.below(40), random.below(5) == 0),
        7 => isolate(group, random),
        8 => overthrow(group, random).await,
        9 => group.network.mend(),
        10 => {
            if let Some(member) = group.nodes[any].member() {
                drop(member.trigger().elect(false).await);
            }
        }
        _ => {
            if let Some(member) = group.nodes[any].member() {
                drop(member.trigger().snapshot().await);
            }
        }
    }
    tokio::time::sleep(Duration::from_millis(random.below(120))).await;
}

/// Cuts a leader off, mostly, and has it write what nobody else will hear of.
fn isolate(group: &Group, random: &mut Random) {
    let any = random.below(3) as usize;
    let at = group.leaders().first().copied().unwrap_or(any);
    isolate_one(group, at, random.below(4) == 0);
    (0..1 + random.below(4)).for_each(|_| group.write(at));
}

fn isolate_one(group: &Group, at: usize, is_one_way: bool) {
    let id = group.nodes[at].id;
    for other in 1..=3 {
        group.network.cut(id, other);
        if !is_one_way {
            group.network.cut(other, id);
        }
    }
}

/// A leader writes what nobody hears of; the others find another; then it hears of that, and has to take back
/// what it wrote. Its power goes at some operation of that, or of what comes next.
async fn overthrow(group: &Group, random: &mut Random) {
    let before = group.leaders();
    let Some(at) = before.first().copied() else {
        return;
    };
    group.network.mend();
    isolate_one(group, at, false);
    (0..1 + random.below(5)).for_each(|_| group.write(at));
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let others = group.leaders().into_iter().filter(|other| *other != at);
        let others: Vec<_> = others.collect();
        if !others.is_empty() {
            others.iter().for_each(|other| group.write(*other));
            break;
        }
    }
    if random.below(3) > 0 {
        group.nodes[at].arm(random.below(16), false);
    }
    group.network.mend();
    tokio::time::sleep(Duration::from_millis(200)).await;
}

async fn runs(test: u64) {
    let mut sum = Tally::default();
    for run_number in 0..RUNS {
        let seed = test * RUNS + run_number;
        let tally = run(seed, CRASH_POINTS / TESTS / RUNS, None).await;
        let tally = tally.unwrap_or_else(|problem| panic!("seed {seed}: {problem}"));
        sum.crashes += tally.crashes;
        sum.acked += tally.acked;
        sum.truncations += tally.truncations;
        sum.purges += tally.purges;
    }
    let line = format!("group: {sum:?}\n");
    // Past the test runner's capture: the numbers are to be seen.
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    assert!(sum.crashes >= CRASH_POINTS / TESTS, "{sum:?}");
    let least = sum.acked.min(sum.truncations).min(sum.purges);
    assert!(least >= 20, "{sum:?}");
}

/// Whether a member with a bug is found out by one of a few runs.
async fn is_found(bug: Bug) -> bool {
    for seed in 1_000..1_010 {
        if run(seed, CRASH_POINTS / TESTS / RUNS, Some(bug))
            .await
            .is_err()
        {
            return true;
        }
    }
    false
}

#[tokio::test(start_paused = true)]
async fn a_group_that_acknowledges_what_is_not_synced_is_found_out() {
    assert!(is_found(Bug::AckUnsynced).await);
}

#[tokio::test(start_paused = true)]
async fn a_group_that_keeps_what_a_new_leader_takes_back_is_found_out() {
    assert!(is_found(Bug::TruncateNothing).await);
}

#[tokio::test(start_paused = true)]
async fn a_group_keeps_what_it_acknowledged_through_250_power_cuts() {
    runs(0).await;
}

#[tokio::test(start_paused = true)]
async fn a_group_keeps_what_it_acknowledged_through_250_more() {
    runs(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_group_keeps_what_it_acknowledged_through_250_others() {
    runs(2).await;
}

#[tokio::test(start_paused = true)]
async fn a_group_keeps_what_it_acknowledged_through_the_last_250() {
    runs(3).await;
}
