-- A public exchange's trades, from its websocket into a topic, over indicators of each minute into another topic.
-- The trades come by a feed, in a shell of its own; behind --kafka stands the broker that the server uses, which the demo prints:
--
--   headwater feed websocket wss://advanced-trade-ws.coinbase.com \
--     --subscribe '{"type":"subscribe","channel":"market_trades","product_ids":["BTC-USD","ETH-USD"]}' \
--     --subscribe '{"type":"subscribe","channel":"heartbeats"}' \
--     --array-path events.trades --key-path product_id --topic coinbase --create-topic --kafka localhost:9092
CREATE TABLE IF NOT EXISTS coinbase (
  trade_id text,
  product_id text,
  price double precision,
  size double precision,
  side text,
  "time" timestamptz,
  WATERMARK FOR "time" AS "time" - INTERVAL '5 seconds'
) WITH (connector = 'kafka', topic = 'coinbase', format = 'json', create_topic = true);

CREATE SINK IF NOT EXISTS coinbase_minutes WITH (connector = 'kafka', topic = 'coinbase-minutes', key_columns = 'market') AS
SELECT window_start,
       product_id AS market,
       round(vwap(price, size), 4) AS vwap,
       round(ema(price, 0.2 ORDER BY "time"), 4) AS ema,
       round(rsi(price, 5 ORDER BY "time"), 1) AS rsi,
       round(volatility(price ORDER BY "time"), 6) AS volatility,
       round(drawdown(price ORDER BY "time"), 6) AS drawdown
FROM TUMBLE(coinbase, "time", INTERVAL '1 minute')
GROUP BY window_start, product_id
EMIT FINAL;

-- The topic that the sink writes, as a table.
CREATE TABLE IF NOT EXISTS coinbase_minutes_topic (
  window_start timestamptz,
  market text,
  vwap double precision,
  ema double precision,
  rsi double precision,
  volatility double precision,
  drawdown double precision
) WITH (connector = 'kafka', topic = 'coinbase-minutes', format = 'json');

SELECT window_start, market, vwap, ema, rsi, volatility, drawdown
FROM coinbase_minutes_topic
EMIT CHANGES;
