-- One candle a minute for each market: live, and kept to be asked for any time.
CREATE VIEW IF NOT EXISTS candles AS
SELECT window_start,
       market,
       first_value(price ORDER BY "timestamp") AS open,
       max(price) AS high,
       min(price) AS low,
       last_value(price ORDER BY "timestamp") AS close,
       round(sum(volume), 4) AS volume,
       count(*) AS trades
FROM TUMBLE(trades, "timestamp", INTERVAL '1 minute')
GROUP BY window_start, market;

CREATE MATERIALIZED VIEW IF NOT EXISTS candle_history AS SELECT * FROM candles;

SELECT * FROM candles EMIT FINAL;
