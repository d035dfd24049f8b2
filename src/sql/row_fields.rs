//! `(row).field` in the form that DataFusion plans: the field's name as a text.

use std::ops::ControlFlow;

use sqlparser::ast::{AccessExpr, Expr, Value, VisitMut, VisitorMut};

use super::grammar::folded;
use super::walk;

/// Respells the fields taken out of rows that are no plain column; `column.field` may as well be a
/// table's column, which only the planner knows.
pub(super) fn respell<V: VisitMut>(statement: &mut V) {
    let ControlFlow::Continue(()) = walk::visit_mut(statement, &mut Respeller);
}

struct Respeller;

impl VisitorMut for Respeller {
    type Break = std::convert::Infallible;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        let Expr::CompoundFieldAccess { root, access_chain } = expr else {
            return ControlFlow::Continue(());
        };
        if matches!(root.as_ref(), Expr::Identifier(_)) {
            return ControlFlow::Continue(());
        }
        for access in access_chain {
            if let AccessExpr::Dot(field) = access
                && let Expr::Identifier(name) = field
            {
                let text = Value::SingleQuotedString(folded(name)).with_span(name.span);
                *field = Expr::Value(text);
            }
        }
        ControlFlow::Continue(())
    }
}
