//! The tokenizer and the converters against `serde_json`, on random and on damaged messages.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};
use proptest::sample::{Index, select};
use serde_json::Value;

use super::{batch, shown};
use crate::format::{Decoded, JsonDecoder, JsonField, JsonKind};
use crate::types::{JsonPath, PathStep};

/// What `serde_json` says to a message: nothing, if it is no object; null, if it has a number that
/// no double holds, which is JSON all the same.
fn oracle(message: &[u8]) -> Option<Value> {
    match serde_json::from_slice::<Value>(message) {
        Ok(value) => value.is_object().then_some(value),
        Err(error) if error.to_string().starts_with("number out of range") => {
            let smaller = without_exponents(message);
            assert_ne!(
                smaller, message,
                "only an exponent makes a number that long"
            );
            oracle(&smaller).map(|_| Value::Null)
        }
        Err(_) => None,
    }
}

/// The message with all exponents zero. In strings it changes no kind of escape.
fn without_exponents(message: &[u8]) -> Vec<u8> {
    let mut out = message.to_vec();
    let mut in_exponent = false;
    for byte in &mut out {
        match byte {
            b'e' | b'E' => in_exponent = true,
            b'0'..=b'9' if in_exponent => *byte = b'0',
            b'+' | b'-' => {}
            _ => in_exponent = false,
        }
    }
    out
}

/// Key names: few, so that they repeat, with escapes and lengths around sixteen bytes.
fn key() -> impl Strategy<Value = String> {
    select(vec![
        r#""a""#,
        r#""b""#,
        r#""price""#,
        r#""\u0061""#,
        r#""""#,
        r#""a key of 11""#,
        r#""a key of 12 b""#,
        r#""a key that is longer than sixteen bytes""#,
        r#""a key that is longer than sixteen bytes, too""#,
        "\"schl\u{fc}ssel\"",
    ])
    .prop_map(str::to_owned)
}

fn space() -> impl Strategy<Value = &'static str> {
    prop_oneof![6 => Just(""), 2 => Just(" "), 1 => select(vec!["\n", "\t", "\r\n", "   "])]
}

fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| serde_json::json!(number).to_string()),
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?",
        any::<String>().prop_map(|text| serde_json::json!(text).to_string()),
        "\"[a-z]{0,40}\"",
        // Escapes that a writer would not choose, lone surrogates among them.
        r#""([a-z]{0,20}(\\["\\/bfnrt]|\\u[0-9a-fA-F]{4}|\\ud83d\\ude[0-9a-f]{2})){1,3}[a-z]{0,9}""#,
        select(vec!["true", "false", "null", "\"\"", "0", "-0", "\"12.5\""])
            .prop_map(str::to_owned),
    ]
}

/// A value, with white space in all places.
fn value() -> impl Strategy<Value = String> {
    scalar().prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            vec((space(), inner.clone(), space()), 0..4).prop_map(|elements| {
                let elements: Vec<_> = elements
                    .iter()
                    .map(|(a, v, b)| format!("{a}{v}{b}"))
                    .collect();
                format!("[{}]", elements.join(","))
            }),
            object(inner),
        ]
    })
}

fn object(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let member = (space(), key(), space(), space(), value, space());
    (space(), vec(member, 0..6)).prop_map(|(empty, members)| {
        let members: Vec<_> = members
            .iter()
            .map(|(a, k, b, c, v, d)| format!("{a}{k}{b}:{c}{v}{d}"))
            .collect();
        let members = if members.is_empty() {
            empty.to_owned()
        } else {
            members.join(",")
        };
        format!("{{{members}}}")
    })
}

/// Damage: bytes cut off, inserted, replaced, doubled.
fn damaged(message: impl Strategy<Value = String>) -> impl Strategy<Value = Vec<u8>> {
    let tokens = b"{}[],:\"\\ \n0-.eE+tfnu\x00\x1f\xff\xc3".to_vec();
    let byte = prop_oneof![any::<u8>(), select(tokens)];
    let damage = prop_oneof![5 => Just(0u8), 4 => 1..=4u8];
    (message, damage, any::<Index>(), byte).prop_map(|(message, damage, place, byte)| {
        let mut bytes = message.into_bytes();
        let place = place.index(bytes.len() + 1);
        match damage {
            1 => bytes.truncate(place),
            2 => bytes.insert(place, byte),
            3 if place < bytes.len() => bytes[place] = byte,
            4 => bytes.extend_from_within(place..),
            _ => {}
        }
        bytes
    })
}

fn path(steps: &[&str]) -> JsonPath {
    let step = |step: &&str| match step.parse() {
        Ok(index) => PathStep::Index(index),
        Err(_) => PathStep::Key((*step).to_owned()),
    };
    steps.iter().map(step).collect()
}

fn paths() -> Vec<JsonPath> {
    vec![
        path(&["a"]),
        path(&["b", "a"]),
        path(&["b"]),
        path(&["price", "0", "b"]),
        path(&["price", "1"]),
        path(&[""]),
        path(&["a key that is longer than sixteen bytes"]),
        path(&["schl\u{fc}ssel", "a key of 12 b"]),
        path(&["a", "a", "a"]),
    ]
}

fn find<'a>(value: &'a Value, path: &[PathStep]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, step| match step {
        PathStep::Key(name) => value.as_object()?.get(name),
        PathStep::Index(index) => value.as_array()?.get(*index),
    })
}

/// Decodes with one decoder, so that what it learns from one message serves the next.
fn decode_all(decoder: &mut JsonDecoder, messages: &[Vec<u8>]) -> Decoded {
    let payloads: Vec<_> = messages.iter().map(Some).collect();
    decoder
        .decode(&batch(&payloads))
        .expect("the batch is sound")
}

/// Which messages became rows.
fn kept(decoded: &Decoded, messages: usize) -> Vec<usize> {
    match &decoded.kept {
        None => (0..messages).collect(),
        Some(kept) => kept.iter().map(|&message| message as usize).collect(),
    }
}

proptest! {
    #[test]
    fn raw_values_are_the_ones_that_serde_json_finds(
        messages in vec(damaged(object(value())), 1..12),
    ) {
        let field =
            |path| JsonField { path, data_type: DataType::Utf8View, kind: JsonKind::RawJson };
        let mut decoder =
            JsonDecoder::try_new(paths().into_iter().map(field).collect()).expect("json columns");
        // The second time most texts are in the templates.
        for pass in 0..2 {
            let decoded = decode_all(&mut decoder, &messages);
            let accepted: Vec<_> =
                (0..messages.len()).filter(|&m| oracle(&messages[m]).is_some()).collect();
            prop_assert_eq!(&kept(&decoded, messages.len()), &accepted, "pass {}", pass);
            prop_assert_eq!(decoded.rows, accepted.len(), "pass {}", pass);
            for (path, column) in paths().iter().zip(&decoded.columns) {
                let column = column.as_string_view();
                for (row, &message) in accepted.iter().enumerate() {
                    let value = oracle(&messages[message]).expect("it was accepted");
                    // Without a double for a number there is no value to compare.
                    if value.is_null() {
                        continue;
                    }
                    let found = column.is_valid(row).then(|| {
                        serde_json::from_str(column.value(row)).expect("raw JSON is JSON")
                    });
                    let expected = find(&value, path).filter(|value| !value.is_null());
                    prop_assert_eq!(found.as_ref(), expected, "{:?} of {:?}", path, messages[message]);
                }
            }
        }
    }

    #[test]
    fn any_bytes_are_taken_or_set_aside(messages in vec(vec(any::<u8>(), 0..80), 1..5)) {
        let mut decoder =
            JsonDecoder::try_new(vec![JsonField::new("a", DataType::Float64)]).expect("a double");
        let decoded = decode_all(&mut decoder, &messages);
        let accepted = messages.iter().filter(|message| oracle(message).is_some()).count();
        prop_assert_eq!(decoded.rows, accepted, "nearly always none");
        prop_assert_eq!(decoded.rejected.len(), messages.len() - accepted, "the others");
    }

    #[test]
    fn converted_values_are_the_ones_that_serde_json_reads(
        rows in vec((text_value(), double_value(), integer_value(), 0..6usize, space()), 1..12),
    ) {
        let fields = vec![
            JsonField::new("a text", DataType::Utf8View),
            JsonField::new("double", DataType::Float64),
            JsonField::new("integer", DataType::Int64),
        ];
        let mut decoder = JsonDecoder::try_new(fields).expect("simple types");
        let messages: Vec<_> = rows.iter().map(|(text, double, integer, order, space)| {
            message(&[&text.0, &double.0, &integer.0], *order, space)
        }).collect();
        for _ in 0..2 {
            let decoded = decode_all(&mut decoder, &messages);
            let expected: Vec<_> = rows.iter().filter_map(|(text, double, integer, ..)| {
                Some((text.1.clone()?, double.1?, integer.1?))
            }).collect();
            let texts = decoded.columns[0].as_string_view();
            let doubles = decoded.columns[1].as_primitive::<Float64Type>();
            let integers = decoded.columns[2].as_primitive::<Int64Type>();
            let found: Vec<_> = (0..decoded.rows).map(|row| (
                texts.is_valid(row).then(|| texts.value(row).to_owned()),
                doubles.is_valid(row).then(|| doubles.value(row)),
                integers.is_valid(row).then(|| integers.value(row)),
            )).collect();
            prop_assert_eq!(format!("{found:?}"), format!("{expected:?}"), "of {:?}", rows);
        }
    }
}

/// The messages of one producer: the same members in the same order, with the same white space; at times
/// one is missing, or the message is damaged.
fn alike() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let text = prop_oneof![
        6 => "\"[a-z ]{0,20}\"",
        2 => "\"[a-z ]{50,70}\"",
        1 => "\"[a-z\u{e9}\u{20ac}]{0,30}\"",
    ];
    let value = prop_oneof![
        4 => text.prop_map(|text| vec![text; 3]),
        4 => "-?[1-9][0-9]{0,18}(\\.[0-9]{1,4})?".prop_map(|number| vec![number; 3]),
        2 => vec(scalar(), 3),
        1 => vec(value(), 3),
    ];
    let values = vec(vec((value, 0..8u8), 1..5), 1..20);
    let members = vec((space(), key(), space(), space()), 4);
    (members, values, space()).prop_flat_map(|(members, rows, end)| {
        let messages = rows.iter().map(|row| {
            let members = row.iter().zip(&members).enumerate();
            let members: Vec<_> = members
                .filter(|(_, ((_, missing), _))| *missing > 0)
                .map(|(place, ((value, _), (a, key, b, c)))| {
                    format!("{a}{key}{b}:{c}{}", value[place % 3])
                })
                .collect();
            let whole = Just(format!("{{{}{end}}}{end}", members.join(",")));
            prop_oneof![8 => whole.clone().prop_map(String::into_bytes), 1 => damaged(whole)]
        });
        messages.collect::<Vec<_>>()
    })
}

/// What became of each message: its values as they are shown, or why it is no row.
fn outcomes(decoded: &Decoded, messages: usize) -> Vec<String> {
    let mut outcomes = vec![String::new(); messages];
    for rejected in &decoded.rejected {
        outcomes[rejected.message].clone_from(&rejected.reason);
    }
    for (row, message) in kept(decoded, messages).into_iter().enumerate() {
        let columns = decoded.columns.iter();
        let values = columns.map(|column| shown(column, row)).collect::<Vec<_>>();
        outcomes[message] = format!("row {}", values.join(", "));
    }
    outcomes
}

proptest! {
    #[test]
    fn a_message_becomes_the_same_whatever_its_neighbours_are(messages in alike()) {
        let fields = || {
            let fields = paths().into_iter().map(|path| JsonField {
                path,
                data_type: DataType::Utf8View,
                kind: JsonKind::RawJson,
            });
            let number = JsonField::new("price", DataType::Float64);
            fields.chain([number]).collect::<Vec<_>>()
        };
        let decoder = || JsonDecoder::try_new(fields()).expect("simple types");
        let alone: Vec<String> = messages.iter().map(|message| {
            let messages = std::slice::from_ref(message);
            outcomes(&decode_all(&mut decoder(), messages), 1).remove(0)
        }).collect();
        let mut decoder = decoder();
        for pass in 0..2 {
            let together = outcomes(&decode_all(&mut decoder, &messages), messages.len());
            prop_assert_eq!(&together, &alone, "pass {}", pass);
        }
    }
}

/// A value's JSON, and what its column should hold: `None` for a rejection, `Some(None)` for NULL.
type Case<T> = (String, Option<Option<T>>);

fn text_value() -> impl Strategy<Value = Case<String>> {
    scalar().prop_map(|json| {
        let expected = match serde_json::from_str(&json) {
            Ok(Value::Null) => Some(None),
            Ok(Value::String(text)) => Some(Some(text)),
            Ok(_) => Some(Some(json.clone())),
            Err(error) if error.to_string().starts_with("number out of range") => {
                Some(Some(json.clone()))
            }
            Err(_) => None,
        };
        (json, expected)
    })
}

fn double_value() -> impl Strategy<Value = Case<f64>> {
    let quoted = "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?"
        .prop_map(|number| format!("\"{number}\""));
    prop_oneof![scalar(), quoted].prop_map(|json| {
        // A string's number reads as the number itself does. Not `serde_json` but the standard
        // library says which number it is: the former reads some of them only nearly.
        let string = serde_json::from_str::<String>(&json).ok();
        let is_value = string.is_some()
            || json.starts_with(|first: char| first == '-' || first.is_ascii_digit());
        let text = string.unwrap_or_else(|| json.clone());
        let has_digits = text.contains(|c: char| c.is_ascii_digit());
        let expected = match text.trim_ascii().parse::<f64>() {
            _ if json == "null" => Some(None),
            Ok(number) if is_value && (number.is_finite() || !has_digits) => Some(Some(number)),
            _ => None,
        };
        (json, expected)
    })
}

fn integer_value() -> impl Strategy<Value = Case<i64>> {
    let quotes = select(vec!["", "\""]);
    let plain = |number: i128| i64::try_from(number).ok().map(Some);
    let whole = (any::<i64>(), "(\\.0{1,20})?", quotes.clone());
    let whole = whole.prop_map(move |(number, zeros, quote)| {
        (format!("{quote}{number}{zeros}{quote}"), Some(Some(number)))
    });
    let powers = (
        -1_000_000..1_000_000i64,
        0..14u32,
        select(vec!["e", "E", "e+"]),
        quotes.clone(),
    );
    let powers = powers.prop_map(move |(number, power, e, quote)| {
        let value = i128::from(number) * 10i128.pow(power);
        (format!("{quote}{number}{e}{power}{quote}"), plain(value))
    });
    let shifted = (any::<i64>(), 1..4u32, quotes.clone());
    let shifted = shifted.prop_map(move |(number, power, quote)| {
        let whole = number % 10i64.pow(power) == 0;
        let value = whole.then_some(Some(number / 10i64.pow(power)));
        (format!("{quote}{number}e-{power}{quote}"), value)
    });
    let long = (any::<i128>(), quotes);
    let long =
        long.prop_map(move |(number, quote)| (format!("{quote}{number}{quote}"), plain(number)));
    let others = select(vec![
        ("null", Some(None)),
        ("true", None),
        ("\"\"", None),
        ("{}", None),
        ("0.5", None),
        ("\"1 2\"", None),
        ("\"0x1\"", None),
        ("9223372036854775808", None),
        ("-9223372036854775808", Some(Some(i64::MIN))),
    ]);
    let others = others.prop_map(|(json, expected)| (json.to_owned(), expected));
    prop_oneof![whole, powers, shifted, long, others]
}

/// An object of three members in one of six orders.
fn message(values: &[&String; 3], order: usize, space: &str) -> Vec<u8> {
    let members = [
        ("a text", values[0]),
        ("double", values[1]),
        ("integer", values[2]),
    ];
    let first = order % 3;
    let (second, third) = if order < 3 { (1, 2) } else { (2, 1) };
    let members = [first, (first + second) % 3, (first + third) % 3].map(|place| {
        let (name, value) = members[place];
        format!("\"{name}\":{space}{value}")
    });
    format!("{{{}}}", members.join(",")).into_bytes()
}
