"""Custom operators that are known and cannot run here, each with the reason.

Code compiled for one accelerator, a vendor's own operators, and names that projects made up for
their tests have no public meaning. They are named so that the error says what the file is and what
would help, rather than that an operator is missing.
"""

from __future__ import annotations

import numpy as np

from martlet.ops.operator import Call, Spec, register

_COMPILED = (
    "holds code compiled for one accelerator, which only that chip's runtime can run",
    "Use the model from before it was compiled for the chip.",
)
_VENDOR = (
    "is a vendor's own operator, whose meaning is not public",
    "Convert the model without the vendor's extensions, or register it with custom_ops=.",
)
_TEST = (
    "is a stand-in from another project's tests and computes nothing of its own",
    "Register a meaning for it with custom_ops=.",
)
_REASONS = {
    "DISPATCH_OP": _COMPILED,
    "edgetpu-custom-op": _COMPILED,
    "ethos-u": _COMPILED,
    "MTKEXT_CONV_2D": _VENDOR,
    "CustomTestOp": _TEST,
    "testing_op": _TEST,
    "CUSTOM_OP_STRING_TO_FLOATS": _TEST,
    "CUSTOM_OP_STRING_TO_DOUBLES": _TEST,
    "CUSTOM_OP_STRING_TO_BOOLS": _TEST,
    "CUSTOM_OP_GENERATE_LABELS": _TEST,
}


def _refuse(call: Call) -> list[Spec]:
    problem, hint = _REASONS[call.op]
    call.unsupported(f"the custom operator {call.op} {problem}", hint)


def _never(call: Call, *_: np.ndarray) -> np.ndarray:
    raise AssertionError(call.op)


for _name in _REASONS:
    register(
        _name, infer=_refuse, evaluate=_never, inputs=(0, None), outputs=(0, None), custom=True,
        pure=False,
    )  # fmt: skip
