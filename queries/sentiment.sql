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

SELECT "timestamp",
       text,
       round(score, 2) AS score,
       CASE WHEN score <= 0.3 THEN '#negative' WHEN score >= 0.9 THEN '#positive' END AS goes_to
FROM scored_feedback
EMIT CHANGES;
