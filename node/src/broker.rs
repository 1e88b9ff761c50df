//! The broker inside this process, and the command line: both are the broker's library.

use std::rc::Rc;
use std::time::Duration;

use headwater::client::{ConnectOptions, ServeOptions};
use headwater_broker::cli::{self, Io};
use headwater_broker::{Broker, Config, signals};
use napi::Env;
use napi_derive::napi;

use crate::client::timeout_of;
use crate::config;
use crate::error::guard;
use crate::hub::Host;

/// The exit code of a process that was told twice to end.
const EXIT_INTERRUPTED: i32 = 130;

/// Starts a broker: of the folder `data`, else of a log in memory. The answer is the broker.
#[napi]
pub fn start_broker(
    env: &Env,
    ticket: i64,
    data: Option<String>,
    allow_remote: bool,
    options: Vec<String>,
) -> napi::Result<()> {
    let host = Host::of(env)?;
    let pending = guard(env, || {
        let given: ServeOptions = config::read(&options)?;
        let config = data.map_or_else(Config::memory, Config::folder);
        let options = given.or(&config.options);
        Ok(Broker::start(Config {
            allow_remote,
            options,
            ..config
        }))
    })?;
    Host::ask(env, ticket, pending, move |_, broker| {
        let timeout = Duration::from_millis(ConnectOptions::default().exit_timeout_ms());
        let ending = broker.clone();
        let id = host.opened(timeout, move |timeout| {
            let mut pending = ending.close(Some(timeout));
            drop(pending.wait(Some(timeout)));
        });
        Ok(NativeBroker { broker, host, id })
    })
}

/// Runs a command line, program name first, in place; returns its exit code. It listens to signals.
#[napi]
pub fn cli(env: &Env, arguments: Vec<String>) -> napi::Result<i32> {
    guard(env, || {
        let stop = signals::stop_on_interrupt(|| std::process::exit(EXIT_INTERRUPTED));
        Ok(i32::from(cli::run_code(arguments, Io::standard(), &stop)))
    })
}

/// A broker that is running.
#[napi]
pub struct NativeBroker {
    broker: Broker,
    host: Rc<Host>,
    id: u64,
}

#[napi]
impl NativeBroker {
    /// Where it listens, with the ports it really has.
    #[napi(getter, catch_unwind)]
    pub fn addresses(&self) -> Vec<String> {
        self.broker
            .addresses()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    /// Ends it.
    #[napi]
    pub fn close(&self, env: &Env, ticket: i64, timeout_ms: Option<f64>) -> napi::Result<()> {
        self.host.closed(self.id);
        let pending = guard(env, || Ok(self.broker.close(timeout_of(timeout_ms))))?;
        Host::ask(env, ticket, pending, |_, ()| Ok(()))
    }
}
