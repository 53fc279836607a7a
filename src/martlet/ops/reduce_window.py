"""REDUCE_WINDOW and STABLEHLO_REDUCE_WINDOW: each element reduces one window of the input.

1. The input is spread by `base_dilations` and padded (cropped, where `padding` is negative); the
   gaps hold the initial value. REDUCE_WINDOW has neither.
2. A window of `window_dimensions` elements, `window_dilations` apart, starts every
   `window_strides` elements; those that fit give one element of the output each.
3. Beginning with the initial value, the window's elements are folded in, in order. All windows
   fold in their k-th element together, as one strided view of the input.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np

from martlet.dtypes import DType
from martlet.ops.operator import Call, Shape, Spec, register
from martlet.records import NamedTuple

MAX_RANK = 6
TYPES = (
    DType.BOOL, DType.INT8, DType.INT16, DType.INT32, DType.INT64, DType.UINT8, DType.FLOAT32,
    DType.FLOAT64,
)  # fmt: skip
Fold = Callable[[np.ndarray, np.ndarray], np.ndarray]

_FOLDS: dict[str, Fold] = {
    "ADD": np.add,
    "MUL": np.multiply,
    "MAXIMUM": lambda total, x: np.where(total >= x, total, x),
    "MINIMUM": lambda total, x: np.where(total <= x, total, x),
    "ALL": np.logical_and,
    "ANY": np.logical_or,
}
_BODIES = {
    "ADD": "ADD", "STABLEHLO_ADD": "ADD", "MUL": "MUL", "STABLEHLO_MULTIPLY": "MUL",
    "MAXIMUM": "MAXIMUM", "STABLEHLO_MAXIMUM": "MAXIMUM", "MINIMUM": "MINIMUM",
    "STABLEHLO_MINIMUM": "MINIMUM", "LOGICAL_AND": "ALL", "STABLEHLO_AND": "ALL",
    "LOGICAL_OR": "ANY", "STABLEHLO_OR": "ANY",
}  # fmt: skip


class Windows(NamedTuple):
    """One number for each dimension; padding: how much before and after."""

    fold: str
    sizes: Shape
    strides: Shape
    dilations: Shape
    base_dilations: Shape
    padding: tuple[tuple[int, int], ...]

    @property
    def plain(self) -> bool:
        """Whether the windows read the input as it is."""
        return set(self.base_dilations) == {1} and set(self.padding) == {(0, 0)}

    def spread(self, shape: Shape) -> Shape:
        """The input's shape once dilated and padded."""
        return tuple(
            ((n - 1) * d + 1 if n else 0) + before + after
            for n, d, (before, after) in zip(shape, self.base_dilations, self.padding, strict=True)
        )

    def reduced(self, shape: Shape) -> Shape:
        """How many windows fit into a spread shape."""
        return tuple(
            max(n - (w - 1) * d - 1 + s, 0) // s
            for n, w, d, s in zip(shape, self.sizes, self.dilations, self.strides, strict=True)
        )


def _check_inputs(call: Call) -> int:
    """Checks input and initial value; returns the rank."""
    call.check_dtype(0, *TYPES)
    call.check_same_dtype(0, 1)
    call.check(
        math.prod(call.shape(1)) == 1, "there must be one initial value", "1", str(call.shape(1))
    )
    return len(call.check_rank(0, 1, MAX_RANK))


def _numbers(call: Call, what: str, values: np.ndarray | None, count: int, default: int) -> Shape:
    """One number for each dimension; all `default` where the file gives none."""
    if values is None or len(values) == 0:
        return (default,) * count
    call.check(len(values) == count, f"{what} has the wrong length", str(count), str(len(values)))
    return tuple(int(v) for v in values)


def _checked(call: Call, windows: Windows) -> Windows:
    for what, values in zip(windows._fields[1:5], windows[1:5], strict=True):
        call.check(
            all(v > 0 for v in values), f"{what} of the window must be positive", found=str(values)
        )
    call.check(
        all(n >= 0 for n in windows.spread(call.shape(0))),
        "the padding crops more than there is",
        found=str(windows.padding),
    )
    return windows


def _stablehlo_windows(call: Call) -> Windows:
    rank = _check_inputs(call)
    dimensions = call.option("window_dimensions")
    call.check(dimensions is not None and len(dimensions) > 0, "the window has no dimensions")
    sizes, strides, base, dilations, padding = (
        _numbers(call, name, call.option(name), count, default)
        for name, count, default in (
            ("window_dimensions", rank, 1),
            ("window_strides", rank, 1),
            ("base_dilations", rank, 1),
            ("window_dilations", rank, 1),
            ("padding", 2 * rank, 0),
        )
    )
    pairs = tuple(zip(padding[::2], padding[1::2], strict=True))
    return _checked(call, Windows(_body(call), sizes, strides, dilations, base, pairs))


def _body(call: Call) -> str:
    """The fold that the body's only operator stands for."""
    index = call.option("body_subgraph_index")
    graphs = call.session.model.graphs
    call.check(0 <= index < len(graphs), "the body is no subgraph", f"0 to {len(graphs) - 1}",
               str(index))  # fmt: skip
    ops = [node.op for node in graphs[index].nodes]
    if len(ops) != 1 or ops[0] not in _BODIES:
        call.unsupported(f"the body {ops} of {call.op} is not one of {', '.join(_BODIES)}")
    return _BODIES[ops[0]]


def _plain_windows(call: Call) -> Windows | None:
    """None while the window, which is in inputs 2 to 4, is not known."""
    rank = _check_inputs(call)
    fold = call.option("reduce_function")
    call.check(fold in _FOLDS, "the function is not known", " or ".join(_FOLDS), str(fold))
    given: list[Shape] = []
    for i in (2, 3, 4):
        call.check_dtype(i, DType.INT64)
        values = call.value(i)
        if values is None:
            return None
        call.check(
            values.size == rank, f"input {i} has the wrong length", str(rank), str(values.size)
        )
        given.append(tuple(int(v) for v in values.ravel()))
    sizes, strides, dilations = given
    return _checked(call, Windows(fold, sizes, strides, dilations, (1,) * rank, ((0, 0),) * rank))


def windows_of(call: Call) -> Windows | None:
    return _plain_windows(call) if call.op == "REDUCE_WINDOW" else _stablehlo_windows(call)


def _infer(call: Call) -> list[Spec]:
    windows = windows_of(call)
    if windows is None:
        return [Spec(call.dtype(0), None)]
    return [Spec(call.dtype(0), windows.reduced(windows.spread(call.shape(0))))]


def spread_slices(windows: Windows, shape: Shape) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Which elements of the input are kept, and where they go in what is spread and padded."""
    source, target = [], []
    for size, step, (before, _), room in zip(
        shape, windows.base_dilations, windows.padding, windows.spread(shape), strict=True
    ):
        # Element i goes to before + i step: those from 0 to room - 1 are kept.
        first = max(-(before // step), 0)
        last = max(min((room - 1 - before) // step, size - 1), first - 1)
        source.append(slice(first, last + 1))
        start = before + first * step
        target.append(slice(start, start + (last - first) * step + 1 if last >= first else start,
                            step))  # fmt: skip
    return tuple(source), tuple(target)


def _spread(call: Call, x: np.ndarray, initial: np.ndarray, windows: Windows) -> np.ndarray:
    if windows.plain:
        return x
    shape = windows.spread(x.shape)
    call.session.reserve(math.prod(shape) * x.itemsize, call.place)
    spread = np.full(shape, initial.ravel()[0], x.dtype)
    source, target = spread_slices(windows, x.shape)
    spread[target] = x[source]
    return spread


def _evaluate(call: Call, x: np.ndarray, initial: np.ndarray, *_: np.ndarray) -> np.ndarray:
    windows = windows_of(call)
    assert windows is not None  # in a run every input has a value
    x = _spread(call, x, initial, windows)
    shape = windows.reduced(x.shape)
    fold = _FOLDS[windows.fold]
    total = np.full(shape, initial.ravel()[0], x.dtype)
    if total.size == 0:
        return total
    for place in itertools.product(*map(range, windows.sizes)):
        call.tick()
        view = tuple(
            slice(k * d, k * d + (n - 1) * s + 1, s)
            for k, d, n, s in zip(place, windows.dilations, shape, windows.strides, strict=True)
        )
        total = np.asarray(fold(total, x[view])).astype(x.dtype, copy=False)
    return total


for _name, _inputs, _options in (
    ("REDUCE_WINDOW", 5, "ReduceWindowOptions"),
    ("STABLEHLO_REDUCE_WINDOW", 2, "StablehloReduceWindowOptions"),
):
    register(_name, infer=_infer, evaluate=_evaluate, inputs=_inputs, options=_options)
