//! A case's question in SQL: the continuous one, in every spelling, and the plain one over rows that have their windows.
//!
//! Invariant: both give the same columns in the same order: the window's bounds, the keys, the aggregates.

use super::case::{Case, Emit, Grouping, Shape, Spelling, interval, length};
use super::features::{Feature, on};
use super::windows::Window;

/// The two tables' names; a case's tables are `NAME_NUMBER`.
pub(super) const TABLES: [&str; 2] = ["events", "others"];
const COLUMNS: &str =
    "k text, b boolean, v bigint, f double precision, d numeric(10, 2), day date, id bigint";

/// The statements that make the tables, the views and the materialized view `answer_NUMBER`, in order.
pub(super) fn statements(case: &Case, number: usize) -> Vec<String> {
    let mut made: Vec<String> = TABLES[..case.topics()]
        .iter()
        .map(|table| create_table(case, table, number))
        .collect();
    match case.shape {
        Shape::View => made.push(format!(
            "CREATE VIEW base_{number} AS SELECT * FROM events_{number} WHERE {}",
            case.filter
        )),
        Shape::Cascade => made.push(format!(
            "CREATE VIEW base_{number} AS {}",
            inner(case, number)
        )),
        Shape::Plain | Shape::Union | Shape::Top => {}
    }
    if case.emit != Emit::Snapshot {
        let query = query(case, number);
        made.push(format!(
            "CREATE MATERIALIZED VIEW answer_{number} AS {query}"
        ));
    }
    made
}

/// The statements that drop all of it.
pub(super) fn drops(case: &Case, number: usize) -> Vec<String> {
    let mut drops = vec![format!("DROP MATERIALIZED VIEW IF EXISTS answer_{number}")];
    if matches!(case.shape, Shape::View | Shape::Cascade) {
        drops.push(format!("DROP VIEW IF EXISTS base_{number}"));
    }
    let tables = TABLES[..case.topics()].iter();
    drops.extend(tables.map(|table| format!("DROP TABLE IF EXISTS {table}_{number}")));
    drops
}

fn create_table(case: &Case, table: &str, number: usize) -> String {
    let zone = if case.zoned {
        "timestamptz"
    } else {
        "timestamp"
    };
    let idle = if case.idle { "300 ms" } else { "off" };
    format!(
        "CREATE TABLE {table}_{number} (at {zone}, {COLUMNS}, WATERMARK FOR at AS at - {}) \
         WITH (connector = 'kafka', topic = '{table}_{number}', format = 'json', idle_timeout = '{idle}', \
         max_future = 'off')",
        interval(case.bound)
    )
}

/// The query, in our spelling.
pub(super) fn query(case: &Case, number: usize) -> String {
    let query = match case.shape {
        Shape::Cascade => {
            let from = format!(
                "TUMBLE(base_{number}, rowtime, {})",
                interval(case.outer_size())
            );
            outer(
                case,
                "window_start, window_end",
                &from,
                "window_start, window_end",
            )
        }
        Shape::Top => top(case, &windowed(case, number)),
        Shape::Plain | Shape::View | Shape::Union => windowed(case, number),
    };
    let emit = match case.emit {
        Emit::Final => "EMIT FINAL",
        Emit::Changes => "EMIT CHANGES",
        Emit::Every => "EMIT EVERY INTERVAL '50 milliseconds'",
        Emit::Snapshot => "",
    };
    format!("{query} {emit}")
}

fn windowed(case: &Case, number: usize) -> String {
    let relation = match case.shape {
        Shape::View => format!("base_{number}"),
        Shape::Union => {
            format!("(SELECT * FROM events_{number} UNION ALL SELECT * FROM others_{number})")
        }
        Shape::Plain | Shape::Top | Shape::Cascade => format!("events_{number}"),
    };
    let filter = if case.shape == Shape::View || has_filter_inside(case) {
        "true"
    } else {
        &case.filter
    };
    let bounds = "window_start, window_end";
    let (columns, from, group) = match (case.window, case.spelling) {
        (Window::None, _) => (String::new(), relation, String::new()),
        (Window::Tumble { size, .. }, Spelling::Bin | Spelling::Trunc) => {
            let start = match case.spelling {
                Spelling::Bin => format!("date_bin({}, at)", interval(size)),
                _ => format!("date_trunc('{}', at)", unit(size)),
            };
            let end = format!("{start} + {}", interval(size));
            (
                format!("{start} AS window_start, {end} AS window_end"),
                relation,
                start,
            )
        }
        (_, Spelling::Group | Spelling::Spark) => (bounds.to_owned(), relation, call(case)),
        (_, Spelling::Clause) => (
            bounds.to_owned(),
            format!("{relation} {}", clause(case.window)),
            bounds.to_owned(),
        ),
        _ => (
            bounds.to_owned(),
            function(case, &relation),
            bounds.to_owned(),
        ),
    };
    select(case, (&columns, &from, &group), filter, |aggregate| {
        &aggregate.ours
    })
}

fn unit(size: i64) -> &'static str {
    match size {
        1_000_000 => "second",
        60_000_000 => "minute",
        3_600_000_000 => "hour",
        _ => "day",
    }
}

fn lengths(window: Window) -> Vec<(&'static str, i64)> {
    let (mut lengths, offset) = match window {
        Window::None => (Vec::new(), 0),
        Window::Tumble { size, offset } => (vec![("size", size)], offset),
        Window::Hop {
            slide,
            size,
            offset,
        } => (vec![("slide", slide), ("size", size)], offset),
        Window::Cumulate { step, size, offset } => (vec![("step", step), ("size", size)], offset),
        Window::Session { gap } => (vec![("gap", gap)], 0),
    };
    if offset != 0 {
        lengths.push(("offset", offset));
    }
    lengths
}

fn name(window: Window) -> &'static str {
    match window {
        Window::None => "",
        Window::Tumble { .. } => "TUMBLE",
        Window::Hop { .. } => "HOP",
        Window::Cumulate { .. } => "CUMULATE",
        Window::Session { .. } => "SESSION",
    }
}

/// The window as a function in FROM.
fn function(case: &Case, relation: &str) -> String {
    let session = matches!(case.window, Window::Session { .. }) && !case.keys.is_empty();
    let keys = if session {
        format!(" PARTITION BY {}", case.keys.join(", "))
    } else {
        String::new()
    };
    let lengths = lengths(case.window);
    let values: Vec<String> = lengths
        .iter()
        .map(|(_, micros)| interval(*micros))
        .collect();
    let (name, values) = (name(case.window), values.join(", "));
    let is_query = relation.starts_with('(');
    match case.spelling {
        Spelling::Table if !is_query => {
            format!("TABLE({name}(TABLE {relation}{keys}, DESCRIPTOR(at), {values}))")
        }
        Spelling::Named if !session => {
            let data = if is_query {
                relation.to_owned()
            } else {
                format!("TABLE {relation}")
            };
            let named = lengths
                .iter()
                .map(|(name, micros)| format!("{name} => {}", interval(*micros)));
            let named: Vec<String> = named.collect();
            format!(
                "{name}(data => {data}, timecol => DESCRIPTOR(at), {})",
                named.join(", ")
            )
        }
        Spelling::Query if !is_query => {
            let filter = match has_filter_inside(case) {
                true => format!(" WHERE {}", case.filter),
                false => String::new(),
            };
            format!("{name}((SELECT * FROM {relation}{filter}){keys}, at, {values})")
        }
        _ => format!("{name}({relation}{keys}, at, {values})"),
    }
}

/// Whether the condition stands in the window's own input. Only a session can tell.
pub(super) fn has_filter_inside(case: &Case) -> bool {
    let session = matches!(case.window, Window::Session { .. });
    session && case.spelling == Spelling::Query && case.shape != Shape::Union
}

/// The window as ksqlDB's clause.
fn clause(window: Window) -> String {
    match window {
        Window::Hop { slide, size, .. } => {
            format!(
                "WINDOW HOPPING (SIZE {}, ADVANCE BY {})",
                length(size),
                length(slide)
            )
        }
        Window::Session { gap } => format!("WINDOW SESSION ({})", length(gap)),
        _ => format!("WINDOW TUMBLING (SIZE {})", length(window.size())),
    }
}

/// The window as a function in GROUP BY.
fn call(case: &Case) -> String {
    let lengths = lengths(case.window);
    if case.spelling == Spelling::Group {
        let values: Vec<String> = lengths
            .iter()
            .map(|(_, micros)| interval(*micros))
            .collect();
        return format!("{}(at, {})", name(case.window), values.join(", "));
    }
    match case.window {
        Window::Session { gap } => format!("session_window(at, '{}')", length(gap)),
        Window::Hop { slide, size, .. } => {
            format!("window(at, '{}', '{}')", length(size), length(slide))
        }
        _ => format!("window(at, '{}')", length(case.window.size())),
    }
}

/// The plain question over the table `rows`, whose rows have `window_start` and `window_end`.
pub(super) fn plain(case: &Case) -> String {
    let bounds = if case.window == Window::None {
        ""
    } else {
        "window_start, window_end"
    };
    match case.shape {
        Shape::Cascade => {
            let group = format!("window_start, window_end{}", listed(&case.keys));
            let inner = format!(
                "SELECT {group_named}, count(*) AS n, sum(v) AS s FROM rows WHERE true GROUP BY {group}",
                group_named = format_args!("window_start, window_end{}", named("k", &case.keys)),
            );
            let start = format!(
                "date_bin({}, window_end - INTERVAL '1 microsecond')",
                interval(case.outer_size())
            );
            let columns = format!(
                "{start} AS window_start, {start} + {} AS window_end",
                interval(case.outer_size())
            );
            outer(case, &columns, &format!("({inner}) AS inner_rows"), &start)
        }
        Shape::Top => top(
            case,
            &select(case, (bounds, "rows", bounds), "true", |a| &a.plain),
        ),
        _ => select(case, (bounds, "rows", bounds), "true", |a| &a.plain),
    }
}

/// The first level of a cascade.
fn inner(case: &Case, number: usize) -> String {
    let bounds = if on(Feature::HiddenBounds) {
        "window_start, window_end, window_time AS rowtime"
    } else {
        "window_time AS rowtime"
    };
    format!(
        "SELECT {bounds}{}, count(*) AS n, sum(v) AS s FROM {} WHERE {} \
         GROUP BY window_start, window_end, window_time{}",
        named("k", &case.keys),
        function(case, &format!("events_{number}")),
        if has_filter_inside(case) {
            "true"
        } else {
            &case.filter
        },
        listed(&case.keys)
    )
}

/// The second level of a cascade.
fn outer(case: &Case, columns: &str, from: &str, group: &str) -> String {
    let keys: Vec<String> = (0..case.keys.len()).map(|n| format!("k{n}")).collect();
    let keys = listed(&keys);
    format!(
        "SELECT {columns}{keys}, sum(n) AS a0, sum(s) AS a1, max(n) AS a2 FROM {from} GROUP BY {group}{keys}"
    )
}

/// The first two groups of each window.
fn top(case: &Case, inner: &str) -> String {
    let keys = (0..case.keys.len()).map(|n| format!(", k{n} NULLS LAST"));
    format!(
        "SELECT * FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end \
         ORDER BY a0 DESC NULLS LAST{}) AS place FROM ({inner}) AS g) AS t WHERE place <= 2",
        keys.collect::<String>()
    )
}

fn select(
    case: &Case,
    (bounds, from, group): (&str, &str, &str),
    filter: &str,
    text: impl Fn(&super::case::Aggregate) -> &String,
) -> String {
    let aggregates = case.aggregates.iter().enumerate();
    let aggregates: String = aggregates
        .map(|(n, one)| format!(", {} AS a{n}", text(one)))
        .collect();
    let columns = format!("{bounds}{}{aggregates}", named("k", &case.keys));
    let keys = case.keys.join(", ");
    let group = match case.grouping {
        _ if case.keys.is_empty() => group.to_owned(),
        Grouping::Keys => format!("{group}, {keys}"),
        Grouping::Rollup => format!("{group}, ROLLUP ({keys})"),
        Grouping::Cube => format!("{group}, CUBE ({keys})"),
        Grouping::Sets => format!("GROUPING SETS (({group}, {keys}), ({group}))"),
    };
    let (columns, group) = (
        columns.trim_start_matches(", "),
        group.trim_start_matches(", "),
    );
    format!(
        "SELECT {columns} FROM {from} WHERE {filter} GROUP BY {group} HAVING {}",
        case.having
    )
}

fn named(letter: &str, keys: &[String]) -> String {
    let keys = keys.iter().enumerate();
    keys.map(|(n, key)| format!(", {key} AS {letter}{n}"))
        .collect()
}

fn listed(keys: &[String]) -> String {
    keys.iter().map(|key| format!(", {key}")).collect()
}
