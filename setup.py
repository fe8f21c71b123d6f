"""Builds the kernels in ext/ into workbench/_ext/; everything else stands in pyproject.toml.

WORKBENCH_MARCH=x86-64-v3   builds for that CPU instead of this one (``portable``: the plain baseline)
WORKBENCH_CHECKED=1         builds with bounds checks, and with little optimisation: for the tests
"""

import json
import os
import platform
from hashlib import sha256
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

CHECKED = os.environ.get("WORKBENCH_CHECKED") == "1"
MARCH = os.environ.get("WORKBENCH_MARCH", "native")

# No -ffast-math (NaN is tested by x == x), and FMA only where it is written: the same bits on every CPU and walk.
# Jump threading turns the selects on NaN into branches before the vectoriser sees them (GCC 12), which a loop over
# sixteen lanes reaches only if it is not unrolled at once.
flags = [
    "-O1" if CHECKED else "-O3",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-thread-jumps",
    "--param=max-completely-peel-times=8",
]
if MARCH != "portable" and platform.machine() in ("x86_64", "AMD64"):
    flags += [f"-march={MARCH}", "-mprefer-vector-width=512"]

directives = {
    "language_level": 3,
    "boundscheck": CHECKED,
    "wraparound": False,
    "initializedcheck": CHECKED,
    "cdivision": True,
    "freethreading_compatible": True,
    "embedsignature": True,
    "show_performance_hints": not CHECKED,
}

extensions = [
    Extension(
        f"workbench._ext.{path.stem}",
        [f"ext/{path.name}"],
        depends=["ext/common.pxd"],
        include_dirs=[numpy.get_include()],
        extra_compile_args=flags,
        # A walk is inlined twice, so that a single series keeps its state in registers.
        define_macros=[("CYTHON_INLINE", "inline __attribute__((always_inline))")],
    )
    for path in sorted(Path("ext").glob("*.pyx"))
]


def instruction_sets() -> list[str]:
    """The vector instruction sets that a build for this machine may use; empty where none can be read."""
    try:
        words = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return []
    return sorted({w for w in words if w.startswith(("avx", "bmi", "fma", "sse4"))})


class build_kernels(build_ext):
    """Builds the kernels, several at once, and notes beside them how, for `python -m workbench doctor`."""

    def finalize_options(self):
        super().finalize_options()
        self.parallel = self.parallel or True  # True is distutils' word for one compiler a core

    def run(self):
        super().run()
        if self.extensions:
            names = [extension.name.rpartition(".")[2] for extension in self.extensions]
            note = {
                "kernels": {name: sha256(Path(f"ext/{name}.pyx").read_bytes()).hexdigest() for name in names},
                "march": MARCH,
                "checked": CHECKED,
                "flags": flags,
                "needs": instruction_sets() if "-march=native" in flags else [],
            }
            folder = Path(self.get_ext_fullpath(self.extensions[0].name)).parent
            (folder / "build.json").write_text(json.dumps(note, indent=1))


setup(
    ext_modules=cythonize(
        extensions,
        compiler_directives=directives,
        include_path=["ext"],
        quiet=True,
        # The checked C must not lie where the next plain build would take it for its own.
        build_dir="build/checked" if CHECKED else None,
    ),
    cmdclass={"build_ext": build_kernels},
)
