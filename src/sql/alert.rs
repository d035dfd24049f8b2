//! `CREATE ALERT` and what is said of alerts: `ACK`, `SILENCE`, `UNSILENCE`, `BACKTEST`.

use sqlparser::ast::{Expr, Ident, SelectItem, SetExpr, TableFactor, Value};
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::create::{self, Head};
use super::grammar::{self, Grammar};
use super::statement::{Emit, Identifier, Name, OptionClause, OptionValue, Statement, StreamQuery};
use super::{interval, names, options, query, row_fields, subscribe, syntax, tokens};
use crate::error::{Error, Position, Result, SqlState};

/// The name of the condition's column, behind those of the query.
pub const WHEN_COLUMN: &str = "alert when";
/// The name of the column of `CLEAR WHEN`.
pub const CLEAR_COLUMN: &str = "alert clear when";

/// A silence of ten years, in microseconds: who wants a longer one wants no alert.
const SILENCE_MAX: i64 = 3_650 * 24 * 3_600 * 1_000_000;

/// `CREATE ALERT name ON (query) KEY (..) WHEN ..`.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateAlert {
    /// Its name.
    pub name: Name,
    /// `IF NOT EXISTS`.
    pub if_not_exists: bool,
    /// `OR REPLACE`.
    pub or_replace: bool,
    /// What is watched.
    pub query: StreamQuery,
    /// The columns of the query that make the key.
    pub key: Vec<Identifier>,
    /// The condition; `None` is `WHEN no data`.
    pub when: Option<Condition>,
    /// `FOR`, in microseconds.
    pub lasts: Option<(i64, Position)>,
    /// `CLEAR WHEN`.
    pub clear: Option<Condition>,
    /// `COOLDOWN`, in microseconds.
    pub cooldown: Option<i64>,
    /// `SEVERITY`.
    pub severity: Option<String>,
    /// `NOTIFY`: the sinks.
    pub notify: Vec<Name>,
    /// `MESSAGE`.
    pub message: Option<Template>,
    /// `RESOLVED MESSAGE`.
    pub resolved: Option<Template>,
    /// `WITH (..)`.
    pub options: Vec<OptionClause>,
    /// The statement's text.
    pub text: String,
}

/// A condition over the query's columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// The condition.
    pub expr: Box<Expr>,
    /// As it was written.
    pub text: String,
    /// Where it stands.
    pub position: Position,
}

/// The template of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// Its text.
    pub text: String,
    /// Where it stands.
    pub position: Position,
}

/// `ACK ALERT name [KEY (..)]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AckAlert {
    /// Which.
    pub name: Name,
    /// The key's values as texts; `None`: all keys that fire.
    pub key: Option<Vec<String>>,
}

/// `SILENCE ALERT name FOR length`, `UNSILENCE ALERT name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SilenceAlert {
    /// Which.
    pub name: Name,
    /// For how long, in microseconds; zero ends it.
    pub length: i64,
}

/// `BACKTEST ALERT name | (CREATE ALERT ..) [FROM 'time'] [TO 'time']`.
#[derive(Debug, Clone, PartialEq)]
pub struct Backtest {
    /// What is tried.
    pub target: BacktestTarget,
    /// From when on.
    pub from: Option<TimeText>,
    /// Until when.
    pub to: Option<TimeText>,
}

/// A time as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeText {
    /// The text.
    pub text: String,
    /// Where it stands.
    pub position: Position,
}

/// What `BACKTEST` tries.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum BacktestTarget {
    Named(Name),
    Definition(Box<CreateAlert>),
}

impl CreateAlert {
    /// The query with its conditions as columns behind its own.
    ///
    /// # Errors
    /// None for what was read before.
    pub fn watched(&self) -> Result<StreamQuery> {
        let place = self.name.position;
        let mut whole = query::of_text("SELECT * FROM (SELECT 1) AS watched", place)?;
        let SetExpr::Select(select) = whole.query.body.as_mut() else {
            return Err(Error::internal("SELECT is a select"));
        };
        let from = select.from.first_mut().map(|from| &mut from.relation);
        let Some(TableFactor::Derived { subquery, .. }) = from else {
            return Err(Error::internal("a query in FROM is gone"));
        };
        subquery.clone_from(&self.query.query);
        let conditions = [(&self.when, WHEN_COLUMN), (&self.clear, CLEAR_COLUMN)];
        for (condition, name) in conditions {
            if let Some(condition) = condition {
                select.projection.push(SelectItem::ExprWithAlias {
                    expr: Expr::Nested(condition.expr.clone()),
                    alias: Ident::with_quote('"', name),
                });
            }
        }
        let conditions = [("WHEN", &self.when), ("CLEAR WHEN", &self.clear)];
        let conditions = conditions
            .into_iter()
            .filter_map(|(word, condition)| Some(format!(" {word} {}", condition.as_ref()?.text)));
        whole.text = format!("{}{}", self.query.text, conditions.collect::<String>());
        whole.emit = Some(self.query.emit.unwrap_or(Emit::Changes));
        whole.emit_position = self.query.emit_position.or(Some(place));
        Ok(whole)
    }

    /// The statement, as it is kept after a change.
    pub fn sql(&self) -> String {
        let quoted = |names: Vec<&str>| {
            let names: Vec<String> = names.into_iter().map(names::quote).collect();
            names.join(", ")
        };
        let mut sql = format!(
            "CREATE ALERT {} ON ({}) KEY ({}) WHEN {}",
            names::quote(&self.name.name),
            self.query.text,
            quoted(self.key.iter().map(|key| key.name.as_str()).collect()),
            self.when.as_ref().map_or("no data", |when| &when.text),
        );
        let mut clause = |words: &str, text: Option<String>| {
            if let Some(text) = text {
                sql.push_str(&format!(" {words} {text}"));
            }
        };
        let length = |micros: i64| names::literal(&interval::format(micros));
        let text = |template: &Template| names::literal(&template.text);
        clause("FOR", self.lasts.map(|(micros, _)| length(micros)));
        clause(
            "CLEAR WHEN",
            self.clear.as_ref().map(|clear| clear.text.clone()),
        );
        clause("COOLDOWN", self.cooldown.map(length));
        clause("SEVERITY", self.severity.as_deref().map(names::literal));
        let sinks = quoted(self.notify.iter().map(|sink| sink.name.as_str()).collect());
        clause("NOTIFY", Some(sinks).filter(|sinks| !sinks.is_empty()));
        clause("MESSAGE", self.message.as_ref().map(text));
        clause("RESOLVED MESSAGE", self.resolved.as_ref().map(text));
        let options = self.options.iter().map(|option| {
            let value = match &option.value {
                OptionValue::Interval(micros) => length(*micros),
                value => names::literal(&value.text()),
            };
            format!("{} = {value}", option.name)
        });
        let options = options.collect::<Vec<_>>().join(", ");
        clause(
            "WITH",
            Some(format!("({options})")).filter(|_| !options.is_empty()),
        );
        sql
    }
}

/// Reads the statement after `CREATE [OR REPLACE] ALERT`.
///
/// # Errors
/// Syntax errors, with their places.
pub(super) fn create_alert(mut grammar: Grammar<'_>, head: Head) -> Result<Statement> {
    let text = grammar.source.text.to_owned();
    let created = definition(&mut grammar, head, text)?;
    grammar.finish()?;
    Ok(Statement::CreateAlert(Box::new(created)))
}

fn definition(grammar: &mut Grammar<'_>, head: Head, text: String) -> Result<CreateAlert> {
    let if_not_exists = grammar.if_not_exists();
    let name = grammar.own_name()?;
    grammar.expect(&["ON"])?;
    let query = query::parse(in_parentheses(grammar)?, grammar.source)?;
    subscribe::refuse(&query, "an alert")?;
    if let Some(Emit::Every(_)) = query.emit {
        return Err(Error::user(SqlState::FeatureNotSupported, "EMIT EVERY in an alert")
            .hint("An alert looks at each change; leave EMIT out, or use EMIT FINAL for closed windows.")
            .at(query.emit_position));
    }
    grammar.expect(&["KEY"])?;
    let key = grammar.identifiers()?;
    grammar.expect(&["WHEN"])?;
    let when = match grammar.eat(&["NO", "DATA"]) {
        true => None,
        false => Some(condition(grammar)?),
    };
    let mut alert = CreateAlert {
        name,
        if_not_exists,
        or_replace: head.or_replace,
        query,
        key,
        when,
        lasts: None,
        clear: None,
        cooldown: None,
        severity: None,
        notify: Vec::new(),
        message: None,
        resolved: None,
        options: Vec::new(),
        text,
    };
    clauses(grammar, &mut alert)?;
    check(&alert)?;
    Ok(alert)
}

/// The clauses behind the condition, each once, in any order.
fn clauses(grammar: &mut Grammar<'_>, alert: &mut CreateAlert) -> Result<()> {
    let mut seen: Vec<&str> = Vec::new();
    loop {
        let place = grammar.position();
        let heads: [(&[&str], &str); 8] = [
            (&["FOR"], "FOR"),
            (&["CLEAR", "WHEN"], "CLEAR WHEN"),
            (&["COOLDOWN"], "COOLDOWN"),
            (&["SEVERITY"], "SEVERITY"),
            (&["NOTIFY"], "NOTIFY"),
            (&["MESSAGE"], "MESSAGE"),
            (&["RESOLVED", "MESSAGE"], "RESOLVED MESSAGE"),
            (&["WITH"], "WITH"),
        ];
        let Some((words, name)) = heads.iter().find(|(words, _)| grammar.at(words)) else {
            return match grammar.at_end() || grammar.peek().token == Token::RParen {
                true => Ok(()),
                false => unknown_clause(grammar),
            };
        };
        if seen.contains(name) {
            let text = format!("{name} is given twice");
            return Err(Error::user(SqlState::SyntaxError, text).at(Some(place)));
        }
        seen.push(name);
        if *name == "WITH" {
            alert.options = options::options(grammar)?;
            continue;
        }
        grammar.eat(words);
        match *name {
            "FOR" => alert.lasts = Some((length(grammar)?, place)),
            "CLEAR WHEN" => alert.clear = Some(condition(grammar)?),
            "COOLDOWN" => alert.cooldown = Some(length(grammar)?),
            "SEVERITY" => alert.severity = Some(grammar.string()?),
            "NOTIFY" => alert.notify = grammar.list(Grammar::own_name)?,
            "MESSAGE" => alert.message = Some(template(grammar)?),
            _ => alert.resolved = Some(template(grammar)?),
        }
    }
}

fn unknown_clause<T>(grammar: &Grammar<'_>) -> Result<T> {
    let found = grammar.peek();
    let word = tokens::word(&found.token).unwrap_or_default();
    let clauses = "FOR, CLEAR WHEN, COOLDOWN, SEVERITY, NOTIFY, MESSAGE, RESOLVED MESSAGE or WITH";
    let error = syntax::unexpected(found, Some(&format!("Expected {clauses}.")));
    let known = [
        "clear", "cooldown", "severity", "notify", "message", "resolved",
    ];
    Err(match syntax::meant(&word, &known) {
        Some(meant) => error.hint(format!("Perhaps you meant {meant}.")),
        None => error,
    })
}

/// What no condition and no other clause can make right.
fn check(alert: &CreateAlert) -> Result<()> {
    let wrong = |text: &str| Error::user(SqlState::SyntaxError, text);
    if alert.when.is_none() && alert.lasts.is_none() {
        return Err(wrong("WHEN no data needs FOR")
            .hint("Say how long a key may be silent: WHEN no data FOR '5 minutes'.")
            .at(Some(alert.name.position)));
    }
    match &alert.clear {
        Some(clear) if alert.when.is_none() => Err(wrong("WHEN no data has no CLEAR WHEN")
            .hint("The key's next row resolves it.")
            .at(Some(clear.position))),
        Some(_) | None => Ok(()),
    }
}

fn condition(grammar: &mut Grammar<'_>) -> Result<Condition> {
    let position = grammar.position();
    let mut expr = grammar.expr()?;
    row_fields::respell(&mut expr);
    Ok(Condition {
        expr: Box::new(expr),
        text: grammar.text_since(position).to_owned(),
        position,
    })
}

fn template(grammar: &mut Grammar<'_>) -> Result<Template> {
    let position = grammar.position();
    let text = grammar.string()?;
    Ok(Template { text, position })
}

/// A length of time that is not negative, in microseconds.
fn length(grammar: &mut Grammar<'_>) -> Result<i64> {
    let place = grammar.position();
    let at = |error: Error| error.at(Some(place));
    let expr = grammar.expr()?;
    let Some(length) = interval::of_expr(&expr) else {
        return Err(at(Error::user(
            SqlState::SyntaxError,
            "expected a length of time",
        ))
        .hint("Write a number and a unit in quotes, such as '5 minutes'."));
    };
    match length.map_err(at)? {
        micros if micros >= 0 => Ok(micros),
        _ => Err(at(Error::user(
            SqlState::InvalidParameterValue,
            "the length of time is negative",
        ))
        .hint("Write it without the minus, such as '5 minutes'.")),
    }
}

/// The tokens between parentheses.
fn in_parentheses(grammar: &mut Grammar<'_>) -> Result<Vec<TokenWithSpan>> {
    grammar.expect_token(&Token::LParen)?;
    let (mut all, mut depth) = (Vec::new(), 1_usize);
    loop {
        let token = match grammar.at_end() {
            true => return grammar.expected("\")\""),
            false => grammar.next(),
        };
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Ok(all);
        }
        all.push(token);
    }
}

/// Reads the statement after `ACK`.
pub(super) fn ack(grammar: &mut Grammar<'_>) -> Result<Statement> {
    grammar.expect(&["ALERT"])?;
    let name = grammar.own_name()?;
    let key = match grammar.eat(&["KEY"]) {
        true => {
            grammar.expect_token(&Token::LParen)?;
            let values = grammar.list(value)?;
            grammar.expect_token(&Token::RParen)?;
            Some(values)
        }
        false => None,
    };
    Ok(Statement::AckAlert(AckAlert { name, key }))
}

/// A value of a key, as JSON would show it without quotes.
fn value(grammar: &mut Grammar<'_>) -> Result<String> {
    if let Some(text) = grammar::string_value(&grammar.peek().token) {
        grammar.next();
        return Ok(text);
    }
    let place = grammar.position();
    match grammar.expr()? {
        Expr::Value(value) => match value.value {
            Value::Number(number, _) => Ok(number),
            Value::Boolean(value) => Ok(value.to_string()),
            Value::Null => Ok("null".to_owned()),
            _ => Err(Error::user(SqlState::SyntaxError, "expected a value").at(Some(place))),
        },
        expr @ Expr::UnaryOp { .. } => Ok(expr.to_string().replace(' ', "")),
        _ => Err(Error::user(SqlState::SyntaxError, "expected a value").at(Some(place))),
    }
}

/// Reads the statement after `SILENCE`.
pub(super) fn silence(grammar: &mut Grammar<'_>) -> Result<Statement> {
    grammar.expect(&["ALERT"])?;
    let name = grammar.own_name()?;
    grammar.expect(&["FOR"])?;
    let place = grammar.position();
    let length = length(grammar)?;
    let refused = |text: &str| Error::user(SqlState::InvalidParameterValue, text).at(Some(place));
    match length {
        0 => Err(refused("a silence of no length")
            .hint("UNSILENCE ALERT ends one; SILENCE ALERT .. FOR '1 hour' begins one.")),
        length if length > SILENCE_MAX => Err(refused("an alert cannot be silenced for so long")
            .hint("Write at most '3650 days', or pause the alert: ALTER ALERT .. PAUSE.")),
        length => Ok(Statement::SilenceAlert(SilenceAlert { name, length })),
    }
}

/// Reads the statement after `UNSILENCE`.
pub(super) fn unsilence(grammar: &mut Grammar<'_>) -> Result<Statement> {
    grammar.expect(&["ALERT"])?;
    let (name, length) = (grammar.own_name()?, 0);
    Ok(Statement::SilenceAlert(SilenceAlert { name, length }))
}

/// Reads the statement after `BACKTEST`.
pub(super) fn backtest(grammar: &mut Grammar<'_>) -> Result<Statement> {
    let target = if grammar.eat(&["ALERT"]) {
        BacktestTarget::Named(grammar.own_name()?)
    } else if grammar.eat_token(&Token::LParen) {
        let place = grammar.position();
        grammar.expect(&["CREATE"])?;
        let head = create::head(grammar);
        grammar.expect(&["ALERT"])?;
        let mut created = definition(grammar, head, String::new())?;
        created.text = grammar.text_since(place).to_owned();
        grammar.expect_token(&Token::RParen)?;
        BacktestTarget::Definition(Box::new(created))
    } else {
        return grammar.expected("ALERT and its name, or (CREATE ALERT ..)");
    };
    let (from, to) = (time(grammar, "FROM")?, time(grammar, "TO")?);
    Ok(Statement::Backtest(Backtest { target, from, to }))
}

/// A time behind a word, if that comes next.
fn time(grammar: &mut Grammar<'_>, word: &str) -> Result<Option<TimeText>> {
    if !grammar.eat(&[word]) {
        return Ok(None);
    }
    let position = grammar.position();
    let text = grammar.string()?;
    Ok(Some(TimeText { text, position }))
}

#[cfg(test)]
mod tests {
    use super::{BacktestTarget, CreateAlert};
    use crate::sql::{Statement, parse};

    fn alert(text: &str) -> CreateAlert {
        let statement = parse(text).unwrap().remove(0).statement;
        let Statement::CreateAlert(alert) = statement else {
            panic!("{text} is no alert");
        };
        *alert
    }

    #[test]
    fn an_alert_that_is_written_anew_is_the_same_one() {
        for text in [
            "CREATE ALERT a ON (SELECT k, v FROM t) KEY (k) WHEN v > 1",
            "CREATE OR REPLACE ALERT \"A\" ON (SELECT k, v FROM t EMIT FINAL) KEY (k, \"V\") WHEN no data FOR '5 minutes' \
             NOTIFY s, \"S\" WITH (checkpoint_interval = '50 ms')",
            "CREATE ALERT a ON ((SELECT k, v FROM t)) KEY (k) WHEN (v).x > 1 AND k IN (SELECT 'it''s') FOR INTERVAL '90 seconds' \
             CLEAR WHEN v < 0 COOLDOWN '1 hour' SEVERITY 'page' MESSAGE 'it''s {{ v }}' RESOLVED MESSAGE 'ok'",
        ] {
            let first = alert(text);
            let again = alert(&first.sql());
            assert_eq!(again.sql(), first.sql(), "{text}");
            assert_eq!(again.watched().unwrap().text, first.watched().unwrap().text);
        }
        let whole =
            alert("CREATE ALERT a ON (SELECT k, v FROM t) KEY (k) WHEN v > 1 CLEAR WHEN v < 0");
        assert_eq!(
            whole.watched().unwrap().query.to_string(),
            "SELECT *, (v > 1) AS \"alert when\", (v < 0) AS \"alert clear when\" \
             FROM (SELECT k, v FROM t) AS watched"
        );
    }

    #[test]
    fn a_backtest_has_an_alert_and_a_range() {
        let text = "BACKTEST (CREATE ALERT a ON (SELECT k FROM t) KEY (k) WHEN k > 1) FROM '-7 days' TO 'now'";
        let Statement::Backtest(backtest) = parse(text).unwrap().remove(0).statement else {
            panic!("it is no backtest");
        };
        assert_eq!(backtest.from.unwrap().text, "-7 days");
        assert_eq!(backtest.to.unwrap().text, "now");
        assert!(matches!(backtest.target, BacktestTarget::Definition(_)));
    }
}
