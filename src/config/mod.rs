//! What a server is told: addresses, directories, how to log, default Kafka, limits.
//!
//! Owns the order in which the sources win: flags over environment over file over defaults.
//! Nothing else in the crate reads the environment.
//!
//! ```text
//! flags and HEADWATER_* (clap) → Settings ┐
//! --config FILE (TOML)         → Settings ┴→ Config (every value decided)
//! ```

mod file;
mod limits;

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

pub use limits::Limits;

use crate::error::Result;
use crate::types::KafkaConnection;

/// The file name of the default data directory, beside where the server was started.
const DATA_DIR_DEFAULT: &str = "./headwater-data";

/// Every value decided: what one server runs with.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where the PostgreSQL protocol is served.
    pub listen: SocketAddr,
    /// Where health and metrics are served.
    pub http_listen: SocketAddr,
    /// Definitions, and the embedded broker's topics in `demo`.
    pub data_dir: PathBuf,
    /// Where checkpoints lie: a directory or `s3://BUCKET/PATH`; `None`: in the data directory.
    pub checkpoint_dir: Option<String>,
    /// How to reach an object store, by the names of the AWS tools: with `aws_` before it what the
    /// environment says, which wins; without, what the file says.
    pub object_options: BTreeMap<String, String>,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which log lines there are: `info`, or `headwater=debug,rdkafka=warn`.
    pub log_level: String,
    /// For tables that do not say theirs: the cluster (if there is a default one) and properties.
    pub kafka: KafkaDefaults,
    /// Where sinks may send to.
    pub sinks: SinkRules,
    /// Upper bounds.
    pub limits: Limits,
}

/// Where sinks that speak HTTP may send to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SinkRules {
    /// Hosts, as `example.com` or `*.example.com`; `None`: every host.
    pub allowed_hosts: Option<Vec<String>>,
    /// Whether a host may have an address of a private network, of this machine or of its link.
    pub allow_private_addresses: bool,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

/// The Kafka cluster of tables that do not name one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KafkaDefaults {
    /// `host:port[,host:port..]`; `None`: every table must say its own.
    pub bootstrap_servers: Option<String>,
    /// librdkafka properties, for tables on the default cluster.
    pub properties: BTreeMap<String, String>,
}

impl KafkaDefaults {
    /// The default cluster's connection, if there is one.
    pub fn connection(&self) -> Option<KafkaConnection> {
        Some(KafkaConnection {
            bootstrap_servers: self.bootstrap_servers.clone()?,
            properties: self.properties.clone(),
        })
    }
}

/// One layer of settings; what it leaves open, the next layer decides.
#[derive(Debug, Clone, Default, PartialEq, clap::Args)]
pub struct Settings {
    /// Where to serve the PostgreSQL protocol [default: 127.0.0.1:5433]
    #[arg(long, env = "HEADWATER_LISTEN", value_name = "HOST:PORT", value_parser = address)]
    pub listen: Option<SocketAddr>,

    /// Where to serve health and metrics over HTTP [default: 127.0.0.1:8433]
    #[arg(long, env = "HEADWATER_HTTP_LISTEN", value_name = "HOST:PORT", value_parser = address)]
    pub http_listen: Option<SocketAddr>,

    /// Where definitions are kept; made if missing [default: ./headwater-data]
    #[arg(long, env = "HEADWATER_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// Where checkpoints are kept instead of there: a directory, or s3://BUCKET/PATH, reached by
    /// AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL [default: in the data
    /// directory]
    #[arg(long, env = "HEADWATER_CHECKPOINT_DIR", value_name = "PLACE")]
    pub checkpoint_dir: Option<String>,

    /// How to reach an object store; the file sets it, and the environment by the names of the AWS
    /// tools.
    #[arg(skip)]
    pub object_options: BTreeMap<String, String>,

    /// What commands without a server understand as well.
    #[command(flatten)]
    pub common: CommonSettings,
}

/// The settings that do not concern a server's ports and files.
#[derive(Debug, Clone, Default, PartialEq, clap::Args)]
pub struct CommonSettings {
    /// Settings as a TOML file; flags and environment win over it
    #[arg(long, env = "HEADWATER_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// How log lines look [default: text]
    #[arg(long, env = "HEADWATER_LOG_FORMAT", value_enum, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,

    /// Which log lines: a level, or like headwater=debug,rdkafka=warn [default: info]
    #[arg(long, env = "HEADWATER_LOG_LEVEL", value_name = "LEVEL")]
    pub log_level: Option<String>,

    /// The Kafka cluster of tables that name no bootstrap_servers
    #[arg(
        long = "kafka",
        env = "HEADWATER_KAFKA_BOOTSTRAP_SERVERS",
        value_name = "HOST:PORT[,HOST:PORT..]"
    )]
    pub kafka_bootstrap_servers: Option<String>,

    /// A librdkafka property for the cluster of --kafka; may be repeated
    #[arg(
        long = "kafka-property",
        visible_alias = "property",
        value_name = "NAME=VALUE"
    )]
    #[arg(value_parser = property)]
    pub kafka_properties: Vec<(String, String)>,

    /// Where sinks may send to; only the file sets it.
    #[arg(skip)]
    pub sinks: Option<SinkRules>,

    /// Limits that differ from the defaults; only the file sets them.
    #[arg(skip)]
    pub limits: Option<Limits>,
}

impl Settings {
    /// Reads the file that `config` names, if any, and decides every value.
    ///
    /// # Errors
    /// `F0000` when the file cannot be read or says something that no setting understands.
    pub fn resolve(self) -> Result<Config> {
        let file = match &self.common.config {
            Some(path) => file::read(path)?,
            None => Self::default(),
        };
        Ok(self.with_aws_environment().over(file).decide())
    }

    /// The variables that all programs know which reach such a store.
    fn with_aws_environment(mut self) -> Self {
        for (name, value) in variables("AWS_") {
            self.object_options.insert(name.to_ascii_lowercase(), value);
        }
        self
    }

    /// This layer, with the gaps filled from the layer below.
    fn over(self, below: Self) -> Self {
        let mut object_options = below.object_options;
        object_options.extend(self.object_options);
        Self {
            listen: self.listen.or(below.listen),
            http_listen: self.http_listen.or(below.http_listen),
            data_dir: self.data_dir.or(below.data_dir),
            checkpoint_dir: self.checkpoint_dir.or(below.checkpoint_dir),
            object_options,
            common: self.common.over(below.common),
        }
    }

    fn decide(self) -> Config {
        let common = self.common;
        Config {
            listen: self.listen.unwrap_or(([127, 0, 0, 1], 5433).into()),
            http_listen: self.http_listen.unwrap_or(([127, 0, 0, 1], 8433).into()),
            data_dir: self.data_dir.unwrap_or_else(|| DATA_DIR_DEFAULT.into()),
            checkpoint_dir: self.checkpoint_dir,
            object_options: self.object_options,
            log_format: common.log_format.unwrap_or(LogFormat::Text),
            log_level: common.log_level.unwrap_or_else(|| "info".to_owned()),
            kafka: KafkaDefaults {
                bootstrap_servers: common.kafka_bootstrap_servers,
                properties: common.kafka_properties.into_iter().collect(),
            },
            sinks: common.sinks.unwrap_or_default(),
            limits: common.limits.unwrap_or_default(),
        }
    }
}

impl CommonSettings {
    fn over(self, below: Self) -> Self {
        let mut kafka_properties = below.kafka_properties;
        kafka_properties.extend(self.kafka_properties);
        Self {
            config: self.config.or(below.config),
            log_format: self.log_format.or(below.log_format),
            log_level: self.log_level.or(below.log_level),
            kafka_bootstrap_servers: self
                .kafka_bootstrap_servers
                .or(below.kafka_bootstrap_servers),
            kafka_properties,
            sinks: self.sinks.or(below.sinks),
            limits: self.limits.or(below.limits),
        }
    }
}

impl From<CommonSettings> for Settings {
    fn from(common: CommonSettings) -> Self {
        Self {
            common,
            ..Self::default()
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Settings::default().decide()
    }
}

/// A variable of the environment, if it is set and is text.
pub(crate) fn environment(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "this is the door")]
    std::env::var(name).ok()
}

/// The variables of the environment whose names begin so; those that are no text are left out.
fn variables(prefix: &str) -> impl Iterator<Item = (String, String)> {
    let all = std::env::vars_os();
    let text =
        all.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    text.filter(move |(name, _)| name.starts_with(prefix))
}

/// Reads `host:port`; a name is looked up.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    let found = text
        .to_socket_addrs()
        .map_err(|error| format!("\"{text}\" is no address of the form host:port ({error})"))?;
    // Names such as localhost may have several addresses: the older family is what clients try.
    let mut found: Vec<SocketAddr> = found.collect();
    found.sort_by_key(SocketAddr::is_ipv6);
    found
        .first()
        .copied()
        .ok_or_else(|| format!("\"{text}\" has no address"))
}

/// Reads `name=value`.
fn property(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.to_owned()))
        }
        _ => Err(format!("\"{text}\" is not of the form name=value")),
    }
}

#[cfg(test)]
mod tests {
    use super::{CommonSettings, Config, Settings, address, property};

    #[test]
    fn the_upper_layer_wins_and_gaps_fall_through() {
        let above = Settings {
            listen: Some(([127, 0, 0, 1], 1).into()),
            common: CommonSettings {
                kafka_properties: vec![("a".into(), "above".into())],
                ..CommonSettings::default()
            },
            ..Settings::default()
        };
        let below = Settings {
            listen: Some(([127, 0, 0, 1], 2).into()),
            http_listen: Some(([127, 0, 0, 1], 3).into()),
            common: CommonSettings {
                kafka_properties: vec![("a".into(), "below".into()), ("b".into(), "below".into())],
                ..CommonSettings::default()
            },
            ..Settings::default()
        };
        let config = above.over(below).decide();
        assert_eq!(config.listen.port(), 1);
        assert_eq!(config.http_listen.port(), 3);
        assert_eq!(config.log_level, "info");
        assert_eq!(config.kafka.properties["a"], "above");
        assert_eq!(config.kafka.properties["b"], "below");
    }

    #[test]
    fn the_defaults_are_on_loopback() {
        let config = Config::default();
        assert_eq!(config.listen.to_string(), "127.0.0.1:5433");
        assert_eq!(config.http_listen.to_string(), "127.0.0.1:8433");
        assert_eq!(config.data_dir.to_str(), Some("./headwater-data"));
        assert_eq!(config.kafka.connection(), None);
    }

    #[test]
    fn addresses_need_a_port() {
        assert_eq!(address("127.0.0.1:80").unwrap().port(), 80);
        assert!(address("localhost:80").unwrap().is_ipv4());
        assert!(address("127.0.0.1").is_err());
        assert!(address("127.0.0.1:99999").is_err());
    }

    #[test]
    fn properties_keep_further_equal_signs() {
        assert_eq!(
            property("sasl.password=a=b").unwrap(),
            ("sasl.password".to_owned(), "a=b".to_owned())
        );
        assert!(property("novalue").is_err());
        assert!(property("=x").is_err());
    }
}
