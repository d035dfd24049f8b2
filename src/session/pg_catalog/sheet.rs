//! Small tables made column by column.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Float32Array, Int16Array, Int32Array, ListArray, RecordBatch,
    StringViewArray, new_null_array,
};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use datafusion::error::Result;
use datafusion_pg_catalog::pg_catalog::oid_field::{kind, oid_field};

/// A table of `rows` rows being made.
pub(super) struct Sheet {
    rows: usize,
    fields: Vec<Field>,
    columns: Vec<ArrayRef>,
}

impl Sheet {
    pub(super) fn new(rows: usize) -> Self {
        Self {
            rows,
            fields: Vec::new(),
            columns: Vec::new(),
        }
    }

    fn add(mut self, name: &str, array: ArrayRef) -> Self {
        self.fields
            .push(Field::new(name, array.data_type().clone(), true));
        self.columns.push(array);
        self
    }

    /// Object identifiers.
    pub(super) fn oid(mut self, name: &str, values: impl IntoIterator<Item = i32>) -> Self {
        self.fields.push(oid_field(name, kind::OID, true));
        self.columns
            .push(Arc::new(Int32Array::from_iter_values(values)));
        self
    }

    pub(super) fn text<S: AsRef<str>>(
        self,
        name: &str,
        values: impl IntoIterator<Item = S>,
    ) -> Self {
        self.add(name, Arc::new(StringViewArray::from_iter_values(values)))
    }

    pub(super) fn nullable_text(
        self,
        name: &str,
        values: impl IntoIterator<Item = Option<String>>,
    ) -> Self {
        self.add(
            name,
            Arc::new(values.into_iter().collect::<StringViewArray>()),
        )
    }

    pub(super) fn int4(self, name: &str, values: impl IntoIterator<Item = i32>) -> Self {
        self.add(name, Arc::new(Int32Array::from_iter_values(values)))
    }

    pub(super) fn nullable_int4(
        self,
        name: &str,
        values: impl IntoIterator<Item = Option<i32>>,
    ) -> Self {
        self.add(name, Arc::new(values.into_iter().collect::<Int32Array>()))
    }

    pub(super) fn int2(self, name: &str, values: impl IntoIterator<Item = i16>) -> Self {
        self.add(name, Arc::new(Int16Array::from_iter_values(values)))
    }

    pub(super) fn bool(self, name: &str, values: impl IntoIterator<Item = bool>) -> Self {
        self.add(
            name,
            Arc::new(values.into_iter().map(Some).collect::<BooleanArray>()),
        )
    }

    /// The same text in each row.
    pub(super) fn same_text(self, name: &str, value: &str) -> Self {
        let rows = self.rows;
        self.text(name, std::iter::repeat_n(value, rows))
    }

    pub(super) fn same_oid(self, name: &str, value: i32) -> Self {
        let rows = self.rows;
        self.oid(name, std::iter::repeat_n(value, rows))
    }

    pub(super) fn same_int4(self, name: &str, value: i32) -> Self {
        let rows = self.rows;
        self.int4(name, std::iter::repeat_n(value, rows))
    }

    pub(super) fn same_int2(self, name: &str, value: i16) -> Self {
        let rows = self.rows;
        self.int2(name, std::iter::repeat_n(value, rows))
    }

    pub(super) fn same_float4(self, name: &str, value: f32) -> Self {
        let rows = self.rows;
        self.add(
            name,
            Arc::new(Float32Array::from_iter_values(std::iter::repeat_n(
                value, rows,
            ))),
        )
    }

    pub(super) fn same_bool(self, name: &str, value: bool) -> Self {
        let rows = self.rows;
        self.bool(name, std::iter::repeat_n(value, rows))
    }

    /// A column of nulls.
    pub(super) fn nulls(self, name: &str, data_type: &DataType) -> Self {
        let array = new_null_array(data_type, self.rows);
        self.add(name, array)
    }

    /// A column of null arrays of text: options, privileges.
    pub(super) fn no_texts(self, name: &str) -> Self {
        let item = Arc::new(Field::new_list_field(DataType::Utf8, true));
        let array = ListArray::new_null(item, self.rows);
        self.add(name, Arc::new(array))
    }

    /// The finished table.
    ///
    /// # Errors
    /// When a column has another number of rows, which is a mistake of ours.
    pub(super) fn table(self) -> Result<Arc<dyn TableProvider>> {
        debug_assert!(
            self.columns.iter().all(|column| column.len() == self.rows),
            "every column has as many rows as the table"
        );
        let schema = Arc::new(Schema::new(self.fields));
        let batch = RecordBatch::try_new(Arc::clone(&schema), self.columns)?;
        Ok(Arc::new(MemTable::try_new(schema, vec![vec![batch]])?))
    }
}
