"""Controls made from declared parameters; a value that its parameter refuses is refused in place, with the reason."""

from __future__ import annotations

import ast
import html
from collections.abc import Callable, Mapping

import ipywidgets as ipw

from ..errors import ParameterError
from ..registry import Param

CSS = """
.wb-chooser { --wb-ink: var(--jp-ui-font-color1, currentColor); --wb-soft: var(--jp-ui-font-color2, currentColor);
  --wb-line: var(--jp-border-color2, rgba(128, 128, 128, .35)); --wb-bad: var(--jp-error-color1, #d5453f);
  color: var(--wb-ink); font-size: 13px; }
.wb-chooser h3, .wb-chooser h4 { margin: 6px 0 2px; font-size: 14px; font-weight: 600; color: var(--wb-ink);
  line-height: 1.4; }
.wb-chooser table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 12px; margin: 2px 0; }
.wb-chooser th, .wb-chooser td { padding: 2px 7px; text-align: right; border-bottom: 1px solid var(--wb-line);
  color: var(--wb-ink); background: transparent; white-space: nowrap; line-height: 1.35; }
.wb-chooser td.long { white-space: normal; min-width: 180px; max-width: 460px; overflow-wrap: break-word; }
.wb-chooser th:first-child, .wb-chooser td:first-child, .wb-chooser td.text, .wb-chooser th.text { text-align: left; }
.wb-chooser thead th { color: var(--wb-soft); font-weight: 600; vertical-align: bottom; }
.wb-chooser .wb-scroll { overflow-x: auto; max-width: 100%; }
.wb-chooser .wb-error { color: var(--wb-bad); font-size: 12px; line-height: 1.35; white-space: normal; }
.wb-chooser .wb-soft { color: var(--wb-soft); font-size: 12px; line-height: 1.35; white-space: normal; }
.wb-chooser progress { width: 220px; height: 12px; vertical-align: middle; accent-color: #2585c7; }
.wb-chooser pre { white-space: pre; overflow-x: auto; overflow-wrap: normal; font-size: 12px;
  line-height: 1.4; margin: 4px 0; padding: 6px 8px;
  color: var(--wb-ink); background: var(--jp-layout-color2, rgba(128, 128, 128, .13)); }
.wb-chooser .wb-bar { display: inline-block; height: 9px; background: #2585c7; vertical-align: baseline; }
.wb-chooser .wb-bar.low { background: #dd6a17; }
.wb-chooser img { display: block; max-width: 100%; height: auto; }
.wb-chooser summary { cursor: pointer; }
.wb-chooser details.wb-soft { margin: 0 0 2px; }
.wb-chooser ul { margin: 2px 0; padding-left: 16px; }
.wb-chooser .widget-html-content { line-height: 1.4; }
.wb-chooser button:focus-visible, .wb-chooser select:focus-visible, .wb-chooser input:focus-visible,
.wb-chooser summary:focus-visible { outline: 2px solid #2585c7; outline-offset: 1px; }
"""


class Skin:
    """Layouts and styles that all controls share: each of its own would be sent to the browser with it."""

    def __init__(self):
        self.row = ipw.Layout(width="auto", margin="1px 0")
        self.wide = ipw.Layout(width="100%", margin="0")
        self.narrow = ipw.Layout(width="auto", min_width="84px", flex="0 0 auto")
        self.list = ipw.Layout(width="auto", height="92px")
        label = {"description_width": "128px"}
        self.styles = {
            ipw.Text: ipw.widgets.widget_string.TextStyle(**label),
            ipw.Dropdown: ipw.widgets.widget_description.DescriptionStyle(**label),
            ipw.Checkbox: ipw.widgets.widget_bool.CheckboxStyle(**label),
            ipw.HTML: ipw.widgets.widget_string.HTMLStyle(),
            ipw.Button: ipw.widgets.widget_button.ButtonStyle(),
        }
        self.styles[ipw.Select] = self.styles[ipw.SelectMultiple] = self.styles[ipw.Dropdown]

    def make(self, kind: type, **traits):
        """A control of that kind."""
        traits.setdefault("layout", self.row)
        return kind(style=self.styles[kind], **traits)

    def html(self, value: str = "") -> ipw.HTML:
        """A piece of HTML as wide as its place."""
        return self.make(ipw.HTML, value=value, layout=self.wide)

    def button(self, word: str, says: str, **traits) -> ipw.Button:
        """A button with a word on it, and what it does for who points at it."""
        return self.make(ipw.Button, description=word, tooltip=says, layout=self.narrow, **traits)

    def box(self, children=()) -> ipw.VBox:
        """Controls below each other."""
        return ipw.VBox(tuple(children), layout=self.wide)


def complaint(error: str, hint: str | None = None) -> str:
    """One line of HTML that a screen reader reads out."""
    more = f" <i>{html.escape(hint)}</i>" if hint else ""
    return f'<div class="wb-error" role="alert">{html.escape(error)}{more}</div>'


def meanings(schema: tuple[Param, ...]) -> str:
    """What parameters mean and may be, folded away."""
    rows = "".join(
        f"<li><b>{p.name}</b>: {html.escape('; '.join(filter(None, [p.doc.rstrip('.'), extent(p)])))}</li>"
        for p in schema
    )
    return f"<details class='wb-soft'><summary>what they mean</summary><ul>{rows}</ul></details>"


def extent(param: Param) -> str:
    """What a parameter may be, in words: ``1 to 1000, by factors; may be empty``."""
    low, high = getattr(param, "low", None), getattr(param, "high", None)
    said = ""
    if not param.choices and (low is not None or high is not None):
        said = f"at least {low:g}" if high is None else f"at most {high:g}" if low is None else f"{low:g} to {high:g}"
        said += ", by factors" if param.log else ""
        said = f"whole numbers, each {said}" if param.kind is tuple else said
    return "; ".join(filter(None, [said, "may be empty (None)" if param.optional and not param.choices else ""]))


def shown(value: object) -> str:
    """A value as one types it."""
    if value is None:
        return ""
    if isinstance(value, (tuple, list)):
        return ", ".join(map(repr, value))
    return value if isinstance(value, str) else repr(value)


def typed(param: Param, text: str) -> object:
    """What was typed, as the value that is meant; what can't be one stays text, and the parameter refuses it."""
    text = text.strip()
    if param.optional and text in ("", "None"):
        return None
    if param.kind is str:
        return text
    try:
        value = ast.literal_eval(f"({text.strip('()[]')},)" if param.kind is tuple and text else text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return text
    return value


class Fields:
    """One control a parameter.

    Parameters
    ----------
    skin : Skin
    owner : str
        Whose parameters they are, as messages name it.
    schema : tuple of Param
    values : mapping
        What they are set to at first; valid ones.
    changed : callable
        Called without arguments after each change.
    hints : mapping of str to str, optional
        By parameter, what stands in its control while it is empty.

    Attributes
    ----------
    values : dict
        Of the controls whose value was not refused, the last that was not of the others.
    refused : dict of str to str
        By parameter, why what stands in its control is refused.
    """

    def __init__(
        self,
        skin: Skin,
        owner: str,
        schema: tuple[Param, ...],
        values: Mapping,
        changed: Callable[[], object],
        hints: Mapping[str, str] | None = None,
    ):
        self.owner, self.schema, self.changed = owner, {p.name: p for p in schema}, changed
        self.values, self.refused = {p.name: values.get(p.name, p.default) for p in schema}, {}
        self.controls, self.said = {}, {}
        self.skin, self.hints = skin, hints or {}
        for param in schema:
            self.controls[param.name] = control = self._control(param)
            control.observe(lambda change, param=param: self._take(param, change["new"]), names="value")

    def _control(self, param: Param):
        value, tip = self.values[param.name], ". ".join(filter(None, [param.doc.rstrip("."), extent(param)]))
        common = {"description": param.name, "description_allow_html": False, "tooltip": tip}
        choices = (False, True) if param.kind is bool and param.optional else param.choices
        if choices:
            options = [("None", None)] if param.optional else []
            return self.skin.make(
                ipw.Dropdown, options=[*options, *((str(c), c) for c in choices)], value=value, **common
            )
        if param.kind is bool:
            return self.skin.make(ipw.Checkbox, value=value, indent=True, **common)
        hint = self.hints.get(param.name, "None" if param.optional else "")
        return self.skin.make(ipw.Text, value=shown(value), continuous_update=False, placeholder=hint, **common)

    def _take(self, param: Param, found: object) -> None:
        try:
            value = typed(param, found) if isinstance(self.controls[param.name], ipw.Text) else found
            self.values[param.name] = param.check(value, self.owner)
            self.refused.pop(param.name, None)
        except ParameterError as error:
            self.refused[param.name] = error.message
            self.said[param.name] = self.said.get(param.name) or self.skin.html()
            self.said[param.name].value = complaint(error.message, error.hint)
        self.changed()

    @property
    def children(self) -> list[ipw.Widget]:
        """The controls, each with why it is refused below it."""
        shown = []
        for name, control in self.controls.items():
            shown += [control, *([self.said[name]] if name in self.refused else [])]
        return shown

    def close(self) -> None:
        """Let go of all controls."""
        for widget in (*self.controls.values(), *self.said.values()):
            widget.close()
