"""Build and run small models in tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from martlet.dtypes import DType
from martlet.graph import ABSENT, Graph, Model, Quantization, Tensor
from martlet.ops.operator import Spec
from martlet.runtime.session import Session


class Value:
    """An input of `run`: an array, its type and quantisation, whether it is a constant."""

    def __init__(
        self,
        array: Any,
        dtype: DType | None = None,
        quantization: Quantization | None = None,
        constant: bool = False,
        variable: bool = False,
    ) -> None:
        self.array = np.asarray(array)
        if self.array.dtype.kind in "SU":
            self.array = self.array.astype("S").astype(object)
        self.dtype = dtype or DType.of(self.array)
        self.quantization = quantization
        self.constant = constant
        self.variable = variable


def const(array: Any, dtype: DType | None = None, q: Quantization | None = None) -> Value:
    """A constant input."""
    return Value(array, dtype, q, constant=True)


def one_node(
    op: str,
    inputs: Sequence[Any],
    options: Mapping[str, Any] | None = None,
    outputs: Sequence[Tensor | DType] | None = None,
    **fields: Any,
) -> tuple[Model, list[np.ndarray]]:
    """A model of one node, and the arrays for its inputs.

    inputs: arrays, `Value`s, or None for an input left out. outputs: tensors or types; by
    default one, of the type and quantisation of the first input.
    """
    graph = Graph()
    arrays, indices = [], []
    for i, item in enumerate(inputs):
        if item is None:
            indices.append(ABSENT)
            continue
        value = item if isinstance(item, Value) else Value(item)
        if value.constant:
            index = graph.constant(value.array, f"in{i}", value.dtype, value.quantization)
        else:
            tensor = Tensor(f"in{i}", value.array.shape, value.dtype, value.quantization)
            tensor.is_variable = value.variable
            index = graph.tensor(tensor)
            if not value.variable:
                graph.inputs.append(index)
                arrays.append(value.array)
        indices.append(index)
    tensors = None
    if outputs is not None:
        tensors = [o if isinstance(o, Tensor) else Tensor(dtype=o) for o in outputs]
        for i, tensor in enumerate(tensors):
            tensor.name = tensor.name or f"out{i}"
    graph.add(op, indices, options, outputs=tensors, **fields)
    graph.output(*graph.nodes[0].outputs)
    return Model([graph], source="test"), arrays


def run_model(model: Model, arrays: Sequence[np.ndarray], **session: Any) -> list[np.ndarray]:
    """Run the main graph of a model on arrays."""
    graph = model.main
    running = Session(model, reference=session.pop("reference", True), **session)
    specs = [
        Spec(graph.tensors[i].dtype, a.shape) for i, a in zip(graph.inputs, arrays, strict=True)
    ]
    running.start_clock()
    return running.run(running.plan(0, specs), arrays)


def run(op: str, inputs: Sequence[Any], options: Any = None, **kwargs: Any) -> Any:
    """Evaluate one node: its output, or the list of its outputs if there are several."""
    model, arrays = one_node(op, inputs, options, **kwargs)
    results = run_model(model, arrays)
    return results[0] if len(results) == 1 else results
