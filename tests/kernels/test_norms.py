"""L2_NORMALIZATION and LOCAL_RESPONSE_NORMALIZATION."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from build import one_node, run_model
from lowered_node import compute, is_lowered
from martlet.dtypes import DType
from martlet.graph import Graph, Model, Tensor
from martlet.kernels.targets import Target
from martlet.ops.operator import Spec
from martlet.runtime.session import Session
from native import targets
from pitched_node import compute_pitched

each = pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)


def floats(*shape: int) -> np.ndarray:
    rng = np.random.default_rng(sum(shape))
    return (3 * rng.standard_normal(shape)).astype(np.float32)


@each
@pytest.mark.parametrize("length", [1, 2, 7, 8, 9, 21, 64, 65, 300])
def test_rows_become_as_long_as_one(length: int, target: Target) -> None:
    for x in (floats(5, length), floats(2, 3, 1, length), floats(length), floats(0, length)):
        for split in (None, 2):
            (found,), (expected,) = compute(target, "L2_NORMALIZATION", [x], split=split)
            np.testing.assert_allclose(found, expected, rtol=1e-6)


@each
def test_tiny_and_huge_rows(target: Target) -> None:
    x = floats(6, 11)
    x[0], x[1], x[2] = 0, x[1] * 1e-9, x[2] * 1e30
    x[3, 4], x[4, 5] = np.nan, np.inf
    (found,), (expected,) = compute(target, "L2_NORMALIZATION", [x])
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@each
def test_rows_among_others(target: Target) -> None:
    for wider in [(5, 0), (0, 3), (24, 40)]:
        for channels in (1, 21):
            x = floats(2, 3, 4, channels)
            found, expected, _ = compute_pitched(target, "L2_NORMALIZATION", [x], wider=wider)
            np.testing.assert_allclose(found, expected, rtol=1e-6)


def check_response(target: Target, x: np.ndarray, **options: Any) -> None:
    op = "LOCAL_RESPONSE_NORMALIZATION"
    (expected,) = run_model(*one_node(op, [x], options), reference=False)
    for split in (None, 2):
        (found,), _ = compute(target, op, [x], options, split)
        np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-7)


@each
@pytest.mark.parametrize("radius", [0, 1, 2, 5, 40, 300])
@pytest.mark.parametrize("channels", [1, 3, 8, 21, 96, 135])
def test_local_responses(channels: int, radius: int, target: Target) -> None:
    x = floats(1, 2, 3, channels)
    check_response(target, x, radius=radius, bias=1.0, alpha=0.3, beta=0.75)


@each
@pytest.mark.parametrize("beta", [0.25, 0.5, 1.0, 1.25, 2.0, 0.7])
def test_powers(beta: float, target: Target) -> None:
    check_response(target, floats(1, 2, 3, 40), radius=2, bias=2.0, alpha=0.5, beta=beta)
    huge = floats(1, 1, 3, 40) * np.float32(1e25)
    check_response(target, huge, radius=1, bias=1.0, alpha=1.0, beta=beta)


@each
def test_bases_of_powers_that_are_not_positive(target: Target) -> None:
    x = floats(1, 2, 3, 40)
    check_response(target, x, radius=2, bias=-7.0, alpha=0.5, beta=0.5)
    check_response(target, x, radius=1, bias=3.0, alpha=-0.5, beta=2.0)
    check_response(target, x, radius=1, bias=0.0, alpha=0.0, beta=-1.0)


def test_what_is_left_to_numpy() -> None:
    op, x = "LOCAL_RESPONSE_NORMALIZATION", floats(1, 2, 3, 300)
    assert not is_lowered(op, [x], {"radius": -1})


# Norms that a converter writes as several operators ---------------------------------------------


def normalized(shape: tuple[int, ...], axes: tuple[int, ...], parameters: tuple[int, ...]) -> Graph:
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta, as TensorFlow's converter writes it."""
    graph = Graph()
    x = graph.tensor(Tensor("x", shape))
    graph.inputs.append(x)
    over = graph.constant(np.array(axes, np.int32), "axes")
    gamma, beta = (graph.constant(floats(*parameters), name) for name in ("gamma", "beta"))
    epsilon = graph.constant(np.array([1e-3], np.float32), "epsilon")

    def add(op: str, *inputs: int, **options: Any) -> int:
        return graph.add(op, inputs, options)

    mean = add("MEAN", x, over, keep_dims=True)
    variance = add("MEAN", add("SQUARED_DIFFERENCE", x, mean), over, keep_dims=True)
    scale = add("MUL", add("RSQRT", add("ADD", variance, epsilon)), gamma)
    shift = add("ADD", add("MUL", add("NEG", mean), scale), beta)
    graph.output(add("ADD", add("MUL", x, scale), shift))
    return graph


@pytest.mark.parametrize(
    ("shape", "axes", "parameters"),
    [
        ((1, 16, 64), (2,), (64,)),
        ((2, 8, 8, 12), (1, 2, 3), (8, 8, 12)),
        ((2, 8, 8, 12), (1, 2), (12,)),
        ((1, 8, 8, 4, 6), (1, 2, 4), (1, 1, 1, 4, 6)),
    ],
    ids=["layer", "image", "instance", "group"],
)
def test_norms_of_several_operators_are_one_call(
    shape: tuple[int, ...], axes: tuple[int, ...], parameters: tuple[int, ...]
) -> None:
    model, x = Model([normalized(shape, axes, parameters)]), floats(*shape)
    session = Session(model)
    plan = session.plan(0, [Spec(DType.FLOAT32, shape)])
    assert session.one_call(plan) is not None
    session.start_clock()
    (found,), (expected,) = session.run(plan, [x]), run_model(model, [x])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
