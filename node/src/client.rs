//! An open log: where producers, consumers and administration come from.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use headwater::client::{self, Client, ConnectOptions};
use headwater::{Error, ErrorCode};
use napi::Env;
use napi_derive::napi;

use crate::admin::NativeAdmin;
use crate::config;
use crate::consumer::NativeConsumer;
use crate::error::guard;
use crate::hub::Host;
use crate::producer::NativeProducer;
use crate::record::{self, HealthOf, ReportOf};

/// The address as core reads it, without its options.
#[napi]
pub fn parse_address(env: &Env, text: String) -> napi::Result<String> {
    guard(env, || Ok(client::parse_address(&text)?.to_string()))
}

/// Opens a log; the answer is a client.
#[napi]
pub fn connect(env: &Env, ticket: i64, address: String, options: Vec<String>) -> napi::Result<()> {
    let options: ConnectOptions = guard(env, || config::read(&options))?;
    let exit_timeout = Duration::from_millis(options.exit_timeout_ms());
    let close_timeout = Duration::from_millis(options.close_timeout_ms());
    let pending = guard(env, || Ok(client::connect_with(&address, options)))?;
    Host::ask(env, ticket, pending, move |env, client| {
        let host = Host::of(env).map_err(|error| not_initialised(&error))?;
        let ending = client.clone();
        let id = host.opened(exit_timeout, move |timeout| {
            // Nobody is left who could be told what was not delivered.
            drop(ending.close(Some(timeout)).wait(Some(timeout)));
        });
        Ok(NativeClient {
            client,
            host,
            id,
            exit_timeout,
            close_timeout,
        })
    })
}

/// How much longer than its time a close may take to answer on a machine that is very slow.
const EXIT_GRACE: Duration = Duration::from_secs(1);

/// An open log.
#[napi]
pub struct NativeClient {
    client: Client,
    host: Rc<Host>,
    id: u64,
    exit_timeout: Duration,
    close_timeout: Duration,
}

#[napi]
impl NativeClient {
    /// What it is connected to.
    #[napi(getter, catch_unwind)]
    pub fn address(&self) -> String {
        self.client.address().to_owned()
    }

    /// How long the end of the process waits for what is not delivered, in ms.
    #[napi(getter, catch_unwind)]
    pub fn exit_timeout_ms(&self) -> f64 {
        self.exit_timeout.as_secs_f64() * 1_000.0
    }

    /// How long `close` waits unless told, in ms.
    #[napi(getter, catch_unwind)]
    pub fn close_timeout_ms(&self) -> f64 {
        self.close_timeout.as_secs_f64() * 1_000.0
    }

    /// A producer.
    #[napi]
    pub fn producer(&self, env: &Env, options: Vec<String>) -> napi::Result<NativeProducer> {
        guard(env, || {
            Ok(NativeProducer::new(
                self.client.producer(config::read(&options)?)?,
            ))
        })
    }

    /// A consumer of some topics.
    #[napi]
    pub fn consumer(
        &self,
        env: &Env,
        topics: Vec<String>,
        options: Vec<String>,
    ) -> napi::Result<NativeConsumer> {
        guard(env, || {
            Ok(NativeConsumer::new(
                self.client.consumer(&topics, config::read(&options)?)?,
            ))
        })
    }

    /// Topics, groups and offsets.
    #[napi(catch_unwind)]
    pub fn admin(&self) -> NativeAdmin {
        NativeAdmin::new(self.client.admin())
    }

    /// What the client is doing, by name.
    #[napi(catch_unwind)]
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        let entries = self.client.metrics().entries();
        entries
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value as f64))
            .collect()
    }

    /// How it is.
    #[napi(catch_unwind)]
    pub fn health(&self) -> HealthOf {
        record::health(self.client.health())
    }

    /// Closes it; the answer is a report.
    #[napi]
    pub fn close(&self, env: &Env, ticket: i64, timeout_ms: Option<f64>) -> napi::Result<()> {
        self.host.closed(self.id);
        let pending = guard(env, || Ok(self.client.close(timeout_of(timeout_ms))))?;
        Host::ask(env, ticket, pending, |_, report| Ok(record::report(report)))
    }

    /// Closes it now, for the end of the process: waits for at most `exit_timeout_ms`.
    #[napi]
    pub fn close_now(&self, env: &Env) -> napi::Result<ReportOf> {
        self.host.closed(self.id);
        guard(env, || {
            let mut pending = self.client.close(Some(self.exit_timeout));
            // It answers by itself, soon after its time, and says what was not delivered.
            Ok(record::report(
                pending.wait(Some(self.exit_timeout + EXIT_GRACE))?,
            ))
        })
    }
}

/// Milliseconds as JavaScript gives them, checked there.
pub(crate) fn timeout_of(timeout_ms: Option<f64>) -> Option<Duration> {
    timeout_ms.map(|ms| Duration::try_from_secs_f64(ms / 1_000.0).unwrap_or(Duration::MAX))
}

fn not_initialised(error: &napi::Error) -> Error {
    Error::new(ErrorCode::InvalidState, error.reason.clone())
}
