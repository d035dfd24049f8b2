//! The process dies at every place that the code names, one after the other, and no result is lost or doubled.
//!
//! `HEADWATER_CRASH_AT=n` lets the server die at the n-th place that it reaches (`src/crash_point.rs`). Every n is tried
//! until none is left. Each run has a server and topics of its own, and five sinks: a filter, a tumbling and a hopping window,
//! a session, and a changing aggregate whose topic is read by key; and materialized views of two of them. In a real Kafka the
//! tumbling window runs alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::broker::{Broker, real_kafka};
use crate::support::client::{Client, Failure};
use crate::support::messages::{Cluster, Record};
use crate::support::server::Server;

/// More places than this would be a mistake of the test.
const PLACES_MAX: usize = 400;
/// Servers at the same time: most of a run is waiting.
const SIDE_BY_SIDE: usize = 4;
/// Of these pipelines there is a materialized view too: rows that are only added, and rows that change.
const SEEN: [&str; 2] = ["tumbled", "totals"];
const USERS: [&str; 3] = ["ann", "bob", "eve"];

/// One sink: its name, its options and its query over the table `clicks`.
struct Pipeline {
    name: &'static str,
    options: &'static str,
    columns: &'static [&'static str],
    query: &'static str,
    emit: &'static str,
    /// What leaves the rows of windows out that do not close.
    closed: &'static str,
}

const PIPELINES: [Pipeline; 5] = [
    Pipeline {
        name: "filtered",
        options: "",
        columns: &["who", "n"],
        query: "SELECT who, n FROM clicks WHERE n % 3 = 0",
        emit: "CHANGES",
        closed: "",
    },
    Pipeline {
        name: "tumbled",
        options: "",
        columns: &["start", "who", "c", "s", "m", "d"],
        query: "SELECT CAST(window_start AS text) AS start, who, count(*) AS c, sum(n) AS s, max(n) AS m, \
                count(DISTINCT n) AS d FROM TUMBLE(clicks, at, INTERVAL '10 seconds') GROUP BY window_start, who",
        emit: "FINAL",
        closed: "HAVING window_start < TIMESTAMP '2026-01-01 00:05:00'",
    },
    Pipeline {
        name: "hopped",
        options: "",
        columns: &["start", "who", "c", "s"],
        query: "SELECT CAST(window_start AS text) AS start, who, count(*) AS c, sum(n) AS s \
                FROM HOP(clicks, at, INTERVAL '5 seconds', INTERVAL '15 seconds') GROUP BY window_start, who",
        emit: "FINAL",
        closed: "HAVING window_start < TIMESTAMP '2026-01-01 00:05:00'",
    },
    Pipeline {
        name: "sessions",
        options: "",
        columns: &["start", "ends", "who", "c", "s"],
        query: "SELECT CAST(window_start AS text) AS start, CAST(window_end AS text) AS ends, who, \
                count(*) AS c, sum(n) AS s FROM SESSION(clicks PARTITION BY who, at, INTERVAL '4 seconds') \
                GROUP BY window_start, window_end, who",
        emit: "FINAL",
        closed: "HAVING window_start < TIMESTAMP '2026-01-01 00:05:00'",
    },
    Pipeline {
        name: "totals",
        options: ", format = 'upsert', key_columns = 'who'",
        columns: &["who", "c", "s"],
        query: "SELECT who, count(*) AS c, sum(n) AS s FROM clicks GROUP BY who",
        emit: "CHANGES",
        closed: "",
    },
];

/// One run: its topics have names that no other run has.
struct Run<'a> {
    cluster: &'a Cluster,
    pipelines: &'static [Pipeline],
    label: String,
}

impl Run<'_> {
    fn input(&self) -> String {
        format!("clicks_{}", self.label)
    }

    fn output(&self, pipeline: &Pipeline) -> String {
        format!("{}_{}", pipeline.name, self.label)
    }

    fn statements(&self) -> Vec<String> {
        let table = format!(
            "CREATE TABLE IF NOT EXISTS clicks (who text, n bigint, at timestamp, \
             WATERMARK FOR at AS at - INTERVAL '2 seconds') WITH (connector = 'kafka', topic = '{}', \
             format = 'json', idle_timeout = 'off')",
            self.input()
        );
        let sink = |pipeline: &Pipeline| {
            format!(
                "CREATE SINK IF NOT EXISTS {} WITH (connector = 'kafka', topic = '{}', \
                 delivery = 'exactly once', checkpoint_interval = '10 minutes'{}) AS {} EMIT {}",
                pipeline.name,
                self.output(pipeline),
                pipeline.options,
                pipeline.query,
                pipeline.emit
            )
        };
        let view = |pipeline: &Pipeline| {
            format!(
                "CREATE MATERIALIZED VIEW IF NOT EXISTS {}_seen WITH (checkpoint_interval = '10 minutes') AS {} EMIT {}",
                pipeline.name, pipeline.query, pipeline.emit
            )
        };
        let seen = self.pipelines.iter().filter(|p| SEEN.contains(&p.name));
        std::iter::once(table)
            .chain(self.pipelines.iter().map(sink))
            .chain(seen.map(view))
            .collect()
    }

    /// Makes what is not there yet and lets everything go through.
    async fn act(&self, client: &Client) -> Result<(), Failure> {
        for statement in self.statements() {
            client.simple(&statement).await?;
        }
        client.simple("FLUSH").await?;
        Ok(())
    }

    /// A broker takes only so many partitions.
    async fn forget(&self) {
        self.cluster.delete_topic(&self.input()).await;
        for pipeline in self.pipelines {
            self.cluster.delete_topic(&self.output(pipeline)).await;
        }
    }

    /// Compares what is in the topics and in the views with what snapshots answer.
    async fn check(&self, client: &Client, what: &str) {
        for pipeline in self.pipelines {
            let written = self.cluster.read(&self.output(pipeline));
            let written: Vec<Record> = match pipeline.options {
                "" => written,
                _ => newest(written),
            };
            let mut found: Vec<String> = written
                .iter()
                .map(|record| row_of(&record.text(), pipeline.columns))
                .collect();
            found.sort();
            let answer = format!("{} {}", pipeline.query, pipeline.closed);
            let rows = client.rows(&answer).await;
            let mut expected: Vec<String> = rows.into_iter().map(joined).collect();
            expected.sort();
            assert!(
                !expected.is_empty(),
                "{}: nothing is expected",
                pipeline.name
            );
            assert_eq!(found, expected, "{what}: {}", pipeline.name);
            if SEEN.contains(&pipeline.name) {
                let sql = format!("SELECT * FROM {}_seen", pipeline.name);
                let rows = client.rows(&sql).await;
                let mut seen: Vec<String> = rows.into_iter().map(joined).collect();
                seen.sort();
                assert_eq!(seen, expected, "{what}: the view of {}", pipeline.name);
            }
        }
    }
}

/// The last message of each key.
fn newest(records: Vec<Record>) -> Vec<Record> {
    let mut by_key = BTreeMap::new();
    for record in records {
        by_key.insert(record.key.clone(), record);
    }
    by_key.into_values().collect()
}

/// The columns of a message, in their order.
fn row_of(json: &str, columns: &[&str]) -> String {
    let value: serde_json::Value = serde_json::from_str(json).expect("a message is JSON");
    let column = |name: &&str| match &value[name] {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    joined(columns.iter().map(column).collect())
}

fn joined(row: Vec<Option<String>>) -> String {
    let values: Vec<String> = row
        .into_iter()
        .map(|value| value.unwrap_or_else(|| "NULL".to_owned()))
        .collect();
    values.join("|")
}

/// Rows `from..to` of the input: out of order by up to two seconds, with gaps that end sessions.
fn clicks(from: i64, to: i64) -> Vec<Record> {
    (from..to)
        .map(|n| {
            let second = n / 2 + n % 3 + (n / 40) * 7;
            let who = USERS[usize::try_from(n * n % 7 % 3).expect("a small number")];
            let (minute, second) = (second / 60, second % 60);
            let json = format!(
                r#"{{"who":"{who}","n":{n},"at":"2026-01-01T00:{minute:02}:{second:02}"}}"#
            );
            Record::of(json).in_partition(i32::from(n % 2 == 0))
        })
        .collect()
}

/// Rows that close all windows before, one in each partition.
fn closing() -> Vec<Record> {
    let row = |partition| {
        let json = r#"{"who":"end","n":0,"at":"2026-01-01T00:06:00"}"#;
        Record::of(json).in_partition(partition)
    };
    vec![row(0), row(1)]
}

/// Makes what is not there and lets everything go through; starts the server again when it dies of that,
/// which it does only once. Whether it did.
async fn go_through(run: &Run<'_>, server: &mut Server, (nth, died): (usize, bool)) -> bool {
    let address = server.address();
    let act = async || run.act(&Client::connect(address).await?).await;
    let Err(failure) = act().await else {
        return false;
    };
    assert!(!died, "place {nth}: {failure}");
    server.process().wait_for_end();
    server.start_again();
    let acted = act().await;
    acted.unwrap_or_else(|failure| panic!("place {nth}: {failure}"));
    true
}

/// One run in which the server dies at the n-th place; false when there is no such place.
async fn dies_at(place: &Place, nth: usize) -> bool {
    let (cluster, bootstrap) = (&place.cluster, place.bootstrap.as_str());
    let run = Run {
        cluster,
        pipelines: place.pipelines,
        label: uuid::Uuid::new_v4().simple().to_string(),
    };
    cluster.create_topic(&run.input(), 2).await;
    cluster.produce(&run.input(), &clicks(0, 60));
    let mut server = Server::start_to_crash(&["--kafka", bootstrap], nth);
    let mut died = false;
    // Each part ends with an epoch of every query.
    for more in [clicks(60, 150), closing(), Vec::new()] {
        died |= go_through(&run, &mut server, (nth, died)).await;
        cluster.produce(&run.input(), &more);
    }
    if !died {
        // An epoch may still be under way, with the place in it.
        server.crash_and_start_again();
        go_through(&run, &mut server, (nth, true)).await;
    }
    let client = server.connect().await;
    let what = format!("place {nth}, died: {died}");
    run.check(&client, &what).await;
    drop(server);
    run.forget().await;
    died
}

/// Where runs take place, and what runs there.
struct Place {
    cluster: Cluster,
    bootstrap: String,
    pipelines: &'static [Pipeline],
}

/// Tries each n that nobody has tried yet, until there is no such place or a run has failed.
async fn try_places(place: Place, next: Arc<AtomicUsize>) {
    loop {
        let nth = next.fetch_add(1, Ordering::Relaxed);
        assert!(nth <= PLACES_MAX, "more than {PLACES_MAX} places");
        if !Box::pin(dies_at(&place, nth)).await {
            return;
        }
    }
}

/// Tries all places; gives how many there are.
async fn try_all(bootstrap: String, pipelines: &'static [Pipeline]) -> usize {
    let next = Arc::new(AtomicUsize::new(1));
    let runs: Vec<_> = (0..SIDE_BY_SIDE)
        .map(|_| {
            let place = Place {
                cluster: Cluster::at(bootstrap.clone()),
                bootstrap: bootstrap.clone(),
                pipelines,
            };
            tokio::spawn(try_places(place, Arc::clone(&next)))
        })
        .collect();
    for run in runs {
        run.await.expect("a run ends");
    }
    next.load(Ordering::Relaxed) - SIDE_BY_SIDE
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crash_at_any_place_loses_and_doubles_nothing() {
    let broker = Broker::start();
    let tried = try_all(broker.bootstrap(), &PIPELINES).await;
    assert!(tried > 40, "there are only {tried} places");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crash_at_any_place_loses_and_doubles_nothing_in_a_real_kafka() {
    let Some(bootstrap) = real_kafka() else {
        return;
    };
    let tried = try_all(bootstrap, &PIPELINES[1..2]).await;
    assert!(tried > 10, "there are only {tried} places");
}
