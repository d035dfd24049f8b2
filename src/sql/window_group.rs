//! Windows that are grouped by, brought into the canonical form in `FROM`.
//!
//! ```text
//! SELECT tumble_start(ts, '1 min'), k, count(*) FROM t WHERE c GROUP BY tumble(ts, '1 min'), k
//! SELECT window_start AS tumble_start, k, count(*)
//! FROM tumble((SELECT * FROM t), ts, INTERVAL '1 min') WHERE c GROUP BY window_start, k
//! ```
//! The sessions of such a window, and of the window clause, are those of the other keys over the
//! rows that WHERE leaves: keys and condition go into the session's input. With the window clause,
//! rows are grouped by the window whether or not its bounds are among the keys.
//!
//! Invariant: afterwards no window function is left where an expression stands.

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArgOperator, GroupByExpr, Ident,
    ObjectName, OrderBy, Query, Select, SelectItem, SetExpr, TableFactor, TableWithJoins, Value,
    Visit, VisitMut, Visitor, VisitorMut,
};
use sqlparser::tokenizer::Span;

use super::walk;
use super::window_call::{self, GroupWindow};
use super::window_function::{self, EVENT_TIME_COLUMN, Kind, PARTITION_BY};
use super::window_shown::{Bounds, Shown, bound_of, column};
use super::{grammar, tokens};
use crate::error::{Error, Position, Result, SqlState};
use crate::types::WindowBound;

/// Rewrites all queries of a statement whose windows in FROM are in the canonical form.
///
/// # Errors
/// A window function where none can be, two windows, sessions without keys; each with its place.
pub(super) fn rewrite<V: VisitMut + Visit>(statement: &mut V) -> Result<()> {
    if walk::visit(statement, &mut Finder).is_continue() {
        return Ok(());
    }
    if let ControlFlow::Break(error) = walk::visit_mut(statement, &mut Rewriter) {
        return Err(error);
    }
    match walk::visit(statement, &mut LeftOver) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break((name, position)) => Err(misplaced(&name, position)),
    }
}

/// Finds out whether there is anything to do: most statements have no window.
struct Finder;

impl Visitor for Finder {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        match clause(factor) {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match window_call::called(expr) {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        }
    }
}

struct LeftOver;

impl Visitor for LeftOver {
    type Break = (String, Position);

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        match window_call::called(expr) {
            Some(call) => ControlFlow::Break(call),
            None => ControlFlow::Continue(()),
        }
    }
}

fn misplaced(name: &str, position: Position) -> Error {
    Error::user(
        SqlState::WindowingError,
        format!("{name} is a window, and nothing is grouped by it"),
    )
    .hint(
        "Write the same window in GROUP BY, or put it into FROM and use its columns: FROM \
         TUMBLE(t, time_column, INTERVAL '1 minute') has window_start and window_end.",
    )
    .at(Some(position))
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = Error;

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        match set_expr(&mut query.body, query.order_by.as_mut()) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

fn set_expr(body: &mut SetExpr, order_by: Option<&mut OrderBy>) -> Result<()> {
    match body {
        SetExpr::Select(select) => {
            refuse_in_where(select)?;
            match (group_window(select)?, first_clause(select)) {
                (Some(window), _) => grouped(select, order_by, window),
                (None, Some(kind)) => with_clause(select, order_by, kind),
                (None, None) => Ok(()),
            }
        }
        SetExpr::SetOperation { left, right, .. } => {
            set_expr(left, None)?;
            set_expr(right, None)
        }
        // A query in parentheses is visited by itself.
        _ => Ok(()),
    }
}

fn refuse_in_where(select: &Select) -> Result<()> {
    let ControlFlow::Break((name, position)) = walk::visit(&select.selection, &mut LeftOver) else {
        return Ok(());
    };
    Err(Error::user(
        SqlState::WindowingError,
        format!("{name} is a window, and WHERE comes before windows"),
    )
    .hint(
        "Put the condition on the window into HAVING, or put the window into FROM and compare \
         window_start and window_end.",
    )
    .at(Some(position)))
}

/// The keys in a GROUP BY, those in grouping sets too.
fn leaves(group_by: &GroupByExpr) -> Vec<&Expr> {
    let GroupByExpr::Expressions(exprs, _) = group_by else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for expr in exprs {
        match expr {
            Expr::GroupingSets(sets) | Expr::Rollup(sets) | Expr::Cube(sets) => {
                found.extend(sets.iter().flatten());
            }
            other => found.push(other),
        }
    }
    found
}

fn has_grouping_sets(group_by: &GroupByExpr) -> bool {
    let is_set = |e: &Expr| matches!(e, Expr::GroupingSets(_) | Expr::Rollup(_) | Expr::Cube(_));
    matches!(group_by, GroupByExpr::Expressions(exprs, _) if exprs.iter().any(is_set))
}

/// What `GROUP BY 1` or `GROUP BY alias` stands for in SELECT, if it stands for something there.
fn item<'a>(key: &Expr, items: &'a [SelectItem]) -> Option<&'a Expr> {
    match key {
        Expr::Value(value) => {
            let Value::Number(text, _) = &value.value else {
                return None;
            };
            let at = text.parse::<usize>().ok()?.checked_sub(1)?;
            match items.get(at)? {
                SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                    Some(expr)
                }
                _ => None,
            }
        }
        Expr::Identifier(name) => items.iter().find_map(|item| match item {
            SelectItem::ExprWithAlias { expr, alias }
                if grammar::folded(alias) == grammar::folded(name) =>
            {
                Some(expr)
            }
            _ => None,
        }),
        _ => None,
    }
}

/// The call of a window that a key is.
fn call_of(key: &Expr, items: &[SelectItem]) -> Result<Option<window_call::Call>> {
    match window_call::read(key)? {
        Some(call) => Ok(Some(call)),
        None => item(key, items).map_or(Ok(None), window_call::read),
    }
}

/// The window that a query groups by.
fn group_window(select: &Select) -> Result<Option<GroupWindow>> {
    let mut found: Option<GroupWindow> = None;
    for key in leaves(&select.group_by) {
        let Some(call) = call_of(key, &select.projection)? else {
            continue;
        };
        match &found {
            Some(known) if !known.is(&call.window) => {
                return Err(Error::user(
                    SqlState::WindowingError,
                    "a query groups by one window at a time",
                )
                .hint("Put one of the windows into a query of its own.")
                .at(Some(call.window.position)));
            }
            Some(_) => {}
            None => found = Some(call.window),
        }
    }
    Ok(found)
}

/// Moves a window from GROUP BY to FROM.
fn grouped(
    select: &mut Select,
    mut order_by: Option<&mut OrderBy>,
    window: GroupWindow,
) -> Result<()> {
    if select.from.is_empty() {
        return Err(Error::user(
            SqlState::WindowingError,
            format!("{} needs a table in FROM", window.name),
        )
        .at(Some(window.position)));
    }
    let items = select.projection.clone();
    let keys = match window.kind {
        Kind::Session => session_keys(select, Some(window.position))?,
        Kind::Tumble | Kind::Hop | Kind::Cumulate => Vec::new(),
    };
    let shown = Shown::of(&window, select)?;
    shown.replace(select, order_by.as_deref_mut())?;
    let bounds = Bounds::named_in(select, order_by.as_deref()).grouped(window.kind);
    if let GroupByExpr::Expressions(exprs, _) = &mut select.group_by {
        let is_window = |key: &Expr| Ok(call_of(key, &items)?.is_some());
        regroup(exprs, &bounds, &is_window)?;
    }
    let mut input = window_function::select_all(std::mem::take(&mut select.from));
    if let (Kind::Session, SetExpr::Select(inner)) = (window.kind, input.body.as_mut()) {
        inner.selection = select.selection.take();
    }
    let place = tokens::location(window.position);
    let name = Ident::with_span(Span::new(place, place), window.kind.name());
    let mut args = vec![window_function::unnamed(Expr::Subquery(input))];
    args.extend(window.args);
    args.extend(keys);
    let name = ObjectName::from(vec![name]);
    let relation = window_function::table_factor(name, Some(args), None);
    select.from = vec![TableWithJoins {
        relation,
        joins: Vec::new(),
    }];
    Ok(())
}

/// Puts the bounds in the place of the window, once a list.
fn regroup(
    keys: &mut Vec<Expr>,
    bounds: &[WindowBound],
    is_window: &dyn Fn(&Expr) -> Result<bool>,
) -> Result<()> {
    let mut done = false;
    let mut made = Vec::with_capacity(keys.len() + bounds.len());
    for mut key in std::mem::take(keys) {
        if is_window(&key)? {
            if !std::mem::replace(&mut done, true) {
                made.extend(bounds.iter().copied().map(column));
            }
            continue;
        }
        match &mut key {
            Expr::GroupingSets(sets) => {
                for set in sets {
                    regroup(set, bounds, is_window)?;
                }
            }
            Expr::Rollup(sets) | Expr::Cube(sets) => {
                // Here a list is one element.
                for set in sets.iter_mut() {
                    regroup(set, bounds, is_window)?;
                }
                sets.retain(|set| !set.is_empty());
            }
            _ => {}
        }
        made.push(key);
    }
    *keys = made;
    Ok(())
}

/// The kind of the window clause that a table factor was, if it was one.
fn clause(factor: &TableFactor) -> Option<Kind> {
    let TableFactor::Table {
        name,
        args: Some(args),
        ..
    } = factor
    else {
        return None;
    };
    let kind = Kind::of(name)?;
    match args.args.get(1) {
        Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(time))))
            if time.value == EVENT_TIME_COLUMN =>
        {
            Some(kind)
        }
        _ => None,
    }
}

fn first_clause(select: &Select) -> Option<Kind> {
    select.from.iter().find_map(|from| clause(&from.relation))
}

/// Groups by the window of a window clause, and gives a session its keys.
fn with_clause(select: &mut Select, mut order_by: Option<&mut OrderBy>, kind: Kind) -> Result<()> {
    Shown::pseudo_columns(select, order_by.as_deref_mut())?;
    let keys = match kind {
        Kind::Session => session_keys(select, None)?,
        Kind::Tumble | Kind::Hop | Kind::Cumulate => Vec::new(),
    };
    let has_keys = !leaves(&select.group_by).is_empty();
    if kind == Kind::Session && !has_keys {
        return Err(Error::user(
            SqlState::WindowingError,
            "a session needs GROUP BY: its keys are those of the sessions",
        )
        .hint("For sessions over all rows write GROUP BY window_start, window_end.")
        .at(clause_position(select)));
    }
    let grouped: Vec<WindowBound> = leaves(&select.group_by)
        .into_iter()
        .filter_map(|key| bound_of(key).or_else(|| bound_of(item(key, &select.projection)?)))
        .collect();
    if has_keys {
        let mut named = Bounds::named_in(select, order_by.as_deref());
        grouped.iter().for_each(|bound| named.add(*bound));
        if let GroupByExpr::Expressions(exprs, _) = &mut select.group_by {
            let missing = named.grouped(kind);
            let missing = missing.into_iter().filter(|b| !grouped.contains(b));
            exprs.extend(missing.map(column));
        }
    }
    if kind == Kind::Session {
        let (below, above) = split_condition(select.selection.take());
        select.selection = above;
        for from in &mut select.from {
            if clause(&from.relation).is_some() {
                complete(&mut from.relation, keys, below);
                break;
            }
        }
    }
    Ok(())
}

fn clause_position(select: &Select) -> Option<Position> {
    select.from.iter().find_map(|from| match &from.relation {
        factor @ TableFactor::Table { name, .. } if clause(factor).is_some() => {
            Some(window_function::position_of(name))
        }
        _ => None,
    })
}

/// Gives a session of the window clause its keys and the condition on its rows.
fn complete(factor: &mut TableFactor, keys: Vec<FunctionArg>, condition: Option<Expr>) {
    let TableFactor::Table {
        args: Some(args),
        alias,
        ..
    } = factor
    else {
        return;
    };
    args.args.extend(keys);
    let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Subquery(input)))) =
        args.args.first_mut()
    else {
        return;
    };
    // Under the outer name, by which the keys and the condition may call its columns.
    let relation = TableFactor::Derived {
        lateral: false,
        subquery: input.clone(),
        alias: alias.clone(),
        sample: None,
    };
    *input = window_function::select_all_from(relation);
    if let SetExpr::Select(inner) = input.body.as_mut() {
        inner.selection = condition;
    }
}

/// The parts of a condition on the rows, and those on the windows.
fn split_condition(condition: Option<Expr>) -> (Option<Expr>, Option<Expr>) {
    let (mut below, mut above) = (None, None);
    let mut rest: Vec<Expr> = condition.into_iter().collect();
    while let Some(part) = rest.pop() {
        match part {
            Expr::BinaryOp {
                left,
                op: BinaryOperator::And,
                right,
            } => rest.extend([*right, *left]),
            part => {
                let side = match Bounds::named_by(&part).is_empty() {
                    true => &mut below,
                    false => &mut above,
                };
                *side = Some(match side.take() {
                    Some(before) => Expr::BinaryOp {
                        left: Box::new(before),
                        op: BinaryOperator::And,
                        right: Box::new(part),
                    },
                    None => part,
                });
            }
        }
    }
    (below, above)
}

/// The keys of the sessions: those of GROUP BY that are not the session itself.
fn session_keys(select: &Select, position: Option<Position>) -> Result<Vec<FunctionArg>> {
    if has_grouping_sets(&select.group_by) {
        return Err(Error::user(
            SqlState::FeatureNotSupported,
            "sessions with GROUPING SETS, ROLLUP or CUBE are not supported",
        )
        .hint("Each set of keys has sessions of its own: write a query for each, with UNION ALL.")
        .at(position.or_else(|| clause_position(select))));
    }
    let mut keys = Vec::new();
    for key in leaves(&select.group_by) {
        let target = item(key, &select.projection);
        let is_bound = bound_of(key).is_some() || target.is_some_and(|e| bound_of(e).is_some());
        if is_bound || call_of(key, &select.projection)?.is_some() {
            continue;
        }
        let key = match (key, target) {
            (Expr::Identifier(_), Some(target)) => Expr::Tuple(vec![key.clone(), target.clone()]),
            (_, Some(target)) => target.clone(),
            (_, None) => key.clone(),
        };
        keys.push(FunctionArg::Named {
            name: Ident::new(PARTITION_BY),
            arg: FunctionArgExpr::Expr(key),
            operator: FunctionArgOperator::RightArrow,
        });
    }
    Ok(keys)
}
