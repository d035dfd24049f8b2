-- The same questions as alerts: a market at its all-time high, a price that jumps, a turnover, a trade that would pay.
-- Each is told once when it begins and once when it is over, in headwater.alert_events, to the sink and to who says LISTEN alerts.
-- In Slack, the sink is made like this:
--
--   CREATE SECRET trading_desk_hook AS 'https://hooks.slack.com/services/..';
--   CREATE SINK trading_desk WITH (connector = 'slack', webhook_url = SECRET trading_desk_hook);
CREATE SINK IF NOT EXISTS trading_desk WITH (connector = 'blackhole');

CREATE ALERT IF NOT EXISTS all_time_high ON (
  SELECT market, max(price) AS high, arg_max("timestamp", price) AS reached_at, max("timestamp") AS latest
  FROM trades GROUP BY market
) KEY (market) WHEN reached_at > latest - INTERVAL '1 minute' CLEAR WHEN reached_at < latest - INTERVAL '10 minutes'
SEVERITY 'info' NOTIFY trading_desk MESSAGE '{{ market }} is higher than ever: {{ high }}'
RESOLVED MESSAGE '{{ market }} has not been higher than {{ high }} for ten minutes';

CREATE ALERT IF NOT EXISTS price_jump ON (
  SELECT market, window_start, window_end, round(100 * pct_change(price ORDER BY "timestamp"), 2) AS change
  FROM HOP(trades, "timestamp", INTERVAL '10 seconds', INTERVAL '1 minute')
  GROUP BY market, window_start, window_end
) KEY (market) WHEN abs(change) > 3 CLEAR WHEN abs(change) < 1 COOLDOWN '10 minutes' NOTIFY trading_desk
MESSAGE '{{ market }} moved by {{ change }} % within a minute' RESOLVED MESSAGE '{{ market }} is calm again';

-- A minute's last ten seconds against the whole of it.
CREATE ALERT IF NOT EXISTS busy_market ON (
  SELECT market, window_start, window_end, min("timestamp") AS since, round(sum(price * volume) / 6) AS usual,
         round(sum(price * volume) FILTER (WHERE "timestamp" >= window_end - INTERVAL '10 seconds')) AS turnover
  FROM HOP(trades, "timestamp", INTERVAL '10 seconds', INTERVAL '1 minute')
  GROUP BY market, window_start, window_end
) KEY (market) WHEN turnover > 1.5 * usual AND since < window_start + INTERVAL '10 seconds'
CLEAR WHEN turnover < 1.2 * usual COOLDOWN '5 minutes' NOTIFY trading_desk
MESSAGE '{{ market }}: {{ turnover }} were turned over within ten seconds, usually {{ usual }}'
RESOLVED MESSAGE '{{ market }} is as busy as usual';

CREATE ALERT IF NOT EXISTS profitable_trade ON (
  SELECT base, round(100 * (greatest(binance, coinbase) * 0.999 / (least(binance, coinbase) * 1.001) - 1), 2) AS profit
  FROM (
    SELECT base,
           last_value(price ORDER BY "timestamp") FILTER (WHERE exchange = 'Binance') AS binance,
           last_value(price ORDER BY "timestamp") FILTER (WHERE exchange = 'Coinbase') AS coinbase
    FROM trades WHERE quote IN ('USD', 'USDT') GROUP BY base
  )
) KEY (base) WHEN profit > 0.5 CLEAR WHEN profit < 0.2 COOLDOWN '5 minutes' SEVERITY 'critical'
NOTIFY trading_desk MESSAGE '{{ base }}: {{ profit }} % between Binance and Coinbase, after fees'
RESOLVED MESSAGE '{{ base }}: the difference between Binance and Coinbase is gone';

FLUSH;

SELECT DISTINCT alert, severity, key
FROM headwater.alert_events
WHERE state = 'firing' AND alert IN ('all_time_high', 'price_jump', 'busy_market', 'profitable_trade')
ORDER BY alert, key;
