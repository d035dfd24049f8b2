-- Processing-time windows: how many bids a bidder made in each ten seconds of the clock.
SELECT bidder, count(*) AS bids, window_start, window_end
FROM TUMBLE(bid, proctime(), INTERVAL '10 seconds')
GROUP BY window_start, window_end, bidder
EMIT FINAL
