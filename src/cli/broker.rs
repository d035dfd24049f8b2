//! `headwater broker`: the embedded Kafka broker alone, for trials and tests.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use super::listen::{self, Port};
use super::output;
use super::signals;
use crate::broker::{Broker, BrokerConfig};
use crate::config::{LogFormat, address};
use crate::error::Result;
use crate::telemetry;

/// For messages about the address.
const PORT: Port = Port {
    purpose: "Kafka clients",
    flag: "--listen",
};

/// The arguments of `headwater broker`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Where to serve Kafka's protocol
    #[arg(long, env = "HEADWATER_BROKER_LISTEN", value_name = "HOST:PORT", value_parser = address)]
    #[arg(default_value = "127.0.0.1:9092")]
    listen: SocketAddr,

    /// Where topics are kept; without it they are kept in memory and are gone at the end
    #[arg(long, env = "HEADWATER_BROKER_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// Partitions of a topic that is made without saying how many
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: i32,

    /// Bytes that a partition keeps at most; the oldest go first
    #[arg(long, value_name = "BYTES", default_value_t = BrokerConfig::default().retention_bytes_max)]
    retention_bytes_max: u64,

    /// Make a topic when a client asks for one that does not exist
    #[arg(long)]
    auto_create_topics: bool,

    /// How log lines look
    #[arg(long, env = "HEADWATER_LOG_FORMAT", value_enum, default_value = "text")]
    log_format: LogFormat,

    /// Which log lines: a level, or like headwater=debug,info
    #[arg(
        long,
        env = "HEADWATER_LOG_LEVEL",
        value_name = "LEVEL",
        default_value = "info"
    )]
    log_level: String,
}

/// Runs until it is told to stop.
pub(super) async fn run(options: Options) -> Result<ExitCode> {
    telemetry::init(options.log_format, &options.log_level)?;
    let mut shutdown = signals::watch()?;
    listen::require_loopback(options.listen, PORT)?;
    let broker = Broker::start(BrokerConfig {
        listen: options.listen,
        data_dir: options.data_dir,
        default_partitions: options.partitions,
        retention_bytes_max: options.retention_bytes_max,
        auto_create_topics: options.auto_create_topics,
        ..BrokerConfig::default()
    })
    .await?;
    output::line(&format!(
        "listening on {} (kafka)",
        broker.bootstrap_servers()
    ))?;
    shutdown.requested().await;
    broker.shutdown().await;
    Ok(signals::STOPPED)
}
