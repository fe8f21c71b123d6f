"""What is declared, what is pinned, what travels in an sdist, and what make does again."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONSTRAINTS, LATER = (ROOT / "constraints.txt").read_text(), "# the extra `search`, which no set-up installs"

# Where conda-forge calls a package by another name than the Python package index does.
CONDA_NAMES = {"torch": "pytorch", "playwright": "playwright-python", "build": "python-build", "arch": "arch-py"}
# What conda brings and pip cannot.
CONDA_ONLY = {"python", "pip", "c-compiler"}
# The extras that a set-up installs; ARIMA's order search with statsforecast is for whom it is worth 210 MB.
SET_UP = [extra for extra in PROJECT["project"]["optional-dependencies"] if extra != "search"]
# What our user named, used or not yet.
NAMED = "jupyterlab ipywidgets pandas scikit-learn statsmodels torch cython line-profiler memory-profiler nbval"


def requirements(*extras: str) -> list[Requirement]:
    """What pyproject.toml asks for, with the named extras."""
    optional = PROJECT["project"]["optional-dependencies"]
    asked = PROJECT["project"]["dependencies"] + [line for extra in extras for line in optional[extra]]
    return [Requirement(line) for line in asked]


def everything() -> list[Requirement]:
    """What pyproject.toml asks for with all its extras, and to build."""
    build = [Requirement(line) for line in PROJECT["build-system"]["requires"]]
    return requirements(*PROJECT["project"]["optional-dependencies"]) + build


def by_name(lines: list[Requirement]) -> dict[str, str]:
    return {canonicalize_name(r.name): str(r.specifier) for r in lines}


def pins(text: str) -> dict[str, str]:
    """Canonical name to version of every line of constraints.txt, or of a part of it."""
    parsed = [Requirement(line) for line in text.splitlines() if line and not line.startswith("#")]
    return {canonicalize_name(r.name): str(r.specifier) for r in parsed}


def test_pyproject_and_environment_agree():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert conda["name"] == "workbench"
    assert conda["channels"] == ["conda-forge"]
    assert all(isinstance(line, str) for line in conda["dependencies"]), "no pip section: conda has them all"
    found = {canonicalize_name(Requirement(line).name): line for line in conda["dependencies"]}
    assert len(found) == len(conda["dependencies"])
    expected = {canonicalize_name(CONDA_NAMES.get(r.name, r.name)): str(r.specifier) for r in requirements(*SET_UP)}
    specs = {name: str(Requirement(line).specifier) for name, line in found.items() if name not in CONDA_ONLY}
    assert specs == expected
    python = Requirement(next(line for line in conda["dependencies"] if line.startswith("python>")))
    assert str(python.specifier) == PROJECT["project"]["requires-python"]


def test_what_our_user_named_is_a_dependency():
    assert set(NAMED.split()) <= set(by_name(requirements()))


def reached(todo: list[Requirement], pinned: dict[str, str]) -> set[str]:
    """The names of all that is asked for and that these need in turn; each must have a version that suits."""
    todo, seen = list(todo), set()
    while todo:
        wish = todo.pop()
        key = (canonicalize_name(wish.name), frozenset(wish.extras))
        # torch names its GPU libraries by platform; which it takes is not ours to pin.
        if key in seen or key[0].startswith(("nvidia-", "cuda-", "triton")):
            continue
        seen.add(key)
        assert key[0] in pinned, f"{wish.name} is not in constraints.txt"
        assert wish.specifier.contains(pinned[key[0]].removeprefix("=="), prereleases=True), str(wish)
        for line in metadata.requires(wish.name) or []:
            inner = Requirement(line)
            extras = {"", *wish.extras}
            if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in extras):
                todo.append(inner)
    return {name for name, _ in seen}


def test_everything_needed_is_pinned():
    """Each package that a set-up asks for, and all that these need in turn, has a version in the file."""
    pinned = pins(CONSTRAINTS.partition(LATER)[0])
    build = [Requirement(line) for line in PROJECT["build-system"]["requires"]]
    unused = set(pinned) - reached(requirements(*SET_UP) + build, pinned)
    assert not unused, f"in constraints.txt and needed by nothing: {sorted(unused)}"


def test_what_the_order_search_needs_is_pinned_and_leaves_the_other_pins_alone():
    pinned, own = pins(CONSTRAINTS), pins(CONSTRAINTS.partition(LATER)[2])
    assert len(pinned) == len(own) + len(pins(CONSTRAINTS.partition(LATER)[0]))
    for wish in PROJECT["project"]["optional-dependencies"]["search"]:
        assert Requirement(wish).specifier.contains(own[Requirement(wish).name].removeprefix("==")), wish
    pytest.importorskip("statsforecast", reason="optional: the extra `search` brings it, and all that it needs")
    assert not set(own) - reached(requirements("search"), pinned)


def test_what_is_pinned_is_exact_and_names_no_place():
    assert "torch==2.13.0\n" in CONSTRAINTS
    assert all(re.fullmatch(r"==[0-9][0-9a-z.]*", version) for version in pins(CONSTRAINTS).values())
    assert not re.search(r"://|@|--|\+", CONSTRAINTS)


def test_nothing_in_the_project_names_a_registry_or_a_home():
    """Requirements are names: none holds an address or a path."""
    for name in ("pyproject.toml", "environment.yml", "Makefile", ".ci/run", "setup.py"):
        assert not re.search(r"https?://|file://|index-url|find-links", (ROOT / name).read_text()), name


def third_party(folder: Path) -> set[str]:
    """The top-level names that the files under `folder` import and that are neither ours nor Python's."""
    names: set[str] = set()
    local = {path.stem for path in folder.rglob("*.py")} | {"workbench", "tests"}
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names) - local


@pytest.mark.parametrize(
    ("folder", "extras"), [("workbench", ()), ("tests", ("test", "data")), ("tests/bench", ("test", "bench"))]
)
def test_what_is_imported_is_declared(folder, extras):
    declared, owners = by_name(requirements(*extras)), metadata.packages_distributions()
    allowed = declared if folder != "tests" else by_name(everything())
    names = third_party(ROOT / folder)
    # The script that rebuilds a shipped data set needs what nobody else does.
    names -= {"bokeh_sampledata"} if folder != "workbench" else set()
    # The extra `search`: never needed, and an error says how to get it.
    names -= {"statsforecast"}
    undeclared = [
        name for name in names if not {canonicalize_name(dist) for dist in owners.get(name, [])} & set(allowed)
    ]
    assert not undeclared, f"{folder} imports {sorted(undeclared)}, and pyproject.toml does not ask for them"


@pytest.fixture(scope="module")
def sdist(tmp_path_factory) -> Path:
    """The sdist, built from a copy of the tree without the network."""
    folder = tmp_path_factory.mktemp("sdist")
    tree = folder / "tree"
    unwanted = shutil.ignore_patterns(".git", ".venv", "build", "dist", "*.egg-info", "__pycache__", "reports")
    shutil.copytree(ROOT, tree, ignore=unwanted)
    command = [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", folder, tree]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
    return next(folder.glob("workbench-*.tar.gz"))


def test_an_sdist_carries_what_is_needed(sdist):
    with tarfile.open(sdist) as tar:
        inside = {name.partition("/")[2] for name in tar.getnames()}
    patterns = ["ext/*.pyx", "ext/*.pxd", "ext/README.md", "notebooks/*.ipynb", "workbench/data/*"]
    patterns += ["workbench/**/*.py", "workbench/report/**/*.*", "workbench/assets/*", "tests/*.py"]
    built = {".so", ".pyc", ".pyd"}
    for pattern in patterns:
        files = {path.relative_to(ROOT).as_posix() for path in ROOT.glob(pattern) if path.suffix not in built}
        files = {name for name in files if "__pycache__" not in name and (ROOT / name).is_file()}
        assert files, f"nothing in the tree is like {pattern}"
        assert files <= inside, f"not in the sdist: {sorted(files - inside)}"
    assert any(name.startswith("workbench/data/") and name.endswith(".parquet") for name in inside)
    single = "LICENSE README.md CHANGELOG.md CONTRIBUTING.md Makefile constraints.txt environment.yml setup.py"
    assert {*single.split(), "pyproject.toml", ".ci/run", "workbench/data/NOTICE"} <= inside


def test_an_sdist_carries_nothing_that_was_built(sdist):
    with tarfile.open(sdist) as tar:
        inside = [name.partition("/")[2] for name in tar.getnames()]
    bad = re.compile(r"\.(so|c|pyc|pyd|sqlite.*)$|__pycache__|\.ipynb_checkpoints|^workbench/_ext/(?!__init__)")
    assert not [name for name in inside if bad.search(name)]


def test_a_wheel_from_the_sdist_installs_and_runs(sdist, tmp_path):
    """`pip install` of the unpacked sdist, offline: kernels, sample data and templates arrive and work."""
    with tarfile.open(sdist) as tar:
        tar.extractall(tmp_path, filter="data")
    source, site = next(tmp_path.glob("workbench-*")), tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", "install", "--no-deps"]
    flags = {"WORKBENCH_CHECKED": "1"}  # the kind that is built quickest
    run = subprocess.run(
        [*pip, "--no-build-isolation", "--no-index", "--target", site, source],
        capture_output=True, text=True, env=os.environ | flags,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-4000:]
    code = (
        "import workbench as wb; panel = wb.load('us-tech'); from workbench.indicators import rsi\n"
        "assert wb.__file__.startswith(r'" + str(site) + "'), wb.__file__\n"
        "print(rsi(panel.plane('close'), window=14).shape == panel.shape[1:])"
    )
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"PYTHONPATH": str(site)}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert run.stdout.strip() == "True", run.stderr
    shipped = {p.relative_to(ROOT / "workbench") for p in (ROOT / "workbench" / "data").iterdir() if p.is_file()}
    shipped |= {p.relative_to(ROOT / "workbench") for p in (ROOT / "workbench" / "assets").iterdir()}
    shipped |= {p.relative_to(ROOT / "workbench") for p in (ROOT / "workbench" / "report").rglob("*.*") if p.is_file()}
    shipped = {path for path in shipped if "__pycache__" not in path.parts}
    assert not [path for path in shipped if not (site / "workbench" / path).is_file()]


@pytest.fixture
def made(tmp_path) -> Path:
    """A folder that looks to make as if all had been set up."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "setup.py"):
        shutil.copy2(ROOT / name, tmp_path / name)
    (tmp_path / "ext").mkdir()
    (tmp_path / "workbench").mkdir()
    for name in ("ext/one.pyx", "ext/common.pxd", "workbench/install.py"):
        (tmp_path / name).touch()
    (tmp_path / ".venv").mkdir()
    for stamp in (".made", ".installed", ".kernels", ".kernelspec"):
        age(tmp_path / ".venv" / stamp, 100)
    for path in [*tmp_path.glob("*.*"), *tmp_path.glob("ext/*"), tmp_path / "workbench/install.py"]:
        age(path, 200)
    return tmp_path


def age(path: Path, seconds: float) -> None:
    """Let `path` have been changed so many seconds before a fixed time."""
    path.touch()
    os.utime(path, (1.7e9 - seconds, 1.7e9 - seconds))


def outside_make() -> dict[str, str]:
    """The environment without what a make that runs these tests hands on."""
    return {k: v for k, v in os.environ.items() if not k.startswith("MAKE") and k not in ("ARGS", "MFLAGS")}


def planned(folder: Path, target: str) -> str:
    """The commands that make would run."""
    run = subprocess.run(["make", "-n", target], cwd=folder, capture_output=True, text=True, env=outside_make())
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_a_second_make_installs_and_builds_nothing(made):
    for target in ("setup", "test", "lab", "report", "bench", "notebooks"):
        plan = planned(made, target)
        assert " install" not in plan, plan
        assert "build_ext" not in plan, plan


@pytest.mark.parametrize(
    ("changed", "expected", "unexpected"),
    [
        ("ext/one.pyx", "build_ext", "--force"),
        ("ext/common.pxd", "build_ext", "pip"),
        ("setup.py", "--force", "pip"),
        ("constraints.txt", "-c constraints.txt", "--force"),
        ("pyproject.toml", "-c constraints.txt", "--force"),
        ("workbench/install.py", "workbench install", "pip"),
    ],
)
def test_make_does_again_what_a_change_asks_for(made, changed, expected, unexpected):
    age(made / changed, 50)
    plan = planned(made, "setup")
    assert expected in plan
    assert unexpected not in plan


def test_a_fresh_make_installs_once_and_does_not_build_twice(made):
    shutil.rmtree(made / ".venv")
    plan = planned(made, "setup")
    assert plan.count("-m venv") == 1
    assert plan.count("--no-build-isolation -e") == 1
    assert "--force" not in plan


def test_the_last_thing_that_make_test_runs_is_pytest(made):
    last = planned(made, "test").strip().splitlines()[-1]
    assert "-m pytest" in last
    assert "-p workbench.testing" in last
    assert last.rstrip().endswith("tests notebooks")


def test_make_help_lists_the_commands(made):
    run = subprocess.run(["make"], cwd=made, capture_output=True, text=True, env=outside_make(), check=True)
    for target in ("help", "setup", "lab", "test", "report", "bench", "notebooks", "clean"):
        assert re.search(rf"make {target} +\w", run.stdout), run.stdout


def test_ci_is_a_script_that_parses_and_needs_a_browser():
    path = ROOT / ".ci" / "run"
    assert os.access(path, os.X_OK)
    subprocess.run(["bash", "-n", path], check=True)
    text = path.read_text()
    assert "WORKBENCH_REQUIRE_BROWSER=1" in text
    assert "make test" in text


def test_the_hooks_need_no_network():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert [repo["repo"] for repo in hooks["repos"]] == ["local"]
    assert {hook["language"] for repo in hooks["repos"] for hook in repo["hooks"]} == {"system"}


def test_the_example_in_the_readme_runs(tmp_path):
    """As a new user pastes it, in an empty folder."""
    example = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL).group(1)
    assert len([line for line in example.splitlines() if line]) <= 13
    run = subprocess.run([sys.executable, "-W", "error", "-c", example], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_the_changelog_knows_the_version():
    version = PROJECT["project"]["version"]
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text()
    assert metadata.version("workbench") == version
