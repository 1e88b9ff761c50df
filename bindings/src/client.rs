//! An open log: where producers, consumers and administration come from.

use std::sync::Arc;

use headwater::Client;

use crate::admin::NativeAdmin;
use crate::config::{NativeConnectOptions, NativeConsumerOptions, NativeProducerOptions};
use crate::consumer::NativeConsumer;
use crate::error::NativeError;
use crate::facts::NativeHealth;
use crate::hub::{ask, duration, hub_cut};
use crate::producer::NativeProducer;
use crate::record::NativeReport;

/// The address as core reads it, without its options.
///
/// # Errors
/// `INVALID_ADDRESS`.
#[uniffi::export]
pub fn parse_address(text: String) -> Result<String, NativeError> {
    Ok(headwater::parse_address(&text)?.to_string())
}

/// Opens a log; the answer is a client.
///
/// # Errors
/// `INVALID_OPTION`; what opening fails with is the answer.
#[uniffi::export]
pub fn connect(
    ticket: i64,
    address: String,
    options: NativeConnectOptions,
) -> Result<(), NativeError> {
    let options = options.to_core()?;
    ask(ticket, headwater::connect_with(&address, options));
    Ok(())
}

/// How long `close` waits unless told, in ms.
///
/// # Errors
/// `INVALID_OPTION`.
#[uniffi::export]
pub fn close_timeout_ms(options: NativeConnectOptions) -> Result<i64, NativeError> {
    let timeout_ms = options.to_core()?.close_timeout_ms();
    Ok(i64::try_from(timeout_ms).unwrap_or(i64::MAX))
}

/// For the end of the process: wakes the host no more, then flushes and closes every open client,
/// waiting at most `timeout_ms` (none: `exit_timeout_ms`).
#[uniffi::export]
#[must_use]
pub fn exit(timeout_ms: Option<i64>) -> NativeReport {
    hub_cut();
    NativeReport::from(&headwater::exit(duration(timeout_ms)))
}

/// A figure of what a client is doing.
#[derive(Clone, Debug, uniffi::Record)]
pub struct NativeMetric {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: i64,
}

/// An open log.
#[derive(Debug, uniffi::Object)]
pub struct NativeClient {
    client: Client,
}

impl NativeClient {
    pub(crate) fn new(client: Client) -> Arc<Self> {
        Arc::new(Self { client })
    }
}

#[uniffi::export]
impl NativeClient {
    /// What it is connected to.
    #[must_use]
    pub fn address(&self) -> String {
        self.client.address().to_owned()
    }

    /// A producer.
    ///
    /// # Errors
    /// `INVALID_OPTION`, `CLOSED`.
    pub fn producer(
        &self,
        options: NativeProducerOptions,
    ) -> Result<Arc<NativeProducer>, NativeError> {
        let producer = self.client.producer(options.to_core()?)?;
        Ok(NativeProducer::new(producer))
    }

    /// A consumer of some topics.
    ///
    /// # Errors
    /// `INVALID_OPTION`, `INVALID_ARGUMENT`, `CLOSED`.
    pub fn consumer(
        &self,
        topics: Vec<String>,
        options: NativeConsumerOptions,
    ) -> Result<Arc<NativeConsumer>, NativeError> {
        let consumer = self.client.consumer(&topics, options.to_core()?)?;
        Ok(NativeConsumer::new(consumer))
    }

    /// Topics, groups and offsets.
    #[must_use]
    pub fn admin(&self) -> Arc<NativeAdmin> {
        NativeAdmin::new(self.client.admin())
    }

    /// What the client is doing.
    pub fn metrics(&self) -> Result<Vec<NativeMetric>, NativeError> {
        let metric = |(name, value): (&str, u64)| NativeMetric {
            name: name.into(),
            value: i64::try_from(value).unwrap_or(i64::MAX),
        };
        let entries = self.client.metrics().entries();
        Ok(entries.into_iter().map(metric).collect())
    }

    /// How it is.
    pub fn health(&self) -> Result<NativeHealth, NativeError> {
        Ok(self.client.health().into())
    }

    /// How long it may be closed for when somebody wants to leave, in ms.
    pub fn exit_timeout_ms(&self) -> Result<i64, NativeError> {
        Ok(i64::try_from(self.client.exit_timeout().as_millis()).unwrap_or(i64::MAX))
    }

    /// Closes it; the answer is a report.
    pub fn close(&self, ticket: i64, timeout_ms: Option<i64>) -> Result<(), NativeError> {
        ask(ticket, self.client.close(duration(timeout_ms)));
        Ok(())
    }
}
