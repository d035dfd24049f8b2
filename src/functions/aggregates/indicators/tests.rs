//! The indicators against pandas' answers, and against themselves under random orders, cuts, lanes and checkpoints.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::logical_expr::Accumulator;
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::physical_expr::expressions::{col, lit};
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr};
use datafusion::scalar::ScalarValue;

use super::functions;
use crate::functions::aggregate_functions;

/// A time and a value.
type Row = (Option<i64>, Option<f64>);

const CALLS: [(&str, Option<f64>); 9] = [
    ("ema", Some(0.2)),
    ("ema", Some(0.9)),
    ("rsi", None),
    ("rsi", Some(5.0)),
    ("rsi", Some(1.0)),
    ("volatility", None),
    ("drawdown", None),
    ("pct_change", None),
    ("zscore", None),
];

fn accumulator((name, parameter): (&str, Option<f64>), ordered: bool) -> Box<dyn Accumulator> {
    let fields =
        ["x", "p", "t"]
            .into_iter()
            .zip([DataType::Float64, DataType::Float64, DataType::Int64]);
    let fields: Vec<Field> = fields
        .map(|(name, of)| Field::new(name, of, true))
        .collect();
    let schema = Schema::new(fields.clone());
    let mut exprs = vec![col("x", &schema).unwrap()];
    exprs.extend(parameter.map(|parameter| -> Arc<dyn PhysicalExpr> { lit(parameter) }));
    let expr_fields: Vec<_> = fields.into_iter().take(exprs.len()).map(Arc::new).collect();
    let order = PhysicalSortExpr::new(col("t", &schema).unwrap(), SortOptions::new(false, false));
    let order = [order];
    let function = functions().into_iter().find(|one| one.name() == name);
    function
        .unwrap()
        .accumulator(AccumulatorArgs {
            return_field: Arc::new(Field::new(name, DataType::Float64, true)),
            schema: &schema,
            ignore_nulls: false,
            order_bys: if ordered { &order } else { &[] },
            is_reversed: false,
            name,
            is_distinct: false,
            exprs: &exprs,
            expr_fields: &expr_fields,
        })
        .unwrap()
}

fn update(accumulator: &mut dyn Accumulator, parameter: Option<f64>, rows: &[Row]) {
    let values: Float64Array = rows.iter().map(|(_, value)| *value).collect();
    let times: Int64Array = rows.iter().map(|(time, _)| *time).collect();
    let mut columns: Vec<ArrayRef> = vec![Arc::new(values)];
    columns.extend(parameter.map(|parameter| -> ArrayRef {
        Arc::new(Float64Array::from(vec![parameter; rows.len()]))
    }));
    columns.push(Arc::new(times));
    accumulator.update_batch(&columns).unwrap();
}

fn value(accumulator: &mut dyn Accumulator) -> Option<f64> {
    let ScalarValue::Float64(value) = accumulator.evaluate().unwrap() else {
        unreachable!("all give a double precision");
    };
    value
}

/// Adds what one holds to another.
fn merge(from: &mut dyn Accumulator, into: &mut dyn Accumulator) {
    let state = from.state().unwrap();
    let state: Vec<ArrayRef> = state.iter().map(|one| one.to_array().unwrap()).collect();
    into.merge_batch(&state).unwrap();
}

fn of(call: (&str, Option<f64>), rows: &[Row]) -> Option<f64> {
    let mut accumulator = accumulator(call, true);
    update(accumulator.as_mut(), call.1, rows);
    value(accumulator.as_mut())
}

#[track_caller]
fn check(call: (&str, Option<f64>), values: &[f64], expected: Option<f64>) {
    let rows: Vec<Row> = (0..)
        .zip(values)
        .map(|(at, x)| (Some(at), Some(*x)))
        .collect();
    let found = of(call, &rows);
    let close = match (found, expected) {
        (Some(found), Some(expected)) => (found - expected).abs() < 1e-12,
        (found, expected) => found == expected,
    };
    assert!(
        close,
        "{call:?} of {values:?} is {found:?}, not {expected:?}"
    );
}

#[test]
fn each_is_what_its_formula_says() {
    check(("ema", Some(0.5)), &[8.0, 4.0, 2.0], Some(4.0));
    check(("ema", Some(1.0)), &[8.0, 4.0, 2.0], Some(2.0));
    // Changes 2, -1, 3: the mean of the first two is 1 up, 0.5 down; then (1 + 3) / 2 and 0.5 / 2.
    check(
        ("rsi", Some(2.0)),
        &[1.0, 3.0, 2.0, 5.0],
        Some(100.0 * 2.0 / 2.25),
    );
    check(
        ("volatility", None),
        &[1.0, 2.0, 1.0],
        Some(2.0_f64.sqrt() * 2.0_f64.ln()),
    );
    check(("drawdown", None), &[10.0, 8.0, 12.0, 3.0, 9.0], Some(0.75));
    check(("pct_change", None), &[8.0, 1.0, 10.0], Some(0.25));
    check(("zscore", None), &[1.0, 2.0, 3.0], Some(1.0));
}

#[test]
fn what_has_no_value_is_null() {
    for call in CALLS {
        check(call, &[], None);
    }
    check(("rsi", Some(2.0)), &[1.0, 2.0], None);
    check(("rsi", Some(2.0)), &[1.0; 3], Some(50.0));
    check(("volatility", None), &[1.0, 2.0], None);
    check(("volatility", None), &[1.0, 0.0, 1.0, 2.0], None);
    check(("drawdown", None), &[3.0], Some(0.0));
    check(("drawdown", None), &[-3.0, -4.0], None);
    check(("drawdown", None), &[-3.0, 4.0, 1.0], Some(0.75));
    check(("pct_change", None), &[0.0, 1.0], None);
    check(("pct_change", None), &[2.0], Some(0.0));
    check(("zscore", None), &[2.0], None);
    check(("zscore", None), &[0.1, 0.1, 0.1], None);
}

#[test]
fn a_nan_is_not_lost() {
    for call in CALLS.into_iter().filter(|call| *call != ("rsi", Some(1.0))) {
        let values = [1.0, 2.0, 1.5, 3.0, 2.0, 2.5, f64::NAN];
        let rows: Vec<Row> = (0..)
            .zip(values)
            .map(|(at, x)| (Some(at), Some(x)))
            .collect();
        let found = of(call, &rows);
        let is_nan = found.is_none_or(f64::is_nan);
        assert!(is_nan, "{call:?} is {found:?}");
    }
}

#[test]
fn rows_without_a_value_or_a_place_do_not_count_and_equal_times_go_by_value() {
    let rows: [Row; 6] = [
        (Some(2), Some(7.0)),
        (None, Some(100.0)),
        (Some(1), Some(4.0)),
        (Some(2), Some(6.0)),
        (Some(3), None),
        (Some(1), Some(5.0)),
    ];
    let without: Vec<Row> = [4.0, 5.0, 6.0, 7.0]
        .map(Some)
        .into_iter()
        .zip(0..)
        .map(|(x, at)| (Some(at), x))
        .collect();
    for call in CALLS {
        assert_eq!(of(call, &rows), of(call, &without), "{call:?}");
    }
    assert_eq!(of(("pct_change", None), &rows), Some(0.75));
}

/// Random rows: clustered times with equal ones among them, mostly in order, some without a value or a time.
fn random_rows(rng: &mut fastrand::Rng) -> Vec<Row> {
    let most = if rng.bool() { 40 } else { 900 };
    let mut now = 0;
    (0..rng.usize(1..most))
        .map(|_| {
            now += rng.i64(0..3);
            let back = if rng.u32(..20) == 0 {
                rng.i64(0..800)
            } else {
                rng.i64(0..4)
            };
            let time = (rng.u32(..50) > 0).then_some(now - back);
            let value = (rng.u32(..20) > 0).then(|| 100.0 + f64::from(rng.i32(-900..900)) / 16.0);
            (time, value)
        })
        .collect()
}

/// Feeds rows into lanes, in batches, with answers and checkpoints between them, and merges the lanes.
fn in_pieces(call: (&str, Option<f64>), rows: &[Row], rng: &mut fastrand::Rng) -> Option<f64> {
    let mut lanes: Vec<_> = (0..3).map(|_| accumulator(call, true)).collect();
    let mut rest = rows;
    while !rest.is_empty() {
        let (batch, after) = rest.split_at(rng.usize(1..=rest.len().min(50)));
        rest = after;
        let lane = rng.choice(&mut lanes).unwrap();
        update(lane.as_mut(), call.1, batch);
        match rng.u32(..4) {
            0 => drop(value(lane.as_mut())),
            1 => {
                let mut restored = accumulator(call, true);
                merge(lane.as_mut(), restored.as_mut());
                *lane = restored;
            }
            _ => {}
        }
    }
    let mut whole = accumulator(call, true);
    rng.shuffle(&mut lanes);
    for lane in &mut lanes {
        merge(lane.as_mut(), whole.as_mut());
    }
    value(whole.as_mut())
}

#[test]
fn no_cut_changes_a_digit() {
    for seed in 0..60 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let rows = random_rows(&mut rng);
        let mut sorted = rows.clone();
        sorted.sort_by(|one, two| one.partial_cmp(two).unwrap());
        for call in CALLS {
            let whole = of(call, &sorted);
            let pieces = in_pieces(call, &rows, &mut rng);
            // The sums of zscore are rounded in the order of the rows.
            let same = match (whole, pieces) {
                (Some(one), Some(two)) if call.0 == "zscore" => (one - two).abs() < 1e-12,
                _ => whole == pieces,
            };
            assert!(same, "seed {seed}, {call:?}: {pieces:?} is not {whole:?}");
        }
    }
}

#[test]
fn what_is_forgotten_weighs_nothing() {
    let mut rng = fastrand::Rng::with_seed(7);
    let values: Vec<f64> = (0..5_000).map(|_| 100.0 + rng.f64()).collect();
    let all = values[1..]
        .iter()
        .fold(values[0], |mean, x| 0.2 * x + 0.8 * mean);
    check(("ema", Some(0.2)), &values, Some(all));
    let mut held = accumulator(("ema", Some(0.2)), true);
    let rows: Vec<Row> = (0..)
        .zip(&values)
        .map(|(at, x)| (Some(at), Some(*x)))
        .collect();
    for batch in rows.chunks(10) {
        update(held.as_mut(), Some(0.2), batch);
    }
    assert!(held.size() < 40_000, "{} bytes are held", held.size());
}

#[test]
fn without_an_order_rows_are_taken_as_they_come() {
    for (call, expected) in [
        (("ema", Some(0.5)), 4.0),
        (("drawdown", None), 0.75),
        (("pct_change", None), -0.75),
    ] {
        let mut held = accumulator(call, false);
        for x in [8.0, 4.0, 2.0] {
            let mut columns: Vec<ArrayRef> = vec![Arc::new(Float64Array::from(vec![x]))];
            columns.extend(
                call.1
                    .map(|p| -> ArrayRef { Arc::new(Float64Array::from(vec![p])) }),
            );
            held.update_batch(&columns).unwrap();
        }
        assert_eq!(value(held.as_mut()), Some(expected), "{call:?}");
    }
}

/// Times, prices and volumes by minute and market.
type Trades = BTreeMap<(String, String), Vec<(i64, f64, f64)>>;

/// Prices and volumes of `tests/data/trades.ndjson` by minute and market, with their times in milliseconds of the minute.
fn trades() -> Trades {
    let mut trades: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for line in include_str!("../../../../tests/data/trades.ndjson").lines() {
        let Ok(trade) = serde_json::from_str::<serde_json::Value>(line) else {
            continue;
        };
        let text = |name: &str| trade[name].as_str().unwrap_or_default().to_owned();
        let number = |name: &str| trade[name].as_f64().or_else(|| text(name).parse().ok());
        let time = text("timestamp");
        if let (Some(price), Some(volume), false) =
            (number("price"), number("volume"), time.is_empty())
        {
            let millis = time[17..23].replace('.', "").parse().unwrap();
            let group = (time[..16].to_owned(), text("market"));
            trades
                .entry(group)
                .or_default()
                .push((millis, price, volume));
        }
    }
    trades
}

fn vwap(rows: &[(i64, f64, f64)]) -> Option<f64> {
    let function = aggregate_functions()
        .into_iter()
        .find(|one| one.name() == "vwap");
    let schema = Schema::empty();
    let number = Arc::new(Field::new("x", DataType::Float64, true));
    let fields = [Arc::clone(&number), Arc::clone(&number)];
    let arguments = AccumulatorArgs {
        return_field: number,
        schema: &schema,
        ignore_nulls: false,
        order_bys: &[],
        is_reversed: false,
        name: "vwap",
        is_distinct: false,
        exprs: &[],
        expr_fields: &fields,
    };
    let mut held = function.unwrap().accumulator(arguments).unwrap();
    let prices: Float64Array = rows.iter().map(|row| Some(row.1)).collect();
    let volumes: Float64Array = rows.iter().map(|row| Some(row.2)).collect();
    held.update_batch(&[Arc::new(prices), Arc::new(volumes)])
        .unwrap();
    value(held.as_mut())
}

/// `tests/data/indicators.py` says how the answers were made.
#[test]
fn each_is_what_pandas_says() {
    let mut trades = trades();
    let answers = include_str!("../../../../tests/data/indicators.csv")
        .lines()
        .skip(1);
    let calls = [
        ("ema", Some(0.2)),
        ("rsi", None),
        ("rsi", Some(5.0)),
        ("volatility", None),
        ("drawdown", None),
        ("pct_change", None),
        ("zscore", None),
    ];
    let mut compared = 0;
    for answer in answers {
        let cells: Vec<&str> = answer.split(',').collect();
        let group = (cells[0].to_owned(), cells[1].to_owned());
        let group = trades.remove(&group).unwrap();
        let rows: Vec<Row> = group.iter().map(|row| (Some(row.0), Some(row.1))).collect();
        let found = calls.map(|call| (call.0, of(call, &rows)));
        let found = [("vwap", vwap(&group))].into_iter().chain(found);
        for ((name, found), expected) in found.zip(&cells[2..]) {
            let expected = expected.parse::<f64>().ok();
            let same = match (found, expected) {
                (Some(found), Some(expected)) => (found - expected).abs() <= 1e-9 * expected.abs(),
                (found, expected) => found == expected,
            };
            assert!(same, "{name} of {answer}: {found:?} is not {expected:?}");
            compared += 1;
        }
    }
    assert_eq!((compared, trades.len()), (16 * 8, 0));
}
