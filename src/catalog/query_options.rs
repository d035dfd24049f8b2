//! `state_ttl`, `allowed_lateness` and `trigger`: in `WITH (..)` of a view or sink, and as session
//! variables for live queries, with the same spellings. `checkpoint_interval`: in `WITH (..)` only.

use std::time::Duration;

use super::options::{Options, invalid, value_text};
use crate::error::{Error, Result, SqlState};
use crate::plan::{QueryOptions, Trigger};
use crate::sql::{self, OptionClause};

const TRIGGERS: &str = "'continuous', 'interval 200 ms' or 'available now'";
const INTERVAL: &str = "an interval from 10 ms to 10 minutes";
/// A shorter one would end an epoch with every few micro-batches.
const INTERVAL_MIN: Duration = Duration::from_millis(10);
/// A longer one would not fit into a transaction of Kafka, which takes a quarter of an hour at most.
const INTERVAL_MAX: Duration = Duration::from_secs(600);
/// Options of views and sinks that stay as they were when these were created.
const FIXED: [&str; 27] = [
    "allowed_lateness",
    "bootstrap_servers",
    "compression",
    "connector",
    "create_table",
    "database",
    "delivery",
    "format",
    "headers",
    "host",
    "key_columns",
    "mode",
    "partition_by",
    "partitions",
    "password",
    "path",
    "port",
    "roll_bytes",
    "roll_interval",
    "sslmode",
    "sslrootcert",
    "state_ttl",
    "table",
    "topic",
    "transactional_id",
    "url",
    "user",
];
const TTL: &str = "an interval above zero, or 'off'";

/// The values of the session variables of these names.
///
/// # Errors
/// 22023 for a value that one of them does not take.
pub fn query_options(
    state_ttl: &str,
    allowed_lateness: &str,
    trigger: &str,
) -> Result<QueryOptions> {
    Ok(QueryOptions {
        state_ttl: ttl(state_ttl)?,
        allowed_lateness: length(allowed_lateness)?,
        trigger: trigger_of(trigger)?,
        checkpoint_interval: None,
        rows_max: None,
        by_time: false,
        paused: false,
    })
}

/// Takes the options of these names.
pub(super) fn take(options: &mut Options<'_>) -> Result<QueryOptions> {
    let state_ttl = options.duration("state_ttl", None)?;
    if state_ttl == Some(Duration::ZERO)
        && let Some(clause) = options.given("state_ttl")
    {
        return Err(invalid(clause, TTL));
    }
    let allowed_lateness = options.duration("allowed_lateness", None)?;
    Ok(QueryOptions {
        state_ttl,
        allowed_lateness,
        trigger: trigger(options)?,
        checkpoint_interval: checkpoint_interval(options)?,
        rows_max: None,
        by_time: false,
        paused: false,
    })
}

/// What `ALTER QUERY .. SET (..)` sets, in the spelling of a definition. `beside`: what else can be set of
/// what is altered, by somebody else.
pub(super) fn changes<'a>(
    clauses: &'a [OptionClause],
    beside: &[&'static str],
) -> Result<Vec<(&'a str, String)>> {
    let mut options = Options::new(clauses);
    options.know(beside);
    trigger(&mut options)?;
    checkpoint_interval(&mut options)?;
    let fixed = |clause: &&OptionClause| FIXED.contains(&clause.name.as_str());
    if let Some(fixed) = clauses.iter().find(fixed) {
        let text = format!("option \"{}\" cannot be changed", fixed.name);
        let others = beside.iter().chain(&["trigger", "checkpoint_interval"]);
        let others = others.copied().collect::<Vec<_>>().join(", ");
        return Err(Error::user(SqlState::FeatureNotSupported, text)
            .hint(format!(
                "These can: {others}. For others, drop it and create it again."
            ))
            .at(Some(fixed.position)));
    }
    options.finish(match beside {
        [] => "ALTER QUERY",
        _ => "ALTER ALERT",
    })?;
    let set = clauses.iter();
    Ok(set
        .map(|clause| (clause.name.as_str(), value_text(clause)))
        .collect())
}

fn trigger(options: &mut Options<'_>) -> Result<Trigger> {
    match options.take("trigger")? {
        None => Ok(Trigger::default()),
        Some(clause) => trigger_of(&value_text(clause)).map_err(|_| invalid(clause, TRIGGERS)),
    }
}

fn checkpoint_interval(options: &mut Options<'_>) -> Result<Option<Duration>> {
    let interval = options.duration("checkpoint_interval", None)?;
    let Some(clause) = options.given("checkpoint_interval") else {
        return Ok(None);
    };
    match interval {
        Some(interval) if (INTERVAL_MIN..=INTERVAL_MAX).contains(&interval) => Ok(Some(interval)),
        Some(_) | None => Err(invalid(clause, INTERVAL)),
    }
}

fn ttl(text: &str) -> Result<Option<Duration>> {
    match length(text)? {
        Some(Duration::ZERO) => Err(refused(text, TTL)),
        length => Ok(length),
    }
}

fn length(text: &str) -> Result<Option<Duration>> {
    if text.trim().eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    match u64::try_from(sql::interval::parse(text)?) {
        Ok(micros) => Ok(Some(Duration::from_micros(micros))),
        Err(_) => Err(refused(text, "an interval that is not negative, or 'off'")),
    }
}

/// `continuous`, `interval 200 ms`, `available now`.
fn trigger_of(text: &str) -> Result<Trigger> {
    let words = text.trim().to_lowercase().replace(['-', '_'], " ");
    match words.as_str() {
        "continuous" => return Ok(Trigger::Continuous),
        "available now" => return Ok(Trigger::AvailableNow),
        _ => {}
    }
    let pace = words
        .strip_prefix("interval ")
        .and_then(|pace| sql::interval::parse(pace.trim().trim_matches('\'')).ok())
        .and_then(|micros| u64::try_from(micros).ok())
        .filter(|micros| *micros > 0);
    match pace {
        Some(micros) => Ok(Trigger::Interval(Duration::from_micros(micros))),
        None => Err(refused(text, TRIGGERS)),
    }
}

fn refused(text: &str, expected: &str) -> Error {
    Error::user(
        SqlState::InvalidParameterValue,
        format!("invalid value \"{text}\""),
    )
    .hint(format!("It takes {expected}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triggers_and_lengths_are_read_as_they_are_written() {
        let options = |ttl, lateness, trigger| query_options(ttl, lateness, trigger);
        assert_eq!(
            options("off", "off", "continuous").unwrap(),
            QueryOptions::default()
        );
        assert_eq!(
            options("1 hour", "10 seconds", "interval 200 ms").unwrap(),
            QueryOptions {
                state_ttl: Some(Duration::from_secs(3_600)),
                allowed_lateness: Some(Duration::from_secs(10)),
                trigger: Trigger::Interval(Duration::from_millis(200)),
                checkpoint_interval: None,
                rows_max: None,
                by_time: false,
                paused: false,
            }
        );
        let now = options("off", "0 s", "available-now").unwrap();
        assert_eq!(now.trigger, Trigger::AvailableNow);
        assert_eq!(now.allowed_lateness, Some(Duration::ZERO));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (ttl, lateness, trigger) in [
            ("0 s", "off", "continuous"),
            ("off", "-1 s", "continuous"),
            ("off", "off", "sometimes"),
            ("off", "off", "interval 0 ms"),
            ("off", "off", "interval 5"),
        ] {
            let error = query_options(ttl, lateness, trigger).unwrap_err();
            assert_eq!(error.state(), SqlState::InvalidParameterValue);
        }
    }
}
