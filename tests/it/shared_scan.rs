//! Queries that read one topic together: each gets what it would get alone, whoever comes, goes, stops or is slow.
//!
//! Invariant: a view's rows are those of the same SELECT over the same topic.

use crate::support::broker::Broker;
use crate::support::client::Client;
use crate::support::messages::{Cluster, Record};
use crate::support::server::Server;
use crate::support::wait;

const TRADES: &str = "CREATE TABLE trades (n bigint, market text, price double, at timestamp, note int, \
    WATERMARK FOR at AS at) WITH (connector = 'kafka', topic = 'trades', format = 'json', idle_timeout = 'off')";

/// Questions that need different columns, and keep rows, groups and windows.
const QUESTIONS: [&str; 7] = [
    "SELECT n, price FROM trades WHERE market = 'a'",
    "SELECT market, count(*) AS n, sum(price) AS total FROM trades GROUP BY market",
    "SELECT n, price FROM trades WHERE market = 'a' AND price > 70",
    "SELECT n, note FROM trades WHERE note < 40",
    "SELECT count(*) AS n, max(n) AS last FROM trades",
    "SELECT window_start, market, count(*) AS n FROM TUMBLE(trades, at, INTERVAL '1 minute') \
     GROUP BY window_start, market EMIT CHANGES",
    "SELECT window_start, window_end, market, count(*) AS n, sum(n) AS total, max(price) AS high \
     FROM HOP(trades, at, INTERVAL '20 seconds', INTERVAL '1 minute') WHERE market <> 'c' \
     GROUP BY window_start, window_end, market EMIT CHANGES",
];

async fn stage(partitions: i32) -> (Broker, Cluster, Server, Client) {
    let broker = Broker::start();
    let cluster = Cluster::at(broker.bootstrap());
    cluster.create_topic("trades", partitions).await;
    let mut server = Server::start(&broker.bootstrap());
    let client = server.connect().await;
    client.run(TRADES).await;
    (broker, cluster, server, client)
}

/// Trades with the numbers from `first` on, dealt to the partitions; some have a note that is none.
fn trades(first: usize, count: usize, partitions: usize) -> Vec<Record> {
    let trade = |n: usize| {
        let market = ["a", "b", "c"][n % 3];
        // Between them come stretches without a bad one.
        let note = if n % 10 == 7 && (n / 300).is_multiple_of(2) {
            "\"none\"".to_owned()
        } else {
            (n % 90).to_string()
        };
        let (minute, second) = (n / 600 % 60, n / 10 % 60);
        let text = format!(
            r#"{{"n":{n},"market":"{market}","price":{}.5,"at":"2026-01-01T00:{minute:02}:{second:02}","note":{note}}}"#,
            n % 100
        );
        let partition = i32::try_from(n % partitions).expect("few partitions");
        Record::of(text).in_partition(partition)
    };
    (first..first + count).map(trade).collect()
}

async fn sorted(client: &Client, sql: &str) -> Vec<Vec<Option<String>>> {
    let mut rows = client.rows(sql).await;
    rows.sort();
    rows
}

/// Every view holds what its question answers.
async fn check(client: &Client, views: &[(String, usize)]) {
    for (view, question) in views {
        let question = QUESTIONS[*question].trim_end_matches(" EMIT CHANGES");
        let there = sorted(client, &format!("SELECT * FROM {view}")).await;
        assert_eq!(there, sorted(client, question).await, "{view}: {question}");
    }
}

async fn create(client: &Client, view: &str, question: usize) {
    let question = QUESTIONS[question];
    client
        .run(&format!("CREATE MATERIALIZED VIEW {view} AS {question}"))
        .await;
}

/// All queries that run read by one group.
async fn are_together(client: &Client, queries: usize) {
    let ask = "SELECT count(DISTINCT scan_group), min(scan_queries), count(*) FROM headwater.queries \
               WHERE state = 'running'";
    let all = Some(queries.to_string());
    wait::until_async("group of all queries", async || {
        let rows = client.rows(ask).await;
        (rows == [[Some("1".to_owned()), all.clone(), all.clone()]]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn queries_come_together_and_each_gets_its_own_rows() {
    let (_broker, cluster, mut server, client) = stage(3).await;
    let mut views = Vec::new();
    for number in 0..14 {
        cluster.produce("trades", &trades(number * 100, 100, 3));
        let view = format!("v{number}");
        create(&client, &view, number % QUESTIONS.len()).await;
        views.push((view, number % QUESTIONS.len()));
    }
    are_together(&client, 14).await;
    cluster.produce("trades", &trades(1_400, 500, 3));
    client.run("FLUSH").await;
    check(&client, &views).await;
    let alike = "SELECT name, aggregate_queries FROM headwater.queries WHERE name IN ('v1', 'v0') ORDER BY name";
    let alike = client.rows(alike).await;
    let cells =
        [["v0", ""], ["v1", "2"]].map(|row| row.map(|c| (!c.is_empty()).then(|| c.to_owned())));
    assert_eq!(alike, cells, "v1 and v8 have one aggregate, v0 has none");
    let progress = client.rows("EXPLAIN PROGRESS v3").await;
    let said = progress
        .iter()
        .flatten()
        .flatten()
        .any(|line| line.contains("14 queries together"));
    assert!(said, "{progress:?}");
    // A note that is none is no row only for those that read notes.
    let rejected = "SELECT count(DISTINCT name) FROM headwater.queries WHERE rows_rejected > 0";
    assert_eq!(client.value(rejected).await, "2");

    server.crash_and_start_again();
    let client = server.connect().await;
    are_together(&client, 14).await;
    cluster.produce("trades", &trades(1_900, 300, 3));
    client.run("FLUSH").await;
    check(&client, &views).await;
}

#[tokio::test]
async fn queries_that_come_go_and_stop_at_random_get_their_rows() {
    let seed = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or(7);
    let mut dice = fastrand::Rng::with_seed(seed);
    eprintln!("SEED={seed}");
    let (_broker, cluster, mut server, mut client) = stage(2).await;
    let (mut views, mut made, mut produced): (Vec<(String, usize)>, _, _) = (Vec::new(), 0, 0);
    for _ in 0..40 {
        let count = dice.usize(1..400);
        cluster.produce("trades", &trades(produced, count, 2));
        produced += count;
        let some =
            |dice: &mut fastrand::Rng, views: &[(String, usize)]| dice.choice(views).cloned();
        match dice.usize(0..10) {
            0..4 => {
                let (view, question) = (format!("v{made}"), dice.usize(0..QUESTIONS.len()));
                create(&client, &view, question).await;
                views.push((view, question));
                made += 1;
            }
            4..6 => {
                if let Some((view, _)) = some(&mut dice, &views) {
                    client.run(&format!("DROP MATERIALIZED VIEW {view}")).await;
                    views.retain(|(name, _)| *name != view);
                }
            }
            6..8 => {
                if let Some((view, _)) = some(&mut dice, &views) {
                    client.run(&format!("ALTER QUERY {view} PAUSE")).await;
                    cluster.produce("trades", &trades(produced, 50, 2));
                    produced += 50;
                    client.run(&format!("ALTER QUERY {view} RESUME")).await;
                }
            }
            8 if produced >= 20 => {
                client.run("SET live_start = 'earliest'").await;
                let rows = client
                    .rows("SELECT n FROM trades EMIT CHANGES LIMIT 20")
                    .await;
                assert_eq!(rows.len(), 20, "SEED={seed}");
            }
            _ => {
                server.crash_and_start_again();
                client = server.connect().await;
            }
        }
    }
    client.run("FLUSH").await;
    check(&client, &views).await;
    are_together(&client, views.len()).await;
    check(&client, &views).await;
}

#[tokio::test]
async fn who_joins_late_knows_which_partitions_are_idle() {
    let (_broker, cluster, _server, client) = stage(2).await;
    let idle = TRADES
        .replace("TABLE trades", "TABLE quiet")
        .replace("'off'", "'1 second'");
    client.run(&idle).await;
    let minutes = "SELECT window_start, count(*) AS n FROM TUMBLE(quiet, at, INTERVAL '1 minute') GROUP BY window_start";
    let view = |name: &str| format!("CREATE MATERIALIZED VIEW {name} AS {minutes}");
    cluster.produce("trades", &trades(0, 600, 2));
    client.run(&view("first")).await;
    client.run("FLUSH").await;
    client.run(&view("late")).await;
    are_together(&client, 2).await;
    // Only the first partition goes on; the other one must not hold back the end of the minute.
    let alone = trades(1_200, 10, 2)
        .into_iter()
        .map(|trade| trade.in_partition(0));
    cluster.produce("trades", &alone.collect::<Vec<_>>());
    for view in ["first", "late"] {
        wait::until_async("minute that has ended", async || {
            let n = client.rows(&format!("SELECT n FROM {view}")).await;
            (n == [[Some("600".to_owned())]]).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_nobody_back() {
    let (_broker, cluster, mut server, client) = stage(1).await;
    create(&client, "counted", 4).await;
    let sleeper = server.connect().await;
    sleeper.run("SET live_start = 'earliest'").await;
    let stream = sleeper
        .raw()
        .query_raw("SELECT * FROM trades EMIT CHANGES", Vec::<String>::new())
        .await;
    let stream = stream.expect("the query runs");
    are_together(&client, 2).await;
    let (rounds, rows) = (40, 10_000);
    for round in 0..rounds {
        cluster.produce("trades", &trades(round * rows, rows, 1));
    }
    let all = (rounds * rows).to_string();
    wait::until_async("count of all rows", async || {
        let count = client.value("SELECT n FROM counted").await;
        (count == all).then_some(())
    })
    .await;
    drop(stream);
}
