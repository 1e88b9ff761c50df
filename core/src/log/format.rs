//! `DIR/format`: which version of Headwater a folder belongs to, and which log lies in it.
//!
//! Text, so that anyone can read it, in lines that each end in a line feed:
//!
//! ```text
//! headwater-folder 1
//! log-uuid 67e55044-10b1-426f-9247-bb680e5fe0c8
//! crc32c 0badcafe
//! ```
//!
//! In every version the first line names the version and the last one the CRC-32C (of all bytes before
//! it), so that a newer version is told apart from damage. The file is written once, under a temporary
//! name, and is not there in part: who finds no `format` may make one, unless there are segments, whose
//! frames would then belong to no log.

use std::io::{self, ErrorKind, IoSlice};
use std::path::Path;

use super::storage::{Storage, StorageFile, error_of};
use crate::error::{Error, ErrorCode};
use crate::limits::FORMAT_BYTES_MAX;
use crate::world;

/// The version of folders this build writes, and the newest it reads.
pub const FOLDER_VERSION: u32 = 1;

/// What the format file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// The version of the folder.
    pub version: u32,
    /// The log's uuid (random, version 4): in the checksum of every frame.
    pub log_uuid: [u8; 16],
}

/// Why a folder's format cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// There is no format file.
    #[error("the folder {folder} holds no log: there is no file `format` in it")]
    Missing {
        /// The folder.
        folder: String,
    },
    /// A newer build wrote it. Nothing was changed.
    #[error(
        "the folder {folder} was written by a newer version of Headwater: its format is {found}, \
         this build reads up to {supported}"
    )]
    TooNew {
        /// The folder.
        folder: String,
        /// The version in the file.
        found: u32,
        /// The newest this build reads.
        supported: u32,
    },
    /// The file fails its check. Nothing was changed.
    #[error("the file `format` in the folder {folder} is damaged: {reason}")]
    Damaged {
        /// The folder.
        folder: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// There are segments, and no format file to say whose they are. Nothing was changed.
    #[error(
        "the folder {folder} holds segments in {shard} but no file `format`: \
         put the file back, from a copy of the folder"
    )]
    Lost {
        /// The folder.
        folder: String,
        /// The folder of segments.
        shard: &'static str,
    },
    /// The file cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<FormatError> for Error {
    fn from(error: FormatError) -> Self {
        let code = match &error {
            FormatError::Missing { .. } => ErrorCode::FolderNotFound,
            FormatError::TooNew { .. } => ErrorCode::FolderTooNew,
            FormatError::Damaged { .. } | FormatError::Lost { .. } => ErrorCode::CorruptFolder,
            FormatError::Io(cause) => return error_of(cause),
        };
        Self::new(code, error.to_string())
    }
}

/// Why a folder could not be opened, as the application sees it: it is not there, it is no folder, or
/// the system's reason. For what `DiskStorage::open` says of `folder`.
#[must_use]
pub fn folder_error(folder: &Path, error: &io::Error) -> Error {
    let folder = folder.display();
    match error.kind() {
        ErrorKind::NotFound => Error::new(
            ErrorCode::FolderNotFound,
            format!("the folder {folder} does not exist"),
        ),
        ErrorKind::NotADirectory => Error::new(
            ErrorCode::NotAFolder,
            format!("{folder} is not a folder: a log lies in a folder of its own"),
        ),
        _ => error_of(error),
    }
}

/// Reads the format of a folder; `folder` is what messages call it.
///
/// # Errors
/// `Missing` if there is none, `TooNew`, `Damaged`, or the storage's.
pub fn read(storage: &dyn Storage, folder: &str) -> Result<Format, FormatError> {
    let file = match storage.open(NAME, true) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(FormatError::Missing {
                folder: folder.to_owned(),
            });
        }
        file => file?,
    };
    let bytes = read_all(&*file)?;
    parse(&bytes).map_err(|problem| match problem {
        Problem::TooNew(found) => FormatError::TooNew {
            folder: folder.to_owned(),
            found,
            supported: FOLDER_VERSION,
        },
        Problem::Damaged(reason) => FormatError::Damaged {
            folder: folder.to_owned(),
            reason,
        },
    })
}

/// Reads the format of a folder, or makes it this build's with the log uuid that `new_uuid` gives; it is
/// durable on return. Other files in the folder are left alone.
///
/// # Errors
/// As [`read`], and `Lost` if there are segments without a format. An error of `new_uuid`.
pub fn read_or_create(
    storage: &dyn Storage,
    folder: &str,
    new_uuid: impl FnOnce() -> io::Result<[u8; 16]>,
) -> Result<Format, FormatError> {
    match read(storage, folder) {
        Err(FormatError::Missing { .. }) => {}
        Ok(found) => {
            // Who made it may have been killed before its name was durable.
            storage.sync_dir("")?;
            return Ok(found);
        }
        Err(error) => return Err(error),
    }
    if has_segments(storage)? {
        return Err(FormatError::Lost {
            folder: folder.to_owned(),
            shard: SHARD,
        });
    }
    let format = Format {
        version: FOLDER_VERSION,
        log_uuid: new_uuid()?,
    };
    // A crash may have left one.
    match storage.unlink(TEMPORARY_NAME) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let file = storage.create(TEMPORARY_NAME)?;
    file.write_at(&[IoSlice::new(text_of(&format).as_bytes())], 0)?;
    file.sync()?;
    storage.rename(TEMPORARY_NAME, NAME)?;
    storage.sync_dir("")?;
    Ok(format)
}

/// A random uuid, version 4, from the operating system.
///
/// # Errors
/// The operating system has no randomness to give.
pub fn random_uuid() -> io::Result<[u8; 16]> {
    let mut uuid = [0; 16];
    world::fill_random(&mut uuid).map_err(io::Error::from)?;
    // RFC 9562: version in the upper half of byte 6, variant in the upper bits of byte 8.
    uuid[6] = (uuid[6] & 0x0F) | 0x40;
    uuid[8] = (uuid[8] & 0x3F) | 0x80;
    Ok(uuid)
}

fn has_segments(storage: &dyn Storage) -> io::Result<bool> {
    match storage.list(SHARD) {
        Ok(names) => Ok(names.iter().any(|name| name.ends_with(".log"))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn read_all(file: &dyn StorageFile) -> io::Result<Vec<u8>> {
    // One byte more than is allowed shows that there is more.
    let length = file.length()?.min(FORMAT_BYTES_MAX + 1);
    let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
    file.read_at(&mut bytes, 0)?;
    Ok(bytes)
}

#[derive(Debug, PartialEq, Eq)]
enum Problem {
    TooNew(u32),
    Damaged(&'static str),
}

fn parse(bytes: &[u8]) -> Result<Format, Problem> {
    if bytes.len() as u64 > FORMAT_BYTES_MAX {
        return Err(Problem::Damaged("it is far too long"));
    }
    let text = str::from_utf8(bytes).map_err(|_| Problem::Damaged("it is not text"))?;
    let checked = check_crc(text).ok_or(Problem::Damaged("its checksum does not match"))?;
    let mut lines = checked.lines();
    let version = lines
        .next()
        .and_then(|line| line.strip_prefix(VERSION_KEY)?.parse().ok())
        .ok_or(Problem::Damaged("its first line names no version"))?;
    if version > FOLDER_VERSION {
        return Err(Problem::TooNew(version));
    }
    let uuid = lines
        .next()
        .and_then(|line| parse_uuid(line.strip_prefix(UUID_KEY)?));
    match (version, uuid, lines.next()) {
        (1, Some(log_uuid), None) => Some(Format { version, log_uuid }),
        _ => None,
    }
    // There is one way to write it down: no sign before the version, no other line ends.
    .filter(|format| text_of(format) == text)
    .ok_or(Problem::Damaged("its lines are not those of its version"))
}

/// What stands before the line of the checksum, if that matches.
fn check_crc(text: &str) -> Option<&str> {
    let (checked, crc) = text.split_at_checked(text.len().checked_sub(CRC_LINE_BYTES)?)?;
    (crc == crc_line(checked) && checked.ends_with('\n')).then_some(checked)
}

fn crc_line(checked: &str) -> String {
    format!("{CRC_KEY}{:08x}\n", crc32c::crc32c(checked.as_bytes()))
}

fn text_of(format: &Format) -> String {
    let uuid = display_uuid(&format.log_uuid);
    let checked = format!("{VERSION_KEY}{}\n{UUID_KEY}{uuid}\n", format.version);
    let crc = crc_line(&checked);
    checked + &crc
}

/// A uuid in its usual form, 8-4-4-4-12 hexadecimal digits.
#[must_use]
pub fn display_uuid(uuid: &[u8; 16]) -> String {
    let digits = format!("{:032x}", u128::from_be_bytes(*uuid));
    let (parts, last) = digits.split_at(20);
    let (time, rest) = parts.split_at(8);
    let (middle, rest) = rest.split_at(4);
    let (version, variant) = rest.split_at(4);
    format!("{time}-{middle}-{version}-{variant}-{last}")
}

fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.chars().filter(|char| *char != '-').collect();
    let uuid = u128::from_str_radix(&digits, 16).ok()?.to_be_bytes();
    // Only the one way of writing it.
    (display_uuid(&uuid) == text).then_some(uuid)
}

const NAME: &str = "format";
const TEMPORARY_NAME: &str = "format.tmp";
const SHARD: &str = "0000";
const VERSION_KEY: &str = "headwater-folder ";
const UUID_KEY: &str = "log-uuid ";
const CRC_KEY: &str = "crc32c ";
const CRC_LINE_BYTES: usize = CRC_KEY.len() + 8 + 1;

#[cfg(test)]
mod tests;
