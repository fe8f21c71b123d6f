"""Rolling windows by blocks (van Herk 1992; Gil and Werman 1993), for any statistic that can be merged.

Walk: time is cut into blocks as long as the window. While a block fills, its total from the front (the prefix)
grows; when it is full, the totals from each of its rows to its end (the suffixes) are folded over its raw rows, from
the back. Each window is one suffix of the last block merged with the prefix of this one. So nothing is ever
subtracted: no drift on any number of rows, a flat window has a deviation of exactly 0, a NaN is gone the moment it
leaves the window, and the cost does not depend on the window.

State: row 0 holds the number of rows in the block plus one (0: not started), the next rows the prefix, the rest a
table for each part of the statistic with one row a block row, closed by the empty suffix: the raw rows of this block,
as far as it has come, then suffixes of the last.

Stores are what the walks wait for, so there are few: two rows are taken a pass, with the totals in registers between
them, and a block that lies within one call is folded from the input, its raw rows never copied to the table.

Each statistic is two loops over symbols, push (rows enter, windows leave) and fold, a block folded whole, and a walk
over time. Blocks know nothing of each other but their last neighbour, so the face lays a long single series out as a
wide plane (`interleave`, below), which runs through the same walk, inlined once more for just that width.

Tried and slower or worse: running sums with compensation (the same speed, but NaN needs counts, and neither extremes
nor deviations come out of it); Welford's update (no safer than sums about a value inside the block, and longer);
a scalar walk for a single series (its chain of dependent additions loses to TA-Lib); tiles of 64 columns (up to 2x
slower); four rows a pass (no gain over two); fetching the next rows ahead (no gain); lanes laid out value by value
(half as fast again as by squares).
"""

from common cimport INFINITY, NAN, divided, fill, prefetch, real, real_row, row, sqrt

cdef enum:
    LANES = 16  # as WIDE in kernels.py
    REACH = 256  # as in kernels.py
    PIECE = 512


cdef inline void keep(const real* x, double* slot, Py_ssize_t apart, Py_ssize_t n, Py_ssize_t rows) noexcept nogil:
    # rows of a block that is not yet whole
    cdef Py_ssize_t i, j
    for i in range(rows):
        for j in range(n):
            slot[i * apart + j] = x[i * n + j]


# ----------------------------------------------------------------------------------------------------- sum and mean


cdef inline void mean_push(const real* x, row total, row suffix, Py_ssize_t apart, real_row out, Py_ssize_t n, int rows,
                           double divisor) noexcept nogil:
    cdef Py_ssize_t i, j
    cdef double s, inverse = 1 / divisor
    for j in range(n):
        s = total[j]
        for i in range(rows):
            s = s + x[i * n + j]
            out[i * n + j] = <real>divided(s + suffix[i * apart + j], divisor, inverse)
        total[j] = s


cdef inline void mean_fold(const real* x, Py_ssize_t far, row slot, Py_ssize_t apart, row total, Py_ssize_t n,
                           int rows) noexcept nogil:
    cdef Py_ssize_t i, j
    cdef double s
    for j in range(n):
        s = total[j]
        for i in range(rows - 1, -1, -1):
            s = s + x[i * far + j]
            slot[i * apart + j] = s
        total[j] = s


cdef inline void mean_block(const real* x, Py_ssize_t far, double* slot, Py_ssize_t apart, row total, Py_ssize_t n,
                            Py_ssize_t w) noexcept nogil:
    cdef Py_ssize_t i
    fill(total, n, 0)
    for i in range(w - 2, -1, -2):
        mean_fold(x + i * far, far, slot + i * apart, apart, total, n, 2)
    if w % 2:
        mean_fold(x, far, slot, apart, total, n, 1)
    fill(total, n, 0)


cdef inline int mean_walk(const real[:, ::1] x, Py_ssize_t window, double divisor, double[:, ::1] state,
                          real[:, ::1] out, Py_ssize_t n) except -1 nogil:
    cdef Py_ssize_t i, m, t = 0, w = window, p = <Py_ssize_t>state[0, 0] - 1, apart = state.shape[1]
    cdef row total = &state[1, 0]
    cdef double* table = &state[2, 0]
    if p < 0:
        p = 0
        for i in range(w):
            fill(table + i * apart, n, NAN)
    while t < x.shape[0]:
        m = min(w - p, x.shape[0] - t)
        for i in range(0, m - 1, 2):
            mean_push(&x[t + i, 0], total, table + (p + i + 1) * apart, apart, &out[t + i, 0], n, 2, divisor)
        if m % 2:
            mean_push(&x[t + m - 1, 0], total, table + (p + m) * apart, apart, &out[t + m - 1, 0], n, 1, divisor)
        if m == w:
            mean_block(&x[t, 0], n, table, apart, total, n, w)
        else:
            keep(&x[t, 0], table + p * apart, apart, n, m)
            p += m
            if p == w:
                mean_block(<const double*>table, apart, table, apart, total, n, w)
                p = 0
        t += m
    state[0, 0] = p + 1
    return 0


def rolling_mean(const real[:, ::1] x, Py_ssize_t window, double divisor, double[:, ::1] state, real[:, ::1] out):
    """Sum over `window` rows divided by `divisor`; state: window + 3 rows."""
    with nogil:
        if x.shape[1] == LANES:
            mean_walk(x, window, divisor, state, out, LANES)
        else:
            mean_walk(x, window, divisor, state, out, x.shape[1])


cdef inline void share_push(const real* x, const real* y, row total, row other, row suffix, row ysuffix,
                            Py_ssize_t apart, real_row out, Py_ssize_t n, int rows) noexcept nogil:
    cdef Py_ssize_t i, j
    cdef double s, q, v, u
    for j in range(n):
        s = total[j]
        q = other[j]
        for i in range(rows):
            s = s + x[i * n + j]
            q = q + y[i * n + j]
            v = s + suffix[i * apart + j]
            u = v + (q + ysuffix[i * apart + j])
            v = 100 * (v / u)
            out[i * n + j] = <real>(0 if u == 0 else v)
        total[j] = s
        other[j] = q


cdef inline int share_walk(const real[:, ::1] x, const real[:, ::1] y, Py_ssize_t window, double[:, ::1] state,
                           real[:, ::1] out, Py_ssize_t n) except -1 nogil:
    cdef Py_ssize_t i, m, t = 0, w = window, p = <Py_ssize_t>state[0, 0] - 1, apart = state.shape[1]
    cdef row total = &state[1, 0], other = &state[2, 0]
    cdef double* table = &state[3, 0]
    cdef double* ytable = &state[4 + w, 0]
    if p < 0:
        p = 0
        for i in range(w):
            fill(table + i * apart, n, NAN)
            fill(ytable + i * apart, n, NAN)
    while t < x.shape[0]:
        m = min(w - p, x.shape[0] - t)
        for i in range(0, m - 1, 2):
            share_push(&x[t + i, 0], &y[t + i, 0], total, other, table + (p + i + 1) * apart,
                       ytable + (p + i + 1) * apart, apart, &out[t + i, 0], n, 2)
        if m % 2:
            i = m - 1
            share_push(&x[t + i, 0], &y[t + i, 0], total, other, table + (p + i + 1) * apart,
                       ytable + (p + i + 1) * apart, apart, &out[t + i, 0], n, 1)
        if m == w:
            mean_block(&x[t, 0], n, table, apart, total, n, w)
            mean_block(&y[t, 0], n, ytable, apart, other, n, w)
        else:
            keep(&x[t, 0], table + p * apart, apart, n, m)
            keep(&y[t, 0], ytable + p * apart, apart, n, m)
            p += m
            if p == w:
                mean_block(<const double*>table, apart, table, apart, total, n, w)
                mean_block(<const double*>ytable, apart, ytable, apart, other, n, w)
                p = 0
        t += m
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


cdef inline void wma_push(const real* x, row total, row weighted, row suffix, Py_ssize_t apart, real_row out,
                          Py_ssize_t n, int rows, double k, double rest, double divisor) noexcept nogil:
    cdef Py_ssize_t i, j
    cdef double v, s, q, inverse = 1 / divisor
    for j in range(n):
        s = total[j]
        q = weighted[j]
        for i in range(rows):
            v = x[i * n + j]
            s = s + v
            q = q + (k + i) * v
            # the suffix holds the `rest` oldest rows of the window, so each row of the prefix weighs that much more
            out[i * n + j] = <real>divided(suffix[i * apart + j] + (q + (rest - i) * s), divisor, inverse)
        total[j] = s
        weighted[j] = q


cdef inline void wma_fold(const real* x, Py_ssize_t far, row slot, Py_ssize_t apart, row total, row weighted,
                          Py_ssize_t n, int rows) noexcept nogil:
    cdef Py_ssize_t i, j
    cdef double s, q
    for j in range(n):
        s = total[j]
        q = weighted[j]
        for i in range(rows - 1, -1, -1):
            s = s + x[i * far + j]
            q = q + s
            slot[i * apart + j] = q
        total[j] = s
        weighted[j] = q


cdef inline void wma_block(const real* x, Py_ssize_t far, double* slot, Py_ssize_t apart, row total, row weighted,
                           Py_ssize_t n, Py_ssize_t w) noexcept nogil:
    cdef Py_ssize_t i
    fill(total, n, 0)
    fill(weighted, n, 0)
    for i in range(w - 2, -1, -2):
        wma_fold(x + i * far, far, slot + i * apart, apart, total, weighted, n, 2)
    if w % 2:
        wma_fold(x, far, slot, apart, total, weighted, n, 1)
    fill(total, n, 0)
    fill(weighted, n, 0)


cdef inline int wma_walk(const real[:, ::1] x, Py_ssize_t window, double[:, ::1] state, real[:, ::1] out,
                         Py_ssize_t n) except -1 nogil:
    cdef Py_ssize_t i, m, t = 0, w = window, p = <Py_ssize_t>state[0, 0] - 1, apart = state.shape[1]
    cdef row total = &state[1, 0], weighted = &state[2, 0]
    cdef double* table = &state[3, 0]
    cdef double divisor = 0.5 * w * (w + 1)
    if p < 0:
        p = 0
        for i in range(w):
            fill(table + i * apart, n, NAN)
    while t < x.shape[0]:
        m = min(w - p, x.shape[0] - t)
        for i in range(0, m - 1, 2):
            wma_push(&x[t + i, 0], total, weighted, table + (p + i + 1) * apart, apart, &out[t + i, 0], n, 2,
                     p + i + 1, w - p - i - 1, divisor)
        if m % 2:
            i = m - 1
            wma_push(&x[t + i, 0], total, weighted, table + (p + i + 1) * apart, apart, &out[t + i, 0], n, 1,
                     p + i + 1, w - p - i - 1, divisor)
        if m == w:
            wma_block(&x[t, 0], n, table, apart, total, weighted, n, w)
        else:
            keep(&x[t, 0], table + p * apart, apart, n, m)
            p += m
            if p == w:
                wma_block(<const double*>table, apart, table, apart, total, weighted, n, w)
                p = 0
        t += m
    state[0, 0] = p + 1
    return 0


def rolling_wma(const real[:, ::1] x, Py_ssize_t window, double[:, ::1] state, real[:, ::1] out):
    """Mean over `window` rows weighted 1, 2, ..., window; state: window + 4 rows."""
    with nogil:
        if x.shape[1] == LANES:
            wma_walk(x, window, state, out, LANES)
        else:
            wma_walk(x, window, state, out, x.shape[1])


# ------------------------------------------------------------------------------------------------------- extremes


cdef inline double beyond(double a, double b, double sign) noexcept nogil:
    # the larger (`sign` 1) or the smaller (-1) of two numbers; of older a and newer b the same one, in whatever order
    # many are compared
    return a if (a > b if sign > 0 else a < b) else b


cdef inline double further(double a, double b, double sign) noexcept nogil:
    # or the NaN of either
    cdef double c = beyond(a, b, sign)
    return a if a != a else c


cdef inline double turned(double v, double sign) noexcept nogil:
    # an infinite v is a missing one where the kernel does more than compare
    return v * sign + 0 * v


cdef inline void max_push(const real* x, row best, row suffix, Py_ssize_t apart, real_row out, Py_ssize_t n, int rows,
                          double sign) noexcept nogil:
    cdef Py_ssize_t i, j
    cdef double b
    for j in range(n):
        b = best[j]
        for i in range(rows):
            b = further(b, x[i * n + j], sign)
            out[i * n + j] = <real>further(suffix[i * apart + j], b, sign)
        best[j] = b


cdef inline void max_fold(const real* x, Py_ssize_t far, row slot, Py_ssize_t apart, row best, Py_ssize_t n, int rows,
                          double sign, bint strict) noexcept nogil:
    cdef Py_ssize_t i, j
    cdef double b, v
    for j in range(n):
        b = best[j]
        for i in range(rows - 1, -1, -1):
            v = x[i * far + j]
            b = further(turned(v, 1) if strict else v, b, sign)
            slot[i * apart + j] = b
        best[j] = b


cdef inline void max_block(const real* x, Py_ssize_t far, double* slot, Py_ssize_t apart, row best, Py_ssize_t n,
                           Py_ssize_t w, double sign, bint strict) noexcept nogil:
    cdef Py_ssize_t i
    fill(best, n, -INFINITY * sign)
    for i in range(w - 2, -1, -2):
        max_fold(x + i * far, far, slot + i * apart, apart, best, n, 2, sign, strict)
    if w % 2:
        max_fold(x, far, slot, apart, best, n, 1, sign, strict)
    fill(best, n, -INFINITY * sign)


cdef inline int max_walk(const real[:, ::1] x, Py_ssize_t window, double sign, double[:, ::1] state, real[:, ::1] out,
                         Py_ssize_t n) except -1 nogil:
    cdef Py_ssize_t i, m, t = 0, w = window, p = <Py_ssize_t>state[0, 0] - 1, apart = state.shape[1]
    cdef row best = &state[1, 0]
    cdef double* table = &state[2, 0]
    if p < 0:
        p = 0
        fill(best, n, -INFINITY * sign)
        for i in range(w):
            fill(table + i * apart, n, NAN)
        fill(table + w * apart, n, -INFINITY * sign)
    while t < x.shape[0]:
        m = min(w - p, x.shape[0] - t)
        for i in range(0, m - 1, 2):
            max_push(&x[t + i, 0], best, table + (p + i + 1) * apart, apart, &out[t + i, 0], n, 2, sign)
        if m % 2:
            max_push(&x[t + m - 1, 0], best, table + (p + m) * apart, apart, &out[t + m - 1, 0], n, 1, sign)
        if m == w:
            max_block(&x[t, 0], n, table, apart, best, n, w, sign, False)
        else:
            keep(&x[t, 0], table + p * apart, apart, n, m)
            p += m
            if p == w:
                max_block(<const double*>table, apart, table, apart, best, n, w, sign, False)
                p = 0
        t += m
    state[0, 0] = p + 1
    return 0


def rolling_max(const real[:, ::1] x, Py_ssize_t window, double sign, double[:, ::1] state, real[:, ::1] out):
    """Largest (`sign` 1) or smallest (`sign` -1) of `window` rows; state: window + 3 rows."""
    with nogil:
        if x.shape[1] == LANES:
            if sign > 0:
                max_walk(x, window, 1, state, out, LANES)
            else:
                max_walk(x, window, -1, state, out, LANES)
        elif sign > 0:
            max_walk(x, window, 1, state, out, x.shape[1])
        else:
            max_walk(x, window, -1, state, out, x.shape[1])


cdef inline double chosen(double a, double b, double sign, bint gaps) noexcept nogil:
    return further(a, b, sign) if gaps else beyond(a, b, sign)


cdef inline void furthest(const real* x, Py_ssize_t p, Py_ssize_t q, Py_ssize_t r, real_row out, Py_ssize_t n,
                          double sign, bint gaps) noexcept nogil:
    # of each value and those p, q and r after it, of which the first ones may be the last
    cdef Py_ssize_t i
    if p == r:
        for i in range(n):
            out[i] = chosen(x[i], x[i + r], sign, gaps)
        return
    for i in range(n):
        out[i] = chosen(chosen(x[i], x[i + p], sign, gaps), chosen(x[i + q], x[i + r], sign, gaps), sign, gaps)


cdef inline bint slide(const real* x, Py_ssize_t w, real_row out, Py_ssize_t n, row a, row b, double sign,
                       bint gaps) noexcept nogil:
    # False where there is a gap that should not be there
    cdef Py_ssize_t i, p = 4, m = n + w - 4, holes = 0
    if w < 4:
        furthest(x, min(1, w - 1), min(2, w - 1), w - 1, out, n, sign, True)
        return True
    for i in range(m):
        a[i] = chosen(chosen(x[i], x[i + 1], sign, gaps), chosen(x[i + 2], x[i + 3], sign, gaps), sign, gaps)
        holes = holes | (0 if x[i] == x[i] else 1)
    for i in range(m, m + 3):
        holes = holes | (0 if x[i] == x[i] else 1)
    if holes and not gaps:
        return False
    while 4 * p <= w:
        m -= 3 * p
        furthest(<const double*>a, p, 2 * p, 3 * p, b, m, sign, gaps)
        a, b, p = b, a, 4 * p
    furthest(<const double*>a, min(p, w - p), min(2 * p, w - p), w - p, out, n, sign, gaps)
    return True


def slide_max(const real[:, ::1] x, Py_ssize_t window, double sign, double[:, ::1] state, real[:, ::1] out):
    """What `rolling_max` gives for the last rows of a single series, `out.shape[0]` of them; window: at most REACH.

    Largest of four, of four fours, and so on, in pieces that stay in the nearest cache; a window is the largest of at
    most four such. The state is left alone, and the cost grows with the window's logarithm.
    """
    cdef Py_ssize_t t = 0, m, before = x.shape[0] - out.shape[0] - window + 1
    cdef double[REACH + PIECE + 8] one, two
    cdef double* a = one + (8 - (<size_t>&one[0] >> 3)) % 8
    cdef double* b = two + (8 - (<size_t>&two[0] >> 3)) % 8
    with nogil:
        while t < out.shape[0]:
            m = min(<Py_ssize_t>PIECE, out.shape[0] - t)
            if sign > 0:
                if not slide(&x[before + t, 0], window, &out[t, 0], m, a, b, 1, False):
                    slide(&x[before + t, 0], window, &out[t, 0], m, a, b, 1, True)
            elif not slide(&x[before + t, 0], window, &out[t, 0], m, a, b, -1, False):
                slide(&x[before + t, 0], window, &out[t, 0], m, a, b, -1, True)
            t += m


cdef inline void range_push(const real* high, const real* low, const real* close, row best, row least, row suffix,
                            row lsuffix, Py_ssize_t apart, real_row out, Py_ssize_t n, int rows) noexcept nogil:
    cdef Py_ssize_t i, j
    cdef double b, a, s, u, v
    for j in range(n):
        b = best[j]
        a = least[j]
        for i in range(rows):
            b = further(b, turned(high[i * n + j], 1), 1)
            a = further(a, turned(low[i * n + j], 1), -1)
            u = further(lsuffix[i * apart + j], a, -1)
            s = further(suffix[i * apart + j], b, 1) - u
            v = 100 * ((close[i * n + j] - u) / s)
            u = 0 * close[i * n + j]
            out[i * n + j] = <real>(u if s == 0 else v + u)
        best[j] = b
        least[j] = a


cdef inline int range_walk(const real[:, ::1] high, const real[:, ::1] low, const real[:, ::1] close,
                           Py_ssize_t window, double[:, ::1] state, real[:, ::1] out, Py_ssize_t n) except -1 nogil:
    cdef Py_ssize_t i, m, t = 0, w = window, p = <Py_ssize_t>state[0, 0] - 1, apart = state.shape[1]
    cdef row best = &state[1, 0], least = &state[2, 0]
    cdef double* table = &state[3, 0]
    cdef double* ltable = &state[4 + w, 0]
    if p < 0:
        p = 0
        fill(best, n, -INFINITY)
        fill(least, n, INFINITY)
        for i in range(w):
            fill(table + i * apart, n, NAN)
            fill(ltable + i * apart, n, NAN)
        fill(table + w * apart, n, -INFINITY)
        fill(ltable + w * apart, n, INFINITY)
    while t < close.shape[0]:
        m = min(w - p, close.shape[0] - t)
        for i in range(0, m - 1, 2):
            range_push(&high[t + i, 0], &low[t + i, 0], &close[t + i, 0], best, least, table + (p + i + 1) * apart,
                       ltable + (p + i + 1) * apart, apart, &out[t + i, 0], n, 2)
        if m % 2:
            i = m - 1
            range_push(&high[t + i, 0], &low[t + i, 0], &close[t + i, 0], best, least, table + (p + i + 1) * apart,
                       ltable + (p + i + 1) * apart, apart, &out[t + i, 0], n, 1)
        if m == w:
            max_block(&high[t, 0], n, table, apart, best, n, w, 1, True)
            max_block(&low[t, 0], n, ltable, apart, least, n, w, -1, True)
        else:
            keep(&high[t, 0], table + p * apart, apart, n, m)
            keep(&low[t, 0], ltable + p * apart, apart, n, m)
            p += m
            if p == w:
                max_block(<const double*>table, apart, table, apart, best, n, w, 1, True)
                max_block(<const double*>ltable, apart, ltable, apart, least, n, w, -1, True)
                p = 0
        t += m
    state[0, 0] = p + 1
    return 0


def rolling_range(const real[:, ::1] high, const real[:, ::1] low, const real[:, ::1] close, Py_ssize_t window,
                  double[:, ::1] state, real[:, ::1] out):
    """Where the close lies between the extremes of `window` rows, in percent; state: 2 window + 5 rows."""
    with nogil:
        if close.shape[1] == LANES:
            range_walk(high, low, close, window, state, out, LANES)
        else:
            range_walk(high, low, close, window, state, out, close.shape[1])


cdef inline void since_push(const real* x, row best, row where, row suffix, row wsuffix, Py_ssize_t apart, real_row out,
                            Py_ssize_t n, int rows, double sign, double scale, double p, double w) noexcept nogil:
    # `where` counts rows from the front of the block; of equal extremes the latest counts.
    cdef Py_ssize_t i, j
    cdef double v, b, a, k, s, u
    for j in range(n):
        b = best[j]
        k = where[j]
        for i in range(rows):
            v = turned(x[i * n + j], sign)
            k = p + i if (v >= b) | (v != v) else k
            b = v if (v >= b) | (v != v) else b
            s = suffix[i * apart + j]
            u = wsuffix[i * apart + j] - w
            u = u if (s > b) | (s != s) else k
            a = s if (s > b) | (s != s) else b
            # a * 0 carries the NaN of a window that has one
            out[i * n + j] = (w - 1 - (p + i - u)) * scale + a * 0
        best[j] = b
        where[j] = k


cdef inline void since_fold(const real* x, Py_ssize_t far, row slot, row wslot, Py_ssize_t apart, row best, row where,
                            Py_ssize_t n, int rows, double sign, double p) noexcept nogil:
    cdef Py_ssize_t i, j
    cdef double v, b, k
    for j in range(n):
        b = best[j]
        k = where[j]
        for i in range(rows - 1, -1, -1):
            v = turned(x[i * far + j], sign)
            k = p + i if (v > b) | (v != v) else k
            b = v if (v > b) | (v != v) else b
            slot[i * apart + j] = b
            wslot[i * apart + j] = k
        best[j] = b
        where[j] = k


cdef inline void since_block(const real* x, Py_ssize_t far, double* slot, double* wslot, Py_ssize_t apart, row best,
                             row where, Py_ssize_t n, Py_ssize_t w, double sign) noexcept nogil:
    cdef Py_ssize_t i
    fill(best, n, -INFINITY)
    for i in range(w - 2, -1, -2):
        since_fold(x + i * far, far, slot + i * apart, wslot + i * apart, apart, best, where, n, 2, sign, i)
    if w % 2:
        since_fold(x, far, slot, wslot, apart, best, where, n, 1, sign, 0)
    fill(best, n, -INFINITY)


cdef inline int since_walk(const real[:, ::1] x, Py_ssize_t window, double sign, double scale, double[:, ::1] state,
                           real[:, ::1] out, Py_ssize_t n) except -1 nogil:
    cdef Py_ssize_t i, m, t = 0, w = window, p = <Py_ssize_t>state[0, 0] - 1, apart = state.shape[1]
    cdef row best = &state[1, 0], where = &state[2, 0]
    cdef double* table = &state[3, 0]
    cdef double* wtable = &state[4 + w, 0]
    if p < 0:
        p = 0
        fill(best, n, -INFINITY)
        for i in range(w):
            fill(table + i * apart, n, NAN)
        fill(table + w * apart, n, -INFINITY)
    while t < x.shape[0]:
        m = min(w - p, x.shape[0] - t)
        for i in range(0, m - 1, 2):
            since_push(&x[t + i, 0], best, where, table + (p + i + 1) * apart, wtable + (p + i + 1) * apart, apart,
                       &out[t + i, 0], n, 2, sign, scale, p + i, w)
        if m % 2:
            i = m - 1
            since_push(&x[t + i, 0], best, where, table + (p + i + 1) * apart, wtable + (p + i + 1) * apart, apart,
                       &out[t + i, 0], n, 1, sign, scale, p + i, w)
        if m == w:
            since_block(&x[t, 0], n, table, wtable, apart, best, where, n, w, sign)
        else:
            keep(&x[t, 0], table + p * apart, apart, n, m)
            p += m
            if p == w:
                since_block(<const double*>table, apart, table, wtable, apart, best, where, n, w, sign)
                p = 0
        t += m
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


cdef inline void std_push(const real* x, row anchor, row past, row total, row square, row smean, row squares,
                          Py_ssize_t apart, real_row out, real_row upper, real_row lower, Py_ssize_t n, int rows,
                          bint bands, double p, double size, double divisor, double up, double down) noexcept nogil:
    # the rows p + 1, ... of a block of `size` rows
    cdef Py_ssize_t i, j
    cdef double v, s, q, c, m, d, inverse = 1 / divisor, part = 1 / size
    cdef double inv[2]
    cdef double share[2]
    cdef double cross[2]
    for i in range(rows):
        inv[i] = 1 / (p + i + 1)
        share[i] = (size - p - i - 1) * part
        cross[i] = share[i] * (p + i + 1)
    for j in range(n):
        s = total[j]
        c = square[j]
        for i in range(rows):
            v = x[i * n + j] - anchor[j]
            s = s + v
            c = c + v * v
            m = s * inv[i]
            q = c - s * m
            d = (past[j] - anchor[j]) + (smean[i * apart + j] - m)
            q = q + squares[i * apart + j] + d * d * cross[i]
            q = sqrt(divided(0 if q < 0 else q, divisor, inverse))
            if bands:
                m = anchor[j] + (m + d * share[i]) + 0 * q
                upper[i * n + j] = m + up * q
                out[i * n + j] = m
                lower[i * n + j] = m - down * q
            else:
                out[i * n + j] = up * q
        total[j] = s
        square[j] = c


cdef inline void std_fold(const real* x, Py_ssize_t far, row slot, row qslot, Py_ssize_t apart, row anchor, row total,
                          row square, Py_ssize_t n, int rows, double size) noexcept nogil:
    # `size` rows of the block from the first of these on
    cdef Py_ssize_t i, j
    cdef double v, s, q
    cdef double inv[2]
    for i in range(rows):
        inv[i] = 1 / (size - i)
    for j in range(n):
        s = total[j]
        q = square[j]
        for i in range(rows - 1, -1, -1):
            v = x[i * far + j] - anchor[j]
            s = s + v
            q = q + v * v
            slot[i * apart + j] = s * inv[i]
            qslot[i * apart + j] = q - s * (s * inv[i])
        total[j] = s
        square[j] = q


cdef inline void anchor_at(const real* x, row anchor, row a, row b, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(n):
        anchor[j] = x[j]
        a[j] = 0
        b[j] = 0


cdef inline void std_block(const real* x, Py_ssize_t far, double* slot, double* qslot, Py_ssize_t apart, row anchor,
                           row total, row square, Py_ssize_t n, Py_ssize_t w) noexcept nogil:
    cdef Py_ssize_t i
    anchor_at(x + (w - 1) * far, anchor, total, square, n)
    for i in range(w - 2, -1, -2):
        std_fold(x + i * far, far, slot + i * apart, qslot + i * apart, apart, anchor, total, square, n, 2, w - i)
    if w % 2:
        std_fold(x, far, slot, qslot, apart, anchor, total, square, n, 1, w)


cdef inline int std_walk(const real[:, ::1] x, Py_ssize_t w, double ddof, double up, double down,
                         double[:, ::1] state, real[:, ::1] out, real[:, ::1] upper, real[:, ::1] lower,
                         bint bands, Py_ssize_t n) except -1 nogil:
    cdef Py_ssize_t i, m, t = 0, p = <Py_ssize_t>state[0, 0] - 1, apart = state.shape[1]
    cdef row anchor = &state[1, 0], total = &state[2, 0], square = &state[3, 0], past = &state[4, 0]
    cdef double* table = &state[5, 0]
    cdef double* qtable = &state[6 + w, 0]
    if p < 0 and x.shape[0]:
        p = 0
        anchor_at(&x[0, 0], past, total, square, n)
        for i in range(w):
            fill(table + i * apart, n, NAN)
            fill(qtable + i * apart, n, NAN)
    while t < x.shape[0]:
        if p == 0:
            anchor_at(&x[t, 0], anchor, total, square, n)
        m = min(w - p, x.shape[0] - t)
        i = 0
        while i < m:
            # the last window of a block has no suffix, and nothing to do with its anchor
            if i + 2 <= m and p + i + 2 < w:
                std_push(&x[t + i, 0], anchor, past, total, square, table + (p + i + 1) * apart,
                         qtable + (p + i + 1) * apart, apart, &out[t + i, 0], &upper[t + i, 0], &lower[t + i, 0], n, 2,
                         bands, p + i, w, w - ddof, up, down)
                i += 2
            else:
                std_push(&x[t + i, 0], anchor, past if p + i + 1 < w else anchor, total, square,
                         table + (p + i + 1) * apart, qtable + (p + i + 1) * apart, apart, &out[t + i, 0],
                         &upper[t + i, 0], &lower[t + i, 0], n, 1, bands, p + i, w, w - ddof, up, down)
                i += 1
        if m == w:
            std_block(&x[t, 0], n, table, qtable, apart, past, total, square, n, w)
        else:
            keep(&x[t, 0], table + p * apart, apart, n, m)
            p += m
            if p == w:
                std_block(<const double*>table, apart, table, qtable, apart, past, total, square, n, w)
                p = 0
        t += m
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

# The covariance with the row number about the same kind of anchor. Rows are weighed from the middle of the window:
# the weights of both parts cancel, as does what is common to their anchors, and a suffix weighs alike in every window.


cdef inline void slope_push(const real* x, row anchor, row past, row total, row weighted, row suffix, Py_ssize_t apart,
                            real_row out, Py_ssize_t n, int rows, double p, double size, double divisor) noexcept nogil:
    # rows `p`, ... of a block of `size` rows
    cdef Py_ssize_t i, j
    cdef double s, q, c, inverse = 1 / divisor
    for j in range(n):
        s = total[j]
        q = weighted[j]
        for i in range(rows):
            q = q + s
            s = s + (x[i * n + j] - anchor[j])
            c = suffix[i * apart + j] + (0.5 * (size - 1) * s - q)
            c = c + (anchor[j] - past[j]) * (0.5 * (size - 1 - p - i) * (p + i + 1))
            out[i * n + j] = divided(c, divisor, inverse)
        total[j] = s
        weighted[j] = q


cdef inline void slope_fold(const real* x, Py_ssize_t far, row slot, Py_ssize_t apart, row anchor, row total,
                            row weighted, Py_ssize_t n, int rows, double size) noexcept nogil:
    cdef Py_ssize_t i, j
    cdef double s, q
    for j in range(n):
        s = total[j]
        q = weighted[j]
        for i in range(rows - 1, -1, -1):
            q = q + s
            s = s + (x[i * far + j] - anchor[j])
            slot[i * apart + j] = q - 0.5 * (size - 1) * s
        total[j] = s
        weighted[j] = q


cdef inline void slope_block(const real* x, Py_ssize_t far, double* slot, Py_ssize_t apart, row anchor, row total,
                             row weighted, Py_ssize_t n, Py_ssize_t w) noexcept nogil:
    cdef Py_ssize_t i
    anchor_at(x + (w - 1) * far, anchor, total, weighted, n)
    for i in range(w - 2, -1, -2):
        slope_fold(x + i * far, far, slot + i * apart, apart, anchor, total, weighted, n, 2, w)
    if w % 2:
        slope_fold(x, far, slot, apart, anchor, total, weighted, n, 1, w)


cdef inline int slope_walk(const real[:, ::1] x, Py_ssize_t window, double[:, ::1] state, real[:, ::1] out,
                           Py_ssize_t n) except -1 nogil:
    cdef Py_ssize_t i, m, t = 0, w = window, p = <Py_ssize_t>state[0, 0] - 1, apart = state.shape[1]
    cdef row anchor = &state[1, 0], total = &state[2, 0], weighted = &state[3, 0], past = &state[4, 0]
    cdef double* table = &state[5, 0]
    cdef double size = w, divisor = size * (size * size - 1) / 12
    if p < 0 and x.shape[0]:
        p = 0
        anchor_at(&x[0, 0], past, total, weighted, n)
        for i in range(w):
            fill(table + i * apart, n, NAN)
    while t < x.shape[0]:
        if p == 0:
            anchor_at(&x[t, 0], anchor, total, weighted, n)
        m = min(w - p, x.shape[0] - t)
        i = 0
        while i < m:
            # the last window of a block has no suffix, and nothing to do with its anchor
            if i + 2 <= m and p + i + 2 < w:
                slope_push(&x[t + i, 0], anchor, past, total, weighted, table + (p + i + 1) * apart, apart,
                           &out[t + i, 0], n, 2, p + i, size, divisor)
                i += 2
            else:
                slope_push(&x[t + i, 0], anchor, past if p + i + 1 < w else anchor, total, weighted,
                           table + (p + i + 1) * apart, apart, &out[t + i, 0], n, 1, p + i, size, divisor)
                i += 1
        if m == w:
            slope_block(&x[t, 0], n, table, apart, past, total, weighted, n, w)
        else:
            keep(&x[t, 0], table + p * apart, apart, n, m)
            p += m
            if p == w:
                slope_block(<const double*>table, apart, table, apart, past, total, weighted, n, w)
                p = 0
        t += m
    state[0, 0] = p + 1
    return 0


def rolling_slope(const real[:, ::1] x, Py_ssize_t window, double[:, ::1] state, real[:, ::1] out):
    """Slope a row of the least-squares line through `window` rows; state: window + 6 rows."""
    with nogil:
        if x.shape[1] == LANES:
            slope_walk(x, window, state, out, LANES)
        else:
            slope_walk(x, window, state, out, x.shape[1])


# ------------------------------------------------------------------------------------------ few columns in lanes


cdef extern from * nogil:
    """
    /* The square of 8 by 8 values at `from`, rows `a` apart, turned about its diagonal to `to`, rows `b` apart. */
    #if defined(__has_builtin)
    #if __has_builtin(__builtin_shufflevector)
    #define WB_SHUFFLES
    #endif
    #endif
    #ifdef WB_SHUFFLES
    #define WB_LOW(p, q) __builtin_shufflevector(p, q, 0, 8, 2, 10, 4, 12, 6, 14)
    #define WB_HIGH(p, q) __builtin_shufflevector(p, q, 1, 9, 3, 11, 5, 13, 7, 15)
    #define WB_EVEN(p, q) __builtin_shufflevector(p, q, 0, 1, 4, 5, 8, 9, 12, 13)
    #define WB_ODD(p, q) __builtin_shufflevector(p, q, 2, 3, 6, 7, 10, 11, 14, 15)
    #define WB_TURN(name, type) \\
    typedef type name##_v __attribute__((vector_size(8 * sizeof(type)))); \\
    typedef type name##_u __attribute__((vector_size(8 * sizeof(type)), aligned(sizeof(type)), may_alias)); \\
    static inline void name(const type *from, Py_ssize_t a, type *to, Py_ssize_t b) { \\
        name##_v r[8], s[8]; \\
        for (int i = 0; i < 8; i++) r[i] = *(const name##_u *)(from + i * a); \\
        for (int i = 0; i < 8; i += 2) { s[i] = WB_LOW(r[i], r[i + 1]); s[i + 1] = WB_HIGH(r[i], r[i + 1]); } \\
        for (int i = 0; i < 8; i += 4) for (int k = 0; k < 2; k++) { \\
            r[i + k] = WB_EVEN(s[i + k], s[i + k + 2]); r[i + k + 2] = WB_ODD(s[i + k], s[i + k + 2]); } \\
        for (int i = 0; i < 4; i++) { \\
            *(name##_u *)(to + i * b) = WB_EVEN(r[i], r[i + 4]); \\
            *(name##_u *)(to + (i + 4) * b) = WB_ODD(r[i], r[i + 4]); } \\
    }
    #else
    #define WB_TURN(name, type) \\
    static inline void name(const type *from, Py_ssize_t a, type *to, Py_ssize_t b) { \\
        for (int i = 0; i < 8; i++) for (int k = 0; k < 8; k++) to[k * b + i] = from[i * a + k]; \\
    }
    #endif
    WB_TURN(wb_turn_float, float)
    WB_TURN(wb_turn_double, double)
    """
    void turn_float "wb_turn_float"(const float*, Py_ssize_t, float*, Py_ssize_t) noexcept
    void turn_double "wb_turn_double"(const double*, Py_ssize_t, double*, Py_ssize_t) noexcept


cdef inline void turn(const real* source, Py_ssize_t a, real* target, Py_ssize_t b) noexcept nogil:
    if real is float:
        turn_float(source, a, target, b)
    else:
        turn_double(source, a, target, b)


def interleave(const real[:, ::1] x, Py_ssize_t before, Py_ssize_t length, real[:, ::1] lanes):
    """Lay a long plane out as a wide one, cut by time.

    Lane b is the columns of x from row b * length on, for before + length rows; the lanes stand side by side.
    """
    cdef Py_ssize_t b, i, j, k, n = x.shape[1], rows = before + length, m = lanes.shape[1] // n, wide = lanes.shape[1]
    cdef Py_ssize_t single = rows % 8 if n == 1 and m % 8 == 0 else rows
    cdef const real* source = &x[0, 0]
    cdef real* target = &lanes[0, 0]
    with nogil:
        for i in range(single):
            for b in range(m):
                for j in range(n):
                    target[i * wide + b * n + j] = source[(b * length + i) * n + j]
        # eight rows of eight lanes are turned at once
        for i in range(single, rows, 8):
            for b in range(0, m, 8):
                for k in range(b, b + 8):
                    prefetch(&source[k * length + i + 32], 0)
                turn(&source[b * length + i], length, &target[i * wide + b], wide)


def deinterleave(const real[:, ::1] lanes, Py_ssize_t skip, real[:, ::1] out):
    """Put the lanes' rows from `skip` on behind each other again."""
    cdef Py_ssize_t b, i, j, k, n = out.shape[1], rows = lanes.shape[0] - skip, m = lanes.shape[1] // n
    cdef Py_ssize_t wide = lanes.shape[1], single = rows % 8 if n == 1 and m % 8 == 0 else rows
    cdef const real* source = &lanes[skip, 0]
    cdef real* target = &out[0, 0]
    with nogil:
        for i in range(single):
            for b in range(m):
                for j in range(n):
                    target[(b * rows + i) * n + j] = source[i * wide + b * n + j]
        for i in range(single, rows, 8):
            for b in range(0, m, 8):
                for k in range(b, b + 8):
                    prefetch(&target[k * rows + i + 32], 1)
                turn(&source[i * wide + b], wide, &target[b * rows + i], rows)
