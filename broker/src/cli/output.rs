//! What a command prints, and where: data on stdout, everything else on stderr.

use std::fmt;
use std::io::{BufRead, IsTerminal, Write};
use std::time::Duration;

use headwater::{Error, ErrorCode};
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

/// The standard streams of a command.
pub struct Io {
    input: Box<dyn BufRead + Send>,
    output: Box<dyn Write + Send>,
    errors: Box<dyn Write + Send>,
    is_input_terminal: bool,
    is_output_terminal: bool,
    is_terminal: bool,
    is_json: bool,
    is_quiet: bool,
    is_pipe_broken: bool,
}

impl Io {
    /// The process's own streams.
    #[must_use]
    pub fn standard() -> Self {
        Self {
            input: Box::new(std::io::BufReader::with_capacity(1 << 20, std::io::stdin())),
            output: Box::new(std::io::BufWriter::with_capacity(
                1 << 16,
                std::io::stdout(),
            )),
            errors: Box::new(std::io::stderr()),
            is_input_terminal: std::io::stdin().is_terminal(),
            is_output_terminal: std::io::stdout().is_terminal(),
            is_terminal: std::io::stderr().is_terminal(),
            is_json: false,
            is_quiet: false,
            is_pipe_broken: false,
        }
    }

    /// Streams of the caller; no progress bars are drawn.
    pub fn new(
        input: impl BufRead + Send + 'static,
        output: impl Write + Send + 'static,
        errors: impl Write + Send + 'static,
    ) -> Self {
        Self {
            input: Box::new(input),
            output: Box::new(output),
            errors: Box::new(errors),
            is_input_terminal: false,
            is_output_terminal: false,
            is_terminal: false,
            is_json: false,
            is_quiet: false,
            is_pipe_broken: false,
        }
    }

    pub(super) fn set_json(&mut self, is_json: bool) {
        self.is_json = is_json;
    }

    pub(super) fn set_quiet(&mut self, is_quiet: bool) {
        self.is_quiet = is_quiet;
    }

    pub(super) fn is_json(&self) -> bool {
        self.is_json
    }

    /// Where records come from. Taken once; afterwards there are none.
    pub(super) fn take_input(&mut self) -> Box<dyn BufRead + Send> {
        std::mem::replace(&mut self.input, Box::new(std::io::empty()))
    }

    /// Whether records are typed by a person.
    pub(super) fn is_input_terminal(&self) -> bool {
        self.is_input_terminal
    }

    /// Data, as it is.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let written = self.output.write_all(bytes);
        written.map_err(|error| self.unwritable(&error))
    }

    /// A line of data.
    pub(super) fn line(&mut self, text: &str) -> Result<(), Error> {
        self.bytes(text.as_bytes())?;
        self.bytes(b"\n")
    }

    /// A line of data as JSON.
    pub(super) fn json(&mut self, value: &Value) -> Result<(), Error> {
        self.line(&value.to_string())
    }

    /// Hands on what was printed: before a command waits, and at its end.
    pub(super) fn flush(&mut self) -> Result<(), Error> {
        let flushed = self.output.flush();
        flushed.map_err(|error| self.unwritable(&error))
    }

    /// Whether whoever reads stdout has gone, as in `headwater consume orders | head`: no failure.
    pub(super) fn is_pipe_broken(&self) -> bool {
        self.is_pipe_broken
    }

    fn unwritable(&mut self, error: &std::io::Error) -> Error {
        self.is_pipe_broken |= error.kind() == std::io::ErrorKind::BrokenPipe;
        Error::new(
            ErrorCode::InvalidState,
            format!("cannot write the output: {error}"),
        )
    }

    /// A word to the person at the terminal; not with `--quiet` or `--json`.
    pub(super) fn say(&mut self, text: &str) {
        if !self.is_quiet && !self.is_json {
            self.note(text);
        }
    }

    /// A line on stderr, whatever was asked. That it cannot be written is nobody's concern.
    pub(super) fn note(&mut self, text: &str) {
        let _ = writeln!(self.errors, "{text}");
        let _ = self.errors.flush();
    }

    /// An error on stderr: in words, or as JSON.
    pub(super) fn error(&mut self, error: &Error) {
        let _ = self.output.flush();
        if self.is_json {
            let error = json!({"error": {
                "kind": error.kind().name(),
                "code": error.code().name(),
                "message": error.message(),
                "outcome": error.outcome().name(),
            }});
            self.note(&error.to_string());
        } else {
            self.note(&format!("headwater: {error} ({})", error.code().name()));
        }
    }

    /// A bar over records on a terminal, nothing elsewhere. `total` 0: no end is known.
    pub(super) fn progress(&self, what: &'static str, total: u64) -> ProgressBar {
        if total == 0 {
            self.bar(what, "{prefix} {human_pos} ({rate}, {elapsed})", None)
        } else {
            let template = "{prefix} [{bar:30}] {human_pos}/{human_len} ({rate}, {eta} left)";
            self.bar(what, template, Some(total))
        }
    }

    /// The same for a command that prints data meanwhile: none if both go to the terminal.
    pub(super) fn progress_beside_data(&self, what: &'static str, total: u64) -> ProgressBar {
        if self.is_output_terminal {
            return ProgressBar::hidden();
        }
        self.progress(what, total)
    }

    /// A bar over bytes on a terminal, nothing elsewhere. `total` 0: no end is known.
    pub(super) fn progress_bytes(&self, what: &'static str, total: u64) -> ProgressBar {
        if total == 0 {
            self.bar(what, "{prefix} {bytes} ({bytes_per_sec}, {elapsed})", None)
        } else {
            let template =
                "{prefix} [{bar:30}] {bytes}/{total_bytes} ({bytes_per_sec}, {eta} left)";
            self.bar(what, template, Some(total))
        }
    }

    fn bar(&self, what: &'static str, template: &str, total: Option<u64>) -> ProgressBar {
        if !self.is_terminal || self.is_quiet || self.is_json {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template(template) {
            let style =
                style.with_key("rate", |state: &ProgressState, out: &mut dyn fmt::Write| {
                    // A bar that cannot be drawn is nobody's concern.
                    let _ = write!(out, "{}/s", HumanCount(state.per_sec() as u64));
                });
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(what);
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }
}

impl fmt::Debug for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Io")
            .field("is_terminal", &self.is_terminal)
            .field("is_json", &self.is_json)
            .field("is_quiet", &self.is_quiet)
            .finish_non_exhaustive()
    }
}

/// Bytes as JSON: a string if they are UTF-8, else `{"base64": ..}`; null stays null.
#[derive(Clone, Copy, Debug)]
pub(super) struct JsonBytes<'a>(pub(super) Option<&'a [u8]>);

impl Serialize for JsonBytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(bytes) = self.0 else {
            return serializer.serialize_none();
        };
        match std::str::from_utf8(bytes) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => serializer.collect_map([("base64", base64(bytes))]),
        }
    }
}

/// How many records, in words.
pub(super) fn records(count: u64) -> String {
    match count {
        1 => "1 record".to_owned(),
        count => format!("{count} records"),
    }
}

/// A time as people write it, in UTC: `2026-01-31T12:00:00.000Z`.
pub(super) fn utc(ms: i64) -> String {
    let (days, ms) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    // Days since 0000-03-01, so that a leap day is the last of its year; 400 years have 146,097 days.
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let months_since_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * months_since_march + 2) / 5 + 1;
    let month = (months_since_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let (seconds, ms) = (ms / 1_000, ms % 1_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_people_write_them() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_772_366_400_000, "2026-03-01T12:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (4_107_542_399_000, "2100-02-28T23:59:59.000Z"),
        ] {
            assert_eq!(utc(ms), text);
        }
    }

    #[test]
    fn bytes_are_json_whatever_they_are() {
        let json = |bytes| serde_json::to_value(JsonBytes(bytes)).unwrap();
        assert_eq!(json(None), Value::Null);
        assert_eq!(json(Some(b"")), json!(""));
        let text = "\u{e9}\n";
        assert_eq!(json(Some(text.as_bytes())), json!(text));
        assert_eq!(json(Some(b"\xff\0")), json!({"base64": "/wA="}));
    }
}
