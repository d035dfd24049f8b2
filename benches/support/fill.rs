//! Messages into topics, as fast as the client library takes them.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

/// Where a message goes, and what stands beside its payload.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Place<'a> {
    pub(crate) topic: &'a str,
    pub(crate) key: Option<&'a str>,
    /// Without one the key decides.
    pub(crate) partition: Option<i32>,
    /// Milliseconds since the Unix epoch; without one, when it is produced.
    pub(crate) time_ms: Option<i64>,
}

/// Produces messages 0 to `rows`, each as `write` writes it into the empty buffer.
pub(crate) fn fill<'a>(
    servers: &str,
    rows: u64,
    write: impl FnMut(u64, &mut Vec<u8>) -> Place<'a>,
) {
    let producer: BaseProducer = config(servers).create().unwrap();
    fill_by(&producer, rows, write);
}

/// What a producer of many messages is told.
pub(crate) fn config(servers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", servers)
        .set("linger.ms", "20")
        .set("queue.buffering.max.messages", "1000000");
    config
}

/// The same by a producer that is there.
pub(crate) fn fill_by<'a>(
    producer: &BaseProducer,
    rows: u64,
    mut write: impl FnMut(u64, &mut Vec<u8>) -> Place<'a>,
) {
    let mut payload = Vec::new();
    for row in 0..rows {
        payload.clear();
        let place = write(row, &mut payload);
        let mut record: BaseRecord<'_, str, [u8]> = BaseRecord::to(place.topic).payload(&payload);
        (record.key, record.partition) = (place.key, place.partition);
        record.timestamp = place.time_ms;
        while let Err((_, back)) = producer.send(record) {
            record = back;
            producer.poll(Duration::from_millis(5));
        }
        if row % 1_000 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(Duration::from_secs(120)).unwrap();
}
