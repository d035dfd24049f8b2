-- What customers write, scored from 0 to 1: the angry and the delighted go to places of their own.
CREATE TABLE IF NOT EXISTS feedback (
  id text,
  "user" text,
  channel text,
  text text,
  "timestamp" timestamptz,
  WATERMARK FOR "timestamp" AS "timestamp" - INTERVAL '1 second'
) WITH (connector = 'kafka', topic = 'feedback', format = 'json');

CREATE VIEW IF NOT EXISTS scored_feedback AS
SELECT "timestamp", channel, "user", text, sentiment(text) AS score
FROM feedback;

CREATE VIEW IF NOT EXISTS negative_feedback AS SELECT * FROM scored_feedback WHERE score <= 0.3;
CREATE VIEW IF NOT EXISTS positive_feedback AS SELECT * FROM scored_feedback WHERE score >= 0.9;

-- Each place is a topic here. In Slack one sink serves both channels:
--
--   CREATE SECRET slack_token AS 'xoxb-..';
--   CREATE SINK moods WITH (connector = 'slack', token = SECRET slack_token, channel_column = 'goes_to',
--     text = '{{ user }} by {{ channel }}: {{ text }}') AS
--   SELECT *, CASE WHEN score <= 0.3 THEN '#negative' ELSE '#positive' END AS goes_to
--   FROM scored_feedback WHERE score <= 0.3 OR score >= 0.9;
CREATE SINK IF NOT EXISTS to_negative WITH (connector = 'kafka', topic = 'negative') AS SELECT * FROM negative_feedback;
CREATE SINK IF NOT EXISTS to_positive WITH (connector = 'kafka', topic = 'positive') AS SELECT * FROM positive_feedback;

SELECT "timestamp",
       text,
       round(score, 2) AS score,
       CASE WHEN score <= 0.3 THEN '#negative' WHEN score >= 0.9 THEN '#positive' END AS goes_to
FROM scored_feedback
EMIT CHANGES;
