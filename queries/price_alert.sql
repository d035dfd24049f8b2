-- An alert that fires once a market when its price is well above its usual one, and again only after it was back near that.
CREATE ALERT IF NOT EXISTS price_high ON (
  SELECT market, window_start, window_end, last_value(price ORDER BY "timestamp") AS price, round(avg(price), 6) AS usual
  FROM HOP(trades, "timestamp", INTERVAL '1 minute', INTERVAL '5 minutes')
  GROUP BY market, window_start, window_end
) KEY (market) WHEN price > 1.025 * usual CLEAR WHEN price < 1.005 * usual COOLDOWN '5 minutes' SEVERITY 'critical'
MESSAGE '{{ market }} at {{ price }}, usually {{ usual }}' RESOLVED MESSAGE '{{ market }} is back at {{ price }}';

FLUSH;

SELECT state, message FROM headwater.alert_events WHERE alert = 'price_high' ORDER BY event_time;
