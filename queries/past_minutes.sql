-- Markets whose price or turnover went over a threshold in the past two minutes, looked at every 30 seconds.
-- With EMIT CHANGES instead of EMIT FINAL a row comes as soon as the line is crossed, not when the window has closed.
CREATE VIEW IF NOT EXISTS past_minutes AS
SELECT window_end,
       market,
       max(price) AS high,
       round(sum(price * volume)) AS turnover
FROM HOP(trades, "timestamp", INTERVAL '30 seconds', INTERVAL '2 minutes')
GROUP BY window_start, window_end, market
HAVING max(price) > 7360 OR sum(price * volume) > 530000;

SELECT * FROM past_minutes EMIT FINAL;
