"""One-node models with state, run several times here and in LiteRT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from build import Value, const, one_node
from martlet.dtypes import DType
from martlet.graph import Model, Quantization, Tensor
from martlet.ops.operator import Spec, lookup
from martlet.runtime.session import Session
from martlet.schema.writer import write


def state(shape: Sequence[int], dtype: Any = np.float32, q: Quantization | None = None) -> Value:
    """A variable tensor."""
    return Value(np.zeros(shape, dtype), quantization=q, variable=True)


def model(
    op: str,
    inputs: Sequence[Any],
    options: Mapping[str, Any] | None = None,
    outputs: Sequence[Tensor | DType] = (DType.FLOAT32,),
    intermediates: Sequence[Quantization] = (),
    **fields: Any,
) -> tuple[Model, list[np.ndarray]]:
    """A model of one recurrent node. Its intermediates are described by their quantisation."""
    built, arrays = one_node(op, inputs, options, outputs, **fields)
    graph = built.main
    operator = lookup(op, custom=bool(fields.get("custom")))
    assert operator is not None
    graph.nodes[0].options_type = operator.options
    graph.nodes[0].intermediates = [
        graph.tensor(Tensor(f"intermediate{i}", (0,), DType.INT16, q))
        for i, q in enumerate(intermediates)
    ]
    return built, arrays


def martlet(
    model: Model, runs: Sequence[Sequence[np.ndarray]], **session: Any
) -> list[list[np.ndarray]]:
    """The outputs of each of several runs."""
    running = Session(model, **session)
    answers = []
    for arrays in runs:
        specs = [
            Spec(model.main.tensors[i].dtype, a.shape)
            for i, a in zip(model.main.inputs, arrays, strict=True)
        ]
        running.start_clock()
        outputs = running.run(running.plan(0, specs), arrays)
        answers.append([a.copy() for a in outputs])  # the next run writes to the same place
    return answers


def litert(model: Model, runs: Sequence[Sequence[np.ndarray]]) -> list[list[np.ndarray]]:
    """LiteRT's reference answers for the same runs."""
    interpreter = Interpreter(
        model_content=bytes(write(model)),
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
    )
    interpreter.allocate_tensors()
    answers = []
    for arrays in runs:
        for detail, array in zip(interpreter.get_input_details(), arrays, strict=True):
            interpreter.set_tensor(detail["index"], array)
        interpreter.invoke()
        answers.append(
            [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]
        )
    return answers


def assert_as_litert(
    built: Model, runs: Sequence[Sequence[np.ndarray]], tolerance: float = 1e-5
) -> list[list[np.ndarray]]:
    """Every output of every run is LiteRT's: integers to the bit, floats closely."""
    ours, theirs = martlet(built, runs, reference=True), litert(built, runs)
    for run, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        for k, (a, b) in enumerate(zip(mine, other, strict=True)):
            assert a.shape == b.shape
            assert a.dtype == b.dtype
            if a.dtype.kind == "f":
                np.testing.assert_allclose(
                    a, b, atol=tolerance, rtol=0, err_msg=f"run {run}, output {k}"
                )
            else:
                np.testing.assert_array_equal(a, b, err_msg=f"run {run}, output {k}")
    return ours


def weights(
    rng: np.random.Generator, shape: Sequence[int], kind: str, spread: float = 1.0
) -> Value:
    """Constant weights: float32, or int8/uint8 (holding int8 bits) with a scale."""
    if kind == "float32":
        return const(rng.uniform(-spread, spread, shape).astype(np.float32))
    stored = rng.integers(-127, 128, shape).astype(np.int8)
    q = Quantization.of(spread / 127)
    return const(stored.view(np.uint8) if kind == "uint8" else stored, q=q)


def floats(rng: np.random.Generator, shape: Sequence[int], spread: float = 1.0) -> np.ndarray:
    """Random float32 values."""
    return rng.uniform(-spread, spread, shape).astype(np.float32)
