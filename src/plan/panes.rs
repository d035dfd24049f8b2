//! Hopping windows of a plan that stands each row for one window, once more by panes.
//!
//! ```text
//! windows [0, 60) [10, 70) ..   a row at 15 once for each of six windows
//! panes   [0, 10) [10, 20) ..   the same row once, in a pane that lies in six windows
//! ```

use std::sync::Arc;

use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::collect_columns;

use super::{AggregatePlan, RowStage, WindowColumns, WindowPlan, WindowRows};
use crate::types::{WindowBound, WindowKind};

/// Stages and an aggregate that see each row once, with its time where the window's bounds stood: what
/// they make of a pane belongs to every window over it. `None` unless the windows hop, and nothing but
/// the group looks at their bounds.
pub fn by_panes(
    rows: &[RowStage],
    aggregate: &AggregatePlan,
) -> Option<(Vec<RowStage>, AggregatePlan)> {
    let is_window = |stage: &RowStage| matches!(stage, RowStage::Windows { .. });
    let place = rows.iter().position(is_window)?;
    let (before, rest) = rows.split_at(place);
    let (windows, after) = rest.split_first()?;
    let (windows, mut bounds) = with_times(windows)?;
    for stage in after {
        bounds = passed_on(stage, &bounds)?;
    }
    let window = aggregate.window.as_ref()?;
    let WindowRows::Bound(_, bound) = &window.rows else {
        return None;
    };
    let keys = aggregate.keys.iter().map(|(key, _)| key);
    let calls = aggregate.calls.iter();
    let calls = calls.flat_map(|call| call.arguments.iter().chain(&call.filter));
    if !is_bound(bound, &bounds) || keys.chain(calls).any(|expr| looks(expr, &bounds)) {
        return None;
    }
    let stages = before.iter().cloned().chain([windows]);
    let window = WindowPlan {
        rows: WindowRows::Time(Arc::clone(bound)),
        ..window.clone()
    };
    let aggregate = AggregatePlan {
        window: Some(window),
        ..aggregate.clone()
    };
    Some((stages.chain(after.iter().cloned()).collect(), aggregate))
}

/// A stage of hopping windows that puts the rows' times into the bounds' columns, and which these are.
fn with_times(stage: &RowStage) -> Option<(RowStage, Vec<bool>)> {
    let RowStage::Windows {
        kind: kind @ WindowKind::Hop { .. },
        time,
        form: WindowColumns::Bounds,
        schema,
    } = stage
    else {
        return None;
    };
    let columns = schema.fields().len();
    let first = columns - WindowBound::ALL.len();
    let stage = RowStage::Windows {
        kind: *kind,
        time: Arc::clone(time),
        form: WindowColumns::RowTime,
        schema: Arc::clone(schema),
    };
    Some((stage, (0..columns).map(|column| column >= first).collect()))
}

/// Where a stage passes the bounds on; `None` when it looks at them.
fn passed_on(stage: &RowStage, bounds: &[bool]) -> Option<Vec<bool>> {
    match stage {
        RowStage::Filter(condition) => (!looks(condition, bounds)).then(|| bounds.to_vec()),
        RowStage::Project { exprs, .. } => exprs
            .iter()
            .map(|expr| match is_bound(expr, bounds) {
                true => Some(true),
                false => (!looks(expr, bounds)).then_some(false),
            })
            .collect(),
        RowStage::Windows { .. } => None,
    }
}

/// Whether an expression is one of the bounds as it is.
fn is_bound(expr: &Arc<dyn PhysicalExpr>, bounds: &[bool]) -> bool {
    let column = expr.downcast_ref::<Column>();
    column.is_some_and(|column| bounds[column.index()])
}

fn looks(expr: &Arc<dyn PhysicalExpr>, bounds: &[bool]) -> bool {
    collect_columns(expr)
        .iter()
        .any(|column| bounds[column.index()])
}
