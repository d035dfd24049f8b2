//! Each type in text and in binary, compared with what PostgreSQL 15 sends.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array,
    DictionaryArray, DurationMicrosecondArray, FixedSizeBinaryArray, Float32Array, Float64Array,
    Int8Array, Int16Array, Int32Array, Int64Array, IntervalMonthDayNanoArray, ListArray,
    StringArray, StringViewArray, StructArray, Time64MicrosecondArray, TimestampMicrosecondArray,
    TimestampNanosecondArray, TimestampSecondArray, UInt32Array, UInt64Array,
};
use arrow::datatypes::{
    DataType, Field, Int32Type, IntervalMonthDayNano, IntervalMonthDayNanoType, i256,
};
use bytes::BytesMut;

use super::{Column, Format, Style, write_sized, write_text};
use crate::session::{pg_type, zone};

fn style(name: &str) -> Style {
    Style {
        zone: zone::parse(name).unwrap(),
    }
}

fn text_in(zone: &str, array: &ArrayRef, field: &Field) -> Vec<String> {
    let column = Column::try_new(array, field).unwrap();
    (0..array.len())
        .map(|row| {
            if column.is_null(row) {
                return "NULL".to_owned();
            }
            let mut out = BytesMut::new();
            write_text(&column, row, style(zone), &mut out);
            String::from_utf8(out.to_vec()).unwrap()
        })
        .collect()
}

fn text(array: impl Array + 'static) -> Vec<String> {
    let field = Field::new("c", array.data_type().clone(), true);
    text_in("UTC", &(Arc::new(array) as ArrayRef), &field)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The value with its length in front, as a data row has it.
fn binary_of(array: &ArrayRef, field: &Field) -> Vec<String> {
    let column = Column::try_new(array, field).unwrap();
    (0..array.len())
        .map(|row| {
            let mut out = BytesMut::new();
            write_sized(&column, row, Format::Binary, style("UTC"), &mut out).unwrap();
            hex(&out)
        })
        .collect()
}

fn binary(array: impl Array + 'static) -> Vec<String> {
    let field = Field::new("c", array.data_type().clone(), true);
    binary_of(&(Arc::new(array) as ArrayRef), &field)
}

fn oid(data_type: DataType) -> u32 {
    pg_type::of_field(&Field::new("c", data_type, true)).oid
}

#[test]
fn integers_have_the_width_of_their_type() {
    assert_eq!(text(Int16Array::from(vec![Some(-8), None])), ["-8", "NULL"]);
    assert_eq!(
        binary(Int16Array::from(vec![Some(-8), None])),
        ["00000002fff8", "ffffffff"]
    );
    assert_eq!(binary(Int8Array::from(vec![-8])), ["00000002fff8"]);
    assert_eq!(oid(DataType::Int8), 21);
    assert_eq!(binary(Int32Array::from(vec![1])), ["0000000400000001"]);
    assert_eq!(
        binary(Int64Array::from(vec![i64::MIN])),
        ["000000088000000000000000"]
    );
    assert_eq!(text(UInt32Array::from(vec![u32::MAX])), ["4294967295"]);
    assert_eq!(oid(DataType::UInt32), 20);
    assert_eq!(
        text(UInt64Array::from(vec![u64::MAX])),
        ["18446744073709551615"]
    );
    assert_eq!(oid(DataType::UInt64), 1700);
}

#[test]
fn floats_print_as_postgresql_prints_them() {
    let cases = [
        (1.0, "1"),
        (-0.0, "-0"),
        (0.0, "0"),
        (0.1, "0.1"),
        (1e20, "1e+20"),
        (1e15, "1e+15"),
        (1e14, "100000000000000"),
        (123_456_789_012_345.6, "123456789012345.6"),
        (1_234_567_890_123_456.0, "1.234567890123456e+15"),
        (0.0001, "0.0001"),
        (0.000_01, "1e-05"),
        (-1.5e-7, "-1.5e-07"),
        (1e300, "1e+300"),
        (f64::NAN, "NaN"),
        (f64::INFINITY, "Infinity"),
        (f64::NEG_INFINITY, "-Infinity"),
        (5e-324, "5e-324"),
    ];
    for (value, expected) in cases {
        assert_eq!(
            text(Float64Array::from(vec![value])),
            [expected],
            "{value:e}"
        );
    }
    let single = [
        (100_000.0, "100000"),
        (1e6, "1e+06"),
        (0.1, "0.1"),
        (16_777_216.0, "1.6777216e+07"),
    ];
    for (value, expected) in single {
        assert_eq!(
            text(Float32Array::from(vec![value])),
            [expected],
            "{value:e}"
        );
    }
    assert_eq!(
        binary(Float64Array::from(vec![1.0])),
        ["000000083ff0000000000000"]
    );
    assert_eq!(binary(Float32Array::from(vec![1.0])), ["000000043f800000"]);
}

#[test]
fn numeric_keeps_every_digit() {
    let decimal = |value: i128, scale: i8| {
        Decimal128Array::from(vec![value])
            .with_precision_and_scale(38, scale)
            .unwrap()
    };
    let cases: [(i128, i8, &str, &str); 10] = [
        (0, 0, "0", "0000000000000000"),
        (0, 2, "0.00", "0000000000000002"),
        (1, 0, "1", "00010000000000000001"),
        (-12_345, 2, "-123.45", "0002000040000002007b1194"),
        (30_871, 4, "3.0871", "000200000000000400030367"),
        (5, 10, "0.0000000005", "0001fffd0000000a01f4"),
        (10_000, 0, "10000", "00010001000000000001"),
        (123_456_789, 4, "12345.6789", "0003000100000004000109291a85"),
        (100_000_000, 4, "10000.0000", "00010001000000040001"),
        (12, -3, "12000", "0002000100000000000107d0"),
    ];
    for (value, scale, expected, bytes) in cases {
        assert_eq!(text(decimal(value, scale)), [expected]);
        let bytes = bytes.replace(' ', "");
        let expected = format!("{:08x}{bytes}", bytes.len() / 2);
        assert_eq!(
            binary(decimal(value, scale)),
            [expected],
            "{value} scale {scale}"
        );
    }
    let greatest = "99999999999999999999999999999999999999";
    let all_nines = decimal(greatest.parse().unwrap(), 10);
    assert_eq!(
        text(all_nines.clone()),
        ["9999999999999999999999999999.9999999999"]
    );
    assert_eq!(
        binary(all_nines),
        ["0000001c000a00060000000a270f270f270f270f270f270f270f270f270f26ac"],
    );
    let wide = Decimal256Array::from(vec![i256::from_string(&"9".repeat(60)).unwrap()])
        .with_precision_and_scale(76, 30)
        .unwrap();
    assert_eq!(text(wide), [format!("{0}.{0}", "9".repeat(30))]);
}

#[test]
fn a_numeric_column_tells_its_precision_and_scale() {
    let field = Field::new("c", DataType::Decimal128(12, 4), true);
    assert_eq!(pg_type::of_field(&field).modifier, (12 << 16 | 4) + 4);
}

#[test]
fn booleans_text_and_bytes() {
    assert_eq!(
        text(BooleanArray::from(vec![Some(true), Some(false), None])),
        ["t", "f", "NULL"]
    );
    assert_eq!(binary(BooleanArray::from(vec![true])), ["0000000101"]);
    assert_eq!(text(StringViewArray::from(vec!["héllo"])), ["héllo"]);
    assert_eq!(binary(StringArray::from(vec!["ab"])), ["000000026162"]);
    let dictionary: DictionaryArray<Int32Type> = vec!["x", "y", "x"].into_iter().collect();
    assert_eq!(text(dictionary), ["x", "y", "x"]);
    assert_eq!(
        text(BinaryArray::from_vec(vec![b"\x00\xff", b""])),
        ["\\x00ff", "\\x"]
    );
    assert_eq!(
        binary(BinaryArray::from_vec(vec![b"\x00\xff"])),
        ["0000000200ff"]
    );
}

#[test]
fn uuid_and_json_have_types_of_their_own() {
    let extended = |data_type, name: &str| {
        Field::new("c", data_type, true)
            .with_metadata([("ARROW:extension:name".to_owned(), name.to_owned())].into())
    };
    let bytes: [u8; 16] = [
        0xa0, 0xee, 0xbc, 0x99, 0x9c, 0x0b, 0x4e, 0xf8, 0xbb, 0x6d, 0x6b, 0xb9, 0xbd, 0x38, 0x0a,
        0x11,
    ];
    let array: ArrayRef =
        Arc::new(FixedSizeBinaryArray::try_from_iter([bytes].into_iter()).unwrap());
    let field = extended(DataType::FixedSizeBinary(16), "arrow.uuid");
    assert_eq!(pg_type::of_field(&field).oid, 2950);
    assert_eq!(
        text_in("UTC", &array, &field),
        ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]
    );
    assert_eq!(
        binary_of(&array, &field),
        ["00000010a0eebc999c0b4ef8bb6d6bb9bd380a11"]
    );
    let json = extended(DataType::Utf8View, "arrow.json");
    assert_eq!(pg_type::of_field(&json).oid, 114);
    let array: ArrayRef = Arc::new(StringViewArray::from(vec![r#"{"a": 1}"#]));
    assert_eq!(text_in("UTC", &array, &json), [r#"{"a": 1}"#]);
}

#[test]
fn dates_and_times() {
    assert_eq!(
        text(Date32Array::from(vec![0, 20_000, -719_163, 2_932_897])),
        ["1970-01-01", "2024-10-04", "0001-12-31 BC", "10000-01-01"],
    );
    assert_eq!(
        binary(Date32Array::from(vec![10_957])),
        ["0000000400000000"]
    );
    assert_eq!(
        text(Time64MicrosecondArray::from(vec![
            0,
            86_399_999_999,
            3_600_500_000
        ])),
        ["00:00:00", "23:59:59.999999", "01:00:00.5"],
    );
    assert_eq!(
        binary(Time64MicrosecondArray::from(vec![1])),
        ["000000080000000000000001"]
    );
}

#[test]
fn timestamps_have_only_the_digits_they_need() {
    let micros = vec![0, 1_700_000_000_123_000, 1_700_000_000_000_001, -1];
    assert_eq!(
        text(TimestampMicrosecondArray::from(micros)),
        [
            "1970-01-01 00:00:00",
            "2023-11-14 22:13:20.123",
            "2023-11-14 22:13:20.000001",
            "1969-12-31 23:59:59.999999",
        ],
    );
    assert_eq!(
        text(TimestampSecondArray::from(vec![946_684_800])),
        ["2000-01-01 00:00:00"]
    );
    assert_eq!(
        binary(TimestampSecondArray::from(vec![946_684_800])),
        ["000000080000000000000000"]
    );
    assert_eq!(
        text(TimestampNanosecondArray::from(vec![1_500])),
        ["1970-01-01 00:00:00.000001"],
    );
}

#[test]
fn a_timestamptz_is_written_in_the_session_zone() {
    let array = TimestampMicrosecondArray::from(vec![1_700_000_000_500_000]).with_timezone("UTC");
    let field = Field::new("c", array.data_type().clone(), true);
    let array: ArrayRef = Arc::new(array);
    let cases = [
        ("UTC", "2023-11-14 22:13:20.5+00"),
        ("Asia/Kolkata", "2023-11-15 03:43:20.5+05:30"),
        ("America/New_York", "2023-11-14 17:13:20.5-05"),
        ("-03:30", "2023-11-14 18:43:20.5-03:30"),
        ("utc", "2023-11-14 22:13:20.5+00"),
    ];
    for (zone, expected) in cases {
        assert_eq!(text_in(zone, &array, &field), [expected], "{zone}");
    }
    assert_eq!(pg_type::of_field(&field).oid, 1184);
    let early: ArrayRef = Arc::new(
        TimestampMicrosecondArray::from(vec![-3_000_000_000_000_000]).with_timezone("UTC"),
    );
    assert_eq!(
        text_in("Europe/Amsterdam", &early, &field),
        ["1874-12-07 18:57:30+00:17:30"]
    );
}

#[test]
fn intervals_print_in_postgresql_style_and_null_stays_null() {
    let interval = IntervalMonthDayNano::new;
    let cases = [
        (interval(0, 0, 0), "00:00:00"),
        (interval(14, 3, 0), "1 year 2 mons 3 days"),
        (interval(0, 1, 3_600_000_000_000), "1 day 01:00:00"),
        (interval(0, -1, 7_380_000_000_000), "-1 days +02:03:00"),
        (interval(-13, 0, 0), "-1 years -1 mons"),
        (interval(1, -2, 0), "1 mon -2 days"),
        (interval(0, 0, -1_500_000_000), "-00:00:01.5"),
        (interval(0, 0, 100 * 3_600_000_000_000), "100:00:00"),
    ];
    for (value, expected) in cases {
        assert_eq!(
            text(IntervalMonthDayNanoArray::from(vec![value])),
            [expected]
        );
    }
    let nulls = IntervalMonthDayNanoArray::from_iter([None::<
        <IntervalMonthDayNanoType as arrow::datatypes::ArrowPrimitiveType>::Native,
    >]);
    assert_eq!(text(nulls.clone()), ["NULL"]);
    assert_eq!(binary(nulls), ["ffffffff"]);
    assert_eq!(
        binary(IntervalMonthDayNanoArray::from(vec![interval(
            14, 3, 1_000
        )])),
        ["000000100000000000000001000000030000000e"],
    );
    assert_eq!(
        text(DurationMicrosecondArray::from(vec![90_000_000])),
        ["00:01:30"]
    );
}

#[test]
fn arrays_quote_what_needs_quotes() {
    let words: ListArray = {
        let values = StringArray::from(vec![
            Some("a"),
            None,
            Some(""),
            Some("NULL"),
            Some("a b"),
            Some("q\"\\"),
            Some("{,}"),
        ]);
        let offsets = arrow::buffer::OffsetBuffer::from_lengths([7, 0]);
        let item = Arc::new(Field::new_list_field(DataType::Utf8, true));
        ListArray::new(item, offsets, Arc::new(values), None)
    };
    assert_eq!(
        text(words),
        [r#"{a,NULL,"","NULL","a b","q\"\\","{,}"}"#, "{}"]
    );
    assert_eq!(
        oid(DataType::List(Arc::new(Field::new_list_field(
            DataType::Utf8,
            true
        )))),
        1009,
    );
}

#[test]
fn arrays_in_binary_tell_their_dimensions() {
    let numbers = ListArray::from_iter_primitive::<Int32Type, _, _>([
        Some(vec![Some(1), None]),
        Some(vec![]),
    ]);
    assert_eq!(
        binary(numbers),
        [
            "0000002000000001000000010000001700000002000000010000000400000001ffffffff".to_owned(),
            "0000000c000000000000000000000017".to_owned(),
        ],
    );
    let inner = ListArray::from_iter_primitive::<Int32Type, _, _>([
        Some(vec![Some(1), Some(2)]),
        Some(vec![Some(3), Some(4)]),
    ]);
    let item = Arc::new(Field::new_list_field(inner.data_type().clone(), true));
    let offsets = arrow::buffer::OffsetBuffer::from_lengths([2]);
    let square = ListArray::new(item, offsets, Arc::new(inner), None);
    assert_eq!(text(square.clone()), ["{{1,2},{3,4}}"]);
    assert_eq!(oid(square.data_type().clone()), 1007);
    assert_eq!(
        &binary(square)[0][8..64],
        "00000002000000000000001700000002000000010000000200000001",
    );
}

#[test]
fn an_array_of_arrays_of_different_lengths_has_no_binary_form() {
    let inner = ListArray::from_iter_primitive::<Int32Type, _, _>([
        Some(vec![Some(1)]),
        Some(vec![Some(3), Some(4)]),
    ]);
    let item = Arc::new(Field::new_list_field(inner.data_type().clone(), true));
    let offsets = arrow::buffer::OffsetBuffer::from_lengths([2]);
    let array: ArrayRef = Arc::new(ListArray::new(item, offsets, Arc::new(inner), None));
    let column =
        Column::try_new(&array, &Field::new("c", array.data_type().clone(), true)).unwrap();
    let mut out = BytesMut::new();
    let error = write_sized(&column, 0, Format::Binary, style("UTC"), &mut out).unwrap_err();
    assert_eq!(error.state().code(), "22000");
}

#[test]
fn records_leave_nulls_empty() {
    let record = StructArray::from(vec![
        (
            Arc::new(Field::new("a", DataType::Int32, true)),
            Arc::new(Int32Array::from(vec![Some(1), None])) as ArrayRef,
        ),
        (
            Arc::new(Field::new("b", DataType::Utf8, true)),
            Arc::new(StringArray::from(vec![Some("x \"y\""), Some("")])) as ArrayRef,
        ),
    ]);
    assert_eq!(text(record.clone()), [r#"(1,"x ""y""")"#, r#"(,"")"#]);
    assert_eq!(
        binary(record)[1],
        "000000140000000200000017ffffffff0000001900000000",
    );
}
