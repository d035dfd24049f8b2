-- What a trade would earn now: bought where the last price is lowest, sold where it is highest, after fees of 0.1 % a side.
-- A dollar and a tether count alike here; fees that differ belong to each exchange's price.
CREATE VIEW IF NOT EXISTS last_prices AS
SELECT base,
       last_value(price ORDER BY "timestamp") FILTER (WHERE exchange = 'Binance') AS binance,
       last_value(price ORDER BY "timestamp") FILTER (WHERE exchange = 'Bitfinex') AS bitfinex,
       last_value(price ORDER BY "timestamp") FILTER (WHERE exchange = 'Coinbase') AS coinbase,
       last_value(price ORDER BY "timestamp") FILTER (WHERE exchange = 'Poloniex') AS poloniex
FROM trades
WHERE quote IN ('USD', 'USDT')
GROUP BY base;

CREATE VIEW IF NOT EXISTS profit_now AS
SELECT base,
       CASE low WHEN binance THEN 'Binance' WHEN bitfinex THEN 'Bitfinex' WHEN coinbase THEN 'Coinbase' ELSE 'Poloniex' END AS buy_at,
       low AS buy_for,
       CASE high WHEN binance THEN 'Binance' WHEN bitfinex THEN 'Bitfinex' WHEN coinbase THEN 'Coinbase' ELSE 'Poloniex' END AS sell_at,
       high AS sell_for,
       round(100 * (high * 0.999 / (low * 1.001) - 1), 2) AS profit_percent
FROM (
  SELECT *,
         least(binance, bitfinex, coinbase, poloniex) AS low,
         greatest(binance, bitfinex, coinbase, poloniex) AS high
  FROM last_prices
);

SET live_start = 'earliest';
SELECT * FROM profit_now EMIT CHANGES;
