//! What rows are compared with, and what is known of that before they are looked at one by one.

use arrow::datatypes::{Field, Schema};
use datafusion::physical_expr::expressions::Column;

use super::*;

/// The times of rows of these partitions; each says of the watermark what its time is.
fn times(rows: &[(i32, i64)]) -> RowTimes {
    let values: TimestampMicrosecondArray = rows.iter().map(|(_, time)| Some(*time)).collect();
    let field = Field::new("at", values.data_type().clone(), true);
    let schema = Arc::new(Schema::new(vec![field]));
    let batch = RecordBatch::try_new(schema, vec![Arc::new(values)]).unwrap();
    let column = || Arc::new(Column::new("at", 0));
    let plan = EventTimePlan {
        column: "at".to_owned(),
        time: column(),
        watermark: column(),
    };
    row_times(&plan, &batch, |row| PartitionId(rows[row].0)).unwrap()
}

fn watermark(time: i64) -> Watermark {
    Watermark(EventTime(time))
}

/// Partitions that stand there, none of them idle.
fn standing(partitions: &[i64]) -> Standing {
    let least = |of: &mut dyn Iterator<Item = &i64>| of.min().map(|time| watermark(*time));
    let place = |partition: usize| {
        let others = partitions.iter().enumerate();
        let mut others = others.filter(|(other, _)| *other != partition).map(|o| o.1);
        let own = watermark(partitions[partition]);
        let partition = PartitionId(i32::try_from(partition).unwrap());
        let place = InputPartition {
            input: 0,
            partition,
        };
        (place, (own, least(&mut others)))
    };
    Standing {
        query: least(&mut partitions.iter()).unwrap(),
        partitions: (0..partitions.len()).map(place).collect::<BTreeMap<_, _>>(),
    }
}

#[test]
fn a_partition_that_is_far_ahead_is_compared_with_where_the_others_stand() {
    let times = times(&[(0, 10), (1, 100), (1, 110), (0, 20)]);
    let at_most = times.compared_at_most(0, &standing(&[5, 95]));
    assert_eq!(at_most, watermark(5));
    let alone = times.compared_at_most(0, &standing(&[95]));
    assert_eq!(alone, watermark(95), "there are no others to wait for");
}

#[test]
fn no_row_is_compared_with_more_than_where_partitions_stood_and_what_its_own_has_said() {
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..2_000 {
        let partitions = random.i32(1..4);
        let stood: Vec<i64> = (0..partitions).map(|_| random.i64(0..50)).collect();
        let rows: Vec<(i32, i64)> = (0..random.usize(1..12))
            .map(|_| (random.i32(0..partitions), random.i64(0..100)))
            .collect();
        let (times, standing) = (times(&rows), standing(&stood));
        let at_most = times.compared_at_most(0, &standing);
        let compared = times.of(0, &standing, true).row_watermarks;
        for (row, compared) in compared.iter().enumerate() {
            let said = watermark(times.said_before()[row]);
            assert!(
                *compared <= at_most.max(said),
                "row {row} of {rows:?} by {stood:?}: {compared:?} exceeds {at_most:?} and {said:?}"
            );
        }
        assert!(
            compared.contains(&at_most),
            "no row of {rows:?} by {stood:?} meets {at_most:?}"
        );
    }
}
