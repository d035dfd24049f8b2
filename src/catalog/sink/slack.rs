//! The options of a sink that writes to Slack.

use std::time::Duration;

use super::http::{self, DeliveryOptions};
use super::names_of;
use crate::catalog::options::Options;
use crate::error::{Error, Result, SqlState};
use crate::sql::CreateSink;

/// Where in Slack, and how rows are written there.
#[derive(Debug, Clone)]
pub struct SlackSinkTarget {
    /// How Slack is reached.
    pub way: SlackWay,
    /// The text's template.
    pub text: Option<String>,
    /// Rows with the same values in these columns are a thread.
    pub thread_columns: Vec<String>,
    /// How long what waits is tried.
    pub delivery: DeliveryOptions,
}

/// How Slack is reached.
#[derive(Debug, Clone)]
pub enum SlackWay {
    /// By an incoming webhook, which has one channel.
    Webhook {
        /// Its URL, which is its secret.
        url: String,
    },
    /// By the API, as a bot.
    Api {
        /// The API's base URL.
        url: String,
        /// The bot's token.
        token: String,
        /// The channel of rows that name none.
        channel: Option<String>,
        /// The column with the rows' channels.
        channel_column: Option<String>,
    },
}

const API_URL: &str = "https://slack.com/api";
const TIMEOUT: Duration = Duration::from_secs(10);

/// Takes the options.
pub(super) fn target(options: &mut Options<'_>, clause: &CreateSink) -> Result<SlackSinkTarget> {
    http::refuse_key(clause, "slack")?;
    let target = SlackSinkTarget {
        way: way(options, clause)?,
        text: options.text("text")?,
        thread_columns: names_of(options.text("thread_columns")?.as_deref()),
        delivery: http::delivery(options, TIMEOUT)?,
    };
    if let (SlackWay::Webhook { .. }, false) = (&target.way, target.thread_columns.is_empty()) {
        let text = "an incoming webhook has no threads";
        return Err(Error::user(SqlState::InvalidTableDefinition, text)
            .hint("Use token and channel, or leave thread_columns out.")
            .at(Some(clause.name.position)));
    }
    Ok(target)
}

fn way(options: &mut Options<'_>, clause: &CreateSink) -> Result<SlackWay> {
    let text = |text: Option<String>| text.filter(|text| !text.is_empty());
    let webhook = text(options.text("webhook_url")?);
    let token = text(options.text("token")?);
    let channel = text(options.text("channel")?);
    let channel_column = text(options.text("channel_column")?);
    let url = text(options.text("api_url")?);
    let refused = |message: &str, hint: &str| {
        let error = Error::user(SqlState::InvalidTableDefinition, message);
        Err(error.hint(hint).at(Some(clause.name.position)))
    };
    match (webhook, token) {
        (Some(_), Some(_)) => refused(
            "a slack sink has either webhook_url or token",
            "An incoming webhook needs no token.",
        ),
        (Some(_), None) if channel.is_some() || channel_column.is_some() || url.is_some() => {
            refused(
                "an incoming webhook has its own channel",
                "Leave channel, channel_column and api_url out, or use token instead of webhook_url.",
            )
        }
        (Some(url), None) => Ok(SlackWay::Webhook { url }),
        (None, Some(_)) if channel.is_none() && channel_column.is_none() => refused(
            "a slack sink with a token needs a channel",
            "Say channel = '#ops', or channel_column = 'c' with a column of the query.",
        ),
        (None, Some(token)) => Ok(SlackWay::Api {
            url: url.unwrap_or_else(|| API_URL.to_owned()),
            token,
            channel,
            channel_column,
        }),
        (None, None) => refused(
            "a slack sink needs webhook_url, or token and channel",
            "For example: WITH (connector = 'slack', webhook_url = SECRET ops_hook).",
        ),
    }
}

impl SlackSinkTarget {
    /// Where to, without what is secret.
    pub(super) fn place(&self) -> String {
        match &self.way {
            SlackWay::Webhook { url } => http::origin(url),
            SlackWay::Api {
                channel,
                channel_column,
                ..
            } => match (channel, channel_column) {
                (Some(channel), _) => channel.clone(),
                (None, Some(column)) => format!("channel of column {column}"),
                (None, None) => "slack".to_owned(),
            },
        }
    }

    /// The option with the column of channels, if there is one.
    pub(super) fn channel_column(&self) -> &[String] {
        match &self.way {
            SlackWay::Api { channel_column, .. } => channel_column.as_slice(),
            SlackWay::Webhook { .. } => &[],
        }
    }
}
