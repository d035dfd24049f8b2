//! What can be wrong with a message's JSON, and how a person is told.

use super::scan::Text;
use crate::format::reject::shown;

/// Nesting that a message may have; the message's own object is the first level.
pub(super) const DEPTH_MAX: usize = 128;

/// What stood where something else was needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    NotAnObject,
    NoKey,
    NoKeyOrEnd,
    NoColon,
    NoCommaOrBrace,
    NoCommaOrBracket,
    NoValue,
    NoDigit,
    OpenString,
    BadEscape,
    LoneSurrogate,
    ControlCharacter,
    TooDeep,
    TrailingText,
}

/// A message that is not one JSON object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SyntaxError {
    /// Where, in the batch's buffer; the message's end if it ends too early.
    pub(super) at: usize,
    /// What is wrong there.
    pub(super) flaw: Flaw,
}

impl SyntaxError {
    #[cold]
    pub(super) fn new(at: usize, flaw: Flaw) -> Self {
        Self { at, flaw }
    }

    /// The reason for people; `start` is the first byte of the message.
    pub(super) fn reason(self, text: Text<'_>, start: usize) -> String {
        let at = self.at.min(text.end());
        let place = at - start + 1;
        let found = || match &text.bytes()[at..text.end()] {
            [] => "the end of the message".to_owned(),
            [0xef, 0xbb, 0xbf, ..] => "a byte order mark".to_owned(),
            rest => format!("\"{}\"", shown(rest)),
        };
        let expected = match self.flaw {
            Flaw::NotAnObject => {
                return format!("expected a JSON object, found {} (byte {place})", found());
            }
            Flaw::LoneSurrogate => {
                return format!("not valid JSON: half of a surrogate pair (byte {place})");
            }
            Flaw::ControlCharacter => {
                return format!(
                    "not valid JSON: bare control character in a string (byte {place})"
                );
            }
            Flaw::TooDeep => {
                return format!("nested deeper than {DEPTH_MAX} levels (byte {place})");
            }
            Flaw::BadEscape => {
                return format!("not valid JSON: unknown escape {} (byte {place})", found());
            }
            Flaw::NoKey => "a key in double quotes",
            Flaw::NoKeyOrEnd => "a key in double quotes or \"}\"",
            Flaw::NoColon => "\":\"",
            Flaw::NoCommaOrBrace => "\",\" or \"}\"",
            Flaw::NoCommaOrBracket => "\",\" or \"]\"",
            Flaw::NoValue => "a value",
            Flaw::NoDigit => "a digit",
            Flaw::OpenString => "the closing quote of a string",
            Flaw::TrailingText => "nothing after the object",
        };
        format!(
            "not valid JSON: expected {expected}, found {} (byte {place})",
            found()
        )
    }
}
