//! Cases by chance: rows, their order, their partitions, the query, the cuts and the crashes, all from one seed.
//!
//! Few keys and clustered times, so that groups meet; NULL keys and values; broken messages between the rows.
//! Invariant: with `Lateness::Within` no row can be late, whatever the cuts.

use std::collections::BTreeSet;

use fastrand::Rng;

use crate::support::messages::Record;

const START_MICROS: i64 = 1_767_225_600_000_000;
const SECOND: i64 = 1_000_000;

/// Whether rows keep to the table's declared lateness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lateness {
    /// Every row is within it.
    Within,
    /// Some rows are beyond it; one partition then, so that what is late does not depend on cuts.
    Beyond,
}

/// A row as it was produced.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) id: usize,
    pub(super) partition: i32,
    /// Event time, microseconds since the Unix epoch.
    pub(super) at: i64,
    pub(super) key: Option<String>,
    pub(super) flag: Option<bool>,
    pub(super) value: Option<i64>,
}

/// Everything that one run needs.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) partitions: i32,
    lateness_seconds: i64,
    pub(super) size_seconds: i64,
    pub(super) keys: Vec<&'static str>,
    pub(super) aggregates: Vec<&'static str>,
    pub(super) filter: &'static str,
    pub(super) having: &'static str,
    /// In the order in which they are produced, partition by partition interleaved.
    events: Vec<Event>,
    /// After so many events stands a broken message.
    broken_after: BTreeSet<usize>,
    /// Events are produced in chunks that end before these.
    cuts: BTreeSet<usize>,
    /// Chunks after which the test waits.
    pub(super) flushes: BTreeSet<usize>,
    /// Chunks after which the server is killed.
    pub(super) crashes: BTreeSet<usize>,
}

const AGGREGATES: &[&str] = &[
    "count(*)",
    "count(v)",
    "sum(v)",
    "min(v)",
    "max(v)",
    "CAST(avg(v) AS numeric(20, 6))",
    "count(DISTINCT v)",
    "min(k)",
    "bool_or(b)",
    "sum(v) FILTER (WHERE b)",
    "sum(CASE WHEN v > 10 THEN 1 ELSE 0 END)",
];
const FILTERS: &[&str] = &[
    "true",
    "v > 5",
    "v IS NOT NULL AND k <> 'b'",
    "b IS NOT TRUE",
    "v % 3 = 0 OR k IS NULL",
];

impl Case {
    pub(super) fn generate(seed: u64, lateness: Lateness) -> Self {
        let mut rng = Rng::with_seed(seed);
        let partitions = if lateness == Lateness::Beyond {
            1
        } else {
            rng.i32(1..=4)
        };
        let lateness_seconds = rng.i64(0..=5);
        let size_seconds = [1, 2, 7, 10, 60][rng.usize(..5)];
        let count = rng.usize(1..=300);
        let events = events(&mut rng, partitions, count, (lateness, lateness_seconds));
        let some = |rng: &mut Rng, percent: u32| {
            (0..count)
                .filter(|_| rng.u32(..100) < percent)
                .collect::<BTreeSet<_>>()
        };
        let cuts = some(&mut rng, 8);
        let chunks = cuts.len() + 1;
        let flushes = (0..chunks).filter(|_| rng.bool()).collect();
        let crashes = (0..chunks).filter(|_| rng.u32(..100) < 5).collect();
        Self {
            partitions,
            lateness_seconds,
            size_seconds,
            keys: ["k", "b"][..rng.usize(..=2)].to_vec(),
            aggregates: rng.choose_multiple(AGGREGATES.iter().copied(), 4),
            filter: FILTERS[rng.usize(..FILTERS.len())],
            having: ["true", "count(*) > 1"][rng.usize(..2)],
            events,
            broken_after: some(&mut rng, 3),
            cuts,
            flushes,
            crashes,
        }
    }

    pub(super) fn create_table(&self) -> String {
        format!(
            "CREATE TABLE events (id bigint, at timestamp, k text, b boolean, v bigint, \
             WATERMARK FOR at AS at - INTERVAL '{} seconds') \
             WITH (connector = 'kafka', topic = 'events', format = 'json', idle_timeout = 'off')",
            self.lateness_seconds
        )
    }

    /// The continuous query, windows by our table function.
    pub(super) fn query(&self) -> String {
        let from = format!(
            "TUMBLE(events, at, INTERVAL '{} seconds')",
            self.size_seconds
        );
        self.select("window_start", &from, "window_start")
    }

    /// The same question over a table, with the window computed as any database would.
    pub(super) fn batch_query(&self) -> String {
        let bin = format!("date_bin(INTERVAL '{} seconds', at)", self.size_seconds);
        self.select(&format!("{bin} AS window_start"), "events", &bin)
    }

    fn select(&self, window: &str, from: &str, group: &str) -> String {
        let named = self
            .aggregates
            .iter()
            .enumerate()
            .map(|(n, aggregate)| format!("{aggregate} AS a{n}"));
        let keys = || self.keys.iter().map(|key| (*key).to_owned());
        let columns: Vec<String> = [window.to_owned()]
            .into_iter()
            .chain(keys())
            .chain(named)
            .collect();
        let group: Vec<String> = [group.to_owned()].into_iter().chain(keys()).collect();
        format!(
            "SELECT {} FROM {from} WHERE {} GROUP BY {} HAVING {}",
            columns.join(", "),
            self.filter,
            group.join(", "),
            self.having
        )
    }

    /// All messages, in chunks. The last one has a row in each partition, late enough to close all windows before it.
    pub(super) fn cuts(&self) -> Vec<Vec<Record>> {
        let mut chunks = vec![Vec::new()];
        for (n, event) in self.events.iter().enumerate() {
            if self.cuts.contains(&n) {
                chunks.push(Vec::new());
            }
            let chunk = chunks.last_mut().expect("there is always one");
            chunk.push(event.record());
            if self.broken_after.contains(&n) {
                let broken = [
                    "",
                    "{",
                    "[]",
                    r#"{"id":1,"v":"many"}"#,
                    r#"{"id":1,"at":null}"#,
                ][n % 5];
                chunk.push(Record::of(broken).in_partition(event.partition));
            }
        }
        chunks.push(self.closing_rows().iter().map(Event::record).collect());
        chunks
    }

    fn closing_rows(&self) -> Vec<Event> {
        let last = self
            .events
            .iter()
            .map(|event| event.at)
            .max()
            .unwrap_or(START_MICROS);
        let at = last + (self.lateness_seconds + self.size_seconds + 1) * SECOND;
        let row = |partition| Event {
            id: self.events.len(),
            partition,
            at,
            key: None,
            flag: None,
            value: None,
        };
        (0..self.partitions).map(row).collect()
    }

    /// The rows whose windows are closed at the end: all but the closing ones.
    pub(super) fn closed_rows(&self) -> Vec<Event> {
        self.events.clone()
    }

    /// Which rows are late by the rule: in offset order, the window has closed before the row came.
    pub(super) fn late_rows(&self) -> BTreeSet<usize> {
        assert_eq!(
            self.partitions, 1,
            "with more, what is late depends on cuts"
        );
        let mut watermark = i64::MIN;
        let mut late = BTreeSet::new();
        for event in &self.events {
            let size = self.size_seconds * SECOND;
            let window_end = event.at - event.at.rem_euclid(size) + size;
            if window_end <= watermark {
                late.insert(event.id);
            }
            watermark = watermark.max(event.at - self.lateness_seconds * SECOND);
        }
        late
    }

    /// Rows in, used, rejected and late, as the server must count them.
    pub(super) fn numbers(&self, late: usize) -> [u64; 4] {
        let rows = self.events.len() + self.closing_rows().len();
        let rejected = self.broken_after.len();
        [rows + rejected, rows - late, rejected, late].map(|count| count as u64)
    }
}

impl Event {
    fn record(&self) -> Record {
        let text = |value: Option<String>| value.unwrap_or_else(|| "null".to_owned());
        let key = text(self.key.as_ref().map(|key| format!("\"{key}\"")));
        let flag = text(self.flag.map(|flag| flag.to_string()));
        let value = text(self.value.map(|value| value.to_string()));
        let payload = format!(
            r#"{{"id":{},"at":{},"k":{key},"b":{flag},"v":{value}}}"#,
            self.id, self.at
        );
        Record::of(payload).in_partition(self.partition)
    }
}

fn events(
    rng: &mut Rng,
    partitions: i32,
    count: usize,
    (lateness, bound_seconds): (Lateness, i64),
) -> Vec<Event> {
    let mut now = START_MICROS;
    let mut greatest = vec![i64::MIN; usize::try_from(partitions).expect("it is small")];
    let mut events = Vec::new();
    for id in 0..count {
        // Clusters of close times, then a leap.
        now += if rng.u32(..100) < 5 {
            rng.i64(0..120 * SECOND)
        } else {
            rng.i64(0..SECOND)
        };
        let partition = rng.i32(0..partitions);
        let back = match lateness {
            Lateness::Within => rng.i64(0..=bound_seconds * SECOND),
            Lateness::Beyond => rng.i64(0..=(bound_seconds + 20) * SECOND),
        };
        let place = usize::try_from(partition).expect("it is small");
        let mut at = now - back;
        if lateness == Lateness::Within {
            at = at.max(greatest[place].saturating_sub(bound_seconds * SECOND));
        }
        greatest[place] = greatest[place].max(at);
        let key = (rng.u32(..10) > 0).then(|| ["a", "b", "c", "d"][rng.usize(..4)].to_owned());
        let flag = (rng.u32(..10) > 1).then(|| rng.bool());
        let value = (rng.u32(..10) > 1).then(|| rng.i64(-20..20));
        events.push(Event {
            id,
            partition,
            at,
            key,
            flag,
            value,
        });
    }
    events
}
