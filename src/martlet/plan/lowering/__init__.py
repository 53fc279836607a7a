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
kernels are told here stays inside the tensors, since the shapes were checked by `infer`. Where
they follow indices that come from data, they check them: `l.status(problem, expected)`.

Three things spare memory and copies, for families that say that they can:

- `pitched=True`: a tensor may lie among others, as a part of the output of a CONCATENATION that is
  never copied. Its rows (along the last dimension) are then further apart than they are long:
  `l.pitch(i)` and `l.output_pitch(length)` say how far.
- `absorbs=("PAD", "ADD", "SHIFT", "ACTIVATION")`: neighbours that become part of the node
  (`plan/fusion.py`). `l.image_shape()` and `l.image_axes(taps)` know of a PAD before it,
  `l.residual()` and `l.residual_pitch()` of an ADD behind it, `l.fused.shift` of an ADD of a
  constant, `l.activation()` of the activation of whatever came last; `l.input(0)` and `l.output()`
  are the tensors at the ends.
- `overwrites=(0, 1)`: the output may lie where one of these inputs lies that nobody needs any
  more. For kernels that read each element before they write the one in its place, and never again.
  `RESIDUAL` stands for what an absorbed ADD adds.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Hashable, Mapping, Sequence

import numpy as np

from martlet.ops.index import BUILTIN, LOWERING
from martlet.ops.operator import Call, load_family, lookup
from martlet.ops.sliding_window import Axis, window_axes
from martlet.plan.costs import Costs
from martlet.plan.packed import Packing, Piece, packed
from martlet.records import NamedTuple, dataclass, field

GRAINS = 8  # a step is offered to each thread in about so many pieces
STATUS_BYTES = 16  # of the two words that a status is
RESIDUAL = -1  # among inputs, the tensor that an absorbed ADD adds


@dataclass(frozen=True)
class Ref:
    """An address that is known once the arena is laid out: a tensor, scratch, or constant data."""

    kind: str  # "tensor", "scratch", "data", "status" or "slots"
    index: int
    offset: int = 0  # bytes

    def at(self, nbytes: int) -> Ref:
        """The address so many bytes further on."""
        return Ref(self.kind, self.index, self.offset + nbytes)


class NativeStep(NamedTuple):
    """One kernel over `units` units, `grain` at a time; arguments in the kernel's order."""

    kernel: str
    arguments: list[Ref | int | float]
    units: int
    grain: int


class Fused(NamedTuple):
    """What a node does besides its own: the work of neighbours that have no step themselves.

    image: the tensor that a PAD before it reads, `padding` its (before, after) of height and of
    width. residual: the tensor that an ADD behind it adds; shift: the constant. output: what the
    last of them writes. activation: the name of the activation that the last of them has.
    """

    image: int | None = None
    padding: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    residual: int | None = None
    shift: np.ndarray | None = None
    output: int | None = None
    activation: str | None = None

    @property
    def joined(self) -> bool:
        """Whether something is done to the outputs."""
        behind = self.residual, self.shift, self.activation
        return any(item is not None for item in behind)


NO_FUSION = Fused()


@dataclass
class Lowering:
    """One node to lower, and the steps that were made of it.

    costs: those of the image's target (`plan/costs.py`). threads: how many will share each step.
    pitches: elements from one row to the next, of the tensors that lie among others.
    in_place: inputs of a CONCATENATION that were written where they belong. packing: the packed
    weights of the whole plan.
    """

    call: Call
    costs: Costs
    threads: int
    fused: Fused = NO_FUSION
    pitches: Mapping[int, int] = field(default_factory=dict)
    in_place: frozenset[int] = frozenset()
    packing: Packing = field(default_factory=Packing)
    steps: list[NativeStep] = field(default_factory=list)
    constants: list[np.ndarray] = field(default_factory=list)
    scratch_bytes: list[int] = field(default_factory=list)
    statuses: list[tuple[str, str]] = field(default_factory=list)

    @property
    def lanes(self) -> int:
        """float32 in a vector."""
        return self.costs.lanes

    def input(self, i: int) -> Ref:
        """The address of input i's value."""
        value = self.call.value(i)
        if value is not None:
            return self.data(value)
        return Ref("tensor", self._source(i))

    def output(self, i: int = 0) -> Ref:
        return Ref("tensor", self._target(i))

    def _source(self, i: int) -> int:
        if i == 0 and self.fused.image is not None:
            return self.fused.image
        return self.call.node.inputs[i]

    def _target(self, i: int) -> int:
        if self.fused.output is not None:
            return self.fused.output
        return self.call.node.outputs[i]

    def pitch(self, i: int) -> int:
        """Elements from one row of input i, along its last dimension, to the next."""
        shape = self.call.shape(i)
        return self.pitches.get(self._source(i), shape[-1] if shape else 1)

    def output_pitch(self, length: int, i: int = 0) -> int:
        """Elements from one row of output i to the next; its rows are `length` long."""
        return self.pitches.get(self._target(i), length)

    def residual(self) -> Ref | None:
        """The tensor, of the output's shape, to add before the activation."""
        return None if self.fused.residual is None else Ref("tensor", self.fused.residual)

    def residual_pitch(self, length: int) -> int:
        """Elements from one row of the residual to the next."""
        index = self.fused.residual
        return length if index is None else self.pitches.get(index, length)

    def activation(self) -> str:
        """The name of the activation that follows."""
        name = self.fused.activation
        return str(self.call.option("fused_activation_function")) if name is None else name

    def image_shape(self) -> tuple[int, ...]:
        """The shape of the tensor that is read as input 0."""
        batches, height, width, channels = self.call.shape(0)
        down, across = self.fused.padding
        return batches, height - sum(down), width - sum(across), channels

    def image_axes(self, taps: Sequence[int], dilated: bool = True) -> list[Axis]:
        """The windows over that image (`ops/sliding_window.py`), height and width."""
        axes = window_axes(self.call, "hw", self.call.shape(0)[1:3], taps, dilated)
        return [
            axis._replace(size=axis.size - sum(edges), before=axis.before + edges[0])
            for axis, edges in zip(axes, self.fused.padding, strict=True)
        ]

    def size(self, i: int) -> int:
        """Number of elements of input i."""
        return math.prod(self.call.shape(i))

    def data(self, array: np.ndarray) -> Ref:
        """The address of constants: packed weights, tables. The array is kept by the plan."""
        self.constants.append(np.ascontiguousarray(array))
        return Ref("data", len(self.constants) - 1)

    def packed(
        self, weights: np.ndarray, layout: tuple[Hashable, ...], make: Callable[[], np.ndarray]
    ) -> np.ndarray:
        """What `make` makes of constant weights, shared with other plans of the file
        (`plan/packed.py`). layout: all that the result depends on but weights and lanes."""
        return packed(weights, (self.lanes, *layout), make)

    def pack(
        self, weights: np.ndarray, kernel: str, *numbers: int, size: int, units: int
    ) -> np.ndarray:
        """What a kernel makes of constant weights, float32 or float16: so many float32, there
        when the plan is complete, and shared likewise.

        numbers: its arguments after weights and target. The result must depend on nothing else.
        """
        return self.packing.packed(weights, self.lanes, kernel, *numbers, size=size, units=units)

    def pack_joined(self, pieces: Sequence[Piece], size: int) -> np.ndarray:
        """The same of several weights, whose pieces fill so many float32."""
        return self.packing.joined(pieces, (self.lanes, size), size)

    def scratch(self, nbytes: int) -> Ref:
        """Working memory for this node's steps."""
        self.scratch_bytes.append(nbytes)
        return Ref("scratch", len(self.scratch_bytes) - 1)

    def slots(self) -> Ref:
        """A flag for each thread, all 0, by which threads take slots of a scratch that they give
        back before they return (`kernels/winograd.py`): the same flags for all steps."""
        return Ref("slots", 0)

    def status(self, problem: str, expected: str) -> Ref:
        """Two int64 words [found, value] for a kernel that meets a value which breaks a rule.

        It must leave out what it would have read or written there, and write the value and then 1
        (`runtime/status.py`). Words that are asked for one after the other lie so.
        """
        self.statuses.append((problem, expected))
        return Ref("status", len(self.statuses) - 1)

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
_PITCHED: dict[str, bool] = {}
_ABSORBS: dict[str, frozenset[str]] = {}
_OVERWRITES: dict[str, tuple[int, ...]] = {}
_loaded = False
VIEWS = frozenset({"RESHAPE", "SQUEEZE", "EXPAND_DIMS"})
"""Builtins whose output has the elements of input 0 in the same order: no step at all."""


def lowers(
    *names: str,
    pitched: bool = False,
    absorbs: Sequence[str] = (),
    overwrites: Sequence[int] = (),
) -> Callable[[Lower], Lower]:
    """Register a function for builtins, or what is `custom`; the module's docstring says what it
    may promise."""

    def register(function: Lower) -> Lower:
        for name in names:
            _LOWER[name] = function
            _PITCHED[name] = pitched
            _ABSORBS[name] = frozenset(absorbs)
            _OVERWRITES[name] = tuple(overwrites)
        return function

    return register


def custom(name: str) -> str:
    """What a custom operator is called here, so that it is not taken for a builtin."""
    return f"custom {name}"


def _name(call: Call) -> str:
    return custom(call.op) if call.node.custom else call.op


def takes_pitch(call: Call) -> bool:
    """Whether the tensors of a node may lie among others."""
    return lowering_of(call) is not None and _PITCHED[_name(call)]


def absorbs(call: Call) -> frozenset[str]:
    """What a node can do for its neighbours."""
    return frozenset() if lowering_of(call) is None else _ABSORBS[_name(call)]


def overwrites(call: Call) -> tuple[int, ...]:
    """Inputs of the output's shape and type in whose memory a node may write its output."""
    return () if lowering_of(call) is None else _OVERWRITES[_name(call)]


def lowering_of(call: Call) -> Lower | None:
    """The function that lowers a node's operator, if there is one."""
    name = _name(call)
    if call.node.custom and call.operator is not lookup(call.op, custom=True):
        return None  # the caller's own
    if name not in _LOWER:
        load_family(f"{__name__}.{LOWERING.get(name)}")
    if name not in _LOWER and not call.node.custom and name not in BUILTIN:
        _load_families()
    return _LOWER.get(name)


def registered() -> dict[str, Lower]:
    """The function of every operator that has one."""
    _load_families()
    return dict(_LOWER)


def _load_families() -> None:
    global _loaded
    if not _loaded:
        import pkgutil

        for module in pkgutil.iter_modules(__path__):
            importlib.import_module(f"{__name__}.{module.name}")
        _loaded = True
