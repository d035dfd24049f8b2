//! Outside data into a topic: standard input, files, HTTP endpoints, websockets, Slack.
//!
//! ```text
//! source (a trait) → batch: payloads and a position → keys → target (Kafka) → confirmed
//!                                                                 → position saved, source told
//! ```
//! Owns what a source is and how messages get from it into a topic. Knows nothing of SQL, and does not
//! look into messages but for keys, items and times.
//! Invariant: a position is saved, and a source told, only after the broker has confirmed every message
//! up to it: at least once, whatever happens in between.

mod backoff;
mod http;
mod json_path;
mod lines;
mod local;
mod mark;
mod notes;
mod pacing;
mod position;
mod pump;
mod resume;
mod slack;
mod target;
mod web;
mod websocket;

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;

pub use http::{HttpOptions, Paging};
pub use json_path::JsonPath;
pub use local::{FileOptions, ReplayOptions};
pub use notes::{Counts, Notes};
pub use pump::{Feed, FeedOptions};
pub use slack::{EventsApiOptions, SlackOptions, SocketModeOptions};
pub use websocket::WebsocketOptions;

use crate::error::Result;
use position::Position;

/// Where messages come from.
#[derive(Debug, Clone)]
pub enum SourceOptions {
    /// Standard input, a message a line.
    Stdin,
    /// A file, a message a line.
    File(FileOptions),
    /// A JSON endpoint that is polled.
    Http(HttpOptions),
    /// A websocket.
    Websocket(WebsocketOptions),
    /// Slack's channels.
    Slack(SlackOptions),
}

impl SourceOptions {
    /// True when it can go on where it stopped.
    pub fn has_position(&self) -> bool {
        match self {
            Self::File(_) => true,
            Self::Http(options) => options.paging != Paging::Whole,
            Self::Stdin | Self::Websocket(_) | Self::Slack(_) => false,
        }
    }

    /// Opens it at a position.
    async fn open(self, position: Option<Position>, notes: &Arc<Notes>) -> Result<Box<dyn Source>> {
        let notes = Arc::clone(notes);
        Ok(match self {
            Self::Stdin => Box::new(local::StdinSource::new(notes)),
            Self::File(options) => {
                Box::new(local::FileSource::open(options, position, notes).await?)
            }
            Self::Http(options) => Box::new(http::HttpSource::open(options, position, notes)?),
            Self::Websocket(options) => Box::new(websocket::WebsocketSource::open(options, notes)?),
            Self::Slack(options) => slack::open(options, notes).await?,
        })
    }
}

/// Messages of a source, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Batch {
    payloads: Vec<Vec<u8>>,
    /// Where the source goes on when all of them, and all before them, were delivered; `None` if it
    /// cannot.
    position: Option<Position>,
}

/// Gives messages. What passes by itself (an outage) it waits for, with back-off.
///
/// ```text
/// next → confirmed → next → confirmed → .. → rest → close
/// ```
#[async_trait]
trait Source: Send {
    /// Where it listens, if messages are sent to it.
    fn address(&self) -> Option<SocketAddr> {
        None
    }

    /// The next messages, at most so many, as soon as there are any; `None` at the end. A batch may
    /// be empty. A call that is given up loses nothing that another run would not find again.
    ///
    /// # Errors
    /// What does not pass by itself.
    async fn next(&mut self, messages_max: usize) -> Result<Option<Batch>>;

    /// What was read already and cannot be read again: asked for at a stop.
    fn rest(&mut self) -> Batch {
        Batch::default()
    }

    /// All messages that were given out are delivered.
    async fn confirmed(&mut self) {}

    /// Ends it politely.
    async fn close(&mut self) {}
}
