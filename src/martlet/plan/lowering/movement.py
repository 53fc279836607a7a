"""Operators that move elements: views of memory, as NumPy has them, that are copied to each other.

A `Block` is the address of a tensor and an array of its shape that nobody reads or writes: only
its strides count. Slicing, splitting, turning and reshaping are done to that array, by NumPy, and
`copy` makes kernel steps of what came out:

    CONCATENATION    each input is copied to its slice of the output
    SPACE_TO_DEPTH   both sides with the blocks as dimensions of their own, in the output's order
    TILE             the input with dimensions of stride 0

A copy is of rows of bytes wherever neighbours stay neighbours, else of single elements, or of
matrices that are turned.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from martlet.dtypes import DType
from martlet.kernels.movement import BAND
from martlet.kernels.rows import OUTER
from martlet.ops.joining import rescaled
from martlet.ops.padding import pad_edges, stored_zero
from martlet.ops.permuting import permutation
from martlet.ops.resizing import float_neighbours, nearest_positions
from martlet.ops.slicing import slice_index, split_sizes, strided_index
from martlet.plan.lowering import Lowering, Ref, lowers
from martlet.plan.lowering.strides import CACHE_LINE, Ints, collapse, grain, row_arguments

LEAST_BYTES = 1 << 14
"""Moved by a thread at once."""
ELEMENTS = {1: "i8", 2: "i16", 4: "i32", 8: "i64"}
MOST_DIMENSIONS = 8
"""More are left to NumPy: twice as many must stay within its limits."""


@dataclass(frozen=True)
class Block:
    """Elements of a tensor, or some of them, in an order of their own."""

    address: Ref
    array: np.ndarray

    def of(self, view: np.ndarray) -> Block:
        """What a view of the array stands for."""
        return Block(self.address.at(_start(view) - _start(self.array)), view)


def _start(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def _block(address: Ref, shape: Ints, dtype: np.dtype) -> Block:
    # Memory that is not touched costs nothing.
    return Block(address, np.empty(shape, dtype))


def _input(lowering: Lowering, i: int = 0) -> Block:
    return _block(lowering.input(i), lowering.call.shape(i), lowering.call.dtype(i).numpy)


def _output(lowering: Lowering, shape: Ints) -> Block:
    """Output 0, which has the type of input 0."""
    return _block(lowering.output(0), shape, lowering.call.dtype(0).numpy)


def _movable(lowering: Lowering, i: int = 0) -> bool:
    return not lowering.call.dtype(i).numpy.hasobject and lowering.call.rank(i) <= MOST_DIMENSIONS


def copy(lowering: Lowering, source: Block, target: Block) -> bool:
    """Steps that copy one block to another; False if they need more dimensions than there are."""
    x, y = source.array, target.array
    assert x.shape == y.shape
    if y.size == 0:
        return True
    size = y.itemsize
    shape, (xs, ys) = collapse(y.shape, *(tuple(n // size for n in a.strides) for a in (x, y)))
    if not shape or (size not in ELEMENTS and (xs[-1], ys[-1]) != (1, 1)):
        # A row for each element.
        shape, xs, ys = (*shape, 1), (*xs, 1), (*ys, 1)
    if len(shape) > OUTER + 1:
        return False
    if (xs[-1], ys[-1]) == (1, 1):
        rows = row_arguments((*shape[:-1], shape[-1] * size), *(
            (*(size * n for n in strides[:-1]), 1) for strides in (xs, ys)
        ))  # fmt: skip
        lowering.step(
            "copy_rows", source.address, target.address, *rows,
            units=y.nbytes, grain=grain(lowering, y.nbytes, LEAST_BYTES, CACHE_LINE),
        )  # fmt: skip
    elif size == 4 and xs[-1] != 1 and ys[-1] == 1 and 1 in xs:
        _turn(lowering, source.address, target.address, shape, xs, ys)
    else:
        lowering.step(
            f"copy_elements_{ELEMENTS[size]}", source.address, target.address, xs[-1], ys[-1],
            *row_arguments(shape, xs, ys),
            units=y.size, grain=grain(lowering, y.size, LEAST_BYTES // size, CACHE_LINE),
        )  # fmt: skip
    return True


def _turn(lowering: Lowering, source: Ref, target: Ref, shape: Ints, xs: Ints, ys: Ints) -> None:
    """Matrices whose rows, in the source, are a dimension of the target that is not its last."""
    column = xs.index(1)
    outer = [i for i in range(len(shape) - 1) if i != column]
    front = [0] * (OUTER - 1 - len(outer))
    size1 = shape[outer[-1]] if outer else 1
    height, width = shape[-1], shape[column]
    units = math.prod(shape[i] for i in outer) * -(-height // BAND)
    lowering.step(
        "transpose_i32", source, target, height, width, xs[-1], ys[column], size1,
        *front, *(xs[i] for i in outer), *front, *(ys[i] for i in outer),
        units=units, grain=grain(lowering, units, -(-LEAST_BYTES // (4 * BAND * width)), 1),
    )  # fmt: skip


# Putting together, taking apart ---------------------------------------------------------------


@lowers("CONCATENATION")
def concatenation(lowering: Lowering) -> bool:
    call = lowering.call
    each = range(call.inputs)
    if not all(_movable(lowering, i) for i in each):
        return False
    if call.dtype(0) is DType.UINT8 and any(rescaled(call, i) for i in each):
        return False
    parts = [_input(lowering, i) for i in each]
    parts = [part.of(np.atleast_1d(part.array)) for part in parts]
    axis = int(call.option("axis")) % parts[0].array.ndim
    return _join(lowering, parts, axis)


@lowers("PACK")
def pack(lowering: Lowering) -> bool:
    if not _movable(lowering):
        return False
    parts = [_input(lowering, i) for i in range(lowering.call.inputs)]
    axis = int(lowering.call.option("axis")) % (lowering.call.rank(0) + 1)
    return _join(lowering, [part.of(np.expand_dims(part.array, axis)) for part in parts], axis)


def _join(lowering: Lowering, parts: list[Block], axis: int) -> bool:
    before: tuple[slice, ...] = (slice(None),) * axis
    shape = list(parts[0].array.shape)
    ends = np.cumsum([part.array.shape[axis] for part in parts]).tolist()
    shape[axis] = ends[-1]
    whole = _output(lowering, tuple(shape))
    return all(
        copy(lowering, part, whole.of(whole.array[(*before, slice(start, end))]))
        for part, start, end in zip(parts, [0, *ends], ends, strict=False)
    )


def _take(lowering: Lowering, views: list[np.ndarray], source: Block) -> bool:
    """One output for each view of the source."""
    return all(
        copy(lowering, source.of(view), _block(lowering.output(i), view.shape, view.dtype))
        for i, view in enumerate(views)
    )


@lowers("SPLIT", "SPLIT_V")
def split(lowering: Lowering) -> bool:
    source = 1 if lowering.call.op == "SPLIT" else 0
    found = split_sizes(lowering.call)
    if not _movable(lowering, source) or found is None:
        return False
    axis, sizes = found
    whole = _input(lowering, source)
    return _take(lowering, np.split(whole.array, np.cumsum(sizes)[:-1], axis), whole)


@lowers("UNPACK")
def unpack(lowering: Lowering) -> bool:
    if not _movable(lowering):
        return False
    whole = _input(lowering)
    pieces = np.moveaxis(whole.array, int(lowering.call.option("axis")), 0)
    return _take(lowering, [piece[...] for piece in pieces], whole)


@lowers("SLICE", "STRIDED_SLICE")
def slices(lowering: Lowering) -> bool:
    call = lowering.call
    if not _movable(lowering) or any(call.value(i) is None for i in range(1, call.inputs)):
        return False
    if call.op == "SLICE":
        index = slice_index(call)
    else:
        found = strided_index(call)
        index = None if found is None else found[0]
    if index is None:
        return False
    whole = _input(lowering)
    return _take(lowering, [whole.array[(*index, ...)]], whole)


# In another order -----------------------------------------------------------------------------


@lowers("TRANSPOSE")
def transpose(lowering: Lowering) -> bool:
    axes = permutation(lowering.call)
    if not _movable(lowering) or axes is None:
        return False
    whole = _input(lowering)
    return _take(lowering, [whole.array.transpose(axes)], whole)


@lowers("SPACE_TO_DEPTH")
def space_to_depth(lowering: Lowering) -> bool:
    if not _movable(lowering):
        return False
    (n, h, w, c), b = lowering.call.shape(0), int(lowering.call.option("block_size"))
    blocks = _reshaped(_input(lowering), n, h // b, b, w // b, b, c)
    target = _output(lowering, (n, h // b, w // b, b, b, c))
    return copy(lowering, blocks.of(blocks.array.transpose(0, 1, 3, 2, 4, 5)), target)


@lowers("DEPTH_TO_SPACE")
def depth_to_space(lowering: Lowering) -> bool:
    if not _movable(lowering):
        return False
    (n, h, w, c), b = lowering.call.shape(0), int(lowering.call.option("block_size"))
    c //= b * b
    blocks = _reshaped(_input(lowering), n, h, w, b, b, c)
    target = _output(lowering, (n, h, b, w, b, c))
    return copy(lowering, blocks.of(blocks.array.transpose(0, 1, 3, 2, 4, 5)), target)


def _reshaped(whole: Block, *shape: int) -> Block:
    """A whole tensor in another shape."""
    return whole.of(whole.array.reshape(shape))


@lowers("TILE")
def tile(lowering: Lowering) -> bool:
    times = lowering.call.value(1)
    if not _movable(lowering) or times is None:
        return False
    counts, sizes = times.ravel().tolist(), lowering.call.shape(0)
    once = _reshaped(_input(lowering), *(n for size in sizes for n in (1, size)))
    shape = tuple(n for pair in zip(counts, sizes, strict=True) for n in pair)
    return copy(lowering, once.of(np.broadcast_to(once.array, shape)), _output(lowering, shape))


@lowers("BROADCAST_TO")
def broadcast_to(lowering: Lowering) -> bool:
    target = lowering.call.value(1)
    if not _movable(lowering) or target is None or target.size > MOST_DIMENSIONS:
        return False
    whole = _input(lowering)
    return _take(lowering, [np.broadcast_to(whole.array, target.ravel().tolist())], whole)


# Edges ----------------------------------------------------------------------------------------


@lowers("PAD", "PADV2")
def pad(lowering: Lowering) -> bool:
    """Dimensions without padding join the one before them, so that rows get long."""
    call = lowering.call
    edges, fill = pad_edges(call), _fill(lowering)
    if not _movable(lowering) or edges is None or fill is None:
        return False
    # (size, before, after), the last dimension being the bytes of an element.
    joined = [(call.dtype(0).numpy.itemsize, 0, 0)]
    for n, (before, after) in reversed(list(zip(call.shape(0), edges, strict=True))):
        size, *padding = joined[0]
        if any(padding):
            joined.insert(0, (n, before, after))
        else:
            joined[0] = (n * size, before * size, after * size)
    joined = [d for d in joined[:-1] if d != (1, 0, 0)] + joined[-1:]
    if len(joined) > OUTER + 1:
        return False
    *outer, (inside, before, after) = [(1, 0, 0)] * (OUTER + 1 - len(joined)) + joined
    length = before + inside + after
    counts, starts = [d[0] for d in outer], [d[1] for d in outer]
    sizes = [sum(d) for d in outer]
    strides = [math.prod(counts[i:]) * inside for i in (1, 2, 3)]
    lowering.step(
        "pad_rows", lowering.input(0), lowering.output(0), fill, length, before, inside,
        *sizes, *starts, *counts, *strides,
        units=math.prod(sizes) if length else 0,
        grain=grain(lowering, math.prod(sizes), -(-LEAST_BYTES // max(length, 1)), 1),
    )  # fmt: skip
    return True


def _fill(lowering: Lowering) -> int | None:
    """Four bytes that, repeated, are the fill value over and over; None if no four are."""
    call = lowering.call
    value = call.value(2) if call.has(2) else np.array(stored_zero(call))
    if value is None or call.dtype(0).numpy.hasobject:
        return None
    element = value.astype(call.dtype(0).numpy).reshape(1)
    words = np.tile(element, max(1, 4 // element.itemsize)).view(np.int32)
    return int(words[0]) if (words == words[0]).all() else None


# Resizing -------------------------------------------------------------------------------------


@lowers("RESIZE_NEAREST_NEIGHBOR")
def resize_nearest(lowering: Lowering) -> bool:
    size = lowering.call.value(1)
    if size is None:
        return False
    n, height, width, depth = lowering.call.shape(0)
    new = [int(v) for v in size]
    nbytes = depth * lowering.call.dtype(0).numpy.itemsize
    ends = (
        bool(lowering.call.option("align_corners")),
        bool(lowering.call.option("half_pixel_centers")),
    )
    rows = _places(n, height, nearest_positions(height, new[0], *ends), width * nbytes)
    columns = nearest_positions(width, new[1], *ends) * nbytes
    lowering.step(
        "copy_pixels", lowering.input(0), lowering.output(0), nbytes, new[1],
        lowering.data(rows), lowering.data(columns),
        units=n * new[0] if nbytes else 0,
        grain=grain(lowering, n * new[0], -(-LEAST_BYTES // max(nbytes * new[1], 1)), 1),
    )  # fmt: skip
    return True


@lowers("RESIZE_BILINEAR")
def resize_bilinear(lowering: Lowering) -> bool:
    size = lowering.call.value(1)
    if size is None or lowering.call.dtype(0) is not DType.FLOAT32:
        return False
    n, height, width, depth = lowering.call.shape(0)
    new = [int(v) for v in size]
    ends = (
        bool(lowering.call.option("align_corners")),
        bool(lowering.call.option("half_pixel_centers")),
    )
    rows = float_neighbours(height, new[0], *ends)
    columns = float_neighbours(width, new[1], *ends)
    tables = [_places(n, height, place, width * depth) for place in (rows.low, rows.high)]
    tables += [np.tile(rows.weight, n), columns.low * depth, columns.high * depth, columns.weight]
    lowering.step(
        "blend_pixels_f32", lowering.input(0), lowering.output(0), depth, new[1],
        *map(lowering.data, tables),
        units=n * new[0] if depth else 0,
        grain=grain(lowering, n * new[0], -(-LEAST_BYTES // max(4 * depth * new[1], 1)), 1),
    )  # fmt: skip
    return True


def _places(images: int, height: int, positions: np.ndarray, row: int) -> np.ndarray:
    """Where the rows at these positions begin, in every image, `row` being what one row takes."""
    first = np.arange(images, dtype=np.int64)[:, None] * height
    return np.ravel((first + positions) * row)
