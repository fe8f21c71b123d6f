"""The magics: thin views of `workbench.profiling` for IPython. Nothing heavy is imported before one of them is called.

Each takes the same options first, ``-o NAME -q -r --top N --save FILE``, and shows an object that can be kept.
"""

from __future__ import annotations

import keyword
import re
import shlex
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from .errors import ParameterError, UnknownNameError


class Option(NamedTuple):
    """An option of a magic: `keyword` is what the profiler calls it, `read` makes its value of a word."""

    names: tuple[str, ...]
    keyword: str
    read: Callable[[str], Any] | None  # None: a flag
    doc: str
    several: bool = False

    @property
    def usage(self) -> str:
        return ", ".join(self.names) + (f" {self.keyword.upper()}" if self.read else "")


def whole_number(word: str) -> int:
    number = int(word)
    if number < 0:
        raise ValueError(word)
    return number


def threshold(word: str) -> tuple[int, ...]:
    numbers = tuple(whole_number(part) for part in word.split(","))
    if len(numbers) != 3:
        raise ValueError(word)
    return numbers


_EXPECTED = {whole_number: "a whole number", threshold: "three whole numbers such as 10000,20,20", str: "a word"}
COMMON = (
    Option(("-o",), "name", str, "bind the profile to NAME"),
    Option(("-q",), "quiet", None, "show nothing"),
    Option(("-r",), "give", None, "return the profile, instead of showing it"),
    Option(("--top",), "top", whole_number, "rows that are shown, 20 by default"),
    Option(("--save",), "save", str, "write it to SAVE: .html or .json, whole or not at all"),
)
_FUNCTIONS = Option(
    ("-f",), "functions", str, "look into this function too, as wb.Recipe.compute; may be repeated", True
)


class Magic(NamedTuple):
    """A magic: the profiler that it calls, what it is for, and the options of its own."""

    profiler: str
    doc: str
    options: tuple[Option, ...] = ()
    line: bool = True
    cell: bool = True


MAGICS = {
    "wb_time": Magic(
        "time",
        "Where the time goes by function: calls and times as pstats has them, and a flame graph.",
        (Option(("-s", "--sort"), "sort", str, "by tottime (default), cumtime, ncalls or percall"),),
    ),
    "wb_lines": Magic(
        "lines",
        "Where the time goes by line: of the code itself, of functions defined in cells, and of those named by -f.",
        (_FUNCTIONS,),
    ),
    "wb_memory": Magic(
        "memory",
        "The true peak and the growth of memory; by line and by allocation where asked.",
        (
            Option(("-l", "--lines"), "lines", None, "by line too, functions defined in cells included"),
            Option(("-a", "--allocations"), "allocations", None, "what is still held, by the line that allocated it"),
            _FUNCTIONS,
        ),
    ),
    "wb_leaks": Magic(
        "leaks",
        "Runs the code several times, and names the lines and the types that grow each time.",
        (
            Option(("--runs",), "runs", whole_number, "runs that are looked at, 5 by default"),
            Option(("--warmup",), "warmup", whole_number, "runs before them, 2 by default"),
        ),
    ),
    "wb_gc": Magic(
        "collection",
        "What garbage collection costs here, and what other thresholds, freezing or none would change.",
        (
            Option(("--rounds",), "rounds", whole_number, "runs under each setting, in turns; 3 by default"),
            Option(("--threshold",), "settings", threshold, "thresholds to try, as 10000,20,20; may be repeated", True),
        ),
    ),
    "wb_sizes": Magic(
        "sizes",
        "The true sizes of the objects of the notebook, or of those that are named, and cheaper forms of them.",
        (Option(("--plain",), "plain", None, "without looking for cheaper forms"),),
        cell=False,
    ),
    "wb_kernels": Magic(
        "kernels",
        "The timeline of compiled kernels by thread: how they overlapped, which let go of the GIL, rows a second.",
        (Option(("--ring",), "ring", whole_number, "calls that are kept, 524288 by default"),),
    ),
    "wb_compare": Magic(
        "compare",
        "Variants side by side: parts after `# variant: name` lines; or `task(item)` over `items`, both defined in the "
        "cell, one after another, on threads, on processes and on an event loop. What stands before the first mark is "
        "run once, untimed.",
        (
            Option(("--rounds",), "rounds", whole_number, "runs of each variant, in turns; 3 by default"),
            Option(("--workers",), "workers", whole_number, "threads or processes, one a CPU by default"),
        ),
        line=False,
    ),
    "wb_study": Magic("study", "Where the time of a study went: by feature, model and fold, with the kernels in it."),
}

_WORD = re.compile(r"\s*(\"[^\"]*\"|'[^']*'|\S+)")


def parse(magic: str, line: str) -> tuple[dict[str, Any], str]:
    """The options at the head of `line`, by keyword, and what follows them.

    Raises
    ------
    UnknownNameError
        No such option; says which one was meant.
    ParameterError
        A value that is missing, or of the wrong kind.
    """
    known = {name: option for option in (*COMMON, *MAGICS[magic].options) for name in option.names}
    values: dict[str, Any] = {}
    rest = line
    while (match := _WORD.match(rest)) is not None and match[1].startswith("-"):
        word, rest = match[1], rest[match.end() :]
        if word == "--":
            break
        flags = [f"-{letter}" for letter in word[1:]]
        if not word.startswith("--") and len(flags) > 1 and all(f in known and known[f].read is None for f in flags):
            values |= {known[f].keyword: True for f in flags}
            continue
        word, equals, given = word.partition("=")
        if word not in known:
            error = UnknownNameError.of(f"option of {magic}", word, known)
            error.hint += "; code that begins with a minus goes after --"
            raise error
        option = known[word]
        if option.read is None:
            values[option.keyword] = True
            continue
        if not equals:
            match = _WORD.match(rest)
            given, rest = (match[1], rest[match.end() :]) if match else ("", rest)
        value = _value(magic, word, option, given)
        values[option.keyword] = [*values.get(option.keyword, []), value] if option.several else value
    return values, rest.strip()


def _value(magic: str, word: str, option: Option, given: str) -> Any:
    given = "".join(shlex.split(given)) if given[:1] in "\"'" else given
    try:
        if not given:
            raise ValueError
        return option.read(given)
    except ValueError:
        found = f"found {given!r}" if given else "found nothing"
        raise ParameterError(
            f"{magic} {word}: {found}, expected {_EXPECTED[option.read]}", hint=f"{option.usage}: {option.doc}"
        ) from None


class Call:
    """One magic in one shell."""

    def __init__(self, shell, name: str):
        self.shell, self.name, self.magic = shell, name, MAGICS[name]

    def __call__(self, line: str, cell: str | None = None):
        __tracebackhide__ = True  # an error is shown as the user's own
        from .profiling.result import checked_target

        values, rest = parse(self.name, line)
        name, save = values.pop("name", None), values.pop("save", None)
        quiet, give = values.pop("quiet", False), values.pop("give", False)
        if name is not None and (not name.isidentifier() or keyword.iskeyword(name)):
            raise ParameterError(f"{self.name} -o {name}: expected a name")
        if save is not None:
            checked_target(save)  # before anything runs
        result = self.profile(values, rest, cell)
        if name is not None:
            self.shell.user_ns[name] = result
        if save is not None:
            result.save(save)
        if not quiet and not give:
            from IPython.display import display

            display(result)
        if result.error is not None:
            raise result.error
        return result if give else None

    def profile(self, values: dict[str, Any], rest: str, cell: str | None):
        from . import profiling
        from .profiling import words

        words.cell_label = label_in(self.shell)
        profiler = getattr(profiling, self.magic.profiler)
        if self.name == "wb_sizes":
            suggest = not values.pop("plain", False)
            return profiler(self.shell.user_ns, rest.replace(",", " ").split(), suggest=suggest, **values)
        if cell is not None and rest:
            raise ParameterError(
                f"%%{self.name} got {rest!r} on its first line, expected options only",
                hint="put code into the lines below",
            )
        source = rest if cell is None else cell
        if not source.strip():
            raise ParameterError(f"{self.name} got no code", hint=f"%{self.name} f(x), or %%{self.name} above a cell")
        return profiler(self.work(source, cell is None), **values)

    def work(self, source: str, is_line: bool):
        """The text as work in the user's namespace, under the name that IPython gives a cell."""
        from .profiling import words
        from .profiling.collect import Work

        shell = self.shell
        code = shell.transform_cell(source)
        number = running(words.cell_label) or shell.execution_count
        filename = shell.compile.cache(code, number, raw_code=source)
        title = source if is_line else f"In [{number}]"
        title = title if len(title) <= 80 else title[:79] + "…"
        return Work.text(code, shell.user_ns, filename, title, flags=shell.compile.flags, keep=True)


def running(label: Callable[[str], str | None]) -> int | None:
    """The number of the cell that is running, by the frames: IPython may be counting the next one already."""
    frame = sys._getframe()
    while frame is not None:
        found = label(frame.f_code.co_filename)
        if found is not None and (number := re.search(r"\d+", found)):
            return int(number[0])
        frame = frame.f_back
    return None


def document(name: str) -> str:
    """The help of a magic, from the table."""
    magic = MAGICS[name]
    usages = [f"    %{name} [options] {'[names]' if name == 'wb_sizes' else 'code'}"] if magic.line else []
    usages += [f"    %%{name} [options]"] if magic.cell else []
    options = [*magic.options, *COMMON]
    width = max(len(o.usage) for o in options)
    lines = [f"    {o.usage.ljust(width)}  {o.doc}" for o in options]
    called = "The same from Python: workbench.profiling." + magic.profiler
    return "\n".join([magic.doc, "", "Usage:", *usages, "", "Options:", *lines, "", called])


def load(shell) -> None:
    """Register all magics in an IPython `shell`."""
    for name, magic in MAGICS.items():
        call = Call(shell, name)

        def function(line: str, cell: str | None = None, call: Call = call):
            __tracebackhide__ = True
            return call(line, cell)

        kind = "line_cell" if magic.line and magic.cell else "line" if magic.line else "cell"
        function.__doc__, function.__name__ = document(name), name
        shell.register_magic_function(function, kind, name)


def label_in(shell) -> Callable[[str], str | None]:
    """From the file name of a cell of `shell` to what it is called there: "In [5]"."""

    def label(filename: str) -> str | None:
        found = shell.compile.format_code_name(filename)
        return None if found is None else found[1].replace("[", " [")

    return label
