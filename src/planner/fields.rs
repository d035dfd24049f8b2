//! `(row).field`: a field that the row does not have is told with those that it has.

use arrow::datatypes::{DataType, Fields};
use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawFieldAccessExpr};
use datafusion::logical_expr::{ExprSchemable, GetFieldAccess};

use crate::error::{Culprit, Error, SqlState, nearest};

/// Looks at the fields that are taken out of rows.
#[derive(Debug)]
pub(super) struct RowFields;

impl ExprPlanner for RowFields {
    fn plan_field_access(
        &self,
        access: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        if let GetFieldAccess::NamedStructField { name } = &access.field_access
            && let Some(Some(name)) = name.try_as_str()
            && let Ok(DataType::Struct(fields)) = access.expr.get_type(schema)
            && fields.find(name).is_none()
        {
            return Err(missing(name, &fields).into());
        }
        Ok(PlannerResult::Original(access))
    }
}

fn missing(name: &str, fields: &Fields) -> Error {
    let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
    let error = Error::user(
        SqlState::UndefinedColumn,
        format!("the row has no field \"{name}\""),
    )
    .about(Culprit::Field(name.to_owned()));
    match nearest(name, &names) {
        Some(near) => error.hint(format!("Perhaps you meant the field \"{near}\".")),
        None => error.hint(format!("It has {}.", names.join(", "))),
    }
}
