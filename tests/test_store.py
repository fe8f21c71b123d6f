"""The store: what is written whole comes back mapped and to the bit, what is torn is said to be and written again."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from studies import panels

from workbench.errors import DataError, ParameterError, WorkbenchError
from workbench.store import PanelRef, Ref, lent, save_panel


@pytest.fixture
def panel():
    return panels(rows=50, symbols=3)[0]


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """A folder for temporary files of this test alone."""
    home = tmp_path / "temporary"
    home.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(home))
    return home


def test_a_panel_comes_back_to_the_bit_and_is_mapped(panel, tmp_path):
    for made in (panel, panel.astype(np.float32), panel.like(panel.values, panel.fields, lookback=7)):
        back = pickle.loads(pickle.dumps(save_panel(made, tmp_path))).open(verify=True)
        assert back == made
        assert (back.dtype, back.lookback, back.fingerprint) == (made.dtype, made.lookback, made.fingerprint)
        assert back.time.equals(made.time)
        assert not back.values.flags.writeable
        owner = back.values
        while isinstance(owner, np.ndarray) and not isinstance(owner, np.memmap):
            owner = owner.base
        assert isinstance(owner, np.memmap)  # nothing was copied
        assert back.values.ctypes.data % 64 == 0


def test_a_panel_is_written_once_and_its_lookback_goes_with_it(panel, tmp_path):
    first = save_panel(panel, tmp_path)
    written = (first.folder / "values.npy").stat().st_mtime_ns
    assert save_panel(panel.rename({}), tmp_path) == first
    assert (first.folder / "values.npy").stat().st_mtime_ns == written
    # the fingerprint is of the content alone: what is purged for must not be that of another panel
    looking = save_panel(panel.like(panel.values, panel.fields, lookback=20), tmp_path)
    assert looking.fingerprint == first.fingerprint
    assert (first.open().lookback, looking.open().lookback) == (0, 20)


@pytest.mark.parametrize("name", ["values.npy", "time.npy", "facts.json"])
@pytest.mark.parametrize("harm", ["gone", "empty", "short"])
def test_a_torn_folder_is_an_error_and_is_written_again(panel, tmp_path, name, harm):
    ref = save_panel(panel, tmp_path)
    file = ref.folder / name
    content = file.read_bytes()
    file.unlink()
    if harm != "gone":
        file.write_bytes(content[: len(content) // 2 if harm == "short" else 0])
    with pytest.raises(DataError, match="can't be opened.*\n.*save_panel"):
        ref.open()
    assert save_panel(panel, tmp_path) == ref
    assert ref.open(verify=True) == panel
    assert [path.name for path in tmp_path.iterdir()] == [ref.folder.name]


def test_another_content_is_found_where_that_is_asked_for(panel, tmp_path):
    ref = save_panel(panel, tmp_path)
    file = ref.folder / "values.npy"
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match="is damaged"):
        ref.open(verify=True)
    with pytest.raises(DataError, match="holds another panel"):
        PanelRef(ref.url, "0" * 64).open()
    with pytest.raises(DataError, match="can't be opened"):
        PanelRef((tmp_path / "nothing").as_uri(), ref.fingerprint).open()
    with pytest.raises(ParameterError, match="expected a file:// URL"):
        Ref("s3://bucket/panel").arrays()


def test_a_path_with_spaces_and_accents_is_a_url(panel, tmp_path):
    ref = save_panel(panel, tmp_path / "données à moi %20")
    assert " " not in ref.url
    assert ref.open() == panel


def test_threads_that_save_the_same_panel_at_once_all_have_it(panel, tmp_path):
    with ThreadPoolExecutor(8) as pool:
        refs = list(pool.map(lambda _: save_panel(panel, tmp_path), range(32)))
    assert len(set(refs)) == 1
    assert refs[0].open(verify=True) == panel
    assert [path.name for path in tmp_path.iterdir()] == [refs[0].folder.name]


def test_what_is_lent_lasts_as_long_as_the_block(temporary):
    arrays = {"x": np.arange(6.0).reshape(2, 3), "none": np.empty(0), "n": np.arange(3, dtype=np.int32)}
    with lent(arrays, {"name": "é"}) as ref:
        found = pickle.loads(pickle.dumps(ref)).arrays()
        assert found.keys() == arrays.keys()
        for name, array in arrays.items():
            assert found[name].dtype == array.dtype
            assert found[name].tobytes() == array.tobytes()
            assert not found[name].flags.writeable
        assert ref.facts() == {"name": "é"}
        assert list(temporary.iterdir())
    assert not list(temporary.iterdir())
    assert found["x"].tolist() == arrays["x"].tolist()  # what is mapped stays so
    with pytest.raises(ZeroDivisionError), lent(arrays):
        raise ZeroDivisionError
    assert not list(temporary.iterdir())


def test_only_what_a_killed_process_has_left_is_removed(temporary):
    code = f"""
    import os, signal, tempfile
    import numpy as np
    from workbench.store import lent
    tempfile.tempdir = {str(temporary)!r}
    with lent({{"x": np.zeros(3)}}) as ref:
        os.kill(os.getpid(), signal.SIGKILL)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False)
    left = list(temporary.iterdir())
    assert len(left) == 1
    others = [f"workbench-{os.getpid()}-mine", "workbench-1-init", "workbench-12x-y", "workbench-9", "other"]
    for name in others:
        (temporary / name).mkdir()
    with lent({"x": np.zeros(3)}):
        assert not left[0].exists()
    assert sorted(path.name for path in temporary.iterdir()) == sorted(others)


FULL = """
import resource, signal, sys, tempfile
import numpy as np
from studies import panels
from workbench.errors import WorkbenchError
from workbench.store import lent, save_panel

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
tempfile.tempdir = sys.argv[1]

def save():
    save_panel(panels(rows=700)[0], sys.argv[1])

def lend():
    with lent({"x": np.zeros(100_000)}):
        raise AssertionError

for call in (save, lend):
    try:
        call()
    except WorkbenchError as error:
        print(str(error).replace("\\n", " "))
"""


def test_a_full_disk_is_an_error_and_nothing_is_left_behind(tmp_path):
    """A limit on the size of files stands for the disk."""
    home = tmp_path / "full"
    home.mkdir()
    command = [sys.executable, "-W", "error", "-c", FULL, str(home)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent)
    said = run.stdout.splitlines()
    assert len(said) == 2, run.stderr
    assert all("MB can't be written to" in line and "make room" in line for line in said)
    assert not list(home.iterdir())


def test_where_nothing_can_be_written_is_named(panel, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(WorkbenchError, match="can't be written to .*file"):
        save_panel(panel, tmp_path / "file")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file" / "below"))
    with pytest.raises(WorkbenchError, match="can't be written to .*below"), lent({"x": np.zeros(3)}):
        pass


def test_the_facts_are_plain_json(panel, tmp_path):
    ref = save_panel(panel, tmp_path)
    content = json.loads((ref.folder / "facts.json").read_text())
    assert content["arrays"] == ["values", "time"]
    assert content["facts"]["symbols"] == list(panel.symbols)
    shutil.rmtree(ref.folder)
    with pytest.raises(DataError):
        PanelRef(ref.url + "x", ref.fingerprint).open()
