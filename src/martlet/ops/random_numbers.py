"""Random numbers: RANDOM_UNIFORM, RANDOM_STANDARD_NORMAL, MULTINOMIAL, RNG_BIT_GENERATOR.

All rest on counter-based generators: block number n of a stream is a fixed function of the key
and the counter n, so a whole array of blocks is computed at once (Salmon et al., "Parallel
random numbers: as easy as 1, 2, 3", SC 2011). With seeds given, the numbers are those of
TensorFlow and TensorFlow Lite; with both seeds 0 they differ from process to process. Each node
of a model goes on where its last run ended.
"""

from __future__ import annotations

import os

import numpy as np

from martlet.dtypes import DType
from martlet.ops.operator import Call, Shape, Spec, register
from martlet.records import dataclass

_MASK32 = np.uint64(0xFFFFFFFF)
_MASK128 = (1 << 128) - 1


def philox(key: tuple[int, int], counters: np.ndarray) -> np.ndarray:
    """Philox4x32-10. counters: uint64 (n, 4) of 32-bit words; returns uint32 (n, 4)."""
    c0, c1, c2, c3 = (counters[:, i] & _MASK32 for i in range(4))
    k0, k1 = key
    for _ in range(10):
        first = c0 * np.uint64(0xD2511F53)
        second = c2 * np.uint64(0xCD9E8D57)
        c0, c1, c2, c3 = (
            (second >> np.uint64(32)) ^ c1 ^ np.uint64(k0),
            second & _MASK32,
            (first >> np.uint64(32)) ^ c3 ^ np.uint64(k1),
            first & _MASK32,
        )
        k0 = (k0 + 0x9E3779B9) & 0xFFFFFFFF
        k1 = (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], 1).astype(np.uint32)


def threefry(key: tuple[int, int], counters: np.ndarray) -> np.ndarray:
    """Threefry2x32-20. counters: uint64 (n, 2) of 32-bit words; returns uint32 (n, 2)."""
    keys = (key[0], key[1], key[0] ^ key[1] ^ 0x1BD11BDA)
    a = (counters[:, 0] + np.uint64(keys[0])) & _MASK32
    b = (counters[:, 1] + np.uint64(keys[1])) & _MASK32
    for group in range(5):
        for turn in ((13, 15, 26, 6), (17, 29, 16, 24))[group % 2]:
            a = (a + b) & _MASK32
            b = ((b << np.uint64(turn)) | (b >> np.uint64(32 - turn))) & _MASK32
            b ^= a
        a = (a + np.uint64(keys[(group + 1) % 3])) & _MASK32
        b = (b + np.uint64(keys[(group + 2) % 3] + group + 1)) & _MASK32
    return np.stack([a, b], 1).astype(np.uint32)


@dataclass
class Stream:
    """A Philox stream: key, and the 128-bit number of the next block."""

    key: tuple[int, int]
    counter: int

    def blocks(self, count: int) -> np.ndarray:
        """The next `count` blocks of four 32-bit words: uint32 (count, 4)."""
        result = philox(self.key, _counters(self.counter, count))
        self.skip(count)
        return result

    def skip(self, count: int) -> None:
        self.counter = (self.counter + count) & _MASK128


def _counters(start: int, count: int) -> np.ndarray:
    """The words (low first) of `count` 128-bit numbers from `start` on: uint64 (count, 4)."""
    low, high = start & 0xFFFFFFFFFFFFFFFF, start >> 64
    lows = np.arange(count, dtype=np.uint64) + np.uint64(low)
    highs = np.where(lows < np.uint64(low), np.uint64((high + 1) & (2**64 - 1)), np.uint64(high))
    shift = np.uint64(32)
    return np.stack([lows & _MASK32, lows >> shift, highs & _MASK32, highs >> shift], 1)


def _stream(call: Call) -> Stream:
    """The stream of this node, begun from its seeds at the first use."""
    key = ("random", id(call.graph), call.node.outputs[0])
    if key not in call.session.resources:
        seed, seed2 = (call.option(n) & (2**64 - 1) for n in ("seed", "seed2"))
        if seed == 0 and seed2 == 0:
            seed, seed2 = (int.from_bytes(os.urandom(8), "little") for _ in range(2))
        call.session.resources[key] = Stream((seed & 0xFFFFFFFF, seed >> 32), seed2 << 64)
    stream: Stream = call.session.resources[key]
    return stream


def _unit_floats(words: np.ndarray) -> np.ndarray:
    """float32 in [0, 1) from the low 23 bits of each word, as the fraction of 1.x."""
    return ((words & 0x7FFFFF) | 0x3F800000).astype(np.uint32).view(np.float32) - np.float32(1)


def _uniform(stream: Stream, count: int) -> np.ndarray:
    return _unit_floats(stream.blocks(-(-count // 4)).reshape(-1)[:count])


def _normal(stream: Stream, count: int) -> np.ndarray:
    """Box-Muller on pairs of words: float32, mean 0, variance 1."""
    pairs = _unit_floats(stream.blocks(-(-count // 4))).reshape(-1, 2)
    # log(0) is kept out by the smallest step that TensorFlow allows.
    radius = np.sqrt(np.float32(-2) * np.log(np.maximum(pairs[:, 0], np.float32(1e-7))))
    angle = np.float32(2 * np.pi) * pairs[:, 1]
    return np.stack([np.sin(angle) * radius, np.cos(angle) * radius], 1).reshape(-1)[:count]


def _infer_shaped(call: Call) -> list[Spec]:
    call.check_dtype(0, DType.INT32, *([DType.INT64] if call.operator.custom else []))
    call.check_rank(0, 1)
    output = call.output().dtype
    call.check(output is DType.FLOAT32, "the output type is not supported", "FLOAT32", output.name)
    shape = call.value(0)
    if shape is None:
        return [Spec(output, None)]
    sizes = tuple(int(n) for n in shape)
    call.check(all(n >= 0 for n in sizes), "a size of the shape is negative", found=str(sizes))
    call.check(len(sizes) <= 8, "the shape has too many dimensions", "at most 8", str(len(sizes)))
    return [Spec(output, sizes)]


def _reserve(call: Call, shape: Shape) -> int:
    count = int(np.prod(shape, dtype=object))
    call.session.reserve(100 * count, call.place)
    return count


def _random_uniform(call: Call, shape: np.ndarray) -> np.ndarray:
    sizes = tuple(shape.tolist())
    return _uniform(_stream(call), _reserve(call, sizes)).reshape(sizes)


def _random_normal(call: Call, shape: np.ndarray) -> np.ndarray:
    sizes = tuple(shape.tolist())
    return _normal(_stream(call), _reserve(call, sizes)).reshape(sizes)


def _infer_multinomial(call: Call) -> list[Spec]:
    call.check_dtype(0, DType.FLOAT32)
    rows, classes = call.check_rank(0, 2)
    call.check(classes > 0, "there are no classes to draw from", "at least 1", "0")
    call.check_dtype(1, DType.INT32)
    call.check_rank(1, 0)
    output = call.output().dtype
    call.check(
        output in (DType.INT32, DType.INT64),
        "the output type is not supported",
        "INT32 or INT64",
        output.name,
    )
    samples = call.value(1)
    if samples is None:
        return [Spec(output, None)]
    call.check(int(samples) >= 0, "the number of samples is negative", found=str(int(samples)))
    return [Spec(output, (rows, int(samples)))]


def _multinomial(call: Call, logits: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Draw classes by inverting the cumulated odds, two words (52 bits) a draw.

    Every run moves the stream on by a fixed number of blocks, more than it takes, as TensorFlow
    does, so that the next run does not depend on how many were drawn.
    """
    rows, classes = logits.shape
    count = int(samples)
    _reserve(call, (rows, max(count, classes)))
    stream = _stream(call)
    words = Stream(stream.key, stream.counter).blocks(-(-rows * count // 2)).astype(np.uint64)
    stream.skip(rows * (-(-count // 4) * 4) * 2 * 256)
    words = words.reshape(-1, 2)[: rows * count]
    bits = ((words[:, 0] & np.uint64(0xFFFFF)) << np.uint64(32)) | words[:, 1]
    unit = (bits | np.uint64(1023 << 52)).view(np.float64) - 1
    finite = np.isfinite(logits)
    lowest = np.finfo(np.float32).min
    highest = np.where(finite, logits, lowest).max(1, keepdims=True).astype(np.float64)
    odds = np.where(finite, np.exp(logits.astype(np.float64) - highest), 0).cumsum(1)
    result = np.empty((rows, count), call.output().dtype.numpy)
    for row in range(rows):
        draws = unit[row * count : (row + 1) * count] * odds[row, -1]
        result[row] = np.searchsorted(odds[row], draws, side="right")
    return result


_BIT_TYPES = (DType.INT32, DType.UINT32, DType.INT64, DType.UINT64)


def _infer_bits(call: Call) -> list[Spec]:
    call.check_dtype(0, DType.UINT64)
    (size,) = call.check_rank(0, 1)
    algorithm = call.option("algorithm")
    call.check(
        algorithm in ("DEFAULT", "PHILOX", "THREEFRY"),
        "the algorithm is not known",
        "DEFAULT, PHILOX or THREEFRY",
        str(algorithm),
    )
    allowed = (2,) if algorithm == "THREEFRY" else (2, 3)
    call.check(size in allowed, "the state has the wrong size", str(allowed), str(size))
    output = call.output(1)
    call.check(
        output.dtype in _BIT_TYPES,
        "the output type is not supported",
        " or ".join(t.name for t in _BIT_TYPES),
        output.dtype.name,
    )
    return [call.spec(0), Spec(output.dtype, output.shape)]


def _bits(call: Call, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Raw bits, and the state for the next call. Only the low 64 bits of the counter move."""
    output = call.output(1)
    count = _reserve(call, output.shape) * output.dtype.bits // 32
    words = state.view(np.uint32)
    key = int(words[0]), int(words[1])
    is_threefry = call.option("algorithm") == "THREEFRY"
    width = 2 if is_threefry else 4
    blocks = -(-count // width)
    high = 0 if is_threefry else int(state[2 if state.size == 3 else 0])
    low = np.arange(blocks, dtype=np.uint64) + state[1]
    shift = np.uint64(32)
    columns = [low & _MASK32, low >> shift]
    if not is_threefry:
        columns += [np.full(blocks, high & 0xFFFFFFFF, np.uint64)]
        columns += [np.full(blocks, high >> 32, np.uint64)]
    generator = threefry if is_threefry else philox
    drawn = generator(key, np.stack(columns, 1)).reshape(-1)[:count]
    after = state.copy()
    after[1] = np.uint64((int(state[1]) + blocks) & (2**64 - 1))
    return after, np.ascontiguousarray(drawn).view(output.dtype.numpy).reshape(output.shape)


for _name, _draw in (
    ("RANDOM_UNIFORM", _random_uniform),
    ("RANDOM_STANDARD_NORMAL", _random_normal),
):
    register(
        _name, infer=_infer_shaped, evaluate=_draw, inputs=1, options="RandomOptions", pure=False
    )
register(
    "MULTINOMIAL", infer=_infer_multinomial, evaluate=_multinomial, inputs=2,
    options="RandomOptions", pure=False,
)  # fmt: skip
register(
    "STABLEHLO_RNG_BIT_GENERATOR", infer=_infer_bits, evaluate=_bits, inputs=1, outputs=2,
    options="StablehloRngBitGeneratorOptions", versions=1,
)  # fmt: skip
