"""The one-way street: who may import whom, what `import workbench` costs, and the public names."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import workbench

PACKAGE = Path(workbench.__path__[0])

BASE = {"errors", "registry"}
PANEL = BASE | {"panel"}
KERNELS = PANEL | {"kernels"}
INDICATORS = KERNELS | {"indicators"}
MODELS = INDICATORS | {"features", "labels"}
EVALUATE = MODELS | {"models"}
BACKTEST = EVALUATE | {"evaluate"}
REPORT = BACKTEST | {"backtest"}

# What each part of the package may import: only what stands to its left, and the side rooms named with it.
STREET = {
    "errors": set(),
    "registry": {"errors"},
    "panel": BASE,
    "sources": PANEL,
    "hooks": set(),
    "files": {"errors"},
    "kernels": PANEL | {"_ext", "hooks"},
    "indicators": KERNELS,
    "features": INDICATORS | {"compute"},
    "labels": INDICATORS,
    "models": MODELS,
    "evaluate": EVALUATE | {"store", "ledger", "compute"},
    "backtest": BACKTEST,
    "report": REPORT | {"install", "ledger", "files"},
    "study": REPORT | {"report", "ledger", "compute"},
    "widgets": REPORT | {"report", "study", "sources", "ledger", "compute", "profiling"},
    "store": PANEL,
    "ledger": {"errors"},
    "compute": {"errors", "hooks"},
    "profiling": {"errors", "files", "hooks", "_ext"},
    "magics": {"errors", "profiling"},
    "install": {"errors", "templates"},
    "templates": {"errors"},
    "testing": {"errors"},
    "__main__": {"errors", "install", "profiling", "report", "templates"},
    "data": set(),
    "_ext": set(),
}

HEAVY = {"torch", "statsmodels", "sklearn", "skorch", "sqlalchemy"}
HEAVY |= {"plotly", "matplotlib", "ipywidgets", "nbconvert", "nbclient", "IPython"}


def imports_of(source: str, module: str, *, is_package: bool) -> set[str]:
    """The absolute dotted names that `source`, the text of `module`, imports, anywhere in it."""
    package = module if is_package else module.rpartition(".")[0]
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = ".".join(parts[: len(parts) - node.level + 1]) if node.level else ""
            origin = ".".join(filter(None, (base, node.module)))
            # `from . import a` names modules; `from .a import b` names a module and what is in it.
            names |= {f"{origin}.{alias.name}" for alias in node.names}
    return names


def parts_imported(source: str, module: str, *, is_package: bool = False) -> set[str]:
    """The parts of the package (its modules and folders) that `source` imports, besides its own."""
    own = module.split(".")[1] if "." in module else ""
    names = imports_of(source, module, is_package=is_package)
    found = {name.split(".")[1] for name in names if name.startswith("workbench.")}
    return {name for name in found if name in STREET} - {own}


def modules() -> list[tuple[str, Path]]:
    """Dotted name and file of every Python module of the package."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found.append((".".join(parts[:-1] if parts[-1] == "__init__" else parts), path))
    return found


MODULES = [pytest.param(name, path, id=name) for name, path in modules() if name != "workbench"]


@pytest.mark.parametrize(("name", "path"), MODULES)
def test_a_module_imports_only_from_its_left(name, path):
    part = name.split(".")[1]
    assert part in STREET, f"{name} has no place on the street: give it one in {Path(__file__).name}"
    found = parts_imported(path.read_text(), name, is_package=path.name == "__init__.py")
    assert found <= STREET[part], f"{name} may not import {sorted(found - STREET[part])}"


def test_every_place_on_the_street_is_taken():
    there = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert set(STREET) <= there, f"no such part: {sorted(set(STREET) - there)}"


def test_only_a_folder_republishes():
    for name, path in modules():
        listed = re.search(r"^__all__ = (\[.*?\])", path.read_text(), re.MULTILINE | re.DOTALL)
        if path.name != "__init__.py" and listed:
            taken = {n.rpartition(".")[2] for n in imports_of(path.read_text(), name, is_package=False)}
            assert not taken & set(ast.literal_eval(listed[1])), name


def test_the_street_has_no_way_back():
    """The table above is itself free of cycles, so that what it allows is a one-way street."""
    left, done = {part: set(allowed) for part, allowed in STREET.items()}, set()
    while left:
        free = {part for part, allowed in left.items() if allowed <= done}
        assert free, f"a cycle among {sorted(left)}"
        done |= free
        left = {part: allowed for part, allowed in left.items() if part not in free}
    assert not any("widgets" in allowed for allowed in STREET.values())


def test_a_wrong_turn_is_seen():
    """The reader of imports sees each way in which one can import, also inside a function."""
    turns = {
        "from ..report import figures": {"report"},
        "from .. import widgets": {"widgets"},
        "import workbench.models.spec": {"models"},
        "from workbench import store": {"store"},
        "from workbench.ledger import Ledger": {"ledger"},
        "def f():\n    from ..evaluate.splits import purge": {"evaluate"},
        "from . import _shared\nfrom .trend import sma\nimport numpy": set(),
    }
    for source, expected in turns.items():
        assert parts_imported(source, "workbench.indicators.trend") == expected, source


def loaded_after(statement: str) -> list[str]:
    """The top-level modules that a fresh interpreter has loaded after `statement`."""
    code = f"{statement}\nimport json, sys\nprint(json.dumps(sorted({{m.split('.')[0] for m in sys.modules}})))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


def test_importing_workbench_loads_nothing_heavy():
    assert not HEAVY & set(loaded_after("import workbench"))


def test_the_path_from_bars_to_features_loads_nothing_heavy():
    statement = "import workbench.sources, workbench.kernels, workbench.indicators, workbench.features"
    assert not HEAVY & set(loaded_after(statement + "\nimport workbench.labels, workbench.compute"))


def test_nothing_puts_back_the_filters_of_warnings_of_the_whole_process():
    """Much here runs on threads, where `warnings.catch_warnings` drops what others have set: `errors.hush` doesn't."""
    found = [name for name, path in modules() if "catch_warnings(" in path.read_text()]
    assert not found


def test_public_names_are_sorted_and_true():
    names = list(workbench.__all__)
    assert names == sorted(set(names))
    missing = [name for name in names if not hasattr(workbench, name)]
    assert not missing, f"in __all__ and not importable: {missing}"
    assert set(names) <= set(dir(workbench))
    public = {name for name in dir(workbench) if not name.startswith("_")}
    assert public <= set(names) | set(STREET), f"not in __all__: {sorted(public - set(names) - set(STREET))}"


def test_every_public_thing_says_what_it_is():
    bare = [name for name in workbench.__all__ if not (getattr(workbench, name).__doc__ or "").strip()]
    assert not [name for name in bare if callable(getattr(workbench, name))]


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        workbench.no_such_name  # noqa: B018
