//! `headwater feed` from outside: the messages of each source are in the topic, also after crashes.
//!
//! Invariant: at least once. A message may be there twice after a crash; none is missing.

mod http;
mod local;
mod slack;
mod slack_events;
mod websocket;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::support::broker::Broker;
use crate::support::messages::Cluster;
use crate::support::process::Process;
use crate::support::wait::{self, PATIENCE};

/// A broker with one topic, and feeds into it.
struct Bench {
    folder: TempDir,
    broker: Broker,
}

const TOPIC: &str = "fed";

impl Bench {
    async fn start() -> Self {
        let broker = Broker::start();
        Cluster::at(broker.bootstrap()).create_topic(TOPIC, 1).await;
        Self {
            folder: TempDir::new().expect("a temporary folder"),
            broker,
        }
    }

    fn path(&self, name: &str) -> String {
        let path = self.folder.path().join(name);
        path.to_str()
            .expect("a temporary folder's name is UTF-8")
            .to_owned()
    }

    /// A feed into the topic; `arguments` begin with the source.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Process::headwater();
        command.arg("feed").args(arguments);
        command.args(["--kafka", &self.broker.bootstrap(), "--topic", TOPIC]);
        command
    }

    fn feed(&self, arguments: &[&str]) -> Process {
        Process::start(&mut self.command(arguments), &self.log())
    }

    /// The same with a pipe as its standard input.
    fn feed_with_input(&self, arguments: &[&str]) -> Process {
        Process::start_with_input(&mut self.command(arguments), &self.log(), Stdio::piped())
    }

    fn log(&self) -> std::path::PathBuf {
        self.folder.path().join("feed.log")
    }

    /// What the topic holds.
    fn messages(&self) -> Vec<String> {
        let records = Cluster::at(self.broker.bootstrap()).read(TOPIC);
        records
            .iter()
            .map(crate::support::messages::Record::text)
            .collect()
    }

    /// Waits until the topic holds so many messages.
    fn await_messages(&self, count: usize, feed: &Process) {
        let all = wait::within(PATIENCE, || (self.messages().len() >= count).then_some(()));
        assert!(
            all.is_some(),
            "{} of {count}:\n{}",
            self.messages().len(),
            feed.last_lines()
        );
    }
}

/// Waits for a good end; gives what the feed wrote.
fn ended_well(mut feed: Process) -> String {
    let status = feed.ended_within(PATIENCE);
    assert!(
        status.is_some_and(|status| status.success()),
        "{status:?}\n{}",
        feed.last_lines()
    );
    feed.output()
}

/// Waits for a bad end; gives its code and what the feed wrote.
fn ended_badly(mut feed: Process) -> (i32, String) {
    let status = feed.ended_within(PATIENCE).expect("it ends");
    let code = status.code().expect("it is not killed");
    assert_ne!(code, 0, "{}", feed.last_lines());
    (code, feed.output())
}

/// How often each message is there.
fn counted(messages: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for message in messages {
        *counts.entry(message.as_str()).or_insert(0) += 1;
    }
    counts
}

/// Fails when one of `{"n":0}` .. is missing, or more than so many are there a second time.
fn assert_all_there(messages: &[String], count: usize, doubled_max: usize) {
    let counts = counted(messages);
    let missing: Vec<_> = (0..count)
        .map(numbered)
        .filter(|message| !counts.contains_key(message.as_str()))
        .collect();
    assert!(missing.is_empty(), "missing: {missing:?}");
    let doubled = messages.len() - count;
    assert!(doubled <= doubled_max, "{doubled} are there twice");
}

fn numbered(n: usize) -> String {
    format!("{{\"n\":{n}}}")
}

/// Writes a file of numbered lines.
fn write_numbered(path: impl AsRef<Path>, count: usize) {
    let lines: String = (0..count).map(|n| numbered(n) + "\n").collect();
    std::fs::write(path, lines).expect("it can be written");
}
