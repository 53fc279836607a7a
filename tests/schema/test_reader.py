"""The reader trusts nothing, and names what is wrong."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from martlet.dtypes import DType
from martlet.errors import ArgumentError, ModelError, UnsupportedError
from martlet.graph import Graph, Model, Quantization, Signature, Tensor
from martlet.schema.file import File
from martlet.schema.layout import Decoder, Encoder, Record
from martlet.schema.reader import read
from martlet.schema.tflite import IDENTIFIER, SCHEMA
from martlet.schema.writer import write


def small() -> Model:
    graph = Graph()
    x = graph.input("x", (2, 3))
    w = graph.constant(np.arange(6, dtype=np.float32).reshape(2, 3), "w")
    graph.output(graph.add("ADD", [x, w], {}, options_type="AddOptions"))
    return Model([graph], [Signature("serve", {"x": x}, {"y": 2})], source="small")


def changed(**changes: Any) -> bytes:
    """The bytes of `small` with fields of its tables changed: `tensor0_buffer=9`."""
    root = Decoder(SCHEMA, memoryview(write(small())), "x").root("Model")
    places: dict[str, Record] = {
        "root": root,
        "graph": root.subgraphs[0],
        "node": root.subgraphs[0].operators[0],
        "code": root.operator_codes[0],
        "signature": root.signature_defs[0],
        "tensor0": root.subgraphs[0].tensors[0],
        "tensor1": root.subgraphs[0].tensors[1],
        "buffer": root.buffers[1],
    }
    for name, value in changes.items():
        place, _, field = name.partition("_")
        setattr(places[place], field, value)
    return bytes(Encoder(SCHEMA, {}).encode(root, IDENTIFIER))


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def test_weights_are_views_of_the_bytes() -> None:
    data = bytes(write(small()))
    raw = read(data).main.tensors[1].raw
    assert raw is not None
    assert np.shares_memory(raw, np.frombuffer(data, np.uint8))
    assert not raw.flags.writeable


def test_structure_is_not_a_view() -> None:
    graph = Graph()
    graph.output(graph.input("x", (2,), DType.INT8, Quantization.of(0.5, 3)))
    data = bytearray(write(Model([graph])))
    model = read(data)
    data[:] = bytes(len(data))
    assert model.main.tensors[0].shape == (2,)
    assert model.main.tensors[0].quantization is not None
    assert model.main.tensors[0].quantization.scale.tolist() == [0.5]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"root_version": 2}, "schema version is not supported, expected 3, found 2"),
        ({"root_subgraphs": None}, "No subgraph in the model"),
        ({"graph_inputs": ints(7)}, "its inputs: a tensor index is out of range.*0 to 2.*found 7"),
        ({"graph_outputs": ints(-1)}, "its outputs: a tensor index is out of range.*found -1"),
        ({"node_inputs": ints(0, -2)}, r"node 0 \(ADD\), its inputs.*found -2"),
        ({"node_opcode_index": 4}, "names an operator code that does not exist.*found 4"),
        ({"code_builtin_code": 5000}, "operator code 0 is not in the schema.*found 5000"),
        ({"code_builtin_code": "CUSTOM"}, "custom but has no name"),
        ({"tensor0_type": 77}, "tensor 0 'x': the element type is not in the schema"),
        ({"tensor0_shape": ints(2, -3)}, "tensor 0 'x': a size is negative"),
        ({"tensor0_shape": ints(*[2**31 - 1] * 3)}, "too many elements"),
        ({"tensor0_shape": ints(*[1] * 40)}, "too many dimensions"),
        ({"tensor0_buffer": 9}, "names a buffer that does not exist.*below 2, found 9"),
        ({"tensor1_is_variable": True}, "tensor 1 'w': the tensor is a variable, yet has constant"),
        ({"tensor0_external_buffer": 1}, "data lie in another file"),
        ({"signature_subgraph_index": 3}, "signature 'serve': it names a subgraph"),
        ({"buffer_offset": 1 << 40, "buffer_size": 8}, "buffer 1 lies outside the file"),
    ],
)
def test_facts_that_cannot_be_are_refused_by_name(changes: dict[str, Any], message: str) -> None:
    message = message.replace("supported, expected", "supported; expected")
    with pytest.raises(ModelError, match=message) as caught:
        read(changed(**changes), "small.tflite")
    assert str(caught.value).startswith("small.tflite")


def test_scales_and_zero_points_must_agree_in_number() -> None:
    quantization = SCHEMA.record(
        "QuantizationParameters",
        scale=np.ones(3, np.float32),
        zero_point=np.zeros(2, np.int64),
    )
    with pytest.raises(ModelError, match="scales and zero points differ in number"):
        read(changed(tensor0_quantization=quantization))


def test_control_flow_must_call_a_subgraph_that_exists() -> None:
    graph = Graph()
    c = graph.input("c", (), DType.BOOL)
    options = {"then_subgraph_index": 0, "else_subgraph_index": 5}
    graph.output(graph.add("IF", [c], options, options_type="IfOptions"))
    with pytest.raises(ModelError, match="its options name a subgraph.*found 5"):
        read(write(Model([graph])))


@pytest.mark.parametrize("identifier", [b"TFL2", b"TFL1"])
def test_older_schemas_are_named(identifier: bytes) -> None:
    data = bytearray(write(small()))
    data[4:8] = identifier
    with pytest.raises(UnsupportedError, match=f"found '{identifier.decode()}'"):
        read(data)


@pytest.mark.parametrize("data", [b"", b"TFL3", b"\0" * 64, b"PK\x03\x04" + b"\0" * 60])
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(ModelError):
        read(data)


def test_the_wider_operator_code_wins() -> None:
    model = read(changed(code_deprecated_builtin_code=0, code_builtin_code="GELU"))
    assert model.main.nodes[0].op == "GELU"
    model = read(changed(code_deprecated_builtin_code=41, code_builtin_code=0))
    assert model.main.nodes[0].op == "SUB"


def test_associated_files_are_read_from_the_end() -> None:
    model = small()
    model.files = {"labels.txt": b"cat\ndog\n", "empty": b""}
    assert read(write(model)).files == model.files


def test_a_zip_that_would_expand_without_bound_is_refused(monkeypatch: Any) -> None:
    stream = io.BytesIO(bytes(write(small())))
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(5000))
    monkeypatch.setattr("martlet.schema.reader.MAX_FILES_BYTES", 4000)
    with pytest.raises(ModelError, match="associated files are too large.*found 5000"):
        read(stream.getvalue())


def test_metadata_that_share_a_buffer_are_copied_once() -> None:
    content = np.zeros(5000, np.uint8)
    entries = [SCHEMA.record("Metadata", name=f"m{i}", buffer=1) for i in range(100)]
    buffers = [SCHEMA.record("Buffer"), SCHEMA.record("Buffer", data=content)]
    metadata = read(changed(root_metadata=entries, root_buffers=buffers)).metadata
    assert len({id(a) for a in metadata.values()}) == 1


def test_metadata_that_overlap_cannot_multiply_beyond_the_size_of_the_file() -> None:
    outside = [SCHEMA.record("Buffer", offset=8 + i, size=2000) for i in range(100)]
    entries = [SCHEMA.record("Metadata", name=f"m{i}", buffer=1 + i) for i in range(100)]
    data = changed(root_metadata=entries, root_buffers=[SCHEMA.record("Buffer"), *outside])
    with pytest.raises(ModelError, match="overlap, and are larger than the file"):
        read(data)


def test_a_damaged_zip_is_refused() -> None:
    model = small()
    model.files = {"labels.txt": b"cat\ndog\n" * 50}
    data = bytearray(write(model))
    at = data.index(b"cat\ndog")
    data[at : at + 4] = b"\xff\xff\xff\xff"
    with pytest.raises(ModelError, match="archive of associated files is damaged"):
        read(data)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="Could not open.*nowhere.tflite"):
        File(tmp_path / "nowhere.tflite")


def test_a_file_that_changed_after_it_was_opened_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(write(small()))
    file = File(path)
    file.check_unchanged()
    os.utime(path, ns=(1, 1))
    with pytest.raises(ModelError, match="changed after it was opened"):
        file.check_unchanged()


def test_a_file_that_was_replaced_by_another_is_still_what_it_was(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(write(small()))
    file = File(path)
    path.unlink()
    file.check_unchanged()
    assert read(file.data).main.tensors[0].name == "x"


def test_names_that_are_not_utf8_survive() -> None:
    model = small()
    model.main.tensors[0].name = b"\xff\xfe".decode("utf-8", "surrogateescape")
    data = write(model)
    assert b"\xff\xfe" in data
    assert read(data).main.tensors[0].name == model.main.tensors[0].name


def test_tensors_without_rank_and_with_sizes_that_change_are_kept() -> None:
    graph = Graph()
    graph.output(graph.input("x", (-1, 3)))
    graph.tensors.append(Tensor("u", has_rank=False))
    back = read(write(Model([graph]))).main
    assert back.tensors[0].shape == (1, 3)
    assert back.tensors[0].signature == (-1, 3)
    assert not back.tensors[1].has_rank
