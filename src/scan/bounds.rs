//! What a query's predicates say of where in the topic its rows can lie. Pure.
//!
//! | predicate on | narrows | how well |
//! |---|---|---|
//! | the partition column: `=`, `IN`, comparisons | which partitions are read | exactly |
//! | the offset column: comparisons | from which offset to which | exactly |
//! | the record's timestamp: `>`, `>=`, `=` | the first offset, by Kafka's time index | some more are read |
//! | the event time: `>`, `>=`, `=` | the same, `max_future` earlier | some more are read |
//!
//! An upper bound on a time narrows nothing: records need not be in the order of their timestamps.

use std::collections::BTreeSet;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Operator};

use crate::plan::{ScanOrigin, ScanSpec};
use crate::types::{MetadataColumn, Offset, PartitionId, PartitionRange};

/// Where a query's rows can lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bounds {
    /// `None`: all partitions.
    partitions: Option<BTreeSet<i64>>,
    /// The numbers of partitions: from, and up to (exclusive).
    partition_range: (i64, i64),
    /// Offsets: from, and up to (exclusive).
    offsets: (i64, i64),
    /// The least timestamp of a record, in microseconds since the Unix epoch.
    record_time_us: Option<i64>,
}

/// How well the scan serves a predicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Served {
    /// Not at all.
    No,
    /// All rows that fulfil it are read, and some that do not.
    Inexactly,
    /// Only rows that fulfil it are read.
    Exactly,
}

impl Served {
    /// How well both of two predicates are served.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Exactly, Self::Exactly) => Self::Exactly,
            (Self::No, Self::No) => Self::No,
            _ => Self::Inexactly,
        }
    }
}

/// The names of the columns that tell where a row lies.
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    partition: Vec<String>,
    offset: Vec<String>,
    timestamp: Vec<String>,
    event_time: Option<EventTimeColumn>,
}

#[derive(Debug, Clone)]
struct EventTimeColumn {
    name: String,
    /// The microseconds that it may lie after the record's timestamp.
    bound: i64,
    /// Whether its type has a time zone.
    zoned: bool,
}

/// What a column says of a row's place.
#[derive(Debug, Clone, Copy)]
enum Place {
    Partition,
    Offset,
    /// A time that is at most so many microseconds after the record's.
    Time {
        bound: i64,
        zoned: bool,
    },
}

impl Bounds {
    /// Everything.
    pub(super) fn all() -> Self {
        Self {
            partitions: None,
            partition_range: (i64::MIN, i64::MAX),
            offsets: (i64::MIN, i64::MAX),
            record_time_us: None,
        }
    }

    /// Whether a partition is read at all.
    pub(super) fn has_partition(&self, partition: PartitionId) -> bool {
        let number = i64::from(partition.0);
        let (from, to) = self.partition_range;
        self.partitions
            .as_ref()
            .is_none_or(|set| set.contains(&number))
            && (from..to).contains(&number)
    }

    /// The least timestamp, in milliseconds, for Kafka's time index; `None` if any will do.
    pub(super) fn record_time_ms(&self) -> Option<i64> {
        self.record_time_us.map(|time| time.div_euclid(1000))
    }

    /// The part of a partition's range that is read; `None` if there is none.
    pub(super) fn narrow(&self, range: PartitionRange) -> Option<PartitionRange> {
        let start = range.start.0.max(self.offsets.0);
        let end = range.end.0.min(self.offsets.1);
        (self.has_partition(range.partition) && start < end).then_some(PartitionRange {
            partition: range.partition,
            start: Offset(start),
            end: Offset(end),
        })
    }
}

impl Places {
    pub(super) fn of(spec: &ScanSpec) -> Self {
        let named = |wanted| {
            spec.columns
                .iter()
                .filter(|column| column.origin == ScanOrigin::Metadata(wanted))
                .map(|column| column.field.name().clone())
                .collect()
        };
        Self {
            partition: named(MetadataColumn::Partition),
            offset: named(MetadataColumn::Offset),
            timestamp: named(MetadataColumn::Timestamp),
            event_time: spec.max_future.map(|max_future| {
                let field = &spec.columns[max_future.column].field;
                EventTimeColumn {
                    name: field.name().clone(),
                    bound: i64::try_from(max_future.bound.as_micros()).unwrap_or(i64::MAX),
                    zoned: is_zoned(field.data_type()),
                }
            }),
        }
    }

    /// Narrows the bounds by a predicate, and says how well that serves it.
    pub(super) fn apply(&self, predicate: &Expr, bounds: &mut Bounds) -> Served {
        match predicate {
            Expr::BinaryExpr(BinaryExpr {
                left,
                op: Operator::And,
                right,
            }) => self.apply(left, bounds).and(self.apply(right, bounds)),
            Expr::BinaryExpr(BinaryExpr {
                left,
                op: Operator::Or,
                right,
            }) => {
                let union = self.partitions(left).zip(self.partitions(right));
                bounds.keep_partitions(union.map(|(a, b)| a.union(&b).copied().collect()))
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                if let Some(place) = self.place(left) {
                    return bounds.compare(place, *op, right);
                }
                match (self.place(right), op.swap()) {
                    (Some(place), Some(op)) => bounds.compare(place, op, left),
                    _ => Served::No,
                }
            }
            Expr::Between(Between {
                expr,
                negated: false,
                low,
                high,
            }) => match self.place(expr) {
                Some(place) => bounds
                    .compare(place, Operator::GtEq, low)
                    .and(bounds.compare(place, Operator::LtEq, high)),
                None => Served::No,
            },
            Expr::InList(_) => bounds.keep_partitions(self.partitions(predicate)),
            _ => Served::No,
        }
    }

    /// The partitions that a disjunction of equalities names.
    fn partitions(&self, predicate: &Expr) -> Option<BTreeSet<i64>> {
        match predicate {
            Expr::InList(list) if !list.negated => {
                if !matches!(self.place(&list.expr)?, Place::Partition) {
                    return None;
                }
                list.list.iter().map(whole_number).collect()
            }
            Expr::BinaryExpr(BinaryExpr {
                left,
                op: Operator::Or,
                right,
            }) => {
                let left = self.partitions(left)?;
                Some(left.union(&self.partitions(right)?).copied().collect())
            }
            Expr::BinaryExpr(BinaryExpr {
                left,
                op: Operator::Eq,
                right,
            }) => {
                let (column, value) = if self.place(left).is_some() {
                    (left, right)
                } else {
                    (right, left)
                };
                match self.place(column)? {
                    Place::Partition => Some(BTreeSet::from([whole_number(value)?])),
                    Place::Offset | Place::Time { .. } => None,
                }
            }
            _ => None,
        }
    }

    /// What an expression says of a row's place: a column, possibly cast to another type of the
    /// same meaning, for comparisons bring both sides to one type.
    fn place(&self, expr: &Expr) -> Option<Place> {
        match expr {
            Expr::Column(column) => self.place_of(&column.name),
            Expr::Cast(cast) => {
                let place = self.place(&cast.expr)?;
                let same = match (place, cast.field.data_type()) {
                    (Place::Partition | Place::Offset, DataType::Int64) => true,
                    (
                        Place::Time { zoned, .. },
                        cast @ DataType::Timestamp(TimeUnit::Microsecond | TimeUnit::Nanosecond, _),
                        // A time without a zone changes its meaning when it gets one.
                    ) => zoned == is_zoned(cast),
                    _ => false,
                };
                same.then_some(place)
            }
            _ => None,
        }
    }

    fn place_of(&self, name: &String) -> Option<Place> {
        if self.partition.contains(name) {
            return Some(Place::Partition);
        }
        if self.offset.contains(name) {
            return Some(Place::Offset);
        }
        match &self.event_time {
            Some(event_time) if event_time.name == *name => Some(Place::Time {
                bound: event_time.bound,
                zoned: event_time.zoned,
            }),
            _ => self.timestamp.contains(name).then_some(Place::Time {
                bound: 0,
                zoned: true,
            }),
        }
    }
}

fn is_zoned(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(_, Some(_)))
}

impl Bounds {
    fn keep_partitions(&mut self, wanted: Option<BTreeSet<i64>>) -> Served {
        let Some(wanted) = wanted else {
            return Served::No;
        };
        self.partitions = Some(match self.partitions.take() {
            Some(set) => set.intersection(&wanted).copied().collect(),
            None => wanted,
        });
        Served::Exactly
    }

    fn compare(&mut self, place: Place, op: Operator, value: &Expr) -> Served {
        let range = match place {
            Place::Time { bound, .. } => return self.compare_time(bound, op, value),
            Place::Partition => &mut self.partition_range,
            Place::Offset => &mut self.offsets,
        };
        let Some(value) = whole_number(value) else {
            return Served::No;
        };
        let (from, to) = match op {
            Operator::Eq => (value, value.saturating_add(1)),
            Operator::Gt => (value.saturating_add(1), i64::MAX),
            Operator::GtEq => (value, i64::MAX),
            Operator::Lt => (i64::MIN, value),
            Operator::LtEq => (i64::MIN, value.saturating_add(1)),
            _ => return Served::No,
        };
        *range = (range.0.max(from), range.1.min(to));
        Served::Exactly
    }

    fn compare_time(&mut self, bound: i64, op: Operator, value: &Expr) -> Served {
        let (Operator::Eq | Operator::Gt | Operator::GtEq) = op else {
            return Served::No;
        };
        let Some(value) = time_us(value) else {
            return Served::No;
        };
        let least = value.saturating_sub(bound);
        self.record_time_us = Some(self.record_time_us.map_or(least, |known| known.max(least)));
        Served::Inexactly
    }
}

fn whole_number(expr: &Expr) -> Option<i64> {
    let Expr::Literal(value, _) = expr else {
        return None;
    };
    match value {
        ScalarValue::Int8(value) => value.map(i64::from),
        ScalarValue::Int16(value) => value.map(i64::from),
        ScalarValue::Int32(value) => value.map(i64::from),
        ScalarValue::Int64(value) => *value,
        _ => None,
    }
}

/// A time in microseconds, rounded down.
fn time_us(expr: &Expr) -> Option<i64> {
    let Expr::Literal(value, _) = expr else {
        return None;
    };
    match value {
        ScalarValue::TimestampSecond(value, _) => value.map(|time| time.saturating_mul(1_000_000)),
        ScalarValue::TimestampMillisecond(value, _) => value.map(|time| time.saturating_mul(1000)),
        ScalarValue::TimestampMicrosecond(value, _) => *value,
        ScalarValue::TimestampNanosecond(value, _) => value.map(|time| time.div_euclid(1000)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
    use datafusion::common::ScalarValue;
    use datafusion::logical_expr::{Expr, cast, col, lit};

    use super::{Bounds, Places, Served};
    use crate::plan::{MaxFuture, ScanColumn, ScanOrigin, ScanSpec};
    use crate::types::{
        KafkaConnection, MetadataColumn, Offset, PartitionId, PartitionRange, PathStep,
    };

    fn utc(unit: TimeUnit) -> DataType {
        DataType::Timestamp(unit, Some("+00:00".into()))
    }

    fn spec() -> ScanSpec {
        let micros = utc(TimeUnit::Microsecond);
        let columns: Vec<ScanColumn> = [
            (
                "p",
                DataType::Int32,
                ScanOrigin::Metadata(MetadataColumn::Partition),
            ),
            (
                "o",
                DataType::Int64,
                ScanOrigin::Metadata(MetadataColumn::Offset),
            ),
            (
                "t",
                micros.clone(),
                ScanOrigin::Metadata(MetadataColumn::Timestamp),
            ),
            (
                "at",
                micros,
                ScanOrigin::Payload {
                    path: vec![PathStep::Key("at".to_owned())],
                    raw_json: false,
                },
            ),
        ]
        .into_iter()
        .map(|(name, data_type, origin)| ScanColumn {
            field: Arc::new(Field::new(name, data_type, true)),
            origin,
        })
        .collect();
        let fields: Vec<_> = columns
            .iter()
            .map(|column| Arc::clone(&column.field))
            .collect();
        ScanSpec {
            table: "t".to_owned(),
            topic: "t".to_owned(),
            connection: KafkaConnection::default(),
            columns,
            schema: Arc::new(Schema::new(fields)),
            read_committed: true,
            fetch: crate::types::FetchMode::Auto,
            max_future: Some(MaxFuture {
                column: 3,
                bound: Duration::from_micros(500),
            }),
        }
    }

    fn apply(predicate: &Expr) -> (Served, Bounds) {
        let mut bounds = Bounds::all();
        let served = Places::of(&spec()).apply(predicate, &mut bounds);
        (served, bounds)
    }

    fn time(micros: i64) -> Expr {
        Expr::Literal(
            ScalarValue::TimestampMicrosecond(Some(micros), Some("+00:00".into())),
            None,
        )
    }

    fn partitions(bounds: &Bounds) -> Vec<i32> {
        (0..6)
            .filter(|partition| bounds.has_partition(PartitionId(*partition)))
            .collect()
    }

    fn offsets(bounds: &Bounds) -> Option<(i64, i64)> {
        let range = PartitionRange {
            partition: PartitionId(0),
            start: Offset(10),
            end: Offset(20),
        };
        bounds
            .narrow(range)
            .map(|range| (range.start.0, range.end.0))
    }

    #[test]
    fn predicates_on_the_partition_choose_partitions_exactly() {
        let cases = [
            (col("p").eq(lit(3)), vec![3]),
            (lit(3).eq(cast(col("p"), DataType::Int64)), vec![3]),
            (
                col("p").in_list(vec![lit(1), lit(4_i64)], false),
                vec![1, 4],
            ),
            (col("p").eq(lit(1)).or(col("p").eq(lit(2))), vec![1, 2]),
            (col("p").gt(lit(3)), vec![4, 5]),
            (lit(3).gt(col("p")), vec![0, 1, 2]),
            (col("p").between(lit(2), lit(3)), vec![2, 3]),
            (col("p").eq(lit(1)).and(col("p").eq(lit(2))), vec![]),
        ];
        for (predicate, expected) in cases {
            let (served, bounds) = apply(&predicate);
            assert_eq!(
                (served, partitions(&bounds)),
                (Served::Exactly, expected),
                "{predicate}"
            );
        }
    }

    #[test]
    fn predicates_on_the_offset_cut_ranges_exactly() {
        let cases = [
            (col("o").gt(lit(12_i64)), Some((13, 20))),
            (col("o").gt_eq(lit(12_i64)), Some((12, 20))),
            (col("o").lt(lit(12_i64)), Some((10, 12))),
            (col("o").lt_eq(lit(12)), Some((10, 13))),
            (col("o").eq(lit(12_i64)), Some((12, 13))),
            (col("o").gt(lit(19_i64)), None),
            (col("o").gt(lit(i64::MAX)), None),
        ];
        for (predicate, expected) in cases {
            let (served, bounds) = apply(&predicate);
            assert_eq!(
                (served, offsets(&bounds)),
                (Served::Exactly, expected),
                "{predicate}"
            );
        }
    }

    #[test]
    fn a_lower_bound_on_a_time_is_found_in_the_time_index() {
        let nanos = Expr::Literal(
            ScalarValue::TimestampNanosecond(Some(2_000_999), Some("UTC".into())),
            None,
        );
        let cases = [
            (col("t").gt_eq(time(7_999)), Some(7)),
            (time(8_000).lt(col("t")), Some(8)),
            (cast(col("t"), utc(TimeUnit::Nanosecond)).gt(nanos), Some(2)),
            (col("t").between(time(5_000), time(9_000)), Some(5)),
            (col("at").gt(time(5_400)), Some(4)),
            (col("at").eq(time(400)), Some(-1)),
            (
                col("at").gt(time(5_000)).and(col("t").gt(time(9_000))),
                Some(9),
            ),
        ];
        for (predicate, expected) in cases {
            let (served, bounds) = apply(&predicate);
            assert_eq!(served, Served::Inexactly, "{predicate}");
            assert_eq!(bounds.record_time_ms(), expected, "{predicate}");
        }
    }

    #[test]
    fn what_says_nothing_of_the_place_narrows_nothing() {
        let naive = DataType::Timestamp(TimeUnit::Microsecond, None);
        let cases = [
            col("t").lt(time(5)),
            col("p").not_eq(lit(1)),
            col("p").eq(col("o")),
            col("p").eq(lit(1)).or(col("o").eq(lit(1_i64))),
            col("p").in_list(vec![lit(1)], true),
            cast(col("t"), naive).gt(Expr::Literal(
                ScalarValue::TimestampMicrosecond(Some(1), None),
                None,
            )),
            cast(col("o"), DataType::Int32).gt(lit(1)),
            col("x").gt(lit(1)),
        ];
        for predicate in cases {
            let (served, bounds) = apply(&predicate);
            assert_eq!((served, bounds), (Served::No, Bounds::all()), "{predicate}");
        }
    }

    #[test]
    fn one_half_of_a_conjunction_narrows_by_itself() {
        let (served, bounds) = apply(&col("p").eq(lit(1)).and(col("x").gt(lit(1))));
        assert_eq!(served, Served::Inexactly);
        assert_eq!(partitions(&bounds), [1]);
    }
}
