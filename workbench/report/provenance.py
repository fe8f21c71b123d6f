"""What is needed to trust a page and to repeat it: versions, data, seeds, and the ledger's rows.

Once the last cell has run, the notebook's own kernel is asked (`PROBE`) for the panels and accounts in its namespace
and for the cells of the ledger that it has read: every walk reads its cells, so these are the rows that the page's
numbers stand on, whether they were computed in this run or before. The page shows a summary; the whole travels in it
as a file (`packed`).
"""

from __future__ import annotations

import base64
import gzip
import json
import platform
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

MIME = "application/vnd.workbench.provenance+json"
PROBE = "from workbench.report.provenance import show as _show; _show(get_ipython().user_ns)"
SHOWN = 20  # rows of a table on the page; the file has all

_PACKAGES = ("workbench", "numpy", "pandas", "pyarrow", "scipy", "scikit-learn", "statsmodels", "linearmodels")
_PACKAGES += ("arch", "torch", "skorch", "optuna")
_TOOLS = ("plotly", "ipykernel", "nbclient", "nbconvert")


def show(namespace: dict) -> None:
    """Send what `gather` finds to whoever runs the notebook."""
    from IPython.display import display

    display({MIME: gather(namespace)}, raw=True)


def gather(namespace: dict) -> dict:
    """The panels and accounts in a namespace, and what this process has read from ledgers, as JSON.

    Parameters
    ----------
    namespace : dict
        Of the notebook; names that begin with an underscore are left out.

    Returns
    -------
    dict
        ``panels``, ``accounts``, ``ledger`` (a list of rows each), ``lost`` (how many rows were read that are in no
        ledger any more) and ``environment`` (versions by package).
    """
    from ..backtest import Result
    from ..panel import Panel

    named = [(name, value) for name, value in namespace.items() if not name.startswith("_")]
    rows, lost = _ledger_rows()
    installed = {d.metadata["Name"]: d.version for d in metadata.distributions()}
    return {
        "panels": [{"name": name, **_panel(value)} for name, value in named if isinstance(value, Panel)],
        "accounts": [{"name": name, **_account(value)} for name, value in named if isinstance(value, Result)],
        "ledger": rows,
        "lost": lost,
        "environment": dict(sorted(installed.items(), key=lambda pair: pair[0].lower())),
    }


def _panel(panel) -> dict:
    rows, symbols = len(panel.time), len(panel.symbols)
    span = [f"{panel.time[0]:%Y-%m-%d}", f"{panel.time[-1]:%Y-%m-%d}"] if rows else []
    return {
        "fields": [*map(str, panel.fields)],
        "rows": rows,
        "symbols": symbols,
        "span": span,
        "fingerprint": panel.fingerprint,
    }


def _account(result) -> dict:
    weights, prices = result.fingerprints
    asked = {"cost_bps": result.cost_bps, "slippage_bps": result.slippage_bps, "trials": result.trials}
    return asked | {"weights": weights, "prices": prices}


def _ledger_rows() -> tuple[list[dict], int]:
    """The rows that this process has read, and how many of them are gone."""
    from .. import ledger

    rows, read = [], 0
    for path, keys in ledger.read_here().items():
        read += len(keys)
        if path.is_file():  # a ledger in a folder for the moment is gone by now, and must not be made anew
            table = ledger.Ledger(path).rows(keys=keys)
            table["created"] = table["created"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
            rows += [{**row, "title": _title(row["study"].get("spec"))} for row in table.to_dict("records")]
    return rows, read - len(rows)


def _title(spec: dict | None) -> str:
    from ..errors import WorkbenchError
    from ..evaluate.cells import title
    from ..models import ModelSpec

    try:
        return title(ModelSpec.from_json(json.dumps(spec)))
    except WorkbenchError:  # a model that this kernel no longer knows
        return str((spec or {}).get("name", ""))


def versions(names: tuple[str, ...]) -> str:
    """Names and versions of those that are installed."""
    found = []
    for name in names:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


def facts(path: Path, run: dict) -> list[tuple[str, str]]:
    """What the foot of a page says in words: pairs of a name and a fact.

    Parameters
    ----------
    path : Path
        Of the notebook.
    run : dict
        ``started`` (Unix time), ``seconds``, ``sha256`` of the notebook, and where known ``parameters`` and ``found``,
        which is what `gather` gave, or words on why it gave nothing.
    """
    when = datetime.fromtimestamp(run["started"], UTC)
    found = run.get("found") or {}
    told = [
        ("Notebook", path.name),
        ("SHA-256", run["sha256"]),
        ("Run", f"{when:%Y-%m-%d %H:%M} UTC, from the first cell to the last in {run['seconds']:.0f} s"),
    ]
    if run.get("parameters"):
        told.append(("Parameters", ", ".join(f"{name} = {value!r}" for name, value in run["parameters"].items())))
    told.append(("Kernel", f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"))
    told.append(("Packages", versions(_PACKAGES)))
    told.append(("Made with", versions(_TOOLS)))
    if isinstance(found, str):
        return [*told, ("Data and ledger", f"not known: {found}")]
    seeds = sorted({row["study"]["spec"]["seed"] for row in found.get("ledger", ()) if "spec" in row["study"]})
    if seeds:
        told.append(("Seeds", ", ".join(map(str, seeds))))
    if found.get("lost"):
        told.append(("Ledger", f"{found['lost']} rows were read that are in no ledger any more"))
    return told


def tables(run: dict) -> list[dict]:
    """The tables at the foot of a page: title, columns, rows (all words), and how many rows are left to the file."""
    found = run.get("found") or {}
    if isinstance(found, str):
        return []
    data = [
        (p["name"], f"{len(p['fields'])} × {p['rows']:,} × {p['symbols']:,}", " to ".join(p["span"]), p["fingerprint"])
        for p in found.get("panels", ())
    ]
    columns = ("name", "fields × rows × symbols", "from, to", "fingerprint")
    made = [("Data", columns, data), ("Ledger", *_tried(found.get("ledger", ()), run["started"]))]
    return [
        {"title": title, "columns": head, "rows": rows[:SHOWN], "more": max(0, len(rows) - SHOWN)}
        for title, head, rows in made
        if rows
    ]


def _tried(rows: list[dict], started: float) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """One line for each model on each label and features: its folds, and what they measured."""
    since = datetime.fromtimestamp(int(started), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    groups: dict[tuple, list[dict]] = {}
    for row in rows:
        if row["kind"] == "fold":
            study = row["study"]
            key = (row["title"], study.get("label_name", ""), study.get("features", ""), row["data"], row["code"])
            groups.setdefault((*key, json.dumps(study.get("splits"), sort_keys=True)), []).append(row)
    lines = []
    for (title, label, features, data, code, _), mine in groups.items():
        measured = [row["outcome"].get("rank_ic") for row in mine]
        measured = [value for value in measured if value is not None]
        mean = f"{sum(measured) / len(measured):.4f}" if measured else ""
        new = sum(row["created"] >= since for row in mine)
        seed = str(mine[0]["study"].get("spec", {}).get("seed", ""))
        lines.append(
            (
                title,
                seed,
                label,
                str(len(mine)),
                str(new),
                mean,
                features[:12],
                data[:12],
                code[:12],
                mine[0]["key"][:12],
            )
        )
    head = ("model", "seed", "label", "folds", "new in this run", "mean rank_ic of folds", "features", "labels", "code")
    return (*head, "first row"), lines


def packed(path: Path, run: dict) -> dict[str, str]:
    """All of it as a file for the page to carry: ``href``, ``name`` and ``size``."""
    found = run.get("found") or {}
    whole = {
        "notebook": path.name,
        "sha256": run["sha256"],
        "started": datetime.fromtimestamp(run["started"], UTC).isoformat(timespec="seconds"),
        "seconds": round(run["seconds"], 3),
        "parameters": run.get("parameters") or {},
        "python": platform.python_version(),
        "platform": platform.platform(),
        **({"not_known": found} if isinstance(found, str) else found),
    }
    text = json.dumps(whole, indent=1).encode("utf-8")
    data = base64.b64encode(gzip.compress(text, 9, mtime=0)).decode("ascii")
    size = f"{max(1, round(len(data) / 1024))} KB"
    return {"href": f"data:application/gzip;base64,{data}", "name": f"{path.stem}.json.gz", "size": size}
