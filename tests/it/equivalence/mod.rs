//! Streaming equals batch: the closed windows of a continuous query equal the batch answer over the same rows.
//!
//! Whatever the partitions, the order within the declared lateness, the cuts between micro-batches, and crashes. The
//! batch answer is DataFusion's over the rows in memory, with `date_bin` for the window: none of our code.
//! `SEED=n` runs the cases of another seed; a failure prints the seed of its case.

mod generate;
mod oracle;

use std::collections::BTreeMap;

use generate::{Case, Event, Lateness};

use crate::support::broker::Broker;
use crate::support::client::Client;
use crate::support::messages::Cluster;
use crate::support::server::Server;

const CASES: u64 = 8;
const SEED_DEFAULT: u64 = 1;

/// The seeds of the cases of this run.
fn seeds() -> impl Iterator<Item = u64> {
    let seed = std::env::var("SEED").ok();
    let seed = seed.map_or(SEED_DEFAULT, |seed| seed.parse().expect("SEED is a number"));
    (0..CASES).map(move |case| seed.wrapping_mul(1_000).wrapping_add(case))
}

#[tokio::test]
async fn closed_windows_equal_the_batch_answer() {
    for seed in seeds() {
        let case = Case::generate(seed, Lateness::Within);
        let mut run = Run::start(&case).await;
        let (view, numbers) = run.play(&case).await;
        let expected = oracle::batch(&case, &case.closed_rows()).await;
        assert_eq!(view, expected, "seed {seed}: {case:#?}");
        assert_eq!(numbers, case.numbers(0), "seed {seed}: {case:#?}");
    }
}

#[tokio::test]
async fn with_disorder_beyond_the_bound_the_answer_is_that_of_the_rows_that_were_not_late() {
    for seed in seeds() {
        let case = Case::generate(seed, Lateness::Beyond);
        let mut run = Run::start(&case).await;
        let (view, numbers) = run.play(&case).await;
        let late = case.late_rows();
        let rows: Vec<Event> = case
            .closed_rows()
            .into_iter()
            .filter(|row| !late.contains(&row.id))
            .collect();
        let expected = oracle::batch(&case, &rows).await;
        assert_eq!(view, expected, "seed {seed}: {case:#?}");
        // A row that WHERE leaves out has no window that it could be late for.
        let mut late_rows = case.closed_rows();
        late_rows.retain(|row| late.contains(&row.id));
        let late = oracle::count(&case, &late_rows).await;
        assert_eq!(numbers, case.numbers(late), "seed {seed}: {case:#?}");
    }
}

#[tokio::test]
async fn a_sink_gets_every_closed_window_once() {
    for seed in seeds() {
        let mut case = Case::generate(seed, Lateness::Within);
        case.crashes.clear();
        let mut run = Run::start(&case).await;
        let sink = format!(
            "CREATE SINK out WITH (connector = 'kafka', topic = 'out') AS {}",
            case.query()
        );
        run.client.run(&sink).await;
        let (view, _) = run.play(&case).await;
        let mut written = BTreeMap::new();
        for record in run.cluster.read("out") {
            *written.entry(record.text()).or_insert(0) += 1;
        }
        assert!(
            written.values().all(|times| *times == 1),
            "seed {seed}: twice: {written:?}"
        );
        assert_eq!(
            written.len(),
            view.len(),
            "seed {seed}: {written:?} {view:?}"
        );
    }
}

/// A case under way: its broker, its server and the view that is compared.
struct Run {
    cluster: Cluster,
    server: Server,
    client: Client,
    _broker: Broker,
}

impl Run {
    async fn start(case: &Case) -> Self {
        let broker = Broker::start();
        let cluster = Cluster::at(broker.bootstrap());
        cluster.create_topic("events", case.partitions).await;
        let mut server = Server::start(&broker.bootstrap());
        let client = server.connect().await;
        client.run(&case.create_table()).await;
        client
            .run(&format!(
                "CREATE MATERIALIZED VIEW answer AS {}",
                case.query()
            ))
            .await;
        Self {
            cluster,
            server,
            client,
            _broker: broker,
        }
    }

    /// Produces the case's messages in its cuts, with its crashes, and reads the view and the counts.
    async fn play(&mut self, case: &Case) -> (Vec<String>, [u64; 4]) {
        for (cut, records) in case.cuts().into_iter().enumerate() {
            self.cluster.produce("events", &records);
            if case.crashes.contains(&cut) {
                self.server.crash_and_start_again();
                self.client = self.server.connect().await;
            } else if case.flushes.contains(&cut) {
                self.client.run("FLUSH").await;
            }
        }
        self.client.run("FLUSH").await;
        let rows = self.client.rows("SELECT * FROM answer").await;
        let cell = |value: Option<String>| value.unwrap_or_else(|| "NULL".to_owned());
        let line =
            |row: Vec<Option<String>>| row.into_iter().map(cell).collect::<Vec<_>>().join("|");
        let mut lines: Vec<String> = rows.into_iter().map(line).collect();
        lines.sort();
        (lines, self.numbers().await)
    }

    /// Rows in, used, rejected, late.
    async fn numbers(&self) -> [u64; 4] {
        let sql = "SELECT rows_in, rows_used, rows_rejected, rows_late FROM headwater.queries WHERE name = 'answer'";
        let rows = self.client.rows(sql).await;
        let numbers = rows[0]
            .iter()
            .map(|value| value.as_deref().and_then(|text| text.parse().ok()));
        let numbers: Vec<u64> = numbers
            .collect::<Option<_>>()
            .expect("the counts are numbers");
        let numbers: [u64; 4] = numbers.try_into().expect("four of them");
        assert_eq!(
            numbers[0],
            numbers[1] + numbers[2] + numbers[3],
            "rows in = used + rejected + late"
        );
        numbers
    }
}
