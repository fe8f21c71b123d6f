"""Recurrences: each row is made of the row before it and of this row's input.

Walk: time outside, symbols inside, so that a recurrence which cannot be vectorised along time is vectorised across
symbols; the state is one row a carried number, in double. A missing input is no row at all: the output is NaN there
and the state is held, so that a listing that starts late seeds itself from its own first rows.

Seeds are means of the first rows, grown in place by adding x / window, so that seed and recurrence are the same
multiply-add with other factors, and one walk serves both.

Each statistic is a step, a loop over symbols, and a walk that is inlined twice, once for a single series. That one
waits for the chain from row to row: so what a row takes from its inputs alone is made ready for a strip of rows at
once, vectorised along time, and the chain is then walked with nothing else on it. A strip with a gap goes row by row.
Of true ranges two stretches of strips are walked side by side, which no other chain here needs to keep up with TA-Lib.

Tried and slower: for a panel, a steady-state loop without the row counts (no gain: it waits for memory); for a single
series, one walk for all n (1.5 to 3x slower), and a strip copied out before it is used (reading back across what was
just stored waits for the stores: twice the time); strips half as long (10 to 15% slower).
"""

from common cimport NAN, fabs, fill, fma, real, row

cdef enum:
    STRIP = 33  # the first row, which looks back to the state, and whole vectors
    # Windows after which Wilder's mean has forgotten where it began: 37 bring it to the last bit, and then one row in
    # a window rounds it to the same.
    FORGOTTEN = 48
    AHEAD = 8  # strips of a pair's stretch, in those that the second is early


cdef inline bint known(double v) noexcept nogil:
    # neither NaN nor infinite: an infinite price is a missing one
    return v - v == 0


cdef inline bint whole(const real* a, const real* b, const real* c) noexcept nogil:
    # whether all three strips are known
    cdef Py_ssize_t i, gaps = 0
    cdef double v
    for i in range(STRIP):
        v = <double>c[i] + 0 * (<double>a[i] + b[i])
        gaps = gaps | (0 if known(v) else 1)
    return gaps == 0


# ----------------------------------------------------------------------------------------- exponential moving average


cdef inline double blend(double mean, double v, double alpha) noexcept nogil:
    # the multiply-add is spelled out: one rounding and the shortest chain, and the same bits on every CPU
    return fma(mean, 1 - alpha, alpha * v)


cdef inline void ema_row(const real* x, row mean, row count, real* out, Py_ssize_t n, double window,
                         double alpha) noexcept nogil:
    cdef Py_ssize_t j
    cdef double v, c, m, base
    for j in range(n):
        v = x[j]
        c = count[j]
        m = mean[j]
        base = fma(m, 1 - alpha if c >= window else 1, (alpha if c >= window else 1 / window) * v)
        mean[j] = base if known(v) else m
        c = c + (1 if known(v) else 0)
        count[j] = c
        out[j] = <real>(base + 0 * v if c >= window else NAN)


cdef inline int ema_walk(const real[:, ::1] x, double window, double alpha, real[:, ::1] out, Py_ssize_t n, row mean,
                         row count) except -1 nogil:
    cdef Py_ssize_t t = 0
    cdef double m
    while t < x.shape[0]:
        if n == 1 and count[0] >= window:
            m = mean[0]
            while t < x.shape[0] and known(x[t, 0]):
                m = blend(m, x[t, 0], alpha)
                out[t, 0] = <real>m
                t += 1
            mean[0] = m
            if t == x.shape[0]:
                break
        ema_row(&x[t, 0], mean, count, &out[t, 0], n, window, alpha)
        t += 1
    return 0


def ema(const real[:, ::1] x, Py_ssize_t window, double alpha, double[:, ::1] state, real[:, ::1] out):
    """Exponential mean with weight `alpha`, seeded by the mean of the first `window` values; state: 2 rows."""
    cdef Py_ssize_t n = x.shape[1]
    cdef double mean, count
    with nogil:
        if n == 1:
            mean = state[0, 0]
            count = state[1, 0]
            ema_walk(x, window, alpha, out, 1, &mean, &count)
            state[0, 0] = mean
            state[1, 0] = count
        else:
            ema_walk(x, window, alpha, out, n, &state[0, 0], &state[1, 0])


# --------------------------------------------------------------------------------------------------------------- macd


cdef inline void macd_row(const real* x, row quick, row slow, row smooth, row count, real* out, real* signal,
                          real* hist, Py_ssize_t n, double wf, double ws, double wg, double af, double as_,
                          double ag) noexcept nogil:
    cdef Py_ssize_t j
    cdef double v, c, f, s, g, base, first = ws - wf
    for j in range(n):
        v = x[j]
        c = count[j]
        f = quick[j]
        s = slow[j]
        g = smooth[j]
        # the fast mean is seeded late, so that both seeds end on the same row
        base = fma(f, 1 - af if c >= ws else 1, (af if c >= ws else (1 / wf if c >= first else 0)) * v)
        f = base if known(v) else f
        base = fma(s, 1 - as_ if c >= ws else 1, (as_ if c >= ws else 1 / ws) * v)
        s = base if known(v) else s
        c = c + 1
        base = fma(g, 1 - ag if c >= ws + wg else 1, (ag if c >= ws + wg else (1 / wg if c >= ws else 0)) * (f - s))
        g = base if known(v) else g
        count[j] = c if known(v) else c - 1
        quick[j] = f
        slow[j] = s
        smooth[j] = g
        v = 0 * v if c >= ws + wg - 1 else NAN
        out[j] = <real>((f - s) + v)
        signal[j] = <real>(g + v)
        hist[j] = <real>(((f - s) - g) + v)


cdef inline int macd_walk(const real[:, ::1] x, double wf, double ws, double wg, real[:, ::1] out,
                          real[:, ::1] signal, real[:, ::1] hist, Py_ssize_t n, row quick, row slow, row smooth,
                          row count) except -1 nogil:
    cdef Py_ssize_t t
    cdef double af = 2 / (wf + 1), as_ = 2 / (ws + 1), ag = 2 / (wg + 1)
    for t in range(x.shape[0]):
        if n == 1 and count[0] >= ws + wg and known(x[t, 0]):
            quick[0] = blend(quick[0], x[t, 0], af)
            slow[0] = blend(slow[0], x[t, 0], as_)
            smooth[0] = blend(smooth[0], quick[0] - slow[0], ag)
            out[t, 0] = <real>(quick[0] - slow[0])
            signal[t, 0] = <real>smooth[0]
            hist[t, 0] = <real>((quick[0] - slow[0]) - smooth[0])
            continue
        macd_row(&x[t, 0], quick, slow, smooth, count, &out[t, 0], &signal[t, 0], &hist[t, 0], n, wf, ws, wg, af, as_,
                 ag)
    return 0


def macd(const real[:, ::1] x, Py_ssize_t fast, Py_ssize_t slow, Py_ssize_t signal, double[:, ::1] state,
         real[:, ::1] out, real[:, ::1] out_signal, real[:, ::1] out_hist):
    """Fast less slow exponential mean, its own exponential mean, and their difference; state: 4 rows."""
    cdef Py_ssize_t n = x.shape[1]
    cdef double f, s, g, c
    with nogil:
        if n == 1:
            f = state[0, 0]
            s = state[1, 0]
            g = state[2, 0]
            c = state[3, 0]
            macd_walk(x, fast, slow, signal, out, out_signal, out_hist, 1, &f, &s, &g, &c)
            state[0, 0] = f
            state[1, 0] = s
            state[2, 0] = g
            state[3, 0] = c
        else:
            macd_walk(x, fast, slow, signal, out, out_signal, out_hist, n, &state[0, 0], &state[1, 0], &state[2, 0],
                      &state[3, 0])


# ---------------------------------------------------------------------------------------------------------------- rsi


cdef inline double gain_of(double move) noexcept nogil:
    # exactly the move where it is positive, and 0 elsewhere, without a branch
    return 0.5 * (move + fabs(move))


cdef inline double strength(double gain, double loss) noexcept nogil:
    cdef double s = gain + loss, r = 100 * (gain / s)
    return r if s > 0 else 0


cdef inline void rsi_row(const real* x, row last, row gain, row loss, row count, real* out, Py_ssize_t n,
                         double window) noexcept nogil:
    cdef Py_ssize_t j
    cdef double v, c, d, up, g, s, a, b, keep, before, inv = 1 / window
    for j in range(n):
        v = x[j]
        c = count[j]
        a = gain[j]
        b = loss[j]
        before = last[j]
        d = v - before
        d = d if c > 0 else 0
        up = gain_of(d)
        keep = (window - 1) * inv if c > window else 1
        g = fma(a, keep, up * inv)
        s = fma(b, keep, (up - d) * inv)
        gain[j] = g if known(v) else a
        loss[j] = s if known(v) else b
        last[j] = v if known(v) else before
        count[j] = c + (1 if known(v) else 0)
        g = strength(g, s)
        out[j] = <real>(g + 0 * v if c >= window else NAN)


cdef inline bint rsi_strip(const real* x, double window, real* out, row last, row gain, row loss) noexcept nogil:
    cdef Py_ssize_t i
    cdef double d, g = gain[0], s = loss[0], inv = 1 / window, keep = (window - 1) * inv
    cdef double up[STRIP]
    cdef double down[STRIP]
    if not whole(x, x, x):
        return False
    d = x[0] - last[0]
    up[0] = gain_of(d) * inv
    down[0] = (gain_of(d) - d) * inv
    for i in range(1, STRIP):
        d = <double>x[i] - x[i - 1]
        up[i] = gain_of(d) * inv
        down[i] = (gain_of(d) - d) * inv
    for i in range(STRIP):
        g = fma(g, keep, up[i])
        s = fma(s, keep, down[i])
        up[i] = g
        down[i] = s
    for i in range(STRIP):
        out[i] = <real>strength(up[i], down[i])
    last[0] = x[STRIP - 1]
    gain[0] = g
    loss[0] = s
    return True


cdef inline int rsi_walk(const real[:, ::1] x, double window, real[:, ::1] out, Py_ssize_t n, row last, row gain,
                         row loss, row count) except -1 nogil:
    cdef Py_ssize_t t = 0, stop, rows = x.shape[0]
    while t < rows:
        stop = min(t + STRIP, rows) if n == 1 else rows
        if n == 1 and stop == t + STRIP and count[0] > window:
            if rsi_strip(&x[t, 0], window, &out[t, 0], last, gain, loss):
                t = stop
        while t < stop:
            rsi_row(&x[t, 0], last, gain, loss, count, &out[t, 0], n, window)
            t += 1
    return 0


def rsi(const real[:, ::1] x, Py_ssize_t window, double[:, ::1] state, real[:, ::1] out):
    """Share of the gains in all moves, both averaged as Wilder does, in percent; state: 4 rows."""
    cdef Py_ssize_t n = x.shape[1]
    cdef double last, gain, loss, count
    with nogil:
        if n == 1:
            last = state[0, 0]
            gain = state[1, 0]
            loss = state[2, 0]
            count = state[3, 0]
            rsi_walk(x, window, out, 1, &last, &gain, &loss, &count)
            state[0, 0] = last
            state[1, 0] = gain
            state[2, 0] = loss
            state[3, 0] = count
        else:
            rsi_walk(x, window, out, n, &state[0, 0], &state[1, 0], &state[2, 0], &state[3, 0])


# ---------------------------------------------------------------------------------------------------------------- atr


cdef inline double true_range(double high, double low, double last) noexcept nogil:
    cdef double r = high - low, a = fabs(high - last), b = fabs(low - last)
    a = a if a > b else b
    return r if r > a else a


cdef inline void atr_row(const real* high, const real* low, const real* close, row last, row mean, row count,
                         real* out, Py_ssize_t n, double window) noexcept nogil:
    cdef Py_ssize_t j
    cdef double h, s, v, c, r, m, base, before
    for j in range(n):
        h = high[j]
        s = low[j]
        v = close[j]
        c = count[j]
        m = mean[j]
        before = last[j]
        r = true_range(h, s, before)
        base = fma(m, 1 - 1 / window if c > window else 1, (1 / window) * r)
        base = base if c > 0 else 0
        v = v + 0 * (h + s)
        mean[j] = base if known(v) else m
        last[j] = v if known(v) else before
        count[j] = c + (1 if known(v) else 0)
        out[j] = <real>(base + 0 * v if c >= window else NAN)


cdef inline bint ranges(const real* high, const real* low, const real* close, double last, double inv,
                        row r) noexcept nogil:
    # the true ranges of a strip, each times `inv`; False where one of its rows has a gap
    cdef Py_ssize_t i
    if not whole(high, low, close):
        return False
    r[0] = inv * true_range(high[0], low[0], last)
    for i in range(1, STRIP):
        r[i] = inv * true_range(high[i], low[i], close[i - 1])
    return True


cdef inline bint atr_strip(const real* high, const real* low, const real* close, double window, real* out, row last,
                           row mean) noexcept nogil:
    cdef Py_ssize_t i
    cdef double m = mean[0], inv = 1 / window
    cdef double r[STRIP]
    if not ranges(high, low, close, last[0], inv, r):
        return False
    for i in range(STRIP):
        m = fma(m, 1 - inv, r[i])
        out[i] = <real>m
    last[0] = close[STRIP - 1]
    mean[0] = m
    return True


cdef inline Py_ssize_t atr_pair(const real* high, const real* low, const real* close, double window, real* out,
                                row last, row mean, Py_ssize_t warm) noexcept nogil:
    # Two stretches of strips side by side, as one chain leaves the machine idle: the second starts `warm` strips
    # early from a guess, which the mean forgets to the last bit. Where it has not, only the first counts. Returns
    # the rows walked: fewer than both where a strip has a gap.
    cdef Py_ssize_t i, k, strips = AHEAD * warm, far = (strips - warm) * STRIP, at = 0
    cdef double m = mean[0], guess = m, met = NAN, inv = 1 / window
    cdef double r[STRIP]
    cdef double ahead[STRIP]
    cdef real early[STRIP]
    cdef real* to
    for k in range(strips):
        if not ranges(high + at, low + at, close + at, close[at - 1] if k else last[0], inv, r):
            break
        if not ranges(high + far + at, low + far + at, close + far + at, close[far + at - 1], inv, ahead):
            break
        to = out + far + at if k >= warm else early
        for i in range(STRIP):
            m = fma(m, 1 - inv, r[i])
            guess = fma(guess, 1 - inv, ahead[i])
            out[at + i] = <real>m
            to[i] = <real>guess
        met = guess if k < warm else met
        at = at + STRIP
    if at == strips * STRIP and met == m:
        at = far + at
        m = guess
    if at:
        last[0] = close[at - 1]
        mean[0] = m
    return at


cdef inline int atr_series(const real[:, ::1] high, const real[:, ::1] low, const real[:, ::1] close, double window,
                           real[:, ::1] out, row last, row mean, row count) except -1 nogil:
    cdef Py_ssize_t t = 0, stop, rows = close.shape[0], warm = <Py_ssize_t>(FORGOTTEN * window / STRIP) + 1
    cdef Py_ssize_t pair = (2 * AHEAD - 1) * warm * STRIP, again = 0
    while t < rows:
        if t >= again and t + pair <= rows and count[0] > window:
            again = t + pair  # gaps come in crowds: one ends the pairs for a while
            t += atr_pair(&high[t, 0], &low[t, 0], &close[t, 0], window, &out[t, 0], last, mean, warm)
            continue
        stop = min(t + STRIP, rows)
        if stop == t + STRIP and count[0] > window:
            if atr_strip(&high[t, 0], &low[t, 0], &close[t, 0], window, &out[t, 0], last, mean):
                t = stop
        while t < stop:
            atr_row(&high[t, 0], &low[t, 0], &close[t, 0], last, mean, count, &out[t, 0], 1, window)
            t += 1
    return 0


def atr(const real[:, ::1] high, const real[:, ::1] low, const real[:, ::1] close, Py_ssize_t window,
        double[:, ::1] state, real[:, ::1] out):
    """True range averaged as Wilder does; state: 3 rows."""
    cdef Py_ssize_t t, n = close.shape[1]
    cdef double last, mean, count
    with nogil:
        if n == 1:
            last = state[0, 0]
            mean = state[1, 0]
            count = state[2, 0]
            atr_series(high, low, close, window, out, &last, &mean, &count)
            state[0, 0] = last
            state[1, 0] = mean
            state[2, 0] = count
        else:
            for t in range(close.shape[0]):
                atr_row(&high[t, 0], &low[t, 0], &close[t, 0], &state[0, 0], &state[1, 0], &state[2, 0], &out[t, 0],
                        n, window)


# ---------------------------------------------------------------------------------------------------------------- adx


cdef inline double direction(double plus, double minus) noexcept nogil:
    return 100 * (fabs(plus - minus) / (plus + minus))


cdef inline double won(double move, double other) noexcept nogil:
    return move if (move > other) & (move > 0) else 0


cdef inline void adx_row(const real* high, const real* low, const real* close, row lh, row ll, row lc, row plus,
                         row minus, row range_, row mean, row count, real* out, Py_ssize_t n,
                         double window) noexcept nogil:
    cdef Py_ssize_t j
    cdef double h, s, v, c, gap, up, down, p, m, r, a, dx, keep, base, h0, s0, v0, p0, m0, r0, decay = 1 - 1 / window
    for j in range(n):
        h = high[j]
        s = low[j]
        v = close[j]
        gap = 0 * v + 0 * (h + s)
        c = count[j]
        h0 = lh[j]
        s0 = ll[j]
        v0 = lc[j]
        p0 = plus[j]
        m0 = minus[j]
        r0 = range_[j]
        up = h - h0
        down = s0 - s
        p = won(up, down)
        m = won(down, up)
        r = true_range(h, s, v0)
        keep = decay if c >= window else 1
        p = fma(p0, keep, p)
        m = fma(m0, keep, m)
        r = fma(r0, keep, r)
        p = p if c > 0 else 0
        m = m if c > 0 else 0
        r = r if c > 0 else 0
        a = mean[j]
        dx = direction(p, m)
        base = fma(a, 1 - 1 / window if c >= 2 * window else 1, (1 / window) * dx)
        # without any range or direction the index is held (one select a line, or GCC vectorises none)
        base = base if r > 0 else a
        base = base if p + m > 0 else a
        base = base if c >= window else a
        plus[j] = p if gap == 0 else p0
        minus[j] = m if gap == 0 else m0
        range_[j] = r if gap == 0 else r0
        mean[j] = base if gap == 0 else a
        lh[j] = h if gap == 0 else h0
        ll[j] = s if gap == 0 else s0
        lc[j] = v if gap == 0 else v0
        count[j] = c + (1 if gap == 0 else 0)
        out[j] = <real>(base + gap if c >= 2 * window - 1 else NAN)


cdef inline void moves(double high, double low, double last_high, double last_low, double last, double* up,
                       double* down, double* range_) noexcept nogil:
    up[0] = won(high - last_high, last_low - low)
    down[0] = won(last_low - low, high - last_high)
    range_[0] = true_range(high, low, last)


cdef inline bint adx_strip(const real* high, const real* low, const real* close, row lh, row ll, row lc, row plus,
                           row minus, row range_, row mean, real* out, double window) noexcept nogil:
    cdef Py_ssize_t i
    cdef double p = plus[0], m = minus[0], r = range_[0], a = mean[0], inv = 1 / window, decay = 1 - inv
    cdef double up[STRIP]
    cdef double down[STRIP]
    cdef double v[STRIP]
    if not whole(high, low, close):
        return False
    moves(high[0], low[0], lh[0], ll[0], lc[0], up, down, v)
    for i in range(1, STRIP):
        moves(high[i], low[i], high[i - 1], low[i - 1], close[i - 1], up + i, down + i, v + i)
    for i in range(STRIP):
        p = fma(p, decay, up[i])
        m = fma(m, decay, down[i])
        r = fma(r, decay, v[i])
        if r > 0 and p + m > 0:
            a = blend(a, direction(p, m), inv)
        out[i] = <real>a
    lh[0] = high[STRIP - 1]
    ll[0] = low[STRIP - 1]
    lc[0] = close[STRIP - 1]
    plus[0] = p
    minus[0] = m
    range_[0] = r
    mean[0] = a
    return True


cdef inline int adx_walk(const real[:, ::1] high, const real[:, ::1] low, const real[:, ::1] close, double window,
                         real[:, ::1] out, Py_ssize_t n, row lh, row ll, row lc, row plus, row minus, row range_,
                         row mean, row count) except -1 nogil:
    cdef Py_ssize_t t = 0, stop, rows = close.shape[0]
    while t < rows:
        stop = min(t + STRIP, rows) if n == 1 else rows
        if n == 1 and stop == t + STRIP and count[0] >= 2 * window:
            if adx_strip(&high[t, 0], &low[t, 0], &close[t, 0], lh, ll, lc, plus, minus, range_, mean, &out[t, 0],
                         window):
                t = stop
        while t < stop:
            adx_row(&high[t, 0], &low[t, 0], &close[t, 0], lh, ll, lc, plus, minus, range_, mean, count, &out[t, 0], n,
                    window)
            t += 1
    return 0


def adx(const real[:, ::1] high, const real[:, ::1] low, const real[:, ::1] close, Py_ssize_t window,
        double[:, ::1] state, real[:, ::1] out):
    """Wilder's average directional index, in percent; state: 8 rows."""
    cdef Py_ssize_t i, n = close.shape[1]
    cdef double s[8]
    with nogil:
        if n == 1:
            for i in range(8):
                s[i] = state[i, 0]
            adx_walk(high, low, close, window, out, 1, &s[0], &s[1], &s[2], &s[3], &s[4], &s[5], &s[6], &s[7])
            for i in range(8):
                state[i, 0] = s[i]
        else:
            adx_walk(high, low, close, window, out, n, &state[0, 0], &state[1, 0], &state[2, 0], &state[3, 0],
                     &state[4, 0], &state[5, 0], &state[6, 0], &state[7, 0])


# ------------------------------------------------------------------------------------------------------------- volume


cdef inline double lost(double s, double q, double t) noexcept nogil:
    # Knuth's exact error of t = s + q, which asks for no comparison
    cdef double e = t - s
    return (s - (t - e)) + (q - e)


cdef inline double side(double v, double before) noexcept nogil:
    cdef double sign = -1.0 if v < before else 0
    return 1.0 if v > before else sign


cdef inline void obv_row(const real* close, const real* volume, row last, row total, row error, row count, real* out,
                         Py_ssize_t n) noexcept nogil:
    # Compensated (Ogita, Rump and Oishi 2005): a sum over all of history has no window to start afresh from.
    cdef Py_ssize_t j
    cdef double v, q, s, t, e, c, b, before, sign
    for j in range(n):
        v = close[j]
        q = volume[j]
        v = v + 0 * q
        before = last[j]
        c = count[j]
        b = error[j]
        s = total[j]
        sign = side(v, before)
        sign = 1.0 if c == 0 else sign
        q = q * sign
        t = s + q
        e = b + lost(s, q, t)
        total[j] = t if known(v) else s
        error[j] = e if known(v) else b
        last[j] = v if known(v) else before
        count[j] = 1 if known(v) else c
        out[j] = <real>((t + e) + 0 * v)


cdef inline bint obv_strip(const real* close, const real* volume, real* out, row last, row total,
                           row error) noexcept nogil:
    cdef Py_ssize_t i
    cdef double s = total[0], e = error[0], t
    cdef double q[STRIP]
    if not whole(volume, volume, close):
        return False
    q[0] = volume[0] * side(close[0], last[0])
    for i in range(1, STRIP):
        q[i] = volume[i] * side(close[i], close[i - 1])
    for i in range(STRIP):
        t = s + q[i]
        e = e + lost(s, q[i], t)
        s = t
        out[i] = <real>(s + e)
    last[0] = close[STRIP - 1]
    total[0] = s
    error[0] = e
    return True


cdef inline int obv_walk(const real[:, ::1] close, const real[:, ::1] volume, real[:, ::1] out, Py_ssize_t n,
                         row last, row total, row error, row count) except -1 nogil:
    cdef Py_ssize_t t = 0, stop, rows = close.shape[0]
    while t < rows:
        stop = min(t + STRIP, rows) if n == 1 else rows
        if n == 1 and stop == t + STRIP and count[0] == 1:
            if obv_strip(&close[t, 0], &volume[t, 0], &out[t, 0], last, total, error):
                t = stop
        while t < stop:
            obv_row(&close[t, 0], &volume[t, 0], last, total, error, count, &out[t, 0], n)
            t += 1
    return 0


def obv(const real[:, ::1] close, const real[:, ::1] volume, double[:, ::1] state, real[:, ::1] out):
    """Volume summed with the sign of the move, from the first row on; state: 4 rows."""
    cdef Py_ssize_t n = close.shape[1]
    cdef double last, total, error, count
    with nogil:
        if n == 1:
            last = state[0, 0]
            total = state[1, 0]
            error = state[2, 0]
            count = state[3, 0]
            obv_walk(close, volume, out, 1, &last, &total, &error, &count)
            state[0, 0] = last
            state[1, 0] = total
            state[2, 0] = error
            state[3, 0] = count
        else:
            obv_walk(close, volume, out, n, &state[0, 0], &state[1, 0], &state[2, 0], &state[3, 0])


def money_flow(const real[:, ::1] high, const real[:, ::1] low, const real[:, ::1] close, const real[:, ::1] volume,
               double[:, ::1] state, real[:, ::1] plus, real[:, ::1] minus):
    """Typical price times volume, where the price rose from the row before and where it fell; state: 2 rows."""
    cdef Py_ssize_t t, n = close.shape[1]
    with nogil:
        if state[1, 0] == 0:
            fill(&state[0, 0], n, NAN)
            state[1, 0] = 1
        for t in range(close.shape[0]):
            flow_row(&high[t, 0], &low[t, 0], &close[t, 0], &volume[t, 0], &state[0, 0], &plus[t, 0], &minus[t, 0], n)


cdef inline void flow_row(const real* high, const real* low, const real* close, const real* volume, row last,
                          real* plus, real* minus, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t j
    cdef double v, q, d, zero
    for j in range(n):
        v = (<double>high[j] + low[j] + close[j]) / 3
        d = v - last[j]
        q = v * volume[j]
        zero = 0 * (q + d)
        last[j] = v
        # sums of the same three prices differ by the order in which they were rounded: that is no move
        v = 1e-15 * fabs(v)
        plus[j] = <real>((q if d > v else 0) + zero)
        minus[j] = <real>((q if d < -v else 0) + zero)
