"""`martlet.load`: a model as a function."""

import sys
from pathlib import Path

import numpy as np
import pytest

import martlet
from martlet import ArgumentError
from martlet.dtypes import DType

sys.path.insert(0, str(Path(__file__).parent / "runtime"))
import models


@pytest.fixture
def model():
    return martlet.load(models.doubling())


@pytest.fixture
def pair():
    return martlet.load(models.signatures())


def test_a_model_is_called_by_position_or_by_name(model):
    assert model(np.ones((1, 4), np.float32)).tolist() == [[2] * 4]
    assert model(x=[[1, 2, 3, 4]]).tolist() == [[2, 4, 6, 8]]


def test_it_loads_from_a_path(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(models.doubling())
    for source in (path, str(path)):
        assert martlet.load(source, memory_limit=1e6)(np.ones((1, 4))).sum() == 8


def test_any_numbers_do_that_lose_nothing(model):
    assert model(np.arange(4, dtype=np.uint8)[None]).tolist() == [[0, 2, 4, 6]]
    integers = martlet.load(models.doubling((2,), DType.INT32))
    assert integers(np.array([1.0, -2.0])).tolist() == [2, -2]
    for wrong in ([1.5, 2.0], [2**40, 0], ["a", "b"]):
        with pytest.raises(ArgumentError, match="input 'x'.*without loss; expected INT32"):
            integers(wrong)


def test_several_outputs_are_a_tuple_with_names(pair):
    total, difference = pair([10, 20], [1, 2])
    assert (total.tolist(), difference.tolist()) == ([11, 22], [-9, -18])
    outputs = pair(a=[1, 2], b=[10, 20])
    assert outputs.names == ("total", "difference")
    assert outputs["total"].tolist() == outputs[0].tolist() == [11, 22]
    assert repr(outputs) == "Outputs(total=float32 2, difference=float32 2)"
    with pytest.raises(ArgumentError, match="no output of that name; expected total, difference"):
        outputs["mean"]


def test_signatures_are_attributes(pair):
    assert pair.twice([1, 2, 3]).tolist() == [2, 4, 6]
    assert pair.sum(b=[1, 1], a=[1, 1])["total"].tolist() == [2, 2]
    assert {"sum", "twice"} <= {*dir(pair)}
    with pytest.raises(AttributeError, match="no signature 'mean'; its signatures: sum, twice"):
        pair.mean  # noqa: B018


def test_other_sizes_are_planned_for_as_they_come(model):
    for batch in (3, 1, 2):
        assert model(np.ones((batch, 4))).shape == (batch, 4)


@pytest.mark.parametrize(
    ("arguments", "named", "message"),
    [
        ([], {}, "inputs are missing; expected b, a, found none"),
        ([[1, 2]], {"b": [1, 2]}, "'b' was given twice"),
        ([[1, 2]], {"c": [1, 2]}, "'c' is not the name of an input; expected b, a"),
        ([1, 2, 3], {}, "takes fewer inputs; expected 2, found 3"),
        ([1, 2], {}, r"wrong number of dimensions; expected shape \[2\], found shape \[\]"),
        (
            [[1, 2, 3], [1, 2]],
            {},
            r"cannot take input 'b' in this shape; expected \[2\], found \[3\]",
        ),
    ],
)
def test_wrong_calls_are_explained(pair, arguments, named, message):
    with pytest.raises(ArgumentError, match=message):
        pair(*arguments, **named)


def test_a_missing_batch_axis_is_named(model):
    with pytest.raises(ArgumentError, match=r"value\[None\]"):
        model([1, 2, 3, 4])


def test_printing_a_model_tells_what_it_is(pair):
    assert str(pair).splitlines() == [
        "<model>: 3 operators, 0 constant numbers in 0 bytes",
        "  in   b: float32 2",
        "  in   a: float32 2",
        "  out  total: float32 2",
        "  out  difference: float32 2",
        "  operators: 2 ADD, 1 SUB",
        "  signature sum(b, a) -> total, difference",
        "  signature twice(x) -> y",
        "  2 graphs",
    ]
    assert repr(pair) == "<<model>: sum(b, a) -> total, difference>"


def test_quantisation_and_unknown_sizes_are_printed():
    assert "in   x: int8 1×2, 0.5 × (q + 3)" in str(martlet.load(models.quantized()))
    assert "in   x: float32 ?×4" in str(martlet.load(models.doubling((-1, 4))))
