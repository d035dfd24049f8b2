//! SUBSCRIBE: a live query's rows with what each does to the rows before it.
//!
//! | column | type | |
//! |---|---|---|
//! | `op` | text | `insert`, `update_before`, `update_after`, `delete`; `progress` |
//! | `emitted_at` | timestamptz | the time of the micro-batch |
//! | `watermark` | timestamptz | with `progress = true`: how far it is, in rows of that op; else NULL |
//! | .. | | the columns of the query; NULL in rows of op `progress` |

use std::sync::Arc;

use arrow::array::{
    ArrayRef, RecordBatch, StringViewArray, TimestampMicrosecondArray, new_null_array,
};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use futures::{Stream, StreamExt};

use super::continuous;
use crate::engine::{Emitted, Materialized};
use crate::error::{Error, Result, SqlState, from_arrow};
use crate::session::{Rows, Session};
use crate::sql::{StreamQuery, Subscription};
use crate::types::{EventTime, ProcessingTime};

/// The op of a row that tells the watermark.
const PROGRESS: &str = "progress";

/// The rows of a subscription, as they are emitted.
pub(in crate::session) async fn rows(
    session: &mut Session,
    query: StreamQuery,
    subscription: &Subscription,
) -> Result<Rows> {
    let progress = subscription.progress;
    if let Some(view) = followed(session, subscription)? {
        let at = session.services().clock.now();
        let changes = view.subscribe(subscription.snapshot, progress, at)?;
        let schema = changes.schema();
        return Ok(shown(&schema, progress, changes));
    }
    let rows = continuous::start(session, query, progress).await?;
    let schema = rows.schema();
    Ok(shown(&schema, progress, rows))
}

/// The materialized view that is followed, if the subscription names one.
pub(in crate::session) fn followed(
    session: &Session,
    subscription: &Subscription,
) -> Result<Option<Arc<Materialized>>> {
    let Some(name) = subscription
        .relation
        .as_ref()
        .filter(|n| n.schema.is_none())
    else {
        return Ok(None);
    };
    let services = session.services();
    let definitions = services.catalog.snapshot();
    if !definitions.is_materialized_view(&name.name) {
        return Ok(None);
    }
    let view = services.engine.materialized(&name.name).ok_or_else(|| {
        Error::user(
            SqlState::ObjectNotInPrerequisiteState,
            format!("materialized view \"{}\" is not running", name.name),
        )
        .hint("SELECT name, state, last_error FROM headwater.queries tells why.")
        .at(Some(name.position))
    })?;
    Ok(Some(view))
}

/// The columns of a subscription to rows of this schema.
pub(in crate::session) fn columns(rows: &Schema, progress: bool) -> SchemaRef {
    let time = || DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
    let mut fields: Vec<FieldRef> = vec![
        Arc::new(Field::new("op", DataType::Utf8View, false)),
        Arc::new(Field::new("emitted_at", time(), false)),
    ];
    if progress {
        fields.push(Arc::new(Field::new("watermark", time(), true)));
    }
    fields.extend(rows.fields().iter().cloned());
    Arc::new(Schema::new(fields))
}

fn shown(
    schema: &SchemaRef,
    progress: bool,
    emitted: impl Stream<Item = Result<Emitted>> + Send + 'static,
) -> Rows {
    let columns = columns(schema, progress);
    let shape = Arc::clone(&columns);
    let batches = emitted.map(move |emitted| batch(&shape, progress, emitted?));
    Rows::live(columns, batches.boxed())
}

fn batch(shape: &SchemaRef, progress: bool, emitted: Emitted) -> Result<RecordBatch> {
    let columns = match emitted {
        Emitted::Changes { changes, at } => {
            let rows = changes.rows().num_rows();
            let ops: StringViewArray = (0..rows).map(|row| Some(changes.op(row).name())).collect();
            let mut columns: Vec<ArrayRef> = vec![Arc::new(ops), times(at.0, rows)];
            if progress {
                columns.push(new_null_array(shape.field(2).data_type(), rows));
            }
            columns.extend_from_slice(changes.rows().columns());
            columns
        }
        Emitted::Watermark { watermark, at } => {
            let (EventTime(watermark), ProcessingTime(at)) = (watermark, at);
            let op = StringViewArray::from_iter_values([PROGRESS]);
            let mut columns: Vec<ArrayRef> = vec![Arc::new(op), times(at, 1), times(watermark, 1)];
            let rest = shape.fields().iter().skip(columns.len());
            columns.extend(rest.map(|field| new_null_array(field.data_type(), 1)));
            columns
        }
    };
    RecordBatch::try_new(nullable(shape), columns).map_err(from_arrow)
}

/// The same columns; a row that tells the watermark has none of the query's values.
fn nullable(shape: &SchemaRef) -> SchemaRef {
    let fields: Vec<Field> = shape
        .fields()
        .iter()
        .map(|field| Field::clone(field).with_nullable(true))
        .collect();
    Arc::new(Schema::new(fields))
}

fn times(micros: i64, rows: usize) -> ArrayRef {
    let times = TimestampMicrosecondArray::from_iter_values(std::iter::repeat_n(micros, rows));
    Arc::new(times.with_timezone("+00:00"))
}
