//! Live queries over trades: filters, projections, windows, and alerts; and the project's bounds.

use crate::Context;
use crate::alerts::{alert, threshold};
use crate::table::{Case, Report, Work, compare, print};
use crate::trades::{self, ROWS_A_SECOND};

const FILTER: &str = "filter 1 %";
const PROJECT: &str = "project";
const TUMBLE: &str = "tumble by market";
const HOP: &str = "hop by market";
const TUMBLE_MANY: &str = "tumble 1 M keys";

const FIVE: &str = "count(*) AS n, sum(volume) AS volume, avg(price) AS mean, min(price) AS low, \
                    max(price) AS high";
/// A window of so many trades, each with a key of its own.
const MANY: u32 = 1_000_000;

/// Measures and prints the section.
pub(crate) fn run(context: &Context) {
    let topic = trades::filled(&context.servers, context.arguments.rows());
    let rows = topic.rows;
    let case = |name: String, work| Case { name, rows, work };
    let mut cases: Vec<Case> = plain()
        .map(|(name, query)| case(name.to_owned(), Work::Live(query)))
        .into();
    cases.extend([1, 10, 100].map(|count| {
        let alerts = (0..count).map(alert).collect();
        case(format!("alerts: {count}"), Work::Together(alerts))
    }));
    cases.extend([1, 10].map(|count| {
        let thresholds = (0..count).map(threshold).collect();
        case(format!("thresholds: {count}"), Work::Together(thresholds))
    }));
    let report = compare(context, &topic, &[trades::table(&topic)], &cases);
    let title = format!("live queries over {} trades", topic.rows);
    print(&title, &report, "refused");
    print_bounds(&report);
}

/// The cases of one query each. Of the trades 1 % are of NEO-EUR, 2 % of NEO-USDT, 9.6 % of BTC-USDT.
fn plain() -> [(&'static str, String); 9] {
    let filter = |market: &str| {
        format!("SELECT exchange, market, price FROM trades WHERE market = '{market}' EMIT CHANGES")
    };
    let windows = |columns: &str, window: &str, key: &str| {
        format!(
            "SELECT window_start, {columns} FROM {window} \
             GROUP BY window_start, window_end, {key} EMIT FINAL"
        )
    };
    let tumble = |length: &str| format!("TUMBLE(trades, \"timestamp\", INTERVAL '{length}')");
    let hop = "HOP(trades, \"timestamp\", INTERVAL '10 seconds', INTERVAL '60 seconds')";
    let session = "SESSION(trades PARTITION BY market, \"timestamp\", INTERVAL '10 seconds')";
    let by_market = format!("market, {FIVE}");
    let many = format!("{} seconds", MANY / ROWS_A_SECOND);
    let changes = format!("SELECT {by_market} FROM trades GROUP BY market EMIT CHANGES");
    let project = "SELECT exchange, market, price * volume AS value FROM trades EMIT CHANGES";
    [
        (FILTER, filter("NEO-EUR")),
        ("filter 2 %", filter("NEO-USDT")),
        ("filter 10 %", filter("BTC-USDT")),
        (PROJECT, project.to_owned()),
        (TUMBLE, windows(&by_market, &tumble("1 minute"), "market")),
        (HOP, windows(&by_market, hop, "market")),
        (
            TUMBLE_MANY,
            windows(
                "id, count(*) AS n, sum(volume) AS volume",
                &tumble(&many),
                "id",
            ),
        ),
        ("session by market", windows(&by_market, session, "market")),
        ("changes by market", changes),
    ]
}

/// What the project asks of itself, next to what was measured.
fn print_bounds(report: &Report) {
    let over = |many: &str, one: &str| {
        let (many, one) = (report.figure(many)?, report.figure(one)?);
        Some(many.cpu_ns / one.cpu_ns)
    };
    let bounds = [
        ("filter 1 %, CPU to the walk", report.walks(FILTER), 4.0),
        ("projection, CPU to the walk", report.walks(PROJECT), 4.0),
        (
            "tumble by market, CPU to the walk",
            report.walks(TUMBLE),
            5.5,
        ),
        ("hop by market, CPU to the walk", report.walks(HOP), 6.5),
        (
            "tumble 1 M keys, CPU to the walk",
            report.walks(TUMBLE_MANY),
            10.0,
        ),
        (
            "100 alerts to one, CPU",
            over("alerts: 100", "alerts: 1"),
            3.0,
        ),
        (
            "10 thresholds to one, CPU",
            over("thresholds: 10", "thresholds: 1"),
            1.3,
        ),
    ];
    let least = [
        (
            "filter 1 %, rows/s to the drain",
            report.drains(FILTER),
            2.0,
        ),
        (
            "projection, rows/s to the drain",
            report.drains(PROJECT),
            2.0,
        ),
    ];
    println!();
    for (name, measured, bound) in bounds {
        let kept = measured.is_some_and(|measured| measured <= bound);
        print_bound(name, measured, (kept, &format!("at most {bound}")));
    }
    for (name, measured, bound) in least {
        let kept = measured.is_some_and(|measured| measured >= bound);
        print_bound(name, measured, (kept, &format!("at least {bound}")));
    }
}

fn print_bound(name: &str, measured: Option<f64>, (kept, bound): (bool, &str)) {
    match measured {
        None => println!("{name:<40}{:>8}  {bound}", "-"),
        Some(measured) => {
            let missed = if kept { "" } else { "  MISSED" };
            println!("{name:<40}{measured:>8.2}  {bound}{missed}");
        }
    }
}
