//! Lets a statement be cancelled while an operator multiplies rows.
//!
//! A task ends when it gives way to others. DataFusion's leaves do that every so many batches, but a
//! join may make a great many batches of one of theirs: an aggregate above it would then never give
//! way, and compute on for hours after its client has gone.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;

/// Makes the output of every operator that multiplies rows give way.
#[derive(Debug)]
pub(super) struct Interruptible;

impl PhysicalOptimizerRule for Interruptible {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            if multiplies_rows(node.as_ref()) {
                Ok(Transformed::yes(Arc::new(CooperativeExec::new(node)) as _))
            } else {
                Ok(Transformed::no(node))
            }
        })
        .map(|transformed| transformed.data)
    }

    fn name(&self) -> &str {
        "interruptible"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn multiplies_rows(node: &dyn ExecutionPlan) -> bool {
    node.name().ends_with("JoinExec") || ["UnnestExec", "WindowExec"].contains(&node.name())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use datafusion::execution::SessionStateBuilder;
    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::Interruptible;

    /// Far beyond what anything takes; the queries would run for days.
    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn a_join_that_makes_rows_for_days_ends_when_it_is_cancelled() {
        let state = SessionStateBuilder::new()
            .with_default_features()
            .with_config(SessionConfig::new().with_target_partitions(1))
            .with_physical_optimizer_rule(Arc::new(Interruptible))
            .build();
        let context = SessionContext::new_with_state(state);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_time()
            .build()
            .unwrap();
        let many = "generate_series(1, 1000000)";
        for query in [
            format!("SELECT count(*) FROM {many} AS a(v), {many} AS b(v)"),
            format!(
                "SELECT count(a.v + b.v) FROM {many} AS a(v) JOIN {many} AS b(v) ON a.v % 2 = b.v % 2"
            ),
            format!("SELECT count(*) FROM {many} AS a(v) JOIN {many} AS b(v) ON a.v > b.v"),
        ] {
            let plan = runtime.block_on(context.sql(&query)).unwrap();
            let ended = runtime.block_on(async {
                #[expect(clippy::disallowed_methods, reason = "it is awaited here")]
                let task = tokio::spawn(plan.collect());
                let begun = Duration::from_millis(300);
                let early = tokio::time::timeout(begun, std::future::pending::<()>()).await;
                assert!(early.is_err(), "it only passes time");
                task.abort();
                tokio::time::timeout(PATIENCE, task).await
            });
            if ended.is_err() {
                runtime.shutdown_background();
                panic!("still at it: {query}");
            }
        }
    }
}
