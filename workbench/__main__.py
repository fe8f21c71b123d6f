"""``python -m workbench lab | new | report | profile | install | doctor``: the same as the Makefile's, by hand."""

from __future__ import annotations

import argparse
import importlib.metadata
import signal
import sys
from pathlib import Path

from . import install, templates
from .errors import ParameterError, WorkbenchError

TOUR = Path("notebooks") / "00_tour.ipynb"


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(prog="python -m workbench", description=__doc__.partition(":")[2].strip())
    top.add_argument("--version", action="store_true", help="print the version and stop")
    commands = top.add_subparsers(dest="command", metavar="command")
    commands.add_parser(
        "lab",
        help="open JupyterLab on a notebook, with the workbench kernel",
        usage="python -m workbench lab [-h] [notebook] [options of JupyterLab]",
        description=f"The notebook is {TOUR} by default, where there is one.",
        epilog="every other option is handed to JupyterLab: --no-browser, --port 9999",
    )
    report = commands.add_parser("report", help="run a notebook, or a folder of them, into offline HTML files")
    report.add_argument("notebook", help="the notebook to run, which is not changed; or a folder of notebooks")
    report.add_argument(
        "-o", "--output", help="the file to write, by default reports/NAME.html; for a folder the folder to write to"
    )
    report.add_argument(
        "-p",
        "--parameter",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter for the notebook, by papermill's convention: its cell tagged `parameters` has the names",
    )
    report.add_argument("--no-code", action="store_true", help="leave the code out of the page")
    report.add_argument("--theme", default="auto", help="that the page opens in: light, dark or auto, the reader's own")
    report.add_argument("-q", "--quiet", action="store_true", help="show no progress bar")
    new = commands.add_parser("new", help="write a new notebook from a template")
    new.add_argument("template", help="what it is to be: study")
    new.add_argument("name", help="of the notebook: momentum, or studies/momentum")
    profile = commands.add_parser("profile", help="run a script, and say where its time or its memory goes")
    profile.add_argument("script", help="the script; what follows it are its arguments")
    profile.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    way = profile.add_mutually_exclusive_group()
    way.add_argument("--lines", action="store_const", const="lines", dest="way", help="by line")
    way.add_argument("--memory", action="store_const", const="memory", dest="way", help="its peak and its growth")
    profile.add_argument("--top", type=rows, default=20, help="rows that are shown, 20 by default")
    profile.add_argument("--save", metavar="FILE", help="write it too: .html or .json, whole or not at all")
    kernel = commands.add_parser("install", help="write the kernelspec that notebooks start from")
    where = kernel.add_mutually_exclusive_group()
    where.add_argument("--user", action="store_true", help="for every JupyterLab of this user")
    where.add_argument("--prefix", help="into PREFIX/share/jupyter; by default into this environment")
    commands.add_parser("doctor", help="say what is installed, what is missing and how to get it")
    return top


def split(words: list[str]) -> tuple[str | None, list[str]]:
    """The notebook among the words after ``lab``, and what is JupyterLab's.

    A word that follows an option is that option's value, as in ``--port 9999``, unless it ends in .ipynb.
    """
    for i, word in enumerate(words):
        value = i > 0 and words[i - 1].startswith("-") and "=" not in words[i - 1]
        if not word.startswith("-") and (word.endswith(".ipynb") or not value):
            return word, words[:i] + words[i + 1 :]
    return None, words


def pair(word: str) -> tuple[str, str]:
    """Name and value of a parameter that was given as NAME=VALUE."""
    name, equals, value = word.partition("=")
    if not (equals and name.strip().isidentifier()):
        raise ParameterError(f"-p {word}: expected NAME=VALUE", hint="as in -p horizon=10")
    return name.strip(), value


def rows(word: str) -> int:
    """How many rows to show."""
    if not word.isdecimal():
        raise argparse.ArgumentTypeError(f"found {word!r}, expected a whole number")
    return int(word)


def stop(number: int, frame: object) -> None:
    """End in good order on SIGTERM: the kernel is shut down, and temporary files go."""
    raise SystemExit(128 + number)


def run(arguments: argparse.Namespace, others: list[str]) -> int:
    """Carry out one command; gives back the exit code."""
    if arguments.version:
        print(importlib.metadata.version("workbench"))
    elif arguments.command == "lab":
        notebook, options = split(others)
        install.lab(notebook or (TOUR if TOUR.is_file() else None), options)
    elif arguments.command == "report":
        from .report.export import report

        look = {"code": not arguments.no_code, "theme": arguments.theme}
        given = dict(map(pair, arguments.parameter))
        print(report(arguments.notebook, arguments.output, parameters=given, progress=not arguments.quiet, **look))
    elif arguments.command == "new":
        print(templates.write(arguments.template, arguments.name))
    elif arguments.command == "profile":
        from .profiling.script import profile

        way = arguments.way or "time"
        return profile(arguments.script, arguments.arguments, way=way, top=arguments.top, save=arguments.save)
    elif arguments.command == "install":
        folder = install.install_kernelspec(user=arguments.user, prefix=arguments.prefix)
        print(f"kernelspec written to {folder}")
        print(
            f"card of the launcher written to {install.install_launcher(user=arguments.user, prefix=arguments.prefix)}"
        )
    elif arguments.command == "doctor":
        findings = install.doctor()
        print(install.table(findings))
        return int(any(f.required and not f.ok for f in findings))
    else:
        parser().print_help()
        return 2
    return 0


def main(argv: list[str] | None = None) -> int:
    """Parse `argv` and run it: 0 when it worked, 1 when workbench refused, 2 when the call was wrong, 130 on Ctrl-C."""
    arguments, others = parser().parse_known_args(argv)
    if others and arguments.command != "lab":
        parser().error(f"unrecognized arguments: {' '.join(others)}")
    former = signal.signal(signal.SIGTERM, stop) if arguments.command == "report" else None
    try:
        return run(arguments, others)
    except WorkbenchError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped by Ctrl-C", file=sys.stderr)
        return 130
    finally:
        if former is not None:
            signal.signal(signal.SIGTERM, former)


if __name__ == "__main__":
    sys.exit(main())
