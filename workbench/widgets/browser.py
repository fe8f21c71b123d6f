"""Tables to look through: what is registered, and what was tried."""

from __future__ import annotations

import html
import inspect
import os
from collections.abc import Callable, Mapping

import ipywidgets as ipw
import pandas as pd

from ..errors import UnknownNameError
from ..evaluate.walk import as_ledger
from ..indicators import catalog as indicator_catalog
from ..labels import labels
from ..ledger import Ledger
from ..models import catalog as model_catalog
from ..sources import sources
from .form import CSS, Skin
from .tables import in_style, table, trials

MOST = 200  # rows that are sent to the browser


def _labels() -> pd.DataFrame:
    rows = [
        {
            "name": entry.name,
            "summary": inspect.getdoc(entry).splitlines()[0],
            "params": ", ".join(f"{p.name}={p.default!r}" for p in entry.params),
            "gives": ", ".join(entry.fields),
        }
        for entry in labels.values()
    ]
    return pd.DataFrame(rows)


def _sources() -> pd.DataFrame:
    rows = [
        {
            "name": entry.name,
            "summary": entry.summary,
            "params": ", ".join(f"{p.name}={p.default!r}" for p in entry.params),
            "origin": entry.origin,
            "licence": entry.licence,
        }
        for entry in sources.values()
    ]
    return pd.DataFrame(rows)


KINDS: dict[str, Callable[[], pd.DataFrame]] = {
    "indicators": lambda: indicator_catalog().reset_index(),
    "models": model_catalog,
    "labels": _labels,
    "sources": _sources,
}


class Browser(ipw.VBox):
    """A table with a search over all of its words. Made by `catalog` and `ledger`.

    Attributes
    ----------
    table : DataFrame
        The rows that are shown.
    """

    def __init__(self, kinds: Mapping[str, Callable[[], pd.DataFrame]], kind: str, bar: str | None = None):
        skin = Skin()
        self._kinds, self._bar = kinds, bar
        self._kind = skin.make(ipw.Dropdown, options=list(kinds), value=kind, description="of", tooltip="which table")
        self._search = skin.make(
            ipw.Text,
            description="search",
            placeholder="words, all of them",
            tooltip="rows that hold all of these words",
        )
        self._again = skin.button("Refresh", "reads the table again", icon="refresh")
        self._body = skin.html()
        self._kind.observe(self._read, names="value")
        self._search.observe(self._show, names="value")
        self._again.on_click(self._read)
        several = [self._kind] if len(kinds) > 1 else []
        super().__init__(
            [skin.html(f"<style>{CSS}</style>"), ipw.HBox([*several, self._search, self._again]), self._body]
        )
        self.add_class("wb-chooser")
        self._read()

    def _read(self, *ignored) -> None:
        self._rows = self._kinds[self._kind.value]()
        self._words = [" ".join(map(str, row)).lower() for row in self._rows.itertuples(index=False)]
        self._show()

    @property
    def table(self) -> pd.DataFrame:
        asked = self._search.value.lower().split()
        return self._rows[[all(word in words for word in asked) for words in self._words]]

    def _show(self, *ignored) -> None:
        self._body.value = self._static(MOST)

    def _static(self, most: int) -> str:
        found = self.table
        count = f"{len(found)} of {len(self._rows)} {html.escape(self._kind.value)}"
        count += f", the first {most} are shown" if len(found) > most else ""
        if not len(found):
            return f"<div class='wb-soft' role='status'>{count}</div>"
        return f"<div class='wb-soft' role='status'>{count}</div>{table(found.head(most), bar=self._bar)}"

    def __repr__(self) -> str:
        return f"<Browser: {len(self.table)} of {len(self._rows)} {self._kind.value}>"

    def _repr_mimebundle_(self, **kwargs) -> dict:
        bundle = super()._repr_mimebundle_(**kwargs) or {}
        return {**bundle, "text/html": in_style(self._static(MOST), CSS), "text/plain": repr(self)}


def catalog(kind: str = "indicators") -> Browser:
    """What is registered, to look through: indicators, models, labels or sources.

    Parameters
    ----------
    kind : {"indicators", "models", "labels", "sources"}, default "indicators"

    Returns
    -------
    Browser
        A widget; ``.table`` are the rows that the search leaves.
    """
    if kind not in KINDS:
        raise UnknownNameError.of("catalogue", kind, KINDS)
    return Browser(KINDS, kind)


def ledger(ledger: Ledger | str | os.PathLike | None = None) -> Browser:
    """What the ledger has seen tried, to look through: one row a setting.

    Parameters
    ----------
    ledger : Ledger, str or Path, optional
        Default: that of the workspace.

    Returns
    -------
    Browser
        A widget; ``.table`` are the rows that the search leaves, as `workbench.widgets.tables.trials` gives them.
    """
    kept = as_ledger(ledger)

    def read() -> pd.DataFrame:
        found = trials(kept)
        found = found if found.empty else found.dropna(axis=1, how="all")
        found = found.assign(data=found["data"].str[:10], baseline=["yes" if b else "" for b in found["baseline"]])
        return found.drop(columns=["spec", "features"])

    return Browser({"settings": read}, "settings", bar="rank_ic")
