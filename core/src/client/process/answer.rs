//! Who wants records to process, and in which form: as a block, or one by one.

use std::sync::Arc;

use super::record::{Owned, ProcessRecord};
use super::scheduler::{Scheduler, Ticket};
use crate::client::consumer::Block;
use crate::completion::Completion;
use crate::error::{Error, ErrorCode, Result};
use crate::limits::BLOCK_BYTES_MAX;
use crate::record::block::BlockBuilder;

/// Records to process, packed for another language: the row `i` is the run with the ticket
/// `first_ticket + i`.
#[derive(Clone, Debug)]
pub struct ProcessBlock {
    /// The records.
    pub block: Block,
    /// The ticket of the first row.
    pub first_ticket: u64,
}

/// What was asked for.
#[derive(Debug)]
pub(super) enum Answer {
    Block(Completion<Option<ProcessBlock>>),
    Records(Completion<Option<Vec<ProcessRecord>>>),
}

/// What is given.
#[derive(Debug)]
pub(super) enum Given {
    Block(ProcessBlock),
    Records(Vec<ProcessRecord>),
}

impl Answer {
    pub(super) fn is_abandoned(&self) -> bool {
        match self {
            Self::Block(completion) => completion.is_abandoned(),
            Self::Records(completion) => completion.is_abandoned(),
        }
    }

    pub(super) fn finish(self, result: Result<Option<Given>>) {
        match (self, result) {
            (Self::Block(completion), Ok(Some(Given::Block(block)))) => {
                completion.finish(Ok(Some(block)));
            }
            (Self::Records(completion), Ok(Some(Given::Records(records)))) => {
                completion.finish(Ok(Some(records)));
            }
            (Self::Block(completion), result) => completion.finish(result.map(|_| None)),
            (Self::Records(completion), result) => completion.finish(result.map(|_| None)),
        }
    }

    /// The runs in this form; those at the end that do not fit are not in it. Returns how many are.
    ///
    /// # Errors
    /// `MESSAGE_TOO_LARGE` for a record that no block can hold.
    pub(super) fn pack(
        &self,
        scheduler: &Scheduler<Arc<Owned>>,
        tickets: &[Ticket],
    ) -> Result<(Given, usize)> {
        match self {
            Self::Block(_) => pack_block(scheduler, tickets),
            Self::Records(_) => {
                let records = tickets.iter().filter_map(|ticket| {
                    let held = scheduler.running(*ticket)?;
                    Some(ProcessRecord {
                        ticket: *ticket,
                        attempt: held.attempts,
                        owned: Arc::clone(&held.payload),
                    })
                });
                let records: Vec<_> = records.collect();
                let count = records.len();
                Ok((Given::Records(records), count))
            }
        }
    }
}

fn pack_block(scheduler: &Scheduler<Arc<Owned>>, tickets: &[Ticket]) -> Result<(Given, usize)> {
    let mut builder = BlockBuilder::new();
    for ticket in tickets {
        let Some(held) = scheduler.running(*ticket) else {
            break;
        };
        let owned = &held.payload;
        let fits = builder.push_single(&owned.single(), BLOCK_BYTES_MAX);
        let fits = fits.map_err(|error| {
            let (topic, partition, offset) = (&owned.topic, owned.partition, owned.offset);
            let message = format!("offset {offset} of {topic}-{partition}: {error}");
            Error::new(ErrorCode::MessageTooLarge, message)
        })?;
        if !fits {
            break;
        }
    }
    let count = builder.len();
    let block = ProcessBlock {
        block: Block::new(builder.finish(), count as u32),
        first_ticket: tickets.first().copied().unwrap_or_default(),
    };
    Ok((Given::Block(block), count))
}
