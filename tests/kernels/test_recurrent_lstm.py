"""LSTM cells on kernels, over sequences and for one moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from build import Value, const
from lstm_models import float_cell, norms
from martlet.dtypes import DType
from martlet.graph import Model
from martlet.kernels.targets import Target
from martlet.runtime.image import host_image
from martlet.runtime.interpreter import Interpreter
from martlet.schema.writer import write
from native import targets
from recurrent_models import floats, model, state
from recurrent_node import check, is_lowered

each = pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
SEQUENCE = "UNIDIRECTIONAL_SEQUENCE_LSTM"
TANH = {"fused_activation_function": "TANH"}
Built = tuple[Model, list[np.ndarray]]


def sequence(
    shape: tuple[int, int, int], cells: int, outputs: int | None = None, seed: int = 0,
    norm: bool = False, time_major: bool = False, **cell: Any,
) -> Built:  # fmt: skip
    """A node over [batch, time, features], or [time, batch, features]; other keywords: options,
    and parts of the cell."""
    rng = np.random.default_rng(seed)
    options = {k: cell.pop(k) for k in list(cell) if k.endswith(("_clip", "_function"))}
    batch = shape[1 if time_major else 0]
    outputs = cells if outputs is None else outputs
    inputs = [
        Value(floats(rng, shape)),
        *float_cell(rng, shape[-1], cells, outputs, **cell),
        state((batch, outputs)),
        state((batch, cells)),
        *(norms(rng, cells, cell.get("cifg", False)) if norm else [None] * 4),
    ]
    return model(SEQUENCE, inputs, TANH | {"time_major": time_major} | options)


def twice(target: Target, built: Built, split: int | None = None) -> None:
    """Two runs from the states that the first left."""
    node, arrays = built
    check(target, node, [arrays, [a[::-1].copy() for a in arrays]], split)


@each
@pytest.mark.parametrize("time_major", [False, True])
@pytest.mark.parametrize("batch", [1, 3])
def test_sequences(target: Target, batch: int, time_major: bool) -> None:
    shape = (4, batch, 5) if time_major else (batch, 4, 5)
    for cells in (1, 7, 8, 19):
        twice(target, sequence(shape, cells, time_major=time_major))
    twice(target, sequence(shape, 7, time_major=time_major), split=1)


@each
@pytest.mark.parametrize("cifg", [False, True], ids=["", "cifg"])
@pytest.mark.parametrize("norm", [False, True], ids=["", "norm"])
@pytest.mark.parametrize("peephole", [False, True], ids=["", "peephole"])
def test_every_part_of_the_cell(target: Target, cifg: bool, norm: bool, peephole: bool) -> None:
    parts = {"cifg": cifg, "norm": norm, "peephole": peephole}
    for cells in (6, 17):
        twice(target, sequence((2, 3, 5), cells, **parts))
    for bias in (False, True):
        twice(target, sequence((2, 3, 5), 6, 4, projection=True, bias=bias, **parts))


@each
@pytest.mark.parametrize("activation", ["RELU", "RELU6", "RELU_N1_TO_1"])
def test_activations_that_clamp(target: Target, activation: str) -> None:
    twice(target, sequence((2, 3, 5), 6, fused_activation_function=activation))


@each
def test_clips(target: Target) -> None:
    twice(target, sequence((2, 3, 5), 6, cell_clip=0.3))
    twice(target, sequence((2, 3, 5), 6, 4, projection=True, cell_clip=0.3, proj_clip=0.2))


@each
def test_one_moment(target: Target) -> None:
    rng = np.random.default_rng(1)
    for batch in (1, 2):
        inputs = [
            Value(floats(rng, (batch, 5))), *float_cell(rng, 5, 9, 4, projection=True),
            state((batch, 4)), state((batch, 9)), *norms(rng, 9, False),
        ]  # fmt: skip
        twice(target, model("LSTM", inputs, TANH))


def basic(rng: np.random.Generator, batch: int, kept: bool = True) -> Built:
    """The BASIC kernel, with states that are variables or inputs."""
    shapes = (batch, 5), (batch, 6)
    before, c = (state(shapes[1]) if kept else Value(floats(rng, shapes[1])) for _ in range(2))
    inputs = [
        Value(floats(rng, shapes[0])), before, const(floats(rng, (24, 11))),
        const(floats(rng, (24,))), c,
    ]  # fmt: skip
    outputs = [DType.FLOAT32] * 4
    return model("LSTM", inputs, TANH | {"kernel_type": "BASIC"}, outputs)


@each
@pytest.mark.parametrize("kept", [False, True])
def test_the_basic_kernel(target: Target, kept: bool) -> None:
    for batch in (1, 3):
        twice(target, basic(np.random.default_rng(2), batch, kept))


@each
@pytest.mark.parametrize("merge", [False, True])
@pytest.mark.parametrize("time_major", [False, True])
@pytest.mark.parametrize("auxiliary", ["", "beside", "instead"])
def test_both_directions(target: Target, auxiliary: str, time_major: bool, merge: bool) -> None:
    rng = np.random.default_rng(3)
    cells, width = (6, 7), 5
    inputs: list[Any] = [Value(floats(rng, (2, 3, 5)))]
    for n in cells:
        inputs += float_cell(rng, 5, n, n, peephole=True)
    batch = 3 if time_major else 2
    inputs += [state((batch, n)) for n in cells for _ in range(2)]
    inputs.append(Value(floats(rng, (2, 3, width))) if auxiliary else None)
    for n in cells:
        weighted = auxiliary == "beside"
        inputs += [const(floats(rng, (n, width))) if weighted else None for _ in range(4)]
    options = TANH | {"time_major": time_major, "merge_outputs": merge}
    outputs = [DType.FLOAT32] * (1 if merge else 2)
    twice(target, model("BIDIRECTIONAL_SEQUENCE_LSTM", inputs, options, outputs))


@each
def test_sequences_without_moments_leave_the_state(target: Target) -> None:
    twice(target, sequence((2, 0, 5), 6))
    twice(target, sequence((0, 3, 5), 6))


def test_what_is_left_to_numpy() -> None:
    assert not is_lowered(*sequence((2, 3, 5), 6, kind="int8"))
    assert not is_lowered(*sequence((2, 3, 5), 6, diagonal=True))
    assert not is_lowered(*sequence((2, 3, 5), 6, fused_activation_function="NONE"))
    assert not is_lowered(*sequence((2, 3, 5), 6, fused_activation_function="SIGN_BIT"))
    assert not is_lowered(*sequence((2, 3, 0), 6))
    assert not is_lowered(*sequence((1, 5000, 1), 1))


@pytest.mark.skipif(host_image() is None, reason="there is no kernel image for this processor")
def test_interpreters_of_a_file_share_the_joined_weights(tmp_path: Path) -> None:
    node, arrays = sequence((1, 3, 16), 32)
    path = tmp_path / "lstm.tflite"
    path.write_bytes(bytes(write(node)))
    interpreters, answers, packed = [], [], []
    for threads in (1, 1, 2):
        interpreter = Interpreter(path, num_threads=threads)
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], arrays[0])
        interpreter.invoke()
        answers.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
        interpreters.append(interpreter)
        native = next(iter(interpreter._session._native.values()))
        packed.append([id(a) for a in native.constants if a.nbytes >= 4 * 4 * 32 * 16])
    assert packed[0] == packed[1] == packed[2]
    assert len(packed[0]) == 2
    for answer in answers[1:]:
        np.testing.assert_array_equal(answer, answers[0])
