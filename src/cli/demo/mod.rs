//! `headwater demo`: a broker, live trades, the server and every query of `queries/`, by one command.
//!
//! ```text
//! broker → topics → the feed's history → server → queries registered → guide → feed goes on
//! ```

mod feed;
mod guide;
mod queries;

use std::process::ExitCode;
use std::time::Duration;

use super::node::Node;
use super::progress::{Progress, catching_up};
use super::signals;
use crate::broker::{Broker, BrokerConfig};
use crate::clock;
use crate::config::{Config, Settings};
use crate::error::Result;
use crate::task::{self, Shutdown};
use crate::telemetry;
use crate::types::KafkaConnection;
use feed::{Feed, FeedOptions};

/// Bytes that a partition of the demo's broker keeps: with four of them, some hours at 1,000 rows/s.
const RETENTION_BYTES_MAX: u64 = 512 << 20;

/// How often to look how far the views are.
const LOOK: Duration = Duration::from_millis(20);

/// The arguments of `headwater demo`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Trades a second
    #[arg(long, value_name = "ROWS", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,

    /// The same seed makes the same trades
    #[arg(long, value_name = "NUMBER", default_value_t = 42)]
    seed: u64,

    /// The embedded broker's port; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    kafka_port: u16,

    /// How many seconds of trades are there from the start
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    history_seconds: u32,

    #[command(flatten)]
    settings: Settings,
}

impl Options {
    fn feed(&self, connection: KafkaConnection) -> FeedOptions {
        FeedOptions {
            connection,
            rate: f64::from(self.rate),
            seed: self.seed,
            history: Duration::from_secs(u64::from(self.history_seconds)),
        }
    }
}

/// Runs until it is told to stop.
pub(super) async fn run(mut options: Options) -> Result<ExitCode> {
    options
        .settings
        .common
        .log_level
        .get_or_insert_with(|| "warn".to_owned());
    let config = options.settings.clone().resolve()?;
    telemetry::init(config.log_format, &config.log_level)?;
    let shutdown = signals::watch()?;
    let broker = Broker::start(BrokerConfig {
        listen: ([127, 0, 0, 1], options.kafka_port).into(),
        data_dir: Some(config.data_dir.join("broker")),
        retention_bytes_max: RETENTION_BYTES_MAX,
        ..BrokerConfig::default()
    })
    .await?;
    let done = run_on(&broker, &options, config, &shutdown).await;
    broker.shutdown().await;
    done.map(|()| signals::STOPPED)
}

async fn run_on(
    broker: &Broker,
    options: &Options,
    mut config: Config,
    shutdown: &Shutdown,
) -> Result<()> {
    let bootstrap_servers = broker.bootstrap_servers();
    config.kafka.bootstrap_servers = Some(bootstrap_servers.clone());
    config.kafka.properties.clear();
    let connection = config.kafka.connection().expect("it was just set");
    let feed = fill(options.feed(connection), shutdown).await?;
    let node = Node::start(config, shutdown).await?;
    queries::register(node.services()).await?;
    catch_up(&node, shutdown).await;
    node.announce()?;
    guide::print(node.address(), &bootstrap_servers)?;
    let feeding = feed.go_on()?;
    let served = node.run(shutdown.clone()).await;
    feeding.stop();
    served
}

/// Opens the feed and writes its history, with a bar.
async fn fill(options: FeedOptions, shutdown: &Shutdown) -> Result<Feed> {
    let shutdown = shutdown.clone();
    task::spawn_blocking(move || {
        let mut feed = Feed::open(&options)?;
        let mut progress = None;
        feed.send_history(&options, |done, total| {
            let progress = progress.get_or_insert_with(|| {
                let progress = Progress::share(total);
                progress.message("writing trades");
                progress
            });
            progress.position(done);
            !shutdown.is_requested()
        })?;
        if let Some(progress) = progress {
            progress.finish();
        }
        Ok(feed)
    })
    .await
}

/// Waits until the views have read what was there, and shows how far they are.
async fn catch_up(node: &Node, shutdown: &Shutdown) {
    let progress = Progress::counter();
    while !shutdown.is_requested() {
        let behind = catching_up(&node.services().engine);
        if behind.is_empty() {
            break;
        }
        progress.message(format!("catching up: {behind}"));
        clock::sleep(LOOK).await;
    }
    progress.finish();
}
