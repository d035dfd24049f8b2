-- Trades of five exchanges as they come in: a topic as a table, and a live look at it.
CREATE TABLE IF NOT EXISTS trades (
  id text,
  exchange text,
  market text,
  base text,
  quote text,
  price double precision,
  volume double precision,
  "timestamp" timestamptz,
  WATERMARK FOR "timestamp" AS "timestamp" - INTERVAL '5 seconds'
) WITH (connector = 'kafka', topic = 'trades', format = 'json');

SELECT "timestamp", exchange, market, price, volume
FROM trades
EMIT CHANGES;
