"""One account over a panel: orders are filled a row after they were decided, then everything held is marked.

Walk: time outside, symbols inside, three short passes a row: value the account at the fill prices, fill the
orders, mark at the close. Sizing needs the value of the whole account before the first order of the row is
filled, so the passes cannot be fused. A row's weights go into `state` as its last act: no order can see the
price of its own row.

State (double), zeros at start: row 0 shares held, row 1 last known price (0: none yet), row 2 the weights
decided on the row before, [3, 0] cash, [4, 0] the phase (0: not opened, 1: open, 2: bankrupt).
"""

from common cimport fabs, real


def account(
    const real[:, ::1] weights,
    const real[:, ::1] fills,
    const real[:, ::1] closes,
    double capital,
    double cost,
    double slippage,
    double[:, ::1] state,
    double[:, ::1] shares,
    double[:, ::1] marks,
    double[:, ::1] rows,
):
    """Account for the given rows; `cost` and `slippage` are fractions, prices are positive or NaN.

    `shares` and `marks` are (T, N); `rows` is (T, 9): cash, equity, gross and net value of the positions at
    the close, equity at the fill, notional traded, cost, slippage, orders unfilled. `state` has 5 rows.
    """
    cdef Py_ssize_t t, j, n = weights.shape[1]
    cdef double cash = state[3, 0], phase = state[4, 0]
    cdef double price, weight, traded, paid, notional, held, sized, gross, net, spent, slipped, unfilled
    with nogil:
        if phase == 0:
            cash = capital
            phase = 1
        for t in range(weights.shape[0]):
            sized = cash
            for j in range(n):
                price = fills[t, j]
                if price == price:
                    state[1, j] = price
                sized = sized + state[0, j] * state[1, j]
            spent = slipped = traded = unfilled = 0
            if phase == 1 and not sized > 0:
                # closed out at the prices that show it; nothing is held or ordered from here on
                phase = 2
                cash = sized
                for j in range(n):
                    state[0, j] = 0
            if phase == 1:
                for j in range(n):
                    weight = state[2, j]
                    held = state[0, j]
                    if weight != weight or (weight == 0 and held == 0):
                        continue
                    price = fills[t, j]
                    if price != price:
                        unfilled += 1
                        continue
                    state[0, j] = weight * sized / price
                    held = state[0, j] - held
                    paid = price * (1 + slippage) if held > 0 else price * (1 - slippage)
                    notional = fabs(held) * paid
                    traded += notional
                    spent += notional * cost
                    slipped += held * (paid - price)
                    cash = cash - held * paid - notional * cost
            gross = net = 0
            for j in range(n):
                price = closes[t, j]
                if price == price:
                    state[1, j] = price
                held = state[0, j] * state[1, j]
                gross += fabs(held)
                net += held
                shares[t, j] = state[0, j]
                marks[t, j] = state[1, j]
                state[2, j] = weights[t, j]
            rows[t, 0] = cash
            rows[t, 1] = cash + net
            rows[t, 2] = gross
            rows[t, 3] = net
            rows[t, 4] = sized
            rows[t, 5] = traded
            rows[t, 6] = spent
            rows[t, 7] = slipped
            rows[t, 8] = unfilled
            if phase == 1 and not cash + net > 0:
                phase = 2
                cash = cash + net
                for j in range(n):
                    state[0, j] = 0
        state[3, 0] = cash
        state[4, 0] = phase
