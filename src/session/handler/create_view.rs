//! CREATE VIEW: a name for a query, which is put in its place.

use std::sync::Arc;

use sqlparser::ast::{Expr, SelectItem, SetExpr};

use super::continuous::{check_unique, logical_of};
use super::dependents::{TRIES_MAX, busy, replaced, told};
use super::{define_among, is_there, mode, notice};
use crate::catalog::{Definition, DefinitionsChange, ViewDefinition};
use crate::error::{Error, Result, SqlState};
use crate::planner::placed;
use crate::session::{Outcome, Session};
use crate::sql::{self, CreateView, ObjectKind};

const TAG: &str = "CREATE VIEW";
const KIND: ObjectKind = ObjectKind::View;

pub(in crate::session) async fn run(session: &mut Session, clause: CreateView) -> Result<Outcome> {
    if clause.if_not_exists && is_there(session, &clause.name) {
        return Ok(Outcome::done(TAG));
    }
    for _ in 0..TRIES_MAX {
        let Some((definition, change)) = planned(session, &clause).await? else {
            return Ok(Outcome::done(TAG));
        };
        let services = Arc::clone(session.services());
        let go_on = replaced(&services, &change, (KIND, &clause.name)).await?;
        let lines = told(&go_on, KIND);
        if define_among(session, definition, (change, go_on), |_| Ok(())).await? {
            for text in lines {
                notice(session, Error::user(SqlState::SuccessfulCompletion, text));
            }
            return Ok(Outcome::done(TAG));
        }
    }
    Err(busy(KIND, &clause.name))
}

/// Checks the statement alone, and keeps it for those after it.
pub(super) async fn check(session: &mut Session, clause: &CreateView) -> Result<()> {
    let Some((_, change)) = planned(session, clause).await? else {
        return Ok(());
    };
    let services = Arc::clone(session.services());
    replaced(&services, &change, (KIND, &clause.name)).await?;
    services.catalog.put(&change).map(drop)
}

/// The view and what it changes; `None`: it is there already. It is planned once now, so that a view that cannot be
/// read is never made.
async fn planned(
    session: &mut Session,
    clause: &CreateView,
) -> Result<Option<(Definition, DefinitionsChange)>> {
    let mode = mode(clause.if_not_exists, clause.or_replace);
    let view = Arc::new(ViewDefinition::try_new(clause)?);
    let definition = Definition::View(Arc::clone(&view));
    let at = |error: Error| error.at(Some(clause.name.position));
    let catalog = &session.services().catalog;
    let Some(change) = catalog.change(&definition, mode).map_err(at)? else {
        return Ok(None);
    };
    check_names(clause)?;
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
    Ok(Some((definition, change)))
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
