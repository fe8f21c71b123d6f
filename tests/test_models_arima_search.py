"""ARIMA's order search: what the grid tries, who searches where it isn't said, and statsforecast in its place."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from series import AIR, AIRLINE, fitted, orders, simulated

from workbench.errors import MissingPackageError
from workbench.evaluate.sweep import _Grid
from workbench.models import ModelSpec, catalog
from workbench.models._sarimax import CRITERIA, Fit
from workbench.widgets.choice import Choice


def test_the_search_tries_every_order_and_takes_the_lowest_criterion():
    label = np.column_stack([simulated(300, 1, ar=0.8, ma=0.0), simulated(300, 2, ar=0.0, ma=0.7)])
    for criterion in CRITERIA:
        estimator = fitted(label[:120], 120, p=2, q=1, P=1, period=4, select=criterion, search="grid")
        table = estimator.tried_
        assert len(table) == 2 * 3 * 2 * 2
        assert not table[["symbol", "p", "q", "P"]].duplicated().any()
        for j, mine in table.groupby("symbol"):
            lowest = mine.loc[mine[criterion].idxmin()]
            assert lowest["chosen"]
            assert mine["chosen"].sum() == 1
            assert estimator.series_[j].criterion(criterion) == lowest[criterion]


def test_the_search_mostly_finds_the_order_that_made_a_series():
    label = np.column_stack([simulated(300, s, ar=0.8, ma=0.0) for s in range(10)])
    found = [fit.orders for fit in fitted(label, 300, p=2, q=1, select="bic", search="grid").series_]
    assert sum((o.p, o.q) == (1, 0) for o in found) >= 7
    assert all(o.p for o in found)


def test_criteria_are_what_they_are_called():
    fit = Fit(orders(1, 1, 1, True), np.zeros(4), 0, 0.0, 101, -150.0, True, True)
    assert fit.criterion("aic") == pytest.approx(300 + 2 * 4)
    assert fit.criterion("bic") == pytest.approx(300 + 4 * np.log(100))
    assert fit.criterion("aicc") == pytest.approx(300 + 2 * 4 * 100 / (100 - 4 - 1))


STAND_IN = '''
"""The interface of statsforecast that is used, as its documentation gives it."""
import numpy as np
import pytest

class AutoARIMA:
    asked = []

    def __init__(self, d=None, D=None, max_p=5, max_q=5, max_P=2, max_Q=2, max_order=5, start_p=2, start_q=2, start_P=1,
                 start_Q=1, ic="aicc", stepwise=True, approximation=False, seasonal=True, season_length=1,
                 allowmean=True, allowdrift=True):
        self.given = dict(d=d, D=D, max_p=max_p, max_q=max_q, ic=ic, stepwise=stepwise, allowmean=allowmean)

    def fit(self, y):
        assert np.abs(np.diff(y, self.given["d"]).mean()) < 1e-12
        assert np.diff(y, self.given["d"]).std() == pytest.approx(1)
        AutoARIMA.asked.append((self.given, len(y)))
        self.model_ = {"arma": (2, 0, 0, 0, 1, self.given["d"], self.given["D"])}  # p, q, P, Q, period, d, D
        return self
'''


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    (tmp_path / "statsforecast").mkdir()
    (tmp_path / "statsforecast" / "__init__.py").write_text("")
    (tmp_path / "statsforecast" / "models.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "statsforecast"}
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == "statsforecast"]:
        del sys.modules[name]
    sys.modules.update(before)


@pytest.mark.parametrize("d", [0, 1])
def test_statsforecast_chooses_where_nothing_is_missing(stand_in, d):
    """It is handed a series of unit steps without the constant, which is not its to choose."""
    label = 0.01 * np.column_stack([simulated(80, 1, d=d), simulated(80, 2, d=d)]) + 5 + 0.3 * np.arange(80)[:, None]
    label[20, 1] = np.nan
    estimator = fitted(label, 80, p=2, d=d, q=1, constant=True, select="bic")
    from statsforecast.models import AutoARIMA

    given = {"d": d, "D": 0, "max_p": 2, "max_q": 1, "ic": "bic", "stepwise": False, "allowmean": False}
    assert AutoARIMA.asked == [(given, 80)]
    assert (estimator.series_[0].orders.p, estimator.series_[0].orders.q) == (2, 0)
    assert [fit.search for fit in estimator.series_] == ["statsforecast", "grid"]
    assert (estimator.tried_["symbol"] == 1).sum() == 6


@pytest.fixture
def without(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)


# ---------------------------------------------------------------- who searches is said by the spec


def test_a_spec_that_is_made_where_statsforecast_is_says_so_and_imports_nothing(stand_in):
    spec = ModelSpec("arima", {"select": "bic"})
    assert spec.params["search"] == "statsforecast"
    assert '"search":"statsforecast"' in spec.to_json()
    assert "'search': 'statsforecast'" in repr(spec)
    assert "statsforecast" not in sys.modules


def test_a_spec_that_is_made_without_it_says_grid(without):
    assert ModelSpec("arima", {"select": "bic"}).params["search"] == "grid"


def test_nothing_is_looked_up_where_nothing_is_searched(monkeypatch):
    def never(name):
        raise AssertionError(f"looked for {name}")

    monkeypatch.setattr("importlib.util.find_spec", never)
    assert ModelSpec("arima").params["search"] is None
    assert ModelSpec("arima", {"select": "bic", "search": "grid"}).params["search"] == "grid"
    assert "search=None {grid, statsforecast}" in catalog().set_index("name").loc["arima", "params"]


SEARCHED = {"grid": "without", "statsforecast": "stand_in"}


@pytest.mark.parametrize("here", SEARCHED)
def test_json_gives_the_same_search_on_every_machine(here, request):
    written = {by: ModelSpec("arima", {"select": "aic", "search": by}) for by in SEARCHED}
    nowhere = ModelSpec("arima").to_json()
    request.getfixturevalue(SEARCHED[here])
    for by, spec in written.items():
        again = ModelSpec.from_json(spec.to_json())
        assert (again, again.key, again.params["search"]) == (spec, spec.key, by)
        assert again.replace(p=2, select="bic").params["search"] == by
    assert ModelSpec.from_json(nowhere) == ModelSpec("arima")
    new = ModelSpec("arima", {"select": "aic"})
    assert new == written[here]
    assert ModelSpec.from_json('{"name": "arima", "params": {"select": "aic"}}') == new
    assert ModelSpec.from_json('{"name": "arima", "params": {"search": null, "select": "aic"}}') == new


def test_a_spec_of_a_ledger_from_before_means_what_it_meant(stand_in):
    text = (
        '{"name":"arima","params":{"D":0,"P":0,"Q":0,"constant":null,"d":0,"p":1,"period":1,"q":1,"refit":0,'
        '"search":"grid","select":"%s"},"seed":0}'
    )
    for select in ("none", "aic"):
        spec = ModelSpec.from_json(text % select)
        assert spec.to_json() == text % select
        assert spec.replace(select="bic").params["search"] == "grid"


def test_a_search_that_is_asked_for_later_is_said_as_well(stand_in):
    assert ModelSpec("arima").replace(select="aic") == ModelSpec("arima", {"select": "aic"})
    swept = _Grid(ModelSpec("arima"), {"select": ["none", "aic"], "search": [None, "grid"]}).specs
    assert [spec.params["search"] for spec in swept] == [None, "grid", "statsforecast", "grid"]


def test_the_code_of_a_choice_names_who_searches(stand_in):
    choice = Choice.of({"model": {"name": "arima", "params": {"select": "aic"}}})
    assert "'search': 'statsforecast'" in choice.code()
    assert choice.to_dict()["model"]["params"]["search"] == "statsforecast"


def test_where_what_a_spec_names_is_missing_the_fit_says_so(without):
    y = simulated(60, 1)
    with pytest.raises(MissingPackageError, match="needs the package statsforecast"):
        ModelSpec("arima", {"select": "aic", "search": "statsforecast"}).build().fit(np.zeros((60, 1)), y)
    assert ModelSpec("arima", {"search": "statsforecast"}).build().fit(np.zeros((60, 1)), y).converged_.all()


# ---------------------------------------------------------------- the package itself


def test_statsforecast_itself_chooses_the_orders_that_the_grid_does():
    """Those of the airline model, with labels that are all alike beside it, and those that made a series."""
    pytest.importorskip("statsforecast", reason="optional: the extra `search` brings it")
    label = np.column_stack([AIR, np.full(144, 0.1)])
    params = {"p": 1, "d": 1, "q": 1, "P": 1, "D": 1, "Q": 1, "period": 12, "select": "aicc"}
    found = [fitted(label, 144, **params, search=by).series_ for by in ("grid", "statsforecast")]
    assert [each[0].orders for each in found] == [AIRLINE, AIRLINE]
    assert [fit.search for fit in found[1]] == ["statsforecast", "grid"]
    label = 0.01 * np.column_stack([simulated(500, s, ar=0.8, ma=0.0) for s in range(3)]) + 0.3
    assert [(fit.orders.p, fit.orders.q) for fit in fitted(label, 500, p=2, q=1, select="bic").series_] == [(1, 0)] * 3
