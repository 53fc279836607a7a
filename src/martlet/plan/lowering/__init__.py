"""Operators -> kernels, one file a family.

A family's file has functions `lower(l: Lowering) -> bool`, registered by `lowers("OP", …)`. Each
looks at a node whose shapes are known, and either declines (returns False: the node's NumPy
meaning runs) or adds the native steps that compute its outputs:

    @lowers("RELU")
    def relu(l: Lowering) -> bool:
        if l.call.dtype(0) is not DType.FLOAT32:
            return False
        l.step("relu_f32", l.input(0), l.output(0), units=l.size(0))
        return True

A kernel's name, its arguments and what a unit is are those of `martlet.kernels`. Whatever the
kernels are told here stays inside the tensors, since the shapes were checked by `infer`.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from martlet.ops.operator import Call

GRAINS = 8  # a step is offered to each thread in about so many pieces


@dataclass(frozen=True)
class Ref:
    """An address that is known once the arena is laid out: a tensor, scratch, or constant data."""

    kind: str  # "tensor", "scratch" or "data"
    index: int
    offset: int = 0  # bytes

    def at(self, nbytes: int) -> Ref:
        """The address so many bytes further on."""
        return Ref(self.kind, self.index, self.offset + nbytes)


@dataclass
class NativeStep:
    """One kernel over `units` units, `grain` at a time; arguments in the kernel's order."""

    kernel: str
    arguments: list[Ref | int | float]
    units: int
    grain: int


@dataclass
class Lowering:
    """One node to lower, and the steps that were made of it.

    threads: how many will share each step. lanes: float32 in a vector of the image's target.
    """

    call: Call
    lanes: int
    threads: int
    steps: list[NativeStep] = field(default_factory=list)
    constants: list[np.ndarray] = field(default_factory=list)
    scratch_bytes: list[int] = field(default_factory=list)

    def input(self, i: int) -> Ref:
        """The address of input i's value."""
        value = self.call.value(i)
        if value is not None:
            return self.data(value)
        return Ref("tensor", self.call.node.inputs[i])

    def output(self, i: int = 0) -> Ref:
        return Ref("tensor", self.call.node.outputs[i])

    def size(self, i: int) -> int:
        """Number of elements of input i."""
        return math.prod(self.call.shape(i))

    def data(self, array: np.ndarray) -> Ref:
        """The address of constants: packed weights, tables. The array is kept by the plan."""
        self.constants.append(np.ascontiguousarray(array))
        return Ref("data", len(self.constants) - 1)

    def scratch(self, nbytes: int) -> Ref:
        """Working memory for this node's steps."""
        self.scratch_bytes.append(nbytes)
        return Ref("scratch", len(self.scratch_bytes) - 1)

    def step(
        self, kernel: str, *arguments: Ref | float, units: int, grain: int | None = None
    ) -> None:
        """Add a step. Without a grain, the units are cut into a few pieces for each thread."""
        if units <= 0:
            return
        pieces = self.threads * GRAINS
        self.steps.append(
            NativeStep(kernel, list(arguments), units, grain or max(1, -(-units // pieces)))
        )


Lower = Callable[[Lowering], bool]
_LOWER: dict[str, Lower] = {}
_loaded = False
VIEWS = frozenset({"RESHAPE", "SQUEEZE", "EXPAND_DIMS"})
"""Builtins whose output has the elements of input 0 in the same order: no step at all."""


def lowers(*names: str) -> Callable[[Lower], Lower]:
    """Register a function for builtin operators."""

    def register(function: Lower) -> Lower:
        for name in names:
            _LOWER[name] = function
        return function

    return register


def lowering_of(call: Call) -> Lower | None:
    """The function that lowers a node's operator, if there is one."""
    global _loaded
    if not _loaded:
        for module in pkgutil.iter_modules(__path__):
            importlib.import_module(f"{__name__}.{module.name}")
        _loaded = True
    return None if call.node.custom else _LOWER.get(call.op)
