"""What is written reads back the same, and LiteRT accepts it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from corpus import ROOT, Case, cases
from martlet.dtypes import DType
from martlet.errors import ModelError
from martlet.graph import Graph, Model, Node, Quantization, Signature
from martlet.schema.file import File
from martlet.schema.reader import read
from martlet.schema.writer import save, write
from same import differences


def two_layers() -> Model:
    graph = Graph()
    x = graph.input("x", (1, 4))
    w = graph.constant(np.arange(8, dtype=np.float32).reshape(2, 4), "w")
    b = graph.constant(np.array([1, -1], np.float32), "b")
    options = {"fused_activation_function": "RELU"}
    y = graph.add("FULLY_CONNECTED", [x, w, b], options, options_type="FullyConnectedOptions")
    graph.tensors[y].shape = (1, 2)
    graph.output(y)
    return Model(
        [graph],
        [Signature("serving_default", {"x": x}, {"y": y})],
        {"note": np.frombuffer(b"hello", np.uint8)},
        {"labels.txt": b"a\nb\n"},
        "two layers",
    )


def litert_answer(data: bytes | bytearray) -> np.ndarray:
    interpreter = Interpreter(model_content=bytes(data))
    runner = interpreter.get_signature_runner("serving_default")
    result: np.ndarray = runner(x=np.array([[1, 2, 3, 4]], np.float32))["y"]
    return result


def test_a_model_comes_back_the_same() -> None:
    model = two_layers()
    back = read(write(model), model.source)
    # The reader fills in the options that the builder left to their defaults.
    model.main.nodes[0].options = back.main.nodes[0].options
    assert differences(model, back) == []


def test_litert_runs_what_is_written() -> None:
    assert litert_answer(write(two_layers())).tolist() == [[21, 59]]


def test_weights_outside_the_flatbuffer_read_the_same_here_and_in_litert() -> None:
    inside = read(write(two_layers()))
    data = write(two_layers(), flatbuffer_limit=0)
    assert differences(inside, read(data)) == []
    assert litert_answer(data).tolist() == [[21, 59]]


def test_constants_that_share_an_array_share_a_buffer() -> None:
    graph = Graph()
    a = graph.constant(np.zeros(1000, np.float32), "a")
    b = graph.constant(np.zeros(1000, np.float32), "b")
    graph.tensors[b].raw = graph.tensors[a].raw
    graph.output(a, b)
    assert len(write(Model([graph]))) < 5000


def test_every_kind_of_quantisation_comes_back() -> None:
    graph = Graph()
    graph.constant(np.zeros((2, 3), np.int8), "one", None, Quantization.of(0.5, -3))
    graph.constant(np.zeros((2, 3), np.int8), "axis", None, Quantization.of([1, 2, 3], 0, 1))
    graph.constant([[1, -2, 7]], "int4", DType.INT4, Quantization.of(0.25))
    ranged = Quantization(minimum=np.float32([-1]), maximum=np.float32([1]))
    graph.constant(np.zeros(2, np.float32), "ranged", None, ranged)
    graph.output(0)
    assert differences(Model([graph], source="m"), read(write(Model([graph])), "m")) == []


def test_an_unknown_operator_is_refused() -> None:
    graph = Graph()
    graph.nodes.append(Node("NO_SUCH_OP"))
    with pytest.raises(ModelError, match="NO_SUCH_OP is not a builtin operator"):
        write(Model([graph]))


def test_options_need_the_name_of_their_table() -> None:
    graph = Graph()
    graph.nodes.append(Node("SOFTMAX", options={"beta": 1.0}))
    with pytest.raises(ModelError, match="options but no options_type"):
        write(Model([graph]))


def test_saving_replaces_a_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    save(two_layers(), path)
    mapped = read(File(path).data)
    save(Model([Graph("other")]), path)
    assert mapped.main.tensors[1].raw is not None
    assert mapped.main.tensors[1].raw.view(np.float32)[7] == 7
    assert read(File(path).data).main.name == "other"
    assert [p.name for p in tmp_path.iterdir()] == ["m.tflite"]


@pytest.mark.skipif(not cases(), reason=f"the corpus is not at {ROOT.name}")
@pytest.mark.parametrize("part", ["models", "ops", "micro"])
def test_every_model_of_the_corpus_comes_back_the_same(part: str) -> None:
    chosen: list[Case] = [c for c in cases() if c.part == part]
    for case in chosen:
        model = read(File(case.path).data, "m")
        assert differences(model, read(write(model), "m")) == [], case.name
