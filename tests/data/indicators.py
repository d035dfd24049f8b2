"""Computes tests/data/indicators.csv with pandas: what the market indicators are, for each minute and market of trades.ndjson.

    python3 tests/data/indicators.py > tests/data/indicators.csv
"""

import json
import pathlib
import sys

import numpy
import pandas


def rsi(prices, period):
    change = prices.diff().dropna()
    if len(change) < period:
        return None
    gain, loss = change.clip(lower=0), (-change).clip(lower=0)

    def mean(moves):
        # Wilder: a plain mean of the first ones, then each new one counts 1 / period.
        first = pandas.Series([moves[:period].mean()])
        moves = pandas.concat([first, moves[period:]])
        return moves.ewm(alpha=1 / period, adjust=False).mean().iloc[-1]

    gain, loss = mean(gain), mean(loss)
    return 100 - 100 / (1 + gain / loss) if loss else 100.0


def indicators(trades):
    trades = trades.sort_values(["timestamp", "price"])
    price, volume = trades.price, trades.volume
    returns = numpy.log(price / price.shift())
    return pandas.Series({
        "vwap": (price * volume).sum() / volume.sum(),
        "ema": price.ewm(alpha=0.2, adjust=False).mean().iloc[-1],
        "rsi": rsi(price, 14),
        "rsi_5": rsi(price, 5),
        "volatility": returns.std(),
        "drawdown": (1 - price / price.cummax()).max(),
        "pct_change": price.iloc[-1] / price.iloc[0] - 1,
        "zscore": (price.iloc[-1] - price.mean()) / price.std(),
    }, dtype=float)


def trade(line):
    try:
        row = json.loads(line)
        return row["timestamp"][:16], row["market"], row["timestamp"], float(row["price"]), float(row["volume"])
    except (ValueError, TypeError, KeyError):
        return None


lines = (pathlib.Path(__file__).parent / "trades.ndjson").read_text().splitlines()
trades = [row for row in map(trade, lines) if row]
trades = pandas.DataFrame(trades, columns=["minute", "market", "timestamp", "price", "volume"])
trades.groupby(["minute", "market"])[["timestamp", "price", "volume"]].apply(indicators).to_csv(sys.stdout)
