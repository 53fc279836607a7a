"""Options of custom operators: types and ranges are checked where they are read."""

import numpy as np
import pytest
from flatbuffers import flexbuffers

from build import one_node, run
from custom_node import flexbuffer
from martlet.dtypes import DType
from martlet.errors import ModelError
from martlet.ops.custom_options import boolean, integer, number, options, text
from martlet.ops.operator import Operator, Spec
from martlet.runtime.session import Session


def read(values, reader):
    """What `reader(call, options)` gives within an operator's rule."""
    seen = []

    def infer(call):
        seen.append(reader(call, options(call)))
        return [Spec(DType.FLOAT32, ())]

    operator = Operator("Probe", infer, infer, "", 1, (1, 1), (1, 1), frozenset(), False, True)
    model, _ = one_node("Probe", [np.float32(0)], **values)
    Session(model, custom={"Probe": operator}).plan(0, [Spec(DType.FLOAT32, ())])
    return seen[0]


def test_numbers_convert_as_in_flexbuffers():
    node = flexbuffer(a=3, b=2.75, c=True, d="x")
    assert read(node, lambda call, o: number(call, o, "a")) == 3.0
    assert read(node, lambda call, o: integer(call, o, "b")) == 2
    assert read(node, lambda call, o: boolean(call, o, "c")) is True
    assert read(node, lambda call, o: text(call, o, "d")) == "x"


def test_what_is_missing_is_0_or_the_default():
    node = {"custom": True}
    assert read(node, lambda call, o: integer(call, o, "a")) == 0
    assert read(node, lambda call, o: integer(call, o, "a", 7)) == 7


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("x", "option a is not a number"),
        (float("nan"), "not a finite number"),
        (1 << 40, "out of range; expected -2147483648 to 2147483647, found 1099511627776"),
    ],
)
def test_a_wrong_value_is_named(value, problem):
    with pytest.raises(ModelError, match=problem):
        read(flexbuffer(a=value), lambda call, o: integer(call, o, "a"))


def test_options_that_are_not_a_map_are_refused():
    five = np.frombuffer(bytes(flexbuffers.Dumps(5)), np.uint8)
    samples = np.int16([1])
    with pytest.raises(ModelError, match="not a map; expected a map, found int"):
        run("SignalWindow", [samples, samples], custom=True, custom_options=five)
