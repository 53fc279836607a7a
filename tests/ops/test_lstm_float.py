"""LSTM cells in float32 and with 8-bit weights."""

from __future__ import annotations

import numpy as np
import pytest

from build import Value, const
from lstm_models import float_cell, norms
from martlet.graph import Tensor
from martlet.schema.layout import Record
from martlet.schema.tflite import SCHEMA
from recurrent_models import assert_as_litert, floats, martlet, model, state

STEP = {"fused_activation_function": "TANH"}


def one_step(
    rng: np.random.Generator, x: np.ndarray, cells: int, outputs: int, norm: bool = False, **cell
) -> list[Value | None]:
    """The 24 inputs of LSTM for x [batch, features]."""
    batch = len(x)
    return [
        Value(x),
        *float_cell(rng, x.shape[-1], cells, outputs, **cell),
        state((batch, outputs)),
        state((batch, cells)),
        *(norms(rng, cells, cell.get("cifg", False)) if norm else [None] * 4),
    ]


def test_a_cell_of_one_unit_by_hand() -> None:
    def one(value: float) -> Value:
        return const(np.full((1, 1), value, np.float32))

    def bias(value: float) -> Value:
        return const(np.full(1, value, np.float32))

    big = 50.0  # opens a gate wholly
    inputs = [
        Value(np.full((1, 1), 0.5, np.float32)),
        one(0), one(0), one(1), one(0),
        one(0), one(0), one(0), one(0),
        None, None, None,
        bias(big), bias(big), bias(0), bias(big),
        None, None, state((1, 1)), state((1, 1)),
    ]  # fmt: skip
    built, arrays = model("LSTM", inputs, STEP)
    first, second = (run[0][0, 0] for run in martlet(built, [arrays, arrays]))
    assert first == pytest.approx(np.tanh(np.tanh(0.5)), abs=1e-6)
    assert second == pytest.approx(np.tanh(2 * np.tanh(0.5)), abs=1e-6)


@pytest.mark.parametrize("kind", ["float32", "int8", "uint8"])
@pytest.mark.parametrize("cifg", [False, True], ids=["", "cifg"])
@pytest.mark.parametrize("norm", [False, True], ids=["", "norm"])
@pytest.mark.parametrize("projection", [False, True], ids=["", "projection"])
def test_every_part_of_the_cell_is_litert_s(
    kind: str, cifg: bool, norm: bool, projection: bool
) -> None:
    rng = np.random.default_rng(7)
    x = floats(rng, (2, 5))
    for asymmetric in (False, True) if kind != "float32" else (False,):
        for peephole in (False, True):
            inputs = one_step(
                rng, x, 6, 4 if projection else 6, norm, kind=kind, cifg=cifg,
                peephole=peephole, projection=projection, bias=peephole,
            )  # fmt: skip
            options = STEP | {"asymmetric_quantize_inputs": asymmetric}
            built, arrays = model("LSTM", inputs, options)
            assert_as_litert(built, [arrays, arrays, [floats(rng, x.shape)]])


@pytest.mark.parametrize("kind", ["float32", "int8"])
@pytest.mark.parametrize("activation", ["NONE", "RELU", "RELU6", "RELU_N1_TO_1", "SIGN_BIT"])
def test_activations_other_than_tanh(kind: str, activation: str) -> None:
    rng = np.random.default_rng(3)
    x = floats(rng, (2, 5))
    built, arrays = model(
        "LSTM", one_step(rng, x, 6, 6, kind=kind), {"fused_activation_function": activation}
    )
    assert_as_litert(built, [arrays, arrays])


@pytest.mark.parametrize("kind", ["float32", "int8"])
def test_clipping_bounds_cell_and_projection(kind: str) -> None:
    rng = np.random.default_rng(4)
    x = floats(rng, (2, 5), 3)
    inputs = one_step(rng, x, 6, 4, kind=kind, projection=True)
    built, arrays = model("LSTM", inputs, STEP | {"cell_clip": 0.3, "proj_clip": 0.2})
    outputs = assert_as_litert(built, [arrays] * 3)
    assert np.abs(outputs[-1][0]).max() == pytest.approx(0.2)


def test_states_are_kept_between_runs_and_start_again_after_a_reset() -> None:
    rng = np.random.default_rng(5)
    x = floats(rng, (1, 3))
    built, arrays = model("LSTM", one_step(rng, x, 4, 4), STEP)
    first, second = martlet(built, [arrays, arrays])
    assert not np.allclose(first[0], second[0])
    np.testing.assert_array_equal(first[0], martlet(built, [arrays])[0][0])


def make_sparse(tensor: Tensor, rng: np.random.Generator) -> None:
    """Keep some of the 1x16 blocks of each row of int8 weights."""
    rows, columns = tensor.shape
    kept = rng.uniform(size=(rows, columns // 16)) < 0.6
    assert tensor.raw is not None
    tensor.raw = tensor.raw.reshape(rows, -1, 16)[kept].ravel()
    offsets = np.concatenate([[0], np.cumsum(kept.sum(axis=1))]).astype(np.int32)

    def level(size: int) -> Record:
        return SCHEMA.record("DimensionMetadata", dense_size=size)

    def vector(values: np.ndarray) -> Record:
        return SCHEMA.record("Int32Vector", values=values.astype(np.int32))

    blocks = SCHEMA.record(
        "DimensionMetadata",
        format="SPARSE_CSR",
        array_segments=vector(offsets),
        array_indices=vector(np.nonzero(kept)[1]),
    )
    tensor.sparsity = SCHEMA.record(
        "SparsityParameters",
        traversal_order=np.arange(3, dtype=np.int32),
        block_map=np.array([1], np.int32),
        dim_metadata=[level(rows), blocks, level(16)],
    )


@pytest.mark.parametrize("asymmetric", [False, True])
@pytest.mark.parametrize("cifg", [False, True])
def test_sparse_hybrid_weights_have_litert_s_scales(asymmetric: bool, cifg: bool) -> None:
    rng = np.random.default_rng(8)
    x = floats(rng, (2, 32))
    inputs = one_step(rng, x, 48, 16, kind="int8", cifg=cifg, projection=True)
    options = STEP | {"asymmetric_quantize_inputs": asymmetric}
    built, arrays = model("LSTM", inputs, options)
    node = built.main.nodes[0]
    for i in [i for i in (*range(1, 9), 16) if node.inputs[i] >= 0]:
        make_sparse(built.main.tensors[node.inputs[i]], rng)
    assert_as_litert(built, [arrays, [floats(rng, (2, 32))]])


@pytest.mark.parametrize("kind", ["float32", "int8"])
@pytest.mark.parametrize("cifg", [False, True])
def test_recurrent_weights_may_be_diagonal_matrices(kind: str, cifg: bool) -> None:
    rng = np.random.default_rng(6)
    x = floats(rng, (2, 3, 5))
    inputs = [
        Value(x), *float_cell(rng, 5, 4, 4, kind, cifg, diagonal=True), state((2, 4)),
        state((2, 4)), *[None] * 4,
    ]  # fmt: skip
    options = STEP | {"diagonal_recurrent_tensors": True}
    built, arrays = model("UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, options)
    assert_as_litert(built, [arrays, arrays])
