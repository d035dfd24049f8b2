//! A topic for the tests of readers: on the embedded broker and on a real Kafka, read by either reader.
//!
//! Messages are produced with rdkafka directly, so that a reader is not judged by our own sink.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::time::Duration;

use headwater::source::{Cluster, FetchedBy, Reader, ReaderOptions};
use headwater::types::{FetchMode, KafkaConnection, Offset, PartitionId};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::broker::{Broker, real_kafka};
use super::proxy::Proxy;

/// A topic, and who is to read it.
pub(crate) struct Topic {
    pub(crate) connection: KafkaConnection,
    pub(crate) name: String,
    pub(crate) fetch: FetchMode,
}

/// Runs a test on a new topic of each broker there is, read by each of the readers.
pub(crate) fn everywhere(test: &str, partitions: u32, check: impl Fn(&Topic)) {
    let embedded = Broker::start();
    let servers = [Some(embedded.bootstrap()), real_kafka()];
    for servers in servers.into_iter().flatten() {
        for fetch in [FetchMode::Direct, FetchMode::Librdkafka] {
            eprintln!("{test} at {servers}, {fetch:?}");
            check(&Topic::create(&servers, test, partitions, fetch));
        }
    }
}

impl Topic {
    /// A new topic with a name of its own.
    pub(crate) fn create(servers: &str, test: &str, partitions: u32, fetch: FetchMode) -> Self {
        let connection = KafkaConnection {
            bootstrap_servers: servers.to_owned(),
            properties: BTreeMap::new(),
        };
        let name = format!("source-{test}-{}", uuid::Uuid::new_v4());
        let cluster = Cluster::connect(&connection).unwrap();
        assert!(
            cluster.create_topic(&name, partitions, None).unwrap(),
            "the topic is new"
        );
        Self {
            connection,
            name,
            fetch,
        }
    }

    /// The same, read by that reader.
    pub(crate) fn read_by(&self, fetch: FetchMode) -> Self {
        Self {
            connection: self.connection.clone(),
            name: self.name.clone(),
            fetch,
        }
    }

    /// The same, reached by a proxy.
    pub(crate) fn through(&self, proxy: &Proxy) -> Self {
        self.reached_at(&proxy.bootstrap(), &[])
    }

    /// The same, reached by other servers and with properties.
    pub(crate) fn reached_at(&self, servers: &str, properties: &[(&str, &str)]) -> Self {
        let properties = properties.iter();
        let properties = properties.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut topic = self.read_by(self.fetch);
        topic.connection = KafkaConnection {
            bootstrap_servers: servers.to_owned(),
            properties: properties.collect(),
        };
        topic
    }

    /// Sets settings of the topic; all others have their defaults.
    pub(crate) fn configure(&self, settings: &[(&str, &str)]) {
        let (admin, options) = self.admin();
        let none = AlterConfig::new(ResourceSpecifier::Topic(&self.name));
        let settings = settings.iter();
        let change = settings.fold(none, |change, (name, value)| change.set(name, value));
        let done = futures::executor::block_on(admin.alter_configs([&change], &options)).unwrap();
        assert!(done.iter().all(Result::is_ok), "it is refused: {done:?}");
    }

    pub(crate) fn open(&self, assignment: &[(i32, i64)]) -> Reader {
        Reader::open(self.options(assignment)).unwrap()
    }

    /// Fails when another reader than the wanted one has read.
    pub(crate) fn check_reader(&self, reader: &Reader) {
        let is_direct = reader.fetched_by() == FetchedBy::Direct;
        assert_eq!(
            is_direct,
            self.fetch == FetchMode::Direct,
            "{:?}",
            reader.fetched_by()
        );
    }

    pub(crate) fn admin(&self) -> (AdminClient<DefaultClientContext>, AdminOptions) {
        let admin = ClientConfig::new()
            .set("bootstrap.servers", &self.connection.bootstrap_servers)
            .create()
            .unwrap();
        (admin, AdminOptions::new())
    }

    pub(crate) fn producer(&self, extra: &[(&str, &str)]) -> BaseProducer {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.connection.bootstrap_servers);
        for (name, value) in extra {
            config.set(*name, *value);
        }
        config.create().unwrap()
    }

    /// Produces `count` messages `{"n":i}` to a partition, at time `1000 + i` ms.
    pub(crate) fn fill(&self, partition: i32, count: i64) {
        let producer = self.producer(&[]);
        for n in 0..count {
            send(
                &producer,
                &self.name,
                partition,
                &format!("{{\"n\":{n}}}"),
                1000 + n,
            );
        }
        producer.flush(Duration::from_secs(20)).unwrap();
    }

    pub(crate) fn options(&self, assignment: &[(i32, i64)]) -> ReaderOptions {
        ReaderOptions {
            connection: self.connection.clone(),
            topic: self.name.clone(),
            assignment: assignment
                .iter()
                .map(|(partition, offset)| (PartitionId(*partition), Offset(*offset)))
                .collect(),
            read_committed: true,
            with_keys: false,
            with_headers: false,
            rows_max: 8192,
            bytes_max: 1 << 20,
            end_wait: Duration::from_millis(50),
            fetch: self.fetch,
        }
    }
}

pub(crate) fn send(
    producer: &BaseProducer,
    topic: &str,
    partition: i32,
    payload: &str,
    time_ms: i64,
) {
    loop {
        let record = BaseRecord::<str, str>::to(topic)
            .partition(partition)
            .payload(payload)
            .timestamp(time_ms);
        if producer.send(record).is_ok() {
            return;
        }
        producer.poll(Duration::from_millis(10));
    }
}
