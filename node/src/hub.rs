//! Where answers wait for the event loop: one environment's tickets, and the one way to wake it.
//!
//! Core pushes the tickets that are answered to a [`NotifyQueue`], whose hook calls one weak
//! ThreadsafeFunction: one wake-up until they are drained, and none of it keeps the process alive
//! (JavaScript does, while somebody waits). One `Host` per environment, so that workers are separate.
//! When the environment ends, what is open is closed here, within its `exit_timeout_ms`.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

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
    open: RefCell<BTreeMap<u64, (Duration, Ending)>>,
    last_opened: Cell<u64>,
}

/// An answer on its way, and how it becomes a value of JavaScript.
trait Answer {
    fn take<'env>(self: Box<Self>, env: &'env Env) -> napi::Result<Unknown<'env>>;
}

/// Closes something that is open, within a time.
type Ending = Box<dyn FnOnce(Duration)>;

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

    /// Remembers what is open until it is closed; `end` closes it if the environment ends before, waiting
    /// at most for the time it is given.
    pub(crate) fn opened(&self, timeout: Duration, end: impl FnOnce(Duration) + 'static) -> u64 {
        let id = self.last_opened.get() + 1;
        self.last_opened.set(id);
        self.open.borrow_mut().insert(id, (timeout, Box::new(end)));
        id
    }

    /// Forgets what was told to close.
    pub(crate) fn closed(&self, id: u64) {
        self.open.borrow_mut().remove(&id);
    }

    /// Closes what is still open: one after the other, in the order of opening.
    fn end(&self) {
        let open = self.open.take();
        for (timeout, end) in open.into_values() {
            end(timeout);
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
        open: RefCell::default(),
        last_opened: Cell::default(),
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

/// Drops an answer, whether it is there or on its way.
#[napi]
pub fn forget(env: &Env, ticket: i64) -> napi::Result<()> {
    let forgotten = Host::of(env)?
        .answers
        .borrow_mut()
        .remove(&ticket.cast_unsigned());
    drop(forgotten);
    Ok(())
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
