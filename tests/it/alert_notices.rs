//! What CREATE ALERT says of an alert that can run and is hardly meant so.

use crate::support::broker::Broker;
use crate::support::messages::Cluster;
use crate::support::server::Server;

#[tokio::test]
async fn what_is_hardly_meant_is_said_when_an_alert_is_created() {
    let broker = Broker::start();
    let cluster = Cluster::at(broker.bootstrap());
    cluster.create_topic("trades", 1).await;
    let mut server = Server::start(&broker.bootstrap());
    let client = server.connect().await;
    client
        .run("CREATE TABLE trades (symbol text, price bigint) WITH (topic = 'trades')")
        .await;
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
