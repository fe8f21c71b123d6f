"""Which of three barriers a price meets first: one above, one below, and the end of the horizon.

Walk: time outside, symbols inside, and from each sample ahead, row by row, until a barrier is met. The walk ahead
is a scalar one with a branch that leaves it: a loop over symbols without branches, row ahead by row ahead, was 2 to
6 times slower, as it goes on until the last symbol of the row is through, and most have met a barrier long before.

A label looks ahead, so that nothing is carried from row to row and no call can be resumed: `state` has no rows, and a
sample whose horizon ends after the last row that is given has no label.
"""

from common cimport INFINITY, NAN, real


def triple_barrier(
    const real[:, ::1] close,
    const real[:, ::1] high,
    const real[:, ::1] low,
    const double[:, ::1] width,
    Py_ssize_t horizon,
    double up,
    double down,
    double[:, ::1] state,
    double[:, ::1] side,
    double[:, ::1] move,
    double[:, ::1] span,
):
    """The side that is met (1, -1, 0 for neither), the return there, and how many rows ahead; NaN without a label.

    `close` is positive or NaN; `width` is a fraction of it, and a multiple of 0 leaves its barrier out.
    """
    cdef Py_ssize_t t, u, j, n = close.shape[1], rows = close.shape[0]
    cdef double price, upper, lower, above, below, met, to, w
    with nogil:
        for t in range(rows):
            for j in range(n):
                side[t, j] = move[t, j] = span[t, j] = NAN
                price = close[t, j]
                w = width[t, j]
                if t + horizon >= rows or price != price or not 0 < w < INFINITY:
                    continue
                upper = price * (1 + up * w) if up > 0 else INFINITY
                lower = price * (1 - down * w) if down > 0 else -INFINITY
                met = 0
                to = close[t + horizon, j]
                u = t + horizon
                for u in range(t + 1, t + horizon + 1):
                    above = high[u, j]
                    below = low[u, j]
                    # the lower one first: of two that are met in one bar, the loss is what counts
                    if below <= lower:
                        met = -1
                        to = above if above < lower else lower
                        break
                    if above >= upper:
                        met = 1
                        to = below if below > upper else upper
                        break
                if to == to:
                    side[t, j] = met
                    move[t, j] = to / price - 1
                    span[t, j] = u - t
