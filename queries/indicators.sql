-- Market indicators of each minute: mean price by volume, trend, strength, risk, and how unusual the last price is.
CREATE VIEW IF NOT EXISTS indicators AS
SELECT window_start,
       market,
       round(vwap(price, volume), 4) AS vwap,
       round(ema(price, 0.2 ORDER BY "timestamp"), 4) AS ema,
       round(rsi(price, 5 ORDER BY "timestamp"), 1) AS rsi,
       round(volatility(price ORDER BY "timestamp"), 6) AS volatility,
       round(drawdown(price ORDER BY "timestamp"), 6) AS drawdown,
       round(pct_change(price ORDER BY "timestamp"), 6) AS pct_change,
       round(zscore(price ORDER BY "timestamp"), 3) AS zscore
FROM TUMBLE(trades, "timestamp", INTERVAL '1 minute')
GROUP BY window_start, market;

SELECT * FROM indicators EMIT FINAL;
