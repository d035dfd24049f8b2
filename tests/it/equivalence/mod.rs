//! Streaming equals batch: what a continuous query answers equals the batch answer over the same rows.
//!
//! Whatever the window and its spelling, the partitions, the order within the declared lateness, the cuts between
//! micro-batches, and crashes. The batch answer is DataFusion's over rows in memory that have their windows by the plain
//! arithmetic of `windows.rs`: none of our code. The cases in `kept/` failed once and are run first.
//! `SEED=n` runs the cases of another seed, `CASES=n` so many, `FEATURES=` see `features.rs`. A failing case is made
//! smaller and printed as text, with the seed that it came from; kept under `kept/` it is a test.

mod case;
mod features;
mod generate;
mod oracle;
mod play;
mod question;
mod shrink;
mod text;
mod windows;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};

use case::{Case, Emit, Grouping, Step};
use play::{Fault, Player};

use crate::support::broker::Broker;
use crate::support::messages::Cluster;
use crate::support::server::Server;

const CASES: u64 = 500;
const CASES_WITH_CRASHES: u64 = 8;
const SEED_DEFAULT: u64 = 1;
/// Every so many cases one has rows beyond the bound.
const BEYOND_EVERY: u64 = 5;
/// Cases side by side, each on a server of its own: FLUSH waits for everything that a server runs.
const PLAYERS: usize = 4;
const SHRUNK_MAX: usize = 3;

/// A case with the name that it is told by.
type Named = (String, Case);

fn number_of(variable: &str, default: u64) -> u64 {
    let text = std::env::var(variable).ok();
    text.map_or(default, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is a number"))
    })
}

/// The seeds of this run's cases.
fn seeds(cases: u64) -> impl Iterator<Item = u64> {
    let seed = number_of("SEED", SEED_DEFAULT);
    (0..cases).map(move |case| seed.wrapping_mul(1_000).wrapping_add(case))
}

fn generated(seed: u64) -> Named {
    let beyond = seed.is_multiple_of(BEYOND_EVERY);
    (format!("seed {seed}"), generate::case(seed, beyond))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn streaming_equals_batch() {
    let mut cases = kept_cases();
    cases.extend(seeds(number_of("CASES", CASES)).map(generated));
    let failed = Box::pin(run_all(cases)).await;
    let told: String = failed
        .iter()
        .map(|(name, case, fault)| {
            let mut statements = question::statements(case, 0);
            if case.emit == Emit::Snapshot {
                statements.push(question::query(case, 0));
            }
            let statements = statements.join(";\n");
            format!(
                "== {name}: {}\n{statements};\n\n{}\n",
                fault.text(),
                text::write(case)
            )
        })
        .collect();
    assert!(failed.is_empty(), "{} cases failed\n{told}", failed.len());
}

/// Runs cases side by side; gives those that failed, the first of them made smaller.
async fn run_all(cases: Vec<Named>) -> Vec<(String, Case, Fault)> {
    let broker = Broker::start();
    let (waiting, failed) = (
        Arc::new(Mutex::new(cases)),
        Arc::new(Mutex::new(Vec::new())),
    );
    waiting.lock().expect("nobody panics with it").reverse();
    let numbers = Arc::new(AtomicUsize::new(0));
    let mut servers: Vec<Server> = (0..PLAYERS)
        .map(|_| Server::start(&broker.bootstrap()))
        .collect();
    let mut players = Vec::new();
    for server in &mut servers {
        let player = Player::new(
            server.connect().await,
            Cluster::at(broker.bootstrap()),
            &numbers,
        );
        let (waiting, failed) = (Arc::clone(&waiting), Arc::clone(&failed));
        players.push(tokio::spawn(async move {
            loop {
                let next = waiting.lock().expect("nobody panics with it").pop();
                let Some((name, case)) = next else { return };
                if let Err(fault) = Box::pin(player.play(&case)).await {
                    failed
                        .lock()
                        .expect("nobody panics with it")
                        .push((name, case, fault));
                }
            }
        }));
    }
    for player in players {
        player.await.expect("a player ends");
    }
    let mut failed: Vec<_> = std::mem::take(&mut *failed.lock().expect("nobody panics with it"));
    let player = Player::new(
        servers[0].connect().await,
        Cluster::at(broker.bootstrap()),
        &numbers,
    );
    for (_, case, fault) in failed.iter_mut().take(SHRUNK_MAX) {
        (*case, *fault) = Box::pin(shrink::smallest(&player, case.clone(), fault.clone())).await;
    }
    failed
}

/// The cases of `kept/`, in the order of their names.
fn kept_cases() -> Vec<Named> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/equivalence/kept");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "txt"));
    paths.sort();
    paths.iter().map(|path| kept_case(path)).collect()
}

fn kept_case(path: &Path) -> Named {
    let name = path.display().to_string();
    let case = std::fs::read_to_string(path).map_err(|error| error.to_string());
    let case = case.and_then(|text| text::read(&text));
    let case = case.unwrap_or_else(|error| panic!("{name}: {error}"));
    (name, case)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_cut_changes_no_answer() {
    let broker = Broker::start();
    let mut server = Server::start(&broker.bootstrap());
    let numbers = Arc::new(AtomicUsize::new(0));
    let cluster = Cluster::at(broker.bootstrap());
    let mut player = Player::new(server.connect().await, cluster, &numbers);
    for seed in seeds(CASES_WITH_CRASHES) {
        let (name, mut case) = generated(seed);
        case.idle = false;
        if case.emit == Emit::Snapshot {
            continue;
        }
        let number = player.number();
        let fail = |fault: Fault| panic!("{name}: {}\n{}", fault.text(), text::write(&case));
        player.make(&case, number).await.unwrap_or_else(fail);
        let crashes = seed % 3;
        let mut done = 0;
        let mut cuts = 0;
        for (place, step) in case.steps.iter().enumerate() {
            if !matches!(step, Step::Cut | Step::Flush) {
                continue;
            }
            player.produce(&case, number, done, place);
            done = place;
            cuts += 1;
            if cuts % 3 == crashes {
                server.crash_and_start_again();
                player.reconnected(server.connect().await);
            }
        }
        player.produce(&case, number, done, case.steps.len());
        player.produce_all(number, &case.closing_rows(), case.rows().len());
        player.run("FLUSH").await.unwrap_or_else(fail);
        Box::pin(player.check_end(&case, number))
            .await
            .unwrap_or_else(fail);
        for drop in question::drops(&case, number) {
            player.run(&drop).await.unwrap_or_else(fail);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_gets_every_closed_window_once() {
    let broker = Broker::start();
    let mut server = Server::start(&broker.bootstrap());
    let cluster = Cluster::at(broker.bootstrap());
    let numbers = Arc::new(AtomicUsize::new(0));
    let player = Player::new(server.connect().await, cluster.clone(), &numbers);
    let fits = |case: &Case| {
        let plain = !case.beyond && !case.idle && case.grouping == Grouping::Keys;
        plain && case.emit == Emit::Final
    };
    let cases = seeds(100)
        .map(generated)
        .filter(|(_, case)| fits(case))
        .take(8);
    for (name, case) in cases {
        let number = player.number();
        let fail = |fault: Fault| panic!("{name}: {}\n{}", fault.text(), text::write(&case));
        player.make(&case, number).await.unwrap_or_else(fail);
        let view = question::statements(&case, number)
            .pop()
            .expect("the view is the last");
        let (_, query) = view.split_once(" AS ").expect("it has a query");
        let sink = format!(
            "CREATE SINK out_{number} WITH (connector = 'kafka', topic = 'out_{number}') AS {query}"
        );
        player.run(&sink).await.unwrap_or_else(fail);
        player.produce(&case, number, 0, case.steps.len());
        player.produce_all(number, &case.closing_rows(), case.rows().len());
        player.run("FLUSH").await.unwrap_or_else(fail);
        Box::pin(player.check_end(&case, number))
            .await
            .unwrap_or_else(fail);
        let answer = player
            .client()
            .rows(&format!("SELECT * FROM answer_{number}"))
            .await;
        let mut written: Vec<String> = cluster
            .read(&format!("out_{number}"))
            .iter()
            .map(|record| record.text())
            .collect();
        let count = written.len();
        written.sort();
        written.dedup();
        assert_eq!(
            (written.len(), count),
            (answer.len(), answer.len()),
            "{name}: {written:?}"
        );
    }
}
