//! The client library's properties, spelled out: no default of its own decides anything here.
//!
//! Pure. What a table gives under `kafka.` comes last and wins, except for what this server must
//! decide itself, where it is refused.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::{Error, Result, SqlState};
use crate::types::KafkaConnection;

/// A client's properties by name.
pub(crate) type Properties = BTreeMap<String, String>;

/// What the offsets, the delivery guarantee or the latency of this server rest on.
const OURS: &[&str] = &[
    "auto.offset.reset",
    "bootstrap.servers",
    "metadata.broker.list",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "isolation.level",
    "log.queue",
    "transaction.timeout.ms",
    "transactional.id",
];

/// For questions about topics and offsets.
///
/// # Errors
/// When the connection sets a property that is not its to set.
pub(crate) fn for_metadata(connection: &KafkaConnection) -> Result<Properties> {
    with_connection(connection, &[("allow.auto.create.topics", "false")])
}

/// How a reader fetches.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fetching {
    /// Whether records of open and aborted transactions are hidden.
    pub(crate) read_committed: bool,
    /// Messages of one read at the most.
    pub(crate) rows_max: usize,
    /// Bytes of one read at the most.
    pub(crate) bytes_max: usize,
    /// How long the broker keeps an empty fetch before it answers "at the end", in milliseconds.
    pub(crate) end_wait_ms: u32,
}

/// For reading messages.
///
/// What is fetched ahead follows from the size of a read: four reads' worth, so that a reader which
/// wants ten rows does not fetch a hundred thousand.
///
/// # Errors
/// When the connection sets a property that is not its to set.
pub(crate) fn for_reader(connection: &KafkaConnection, fetching: Fetching) -> Result<Properties> {
    let ahead_messages = fetching.rows_max.saturating_mul(4).clamp(16, 100_000);
    let ahead_kib = (fetching.bytes_max / 1024)
        .saturating_mul(4)
        .clamp(1024, 65_536);
    let fetch_bytes = fetching.bytes_max.clamp(64 * 1024, 1024 * 1024);
    let isolation = if fetching.read_committed {
        "read_committed"
    } else {
        "read_uncommitted"
    };
    with_connection(
        connection,
        &[
            // The library wants a group for its queue; no partition is ever taken through it.
            ("group.id", "headwater"),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("auto.offset.reset", "error"),
            ("enable.partition.eof", "true"),
            ("isolation.level", isolation),
            ("allow.auto.create.topics", "false"),
            ("check.crcs", "true"),
            // More than one byte here makes each fetch wait until so much is there.
            ("fetch.min.bytes", "1"),
            ("fetch.wait.max.ms", &fetching.end_wait_ms.to_string()),
            ("fetch.message.max.bytes", &fetch_bytes.to_string()),
            ("fetch.max.bytes", "52428800"),
            ("fetch.queue.backoff.ms", "2"),
            ("fetch.error.backoff.ms", "100"),
            ("queued.min.messages", &ahead_messages.to_string()),
            ("queued.max.messages.kbytes", &ahead_kib.to_string()),
            // A query that waits for its sink may leave the queue alone for long.
            ("max.poll.interval.ms", "86400000"),
            ("session.timeout.ms", "45000"),
        ],
    )
}

/// What a producer does when it does not know whether a message has arrived. It sends again either
/// way, and keeps the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// The broker knows a message that it has by its number. To get numbers takes a producer up to
    /// half a second when it starts.
    Known,
    /// The message may be there twice; for producers that live for one statement.
    Twice,
}

/// For producing.
///
/// # Errors
/// When the connection sets a property that is not its to set.
pub(crate) fn for_producer(connection: &KafkaConnection, again: Again) -> Result<Properties> {
    let (idempotence, in_flight) = match again {
        Again::Known => ("true", "5"),
        Again::Twice => ("false", "1"),
    };
    with_connection(
        connection,
        &[
            ("enable.idempotence", idempotence),
            ("max.in.flight.requests.per.connection", in_flight),
            ("acks", "all"),
            ("retries", "2147483647"),
            // Rows of a micro-batch are sent together anyway, and while requests are under way others heap up.
            ("linger.ms", "0"),
            ("batch.num.messages", "10000"),
            ("batch.size", "1000000"),
            // The broker's own limit decides, not the client's.
            ("message.max.bytes", "104857600"),
            ("compression.type", "lz4"),
            ("queue.buffering.max.messages", "500000"),
            ("queue.buffering.max.kbytes", "262144"),
            // Java's: so that rows of one key meet those of other programs in one partition.
            ("partitioner", "murmur2_random"),
        ],
    )
}

/// For producing in transactions.
///
/// # Errors
/// When the connection sets a property that is not its to set.
pub(crate) fn for_transactions(
    connection: &KafkaConnection,
    id: &str,
    timeout: Duration,
) -> Result<Properties> {
    let mut properties = for_producer(connection, Again::Known)?;
    let mut set = |name: &str, value: String| properties.insert(name.to_owned(), value);
    set("transactional.id", id.to_owned());
    set("transaction.timeout.ms", timeout.as_millis().to_string());
    let unless_given = [
        // Rows are seen when their transaction ends: until then they may wait for one another.
        ("linger.ms", "5"),
        // A coordinator that is still ending the last transaction is asked again soon.
        ("retry.backoff.ms", "5"),
    ];
    for (name, value) in unless_given {
        if !connection.properties.contains_key(name) {
            set(name, value.to_owned());
        }
    }
    Ok(properties)
}

/// For a consumer group's offsets alone: no message is read.
///
/// # Errors
/// When the connection sets a property that is not its to set.
pub(crate) fn for_offsets(connection: &KafkaConnection, group: &str) -> Result<Properties> {
    with_connection(
        connection,
        &[
            ("group.id", group),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            // An offset that a transaction is about to set is waited for.
            ("isolation.level", "read_committed"),
            ("allow.auto.create.topics", "false"),
            ("session.timeout.ms", "45000"),
        ],
    )
}

fn with_connection(connection: &KafkaConnection, own: &[(&str, &str)]) -> Result<Properties> {
    let common = [
        ("client.id", "headwater"),
        ("metadata.max.age.ms", "180000"),
        ("topic.metadata.refresh.interval.ms", "60000"),
        ("topic.metadata.refresh.fast.interval.ms", "100"),
        ("topic.metadata.propagation.max.ms", "5000"),
        // The library takes up a second connection only half of this after the first, and a first
        // question needs two: to the server that was given and to the broker behind it.
        ("reconnect.backoff.ms", "10"),
        ("reconnect.backoff.max.ms", "1000"),
        ("socket.connection.setup.timeout.ms", "5000"),
        ("socket.timeout.ms", "60000"),
        ("socket.keepalive.enable", "true"),
        ("socket.nagle.disable", "true"),
        ("receive.message.max.bytes", "105906176"),
        ("statistics.interval.ms", "0"),
        ("enable.metrics.push", "false"),
        ("log.connection.close", "false"),
    ];
    let mut properties: Properties = common
        .iter()
        .chain(own)
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let servers = connection.bootstrap_servers.trim();
    if servers.is_empty() {
        return Err(Error::user(
            SqlState::InvalidParameterValue,
            "no bootstrap server is given",
        )
        .hint("Set bootstrap_servers = 'host:port'."));
    }
    properties.insert("bootstrap.servers".to_owned(), servers.to_owned());
    for (name, value) in &connection.properties {
        if OURS.contains(&name.as_str()) {
            return Err(Error::user(
                SqlState::InvalidParameterValue,
                format!("property \"kafka.{name}\" cannot be set"),
            )
            .hint("The server decides it; see the options of CREATE TABLE."));
        }
        properties.insert(name.clone(), value.clone());
    }
    if uses_tls(&properties) && !properties.contains_key("ssl.ca.location") {
        // The library's own OpenSSL looks for authorities where no system keeps them.
        properties.insert("ssl.ca.location".to_owned(), "probe".to_owned());
    }
    Ok(properties)
}

fn uses_tls(properties: &Properties) -> bool {
    properties
        .get("security.protocol")
        .is_some_and(|protocol| protocol.to_ascii_lowercase().contains("ssl"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Again, Fetching, for_metadata, for_producer, for_reader, for_transactions};
    use crate::types::KafkaConnection;

    fn connection(properties: &[(&str, &str)]) -> KafkaConnection {
        KafkaConnection {
            bootstrap_servers: " localhost:9092 ".to_owned(),
            properties: properties
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    fn fetching(rows_max: usize, bytes_max: usize) -> Fetching {
        Fetching {
            read_committed: true,
            rows_max,
            bytes_max,
            end_wait_ms: 100,
        }
    }

    #[test]
    fn a_property_of_the_table_wins_over_ours() {
        let given = connection(&[("client.id", "mine"), ("fetch.wait.max.ms", "7")]);
        let properties = for_reader(&given, fetching(8192, 1 << 20)).unwrap();
        assert_eq!(properties["client.id"], "mine");
        assert_eq!(properties["fetch.wait.max.ms"], "7");
        assert_eq!(properties["bootstrap.servers"], "localhost:9092");
    }

    #[test]
    fn what_the_offsets_rest_on_cannot_be_set() {
        for name in ["enable.auto.commit", "auto.offset.reset", "isolation.level"] {
            let error = for_metadata(&connection(&[(name, "x")])).unwrap_err();
            assert_eq!(
                error.message(),
                format!("property \"kafka.{name}\" cannot be set")
            );
        }
    }

    #[test]
    fn authorities_are_probed_for_unless_they_are_given() {
        let plain = for_producer(&connection(&[]), Again::Known).unwrap();
        assert!(!plain.contains_key("ssl.ca.location"));
        let tls = for_producer(
            &connection(&[("security.protocol", "SASL_SSL")]),
            Again::Twice,
        )
        .unwrap();
        assert_eq!(tls["ssl.ca.location"], "probe");
        let given = connection(&[("security.protocol", "ssl"), ("ssl.ca.location", "/ca.pem")]);
        assert_eq!(
            for_producer(&given, Again::Known).unwrap()["ssl.ca.location"],
            "/ca.pem"
        );
    }

    #[test]
    fn transactions_wait_for_their_commit_unless_they_are_told_otherwise() {
        let of = |properties| {
            let timeout = Duration::from_secs(90);
            for_transactions(&connection(properties), "id", timeout).unwrap()
        };
        let plain = of(&[]);
        assert_eq!(plain["transactional.id"], "id");
        assert_eq!(plain["transaction.timeout.ms"], "90000");
        assert_eq!(plain["linger.ms"], "5");
        assert_eq!(of(&[("linger.ms", "0")])["linger.ms"], "0");
    }

    #[test]
    fn a_small_read_fetches_little_ahead() {
        let small = for_reader(&connection(&[]), fetching(10, 65_536)).unwrap();
        assert_eq!(small["queued.min.messages"], "40");
        assert_eq!(small["queued.max.messages.kbytes"], "1024");
        assert_eq!(small["fetch.message.max.bytes"], "65536");
        let large = for_reader(&connection(&[]), fetching(1 << 20, 1 << 30)).unwrap();
        assert_eq!(large["queued.min.messages"], "100000");
        assert_eq!(large["queued.max.messages.kbytes"], "65536");
        assert_eq!(large["fetch.message.max.bytes"], "1048576");
    }
}
