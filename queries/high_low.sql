-- The all-time high and low of each market: a row whenever one of the two is broken.
CREATE VIEW IF NOT EXISTS high_low AS
SELECT market, max(price) AS high, min(price) AS low
FROM trades
GROUP BY market;

SET live_start = 'earliest';
SELECT * FROM high_low EMIT CHANGES;
