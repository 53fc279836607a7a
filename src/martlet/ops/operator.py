"""What an operator is: its rule for shapes and types, and its meaning in NumPy.

Each family of operators is one file in this folder. It defines, for every operator,

    infer(call) -> [Spec, ...]          shapes and types of the outputs, all checks that need
                                        no data; nothing is computed or allocated
    evaluate(call, *inputs) -> array    the outputs (one array, or a tuple of arrays)

and registers them by name:

    register("SQUARE", infer=like_input, evaluate=square, options="SquareOptions", inputs=1)

`Call` is all that either function sees: the node, what is known of its inputs, and `fail` and
the `check_…` methods, which raise errors that name the file, the node and the tensor.

Rules that every family keeps:
1. `infer` is called when the graph is planned, and again before `evaluate` when shapes depend on
   data; `call.value(i)` is the value of input i where it is known (constants, folded values; in
   `evaluate` every input's), else None. A shape that is not known yet is `Spec(dtype, None)`.
2. `evaluate` sees arrays of exactly the shapes and types in `call.shape(i)`, `call.dtype(i)`,
   4-bit values one to a byte, strings as object arrays of bytes, None for an input left out.
   It never writes into an input, but for tensors marked as variable (recurrent state).
3. Indices that come from data are checked before use. Loops that can be long call `call.tick()`.
4. Integer results are those of TensorFlow Lite's reference kernels, to the bit.
"""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from martlet.constants import decode
from martlet.dtypes import DType
from martlet.errors import ModelError, RunError, UnsupportedError
from martlet.graph import ABSENT, MAX_RANK, Graph, Model, Node, Quantization, Tensor
from martlet.ops.index import BUILTIN, CUSTOM
from martlet.records import NamedTuple, dataclass, field
from martlet.schema.tflite import SCHEMA

if TYPE_CHECKING:  # protocols are slow to make
    from typing import Protocol

    class Session(Protocol):
        """What stateful operators and control flow need of the interpreter that runs them."""

        model: Model
        """What runs, for operators that look into a subgraph. Read only."""

        resources: dict[Any, Any]
        """Variables, hash tables and generators, by a key of the operator's choice."""

        reference: bool
        """True under `OpResolverType.BUILTIN_REF`."""

        def infer_graph(self, index: int, specs: Sequence[Spec]) -> list[Spec]:
            """Specs of the outputs of a subgraph for inputs of these specs."""

        def run_graph(self, index: int, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
            """Run a subgraph; state and limits are those of the caller."""

        def tick(self) -> None:
            """Raise LimitError when the time limit has passed."""

        def reserve(self, nbytes: int, what: str) -> None:
            """Raise LimitError if a working array of so many bytes would pass the memory limit."""


Shape = tuple[int, ...]
INDICES = (DType.INT32, DType.INT64)
QUANTIZED = (DType.UINT8, DType.INT8, DType.INT16)


class Spec(NamedTuple):
    """Element type and shape of a value; shape None: not known before the data is there."""

    dtype: DType
    shape: Shape | None

    @property
    def nbytes(self) -> int:
        """Bytes in memory; 0 while the shape is unknown."""
        return 0 if self.shape is None else math.prod(self.shape) * self.dtype.numpy.itemsize


@dataclass
class Call:
    """One use of an operator, with what is known of its inputs."""

    node: Node
    graph: Graph
    place: str
    session: Session
    operator: Operator
    specs: list[Spec | None] = field(default_factory=list)
    values: list[np.ndarray | None] = field(default_factory=list)

    # What the node says -------------------------------------------------------------------

    @property
    def op(self) -> str:
        return self.node.op

    def option(self, name: str) -> Any:
        """An option of the node; the schema's default where the file leaves it out."""
        if name in self.node.options:
            return self.node.options[name]
        return SCHEMA.defaults(self.operator.options)[name]

    @property
    def inputs(self) -> int:
        """How many inputs the node lists, absent ones included."""
        return len(self.node.inputs)

    @property
    def outputs(self) -> int:
        return len(self.node.outputs)

    def has(self, i: int) -> bool:
        """Whether input i is given."""
        return i < len(self.node.inputs) and self.node.inputs[i] != ABSENT

    def input(self, i: int) -> Tensor:
        """The tensor of input i, as the file declares it."""
        if not self.has(i):
            self.fail(f"input {i} is missing")
        return self.graph.tensors[self.node.inputs[i]]

    def output(self, i: int = 0) -> Tensor:
        if i >= len(self.node.outputs) or self.node.outputs[i] == ABSENT:
            self.fail(f"output {i} is missing")
        return self.graph.tensors[self.node.outputs[i]]

    # What is known of the inputs ----------------------------------------------------------

    def spec(self, i: int) -> Spec:
        spec = self.specs[i] if i < len(self.specs) else None
        if spec is None:
            self.fail(f"input {i} is missing")
        return spec

    def shape(self, i: int) -> Shape:
        shape = self.spec(i).shape
        assert shape is not None  # the planner calls `infer` only once shapes are known
        return shape

    def rank(self, i: int) -> int:
        return len(self.shape(i))

    def dtype(self, i: int) -> DType:
        return self.spec(i).dtype

    def value(self, i: int) -> np.ndarray | None:
        """The value of input i where it is known already."""
        found = self.stored(i)
        if found is not None and found.dtype.char == "e" and self.dtype(i) is DType.FLOAT32:
            return found.astype(np.float32)
        return found

    def stored(self, i: int) -> np.ndarray | None:
        """The same, float16 where a float32 constant is stored so; for those who read either."""
        return self.values[i] if i < len(self.values) else None

    def quantization(self, i: int) -> Quantization:
        """Scales of input i. Raises where the file gives none."""
        return self._quantization(self.input(i), f"input {i}")

    def output_quantization(self, i: int = 0) -> Quantization:
        return self._quantization(self.output(i), f"output {i}")

    def scale(self, i: int) -> float:
        """The float32 scale of input i, which is quantised as a whole."""
        return self._scale(self.quantization(i), f"input {i}")

    def zero_point(self, i: int) -> int:
        return int(self.quantization(i).zero_point[0])

    def output_scale(self, i: int = 0) -> float:
        return self._scale(self.output_quantization(i), f"output {i}")

    def output_zero_point(self, i: int = 0) -> int:
        return int(self.output_quantization(i).zero_point[0])

    def _quantization(self, tensor: Tensor, what: str) -> Quantization:
        quantization = tensor.quantization
        if quantization is None or quantization.scale.size == 0:
            self.fail(
                f"{what} {tensor.name!r} has no quantisation",
                expected="a scale and a zero point",
            )
        return quantization

    def _scale(self, quantization: Quantization, what: str) -> float:
        if quantization.scale.size != 1:
            self.fail(f"{what} has a scale per channel", "one scale", str(quantization.scale.size))
        scale = float(quantization.scale[0])
        if not (math.isfinite(scale) and scale > 0):
            self.fail(f"{what} has an unusable scale", "a positive number", str(scale))
        return scale

    # Checks -------------------------------------------------------------------------------

    def fail(self, problem: str, expected: str = "", found: str = "", hint: str = "") -> NoReturn:
        """Raise: the model breaks a rule of this operator."""
        raise ModelError(problem, where=self.place, expected=expected, found=found, hint=hint)

    def fail_run(
        self, problem: str, expected: str = "", found: str = "", hint: str = ""
    ) -> NoReturn:
        """Raise: the values that met in this run break a rule (an index out of range)."""
        raise RunError(problem, where=self.place, expected=expected, found=found, hint=hint)

    def unsupported(self, problem: str, hint: str = "") -> NoReturn:
        """Raise: a legal use of the operator that Martlet does not have."""
        raise UnsupportedError(problem, where=self.place, hint=hint)

    def check(self, condition: bool, problem: str, expected: str = "", found: str = "") -> None:
        if not condition:
            self.fail(problem, expected, found)

    def check_dtype(self, i: int, *allowed: DType) -> DType:
        """Raise unless input i has one of these types; returns it."""
        dtype = self.dtype(i)
        if dtype not in allowed:
            self.fail(
                f"input {i} {self.input(i).name!r} has a type that {self.op} does not take",
                " or ".join(d.name for d in allowed),
                dtype.name,
            )
        return dtype

    def check_same_dtype(self, *indices: int) -> DType:
        """Raise unless these inputs have one type; returns it."""
        first = self.dtype(indices[0])
        for i in indices[1:]:
            self.check_dtype(i, first)
        return first

    def check_same_quantization(self, i: int, output: int = 0) -> None:
        """Raise unless an output is quantised as input i is, where both are quantised integers:
        the operator hands stored values on, which would stand for other numbers."""

        def facts(tensor: Tensor) -> tuple[list[float], list[int]]:
            q = tensor.quantization
            return ([], []) if q is None else (q.scale.tolist(), q.zero_point.tolist())

        given, declared = facts(self.input(i)), facts(self.output(output))
        self.check(
            given == declared or self.dtype(i) not in QUANTIZED,
            f"input {i} is quantised differently from output {output}",
            f"scale {declared[0]}, zero point {declared[1]}",
            f"scale {given[0]}, zero point {given[1]}",
        )

    def check_rank(self, i: int, low: int, high: int | None = None) -> Shape:
        """Raise unless input i has so many dimensions; returns its shape."""
        high = low if high is None else high
        shape = self.shape(i)
        if not low <= len(shape) <= high:
            span = f"{low}" if low == high else f"{low} to {high}"
            self.fail(
                f"input {i} {self.input(i).name!r} has the wrong number of dimensions",
                span,
                f"{len(shape)} (shape {list(shape)})",
            )
        return shape

    def axis(self, axis: int, rank: int, what: str = "axis") -> int:
        """An axis that may count from the end, as one from 0 to rank - 1."""
        if not -rank <= axis < rank:
            self.fail(f"{what} is out of range", f"{-rank} to {rank - 1}", str(axis))
        return axis % rank if rank else 0

    # Inputs that are shapes, axes and sizes -------------------------------------------------

    def integers(self, i: int, *sizes: int, dtypes: Sequence[DType] = INDICES) -> list[int] | None:
        """Input i as Python integers, flattened; None while its value is not known.

        It must have the shape `sizes`; without them, be a vector no longer than a shape can be.
        """
        self.check_dtype(i, *dtypes)
        shape = self.shape(i)
        if not (shape == sizes if sizes else len(shape) == 1 and shape[0] <= MAX_RANK):
            self.fail(
                f"input {i} {self.input(i).name!r} has the wrong shape",
                str(list(sizes)) if sizes else f"a vector of at most {MAX_RANK}",
                str(list(shape)),
            )
        value = self.value(i)
        return None if value is None else [int(n) for n in value.ravel()]

    def integer(self, i: int, dtypes: Sequence[DType] = INDICES) -> int | None:
        """The one element of input i as a Python integer; None while it is not known."""
        self.check_dtype(i, *dtypes)
        self.check_one(i)
        value = self.value(i)
        return None if value is None else int(value.item())

    def check_one(self, i: int) -> None:
        """Raise unless input i has one element."""
        shape = self.shape(i)
        if math.prod(shape) != 1:
            self.fail(
                f"input {i} {self.input(i).name!r} is not one value", found=f"shape {list(shape)}"
            )

    def tick(self) -> None:
        self.session.tick()


Infer = Callable[[Call], Sequence[Spec]]
Evaluate = Callable[..., "np.ndarray | Sequence[np.ndarray]"]


class Operator(NamedTuple):
    """A registered operator.

    options: its table in the schema ("" if it has none). versions: the highest version known.
    inputs, outputs: how many, or (fewest, most); most None: any number. optional: inputs that
    may be ABSENT. pure: same inputs, same outputs, so that it may be folded when planning.
    shape_only: `evaluate` needs the inputs' shapes but not their values, which are None when it
    is folded.
    """

    name: str
    infer: Infer
    evaluate: Evaluate
    options: str
    versions: int
    inputs: tuple[int, int | None]
    outputs: tuple[int, int | None]
    optional: frozenset[int]
    pure: bool
    custom: bool
    shape_only: bool = False
    family: str = ""


_OPERATORS: dict[tuple[bool, str], Operator] = {}


def register(
    name: str,
    *,
    infer: Infer,
    evaluate: Evaluate,
    inputs: int | tuple[int, int | None],
    outputs: int | tuple[int, int | None] = 1,
    options: str = "",
    versions: int = 1,
    optional: Iterable[int] = (),
    pure: bool = True,
    custom: bool = False,
    shape_only: bool = False,
) -> None:
    """Make an operator known. `name` is the builtin's name in the schema, or a custom name."""

    def span(n: int | tuple[int, int | None]) -> tuple[int, int | None]:
        return n if isinstance(n, tuple) else (n, n)

    assert not options or SCHEMA.has_table(options), options
    _OPERATORS[custom, name] = Operator(
        name, infer, evaluate, options, versions, span(inputs), span(outputs),
        frozenset(optional), pure, custom, shape_only, _caller(),
    )  # fmt: skip


def _caller() -> str:
    """The family that calls `register`."""
    return str(sys._getframe(2).f_globals["__name__"]).rpartition(".")[2]


def lookup(name: str, custom: bool) -> Operator | None:
    """The operator of that name, or None. Its family is imported at the first look."""
    key = (custom, name)
    if key not in _OPERATORS:
        load_family(f"martlet.ops.{(CUSTOM if custom else BUILTIN).get(name)}")
    if key not in _OPERATORS:
        _load_families()
    return _OPERATORS.get(key)


def load_family(module: str) -> None:
    """Import what the index names; where the index is out of date, all will be looked through."""
    with suppress(ModuleNotFoundError):
        importlib.import_module(module)


def registered() -> list[Operator]:
    """Every known operator, by name."""
    _load_families()
    return sorted(_OPERATORS.values(), key=lambda op: (op.custom, op.name))


_loaded = False


def _load_families() -> None:
    global _loaded
    if not _loaded:
        import pkgutil

        package = importlib.import_module("martlet.ops")
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"martlet.ops.{module.name}")
        _loaded = True


def like_input(call: Call) -> list[Spec]:
    """The rule of most unary operators: the output is as input 0."""
    return [call.spec(0)]


def broadcast(call: Call, *indices: int) -> Shape:
    """The shape that these inputs broadcast to, by NumPy's rule."""
    shapes = [call.shape(i) for i in indices]
    rank = max(map(len, shapes))
    result = []
    for sizes in zip(*[(1,) * (rank - len(s)) + s for s in shapes], strict=True):
        wide = {n for n in sizes if n != 1}
        if len(wide) > 1:
            call.fail(
                "the shapes of the inputs do not broadcast",
                "equal sizes, or 1, counted from the last dimension",
                " and ".join(str(list(s)) for s in shapes),
            )
        result.append(wide.pop() if wide else 1)
    return tuple(result)


def constant_value(tensor: Tensor, where: str) -> np.ndarray:
    """The decoded value of a constant tensor."""
    return decode(tensor, where)
