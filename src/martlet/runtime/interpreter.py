"""`martlet.Interpreter`: the interface of `tf.lite.Interpreter`, over a Session.

    interpreter = martlet.Interpreter("model.tflite")
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    scores = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])

Names, arguments, order of calls, keys of the details and kinds of errors are those of TensorFlow
Lite. What differs: inputs never set are zeros and empty strings; intermediate values are kept
only on request; sizes past `memory_limit` and runs past `time_limit` are refused; an Interpreter
may be used from several threads, which then take turns.
"""

from __future__ import annotations

import enum
import functools
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from martlet import log
from martlet.errors import ArgumentError
from martlet.runtime import stored
from martlet.runtime.delegates import Delegate, DelegateError, load_delegate
from martlet.schema.file import File

if TYPE_CHECKING:  # a process that finds a stored plan imports none of these
    from martlet.graph import Model, Signature
    from martlet.ops.operator import Operator
    from martlet.runtime.custom import CustomOps
    from martlet.runtime.details import Details
    from martlet.runtime.loaded import Loaded
    from martlet.runtime.session import Session
    from martlet.runtime.signatures import SignatureRunner
    from martlet.runtime.stored import StoredPlan
    from martlet.runtime.tensors import GraphTensors

__all__ = [
    "Delegate",
    "Interpreter",
    "InterpreterWithCustomOps",
    "OpResolverType",
    "load_delegate",
]


class OpResolverType(enum.Enum):
    """Which kernels' answers to give. Integers differ between the two in rare rounding ties."""

    AUTO = 0
    BUILTIN = 1
    BUILTIN_REF = 2
    BUILTIN_WITHOUT_DEFAULT_DELEGATES = 3


_Method = TypeVar("_Method", bound=Callable[..., Any])


def _operators(custom_ops: CustomOps | None) -> dict[str, Operator]:
    if not custom_ops:
        return {}
    from martlet.runtime.custom import as_operators  # few callers bring operators

    return as_operators(custom_ops)


def _in_turn(method: _Method) -> _Method:
    """One thread at a time; a call from inside a running model (a custom operator) is refused."""

    @functools.wraps(method)
    def wrapper(self: Interpreter, *args: Any, **kwargs: Any) -> Any:
        with self._lock:
            if self._running:
                raise ArgumentError(
                    f"{method.__name__.lstrip('_')} was called while the interpreter runs",
                    hint="A custom operator cannot use the Interpreter that runs it.",
                )
            return method(self, *args, **kwargs)

    return cast(_Method, wrapper)


class Interpreter:
    """Runs a `.tflite` model.

    model_path, model_content: a path, or the model's bytes (anything with the buffer interface);
        one of the two. The bytes must not change while the interpreter lives.
    experimental_delegates: must be empty; see `load_delegate`.
    num_threads: threads that share each step of machine code; 1 by default, as in LiteRT.
    experimental_op_resolver_type: with BUILTIN_REF, integers are those of the reference kernels.
    experimental_preserve_all_tensors: keep intermediate values for `get_tensor`.
    custom_ops: functions (or Operators) for custom operators, by name.
    memory_limit, time_limit: bytes that the values of one run may take (default 4 GiB, or
        MARTLET_MEMORY_LIMIT), seconds that one run may take (default: any, or MARTLET_TIME_LIMIT).
    """

    def __init__(
        self,
        model_path: str | os.PathLike[str] | None = None,
        model_content: Any = None,
        experimental_delegates: Sequence[Delegate] | None = None,
        num_threads: int | None = None,
        experimental_op_resolver_type: OpResolverType = OpResolverType.AUTO,
        experimental_preserve_all_tensors: bool = False,
        experimental_disable_delegate_clustering: bool = False,
        experimental_default_delegate_latest_features: bool = False,
        experimental_compress_quantization_zero_points: bool = False,
        experimental_disable_delegate_node_fusion: bool = False,
        experimental_force_delegate_node_profiling: bool = False,
        *,
        custom_ops: CustomOps | None = None,
        memory_limit: float | None = None,
        time_limit: float | None = None,
    ) -> None:
        if not isinstance(experimental_op_resolver_type, OpResolverType):
            raise ArgumentError(
                f"Unrecognized passed in op resolver type: {experimental_op_resolver_type}",
                expected="a member of OpResolverType",
            )
        if num_threads is not None:
            if not isinstance(num_threads, int):
                raise ArgumentError("type of num_threads should be int", found=repr(num_threads))
            if num_threads < 1:
                raise ArgumentError("num_threads should >= 1", found=str(num_threads))
        if experimental_delegates:
            raise DelegateError(
                "Martlet uses no native delegates",
                hint="Leave out experimental_delegates.",
            )
        self._compress = experimental_compress_quantization_zero_points
        self._file: File | None = None
        self._lock = threading.RLock()
        self._running = False
        self._data, self._source = self._open(model_path, model_content)
        self._options: dict[str, Any] = {
            "reference": experimental_op_resolver_type is OpResolverType.BUILTIN_REF,
            "memory_limit": memory_limit,
            "time_limit": time_limit,
            "custom": _operators(custom_ops),
            "keep_all": bool(experimental_preserve_all_tensors),
            "threads": num_threads or 1,
        }
        self._model: Model | None = None
        self._loaded: Loaded | None = None
        self._stored: StoredPlan | None = None
        """What runs the model as long as nothing is asked for that takes more than that."""
        self._may_store = not self._compress and stored.may_be(self._file, self._options)
        if self._may_store and self._file is not None:
            self._stored = stored.find(self._file, self._options)
        self._front: StoredPlan | GraphTensors = self._stored or self._load().graphs[0]
        """What holds the tensors of the main graph."""

    def _load(self) -> Loaded:
        """Read the model, unless that was done. It goes on where a stored plan was."""
        with self._lock:
            if self._loaded is None:
                from martlet.runtime.loaded import Loaded

                loaded = Loaded(self.model, self._options)
                if self._stored is not None and self._stored.run_at_once is not None:
                    self._exclusively(loaded.graphs[0].allocate)
                    loaded.graphs[0].take_over(
                        self._stored.inputs_at_once | self._stored.outputs_at_once
                    )
                self._loaded, self._stored, self._front = loaded, None, loaded.graphs[0]
            return self._loaded

    @property
    def model(self) -> Model:
        """The model as the file has it."""
        with self._lock:
            if self._model is None:
                from martlet.schema.reader import read

                if self._stored is not None and self._file is not None:
                    self._file.check_unchanged()
                self._model = read(self._data, self._source)
            return self._model

    @property
    def _session(self) -> Session:
        return self._load().session

    @property
    def _graphs(self) -> list[GraphTensors]:
        return self._load().graphs

    @property
    def _signatures(self) -> dict[str, Signature]:
        from martlet.runtime.signatures import signature_maps

        return signature_maps(self.model)

    def _open(self, path: Any, content: Any) -> tuple[Any, str]:
        """The bytes of the model, and what errors call it."""
        empty = content is None or (isinstance(content, (bytes, str)) and not content)
        if not path and empty:
            raise ArgumentError("`model_path` or `model_content` must be specified.")
        if path and not empty:
            raise ArgumentError("Can't both provide `model_path` and `model_content`")
        if not empty:
            try:
                return memoryview(content), "<model>"
            except TypeError:
                raise ArgumentError(
                    "`model_content` is not the bytes of a model",
                    expected="bytes, bytearray, memoryview or an array of bytes",
                    found=type(content).__name__,
                ) from None
        try:
            self._file = File(os.fsdecode(path))
        except TypeError:
            raise ArgumentError(
                "`model_path` is not a path",
                expected="str or os.PathLike",
                found=type(path).__name__,
                hint="The bytes of a model go into model_content=.",
            ) from None
        return self._file.data, self._file.name

    # Running ------------------------------------------------------------------------------

    @_in_turn
    def allocate_tensors(self) -> None:
        """Plan the model for the present shapes. Needed before values are set, and after a
        resize; further calls change nothing."""
        self._ensure_safe()
        self._allocate(0)

    def invoke(self) -> None:
        """Run the model on the inputs that were set."""
        with self._lock:
            front = self._front
            if front.run_at_once is not None and not front.views_held():
                try:
                    front.run_at_once()
                except stored.ValueAtFaultError:
                    self._load()  # which knows whose it is, and says so
                else:
                    return
        self._invoke()

    @_in_turn
    def _invoke(self) -> None:
        self._ensure_safe()
        self._run(0)

    @_in_turn
    def resize_tensor_input(
        self, input_index: int, tensor_size: Sequence[int] | np.ndarray, strict: bool = False
    ) -> None:
        """Give an input another shape. strict: only sizes that are -1 in `shape_signature`."""
        self._ensure_safe()
        same = self._stored is not None and self._stored.has_shape(input_index, tensor_size)
        if same and not strict:
            return
        self._graphs[0].resize(input_index, tensor_size, strict)

    @_in_turn
    def reset_all_variables(self) -> None:
        """Set the variable tensors (the state of recurrent layers) to zero."""
        self._session.reset_variables()

    def _allocate(self, graph: int) -> None:
        if self._stored is not None and self._file is not None and graph == 0:
            if self._stored.run_at_once is None:
                self._file.check_unchanged()
                self._stored.allocate()
            return
        if not self._graphs[graph].ready and self._file is not None:
            self._file.check_unchanged()
        self._exclusively(self._graphs[graph].allocate)
        if self._may_store and self._file is not None and graph == 0:
            from martlet.runtime.storing import store  # the next process finds it

            self._may_store = False
            store(self._file, self._load(), self._options)

    def _run(self, graph: int) -> None:
        self._exclusively(self._graphs[graph].run)

    def _exclusively(self, action: Callable[[], Any]) -> None:
        self._running = True
        try:
            action()
        finally:
            self._running = False

    @_in_turn
    def _run_graph(
        self, graph: int, inputs: Mapping[int, np.ndarray], outputs: Sequence[int]
    ) -> list[Any]:
        """Resize, allocate, set, run and get, with no other thread in between."""
        if self._stored is not None and graph == 0:
            found = self._run_stored(self._stored, inputs, outputs)
            if found is not None:
                return found
        tensors = self._graphs[graph]
        for i, value in inputs.items():
            tensors.resize(i, value.shape, strict=False)
        self._allocate(graph)
        for i, value in inputs.items():
            tensors.set(i, value)
        self._run(graph)
        return [_copy(tensors.get(i)) for i in outputs]

    def _run_stored(
        self, plan: StoredPlan, inputs: Mapping[int, np.ndarray], outputs: Sequence[int]
    ) -> list[Any] | None:
        """The same by a stored plan; None if that cannot do it."""
        if not all(plan.takes(i, value) for i, value in inputs.items()):
            return None
        self._allocate(0)
        if plan.run_at_once is None or not plan.outputs_at_once.keys() >= set(outputs):
            return None
        for i, value in inputs.items():
            plan.inputs_at_once[i][...] = value
        try:
            plan.run_at_once()
        except stored.ValueAtFaultError:
            return None  # the model knows whose it is, and says so
        return [plan.outputs_at_once[i].copy() for i in outputs]

    # Values -------------------------------------------------------------------------------

    def set_tensor(self, tensor_index: int, value: Any) -> None:
        """Copy an array of the very shape and type into an input."""
        if type(value) is np.ndarray and type(tensor_index) is int:
            with self._lock:
                room = self._front.inputs_at_once.get(tensor_index)
                if room is not None and value.dtype is room.dtype and value.shape == room.shape:
                    room[...] = value
                    return
        self._set_tensor(tensor_index, value)

    @_in_turn
    def _set_tensor(self, tensor_index: int, value: Any) -> None:
        self._graphs[0].set(tensor_index, value)

    def get_tensor(self, tensor_index: int, subgraph_index: int = 0) -> Any:
        """A copy of a tensor's value: an array, a NumPy scalar where it has no dimensions,
        an object array of bytes where it holds strings."""
        if type(tensor_index) is int and subgraph_index == 0:
            with self._lock:
                room = self._front.outputs_at_once.get(tensor_index)
                if room is not None:
                    return room.copy()
        return self._get_tensor(tensor_index, subgraph_index)

    @_in_turn
    def _get_tensor(self, tensor_index: int, subgraph_index: int) -> Any:
        return _copy(self._load().graph(subgraph_index).get(tensor_index))

    def tensor(self, tensor_index: int) -> Callable[[], np.ndarray]:
        """A function that gives a view of a tensor's present array, for access without copies.

        Keep the function, not the view: while a view lives, `allocate_tensors`, `invoke` and
        `resize_tensor_input` raise.
        """

        def view() -> np.ndarray:
            with self._lock:
                return self._graphs[0].view(tensor_index)

        return view

    def _safe_to_run(self) -> bool:
        return not self._front.views_held()

    def _ensure_safe(self) -> None:
        if not self._safe_to_run():
            raise ArgumentError(
                "There is at least 1 reference to internal data in the interpreter in the form "
                "of a numpy array or slice",
                hint="Hold only the function that tensor() returns, not the array that it gives.",
            )

    # Details ------------------------------------------------------------------------------

    def get_input_details(self) -> list[Details]:
        """Details of the inputs, in the order of the model."""
        with self._lock:
            if self._stored is not None:
                return self._stored.input_details()
            return self._load().input_details(self._compress)

    def get_output_details(self) -> list[Details]:
        """Details of the outputs, in the order of the model."""
        with self._lock:
            if self._stored is not None:
                return self._stored.output_details()
            return self._load().output_details(self._compress)

    def get_tensor_details(self, subgraph_index: int = 0) -> list[Details]:
        """Details of every tensor of a graph."""
        count = len(self._graphs)
        if not isinstance(subgraph_index, (int, np.integer)) or not 0 <= subgraph_index < count:
            raise ArgumentError(
                f"subgraph_index is out of range: {subgraph_index} for the model, "
                f"which has {count} subgraphs."
            )
        graph = self._graphs[subgraph_index].graph
        return [self._get_tensor_details(i, subgraph_index) for i in range(len(graph.tensors))]

    def num_subgraphs(self) -> int:
        """How many graphs the model has."""
        return len(self._graphs)

    @property
    def experimental_compress_quantization_zero_points(self) -> bool:
        """Whether equal zero points are given as one."""
        return self._compress

    def _get_tensor_details(self, tensor_index: int, subgraph_index: int) -> Details:
        with self._lock:
            return self._load().tensor_details(tensor_index, subgraph_index, self._compress)

    def _get_op_details(self, op_index: int) -> Details:
        return self._load().op_details(op_index)

    def _get_ops_details(self) -> list[Details]:
        """Name, inputs and outputs of every node of the main graph."""
        return [self._get_op_details(i) for i in range(len(self._graphs[0].graph.nodes))]

    # Signatures ---------------------------------------------------------------------------

    def get_signature_list(self) -> dict[str, dict[str, list[str]]]:
        """Names of inputs and outputs of every signature, by its key."""
        return {
            key: {"inputs": list(s.inputs), "outputs": list(s.outputs)}
            for key, s in self._signatures.items()
        }

    def _get_full_signature_list(self) -> dict[str, dict[str, dict[str, int]]]:
        return {
            key: {"inputs": dict(s.inputs), "outputs": dict(s.outputs)}
            for key, s in self._signatures.items()
        }

    def get_signature_runner(self, signature_key: str | None = None) -> SignatureRunner:
        """A function that runs a signature by names; the key may be left out if there is one."""
        if signature_key is None:
            if len(self._signatures) != 1:
                raise ArgumentError(
                    f"SignatureDef signature_key is None and model has {len(self._signatures)} "
                    "Signatures. None is only allowed when the model has 1 SignatureDef",
                    expected=" or ".join(map(repr, self._signatures)),
                    hint="" if self._signatures else "Use set_tensor(), invoke() and get_tensor().",
                )
            signature_key = next(iter(self._signatures))
        from martlet.runtime.signatures import SignatureRunner

        return SignatureRunner(self, signature_key)


class InterpreterWithCustomOps(Interpreter):
    """An Interpreter that takes the names of native registration functions.

    Martlet has the public custom operators itself and cannot call native ones: the registerers
    are not used. An operator that is known neither here nor in `custom_ops=` is named in the
    error of `allocate_tensors`.
    """

    def __init__(
        self, custom_op_registerers: Sequence[Any] | None = None, **arguments: Any
    ) -> None:
        self._custom_op_registerers = list(custom_op_registerers or [])
        for registerer in self._custom_op_registerers:
            log.info("native registerer %s is not used", registerer)
        super().__init__(**arguments)


def _copy(array: np.ndarray) -> Any:
    """A plain copy; a scalar for no dimensions, but for strings."""
    copy = np.array(array)
    return copy if copy.ndim or copy.dtype.kind == "O" else copy[()]


def __getattr__(name: str) -> Any:
    if name == "SignatureRunner":  # where TensorFlow Lite has it
        from martlet.runtime.signatures import SignatureRunner

        return SignatureRunner
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
