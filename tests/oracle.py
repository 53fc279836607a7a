"""Answers of LiteRT, for models built in a test."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from martlet.graph import Model
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
