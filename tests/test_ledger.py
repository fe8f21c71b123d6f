"""The ledger: each key once, whatever writes at the same time, and a clear word for every broken file."""

from __future__ import annotations

import os
import pickle
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workbench import ledger as ledger_module
from workbench.errors import DataError, ParameterError, WorkbenchError
from workbench.ledger import Ledger

PLAIN = {"kind": "fold", "data": "d", "trial": "t", "code": "c", "study": {}, "outcome": {}}


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "ledger.sqlite")


def script(text, *arguments, wait=True):
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(text), *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return process.communicate(timeout=60) if wait else process


def test_what_is_put_comes_back_to_the_bit(ledger):
    arrays = {
        "score": np.array([0.1 + 0.2, np.nan, -0.0, 5e-324, np.inf]),
        "row": np.arange(5, dtype=np.int32),
        "none": np.empty((0, 3)),
    }
    outcome = {"ic": 0.1 + 0.2, "hit": None, "samples": 7, "name": "é"}
    study = {"spec": {"name": "ridge", "params": {"alpha": 1e-300}}, "fold": 1}
    before = pd.Timestamp.now("UTC")
    assert ledger.put(
        "k",
        kind="fold",
        data="d",
        trial="t",
        code="c",
        study=study,
        outcome=outcome,
        arrays=arrays,
        seconds=0.5,
    )
    cell = ledger.get("k")
    assert (cell.kind, cell.data, cell.trial, cell.code, cell.seconds) == ("fold", "d", "t", "c", 0.5)
    assert cell.study == study
    assert cell.outcome == outcome
    assert before <= cell.created <= pd.Timestamp.now("UTC")
    assert set(cell.arrays) == set(arrays)
    for name, array in arrays.items():
        assert cell.arrays[name].dtype == array.dtype
        assert cell.arrays[name].tobytes() == array.tobytes()


def test_the_first_that_finishes_wins(ledger):
    assert ledger.put("k", **{**PLAIN, "outcome": {"ic": 1.0}})
    created = ledger.get("k").created
    assert not ledger.put("k", **{**PLAIN, "outcome": {"ic": 2.0}})
    assert ledger.get("k").outcome == {"ic": 1.0}
    assert ledger.get("k").created == created
    assert len(ledger) == 1


def test_only_what_is_there_is_found(ledger):
    assert ledger.get("nothing") is None
    assert ledger.get_many([]) == {}
    empty = ledger_module._packed({})
    keys = [f"k{i}" for i in range(1203)]  # more than a statement may name
    with ledger._connected() as connection:
        connection.execute(
            ledger_module._cells.insert(),
            [{**PLAIN, "key": key, "created": "2020-01-01", "payload": empty, "seconds": 0.0} for key in keys],
        )
        connection.commit()
    assert set(ledger.get_many([*keys, "nothing"])) == set(keys)


def test_trials_are_counted_once_each_and_by_data(ledger):
    for i, (trial, data) in enumerate([("a", "x"), ("a", "x"), ("b", "x"), ("c", "y"), ("a", "y")]):
        ledger.put(str(i), **{**PLAIN, "trial": trial, "data": data})
    ledger.put("baseline", **{**PLAIN, "trial": "", "data": "x"})
    assert [ledger.trials(data) for data in ("x", "y", "z")] == [2, 2, 0]


def test_rows_are_a_table_in_order_of_creation(ledger):
    assert ledger.rows().empty
    assert isinstance(ledger.rows()["created"].dtype, pd.DatetimeTZDtype)
    for i in range(6):
        ledger.put(f"k{5 - i}", **{**PLAIN, "kind": "fold" if i % 2 else "sweep", "data": "xy"[i // 3]})
    rows = ledger.rows()
    assert rows["key"].tolist() == [f"k{5 - i}" for i in range(6)]
    assert rows["created"].is_monotonic_increasing
    assert "payload" not in rows
    assert ledger.rows(kind="fold")["key"].tolist() == ["k4", "k2", "k0"]
    assert ledger.rows(kind="fold", data="y")["key"].tolist() == ["k2", "k0"]
    many = [*(f"not there {i}" for i in range(1200)), "k1", "k4"]
    assert ledger.rows(keys=many)["key"].tolist() == ["k4", "k1"]
    assert ledger.rows(keys=many, kind="fold")["key"].tolist() == ["k4"]
    assert ledger.rows(keys=[]).empty


def test_no_python_object_is_ever_stored_or_loaded(ledger):
    with pytest.raises(ParameterError, match="'o' holds Python objects"):
        ledger.put("k", **PLAIN, arrays={"o": np.array([{}], dtype=object)})
    evil = ledger_module.io.BytesIO()
    np.savez(evil, o=np.array([{}], dtype=object))
    ledger.put("k", **PLAIN)
    with sqlite3.connect(ledger.path) as raw:
        raw.execute("UPDATE cells SET payload = ?", (evil.getvalue(),))
    raw.close()
    with pytest.raises(DataError, match="cell k can't be read.*allow_pickle"):
        ledger.get("k")


@pytest.mark.parametrize("bad", [{"ic": float("nan")}, {"ic": np.arange(2)}, {"ic": {1, 2}}])
def test_what_is_not_json_is_refused_whole(ledger, bad):
    with pytest.raises(ParameterError, match="must be JSON"):
        ledger.put("k", **{**PLAIN, "outcome": bad})
    assert len(ledger) == 0


def test_it_is_durable_a_log_and_leaves_nothing_open(ledger):
    with ledger._connected() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 60_000
    opened = [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
    assert not [path for path in opened if "ledger.sqlite" in path]


def test_where_it_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WORKBENCH_LEDGER", raising=False)
    assert Ledger().path == tmp_path / ".workbench" / "ledger.sqlite"
    assert Ledger("sqlite:///a/b.sqlite").path == tmp_path / "a" / "b.sqlite"
    assert Ledger(f"sqlite:///{tmp_path}/c.sqlite").path == tmp_path / "c.sqlite"
    assert Ledger("d.sqlite").path.is_absolute()
    monkeypatch.setenv("WORKBENCH_LEDGER", str(tmp_path / "e ?#%.sqlite"))
    assert Ledger().path == tmp_path / "e ?#%.sqlite"
    assert Ledger().path.exists()
    assert pickle.loads(pickle.dumps(Ledger())).path == Ledger().path
    assert repr(Ledger("d.sqlite")) == f"Ledger({str(tmp_path / 'd.sqlite')!r})"


@pytest.mark.parametrize(
    "url", ["postgresql://localhost/x", "sqlite://", "sqlite:///:memory:", ":memory:", "", "://", 3, "x://y"]
)
def test_a_url_that_is_none_of_a_ledger_is_refused(url):
    with pytest.raises(ParameterError, match="ledger"):
        Ledger(url)


def test_a_file_that_is_no_database_is_left_as_it_is(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("not a database " * 100)
    with pytest.raises(DataError, match="notes.txt is not a database.*\n.*hint: give the ledger another path"):
        Ledger(path)
    assert path.read_text() == "not a database " * 100


def test_a_database_of_something_else_is_refused(tmp_path):
    with sqlite3.connect(tmp_path / "other.db") as raw:
        raw.execute("CREATE TABLE cells (key TEXT, colour TEXT)")
    raw.close()
    with pytest.raises(DataError, match="not a ledger's: the columns code, colour"):
        Ledger(tmp_path / "other.db")


def test_a_damaged_file_is_named(ledger):
    for i in range(40):
        ledger.put(f"k{i}", **PLAIN, arrays={"x": np.full(2000, i)})
    whole = ledger.path.read_bytes()
    damaged = bytearray(whole)
    damaged[4096 * 2 : len(whole) - 4096] = os.urandom(len(whole) - 3 * 4096)
    ledger.path.write_bytes(damaged)
    with pytest.raises(DataError, match="is damaged"):
        [ledger.get(f"k{i}") for i in range(40)]
    ledger.path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="is damaged"):
        [ledger.get(f"k{i}") for i in range(40)]


def test_a_damaged_payload_is_named_and_the_rest_is_read(ledger):
    for key in "ab":
        ledger.put(key, **PLAIN, arrays={"x": np.arange(100.0)})
    with sqlite3.connect(ledger.path) as raw:
        payload = bytearray(raw.execute("SELECT payload FROM cells WHERE key = 'a'").fetchone()[0])
        payload[400] ^= 1  # one bit of one number: the zip's own checksum sees it
        raw.execute("UPDATE cells SET payload = ? WHERE key = 'a'", (bytes(payload),))
        raw.execute("INSERT INTO cells SELECT 'c', kind, created, data, trial, code, '{', outcome, payload, 0 FROM cells WHERE key = 'b'")  # fmt: skip  # noqa: E501
    raw.close()
    with pytest.raises(DataError, match="cell a can't be read"):
        ledger.get("a")
    with pytest.raises(DataError, match="damaged"):
        ledger.get("c")
    assert ledger.get("b").arrays["x"].sum() == 4950.0


def test_a_folder_that_is_none_or_can_not_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkbenchError, match="can't be opened or made.*\n.*WORKBENCH_LEDGER"):
        Ledger(tmp_path / "file" / "ledger.sqlite")
    with pytest.raises(WorkbenchError, match="can't be opened or made"):
        Ledger(tmp_path)


def test_a_file_that_can_not_be_written(ledger):
    ledger.put("k", **PLAIN)
    real = ledger_module.sa.create_engine

    def read_only(url, connect_args, **kwargs):
        url = f"sqlite:///file:{ledger.path}?mode=ro&uri=true"
        return real(url, connect_args={**connect_args, "uri": True}, **kwargs)

    with pytest.MonkeyPatch.context() as patch:  # root may write to any file, so chmod would prove nothing
        patch.setattr(ledger_module.sa, "create_engine", read_only)
        locked = Ledger(ledger.path)
    assert locked.get("k") is not None
    with pytest.raises(WorkbenchError, match="can't be written to.*\n.*WORKBENCH_LEDGER"):
        locked.put("l", **PLAIN)


READ_ONLY = """
    import os, sqlite3, sys
    import sqlalchemy.dialects.sqlite.pysqlite
    from workbench.errors import WorkbenchError
    from workbench.ledger import Ledger
    if os.getuid() == 0:  # root may write anywhere
        os.setgroups([]); os.setgid(65534); os.setuid(65534)
    try:
        ledger = Ledger(sys.argv[1])
        print(ledger.get("k").outcome["ic"], len(ledger.rows()), ledger.trials("d"))
        ledger.put("l", kind="fold", data="d", trial="t", code="c", study={}, outcome={})
    except WorkbenchError as error:
        print(error)
"""


def test_a_ledger_in_a_folder_that_can_not_be_written_is_read():
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to other users
        path = Path(folder) / "a #1%20?.sqlite"
        Ledger(path).put("k", **{**PLAIN, "outcome": {"ic": 0.5}})
        path.chmod(0o444)
        Path(folder).chmod(0o555)
        said, errors = script(READ_ONLY, path)
        assert said.startswith("0.5 1 1\n"), errors
        assert "can't be written to" in said
        assert "WORKBENCH_LEDGER" in said
        Path(folder).chmod(0o755)
        Path(f"{path}-wal").write_bytes(b"what was put last")  # which reading without the log would miss
        Path(folder).chmod(0o555)
        said, errors = script(READ_ONLY, path)
        assert "-wal" in said, said + errors
        Path(folder).chmod(0o755)


def test_a_lock_that_is_held_too_long_is_an_error_and_a_short_one_is_waited_for(ledger, monkeypatch):
    raw = sqlite3.connect(ledger.path, isolation_level=None, check_same_thread=False)
    raw.execute("BEGIN IMMEDIATE")
    threading.Timer(0.3, raw.execute, ("ROLLBACK",)).start()
    assert ledger.put("a", **PLAIN)
    monkeypatch.setattr(ledger_module, "BUSY_SECONDS", 0.2)
    impatient = Ledger(ledger.path)
    raw.execute("BEGIN IMMEDIATE")
    with pytest.raises(WorkbenchError, match="was locked by another process"):
        impatient.put("b", **PLAIN)
    assert impatient.get("a") is not None  # readers don't wait
    raw.execute("ROLLBACK")
    raw.close()
    assert impatient.put("b", **PLAIN)


def test_a_full_disk_is_an_error_and_keeps_what_was_finished(ledger):
    ledger.put("before", **PLAIN)
    old_limit, old_handler = (
        resource.getrlimit(resource.RLIMIT_FSIZE),
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN),
    )
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, old_limit[1]))
        with pytest.raises(WorkbenchError, match="(disk is full|can't be read or written).*\n.*is kept"):
            ledger.put("big", **PLAIN, arrays={"x": np.random.default_rng(0).random(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old_limit)
        signal.signal(signal.SIGXFSZ, old_handler)
    assert ledger.get("big") is None
    assert ledger.get("before") is not None
    assert ledger.put("big", **PLAIN)


def test_a_database_that_may_not_grow_says_that_the_disk_is_full(ledger, monkeypatch):
    real = ledger._engine.connect

    def connect():
        connection = real()
        connection.exec_driver_sql("PRAGMA max_page_count=10")
        return connection

    monkeypatch.setattr(ledger._engine, "connect", connect)
    with pytest.raises(WorkbenchError, match="can't grow: the disk is full"):
        ledger.put("big", **PLAIN, arrays={"x": np.zeros(100_000)})


def test_threads_put_the_same_keys_and_each_is_new_once(ledger):
    new, errors = [], []

    def put():
        try:
            new.append(sum(ledger.put(f"k{i}", **PLAIN) for i in range(20)))
        except Exception as error:
            errors.append(error)

    jobs = [threading.Thread(target=put) for _ in range(4)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert not errors
    assert sum(new) == 20
    assert len(ledger) == 20


def test_processes_make_and_fill_one_ledger_together(tmp_path):
    text = """
        import sys
        from workbench.ledger import Ledger
        ledger = Ledger(sys.argv[1])
        plain = dict(kind="fold", data="d", trial="t", code="c", study={}, outcome={})
        print(sum(ledger.put(f"k{i}", **plain) for i in range(30)))
    """
    jobs = [script(text, tmp_path / "ledger.sqlite", wait=False) for _ in range(3)]
    said = [job.communicate(timeout=60) for job in jobs]
    assert not any(errors for _, errors in said), said
    assert sum(int(out) for out, _ in said) == 30
    assert len(Ledger(tmp_path / "ledger.sqlite")) == 30


def test_what_put_returned_for_survives_sigkill(tmp_path):
    text = """
        import sys
        from workbench.ledger import Ledger
        ledger = Ledger(sys.argv[1])
        for i in range(10_000):
            ledger.put(f"k{i}", kind="fold", data="d", trial="t", code="c", study={}, outcome={"i": i})
            print(i, flush=True)
    """
    path = tmp_path / "ledger.sqlite"
    job = script(text, path, wait=False)
    for _ in range(25):
        job.stdout.readline()
    job.kill()
    said = job.communicate(timeout=60)[0].split()
    last = int(said[-1]) if said else 24
    ledger = Ledger(path)
    assert [ledger.get(f"k{i}").outcome["i"] for i in range(last + 1)] == list(range(last + 1))
    with ledger._connected() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
    assert ledger.put("after", **PLAIN)


def test_a_copy_of_the_folder_is_a_ledger(ledger, tmp_path):
    ledger.put("k", **PLAIN)
    shutil.copy(ledger.path, tmp_path / "copy.sqlite")
    assert Ledger(tmp_path / "copy.sqlite").get("k") == ledger.get("k")
