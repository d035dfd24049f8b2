//! What a server does with its catalog when it starts: every view, sink and alert runs again.

use std::sync::Arc;

use super::Services;
use super::handler::{create_alert, create_materialized_view, create_sink};
use crate::catalog::Definition;
use crate::engine::QueryKind;

/// Starts the queries of all definitions; one that cannot start is shown as failed. Materialized views
/// have the rows of their last checkpoints when this returns.
pub async fn start_queries(services: &Arc<Services>) {
    let definitions = services.catalog.snapshot();
    // A query over a materialized view needs that view's.
    for definition in definitions.in_order() {
        let (kind, text, started) = match definition {
            Definition::MaterializedView(view) => (
                QueryKind::MaterializedView,
                &view.query.text,
                create_materialized_view::start(services, view).await,
            ),
            Definition::Sink(sink) => match &sink.query {
                Some(query) => (
                    QueryKind::Sink,
                    &query.text,
                    create_sink::start(services, sink).await,
                ),
                None => continue,
            },
            Definition::Alert(alert) => (
                QueryKind::Alert,
                &alert.watched.text,
                create_alert::start(services, alert).await,
            ),
            Definition::Table(_) | Definition::View(_) | Definition::Secret(_) => continue,
        };
        if let Err(error) = started {
            let name = definition.name();
            tracing::error!(query = %name, error = %error, "query cannot be started");
            services.engine.failed(kind, name, text, error);
        }
    }
    services.engine.views_there().await;
}
