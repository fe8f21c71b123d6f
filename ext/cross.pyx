"""Across symbols: each row by itself, so nothing is carried in time; `state` is scratch.

Walk: the finite values of a row are sorted with their columns by a bottom-up merge whose inner step has no branch
to predict (ranks are random: a comparison sort with branches was slower), then ties are averaged in one pass. In a
short row each value is compared with all others instead: so many comparisons at once beat the sort. A correlation
packs the pairs of a row first: its sums then have no branch.
"""

from common cimport INFINITY, NAN, real, row, sqrt

cdef Py_ssize_t SHORT = 128  # values: 3 to 6 times the speed of the sort there, by vectors of 512 bits


cdef inline void merge(const double* a, const double* ia, Py_ssize_t na, const double* b, const double* ib,
                       Py_ssize_t nb, double* to, double* ito) noexcept nogil:
    cdef Py_ssize_t i = 0, k = 0, o = 0
    cdef bint left
    while (i < na) & (k < nb):
        left = a[i] <= b[k]
        to[o] = a[i] if left else b[k]
        ito[o] = ia[i] if left else ib[k]
        i += left
        k += 1 - left
        o += 1
    while i < na:
        to[o] = a[i]
        ito[o] = ia[i]
        i += 1
        o += 1
    while k < nb:
        to[o] = b[k]
        ito[o] = ib[k]
        k += 1
        o += 1


cdef inline void rank_short(row a, row below, Py_ssize_t n) noexcept nogil:
    """Twice the number of values below each, and once that of those equal to it, among all `n`."""
    cdef Py_ssize_t j, k
    cdef double v
    for j in range(n):
        below[j] = 0
    for k in range(n):
        v = a[k]
        for j in range(n):
            below[j] += (2.0 if v < a[j] else 0.0) + (1.0 if v == a[j] else 0.0)


def rank(const real[:, ::1] x, double[:, ::1] state, real[:, ::1] out):
    """Average rank in each row as a fraction of the number of values, in (0, 1]; state: 4 rows of scratch."""
    cdef Py_ssize_t t, j, k, i, m, width, n = x.shape[1]
    cdef double* a
    cdef double* ia
    cdef double* b
    cdef double* ib
    cdef double* swap
    cdef double r
    with nogil:
        for t in range(x.shape[0]):
            a = &state[0, 0]
            ia = &state[1, 0]
            b = &state[2, 0]
            ib = &state[3, 0]
            m = 0
            if n <= SHORT:
                for j in range(n):
                    a[j] = x[t, j]
                    m += x[t, j] == x[t, j]
                rank_short(a, b, n)
                for j in range(n):
                    out[t, j] = <real>(0.5 * (b[j] + 1) / m if a[j] == a[j] else NAN)
                continue
            for j in range(n):
                a[m] = x[t, j]
                ia[m] = j
                m += x[t, j] == x[t, j]
            width = 1
            while width < m:
                j = 0
                while j < m:
                    k = min(j + width, m)
                    i = min(k + width, m)
                    merge(a + j, ia + j, k - j, a + k, ia + k, i - k, b + j, ib + j)
                    j = i
                swap = a
                a = b
                b = swap
                swap = ia
                ia = ib
                ib = swap
                width *= 2
            for j in range(n):
                out[t, j] = <real>NAN
            j = 0
            while j < m:
                k = j + 1
                while k < m and a[k] == a[j]:
                    k += 1
                # ranks j + 1 to k share their mean
                r = 0.5 * (j + 1 + k) / m
                for i in range(j, k):
                    out[t, <Py_ssize_t>ia[i]] = <real>r
                j = k


def zscore(const real[:, ::1] x, double ddof, double[:, ::1] state, real[:, ::1] out):
    """Distance from the row's mean in its standard deviations; no state."""
    cdef Py_ssize_t t, j, n = x.shape[1]
    cdef double v, s, q, m, first
    with nogil:
        for t in range(x.shape[0]):
            first = NAN
            for j in range(n):
                if not first - first == 0:
                    first = x[t, j]
            # about one of its values, a flat row has a deviation of exactly 0, and so no score
            s = 0
            m = 0
            for j in range(n):
                v = x[t, j] - first
                s += v if v - v == 0 else 0
                m += 1 if v - v == 0 else 0
            s = s / m
            q = 0
            for j in range(n):
                v = (x[t, j] - first) - s
                q += v * v if v - v == 0 else 0
            q = sqrt(q / (m - ddof)) if m > ddof else NAN
            for j in range(n):
                v = (x[t, j] - first) - s
                out[t, j] = <real>(v / q + 0 * v if q > 0 else NAN)


def correlation(const real[:, ::1] x, const real[:, ::1] y, Py_ssize_t fewest, double[:, ::1] state,
                real[:, ::1] out):
    """Pearson's correlation of each row of x with that of y, into one column; state: 2 rows of scratch.

    Of the pairs of which neither is missing; NaN where they are fewer than `fewest`, or one side is all the same.
    """
    cdef Py_ssize_t t
    with nogil:
        for t in range(x.shape[0]):
            out[t, 0] = <real>correlated(&x[t, 0], &y[t, 0], x.shape[1], fewest, &state[0, 0], &state[1, 0])


cdef inline double correlated(const real* x, const real* y, Py_ssize_t n, Py_ssize_t fewest, row a,
                              row b) noexcept nogil:
    cdef Py_ssize_t j, m = 0
    cdef double aa = 0, ab = 0, bb = 0
    for j in range(n):
        a[m] = x[j]
        b[m] = y[j]
        m += (x[j] == x[j]) & (y[j] == y[j])
    if m < fewest or not centred(a, m) or not centred(b, m):
        return NAN
    for j in range(m):
        aa += a[j] * a[j]
        ab += a[j] * b[j]
        bb += b[j] * b[j]
    return max(-1.0, min(1.0, ab / sqrt(aa * bb)))


cdef inline bint centred(row a, Py_ssize_t m) noexcept nogil:
    """Each value less the mean, as a share of their range; False, and nothing done, where all are the same."""
    cdef Py_ssize_t j
    cdef double low = INFINITY, high = -INFINITY, sum = 0, half, first, size
    for j in range(m):
        low = min(low, a[j])
        high = max(high, a[j])
    if not high > low:
        return False
    # a range may overflow; and about one of its values a row that is nearly flat keeps its digits
    half = 0.5 if max(high, -low) > 1 else 1.0
    first = half * a[0]
    size = half * high - half * low
    for j in range(m):
        a[j] = (half * a[j] - first) / size
        sum += a[j]
    for j in range(m):
        a[j] -= sum / m
    return True
