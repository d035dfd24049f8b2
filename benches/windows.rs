//! What windows cost, as ratios within one run: hops against tumbling, many keys against few, closing, changes.
//!
//! `cargo bench --bench windows -- [ROWS]`: fills topics of the embedded broker, in its own process,
//! with ROWS rows (5,000,000 unless said otherwise; with 10,000,000 "the last tenth" says whether a
//! row costs the same after ten million), 20,000 to a second of event time, then runs each query from
//! its topic's beginning to its end, the best of three rounds. A stall is the longest time from the
//! end of one micro-batch to the end of the next; that of checkpoints is looked for when every key has come.

#![expect(clippy::print_stdout, reason = "the figures are its output")]
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark ends when something is wrong"
)]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

mod support;
#[path = "support/fill.rs"]
mod fill;
#[path = "support/topic.rs"]
mod topic;
#[path = "support/live.rs"]
mod live;
#[path = "support/progress.rs"]
mod progress;

use std::io::Write;
use std::time::{Duration, Instant};

use fill::Place;
use headwater::engine::QueryStatus;
use progress::Progress;
use support::Headwater;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const PARTITIONS: i32 = 2;
const ROUNDS: usize = 3;
const ROWS_A_SECOND: u64 = 20_000;
const START_MICROS: u64 = 1_767_225_600_000_000;
const MILLION: u64 = 1_000_000;
/// When so many rows are read, nearly every one of a million keys has come: tables grow no more.
const ALL_KEYS_THERE: u64 = 3 * MILLION;

/// A topic: its name, and the key of a row.
type Topic = (&'static str, fn(u64) -> u64);

const TOPICS: [Topic; 4] = [
    ("ten", |row| row % 10),
    ("thousands", |row| scattered(row) % 10_000),
    ("million", |row| scattered(row) % MILLION),
    // A million keys once, then ten of them again and again.
    (
        "few_of_million",
        |row| {
            if row < MILLION { row } else { row % 10 }
        },
    ),
];

const COLUMNS: &str = "k, count(*) AS n, sum(v) AS total, max(v) AS most";
const MINUTE: &str = "INTERVAL '1 minute'";
const WINDOWS: &str = "GROUP BY window_start, window_end, k EMIT FINAL";

fn main() {
    let rows = std::env::args().find_map(|argument| argument.parse().ok());
    let rows: u64 = rows.unwrap_or(5 * MILLION);
    assert!(
        rows > ALL_KEYS_THERE,
        "a million keys need more than three million rows"
    );
    let broker = Headwater::broker();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for topic in &TOPICS {
        runtime.block_on(topic::create_topic(&broker.address, topic.0, PARTITIONS));
        fill(&broker.address, topic, rows);
    }
    println!("{rows} rows, best of {ROUNDS} rounds");
    let best = |topic: &str, query: &str| -> Run {
        let runs = (0..ROUNDS).map(|_| runtime.block_on(run(&broker.address, topic, query, rows)));
        let run = runs.min_by_key(Run::whole).unwrap();
        println!(
            "{:>12.0} rows/s, longest stall {:>6.1} ms: {query}",
            rows as f64 / run.whole().as_secs_f64(),
            run.stall(0).as_secs_f64() * 1_000.0
        );
        run
    };
    let windowed = |topic: &str, window: &str, lengths: &str| {
        let from = format!("{window}({topic}, at, {lengths})");
        best(
            topic,
            &format!("SELECT window_start, {COLUMNS} FROM {from} {WINDOWS}"),
        )
    };
    let changes = |topic: &str| {
        best(
            topic,
            &format!("SELECT {COLUMNS} FROM {topic} GROUP BY k EMIT CHANGES"),
        )
    };
    tell(&Runs {
        rows,
        tumble: windowed("ten", "TUMBLE", MINUTE),
        hop: windowed("ten", "HOP", &format!("INTERVAL '10 seconds', {MINUTE}")),
        tumble_thousands: windowed("thousands", "TUMBLE", MINUTE),
        hop_thousands: windowed(
            "thousands",
            "HOP",
            &format!("INTERVAL '1 second', {MINUTE}"),
        ),
        tumble_million: windowed("million", "TUMBLE", MINUTE),
        view_million: best("million", &view_of("million", "300 ms")),
        view_without: best("million", &view_of("million", "10 minutes")),
        view_ten: best("ten", &view_of("ten", "300 ms")),
        sessions: best(
            "million",
            "SELECT k, count(*) AS n FROM SESSION(million PARTITION BY k, at, INTERVAL '1 hour') \
             GROUP BY window_start, window_end, k EMIT FINAL",
        ),
        changes_ten: changes("ten"),
        changes_few: changes("few_of_million"),
    });
}

/// The runs that are compared.
struct Runs {
    rows: u64,
    tumble: Run,
    hop: Run,
    tumble_thousands: Run,
    hop_thousands: Run,
    tumble_million: Run,
    view_million: Run,
    view_without: Run,
    view_ten: Run,
    sessions: Run,
    changes_ten: Run,
    changes_few: Run,
}

fn tell(runs: &Runs) {
    let ratio = |name: &str, wanted: &str, value: f64| println!("{name:<50}{value:>8.2}  {wanted}");
    let (tumble, rows) = (&runs.tumble, runs.rows);
    println!();
    ratio(
        "hop 60 s/10 s to tumble, rows a second",
        "at least 0.6",
        tumble.over(&runs.hop),
    );
    let thousands = runs.hop_thousands.over(&runs.tumble_thousands);
    ratio(
        "hop 60 s/1 s to tumble, 10,000 keys, time",
        "at most 1.5",
        thousands,
    );
    let million = tumble.over(&runs.tumble_million);
    ratio(
        "1,000,000 keys to ten, rows a second",
        "at least 0.3",
        million,
    );
    let stall = runs.tumble_million.stall(0).as_secs_f64() * 1_000.0;
    ratio("a window of 1,000,000 keys closes, ms", "at most 50", stall);
    for (name, run) in [
        (
            "checkpoints of 1,000,000 keys, longest stall, ms",
            &runs.view_million,
        ),
        ("without a checkpoint, the same", &runs.view_without),
        ("checkpoints of ten keys, the same", &runs.view_ten),
    ] {
        let stall = run.stall(ALL_KEYS_THERE).as_secs_f64() * 1_000.0;
        ratio(name, "", stall);
    }
    let pause = runs.view_million.pause.as_secs_f64() * 1_000.0;
    ratio(
        "the most a checkpoint of 1,000,000 keys kept it, ms",
        "at most 5",
        pause,
    );
    let (groups, bytes) = runs.sessions.held;
    ratio(
        "bytes an open session of a million, its count among them",
        "about 100",
        bytes as f64 / groups as f64,
    );
    let few = runs.changes_few.between(MILLION, rows).as_secs_f64();
    let ten = runs.changes_ten.between(MILLION, rows).as_secs_f64();
    ratio(
        "changes of ten keys of 1,000,000 to ten of ten",
        "about 1",
        few / ten,
    );
    let last = tumble.between(rows / 10 * 9, rows).as_secs_f64();
    let second = tumble.between(rows / 10, rows / 10 * 2).as_secs_f64();
    ratio(
        "the last tenth of the rows to the second, time",
        "about 1",
        last / second,
    );
}

/// The same number for the same row, with no order in it.
fn scattered(row: u64) -> u64 {
    row.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20
}

/// A view whose window does not close, and which takes down what has changed of it so often.
fn view_of(topic: &str, interval: &str) -> String {
    format!(
        "CREATE MATERIALIZED VIEW held WITH (checkpoint_interval = '{interval}') AS \
         SELECT window_start, {COLUMNS} FROM TUMBLE({topic}, at, INTERVAL '1 day') {WINDOWS}"
    )
}

/// What was seen of one run.
struct Run {
    /// How many rows had been read at which time.
    progress: Progress,
    /// Groups held when last measured, and their bytes.
    held: (u64, u64),
    /// The longest that the end of an epoch kept the query's thread.
    pause: Duration,
}

impl Run {
    fn whole(&self) -> Duration {
        self.progress.points.last().unwrap().1
    }

    /// How many times as long it took.
    fn over(&self, other: &Self) -> f64 {
        self.whole().as_secs_f64() / other.whole().as_secs_f64()
    }

    /// The time between two numbers of rows.
    fn between(&self, from: u64, to: u64) -> Duration {
        self.progress.between(from, to).1
    }

    /// The longest time between two micro-batches once more than so many rows have come.
    fn stall(&self, after: u64) -> Duration {
        let points = self.progress.points.iter();
        let ends = points.filter(|(read, _)| *read > after);
        let ends: Vec<Duration> = ends.map(|(_, at)| *at).collect();
        let gaps = ends.windows(2).map(|pair| pair[1] - pair[0]);
        gaps.max().unwrap_or_default()
    }
}

fn fill(servers: &str, (topic, key): &Topic, rows: u64) {
    fill::fill(servers, rows, |row, payload| {
        let at = START_MICROS + row * MILLION / ROWS_A_SECOND;
        let (key, value) = (key(row), row % 1_000);
        write!(payload, r#"{{"k":{key},"v":{value},"at":{at}}}"#).unwrap();
        Place {
            topic,
            partition: i32::try_from(row % 2).ok(),
            ..Place::default()
        }
    });
}

/// Runs a live query from the topic's beginning until it has read every message.
async fn run(servers: &str, topic: &str, query: &str, rows: u64) -> Run {
    let table = format!(
        "CREATE TABLE {topic} (k bigint, v bigint, at timestamp, WATERMARK FOR at AS at) \
         WITH (connector = 'kafka', topic = '{topic}', bootstrap_servers = '{servers}', idle_timeout = 'off')"
    );
    let session = live::session(&[table]).await.unwrap();
    let mut progress = Progress::default();
    let (mut held, mut pause) = ((0, 0), Duration::ZERO);
    let began = Instant::now();
    let seen = |status: &QueryStatus| {
        progress.note(status.rows_in, began.elapsed());
        held = (status.state_rows, status.state_bytes);
        pause = status.checkpoint_pause_max;
    };
    let done = live::run(&session, &[query.to_owned()], rows, seen).await;
    done.unwrap();
    Run {
        progress,
        held,
        pause,
    }
}
