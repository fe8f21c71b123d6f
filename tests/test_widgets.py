"""The views without a browser: controls and choice say the same, what is refused is said in place, and twins show."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from typing import ClassVar

import ipywidgets as ipw
import numpy as np
import pandas as pd
import pytest
from ipywidgets.comm import comm

import workbench as wb
from workbench.errors import DataError, ParameterError, UnknownNameError, WorkbenchError
from workbench.evaluate.splits import Splits
from workbench.indicators import indicators
from workbench.labels import labels
from workbench.ledger import Ledger
from workbench.models import models
from workbench.registry import Param
from workbench.widgets import Choice, catalog, chart, chooser
from workbench.widgets import ledger as ledger_browser
from workbench.widgets.choice import COSTS, WEIGHTING, schema_of
from workbench.widgets.form import Fields, Skin, shown, typed
from workbench.widgets.tables import trials

BARS = wb.load("synthetic", symbols=6, years=2, seed=3, ic=0.1)
VIEW = "application/vnd.jupyter.widget-view+json"
PLOTLY = "application/vnd.plotly.v1+json"
EVERY = [
    pytest.param(name, schema, id=name)
    for name, schema in [
        *((f"{kind}-{name}", schema_of(kind, name))
          for kind, names in (("features", indicators), ("label", labels), ("model", models),
                              ("splits", [k.__name__ for k in Splits.__subclasses__()])) for name in names),
        ("portfolio", WEIGHTING),
        ("costs", COSTS),
    ]
]  # fmt: skip


class Recorded(comm.DummyComm):
    """A line to a browser that counts what is sent over it."""

    sent: ClassVar[Counter] = Counter()

    def publish_msg(self, msg_type, data=None, metadata=None, buffers=None, **keys):
        Recorded.sent["messages"] += 1
        Recorded.sent["bytes"] += len(json.dumps(data)) + sum(len(b) for b in buffers or [])


@pytest.fixture
def sent(monkeypatch):
    monkeypatch.setattr(comm, "create_comm", lambda *args, **keys: Recorded(*args, **keys))
    Recorded.sent.clear()
    return Recorded.sent


@pytest.fixture
def made(ledger):
    return chooser(BARS, ledger=ledger)


def control(view, name: str, nth: int = 0):
    """The control with this label."""

    def walk(widget):
        if getattr(widget, "description", None) == name:
            yield widget
        for child in getattr(widget, "children", ()):
            yield from walk(child)

    return list(walk(view))[nth]


def text_of(view) -> str:
    """All HTML that a view shows."""
    own = view.value if isinstance(view, ipw.HTML) else ""
    return own + "".join(text_of(child) for child in getattr(view, "children", ()))


# --------------------------------------------------------------------------------------------------- the form


@pytest.mark.parametrize(("name", "schema"), EVERY)
def test_a_form_shows_every_parameter_and_takes_what_is_typed(name, schema):
    changes = []
    fields = Fields(Skin(), name, schema, {}, lambda: changes.append(1))
    assert list(fields.controls) == [p.name for p in schema]
    for param in schema:
        one = fields.controls[param.name]
        assert one.description == param.name
        assert one.tooltip
        assert fields.values[param.name] == param.default
        if isinstance(one, ipw.Text):
            assert typed(param, shown(param.default)) == param.default
            one.value = "nonsense" if param.kind is not str else "close"
            assert (param.name in fields.refused) == (param.kind is not str)
            one.value = shown(param.default)
        assert param.name not in fields.refused
    assert fields.values == {p.name: p.default for p in schema}


@pytest.mark.parametrize(
    ("param", "text", "said"),
    [
        (Param("window", 14, low=1, high=100), "0", "outside [1, 100]"),
        (Param("window", 14, low=1), "14.5", "is float, expected int"),
        (Param("window", 14, low=1), "", "is str, expected int"),
        (Param("alpha", 1.0, low=1e-6, log=True), "1e-9", "outside"),
        (Param("alpha", 1.0), "nan", "is str, expected float"),
        (Param("alpha", 1.0), "__import__('os')", "is str, expected float"),
    ],
)
def test_what_is_refused_says_why_below_its_control_and_keeps_the_last_value(param, text, said):
    fields = Fields(Skin(), "it", (param,), {}, lambda: None)
    fields.controls[param.name].value = text
    assert said in fields.refused[param.name]
    control_, complaint = fields.children
    assert control_.value == text
    assert 'role="alert"' in complaint.value
    assert fields.values[param.name] == param.default
    fields.controls[param.name].value = shown(param.default)
    assert not fields.refused
    assert len(fields.children) == 1


def test_tuples_are_typed_with_commas_and_nothing_is_none():
    hidden = next(p for p in models["mlp"].params if p.name == "hidden")
    assert hidden.check(typed(hidden, "64, 32"), "mlp") == (64, 32)
    assert hidden.check(typed(hidden, "(8)"), "mlp") == (8,)
    depth = next(p for p in models["random_forest"].params if p.name == "max_depth")
    assert typed(depth, " ") is None
    assert typed(depth, "None") is None


# --------------------------------------------------------------------------------------------- form and choice


def test_every_model_label_and_splitter_can_be_chosen_by_its_control(made):
    for word, names in (
        ("model", models),
        ("label", labels),
        ("splits", [k.__name__ for k in Splits.__subclasses__()]),
    ):
        for name in names:
            control(made, word).value = name
            found = made.spec[word]
            assert found.get("name", found.get("kind")) == name
            assert made.choice == Choice.of(made.spec)
    assert not made._troubled


def test_who_searches_is_said_by_the_choice_and_its_code_as_soon_as_a_search_is_chosen(made, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    control(made, "model").value = "arima"
    assert made.spec["model"]["params"]["search"] is None
    control(made, "select").value = "bic"
    assert made.spec["model"]["params"]["search"] == "statsforecast"
    assert "'search': 'statsforecast'" in made.code()
    control(made, "search").value = "grid"
    assert "'search': 'grid'" in made.code()
    made.spec = {"model": {"name": "arima", "params": {"select": "bic"}}}
    assert control(made, "search").value == "statsforecast"


def test_every_indicator_can_be_chosen_with_each_of_its_outputs(made):
    for name, entry in indicators.items():
        control(made, "indicator").value = name
        for output in entry.outputs if len(entry.outputs) > 1 else ():
            control(made, "output").value = output
            assert made.spec["features"][0]["output"] == output
        assert made.spec["features"][0]["name"] == name
        assert not made._troubled


def test_setting_the_spec_moves_the_controls_and_reading_it_gives_it_back(made):
    spec = {
        "data": {"start": "2000-02", "end": "2001-06-30", "symbols": ["S1", "S3", "S4"]},
        "features": [
            {"name": "macd", "params": {"fast": 5, "slow": 9, "signal": 3}, "output": "hist", "across": "rank"}
        ],
        "label": {"name": "triple_barrier", "params": {"horizon": 7, "touch": "range"}},
        "model": {"name": "mlp", "params": {"hidden": [8, 4], "lr": 0.01}, "seed": 5},
        "splits": {"kind": "PurgedKFold", "folds": 4, "embargo": 2},
        "portfolio": {"how": "zscore", "long_only": True},
        "costs": {"cost_bps": 1.5, "fill": "close"},
    }
    made.spec = json.dumps(spec)
    assert made.choice == Choice.of(spec)
    assert control(made, "start").value == "2000-02"
    assert control(made, "of 6 symbols").value == ("S1", "S3", "S4")
    assert control(made, "hidden").value == "8, 4"
    assert control(made, "output").value == "hist"
    assert control(made, "long_only").value is True
    assert control(made, "seed").value == "5"
    before = made.spec
    with pytest.raises(WorkbenchError):
        made.spec = {"data": {"symbols": ["S9"]}}
    assert made.spec == before


def test_a_refused_value_keeps_run_from_running_until_it_is_corrected(made):
    control(made, "model").value = "ridge"
    control(made, "alpha").value = "-3"
    assert made._run.disabled
    assert "outside" in text_of(made)
    assert made.spec["model"]["params"]["alpha"] == 1.0
    control(made, "alpha").value = "3"
    assert not made._run.disabled
    assert made.spec["model"]["params"]["alpha"] == 3.0
    assert "wb-error" not in re.sub(r"<style>.*?</style>", "", text_of(made), flags=re.DOTALL)


def test_two_parameters_that_do_not_go_together_are_refused_below_their_section(made):
    control(made, "indicator").value = "macd"
    control(made, "fast").value = "40"
    assert "fast &lt; slow" in text_of(made)
    assert made._run.disabled
    control(made, "fast").value = "4"
    control(made, "train").value = "100"
    assert "expanding" in text_of(made)
    control(made, "window").value = "rolling"
    assert not made._run.disabled
    assert made.spec["splits"]["train"] == 100


def test_features_are_added_taken_out_and_never_none(made):
    features = made._sections[1]
    features._add(None)
    assert len(made.spec["features"]) == 4
    for _ in range(4):
        features._remove(None)
    assert "no features" in text_of(made)
    assert made._run.disabled
    features._add(None)
    assert len(made.spec["features"]) == 1
    assert not made._run.disabled


def test_code_names_the_panel_and_the_ledger(made, ledger):
    assert f"ledger={str(ledger.path)!r}" in made.code()
    assert ".compute(prices)" in made.code("prices")
    made.spec = {**made.spec, "data": {"start": "2001"}}
    assert "bars = prices['2001':]\n" in made.code("prices")
    assert "chosen = bars['2001':]\n" in made.code("bars")
    assert "bars = wb.load('us-tech')\n" in chooser("us-tech").code()


def test_what_is_no_panel_is_refused():
    with pytest.raises(ParameterError, match="expected a Panel"):
        chooser(pd.DataFrame())


def test_one_symbol_can_be_chosen_from_too(ledger):
    made = chooser(BARS.select(symbols="S1"), ledger=ledger, spec={"splits": {"kind": "WalkForward", "folds": 2}})
    made.spec = {**made.spec, "features": [{"name": "rsi"}], "portfolio": {"how": "sign"}}
    made.run()
    assert made.wait(60)
    assert "Done" in text_of(made)


# ---------------------------------------------------------------------------------------------------------- run


def test_a_run_shows_folds_figures_and_what_was_tried_and_the_kernel_stays_free(made, ledger):
    assert "nothing before" not in text_of(made)
    made.spec = {**made.spec, "splits": {"kind": "WalkForward", "folds": 3}}
    made.run()
    assert threading.current_thread() is threading.main_thread()  # it came back at once
    assert made.wait(60)
    said = text_of(made)
    assert "Folds: 3 of 3 done" in said
    assert "Tried on this label: 1 trial" in said
    assert (made._run.disabled, made._stop.disabled) == (False, True)
    for output in made._figures.values():
        (shown_,) = output.outputs
        assert shown_["data"][PLOTLY]["data"]
    control(made, "alpha").value = "50"
    made.run()
    assert made.wait(60)
    assert "Tried on this label: 2 trials" in text_of(made)
    assert made.result.trials == 2
    assert len(trials(ledger)) == 2 + 2  # and the baselines
    made.spec = {**made.spec, "label": {"name": "forward_return", "params": {"horizon": 11}}}
    made.run()
    made.stop()
    assert "Tried on this label: 2 trials" not in text_of(made)  # those were tried on another
    assert made.wait(60)


def test_a_run_says_in_a_line_what_it_cannot_draw(made):
    made.spec = {**made.spec, "model": {"name": "zero"}, "splits": {"kind": "WalkForward", "folds": 3}}
    made.run()
    assert made.wait(60)
    assert "Folds: 3 of 3 done" in text_of(made)
    (line,) = made._figures["folds"].outputs
    assert "known in none of 3 folds" in line["data"]["text/html"]


def test_an_error_is_one_line_with_its_hint_and_another_run_is_free(made):
    made.spec = {
        **made.spec,
        "label": {"name": "forward_return", "params": {"horizon": 5}},
        "model": {"name": "logistic"},
    }
    made.run()
    assert made.wait(60)
    assert 'role="alert"' in made._state.value
    assert "expected classes" in made._state.value
    assert "Traceback" not in made._state.value
    assert not made._run.disabled


def test_stop_frees_the_widget_at_once_and_what_is_told_later_of_that_run_is_not_shown(made):
    made.spec = {**made.spec, "model": {"name": "random_forest", "params": {"n_estimators": 2000}}}
    made.run()
    made.stop()
    assert (made._run.disabled, made._stop.disabled) == (False, True)
    given_up = made._job
    control(made, "model").value = "ridge"
    made.run()
    assert made.wait(60)
    assert given_up.wait(60)
    assert "Done" in made._state.value
    made._told(given_up, None)  # however late it comes
    assert "Done" in made._state.value
    assert made.study.spec.name == "ridge"


def test_a_ledger_that_cannot_be_opened_is_said_in_the_widget(tmp_path):
    (tmp_path / "no.sqlite").write_text("this is no database, and long enough to be seen as none" * 20)
    made = chooser(BARS, ledger=tmp_path / "no.sqlite")
    with pytest.raises(DataError):
        made.run()
    assert "is not a database" in made._state.value


def test_little_is_sent_to_the_browser(sent, ledger):
    made = chooser(wb.load("synthetic", symbols=20, years=10, seed=1, ic=0.05)["2000":"2009-08-28"], ledger=ledger)
    opened = dict(sent)
    made.run()
    assert made.wait(120)
    assert "Done" in made._state.value
    assert opened["messages"] > 50  # it is counted at all
    envelope = 500  # bytes of a message beside its content
    assert sent["bytes"] + envelope * sent["messages"] < 200_000


# -------------------------------------------------------------------------------------------------------- twins


def test_each_view_has_a_static_twin_beside_the_widget(made, ledger):
    made.run()
    assert made.wait(60)
    views = {
        made: ["ridge", "Tried on this label", "wb.study("],
        catalog(): ["rsi", "Wilder"],
        catalog("models"): ["gradient_boosting"],
        chart(BARS, features=["sma"]): ['<img alt="the close of S0"', "close"],
        ledger_browser(ledger): ["ridge", "last_value"],
    }
    for view, words in views.items():
        bundle = view._repr_mimebundle_()
        assert VIEW in bundle
        assert bundle["text/plain"].startswith("<")
        for word in words:
            assert word in bundle["text/html"], word
        assert "<script" not in bundle["text/html"]


def test_a_twin_shows_names_as_text():
    strange = BARS.select(symbols=["S1", "S2", "S3"])
    frame = wb.Panel(strange.values, strange.time, ["<b>a</b>", "b&c", "c"], strange.fields)
    html = chart(frame, symbol="<b>a</b>")._repr_mimebundle_()["text/html"]
    assert "<b>a</b>" not in html
    assert "&lt;b&gt;a&lt;/b&gt;" in html


# -------------------------------------------------------------------------------------------------------- others


def test_a_catalogue_is_searched_by_all_words():
    view = catalog()
    assert len(view.table) == len(indicators)
    control(view, "search").value = "average moving"
    words = view.table.apply(lambda row: " ".join(map(str, row)).lower(), axis=1)
    assert (words.str.contains("average") & words.str.contains("moving")).all()
    assert {"sma", "ema"} <= set(view.table["name"])
    assert 0 < len(view.table) < len(indicators)
    control(view, "search").value = "no such thing"
    assert "0 of" in text_of(view)
    control(view, "search").value = ""
    control(view, "of").value = "models"
    assert set(view.table["name"]) == set(models)
    with pytest.raises(UnknownNameError, match="catalogue"):
        catalog("indicator")


def test_a_chart_draws_over_the_price_what_stands_there_and_else_below():
    view = chart(BARS, "S2", ["sma", "bbands", "rsi", {"name": "macd", "params": {"fast": 5}}])
    places = {trace.name: trace.yaxis for trace in view.figure.data}
    assert places["sma(30)"] == "y"
    assert {places[f"bbands(5, 2.0, 0) {name}"] for name in ("upper", "middle", "lower")} == {"y"}
    assert places["rsi(14)"] == "y3"
    assert {places[f"macd(5, 26, 9) {name}"] for name in ("macd", "signal", "hist")} == {"y4"}
    drawn = next(trace for trace in view.figure.data if trace.name == "rsi(14)")
    expected = wb.indicators.rsi(BARS["close"]["S2"]).to_numpy()
    assert np.allclose(drawn.y, expected.astype(np.float32), equal_nan=True)


def test_a_chart_follows_its_controls_and_says_what_it_cannot_draw():
    view = chart(BARS, features=["sma"])
    control(view, "symbol").value = "S3"
    control(view, "start").value = "2001-01"
    assert view.figure.layout.title.text == "S3"
    assert str(view.figure.data[0].x[0]).startswith("2001-01")
    control(view, "window").value = "100000"
    assert "no value in these rows" in text_of(view)
    control(view, "window").value = "x"
    assert "expected int" in text_of(view)
    with pytest.raises(DataError, match="no open"):
        chart(BARS.select(fields=["close"]))


def test_a_long_chart_is_thinned():
    n = 50_000
    close = 100 * np.exp(np.random.default_rng(0).normal(0, 1e-3, n).cumsum())
    time = pd.date_range("2020-01-01", periods=n, freq="min", tz="UTC")
    frame = pd.DataFrame({"open": close, "high": close * 1.01, "low": close * 0.99, "close": close}, index=time)
    view = chart(wb.Panel.from_frame(frame, name="X"), features=["sma", "rsi"])
    assert max(len(trace.x) for trace in view.figure.data) <= 3000
    assert view.figure.data[0].high.max() == pytest.approx(frame["high"].max())


def test_trials_are_the_rows_of_the_ledger_by_setting(study):
    specs = [wb.ModelSpec("ridge", {"alpha": a}) for a in (1.0, 9.0)]
    table = wb.compare(specs, **study)
    found = trials(study["ledger"]).set_index("model")
    assert set(found.index) == set(table.index)
    assert (found["folds"] == 4).all()
    walk = wb.walk_forward(specs[1], **study)
    assert found.loc["ridge(alpha=9.0)", "rank_ic"] == pytest.approx(walk.folds["rank_ic"].mean())
    assert found["baseline"].sum() == 2
    assert trials(Ledger(study["ledger"].path.parent / "new.sqlite")).empty
