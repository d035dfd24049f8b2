//! Alerts: a state machine a key over the rows of a query.
//!
//! Owns when a key fires and when it is resolved, what is told of that, and what of it must be
//! remembered. Does no I/O and reads no clock: rows, times and state are handed in, notifications come
//! out. What is done with them is the engine's.
//! Invariant: the same rows at the same times tell the same, wherever they were cut into micro-batches
//! and however often the state was written down and read again.

mod clock;
mod evaluator;
mod key_state;
mod keys;
mod message;
mod notification;
mod said;

pub use evaluator::{AlertRules, Evaluator, Moment, Watch};
pub use key_state::{Event, KeyState, Phase, Rules, Transition};
pub use keys::{Facts, Key};
pub use message::{Names, check_message, hiding};
pub use notification::{Notification, notification_rows, notification_schema, notifications_of};
