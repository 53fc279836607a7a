"""All kernels of an image: the kernels of every family, and the functions that Python calls."""

from __future__ import annotations

import importlib
import pkgutil

from martlet.kernels.executor import entry_points
from martlet.kernels.kernel import EntryPoint, Kernel
from martlet.kernels.targets import Target


def kernels_of(target: Target) -> list[Kernel | EntryPoint]:
    """What an image for a target holds. A family is a module with a function `kernels(target)`."""
    found: list[Kernel | EntryPoint] = list(entry_points())
    package = importlib.import_module("martlet.kernels")
    for module in pkgutil.iter_modules(package.__path__):
        family = importlib.import_module(f"martlet.kernels.{module.name}")
        if hasattr(family, "kernels"):
            found += family.kernels(target)
    names = [kernel.name for kernel in found]
    assert len(set(names)) == len(names), "two kernels have one name"
    return found
