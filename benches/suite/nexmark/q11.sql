-- User sessions: how many bids a bidder made in each session.
SELECT bidder, count(*) AS bids, window_start, window_end
FROM SESSION(bid PARTITION BY bidder, date_time, INTERVAL '10 seconds')
GROUP BY window_start, window_end, bidder
EMIT FINAL
