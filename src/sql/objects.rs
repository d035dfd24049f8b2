//! `DROP`, `SHOW`, `DESCRIBE`, `CANCEL`: statements about things that have names.

use super::grammar::{self, Grammar};
use super::settings;
use super::statement::{Drop, Name, ObjectKind, Show, Statement};
use super::syntax;
use crate::error::{Error, Result, SqlState};

/// The kinds in the singular and in the plural.
const KINDS: [(&[&str], &[&str], ObjectKind); 7] = [
    (&["TABLE"], &["TABLES"], ObjectKind::Table),
    (&["VIEW"], &["VIEWS"], ObjectKind::View),
    (
        &["MATERIALIZED", "VIEW"],
        &["MATERIALIZED", "VIEWS"],
        ObjectKind::MaterializedView,
    ),
    (&["SINK"], &["SINKS"], ObjectKind::Sink),
    (&["SECRET"], &["SECRETS"], ObjectKind::Secret),
    (&["ALERT"], &["ALERTS"], ObjectKind::Alert),
    (&["QUERY"], &["QUERIES"], ObjectKind::Query),
];

impl ObjectKind {
    /// As in `DROP ..`, in lower case.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::View => "view",
            Self::MaterializedView => "materialized view",
            Self::Sink => "sink",
            Self::Secret => "secret",
            Self::Alert => "alert",
            Self::Query => "query",
        }
    }

    /// As in `DROP ..`, in capitals.
    pub fn keyword(self) -> &'static str {
        match self {
            Self::Table => "TABLE",
            Self::View => "VIEW",
            Self::MaterializedView => "MATERIALIZED VIEW",
            Self::Sink => "SINK",
            Self::Secret => "SECRET",
            Self::Alert => "ALERT",
            Self::Query => "QUERY",
        }
    }
}

/// Reads the statement after `DROP`.
pub(super) fn drop(grammar: &mut Grammar<'_>) -> Result<Statement> {
    let Some(kind) = kind(grammar) else {
        return unknown_kind(grammar);
    };
    let if_exists = grammar.eat(&["IF", "EXISTS"]);
    let names = grammar.list(Grammar::own_name)?;
    let cascade = grammar.eat_one(&["CASCADE", "RESTRICT"]) == Some("CASCADE");
    Ok(Statement::Drop(Drop {
        kind,
        if_exists,
        names,
        cascade,
    }))
}

/// Reads the statement after `SHOW`.
pub(super) fn show(grammar: &mut Grammar<'_>) -> Result<Statement> {
    if grammar.eat(&["ALL"]) {
        return Ok(Statement::Show(Show::All));
    }
    if grammar.eat(&["CREATE"]) {
        let kind = kind(grammar);
        let name = grammar.name()?;
        return Ok(Statement::Show(Show::Create { kind, name }));
    }
    if grammar.at(&["COLUMNS"])
        && (grammar.at(&["COLUMNS", "FROM"]) || grammar.at(&["COLUMNS", "IN"]))
    {
        grammar.next();
        grammar.next();
        return grammar
            .name()
            .map(|name| Statement::Show(Show::Columns(name)));
    }
    for (_, plural, kind) in KINDS {
        if grammar.eat(plural) {
            let like = match grammar.eat(&["LIKE"]) {
                true => Some(grammar.string()?),
                false => None,
            };
            return Ok(Statement::Show(Show::Objects { kind, like }));
        }
    }
    settings::variable(grammar).map(|name| Statement::Show(Show::Variable(name)))
}

/// Reads the statement after `DESCRIBE`.
pub(super) fn describe(grammar: &mut Grammar<'_>) -> Result<Statement> {
    let described = kind(grammar);
    if described.is_some_and(|kind| matches!(kind, ObjectKind::Query | ObjectKind::Secret)) {
        return grammar.expected("the name of a table, view or sink");
    }
    grammar.name().map(Statement::Describe)
}

/// Reads the statement after `CANCEL`: `[QUERY] name`.
pub(super) fn cancel(grammar: &mut Grammar<'_>) -> Result<Statement> {
    grammar.eat(&["QUERY"]);
    if let Some(name) = grammar::string_value(&grammar.peek().token) {
        let position = grammar.position();
        grammar.next();
        return Ok(Statement::CancelQuery(Name {
            schema: None,
            name,
            position,
        }));
    }
    grammar.own_name().map(Statement::CancelQuery)
}

/// The kind that comes next, taken, if a name follows it.
fn kind(grammar: &mut Grammar<'_>) -> Option<ObjectKind> {
    let (_, _, kind) = KINDS.into_iter().find(|(singular, _, _)| {
        let followed = &grammar.peek_nth(singular.len()).token;
        let name = matches!(followed, sqlparser::tokenizer::Token::Word(_));
        name && grammar.at(singular)
    })?;
    let words = if kind == ObjectKind::MaterializedView {
        2
    } else {
        1
    };
    for _ in 0..words {
        grammar.next();
    }
    Some(kind)
}

fn unknown_kind(grammar: &Grammar<'_>) -> Result<Statement> {
    let found = grammar.peek();
    let word = super::tokens::word(&found.token).unwrap_or_default();
    if KINDS.iter().any(|(singular, _, _)| grammar.at(singular)) {
        let words = if word == "MATERIALIZED" { 2 } else { 1 };
        return syntax::expected("a name", grammar.peek_nth(words));
    }
    if [
        "INDEX",
        "SCHEMA",
        "DATABASE",
        "FUNCTION",
        "ROLE",
        "USER",
        "SOURCE",
        "TYPE",
        "SEQUENCE",
        "EXTENSION",
        "TRIGGER",
        "OWNED",
    ]
    .contains(&word.as_str())
    {
        return Err(Error::user(
            SqlState::FeatureNotSupported,
            format!("DROP {word} is not supported"),
        )
        .hint("There are TABLE, VIEW, MATERIALIZED VIEW, SINK, SECRET, ALERT and QUERY.")
        .at(Some(grammar.position())));
    }
    let error = syntax::unexpected(
        found,
        Some("Expected TABLE, VIEW, MATERIALIZED VIEW, SINK, SECRET, ALERT or QUERY."),
    );
    let kinds = [
        "table",
        "view",
        "materialized",
        "sink",
        "secret",
        "alert",
        "query",
    ];
    Err(match syntax::meant(&word, &kinds) {
        Some(meant) => error.hint(format!("Perhaps you meant DROP {meant}.")),
        None => error,
    })
}
