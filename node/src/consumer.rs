//! The consumer: leased blocks out, and the positions in between.

use headwater::client::{Block, Consumer, Progress};
use headwater::protocol::request::OffsetAt;
use headwater::{Error, ErrorCode};
use napi::Env;
use napi::bindgen_prelude::{Buffer, BufferSlice};
use napi_derive::napi;

use crate::client::timeout_of;
use crate::config;
use crate::error::guard;
use crate::hub::Host;
use crate::processor::NativeProcessor;
use crate::record::{self, OffsetOf, PartitionName};
use crate::results::{self, ResultOf};

/// Reads topics.
#[napi]
pub struct NativeConsumer {
    consumer: Consumer,
}

#[napi]
impl NativeConsumer {
    pub(crate) const fn new(consumer: Consumer) -> Self {
        Self { consumer }
    }

    /// Finds the topics, joins the group, fixes where reading starts and ends.
    #[napi]
    pub fn open(&self, env: &Env, ticket: i64) -> napi::Result<()> {
        let pending = guard(env, || Ok(self.consumer.open()))?;
        Host::ask(env, ticket, pending, |_, ()| Ok(()))
    }

    /// The next block, copied into memory of V8; null when there is none. Passes the last one.
    #[napi]
    pub fn next_block(&self, env: &Env, ticket: i64, timeout_ms: Option<f64>) -> napi::Result<()> {
        let pending = guard(env, || Ok(self.consumer.next_block(timeout_of(timeout_ms))))?;
        Host::ask(env, ticket, pending, |env, block: Option<Block>| {
            block.map(|block| copy(env, &block)).transpose()
        })
    }

    /// How many rows of the current block are passed. Returns the run whose rest is to be left out, or
    /// -1 to go on.
    #[napi(catch_unwind)]
    pub fn progress(&self, rows: u32) -> i64 {
        match self.consumer.progress(rows) {
            Progress::Continue => -1,
            Progress::Skip(run) => i64::from(run),
        }
    }

    /// Acknowledges one record.
    #[napi]
    pub fn ack(&self, env: &Env, topic: String, partition: i32, offset: i64) -> napi::Result<()> {
        guard(env, || self.consumer.ack(&topic, partition, offset))
    }

    /// Acknowledges rows of the current block.
    #[napi]
    pub fn ack_rows(&self, env: &Env, start: u32, end: u32) -> napi::Result<()> {
        guard(env, || self.consumer.ack_rows(start..end))
    }

    /// Commits what is processed, or these offsets.
    #[napi]
    pub fn commit(
        &self,
        env: &Env,
        ticket: i64,
        offsets: Option<Vec<OffsetOf>>,
    ) -> napi::Result<()> {
        let pending = guard(env, || {
            Ok(match offsets {
                Some(offsets) => self.consumer.commit_offsets(record::to_core(offsets)),
                None => self.consumer.commit(),
            })
        })?;
        Host::ask(env, ticket, pending, |_, ()| Ok(()))
    }

    /// Sends results and commits what was given out, `rows` of the current block.
    #[napi]
    pub fn commit_with(
        &self,
        env: &Env,
        ticket: i64,
        rows: u32,
        results: Vec<ResultOf>,
    ) -> napi::Result<()> {
        let pending = guard(env, || {
            Ok(results::commit_with(&self.consumer, rows, &results))
        })?;
        Host::ask(env, ticket, pending, |_, sent| record::sent(sent))
    }

    /// What the group has committed.
    #[napi]
    pub fn committed(&self, env: &Env, ticket: i64) -> napi::Result<()> {
        let pending = guard(env, || Ok(self.consumer.committed()))?;
        Host::ask(env, ticket, pending, |_, offsets| record::offsets(offsets))
    }

    /// Goes on reading a partition at an offset.
    #[napi]
    pub fn seek(&self, env: &Env, topic: String, partition: i32, offset: i64) -> napi::Result<()> {
        guard(env, || self.consumer.seek(&topic, partition, offset))
    }

    /// Goes on reading a partition at `earliest`, `latest`, or a time in ms.
    #[napi]
    pub fn seek_to(
        &self,
        env: &Env,
        ticket: i64,
        topic: String,
        partition: i32,
        at: String,
        time_ms: Option<i64>,
    ) -> napi::Result<()> {
        let pending = guard(env, || {
            Ok(self
                .consumer
                .seek_to(&topic, partition, offset_at(&at, time_ms)?))
        })?;
        Host::ask(env, ticket, pending, |_, ()| Ok(()))
    }

    /// The first record of each partition that does not count as processed.
    #[napi]
    pub fn positions(&self, env: &Env) -> napi::Result<Vec<OffsetOf>> {
        guard(env, || record::offsets(self.consumer.positions()))
    }

    /// The partitions it reads.
    #[napi]
    pub fn assignment(&self, env: &Env) -> napi::Result<Vec<OffsetOf>> {
        guard(env, || record::offsets(self.consumer.assignment()))
    }

    /// How far it is in each partition, and how far it could be.
    #[napi]
    pub fn lag(&self, env: &Env, ticket: i64) -> napi::Result<()> {
        let pending = guard(env, || Ok(self.consumer.lag()))?;
        Host::ask(env, ticket, pending, |_, lags| record::lags(lags))
    }

    /// Gives out nothing more of these partitions, or of all that are assigned.
    #[napi]
    pub fn pause(&self, env: &Env, partitions: Option<Vec<PartitionName>>) -> napi::Result<()> {
        let partitions = partitions.map(record::partitions_to_core);
        guard(env, || self.consumer.pause(partitions.as_deref()))
    }

    /// Goes on giving out these partitions, or all that are assigned.
    #[napi]
    pub fn resume(&self, env: &Env, partitions: Option<Vec<PartitionName>>) -> napi::Result<()> {
        let partitions = partitions.map(record::partitions_to_core);
        guard(env, || self.consumer.resume(partitions.as_deref()))
    }

    /// The partitions that are paused.
    #[napi(catch_unwind)]
    pub fn paused(&self) -> Vec<PartitionName> {
        record::partitions(self.consumer.paused())
    }

    /// Whether nothing more will come.
    #[napi(getter, catch_unwind)]
    pub fn is_finished(&self) -> bool {
        self.consumer.is_finished()
    }

    /// What `process` takes records from, with these options.
    #[napi]
    pub fn processor(&self, env: &Env, options: Vec<String>) -> napi::Result<NativeProcessor> {
        guard(env, || {
            let options = config::read(&options)?;
            Ok(NativeProcessor::new(self.consumer.processor(&options)?))
        })
    }

    /// Commits what is processed and leaves the group; the answer is a report.
    #[napi]
    pub fn close(&self, env: &Env, ticket: i64, timeout_ms: Option<f64>) -> napi::Result<()> {
        let pending = guard(env, || Ok(self.consumer.close(timeout_of(timeout_ms))))?;
        Host::ask(env, ticket, pending, |_, report| Ok(record::report(report)))
    }
}

/// An offset by its meaning: `earliest`, `latest`, or `time`.
pub(crate) fn offset_at(at: &str, time_ms: Option<i64>) -> headwater::Result<OffsetAt> {
    match (at, time_ms) {
        ("earliest", _) => Ok(OffsetAt::Earliest),
        ("latest", _) => Ok(OffsetAt::Latest),
        ("time", Some(time_ms)) => Ok(OffsetAt::Time(time_ms)),
        _ => Err(Error::new(
            ErrorCode::InvalidArgument,
            format!("`{at}` is no place; it must be `earliest`, `latest` or a time"),
        )),
    }
}

/// One copy, into memory that V8 owns: external memory is refused by sandboxed hosts.
pub(crate) fn copy(env: &Env, block: &Block) -> headwater::Result<Buffer> {
    BufferSlice::copy_from(env, block.bytes())
        .and_then(|copied| copied.into_buffer(env))
        .map_err(|error| Error::new(ErrorCode::UnknownServerError, error.reason))
}
