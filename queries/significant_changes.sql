-- Significant changes: a price that moved by more than 3 % within two minutes, or ten seconds with far more volume than usual.
CREATE VIEW IF NOT EXISTS ten_seconds AS
SELECT window_time AS at,
       market,
       last_value(price ORDER BY "timestamp") AS price,
       sum(volume) AS volume
FROM TUMBLE(trades, "timestamp", INTERVAL '10 seconds')
GROUP BY window_start, window_time, market;

-- A window over windows: the last ten seconds against the two minutes that they end.
CREATE VIEW IF NOT EXISTS significant_changes AS
SELECT window_end,
       market,
       round(100 * pct_change(price ORDER BY at), 2) AS change_percent,
       round(last_value(volume ORDER BY at)) AS volume,
       round(zscore(volume ORDER BY at), 2) AS volume_zscore
FROM HOP(ten_seconds, at, INTERVAL '10 seconds', INTERVAL '2 minutes')
GROUP BY window_start, window_end, market
HAVING abs(pct_change(price ORDER BY at)) > 0.03 OR zscore(volume ORDER BY at) > 2.05;

SELECT * FROM significant_changes EMIT FINAL;
