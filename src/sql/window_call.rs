//! One call of a window function where an expression stands: `TUMBLE(ts, ..)`, `HOP_END(ts, ..)`,
//! Spark's `window(ts, '5 minutes')`.
//!
//! Two calls are of the same window when they have the same time and the same lengths, however
//! these are written.

use sqlparser::ast::{
    AccessExpr, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName,
};

use super::window_function::{self, Form, Kind};
use super::{grammar, interval};
use crate::error::{Error, Position, Result, SqlState};
use crate::types::WindowBound;

/// A window that rows are grouped by.
#[derive(Debug, Clone)]
pub(super) struct GroupWindow {
    pub(super) kind: Kind,
    /// The function's name as it was written, in lower case: how the window's column is called.
    pub(super) name: String,
    /// Time, lengths and options in the canonical order; no input.
    pub(super) args: Vec<FunctionArg>,
    pub(super) position: Position,
}

/// What a call stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shows {
    /// The whole window.
    Window,
    /// One of its bounds.
    Bound(WindowBound),
}

/// A call of a window function.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) window: GroupWindow,
    pub(super) shows: Shows,
}

/// Which function a name is, in whose order its arguments are, and what it shows.
fn function(name: &str) -> Option<(Kind, Order, Shows)> {
    match name {
        "window" => return Some((Kind::Hop, Order::Spark, Shows::Window)),
        "session_window" => return Some((Kind::Session, Order::Own, Shows::Window)),
        _ => {}
    }
    let kinds = [Kind::Tumble, Kind::Hop, Kind::Cumulate, Kind::Session];
    kinds.into_iter().find_map(|kind| {
        let rest = name.strip_prefix(kind.name())?;
        let shows = match rest {
            "" => Shows::Window,
            "_start" => Shows::Bound(WindowBound::Start),
            "_end" => Shows::Bound(WindowBound::End),
            "_rowtime" => Shows::Bound(WindowBound::Time),
            _ => return None,
        };
        Some((kind, Order::Own, shows))
    })
}

/// The order of a call's arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// As in `FROM`, without the input.
    Own,
    /// `window(time, size [, slide [, offset]])`.
    Spark,
}

/// The name of a window function that an expression calls, and where.
pub(super) fn called(expr: &Expr) -> Option<(String, Position)> {
    let Expr::Function(call) = expr else {
        return None;
    };
    let name = single_name(&call.name)?;
    function(&name)?;
    Some((name, window_function::position_of(&call.name)))
}

fn single_name(name: &ObjectName) -> Option<String> {
    match name.0.as_slice() {
        [part] => part
            .as_ident()
            .map(|ident| ident.value.to_ascii_lowercase()),
        _ => None,
    }
}

/// Reads a call; `None` for any other expression.
///
/// # Errors
/// Arguments that the function does not take.
pub(super) fn read(expr: &Expr) -> Result<Option<Call>> {
    let call = match expr {
        Expr::Function(call) => call,
        Expr::Nested(inner) => return read(inner),
        Expr::CompoundFieldAccess { root, access_chain } => {
            let Some(bound) = field(access_chain) else {
                return Ok(None);
            };
            let whole = read(root)?.filter(|call| call.shows == Shows::Window);
            let shows = Shows::Bound(bound);
            return Ok(whole.map(|call| Call { shows, ..call }));
        }
        _ => return Ok(None),
    };
    let Some((name, (kind, order, shows))) =
        single_name(&call.name).and_then(|name| function(&name).map(|found| (name, found)))
    else {
        return Ok(None);
    };
    let position = window_function::position_of(&call.name);
    let args = plain_args(call).ok_or_else(|| {
        Error::user(
            SqlState::WindowingError,
            format!("{name} takes no DISTINCT, FILTER, ORDER BY or OVER"),
        )
        .at(Some(position))
    })?;
    let (kind, args) = match order {
        Order::Own => (kind, args),
        Order::Spark => from_spark(args, position)?,
    };
    let args = window_function::arguments(kind, Form::Group, args, position)?;
    let window = GroupWindow {
        kind,
        name,
        args,
        position,
    };
    Ok(Some(Call { window, shows }))
}

/// The bound that a field of a window is, by the field's name.
pub(super) fn bound_named(field: &Ident) -> Option<WindowBound> {
    match grammar::folded(field).as_str() {
        "start" => Some(WindowBound::Start),
        "end" => Some(WindowBound::End),
        _ => None,
    }
}

fn field(access: &[AccessExpr]) -> Option<WindowBound> {
    match access {
        [AccessExpr::Dot(Expr::Identifier(field))] => bound_named(field),
        _ => None,
    }
}

fn plain_args(call: &Function) -> Option<Vec<FunctionArg>> {
    let plain = call.filter.is_none() && call.over.is_none() && call.within_group.is_empty();
    match &call.args {
        FunctionArguments::List(list)
            if plain && list.duplicate_treatment.is_none() && list.clauses.is_empty() =>
        {
            Some(list.args.clone())
        }
        FunctionArguments::List(_) | FunctionArguments::Subquery(_) => None,
        FunctionArguments::None => Some(Vec::new()),
    }
}

/// Spark gives the size before the slide, and a window that only has a size is tumbling.
fn from_spark(args: Vec<FunctionArg>, position: Position) -> Result<(Kind, Vec<FunctionArg>)> {
    let example = "Write window(time_column, '5 minutes'), or window(time_column, '5 minutes', \
                   '1 minute') with the size before the slide.";
    let wrong = |count: usize| {
        Error::user(
            SqlState::WindowingError,
            format!("window takes 2, 3 or 4 arguments, not {count}"),
        )
        .hint(example)
        .at(Some(position))
    };
    let count = args.len();
    if !(2..=4).contains(&count) {
        return Err(wrong(count));
    }
    let mut args = args.into_iter();
    let (Some(time), Some(size)) = (args.next(), args.next()) else {
        return Err(wrong(count));
    };
    let Some(slide) = args.next() else {
        return Ok((Kind::Tumble, vec![time, size]));
    };
    let (kind, mut ordered) = if comparable(&slide) == comparable(&size) {
        (Kind::Tumble, vec![time, size])
    } else {
        (Kind::Hop, vec![time, slide, size])
    };
    ordered.extend(args);
    Ok((kind, ordered))
}

impl GroupWindow {
    /// True if both are the same window.
    pub(super) fn is(&self, other: &Self) -> bool {
        let own = self.args.iter().map(comparable);
        self.kind == other.kind && own.eq(other.args.iter().map(comparable))
    }
}

/// An argument, however it was written.
fn comparable(arg: &FunctionArg) -> String {
    let (name, arg) = match arg {
        FunctionArg::Unnamed(arg) => (String::new(), arg),
        FunctionArg::Named { name, arg, .. } => (format!("{name}="), arg),
        FunctionArg::ExprNamed { .. } => return arg.to_string(),
    };
    let FunctionArgExpr::Expr(expr) = arg else {
        return arg.to_string();
    };
    let value = match (expr, interval::of_expr(expr)) {
        (_, Some(Ok(micros))) => micros.to_string(),
        (Expr::Identifier(ident), _) => folded(std::slice::from_ref(ident)),
        (Expr::CompoundIdentifier(idents), _) => folded(idents),
        (other, _) => other.to_string(),
    };
    name + &value
}

/// A column by the last part of its name: `t.ts` and `ts` are taken to be the same.
fn folded(idents: &[Ident]) -> String {
    idents.last().map(grammar::folded).unwrap_or_default()
}
