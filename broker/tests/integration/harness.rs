//! Running the program: commands that end, brokers that run, and what they print.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

/// The program, with nothing of the tester's own settings.
pub(crate) fn headwater() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
    command.env_remove("HEADWATER_ADDRESS");
    command.env_remove("HEADWATER_LOG");
    command.stdin(Stdio::null());
    command
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The same, which must have ended with this code.
    #[track_caller]
    pub(crate) fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    /// What it printed as JSON, one object a line.
    #[track_caller]
    pub(crate) fn json(&self) -> Vec<Value> {
        let lines = self.stdout.lines();
        lines
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
            })
            .collect()
    }

    /// The one object that it printed.
    #[track_caller]
    pub(crate) fn object(&self) -> Value {
        let mut objects = self.json();
        assert_eq!(objects.len(), 1, "{self:?}");
        objects.remove(0)
    }

    /// The error that it ended with, printed with `--json`.
    #[track_caller]
    pub(crate) fn error(&self) -> Value {
        let line = self.stderr.lines().last().unwrap_or_default();
        let error: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{self:?}"));
        error["error"].clone()
    }
}

/// Runs a command to its end.
pub(crate) fn run<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Ran {
    Ran::of(headwater().args(args).output().unwrap())
}

/// Runs a command to its end with something to read.
pub(crate) fn run_with_input<S: AsRef<OsStr>>(
    args: impl IntoIterator<Item = S>,
    input: &[u8],
) -> Ran {
    let mut command = headwater();
    let command = command.args(args).stdin(Stdio::piped());
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A command that refuses to start does not read.
    let _ = stdin.write_all(input);
    drop(stdin);
    Ran::of(child.wait_with_output().unwrap())
}

/// Where a command finds its log: each subject is tried in a folder, and through a broker.
pub(crate) struct Place {
    pub(crate) address: String,
    _broker: Option<Serving>,
    _scratch: tempfile::TempDir,
}

impl Place {
    /// A folder, opened by each command itself.
    pub(crate) fn folder() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        Self {
            address: scratch.path().join("data").display().to_string(),
            _broker: None,
            _scratch: scratch,
        }
    }

    /// A broker on a folder.
    pub(crate) fn broker() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let broker = Serving::start(&scratch.path().join("data"));
        Self {
            address: broker.address.clone(),
            _broker: Some(broker),
            _scratch: scratch,
        }
    }

    /// Both.
    pub(crate) fn both() -> [Self; 2] {
        [Self::folder(), Self::broker()]
    }

    /// Runs a command here.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        run(["--address", &*self.address].iter().chain(args))
    }

    /// Runs a command here with something to read.
    pub(crate) fn run_with_input(&self, args: &[&str], input: &str) -> Ran {
        let all = ["--address", &*self.address];
        run_with_input(all.iter().chain(args), input.as_bytes())
    }

    /// A command to be run here.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = headwater();
        command.args(["--address", &*self.address]).args(args);
        command
    }

    /// Creates a topic and sends lines to it, `key:value` each.
    pub(crate) fn with_topic(self, topic: &str, partitions: u32, lines: &str) -> Self {
        let partitions = partitions.to_string();
        let create = ["topic", "create", topic, "--partitions", &partitions];
        self.run(&create).ended(0);
        if !lines.is_empty() {
            let produce = ["produce", topic, "--key-separator", ":"];
            self.run_with_input(&produce, lines).ended(0);
        }
        self
    }
}

/// `headwater serve` at work; killed when dropped.
pub(crate) struct Serving {
    pub(crate) address: String,
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Serving {
    /// A broker on a folder and a free port.
    pub(crate) fn start(data: &Path) -> Self {
        Self::start_with(data, "127.0.0.1:0", &[])
    }

    pub(crate) fn start_with(data: &Path, listen: &str, more: &[&str]) -> Self {
        Self::start_telling(data, listen, more, Stdio::inherit())
    }

    /// The same, with its log elsewhere.
    pub(crate) fn start_telling(data: &Path, listen: &str, more: &[&str], log: Stdio) -> Self {
        let mut command = headwater();
        command.args(["--json", "serve", "--listen", listen, "--data"]);
        command.arg(data).args(more);
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line)
            .unwrap_or_else(|_| panic!("a broker that does not start: {line:?}"));
        let address = said["listening"][0].as_str().unwrap().to_owned();
        Self {
            address,
            child,
            stdout,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ctrl-C; the exit code, and what it still printed.
    pub(crate) fn interrupt(&mut self) -> (Option<i32>, String) {
        signal(self.pid(), "INT");
        self.wait()
    }

    /// The exit code of a broker that ends, and what it still printed.
    pub(crate) fn wait(&mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to one process, by its id. One that is to stop has stopped on the return.
pub(crate) fn signal(pid: u32, name: &str) {
    let mut kill = Command::new("kill");
    let sent = kill.args(["-s", name, &pid.to_string()]).status().unwrap();
    assert!(sent.success(), "kill -s {name} {pid}");
    while name == "STOP" && !has_stopped(pid) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether no thread of a process runs: on a busy machine some go on for a while after the signal. Where the system does
/// not tell, they are believed to have stopped.
fn has_stopped(pid: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        return true;
    };
    let is_stopped = |stat: &str| {
        // The state stands behind the name, which is in brackets.
        let state = stat.rsplit_once(") ").map(|(_, rest)| rest);
        state.is_none_or(|rest| rest.starts_with(['T', 't', 'Z', 'X']))
    };
    let mut stats = threads
        .flatten()
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("stat")).ok());
    stats.all(|stat| is_stopped(&stat))
}

/// The one object that `dump --verify --json` ends with; the folder must be whole.
#[track_caller]
pub(crate) fn verified(data: &Path) -> Value {
    let ran = headwater()
        .args(["--json", "dump", "--verify"])
        .arg(data)
        .output()
        .unwrap();
    let ran = Ran::of(ran).ended(0);
    let summary = ran.json().pop().unwrap();
    assert_eq!(summary["item"], "summary", "{ran:?}");
    assert_eq!(summary["is_whole"], true, "{ran:?}");
    summary
}
