"""Convolutions over images (batches, height, width, channels), depthwise and transposed too.

CONV_2D gathers what lies under each window into a row of a matrix (im2col) and multiplies by the
weights; DEPTHWISE_CONV_2D adds up one product of image and weights for each tap of the window;
TRANSPOSE_CONV, the adjoint of a convolution, adds the product of the input and one tap's weights
to the places that the tap reaches. All go block by block over the output (`sliding_window`), in
the numbers that `convolution_arithmetic` provides. What lies outside the image counts as zero.

`correlate` and `scatter` know no number of spatial axes; the 3-D operators use them as well.
Convolution2DTransposeBias is MediaPipe's: a transposed convolution that works out its own size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from martlet.dtypes import DType
from martlet.ops.convolution_arithmetic import Arithmetic, Operands, arithmetic, check_arithmetic
from martlet.ops.operator import Call, Shape, Spec, register
from martlet.ops.sliding_window import Axis, Block, blocks, taps, window_axes

CONV = Operands(data=0, weights=1, bias=2, channels=0)
DEPTHWISE = Operands(data=0, weights=1, bias=2, channels=3)
TRANSPOSED = Operands(data=2, weights=1, bias=3, channels=0)
MEDIAPIPE = Operands(data=0, weights=1, bias=2, channels=0)

Place = tuple[slice | int, ...]


# Sums over windows, for any number of axes -----------------------------------------------------


def correlate(
    call: Call, numbers: Arithmetic, weights: np.ndarray, axes: Sequence[Axis], dtype: np.dtype
) -> np.ndarray:
    """Convolution. weights: (groups, taps * channels of a group, output channels of a group)."""
    groups, depth, channels = weights.shape
    window = math.prod(axis.taps for axis in axes)

    def sums(block: Block) -> np.ndarray:
        # (windows, taps, groups, channels of a group) -> (groups, windows, depth)
        rows = _rows_under_windows(numbers, axes, block)
        rows = rows.reshape(-1, window, groups, depth // window).transpose(2, 0, 1, 3)
        products: np.ndarray = rows.reshape(groups, -1, depth) @ weights
        return products.swapaxes(0, 1)

    shape = (len(numbers.data), *(axis.positions for axis in axes), groups * channels)
    return _by_blocks(call, numbers, sums, shape, dtype, groups * depth * weights.itemsize)


def _rows_under_windows(numbers: Arithmetic, axes: Sequence[Axis], block: Block) -> np.ndarray:
    """(batches, *positions, *taps, channels): for each window of a block, what lies under it."""
    batches, *positions = block
    shape = (*map(len, block), *(axis.taps for axis in axes), numbers.data.shape[-1])
    rows = np.zeros(shape, numbers.weights.dtype)
    for tap, at, under in taps(axes, positions, [range(axis.size) for axis in axes]):
        place: Place = (slice(None), *at, *tap)
        rows[place] = numbers.read(batches, under)
    return rows


def scatter(
    call: Call, numbers: Arithmetic, weights: np.ndarray, axes: Sequence[Axis], dtype: np.dtype
) -> np.ndarray:
    """Transposed convolution. weights: (*taps, channels, output channels)."""
    depth, channels = weights.shape[-2:]
    positions = [range(axis.positions) for axis in axes]

    def sums(block: Block) -> np.ndarray:
        batches, *elements = block
        result = np.zeros((*map(len, block), channels), weights.dtype)
        for tap, at, under in taps(axes, positions, elements):
            part = numbers.read(batches, at)
            place: Place = (slice(None), *under)
            # As one matrix: NumPy multiplies stacks of small matrices slowly.
            product = part.reshape(-1, depth) @ weights[tap]
            result[place] += product.reshape(*part.shape[:-1], channels)
        return result

    shape = (len(numbers.data), *(axis.size for axis in axes), channels)
    return _by_blocks(call, numbers, sums, shape, dtype, depth * weights.itemsize)


def _by_blocks(
    call: Call,
    numbers: Arithmetic,
    sums: Callable[[Block], np.ndarray],
    shape: Shape,
    dtype: np.dtype,
    bytes_each: int,
) -> np.ndarray:
    """An output of this shape. bytes_each: memory for a place, besides that for its sums."""
    output = np.empty(shape, dtype)
    for block in blocks(call, shape[:-1], bytes_each + 32 * shape[-1]):
        result = sums(block).reshape(*map(len, block), shape[-1])
        place = tuple(slice(r.start, r.stop) for r in block)
        output[place] = numbers.finish(result, block[0])
    return output


# CONV_2D --------------------------------------------------------------------------------------


def _conv_axes(call: Call) -> list[Axis]:
    return window_axes(call, "hw", call.shape(0)[1:3], call.shape(1)[1:3])


def _infer_conv(call: Call) -> list[Spec]:
    batches, *_, depth = call.check_rank(0, 4)
    channels, *_, group_depth = call.check_rank(1, 4)
    call.check(
        depth > 0 and channels > 0 and group_depth > 0 and depth % group_depth == 0,
        "the channels of the input do not fit the weights",
        f"a multiple of {group_depth} and output channels",
        f"{depth} and {channels}",
    )
    groups = depth // group_depth
    call.check(
        channels % groups == 0,
        "the output channels do not divide into the groups of input channels",
        f"a multiple of {groups}",
        str(channels),
    )
    dtype = check_arithmetic(call, CONV)
    if dtype in (DType.INT8, DType.INT16):
        zeros = call.quantization(1).zero_point
        call.check(not zeros.any(), "signed weights have a zero point other than 0")
    axes = _conv_axes(call)
    return [Spec(dtype, (batches, *(axis.positions for axis in axes), channels))]


def _conv(call: Call, *values: np.ndarray | None) -> np.ndarray:
    channels, *_, group_depth = call.shape(1)
    groups = call.shape(0)[3] // group_depth
    numbers = arithmetic(call, CONV, values, groups == 1 and not _scales_differ(call))
    matrix = numbers.weights.reshape(groups, channels // groups, -1).transpose(0, 2, 1)
    return correlate(call, numbers, matrix, _conv_axes(call), call.dtype(0).numpy)


def _scales_differ(call: Call) -> bool:
    """Hybrid convolutions are asymmetric only where the scales of the weights differ."""
    quantization = call.input(1).quantization
    return quantization is not None and bool((quantization.scale != quantization.scale[:1]).any())


# DEPTHWISE_CONV_2D ----------------------------------------------------------------------------


def _infer_depthwise(call: Call) -> list[Spec]:
    batches, *_, depth = call.check_rank(0, 4)
    first, *_, channels = call.check_rank(1, 4)
    call.check(
        first == 1 and depth > 0 and channels > 0 and channels % depth == 0,
        "the weights do not fit the channels of the input",
        f"shape [1, height, width, a multiple of {depth}]",
        str(list(call.shape(1))),
    )
    dtype = check_arithmetic(call, DEPTHWISE)
    return [Spec(dtype, (batches, *(axis.positions for axis in _conv_axes(call)), channels))]


def _depthwise(call: Call, *values: np.ndarray | None) -> np.ndarray:
    numbers = arithmetic(call, DEPTHWISE, values)
    axes = _conv_axes(call)
    depth, channels = call.shape(0)[3], call.shape(1)[3]
    weights = numbers.weights.reshape(*call.shape(1)[1:3], depth, channels // depth)
    elements = [range(axis.size) for axis in axes]

    def sums(block: Block) -> np.ndarray:
        batches, *positions = block
        result = np.zeros((*map(len, block), depth, channels // depth), weights.dtype)
        for tap, at, under in taps(axes, positions, elements):
            place: Place = (slice(None), *at)
            result[place] += numbers.read(batches, under)[..., None] * weights[tap]
        return result

    shape = (call.shape(0)[0], *(axis.positions for axis in axes), channels)
    return _by_blocks(call, numbers, sums, shape, call.dtype(0).numpy, 16 * channels)


# TRANSPOSE_CONV -------------------------------------------------------------------------------


def output_shape(call: Call, rank: int) -> Shape | None:
    """The shape that input 0 of a transposed convolution holds, or None if not known yet."""
    call.check_dtype(0, DType.INT32)
    call.check(
        call.shape(0) == (rank,),
        "the output shape has the wrong number of sizes",
        str(rank),
        str(list(call.shape(0))),
    )
    value = call.value(0)
    return None if value is None else tuple(int(n) for n in value)


def check_transposed(call: Call, shape: Shape, channels: int, axes: Sequence[Axis]) -> None:
    """A convolution of the output must give the size of the input."""
    data = call.shape(2)
    expected = (data[0], *data[1:-1], channels)
    found = (shape[0], *(axis.positions for axis in axes), shape[-1])
    call.check(
        expected == found,
        f"an output of shape {list(shape)} does not fit",
        f"one whose convolution has the shape {list(expected)}",
        str(list(found)),
    )


def _transposed_axes(call: Call, shape: Shape) -> list[Axis]:
    return window_axes(call, "hw", shape[1:3], call.shape(1)[1:3], dilated=False)


def _infer_transposed(call: Call) -> list[Spec]:
    channels = _check_channels(call, TRANSPOSED)
    dtype = check_arithmetic(call, TRANSPOSED)
    shape = output_shape(call, 4)
    if shape is not None:
        check_transposed(call, shape, channels, _transposed_axes(call, shape))
    return [Spec(dtype, shape)]


def _transposed(call: Call, *values: np.ndarray | None) -> np.ndarray:
    shape = output_shape(call, 4)
    assert shape is not None
    numbers = arithmetic(call, TRANSPOSED, values)
    weights = numbers.weights.transpose(1, 2, 3, 0)
    return scatter(call, numbers, weights, _transposed_axes(call, shape), call.dtype(2).numpy)


def _check_channels(call: Call, at: Operands) -> int:
    """Weights (output channels, height, width, channels) must fit the input."""
    data, weights = call.check_rank(at.data, 4), call.check_rank(at.weights, 4)
    call.check(
        weights[3] == data[3] and min(*weights, *data[1:]) > 0,
        "the channels of the input do not fit the weights",
        f"{weights[3]}, and no size of 0",
        f"{data[3]} (shape {list(data)}, weights {list(weights)})",
    )
    return weights[0]


# Convolution2DTransposeBias -------------------------------------------------------------------


def mediapipe_axes(call: Call) -> list[Axis]:
    """From the custom options: padding, stride over the width and over the height, as int32."""
    raw = call.node.custom_options
    numbers = [] if raw is None else np.frombuffer(raw.tobytes()[:12], "<i4").tolist()
    call.check(len(numbers) == 3, "the custom options are too short", "3 numbers of 32 bits")
    padding, stride_w, stride_h = numbers
    call.check(padding in (1, 2), "unknown padding", "1 (SAME) or 2 (VALID)", str(padding))
    call.check(stride_w > 0 and stride_h > 0, "strides must be positive", found=str(numbers[1:]))
    axes = []
    for positions, count, stride in zip(
        call.shape(0)[1:3], call.shape(1)[1:3], (stride_h, stride_w), strict=True
    ):
        cut = max(0, count - (positions - 1) % stride - 1) if padding == 1 else 0
        size = stride * (positions - 1) + count - cut
        axes.append(Axis(size, count, stride, 1, positions, cut // 2))
    return axes


def _infer_mediapipe(call: Call) -> list[Spec]:
    channels = _check_channels(call, MEDIAPIPE)
    for i in range(3):
        call.check_dtype(i, DType.FLOAT32)
    call.check(call.shape(2) == (channels,), "the bias does not fit", str([channels]))
    sizes = [axis.size for axis in mediapipe_axes(call)]
    return [Spec(DType.FLOAT32, (call.shape(0)[0], *sizes, channels))]


def _mediapipe(call: Call, data: np.ndarray, weights: np.ndarray, bias: np.ndarray) -> np.ndarray:
    numbers = Arithmetic(data, 0, weights, lambda sums, batches: sums + bias)
    weights = weights.transpose(1, 2, 3, 0)
    return scatter(call, numbers, weights, mediapipe_axes(call), data.dtype)


register(
    "CONV_2D", infer=_infer_conv, evaluate=_conv, inputs=(2, 3), optional=(2,),
    options="Conv2DOptions", versions=8,
)  # fmt: skip
register(
    "DEPTHWISE_CONV_2D", infer=_infer_depthwise, evaluate=_depthwise, inputs=(2, 3), optional=(2,),
    options="DepthwiseConv2DOptions", versions=7,
)  # fmt: skip
register(
    "TRANSPOSE_CONV", infer=_infer_transposed, evaluate=_transposed, inputs=(3, 4), optional=(3,),
    options="TransposeConvOptions", versions=5,
)  # fmt: skip
register(
    "Convolution2DTransposeBias", infer=_infer_mediapipe, evaluate=_mediapipe, inputs=3,
    custom=True,
)  # fmt: skip
