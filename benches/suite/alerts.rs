//! Alerts over trades: as many different ones as are asked for.

const EXCHANGES: [&str; 5] = ["Binance", "Bitfinex", "Coinbase", "Kraken", "Poloniex"];
const BASES: [&str; 10] = [
    "BTC", "ETH", "XRP", "EOS", "LTC", "ADA", "XLM", "NEO", "TRX", "DASH",
];

/// The alert of this number: a condition on hopping windows, on tumbling windows, on trades as they
/// are, or on a value computed of them, in turn. None is equal to another.
pub(crate) fn alert(number: usize) -> String {
    let exchange = EXCHANGES[number % EXCHANGES.len()];
    let base = BASES[number / 2 % BASES.len()];
    match number % 4 {
        0 => format!(
            "SELECT window_start, market, avg(price) AS mean, count(*) AS n \
             FROM HOP(trades, \"timestamp\", INTERVAL '10 seconds', INTERVAL '1 minute') \
             WHERE exchange = '{exchange}' GROUP BY window_start, window_end, market \
             HAVING count(*) > {} EMIT CHANGES",
            14_000 + 2 * number
        ),
        1 => format!(
            "SELECT window_start, exchange, sum(volume) AS volume \
             FROM TUMBLE(trades, \"timestamp\", INTERVAL '1 minute') \
             WHERE base = '{base}' GROUP BY window_start, window_end, exchange \
             HAVING count(*) > {} EMIT CHANGES",
            14_000 + number
        ),
        2 => format!(
            "SELECT \"timestamp\", exchange, price, volume FROM trades \
             WHERE base = '{base}' AND volume > {} EMIT CHANGES",
            3_000 + number
        ),
        _ => format!(
            "SELECT \"timestamp\", market, price * volume AS value FROM trades \
             WHERE exchange = '{exchange}' AND price * volume > {} EMIT CHANGES",
            1_500 + number
        ),
    }
}

/// One aggregate with the threshold of this number.
pub(crate) fn threshold(number: usize) -> String {
    format!(
        "SELECT window_start, market, count(*) AS n, sum(volume) AS volume \
         FROM TUMBLE(trades, \"timestamp\", INTERVAL '1 minute') \
         GROUP BY window_start, window_end, market HAVING count(*) > {} EMIT CHANGES",
        25_000 + 1_000 * number
    )
}
