//! Whatever the batches, the lanes, the reading and the folding: DataFusion's answer over all rows.

use proptest::prelude::{ProptestConfig, Strategy, prop, proptest};
use proptest::{option, prop_oneof};

use super::{Fed, Row, assert_alike, batch_answer, function};

/// The numbers are such that no order of adding them up loses digits.
pub(super) const AGGREGATES: &[&str] = &[
    "count(*)",
    "count(s)",
    "count(DISTINCT n)",
    "sum(i)",
    "sum(n)",
    "sum(d)",
    "sum(f)",
    "sum(DISTINCT n)",
    "sum(n) FILTER (WHERE b)",
    "avg(i)",
    "avg(d)",
    "avg(d) FILTER (WHERE i > 0)",
    "min(i)",
    "max(n) FILTER (WHERE b)",
    "min(x)",
    "max(x)",
    "min(CAST(x AS real))",
    "max(d)",
    "min(t)",
    "max(CAST(t AS date))",
    "min(s)",
    "max(s) FILTER (WHERE b)",
    "bool_and(b)",
    "bool_or(b) FILTER (WHERE i > 0)",
    "every(b)",
    "bit_and(n)",
    "bit_or(n)",
    "bit_xor(n)",
    "stddev(f)",
    "stddev_pop(i)",
    "variance(f)",
    "var_pop(f)",
    "covar_samp(f, i)",
    "covar_pop(f, i)",
    "corr(f, i)",
    "regr_slope(f, i)",
    "regr_intercept(f, i)",
    "regr_count(f, i)",
    "regr_r2(f, i)",
    "regr_avgx(f, i)",
    "median(i)",
    "median(f) FILTER (WHERE b)",
    "median(DISTINCT d)",
    "percentile_cont(0.25) WITHIN GROUP (ORDER BY f)",
    "percentile_cont(0.9) WITHIN GROUP (ORDER BY i DESC)",
    "approx_distinct(n)",
    "array_agg(n)",
    "array_agg(DISTINCT n)",
    "array_agg(n ORDER BY t, id)",
    "array_agg(s ORDER BY f DESC, id) FILTER (WHERE b)",
    "string_agg(s, ',')",
    "string_agg(DISTINCT s, ',')",
    "string_agg(s, ',' ORDER BY n DESC, id)",
    "first_value(n)",
    "last_value(n)",
    "first_value(n ORDER BY t, id)",
    "last_value(n ORDER BY t, id)",
    "first_value(s ORDER BY n DESC, id) FILTER (WHERE b)",
    "first_value(n ORDER BY id)",
    "last_value(d ORDER BY id) FILTER (WHERE b)",
    "last_value(n ORDER BY n NULLS FIRST)",
    "first_value(d ORDER BY d DESC)",
    "last_value(f ORDER BY f)",
    "nth_value(n, 2)",
    "nth_value(n, 2 ORDER BY t, id)",
    "nth_value(s, -2 ORDER BY n DESC, id) FILTER (WHERE b)",
    "arg_min(s, n)",
    "arg_min(t, x) FILTER (WHERE b)",
    "arg_max(n, d)",
    "arg_max(x, t)",
    "max_by(n, s)",
    "min_by(s, x) FILTER (WHERE b)",
    "ohlc(x, t)",
    "ohlc(d, t) FILTER (WHERE b)",
    "vwap(f, i)",
    "vwap(d, n)",
    "ema(f, 0.5 ORDER BY t)",
    "ema(d, 0.9 ORDER BY t DESC, n) FILTER (WHERE b)",
    "rsi(f, 2 ORDER BY t)",
    "rsi(n, 3 ORDER BY s, t)",
    "volatility(f + 20 ORDER BY t)",
    "drawdown(f ORDER BY t)",
    "pct_change(n ORDER BY t)",
    "pct_change(f ORDER BY t DESC) FILTER (WHERE b)",
    "zscore(f ORDER BY t)",
    "mode(s)",
    "mode() WITHIN GROUP (ORDER BY n DESC)",
    "approx_top_k(s, 2)",
];

pub(super) fn row(groups: usize) -> impl Strategy<Value = Row> {
    let float = || (-40_i32..40).prop_map(|n| f64::from(n) / 4.0);
    let any_float = prop_oneof![
        4 => float(),
        1 => prop_oneof![
            proptest::strategy::Just(-0.0),
            proptest::strategy::Just(f64::NAN),
            proptest::strategy::Just(f64::INFINITY),
        ],
    ];
    (
        0..groups,
        option::of(-5_i32..5),
        option::of(-50_i64..50),
        option::of(float()),
        option::of(any_float),
        option::of(-100_i128..100),
        option::of("[ab]{0,2}"),
        option::of(-3_i64..3),
        option::of(proptest::bool::ANY),
    )
        .prop_map(
            |(group, small, big, float, any_float, exact, text, time, flag)| Row {
                group,
                small,
                big,
                float,
                any_float,
                exact,
                text,
                time,
                flag,
            },
        )
}

/// What is done between two rows.
#[derive(Debug, Clone, Copy)]
enum Cut {
    No,
    Batch,
    BatchAndRead,
}

#[derive(Debug, Clone)]
struct Case {
    /// Each with its lane, and with the cut after it.
    rows: Vec<(Row, bool, Cut)>,
    /// A group that is added to another at the end.
    fold: Option<(usize, usize)>,
}

const GROUPS: usize = 3;

fn case() -> impl Strategy<Value = Case> {
    let cut = prop_oneof![
        3 => proptest::strategy::Just(Cut::No),
        1 => proptest::strategy::Just(Cut::Batch),
        1 => proptest::strategy::Just(Cut::BatchAndRead),
    ];
    let rows = prop::collection::vec((row(GROUPS), proptest::bool::ANY, cut), 1..40);
    let fold = option::of((0..GROUPS, 0..GROUPS).prop_filter("two groups", |(a, b)| a != b));
    (rows, fold).prop_map(|(rows, fold)| Case { rows, fold })
}

/// The rows of one lane, in batches; `id` counts through both lanes.
fn feed(fed: &mut Fed<'_>, rows: &[(Row, Cut)], first_id: usize, readable: bool) {
    let mut start = 0;
    for (end, (_, cut)) in (1..).zip(rows) {
        let is_last = end == rows.len();
        if matches!(cut, Cut::No) && !is_last {
            continue;
        }
        let batch: Vec<Row> = rows[start..end]
            .iter()
            .map(|(row, _)| row.clone())
            .collect();
        fed.update(&batch, first_id + start);
        if readable && matches!(cut, Cut::BatchAndRead) {
            fed.read();
        }
        start = end;
    }
}

fn check(sql: &str, case: &Case, readable: bool) {
    let function = function(sql);
    let lane = |second: bool| -> Vec<(Row, Cut)> {
        let rows = case.rows.iter().filter(|(_, lane, _)| *lane == second);
        rows.map(|(row, _, cut)| (row.clone(), *cut)).collect()
    };
    let (first, second) = (lane(false), lane(true));
    let mut one = Fed::new(&function, readable);
    let mut two = Fed::new(&function, readable);
    feed(&mut one, &first, 0, readable);
    feed(&mut two, &second, first.len(), readable);
    one.merge(&mut two);
    let rows: Vec<Row> = first
        .into_iter()
        .chain(second)
        .map(|(row, _)| row)
        .collect();
    let what = format!("{sql}, readable: {readable}, {case:?}");
    if !readable {
        assert_alike(&one.take(), &batch_answer(sql, &rows), &what);
        return;
    }
    assert_alike(&one.read(), &batch_answer(sql, &rows), &what);
    let numbers = case.fold.and_then(|(from, into)| {
        let (from, into) = (one.number_of(from)?, one.number_of(into)?);
        Some((from, into))
    });
    // With another order of the rows another one would be first by `id`.
    if let Some((from, into)) = numbers.filter(|_| !sql.contains("id)")) {
        check_fold(sql, &rows, &mut one, (from, into), &what);
    }
}

/// Adds the group of one number to another's; empties that.
fn check_fold(
    sql: &str,
    rows: &[Row],
    fed: &mut Fed<'_>,
    (from, into): (usize, usize),
    what: &str,
) {
    let (from_group, into_group) = (fed.groups[from], fed.groups[into]);
    fed.accumulator.fold(from, into).unwrap();
    // The rows of `into` come first, then those of `from`.
    let (moved, mut folded): (Vec<Row>, Vec<Row>) = rows
        .iter()
        .cloned()
        .partition(|row| row.group == from_group);
    folded.extend(moved.into_iter().map(|row| Row {
        group: into_group,
        ..row
    }));
    let mut expected = batch_answer(sql, &folded);
    let empty = super::empty_answer(sql);
    expected.insert(from_group, empty.clone());
    assert_alike(&fed.read(), &expected, &format!("folded {what}"));
    fed.accumulator.release(&[into]).unwrap();
    expected.insert(into_group, empty);
    assert_alike(&fed.read(), &expected, &format!("released {what}"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    #[test]
    fn every_aggregate_gives_the_batch_answer(case in case()) {
        for sql in AGGREGATES {
            check(sql, &case, true);
            check(sql, &case, false);
        }
    }
}
