//! Many processes, one folder: the first has the log open and serves the others; when it ends, or is killed, another
//! takes over, and nobody notices but by the time it takes.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use headwater::{
    Client, ConnectOptions, ConsumerOptions, ErrorCode, ErrorKind, ProducerOptions, Record,
    TopicOptions, Until, options::Sharing,
};

use super::harness::{Serving, headwater, run, run_with_input, signal, verified};

/// Far beyond any time limit of a client: who waits so long would wait for ever.
const FOR_EVER: Duration = Duration::from_secs(300);

/// A folder that is not there yet.
struct Folder {
    path: PathBuf,
    _scratch: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        Self {
            path: scratch.path().join("data"),
            _scratch: scratch,
        }
    }

    fn address(&self) -> &str {
        self.path.to_str().unwrap()
    }

    fn connect(&self) -> Client {
        headwater::connect(self.address())
            .wait(Some(FOR_EVER))
            .unwrap()
    }

    /// What `OWNER` says.
    fn owner(&self, name: &str) -> Option<String> {
        let text = fs::read_to_string(self.path.join("OWNER")).ok()?;
        let value = |line: &str| Some(line.strip_prefix(name)?.strip_prefix(' ')?.to_owned());
        text.lines().find_map(value)
    }

    /// Another process that has the log open, once it says so; lines sent to it go to `orders`.
    fn other_process(&self) -> Other {
        self.other_process_of(headwater())
    }

    fn other_process_of(&self, mut command: Command) -> Other {
        command.args(["--address", self.address(), "produce", "orders"]);
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let other = Other(child);
        let pid = other.0.id().to_string();
        let is_owner =
            || self.owner("pid").as_ref() == Some(&pid) && self.owner("socket").is_some();
        while !is_owner() {
            thread::sleep(Duration::from_millis(1));
        }
        other
    }

    fn values(&self) -> Vec<String> {
        let db = self.connect();
        let values = values(&db);
        db.close(None).wait(Some(FOR_EVER)).unwrap();
        values
    }
}

/// A process that is killed when dropped.
struct Other(Child);

impl Other {
    fn say(&mut self, line: &str) {
        let stdin = self.0.stdin.as_mut().unwrap();
        writeln!(stdin, "{line}").unwrap();
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Lets it send what it has, and end.
    fn end(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn create_topic(db: &Client) {
    let mut created = db.admin().create_topic("orders", TopicOptions::default());
    created.wait(Some(FOR_EVER)).unwrap();
}

fn values(db: &Client) -> Vec<String> {
    let options = ConsumerOptions {
        until: Some(Until::End),
        ..Default::default()
    };
    let consumer = db.consumer(&["orders"], options).unwrap();
    let mut values = Vec::new();
    while let Some(batch) = consumer.next_batch_wait(Some(FOR_EVER)).unwrap() {
        for record in batch.records() {
            values.push(String::from_utf8(record.unwrap().value.unwrap().to_vec()).unwrap());
        }
    }
    values
}

/// Sends numbered records while `during` runs; all of them must be acknowledged. Their number.
fn send_while(db: &Client, name: &str, during: impl FnOnce() + Send) -> usize {
    let producer = db.producer(ProducerOptions::default()).unwrap();
    let mut deliveries = Vec::new();
    thread::scope(|scope| {
        let running = scope.spawn(during);
        while !running.is_finished() {
            let value = format!("{name}-{}", deliveries.len());
            let sent = producer.send("orders", &Record::new(value.as_bytes()));
            deliveries.push((value, sent.unwrap()));
            thread::sleep(Duration::from_millis(1));
        }
    });
    let count = deliveries.len();
    let mut offsets = HashMap::new();
    for (value, delivery) in deliveries {
        let place = delivery.wait(Some(FOR_EVER)).unwrap();
        assert_eq!(offsets.insert(place.offset, value), None);
    }
    count
}

#[test]
fn a_command_looks_into_the_log_that_this_process_has_open() {
    let folder = Folder::new();
    let db = folder.connect();
    create_topic(&db);
    let at = ["--address", folder.address()];
    let listed = run(at.iter().chain(&["topic", "list"])).ended(0);
    assert!(listed.stdout.contains("orders"), "{listed:?}");
    run_with_input(at.iter().chain(&["produce", "orders"]), b"from outside\n").ended(0);
    assert_eq!(values(&db), ["from outside"]);
    let consume = ["consume", "orders", "--exit-at-end"];
    let consumed = run(at.iter().chain(&consume)).ended(0);
    assert_eq!(consumed.stdout, "from outside\n");
    // Only who may read the folder's files finds the socket, and the token that it asks for.
    let socket = folder.owner("socket").unwrap();
    let stranger = headwater::connect(&format!("unix:{socket}")).wait(Some(FOR_EVER));
    let error = stranger.unwrap_err();
    assert_eq!(error.code(), ErrorCode::SaslAuthenticationFailed, "{error}");
    db.close(None).wait(Some(FOR_EVER)).unwrap();
    assert!(!Path::new(&socket).exists());
    assert_eq!(folder.owner("pid"), None);
}

#[test]
fn when_the_owner_is_killed_another_takes_over() {
    let folder = Folder::new();
    let db = folder.connect();
    create_topic(&db);
    db.close(None).wait(Some(FOR_EVER)).unwrap();
    let mut owner = folder.other_process();
    owner.say("first");
    let db = folder.connect();
    assert!(db.address().ends_with("data"));
    let count = send_while(&db, "mine", || {
        thread::sleep(Duration::from_millis(100));
        owner.kill();
        while folder.owner("pid") != Some(std::process::id().to_string()) {
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(Duration::from_millis(100));
    });
    assert_eq!(values(&db).len(), count + 1);
    // This process is the owner now, and serves the others.
    let at = ["--address", folder.address()];
    run_with_input(at.iter().chain(&["produce", "orders"]), b"last\n").ended(0);
    db.close(None).wait(Some(FOR_EVER)).unwrap();
    let found = folder.values();
    assert_eq!(found.len(), count + 2);
    // A slow owner may say it after others have begun.
    assert!(found.iter().any(|value| value == "first"));
    assert_eq!(found.last().unwrap(), "last");
    verified(&folder.path);
}

#[test]
fn when_the_owner_closes_the_others_go_on() {
    let folder = Folder::new();
    let db = folder.connect();
    create_topic(&db);
    db.close(None).wait(Some(FOR_EVER)).unwrap();
    let mut owner = folder.other_process();
    owner.say("first");
    let db = folder.connect();
    let count = send_while(&db, "mine", || {
        thread::sleep(Duration::from_millis(100));
        owner.say("second");
        owner.end();
        thread::sleep(Duration::from_millis(100));
    });
    let found = values(&db);
    assert_eq!(found.len(), count + 2);
    db.close(None).wait(Some(FOR_EVER)).unwrap();
    // Nothing was cut: the log of the first owner was closed in order.
    assert_eq!(folder.values(), found);
}

#[test]
fn of_many_that_start_at_once_each_is_served() {
    const PROCESSES: usize = 8;
    let folder = Folder::new();
    let db = folder.connect();
    create_topic(&db);
    db.close(None).wait(Some(FOR_EVER)).unwrap();
    let commands: Vec<Command> = (0..PROCESSES)
        .map(|_| {
            let mut command = headwater();
            command.args(["--address", folder.address(), "produce", "orders"]);
            command.stdin(Stdio::piped()).stdout(Stdio::null());
            command
        })
        .collect();
    let mut others: Vec<_> = commands
        .into_iter()
        .map(|mut command| Other(command.spawn().unwrap()))
        .collect();
    for (name, other) in others.iter_mut().enumerate() {
        for number in 0..100 {
            other.say(&format!("{name} {number}"));
        }
    }
    for other in others {
        other.end();
    }
    let mut found = folder.values();
    assert_eq!(found.len(), 100 * PROCESSES);
    found.sort_unstable();
    found.dedup();
    assert_eq!(found.len(), 100 * PROCESSES);
    verified(&folder.path);
}

#[test]
fn an_owner_that_does_not_share_is_named() {
    let folder = Folder::new();
    let options = ConnectOptions {
        sharing: Some(Sharing::Exclusive),
        ..Default::default()
    };
    let mut connecting = headwater::connect_with(folder.address(), options);
    let db = connecting.wait(Some(FOR_EVER)).unwrap();
    assert_eq!(folder.owner("access").as_deref(), Some("exclusive"));
    let listed = run(["--json", "--address", folder.address(), "topic", "list"]).ended(1);
    let error = listed.error();
    assert_eq!(error["code"], "FOLDER_LOCKED");
    let pid = std::process::id().to_string();
    assert!(error["message"].as_str().unwrap().contains(&pid), "{error}");
    db.close(None).wait(Some(FOR_EVER)).unwrap();
    // And who wants the folder alone does not become a client.
    let _other = {
        let db = folder.connect();
        create_topic(&db);
        db.close(None).wait(Some(FOR_EVER)).unwrap();
        folder.other_process()
    };
    let address = format!("{}?sharing=exclusive", folder.address());
    let error = headwater::connect(&address)
        .wait(Some(FOR_EVER))
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.code()),
        (ErrorKind::Locked, ErrorCode::FolderLocked)
    );
}

#[test]
fn an_owner_that_says_nothing_is_named_and_keeps_its_lock() {
    let folder = Folder::new();
    let db = folder.connect();
    create_topic(&db);
    db.close(None).wait(Some(FOR_EVER)).unwrap();
    let other = folder.other_process();
    signal(other.0.id(), "STOP");
    let error = headwater::connect(folder.address())
        .wait(Some(FOR_EVER))
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.code()),
        (ErrorKind::Unavailable, ErrorCode::OwnerSilent)
    );
    let pid = other.0.id().to_string();
    assert!(error.message().contains(&pid), "{error}");
    assert_eq!(folder.owner("pid"), Some(pid));
    signal(other.0.id(), "CONT");
    let db = folder.connect();
    db.close(None).wait(Some(FOR_EVER)).unwrap();
    other.end();
}

#[test]
fn what_a_killed_owner_left_does_not_matter() {
    let folder = Folder::new();
    let db = folder.connect();
    create_topic(&db);
    db.close(None).wait(Some(FOR_EVER)).unwrap();
    let owner = folder.other_process();
    let socket = folder.owner("socket").unwrap();
    owner.kill();
    assert!(Path::new(&socket).exists() && folder.owner("pid").is_some());
    assert!(folder.values().is_empty());
    for garbage in [
        "",
        "pid 1\nversion 9\naccess socket\nsocket /nowhere\ntoken 0",
        "\u{fffd}",
    ] {
        fs::write(folder.path.join("OWNER"), garbage).unwrap();
        fs::write(folder.path.join("OWNER.tmp"), garbage).unwrap();
        assert!(folder.values().is_empty());
    }
    assert_eq!(folder.owner("pid"), None);
    assert!(!Path::new(&socket).exists());
}

#[test]
fn a_socket_that_is_removed_is_made_again_where_it_was_or_elsewhere() {
    // A logout removes the user's runtime folder: until the owner ended, nobody else could join it.
    let folder = Folder::new();
    let db = folder.connect();
    create_topic(&db);
    let listed = || run(["--address", folder.address(), "topic", "list"]).ended(0);
    let socket = folder.owner("socket").unwrap();
    fs::remove_file(&socket).unwrap();
    listed();
    assert_eq!(folder.owner("socket").as_ref(), Some(&socket));
    db.close(None).wait(Some(FOR_EVER)).unwrap();
    assert!(!Path::new(&socket).exists());
    let runtime = tempfile::tempdir().unwrap();
    let mut command = headwater();
    command.env("XDG_RUNTIME_DIR", runtime.path());
    let mut owner = folder.other_process_of(command);
    let socket = folder.owner("socket").unwrap();
    assert!(Path::new(&socket).starts_with(runtime.path()), "{socket}");
    runtime.close().unwrap();
    listed();
    let moved = folder.owner("socket").unwrap();
    assert!(moved != socket && Path::new(&moved).exists(), "{moved}");
    owner.say("still there");
    owner.end();
    assert!(!Path::new(&moved).exists());
    assert_eq!(folder.values(), ["still there"]);
}

#[test]
fn a_command_older_than_the_folder_is_a_client_of_its_owner() {
    // It looked at the folder's format first, and refused although it has to read none of it.
    let folder = Folder::new();
    let db = folder.connect();
    create_topic(&db);
    let format = folder.path.join("format");
    let own = fs::read(&format).unwrap();
    fs::write(&format, "headwater-folder 9\ncrc32c 341616d0\n").unwrap();
    let at = ["--json", "--address", folder.address()];
    let list = || run(at.iter().chain(&["topic", "list"]));
    assert!(list().ended(0).stdout.contains("orders"));
    db.close(None).wait(Some(FOR_EVER)).unwrap();
    assert_eq!(list().ended(1).error()["code"], "FOLDER_TOO_NEW");
    assert_eq!(folder.owner("pid"), None);
    fs::write(&format, own).unwrap();
    assert!(list().ended(0).stdout.contains("orders"));
}

#[test]
fn a_folder_with_a_long_path_is_shared_too() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("long".repeat(50)).join("data");
    let folder = Folder {
        path,
        _scratch: scratch,
    };
    let db = folder.connect();
    create_topic(&db);
    let listed = run(["--address", folder.address(), "topic", "list"]).ended(0);
    assert!(listed.stdout.contains("orders"));
    db.close(None).wait(Some(FOR_EVER)).unwrap();
}

#[test]
fn the_folder_of_a_broker_is_opened_through_it_and_is_the_brokers_again_when_it_is_back() {
    let folder = Folder::new();
    let mut broker = Serving::start(&folder.path);
    let db = folder.connect();
    create_topic(&db);
    let remote = headwater::connect(&broker.address)
        .wait(Some(FOR_EVER))
        .unwrap();
    let producer = remote.producer(ProducerOptions::default()).unwrap();
    let sent = producer.send("orders", &Record::new(b"through the port"));
    sent.unwrap().wait(Some(FOR_EVER)).unwrap();
    assert_eq!(values(&db), ["through the port"]);
    let mut count = 1 + send_while(&db, "mine", || {
        broker.kill();
        thread::sleep(Duration::from_millis(200));
        broker = Serving::start(&folder.path);
        thread::sleep(Duration::from_millis(200));
    });
    assert_eq!(values(&db).len(), count);
    assert_eq!(folder.owner("pid"), Some(broker.pid().to_string()));
    // One that does not come back is replaced after a while.
    count += send_while(&db, "again", || {
        broker.kill();
        while folder.owner("pid") != Some(std::process::id().to_string()) {
            thread::sleep(Duration::from_millis(10));
        }
    });
    assert_eq!(values(&db).len(), count);
    // A broker cannot have it meanwhile, and is told who has.
    let second = run([
        "--json",
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--data",
        folder.address(),
    ]);
    let error = second.ended(1).error();
    assert_eq!(error["code"], "FOLDER_LOCKED");
    let pid = std::process::id().to_string();
    assert!(error["message"].as_str().unwrap().contains(&pid), "{error}");
    db.close(None).wait(Some(FOR_EVER)).unwrap();
}

#[test]
fn a_broker_listens_on_a_socket_of_this_machine() {
    let folder = Folder::new();
    let socket = folder.path.with_file_name("broker.sock");
    let listen = format!("unix:{}", socket.display());
    let mut broker = Serving::start_with(&folder.path, &listen, &[]);
    assert_eq!(broker.address, listen);
    let db = headwater::connect(&listen).wait(Some(FOR_EVER)).unwrap();
    assert_eq!(db.address(), listen);
    create_topic(&db);
    let count = send_while(&db, "mine", || {
        broker.kill();
        assert!(
            socket.exists(),
            "a killed broker leaves its socket, and the next replaces it"
        );
        broker = Serving::start_with(&folder.path, &listen, &[]);
        thread::sleep(Duration::from_millis(100));
    });
    assert_eq!(values(&db).len(), count);
    let second = run(["--json", "serve", "--listen", &listen, "--data"]
        .iter()
        .chain(&["never"]));
    assert_eq!(second.ended(1).error()["code"], "ADDRESS_IN_USE");
    assert!(!Path::new("never").exists());
    assert_eq!(broker.interrupt().0, Some(0));
    assert!(!socket.exists());
    let error = headwater::connect(&listen)
        .wait(Some(FOR_EVER))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let long = format!("unix:/{}", "long".repeat(50));
    let error = headwater::connect(&long).wait(Some(FOR_EVER)).unwrap_err();
    assert!(error.message().contains("201 bytes"), "{error}");
}
