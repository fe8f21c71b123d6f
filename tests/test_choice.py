"""A choice: JSON, objects and Python say the same, and what is wrong is refused with a reason; no widget is needed."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import workbench as wb
from workbench.compute import CancelToken
from workbench.errors import Cancelled, DataError, ParameterError, UnknownNameError, WorkbenchError
from workbench.evaluate.splits import Splits
from workbench.indicators import indicators
from workbench.labels import labels
from workbench.ledger import Ledger
from workbench.models import models
from workbench.widgets.choice import ACROSS, SECTIONS, Choice, schema_of
from workbench.widgets.job import Job, compute

BARS = wb.load("synthetic", symbols=6, years=2, seed=3, ic=0.1)
SPLITTERS = [kind.__name__ for kind in Splits.__subclasses__()]
SMALL = {"splits": {"kind": "WalkForward", "folds": 3}}


def valid(param):
    """Values that a declared parameter takes, from its ends and its default."""
    if param.choices:
        values = list(param.choices)
    elif param.kind is bool:
        values = [False, True]
    elif param.kind in (int, float):
        ends = [end for end in (param.low, param.high) if end is not None]
        values = [param.default, *map(param.kind, ends)] if param.default is not None else [*map(param.kind, ends)]
    else:
        values = [param.default]
    return st.sampled_from([*values, None] if param.optional or not values else values)


@st.composite
def named(draw, section, names):
    name = draw(st.sampled_from(sorted(names)))
    return name, {p.name: draw(valid(p)) for p in schema_of(section, name)}


@st.composite
def contents(draw):
    """What a choice may be made of: anything that is registered, at its defaults and its ends."""
    features = []
    for _ in range(draw(st.integers(1, 3))):
        name, params = draw(named("features", indicators))
        output = draw(st.sampled_from([None, *indicators[name].outputs]))
        features.append(
            {"name": name, "params": params, "output": output, "across": draw(st.sampled_from([None, *ACROSS]))}
        )
    label, params = draw(named("label", labels))
    model, settings_ = draw(named("model", models))
    kind, parts = draw(named("splits", SPLITTERS))
    return {
        "data": {
            "start": draw(st.sampled_from([None, "2000-03"])),
            "symbols": draw(st.sampled_from([None, ["S1", "S4"]])),
        },
        "features": features,
        "label": {"name": label, "params": params},
        "model": {"name": model, "params": settings_, "seed": draw(st.integers(0, 2**32 - 1))},
        "splits": {"kind": kind, **parts},
        "portfolio": {"how": draw(st.sampled_from(["rank", "zscore", "sign"]))},
        "costs": {"cost_bps": draw(st.floats(0, 5000))},
    }


@settings(max_examples=150)
@given(contents())
def test_a_choice_goes_into_json_and_back_and_its_code_means_the_same(content):
    try:
        choice = Choice.of(content)
    except WorkbenchError:
        return  # two parameters that don't go together, or one feature twice
    text = json.dumps(choice.to_dict(), allow_nan=False)
    assert Choice.of(json.loads(text)) == choice
    assert set(choice.to_dict()) == set(SECTIONS)
    made = {node.targets[0].id: node.value for node in ast.parse(choice.code()).body if isinstance(node, ast.Assign)}
    made["features"] = made["features"].func.value  # the recipe, without what it is computed on
    said = {name: eval(ast.unparse(made[name]), {"wb": wb}) for name in ("features", "spec", "splits")}
    assert said == {"features": choice.recipe, "spec": choice.spec, "splits": choice.splits}


@pytest.mark.parametrize("section", ["features", "label", "model", "splits"])
def test_a_choice_spells_out_every_parameter_of_everything_that_is_registered(section):
    names = {"features": indicators, "label": labels, "model": models, "splits": SPLITTERS}[section]
    for name in names:
        one = {"kind": name} if section == "splits" else {"name": name}
        found = Choice.of({section: [one] if section == "features" else one}).to_dict()[section]
        found = found[0] if section == "features" else found
        held = set(found) - {"kind"} if section == "splits" else set(found["params"])
        assert held == {p.name for p in schema_of(section, name)}


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        ({"modle": {}}, DataError, "did you mean 'model'"),
        ({"model": {"name": "rigde"}}, UnknownNameError, "did you mean 'ridge'"),
        ({"model": {"name": "ridge", "params": {"alpha": -1}}}, ParameterError, "nearest valid value"),
        ({"model": {"name": "ridge", "seed": "x"}}, ParameterError, "seed"),
        ({"features": []}, ParameterError, "no features"),
        ({"features": [{"name": "rsi"}, {"name": "rsi"}]}, ParameterError, "twice"),
        ({"features": [{"name": "macd", "params": {"fast": 30}}]}, ParameterError, "fast < slow"),
        ({"features": [{"name": "macd", "output": "line"}]}, UnknownNameError, "output"),
        ({"features": [{"name": "rsi", "across": "ranks"}]}, ParameterError, "did you mean 'rank'"),
        ({"features": {"name": "rsi"}}, DataError, "expected a list"),
        ({"label": {"name": "forward_retrun"}}, UnknownNameError, "forward_return"),
        ({"splits": {"kind": "Walkforward"}}, UnknownNameError, "WalkForward"),
        ({"splits": {"kind": "WalkForward", "train": 5}}, ParameterError, "expanding"),
        ({"costs": {"cost_bps": -1}}, ParameterError, "nearest valid value"),
        ({"data": {"start": 2000}}, ParameterError, "expected a date"),
        ({"data": {"symbols": []}}, ParameterError, "None takes all"),
        (["model"], DataError, "expected a mapping"),
        ("{not json", DataError, "not JSON"),
        ("", DataError, "not JSON"),
        ({"data": {"symbols": 5}}, ParameterError, "expected a list of names"),
        ({"data": {"symbols": {"S0": 1}}}, ParameterError, "expected a list of names"),
        ({"model": {"name": "ridge", "params": {"alpha": {1.0}}}}, ParameterError, "alpha"),
    ],
)
def test_what_is_wrong_is_refused_with_its_reason(content, kind, said):
    with pytest.raises(kind) as refused:
        Choice.of(content)
    assert said in f"{refused.value} {getattr(refused.value, '__notes__', '')}"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"data": {"start": "2090"}}, "the panel has rows from"),
        ({"data": {"start": "first of May"}}, "year first"),
        ({"data": {"symbols": ["S99"]}}, "symbol"),
        ({"label": {"name": "forward_return", "params": {"price": "clsoe"}}}, "did you mean 'close'"),
    ],
)
def test_what_the_panel_lacks_is_refused_before_it_is_computed(content, said):
    with pytest.raises(WorkbenchError) as refused:
        Choice.of(content).bars(BARS)
    assert said in str(refused.value)


def test_a_feature_of_a_field_that_the_panel_lacks_is_refused():
    with pytest.raises(UnknownNameError, match="volume"):
        Choice.of({"features": [{"name": "obv"}]}).bars(BARS.select(fields=["open", "high", "low", "close"]))


def rows(ledger):
    return ledger.rows().set_index("key")["kind"].to_dict()


@pytest.mark.parametrize(
    "content",
    [
        SMALL,
        {**SMALL, "model": {"name": "random_forest_classifier", "params": {"n_estimators": 5}},
         "label": {"name": "forward_sign"}, "data": {"start": "2000-02", "symbols": ["S1", "S2", "S4", "S5"]}},
        {"splits": {"kind": "CombinatorialPurged", "groups": 4, "tests": 2}, "model": {"name": "ols"},
         "portfolio": {"how": "zscore", "long_only": True}, "costs": {"fill": "close"}},
    ],
)  # fmt: skip
def test_the_code_gives_the_same_bits_and_the_same_rows_of_the_ledger(content, tmp_path):
    choice = Choice.of(content)
    here, there = Ledger(tmp_path / "a.sqlite"), Ledger(tmp_path / "b.sqlite")
    found = compute(choice, BARS, here)
    names = {"panel": BARS}
    exec(choice.code(ledger=str(there.path)), names)
    assert rows(here) == rows(there)
    assert len(rows(here)) > 0
    for key in rows(here):
        mine, other = here.get(key).arrays, there.get(key).arrays
        assert mine.keys() == other.keys()
        assert all(np.array_equal(mine[name], other[name], equal_nan=True) for name in mine)
    assert found.result.table.equals(names["result"].table)
    assert found.importance.equals(names["importance"])
    assert names["result"].trials == found.study.walk.trials == 1
    again = compute(choice, BARS, there)  # what the code computed, the chooser only reads
    assert again.study.walk.computed == 0
    assert again.result.table.equals(found.result.table)


def test_folds_come_one_by_one_and_a_stop_leaves_them_in_the_ledger(ledger):
    choice = Choice.of({"splits": {"kind": "WalkForward", "folds": 6}, "model": {"name": "random_forest",
                        "params": {"n_estimators": 300, "min_samples_leaf": 1}}})  # fmt: skip
    cancel, seen = CancelToken(), []

    def told(progress, outcome):
        seen.append((progress, outcome))
        if outcome.folds is not None and outcome.study is None:
            cancel.cancel()

    with pytest.raises(Cancelled):
        compute(choice, BARS, ledger, cancel=cancel, told=told)
    counts = [0 if outcome.folds is None else len(outcome.folds) for _, outcome in seen]
    assert counts == sorted(counts)
    kept = len(ledger.rows(kind="fold"))
    assert 1 <= counts[-1] <= kept < 6 + 12
    assert seen[-1][1].planned == 6
    whole = compute(choice, BARS, ledger)
    assert whole.study.walk.computed == 6 - counts[-1]


def test_a_job_ends_with_its_error_and_not_in_the_caller(ledger):
    choice = Choice.of({"model": {"name": "logistic"}})  # a return is no class
    ended = []
    job = Job(choice, BARS, ledger, lambda job, progress: ended.append(progress) if progress is None else None)
    job.start()
    assert job.wait(60)
    assert (ended, job.ended) == ([None], True)
    assert "expected classes" in str(job.error)


def test_the_core_needs_no_widget():
    """The package republishes the views; without it, its other files load no ipywidgets."""
    loaded = (
        "import importlib.util, sys, types, workbench\n"
        "room = types.ModuleType('workbench.widgets'); room.__path__ = [workbench.__path__[0] + '/widgets']\n"
        "sys.modules['workbench.widgets'] = room\n"
        "from workbench.widgets import choice, job, tables\n"
        "choice.Choice.default(); print('ipywidgets' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True, env=os.environ)
    assert run.stdout.strip() == "False"
