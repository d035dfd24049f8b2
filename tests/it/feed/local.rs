//! Standard input and files.

use std::io::Write;
use std::time::{Duration, Instant};

use super::{Bench, assert_all_there, ended_badly, ended_well, numbered, write_numbered};
use crate::support::messages::{Cluster, Record};
use crate::support::process::Process;

#[tokio::test]
async fn lines_of_standard_input_are_messages_with_keys() {
    let bench = Bench::start().await;
    let mut feed = bench.feed_with_input(&["stdin", "--key-path", "user.id"]);
    let lines = "{\"user\":{\"id\":\"a\"},\"x\":1.50}\nnot JSON\n\n{\"user\":{\"id\":7}}\r\n{\"user\":null}";
    write!(feed.take_input(), "{lines}").expect("it reads");
    let output = ended_well(feed);
    assert!(
        output.contains("3 messages to topic \"fed\", 1 skipped"),
        "{output}"
    );
    assert!(
        output.contains("a message was skipped: not JSON"),
        "{output}"
    );
    let records = Cluster::at(bench.broker.bootstrap()).read(super::TOPIC);
    let mut found: Vec<_> = records
        .iter()
        .map(|record| (record.key.as_deref(), record.text()))
        .collect();
    found.sort();
    let expected = [
        (None, "{\"user\":null}"),
        (Some("7"), "{\"user\":{\"id\":7}}"),
        (Some("a"), "{\"user\":{\"id\":\"a\"},\"x\":1.50}"),
    ];
    assert_eq!(found, expected.map(|(key, text)| (key, text.to_owned())));
}

#[tokio::test]
async fn a_stop_delivers_what_was_read_and_is_a_good_end() {
    let bench = Bench::start().await;
    for signal in ["INT", "TERM"] {
        let before = bench.messages().len();
        let mut feed = bench.feed_with_input(&["stdin"]);
        let mut input = feed.take_input();
        write!(input, "one\ntwo\n").expect("it reads");
        bench.await_messages(before + 2, &feed);
        feed.signal(signal);
        let output = ended_well(feed);
        assert!(output.contains("2 messages to topic \"fed\""), "{output}");
    }
}

#[tokio::test]
async fn a_limit_ends_it_and_a_rate_slows_it() {
    let bench = Bench::start().await;
    write_numbered(bench.path("lines"), 100);
    let start = Instant::now();
    let feed = bench.feed(&[
        "file",
        &bench.path("lines"),
        "--limit",
        "15",
        "--rate",
        "20",
    ]);
    let output = ended_well(feed);
    assert!(output.contains("15 messages to topic"), "{output}");
    assert!(
        start.elapsed() >= Duration::from_millis(600),
        "{:?}",
        start.elapsed()
    );
    let expected: Vec<_> = (0..15).map(numbered).collect();
    assert_eq!(bench.messages(), expected);
}

#[tokio::test]
async fn a_feed_that_was_killed_goes_on_in_its_file() {
    const COUNT: usize = 1_000;
    let bench = Bench::start().await;
    write_numbered(bench.path("lines"), COUNT);
    let (lines, resume) = (bench.path("lines"), bench.path("resume"));
    for kill_at in [30, 200] {
        let mut feed = bench.feed(&["file", &lines, "--resume", &resume, "--rate", "300"]);
        bench.await_messages(kill_at, &feed);
        feed.kill();
    }
    ended_well(bench.feed(&["file", &lines, "--resume", &resume]));
    assert_all_there(&bench.messages(), COUNT, 60);
    let output = ended_well(bench.feed(&["file", &lines, "--resume", &resume]));
    assert!(
        output.contains("0 messages to topic"),
        "all were delivered: {output}"
    );
    let other = bench.path("other");
    write_numbered(&other, 1);
    let (_, output) = ended_badly(bench.feed(&["file", &other, "--resume", &resume]));
    assert!(output.contains("belongs to another feed"), "{output}");
}

#[tokio::test]
async fn messages_that_are_larger_than_the_topic_takes_are_left_out() {
    let bench = Bench::start().await;
    let cluster = Cluster::at(bench.broker.bootstrap());
    cluster.create_topic_of_small_messages("small", 2_000).await;
    let large = || (0..1_000).map(|_| uuid::Uuid::new_v4().to_string());
    let lines: Vec<String> = (0..40)
        .map(|n| match n {
            7 | 8 => large().collect(),
            n => numbered(n),
        })
        .collect();
    let path = bench.path("lines");
    std::fs::write(&path, lines.join("\n")).expect("it can be written");
    let mut command = Process::headwater();
    let bootstrap = bench.broker.bootstrap();
    command.args([
        "feed", "file", &path, "--kafka", &bootstrap, "--topic", "small",
    ]);
    let output = ended_well(Process::start(&mut command, &bench.log()));
    assert!(
        output.contains("38 messages to topic \"small\", 2 skipped"),
        "{output}"
    );
    let messages = cluster.read("small");
    let found: std::collections::BTreeSet<_> = messages.iter().map(Record::text).collect();
    assert_eq!(found.len(), 38, "each of the others is there");
}

#[tokio::test]
async fn a_replay_keeps_the_pace_of_its_times() {
    let bench = Bench::start().await;
    let path = bench.path("lines");
    let lines = "{\"at\":\"2026-01-01T00:00:00Z\"}\n{\"at\":\"2026-01-01T00:00:30Z\"}\n{\"at\":1767225660}\n";
    std::fs::write(&path, lines).expect("it can be written");
    let start = Instant::now();
    ended_well(bench.feed(&["file", &path, "--replay-speed", "60", "--time-field", "at"]));
    assert!(
        start.elapsed() >= Duration::from_secs(1),
        "a minute at speed 60"
    );
    assert_eq!(bench.messages().len(), 3);
}

#[tokio::test]
async fn a_broker_that_is_away_loses_nothing() {
    let mut bench = Bench::start().await;
    let mut feed = bench.feed_with_input(&["stdin"]);
    let mut input = feed.take_input();
    writeln!(input, "{}", numbered(0)).expect("it reads");
    bench.await_messages(1, &feed);
    bench.broker.kill();
    for n in 1..100 {
        writeln!(input, "{}", numbered(n)).expect("it reads");
    }
    bench.broker.start_again();
    for n in 100..200 {
        writeln!(input, "{}", numbered(n)).expect("it reads");
    }
    drop(input);
    ended_well(feed);
    assert_all_there(&bench.messages(), 200, 0);
}

#[tokio::test]
async fn what_cannot_work_is_told_at_once() {
    let bench = Bench::start().await;
    let bootstrap = bench.broker.bootstrap();
    let start = |arguments: &[&str]| {
        let mut command = Process::headwater();
        command.arg("feed").args(arguments);
        Process::start(&mut command, &bench.log())
    };
    let (code, output) = ended_badly(start(&["stdin", "--kafka", &bootstrap, "--topic", "fedd"]));
    assert_eq!(code, 1, "{output}");
    assert!(
        output.contains("\"fed\"") && output.contains("--create-topic"),
        "{output}"
    );
    let (code, output) = ended_badly(start(&["stdin", "--topic", "fed"]));
    assert_eq!(code, 2, "{output}");
    assert!(output.contains("--kafka"), "{output}");
    let (code, output) = ended_badly(start(&[
        "stdin",
        "--kafka",
        "127.0.0.1:1",
        "--topic",
        "fed",
    ]));
    assert_eq!(code, 1, "{output}");
    assert!(output.contains("no answer from kafka"), "{output}");
    let (code, output) = ended_badly(bench.feed(&["stdin", "--resume", &bench.path("resume")]));
    assert_eq!(code, 2, "{output}");
    let (code, output) = ended_badly(bench.feed(&["file", &bench.path("nothing")]));
    assert_eq!(code, 1, "{output}");
    assert!(output.contains("could not read"), "{output}");
    let (code, output) = ended_badly(bench.feed(&["slack", "--token-env", "NO_SUCH_VARIABLE"]));
    assert_eq!(code, 2, "{output}");
    assert!(output.contains("NO_SUCH_VARIABLE"), "{output}");
}

#[tokio::test]
async fn a_topic_is_made_when_that_is_wanted() {
    let bench = Bench::start().await;
    let mut command = Process::headwater();
    let bootstrap = bench.broker.bootstrap();
    command.args([
        "feed",
        "stdin",
        "--kafka",
        &bootstrap,
        "--topic",
        "made",
        "--create-topic",
    ]);
    command.args(["--partitions", "3"]);
    let output = ended_well(Process::start(&mut command, &bench.log()));
    assert!(output.contains("0 messages to topic \"made\""), "{output}");
    // Fails when it has another number of partitions.
    Cluster::at(bootstrap).create_topic("made", 3).await;
}
