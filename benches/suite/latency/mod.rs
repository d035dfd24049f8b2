//! How long a message takes from `produce` to a client and to a sink's topic, next to a control.
//!
//! Broker and `headwater serve` run in processes of their own. Each run has one path and, at the same
//! time, a control: librdkafka's consumer of the topic that the messages were produced to.

mod measured;

use measured::Measured;

use crate::Context;
use crate::server::Server;

/// Where the messages of a run come out.
#[derive(Debug, Clone, Copy)]
enum Path {
    /// In a live query's client.
    Client,
    /// In a sink's topic, with this delivery and checkpoint interval.
    Sink(&'static str, &'static str),
}

/// One line of the section.
#[derive(Debug, Clone, Copy)]
struct Run {
    path: Path,
    rate: u64,
    /// Queries on the topic, the measured one among them.
    queries: usize,
}

const LEAST_ONCE: Path = Path::Sink("at least once", "1 second");
const EXACTLY_ONCE: Path = Path::Sink("exactly once", "50 ms");

const RUNS: [Run; 9] = [
    run_of(Path::Client, 1_000, 1),
    run_of(Path::Client, 10_000, 1),
    run_of(Path::Client, 50_000, 1),
    run_of(Path::Client, 1_000, 100),
    run_of(LEAST_ONCE, 1_000, 1),
    run_of(LEAST_ONCE, 10_000, 1),
    run_of(LEAST_ONCE, 50_000, 1),
    run_of(LEAST_ONCE, 1_000, 100),
    run_of(EXACTLY_ONCE, 1_000, 1),
];

const fn run_of(path: Path, rate: u64, queries: usize) -> Run {
    Run {
        path,
        rate,
        queries,
    }
}

impl Path {
    fn name(self) -> String {
        match self {
            Self::Client => "client".to_owned(),
            Self::Sink(delivery, interval) => format!("sink, {delivery}, {interval}"),
        }
    }
}

/// Measures and prints the section: of each run the round with the least p99.
pub(crate) fn run(context: &Context) {
    println!();
    println!(
        "produce to .., milliseconds: what the query adds is the difference of two percentiles"
    );
    println!(
        "{:<30}{:>7}{:>8} {:>24} {:>24} {:>24}{:>7}",
        "path", "rows/s", "queries", "p50/p99/p99.9", "control", "difference", "cores"
    );
    let wanted = RUNS
        .iter()
        .filter(|run| context.arguments.wants(&run.path.name()));
    let server = context.runtime.block_on(Server::start(&context.servers));
    for run in wanted {
        let rounds = (0..context.arguments.rounds).map(|_| {
            let measured = measured::measure(context, &server, *run);
            context.runtime.block_on(measured)
        });
        let rounds: Result<Vec<Measured>, String> = rounds.collect();
        let name = run.path.name();
        print!("{name:<30}{:>7}{:>8}", run.rate, run.queries);
        match rounds {
            Err(error) => println!("  failed: {error}"),
            Ok(rounds) => {
                let best = rounds
                    .into_iter()
                    .min_by(|a, b| a.path[1].total_cmp(&b.path[1]));
                print_percentiles(&best.unwrap());
            }
        }
    }
}

fn print_percentiles(measured: &Measured) {
    let Measured {
        path,
        control,
        cores,
    } = measured;
    let difference = [0, 1, 2].map(|place| path[place] - control[place]);
    for [p50, p99, p999] in [*path, *control, difference] {
        let text = format!("{p50:.2}/{p99:.2}/{p999:.2}");
        print!(" {text:>24}");
    }
    println!("{cores:>7.2}");
}
