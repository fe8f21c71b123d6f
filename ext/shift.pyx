"""Looking back by a fixed number of rows.

Walk: one flat loop, since row t and row t - k are as far apart everywhere in a contiguous plane; only the first k
rows of a call read the ring of the last k rows that `state` carries (row 0: its position plus one, then k rows).
"""

from common cimport NAN, fill, real


cdef inline double roc_of(double now, double past) noexcept nogil:
    cdef double r = (now / past - 1) * 100, gap = 0 * now + 0 * past
    return r + gap if past != 0 else gap


cdef inline int remember(const real[:, ::1] x, Py_ssize_t k, double[:, ::1] state) except -1 nogil:
    cdef Py_ssize_t t, j, rows = x.shape[0], p = <Py_ssize_t>state[0, 0] - 1
    for t in range(max(rows - k, 0), rows):
        for j in range(x.shape[1]):
            state[1 + (p + t) % k, j] = x[t, j]
    state[0, 0] = (p + rows) % k + 1
    return 0


cdef inline void begin(Py_ssize_t k, double[:, ::1] state) noexcept nogil:
    cdef Py_ssize_t i
    if state[0, 0] == 0:
        state[0, 0] = 1
        for i in range(k):
            fill(&state[1 + i, 0], state.shape[1], NAN)


def roc(const real[:, ::1] x, Py_ssize_t lag, double[:, ::1] state, real[:, ::1] out):
    """Change over `lag` rows, in percent; state: lag + 1 rows."""
    cdef Py_ssize_t t, j, p, n = x.shape[1], head = min(lag, x.shape[0])
    cdef const real* now
    cdef real* to
    with nogil:
        begin(lag, state)
        p = <Py_ssize_t>state[0, 0] - 1
        for t in range(head):
            for j in range(n):
                out[t, j] = <real>roc_of(x[t, j], state[1 + (p + t) % lag, j])
        if x.shape[0] > lag:
            now = &x[0, 0]
            to = &out[lag, 0]
            for j in range((x.shape[0] - lag) * n):
                to[j] = <real>roc_of(now[j + lag * n], now[j])
        remember(x, lag, state)


def lag(const real[:, ::1] x, Py_ssize_t lag, double[:, ::1] state, real[:, ::1] out):
    """The value `lag` rows ago; state: lag + 1 rows."""
    cdef Py_ssize_t t, j, p, n = x.shape[1], head = min(lag, x.shape[0])
    with nogil:
        begin(lag, state)
        p = <Py_ssize_t>state[0, 0] - 1
        for t in range(head):
            for j in range(n):
                out[t, j] = <real>state[1 + (p + t) % lag, j]
        for t in range(lag, x.shape[0]):
            for j in range(n):
                out[t, j] = x[t - lag, j]
        remember(x, lag, state)
