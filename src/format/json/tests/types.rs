//! What each type accepts, and how what it does not accept is told.

use arrow::array::Array;
use arrow::datatypes::{DataType, Field, Fields, IntervalUnit, TimeUnit};

use super::{decode, shown};
use crate::format::{JsonField, JsonKind};

/// What a column `v` of this type holds for a value, or why there is no row.
fn read(field: &JsonField, value: &str) -> String {
    let decoded = decode(vec![field.clone()], &[format!("{{\"v\":{value}}}")]);
    match decoded.rejected.as_slice() {
        [] => shown(&decoded.columns[0], 0),
        [rejected] => rejected.reason.clone(),
        more => format!("{more:?}"),
    }
}

/// Checks lines of `value => what the column holds` or `value => !why not`.
fn check(data_type: DataType, cases: &str) {
    let field = JsonField::new("v", data_type);
    let of = field.data_type.clone();
    for case in cases.trim().lines() {
        let (value, expected) = case
            .split_once(" =>")
            .expect("a value and what comes of it");
        let expected = match expected.trim().strip_prefix('!') {
            Some(reason) => format!("column \"v\": {reason} (byte 6)"),
            None => expected.trim().to_owned(),
        };
        assert_eq!(read(&field, value.trim()), expected, "{value} as {of}");
    }
    assert_eq!(read(&field, "null"), "NULL", "null as {of}");
    let missing = decode(vec![field], &["{}", r#"{"w":1}"#]);
    assert_eq!(missing.columns[0].null_count(), 2, "missing as {of}");
}

#[test]
fn booleans() {
    check(
        DataType::Boolean,
        r#"
            true => true
            false => false
            "true" => true
            "FALSE" => false
            "tr\u0075e" => true
            1 => !expected true or false, found 1
            "yes" => !expected true or false, found "yes"
            "" => !expected true or false, found ""
            [] => !expected true or false, found []
        "#,
    );
}

#[test]
fn integers() {
    check(
        DataType::Int16,
        r#"
            32767 => 32767
            -32768 => -32768
            32768 => !32768 is out of range for smallint
            "-32769" => !"-32769" is out of range for smallint
        "#,
    );
    check(
        DataType::Int32,
        r#"
            2147483647 => 2147483647
            2147483648 => !2147483648 is out of range for integer
        "#,
    );
    check(
        DataType::Int64,
        r#"
            0 => 0
            -0 => 0
            9223372036854775807 => 9223372036854775807
            -9223372036854775808 => -9223372036854775808
            9223372036854775808 => !9223372036854775808 is out of range for bigint
            9007199254740993 => 9007199254740993
            1.0 => 1
            1e3 => 1000
            10e-1 => 1
            "12" => 12
            " 12 " => 12
            "+12" => 12
            "0012" => 12
            "\u0031\u0032" => 12
            1.5 => !expected an integer, found 1.5
            1e-1 => !expected an integer, found 1e-1
            1e99 => !1e99 is out of range for bigint
            "abc" => !expected an integer, found "abc"
            "" => !expected an integer, found ""
            " " => !expected an integer, found " "
            "1 2" => !expected an integer, found "1 2"
            "0x10" => !expected an integer, found "0x10"
            true => !expected an integer, found true
            {} => !expected an integer, found {}
        "#,
    );
}

#[test]
fn floats() {
    check(
        DataType::Float64,
        r#"
            0.1 => 0.1
            -0.0 => -0.0
            "-0" => -0.0
            5e-324 => 5e-324
            1e-400 => 0.0
            123456789012345678901234567890 => 1.2345678901234568e29
            0.1234567890123456789 => 0.12345678901234568
            1.7976931348623157e308 => 1.7976931348623157e308
            1e400 => !1e400 is out of range for double precision
            "-1e400" => !"-1e400" is out of range for double precision
            "3.0871" => 3.0871
            " 3.5 " => 3.5
            ".5" => 0.5
            "5." => 5.0
            "NaN" => NaN
            "nan" => NaN
            "Infinity" => inf
            "-Infinity" => -inf
            "inf" => inf
            "abc" => !expected a number, found "abc"
            "" => !expected a number, found ""
            "1,5" => !expected a number, found "1,5"
            "." => !expected a number, found "."
            false => !expected a number, found false
            [1] => !expected a number, found [1]
        "#,
    );
    check(
        DataType::Float32,
        r#"
            0.1 => 0.1
            16777217 => 16777216.0
            3.4028235e38 => 3.4028235e38
            1e39 => !1e39 is out of range for real
            "NaN" => NaN
            "x" => !expected a number, found "x"
        "#,
    );
}

#[test]
fn numerics() {
    check(
        DataType::Decimal128(10, 2),
        r#"
            1 => 1.00
            -1.5 => -1.50
            0.1 => 0.10
            "3.0871" => 3.09
            1.005 => 1.01
            -1.005 => -1.01
            1.0049999999999999999999999 => 1.00
            1e2 => 100.00
            99999999.99 => 99999999.99
            99999999.994 => 99999999.99
            99999999.995 => !99999999.995 is out of range for numeric(10,2)
            100000000 => !100000000 is out of range for numeric(10,2)
            "NaN" => !expected a number, found "NaN"
            "" => !expected a number, found ""
            true => !expected a number, found true
        "#,
    );
    check(
        DataType::Decimal128(38, 0),
        r#"
            99999999999999999999999999999999999999 => 99999999999999999999999999999999999999
            12345678901234567890123 => 12345678901234567890123
            1e38 => !1e38 is out of range for numeric(38,0)
        "#,
    );
    check(
        DataType::Decimal128(38, 38),
        r#"
            0.12345678901234567890123456789012345678 => 0.12345678901234567890123456789012345678
            1 => !1 is out of range for numeric(38,38)
        "#,
    );
    check(
        DataType::Decimal128(5, -2),
        r#"
            12350 => 12400
            9999950 => !9999950 is out of range for numeric(5,-2)
        "#,
    );
}

#[test]
fn texts() {
    check(
        DataType::Utf8View,
        r#"
            "abc" => abc
            "" => 
            "exactly 12 b" => exactly 12 b
            "a text of more than twelve bytes" => a text of more than twelve bytes
            "\ud83d\ude00 and some more text" => 😀 and some more text
            "é€" => é€
            1.50 => 1.50
            12345678901234567890 => 12345678901234567890
            true => true
            false => false
            "a\u0000b" => !expected text without the character U+0000, found "a\u0000b"
            "long enough for a buffer \u0000" => !expected text without the character U+0000, found "long enough for a buffer \u0000"
            {} => !expected text, found {}
            [ "a" ] => !expected text, found [ "a" ]
        "#,
    );
}

#[test]
fn every_escape_in_a_text_becomes_its_character() {
    let field = JsonField::new("v", DataType::Utf8View);
    let text = "a\"\\/\u{8}\u{c}\n\r\t";
    assert_eq!(
        read(&field, r#""a\"\\\/\b\f\n\r\t""#),
        text,
        "the short escapes"
    );
}

#[test]
fn json() {
    let field = JsonField {
        kind: JsonKind::RawJson,
        ..JsonField::new("v", DataType::Utf8View)
    };
    for value in [
        r#""abc""#,
        r#""a\u0041 and more text than that""#,
        "1.50",
        "1e400",
        "true",
        r#"{ "a" : [ 1, {"b": null} ] }"#,
        "[]",
    ] {
        assert_eq!(read(&field, value), value, "as it is written");
    }
    assert_eq!(read(&field, "null"), "NULL", "null is NULL");
}

#[test]
fn bytes() {
    check(
        DataType::Binary,
        r#"
            "\\x6869" => 6869
            "\\x" => 
            "aGk=" => 6869
            "aGk" => 6869
            "aGk\u003d" => 6869
            "\\x686" => !expected bytes as \x hexadecimal or base64, found "\\x686"
            "a b" => !expected bytes as \x hexadecimal or base64, found "a b"
            12 => !expected bytes as \x hexadecimal or base64, found 12
        "#,
    );
}

#[test]
fn dates_and_times_of_day() {
    check(
        DataType::Date32,
        r#"
            "2018-07-17" => 2018-07-17
            "2018-07-17T23:59:59.999+02:00" => 2018-07-17
            "1969-12-31" => 1969-12-31
            "2018-02-29" => !expected a date, found "2018-02-29"
            "17.7.2018" => !expected a date, found "17.7.2018"
            "2018-07-17 x" => !expected a date, found "2018-07-17 x"
            "" => !expected a date, found ""
            17729 => !expected a date, found 17729
        "#,
    );
    check(
        DataType::Time64(TimeUnit::Microsecond),
        r#"
            "17:00:00" => 17:00:00
            "17:00" => 17:00:00
            "17:00:00.123456789" => 17:00:00.123457
            "23:59:59.9999999" => !"23:59:59.9999999" is out of range for time
            "24:00:00" => !expected a time of day, found "24:00:00"
            "17" => !expected a time of day, found "17"
            "17:00:00Z" => !expected a time of day, found "17:00:00Z"
            17 => !expected a time of day, found 17
        "#,
    );
}

#[test]
fn timestamps() {
    let cases = r#"
        "2018-07-17T17:00:00.015Z" => 2018-07-17T17:00:00.015
        "2018-07-17 17:00:00" => 2018-07-17T17:00:00
        "2018-07-17T17:00:00.123456789Z" => 2018-07-17T17:00:00.123457
        "2018-07-17T19:00:00+02:00" => 2018-07-17T17:00:00
        "2018-07-17T17:00:00.5-0330" => 2018-07-17T20:30:00.500
        "2018-07-17" => 2018-07-17T00:00:00
        "2018-07-17T17:0\u0030Z" => 2018-07-17T17:00:00
        1531846800 => 2018-07-17T17:00:00
        1531846800.25 => 2018-07-17T17:00:00.250
        1531846800.1234565 => 2018-07-17T17:00:00.123457
        1.5318468e9 => 2018-07-17T17:00:00
        1531846800015 => 2018-07-17T17:00:00.015
        1531846800015.5 => 2018-07-17T17:00:00.015500
        1531846800015123 => 2018-07-17T17:00:00.015123
        1531846800015123456 => 2018-07-17T17:00:00.015123
        1531846800015123500 => 2018-07-17T17:00:00.015124
        "1531846800015" => 2018-07-17T17:00:00.015
        0 => 1970-01-01T00:00:00
        -1 => 1969-12-31T23:59:59
        99999999999 => 5138-11-16T09:46:39
        100000000000 => 1973-03-03T09:46:40
        99999999999999 => 5138-11-16T09:46:39.999
        100000000000000 => 1973-03-03T09:46:40
        99999999999999999 => 5138-11-16T09:46:39.999999
        100000000000000000 => 1973-03-03T09:46:40
        1e30 => !1e30 is out of range for timestamp
        1e300 => !1e300 is out of range for timestamp
        "2018-07-17T25:00:00Z" => !expected a timestamp, found "2018-07-17T25:00:00Z"
        "yesterday" => !expected a timestamp, found "yesterday"
        "" => !expected a timestamp, found ""
        true => !expected a timestamp, found true
    "#;
    check(DataType::Timestamp(TimeUnit::Microsecond, None), cases);
    let in_utc: Vec<_> = cases
        .trim()
        .lines()
        .map(|case| {
            if case.contains('!') {
                case.to_owned()
            } else {
                format!("{case}Z")
            }
        })
        .collect();
    let zoned = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
    check(zoned, &in_utc.join("\n"));
}

#[test]
fn a_remembered_minute_does_not_change_later_times() {
    let times = [
        "2018-07-17T17:00:00.015Z",
        "2018-07-17T17:00:59.5+01:00",
        "2018-07-17T17:00",
        "2018-07-17T17:00:60Z",
        "2018-07-17 17:00:01",
        "2018-07-17T17:01:00Z",
        "+12018-07-17T17:00:00Z",
        "2018-07-17T17:01:00 Z",
        "2018-07-17T17:01+01:00",
        "1531846800.015",
    ];
    let messages = times.map(|time| format!("{{\"t\":\"{time}\"}}"));
    let field = JsonField::new("t", DataType::Timestamp(TimeUnit::Microsecond, None));
    let together = decode(vec![field.clone()], &messages);
    assert_eq!(together.rejected, [], "all of them are times");
    for (row, message) in messages.iter().enumerate() {
        let alone = decode(vec![field.clone()], &[message]);
        assert_eq!(
            shown(&together.columns[0], row),
            shown(&alone.columns[0], 0),
            "{message}"
        );
    }
}

#[test]
fn intervals() {
    check(
        DataType::Interval(IntervalUnit::MonthDayNano),
        r#"
            "P1Y2M3DT4H5M6.5S" => 14 mons 3 days 4 hours 5 mins 6.500000000 secs
            "1 day 02:00:00" => 1 days 2 hours
            "soon" => !expected an interval, found "soon"
            "" => !expected an interval, found ""
            5 => !expected an interval, found 5
        "#,
    );
}

#[test]
fn arrays() {
    let list = |data_type| DataType::List(Field::new("item", data_type, true).into());
    check(
        list(DataType::Int64),
        r#"
            [1, 2,null,"4"] => [1, 2, NULL, 4]
            [] => []
            1 => !expected an array, found 1
            {} => !expected an array, found {}
        "#,
    );
    let field = JsonField::new("v", list(DataType::Int64));
    assert_eq!(
        read(&field, "[1,\"x\"]"),
        "column \"v\": expected an integer, found \"x\" (byte 9)",
        "the place is the element's"
    );
    check(
        list(list(DataType::Utf8View)),
        r#"
            [["a","b"],[],null] => [[a, b], [], NULL]
            [["a text of more than twelve bytes"]] => [[a text of more than twelve bytes]]
        "#,
    );
    let messages = ["[1]", "[]", "null", "[2,\"x\"]", "[3,4]"].map(|v| format!("{{\"v\":{v}}}"));
    let decoded = decode(vec![field], &messages);
    assert_eq!(
        decoded.kept,
        Some(vec![0, 1, 2, 4]),
        "only the one with a bad element is missing"
    );
    let rows: Vec<_> = (0..4).map(|row| shown(&decoded.columns[0], row)).collect();
    assert_eq!(
        rows,
        ["[1]", "[]", "NULL", "[3, 4]"],
        "the others keep their elements"
    );
}

#[test]
fn row_types() {
    let fields = Fields::from(vec![
        Field::new("x", DataType::Int64, true),
        Field::new("name", DataType::Utf8View, true),
        JsonKind::RawJson.mark(Field::new("more", DataType::Utf8View, true)),
    ]);
    check(
        DataType::Struct(fields.clone()),
        r#"
            {"name":"a text of more than twelve bytes","y":[1],"x":"7"} => {x: 7, name: a text of more than twelve bytes, more: NULL}
            { "more" : [1, 2] , "x":1,"x":2 } => {x: 2, name: NULL, more: [1, 2]}
            {} => {x: NULL, name: NULL, more: NULL}
            [] => !expected an object, found []
            5 => !expected an object, found 5
        "#,
    );
    let list = DataType::List(Field::new("item", DataType::Struct(fields), true).into());
    let field = JsonField::new("v", list);
    assert_eq!(
        read(&field, r#"[{"x":1},null,{"name":"a"}]"#),
        "[{x: 1, name: NULL, more: NULL}, NULL, {x: NULL, name: a, more: NULL}]",
        "an array of objects"
    );
    assert_eq!(
        read(&field, r#"[{"x":1},{"name":[]}]"#),
        "column \"v\": expected text, found [] (byte 23)",
        "the place is the member's"
    );
}
