//! The integration tests: one binary, because each one links the whole of the product's dependencies.
//!
//! Each test starts its own server, and its own broker where it needs one. Invariant: a test's name is a sentence.

#![expect(clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::print_stderr, reason = "a test tells what it leaves out")]
#![expect(
    clippy::disallowed_methods,
    reason = "tests stand outside of the product's doors"
)]

mod support;

mod own_reading;
mod start;
mod protocol;
mod live;
mod subscribe;
mod taking_turns;
mod shared_scan;
mod psql;
mod recovery;
mod flush;
mod dead_letters;
mod replay;
mod alert_order;
mod alerts;
mod alert_notices;
mod notify;
mod alter_query;
mod budget;
mod webhook;
mod view_recovery;
mod object_store;
mod file_sink;
mod crash_points;
mod demo;
mod feed;
mod equivalence;
mod soak;
mod readers;
mod kafka_scan;
mod kafka_exactly_once;
mod sink_ownership;
mod kafka_group_offsets;
mod kafka_sink;
mod kafka_source;
mod kafka;
mod postgres_sink;
