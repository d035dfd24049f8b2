//! What the direct fetch makes of a table's properties: all that it does not understand it leaves to
//! librdkafka.
//!
//! Invariant: a property is either followed, or known to mean nothing to one who reads, or a reason
//! not to serve.

use std::sync::Arc;
use std::time::Duration;

use super::Stop;
use super::sasl::Credentials;
use super::spares::Spares;
use super::tls;
use crate::source::kafka::properties::{self, Fetching, Properties};
use crate::source::read::{ReaderOptions, WhyLibrary};

/// Properties that are followed here.
const FOLLOWED: &[&str] = &[
    "client.id",
    "enable.ssl.certificate.verification",
    "fetch.max.bytes",
    "fetch.message.max.bytes",
    "fetch.min.bytes",
    "fetch.wait.max.ms",
    "max.partition.fetch.bytes",
    "receive.message.max.bytes",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.password",
    "sasl.username",
    "security.protocol",
    "socket.connection.setup.timeout.ms",
    "socket.timeout.ms",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.certificate.pem",
    "ssl.endpoint.identification.algorithm",
    "ssl.key.location",
    "ssl.key.pem",
];

/// Properties of those who write or belong to a group; they change nothing for a reader.
const OF_OTHERS: &[&str] = &[
    "acks",
    "batch.num.messages",
    "batch.size",
    "compression.codec",
    "compression.level",
    "compression.type",
    "delivery.timeout.ms",
    "group.id",
    "linger.ms",
    "log_level",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "message.max.bytes",
    "message.send.max.retries",
    "message.timeout.ms",
    "partitioner",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "queue.buffering.max.ms",
    "request.required.acks",
    "request.timeout.ms",
    "retries",
    "retry.backoff.ms",
    "session.timeout.ms",
    "sticky.partitioning.linger.ms",
];

/// Bytes of one answer, whatever size of reads is asked for.
const ANSWER_BYTES_MIN: usize = 64 << 10;
const ANSWER_BYTES_MAX: usize = 2 << 20;
const DEFAULT_PORT: u16 = 9092;

/// How to connect and to fetch.
#[derive(Debug)]
pub(super) struct Setup {
    /// Host and port of the servers to begin with.
    pub(super) servers: Vec<(String, u16)>,
    pub(super) client_id: String,
    pub(super) tls: Option<Arc<rustls::ClientConfig>>,
    pub(super) credentials: Option<Credentials>,
    /// For a connection until it can be asked.
    pub(super) connect_timeout: Duration,
    /// For an answer, beyond what its question lets the broker wait.
    pub(super) answer_timeout: Duration,
    /// How long the broker keeps an empty fetch.
    pub(super) wait: Duration,
    pub(super) bytes_min: i32,
    /// Bytes of an answer, which the broker exceeds for one large batch only.
    pub(super) answer_bytes: i32,
    /// Bytes of one partition in it.
    pub(super) partition_bytes: i32,
    /// An answer that announces more is not taken.
    pub(super) answer_bytes_max: usize,
    /// Where answers go.
    pub(super) spares: Spares,
}

impl Setup {
    pub(super) fn of(options: &ReaderOptions) -> Result<Self, Stop> {
        let fetching = Fetching {
            read_committed: options.read_committed,
            rows_max: options.rows_max,
            bytes_max: options.bytes_max,
            end_wait_ms: u32::try_from(options.end_wait.as_millis()).unwrap_or(u32::MAX),
        };
        let given = &options.connection.properties;
        let all = properties::for_reader(&options.connection, fetching).map_err(Stop::Failed)?;
        let known = |name: &str| FOLLOWED.contains(&name) || OF_OTHERS.contains(&name);
        if !given.keys().all(|name| known(name)) {
            return Err(Stop::Unserved(WhyLibrary::Property));
        }
        let protocol = text(&all, "security.protocol").unwrap_or("plaintext");
        let (with_tls, with_sasl) = match protocol.to_ascii_lowercase().as_str() {
            "plaintext" => (false, false),
            "ssl" => (true, false),
            "sasl_plaintext" => (false, true),
            "sasl_ssl" => (true, true),
            _ => return Err(Stop::Unserved(WhyLibrary::Property)),
        };
        let answer_bytes = options.bytes_max.clamp(ANSWER_BYTES_MIN, ANSWER_BYTES_MAX);
        let answer_bytes = match given.contains_key("fetch.max.bytes") {
            true => number(&all, "fetch.max.bytes")?,
            false => bounded(answer_bytes),
        };
        let of_partition = ["fetch.message.max.bytes", "max.partition.fetch.bytes"];
        let of_partition = of_partition.iter().find(|name| given.contains_key(**name));
        let partition_bytes = match of_partition {
            Some(name) => number(&all, name)?,
            None => fair_share(answer_bytes, options.assignment.len()),
        };
        Ok(Self {
            servers: servers(&options.connection.bootstrap_servers)?,
            client_id: text(&all, "client.id").unwrap_or_default().to_owned(),
            tls: with_tls.then(|| tls::config(&all)).transpose()?,
            credentials: with_sasl.then(|| Credentials::of(&all)).transpose()?,
            connect_timeout: milliseconds(&all, "socket.connection.setup.timeout.ms")?,
            answer_timeout: milliseconds(&all, "socket.timeout.ms")?,
            wait: milliseconds(&all, "fetch.wait.max.ms")?,
            bytes_min: number(&all, "fetch.min.bytes")?,
            answer_bytes,
            partition_bytes,
            answer_bytes_max: number(&all, "receive.message.max.bytes")?.unsigned_abs() as usize,
            spares: Spares::default(),
        })
    }
}

/// Half of the partitions may fill an answer, so that one with much to tell does not wait for the
/// others, and none of those is left behind.
fn fair_share(answer_bytes: i32, partitions: usize) -> i32 {
    let partitions = i32::try_from(partitions).unwrap_or(i32::MAX);
    let share = (answer_bytes / partitions.max(1)).saturating_mul(2);
    share.clamp(
        bounded(ANSWER_BYTES_MIN),
        answer_bytes.max(bounded(ANSWER_BYTES_MIN)),
    )
}

fn bounded(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}

pub(super) fn text<'a>(properties: &'a Properties, name: &str) -> Option<&'a str> {
    properties.get(name).map(String::as_str)
}

/// A value that is no number is for the library to refuse.
fn number(properties: &Properties, name: &str) -> Result<i32, Stop> {
    let value = text(properties, name).and_then(|text| text.trim().parse().ok());
    value
        .filter(|value: &i32| *value >= 0)
        .ok_or(Stop::Unserved(WhyLibrary::Property))
}

fn milliseconds(properties: &Properties, name: &str) -> Result<Duration, Stop> {
    let value = number(properties, name)?;
    Ok(Duration::from_millis(value.unsigned_abs().into()))
}

fn servers(list: &str) -> Result<Vec<(String, u16)>, Stop> {
    let servers = list
        .split(',')
        .map(str::trim)
        .filter(|server| !server.is_empty());
    let servers: Option<Vec<_>> = servers.map(server).collect();
    servers
        .filter(|servers| !servers.is_empty())
        .ok_or(Stop::Unserved(WhyLibrary::Property))
}

/// `host`, `host:port`, `[address]:port`; the library knows more spellings.
fn server(text: &str) -> Option<(String, u16)> {
    if text.contains('/') {
        return None;
    }
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (host, port) = match bracketed {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None if text.matches(':').count() > 1 => (text, None),
        None => text
            .split_once(':')
            .map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map_or(Some(DEFAULT_PORT), |port| port.parse().ok())?;
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Setup, Stop, fair_share, servers};
    use crate::source::read::{ReaderOptions, WhyLibrary};
    use crate::types::{FetchMode, KafkaConnection, Offset, PartitionId};

    fn setup(properties: &[(&str, &str)]) -> Result<Setup, Stop> {
        let properties = properties
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Setup::of(&ReaderOptions {
            connection: KafkaConnection {
                bootstrap_servers: "one:1, two".to_owned(),
                properties: properties.collect(),
            },
            topic: "t".to_owned(),
            assignment: vec![(PartitionId(0), Offset(0))],
            read_committed: true,
            with_keys: false,
            with_headers: false,
            rows_max: 8192,
            bytes_max: 1 << 20,
            end_wait: Duration::from_millis(50),
            fetch: FetchMode::Auto,
        })
    }

    fn why(properties: &[(&str, &str)]) -> Option<WhyLibrary> {
        match setup(properties) {
            Err(Stop::Unserved(why)) => Some(why),
            Err(Stop::Failed(error)) => panic!("{error}"),
            Ok(_) => None,
        }
    }

    #[test]
    fn what_is_not_understood_is_left_to_the_library() {
        assert_eq!(why(&[]), None);
        assert_eq!(why(&[("linger.ms", "5"), ("client.id", "mine")]), None);
        let property = Some(WhyLibrary::Property);
        assert_eq!(why(&[("debug", "all")]), property);
        assert_eq!(why(&[("socket.timeout.ms", "soon")]), property);
        assert_eq!(why(&[("security.protocol", "other")]), property);
        let gssapi = [
            ("security.protocol", "SASL_PLAINTEXT"),
            ("sasl.mechanisms", "GSSAPI"),
        ];
        assert_eq!(why(&gssapi), Some(WhyLibrary::Mechanism));
        let no_file = [
            ("security.protocol", "ssl"),
            ("ssl.ca.location", "/no/such.pem"),
        ];
        assert_eq!(why(&no_file), Some(WhyLibrary::Certificate));
    }

    #[test]
    fn what_may_not_be_set_is_an_error_here_too() {
        let stop = setup(&[("isolation.level", "read_committed")]).unwrap_err();
        let Stop::Failed(error) = stop else {
            panic!("{stop:?}");
        };
        assert_eq!(
            error.message(),
            "property \"kafka.isolation.level\" cannot be set"
        );
    }

    #[test]
    fn given_limits_are_followed() {
        let setup = setup(&[
            ("fetch.wait.max.ms", "7"),
            ("fetch.message.max.bytes", "1000"),
        ])
        .unwrap();
        assert_eq!(setup.wait, Duration::from_millis(7));
        assert_eq!(setup.partition_bytes, 1000);
        assert_eq!(setup.answer_bytes, 1 << 20);
        assert_eq!(
            setup.servers,
            [("one".to_owned(), 1), ("two".to_owned(), 9092)]
        );
    }

    #[test]
    fn servers_are_read_in_the_usual_spellings() {
        let one = |text: &str| servers(text).ok().map(|mut all| all.remove(0));
        assert_eq!(one("[::1]:19092"), Some(("::1".to_owned(), 19092)));
        assert_eq!(one("::1"), Some(("::1".to_owned(), 9092)));
        assert_eq!(one("PLAINTEXT://a:1"), None);
        assert_eq!(one("a:port"), None);
        assert_eq!(one(" , "), None);
    }

    #[test]
    fn partitions_share_an_answer() {
        assert_eq!(fair_share(1 << 20, 1), 1 << 20);
        assert_eq!(fair_share(1 << 20, 4), 1 << 19);
        assert_eq!(fair_share(1 << 20, 1000), 64 << 10);
    }
}
