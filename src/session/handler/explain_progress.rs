//! EXPLAIN PROGRESS: why a query has, or has not, emitted.
//!
//! The first line says it in a sentence; the lines after it are the facts.

use std::fmt::Write as _;

use super::outbox_text::{self, Outboxed};
use crate::engine::{
    PartitionStatus, QueryKind, QueryShared, QueryState, QueryStatus, ScanStatus, Shape,
};
use crate::sql;
use crate::types::{EventTime, InputPartition, ProcessingTime};

/// In a sentence why a query has, or has not, emitted, and what comes next.
pub(in crate::session) fn sentence(
    query: &QueryShared,
    status: &QueryStatus,
    outboxes: &Outboxed,
    now: ProcessingTime,
) -> String {
    let name = sql::quote(&query.name);
    match status.state {
        QueryState::Paused => format!("It is paused; ALTER QUERY {name} RESUME lets it go on."),
        QueryState::Finished if query.kind != QueryKind::Live => {
            format!("It has ended; ALTER QUERY {name} RESUME runs it again.")
        }
        QueryState::Failed => failed(query, status),
        _ => cause(query.shape, status, outboxes, now),
    }
}

/// The text of EXPLAIN PROGRESS.
pub(super) fn tell(
    query: &QueryShared,
    status: &QueryStatus,
    outboxes: &Outboxed,
    now: ProcessingTime,
) -> String {
    let first = sentence(query, status, outboxes, now);
    // What it stands at has no meaning for one that does not go on.
    let goes_on = !matches!(status.state, QueryState::Failed | QueryState::Finished);
    let mut text = format!("{first}\n\n");
    let mut line = |what: &str, value: String| {
        let _ = writeln!(text, "{what:<22}{value}");
    };
    line("state", status.state.name().to_owned());
    if let Some(error) = &status.last_error {
        let at = status
            .last_error_at
            .map_or_else(String::new, |at| format!(", at {}", moment(at)));
        line("last error", format!("{error}{at}"));
    }
    if let Some(problem) = &status.last_problem {
        line("last problem", problem.clone());
    }
    let delay = status
        .delay(now)
        .filter(|_| goes_on)
        .map_or_else(String::new, |delay| {
            format!(", {} behind the clock", length(delay))
        });
    line("watermark", format!("{}{delay}", time(status.watermark)));
    if query.shape.windowed && goes_on {
        line("next window", next_window(status, now));
    }
    rows(status, &mut line);
    if query.kind == QueryKind::Sink {
        let backlog = format!("{} messages not confirmed", status.sink_backlog);
        line("sink backlog", backlog);
    }
    for (name, state) in outboxes {
        let whose = name.sink.as_ref().unwrap_or(&name.query);
        line(&format!("outbox of {whose}"), outbox_text::line(state));
    }
    line("messages not read yet", behind(status));
    for scan in status.scans.iter().filter(|_| goes_on) {
        line("read by", group(query, *scan));
    }
    let state = format!("{} groups, {} bytes", status.state_rows, status.state_bytes);
    line("state held", state);
    if let Some((place, since)) = status.held_back.filter(|_| goes_on) {
        let since = moment(since);
        let name = partition_name(query, place);
        line("held back by", format!("{name}, since {since}"));
    }
    for (place, partition) in &status.partitions {
        let now = goes_on.then_some(now);
        line(&partition_name(query, *place), facts(partition, now));
    }
    text.push('\n');
    text.push_str(&query.plan);
    text
}

/// How far it is behind, and for how long.
fn behind(status: &QueryStatus) -> String {
    let lag = status.lag();
    match status.catch_up() {
        _ if !status.reads() => format!("not known while it does not read; {lag} when it last did"),
        _ if lag == 0 => lag.to_string(),
        Some(left) => format!("{lag}, caught up in about {}", length(left)),
        None => format!("{lag}, and it does not come nearer to the end"),
    }
}

/// What became of the rows.
fn rows(status: &QueryStatus, line: &mut impl FnMut(&str, String)) {
    line(
        "rows in",
        format!("{} ({:.1}/s)", status.rows_in, status.rows_in_per_second),
    );
    line("  used", status.rows_used.to_string());
    line("  rejected", status.rows_rejected.to_string());
    if let Some(reason) = &status.last_rejection {
        line("  last rejected", reason.clone());
    }
    line("  late", status.rows_late.to_string());
    if status.rows_not_sent > 0 {
        let text = format!("{} rejected or late", status.rows_not_sent);
        line("  lost for their topic", text);
    }
    line("  passed conditions", status.rows_passed.to_string());
    line(
        "rows out",
        format!("{} ({:.1}/s)", status.rows_out, status.rows_out_per_second),
    );
    if status.rows_failed > 0 {
        let reason = status.last_failure.as_deref().unwrap_or("not known");
        let text = format!("{}, the last because: {reason}", status.rows_failed);
        line("  cannot be computed", text);
    }
}

/// Why there is, or is not, an output: one sentence, or two.
fn cause(shape: Shape, status: &QueryStatus, outboxes: &Outboxed, now: ProcessingTime) -> String {
    if let Some(text) = not_running(status).or_else(|| outbox_text::full(outboxes)) {
        return text;
    }
    if let Some(trouble) = &status.trouble {
        let since = status
            .trouble_since
            .map_or_else(String::new, |since| format!(" since {}", moment(since)));
        return format!(
            "The broker does not answer{since}: {trouble}. The query keeps asking, and goes on from where it \
             stands when a broker answers."
        );
    }
    if status.rows_in == 0 {
        return match status.lag() {
            0 => "No message has come since the query began.".to_owned(),
            lag => format!("Nothing is read yet; {lag} messages wait."),
        };
    }
    let (rejected, late) = (status.rows_rejected, status.rows_late);
    if status.rows_used == 0 && rejected > 0 {
        let reason = status.last_rejection.as_deref().unwrap_or("not known");
        let others = match late {
            0 => format!("All {rejected} messages were rejected"),
            _ => format!("{rejected} messages were rejected and {late} rows came late, no other"),
        };
        return format!("{others}; the last one because: {reason}.");
    }
    if status.rows_used == 0 {
        return format!("All {late} rows came after their windows had closed.");
    }
    if status.rows_passed == 0 {
        let used = status.rows_used;
        return format!("{used} rows came, and the query's conditions passed none of them.");
    }
    if let Some(text) = outbox_text::failing(outboxes) {
        return text;
    }
    if status.sink_backlog > 0 && status.rows_out > 0 && status.rows_out == status.sink_backlog {
        let backlog = status.sink_backlog;
        return format!("The sink's destination has not confirmed any of {backlog} rows.");
    }
    if status.rows_out > 0 {
        let last = status
            .last_out_at
            .map_or_else(String::new, |at| format!(", the last at {}", moment(at)));
        return format!("It has emitted {} rows{last}.", status.rows_out);
    }
    if status.rows_failed > 0 {
        let reason = status.last_failure.as_deref().unwrap_or("not known");
        let failed = status.rows_failed;
        return format!(
            "{failed} rows of the result cannot be computed; the last because: {reason}"
        );
    }
    if shape.windowed && shape.once {
        return match status.rows_closed {
            0 => format!("It waits for the watermark: {}.", next_window(status, now)),
            closed => format!(
                "Windows with {closed} rows have closed, and HAVING, or another condition on the \
                 result, took all of them away."
            ),
        };
    }
    "Rows came, and nothing of the result has changed by them.".to_owned()
}

/// That it has failed, why, and what to do.
fn failed(query: &QueryShared, status: &QueryStatus) -> String {
    let Some(error) = &status.last_error else {
        return "It has failed, and no error is known.".to_owned();
    };
    let hint = error
        .hint_text()
        .map_or_else(String::new, |hint| format!(" {hint}"));
    let again = match query.kind {
        QueryKind::Live => " Its client has been told; run it again.".to_owned(),
        QueryKind::MaterializedView | QueryKind::Sink | QueryKind::Alert => {
            let name = sql::quote(&query.name);
            let what = match query.kind {
                QueryKind::Sink => "SINK",
                QueryKind::Alert => "ALERT",
                _ => "MATERIALIZED VIEW",
            };
            format!(
                " When the cause is gone, ALTER QUERY {name} RESUME runs it on from its last checkpoint; \
                 DROP {what} {name} ends it for good."
            )
        }
    };
    format!("It has failed: {error}.{hint}{again} The numbers are those from before.")
}

fn not_running(status: &QueryStatus) -> Option<String> {
    let error = status
        .last_error
        .as_ref()
        .map_or_else(|| "no error is known".to_owned(), ToString::to_string);
    match status.state {
        QueryState::Failed => Some(format!("It has failed: {error}.")),
        QueryState::Retrying => {
            let at = status
                .next_try()
                .map_or_else(String::new, |at| format!(" at {}", moment(at)));
            Some(format!("It tries again{at} after an error: {error}."))
        }
        QueryState::Starting => {
            Some("It looks where to begin; the broker has not answered yet.".to_owned())
        }
        QueryState::Finished => Some("It has ended.".to_owned()),
        QueryState::Paused => Some("It is paused.".to_owned()),
        QueryState::Running => None,
    }
}

/// Who reads a topic for it.
fn group(query: &QueryShared, scan: ScanStatus) -> String {
    let table = query.tables.get(scan.input).map_or("", String::as_str);
    let others = match scan.queries {
        0 | 1 => "this query alone".to_owned(),
        queries => format!("{queries} queries together"),
    };
    let alike = match scan.alike {
        0 | 1 => String::new(),
        alike => format!(", {alike} of which make their groups together"),
    };
    format!("scan {} of {table}, {others}{alike}", scan.group)
}

/// Which window closes next, and what that waits for.
fn next_window(status: &QueryStatus, now: ProcessingTime) -> String {
    let Some((span, at)) = status.next_close else {
        return "no window is open".to_owned();
    };
    let window = format!(
        "the window {} to {} closes when the watermark reaches {}",
        time(Some(EventTime(span.start))),
        time(Some(EventTime(span.end))),
        time(Some(at))
    );
    let Some((place, partition)) = status
        .held_back
        .and_then(|(place, _)| Some((place, status.partitions.get(&place)?)))
    else {
        let stands = time(status.watermark);
        return format!("{window}: all partitions are idle, the clock moves it on from {stands}");
    };
    let input = match place.input {
        0 => String::new(),
        input => format!(" of input {}", input + 1),
    };
    format!(
        "{window}: partition {}{input} stands at {} and is not idle: {}",
        place.partition.0,
        time(partition.watermark),
        why_not_idle(partition, now)
    )
}

fn why_not_idle(partition: &PartitionStatus, now: ProcessingTime) -> String {
    match partition.lag() {
        Some(lag) if lag > 0 => return format!("{lag} messages behind"),
        _ if !partition.at_end => {
            return "the broker has not told yet that it ends here".to_owned();
        }
        _ => {}
    }
    let (Some(since), Some(timeout)) = (partition.silent_since, partition.idle_timeout) else {
        return "its table's idle_timeout is off".to_owned();
    };
    let timeout = i64::try_from(timeout.as_micros()).unwrap_or(i64::MAX);
    let left = since.0.saturating_add(timeout).saturating_sub(now.0);
    let since = moment(since);
    format!("silent since {since}, idle in {}", length(left.max(0)))
}

/// `now`: for a query that goes on, how long the partition has been silent matters.
fn facts(partition: &PartitionStatus, now: Option<ProcessingTime>) -> String {
    let mut text = format!(
        "watermark {}, greatest event time {}, offset {} of {}",
        time(partition.watermark),
        time(partition.greatest_event),
        partition.next.map_or(0, |offset| offset.0),
        partition.last_end().map_or(0, |offset| offset.0),
    );
    let Some(now) = now else {
        return text;
    };
    if partition.idle {
        text.push_str(", idle");
    }
    if let Some(since) = partition.silent_since {
        let silence = length(now.0.saturating_sub(since.0).max(0));
        let _ = write!(text, ", silent for {silence}");
    }
    let _ = match partition.idle_timeout {
        Some(timeout) => write!(
            text,
            " (idle_timeout {})",
            length(i64::try_from(timeout.as_micros()).unwrap_or(i64::MAX))
        ),
        None => write!(text, " (idle_timeout off)"),
    };
    text
}

fn partition_name(query: &QueryShared, place: InputPartition) -> String {
    match query.tables.get(place.input) {
        Some(table) if query.tables.len() > 1 => {
            format!("{table}, partition {}", place.partition.0)
        }
        _ => format!("partition {}", place.partition.0),
    }
}

fn time(time: Option<EventTime>) -> String {
    time.and_then(|EventTime(micros)| chrono::DateTime::from_timestamp_micros(micros))
        .map_or_else(
            || "none yet".to_owned(),
            |time| time.format("%Y-%m-%d %H:%M:%S%.f").to_string(),
        )
}

fn moment(ProcessingTime(micros): ProcessingTime) -> String {
    let whole = micros.div_euclid(1_000) * 1_000;
    time(Some(EventTime(whole)))
}

/// A length of time, rounded for people.
fn length(micros: i64) -> String {
    let seconds = micros.unsigned_abs() / 1_000_000;
    let sign = if micros < 0 { "-" } else { "" };
    match seconds {
        0 => format!("{} ms", micros / 1_000),
        1..120 => format!("{sign}{seconds} s"),
        120..7_200 => format!("{sign}{} min", seconds / 60),
        7_200..172_800 => format!("{sign}{} h", seconds / 3_600),
        _ => format!("{sign}{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::error::{Error, SqlState};
    use crate::sink::outbox::{OutboxName, OutboxState};
    use crate::types::{Offset, PartitionId, WindowSpan};

    const WINDOWED: Shape = Shape {
        windowed: true,
        once: true,
    };
    const NOW: ProcessingTime = ProcessingTime(100_000_000);

    fn running(change: impl FnOnce(&mut QueryStatus)) -> String {
        let mut status = QueryStatus::new(ProcessingTime(0));
        status.state = QueryState::Running;
        change(&mut status);
        cause(WINDOWED, &status, &[], NOW)
    }

    /// 53 messages of one partition, all used.
    fn some_rows(status: &mut QueryStatus) {
        (status.rows_in, status.rows_used, status.rows_passed) = (53, 53, 53);
    }

    #[test]
    fn the_first_sentence_names_the_cause() {
        assert_eq!(
            running(|_| {}),
            "No message has come since the query began."
        );
        assert_eq!(
            running(|s| s.trouble = Some("connection refused".to_owned())),
            "The broker does not answer: connection refused. The query keeps asking, and goes on from where \
             it stands when a broker answers."
        );
        assert_eq!(
            running(|s| {
                (s.rows_in, s.rows_rejected) = (3, 3);
                s.last_rejection = Some("not JSON".to_owned());
            }),
            "All 3 messages were rejected; the last one because: not JSON."
        );
        assert_eq!(
            running(|s| {
                some_rows(s);
                s.rows_passed = 0;
            }),
            "53 rows came, and the query's conditions passed none of them."
        );
        assert_eq!(
            running(|s| {
                some_rows(s);
                s.rows_closed = 4;
            }),
            "Windows with 4 rows have closed, and HAVING, or another condition on the result, took \
             all of them away."
        );
        assert_eq!(
            running(|s| {
                s.state = QueryState::Retrying;
                s.last_error = Some(Error::external(SqlState::ConnectionFailure, true, "gone"));
            }),
            "It tries again after an error: gone."
        );
    }

    #[test]
    fn an_outbox_that_is_full_or_whose_destination_takes_nothing_is_named() {
        let told = |change: fn(&mut OutboxState)| {
            let mut state = OutboxState {
                waiting: 12,
                waiting_bytes: 900,
                is_failing: true,
                last_error: Some(("connection refused".to_owned(), NOW)),
                ..OutboxState::default()
            };
            change(&mut state);
            let name = OutboxName {
                query: "high".to_owned(),
                sink: Some("desk".to_owned()),
            };
            let mut status = QueryStatus::new(ProcessingTime(0));
            status.state = QueryState::Running;
            some_rows(&mut status);
            (status.rows_out, status.sink_backlog) = (12, 12);
            cause(WINDOWED, &status, &[(name, state)], NOW)
        };
        assert_eq!(
            told(|state| state.full_since = Some(NOW)),
            "The outbox of sink \"desk\" for alert \"high\" is full, and the query waits until its destination \
             takes some of the 12 rows (900 bytes) in it; its last error: connection refused."
        );
        assert_eq!(
            told(|_| {}),
            "12 rows wait in the outbox of sink \"desk\" for alert \"high\", whose destination does not take \
             them: connection refused."
        );
        assert_eq!(
            told(|state| state.is_failing = false),
            "The sink's destination has not confirmed any of 12 rows."
        );
    }

    #[test]
    fn a_window_that_waits_says_for_whom() {
        let place = InputPartition {
            input: 0,
            partition: PartitionId(2),
        };
        let waits = |partition: PartitionStatus| {
            running(|s| {
                some_rows(s);
                let span = WindowSpan {
                    start: 0,
                    end: 60_000_000,
                };
                s.next_close = Some((span, EventTime(60_000_000)));
                s.partitions.insert(place, partition);
                s.held_back = Some((place, NOW));
            })
        };
        let behind = waits(PartitionStatus {
            next: Some(Offset(1)),
            end: Some(Offset(54)),
            watermark: Some(EventTime(10_000_000)),
            ..Default::default()
        });
        assert_eq!(
            behind,
            "It waits for the watermark: the window 1970-01-01 00:00:00 to 1970-01-01 00:01:00 \
             closes when the watermark reaches 1970-01-01 00:01:00: partition 2 stands at \
             1970-01-01 00:00:10 and is not idle: 53 messages behind."
        );
        let silent = waits(PartitionStatus {
            at_end: true,
            silent_since: Some(ProcessingTime(97_000_000)),
            idle_timeout: Some(Duration::from_secs(10)),
            ..Default::default()
        });
        assert!(
            silent.ends_with("silent since 1970-01-01 00:01:37, idle in 7 s."),
            "{silent}"
        );
    }
}
