//! Window functions in `FROM`, brought into the one canonical form.
//!
//! ```text
//! tumble  ((SELECT * FROM t), ts, size [, offset])
//! hop     ((SELECT * FROM t), ts, slide, size [, offset])
//! cumulate((SELECT * FROM t), ts, step, size [, offset])
//! session ((SELECT * FROM t), ts, gap)
//! ```
//! After these, `grace => interval` and `partition_by => key` may follow, named; a key `(name, expr)`
//! is the input's column of that name or, if it has none, the expression. Invariant: after
//! [`canonicalize`] every window function of a query is a table factor of this form, its intervals
//! `INTERVAL` literals of a positive length or expressions that are not constant.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgOperator, FunctionArguments, Ident,
    Interval, ObjectName, Query, SetExpr, Spanned, TableAlias, TableFactor, TableFunctionArgs,
    TableWithJoins, Value, Visit, VisitMut, VisitorMut,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use super::{interval, tokens, walk, window_group};
use crate::error::{Error, Position, Result, SqlState};

/// The column that a window clause names when it names none: the input's event time.
pub const EVENT_TIME_COLUMN: &str = "$event_time";

/// The name of the argument that says how long a window waits for late rows.
pub const GRACE: &str = "grace";

/// The other name of the same, as a query's setting has it.
const ALLOWED_LATENESS: &str = "allowed_lateness";

/// The name of an argument that is a key of a session; there may be several.
pub const PARTITION_BY: &str = "partition_by";

/// Brings all window functions of a query into the canonical form.
///
/// # Errors
/// A wrong number of arguments, a missing column, a length that is none or not positive; each with
/// its place.
pub(super) fn canonicalize<V: VisitMut + Visit>(statement: &mut V) -> Result<()> {
    match walk::visit_mut(statement, &mut Canonicalizer) {
        ControlFlow::Continue(()) => window_group::rewrite(statement),
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
    .hint("Write a length above zero, such as INTERVAL '1 minute'.")
    .at(Some(position))
}

/// Where a window function stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// In `FROM`: its first argument is its input.
    Relation,
    /// In `GROUP BY`: it has no input of its own.
    Group,
}

/// The window functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Tumble,
    Hop,
    Cumulate,
    Session,
}

impl Kind {
    pub(super) fn of(name: &ObjectName) -> Option<Self> {
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

    pub(super) fn name(self) -> &'static str {
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

    fn example(self, form: Form) -> String {
        let input = match form {
            Form::Relation => "table, ",
            Form::Group => "",
        };
        let lengths = match self {
            Self::Tumble => "INTERVAL '1 minute'",
            Self::Hop => "INTERVAL '10 seconds', INTERVAL '1 minute'",
            Self::Cumulate => "INTERVAL '1 minute', INTERVAL '1 day'",
            Self::Session => "INTERVAL '30 seconds'",
        };
        let name = self.name().to_uppercase();
        format!("{name}({input}time_column, {lengths})")
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
                let position = position_of(name);
                let given = std::mem::take(&mut args.args);
                args.args = arguments(kind, Form::Relation, given, position)?;
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
    let position = position_of(&call.name);
    let args = match &mut call.args {
        FunctionArguments::List(list) => std::mem::take(&mut list.args),
        FunctionArguments::None | FunctionArguments::Subquery(_) => {
            return Err(wrong_arity(kind, Form::Relation, 0, position));
        }
    };
    let args = arguments(kind, Form::Relation, args, position)?;
    let name = ObjectName::from(vec![renamed(&call.name, kind)]);
    Ok(table_factor(name, Some(args), alias))
}

/// A table, or a window function if there are arguments.
pub(super) fn table_factor(
    name: ObjectName,
    args: Option<Vec<FunctionArg>>,
    alias: Option<TableAlias>,
) -> TableFactor {
    TableFactor::Table {
        name,
        alias,
        args: args.map(|args| TableFunctionArgs {
            args,
            settings: None,
        }),
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    }
}

/// Arguments in the canonical order, without an input if the form has none.
pub(super) fn arguments(
    kind: Kind,
    form: Form,
    args: Vec<FunctionArg>,
    position: Position,
) -> Result<Vec<FunctionArg>> {
    let (names, needed) = kind.lengths();
    let count = args.len();
    let inputs = inputs(form);
    let mut slots: Vec<Option<Expr>> = vec![None; inputs + 1 + names.len()];
    let mut named = Vec::new();
    let missing = || wrong_arity(kind, form, count, position);
    for (at, arg) in args.into_iter().enumerate() {
        match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => {
                *slots.get_mut(at).ok_or_else(missing)? = Some(expr);
            }
            FunctionArg::Named {
                name,
                arg: FunctionArgExpr::Expr(expr),
                operator: _,
            } => match name.value.to_ascii_lowercase().as_str() {
                GRACE | ALLOWED_LATENESS => named.push((name, GRACE, expr)),
                PARTITION_BY if kind == Kind::Session && form == Form::Relation => {
                    named.push((name, PARTITION_BY, expr));
                }
                word => {
                    let slot = slot_of(form, names, word);
                    let slot = slot.ok_or_else(|| unknown(kind, form, &name))?;
                    if slots[slot].replace(expr).is_some() {
                        return Err(twice(&name));
                    }
                }
            },
            _ => return Err(missing()),
        }
    }
    let mut slots = slots.into_iter();
    let mut made = Vec::new();
    if form == Form::Relation {
        let input = slots.next().flatten().ok_or_else(missing)?;
        made.push(unnamed(as_query(input, position)?));
    }
    let column = slots.next().flatten().ok_or_else(missing)?;
    made.push(unnamed(as_column(kind, form, column, position)?));
    for (at, slot) in slots.enumerate() {
        match slot {
            Some(expr) => made.push(unnamed(length(expr, names[at] != "offset", position)?)),
            None if at < needed => return Err(missing()),
            None => {}
        }
    }
    made.extend(options(named, position)?);
    Ok(made)
}

/// The arguments that have no place of their own.
fn options(
    given: Vec<(Ident, &'static str, Expr)>,
    position: Position,
) -> Result<Vec<FunctionArg>> {
    let mut made = Vec::new();
    let mut grace_given = false;
    for (name, word, expr) in given {
        let expr = if word == GRACE {
            if std::mem::replace(&mut grace_given, true) {
                return Err(twice(&name));
            }
            grace(expr, position)?
        } else {
            expr
        };
        made.push(FunctionArg::Named {
            name: Ident::with_span(name.span, word),
            arg: FunctionArgExpr::Expr(expr),
            operator: FunctionArgOperator::RightArrow,
        });
    }
    Ok(made)
}

/// How many inputs a form has.
fn inputs(form: Form) -> usize {
    match form {
        Form::Relation => 1,
        Form::Group => 0,
    }
}

fn slot_of(form: Form, lengths: &[&str], name: &str) -> Option<usize> {
    let inputs = inputs(form);
    match name {
        "data" | "input" if form == Form::Relation => Some(0),
        "timecol" | "time_column" => Some(inputs),
        name => lengths
            .iter()
            .position(|length| *length == name)
            .map(|at| at + inputs + 1),
    }
}

pub(super) fn unnamed(expr: Expr) -> FunctionArg {
    FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))
}

/// The window's input as a sub-query.
fn as_query(input: Expr, position: Position) -> Result<Expr> {
    let relation = match input {
        Expr::Subquery(_) => return Ok(input),
        Expr::Nested(inner) => return as_query(*inner, position),
        Expr::Identifier(ident) => table_factor(ObjectName::from(vec![ident]), None, None),
        Expr::CompoundIdentifier(idents) => table_factor(ObjectName::from(idents), None, None),
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

/// `SELECT * FROM relation`.
pub(super) fn select_all_from(relation: TableFactor) -> Box<Query> {
    select_all(vec![TableWithJoins {
        relation,
        joins: Vec::new(),
    }])
}

/// `SELECT * FROM ..`.
pub(super) fn select_all(from: Vec<TableWithJoins>) -> Box<Query> {
    let dialect = PostgreSqlDialect {};
    let mut query = Parser::new(&dialect)
        .try_with_sql("SELECT *")
        .and_then(|mut parser| parser.parse_query())
        .expect("the text is a query");
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.from = from;
    }
    query
}

/// `ts` or `DESCRIPTOR(ts)`.
fn as_column(kind: Kind, form: Form, expr: Expr, position: Position) -> Result<Expr> {
    let place = expr_position(&expr).unwrap_or(position);
    match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => Ok(expr),
        Expr::Nested(inner) => as_column(kind, form, *inner, place),
        Expr::Function(function) if is_descriptor(&function) => match function.args {
            FunctionArguments::List(list) => match list.args.into_iter().next() {
                Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(
                    column @ (Expr::Identifier(_) | Expr::CompoundIdentifier(_)),
                ))) => Ok(column),
                _ => Err(no_column(kind, form, place)),
            },
            FunctionArguments::None | FunctionArguments::Subquery(_) => {
                Err(no_column(kind, form, place))
            }
        },
        _ => Err(no_column(kind, form, place)),
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

/// How long a window waits: a length that is not negative.
fn grace(expr: Expr, position: Position) -> Result<Expr> {
    let place = expr_position(&expr).unwrap_or(position);
    if let Some(Ok(micros)) = interval::of_expr(&expr)
        && micros < 0
    {
        return Err(negative_grace(micros, place));
    }
    length(expr, false, position)
}

pub(super) fn negative_grace(micros: i64, position: Position) -> Error {
    Error::user(
        SqlState::InvalidParameterValue,
        format!(
            "a window's grace must not be negative, and {} is",
            interval::format(micros)
        ),
    )
    .hint("It is how long a window takes rows after its end, such as INTERVAL '10 seconds'; leave it out for none.")
    .at(Some(position))
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

pub(super) fn wrong_arity(kind: Kind, form: Form, count: usize, position: Position) -> Error {
    let (names, needed) = kind.lengths();
    let others = inputs(form) + 1;
    let (least, most) = (needed + others, names.len() + others);
    let takes = if least == most {
        format!("{least}")
    } else {
        format!("{least} or {most}")
    };
    Error::user(
        SqlState::WindowingError,
        format!("{} takes {takes} arguments, not {count}", kind.name()),
    )
    .hint(format!("Write {}.", kind.example(form)))
    .at(Some(position))
}

fn no_column(kind: Kind, form: Form, position: Position) -> Error {
    let place = match form {
        Form::Relation => "second",
        Form::Group => "first",
    };
    Error::user(
        SqlState::WindowingError,
        format!(
            "the {place} argument of {} must be the event-time column",
            kind.name()
        ),
    )
    .hint(format!("Write {}.", kind.example(form)))
    .at(Some(position))
}

fn unknown(kind: Kind, form: Form, name: &Ident) -> Error {
    let (lengths, _) = kind.lengths();
    let data = match form {
        Form::Relation => "data, ",
        Form::Group => "",
    };
    Error::user(
        SqlState::WindowingError,
        format!("{} has no argument \"{}\"", kind.name(), name.value),
    )
    .hint(format!(
        "Its arguments are {data}timecol, {}, {GRACE}.",
        lengths.join(", ")
    ))
    .at(Some(tokens::place(name.span.start)))
}

fn twice(name: &Ident) -> Error {
    Error::user(
        SqlState::WindowingError,
        format!("argument \"{}\" is given twice", name.value),
    )
    .hint("An argument is given by its place or by its name, and once.")
    .at(Some(tokens::place(name.span.start)))
}

pub(super) fn position_of(name: &ObjectName) -> Position {
    let start = name.span().start;
    match start.line {
        0 => Position { line: 1, column: 1 },
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
