//! The processor: records to handlers, and what became of them back. The loop is the host's.

use std::sync::Arc;

use headwater::{Finish, ProcessBlock, Processor};

use crate::error::NativeError;
use crate::hub::ask;

/// What `process` takes records from.
#[derive(Debug, uniffi::Object)]
pub struct NativeProcessor {
    processor: Processor,
}

/// Records to process: the row `i` of the block has the ticket `first_ticket + i`.
#[derive(Clone, Debug, uniffi::Record)]
pub struct NativeTaken {
    /// The ticket of the first row.
    pub first_ticket: i64,
    /// A receive block.
    pub block: Vec<u8>,
}

impl From<ProcessBlock> for NativeTaken {
    fn from(taken: ProcessBlock) -> Self {
        Self {
            first_ticket: taken.first_ticket.cast_signed(),
            block: taken.block.bytes().to_vec(),
        }
    }
}

impl NativeProcessor {
    pub(crate) fn new(processor: Processor) -> Arc<Self> {
        Arc::new(Self { processor })
    }
}

#[uniffi::export]
impl NativeProcessor {
    /// The next records; none at the end.
    pub fn take(&self, ticket: i64) -> Result<(), NativeError> {
        ask(ticket, self.processor.take(usize::MAX));
        Ok(())
    }

    /// The handler of `count` records has ended, the first of which has this ticket, by this error if there
    /// is one. Whether that stops everything.
    pub fn finish_batch(
        &self,
        first_ticket: i64,
        count: u32,
        error: Option<String>,
    ) -> Result<bool, NativeError> {
        let finish = error.map_or(Finish::Done, Finish::Retry);
        let first = first_ticket.cast_unsigned();
        let tickets = first..first.saturating_add(count.into());
        let results = tickets.map(|ticket| (ticket, finish.clone())).collect();
        Ok(self.processor.finish(results).is_some())
    }

    /// What was not done is read again.
    pub fn close(&self, ticket: i64) -> Result<(), NativeError> {
        ask(ticket, self.processor.close());
        Ok(())
    }
}
