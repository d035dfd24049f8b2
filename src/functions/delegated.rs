//! Functions of ours in the place of DataFusion's, which still do what ours leave to them.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::Result;
use datafusion::logical_expr::ScalarUDF;
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;

/// The types that a function takes in the place of these.
pub(super) fn coerced(function: &ScalarUDF, types: &[DataType]) -> Result<Vec<DataType>> {
    let field =
        |data_type: &DataType| -> FieldRef { Arc::new(Field::new("", data_type.clone(), true)) };
    let fields: Vec<FieldRef> = types.iter().map(field).collect();
    let fields = fields_with_udf(&fields, function)?;
    Ok(fields
        .iter()
        .map(|field| field.data_type().clone())
        .collect())
}
