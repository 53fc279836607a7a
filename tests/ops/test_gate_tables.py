"""Fixed-point logistic and tanh."""

from __future__ import annotations

import numpy as np
import pytest

from martlet.ops.gate_tables import logistic_table, look_up, tanh_table

ARGUMENTS = np.arange(-(1 << 15), 1 << 15)


@pytest.mark.parametrize("bits", range(7))
def test_tables_are_close_to_the_functions(bits: int) -> None:
    real = ARGUMENTS / 2.0 ** (15 - bits)
    np.testing.assert_allclose(tanh_table(bits) / 2**15, np.tanh(real), atol=1.5e-3)
    np.testing.assert_allclose(logistic_table(bits) / 2**15, 1 / (1 + np.exp(-real)), atol=1.5e-3)


@pytest.mark.parametrize("bits", range(7))
def test_tanh_is_odd_and_logistic_symmetric(bits: int) -> None:
    tanh = tanh_table(bits).astype(int)[1:]
    logistic = logistic_table(bits).astype(int)[1:]
    np.testing.assert_array_equal(tanh, -tanh[::-1])
    sums = logistic + logistic[::-1]
    assert set(sums[sums != 32768]) == {32767}


def test_zero_is_exact_and_values_are_looked_up_by_the_stored_number() -> None:
    x = np.array([0, 5678, -5678], np.int16)
    np.testing.assert_array_equal(look_up(tanh_table(3), x)[:1], [0])
    # Two values at which rounding half away from zero would go another way.
    np.testing.assert_array_equal(look_up(logistic_table(3), x), [16384, 26210, 6557])
