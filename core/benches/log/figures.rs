//! Medians, and two sides of which one is measured against the other.

use std::time::{Duration, Instant};

/// Clock ticks a second, in which Linux counts processor time for programs.
const TICKS_PER_S: f64 = 100.0;

pub(crate) struct Percentiles {
    pub(crate) p25: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) mean: f64,
}

/// Of times, in us.
pub(crate) fn percentiles(mut times: Vec<Duration>) -> Percentiles {
    times.sort_unstable();
    let at = |part: usize| {
        let time = times.get(times.len() * part / 1_000).copied();
        time.unwrap_or_default().as_secs_f64() * 1e6
    };
    let sum: f64 = times.iter().map(Duration::as_secs_f64).sum();
    Percentiles {
        p25: at(250),
        p50: at(500),
        p99: at(990),
        p999: at(999),
        mean: sum / times.len().max(1) as f64 * 1e6,
    }
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// How fast something was.
#[derive(Clone, Copy, Default)]
pub(crate) struct Speed {
    bytes: f64,
    time_s: f64,
    /// Processor time of this process, all its threads and what the system did for it.
    cpu_s: f64,
}

impl Speed {
    /// Of `work`, which answers how many bytes it has done.
    pub(crate) fn of(work: impl FnOnce() -> u64) -> Self {
        let begin = Processors::now();
        let bytes = work() as f64;
        let end = Processors::now();
        Self {
            bytes,
            time_s: (end.at - begin.at).as_secs_f64(),
            cpu_s: end.own - begin.own,
        }
    }

    fn mb_per_s(&self) -> f64 {
        self.bytes / self.time_s / 1e6
    }
}

/// Two sides in alternating rounds. The ratio is the median of the rounds' own, since what disturbs a machine
/// mostly disturbs both sides of a round.
pub(crate) struct Sides {
    /// What is measured, and what it is measured against.
    names: [&'static str; 2],
    /// A pair for each round.
    rounds: Vec<[Speed; 2]>,
    /// The share of the processors that others took.
    others: f64,
}

impl Sides {
    /// Runs both sides so often, who begins alternating too; each is given the number of the round.
    pub(crate) fn measure(
        names: [&'static str; 2],
        rounds: usize,
        sides: [&mut dyn FnMut(usize) -> Speed; 2],
    ) -> Self {
        let begun = Processors::now();
        let mut measured = Vec::new();
        for round in 0..rounds {
            let mut speeds = [Speed::default(); 2];
            for turn in 0..2 {
                let side = (round + turn) % 2;
                speeds[side] = sides[side](round);
            }
            measured.push(speeds);
        }
        Self {
            names,
            rounds: measured,
            others: begun.others(),
        }
    }

    /// Prints medians and spreads, and the ratio beside the bar, in percent.
    pub(crate) fn print(&self, what: &str, bar: u32) {
        println!("{what}");
        for side in 0..2 {
            let of_side = || self.rounds.iter().map(|speeds| speeds[side]);
            let rates = of_side().map(|speed| speed.mb_per_s());
            let cpu_s: f64 = of_side().map(|speed| speed.cpu_s).sum();
            let bytes: f64 = of_side().map(|speed| speed.bytes).sum();
            println!(
                "    {:<17}{}, {:.2} s CPU/GB",
                self.names[side],
                spread(rates.collect(), "MB/s"),
                cpu_s / (bytes / 1e9)
            );
        }
        let ratios = self.rounds.iter();
        let ratios = ratios.map(|[ours, other]| ours.mb_per_s() / other.mb_per_s() * 100.0);
        let ratios: Vec<_> = ratios.collect();
        let is_missed = median(ratios.clone()) < f64::from(bar);
        println!(
            "    {:<17}{}; the bar is {bar} %{}; others took {:.0} % of the processors",
            "ratio",
            spread(ratios, "%"),
            if is_missed { ": MISSED" } else { "" },
            self.others * 100.0
        );
    }
}

fn spread(values: Vec<f64>, unit: &str) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    format!("{:8.1} {unit} ({least:.1} to {most:.1})", median(values))
}

/// Seconds of processor time that all programs took so far, and this one.
struct Processors {
    at: Instant,
    all: f64,
    own: f64,
}

impl Processors {
    /// Zeros where there is no `/proc`.
    fn now() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let ticks = |fields: &str, skip: usize, take: usize| {
            let fields = fields.split_whitespace().skip(skip).take(take);
            let ticks = fields.filter_map(|field| field.parse::<f64>().ok());
            ticks.sum::<f64>() / TICKS_PER_S
        };
        let all = read("/proc/stat");
        // User, nice, system; then idle and waiting; then interrupts.
        let all = ticks(&all, 1, 3) + ticks(&all, 6, 2);
        let own = read("/proc/self/stat");
        let own = ticks(own.rsplit(')').next().unwrap_or_default(), 11, 2);
        let at = Instant::now();
        Self { at, all, own }
    }

    /// The share of the processors that others took since.
    fn others(&self) -> f64 {
        let now = Self::now();
        let count = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let others = (now.all - self.all) - (now.own - self.own);
        others.max(0.0) / (now.at - self.at).as_secs_f64() / count
    }
}
