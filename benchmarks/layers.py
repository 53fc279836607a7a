"""A 3x3, a 1x7 and a 1x1 layer, in float32 and in int8, on one thread of this machine.

    python benchmarks/layers.py [--seconds 1]

Float32 is what the plan makes of the layer, transforms included. Int8 is an experiment in the
vector language, to see whether it and the plan carry integers: windows are widened to 16 bits and
gathered, 16-bit pairs are multiplied and added into 32 bits (exact), and the sums are scaled,
rounded to the nearest even number, offset and clamped in registers, as design section 6 wants it
for the default resolver. Its answers are compared with NumPy's to the bit. GFLOP/s count those of a
direct convolution for both. Needs AVX2.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from martlet.graph import Graph, Model, Tensor
from martlet.kernels.builder import build
from martlet.kernels.executor import entry_points
from martlet.kernels.kernel import Kernel
from martlet.kernels.language import F32, I8, I16, I32, Builder, Pointer, Value, arguments
from martlet.kernels.slots import BLOCK, GRAIN, KERNEL, SLOTS, UNITS
from martlet.plan.planner import declared_specs
from martlet.runtime.image import LoadedImage, host_targets
from martlet.runtime.session import Session
from martlet.runtime.threads import Pool, aligned

ROWS, VECTORS, LANES = 4, 2, 8  # a tile of sums; sums in a vector
WIDTH = VECTORS * LANES
SCALE, ZERO = np.float32(2.0**-14), 3


@dataclass(frozen=True)
class Layer:
    """A convolution with stride 1, SAME, of an image `size` x `size`."""

    taps: tuple[int, int]
    size: int
    depth: int
    channels: int

    def __str__(self) -> str:
        return (
            f"{self.taps[0]}x{self.taps[1]}, {self.size}x{self.size}, {self.depth}→{self.channels}"
        )

    @property
    def flops(self) -> float:
        return 2.0 * self.taps[0] * self.taps[1] * self.size**2 * self.depth * self.channels


LAYERS = (
    Layer((3, 3), 35, 96, 96), Layer((1, 7), 17, 192, 192), Layer((1, 1), 28, 256, 256),
)  # fmt: skip


def gather(
    k: Builder, x: Pointer, a: Pointer, run: Value, taps_h: Value, row: Value, pixel: Value,
    size: Value, first: Value, last: Value,
) -> None:  # fmt: skip
    """Windows of an int8 image with its edges (x) as rows of int16 (a). Units are pixels."""
    for unit in k.range(first, last):
        here = x + (unit // size * row + unit % size * pixel)
        for i in k.range(0, taps_h):
            source, target = here + i * row, a + (unit * taps_h + i) * run
            for c in k.range(0, run, 16):
                k.store(target, c, k.load(source, c, lanes=16).to(I16))


def product(
    k: Builder, a: Pointer, b: Pointer, c: Pointer, pairs: Value, columns: Value, scale: Value,
    zero: Value, first: Value, last: Value,
) -> None:  # fmt: skip
    """c = clamp(round(a · b * scale) + zero): int16 rows, packed int16 pairs, int8. Units are
    tiles of ROWS rows."""
    a_pairs, b_pairs = a.as_elements(I32), b.as_elements(I32)
    for unit in k.range(first, last):
        for column in k.range(0, columns, WIDTH):
            sums = [[k.variable(k.zeros(I32, LANES)) for _ in range(VECTORS)] for _ in range(ROWS)]
            for row_of_sums in sums:
                for total in row_of_sums:
                    total.value = k.zeros(I32, LANES)
            panel = b_pairs + column * pairs
            for p in k.range(0, pairs):
                factors = [_pairs(k, k.load(panel, p * WIDTH + LANES * v, lanes=LANES))
                           for v in range(VECTORS)]  # fmt: skip
                for r in range(ROWS):
                    value = k.scalar(a_pairs, (unit * ROWS + r) * pairs + p)
                    left = _pairs(k, k.broadcast(value, LANES))
                    for total, factor in zip(sums[r], factors, strict=True):
                        terms = k.intrinsic("llvm.x86.avx2.pmadd.wd", I32.of(LANES), left, factor)
                        total.value = total.value + terms
            for r, row_of_sums in enumerate(sums):
                for v, total in enumerate(row_of_sums):
                    scaled = k.round_to_even(total.value.to(F32) * scale).to(I32) + zero
                    clamped = k.minimum(k.maximum(scaled, -128), 127).to(I8)
                    at = (unit * ROWS + r) * columns + column + LANES * v
                    k.store(c, at, clamped)


def _pairs(k: Builder, words: Value) -> Value:
    """32-bit words as pairs of 16-bit numbers."""
    pairs = I16.of(2 * LANES)
    return k.emit(pairs, f"bitcast {words.type} {words.name} to {pairs}")


GATHER = Kernel(
    "gather_i8", gather,
    arguments("x: *i8", "a: *i16", "run: i64", "taps_h: i64", "row: i64", "pixel: i64",
              "size: i64"),
)  # fmt: skip
PRODUCT = Kernel(
    "product_i8", product,
    arguments("a: *i16", "b: *i16", "c: *i8", "pairs: i64", "columns: i64", "scale: float",
              "zero: i32"),
)  # fmt: skip


def image() -> LoadedImage:
    """The two experimental kernels, and the executor."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "layers.image"
        path.write_bytes(build(host_targets()[0], [*entry_points(), GATHER, PRODUCT]))
        path.chmod(0o600)
        return LoadedImage(path)


def int8_runner(loaded: LoadedImage, layer: Layer) -> Callable[[], None]:
    """A function that runs the layer once, checked."""
    random = np.random.default_rng(0)
    (height, width), size = layer.taps, layer.size
    x = random.integers(-128, 128, (size + height - 1, size + width - 1, layer.depth), np.int8)
    weights = random.integers(-127, 128, (layer.channels, height, width, layer.depth), np.int8)
    run, rows = width * layer.depth, -(-(size**2) // ROWS) * ROWS
    depth = height * run
    a = np.zeros((rows, depth), np.int16)
    c = np.zeros((rows, layer.channels), np.int8)
    panels = weights.reshape(layer.channels // WIDTH, WIDTH, depth // 2, 2).astype(np.int16)
    b = np.ascontiguousarray(panels.swapaxes(1, 2))
    records = aligned(2 * SLOTS).reshape(2, SLOTS)
    row = (size + width - 1) * layer.depth
    blocks = [
        np.array([x.ctypes.data, a.ctypes.data, run, height, row, layer.depth, size]),
        np.array(
            [a.ctypes.data, b.ctypes.data, c.ctypes.data, depth // 2, layer.channels, 0, ZERO]
        ),
    ]
    blocks[1][5:6].view(np.float32)[0] = SCALE
    for record, kernel, block, units in zip(
        records, (GATHER, PRODUCT), blocks, (size**2, rows // ROWS), strict=True
    ):
        record[KERNEL], record[BLOCK] = loaded.address(kernel.name), block.ctypes.data
        record[UNITS], record[GRAIN] = units, units
    pool = Pool(loaded, 1)
    kept = (x, a, b, c, blocks)

    def once() -> None:
        assert kept
        pool.run(records, 0, 2)

    once()
    windows = np.lib.stride_tricks.sliding_window_view(x.astype(np.int32), (height, width), (0, 1))
    sums = np.einsum("hwcij,oijc->hwo", windows, weights.astype(np.int32), optimize=True)
    expected = np.clip(np.rint(sums.astype(np.float32) * SCALE) + ZERO, -128, 127)
    np.testing.assert_array_equal(c[: size**2], expected.reshape(size**2, -1).astype(np.int8))
    return once


def float_runner(layer: Layer) -> tuple[Callable[[], None], str]:
    """(a function that runs the layer once, the kernels that the plan chose)."""
    random, graph = np.random.default_rng(0), Graph()
    shape = (1, layer.size, layer.size, layer.depth)
    x = graph.input("x", shape)
    weights = random.normal(size=(layer.channels, *layer.taps, layer.depth)).astype(np.float32)
    bias = graph.constant(np.zeros(layer.channels, np.float32))
    output = Tensor("y", (*shape[:3], layer.channels))
    graph.output(
        graph.add(
            "CONV_2D", [x, graph.constant(weights), bias],
            {"padding": "SAME", "stride_h": 1, "stride_w": 1},
            options_type="Conv2DOptions", outputs=[output],
        )
    )  # fmt: skip
    session = Session(Model([graph], source="layer"))
    native = session.native(session.plan(0, declared_specs(graph)))
    assert native is not None
    native.views[x][...] = random.normal(size=shape)
    return native.run_alone, " + ".join(step.kernel for step in native.steps)


def least(run: Callable[[], None], seconds: float) -> float:
    """The fastest of all runs, in seconds."""
    best, end = np.inf, time.perf_counter() + seconds
    while time.perf_counter() < end:
        begin = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - begin)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="for each layer and type")
    options = parser.parse_args()
    loaded = image()
    for layer in LAYERS:
        run, kernels = float_runner(layer)
        seconds = least(run, options.seconds)
        print(f"{layer}: float32 {1e-9 * layer.flops / seconds:.1f} GFLOP/s ({kernels}), ", end="")
        seconds = least(int8_runner(loaded, layer), options.seconds)
        print(f"int8 {1e-9 * layer.flops / seconds:.1f} GOP/s")


if __name__ == "__main__":
    main()
