"""Programs written for TensorFlow Lite run on Martlet without a change.

    import martlet.compat                        # first, in the program; or, not touching it:
    python -m martlet.compat program.py ARG...   (or -m MODULE, or a command such as basic-pitch)

From then on these modules are Martlet's: `tflite_runtime.interpreter`,
`ai_edge_litert.interpreter` and, where TensorFlow is not installed, `tensorflow.lite`. The rest
of an installed package stays what it is.

A stand-in for `tensorflow` has no more than `lite`, so it must not be mistaken for the real one
by programs that try `import tensorflow` to see whether it is there, and take another way if it is
not. The import therefore succeeds only for the main program, and for modules whose source uses
`tensorflow.lite`; to all others TensorFlow is absent, as it is.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import linecache
import os
import re
import runpy
import shutil
import sys
from collections.abc import Sequence
from types import FrameType, ModuleType
from typing import Any

VERSION = "2.20.0+martlet"  # programs compare the versions of what they import
_INTERPRETER = (
    "Delegate",
    "Interpreter",
    "InterpreterWithCustomOps",
    "OpResolverType",
    "SignatureRunner",
    "load_delegate",
)
# Module: the names that it has of Martlet. Submodules are found by their full names.
_MODULES: dict[str, tuple[str, ...]] = {
    "tflite_runtime": (),
    "tflite_runtime.interpreter": _INTERPRETER,
    "ai_edge_litert": (),
    "ai_edge_litert.interpreter": _INTERPRETER,
    "tensorflow": (),
    "tensorflow.lite": ("Interpreter",),
    "tensorflow.lite.experimental": ("OpResolverType", "load_delegate"),
    "tensorflow.lite.python": (),
    "tensorflow.lite.python.interpreter": _INTERPRETER,
}
_USES_LITE = re.compile(r"\.\s*lite\b|import\s+lite\b|['\"]tensorflow\.lite")


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds and makes the modules of `_MODULES`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in _MODULES:
            return None
        package = fullname.partition(".")[0]
        if (package in (fullname, "tensorflow")) and _installed(package):
            return None
        if fullname == "tensorflow" and not _wants_lite(sys._getframe(1)):
            return None
        return importlib.util.spec_from_loader(
            fullname, self, origin="martlet.compat", is_package=not fullname.endswith("interpreter")
        )

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _StandIn(spec.name, f"Martlet's stand-in for {spec.name}.")

    def exec_module(self, module: ModuleType) -> None:
        from martlet.runtime import interpreter

        module.__dict__["__version__"] = VERSION
        for name in _MODULES[module.__name__]:
            module.__dict__[name] = getattr(interpreter, name)


class _StandIn(ModuleType):
    """A module that imports its submodules when they are first asked for."""

    def __getattr__(self, name: str) -> Any:
        submodule = f"{self.__name__}.{name}"
        if submodule in _MODULES:
            return importlib.import_module(submodule)
        raise AttributeError(
            f"module {self.__name__!r} has no attribute {name!r}: it is Martlet's stand-in, which "
            "has the Interpreter alone"
        )


def _installed(package: str) -> bool:
    """Whether a real package of that name can be imported (a bare directory is none)."""
    spec = importlib.machinery.PathFinder.find_spec(package)
    return spec is not None and spec.loader is not None and spec.origin is not None


def _wants_lite(frame: FrameType | None) -> bool:
    """Whether the code that imports `tensorflow` goes on to use `tensorflow.lite`."""
    while frame is not None:
        module = frame.f_globals.get("__name__") or ""
        if module.partition(".")[0] in ("importlib", "_frozen_importlib"):
            wanted = frame.f_locals.get("name") or frame.f_locals.get("fullname") or ""
            if isinstance(wanted, str) and wanted.startswith("tensorflow."):
                return True
        elif module != __name__:
            source = "".join(linecache.getlines(frame.f_code.co_filename, frame.f_globals))
            return module == "__main__" or not source or bool(_USES_LITE.search(source))
        frame = frame.f_back
    return True


def install() -> None:
    """Make the modules Martlet's, also where the real ones were imported before."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    sys.meta_path.insert(0, _Finder())
    for name in ("tflite_runtime.interpreter", "ai_edge_litert.interpreter"):
        if sys.modules.pop(name, None) is not None:
            package, _, last = name.rpartition(".")
            setattr(sys.modules[package], last, importlib.import_module(name))


def main(arguments: Sequence[str]) -> None:
    """Run a program as Python would have run it."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: python -m martlet.compat PROGRAM ARG...\n       (or -m MODULE ARG...)")
        sys.exit(0 if arguments else 2)
    if arguments[0] == "-m" and len(arguments) > 1:
        sys.argv = list(arguments[1:])
        sys.path.insert(0, os.getcwd())
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        return
    program = arguments[0]
    path = program if os.path.exists(program) else shutil.which(program)
    if path is None:
        sys.exit(f"martlet.compat: there is no program {program!r}")
    sys.argv = [path, *arguments[1:]]
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    runpy.run_path(path, run_name="__main__")


if __name__ == "__main__":
    importlib.import_module("martlet.compat")
    main(sys.argv[1:])
else:
    install()
