//! What decoding and encoding JSON costs, next to copying the bytes and to `serde_json`.
//!
//! `cargo bench --bench json -- [ROUNDS]`: nanoseconds of this thread's processor time a row, the
//! median and the least of the rounds, for trades of 139 bytes with seven members. All variants run
//! in each round, so that a busy machine slows them alike; compare figures of one run only.

#![expect(clippy::print_stdout, reason = "the figures are its output")]
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark ends when something is wrong"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use headwater::format::{JsonDecoder, JsonEncoder, JsonField};
use headwater::types::{Message, MessageBatch, Offset, PartitionId, Span};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const BATCHES: usize = 16;
const BATCH_ROWS: usize = 8192;
/// Passes over all batches in one round: the processor time is told in steps of some milliseconds.
const PASSES: usize = 4;

fn main() {
    let rounds = std::env::args()
        .filter_map(|arg| arg.parse().ok())
        .next()
        .unwrap_or(9);
    let mut cases = cases();
    for _ in 0..rounds {
        for case in &mut cases {
            let began = cpu_time();
            for _ in 0..PASSES {
                (case.run)();
            }
            let spent = cpu_time() - began;
            case.rounds
                .push(spent.as_nanos() as f64 / (PASSES * BATCHES * BATCH_ROWS) as f64);
        }
    }
    println!("{:<34} {:>8} {:>8}", "ns a row", "median", "least");
    for case in &mut cases {
        case.rounds.sort_by(f64::total_cmp);
        println!(
            "{:<34} {:>8.1} {:>8.1}",
            case.name,
            case.rounds[rounds / 2],
            case.rounds[0]
        );
    }
}

struct Case {
    name: &'static str,
    /// One pass over all batches.
    run: Box<dyn FnMut()>,
    rounds: Vec<f64>,
}

fn case(name: &'static str, run: impl FnMut() + 'static) -> Case {
    Case {
        name,
        run: Box::new(run),
        rounds: Vec::new(),
    }
}

fn cases() -> Vec<Case> {
    let typed = typed();
    let texts: Vec<_> = typed
        .iter()
        .map(|(name, _)| (*name, DataType::Utf8View))
        .collect();
    let three: Vec<_> = [1, 3, 5].map(|place| typed[place].clone()).to_vec();
    let strings = batches(Form::Strings);
    vec![
        copy(strings.clone()),
        utf8(strings.clone()),
        serde_json_ignored(strings.clone()),
        serde_json_value(strings.clone()),
        decode("decode 7 of 7, typed", &typed, strings.clone()),
        decode("decode 7 of 7, as text", &texts, strings.clone()),
        decode("decode 3 of 7", &three, strings.clone()),
        decode("decode 0 of 7", &[], strings.clone()),
        decode("decode 0 of 7, among headers", &[], batches(Form::Framed)),
        decode(
            "decode 7, numbers without quotes",
            &typed,
            batches(Form::Numbers),
        ),
        decode(
            "decode 7, some members missing",
            &typed,
            batches(Form::Optional),
        ),
        decode(
            "decode 7, members in any order",
            &typed,
            batches(Form::Shuffled),
        ),
        encode("encode 7, typed", &typed, &strings),
    ]
}

fn typed() -> Vec<(&'static str, DataType)> {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
    vec![
        ("volume", DataType::Float64),
        ("price", DataType::Float64),
        ("id", DataType::Int64),
        ("timestamp", time),
        ("exchange", DataType::Utf8View),
        ("base", DataType::Utf8View),
        ("quote", DataType::Utf8View),
    ]
}

fn copy(batches: Vec<MessageBatch>) -> Case {
    let mut target = vec![0u8; BATCH_ROWS * 256];
    case("copy the bytes", move || {
        for batch in &batches {
            target[..batch.buffer.len()].copy_from_slice(&batch.buffer);
            black_box(&mut target);
        }
    })
}

fn utf8(batches: Vec<MessageBatch>) -> Case {
    case("check that they are UTF-8", move || {
        for batch in &batches {
            black_box(std::str::from_utf8(&batch.buffer).unwrap());
        }
    })
}

fn serde_json_ignored(batches: Vec<MessageBatch>) -> Case {
    case("serde_json, only checked", move || {
        for batch in &batches {
            for row in 0..batch.messages.len() {
                let payload = batch.payload(row).unwrap();
                black_box(serde_json::from_slice::<serde::de::IgnoredAny>(payload).unwrap());
            }
        }
    })
}

fn serde_json_value(batches: Vec<MessageBatch>) -> Case {
    case("serde_json, to a Value", move || {
        for batch in &batches {
            for row in 0..batch.messages.len() {
                let payload = batch.payload(row).unwrap();
                black_box(serde_json::from_slice::<serde_json::Value>(payload).unwrap());
            }
        }
    })
}

fn decoder(columns: &[(&str, DataType)]) -> JsonDecoder {
    let field = |(name, data_type): &(&str, DataType)| JsonField::new(*name, data_type.clone());
    JsonDecoder::try_new(columns.iter().map(field).collect()).unwrap()
}

fn decode(
    name: &'static str,
    columns: &[(&'static str, DataType)],
    batches: Vec<MessageBatch>,
) -> Case {
    let mut decoder = decoder(columns);
    case(name, move || {
        for batch in &batches {
            let decoded = decoder.decode(batch).unwrap();
            assert_eq!(decoded.rows, BATCH_ROWS, "all messages are good");
            black_box(decoded);
        }
    })
}

fn encode(name: &'static str, columns: &[(&str, DataType)], batches: &[MessageBatch]) -> Case {
    let field = |(name, data_type): &(&str, DataType)| Field::new(*name, data_type.clone(), true);
    let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
    let mut decoder = decoder(columns);
    let records: Vec<_> = batches
        .iter()
        .map(|batch| {
            let columns = decoder.decode(batch).unwrap().columns;
            RecordBatch::try_new(Arc::clone(&schema), columns).unwrap()
        })
        .collect();
    let encoder = JsonEncoder::try_new(schema).unwrap();
    case(name, move || {
        for record in &records {
            black_box(encoder.encode(record).unwrap());
        }
    })
}

#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// Every value is a string, every message has the same members in the same order.
    Strings,
    /// Numbers are numbers.
    Numbers,
    /// Half of the messages have no exchange, a tenth no volume.
    Optional,
    /// The members stand in any order.
    Shuffled,
    /// Strings, with a record's header and key in front of each message, as a broker's answer has them.
    Framed,
}

/// A header and a key of a record; two of the numbers are longer than a byte.
const HEADER: &[u8] = b"\xb4\x02\0\x9a\x85\x01\x02\x06key\x96\x02";

fn batches(form: Form) -> Vec<MessageBatch> {
    let mut random = fastrand::Rng::with_seed(7);
    (0..BATCHES)
        .map(|batch| messages(form, batch * BATCH_ROWS, &mut random))
        .collect()
}

fn messages(form: Form, first: usize, random: &mut fastrand::Rng) -> MessageBatch {
    let mut buffer = Vec::new();
    let mut messages = Vec::new();
    for row in first..first + BATCH_ROWS {
        if form == Form::Framed {
            buffer.extend_from_slice(HEADER);
        }
        let start = buffer.len();
        buffer.extend_from_slice(trade(form, row, random).as_bytes());
        messages.push(Message {
            partition: PartitionId(0),
            offset: Offset(i64::try_from(row).unwrap()),
            timestamp_ms: -1,
            key: None,
            payload: Some(Span {
                start: u32::try_from(start).unwrap(),
                len: u32::try_from(buffer.len() - start).unwrap(),
            }),
            headers: None,
        });
    }
    buffer.resize(buffer.len() + MessageBatch::PADDING, 0);
    MessageBatch {
        buffer: Buffer::from_vec(buffer),
        messages,
    }
}

fn trade(form: Form, row: usize, random: &mut fastrand::Rng) -> String {
    const EXCHANGES: [&str; 6] = ["Binance", "Coinbase", "Kraken", "Bitfinex", "Huobi", "OKEx"];
    const BASES: [&str; 7] = ["ETH", "BTC", "LTC", "XRP", "ADA", "DOGE", "SOL"];
    const QUOTES: [&str; 4] = ["BTC", "USD", "USDT", "EUR"];
    let quote = if form == Form::Numbers { "" } else { "\"" };
    let millis = row * 3;
    let (minutes, seconds) = (millis / 60_000 % 60, millis / 1000 % 60);
    let mut members = vec![
        format!("\"volume\":{quote}{}{quote}", random.u32(0..1000)),
        format!(
            "\"price\":{quote}{}.{:04}{quote}",
            random.u32(0..5000),
            random.u32(0..10_000)
        ),
        format!(
            "\"id\":{quote}{}{quote}",
            random.u32(100_000_000..1_000_000_000)
        ),
        format!(
            "\"timestamp\":\"2018-07-17T17:{minutes:02}:{seconds:02}.{:03}Z\"",
            millis % 1000
        ),
        format!("\"exchange\":\"{}\"", random.choice(EXCHANGES).unwrap()),
        format!("\"base\":\"{}\"", random.choice(BASES).unwrap()),
        format!("\"quote\":\"{}\"", random.choice(QUOTES).unwrap()),
    ];
    match form {
        Form::Strings | Form::Numbers | Form::Framed => {}
        Form::Optional => {
            if random.u32(0..2) == 0 {
                members.remove(4);
            }
            if random.u32(0..10) == 0 {
                members.remove(0);
            }
        }
        Form::Shuffled => random.shuffle(&mut members),
    }
    format!("{{{}}}", members.join(","))
}

/// The processor time of this thread.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}
