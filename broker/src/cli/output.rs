//! What a command prints, and where: data on stdout, everything else on stderr.

use std::fmt;
use std::io::{BufRead, IsTerminal, Write};
use std::time::Duration;

use headwater::{Error, ErrorCode};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

/// The standard streams of a command.
pub struct Io {
    input: Box<dyn BufRead + Send>,
    output: Box<dyn Write + Send>,
    errors: Box<dyn Write + Send>,
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

    /// Where records come from.
    pub(super) fn input(&mut self) -> &mut (dyn BufRead + Send) {
        &mut *self.input
    }

    /// Data, as it is.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let written = self.output.write_all(bytes);
        written.map_err(|error| self.unwritable(&error))
    }

    /// A line of data.
    pub(super) fn line(&mut self, text: &str) -> Result<(), Error> {
        self.bytes(text.as_bytes())?;
        self.bytes(b"\n")?;
        self.flush()
    }

    /// A line of data as JSON.
    pub(super) fn json(&mut self, value: &Value) -> Result<(), Error> {
        self.line(&value.to_string())
    }

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

    /// A progress bar on a terminal, nothing elsewhere. `total` 0: no end is known.
    pub(super) fn progress(&self, what: &'static str, total: u64) -> ProgressBar {
        if !self.is_terminal || self.is_quiet || self.is_json {
            return ProgressBar::hidden();
        }
        let template = if total == 0 {
            "{prefix} {human_pos} ({per_sec}, {elapsed})"
        } else {
            "{prefix} [{bar:30}] {human_pos}/{human_len} ({per_sec}, {eta} left)"
        };
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template(template) {
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
pub(super) fn json_bytes(bytes: Option<&[u8]>) -> Value {
    match bytes {
        None => Value::Null,
        Some(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Value::from(text),
            Err(_) => json!({ "base64": base64(bytes) }),
        },
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
