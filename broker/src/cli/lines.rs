//! The lines of an input, read ahead by a thread, so that a command that waits for one can be ended.

use std::io::{self, BufRead, ErrorKind};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};

use headwater::{Error, ErrorCode};

use super::stop::LOOK;

/// Bytes of a line; a longer one is an error rather than memory without end.
const LINE_BYTES_MAX: usize = headwater::limits::BATCH_BYTES_MAX;
/// Reads that may wait to be taken.
const CHUNKS_MAX: usize = 4;

/// Lines, one by one.
///
/// Dropped before the input ended, the thread stays behind until its read returns: nothing can end a
/// read of a terminal.
#[derive(Debug)]
pub(super) struct Lines {
    chunks: Receiver<io::Result<Vec<u8>>>,
    chunk: Vec<u8>,
    /// Where the chunk's next line begins.
    at: usize,
    line: Vec<u8>,
}

/// What came of asking for a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<'a> {
    /// A line, without its end.
    Line(&'a [u8]),
    /// There are no more.
    End,
    /// The command is to end.
    Stopped,
}

impl Lines {
    /// Begins to read.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(super) fn new(input: Box<dyn BufRead + Send>) -> Result<Self, Error> {
        let (sender, chunks) = mpsc::sync_channel(CHUNKS_MAX);
        let thread = std::thread::Builder::new().name("headwater-input".to_owned());
        thread
            .spawn(move || read_all(input, &sender))
            .map_err(|error| unreadable(&error))?;
        Ok(Self {
            chunks,
            chunk: Vec::new(),
            at: 0,
            line: Vec::new(),
        })
    }

    /// The next line; `is_stopped` is asked between lines, and again and again while there is none.
    ///
    /// # Errors
    /// `MESSAGE_TOO_LARGE` for a line that cannot be a record; when the input cannot be read.
    pub(super) fn next(&mut self, is_stopped: impl Fn() -> bool) -> Result<Next<'_>, Error> {
        self.line.clear();
        loop {
            if is_stopped() {
                return Ok(Next::Stopped);
            }
            let rest = self.chunk.get(self.at..).unwrap_or_default();
            let end = rest.iter().position(|byte| *byte == b'\n');
            let (line, taken) = match end {
                Some(end) => (rest.get(..end).unwrap_or_default(), end + 1),
                None => (rest, rest.len()),
            };
            if self.line.len() + line.len() > LINE_BYTES_MAX {
                return Err(Error::new(
                    ErrorCode::MessageTooLarge,
                    format!("a line of more than {LINE_BYTES_MAX} bytes"),
                ));
            }
            self.line.extend_from_slice(line);
            self.at += taken;
            if end.is_some() {
                return Ok(Next::Line(self.ended_line()));
            }
            match self.chunks.recv_timeout(LOOK) {
                Ok(chunk) => {
                    self.chunk = chunk.map_err(|error| unreadable(&error))?;
                    self.at = 0;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) if self.line.is_empty() => {
                    return Ok(Next::End);
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(Next::Line(self.ended_line())),
            }
        }
    }

    /// The line that was given out last.
    pub(super) fn line(&self) -> &[u8] {
        &self.line
    }

    fn ended_line(&mut self) -> &[u8] {
        if self.line.last() == Some(&b'\r') {
            self.line.pop();
        }
        &self.line
    }
}

fn read_all(mut input: Box<dyn BufRead + Send>, chunks: &SyncSender<io::Result<Vec<u8>>>) {
    loop {
        let chunk = match input.fill_buf() {
            Ok([]) => return,
            Ok(bytes) => Ok(bytes.to_vec()),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let read = chunk.as_ref().map_or(0, Vec::len);
        let is_over = chunk.is_err();
        input.consume(read);
        if chunks.send(chunk).is_err() || is_over {
            return;
        }
    }
}

fn unreadable(error: &io::Error) -> Error {
    Error::new(
        ErrorCode::InvalidArgument,
        format!("cannot read the records: {error}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &'static [u8], capacity: usize) -> Vec<Vec<u8>> {
        let input = io::BufReader::with_capacity(capacity, input);
        let mut lines = Lines::new(Box::new(input)).unwrap();
        let mut found = Vec::new();
        while let Next::Line(line) = lines.next(|| false).unwrap() {
            found.push(line.to_vec());
        }
        found
    }

    #[test]
    fn lines_are_the_same_however_they_were_read() {
        for capacity in [1, 2, 3, 7, 1_000] {
            let found = lines(b"one\ntwo\r\n\nlast", capacity);
            assert_eq!(found, [&b"one"[..], b"two", b"", b"last"], "{capacity}");
        }
        assert_eq!(lines(b"\n", 8), [b""]);
        assert!(lines(b"", 8).is_empty());
    }

    #[test]
    fn a_line_that_cannot_be_a_record_is_refused() {
        let input = io::BufReader::new(io::Read::take(io::repeat(b'x'), 20 << 20));
        let error = Lines::new(Box::new(input))
            .unwrap()
            .next(|| false)
            .unwrap_err();
        assert_eq!(error.code(), ErrorCode::MessageTooLarge);
    }

    #[test]
    fn an_input_that_says_nothing_does_not_hold_a_command() {
        let (input, _silent) = io::pipe().unwrap();
        let mut lines = Lines::new(Box::new(io::BufReader::new(input))).unwrap();
        let asked = std::cell::Cell::new(0);
        let next = lines.next(|| asked.replace(asked.get() + 1) == 2);
        assert_eq!(next, Ok(Next::Stopped));
    }
}
