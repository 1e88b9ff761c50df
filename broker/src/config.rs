//! What a broker is started with.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use headwater::engine::group::classic::INITIAL_DELAY;
use headwater::limits::GROUP_INITIAL_DELAY_MS_MAX;
use headwater::{Error, ErrorCode, Result, ServeOptions};

use crate::listen::socket_path;

/// Where a broker's log lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// In a folder, which is created if it is missing.
    Folder(PathBuf),
    /// In memory: gone when the broker closes.
    Memory,
}

/// How a broker is started. See [`Config::folder`] and [`Config::memory`].
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the log lives.
    pub data: Data,
    /// Whether other machines may connect. There is no authentication yet: they could do everything.
    pub allow_remote: bool,
    /// `HOST:PORT` that Kafka's clients are told to connect to. None: the address that they have connected to.
    pub advertise: Option<String>,
    /// How long a group of Kafka's clients that begins waits for more members, ms, up to 60,000; extended while they
    /// come, up to ten times. None: 50.
    pub group_initial_delay_ms: Option<u64>,
    /// The options of the table's group `serve`; port 0 in `listen` takes a free one.
    pub options: ServeOptions,
}

/// Where a broker listens if nobody says otherwise.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:9092";

/// `retention_ms` of topics in a folder that a broker serves, if they do not say: 7 days.
pub const DEFAULT_RETENTION_MS: i64 = 7 * 24 * 60 * 60 * 1_000;

impl Config {
    /// A broker of a folder, on 127.0.0.1:9092.
    pub fn folder(path: impl Into<PathBuf>) -> Self {
        Self {
            data: Data::Folder(path.into()),
            allow_remote: false,
            advertise: None,
            group_initial_delay_ms: None,
            options: ServeOptions::default(),
        }
    }

    /// A broker in memory, on a free loopback port, that creates topics as they are used: for tests.
    #[must_use]
    pub fn memory() -> Self {
        let options = ServeOptions {
            listen: Some(vec!["127.0.0.1:0".to_owned()]),
            auto_create_topics: Some(true),
            ..ServeOptions::default()
        };
        Self {
            data: Data::Memory,
            allow_remote: false,
            advertise: None,
            group_initial_delay_ms: None,
            options,
        }
    }

    /// How long a group of Kafka's clients that begins waits for more members.
    ///
    /// # Errors
    /// `INVALID_OPTION` beyond a minute.
    pub(crate) fn group_initial_delay(&self) -> Result<Duration> {
        let most = GROUP_INITIAL_DELAY_MS_MAX;
        match self.group_initial_delay_ms {
            None => Ok(INITIAL_DELAY),
            Some(ms) if ms <= most => Ok(Duration::from_millis(ms)),
            Some(ms) => Err(Error::new(
                ErrorCode::InvalidOption,
                format!("group_initial_delay_ms is {ms}; it must be 0 to {most}"),
            )),
        }
    }

    /// The addresses to listen on.
    #[must_use]
    pub fn listen(&self) -> Vec<String> {
        self.options
            .listen
            .clone()
            .unwrap_or_else(|| vec![DEFAULT_LISTEN.to_owned()])
    }

    /// What Kafka's clients are told to connect to: host and port.
    ///
    /// # Errors
    /// `INVALID_ADDRESS` for what is no `host:port`.
    pub(crate) fn advertised(&self) -> Result<Option<(String, u16)>> {
        let Some(address) = &self.advertise else {
            return Ok(None);
        };
        let port = address
            .rsplit_once(':')
            .and_then(|(_, port)| port.parse::<u16>().ok());
        match (host_of(address), port.filter(|port| *port > 0)) {
            (Some(host), Some(port)) => Ok(Some((host.to_owned(), port))),
            _ => Err(Error::new(
                ErrorCode::InvalidAddress,
                format!("`{address}` cannot be advertised; it must be host:port"),
            )),
        }
    }

    /// Checks options and addresses before anything is opened.
    ///
    /// # Errors
    /// `INVALID_ADDRESS` for what is neither `host:port` nor `unix:PATH`; `INVALID_OPTION` for an address that others can
    /// reach without `allow_remote`.
    pub(crate) fn check(&self) -> Result<()> {
        self.options.check()?;
        self.options.sizes()?;
        self.advertised()?;
        self.group_initial_delay()?;
        let listen = self.listen();
        if listen.is_empty() {
            return Err(Error::new(
                ErrorCode::InvalidAddress,
                "there is no address to listen on",
            ));
        }
        for address in &listen {
            if socket_path(address).is_some_and(|path| !path.as_os_str().is_empty()) {
                continue;
            }
            let host = host_of(address).ok_or_else(|| {
                Error::new(
                    ErrorCode::InvalidAddress,
                    format!(
                        "`{address}` is no address to listen on; it must be host:port or unix:PATH"
                    ),
                )
            })?;
            if !self.allow_remote && !is_loopback(host) {
                return Err(Error::new(
                    ErrorCode::InvalidOption,
                    format!(
                        "{address} can be reached from other machines, and there is no \
                         authentication yet; listen on 127.0.0.1, or allow it with --allow-remote"
                    ),
                ));
            }
        }
        Ok(())
    }
}

fn host_of(address: &str) -> Option<&str> {
    let (host, port) = address.rsplit_once(':')?;
    let host = host
        .strip_prefix('[')
        .map_or(Some(host), |inner| inner.strip_suffix(']'))?;
    (port.parse::<u16>().is_ok() && !host.is_empty()).then_some(host)
}

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host
            .parse::<Ipv4Addr>()
            .is_ok_and(|ip| IpAddr::V4(ip).is_loopback())
        || host
            .parse::<Ipv6Addr>()
            .is_ok_and(|ip| IpAddr::V6(ip).is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listening_on(address: &str, allow_remote: bool) -> Result<()> {
        let mut config = Config {
            allow_remote,
            ..Config::memory()
        };
        config.options.listen = Some(vec![address.to_owned()]);
        config.check()
    }

    #[test]
    fn a_group_waits_for_more_for_a_minute_at_most() {
        let with = |ms| Config {
            group_initial_delay_ms: Some(ms),
            ..Config::memory()
        };
        let delay = with(0).group_initial_delay();
        assert_eq!(delay, Ok(Duration::ZERO));
        assert_eq!(with(60_000).check(), Ok(()));
        let refused = with(60_001).check().unwrap_err();
        assert_eq!(refused.code(), ErrorCode::InvalidOption);
    }

    #[test]
    fn loopback_needs_no_permission() {
        for address in ["127.0.0.1:9092", "localhost:0", "[::1]:9092", "127.8.8.8:1"] {
            assert_eq!(listening_on(address, false), Ok(()), "{address}");
        }
    }

    #[test]
    fn a_socket_of_this_machine_needs_no_permission() {
        assert_eq!(listening_on("unix:/tmp/headwater.sock", false), Ok(()));
        assert_eq!(listening_on("unix:headwater.sock", false), Ok(()));
    }

    #[test]
    fn other_addresses_need_permission_in_so_many_words() {
        for address in [
            "0.0.0.0:9092",
            "[::]:9092",
            "192.168.0.1:9092",
            "example.org:1",
        ] {
            let error = listening_on(address, false).unwrap_err();
            assert!(error.message().contains("--allow-remote"), "{error}");
            assert_eq!(listening_on(address, true), Ok(()), "{address}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for address in [
            "",
            "9092",
            "localhost",
            "localhost:",
            "localhost:99999",
            ":9092",
            "[::1:1",
            "unix:",
        ] {
            let error = listening_on(address, true).unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidAddress, "{address}");
        }
    }
}
