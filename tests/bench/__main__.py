"""Ratios of the panel kernels to their peers, all measured in one run: ``make bench``.

Every figure is the best of several; `copyto` is numpy's copy of the same plane. TA-Lib is fed contiguous series, one
symbol after the other, its small results dropped and their memory used again; ours write to one `out=`, as
a recipe does.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time

import numpy as np
import talib

from workbench.indicators import indicators

TALIB = {
    "window": "timeperiod",
    "fast": "fastperiod",
    "slow": "slowperiod",
    "signal": "signalperiod",
    "fastk": "fastk_period",
    "slowk": "slowk_period",
    "slowd": "slowd_period",
    "lag": "timeperiod",
}


def best(*functions, repeat: int) -> list[float]:
    """The best time of each, taken in turns so that a noisy moment hits all alike."""
    times = [float("inf")] * len(functions)
    for _ in range(repeat):
        for i, function in enumerate(functions):
            start = time.perf_counter()
            function()
            times[i] = min(times[i], time.perf_counter() - start)
    return times


def bars(rows: int, columns: int) -> dict[str, np.ndarray]:
    """A panel of plausible prices, contiguous and time-major."""
    rng = np.random.default_rng(0)
    close = 100 * np.exp((rng.standard_normal((rows, columns)) * 0.01).cumsum(axis=0).clip(-3, 3))
    high = close * (1 + np.abs(rng.standard_normal((rows, columns))) * 0.01)
    low = close * (1 - np.abs(rng.standard_normal((rows, columns))) * 0.01)
    volume = rng.integers(10_000, 1_000_000, (rows, columns)).astype(float)
    return {"open": close, "high": high, "low": low, "close": close, "volume": volume}


def against_talib(rows: int, columns: int, repeat: int, only: list[str]) -> dict[str, float]:
    """Print one line an indicator; return how many times TA-Lib's speed each has."""
    planes = bars(rows, columns)
    series = {name: [np.ascontiguousarray(plane[:, j]) for j in range(columns)] for name, plane in planes.items()}
    target = np.empty_like(planes["close"])
    print(f"\n{rows:,} rows x {columns:,} symbols, float64, one thread (times of np.copyto; ratio: TA-Lib / workbench)")
    print(f"{'':16}{'workbench':>10}{'TA-Lib':>10}{'ratio':>8}")
    ratios = {}
    for name, entry in indicators.items():
        peer = getattr(talib, name.upper(), None)
        if (only and name not in only) or peer is None:
            continue
        kwargs = {TALIB[p.name]: p.default for p in entry.params if p.name in TALIB}
        mine = [planes[i] for i in entry.inputs]
        outs = tuple(np.empty_like(target) for _ in entry.outputs)
        outs = outs if len(outs) > 1 else outs[0]
        theirs = list(zip(*(series[i] for i in entry.inputs), strict=True))
        copy, ours, other = best(
            lambda: np.copyto(target, planes["close"]),
            lambda entry=entry, mine=mine, outs=outs: entry(*mine, out=outs),
            lambda peer=peer, theirs=theirs, kwargs=kwargs: [peer(*s, **kwargs) for s in theirs] and None,
            repeat=repeat,
        )
        ratios[name] = other / ours
        print(f"{name:16}{ours / copy:10.1f}{other / copy:10.1f}{ratios[name]:8.2f}")
    values = sorted(ratios.values())
    print(f"{'least, median':16}{'':20}{values[0]:8.2f}, {np.median(values):.2f}")
    return ratios


def against_frames(repeat: int) -> None:
    """pandas, bottleneck and polars on the same panel."""
    import bottleneck as bn
    import pandas as pd
    import polars as pl

    planes = bars(2520, 500)
    close, frame = planes["close"], pd.DataFrame(planes["close"])
    table = pl.DataFrame({str(j): np.ascontiguousarray(close[:, j]) for j in range(500)})
    contiguous = np.asfortranarray(close)
    names = pl.all()
    peers = {
        "sma": (frame.rolling(30).mean, lambda: bn.move_mean(contiguous, 30, axis=0), names.rolling_mean(30)),
        "ema": (frame.ewm(span=30, adjust=False).mean, None, names.ewm_mean(span=30, adjust=False)),
        "stddev": (
            lambda: frame.rolling(5).std(ddof=0),
            lambda: bn.move_std(contiguous, 5, axis=0),
            names.rolling_std(5),
        ),
        "max": (frame.rolling(30).max, lambda: bn.move_max(contiguous, 30, axis=0), names.rolling_max(30)),
        "rank": (lambda: frame.rank(axis=1, pct=True), lambda: bn.nanrankdata(close, axis=1), None),
    }
    print("\n2,520 rows x 500 symbols: how many times their time we need less (polars uses all cores)")
    print(f"{'':16}{'pandas':>10}{'bottleneck':>12}{'polars':>10}")
    for name, (pandas_, bottleneck_, polars_) in peers.items():
        entry = indicators[name]
        run_polars = None if polars_ is None else lambda e=polars_: table.select(e)
        calls = [c for c in (pandas_, bottleneck_, run_polars) if c]
        ours, *others = best(lambda e=entry: e(close), *calls, repeat=max(2, repeat // 3))
        others = iter(others)
        cells = [f"{next(others) / ours:.1f}" if c else "-" for c in (pandas_, bottleneck_, run_polars)]
        print(f"{name:16}{cells[0]:>10}{cells[1]:>12}{cells[2]:>10}")


def threads(repeat: int) -> None:
    """Independent indicators on one thread and on two, enough of them that starting a thread doesn't count."""
    planes, entry, windows = bars(2520, 500), indicators["rsi"], range(10, 74)
    outs = [np.empty_like(planes["close"]) for _ in range(2)]

    def work(thread: int, step: int) -> None:
        for window in windows[thread::step]:
            entry(planes["close"], window=window, out=outs[thread])

    def two() -> None:
        workers = [threading.Thread(target=work, args=(thread, 2)) for thread in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    one, both = best(lambda: work(0, 1), two, repeat=repeat)
    print(f"\ntwo threads on {len(windows)} independent RSIs: {one / both:.2f} times one thread")


def walks(repeat: int) -> None:
    """A ridge over 50 folds of 20 symbols x 8,000 days x 30 features, from panels that nothing is known of yet."""
    import pandas as pd
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    import workbench as wb

    time_, names = pd.date_range("1990-01-01", periods=8000, freq="B", tz="UTC"), [f"S{i}" for i in range(20)]
    values = np.random.default_rng(0).standard_normal((30, 8000, 20))
    label = np.stack([values[0] + np.random.default_rng(1).standard_normal((8000, 20)), np.ones((8000, 20))])
    label[0, -1] = np.nan
    values.flags.writeable = label.flags.writeable = False
    X = np.ascontiguousarray(values.reshape(30, -1)[:, :-20].T)
    y = label[0].ravel()[:-20]
    spec = wb.ModelSpec("ridge")

    def walk(folds: int, folder: str) -> None:
        features = wb.Panel(values, time_, names, [f"f{i}" for i in range(30)])
        target = wb.Panel(label, time_, names, ["forward_return", "span"])
        ledger = f"{folder}/{time.perf_counter_ns()}.sqlite"
        wb.walk_forward(spec, features, target, splits=wb.WalkForward(folds), ledger=ledger)

    with tempfile.TemporaryDirectory() as folder:
        fifty, one, theirs, ours = best(
            lambda: walk(50, folder),
            lambda: walk(1, folder),
            lambda: make_pipeline(StandardScaler(), Ridge()).fit(X, y),
            lambda: spec.build().fit(X, y),
            repeat=repeat,
        )
    print(
        f"\na ridge over 50 folds: {fifty / theirs:.2f} times scikit-learn's one fit on all of it, {fifty / one:.2f} "
        f"times a walk of one fold, {fifty / ours:.2f} times our one fit ({fifty * 1e3:.0f} ms)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--only", nargs="*", default=[])
    args = parser.parse_args()
    against_talib(2520, 500, args.repeat, args.only)
    against_talib(1_000_000, 1, args.repeat, args.only)
    if not args.only:
        against_frames(args.repeat)
        threads(2 * args.repeat)
        walks(args.repeat)


if __name__ == "__main__":
    main()
