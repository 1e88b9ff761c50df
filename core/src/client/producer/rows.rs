//! Records that come packed, many to a call.
//!
//! Every row is looked at before the first is taken, so a call that fails has changed nothing. Then rows
//! are taken while there is room; the caller gives the rest again later.

use std::collections::HashSet;
use std::sync::Arc;

use super::accumulator::{Taken, Told};
use super::desk::Desk;
use super::parked::Waiter;
use super::sender::{Letter, Patience, Sender, Want, check_headers, closed, now_ms};
use crate::completion::Wakes;
use crate::error::{Error, ErrorCode, Result};
use crate::fork;
use crate::record::RecordRef;
use crate::record::block::{SendRow, SendRows};
use crate::world;

impl Sender {
    /// Takes whole rows while there is room; returns their bytes.
    pub(super) fn accept_rows(self: &Arc<Self>, bytes: &[u8]) -> Result<usize> {
        fork::check(self.generation)?;
        let rows = SendRows::check(bytes)
            .map_err(|error| Error::new(ErrorCode::InvalidArgument, format!("send {error}")))?;
        let now_ms = now_ms();
        let mut asked = HashSet::new();
        let mut desk = loop {
            let desk = self.desk.lock();
            let Some(topic) = self.check_rows(&desk, rows.clone(), now_ms, &asked)? else {
                break desk;
            };
            drop(desk);
            asked.insert(topic);
            if let Some(Err(error)) = self.look_up(topic).peek() {
                return Err(error);
            }
        };
        let mut told = Told::default();
        let mut bytes = 0;
        let mut wake_at = None;
        for row in rows {
            let letter = letter(&row, now_ms);
            let needed = self.needed_bytes(&desk, row.topic_id, &letter.record)?;
            if !desk.queue.is_empty() || !self.has_room(&desk, needed) {
                desk.last_refused = needed;
                break;
            }
            bytes += row.row_len as usize;
            match self.put(&mut desk, row.topic_id, &letter) {
                Ok((taken, _)) => wake_at = taken.wake_at.into_iter().chain(wake_at).min(),
                // It passed every check that can be made before: it is taken and fails by itself.
                Err(error) => told.settled.push(refused(&row, error)),
            }
        }
        self.after_push(desk, &Taken { index: 0, wake_at }, Patience::None);
        self.tell(told, &mut Wakes::new());
        Ok(bytes)
    }

    /// Refuses malformed rows; returns a topic that is to be looked up first. Not one that was `asked` for already
    /// because it may have more partitions by now.
    fn check_rows(
        &self,
        desk: &Desk,
        rows: SendRows<'_>,
        now_ms: i64,
        asked: &HashSet<u32>,
    ) -> Result<Option<u32>> {
        if desk.is_closed {
            return Err(closed());
        }
        let topics = &desk.accumulator.topics;
        for (index, row) in rows.enumerate() {
            let at_row = |error: Error| {
                Error::new(
                    error.code(),
                    format!("send row {index}: {}", error.message()),
                )
            };
            if !topics.has(row.topic_id) {
                let (found, count) = (row.topic_id, topics.len());
                return Err(Error::new(
                    ErrorCode::InvalidArgument,
                    format!("send row {index} has topic id {found}; `topic` has given out {count}"),
                ));
            }
            let letter = letter(&row, now_ms);
            check_headers(&letter.record).map_err(at_row)?;
            let is_beyond = topics.is_beyond(row.topic_id, letter.partition);
            if is_beyond && !asked.contains(&row.topic_id) {
                return Ok(Some(row.topic_id));
            }
            if desk.is_asked_about(row.topic_id, letter.partition) {
                // It is kept until that is answered.
            } else if topics.lookup(row.topic_id).is_some() {
                topics
                    .choose(row.topic_id, letter.partition, row.key)
                    .map_err(at_row)?;
            } else if !desk.lookups.contains_key(&row.topic_id) {
                return Ok(Some(row.topic_id));
            }
            self.needed_bytes(desk, row.topic_id, &letter.record)
                .map_err(at_row)?;
        }
        Ok(None)
    }
}

fn letter<'a>(row: &SendRow<'a>, now_ms: i64) -> Letter<'a> {
    Letter {
        partition: (row.partition >= 0).then_some(row.partition),
        record: RecordRef {
            timestamp_ms: if row.timestamp_ms == -1 {
                now_ms
            } else {
                row.timestamp_ms
            },
            key: row.key,
            value: row.value,
            headers: row.headers(),
        },
        want: if row.ticket == 0 {
            Want::Nothing
        } else {
            Want::Ticket(row.ticket)
        },
    }
}

fn refused(row: &SendRow<'_>, error: Error) -> super::accumulator::Settled {
    let waiter = match row.ticket {
        0 => Waiter::Silent,
        ticket => Waiter::Ticket(ticket),
    };
    waiter.refused(row.topic_id, row.partition, world::now(), error)
}
