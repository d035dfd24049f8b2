//! What is read does not depend on how often it was read before.

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use super::oracle::{AGGREGATES, row};
use super::{DURABLE, Fed, Row, assert_alike, function};
use crate::error::SqlState;

const APPROXIMATE: &[&str] = &[
    "approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY f)",
    "approx_median(n)",
];

fn rows(count: usize) -> Vec<Row> {
    let mut runner = TestRunner::deterministic();
    (0..count)
        .map(|_| row(2).new_tree(&mut runner).unwrap().current())
        .collect()
}

#[test]
fn reading_changes_nothing() {
    let rows = rows(60);
    for sql in AGGREGATES.iter().chain(APPROXIMATE) {
        let function = function(sql);
        let (mut read, mut fresh) = (Fed::new(&function, true), Fed::new(&function, true));
        for (nth, batch) in rows.chunks(7).enumerate() {
            read.update(batch, nth * 7);
            let once = read.read();
            assert_alike(&read.read(), &once, sql);
            fresh.update(batch, nth * 7);
        }
        assert_alike(&read.read(), &fresh.read(), sql);
    }
}

#[test]
fn what_goes_on_from_an_image_gives_what_the_other_would_have_given() {
    let rows = rows(60);
    for sql in AGGREGATES.iter().chain(APPROXIMATE) {
        let function = function(sql);
        let mut whole = Fed::wanted(&function, DURABLE);
        let mut again = Fed::wanted(&function, DURABLE);
        for (nth, batch) in rows.chunks(7).enumerate() {
            whole.update(batch, nth * 7);
            again.update(batch, nth * 7);
            // What an image was taken of goes on too.
            let restored = again.restored();
            if nth % 2 == 0 {
                again = restored;
            }
        }
        assert_alike(&again.take(), &whole.take(), sql);
    }
}

fn big(numbers: &[i64]) -> Vec<Row> {
    let template = rows(1).swap_remove(0);
    let row = |big: &i64| Row {
        group: 0,
        big: Some(*big),
        ..template.clone()
    };
    numbers.iter().map(row).collect()
}

#[test]
fn a_sum_out_of_range_is_an_error_only_as_long_as_it_is() {
    let function = function("sum(n)");
    let mut fed = Fed::new(&function, true);
    fed.update(&big(&[i64::MAX, 1]), 0);
    fed.accumulator.read(&[0]).unwrap();
    let error = fed.accumulator.take_refused().remove(&0).unwrap();
    assert_eq!(error.state(), SqlState::NumericValueOutOfRange);
    assert_eq!(error.message(), "bigint out of range");
    assert_eq!(
        error.detail_text(),
        Some("The value of sum(t.n) does not fit its type.")
    );
    fed.update(&big(&[-2]), 2);
    assert_eq!(fed.read()[&0], (i64::MAX - 1).to_string());
}

#[test]
fn memory_is_measured() {
    for sql in AGGREGATES {
        let function = function(sql);
        let mut fed = Fed::new(&function, true);
        fed.update(&rows(50), 0);
        let before = fed.accumulator.size_bytes();
        assert!(before > 0, "{sql}");
        fed.accumulator.release(&[0, 1]).unwrap();
        assert!(fed.accumulator.size_bytes() <= before, "{sql}");
    }
}
