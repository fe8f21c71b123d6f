"""Pictures as SVG text: no script, readable on light and on dark, words as tooltips."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape

from .words import seconds

WIDTH = 1000
_ROW, _CHAR = 19, 6.65  # height of a bar, width of a letter of the 11 px font
# Okabe and Ito (2008): apart for readers with any colour vision.
COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#b8a000", "#8a8f96")
_MONO = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


@dataclass
class Node:
    """A part of a tree of time: `children` together take at most its `value`."""

    name: str
    kind: str
    value: float
    words: str = ""
    children: list[Node] = field(default_factory=list)


def _frame(body: Iterable[str], height: float, label: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
        f'aria-label="{escape(label)}" width="{WIDTH}" height="{height:.0f}" '
        f'style="max-width:100%;height:auto;display:block;margin:.4em 0" fill="currentColor" '
        f'font-family="{_MONO}" font-size="11">{"".join(body)}</svg>'
    )


def _bar(x: float, y: float, width: float, color: str, name: str, words: str, *, height: float = _ROW) -> str:
    """A bar with its name, as far as it fits, and its words as a tooltip."""
    letters = int((width - 6) / _CHAR)
    shown = name if len(name) <= letters else name[: letters - 1] + "…" if letters > 3 else ""
    text = f'<text x="{x + 4:.1f}" y="{y + height - 5.5:.1f}">{escape(shown)}</text>' if shown else ""
    return (
        f'<g><title>{escape(words)}</title><rect x="{x:.2f}" y="{y:.1f}" width="{max(width - 0.6, 0.5):.2f}" '
        f'height="{height - 1.5:.1f}" rx="1.5" fill="{color}" fill-opacity=".42"/>{text}</g>'
    )


def _legend(names: Sequence[tuple[str, str]], y: float) -> list[str]:
    parts, x = [], 0.0
    for name, color in names:
        parts.append(f'<rect x="{x:.0f}" y="{y:.0f}" width="10" height="10" rx="2" fill="{color}" fill-opacity=".6"/>')
        parts.append(f'<text x="{x + 15:.0f}" y="{y + 9:.0f}" opacity=".8">{escape(name)}</text>')
        x += 15 + len(name) * _CHAR + 20
    return parts


def flame(root: Node, kinds: Sequence[str], *, least: float = 0.002, deepest: int = 28) -> str:
    """The tree as an icicle: the whole at the top, what it calls below, as wide as the time it took.

    Parameters
    ----------
    root : Node
    kinds : sequence of str
        In the order of their colours.
    least : float, default 0.002
        The share of the whole below which a part is left out.
    deepest : int, default 28
        Rows.
    """
    colors = dict(zip(kinds, COLORS, strict=False))
    bars: list[str] = []
    seen: set[str] = set()
    rows = 0
    todo = [(root, 0.0, 0)]
    while todo:
        node, x, depth = todo.pop()
        rows = max(rows, depth + 1)
        seen.add(node.kind)
        share = node.value / root.value if root.value else 0
        words = f"{node.name}\n{node.words}\n{seconds(node.value)}, {100 * share:.1f} % of all"
        bars.append(_bar(x, depth * _ROW, share * WIDTH, colors[node.kind], node.name, words))
        if depth + 1 < deepest:
            for child in sorted(node.children, key=lambda n: -n.value):
                if root.value and child.value >= least * root.value:
                    todo.append((child, x, depth + 1))
                    x += child.value / root.value * WIDTH
    names = [(kind, colors[kind]) for kind in kinds if kind in seen]
    height = rows * _ROW + 18
    return _frame([*bars, *_legend(names, rows * _ROW + 6)], height, f"flame graph of {root.name}")


@dataclass
class Bar:
    """Something that went on from `begun` to `ended`, seconds from a common start."""

    lane: str
    name: str
    kind: str
    begun: float
    ended: float
    words: str = ""


def timeline(bars: Sequence[Bar], elapsed: float, *, label: str, most: int = 3000) -> str:
    """What went on when, a lane for each thread or process, with a scale of time below.

    Bars of a lane that overlap are stacked. At most `most` are drawn: bars that follow each other within half a
    pixel are joined, the shortest left out beyond that.
    """
    lanes = list(dict.fromkeys(bar.lane for bar in bars))
    kinds = list(dict.fromkeys(bar.kind for bar in bars))
    colors = {kind: COLORS[i % len(COLORS)] for i, kind in enumerate(kinds)}
    left = min(220.0, max((len(lane) for lane in lanes), default=0) * _CHAR + 14)
    scale = (WIDTH - left) / elapsed if elapsed else 0
    drawn, y = [], 0.0
    for lane in lanes:
        mine = _joined(sorted((b for b in bars if b.lane == lane), key=lambda b: b.begun), 0.5 / scale if scale else 0)
        mine = sorted(sorted(mine, key=lambda b: b.begun - b.ended)[:most], key=lambda b: b.begun)
        ends: list[float] = []
        drawn.append(f'<text x="0" y="{y + _ROW - 5.5:.1f}" opacity=".8">{escape(lane[:32])}</text>')
        for bar in mine:
            row = next((i for i, end in enumerate(ends) if end <= bar.begun + 1e-9), len(ends))
            ends[row : row + 1] = [bar.ended]
            words = f"{bar.name}\n{seconds(bar.ended - bar.begun)}, from {seconds(bar.begun)}" + (
                f"\n{bar.words}" if bar.words else ""
            )
            x, width = left + bar.begun * scale, (bar.ended - bar.begun) * scale
            drawn.append(_bar(x, y + row * _ROW, width, colors[bar.kind], bar.name, words))
        y += max(len(ends), 1) * _ROW + 4
    drawn += _ticks(left, elapsed, scale, y)
    shown = kinds if len(kinds) <= 9 else kinds[:9]
    drawn += _legend([(kind, colors[kind]) for kind in shown], y + 24)
    return _frame(drawn, y + 40, label)


def _joined(bars: list[Bar], gap: float) -> list[Bar]:
    """Neighbours of one name that no eye could tell apart as one bar, which says how many they were."""
    found: list[Bar] = []
    counts: list[int] = []
    for bar in bars:
        last = found[-1] if found else None
        if last is not None and last.name == bar.name and 0 <= bar.begun - last.ended <= gap:
            counts[-1] += 1
            words = f"{counts[-1]} calls, one after another"
            found[-1] = Bar(bar.lane, bar.name, bar.kind, last.begun, bar.ended, words)
        else:
            found.append(bar)
            counts.append(1)
    return found


def _ticks(left: float, elapsed: float, scale: float, y: float) -> list[str]:
    if not elapsed:
        return []
    step = next(s for e in range(-9, 9) for m in (1, 2, 5) if elapsed / (s := m * 10.0**e) <= 6)
    parts = [f'<path d="M{left:.1f} {y:.1f}H{WIDTH}" stroke="currentColor" stroke-opacity=".4" fill="none"/>']
    for i in range(int(elapsed / step) + 1):
        x = left + i * step * scale
        parts.append(f'<path d="M{x:.1f} 0V{y + 4:.1f}" stroke="currentColor" stroke-opacity=".18" fill="none"/>')
        anchor = "end" if x > WIDTH - 40 else "start" if i == 0 else "middle"
        parts.append(
            f'<text x="{x:.1f}" y="{y + 15:.1f}" text-anchor="{anchor}" opacity=".7">{seconds(i * step)}</text>'
        )
    return parts
