//! Addresses: where a log is. One grammar for every language; golden file `tests/golden/address.json`.
//!
//! ```text
//! mem:[name]                         in memory, shared by name within the process
//! file:PATH, /p, ./p, ../p, ~/p, C:\p  a folder (also `.`, `..` and `~`)
//! unix:PATH                          the owner of a folder, by its socket
//! host:port[,host:port...]           a broker; [v6]:port
//! headwater://host[:9092][,...]      the same
//! headwaters://, kafka://, kafkas:// TLS, Apache Kafka: known, not built yet
//! ```
//! `?key=value&...` behind any of them sets options of [`ConnectOptions`]. What is none of these is
//! refused with what was probably meant; the disk is never looked at. User and password never print.

use std::fmt;
use std::path::PathBuf;

use super::options::ConnectOptions;
use crate::error::{Error, ErrorCode, Result};

/// The port of a broker that is named without one.
pub const DEFAULT_PORT: u16 = 9_092;

/// Where a log is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Address {
    /// In the memory of this process.
    Memory {
        /// The name under which others in the process find it; empty: a new one of one's own.
        name: String,
    },
    /// A folder.
    Folder(PathBuf),
    /// A broker, by one or more of its addresses.
    Tcp(Vec<HostPort>),
    /// The owner of a folder, by its socket.
    Unix(PathBuf),
    /// A broker behind TLS.
    Tls(Vec<HostPort>),
    /// Apache Kafka.
    Kafka {
        /// The bootstrap addresses.
        hosts: Vec<HostPort>,
        /// Whether behind TLS.
        is_tls: bool,
    },
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// A name or an address; IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory { name } => write!(f, "mem:{name}"),
            Self::Folder(path) => write!(f, "{}", path.display()),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(hosts) => list(f, "", hosts),
            Self::Tls(hosts) => list(f, "headwaters://", hosts),
            Self::Kafka {
                hosts,
                is_tls: false,
            } => list(f, "kafka://", hosts),
            Self::Kafka {
                hosts,
                is_tls: true,
            } => list(f, "kafkas://", hosts),
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, scheme: &str, hosts: &[HostPort]) -> fmt::Result {
    f.write_str(scheme)?;
    for (index, host) in hosts.iter().enumerate() {
        f.write_str(if index == 0 { "" } else { "," })?;
        write!(f, "{host}")?;
    }
    Ok(())
}

/// Reads an address without its options.
///
/// # Errors
/// `INVALID_ADDRESS`, saying what was probably meant; `UNKNOWN_OPTION` or `INVALID_OPTION` for what
/// stands behind `?`.
pub fn parse_address(text: &str) -> Result<Address> {
    Ok(parse(text)?.0)
}

/// Reads an address and the options behind it.
pub(crate) fn parse(text: &str) -> Result<(Address, ConnectOptions)> {
    let (place, query) = match text.split_once('?') {
        Some((place, query)) => (place, Some(query)),
        None => (text, None),
    };
    let address = parse_place(place)?;
    let mut options = ConnectOptions::default();
    for pair in query
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
    {
        let (name, value) = pair.split_once('=').ok_or_else(|| {
            invalid(format!(
                "`{pair}` behind the `?` of an address is not `option=value`"
            ))
        })?;
        options.set(&decode(name)?, &decode(value)?)?;
    }
    Ok((address, options))
}

fn parse_place(text: &str) -> Result<Address> {
    if text.is_empty() {
        return Err(invalid(
            "the address is empty; it must be a path such as `./data`, `mem:`, or host:port".into(),
        ));
    }
    if text.contains('\0') {
        return Err(invalid("the address contains a zero byte".into()));
    }
    if let Some(name) = text.strip_prefix("mem:") {
        return memory(name);
    }
    if let Some(path) = text.strip_prefix("file:") {
        return file_url(path);
    }
    if let Some(path) = text.strip_prefix("unix:") {
        return Ok(Address::Unix(path_of(path, "unix:")?));
    }
    if is_path(text) {
        return Ok(Address::Folder(home(text)));
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        return with_scheme(scheme, rest);
    }
    hosts(text, None).map(Address::Tcp)
}

/// Whether somebody is to be logged in: a user, perhaps with a password, stands before the host.
pub(crate) fn names_user(text: &str) -> bool {
    let place = text.split_once('?').map_or(text, |(place, _)| place);
    let is_host = matches!(
        parse_place(place),
        Ok(Address::Tcp(_) | Address::Tls(_) | Address::Kafka { .. })
    );
    is_host && place.contains('@')
}

fn memory(name: &str) -> Result<Address> {
    let is_plain = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if !is_plain || name.len() > crate::limits::NAME_BYTES_MAX {
        return Err(invalid(format!(
            "`{name}` is not a name for a log in memory; it must be at most {} letters, digits, \
             `.`, `_` and `-`",
            crate::limits::NAME_BYTES_MAX
        )));
    }
    Ok(Address::Memory { name: name.into() })
}

/// `file:PATH` and `file:///PATH`, as the `URL` objects of languages print it (percent-encoded).
fn file_url(rest: &str) -> Result<Address> {
    let Some(url) = rest.strip_prefix("//") else {
        return Ok(Address::Folder(home(
            &path_of(rest, "file:")?.to_string_lossy(),
        )));
    };
    let path = url.strip_prefix("localhost").unwrap_or(url);
    if !path.starts_with('/') {
        return Err(invalid(format!(
            "`file://{url}` names a host; a folder of this machine is `file:///path`"
        )));
    }
    let path = decode(path)?;
    let is_drive = path.strip_prefix('/').is_some_and(is_drive);
    Ok(Address::Folder(PathBuf::from(if is_drive {
        &path[1..]
    } else {
        &path
    })))
}

fn path_of(path: &str, scheme: &str) -> Result<PathBuf> {
    if path.is_empty() {
        return Err(invalid(format!("`{scheme}` must be followed by a path")));
    }
    Ok(PathBuf::from(path))
}

fn is_path(text: &str) -> bool {
    let is_relative = |start: &str| {
        text.strip_prefix(start)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '\\']))
    };
    text.starts_with('/') || [".", "..", "~"].into_iter().any(is_relative) || is_drive(text)
}

/// A drive letter with its slash.
fn is_drive(text: &str) -> bool {
    matches!(text.as_bytes(), [letter, b':', b'/' | b'\\', ..] if letter.is_ascii_alphabetic())
}

/// `~` is the user's home folder, as in a shell.
fn home(text: &str) -> PathBuf {
    match (text.strip_prefix('~'), std::env::home_dir()) {
        (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with(['/', '\\']) => {
            home.join(rest.trim_start_matches(['/', '\\']))
        }
        _ => PathBuf::from(text),
    }
}

fn with_scheme(scheme: &str, rest: &str) -> Result<Address> {
    // User and password stand before the host; they are never shown.
    let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let hosts = || hosts(rest, Some(DEFAULT_PORT));
    match scheme {
        "headwater" => hosts().map(Address::Tcp),
        "headwaters" => hosts().map(Address::Tls),
        "kafka" => Ok(Address::Kafka {
            hosts: hosts()?,
            is_tls: false,
        }),
        "kafkas" => Ok(Address::Kafka {
            hosts: hosts()?,
            is_tls: true,
        }),
        _ => Err(invalid(format!(
            "`{scheme}://` is no scheme of an address; it must be headwater://, headwaters://, \
             kafka:// or kafkas://, or a path such as `./data`, `mem:`, or host:port"
        ))),
    }
}

fn hosts(text: &str, default_port: Option<u16>) -> Result<Vec<HostPort>> {
    text.split(',')
        .map(|part| host_port(part.trim(), default_port))
        .collect()
}

fn host_port(text: &str, default_port: Option<u16>) -> Result<HostPort> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, behind) = rest.split_once(']').ok_or_else(|| {
                invalid(format!("`{text}` opens a bracket that it does not close"))
            })?;
            if host.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(invalid(format!(
                    "`{host}` in brackets is not an IPv6 address"
                )));
            }
            (host, behind.strip_prefix(':'))
        }
        None => match text.rsplit_once(':') {
            Some((host, _)) if host.contains(':') => {
                return Err(invalid(format!(
                    "`{text}` is neither a path nor host:port; an IPv6 address stands in brackets: \
                     `[::1]:9092`"
                )));
            }
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if host.is_empty() || !host.bytes().all(is_host_byte) {
        return Err(neither(text));
    }
    let port = match (port, default_port) {
        (Some(port), _) => port.parse().ok().filter(|port| *port != 0).ok_or_else(|| {
            invalid(format!(
                "the port of `{text}` is `{port}`; it must be 1 to 65535"
            ))
        })?,
        (None, Some(port)) => port,
        (None, None) => return Err(neither(text)),
    };
    Ok(HostPort {
        host: host.into(),
        port,
    })
}

fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b".-_:%".contains(&byte)
}

fn neither(text: &str) -> Error {
    let is_host = !text.is_empty() && text.bytes().all(is_host_byte) && !text.contains(':');
    let hint = if is_host {
        format!("; did you mean `{text}:{DEFAULT_PORT}` or `./{text}`?")
    } else {
        format!("; did you mean `./{text}`?")
    };
    invalid(format!("`{text}` is neither a path nor host:port{hint}"))
}

fn invalid(message: String) -> Error {
    Error::new(ErrorCode::InvalidAddress, message)
}

/// Percent-decoding.
fn decode(text: &str) -> Result<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digits = [bytes.next().unwrap_or(b'?'), bytes.next().unwrap_or(b'?')];
        let value = str::from_utf8(&digits)
            .ok()
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(value.ok_or_else(|| {
            invalid(format!(
                "`{text}` has a `%` that two hexadecimal digits do not follow"
            ))
        })?);
    }
    String::from_utf8(out).map_err(|_| invalid(format!("`{text}` is not UTF-8 once decoded")))
}

#[cfg(test)]
mod tests;
