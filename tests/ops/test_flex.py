"""`Flex…` operators run as their builtin twins, with TensorFlow's attributes."""

import numpy as np
import pytest
from flatbuffers import flexbuffers

from build import const, one_node, run
from custom_node import Type, flex
from martlet.dtypes import DType
from martlet.errors import ModelError, UnsupportedError
from martlet.ops.flex import _OPTIONS, _TWINS
from martlet.ops.operator import lookup
from martlet.runtime.session import Session
from martlet.schema.tflite import SCHEMA

X = np.arange(12, dtype=np.float32).reshape(3, 4)
INT32 = DType.INT32


def flex_run(op, inputs, outputs=None, **attributes):
    return run(f"Flex{op}", inputs, outputs=outputs, **flex(op, **attributes))


@pytest.mark.parametrize("name", _TWINS)
def test_every_twin_is_there_and_has_the_options_that_are_set(name):
    twin = lookup(_TWINS[name], False)
    assert twin is not None
    defaults = SCHEMA.defaults(twin.options) if twin.options else {}
    assert set(_OPTIONS.get(name, {})) <= set(defaults)


def test_elementwise_and_broadcasting():
    np.testing.assert_array_equal(flex_run("AddV2", [X, np.float32([1])]), X + 1)
    np.testing.assert_array_equal(flex_run("Relu", [-X]), np.maximum(-X, 0))


def test_attributes_become_options():
    total = flex_run("Sum", [X, const(np.int32([1]))], keep_dims=True)
    np.testing.assert_array_equal(total, X.sum(1, keepdims=True))
    rotated = flex_run("Squeeze", [X[None]], squeeze_dims=[0])
    np.testing.assert_array_equal(rotated, X)
    cast = flex_run("Cast", [X], [INT32], SrcT=Type(1), DstT=Type(3))
    assert cast.dtype == np.int32


def test_packed_lists_are_read_too():
    pooled = flex_run(
        "MaxPool", [X[None, :, :, None]], ksize=[1, 2, 2, 1], strides=[1, 1, 2, 1],
        padding=b"VALID",
    )  # fmt: skip
    np.testing.assert_array_equal(pooled[0, :, :, 0], [[5, 7], [9, 11]])


def test_an_axis_that_is_an_input_becomes_an_option():
    joined = flex_run("ConcatV2", [X, X, const(np.int32(1))], N=2)
    np.testing.assert_array_equal(joined, np.concatenate([X, X], 1))
    gathered = flex_run("GatherV2", [X, const(np.int32([2, 0])), const(np.int32(1))])
    np.testing.assert_array_equal(gathered, X[:, [2, 0]])


def test_an_axis_that_is_known_only_in_the_run_works_too():
    joined = flex_run("ConcatV2", [X, X, np.array(0, np.int32)], N=2)
    np.testing.assert_array_equal(joined, np.concatenate([X, X], 0))


def test_random_draws_follow_the_seeds():
    inputs = [np.log(np.float32([[0.2, 0.5, 0.3]])), const(np.int32(5))]
    seeds = {"seed": 3, "seed2": 1 << 40}
    drawn = flex_run("Multinomial", inputs, [DType.INT64], **seeds)
    twin = {"options": seeds, "options_type": "RandomOptions", "outputs": [DType.INT64]}
    np.testing.assert_array_equal(drawn, run("MULTINOMIAL", inputs, **twin))


def test_random_draws_go_on_in_the_next_run():
    shape = const(np.int32([4]))
    seeds = flex("RandomUniform", seed=1, seed2=2)
    model, arrays = one_node("FlexRandomUniform", [shape], outputs=[DType.FLOAT32], **seeds)
    session = Session(model)
    first, second = (session.run_graph(0, arrays)[0] for _ in range(2))
    assert not np.array_equal(first, second)


def test_random_draws_are_not_folded():
    assert not lookup("FlexRandomUniform", True).pure
    assert lookup("FlexRelu", True).pure


def test_channels_first_are_refused():
    with pytest.raises(UnsupportedError, match="another order than NHWC"):
        flex_run("BiasAdd", [X, X[0]], data_format=b"NCHW")


def test_the_rules_are_those_of_the_twin():
    with pytest.raises(ModelError, match="do not broadcast"):
        flex_run("AddV2", [X, np.float32([1, 2])])


def test_wrong_attributes_are_named():
    with pytest.raises(ModelError, match="attribute axis is not a 32-bit integer"):
        flex_run("Pack", [X, X], N=2, axis=b"1")


def test_a_node_def_of_another_operator_is_refused():
    with pytest.raises(ModelError, match="NodeDef is of another operator; expected FlexRelu"):
        run("FlexRelu", [X], **flex("Elu"))


@pytest.mark.parametrize("options", [b"", bytes(flexbuffers.Dumps(["Relu"])), b"\x01\x02"])
def test_options_that_are_no_node_def_are_refused(options):
    with pytest.raises(ModelError, match="options"):
        run("FlexRelu", [X], custom=True, custom_options=np.frombuffer(options, np.uint8))
