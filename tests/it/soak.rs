//! The server dies at random moments while rows come, and each result is there once.
//!
//! `SOAK_KILLS=n` says how often (12 unless said otherwise), `SEED=n` when; `TEST_BINARY=target/release/headwater` lets a
//! release build die. With a real Kafka in `KAFKA_BOOTSTRAP` that one is used; the embedded broker dies now and then too.
//! What must be in the sinks' topics is computed here, from the messages that are in the input topic at the end.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use crate::support::broker::{Broker, real_kafka};
use crate::support::messages::{Cluster, Record};
use crate::support::server::Server;
use crate::support::wait;

const KILLS_DEFAULT: u64 = 12;
const PARTITIONS: i32 = 3;
/// Rows of one write; writes follow each other every [`WRITE_EVERY`].
const WRITE_ROWS: i64 = 40;
const WRITE_EVERY: Duration = Duration::from_millis(20);
/// How long a server lives.
const LIFE_MS: Range<u64> = 100..2_000;
/// One death in so many is the embedded broker's.
const BROKER_DIES_EVERY: u64 = 4;
/// Event time begins here; a row is a millisecond later than the one before.
const START_MICROS: i64 = 1_767_225_600_000_000;
const KEYS: i64 = 7;

/// Where a soak takes place.
struct Stage {
    broker: Option<Broker>,
    cluster: Cluster,
    server: Server,
    label: String,
}

impl Stage {
    async fn new() -> Self {
        let broker = real_kafka().is_none().then(Broker::start);
        let bootstrap = broker.as_ref().map(Broker::bootstrap);
        let bootstrap = bootstrap.or_else(real_kafka).expect("there is a broker");
        let cluster = Cluster::at(bootstrap.clone());
        let label = uuid::Uuid::new_v4().simple().to_string();
        cluster
            .create_topic(&format!("numbers_{label}"), PARTITIONS)
            .await;
        Self {
            server: Server::start(&bootstrap),
            broker,
            cluster,
            label,
        }
    }

    async fn define(&mut self) {
        let client = self.server.connect().await;
        let label = &self.label;
        client
            .run(&format!(
                "CREATE TABLE numbers (n bigint, k bigint, at timestamp, \
                 WATERMARK FOR at AS at - INTERVAL '1 second') WITH (connector = 'kafka', \
                 topic = 'numbers_{label}', idle_timeout = 'off')"
            ))
            .await;
        for (name, query) in [
            (
                "tens",
                "SELECT n FROM numbers WHERE n % 10 = 0 EMIT CHANGES",
            ),
            (
                "seconds",
                "SELECT extract(epoch FROM window_start) AS second, k, count(*) AS c, sum(n) AS s \
                 FROM TUMBLE(numbers, at, INTERVAL '1 second') GROUP BY window_start, k EMIT FINAL",
            ),
            (
                "hops",
                "SELECT extract(epoch FROM window_start) AS second, k, count(*) AS c, sum(n) AS s \
                 FROM HOP(numbers, at, INTERVAL '1 second', INTERVAL '3 seconds') \
                 GROUP BY window_start, k EMIT FINAL",
            ),
        ] {
            client
                .run(&format!(
                    "CREATE SINK {name} WITH (connector = 'kafka', topic = '{name}_{label}', \
                     checkpoint_interval = '200 ms') AS {query}"
                ))
                .await;
        }
    }

    /// Lets processes die until it is enough.
    fn kill(&mut self, kills: u64, random: &mut fastrand::Rng) {
        for _ in 0..kills {
            wait::pause(Duration::from_millis(random.u64(LIFE_MS)));
            match &mut self.broker {
                Some(broker) if random.u64(0..BROKER_DIES_EVERY) == 0 => {
                    broker.kill();
                    broker.start_again();
                }
                _ => self.server.crash_and_start_again(),
            }
        }
    }

    /// The rows of a topic, each with how often it is there.
    fn rows(&self, topic: &str, columns: &[&str]) -> BTreeMap<Vec<i64>, u64> {
        let records = self.cluster.read(&format!("{topic}_{}", self.label));
        let mut rows = BTreeMap::new();
        for record in records {
            let value: serde_json::Value =
                serde_json::from_str(&record.text()).expect("a message is JSON");
            let number = |column: &&str| {
                let number = value[column].as_f64().expect("a number");
                #[expect(clippy::cast_possible_truncation, reason = "all are whole and small")]
                let whole = number as i64;
                whole
            };
            *rows
                .entry(columns.iter().map(number).collect())
                .or_insert(0) += 1;
        }
        rows
    }
}

/// Writes rows until it is told to stop.
fn write(cluster: &Cluster, topic: &str, stop: &AtomicBool) {
    let writer = cluster.writer();
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) {
        let records: Vec<Record> = (n..n + WRITE_ROWS).map(row).collect();
        writer.produce(topic, &records);
        n += WRITE_ROWS;
        wait::pause(WRITE_EVERY);
    }
    let last = START_MICROS + (n + 60_000) * 1_000;
    let closing =
        |partition| Record::of(format!(r#"{{"n":-1,"k":-1,"at":{last}}}"#)).in_partition(partition);
    writer.produce(topic, &(0..PARTITIONS).map(closing).collect::<Vec<_>>());
}

fn row(n: i64) -> Record {
    // Some rows come up to half a second late.
    let at = START_MICROS + (n - n % 5 * 100) * 1_000;
    let partition = i32::try_from(n % i64::from(PARTITIONS)).expect("a small number");
    Record::of(format!(r#"{{"n":{n},"k":{},"at":{at}}}"#, n % KEYS)).in_partition(partition)
}

/// Count and sum by the start of a window and by key, of windows of so many seconds each second.
fn windows(input: &BTreeMap<Vec<i64>, u64>, seconds: i64) -> BTreeMap<Vec<i64>, u64> {
    let mut groups: BTreeMap<(i64, i64), (i64, i64)> = BTreeMap::new();
    for (row, times) in input.iter().filter(|(row, _)| row[0] >= 0) {
        let times = i64::try_from(*times).expect("few");
        let last = row[2].div_euclid(1_000_000);
        for start in last - seconds + 1..=last {
            let (count, sum) = groups.entry((start, row[1])).or_default();
            *count += times;
            *sum += times * row[0];
        }
    }
    let groups = groups.into_iter();
    groups
        .map(|((start, key), (count, sum))| (vec![start, key, count, sum], 1))
        .collect()
}

/// How many rows are missing, and how many are there that should not be, or once too often.
fn compare(found: &BTreeMap<Vec<i64>, u64>, expected: &BTreeMap<Vec<i64>, u64>) -> (u64, u64) {
    let more = |one: &BTreeMap<Vec<i64>, u64>, than: &BTreeMap<Vec<i64>, u64>| {
        let rows = one.iter();
        rows.map(|(row, times)| times.saturating_sub(than.get(row).copied().unwrap_or(0)))
            .sum()
    };
    (more(expected, found), more(found, expected))
}

fn number_of(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is a number")),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deaths_at_random_moments_lose_and_double_nothing() {
    let now = SystemTime::UNIX_EPOCH
        .elapsed()
        .expect("it is later than 1970");
    let seed = number_of("SEED").unwrap_or(now.as_secs());
    let kills = number_of("SOAK_KILLS").unwrap_or(KILLS_DEFAULT);
    let mut stage = Stage::new().await;
    stage.define().await;
    let stop = Arc::new(AtomicBool::new(false));
    let (cluster, label, stops) = (
        stage.cluster.clone(),
        stage.label.clone(),
        Arc::clone(&stop),
    );
    let writing = std::thread::spawn(move || write(&cluster, &format!("numbers_{label}"), &stops));
    stage.kill(kills, &mut fastrand::Rng::with_seed(seed));
    stop.store(true, Ordering::Relaxed);
    writing.join().expect("the writer ends");
    stage.server.connect().await.run("FLUSH").await;

    let input = stage.rows("numbers", &["n", "k", "at"]);
    let rows: u64 = input.values().sum();
    let tens = input.iter().filter(|(row, _)| row[0] % 10 == 0);
    let tens = tens.map(|(row, times)| (vec![row[0]], *times)).collect();
    let columns = ["second", "k", "c", "s"];
    let (mut lost, mut doubled) = compare(&stage.rows("tens", &["n"]), &tens);
    for (topic, seconds) in [("seconds", 1), ("hops", 3)] {
        let found = stage.rows(topic, &columns);
        assert!(!found.is_empty(), "{topic} has no rows");
        let (missing, more) = compare(&found, &windows(&input, seconds));
        (lost, doubled) = (lost + missing, doubled + more);
    }
    eprintln!("soak: seed {seed}, {kills} kills, {rows} rows, {lost} lost, {doubled} doubled");
    assert_eq!((lost, doubled), (0, 0), "seed {seed}");
}
