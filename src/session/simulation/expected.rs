//! The queries that are simulated, and what each must answer: plain loops over the rows.
//!
//! Knows nothing of how the engine computes. Invariant: a row whose window never closes is in no answer
//! that comes once.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::simulation::{Event, Line};

const SECOND: i64 = 1_000_000;
/// The key of the rows that close the windows.
pub(super) const LAST_KEY: &str = "last";

/// A query.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scenario {
    pub sql: &'static str,
    /// Its rows change.
    pub changes: bool,
    /// Rows can be late for it.
    pub windowed: bool,
    /// The column that counts rows, where each used row is counted once.
    pub count: Option<usize>,
    /// Its answer, from the rows of each input.
    pub expected: fn(&[Vec<Event>]) -> Vec<Line>,
}

/// All of them.
pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all = as_they_come();
    all.extend(once());
    all
}

/// Queries whose rows go out as they come, or change.
fn as_they_come() -> Vec<Scenario> {
    vec![
        Scenario {
            sql: "SELECT k, v, at FROM events WHERE v % 3 <> 0 EMIT CHANGES",
            changes: false,
            windowed: false,
            count: None,
            expected: filter,
        },
        Scenario {
            sql: "SELECT k, count(*) AS n, sum(v) AS total, max(v) AS high FROM events GROUP BY k EMIT CHANGES",
            changes: true,
            windowed: false,
            count: None,
            expected: groups,
        },
        Scenario {
            sql: "SELECT window_start, k, count(*) AS n, sum(v) AS total, min(v) AS low, count(DISTINCT v) AS values
                  FROM TUMBLE(events, at, INTERVAL '15 seconds') GROUP BY window_start, window_end, k EMIT CHANGES",
            changes: true,
            windowed: true,
            count: Some(2),
            expected: tumble_that_changes,
        },
        Scenario {
            sql: "SELECT k, v FROM events WHERE v > 20 AND v % 3 <> 0 EMIT CHANGES",
            changes: false,
            windowed: false,
            count: None,
            expected: filter_twice,
        },
        Scenario {
            sql: "SELECT window_start, k, count(*) AS n, sum(v) AS total, min(v) AS low, count(DISTINCT v) AS values
                  FROM HOP(events, at, INTERVAL '5 seconds', INTERVAL '15 seconds') WHERE v > 20
                  GROUP BY window_start, window_end, k EMIT CHANGES",
            changes: true,
            windowed: true,
            count: None,
            expected: hop_that_changes,
        },
        Scenario {
            sql: "SELECT k, v FROM events WHERE v > 50 UNION ALL SELECT k, v FROM others WHERE v BETWEEN 1 AND 60
                  EMIT CHANGES",
            changes: false,
            windowed: false,
            count: None,
            expected: union,
        },
    ]
}

/// Queries whose rows go out when their window has closed.
fn once() -> Vec<Scenario> {
    let windowed = |sql, count, expected| Scenario {
        sql,
        changes: false,
        windowed: true,
        count,
        expected,
    };
    vec![
        windowed(
            "SELECT window_start, k, count(*) AS n, sum(v) AS total, max(v) AS high, count(DISTINCT v) AS values
             FROM TUMBLE(events, at, INTERVAL '10 seconds') GROUP BY window_start, window_end, k EMIT FINAL",
            Some(2),
            tumble,
        ),
        windowed(
            "SELECT window_start, k, count(*) AS n, sum(v) AS total, min(v) AS low, count(DISTINCT v) AS values
             FROM HOP(events, at, INTERVAL '5 seconds', INTERVAL '15 seconds')
             GROUP BY window_start, window_end, k EMIT FINAL",
            None,
            hop,
        ),
        windowed(
            "SELECT window_start, window_end, k, count(*) AS n, sum(v) AS total
             FROM SESSION(events PARTITION BY k, at, INTERVAL '3 seconds')
             GROUP BY window_start, window_end, k EMIT FINAL",
            Some(3),
            session,
        ),
        windowed(
            "SELECT window_start, k, total FROM (
               SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY total DESC, k) AS place FROM (
                 SELECT window_start, window_end, k, sum(v) AS total
                 FROM TUMBLE(events, at, INTERVAL '10 seconds') GROUP BY window_start, window_end, k))
             WHERE place <= 2 EMIT FINAL",
            None,
            top,
        ),
        windowed(
            "SELECT window_start, count(*) AS keys, max(n) AS most FROM (
               SELECT window_start, window_end, k, count(*) AS n
               FROM TUMBLE(events, at, INTERVAL '10 seconds') GROUP BY window_start, window_end, k)
             GROUP BY window_start, window_end EMIT FINAL",
            None,
            twice,
        ),
    ]
}

fn line(values: &[&dyn ToString]) -> Line {
    values.iter().map(|value| value.to_string()).collect()
}

fn filter(inputs: &[Vec<Event>]) -> Vec<Line> {
    let rows = inputs[0].iter().filter(|row| row.value % 3 != 0);
    rows.map(|row| line(&[&row.key, &row.value, &row.at]))
        .collect()
}

fn filter_twice(inputs: &[Vec<Event>]) -> Vec<Line> {
    let rows = inputs[0].iter();
    let rows = rows.filter(|row| row.value > 20 && row.value % 3 != 0);
    rows.map(|row| line(&[&row.key, &row.value])).collect()
}

fn union(inputs: &[Vec<Event>]) -> Vec<Line> {
    let first = inputs[0].iter().filter(|row| row.value > 50);
    let second = inputs[1].iter();
    let second = second.filter(|row| (1..=60).contains(&row.value));
    let rows = first.chain(second);
    rows.map(|row| line(&[&row.key, &row.value])).collect()
}

/// The values of each key.
fn by_key(rows: &[Event]) -> BTreeMap<&'static str, Vec<Event>> {
    let mut keys: BTreeMap<_, Vec<Event>> = BTreeMap::new();
    for row in rows {
        keys.entry(row.key).or_default().push(*row);
    }
    keys
}

fn sum(rows: &[Event]) -> i64 {
    rows.iter().map(|row| row.value).sum()
}

fn least(rows: &[Event]) -> i64 {
    rows.iter().map(|row| row.value).min().unwrap_or(0)
}

fn greatest(rows: &[Event]) -> i64 {
    rows.iter().map(|row| row.value).max().unwrap_or(0)
}

fn distinct(rows: &[Event]) -> usize {
    let values: BTreeSet<i64> = rows.iter().map(|row| row.value).collect();
    values.len()
}

fn groups(inputs: &[Vec<Event>]) -> Vec<Line> {
    let keys = by_key(&inputs[0]).into_iter();
    keys.map(|(key, rows)| line(&[&key, &rows.len(), &sum(&rows), &greatest(&rows)]))
        .collect()
}

type Windows = BTreeMap<(i64, &'static str), Vec<Event>>;

/// The rows of each window that begins every `slide` seconds, by key.
fn windows(rows: &[Event], slide: i64, size: i64) -> Windows {
    let (slide, size) = (slide * SECOND, size * SECOND);
    let mut windows = Windows::new();
    for row in rows {
        let mut start = row.at - row.at.rem_euclid(slide);
        while start > row.at - size {
            windows.entry((start, row.key)).or_default().push(*row);
            start -= slide;
        }
    }
    windows
}

/// The same of those that close.
fn closed(rows: &[Event], slide: i64, size: i64) -> Windows {
    let mut windows = windows(rows, slide, size);
    windows.retain(|(_, key), _| *key != LAST_KEY);
    windows
}

fn tumble(inputs: &[Vec<Event>]) -> Vec<Line> {
    let windows = closed(&inputs[0], 10, 10).into_iter();
    windows
        .map(|((start, key), rows)| {
            let (high, values) = (greatest(&rows), distinct(&rows));
            line(&[&start, &key, &rows.len(), &sum(&rows), &high, &values])
        })
        .collect()
}

fn low_lines(windows: Windows) -> Vec<Line> {
    let windows = windows.into_iter();
    windows
        .map(|((start, key), rows)| {
            let (low, values) = (least(&rows), distinct(&rows));
            line(&[&start, &key, &rows.len(), &sum(&rows), &low, &values])
        })
        .collect()
}

fn hop(inputs: &[Vec<Event>]) -> Vec<Line> {
    low_lines(closed(&inputs[0], 5, 15))
}

fn hop_that_changes(inputs: &[Vec<Event>]) -> Vec<Line> {
    let rows = inputs[0].iter().copied().filter(|row| row.value > 20);
    low_lines(windows(&rows.collect::<Vec<_>>(), 5, 15))
}

fn tumble_that_changes(inputs: &[Vec<Event>]) -> Vec<Line> {
    low_lines(windows(&inputs[0], 15, 15))
}

fn session(inputs: &[Vec<Event>]) -> Vec<Line> {
    let gap = 3 * SECOND;
    let mut lines = Vec::new();
    for (key, mut rows) in by_key(&inputs[0]) {
        if key == LAST_KEY {
            continue;
        }
        rows.sort_by_key(|row| row.at);
        for session in rows.chunk_by(|before, row| row.at - before.at < gap) {
            let (start, end) = (session[0].at, session[session.len() - 1].at + gap);
            lines.push(line(&[&start, &end, &key, &session.len(), &sum(session)]));
        }
    }
    lines
}

fn top(inputs: &[Vec<Event>]) -> Vec<Line> {
    let mut totals: BTreeMap<i64, Vec<(i64, &str)>> = BTreeMap::new();
    for ((start, key), rows) in closed(&inputs[0], 10, 10) {
        let window = totals.entry(start).or_default();
        window.push((-sum(&rows), key));
    }
    let mut lines = Vec::new();
    for (start, mut window) in totals {
        window.sort_unstable();
        let first = window.into_iter().take(2);
        lines.extend(first.map(|(total, key)| line(&[&start, &key, &-total])));
    }
    lines
}

fn twice(inputs: &[Vec<Event>]) -> Vec<Line> {
    let mut counts: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    for ((start, _), rows) in closed(&inputs[0], 10, 10) {
        counts.entry(start).or_default().push(rows.len());
    }
    let lines = counts.into_iter();
    lines
        .map(|(start, counts)| line(&[&start, &counts.len(), &counts.iter().max().unwrap_or(&0)]))
        .collect()
}
