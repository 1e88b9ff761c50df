//! What the machine gives to any program.

use std::fs::{File, remove_file};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use super::Result;
use super::figures::{Figures, Shape, timed};

/// Bytes of what is synced by itself: a block.
const BLOCK_BYTES: usize = 4_096;

/// A plain file that grows by one write a batch, synced after each or not at all.
pub(crate) fn file(path: &str, shape: &Shape, is_synced: bool) -> Result<Figures> {
    let batch = shape.value().repeat(usize::try_from(shape.batch)?);
    let mut file = File::create(path)?;
    let begun = Instant::now();
    for _ in 0..shape.records / shape.batch {
        file.write_all(&batch)?;
        if is_synced {
            file.sync_data()?;
        }
    }
    let elapsed = begun.elapsed();
    remove_file(path)?;
    Ok(shape.done_in(elapsed))
}

/// A block written to the end of a file and synced.
pub(crate) fn fdatasync(path: &str, shape: &Shape) -> Result<Figures> {
    let mut file = File::create(path)?;
    let block = vec![b'x'; BLOCK_BYTES];
    let figures = timed(shape, || {
        file.write_all(&block)?;
        Ok(file.sync_data()?)
    })?;
    remove_file(path)?;
    Ok(figures)
}

/// A value to another thread and back, over loopback.
pub(crate) fn echo(shape: &Shape) -> Result<Figures> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut stream = TcpStream::connect(listener.local_addr()?)?;
    stream.set_nodelay(true)?;
    let (mut other, _) = listener.accept()?;
    other.set_nodelay(true)?;
    let echoing = std::thread::spawn(move || -> std::io::Result<()> {
        let mut buffer = [0; BLOCK_BYTES];
        loop {
            match other.read(&mut buffer)? {
                0 => return Ok(()),
                count => other.write_all(buffer.get(..count).unwrap_or_default())?,
            }
        }
    });
    let value = shape.value();
    let mut back = vec![0; value.len()];
    let figures = timed(shape, || {
        stream.write_all(&value)?;
        Ok(stream.read_exact(&mut back)?)
    })?;
    drop(stream);
    echoing.join().map_err(|_| "the echo panicked")??;
    Ok(figures)
}
