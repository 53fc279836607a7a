"""Winograd kernels of every form: remainders, borders, pitches, blocks; within their tensors."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from martlet.kernels import winograd
from martlet.kernels.compiler import compile_object
from martlet.kernels.forms import FORMS, Form, Transform, tile_of, winograd_slot
from martlet.kernels.slots import SLOT_FLAG
from martlet.kernels.targets import TARGETS, Target
from martlet.kernels.winograd_transforms import matrices
from martlet.plan.blocking import padded
from native import guarded, host_targets, run_kernel, targets
from packed_weights import transformed

KERNELS = {t.name: {k.name: k for k in winograd.kernels(t)} for t in targets()}
INFINITE = (-float("inf"), float("inf"))
TRANSFORMS = sorted({along for form in FORMS for along in form})
each_form = pytest.mark.parametrize(
    ("target", "form"),
    [(target, form) for target in targets() for form in FORMS],
    ids=[f"{target.name}-{form.name}" for target in targets() for form in FORMS],
)


def spread(array: np.ndarray, pitch: int) -> np.ndarray:
    """Rows along the last dimension, `pitch` apart, with nothing behind the last."""
    rows = np.full((array.size // array.shape[-1], pitch), np.nan, np.float32)
    rows[:, : array.shape[-1]] = array.reshape(-1, array.shape[-1])
    return guarded(rows.ravel()[: rows.size - pitch + array.shape[-1]])


def convolve(
    target: Target, form: Form, x: np.ndarray, weights: np.ndarray, bias: np.ndarray,
    *, before: tuple[int, int] = (1, 1), size: tuple[int, int] | None = None,
    residual: np.ndarray | None = None, clamp: tuple[float, float] = INFINITE, more: int = 0,
    block: int = 7, group: int = 2, split: int | None = None, slots: int = 1,
    in_place: bool = False,
) -> np.ndarray:  # fmt: skip
    """The convolution by a kernel, tensors with `more` elements between pixels, guard pages."""
    (batches, height, width, depth), channels = x.shape, len(weights)
    down, across = form
    out_h, out_w = size or (height, width)
    tile = tile_of(target.lanes)
    panel = tile.width(target.lanes)
    tiles = batches * -(-out_h // down.outputs) * -(-out_w // across.outputs)
    slot = winograd_slot(form, target.lanes, block, depth)
    x_pixel, y_pixel = depth + more, channels + 2 * more
    y = guarded(np.full(batches * out_h * out_w * y_pixel - 2 * more, -77, np.float32))
    other, r_pixel = y, y_pixel
    if residual is not None and in_place:
        y[:] = spread(residual, y_pixel)
    elif residual is not None:
        r_pixel = channels + more
        other = spread(residual, r_pixel)
    flags = guarded(np.zeros(slots * SLOT_FLAG, np.int64))
    here = KERNELS[target.name]
    run_kernel(
        here[f"winograd_f32_{form.name}"], target,
        spread(x, x_pixel), guarded(transformed(form, weights, panel).astype(np.float32)),
        padded(bias, channels, panel), y, other, int(residual is not None),
        height * width * x_pixel, width * x_pixel, x_pixel,
        out_h * out_w * y_pixel, out_w * y_pixel, y_pixel,
        out_h * out_w * r_pixel, out_w * r_pixel, r_pixel,
        height, width, depth, out_h, out_w, channels, *before, *clamp, tiles, block, group,
        guarded(np.zeros(depth, np.float32)), flags, slots,
        guarded(np.full(slots * slot, np.nan, np.float32)), slot,
        units=-(-tiles // block) * -(-channels // (panel * group)), split=split,
    )  # fmt: skip
    assert (flags[::SLOT_FLAG] == 0).all()
    y = np.append(y, np.full(2 * more, -77, np.float32)).reshape(batches, out_h, out_w, y_pixel)
    assert (y[..., channels:] == -77).all()
    return y[..., :channels]


def expected(
    x: np.ndarray, weights: np.ndarray, bias: np.ndarray, before: tuple[int, int],
    size: tuple[int, int],
) -> np.ndarray:  # fmt: skip
    """The convolution in float64."""
    _, taps_h, taps_w, depth = weights.shape
    room = np.zeros((len(x), size[0] + taps_h - 1, size[1] + taps_w - 1, depth))
    part = x[:, : room.shape[1] - before[0], : room.shape[2] - before[1]]
    room[:, before[0] : before[0] + part.shape[1], before[1] : before[1] + part.shape[2]] = part
    result = np.zeros((len(x), *size, len(weights))) + bias
    for i in range(taps_h):
        for j in range(taps_w):
            result += room[:, i : i + size[0], j : j + size[1]] @ weights[:, i, j].T
    return result


def operands(
    form: Form, height: int, width: int, depth: int, channels: int, batches: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(height + 100 * width + 10000 * depth)
    x = random.standard_normal((batches, height, width, depth))
    weights = random.standard_normal((channels, form.down.taps, form.across.taps, depth))
    x, weights, bias = (
        a.astype(np.float32) for a in (x, weights, random.standard_normal(channels))
    )
    return x, weights, bias


def check(
    target: Target, form: Form, height: int, width: int, depth: int, channels: int,
    before: tuple[int, int] = (1, 1), size: tuple[int, int] | None = None, batches: int = 1,
    more: int = 0, block: int = 7,
) -> None:  # fmt: skip
    x, weights, bias = operands(form, height, width, depth, channels, batches)
    size = size or (height, width)
    result = convolve(
        target, form, x, weights, bias, before=before, size=size, more=more, block=block
    )
    wanted = expected(x, weights, bias, before, size)
    np.testing.assert_allclose(result, wanted, atol=2e-5 * max(1, np.abs(wanted).max()))


@pytest.mark.parametrize("along", TRANSFORMS, ids=lambda t: f"F({t.outputs},{t.taps})")
def test_transforms_are_exactly_a_sliding_window(along: Transform) -> None:
    a, g, b = (np.array(m, object) for m in matrices(along))
    taps = np.array([Fraction(3 * i + 1, i + 2) for i in range(along.taps)], object)
    inputs = np.array([Fraction(5 - 2 * i, i + 1) for i in range(along.size)], object)
    wanted = [sum(taps * inputs[i : i + along.taps]) for i in range(along.outputs)]
    assert list(a @ ((g @ taps) * (b @ inputs))) == wanted


def test_coefficients_of_the_transforms_are_exact_in_float32() -> None:
    for along in TRANSFORMS:
        a, _, b = matrices(along)
        for c in (c for row in (*a, *b) for c in row):
            assert Fraction(float(np.float32(float(c)))) == c


@each_form
def test_images_of_every_remainder(target: Target, form: Form) -> None:
    down, across = form
    for height in range(1, 2 * down.outputs + 2, 1 if down.outputs < 4 else 2):
        check(target, form, height, across.outputs + 1, 3, 5)
    for width in range(1, 2 * across.outputs + 2):
        check(target, form, down.outputs, width, 3, 5)


@each_form
def test_every_remainder_of_channels(target: Target, form: Form) -> None:
    lanes, panel = target.lanes, tile_of(target.lanes).width(target.lanes)
    for depth in (1, lanes - 1, lanes, lanes + 1, 2 * lanes + 3):
        check(target, form, 3, 4, depth, 2)
    for channels in (1, lanes - 1, lanes, panel - 1, panel, panel + 1, 2 * panel + lanes + 1):
        check(target, form, 3, 4, 2, channels)


@each_form
def test_every_number_of_tiles_in_blocks_of_every_size(target: Target, form: Form) -> None:
    rows = tile_of(target.lanes).rows
    for tiles in range(1, 2 * rows + 2):
        check(target, form, 1, tiles * form.across.outputs, 2, 3, block=rows)
        check(target, form, 1, tiles * form.across.outputs, 2, 3, block=2 * rows + 1)


@each_form
def test_images_and_borders_of_any_kind(target: Target, form: Form) -> None:
    taps_h, taps_w = form.down.taps, form.across.taps
    check(target, form, taps_h, taps_w, 3, 4, before=(0, 0), size=(1, 1), batches=3)
    check(target, form, 9, 11, 3, 4, before=(0, 0), size=(10 - taps_h, 12 - taps_w), batches=2)
    check(target, form, 5, 6, 3, 4, before=(taps_h - 1, taps_w - 1), size=(8, 9), batches=2)
    # Windows that lie outside altogether.
    check(target, form, 2, 3, 3, 4, before=(9, 10), size=(21, 22))


@each_form
def test_pixels_lie_apart_and_nothing_is_written_between(target: Target, form: Form) -> None:
    check(target, form, 7, 9, target.lanes + 1, target.lanes + 2, batches=2, more=3)


@each_form
@pytest.mark.parametrize("in_place", [False, True])
def test_a_residual_is_added_before_sums_are_clamped(
    target: Target, form: Form, in_place: bool
) -> None:
    x, weights, bias = operands(form, 5, 7, 3, 10)
    residual = 3 * operands(form, 5, 7, 10, 1)[0]
    result = convolve(
        target, form, x, weights, bias, residual=residual, clamp=(-1.0, 2.0),
        more=0 if in_place else 1, in_place=in_place,
    )  # fmt: skip
    wanted = np.clip(expected(x, weights, bias, (1, 1), (5, 7)) + residual, -1, 2)
    np.testing.assert_allclose(result, wanted, atol=1e-4)


@each_form
def test_results_do_not_depend_on_blocks_and_threads(target: Target, form: Form) -> None:
    operand = operands(form, 13, 14, 6, 3 * tile_of(target.lanes).width(target.lanes))
    whole = convolve(target, form, *operand, block=100, group=100)
    for block, group, split, slots in ((3, 1, 1, 1), (8, 2, 3, 2), (5, 1, 2, 3)):
        result = convolve(
            target, form, *operand, block=block, group=group, split=split, slots=slots
        )
        np.testing.assert_array_equal(result, whole)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
@pytest.mark.parametrize("depth", [16, 256, 2048])
def test_errors_are_far_below_what_is_asked(form: Form, depth: int) -> None:
    random = np.random.default_rng(depth)
    size = 2 * form.down.outputs, 2 * form.across.outputs
    x = np.maximum(random.standard_normal((1, *size, depth)), 0).astype(np.float32)
    weights = random.standard_normal((24, form.down.taps, form.across.taps, depth))
    weights = (weights / np.sqrt(weights[0].size)).astype(np.float32)
    result = convolve(host_targets()[0], form, x, weights, np.zeros(24, np.float32))
    wanted = expected(x, weights, np.zeros(24), (1, 1), size)
    assert np.abs(result - wanted).max() <= 2e-5 * (wanted.max() - wanted.min())


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name)
def test_kernels_compile_for_every_target(target: Target) -> None:
    for kernel in winograd.kernels(target)[:3]:
        assert compile_object(kernel.module(target), target)
