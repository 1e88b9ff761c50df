//! Where answers wait for the host: its tickets, and the one way to wake it.
//!
//! Whoever asks for something names a ticket. Core pushes the tickets that are answered to one
//! [`NotifyQueue`], whose hook calls the host's one [`Ready`]: one wake-up until they are drained. The
//! answer itself stays here until it is taken, on whatever thread the host likes, or forgotten.
//!
//! Invariants: the host is called with no lock of this module or of core held, apart from the lock of the
//! one answer that is being asked for, which only a `take` of that ticket wants. The host must not take
//! answers or wait inside `ready`.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use headwater::sync::Mutex;
use headwater::{Error, ErrorCode, NotifyQueue, Pending, Result};

use crate::client::NativeClient;
use crate::error::NativeError;
use crate::facts::{NativeGroupDetails, NativeSent, sent};
use crate::processor::NativeTaken;
use crate::record::{
    NativeGroup, NativeLag, NativePlace, NativeReport, NativeTopic, groups, lags, places, topics,
};

/// What wakes the host. Implemented by the facade, once.
#[uniffi::export(foreign)]
pub trait Ready: Send + Sync + std::fmt::Debug {
    /// Called when there are tickets to drain, on a thread of Headwater: it must return at once.
    fn ready(&self);
}

/// What was answered.
#[derive(uniffi::Enum)]
#[expect(
    missing_debug_implementations,
    reason = "it crosses at once; a block of records is not for printing"
)]
pub enum Answer {
    /// It is done.
    Done,
    /// A log is open.
    Client {
        /// It.
        client: Arc<NativeClient>,
    },
    /// Records, or none: nothing came in time, or nothing more will.
    Block {
        /// A receive block.
        block: Option<Vec<u8>>,
    },
    /// Records to process, or none: nothing more will come.
    Taken {
        /// They.
        taken: Option<NativeTaken>,
    },
    /// Topics.
    Topics {
        /// By name.
        topics: Vec<NativeTopic>,
    },
    /// Groups.
    Groups {
        /// By id.
        groups: Vec<NativeGroup>,
    },
    /// Offsets, in the order asked.
    Offsets {
        /// They.
        offsets: Vec<i64>,
    },
    /// An offset of each partition of a topic.
    Starts {
        /// They.
        starts: HashMap<i32, i64>,
    },
    /// Offsets in partitions.
    Places {
        /// They.
        places: Vec<NativePlace>,
    },
    /// How far a consumer is in its partitions.
    Lags {
        /// They.
        lags: Vec<NativeLag>,
    },
    /// A group, with its members.
    Group {
        /// It.
        group: NativeGroupDetails,
    },
    /// Where records went, in the order given.
    Sent {
        /// They.
        sent: Vec<NativeSent>,
    },
    /// What closing left undone.
    Report {
        /// It.
        report: NativeReport,
    },
}

/// An answer on its way, of whatever type.
trait Asked: Send + Sync {
    fn try_take(&self) -> Option<Result<Answer>>;
}

impl<T> Asked for Mutex<Pending<T>>
where
    T: Send + Into<Answer> + 'static,
{
    fn try_take(&self) -> Option<Result<Answer>> {
        self.lock().try_take().map(|answer| answer.map(Into::into))
    }
}

static ANSWERS: LazyLock<Mutex<HashMap<i64, Arc<dyn Asked>>>> = LazyLock::new(Mutex::default);
static READY: Mutex<Option<Arc<dyn Ready>>> = Mutex::new(None);
static QUEUE: LazyLock<Arc<NotifyQueue>> = LazyLock::new(|| {
    NotifyQueue::new(|| {
        let ready = READY.lock().clone();
        if let Some(ready) = ready {
            ready.ready();
        }
    })
});

/// The queue of answered tickets.
pub(crate) fn queue() -> Arc<NotifyQueue> {
    Arc::clone(&QUEUE)
}

/// Keeps the answer to come under `ticket`, and has the ticket pushed when it is there.
pub(crate) fn ask<T>(ticket: i64, pending: Pending<T>)
where
    T: Send + Into<Answer> + 'static,
{
    let asked = Arc::new(Mutex::new(pending));
    // Kept before it can be answered: the host may come for it at once, from another thread.
    let kept: Arc<dyn Asked> = Arc::clone(&asked) as _;
    ANSWERS.lock().insert(ticket, kept);
    asked.lock().notify(&QUEUE, ticket.cast_unsigned());
}

/// Says what wakes the host. A later one takes the place of an earlier one.
#[uniffi::export]
pub fn hub_open(ready: Arc<dyn Ready>) {
    *READY.lock() = Some(ready);
}

/// Wakes the host no more: it is about to end.
#[uniffi::export]
pub fn hub_cut() {
    *READY.lock() = None;
}

/// The tickets answered since the last call.
#[uniffi::export]
#[must_use]
pub fn hub_drain() -> Vec<i64> {
    QUEUE.drain().into_iter().map(u64::cast_signed).collect()
}

/// Takes the answer of a ticket out; none: it is not there yet.
///
/// # Errors
/// What was answered instead; `INVALID_STATE` for a ticket that nobody asked under.
#[uniffi::export]
pub fn hub_take(ticket: i64) -> Result<Option<Answer>, NativeError> {
    let Some(answer) = asked(ticket)?.try_take() else {
        return Ok(None);
    };
    hub_forget(ticket);
    Ok(Some(answer?))
}

/// Drops the answer of a ticket, whether it is there or on its way.
#[uniffi::export]
pub fn hub_forget(ticket: i64) {
    let forgotten = ANSWERS.lock().remove(&ticket);
    drop(forgotten);
}

/// Milliseconds as a host gives them; a negative number is none at all.
pub(crate) fn duration(ms: Option<i64>) -> Option<Duration> {
    ms.map(|ms| Duration::from_millis(ms.max(0).cast_unsigned()))
}

fn asked(ticket: i64) -> Result<Arc<dyn Asked>> {
    let asked = ANSWERS.lock().get(&ticket).map(Arc::clone);
    asked.ok_or_else(|| {
        Error::new(
            ErrorCode::InvalidState,
            format!("nothing was asked under ticket {ticket}, or its answer was taken"),
        )
    })
}

macro_rules! answers {
    ($($from:ty => |$value:ident| $answer:expr;)*) => {$(
        impl From<$from> for Answer {
            fn from($value: $from) -> Self { $answer }
        }
    )*};
}

answers! {
    () => |_done| Self::Done;
    headwater::Client => |client| Self::Client { client: NativeClient::new(client) };
    Option<headwater::Block> => |block| Self::Block { block: block.map(|block| block.bytes().to_vec()) };
    Option<headwater::ProcessBlock> => |taken| Self::Taken { taken: taken.map(NativeTaken::from) };
    headwater::TopicDescription => |topic| Self::Topics { topics: topics(vec![topic]) };
    Vec<headwater::TopicDescription> => |found| Self::Topics { topics: topics(found) };
    headwater::GroupDetails => |group| Self::Group { group: group.into() };
    Vec<headwater::GroupDescription> => |found| Self::Groups { groups: groups(found) };
    Vec<i64> => |offsets| Self::Offsets { offsets };
    BTreeMap<i32, i64> => |starts| Self::Starts { starts: starts.into_iter().collect() };
    Vec<headwater::PartitionOffset> => |found| Self::Places { places: places(found) };
    Vec<headwater::PartitionLag> => |found| Self::Lags { lags: lags(found) };
    Vec<headwater::RecordMetadata> => |found| Self::Sent { sent: sent(found) };
    headwater::CloseReport => |report| Self::Report { report: NativeReport::from(&report) };
}
