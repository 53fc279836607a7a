"""CAST: each element as a value of the output's type.

To integers: floats are truncated towards zero and saturate, NaN becomes the greatest value;
integers keep their low bits. To BOOL: whether it is not zero. Complex numbers lose their
imaginary part on the way to anything real. float64 becomes float16 by way of float32.
To 4 bits only floats go.
"""

from __future__ import annotations

import numpy as np

from martlet.dtypes import FLOATS, PACKED, DType
from martlet.ops.float_to_integer import saturate_float
from martlet.ops.operator import Call, Spec, register

COMPLEX = (DType.COMPLEX64, DType.COMPLEX128)
TYPES = tuple(
    d for d in DType if d.supported and d not in (DType.STRING, DType.RESOURCE, DType.BFLOAT16)
)


def _infer(call: Call) -> list[Spec]:
    dtype = call.check_dtype(0, *TYPES)
    output = call.output().dtype
    allowed = output in TYPES and (output not in PACKED or dtype in FLOATS or dtype is output)
    call.check(allowed, f"{dtype.name} cannot be cast to the type of the output", found=output.name)
    return [Spec(output, call.shape(0))]


def _cast(call: Call, x: np.ndarray) -> np.ndarray:
    output = call.output().dtype
    if x.dtype.kind == "c" and output not in COMPLEX:
        x = x.real
    if x.dtype.kind == "f" and output.is_integer:
        return saturate_float(x, output)
    if x.dtype == np.float64 and output is DType.FLOAT16:
        x = x.astype(np.float32)
    return x.astype(output.numpy)


register("CAST", infer=_infer, evaluate=_cast, inputs=1, options="CastOptions", versions=9)
