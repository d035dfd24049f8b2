//! Headwater's benchmarks: what a row costs, next to the least that it can cost.
//!
//! `cargo bench --bench suite -- [SECTION..] [--rows N] [--rounds N] [--bootstrap HOST:PORT]
//! [--only NAME]`; `--help` lists the sections, and without one all are run. The embedded broker runs
//! in a process of its own, unless a cluster is given; so does `headwater serve` where a section is
//! about a server. Elsewhere queries run in this process, results are dropped, and "cpu" is this
//! process's, all threads included. Each round measures the references again: the *walk*, which
//! fetches every record and steps over it, and the *bare drain*, librdkafka's batch call and nothing
//! else. The best round of each number counts, of memory the greatest.

#![expect(clippy::print_stdout, reason = "the figures are its output")]
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark ends when something is wrong"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock and waits"
)]
#![expect(
    unsafe_code,
    reason = "the bare drain is the client library's own batch call, processor time the system's"
)]

#[path = "../support/mod.rs"]
mod support;
#[path = "../support/topic.rs"]
mod topics;
#[path = "../support/fill.rs"]
mod fill;
#[path = "../support/live.rs"]
mod live;
#[path = "../support/client.rs"]
mod client;
#[path = "../support/paced.rs"]
mod paced;
#[path = "../support/progress.rs"]
mod progress;
mod arguments;
mod meter;
mod topic;
mod walk;
mod drain;
mod table;
mod together;
mod trades;
mod queries;
mod alerts;
mod nexmark;
mod snapshots;
mod server;
mod latency;
mod idle;
mod state;
mod flat;

use arguments::{Arguments, Section};
use clap::Parser;
use support::Headwater;
use tokio::runtime::Runtime;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What all sections share.
pub(crate) struct Context {
    pub(crate) arguments: Arguments,
    /// Where the cluster is.
    pub(crate) servers: String,
    pub(crate) runtime: Runtime,
}

fn main() {
    let arguments = Arguments::parse();
    let broker = arguments.bootstrap.is_none().then(Headwater::broker);
    let servers = match (&arguments.bootstrap, &broker) {
        (Some(servers), _) => servers.clone(),
        (None, broker) => broker.as_ref().unwrap().address.clone(),
    };
    let context = Context {
        arguments,
        servers,
        runtime: Runtime::new().unwrap(),
    };
    for section in context.arguments.sections() {
        match section {
            Section::Walk => references(&context),
            Section::Queries => queries::run(&context),
            Section::Nexmark => nexmark::run(&context),
            Section::Snapshots => snapshots::run(&context),
            Section::Latency => latency::run(&context),
            Section::Idle => idle::run(&context),
            Section::State => state::run(&context),
            Section::Flat => flat::run(&context),
        }
    }
}

/// The references alone.
fn references(context: &Context) {
    let topic = trades::filled(&context.servers, context.arguments.rows());
    let report = table::compare(context, &topic, &[], &[]);
    let title = format!("references over {} trades", topic.rows);
    table::print(&title, &report, "failed");
}
