"""Custom operators written in Python: `Interpreter(..., custom_ops={"Name": function})`.

A function is called with the node's inputs as arrays (None for one left out) and gives the
output, or a tuple of outputs. If it has a parameter named `options`, it also gets the options of
the node: decoded if they are a FlexBuffer, else as bytes. The types of the outputs are those that
the file declares; their shapes are what the function gives, so they are known only when it ran.

    def swish(x, options):
        return x / (1 + np.exp(-options["beta"] * x))

An `Operator` (see `martlet.ops.operator`) can be given instead; it can tell shapes beforehand.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from martlet.dtypes import DType
from martlet.errors import ArgumentError, MartletError, ModelError
from martlet.graph import ABSENT
from martlet.ops.operator import Call, Operator, Spec
from martlet.runtime.values import convert_value
from martlet.schema.flexbuffer import decode

ANY_INPUT = frozenset(range(256))
CustomOps = Mapping[str, "Callable[..., Any] | Operator"]


def as_operators(custom_ops: CustomOps | None) -> dict[str, Operator]:
    """The operators that a caller's `custom_ops` stands for, by name."""
    result: dict[str, Operator] = {}
    for name, value in (custom_ops or {}).items():
        if isinstance(value, Operator):
            result[name] = value._replace(name=name, custom=True)
        elif callable(value):
            result[name] = _operator(name, value)
        else:
            raise ArgumentError(
                f"custom operator {name!r} is neither a function nor an Operator",
                expected="a function of the input arrays",
                found=type(value).__name__,
            )
    return result


def _operator(name: str, function: Callable[..., Any]) -> Operator:
    wants_options = _wants_options(function)

    def evaluate(call: Call, *inputs: np.ndarray | None) -> Sequence[np.ndarray]:
        # Copies: a function that writes into its arguments must not change weights or inputs.
        arguments = [None if x is None else x.copy() for x in inputs]
        keywords = {"options": options_of(call)} if wants_options else {}
        try:
            results = function(*arguments, **keywords)
        except MartletError:
            raise
        except Exception as error:
            call.fail_run(f"the function of {name} raised {type(error).__name__}: {error}")
        results = results if isinstance(results, (tuple, list)) else (results,)
        if len(results) != call.outputs:
            call.fail_run(
                f"the function of {name} gave the wrong number of outputs",
                expected=str(call.outputs),
                found=str(len(results)),
            )
        return [_output(call, i, value) for i, value in enumerate(results)]

    return Operator(
        name, _declared_types, evaluate, options="", versions=2**31, inputs=(0, None),
        outputs=(0, None), optional=ANY_INPUT, pure=False, custom=True,
    )  # fmt: skip


def _declared_type(call: Call, i: int) -> DType:
    index = call.node.outputs[i]
    return DType.FLOAT32 if index == ABSENT else call.graph.tensors[index].dtype


def _declared_types(call: Call) -> list[Spec]:
    return [Spec(_declared_type(call, i), None) for i in range(call.outputs)]


def _output(call: Call, i: int, value: Any) -> np.ndarray:
    """An output of the function as an array of the declared type."""
    dtype = _declared_type(call, i)
    if not dtype.supported:
        call.unsupported(f"output {i} has the type {dtype.name}, which is not supported")
    what = f"output {i} of {call.op}"
    try:
        result = convert_value(value, dtype, what)
    except ArgumentError as error:
        call.fail_run(error.problem, error.expected, error.found)
    return result


def _wants_options(function: Callable[..., Any]) -> bool:
    try:
        return "options" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False  # some functions written in C do not tell their parameters


def options_of(call: Call) -> Any:
    """The custom options of a node: a value if they are a FlexBuffer, else bytes."""
    raw = call.node.custom_options
    data = b"" if raw is None else raw.tobytes()
    if not data:
        return {}
    try:
        return decode(data, call.place)
    except ModelError:
        return data
