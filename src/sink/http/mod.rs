//! Rows to destinations that speak HTTP: any webhook, and Slack.
//!
//! ```text
//! Courier (webhook, slack) ─ template ─► request ─ client ─ hosts allowed? ─► answer ─► taken, again, refused
//! ```
//! Owns requests, templates and what answers mean. Knows nothing of queries: rows come from an outbox, which
//! keeps what was not taken.
//! Invariants: a host that the configuration does not allow is never connected to, whatever a name resolves to or an
//! answer redirects to; a secret is in no error.

mod answer;
mod client;
mod hosts;
mod mask;
mod pace;
mod signature;
mod slack;
mod slack_answer;
mod template;
mod webhook;

pub use hosts::{check_url, lookup};
pub use slack::{SlackOptions, SlackSink, SlackTarget, Threads};
pub use webhook::{WebhookMethod, WebhookOptions, WebhookSink};
