"""Custom operators given as Python functions, or as Operators."""

import numpy as np
import pytest

import models
from martlet import ArgumentError, Interpreter, RunError, UnsupportedError
from martlet.dtypes import DType
from martlet.ops.operator import Operator, Spec

# A FlexBuffer of {"factor": 3}: key, keys vector, value, map, root's type and width.
FACTOR_3 = b"factor\x00\x01\x08\x01\x01\x01\x03\x04\x02\x24\x01"


def run(function, **model):
    interpreter = Interpreter(model_content=models.custom(**model), custom_ops={"Mine": function})
    interpreter.allocate_tensors()
    interpreter.set_tensor(0, np.array([1, 2, 3], np.float32))
    interpreter.invoke()
    return interpreter.get_tensor(1)


def test_a_function_of_arrays_is_an_operator():
    assert run(lambda x: x * x).tolist() == [1, 4, 9]


def test_its_result_takes_the_declared_type_where_that_loses_nothing():
    result = run(lambda x: (x > 1).sum(), dtype=DType.INT32)
    assert result == 2
    assert result.dtype == np.int32
    with pytest.raises(RunError, match="without loss; expected INT32, found FLOAT32"):
        run(lambda x: x / 2, dtype=DType.INT32)


def test_a_function_that_asks_for_options_gets_them():
    assert run(lambda x, options: len(options), options=b"\xff\xff\xff") == 3
    assert run(lambda x, options: len(options)) == 0


def test_options_that_are_a_flexbuffer_come_decoded():
    assert run(lambda x, options: x * options["factor"], options=FACTOR_3).tolist() == [3, 6, 9]


def test_what_a_function_raises_is_told_with_its_place():
    with pytest.raises(RunError, match=r"node 0 \(Mine\).*raised ZeroDivisionError") as caught:
        run(lambda x: 1 // 0)
    assert isinstance(caught.value.__context__, ZeroDivisionError)


def test_the_number_of_outputs_is_checked():
    with pytest.raises(RunError, match="wrong number of outputs; expected 1, found 2"):
        run(lambda x: (x, x))


def test_a_function_cannot_change_its_inputs():
    def greedy(x):
        x[:] = 0
        return x

    interpreter = Interpreter(model_content=models.custom(), custom_ops={"Mine": greedy})
    interpreter.allocate_tensors()
    interpreter.set_tensor(0, np.ones(3, np.float32))
    interpreter.invoke()
    assert interpreter.get_tensor(0).tolist() == [1, 1, 1]


def test_a_function_cannot_use_the_interpreter_that_runs_it():
    def reenter(x):
        interpreter.invoke()

    interpreter = Interpreter(model_content=models.custom(), custom_ops={"Mine": reenter})
    interpreter.allocate_tensors()
    with pytest.raises(ArgumentError, match="invoke was called while the interpreter runs"):
        interpreter.invoke()


def test_an_operator_can_tell_its_shapes_beforehand():
    def pair(call):
        return [Spec(DType.FLOAT32, (2, *call.shape(0)))]

    operator = Operator(
        "any",
        pair,
        lambda call, x: np.stack([x, -x]),
        "",
        1,
        (1, 1),
        (1, 1),
        frozenset(),
        True,
        True,
    )
    interpreter = Interpreter(model_content=models.custom(), custom_ops={"Mine": operator})
    interpreter.allocate_tensors()
    assert interpreter.get_output_details()[0]["shape"].tolist() == [2, 3]


def test_an_unknown_operator_is_named_with_advice():
    interpreter = Interpreter(model_content=models.custom("Theirs"))
    with pytest.raises(UnsupportedError, match=r"Theirs.*custom_ops="):
        interpreter.allocate_tensors()
