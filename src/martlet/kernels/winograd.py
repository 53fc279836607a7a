"""float32 convolutions with stride 1 by Winograd's minimal algorithms.

In: an image, its elements anywhere as long as channels are side by side; transformed weights U,
[panels][positions][channels][panel width], from `plan/lowering/winograd.py`; a bias as long as the
panels are wide. Out: clamp(convolution + bias + residual).

The output is cut into tiles of a few places, under each of which lies a patch of the image, of
`positions` elements in each channel (`winograd_transforms.py`). A unit of work is a block of tiles
times a group of panels (vectors of output channels). It computes

1. V, [positions][tiles][channels]: the transformed patches of the block's tiles. Elements outside
   the image are read from `zeros`. Units that follow one another in a range and share the block
   share V;
2. for each panel, M, [positions][tiles][panel width] = V · U, a matrix product at each position,
   in the tiles of `gemm.py`;
3. from M, the outputs.

V and M stay in the second-level cache. They lie in a slot of scratch that a call takes for itself
and gives back at its end; there are as many slots as threads. A flag for each thread says which
are taken, the same flags for all steps (`Lowering.slots`), since a thread is in one step at a time.

Which calls do which units changes no result: every sum is made in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from martlet.kernels.forms import FORMS, LINE, PLACE, Form, Tile, tile_of
from martlet.kernels.kernel import Kernel
from martlet.kernels.language import (
    F32,
    I32,
    I64,
    Builder,
    Pointer,
    Value,
    Variable,
    arguments,
)
from martlet.kernels.slots import SLOT_FLAG
from martlet.kernels.targets import Target
from martlet.kernels.tiles import tiles
from martlet.kernels.winograd_transforms import transform_inputs, transform_products
from martlet.records import NamedTuple, dataclass

AHEAD = 1024  # float32: how far ahead a panel of U is asked for

WINOGRAD = arguments(
    "x: *float", "u: *float", "bias: *float", "y: *float", "residual: *float", "adds: i64",
    # Elements from one image, line and pixel to the next.
    "x_image: i64", "x_line: i64", "x_pixel: i64", "y_image: i64", "y_line: i64", "y_pixel: i64",
    "r_image: i64", "r_line: i64", "r_pixel: i64",
    "height: i64", "width: i64", "channels: i64", "out_height: i64", "out_width: i64",
    "columns: i64", "before_h: i64", "before_w: i64", "low: float", "high: float",
    # tiles: of all images. zeros: as many as there are channels.
    "tiles: i64", "block: i64", "group: i64", "zeros: *float",
    # slot: float32 in each of `slots`; places, then V, then M lie in it.
    "flags: *i64", "slots: i64", "scratch: *float", "slot: i64",
)  # fmt: skip


def kernels(target: Target) -> list[Kernel]:
    """All forms, in the tile of a target."""
    found = []
    for form in FORMS:
        write = _winograd(form, tile_of(target.lanes))
        found.append(Kernel(f"winograd_f32_{form.name}", write, WINOGRAD))
    return found


def _winograd(form: Form, tile: Tile) -> Callable[..., None]:
    def write(
        k: Builder, x: Pointer, u: Pointer, bias: Pointer, y: Pointer, residual: Pointer,
        adds: Value, x_image: Value, x_line: Value, x_pixel: Value, y_image: Value, y_line: Value,
        y_pixel: Value, r_image: Value, r_line: Value, r_pixel: Value, height: Value, width: Value,
        channels: Value, out_height: Value, out_width: Value, columns: Value, before_h: Value,
        before_w: Value, low: Value, high: Value, tiles: Value, block: Value, group: Value,
        zeros: Pointer, flags: Pointer, slots: Value, scratch: Pointer, slot: Value,
        first: Value, last: Value,
    ) -> None:  # fmt: skip
        number = _take_slot(k, flags, slots)
        room = scratch + number * slot
        row = (channels + (k.lanes - 1)) // k.lanes * k.lanes
        v_apart, m_apart = _lines(block * row), _lines(block * tile.width(k.lanes))
        places = room.as_elements(I64)
        v = room + (block * (2 * PLACE) + (LINE - 1)) // LINE * LINE
        m = v + v_apart * form.positions

        image = _Input(k, form, x, x_image, x_line, x_pixel, height, width, channels, zeros)
        output = _Output(
            k, form, y, y_line, y_pixel, residual, adds, r_line, r_pixel, bias, columns, low, high
        )
        product = _Product(k, tile, u, channels, row)
        tiles_w = (out_width + (form.across.outputs - 1)) // form.across.outputs
        tiles_h = (out_height + (form.down.outputs - 1)) // form.down.outputs
        panels = (columns + (tile.width(k.lanes) - 1)) // tile.width(k.lanes)
        groups = (panels + group - 1) // group
        held = k.variable(k.constant(-1, I64))
        for unit in k.range(first, last):
            number_of_block = unit // groups
            start = number_of_block * block
            count = k.minimum(block, tiles - start)
            with k.when(held.value.differs(number_of_block)):
                held.value = number_of_block
                for i in k.range(0, count):
                    line, column = (start + i) // tiles_w, (start + i) % tiles_w
                    picture, line = line // tiles_h, line % tiles_h
                    top, left = line * form.down.outputs, column * form.across.outputs
                    place = places + i * PLACE
                    k.store(place, 0, picture * y_image + top * y_line + left * y_pixel)
                    k.store(place, 1, picture * r_image + top * r_line + left * r_pixel)
                    k.store(place, 2, out_height - top)
                    k.store(place, 3, out_width - left)
                    image.transform(picture, top - before_h, left - before_w, v + i * row, v_apart)
            panel = unit % groups * group
            for p in k.range(panel, k.minimum(panel + group, panels)):
                product.multiply(p, count, form.positions, v, v_apart, m, m_apart)
                for i in k.range(0, count):
                    under = m + i * tile.width(k.lanes)
                    output.transform(places + i * PLACE, p, tile.vectors, under, m_apart)
        k.atomic_add(flags + number * SLOT_FLAG, -1)

    return write


def _lines(size: Value) -> Value:
    """`forms.apart` in the kernel."""
    return (size + (LINE - 1)) // LINE * LINE + LINE


def _take_slot(k: Builder, flags: Pointer, slots: Value) -> Value:
    """The number of a free slot, whose flag goes from 0 to 1; others may look, but go on."""
    slot = k.variable(k.constant(0, I64))
    with k.forever() as looking:
        flag = flags + slot.value * SLOT_FLAG
        looking.leave_if(k.atomic_add(flag, 1).equals(0))
        k.atomic_add(flag, -1)
        following = slot.value + 1
        slot.value = k.select(following < slots, following, k.constant(0, I64))
    return slot.value


class _Input:
    """Patches of the image, transformed."""

    def __init__(
        self, k: Builder, form: Form, x: Pointer, x_image: Value, x_line: Value, x_pixel: Value,
        height: Value, width: Value, channels: Value, zeros: Pointer,
    ) -> None:  # fmt: skip
        self.k, self.form = k, form
        self.x_image, self.x_line, self.x_pixel = x_image << 2, x_line << 2, x_pixel << 2
        self.height, self.width, self.channels = height, width, channels
        self.lanes = 1 << (form.across.size - 1).bit_length()
        self.origin, self.zeros = k.address(x), k.broadcast(k.address(zeros), self.lanes)
        self.numbers = k.lane_numbers(I64, self.lanes)
        self.along = self.numbers * self.x_pixel
        # The addresses of a patch's elements, and the patch after the first transform.
        self.table = k.local(I64, form.down.size * self.lanes)
        self.half = k.local(F32, form.positions * k.lanes)

    def transform(
        self, picture: Value, top: Value, left: Value, v: Pointer, v_apart: Value
    ) -> None:
        """The patch at (top, left) of an image -> its row at every position of V."""
        k, (down, across) = self.k, self.form
        columns = self.numbers + left
        inside = (columns >= 0) & (columns < self.width)
        base = self.origin + picture * self.x_image + left * self.x_pixel
        for line in k.range(0, down.size):
            row = top + line
            # A comparison without signs finds rows before the first, too.
            valid = inside & k.broadcast(row.below_unsigned(self.height), self.lanes)
            addresses = self.along + (base + row * self.x_line)
            k.store(self.table, line * self.lanes, k.select(valid, addresses, self.zeros))
        for c, mask in k.vectors(0, self.channels):
            if down.size > 1:
                for column in k.range(0, across.size):
                    values = [
                        k.load(k.pointer_at(self.table + column, i * self.lanes, F32), c, mask)
                        for i in range(down.size)
                    ]
                    for i, value in enumerate(transform_inputs(k, down, values)):
                        k.store(self.half, (column + i * across.size) * k.lanes, value)
            for line in k.range(0, down.size):
                if down.size > 1:
                    values = self._line(line)
                else:
                    values = [
                        k.load(k.pointer_at(self.table, j, F32), c, mask)
                        for j in range(across.size)
                    ]
                place = v + (line * across.size * v_apart + c)
                for j, value in enumerate(transform_inputs(k, across, values)):
                    k.store(place + v_apart * j, 0, value)

    def _line(self, line: Value) -> list[Value]:
        """What the first transform made for a line."""
        k, size = self.k, self.form.across.size
        return [k.load(self.half + line * (size * k.lanes), j * k.lanes) for j in range(size)]


class _Product(NamedTuple):
    """V · U at each position of a panel, into M. `row`: from one row of V to the next."""

    k: Builder
    tile: Tile
    u: Pointer
    channels: Value
    row: Value

    def multiply(
        self, panel: Value, count: Value, positions: int, v: Pointer, v_apart: Value, m: Pointer,
        m_apart: Value,
    ) -> None:  # fmt: skip
        """All positions of one panel."""
        k, width = self.k, self.tile.width(self.k.lanes)
        for position in k.range(0, positions):
            rows_of_v, rows_of_m = v + position * v_apart, m + position * m_apart
            u = self.u + (panel * positions + position) * self.channels * width
            for indices, _ in tiles(k, self.tile, k.constant(0, I64), count):
                sums = self._add_up([rows_of_v + i * self.row for i in indices], u, width)
                for i, row in zip(indices, sums, strict=True):
                    for j, total in enumerate(row):
                        k.store(rows_of_m + i * width, j * k.lanes, total.value)

    def _add_up(self, pointers: list[Pointer], u: Pointer, width: int) -> list[list[Variable]]:
        """The sums of a tile: rows of V times a panel of U, which comes from far away."""
        k = self.k
        sums = [[k.variable(k.zeros()) for _ in range(self.tile.vectors)] for _ in pointers]
        for row in sums:
            for total in row:
                total.value = k.zeros()
        for c in k.range(0, self.channels):
            for line in range(0, width, LINE):
                k.prefetch(u + (c * width + (AHEAD + line)))
            columns = [k.load(u, c * width + j * k.lanes) for j in range(self.tile.vectors)]
            for pointer, row in zip(pointers, sums, strict=True):
                factor = k.broadcast(k.scalar(pointer, c))
                for column, total in zip(columns, row, strict=True):
                    total.value = k.fma(factor, column, total.value)
        return sums


@dataclass
class _Output:
    """Tiles of M, transformed, to the output."""

    k: Builder
    form: Form
    y: Pointer
    y_line: Value
    y_pixel: Value
    residual: Pointer
    adds: Value
    r_line: Value
    r_pixel: Value
    bias: Pointer
    columns: Value
    low: Value
    high: Value

    def __post_init__(self) -> None:
        size = self.form.down.outputs * self.form.across.size
        self.half = self.k.local(F32, size * self.k.lanes)

    def transform(
        self, place: Pointer, panel: Value, vectors: int, m: Pointer, m_apart: Value
    ) -> None:
        """A tile, whose rows at every position lie at m, for one panel."""
        k = self.k
        width = vectors * k.lanes
        for at in k.range(0, width, k.lanes):
            column = panel * width + at
            left = self.columns - column
            with k.when(left >= k.lanes):
                self._vector(place, column, m + at, m_apart, None)
            with k.when((left > 0) & (left < k.lanes)):
                mask = k.lane_numbers() < k.broadcast(left.to(I32))
                self._vector(place, column, m + at, m_apart, mask)

    def _vector(
        self, place: Pointer, column: Value, m: Pointer, m_apart: Value, mask: Value | None
    ) -> None:
        k, (down, across) = self.k, self.form
        if down.size > 1:
            for at in k.range(0, across.size):
                under = m + at * m_apart
                values = [k.load(under + m_apart * (i * across.size)) for i in range(down.size)]
                for i, value in enumerate(transform_products(k, down, values)):
                    k.store(self.half, (at + i * across.size) * k.lanes, value)
        y = self.y + (k.scalar(place, 0) + column)
        r = self.residual + (k.scalar(place, 1) + column)
        lines, pixels = k.scalar(place, 2), k.scalar(place, 3)
        for line in k.range(0, k.minimum(lines, k.constant(down.outputs, I64))):
            if down.size > 1:
                half = self.half + line * (across.size * k.lanes)
                values = [k.load(half, j * k.lanes) for j in range(across.size)]
            else:
                values = [k.load(m + m_apart * j) for j in range(across.size)]
            bias = k.load(self.bias, column)
            results = [value + bias for value in transform_products(k, across, values)]
            whole = pixels >= across.outputs
            here, other = y + line * self.y_line, r + line * self.r_line
            with k.when(whole):
                self._store(here, other, results, mask)
            with k.when(whole.equals(0)):
                for j, result in enumerate(results):
                    with k.when(pixels > j):
                        place, beside = here + self.y_pixel * j, other + self.r_pixel * j
                        self._store(place, beside, [result], mask)

    def _store(self, y: Pointer, r: Pointer, results: Sequence[Value], mask: Value | None) -> None:
        """Neighbouring pixels of a line, the residual added, clamped."""
        k = self.k
        low, high = k.broadcast(self.low), k.broadcast(self.high)

        def store(values: Sequence[Any]) -> None:
            for j, value in enumerate(values):
                k.store(y + self.y_pixel * j, 0, k.minimum(high, k.maximum(low, value)), mask)

        with k.when(self.adds.equals(0)):
            store(results)
        with k.when(self.adds.differs(0)):
            store(
                [value + k.load(r + self.r_pixel * j, 0, mask) for j, value in enumerate(results)]
            )
