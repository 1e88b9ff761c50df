//! What both protocols have in common: answers made of lines, and a window of what is not answered.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Result;
use super::figures::{Figures, Shape};

/// Whoever is silent for so long will not answer.
const SILENCE: Duration = Duration::from_secs(30);
const BUFFER_BYTES: usize = 1 << 20;
/// How long a writer sleeps whose window is full.
const NAP: Duration = Duration::from_micros(20);

/// A connection: one half writes, the other reads.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) to: TcpStream,
    pub(crate) from: BufReader<TcpStream>,
}

impl Wire {
    pub(crate) fn connect(port: u16) -> Result<Self> {
        let to = TcpStream::connect(("127.0.0.1", port))?;
        to.set_nodelay(true)?;
        to.set_read_timeout(Some(SILENCE))?;
        let from = BufReader::with_capacity(BUFFER_BYTES, to.try_clone()?);
        Ok(Self { to, from })
    }

    pub(crate) fn say(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.to.write_all(bytes)?)
    }

    /// The next line, without its end.
    pub(crate) fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.from.read_line(&mut line)? == 0 {
            return Err("the server closed the connection".into());
        }
        line.truncate(line.trim_end().len());
        Ok(line)
    }

    /// So many bytes, and the end of the line behind them.
    pub(crate) fn body(&mut self, count: usize) -> Result<Vec<u8>> {
        let mut body = vec![0; count + 2];
        self.from.read_exact(&mut body)?;
        body.truncate(count);
        Ok(body)
    }

    /// Reads so many lines, and not a byte more.
    pub(crate) fn skip_lines(&mut self, wanted: u64) -> Result<()> {
        let mut left = wanted;
        while left > 0 {
            let buffer = self.from.fill_buf()?;
            if buffer.is_empty() {
                return Err("the server closed the connection".into());
            }
            let seen = newlines(buffer);
            let count = if seen < left {
                buffer.len()
            } else {
                let ends = buffer
                    .iter()
                    .enumerate()
                    .filter(|(_, byte)| **byte == b'\n');
                let last = ends.map(|(at, _)| at).nth(usize::try_from(left - 1)?);
                last.map_or(buffer.len(), |at| at + 1)
            };
            self.from.consume(count);
            left -= seen.min(left);
        }
        Ok(())
    }

    /// Reads what there is and counts the lines that end in it.
    fn some_lines(&mut self) -> Result<u64> {
        let buffer = self.from.fill_buf()?;
        if buffer.is_empty() {
            return Err("the server closed the connection".into());
        }
        let seen = newlines(buffer);
        let count = buffer.len();
        self.from.consume(count);
        Ok(seen)
    }
}

fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// Makes the requests for so many records of a partition, to be written to this connection.
pub(crate) type Requests<'a> = &'a dyn Fn(&Wire, u64, u64) -> Result<Vec<u8>>;

/// Writes all records, each of whose answers has two lines.
pub(crate) fn produce(
    shape: &Shape,
    mut wires: Vec<Wire>,
    window: u64,
    requests: Requests<'_>,
) -> Result<Figures> {
    match &mut wires[..] {
        [wire] => over_one(shape, wire, window, requests),
        wires => over_many(shape, wires, requests),
    }
}

/// A batch of one partition after a batch of the other, with at most `window` records not answered.
fn over_one(
    shape: &Shape,
    wire: &mut Wire,
    window: u64,
    requests: Requests<'_>,
) -> Result<Figures> {
    let batch = shape.batch.min(window / 2).max(1);
    // Made before the clock runs, the same whenever it is the partition's turn.
    let batches = (0..shape.partitions).map(|number| requests(wire, number, batch));
    let batches = batches.collect::<Result<Vec<_>>>()?;
    let rest = requests(wire, 0, shape.records % batch)?;
    let mut turns = batches.iter().cycle();
    let lines = AtomicU64::new(0);
    let mut to = wire.to.try_clone()?;
    let begun = Instant::now();
    std::thread::scope(|scope| -> Result<()> {
        let counting = scope.spawn(|| {
            let mut count = || -> Result<()> {
                while lines.load(Ordering::Relaxed) < shape.records * 2 {
                    lines.fetch_add(wire.some_lines()?, Ordering::Release);
                }
                Ok(())
            };
            count().map_err(|error| error.to_string())
        });
        let mut sent = 0;
        while sent < shape.records {
            let count = batch.min(shape.records - sent);
            while sent + count - lines.load(Ordering::Acquire) / 2 > window
                && !counting.is_finished()
            {
                std::thread::sleep(NAP);
            }
            match turns.next() {
                Some(whole) if count == batch => to.write_all(whole)?,
                _ => to.write_all(&rest)?,
            }
            sent += count;
        }
        let counted = counting.join().map_err(|_| "the reader panicked")?;
        Ok(counted?)
    })?;
    Ok(shape.done_in(begun.elapsed()))
}

/// A batch to one connection after the other, from this thread, each of which has one on its way.
fn over_many(shape: &Shape, wires: &mut [Wire], requests: Requests<'_>) -> Result<Figures> {
    let mut unanswered = vec![0; wires.len()];
    let begun = Instant::now();
    let mut sent = 0;
    while sent < shape.records {
        for (wire, unanswered) in wires.iter_mut().zip(&mut unanswered) {
            wire.skip_lines(*unanswered)?;
            let count = shape.batch.min(shape.records - sent);
            let bytes = requests(wire, 0, count)?;
            wire.say(&bytes)?;
            sent += count;
            *unanswered = count * 2;
        }
    }
    for (wire, unanswered) in wires.iter_mut().zip(unanswered) {
        wire.skip_lines(unanswered)?;
    }
    Ok(shape.done_in(begun.elapsed()))
}
