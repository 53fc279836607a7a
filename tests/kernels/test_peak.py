"""The kernel that measures the peak really computes what is counted."""

from __future__ import annotations

import numpy as np
import pytest

from martlet.kernels.peak import chains, flops, kernels
from martlet.kernels.targets import TARGETS, Target
from native import guarded, run_kernel, targets


@pytest.mark.parametrize("target", targets(), ids=lambda t: t.name)
@pytest.mark.parametrize("rounds", [0, 1, 3])
def test_every_chain_takes_every_round(target: Target, rounds: int) -> None:
    factor, term, units = 0.5, 1.0, 3
    constants = np.repeat(np.float32([factor, term]), target.lanes)
    y = guarded(np.zeros((units, target.lanes), np.float32))
    (kernel,) = kernels(target)
    run_kernel(kernel, target, constants, y, rounds, units=units, split=2)
    x = np.arange(chains(target.lanes), dtype=np.float64)
    for _ in range(rounds):
        x = x * factor + term
    np.testing.assert_allclose(y, np.full_like(y, x.sum()), rtol=1e-6)


def test_a_multiplication_and_an_addition_a_lane() -> None:
    assert flops(8, 10) == 2 * 12 * 8 * 10
    assert {chains(t.lanes) for t in TARGETS.values()} == {12, 24}
