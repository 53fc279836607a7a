"""What is measured is counted right. No test asks how fast anything is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from build import const, one_node
from martlet.dtypes import DType
from martlet.graph import ABSENT, Model
from martlet.ops.operator import Spec
from martlet.report.benchmark import distribution, latencies, start
from martlet.report.profile import flops, profile
from martlet.runtime.image import host_image
from martlet.runtime.session import Session
from martlet.schema.writer import save

random = np.random.default_rng(1)
WINDOW = {"padding": "SAME", "stride_h": 2, "stride_w": 2}


def floats(*shape: int) -> np.ndarray:
    return random.standard_normal(shape).astype(np.float32)


def counted(op: str, inputs: list[Any], options: dict[str, Any] | None = None) -> int:
    model, arrays = one_node(op, inputs, options, [DType.FLOAT32])
    graph = model.main
    specs = [
        Spec(graph.tensors[i].dtype, a.shape) for i, a in zip(graph.inputs, arrays, strict=True)
    ]
    (step,) = Session(model).plan(0, specs).steps
    return flops(step.call)


def test_products_are_counted_with_their_additions() -> None:
    image = floats(1, 8, 8, 3)
    conv = counted("CONV_2D", [image, const(floats(5, 3, 3, 3)), const(floats(5))], WINDOW)
    assert conv == 2 * (4 * 4 * 5) * (3 * 3 * 3)
    depthwise = counted(
        "DEPTHWISE_CONV_2D", [image, const(floats(1, 3, 3, 3)), const(floats(3))], WINDOW
    )
    assert depthwise == 2 * (4 * 4 * 3) * 9
    transposed = counted(
        "TRANSPOSE_CONV",
        [const(np.int32([1, 16, 16, 5])), const(floats(5, 3, 3, 3)), image],
        WINDOW,
    )
    assert transposed == 2 * (8 * 8 * 3) * 9 * 5
    dense = counted("FULLY_CONNECTED", [floats(2, 7), const(floats(4, 7)), const(floats(4))])
    assert dense == 2 * (2 * 4) * 7
    matmul = counted("BATCH_MATMUL", [floats(3, 7, 2), floats(3, 7, 4)], {"adj_x": True})
    assert matmul == 2 * (3 * 2 * 4) * 7
    assert counted("RELU", [image]) == 0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A convolution, the signs of it, a dense layer."""
    inputs = [floats(1, 4, 4, 3), const(floats(2, 1, 1, 3)), const(floats(2))]
    options = {"stride_h": 1, "stride_w": 1}
    model, _ = one_node("CONV_2D", inputs, options, options_type="Conv2DOptions")
    graph = model.main
    graph.outputs.clear()
    signs = graph.add("SIGN", [graph.nodes[0].outputs[0]])
    weights = graph.constant(floats(5, 32), "weights")
    graph.output(graph.add("FULLY_CONNECTED", [signs, weights, ABSENT]))
    save(Model([graph]), tmp_path / "m.tflite")
    return tmp_path / "m.tflite"


def values(detail: dict[str, Any]) -> np.ndarray:
    return floats(*detail["shape"])


def test_every_node_has_a_row(path: Path) -> None:
    interpreter, report = start(path, 1, values)
    assert report.keys() == {"load_ms", "plan_ms", "first_run_ms"}
    found = profile(interpreter, 3, lambda done: None)
    rows = found["steps"]
    assert [row["nodes"] for row in rows] == [[0], [1], [2]]
    assert [row["op"] for row in rows] == ["CONV_2D", "SIGN", "FULLY_CONNECTED"]
    assert sum(row["share"] for row in rows) == pytest.approx(1)
    assert rows[0]["shape"] == [1, 4, 4, 2]
    assert rows[0]["bytes"] == 4 * (16 * 3 + 2 * 3 + 2 + 16 * 2)
    if host_image() is not None:
        assert rows[0]["kernels"][0]["kernel"].startswith("gemm_f32_")
        assert found["peak_gflops"] > 0
        assert rows[2]["of_peak"] == pytest.approx(rows[2]["gflops"] / found["peak_gflops"])


def test_without_an_image_numpy_is_timed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("martlet.runtime.session.host_image", lambda: None)
    interpreter, _ = start(path, 1, values)
    found = profile(interpreter, 2, lambda done: None)
    assert [row["kernels"] for row in found["steps"]] == [[], [], []]
    assert found["peak_gflops"] is None
    assert all(row["gflops"] != 0 and row["of_peak"] is None for row in found["steps"])


def test_profiling_changes_no_answer(path: Path) -> None:
    interpreter, _ = start(path, 2, values)
    output = interpreter.get_output_details()[0]["index"]
    before = interpreter.get_tensor(output)
    profile(interpreter, 2, lambda done: None)
    interpreter.invoke()
    np.testing.assert_array_equal(interpreter.get_tensor(output), before)


def test_as_many_runs_as_asked_for(path: Path) -> None:
    interpreter, _ = start(path, 1, values)
    heard: list[float] = []
    assert len(latencies(interpreter, 7, heard.append)) == 7
    assert heard == sorted(heard)
    assert heard[-1] <= 1


def test_the_distribution_of_known_times() -> None:
    found = distribution([float(i) for i in range(1, 101)])
    assert (found["min"], found["median"], found["max"]) == (1, 50.5, 100)
    assert (found["p90"], found["p99"]) == (90, 99)
    assert found["spread"] == pytest.approx(49.5 / 50.5)
    assert distribution([3.0])["p99"] == 3.0
