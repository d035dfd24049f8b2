//! Window spellings that the parser library cannot read, rewritten in a query's tokens.
//!
//! - `FROM t WINDOW TUMBLING (SIZE 1 MINUTE)` becomes `FROM TUMBLE((SELECT * FROM t), ..) AS t`;
//! - `TABLE t` where a query stands becomes `(SELECT * FROM t)`;
//! - `SESSION(t PARTITION BY k, ts, gap)` becomes `SESSION(t, ts, gap, partition_by => k)`.
//!
//! Invariant: one pass; made tokens carry the places of the written ones, so that errors point
//! into the user's text. A standard `WINDOW w AS (..)` is left alone.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::window_function::{self, GRACE, PARTITION_BY};
use super::{emit, interval, syntax, tokens};
use crate::error::{Error, Result, SqlState};

/// Rewrites a query's tokens.
///
/// # Errors
/// A window clause that lacks a part, has an unknown one, or stands behind a join.
pub(super) fn rewrite(query: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>> {
    let touched = query.iter().any(|token| {
        ["WINDOW", "TABLE", "PARTITION"]
            .iter()
            .any(|word| tokens::is_word(&token.token, word))
    });
    if touched {
        Rewriter::new(query).run()
    } else {
        Ok(query)
    }
}

struct Rewriter {
    input: Vec<TokenWithSpan>,
    at: usize,
    output: Vec<TokenWithSpan>,
    levels: Vec<Level>,
}

/// One pair of parentheses.
#[derive(Default)]
struct Level {
    /// Where in the output the sources after `FROM` start.
    sources: Option<usize>,
    /// True inside `SESSION( .. )`.
    session: bool,
    /// The keys of its `PARTITION BY`, each with its tokens.
    keys: Vec<Vec<TokenWithSpan>>,
}

impl Rewriter {
    fn new(input: Vec<TokenWithSpan>) -> Self {
        let output = Vec::with_capacity(input.len() + 16);
        Self {
            input,
            at: 0,
            output,
            levels: vec![Level::default()],
        }
    }

    fn run(mut self) -> Result<Vec<TokenWithSpan>> {
        while self.at < self.input.len() {
            let in_session = self.level().session;
            let rest = &self.input[self.at..];
            if let Some(kind) = window_kind(rest) {
                self.window(kind)?;
            } else if tokens::starts_with(rest, &["TABLE"]) && self.table_is_a_query() {
                self.table();
            } else if in_session && tokens::starts_with(rest, &["PARTITION", "BY"]) {
                self.partition_by();
            } else {
                self.copy();
            }
        }
        Ok(self.output)
    }

    fn level(&mut self) -> &mut Level {
        self.levels.last_mut().expect("the outermost level stays")
    }

    /// Takes one token over, keeping track of where we are.
    fn copy(&mut self) {
        let token = self.input[self.at].clone();
        match &token.token {
            Token::LParen => {
                let session = self
                    .output
                    .last()
                    .is_some_and(|last| tokens::is_word(&last.token, "SESSION"));
                self.levels.push(Level {
                    session,
                    ..Level::default()
                });
            }
            Token::RParen => {
                let keys = std::mem::take(&mut self.level().keys);
                for key in keys {
                    self.named(PARTITION_BY, key, &token);
                }
                if self.levels.len() > 1 {
                    self.levels.pop();
                }
            }
            word if tokens::is_word(word, "FROM") => {
                let sources = self.output.len() + 1;
                self.level().sources = Some(sources);
            }
            word if ["WHERE", "GROUP", "SELECT", "UNION", "INTERSECT", "EXCEPT"]
                .iter()
                .any(|end| tokens::is_word(word, end)) =>
            {
                self.level().sources = None;
            }
            _ => {}
        }
        self.output.push(token);
        self.at += 1;
    }

    /// Adds `, name => value`.
    fn named(&mut self, name: &str, value: Vec<TokenWithSpan>, like: &TokenWithSpan) {
        self.output.push(tokens::made(Token::Comma, like));
        self.output
            .push(tokens::made(Token::make_word(name, None), like));
        self.output.push(tokens::made(Token::RArrow, like));
        self.output.extend(value);
    }

    fn table_is_a_query(&self) -> bool {
        let named = matches!(
            self.input.get(self.at + 1).map(|token| &token.token),
            Some(Token::Word(_))
        );
        let place = match self.output.last().map(|token| &token.token) {
            None | Some(Token::LParen | Token::Comma | Token::RArrow) => true,
            Some(word) => ["UNION", "ALL", "EXCEPT", "INTERSECT"]
                .iter()
                .any(|before| tokens::is_word(word, before)),
        };
        named && place
    }

    /// `TABLE a.b` to `(SELECT * FROM a.b)`.
    fn table(&mut self) {
        let like = self.input[self.at].clone();
        self.at += 1;
        let start = self.at;
        self.at += 1;
        while matches!(
            self.input.get(self.at).map(|t| &t.token),
            Some(Token::Period)
        ) {
            self.at = (self.at + 2).min(self.input.len());
        }
        let name = self.input[start..self.at].to_vec();
        self.output.extend(select_all(name, &like));
    }

    fn partition_by(&mut self) {
        self.at += 2;
        let parenthesised = match tokens::closing(&self.input, self.at) {
            Some(close) if self.input[self.at].token == Token::LParen => Some(close),
            _ => None,
        };
        let (keys, next) = match parenthesised {
            Some(close) => (self.input[self.at + 1..close].to_vec(), close + 1),
            None => {
                let end = part_end(&self.input, self.at);
                (self.input[self.at..end].to_vec(), end)
            }
        };
        self.at = next;
        self.level().keys = parts(&keys);
    }

    /// `WINDOW kind ( .. )` behind a source: the source becomes a window function's input.
    fn window(&mut self, kind: Kind) -> Result<()> {
        let head = self.input[self.at].clone();
        let open = self.at + 2;
        let Some(close) = tokens::closing(&self.input, open) else {
            return syntax::expected("a closing parenthesis", &self.input[self.input.len() - 1]);
        };
        let Some(from) = self
            .level()
            .sources
            .take()
            .filter(|from| *from < self.output.len())
        else {
            return Err(clause_error(
                "a window clause must follow the table after FROM",
                &head,
            ));
        };
        let source = self.output.split_off(from);
        let (relation, alias) = relation_and_alias(source, &head)?;
        let clause = Clause::read(kind, &self.input[open + 1..close], &head)?;
        let push = |output: &mut Vec<TokenWithSpan>, token| output.push(tokens::made(token, &head));
        push(&mut self.output, Token::make_word(kind.function(), None));
        push(&mut self.output, Token::LParen);
        self.output.extend(select_all(relation, &head));
        push(&mut self.output, Token::Comma);
        let column = window_function::EVENT_TIME_COLUMN;
        push(&mut self.output, Token::make_word(column, Some('"')));
        for length in clause.lengths(kind) {
            push(&mut self.output, Token::Comma);
            self.output.extend(interval_tokens(length, &head));
        }
        if let Some(grace) = clause.grace {
            self.named(GRACE, interval_tokens(grace, &head), &head);
        }
        push(&mut self.output, Token::RParen);
        self.output.extend(alias);
        self.at = close + 1;
        Ok(())
    }
}

/// The kinds of the window clause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tumbling,
    Hopping,
    Session,
}

impl Kind {
    fn function(self) -> &'static str {
        match self {
            Self::Tumbling => "tumble",
            Self::Hopping => "hop",
            Self::Session => "session",
        }
    }

    fn example(self) -> &'static str {
        match self {
            Self::Tumbling => "WINDOW TUMBLING (SIZE 1 MINUTE)",
            Self::Hopping => "WINDOW HOPPING (SIZE 1 MINUTE, ADVANCE BY 10 SECONDS)",
            Self::Session => "WINDOW SESSION (30 SECONDS)",
        }
    }
}

fn window_kind(rest: &[TokenWithSpan]) -> Option<Kind> {
    if !matches!(rest.get(2).map(|token| &token.token), Some(Token::LParen)) {
        return None;
    }
    [Kind::Tumbling, Kind::Hopping, Kind::Session]
        .into_iter()
        .find(|kind| {
            let word = match kind {
                Kind::Tumbling => "TUMBLING",
                Kind::Hopping => "HOPPING",
                Kind::Session => "SESSION",
            };
            tokens::starts_with(rest, &["WINDOW", word])
        })
}

/// What stands in the parentheses of a window clause, in microseconds.
#[derive(Default)]
struct Clause {
    size: Option<i64>,
    advance: Option<i64>,
    offset: Option<i64>,
    gap: Option<i64>,
    grace: Option<i64>,
}

impl Clause {
    fn read(kind: Kind, body: &[TokenWithSpan], head: &TokenWithSpan) -> Result<Self> {
        let mut clause = Self::default();
        for part in parts(body) {
            let first = part.first().unwrap_or(head);
            let (slot, words, least) = clause.slot(kind, &part).ok_or_else(|| {
                clause_error(
                    &format!("unknown part of a window: \"{}\"", first.token),
                    first,
                )
                .hint(format!("Write {}.", kind.example()))
            })?;
            let value = &part[words..];
            let place = value.first().unwrap_or(first);
            let negative = place.token == Token::Minus;
            let value = &value[usize::from(negative)..];
            let Some((length, used)) = emit::length_of_time(value) else {
                return syntax::expected("a length of time such as 1 MINUTE", place);
            };
            if let Some(extra) = value.get(used) {
                return syntax::expected("a comma or a closing parenthesis", extra);
            }
            let micros = length.map_err(|error| error.at(Some(tokens::position(place))))?;
            let micros = if negative { -micros } else { micros };
            if micros < least {
                let place = tokens::position(place);
                return Err(match least {
                    0 => window_function::negative_grace(micros, place),
                    _ => window_function::not_positive(micros, place),
                });
            }
            if slot.replace(micros).is_some() {
                return Err(clause_error("a window's part is given twice", first)
                    .hint(format!("Write {}.", kind.example())));
            }
        }
        let complete = match kind {
            Kind::Tumbling => clause.size.is_some(),
            Kind::Hopping => clause.size.is_some() && clause.advance.is_some(),
            Kind::Session => clause.gap.is_some(),
        };
        if !complete {
            return Err(clause_error("window clause is not complete", head)
                .hint(format!("Write {}.", kind.example())));
        }
        Ok(clause)
    }

    /// Where a part belongs, how many words name it, and its least value.
    fn slot(
        &mut self,
        kind: Kind,
        part: &[TokenWithSpan],
    ) -> Option<(&mut Option<i64>, usize, i64)> {
        if tokens::starts_with(part, &["GRACE", "PERIOD"]) {
            return Some((&mut self.grace, 2, 0));
        }
        match kind {
            Kind::Session => Some((&mut self.gap, 0, 1)),
            _ if tokens::starts_with(part, &["SIZE"]) => Some((&mut self.size, 1, 1)),
            _ if tokens::starts_with(part, &["OFFSET"]) => Some((&mut self.offset, 1, i64::MIN)),
            Kind::Hopping if tokens::starts_with(part, &["ADVANCE", "BY"]) => {
                Some((&mut self.advance, 2, 1))
            }
            _ => None,
        }
    }

    /// The window function's intervals, in its order.
    fn lengths(&self, kind: Kind) -> Vec<i64> {
        let ordered = match kind {
            Kind::Tumbling => [self.size, self.offset, None],
            Kind::Hopping => [self.advance, self.size, self.offset],
            Kind::Session => [self.gap, None, None],
        };
        ordered.into_iter().flatten().collect()
    }
}

fn clause_error(message: &str, at: &TokenWithSpan) -> Error {
    Error::user(SqlState::WindowingError, message).at(Some(tokens::position(at)))
}

/// `t x` to `t` and `AS x`; `t` to `t` and `AS t`, so that `t.column` keeps its meaning.
fn relation_and_alias(
    mut source: Vec<TokenWithSpan>,
    head: &TokenWithSpan,
) -> Result<(Vec<TokenWithSpan>, Vec<TokenWithSpan>)> {
    let end = match tokens::closing(&source, 0) {
        Some(close) if source[0].token == Token::LParen => close + 1,
        _ => {
            let mut end = 1;
            while matches!(source.get(end).map(|t| &t.token), Some(Token::Period)) {
                end += 2;
            }
            end.min(source.len())
        }
    };
    let mut alias = source.split_off(end);
    if alias
        .first()
        .is_some_and(|token| tokens::is_word(&token.token, "AS"))
    {
        alias.remove(0);
    }
    let name = match alias.as_slice() {
        [] => source
            .last()
            .filter(|token| matches!(token.token, Token::Word(_)))
            .cloned(),
        [name] if matches!(name.token, Token::Word(_)) => Some(name.clone()),
        _ => {
            return Err(clause_error("a window clause must follow a single table", head).hint(
                "With a join, use the function: FROM TUMBLE(t, time_column, INTERVAL '1 minute').",
            ));
        }
    };
    let alias = name
        .map(|name| vec![tokens::made(Token::make_word("AS", None), head), name])
        .unwrap_or_default();
    Ok((source, alias))
}

/// `( SELECT * FROM relation )`; a relation that is a query keeps its parentheses.
fn select_all(relation: Vec<TokenWithSpan>, like: &TokenWithSpan) -> Vec<TokenWithSpan> {
    if relation
        .first()
        .is_some_and(|token| token.token == Token::LParen)
    {
        return relation;
    }
    let mut made: Vec<TokenWithSpan> = [
        Token::LParen,
        Token::make_word("SELECT", None),
        Token::Mul,
        Token::make_word("FROM", None),
    ]
    .into_iter()
    .map(|token| tokens::made(token, like))
    .collect();
    made.extend(relation);
    made.push(tokens::made(Token::RParen, like));
    made
}

fn interval_tokens(micros: i64, like: &TokenWithSpan) -> Vec<TokenWithSpan> {
    vec![
        tokens::made(Token::make_word("INTERVAL", None), like),
        tokens::made(Token::SingleQuotedString(interval::format(micros)), like),
    ]
}

/// Where the part that starts at `start` ends: at a comma or a parenthesis of its level.
fn part_end(all: &[TokenWithSpan], start: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in all.iter().enumerate().skip(start) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen if depth == 0 => return at,
            Token::RParen => depth -= 1,
            Token::Comma if depth == 0 => return at,
            _ => {}
        }
    }
    all.len()
}

/// The parts between commas.
fn parts(all: &[TokenWithSpan]) -> Vec<Vec<TokenWithSpan>> {
    let mut found = Vec::new();
    let mut start = 0;
    while start < all.len() {
        let end = part_end(all, start).max(start + 1).min(all.len());
        found.push(all[start..end].to_vec());
        start = end + 1;
    }
    found
}
