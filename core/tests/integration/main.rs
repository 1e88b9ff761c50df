//! The integration tests of core: one binary, one module a subject.

mod record_kafka;
