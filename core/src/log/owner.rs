//! What a folder's `OWNER` file says: which process has the log open, and how others reach it.
//!
//! Lines of a word and its value; unknown words are passed over. Only the user who owns the folder can
//! read it: the token in it opens the log.
//!
//! ```text
//! pid 4711
//! version 0.1.0
//! access socket            `opening` while the log is read, `exclusive` where nobody else may
//! socket /run/user/1000/headwater/0f3a6b5c7d8e9f01.sock
//! token 00112233445566778899aabbccddeeff
//! role broker              or `process`
//! ```

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process;

use crate::world;

/// Who has a folder's log open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The process.
    pub pid: u32,
    /// The version of Headwater it runs.
    pub version: String,
    /// How others get at the log.
    pub access: Access,
}

/// How processes that do not own a folder get at its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Not at all.
    Exclusive,
    /// Not yet: the log is just being opened.
    Opening,
    /// Through a socket of the owner, which asks for the token.
    Socket {
        /// Where it is.
        path: PathBuf,
        /// What a client presents.
        token: Token,
        /// Whether it is a broker's, which comes back when it has ended.
        is_broker: bool,
    },
}

/// What shows that a client may read the folder. Never printed, except into `OWNER`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Token(pub [u8; TOKEN_BYTES]);

/// Bytes of a token.
pub const TOKEN_BYTES: usize = 16;

impl Token {
    /// A new one that nobody can guess.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn random() -> io::Result<Self> {
        let mut bytes = [0; TOKEN_BYTES];
        world::fill_random(&mut bytes).map_err(io::Error::from)?;
        Ok(Self(bytes))
    }

    /// Whether these are its bytes. Takes as long for a nearly right one as for a wrong one.
    #[must_use]
    pub fn is(&self, presented: &[u8]) -> bool {
        let differing = self.0.iter().zip(presented).map(|(own, other)| own ^ other);
        presented.len() == TOKEN_BYTES && differing.fold(0, |all, one| all | one) == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Owner {
    /// This process, giving others this access.
    #[must_use]
    pub fn this_process(access: Access) -> Self {
        Self {
            pid: process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            access,
        }
    }

    /// Reads what [`print`](Self::print) wrote. None if it names no process; without an access that is
    /// understood it is exclusive.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let value = |name| {
            text.lines().find_map(|line| {
                let (found, value) = line.split_once(' ')?;
                (found == name).then_some(value)
            })
        };
        let access = match value("access") {
            Some("opening") => Access::Opening,
            Some("socket") => value("socket")
                .zip(value("token").and_then(read_token))
                .map_or(Access::Exclusive, |(path, token)| Access::Socket {
                    path: PathBuf::from(path),
                    token,
                    is_broker: value("role") == Some("broker"),
                }),
            _ => Access::Exclusive,
        };
        Some(Self {
            pid: value("pid")?.parse().ok()?,
            version: value("version")?.to_owned(),
            access,
        })
    }

    /// The text of the file.
    pub(super) fn print(&self) -> String {
        let Self {
            pid,
            version,
            access,
        } = self;
        let access = match access {
            Access::Exclusive => "access exclusive\n".to_owned(),
            Access::Opening => "access opening\n".to_owned(),
            Access::Socket {
                path,
                token,
                is_broker,
            } => {
                let token: String = token.0.iter().map(|byte| format!("{byte:02x}")).collect();
                let role = if *is_broker { "broker" } else { "process" };
                let path = path.display();
                format!("access socket\nsocket {path}\ntoken {token}\nrole {role}\n")
            }
        };
        format!("pid {pid}\nversion {version}\n{access}")
    }
}

/// Whether a path can stand in `OWNER`: UTF-8, and on one line.
#[must_use]
pub fn can_be_told(socket: &Path) -> bool {
    let text = socket.to_str();
    text.is_some_and(|text| !text.contains(['\n', '\r']))
}

fn read_token(text: &str) -> Option<Token> {
    if text.len() != 2 * TOKEN_BYTES || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; TOKEN_BYTES];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(Token(bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn access() -> impl Strategy<Value = Access> {
        let socket = (
            "/[a-z0-9 ./]{0,100}",
            any::<[u8; TOKEN_BYTES]>(),
            any::<bool>(),
        );
        prop_oneof![
            Just(Access::Exclusive),
            Just(Access::Opening),
            socket.prop_map(|(path, token, is_broker)| Access::Socket {
                path: PathBuf::from(path),
                token: Token(token),
                is_broker,
            }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(pid: u32, version in "[0-9.a-z-]{1,20}", access in access()) {
            let owner = Owner { pid, version, access };
            prop_assert_eq!(Owner::parse(&owner.print()), Some(owner));
        }

        #[test]
        fn anything_can_be_read(text in "\\PC{0,40}\n(access|socket|token|pid|version) \\PC{0,40}\n\\PC{0,40}") {
            let _ = Owner::parse(&text);
        }
    }

    #[test]
    fn an_owner_of_before_is_exclusive() {
        let owner = Owner::parse("pid 7\nversion 0.1.0\n").unwrap();
        assert_eq!((owner.pid, owner.access), (7, Access::Exclusive));
        let owner = Owner::parse("pid 7\nversion 9\naccess socket\nsocket /x\ntoken 12\n");
        assert_eq!(owner.unwrap().access, Access::Exclusive, "half a token");
    }

    #[test]
    fn a_token_is_nobody_elses_and_does_not_print() {
        let token = Token::random().unwrap();
        assert!(token.is(&token.0));
        let mut other = token.0;
        other[15] ^= 1;
        assert!(!token.is(&other));
        assert!(!token.is(&token.0[..15]));
        assert!(!token.is(b""));
        assert_eq!(format!("{token:?}"), "Token(..)");
    }

    #[test]
    fn a_path_of_two_lines_cannot_be_told() {
        assert!(can_be_told(Path::new("/tmp/x.sock")));
        assert!(!can_be_told(Path::new("/tmp/x\npid 1")));
    }
}
