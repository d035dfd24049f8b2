//! What a file may do beside SQL, under `system ok`: a line each.
//!
//! ```text
//! topic clicks 2                           makes a topic with two partitions
//! partitions clicks 3                      gives it more partitions: three in all
//! produce clicks 1 key=ann time=0 {"n":1}  writes a message; key and time (ms) may be left out
//! produce clicks 0 (tombstone)             .. without a value; also (empty), (bytes ff 00), (5 MB)
//! consume clicks                           prints each message: partition, key, value
//! broker kill | broker start | server crash
//! ```
//! Invariant: messages go by librdkafka, not by the product.

use crate::bench::Bench;
use crate::support::messages::Record;

const LARGE_BYTES: usize = 5 * 1024 * 1024;

/// Runs the lines of a `system` record and returns what they print.
pub(crate) async fn run(bench: &Bench, lines: &str) -> Result<String, String> {
    let mut printed = String::new();
    let mut waiting: Vec<(String, Record)> = Vec::new();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (tool, rest) = line.split_once(' ').unwrap_or((line, ""));
        if tool == "produce" {
            waiting.push(
                message(rest)
                    .ok_or_else(|| format!("write it as tests/harness/tools.rs says: {line}"))?,
            );
            continue;
        }
        produce(bench, &mut waiting);
        match (tool, rest) {
            ("topic", _) => {
                let (topic, partitions) = rest.split_once(' ').unwrap_or((rest, "1"));
                let partitions = partitions
                    .parse()
                    .map_err(|_| format!("no number of partitions: {line}"))?;
                bench.cluster().create_topic(topic, partitions).await;
            }
            ("partitions", _) => {
                let grown = rest.split_once(' ');
                let grown = grown.and_then(|(topic, count)| Some((topic, count.parse().ok()?)));
                let (topic, partitions) =
                    grown.ok_or_else(|| format!("no number of partitions: {line}"))?;
                bench.cluster().grow_topic(topic, partitions).await;
            }
            ("consume", topic) => {
                for record in bench.cluster().read(topic) {
                    let key = record.key.as_deref().unwrap_or("NULL");
                    printed += &format!("{} {key} {}\n", record.partition, record.text());
                }
            }
            ("broker", "kill") => bench.kill_broker().await,
            ("broker", "start") => bench.start_broker().await,
            ("server", "crash") => bench.crash_server().await,
            _ => return Err(format!("no such tool: {line}")),
        }
    }
    produce(bench, &mut waiting);
    Ok(printed)
}

/// Writes the messages that wait, topic by topic.
fn produce(bench: &Bench, waiting: &mut Vec<(String, Record)>) {
    for same_topic in waiting.chunk_by(|(one, _), (next, _)| one == next) {
        let records: Vec<Record> = same_topic
            .iter()
            .map(|(_, record)| record.clone())
            .collect();
        bench.cluster().produce(&same_topic[0].0, &records);
    }
    waiting.clear();
}

/// `TOPIC PARTITION [key=K] [time=MS] VALUE`.
fn message(rest: &str) -> Option<(String, Record)> {
    let (topic, rest) = rest.split_once(' ')?;
    let (partition, mut rest) = rest.split_once(' ')?;
    let mut record = Record {
        partition: partition.parse().ok()?,
        ..Record::default()
    };
    if let Some((key, after)) = rest
        .strip_prefix("key=")
        .and_then(|rest| rest.split_once(' '))
    {
        record.key = Some(key.to_owned());
        rest = after;
    }
    if let Some((time, after)) = rest
        .strip_prefix("time=")
        .and_then(|rest| rest.split_once(' '))
    {
        record.time_ms = Some(time.parse().ok()?);
        rest = after;
    }
    record.payload = match rest {
        "(tombstone)" => None,
        "(empty)" => Some(Vec::new()),
        "(5 MB)" => Some(vec![b'x'; LARGE_BYTES]),
        _ => Some(
            match rest
                .strip_prefix("(bytes ")
                .and_then(|rest| rest.strip_suffix(')'))
            {
                None => rest.as_bytes().to_vec(),
                Some(bytes) => {
                    let bytes = bytes.split(' ').map(|byte| u8::from_str_radix(byte, 16));
                    bytes.collect::<Result<_, _>>().ok()?
                }
            },
        ),
    };
    Some((topic.to_owned(), record))
}
