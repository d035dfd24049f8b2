//! What CREATE ALERT says of an alert that can run and is hardly meant so.

use crate::support::broker::Broker;
use crate::support::client::Client;
use crate::support::messages::{Cluster, Record};
use crate::support::server::Server;

/// A server with a table of trades.
struct World {
    server: Server,
    client: Client,
    cluster: Cluster,
    _broker: Broker,
}

impl World {
    async fn start() -> Self {
        let broker = Broker::start();
        let cluster = Cluster::at(broker.bootstrap());
        cluster.create_topic("trades", 1).await;
        let mut server = Server::start(&broker.bootstrap());
        let client = server.connect().await;
        let table = "CREATE TABLE trades (symbol text, price bigint) WITH (topic = 'trades')";
        client.run(table).await;
        Self {
            server,
            client,
            cluster,
            _broker: broker,
        }
    }
}

#[tokio::test]
async fn what_is_hardly_meant_is_said_when_an_alert_is_created() {
    let world = World::start().await;
    let client = &world.client;
    let cases = [
        (
            "symbol, price",
            "WHEN price > 1 MESSAGE '{{ symbol }} {{ key }}'",
            None,
        ),
        ("symbol, price", "WHEN true", None),
        (
            "symbol, price",
            "WHEN NULL > 1",
            Some("NOTICE: the condition of WHEN is always NULL: the alert never fires"),
        ),
        (
            "symbol, price",
            "WHEN price > 1 CLEAR WHEN 1 > 2",
            Some(
                "NOTICE: the condition of CLEAR WHEN is always false: the alert is never resolved",
            ),
        ),
        (
            "symbol, sum(price) AS price",
            "WHEN 2 > 3",
            Some("NOTICE: the condition of WHEN is always false: the alert never fires"),
        ),
        // Nothing names it.
        (
            "symbol, price AS state",
            "WHEN state > 1 MESSAGE '{{ symbol }}'",
            None,
        ),
        (
            "symbol, price AS state",
            "WHEN state > 1 RESOLVED MESSAGE '{{ state }}'",
            Some("NOTICE: \"state\" in the message is the query's column of that name"),
        ),
    ];
    for (columns, clauses, expected) in cases {
        let group = match columns.contains("sum") {
            true => " GROUP BY symbol",
            false => "",
        };
        let sql = format!(
            "CREATE OR REPLACE ALERT a ON (SELECT {columns} FROM trades{group}) KEY (symbol) {clauses}"
        );
        client.run(&sql).await;
        let notices = client.notices();
        let first = notices.first().and_then(|notice| notice.lines().next());
        assert_eq!(first, expected, "{sql}\n{notices:?}");
        assert!(notices.len() <= 1, "{sql}\n{notices:?}");
    }
}

#[tokio::test]
async fn a_view_that_is_replaced_says_who_goes_on_by_it() {
    let World {
        mut server,
        client,
        cluster,
        _broker,
    } = World::start().await;
    let view = |line: i64| {
        format!("CREATE OR REPLACE VIEW dear AS SELECT symbol FROM trades WHERE price > {line}")
    };
    let alert = "CREATE ALERT seen ON (SELECT symbol FROM dear) KEY (symbol) WHEN symbol > ''";
    for sql in [view(5).as_str(), alert] {
        client.run(sql).await;
    }
    assert_eq!(client.notices(), [] as [&str; 0]);
    client.run(&view(5)).await;
    assert_eq!(client.notices(), [] as [&str; 0], "nothing is new");
    client.run(&view(7)).await;
    let told =
        "NOTICE: alert seen goes on with the new definition from the messages that it has not read";
    assert_eq!(client.notices(), [told]);
    for price in [6, 8] {
        let text = format!(r#"{{"symbol":"BTC{price}","price":{price}}}"#);
        cluster.produce("trades", &[Record::of(text)]);
    }
    client.run("FLUSH").await;
    server.crash_and_start_again();
    let client = server.connect().await;
    client.run("FLUSH").await;
    let symbols = "SELECT string_agg(key->>'symbol', ' ') FROM headwater.alert_events";
    assert_eq!(client.value(symbols).await, "BTC8");
}
