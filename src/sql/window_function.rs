//! Window functions in `FROM`, brought into the one canonical form.
//!
//! ```text
//! tumble  ((SELECT * FROM t), ts, size [, offset])
//! hop     ((SELECT * FROM t), ts, slide, size [, offset])
//! cumulate((SELECT * FROM t), ts, step, size [, offset])
//! session ((SELECT * FROM t), ts, gap)
//! ```
//! After these, `grace => interval` and `partition_by => key` may follow, named. Invariant: after
//! [`canonicalize`] every window function of a query is a table factor of this form, its intervals
//! `INTERVAL` literals of a positive length or expressions that are not constant.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgOperator, FunctionArguments, Ident,
    Interval, ObjectName, Query, SetExpr, Spanned, TableAlias, TableFactor, TableFunctionArgs,
    Value, VisitMut, VisitorMut,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use super::{interval, tokens};
use crate::error::{Error, Position, Result, SqlState};

/// The column that a window clause names when it names none: the input's event time.
pub const EVENT_TIME_COLUMN: &str = "$event_time";

/// The name of the argument that says how long a window waits for late rows.
pub const GRACE: &str = "grace";

/// The name of an argument that is a key of a session; there may be several.
pub const PARTITION_BY: &str = "partition_by";

/// Brings all window functions of a query into the canonical form.
///
/// # Errors
/// A wrong number of arguments, a missing column, a length that is none or not positive; each with
/// its place.
pub(super) fn canonicalize<V: VisitMut>(statement: &mut V) -> Result<()> {
    match statement.visit(&mut Canonicalizer) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// A length that must be positive and is not.
pub(super) fn not_positive(micros: i64, position: Position) -> Error {
    Error::user(
        SqlState::InvalidParameterValue,
        format!(
            "a window's length must be greater than zero, not {}",
            interval::format(micros)
        ),
    )
    .at(Some(position))
}

/// The window functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tumble,
    Hop,
    Cumulate,
    Session,
}

impl Kind {
    fn of(name: &ObjectName) -> Option<Self> {
        let [part] = name.0.as_slice() else {
            return None;
        };
        match part.as_ident()?.value.to_ascii_lowercase().as_str() {
            "tumble" => Some(Self::Tumble),
            "hop" => Some(Self::Hop),
            "cumulate" => Some(Self::Cumulate),
            "session" => Some(Self::Session),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Tumble => "tumble",
            Self::Hop => "hop",
            Self::Cumulate => "cumulate",
            Self::Session => "session",
        }
    }

    /// The names of the arguments after the input and the column, in order; how many are needed.
    fn lengths(self) -> (&'static [&'static str], usize) {
        match self {
            Self::Tumble => (&["size", "offset"], 1),
            Self::Hop => (&["slide", "size", "offset"], 2),
            Self::Cumulate => (&["step", "size", "offset"], 2),
            Self::Session => (&["gap"], 1),
        }
    }

    fn example(self) -> &'static str {
        match self {
            Self::Tumble => "TUMBLE(table, time_column, INTERVAL '1 minute')",
            Self::Hop => "HOP(table, time_column, INTERVAL '10 seconds', INTERVAL '1 minute')",
            Self::Cumulate => "CUMULATE(table, time_column, INTERVAL '1 minute', INTERVAL '1 day')",
            Self::Session => "SESSION(table, time_column, INTERVAL '30 seconds')",
        }
    }
}

struct Canonicalizer;

impl VisitorMut for Canonicalizer {
    type Break = Error;

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        match rewrite(factor) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

fn rewrite(factor: &mut TableFactor) -> Result<()> {
    match factor {
        TableFactor::Table {
            name,
            args: Some(args),
            ..
        } => {
            if let Some(kind) = Kind::of(name) {
                let position = position_of(name, None);
                args.args = arguments(kind, std::mem::take(&mut args.args), position)?;
                *name = ObjectName::from(vec![renamed(name, kind)]);
            }
        }
        TableFactor::TableFunction {
            expr: Expr::Function(function),
            alias,
        } => {
            if let Some(kind) = Kind::of(&function.name) {
                *factor = from_call(kind, function, alias.take())?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// The function's name in lower case, at its place.
fn renamed(name: &ObjectName, kind: Kind) -> Ident {
    let mut ident = Ident::new(kind.name());
    if let Some(old) = name.0.first().and_then(|part| part.as_ident()) {
        ident.span = old.span;
    }
    ident
}

/// `tumble(..)` as a table factor.
fn from_call(kind: Kind, call: &mut Function, alias: Option<TableAlias>) -> Result<TableFactor> {
    let position = position_of(&call.name, None);
    let args = match &mut call.args {
        FunctionArguments::List(list) => std::mem::take(&mut list.args),
        FunctionArguments::None | FunctionArguments::Subquery(_) => {
            return Err(wrong_arity(kind, 0, position));
        }
    };
    Ok(TableFactor::Table {
        name: ObjectName::from(vec![renamed(&call.name, kind)]),
        alias,
        args: Some(TableFunctionArgs {
            args: arguments(kind, args, position)?,
            settings: None,
        }),
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    })
}

/// Arguments in the canonical order.
fn arguments(kind: Kind, args: Vec<FunctionArg>, position: Position) -> Result<Vec<FunctionArg>> {
    let (names, needed) = kind.lengths();
    let count = args.len();
    let mut slots: Vec<Option<Expr>> = vec![None; 2 + names.len()];
    let mut named = Vec::new();
    for (at, arg) in args.into_iter().enumerate() {
        match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => match slots.get_mut(at) {
                Some(slot) => *slot = Some(expr),
                None => return Err(wrong_arity(kind, count, position)),
            },
            FunctionArg::Named {
                name,
                arg: FunctionArgExpr::Expr(expr),
                operator: _,
            } => {
                let word = name.value.to_ascii_lowercase();
                match word.as_str() {
                    GRACE | PARTITION_BY => named.push((name, expr)),
                    _ => {
                        let slot = slot_of(names, &word).ok_or_else(|| unknown(kind, &name))?;
                        if slots[slot].replace(expr).is_some() {
                            return Err(twice(&name));
                        }
                    }
                }
            }
            _ => return Err(wrong_arity(kind, count, position)),
        }
    }
    let mut slots = slots.into_iter();
    let missing = || wrong_arity(kind, count, position);
    let input = slots.next().flatten().ok_or_else(missing)?;
    let column = slots.next().flatten().ok_or_else(missing)?;
    let mut made = vec![
        unnamed(as_query(input, position)?),
        unnamed(as_column(kind, column, position)?),
    ];
    for (at, slot) in slots.enumerate() {
        match slot {
            Some(expr) => made.push(unnamed(length(expr, names[at] != "offset", position)?)),
            None if at < needed => return Err(missing()),
            None => {}
        }
    }
    for (name, expr) in named {
        let is_grace = name.value.eq_ignore_ascii_case(GRACE);
        let expr = if is_grace {
            length(expr, false, position)?
        } else {
            expr
        };
        let name = Ident::with_span(name.span, name.value.to_ascii_lowercase());
        let arg = FunctionArgExpr::Expr(expr);
        made.push(FunctionArg::Named {
            name,
            arg,
            operator: FunctionArgOperator::RightArrow,
        });
    }
    Ok(made)
}

fn slot_of(lengths: &[&str], name: &str) -> Option<usize> {
    match name {
        "data" | "input" => Some(0),
        "timecol" | "time_column" => Some(1),
        name => lengths
            .iter()
            .position(|length| *length == name)
            .map(|at| at + 2),
    }
}

fn unnamed(expr: Expr) -> FunctionArg {
    FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))
}

/// The window's input as a sub-query.
fn as_query(input: Expr, position: Position) -> Result<Expr> {
    let relation = match input {
        Expr::Subquery(_) => return Ok(input),
        Expr::Nested(inner) => return as_query(*inner, position),
        Expr::Identifier(ident) => factor(ObjectName::from(vec![ident])),
        Expr::CompoundIdentifier(idents) => factor(ObjectName::from(idents)),
        Expr::Function(mut function) if Kind::of(&function.name).is_some() => {
            let kind = Kind::of(&function.name).expect("it is one");
            from_call(kind, &mut function, None)?
        }
        other => {
            return Err(Error::user(
                SqlState::WindowingError,
                "a window's first argument must be a table or a query in parentheses",
            )
            .at(Some(expr_position(&other).unwrap_or(position))));
        }
    };
    Ok(Expr::Subquery(select_all_from(relation)))
}

fn factor(name: ObjectName) -> TableFactor {
    TableFactor::Table {
        name,
        alias: None,
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    }
}

fn select_all_from(relation: TableFactor) -> Box<Query> {
    let dialect = PostgreSqlDialect {};
    let mut query = Parser::new(&dialect)
        .try_with_sql("SELECT * FROM t")
        .and_then(|mut parser| parser.parse_query())
        .expect("the text is a query");
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.from[0].relation = relation;
    }
    query
}

/// `ts` or `DESCRIPTOR(ts)`.
fn as_column(kind: Kind, expr: Expr, position: Position) -> Result<Expr> {
    let place = expr_position(&expr).unwrap_or(position);
    match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => Ok(expr),
        Expr::Nested(inner) => as_column(kind, *inner, place),
        Expr::Function(function) if is_descriptor(&function) => match function.args {
            FunctionArguments::List(list) => match list.args.into_iter().next() {
                Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(
                    column @ (Expr::Identifier(_) | Expr::CompoundIdentifier(_)),
                ))) => Ok(column),
                _ => Err(no_column(kind, place)),
            },
            FunctionArguments::None | FunctionArguments::Subquery(_) => Err(no_column(kind, place)),
        },
        _ => Err(no_column(kind, place)),
    }
}

fn is_descriptor(function: &Function) -> bool {
    let named = |name: &ObjectName| match name.0.as_slice() {
        [part] => part
            .as_ident()
            .is_some_and(|i| i.value.eq_ignore_ascii_case("descriptor")),
        _ => false,
    };
    let single = match &function.args {
        FunctionArguments::List(list) => list.args.len() == 1,
        FunctionArguments::None | FunctionArguments::Subquery(_) => false,
    };
    named(&function.name) && single
}

/// An interval argument: constants become `INTERVAL` literals and are checked.
fn length(expr: Expr, positive: bool, position: Position) -> Result<Expr> {
    let place = expr_position(&expr).unwrap_or(position);
    let micros = match interval::of_expr(&expr) {
        Some(micros) => micros.map_err(|error| error.at(Some(place)))?,
        None => match expr {
            Expr::Value(ref value) if !matches!(value.value, Value::Placeholder(_)) => {
                return Err(Error::user(
                    SqlState::WindowingError,
                    format!("a window's length must be an interval, not {value}"),
                )
                .hint("Write INTERVAL '1 minute'.")
                .at(Some(place)));
            }
            other => return Ok(other),
        },
    };
    if positive && micros <= 0 {
        return Err(not_positive(micros, place));
    }
    match expr {
        Expr::Value(_) => Ok(Expr::Interval(Interval {
            value: Box::new(expr),
            leading_field: None,
            leading_precision: None,
            last_field: None,
            fractional_seconds_precision: None,
        })),
        other => Ok(other),
    }
}

fn wrong_arity(kind: Kind, count: usize, position: Position) -> Error {
    let (names, needed) = kind.lengths();
    let (least, most) = (needed + 2, names.len() + 2);
    let takes = if least == most {
        format!("{least}")
    } else {
        format!("{least} or {most}")
    };
    Error::user(
        SqlState::WindowingError,
        format!("{} takes {takes} arguments, not {count}", kind.name()),
    )
    .hint(format!("Write {}.", kind.example()))
    .at(Some(position))
}

fn no_column(kind: Kind, position: Position) -> Error {
    Error::user(
        SqlState::WindowingError,
        format!(
            "the second argument of {} must be the event-time column",
            kind.name()
        ),
    )
    .hint(format!("Write {}.", kind.example()))
    .at(Some(position))
}

fn unknown(kind: Kind, name: &Ident) -> Error {
    let (lengths, _) = kind.lengths();
    Error::user(
        SqlState::WindowingError,
        format!("{} has no argument \"{}\"", kind.name(), name.value),
    )
    .hint(format!(
        "Its arguments are data, timecol, {}.",
        lengths.join(", ")
    ))
    .at(Some(tokens::place(name.span.start)))
}

fn twice(name: &Ident) -> Error {
    Error::user(
        SqlState::WindowingError,
        format!("argument \"{}\" is given twice", name.value),
    )
    .at(Some(tokens::place(name.span.start)))
}

fn position_of(name: &ObjectName, fallback: Option<Position>) -> Position {
    let start = name.span().start;
    match (start.line, fallback) {
        (0, Some(fallback)) => fallback,
        (0, None) => Position { line: 1, column: 1 },
        _ => tokens::place(start),
    }
}

/// Where an expression starts, if the parser library knows.
fn expr_position(expr: &Expr) -> Option<Position> {
    let start = match expr {
        Expr::Interval(interval) => interval.value.span().start,
        other => other.span().start,
    };
    (start.line > 0).then(|| tokens::place(start))
}
