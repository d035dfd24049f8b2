-- Highest bid: the bids with the highest price of each ten seconds.
SELECT auction, price, bidder, date_time, extra FROM (
  SELECT *, RANK() OVER (PARTITION BY window_start, window_end ORDER BY price DESC) AS place
  FROM TUMBLE(bid, date_time, INTERVAL '10 seconds'))
WHERE place = 1
EMIT FINAL
