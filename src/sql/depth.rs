//! How deep a statement's tree can get, found from its tokens before anything recursive touches it.
//!
//! The parser builds trees that lean to one side (`1 + 1 + 1 + ..`, `a UNION b UNION c ..`); they
//! are copied, visited and freed by recursion, which overflows a stack. Invariant: a statement that
//! passes has a tree of at most [`HEIGHT_MAX`] units.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::tokens;
use crate::error::{Error, Position, Result, SqlState};

/// The tallest tree, in units of one operator's frame; a taller one is refused with 54001.
/// Measured without optimisation, trees of this height stay within 2 MiB of stack.
pub(super) const HEIGHT_MAX: usize = 300;

/// More `AND`s and `OR`s than this at one level are read as a balanced tree.
const CHAIN_LONG: usize = 64;

/// What a sub-query costs beside its parenthesis, in units.
const QUERY_UNITS: usize = 5;

/// What a call costs beside its parenthesis.
const CALL_UNITS: usize = 2;

/// What a window function in `FROM` costs beside: its input becomes a sub-query.
const WINDOW_UNITS: usize = 6;

/// What a word costs that the parser reads by recursion without a guard.
const UNGUARDED_UNITS: usize = 8;

/// What a `NOT` or the sign of a sign costs: planning goes deeper for them.
const PREFIX_UNITS: usize = 3;

/// What the `<` of a type such as `ARRAY<..>` costs; as a comparison it costs as much.
const ANGLE_UNITS: usize = 3;

/// What a `UNION` costs.
const SET_OPERATION_UNITS: usize = 3;

/// What is known of a statement's shape.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Some chain of `AND` and `OR` is long.
    pub(super) long_chains: bool,
}

/// One pair of parentheses, or one `CASE`.
#[derive(Default)]
struct Level {
    /// What opening it cost.
    open: usize,
    /// True if `CASE` opened it and `END` closes it.
    case: bool,
    /// Operators since the last comma, clause, `AND` or `OR`.
    links: usize,
    /// `AND`s and `OR`s since the last comma or clause, and the most before; beyond
    /// [`CHAIN_LONG`] they are read as a balanced tree and cost no more.
    logic: usize,
    logic_most: usize,
    /// The tallest child since then.
    child: usize,
    /// The tallest part before.
    tallest: usize,
    /// `UNION`s and `JOIN`s, which lean over the whole level.
    spine: usize,
}

impl Level {
    fn height(&self) -> usize {
        let logic = self.logic.max(self.logic_most).min(CHAIN_LONG);
        self.open + self.spine + logic + self.tallest.max(self.links + self.child)
    }

    fn end_part(&mut self) {
        self.end_operand();
        self.logic_most = self.logic_most.max(self.logic);
        self.logic = 0;
    }

    fn end_operand(&mut self) {
        self.tallest = self.tallest.max(self.links + self.child);
        (self.links, self.child) = (0, 0);
    }
}

/// Measures a statement.
///
/// # Errors
/// 54001 with the place where it gets too deep.
pub(super) fn measure(all: &[TokenWithSpan]) -> Result<Shape> {
    let mut levels = vec![Level::default()];
    // The units of all open levels together, so that depth is refused where it is reached.
    let mut open = 0;
    let mut long_chains = false;
    for (at, token) in all.iter().enumerate() {
        let level = levels.last_mut().expect("the outermost level stays");
        match effect(&token.token) {
            Effect::None => {}
            Effect::Open { case } => {
                let cost = 1 + extra_units(all, at);
                open += cost;
                if at > 0 && all[at - 1].token == Token::RBracket {
                    // `int[][]..`: brackets beside each other nest in the tree.
                    level.links += 1;
                }
                levels.push(Level {
                    open: cost,
                    case,
                    ..Level::default()
                });
            }
            Effect::Close { case } => {
                if levels.len() > 1 && levels.last().is_some_and(|level| level.case == case) {
                    let closed = levels.pop().expect("there are at least two");
                    open -= closed.open;
                    let parent = levels.last_mut().expect("the outermost level stays");
                    parent.child = parent.child.max(closed.height());
                }
            }
            Effect::Part => level.end_part(),
            Effect::Link(units) => {
                let doubled = at > 0 && is_sign(&token.token) && is_sign(&all[at - 1].token);
                level.links += if doubled { PREFIX_UNITS } else { units };
            }
            Effect::Logic => {
                level.end_operand();
                level.logic += 1;
                long_chains |= level.logic > CHAIN_LONG;
            }
            Effect::Spine(units) => {
                level.end_part();
                level.spine += units;
            }
        }
        let height = levels.last().map_or(0, Level::height);
        if height.max(open) > HEIGHT_MAX {
            return Err(too_deep(tokens::position(token)));
        }
    }
    Ok(Shape { long_chains })
}

fn too_deep(position: Position) -> Error {
    Error::user(
        SqlState::StatementTooComplex,
        "statement is nested too deeply",
    )
    .hint("Use IN (..) or VALUES for long lists, or split the statement with views.")
    .at(Some(position))
}

enum Effect {
    None,
    Open {
        case: bool,
    },
    Close {
        case: bool,
    },
    /// A new expression begins, beside the ones before.
    Part,
    Link(usize),
    Logic,
    Spine(usize),
}

fn effect(token: &Token) -> Effect {
    match token {
        Token::LParen | Token::LBracket | Token::LBrace => Effect::Open { case: false },
        Token::RParen | Token::RBracket | Token::RBrace => Effect::Close { case: false },
        Token::Comma => Effect::Part,
        Token::Word(word) => keyword_effect(word.keyword),
        Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::DollarQuotedString(_)
        | Token::EscapedStringLiteral(_)
        | Token::HexStringLiteral(_)
        | Token::NationalStringLiteral(_)
        | Token::UnicodeStringLiteral(_)
        | Token::Placeholder(_)
        | Token::Period
        | Token::EOF => Effect::None,
        Token::Lt => Effect::Link(ANGLE_UNITS),
        _ => Effect::Link(1),
    }
}

fn is_sign(token: &Token) -> bool {
    matches!(token, Token::Minus | Token::Plus | Token::Tilde)
}

fn keyword_effect(keyword: Keyword) -> Effect {
    match keyword {
        Keyword::CASE => Effect::Open { case: true },
        Keyword::END => Effect::Close { case: true },
        Keyword::SELECT
        | Keyword::FROM
        | Keyword::WHERE
        | Keyword::GROUP
        | Keyword::HAVING
        | Keyword::ORDER
        | Keyword::ON
        | Keyword::WHEN
        | Keyword::THEN
        | Keyword::ELSE
        | Keyword::VALUES
        | Keyword::WITH => Effect::Part,
        Keyword::AND | Keyword::OR => Effect::Logic,
        Keyword::NOT => Effect::Link(PREFIX_UNITS),
        Keyword::IS
        | Keyword::NOTNULL
        | Keyword::IN
        | Keyword::LIKE
        | Keyword::ILIKE
        | Keyword::SIMILAR
        | Keyword::BETWEEN
        | Keyword::COLLATE
        | Keyword::AT
        | Keyword::OVERLAPS
        | Keyword::OPERATOR => Effect::Link(1),
        Keyword::INTERVAL => Effect::Link(UNGUARDED_UNITS),
        Keyword::UNION | Keyword::INTERSECT | Keyword::EXCEPT => Effect::Spine(SET_OPERATION_UNITS),
        Keyword::JOIN => Effect::Spine(1),
        _ => Effect::None,
    }
}

/// What the parenthesis at `open` costs more than one that only groups.
fn extra_units(all: &[TokenWithSpan], open: usize) -> usize {
    let query = all.get(open + 1).is_some_and(|token| match &token.token {
        Token::Word(word) => matches!(
            word.keyword,
            Keyword::SELECT | Keyword::WITH | Keyword::VALUES | Keyword::TABLE
        ),
        _ => false,
    });
    let before = open.checked_sub(1).map(|before| &all[before].token);
    let call = matches!(before, Some(Token::Word(_)));
    let window = before.is_some_and(|before| {
        ["TUMBLE", "HOP", "CUMULATE", "SESSION"]
            .iter()
            .any(|name| tokens::is_word(before, name))
    });
    [
        (query, QUERY_UNITS),
        (call, CALL_UNITS),
        (window, WINDOW_UNITS),
    ]
    .iter()
    .filter(|(applies, _)| *applies)
    .map(|(_, units)| units)
    .sum()
}
