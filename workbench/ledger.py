"""What was tried, on which data, with which outcome: one row a unit of work, kept in SQLite.

The ledger holds each key once. Whoever finishes first wins: a second result for the same key is dropped, so
that every executor may deliver twice and a killed run may be run again. Each `put` is one transaction of its
own, synced to disk (``synchronous=FULL`` on a write-ahead log) before it returns: what was finished survives
SIGKILL and a power cut, and readers never wait for a writer. The few milliseconds that a sync costs are
little beside a fit.

A connection is opened for each call and closed after it: nothing is shared between threads or processes, a
fork can't inherit one, and no file stays open.
"""

from __future__ import annotations

import io
import json
import os
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import quote

import numpy as np
import pandas as pd
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import CreateTable

from .errors import DataError, ParameterError, WorkbenchError

DEFAULT_URL = "sqlite:///.workbench/ledger.sqlite"
BUSY_SECONDS = 60.0  # how long a writer waits for another

_read: dict[Path, dict[str, None]] = {}

_metadata = sa.MetaData()
_cells = sa.Table(
    "cells",
    _metadata,
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("created", sa.String, nullable=False),  # UTC, ISO 8601, so that it sorts on every database
    sa.Column("data", sa.String, nullable=False, index=True),
    sa.Column("trial", sa.String, nullable=False),
    sa.Column("code", sa.String, nullable=False),
    sa.Column("study", sa.JSON, nullable=False),
    sa.Column("outcome", sa.JSON, nullable=False),
    sa.Column("payload", sa.LargeBinary),
    sa.Column("seconds", sa.Float, nullable=False),
)

# by the first part of SQLite's name of the error: what it means to the reader, and what to do
_TROUBLE = {
    "SQLITE_NOTADB": (DataError, "is not a database", "give the ledger another path, or move that file away"),
    "SQLITE_CORRUPT": (
        DataError,
        "is damaged",
        "move the file away (`sqlite3 FILE .recover` may save its rows) and run again",
    ),
    "SQLITE_BUSY": (
        WorkbenchError,
        f"was locked by another process for {BUSY_SECONDS:g} s",
        "find who holds it open in a transaction, end that, and run again; what was finished is kept",
    ),
    "SQLITE_READONLY": (WorkbenchError, "can't be written to", "set WORKBENCH_LEDGER to a path that can be"),
    "SQLITE_CANTOPEN": (
        WorkbenchError,
        "can't be opened or made",
        "set WORKBENCH_LEDGER to a path in a folder that can be written to; to read a ledger there, end what "
        "writes to it first, so that no -wal file is left, or copy it",
    ),
    "SQLITE_FULL": (
        WorkbenchError,
        "can't grow: the disk is full",
        "make room and run again; what was finished before is kept",
    ),
    "SQLITE_IOERR": (
        WorkbenchError,
        "can't be read or written",
        "look for a full or failing disk; what was finished before is kept",
    ),
}


class Cell(NamedTuple):
    """One row of the ledger: a unit of work that was finished.

    Attributes
    ----------
    key : str
        What identifies the work; no two rows share it.
    kind : str
        "fold", for one.
    created : datetime
        UTC, when it was put.
    data : str
        Fingerprint of what it was tried on.
    trial : str
        What was tried: rows that differ only in the part of the data they were evaluated on share it. Empty
        for what is no trial, such as a baseline.
    code : str
        Version of the code that computed it.
    study, outcome : dict
        What was asked and what came out.
    arrays : mapping of str to ndarray
        The larger results.
    seconds : float
        That it took to compute.
    """

    key: str
    kind: str
    created: datetime
    data: str
    trial: str
    code: str
    study: dict
    outcome: dict
    arrays: Mapping[str, np.ndarray]
    seconds: float


class Ledger:
    """The ledger at a URL, opened (and made, where it is missing) at once.

    Parameters
    ----------
    url : str or Path, optional
        ``sqlite:///relative/path``, ``sqlite:////absolute/path`` or a plain path. Default: the environment
        variable WORKBENCH_LEDGER, else ``.workbench/ledger.sqlite`` in the working folder.

    Raises
    ------
    ParameterError
        The URL is not one of a SQLite file.
    DataError
        The file is damaged, or no ledger.
    WorkbenchError
        The file can't be opened, made or written, or is locked.
    """

    def __init__(self, url: str | os.PathLike | None = None):
        self.path = _path(url if url is not None else os.environ.get("WORKBENCH_LEDGER") or DEFAULT_URL)
        self._prepare()

    def _prepare(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            _, said, hint = _TROUBLE["SQLITE_CANTOPEN"]
            raise WorkbenchError(f"the ledger {self.path} {said}: {error}", hint=hint) from error
        self._engine = _engine(sa.URL.create("sqlite", database=str(self.path)))
        try:
            found = self._columns()
        except WorkbenchError as error:
            if not self._is_whole() or not _name(error.__cause__).startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY")):
                raise
            # a log can't be opened where nothing can be written: read the file as one that no one changes
            query = {"mode": "ro", "immutable": "1", "uri": "true"}
            self._engine = _engine(sa.URL.create("sqlite", database=f"file:{quote(str(self.path))}", query=query))
            found = self._columns()
        if found is None:
            self._make()
        elif found != set(_cells.columns.keys()):
            odd = ", ".join(sorted(found ^ set(_cells.columns.keys())))
            raise DataError(
                f"{self.path} holds a table `cells` that is not a ledger's: the columns {odd} differ",
                hint="give the ledger another path: Ledger(path) or WORKBENCH_LEDGER",
            )

    def _columns(self) -> set[str] | None:
        """The names of the table's columns, or None without a table."""
        with self._connected() as connection:
            look = sa.inspect(connection)
            return {c["name"] for c in look.get_columns("cells")} if look.has_table("cells") else None

    def _is_whole(self) -> bool:
        """Whether the file is there and holds all that was put, so that nothing stands in the log alone."""
        log = Path(f"{self.path}-wal")
        try:
            return self.path.is_file() and os.access(self.path, os.R_OK) and not (log.exists() and log.stat().st_size)
        except OSError:
            return False

    def _make(self) -> None:
        """Make the table, whatever other processes do the same at this moment."""
        until = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                with self._connected() as connection:
                    connection.exec_driver_sql("PRAGMA journal_mode=WAL")
                    connection.execute(CreateTable(_cells, if_not_exists=True))
                    for index in _cells.indexes:
                        connection.execute(sa.schema.CreateIndex(index, if_not_exists=True))
                    connection.commit()
                return
            except WorkbenchError as error:
                # SQLite doesn't wait by itself for the lock that turns the write-ahead log on
                if not _name(error.__cause__).startswith("SQLITE_BUSY") or time.monotonic() > until:
                    raise
                time.sleep(0.02)

    @contextmanager
    def _connected(self):
        try:
            with self._engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA synchronous=FULL")
                yield connection
        except DBAPIError as error:
            name = _name(error)
            kind, said, hint = next(
                (trouble for start, trouble in _TROUBLE.items() if name.startswith(start)),
                (WorkbenchError, "failed", "see the cause above"),
            )
            raise kind(f"the ledger {self.path} {said} ({error.orig})", hint=hint) from error
        except json.JSONDecodeError as error:
            kind, said, hint = _TROUBLE["SQLITE_CORRUPT"]
            raise kind(f"the ledger {self.path} {said} ({error})", hint=hint) from error

    def __repr__(self) -> str:
        return f"Ledger({str(self.path)!r})"

    def __reduce__(self):
        return Ledger, (str(self.path),)

    def __len__(self) -> int:
        with self._connected() as connection:
            return connection.scalar(sa.select(sa.func.count()).select_from(_cells))

    def __bool__(self) -> bool:
        return True  # an empty ledger is a ledger

    def put(
        self,
        key: str,
        *,
        kind: str,
        data: str,
        trial: str,
        code: str,
        study: Mapping,
        outcome: Mapping,
        arrays: Mapping[str, np.ndarray] | None = None,
        seconds: float = 0.0,
    ) -> bool:
        """Keep one finished unit of work; on disk when this returns.

        Parameters
        ----------
        key, kind, data, trial, code, study, outcome, seconds
            As in `Cell`; `study` and `outcome` hold JSON without NaN.
        arrays : mapping of str to ndarray, optional
            Numbers, not objects.

        Returns
        -------
        bool
            True if the key was new; False if it stood there already, and then nothing is changed.
        """
        cell = {"key": key, "kind": kind, "data": data, "trial": trial, "code": code, "study": study}
        return self.put_many([{**cell, "outcome": outcome, "arrays": arrays, "seconds": seconds}]) == 1

    def put_many(self, cells: Iterable[Mapping]) -> int:
        """Keep several finished units of work in one transaction: all of them are on disk when this returns.

        Parameters
        ----------
        cells : iterable of mapping
            Each with the parameters of `put` as its entries.

        Returns
        -------
        int
            How many of their keys were new.
        """
        rows = [_row(cell) for cell in cells]
        if not rows:
            return 0
        with self._connected() as connection:
            new = connection.execute(insert(_cells).on_conflict_do_nothing(), rows).rowcount
            connection.commit()
        return new

    def get(self, key: str) -> Cell | None:
        """The cell of `key`, or None."""
        return self.get_many([key]).get(key)

    def get_many(self, keys: Iterable[str]) -> dict[str, Cell]:
        """The cells of those of the `keys` that are in the ledger."""
        found = {}
        with self._connected() as connection:
            for some in _batches(keys):
                chosen = sa.select(_cells).where(_cells.c.key.in_(some))
                for row in connection.execute(chosen).mappings():
                    found[row["key"]] = self._cell(row)
        _read.setdefault(self.path, {}).update(dict.fromkeys(found))
        return found

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Those of the `keys` that are not in the ledger, in their order."""
        keys, found = list(keys), set()
        with self._connected() as connection:
            for some in _batches(keys):
                chosen = sa.select(_cells.c.key).where(_cells.c.key.in_(some))
                found.update(connection.execute(chosen).scalars())
        return [key for key in keys if key not in found]

    def rows(
        self, *, kind: str | None = None, data: str | None = None, keys: Iterable[str] | None = None
    ) -> pd.DataFrame:
        """The ledger as a table, oldest first; all columns but the arrays.

        Parameters
        ----------
        kind, data : str, optional
            Only the rows with this kind, this data.
        keys : iterable of str, optional
            Only the rows of these cells, those of them that are there.
        """
        columns = [column for column in _cells.columns if column.name != "payload"]
        query = sa.select(*columns).order_by(_cells.c.created, _cells.c.key)
        for column, value in ((_cells.c.kind, kind), (_cells.c.data, data)):
            query = query if value is None else query.where(column == value)
        queries = [query] if keys is None else [query.where(_cells.c.key.in_(some)) for some in _batches(keys)]
        with self._connected() as connection:
            found = [row for query in queries for row in connection.execute(query)]
        frame = pd.DataFrame(found, columns=[column.name for column in columns])
        frame = frame if keys is None else frame.sort_values(["created", "key"], ignore_index=True)
        frame["created"] = pd.to_datetime(frame["created"], utc=True, format="ISO8601")
        return frame

    def trials(self, data: str) -> int:
        """How many distinct trials have a cell on `data`; an empty trial (a baseline's) is none."""
        query = sa.select(sa.func.count(sa.distinct(_cells.c.trial)))
        query = query.where(_cells.c.data == data, _cells.c.trial != "")
        with self._connected() as connection:
            return connection.scalar(query)

    def _cell(self, row: Mapping) -> Cell:
        try:
            arrays = _unpacked(row["payload"])
        except (zipfile.BadZipFile, ValueError, KeyError, EOFError, OSError, TypeError) as error:
            raise DataError(
                f"the ledger {self.path} is damaged: cell {row['key'][:12]} can't be read ({error})",
                hint=f"delete that row (DELETE FROM cells WHERE key = '{row['key']}') and run again",
            ) from error
        rest = {name: value for name, value in row.items() if name != "payload"}
        return Cell(**{**rest, "created": datetime.fromisoformat(row["created"]), "arrays": arrays})


def read_here() -> dict[Path, list[str]]:
    """The keys of the cells that this process has read, by the file of their ledger, in the order of reading.

    Every walk reads its cells, whoever computed them: so this is what the numbers of a session stand on.
    """
    return {path: [*keys] for path, keys in _read.items() if keys}


def _batches(keys: Iterable[str]) -> Iterator[list[str]]:
    """SQLite bounds the variables of a statement."""
    keys = iter(keys)
    while some := list(islice(keys, 500)):
        yield some


def _row(cell: Mapping) -> dict:
    """A cell as a row of the table."""
    row = {
        **{name: cell[name] for name in ("key", "kind", "data", "trial", "code")},
        "created": datetime.now(UTC).isoformat(timespec="microseconds"),
        "study": dict(cell["study"]),
        "outcome": dict(cell["outcome"]),
        "payload": _packed(cell.get("arrays") or {}),
        "seconds": float(cell.get("seconds", 0.0)),
    }
    try:
        json.dumps([row["study"], row["outcome"]], allow_nan=False)
    except (ValueError, TypeError) as error:
        raise ParameterError(
            f"cell {row['key'][:12]}: study and outcome must be JSON: {error}", hint="NaN becomes None"
        ) from None
    return row


def _engine(url: sa.URL) -> sa.Engine:
    return sa.create_engine(
        url,
        poolclass=NullPool,
        connect_args={"timeout": BUSY_SECONDS},
        json_serializer=lambda value: json.dumps(value, allow_nan=False, sort_keys=True),
    )


def _path(url: str | os.PathLike) -> Path:
    """The absolute path of the SQLite file that `url` names."""
    if isinstance(url, str) and "://" in url:
        try:
            parsed = sa.make_url(url)
        except ArgumentError as error:
            raise ParameterError(f"{url!r} is not a URL of a ledger: {error}", hint=f"as in {DEFAULT_URL!r}") from None
        if parsed.get_backend_name() != "sqlite" or parsed.query:
            raise ParameterError(
                f"{url!r}: the ledger is kept in a SQLite file, found {parsed.drivername!r}",
                hint=f"as in {DEFAULT_URL!r}",
            )
        url = parsed.database or ":memory:"
    if not isinstance(url, (str, os.PathLike)) or str(url) in ("", ":memory:"):
        raise ParameterError(
            f"{url!r} is not a path of a ledger; one in memory would be lost", hint=f"as in {DEFAULT_URL!r}"
        )
    return Path(url).expanduser().absolute()


def _name(error: BaseException | None) -> str:
    """SQLite's name of an error, such as SQLITE_BUSY_SNAPSHOT; empty for what isn't SQLite's."""
    return getattr(getattr(error, "orig", None), "sqlite_errorname", None) or ""


def _packed(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The arrays as the bytes of an npz file; the same arrays give the same bytes."""
    for name, array in arrays.items():
        if np.asarray(array).dtype.hasobject:
            raise ParameterError(f"array {name!r} holds Python objects, expected numbers", hint="array.astype(float)")
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _unpacked(payload: bytes) -> Mapping[str, np.ndarray]:
    # as np.load does, but each array at one go: of small ones it reads a bit at a time
    with zipfile.ZipFile(io.BytesIO(payload)) as stored:
        arrays = {
            name.removesuffix(".npy"): np.lib.format.read_array(io.BytesIO(stored.read(name)), allow_pickle=False)
            for name in stored.namelist()
        }
    return MappingProxyType(arrays)
