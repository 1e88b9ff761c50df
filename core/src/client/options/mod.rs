//! The options: names, types, ranges, defaults and one line of documentation, once for every language.
//!
//! Each group is one struct whose fields are all `Option`: none means the default of [`table`], which
//! stands here and nowhere else. `set` takes an option as text (address query, command line, a name that
//! a binding does not know), in snake case, camelCase or with Kafka's dots. An unknown name is refused
//! with the nearest known one; a value out of range with the option, the value found and the range.
//!
//! Times are whole milliseconds (`_ms`), sizes whole bytes (`_bytes`).

mod sizes;
mod table;
mod value;

pub use sizes::FolderSizes;
pub use table::{
    ConnectOptions, ConsumerOptions, ProcessOptions, ProducerOptions, ServeOptions, TopicOptions,
    table,
};
pub use value::{
    Ack, Assignor, CleanupPolicy, Compression, Isolation, MaxBytesPolicy, Order, Partitioner,
    Sharing, Start, TimestampType, Until,
};

use crate::error::{Error, ErrorCode, Result};

/// One row of the table of options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionRow {
    /// The group: `connect`, `producer`, `consumer`, `process`, `topic` or `serve`.
    pub group: &'static str,
    /// The name, snake case.
    pub name: &'static str,
    /// The type of the value: `integer`, `boolean`, `text`, `texts`, `integers` or `word`.
    pub kind: &'static str,
    /// The default, as text; in words where it depends on something else.
    pub default: &'static str,
    /// What a value may be.
    pub range: Range,
    /// One line of documentation.
    pub doc: &'static str,
}

/// What the value of an option may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// A whole number from `min` to `max`, both included.
    Numbers {
        /// The smallest.
        min: i64,
        /// The largest.
        max: i64,
    },
    /// -1 (no limit), or a whole number from 1.
    Limit,
    /// One of these words.
    Words(&'static [&'static str]),
    /// Anything of the form that these words describe.
    Any(&'static str),
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Numbers { min, max: i64::MAX } => write!(f, "{min} or more"),
            Self::Numbers { min, max } => write!(f, "{min} to {max}"),
            Self::Limit => f.write_str("-1 (no limit), or 1 or more"),
            Self::Words(words) => {
                for (index, word) in words.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { ", " })?;
                    write!(f, "`{word}`")?;
                }
                Ok(())
            }
            Self::Any(words) => f.write_str(words),
        }
    }
}

impl OptionRow {
    /// The error for a value that is not in the range.
    pub(crate) fn refuse(&self, found: &dyn std::fmt::Display) -> Error {
        Error::new(
            ErrorCode::InvalidOption,
            format!(
                "{} option `{}` is `{found}`; it must be {}",
                self.group, self.name, self.range
            ),
        )
    }

    fn check_number(&self, found: i64) -> Result<()> {
        let is_inside = match self.range {
            Range::Numbers { min, max } => (min..=max).contains(&found),
            Range::Limit => found == -1 || found >= 1,
            Range::Words(_) | Range::Any(_) => true,
        };
        if is_inside {
            Ok(())
        } else {
            Err(self.refuse(&found))
        }
    }
}

/// The error for a name that no option of `group` has.
pub(crate) fn unknown(group: &str, name: &str) -> Error {
    let plain = normal(name);
    let nearest = table()
        .iter()
        .filter(|row| row.group == group)
        .map(|row| (distance(&plain, row.name), row.name))
        .min();
    let hint = match nearest {
        Some((distance, nearest)) if distance <= nearest.len().max(plain.len()) / 2 => {
            format!("; did you mean `{nearest}`?")
        }
        _ => String::new(),
    };
    Error::new(
        ErrorCode::UnknownOption,
        format!("there is no {group} option `{name}`{hint}"),
    )
}

/// A name as the table spells it: `lingerMs`, `linger.ms` and `linger-ms` are `linger_ms`.
pub(crate) fn normal(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    for character in name.chars() {
        match character {
            '.' | '-' => out.push('_'),
            upper if upper.is_ascii_uppercase() => {
                if !out.is_empty() && !out.ends_with('_') {
                    out.push('_');
                }
                out.push(upper.to_ascii_lowercase());
            }
            other => out.push(other),
        }
    }
    out
}

/// Edits between two names. Both are bounded: what is longer than any option is far from all.
fn distance(left: &str, right: &str) -> usize {
    const LEN_MAX: usize = 64;
    if left.len() > LEN_MAX {
        return left.len();
    }
    let mut row: Vec<usize> = (0..=right.chars().count()).collect();
    for (index, from) in left.chars().enumerate() {
        let mut diagonal = index;
        let mut before = index + 1;
        for (cell, to) in row.iter_mut().skip(1).zip(right.chars()) {
            let best = (diagonal + usize::from(from != to))
                .min(before + 1)
                .min(*cell + 1);
            diagonal = std::mem::replace(cell, best);
            before = best;
        }
        if let Some(first) = row.first_mut() {
            *first = index + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests;
