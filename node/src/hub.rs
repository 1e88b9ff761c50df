//! Where answers wait for the event loop: one environment's tickets, and the one way to wake it.
//!
//! Core pushes the tickets that are answered to a [`NotifyQueue`], whose hook calls one weak
//! ThreadsafeFunction: one wake-up until they are drained, and none of it keeps the process alive
//! (JavaScript does, while somebody waits). One [`Host`] per environment, so that workers are separate.
//! When the environment ends, what is open is closed here, within its `exit_timeout_ms`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use headwater::client::Client;
use headwater::{Error, NotifyQueue, Pending};
use napi::Env;
use napi::bindgen_prelude::{Function, ToNapiValue, Unknown};
use napi::threadsafe_function::ThreadsafeFunctionCallMode;
use napi_derive::napi;

use crate::error::{ErrorArgs, ErrorFactory, guard, internal};

/// What belongs to one environment.
pub(crate) struct Host {
    pub(crate) make_error: ErrorFactory,
    /// Where answered tickets gather.
    pub(crate) queue: Arc<NotifyQueue>,
    answers: RefCell<HashMap<u64, Box<dyn Answer>>>,
    clients: RefCell<HashMap<u64, (Client, Duration)>>,
    last_client: RefCell<u64>,
}

/// An answer on its way, and how it becomes a value of JavaScript.
trait Answer {
    fn take<'env>(self: Box<Self>, env: &'env Env) -> napi::Result<Unknown<'env>>;
}

struct Asked<T, F> {
    pending: Pending<T>,
    convert: F,
}

impl<T, V, F> Answer for Asked<T, F>
where
    T: Send + 'static,
    V: ToNapiValue,
    F: FnOnce(&Env, T) -> Result<V, Error>,
{
    fn take<'env>(mut self: Box<Self>, env: &'env Env) -> napi::Result<Unknown<'env>> {
        let answer = self.pending.try_take();
        let Some(answer) = answer else {
            return Err(internal("the ticket has no answer yet"));
        };
        let convert = self.convert;
        guard(env, || convert(env, answer?))?.into_unknown(env)
    }
}

impl Host {
    /// The host of this environment.
    pub(crate) fn of(env: &Env) -> napi::Result<Rc<Self>> {
        env.get_instance_data::<Rc<Self>>()?
            .map(|host| Rc::clone(host))
            .ok_or_else(|| internal("the native module is not initialised; use the package itself"))
    }

    /// Registers `pending` under `ticket`; its answer is taken by [`take`] and converted then.
    pub(crate) fn ask<T, V>(
        env: &Env,
        ticket: i64,
        pending: Pending<T>,
        convert: impl FnOnce(&Env, T) -> Result<V, Error> + 'static,
    ) -> napi::Result<()>
    where
        T: Send + 'static,
        V: ToNapiValue + 'static,
    {
        let host = Self::of(env)?;
        let ticket = ticket.cast_unsigned();
        pending.notify(&host.queue, ticket);
        let asked = Box::new(Asked { pending, convert });
        host.answers.borrow_mut().insert(ticket, asked);
        Ok(())
    }

    /// Remembers an open client until it is closed, for the end of the environment.
    pub(crate) fn opened(&self, client: Client, exit_timeout: Duration) -> u64 {
        let mut last = self.last_client.borrow_mut();
        *last += 1;
        self.clients
            .borrow_mut()
            .insert(*last, (client, exit_timeout));
        *last
    }

    /// Forgets a client that was told to close.
    pub(crate) fn closed(&self, client: u64) {
        self.clients.borrow_mut().remove(&client);
    }

    /// Closes what is still open, waiting at most for the longest `exit_timeout_ms`.
    fn end(&self) {
        let clients: Vec<_> = self.clients.borrow_mut().drain().collect();
        let closing = clients
            .iter()
            .map(|(_, (client, timeout))| (client.close(Some(*timeout)), *timeout));
        for (mut pending, timeout) in closing.collect::<Vec<_>>() {
            // Nobody is left who could be told.
            drop(pending.wait(Some(timeout)));
        }
    }
}

/// Called once per environment: how errors are made, and what wakes the event loop.
#[napi(catch_unwind)]
pub fn init(
    env: &Env,
    make_error: Function<'_, ErrorArgs, Unknown<'static>>,
    wake: Function<'_, (), ()>,
) -> napi::Result<()> {
    let wake = wake
        .build_threadsafe_function::<()>()
        .weak::<true>()
        .callee_handled::<false>()
        .build()?;
    let queue = NotifyQueue::new(move || {
        // An environment that is ending refuses the call: then there is nobody to wake.
        wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
    });
    let host = Rc::new(Host {
        make_error: make_error.create_ref()?,
        queue,
        answers: RefCell::default(),
        clients: RefCell::default(),
        last_client: RefCell::default(),
    });
    env.add_env_cleanup_hook(Rc::clone(&host), |host| host.end())?;
    env.set_instance_data(host, (), |_| ())
}

/// The tickets that are answered, each once.
#[napi(catch_unwind)]
pub fn drain(env: &Env) -> napi::Result<Vec<i64>> {
    let host = Host::of(env)?;
    Ok(host
        .queue
        .drain()
        .into_iter()
        .map(u64::cast_signed)
        .collect())
}

/// The answer under a ticket; throws what was answered instead.
#[napi]
pub fn take<'env>(env: &'env Env, ticket: i64) -> napi::Result<Unknown<'env>> {
    let answer = Host::of(env)?
        .answers
        .borrow_mut()
        .remove(&ticket.cast_unsigned());
    match answer {
        Some(answer) => answer.take(env),
        None => Err(internal(format!("there is no ticket {ticket}"))),
    }
}
