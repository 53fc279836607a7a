"""Operators of TensorFlow without a builtin twin."""

import numpy as np
import pytest

from build import run
from custom_node import flex, flexbuffer
from martlet.dtypes import DType
from martlet.errors import ModelError


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Sinh", np.sinh(0.5)),
        ("Tan", np.tan(0.5)),
        ("Reciprocal", 2.0),
        ("Log1p", np.log(1.5)),
        ("Softplus", np.log1p(np.exp(0.5))),
        ("Softsign", 1 / 3),
    ],
)
@pytest.mark.parametrize("prefix", ["", "Flex"])
def test_functions_work_element_by_element(prefix, name, value):
    node = flex(name) if prefix else {"custom": True}
    result = run(prefix + name, [np.float32([0.5, 0.5])], **node)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, [value, value], rtol=1e-6)


def test_softplus_of_large_numbers_is_finite() -> None:
    result = run("Softplus", [np.float32([1000, -1000])], custom=True)
    assert result.tolist() == [1000, 0]


def test_functions_take_floats_only():
    with pytest.raises(ModelError, match="expected FLOAT32 or FLOAT16 or FLOAT64, found INT32"):
        run("Sinh", [np.int32([1])], custom=True)


def test_an_assignment_gives_the_new_value():
    node = flexbuffer(validate_shape=True, use_locking=True)
    assert run("Assign", [np.float32(1), np.float32(2)], **node) == 2


def test_an_assignment_keeps_the_shape_unless_told_otherwise():
    inputs = [np.float32([1]), np.float32([1, 2])]
    with pytest.raises(ModelError, match="differ in shape"):
        run("Assign", inputs, custom=True)
    assert run("Assign", inputs, **flexbuffer(validate_shape=False)).tolist() == [1, 2]


def test_strings_fall_into_the_buckets_of_the_documentation():
    strings = np.array([[b"Hello", b"TensorFlow", b"2.x"]], object)
    node = flex("StringToHashBucketFast", num_buckets=3)
    buckets = run("FlexStringToHashBucketFast", [strings], outputs=[DType.INT64], **node)
    assert buckets.tolist() == [[0, 2, 2]]


@pytest.mark.parametrize("count", [0, b"3"])
def test_the_number_of_buckets_is_checked(count):
    node = flex("StringToHashBucketFast", num_buckets=count)
    with pytest.raises(ModelError, match="number of buckets"):
        run("FlexStringToHashBucketFast", [np.array([b"a"], object)], outputs=[DType.INT64], **node)
