//! What the server tells those who run it: log lines and the names of its metrics.
//!
//! Owns how log lines look and every metric's name, so that none is spelled twice. Who has numbers
//! implements [`Observe`]; the console asks for them when it is scraped.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::LogFormat;
use crate::error::{Error, Result, SqlState};

/// The target of the rows of `print` sinks.
pub const PRINT_TARGET: &str = "sink";

/// Sends log lines to standard error from now on, for the life of the process.
///
/// # Errors
/// `22023` when `level` is no level and no list of `target=level`.
pub fn init(format: LogFormat, level: &str) -> Result<()> {
    let filter = filter(level)?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => lines
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .finish()
            .try_init(),
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init(),
    };
    started.map_err(|error| Error::internal(format!("logging was started twice: {error}")))
}

/// What of the log is shown. Rows of `print` sinks are, unless the list says otherwise or nothing at all is: who makes
/// such a sink wants to see them.
fn filter(level: &str) -> Result<EnvFilter> {
    let own = |part: &str| {
        let target = part.split(['=', '[']).next().unwrap_or_default();
        [PRINT_TARGET, "off"].contains(&target.trim())
    };
    let with_print = match level.split(',').any(own) {
        true => level.to_owned(),
        false => format!("{level},{PRINT_TARGET}=info"),
    };
    EnvFilter::try_new(with_print).map_err(|error| {
        Error::user(
            SqlState::InvalidParameterValue,
            format!("invalid log level \"{level}\": {error}"),
        )
        .hint("Use error, warn, info, debug or trace, or a list such as headwater=debug,info.")
    })
}

/// Whether a metric only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows while the process lives; its name gets `_total` when it is shown.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// Declares every metric once: variant, name, kind and help.
macro_rules! metrics {
    ($( $variant:ident = $name:literal, $kind:ident, $help:literal; )+) => {
        /// The metrics, in the order in which they are shown.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Metric { $( #[doc = $help] $variant, )+ }

        impl Metric {
            /// All of them.
            pub const ALL: &'static [Self] = &[ $( Self::$variant, )+ ];

            /// The name, without the `_total` of counters.
            pub fn name(self) -> &'static str {
                match self { $( Self::$variant => concat!("headwater_", $name), )+ }
            }

            /// Whether it only grows.
            pub fn kind(self) -> MetricKind {
                match self { $( Self::$variant => MetricKind::$kind, )+ }
            }

            /// What it means, in a few words.
            pub fn help(self) -> &'static str {
                match self { $( Self::$variant => $help, )+ }
            }
        }
    };
}

metrics! {
    UptimeSeconds = "uptime_seconds", Gauge, "Time since the server started";
    ResidentBytes = "resident_memory_bytes", Gauge, "Resident memory of the process";
    ConnectionsOpen = "connections_open", Gauge, "PostgreSQL connections open now";
    Connections = "connections", Counter, "PostgreSQL connections accepted";
    Statements = "statements", Counter, "Statements run, failed ones included";
    StatementErrors = "statement_errors", Counter, "Statements that ended with an error";
    LiveQueries = "live_queries", Gauge, "Live statements that run now";
    QueryRunning = "query_running", Gauge, "1 while the view's or sink's query reads";
    QueryRowsIn = "query_rows_in", Counter, "Messages that the query has read";
    QueryRowsUsed = "query_rows_used", Counter, "Messages that became rows and were in time";
    QueryRowsRejected = "query_rows_rejected", Counter, "Messages that were set aside";
    QueryRowsLate = "query_rows_late", Counter, "Rows whose window had closed";
    QueryRowsOut = "query_rows_out", Counter, "Rows given to the view or sink";
    QueryRowsFailed = "query_rows_failed", Counter, "Rows of the result that cannot be computed";
    QueryLagMessages = "query_lag_messages", Gauge, "Messages not read yet";
    QueryWatermarkDelaySeconds = "query_watermark_delay_seconds", Gauge, "How far the watermark is behind the clock";
    QueryRowsInPerSecond = "query_rows_in_per_second", Gauge, "Messages read a second, over about ten seconds";
    QueryRowsOutPerSecond = "query_rows_out_per_second", Gauge, "Rows given out a second, over about ten seconds";
    QueryNextCloseSeconds = "query_next_close_timestamp_seconds", Gauge, "The watermark at which the next window closes";
    QuerySinkBacklog = "query_sink_backlog", Gauge, "Messages that the sink has not confirmed";
    PartitionLagMessages = "partition_lag_messages", Gauge, "Messages of the partition not read yet";
    PartitionEventTimeSeconds = "partition_event_time_max_timestamp_seconds", Gauge, "The greatest event time of the partition's rows";
    PartitionWatermarkSeconds = "partition_watermark_timestamp_seconds", Gauge, "The partition's watermark";
    PartitionIdle = "partition_idle", Gauge, "1 while the partition does not hold the watermark back";
    AlertKeysPending = "alert_keys_pending", Gauge, "Keys for which the alert's condition has yet to last";
    AlertKeysFiring = "alert_keys_firing", Gauge, "Keys for which the alert fires";
    OutboxWaiting = "outbox_waiting", Gauge, "Rows that wait for the destination";
    OutboxWaitingBytes = "outbox_waiting_bytes", Gauge, "What these count for in the outbox's bound";
    OutboxOldestSeconds = "outbox_oldest_seconds", Gauge, "How long the oldest of them has waited";
    OutboxDelivered = "outbox_delivered", Counter, "Rows that the destination has taken";
    OutboxRetried = "outbox_retried", Counter, "Sendings that did not succeed and were repeated";
    OutboxDead = "outbox_dead", Gauge, "Messages given up and kept as dead letters";
    QueryCheckpointPauseSeconds = "query_checkpoint_pause_max_seconds", Gauge, "The longest that the end of an epoch kept the query from reading";
    QueryStateRows = "query_state_rows", Gauge, "Groups that the query holds";
    QueryStateBytes = "query_state_bytes", Gauge, "Memory that the query's groups hold";
}

/// One number at the time of a scrape.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// What it is.
    pub metric: Metric,
    /// Whose it is, for example the query's name.
    pub labels: Vec<(&'static str, String)>,
    /// In the unit that the metric's name ends with.
    pub value: f64,
}

/// Someone who has numbers to show.
pub trait Observe: Send + Sync + fmt::Debug {
    /// Adds what there is to see now.
    fn observe(&self, samples: &mut Vec<Sample>);
}

/// What the PostgreSQL side counts.
#[derive(Debug, Default)]
pub struct ServerCounters {
    connections_open: AtomicU64,
    connections: AtomicU64,
    statements: AtomicU64,
    statement_errors: AtomicU64,
}

/// A connection counts as open while this lives.
#[derive(Debug)]
pub struct OpenConnection(Arc<ServerCounters>);

impl ServerCounters {
    /// A client has connected.
    pub fn connection(self: &Arc<Self>) -> OpenConnection {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.connections_open.fetch_add(1, Ordering::Relaxed);
        OpenConnection(Arc::clone(self))
    }

    /// A statement is run.
    pub fn statement(&self) {
        self.statements.fetch_add(1, Ordering::Relaxed);
    }

    /// A statement has ended with an error.
    pub fn statement_error(&self) {
        self.statement_errors.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.connections_open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Observe for ServerCounters {
    fn observe(&self, samples: &mut Vec<Sample>) {
        for (metric, counter) in [
            (Metric::ConnectionsOpen, &self.connections_open),
            (Metric::Connections, &self.connections),
            (Metric::Statements, &self.statements),
            (Metric::StatementErrors, &self.statement_errors),
        ] {
            samples.push(Sample {
                metric,
                labels: Vec::new(),
                #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
                value: counter.load(Ordering::Relaxed) as f64,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Metric, MetricKind, filter};

    #[test]
    fn rows_of_print_sinks_are_shown_unless_the_level_names_them() {
        let shown = |level: &str| {
            let filter = filter(level).map(|filter| filter.to_string());
            filter.is_ok_and(|filter| filter.contains("sink=info"))
        };
        for level in [
            "error",
            "warn",
            "headwater=debug,info",
            "headwater::sink=off",
        ] {
            assert!(shown(level), "{level}");
        }
        for level in ["off", "warn,sink=off", "sink=warn", "sink,warn"] {
            assert!(!shown(level), "{level}");
        }
    }

    #[test]
    fn the_operator_s_page_explains_every_metric() {
        let page = include_str!("../docs/operations.md");
        for metric in Metric::ALL {
            let total = match metric.kind() {
                MetricKind::Counter => "_total",
                MetricKind::Gauge => "",
            };
            let name = format!("| `{}{total}` |", metric.name());
            assert!(page.contains(&name), "{name} is not explained");
        }
    }
}
