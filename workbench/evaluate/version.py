"""What code a score comes from, as a hash: an edited model isn't answered with the results of the old one.

Whatever is hashed is hashed by its content, never by its address, so that the same definition gives the same
hash in every process. What comes with Python, or is installed, counts by its name and version; the rest by its
code: functions with their defaults, closures and the globals that they read, classes with their attributes.
"""

from __future__ import annotations

import dis
import hashlib
import importlib.metadata
import json
import sys
import sysconfig
from functools import cache, cached_property
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, MappingProxyType, MethodType, ModuleType

import numpy as np

from ..models import ModelSpec, models

PACKAGES = ("numpy", "scipy", "scikit-learn", "torch", "skorch", "statsmodels", "statsforecast", "linearmodels")
# of workbench: what is between a panel and a score
SOURCES = ("models/*.py", "evaluate/*.py", "labels.py", "panel/core.py", "indicators/cross.py", "kernels.py")
_INSTALLED = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
# what a class has by itself, or says without doing anything
_NO_CODE = {"__dict__", "__weakref__", "__module__", "__qualname__", "__doc__", "__annotations__", "__annotate__"}
_NO_CODE |= {"__abstractmethods__", "_abc_impl", "__firstlineno__", "__static_attributes__", "__annotate_func__"}
_NO_CODE |= {"__slotnames__"}  # that pickle leaves on a class


def digest(content) -> str:
    """sha256 of `content`, in JSON's terms."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@cache
def package_version() -> dict[str, str]:
    """The sources of workbench that a score comes from, as a hash, and the versions of what they stand on."""
    root = Path(__file__).parent.parent
    sources = hashlib.sha256()
    for pattern in SOURCES:
        for path in sorted(root.glob(pattern)):
            sources.update(path.name.encode() + b"\0" + path.read_bytes())
    # the kernels of the measures; those of features and labels show in the data
    sources.update(json.loads((root / "_ext" / "build.json").read_text())["kernels"]["cross"].encode())
    versions = {"workbench": sources.hexdigest()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "none"
    return versions


def code_version(spec: ModelSpec, estimator) -> str:
    """Hash of the code that makes the numbers of `spec`: its factory and the estimator that it has built.

    Not seen is what code reaches by other ways than a name: a file that it reads, an attribute that it looks
    up by a text, objects that can't be pickled (of them, only the class counts).
    """
    by = _Content()
    return digest([package_version(), by(models[spec.name].factory), by(estimator)])


def content(thing) -> str:
    """Hash of what a thing is: a class by its code, or by its name and version where it is installed."""
    return _Content()(thing)


class _Content:
    """Calls give the hash of a thing's content; one instance hashes what is shared or cyclic once."""

    def __init__(self):
        self._known: dict[int, tuple[object, str]] = {}  # with the things, so that no id is given twice

    def __call__(self, thing) -> str:
        if thing is None or (isinstance(thing, (bool, int, float, complex, str, bytes)) and _is_plain(thing)):
            return digest([type(thing).__name__, repr(thing)])
        if id(thing) not in self._known:
            self._known[id(thing)] = thing, f"cycle {len(self._known)}"
            self._known[id(thing)] = thing, digest([type(thing).__qualname__, self._parts(thing)])
        return self._known[id(thing)][1]

    def _parts(self, thing) -> object:
        for kinds, parts in (
            (type, self._class),
            (FunctionType, self._function),
            (CodeType, self._code),
            (ModuleType, self._module),
            ((tuple, list), lambda t: [self(type(t)), *map(self, t)]),
            ((set, frozenset), lambda t: sorted(map(self, t))),
            ((dict, MappingProxyType), lambda t: [[self(k), self(v)] for k, v in t.items()]),
            ((staticmethod, classmethod, MethodType), lambda t: [self(t.__func__), self(getattr(t, "__self__", None))]),
            (property, lambda t: [self(t.fget), self(t.fset), self(t.fdel)]),
            (cached_property, lambda t: self(t.func)),
            (np.ndarray, self._array),
        ):
            if isinstance(thing, kinds):
                return parts(thing)
        return self._object(thing)

    def _class(self, cls: type) -> object:
        name = f"{cls.__module__}.{cls.__qualname__}"
        if _installed(cls.__module__):
            return [name, _version_of(cls.__module__)]
        members = {key: self(value) for key, value in sorted(vars(cls).items()) if key not in _NO_CODE}
        return [name, members, [self(base) for base in cls.__bases__], self(type(cls))]

    def _function(self, function: FunctionType) -> object:
        # by the globals, not by __module__: functools.wraps gives a wrapper the module of what it wraps
        module = str(function.__globals__.get("__name__"))
        around = [self._cells(function), self(vars(function))]
        if _installed(module):
            return [module, _version_of(module), function.__code__.co_qualname, around]
        code = self(function.__code__)
        read = {name: self(function.__globals__[name]) for name in _reads(function) if name in function.__globals__}
        return [code, self(function.__defaults__), self(function.__kwdefaults__), around, read]

    def _cells(self, function: FunctionType) -> list[str]:
        found = []
        for cell in function.__closure__ or ():
            try:
                found.append(self(cell.cell_contents))
            except ValueError:  # a name that was never given a value
                found.append("empty")
        return found

    def _code(self, code: CodeType) -> object:
        """Without names of files, numbers of lines, and the flags of `__future__`."""
        arguments = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags & 0xFFFF
        names = code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars
        modules = [sys.modules[i.argval] for i in dis.get_instructions(code) if _imports(i)]
        constants = [self(constant) for constant in code.co_consts]
        return [
            code.co_code.hex(),
            arguments,
            names,
            constants,
            [self(m) for m in modules],
            code.co_exceptiontable.hex(),
        ]

    def _module(self, module: ModuleType) -> object:
        path = getattr(module, "__file__", None)
        if _installed(module.__name__):
            return [module.__name__, _version_of(module.__name__)]
        source = Path(path).read_bytes() if path and Path(path).is_file() else b""
        return [module.__name__, hashlib.sha256(source).hexdigest()]

    def _array(self, array: np.ndarray) -> object:
        content = self(array.tolist()) if array.dtype.hasobject else hashlib.sha256(array.tobytes()).hexdigest()
        return [array.dtype.str, array.shape, content]

    def _object(self, thing) -> object:
        """An estimator by its parameters, all else by what pickle would keep of it."""
        kind = self(type(thing))
        if hasattr(thing, "get_params"):
            try:
                return [kind, self(dict(sorted(thing.get_params(deep=False).items())))]
            except TypeError:  # an estimator that wants arguments of its own
                pass
        if hasattr(thing, "__wrapped__"):  # such as functools.cache, which pickles by name
            return [kind, self(thing.__wrapped__)]
        try:
            kept = thing.__reduce_ex__(4)
        except Exception as error:  # a lock, a file: pickle refuses in many ways
            return [kind, "not pickled", type(error).__name__]
        if isinstance(kept, str) or isinstance(thing, BuiltinFunctionType):
            return [kind, getattr(thing, "__module__", None), getattr(thing, "__qualname__", None) or kept]
        return [kind, [self(part if i < 3 else list(part or ())) for i, part in enumerate(kept)]]


def _is_plain(thing) -> bool:
    return type(thing).__module__ == "builtins"


def _reads(function: FunctionType) -> list[str]:
    """The names of globals that a function, or one within it, reads."""
    found, todo = set(), [function.__code__]
    while todo:
        code = todo.pop()
        found |= {i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
        todo += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return sorted(found)


def _imports(instruction: dis.Instruction) -> bool:
    return instruction.opname == "IMPORT_NAME" and instruction.argval in sys.modules


@cache
def _installed(module: str) -> bool:
    """Whether a module comes with Python, is installed, or is workbench's own, which is hashed whole."""
    root = module.split(".")[0]
    if root == "__main__":
        return False
    if root in sys.stdlib_module_names or root == __name__.split(".")[0]:
        return True
    path = getattr(sys.modules.get(root), "__file__", None)
    return path is not None and path.startswith(_INSTALLED)


def _version_of(module: str) -> str:
    return str(getattr(sys.modules.get(module.split(".")[0]), "__version__", ""))
