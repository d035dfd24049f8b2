//! Alerts: who listens hears of them at once, time goes on in silence, and no crash tells a transition twice or not at all.
//!
//! `HEADWATER_CRASH_AT=n` lets the server die at the n-th place that it reaches; every n is tried.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::broker::Broker;
use crate::support::client::{Client, Failure};
use crate::support::messages::{Cluster, Record};
use crate::support::server::Server;
use crate::support::wait;

const TRADES: &str = "CREATE TABLE IF NOT EXISTS trades (symbol text, price bigint, at timestamp, \
    WATERMARK FOR at AS at) WITH (connector = 'kafka', topic = 'trades', format = 'json')";
/// More places than this would be a mistake of the test.
const PLACES_MAX: usize = 200;

fn trade(symbol: &str, price: i64, second: i64) -> Record {
    let (minute, second) = (second / 60, second % 60);
    let at = format!("2026-01-01T00:{minute:02}:{second:02}");
    Record::of(format!(
        r#"{{"symbol":"{symbol}","price":{price},"at":"{at}"}}"#
    ))
}

async fn set_up() -> (Broker, Cluster, Server, Client) {
    let broker = Broker::start();
    let cluster = Cluster::at(broker.bootstrap());
    cluster.create_topic("trades", 1).await;
    let mut server = Server::start(&broker.bootstrap());
    let client = server.connect().await;
    client.run(TRADES).await;
    (broker, cluster, server, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_listens_hears_of_the_row_that_crosses_the_line() {
    let (_broker, cluster, _server, client) = set_up().await;
    client
        .run(
            "CREATE ALERT high ON (SELECT symbol, price, at FROM trades) KEY (symbol) WHEN price > 100 \
             MESSAGE '{{ symbol }} at {{ price }}' WITH (checkpoint_interval = '10 minutes')",
        )
        .await;
    client.run("LISTEN alerts").await;
    let prices = [90, 101, 150, 99, 98];
    let records: Vec<Record> = (1..)
        .zip(prices)
        .map(|(at, price)| trade("BTC", price, at))
        .collect();
    cluster.produce("trades", &records);
    // An epoch of ten minutes ends at once when something is told.
    let heard = wait::until_async("notifications", async || {
        let heard = client.heard();
        (heard.len() >= 2).then_some(heard)
    })
    .await;
    let told: Vec<(String, String, i64)> = heard
        .iter()
        .map(|(channel, text)| {
            assert_eq!(channel, "alerts");
            let told: serde_json::Value = serde_json::from_str(text).expect("it is JSON");
            let text = |name: &str| told[name].as_str().expect("a text").to_owned();
            (
                text("state"),
                text("message"),
                told["values"]["price"].as_i64().expect("a price"),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("firing".to_owned(), "BTC at 101".to_owned(), 101),
            (
                "resolved".to_owned(),
                "high resolved: symbol BTC".to_owned(),
                99
            ),
        ]
    );
    let kept = client
        .value("SELECT count(*) FROM headwater.alert_events")
        .await;
    assert_eq!(kept, "2", "what is heard is kept");
    let offsets = client
        .value("SELECT offsets FROM headwater.alert_events LIMIT 1")
        .await;
    assert!(offsets.starts_with(r#"{"trades":{"0":["#), "{offsets}");
    client.run("UNLISTEN *").await;
    cluster.produce("trades", &[trade("BTC", 200, 9)]);
    client.run("FLUSH").await;
    assert_eq!(client.heard().len(), 2, "who listens no more hears nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn for_and_no_data_go_on_with_the_wall_clock_when_the_stream_is_silent() {
    let (_broker, cluster, _server, client) = set_up().await;
    for alert in [
        "lasting ON (SELECT symbol, price, at FROM trades) KEY (symbol) WHEN price > 100 FOR '2 seconds'",
        "gone ON (SELECT symbol, at FROM trades) KEY (symbol) WHEN no data FOR '3 seconds'",
    ] {
        client.run(&format!("CREATE ALERT {alert}")).await;
    }
    cluster.produce("trades", &[trade("BTC", 101, 1)]);
    client.run("FLUSH").await;
    let told = "SELECT alert || ' ' || state FROM headwater.alert_events ORDER BY alert";
    let all = wait::until_async("both to fire", async || {
        let rows = client.rows(told).await;
        (rows.len() == 2).then_some(rows)
    })
    .await;
    let all: Vec<String> = all.into_iter().flatten().flatten().collect();
    assert_eq!(all, ["gone firing", "lasting firing"]);
}

/// Makes what is not there and lets everything go through.
async fn act(server: &Server) -> Result<(), Failure> {
    let client = Client::connect(server.address()).await?;
    for statement in [
        TRADES,
        "CREATE SINK IF NOT EXISTS told WITH (connector = 'kafka', topic = 'told')",
        "CREATE ALERT IF NOT EXISTS high ON (SELECT symbol, price, at FROM trades) KEY (symbol) \
         WHEN price > 100 FOR '2 seconds' CLEAR WHEN price < 50 NOTIFY told",
        "CREATE ALERT IF NOT EXISTS most ON (SELECT symbol, max(price) AS price FROM trades GROUP BY symbol) \
         KEY (symbol) WHEN price > 150",
        "FLUSH",
    ] {
        client.simple(statement).await?;
    }
    Ok(())
}

/// Rows `from..to`: three symbols go up and down.
fn trades(from: i64, to: i64) -> Vec<Record> {
    let row = |n: i64| {
        let symbol = ["BTC", "ETH", "DOGE"][usize::try_from(n % 3).expect("a small number")];
        trade(symbol, (n * 37) % 190, n)
    };
    (from..to).map(row).collect()
}

/// What the alert `high` must tell of each symbol, by a plain loop.
fn expected() -> BTreeMap<String, Vec<(String, i64)>> {
    let mut told: BTreeMap<String, Vec<(String, i64)>> = BTreeMap::new();
    for (first, symbol) in [(0, "BTC"), (1, "ETH"), (2, "DOGE")] {
        let (mut since, mut firing) = (None::<i64>, false);
        for n in 0..116 {
            if since.is_some_and(|since| !firing && n >= since + 2) {
                firing = true;
                let at = since.map_or(n, |since| since + 2);
                told.entry(symbol.to_owned())
                    .or_default()
                    .push(("firing".to_owned(), at));
            }
            if n % 3 != first {
                continue;
            }
            let price = (n * 37) % 190;
            if firing && price < 50 {
                (firing, since) = (false, None);
                told.entry(symbol.to_owned())
                    .or_default()
                    .push(("resolved".to_owned(), n));
            } else if !firing {
                since = (price > 100).then_some(since.unwrap_or(n));
            }
        }
    }
    told
}

/// The ids that the topic has.
fn told(cluster: &Cluster) -> Vec<String> {
    let records = cluster.read("told");
    let id = |record: &Record| {
        let told: serde_json::Value = serde_json::from_str(&record.text()).expect("it is JSON");
        told["id"].as_str().expect("an id").to_owned()
    };
    let told: BTreeSet<String> = records.iter().map(id).collect();
    told.into_iter().collect()
}

/// One run in which the server dies at the n-th place; false when there is no such place.
async fn dies_at(nth: usize) -> bool {
    let broker = Broker::start();
    let cluster = Cluster::at(broker.bootstrap());
    cluster.create_topic("trades", 1).await;
    cluster.produce("trades", &trades(0, 40));
    let bootstrap = broker.bootstrap();
    let mut server = Server::start_to_crash(&["--kafka", &bootstrap], nth);
    let mut died = false;
    for more in [trades(40, 80), trades(80, 116), Vec::new()] {
        if let Err(failure) = act(&server).await {
            assert!(!died, "place {nth}: {failure}");
            died = true;
            server.process().wait_for_end();
            server.start_again();
            let acted = act(&server).await;
            acted.unwrap_or_else(|failure| panic!("place {nth}: {failure}"));
        }
        cluster.produce("trades", &more);
    }
    if !died {
        server.crash_and_start_again();
        let acted = act(&server).await;
        acted.unwrap_or_else(|failure| panic!("place {nth}: {failure}"));
    }
    let client = server.connect().await;
    let rows = client
        .rows(
            "SELECT id, key, state, (extract(epoch FROM event_time) - 1767225600)::bigint, number \
             FROM headwater.alert_events WHERE alert = 'high' ORDER BY key, number",
        )
        .await;
    let mut found: BTreeMap<String, Vec<(String, i64)>> = BTreeMap::new();
    let mut ids = Vec::new();
    for row in rows {
        let row: Vec<String> = row.into_iter().map(Option::unwrap_or_default).collect();
        let key: serde_json::Value = serde_json::from_str(&row[1]).expect("a key is JSON");
        let symbol = key["symbol"].as_str().expect("a symbol").to_owned();
        let own = found.entry(symbol).or_default();
        own.push((row[2].clone(), row[3].parse().expect("a number")));
        assert_eq!(
            row[4],
            own.len().to_string(),
            "place {nth}: none is left out or doubled"
        );
        ids.push(row[0].clone());
    }
    assert_eq!(found, expected(), "place {nth}, died: {died}");
    let most = "SELECT count(*) || ' ' || count(DISTINCT key::text) FROM headwater.alert_events WHERE alert = 'most'";
    let states =
        "SELECT name, state, rows_in, rows_out, last_error, explanation FROM headwater.queries";
    let (found, states) = (client.value(most).await, client.rows(states).await);
    assert_eq!(found, "3 3", "place {nth}, died: {died}: {states:?}");
    // A sink may be told twice, but of nothing else.
    ids.sort();
    let told = wait::until(&format!("{} ids, place {nth}", ids.len()), || {
        let told = told(&cluster);
        (told.len() >= ids.len()).then_some(told)
    });
    assert_eq!(told, ids, "place {nth}, died: {died}");
    died
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_place_keeps_each_transition_once() {
    let mut nth = 1;
    while Box::pin(dies_at(nth)).await {
        nth += 1;
        assert!(nth < PLACES_MAX, "more than {PLACES_MAX} places");
    }
    assert!(nth > 10, "there are only {nth} places");
}
