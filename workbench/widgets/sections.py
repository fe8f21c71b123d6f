"""The sections of the chooser's form: each shows a part of a choice, and says what its controls are set to."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import ipywidgets as ipw

from ..errors import WorkbenchError
from ..evaluate.splits import Splits
from ..indicators import indicators
from ..labels import labels
from ..models import models
from ..models.spec import SEED
from ..panel import Panel
from ..registry import Param
from .choice import ACROSS, COSTS, WEIGHTING, Choice, Pick, schema_of
from .form import Fields, Skin, complaint, meanings
from .job import in_a_line

DATES = (
    Param("start", None, kind=str, optional=True, doc="first date, as in 2015-01-02 or 2015; empty: all rows"),
    Param("end", None, kind=str, optional=True, doc="last date, it is included; empty: all rows"),
)


def first_and_last(panel: Panel) -> dict[str, str]:
    """The dates that a panel has rows from and to, by the names of `DATES`."""
    ends = {"start": 0, "end": -1} if len(panel.time) else {}
    return {name: f"{panel.time[at]:%Y-%m-%d}" for name, at in ends.items()}


class Section:
    """A headed part of the form.

    Parameters
    ----------
    skin : Skin
    name : str
        Of the section of a choice that it shows.
    heading : str
    changed : callable
        Called with this section after each change by the user.
    """

    def __init__(self, skin: Skin, name: str, heading: str, changed: Callable[[Section], object]):
        self.skin, self.name = skin, name
        self._changed, self._silent = changed, False
        self.words, self.heading, self.trouble = heading, None, None
        self.form: Fields | None = None
        self._box: ipw.VBox | None = None

    @property
    def box(self) -> ipw.VBox:
        """What is shown; made when it is asked for, so that it is sent to the browser once and whole."""
        if self._box is None:
            self.heading = self.heading or self.skin.html(f"<h3>{self.words}</h3>")
            self._box = self.skin.box([self.heading, *self.controls()])
        return self._box

    def fire(self, *ignored) -> None:
        """Tell of a change, unless it is this section that is setting its controls."""
        if not self._silent:
            self._changed(self)

    def complain(self, error: Exception | None) -> None:
        """Show the controls, and below them an error, or none."""
        if self._box is None:
            return
        shown = [self.heading, *self.controls()]
        if error is not None:
            self.trouble = self.trouble or self.skin.html()
            self.trouble.value = complaint(*in_a_line(error))
            shown.append(self.trouble)
        if tuple(shown) != self._box.children:
            self._box.children = tuple(shown)

    def show(self, choice: Choice) -> None:
        """Set the controls to what is chosen."""
        self._silent = True
        try:
            self._show(choice)
        finally:
            self._silent = False
        self.complain(None)

    def fields(self, old: Fields | None, owner: str, schema: tuple[Param, ...], values: dict, hints=None) -> Fields:
        """New controls for parameters, in place of old ones; `hints` stand in those that are empty."""
        if old is not None:
            old.close()
        said = f"<h3>{self.words}</h3>{meanings(schema)}"
        self.heading = self.heading or self.skin.html(said)
        self.heading.value = said
        return Fields(self.skin, owner, schema, values, self.fire, hints or {})

    @property
    def refused(self) -> dict[str, str]:
        """Why what stands in a control is refused, by parameter."""
        return self.form.refused if self.form else {}

    def controls(self) -> list[ipw.Widget]:
        """What stands below the heading."""
        return self.form.children

    def content(self) -> object:
        """What the controls are set to, as the section of a choice."""
        raise NotImplementedError

    def _show(self, choice: Choice) -> None:
        raise NotImplementedError


class Plain(Section):
    """Parameters alone: how scores become weights, and what trading costs."""

    def __init__(self, skin, name, heading, changed, schema: tuple[Param, ...]):
        super().__init__(skin, name, heading, changed)
        self.schema = schema

    def content(self):
        return self.form.values

    def _show(self, choice):
        self.form = self.fields(self.form, self.name, self.schema, getattr(choice, self.name))


class Named(Section):
    """A thing that is chosen by its name, and its parameters: a label, a model, a splitter."""

    def __init__(self, skin, name, heading, changed, names: Iterable[str], more: tuple[Param, ...] = ()):
        super().__init__(skin, name, heading, changed)
        self.more = more
        self.kind = skin.make(ipw.Dropdown, options=list(names), description=heading.lower(), tooltip=heading)
        self.kind.observe(self._turn, names="value")

    def content(self):
        values = dict(self.form.values)
        if self.name == "splits":
            return {"kind": self.kind.value, **values}
        own = {p.name: values.pop(p.name) for p in self.more}
        return {"name": self.kind.value, "params": values, **own}

    def _turn(self, change) -> None:
        if not self._silent:
            self._form({})
            self.fire()

    def _form(self, values: dict) -> None:
        name = self.kind.value
        self.form = self.fields(self.form, name, (*schema_of(self.name, name), *self.more), values)

    def controls(self):
        return [self.kind, *self.form.children]

    def _show(self, choice):
        found = choice.to_dict()[self.name]
        if self.name == "splits":
            name = found.pop("kind")
            values = found
        else:
            name = found["name"]
            values = dict(choice.spec.params) if self.name == "model" else dict(found["params"])
            values |= {p.name: found[p.name] for p in self.more}
        self.kind.value = name
        self._form(values)


class Data(Section):
    """Rows and symbols."""

    def __init__(self, skin, changed, panel: Panel):
        super().__init__(skin, "data", "Data", changed)
        self.panel = panel
        names = list(panel.symbols)
        self.symbols = skin.make(
            ipw.SelectMultiple, options=names, rows=4, description=f"of {len(names)} symbols", layout=skin.list,
            tooltip="none marked: all of them. Ctrl or Shift marks several",
        )  # fmt: skip
        self.symbols.observe(self.fire, names="value")

    def content(self):
        return {**self.form.values, "symbols": list(self.symbols.value) or None}

    def _show(self, choice):
        ends = {"start": choice.start, "end": choice.end}
        self.form = self.fields(self.form, "data", DATES, ends, first_and_last(self.panel))
        self.symbols.value = choice.symbols or ()

    def controls(self):
        return [*self.form.children, self.symbols]


class Features(Section):
    """A list of features; the controls below change the one that is marked."""

    def __init__(self, skin, changed, panel: Panel, *, alone: bool = False):
        super().__init__(skin, "features", "Indicators" if alone else "Features", changed)
        self.alone = alone  # whole indicators, neither one of their outputs nor where they stand in a row
        self.picks: list[Pick] = []
        self.known = [name for name, entry in indicators.items() if set(entry.inputs) <= set(panel.fields)]
        word = "indicators" if alone else "features"
        self.list = skin.make(ipw.Select, options=[], rows=4, description=word, layout=skin.list,
                              tooltip="what is chosen; the controls below change the marked one")  # fmt: skip
        self.kind = skin.make(ipw.Dropdown, options=self.known, description="indicator", tooltip="of the catalogue")
        self.output = skin.make(ipw.Dropdown, options=[], description="output", tooltip="which of its outputs")
        across = [("as it is", None), *((f".{name}()", name) for name in ACROSS)]
        self.across = skin.make(ipw.Dropdown, options=across, description="across",
                                tooltip="against the other symbols of its row")  # fmt: skip
        add = skin.button("Add", "adds a feature", icon="plus")
        remove = skin.button("Remove", "takes the marked feature out", icon="minus")
        self.buttons = ipw.HBox((add, remove), layout=skin.wide)
        self.list.observe(self._mark, names="index")
        self.kind.observe(self._turn, names="value")
        self.output.observe(self._edit, names="value")
        self.across.observe(self._edit, names="value")
        add.on_click(self._add)
        remove.on_click(self._remove)

    def content(self):
        return [pick.to_dict() for pick in self.picks]

    def fire(self, *ignored):
        """A parameter of the marked feature was changed."""
        if not self._silent:
            self._edit()

    def _show(self, choice):
        self.chosen(choice.features)

    def chosen(self, picks: Iterable[Pick]) -> None:
        """Show these features, the first one marked."""
        self.picks = list(picks)
        self._list(0)

    def _list(self, at: int) -> None:
        """Show the list with number `at` marked, and that one's controls."""
        before, self._silent = self._silent, True
        self.list.options = [(_in_short(pick), i) for i, pick in enumerate(self.picks)]
        self.list.index = min(at, len(self.picks) - 1) if self.picks else None
        self._silent = before
        self._editor()

    def _editor(self) -> None:
        if self.list.index is not None and self.picks:
            pick = self.picks[self.list.index]
            before, self._silent = self._silent, True
            entry = indicators[pick.name]
            self.kind.options = self.known if pick.name in self.known else [pick.name, *self.known]
            self.kind.value = pick.name
            self.form = self.fields(self.form, pick.name, entry.params, pick.params)
            self.output.options = list(entry.outputs)
            self.output.value = pick.output or entry.outputs[0]
            self.across.value = pick.across
            self._silent = before

    def controls(self):
        if not self.picks:
            return [self.list, self.buttons]
        if self.alone:
            return [self.list, self.buttons, self.kind, *self.form.children]
        several = [self.output] if len(self.output.options) > 1 else []
        return [self.list, self.buttons, self.kind, *self.form.children, *several, self.across]

    def _mark(self, change) -> None:
        if not self._silent:
            self._editor()
            self._changed(self)

    def _turn(self, change) -> None:
        """Another indicator for the marked feature, with its defaults."""
        if not self._silent and self.list.index is not None:
            self.picks[self.list.index] = Pick.of({"name": self.kind.value, "across": self.across.value})
            self._list(self.list.index)
            self._changed(self)

    def _edit(self, *ignored) -> None:
        if self._silent or self.list.index is None:
            return
        at = self.list.index
        if not self.form.refused:
            entry = indicators[self.kind.value]
            output = self.output.value if len(entry.outputs) > 1 else None
            made = {"name": entry.name, "params": self.form.values, "output": output, "across": self.across.value}
            try:
                self.picks[at] = Pick.of(made)
            except WorkbenchError as error:  # two parameters that don't go together
                self._changed(self, error)
                return
            self._silent = True
            self.list.options = [(_in_short(pick), i) for i, pick in enumerate(self.picks)]
            self.list.index = at
            self._silent = False
        self._changed(self)

    def _add(self, button) -> None:
        held = {pick.name for pick in self.picks}
        name = next((name for name in self.known if name not in held), self.known[0])
        across = self.picks[-1].across if self.picks else None
        self.picks.append(Pick.of({"name": name, "across": across}))
        self._list(len(self.picks) - 1)
        self._changed(self)

    def _remove(self, button) -> None:
        if self.list.index is not None:
            at = self.list.index
            del self.picks[at]
            self._list(at)
            self._changed(self)


def _in_short(pick: Pick) -> str:
    """``macd(fast=12, slow=26, signal=9).hist, by rank``."""
    inner = ", ".join(f"{name}={value!r}" for name, value in pick.params.items())
    output = f".{pick.output}" if pick.output and pick.output != pick.name else ""
    return f"{pick.name}({inner}){output}" + (f", by {pick.across}" if pick.across else "")


def sections(skin: Skin, panel: Panel, changed: Callable[..., object]) -> list[Section]:
    """The sections of the form, in the order of what is computed."""
    return [
        Data(skin, changed, panel),
        Features(skin, changed, panel),
        Named(skin, "label", "Label", changed, labels),
        Named(skin, "model", "Model", changed, models, (SEED,)),
        Named(skin, "splits", "Splits", changed, [kind.__name__ for kind in Splits.__subclasses__()]),
        Plain(skin, "portfolio", "Weights from scores", changed, WEIGHTING),
        Plain(skin, "costs", "Costs", changed, COSTS),
    ]
