//! What is to be done, and what is told of it.

use std::fmt;
use std::time::{Duration, Instant};

use super::Result;

/// How much work, and in what form.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) records: u64,
    pub(crate) size: usize,
    /// Records written at once.
    pub(crate) batch: u64,
    /// Records a second; 0: one in flight.
    pub(crate) rate: u64,
    pub(crate) partitions: u64,
    pub(crate) connections: usize,
}

impl Shape {
    pub(crate) fn of(options: &[String]) -> Result<Self> {
        let mut shape = Self {
            records: 1,
            size: 100,
            batch: 1_000,
            rate: 0,
            partitions: 1,
            connections: 1,
        };
        for pair in options.chunks(2) {
            let [name, value] = pair else {
                return Err(format!("{pair:?} has no value").into());
            };
            let value: u64 = value.parse()?;
            match name.as_str() {
                "--records" => shape.records = value,
                "--size" => shape.size = usize::try_from(value)?,
                "--batch" => shape.batch = value,
                "--rate" => shape.rate = value,
                "--partitions" => shape.partitions = value,
                "--connections" => shape.connections = usize::try_from(value)?,
                _ => return Err(format!("{name} is no option").into()),
            }
        }
        Ok(shape)
    }

    /// A value: hexadecimal digits, so that no answer that is made of lines has more of them for it.
    pub(crate) fn value(&self) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut value = Vec::with_capacity(self.size + 16);
        while value.len() < self.size {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            value.extend_from_slice(format!("{state:016x}").as_bytes());
        }
        value.truncate(self.size);
        value
    }

    /// The figures of a work whose records were all done in this time.
    pub(crate) fn done_in(&self, elapsed: Duration) -> Figures {
        Figures {
            records: self.records,
            size: self.size,
            elapsed,
            latencies: Vec::new(),
        }
    }
}

/// What a work did.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) records: u64,
    pub(crate) size: usize,
    pub(crate) elapsed: Duration,
    /// Of each record that was timed, sorted when printed.
    pub(crate) latencies: Vec<Duration>,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
        let per_second = self.records as f64 / seconds;
        write!(
            f,
            "{{\"records\": {}, \"size_bytes\": {}, \"elapsed_s\": {seconds:.6}, \
             \"records_per_s\": {per_second:.1}, \"mb_per_s\": {:.3}",
            self.records,
            self.size,
            per_second * self.size as f64 / 1e6
        )?;
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let Some(last) = sorted.len().checked_sub(1) else {
            return f.write_str("}");
        };
        let at = |share: f64| {
            let found = sorted.get((last as f64 * share).round() as usize);
            found.copied().unwrap_or_default().as_nanos() as f64 / 1e3
        };
        write!(
            f,
            ", \"latency_us\": {{\"p50\": {:.2}, \"p99\": {:.2}, \"p999\": {:.2}, \"max\": {:.2}}}}}",
            at(0.5),
            at(0.99),
            at(0.999),
            at(1.0)
        )
    }
}

/// Times a call over and over.
pub(crate) fn timed(shape: &Shape, mut once: impl FnMut() -> Result<()>) -> Result<Figures> {
    let mut latencies = Vec::with_capacity(usize::try_from(shape.records)?);
    // The first pays for what is set up once.
    once()?;
    let begun = Instant::now();
    for _ in 0..shape.records {
        let asked = Instant::now();
        once()?;
        latencies.push(asked.elapsed());
    }
    Ok(Figures {
        latencies,
        ..shape.done_in(begun.elapsed())
    })
}

/// The digits that say in a value when it was due, in nanoseconds since the work began.
const DUE_DIGITS: usize = 16;

/// Writes into a value when it was due.
pub(crate) fn stamp(value: &mut [u8], due: Duration) -> Result<()> {
    let digits = value.first_chunk_mut::<DUE_DIGITS>();
    let digits = digits.ok_or_else(|| format!("--size must be {DUE_DIGITS} or more"))?;
    digits.copy_from_slice(format!("{:016x}", due.as_nanos()).as_bytes());
    Ok(())
}

/// Reads from a value when it was due.
pub(crate) fn stamped(value: &[u8]) -> Result<Duration> {
    let digits = value
        .first_chunk::<DUE_DIGITS>()
        .ok_or("a value without a time")?;
    let nanos = u64::from_str_radix(std::str::from_utf8(digits)?, 16)?;
    Ok(Duration::from_nanos(nanos))
}

/// Calls once for each record, when it is due, and says when that was.
pub(crate) fn paced(
    shape: &Shape,
    begun: Instant,
    mut send: impl FnMut(Duration) -> Result<()>,
) -> Result<()> {
    for number in 0..shape.records {
        let due = Duration::from_secs_f64(number as f64 / shape.rate.max(1) as f64);
        sleep_until(begun + due);
        send(due)?;
    }
    Ok(())
}

/// Sleeps most of the time and spins the rest, as `headwater bench` does.
fn sleep_until(due: Instant) {
    const SPIN: Duration = Duration::from_micros(200);
    if let Some(rest) = due.checked_duration_since(Instant::now())
        && rest > SPIN
    {
        std::thread::sleep(rest - SPIN);
    }
    while Instant::now() < due {
        std::hint::spin_loop();
    }
}
