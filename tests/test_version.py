"""What code a score comes from: an edit is a new version, the same text is the same one."""

from __future__ import annotations

import copyreg
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import BaseEstimator, RegressorMixin

from workbench.evaluate import version as version_module
from workbench.evaluate import walk_forward
from workbench.models import ModelSpec, model, models
from workbench.registry import Param

EXT = Path(__file__).parent.parent / "ext"


def test_the_version_of_the_package_follows_its_sources(tmp_path, monkeypatch):
    version = version_module.package_version.__wrapped__
    assert version() == version()
    copy = tmp_path / "workbench"
    root = Path(version_module.__file__).parent.parent
    for pattern in (*version_module.SOURCES, "_ext/build.json"):
        found = list(root.glob(pattern))
        assert found
        for path in found:
            (copy / path.relative_to(root)).parent.mkdir(parents=True, exist_ok=True)
            (copy / path.relative_to(root)).write_bytes(path.read_bytes())
    monkeypatch.setattr(version_module, "__file__", str(copy / "evaluate" / "version.py"))
    versions = [version()]
    for name in ("models/linear.py", "labels.py", "panel/core.py"):
        (copy / name).write_text("changed")
        versions.append(version())
    note = json.loads((copy / "_ext" / "build.json").read_text())
    assert note["kernels"]["cross"] == hashlib.sha256((EXT / "cross.pyx").read_bytes()).hexdigest()
    note["kernels"]["cross"] = "another source of the kernels that measures call"
    (copy / "_ext" / "build.json").write_text(json.dumps(note))
    versions.append(version())
    assert [version["workbench"] for version in versions] == [*dict.fromkeys(v["workbench"] for v in versions)]


def test_a_model_of_the_notebook_that_is_edited_is_computed_again(study, monkeypatch):
    def define(constant):
        class Constant(RegressorMixin, BaseEstimator):
            def fit(self, X, y):
                return self

            def predict(self, X):
                return np.full(len(X), constant) if constant == 1 else np.full(len(X), 2.0) + 0

        class Other(Constant):
            def predict(self, X):
                return np.full(len(X), 3.0)

        kind = Constant if constant == 1 else Other

        @model("mine", params=(Param("a", 1.0, doc="any"),))
        def mine(params, seed):
            """A constant. Source: nobody, 2020."""
            return kind()

    monkeypatch.setattr(models, "_things", dict(models._things))
    define(1)
    spec = ModelSpec("mine")
    assert walk_forward(spec, **study).computed == 4
    assert walk_forward(spec, **study).computed == 0
    del models._things["mine"]
    define(2)
    assert walk_forward(spec, **study).computed == 4
    assert walk_forward(spec, **study, how="processes", workers=2).computed == 0


DEFINITION = """
import functools
import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

A = 1.0
C = {"with_mean": True}
ORDER = {"b", "a", "c"}

def g(X):
    return X * 1.5

def helper():
    return 4.5

class Mine(RegressorMixin, BaseEstimator):
    shift = 5.5

    def __init__(self, by=lambda x: x + 6.5):
        self.by = by

    @staticmethod
    def fixed():
        return 7.5

    @classmethod
    def named(cls):
        return 8.5

    @property
    def held(self):
        return 9.5

    @functools.cached_property
    def kept(self):
        return 10.5

    @functools.cache
    def memory(self):
        return 11.5

    def fit(self, X, y, *, weight=12.5, key=lambda v: v * 13.5, other=object()):
        return self

    def predict(self, X):
        return np.full(len(X), self.shift + helper())

def factory(params, seed, *, extra=lambda: 14.5):
    return make_pipeline(StandardScaler(**C), FunctionTransformer(g),
        FunctionTransformer(functools.partial(pow, 15.5)), Ridge(alpha=A), Mine())

def mine(params, seed):
    "Anything. Source: nobody, 2020."
    return factory(params, seed)
"""


def version_of(text, monkeypatch):
    """The version of the code of a model that is defined by `text`, as a cell of a notebook."""
    names = {"__name__": "__main__"}
    exec(compile(text, "<cell>", "exec", dont_inherit=True), names)
    monkeypatch.setattr(models, "_things", dict(models._things))
    models._things.pop("mine", None)
    model("mine", params=())(names["mine"])
    return version_module.code_version(ModelSpec("mine"), ModelSpec("mine").build())


EDITS = [("A = 1.0", "A = 9.0"), ('"with_mean": True', '"with_mean": False'), ('"c"}', '"d"}')]
EDITS += [(f"{n}.5", f"{n}.25") for n in range(4, 16)] + [("X * 1.5", "X * 1.75"), ("x + 6.5", "x - 6.5")]


@pytest.mark.parametrize(("old", "new"), EDITS)
def test_every_edit_of_a_model_is_a_new_version(monkeypatch, old, new):
    assert old in DEFINITION
    changed = version_of(DEFINITION.replace(old, new), monkeypatch) != version_of(DEFINITION, monkeypatch)
    assert changed == (new != '"d"}')  # a global that nothing reads is no part of it


def test_the_same_definition_is_the_same_version_in_every_process(monkeypatch, tmp_path):
    moved = "\n\n# a comment\n" + DEFINITION
    here = {version_of(text, monkeypatch) for text in (DEFINITION, DEFINITION, moved)}
    script = tmp_path / "again.py"
    script.write_text(
        DEFINITION + "from workbench.evaluate.version import code_version\n"
        "from workbench.models import ModelSpec, model\n"
        "model('mine', params=())(mine)\nprint(code_version(ModelSpec('mine'), ModelSpec('mine').build()))"
    )
    for _ in range(2):  # each has its own hash seed
        here.add(subprocess.run([sys.executable, script], capture_output=True, text=True, check=True).stdout.strip())
    assert len(here) == 1


@pytest.mark.parametrize("name", list(models))
def test_a_model_of_the_package_has_one_version(name):
    spec = ModelSpec(name)
    code = "import sys\nfrom workbench.evaluate.version import code_version\nfrom workbench.models import ModelSpec\n"
    code += "spec = ModelSpec(sys.argv[1])\nprint(code_version(spec, spec.build()))"
    there = subprocess.run([sys.executable, "-c", code, name], capture_output=True, text=True, check=True).stdout
    assert there.strip() == version_module.code_version(spec, spec.build())


def test_to_pickle_an_estimator_is_no_edit(monkeypatch):
    """As processes do: what pickle notes on a class is no code of it."""
    before = version_of(DEFINITION, monkeypatch)
    estimator = ModelSpec("mine").build()
    for step in (estimator, *(step for _, step in estimator.steps)):
        copyreg._slotnames(type(step))
    assert "__slotnames__" in vars(type(estimator.steps[-1][1]))
    assert version_module.code_version(ModelSpec("mine"), ModelSpec("mine").build()) == before


def test_an_edited_cell_is_never_answered_with_old_scores(study, monkeypatch):
    for text, computed in ((DEFINITION, 4), (DEFINITION, 0), (DEFINITION.replace("A = 1.0", "A = 9.0"), 4)):
        simple = text.replace(", Mine())", ")").replace("FunctionTransformer(functools.partial(pow, 15.5)), ", "")
        version_of(simple, monkeypatch)
        assert walk_forward(ModelSpec("mine"), **study).computed == computed
