"""Custom operators that are known and cannot run here, each with the reason.

Code compiled for one accelerator, a vendor's own operators, and names that projects made up for
their tests have no public meaning. They are named so that the error says what the file is and what
would help, rather than that an operator is missing.
"""

from __future__ import annotations

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
REASONS = {
    "DISPATCH_OP": _COMPILED,
    "edgetpu-custom-op": _COMPILED,
    "ethos-u": _COMPILED,
    "MTKEXT_CONV_2D": _VENDOR,
    **dict.fromkeys(
        (
            "CUSTOM_OP_GENERATE_LABELS",
            "CUSTOM_OP_STRING_TO_BOOLS",
            "CUSTOM_OP_STRING_TO_DOUBLES",
            "CUSTOM_OP_STRING_TO_FLOATS",
            "CustomTestOp",
            "FakeOp",
            "FlexDouble",
            "NPU_OP",
            "fake-op-double",
            "testing_op",
            "the_custom_code",
        ),
        _TEST,
    ),
}
"""What each is, and what helps. The nodes may break rules that other nodes keep (scratch tensors
that nothing computes), so that the name alone decides."""
