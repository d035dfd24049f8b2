//! Where in a query an error is: DataFusion's plans have no places, so that an error only says what
//! it is about, and this looks for it in the query.

use std::ops::ControlFlow;

use sqlparser::ast::{
    AccessExpr, BinaryOperator, Expr, GroupByExpr, LimitClause, Query, Select, SelectItem, Spanned,
    Value, Visit, Visitor,
};

use super::window_relation::position;
use crate::error::{Culprit, Error, Position};
use crate::sql::{fold, walk};

/// Gives an error the place in `query` of what it is about, if it has none yet.
pub fn placed(error: Error, query: &Query) -> Error {
    match error.culprit() {
        Some(culprit) if error.position().is_none() => {
            let found = places(culprit, query).first().copied();
            error.at(found)
        }
        _ => error,
    }
}

/// All places in a piece of SQL that a culprit can be, in the order of the text.
pub(super) fn places<V: Visit>(culprit: &Culprit, sql: &V) -> Vec<Position> {
    let mut finder = Finder {
        culprit,
        found: Vec::new(),
    };
    let ControlFlow::Continue(()) = walk::visit(sql, &mut finder);
    finder.found.sort_by_key(|place| (place.line, place.column));
    finder.found.dedup();
    finder.found
}

/// The name by which a function is called, if an expression is a call.
pub(super) fn called(expr: &Expr) -> Option<String> {
    let Expr::Function(call) = expr else {
        return None;
    };
    let [name] = call.name.0.as_slice() else {
        return None;
    };
    name.as_ident().map(fold)
}

/// Where functions whose names are `wanted` are called and by which name, in the order of the text.
pub(super) fn calls(query: &Query, wanted: impl Fn(&str) -> bool) -> Vec<(Position, String)> {
    let mut found = Vec::new();
    let ControlFlow::<()>::Continue(()) = walk::expressions(query, |expr| {
        if let Some(name) = called(expr).filter(|name| wanted(name)) {
            found.extend(position(expr).map(|place| (place, name)));
        }
        ControlFlow::Continue(())
    }) else {
        return found;
    };
    found.sort_by_key(|(place, _)| (place.line, place.column));
    found
}

/// Puts NULL in the place of the calls at `others`, but for those around the one at `kept`.
pub(super) fn leave_out(query: &mut Query, others: &[Position], kept: Position) {
    let is_around = |expr: &Expr| {
        let inner = walk::expressions(expr, |inner| match called(inner) {
            Some(_) if position(inner) == Some(kept) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        });
        inner.is_break()
    };
    let _ = walk::expressions_mut(query, |expr| {
        let is_other =
            called(expr).is_some() && position(expr).is_some_and(|place| others.contains(&place));
        if is_other && !is_around(expr) {
            *expr = Expr::Value(Value::Null.into());
        }
        ControlFlow::<()>::Continue(())
    });
}

struct Finder<'a> {
    culprit: &'a Culprit,
    found: Vec<Position>,
}

impl Finder<'_> {
    fn add(&mut self, sql: &impl Spanned) {
        self.found.extend(position(sql));
    }

    fn clauses(&mut self, select: &Select) {
        match self.culprit {
            Culprit::Join => {
                for item in select.from.iter().skip(1) {
                    self.add(&item.relation);
                }
                for join in select.from.iter().flat_map(|item| &item.joins) {
                    self.add(&join.relation);
                }
            }
            Culprit::Where => {
                for condition in select.selection.iter().chain(&select.having) {
                    self.add(condition);
                }
            }
            Culprit::Item(index) => {
                let items = &select.projection;
                let star = items.iter().find(|item| {
                    matches!(
                        item,
                        SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)
                    )
                });
                if let Some(item) = star.or_else(|| items.get(*index)) {
                    self.add(item);
                }
            }
            Culprit::Group(index) => {
                if let GroupByExpr::Expressions(exprs, _) = &select.group_by
                    && let Some(expr) = exprs.get(*index)
                {
                    self.add(expr);
                }
            }
            _ => {}
        }
    }

    fn limits(&mut self, clause: &LimitClause) {
        let (limit, offset) = match clause {
            LimitClause::LimitOffset { limit, offset, .. } => {
                (limit.as_ref(), offset.as_ref().map(|offset| &offset.value))
            }
            LimitClause::OffsetCommaLimit { offset, limit } => (Some(limit), Some(offset)),
        };
        let wanted = match self.culprit {
            Culprit::Limit => limit,
            Culprit::Offset => offset,
            _ => None,
        };
        if let Some(expr) = wanted {
            self.add(expr);
        }
    }
}

impl Visitor for Finder<'_> {
    type Break = std::convert::Infallible;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        if *self.culprit == Culprit::OrderBy
            && let Some(order) = &query.order_by
        {
            self.add(order);
        }
        if let Some(clause) = &query.limit_clause {
            self.limits(clause);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Self::Break> {
        self.clauses(select);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        match (self.culprit, expr) {
            (Culprit::Function(name), _) if called(expr).as_ref() == Some(name) => self.add(expr),
            (Culprit::Text(text), Expr::Cast { expr: value, .. }) if is_text(value, text) => {
                self.add(&**value);
            }
            (Culprit::Text(text), Expr::TypedString(typed))
                if text_of(&typed.value.value) == Some(text) =>
            {
                self.add(&typed.value);
            }
            (
                Culprit::Cast(wanted),
                Expr::Cast {
                    expr: value,
                    data_type,
                    ..
                },
            ) if data_type.to_string() == *wanted => self.add(&**value),
            (Culprit::Scaled, Expr::BinaryOp { left, op, right })
                if matches!(op, BinaryOperator::Multiply | BinaryOperator::Divide)
                    && [left, right].iter().any(|side| is_interval(side)) =>
            {
                self.add(expr);
            }
            (Culprit::Over, Expr::Function(call)) if call.over.is_some() => self.add(expr),
            (
                Culprit::SubQuery,
                Expr::Subquery(query)
                | Expr::Exists {
                    subquery: query, ..
                },
            ) => {
                self.add(&**query);
            }
            (Culprit::SubQuery, Expr::InSubquery { subquery, .. }) => self.add(&**subquery),
            (Culprit::Column(name), Expr::Identifier(ident)) if fold(ident) == *name => {
                self.add(expr);
            }
            (Culprit::Column(name), Expr::CompoundIdentifier(parts))
                if parts.last().is_some_and(|last| fold(last) == *name) =>
            {
                self.add(expr);
            }
            (Culprit::Compared(name), expr) if compares(expr, name) => self.add(expr),
            (Culprit::Field(name), Expr::CompoundFieldAccess { access_chain, .. }) => {
                let field = access_chain.iter().find(|access| is_field(access, name));
                self.found.extend(field.and_then(position));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Whether an expression compares a column of a name with something.
fn compares(expr: &Expr, name: &str) -> bool {
    let is_it = |side: &Expr| {
        let found = walk::expressions(side, |part| {
            let column = match part {
                Expr::Identifier(ident) => Some(ident),
                Expr::CompoundIdentifier(parts) => parts.last(),
                _ => None,
            };
            match column.is_some_and(|column| fold(column) == name) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
        found.is_break()
    };
    match expr {
        Expr::BinaryOp { left, op, right } => {
            let compares = matches!(
                op,
                BinaryOperator::Eq
                    | BinaryOperator::NotEq
                    | BinaryOperator::Lt
                    | BinaryOperator::LtEq
                    | BinaryOperator::Gt
                    | BinaryOperator::GtEq
            );
            compares && (is_it(left) || is_it(right))
        }
        Expr::InList { expr, .. } | Expr::Between { expr, .. } => is_it(expr),
        _ => false,
    }
}

fn is_field(access: &AccessExpr, name: &str) -> bool {
    match access {
        AccessExpr::Dot(Expr::Value(value)) => text_of(&value.value) == Some(name),
        AccessExpr::Dot(Expr::Identifier(ident)) => fold(ident) == name,
        _ => false,
    }
}

fn is_text(expr: &Expr, text: &str) -> bool {
    match expr {
        Expr::Nested(inner) => is_text(inner, text),
        Expr::Value(value) => text_of(&value.value) == Some(text),
        _ => false,
    }
}

fn is_interval(expr: &Expr) -> bool {
    match expr {
        Expr::Nested(inner) => is_interval(inner),
        Expr::Interval(_) => true,
        _ => false,
    }
}

fn text_of(value: &Value) -> Option<&str> {
    match value {
        Value::SingleQuotedString(text)
        | Value::EscapedStringLiteral(text)
        | Value::UnicodeStringLiteral(text)
        | Value::NationalStringLiteral(text) => Some(text),
        _ => None,
    }
}
