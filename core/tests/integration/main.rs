//! The integration tests of core: one binary, one module a subject.

mod golden;
mod record_kafka;
