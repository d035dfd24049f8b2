//! CREATE VIEW: a name for a query, which is put in its place.

use std::sync::Arc;

use sqlparser::ast::{Expr, SelectItem, SetExpr};

use super::continuous::{check_unique, logical_of};
use super::{define, is_there, mode};
use crate::catalog::{Definition, ViewDefinition};
use crate::error::{Error, Result, SqlState};
use crate::planner::placed;
use crate::session::{Outcome, Session};
use crate::sql::{self, CreateView};

const TAG: &str = "CREATE VIEW";

pub(in crate::session) async fn run(session: &mut Session, clause: CreateView) -> Result<Outcome> {
    if clause.if_not_exists && is_there(session, &clause.name) {
        return Ok(Outcome::done(TAG));
    }
    let mode = mode(clause.if_not_exists, clause.or_replace);
    let view = Arc::new(ViewDefinition::try_new(&clause)?);
    let definition = Definition::View(Arc::clone(&view));
    let at = |error: Error| error.at(Some(clause.name.position));
    session
        .services()
        .catalog
        .check(&definition, mode)
        .map_err(at)?;
    check_names(&clause)?;
    // Planned once now, so that a view that cannot be read is never made.
    let plan = logical_of(session, &view.query).await?;
    let columns = plan.schema().fields().len();
    if let Some(extra) = clause.columns.get(columns) {
        return Err(Error::user(
            SqlState::InvalidTableDefinition,
            format!(
                "{} column names for {columns} columns",
                clause.columns.len()
            ),
        )
        .at(Some(extra.position)));
    }
    let fields = plan.schema().fields().iter().enumerate();
    let names = fields.map(|(index, field)| match clause.columns.get(index) {
        Some(name) => name.name.clone(),
        None => field.name().clone(),
    });
    check_unique(&names.collect::<Vec<_>>()).map_err(|error| placed(error, &clause.query.query))?;
    define(session, definition, mode, |_| Ok(())).await?;
    Ok(Outcome::done(TAG))
}

/// Names that are written twice are told before the planner takes them for one column.
fn check_names(clause: &CreateView) -> Result<()> {
    match clause.query.query.body.as_ref() {
        SetExpr::Select(select) if clause.columns.is_empty() => {
            check_unique(&written_names(&select.projection))
                .map_err(|error| placed(error, &clause.query.query))
        }
        _ => Ok(()),
    }
}

/// The names of the items up to the first that is `*`; none are alike that have none.
fn written_names(items: &[SelectItem]) -> Vec<String> {
    let items = items.iter().enumerate();
    items
        .map_while(|(index, item)| match item {
            SelectItem::ExprWithAlias { alias, .. } => Some(sql::fold(alias)),
            SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(sql::fold(name)),
            SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => parts.last().map(sql::fold),
            SelectItem::UnnamedExpr(_) => Some(format!("${index}")),
            _ => None,
        })
        .collect()
}
