"""LSTM cells on int8 values: bit for bit LiteRT's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lstm_models import integer_inputs
from martlet.dtypes import DType
from martlet.errors import ModelError
from martlet.graph import Model, Quantization, Tensor
from recurrent_models import assert_as_litert, martlet, model

TANH = {"fused_activation_function": "TANH"}
STATE = Quantization.of(0.0075, -3)


def build(
    rng: np.random.Generator, op: str, shape: tuple[int, ...], cells: int, outputs: int,
    intermediates: list[Quantization], options: dict[str, Any] | None = None, **cell: Any,
) -> tuple[Model, list[list[np.ndarray]]]:  # fmt: skip
    """A model, and the inputs of four runs."""
    options = TANH | (options or {})
    batch = shape[1] if options.get("time_major") else shape[0]
    runs = [[rng.integers(-128, 128, shape).astype(np.int8)] for _ in range(4)]
    inputs = integer_inputs(rng, runs[0][0], batch, cells, outputs, STATE, **cell)
    output = Tensor("output", dtype=DType.INT8, quantization=STATE)
    built, _ = model(op, inputs, options, [output], intermediates)
    return built, runs


def five(rng: np.random.Generator, hidden: Quantization = STATE) -> list[Quantization]:
    gates = [Quantization.of(float(s) * 2.0**-12) for s in rng.uniform(0.5, 2, 4)]
    return [*gates, hidden]


@pytest.mark.parametrize("cifg", [False, True], ids=["", "cifg"])
@pytest.mark.parametrize("peephole", [False, True], ids=["", "peephole"])
@pytest.mark.parametrize("norm", [False, True], ids=["", "norm"])
@pytest.mark.parametrize("projection", [False, True], ids=["", "projection"])
def test_gates_summed_in_int16(cifg: bool, peephole: bool, norm: bool, projection: bool) -> None:
    rng = np.random.default_rng(11)
    for cells, time_major, bits in ((6, False, 4), (19, True, 2), (33, False, 6)):
        shape = (5, 2, 9) if time_major else (2, 5, 9)
        hidden = Quantization.of(0.008, 4) if projection else STATE
        built, runs = build(
            rng, "UNIDIRECTIONAL_SEQUENCE_LSTM", shape, cells, cells - 2 * projection,
            five(rng, hidden), {"time_major": time_major}, cifg=cifg, peephole=peephole,
            norm=norm, projection=projection, cell_bits=bits, bias=time_major,
        )  # fmt: skip
        assert_as_litert(built, runs)


def test_clipping_is_in_steps_of_the_stored_values() -> None:
    rng = np.random.default_rng(12)
    options = {"cell_clip": 0.7, "proj_clip": 0.3}
    built, runs = build(rng, "LSTM", (2, 9), 8, 6, five(rng), options, projection=True)
    outputs = assert_as_litert(built, runs)
    assert np.abs(outputs[-1][0].astype(int)).max() == int(0.3 / 0.0075)


@pytest.mark.parametrize("cifg", [False, True])
def test_products_stored_in_int8(cifg: bool) -> None:
    rng = np.random.default_rng(13)
    for cells, outputs in ((6, 4), (16, 18), (21, 21)):
        twelve = [
            Quantization.of(float(rng.uniform(0.5, 2)) * scale, int(rng.integers(-20, 20)))
            for _ in range(4)
            for scale in (2.0**-10, 2.0**-4, 2.0**-4)
        ]
        options = {"cell_clip": 0.5, "proj_clip": 0.6}
        built, runs = build(
            rng, "LSTM", (3, 9), cells, outputs, twelve, options, cifg=cifg, norm=True,
            projection=True, cell_bits=0,
        )  # fmt: skip
        assert_as_litert(built, runs)


def refused(match: str, intermediates: list[Quantization], **changes: Any) -> None:
    rng = np.random.default_rng(0)
    built, runs = build(rng, "LSTM", (2, 9), 6, 6, intermediates, **changes)
    with pytest.raises(ModelError, match=match):
        martlet(built, runs)


def test_scales_of_intermediate_results_are_needed() -> None:
    rng = np.random.default_rng(0)
    refused("5 intermediates .LSTM: 5 or 12., found 0", [])
    refused("intermediate 4 has no quantisation", [*five(rng)[:4], Quantization()])
    refused("intermediate 0 has an unusable scale", [Quantization.of(0.0), *five(rng)[1:]],
            norm=True)  # fmt: skip
    refused("intermediate 4 has an unusable zero point", five(rng, Quantization.of(0.1, 400)))


def test_the_scale_of_the_cell_state_is_a_power_of_two() -> None:
    rng = np.random.default_rng(0)
    refused("2.-15 to 2.-9", five(rng), cell_bits=7)


def test_the_8_bit_form_needs_all_that_it_uses() -> None:
    twelve = [Quantization.of(0.01)] * 12
    refused("needs layer norm", twelve)
    refused("needs a projection", twelve, norm=True)
    refused("the cell state has the wrong scale", twelve, norm=True, projection=True)
