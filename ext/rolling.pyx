"""Rolling windows by blocks (van Herk 1992; Gil and Werman 1993), for any statistic that can be merged.

Walk: time is cut into blocks as long as the window. While a block fills, its total from the front (the prefix)
grows; when it is full, the totals from each of its rows to its end (the suffixes) are folded over its raw rows, from
the back. Each window is one suffix of the last block merged with the prefix of this one. So nothing is ever
subtracted: no drift on any number of rows, a flat window has a deviation of exactly 0, a NaN is gone the moment it
leaves the window, and the cost does not depend on the window.

State: row 0 holds the number of rows in the block plus one (0: not started), the next rows the prefix, the rest a
table with one row a block row and part of the statistic, closed by the empty suffix.

Each statistic is two loops over symbols, push (a row enters, a window leaves) and fold, and a walk over time. Blocks
know nothing of each other but their last neighbour, so the face lays a long single series out as a wide plane
(`interleave`, below), which runs through the same walk, inlined once more for just that width.

Tried and slower or worse: running sums with compensation (the same speed, but NaN needs counts, and neither extremes
nor deviations come out of it); Welford's update (no safer than sums about a value inside the block, and longer);
a scalar walk for a single series (its chain of dependent additions loses to TA-Lib); tiles of 64 columns (up to 2x
slower).
"""

from common cimport INFINITY, NAN, divided, fill, prefetch, real, row, sqrt

cdef enum:
    LANES = 16  # as WIDE in kernels.py

# ----------------------------------------------------------------------------------------------------- sum and mean


cdef inline void mean_push(const real* x, row total, row slot, const double* suffix, real* out, Py_ssize_t n,
                           double divisor) noexcept nogil:
    cdef Py_ssize_t j
    cdef double v, inverse = 1 / divisor
    for j in range(n):
        v = x[j]
        slot[j] = v
        v = total[j] + v
        total[j] = v
        out[j] = <real>divided(v + suffix[j], divisor, inverse)


cdef inline void mean_fold(row slot, row total, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(n):
        total[j] = total[j] + slot[j]
        slot[j] = total[j]


cdef inline int mean_walk(const real[:, ::1] x, Py_ssize_t window, double divisor, double[:, ::1] state,
                          real[:, ::1] out, Py_ssize_t n) except -1 nogil:
    cdef Py_ssize_t i, t, w = window, p = <Py_ssize_t>state[0, 0] - 1
    if p < 0:
        p = 0
        for i in range(w):
            fill(&state[2 + i, 0], n, NAN)
    for t in range(x.shape[0]):
        if p == w:
            fill(&state[1, 0], n, 0)
            for i in range(w - 1, -1, -1):
                mean_fold(&state[2 + i, 0], &state[1, 0], n)
            fill(&state[1, 0], n, 0)
            p = 0
        mean_push(&x[t, 0], &state[1, 0], &state[2 + p, 0], &state[3 + p, 0], &out[t, 0], n, divisor)
        p += 1
    state[0, 0] = p + 1
    return 0


def rolling_mean(const real[:, ::1] x, Py_ssize_t window, double divisor, double[:, ::1] state, real[:, ::1] out):
    """Sum over `window` rows divided by `divisor`; state: window + 3 rows."""
    with nogil:
        if x.shape[1] == LANES:
            mean_walk(x, window, divisor, state, out, LANES)
        else:
            mean_walk(x, window, divisor, state, out, x.shape[1])


cdef inline void share_push(const real* x, const real* y, row total, row other, row slot, row yslot,
                            const double* suffix, const double* ysuffix, real* out, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t j
    cdef double v, u
    for j in range(n):
        v = x[j]
        u = y[j]
        slot[j] = v
        yslot[j] = u
        v = total[j] + v
        u = other[j] + u
        total[j] = v
        other[j] = u
        v = v + suffix[j]
        u = v + (u + ysuffix[j])
        v = 100 * (v / u)
        out[j] = <real>(0 if u == 0 else v)


cdef inline int share_walk(const real[:, ::1] x, const real[:, ::1] y, Py_ssize_t window, double[:, ::1] state,
                           real[:, ::1] out, Py_ssize_t n) except -1 nogil:
    cdef Py_ssize_t i, k, t, w = window, p = <Py_ssize_t>state[0, 0] - 1
    if p < 0:
        p = 0
        for i in range(2 * w):
            fill(&state[3 + i, 0], n, NAN)
    for t in range(x.shape[0]):
        if p == w:
            fill(&state[1, 0], n, 0)
            fill(&state[2, 0], n, 0)
            for i in range(w - 1, -1, -1):
                mean_fold(&state[3 + 2 * i, 0], &state[1, 0], n)
                mean_fold(&state[4 + 2 * i, 0], &state[2, 0], n)
            fill(&state[1, 0], n, 0)
            fill(&state[2, 0], n, 0)
            p = 0
        k = 2 * p
        share_push(&x[t, 0], &y[t, 0], &state[1, 0], &state[2, 0], &state[3 + k, 0], &state[4 + k, 0],
                   &state[5 + k, 0], &state[6 + k, 0], &out[t, 0], n)
        p += 1
    state[0, 0] = p + 1
    return 0


def rolling_share(const real[:, ::1] x, const real[:, ::1] y, Py_ssize_t window, double[:, ::1] state,
                  real[:, ::1] out):
    """Sum of x in that of x + y over `window` rows, in percent, 0 where both are 0; state: 2 window + 5 rows."""
    with nogil:
        if x.shape[1] == LANES:
            share_walk(x, y, window, state, out, LANES)
        else:
            share_walk(x, y, window, state, out, x.shape[1])


# ------------------------------------------------------------------------------------------------ linear weights


cdef inline void wma_push(const real* x, row total, row weighted, row slot, row wslot, const double* suffix,
                          const double* wsuffix, real* out, Py_ssize_t n, double k, double rest,
                          double divisor) noexcept nogil:
    cdef Py_ssize_t j
    cdef double v, s, inverse = 1 / divisor
    for j in range(n):
        v = x[j]
        slot[j] = v
        s = total[j] + v
        total[j] = s
        v = weighted[j] + k * v
        weighted[j] = v
        # the suffix holds the `rest` oldest rows of the window, so each row of the prefix weighs that much more
        out[j] = <real>divided(wsuffix[j] + (v + rest * s), divisor, inverse)


cdef inline void wma_fold(row slot, row wslot, row total, row weighted, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(n):
        total[j] = total[j] + slot[j]
        weighted[j] = weighted[j] + total[j]
        slot[j] = total[j]
        wslot[j] = weighted[j]


cdef inline int wma_walk(const real[:, ::1] x, Py_ssize_t window, double[:, ::1] state, real[:, ::1] out,
                         Py_ssize_t n) except -1 nogil:
    cdef Py_ssize_t i, k, t, w = window, p = <Py_ssize_t>state[0, 0] - 1
    cdef double divisor = 0.5 * w * (w + 1)
    if p < 0:
        p = 0
        for i in range(2 * w):
            fill(&state[3 + i, 0], n, NAN)
    for t in range(x.shape[0]):
        if p == w:
            fill(&state[1, 0], n, 0)
            fill(&state[2, 0], n, 0)
            for i in range(w - 1, -1, -1):
                wma_fold(&state[3 + 2 * i, 0], &state[4 + 2 * i, 0], &state[1, 0], &state[2, 0], n)
            fill(&state[1, 0], n, 0)
            fill(&state[2, 0], n, 0)
            p = 0
        k = 2 * p
        wma_push(&x[t, 0], &state[1, 0], &state[2, 0], &state[3 + k, 0], &state[4 + k, 0], &state[5 + k, 0],
                 &state[6 + k, 0], &out[t, 0], n, p + 1, w - p - 1, divisor)
        p += 1
    state[0, 0] = p + 1
    return 0


def rolling_wma(const real[:, ::1] x, Py_ssize_t window, double[:, ::1] state, real[:, ::1] out):
    """Mean over `window` rows weighted 1, 2, ..., window; state: 2 window + 5 rows."""
    with nogil:
        if x.shape[1] == LANES:
            wma_walk(x, window, state, out, LANES)
        else:
            wma_walk(x, window, state, out, x.shape[1])


# ------------------------------------------------------------------------------------------------------- extremes


cdef inline void max_push(const real* x, row best, row slot, const double* suffix, real* out, Py_ssize_t n,
                          double sign) noexcept nogil:
    cdef Py_ssize_t j
    cdef double v, b, s
    for j in range(n):
        v = x[j] * sign
        slot[j] = v
        b = best[j]
        b = v if (v > b) | (v != v) else b
        best[j] = b
        s = suffix[j]
        b = s if (s > b) | (s != s) else b
        out[j] = <real>(b * sign)


cdef inline void max_fold(row slot, row best, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t j
    cdef double v, b
    for j in range(n):
        v = slot[j]
        b = best[j]
        b = v if (v > b) | (v != v) else b
        best[j] = b
        slot[j] = b


cdef inline int max_walk(const real[:, ::1] x, Py_ssize_t window, double sign, double[:, ::1] state, real[:, ::1] out,
                         Py_ssize_t n) except -1 nogil:
    cdef Py_ssize_t i, t, w = window, p = <Py_ssize_t>state[0, 0] - 1
    if p < 0:
        p = 0
        fill(&state[1, 0], n, -INFINITY)
        for i in range(w):
            fill(&state[2 + i, 0], n, NAN)
        fill(&state[2 + w, 0], n, -INFINITY)
    for t in range(x.shape[0]):
        if p == w:
            fill(&state[1, 0], n, -INFINITY)
            for i in range(w - 1, -1, -1):
                max_fold(&state[2 + i, 0], &state[1, 0], n)
            fill(&state[1, 0], n, -INFINITY)
            p = 0
        max_push(&x[t, 0], &state[1, 0], &state[2 + p, 0], &state[3 + p, 0], &out[t, 0], n, sign)
        p += 1
    state[0, 0] = p + 1
    return 0


def rolling_max(const real[:, ::1] x, Py_ssize_t window, double sign, double[:, ::1] state, real[:, ::1] out):
    """Largest (`sign` 1) or smallest (`sign` -1) of `window` rows; state: window + 3 rows."""
    # one walk for all widths, here and in rolling_range: GCC unrolls sixteen selects before it could vectorise them
    with nogil:
        max_walk(x, window, sign, state, out, x.shape[1])


cdef inline void range_push(const real* high, const real* low, const real* close, row best, row least, row slot,
                            row lslot, const double* suffix, const double* lsuffix, real* out,
                            Py_ssize_t n) noexcept nogil:
    # the lows are kept with their sign turned, so that both are largest values; v + 0 v is NaN for an infinite v
    cdef Py_ssize_t j
    cdef double v, u, b, a, s
    for j in range(n):
        v = high[j]
        u = -<double>low[j]
        v = v + 0 * v
        u = u + 0 * u
        slot[j] = v
        lslot[j] = u
        b = best[j]
        b = v if (v > b) | (v != v) else b
        best[j] = b
        a = least[j]
        a = u if (u > a) | (u != u) else a
        least[j] = a
        s = suffix[j]
        b = s if (s > b) | (s != s) else b
        s = lsuffix[j]
        a = s if (s > a) | (s != s) else a
        b = b + a
        u = 0 * close[j]
        v = 100 * ((close[j] + a) / b)
        out[j] = <real>(u if b == 0 else v + u)


cdef inline int range_walk(const real[:, ::1] high, const real[:, ::1] low, const real[:, ::1] close,
                           Py_ssize_t window, double[:, ::1] state, real[:, ::1] out, Py_ssize_t n) except -1 nogil:
    cdef Py_ssize_t i, k, t, w = window, p = <Py_ssize_t>state[0, 0] - 1
    if p < 0:
        p = 0
        fill(&state[1, 0], n, -INFINITY)
        fill(&state[2, 0], n, -INFINITY)
        for i in range(2 * w):
            fill(&state[3 + i, 0], n, NAN)
        fill(&state[3 + 2 * w, 0], n, -INFINITY)
        fill(&state[4 + 2 * w, 0], n, -INFINITY)
    for t in range(close.shape[0]):
        if p == w:
            fill(&state[1, 0], n, -INFINITY)
            fill(&state[2, 0], n, -INFINITY)
            for i in range(w - 1, -1, -1):
                max_fold(&state[3 + 2 * i, 0], &state[1, 0], n)
                max_fold(&state[4 + 2 * i, 0], &state[2, 0], n)
            fill(&state[1, 0], n, -INFINITY)
            fill(&state[2, 0], n, -INFINITY)
            p = 0
        k = 2 * p
        range_push(&high[t, 0], &low[t, 0], &close[t, 0], &state[1, 0], &state[2, 0], &state[3 + k, 0],
                   &state[4 + k, 0], &state[5 + k, 0], &state[6 + k, 0], &out[t, 0], n)
        p += 1
    state[0, 0] = p + 1
    return 0


def rolling_range(const real[:, ::1] high, const real[:, ::1] low, const real[:, ::1] close, Py_ssize_t window,
                  double[:, ::1] state, real[:, ::1] out):
    """Where the close lies between the extremes of `window` rows, in percent; state: 2 window + 5 rows."""
    with nogil:
        range_walk(high, low, close, window, state, out, high.shape[1])


cdef inline void since_push(const real* x, row best, row where, row slot, row wslot, const double* suffix,
                            const double* wsuffix, real* out, Py_ssize_t n, double sign, double scale, double p,
                            double w) noexcept nogil:
    # `where` counts rows from the front of the block; of equal extremes the latest counts.
    cdef Py_ssize_t j
    cdef double v, b, k, s
    for j in range(n):
        v = x[j] * sign
        v = v + 0 * v
        slot[j] = v
        b = best[j]
        k = where[j]
        k = p if (v >= b) | (v != v) else k
        b = v if (v >= b) | (v != v) else b
        best[j] = b
        where[j] = k
        s = suffix[j]
        v = wsuffix[j] - w
        k = v if (s > b) | (s != s) else k
        b = s if (s > b) | (s != s) else b
        # b * 0 carries the NaN of a window that has one
        out[j] = <real>((w - 1 - (p - k)) * scale + b * 0)


cdef inline void since_fold(row slot, row wslot, row best, row where, Py_ssize_t n, double i) noexcept nogil:
    cdef Py_ssize_t j
    cdef double v, b, k
    for j in range(n):
        v = slot[j]
        b = best[j]
        k = where[j]
        k = i if (v > b) | (v != v) else k
        b = v if (v > b) | (v != v) else b
        best[j] = b
        where[j] = k
        slot[j] = b
        wslot[j] = k


cdef inline int since_walk(const real[:, ::1] x, Py_ssize_t window, double sign, double scale, double[:, ::1] state,
                           real[:, ::1] out, Py_ssize_t n) except -1 nogil:
    cdef Py_ssize_t i, k, t, w = window, p = <Py_ssize_t>state[0, 0] - 1
    if p < 0:
        p = 0
        fill(&state[1, 0], n, -INFINITY)
        for i in range(2 * w):
            fill(&state[3 + i, 0], n, NAN)
        fill(&state[3 + 2 * w, 0], n, -INFINITY)
    for t in range(x.shape[0]):
        if p == w:
            fill(&state[1, 0], n, -INFINITY)
            for i in range(w - 1, -1, -1):
                since_fold(&state[3 + 2 * i, 0], &state[4 + 2 * i, 0], &state[1, 0], &state[2, 0], n, i)
            fill(&state[1, 0], n, -INFINITY)
            p = 0
        k = 2 * p
        since_push(&x[t, 0], &state[1, 0], &state[2, 0], &state[3 + k, 0], &state[4 + k, 0], &state[5 + k, 0],
                   &state[6 + k, 0], &out[t, 0], n, sign, scale, p, w)
        p += 1
    state[0, 0] = p + 1
    return 0


def rolling_since(const real[:, ::1] x, Py_ssize_t window, double sign, double scale, double[:, ::1] state,
                  real[:, ::1] out):
    """How recent the largest (`sign` 1) or smallest (-1) of `window` rows is: `scale` times window - 1 less its age.

    State: 2 window + 5 rows.
    """
    with nogil:
        if x.shape[1] == LANES:
            since_walk(x, window, sign, scale, state, out, LANES)
        else:
            since_walk(x, window, sign, scale, state, out, x.shape[1])


# ------------------------------------------------------------------------------------------------------ deviation

# Sums about an anchor that lies in the window: the prefix takes the first row of its block, the suffix the last of
# its own (`past`), so that little cancels; means are kept relative to their anchors, and the two are merged as Chan,
# Golub and LeVeque (1979) do.


cdef inline void std_push(const real* x, row anchor, row past, row total, row square, row slot,
                          const double* smean, const double* squares, real* out, real* upper, real* lower,
                          Py_ssize_t n, bint bands, double inv, double share, double cross, double divisor,
                          double up, double down) noexcept nogil:
    cdef Py_ssize_t j
    cdef double v, s, q, m, d, inverse = 1 / divisor
    for j in range(n):
        v = x[j]
        slot[j] = v
        v = v - anchor[j]
        s = total[j] + v
        q = square[j] + v * v
        total[j] = s
        square[j] = q
        q = q - s * s * inv
        m = s * inv
        d = (past[j] - anchor[j]) + (smean[j] - m)
        q = q + squares[j] + d * d * cross
        q = sqrt(divided(0 if q < 0 else q, divisor, inverse))
        if bands:
            m = anchor[j] + (m + d * share) + 0 * q
            upper[j] = <real>(m + up * q)
            out[j] = <real>m
            lower[j] = <real>(m - down * q)
        else:
            out[j] = <real>(up * q)


cdef inline void std_fold(row slot, row qslot, row anchor, row total, row square, Py_ssize_t n,
                          double inv) noexcept nogil:
    cdef Py_ssize_t j
    cdef double v
    for j in range(n):
        v = slot[j] - anchor[j]
        total[j] = total[j] + v
        square[j] = square[j] + v * v
        slot[j] = total[j] * inv
        qslot[j] = square[j] - total[j] * total[j] * inv


cdef inline void anchor_at(const real* x, row anchor, row a, row b, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(n):
        anchor[j] = x[j]
        a[j] = 0
        b[j] = 0


cdef inline int std_walk(const real[:, ::1] x, Py_ssize_t w, double ddof, double up, double down,
                         double[:, ::1] state, real[:, ::1] out, real[:, ::1] upper, real[:, ::1] lower,
                         bint bands, Py_ssize_t n) except -1 nogil:
    cdef Py_ssize_t i, k, t, p = <Py_ssize_t>state[0, 0] - 1
    cdef double size = w, rest
    for t in range(x.shape[0]):
        if p < 0:
            anchor_at(&x[t, 0], &state[4, 0], &state[2, 0], &state[3, 0], n)
            for i in range(2 * w):
                fill(&state[5 + i, 0], n, NAN)
        elif p == w:
            anchor_at(&state[3 + 2 * w, 0], &state[4, 0], &state[2, 0], &state[3, 0], n)
            for i in range(w - 1, -1, -1):
                std_fold(&state[5 + 2 * i, 0], &state[6 + 2 * i, 0], &state[4, 0], &state[2, 0], &state[3, 0], n,
                         1.0 / (w - i))
        if p < 0 or p == w:
            anchor_at(&x[t, 0], &state[1, 0], &state[2, 0], &state[3, 0], n)
            p = 0
        k = 2 * p
        rest = w - p - 1
        # the last window of a block has no suffix, and nothing to do with its anchor
        std_push(&x[t, 0], &state[1, 0], &state[4 if rest > 0 else 1, 0], &state[2, 0], &state[3, 0], &state[5 + k, 0],
                 &state[7 + k, 0], &state[8 + k, 0], &out[t, 0], &upper[t, 0], &lower[t, 0], n, bands, 1.0 / (p + 1),
                 rest / size, rest * (p + 1) / size, size - ddof, up, down)
        p += 1
    state[0, 0] = p + 1
    return 0


def rolling_std(const real[:, ::1] x, Py_ssize_t window, double ddof, double k, double[:, ::1] state,
                real[:, ::1] out):
    """`k` standard deviations over `window` rows, divisor window - ddof; state: 2 window + 7 rows."""
    with nogil:
        if x.shape[1] == LANES:
            std_walk(x, window, ddof, k, k, state, out, out, out, False, LANES)
        else:
            std_walk(x, window, ddof, k, k, state, out, out, out, False, x.shape[1])


def rolling_bands(const real[:, ::1] x, Py_ssize_t window, double ddof, double up, double down,
                  double[:, ::1] state, real[:, ::1] upper, real[:, ::1] middle, real[:, ::1] lower):
    """Mean over `window` rows, and it plus `up` and less `down` deviations; state: 2 window + 7 rows."""
    with nogil:
        if x.shape[1] == LANES:
            std_walk(x, window, ddof, up, down, state, middle, upper, lower, True, LANES)
        else:
            std_walk(x, window, ddof, up, down, state, middle, upper, lower, True, x.shape[1])


# ---------------------------------------------------------------------------------------------- regression on time

# The covariance with the row number about the same kind of anchor; row numbers are centred, so the anchor drops out.


cdef inline void slope_push(const real* x, row anchor, row past, row total, row weighted, row slot,
                            const double* smean, const double* scov, real* out, Py_ssize_t n, double k, double inv,
                            double centre, double cross, double divisor) noexcept nogil:
    cdef Py_ssize_t j
    cdef double v, s, c, inverse = 1 / divisor
    for j in range(n):
        v = x[j]
        slot[j] = v
        v = v - anchor[j]
        s = total[j] + v
        c = weighted[j] + k * v
        total[j] = s
        weighted[j] = c
        c = (c - centre * s) + scov[j] + ((anchor[j] - past[j]) + (s * inv - smean[j])) * cross
        out[j] = <real>divided(c, divisor, inverse)


cdef inline void slope_fold(row slot, row cslot, row anchor, row total, row weighted, Py_ssize_t n, double k,
                            double inv, double centre) noexcept nogil:
    # `k` counts from the back
    cdef Py_ssize_t j
    cdef double v
    for j in range(n):
        v = slot[j] - anchor[j]
        total[j] = total[j] + v
        weighted[j] = weighted[j] + k * v
        slot[j] = total[j] * inv
        cslot[j] = centre * total[j] - weighted[j]


cdef inline int slope_walk(const real[:, ::1] x, Py_ssize_t window, double[:, ::1] state, real[:, ::1] out,
                           Py_ssize_t n) except -1 nogil:
    cdef Py_ssize_t i, k, t, w = window, p = <Py_ssize_t>state[0, 0] - 1
    cdef double size = w, divisor = size * (size * size - 1) / 12
    for t in range(x.shape[0]):
        if p < 0:
            anchor_at(&x[t, 0], &state[4, 0], &state[2, 0], &state[3, 0], n)
            for i in range(2 * w):
                fill(&state[5 + i, 0], n, NAN)
        elif p == w:
            anchor_at(&state[3 + 2 * w, 0], &state[4, 0], &state[2, 0], &state[3, 0], n)
            for i in range(w - 1, -1, -1):
                k = w - 1 - i
                slope_fold(&state[5 + 2 * i, 0], &state[6 + 2 * i, 0], &state[4, 0], &state[2, 0], &state[3, 0], n,
                           k, 1.0 / (k + 1), 0.5 * k)
        if p < 0 or p == w:
            anchor_at(&x[t, 0], &state[1, 0], &state[2, 0], &state[3, 0], n)
            p = 0
        k = 2 * p
        slope_push(&x[t, 0], &state[1, 0], &state[4 if p < w - 1 else 1, 0], &state[2, 0], &state[3, 0],
                   &state[5 + k, 0], &state[7 + k, 0], &state[8 + k, 0], &out[t, 0], n, p, 1.0 / (p + 1), 0.5 * p,
                   0.5 * (w - p - 1) * (p + 1), divisor)
        p += 1
    state[0, 0] = p + 1
    return 0


def rolling_slope(const real[:, ::1] x, Py_ssize_t window, double[:, ::1] state, real[:, ::1] out):
    """Slope a row of the least-squares line through `window` rows; state: 2 window + 7 rows."""
    with nogil:
        if x.shape[1] == LANES:
            slope_walk(x, window, state, out, LANES)
        else:
            slope_walk(x, window, state, out, x.shape[1])


# ------------------------------------------------------------------------------------------ few columns in lanes


def interleave(const real[:, ::1] x, Py_ssize_t before, Py_ssize_t length, real[:, ::1] lanes):
    """Lay a long plane out as a wide one, cut by time.

    Lane b is the columns of x from row b * length on, for before + length rows; the lanes stand side by side.
    """
    cdef Py_ssize_t b, i, j, k, n = x.shape[1], rows = before + length, m = lanes.shape[1] // n, wide = lanes.shape[1]
    cdef const real* source = &x[0, 0]
    cdef real* target = &lanes[0, 0]
    with nogil:
        for i in range(0, rows if n > 1 else rows % 8):
            for b in range(m):
                for j in range(n):
                    target[i * wide + b * n + j] = source[(b * length + i) * n + j]
        if n == 1:
            # eight rows of a lane are one cache line
            for i in range(rows % 8, rows, 8):
                for b in range(m):
                    prefetch(&source[b * length + i + 32], 0)
                    for k in range(8):
                        target[(i + k) * wide + b] = source[b * length + i + k]


def deinterleave(const real[:, ::1] lanes, Py_ssize_t skip, real[:, ::1] out):
    """Put the lanes' rows from `skip` on behind each other again."""
    cdef Py_ssize_t b, i, j, k, n = out.shape[1], rows = lanes.shape[0] - skip, m = lanes.shape[1] // n
    cdef Py_ssize_t wide = lanes.shape[1]
    cdef const real* source = &lanes[skip, 0]
    cdef real* target = &out[0, 0]
    with nogil:
        for i in range(0, rows if n > 1 else rows % 8):
            for b in range(m):
                for j in range(n):
                    target[(b * rows + i) * n + j] = source[i * wide + b * n + j]
        if n == 1:
            for i in range(rows % 8, rows, 8):
                for b in range(m):
                    prefetch(&target[b * rows + i + 32], 1)
                    for k in range(8):
                        target[b * rows + i + k] = source[(i + k) * wide + b]
