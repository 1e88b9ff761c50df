//! Options: pairs of name and text, as JavaScript flattens them, into core's options.

use headwater::client::options::{
    self, ConnectOptions, ConsumerOptions, ProcessOptions, ProducerOptions, ServeOptions,
    TopicOptions,
};
use headwater::limits::SEND_WAITERS_MAX;
use headwater::{Error, ErrorCode, Result};
use napi_derive::napi;

/// A row of core's table of options, for the test that compares it.
#[napi(object)]
#[derive(Debug)]
pub struct OptionRow {
    /// `connect`, `producer`, `consumer`, `process`, `topic` or `serve`.
    pub group: String,
    /// The name, snake case.
    pub name: String,
    /// `integer`, `boolean`, `text`, `texts`, `integers` or `word`.
    pub kind: String,
    /// The default, as text.
    pub default: String,
    /// What a value may be, in words.
    pub range: String,
    /// One line of documentation.
    pub doc: String,
}

/// The limits that the JavaScript side keeps.
#[napi(object)]
#[derive(Debug)]
pub struct Limits {
    /// `send`s that may wait for room.
    pub send_waiters: u32,
}

/// The limits that the JavaScript side keeps.
#[napi(catch_unwind)]
pub fn limits() -> Limits {
    Limits {
        send_waiters: u32::try_from(SEND_WAITERS_MAX).unwrap_or(u32::MAX),
    }
}

/// Every option of every group.
#[napi(catch_unwind)]
pub fn option_table() -> Vec<OptionRow> {
    let row = |row: &options::OptionRow| OptionRow {
        group: row.group.into(),
        name: row.name.into(),
        kind: row.kind.into(),
        default: row.default.into(),
        range: row.range.to_string(),
        doc: row.doc.into(),
    };
    options::table().iter().map(row).collect()
}

/// `[name, text, name, text ...]` as options of one group.
pub(crate) fn read<O: Settable>(flat: &[String]) -> Result<O> {
    let (pairs, rest) = flat.as_chunks::<2>();
    if !rest.is_empty() {
        let message = "options must come as pairs of a name and a text";
        return Err(Error::new(ErrorCode::InvalidArgument, message));
    }
    let mut options = O::default();
    for [name, text] in pairs {
        options.set(name, text)?;
    }
    Ok(options)
}

/// A group of options that can be set by name.
pub(crate) trait Settable: Default {
    /// Sets one from text.
    fn set(&mut self, name: &str, text: &str) -> Result<()>;
}

macro_rules! settable {
    ($($group:ty),*) => {$(
        impl Settable for $group {
            fn set(&mut self, name: &str, text: &str) -> Result<()> {
                <$group>::set(self, name, text)
            }
        }
    )*};
}

settable!(
    ConnectOptions,
    ProducerOptions,
    ConsumerOptions,
    ProcessOptions,
    TopicOptions,
    ServeOptions
);
