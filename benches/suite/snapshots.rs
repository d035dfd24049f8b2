//! Queries over trades that read what is there and end.

use crate::Context;
use crate::table::{Case, Work, compare, print};
use crate::trades;

const QUERIES: [(&str, &str); 3] = [
    ("count(*)", "SELECT count(*) FROM trades"),
    (
        "by market",
        "SELECT market, count(*) AS n, sum(volume) AS volume, avg(price) AS mean \
         FROM trades GROUP BY market",
    ),
    ("limit 10", "SELECT * FROM trades LIMIT 10"),
];

/// Measures and prints the section. All rows of the topic count, of `limit 10` too.
pub(crate) fn run(context: &Context) {
    let topic = trades::filled(&context.servers, context.arguments.rows());
    let cases = QUERIES.map(|(name, query)| Case {
        name: name.to_owned(),
        rows: topic.rows,
        work: Work::Snapshot(query.to_owned()),
    });
    let report = compare(context, &topic, &[trades::table(&topic)], &cases);
    print(
        &format!("snapshots over {} trades", topic.rows),
        &report,
        "refused",
    );
}
