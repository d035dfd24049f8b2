//! Changes in, rows and changes out.

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use futures::{FutureExt, StreamExt};

use super::*;
use crate::types::EventTime;

const MOMENT: Moment = Moment {
    at: ProcessingTime(7),
    watermark: None,
};

fn schema() -> SchemaRef {
    let field = |name| Field::new(name, DataType::Int64, true);
    Arc::new(Schema::new(vec![field("k"), field("v")]))
}

fn changes(rows: &[(Op, i64, i64)]) -> ChangeBatch {
    let column = |value: fn(&(Op, i64, i64)) -> i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(rows.iter().map(value)))
    };
    let columns = vec![column(|row| row.1), column(|row| row.2)];
    let batch = RecordBatch::try_new(schema(), columns).unwrap();
    ChangeBatch::new(batch, rows.iter().map(|row| row.0).collect())
}

fn pairs(batch: &RecordBatch) -> Vec<(i64, i64)> {
    let column = |index: usize| batch.column(index).as_primitive::<Int64Type>().values();
    column(0)
        .iter()
        .copied()
        .zip(column(1).iter().copied())
        .collect()
}

fn rows(view: &Materialized) -> Vec<(i64, i64)> {
    view.rows().unwrap().iter().flat_map(pairs).collect()
}

fn view(form: Form) -> Materialized {
    Materialized::new(schema(), form, 1 << 20)
}

/// What has come to a subscriber, and how it ended.
fn heard(subscription: &mut Subscription) -> (Vec<(Op, i64, i64)>, Option<&'static str>) {
    let mut all = Vec::new();
    while let Some(Some(next)) = subscription.next().now_or_never() {
        match next {
            Ok(Emitted::Changes { changes, .. }) => {
                let rows = pairs(changes.rows()).into_iter().enumerate();
                all.extend(rows.map(|(row, (k, v))| (changes.op(row), k, v)));
            }
            Ok(Emitted::Watermark { .. }) => {}
            Err(error) => return (all, Some(error.state().code())),
        }
    }
    (all, None)
}

#[test]
fn rows_replace_others_by_key_and_go_away() {
    let view = view(Form::ByKey(vec![0]));
    let first = changes(&[(Op::Insert, 1, 10), (Op::Insert, 2, 20)]);
    view.apply(&[first], MOMENT).unwrap();
    let second = changes(&[
        (Op::UpdateBefore, 1, 10),
        (Op::UpdateAfter, 1, 11),
        (Op::Delete, 2, 20),
    ]);
    view.apply(&[second], MOMENT).unwrap();
    assert_eq!(rows(&view), [(1, 11)]);
    view.apply(&[changes(&[(Op::Delete, 1, 11)])], MOMENT)
        .unwrap();
    assert_eq!(rows(&view), []);
    let Kept::Latest(_, bytes) = &view.read().rows else {
        panic!("it is kept by key")
    };
    assert_eq!(*bytes, 0, "what has gone costs nothing");
}

#[test]
fn whole_rows_are_counted() {
    let view = view(Form::Counted);
    let first = changes(&[(Op::Insert, 1, 1), (Op::Insert, 1, 1), (Op::Insert, 2, 2)]);
    view.apply(&[first], MOMENT).unwrap();
    let second = changes(&[(Op::UpdateBefore, 1, 1), (Op::UpdateAfter, 3, 3)]);
    view.apply(&[second], MOMENT).unwrap();
    assert_eq!(rows(&view), [(1, 1), (2, 2), (3, 3)]);
    view.apply(&[changes(&[(Op::Delete, 1, 1)])], MOMENT)
        .unwrap();
    assert_eq!(rows(&view), [(2, 2), (3, 3)]);
    let error = view.apply(&[changes(&[(Op::Delete, 9, 9)])], MOMENT);
    assert_eq!(error.unwrap_err().state(), SqlState::Internal);
}

#[test]
fn a_view_stays_within_its_budget() {
    for form in [Form::Added, Form::ByKey(vec![0]), Form::Counted] {
        let view = Materialized::new(schema(), form.clone(), 1_000);
        let many: Vec<_> = (0..100).map(|n| (Op::Insert, n, n)).collect();
        let error = view.apply(&[changes(&many)], MOMENT).unwrap_err();
        assert_eq!(error.state().code(), "53400", "{form:?}");
    }
}

#[test]
fn a_subscriber_gets_the_rows_and_then_each_change_once() {
    let view = view(Form::ByKey(vec![0]));
    view.apply(&[changes(&[(Op::Insert, 1, 10)])], MOMENT)
        .unwrap();
    let mut all = view.subscribe(true, false, MOMENT.at).unwrap();
    let mut later = view.subscribe(false, false, MOMENT.at).unwrap();
    let update = [(Op::UpdateBefore, 1, 10), (Op::UpdateAfter, 1, 11)];
    view.apply(&[changes(&update)], MOMENT).unwrap();
    assert_eq!(
        heard(&mut all).0,
        [(Op::Insert, 1, 10), update[0], update[1]]
    );
    assert_eq!(heard(&mut later).0, update);
    assert_eq!(heard(&mut later), (vec![], None));
}

#[test]
fn one_that_falls_behind_is_told_so_and_the_view_goes_on() {
    let view = view(Form::ByKey(vec![0]));
    let mut slow = view.subscribe(true, false, MOMENT.at).unwrap();
    for n in 0..3_000 {
        view.apply(&[changes(&[(Op::Insert, n, n)])], MOMENT)
            .unwrap();
    }
    let (got, state) = heard(&mut slow);
    assert_eq!(state, Some("53400"));
    assert!(!got.is_empty() && got.len() < 3_000, "{} rows", got.len());
    assert!(view.read().subscribers.is_empty());
}

#[test]
fn a_subscriber_hears_how_its_view_ends() {
    let ends = |end: fn(Materialized)| {
        let view = view(Form::Added);
        view.apply(&[changes(&[(Op::Insert, 1, 1)])], MOMENT)
            .unwrap();
        let mut subscription = view.subscribe(false, false, MOMENT.at).unwrap();
        end(view);
        heard(&mut subscription).1
    };
    assert_eq!(ends(drop), Some("55000"), "dropped");
    assert_eq!(ends(|view| view.clear()), Some("55000"), "begun anew");
    assert_eq!(ends(|view| view.end(None)), None, "at its end");
    let failed = |view: Materialized| view.end(Some(&Error::user(SqlState::DivisionByZero, "x")));
    assert_eq!(ends(failed), Some("22012"), "failed");
}

#[test]
fn the_watermark_is_told_when_it_moves_to_those_who_asked() {
    let view = view(Form::Added);
    let mut told = view.subscribe(true, true, MOMENT.at).unwrap();
    let mut not = view.subscribe(true, false, MOMENT.at).unwrap();
    for mark in [5, 5, 6] {
        let watermark = Some(EventTime(mark));
        let moment = Moment {
            watermark,
            ..MOMENT
        };
        view.apply(&[], moment).unwrap();
    }
    let mut marks = Vec::new();
    while let Some(Some(Ok(Emitted::Watermark { watermark, .. }))) = told.next().now_or_never() {
        marks.push(watermark.0);
    }
    assert_eq!(marks, [5, 6]);
    assert!(not.next().now_or_never().is_none());
}
