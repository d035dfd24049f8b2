//! A topic of trades, as exchanges' feeds write them, and the table over it.

use std::time::Duration;

use headwater::demo::{Schedule, TradeGenerator};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, Producer};

use crate::fill::{Place, config, fill, fill_by};
use crate::topic::Topic;

/// Trades a second of event time.
pub(crate) const ROWS_A_SECOND: u32 = 5_000;
const START_MS: i64 = 1_700_000_000_000;
const PARTITIONS: i32 = 4;
const SEED: u64 = 42;
/// How long the broker may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Makes and fills a topic; the same trades each time.
pub(crate) fn filled(servers: &str, rows: u64) -> Topic {
    let topic = Topic::create(servers, "trades", PARTITIONS, rows);
    fill(servers, rows, writer(&topic));
    topic
}

/// A topic of the same trades that nobody sees yet who reads what is committed.
pub(crate) struct Hidden {
    pub(crate) topic: Topic,
    producer: BaseProducer,
}

impl Hidden {
    /// Makes and fills it.
    pub(crate) fn filled(servers: &str, rows: u64) -> Result<Self, KafkaError> {
        let topic = Topic::create(servers, "hidden", PARTITIONS, rows);
        let mut config = config(servers);
        config
            .set("transactional.id", &topic.name)
            .set("transaction.timeout.ms", "900000");
        let producer: BaseProducer = config.create()?;
        producer.init_transactions(PATIENCE)?;
        producer.begin_transaction()?;
        fill_by(&producer, rows, writer(&topic));
        Ok(Self { topic, producer })
    }

    /// Shows all of them at once.
    pub(crate) fn show(&self) -> Result<(), KafkaError> {
        self.producer.commit_transaction(PATIENCE)
    }
}

/// Writes the trades of a topic.
fn writer<'t>(topic: &'t Topic) -> impl FnMut(u64, &mut Vec<u8>) -> Place<'t> {
    let schedule = Schedule {
        start_ms: START_MS,
        rate: f64::from(ROWS_A_SECOND),
    };
    let generator = TradeGenerator::new(SEED, schedule);
    move |row, payload| {
        let head = generator.write(row, payload);
        Place {
            topic: &topic.name,
            key: Some(head.key),
            time_ms: Some(head.record_time_ms),
            ..Place::default()
        }
    }
}

/// The table `trades`.
pub(crate) fn table(topic: &Topic) -> String {
    format!(
        "CREATE TABLE trades (id text, exchange text, market text, base text, quote text, \
         price double precision, volume double precision, \"timestamp\" timestamptz, \
         WATERMARK FOR \"timestamp\" AS \"timestamp\" - INTERVAL '5 seconds') WITH ({})",
        topic.options()
    )
}
