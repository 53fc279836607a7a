"""Graph + input shapes -> Plan: what can be decided before any data is there.

1. Every node is looked up and checked against the operator's registration.
2. Shapes and types are inferred in order. Where all inputs of a pure operator are known, it is
   evaluated now (shape arithmetic, expanded weights) and its step disappears from the plan; so is
   one that looks at the shapes of its inputs alone.
   Where a shape depends on data, it stays open and is inferred again when the step runs.
3. For each step, the tensors that nobody needs afterwards are listed, so that a run holds only
   what is live; the largest sum of live bytes is the plan's need of memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from martlet.dtypes import DType
from martlet.errors import MartletError, ModelError, UnsupportedError
from martlet.graph import ABSENT, Graph, Model, Node, fits
from martlet.ops.operator import Call, Operator, Spec, constant_value, lookup
from martlet.records import dataclass, field

if TYPE_CHECKING:
    from martlet.ops.operator import Session

# Folded results larger than this are computed in every run instead, so that a plan does not
# become a second copy of the weights; weights that must be expanded are exempt.
FOLD_LIMIT = 1 << 16
EXPANSIONS = frozenset({"DEQUANTIZE", "DENSIFY"})
# They read constants of float16 as well as of float32 (`Call.stored`), so what only they read is
# not expanded.
READ_FLOAT16 = frozenset(
    {
        "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "BATCH_MATMUL", "TRANSPOSE_CONV",
        "CONV_3D", "CONV_3D_TRANSPOSE", "RNN", "UNIDIRECTIONAL_SEQUENCE_RNN",
        "BIDIRECTIONAL_SEQUENCE_RNN", "SVDF", "LSTM", "UNIDIRECTIONAL_SEQUENCE_LSTM",
        "BIDIRECTIONAL_SEQUENCE_LSTM", "GATHER", "EMBEDDING_LOOKUP",
    }
)  # fmt: skip
MOVE_FLOAT16 = frozenset({"GATHER", "EMBEDDING_LOOKUP"})  # of which not all is widened in NumPy
CUSTOM_READ_FLOAT16 = frozenset({"UNIDIRECTIONAL_SEQUENCE_GRU", "Convolution2DTransposeBias"})


@dataclass
class Step:
    """One node to run. `release`: tensors that are not needed after it."""

    call: Call
    number: int
    inputs: list[int]
    outputs: list[int]
    static: bool
    specs: list[Spec]
    release: list[int] = field(default_factory=list)


@dataclass
class Plan:
    """The steps of one graph for one set of input shapes.

    specs: what is known of every tensor (None: nothing computes it). values: constants and
    folded results, `held_bytes` of which are not in the file; some of float32 are as the file has
    them, in float16. peak_bytes: the largest sum of
    live tensors that are not constant.
    """

    graph: Graph
    index: int
    steps: list[Step]
    specs: list[Spec | None]
    values: dict[int, np.ndarray]
    held_bytes: int
    peak_bytes: int

    @property
    def assigns_once(self) -> bool:
        """Whether every tensor is written by one node only, as in all graphs but damaged ones.

        Else nodes cannot change places, and tensors not share memory, without a closer look.
        """
        written = [i for node in self.graph.nodes for i in node.outputs if i != ABSENT]
        return len(written) == len(set(written))


def resolve(node: Node, place: str, custom: Mapping[str, Operator]) -> Operator:
    """The operator of a node, with its registration checked. `custom`: the caller's own ones."""
    operator = custom.get(node.op) if node.custom else None
    operator = operator or lookup(node.op, node.custom)
    if operator is None:
        from martlet.ops.foreign import REASONS  # seldom needed

        if node.custom and node.op in REASONS:
            reason, hint = REASONS[node.op]
            raise UnsupportedError(
                f"the custom operator {node.op} {reason}", where=place, hint=hint
            )
        kind = "custom operator" if node.custom else "operator"
        raise UnsupportedError(
            f"{kind} {node.op} version {node.version} is not supported",
            where=place,
            hint=(
                "Register it with custom_ops=, or convert the model without it."
                if node.custom
                else "Convert the model without it."
            ),
        )
    if not 1 <= node.version <= operator.versions:
        raise UnsupportedError(
            f"version {node.version} of {node.op} is not supported",
            where=place,
            expected=f"1 to {operator.versions}",
            found=str(node.version),
        )
    if not node.custom and node.options_type not in ("", operator.options):
        raise ModelError(
            f"{node.op} has the options of another operator",
            where=place,
            expected=operator.options or "none",
            found=node.options_type,
        )
    for what, indices, (low, high) in (
        ("inputs", node.inputs, operator.inputs),
        ("outputs", node.outputs, operator.outputs),
    ):
        if len(indices) < low or (high is not None and len(indices) > high):
            span = str(low) if low == high else f"{low} to {'any number' if high is None else high}"
            raise ModelError(
                f"{node.op} has the wrong number of {what}",
                where=place,
                expected=span,
                found=str(len(indices)),
            )
    for i, index in enumerate(node.inputs):
        if index == ABSENT and i not in operator.optional:
            raise ModelError(f"input {i} of {node.op} is left out but needed", where=place)
    return operator


def place_of(model: Model, index: int, number: int) -> str:
    """How errors name a node."""
    return (
        f"{model.source}, subgraph {index}, node {number} ({model.graphs[index].nodes[number].op})"
    )


def make_plan(
    model: Model,
    index: int,
    input_specs: Sequence[Spec],
    session: Session,
    custom: Mapping[str, Operator],
    on_error: Callable[[MartletError], None] | None = None,
) -> Plan:
    """Plan graph `index` of a model for inputs of these specs (one per graph input).

    `on_error` hears of each node that breaks a rule, and planning goes on with what the file
    declares of its outputs; without it the first error is raised. Such a plan cannot run.
    """
    graph = model.graphs[index]
    specs: list[Spec | None] = [None] * len(graph.tensors)
    values: dict[int, np.ndarray] = {}
    held = 0  # many tensors may expand the same bytes of a file
    computed = {i for node in graph.nodes for i in node.outputs}
    given = {*graph.inputs, *graph.outputs}
    for i, tensor in enumerate(graph.tensors):
        where = f"{model.source}, subgraph {index}, tensor {i} {tensor.name!r}"
        if (i in given or tensor.is_variable) and not tensor.dtype.supported:
            raise UnsupportedError(f"the type {tensor.dtype.name} is not supported", where=where)
        if tensor.is_constant:
            values[i] = constant_value(tensor, where)
            held += _new_bytes(values[i], [tensor.raw])
            session.reserve(held, where)
            specs[i] = Spec(tensor.dtype, tensor.shape)
        elif tensor.is_variable:
            specs[i] = Spec(tensor.dtype, tensor.shape)
        elif i not in computed and tensor.size == 0 and tensor.dtype.supported:
            # An empty constant has no bytes, so that its buffer looks like none at all.
            values[i] = np.zeros(tensor.shape, tensor.dtype.numpy)
            specs[i] = Spec(tensor.dtype, tensor.shape)
    for i, spec in zip(graph.inputs, input_specs, strict=True):
        if i != ABSENT:
            specs[i] = spec
            values.pop(i, None)
    wide = _read_in_float32(graph)
    steps = []
    for number, node in enumerate(graph.nodes):
        place = place_of(model, index, number)
        try:
            operator = resolve(node, place, custom)
            step = _plan_node(graph, node, number, place, operator, session, specs, values, wide)
        except MartletError as error:
            if on_error is None:
                raise
            on_error(error)
            for i in node.outputs:
                if i != ABSENT:
                    specs[i] = Spec(graph.tensors[i].dtype, graph.tensors[i].shape)
            continue
        if step is not None:
            steps.append(step)
        else:
            sources = [values[i] for i in node.inputs if i in values]
            held += sum(_new_bytes(values[i], sources) for i in node.outputs if i != ABSENT)
            session.reserve(held, place)
            session.tick()
    for i in graph.outputs:
        if specs[i] is None:
            raise ModelError(
                f"output tensor {i} {graph.tensors[i].name!r} is never computed",
                where=f"{model.source}, subgraph {index}",
            )
    peak = _liveness(graph, steps, specs, values)
    return Plan(graph, index, steps, specs, values, held, peak)


def _new_bytes(value: np.ndarray, sources: Iterable[np.ndarray | None]) -> int:
    """The bytes of an array; 0 if it is a view of one of its sources."""
    known = any(s is not None and np.may_share_memory(value, s) for s in sources)
    return 0 if known else value.nbytes


def _plan_node(
    graph: Graph,
    node: Node,
    number: int,
    place: str,
    operator: Operator,
    session: Session,
    specs: list[Spec | None],
    values: dict[int, np.ndarray],
    wide: set[int],
) -> Step | None:
    for i, index in enumerate(node.inputs):
        if index != ABSENT:
            tensor = graph.tensors[index]
            if specs[index] is None:
                raise ModelError(
                    f"input {i}, tensor {index} {tensor.name!r}, is used before it is computed",
                    where=place,
                )
            if not tensor.dtype.supported:
                raise UnsupportedError(
                    f"input {i} {tensor.name!r} has the type {tensor.dtype.name}, "
                    "which is not supported",
                    where=place,
                )
    for i, index in enumerate(node.outputs):
        if index != ABSENT and (
            index in graph.inputs
            or index in node.inputs
            or graph.tensors[index].is_constant
            or graph.tensors[index].is_variable
        ):
            raise ModelError(
                f"output {i}, tensor {index} {graph.tensors[index].name!r}, is no place for "
                "results: it is an input of the node or the graph, a constant or a variable",
                where=place,
            )
    call = Call(
        node, graph, place, session, operator,
        [specs[i] if i != ABSENT else None for i in node.inputs],
        [values.get(i) for i in node.inputs],
    )  # fmt: skip
    static = all(s is None or s.shape is not None for s in call.specs)
    results = infer(call) if static else [Spec(graph.tensors[i].dtype, None) for i in node.outputs]
    static = static and all(s.shape is not None for s in results)
    for i, spec in zip(node.outputs, results, strict=True):
        if i != ABSENT:
            specs[i] = spec
            values.pop(i, None)
    variable = any(i != ABSENT and graph.tensors[i].is_variable for i in node.inputs)
    known = operator.shape_only or (not variable and _known(node, values))
    small = operator.name in EXPANSIONS or sum(s.nbytes for s in results) <= FOLD_LIMIT
    if static and operator.pure and known and small:
        expands = operator.name == "DEQUANTIZE" and not node.custom
        if expands and call.dtype(0) is DType.FLOAT16 and node.outputs[0] not in wide:
            values[node.outputs[0]] = values[node.inputs[0]]
            return None
        for i, value in zip(node.outputs, evaluate(call, results), strict=True):
            if i != ABSENT:
                values[i] = value
        return None
    return Step(call, number, list(node.inputs), list(node.outputs), static, results)


def _read_in_float32(graph: Graph) -> set[int]:
    """The tensors that cannot be float16 where they are declared float32."""
    readers = (
        node.inputs
        for node in graph.nodes
        if node.op not in (CUSTOM_READ_FLOAT16 if node.custom else READ_FLOAT16)
    )
    return {ABSENT, *graph.outputs}.union(*readers)


def _known(node: Node, values: dict[int, np.ndarray]) -> bool:
    return all(i == ABSENT or i in values for i in node.inputs)


def infer(call: Call) -> list[Spec]:
    """Run the operator's rule and hold its answer against what the file declares."""
    results = list(call.operator.infer(call))
    node = call.node
    if len(results) != len(node.outputs):
        call.fail(
            f"{call.op} has the wrong number of outputs", str(len(results)), str(len(node.outputs))
        )
    for i, (index, spec) in enumerate(zip(node.outputs, results, strict=True)):
        if index == ABSENT:
            continue
        declared = call.graph.tensors[index]
        if declared.dtype is not spec.dtype:
            call.fail(
                f"output {i} {declared.name!r} is declared with the wrong type",
                spec.dtype.name,
                declared.dtype.name,
            )
        if not spec.dtype.supported:
            call.unsupported(f"output {i} {declared.name!r} has the type {spec.dtype.name}")
        if spec.shape is not None:
            if any(n < 0 for n in spec.shape):
                call.fail(f"output {i} would have a negative size", found=str(list(spec.shape)))
            if not fits(spec.shape):
                call.fail(f"output {i} would be too large an array", found=str(list(spec.shape)))
            call.session.reserve(spec.nbytes, f"{call.place}, output {i}")
    return results


def evaluate(call: Call, specs: Sequence[Spec]) -> list[np.ndarray]:
    """Run the operator's meaning; its results must be what its own rule promised."""
    moves = call.op in MOVE_FLOAT16 and not call.node.custom
    values = map(call.stored if moves else call.value, range(len(call.values)))
    with np.errstate(all="ignore"):
        results = call.operator.evaluate(call, *values)
    single = isinstance(results, (np.ndarray, np.generic))  # 0-d arithmetic gives bare numbers
    arrays = [np.asarray(results)] if single else [np.asarray(r) for r in results]
    for i, (array, spec) in enumerate(zip(arrays, specs, strict=True)):
        shape = array.shape if spec.shape is None else spec.shape
        if moves and array.dtype == np.float16 and spec.dtype is DType.FLOAT32:
            arrays[i] = array = array.astype(np.float32)
        if array.shape != shape or array.dtype != spec.dtype.numpy:
            found = f"{array.dtype}{list(array.shape)}"
            raise AssertionError(f"{call.place}: output {i} is {found}, its rule says {spec}")
    return arrays


def _liveness(
    graph: Graph, steps: list[Step], specs: list[Spec | None], values: dict[int, np.ndarray]
) -> int:
    """Fill in `release` of every step; returns the peak of live bytes."""
    keep = set(graph.outputs) | {*graph.inputs} - {ABSENT} | set(values)
    keep |= {i for i, t in enumerate(graph.tensors) if t.is_variable}
    last: dict[int, int] = {}
    for position, step in enumerate(steps):
        for i in [*step.inputs, *step.outputs]:
            if i != ABSENT and i not in keep:
                last[i] = position

    def nbytes(i: int) -> int:
        spec = specs[i]
        return 0 if spec is None else spec.nbytes

    for i, position in last.items():
        steps[position].release.append(i)
    live = sum(nbytes(i) for i in keep if i not in values)
    peak = live
    for step in steps:
        live += sum(nbytes(i) for i in step.outputs if i != ABSENT and i not in keep)
        peak = max(peak, live)
        live -= sum(nbytes(i) for i in step.release)
    return peak


def declared_specs(graph: Graph) -> list[Spec]:
    """The specs of a graph's inputs as the file declares them."""
    return [
        Spec(graph.tensors[i].dtype, graph.tensors[i].shape) if i != ABSENT
        else Spec(DType.FLOAT32, ())
        for i in graph.inputs
    ]  # fmt: skip
