"""What one chooses for a study, as JSON, as objects and as Python; no widget is needed for it, and it holds no numbers.

A choice is the truth, and the chooser a view of it: the controls change it, `Choice.to_dict` writes it down,
`Choice.code` says it in Python, and `workbench.widgets.job` computes what that Python computes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..backtest import PARAMS, WEIGHTING
from ..errors import DataError, ParameterError, UnknownNameError, WorkbenchError
from ..evaluate import WalkForward
from ..evaluate.metrics import FEWEST
from ..evaluate.splits import Splits
from ..features import Expression, Recipe, feature
from ..indicators import indicators
from ..labels import labels
from ..models import ModelSpec, models
from ..panel import Panel
from ..registry import Param, check_params

SECTIONS = ("data", "features", "label", "model", "splits", "portfolio", "costs")
COSTS = tuple(p for p in PARAMS if p.name in ("cost_bps", "slippage_bps", "fill"))
ACROSS = ("rank", "zscore")  # of its row: what may be done to a feature
_DATES = ("start", "end")


@dataclass(frozen=True)
class Choice:
    """All that is chosen for a study of one panel: checked, immutable, and JSON.

    Made by `of` from what `to_dict` wrote, or by `default`.

    Attributes
    ----------
    start, end : str or None
        The first and the last date of the rows, as a slice of a panel takes them; None: all.
    symbols : tuple of str or None
    features : tuple of Pick
    label : tuple of (str, dict)
        The name of a registered label, and its parameters.
    spec : ModelSpec
    splits : Splits
    portfolio, costs : dict
        What `weights_from_scores` and `backtest` are given.

    Examples
    --------
    >>> choice = Choice.of({"features": [{"name": "roc", "params": {"window": 20}, "across": "rank"}]})
    >>> choice.recipe
    Recipe([feature("roc", window=20).rank()])
    """

    start: str | None
    end: str | None
    symbols: tuple[str, ...] | None
    features: tuple[Pick, ...]
    label: tuple[str, dict]
    spec: ModelSpec
    splits: Splits
    portfolio: dict
    costs: dict

    # ------------------------------------------------------------------ JSON

    @classmethod
    def of(cls, content: Mapping | str) -> Choice:
        """The choice that `to_dict` wrote; a section that is left out is that of `default`.

        Parameters
        ----------
        content : mapping, or the JSON of one
            The sections data (start, end, symbols), features (a list of name, params, output, across), label and
            model (name, params; a model also its seed), splits (kind, and what it takes), portfolio and costs.

        Raises
        ------
        DataError
            A section, or an entry of one, that there isn't, or that is of the wrong kind.
        UnknownNameError, ParameterError
            As where the things are made; a note says in which section.
        """
        if isinstance(content, str):
            try:
                content = json.loads(content)
            except (ValueError, RecursionError) as error:
                raise DataError(f"a choice is not JSON: {error}", hint="Choice.to_dict writes one") from error
        content = {**_default(), **_known("the choice", content, SECTIONS)}
        with _within("data"):
            data = {"start": None, "end": None, "symbols": None} | _known("data", content["data"], (*_DATES, "symbols"))
        with _within("features"):
            picks = _picks(content["features"])
        with _within("label"):
            named = _known("label", content["label"], ("name", "params"))
            entry = labels[named.get("name")]
            label = entry.name, check_params(entry.name, entry.params, named.get("params") or {})
        with _within("model"):
            named = _known("model", content["model"], ("name", "params", "seed"))
            spec = ModelSpec(named.get("name"), named.get("params"), named.get("seed", 0))
        with _within("splits"):
            splits = Splits.from_dict(_known("splits", content["splits"]))
        with _within("portfolio"):
            portfolio = check_params("weights_from_scores", WEIGHTING, _known("portfolio", content["portfolio"]))
        with _within("costs"):
            costs = check_params("backtest", COSTS, _known("costs", content["costs"]))
        dates = [_date(name, data[name]) for name in _DATES]
        return cls(*dates, _symbols(data["symbols"]), picks, label, spec, splits, portfolio, costs)

    @classmethod
    def default(cls, panel: Panel | None = None) -> Choice:
        """What a chooser shows first: momentum and strength, by rank where the panel makes a cross-section."""
        thin = panel is not None and len(panel.symbols) < FEWEST
        content = _default()
        if thin:
            content["features"] = [pick | {"across": None} for pick in content["features"]]
            content["portfolio"] = {"how": "sign"}
        return cls.of(content)

    def to_dict(self) -> dict:
        """The choice in JSON's types, whole: every parameter is spelled out."""
        content = {
            "data": {"start": self.start, "end": self.end, "symbols": self.symbols},
            "features": [pick.to_dict() for pick in self.features],
            "label": {"name": self.label[0], "params": self.label[1]},
            "model": json.loads(self.spec.to_json()),
            "splits": self.splits.to_dict(),
            "portfolio": self.portfolio,
            "costs": self.costs,
        }
        return json.loads(json.dumps(content, allow_nan=False))

    def replace(self, **sections: object) -> Choice:
        """A choice with some sections changed: ``choice.replace(model={"name": "ols"})``."""
        return Choice.of(self.to_dict() | _known("the choice", sections, SECTIONS))

    # ------------------------------------------------------------------ objects

    @property
    def recipe(self) -> Recipe:
        """The features."""
        return Recipe([pick.expression for pick in self.features])

    def bars(self, panel: Panel) -> Panel:
        """The rows and symbols of `panel` that are chosen.

        Raises
        ------
        DataError
            There is no row, or a date can't be read.
        UnknownNameError
            A symbol that the panel doesn't have, or a field that a feature or the label reads.
        """
        with _within("data"):
            found = panel[self.start : self.end] if self.start or self.end else panel
            if self.symbols is not None:
                found = found.select(symbols=self.symbols)
            if not len(found.time):
                span = f"{panel.time[0]:%Y-%m-%d} to {panel.time[-1]:%Y-%m-%d}" if len(panel.time) else "none"
                raise DataError(
                    f"no rows from {self.start or 'the start'} to {self.end or 'the end'}",
                    hint=f"the panel has rows from {span}",
                )
        with _within("features"):
            _readable(_read(self.recipe), panel)
        with _within("label"):
            if "price" in self.label[1]:
                _readable([self.label[1]["price"]], panel)
        return found

    def label_of(self, bars: Panel) -> Panel:
        """The label of the chosen bars."""
        return labels[self.label[0]](bars, **self.label[1])

    # ------------------------------------------------------------------ Python

    def code(self, panel: str = "panel", ledger: str | None = None) -> str:
        """The Python that computes what is chosen, to be run where workbench is installed.

        Parameters
        ----------
        panel : str, default "panel"
            The name of the variable that holds the panel, or what else gives it: ``wb.load("sp20")``.
        ledger : str, optional
            Path of the ledger; that of the workspace by default.

        Returns
        -------
        str
            It leaves ``study``, ``result`` and ``importance`` behind.
        """
        source = panel
        if self.start or self.end:
            source = f"{panel}[{_said(self.start)}:{_said(self.end)}]"
        if self.symbols is not None:
            source += f".select(symbols={list(self.symbols)!r})"
        # the panel's own name stays what it is, so that the code can be run twice
        bars = source if source.isidentifier() else "chosen" if panel == "bars" else "bars"
        assigned = "" if bars == source else f"{bars} = {source}\n"
        name, params = self.label
        beside = f", ledger={ledger!r}" if ledger else ""
        recipe = "".join(f"    wb.{pick.expression!r},\n" for pick in self.features)
        splits = f"wb.{self.splits!r}"
        return (
            "import workbench as wb\n\n"
            f"{assigned}"
            f"features = wb.Recipe([\n{recipe}]).compute({bars})\n"
            f"label = wb.labels.{name}({bars}{_keywords(params)})\n"
            f"spec = wb.{self.spec!r}\n"
            f"splits = {splits}\n"
            f"study = wb.study(spec, features, label, splits=splits{beside})\n"
            f"weights = wb.weights_from_scores(study.walk.path(1){_keywords(self.portfolio)})\n"
            f"result = wb.backtest(weights, {bars}{_keywords(self.costs)}, trials=study.walk.trials)\n"
            "importance = study.importance()\n"
        )


@dataclass(frozen=True)
class Pick:
    """One chosen feature: an indicator with its parameters, one of its outputs, and what is done across its row.

    Attributes
    ----------
    name : str
    params : dict
        All of them.
    output : str or None
        Of an indicator with several.
    across : {"rank", "zscore"} or None
    """

    name: str
    params: dict
    output: str | None = None
    across: str | None = None

    @classmethod
    def of(cls, content: Mapping) -> Pick:
        """A checked pick; what is left out is the default."""
        content = _known("a feature", content, ("name", "params", "output", "across"))
        entry = indicators[content.get("name")]
        output, across = content.get("output"), content.get("across")
        if len(entry.outputs) == 1 and output == entry.name:
            output = None
        if len(entry.outputs) > 1 and output is None:
            output = entry.name if entry.name in entry.outputs else entry.outputs[0]
        if across not in (None, *ACROSS):
            hint = UnknownNameError.of("choice", across, ACROSS).hint
            raise ParameterError(f"{entry.name}: across={across!r} is not a choice", hint=hint)
        given = _known("params", content.get("params") or {})
        pick = cls(entry.name, entry.check(given), output, across)
        _ = pick.expression  # an output that there isn't is refused here
        return pick

    def to_dict(self) -> dict:
        """The pick in JSON's types."""
        return {"name": self.name, "params": self.params, "output": self.output, "across": self.across}

    @property
    def expression(self) -> Expression:
        """The feature."""
        made = feature(self.name, output=self.output, **self.params)
        return getattr(made, self.across)() if self.across else made


def _default() -> dict:
    return {
        "data": {},
        "features": [
            {"name": "roc", "params": {"window": 20}, "across": "rank"},
            {"name": "rsi", "params": {"window": 14}, "across": "zscore"},
            {"name": "stddev", "params": {"window": 20}, "across": "rank"},
        ],
        "label": {"name": "forward_return", "params": {"horizon": 5}},
        "model": {"name": "ridge"},
        "splits": WalkForward().to_dict(),
        "portfolio": {},
        "costs": {"cost_bps": 5.0, "slippage_bps": 2.0},
    }


class _within:
    """Within this block an error of workbench carries a note that names the section."""

    def __init__(self, section: str):
        self.section = section

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if isinstance(error, WorkbenchError):
            error.add_note(f"in {self.section}")


def _known(what: str, content: object, known: tuple[str, ...] | None = None) -> dict:
    """`content` as a dict, or DataError where it is none, or has an entry that isn't known."""
    if not isinstance(content, Mapping):
        raise DataError(f"{what} is a {type(content).__name__}, expected a mapping", hint="Choice.to_dict writes one")
    for name in content:
        if known is not None and name not in known:
            raise DataError(f"{what} has no entry {name!r}", hint=UnknownNameError.of("entry", name, known).hint)
    return dict(content)


def _picks(content: object) -> tuple[Pick, ...]:
    if isinstance(content, (str, Mapping)) or not hasattr(content, "__iter__"):
        raise DataError(f"features is a {type(content).__name__}, expected a list", hint='[{"name": "rsi"}]')
    picks = tuple(Pick.of(each) for each in content)
    Recipe([pick.expression for pick in picks])  # none, or one twice, is refused here
    return picks


def _date(name: str, value: object) -> str | None:
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise ParameterError(f"data: {name}={value!r}, expected a date", hint='as in "2015-01-02", or None for all')
    return value


def _symbols(value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    listed = isinstance(value, Iterable) and not isinstance(value, (str, Mapping))
    value = list(value) if listed else value
    if not listed or not value or not all(isinstance(name, str) for name in value):
        raise ParameterError(f"data: symbols={value!r}, expected a list of names", hint="None takes all")
    return tuple(value)


def _read(recipe: Recipe) -> list[str]:
    return sorted({name for expression in recipe.values() for name in expression.fields})


def _readable(fields: list[str], panel: Panel) -> None:
    for name in fields:
        if name not in panel.fields:
            raise UnknownNameError.of("field", name, panel.fields)


def _keywords(params: Mapping) -> str:
    return "".join(f", {name}={value!r}" for name, value in params.items())


def _said(date: str | None) -> str:
    return "" if date is None else repr(date)


def schema_of(section: str, name: str) -> tuple[Param, ...]:
    """The parameters of a thing that is chosen by name: a feature, a label, a model or a splitter."""
    if section == "splits":
        kinds = {kind.__name__: kind for kind in Splits.__subclasses__()}
        return kinds[name].schema
    return {"features": indicators, "label": labels, "model": models}[section][name].params


__all__ = ["ACROSS", "COSTS", "SECTIONS", "Choice", "Pick", "schema_of"]
