"""Functions of quantised values by table, as TensorFlow Lite builds and reads its tables.

    y = look_up(call, x, function)      int8, uint8 and int16; input 0 and output 0 of the node
    y = by_value(function, x)           any function of 8-bit values, evaluated 256 times only

`function` takes and gives float32 arrays. 8-bit inputs have one entry for each value: dequantised,
put through the function, divided by the output's scale and rounded half away from zero, all in
float32. int16 inputs have 513 entries, one for every 128th value, between which a line is drawn;
each entry is moved by half of the line's error in the middle of its segment.
"""

from __future__ import annotations

import numpy as np

from martlet.dtypes import DType
from martlet.ops.fixed_point import round_half_away
from martlet.ops.float_to_integer import saturate_float
from martlet.ops.operator import Call
from martlet.ops.single_precision import Function

SEGMENTS = 512


def by_value(function: Function, x: np.ndarray) -> np.ndarray:
    """function(x) element by element; 8-bit values by its answers for all 256 of them."""
    if x.itemsize > 1:
        return function(x)
    every = np.arange(256, dtype=np.uint8).view(x.dtype)
    return np.asarray(function(every)[x.view(np.uint8)])


def look_up(call: Call, x: np.ndarray, function: Function) -> np.ndarray:
    """The quantised function of quantised values."""
    scales = (call.scale(0), call.zero_point(0), call.output_scale(), call.output_zero_point())
    if call.dtype(0) is DType.INT16:
        return interpolate(x, interpolation_table(function, *scales))
    return by_value(lambda values: _direct(values, function, *scales, call.dtype(0)), x)


def _direct(
    values: np.ndarray,
    function: Function,
    scale: float,
    zero_point: int,
    output_scale: float,
    output_zero_point: int,
    dtype: DType,
) -> np.ndarray:
    real = np.float32(scale) * (values.astype(np.int64) - zero_point).astype(np.float32)
    rounded = round_half_away(function(real) * (np.float32(1) / np.float32(output_scale)))
    return saturate_float(rounded + np.float32(output_zero_point), dtype)


def interpolation_table(
    function: Function,
    scale: float,
    zero_point: int,
    output_scale: float,
    output_zero_point: int,
    real: type[np.floating] = np.float32,
) -> np.ndarray:
    """513 entries (int64 that hold int16) for the values -32768, -32640, ..., 32767.

    real: the type in which the table is computed, and on which the function works.
    """

    def ends(scale: float, zero_point: int) -> tuple[np.floating, np.floating]:
        return real(scale) * real(-32768 - zero_point), real(scale) * real(32767 - zero_point)

    first, last = ends(scale, zero_point)
    output_first, output_last = ends(output_scale, output_zero_point)
    step = (last - first) / real(SEGMENTS)
    per_real = real(65536) / (output_last - output_first)
    starts = first + np.arange(SEGMENTS + 1, dtype=real) * step
    middles = starts[:-1] + step / real(2)

    values = function(starts) * per_real
    samples = round_half_away(values[:-1])
    on_the_line = round_half_away((values[1:] + samples) / real(2))
    error = on_the_line - round_half_away(function(middles) * per_real)
    entries = samples - round_half_away(error / real(2))
    final = round_half_away(function(np.array([last], real)) * per_real)
    table = np.clip(np.append(entries, final), -32768, 32767)
    # Where the function overflows, the error is infinity minus infinity; C makes 0 of it.
    return np.where(np.isnan(table), 0, table).astype(np.int64)


def interpolate(x: np.ndarray, table: np.ndarray) -> np.ndarray:
    """int16 values through a table of 513 entries; slopes and results wrap as int16 does."""
    index = 256 + (x.astype(np.int64) >> 7)
    base = table[index]
    slope = (table[index + 1] - base).astype(np.int16).astype(np.int64)
    return np.asarray(base + ((slope * (x & 127) + 64) >> 7)).astype(np.int16)
