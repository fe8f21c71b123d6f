"""Settings that every test shares."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Time is never judged in a unit test; the same examples are drawn in each run unless `explore` is asked for.
settings.register_profile(
    "ci", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("explore", parent=settings.get_profile("ci"), derandomize=False, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as a shell leaves it to what it starts in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_sessionstart():
    """`make checked` means the kernels with bounds checks: it must not test the plain ones by mistake."""
    if os.environ.get("WORKBENCH_CHECKED") == "1":
        import workbench

        note = Path(workbench.__path__[0]) / "_ext" / "build.json"
        if not json.loads(note.read_text())["checked"]:
            raise pytest.UsageError(f"WORKBENCH_CHECKED=1, but the kernels beside {note} are plain ones")


@pytest.fixture
def ledger(tmp_path):
    from workbench.ledger import Ledger

    return Ledger(tmp_path / "ledger.sqlite")


@pytest.fixture
def study(ledger, tmp_path, monkeypatch):
    """Small panels, and where to keep what is walked on them; the workspace's own ledger is out of the way."""
    from studies import panels

    from workbench.evaluate import WalkForward

    monkeypatch.setenv("WORKBENCH_LEDGER", str(tmp_path / "workspace.sqlite"))
    features, label = panels(rows=160, symbols=5)
    return {"features": features, "label": label, "splits": WalkForward(folds=4), "ledger": ledger}


@pytest.fixture
def registry(monkeypatch):
    """The registered models and the toys among the studies; one may add to them for a test."""
    from studies import register_toys

    from workbench.models import models

    monkeypatch.setattr(models, "_things", dict(models._things))
    register_toys()
    return models
