//! A live query's rows on their way to a client.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::datatypes::SchemaRef;
use futures::Stream;
use tokio::sync::mpsc;

use super::output::Emitted;
use super::status::QueryShared;
use super::supervisor::Control;
use crate::error::Result;

/// The rows of a live query as they are emitted; dropping it ends the query.
pub struct LiveRows {
    schema: SchemaRef,
    rows: mpsc::Receiver<Result<Emitted>>,
    shared: Arc<QueryShared>,
    control: Arc<Control>,
}

impl LiveRows {
    pub(super) fn new(
        schema: SchemaRef,
        rows: mpsc::Receiver<Result<Emitted>>,
        shared: Arc<QueryShared>,
        control: Arc<Control>,
    ) -> Self {
        Self {
            schema,
            rows,
            shared,
            control,
        }
    }

    /// What the rows look like.
    pub fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    /// The query, to look at.
    pub fn query(&self) -> &Arc<QueryShared> {
        &self.shared
    }
}

impl Stream for LiveRows {
    type Item = Result<Emitted>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.rows.poll_recv(context)
    }
}

impl Drop for LiveRows {
    fn drop(&mut self) {
        self.shared.stop();
        self.rows.close();
        self.control.wake();
    }
}
