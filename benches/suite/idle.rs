//! What 100 queries cost that have nothing to do, and how soon a server with them is there again.

use std::time::Duration;

use futures::StreamExt;

use crate::Context;
use crate::alerts::{alert, threshold};
use crate::server::{Server, told};
use crate::topic::Topic;
use crate::trades;

const QUERIES: usize = 100;
const ROWS_MAX: u64 = 100_000;
const WATCHED: Duration = Duration::from_secs(20);
/// Epochs and idle timeouts after the last rows have passed by then.
const SETTLED: Duration = Duration::from_secs(15);

/// Measures and prints the section.
pub(crate) fn run(context: &Context) {
    let rows = context.arguments.rows().min(ROWS_MAX);
    let topic = trades::filled(&context.servers, rows);
    println!();
    println!("{QUERIES} idle queries on one topic, in a server of its own");
    let measured = context.runtime.block_on(measure(&topic));
    if let Err(error) = measured {
        println!("failed: {error}");
    }
}

async fn measure(topic: &Topic) -> Result<(), String> {
    let mut server = Server::start(&topic.servers).await;
    server.run(&trades::table(topic)).await?;
    for number in 0..QUERIES {
        // What EMIT CHANGES means is what a view does by itself.
        let text = match number % 2 {
            0 => alert(number),
            _ => threshold(number),
        };
        let text = text.trim_end_matches("EMIT CHANGES");
        let view = format!("CREATE MATERIALIZED VIEW idle_{number} AS {text}");
        server.run(&view).await?;
    }
    server.run("FLUSH").await?;
    tokio::time::sleep(SETTLED).await;
    let before = server.cpu_time();
    tokio::time::sleep(WATCHED).await;
    let share = (server.cpu_time() - before).as_secs_f64() / WATCHED.as_secs_f64();
    println!(
        "{:<46}{:>9.2} %",
        "processor time, of one core",
        share * 100.0
    );
    println!(
        "{:<46}{:>9.0} MiB",
        "resident memory",
        server.resident_mib()
    );
    recovery(&mut server).await
}

async fn recovery(server: &mut Server) -> Result<(), String> {
    let began = server.restart().await;
    let line = |what: &str| {
        let millis = began.elapsed().as_secs_f64() * 1_000.0;
        println!("{what:<46}{millis:>9.0} ms");
    };
    line("killed and started: the server listens");
    server.run("SET live_start = 'earliest'").await?;
    let query = "SELECT market, price FROM trades EMIT CHANGES LIMIT 1";
    let rows = server.client.query_raw::<_, i64, _>(query, []).await;
    let mut rows = std::pin::pin!(rows.map_err(|error| told(&error))?);
    let first = rows.next().await.ok_or("no row came")?;
    first.map_err(|error| told(&error))?;
    line("the first row of a live query is there");
    let running =
        "SELECT count(*) FROM headwater.queries WHERE name LIKE 'idle_%' AND state = 'running'";
    server.reaches(running, QUERIES as i64).await?;
    line("all queries run");
    Ok(())
}
