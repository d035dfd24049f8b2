-- What customers write, as it comes in from every channel.
CREATE TABLE IF NOT EXISTS feedback (
  id text,
  "user" text,
  channel text,
  text text,
  "timestamp" timestamptz,
  WATERMARK FOR "timestamp" AS "timestamp" - INTERVAL '1 second'
) WITH (connector = 'kafka', topic = 'feedback', format = 'json');

SELECT "timestamp", channel, "user", text
FROM feedback
EMIT CHANGES;
