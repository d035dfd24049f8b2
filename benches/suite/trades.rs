//! A topic of trades, as exchanges' feeds write them, and the table over it.

use headwater::demo::{Schedule, TradeGenerator};

use crate::fill::{Place, fill};
use crate::topic::Topic;

/// Trades a second of event time.
pub(crate) const ROWS_A_SECOND: u32 = 5_000;
const START_MS: i64 = 1_700_000_000_000;
const PARTITIONS: i32 = 4;
const SEED: u64 = 42;

/// Makes and fills a topic; the same trades each time.
pub(crate) fn filled(servers: &str, rows: u64) -> Topic {
    let topic = Topic::create(servers, "trades", PARTITIONS, rows);
    let schedule = Schedule {
        start_ms: START_MS,
        rate: f64::from(ROWS_A_SECOND),
    };
    let generator = TradeGenerator::new(SEED, schedule);
    fill(servers, rows, |row, payload| {
        let head = generator.write(row, payload);
        Place {
            topic: &topic.name,
            key: Some(head.key),
            time_ms: Some(head.record_time_ms),
            ..Place::default()
        }
    });
    topic
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
