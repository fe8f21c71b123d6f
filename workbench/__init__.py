"""workbench: from raw bars to a shared report, in one notebook. A Panel goes in and a Panel comes out.

>>> import workbench as wb
>>> prices = wb.load("us-tech").adjusted()
>>> wb.indicators.rsi(prices["close"], window=14)
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

# Every public name and the module that it lives in; nothing is imported before it is asked for.
_HOMES = {
    "CombinatorialPurged": "evaluate",
    "Ledger": "ledger",
    "ModelSpec": "models",
    "Panel": "panel",
    "PurgedKFold": "evaluate",
    "Recipe": "features",
    "WalkForward": "evaluate",
    "WorkbenchError": "errors",
    "backtest": "backtest",
    "chooser": "widgets",
    "compare": "evaluate",
    "feature": "features",
    "field": "features",
    "forward_return": "labels",
    "forward_sign": "labels",
    "load": "sources",
    "report": "report",
    "stream": "indicators",
    "study": "study",
    "sweep": "evaluate",
    "tear_sheet": "report",
    "walk_forward": "evaluate",
    "weights_from_scores": "backtest",
}
_MODULES = {
    "evaluate": "evaluate",
    "features": "features",
    "figures": "report.figures",
    "indicators": "indicators",
    "labels": "labels",
    "models": "models",
    "profiling": "profiling",
    "sources": "sources",
    "widgets": "widgets",
}

__all__ = sorted([*_HOMES, *_MODULES])


def __getattr__(name: str):
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{_MODULES[name]}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


class _Face(ModuleType):
    def __setattr__(self, name: str, value: object) -> None:
        # Python puts an imported module here under its own name; where a public function bears it, that goes before.
        if isinstance(value, ModuleType) and _HOMES.get(name) == name:
            value = getattr(value, name)
        super().__setattr__(name, value)

    def __reduce__(self):
        return importlib.import_module, (self.__name__,)  # so that a function of a notebook that uses it can travel


sys.modules[__name__].__class__ = _Face


def __dir__() -> list[str]:
    return __all__


def load_ipython_extension(shell) -> None:
    """Load the magics, and let errors of workbench show as one line with a hint; the traceback is one click away."""
    from .errors import show_in
    from .magics import load

    show_in(shell)
    load(shell)
