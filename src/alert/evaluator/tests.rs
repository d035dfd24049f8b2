//! What an alert tells of rows, windows and time, and what it remembers.

use arrow::array::{ArrayRef, BooleanArray, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{Field, Schema};

use super::*;
use crate::types::Op;

const SECOND: i64 = 1_000_000;

/// Rows of symbol, price, start and end of a window, and whether the price is above 100.
fn rows(lines: &[(&str, i64, i64)]) -> RecordBatch {
    let time = |of: fn(i64) -> i64| {
        let times = lines.iter().map(|(_, _, start)| of(*start) * SECOND);
        Arc::new(TimestampMicrosecondArray::from_iter_values(times)) as ArrayRef
    };
    let symbols = StringArray::from_iter_values(lines.iter().map(|line| line.0));
    let prices = Int64Array::from_iter_values(lines.iter().map(|line| line.1));
    let holds: BooleanArray = lines.iter().map(|line| Some(line.1 > 100)).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("symbol", Arc::new(symbols)),
        ("price", Arc::new(prices)),
        ("window_start", time(|start| start)),
        ("window_end", time(|start| start + 60)),
        ("alert when", Arc::new(holds)),
    ];
    let fields = columns
        .iter()
        .map(|(name, array)| Field::new(*name, array.data_type().clone(), true));
    let schema = Schema::new(fields.collect::<Vec<_>>());
    let arrays = columns.iter().map(|(_, array)| Arc::clone(array)).collect();
    RecordBatch::try_new(Arc::new(schema), arrays).unwrap()
}

fn evaluator(rules: Rules, is_open: bool) -> Evaluator {
    let watch = Watch {
        alert: "high".to_owned(),
        generation: 1,
        shown: vec![0, 1, 2, 3],
        key: vec![0],
        row: if is_open { vec![2] } else { Vec::new() },
        window: is_open.then_some((2, 3)),
        is_open,
        time: None,
        is_of_groups: false,
        holds: Some(4),
        clear: None,
    };
    let rules = AlertRules {
        rules,
        severity: "page".to_owned(),
        message: Some("{{ symbol }} at {{ price }}".to_owned()),
        resolved: None,
    };
    Evaluator::try_new(watch, rules, &rows(&[]).schema()).unwrap()
}

fn moment(watermark: i64, silent: u64) -> Moment {
    Moment {
        at: ProcessingTime(0),
        watermark: Some(EventTime(watermark * SECOND)),
        earliest: None,
        latest: None,
        silent: Duration::from_secs(silent),
        offsets: Some("{}".to_owned()),
    }
}

/// What is told, each `state number @second: message`.
fn told(notifications: &[Notification]) -> Vec<String> {
    let line = |one: &Notification| {
        let at = one.event_time.0 / SECOND;
        format!("{} {} @{at}: {}", one.state, one.number, one.message)
    };
    notifications.iter().map(line).collect()
}

#[test]
fn each_row_of_a_micro_batch_is_looked_at() {
    let mut alert = evaluator(Rules::default(), false);
    let batch = rows(&[
        ("BTC", 90, 0),
        ("BTC", 101, 0),
        ("ETH", 7, 0),
        ("BTC", 102, 0),
        ("BTC", 5, 0),
    ]);
    let all = alert
        .look(&[ChangeBatch::inserts(batch)], &moment(3, 0))
        .unwrap();
    assert_eq!(
        told(&all),
        [
            "firing 1 @3: BTC at 101",
            "resolved 2 @3: high resolved: symbol BTC"
        ]
    );
    assert_eq!(all[0].key, r#"{"symbol":"BTC"}"#);
    let values = r#"{"symbol":"BTC","price":101,"window_start":"1970-01-01T00:00:00Z","window_end":"1970-01-01T00:01:00Z"}"#;
    assert_eq!(all[0].values, values);
    assert_eq!(
        (all[0].severity.as_str(), all[0].offsets.as_deref()),
        ("page", Some("{}"))
    );
    assert_ne!(all[0].id, all[1].id);
}

#[test]
fn rows_with_times_of_their_own_are_looked_at_in_their_order() {
    let watch = Watch {
        time: Some(2),
        is_of_groups: false,
        ..evaluator(Rules::default(), false).watch
    };
    let rules = AlertRules::default();
    let mut alert = Evaluator::try_new(watch, rules, &rows(&[]).schema()).unwrap();
    // Two partitions of one micro-batch, and a row that comes behind them.
    let first = ChangeBatch::inserts(rows(&[("BTC", 101, 10), ("BTC", 102, 30)]));
    let second = ChangeBatch::inserts(rows(&[("BTC", 1, 20), ("BTC", 2, 40)]));
    let all = alert.look(&[first, second], &moment(0, 0)).unwrap();
    let late = ChangeBatch::inserts(rows(&[("BTC", 103, 35)]));
    let none = alert.look(&[late], &moment(0, 0)).unwrap();
    let times = all.iter().map(|one| one.event_time.0 / SECOND);
    assert_eq!(times.collect::<Vec<_>>(), [10, 20, 30, 40]);
    assert!(none.is_empty(), "the key stands on a newer row");
}

#[test]
fn a_closed_window_is_looked_at_as_of_its_end() {
    let watch = Watch {
        window: Some((2, 3)),
        ..evaluator(Rules::default(), false).watch
    };
    let rules = Rules {
        lasts: 90 * SECOND,
        ..Rules::default()
    };
    let rules = AlertRules {
        rules,
        ..AlertRules::default()
    };
    let mut alert = Evaluator::try_new(watch, rules, &rows(&[]).schema()).unwrap();
    // Three windows close at once, since the watermark has come far.
    let closed = rows(&[("BTC", 101, 0), ("BTC", 102, 60), ("BTC", 1, 120)]);
    let all = alert.look(&[ChangeBatch::inserts(closed)], &moment(600, 0));
    let all = all.unwrap();
    let times = all.iter().map(|one| one.event_time.0 / SECOND);
    assert_eq!(times.collect::<Vec<_>>(), [150, 180]);
    assert_eq!(all[0].window_end, Some(EventTime(120 * SECOND)));
}

#[test]
fn a_row_that_changes_counts_in_its_new_form_and_one_that_goes_no_more() {
    let mut alert = evaluator(Rules::default(), true);
    let first = ChangeBatch::inserts(rows(&[("BTC", 101, 0), ("BTC", 1, 60)]));
    assert_eq!(
        told(&alert.look(&[first], &moment(1, 0)).unwrap()),
        ["firing 1 @1: BTC at 101"]
    );
    let ops = vec![Op::UpdateBefore, Op::UpdateAfter];
    let change = ChangeBatch::new(rows(&[("BTC", 101, 0), ("BTC", 103, 0)]), ops);
    assert_eq!(
        told(&alert.look(&[change], &moment(2, 0)).unwrap()),
        [""; 0]
    );
    let gone = ChangeBatch::new(rows(&[("BTC", 103, 0)]), vec![Op::Delete]);
    assert_eq!(
        told(&alert.look(&[gone], &moment(3, 0)).unwrap()),
        ["resolved 2 @3: high resolved: symbol BTC"]
    );
}

#[test]
fn a_window_counts_until_the_watermark_is_at_its_end() {
    let mut alert = evaluator(Rules::default(), true);
    let first = ChangeBatch::inserts(rows(&[("BTC", 101, 0), ("BTC", 1, 60)]));
    alert.look(&[first], &moment(59, 0)).unwrap();
    assert_eq!(
        told(&alert.look(&[], &moment(60, 0)).unwrap()),
        ["resolved 2 @60: high resolved: symbol BTC"]
    );
}

#[test]
fn what_was_written_down_goes_on_as_it_was() {
    let rules = Rules {
        lasts: 10 * SECOND,
        ..Rules::default()
    };
    let mut alert = evaluator(rules, false);
    let first = ChangeBatch::inserts(rows(&[("BTC", 101, 0)]));
    assert!(alert.look(&[first], &moment(5, 0)).unwrap().is_empty());
    let written = alert.written(usize::MAX).unwrap();
    let mut again = evaluator(rules, false);
    for (key, text) in written {
        again.read(&key, &text.expect("no key is gone")).unwrap();
    }
    assert_eq!(again.next(), Some(Duration::from_secs(10)));
    assert!(again.look(&[], &moment(5, 9)).unwrap().is_empty());
    let all = again.look(&[], &moment(5, 11)).unwrap();
    assert_eq!(
        told(&all),
        ["firing 1 @15: BTC at 101"],
        "time goes on in silence"
    );
    let told_before = alert.look(&[], &moment(15, 0)).unwrap();
    assert_eq!(
        told_before[0].id, all[0].id,
        "an id is the same in a replay"
    );
}
