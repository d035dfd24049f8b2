//! Runs every `.slt` file over the wire: by the simple protocol, by the extended protocol, and with crashes. Also the
//! files in `queries/` and the snippets of pages in `docs/`.
//!
//! One trial for each file and way, each with a broker and a server of its own, so that no trial sees another.
//! `UPDATE=1 cargo test --test slt -- NAME` writes what the server answers into the files.
//! Invariant: a file is found by its name's end alone; nobody has to list it.

#![expect(clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::print_stderr, reason = "a test tells what it leaves out")]
#![expect(
    clippy::disallowed_methods,
    reason = "tests stand outside of the product's doors"
)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

#[path = "harness/bench.rs"]
mod bench;
#[path = "harness/database.rs"]
mod database;
#[path = "harness/documents.rs"]
mod documents;
#[path = "harness/script.rs"]
mod script;
#[expect(dead_code, reason = "tests/it uses the rest of it")]
#[path = "it/support/mod.rs"]
mod support;
#[path = "harness/tools.rs"]
mod tools;

use documents::Topics;
use script::Way;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let update = std::env::var_os("UPDATE").is_some();
    let mut trials = Vec::new();
    for path in files(&root.join("tests/slt"), "slt") {
        trials.extend(trials_of(&root, &path, update));
    }
    if !update {
        trials.extend(document_trials(&root));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The trials of one file: all ways, or, to update it, the simple one.
fn trials_of(root: &Path, path: &Path, update: bool) -> Vec<Trial> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let name = path
        .strip_prefix(root)
        .unwrap_or(path)
        .display()
        .to_string();
    let ways = if update {
        &[Way::Simple][..]
    } else {
        Way::of(&text)
    };
    let trial = |way: &Way| {
        let (way, path) = (*way, path.to_owned());
        Trial::test(format!("{name} {}", way.name()), move || {
            script::run(&path, way, update).map_err(Into::into)
        })
    };
    ways.iter().map(trial).collect()
}

fn document_trials(root: &Path) -> Vec<Trial> {
    let pages = [
        ("docs/sql.md", Topics::None),
        ("docs/tutorial.md", Topics::Filled),
        ("docs/migrating-from-spark.md", Topics::Filled),
    ];
    let mut trials = Vec::new();
    for (page, topics) in pages {
        let root = root.to_owned();
        trials.push(Trial::test(page, move || {
            documents::run_snippets(&root, page, topics).map_err(Into::into)
        }));
    }
    for query in files(&root.join("queries"), "sql") {
        let root = root.to_owned();
        let name = query
            .strip_prefix(&root)
            .unwrap_or(&query)
            .display()
            .to_string();
        trials.push(Trial::test(name, move || {
            documents::run_query(&root, &query).map_err(Into::into)
        }));
    }
    trials
}

/// All files under a folder with that ending, in a fixed order.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path
            .extension()
            .is_some_and(|extension| extension == ending)
        {
            found.push(path);
        }
    }
    found
}
