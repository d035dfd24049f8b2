//! `REPLAY DEAD LETTERS` after `ALTER TABLE` has mended a table: each message counts once in each query, and a query
//! then has what a snapshot of the topic has, also when the server dies at any place in between.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::broker::Broker;
use crate::support::client::{Client, Failure};
use crate::support::messages::{Cluster, Record};
use crate::support::server::Server;

/// More places than this would be a mistake of the test.
const PLACES_MAX: usize = 300;
const SIDE_BY_SIDE: usize = 4;

const MEND: &str = "ALTER TABLE clicks ALTER COLUMN n TYPE bigint";
const REPLAY: &str = "REPLAY DEAD LETTERS FROM clicks";
const LETTERS: &str = "SELECT \"partition\", message FROM headwater.dead_letters ORDER BY message";

/// Materialized views by name, with their queries and how they emit. One reads nothing that was broken.
const VIEWS: [(&str, &str, &str); 4] = [
    (
        "people",
        "SELECT who, count(*) AS c FROM clicks GROUP BY who",
        "CHANGES",
    ),
    (
        "totals",
        "SELECT who, count(n) AS c, sum(CAST(n AS bigint)) AS s FROM clicks GROUP BY who",
        "CHANGES",
    ),
    (
        "large",
        "SELECT who, CAST(n AS bigint) AS n FROM clicks WHERE n > 7",
        "CHANGES",
    ),
    (
        "minutes",
        "SELECT window_start, count(n) AS c FROM TUMBLE(clicks, at, INTERVAL '1 minute') GROUP BY window_start",
        "FINAL",
    ),
];

struct Stage {
    cluster: Cluster,
    /// No other run has topics of that name.
    label: String,
    server: Server,
}

impl Stage {
    fn topic(&self, name: &str) -> String {
        format!("{name}_{}", self.label)
    }

    async fn new(cluster: Cluster, bootstrap: &str) -> Self {
        let label = uuid::Uuid::new_v4().simple().to_string();
        let server = Server::start(bootstrap);
        let mut stage = Self {
            cluster,
            label,
            server,
        };
        let (clicks, out) = (stage.topic("clicks"), stage.topic("out"));
        stage.cluster.create_topic(&clicks, 2).await;
        stage.cluster.produce(&clicks, &clicks_of(20));
        let client = stage.server.connect().await;
        let table = format!(
            "CREATE TABLE clicks (who text, n int, at timestamp, WATERMARK FOR at AS at) \
             WITH (topic = '{clicks}', idle_timeout = 'off')"
        );
        client.run(&table).await;
        for (name, query, emit) in VIEWS {
            client
                .run(&format!(
                    "CREATE MATERIALIZED VIEW {name} AS {query} EMIT {emit}"
                ))
                .await;
        }
        let sink = format!("CREATE SINK out WITH (topic = '{out}') AS SELECT who, n FROM clicks");
        client.run(&sink).await;
        client.run("FLUSH").await;
        stage
    }

    /// Closes all windows; then the views have what a snapshot has, and the sink's topic too.
    async fn check(&mut self, what: &str) {
        let client = self.server.connect().await;
        let row = r#"{"who":"end","n":1,"at":"2026-01-01T00:10:00"}"#;
        let closing = [0, 1].map(|partition| Record::of(row).in_partition(partition));
        self.cluster.produce(&self.topic("clicks"), &closing);
        client.run("FLUSH").await;
        for (name, query, emit) in VIEWS {
            let found = sorted(&client, &format!("SELECT * FROM {name}")).await;
            let closed = match emit {
                "FINAL" => "HAVING window_start < TIMESTAMP '2026-01-01 00:10:00'",
                _ => "",
            };
            let expected = sorted(&client, &format!("{query} {closed}")).await;
            assert!(!expected.is_empty(), "{name}: nothing is expected");
            assert_eq!(found, expected, "{what}: {name}");
        }
        let mut written: Vec<String> = self
            .cluster
            .read(&self.topic("out"))
            .iter()
            .map(Record::text)
            .collect();
        written.sort();
        let rows = client.rows("SELECT who, n FROM clicks").await.into_iter();
        let mut expected: Vec<String> = rows
            .map(|row| {
                let (who, n) = (row[0].clone().unwrap_or_default(), row[1].clone());
                format!(r#"{{"who":"{who}","n":{}}}"#, n.unwrap_or_default())
            })
            .collect();
        expected.sort();
        assert_eq!(written, expected, "{what}: the sink");
        let unequal = "SELECT count(*) FROM headwater.queries \
            WHERE rows_in <> rows_used + rows_rejected + rows_late";
        assert_eq!(client.value(unequal).await, "0", "{what}");
    }

    async fn forget(self) {
        let topics = ["clicks", "out"].map(|name| self.topic(name));
        drop(self.server);
        for topic in topics {
            self.cluster.delete_topic(&topic).await;
        }
    }
}

/// Rows of both partitions; some have a number that is too large for an int, one in ten is broken for good.
fn clicks_of(count: i64) -> Vec<Record> {
    let click = |n: i64| {
        let who = ["ann", "bob", "eve"][usize::try_from(n % 3).expect("a small number")];
        let number = match n % 10 {
            3 | 6 => format!("{}", 3_000_000_000 + n),
            7 => format!("\"not {n}\""),
            _ => n.to_string(),
        };
        let json = format!(
            r#"{{"who":"{who}","n":{number},"at":"2026-01-01T00:00:{:02}"}}"#,
            n % 50
        );
        Record::of(json).in_partition(i32::from(n % 2 == 0))
    };
    (0..count).map(click).collect()
}

async fn sorted(client: &Client, sql: &str) -> Vec<Vec<Option<String>>> {
    let mut rows = client.rows(sql).await;
    rows.sort();
    rows
}

async fn mend(client: &Client) -> Result<(), Failure> {
    client.simple(MEND).await?;
    client.simple(REPLAY).await?;
    Ok(())
}

/// One run in which the server dies at the n-th place after it is started again; false when there is no such place.
async fn dies_at(cluster: Cluster, bootstrap: &str, nth: usize) -> bool {
    let mut stage = Stage::new(cluster, bootstrap).await;
    let mut died = !stage.server.start_again_to_crash(nth);
    if !died {
        let act = async || mend(&Client::connect(stage.server.address()).await?).await;
        died = act().await.is_err();
    }
    if died {
        stage.server.process().wait_for_end();
        stage.server.start_again();
    } else {
        stage.server.crash_and_start_again();
    }
    let client = stage.server.connect().await;
    let again = mend(&client).await;
    again.unwrap_or_else(|failure| panic!("place {nth}: {failure}"));
    let left = client.rows(LETTERS).await;
    assert_eq!(left.len(), 2, "place {nth}: {left:?}");
    stage.check(&format!("place {nth}, died: {died}")).await;
    stage.forget().await;
    died
}

async fn try_places(cluster: Cluster, bootstrap: String, next: Arc<AtomicUsize>) {
    loop {
        let nth = next.fetch_add(1, Ordering::Relaxed);
        assert!(nth <= PLACES_MAX, "more than {PLACES_MAX} places");
        if !Box::pin(dies_at(cluster.clone(), &bootstrap, nth)).await {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crash_at_any_place_of_a_replay_loses_and_doubles_nothing() {
    let broker = Broker::start();
    let next = Arc::new(AtomicUsize::new(1));
    let runs: Vec<_> = (0..SIDE_BY_SIDE)
        .map(|_| {
            let cluster = Cluster::at(broker.bootstrap());
            tokio::spawn(try_places(cluster, broker.bootstrap(), Arc::clone(&next)))
        })
        .collect();
    for run in runs {
        run.await.expect("a run ends");
    }
    let tried = next.load(Ordering::Relaxed);
    assert!(tried > 15, "there are only {tried} places");
}

#[tokio::test]
async fn a_paused_query_takes_a_replay_when_it_goes_on_and_the_rest_does_not_wait() {
    let broker = Broker::start();
    let mut stage = Stage::new(Cluster::at(broker.bootstrap()), &broker.bootstrap()).await;
    let client = stage.server.connect().await;
    client.run("ALTER QUERY totals PAUSE").await;
    mend(&client).await.expect("it is mended");
    let large = "SELECT count(*) FROM large WHERE n > 2000000000";
    assert_eq!(client.value(large).await, "4");
    let sum = "SELECT sum(s) FROM totals";
    let before = client.value(sum).await;
    stage.server.crash_and_start_again();
    let client = stage.server.connect().await;
    assert_eq!(client.value(sum).await, before);
    assert_eq!(client.rows(LETTERS).await.len(), 6, "they wait for it");
    client.run("ALTER QUERY totals RESUME").await;
    client.run(REPLAY).await;
    assert_ne!(client.value(sum).await, before);
    assert_eq!(client.rows(LETTERS).await.len(), 2);
    stage.check("after the pause").await;
}

#[tokio::test]
async fn what_was_cut_is_read_again_from_the_topic_and_said_if_it_is_gone() {
    let broker = Broker::start();
    let cluster = Cluster::at(broker.bootstrap());
    cluster.create_topic("long", 1).await;
    let mut server = Server::start(&broker.bootstrap());
    let client = server.connect().await;
    client
        .run(
            "CREATE TABLE long (n int, who text, k text METADATA FROM 'key') WITH (topic = 'long')",
        )
        .await;
    client
        .run("CREATE MATERIALIZED VIEW lengths AS SELECT length(who) AS l, k FROM long WHERE n > 0")
        .await;
    let long = |n: i64, length: usize| {
        let json = format!(
            r#"{{"who":"{}","n":{}}}"#,
            "x".repeat(length),
            3_000_000_000 + n
        );
        Record {
            key: Some(format!("k{n}")),
            ..Record::of(json)
        }
    };
    cluster.produce("long", &[long(1, 200_000), long(2, 10)]);
    client.run("FLUSH").await;
    client
        .run("ALTER TABLE long ALTER COLUMN n TYPE bigint")
        .await;
    client.run(REPLAY.replace("clicks", "long").as_str()).await;
    let lengths = client.rows("SELECT l, k FROM lengths ORDER BY l").await;
    let expected = [["10", "k2"], ["200000", "k1"]].map(|row| row.map(|v| Some(v.to_owned())));
    assert_eq!(lengths, expected);
    assert!(client.rows(LETTERS).await.is_empty());

    let broken = Record::of(format!(r#"{{"who":"{}","n":"no"}}"#, "x".repeat(200_000)));
    cluster.produce("long", &[broken]);
    client.run("FLUSH").await;
    cluster.delete_records("long").await;
    client.run(REPLAY.replace("clicks", "long").as_str()).await;
    assert_eq!(client.rows(LETTERS).await.len(), 1, "it stays");
}
