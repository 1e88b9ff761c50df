//! The native half of the Python package: `headwater._native`.
//!
//! It converts, calls core and maps what comes back; names, defaults, types and documentation for
//! users stand in the package's Python half. Every class is frozen with locks of its own inside, so
//! that the module needs no interpreter lock. Records cross as blocks, read where they lie; a call
//! that may wait tries first and detaches only to wait, coming back to look at signals.

mod admin;
mod block;
mod broker;
mod client;
mod config;
mod consumer;
mod cursor;
mod data;
mod delivery;
mod error;
mod pending;
mod processor;
mod producer;
mod record;
mod results;
mod waker;

/// The native half of `headwater`. Private: its names change without notice.
#[pyo3::pymodule(gil_used = false)]
mod _native {
    /// The version of Headwater.
    #[pymodule_export]
    #[expect(non_upper_case_globals, reason = "the name is Python's")]
    const __version__: &str = env!("CARGO_PKG_VERSION");

    /// How many records a producer of an event loop keeps while there is no room.
    #[pymodule_export]
    const SEND_WAITERS_MAX: usize = headwater::limits::SEND_WAITERS_MAX;

    #[pymodule_export]
    use crate::admin::Admin;
    #[pymodule_export]
    use crate::broker::{Broker, cli_main, start_broker};
    #[pymodule_export]
    use crate::client::{Client, after_fork_in_child, at_exit, connect, parse_address};
    #[pymodule_export]
    use crate::config::option_table;
    #[pymodule_export]
    use crate::consumer::{Consumer, Records};
    #[pymodule_export]
    use crate::delivery::{Deliveries, Delivery};
    #[pymodule_export]
    use crate::error::{error_table, make_error};
    #[pymodule_export]
    use crate::pending::PyPending;
    #[pymodule_export]
    use crate::processor::Processor;
    #[pymodule_export]
    use crate::producer::{Producer, Sending};
    #[pymodule_export]
    use crate::record::{Batch, Msg, PyRecordMetadata};
}
