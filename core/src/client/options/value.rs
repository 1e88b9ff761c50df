//! The values an option can have: numbers, texts, and words with a meaning of their own.

use std::fmt;

use super::OptionRow;
use crate::error::Result;
use crate::ids::Durability;

/// A type that an option can have.
pub(super) trait Value: Sized {
    /// As in [`OptionRow::kind`].
    const KIND: &'static str;

    /// Reads it from text.
    fn parse(row: &OptionRow, text: &str) -> Result<Self>;

    /// Writes it as text that `parse` reads.
    fn print(&self) -> String;

    /// Refuses what is out of range, when the field was set from code.
    fn check(&self, _row: &OptionRow) -> Result<()> {
        Ok(())
    }
}

macro_rules! numbers {
    ($($type:ty),*) => {$(
        impl Value for $type {
            const KIND: &'static str = "integer";

            fn parse(row: &OptionRow, text: &str) -> Result<Self> {
                let value: Self = text.trim().parse().map_err(|_| row.refuse(&text))?;
                value.check(row)?;
                Ok(value)
            }

            fn print(&self) -> String {
                self.to_string()
            }

            fn check(&self, row: &OptionRow) -> Result<()> {
                let number = i64::try_from(*self).map_err(|_| row.refuse(self))?;
                row.check_number(number)
            }
        }
    )*};
}

numbers!(u64, i64, u32);

impl Value for bool {
    const KIND: &'static str = "boolean";

    fn parse(row: &OptionRow, text: &str) -> Result<Self> {
        match text.trim() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(row.refuse(&text)),
        }
    }

    fn print(&self) -> String {
        self.to_string()
    }
}

impl Value for String {
    const KIND: &'static str = "text";

    fn parse(row: &OptionRow, text: &str) -> Result<Self> {
        let value = Self::from(text);
        value.check(row)?;
        Ok(value)
    }

    fn print(&self) -> String {
        self.clone()
    }

    fn check(&self, row: &OptionRow) -> Result<()> {
        if self.is_empty() {
            Err(row.refuse(self))
        } else {
            Ok(())
        }
    }
}

impl Value for Vec<String> {
    const KIND: &'static str = "texts";

    fn parse(row: &OptionRow, text: &str) -> Result<Self> {
        let parts = text.split(',').map(str::trim);
        parts.map(|part| String::parse(row, part)).collect()
    }

    fn print(&self) -> String {
        self.join(",")
    }
}

impl Value for Vec<i32> {
    const KIND: &'static str = "integers";

    fn parse(row: &OptionRow, text: &str) -> Result<Self> {
        let parts = text.split(',').map(|part| part.trim().parse());
        let value = parts
            .collect::<Result<Self, _>>()
            .map_err(|_| row.refuse(&text))?;
        value.check(row)?;
        Ok(value)
    }

    fn print(&self) -> String {
        let parts: Vec<_> = self.iter().map(ToString::to_string).collect();
        parts.join(",")
    }

    fn check(&self, row: &OptionRow) -> Result<()> {
        self.iter()
            .try_for_each(|partition| row.check_number((*partition).into()))
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// Every word, in the table's order.
            pub const WORDS: &'static [&'static str] = &[$($word),*];

            /// The word in options, the same in every language.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl Value for $name {
            const KIND: &'static str = "word";

            fn parse(row: &OptionRow, text: &str) -> Result<Self> {
                match text.trim() {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(row.refuse(&text)),
                }
            }

            fn print(&self) -> String {
                self.to_string()
            }
        }
    };
}

words!(
    /// How record batches are compressed.
    Compression {
        /// Not at all.
        None = "none",
        /// gzip.
        Gzip = "gzip",
        /// snappy.
        Snappy = "snappy",
        /// lz4.
        Lz4 = "lz4",
        /// zstd.
        Zstd = "zstd",
    }
);

words!(
    /// How a record without a partition of its own finds one.
    Partitioner {
        /// Kafka's hash of the key; without a key one partition at a time, batch by batch.
        Murmur2 = "murmur2",
    }
);

words!(
    /// When a record counts as processed.
    Ack {
        /// When the next one (or the next batch or block) is asked for.
        Auto = "auto",
        /// When it is acknowledged.
        Manual = "manual",
    }
);

words!(
    /// How partitions are spread over the members of a group.
    Assignor {
        /// As before, as far as it is fair.
        Sticky = "sticky",
        /// Neighbours together.
        Range = "range",
        /// In turns.
        RoundRobin = "round_robin",
    }
);

words!(
    /// Whether records of transactions that are not committed are seen.
    Isolation {
        /// They are not.
        ReadCommitted = "read_committed",
        /// They are.
        ReadUncommitted = "read_uncommitted",
    }
);

words!(
    /// What happens to old records.
    CleanupPolicy {
        /// They are deleted by time and size.
        Delete = "delete",
        /// The last of every key is kept.
        Compact = "compact",
        /// Both.
        Both = "both",
    }
);

words!(
    /// What happens when a folder with a limit has no room for another segment.
    MaxBytesPolicy {
        /// What would need one is refused until something is deleted.
        Refuse = "refuse",
        /// The oldest records are deleted, of all topics but those that are compacted alone.
        DropOldest = "drop_oldest",
    }
);

words!(
    /// Who may have the log of a folder open.
    Sharing {
        /// Every process of this user: the first serves the others.
        Processes = "processes",
        /// One process alone.
        Exclusive = "exclusive",
    }
);

words!(
    /// Who says when a record was made.
    TimestampType {
        /// The producer.
        CreateTime = "create_time",
        /// The log, when it appends.
        LogAppendTime = "log_append_time",
    }
);

words!(
    /// What must stay in order while records are processed at the same time.
    Order {
        /// Records of one key.
        Key = "key",
        /// Records of one partition.
        Partition = "partition",
        /// Nothing.
        None = "none",
    }
);

impl Value for Durability {
    const KIND: &'static str = "word";

    fn parse(row: &OptionRow, text: &str) -> Result<Self> {
        text.trim().parse().map_err(|_| row.refuse(&text))
    }

    fn print(&self) -> String {
        self.to_string()
    }
}

/// Where a consumer without a committed offset begins.
///
/// It also says where a consumer goes on whose next records were deleted before it read them: with
/// `Latest` at the end, as in Kafka, else at the first record that is held. What was passed over is logged and
/// counted (`offset_resets`, `records_skipped` of [`Metrics`](crate::Metrics)). An `Offset` that is not held when
/// reading begins is an error, `OFFSET_OUT_OF_RANGE`: it was named, so no other is taken for it. A committed
/// offset past the end goes on at the end.
///
/// Whatever it says, a consumer that has read records which a crash took back (possible at durability `os`)
/// goes back to the last offset up to which all is as it was; see `log_truncations` and `records_truncated`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the first record that is held.
    Earliest,
    /// Behind the last record.
    Latest,
    /// At this offset, in every partition.
    Offset(i64),
    /// At the first record of this time or later, ms since 1970 UTC.
    Time(i64),
}

impl Value for Start {
    const KIND: &'static str = "text";

    fn parse(row: &OptionRow, text: &str) -> Result<Self> {
        match text.trim() {
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            other => match place(other) {
                Some(Place::Offset(offset)) => Ok(Self::Offset(offset)),
                Some(Place::Time(time)) => Ok(Self::Time(time)),
                None => Err(row.refuse(&text)),
            },
        }
    }

    fn print(&self) -> String {
        match self {
            Self::Earliest => "earliest".to_owned(),
            Self::Latest => "latest".to_owned(),
            Self::Offset(offset) => format!("offset:{offset}"),
            Self::Time(time) => format!("time:{time}"),
        }
    }

    fn check(&self, row: &OptionRow) -> Result<()> {
        match self {
            Self::Offset(offset) if *offset < 0 => Err(row.refuse(offset)),
            _ => Ok(()),
        }
    }
}

/// Where a consumer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// At the high watermark that each partition had when the consumer opened.
    End,
    /// Before this offset, in every partition.
    Offset(i64),
    /// Before the first record of this time or later, ms since 1970 UTC.
    Time(i64),
}

impl Value for Until {
    const KIND: &'static str = "text";

    fn parse(row: &OptionRow, text: &str) -> Result<Self> {
        match text.trim() {
            "end" => Ok(Self::End),
            other => match place(other) {
                Some(Place::Offset(offset)) => Ok(Self::Offset(offset)),
                Some(Place::Time(time)) => Ok(Self::Time(time)),
                None => Err(row.refuse(&text)),
            },
        }
    }

    fn print(&self) -> String {
        match self {
            Self::End => "end".to_owned(),
            Self::Offset(offset) => format!("offset:{offset}"),
            Self::Time(time) => format!("time:{time}"),
        }
    }

    fn check(&self, row: &OptionRow) -> Result<()> {
        match self {
            Self::Offset(offset) if *offset < 0 => Err(row.refuse(offset)),
            _ => Ok(()),
        }
    }
}

enum Place {
    Offset(i64),
    Time(i64),
}

/// `17` and `offset:17` are offsets; `time:1700000000000` (ms) and `2023-11-14T22:13:20Z` times.
fn place(text: &str) -> Option<Place> {
    if let Some(time) = text.strip_prefix("time:") {
        return time.parse().ok().or_else(|| utc_ms(time)).map(Place::Time);
    }
    let offset = text.strip_prefix("offset:").unwrap_or(text);
    match offset.parse() {
        Ok(offset) if offset >= 0 => Some(Place::Offset(offset)),
        Ok(_) => None,
        Err(_) => utc_ms(text).map(Place::Time),
    }
}

/// `YYYY-MM-DD`, optionally `THH:MM[:SS[.mmm]]` and `Z`, in UTC, as ms since 1970.
fn utc_ms(text: &str) -> Option<i64> {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00"));
    let mut date = date.splitn(3, '-').map(digits);
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut time = time.splitn(3, ':');
    let (hour, minute) = (digits(time.next()?)?, digits(time.next()?)?);
    let (second, milli) = match time.next() {
        None => (0, 0),
        Some(second) => {
            let (second, fraction) = second.split_once('.').unwrap_or((second, "0"));
            let padded = format!("{fraction:0<3}");
            (digits(second)?, digits(padded.get(..3)?)?)
        }
    };
    let is_sane = (1..=9_999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days_of_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    is_sane.then_some(seconds * 1_000 + milli)
}

fn digits(text: &str) -> Option<i64> {
    let is_number = (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

fn days_of_month(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The proleptic Gregorian calendar, counted in eras of 400 years that begin in March.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}
