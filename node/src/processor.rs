//! The processor: records to handlers, and what became of them back. The loop is JavaScript's.

use headwater::client::{ProcessBlock, Processor};
use headwater::{Finish, Result};
use napi::Env;
use napi::bindgen_prelude::Buffer;
use napi_derive::napi;

use crate::consumer::copy;
use crate::error::guard;
use crate::hub::Host;

/// What `process` takes records from.
#[napi]
pub struct NativeProcessor {
    processor: Processor,
}

/// Records to process: the row `i` of the block has the ticket `firstTicket + i`.
#[napi(object)]
pub struct Taken {
    /// The ticket of the first row.
    pub first_ticket: i64,
    /// The block, in memory of V8.
    pub block: Buffer,
}

#[napi]
impl NativeProcessor {
    pub(crate) const fn new(processor: Processor) -> Self {
        Self { processor }
    }

    /// The next records; null at the end.
    #[napi]
    pub fn take(&self, env: &Env, ticket: i64) -> napi::Result<()> {
        let pending = guard(env, || Ok(self.processor.take(usize::MAX)))?;
        Host::ask(env, ticket, pending, |env, taken: Option<ProcessBlock>| {
            taken.map(|taken| handed_over(env, &taken)).transpose()
        })
    }

    /// The handler of this record has ended, by this error if there is one. Whether that stops
    /// everything.
    #[napi(catch_unwind)]
    pub fn finish(&self, ticket: i64, error: Option<String>) -> bool {
        let finish = error.map_or(Finish::Done, Finish::Retry);
        let ticket = ticket.cast_unsigned();
        self.processor.finish(vec![(ticket, finish)]) == Some(ticket)
    }

    /// The handler of `count` records has ended, the first of which has this ticket. Whether that stops
    /// everything.
    #[napi(catch_unwind)]
    pub fn finish_batch(&self, first_ticket: i64, count: u32, error: Option<String>) -> bool {
        let finish = error.map_or(Finish::Done, Finish::Retry);
        let first = first_ticket.cast_unsigned();
        let tickets = first..first.saturating_add(count.into());
        let results = tickets.map(|ticket| (ticket, finish.clone())).collect();
        self.processor.finish(results).is_some()
    }

    /// What was not done is read again.
    #[napi]
    pub fn close(&self, env: &Env, ticket: i64) -> napi::Result<()> {
        let pending = guard(env, || Ok(self.processor.close()))?;
        Host::ask(env, ticket, pending, |_, ()| Ok(()))
    }
}

fn handed_over(env: &Env, taken: &ProcessBlock) -> Result<Taken> {
    Ok(Taken {
        first_ticket: taken.first_ticket.cast_signed(),
        block: copy(env, &taken.block)?,
    })
}
