"""The tensors of one graph as the caller of an Interpreter sees them.

A `GraphTensors` holds the present input shapes, the plan for them, and one array for every input
and output that stays where it is between runs, so that views of it (`tensor()`) keep their
meaning. The order of calls is that of TensorFlow Lite: resize, allocate, set, run, get.
"""

from __future__ import annotations

import operator
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from martlet import log
from martlet.constants import decode
from martlet.dtypes import DType
from martlet.errors import ArgumentError, LimitError
from martlet.graph import ABSENT, Graph, Tensor, fits
from martlet.ops.operator import Shape, Spec
from martlet.plan.planner import Plan
from martlet.runtime.details import shape_signature
from martlet.runtime.native import NativePlan
from martlet.runtime.session import Session
from martlet.runtime.values import exact_value

MAX_SIZE = 2**31 - 1
PLAIN = frozenset(
    {
        DType.FLOAT32, DType.FLOAT16, DType.FLOAT64, DType.INT8, DType.UINT8, DType.INT16,
        DType.INT32, DType.INT64, DType.BOOL,
    }
)  # fmt: skip


class Buffer(np.ndarray):
    """An array that stays where it is. As a type of its own it ends the chain of `base`s of views:
    NumPy lets a view of a view refer to the oldest array *of the same type*, so that the plain
    array made from a Buffer lives as long as any slice of it, and can be watched."""


class Inside(np.ndarray):
    """Part of an arena. As what a Buffer is a view of, it ends the chain as well."""


def _buffer(shape: Shape, dtype: DType, where: str) -> Buffer:
    try:
        buffer = Buffer(shape, dtype.numpy)
        buffer.fill(b"" if dtype is DType.STRING else 0)
    except MemoryError as error:
        raise LimitError("out of memory", where=where, found=f"shape {list(shape)}") from error
    return buffer


def _lies_elsewhere(array: np.ndarray, place: np.ndarray | None) -> bool:
    """Whether an array is not the one at its place, if there is such a place."""
    return place is not None and array.ctypes.data != place.ctypes.data


class GraphTensors:
    """Shapes, plan and values of graph `index` of a session."""

    def __init__(self, session: Session, index: int) -> None:
        self.session = session
        self.index = index
        self.graph: Graph = session.model.graphs[index]
        self.ready = False
        self._plan: Plan | None = None
        self._resized: dict[int, Shape] = {}
        self._buffers: dict[int, Buffer] = {}
        self._views: list[weakref.ref[np.ndarray]] = []
        self.native: NativePlan | None = None
        """The plan, where a run is one native call on buffers that lie in its arena."""
        self.run_at_once: Callable[[], None] | None = None
        """What `run` does, where nothing is left to check or to copy."""
        self.inputs_at_once: dict[int, np.ndarray] = {}
        """The inputs into which an array of their type and shape may be copied as it is."""
        self.outputs_at_once: dict[int, np.ndarray] = {}
        """The outputs that may be copied as they are."""

    @property
    def planned(self) -> Plan | None:
        """The plan for the present shapes, or the last one; None before there was any."""
        return self._plan or self.session.latest.get(self.index)

    # Shapes -------------------------------------------------------------------------------

    def check_index(self, index: Any) -> int:
        """A tensor index of this graph as an int."""
        try:
            i = operator.index(index)
        except TypeError:
            raise ArgumentError(
                "a tensor index is not a whole number",
                expected="the 'index' of get_input_details() or get_output_details()",
                found=repr(index),
            ) from None
        if not 0 <= i < len(self.graph.tensors):
            raise ArgumentError(
                f"Invalid tensor index {i} exceeds max tensor index {len(self.graph.tensors)}",
                where=self._where,
            )
        return i

    def shape(self, i: int) -> Shape:
        """The present shape of a tensor; the declared one where no run has found it yet."""
        if i in self._resized:
            return self._resized[i]
        if i in self._buffers:
            return self._buffers[i].shape
        spec = self.planned.specs[i] if self.planned else None
        if spec is not None and spec.shape is not None:
            return spec.shape
        return self.session.shapes.get((self.index, i), self.graph.tensors[i].shape)

    def resize(self, index: Any, shape: Any, strict: bool) -> None:
        """Give an input another shape. The graph must be allocated again if it is a new one."""
        i = self.check_index(index)
        tensor = self.graph.tensors[i]
        if i not in self.graph.inputs:
            what = "a fixed-size tensor" if tensor.is_constant else "a tensor that is no input"
            raise ArgumentError(
                f"Attempting to resize {what}: {self.name(i)}",
                where=self._where,
                expected=f"an input, one of {self.graph.inputs}",
                found=str(i),
            )
        wanted = self._wanted_shape(i, shape)
        if strict:
            self._check_strict(i, tensor, wanted)
        if i in self._buffers and wanted == self._buffers[i].shape:
            return
        self._buffers.pop(i, None)
        self._resized[i] = wanted
        self.ready = False
        self.run_at_once, self.inputs_at_once, self.outputs_at_once = None, {}, {}

    def _wanted_shape(self, i: int, shape: Any) -> Shape:
        try:
            sizes = np.asarray(shape)
            if sizes.ndim != 1:
                raise ArgumentError(
                    f"Shape should be 1D instead of {sizes.ndim}.",
                    expected="a list of sizes",
                    found=repr(shape),
                )
            # TensorFlow Lite cuts fractions off, and some programs compute shapes as floats.
            wanted = tuple(int(n) for n in sizes.tolist())
        except (TypeError, ValueError, OverflowError) as error:
            if isinstance(error, ArgumentError):
                raise
            raise ArgumentError(
                f"the new shape of {self.name(i)} is not a list of sizes: {error}",
                found=repr(shape),
            ) from error
        if any(not 0 <= n <= MAX_SIZE for n in wanted) or not fits(wanted):
            raise ArgumentError(
                f"the new shape of {self.name(i)} is not a shape",
                expected=f"up to 32 sizes, 0 to {MAX_SIZE}",
                found=str(list(wanted)),
            )
        return wanted

    def _check_strict(self, i: int, tensor: Tensor, wanted: Shape) -> None:
        signature = shape_signature(tensor, self.shape(i))
        same_rank = len(signature) == len(wanted)
        if not same_rank or any(s not in (-1, n) for s, n in zip(signature, wanted, strict=True)):
            raise ArgumentError(
                f"Attempting to resize {self.name(i)}, but strict=True only allows mutating "
                "unknown dimensions, identified by -1",
                expected=str(list(signature)),
                found=str(list(wanted)),
            )

    # Order of calls -----------------------------------------------------------------------

    def allocate(self) -> bool:
        """Plan for the present shapes and make room; False if that was done already."""
        if self.ready:
            return False
        specs = [
            Spec(DType.FLOAT32, ()) if i == ABSENT
            else Spec(self.graph.tensors[i].dtype, self.shape(i))
            for i in self.graph.inputs
        ]  # fmt: skip
        self.session.start_clock()
        plan = self.session.plan(self.index, specs)
        outputs = sum(spec.nbytes for i in self.graph.outputs if (spec := plan.specs[i]))
        self.session.reserve(plan.peak_bytes + outputs, self._where)
        self._plan = plan
        self.native = self.session.one_call(plan)
        self._resized.clear()
        for i in {*self.graph.inputs, *self.graph.outputs} - {ABSENT}:
            spec = plan.specs[i]
            if spec is not None and spec.shape is not None and not self._is_state(i):
                room = self._room(i, spec.shape)
                if i in plan.values:
                    np.copyto(room, plan.values[i])
        self.session.reset_variables(self.index)
        if self.native is not None and self.session.time_limit is None:
            self.run_at_once = self.native.run_alone
            self.inputs_at_once = self._plain(self.graph.inputs)
            self.outputs_at_once = self._plain(self.graph.outputs)
        self.ready = True
        log.debug(
            "%s: planned %d steps, %s bytes at most", self._where, len(plan.steps), plan.peak_bytes
        )
        return True

    def take_over(self, values: Mapping[int, np.ndarray]) -> None:
        """Have these values of inputs and outputs, from what ran the graph before."""
        for i, value in values.items():
            np.copyto(self._buffers[i], value)

    def _plain(self, tensors: list[int]) -> dict[int, np.ndarray]:
        """Those buffers that have dimensions and hold any value of their type."""
        return {
            i: self._buffers[i].view(np.ndarray)
            for i in tensors
            if self.graph.tensors[i].dtype in PLAIN and self._buffers[i].ndim
        }

    def run(self) -> None:
        """Run the graph on the present inputs."""
        if not self.ready or self._plan is None:
            raise ArgumentError(
                "Invoke called on model that is not ready",
                where=self._where,
                hint="Call allocate_tensors() first, and again after resize_tensor_input().",
            )
        if self.run_at_once is not None:
            self.run_at_once()
            return
        self.session.start_clock()
        inputs = [self._input(i) for i in self.graph.inputs]
        results = self.session.run(self._plan, inputs)
        for i, array in zip(self.graph.outputs, results, strict=True):
            if not self._is_state(i):
                np.copyto(self._room(i, array.shape), array)

    def _input(self, i: int) -> np.ndarray:
        if i == ABSENT:
            return np.zeros((), np.float32)
        array: np.ndarray = self._buffers[i].view(np.ndarray)
        keeps = self.session.kept is not None and not self.graph.tensors[i].is_variable
        # What is kept for inspection must not change when the next input is set.
        return array.copy() if keeps else array

    def _room(self, i: int, shape: Shape) -> Buffer:
        """The array that holds tensor i, of this shape; what it held stays if it had the shape."""
        known = self._buffers.get(i)
        inside = None if self.native is None else self.native.views[i]
        if known is None or known.shape != shape or _lies_elsewhere(known, inside):
            tensor = self.graph.tensors[i]
            if inside is None:
                self._buffers[i] = _buffer(shape, tensor.dtype, self._where)
            else:
                self._buffers[i] = inside.view(Inside).view(Buffer)
                self._buffers[i].fill(0)
            if known is not None and known.shape == shape:
                np.copyto(self._buffers[i], known)
            elif tensor.is_constant and i in self.graph.inputs and shape == tensor.shape:
                np.copyto(self._buffers[i], decode(tensor, self._where))
        return self._buffers[i]

    def _is_state(self, i: int) -> bool:
        tensor = self.graph.tensors[i]
        return tensor.is_variable and not tensor.is_constant and i not in self.graph.inputs

    # Values -------------------------------------------------------------------------------

    def set(self, index: Any, value: Any) -> None:
        """Copy a value into an input or a variable."""
        i = self.check_index(index)
        tensor = self.graph.tensors[i]
        if i not in self.graph.inputs and not self._is_state(i):
            raise ArgumentError(
                f"Cannot set tensor: {self.name(i)} is not an input",
                where=self._where,
                expected=f"one of {self.graph.inputs}",
                found=str(i),
                hint="get_input_details() lists the inputs.",
            )
        array = exact_value(value, tensor.dtype, self.name(i))
        if array.shape != self.shape(i):
            raise ArgumentError(
                f"Cannot set tensor: Dimension mismatch for {self.name(i)}",
                where=self._where,
                expected=str(list(self.shape(i))),
                found=str(list(array.shape)),
                hint="Reshape the value, or call resize_tensor_input() and allocate_tensors().",
            )
        if tensor.dtype is DType.STRING and i not in self._buffers:
            # TensorFlow Lite takes strings before it allocates, and programs rely on it.
            self.session.reserve(array.nbytes, self._where)
            self._room(i, array.shape)
        np.copyto(self._held(i, "Cannot set tensor: Tensor is unallocated"), array)

    def get(self, index: Any) -> np.ndarray:
        """The array that holds a tensor now: not a copy."""
        i = self.check_index(index)
        tensor = self.graph.tensors[i]
        if i in self._buffers or i in self.graph.inputs or self._is_state(i):
            return self._held(i, "Tensor data is null")
        if tensor.is_constant:
            return self._constant(tensor)
        kept = (self.session.kept or {}).get(self.index, {})
        if i in kept:
            return kept[i]
        if i in self.graph.outputs:
            return self._held(i, "Tensor data is null")
        if self.session.kept is not None:
            raise ArgumentError(
                f"Tensor data is null: {self.name(i)} was not computed yet",
                where=self._where,
                hint="Call allocate_tensors() and invoke() first.",
            )
        raise ArgumentError(
            f"{self.name(i)} is an intermediate value, which is not kept",
            where=self._where,
            hint="Pass experimental_preserve_all_tensors=True to the Interpreter.",
        )

    def view(self, index: Any) -> np.ndarray:
        """A view of a tensor that counts as held for as long as it, or a slice of it, lives."""
        array = self.get(index)
        view = array.view(np.ndarray)
        if isinstance(array, Buffer):
            self._views = [r for r in self._views if r() is not None]
            self._views.append(weakref.ref(view))
        return view

    def views_held(self) -> bool:
        """Whether a view that `view` gave is still alive."""
        return bool(self._views) and any(r() is not None for r in self._views)

    def _held(self, i: int, problem: str) -> np.ndarray:
        if self._is_state(i) and self._plan is not None:
            return self.session.variable(self.index, i)
        if i in self._buffers:
            return self._buffers[i]
        planned = self.ready and i in self.graph.outputs
        raise ArgumentError(
            f"{problem}: {self.name(i)}",
            where=self._where,
            hint=(
                "Its shape depends on the data: call invoke() first."
                if planned
                else "Run allocate_tensors() first."
            ),
        )

    def _constant(self, tensor: Tensor) -> np.ndarray:
        raw, dtype = tensor.raw, tensor.dtype
        if tensor.sparsity is None or raw is None or dtype.bits < 8 or not dtype.supported:
            value = decode(tensor, self._where)
        else:
            # TensorFlow Lite gives the stored elements of a sparse tensor, in one dimension.
            itemsize = dtype.numpy.itemsize
            value = raw[: raw.size // itemsize * itemsize].copy().view(dtype.numpy)
        value = value.view()
        value.flags.writeable = False
        return value

    def name(self, i: int) -> str:
        """How messages name a tensor."""
        what = "input" if i in self.graph.inputs else "tensor"
        return f"{what} {i}, name: {self.graph.tensors[i].name}"

    @property
    def _where(self) -> str:
        source = self.session.model.source
        return f"{source}, subgraph {self.index}" if self.index else source
