//! Queries from their SQL through a simulated world: whatever goes wrong on the way, the answer is that
//! of a plain loop over the rows.
//!
//! Each seed is played twice, and gives the same trace; and once more without faults, cut into other
//! micro-batches. `SEED=n` begins with another seed, `CASES=n` plays so many; a failure prints the seed
//! and the end of the trace, and `SEED=that CASES=1` plays it again.

mod expected;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::handler::continuous::{Wanted, continuous};
use super::{Services, define};
use crate::config::{Config, environment};
use crate::engine::simulation::{Case, Line, Order, Played, Script, Target, play};
use crate::plan::{Changelog, QueryOptions, StreamPlan, Trigger};
use crate::planner::Purpose;
use crate::sql::{self, Statement};
use expected::{Scenario, scenarios};

/// Cases of each test.
const CASES: u64 = 40;
const SEED_DEFAULT: u64 = 1;
/// Of so many seeds one is played without faults too.
const CALM_EVERY: u64 = 3;
/// Seeds that have failed once.
const KEPT: [u64; 0] = [];
/// Lines of a trace that are shown of a failure.
const TRACE_LINES: usize = 60;
/// Where the order of rows is loose, a partition is idle after this.
const IDLE_TIMEOUT: Duration = Duration::from_secs(2);
const TABLES: &str = "
    CREATE TABLE events (k text, v int, at timestamp NOT NULL, WATERMARK FOR at AS at - INTERVAL '4 seconds')
    WITH (connector = 'kafka', topic = 'events', bootstrap_servers = 'localhost:9', idle_timeout = 'off');
    CREATE TABLE others (k text, v int, at timestamp NOT NULL, WATERMARK FOR at AS at - INTERVAL '4 seconds')
    WITH (connector = 'kafka', topic = 'others', bootstrap_servers = 'localhost:9', idle_timeout = 'off')";

#[test]
fn a_view_holds_each_row_once_whatever_happens() {
    all(Target::View);
}

#[test]
fn a_sink_that_keeps_the_epoch_shows_each_row_once_whatever_happens() {
    all(Target::ExactlyOnce);
}

#[test]
fn a_sink_without_epochs_loses_no_row_whatever_happens() {
    all(Target::AtLeastOnce);
}

fn number_of(variable: &str, default: u64) -> u64 {
    let text = environment(variable);
    text.map_or(default, |text| text.parse().expect("it is a number"))
}

/// Plays the seeds of this run.
fn all(target: Target) {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.expect("there is room for a runtime");
    let planned: Vec<(Scenario, StreamPlan)> = runtime.block_on(planned(target));
    let first = number_of("SEED", SEED_DEFAULT);
    let count = number_of("CASES", CASES);
    let seeds = (0..count).map(|case| first.wrapping_add(case));
    for seed in KEPT.into_iter().chain(seeds) {
        let place = usize::try_from(seed).unwrap_or(0) % planned.len();
        one(&planned[place], target, seed);
    }
}

/// All scenarios with their plans.
async fn planned(target: Target) -> Vec<(Scenario, StreamPlan)> {
    let services = Services::in_memory(Arc::new(Config::default())).unwrap();
    define(&services, TABLES);
    let mut planned = Vec::new();
    for scenario in scenarios() {
        let parsed = sql::parse(scenario.sql).unwrap().remove(0);
        let Statement::Query(query) = parsed.statement else {
            panic!("{} is no query", scenario.sql);
        };
        let wanted = Wanted {
            query: &query,
            columns: &[],
            purpose: match target {
                Target::View => Purpose::View,
                Target::ExactlyOnce => Purpose::ChangelogSink,
                Target::AtLeastOnce if scenario.changes => Purpose::UpsertSink,
                Target::AtLeastOnce => Purpose::AppendSink,
            },
            key: &[],
            options: QueryOptions::default(),
        };
        let state = services.base_state().unwrap();
        let plan = continuous(&services, state, wanted).await;
        let plan = plan.unwrap_or_else(|error| panic!("{}: {error}", scenario.sql));
        let changes = plan.changelog() == Changelog::Update;
        assert_eq!(changes, scenario.changes, "{}", scenario.sql);
        planned.push((scenario, plan));
    }
    planned
}

fn one((scenario, plan): &(Scenario, StreamPlan), target: Target, seed: u64) {
    let order = match seed.is_multiple_of(4) {
        true => Order::Loose,
        false => Order::Bounded,
    };
    let mut plan = plan.clone();
    if order == Order::Loose {
        for input in &mut plan.inputs {
            input.source.idle_timeout = Some(IDLE_TIMEOUT);
        }
    }
    if seed.is_multiple_of(5) {
        plan.options.trigger = Trigger::Interval(Duration::from_millis(50));
    }
    let case = Case {
        script: Script::new(seed, plan.inputs.len(), order),
        plan,
        target,
        seed,
        faults: true,
    };
    let played = play(&case);
    let fail = |played: &Played, why: &str| {
        let from = played.trace.len().saturating_sub(TRACE_LINES);
        let trace = played.trace[from..].join("\n");
        panic!(
            "{why}\n{trace}\nSEED={seed} CASES=1 plays it again: {target:?}, {order:?}, {}",
            scenario.sql
        )
    };
    if let Some(why) = &played.failed {
        fail(&played, why);
    }
    let again = play(&case);
    if let Some(line) = first_difference(&played.trace, &again.trace) {
        fail(
            &again,
            &format!("the same seed gives another trace: {line}"),
        );
    }
    check(scenario, &case, &played).unwrap_or_else(|why| fail(&played, &why));
    if !seed.is_multiple_of(CALM_EVERY) {
        return;
    }
    let calm = play(&Case {
        seed: !seed,
        faults: false,
        ..case.clone()
    });
    if let Some(why) = &calm.failed {
        fail(&calm, why);
    }
    check(scenario, &case, &calm).unwrap_or_else(|why| fail(&calm, &format!("calm: {why}")));
}

fn first_difference(first: &[String], second: &[String]) -> Option<String> {
    let both = first.iter().zip(second);
    let differ = both.enumerate().find(|(_, (one, other))| one != other);
    match differ {
        Some((line, (one, other))) => Some(format!("line {line}: {one:?} and {other:?}")),
        None if first.len() == second.len() => None,
        None => Some(format!("{} and {} lines", first.len(), second.len())),
    }
}

/// Compares what came with what must come; says what is wrong.
fn check(scenario: &Scenario, case: &Case, played: &Played) -> Result<(), String> {
    let inputs: Vec<_> = (0..case.plan.inputs.len())
        .map(|input| case.script.rows(input))
        .collect();
    let all: u64 = inputs.iter().map(|rows| rows.len() as u64).sum();
    let (used, late) = played.counted;
    if used + late != all {
        return Err(format!("{used} rows were used and {late} late of {all}"));
    }
    if case.script.order == Order::Bounded && late > 0 {
        return Err(format!("{late} rows were late that were in time"));
    }
    if late > 0 || (case.script.order == Order::Loose && scenario.windowed) {
        return counted(scenario, case, played);
    }
    compare(case, &played.rows, &(scenario.expected)(&inputs))
}

/// Rows that were late are missing somewhere: but no row that was used is.
fn counted(scenario: &Scenario, case: &Case, played: &Played) -> Result<(), String> {
    let Some(column) = scenario.count else {
        return Ok(());
    };
    if case.target == Target::AtLeastOnce {
        return Ok(());
    }
    let is_last = |line: &&Line| line.iter().any(|value| value == expected::LAST_KEY);
    let lines = played.rows.iter().filter(|line| !is_last(line));
    let counts = lines.map(|line| line[column].parse::<u64>().map_err(|e| e.to_string()));
    let counted: u64 = counts.sum::<Result<u64, String>>()?;
    let rows = (0..case.plan.inputs.len()).flat_map(|input| case.script.rows(input));
    let last = rows.filter(|row| row.is_last()).count() as u64;
    let (used, _) = played.counted;
    match counted + last == used {
        true => Ok(()),
        false => Err(format!(
            "windows have {counted} rows, {last} are in windows that are open, and {used} were used"
        )),
    }
}

fn compare(case: &Case, rows: &[Line], expected: &[Line]) -> Result<(), String> {
    let mut expected = expected.to_vec();
    expected.sort();
    let changes = case.plan.changelog() == Changelog::Update;
    if case.target != Target::AtLeastOnce || changes {
        return same(rows, &expected);
    }
    let set = |lines: &[Line]| lines.iter().cloned().collect::<BTreeSet<Line>>();
    let (come, must) = (set(rows), set(&expected));
    same(&Vec::from_iter(come), &Vec::from_iter(must))?;
    let times = |lines: &[Line], line: &Line| lines.iter().filter(|l| *l == line).count();
    let lost = (expected.iter()).find(|line| times(rows, line) < times(&expected, line));
    match lost {
        Some(line) => Err(format!("a row was lost: {line:?}")),
        None => Ok(()),
    }
}

fn same(rows: &[Line], expected: &[Line]) -> Result<(), String> {
    if rows == expected {
        return Ok(());
    }
    let missing: Vec<_> = expected.iter().filter(|l| !rows.contains(l)).collect();
    let wrong: Vec<_> = rows.iter().filter(|l| !expected.contains(l)).collect();
    Err(format!(
        "{} rows came, {} must; missing {missing:?}, wrong {wrong:?}",
        rows.len(),
        expected.len()
    ))
}
