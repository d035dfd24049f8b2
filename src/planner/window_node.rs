//! The one logical node that every spelling of a window becomes.
//!
//! ```text
//! input: k, v, ts  ─►  k, v, ts, window_start, window_end, window_time
//! ```
//! A row in several windows comes once for each of them, a row in none not at all: a null time, or
//! one so far away that its window cannot be told. A snapshot runs the node as it stands (see
//! `window_exec`); a continuous query makes a step of its own of it.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DFSchema, DFSchemaRef, TableReference, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    Expr, ExprSchemable, Extension, LogicalPlan, UserDefinedLogicalNodeCore,
};

use crate::types::{WindowBound, WindowKind};

/// Adds the windows that a row lies in to its columns: window_start, window_end, window_time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct WindowNode {
    /// Whose rows.
    pub(super) input: LogicalPlan,
    /// Which windows.
    pub(super) kind: WindowKind,
    /// The time that decides; a column of the input, a timestamp in microseconds.
    pub(super) time: Expr,
    /// Keys of a session (PARTITION BY); empty for other windows and for sessions over all rows.
    pub(super) partition: Vec<Expr>,
    /// How long a window waits for late rows after the watermark has reached its end. Microseconds.
    pub(super) grace: i64,
    /// Invariant: the input's columns, then the bounds, which are the last three.
    schema: DFSchemaRef,
}

impl WindowNode {
    /// The windows of `input`'s rows by its column `time`.
    ///
    /// # Errors
    /// When the time is no timestamp in microseconds.
    pub(super) fn try_new(
        input: LogicalPlan,
        kind: WindowKind,
        time: Expr,
        partition: Vec<Expr>,
        grace: i64,
    ) -> Result<Self> {
        let schema = schema(&input, &time)?;
        Ok(Self {
            input,
            kind,
            time,
            partition,
            grace,
            schema,
        })
    }

    /// The node as a plan.
    pub(super) fn into_plan(self) -> LogicalPlan {
        LogicalPlan::Extension(Extension {
            node: Arc::new(self),
        })
    }

    /// The window node that a plan is, if it is one.
    pub(super) fn of(plan: &LogicalPlan) -> Option<&Self> {
        match plan {
            LogicalPlan::Extension(extension) => extension.node.as_any().downcast_ref(),
            _ => None,
        }
    }

    /// Which bound the column at `index` of the output is; `None` for a column of the input.
    pub(super) fn bound_at(&self, index: usize) -> Option<WindowBound> {
        let first = self.input.schema().fields().len();
        WindowBound::ALL.get(index.checked_sub(first)?).copied()
    }
}

fn schema(input: &LogicalPlan, time: &Expr) -> Result<DFSchemaRef> {
    let of_input = input.schema();
    let time_type = time.get_type(of_input)?;
    if !matches!(time_type, DataType::Timestamp(_, _)) {
        return internal_err!("a window over {time_type}");
    }
    let mut fields: Vec<(Option<TableReference>, FieldRef)> = of_input
        .iter()
        .map(|(relation, field)| (relation.cloned(), Arc::clone(field)))
        .collect();
    fields.extend(
        bound_fields(&time_type)
            .into_iter()
            .map(|field| (None, field)),
    );
    let schema = DFSchema::new_with_metadata(fields, of_input.metadata().clone())?;
    Ok(Arc::new(schema))
}

/// The columns of the bounds.
pub(super) fn bound_fields(time: &DataType) -> [FieldRef; 3] {
    WindowBound::ALL.map(|bound| Arc::new(Field::new(bound.column(), time.clone(), false)))
}

impl PartialOrd for WindowNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let own = (&self.input, self.kind, &self.time, &self.partition);
        let others = (&other.input, other.kind, &other.time, &other.partition);
        let order = own.partial_cmp(&others)?;
        Some(order.then(self.grace.cmp(&other.grace)))
    }
}

impl UserDefinedLogicalNodeCore for WindowNode {
    fn name(&self) -> &'static str {
        "EventWindow"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        let time = std::iter::once(self.time.clone());
        time.chain(self.partition.iter().cloned()).collect()
    }

    /// A condition on the bounds must stay above. So must any on a session that is not on its keys
    /// alone: without some of a key's rows its sessions are others.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        let bounds = WindowBound::ALL.map(|bound| bound.column().to_owned());
        let mut kept: HashSet<String> = bounds.into();
        if let WindowKind::Session { .. } = self.kind {
            let is_key = |name: &str| {
                let named = |key: &Expr| matches!(key, Expr::Column(column) if column.name == name);
                self.partition.iter().any(named)
            };
            let columns = self
                .input
                .schema()
                .fields()
                .iter()
                .map(|field| field.name());
            kept.extend(columns.filter(|name| !is_key(name)).cloned());
        }
        kept
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventWindow: {} of {}", self.kind, self.time)?;
        if !self.partition.is_empty() {
            let keys: Vec<String> = self.partition.iter().map(Expr::to_string).collect();
            write!(f, ", by [{}]", keys.join(", "))?;
        }
        if self.grace != 0 {
            write!(f, ", grace {} us", self.grace)?;
        }
        Ok(())
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let mut exprs = exprs.into_iter();
        let mut inputs = inputs.into_iter();
        let (Some(time), Some(input)) = (exprs.next(), inputs.next()) else {
            return internal_err!("a window has an input and a time");
        };
        Self::try_new(input, self.kind, time, exprs.collect(), self.grace)
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let input = self.input.schema();
        let mut needed: Vec<usize> = output_columns
            .iter()
            .copied()
            .filter(|index| self.bound_at(*index).is_none())
            .collect();
        for expr in std::iter::once(&self.time).chain(&self.partition) {
            for column in expr.column_refs() {
                needed.push(input.maybe_index_of_column(column)?);
            }
        }
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }
}
