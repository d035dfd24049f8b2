//! What the tests stand on: real processes, a real client, messages written and read without the product's code.
//!
//! Knows the product only from outside: its command line, its ports, what it prints when it listens.
//! Invariant: every process started here ends with the value that started it.

pub(crate) mod broker;
pub(crate) mod client;
pub(crate) mod hook;
pub(crate) mod http;
pub(crate) mod messages;
pub(crate) mod pages;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod server;
pub(crate) mod topic;
pub(crate) mod values;
pub(crate) mod wait;
