//! What waits for a destination that takes rows at its own pace: in order, durable, bounded.
//!
//! ```text
//! query ─► OutboxSink ─ stage, commit(epoch) ─► Outbox ─ look, settle ─► Delivery ─► Courier ─► outside
//!          the committer's thread               a file     at least once  the sink's own thread
//!                        exactly once
//! ```
//! Owns a `redb` file a sink, so that a slow one keeps no other from its disk, and one that is dropped gives its
//! room back. Knows nothing of HTTP: what sends is a [`Courier`]; who needs more than one message at a time brings a
//! thread of its own.
//! Invariants: a row that an epoch has committed is in the outbox once, until a courier has told what became
//! of it; then it was taken outside, or is a dead letter. Bytes that wait are bounded; at the bound the sink's own
//! query waits.

mod backoff;
mod delivery;
mod message;
mod outboxes;
mod queue;
mod relay;
mod sink;
mod tables;

pub(super) use backoff::Backoff;
pub use delivery::{Courier, Pick, Verdict};
pub use message::{DeadLetter, Message, OutboxState};
pub(super) use message::{Head, Item};
pub(super) use outboxes::Work;
pub use outboxes::{OutboxName, OutboxSettings, Outboxes};
pub use queue::Outbox;
pub use relay::Relayed;
pub(super) use sink::Form;
pub use sink::OutboxSink;
