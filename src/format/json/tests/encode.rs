//! Every value is written so that it reads back the same.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array,
    DictionaryArray, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array,
    IntervalMonthDayNanoArray, ListArray, RecordBatch, StringArray, StringViewArray, StructArray,
    Time64MicrosecondArray, TimestampMicrosecondArray, TimestampNanosecondArray,
    TimestampSecondArray, UInt64Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields, Int32Type, IntervalMonthDayNano, Schema, i256};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};

use super::decode;
use crate::format::{JsonEncoder, JsonField, JsonKind};

fn record(columns: Vec<(Field, ArrayRef)>) -> RecordBatch {
    let (fields, arrays): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("arrays fit their fields")
}

fn column(name: &str, array: impl Array + 'static) -> (Field, ArrayRef) {
    (
        Field::new(name, array.data_type().clone(), true),
        Arc::new(array),
    )
}

/// The rows as text.
fn lines(batch: &RecordBatch) -> Vec<String> {
    let encoder = JsonEncoder::try_new(batch.schema()).expect("all types have a form");
    let rows = encoder.encode(batch).expect("all values have a form");
    assert_eq!(rows.len(), batch.num_rows(), "a row each");
    let lines: Vec<_> = rows
        .rows()
        .map(|row| String::from_utf8(row.to_vec()).expect("JSON is UTF-8"))
        .collect();
    let joined: String = lines.iter().map(|line| format!("{line}\n")).collect();
    assert_eq!(rows.lines(), joined.as_bytes(), "the same as NDJSON");
    let owned = rows
        .into_iter()
        .map(|row| String::from_utf8(row).expect("JSON is UTF-8"));
    assert!(owned.eq(lines.iter().cloned()), "the same one by one");
    lines
}

/// The one value of a column of one row.
fn written(array: impl Array + 'static) -> String {
    let lines = lines(&record(vec![column("v", array)]));
    lines[0]
        .strip_prefix("{\"v\":")
        .and_then(|rest| rest.strip_suffix('}'))
        .expect("v")
        .to_owned()
}

#[test]
fn numbers_keep_all_their_digits() {
    assert_eq!(
        written(Int64Array::from(vec![i64::MIN])),
        "-9223372036854775808"
    );
    assert_eq!(
        written(UInt64Array::from(vec![u64::MAX])),
        "18446744073709551615"
    );
    let numeric = |value, precision, scale| {
        Decimal128Array::from(vec![value])
            .with_precision_and_scale(precision, scale)
            .unwrap()
    };
    assert_eq!(written(numeric(-5, 10, 2)), "-0.05");
    assert_eq!(written(numeric(1250, 10, 2)), "12.50");
    assert_eq!(written(numeric(12, 10, -3)), "12000");
    assert_eq!(
        written(numeric(10i128.pow(38) - 1, 38, 38)),
        format!("0.{}", "9".repeat(38))
    );
    let long = Decimal256Array::from(vec![i256::from_i128(7)]);
    assert_eq!(
        written(long.with_precision_and_scale(76, 3).unwrap()),
        "0.007"
    );
    assert_eq!(
        written(Float64Array::from(vec![0.1 + 0.2])),
        "0.30000000000000004"
    );
    assert_eq!(written(Float32Array::from(vec![0.1])), "0.1");
    assert_eq!(written(Float64Array::from(vec![f64::NAN])), "\"NaN\"");
    assert_eq!(
        written(Float64Array::from(vec![f64::NEG_INFINITY])),
        "\"-Infinity\""
    );
    assert_eq!(
        written(Float32Array::from(vec![f32::INFINITY])),
        "\"Infinity\""
    );
}

#[test]
fn times_have_only_the_digits_that_they_need() {
    let micros = |value| TimestampMicrosecondArray::from(vec![value]);
    assert_eq!(
        written(micros(1_531_846_800_000_000)),
        "\"2018-07-17T17:00:00Z\""
    );
    assert_eq!(
        written(micros(1_531_846_800_015_000)),
        "\"2018-07-17T17:00:00.015Z\""
    );
    assert_eq!(
        written(micros(1_531_846_800_000_001)),
        "\"2018-07-17T17:00:00.000001Z\""
    );
    assert_eq!(
        written(micros(1_531_846_800_000_000).with_timezone("+02:00")),
        "\"2018-07-17T17:00:00Z\"",
        "always in UTC"
    );
    assert_eq!(written(micros(-1)), "\"1969-12-31T23:59:59.999999Z\"");
    assert_eq!(
        written(micros(253_402_300_800_000_000)),
        "\"+10000-01-01T00:00:00Z\""
    );
    assert_eq!(
        written(micros(-62_198_755_200_000_000)),
        "\"-0001-01-01T00:00:00Z\""
    );
    let seconds = TimestampSecondArray::from(vec![1_531_846_800]);
    assert_eq!(written(seconds), "\"2018-07-17T17:00:00Z\"");
    let nanos = TimestampNanosecondArray::from(vec![-1]);
    assert_eq!(written(nanos), "\"1969-12-31T23:59:59.999999999Z\"");
    assert_eq!(written(Date32Array::from(vec![17_729])), "\"2018-07-17\"");
    let time = Time64MicrosecondArray::from(vec![61_200_500_000]);
    assert_eq!(written(time), "\"17:00:00.5\"");
}

#[test]
fn intervals_are_written_in_their_parts() {
    const S: i64 = 1_000_000_000;
    for (months, days, nanos, expected) in [
        (0, 0, 0, "PT0S"),
        (14, 3, 14_706 * S + S / 2, "P1Y2M3DT4H5M6.5S"),
        (-14, -3, -S / 2, "P-1Y-2M-3DT-0.5S"),
        (1, 0, 0, "P1M"),
        (0, 0, 3600 * S, "PT1H"),
        (0, 0, 1, "PT0.000000001S"),
    ] {
        let interval = IntervalMonthDayNano::new(months, days, nanos);
        let array = IntervalMonthDayNanoArray::from(vec![interval]);
        assert_eq!(written(array), format!("\"{expected}\""));
    }
}

#[test]
fn texts_bytes_and_nested_values() {
    let text = StringArray::from(vec!["a\"b\\c\n\u{1}\u{e9}"]);
    assert_eq!(written(text), "\"a\\\"b\\\\c\\n\\u0001\u{e9}\"");
    assert_eq!(
        written(BinaryArray::from(vec![&b"hi\xff"[..]])),
        "\"\\\\x6869ff\""
    );
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None])]);
    assert_eq!(written(list), "[1,null]");
    let fields = Fields::from(vec![
        Field::new("x \"y\"", DataType::Int64, true),
        Field::new("t", DataType::Utf8, true),
    ]);
    let members: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![1])),
        Arc::new(StringArray::from(vec![None::<&str>])),
    ];
    assert_eq!(
        written(StructArray::new(fields, members, None)),
        r#"{"x \"y\"":1,"t":null}"#
    );
    let dictionary: DictionaryArray<Int32Type> = ["a"].into_iter().collect();
    assert_eq!(written(dictionary), "\"a\"");
    assert_eq!(written(BooleanArray::from(vec![None])), "null");
}

#[test]
fn json_is_written_as_it_is_on_one_line() {
    let json = |text: &str| {
        let field = JsonKind::RawJson.mark(Field::new("v", DataType::Utf8View, true));
        record(vec![(field, Arc::new(StringViewArray::from(vec![text])))])
    };
    assert_eq!(lines(&json("{ \"a\" : 1e0 }")), ["{\"v\":{ \"a\" : 1e0 }}"]);
    assert_eq!(lines(&json("{\r\n\"a\":1}")), ["{\"v\":{  \"a\":1}}"]);
    for text in ["", "{", "1 2", "{}}", "'a'"] {
        let batch = json(text);
        let encoder = JsonEncoder::try_new(batch.schema()).expect("a json column");
        let error = encoder.encode(&batch).unwrap_err();
        assert_eq!(
            error.message(),
            "column \"v\" holds text that is not JSON",
            "{text}"
        );
    }
}

#[test]
fn what_has_no_form_is_refused_at_once() {
    let refused = |fields: Vec<Field>| {
        JsonEncoder::try_new(Arc::new(Schema::new(fields)))
            .unwrap_err()
            .message()
            .to_owned()
    };
    let a = || Field::new("a", DataType::Int64, true);
    assert_eq!(refused(vec![a(), a()]), "column \"a\" appears twice");
    let entries = Field::new(
        "entries",
        DataType::Struct(Fields::from(vec![a(), a()])),
        false,
    );
    let map = DataType::Map(Arc::new(entries), false);
    assert!(
        refused(vec![Field::new("m", map, true)]).starts_with("cannot write type Map"),
        "a map"
    );
    let empty = RecordBatch::try_new_with_options(
        Arc::new(Schema::empty()),
        vec![],
        &arrow::array::RecordBatchOptions::new().with_row_count(Some(2)),
    );
    assert_eq!(lines(&empty.expect("two rows of nothing")), ["{}", "{}"]);
}

type Lists = Vec<Option<Vec<Option<String>>>>;

/// Columns of all numbers that the decoder reads, with nulls; the same number of rows in all.
fn numbers(rows: usize) -> impl Strategy<Value = Vec<(Field, ArrayRef)>> {
    let doubles = prop_oneof![any::<f64>(), Just(f64::INFINITY), Just(-0.0)];
    (
        vec(option::of(any::<bool>()), rows),
        vec(option::of(any::<i16>()), rows),
        vec(option::of(any::<i32>()), rows),
        vec(option::of(any::<i64>()), rows),
        vec(option::of(any::<f32>()), rows),
        vec(option::of(doubles), rows),
        vec(option::of(-(10i128.pow(38) - 1)..10i128.pow(38)), rows),
    )
        .prop_map(
            |(bools, smallints, integers, bigints, reals, doubles, numerics)| {
                let numerics = Decimal128Array::from(numerics).with_precision_and_scale(38, 9);
                vec![
                    column("bool", BooleanArray::from(bools)),
                    column("smallint", Int16Array::from(smallints)),
                    column("integer", Int32Array::from(integers)),
                    column("bigint", Int64Array::from(bigints)),
                    column("real", Float32Array::from(reals)),
                    column("double", Float64Array::from(doubles)),
                    column("numeric", numerics.expect("38 digits")),
                ]
            },
        )
}

/// Columns of all kinds of times.
fn times(rows: usize) -> impl Strategy<Value = Vec<(Field, ArrayRef)>> {
    let years = -62_198_755_200_000_000..253_402_300_800_000_000i64;
    let any_time = prop_oneof![years.clone(), any::<i64>()];
    (
        vec(option::of(any::<i32>()), rows),
        vec(option::of(0..86_400_000_000i64), rows),
        vec(option::of(years), rows),
        vec(option::of(any_time), rows),
        vec(option::of((any::<i32>(), any::<i32>(), any::<i64>())), rows),
    )
        .prop_map(|(dates, times, timestamps, zoned, intervals)| {
            let interval = |(months, days, nanos)| IntervalMonthDayNano::new(months, days, nanos);
            let intervals = intervals.into_iter().map(|parts| parts.map(interval));
            vec![
                column("date", Date32Array::from(dates)),
                column("time", Time64MicrosecondArray::from(times)),
                column("timestamp", TimestampMicrosecondArray::from(timestamps)),
                column(
                    "timestamptz",
                    TimestampMicrosecondArray::from(zoned).with_timezone("+00:00"),
                ),
                column("interval", intervals.collect::<IntervalMonthDayNanoArray>()),
            ]
        })
}

/// Columns of texts and of what holds them.
fn texts(rows: usize) -> impl Strategy<Value = Vec<(Field, ArrayRef)>> {
    (
        vec(option::of(any::<String>()), rows),
        vec(option::of(vec(any::<u8>(), 0..20)), rows),
        vec(option::of(vec(option::of(any::<String>()), 0..4)), rows),
    )
        .prop_map(|(texts, bytes, lists)| {
            let json = |text: &String| serde_json::json!({ text.as_str(): [text] }).to_string();
            let json: StringViewArray = texts.iter().map(|text| text.as_ref().map(json)).collect();
            let texts = StringViewArray::from_iter(texts);
            let json_field = JsonKind::RawJson.mark(Field::new("json", DataType::Utf8View, true));
            vec![
                column("text", texts.clone()),
                (json_field, Arc::new(json.clone())),
                column("bytea", BinaryArray::from_iter(bytes)),
                column("list", text_lists(&lists)),
                column("row", text_and_json(texts, json)),
            ]
        })
}

/// Columns of each type that the decoder reads.
fn rows() -> impl Strategy<Value = RecordBatch> {
    (1..8usize)
        .prop_flat_map(|rows| (numbers(rows), times(rows), texts(rows)))
        .prop_map(|(numbers, times, texts)| record([numbers, times, texts].concat()))
}

fn text_lists(lists: &Lists) -> ListArray {
    let values: StringViewArray = lists
        .iter()
        .flatten()
        .flatten()
        .map(Option::as_deref)
        .collect();
    let lengths = lists.iter().map(|list| list.as_ref().map_or(0, Vec::len));
    let nulls: NullBuffer = lists.iter().map(Option::is_some).collect();
    let field = Arc::new(Field::new("item", DataType::Utf8View, true));
    ListArray::new(
        field,
        OffsetBuffer::from_lengths(lengths),
        Arc::new(values),
        Some(nulls),
    )
}

fn text_and_json(text: StringViewArray, json: StringViewArray) -> StructArray {
    let fields = Fields::from(vec![
        Field::new("text", DataType::Utf8View, true),
        JsonKind::RawJson.mark(Field::new("some \"json\"", DataType::Utf8View, true)),
    ]);
    StructArray::new(fields, vec![Arc::new(text), Arc::new(json)], None)
}

proptest! {
    #[test]
    fn what_is_written_reads_back_the_same(batch in rows()) {
        let fields = batch.schema().fields().iter().map(|field| JsonField {
            kind: JsonKind::of(field),
            ..JsonField::new(field.name(), field.data_type().clone())
        }).collect();
        let decoded = decode(fields, &lines(&batch));
        prop_assert_eq!(&decoded.rejected, &[]);
        for (place, (found, expected)) in decoded.columns.iter().zip(batch.columns()).enumerate() {
            let name = batch.schema().field(place).name().clone();
            if expected.data_type().is_floating() {
                // Not by equality: a NaN is not equal to itself.
                prop_assert_eq!(format!("{found:?}"), format!("{expected:?}"), "{}", name);
            } else {
                prop_assert_eq!(found, expected, "{}", name);
            }
        }
    }
}
