"""The command line, used as a person and as a program would."""

from __future__ import annotations

import builtins
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

import martlet
from corpus import ROOT
from martlet.cli.app import app
from martlet.dtypes import DType
from martlet.graph import Graph, Model, Quantization, Signature
from martlet.schema.layout import Encoder
from martlet.schema.metadata import IDENTIFIER, SCHEMA
from martlet.schema.writer import save

DIGITS = Path(__file__).parents[2] / "examples" / "digits"


def call(*arguments: Any) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "200"})


def as_json(*arguments: Any) -> Any:
    result = call(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def identity(dtype: DType, quantization: Quantization | None = None, **fields: Any) -> Model:
    """A model that gives back the 2×3 RGB image that goes in."""
    graph = Graph()
    x = graph.input("image", (1, 2, 3, 3), dtype, quantization)
    shape = graph.constant(np.array([1, 2, 3, 3], np.int32))
    graph.output(graph.add("RESHAPE", [x, shape]))
    return Model([graph], [Signature("serve", {"image": x}, {"same": 2})], **fields)


def normalization(mean: float, std: float) -> np.ndarray:
    """Metadata that say how to normalise the only input."""
    options = SCHEMA.record("NormalizationOptions", mean=np.float32([mean]), std=np.float32([std]))
    tensor = SCHEMA.record(
        "TensorMetadata",
        name="picture",
        process_units=[SCHEMA.record("ProcessUnit", options=options)],
    )
    graph = SCHEMA.record("SubGraphMetadata", input_tensor_metadata=[tensor])
    root = SCHEMA.record("ModelMetadata", name="test", subgraph_metadata=[graph])
    return np.frombuffer(Encoder(SCHEMA, {}).encode(root, IDENTIFIER), np.uint8)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """Twice the size of the model's input, every pixel (0, 128, 255)."""
    path = tmp_path / "picture.png"
    Image.new("RGB", (6, 4), (0, 128, 255)).save(path)
    return path


def pixel(tmp_path: Path, model: Model, *arguments: Any) -> list[Any]:
    """The first pixel that the model was given."""
    save(model, tmp_path / "m.tflite")
    out = tmp_path / "out.npy"
    result = call("run", tmp_path / "m.tflite", *arguments, "--save", out)
    assert result.exit_code == 0, result.output
    pixels: list[Any] = np.load(out)[0, 0, 0].tolist()
    return pixels


def test_pixels_go_into_uint8_as_they_are(tmp_path: Path, picture: Path) -> None:
    model = identity(DType.UINT8, Quantization.of(1 / 128, 128))
    assert pixel(tmp_path, model, picture) == [0, 128, 255]


def test_pixels_go_into_int8_less_128(tmp_path: Path, picture: Path) -> None:
    model = identity(DType.INT8, Quantization.of(1 / 255, -128))
    assert pixel(tmp_path, model, picture) == [-128, 0, 127]


def test_floats_are_minus_one_to_one_unless_told(tmp_path: Path, picture: Path) -> None:
    values = pixel(tmp_path, identity(DType.FLOAT32), picture)
    np.testing.assert_allclose(values, [-1, 0.0039, 1], atol=1e-4)


def test_options_normalise(tmp_path: Path, picture: Path) -> None:
    model = identity(DType.FLOAT32)
    values = pixel(tmp_path, model, picture, "--mean", 28, "--std", 10)
    np.testing.assert_allclose(values, [-2.8, 10, 22.7], rtol=1e-6)


def test_metadata_normalise_and_quantisation_follows(tmp_path: Path, picture: Path) -> None:
    metadata = {"TFLITE_METADATA": normalization(0, 255)}
    values = pixel(tmp_path, identity(DType.FLOAT32, metadata=metadata), picture)
    np.testing.assert_allclose(values, [0, 128 / 255, 1], rtol=1e-6)
    model = identity(DType.INT8, Quantization.of(1 / 255, -128), metadata=metadata)
    assert pixel(tmp_path, model, picture) == [-128, 0, 127]


def test_inputs_can_be_named_and_arrays(tmp_path: Path) -> None:
    image = np.arange(18, dtype=np.float32).reshape(1, 2, 3, 3)
    np.save(tmp_path / "x.npy", image)
    values = pixel(tmp_path, identity(DType.FLOAT32), f"image={tmp_path / 'x.npy'}")
    assert values == [0, 1, 2]


def test_a_signature_is_run_by_name(tmp_path: Path) -> None:
    save(identity(DType.FLOAT32), tmp_path / "m.tflite")
    report = as_json("run", tmp_path / "m.tflite", "--random", "--signature", "serve")
    assert [o["name"] for o in report["outputs"]] == ["same"]


def test_labels_come_from_the_model(tmp_path: Path) -> None:
    report = as_json("run", DIGITS / "digits_int8.tflite", "--random", "--top", 3)
    (output,) = report["outputs"]
    assert output["shape"] == [1, 10]
    assert len(output["top"]) == 3
    assert {t["label"] for t in output["top"]} <= {
        "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
    }  # fmt: skip
    scores = [t["score"] for t in output["top"]]
    assert scores == sorted(scores, reverse=True)


def test_labels_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("\n".join(f"{i} name{i}" for i in range(10)))
    report = as_json(
        "run", DIGITS / "digits_float.tflite", "--random", "--labels", tmp_path / "labels.txt"
    )
    best = report["outputs"][0]["top"][0]
    assert best["label"] == f"name{best['index']}"


def test_the_same_seed_gives_the_same_answer() -> None:
    runs = [
        as_json("run", DIGITS / "digits_float.tflite", "--random", "--seed", s)["outputs"]
        for s in (1, 1, 2)
    ]
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "no.tflite", "--random"], "Could not open 'no.tflite'"),
        (["run", DIGITS / "digits_float.tflite"], "nothing is given for input 'image'"),
        (["run", DIGITS / "digits_float.tflite", "no.png"], "Could not read no.png"),
        (["run", DIGITS / "digits_float.tflite", "no.npy"], "Could not read no.npy"),
        (["run", DIGITS / "digits_float.tflite", "a", "b"], "more files than inputs"),
        (["run", DIGITS / "train.py", "--random"], "not a TensorFlow Lite model"),
        (
            ["run", DIGITS / "digits_float.tflite", "--random", "--labels", "no.txt"],
            "Could not read no.txt",
        ),
        (["inspect", DIGITS / "train.py"], "not a TensorFlow Lite model"),
        (["reply", "hi", "--model", "no.tflite"], "Could not open"),
    ],
)
def test_mistakes_get_a_message_and_status_1(arguments: list[Any], message: str) -> None:
    result = call(*arguments)
    assert result.exit_code == 1, result.output
    assert message in result.stderr.replace("\n", " ")
    assert "Traceback" not in result.output


def test_inspect_says_what_there_is() -> None:
    text = call("inspect", DIGITS / "digits_int8.tflite").stdout
    for part in ("-1×8×8×1", "int8", "CONV_2D", "serving_default(image)", "labels.txt", "memory"):
        assert part in text
    facts = as_json("inspect", DIGITS / "digits_int8.tflite", "--nodes")
    assert {o["op"]: o["count"] for o in facts["operators"]}["CONV_2D"] == 3
    assert facts["memory"]["activation_bytes"] > 0
    assert facts["quantization"]["per channel"] == 6
    assert facts["problem"] == ""
    assert len(facts["nodes"][0]) == 6


def test_verify_passes_a_sound_model() -> None:
    result = call("verify", DIGITS / "digits_float.tflite")
    assert result.exit_code == 0
    assert "sound, 0 warnings" in result.stdout


def test_verify_lists_every_finding(tmp_path: Path) -> None:
    graph = Graph()
    x = graph.input("x", (2, 3))
    w = graph.constant(np.float32([np.nan]), "w")
    graph.add("ADD", [x, graph.constant(np.zeros((4, 5), np.float32), "b")])
    graph.output(graph.add("MUL", [x, w]))
    graph.add("NO_OP_OF_THIS_NAME", [x], custom=True)
    save(Model([graph]), tmp_path / "bad.tflite")
    result = call("verify", tmp_path / "bad.tflite", "--json")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    errors = [f for f in report["findings"] if f["severity"] == "error"]
    assert [e["where"].split(", ")[-1] for e in errors] == [
        "node 0 (ADD)", "node 2 (NO_OP_OF_THIS_NAME)",
    ]  # fmt: skip
    warnings = " ".join(f["problem"] for f in report["findings"])
    assert "1 of 1 weights are not finite" in warnings
    assert "nothing uses its results" in warnings


def test_verify_says_where_a_damaged_file_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "cut.tflite"
    path.write_bytes((DIGITS / "digits_float.tflite").read_bytes()[:3000])
    result = call("verify", path)
    assert result.exit_code == 1
    assert "cut.tflite" in result.stdout
    assert "1 errors" in result.stdout


def test_version_and_help() -> None:
    assert call("--version").stdout.strip() == f"martlet {martlet.__version__}"
    for command in ("run", "inspect", "verify", "reply"):
        text = call(command, "--help").stdout
        assert f"martlet {command} " in text


def test_without_its_libraries_the_command_says_how_to_get_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = builtins.__import__

    def fake(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".")[0] == "typer":
            raise ModuleNotFoundError("No module named 'typer'", name="typer")
        return real(name, *args, **kwargs)

    for name in [m for m in sys.modules if m.startswith("martlet.cli.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", fake)
    with pytest.raises(SystemExit) as stopped:
        martlet_main()
    assert stopped.value.code == 2
    assert "pip install 'martlet[cli]'" in capsys.readouterr().err


def martlet_main() -> None:
    from martlet.cli import main

    main()


def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "martlet", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("martlet ")


def test_verbose_logs_to_stderr() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "martlet", "-v", "run", str(DIGITS / "digits_int8.tflite"),
         "--random", "--json"],
        capture_output=True, text=True, check=True, env={**os.environ},
    )  # fmt: skip
    assert "martlet" in done.stderr
    json.loads(done.stdout)


@pytest.mark.skipif(not ROOT.exists(), reason=f"the corpus ({ROOT.name}) is not here")
def test_replies_are_ranked() -> None:
    (model,) = (ROOT / "smartreply").glob("*.tflite")
    report = as_json("reply", "how are you", "--model", model)
    assert next(iter(report["replies"])) == "I am well, thank you"
    text = call("reply", "how are you", "--model", model).stdout
    assert "I am well, thank you" in text
