"""Slow, plain definitions of every indicator, on one series: lists in, lists out, nothing clever.

Rolling ones look at each window afresh; recursive ones see only the rows on which all inputs are there.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

NAN = math.nan


def missing(*values: float) -> bool:
    return any(math.isnan(v) for v in values)


def rolling(function, window, *series):
    """`function` of each window of rows that has no gap; NaN elsewhere."""
    out = []
    for t in range(len(series[0])):
        parts = [s[t - window + 1 : t + 1] if t + 1 >= window else [NAN] for s in series]
        out.append(NAN if missing(*(v for part in parts for v in part)) else function(*parts))
    return out


def where_complete(function, *series):
    """`function` of the series without the rows that have a gap, its results put back on their rows."""
    rows = [t for t in range(len(series[0])) if not missing(*(s[t] for s in series))]
    results = function(*([s[t] for t in rows] for s in series))
    results = results if isinstance(results, tuple) else (results,)
    placed = []
    for result in results:
        out = [NAN] * len(series[0])
        for t, value in zip(rows, result, strict=True):
            out[t] = value
        placed.append(out)
    return placed[0] if len(placed) == 1 else tuple(placed)


def exact_mean(part):
    return sum(map(Fraction, part)) / len(part)


def exact_deviation(part, ddof):
    """The standard deviation by rational arithmetic; only its root is rounded."""
    mean = exact_mean(part)
    square = sum((Fraction(v) - mean) ** 2 for v in part) / (len(part) - ddof)
    return math.sqrt(square)


def sma(close, window):
    return rolling(lambda part: float(exact_mean(part)), window, close)


def wma(close, window):
    total = window * (window + 1) / 2
    return rolling(lambda part: math.fsum((i + 1) * v for i, v in enumerate(part)) / total, window, close)


def stddev(close, window, k, ddof):
    return rolling(lambda part: k * exact_deviation(part, ddof), window, close)


def bbands(close, window, k, ddof):
    middle, deviation = sma(close, window), stddev(close, window, k, ddof)
    pairs = list(zip(middle, deviation, strict=True))
    return [m + d for m, d in pairs], middle, [m - d for m, d in pairs]


def linearreg_slope(close, window):
    def slope(part):
        mean = exact_mean(part)
        centre = Fraction(window - 1, 2)
        above = sum((i - centre) * (Fraction(v) - mean) for i, v in enumerate(part))
        return float(above / sum((i - centre) ** 2 for i in range(window)))

    return rolling(slope, window, close)


def max(close, window):
    return rolling(lambda part: sorted(part)[-1], window, close)


def min(close, window):
    return rolling(lambda part: sorted(part)[0], window, close)


def aroon(high, low, window):
    def recent(part, extreme):
        latest = [i for i, v in enumerate(part) if v == extreme][-1]
        return 100 * latest / window

    down = rolling(lambda part: recent(part, sorted(part)[0]), window + 1, low)
    up = rolling(lambda part: recent(part, sorted(part)[-1]), window + 1, high)
    return down, up


def stoch(high, low, close, fastk, slowk, slowd):
    def raw(high, low, close):
        top, bottom = sorted(high)[-1], sorted(low)[0]
        return 100 * (close[-1] - bottom) / (top - bottom) if top > bottom else 0.0

    # only the window's last close matters: an earlier one that is missing does no harm
    last = [[NAN] * len(close) if missing(c) else [c] * len(close) for c in close]
    fast = [
        NAN if missing(c) else rolling(raw, fastk, high[: t + 1], low[: t + 1], last[t][: t + 1])[t]
        for t, c in enumerate(close)
    ]
    smooth = rolling(lambda part: math.fsum(part) / slowk, slowk, fast)
    again = rolling(lambda part: math.fsum(part) / slowd, slowd, smooth)
    return [NAN if missing(b) else a for a, b in zip(smooth, again, strict=True)], again


def mfi(high, low, close, volume, window):
    typical = [(h + s + c) / 3 for h, s, c in zip(high, low, close, strict=True)]
    before = [NAN, *typical[:-1]]

    def share(now, past, volume):
        flows = [((n - p) / n, n * v) for n, p, v in zip(now, past, volume, strict=True)]
        up = math.fsum(f for move, f in flows if move > 1e-15)
        down = math.fsum(f for move, f in flows if move < -1e-15)
        return 100 * up / (up + down) if up + down else 0.0

    return rolling(share, window, typical, before, volume)


def roc(close, window):
    past = [*[NAN] * window, *close][: len(close)]
    return [NAN if missing(c, p) else 100 * (c - p) / p if p else 0.0 for c, p in zip(close, past, strict=True)]


def lag(close, lag):
    return [*[NAN] * lag, *close][: len(close)]


def seeded(values, window, alpha):
    """Exponential mean that starts with the mean of the first values."""
    out = [NAN] * len(values)
    for t in range(window - 1, len(values)):
        last = math.fsum(values[:window]) / window if t == window - 1 else out[t - 1]
        out[t] = last if t == window - 1 else last + alpha * (values[t] - last)
    return out


def ema(close, window):
    return where_complete(lambda c: seeded(c, window, 2 / (window + 1)), close)


def macd(close, fast, slow, signal):
    def lines(close):
        late = slow - fast
        quick = [NAN] * late + seeded(close[late:], fast, 2 / (fast + 1)) if len(close) > late else [NAN] * len(close)
        line = [q - s for q, s in zip(quick, seeded(close, slow, 2 / (slow + 1)), strict=True)]
        smooth = [NAN] * (slow - 1) + seeded(line[slow - 1 :], signal, 2 / (signal + 1))
        smooth = smooth[: len(close)]
        line = [NAN if missing(s) else v for v, s in zip(line, smooth, strict=True)]
        return line, smooth, [v - s for v, s in zip(line, smooth, strict=True)]

    return where_complete(lines, close)


def rsi(close, window):
    def strength(close):
        moves = [b - a for a, b in itertools.pairwise(close)]
        up = seeded([m if m > 0 else 0.0 for m in moves], window, 1 / window)
        down = seeded([-m if m < 0 else 0.0 for m in moves], window, 1 / window)
        shares = [100 * u / (u + d) if u + d > 0 or missing(u) else 0.0 for u, d in zip(up, down, strict=True)]
        return [NAN, *shares][: len(close)]

    return where_complete(strength, close)


def true_ranges(high, low, close):
    pairs = zip(high[1:], low[1:], close[:-1], strict=True)
    return [sorted((h - s, abs(h - c), abs(s - c)))[-1] for h, s, c in pairs]


def atr(high, low, close, window):
    def mean(high, low, close):
        return [NAN, *seeded(true_ranges(high, low, close), window, 1 / window)][: len(close)]

    return where_complete(mean, high, low, close)


def adx(high, low, close, window):
    def index(high, low, close):
        ranges = true_ranges(high, low, close)
        ups = [b - a for a, b in itertools.pairwise(high)]
        downs = [a - b for a, b in itertools.pairwise(low)]
        plus = minus = total = mean = 0.0
        count, out = 0, [NAN] * len(close)
        for t, (up, down, span) in enumerate(zip(ups, downs, ranges, strict=True), start=1):
            keep = 1 if t < window else 1 - 1 / window
            plus = plus * keep + (up if up > down and up > 0 else 0)
            minus = minus * keep + (down if down > up and down > 0 else 0)
            total = total * keep + span
            if t < window:
                continue
            count += 1
            directed = total > 0 and plus + minus > 0
            dx = 100 * abs(plus - minus) / (plus + minus) if directed else None
            if count <= window:
                mean += (dx or 0) / window
            elif dx is not None:
                mean += (dx - mean) / window
            out[t] = mean if count >= window else NAN
        return out

    return where_complete(index, high, low, close)


def obv(close, volume):
    def total(close, volume):
        out = [Fraction(volume[0])] if close else []
        for t in range(1, len(close)):
            sign = (close[t] > close[t - 1]) - (close[t] < close[t - 1])
            out.append(out[-1] + sign * Fraction(volume[t]))
        return [float(v) for v in out]

    return where_complete(total, close, volume)
