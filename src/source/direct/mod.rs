//! Direct fetch: Fetch requests sent to the partitions' leaders over connections of our own, and
//! record batches walked where the answer lies.
//!
//! It costs less than librdkafka's queue does, because no message becomes an object or is
//! copied (docs/adr/0013). What it does not understand it leaves to librdkafka: [`Stop::Unserved`].
//!
//! ```text
//! setup ─ what the properties mean            wire, protocol ─ requests and answers
//!   tls, sasl                                 batch, compression ─ what the records say
//! stream ─ connection ─┬─ leaders             delivery ─ an answer on its way out
//!   signal, spares     └─ node ───────────────── reader
//! ```
//! Invariant: whatever bytes a broker sends, the worst that happens is an error or a lost connection;
//! no message is wrong, none comes twice, none is left out.

mod setup;
mod tls;
mod sasl;
mod wire;
mod protocol;
mod batch;
mod compression;
mod delivery;
mod signal;
mod spares;
mod stream;
mod connection;
mod backoff;
mod leaders;
mod node;
mod reader;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub(crate) use reader::DirectReader;
pub(crate) use signal::DirectWaker;
pub(crate) use tls::tls_client;

use super::read::WhyLibrary;
use crate::error::Error;

/// Why a reader reads no further.
#[derive(Debug)]
pub(crate) enum Stop {
    /// What does not pass by itself.
    Failed(Error),
    /// This is for librdkafka.
    Unserved(WhyLibrary),
}
