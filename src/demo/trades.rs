//! Trades as an exchange's feed writes them.
//!
//! Numbers are written as strings, times in RFC 3339 with milliseconds; a trade reaches its topic up
//! to two seconds after it happened, in any order; one message in ten thousand is broken.

use std::io::Write;

use chrono::{DateTime, SecondsFormat};

use super::dice::{Dice, mix};
use super::walk::Walk;
use super::{MessageHead, Schedule};

/// An exchange: it trades every base against its own quote.
struct Exchange {
    name: &'static str,
    quote: &'static str,
    /// The names of its markets, in the order of [`BASES`].
    markets: &'static [&'static str; BASES.len()],
}

const EXCHANGES: [Exchange; 5] = [
    exchange("Binance", "USDT", &USDT_MARKETS),
    exchange("Bitfinex", "USD", &USD_MARKETS),
    exchange("Coinbase", "USD", &USD_MARKETS),
    exchange("Kraken", "EUR", &EUR_MARKETS),
    exchange("Poloniex", "USDT", &USDT_MARKETS),
];

const USDT_MARKETS: [&str; BASES.len()] = [
    "BTC-USDT",
    "ETH-USDT",
    "XRP-USDT",
    "EOS-USDT",
    "LTC-USDT",
    "ADA-USDT",
    "XLM-USDT",
    "NEO-USDT",
    "TRX-USDT",
    "DASH-USDT",
];
const USD_MARKETS: [&str; BASES.len()] = [
    "BTC-USD", "ETH-USD", "XRP-USD", "EOS-USD", "LTC-USD", "ADA-USD", "XLM-USD", "NEO-USD",
    "TRX-USD", "DASH-USD",
];
const EUR_MARKETS: [&str; BASES.len()] = [
    "BTC-EUR", "ETH-EUR", "XRP-EUR", "EOS-EUR", "LTC-EUR", "ADA-EUR", "XLM-EUR", "NEO-EUR",
    "TRX-EUR", "DASH-EUR",
];

const fn exchange(
    name: &'static str,
    quote: &'static str,
    markets: &'static [&'static str; BASES.len()],
) -> Exchange {
    Exchange {
        name,
        quote,
        markets,
    }
}

/// One of this many messages is broken.
const MESSAGES_PER_BROKEN: u64 = 10_000;
/// No trade is later than this at its topic, milliseconds.
const DISORDER_MS_MAX: u64 = 2_000;

/// A currency that is traded.
struct Base {
    name: &'static str,
    price: f64,
    decimals: usize,
    /// How often it is traded, against the others.
    weight: u64,
}

const BASES: [Base; 10] = [
    base("BTC", 7_300.0, 2, 24),
    base("ETH", 480.0, 2, 18),
    base("XRP", 0.48, 5, 12),
    base("EOS", 8.1, 4, 10),
    base("LTC", 86.0, 2, 9),
    base("ADA", 0.17, 5, 8),
    base("XLM", 0.26, 5, 6),
    base("NEO", 36.0, 3, 5),
    base("TRX", 0.037, 6, 4),
    base("DASH", 260.0, 2, 4),
];

const fn base(name: &'static str, price: f64, decimals: usize, weight: u64) -> Base {
    Base {
        name,
        price,
        decimals,
        weight,
    }
}

/// Writes any trade of an endless feed.
#[derive(Debug, Clone, Copy)]
pub struct TradeGenerator {
    seed: u64,
    schedule: Schedule,
}

/// One trade before it is written.
struct Trade {
    id: u64,
    exchange: &'static str,
    market: &'static str,
    base: &'static Base,
    quote: &'static str,
    price: f64,
    volume: f64,
    volume_decimals: usize,
    time: String,
}

impl TradeGenerator {
    /// The feed of this seed, at these times.
    pub fn new(seed: u64, schedule: Schedule) -> Self {
        Self { seed, schedule }
    }

    /// Replaces what is in `payload` by the message with this index.
    pub fn write(&self, index: u64, payload: &mut Vec<u8>) -> MessageHead {
        let record_time_ms = self.schedule.time_ms(index);
        let trade = self.trade(index, record_time_ms);
        payload.clear();
        if self.is_broken(index) {
            write_broken(&trade, index, payload);
        } else {
            write_json(&trade, payload);
        }
        MessageHead {
            key: trade.market,
            record_time_ms,
        }
    }

    /// True for exactly one message of each ten thousand.
    fn is_broken(&self, index: u64) -> bool {
        let block = index / MESSAGES_PER_BROKEN;
        let broken = Dice::new(self.seed, 0x4252_4F4B, block).below(MESSAGES_PER_BROKEN);
        index % MESSAGES_PER_BROKEN == broken
    }

    fn trade(&self, index: u64, record_time_ms: i64) -> Trade {
        let mut dice = Dice::new(self.seed, 0x5452_4144, index);
        let exchange = pick_index(&mut dice, EXCHANGES.len());
        let base_index = pick_base(&mut dice);
        let base = &BASES[base_index];
        let disorder_ms = disorder_ms(&mut dice);
        let time_ms = record_time_ms.saturating_sub(disorder_ms);
        let (volume, volume_decimals) = volume(&mut dice, base);
        Trade {
            id: mix(mix(self.seed) ^ index),
            exchange: EXCHANGES[exchange].name,
            market: EXCHANGES[exchange].markets[base_index],
            base,
            quote: EXCHANGES[exchange].quote,
            price: self.price(&mut dice, exchange, base_index, time_ms),
            volume,
            volume_decimals,
            time: rfc3339(time_ms),
        }
    }

    /// All exchanges follow one walk, each a little off by a walk of its own.
    fn price(&self, dice: &mut Dice, exchange: usize, base: usize, time_ms: i64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "exact until the year 280,000")]
        let at_s = time_ms as f64 / 1_000.0;
        let common = Walk::new(self.seed, base as u64).factor(at_s);
        let market = (1 + exchange) * BASES.len() + base;
        let own = Walk::new(self.seed, market as u64).factor(at_s / 8.0);
        let euro = if EXCHANGES[exchange].quote == "EUR" {
            0.86
        } else {
            1.0
        };
        let spread = 1.0 + 0.000_2 * dice.around_zero();
        BASES[base].price * common * own.powf(0.1) * euro * spread
    }
}

fn pick_index(dice: &mut Dice, len: usize) -> usize {
    usize::try_from(dice.below(len as u64)).expect("below a length")
}

/// A base, the busy ones more often.
fn pick_base(dice: &mut Dice) -> usize {
    let total: u64 = BASES.iter().map(|base| base.weight).sum();
    let mut left = dice.below(total);
    for (at, base) in BASES.iter().enumerate() {
        match left.checked_sub(base.weight) {
            Some(rest) => left = rest,
            None => return at,
        }
    }
    unreachable!("the number is below the sum of the weights")
}

/// Most trades arrive within 200 ms, all of them within two seconds.
fn disorder_ms(dice: &mut Dice) -> i64 {
    let bound = if dice.below(20) == 0 {
        DISORDER_MS_MAX
    } else {
        200
    };
    i64::try_from(dice.below(bound)).expect("at most two thousand")
}

/// Many small trades and few big ones, all worth about the same money in any market.
fn volume(dice: &mut Dice, base: &Base) -> (f64, usize) {
    let money = 40.0 * (3.0 * dice.around_zero()).exp();
    let volume = money / base.price;
    if volume >= 5.0 {
        (volume.round(), 0)
    } else {
        (volume.max(0.0001), 4)
    }
}

fn rfc3339(time_ms: i64) -> String {
    DateTime::from_timestamp_millis(time_ms)
        .unwrap_or(DateTime::UNIX_EPOCH)
        .to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn write_json(trade: &Trade, payload: &mut Vec<u8>) {
    write!(
        payload,
        "{{\"id\":\"{:016x}\",\"exchange\":\"{}\",\"market\":\"{}\",\"base\":\"{}\",\
         \"quote\":\"{}\",\"price\":\"{:.*}\",\"volume\":\"{:.*}\",\"timestamp\":\"{}\"}}",
        trade.id,
        trade.exchange,
        trade.market,
        trade.base.name,
        trade.quote,
        trade.base.decimals,
        trade.price,
        trade.volume_decimals,
        trade.volume,
        trade.time,
    )
    .expect("writing into memory does not fail");
}

/// The ways in which feeds go wrong, one after the other.
fn write_broken(trade: &Trade, index: u64, payload: &mut Vec<u8>) {
    match index / MESSAGES_PER_BROKEN % 5 {
        0 => {
            write_json(trade, payload);
            payload.truncate(payload.len() / 2);
        }
        1 => {
            payload.extend_from_slice(b"upstream connect error or disconnect/reset before headers")
        }
        2 => write!(
            payload,
            "{{\"id\":\"{:016x}\",\"exchange\":\"{}\",\"market\":\"{}\",\"price\":\"n/a\",\
             \"volume\":\"0\",\"timestamp\":\"{}\"}}",
            trade.id, trade.exchange, trade.market, trade.time
        )
        .expect("writing into memory does not fail"),
        3 => write!(
            payload,
            "{{\"id\":\"{:016x}\",\"exchange\":\"{}\",\"market\":\"{}\",\"timestamp\":null}}",
            trade.id, trade.exchange, trade.market
        )
        .expect("writing into memory does not fail"),
        _ => payload.extend_from_slice(&[0xFF, 0xFE, 0x00, 0x7B]),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::Value;

    use super::{BASES, EXCHANGES, Schedule, TradeGenerator};

    const START_MS: i64 = 1_531_846_800_000;

    fn feed(seed: u64) -> TradeGenerator {
        TradeGenerator::new(
            seed,
            Schedule {
                start_ms: START_MS,
                rate: 1_000.0,
            },
        )
    }

    fn message(seed: u64, index: u64) -> Vec<u8> {
        let mut payload = b"what was there before".to_vec();
        feed(seed).write(index, &mut payload);
        payload
    }

    #[test]
    fn a_message_depends_on_seed_and_index_alone() {
        assert_eq!(message(1, 5), message(1, 5));
        assert_ne!(message(1, 5), message(1, 6));
        assert_ne!(message(1, 5), message(2, 5));
    }

    #[test]
    fn a_trade_looks_like_this() {
        assert_eq!(
            String::from_utf8(message(7, 1)).unwrap(),
            "{\"id\":\"6268de564d05820b\",\"exchange\":\"Kraken\",\"market\":\"ADA-EUR\",\
             \"base\":\"ADA\",\"quote\":\"EUR\",\"price\":\"0.14520\",\"volume\":\"155\",\
             \"timestamp\":\"2018-07-17T16:59:59.971Z\"}"
        );
    }

    #[test]
    fn one_message_in_ten_thousand_is_broken() {
        let broken: Vec<u64> = (0..50_000)
            .filter(|index| feed(3).is_broken(*index))
            .collect();
        let blocks: Vec<u64> = broken.iter().map(|index| index / 10_000).collect();
        assert_eq!(blocks, [0, 1, 2, 3, 4]);

        let readable = |index| {
            let trade: Value = serde_json::from_slice(&message(3, index)).ok()?;
            trade["price"].as_str()?.parse::<f64>().ok()
        };
        assert!(broken.iter().all(|index| readable(*index).is_none()));
        assert!((0..500).all(|index| broken.contains(&index) || readable(index).is_some()));
    }

    #[test]
    fn every_exchange_has_ten_markets_and_ids_are_unique() {
        let mut markets: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut ids = BTreeSet::new();
        let mut rows = 0;
        let mut payload = Vec::new();
        for index in 0..4_000 {
            let head = feed(3).write(index, &mut payload);
            let Ok(trade) = serde_json::from_slice::<Value>(&payload) else {
                continue;
            };
            let text = |name: &str| trade[name].as_str().unwrap_or_default().to_owned();
            if text("base").is_empty() {
                continue;
            }
            rows += 1;
            ids.insert(text("id"));
            assert_eq!(
                text("market"),
                format!("{}-{}", text("base"), text("quote"))
            );
            assert_eq!(text("market"), head.key);
            markets
                .entry(text("exchange"))
                .or_default()
                .insert(text("market"));
        }
        assert_eq!(ids.len(), rows);
        assert_eq!(markets.len(), EXCHANGES.len());
        assert!(markets.values().all(|own| own.len() == BASES.len()));
    }

    #[test]
    fn rows_are_out_of_order_by_at_most_two_seconds() {
        let mut payload = Vec::new();
        let mut latest_ms = 0;
        let mut most_behind_ms = 0;
        for index in 0..4_000 {
            let head = feed(3).write(index, &mut payload);
            let Ok(trade) = serde_json::from_slice::<Value>(&payload) else {
                continue;
            };
            let time = trade["timestamp"].as_str().unwrap();
            let time_ms = chrono::DateTime::parse_from_rfc3339(time)
                .unwrap()
                .timestamp_millis();
            let late_ms = head.record_time_ms - time_ms;
            assert!((0..2_000).contains(&late_ms), "{late_ms}");
            most_behind_ms = most_behind_ms.max(latest_ms - time_ms);
            latest_ms = latest_ms.max(time_ms);
        }
        assert!((1_000..2_000).contains(&most_behind_ms), "{most_behind_ms}");
    }
}
