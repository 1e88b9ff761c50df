//! Where the log is: in memory, in a folder, or behind a broker that serves one.

use std::time::Duration;

use headwater_broker::{Broker, Config};
use tempfile::TempDir;

/// What is run against. One line each, so that a door is added or left out by one.
#[rustfmt::skip]
pub(crate) const DOORS: &[&str] = &[
    "mem",
    "folder",
    "unix",
    "tcp",
];

pub(crate) struct Door {
    pub(crate) address: String,
    broker: Option<Broker>,
    folder: TempDir,
}

impl Door {
    /// What scenarios may need and this kind of door has.
    pub(crate) fn gives(kind: &str) -> &'static [&'static str] {
        match kind {
            "mem" => &[],
            "folder" => &["durable"],
            _ => &["durable", "broker"],
        }
    }

    pub(crate) fn open(kind: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut door = Self {
            address: match kind {
                "mem" => "mem:".to_owned(),
                _ => folder.path().join("log").display().to_string(),
            },
            broker: None,
            folder,
        };
        match kind {
            "tcp" => door.serve("127.0.0.1:0"),
            "unix" => {
                let socket = door.folder.path().join("sock");
                door.serve(&format!("unix:{}", socket.display()));
            }
            _ => {}
        }
        door
    }

    /// A folder that does not exist.
    pub(crate) fn nowhere(&self) -> String {
        self.folder.path().join("nowhere").display().to_string()
    }

    /// Stops the broker, and starts it again on its folder and port.
    pub(crate) fn restart(&mut self) {
        self.close();
        let listen = self.address.clone();
        self.serve(&listen);
    }

    fn serve(&mut self, listen: &str) {
        let mut config = Config::folder(self.folder.path().join("log"));
        config.options.listen = Some(vec![listen.to_owned()]);
        let broker = Broker::start(config).wait(None).unwrap();
        self.address = broker.addresses()[0].to_string();
        self.broker = Some(broker);
    }

    fn close(&mut self) {
        if let Some(broker) = self.broker.take() {
            broker.close(Some(Duration::ZERO)).wait(None).unwrap();
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.close();
    }
}
