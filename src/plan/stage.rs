//! Steps that look at one row at a time: compiled expressions, evaluated a batch at once.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::physical_expr::PhysicalExpr;

/// A stateless step.
#[derive(Debug, Clone)]
pub enum RowStage {
    /// Keeps the rows for which the expression is true.
    Filter(Arc<dyn PhysicalExpr>),
    /// Computes new columns from the old ones.
    Project {
        /// One expression a column of `schema`.
        exprs: Vec<Arc<dyn PhysicalExpr>>,
        /// What comes out.
        schema: SchemaRef,
    },
}

impl RowStage {
    /// A line for `EXPLAIN`.
    pub fn describe(&self) -> String {
        match self {
            Self::Filter(predicate) => format!("filter: {predicate}"),
            Self::Project { exprs, schema } => {
                let columns: Vec<String> = exprs
                    .iter()
                    .zip(schema.fields())
                    .map(|(expr, field)| column_text(expr, field.name()))
                    .collect();
                format!("project: {}", columns.join(", "))
            }
        }
    }
}

fn column_text(expr: &Arc<dyn PhysicalExpr>, name: &str) -> String {
    let text = expr.to_string();
    if text.split('@').next() == Some(name) {
        name.to_owned()
    } else {
        format!("{text} as {name}")
    }
}
