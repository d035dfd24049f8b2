//! The columns of a topic, guessed from some of its messages.
//!
//! A guess must hold for messages that were not seen, so it is careful: what is not clearly a
//! number, a time or a truth value is text, and what is of several shapes is json, which takes
//! anything. Broken messages are passed over.

use std::collections::HashMap;
use std::fmt;

use super::convert::parse_timestamp;
use super::datetime;
use super::scan::Text;
use super::slot::{Kind, Slot};
use super::syntax::Flaw;
use crate::types::MessageBatch;

/// A type that is guessed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InferredType {
    /// `true` and `false`.
    Bool,
    /// Whole numbers of 64 bits, also in strings, unless they have leading zeros.
    BigInt,
    /// Numbers, also in strings.
    DoublePrecision,
    /// Strings, and values of several kinds that are neither objects nor arrays.
    Text,
    /// Days in ISO 8601.
    Date,
    /// RFC 3339 times.
    TimestampTz,
    /// Objects, and values of several shapes.
    Json,
    /// Arrays whose elements have one type.
    Array(Box<InferredType>),
}

impl fmt::Display for InferredType {
    /// The name in SQL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("boolean"),
            Self::BigInt => f.write_str("bigint"),
            Self::DoublePrecision => f.write_str("double precision"),
            Self::Text => f.write_str("text"),
            Self::Date => f.write_str("date"),
            Self::TimestampTz => f.write_str("timestamptz"),
            Self::Json => f.write_str("json"),
            Self::Array(element) => write!(f, "{element}[]"),
        }
    }
}

/// A column that is guessed.
#[derive(Debug, Clone, PartialEq)]
pub struct InferredColumn {
    /// The member's name.
    pub name: String,
    /// Its type.
    pub sql_type: InferredType,
    /// The share of messages in which it is missing or null, from 0 to 1.
    pub null_share: f64,
    /// For times, how far the latest time before a message lay ahead of that message's, at most; in
    /// microseconds. A watermark delay of this much would have made no message late.
    pub disorder_us: Option<i64>,
}

/// Guesses the columns of messages, in the order in which their names first appear.
///
/// The disorder is meaningful if the messages are of one partition and in its order.
pub fn infer(messages: &[&[u8]]) -> Vec<InferredColumn> {
    let mut evidence = Evidence::default();
    for message in messages {
        evidence.add(message);
    }
    evidence.columns()
}

/// What was seen of all members.
#[derive(Default)]
struct Evidence {
    members: Vec<Member>,
    by_name: HashMap<String, usize>,
    messages: usize,
}

/// What was seen of one member.
struct Member {
    name: String,
    seen: Option<InferredType>,
    values: usize,
    /// True if one of the values was an array without elements.
    empty_array: bool,
    latest: Option<i128>,
    disorder: i128,
}

impl Evidence {
    fn add(&mut self, message: &[u8]) {
        let mut bytes = message.to_vec();
        bytes.resize(message.len() + MessageBatch::PADDING, 0);
        let Some(members) = members(Text::new(&bytes, message.len())) else {
            return;
        };
        self.messages += 1;
        for (name, slot) in members {
            let member = self.member(name);
            if slot != Slot::NULL {
                member.add(slot, &bytes, message.len());
            }
        }
    }

    fn member(&mut self, name: String) -> &mut Member {
        let place = *self.by_name.entry(name).or_insert_with_key(|name| {
            self.members.push(Member {
                name: name.clone(),
                seen: None,
                values: 0,
                empty_array: false,
                latest: None,
                disorder: 0,
            });
            self.members.len() - 1
        });
        &mut self.members[place]
    }

    fn columns(self) -> Vec<InferredColumn> {
        let messages = self.messages;
        let column = |member: Member| {
            let sql_type = member.sql_type();
            let disorder = i64::try_from(member.disorder).unwrap_or(i64::MAX);
            #[expect(clippy::cast_precision_loss, reason = "a share of some thousands")]
            let null_share = 1.0 - member.values as f64 / messages as f64;
            InferredColumn {
                name: member.name,
                disorder_us: (sql_type == InferredType::TimestampTz).then_some(disorder),
                sql_type,
                null_share,
            }
        };
        self.members.into_iter().map(column).collect()
    }
}

/// The members of a message, the last of each name, in the order of their first appearance; `None`
/// if it is no JSON object.
fn members(text: Text<'_>) -> Option<Vec<(String, Slot)>> {
    std::str::from_utf8(&text.bytes()[..text.end()]).ok()?;
    let mut members: Vec<(String, Slot)> = Vec::new();
    let start = text.skip_space(0);
    if text.byte(start) != b'{' {
        return None;
    }
    let mut i = text.skip_space(start + 1);
    if text.byte(i) != b'}' {
        loop {
            let (key, value) = text.key(i, Flaw::NoKey).ok()?;
            let (slot, end) = text.value(value, 1).ok()?;
            let name = String::from_utf8_lossy(&key.text(text.bytes())).into_owned();
            match members.iter_mut().find(|(known, _)| *known == name) {
                Some((_, earlier)) => *earlier = slot,
                None => members.push((name, slot)),
            }
            i = text.skip_space(end);
            match text.byte(i) {
                b',' => i = text.skip_space(i + 1),
                b'}' => break,
                _ => return None,
            }
        }
    }
    (text.skip_space(i + 1) == text.end()).then_some(members)
}

impl Member {
    fn add(&mut self, slot: Slot, bytes: &[u8], end: usize) {
        self.values += 1;
        let found = type_of(slot, bytes, end);
        if found == Some(InferredType::TimestampTz)
            && let Some(micros) = parse_timestamp(&slot.text(bytes))
        {
            let latest = self.latest.map_or(micros, |latest| latest.max(micros));
            self.disorder = self.disorder.max(latest - micros);
            self.latest = Some(latest);
        }
        self.empty_array |= found.is_none();
        self.seen = merge(self.seen.take(), found);
    }

    fn sql_type(&self) -> InferredType {
        match &self.seen {
            Some(InferredType::Array(element)) => match **element {
                // Elements of several shapes, and arrays of arrays.
                InferredType::Json | InferredType::Array(_) => InferredType::Json,
                _ => InferredType::Array(element.clone()),
            },
            _ if self.empty_array => InferredType::Json,
            Some(seen) => seen.clone(),
            // Nothing but nulls says nothing; text takes most of what may come.
            None => InferredType::Text,
        }
    }
}

/// The type of one value; `None` if it says nothing (null, an array of nothing else).
fn type_of(slot: Slot, bytes: &[u8], end: usize) -> Option<InferredType> {
    Some(match slot.kind() {
        Kind::Null => return None,
        Kind::True | Kind::False => InferredType::Bool,
        Kind::Number => type_of_number(slot.of(bytes)),
        Kind::String | Kind::Escaped => type_of_string(&slot.text(bytes)),
        Kind::Object => InferredType::Json,
        Kind::Array => {
            let mut elements = Vec::new();
            Text::new(bytes, end)
                .elements(slot.start(), &mut elements)
                .expect("the array's syntax was checked with its message");
            let types = elements
                .into_iter()
                .map(|element| type_of(element, bytes, end));
            InferredType::Array(Box::new(types.fold(None, merge)?))
        }
    })
}

fn type_of_number(text: &[u8]) -> InferredType {
    if !text
        .iter()
        .all(|byte| byte.is_ascii_digit() || *byte == b'-')
    {
        return InferredType::DoublePrecision;
    }
    match std::str::from_utf8(text).map(str::parse::<i64>) {
        Ok(Ok(_)) => InferredType::BigInt,
        // Longer ones are identifiers; text keeps all their digits.
        _ => InferredType::Text,
    }
}

fn type_of_string(text: &[u8]) -> InferredType {
    if is_plain_number(text) {
        return type_of_number(text);
    }
    match datetime::date(text) {
        Some((_, [])) => InferredType::Date,
        Some(_) if parse_timestamp(text).is_some() => InferredType::TimestampTz,
        _ => InferredType::Text,
    }
}

/// A number as people write one: no exponent (`12e5` is more likely a code), no leading zeros.
fn is_plain_number(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let leading_zero = digits.len() > 1 && digits[0] == b'0' && digits[1] != b'.';
    let is_number = digits.first().is_some_and(u8::is_ascii_digit)
        && digits.last().is_some_and(u8::is_ascii_digit)
        && digits
            .iter()
            .all(|byte| byte.is_ascii_digit() || *byte == b'.')
        && digits.iter().filter(|byte| **byte == b'.').count() <= 1;
    is_number && !leading_zero
}

/// The type that takes both.
fn merge(a: Option<InferredType>, b: Option<InferredType>) -> Option<InferredType> {
    use InferredType::{Array, BigInt, Date, DoublePrecision, Json, Text, TimestampTz};
    let (a, b) = match (a, b) {
        (None, other) | (other, None) => return other,
        (Some(a), Some(b)) => (a, b),
    };
    Some(match (a, b) {
        (a, b) if a == b => a,
        (BigInt, DoublePrecision) | (DoublePrecision, BigInt) => DoublePrecision,
        (Date, TimestampTz) | (TimestampTz, Date) => TimestampTz,
        (Array(a), Array(b)) => Array(Box::new(merge(Some(*a), Some(*b))?)),
        (Json | Array(_), _) | (_, Json | Array(_)) => Json,
        _ => Text,
    })
}

#[cfg(test)]
mod tests {
    use super::{InferredColumn, infer};

    fn inferred(messages: &[&str]) -> Vec<InferredColumn> {
        let messages: Vec<_> = messages.iter().map(|message| message.as_bytes()).collect();
        infer(&messages)
    }

    fn check(messages: &[&str], expected: &str) {
        let columns = inferred(messages);
        let shown: Vec<_> = columns
            .iter()
            .map(|column| format!("{} {}", column.name, column.sql_type))
            .collect();
        assert_eq!(shown.join(", "), expected, "{messages:?}");
    }

    #[test]
    fn a_trade_is_recognised() {
        let trade = r#"{"id":"552574899","exchange":"Huobi","price":"2350.5049","volume":"994",
            "timestamp":"2018-07-17T17:00:00.015Z"}"#;
        check(
            &[trade],
            "id bigint, exchange text, price double precision, volume bigint, timestamp timestamptz",
        );
    }

    #[test]
    fn every_kind_of_value_has_a_type() {
        for (value, sql_type) in [
            ("true", "boolean"),
            ("1", "bigint"),
            ("-1", "bigint"),
            ("9223372036854775807", "bigint"),
            ("9223372036854775808", "text"),
            ("1.5", "double precision"),
            ("1e3", "double precision"),
            ("1e400", "double precision"),
            ("1531846800000", "bigint"),
            (r#""1""#, "bigint"),
            (r#""1.50""#, "double precision"),
            (r#""0""#, "bigint"),
            (r#""0.5""#, "double precision"),
            (r#""007""#, "text"),
            (r#""-01""#, "text"),
            (r#""12e5""#, "text"),
            (r#""1.""#, "text"),
            (r#""1.2.3""#, "text"),
            (r#""+1""#, "text"),
            (r#""""#, "text"),
            (r#""true""#, "text"),
            (r#""NaN""#, "text"),
            (r#""99999999999999999999""#, "text"),
            (r#""2018-07-17""#, "date"),
            (r#""2018-07-17T17:00:00.015Z""#, "timestamptz"),
            (r#""2018-07-17 17:00:00+02""#, "timestamptz"),
            (r#""2018-13-17T17:00:00Z""#, "text"),
            (r#""2018-07-17 or so""#, "text"),
            ("null", "text"),
            ("{}", "json"),
            ("[]", "json"),
            ("[1,2]", "bigint[]"),
            ("[1,null,2.5]", "double precision[]"),
            (r#"["a","b"]"#, "text[]"),
            ("[null]", "json"),
            ("[[1],[2]]", "json"),
            ("[{}]", "json"),
            ("[1,{}]", "json"),
        ] {
            check(&[&format!(r#"{{"v":{value}}}"#)], &format!("v {sql_type}"));
        }
    }

    #[test]
    fn values_of_several_kinds_have_the_type_that_takes_all() {
        for (values, sql_type) in [
            (["1", "2.5"], "double precision"),
            (["1", r#""2""#], "bigint"),
            (["1", "null"], "bigint"),
            (["1", "true"], "text"),
            (["1", r#""x""#], "text"),
            (
                [r#""2018-07-17""#, r#""2018-07-17T00:00:00Z""#],
                "timestamptz",
            ),
            ([r#""2018-07-17""#, "1"], "text"),
            (["1", "{}"], "json"),
            (["1", "[1]"], "json"),
            (["[]", "[1]"], "bigint[]"),
            (["[]", "1"], "json"),
            (["[1]", "[2.5]"], "double precision[]"),
            (["[1]", "null"], "bigint[]"),
        ] {
            let messages = values.map(|value| format!(r#"{{"v":{value}}}"#));
            check(&[&messages[0], &messages[1]], &format!("v {sql_type}"));
            check(&[&messages[1], &messages[0]], &format!("v {sql_type}"));
        }
    }

    #[test]
    fn names_appear_in_order_and_nulls_are_counted() {
        let columns = inferred(&[
            r#"{"b":1,"a":null}"#,
            r#"{"c":1,"b":null}"#,
            "broken",
            r#"{"b":1"#,
            "[1]",
            r#"{"a":1,"a":"x"}"#,
            r#"{"\u0062":2}"#,
        ]);
        let shown: Vec<_> = columns
            .iter()
            .map(|column| (column.name.as_str(), column.null_share))
            .collect();
        assert_eq!(
            shown,
            [("b", 0.5), ("a", 0.75), ("c", 0.75)],
            "of four messages"
        );
        assert_eq!(
            columns[1].sql_type.to_string(),
            "text",
            "the last of two members counts"
        );
    }

    #[test]
    fn the_disorder_is_the_greatest_step_back() {
        let at = |second: &str| format!(r#"{{"t":"2018-07-17T17:00:{second}Z"}}"#);
        let messages = ["10", "12.5", "11", "13", "10.25", "20"].map(at);
        let messages: Vec<_> = messages.iter().map(String::as_str).collect();
        assert_eq!(
            inferred(&messages)[0].disorder_us,
            Some(2_750_000),
            "13 before 10.25"
        );
        assert_eq!(inferred(&messages[..2])[0].disorder_us, Some(0), "in order");
        assert_eq!(inferred(&[r#"{"t":1}"#])[0].disorder_us, None, "no time");
    }

    #[test]
    fn nothing_is_inferred_from_nothing() {
        assert_eq!(inferred(&[]), [], "no messages");
        assert_eq!(
            inferred(&["x", "{}", "\u{feff}{\"a\":1}"]),
            [],
            "none with members"
        );
    }
}
