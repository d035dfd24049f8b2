//! Whether a row of a long topic costs the same at its end as at its beginning.

use crate::Context;
use crate::live;
use crate::meter::{cpu_time, measure};
use crate::progress::Progress;
use crate::table::{compare, print, wait};
use crate::topic::Topic;
use crate::trades;

const ROWS: u64 = 20_000_000;
const MILLION: u64 = 1_000_000;
/// Fewer rows are a few micro-batches, which tell nothing.
const PART_MIN: u64 = 100_000;
const QUERY: &str = "SELECT window_start, market, count(*) AS n, sum(volume) AS volume, \
                     avg(price) AS mean, min(price) AS low, max(price) AS high \
                     FROM TUMBLE(trades, \"timestamp\", INTERVAL '1 minute') \
                     GROUP BY window_start, window_end, market EMIT FINAL";

/// Measures and prints the section: a million rows at the beginning, after it and at the end, or a
/// tenth of the rows if there are less than ten million.
pub(crate) fn run(context: &Context) {
    let rows = context.arguments.rows_or(ROWS);
    let topic = trades::filled(&context.servers, rows);
    let part = MILLION.min(rows / 10);
    let report = compare(context, &topic, &[], &[]);
    print(
        &format!("tumble by market over {rows} trades"),
        &report,
        "failed",
    );
    if part < PART_MIN {
        return println!("too few rows to tell one part from the other");
    }
    println!("cpu ns a row of {part} rows");
    for round in 1..=context.arguments.rounds {
        match parts(context, &topic, part) {
            Err(error) => println!("round {round}: failed: {error}"),
            Ok(([first, second, last], peak_mib)) => println!(
                "round {round}: first {first:.0}, second {second:.0}, last {last:.0}; \
                 last to first {:.2}, last to second {:.2}; peak {peak_mib:.0} MiB",
                last / first,
                last / second
            ),
        }
    }
}

/// What a row costs in the first part, the second and the last, and the memory held at most.
fn parts(context: &Context, topic: &Topic, part: u64) -> Result<([f64; 3], f64), String> {
    let mut progress = Progress::default();
    let before = cpu_time();
    let figure = measure(topic.rows, || {
        wait(context, async {
            let session = live::session(&[trades::table(topic)]).await?;
            let queries = [QUERY.to_owned()];
            let note = |status: &headwater::engine::QueryStatus| {
                progress.note(status.rows_in, cpu_time() - before);
            };
            live::run(&session, &queries, topic.rows, note).await
        })
    })?;
    let rows = topic.rows;
    let costs = [(0, part), (part, 2 * part), (rows - part, rows)].map(|(from, to)| {
        let (rows, spent) = progress.between(from, to);
        spent.as_nanos() as f64 / rows as f64
    });
    Ok((costs, figure.peak_mib))
}
