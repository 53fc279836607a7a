"""Geometry of windows that slide over an image: sizes, padding, and what lies under each tap.

An `Axis` describes one spatial axis: windows of `taps` elements, `dilation` apart, stand at
`positions` places, `stride` apart, over `size` elements; the first begins `before` elements
outside. Element p * stride + t * dilation - before lies under tap t of the window at position p.
A convolution reads elements and writes positions; its transpose reads positions and writes
elements. Both walk over `taps(...)`, which gives slices and leaves out what lies outside, so that
nothing is ever padded and no dilation, however large, costs memory.

Work is cut into `blocks` of a few megabytes, so that temporaries stay small.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

from martlet.ops.operator import Call
from martlet.records import NamedTuple

BLOCK_BYTES = 8 << 20

Block = list[range]
"""A box of an index space: for each dimension the indices that lie in it."""


class Axis(NamedTuple):
    """Windows along one axis; the module's docstring says what the numbers mean."""

    size: int
    taps: int
    stride: int
    dilation: int
    positions: int
    before: int

    def overlap(self, tap: int, positions: range, elements: range) -> tuple[slice, slice] | None:
        """Where `tap` of these positions meets these elements: a slice of each, or None."""
        shift = tap * self.dilation - self.before
        first = max(positions.start, -((shift - elements.start) // self.stride))
        last = min(positions.stop - 1, (elements.stop - 1 - shift) // self.stride)
        if first > last:
            return None
        element = first * self.stride + shift - elements.start
        return (
            slice(first - positions.start, last - positions.start + 1),
            slice(element, element + (last - first) * self.stride + 1, self.stride),
        )


def window_axes(
    call: Call, letters: str, sizes: Sequence[int], taps: Sequence[int], dilated: bool = True
) -> list[Axis]:
    """The axes of an operator's windows, from its options, checked.

    letters: the axes' letters in the names of the options (`stride_h`). sizes, taps: elements
    of the image and of the window along each axis.
    """
    axes = []
    for letter, size, count in zip(letters, sizes, taps, strict=True):
        stride = call.option(f"stride_{letter}")
        dilation = call.option(f"dilation_{letter}_factor") if dilated else 1
        axes.append(
            window_axis(call, call.option("padding"), letter, size, count, stride, dilation)
        )
    return axes


def window_axis(
    call: Call, padding: object, letter: str, size: int, taps: int, stride: int, dilation: int = 1
) -> Axis:
    """One axis with its padding worked out, checked. `letter` names it in messages."""
    call.check(padding in ("SAME", "VALID"), "unknown padding", "SAME or VALID", str(padding))
    call.check(stride > 0, f"stride_{letter} must be positive", found=str(stride))
    call.check(dilation > 0, f"dilation_{letter}_factor must be positive", found=str(dilation))
    call.check(size > 0 and taps > 0, f"axis {letter} of the image or the window is empty")
    extent = (taps - 1) * dilation + 1
    if padding == "SAME":
        positions = -(-size // stride)
    else:
        call.check(
            extent < size + 2 * stride,
            f"the window is longer than the image along axis {letter}",
            f"at most {size}",
            str(extent),
        )
        # A window that hangs over by less than a stride has no position, and is no error.
        positions = max(0, (size + stride - extent) // stride)
    before = max(0, (positions - 1) * stride + extent - size) // 2
    return Axis(size, taps, stride, dilation, positions, before)


def taps(
    axes: Sequence[Axis], positions: Sequence[range], elements: Sequence[range]
) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...], tuple[slice, ...]]]:
    """For each tap that meets the image: its index, and slices of `positions` and `elements`."""
    met = [
        [
            (tap, *slices)
            for tap in range(axis.taps)
            if (slices := axis.overlap(tap, where, image)) is not None
        ]
        for axis, where, image in zip(axes, positions, elements, strict=True)
    ]
    for combination in itertools.product(*met):
        index, at, under = zip(*combination, strict=True)
        yield index, at, under


def blocks(call: Call, shape: Sequence[int], bytes_each: int) -> Iterator[Block]:
    """Cut an index space into boxes of at most BLOCK_BYTES (or of one place), in order."""
    most = max(1, BLOCK_BYTES // max(1, bytes_each))
    split = 0
    while split < len(shape) - 1 and math.prod(shape[split + 1 :]) > most:
        split += 1
    step = max(1, most // max(1, math.prod(shape[split + 1 :])))
    whole = [range(n) for n in shape[split + 1 :]]
    for outer in itertools.product(*map(range, shape[:split])):
        for start in range(0, shape[split], step):
            call.tick()
            here = range(start, min(start + step, shape[split]))
            yield [*(range(i, i + 1) for i in outer), here, *whole]
