"""Random numbers: the streams of TensorFlow Lite for given seeds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from build import const, one_node, run, run_model
from martlet.dtypes import DType
from martlet.errors import ModelError
from martlet.graph import Model, Tensor
from martlet.ops.random_numbers import Stream, philox, threefry
from martlet.runtime.session import Session
from oracle import litert

SEEDS = {"seed": 1234, "seed2": -99}


def shaped(op: str, shape: list[int], options: Any = SEEDS) -> tuple[Model, list[np.ndarray]]:
    return one_node(
        op,
        [const(np.array(shape, np.int32))],
        options,
        outputs=[Tensor("r", tuple(shape))],
        options_type="RandomOptions",
    )


@pytest.mark.parametrize("op", ["RANDOM_UNIFORM", "RANDOM_STANDARD_NORMAL"])
@pytest.mark.parametrize("shape", [[3], [2, 5], [16], [0]])
def test_numbers_of_given_seeds_are_those_of_litert(op: str, shape: list[int]) -> None:
    model, inputs = shaped(op, shape)
    (ours,) = run_model(model, inputs)
    np.testing.assert_allclose(ours, litert(model, inputs)[0], rtol=1e-6, atol=1e-7)


def test_the_next_run_goes_on_where_the_last_ended() -> None:
    model, _ = shaped("RANDOM_UNIFORM", [6])
    session = Session(model)
    runs = [session.run(session.plan(0, []), [])[0] for _ in range(3)]
    np.testing.assert_array_equal(runs[2], litert(model, [], invokes=3)[0])
    assert not np.array_equal(runs[0], runs[1])


def test_without_seeds_two_sessions_differ() -> None:
    model, inputs = shaped("RANDOM_UNIFORM", [8], {})
    assert not np.array_equal(run_model(model, inputs), run_model(model, inputs))


def test_normal_numbers_are_normal() -> None:
    model, inputs = shaped("RANDOM_STANDARD_NORMAL", [100_000])
    (numbers,) = run_model(model, inputs)
    assert abs(numbers.mean()) < 0.02
    assert abs(numbers.std() - 1) < 0.02


@pytest.mark.parametrize("dtype", [DType.INT32, DType.INT64])
def test_draws_from_classes_are_those_of_litert(dtype: DType) -> None:
    logits = np.log(np.array([[1, 2, 3, 4], [4, 3, 2, 1], [0, 0, 1, 0]], np.float32))
    model, inputs = one_node(
        "MULTINOMIAL",
        [logits, const(np.array(7, np.int32))],
        SEEDS,
        outputs=[dtype],
        options_type="RandomOptions",
    )
    session = Session(model)
    from martlet.ops.operator import Spec

    plan = session.plan(0, [Spec(DType.FLOAT32, logits.shape)])
    runs = [session.run(plan, inputs)[0] for _ in range(2)]
    np.testing.assert_array_equal(runs[0], litert(model, inputs)[0])
    np.testing.assert_array_equal(runs[1], litert(model, inputs, invokes=2)[0])
    assert (runs[0][2] == 2).all()


@pytest.mark.parametrize(
    ("algorithm", "state"),
    [
        ("PHILOX", [1, 2, 3]),
        ("PHILOX", [1 << 63, (1 << 64) - 1]),
        ("DEFAULT", [77, 1 << 40, 5]),
        ("THREEFRY", [123456789, 987654321]),
    ],
)
@pytest.mark.parametrize("dtype", [DType.INT32, DType.UINT64])
def test_raw_bits_are_those_of_litert(algorithm: str, state: list[int], dtype: DType) -> None:
    model, inputs = one_node(
        "STABLEHLO_RNG_BIT_GENERATOR",
        [np.array(state, np.uint64)],
        {"algorithm": algorithm},
        outputs=[Tensor("state", (len(state),), DType.UINT64), Tensor("bits", (5,), dtype)],
        options_type="StablehloRngBitGeneratorOptions",
    )
    for ours, theirs in zip(run_model(model, inputs), litert(model, inputs), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_generators_give_the_published_answers() -> None:
    """The vectors that come with the paper's own implementation, for zeros and ones."""
    zeros = philox((0, 0), np.zeros((1, 4), np.uint64))
    assert [hex(n) for n in zeros[0].tolist()] == [
        "0x6627e8d5", "0xe169c58d", "0xbc57ac4c", "0x9b00dbd8",
    ]  # fmt: skip
    ones = threefry((0xFFFFFFFF, 0xFFFFFFFF), np.full((1, 2), 0xFFFFFFFF, np.uint64))
    assert [hex(n) for n in ones[0].tolist()] == ["0x1cb996fc", "0xbb002be7"]


def test_a_stream_carries_into_the_high_half() -> None:
    stream = Stream((1, 2), (1 << 64) - 1)
    both = stream.blocks(2)
    np.testing.assert_array_equal(Stream((1, 2), 1 << 64).blocks(1)[0], both[1])
    assert stream.counter == (1 << 64) + 1


@pytest.mark.parametrize(
    ("shape", "message"), [([-1], "negative"), ([1] * 9, "too many dimensions")]
)
def test_shapes_that_cannot_be_are_refused(shape: list[int], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        run("RANDOM_UNIFORM", [const(np.array(shape, np.int32))], SEEDS, outputs=[DType.FLOAT32])
