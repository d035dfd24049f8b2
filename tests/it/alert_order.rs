//! A key's rows in several partitions: an alert takes them in the order of their times, whichever partition was read
//! first, and a backtest tells the same each time.

use crate::support::broker::Broker;
use crate::support::client::Client;
use crate::support::messages::{Cluster, Record};
use crate::support::server::Server;

const TRADES: &str = "CREATE TABLE trades (symbol text, price bigint, at timestamp, WATERMARK FOR at AS at) \
    WITH (connector = 'kafka', topic = 'trades', format = 'json')";
const HIGH: &str = "CREATE ALERT high ON (SELECT symbol, price FROM trades) KEY (symbol) \
    WHEN price > 950 FOR '3 milliseconds' CLEAR WHEN price < 500";
const SYMBOLS: [&str; 3] = ["BTC", "ETH", "DOGE"];
const TRADES_IN_ALL: i64 = 60_000;

/// The n-th trade, a millisecond after the one before it: symbol and price.
fn trade(n: i64) -> (&'static str, i64) {
    let symbol = SYMBOLS[usize::try_from(n % 3).expect("a small number")];
    // Up and down, and each time a little otherwise.
    let wave = (n / 7) % 400;
    (symbol, 5 * (wave - 200).abs() + (n * 7_919) % 31)
}

/// Partitions of very different sizes.
fn partition(n: i64) -> i32 {
    match n * 7_907 % 16 {
        0..=9 => 0,
        10..=13 => 1,
        14 => 2,
        _ => 3,
    }
}

fn time(n: i64) -> String {
    let (second, milli) = (n / 1_000, n % 1_000);
    format!(
        "2026-01-01 00:{:02}:{:02}.{milli:03}",
        second / 60,
        second % 60
    )
}

fn records() -> Vec<Record> {
    let record = |n: i64| {
        let (symbol, price) = trade(n);
        let at = time(n).replace(' ', "T");
        let text = format!(r#"{{"symbol":"{symbol}","price":{price},"at":"{at}"}}"#);
        Record::of(text).in_partition(partition(n))
    };
    (0..TRADES_IN_ALL).map(record).collect()
}

/// The transitions of all symbols as one loop over the trades tells them: symbol, state, time.
fn expected() -> Vec<[String; 3]> {
    let mut told = Vec::new();
    for symbol in SYMBOLS {
        let (mut since, mut fires) = (None::<i64>, false);
        for n in 0..TRADES_IN_ALL {
            if !fires && since.is_some_and(|since| n >= since + 3) {
                fires = true;
                told.push([symbol.to_owned(), "firing".to_owned(), time(n)]);
            }
            let (own, price) = trade(n);
            if own != symbol {
                continue;
            }
            if fires && price < 500 {
                (fires, since) = (false, None);
                told.push([symbol.to_owned(), "resolved".to_owned(), time(n)]);
            } else if !fires {
                since = (price > 950).then_some(since.unwrap_or(n));
            }
        }
    }
    assert!(told.len() > 100, "there is something to tell");
    told.sort();
    told
}

async fn told(client: &Client, from: &str) -> Vec<[String; 3]> {
    let columns = "key->>'symbol', state, to_char(event_time, '%Y-%m-%d %H:%M:%S.%3f')";
    let rows = client.rows(&format!("SELECT {columns} FROM {from}")).await;
    let text = |value: Option<String>| value.unwrap_or_default();
    let rows = rows.into_iter().map(|row| {
        let [symbol, state, at]: [Option<String>; 3] = row.try_into().expect("three columns");
        [text(symbol), text(state), text(at)]
    });
    let mut rows: Vec<[String; 3]> = rows.collect();
    rows.sort();
    rows
}

async fn set_up() -> (Broker, Server, Client) {
    let broker = Broker::start();
    let cluster = Cluster::at(broker.bootstrap());
    cluster.create_topic("trades", 4).await;
    cluster.produce("trades", &records());
    let mut server = Server::start(&broker.bootstrap());
    let client = server.connect().await;
    client.run(TRADES).await;
    (broker, server, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_catches_up_tells_what_a_loop_over_all_rows_tells() {
    let (_broker, mut server, client) = set_up().await;
    client.run(HIGH).await;
    server.crash_and_start_again();
    let client = server.connect().await;
    client.run("FLUSH").await;
    assert_eq!(told(&client, "headwater.alert_events").await, expected());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backtest_over_several_partitions_tells_the_same_each_time() {
    let (_broker, _server, client) = set_up().await;
    let backtest = |text: &str| format!("BACKTEST ({text})");
    let rows = client.rows(&backtest(HIGH)).await;
    assert_eq!(rows, client.rows(&backtest(HIGH)).await);
    let symbol = |key: &str| {
        let key: serde_json::Value = serde_json::from_str(key).expect("a key is JSON");
        key["symbol"].as_str().expect("a symbol").to_owned()
    };
    let cell = |cell: &Option<String>| cell.clone().unwrap_or_default();
    let mut found: Vec<[String; 3]> = rows
        .iter()
        .map(|row| {
            let at = cell(&row[9]);
            let at = at.trim_end_matches("+00");
            // PostgreSQL leaves zeros at the end out.
            let (second, milli) = at.split_once('.').unwrap_or((at, ""));
            [
                symbol(&cell(&row[4])),
                cell(&row[2]),
                format!("{second}.{milli:0<3}"),
            ]
        })
        .collect();
    found.sort();
    assert_eq!(found, expected());
    let jumpy = "CREATE ALERT jumpy ON (SELECT symbol, window_start, window_end, avg(price) AS mean \
        FROM HOP(trades, at, INTERVAL '100 milliseconds', INTERVAL '400 milliseconds') \
        GROUP BY symbol, window_start, window_end) KEY (symbol) WHEN mean > 800";
    let first = client.rows(&backtest(jumpy)).await;
    assert!(first.len() > 10, "there is something to tell: {first:?}");
    for row in &first {
        let (start, at) = (cell(&row[7]), cell(&row[9]));
        assert!(start <= at, "an event at {at} in a window from {start}");
    }
    for _ in 0..3 {
        assert_eq!(client.rows(&backtest(jumpy)).await, first);
    }
}
