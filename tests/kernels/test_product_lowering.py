"""CONV_2D and FULLY_CONNECTED on machine code mean what they mean in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lowered_node
from build import const, one_node
from lowered_node import HOST, compute, is_lowered, lower
from martlet.kernels.forms import TILES, Tile
from martlet.kernels.targets import Target
from martlet.plan.costs import COSTS
from martlet.plan.lowering import Fused, Lowering, Ref, convolution, lowering_of
from native import targets
from pitched_node import compute_pitched

random = np.random.default_rng(5)


def normal(*shape: int) -> np.ndarray:
    return random.standard_normal(shape).astype(np.float32)


def options(padding: str = "SAME", stride: int = 1, **more: Any) -> dict[str, Any]:
    return {"padding": padding, "stride_h": stride, "stride_w": stride, **more}


def check(
    op: str, inputs: list[Any], opts: dict[str, Any], threads: int = 1, target: Target = HOST
) -> None:
    lowered_node.check(target, op, inputs, opts, threads=threads)


@pytest.mark.parametrize("target", targets(), ids=lambda target: target.name)
@pytest.mark.parametrize("channels", [1, 3, 8, 24, 33])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_windows_of_3x3(padding: str, stride: int, channels: int, target: Target) -> None:
    inputs = [normal(2, 11, 13, channels), const(normal(17, 3, 3, channels)), const(normal(17))]
    check("CONV_2D", inputs, options(padding, stride), target=target)


@given(
    image=st.tuples(*[st.integers(1, 9)] * 2),
    window=st.tuples(*[st.integers(1, 5)] * 2),
    stride=st.tuples(*[st.integers(1, 4)] * 2),
    dilation=st.tuples(*[st.integers(1, 4)] * 2),
    depth=st.integers(1, 5),
    channels=st.integers(1, 40),
    threads=st.integers(1, 3),
)
def test_windows_of_any_size_stride_and_dilation(
    image: tuple[int, int], window: tuple[int, int], stride: tuple[int, int],
    dilation: tuple[int, int], depth: int, channels: int, threads: int,
) -> None:  # fmt: skip
    inputs = [normal(2, *image, depth), const(normal(channels, *window, depth)), None]
    opts = {
        "padding": "SAME", "stride_h": stride[0], "stride_w": stride[1],
        "dilation_h_factor": dilation[0], "dilation_w_factor": dilation[1],
    }  # fmt: skip
    check("CONV_2D", inputs, opts, threads)


@pytest.mark.parametrize(
    ("target", "tile"),
    [(t, tile) for t in targets() for tile in TILES[t.lanes] if tile.rows > 1],
    ids=lambda item: item.name,
)
def test_every_tile_and_every_remainder(
    target: Target, tile: Tile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convolution, "TILES", {target.lanes: (tile,)})
    width = tile.width(target.lanes)
    for places in range(1, 2 * tile.rows + 2):
        weights = const(normal(width + places % width, 2, 3, 2))
        check("CONV_2D", [normal(1, 3, places, 2), weights, None], options(), target=target)


def test_a_window_as_large_as_the_image_is_a_matrix_product() -> None:
    inputs = [normal(3, 20, 20, 2), const(normal(5, 20, 20, 2)), const(normal(5))]
    lowering = lower(*one_node("CONV_2D", inputs, options("VALID")))
    assert lowering is not None
    assert lowering.steps[0].kernel.startswith("gemm_f32")
    check("CONV_2D", inputs, options("VALID"))


def test_windows_of_1x1_are_a_matrix_product() -> None:
    inputs = [normal(1, 7, 7, 40), const(normal(30, 1, 1, 40)), const(normal(30))]
    lowering = lower(*one_node("CONV_2D", inputs, options()))
    assert lowering is not None
    assert lowering.steps[0].kernel.startswith("gemm_f32")
    check("CONV_2D", inputs, options())
    check("CONV_2D", inputs, options(stride=2))


@pytest.mark.parametrize("activation", ["NONE", "RELU", "RELU6", "RELU_N1_TO_1"])
def test_fused_activations(activation: str) -> None:
    opts = options(fused_activation_function=activation)
    check("CONV_2D", [8 * normal(1, 5, 5, 2), const(normal(3, 3, 3, 2)), None], opts)
    check(
        "FULLY_CONNECTED", [8 * normal(3, 5), const(normal(7, 5)), const(normal(7))],
        {"fused_activation_function": activation},
    )  # fmt: skip


def test_infinite_sums_become_the_largest_numbers() -> None:
    x = np.array([[np.inf], [-np.inf], [np.nan]], np.float32)
    inputs = [x, const(np.ones((1, 1), np.float32))]
    (result,), _ = compute(HOST, "FULLY_CONNECTED", inputs)
    largest = np.finfo(np.float32).max
    np.testing.assert_array_equal(result, np.array([[largest], [-largest], [np.nan]]))


def test_dense_layers_read_any_shape_as_rows() -> None:
    inputs = [normal(2, 3, 10), const(normal(4, 5)), const(normal(4))]
    check("FULLY_CONNECTED", inputs, {})
    inputs[1] = const(normal(4, 10))
    check("FULLY_CONNECTED", inputs, {"keep_num_dims": True})
    check("FULLY_CONNECTED", [normal(0, 10), inputs[1], None], {})


@pytest.mark.parametrize("channels", [1, 3, 24, 70])
def test_results_are_the_same_on_any_number_of_threads(channels: int) -> None:
    inputs = [normal(1, 30, 30, 20), const(normal(channels, 3, 3, 20)), const(normal(channels))]
    alone, _ = compute(HOST, "CONV_2D", inputs, options())
    for threads in (2, 3, 8):
        found, _ = compute(HOST, "CONV_2D", inputs, options(), threads=threads)
        np.testing.assert_array_equal(found, alone)


@pytest.mark.parametrize("target", targets(), ids=lambda target: target.name)
@pytest.mark.parametrize("rows", [1, 3, 40])
def test_weights_and_biases_of_dense_layers_may_be_computed(rows: int, target: Target) -> None:
    for units, depth in ((1, 5), (3, 9), (16, 64), (37, 18)):
        x, weights, bias = normal(rows, depth), normal(units, depth), normal(units)
        for inputs in ([x, weights, bias], [x, const(weights), bias], [x, weights, const(bias)],
                       [const(x), weights, None]):  # fmt: skip
            check("FULLY_CONNECTED", inputs, {}, target=target)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("window", [(1, 1), (2, 3), (8, 9)])
def test_weights_and_biases_of_convolutions_may_be_computed(
    window: tuple[int, int], groups: int
) -> None:
    image, bias = normal(1, 8, 9, 6), normal(20)
    weights = normal(20, *window, 6 // groups)
    for inputs in ([image, weights, bias], [image, const(weights), bias], [image, weights, None]):
        for threads in (1, 3):
            check("CONV_2D", inputs, options("VALID"), threads)
    check("CONV_2D", [image, weights, bias], options("SAME", 2))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("window", [(1, 1), (3, 3), (6, 7)])
def test_groups_are_products_of_some_channels(window: tuple[int, int], threads: int) -> None:
    for groups, depth, columns in ((2, 4, 17), (3, 1, 2), (5, 3, 1)):
        image = normal(2, 6, 7, groups * depth)
        weights = const(normal(groups * columns, *window, depth))
        inputs = [image, weights, const(normal(groups * columns))]
        for padding in ("SAME", "VALID"):
            check("CONV_2D", inputs, options(padding), threads)


def test_huge_windows_stay_with_numpy() -> None:
    image = normal(1, 20, 20, 4)
    inputs = [image, const(normal(4, 17, 17, 4)), None]
    assert not is_lowered("CONV_2D", inputs, options())


@pytest.mark.parametrize("target", targets(), ids=lambda target: target.name)
@pytest.mark.parametrize("window", [(1, 1), (2, 3), (5, 6), (9, 10)])
@pytest.mark.parametrize("depth", [1, 2])
def test_images_that_lie_among_others_with_the_neighbours_work(
    target: Target, window: tuple[int, int], depth: int
) -> None:
    for wider in ((0, 0), (3, 0), (0, 5), (9, 8)):
        for padding in (((0, 0), (0, 0)), ((2, 2), (1, 3))):
            inputs = [normal(2, 5, 6, 4), const(normal(19, *window, depth * 2)), const(normal(19))]
            inputs[1:] = inputs[1:] if depth == 2 else [const(normal(20, *window, 2)), None]
            for stride in (1, 2):
                if padding[0][0] == 0 and window[0] > 5:
                    continue
                found, expected, _ = compute_pitched(
                    target, "CONV_2D", inputs, options("VALID", stride), wider=wider,
                    padding=padding, activation="RELU6", threads=2,
                )  # fmt: skip
                np.testing.assert_allclose(found, expected, atol=1e-4)


def test_rows_of_dense_layers_lie_among_others() -> None:
    for wider in ((0, 0), (3, 2)):
        found, expected, _ = compute_pitched(
            HOST, "FULLY_CONNECTED", [normal(1, 5, 1, 7), const(normal(18, 7)), None],
            wider=wider, activation="RELU",
        )  # fmt: skip
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("op", ["CONV_2D", "FULLY_CONNECTED"])
def test_residuals_have_pitches_of_their_own(op: str) -> None:
    if op == "CONV_2D":
        alone = lower(
            *one_node(op, [normal(1, 2, 2, 6), const(normal(9, 1, 1, 6)), None], options())
        )
    else:
        alone = lower(*one_node(op, [normal(4, 6), const(normal(9, 6)), None]))
    assert alone is not None
    lowering = Lowering(alone.call, COSTS["x86-64-avx2"], 1, Fused(residual=99), {99: 40})
    function = lowering_of(alone.call)
    assert function is not None
    assert function(lowering)
    (native,) = lowering.steps
    assert native.arguments[4] == Ref("tensor", 99)
    assert native.arguments[11:13] == [40, 1]
