//! What the options of all sinks that speak HTTP have in common.

use std::time::Duration;

use crate::catalog::options::{Options, invalid, value_text};
use crate::error::{Error, Result, SqlState};
use crate::sql::CreateSink;

/// Bytes that may wait in a sink's outbox unless it says otherwise.
pub(super) const OUTBOX_BYTES: u64 = 256 << 20;

/// How long what waits for a destination is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliveryOptions {
    /// How long a request may take with its answer.
    pub timeout: Duration,
    /// The outbox.
    pub outbox: OutboxOptions,
}

/// How much may wait for a destination, and how often it is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboxOptions {
    /// After so many attempts a row becomes a dead letter; `None`: it is tried for ever.
    pub max_attempts: Option<u32>,
    /// Bytes that may wait before who fills the outbox waits too.
    pub bytes_max: u64,
}

/// Takes the options of requests and of the outbox.
pub(super) fn delivery(options: &mut Options<'_>, timeout: Duration) -> Result<DeliveryOptions> {
    let given = options.duration("timeout", Some(timeout))?;
    let given = given.filter(|timeout| !timeout.is_zero());
    let timeout = match (given, options.given("timeout")) {
        (Some(timeout), _) => timeout,
        (None, Some(clause)) => return Err(invalid(clause, "an interval above zero")),
        (None, None) => timeout,
    };
    Ok(DeliveryOptions {
        timeout,
        outbox: outbox(options)?,
    })
}

/// Takes the options of the outbox.
fn outbox(options: &mut Options<'_>) -> Result<OutboxOptions> {
    Ok(OutboxOptions {
        max_attempts: max_attempts(options)?,
        bytes_max: bytes(options, "outbox_bytes_max")?.unwrap_or(OUTBOX_BYTES),
    })
}

/// The same for a sink that has an outbox only where it has no query: what alerts tell waits there.
pub(super) fn outbox_without_query(
    options: &mut Options<'_>,
    clause: &CreateSink,
) -> Result<Option<OutboxOptions>> {
    match clause.query {
        Some(_) => Ok(None),
        None => outbox(options).map(Some),
    }
}

fn max_attempts(options: &mut Options<'_>) -> Result<Option<u32>> {
    let Some(clause) = options.take("max_attempts")? else {
        return Ok(None);
    };
    match value_text(clause).parse::<u32>() {
        Ok(0) => Ok(None),
        Ok(count) => Ok(Some(count)),
        Err(_) => Err(invalid(clause, "a whole number; 0 is for ever")),
    }
}

/// A number of bytes: `1000000`, `'64 MiB'`, `'64 MB'`.
pub(super) fn bytes(options: &mut Options<'_>, name: &'static str) -> Result<Option<u64>> {
    const UNITS: [(&str, u64); 7] = [
        ("KIB", 1 << 10),
        ("MIB", 1 << 20),
        ("GIB", 1 << 30),
        ("KB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("", 1),
    ];
    let Some(clause) = options.take(name)? else {
        return Ok(None);
    };
    let text = value_text(clause).trim().to_ascii_uppercase();
    let unit = UNITS.iter().find(|(unit, _)| text.ends_with(unit));
    let count = unit.and_then(|(unit, size)| {
        let number = text.strip_suffix(unit)?.trim().parse::<u64>().ok()?;
        number.checked_mul(*size).filter(|bytes| *bytes > 0)
    });
    let expected = "a number of bytes above zero, for example '64 MiB'";
    count.map(Some).ok_or_else(|| invalid(clause, expected))
}

/// Rows that are sent have no key.
pub(super) fn refuse_key(clause: &CreateSink, connector: &str) -> Result<()> {
    let Some(first) = clause.primary_key.first() else {
        return Ok(());
    };
    let text = format!("a {connector} sink has no key");
    Err(Error::user(SqlState::InvalidTableDefinition, text)
        .hint("Leave PRIMARY KEY out.")
        .at(Some(first.position)))
}

/// The part of a URL that says where it leads: without user, password and path, which may be secret.
pub(super) fn origin(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    match scheme {
        "" => host.to_owned(),
        scheme => format!("{scheme}://{host}"),
    }
}

#[cfg(test)]
mod tests {
    use super::origin;

    #[test]
    fn an_origin_has_neither_password_nor_path() {
        for (url, expected) in [
            ("https://example.com/a/b?c", "https://example.com"),
            (
                "https://user:pass@example.com:8443/x",
                "https://example.com:8443",
            ),
            ("http://a@b@host?x", "http://host"),
            ("no url", "no url"),
        ] {
            assert_eq!(origin(url), expected);
        }
    }
}
