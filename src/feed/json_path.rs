//! Values in JSON text by their path, as they are written there: no number is read and written again.
//!
//! Pure. Invariant: what is given out is a part of the text that came in, unchanged.

use std::str::FromStr;

use serde::de::{DeserializeOwned, IgnoredAny};

/// Where a value lies: names of fields and numbers of elements, joined by dots; `.` is the whole.
///
/// An array on the way that is not followed by a number stands for each of its elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonPath {
    steps: Vec<String>,
}

impl FromStr for JsonPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "." {
            return Ok(Self { steps: Vec::new() });
        }
        let steps: Vec<String> = text.split('.').map(str::to_owned).collect();
        if steps.iter().any(String::is_empty) {
            return Err(format!("\"{text}\" is not of the form field.field"));
        }
        Ok(Self { steps })
    }
}

impl JsonPath {
    /// The value there; the first one where the path goes through an array. `None` when there is
    /// none.
    ///
    /// # Errors
    /// What is wrong with a text that is not JSON.
    pub(super) fn find<'a>(&self, text: &'a str) -> Result<Option<&'a str>, String> {
        let text = checked(text)?;
        let mut found = Vec::new();
        descend(text, &self.steps, &mut found);
        Ok(found.first().copied())
    }

    /// The items there: the elements of an array, or the one value that is none; nothing for null.
    /// `None` when there is no such place.
    ///
    /// # Errors
    /// What is wrong with a text that is not JSON.
    pub(super) fn items<'a>(&self, text: &'a str) -> Result<Option<Vec<&'a str>>, String> {
        let text = checked(text)?;
        let mut found = Vec::new();
        if !descend(text, &self.steps, &mut found) {
            return Ok(None);
        }
        let mut items = Vec::new();
        for value in found {
            match value.as_bytes().first() {
                Some(b'[') => items.extend(Members::of(value).map(|(_, item)| item)),
                _ if value == "null" => {}
                _ => items.push(value),
            }
        }
        Ok(Some(items))
    }
}

/// What a value says: a string's content, a number or another value as it is written; nothing for null.
pub(super) fn plain(value: &str) -> Option<String> {
    match value.as_bytes().first() {
        Some(b'"') => serde_json::from_str(value).ok(),
        _ if value == "null" => None,
        _ => Some(value.to_owned()),
    }
}

/// The text without white space around it, if it is one JSON value.
fn checked(text: &str) -> Result<&str, String> {
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| format!("not JSON: {error}"))?;
    Ok(text.trim_matches([' ', '\n', '\r', '\t']))
}

/// Adds the values below `value`; false when there is no such place.
fn descend<'a>(value: &'a str, steps: &[String], found: &mut Vec<&'a str>) -> bool {
    let Some((step, rest)) = steps.split_first() else {
        found.push(value);
        return true;
    };
    let mut members = Members::of(value);
    match (value.as_bytes().first(), step.parse::<usize>()) {
        (Some(b'['), Ok(index)) => members
            .nth(index)
            .is_some_and(|(_, element)| descend(element, rest, found)),
        (Some(b'['), Err(_)) => {
            let mut elements = members.map(|(_, element)| element).peekable();
            let is_empty = elements.peek().is_none();
            elements.fold(is_empty, |any, element| {
                descend(element, steps, found) || any
            })
        }
        // As everywhere, the last one counts where a name is there twice.
        (Some(b'{'), _) => members
            .filter(|(name, _)| name == step)
            .last()
            .is_some_and(|(_, member)| descend(member, rest, found)),
        _ => false,
    }
}

/// Walks over the members of an object or the elements of an array, whose text is known to be right.
struct Members<'a> {
    rest: &'a str,
    named: bool,
}

impl<'a> Members<'a> {
    /// Of another value: nothing.
    fn of(value: &'a str) -> Self {
        let rest = value.strip_prefix(['{', '[']).unwrap_or_default();
        Self {
            rest,
            named: value.starts_with('{'),
        }
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = (String, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let mut rest = self.rest.trim_start_matches([' ', '\n', '\r', '\t', ',']);
        let mut name = String::new();
        if self.named {
            let end;
            (name, end) = first_value(rest)?;
            rest = rest[end..].trim_start_matches([' ', '\n', '\r', '\t', ':']);
        } else if rest.starts_with(']') {
            return None;
        }
        let (IgnoredAny, end) = first_value(rest)?;
        let (value, after) = rest.split_at(end);
        self.rest = after;
        Some((name, value))
    }
}

/// The first value of a text and where it ends.
fn first_value<T: DeserializeOwned>(text: &str) -> Option<(T, usize)> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<T>();
    let value = values.next()?.ok()?;
    Some((value, values.byte_offset()))
}

#[cfg(test)]
mod tests {
    use super::{JsonPath, plain};

    fn path(text: &str) -> JsonPath {
        text.parse().unwrap()
    }

    #[test]
    fn values_are_given_as_they_are_written() {
        let text =
            r#" {"a": {"b" : 1.50, "c":"x\"y"}, "b": [ ], "é":{"b":12345678901234567890123}} "#;
        assert_eq!(path("a.b").find(text), Ok(Some("1.50")));
        assert_eq!(path("a.c").find(text), Ok(Some(r#""x\"y""#)));
        assert_eq!(path("é.b").find(text), Ok(Some("12345678901234567890123")));
        assert_eq!(path("a.d").find(text), Ok(None));
        assert_eq!(path("a.b.c").find(text), Ok(None));
        assert_eq!(path(".").find(text), Ok(Some(text.trim())));
    }

    #[test]
    fn the_last_of_two_fields_of_one_name_counts() {
        assert_eq!(path("a").find(r#"{"a":1,"a":2}"#), Ok(Some("2")));
    }

    #[test]
    fn items_are_elements_or_the_one_value() {
        let items = |at: &str, text: &'static str| path(at).items(text).unwrap();
        assert_eq!(
            items("d", r#"{"d":[1, {"x":[2]} ,"3"]}"#).unwrap(),
            ["1", r#"{"x":[2]}"#, "\"3\""]
        );
        assert_eq!(items(".", "[true,false]").unwrap(), ["true", "false"]);
        assert_eq!(items(".", r#"{"a":1}"#).unwrap(), [r#"{"a":1}"#]);
        assert_eq!(items("d", r#"{"d":null}"#).unwrap(), [""; 0]);
        assert_eq!(items("d", r#"{"e":[1]}"#), None);
    }

    #[test]
    fn an_array_on_the_way_stands_for_each_of_its_elements() {
        let text = r#"{"events":[{"trades":[1,2]},{"other":0},{"trades":[3]}]}"#;
        assert_eq!(
            path("events.trades").items(text).unwrap().unwrap(),
            ["1", "2", "3"]
        );
        assert_eq!(path("events.2.trades").items(text).unwrap().unwrap(), ["3"]);
        assert_eq!(path("events.nothing").items(text), Ok(None));
        assert_eq!(
            path("events.trades").items(r#"{"events":[]}"#),
            Ok(Some(vec![]))
        );
    }

    #[test]
    fn what_is_not_json_is_told() {
        for text in ["", "{", "a", "{} {}", "{\"a\":01}"] {
            let error = path("a").find(text).unwrap_err();
            assert!(error.starts_with("not JSON: "), "{text}: {error}");
        }
    }

    #[test]
    fn a_path_has_no_empty_step() {
        assert!("a..b".parse::<JsonPath>().is_err());
        assert!("".parse::<JsonPath>().is_err());
    }

    #[test]
    fn strings_lose_their_quotes_and_null_is_nothing() {
        assert_eq!(plain("\"a\\u0062\"").as_deref(), Some("ab"));
        assert_eq!(plain("1.0").as_deref(), Some("1.0"));
        assert_eq!(plain("null"), None);
    }
}
