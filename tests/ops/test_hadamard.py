"""Rotation by Walsh-Hadamard matrices."""

import numpy as np
import pytest

from build import run
from custom_node import flexbuffer
from martlet.errors import ModelError

NAME = "aeq.hadamard_rotation"


def test_two_neighbours_become_sum_and_difference():
    result = run(NAME, [np.float32([[3, 1, 5, 5]])], **flexbuffer(hadamard_size=2))
    np.testing.assert_allclose(result, np.float32([[4, 2, 10, 0]]) / np.sqrt(2), rtol=1e-6)


@pytest.mark.parametrize(("shape", "power"), [((2, 8), 3), ((2, 8), 0), ((3, 2, 8), 2)])
def test_groups_are_multiplied_by_the_hadamard_matrix(shape, power):
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    matrix = np.ones((1, 1))
    for _ in range(power):
        matrix = np.kron([[1, 1], [1, -1]], matrix) / np.sqrt(2)
    result = run(NAME, [x], **flexbuffer(hadamard_size=2**power, random_binary_vector=[1]))
    expected = (x.reshape(-1, 2**power) @ matrix).reshape(shape)
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


def test_the_rotation_is_its_own_inverse():
    x = np.random.default_rng(1).normal(size=(2, 32)).astype(np.float32)
    node = flexbuffer(hadamard_size=16)
    np.testing.assert_allclose(run(NAME, [run(NAME, [x], **node)], **node), x, atol=1e-6)


@pytest.mark.parametrize(
    ("size", "shape", "message"),
    [
        (3, (1, 3), "no power of 2; found 3"),
        (0, (1, 3), "hadamard_size is out of range"),
        (4, (1, 6), "expected a multiple of 4, found 6"),
        (2, (4,), "wrong number of dimensions"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(size, shape, message):
    with pytest.raises(ModelError, match=message):
        run(NAME, [np.zeros(shape, np.float32)], **flexbuffer(hadamard_size=size))
