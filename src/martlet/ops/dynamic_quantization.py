"""Dynamic ("hybrid") quantisation: float activations become 8-bit integers, row by row, in a run.

In: rows of floats. Out: for each row the integers, a zero point and a scale, so that
x ≈ scale * (q - zero_point). The integers then meet 8-bit or 4-bit weights in an exact product.

- symmetric: scale = max |x| / 127, zero point 0; q in -127…127;
- asymmetric: the row's range, widened to hold 0, is spread over -128…127.

q rounds half away from zero after a float32 multiplication by the reciprocal of the scale, as in
TensorFlow Lite's portable kernels. A row of zeros has q = 0 and scale 1.
"""

from __future__ import annotations

import numpy as np

from martlet.ops.fixed_point import round_half_away


def quantize_rows(x: np.ndarray, asymmetric: bool) -> tuple[np.ndarray, np.ndarray]:
    """(q - zero_point, scale) of each row along the last dimension: int16, float32 (…, 1)."""
    x = np.asarray(x, np.float32)
    if x.size == 0:
        return x.astype(np.int16), np.ones((*x.shape[:-1], 1), np.float32)
    low, high = x.min(-1, keepdims=True), x.max(-1, keepdims=True)
    if asymmetric:
        return _asymmetric(x, np.minimum(low, 0), np.maximum(high, 0))
    reach = np.maximum(np.abs(low), np.abs(high))
    empty = reach == 0
    safe = np.where(empty, np.float32(1), reach)
    q = _to_integers(x * (np.float32(127) / safe), -127)
    return q, np.where(empty, np.float32(1), reach / np.float32(127))


def _asymmetric(x: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The zero point comes from that end of the range where it is the more accurate."""
    empty = low == high
    least, most = low.astype(np.float64), high.astype(np.float64)
    step = np.where(empty, 1.0, (most - least) / 255)
    from_least, from_most = -128 - least / step, 127 - most / step
    nearer = 128 + np.abs(least / step) < 127 + np.abs(most / step)
    zero = round_half_away(np.clip(np.where(nearer, from_least, from_most), -128, 127))
    zero = np.where(empty, 0.0, zero).astype(np.float32)
    scale = step.astype(np.float32)
    q = _to_integers(zero + x * (np.float32(1) / scale), -128)
    return q - zero.astype(np.int16), scale


def _to_integers(x: np.ndarray, least: int) -> np.ndarray:
    """Rounded, within least…127; what is not a number becomes the least, as on x86."""
    rounded = round_half_away(np.nan_to_num(x, nan=least, posinf=127, neginf=least))
    return np.asarray(np.clip(rounded, least, 127)).astype(np.int16)
