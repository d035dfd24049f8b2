//! What templates in the language of Jinja call, and how they write what holds fields.
//!
//! The library looks them up while it renders, where it comes by: a branch that is not taken hides what is misspelt
//! in it. Here each is looked up that stands in the text.

use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, ErrorKind};

/// A list, what has fields, a boolean and NULL as JSON; `None` for any other value.
pub fn json_of(value: &Value) -> Option<String> {
    match value.kind() {
        ValueKind::Map | ValueKind::Seq | ValueKind::Bool | ValueKind::None => {
            serde_json::to_string(value).ok()
        }
        _ => None,
    }
}

/// What stands between braces, in a coarse form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece<'a> {
    /// `{{` or `{%`.
    Opens,
    Word(&'a str),
    Pipe,
    /// A text in quotes, a number, another sign.
    Other,
}

/// The first filter or test in a template's text that there is not, as part of a sentence.
pub fn unknown_call(text: &str, environment: &Environment<'_>) -> Option<String> {
    let mut state = environment.empty_state();
    let is_unknown =
        |kind: ErrorKind| [ErrorKind::UnknownFilter, ErrorKind::UnknownTest].contains(&kind);
    let mut before = [Piece::Other, Piece::Other];
    for piece in pieces(text) {
        let found = match (before, piece) {
            ([_, Piece::Pipe] | [Piece::Opens, Piece::Word("filter")], Piece::Word(name)) => {
                Some((name, "filter", state.apply_filter(name, &[])))
            }
            ([_, Piece::Word("is")], Piece::Word("not")) => None,
            (
                [_, Piece::Word("is")] | [Piece::Word("is"), Piece::Word("not")],
                Piece::Word(name),
            ) => {
                let tested = state.perform_test(name, &[]);
                Some((name, "test", tested.map(Value::from)))
            }
            _ => None,
        };
        if let Some((name, what, Err(error))) = found
            && is_unknown(error.kind())
        {
            return Some(format!("{what} {name} is unknown"));
        }
        before = [before[1], piece];
    }
    None
}

/// What stands between braces, comments left out.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('{') {
        rest = &rest[start..];
        let (ends, is_code) = match rest.as_bytes().get(1) {
            Some(b'{') => ("}}", true),
            Some(b'%') => ("%}", true),
            Some(b'#') => ("#}", false),
            _ => {
                rest = &rest[1..];
                continue;
            }
        };
        rest = &rest[2..];
        if is_code {
            pieces.push(Piece::Opens);
            rest = code(rest, ends, &mut pieces);
            if is_raw(&pieces) {
                rest = rest.find("endraw").map_or("", |end| &rest[end..]);
            }
        } else {
            rest = rest.find(ends).map_or("", |end| &rest[end + ends.len()..]);
        }
    }
    pieces
}

/// True behind `{% raw %}`: what follows is text.
fn is_raw(pieces: &[Piece<'_>]) -> bool {
    pieces.ends_with(&[Piece::Opens, Piece::Word("raw")])
}

/// Reads up to the end of what was opened; gives what is behind it.
fn code<'a>(text: &'a str, ends: &str, pieces: &mut Vec<Piece<'a>>) -> &'a str {
    let mut rest = text.trim_start_matches(['-', '+']);
    while let Some(first) = rest.chars().next() {
        if let Some(behind) = rest.strip_prefix(ends) {
            return behind;
        }
        let length = match first {
            '"' | '\'' => quoted(rest, first),
            _ if first.is_alphabetic() || first == '_' => {
                let word = |c: char| c.is_alphanumeric() || c == '_';
                let length = rest.find(|c| !word(c)).unwrap_or(rest.len());
                pieces.push(Piece::Word(&rest[..length]));
                rest = &rest[length..];
                continue;
            }
            _ => first.len_utf8(),
        };
        match first {
            '|' => pieces.push(Piece::Pipe),
            // Before the end, where a sign may ask for white space to be left out.
            _ if first.is_whitespace() || rest[length..].starts_with(ends) => {}
            _ => pieces.push(Piece::Other),
        }
        rest = &rest[length..];
    }
    ""
}

/// The length of a text in quotes, with them.
fn quoted(text: &str, quote: char) -> usize {
    let mut is_escaped = true;
    for (at, char) in text.char_indices() {
        match char {
            '\\' if !is_escaped => is_escaped = true,
            _ if char == quote && !is_escaped => return at + char.len_utf8(),
            _ => is_escaped = false,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let found = unknown_call(text, &Environment::new());
        assert_eq!(found.as_deref(), expected, "{text}");
    }

    #[test]
    fn what_there_is_not_is_found_wherever_it_stands() {
        let filter = Some("filter shout is unknown");
        check("{{ a | shout }}", filter);
        check("{{- a|upper|shout('x') -}}", filter);
        check(
            "{% if a > 1 %}{% if b %}{{ c | shout }}{% endif %}{% endif %}",
            filter,
        );
        check("{% filter shout %}a{% endfilter %}", filter);
        check("{{ '\\'' | shout }}", filter);
        let test = Some("test odder is unknown");
        check("{% if a is odder %}{% endif %}", test);
        check("{{ 1 if a is not odder }}", test);
    }

    #[test]
    fn what_there_is_and_what_only_looks_like_a_call_is_none() {
        for text in [
            "",
            "{{ a | upper | replace('|shout', 'is odder') }}",
            "{% if a is defined and b is not none %}{% endif %}",
            "a | shout { b | shout } {# c | shout #}",
            "{% raw %}{{ a | shout }}{% endraw %}{{ a | lower }}",
            "{{ 'a' ~ \"b | shout\" }}",
            "{{ a",
            "{",
        ] {
            check(text, None);
        }
    }
}
