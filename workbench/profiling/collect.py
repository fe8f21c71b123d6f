"""What is profiled: a callable, the text of a cell or a script, all as one kind of work that every profiler runs."""

from __future__ import annotations

import ast
import asyncio
import builtins
import ctypes
import functools
import inspect
import linecache
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager, suppress
from importlib.util import decode_source
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from ..errors import ParameterError, UnknownNameError
from .result import Result
from .words import HOUSE, OWN, TYPED, kind_of


class Work:
    """Something to run, and what is known of it.

    Attributes
    ----------
    call : callable
        Runs it.
    title : str
    code : CodeType or None
        Of the function, the cell or the script itself.
    function : FunctionType or None
        That it is, where it is one.
    source : str or None
        The text of a cell, or of a script.
    variants : mapping of str to callable, or None
        Where it is several, for `compare`.
    namespace : dict
        The names that its code sees.
    keep : bool
        Whether an error that it raises is kept in the result rather than raised.
    """

    def __init__(
        self, call: Callable[[], Any], title: str, code: CodeType | None, namespace: dict, *, keep: bool = False
    ):
        self.call, self.title, self.code, self.namespace, self.keep = call, title, code, namespace, keep
        self.filename = ""
        self.function: FunctionType | None = None
        self.source: str | None = None
        self.variants: Mapping[str, Callable] | None = None
        self.flags = 0
        self.seconds = 0.0

    @classmethod
    def of(cls, what: Work | Callable | str, args: tuple = ()) -> Work:
        """The work that `what` is: a callable with its arguments, or the text of some code."""
        if isinstance(what, Work):
            return what
        if isinstance(what, Mapping) and what and all(map(callable, what.values())):
            work = cls(lambda: None, "variants", None, {})
            work.variants = what
            return work
        if isinstance(what, str) and not args:
            return cls.text(what, {"__name__": "__main__", "__builtins__": builtins}, TYPED, "code")
        if not callable(what):
            raise ParameterError(
                f"a {type(what).__name__} can't be profiled, expected a callable or the text of some code",
                hint="give the function and its arguments apart: profiling.time(f, x), not profiling.time(f(x))",
            )
        inner = inspect.unwrap(what.func if isinstance(what, functools.partial) else what)
        inner = getattr(inner, "__func__", inner)
        code = getattr(inner, "__code__", None)
        name = getattr(inner, "__qualname__", type(what).__name__)
        work = cls(functools.partial(what, *args), name, code, getattr(inner, "__globals__", {}))
        work.function = inner if isinstance(inner, FunctionType) else None
        return work

    @classmethod
    def text(cls, source: str, namespace: dict, filename: str, title: str, *, flags: int = 0, keep=False) -> Work:
        """The work that runs the text of a cell, or of a script, in `namespace`."""
        if filename.startswith("<"):
            linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
        work = cls(lambda: None, title, None, namespace, keep=keep)
        namespace.setdefault("__builtins__", builtins)  # as exec does: what imports in C, such as pickle, looks there
        work.source, work.filename, work.flags = source, filename, flags | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        work.code = work.compiled(source)

        # a function over the code of a module runs it with its globals as its names, as exec does
        def call():
            __tracebackhide__ = True
            return FunctionType(work.code, namespace)()

        work.call = call
        return work

    def compiled(self, source: str) -> CodeType:
        """A part of its text as code of the same file."""
        return compile(source, self.filename, "exec", flags=self.flags, dont_inherit=True)

    @property
    def is_async(self) -> bool:
        """Whether its code awaits something itself."""
        return self.code is not None and bool(self.code.co_flags & inspect.CO_COROUTINE)

    @classmethod
    def script(cls, path: str | Path, argv: Iterable[str] = ()) -> Work:
        """The work that runs a script as ``python path argv`` would."""
        path = Path(path)  # of text that Python can't read it raises SyntaxError or UnicodeDecodeError
        if not path.is_file():
            raise UnknownNameError.of("script", path.name, [p.name for p in path.parent.glob("*.py")])
        main = ModuleType("__main__")
        main.__file__ = str(path)
        source = decode_source(path.read_bytes())
        work = cls.text(source, main.__dict__, str(path.resolve()), path.name, keep=True)
        inner, words, folder = work.call, [str(path), *argv], str(path.resolve().parent)  # here, not while profiled

        def call():
            former = sys.argv, sys.modules.get("__main__"), sys.path[:]
            sys.argv, sys.modules["__main__"] = words, main
            sys.path.insert(0, folder)
            try:
                return inner()
            finally:
                sys.argv, sys.modules["__main__"], sys.path[:] = former

        work.call = call
        return work

    def run(self) -> BaseException | None:
        """Run it once; gives back the error that it ended by."""
        __tracebackhide__ = True
        begun = time.perf_counter()
        try:
            value = self.call()
            if self.is_async:
                awaited(value)
        except (Exception, KeyboardInterrupt, SystemExit) as error:
            return error
        finally:
            self.seconds = time.perf_counter() - begun
        return None

    def functions(self, named: Iterable[str] = ()) -> list[Callable]:
        """The functions whose lines are looked at: those that are named, and all that are defined beside the work.

        Beside a cell are the functions, and the methods of classes, that were defined in cells, and those that it
        calls by name, unless they are a library's; beside a script those of the script. A named one may stand
        anywhere: ``module.Class.method`` of what the names here reach.
        """
        found = [self.named(name) for name in named]
        if self.function is not None:
            found.append(self.function)
        if self.source is not None:
            found += [f for f in map(self.namespace.get, self.code.co_names) if _is_ours(f)]
        for value in list(self.namespace.values()):
            inside = vars(value).values() if inspect.isclass(value) else (value,)
            for one in inside:
                plain = one.fget if isinstance(one, property) else getattr(one, "__func__", one)
                plain = inspect.unwrap(plain) if callable(plain) else plain
                if isinstance(plain, FunctionType) and self._beside(plain.__code__.co_filename):
                    found.append(plain)
        return list(dict.fromkeys(found))

    def _beside(self, filename: str) -> bool:
        mine = self.code is not None and filename == self.code.co_filename
        return mine or (kind_of(filename) == OWN and not Path(filename).is_file())

    def named(self, name: str) -> Callable:
        """The function that a dotted name reaches from here."""
        first, *rest = name.split(".")
        if first not in self.namespace and not hasattr(builtins, first):
            raise UnknownNameError.of("function", first, [n for n in self.namespace if not n.startswith("_")])
        value = self.namespace.get(first, getattr(builtins, first, None))
        for part in rest:
            if not hasattr(value, part):
                raise UnknownNameError.of(f"name in {first}", part, [n for n in dir(value) if not n.startswith("_")])
            value = getattr(value, part)
        value = inspect.unwrap(getattr(value, "__func__", value)) if callable(value) else value
        if not isinstance(value, FunctionType):
            raise ParameterError(
                f"{name} is a {type(value).__name__}, expected a function written in Python",
                hint="compiled code has no lines that a profiler sees; %%wb_kernels shows kernels",
            )
        return value


def _is_ours(value: object) -> bool:
    return isinstance(value, FunctionType) and kind_of(value.__code__.co_filename) in (OWN, HOUSE)


def recoded(code: CodeType, change: Callable[[CodeType], CodeType]) -> CodeType:
    """`code` as `change` gives it back, which sees it and that of each function defined in it."""

    def inner(const):
        return recoded(const, change) if isinstance(const, CodeType) and not const.co_name.startswith("<") else const

    return change(code.replace(co_consts=tuple(map(inner, code.co_consts))))


@contextmanager
def in_threads(around: Callable[[], AbstractContextManager]) -> Iterator[None]:
    """Within this block each thread that is started runs inside a context of its own, from `around`."""
    original = threading.Thread.run

    def run(thread):
        with around():
            original(thread)

    threading.Thread.run = run
    try:
        yield
    finally:
        threading.Thread.run = original


class _Interrupts:
    """Those of a thread that waits for another, handed on to it."""

    here = threading.local()

    def __init__(self):
        self.sent, self.thread = 0, 0
        self.cancel: Callable[[], Any] | None = None  # what the other thread awaits

    def send(self) -> None:
        """As asyncio takes them: the first one cancels what is awaited, where something is; the others raise."""
        self.sent += 1
        cancel = self.cancel
        if cancel is None or self.sent > 1:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self.thread), ctypes.py_object(KeyboardInterrupt))
        if cancel is not None:
            with suppress(RuntimeError):  # the loop was closed since
                cancel()


def apart(call: Callable[[], Any]) -> Any:
    """What a call gives on a thread of its own, as the event loop of this one may be in use; interrupts reach it."""
    __tracebackhide__ = True
    interrupts = _Interrupts()

    def run():
        __tracebackhide__ = True
        _Interrupts.here.value, interrupts.thread = interrupts, threading.get_ident()
        return call()

    with ThreadPoolExecutor(1, thread_name_prefix="profiled") as pool:
        future = pool.submit(run)
        interrupted = False
        while not future.done():
            try:
                if interrupted:  # here, as the next one may come meanwhile
                    interrupted = False
                    interrupts.send()
                wait([future])
            except KeyboardInterrupt:
                interrupted = True
    return future.result()


def awaited(coroutine: Coroutine) -> Any:
    """What a coroutine gives, on an event loop of its own; one that an interrupt cancels ends by KeyboardInterrupt."""
    __tracebackhide__ = True
    interrupts = getattr(_Interrupts.here, "value", None) or _Interrupts()

    async def main():
        __tracebackhide__ = True
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        interrupts.cancel = lambda: loop.call_soon_threadsafe(task.cancel)
        try:
            return await coroutine
        finally:
            interrupts.cancel = None

    try:
        return asyncio.run(main())
    except asyncio.CancelledError as error:
        if not interrupts.sent:
            raise
        raise KeyboardInterrupt().with_traceback(error.__traceback__) from None


def collector(profile: Callable[..., Result]) -> Callable[..., Result]:
    """Let a profiler of a :class:`Work` take any callable with its arguments, or text.

    Work with an ``await`` of its own is run on a thread with an event loop, as the caller's may be in use.
    """

    @functools.wraps(profile)
    def public(work, *args, **options):
        work = Work.of(work, args)
        run = functools.partial(profile, work, **options)
        result = apart(run) if work.is_async else run()
        if result.error is not None and not work.keep:
            raise result.error
        return result

    return public
