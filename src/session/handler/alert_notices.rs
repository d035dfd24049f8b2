//! What is told of an alert when it is created that can run and is hardly meant so.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::Schema;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::collect_columns;

use crate::alert::{Watch, hiding};
use crate::catalog::AlertDefinition;
use crate::error::{Error, Result, SqlState, from_arrow, from_datafusion};
use crate::plan::{Emission, OutputStage, RowStage, StreamPlan};
use crate::sql::{self, Condition, CreateAlert, Name, Template};
use crate::types::WindowKind;

/// Refuses a sink that NOTIFY names twice.
pub(super) fn refuse_twice(notify: &[Name]) -> Result<()> {
    for (index, sink) in notify.iter().enumerate() {
        if notify[..index].iter().any(|other| other.name == sink.name) {
            let text = format!("sink \"{}\" stands in NOTIFY twice", sink.name);
            return Err(Error::user(SqlState::DuplicateObject, text)
                .hint("It is told of each transition once.")
                .at(Some(sink.position)));
        }
    }
    Ok(())
}

/// Refuses a condition that is the same for each row and cannot be computed.
pub(super) fn refuse_senseless(
    clause: &CreateAlert,
    plan: &StreamPlan,
    watch: &Watch,
) -> Result<()> {
    for (condition, column) in conditions(clause, watch) {
        constant(plan, column).map_err(|error| error.at(Some(condition.position)))?;
    }
    Ok(())
}

/// What is to be told.
pub(super) fn notices(
    alert: &AlertDefinition,
    plan: &StreamPlan,
    watch: &Watch,
) -> Result<Vec<Error>> {
    let mut notices: Vec<Error> = early(alert, plan).into_iter().collect();
    for (condition, column) in conditions(&alert.clause, watch) {
        let is_when = Some(column) == watch.holds;
        notices.extend(match constant(plan, column)? {
            Some(Some(true)) | None => None,
            Some(value) => Some(never(condition, is_when, value)),
        });
    }
    let columns = plan.schema.project(&watch.shown).map_err(from_arrow)?;
    let templates = [&alert.clause.message, &alert.clause.resolved];
    for template in templates.into_iter().flatten() {
        notices.extend(hidden(template, &columns));
    }
    Ok(notices)
}

/// The conditions with their columns.
fn conditions<'a>(
    clause: &'a CreateAlert,
    watch: &Watch,
) -> impl Iterator<Item = (&'a Condition, usize)> {
    let when = clause.when.as_ref().zip(watch.holds);
    let clear = clause.clear.as_ref().zip(watch.clear);
    when.into_iter().chain(clear)
}

/// The value of a condition that is the same for each row; `None` for one that is not.
///
/// # Errors
/// It cannot be computed.
fn constant(plan: &StreamPlan, column: usize) -> Result<Option<Option<bool>>> {
    let Some(expr) = last_exprs(plan).and_then(|exprs| exprs.get(column)) else {
        return Ok(None);
    };
    if !collect_columns(expr).is_empty() {
        return Ok(None);
    }
    let one_row = RecordBatchOptions::new().with_row_count(Some(1));
    let row = RecordBatch::try_new_with_options(Schema::empty().into(), Vec::new(), &one_row);
    let value = expr.evaluate(&row.map_err(from_arrow)?);
    let value = value.and_then(|value| value.into_array(1));
    let value = value.map_err(from_datafusion)?;
    let value = value.as_boolean_opt();
    Ok(value.map(|value| value.iter().next().flatten()))
}

/// What a plan computes last, a column each; `None` where it is no projection.
fn last_exprs(plan: &StreamPlan) -> Option<&[Arc<dyn PhysicalExpr>]> {
    let of_rows = plan.inputs.first().filter(|_| plan.aggregate.is_none());
    let last = match plan.output.last() {
        Some(OutputStage::Rows(stage)) => stage,
        Some(_) => return None,
        None => of_rows?.rows.last()?,
    };
    match last {
        RowStage::Project { exprs, .. } => Some(exprs),
        RowStage::Filter(_) | RowStage::Windows { .. } => None,
    }
}

/// What is told of a condition that never holds.
fn never(condition: &Condition, is_when: bool, value: Option<bool>) -> Error {
    let value = value.map_or("NULL", |_| "false");
    let (clause, effect) = match is_when {
        true => ("WHEN", "the alert never fires"),
        false => ("CLEAR WHEN", "the alert is never resolved"),
    };
    let text = format!("the condition of {clause} is always {value}: {effect}");
    Error::user(SqlState::SuccessfulCompletion, text)
        .hint("Compare a column of the alert's query.")
        .at(Some(condition.position))
}

/// What is told of columns that have the name of something else that a message can name.
fn hidden(template: &Template, columns: &Schema) -> Vec<Error> {
    let told = |name: &str| {
        let text = format!("\"{name}\" in the message is the query's column of that name");
        Error::user(SqlState::SuccessfulCompletion, text)
            .hint(format!(
                "It hides what an alert calls so; give the column another name with AS to write the alert's {name}."
            ))
            .at(Some(template.position))
    };
    hiding(&template.text, columns)
        .into_iter()
        .map(told)
        .collect()
}

/// What is told of a FOR that is shorter than a window which is looked at when it has closed.
fn early(alert: &AlertDefinition, plan: &StreamPlan) -> Option<Error> {
    let (length, position) = alert.clause.lasts?;
    let mut windows = plan
        .aggregates()
        .filter_map(|aggregate| aggregate.window.as_ref());
    let pace = match windows.next()?.kind {
        WindowKind::Tumble { size, .. } => size,
        WindowKind::Hop { slide, .. } => slide,
        WindowKind::Cumulate { step, .. } => step,
        WindowKind::Session { .. } => return None,
    };
    if plan.emission != Emission::Final || length == 0 || length >= pace {
        return None;
    }
    let text = format!(
        "the alert's query emits a row every {} and FOR is {}: FOR changes little",
        sql::interval::format(pace),
        sql::interval::format(length)
    );
    Some(
        Error::user(SqlState::SuccessfulCompletion, text)
            .hint("Leave EMIT FINAL out to look at windows while they are open, or leave FOR out.")
            .at(Some(position)),
    )
}
