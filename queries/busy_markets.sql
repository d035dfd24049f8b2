-- Markets in which more than 250,000 were turned over within a minute.
CREATE VIEW IF NOT EXISTS busy_markets AS
SELECT window_start,
       market,
       round(sum(price * volume)) AS turnover,
       count(*) AS trades
FROM TUMBLE(trades, "timestamp", INTERVAL '1 minute')
GROUP BY window_start, market
HAVING sum(price * volume) > 250000;

SELECT * FROM busy_markets EMIT FINAL;
