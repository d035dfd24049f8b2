//! `headwater serve`: the server, until it is told to stop.

use std::process::ExitCode;

use super::node::Node;
use super::signals;
use crate::config::Settings;
use crate::error::Result;
use crate::telemetry;

/// Runs until it is told to stop.
pub(super) async fn run(settings: Settings) -> Result<ExitCode> {
    let config = settings.resolve()?;
    telemetry::init(config.log_format, &config.log_level)?;
    let shutdown = signals::watch()?;
    let node = Node::start(config, &shutdown).await?;
    node.announce()?;
    node.run(shutdown).await?;
    Ok(signals::STOPPED)
}
