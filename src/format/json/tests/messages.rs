//! Which messages are set aside and why, and what paths, orders and blocks do to the others.

use arrow::array::{Array, AsArray, StringViewArray};
use arrow::datatypes::{DataType, Int64Type};

use super::{batch, decode, shown};
use crate::format::json::decoder::MESSAGE_BYTES_MAX;
use crate::format::{JsonDecoder, JsonField, JsonKind};
use crate::types::PathStep;

/// A broken message a line, and the reason.
const BROKEN: &str = r#"
    42 => expected a JSON object, found "42" (byte 1)
    [1] => expected a JSON object, found "[1]" (byte 1)
    null => expected a JSON object, found "null" (byte 1)
    ﻿{} => expected a JSON object, found a byte order mark (byte 1)
    hello => expected a JSON object, found "hello" (byte 1)
    { => not valid JSON: expected a key in double quotes or "}", found the end of the message (byte 2)
    {"a":1 => not valid JSON: expected "," or "}", found the end of the message (byte 7)
    {"a":"x => not valid JSON: expected the closing quote of a string, found the end of the message (byte 8)
    {"a": => not valid JSON: expected a value, found the end of the message (byte 6)
    {"a" => not valid JSON: expected ":", found the end of the message (byte 5)
    {"a":1}} => not valid JSON: expected nothing after the object, found "}" (byte 8)
    {"a":1} x => not valid JSON: expected nothing after the object, found "x" (byte 9)
    {"a":1}{"a":2} => not valid JSON: expected nothing after the object, found "{"a":2}" (byte 8)
    {"a":1,} => not valid JSON: expected a key in double quotes, found "}" (byte 8)
    {,"a":1} => not valid JSON: expected a key in double quotes or "}", found ","a":1}" (byte 2)
    {"a" 1} => not valid JSON: expected ":", found "1}" (byte 6)
    {"a":1 "b":2} => not valid JSON: expected "," or "}", found ""b":2}" (byte 8)
    {"a":NaN} => not valid JSON: expected a value, found "NaN}" (byte 6)
    {"a":tru} => not valid JSON: expected a value, found "tru}" (byte 6)
    {"a":01} => not valid JSON: expected "," or "}", found "1}" (byte 7)
    {"a":-} => not valid JSON: expected a digit, found "}" (byte 7)
    {"a":1.} => not valid JSON: expected a digit, found "}" (byte 8)
    {"a":1e} => not valid JSON: expected a digit, found "}" (byte 8)
    {"a":.5} => not valid JSON: expected a value, found ".5}" (byte 6)
    {"a":+1} => not valid JSON: expected a value, found "+1}" (byte 6)
    {'a':1} => not valid JSON: expected a key in double quotes or "}", found "'a':1}" (byte 2)
    {"x":[1,]} => not valid JSON: expected a value, found "]}" (byte 9)
    {"x":[1 2]} => not valid JSON: expected "," or "]", found "2]}" (byte 9)
    {"x":[1} => not valid JSON: expected "," or "]", found "}" (byte 8)
    {"x":{"y":1]} => not valid JSON: expected "," or "}", found "]}" (byte 12)
    {"x":{"y"}} => not valid JSON: expected ":", found "}}" (byte 10)
    {"b":"\x"} => not valid JSON: unknown escape "\x"}" (byte 7)
    {"b":"\u12g4"} => not valid JSON: unknown escape "\u12g4"}" (byte 7)
    {"b":"\ud83d"} => not valid JSON: half of a surrogate pair (byte 7)
    {"b":"\ud83d\u0041"} => not valid JSON: half of a surrogate pair (byte 7)
    {"b":"\ude00"} => not valid JSON: half of a surrogate pair (byte 7)
    {"unknown":"\q"} => not valid JSON: unknown escape "\q"}" (byte 13)
"#;

#[test]
fn each_broken_message_is_set_aside_alone_with_its_reason() {
    let table = BROKEN.trim().lines().map(|case| {
        case.trim()
            .split_once(" => ")
            .expect("a message and the reason")
    });
    let others = [
        ("", "empty message"),
        (
            " ",
            "expected a JSON object, found the end of the message (byte 2)",
        ),
        (
            "{\"b\":\"a\nb\"}",
            "not valid JSON: bare control character in a string (byte 8)",
        ),
        (
            "{\"u\":\"\u{1}\"}",
            "not valid JSON: bare control character in a string (byte 7)",
        ),
        (
            "{\"a\":1\u{0}}",
            "not valid JSON: expected \",\" or \"}\", found \"\\u0000}\" (byte 7)",
        ),
    ];
    for (broken, reason) in table.chain(others) {
        let good = r#"{"a":1,"b":"x"}"#;
        let fields = vec![
            JsonField::new("a", DataType::Int64),
            JsonField::new("b", DataType::Utf8View),
        ];
        let decoded = decode(fields, &[good, good, broken, good]);
        assert_eq!(decoded.kept, Some(vec![0, 1, 3]), "{broken}");
        assert_eq!(decoded.rows, 3, "{broken}");
        assert_eq!(decoded.rejected.len(), 1, "{broken}");
        assert_eq!(decoded.rejected[0].message, 2, "{broken}");
        assert_eq!(decoded.rejected[0].reason, reason, "{broken}");
        assert_eq!(shown(&decoded.columns[0], 2), "1", "{broken}");
        assert_eq!(shown(&decoded.columns[1], 2), "x", "{broken}");
    }
}

#[test]
fn bytes_that_are_not_utf8_are_set_aside_alone() {
    let good = br#"{"a":"x"}"#.to_vec();
    let bad = b"{\"a\":\"\xff\"}".to_vec();
    // Halves of one character at the end of a message and at the start of the next.
    let (half, other_half) = (b"{\"a\":1}\xc3".to_vec(), b"\xa9{\"a\":1}".to_vec());
    let fields = vec![JsonField::new("a", DataType::Utf8View)];
    let decoded = decode(fields.clone(), &[&good, &bad, &good]);
    assert_eq!(
        decoded.kept,
        Some(vec![0, 2]),
        "only the bad one is missing"
    );
    assert_eq!(
        decoded.rejected[0].reason, "not valid UTF-8 (byte 7)",
        "with its place"
    );
    let mut split = batch(&[Some(&half), Some(&other_half)]);
    split.messages[0].key = None;
    let mut decoder = JsonDecoder::try_new(fields).expect("a text");
    assert_eq!(
        decoder.decode(&split).expect("sound").rows,
        0,
        "neither half is a message"
    );
}

#[test]
fn tombstones_and_long_and_deep_messages_are_set_aside() {
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(MESSAGE_BYTES_MAX));
    let deep = |levels: usize| {
        let nested = levels - 1;
        format!("{{\"u\":{}{}}}", "[".repeat(nested), "]".repeat(nested))
    };
    let deep_path = |levels: usize| format!("{}1{}", "{\"p\":".repeat(levels), "}".repeat(levels));
    let mut path = vec![PathStep::Key("p".into()); 200];
    let fields = vec![
        JsonField::new("a", DataType::Utf8View),
        JsonField {
            path: path.clone(),
            data_type: DataType::Int64,
            kind: JsonKind::Value,
        },
    ];
    let messages = [deep(128), deep(129), deep_path(128), deep_path(129), long];
    let mut payloads: Vec<_> = messages
        .iter()
        .map(|message| Some(message.as_bytes()))
        .collect();
    payloads.push(None);
    let mut decoder = JsonDecoder::try_new(fields).expect("simple types");
    let decoded = decoder.decode(&batch(&payloads)).expect("sound");
    assert_eq!(decoded.kept, Some(vec![0, 2]), "128 levels are allowed");
    let reasons: Vec<_> = decoded
        .rejected
        .iter()
        .map(|rejected| rejected.reason.as_str())
        .collect();
    assert_eq!(
        reasons,
        [
            "nested deeper than 128 levels (byte 133)",
            "nested deeper than 128 levels (byte 641)",
            "message of 16777224 bytes is longer than 16777216",
            "tombstone (no value)",
        ],
        "each with its reason"
    );
    path.truncate(128);
    let field = JsonField {
        path,
        data_type: DataType::Int64,
        kind: JsonKind::Value,
    };
    let decoded = decode(vec![field], &[deep_path(128)]);
    assert_eq!(
        shown(&decoded.columns[0], 0),
        "1",
        "the deepest value there can be"
    );
}

#[test]
fn bad_values_in_several_columns_and_blocks_cost_one_row_each() {
    let fields = vec![
        JsonField::new("a", DataType::Int64),
        JsonField::new("t", DataType::Utf8View),
        JsonField::new("b", DataType::Float64),
    ];
    let messages: Vec<_> = (0..3000)
        .map(|n| match n % 100 {
            7 => r#"{"a":"x","t":"t","b":"y"}"#.to_owned(),
            8 => format!("{{\"a\":{n},\"t\":[],\"b\":\"y\"}}"),
            9 => "broken".to_owned(),
            _ => format!("{{\"a\":{n},\"t\":\"a text that is long: {n}\",\"b\":{n}.5}}"),
        })
        .collect();
    let decoded = decode(fields, &messages);
    assert_eq!(decoded.rows, 2910, "three in a hundred are bad");
    let kept = decoded.kept.expect("some are missing");
    for (row, message) in kept.iter().enumerate() {
        assert_eq!(
            shown(&decoded.columns[0], row),
            message.to_string(),
            "row {row}"
        );
        assert_eq!(
            shown(&decoded.columns[1], row),
            format!("a text that is long: {message}"),
            "row {row}"
        );
        assert_eq!(
            shown(&decoded.columns[2], row),
            format!("{message}.5"),
            "row {row}"
        );
    }
    let rejected: Vec<_> = decoded
        .rejected
        .iter()
        .map(|rejected| rejected.message)
        .collect();
    let expected: Vec<_> = (0..3000).filter(|n| matches!(n % 100, 7..=9)).collect();
    assert_eq!(rejected, expected, "in the order of the messages");
    let reason = &decoded.rejected[0].reason;
    assert_eq!(
        reason, "column \"a\": expected an integer, found \"x\" (byte 6)",
        "the first column's"
    );
}

#[test]
fn nested_paths_lead_into_objects_and_arrays() {
    let path = |steps: &[PathStep]| JsonField {
        path: steps.to_vec(),
        data_type: DataType::Int64,
        kind: JsonKind::Value,
    };
    let key = |name: &str| PathStep::Key(name.to_owned());
    let fields = vec![
        path(&[key("a"), key("b"), key("c")]),
        path(&[key("a"), key("list"), PathStep::Index(1), key("c")]),
        path(&[key("z")]),
    ];
    let messages = [
        r#"{"a":{"b":{"c":1},"list":[{"c":2},{"c":3}]},"z":4}"#,
        r#"{"z":4,"a":{"list":[0, {"c":3} , 5],"b":{"x":[[]],"c":1}}}"#,
        r#"{"a":{"b":{"c":9},"list":[1,{"c":9}]},"z":9,"a":{"b":{"c":1}}}"#,
        r#"{"a":{"b":7,"list":{"1":{"c":8}}},"z":null}"#,
        r#"{"a":[]}"#,
        r#"{"a":{"b":{"c":"x"}}}"#,
        r#"{"a":{"list":[0,{"c":true}]}}"#,
    ];
    let decoded = decode(fields, &messages);
    let rows: Vec<Vec<_>> = (0..decoded.rows)
        .map(|row| {
            decoded
                .columns
                .iter()
                .map(|column| shown(column, row))
                .collect()
        })
        .collect();
    assert_eq!(rows[0], ["1", "3", "4"], "all there");
    assert_eq!(rows[1], ["1", "3", "4"], "in another order");
    assert_eq!(
        rows[2],
        ["1", "NULL", "9"],
        "nothing of the first a is left"
    );
    assert_eq!(rows[3], ["NULL", "NULL", "NULL"], "paths that lead nowhere");
    assert_eq!(
        rows[4],
        ["NULL", "NULL", "NULL"],
        "an array where an object was"
    );
    assert_eq!(
        decoded.rejected[0].reason, "column \"a.b.c\": expected an integer, found \"x\" (byte 16)",
        "a wrong type at the end of a path"
    );
    assert_eq!(
        decoded.rejected[1].reason,
        "column \"a.list[1].c\": expected an integer, found true (byte 22)",
        "the same in an array"
    );
}

#[test]
fn a_decoder_without_columns_counts_good_messages() {
    let decoded = decode(vec![], &[r#"{"a":1}"#, "{", "{}"]);
    assert_eq!((decoded.rows, decoded.columns.len()), (2, 0), "two objects");
    assert_eq!(decoded.kept, Some(vec![0, 2]), "and one broken message");
    let empty: [&str; 0] = [];
    let decoded = decode(vec![JsonField::new("a", DataType::Int64)], &empty);
    assert_eq!(
        (decoded.rows, decoded.columns[0].len()),
        (0, 0),
        "nothing of nothing"
    );
}

#[test]
fn only_long_texts_keep_the_batch_in_memory() {
    let buffers = |messages: &[&str]| {
        let decoded = decode(vec![JsonField::new("a", DataType::Utf8View)], messages);
        let column: &StringViewArray = decoded.columns[0].as_string_view();
        let sizes: Vec<_> = column
            .data_buffers()
            .iter()
            .map(|buffer| buffer.len())
            .collect();
        let values: Vec<_> = column
            .iter()
            .map(|value| value.unwrap_or("NULL").to_owned())
            .collect();
        (sizes, values)
    };
    let (sizes, values) = buffers(&[r#"{"a":"short"}"#, r#"{"a":"t\u0077elve byte"}"#]);
    assert_eq!(sizes, [0usize; 0], "all of it lies in the views");
    assert_eq!(values, ["short", "twelve byte"], "and reads well");
    let (sizes, values) = buffers(&[r#"{"a":"a longer t\u0065xt"}"#, r#"{"a":"short"}"#]);
    assert_eq!(sizes, [13], "the unescaped text alone");
    assert_eq!(values, ["a longer text", "short"], "and reads well");
    let (sizes, values) = buffers(&[r#"{"a":"a longer t\u0065xt"}"#, r#"{"a":"thirteen byte"}"#]);
    assert_eq!(sizes.len(), 2, "the batch and the unescaped text");
    assert_eq!(values, ["a longer text", "thirteen byte"], "and reads well");
}

#[test]
fn optional_members_and_other_orders_are_learned() {
    let fields = || {
        vec![
            JsonField::new("id", DataType::Int64),
            JsonField::new("price", DataType::Float64),
            JsonField::new("side", DataType::Utf8View),
        ]
    };
    let shapes = [
        r#"{"id":1,"price":2.5,"side":"buy"}"#,
        r#"{"id":1,"price":2.5}"#,
        r#"{"price":"2.5","id":1,"side":null}"#,
        r#"{ "id" : 1 , "note" : {"a":[1,2]} , "price" : 2.5 , "side" : "sell" }"#,
        r#"{"id":1,"a member with a long name that nobody wants":true,"price":2.5}"#,
        r#"{"id":"1","price":null,"flag":false,"side":"x"}"#,
        "{}",
    ];
    let alone: Vec<_> = shapes
        .iter()
        .map(|message| decode(fields(), &[message]))
        .collect();
    let mixed: Vec<_> = (0..4000).map(|n| n * n % 31 % shapes.len()).collect();
    let messages: Vec<_> = mixed.iter().map(|&shape| shapes[shape]).collect();
    let together = decode(fields(), &messages);
    assert_eq!(together.rows, messages.len(), "all of them are good");
    for (row, &shape) in mixed.iter().enumerate() {
        for (column, expected) in together.columns.iter().zip(&alone[shape].columns) {
            assert_eq!(
                shown(column, row),
                shown(expected, 0),
                "row {row}: {}",
                messages[row]
            );
        }
    }
}

#[test]
fn keys_that_are_data_do_not_fill_the_memory_and_later_messages_are_still_read() {
    let messages: Vec<_> = (0..40_000)
        .map(|n| format!("{{\"key {n}\":1,\"a\":{n},\"other {n}\":[]}}"))
        .collect();
    let decoded = decode(vec![JsonField::new("a", DataType::Int64)], &messages);
    assert_eq!(decoded.rows, messages.len(), "all of them are good");
    let column = decoded.columns[0].as_primitive::<Int64Type>();
    assert!(
        column.values().iter().copied().eq(0..40_000),
        "each has its own number"
    );
}

#[test]
fn messages_that_wait_for_others_are_read_when_what_was_learned_is_forgotten() {
    let mut random = fastrand::Rng::with_seed(5);
    let messages: Vec<_> = (0..60_000)
        .map(|n| {
            let (first, behind) = match random.u32(0..8) {
                0 => (r#""first":true,"#, ""),
                1 => (r#" "first" : 1.5 , "#, ""),
                2 => ("", r#","behind":"x""#),
                3 => (r#""first":true,"#, r#" , "behind":"x""#),
                4..6 => return format!("{{\"key {n}\":1,\"a\":{n},\"other {n}\":[]}}"),
                _ => ("", ""),
            };
            format!("{{{first}\"a\":{n}{behind},\"last\":\"y\"}}")
        })
        .collect();
    let decoded = decode(vec![JsonField::new("a", DataType::Int64)], &messages);
    assert_eq!(decoded.rejected, [], "all of them are good");
    let column = decoded.columns[0].as_primitive::<Int64Type>();
    assert!(
        column.values().iter().copied().eq(0..60_000),
        "each has its own number"
    );
}

#[test]
fn what_cannot_be_decoded_is_refused_at_once() {
    let refused = |field: JsonField| JsonDecoder::try_new(vec![field]).map(|_| ()).unwrap_err();
    let error = refused(JsonField::new("a", DataType::LargeUtf8));
    assert_eq!(
        error.message(),
        "cannot read type LargeUtf8 from JSON",
        "an unknown type"
    );
    let json = JsonKind::RawJson;
    let number = JsonField {
        kind: json,
        ..JsonField::new("a", DataType::Int64)
    };
    assert_eq!(
        refused(number).message(),
        "json columns are Utf8View, not Int64",
        "json as number"
    );
    let nowhere = JsonField {
        path: vec![],
        ..JsonField::new("a", DataType::Int64)
    };
    assert_eq!(
        refused(nowhere).message(),
        "a JSON column needs a path",
        "no path"
    );
    let mut outside = batch(&[Some("{}")]);
    outside.messages[0]
        .payload
        .as_mut()
        .expect("it has one")
        .len = 30;
    let mut decoder = JsonDecoder::try_new(vec![]).expect("no columns");
    let error = decoder.decode(&outside).unwrap_err();
    assert_eq!(
        error.message(),
        "a message lies outside its batch's buffer",
        "a broken batch"
    );
}
