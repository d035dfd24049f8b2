-- Expand bids with their auctions, of one category.
SELECT bid.auction, bidder, price, channel, url, bid.date_time, item_name, description, initial_bid, reserve,
       auction.date_time AS auction_date_time, expires, seller, category
FROM bid JOIN auction ON bid.auction = auction.id
WHERE category = 10
EMIT CHANGES
