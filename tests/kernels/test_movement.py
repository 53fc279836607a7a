"""Operators that move elements, on kernels: nothing but the order of bytes changes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from build import Value, const, one_node
from lowered_node import compute, is_lowered, lower
from martlet.dtypes import DType
from martlet.graph import Quantization
from martlet.kernels.movement import kernels
from martlet.kernels.targets import Target
from native import guarded, run_kernel, targets
from pitched_node import compute_pitched

each = pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
types = pytest.mark.parametrize("dtype", [np.float32, np.int8, np.int16, np.int64, np.complex128])
ENDS = [(False, False), (True, False), (False, True)]


def values(dtype: Any, *shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).integers(-100, 100, shape).astype(dtype)


def ints(*numbers: Any) -> Value:
    return const(np.array(numbers, np.int32))


def check(
    target: Target, op: str, inputs: Sequence[Any], options: Any = None, outputs: int = 1
) -> None:
    """The outputs are NumPy's, in one piece and cut into pieces that fit nothing."""
    source = inputs[1] if op == "SPLIT" else inputs[0]
    tensors = [DType.of(source)] * outputs
    for split in (None, 13):
        found, expected = compute(target, op, inputs, options, split, outputs=tensors)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a, b)


# Bytes ----------------------------------------------------------------------------------------


@each
def test_rows_of_any_length_are_copied(target: Target) -> None:
    for n in [*range(140), 1000]:
        x = values(np.int8, n)
        (found,), _ = compute(target, "CONCATENATION", [x, x], {"axis": 0})
        np.testing.assert_array_equal(found, np.concatenate([x, x]))


@each
@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.float32])
def test_edges_of_any_length_are_filled(dtype: Any, target: Target) -> None:
    for before, after in itertools.product([0, 1, 2, 3, 7, 33], repeat=2):
        inputs = [values(dtype, 3), ints([before, after]), const(np.array(-77, dtype))]
        (found,), (expected,) = compute(target, "PADV2", inputs)
        np.testing.assert_array_equal(found, expected)


# Putting together, taking apart ---------------------------------------------------------------


@each
@types
@pytest.mark.parametrize(
    ("shapes", "axis"),
    [
        ([(2, 3, 4), (2, 3, 5)], -1),
        ([(2, 3, 1), (2, 3, 1), (2, 3, 1)], 2),
        ([(2, 3, 4), (2, 1, 4), (2, 7, 4)], 1),
        ([(3,), (4,)], 0),
        ([(), ()], 0),
        ([(2, 0), (2, 3)], 1),
        ([(0, 3), (0, 3)], 0),
    ],
)
def test_concatenation(shapes: Any, axis: int, dtype: Any, target: Target) -> None:
    check(target, "CONCATENATION", [values(dtype, *s) for s in shapes], {"axis": axis})


@each
@types
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_pack_and_unpack(axis: int, dtype: Any, target: Target) -> None:
    parts = [values(dtype, 3, 4) + i for i in range(3)]
    check(target, "PACK", parts, {"axis": axis, "values_count": 3})
    whole = values(dtype, 3, 4, 5)
    count = whole.shape[axis]
    check(target, "UNPACK", [whole], {"axis": axis, "num": count}, outputs=count)


@each
@types
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_split(axis: int, dtype: Any, target: Target) -> None:
    x = values(dtype, 4, 2, 6)
    check(target, "SPLIT", [const(np.int32(axis)), x], {"num_splits": 2}, outputs=2)
    sizes = ints(1, x.shape[axis] - 1)
    check(target, "SPLIT_V", [x, sizes, const(np.int32(axis))], {"num_splits": 2}, outputs=2)


@each
@types
def test_slice(dtype: Any, target: Target) -> None:
    check(target, "SLICE", [values(dtype, 4, 7, 9), ints(1, 2, 3), ints(2, -1, 5)])
    check(target, "SLICE", [values(dtype, 4, 7), ints(1, 2), ints(2, 0)])


@each
@types
@pytest.mark.parametrize(
    "steps", [(1, 1, 1), (2, 1, 1), (1, 2, 1), (1, 1, 2), (3, 2, 4), (1, 1, -1), (-1, 2, 1)]
)
def test_strided_slice(steps: tuple[int, ...], dtype: Any, target: Target) -> None:
    inputs = [values(dtype, 6, 7, 9), ints(0, 1, 2), ints(6, 7, 9), ints(*steps)]
    check(target, "STRIDED_SLICE", inputs, {"begin_mask": 7, "end_mask": 7})
    check(target, "STRIDED_SLICE", inputs, {"begin_mask": 6, "end_mask": 7, "shrink_axis_mask": 1})


# In another order -----------------------------------------------------------------------------


@each
@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.int64])
def test_transpose_in_every_order(dtype: Any, target: Target) -> None:
    x = values(dtype, 3, 17, 5, 6)
    for order in itertools.permutations(range(4)):
        (found,), (expected,) = compute(target, "TRANSPOSE", [x, ints(*order)])
        np.testing.assert_array_equal(found, expected)


@each
@pytest.mark.parametrize(
    "shape", [(1, 1), (4, 4), (16, 16), (35, 50), (50, 35), (3, 100), (100, 3), (0, 5)]
)
def test_matrices_of_any_size_are_turned(shape: tuple[int, int], target: Target) -> None:
    check(target, "TRANSPOSE", [values(np.float32, *shape), ints(1, 0)])


@each
@types
@pytest.mark.parametrize("depth", [4, 8, 20])
def test_blocks_between_space_and_depth(depth: int, dtype: Any, target: Target) -> None:
    x = values(dtype, 2, 4, 6, depth)
    check(target, "SPACE_TO_DEPTH", [x], {"block_size": 2})
    check(target, "DEPTH_TO_SPACE", [x], {"block_size": 2})


@each
@types
@pytest.mark.parametrize(
    ("shape", "times"), [((2, 3, 4), (2, 1, 3)), ((2, 3, 1), (2, 1, 3)), ((5,), (0,)), ((), ())]
)
def test_tile(shape: tuple[int, ...], times: tuple[int, ...], dtype: Any, target: Target) -> None:
    check(target, "TILE", [values(dtype, *shape), ints(*times)])


@each
@types
def test_broadcast_to(dtype: Any, target: Target) -> None:
    check(target, "BROADCAST_TO", [values(dtype, 2, 1, 4), ints(3, 2, 5, 4)])


# Edges ----------------------------------------------------------------------------------------


@each
@types
@pytest.mark.parametrize(
    "edges",
    [
        [(0, 0), (1, 1), (1, 1), (0, 0)],
        [(0, 0)] * 4,
        [(1, 2), (0, 1), (3, 0), (2, 2)],
        [(0, 0), (0, 0), (0, 0), (0, 5)],
        [(2, 0), (0, 0), (0, 0), (0, 0)],
    ],
)
def test_pad(edges: list[tuple[int, int]], dtype: Any, target: Target) -> None:
    check(target, "PAD", [values(dtype, 2, 3, 4, 5), ints(*edges)])


@each
def test_padding_an_empty_tensor_leaves_edges_only(target: Target) -> None:
    check(target, "PAD", [values(np.float32, 0, 3), ints([1, 1], [2, 2])])


@each
def test_quantised_padding_is_the_zero_point(target: Target) -> None:
    scale = Quantization(np.array([0.5], np.float32), np.array([-3]))
    x = Value(values(np.int8, 2, 3), DType.INT8, scale)
    (found,), _ = compute(target, "PAD", [x, ints([1, 0], [0, 0])])
    assert found[0].tolist() == [-3, -3, -3]


def test_only_edges_of_four_bytes_over_and_over_are_one_step() -> None:
    x, edges = values(np.int64, 3), ints([1, 1])
    for value, steps in ((-1, 1), (1, 2)):
        lowering = lower(*one_node("PADV2", [x, edges, const(np.array(value))]))
        assert lowering is not None
        assert len(lowering.steps) == steps


# Resizing -------------------------------------------------------------------------------------


@each
@types
@pytest.mark.parametrize(("align", "half"), ENDS)
def test_resize_nearest(align: bool, half: bool, dtype: Any, target: Target) -> None:
    options = {"align_corners": align, "half_pixel_centers": half}
    for depth, new in itertools.product((1, 3, 20), ((9, 4), (1, 1))):
        inputs = [values(dtype, 2, 5, 7, depth), ints(*new)]
        (found,), (expected,) = compute(target, "RESIZE_NEAREST_NEIGHBOR", inputs, options)
        np.testing.assert_array_equal(found, expected)


@each
@pytest.mark.parametrize(("align", "half"), ENDS)
def test_resize_bilinear(align: bool, half: bool, target: Target) -> None:
    options = {"align_corners": align, "half_pixel_centers": half}
    for depth, new in itertools.product((*range(1, 18), 40), ((9, 4), (1, 1))):
        inputs = [values(np.float32, 2, 5, 7, depth), ints(*new)]
        (found,), (expected,) = compute(target, "RESIZE_BILINEAR", inputs, options)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


# What is left to NumPy ------------------------------------------------------------------------


def test_strings_unknown_indices_and_rescaling_are_left_to_numpy() -> None:
    assert not is_lowered("CONCATENATION", [np.array([b"a"]), np.array([b"b"])], {"axis": 0})
    begin, size = np.array([0], np.int32), np.array([1], np.int32)
    assert not is_lowered("SLICE", [values(np.int8, 3), begin, ints(1)])
    assert not is_lowered("SLICE", [values(np.int8, 3), ints(1), size])
    fine, coarse = (
        Value(
            values(np.uint8, 3), DType.UINT8, Quantization(np.array([s], np.float32), np.array([0]))
        )
        for s in (0.5, 1)
    )
    assert is_lowered("CONCATENATION", [fine, fine], {"axis": 0})
    assert not is_lowered("CONCATENATION", [fine, coarse], {"axis": 0})


@each
@types
def test_copies_with_more_than_four_dimensions_take_several_steps(
    dtype: Any, target: Target
) -> None:
    x = values(dtype, 2, 3, 2, 3, 2)
    for order in ((4, 3, 2, 1, 0), (2, 3, 4, 0, 1), (1, 0, 3, 2, 4)):
        check(target, "TRANSPOSE", [x, ints(*order)])
    many = values(np.float32, 65, 3, 2, 3, 2)
    assert not is_lowered("TRANSPOSE", [many, ints(0, 4, 3, 2, 1)])


@each
@types
def test_reverse(dtype: Any, target: Target) -> None:
    for axes in ([0], [1], [-1], [0, 2]):
        check(target, "REVERSE_V2", [values(dtype, 2, 3, 5), ints(*axes)])


@each
@types
@pytest.mark.parametrize("mode", ["REFLECT", "SYMMETRIC"])
@pytest.mark.parametrize(
    "edges", [[(0, 0), (1, 1), (2, 1), (0, 0)], [(1, 0), (0, 2), (3, 3), (2, 1)], [(0, 0)] * 4]
)
def test_mirrored_edges(edges: Any, mode: str, dtype: Any, target: Target) -> None:
    check(target, "MIRROR_PAD", [values(dtype, 2, 3, 4, 5), ints(*edges)], {"mode": mode})


@each
@types
def test_one_value_everywhere(dtype: Any, target: Target) -> None:
    for shape in ((), (3,), (2, 40_000)):
        value = values(dtype)
        (found,), (expected,) = compute(
            target, "FILL", [ints(*shape), value], outputs=[DType.of(value)]
        )
        np.testing.assert_array_equal(found, expected)
    (found,), _ = compute(target, "ZEROS_LIKE", [values(dtype, 3, 40_000)])
    assert not found.any()


# Among others ---------------------------------------------------------------------------------

AMONG_OTHERS: list[tuple[str, list[Any], Any]] = [
    ("SLICE", [ints(0, 1, 0, 2), ints(-1, 2, 3, 4)], None),
    ("STRIDED_SLICE", [ints(0, 0, 1, 0), ints(2, 6, 5, 8), ints(1, 2, 1, 2)], None),
    ("PAD", [ints([0, 0], [1, 2], [0, 1], [0, 0])], None),
    ("PAD", [ints([0, 0], [0, 0], [0, 0], [0, 0])], None),
    ("PAD", [ints([0, 1], [1, 0], [2, 1], [3, 4])], None),
    ("MIRROR_PAD", [ints([0, 0], [1, 2], [0, 1], [0, 0])], {"mode": "REFLECT"}),
    ("TRANSPOSE", [ints(0, 3, 1, 2)], None),
    ("TRANSPOSE", [ints(0, 2, 1, 3)], None),
    ("REVERSE_V2", [ints(3)], None),
    ("TILE", [ints(1, 2, 1, 3)], None),
    ("CONCATENATION", [values(np.float32, 2, 6, 6, 5)], {"axis": 3}),
    ("CONCATENATION", [values(np.float32, 2, 6, 6, 8)], {"axis": 1}),
    ("PACK", [values(np.float32, 2, 6, 6, 8)], {"axis": 4, "values_count": 2}),
    ("UNPACK", [], {"axis": 0, "num": 1}),
    ("SPACE_TO_DEPTH", [], {"block_size": 2}),
    ("DEPTH_TO_SPACE", [], {"block_size": 2}),
    ("RESIZE_NEAREST_NEIGHBOR", [ints(9, 4)], None),
    ("RESIZE_BILINEAR", [ints(9, 4)], None),
    ("SOFTMAX", [], {"beta": 1.0}),
    ("LOG_SOFTMAX", [], None),
]


@each
@pytest.mark.parametrize(("op", "rest", "options"), AMONG_OTHERS)
def test_rows_that_lie_among_others(op: str, rest: list[Any], options: Any, target: Target) -> None:
    x = values(np.float32, 1 if op == "UNPACK" else 2, 6, 6, 8)
    for wider in ((0, 0), (5, 0), (0, 3), (24, 40)):
        found, expected, _ = compute_pitched(target, op, [x, *rest], options, wider=wider)
        np.testing.assert_allclose(found, expected, rtol=3e-6, atol=1e-6)


def test_turning_matrices_takes_one_step() -> None:
    lowering = lower(*one_node("TRANSPOSE", [values(np.float32, 2, 9, 9, 5), ints(0, 3, 1, 2)]))
    assert lowering is not None
    assert [step.kernel for step in lowering.steps] == ["transpose_i32"]


@each
def test_bytes_around_a_row_are_left_alone(target: Target) -> None:
    copy = next(k for k in kernels(target) if k.name == "copy_rows")
    for n in range(1, 40):
        x, y = values(np.int8, n), np.full(n + 2, 55, np.int8)
        run_kernel(copy, target, guarded(x), y[1:], n, *[1] * 2, *[0] * 6, units=n)
        assert y.tolist() == [55, *x.tolist(), 55]
