//! Redis Streams: a partition is a stream, a record an entry of one field.

use std::io::Write;
use std::time::Instant;

use super::Result;
use super::figures::{Figures, Shape, paced, stamp, stamped, timed};
use super::wire::{Wire, produce};

/// Entries not answered. Redis answers (and syncs) what one turn of its event loop has read.
const WINDOW: u64 = 16_384;
/// Entries asked for at once.
const COUNT: u64 = 2_000;
/// The lines of an entry: its length, its id and the id's length, the fields' number, a name, a value, two lengths.
const ENTRY_LINES: usize = 8;

pub(crate) fn run(port: u16, work: &str, shape: &Shape) -> Result<Figures> {
    match work {
        "produce" => {
            forget(port, shape)?;
            let value = shape.value();
            let wires = (0..shape.connections).map(|_| Wire::connect(port));
            let wires = wires.collect::<Result<Vec<_>>>()?;
            let figures = produce(shape, wires, WINDOW, &|_, partition, count| {
                Ok(add(partition, &value).repeat(usize::try_from(count)?))
            })?;
            check(port, shape)?;
            Ok(figures)
        }
        "consume" => consume(port, shape),
        "latency" => {
            forget(port, shape)?;
            let mut wire = Wire::connect(port)?;
            let request = add(0, &shape.value());
            timed(shape, || {
                wire.say(&request)?;
                added(&mut wire)
            })
        }
        "end-to-end" => end_to_end(port, shape),
        _ => Err(format!("{work} is no work").into()),
    }
}

fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

fn stream(partition: u64) -> String {
    format!("s{partition}")
}

fn add(partition: u64, value: &[u8]) -> Vec<u8> {
    command(&[b"XADD", stream(partition).as_bytes(), b"*", b"f", value])
}

/// The answer to an entry: its id.
fn added(wire: &mut Wire) -> Result<()> {
    let length = wire.line()?;
    if !length.starts_with('$') {
        return Err(length.into());
    }
    wire.line().map(drop)
}

/// A number that is an answer.
fn number(wire: &mut Wire, words: &[&[u8]]) -> Result<u64> {
    wire.say(&command(words))?;
    let line = wire.line()?;
    let number = line.strip_prefix(':').ok_or_else(|| line.clone())?;
    Ok(number.parse()?)
}

/// Removes what a work before has left.
fn forget(port: u16, shape: &Shape) -> Result<()> {
    let mut wire = Wire::connect(port)?;
    for partition in 0..shape.partitions {
        number(&mut wire, &[b"DEL", stream(partition).as_bytes()])?;
    }
    Ok(())
}

/// Whether everything is there.
fn check(port: u16, shape: &Shape) -> Result<()> {
    let mut wire = Wire::connect(port)?;
    let lengths =
        (0..shape.partitions).map(|it| number(&mut wire, &[b"XLEN", stream(it).as_bytes()]));
    let there = lengths.sum::<Result<u64>>()?;
    if there == shape.records {
        return Ok(());
    }
    Err(format!("{there} of {} entries are there", shape.records).into())
}

fn read(wire: &mut Wire, words: &[&[u8]], last_id: &mut String) -> Result<Option<Vec<Vec<u8>>>> {
    let stream = stream(0);
    let words = [words, &[b"STREAMS", stream.as_bytes(), last_id.as_bytes()]].concat();
    wire.say(&command(&words))?;
    let first = wire.line()?;
    if first == "*-1" {
        return Ok(None);
    }
    // One stream of two parts: its name, and its entries.
    for _ in 0..3 {
        wire.line()?;
    }
    let line = wire.line()?;
    let entries: u64 = line
        .strip_prefix('*')
        .ok_or_else(|| line.clone())?
        .parse()?;
    let mut values = Vec::new();
    for _ in 0..entries {
        for place in 0..ENTRY_LINES - 2 {
            let line = wire.line()?;
            if place == 2 {
                *last_id = line;
            }
        }
        let line = wire.line()?;
        let length = line
            .strip_prefix('$')
            .ok_or_else(|| line.clone())?
            .parse()?;
        values.push(wire.body(length)?);
    }
    Ok(Some(values))
}

/// Reads a stream from its beginning. Only the last entry of an answer is taken apart, for its id.
fn consume(port: u16, shape: &Shape) -> Result<Figures> {
    let mut wire = Wire::connect(port)?;
    let count = COUNT.to_string();
    let entry_lines = ENTRY_LINES as u64;
    let (mut seen, mut last_id) = (0, "0-0".to_owned());
    let stream = stream(0);
    let begun = Instant::now();
    while seen < shape.records {
        let words: [&[u8]; 6] = [
            b"XREAD",
            b"COUNT",
            count.as_bytes(),
            b"STREAMS",
            stream.as_bytes(),
            last_id.as_bytes(),
        ];
        wire.say(&command(&words))?;
        for _ in 0..4 {
            wire.line()?;
        }
        let line = wire.line()?;
        let entries: u64 = line
            .strip_prefix('*')
            .ok_or_else(|| line.clone())?
            .parse()?;
        wire.skip_lines(entries.saturating_sub(1) * entry_lines)?;
        for place in 0..ENTRY_LINES {
            let line = wire.line()?;
            if place == 2 {
                last_id = line;
            }
        }
        seen += entries;
    }
    Ok(shape.done_in(begun.elapsed()))
}

fn end_to_end(port: u16, shape: &Shape) -> Result<Figures> {
    forget(port, shape)?;
    let mut sending = Wire::connect(port)?;
    let mut reading = Wire::connect(port)?;
    let mut value = shape.value();
    // The first pays for what is set up once, and is not counted.
    sending.say(&add(0, &value))?;
    added(&mut sending)?;
    let mut last_id = "0-0".to_owned();
    read(&mut reading, &[b"XREAD"], &mut last_id)?;
    let mut to = sending.to.try_clone()?;
    let begun = Instant::now();
    let latencies = std::thread::scope(|scope| -> Result<_> {
        let receiving = scope.spawn(|| {
            let mut receive = || -> Result<_> {
                let mut latencies = Vec::new();
                while (latencies.len() as u64) < shape.records {
                    let words: &[&[u8]] = &[b"XREAD", b"BLOCK", b"20000"];
                    let values = read(&mut reading, words, &mut last_id)?.ok_or("nothing came")?;
                    let now = begun.elapsed();
                    for value in values {
                        latencies.push(now.saturating_sub(stamped(&value)?));
                    }
                }
                Ok(latencies)
            };
            receive().map_err(|error| error.to_string())
        });
        let draining = scope.spawn(move || {
            let drained = sending.skip_lines(shape.records * 2);
            drained.map_err(|error| error.to_string())
        });
        paced(shape, begun, |due| {
            stamp(&mut value, due)?;
            Ok(to.write_all(&add(0, &value))?)
        })?;
        draining.join().map_err(|_| "the reader panicked")??;
        let received = receiving.join().map_err(|_| "the reader panicked")?;
        Ok(received?)
    })?;
    Ok(Figures {
        latencies,
        ..shape.done_in(begun.elapsed())
    })
}
