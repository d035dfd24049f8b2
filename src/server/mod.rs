//! The PostgreSQL wire: listening, messages, and values as PostgreSQL writes them.
//!
//! ```text
//! listener -> startup -> connection -> (simple | extended) -> session
//!                            |  frontend, decode: what comes
//!                            `- backend, rows, copy_out, encode: what goes
//! ```
//! Invariant: nothing else in the crate names pgwire.

mod backend;
mod cancel;
mod connection;
mod copy_out;
mod decode;
pub(crate) mod encode;
mod frontend;
mod listener;
mod rows;
mod startup;
mod transport;

pub use listener::Server;

#[cfg(test)]
mod tests;
