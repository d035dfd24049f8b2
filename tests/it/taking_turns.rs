//! Statements that change definitions while others do: what runs in the end is what is defined.
//!
//! The server waits at a place of its code, so that the others come in between.

use crate::support::broker::Broker;
use crate::support::client::Client;
use crate::support::messages::{Cluster, Record};
use crate::support::server::Server;

/// A server with a table of trades, and two sessions of it.
struct World {
    one: Client,
    two: Client,
    cluster: Cluster,
    _server: Server,
    _broker: Broker,
}

impl World {
    async fn waiting_at(place: &'static str) -> Self {
        let broker = Broker::start();
        let cluster = Cluster::at(broker.bootstrap());
        cluster.create_topic("trades", 1).await;
        let mut server = Server::start_to_wait(&broker.bootstrap(), place);
        let (one, two) = (server.connect().await, server.connect().await);
        one.run("CREATE TABLE trades (symbol text, price bigint) WITH (topic = 'trades')")
            .await;
        Self {
            one,
            two,
            cluster,
            _server: server,
            _broker: broker,
        }
    }

    /// What the sink `out` brings of trades at these prices.
    async fn out(&self, prices: &[i64]) -> Vec<String> {
        let records = prices
            .iter()
            .map(|price| Record::of(format!(r#"{{"symbol":"BTC","price":{price}}}"#)));
        self.cluster.produce("trades", &records.collect::<Vec<_>>());
        self.one.run("FLUSH").await;
        let rows = self.cluster.read("out").into_iter();
        rows.map(|record| record.text()).collect()
    }
}

fn dear(line: i64) -> String {
    format!("CREATE OR REPLACE VIEW dear AS SELECT price FROM trades WHERE price > {line}")
}

const SINK: &str =
    "CREATE SINK out WITH (topic = 'out', delivery = 'at least once') AS SELECT * FROM dear";

#[tokio::test(flavor = "multi_thread")]
async fn two_that_replace_one_view_leave_one_query_of_each_that_reads_it() {
    let world = World::waiting_at("a query has ended, its successor not started").await;
    for sql in [dear(0).as_str(), SINK] {
        world.one.run(sql).await;
    }
    let (five, seven) = (dear(5), dear(7));
    tokio::join!(world.one.run(&five), world.two.run(&seven));
    let running = "SELECT count(*) FROM headwater.queries WHERE name = 'out'";
    assert_eq!(world.one.value(running).await, "1");
    assert_eq!(world.out(&[4, 8]).await, [r#"{"price":8}"#]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_over_a_view_that_is_replaced_meanwhile_never_reads_the_former_one() {
    let world = World::waiting_at("a definition is planned, not kept").await;
    world.one.run(&dear(5)).await;
    let seven = dear(7);
    let (made, _) = tokio::join!(world.one.simple(SINK), world.two.run(&seven));
    // On a very busy machine the sink may be first after all; the view then takes it along.
    if let Err(refused) = made {
        assert_eq!(refused.state, "55006", "{refused}");
        assert!(
            refused
                .text
                .contains("\"dear\" was changed by others meanwhile"),
            "{refused}"
        );
        world.one.run(SINK).await;
    }
    assert_eq!(world.out(&[6, 8]).await, [r#"{"price":8}"#]);
}
