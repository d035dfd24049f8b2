//! Comparisons that PostgreSQL does not have: of a text with a number. Taken as a cast of the text they would reject
//! each message whose text is no number, when it comes.

use arrow::datatypes::{DataType, Field};
use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, ExprSchemable};

use crate::catalog::sql_type_name;
use crate::error::{Culprit, Error, SqlState};

/// Looks at the operands of a comparison.
///
/// # Errors
/// One is a text that is not written down in the query, and the other a number.
pub(super) fn check(expr: &Expr, schema: &DFSchema) -> Result<()> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if op.supports_propagation() => {
            pair(left, &op.to_string(), right, schema)
        }
        Expr::Between(Between {
            expr, low, high, ..
        }) => {
            pair(expr, ">=", low, schema)?;
            pair(expr, "<=", high, schema)
        }
        Expr::InList(InList { expr, list, .. }) => {
            let mut list = list.iter();
            list.try_for_each(|item| pair(expr, "=", item, schema))
        }
        _ => Ok(()),
    }
}

fn pair(left: &Expr, operator: &str, right: &Expr, schema: &DFSchema) -> Result<()> {
    let (Ok(one), Ok(other)) = (left.get_type(schema), right.get_type(schema)) else {
        return Ok(());
    };
    let (text, number) = match (is_text(left, &one), is_text(right, &other)) {
        (true, false) if other.is_numeric() => (left, &other),
        (false, true) if one.is_numeric() => (right, &one),
        _ => return Ok(()),
    };
    let name = |data_type: &DataType| sql_type_name(&Field::new("", data_type.clone(), true));
    let message = format!(
        "operator does not exist: {} {operator} {}",
        name(&one),
        name(&other)
    );
    let mut columns: Vec<String> = text
        .column_refs()
        .into_iter()
        .map(|column| column.name.clone())
        .collect();
    columns.sort_unstable();
    let shown = match text {
        Expr::Column(column) => column.name.as_str(),
        _ => "(..)",
    };
    let mut error = Error::user(SqlState::UndefinedFunction, message).hint(format!(
        "A text is compared with a number: cast it, as in {shown}::{}.",
        name(number)
    ));
    if let Some(column) = columns.into_iter().next() {
        error = error.about(Culprit::Compared(column));
    }
    Err(error.into())
}

/// A text that is written down in the query takes the type of what it is compared with.
fn is_text(expr: &Expr, data_type: &DataType) -> bool {
    data_type.is_string() && !matches!(expr, Expr::Literal(..) | Expr::Placeholder(_))
}
