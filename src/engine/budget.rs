//! What is told when a query holds more than its memory budget: which operator, by which keys, how
//! many groups, and what to do about it.

use super::held_memory::TooMuch;
use super::status::{QueryKind, QueryShared};
use crate::error::{Error, SqlState};
use crate::plan::{AggregatePlan, StreamPlan};

/// The error of a query that holds so many groups with so many bytes.
pub(super) fn exceeded(
    plan: &StreamPlan,
    shared: &QueryShared,
    (groups, bytes): (u64, u64),
    budget: u64,
) -> Error {
    let operators: Vec<String> = plan.aggregates().map(operator).collect();
    Error::user(
        SqlState::ConfigurationLimitExceeded,
        format!(
            "query \"{}\" holds {bytes} bytes in its {}, more than its budget of {budget}",
            shared.name,
            operators.join(" and its ")
        ),
    )
    .detail(format!("It has {groups} groups."))
    .hint(hint(plan, shared, "query_memory_bytes_max"))
}

/// The error of the query that holds the most, `bytes`, of what is too much for all together.
pub(super) fn all_exceeded(
    plan: &StreamPlan,
    shared: &QueryShared,
    bytes: u64,
    all: TooMuch,
) -> Error {
    let TooMuch {
        bytes: sum,
        bytes_max,
    } = all;
    let what = match plan.aggregates().map(operator).collect::<Vec<_>>() {
        operators if operators.is_empty() => "rows".to_owned(),
        operators => operators.join(" and its "),
    };
    let text = format!(
        "all queries together hold {sum} bytes, more than the budget of {bytes_max}, and query \"{}\" the most of it",
        shared.name
    );
    Error::user(SqlState::ConfigurationLimitExceeded, text)
        .detail(format!("It holds {bytes} bytes in its {what}."))
        .hint(hint(plan, shared, "memory_bytes_max"))
}

fn operator(aggregate: &AggregatePlan) -> String {
    let names = aggregate.groups.len();
    let fields = aggregate.schema.fields().iter().take(names);
    let names: Vec<&str> = fields.map(|field| field.name().as_str()).collect();
    let what = match &aggregate.window {
        Some(_) => "window aggregate",
        None => "aggregate",
    };
    match names.as_slice() {
        [] => what.to_owned(),
        names => format!("{what} by {}", names.join(", ")),
    }
}

fn hint(plan: &StreamPlan, shared: &QueryShared, limit: &str) -> String {
    let windowed = plan
        .aggregates()
        .any(|aggregate| aggregate.window.is_some());
    let less = match windowed {
        true => "Group by fewer keys, use a smaller window or a shorter grace",
        false => "Group by fewer keys, use a window, set state_ttl so that old groups go",
    };
    let then = match shared.kind {
        QueryKind::Live => String::new(),
        QueryKind::MaterializedView | QueryKind::Sink | QueryKind::Alert => {
            let name = &shared.name;
            format!(" ALTER QUERY \"{name}\" RESUME runs it again from its last checkpoint.")
        }
    };
    format!("{less}, or raise limits.{limit}.{then}")
}
