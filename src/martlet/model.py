"""`martlet.load`: a model as a Python function.

    model = martlet.load("classifier.tflite")
    scores = model(image)                     # or model(image=image)
    parts = model.encode(text=["a string"])   # a signature, by its key
    print(model)

Inputs are numbers, lists or arrays that the input's type can hold without loss; other sizes of
the same number of dimensions are planned for as they come. One output is given as an array,
several as `Outputs`: a tuple that also knows the names.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from martlet.errors import ArgumentError, MartletError
from martlet.graph import ABSENT, Graph, Signature, Tensor
from martlet.runtime.interpreter import Interpreter
from martlet.runtime.values import convert_value


def load(model: str | os.PathLike[str] | bytes | Any, **options: Any) -> RunnableModel:
    """Load a model from a path, or from its bytes. `options`: see `martlet.Interpreter`."""
    if isinstance(model, (str, os.PathLike)):
        return RunnableModel(Interpreter(model_path=model, **options))
    return RunnableModel(Interpreter(model_content=model, **options))


class Outputs(tuple[Any, ...]):
    """Several outputs: a tuple whose members also go by name, as `outputs["scores"]`."""

    names: tuple[str, ...]

    def __new__(cls, names: Iterable[str], values: Iterable[Any]) -> Outputs:
        self = super().__new__(cls, values)
        self.names = tuple(names)
        return self

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            if key not in self.names:
                names = ", ".join(self.names)
                raise ArgumentError("there is no output of that name", expected=names, found=key)
            key = self.names.index(key)
        return super().__getitem__(key)

    def __repr__(self) -> str:
        shown = (f"{n}={describe(v)}" for n, v in zip(self.names, self, strict=True))
        return f"Outputs({', '.join(shown)})"


class Function:
    """A graph of the model with names for its inputs and outputs; calls run it."""

    def __init__(self, interpreter: Interpreter, signature: Signature) -> None:
        self._interpreter = interpreter
        self._signature = signature
        self._graph: Graph = interpreter.model.graphs[signature.graph]

    @property
    def inputs(self) -> dict[str, Tensor]:
        """The inputs as the file declares them, by name, in the order of the model."""
        return {k: self._graph.tensors[i] for k, i in self._signature.inputs.items()}

    @property
    def outputs(self) -> dict[str, Tensor]:
        """The outputs as the file declares them, by name, in the order of the model."""
        return {k: self._graph.tensors[i] for k, i in self._signature.outputs.items()}

    def __call__(self, /, *args: Any, **named: Any) -> Any:
        values = self._by_name(args, named)
        arrays = {}
        for name, value in values.items():
            index = self._signature.inputs[name]
            arrays[index] = self._fitting(name, self._graph.tensors[index], value)
        outputs = self._signature.outputs
        try:
            results = self._interpreter._run_graph(
                self._signature.graph, arrays, list(outputs.values())
            )
        except MartletError as error:
            self._explain_shapes(arrays, error)
            raise
        return results[0] if len(results) == 1 else Outputs(outputs, results)

    def _by_name(self, args: Sequence[Any], named: dict[str, Any]) -> dict[str, Any]:
        names = list(self._signature.inputs)
        if len(args) > len(names):
            raise ArgumentError(
                f"{self!r} takes fewer inputs", expected=str(len(names)), found=str(len(args))
            )
        values = dict(zip(names, args, strict=False))
        for name, value in named.items():
            if name not in names or name in values:
                problem = "was given twice" if name in values else "is not the name of an input"
                raise ArgumentError(f"{name!r} {problem}", expected=", ".join(names), found=name)
            values[name] = value
        missing = [n for n in names if n not in values]
        if missing:
            raise ArgumentError(
                "inputs are missing", expected=", ".join(names), found=", ".join(values) or "none"
            )
        return values

    def _fitting(self, name: str, tensor: Tensor, value: Any) -> np.ndarray:
        """The value as an array of the input's type and number of dimensions."""
        array = convert_value(value, tensor.dtype, f"input {name!r}")
        if tensor.has_rank and array.ndim != len(tensor.shape):
            hint = (
                "Add an axis for the batch: value[None]." if array.ndim < len(tensor.shape) else ""
            )
            raise ArgumentError(
                f"input {name!r} has the wrong number of dimensions",
                expected=f"shape {list(tensor.signature or tensor.shape)}",
                found=f"shape {list(array.shape)}",
                hint=hint,
            )
        return array

    def _explain_shapes(self, arrays: dict[int, np.ndarray], error: MartletError) -> None:
        """Where the model failed on a shape that the file does not foresee, say so instead."""
        for name, index in self._signature.inputs.items():
            tensor, shape = self._graph.tensors[index], arrays[index].shape
            foreseen = tensor.signature or tensor.shape
            if any(n not in (-1, m) for n, m in zip(foreseen, shape, strict=False)):
                raise ArgumentError(
                    f"the model cannot take input {name!r} in this shape",
                    where=self._interpreter.model.source,
                    expected=str(list(foreseen)),
                    found=str(list(shape)),
                ) from error

    def __repr__(self) -> str:
        return f"{self._signature.key}({', '.join(self.inputs)}) -> {', '.join(self.outputs)}"


class RunnableModel(Function):
    """A loaded model: a function, with the model's signatures as attributes."""

    def __init__(self, interpreter: Interpreter) -> None:
        model = interpreter.model
        graphs = model.graphs
        self.signatures: dict[str, Function] = {
            s.key: Function(interpreter, _in_model_order(s, graphs[s.graph]))
            for s in model.signatures
        }
        """The signatures as functions, by key."""
        main = next(
            (f._signature for f in self.signatures.values() if not f._signature.graph), None
        )
        # A signature may leave inputs or outputs of the graph out; the function has them all.
        if main is None or {*main.inputs.values()} != {*graphs[0].inputs} - {ABSENT}:
            main = _from_tensors(graphs[0])
        super().__init__(interpreter, main)
        self.interpreter = interpreter
        """The Interpreter that runs it."""

    def __getattr__(self, name: str) -> Function:
        signatures = self.__dict__.get("signatures", {})
        if name not in signatures:
            known = ", ".join(signatures) or "none"
            raise AttributeError(f"the model has no signature {name!r}; its signatures: {known}")
        function: Function = signatures[name]
        return function

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.signatures]

    def __repr__(self) -> str:
        return f"<{self.interpreter.model.source}: {super().__repr__()}>"

    def __str__(self) -> str:
        model = self.interpreter.model
        constants = [t for g in model.graphs for t in g.tensors if t.is_constant]
        numbers = sum(t.size for t in constants)
        stored = sum(t.raw.size for t in constants if t.raw is not None)
        nodes = Counter(node.op for graph in model.graphs for node in graph.nodes)
        lines = [
            f"{model.source}: {nodes.total()} operators, {numbers:,} constant numbers in "
            f"{stored:,} bytes"
        ]
        if model.description:
            lines.append(f"  {model.description}")
        for side, tensors in (("in ", self.inputs), ("out", self.outputs)):
            lines += [f"  {side}  {name}: {_summary(tensor)}" for name, tensor in tensors.items()]
        if nodes:
            counts = ", ".join(f"{n} {op}" for op, n in nodes.most_common())
            lines.append(f"  operators: {counts}")
        lines += [f"  signature {f!r}" for f in self.signatures.values()]
        if len(model.graphs) > 1:
            lines.append(f"  {len(model.graphs)} graphs")
        if model.files:
            lines.append(f"  files: {', '.join(model.files)}")
        return "\n".join(lines)


def _in_model_order(signature: Signature, graph: Graph) -> Signature:
    """The signature with inputs and outputs in the order of its graph, for calls by position."""

    def order(names: dict[str, int], indices: list[int]) -> dict[str, int]:
        place = {i: n for n, i in enumerate(indices)}
        return dict(sorted(names.items(), key=lambda item: place.get(item[1], len(indices))))

    return Signature(
        signature.key,
        order(signature.inputs, graph.inputs),
        order(signature.outputs, graph.outputs),
        signature.graph,
    )


def _from_tensors(graph: Graph) -> Signature:
    """Names for the inputs and outputs of a graph: those of the tensors, made distinct."""

    def names(indices: list[int]) -> dict[str, int]:
        result: dict[str, int] = {}
        for i in indices:
            if i != ABSENT:
                name = graph.tensors[i].name.removesuffix(":0") or f"tensor_{i}"
                result[name if name not in result else f"{name}_{i}"] = i
        return result

    return Signature(graph.name or "main", names(graph.inputs), names(graph.outputs))


def _summary(tensor: Tensor) -> str:
    shape = "×".join("?" if n == -1 else str(n) for n in tensor.signature or tensor.shape)
    text = f"{tensor.dtype.name.lower()} {shape or 'scalar'}"
    return text + (f", {tensor.quantization}" if tensor.quantization else "")


def describe(value: Any) -> str:
    """Type and shape of an array, for people."""
    array = np.asarray(value)
    return f"{array.dtype} {'×'.join(map(str, array.shape)) or 'scalar'}"
