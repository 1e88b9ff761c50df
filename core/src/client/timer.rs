//! Deadlines: the process's own, which the service has a part in too.

pub(crate) use crate::timer::{Timer, at, thread_count};
