"""Tables that the views show, and their static twins; each is made of what the registries, or the ledger, hold."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping

import pandas as pd

from ..errors import WorkbenchError
from ..evaluate.cells import title
from ..evaluate.metrics import CLASS_MEASURES, MEASURES
from ..ledger import Ledger
from ..models import ModelSpec

LONG = 40  # characters: of what is longer, lines are broken
_MEASURES = (*MEASURES, *CLASS_MEASURES)


def trials(ledger: Ledger, data: str | None = None) -> pd.DataFrame:
    """What the ledger has seen tried: one row a setting, the latest first, baselines last.

    Parameters
    ----------
    ledger : Ledger
    data : str, optional
        Fingerprint of a label: only what was tried on it.

    Returns
    -------
    DataFrame
        Columns model (with what differs from its defaults), label, splits, folds (finished ones), the measures (means
        over these folds), seconds, when (UTC), baseline, spec (JSON), features
        and data (fingerprints).
    """
    rows = ledger.rows(kind="fold", data=data)
    columns = [
        "model",
        "label",
        "splits",
        "folds",
        *_MEASURES,
        "seconds",
        "when",
        "baseline",
        "spec",
        "features",
        "data",
    ]
    if rows.empty:
        return pd.DataFrame(columns=columns)
    told = pd.DataFrame([_cell(row) for row in rows.to_dict("records")])
    by = ["spec", "splits_key", "features", "label", "data", "weights"]
    found = told.groupby(by, sort=False, dropna=False)
    table = found.agg(
        dict.fromkeys(("model", "splits", "baseline"), "first")
        | {"fold": "nunique", "seconds": "sum", "when": "max"}
        | dict.fromkeys(_MEASURES, "mean")
    )
    table = table.reset_index().rename(columns={"fold": "folds"})
    table = table.sort_values(["baseline", "when"], ascending=[True, False], kind="stable")
    return table[columns].reset_index(drop=True)


def _cell(row: Mapping) -> dict:
    study, outcome = row["study"], row["outcome"]
    splits = dict(study["splits"])
    kind = splits.pop("kind", "?")
    count = splits.get("folds", splits.get("groups"))
    return {
        "model": _title(study["spec"]),
        "label": study["label_name"],
        "splits": f"{kind}({count})",
        "splits_key": json.dumps(study["splits"], sort_keys=True),
        "spec": json.dumps(study["spec"], sort_keys=True),
        "features": study["features"],
        "data": row["data"],
        "weights": study.get("weights") or "",
        "fold": study["fold"],
        "seconds": row["seconds"],
        "when": row["created"],
        "baseline": not row["trial"],
        **{name: pd.to_numeric(outcome.get(name)) if outcome.get(name) is not None else float("nan")
           for name in _MEASURES},
    }  # fmt: skip


def _title(spec: Mapping) -> str:
    """The model and what differs from its defaults; as it stands where that model is not registered here."""
    try:
        return title(ModelSpec(spec["name"], spec["params"], spec["seed"]))
    except WorkbenchError:
        return f"{spec['name']}({', '.join(f'{k}={v!r}' for k, v in spec['params'].items())})"


def table(frame: pd.DataFrame, *, caption: str = "", index: bool = False, bar: str | None = None) -> str:
    """A table as HTML, with its numbers rounded.

    Parameters
    ----------
    frame : DataFrame
    caption : str, optional
        What it is, for who reads it without seeing it.
    index : bool, default False
        Whether the index is the first column.
    bar : str, optional
        A column whose numbers are drawn beside them as well.
    """
    if index:
        frame = frame.reset_index()
    numeric = {name: pd.api.types.is_numeric_dtype(kind) for name, kind in frame.dtypes.items()}
    scale = frame[bar].abs().max() if bar in frame and len(frame) else 0
    head = "".join(f"<th scope='col'{_text(numeric[c])}>{_words(c)}</th>" for c in frame.columns)
    body = []
    for values in frame.itertuples(index=False, name=None):
        cells = []
        for name, value in zip(frame.columns, values, strict=True):
            drawn = _drawn(value, scale) if name == bar else ""
            said = f"{value:.2f}" if name == "seconds" else number(value)
            kind = _text(numeric[name]) if len(said) <= LONG else " class='text long'"
            cells.append(f"<td{kind}>{drawn}{html.escape(said)}</td>")
        body.append(f"<tr>{''.join(cells)}</tr>")
    said = f"<caption class='wb-soft' style='text-align:left'>{html.escape(caption)}</caption>" if caption else ""
    rows = f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody>"
    return f"<div class='wb-scroll'><table>{said}{rows}</table></div>"


def _text(numeric: bool) -> str:
    return "" if numeric else " class='text'"


def _words(name: object) -> str:
    return html.escape(str(name).replace("_", " "))


def _drawn(value: float, scale: float) -> str:
    if not scale or pd.isna(value):
        return ""
    width = round(48 * abs(value) / scale)
    return f"<span class='wb-bar{' low' if value < 0 else ''}' style='width:{width}px' aria-hidden='true'></span> "


def number(value: object) -> str:
    """A cell of a table: dates as dates, numbers of four digits, nothing where there is none."""
    if value is None or (isinstance(value, float) and pd.isna(value)) or value is pd.NaT:
        return ""
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d}" if value == value.normalize() else f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, float):
        return f"{value:.4f}" if 1e-4 <= abs(value) < 100 or value == 0 else f"{value:.4g}"
    return str(value)


def facts(pairs: Mapping[str, str]) -> str:
    """Names and what they are, one a row."""
    rows = "".join(
        f"<tr><th scope='row' class='text'>{html.escape(name)}</th><td class='text long'>{html.escape(said)}</td></tr>"
        for name, said in pairs.items()
    )
    return f"<div class='wb-scroll'><table>{rows}</table></div>"


def in_style(body: str, css: str) -> str:
    """A static piece of HTML with the style of the views."""
    return f"<div class='wb-chooser'><style>{css}</style>{body}</div>"
