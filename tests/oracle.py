"""Answers of LiteRT, for models built in a test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from build import one_node, run_model
from martlet.graph import Model
from martlet.ops.operator import lookup
from martlet.schema.writer import write


def litert(
    model: Model, inputs: Sequence[np.ndarray], reference: bool = True, invokes: int = 1
) -> list[np.ndarray]:
    """LiteRT's outputs for the main graph (after the last of `invokes` runs)."""
    resolver = OpResolverType.BUILTIN_REF if reference else OpResolverType.AUTO
    interpreter = Interpreter(
        model_content=bytes(write(model)), experimental_op_resolver_type=resolver
    )
    details = interpreter.get_input_details()
    for detail, array in zip(details, inputs, strict=True):
        if tuple(detail["shape"]) != array.shape:
            interpreter.resize_tensor_input(detail["index"], array.shape)
    interpreter.allocate_tensors()
    for _ in range(invokes):
        for detail, array in zip(details, inputs, strict=True):
            interpreter.set_tensor(detail["index"], array)
        interpreter.invoke()
    return [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]


def agree(
    op: str,
    inputs: Sequence[Any],
    options: Any = None,
    tolerance: float = 0.0,
    reference: bool = True,
    **kwargs: Any,
) -> Any:
    """Assert that one node gives what LiteRT's (reference) kernel gives.

    Returns the output, or the list of outputs if there are several.
    """
    operator = lookup(op, kwargs.get("custom", False))
    assert operator is not None
    kwargs.setdefault("options_type", operator.options)
    model, arrays = one_node(op, inputs, options, **kwargs)
    answers = run_model(model, arrays)
    for index, answer in zip(model.main.outputs, answers, strict=True):
        model.main.tensors[index].shape = answer.shape  # some kernels hold it against their own
    for answer, expected in zip(answers, litert(model, arrays, reference), strict=True):
        assert answer.shape == expected.shape
        assert answer.dtype.kind == expected.dtype.kind
        if tolerance and answer.dtype.kind in "fc":
            np.testing.assert_allclose(answer, expected, tolerance, tolerance)
        else:
            np.testing.assert_array_equal(answer, expected)
    return answers[0] if len(answers) == 1 else answers
