//! Sinks that speak HTTP: what their options are, and what is looked at before one is kept.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{Schema, SchemaRef};

use super::{ID_COLUMN, Writer};
use crate::catalog::{Definition, HttpMethod, SlackSinkTarget, SlackWay, WebhookSinkTarget};
use crate::clock::SharedClock;
use crate::engine::OpenSink;
use crate::error::{Error, Result, SqlState};
use crate::session::Services;
use crate::sink::http::{
    SlackOptions, SlackSink, SlackTarget, Threads, WebhookMethod, WebhookOptions, WebhookSink,
    check_url, lookup,
};

/// How long a name may take to be looked up when a sink is created.
const LOOKUP: Duration = Duration::from_secs(3);

/// Opens a webhook for each try of its query.
pub(super) fn open_webhook(
    services: &Services,
    target: &WebhookSinkTarget,
    writer: Writer<'_>,
    schema: &SchemaRef,
) -> OpenSink {
    let (options, schema) = (webhook(target, writer), Arc::clone(schema));
    let (rules, outboxes) = (
        services.config.sinks.clone(),
        Arc::clone(&services.outboxes),
    );
    Box::new(move |_| {
        let opened = WebhookSink::open(&options, &schema, &rules, &outboxes)?;
        Ok(Box::new(opened))
    })
}

/// Opens Slack for each try of its query.
pub(super) fn open_slack(
    services: &Services,
    target: &SlackSinkTarget,
    writer: Writer<'_>,
    schema: &SchemaRef,
) -> OpenSink {
    let (options, schema) = (slack(target, writer), Arc::clone(schema));
    let (rules, outboxes) = (
        services.config.sinks.clone(),
        Arc::clone(&services.outboxes),
    );
    let clock = SharedClock::clone(&services.clock);
    Box::new(move |_| {
        let opened = SlackSink::open(&options, &schema, (&rules, &clock), &outboxes)?;
        Ok(Box::new(opened))
    })
}

/// Looks whether rows of a schema can be sent by a webhook.
pub(super) fn check_webhook(
    services: &Services,
    target: &WebhookSinkTarget,
    writer: Writer<'_>,
    schema: &Schema,
) -> Result<()> {
    WebhookSink::check(&webhook(target, writer), schema, &services.config.sinks)
}

/// Looks whether rows of a schema can be written to Slack.
pub(super) fn check_slack(
    services: &Services,
    target: &SlackSinkTarget,
    writer: Writer<'_>,
    schema: &Schema,
) -> Result<()> {
    SlackSink::check(&slack(target, writer), schema, &services.config.sinks)
}

/// Looks whether a webhook's host is allowed; gives what is to be told.
pub(super) async fn prepare_webhook(
    services: &Services,
    target: &WebhookSinkTarget,
) -> Result<Vec<String>> {
    host_is_allowed(services, "url", &target.url).await?;
    Ok(match target.tls_verify {
        true => Vec::new(),
        false => vec!["the destination's certificate is not verified".to_owned()],
    })
}

/// Looks whether Slack's host is allowed.
pub(super) async fn prepare_slack(
    services: &Services,
    target: &SlackSinkTarget,
) -> Result<Vec<String>> {
    let (option, url) = match &target.way {
        SlackWay::Webhook { url } => ("webhook_url", url),
        SlackWay::Api { url, .. } => ("api_url", url),
    };
    host_is_allowed(services, option, url).await?;
    Ok(Vec::new())
}

/// A host that cannot be looked up now may be there later.
async fn host_is_allowed(services: &Services, option: &str, url: &str) -> Result<()> {
    let rules = &services.config.sinks;
    check_url(option, url, rules)?;
    match tokio::time::timeout(LOOKUP, lookup(url, rules)).await {
        Ok(looked_up) => looked_up,
        Err(_) => Ok(()),
    }
}

fn webhook(target: &WebhookSinkTarget, writer: Writer<'_>) -> WebhookOptions {
    WebhookOptions {
        url: target.url.clone(),
        method: match target.method {
            HttpMethod::Post => WebhookMethod::Post,
            HttpMethod::Put => WebhookMethod::Put,
            HttpMethod::Patch => WebhookMethod::Patch,
        },
        headers: target.headers.clone(),
        body: target.body.clone(),
        content_type: target.content_type.clone(),
        batch_rows: target.batch_rows,
        timeout: target.delivery.timeout,
        hmac_secret: target.hmac_secret.clone(),
        tls_verify: target.tls_verify,
        key_column: match writer {
            Writer::Query(_) => target.key_column.clone(),
            Writer::Alert { .. } => Some(ID_COLUMN.to_owned()),
        },
        outbox: writer.outbox(target.delivery.outbox),
    }
}

fn slack(target: &SlackSinkTarget, writer: Writer<'_>) -> SlackOptions {
    let columns = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let threads = match (writer, target.thread_columns.as_slice()) {
        (Writer::Alert { .. }, _) => Some(Threads {
            columns: columns(&["alert", "key"]),
            end: Some(("state".to_owned(), "resolved".to_owned())),
        }),
        (Writer::Query(_), []) => None,
        (Writer::Query(_), names) => Some(Threads {
            columns: names.to_vec(),
            end: None,
        }),
    };
    let message = || "{{ message }}".to_owned();
    SlackOptions {
        target: match target.way.clone() {
            SlackWay::Webhook { url } => SlackTarget::Webhook { url },
            SlackWay::Api {
                url,
                token,
                channel,
                channel_column,
            } => SlackTarget::Api {
                url,
                token,
                channel,
                channel_column,
            },
        },
        text: match writer {
            Writer::Query(_) => target.text.clone(),
            Writer::Alert { .. } => Some(target.text.clone().unwrap_or_else(message)),
        },
        threads,
        timeout: target.delivery.timeout,
        outbox: writer.outbox(target.delivery.outbox),
    }
}

/// What is told of rows that waited when the outboxes that a definition had filled were given up.
pub(in crate::session) fn given_up(definition: &Definition, waiting: u64) -> Error {
    let rows = match definition {
        Definition::Alert(_) => "notifications",
        Definition::Table(_)
        | Definition::View(_)
        | Definition::MaterializedView(_)
        | Definition::Sink(_)
        | Definition::Secret(_) => "rows",
    };
    let (kind, name) = (definition.kind_name(), definition.name());
    let text =
        format!("{waiting} {rows} of {kind} \"{name}\" had not been delivered and are given up");
    Error::user(SqlState::SuccessfulCompletion, text)
}
