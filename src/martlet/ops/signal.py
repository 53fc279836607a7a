"""Fourier transforms of the last two dimensions, and the parts of complex numbers.

RFFT2D: real values, cut or padded with zeros to the lengths that input 1 gives, become the
non-negative half of their spectrum; IRFFT2D (custom) goes back. Any length will do, not only
powers of two. Both compute in double precision.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from martlet.dtypes import DType
from martlet.graph import MAX_RANK
from martlet.ops.operator import Call, Spec, register

REAL_OF = {DType.COMPLEX64: DType.FLOAT32, DType.COMPLEX128: DType.FLOAT64}


def _lengths(call: Call, lengths: np.ndarray) -> tuple[int, int]:
    height, width = (int(n) for n in lengths)
    if height < 1 or width < 1:
        call.fail("the lengths of a transform must be positive", found=f"{height} and {width}")
    return height, width


def _infer_transform(call: Call, dtype: DType, result: DType, bins: Callable[[int], int]) -> Spec:
    """The rule of both transforms; `bins`: the last size of the output for a length."""
    call.check_dtype(0, dtype)
    shape = call.check_rank(0, 2, MAX_RANK)
    call.check_dtype(1, DType.INT32)
    call.check(call.shape(1) == (2,), "input 1 must be two lengths", "[2]", str(call.shape(1)))
    lengths = call.value(1)
    if lengths is None:
        return Spec(result, None)
    height, width = _lengths(call, lengths)
    # The transform works on complex128 values of the padded size.
    spec = Spec(DType.COMPLEX128, (*shape[:-2], height, max(width // 2 + 1, shape[-1])))
    call.session.reserve(2 * spec.nbytes, call.place)
    return Spec(result, (*shape[:-2], height, bins(width)))


def _infer_rfft2d(call: Call) -> list[Spec]:
    return [_infer_transform(call, DType.FLOAT32, DType.COMPLEX64, lambda n: n // 2 + 1)]


def _infer_irfft2d(call: Call) -> list[Spec]:
    return [_infer_transform(call, DType.COMPLEX64, DType.FLOAT32, lambda n: n)]


def _rfft2d(call: Call, x: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    return np.fft.rfft2(x.astype(np.float64), _lengths(call, lengths)).astype(np.complex64)


def _irfft2d(call: Call, x: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    return np.fft.irfft2(x.astype(np.complex128), _lengths(call, lengths)).astype(np.float32)


def _infer_part(call: Call) -> list[Spec]:
    return [Spec(REAL_OF[call.check_dtype(0, *REAL_OF)], call.shape(0))]


register("RFFT2D", infer=_infer_rfft2d, evaluate=_rfft2d, inputs=2, options="Rfft2dOptions")
register("IRFFT2D", infer=_infer_irfft2d, evaluate=_irfft2d, inputs=2, custom=True)
for _name, _part in (("REAL", np.real), ("IMAG", np.imag), ("COMPLEX_ABS", np.abs)):

    def _evaluate(_: Call, x: np.ndarray, part: Callable[..., np.ndarray] = _part) -> np.ndarray:
        return np.array(part(x))

    register(_name, infer=_infer_part, evaluate=_evaluate, inputs=1)
