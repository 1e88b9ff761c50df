//! What a producer has to tell: completion rows, the errors they name, and failures nobody waited for.
//!
//! Rows that the host has not taken count against the producer's budget, so a host that never takes them
//! cannot make this grow. Hooks are foreign: they are run by [`Wakes`], never under a lock.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::sync::Mutex;

use super::DeliveryFailure;
use super::batch::TicketRange;
use super::delivery::Placed;
use crate::completion::{Wake, Wakes};
use crate::error::{Error, Outcome};
use crate::limits::{ERRORS_KEPT_MAX, FAILED_TOPICS_NAMED_MAX};
use crate::record::block::CompletionRow;

pub(super) type RowsHook = Arc<dyn Fn() + Send + Sync>;
pub(super) type FailureHook = Arc<dyn Fn(&DeliveryFailure) + Send + Sync>;

/// See the module.
#[derive(Default)]
pub(super) struct Ledger {
    state: Mutex<State>,
    row_bytes: AtomicUsize,
}

#[derive(Default)]
struct State {
    rows: Vec<u8>,
    on_rows: Option<RowsHook>,
    errors: VecDeque<(u32, Error)>,
    last_error_id: u32,
    untold: Untold,
    on_failure: Option<FailureHook>,
}

/// Failures that nobody was told about.
#[derive(Default)]
pub(super) struct Untold {
    pub(super) records: u64,
    pub(super) first: Option<Error>,
    /// Some of the topics.
    topics: Vec<Arc<str>>,
}

impl Ledger {
    /// Bytes of rows that wait to be taken.
    pub(super) fn row_bytes(&self) -> usize {
        self.row_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn set_rows_hook(&self, hook: RowsHook) {
        let mut wakes = Wakes::new();
        let mut state = self.state.lock();
        if !state.rows.is_empty() {
            wakes.push(Wake::Hook(Arc::clone(&hook)));
        }
        state.on_rows = Some(hook);
    }

    pub(super) fn set_failure_hook(&self, hook: FailureHook) {
        self.state.lock().on_failure = Some(hook);
    }

    /// Adds the rows of one batch.
    pub(super) fn add_rows(
        &self,
        partition: i32,
        tickets: &[TicketRange],
        result: &Result<Placed, Error>,
        wakes: &mut Wakes,
    ) {
        if tickets.is_empty() {
            return;
        }
        let mut state = self.state.lock();
        let error_id = match result {
            Ok(_) => 0,
            Err(error) => state.keep(error.clone()),
        };
        let was_empty = state.rows.is_empty();
        for range in tickets {
            row(partition, range, result, error_id).encode_into(&mut state.rows);
        }
        self.row_bytes.store(state.rows.len(), Ordering::Relaxed);
        if was_empty && let Some(hook) = &state.on_rows {
            wakes.push(Wake::Hook(Arc::clone(hook)));
        }
    }

    pub(super) fn take_rows(&self) -> Vec<u8> {
        let mut state = self.state.lock();
        self.row_bytes.store(0, Ordering::Relaxed);
        std::mem::take(&mut state.rows)
    }

    /// The error stays: rows of one batch share it.
    pub(super) fn error(&self, error_id: u32) -> Option<Error> {
        let state = self.state.lock();
        let mut errors = state.errors.iter();
        errors
            .find(|(id, _)| *id == error_id)
            .map(|(_, error)| error.clone())
    }

    /// Whether somebody is told at once what failed.
    pub(super) fn has_failure_hook(&self) -> bool {
        self.state.lock().on_failure.is_some()
    }

    /// Counts records that failed and that nobody waits for.
    pub(super) fn lost(&self, failure: DeliveryFailure, wakes: &mut Wakes) {
        let mut state = self.state.lock();
        let untold = &mut state.untold;
        untold.records += failure.records;
        untold.first.get_or_insert_with(|| failure.error.clone());
        if untold.topics.len() <= FAILED_TOPICS_NAMED_MAX && !untold.topics.contains(&failure.topic)
        {
            untold.topics.push(Arc::clone(&failure.topic));
        }
        if let Some(hook) = &state.on_failure {
            let hook = Arc::clone(hook);
            wakes.push(Wake::Hook(Arc::new(move || hook(&failure))));
        }
    }

    /// What was not told until now; from here on it counts as told.
    pub(super) fn take_untold(&self) -> Untold {
        std::mem::take(&mut self.state.lock().untold)
    }
}

impl State {
    fn keep(&mut self, error: Error) -> u32 {
        self.last_error_id = match self.last_error_id.wrapping_add(1) {
            0 => 1,
            id => id,
        };
        if self.errors.len() >= ERRORS_KEPT_MAX {
            self.errors.pop_front();
        }
        self.errors.push_back((self.last_error_id, error));
        self.last_error_id
    }
}

impl Untold {
    /// The error of a flush: the first failure, how many there were, and where.
    pub(super) fn into_result(self) -> Result<(), Error> {
        let Some(first) = self.first else {
            return Ok(());
        };
        let named = self
            .topics
            .iter()
            .take(FAILED_TOPICS_NAMED_MAX)
            .map(|topic| &**topic);
        let mut topics = named.collect::<Vec<_>>().join(", ");
        if self.topics.len() > FAILED_TOPICS_NAMED_MAX {
            topics.push_str(" and others");
        }
        let records = if self.records == 1 {
            "record"
        } else {
            "records"
        };
        let message = format!(
            "{} {records} to {topics} not delivered; the first failed with: {}",
            self.records,
            first.message()
        );
        let error = Error::new(first.code(), message).with_outcome(first.outcome());
        Err(error.with_source(first))
    }
}

fn row(
    partition: i32,
    range: &TicketRange,
    result: &Result<Placed, Error>,
    error_id: u32,
) -> CompletionRow {
    let row = CompletionRow {
        first_ticket: range.first_ticket,
        count: range.count,
        partition,
        base_offset: -1,
        timestamp_ms: -1,
        durability: 0,
        outcome: 0,
        error: 0,
        error_id,
    };
    match result {
        Ok(placed) => CompletionRow {
            base_offset: placed.base_offset.saturating_add(range.first_index.into()),
            timestamp_ms: placed.append_time_ms,
            durability: placed.durability.number(),
            ..row
        },
        Err(error) => CompletionRow {
            outcome: match error.outcome() {
                Outcome::NotDone => 1,
                Outcome::Unknown => 2,
            },
            error: error.code() as u16,
            ..row
        },
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("Ledger")
            .field("row_bytes", &state.rows.len())
            .field("errors", &state.errors.len())
            .field("untold_records", &state.untold.records)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
