-- Hot items: the auctions with the most bids of the last ten seconds, every two seconds.
SELECT auction, num, window_start, window_end FROM (
  SELECT *, RANK() OVER (PARTITION BY window_start, window_end ORDER BY num DESC) AS place FROM (
    SELECT window_start, window_end, auction, count(*) AS num
    FROM HOP(bid, date_time, INTERVAL '2 seconds', INTERVAL '10 seconds')
    GROUP BY window_start, window_end, auction))
WHERE place = 1
EMIT FINAL
