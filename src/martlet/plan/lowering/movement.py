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

import itertools
import math

import numpy as np

from martlet.dtypes import DType
from martlet.kernels.forms import BAND, OUTER
from martlet.ops.joining import rescaled
from martlet.ops.padding import pad_edges
from martlet.ops.permuting import permutation
from martlet.ops.slicing import slice_index, split_sizes, strided_index
from martlet.plan.lowering import Lowering, Ref, lowers
from martlet.plan.lowering.strides import (
    CACHE_LINE,
    MOST_PARTS,
    Ints,
    collapse,
    count_parts,
    grain,
    parts,
    row_arguments,
)
from martlet.records import NamedTuple

LEAST_BYTES = 1 << 14
"""Moved by a thread at once."""
ELEMENTS = {1: "i8", 2: "i16", 4: "i32", 8: "i64"}
MOST_DIMENSIONS = 8
"""More are left to NumPy: twice as many must stay within its limits."""


class Block(NamedTuple):
    """Elements of a tensor, or some of them, in an order of their own."""

    address: Ref
    array: np.ndarray

    def of(self, view: np.ndarray) -> Block:
        """What a view of the array stands for."""
        return Block(self.address.at(_start(view) - _start(self.array)), view)


def _start(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def _block(address: Ref, shape: Ints, dtype: np.dtype, pitch: int | None = None) -> Block:
    """A tensor, its rows, along the last dimension, `pitch` apart."""
    if not shape or pitch is None:
        return Block(address, np.empty(shape, dtype))
    # Memory that is not touched costs nothing.
    return Block(address, np.empty((*shape[:-1], pitch), dtype)[..., : shape[-1]])


def input_block(lowering: Lowering, i: int = 0) -> Block:
    call = lowering.call
    return _block(lowering.input(i), call.shape(i), call.dtype(i).numpy, lowering.pitch(i))


def output_block(lowering: Lowering, shape: Ints, i: int = 0) -> Block:
    pitch = lowering.output_pitch(shape[-1], i) if shape else None
    return _block(lowering.output(i), shape, lowering.call.output(i).dtype.numpy, pitch)


def movable(lowering: Lowering, i: int = 0) -> bool:
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
    if count_parts(shape) > MOST_PARTS:
        return False
    for (x_start, y_start), sizes, (xt, yt) in parts(shape, xs, ys):
        begin = source.address.at(x_start * size), target.address.at(y_start * size)
        _copy(lowering, *begin, size, sizes, xt, yt)
    return True


def _copy(
    lowering: Lowering, source: Ref, target: Ref, size: int, shape: Ints, xs: Ints, ys: Ints
) -> None:
    """A step for dimensions as few as kernels take; `size`: bytes of an element."""
    count = math.prod(shape)
    if (xs[-1], ys[-1]) == (1, 1):
        rows = row_arguments((*shape[:-1], shape[-1] * size), *(
            (*(size * n for n in strides[:-1]), 1) for strides in (xs, ys)
        ))  # fmt: skip
        lowering.step(
            "copy_rows", source, target, *rows,
            units=count * size, grain=grain(lowering, count * size, LEAST_BYTES, CACHE_LINE),
        )  # fmt: skip
    elif (xs[-1], ys[-1]) == (0, 1):
        lowering.step(
            f"repeat_{ELEMENTS[size]}", source, target, *row_arguments(shape, xs, ys),
            units=count, grain=grain(lowering, count, LEAST_BYTES // size, CACHE_LINE),
        )  # fmt: skip
    elif size == 4 and xs[-1] != 1 and ys[-1] == 1 and 1 in xs:
        _turn(lowering, source, target, shape, xs, ys)
    else:
        lowering.step(
            f"copy_elements_{ELEMENTS[size]}", source, target, xs[-1], ys[-1],
            *row_arguments(shape, xs, ys),
            units=count, grain=grain(lowering, count, LEAST_BYTES // size, CACHE_LINE),
        )  # fmt: skip


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


@lowers("CONCATENATION", pitched=True)
def concatenation(lowering: Lowering) -> bool:
    call = lowering.call
    each = range(call.inputs)
    if not all(movable(lowering, i) for i in each):
        return False
    if call.dtype(0) is DType.UINT8 and any(rescaled(call, i) for i in each):
        return False
    pieces = [input_block(lowering, i) for i in each]
    pieces = [piece.of(np.atleast_1d(piece.array)) for piece in pieces]
    axis = int(call.option("axis")) % pieces[0].array.ndim
    return _join(lowering, pieces, axis)


@lowers("PACK", pitched=True)
def pack(lowering: Lowering) -> bool:
    if not movable(lowering):
        return False
    pieces = [input_block(lowering, i) for i in range(lowering.call.inputs)]
    axis = int(lowering.call.option("axis")) % (lowering.call.rank(0) + 1)
    pieces = [piece.of(np.expand_dims(piece.array, axis)) for piece in pieces]
    return _join(lowering, pieces, axis)


def _join(lowering: Lowering, pieces: list[Block], axis: int) -> bool:
    before: tuple[slice, ...] = (slice(None),) * axis
    shape = list(pieces[0].array.shape)
    ends = np.cumsum([piece.array.shape[axis] for piece in pieces]).tolist()
    shape[axis] = ends[-1]
    whole = output_block(lowering, tuple(shape))
    return all(
        i in lowering.in_place
        or copy(lowering, piece, whole.of(whole.array[(*before, slice(start, end))]))
        for i, (piece, start, end) in enumerate(zip(pieces, [0, *ends], ends, strict=False))
    )


def _take(lowering: Lowering, views: list[np.ndarray], source: Block) -> bool:
    """One output for each view of the source."""
    return all(
        copy(lowering, source.of(view), output_block(lowering, view.shape, i))
        for i, view in enumerate(views)
    )


@lowers("SPLIT", "SPLIT_V", pitched=True)
def split(lowering: Lowering) -> bool:
    source = 1 if lowering.call.op == "SPLIT" else 0
    found = split_sizes(lowering.call)
    if not movable(lowering, source) or found is None:
        return False
    axis, sizes = found
    whole = input_block(lowering, source)
    return _take(lowering, np.split(whole.array, np.cumsum(sizes)[:-1], axis), whole)


@lowers("UNPACK", pitched=True)
def unpack(lowering: Lowering) -> bool:
    if not movable(lowering):
        return False
    whole = input_block(lowering)
    pieces = np.moveaxis(whole.array, int(lowering.call.option("axis")), 0)
    return _take(lowering, [piece[...] for piece in pieces], whole)


@lowers("SLICE", "STRIDED_SLICE", pitched=True)
def slices(lowering: Lowering) -> bool:
    call = lowering.call
    if not movable(lowering) or any(call.value(i) is None for i in range(1, call.inputs)):
        return False
    if call.op == "SLICE":
        index = slice_index(call)
    else:
        found = strided_index(call)
        index = None if found is None else found[0]
    if index is None:
        return False
    whole = input_block(lowering)
    return _take(lowering, [whole.array[(*index, ...)]], whole)


# In another order -----------------------------------------------------------------------------


@lowers("TRANSPOSE", pitched=True)
def transpose(lowering: Lowering) -> bool:
    axes = permutation(lowering.call)
    if not movable(lowering) or axes is None:
        return False
    whole = input_block(lowering)
    return _take(lowering, [whole.array.transpose(axes)], whole)


@lowers("SPACE_TO_DEPTH", pitched=True)
def space_to_depth(lowering: Lowering) -> bool:
    if not movable(lowering):
        return False
    (n, h, w, c), b = lowering.call.shape(0), int(lowering.call.option("block_size"))
    blocks = _reshaped(input_block(lowering), n, h // b, b, w // b, b, c)
    target = output_block(lowering, (n, h // b, w // b, b * b * c))
    target = _reshaped(target, n, h // b, w // b, b, b, c)
    return copy(lowering, blocks.of(blocks.array.transpose(0, 1, 3, 2, 4, 5)), target)


@lowers("DEPTH_TO_SPACE", pitched=True)
def depth_to_space(lowering: Lowering) -> bool:
    if not movable(lowering):
        return False
    (n, h, w, c), b = lowering.call.shape(0), int(lowering.call.option("block_size"))
    c //= b * b
    blocks = _reshaped(input_block(lowering), n, h, w, b, b, c)
    target = _reshaped(output_block(lowering, (n, h * b, w * b, c)), n, h, b, w, b, c)
    return copy(lowering, blocks.of(blocks.array.transpose(0, 1, 3, 2, 4, 5)), target)


def _reshaped(whole: Block, *shape: int) -> Block:
    """A whole tensor with its dimensions split."""
    view = whole.array.view()
    view.shape = shape  # which fails where `reshape` would copy
    return whole.of(view)


@lowers("TILE", pitched=True)
def tile(lowering: Lowering) -> bool:
    times = lowering.call.value(1)
    if not movable(lowering) or times is None:
        return False
    counts, sizes = times.ravel().tolist(), lowering.call.shape(0)
    once = _reshaped(input_block(lowering), *(n for size in sizes for n in (1, size)))
    pairs = tuple(n for pair in zip(counts, sizes, strict=True) for n in pair)
    shape = tuple(n * m for n, m in zip(counts, sizes, strict=True))
    target = _reshaped(output_block(lowering, shape), *pairs)
    return copy(lowering, once.of(np.broadcast_to(once.array, pairs)), target)


@lowers("REVERSE_V2", pitched=True)
def reverse(lowering: Lowering) -> bool:
    axes = lowering.call.value(1)
    if not movable(lowering) or axes is None:
        return False
    whole = input_block(lowering)
    return _take(lowering, [np.flip(whole.array, tuple(int(a) for a in axes.ravel()))], whole)


@lowers("MIRROR_PAD", pitched=True)
def mirror_pad(lowering: Lowering) -> bool:
    """Every edge and corner is a piece of the input, turned around."""
    call = lowering.call
    edges = pad_edges(call)
    if not movable(lowering) or edges is None:
        return False
    spare = int(call.option("mode") == "REFLECT")
    # (where it goes, where it comes from) for the pieces along each dimension.
    pieces = []
    for n, (before, after) in zip(call.shape(0), edges, strict=True):
        along = [(slice(before, before + n), slice(None))]
        if before:
            along.append(
                (slice(before), slice(spare + before - 1, spare - 1 if spare else None, -1))
            )
        if after:
            last = n - spare - after - 1
            end = None if last < 0 else last
            along.append((slice(before + n, None), slice(n - spare - 1, end, -1)))
        pieces.append(along)
    if math.prod(map(len, pieces)) > MOST_PARTS:
        return False
    sizes = zip(call.shape(0), edges, strict=True)
    whole, target = (
        input_block(lowering),
        output_block(lowering, tuple(n + sum(e) for n, e in sizes)),
    )
    return all(
        copy(
            lowering,
            whole.of(whole.array[tuple(source for _, source in chosen)]),
            target.of(target.array[tuple(place for place, _ in chosen)]),
        )
        for chosen in itertools.product(*pieces)
    )


@lowers("FILL", pitched=True)
def fill(lowering: Lowering) -> bool:
    sizes = lowering.call.value(0)
    if sizes is None or not movable(lowering, 1) or sizes.size > MOST_DIMENSIONS:
        return False
    shape = tuple(sizes.ravel().tolist())
    one = Block(lowering.input(1), np.empty((), lowering.call.dtype(1).numpy))
    return copy(lowering, one.of(np.broadcast_to(one.array, shape)), output_block(lowering, shape))


@lowers("ZEROS_LIKE", pitched=True)
def zeros_like(lowering: Lowering) -> bool:
    if not movable(lowering):
        return False
    shape, dtype = lowering.call.shape(0), lowering.call.dtype(0).numpy
    zero = Block(lowering.data(np.zeros((), dtype)), np.empty((), dtype))
    return copy(
        lowering, zero.of(np.broadcast_to(zero.array, shape)), output_block(lowering, shape)
    )


@lowers("BROADCAST_TO", pitched=True)
def broadcast_to(lowering: Lowering) -> bool:
    target = lowering.call.value(1)
    if not movable(lowering) or target is None or target.size > MOST_DIMENSIONS:
        return False
    whole = input_block(lowering)
    return _take(lowering, [np.broadcast_to(whole.array, target.ravel().tolist())], whole)


@lowers("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
def rename(lowering: Lowering) -> bool:
    """Where the output cannot be the input under another name (`plan/layout.py`)."""
    if not movable(lowering):
        return False
    elements = np.empty(lowering.size(0), lowering.call.dtype(0).numpy)
    return copy(lowering, Block(lowering.input(0), elements), Block(lowering.output(0), elements))
