"""Signature runners: names instead of indices; several graphs; LiteRT's answers and errors."""

import numpy as np
import pytest
from ai_edge_litert import interpreter as litert

import models
from martlet import ArgumentError, Interpreter, MartletError, load
from martlet.graph import Graph, Signature

A, B = np.array([1, 2], np.float32), np.array([10, 20], np.float32)


@pytest.fixture
def interpreter():
    return Interpreter(model_content=models.signatures())


def test_a_signature_runs_by_name(interpreter):
    results = interpreter.get_signature_runner("sum")(b=B, a=A)
    assert {k: v.tolist() for k, v in results.items()} == {
        "difference": [-9, -18],
        "total": [11, 22],
    }


def test_names_are_in_litert_s_order(interpreter):
    theirs = litert.Interpreter(model_content=models.signatures())
    for key in ("sum", "twice"):
        runners = [i.get_signature_runner(key) for i in (theirs, interpreter)]
        for method in ("get_input_details", "get_output_details"):
            a, b = (getattr(r, method)() for r in runners)
            assert list(a) == list(b)
            assert [d["index"] for d in a.values()] == [d["index"] for d in b.values()]
    outputs = [list(i.get_signature_runner("sum")(a=A, b=B)) for i in (theirs, interpreter)]
    assert outputs[0] == outputs[1]


def test_another_graph_takes_inputs_of_any_length(interpreter):
    twice = interpreter.get_signature_runner("twice")
    for size in (3, 0, 5):
        assert twice(x=np.ones(size, np.float32))["y"].tolist() == [2] * size
    assert twice.get_input_details()["x"]["shape"].tolist() == [5]
    assert twice.get_input_details()["x"]["shape_signature"].tolist() == [-1]


def test_lists_and_numbers_take_the_type_of_the_input(interpreter):
    assert interpreter.get_signature_runner("twice")(x=[1, 2.5])["y"].tolist() == [2, 5]


def test_the_tensors_are_those_of_the_interpreter(interpreter):
    interpreter.get_signature_runner("sum")(a=A, b=B)
    total = interpreter.get_output_details()[0]["index"]
    assert interpreter.get_tensor(total).tolist() == [11, 22]
    twice = interpreter.get_signature_runner("twice")
    twice(x=A)
    index = twice.get_output_details()["y"]["index"]
    assert interpreter.get_tensor(index, subgraph_index=1).tolist() == [2, 4]


def test_the_key_may_be_left_out_only_where_there_is_one(interpreter):
    with pytest.raises(ValueError, match="model has 2 Signatures. None is only allowed"):
        interpreter.get_signature_runner()
    none = Interpreter(model_content=models.doubling())
    assert none.get_signature_list() == {}
    with pytest.raises(ValueError, match=r"model has 0 Signatures.*set_tensor\(\)"):
        none.get_signature_runner()


@pytest.mark.parametrize(
    ("key", "arguments", "message"),
    [
        ("other", {}, "Invalid signature_key provided: \"other\".*'sum' or 'twice'"),
        ("", {}, "None signature_key provided"),
        ("sum", {}, "Invalid number of inputs provided for running a SignatureDef, expected 2"),
        ("sum", {"a": A, "c": B}, r"Invalid Input name \(c\) for SignatureDef; expected a, b"),
        ("sum", {"a": A, "b": B.astype(int)}, "expected FLOAT32, found INT64"),
        ("sum", {"a": A, "b": np.ones((3, 7), np.float32)}, "do not broadcast"),
        ("twice", {"x": "text"}, "expected FLOAT32"),
    ],
)
def test_wrong_uses_are_explained(interpreter, key, arguments, message):
    with pytest.raises(MartletError, match=message):
        interpreter.get_signature_runner(key)(**arguments)


def test_an_input_may_have_any_name():
    graph = Graph()
    graph.output(graph.add("ADD", [graph.input("x", (2,))] * 2))
    content = models.to_bytes(graph, signatures=[Signature("twice", {"self": 0}, {"y": 1})])
    answer = Interpreter(model_content=content).get_signature_runner()(self=A)
    assert answer["y"].tolist() == [2, 4]
    assert load(content)(self=A).tolist() == [2, 4]


def test_positional_arguments_are_python_s_error(interpreter):
    with pytest.raises(TypeError):
        interpreter.get_signature_runner("twice")(A)


def test_argument_errors_are_what_programs_catch(interpreter):
    with pytest.raises(ArgumentError) as caught:
        interpreter.get_signature_runner("sum")()
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, RuntimeError)
