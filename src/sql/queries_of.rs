//! The queries of a statement, wherever they stand in it.

use std::ops::ControlFlow;

use sqlparser::ast::VisitorMut;

use super::alert::{Backtest, BacktestTarget};
use super::statement::{ExplainTarget, Statement};
use super::walk;

impl Statement {
    /// Shows a visitor all of them.
    pub fn visit_queries<V: VisitorMut>(&mut self, visitor: &mut V) -> ControlFlow<V::Break> {
        match self {
            Self::Query(stream) => walk::visit_mut(&mut stream.query, visitor),
            Self::CopyOut(copy) => walk::visit_mut(&mut copy.query.query, visitor),
            Self::Declare(declare) => walk::visit_mut(&mut declare.query.query, visitor),
            Self::CreateView(create) => walk::visit_mut(&mut create.query.query, visitor),
            Self::CreateMaterializedView(create) => {
                walk::visit_mut(&mut create.query.query, visitor)
            }
            Self::CreateSink(create) => match &mut create.query {
                Some(query) => walk::visit_mut(&mut query.query, visitor),
                None => ControlFlow::Continue(()),
            },
            Self::CreateAlert(create) => walk::visit_mut(&mut create.query.query, visitor),
            Self::Backtest(Backtest {
                target: BacktestTarget::Definition(create),
                ..
            }) => walk::visit_mut(&mut create.query.query, visitor),
            Self::Replay(replay) => walk::visit_mut(&mut replay.query.query, visitor),
            Self::Insert(insert) => walk::visit_mut(insert, visitor),
            Self::Prepare(prepare) => prepare.statement.visit_queries(visitor),
            Self::Explain(explain) => match &mut explain.target {
                ExplainTarget::Statement(inner) => inner.visit_queries(visitor),
                ExplainTarget::Progress(_) => ControlFlow::Continue(()),
            },
            _ => ControlFlow::Continue(()),
        }
    }
}
