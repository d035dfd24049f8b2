-- An alert that fires once a market when its price crosses a line, and again only after the price was back below another.
CREATE ALERT IF NOT EXISTS price_high ON (SELECT market, price, "timestamp" FROM trades) KEY (market)
WHEN price > 7340 CLEAR WHEN price < 7320 SEVERITY 'critical' MESSAGE '{{ market }} at {{ price }}'
RESOLVED MESSAGE '{{ market }} is back at {{ price }}';

FLUSH;

SELECT state, message FROM headwater.alert_events WHERE alert = 'price_high' ORDER BY event_time;
