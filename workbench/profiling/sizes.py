"""How large the objects of a namespace truly are, and which cheaper forms would hold the same values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import ClassVar

import numpy as np
import pandas as pd

from ..errors import UnknownNameError
from .buffers import NOT_ENTERED, parts, said, type_of
from .forms import forms
from .result import TOP, Result
from .words import CODE, TEXT

_HIDDEN = {"In", "Out", "exit", "quit", "get_ipython", "open"}


class SizeProfile(Result):
    """Rows are names by size: ``bytes`` that each leads to, ``alone`` that only it leads to, which go with it.

    ``forms`` is a DataFrame of cheaper forms that were built, and found to hold the same values.
    """

    columns: ClassVar[dict[str, str]] = {
        "name": CODE,
        "type": TEXT,
        "what": TEXT,
        "bytes": "B",
        "alone": "B",
        "share": "%",
        "form": TEXT,
        "then": "B",
        "saved": "B",
        "saved_share": "%",
    }
    keys = ("name",)
    measures = ("bytes", "alone")
    unfolded = 2

    def __init__(self, *args, forms: pd.DataFrame, **options):
        super().__init__(*args, **options)
        self.forms = forms

    def tables(self) -> list[tuple[str, pd.DataFrame]]:
        shown = [("", self.rows)]
        if len(self.forms):
            shown.append(("cheaper forms, each built, measured and found to hold the same values", self.forms))
        return shown


def sizes(
    namespace: Mapping[str, object] | object, names: Iterable[str] = (), *, suggest: bool = True, top: int = TOP
) -> SizeProfile:
    """The true sizes of the objects in a namespace.

    Parameters
    ----------
    namespace : mapping, or any object
        Names to objects; any other object is looked at by itself.
    names : iterable of str, optional
        The names to look at. Default: all that don't start with an underscore.
    suggest : bool, default True
        Whether to build and measure cheaper forms: takes about as long as building the objects did.
    top : int, default 20
        Rows that are shown.

    Returns
    -------
    SizeProfile

    Raises
    ------
    UnknownNameError
        A name that isn't there.
    """
    if not isinstance(namespace, Mapping):
        namespace = {"object": namespace}
    shown = [n for n in namespace if not n.startswith("_") and n not in _HIDDEN]
    names = list(names)
    for name in names:
        if name not in namespace:
            raise UnknownNameError.of("name", name, shown)
    chosen = {n: namespace[n] for n in (names or shown)}
    chosen = {n: o for n, o in chosen.items() if not issubclass(type(o), NOT_ENTERED)}
    if not names and namespace.get("Out"):
        chosen["Out"] = namespace["Out"]
    reached = {name: parts(o) for name, o in chosen.items()}
    uses = Counter(key for found in reached.values() for key in found)
    rows, shared = [], set()
    for name, found in reached.items():
        alone = sum(n for key, n in found.items() if uses[key] == 1)
        rows.append((name, type_of(chosen[name]), said(chosen[name]), sum(found.values()), alone))
        array = chosen[name] if type(chosen[name]) is np.ndarray else None
        if array is not None and array.base is not None and alone < array.nbytes:
            shared.add(name)  # a view of what others hold, or of less than it looks: another form would free nothing
    total = sum({key: n for found in reached.values() for key, n in found.items()}.values())
    frame = pd.DataFrame(rows, columns=["name", "type", "what", "bytes", "alone"])
    frame["share"] = frame["bytes"] / total if total else 0.0
    frame = frame.sort_values("bytes", ascending=False, kind="stable")
    cheaper = forms({n: o for n, o in chosen.items() if n not in shared}) if suggest else pd.DataFrame()
    facts = {"names": (len(frame), "n"), "in all, each part once": (total, "B")}
    if len(cheaper):
        facts["cheaper forms save"] = (float(cheaper.groupby("name")["saved"].max().sum()), "B")
    notes = ["alone is what would be freed if the name went; the rest is shared with other names."]
    return SizeProfile("sizes of the namespace", frame, facts=facts, notes=notes, top=top, forms=cheaper)
