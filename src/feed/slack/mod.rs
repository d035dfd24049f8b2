//! Messages of Slack's channels: the feed connects to Slack (Socket Mode), or Slack to the feed (Events
//! API).
//!
//! Owns the choice. Invariant: a message is the same either way, and Slack may forget it only after it
//! was confirmed.

mod event;
mod socket_mode;
mod signature;
mod events_api;

use std::sync::Arc;

use super::Source;
use super::notes::Notes;
use crate::error::Result;
use events_api::EventsApiSource;
use socket_mode::SocketModeSource;

pub use events_api::EventsApiOptions;
pub use socket_mode::SocketModeOptions;

/// How messages come from Slack.
#[derive(Debug, Clone)]
pub enum SlackOptions {
    /// The feed connects to Slack.
    SocketMode(SocketModeOptions),
    /// Slack sends each event to an address that the feed listens on.
    EventsApi(EventsApiOptions),
}

/// Prepares one of the two.
///
/// # Errors
/// When the API's address is none, or the address to listen on cannot be had.
pub(super) async fn open(options: SlackOptions, notes: Arc<Notes>) -> Result<Box<dyn Source>> {
    Ok(match options {
        SlackOptions::SocketMode(options) => Box::new(SocketModeSource::open(options, notes)?),
        SlackOptions::EventsApi(options) => Box::new(EventsApiSource::open(options, notes).await?),
    })
}
